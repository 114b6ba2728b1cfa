//! What really went over the wire, of all connections together.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tidegate_sockopt::TcpInfo;
use tokio::time::{Duration, Instant};

use super::ceiling::{Ceiling, Committed, Room};
use super::gate::Gate;
use super::line::Line;
use crate::shape::bucket::Class;

/// Shortest time between two looks at what connections really carried: a look is a system call for each connection.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Bytes and connections since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes sent on the wire: IP and TCP headers, acknowledgements, handshakes, segments sent again, and datagrams of
    /// name resolution included; link headers (Ethernet, PPP) not.
    pub sent: u64,
    /// Bytes received, likewise.
    pub received: u64,
    /// TCP payload bytes handed to the kernel, TLS included.
    pub payload_sent: u64,
    /// TCP payload bytes received, TLS included.
    pub payload_received: u64,
    /// TCP connections made.
    pub connections: u64,
    /// The longest round trip of the connections that are open, smoothed as the system does; `None` where none is open
    /// or the system does not tell.
    pub round_trip: Option<Duration>,
    /// Whether `sent` and `received` are in part estimates, because the system does not tell what connections carried.
    pub estimated: bool,
}

/// Bytes of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) up: u64,
    pub(super) down: u64,
}

/// By how much one is more than the other; less, below zero.
pub(super) fn difference(one: u64, other: u64) -> i64 {
    let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(one).saturating_sub(signed(other))
}

/// A pair of counters.
#[derive(Debug, Default)]
struct Sum {
    up: AtomicU64,
    down: AtomicU64,
}

impl Sum {
    fn add(&self, traffic: Traffic) {
        self.up.fetch_add(traffic.up, Ordering::Relaxed);
        self.down.fetch_add(traffic.down, Ordering::Relaxed);
    }

    fn get(&self) -> Traffic {
        Traffic { up: self.up.load(Ordering::Relaxed), down: self.down.load(Ordering::Relaxed) }
    }
}

/// Reads what the kernel knows of a connection.
pub(super) type Reader = fn(BorrowedFd<'_>) -> io::Result<TcpInfo>;

/// The meter.
#[derive(Debug)]
pub(super) struct Meter {
    gate: Arc<Gate>,
    pub(super) reader: Reader,
    /// Of connections that have ended, and of datagrams.
    ended: Sum,
    ended_payload: Sum,
    /// Those that are open: a handful, as many as the agent's rooms use at one time.
    lines: Mutex<Vec<Weak<Line>>>,
    settled: Mutex<Option<Instant>>,
    connections: AtomicU64,
    estimated: AtomicBool,
    untuned: AtomicBool,
    pub(super) ceiling: Ceiling,
}

impl Meter {
    /// Nothing has passed.
    pub(super) fn new(gate: Arc<Gate>, reader: Reader) -> Self {
        Self {
            gate,
            reader,
            ended: Sum::default(),
            ended_payload: Sum::default(),
            lines: Mutex::default(),
            settled: Mutex::default(),
            connections: AtomicU64::new(0),
            estimated: AtomicBool::new(false),
            untuned: AtomicBool::new(false),
            ceiling: Ceiling::default(),
        }
    }

    /// Keeps an eye on a line until it ends.
    pub(super) fn watch(&self, line: &Arc<Line>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(line));
    }

    /// A line has become a connection.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts datagrams; what was sent has passed the gate.
    pub(super) fn datagram(&self, traffic: Traffic) {
        self.ended.add(traffic);
        if traffic.down > 0 {
            self.gate.settle(0, i64::try_from(traffic.down).unwrap_or(i64::MAX));
        }
    }

    /// A line has ended, having carried `end`; so much `more` than the gate knows.
    pub(super) fn ended(&self, end: Traffic, (more_up, more_down): (i64, i64), payload: Traffic) {
        self.ended.add(end);
        self.ended_payload.add(payload);
        self.gate.settle(more_up, more_down);
    }

    /// The open lines.
    pub(super) fn lines(&self) -> Vec<Arc<Line>> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter_map(Weak::upgrade).collect()
    }

    /// Tells the gate what lines really carried, unless that was done a moment ago.
    pub(super) fn settle_if_due(&self) {
        let now = Instant::now();
        {
            let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            if settled.is_some_and(|before| now.saturating_duration_since(before) < LOOK_EVERY) {
                return;
            }
            *settled = Some(now);
        }
        self.settle();
    }

    /// Tells the gate what lines really carried.
    pub(super) fn settle(&self) {
        let (mut up, mut down, mut unsent) = (0_i64, 0_i64, 0_u64);
        for line in self.lines() {
            let (more_up, more_down, of_it_unsent) = line.settle();
            up = up.saturating_add(more_up);
            down = down.saturating_add(more_down);
            unsent = unsent.saturating_add(of_it_unsent);
        }
        self.gate.settle(up, down);
        self.gate.unsent(unsent);
    }

    /// What is left under the ceiling for a class; `None` if there is none.
    pub(super) fn room(&self, class: Class) -> Option<Room> {
        self.ceiling.room(class, || {
            let ended = self.ended.get();
            let mut all = Committed { certain: ended.up + ended.down, again: 0 };
            self.lines().iter().for_each(|line| all += line.committed());
            all
        })
    }

    /// What has passed so far.
    pub(super) fn counts(&self) -> Counts {
        let (mut wire, mut payload) = (self.ended.get(), self.ended_payload.get());
        let mut round_trip = None;
        for line in self.lines() {
            let (carried, of_it) = (line.traffic(), line.payload());
            round_trip = round_trip.max(line.round_trip());
            wire = Traffic { up: wire.up + carried.up, down: wire.down + carried.down };
            payload = Traffic { up: payload.up + of_it.up, down: payload.down + of_it.down };
        }
        Counts {
            sent: wire.up,
            received: wire.down,
            payload_sent: payload.up,
            payload_received: payload.down,
            connections: self.connections.load(Ordering::Relaxed),
            round_trip,
            estimated: self.estimated.load(Ordering::Relaxed),
        }
    }

    /// The system does not tell what a connection carried.
    pub(super) fn estimates(&self, error: &io::Error) {
        if !self.estimated.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "this system does not tell what connections really carry; wire bytes are estimated");
        }
    }

    /// Whether a socket option was taken.
    pub(super) fn tuned(&self, option: &str, result: io::Result<()>) {
        if let Err(error) = result {
            if !self.untuned.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, option, "this system does not take a socket option; bytes leave less smoothly");
            }
        }
    }
}
