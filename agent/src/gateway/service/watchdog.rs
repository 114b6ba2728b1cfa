//! When the service manager is told that the agent lives: judged from what has answered, with the time as an argument.
//!
//! A round a third of the manager's limit: everything that must live is asked ([`Turn::ask`]), and once all of it has
//! answered, the manager is told ([`Turn::feed`]), at once and once a round. The next round begins a third of the limit
//! after this one did, or as soon as this one is answered, if that is later. So
//! - what hangs for longer than the limit is always found: its last answer was followed by the last feeding;
//! - what hangs for less than two thirds of the limit never costs a restart.

use std::time::{Duration, Instant};

/// Rounds in the manager's limit. `sd_watchdog_enabled(3)` recommends half the limit; with a third, one answer may be late
/// by as long as the other two rounds take.
const ROUNDS: u32 = 3;

/// What has answered the present round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    /// The task that turns notices and answers into what may leave.
    pub(super) control: bool,
    /// The journal's writer; `true` also while there is none, for nothing can hang in it then.
    pub(super) journal: bool,
}

impl Answered {
    fn all(self) -> bool {
        self.control && self.journal
    }

    /// What is missing, for the log.
    pub(super) fn missing(self) -> &'static str {
        match (self.control, self.journal) {
            (true, true) => "nothing",
            (true, false) => "the journal: the disk does not answer",
            (false, true) => "the control loop",
            (false, false) => "the control loop and the journal: the disk does not answer",
        }
    }
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Tell the service manager.
    pub(super) feed: bool,
    /// A new round begins: ask everything.
    pub(super) ask: bool,
    /// An answer is overdue: say so, once a round.
    pub(super) overdue: bool,
    /// When to look again if nothing answers before.
    pub(super) wake: Instant,
}

/// The rounds.
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Duration,
    begun: Option<Instant>,
    fed: bool,
    told: bool,
}

impl Watchdog {
    /// For a manager that restarts the agent when it has heard nothing for `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { every: limit / ROUNDS, begun: None, fed: true, told: false }
    }

    /// One look. `answered` is about the round that the last [`Turn::ask`] began.
    pub(super) fn turn(&mut self, now: Instant, answered: Answered) -> Turn {
        let mut turn = Turn { feed: false, ask: false, overdue: false, wake: now + self.every };
        let since = self.begun.map(|begun| now.saturating_duration_since(begun));
        if !self.fed && answered.all() {
            (self.fed, turn.feed) = (true, true);
        }
        if self.fed && since.is_none_or(|since| since >= self.every) {
            (self.begun, self.fed, self.told) = (Some(now), false, false);
            turn.ask = true;
        } else if self.fed {
            turn.wake = self.begun.unwrap_or(now) + self.every;
        } else if !self.told && since.is_some_and(|since| since >= self.every) {
            // As late as this it costs a feeding.
            (self.told, turn.overdue) = (true, true);
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const ALL: Answered = Answered { control: true, journal: true };

    #[test]
    fn what_answers_at_once_is_asked_and_fed_a_third_of_the_limit_apart() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(LIMIT);
        for round in 0..5 {
            let now = start + LIMIT / 3 * round;
            let turn = watchdog.turn(now, Answered { control: true, journal: false });
            assert!(turn.ask && !turn.feed && !turn.overdue, "{round}: {turn:?}");
            let turn = watchdog.turn(now, ALL);
            assert!(turn.feed && !turn.ask, "{round}: {turn:?}");
            assert_eq!(turn.wake, now + LIMIT / 3);
            assert!(!watchdog.turn(now, ALL).feed, "once a round");
        }
    }

    #[test]
    fn one_answer_of_two_does_not_feed_and_is_said_once_when_it_is_overdue() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(LIMIT);
        let half = Answered { control: false, journal: true };
        assert!(watchdog.turn(start, ALL).ask);
        assert!(!watchdog.turn(start + LIMIT / 6, half).overdue);
        let said = (2..40).filter(|sixth| {
            let turn = watchdog.turn(start + LIMIT / 6 * *sixth, half);
            assert!(!turn.feed && !turn.ask, "{turn:?}");
            turn.overdue
        });
        assert_eq!(said.count(), 1);
        assert_eq!(half.missing(), "the control loop");
        let turn = watchdog.turn(start + LIMIT * 7, ALL);
        assert!(turn.feed && turn.ask, "what comes back is fed at once, and asked again: {turn:?}");
    }

    /// Looks when the watchdog says so, and when an answer comes: the longest time between two feedings over a hang that
    /// begins `begins` after the start and lasts `lasts`.
    fn longest_silence(begins: Duration, lasts: Duration) -> Duration {
        let start = Instant::now();
        let (hangs, free) = (start + begins, start + begins + lasts);
        let mut watchdog = Watchdog::new(LIMIT);
        let (mut now, mut asked, mut fed, mut longest) = (start, start, start, Duration::ZERO);
        while now < free + LIMIT * 3 {
            // What was asked outside the hang is answered at once; within it, at its end.
            let answered_at = if (hangs..free).contains(&asked) { free } else { asked };
            let answered = Answered { control: true, journal: now >= answered_at };
            let turn = watchdog.turn(now, answered);
            if turn.feed {
                longest = longest.max(now.saturating_duration_since(fed));
                fed = now;
            }
            if turn.ask {
                asked = now;
                continue;
            }
            now = if now < free && turn.wake > free { free } else { turn.wake };
        }
        longest
    }

    proptest! {
        #[test]
        fn a_hang_beyond_the_limit_is_found_and_one_below_two_thirds_of_it_costs_nothing(
            begins in 0_u64..200_000,
            lasts in 0_u64..120_000,
        ) {
            let lasts = Duration::from_millis(lasts);
            let silence = longest_silence(Duration::from_millis(begins), lasts);
            if lasts > LIMIT {
                prop_assert!(silence >= lasts, "{silence:?}");
            }
            if lasts < LIMIT * 2 / 3 {
                prop_assert!(silence <= LIMIT, "{silence:?}");
            }
        }
    }
}
