//! Why a link to a broker cannot be used, was not made, or was lost.

use std::path::PathBuf;

use rumqttc::v5;

use crate::certificate::distrust;
use crate::chain::said;
use crate::language::{IntoValue as _, Message, Value, system};
use crate::message;

/// Why options are not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum OptionsError {
    /// A lasting session needs a client id.
    NoClientId,
    /// Nothing to subscribe to.
    NoTopics,
    /// Not a topic filter (MQTT 5, section 4.7).
    Filter(String),
    /// Too short or too long for the protocol and the library.
    KeepAlive(u64),
    /// A certificate cannot be checked against it here.
    TlsToIpv6(String),
}

impl OptionsError {
    /// It in words.
    pub fn message(&self) -> Message {
        match self {
            Self::NoClientId => {
                message!("the broker's client id is empty; give one that no other client of this broker uses")
            }
            Self::NoTopics => {
                message!("no topic filter is given for the broker; write for example topics = [\"devices/#\"]")
            }
            Self::Filter(filter) => message!(
                "{filter} is not an MQTT topic filter; `#` may only be the last level, and `+` and `#` must stand alone",
                filter = format!("{filter:?}")
            ),
            Self::KeepAlive(seconds) => {
                message!("a keep-alive of {seconds} s is not possible; write from 5 to 65535 s", seconds = *seconds)
            }
            Self::TlsToIpv6(host) => message!(
                "TLS to the IPv6 address {host} is not possible; give the broker a name, for example in /etc/hosts",
                host = host
            ),
        }
    }
}

/// Why a connection was not made or was lost.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(super) enum LinkError {
    PemFile {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    NoCa(String),
    TlsSetup(#[source] rustls::Error),
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    Refused {
        code: String,
    },
    Busy {
        code: String,
    },
    TooLarge {
        limit: usize,
    },
    TakenOver,
    UnknownRelease(u16),
    Timeout,
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl LinkError {
    /// It in words, without its cause.
    pub(super) fn message(&self) -> Message {
        match self {
            Self::PemFile { path, .. } => message!(
                "cannot read the certificate or key in {path}; check that the file is there, readable and PEM",
                path = path.display()
            ),
            Self::NoCa(path) => {
                message!("no usable CA certificate in {path}; give the broker's CA certificate in PEM", path = path)
            }
            Self::TlsSetup(_) => {
                message!("cannot set TLS up; check that the client certificate and its key belong together")
            }
            Self::Tls(_) => message!(
                "the TLS handshake failed; check that the CA is the broker's, that its certificate names this host, \
                 and that it knows the CA of a client certificate"
            ),
            Self::Refused { code } => message!(
                "the broker refused the connection ({code}); check user name, password, client id and its access rules",
                code = code
            ),
            Self::Busy { code } => message!("the broker cannot serve now ({code})", code = code),
            Self::TooLarge { limit } => message!(
                "the broker sent a packet of over {limit} bytes, which cannot be read nor acknowledged; \
                 set a lower message size limit on the broker, or subscribe to narrower topics",
                limit = *limit
            ),
            Self::TakenOver => {
                message!("another client took over the session; give each client of this broker its own client_id")
            }
            Self::UnknownRelease(packet) => message!(
                "the broker released an unknown QoS 2 publish with packet id {packet}; the next connection answers it",
                packet = *packet
            ),
            Self::Timeout => message!("no answer from the broker in time"),
            Self::Lost(_) => message!("the connection failed"),
        }
    }

    /// It with its causes: what the system says can be said in another language, what libraries say stands as they say it.
    pub(super) fn said(&self) -> Value {
        let what = self.message();
        let why = match self {
            Self::PemFile { source, .. } => said(source),
            Self::TlsSetup(source) => said(source),
            Self::Tls(source) => said(&**source),
            Self::Lost(source) => match io_error(&**source) {
                Some(error) => system::said(error),
                None => said(&**source),
            },
            _ => return what.into_value(),
        };
        message!("{what}: {why}", what = what, why = why).into_value()
    }

    /// Whether trying again cannot help until a person has changed something.
    pub(super) fn needs_operator(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::UnknownRelease(_) | Self::Timeout | Self::Lost(_))
    }

    /// The code whose page says what to do.
    pub(super) fn code(&self) -> crate::code::Code {
        use crate::certificate::Distrust;
        use crate::code::Code;
        match (self, self.of_tls().and_then(distrust)) {
            (Self::Refused { .. } | Self::TakenOver, _) => Code::BrokerRefuses,
            (_, Some(Distrust::Expired | Distrust::NotYetValid)) => Code::CertificateTime,
            (_, Some(_)) => Code::Certificate,
            (_, None) => Code::BrokerUnreachable,
        }
    }

    /// What rustls says, if it was rustls that broke the handshake off, here or on the other side.
    pub(super) fn of_tls(&self) -> Option<&rustls::Error> {
        let Self::Tls(source) = self else { return None };
        rustls_error(&**source)
    }

    /// How far the connection came that was lost, and what the system said of it.
    pub(super) fn came(&self) -> Came {
        let Self::Lost(source) = self else { return Came::Far };
        match io_error(&**source) {
            // The resolver's errors have no number of the system's.
            Some(error) if error.raw_os_error().is_none() => Came::NoName,
            Some(_) => Came::NoConnection,
            None => Came::Far,
        }
    }
}

/// What the system said, where a library only passes it on.
fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let v4 = error.downcast_ref().and_then(|error| match error {
        rumqttc::ConnectionError::Io(error) => Some(error),
        _ => None,
    });
    let v5 = error.downcast_ref().and_then(|error| match error {
        v5::ConnectionError::Io(error) => Some(error),
        _ => None,
    });
    v4.or(v5)
}

/// How far a connection came that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The host's name cannot be resolved.
    NoName,
    /// TCP did not connect.
    NoConnection,
    /// It was made.
    Far,
}

/// The error of rustls in an error or in what caused it. One of the system's passes over what it wraps when it is asked for its
/// cause, and may wrap another of its kind.
fn rustls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(found) = cause {
        if let Some(tls) = found.downcast_ref() {
            return Some(tls);
        }
        // That of MQTT 5 tells no cause either.
        if let Some(v5::StateError::Deserialization(v5::mqttbytes::Error::Io(read))) = found.downcast_ref() {
            cause = Some(read);
            continue;
        }
        let wrapped = found.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn std::error::Error + 'static)),
            None => found.source(),
        };
    }
    None
}

/// A handshake cut short is a lost connection; one that rustls broke off, here or on the other side, is for a person
/// to look at. In TLS 1.3 the other side's word comes only after the handshake, with the first read.
fn lost(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    if rustls_error(&error).is_some() { LinkError::Tls(error.into()) } else { LinkError::Lost(error.into()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustls_says_is_found_however_deep_it_is_wrapped() {
        use std::io::{Error, ErrorKind};
        let alert = || rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let once = || Error::new(ErrorKind::InvalidData, alert());
        let twice = || Error::new(ErrorKind::InvalidData, once());
        for error in [once(), twice()] {
            let read = rumqttc::mqttbytes::Error::Io(error);
            let state = rumqttc::StateError::Deserialization(read);
            let lost = LinkError::from(rumqttc::ConnectionError::MqttState(state));
            assert_eq!(lost.of_tls(), Some(&alert()), "{lost:?}");
        }
        let state = v5::StateError::Deserialization(v5::mqttbytes::Error::Io(twice()));
        let lost = LinkError::from(v5::ConnectionError::MqttState(state));
        assert!(lost.needs_operator() && lost.of_tls() == Some(&alert()), "{lost:?}");
        let reset = LinkError::from(v5::ConnectionError::Io(Error::from_raw_os_error(111)));
        assert_eq!((reset.of_tls(), reset.came()), (None, Came::NoConnection));
        let name = LinkError::from(rumqttc::ConnectionError::Io(Error::other("no such name")));
        assert_eq!(name.came(), Came::NoName);
    }
}
