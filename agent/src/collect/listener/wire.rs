//! Packets on the wire: framing, the PUBLISH that the intake lives from, and the short answers.
//!
//! `mqtt-protocol-core` parses and builds everything else. PUBLISH, PUBREL and their acknowledgements are done here
//! because they are all but a few of the packets, and its packets own copies of what they carry: here nothing is
//! copied or allocated between the read buffer and the record. Section numbers are those of MQTT 5; 3.1.1 is the same
//! where not said otherwise.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Property, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

/// What a client did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// What MQTT 5 is told.
    pub(super) reason: DisconnectReasonCode,
    /// What the log is told.
    pub(super) what: &'static str,
}

/// A fault by which a packet is not one.
pub(super) fn malformed(what: &'static str) -> Fault {
    Fault { reason: DisconnectReasonCode::MalformedPacket, what }
}

/// A fault by which a packet may not be sent so or now.
pub(super) fn protocol(what: &'static str) -> Fault {
    Fault { reason: DisconnectReasonCode::ProtocolError, what }
}

/// What the library says of a packet.
pub(super) fn from_library(error: MqttError, what: &'static str) -> Fault {
    match error {
        MqttError::ProtocolError => protocol(what),
        _ => malformed(what),
    }
}

/// Packet types (section 2.1.2).
pub(super) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const DISCONNECT: u8 = 14;
}

/// A fixed header (section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Type and flags.
    pub(super) first: u8,
    /// Its own length.
    pub(super) len: usize,
    /// Length of the whole packet, 268,435,460 at most.
    pub(super) total: usize,
}

impl Header {
    /// The packet type.
    pub(super) fn kind(self) -> u8 {
        self.first >> 4
    }
}

/// Reads the fixed header at the start of `input`; `None` if more bytes are needed.
pub(super) fn header(input: &[u8]) -> Result<Option<Header>, Fault> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let flags = first & 0x0f;
    let allowed = match first >> 4 {
        kind::PUBLISH => flags & 0b0110 != 0b0110,
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => flags == 0b0010,
        0 => return Err(malformed("packet type 0")),
        _ => flags == 0,
    };
    if !allowed {
        return Err(malformed(if first >> 4 == kind::PUBLISH { "QoS 3" } else { "reserved flags are set" }));
    }
    let mut remaining = 0;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let len = index + 2;
            return Ok(Some(Header { first, len, total: len + remaining }));
        }
    }
    if rest.len() >= 4 { Err(malformed("the remaining length has more than four bytes")) } else { Ok(None) }
}

/// A PUBLISH, borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    /// 0, 1 or 2.
    pub(super) qos: u8,
    /// Not 0 for QoS 1 and 2; 0 for QoS 0.
    pub(super) packet_id: u16,
    /// Not checked yet; empty if only the alias names it.
    pub(super) topic: &'a [u8],
    /// The topic alias (section 3.3.2.3.4).
    pub(super) alias: Option<u16>,
    pub(super) payload: &'a [u8],
}

/// Takes the body of a PUBLISH apart (section 3.3).
pub(super) fn publish(first: u8, body: &[u8], version: Version) -> Result<Publish<'_>, Fault> {
    let short = || malformed("PUBLISH is too short");
    let qos = (first >> 1) & 3;
    let (length, rest) = body.split_first_chunk::<2>().ok_or_else(short)?;
    let (topic, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(short)?;
    let mut packet_id = 0;
    if qos > 0 {
        let (id, after) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        packet_id = u16::from_be_bytes(*id);
        rest = after;
        if packet_id == 0 {
            return Err(malformed("packet identifier 0"));
        }
    }
    let mut alias = None;
    if version == Version::V5 {
        match rest {
            // No properties, or the alias alone: what clients send that publish much.
            [0, after @ ..] => rest = after,
            [3, 0x23, high, low, after @ ..] => {
                alias = Some(u16::from_be_bytes([*high, *low]));
                rest = after;
            }
            _ => {
                let end = body.len() - rest.len() + property_bytes(rest)?;
                alias = publish_properties(first, &body[..end])?;
                rest = &body[end..];
            }
        }
    }
    Ok(Publish { qos, packet_id, topic, alias, payload: rest })
}

/// How many bytes the properties take with their length before them (section 2.2.2).
fn property_bytes(rest: &[u8]) -> Result<usize, Fault> {
    let short = || malformed("the properties are too short");
    let mut length = 0;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let total = index + 1 + length;
            return if total <= rest.len() { Ok(total) } else { Err(short()) };
        }
    }
    Err(short())
}

/// Checks the properties of a PUBLISH whose payload was cut off; says its alias.
fn publish_properties(first: u8, body: &[u8]) -> Result<Option<u16>, Fault> {
    let parsed = v5_0::Publish::parse(first & 0x0f, Arc::from(body));
    let (publish, _) = parsed.map_err(|error| from_library(error, "the properties of PUBLISH"))?;
    let mut alias = None;
    for property in publish.props() {
        match property {
            Property::TopicAlias(value) => alias = Some(value.val()),
            Property::SubscriptionIdentifier(_) => return Err(protocol("a subscription identifier from a client")),
            Property::ResponseTopic(topic) if topic.val().contains(['+', '#', '\0']) => {
                return Err(malformed("a response topic with a wildcard"));
            }
            _ => {}
        }
    }
    Ok(alias)
}

/// Checks that a topic is one to publish on (section 4.7).
pub(super) fn topic_name(topic: &[u8]) -> Result<&str, Fault> {
    let topic = std::str::from_utf8(topic).map_err(|_| malformed("a topic that is not UTF-8"))?;
    if topic.is_empty() {
        return Err(protocol("an empty topic"));
    }
    if topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        let reason = DisconnectReasonCode::TopicNameInvalid;
        return Err(Fault { reason, what: "a topic with a wildcard" });
    }
    if topic.bytes().any(|byte| byte == 0) {
        return Err(malformed("a topic with U+0000"));
    }
    Ok(topic)
}

/// The packet identifier of a PUBREL (section 3.6).
pub(super) fn pubrel(body: &[u8], version: Version) -> Result<u16, Fault> {
    let id = match (body, version) {
        ([high, low], _) => u16::from_be_bytes([*high, *low]),
        (_, Version::V3) => return Err(malformed("PUBREL has a wrong length")),
        (_, Version::V5) => {
            let parsed = v5_0::Pubrel::parse(body).map_err(|error| from_library(error, "PUBREL"))?;
            if parsed.1 != body.len() {
                return Err(malformed("PUBREL has a wrong length"));
            }
            parsed.0.packet_id()
        }
    };
    if id == 0 { Err(malformed("packet identifier 0")) } else { Ok(id) }
}

/// Appends PUBACK, PUBREC or PUBCOMP; a `reason` of 0 is left out, as both versions allow.
pub(super) fn acknowledge(out: &mut Vec<u8>, kind: u8, packet_id: u16, reason: u8) {
    let [high, low] = packet_id.to_be_bytes();
    if reason == 0 {
        out.extend_from_slice(&[kind << 4, 2, high, low]);
    } else {
        out.extend_from_slice(&[kind << 4, 3, high, low, reason]);
    }
}

/// PINGRESP.
pub(super) const PINGRESP: [u8; 2] = [0xd0, 0];

/// DISCONNECT of MQTT 5 with a reason.
pub(super) fn disconnect(reason: DisconnectReasonCode) -> [u8; 3] {
    [0xe0, 1, reason as u8]
}
