//! Being throttled (429): followed downward at once, upward slowly.
//!
//! Each 429 halves the events a minute; every minute without one gives a tenth more. What was refused is reached again after
//! seven or eight minutes, so a gateway that meets a steady limit runs into it some eight times an hour and is below it
//! by a quarter in the mean; that is the price of not knowing the limit. At twice the rate that was refused first, the limit
//! binds no longer and goes.

use serde::{Deserialize, Serialize};

/// Thousandths of an event a minute.
const MILLI: u64 = 1_000;

/// The least that a limit can say: one event a minute. Below that the endpoint's own pace (`forward::gate`) is what counts.
const LEAST: u64 = MILLI;

/// Above this nothing is counted: more than a gateway sends.
const MOST: u64 = 1_000_000 * MILLI;

/// What is assumed where it is not known how many events left in the minute before: one a second. A wrong guess is put
/// right by the next answers, as each halves it.
const ASSUMED: u64 = 60;

/// Answers that come within this time are of requests that were under way together, one on each connection: they count once.
const TOGETHER_MS: u64 = 2_000;

const MINUTE_MS: u64 = 60_000;

/// That the provider throttles. Times are steady.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Throttle {
    /// Thousandths of an event a minute, from `at` on.
    milli: u64,
    at: u64,
    /// What was refused at first.
    peak: u64,
    /// When that was.
    pub(super) since: u64,
    pub(super) reason: String,
}

impl Throttle {
    /// A first 429, at so many events a minute.
    pub(super) fn new(per_minute: Option<u32>, steady: u64, reason: String) -> Self {
        let peak = (per_minute.map_or(ASSUMED, u64::from) * MILLI).clamp(LEAST, MOST);
        Self { milli: (peak / 2).max(LEAST), at: steady, peak, since: steady, reason }
    }

    /// One more. Says whether it counts.
    pub(super) fn again(&mut self, per_minute: Option<u32>, steady: u64) -> bool {
        if steady.saturating_sub(self.at) < TOGETHER_MS {
            return false;
        }
        // What was sent was refused, even if more would have been allowed.
        let sent = per_minute.map_or(MOST, |events| (u64::from(events) * MILLI).max(LEAST));
        self.milli = (self.milli(steady).min(sent) / 2).max(LEAST);
        self.at = steady;
        true
    }

    /// Thousandths of an event a minute.
    fn milli(&self, steady: u64) -> u64 {
        let mut milli = self.milli.clamp(LEAST, MOST);
        // From the least to the most in 145 minutes.
        for _ in 0..(steady.saturating_sub(self.at) / MINUTE_MS).min(145) {
            milli = (milli + milli / 10).min(MOST);
        }
        milli
    }

    /// Events a minute, at least 1; `None` once it binds no longer.
    pub(super) fn per_minute(&self, steady: u64) -> Option<u64> {
        let milli = self.milli(steady);
        (milli < (self.peak.clamp(LEAST, MOST) * 2).min(MOST)).then_some(milli / MILLI)
    }

    /// Within bounds, whatever it was read from.
    pub(super) fn bound(&mut self, steady: u64) {
        (self.at, self.since) = (self.at.min(steady), self.since.min(steady));
        super::cut(&mut self.reason, super::state::WHY_BYTES);
    }

    /// When it changes next.
    pub(super) fn changes_at(&self, steady: u64) -> u64 {
        let minutes = steady.saturating_sub(self.at) / MINUTE_MS + 1;
        self.at.saturating_add(minutes * MINUTE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn throttle(per_minute: u32) -> Throttle {
        Throttle::new(Some(per_minute), 0, String::new())
    }

    #[test]
    fn each_answer_halves_the_rate_at_once_and_minutes_give_it_back_slowly() {
        let mut one = throttle(100);
        assert_eq!(one.per_minute(0), Some(50));
        assert!(!one.again(Some(100), 1_000), "the same burst");
        assert!(one.again(Some(40), 10_000));
        assert_eq!(one.per_minute(10_000), Some(20));
        assert_eq!(one.per_minute(10_000 + 59_999), Some(20));
        assert_eq!(one.per_minute(10_000 + 60_000), Some(22));
        let until =
            |rate: u64| (0..600).find(|minute| one.per_minute(10_000 + minute * 60_000).is_none_or(|it| it >= rate));
        assert_eq!(until(40), Some(8));
        assert_eq!(until(u64::MAX), Some(25), "it goes at twice what was refused first");
    }

    #[test]
    fn where_nothing_is_known_one_event_a_second_is_assumed() {
        assert_eq!(Throttle::new(None, 0, String::new()).per_minute(0), Some(30));
    }

    proptest! {
        #[test]
        fn a_limit_is_never_below_one_and_ends_within_three_hours(per_minute: u32, answers in 0_u64..40) {
            let mut one = throttle(per_minute);
            for answer in 0..answers {
                one.again(None, answer * 3_000);
                prop_assert!(one.per_minute(answer * 3_000).is_none_or(|rate| rate >= 1));
            }
            prop_assert_eq!(one.per_minute(answers * 3_000 + 3 * 3_600_000), None);
        }
    }
}
