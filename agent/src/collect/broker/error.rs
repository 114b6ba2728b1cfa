//! Why a link to a broker cannot be used, was not made, or was lost.

use std::path::PathBuf;

use rumqttc::v5;

/// Why options are not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A lasting session needs a client id.
    #[error("the broker's client id is empty; give one that no other client of this broker uses")]
    NoClientId,
    /// Nothing to subscribe to.
    #[error("no topic filter is given for the broker; write for example topics = [\"devices/#\"]")]
    NoTopics,
    /// Not a topic filter (MQTT 5, section 4.7).
    #[error("{0:?} is not an MQTT topic filter; `#` may only be the last level, and `+` and `#` must stand alone")]
    Filter(String),
    /// Too short or too long for the protocol and the library.
    #[error("a keep-alive of {0} s is not possible; write from 5 to 65535 s")]
    KeepAlive(u64),
    /// A certificate cannot be checked against it here.
    #[error("TLS to the IPv6 address {0} is not possible; give the broker a name, for example in /etc/hosts")]
    TlsToIpv6(String),
}

/// Why a connection was not made or was lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot read the certificate or key in {path}; check that the file is there, readable and PEM")]
    PemFile {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("no usable CA certificate in {0}; give the broker's CA certificate in PEM")]
    NoCa(String),
    #[error("cannot set TLS up; check that the client certificate and its key belong together")]
    TlsSetup(#[source] rustls::Error),
    #[error(
        "the TLS handshake failed; check that the CA is the broker's, that its certificate names this host, \
         and that it knows the CA of a client certificate"
    )]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the broker refused the connection ({code}); check user name, password, client id and its access rules")]
    Refused { code: String },
    #[error("the broker cannot serve now ({code})")]
    Busy { code: String },
    #[error(
        "the broker sent a packet of over {limit} bytes, which cannot be read nor acknowledged; \
         set a lower message size limit on the broker, or subscribe to narrower topics"
    )]
    TooLarge { limit: usize },
    #[error("another client took over the session; give each client of this broker its own client_id")]
    TakenOver,
    #[error("the broker released an unknown QoS 2 publish with packet id {0}; the next connection answers it")]
    UnknownRelease(u16),
    #[error("no answer from the broker in time")]
    Timeout,
    #[error("the connection failed")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl LinkError {
    /// Whether trying again cannot help until a person has changed something.
    pub(super) fn needs_operator(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::UnknownRelease(_) | Self::Timeout | Self::Lost(_))
    }

    /// The code whose page says what to do.
    pub(super) fn code(&self) -> crate::code::Code {
        use crate::code::Code;
        match self {
            Self::Refused { .. } | Self::TakenOver => Code::BrokerRefuses,
            _ => Code::BrokerUnreachable,
        }
    }
}

/// A handshake cut short is a lost connection; one that rustls broke off, here or on the other side, is for a person
/// to look at. In TLS 1.3 the other side's word comes only after the handshake, with the first read.
fn lost(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        let inner = found.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if found.is::<rustls::Error>() || matches!(inner, Some(inner) if inner.is::<rustls::Error>()) {
            return LinkError::Tls(error.into());
        }
        cause = found.source();
    }
    LinkError::Lost(error.into())
}

impl From<rumqttc::ConnectionError> for LinkError {
    fn from(error: rumqttc::ConnectionError) -> Self {
        use rumqttc::ConnectReturnCode as Code;
        use rumqttc::{ConnectionError as Error, StateError, mqttbytes};
        match error {
            Error::ConnectionRefused(code @ Code::ServiceUnavailable) => Self::Busy { code: format!("{code:?}") },
            Error::ConnectionRefused(code) => Self::Refused { code: format!("{code:?}") },
            Error::NetworkTimeout | Error::FlushTimeout => Self::Timeout,
            Error::MqttState(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(_))) => {
                Self::TooLarge { limit: super::link::READ_LIMIT }
            }
            Error::MqttState(StateError::Unsolicited(packet_id)) => Self::UnknownRelease(packet_id),
            error => lost(error),
        }
    }
}

impl From<v5::ConnectionError> for LinkError {
    fn from(error: v5::ConnectionError) -> Self {
        use v5::mqttbytes::v5::{ConnectReturnCode as Code, DisconnectReasonCode};
        use v5::{ConnectionError as Error, StateError, mqttbytes};
        match error {
            Error::ConnectionRefused(
                code @ (Code::ServiceUnavailable
                | Code::ServerUnavailable
                | Code::ServerBusy
                | Code::ConnectionRateExceeded
                | Code::UnspecifiedError
                | Code::QuotaExceeded),
            ) => Self::Busy { code: format!("{code:?}") },
            Error::ConnectionRefused(code) => Self::Refused { code: format!("{code:?}") },
            Error::Timeout(_) => Self::Timeout,
            Error::MqttState(
                StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded { .. })
                | StateError::IncomingPacketTooLarge { .. },
            ) => Self::TooLarge { limit: super::link::READ_LIMIT },
            Error::MqttState(StateError::Unsolicited(packet_id)) => Self::UnknownRelease(packet_id),
            Error::MqttState(StateError::ServerDisconnect {
                reason_code: DisconnectReasonCode::SessionTakenOver,
                ..
            }) => Self::TakenOver,
            error => lost(error),
        }
    }
}
