//! CONNECT and its answer (sections 3.1 and 3.2).

use mqtt_protocol_core::mqtt::packet::{
    self, AssignedClientIdentifier, MaximumPacketSize, Properties, Property, ReceiveMaximum, SessionExpiryInterval,
    SharedSubscriptionAvailable, SubscriptionIdentifierAvailable, TopicAliasMaximum, WildcardSubscriptionAvailable,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use packet::{v3_1_1, v5_0};

use super::wire::{Version, topic_name};
use crate::collect::turned_away::Cause;

/// Longest client identifier in bytes. The specification asks for 23; this bounds what a session costs.
pub(super) const MAX_CLIENT_ID: usize = 256;

/// Topic aliases a client of MQTT 5 may set: a device publishes on a few topics.
pub(super) const MAX_ALIASES: u16 = 16;

/// What a client said in its CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: Version,
    /// Empty if the server is to choose one.
    pub(super) client_id: String,
    /// Clean session (3.1.1) or clean start (5).
    pub(super) clean: bool,
    /// Seconds; 0 for none.
    pub(super) keep_alive: u16,
    /// Seconds the session is to last; `u32::MAX` for as long as allowed.
    pub(super) expiry_s: u32,
    pub(super) will: Option<Will>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// Largest packet the client takes.
    pub(super) max_packet_size: u32,
}

/// What is to be stored when the connection breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: Box<str>,
    pub(super) payload: Box<[u8]>,
    /// Seconds to wait for the client to come back (MQTT 5, section 3.1.3.2.2).
    pub(super) delay_s: u32,
}

/// A CONNECT that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The CONNACK to send before closing; empty if there is none.
    pub(super) reply: Vec<u8>,
    /// What is counted, and logged for an operator.
    pub(super) cause: Cause,
    /// What the log is told besides.
    pub(super) what: &'static str,
}

/// The CONNACK that refuses, in the client's version.
pub(super) fn refuse(
    version: Version,
    v3: Option<ConnectReturnCode>,
    v5: ConnectReasonCode,
    cause: Cause,
    what: &'static str,
) -> Refused {
    let reply = match (version, v3) {
        (Version::V3, Some(code)) => vec![0x20, 2, 0, code as u8],
        (Version::V3, None) => Vec::new(),
        (Version::V5, _) => vec![0x20, 3, 0, v5 as u8, 0],
    };
    Refused { reply, cause, what }
}

/// Reads the body of a CONNECT.
pub(super) fn parse(body: &[u8]) -> Result<Hello, Refused> {
    let silent = |what| Refused { reply: Vec::new(), cause: Cause::Connect, what };
    // MQTT 3.1 called itself MQIsdp; the answer to it is 3.1.1's (3.1.2.2 of that specification).
    if body.starts_with(b"\0\x06MQIsdp\x03") {
        return Err(refuse_version(Version::V3, "MQTT 3.1"));
    }
    let [0, 4, b'M', b'Q', b'T', b'T', level, flags, ..] = *body else {
        return Err(silent("CONNECT of another protocol"));
    };
    let version = match level {
        4 => Version::V3,
        5 => Version::V5,
        0..4 => return Err(refuse_version(Version::V3, "a protocol level below 4")),
        _ => return Err(refuse_version(Version::V5, "a protocol level above 5")),
    };
    let bad = |what| refuse(version, None, ConnectReasonCode::MalformedPacket, Cause::Connect, what);
    let will = flags & 0x04 != 0;
    if flags & 1 != 0 || flags & 0x18 == 0x18 || (!will && flags & 0x38 != 0) {
        return Err(bad("the flags of CONNECT are contradictory"));
    }
    let hello = match version {
        Version::V3 => parse_v3(body),
        Version::V5 => parse_v5(body),
    };
    let hello = hello.map_err(|error| match error {
        MqttError::BadAuthenticationMethod => {
            let code = ConnectReasonCode::BadAuthenticationMethod;
            refuse(version, None, code, Cause::Connect, "enhanced authentication is not offered")
        }
        MqttError::ProtocolError => {
            refuse(version, None, ConnectReasonCode::ProtocolError, Cause::Connect, "CONNECT breaks the rules")
        }
        _ => bad("CONNECT is malformed"),
    })?;
    if hello.client_id.contains('\0') || hello.user.as_deref().is_some_and(|user| user.contains('\0')) {
        return Err(bad("a text of CONNECT contains U+0000"));
    }
    if hello.will.as_ref().is_some_and(|will| topic_name(will.topic.as_bytes()).is_err()) {
        let code = ConnectReasonCode::TopicNameInvalid;
        return Err(refuse(version, None, code, Cause::Connect, "the will's topic is not one"));
    }
    let unnamed = hello.client_id.is_empty() && version == Version::V3 && !hello.clean;
    if unnamed || hello.client_id.len() > MAX_CLIENT_ID {
        let code = Some(ConnectReturnCode::IdentifierRejected);
        let what = "a client identifier longer than 256 bytes, or an empty one without a clean session";
        return Err(refuse(version, code, ConnectReasonCode::ClientIdentifierNotValid, Cause::Connect, what));
    }
    Ok(hello)
}

fn refuse_version(version: Version, what: &'static str) -> Refused {
    let code = Some(ConnectReturnCode::UnacceptableProtocolVersion);
    refuse(version, code, ConnectReasonCode::UnsupportedProtocolVersion, Cause::Version, what)
}

fn parse_v3(body: &[u8]) -> Result<Hello, MqttError> {
    let (connect, length) = v3_1_1::Connect::parse(body)?;
    if length != body.len() {
        return Err(MqttError::MalformedPacket);
    }
    let will = connect.will_topic().map(|topic| Will {
        topic: topic.into(),
        payload: connect.will_payload().unwrap_or_default().into(),
        delay_s: 0,
    });
    Ok(Hello {
        version: Version::V3,
        client_id: connect.client_id().to_owned(),
        clean: connect.clean_session(),
        keep_alive: connect.keep_alive(),
        expiry_s: if connect.clean_session() { 0 } else { u32::MAX },
        will,
        user: connect.user_name().map(str::to_owned),
        password: connect.password().map(<[u8]>::to_vec),
        max_packet_size: u32::MAX,
    })
}

fn parse_v5(body: &[u8]) -> Result<Hello, MqttError> {
    let (connect, length) = v5_0::Connect::parse(body)?;
    if length != body.len() {
        return Err(MqttError::MalformedPacket);
    }
    let (mut expiry_s, mut max_packet_size) = (0, u32::MAX);
    for property in connect.props() {
        match property {
            Property::SessionExpiryInterval(value) => expiry_s = value.val(),
            Property::MaximumPacketSize(value) => max_packet_size = value.val(),
            Property::AuthenticationMethod(_) => return Err(MqttError::BadAuthenticationMethod),
            _ => {}
        }
    }
    let delay_s = connect.will_props().iter().find_map(|property| match property {
        Property::WillDelayInterval(value) => Some(value.val()),
        _ => None,
    });
    let will = connect.will_topic().map(|topic| Will {
        topic: topic.into(),
        payload: connect.will_payload().unwrap_or_default().into(),
        delay_s: delay_s.unwrap_or(0),
    });
    Ok(Hello {
        version: Version::V5,
        client_id: connect.client_id().to_owned(),
        clean: connect.clean_start(),
        keep_alive: connect.keep_alive(),
        expiry_s,
        will,
        user: connect.user_name().map(str::to_owned),
        password: connect.password().map(<[u8]>::to_vec),
        max_packet_size,
    })
}

/// What a CONNACK of MQTT 5 announces.
pub(super) struct Terms<'a> {
    /// Seconds granted, if fewer than asked for.
    pub(super) expiry_s: Option<u32>,
    /// The identifier chosen for a client without one.
    pub(super) assigned: Option<&'a str>,
    pub(super) receive_maximum: u16,
    pub(super) max_packet_size: u32,
}

/// The CONNACK that accepts.
pub(super) fn accept(version: Version, present: bool, terms: &Terms<'_>) -> Result<Vec<u8>, MqttError> {
    if version == Version::V3 {
        return Ok(vec![0x20, 2, u8::from(present), 0]);
    }
    let mut properties = Properties::new();
    if let Some(expiry_s) = terms.expiry_s {
        properties.push(SessionExpiryInterval::new(expiry_s)?.into());
    }
    if let Some(assigned) = terms.assigned {
        properties.push(AssignedClientIdentifier::new(assigned)?.into());
    }
    properties.push(ReceiveMaximum::new(terms.receive_maximum)?.into());
    properties.push(MaximumPacketSize::new(terms.max_packet_size)?.into());
    properties.push(TopicAliasMaximum::new(MAX_ALIASES)?.into());
    properties.push(WildcardSubscriptionAvailable::new(0)?.into());
    properties.push(SubscriptionIdentifierAvailable::new(0)?.into());
    properties.push(SharedSubscriptionAvailable::new(0)?.into());
    let builder = v5_0::Connack::builder().session_present(present).reason_code(ConnectReasonCode::Success);
    Ok(builder.props(properties).build()?.to_continuous_buffer())
}
