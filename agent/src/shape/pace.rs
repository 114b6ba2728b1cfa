//! How fast bytes may pass the door: what all limits together come to, and all that the wire needs to know of them.

use std::num::NonZeroU64;
use std::time::Duration;

/// Packets that a burst holds at least: with fewer, a sender could never have its next segment on the way while one is
/// acknowledged, and one segment larger than the burst could never leave.
pub const MIN_BURST_PACKETS: u64 = 2;

/// Bytes of a packet on the ordinary link: Ethernet's and LTE's usual MTU.
pub const PACKET: u64 = 1500;

/// A rate and the burst above it, in bytes on the wire (IP headers and all that is in them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    bytes_per_second: NonZeroU64,
    burst: u64,
}

impl Rate {
    /// `burst` is taken to be at least [`MIN_BURST_PACKETS`] packets.
    pub const fn new(bytes_per_second: NonZeroU64, burst: u64) -> Self {
        let least = MIN_BURST_PACKETS * PACKET;
        Self { bytes_per_second, burst: if burst < least { least } else { burst } }
    }

    /// The same rate with another burst, also one of less than two packets: a part of the whole.
    #[must_use]
    pub const fn with_burst(self, burst: u64) -> Self {
        Self { burst, ..self }
    }

    /// Bytes a second; an eighth of the bit/s that people write.
    pub const fn bytes_per_second(self) -> u64 {
        self.bytes_per_second.get()
    }

    /// Bytes a second at most where after every `bytes` the sender pauses for `pause`, as one does that waits for the
    /// answer to a request before it sends the next.
    pub fn with_pauses(self, bytes: u64, pause: Duration) -> u64 {
        let rate = u128::from(self.bytes_per_second());
        // Both sides of bytes / (bytes / rate + pause) times the rate, in nanoseconds.
        let (bytes, second) = (u128::from(bytes), 1_000_000_000);
        let paused = bytes * second * rate / (bytes * second + pause.as_nanos() * rate).max(1);
        u64::try_from(paused).unwrap_or(self.bytes_per_second())
    }

    /// Bytes that may leave at once after a rest.
    pub const fn burst(self) -> u64 {
        self.burst
    }
}

/// What the door is told: nothing is limited where there is no rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// From the gateway to the outside.
    pub up: Option<Rate>,
    /// From the outside to the gateway.
    pub down: Option<Rate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_cost_the_more_the_faster_the_line_and_the_smaller_the_bodies() {
        let rate = |bytes| Rate::new(NonZeroU64::new(bytes).expect("more than nothing"), 0);
        let pause = Duration::from_millis(300);
        assert_eq!(rate(1_000_000).with_pauses(100_000, pause), 250_000);
        assert_eq!(rate(1_000_000).with_pauses(100_000, Duration::ZERO), 1_000_000);
        assert_eq!(rate(4_000).with_pauses(100_000, pause), 3_952);
        assert_eq!(rate(1_000_000).with_pauses(0, pause), 0);
    }
}
