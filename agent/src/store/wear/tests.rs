//! The estimate against media whose cost is known.

use super::*;
use proptest::prelude::*;

/// What the tests' medium writes for a commit: whole pages, and the file system's own blocks.
fn cost(handed: u64) -> u64 {
    handed.div_ceil(4096) * 4096 + 8192
}

#[test]
fn the_seventh_field_counts_sectors() {
    let text = " 2621271   119010 143373410  2973641  4272594  1008331 330249488  1744923        3   500328  4942324\n";
    assert_eq!(parse_stat(text), Some(330_249_488 * 512));
    assert_eq!(parse_stat("1 2 3 4 5 6"), None);
    assert_eq!(parse_stat("1 2 3 4 5 6 seven"), None);
    assert_eq!(parse_stat(&format!("1 2 3 4 5 6 {}", u64::MAX)), None);
}

#[test]
fn a_folder_in_memory_has_no_counter() {
    let error = BlockDevice::of(Path::new("/proc")).expect_err("it has no counter");
    assert!(matches!(error, NoCounter::NoDevice { .. }), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = BlockDevice::of(Path::new("/nowhere/at/all")).expect_err("it has no counter");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

/// Commits of so many bytes of which every one is sampled, each with what the medium writes for it beyond them.
fn commit(estimator: &mut Estimator, counter: &mut u64, handed: u64, beyond: u64, now: Instant) {
    let before = *counter;
    *counter += handed + beyond;
    estimator.committed(handed, handed);
    estimator.sample(handed, before, *counter, now);
}

#[test]
fn nothing_is_claimed_before_there_are_enough_samples() {
    let now = Instant::now();
    let (mut estimator, mut counter) = (Estimator::new(now), 1_000_000);
    estimator.committed(1000, 1200);
    let wear = estimator.wear(now);
    assert_eq!((wear.stored, wear.written, wear.device_written, wear.ratio()), (1000, None, None, None));
    for _ in 1..ENOUGH {
        commit(&mut estimator, &mut counter, 100, 8192, now);
        assert_eq!(estimator.wear(now).written, None);
    }
    commit(&mut estimator, &mut counter, 100, 8192, now);
    assert!(estimator.wear(now).written.is_some());
}

#[test]
fn what_came_before_the_first_sample_is_counted_with_it() {
    let now = Instant::now();
    let (mut estimator, mut counter) = (Estimator::new(now), 0);
    // The device has written as much for the commits that were not sampled.
    estimator.note(counter, now);
    (0..3).for_each(|_| estimator.committed(900, 1000));
    counter += 3 * 3000;
    (0..ENOUGH).for_each(|_| commit(&mut estimator, &mut counter, 1000, 2000, now));
    assert_eq!(estimator.wear(now).written, Some((3 + ENOUGH as u64) * 3000));
}

#[test]
fn what_is_written_once_is_no_cost_of_each_record_and_no_burst_of_others_either() {
    let now = Instant::now();
    let (mut estimator, mut counter) = (Estimator::new(now), 0);
    estimator.note(counter, now);
    let mut ours = 0;
    for round in 0..40 {
        // The first makes files and the reserve; in the tenth somebody copies an image to the card.
        let beyond = match round {
            0 => 2 << 20,
            10 => 270 << 20,
            _ => 8192,
        };
        commit(&mut estimator, &mut counter, 57, beyond, now);
        for _ in 0..15 {
            estimator.committed(57, 57);
            counter += 57 + 8192;
        }
        ours += 16 * (57 + 8192);
    }
    let written = estimator.wear(now).written.expect("it is known");
    assert!((ours - ours / 10..=ours + ours / 10).contains(&written), "{written} of {ours}");
}

#[test]
fn no_more_is_claimed_than_the_device_wrote_in_all() {
    let now = Instant::now();
    let (mut estimator, mut counter) = (Estimator::new(now), 0);
    estimator.note(counter, now);
    (0..ENOUGH).for_each(|_| commit(&mut estimator, &mut counter, 100, 100_000, now));
    // Cheaper ones, between samples.
    (0..100).for_each(|_| estimator.committed(100, 100));
    counter += 100 * 4096;
    estimator.note(counter, now);
    assert_eq!(estimator.wear(now).written, Some(counter));
}

#[test]
fn a_ratio_is_told_of_what_is_large_beside_a_block() {
    let wear = |stored| Wear { stored, written: Some(4 << 20), ..Wear::default() };
    assert_eq!(wear(342).ratio(), None);
    assert_eq!(wear(RATIO_FROM - 1).ratio(), None);
    assert_eq!(wear(1 << 20).ratio(), Some(4.0));
}

#[test]
fn a_counter_that_went_back_is_no_sample_and_bounds_nothing() {
    let now = Instant::now();
    let (mut estimator, mut counter) = (Estimator::new(now), 1 << 30);
    (0..ENOUGH).for_each(|_| commit(&mut estimator, &mut counter, 1000, 2000, now));
    estimator.committed(900, 1000);
    estimator.sample(1000, counter, 10_000, now);
    let wear = estimator.wear(now);
    assert_eq!((wear.written, wear.device_written), (Some((1 + ENOUGH as u64) * 3000), Some(0)));
}

#[test]
fn samples_are_due_by_commits_and_by_time_but_never_close_together() {
    let start = Instant::now();
    let mut estimator = Estimator::new(start);
    assert!(estimator.is_due(start));
    estimator.committed(1, 1);
    estimator.sample(1, 0, 1, start);
    assert!(!estimator.is_due(start + AT_MOST));
    assert!(estimator.is_due(start + AT_LEAST));
    (0..EVERY).for_each(|_| estimator.committed(1, 1));
    assert!(!estimator.is_due(start + AT_MOST / 2));
    assert!(estimator.is_due(start + AT_MOST));
}

#[test]
fn the_pace_is_that_of_the_last_day() {
    let start = Instant::now();
    let mut estimator = Estimator::new(start);
    let mut counter = 0;
    // Three days of a gigabyte an hour, then two of a megabyte an hour.
    for hour in 0..120_u32 {
        estimator.note(counter, start + hour * NOTE);
        counter += if hour < 72 { 1_000_000_000 } else { 1_000_000 };
    }
    let wear = estimator.wear(start + 119 * NOTE);
    let a_day = wear.device_a_day.expect("it is known");
    assert!((23_000_000..=24_500_000).contains(&a_day), "{a_day}");
    assert_eq!(wear.device_written, Some(72_000_000_000 + 47_000_000));
    assert!(estimator.notes.len() <= NOTES);
}

#[test]
fn years_follow_from_endurance_and_pace() {
    // 30 TB at 10 GB a day are 3,000 days.
    let years = years(30_000_000_000_000, 10_000_000_000).expect("it is known");
    assert!((years - 3000.0 / 365.25).abs() < 1e-9, "{years}");
    assert_eq!(super::years(30_000_000_000_000, 0), None);
    let wear = Wear { device_a_day: None, ..Wear::default() };
    assert_eq!(wear.years(1), None);
}

#[test]
fn no_pace_is_told_from_a_moment() {
    let start = Instant::now();
    let mut estimator = Estimator::new(start);
    estimator.note(0, start);
    estimator.note(1_000_000, start + Duration::from_secs(1));
    assert_eq!(estimator.wear(start + Duration::from_secs(1)).device_a_day, None);
    assert_eq!(estimator.wear(start + Duration::from_secs(100)).device_a_day, Some(864_000_000));
}

proptest! {
    /// Commits of all sizes at all distances: the estimate is within a fifth of what the medium wrote for us.
    #[test]
    fn the_estimate_is_near_what_was_written(
        commits in proptest::collection::vec((1_u64..200_000, 1_u64..200), 2000..3000),
    ) {
        let start = Instant::now();
        let (mut now, mut counter, mut ours) = (start, 0, 0);
        let mut estimator = Estimator::new(start);
        for (handed, ms) in commits {
            now += Duration::from_millis(ms);
            let (due, before) = (estimator.is_due(now), counter);
            counter += cost(handed);
            ours += cost(handed);
            estimator.committed(handed, handed);
            if due {
                estimator.sample(handed, before, counter, now);
            }
            // Others write between our commits.
            counter += 5000;
        }
        let estimate = estimator.wear(now).written.expect("it is known") as f64;
        prop_assert!((estimate / ours as f64 - 1.0).abs() < 0.2, "{estimate} of {ours}");
    }
}
