//! MQTT packets as bytes, written out by hand: a test must be able to say exactly what goes over the wire, right or
//! wrong, in 3.1.1 (OASIS 2014) and 5 (OASIS 2019).

use super::{Qos, Version};

/// Appends a remaining length (3.1.1 §2.2.3).
pub fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        if length == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Appends a string or binary field with its two-byte length.
pub fn put_field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a test's MQTT field is at most 65,535 bytes long");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A packet from its first byte and what follows the remaining length.
#[must_use]
pub fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_length(&mut out, rest.len());
    out.extend_from_slice(rest);
    out
}

/// The last will in a CONNECT.
#[derive(Debug, Clone)]
pub struct Will {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// How.
    pub qos: Qos,
}

/// What a CONNECT says.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Protocol version.
    pub version: Version,
    /// Client identifier; may be empty.
    pub client_id: String,
    /// Clean session (3.1.1), clean start (5).
    pub clean: bool,
    /// Seconds; 0 switches it off.
    pub keep_alive: u16,
    /// Session expiry interval in seconds, only in 5.
    pub session_expiry: Option<u32>,
    /// Last will.
    pub will: Option<Will>,
    /// User name and password.
    pub login: Option<(String, String)>,
}

impl Connect {
    /// A clean session without keep-alive, will or login.
    #[must_use]
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean: true,
            keep_alive: 0,
            session_expiry: None,
            will: None,
            login: None,
        }
    }

    /// Asks for a session that lasts: clean session 0, in version 5 with an expiry of an hour.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.clean = false;
        if self.version == Version::V5 {
            self.session_expiry = Some(3600);
        }
        self
    }

    /// The packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_field(&mut body, b"MQTT");
        body.push(if self.version == Version::V5 { 5 } else { 4 });
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | (will.qos as u8) << 3;
        }
        if self.login.is_some() {
            flags |= 0xc0;
        }
        body.push(flags);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            match self.session_expiry {
                Some(seconds) => {
                    body.extend_from_slice(&[5, 0x11]);
                    body.extend_from_slice(&seconds.to_be_bytes());
                }
                None => body.push(0),
            }
        }
        put_field(&mut body, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                body.push(0);
            }
            put_field(&mut body, will.topic.as_bytes());
            put_field(&mut body, &will.payload);
        }
        if let Some((user, password)) = &self.login {
            put_field(&mut body, user.as_bytes());
            put_field(&mut body, password.as_bytes());
        }
        packet(0x10, &body)
    }
}

/// What a PUBLISH says.
#[derive(Debug, Clone)]
pub struct Publish<'a> {
    /// Where; bytes, because a test may want them not to be UTF-8.
    pub topic: &'a [u8],
    /// What.
    pub payload: &'a [u8],
    /// How.
    pub qos: Qos,
    /// Packet identifier; left out at QoS 0.
    pub id: u16,
    /// Whether it is marked as sent before.
    pub dup: bool,
}

impl Publish<'_> {
    /// The packet.
    #[must_use]
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.topic.len() + self.payload.len() + 8);
        put_field(&mut body, self.topic);
        if self.qos != Qos::AtMostOnce {
            body.extend_from_slice(&self.id.to_be_bytes());
        }
        if version == Version::V5 {
            body.push(0);
        }
        body.extend_from_slice(self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1, &body)
    }
}

/// A PUBREL.
#[must_use]
pub fn pubrel(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}

/// A SUBSCRIBE for one filter at QoS 1.
#[must_use]
pub fn subscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    put_field(&mut body, filter.as_bytes());
    body.push(1);
    packet(0x82, &body)
}

/// A PINGREQ.
pub const PINGREQ: [u8; 2] = [0xc0, 0];

/// An orderly DISCONNECT (in 5, the short form with its reason left out).
pub const DISCONNECT: [u8; 2] = [0xe0, 0];
