//! How long to wait before the next attempt to reach the broker: exponential, with full jitter, bounded.
//!
//! Full jitter (a delay drawn evenly from zero to the present bound) spreads many gateways that lost one broker at
//! the same moment better than any other form (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog).

use std::time::Duration;

/// The bounds of a back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first delay.
    pub min: Duration,
    /// Upper bound of every delay.
    pub max: Duration,
}

impl Default for Backoff {
    /// One second, because a local broker that restarts is back within about that; thirty at most, because a broker
    /// on the gateway or its network costs nothing to try and devices wait meanwhile.
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

/// A back-off in progress.
#[derive(Debug)]
pub(super) struct Delays {
    bounds: Backoff,
    attempt: u32,
}

impl Delays {
    pub(super) fn new(bounds: Backoff) -> Self {
        Self { bounds, attempt: 0 }
    }

    /// The next delay; `random` is evenly drawn from all of `u64`.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let bound = self.bounds.min.saturating_mul(2_u32.saturating_pow(self.attempt)).min(self.bounds.max);
        self.attempt = self.attempt.saturating_add(1);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(random % (micros + 1))
    }

    /// The link has proved good: begin again at the shortest delay.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_delay_passes_its_bound_and_the_bound_doubles_up_to_the_limit(
            draws in proptest::collection::vec(any::<u64>(), 1..80),
        ) {
            let bounds = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(5) };
            let mut delays = Delays::new(bounds);
            for (attempt, draw) in draws.into_iter().enumerate() {
                let bound = Duration::from_millis(100 << attempt.min(20)).min(bounds.max);
                prop_assert!(delays.next(draw) <= bound);
            }
            delays.reset();
            prop_assert!(delays.next(u64::MAX) <= bounds.min);
        }
    }

    #[test]
    fn delays_reach_their_bound() {
        let bounds = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(8) };
        let mut delays = Delays::new(bounds);
        let drawn: Vec<_> = (0..6).map(|attempt| delays.next(1_000_000 << attempt.min(3)).as_secs()).collect();
        assert_eq!(drawn, [1, 2, 4, 8, 8, 8]);
    }
}
