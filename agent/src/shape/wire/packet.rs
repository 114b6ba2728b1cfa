//! What bytes cost on the wire: headers of segments and datagrams. Pure.
//!
//! A TCP segment carries an IP header (20 bytes, with IPv6 40) and a TCP header (20 bytes; 32 with timestamps, which
//! Linux and every server of today agree on). The first segment of each side has 8 bytes more of options than others
//! with timestamps (maximum segment size 4, window scale 3, SACK permitted 2, timestamps 10, padding 1, less the 12 of
//! timestamps). Selective acknowledgements, 12 bytes for the first hole, are not foreseen and not told by the kernel.

use std::net::IpAddr;

use crate::shape::pace::PACKET;

/// What the first segment of a side has more than the others.
pub(super) const SYN_EXTRA: u64 = 8;

/// Bytes of a UDP header.
const UDP: u64 = 8;

/// Bytes of an IP header to this address.
pub(super) fn ip_header(address: IpAddr) -> u64 {
    if address.is_ipv4() { 20 } else { 40 }
}

/// Bytes on the wire of a datagram with so much payload.
pub(super) fn datagram(address: IpAddr, payload: usize) -> u64 {
    ip_header(address) + UDP + payload as u64
}

/// How a connection's segments are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segments {
    /// Bytes of IP and TCP headers of each.
    pub(super) header: u64,
    /// Payload bytes of a full one.
    pub(super) payload: u64,
}

impl Segments {
    /// As they are made up before the kernel has told: with timestamps, and as large as the ordinary link carries.
    pub(super) fn assumed(peer: IpAddr) -> Self {
        let header = ip_header(peer) + Self::tcp_header(true);
        Self { header, payload: PACKET - header }
    }

    /// As the kernel tells. On loopback a segment is 64 KiB, more than a small burst holds: what is handed over at a time
    /// is counted in segments of the ordinary link at most.
    pub(super) fn told(peer: IpAddr, timestamps: bool, mss: u32) -> Self {
        let header = ip_header(peer) + Self::tcp_header(timestamps);
        Self { header, payload: u64::from(mss).clamp(1, PACKET - header) }
    }

    fn tcp_header(timestamps: bool) -> u64 {
        if timestamps { 32 } else { 20 }
    }

    /// Bytes of a full one on the wire.
    pub(super) fn full(self) -> u64 {
        self.header + self.payload
    }

    /// Segments that so much payload takes, at least.
    pub(super) fn count(self, payload: u64) -> u64 {
        payload.div_ceil(self.payload)
    }

    /// Bytes on the wire of so much payload, handed over at once.
    pub(super) fn cost(self, payload: u64) -> u64 {
        payload + self.count(payload) * self.header
    }

    /// The payload that costs so much: the reverse of [`Segments::cost`].
    pub(super) fn payload_for(self, cost: u64) -> u64 {
        cost.saturating_sub(cost.div_ceil(self.full()) * self.header)
    }

    /// Bytes on the wire of so much payload in full segments, the last one in part.
    pub(super) fn part(self, payload: u64) -> u64 {
        payload + (payload * self.header).div_ceil(self.payload)
    }

    /// The most payload, of `wanted`, whose cost is not above `allowed` in whole segments; at least what one holds.
    pub(super) fn payload_within(self, wanted: u64, allowed: u64) -> u64 {
        let segments = (allowed / self.full()).max(1);
        wanted.min(segments * self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn payload_costs_a_header_for_each_segment() {
        let segments = Segments::assumed(PEER);
        assert_eq!((segments.header, segments.payload, segments.full()), (52, 1448, 1500));
        assert_eq!(segments.cost(0), 0);
        assert_eq!(segments.cost(1), 53);
        assert_eq!(segments.cost(1448), 1500);
        assert_eq!(segments.cost(1449), 1449 + 104);
        assert_eq!([0, 1, 1448, 1449, 14_480].map(|payload| segments.part(payload)), [0, 2, 1500, 1502, 15_000]);
        assert_eq!(Segments::told("::1".parse().expect("an address"), false, 1440).full(), 1500);
        assert_eq!(Segments::told(PEER, true, 65_483), segments, "loopback is no reason for larger hand-overs");
        assert_eq!(datagram(PEER, 30), 58);
    }

    #[test]
    fn a_cost_tells_its_payload() {
        let segments = Segments::assumed(PEER);
        for payload in [0, 1, 1_447, 1_448, 1_449, 2_000, 2_896, 2_897, 100_000] {
            assert_eq!(segments.payload_for(segments.cost(payload)), payload);
        }
    }

    #[test]
    fn what_is_handed_over_is_whole_segments_or_all() {
        let segments = Segments::assumed(PEER);
        for (wanted, allowed, payload) in [
            (100_000, 3_000, 2_896),
            (100_000, 2_999, 1_448),
            (100_000, 10, 1_448),
            (5, 3_000, 5),
            (2_000, 1_500, 1_448),
        ] {
            assert_eq!(segments.payload_within(wanted, allowed), payload, "{wanted} of {allowed}");
        }
    }
}
