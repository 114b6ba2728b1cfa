//! What was announced: notices and entries of the status page, each with its window, and where in it a moment lies.

use serde::{Deserialize, Serialize};
use tidegate_protocol::stance::{Stance, Telemetry};

use super::bounds::KeptBound;
use super::own::{draw, within};
use super::settings::Span;
use super::time::Moment;

/// The page's word that a maintenance is under way holds for so long after it was read last: a page that cannot be read
/// any more must not keep a gateway shut. Two dozen polls at the usual pace.
pub(super) const STALE_MS: u64 = 2 * 3_600_000;

/// Who announced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Origin {
    /// A signed notice.
    Notice,
    /// The status page.
    Page,
    /// What an interruption leaves behind when it ends otherwise than by its date: the way back.
    Return,
}

/// What was announced. Dates in ms since the Unix epoch; a `from` of 0 is at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    Maintenance {
        from: u64,
        until: u64,
        resume_s: Option<u32>,
    },
    /// By the status page. `seen`: when it was last read to be under way; `passed`: it answers again.
    Planned {
        from: u64,
        until: Option<u64>,
        seen: Option<u64>,
        passed: bool,
    },
    Emergency {
        from: u64,
        until: Option<u64>,
    },
    Restriction {
        from: u64,
        until: Option<u64>,
        limits: Vec<KeptBound>,
    },
    Suspension {
        from: u64,
        breach: u8,
    },
    Quota {
        until: u64,
    },
    End {
        at: u64,
    },
    Terms {
        version: String,
        from: u64,
        accepted: bool,
    },
    Identity {
        from: u64,
    },
    /// Over since `base` by somebody's word: back over `period` ms.
    Return {
        stance: String,
        base: u64,
        period: u64,
    },
    /// Nothing: only kept so that what was issued earlier is known for that.
    Gone,
}

/// Where in its course something announced is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nothing comes of it.
    #[default]
    None,
    /// It is to come.
    Ahead,
    /// It holds.
    Holds,
    /// It holds beyond its end, because it is said to be under way.
    Overrun,
    /// It is over, and this gateway's moment to come back has not come.
    Waits,
    /// This gateway comes back.
    Ramps,
    /// It is over.
    Past,
}

/// Something announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) origin: Origin,
    /// The notice's or the page's id of it.
    pub(super) id: String,
    /// The key that signed it.
    #[serde(default)]
    pub(super) key: String,
    #[serde(default)]
    pub(super) issued: u64,
    /// Until when a repeat of it may come.
    #[serde(default)]
    pub(super) expires: u64,
    /// When it was taken in.
    pub(super) received: u64,
    #[serde(default)]
    pub(super) why: String,
    pub(super) said: Said,
    /// The phase that was logged last.
    #[serde(default)]
    pub(super) logged: Phase,
    /// It was said that Flux accepts although this suspends.
    #[serde(default)]
    pub(super) odd: bool,
}

/// What phases depend on besides the item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways<'a> {
    pub(super) gateway: &'a str,
    pub(super) span: Span,
    /// Changed terms hold.
    pub(super) holds_terms: bool,
}

/// An item's course: when it changes, in ms since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) from: u64,
    /// Its planned end, where it may hold beyond it.
    pub(super) planned: Option<u64>,
    /// When it ends; never without it.
    pub(super) end: Option<u64>,
    /// When this gateway goes on.
    pub(super) back: Option<u64>,
    /// When it is as before.
    pub(super) done: Option<u64>,
    /// Its beginning, and its end, are dates that somebody said; otherwise this gateway reckoned them.
    pub(super) said: (bool, bool),
}

impl Said {
    /// The way back from a stance.
    pub(super) fn back_from(stance: Stance, base: u64, period: u64) -> Self {
        Self::Return { stance: stance.as_str().to_owned(), base, period }
    }

    /// The stance that it makes; none where nothing is held up by it.
    pub(super) fn stance(&self) -> Option<Stance> {
        match self {
            Self::Maintenance { .. } | Self::Planned { .. } => Some(Stance::Maintenance),
            Self::Emergency { .. } => Some(Stance::Yield),
            Self::Restriction { .. } => Some(Stance::Restricted),
            Self::Suspension { .. } => Some(Stance::Suspended),
            Self::Quota { .. } => Some(Stance::Quota),
            Self::End { .. } => Some(Stance::Ended),
            Self::Terms { .. } => Some(Stance::Held),
            Self::Return { stance, .. } => {
                Stance::ALL.into_iter().find(|one| one.as_str() == stance).or(Some(Stance::Maintenance))
            }
            Self::Identity { .. } | Self::Gone => None,
        }
    }

    /// The kind, as in [`Content::kind`](tidegate_protocol::notice::Content::kind).
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Maintenance { .. } | Self::Planned { .. } => "maintenance",
            Self::Emergency { .. } => "emergency",
            Self::Restriction { .. } => "restriction",
            Self::Suspension { .. } => "suspension",
            Self::Quota { .. } => "quota",
            Self::End { .. } => "end",
            Self::Terms { .. } => "terms_changed",
            Self::Identity { .. } => "identity",
            Self::Return { .. } => "return",
            Self::Gone => "withdrawn",
        }
    }
}

impl Item {
    /// When it changes, for a gateway; `None` if nothing comes of it.
    pub(super) fn course(&self, ways: &Ways<'_>) -> Option<Course> {
        let (from, end, planned) = match &self.said {
            Said::Maintenance { from, until, .. } => (*from, Some(*until), None),
            Said::Planned { passed: true, .. } | Said::Terms { accepted: true, .. } | Said::Gone => return None,
            Said::Planned { from, until, seen: None, .. } => (*from, until.or(Some(*from)), None),
            Said::Planned { from, until, seen: Some(seen), .. } => {
                let stale = seen.saturating_add(STALE_MS);
                (*from.min(seen), Some(until.map_or(stale, |until| until.max(stale))), *until)
            }
            Said::Emergency { from, until } | Said::Restriction { from, until, .. } => (*from, *until, None),
            Said::Quota { until } => (0, Some(*until), None),
            Said::End { at } => (*at, None, None),
            Said::Terms { .. } if !ways.holds_terms => return None,
            Said::Suspension { from, .. } | Said::Terms { from, .. } | Said::Identity { from } => (*from, None, None),
            Said::Return { base, .. } => (*base, Some(*base), None),
        };
        let said = (from != 0 && self.origin != Origin::Return, self.origin != Origin::Return);
        let from = if from == 0 { self.received } else { from };
        let softly = self.said.stance().is_some_and(|stance| stance.leave().telemetry < Telemetry::All);
        // What was over before it was known stopped nothing, and a window that ends before it begins is none.
        let held = end.is_none_or(|end| end > self.received && end > from) || self.origin == Origin::Return;
        let back = end.filter(|_| softly && held).map(|end| {
            // Drawn by the end as it was announced: that of a page that is read again and again moves.
            let number = planned.unwrap_or(end);
            end.saturating_add(within(draw(ways.gateway, &self.id, number), self.period(ways)))
        });
        let done = back.map(|back| back.saturating_add(ways.span.ramp));
        Some(Course { from, planned, end, back, done, said })
    }

    /// Over how many ms gateways come back.
    pub(super) fn period(&self, ways: &Ways<'_>) -> u64 {
        match &self.said {
            Said::Maintenance { resume_s: Some(seconds), .. } => {
                (u64::from(*seconds) * 1_000).min(Span::MOST_RESUME_MS)
            }
            Said::Return { period, .. } => *period,
            _ => ways.span.resume,
        }
    }

    /// The date that counts for it: the page's own for what the page announces.
    pub(super) fn date(&self, at: Moment) -> u64 {
        if self.origin == Origin::Page { at.page } else { at.date }
    }

    /// Which steady time a date of its course is or was.
    pub(super) fn steady_of(&self, date: u64, at: Moment) -> u64 {
        at.steady.saturating_add(date).saturating_sub(self.date(at))
    }

    /// Where in its course it is at a moment.
    pub(super) fn phase(&self, ways: &Ways<'_>, at: Moment) -> Phase {
        let date = self.date(at);
        let Some(course) = self.course(ways) else { return Phase::None };
        let reached = |at: Option<u64>| at.is_some_and(|at| at <= date);
        let past = if course.back.is_none() { Phase::Past } else { Phase::Waits };
        if course.end.is_some_and(|end| end <= course.from) && self.origin != Origin::Return {
            // Announced for later without an end: whether it holds is told by the page.
            return if date < course.from { Phase::Ahead } else { Phase::Past };
        }
        if date < course.from {
            Phase::Ahead
        } else if !reached(course.end) {
            if reached(course.planned) { Phase::Overrun } else { Phase::Holds }
        } else if reached(course.done) {
            Phase::Past
        } else if reached(course.back) {
            Phase::Ramps
        } else {
            past
        }
    }

    /// Whether it is the notice, or the page's entry, of this id.
    pub(super) fn is(&self, origin: Origin, id: &str) -> bool {
        self.origin == origin && self.id == id
    }
}

impl Phase {
    /// Whether its stance holds.
    pub(super) const fn holds(self) -> bool {
        matches!(self, Self::Holds | Self::Overrun | Self::Waits)
    }
}
