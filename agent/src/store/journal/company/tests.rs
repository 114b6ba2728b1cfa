//! Who waits for whom, in time that the tests make.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const FULL: usize = 1024 * 1024;
const DEFAULT: Duration = Duration::from_millis(20);

fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

/// A device in a simulated world.
#[derive(Debug, Clone, Copy)]
enum Device {
    /// Publishes every so often, whatever is answered.
    Every(Duration),
    /// Publishes again so long after each answer.
    Loop(Duration),
}

/// Commits of a simulated writer whose sync takes `sync`: when each began, and how many submissions it took.
fn simulate(within: Duration, sync: Duration, devices: &[(u32, Device)], time: Duration) -> Vec<(Duration, usize)> {
    let zero = Instant::now();
    let mut company = Company::new(within);
    // What comes when, by whom; unique by a running number.
    let mut coming: BTreeMap<(Duration, usize), u32> = BTreeMap::new();
    let mut number = 0;
    for (index, (source, device)) in devices.iter().enumerate() {
        let first = match device {
            Device::Every(period) => *period * index as u32 / devices.len() as u32,
            Device::Loop(_) => Duration::ZERO,
        };
        coming.insert((first, index), *source);
        number = index + 1;
    }
    let kinds: BTreeMap<u32, Device> = devices.iter().copied().collect();
    let (mut now, mut pending, mut commits) = (Duration::ZERO, Vec::new(), Vec::new());
    while now < time {
        while let Some((&(at, key), &source)) = coming.iter().next().filter(|((at, _), _)| *at <= now) {
            coming.remove(&(at, key));
            company.submitted(source, 250, zero + at);
            pending.push(source);
            if let Some(Device::Every(period)) = kinds.get(&source) {
                coming.insert((at + *period, number), source);
                number += 1;
            }
        }
        let next = coming.keys().next().map_or(time, |(at, _)| *at);
        if pending.is_empty() {
            now = next;
            continue;
        }
        if let Decision::Wait { until, .. } = company.decide(FULL, zero + now) {
            assert!(until > zero + now, "a wait that is over");
            now = next.min(until - zero).max(now);
            continue;
        }
        commits.push((now, pending.len()));
        now += sync;
        // As the writer does it: whoever came meanwhile is noted after the answers, with the time at which it came.
        company.answered(pending.iter().copied(), zero + now);
        for source in pending.drain(..) {
            if let Some(Device::Loop(think)) = kinds.get(&source) {
                coming.insert((now + *think, number), source);
                number += 1;
            }
        }
    }
    commits
}

#[test]
fn fifty_devices_that_publish_every_second_make_one_commit_every_two_seconds() {
    let devices: Vec<_> = (1..=50).map(|source| (source, Device::Every(Duration::from_secs(1)))).collect();
    let commits = simulate(Duration::from_secs(2), micros(300), &devices, Duration::from_secs(60));
    // At the very first nobody else is known.
    assert!((30..=32).contains(&commits.len()), "{} commits in a minute", commits.len());
}

#[test]
fn by_default_low_rates_gather_too() {
    let devices: Vec<_> = (1..=300).map(|source| (source, Device::Every(Duration::from_secs(1)))).collect();
    let commits = simulate(DEFAULT, micros(300), &devices, Duration::from_secs(10));
    assert!(commits.len() <= 10 * 52, "{} commits in ten seconds, of 3,000 publishes", commits.len());
}

#[test]
fn a_synchronous_client_alone_is_held_by_the_sync_only() {
    let commits = simulate(Duration::from_secs(2), micros(300), &[(7, Device::Loop(micros(100)))], micros(1_000_000));
    assert!(commits.len() >= 2490, "{} commits", commits.len());
}

#[test]
fn a_synchronous_client_beside_slow_devices_is_hardly_held() {
    let mut devices = vec![(1000, Device::Loop(micros(100)))];
    devices.extend((1..=50).map(|source| (source, Device::Every(Duration::from_secs(1)))));
    let commits = simulate(DEFAULT, micros(300), &devices, Duration::from_secs(10));
    assert!(commits.len() >= 24_000, "{} commits of the client's in ten seconds", commits.len());
}

#[test]
fn a_hundred_in_a_closed_loop_gather_in_halves_at_least() {
    let devices: Vec<_> = (1..=100).map(|source| (source, Device::Loop(micros(40 + u64::from(source) * 5)))).collect();
    let commits = simulate(DEFAULT, micros(250), &devices, Duration::from_secs(2));
    let settled: Vec<usize> = commits.iter().filter(|(at, _)| *at > DEFAULT * 10).map(|(_, count)| *count).collect();
    let mean = settled.iter().sum::<usize>() as f64 / settled.len() as f64;
    assert!(mean >= 45.0, "{mean:.1} submissions a commit");
}

#[test]
fn what_is_urgent_takes_all_along_at_once() {
    let now = Instant::now();
    let mut company = Company::new(Duration::from_secs(2));
    company.submitted(1, 10, now);
    company.submitted(2, 10, now);
    assert!(matches!(company.decide(FULL, now), Decision::Wait { .. }));
    company.submitted(URGENT, 0, now);
    assert_eq!(company.decide(FULL, now), Decision::Now);
}

#[test]
fn a_commits_worth_of_bytes_ends_the_wait() {
    let now = Instant::now();
    let mut company = Company::new(Duration::from_secs(2));
    company.submitted(1, FULL / 2, now);
    company.submitted(2, FULL / 2 - 1, now);
    assert!(matches!(company.decide(FULL, now), Decision::Wait { .. }));
    company.submitted(2, 1, now);
    assert_eq!(company.decide(FULL, now), Decision::Now);
}

#[test]
fn a_broker_alone_gathers_for_its_devices() {
    let slow = [(MANY, Device::Every(Duration::from_millis(20)))];
    let commits = simulate(Duration::from_secs(2), micros(300), &slow, Duration::from_secs(60));
    assert!(commits.len() <= 32, "{} commits in a minute", commits.len());
}

#[test]
fn sources_are_bounded() {
    let start = Instant::now();
    let mut company = Company::new(DEFAULT);
    for source in 1..5000_u32 {
        let now = start + DEFAULT * source;
        company.submitted(source, 1, now);
        company.answered(std::iter::once(source), now);
        assert!(company.sources.len() <= REMEMBERED);
    }
    assert!(company.sources.contains_key(&4999), "the newest is remembered");
}

proptest! {
    /// Whatever comes when, nothing waits longer than `commit_within` from its submission, and a wait is never over
    /// when it begins.
    #[test]
    fn nothing_waits_beyond_the_bound(
        within in 0_u64..3_000_000,
        steps in proptest::collection::vec((0_u32..6, 0_u64..50_000, any::<bool>()), 1..300),
    ) {
        let (within, mut now) = (micros(within), Instant::now());
        let mut company = Company::new(within);
        let (mut first, mut pending) = (None, Vec::new());
        for (source, pause, submits) in steps {
            now += micros(pause);
            if submits {
                company.submitted(source, 100, now);
                first.get_or_insert(now);
                pending.push(source);
            }
            match company.decide(FULL, now) {
                Decision::Now => {
                    company.answered(pending.drain(..), now);
                    first = None;
                }
                Decision::Wait { until, more } => {
                    prop_assert!(first.is_some_and(|first| until <= first + within));
                    prop_assert!(until > now && more > 0);
                }
            }
        }
    }

    /// If everyone who is active is pending and waits for its answer, nobody else is expected.
    #[test]
    fn nobody_waits_when_all_closed_loops_are_pending(count in 2_u32..40, rounds in 4_u32..20, within in 1_u64..3000) {
        let mut now = Instant::now();
        let mut company = Company::new(Duration::from_millis(within));
        for _ in 0..rounds {
            for source in 1..=count {
                now += micros(3);
                company.submitted(source, 100, now);
            }
            now += micros(200);
            company.answered(1..=count, now);
        }
        for source in 1..=count {
            company.submitted(source, 100, now);
        }
        prop_assert_eq!(company.decide(FULL, now), Decision::Now);
    }

    /// A source alone never waits, whatever its rhythm.
    #[test]
    fn a_lone_source_never_waits(
        within in 0_u64..3000,
        source in 1_u32..u32::MAX,
        pauses in proptest::collection::vec(0_u64..3_000_000, 1..100),
    ) {
        let mut now = Instant::now();
        let mut company = Company::new(Duration::from_millis(within));
        for pause in pauses {
            now += micros(pause);
            company.submitted(source, 100, now);
            prop_assert_eq!(company.decide(FULL, now), Decision::Now);
            company.answered(std::iter::once(source), now);
        }
    }
}
