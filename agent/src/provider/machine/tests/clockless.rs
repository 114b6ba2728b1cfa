//! Where the clock is not known to be right: what windows, quotas and the status page count by, and how moments are told.

use super::*;

#[test]
fn without_a_clock_a_window_counts_from_what_the_provider_says_the_time_is() {
    let mut bench = Bench::fresh(settings());
    bench.now = Stamp { wall_ms: 0, uptime_ms: MINUTE, boot: 1, trusted: false };
    bench.tell(window());
    assert_eq!(bench.view().ahead.len(), 1, "it is no earlier than it was issued");
    bench.tell(Input::ProviderTime { now_ms: START + HOUR + MINUTE, error_ms: 600 });
    assert_eq!(bench.stance(), Stance::Maintenance);
    bench.run(59 * MINUTE);
    until_open(&mut bench, 10 * MINUTE);
}

#[test]
fn with_neither_clock_nor_word_it_counts_from_when_the_notice_was_issued() {
    let mut bench = Bench::fresh(settings());
    bench.now = Stamp { wall_ms: 0, uptime_ms: MINUTE, boot: 1, trusted: false };
    bench.tell(window());
    bench.run(59 * MINUTE);
    assert_eq!(bench.stance(), Stance::Open);
    bench.run(2 * MINUTE);
    assert_eq!(bench.stance(), Stance::Maintenance);
    bench.run(HOUR);
    until_open(&mut bench, 10 * MINUTE);
}

/// Neither the clock nor anybody else says what time it is.
fn undated() -> Bench {
    let mut bench = Bench::fresh(settings());
    bench.now = Stamp { wall_ms: 0, uptime_ms: MINUTE, boot: 1, trusted: false };
    bench.tell(answer(Means::Accepted));
    bench
}

#[test]
fn without_a_clock_a_window_of_the_page_counts_by_the_pages_own_date_from_its_beginning_to_its_end() {
    let mut bench = undated();
    bench.tell(planned_at(Some(START), START + HOUR, START + 2 * HOUR, Progress::Scheduled));
    assert_eq!((bench.stance(), bench.view().ahead.len()), (Stance::Open, 1));
    bench.run(HOUR - SECOND);
    assert_eq!(bench.stance(), Stance::Open);
    bench.restart();
    // The page is never read again.
    bench.run(2 * SECOND);
    assert_eq!(bench.stance(), Stance::Maintenance);
    bench.run(HOUR);
    until_open(&mut bench, 10 * MINUTE);
}

#[test]
fn without_a_clock_a_window_that_is_under_way_is_probed_behind_its_end_though_the_page_is_gone() {
    // With the page's date what is left of it counts, without one its whole length.
    for (now_ms, left) in [(Some(START + 50 * MINUTE), 10 * MINUTE), (None, HOUR), (Some(77), HOUR)] {
        let mut bench = undated();
        bench.tell(planned_at(now_ms, START, START + HOUR, Progress::InProgress));
        assert_eq!(bench.stance(), Stance::Maintenance, "{now_ms:?}");
        assert_eq!(bench.view().grounds[0].since_ms, START, "{now_ms:?}");
        bench.run(left - SECOND);
        assert_eq!(bench.view().probe, 0, "{now_ms:?}");
        bench.restart();
        bench.run(10 * MINUTE + SECOND);
        assert_eq!(bench.view().probe, 1, "{now_ms:?}: one event shows whether it is over");
        bench.tell(answer(Means::Accepted));
        assert_eq!(bench.telemetry(), Telemetry::All, "{now_ms:?}");
    }
}

#[test]
fn without_a_clock_and_with_nothing_to_probe_with_a_page_that_is_gone_holds_for_two_hours_more() {
    let mut bench = undated();
    bench.tell(planned_at(None, START, START + HOUR, Progress::InProgress));
    bench.run(HOUR);
    assert_eq!(bench.stance(), Stance::Maintenance);
    bench.run(HOUR);
    until_open(&mut bench, 10 * MINUTE);
}

#[test]
fn what_a_page_says_the_time_is_neither_begins_nor_ends_what_notices_say() {
    let mut bench = undated();
    bench.tell(notice("end", START, Content::End { at_ms: START + HOUR }));
    bench.tell(notice("m", START, works(START, START + HOUR)));
    assert_eq!(bench.stance(), Stance::Maintenance);
    bench.tell(planned_at(Some(START + 9 * DAY), START + 9 * DAY, START + 10 * DAY, Progress::Scheduled));
    assert_eq!((bench.stance(), bench.view().grounds.len(), bench.view().ahead.len()), (Stance::Maintenance, 2, 1));
    assert_eq!(bench.machine.earliest(&bench.now), START);
}

#[test]
fn once_the_clock_is_right_the_pages_own_date_counts_for_nothing() {
    let mut bench = undated();
    // A page whose date is three hours ahead.
    bench.tell(planned_at(Some(START + 3 * HOUR), START + 2 * HOUR, START + 4 * HOUR, Progress::Scheduled));
    assert_eq!(bench.stance(), Stance::Maintenance);
    (bench.now.wall_ms, bench.now.trusted) = (START, true);
    bench.pass(SECOND);
    assert_eq!((bench.stance(), bench.view().ahead.len()), (Stance::Open, 1));
    bench.run(2 * HOUR);
    assert_eq!(bench.stance(), Stance::Maintenance);
}

#[test]
fn after_a_power_cut_without_a_clock_it_stays_shut_for_at_most_its_length_by_uptime() {
    let mut bench = Bench::new();
    bench.tell(notice("m-1", START, works(START, START + 2 * HOUR)));
    bench.run(30 * MINUTE);
    bench.now = Stamp { wall_ms: 0, uptime_ms: 5_000, boot: 2, trusted: false };
    bench.restart();
    bench.run(80 * MINUTE);
    assert_eq!(bench.stance(), Stance::Maintenance);
    bench.run(10 * MINUTE);
    until_open(&mut bench, 10 * MINUTE);
}

#[test]
fn a_quota_noted_without_a_clock_is_dated_once_there_is_one() {
    let mut bench = Bench::new();
    bench.now = Stamp { wall_ms: 0, uptime_ms: 1_000, boot: 2, trusted: false };
    bench.machine = Machine::new(settings());
    bench.tell(answer(Means::Quota));
    assert_eq!(bench.view().grounds[0].until_ms, None);
    bench.tell(Input::ProviderTime { now_ms: START, error_ms: 600 });
    assert_eq!(bench.view().grounds[0].until_ms, Some(1_796_050_800_000));
}

#[test]
fn while_it_is_not_known_what_time_it_is_moments_are_told_by_uptime_and_dates_that_were_said_stay() {
    let mut bench = undated();
    bench.now.wall_ms = 5_000_000;
    bench.tell(hold(Some(2 * HOUR)));
    let entry = bench.log.last().expect("an entry");
    assert_eq!((entry.from_ms, entry.from_undated), (Some(5_000_000), true));
    assert_eq!((entry.until_ms, entry.until_undated), (Some(5_000_000 + 2 * HOUR), true));
    bench.tell(notice("m", START, works(0, START + HOUR)));
    let entry = bench.log.last().expect("an entry");
    assert!(entry.from_undated && !entry.until_undated && entry.until_ms == Some(START + HOUR), "{entry:?}");
    bench.pass(8 * MINUTE);
    let at = |index: usize| {
        let it = bench.view().grounds[index].by_uptime.expect("the clock is not right");
        let uptime = bench.now.uptime_ms.cast_signed();
        ((uptime - it.since).cast_unsigned(), it.until.map(|until| (until - uptime).cast_unsigned()), it)
    };
    let (ago, left, it) = at(0);
    assert_eq!((ago, left, it.since_dated, it.until_dated), (8 * MINUTE, Some(112 * MINUTE), false, false));
    let (ago, left, it) = at(1);
    assert_eq!((ago, left, it.since_dated, it.until_dated), (8 * MINUTE, Some(52 * MINUTE), false, true));
    (bench.now.wall_ms, bench.now.trusted) = (START, true);
    bench.pass(SECOND);
    assert!(bench.view().grounds.iter().all(|ground| ground.by_uptime.is_none()));
}
