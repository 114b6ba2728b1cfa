//! One connection as the kernel sees it: what it really carried, and what the gate was told of it. It has a descriptor of
//! its own for that; the connection ends when the stream and its line are dropped, which happens together.
//!
//! # How it works
//! Before a write the gate is asked for what the write will cost; that is *booked*. What the connection really carried is
//! read from `TCP_INFO`: payload and segments, those sent again and acknowledgements included. Whenever the two are
//! compared ([`Line::settle`]) the difference goes to the gate, as debt or credit, and is booked too. So an estimate is
//! wrong for at most the time between two hand-overs. What the kernel does not tell is not counted: selective
//! acknowledgements (12 bytes and more) and payload that the peer sent twice, of which there is next to none on a line
//! that loses nothing.
//!
//! Where the kernel does not tell (qemu's user mode, Linux before 4.19) the count stays an estimate: payload, a header
//! for each segment that it takes at least, an acknowledgement for every other segment received, and the handshakes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::SockRef;
use tidegate_sockopt::{TcpInfo, set_max_pacing_rate};
use tokio::net::TcpStream;

use super::ceiling::{Committed, TAIL};
use super::gate::hand_over;
use super::meter::{Meter, Traffic, difference};
use super::packet::{SYN_EXTRA, Segments};
use crate::shape::pace::{Pace, Rate};

/// A socket's kernel is told to pace at so many times the rate: what gathers during a rest leaves at twice the rate and
/// not at the link's, which halves the queue that it makes in a modem. Nearer to the rate it would take away the catching
/// up that a burst is for (and measured at 4,000 B/s it ends 3.5 % high, so the limiter is the bucket in any case).
const PACING: u64 = 2;

/// Payload that may wait unsent in the kernel while nothing is limited; 128 KiB keeps a fast line busy.
const UNSENT: u32 = 128 * 1024;

/// The receive window at a limited rate is an eighth of a second's worth, within these: the peer can have so much on the
/// way that was not let in yet. Less than two packets would stall a peer that waits for the acknowledgement of two.
const WINDOW: std::ops::RangeInclusive<u64> = 3_000..=262_144;

/// The receive window for a rate, in bytes: of the burst, which it is taken from, not more than half.
pub(super) fn window(down: Rate) -> u64 {
    (down.bytes_per_second() / 8).min(down.burst() / 2).clamp(*WINDOW.start(), *WINDOW.end())
}

/// A connection, or what may become one.
#[derive(Debug)]
pub(super) struct Line {
    /// The socket once more: what the stream does with its own is nobody else's, and whoever settles only asks.
    socket: OwnedFd,
    peer: IpAddr,
    /// How segments are made up if nothing else is known.
    usual: Segments,
    meter: Arc<Meter>,
    /// Payload handed over, and the segments that each hand-over takes at least.
    sent: AtomicU64,
    segments: AtomicU64,
    /// Payload read.
    received: AtomicU64,
    /// The handshake is over.
    connected: AtomicBool,
    shut: AtomicBool,
    ended: AtomicBool,
    booked: Mutex<Booked>,
}

/// Adds to a counter that only one task writes; others may look at it. No locked operation is spent on each write.
fn add(counter: &AtomicU64, bytes: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
}

/// What the gate was told.
#[derive(Debug)]
pub(super) struct Booked {
    pub(super) traffic: Traffic,
    pub(super) made_up: Segments,
    /// Totals as last seen; they never shrink.
    seen: Traffic,
    /// Bytes of segments that were sent and are not acknowledged.
    in_flight: u64,
    /// It was ended at once: the kernel knows nothing of it any more.
    cut: bool,
}

impl Line {
    /// A line over a socket that is about to connect; `traffic` was asked for already.
    pub(super) fn new(tcp: &TcpStream, peer: IpAddr, meter: Arc<Meter>, traffic: Traffic) -> io::Result<Self> {
        let booked =
            Booked { traffic, made_up: Segments::assumed(peer), seen: Traffic::default(), in_flight: 0, cut: false };
        Ok(Self {
            socket: tcp.as_fd().try_clone_to_owned()?,
            peer,
            usual: Segments::assumed(peer),
            meter,
            sent: AtomicU64::new(0),
            segments: AtomicU64::new(0),
            received: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            booked: Mutex::new(booked),
        })
    }

    /// What is booked. Held from booking until the bytes are written, so that nobody settles in between.
    pub(super) fn booked(&self) -> MutexGuard<'_, Booked> {
        self.booked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has become a connection.
    pub(super) fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// So much payload was handed over at once.
    pub(super) fn wrote(&self, payload: u64) {
        add(&self.sent, payload);
        add(&self.segments, self.usual.count(payload));
    }

    /// So much payload was read; none means that the peer has ended its side.
    pub(super) fn read(&self, payload: u64) {
        add(&self.received, payload);
        if payload == 0 {
            self.ended.store(true, Ordering::Relaxed);
        }
    }

    /// This side has been ended.
    pub(super) fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }

    /// Payload handed over and read.
    pub(super) fn payload(&self) -> Traffic {
        Traffic { up: self.sent.load(Ordering::Relaxed), down: self.received.load(Ordering::Relaxed) }
    }

    /// What it has carried on the wire.
    pub(super) fn traffic(&self) -> Traffic {
        let mut booked = self.booked();
        self.look(&mut booked);
        booked.seen
    }

    /// Books what it really carried; returns by how much that is more than was booked (less, below zero).
    pub(super) fn settle(&self) -> (i64, i64) {
        let mut booked = self.booked();
        let to_come = self.look(&mut booked);
        let now = Traffic { up: booked.seen.up + to_come, down: booked.seen.down };
        let before = std::mem::replace(&mut booked.traffic, now);
        (difference(now.up, before.up), difference(now.down, before.down))
    }

    /// Sees what it has carried; returns what is still to come of what was handed over.
    fn look(&self, booked: &mut Booked) -> u64 {
        if booked.cut {
            return 0;
        }
        let (seen, to_come) = match (self.meter.reader)(self.socket.as_fd()) {
            Ok(info) => {
                // Before, and after a refusal, what was agreed on is not known: a SYN offers timestamps.
                if self.connected.load(Ordering::Relaxed) {
                    booked.made_up = Segments::told(self.peer, info.timestamps, info.send_mss);
                }
                let to_come = booked.made_up.cost(u64::from(info.unsent));
                booked.in_flight = u64::from(info.unacknowledged) * booked.made_up.full();
                (carried(&info, booked.made_up), to_come)
            }
            Err(error) => {
                self.meter.estimates(&error);
                (self.estimate(booked.made_up), 0)
            }
        };
        booked.seen.up = booked.seen.up.max(seen.up);
        booked.seen.down = booked.seen.down.max(seen.down);
        to_come
    }

    /// What of a ceiling it takes.
    pub(super) fn committed(&self) -> Committed {
        let mut booked = self.booked();
        let to_come = self.look(&mut booked);
        Committed { certain: booked.seen.up + booked.seen.down + to_come + TAIL, again: booked.in_flight }
    }

    /// Ends it at once: what was handed over and is not gone yet is not sent, and nothing is sent again.
    pub(super) fn cut(&self) {
        let mut booked = self.booked();
        // What the kernel knows is gone with the connection.
        self.look(&mut booked);
        match rustix::net::connect_unspec(&self.socket) {
            Ok(()) => (booked.cut, booked.in_flight) = (true, 0),
            Err(error) => tracing::debug!(%error, "a connection could not be cut"),
        }
    }

    /// The same if the kernel has anything of it left to send.
    pub(super) fn cut_unfinished(&self) {
        let unfinished =
            (self.meter.reader)(self.socket.as_fd()).is_ok_and(|info| info.unsent + info.unacknowledged > 0);
        if unfinished {
            self.cut();
        }
    }

    /// Lets the peer have no more than so much on the way, as far as it does not have it already.
    pub(super) fn bind_window(&self, bytes: u64) {
        self.meter.tuned("SO_RCVBUF", SockRef::from(&self.socket).set_recv_buffer_size(bytes as usize));
    }

    fn estimate(&self, made_up: Segments) -> Traffic {
        let Traffic { up, down } = self.payload();
        let (sent, received) = (self.segments.load(Ordering::Relaxed), made_up.count(down));
        let headers = |segments: u64, acknowledged: u64| (1 + segments + acknowledged.div_ceil(2)) * made_up.header;
        Traffic {
            // The handshake: SYN and the acknowledgement of its answer.
            up: up + headers(sent, received) + made_up.header + SYN_EXTRA,
            down: down + headers(received, sent) + SYN_EXTRA,
        }
    }

    /// What ending it will carry besides what was seen: FIN and the acknowledgement of the peer's.
    fn farewell(&self, made_up: Segments) -> Traffic {
        let times = |count: u64| count * made_up.header;
        match (self.shut.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed)) {
            (true, true) => Traffic::default(),
            (true, false) | (false, true) => Traffic { up: times(1), down: times(1) },
            (false, false) => Traffic { up: times(2), down: times(1) },
        }
    }

    /// Tells the socket the pace, as far as the system takes it: the kernel's queue is kept short, bursts are smoothed,
    /// and the peer is held back by its window.
    pub(super) fn tune(&self, pace: Pace) {
        let unsent = match pace.up {
            // One hand-over waits while one is on its way.
            Some(rate) => u32::try_from(hand_over(rate, crate::shape::pace::PACKET)).unwrap_or(UNSENT),
            None => UNSENT,
        };
        let socket = SockRef::from(&self.socket);
        self.meter.tuned("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(unsent));
        let pacing = pace.up.map(|rate| rate.bytes_per_second().saturating_mul(PACING));
        self.meter.tuned("SO_MAX_PACING_RATE", set_max_pacing_rate(&self.socket, pacing));
        if let Some(rate) = pace.down {
            self.meter.tuned("SO_RCVBUF", socket.set_recv_buffer_size(window(rate) as usize));
        }
    }
}

/// What a connection carried, headers included.
fn carried(info: &TcpInfo, made_up: Segments) -> Traffic {
    let headers = |segments: u32| u64::from(segments) * made_up.header + if segments > 0 { SYN_EXTRA } else { 0 };
    Traffic { up: info.bytes_sent + headers(info.segments_out), down: info.bytes_received + headers(info.segments_in) }
}

impl Drop for Line {
    fn drop(&mut self) {
        let meter = Arc::clone(&self.meter);
        let mut booked = self.booked();
        let to_come = self.look(&mut booked);
        // What never came to be a connection has nothing to end.
        let connected = self.connected.load(Ordering::Relaxed);
        let farewell = if connected { self.farewell(booked.made_up) } else { Traffic::default() };
        let end = Traffic { up: booked.seen.up + to_come + farewell.up, down: booked.seen.down + farewell.down };
        let before = booked.traffic;
        drop(booked);
        meter.ended(end, before, self.payload());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn what_was_carried_is_payload_and_headers_and_what_was_sent_again() {
        let made_up = Segments::assumed(PEER);
        let info = TcpInfo { bytes_sent: 5_000, bytes_sent_again: 1_000, segments_out: 10, ..TcpInfo::default() };
        let info = TcpInfo { bytes_received: 200, segments_in: 5, ..info };
        assert_eq!(carried(&info, made_up), Traffic { up: 5_000 + 520 + 8, down: 200 + 260 + 8 });
        assert_eq!(carried(&TcpInfo::default(), made_up), Traffic::default(), "not a byte before the first SYN");
    }

    #[test]
    fn the_window_holds_an_eighth_of_a_second_and_half_a_burst_at_most() {
        let rate = |bytes, burst| Rate::new(std::num::NonZeroU64::new(bytes).expect("some"), burst);
        assert_eq!(window(rate(4_000, 32_768)), 3_000);
        assert_eq!(window(rate(1_000_000, 500_000)), 125_000);
        assert_eq!(window(rate(1_000_000, 65_536)), 32_768);
        assert_eq!(window(rate(1_000_000_000, u64::MAX)), 262_144);
    }
}
