//! The time that periods are reckoned by: the trusted clock's, but for jumps that nothing speaks for.
//!
//! Trust once given lasts until the process ends, so a clock that somebody sets by hand afterwards still counts as
//! trusted. A budget must not be refilled by that: a jump counts once it has stood for an hour of uptime.

use crate::clock::{Stamp, difference};

/// A clock that is set by no more than this is followed at once: time services step by seconds, and a month that begins ten
/// minutes early is one that begins on another operator's watch.
const STEP_MS: u64 = 600_000;

/// A larger jump is believed once it has stood for so long: systemd-timesyncd asks its server again within 2,048 s at
/// most, and chrony within 1,024 s, and put a wrong hand right.
const BELIEVED_AFTER_MS: u64 = 3_600_000;

/// What is known of the time.
#[derive(Debug, Clone, Default)]
pub(super) struct Reckoning {
    /// The boot, and by how much the right time is ahead of its uptime, in ms.
    anchor: Option<(u32, i64)>,
    /// Another difference that the clock shows instead, and the uptime since when.
    doubt: Option<(i64, u64)>,
}

impl Reckoning {
    /// What time it is, in ms since the Unix epoch; `None` until a trusted clock has said so in this boot.
    pub(super) fn now(&mut self, stamp: &Stamp) -> Option<u64> {
        let shown = difference(stamp.wall_ms, stamp.uptime_ms);
        let known = self.anchor.filter(|(boot, _)| *boot == stamp.boot).map(|(_, offset)| offset);
        if stamp.trusted && known.is_none_or(|known| self.is_believed(known, shown, stamp.uptime_ms)) {
            (self.anchor, self.doubt) = (Some((stamp.boot, shown)), None);
            return Some(stamp.wall_ms);
        }
        known.map(|offset| stamp.uptime_ms.saturating_add_signed(offset))
    }

    fn is_believed(&mut self, known: i64, shown: i64, uptime_ms: u64) -> bool {
        if known.abs_diff(shown) <= STEP_MS {
            return true;
        }
        match self.doubt {
            Some((doubt, since)) if doubt.abs_diff(shown) <= STEP_MS => {
                uptime_ms.saturating_sub(since) >= BELIEVED_AFTER_MS
            }
            _ => {
                self.doubt = Some((shown, uptime_ms));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000_000;

    fn stamp(wall_ms: u64, uptime_ms: u64, trusted: bool) -> Stamp {
        Stamp { wall_ms, uptime_ms, boot: 1, trusted }
    }

    #[test]
    fn nothing_is_known_until_the_clock_is_trusted_and_then_the_uptime_carries_it_on() {
        let mut time = Reckoning::default();
        assert_eq!(time.now(&stamp(0, 5_000, false)), None);
        assert_eq!(time.now(&stamp(NOW, 6_000, true)), Some(NOW));
        assert_eq!(time.now(&stamp(77, 8_000, false)), Some(NOW + 2_000));
        assert_eq!(
            time.now(&Stamp { boot: 2, ..stamp(77, 9_000, false) }),
            None,
            "another boot's uptime tells nothing"
        );
    }

    #[test]
    fn a_jump_counts_once_it_has_stood_for_an_hour() {
        let (mut time, year) = (Reckoning::default(), 365 * 86_400_000);
        assert_eq!(time.now(&stamp(NOW, 0, true)), Some(NOW));
        assert_eq!(time.now(&stamp(NOW + 61_000, 1_000, true)), Some(NOW + 61_000), "a step of a minute");
        assert_eq!(time.now(&stamp(NOW + year, 2_000, true)), Some(NOW + 62_000));
        assert_eq!(time.now(&stamp(NOW + year + 3_000_000, 3_002_000, true)), Some(NOW + 3_062_000));
        // It was put right meanwhile: the next jump begins anew.
        assert_eq!(time.now(&stamp(NOW + 3_100_000, 3_100_000, true)), Some(NOW + 3_100_000));
        assert_eq!(time.now(&stamp(NOW + year, 3_200_000, true)), Some(NOW + 3_200_000));
        assert_eq!(time.now(&stamp(NOW + year + 3_600_000, 6_800_000, true)), Some(NOW + year + 3_600_000));
    }
}
