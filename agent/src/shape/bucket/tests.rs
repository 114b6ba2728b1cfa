//! Properties of the bucket over random traffic, changes of rate and clocks that jump.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;

const SECOND: Nanos = 1_000_000_000;

fn rate(bytes_per_second: u64, burst: u64) -> Rate {
    Rate::new(NonZeroU64::new(bytes_per_second).expect("more than nothing"), burst)
}

#[test]
fn a_full_bucket_gives_its_burst_and_then_the_rate_to_the_nanosecond() {
    let mut bucket = Bucket::full(rate(4_000, 3_000), 5);
    assert_eq!(bucket.take(3_000, 5), Ok(()));
    assert_eq!(bucket.take(1, 5), Err(5 + 250_000));
    assert_eq!(bucket.take(1, 5 + 249_999), Err(5 + 250_000));
    assert_eq!(bucket.take(1, 5 + 250_000), Ok(()));
    // 3 B/s brings a byte in a third of a second: what is left of the division is not lost.
    let mut slow = Bucket::full(rate(3, 3_000), 0);
    assert_eq!(slow.take(3_000, 0), Ok(()));
    let mut now = 0;
    for _ in 0..3_000 {
        now = slow.take(1, now).expect_err("nothing is left");
        assert_eq!(slow.take(1, now), Ok(()));
    }
    assert_eq!(now, 1_000 * SECOND, "a thousand seconds for three thousand bytes");
}

#[test]
fn a_lower_rate_is_obeyed_from_that_moment_and_tokens_do_not_exceed_the_new_burst() {
    let mut bucket = Bucket::full(rate(1_000_000, 100_000), 0);
    bucket.set_rate(rate(4_000, 3_000), SECOND);
    assert_eq!(bucket.take(3_001, SECOND), Err(Nanos::MAX), "more than the burst never passes");
    assert_eq!(bucket.take(3_000, SECOND), Ok(()));
    assert_eq!(bucket.take(1_000, SECOND), Err(SECOND + SECOND / 4));
    // And a higher one: what is missing comes faster.
    bucket.set_rate(rate(8_000, 3_000), SECOND + SECOND / 8);
    assert_eq!(bucket.take(1_000, SECOND + SECOND / 8), Err(SECOND + SECOND / 8 + SECOND / 16));
}

#[test]
fn what_was_not_foreseen_is_taken_from_what_comes_next_and_what_was_not_used_is_given_back() {
    let mut bucket = Bucket::full(rate(1_000, 3_000), 0);
    bucket.charge(5_000, 0);
    assert_eq!(bucket.take(1, 0), Err(2 * SECOND + SECOND / 1_000));
    bucket.credit(1_000, SECOND);
    assert_eq!(bucket.take(500, SECOND), Err(SECOND + SECOND / 2));
    bucket.credit(1_000_000, SECOND);
    assert_eq!(bucket.take(3_001, SECOND), Err(Nanos::MAX), "never more than the burst");
    assert_eq!(bucket.take(3_000, SECOND), Ok(()));
}

#[test]
fn critical_goes_first_though_another_was_promised_a_time() {
    let mut gate = Admission::new(Bucket::full(rate(4_000, 3_000), 0));
    assert_eq!(gate.ask(1, Class::Other, 3_000, 0), Answer::Now);
    assert_eq!(gate.ask(1, Class::Other, 3_000, 0), Answer::At(3 * SECOND / 4));
    let half = SECOND / 2;
    assert_eq!(gate.ask(2, Class::Critical, 2_500, half), Answer::At(half + SECOND / 8));
    assert_eq!(gate.ask(1, Class::Other, 3_000, half + SECOND / 8), Answer::Behind);
    assert_eq!(gate.next(), Some(2));
    assert_eq!(gate.ask(2, Class::Critical, 2_500, half + SECOND / 8), Answer::Now);
    assert_eq!(gate.next(), Some(1));
    // Who gives up makes room.
    assert_eq!(gate.ask(3, Class::Critical, 100, half + SECOND / 8), Answer::At(half + SECOND / 8 + SECOND / 40));
    gate.leave(3);
    assert_eq!(gate.next(), Some(1));
}

/// What happens to a bucket.
#[derive(Debug, Clone)]
enum Step {
    Ask { who: u64, critical: bool, bytes: u64 },
    Leave { who: u64 },
    Pass { nanos: Nanos },
    Back { nanos: Nanos },
    Rate { bytes_per_second: u64, burst: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let nanos = prop_oneof![0..1_000_u64, 0..SECOND, 0..100 * SECOND, Just(1_000_000 * SECOND)];
    let step = prop_oneof![
        8 => (0..6_u64, any::<bool>(), 1..9_000_u64)
            .prop_map(|(who, critical, bytes)| Step::Ask { who, critical, bytes }),
        1 => (0..6_u64).prop_map(|who| Step::Leave { who }),
        6 => nanos.clone().prop_map(|nanos| Step::Pass { nanos }),
        1 => nanos.prop_map(|nanos| Step::Back { nanos }),
        1 => (1..2_000_000_u64, 0..70_000_u64)
            .prop_map(|(bytes_per_second, burst)| Step::Rate { bytes_per_second, burst }),
    ];
    proptest::collection::vec(step, 1..300)
}

/// Time that has passed for the bucket, what the rate has brought until then in parts of a byte, and what was permitted.
#[derive(Debug, Clone, Copy)]
struct Point {
    brought: i128,
    burst: u64,
    permitted: u64,
}

proptest! {
    #[test]
    fn in_no_window_is_more_permitted_than_rate_times_window_and_burst(steps in steps()) {
        let mut clock = 1_000 * SECOND;
        let mut gate = Admission::new(Bucket::full(rate(4_000, 3_000), clock));
        let mut points: Vec<Point> = Vec::new();
        // Time passes for the bucket when it is told; a clock that steps back stands still.
        let (mut told, mut brought) = (clock, 0_i128);
        for step in steps {
            let in_force = gate.bucket().rate();
            match step {
                Step::Ask { .. } | Step::Rate { .. } => {
                    let passed = clock.saturating_sub(told);
                    brought += i128::from(passed) * i128::from(in_force.bytes_per_second());
                    told = told.max(clock);
                    gate.bucket().charge(0, clock);
                }
                _ => {}
            }
            match step {
                Step::Ask { who, critical, bytes } => {
                    // A ticket is of one class for good.
                    let (who, class) = if critical { (who, Class::Critical) } else { (who + 100, Class::Other) };
                    let bytes = bytes.min(in_force.burst());
                    if gate.ask(who, class, bytes, clock) == Answer::Now {
                        points.push(Point { brought, burst: in_force.burst(), permitted: bytes });
                    }
                }
                Step::Leave { who } => gate.leave(who),
                Step::Pass { nanos } => clock += nanos,
                Step::Back { nanos } => clock = clock.saturating_sub(nanos),
                Step::Rate { bytes_per_second, burst } => {
                    gate.bucket().set_rate(rate(bytes_per_second, burst), clock);
                }
            }
        }
        for (index, first) in points.iter().enumerate() {
            let mut sum = 0;
            for last in &points[index..] {
                sum += last.permitted;
                let allowed = parts(first.burst) + (last.brought - first.brought);
                prop_assert!(parts(sum) <= allowed, "{sum} bytes where {} were allowed", allowed / PART);
            }
        }
    }

    #[test]
    fn whoever_waits_is_told_the_first_moment_at_which_it_may_go(
        bytes_per_second in 1..50_000_000_u64,
        takes in proptest::collection::vec((1..3_000_u64, 0..SECOND), 1..100),
    ) {
        let mut bucket = Bucket::full(rate(bytes_per_second, 3_000), 0);
        let mut now = 0;
        for (bytes, pause) in takes {
            now += pause;
            if let Err(at) = bucket.take(bytes, now) {
                prop_assert!(at > now);
                prop_assert_eq!(bucket.clone().take(bytes, at - 1), Err(at), "not before");
                prop_assert_eq!(bucket.take(bytes, at), Ok(()), "and not after");
                now = at;
            }
        }
    }

    #[test]
    fn while_all_want_to_go_critical_has_nine_of_ten_bytes_and_nobody_starves(
        sizes in proptest::collection::vec(1..3_000_u64, 4),
        bytes_per_second in 1_000..10_000_000_u64,
    ) {
        // Two askers of each class, each with a size of its own, ask again as soon as they have gone.
        let mut gate = Admission::new(Bucket::full(rate(bytes_per_second, 3_000), 0));
        let class = |who: usize| if who < 2 { Class::Critical } else { Class::Other };
        gate.bucket().charge(3_000, 0);
        let mut now = 0;
        let mut got = [0_u64; 4];
        for (who, bytes) in sizes.iter().enumerate() {
            prop_assert_ne!(gate.ask(who as u64, class(who), *bytes, now), Answer::Now);
        }
        for _ in 0..20_000 {
            let who = gate.next().expect("all want to go") as usize;
            match gate.ask(who as u64, class(who), sizes[who], now) {
                Answer::Now => {
                    got[who] += sizes[who];
                    // At once again, or the last of a class would seem to have nothing to send.
                    while gate.ask(who as u64, class(who), sizes[who], now) == Answer::Now {
                        got[who] += sizes[who];
                    }
                }
                Answer::At(at) => now = at,
                Answer::Behind => prop_assert!(false, "it was its turn"),
            }
        }
        let (critical, other) = (got[0] + got[1], got[2] + got[3]);
        let share = other as f64 / (critical + other) as f64;
        prop_assert!((0.09..0.11).contains(&share), "the others had {share} of {}", critical + other);
        prop_assert!(got.iter().all(|bytes| *bytes > 0), "{got:?}");
        // In a class each goes in its turn.
        let turns = |who: usize| got[who] / sizes[who];
        prop_assert!(turns(0).abs_diff(turns(1)) <= 2 && turns(2).abs_diff(turns(3)) <= 2, "{got:?} of {sizes:?}");
    }
}
