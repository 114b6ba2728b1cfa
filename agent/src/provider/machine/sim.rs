//! What the SIM's metadata service says of the line: its status, and when it is to be stopped.

use serde::{Deserialize, Serialize};
use tidegate_protocol::stance::Stance;

use super::cut;
use super::time::{LATEST_MS, Moment};

/// Longest status or action that is kept, in bytes.
const WORD_BYTES: usize = 32;

/// What was told last. Dates in ms since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sim {
    pub(super) status: Option<String>,
    /// Since when the status is this one, steady.
    pub(super) since: u64,
    /// Flux accepted something over the line since, so the status stops nothing.
    pub(super) overruled: bool,
    pub(super) expiry: Option<(u64, String)>,
    /// The line was up after that, so it stops nothing.
    pub(super) outlived: bool,
    /// The operator wants it tried again since it was told last: that the line was to be terminated may be no longer so,
    /// and one that has ended asks nobody. It counts as suspended until it is told anew.
    pub(super) doubted: bool,
    /// That the status, and that the expiry, stops the line was logged, and that it does so no more was not.
    pub(super) logged: (bool, bool),
}

impl Sim {
    /// The stance that a status makes. `inactive`: sessions are refused for the time being; `suspended` and `terminated`: for
    /// good. In the others a line is usable, and so it is in one that is not known.
    pub(super) fn by_status(&self) -> Option<Stance> {
        let stopped = matches!(self.status.as_deref(), Some("suspended" | "terminated" | "inactive"));
        (stopped && !self.overruled).then_some(Stance::Suspended)
    }

    /// The stance that its expiry makes, and from when. `deleteSession` ends a session, and the line connects anew.
    pub(super) fn by_expiry(&self) -> Option<(Stance, u64)> {
        let (at, action) = self.expiry.as_ref().filter(|_| !self.outlived)?;
        match action.as_str() {
            "suspend" | "deactivate" => Some((Stance::Suspended, *at)),
            "terminate" => Some((if self.doubted { Stance::Suspended } else { Stance::Ended }, *at)),
            _ => None,
        }
    }

    /// The operator wants it tried again: nothing is forgotten, but a line that has ended may show that it has not. Says
    /// whether anything is new.
    pub(super) fn doubt(&mut self, date: u64) -> bool {
        let ended = self.by_expiry().is_some_and(|(stance, at)| stance == Stance::Ended && at <= date);
        self.doubted |= ended;
        ended
    }

    /// Takes in what was told at a moment. Says whether anything is new.
    pub(super) fn tell(&mut self, status: Option<String>, expiry: Option<(u64, String)>, at: Moment) -> bool {
        let before = self.clone();
        self.doubted = false;
        if let Some(mut status) = status {
            cut(&mut status, WORD_BYTES);
            if self.status.as_ref() != Some(&status) {
                (self.status, self.since, self.overruled) = (Some(status), at.steady, false);
                // Another one that stops is news; that it stops no more is news only where it was said that it does.
                self.logged.0 &= self.by_status().is_none();
            }
        }
        let expiry = expiry.map(|(at, mut action)| {
            cut(&mut action, WORD_BYTES);
            (at.min(LATEST_MS), action)
        });
        if self.expiry != expiry {
            (self.expiry, self.outlived) = (expiry, false);
            self.logged.1 &= self.by_expiry().is_none_or(|(_, expiry)| expiry > at.date);
        }
        let up = matches!(self.status.as_deref(), Some("active" | "ready"));
        // It is told of a line that is up after it was to be stopped.
        self.outlived |= up && self.expiry.as_ref().is_some_and(|(expiry, _)| *expiry <= at.date);
        *self != before
    }

    /// Flux accepted something. Says whether that ends what was told; whoever is told so writes it down.
    pub(super) fn accepted(&mut self, date: u64) -> bool {
        let stops = self.by_status().is_some();
        let expired = self.by_expiry().is_some_and(|(stance, at)| at <= date && stance != Stance::Ended);
        (self.overruled, self.outlived) = (self.overruled || stops, self.outlived || expired);
        self.logged = (self.logged.0 && !stops, self.logged.1 && !expired);
        stops || expired
    }

    pub(super) fn bound(&mut self, steady: u64) {
        self.since = self.since.min(steady);
        if let Some(status) = &mut self.status {
            cut(status, WORD_BYTES);
        }
        if let Some((at, action)) = &mut self.expiry {
            *at = (*at).min(LATEST_MS);
            cut(action, WORD_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(date: u64) -> Moment {
        Moment { date, known: true, steady: date, page: date }
    }

    fn sim(status: &str, expiry: Option<(u64, &str)>) -> Sim {
        let mut sim = Sim::default();
        sim.tell(Some(status.into()), expiry.map(|(at, action)| (at, action.into())), at(1_000));
        sim
    }

    #[test]
    fn statuses_in_which_no_session_comes_about_suspend_and_others_do_not() {
        for (status, suspends) in [
            ("active", false),
            ("ready", false),
            ("standby", false),
            ("testing", false),
            ("hibernating", false),
            ("suspended", true),
            ("terminated", true),
            ("inactive", true),
        ] {
            assert_eq!(sim(status, None).by_status().is_some(), suspends, "{status}");
        }
    }

    #[test]
    fn an_expiry_stops_the_line_as_its_action_says() {
        for (action, stance) in [
            ("suspend", Some(Stance::Suspended)),
            ("deactivate", Some(Stance::Suspended)),
            ("terminate", Some(Stance::Ended)),
            ("doNothing", None),
            ("deleteSession", None),
            ("somethingNew", None),
        ] {
            let found = sim("active", Some((5_000, action))).by_expiry();
            assert_eq!(found, stance.map(|stance| (stance, 5_000)), "{action}");
        }
    }

    #[test]
    fn what_flux_accepts_overrules_a_status_until_that_changes() {
        let mut one = sim("suspended", None);
        assert!(one.accepted(2_000) && one.by_status().is_none());
        assert!(!one.tell(Some("suspended".into()), None, at(3_000)) && one.by_status().is_none(), "the same again");
        one.tell(Some("active".into()), None, at(4_000));
        one.tell(Some("suspended".into()), None, at(5_000));
        assert_eq!(one.by_status(), Some(Stance::Suspended));
    }

    #[test]
    fn an_expiry_that_the_line_outlived_stops_nothing_and_one_that_is_put_off_does_at_its_new_time() {
        let mut one = sim("active", Some((5_000, "suspend")));
        one.tell(Some("active".into()), Some((5_000, "suspend".into())), at(6_000));
        assert_eq!(one.by_expiry(), None);
        one.tell(None, Some((9_000, "suspend".into())), at(7_000));
        assert_eq!(one.by_expiry(), Some((Stance::Suspended, 9_000)));
        one.tell(None, None, at(8_000));
        assert_eq!(one.by_expiry(), None);
    }

    #[test]
    fn a_termination_that_the_operator_doubts_suspends_until_it_is_told_anew() {
        let terminate = Some((5_000, "terminate".to_owned()));
        let mut one = Sim::default();
        one.tell(None, terminate.clone(), at(1_000));
        assert!(!one.doubt(4_000), "it is still ahead");
        assert!(one.doubt(6_000) && one.by_expiry() == Some((Stance::Suspended, 5_000)));
        one.tell(None, terminate, at(7_000));
        assert_eq!(one.by_expiry(), Some((Stance::Ended, 5_000)));
        assert!(one.doubt(8_000) && one.accepted(9_000) && one.by_expiry().is_none(), "Flux takes the probe");
    }
}
