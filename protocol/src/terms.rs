//! Terms: what a contract, a provider or an operator allows, as limits that each say where they come from and what for.
//!
//! # Constraints
//! - SORACOM's terms give no number for any rate or volume. So a [`Limit`] here is always *a number, its [`Source`] and
//!   the [`Clause`] it serves*: whoever wonders why a gateway is slow is told who said so and under which clause.
//! - Nothing here knows the time, a file or the network. A limit that ends by itself is taken away by whoever put it there.
//! - A number that cannot be obeyed cannot be written: rates and counts are never 0, a share is above 0 and at most 1.
//!
//! # How it works
//! Each place that limits something gives one document, [`Terms`]; a document says each [`Kind`] at most once. Merging
//! documents is the gate's work (`shape::limits` of the agent): for each kind the tightest binds, as
//! [`Bound::is_tighter_than`] has it. What stands in a document and is not understood is kept by name in
//! [`Terms::unknown`], because a contract's file may be newer than the agent that reads it (clause 9.3(2)).
//!
//! # Kinds
//!
//! | kind | unit | clause | what is counted |
//! |---|---|---|---|
//! | rate, up and down | bit/s | 5.1(2) | bytes on the wire: IP and TCP headers, acknowledgements, handshakes, names |
//! | burst | bytes | 5.1(2) | what may pass at once after a rest |
//! | sustained | bytes an hour or a day | 11.1(3) | bytes on the wire, both directions |
//! | bytes a month | bytes | 12 | the same, of the account, by the billing calendar |
//! | events a minute | events | 10.1(6) | requests with telemetry |
//! | events a day | events | 10.1(6) | the same, by the billing calendar |
//! | events a month | events, or unlimited | 10.1(6) | the same, of the account, by the billing calendar |
//! | share | 0 to 1 | 10.1(6) | this gateway's part of the account's month |
//! | windows | spans of local time | 5.1(2) | when lanes that can wait may leave |

mod clause;
mod windows;

use std::fmt;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

pub use clause::{Clause, ClauseError};
pub use windows::{MINUTES_OF_WEEK, WindowError, Windows};

use crate::units::{format_count, format_rate, format_size};

/// What is limited. The order is that in which limits are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What may leave, in bit/s.
    RateUp,
    /// What may come in, in bit/s.
    RateDown,
    /// What may pass at once after a rest, in bytes.
    Burst,
    /// Bytes in an hour.
    BytesPerHour,
    /// Bytes in a day.
    BytesPerDay,
    /// Bytes of the account in a month.
    BytesPerMonth,
    /// Events in a minute.
    EventsPerMinute,
    /// Events in a day.
    EventsPerDay,
    /// Events of the account in a month.
    EventsPerMonth,
    /// This gateway's part of the account's month.
    Share,
    /// When what can wait may leave.
    Windows,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::RateUp,
        Self::RateDown,
        Self::Burst,
        Self::BytesPerHour,
        Self::BytesPerDay,
        Self::BytesPerMonth,
        Self::EventsPerMinute,
        Self::EventsPerDay,
        Self::EventsPerMonth,
        Self::Share,
        Self::Windows,
    ];

    /// The key in `[limits]` of a configuration or a terms file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::RateUp => "rate",
            Self::RateDown => "rate_down",
            Self::Burst => "burst",
            Self::BytesPerHour => "bytes_per_hour",
            Self::BytesPerDay => "bytes_per_day",
            Self::BytesPerMonth => "bytes_per_month",
            Self::EventsPerMinute => "events_per_minute",
            Self::EventsPerDay => "events_per_day",
            Self::EventsPerMonth => "events_per_month",
            Self::Share => "share",
            Self::Windows => "windows",
        }
    }

    /// What a limit of this kind may be, in its unit: outside of it a number is a slip of the unit, or cannot be kept.
    /// Windows have none.
    pub const fn range(self) -> Option<RangeInclusive<u64>> {
        Some(match self {
            // From where a packet takes twelve seconds to beyond any gateway's line.
            Self::RateUp | Self::RateDown => 1_000..=100_000_000_000,
            // Two packets of 1,500 bytes: with fewer, the next could never be on the way while one is acknowledged.
            Self::Burst => 3_000..=1 << 30,
            // Up to a month at 2.5 Gbit/s.
            Self::BytesPerHour | Self::BytesPerDay | Self::BytesPerMonth => 1_000..=1_000_000_000_000_000,
            Self::EventsPerMinute => 1..=1_000_000,
            Self::EventsPerDay | Self::EventsPerMonth => 1..=1_000_000_000,
            Self::Share => 1..=Share::WHOLE as u64,
            Self::Windows => return None,
        })
    }

    /// The kind whose [`Kind::key`] this is.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }

    /// The clause that a limit of this kind serves unless a document says another.
    pub const fn clause(self) -> Clause {
        match self {
            // "traffic that holds bandwidth continuously and in bulk" is throttled.
            Self::RateUp | Self::RateDown | Self::Burst | Self::Windows => Clause::of(5, Some(1), &[2]),
            // No continuous traffic over the provider's criterion.
            Self::BytesPerHour | Self::BytesPerDay => Clause::of(11, Some(1), &[3]),
            // Fees.
            Self::BytesPerMonth => Clause::of(12, None, &[]),
            // "too many inputs may lead to restriction".
            Self::EventsPerMinute | Self::EventsPerDay | Self::EventsPerMonth | Self::Share => {
                Clause::of(10, Some(1), &[6])
            }
        }
    }
}

/// The events that an account may have in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// So many.
    Events(NonZeroU64),
    /// Any number: a plan without a quota.
    Unlimited,
}

/// A part of a whole, above 0 and at most 1, to the millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// Millionths of a whole.
    const WHOLE: u32 = 1_000_000;

    /// All of it.
    pub const ALL: Self = Self(Self::WHOLE);

    /// A share of so many millionths, 1 to 1,000,000.
    pub fn of_millionths(millionths: u32) -> Option<Self> {
        (1..=Self::WHOLE).contains(&millionths).then_some(Self(millionths))
    }

    /// Its millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// So much of `whole`, rounded down: what is shared is never exceeded by all gateways together.
    pub fn part(self, whole: u64) -> u64 {
        (u128::from(whole) * u128::from(self.0) / u128::from(Self::WHOLE)) as u64
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        if part == 0 {
            return write!(f, "{whole} %");
        }
        let decimals = format!("{part:04}");
        write!(f, "{whole}.{} %", decimals.trim_end_matches('0'))
    }
}

/// A kind with its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// [`Kind::RateUp`], bit/s.
    RateUp(NonZeroU64),
    /// [`Kind::RateDown`], bit/s.
    RateDown(NonZeroU64),
    /// [`Kind::Burst`], bytes.
    Burst(NonZeroU64),
    /// [`Kind::BytesPerHour`].
    BytesPerHour(NonZeroU64),
    /// [`Kind::BytesPerDay`].
    BytesPerDay(NonZeroU64),
    /// [`Kind::BytesPerMonth`].
    BytesPerMonth(NonZeroU64),
    /// [`Kind::EventsPerMinute`].
    EventsPerMinute(NonZeroU64),
    /// [`Kind::EventsPerDay`].
    EventsPerDay(NonZeroU64),
    /// [`Kind::EventsPerMonth`].
    EventsPerMonth(Quota),
    /// [`Kind::Share`].
    Share(Share),
    /// [`Kind::Windows`].
    Windows(Windows),
}

impl Bound {
    /// What it limits.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::RateUp(_) => Kind::RateUp,
            Self::RateDown(_) => Kind::RateDown,
            Self::Burst(_) => Kind::Burst,
            Self::BytesPerHour(_) => Kind::BytesPerHour,
            Self::BytesPerDay(_) => Kind::BytesPerDay,
            Self::BytesPerMonth(_) => Kind::BytesPerMonth,
            Self::EventsPerMinute(_) => Kind::EventsPerMinute,
            Self::EventsPerDay(_) => Kind::EventsPerDay,
            Self::EventsPerMonth(_) => Kind::EventsPerMonth,
            Self::Share(_) => Kind::Share,
            Self::Windows(_) => Kind::Windows,
        }
    }

    /// Its number, in the unit of its kind; a share in millionths. `None` where it has none: unlimited, or windows.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::RateUp(number)
            | Self::RateDown(number)
            | Self::Burst(number)
            | Self::BytesPerHour(number)
            | Self::BytesPerDay(number)
            | Self::BytesPerMonth(number)
            | Self::EventsPerMinute(number)
            | Self::EventsPerDay(number)
            | Self::EventsPerMonth(Quota::Events(number)) => Some(number.get()),
            Self::EventsPerMonth(Quota::Unlimited) | Self::Windows(_) => None,
            Self::Share(share) => Some(share.millionths().into()),
        }
    }

    /// Whether it allows less than another of its kind: a smaller number, or windows that are open at no minute at which
    /// the other's are not, and at fewer. Of two kinds neither is tighter.
    pub fn is_tighter_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Windows(one), Self::Windows(other)) => one != other && one.intersect(other) == *one,
            _ => self.kind() == other.kind() && self < other,
        }
    }
}

impl Kind {
    /// A limit of this kind to so many of its unit, a share to so many millionths: what [`Bound::number`] gives back. `None` for
    /// windows, which have no number, and for a share of more than the whole.
    pub fn bound(self, number: NonZeroU64) -> Option<Bound> {
        Some(match self {
            Self::RateUp => Bound::RateUp(number),
            Self::RateDown => Bound::RateDown(number),
            Self::Burst => Bound::Burst(number),
            Self::BytesPerHour => Bound::BytesPerHour(number),
            Self::BytesPerDay => Bound::BytesPerDay(number),
            Self::BytesPerMonth => Bound::BytesPerMonth(number),
            Self::EventsPerMinute => Bound::EventsPerMinute(number),
            Self::EventsPerDay => Bound::EventsPerDay(number),
            Self::EventsPerMonth => Bound::EventsPerMonth(Quota::Events(number)),
            Self::Share => Bound::Share(Share::of_millionths(u32::try_from(number.get()).ok()?)?),
            Self::Windows => return None,
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateUp(rate) | Self::RateDown(rate) => f.write_str(&format_rate(rate.get())),
            Self::Burst(bytes) => f.write_str(&format_size(bytes.get())),
            Self::BytesPerHour(bytes) => write!(f, "{} an hour", format_size(bytes.get())),
            Self::BytesPerDay(bytes) => write!(f, "{} a day", format_size(bytes.get())),
            Self::BytesPerMonth(bytes) => write!(f, "{} a month", format_size(bytes.get())),
            Self::EventsPerDay(events) => write!(f, "{} a day", format_count(events.get())),
            Self::EventsPerMinute(events) => write!(f, "{} a minute", format_count(events.get())),
            Self::EventsPerMonth(Quota::Events(events)) => write!(f, "{} a month", format_count(events.get())),
            Self::EventsPerMonth(Quota::Unlimited) => f.write_str("unlimited"),
            Self::Share(share) => share.fmt(f),
            Self::Windows(windows) => windows.fmt(f),
        }
    }
}

/// Who says a limit. The order has no meaning of its own: it settles which of two equal limits is said to bind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The contract's terms file.
    Terms {
        /// Its path.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// The provider, while the gateway runs.
    Provider(Provider),
    /// The operator's configuration.
    Operator {
        /// Its path.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// Nobody: what stands while nobody says anything of this kind.
    Default {
        /// Why this number.
        why: &'static str,
    },
}

/// How the provider says a limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// By the SIM's speed class, as the metadata service tells it.
    SpeedClass {
        /// Such as `s1.slow`.
        class: String,
        /// Whether the table of speed classes has it; if not, the slowest rate of the table stands for it.
        known: bool,
    },
    /// By the rate-limit headers of an answer.
    RateLimitHeader,
    /// By answers that say that it is too much (429).
    Throttled,
    /// By an interruption that is over: those who come back do so slowly.
    WayBack,
    /// By a notice.
    Notice {
        /// The notice's name or number.
        id: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terms { file, line } => write!(f, "terms, {file} line {line}"),
            Self::Provider(provider) => provider.fmt(f),
            Self::Operator { file, line } => write!(f, "operator, {file} line {line}"),
            Self::Default { why } => write!(f, "default: {why}"),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpeedClass { class, known: true } => write!(f, "SIM speed class {class}"),
            Self::SpeedClass { class, known: false } => {
                write!(f, "SIM speed class {class}, which the table does not have: the slowest it has")
            }
            Self::RateLimitHeader => f.write_str("rate-limit header of an answer"),
            Self::Throttled => f.write_str("answers that say that it is too much"),
            Self::WayBack => f.write_str("the way back after an interruption"),
            Self::Notice { id } => write!(f, "notice {id}"),
        }
    }
}

/// A number, who says it, and the clause it serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    /// What is limited, and to what.
    pub bound: Bound,
    /// Who says so.
    pub source: Source,
    /// What for.
    pub clause: Clause,
}

impl Limit {
    /// A limit that serves its kind's usual clause.
    pub fn new(bound: Bound, source: Source) -> Self {
        Self { clause: bound.kind().clause(), bound, source }
    }
}

/// What one place says: a document of limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the document calls itself; empty if it does not.
    pub title: String,
    /// Its version, as it says it; empty if it does not. A change of it is a change of terms (clause 1.2).
    pub version: String,
    /// The limits, each kind at most once.
    limits: Vec<Limit>,
    /// What stands in it and is not understood, by name and place: tolerated, counted and shown. The first of them.
    pub unknown: Vec<String>,
    /// How many there are in all.
    pub unknown_count: usize,
}

impl Terms {
    /// A document of these limits. Of two of a kind the tighter stands; of windows what both allow.
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Self {
        let mut terms = Self::default();
        limits.into_iter().for_each(|limit| terms.add(limit));
        terms
    }

    /// Adds a limit, as [`Terms::new`] does.
    pub fn add(&mut self, limit: Limit) {
        let Some(held) = self.limits.iter_mut().find(|held| held.bound.kind() == limit.bound.kind()) else {
            return self.limits.push(limit);
        };
        match (&held.bound, &limit.bound) {
            (Bound::Windows(one), Bound::Windows(other)) => held.bound = Bound::Windows(one.intersect(other)),
            _ if limit.bound.is_tighter_than(&held.bound) => *held = limit,
            _ => {}
        }
    }

    /// The limits, each kind at most once.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }
}

#[cfg(test)]
mod tests;
