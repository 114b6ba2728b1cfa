//! An MQTT client that does exactly what a test tells it and nothing by itself.
//!
//! Real clients ([`crate::tools`]) show that Tidegate works with them; this one shows what it does at the edges:
//! publishes left unacknowledged, sent again with and without DUP, bytes that are no MQTT at all. It keeps no
//! session: the test does.

pub mod packet;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use packet::{Connect, Publish};

/// How long a packet that must come may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// MQTT version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V311,
    /// 5.
    V5,
}

impl Version {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V311, Self::V5];
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Qos {
    /// 0.
    AtMostOnce = 0,
    /// 1.
    AtLeastOnce = 1,
    /// 2.
    ExactlyOnce = 2,
}

/// What the server sent, as far as a test looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    Connack {
        /// The session was kept.
        session_present: bool,
        /// 0 is accepted.
        code: u8,
        /// In 5: the properties, undecoded.
        properties: Vec<u8>,
    },
    /// PUBACK.
    Puback {
        /// Packet identifier.
        id: u16,
        /// In 5: the reason code, 0 where left out.
        reason: u8,
    },
    /// PUBREC.
    Pubrec {
        /// Packet identifier.
        id: u16,
        /// In 5: the reason code, 0 where left out.
        reason: u8,
    },
    /// PUBCOMP.
    Pubcomp {
        /// Packet identifier.
        id: u16,
    },
    /// SUBACK with the codes of its filters.
    Suback {
        /// Packet identifier.
        id: u16,
        /// One code per filter.
        codes: Vec<u8>,
    },
    /// PINGRESP.
    Pingresp,
    /// DISCONNECT (5 only) with its reason code.
    Disconnect(u8),
    /// Anything else: first byte and body.
    Other(u8, Vec<u8>),
}

/// Why no packet came.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing within the time given.
    TimedOut,
    /// The server closed or reset the connection.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    version: Version,
    received: Vec<u8>,
}

impl Client {
    /// Opens a TCP connection and says nothing yet.
    #[track_caller]
    pub fn open(address: SocketAddr, version: Version) -> Self {
        Self::try_open(address, version).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Opens a TCP connection, which may be refused.
    pub fn try_open(address: SocketAddr, version: Version) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, version, received: Vec::new() })
    }

    /// Connects and is accepted; says whether the session was present.
    #[track_caller]
    pub fn connect(address: SocketAddr, connect: &Connect) -> (Self, bool) {
        let mut client = Self::open(address, connect.version);
        client.send(&connect.encode());
        match client.expect() {
            Packet::Connack { session_present, code: 0, .. } => (client, session_present),
            other => panic!("{:?} was not accepted: {other:?}", connect.client_id),
        }
    }

    /// Connects as a client would in the field, where the server may be down or go down at any moment.
    pub fn try_connect(address: SocketAddr, connect: &Connect) -> Option<(Self, bool)> {
        let mut client = Self::try_open(address, connect.version).ok()?;
        client.try_send(&connect.encode()).ok()?;
        match client.receive(ANSWER_WITHIN) {
            Ok(Packet::Connack { session_present, code: 0, .. }) => Some((client, session_present)),
            _ => None,
        }
    }

    /// Sends bytes, whatever they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes what a test client sends");
    }

    /// Sends bytes to a server that may be gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Publishes, without waiting for an answer.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: Qos, id: u16) {
        let bytes = Publish { topic: topic.as_bytes(), payload, qos, id, dup: false }.encode(self.version);
        self.send(&bytes);
    }

    /// Publishes at QoS 1 and waits for its PUBACK; 0x10 ("no matching subscribers") is as good as 0.
    #[track_caller]
    pub fn publish_acknowledged(&mut self, topic: &str, payload: &[u8], id: u16) {
        self.publish(topic, payload, Qos::AtLeastOnce, id);
        match self.expect() {
            Packet::Puback { id: answered, reason: ..0x80 } if answered == id => {}
            other => panic!("{other:?} instead of the PUBACK of {id}"),
        }
    }

    /// Publishes at QoS 2 and goes through the whole exchange.
    #[track_caller]
    pub fn publish_exactly_once(&mut self, topic: &str, payload: &[u8], id: u16) {
        self.publish(topic, payload, Qos::ExactlyOnce, id);
        match self.expect() {
            Packet::Pubrec { id: answered, reason: ..0x80 } if answered == id => {}
            other => panic!("{other:?} instead of the PUBREC of {id}"),
        }
        self.send(&packet::pubrel(id));
        assert_eq!(self.expect(), Packet::Pubcomp { id });
    }

    /// The next packet, which must come.
    #[track_caller]
    pub fn expect(&mut self) -> Packet {
        match self.receive(ANSWER_WITHIN) {
            Ok(packet) => packet,
            Err(silence) => panic!("no packet came: {silence:?}"),
        }
    }

    /// Fails unless the server closes the connection within the usual time; what it sends before is passed over.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let start = Instant::now();
        while start.elapsed() < ANSWER_WITHIN {
            if self.receive(ANSWER_WITHIN) == Err(Silence::Closed) {
                return;
            }
        }
        panic!("the server left the connection open");
    }

    /// The next packet, if it comes within `timeout`.
    pub fn receive(&mut self, timeout: Duration) -> Result<Packet, Silence> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some((packet, length)) = self.parse() {
                self.received.drain(..length);
                return Ok(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::TimedOut);
            }
            let mut chunk = [0_u8; 4096];
            self.stream.set_read_timeout(Some(left)).map_err(|_| Silence::Closed)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Silence::Closed),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => return Err(Silence::TimedOut),
                    std::io::ErrorKind::Interrupted => {}
                    _ => return Err(Silence::Closed),
                },
            }
        }
    }

    /// Sends DISCONNECT and closes.
    pub fn disconnect(mut self) {
        let _ = self.try_send(&packet::DISCONNECT); // a server that is already gone is as good as told
    }

    /// The socket, for options and half-closing.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn parse(&self) -> Option<(Packet, usize)> {
        let (&first, rest) = self.received.split_first()?;
        let (mut length, mut width) = (0_usize, 0);
        loop {
            let byte = *rest.get(width)?;
            length |= usize::from(byte & 0x7f) << (7 * width);
            width += 1;
            if byte & 0x80 == 0 {
                break;
            }
            assert!(width < 4, "the server sent a remaining length of more than four bytes");
        }
        let body = rest.get(width..width + length)?;
        Some((decode(first, body, self.version), 1 + width + length))
    }
}

fn decode(first: u8, body: &[u8], version: Version) -> Packet {
    let id = || u16::from_be_bytes([body.first().copied().unwrap_or(0), body.get(1).copied().unwrap_or(0)]);
    let reason = || body.get(2).copied().unwrap_or(0);
    match first {
        0x20 if body.len() >= 2 => Packet::Connack {
            session_present: body[0] & 1 == 1,
            code: body[1],
            properties: if version == Version::V5 { body.get(3..).unwrap_or(&[]).to_vec() } else { Vec::new() },
        },
        0x40 if body.len() >= 2 => Packet::Puback { id: id(), reason: reason() },
        0x50 if body.len() >= 2 => Packet::Pubrec { id: id(), reason: reason() },
        0x70 if body.len() >= 2 => Packet::Pubcomp { id: id() },
        0x90 if body.len() >= 3 => {
            let codes_at = match version {
                Version::V311 => 2,
                Version::V5 => 3 + usize::from(body[2]),
            };
            Packet::Suback { id: id(), codes: body.get(codes_at..).unwrap_or(&[]).to_vec() }
        }
        0xd0 => Packet::Pingresp,
        0xe0 => Packet::Disconnect(body.first().copied().unwrap_or(0)),
        _ => Packet::Other(first, body.to_vec()),
    }
}
