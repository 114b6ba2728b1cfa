//! How fast bytes may pass the door: what all limits together come to, and all that the wire needs to know of them.

use std::num::NonZeroU64;

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

    /// The rate in bytes a second, for a rate like it.
    pub const fn per_second(self) -> NonZeroU64 {
        self.bytes_per_second
    }

    /// Bytes a second; an eighth of the bit/s that people write.
    pub const fn bytes_per_second(self) -> u64 {
        self.bytes_per_second.get()
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
