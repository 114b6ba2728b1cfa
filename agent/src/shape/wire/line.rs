//! One connection as the kernel sees it: what it really carried, and what the gate was told of it. It has a descriptor of
//! its own for that; the connection ends when the stream and its line are dropped, which happens together.
//!
//! # How it works
//! Before a write the gate is asked for what the write will cost; that is *booked*. What the connection really carried is
//! read from `TCP_INFO`: payload and segments, those sent again and acknowledgements included. Whenever the two are
//! compared ([`Line::settle`]) the difference goes to the gate, as debt or credit, and is booked too. So an estimate is
//! wrong for at most the time between two hand-overs. What is still in the kernel takes up room in the bucket until it
//! has left. Of what comes in only what was not invited is settled so; the window and each read paid for the rest
//! (`window`). Payload that the peer sent twice is found by comparing segments with bytes (`repeats`). What the kernel
//! does not tell at all is not counted: selective acknowledgements, 12 bytes and more on segments that carry one, of which
//! there is next to none on a line that loses nothing.
//!
//! Where the kernel does not tell (qemu's user mode, Linux before 4.19) the count stays an estimate: payload, a header
//! for each segment that it takes at least, an acknowledgement for every other segment received, and the handshakes.
//! Measured with the agent under qemu-user, on a line of 128 kbit/s: sent 0.06 % less than the interface counted, received
//! 9 % less (acknowledgements, of which there were more), the rate kept.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tidegate_sockopt::{TcpInfo, set_max_pacing_rate, set_window_clamp};
use tokio::net::TcpStream;

use super::ceiling::{self, Committed, TAIL};
use super::gate::{Gate, hand_over};
use super::meter::{Meter, Traffic, difference};
use super::packet::{SYN_EXTRA, Segments};
use super::repeats::Repeats;
use super::window::{buffer, wire};
use crate::shape::bucket::Class;
use crate::shape::pace::Pace;

/// A socket's kernel is told to pace at so many times the rate: what gathers during a rest leaves at twice the rate and
/// not at the link's, which halves the queue that it makes in a modem. Nearer to the rate it would take away the catching
/// up that a burst is for (and measured at 4,000 B/s it ends 3.5 % high, so the limiter is the bucket in any case).
const PACING: u64 = 2;

/// Payload that may wait unsent in the kernel while nothing is limited; 128 KiB keeps a fast line busy.
const UNSENT: u32 = 128 * 1024;

/// Bytes of receive buffer that a connection is given when the limit is taken away; Linux's own default is as much. It
/// cannot be told to find the size itself again.
const FREE_BUFFER: u64 = 128 * 1024;

/// What of the receive windows is this connection's; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Window {
    gate: Arc<Gate>,
    class: Class,
    size: Mutex<Size>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// Segments; none while what comes in is not limited.
    segments: u64,
    /// Bytes of memory that the buffer was given, as the system counts them; none while that is the system's choice.
    memory: Option<u64>,
}

impl Window {
    /// None yet.
    pub(super) fn new(gate: &Arc<Gate>, class: Class) -> Self {
        Self { gate: Arc::clone(gate), class, size: Mutex::default() }
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it as large as there is room for now, and as there are tokens for unless it `may_owe` them; under a ceiling no
    /// larger than that counts with.
    pub(super) fn adjust(&self, socket: &Socket, meter: &Meter, may_owe: bool) {
        let mut size = self.size();
        let segments = self.gate.window(self.class, size.segments, may_owe);
        let most = meter.ceiling.is_set().then_some(2 * ceiling::WINDOW);
        let wanted = match (segments.map(buffer), most) {
            (Some(memory), most) => Some(memory.min(most.unwrap_or(u64::MAX))),
            (None, Some(most)) => Some(most),
            // The limit was taken away.
            (None, None) => size.memory.map(|_| 2 * FREE_BUFFER),
        };
        if let Some(memory) = wanted.filter(|_| wanted != size.memory) {
            // The system doubles what it is told.
            meter.tuned("SO_RCVBUF", socket.set_recv_buffer_size(memory.div_ceil(2) as usize));
            if size.memory.is_some_and(|before| before < memory) {
                // The kernel may have clamped the window to what the smaller buffer had room for, and keep it so. Not
                // before the handshake, in which the clamp would decide how large the window can ever become.
                meter.tuned("TCP_WINDOW_CLAMP", set_window_clamp(socket, u32::try_from(memory).unwrap_or(u32::MAX)));
            }
        }
        *size = Size { segments: segments.unwrap_or(0), memory: wanted };
    }
}

impl Window {
    /// Gives it back; so many bytes of it came and were not read.
    fn close(&self, unread: u64) {
        let segments = std::mem::take(&mut self.size().segments);
        if segments > 0 {
            self.gate.close_window(self.class, segments, wire(segments).saturating_sub(unread));
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.close(0);
    }
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
    window: Window,
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
    repeats: Repeats,
    /// Microseconds; 0 before it is known.
    round_trip: u32,
    /// Of what came in, what was invited: payload that came once, in full segments.
    invited: u64,
    /// Totals as last seen; they never shrink.
    seen: Traffic,
    /// Bytes of segments that were sent and are not acknowledged.
    in_flight: u64,
    /// It was ended at once: the kernel knows nothing of it any more.
    cut: bool,
}

impl Booked {
    /// What came in besides what was invited: acknowledgements, headers of segments that are not full, and what came
    /// again.
    fn besides(&self) -> u64 {
        self.seen.down.saturating_sub(self.invited)
    }
}

impl Line {
    /// A line over a socket that is about to connect; `traffic` was asked for already.
    pub(super) fn new(
        tcp: &TcpStream,
        peer: IpAddr,
        meter: Arc<Meter>,
        traffic: Traffic,
        window: Window,
    ) -> io::Result<Self> {
        let booked = Booked {
            traffic,
            made_up: Segments::assumed(peer),
            repeats: Repeats::default(),
            round_trip: 0,
            invited: 0,
            seen: Traffic::default(),
            in_flight: 0,
            cut: false,
        };
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
            window,
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

    /// Its round trip when it was last looked at.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = self.booked().round_trip;
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Books what it really carried; returns by how much that is more than was booked (less, below zero), up and down, and
    /// what of it is still in the kernel.
    pub(super) fn settle(&self) -> (i64, i64, u64) {
        let mut booked = self.booked();
        let to_come = self.look(&mut booked);
        let now = Traffic { up: booked.seen.up + to_come, down: booked.besides() };
        let before = std::mem::replace(&mut booked.traffic, now);
        (difference(now.up, before.up), difference(now.down, before.down), to_come)
    }

    /// Sees what it has carried; returns what is still to come of what was handed over.
    fn look(&self, booked: &mut Booked) -> u64 {
        if booked.cut {
            return 0;
        }
        let (seen, new, to_come) = match (self.meter.reader)(self.socket.as_fd()) {
            Ok(info) => {
                // Before, and after a refusal, what was agreed on is not known: a SYN offers timestamps.
                if self.connected.load(Ordering::Relaxed) {
                    booked.made_up = Segments::told(self.peer, info.timestamps, info.send_mss);
                }
                booked.round_trip = info.round_trip;
                let to_come = booked.made_up.cost(u64::from(info.unsent));
                booked.in_flight = u64::from(info.unacknowledged) * booked.made_up.full();
                (carried(&info, booked.made_up, booked.repeats.look(&info)), info.bytes_received, to_come)
            }
            Err(error) => {
                self.meter.estimates(&error);
                (self.estimate(booked.made_up), self.payload().down, 0)
            }
        };
        booked.invited = booked.made_up.part(new);
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

    /// Lets the peer have no more on the way than a ceiling counts with, as far as it does not have it already; or more
    /// again, if there is no ceiling any more.
    pub(super) fn bind_window(&self) {
        self.window.adjust(&SockRef::from(&self.socket), &self.meter, true);
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
        self.window.adjust(&socket, &self.meter, true);
    }

    /// Has what came acknowledged at once. Otherwise Linux delays that by 40 to 200 ms while the window does not grow: a small
    /// window then fills no round trip, and a near peer takes its last segment for lost and sends it again.
    pub(super) fn acknowledge(&self) {
        self.meter.tuned("TCP_QUICKACK", SockRef::from(&self.socket).set_tcp_quickack(true));
    }

    /// Takes what others have left of the windows.
    pub(super) fn widen(&self) {
        self.window.adjust(&SockRef::from(&self.socket), &self.meter, false);
    }
}

/// What a connection carried, headers included; so much of what came had come before.
fn carried(info: &TcpInfo, made_up: Segments, repeated: u64) -> Traffic {
    let headers = |segments: u32| u64::from(segments) * made_up.header + if segments > 0 { SYN_EXTRA } else { 0 };
    Traffic {
        up: info.bytes_sent + headers(info.segments_out),
        down: info.bytes_received + repeated + headers(info.segments_in),
    }
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
        let more = difference(end.up, booked.traffic.up);
        let more_besides = difference(booked.besides() + farewell.down, booked.traffic.down);
        let unread = booked.invited.saturating_sub(booked.made_up.part(self.payload().down));
        drop(booked);
        self.window.close(unread);
        meter.ended(end, (more, more_besides), self.payload());
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
        assert_eq!(carried(&info, made_up, 0), Traffic { up: 5_000 + 520 + 8, down: 200 + 260 + 8 });
        assert_eq!(carried(&info, made_up, 100).down, 300 + 260 + 8);
        assert_eq!(carried(&TcpInfo::default(), made_up, 0), Traffic::default(), "not a byte before the first SYN");
    }
}
