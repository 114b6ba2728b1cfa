//! The load generator: many MQTT connections that publish at QoS 1, each with a window of unacknowledged publishes.
//!
//! It shares the machine with what it measures, so it must cost little: one thread, one epoll, and per connection one
//! buffer that holds the whole window ready to send, packet identifiers and all. Acknowledgements come in order, so
//! when n of them arrive the next n publishes are the next n slots of that ring: one `read`, one `writev`, no copy.
//! An acknowledgement that is not the next one expected ends the run with an error: what is counted is right.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fd::OwnedFd;

use super::Histogram;
use crate::mqtt::packet::{Connect, Publish};
use crate::mqtt::{Client, Qos, Version};

/// How long the generator waits for a server that acknowledges nothing.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time, of which the first part is not counted.
    Time {
        /// Not counted.
        warm_up: Duration,
        /// Counted.
        measured: Duration,
    },
    /// When so many publishes are acknowledged.
    Acknowledged(u64),
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// Unacknowledged publishes of each connection, at most 65,535.
    pub window: usize,
    /// Bytes of each payload, at least 40.
    pub payload: usize,
    /// When it ends.
    pub until: Until,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Acknowledged publishes within the time counted.
    pub acknowledged: u64,
    /// That time.
    pub elapsed: Duration,
    /// From the write of a publish to the read of its acknowledgement.
    pub latency: Histogram,
}

impl Measured {
    /// Acknowledged publishes per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.elapsed.as_secs_f64()
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The server cannot be reached or refused the CONNECT.
    #[error("connection {number} was not accepted by {address}")]
    Connect {
        /// Which connection.
        number: usize,
        /// Whose.
        address: SocketAddr,
    },
    /// The operating system refused something.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server closed a connection.
    #[error("the server closed connection {0} in the middle of the load")]
    Closed(usize),
    /// The server sent something else than the next acknowledgement.
    #[error("connection {number}: {bytes:02x?} instead of the PUBACK of {expected}")]
    Disorder {
        /// Which connection.
        number: usize,
        /// What came.
        bytes: [u8; 4],
        /// Which packet identifier's turn it was.
        expected: u16,
    },
    /// Nothing was acknowledged for a long time.
    #[error("nothing was acknowledged for {STUCK_AFTER:?}")]
    Stuck,
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> PlanError {
    move |source| PlanError::Io { action, source }
}

/// A JSON payload of exactly so many bytes, such as a device sends.
#[must_use]
fn payload(length: usize) -> Vec<u8> {
    let mut text = br#"{"temperature":21.53,"status":""#.to_vec();
    text.resize(length.saturating_sub(2).max(text.len()), b'x');
    text.extend_from_slice(b"\"}");
    text
}

struct Connection {
    stream: TcpStream,
    /// The window's publishes, one after the other, all of one length.
    ring: Vec<u8>,
    publish_length: usize,
    sent_at: Vec<Instant>,
    /// The slot whose acknowledgement comes next.
    oldest: usize,
    /// Where in the ring writing goes on.
    write_at: usize,
    /// Bytes that may be written now.
    to_write: usize,
    /// An acknowledgement of which not all bytes came yet.
    partial: Vec<u8>,
    waits_to_write: bool,
}

impl Connection {
    fn open(plan: &Plan, number: usize) -> Result<Self, PlanError> {
        let refused = || PlanError::Connect { number, address: plan.address };
        let connect = Connect::new(Version::V311, &format!("load-{number:05}"));
        let (client, _) = Client::try_connect(plan.address, &connect).ok_or_else(refused)?;
        let stream = client.stream().try_clone().map_err(io("duplicate a socket"))?;
        stream.set_nonblocking(true).map_err(io("make a socket non-blocking"))?;
        let topic = format!("devices/load-{number:05}/telemetry");
        let payload = payload(plan.payload);
        let mut ring = Vec::new();
        for slot in 0..plan.window {
            let publish = Publish {
                topic: topic.as_bytes(),
                payload: &payload,
                qos: Qos::AtLeastOnce,
                id: slot as u16 + 1,
                dup: false,
            };
            ring.extend_from_slice(&publish.encode(Version::V311));
        }
        Ok(Self {
            stream,
            publish_length: ring.len() / plan.window,
            to_write: ring.len(),
            ring,
            sent_at: vec![Instant::now(); plan.window],
            oldest: 0,
            write_at: 0,
            partial: Vec::new(),
            waits_to_write: false,
        })
    }

    /// Writes what may be written.
    fn write(&mut self) -> std::io::Result<()> {
        while self.to_write > 0 {
            let first = self.to_write.min(self.ring.len() - self.write_at);
            let slices = [
                IoSlice::new(&self.ring[self.write_at..self.write_at + first]),
                IoSlice::new(&self.ring[..self.to_write - first]),
            ];
            let written = match (&self.stream).write_vectored(&slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.note_sent(written);
        }
        Ok(())
    }

    /// Notes the time for every publish whose first byte has now gone out.
    fn note_sent(&mut self, written: usize) {
        let now = Instant::now();
        let mut slot = self.write_at.div_ceil(self.publish_length);
        let end = (self.write_at + written).div_ceil(self.publish_length);
        while slot < end {
            let index = slot % self.sent_at.len();
            self.sent_at[index] = now;
            slot += 1;
        }
        self.write_at = (self.write_at + written) % self.ring.len();
        self.to_write -= written;
    }

    /// Takes acknowledgements; says how many, calling `latency` for each.
    fn take(&mut self, bytes: &[u8], number: usize, mut latency: impl FnMut(Instant)) -> Result<u64, PlanError> {
        let mut joined = Vec::new();
        let bytes = if self.partial.is_empty() {
            bytes
        } else {
            joined.append(&mut self.partial);
            joined.extend_from_slice(bytes);
            &joined
        };
        let whole = bytes.len() / 4;
        let (acks, rest) = bytes.split_at(whole * 4);
        for ack in acks.chunks_exact(4) {
            let expected = self.oldest as u16 + 1;
            let [high, low] = expected.to_be_bytes();
            if ack != [0x40, 2, high, low] {
                let bytes = [ack[0], ack[1], ack[2], ack[3]];
                return Err(PlanError::Disorder { number, bytes, expected });
            }
            latency(self.sent_at[self.oldest]);
            self.oldest += 1;
            if self.oldest == self.sent_at.len() {
                self.oldest = 0;
            }
        }
        if !rest.is_empty() {
            self.partial = rest.to_vec();
        }
        self.to_write += whole * self.publish_length;
        Ok(whole as u64)
    }
}

impl Plan {
    /// Connects, publishes, and measures.
    pub fn run(&self) -> Result<Measured, PlanError> {
        let mut generator = Generator::open(self)?;
        let result = generator.run(self);
        for connection in &mut generator.connections {
            let _ = (&connection.stream).write(&crate::mqtt::packet::DISCONNECT); // a full socket is simply closed
        }
        result
    }
}

struct Generator {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

impl Generator {
    fn open(plan: &Plan) -> Result<Self, PlanError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| io("create an epoll")(error.into()))?;
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let connection = Connection::open(plan, number)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN)
                .map_err(|error| io("watch a socket")(error.into()))?;
            connections.push(connection);
        }
        Ok(Self { epoll, connections, buffer: vec![0; 16 * 1024] })
    }

    fn run(&mut self, plan: &Plan) -> Result<Measured, PlanError> {
        let mut latency = Histogram::default();
        let (warm_up, end, limit) = match plan.until {
            Until::Time { warm_up, measured } => (warm_up, warm_up + measured, u64::MAX),
            Until::Acknowledged(count) => (Duration::ZERO, Duration::MAX, count),
        };
        for number in 0..self.connections.len() {
            self.write(number)?;
        }
        let start = Instant::now();
        let mut last_progress = start;
        let (mut acknowledged, mut counted_from) = (0, warm_up.is_zero().then_some(start));
        let mut events = Vec::with_capacity(1024);
        loop {
            self.wait(&mut events)?;
            let now = Instant::now();
            if counted_from.is_none() && now - start >= warm_up {
                counted_from = Some(now);
            }
            if now - start >= end || acknowledged >= limit {
                let elapsed = now - counted_from.unwrap_or(now);
                return Ok(Measured { acknowledged, elapsed, latency });
            }
            if now - last_progress > STUCK_AFTER {
                return Err(PlanError::Stuck);
            }
            for event in events.drain(..) {
                let number = event.data.u64() as usize;
                let count = counted_from.is_some();
                let taken = self.read(number, |sent_at| {
                    if count {
                        latency.record(now.saturating_duration_since(sent_at));
                    }
                })?;
                if taken > 0 {
                    last_progress = now;
                    acknowledged += if count { taken } else { 0 };
                }
                self.write(number)?;
            }
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> Result<(), PlanError> {
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io("wait for sockets")(error.into())),
        }
    }

    fn read(&mut self, number: usize, latency: impl FnMut(Instant)) -> Result<u64, PlanError> {
        let connection = &mut self.connections[number];
        match (&connection.stream).read(&mut self.buffer) {
            Ok(0) => Err(PlanError::Closed(number)),
            Ok(length) => connection.take(&self.buffer[..length], number, latency),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(io("read acknowledgements")(error)),
        }
    }

    /// Writes, and asks epoll for room exactly while there is something left to write.
    fn write(&mut self, number: usize) -> Result<(), PlanError> {
        let connection = &mut self.connections[number];
        connection.write().map_err(io("publish"))?;
        let waits = connection.to_write > 0;
        if waits != connection.waits_to_write {
            connection.waits_to_write = waits;
            let flags = if waits { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            epoll::modify(&self.epoll, &connection.stream, epoll::EventData::new_u64(number as u64), flags)
                .map_err(|error| io("watch a socket")(error.into()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Mosquitto;

    #[test]
    fn a_payload_has_the_length_asked_for_and_is_json() {
        let bytes = payload(200);
        assert_eq!(bytes.len(), 200);
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }

    #[test]
    fn a_broker_acknowledges_the_number_of_publishes_asked_for() {
        let broker = Mosquitto::start("");
        let plan = Plan {
            address: broker.address(),
            connections: 5,
            window: 7,
            payload: 200,
            until: Until::Acknowledged(20_000),
        };
        let measured = plan.run().expect("mosquitto acknowledges in order");
        assert!(measured.acknowledged >= 20_000);
        assert!(measured.latency.total() >= 20_000);
        assert!(measured.latency.quantile(0.99) >= measured.latency.quantile(0.5));
    }
}
