//! The hard stop: a count of bytes that is never passed, whatever anyone expected a request to cost.
//!
//! # Constraints
//! - [`Counts::sent`](super::Counts) and `received` together never pass the ceiling, as far as the wire can know: the door
//!   hands nothing over for which there is no room, and *room* is what is left after all that may come without the door's
//!   doing. A budget of bytes rests on this alone; that a request is asked for beforehand only spares its being cut.
//! - With no ceiling it costs one load of a number for each write.
//!
//! # What is kept back
//! ```text
//! counted ─┬─ handed over, not gone yet ─┬─ sent, not acknowledged ─┬─ each connection's end ─┬─ room ─┤ ceiling
//! ```
//! - What was sent and is not acknowledged may be sent again by the kernel: as much is kept back, and a write needs room for
//!   twice its cost. Who finds no room for that alone waits until the peer has acknowledged.
//! - [`TAIL`] for each connection: what the peer may send without anything being read (the receive window, bound to [`WINDOW`]
//!   before the handshake), its headers and their acknowledgements, and the connection's end.
//! - Where there is no room the connection is *cut*: reset, so that the kernel sends nothing of it again.
//!
//! So what passes the ceiling is only what the kernel sends again of the same bytes more than once before anyone looks: with
//! half of all segments lost, that sums up to one time. A line that loses more falls back to one segment in an ever longer
//! time (RFC 6298, from 200 ms up), and whoever keeps the ceiling looks after a second ([`Wire::keep_ceiling`]). Where the
//! system does not tell what connections carry, the count is an estimate and the ceiling one of the estimate.
//!
//! A datagram is an answer's size ([`ANSWER`]) ahead. What the peer sends after a reset is answered by a reset each, which is in
//! [`TAIL`]; what strangers send to the gateway's address is nobody's to refuse, and is not counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::packet::Segments;
use super::{Class, Wire};

/// The receive window that is asked for while there is a ceiling: answers have some hundred bytes and certificates four
/// thousand. The kernel takes up to twice of it, and offers what leaves 3.6 kB on the way: longer answers take a round trip
/// for each of those, over 60 ms 50 kB/s at most. Once the ceiling is gone, so is that.
pub(super) const WINDOW: u64 = 4 * 1024;

/// Bytes that a connection may still carry without the door's doing: twice the window in full segments with their headers,
/// an acknowledgement or a reset for each, and four headers for the connection's own end. With IPv6's headers of 72 bytes:
/// 8,192 + 6 · 144 + 4 · 72 + 3 · 80 for a SYN that is sent again thrice.
pub const TAIL: u64 = 9_600;

/// Bytes of room that a request's last write needs besides its own: a full segment of each of the two ways, sent again.
pub const SENT_AGAIN: u64 = 2 * 2 * 1500;

/// Bytes of a name server's answer: 512 without extensions, and headers.
pub(super) const ANSWER: u64 = 512 + 48;

/// What a connection needs to be worth beginning: names, handshake, a full segment twice and its end.
const CONNECTION: u64 = TAIL + 2 * (ANSWER + 128) + 2 * 1500;

/// How long to wait for acknowledgements before room is looked for again: a fraction of any round trip worth the name.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// No ceiling.
const NONE: u64 = u64::MAX;

/// Where it stands, per class.
#[derive(Debug)]
pub(super) struct Ceiling {
    critical: AtomicU64,
    other: AtomicU64,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self { critical: AtomicU64::new(NONE), other: AtomicU64::new(NONE) }
    }
}

impl Ceiling {
    fn of(&self, class: Class) -> Option<u64> {
        let ceiling = match class {
            Class::Critical => &self.critical,
            Class::Other => &self.other,
        };
        Some(ceiling.load(Ordering::Relaxed)).filter(|at| *at != NONE)
    }

    /// Whether there is one.
    pub(super) fn is_set(&self) -> bool {
        self.of(Class::Critical).is_some() || self.of(Class::Other).is_some()
    }

    /// What is left of it.
    pub(super) fn room(&self, class: Class, committed: impl FnOnce() -> Committed) -> Option<Room> {
        let ceiling = self.of(class)?;
        let Committed { certain, again } = committed();
        let left = ceiling.checked_sub(certain);
        Some(Room { now: left.and_then(|left| left.checked_sub(again)).unwrap_or(0), acknowledged: left })
    }
}

/// Bytes, both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Committed {
    /// Counted, handed over, or possible without the door's doing.
    pub(super) certain: u64,
    /// Sent and not acknowledged: may be sent again.
    pub(super) again: u64,
}

impl std::ops::AddAssign for Committed {
    fn add_assign(&mut self, other: Self) {
        self.certain = self.certain.saturating_add(other.certain);
        self.again = self.again.saturating_add(other.again);
    }
}

/// What may be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes, now.
    now: u64,
    /// Once everything is acknowledged; `None` if the ceiling is reached.
    acknowledged: Option<u64>,
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fits {
    /// So many bytes of payload may be handed over.
    Now(usize),
    /// Once something is acknowledged.
    Later,
    /// Never.
    Never,
}

impl Room {
    /// Whether nothing more may pass.
    pub(super) fn is_none(self) -> bool {
        self.acknowledged.is_none()
    }

    /// Whether so many bytes may pass.
    pub(super) fn has(self, bytes: u64) -> bool {
        self.now >= bytes
    }

    /// What of `wanted` bytes of payload may be handed over: a full segment at least, or all.
    pub(super) fn fits(self, wanted: usize, made_up: Segments) -> Fits {
        let least = made_up.cost((wanted as u64).min(made_up.payload));
        // It may be sent again.
        let (now, later) = (self.now / 2, self.acknowledged.unwrap_or(0) / 2);
        if now >= least {
            Fits::Now(made_up.payload_within(wanted as u64, now) as usize)
        } else if later >= least {
            Fits::Later
        } else {
            Fits::Never
        }
    }
}

/// There is no room.
#[derive(Debug, thiserror::Error)]
#[error("the budget of bytes is used up; see `tidegate status` for when it begins anew")]
pub(super) struct Spent;

/// The same for a socket's user.
pub(super) fn spent() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, Spent)
}

impl Wire {
    /// Lets the count of bytes, [`Counts::sent`](super::Counts) and `received` together, rise to these and no higher: for
    /// everyone, and for all but [`Class::Critical`]. `None`: as high as it will.
    pub fn set_ceiling(&self, critical: Option<u64>, other: Option<u64>) {
        let meter = &self.door.meter;
        let was_set = meter.ceiling.is_set();
        meter.ceiling.critical.store(critical.unwrap_or(NONE), Ordering::Relaxed);
        meter.ceiling.other.store(other.unwrap_or(NONE), Ordering::Relaxed);
        if meter.ceiling.is_set() != was_set {
            meter.lines().iter().for_each(|line| line.bind_window());
        }
    }

    /// Cuts all connections if the ceiling is as good as passed: for whoever keeps it, once a second while requests are
    /// under way.
    pub fn keep_ceiling(&self) {
        let meter = &self.door.meter;
        if meter.room(Class::Critical).is_some_and(Room::is_none) {
            meter.lines().iter().for_each(|line| line.cut());
        }
    }

    /// Bytes that a request needs under the ceiling besides its own: for the connections there are and one more, and for a
    /// full segment of each way to be sent again.
    pub fn spare(&self) -> u64 {
        TAIL * (self.door.meter.lines().len() as u64 + 1) + SENT_AGAIN
    }

    /// Whether any connection is open.
    pub fn is_connected(&self) -> bool {
        !self.door.meter.lines().is_empty()
    }

    /// Whether there is room for a connection.
    pub(super) fn may_connect(&self) -> bool {
        self.has_room(CONNECTION)
    }

    /// Whether there is room for so many bytes.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.door.meter.room(self.class).is_none_or(|room| room.has(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_write_needs_room_to_be_sent_again() {
        let ceiling = Ceiling::default();
        assert_eq!(ceiling.room(Class::Other, || panic!("nobody counts for nothing")), None);
        ceiling.other.store(10_000, Ordering::Relaxed);
        let made_up = Segments::assumed(Ipv4Addr::LOCALHOST.into());
        let room = |certain, again| ceiling.room(Class::Other, || Committed { certain, again }).expect("one is set");
        assert_eq!(room(0, 0).fits(100_000, made_up), Fits::Now(3 * 1448));
        assert_eq!(room(6_999, 0).fits(100_000, made_up), Fits::Now(1448));
        assert_eq!(room(7_001, 0).fits(100_000, made_up), Fits::Never);
        assert_eq!(room(9_000, 0).fits(100, made_up), Fits::Now(100), "what is left is less than a segment");
        assert_eq!(room(4_000, 4_000).fits(100_000, made_up), Fits::Later);
        assert!(room(10_001, 0).is_none() && !room(10_000, 50_000).is_none());
        assert!(room(9_900, 50).has(50) && !room(9_900, 50).has(51));
    }
}
