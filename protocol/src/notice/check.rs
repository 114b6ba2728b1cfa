//! What a notice must be to mean anything, and whether it is for this gateway and this time.

use std::ops::RangeInclusive;

use super::{Content, ID_BYTES, NAME_BYTES, Notice, NoticeError, SCOPE_GATEWAYS, Scope, URL_BYTES, WHY_BYTES};
use crate::said;
use crate::said::Said;
use crate::terms::Bound;

/// Before this (2026-01-01) no notice was made: an earlier time comes from a clock that was never set.
pub const EARLIEST_MS: u64 = 1_767_225_600_000;

/// A later time (2100-01-01) is a slip of the unit.
pub const LATEST_MS: u64 = 4_102_444_800_000;

/// Longest time from issue to expiry: a year's notice and a month. What was taken in must be remembered until it expires,
/// so that nobody can bring it again later.
pub const LONGEST_MS: u64 = 400 * 86_400_000;

/// How far ahead of the gateway's clock a notice may have been issued. A synchronised gateway is right within a second;
/// the clock of the person's computer that signs may be off by minutes.
pub const SKEW_MS: u64 = 5 * 60_000;

/// Longest period over which gateways come back after a maintenance, in seconds: a day.
pub const RESUME_S: u32 = 86_400;

/// What is wrong with a notice's content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct Flaw {
    /// The field, by its name on the wire.
    pub field: String,
    /// What is wrong with it.
    pub problem: Said,
}

impl Flaw {
    pub(super) fn new(field: &str, problem: Said) -> Self {
        Self { field: field.to_owned(), problem }
    }
}

/// What is known of the time when a notice is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// It is this: the clock is right.
    Known(u64),
    /// It is this or later, such as the last time that was known to be right; 0 if nothing is known. Then what has
    /// certainly expired is refused, and nothing is too early.
    AtLeast(u64),
}

impl Notice {
    /// Whether its parts are within their bounds and make sense together.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), Flaw> {
        name("id", &self.id, ID_BYTES)?;
        let issued = EARLIEST_MS..=LATEST_MS;
        time("issued", self.issued_ms, &issued)?;
        time("expires", self.expires_ms, &(self.issued_ms + 1..=self.issued_ms + LONGEST_MS))?;
        text("why", &self.why, WHY_BYTES)?;
        if let Scope::Gateways(patterns) = &self.scope {
            if !(1..=SCOPE_GATEWAYS).contains(&patterns.len()) {
                let problem =
                    said!("{count} of them; there may be 1 to {most}", count = patterns.len(), most = SCOPE_GATEWAYS);
                return Err(Flaw::new("gateways", problem));
            }
            for pattern in patterns {
                // `*` alone stands for all.
                match pattern.strip_suffix('*') {
                    Some("") => {}
                    Some(start) => name("gateways", start, NAME_BYTES)?,
                    None => name("gateways", pattern, NAME_BYTES)?,
                }
            }
        }
        self.content.check()
    }

    /// Whether it is for this gateway and this time.
    ///
    /// # Errors
    /// [`NoticeError::NotForThisGateway`], [`NoticeError::Expired`], [`NoticeError::NotYetIssued`].
    pub fn judge(&self, gateway: &str, now: Now) -> Result<(), NoticeError> {
        if !self.scope.includes(gateway) {
            return Err(NoticeError::NotForThisGateway { gateway: gateway.to_owned() });
        }
        let (Now::Known(now_ms) | Now::AtLeast(now_ms)) = now;
        if now_ms > self.expires_ms {
            return Err(NoticeError::Expired { expires_ms: self.expires_ms, now_ms });
        }
        match now {
            Now::Known(now_ms) if self.issued_ms > now_ms.saturating_add(SKEW_MS) => {
                Err(NoticeError::NotYetIssued { issued_ms: self.issued_ms, now_ms })
            }
            _ => Ok(()),
        }
    }
}

impl Content {
    fn check(&self) -> Result<(), Flaw> {
        let (any, at_once_or_any) = (&(EARLIEST_MS..=LATEST_MS), &(0..=LATEST_MS));
        let begins = |from_ms: u64| match from_ms {
            0 => Ok(()),
            _ => time("from", from_ms, any),
        };
        let ends = |from_ms: u64, until_ms: u64| {
            begins(from_ms)?;
            time("until", until_ms, any)?;
            if until_ms > from_ms { Ok(()) } else { Err(Flaw::new("until", said!("is not after `from`"))) }
        };
        match self {
            Self::Maintenance { resume_s: Some(seconds), .. } if *seconds > RESUME_S => {
                Err(Flaw::new("resume_s", said!("{number} is more than {most}", number = seconds, most = RESUME_S)))
            }
            Self::Maintenance { from_ms, until_ms, .. } => ends(*from_ms, *until_ms),
            Self::Emergency { from_ms, until_ms } => {
                until_ms.map_or_else(|| begins(*from_ms), |end| ends(*from_ms, end))
            }
            Self::Restriction { from_ms, until_ms, limits } => {
                until_ms.map_or_else(|| begins(*from_ms), |end| ends(*from_ms, end))?;
                bounds(limits)
            }
            Self::Suspension { from_ms, .. } => begins(*from_ms),
            Self::Quota { until_ms } => time("until", *until_ms, any),
            Self::End { at_ms } => time("at", *at_ms, at_once_or_any),
            Self::TermsChanged { version, effective_ms, url } => {
                if version.is_empty() {
                    return Err(Flaw::new("version", said!("is empty")));
                }
                text("version", version, NAME_BYTES)?;
                text("url", url, URL_BYTES)?;
                time("effective", *effective_ms, at_once_or_any)
            }
            Self::Identity { effective_ms } => time("effective", *effective_ms, at_once_or_any),
            Self::Information | Self::Withdrawn => Ok(()),
            Self::Unknown { kind } if kind.is_empty() => Err(Flaw::new("kind", said!("is empty"))),
            Self::Unknown { kind } => text("kind", kind, NAME_BYTES),
        }
    }
}

fn bounds(limits: &[Bound]) -> Result<(), Flaw> {
    if limits.is_empty() {
        return Err(Flaw::new("limits", said!("says no limit")));
    }
    for (at, bound) in limits.iter().enumerate() {
        let key = format!("limits.{}", bound.kind().key());
        if limits[..at].iter().any(|other| other.kind() == bound.kind()) {
            return Err(Flaw::new(&key, said!("stands there twice")));
        }
        if let (Some(number), Some(range)) = (bound.number(), bound.kind().range()) {
            if !range.contains(&number) {
                let problem = said!(
                    "{number} is not within {min} to {max}",
                    number = number,
                    min = range.start(),
                    max = range.end()
                );
                return Err(Flaw::new(&key, problem));
            }
        }
        if matches!(bound, Bound::Windows(windows) if windows.is_never()) {
            return Err(Flaw::new(&key, said!("are never open")));
        }
    }
    Ok(())
}

fn name(field: &str, name: &str, most: usize) -> Result<(), Flaw> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > most || !name.chars().all(plain) {
        return Err(Flaw::new(field, said!("is not 1 to {most} of A-Z, a-z, 0-9, `.`, `_`, `-`", most = most)));
    }
    Ok(())
}

fn text(field: &str, text: &str, most: usize) -> Result<(), Flaw> {
    if text.len() > most {
        return Err(Flaw::new(field, said!("has {count} bytes, more than {most}", count = text.len(), most = most)));
    }
    // It is shown on terminals and written to logs.
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Flaw::new(field, said!("has control characters")));
    }
    Ok(())
}

fn time(field: &str, ms: u64, range: &RangeInclusive<u64>) -> Result<(), Flaw> {
    if range.contains(&ms) {
        return Ok(());
    }
    let problem = said!(
        "{number} is not within {min} to {max} (ms since the Unix epoch)",
        number = ms,
        min = range.start(),
        max = range.end()
    );
    Err(Flaw::new(field, problem))
}
