//! Stance: what the provider allows now, and what may be done under it.
//!
//! # Constraints
//! - Several stances may hold at once, each for its own ground. Their effects combine ([`Leave::and`]): lanes intersect, any
//!   stop wins; when one lifts the others remain. Limits combine as [`terms`](crate::terms) do.
//! - **One table** says for each stance who may still do what: [`Stance::leave`]. No other code decides that.
//!
//! | stance | telemetry | probe | status page, metadata | names | time |
//! |---|---|---|---|---|---|
//! | open, restricted | all lanes | – | yes | yes | yes |
//! | yield | lanes that go first | – | yes | yes | yes |
//! | maintenance | no | behind its end | yes | yes | yes |
//! | quota, suspended | no | rarely | yes | yes | yes |
//! | held | no | no | yes | yes | yes |
//! | ended | no | no | no | for the time | while the clock is not trusted |
//!
//! *names*: whether name servers may be asked. Who asks for the time has its host's name resolved whenever it may ask.
//!
//! A *probe* is one record, the oldest stored. When it is due is the machine's to say (`provider::machine` of the agent);
//! the table says whether there may be one.
//!
//! On a suspended SIM no connection comes about at all; what may be tried then is tried at the probes' pace, so that it
//! is no reconnect loop (device guideline, after GSMA TS.34).

use std::fmt;

/// What the provider allows. The order is that in which they are shown: the first is what a person should know first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stance {
    /// The service or the contract is over (5.3, 6.2).
    Ended,
    /// Sending is not allowed, and trying again does not cure it (5.1(3)).
    Suspended,
    /// A person has to say something first: changed terms are not accepted (1.2), or an operator said to wait.
    Held,
    /// The account has used up what it may use (10.1(6), 12).
    Quota,
    /// The service is being worked on (5.2(1)).
    Maintenance,
    /// An emergency: traffic in the public interest goes first (5.1(1)).
    Yield,
    /// Less than usual is allowed (5.1(2)).
    Restricted,
    /// Nothing stands in the way.
    Open,
}

/// Which telemetry may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Telemetry {
    /// None.
    Nothing,
    /// Only that of lanes that go first.
    First,
    /// All.
    All,
}

/// Whether something may be asked for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskTime {
    /// Only while the clock is not trusted: windows and ends cannot be judged without it.
    WhileUntrusted,
    /// Yes.
    Always,
}

/// Who may still do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leave {
    /// Which telemetry may leave.
    pub telemetry: Telemetry,
    /// Whether a probe may be sent when it is due. Meaningless where telemetry may leave.
    pub probe: bool,
    /// Whether the status page and the metadata service may be asked.
    pub poll: bool,
    /// Whether names may be resolved, for anything but the time.
    pub names: bool,
    /// Whether something may be asked for the time.
    pub time: AskTime,
}

impl AskTime {
    /// Whether it may be asked. `trusted`: the clock is known to be right.
    #[must_use]
    pub const fn lets(self, trusted: bool) -> bool {
        match self {
            Self::WhileUntrusted => !trusted,
            Self::Always => true,
        }
    }
}

impl Leave {
    /// Everything.
    pub const ALL: Self =
        Self { telemetry: Telemetry::All, probe: true, poll: true, names: true, time: AskTime::Always };

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            telemetry: self.telemetry.min(other.telemetry),
            probe: self.probe && other.probe,
            poll: self.poll && other.poll,
            names: self.names && other.names,
            time: self.time.min(other.time),
        }
    }
}

impl Stance {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Ended,
        Self::Suspended,
        Self::Held,
        Self::Quota,
        Self::Maintenance,
        Self::Yield,
        Self::Restricted,
        Self::Open,
    ];

    /// The table: who may still do what.
    pub const fn leave(self) -> Leave {
        let all = Leave::ALL;
        match self {
            Self::Open | Self::Restricted => all,
            Self::Yield => Leave { telemetry: Telemetry::First, ..all },
            Self::Maintenance | Self::Quota | Self::Suspended => Leave { telemetry: Telemetry::Nothing, ..all },
            Self::Held => Leave { telemetry: Telemetry::Nothing, probe: false, ..all },
            Self::Ended => Leave {
                telemetry: Telemetry::Nothing,
                probe: false,
                poll: false,
                names: false,
                time: AskTime::WhileUntrusted,
            },
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Suspended => "suspended",
            Self::Held => "held",
            Self::Quota => "quota",
            Self::Maintenance => "maintenance",
            Self::Yield => "yield",
            Self::Restricted => "restricted",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_for_each_stance_who_may_still_do_what() {
        use AskTime::{Always, WhileUntrusted};
        use Telemetry::{All, First, Nothing};
        let table = [
            (Stance::Ended, Nothing, false, false, false, WhileUntrusted),
            (Stance::Suspended, Nothing, true, true, true, Always),
            (Stance::Held, Nothing, false, true, true, Always),
            (Stance::Quota, Nothing, true, true, true, Always),
            (Stance::Maintenance, Nothing, true, true, true, Always),
            (Stance::Yield, First, true, true, true, Always),
            (Stance::Restricted, All, true, true, true, Always),
            (Stance::Open, All, true, true, true, Always),
        ];
        assert_eq!(table.map(|row| row.0), Stance::ALL, "in the order in which they are shown");
        for (stance, telemetry, probe, poll, names, time) in table {
            assert_eq!(stance.leave(), Leave { telemetry, probe, poll, names, time }, "{stance}");
        }
    }

    #[test]
    fn with_an_untrusted_clock_the_time_may_always_be_asked_whatever_holds() {
        for one in Stance::ALL {
            for other in Stance::ALL {
                assert!(one.leave().and(other.leave()).time.lets(false), "{one} and {other}");
            }
        }
        assert!(!Stance::Ended.leave().time.lets(true) && Stance::Suspended.leave().time.lets(true));
    }

    #[test]
    fn of_several_any_stop_wins_in_whatever_order_they_are_combined() {
        for one in Stance::ALL {
            for other in Stance::ALL {
                let both = one.leave().and(other.leave());
                assert_eq!(both, other.leave().and(one.leave()));
                assert_eq!(both.and(both), both);
                assert!(both.telemetry <= one.leave().telemetry && both.telemetry <= other.leave().telemetry);
                assert!(!both.probe || one.leave().probe && other.leave().probe);
            }
        }
    }
}
