//! How large a body may be. Pure.
//!
//! Flux documents no limit on bodies, so it is learnt: a 413 says that a body of that size is too large, an
//! acceptance that one is not. Between the two the middle is tried, until what is accepted is within an eighth of
//! what is refused: larger bodies mean fewer events, and events are what a plan counts. What was refused is
//! forgotten after [`FORGET_AFTER`], so that a limit raised by the provider is found, at four small 413 a day.

use std::time::{Duration, Instant};

/// How long a refusal counts.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(6 * 3600);

/// No limit is learnt below this: one event with a short payload is about 200 bytes.
pub(super) const FLOOR: usize = 256;

/// The learnt limit.
#[derive(Debug, Clone)]
pub(super) struct SizeLimit {
    configured: usize,
    /// The largest body accepted since anything was refused.
    accepted: usize,
    refused: Option<(usize, Instant)>,
}

impl SizeLimit {
    /// Nothing but the configured limit is known.
    pub(super) fn new(configured: usize) -> Self {
        Self { configured, accepted: 0, refused: None }
    }

    /// How many bytes a body may have now.
    pub(super) fn current(&mut self, now: Instant) -> usize {
        let Some((refused, since)) = self.refused else { return self.configured };
        if now.saturating_duration_since(since) >= FORGET_AFTER {
            self.refused = None;
            return self.configured;
        }
        let learnt = if self.accepted >= refused - refused / 8 {
            self.accepted
        } else {
            self.accepted + (refused - self.accepted) / 2
        };
        learnt.max(FLOOR).min(self.configured)
    }

    /// A body of so many bytes was accepted.
    pub(super) fn accepted(&mut self, bytes: usize) {
        if let Some((refused, _)) = self.refused {
            if bytes >= refused {
                self.refused = None;
            }
            self.accepted = self.accepted.max(bytes);
        }
    }

    /// A body of so many bytes was too large.
    pub(super) fn refused(&mut self, bytes: usize, now: Instant) {
        let smallest = self.refused.map_or(bytes, |(refused, _)| refused.min(bytes));
        if self.accepted >= smallest {
            self.accepted = 0;
        }
        self.refused = Some((smallest, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_limit_is_found_in_few_steps_and_never_undershot_by_more_than_an_eighth(
            configured in 1_000_usize..1_000_000, share in 1_usize..100,
        ) {
            let real = (configured * share / 100).max(FLOOR);
            let now = Instant::now();
            let mut limit = SizeLimit::new(configured);
            let mut refusals = 0;
            for _ in 0..40 {
                let body = limit.current(now);
                prop_assert!(body <= configured);
                if body > real {
                    limit.refused(body, now);
                    refusals += 1;
                } else {
                    limit.accepted(body);
                }
            }
            let settled = limit.current(now);
            prop_assert!(settled <= real && settled >= real - real / 8 - 1, "{settled} for {real}");
            prop_assert!(refusals <= 13, "{refusals} refusals");
        }
    }

    #[test]
    fn a_refusal_is_forgotten_in_time() {
        let now = Instant::now();
        let mut limit = SizeLimit::new(65_536);
        limit.refused(65_536, now);
        assert_eq!(limit.current(now), 32_768);
        assert_eq!(limit.current(now + FORGET_AFTER), 65_536);
    }

    #[test]
    fn a_refusal_below_what_was_accepted_starts_the_search_anew() {
        let now = Instant::now();
        let mut limit = SizeLimit::new(65_536);
        limit.refused(65_536, now);
        limit.accepted(32_768);
        limit.refused(10_000, now);
        assert_eq!(limit.current(now), 5_000);
    }
}
