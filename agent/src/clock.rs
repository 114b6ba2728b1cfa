//! What time it is, and whether that can be believed.
//!
//! Gateways have no clock battery, so the wall clock may say 1970 until the system is synchronised. It stands on
//! records and in figures; what must not jump (back-off, keep-alive, ages within one boot) is measured with a clock
//! that only counts up. A [`Stamp`] holds both, so that a record that was received before the clock was right can be
//! given its time afterwards. Like `secret`, this is known to every room.
//!
//! [`SystemClock`] keeps book of who says that the wall clock is right; [`synchronised`] asks the system.

pub mod local;
pub mod synchronised;
mod system;
pub mod text;

pub use system::{Source, SystemClock, Trust};

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// No server means a date before this (2026-01-01, ms since the Unix epoch), and it is later than that.
pub(crate) const EARLIEST_MS: u64 = 1_767_225_600_000;

/// Milliseconds since the Unix epoch by the system's clock; 0 if that stands before the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, by the clock as it then stood.
    pub wall_ms: u64,
    /// Milliseconds since the system was booted, time asleep included; below 2^48 (8,900 years).
    pub uptime_ms: u64,
    /// Which boot that was: the first 32 bits of the kernel's boot id. Stamps of one boot have comparable uptimes.
    pub boot: u32,
    /// The wall clock was known to be right.
    pub trusted: bool,
}

impl Stamp {
    /// What the wall clock would have shown then if it had always run as it does `now`, in the same boot: for figures
    /// that are shown, of things that happened before the clock was set.
    #[must_use]
    pub fn by(&self, now: &Stamp) -> u64 {
        now.wall_ms.saturating_sub(now.uptime_ms.saturating_sub(self.uptime_ms))
    }

    /// How long before `now` this was, in ms, if that can be known: both by a right clock, or within one boot.
    #[must_use]
    pub fn age_ms(&self, now: &Stamp) -> Option<u64> {
        if self.boot == now.boot {
            Some(now.uptime_ms.saturating_sub(self.uptime_ms))
        } else if self.trusted && now.trusted {
            Some(now.wall_ms.saturating_sub(self.wall_ms))
        } else {
            None
        }
    }
}

/// Tells the time.
pub trait Clock: Debug + Send + Sync {
    /// Now.
    fn now(&self) -> Stamp;

    /// Somebody who proved who they are, such as a server over verified TLS, said that it is `wall_ms` now, give or take
    /// `error_ms`. A clock that needs no help ignores it.
    fn told(&self, wall_ms: u64, error_ms: u64) {
        let _ = (wall_ms, error_ms);
    }
}

/// Wall time less uptime, in ms, both below 2^63.
pub fn difference(wall_ms: u64, uptime_ms: u64) -> i64 {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    signed(wall_ms) - signed(uptime_ms)
}

/// Milliseconds since the system was booted (`CLOCK_BOOTTIME`).
fn uptime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1000 + part(time.tv_nsec) / 1_000_000
}

/// The first eight hexadecimal digits of the kernel's boot id, a random UUID. Where there is none, 0: then all is one
/// boot, and only trusted times are compared across restarts of the system.
fn boot_number(id: &str) -> u32 {
    id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// A clock that stands where it is put, for tests and simulations.
#[derive(Debug)]
pub struct SetClock {
    now: Mutex<Stamp>,
}

impl SetClock {
    /// A clock that stands at `now`.
    pub fn at(now: Stamp) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Puts it elsewhere.
    pub fn set(&self, now: Stamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.wall_ms += ms;
        now.uptime_ms += ms;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Stamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_known_by_right_clocks_or_within_one_boot_and_else_not() {
        let stamp = |wall_ms, uptime_ms, boot, trusted| Stamp { wall_ms, uptime_ms, boot, trusted };
        let day = 86_400_000;
        let now = stamp(500 * day, 5_000, 2, true);
        assert_eq!(stamp(0, 1_000, 2, false).age_ms(&now), Some(4_000), "of this boot, before the clock was right");
        assert_eq!(stamp(499 * day, 9_000, 1, true).age_ms(&now), Some(day));
        assert_eq!(stamp(0, 9_000, 1, false).age_ms(&now), None, "a 1970 of another boot says nothing");
        assert_eq!(stamp(499 * day, 9_000, 1, true).age_ms(&stamp(0, 5_000, 2, false)), None);
    }

    #[test]
    fn what_happened_before_the_clock_was_set_is_shown_by_the_clock_as_it_is() {
        let stamp = |wall_ms, uptime_ms| Stamp { wall_ms, uptime_ms, boot: 1, trusted: false };
        assert_eq!(stamp(5_000, 2_000).by(&stamp(1_790_000_010_000, 12_000)), 1_790_000_000_000);
        assert_eq!(stamp(5_000, 2_000).by(&stamp(15_000, 12_000)), 5_000);
    }

    #[test]
    fn a_boot_is_told_by_its_id() {
        assert_eq!(boot_number("3f2504e0-4f89-41d3-9a0c-0305e82c3301\n"), 0x3f25_04e0);
        assert_eq!(boot_number(""), 0);
        assert_eq!(boot_number("nonsense"), 0);
    }
}
