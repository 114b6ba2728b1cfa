//! The system's clocks, and who says that the wall clock is right.
//!
//! # Constraints
//! - The kernel is not asked (`adjtimex`): a hardened service may not call it. What is believed is what the system's own
//!   time services say ([`synchronised`](super::synchronised)), and what an authenticated server says of the time.
//! - Nothing here ever sets the system's clock. Where it is known to be wrong, the right time is kept beside it.
//! - Trust that was once given lasts until the process ends. Time services withdraw "synchronised" when they have not
//!   heard from a server for hours, as on a gateway that has lost its line; a clock that was right then goes wrong by
//!   some seconds a week (50 ppm is 4 s a day at worst), which is no reason to call its times unknown.
//!
//! # How it works
//! The system's word counts for more than a server's: it is exact to milliseconds, a `Date` header to a second and the
//! length of the request. A told time that agrees with the system's clock makes that one trusted as it is; otherwise the
//! difference between told time and uptime is used instead, until the system is synchronised or a told time agrees with
//! its clock. A told time replaces another if it is more exact, or if both cannot be true.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Clock, EARLIEST_MS, Stamp, boot_number, difference, now_ms, uptime_ms};

/// A told time and the system's clock agree if they are no further apart than this and the told one's own error: what is
/// promised of a corrected time is the right second or a few of them.
const AGREE_MS: u64 = 5_000;

/// A told time that may be further off is not used: it would be a guess.
const WORST_ERROR_MS: u64 = 15_000;

/// No offset is known.
const UNKNOWN: i64 = i64::MIN;

/// Who says that the time is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The time service's marker file.
    Marker,
    /// systemd-timedated.
    Timedated,
    /// The `Date` of an answer over verified TLS.
    Answer,
}

impl Source {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Marker => "marker",
            Self::Timedated => "timedated",
            Self::Answer => "answer",
        }
    }
}

/// That the time is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Who says so.
    pub source: Source,
    /// Since when, as uptime in ms.
    pub since_uptime_ms: u64,
    /// By how much the system's clock is wrong, in ms: what must be added to it. 0 where it is right.
    pub correction_ms: i64,
}

/// What is known of the clock. Pure: every call takes what the system's clocks show.
#[derive(Debug, Default)]
struct Standing {
    trusted: Option<(Source, u64)>,
    /// Wall time less uptime, in ms, as it was told, and by how much that may be wrong.
    told: Option<(i64, u64)>,
}

impl Standing {
    /// The system says that its clock is synchronised. Says whether that is news.
    fn synchronised(&mut self, source: Source, uptime_ms: u64) -> bool {
        let news = !matches!(self.trusted, Some((Source::Marker | Source::Timedated, _)));
        if news {
            *self = Self { trusted: Some((source, uptime_ms)), told: None };
        }
        news
    }

    /// A server says that it is `told_ms`. Says whether that is news.
    fn told(&mut self, told_ms: u64, error_ms: u64, wall_ms: u64, uptime_ms: u64) -> bool {
        let believed = self.trusted.map(|(source, _)| source);
        let unusable = error_ms > WORST_ERROR_MS || told_ms < EARLIEST_MS;
        if unusable || matches!(believed, Some(Source::Marker | Source::Timedated)) {
            return false;
        }
        let before = self.told;
        if told_ms.abs_diff(wall_ms) <= AGREE_MS + error_ms {
            self.told = None;
        } else {
            let offset = difference(told_ms, uptime_ms);
            let better = |(known, known_error): (i64, u64)| {
                error_ms < known_error || known.abs_diff(offset) > AGREE_MS + error_ms + known_error
            };
            if self.told.is_none_or(better) {
                self.told = Some((offset, error_ms));
            }
        }
        let news = believed.is_none() || self.told != before;
        if believed.is_none() {
            self.trusted = Some((Source::Answer, uptime_ms));
        }
        news
    }
}

/// The system's clocks. Whether the wall clock is right is told to it from outside: [`SystemClock::synchronised`] and
/// [`Clock::told`].
#[derive(Debug)]
pub struct SystemClock {
    boot: u32,
    standing: Mutex<Standing>,
    /// What of `standing` each look at the time needs.
    trusted: AtomicBool,
    offset_ms: AtomicI64,
}

impl SystemClock {
    /// The system's clocks, the wall clock not trusted yet.
    pub fn new() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            boot: boot_number(&id),
            standing: Mutex::default(),
            trusted: AtomicBool::new(false),
            offset_ms: AtomicI64::new(UNKNOWN),
        }
    }

    /// The system's own time service says that its clock is synchronised.
    pub fn synchronised(&self, source: Source) {
        let mut standing = self.standing();
        if standing.synchronised(source, uptime_ms()) {
            tracing::info!(source = source.as_str(), "the clock is synchronised");
            self.publish(&standing);
        }
    }

    /// Who says since when that the time is right; `None` while nobody does.
    pub fn trust(&self) -> Option<Trust> {
        let standing = self.standing();
        let (source, since_uptime_ms) = standing.trusted?;
        let offset = difference(now_ms(), uptime_ms());
        let correction_ms = standing.told.map_or(0, |(told, _)| told.saturating_sub(offset));
        Some(Trust { source, since_uptime_ms, correction_ms })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset first: whoever sees the trust then sees what it rests on.
    fn publish(&self, standing: &Standing) {
        self.offset_ms.store(standing.told.map_or(UNKNOWN, |(offset, _)| offset), Ordering::Release);
        self.trusted.store(standing.trusted.is_some(), Ordering::Release);
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let (uptime_ms, boot) = (uptime_ms(), self.boot);
        let trusted = self.trusted.load(Ordering::Acquire);
        let wall_ms = match self.offset_ms.load(Ordering::Acquire) {
            UNKNOWN => now_ms(),
            offset => uptime_ms.saturating_add_signed(offset),
        };
        Stamp { wall_ms, uptime_ms, boot, trusted }
    }

    fn told(&self, wall_ms: u64, error_ms: u64) {
        let mut standing = self.standing();
        if standing.told(wall_ms, error_ms, now_ms(), uptime_ms()) {
            if standing.told.is_some() {
                tracing::warn!(
                    wrong_by_ms = difference(wall_ms, now_ms()),
                    "the system's clock is wrong; the time of authenticated answers is used instead: set up its \
                     synchronisation (timedatectl set-ntp true)"
                );
            } else {
                tracing::info!("the clock agrees with the time of an authenticated answer: it is taken for right");
            }
            self.publish(&standing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn a_told_time_that_agrees_makes_the_systems_clock_trusted_as_it_is() {
        let mut standing = Standing::default();
        assert!(standing.told(NOW + 4_000, 600, NOW, 9_000));
        assert_eq!((standing.trusted, standing.told), (Some((Source::Answer, 9_000)), None));
        assert!(!standing.told(NOW + 64_000, 600, NOW + 60_000, 69_000), "no news");
        assert_eq!(standing.trusted, Some((Source::Answer, 9_000)));
    }

    #[test]
    fn a_told_time_that_differs_is_used_until_a_better_one_or_the_system_knows_it() {
        let mut standing = Standing::default();
        assert!(standing.told(NOW, 8_000, 5_000, 2_000), "1970");
        assert_eq!(standing.told, Some((difference(NOW, 2_000), 8_000)));
        assert!(!standing.told(NOW + 9_000, 9_000, 15_000, 12_000), "less exact, and both can be true");
        assert!(standing.told(NOW + 11_000, 600, 15_000, 12_000), "more exact");
        assert_eq!(standing.told, Some((difference(NOW + 11_000, 12_000), 600)));
        assert!(standing.told(NOW + 90_000, 700, 25_000, 22_000), "both cannot be true");
        assert!(standing.told(NOW + 91_000, 700, NOW + 91_000, 23_000), "somebody has set the system's clock");
        assert_eq!((standing.trusted, standing.told), (Some((Source::Answer, 2_000)), None));
        assert!(standing.synchronised(Source::Timedated, 30_000));
        assert_eq!(standing.trusted, Some((Source::Timedated, 30_000)));
        assert!(!standing.told(NOW, 600, NOW + 600_000, 40_000), "the system knows better");
        assert!(!standing.synchronised(Source::Marker, 50_000), "known already");
    }

    #[test]
    fn a_told_time_that_cannot_be_believed_is_not() {
        let mut standing = Standing::default();
        assert!(!standing.told(NOW, WORST_ERROR_MS + 1, NOW, 1_000));
        assert!(!standing.told(5_000, 600, 5_000, 1_000), "a server in 1970, too");
        assert_eq!(standing.trusted, None);
    }

    #[test]
    fn the_clock_shows_what_is_known() {
        let clock = SystemClock::new();
        assert!(!clock.now().trusted && clock.trust().is_none());
        clock.told(4_000_000_000_000, 600);
        let told = clock.now();
        assert!(told.trusted && (4_000_000_000_000..4_000_000_060_000).contains(&told.wall_ms));
        let trust = clock.trust().expect("it was told");
        assert!(trust.source == Source::Answer && trust.correction_ms > 0);
        clock.synchronised(Source::Marker);
        let synchronised = clock.now();
        assert!(synchronised.trusted && synchronised.wall_ms.abs_diff(now_ms()) < 60_000);
        assert_eq!(clock.trust().map(|trust| (trust.source, trust.correction_ms)), Some((Source::Marker, 0)));
    }
}
