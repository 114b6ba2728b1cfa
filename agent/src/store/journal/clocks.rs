//! When boots were: what gives a record its time that was received before the clock was right.
//!
//! A gateway without a clock battery starts in 1970 and is told the time later. Records keep the uptime at which they
//! came in; as soon as the wall clock is right, the difference between the two is committed to the control lane, and
//! every record of that boot that is read from then on has its right time. Of a boot in which the clock never was
//! right nothing can be said: its records keep the time they had, marked as unsynchronised.

use crate::clock::{Stamp, difference};
use serde::{Deserialize, Serialize};
use tidegate_protocol::TimeSource;

/// Boots remembered: a backlog seldom reaches further back, and each is 12 bytes of a snapshot.
const BOOTS: usize = 32;

/// A difference that moves by less is not written anew: clocks drift by some 10 ms an hour before they are
/// disciplined, and a telemetry time to the second is what a corrected one promises.
const SLACK_MS: u64 = 1_000;

/// Wall time less uptime in ms, per boot, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Clocks {
    boots: Vec<(u32, i64)>,
}

/// What is known of when boots were; compared, and nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimesKnown(Option<(u32, i64)>);

impl Clocks {
    /// What was noted last says it all: each note is the newest.
    pub(super) fn known(&self) -> TimesKnown {
        TimesKnown(self.boots.last().copied())
    }

    pub(super) fn note(&mut self, boot: u32, offset_ms: i64) {
        self.boots.retain(|known| known.0 != boot);
        if self.boots.len() >= BOOTS {
            self.boots.remove(0);
        }
        self.boots.push((boot, offset_ms));
    }

    fn offset(&self, boot: u32) -> Option<i64> {
        self.boots.iter().find(|known| known.0 == boot).map(|known| known.1)
    }

    /// What is to be noted at `now`, if anything: the clock is right, and that was not known so.
    pub(super) fn news(&self, now: &Stamp) -> Option<(u32, i64)> {
        let offset = difference(now.wall_ms, now.uptime_ms);
        let known = self.offset(now.boot).is_some_and(|known| known.abs_diff(offset) < SLACK_MS);
        (now.trusted && !known).then_some((now.boot, offset))
    }

    /// The stamp, its wall time put right if that can be done.
    pub(super) fn right(&self, stamp: Stamp) -> (Stamp, TimeSource) {
        if stamp.trusted {
            return (stamp, TimeSource::Synchronised);
        }
        match self.offset(stamp.boot) {
            Some(offset) => {
                let wall_ms = stamp.uptime_ms.saturating_add_signed(offset);
                (Stamp { wall_ms, trusted: true, ..stamp }, TimeSource::Corrected)
            }
            None => (stamp, TimeSource::Unsynchronised),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(wall_ms: u64, uptime_ms: u64, boot: u32, trusted: bool) -> Stamp {
        Stamp { wall_ms, uptime_ms, boot, trusted }
    }

    #[test]
    fn a_record_from_before_the_clock_was_right_gets_its_time() {
        let mut clocks = Clocks::default();
        let early = stamp(5_000, 2_000, 7, false);
        assert_eq!(clocks.news(&stamp(6_000, 3_000, 7, false)), None, "a clock that is not right tells nothing");
        assert_eq!(clocks.right(early), (early, TimeSource::Unsynchronised));
        let (boot, offset) = clocks.news(&stamp(1_700_000_010_000, 10_000, 7, true)).expect("the clock is right now");
        clocks.note(boot, offset);
        assert_eq!(clocks.right(early), (stamp(1_700_000_002_000, 2_000, 7, true), TimeSource::Corrected));
        assert_eq!(clocks.right(stamp(5_000, 2_000, 8, false)).1, TimeSource::Unsynchronised, "another boot");
        assert_eq!(clocks.news(&stamp(1_700_000_020_900, 20_000, 7, true)), None, "within the slack");
        assert!(clocks.news(&stamp(1_700_000_030_000, 20_000, 7, true)).is_some(), "the clock was set");
    }

    #[test]
    fn the_last_boots_are_remembered_and_no_more() {
        let mut clocks = Clocks::default();
        for boot in 0..100 {
            clocks.note(boot, i64::from(boot));
            clocks.note(99, 5);
        }
        assert_eq!(clocks.boots.len(), BOOTS);
        assert_eq!(clocks.offset(98), Some(98));
        assert_eq!(clocks.offset(1), None);
    }
}
