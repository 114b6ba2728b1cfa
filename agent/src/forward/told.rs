//! What the forwarder says of each exchange with Flux, for those who make a stance and evidence of it.
//!
//! Verdicts flow back as values on a channel that `gateway` owns. It is bounded, and nothing waits for it: of a row of
//! acceptances only the first is told and one every [`ACCEPTED_EVERY`]; what finds the channel full is dropped, and said
//! in the log.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::verdict::Verdict;
use crate::clock::Stamp;
use crate::shape::wire::Failure;

/// While all is accepted it is said so often. It keeps the time of the last delivery known to within a tenth of the
/// shortest interval that anything is concluded from.
pub const ACCEPTED_EVERY: Duration = Duration::from_secs(10);

/// Tellings that wait to be taken in, at most. Failures come at the back-off's pace, a second apart at the least.
pub const WAITING: usize = 64;

/// What came of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Stamp,
    /// What it was judged to mean.
    pub verdict: Verdict,
    /// A rule of the configuration says so.
    pub by_rule: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How it failed, if there was no answer: evidence of whose fault that is.
    pub failure: Option<Failure>,
    /// How long the answer asks to wait.
    pub wait: Option<Duration>,
    /// Why: cut, escaped, secrets struck out. Empty if accepted.
    pub reason: String,
    /// It was a probe.
    pub probe: bool,
    /// Exchanges in the minute up to it, itself left out.
    pub per_minute: u32,
}

/// Tells.
#[derive(Debug, Default)]
pub(super) struct Teller {
    to: Option<mpsc::Sender<Told>>,
    /// When an acceptance was told last, if nothing else was since.
    accepted: Option<Instant>,
    full: bool,
    recent: Recent,
}

/// Exchanges of the last minute, by the second.
#[derive(Debug)]
struct Recent {
    start: Instant,
    /// The second that was counted last, and the counts of the sixty up to it, each in the place of its remainder.
    second: u64,
    counts: [u32; 60],
}

impl Default for Recent {
    fn default() -> Self {
        Self { start: Instant::now(), second: 0, counts: [0; 60] }
    }
}

impl Recent {
    /// How many there were in the minute up to now; counts one more.
    fn count(&mut self, now: Instant) -> u32 {
        let second = now.saturating_duration_since(self.start).as_secs().max(self.second);
        for passed in self.second + 1..=second.min(self.second + 60) {
            self.counts[(passed % 60) as usize] = 0;
        }
        self.second = second;
        let before = self.counts.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
        let slot = &mut self.counts[(second % 60) as usize];
        *slot = slot.saturating_add(1);
        before
    }
}

impl Teller {
    /// Tells `to`.
    pub(super) fn new(to: mpsc::Sender<Told>) -> Self {
        Self { to: Some(to), ..Self::default() }
    }

    /// Tells of an exchange, unless it only says again that all is well.
    /// Its `per_minute` is counted here.
    pub(super) fn tell(&mut self, told: Told, now: Instant) {
        let Some(to) = &self.to else { return };
        let told = Told { per_minute: self.recent.count(now), ..told };
        let accepted = told.verdict == Verdict::Accepted;
        let again = self.accepted.is_some_and(|at| now.saturating_duration_since(at) < ACCEPTED_EVERY);
        if accepted && again && !told.probe {
            return;
        }
        match to.try_send(told) {
            Ok(()) => {
                self.accepted = accepted.then_some(now);
                self.full = false;
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.accepted = None;
                if !std::mem::replace(&mut self.full, true) {
                    tracing::warn!("what Flux answers comes faster than it is taken in; some of it is passed over");
                }
            }
            Err(mpsc::error::TrySendError::Closed(_)) => self.to = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verdict: Verdict) -> Told {
        Told {
            at: Stamp::default(),
            verdict,
            by_rule: false,
            status: None,
            failure: None,
            wait: None,
            reason: String::new(),
            probe: false,
            per_minute: 0,
        }
    }

    #[test]
    fn exchanges_of_the_last_minute_are_counted() {
        let mut recent = Recent::default();
        let start = recent.start;
        let at = |seconds| start + Duration::from_secs(seconds);
        let counts: Vec<u32> =
            [0, 0, 30, 59, 60, 89, 90, 1000].into_iter().map(|second| recent.count(at(second))).collect();
        assert_eq!(counts, [0, 1, 2, 3, 2, 3, 3, 0]);
    }

    #[test]
    fn failures_are_told_each_and_acceptances_at_first_and_now_and_then() {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let (mut teller, start) = (Teller::new(sender), Instant::now());
        let down = Verdict::Transient { costly: false };
        let steps = [(Verdict::Accepted, 0, true), (Verdict::Accepted, 9, false), (Verdict::Accepted, 10, true)];
        let after = [(down, 11, true), (down, 11, true), (Verdict::Accepted, 12, true), (Verdict::Accepted, 13, false)];
        for (verdict, seconds, expected) in steps.into_iter().chain(after) {
            teller.tell(told(verdict), start + Duration::from_secs(seconds));
            assert_eq!(receiver.try_recv().ok().map(|told| told.verdict), expected.then_some(verdict), "{seconds} s");
        }
    }

    #[test]
    fn nobody_waits_for_a_full_channel_and_an_acceptance_that_found_it_full_is_told_again() {
        let (sender, mut receiver) = mpsc::channel(1);
        let (mut teller, now) = (Teller::new(sender), Instant::now());
        teller.tell(told(Verdict::Suspended), now);
        teller.tell(told(Verdict::Accepted), now);
        assert_eq!(receiver.try_recv().expect("told").verdict, Verdict::Suspended);
        teller.tell(told(Verdict::Accepted), now);
        assert_eq!(receiver.try_recv().expect("told").verdict, Verdict::Accepted);
    }
}
