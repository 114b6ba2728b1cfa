//! How much a peer may send that was not let in: the receive window. Pure.
//!
//! # Constraints
//! - What comes in cannot be refused, only not invited. A peer may send what its window allows at any time, so tokens
//!   are taken when the window is opened, not when something comes, and windows and tokens together never exceed the burst.
//! - A peer whose acknowledgements take a round trip sends a window in each, so windows are to be as large as that leaves.
//!
//! # How it works
//! Windows are counted in full segments. The system holds a socket to a window by the memory of its buffer, not by
//! bytes: [`buffer`] says how much memory so many segments need. While the buffer is empty Linux 6.18 offers 0.63 of it
//! less the first segment, and the rest as segments are joined, so a window of `n` segments has about `0.6 × (n - 1)` on
//! the way. A default burst (a second's and four packets) fills round trips of half a second; one of the operator's own
//! fills less, about `(burst - 4 × 1500) / 2 / rate`.
//! `TCP_WINDOW_CLAMP` would be simpler, but does not last: since 6.6 the kernel overwrites it when the first data comes,
//! and it limits what may come next, not what was not read.
//!
//! Of the burst critical connections have [`CRITICAL`] segments, since their answers are short, and the first of the others
//! has the rest, less what is let in at a time and [`LATE`]; a connection to which nothing is left has one segment, without
//! which it could not be at all. So with two connections and a burst of two packets, windows and tokens may
//! exceed it by a packet.

use crate::shape::bucket::Class;
use crate::shape::pace::{PACKET, Rate};

/// Memory that Linux counts for the first segment of a buffer: the least that a socket's buffer can be
/// (`SOCK_MIN_RCVBUF` on 64-bit systems), and what a full segment takes with its administration.
const FIRST: u64 = 2_304;

/// Memory of each segment that is joined to one before it. Measured over veth with Linux 6.18: a buffer of 24,000 bytes
/// took 14 full segments that nobody read, one of 40,000 took 24, one of 800,000 took 518; by this they hold 15, 25 and
/// 520. Drivers that spend more memory on a packet make a window smaller, never larger.
const JOINED: u64 = 1_536;

/// Segments of a critical connection's window, where that is at most a sixth; otherwise one.
const CRITICAL: u64 = 2;

/// The most segments of one window, 750 KiB on the wire: with more memory for each connection a small gateway would
/// serve its own fast line badly.
const MOST: u64 = 512;

/// What passes in a 50th of a second is left to the bucket: whoever waits for it wakes a few milliseconds late on a busy
/// machine, and what a full bucket is given meanwhile is lost.
const LATE: u64 = 50;

/// Reads a second above which each takes more than a segment.
const READS: u64 = 100;

/// Most that is read at a time: what a TLS library takes at once.
const LARGEST: u64 = 64 * 1024;

/// Bytes on the wire that are let in at a time, where a full segment has `segment`.
pub(super) fn hand_in(rate: Rate, segment: u64) -> u64 {
    (rate.bytes_per_second() / READS).clamp(segment, LARGEST)
}

/// Segments that the connections of each class have room for, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Open {
    critical: u64,
    other: u64,
}

impl Open {
    fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Critical => &mut self.critical,
            Class::Other => &mut self.other,
        }
    }

    /// Changes what one connection has from `before` segments to `now`.
    pub(super) fn change(&mut self, class: Class, before: u64, now: u64) {
        let open = self.of(class);
        *open = open.saturating_sub(before) + now;
    }

    /// Segments for one connection of this class more.
    pub(super) fn next(self, rate: Rate, class: Class) -> u64 {
        let kept = hand_in(rate, PACKET) + rate.bytes_per_second() / LATE;
        let all = rate.burst().saturating_sub(kept) / PACKET;
        let critical = if all >= 6 * CRITICAL { CRITICAL } else { 1 };
        let left = match class {
            Class::Critical => critical.saturating_sub(self.critical),
            Class::Other => all.saturating_sub(critical.max(self.critical)).saturating_sub(self.other),
        };
        left.clamp(1, MOST)
    }

    /// What the bucket may hold: what the windows leave of the burst, but at least what is let in at a time.
    pub(super) fn bucket(self, rate: Rate) -> Rate {
        rate.with_burst(rate.burst().saturating_sub(wire(self.critical + self.other)).max(hand_in(rate, PACKET)))
    }
}

/// Bytes of memory that hold at most so many full segments, as the system counts them.
pub(super) fn buffer(segments: u64) -> u64 {
    FIRST + segments.saturating_sub(1) * JOINED
}

/// Bytes on the wire that so many segments are.
pub(super) fn wire(segments: u64) -> u64 {
    segments * PACKET
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU64;

    fn rate(bytes_per_second: u64, burst: u64) -> Rate {
        Rate::new(NonZeroU64::new(bytes_per_second).expect("more than nothing"), burst)
    }

    #[test]
    fn the_first_connection_has_what_critical_ones_leave_and_none_has_nothing() {
        for (bytes_per_second, burst, critical, other) in [
            (4_000, 3_000, 1, 1),
            (4_000, 6_000, 1, 1),
            (4_000, 10_000, 1, 4),
            (16_000, 8_000, 1, 3),
            (16_000, 22_000, 2, 11),
            (1_000_000, 1_000_000, 2, MOST),
        ] {
            let rate = rate(bytes_per_second, burst);
            let mut open = Open::default();
            assert_eq!(open.next(rate, Class::Other), other, "{rate:?}");
            open.change(Class::Other, 0, other);
            assert_eq!(open.next(rate, Class::Critical), critical, "{rate:?}");
            open.change(Class::Critical, 0, critical);
            open.change(Class::Other, other, 1);
            assert_eq!(open, Open { critical, other: 1 });
            open.change(Class::Other, 1, other.min(400));
            assert!(other == MOST || open.next(rate, Class::Other) == 1, "{rate:?}");
        }
    }

    proptest! {
        /// But each connection has a segment, and one can always be let in.
        #[test]
        fn windows_and_tokens_together_stay_within_the_burst(
            bytes_per_second in 1_u64..10_000_000, burst in 3_000_u64..10_000_000, opened in proptest::collection::vec(any::<bool>(), 0..3),
        ) {
            let rate = rate(bytes_per_second, burst);
            let (mut open, mut least) = (Open::default(), hand_in(rate, PACKET));
            for critical in opened {
                let class = if critical { Class::Critical } else { Class::Other };
                open.change(class, 0, open.next(rate, class));
                least += PACKET;
            }
            let bucket = open.bucket(rate).burst();
            prop_assert!(bucket >= hand_in(rate, PACKET), "something can always be let in");
            prop_assert!(bucket + wire(open.critical + open.other) <= rate.burst().max(least));
        }
    }

    #[test]
    fn a_buffer_holds_as_many_segments_as_were_measured_or_more() {
        for (memory, segments) in [(6_000, 2), (24_000, 14), (40_000, 24), (800_000, 518)] {
            assert!(buffer(segments) <= memory, "{segments} fit into {memory}");
            assert!(buffer(segments + segments / 8 + 2) > memory, "and hardly more");
        }
        assert_eq!((buffer(1), wire(4)), (2_304, 6_000));
    }

    #[test]
    fn a_segment_is_let_in_at_a_time_and_ten_milliseconds_at_high_rates() {
        assert_eq!(hand_in(rate(4_000, 3_000), 1_500), 1_500);
        assert_eq!(hand_in(rate(1_000_000, 65_536), 1_500), 10_000);
        assert_eq!(hand_in(rate(100_000_000, 10_000_000), 1_500), 65_536);
    }
}
