//! Growing delays with full jitter, and when they may shrink again. Pure: the time and the randomness are handed in.
//!
//! A delay is drawn evenly between `min` and a ceiling that doubles with each failure up to `max`: gateways that
//! failed together do not come back together ("full jitter", the AWS Architecture Blog's name for it). `min` keeps a
//! lucky draw from becoming a fast retry, which SORACOM's device guideline forbids.
//!
//! One success proves little on a line that flaps, so the ceiling stays where it is until the link **stayed good**:
//! at least [`GOOD_COUNT`] successes over at least [`GOOD_FOR`] without a failure between them.

use std::time::{Duration, Instant};

use super::options::DelayRange;

/// How long the link must have been good: longer than a mobile handover or a load balancer's restart takes.
pub const GOOD_FOR: Duration = Duration::from_secs(30);

/// How many successes that takes: a gateway that sends one batch every 270 s shall not wait for hours, and one
/// success alone may be luck.
pub const GOOD_COUNT: u32 = 3;

/// A source of random bits for jitter; not for secrets (splitmix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// One that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One that starts where the system says; two gateways that start together still differ.
    pub fn from_system() -> Self {
        // Without a random source (very early boot) the process id at least differs between starts.
        Self(getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A duration between the two, both included, to the microsecond.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX - 1);
        low + Duration::from_micros(self.next() % (span + 1))
    }
}

/// The state of one growing delay.
#[derive(Debug, Clone)]
pub struct Backoff {
    range: DelayRange,
    /// Failures that count; the ceiling is `min` doubled so many times.
    failures: u32,
    good: Option<Good>,
}

#[derive(Debug, Clone, Copy)]
struct Good {
    since: Instant,
    count: u32,
}

impl Backoff {
    /// A delay within `range`, which holds nothing against the link yet.
    pub fn new(range: DelayRange) -> Self {
        Self { range, failures: 0, good: None }
    }

    /// The delay after one more failure.
    pub fn failed(&mut self, jitter: &mut Jitter) -> Duration {
        self.good = None;
        self.failures = self.failures.saturating_add(1);
        let factor = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        let ceiling = self.range.min.saturating_mul(factor).min(self.range.max);
        jitter.between(self.range.min, ceiling)
    }

    /// Notes a success at `now`.
    pub fn succeeded(&mut self, now: Instant) {
        let good = self.good.get_or_insert(Good { since: now, count: 0 });
        good.count = good.count.saturating_add(1);
        if good.count >= GOOD_COUNT && now.saturating_duration_since(good.since) >= GOOD_FOR {
            self.failures = 0;
        }
    }

    /// Forgets all failures: something else is being tried now.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.good = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANGE: DelayRange = DelayRange { min: Duration::from_secs(1), max: Duration::from_secs(300) };

    proptest! {
        #[test]
        fn every_delay_is_within_min_and_a_ceiling_that_doubles_up_to_max(
            seed: u64, min_ms in 1_u64..5_000, factor in 1_u64..10_000, failures in 1_usize..80,
        ) {
            let range = DelayRange {
                min: Duration::from_millis(min_ms),
                max: Duration::from_millis(min_ms * factor),
            };
            let (mut backoff, mut jitter) = (Backoff::new(range), Jitter::new(seed));
            let mut ceiling = range.min;
            for _ in 0..failures {
                ceiling = ceiling.saturating_mul(2).min(range.max);
                let delay = backoff.failed(&mut jitter);
                prop_assert!(delay >= range.min && delay <= ceiling, "{delay:?} not within {ceiling:?}");
            }
        }
    }

    #[test]
    fn delays_are_spread_over_their_whole_range() {
        let mut below_a_quarter = 0;
        let mut above_three_quarters = 0;
        for seed in 0..1000 {
            let (mut backoff, mut jitter) = (Backoff::new(RANGE), Jitter::new(seed));
            let delay = (0..20).map(|_| backoff.failed(&mut jitter)).last().unwrap_or_default();
            below_a_quarter += u32::from(delay < RANGE.max / 4);
            above_three_quarters += u32::from(delay > RANGE.max / 4 * 3);
        }
        assert!((200..300).contains(&below_a_quarter), "{below_a_quarter} of 1000");
        assert!((200..300).contains(&above_three_quarters), "{above_three_quarters} of 1000");
    }

    #[test]
    fn one_success_shrinks_nothing_and_a_link_that_stayed_good_shrinks_all() {
        let (mut backoff, mut jitter) = (Backoff::new(RANGE), Jitter::new(1));
        let start = Instant::now();
        for _ in 0..10 {
            backoff.failed(&mut jitter);
        }
        backoff.succeeded(start);
        backoff.succeeded(start + GOOD_FOR);
        assert_eq!(backoff.failures, 10, "two successes are too few");
        backoff.failed(&mut jitter);
        for second in 0..20 {
            backoff.succeeded(start + Duration::from_secs(40 + second));
        }
        assert_eq!(backoff.failures, 11, "twenty seconds are too short, counted from the last failure");
        backoff.succeeded(start + Duration::from_secs(40) + GOOD_FOR);
        assert_eq!(backoff.failures, 0);
    }
}
