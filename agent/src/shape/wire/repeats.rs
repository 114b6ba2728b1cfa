//! Payload that a peer sent twice. Pure.
//!
//! # Constraints
//! - The kernel counts each segment that came and, of payload, only what was new. So a repeat looks like an
//!   acknowledgement, and its bytes are missed: 2 % of an answer that is held back on a line with a round trip of under
//!   20 ms, where the peer takes the acknowledgement that we delay by 40 ms for lost (a tail loss probe, RFC 8985).
//! - Nothing is counted that may be new: where a repeat cannot be told from small segments, it is not counted. Measured with
//!   TLS on such a line, one repeat may escape when a connection begins.
//!
//! # How it works
//! Between two looks at a connection, segments with payload came and brought nothing new: these were repeats of
//! the last one before, which a peer sends again when no acknowledgement comes. Or what is new is whole full segments, and more segments came: the others were repeats of
//! such. Segments that came out of order are neither: their payload is counted when the gap is filled.

use tidegate_sockopt::TcpInfo;

/// The least size of what may be a full segment; IPv4 guarantees 536 bytes to everyone.
const LEAST_FULL: u64 = 536;

/// What was seen of a connection, and what came twice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repeats {
    bytes: u64,
    segments: u32,
    out_of_order: u32,
    /// Size of the last segment that brought something, or of the last ones on average.
    last: u64,
    total: u64,
}

impl Repeats {
    /// Takes another look; what came twice in all.
    pub(super) fn look(&mut self, info: &TcpInfo) -> u64 {
        let bytes = info.bytes_received.saturating_sub(self.bytes);
        let segments = u64::from(info.data_segments_in.saturating_sub(self.segments));
        let gaps = u64::from(info.out_of_order.saturating_sub(self.out_of_order));
        (self.bytes, self.segments) = (info.bytes_received, info.data_segments_in);
        self.out_of_order = info.out_of_order;
        let full = u64::from(info.receive_mss);
        let came = segments.saturating_sub(gaps);
        if bytes == 0 {
            self.total += came * self.last;
        } else if full >= LEAST_FULL && bytes % full == 0 {
            self.last = full;
            self.total += came.saturating_sub(bytes / full) * full;
        } else if full >= LEAST_FULL && segments == bytes.div_ceil(full) {
            self.last = bytes % full;
        } else {
            self.last = bytes.div_ceil(segments.max(1));
        }
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(repeats: &mut Repeats, bytes_received: u64, data_segments_in: u32, out_of_order: u32) -> u64 {
        let info = TcpInfo { bytes_received, data_segments_in, out_of_order, ..TcpInfo::default() };
        repeats.look(&TcpInfo { receive_mss: 1_448, ..info })
    }

    #[test]
    fn a_segment_that_brings_nothing_and_one_too_many_for_full_ones_came_twice() {
        let mut repeats = Repeats::default();
        assert_eq!(look(&mut repeats, 2_896, 2, 0), 0);
        assert_eq!(look(&mut repeats, 2_896, 3, 0), 1_448, "nothing new");
        assert_eq!(look(&mut repeats, 8_688, 8, 0), 2_896, "four full ones, and a fifth");
        assert_eq!(look(&mut repeats, 8_688 + 1_648, 10, 0), 2_896, "a full one and a short one");
        assert_eq!(look(&mut repeats, 10_336, 11, 0), 3_096, "and the short one again");
        assert_eq!(look(&mut repeats, 10_336, 11, 0), 3_096);
    }

    #[test]
    fn small_segments_and_those_out_of_order_are_not_taken_for_repeats() {
        let mut repeats = Repeats::default();
        assert_eq!(look(&mut repeats, 300, 3, 0), 0);
        assert_eq!(look(&mut repeats, 300, 6, 3), 0, "a gap before them");
        assert_eq!(look(&mut repeats, 300 + 4 * 1_448, 7, 3), 0, "it is filled");
    }
}
