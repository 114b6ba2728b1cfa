//! A whole month of 10,000 events, with devices that publish seldom, often and far too much.

use super::*;

/// Records that one request carries at most.
const BATCH: u64 = 500;

struct Sent {
    at: u64,
    records: u64,
}

/// Sends whatever waits whenever that is permitted, for the whole of November.
fn month(per_minute: u64, age: u64) -> Vec<Sent> {
    let mut budgets = budgets([events(10_000)], &[], &stamp(0));
    let published = |now: u64| now * per_minute / MINUTE;
    let (mut now, mut taken, mut sent) = (0, 0, Vec::<Sent>::new());
    while now < 30 * DAY {
        let waiting = published(now) - taken;
        let last = sent.last().map_or(0, |sent| sent.at);
        if waiting < BATCH && (waiting == 0 || now < last + age) {
            // Until the next record, or the batch's age.
            now = ((taken + waiting + 1) * MINUTE).div_ceil(per_minute).max(now + 1);
            continue;
        }
        match budgets.take(Class::Other, event(), &stamp(now)) {
            Ok(permit) => {
                budgets.settle(permit, Outcome::Accepted, &stamp(now));
                let records = waiting.min(BATCH);
                taken += records;
                sent.push(Sent { at: now, records });
            }
            Err(refused) => now += refused.wait_ms.expect("the time is known"),
        }
    }
    assert!(used(&mut budgets, Kind::EventsPerMonth, &stamp(30 * DAY - 1)) <= 10_000);
    sent
}

fn assert_even(sent: &[Sent]) {
    let days: Vec<usize> = (0..30).map(|day| sent.iter().filter(|one| one.at / DAY == day).count()).collect();
    // A little more towards the end, as what lanes that go first leave of their reserve is released.
    assert!(days.iter().all(|count| (300..=400).contains(count)), "{days:?}");
}

#[test]
fn all_of_it_is_used_evenly_to_the_last_day_at_1_at_10_and_at_1000_records_a_minute() {
    for per_minute in [1, 10, 1_000] {
        let sent = month(per_minute, 0);
        println!(
            "{per_minute} a minute: {} requests, {} records",
            sent.len(),
            sent.iter().map(|one| one.records).sum::<u64>()
        );
        assert!((9_900..=10_000).contains(&sent.len()), "{per_minute}: {}", sent.len());
        assert_even(&sent);
        assert!(sent.iter().any(|one| one.at > 30 * DAY - 10 * MINUTE), "to the end");
        if per_minute < 1_000 {
            let carried: u64 = sent.iter().map(|one| one.records).sum();
            assert!(carried >= 30 * 24 * 60 * per_minute - 10 * per_minute, "nothing stays behind: {carried}");
        }
    }
}

#[test]
fn with_the_usual_age_of_a_batch_a_month_of_one_record_a_minute_stays_below_the_quota() {
    let sent = month(1, 270_000);
    assert!((8_000..=10_000).contains(&sent.len()), "{}", sent.len());
    assert_even_enough(&sent);
}

fn assert_even_enough(sent: &[Sent]) {
    let longest = sent.windows(2).map(|pair| pair[1].at - pair[0].at).max().expect("some");
    assert!(longest <= 10 * MINUTE, "{longest}");
}

#[test]
fn what_idle_days_left_is_spread_over_the_rest_of_the_month() {
    let mut budgets = budgets([events(10_000)], &[], &stamp(0));
    // Nothing for ten days: what was left is 1.5 times as much for each of the twenty that follow.
    let mut days = Vec::new();
    for day in 10..30 {
        let mut count = 0;
        for minute in 0..24 * 60 {
            count += burst(&mut budgets, Class::Other, &stamp(day * DAY + minute * MINUTE));
        }
        days.push(count);
    }
    assert!(days.iter().all(|count| (460..=560).contains(count)), "{days:?}");
    assert!(days.iter().sum::<u64>() >= 9_900, "{days:?}");
}
