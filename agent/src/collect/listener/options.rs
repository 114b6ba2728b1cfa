//! What the listener is told, and why it may refuse to start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::code::Code;
use crate::collect::auth::AuthError;
use crate::collect::mapping::Rules;
use crate::collect::tls::TlsError;
use crate::collect::{Alarms, Stats};
use crate::language::Message;
use crate::message;
use crate::store::{KeptSession, Store};

/// How devices are let in. [`Options::default`] listens nowhere: set `plain`, `tls` or both.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address for MQTT over plain TCP. Port 0 takes any free port (tests).
    pub plain: Option<SocketAddr>,
    /// Address and credentials for MQTT over TLS.
    pub tls: Option<TlsOptions>,
    /// File of `user:$argon2id$…` lines; without it every user name is let in.
    pub passwords: Option<PathBuf>,
    /// With `passwords`: whether a client without a user name is let in. Default: no.
    pub allow_anonymous: bool,
    /// Connections at one time, those in their TLS handshake included. Default 1,000: an idle one costs less than 8 KiB
    /// here and one descriptor, of which a service has 1,024 unless told otherwise.
    pub max_connections: usize,
    /// Largest packet accepted, in bytes, 1,024 to 1 MiB. Default 256 KiB: far above telemetry, and what one
    /// forwarded request can carry.
    pub max_packet_size: u32,
    /// Lasting sessions kept; the one longest without a connection makes room. Default 4,096.
    pub max_sessions: usize,
    /// Longest time a session lasts without a connection. Default seven days. A client of MQTT 3.1.1 that asks for
    /// a session gets this; one of MQTT 5 what it asks for, at most this.
    pub session_max_age: Duration,
    /// Time from accepting a connection to its CONNECT, TLS handshake included. Default 10 s.
    pub connect_timeout: Duration,
    /// QoS 1 and 2 publishes a client of MQTT 5 may have unacknowledged, 1 to 65,535. Default 256.
    pub receive_maximum: u16,
    /// How long a client may leave unread what was sent to it before it is disconnected. Default 20 s.
    pub write_timeout: Duration,
    /// Time for acknowledging what was received when told to stop. Default 5 s.
    pub stop_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain: None,
            tls: None,
            passwords: None,
            allow_anonymous: false,
            max_connections: 1_000,
            max_packet_size: 256 * 1024,
            max_sessions: 4_096,
            session_max_age: Duration::from_secs(7 * 24 * 3_600),
            connect_timeout: Duration::from_secs(10),
            receive_maximum: 256,
            write_timeout: Duration::from_secs(20),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// How devices are let in over TLS.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Address to listen on; 8883 is the registered port.
    pub bind: SocketAddr,
    /// PEM file with the server's certificate chain, its own first.
    pub certificate: PathBuf,
    /// PEM file with its private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
    /// PEM file with the authorities that sign client certificates; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// With `client_ca`: whether a client without a certificate is refused.
    pub require_client_certificate: bool,
}

/// What the listener is handed.
#[derive(Debug)]
pub struct Deps {
    /// Where records go.
    pub store: Store,
    /// What tells when they were received.
    pub clock: Arc<dyn Clock>,
    /// The topic rules in force, exchanged on SIGHUP.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Sessions that the store found.
    pub kept: Vec<KeptSession>,
    /// First session number that was never used.
    pub next_session_id: u64,
    /// Counters.
    pub stats: Arc<Stats>,
    /// What is published to the subscribers of `tidegate/alarm`.
    pub alarms: Alarms,
}

/// Why the listener cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum ListenError {
    /// Neither a plain nor a TLS address was given.
    NoAddress,
    /// The address is taken.
    Taken {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The address is not this machine's, or the port needs a right.
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The password file cannot be used.
    #[error(transparent)]
    Passwords(#[from] AuthError),
    /// A number is outside what it may be.
    Range {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
    },
}

impl ListenError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::NoAddress => message!(
                "the listener has no address; set [collect.listener] bind, or the address for TLS, or remove the section"
            ),
            Self::Taken { address, .. } => message!(
                "cannot listen on {address}: another program has this port (`ss -ltnp` shows which); stop it, or choose \
                 another port, or let Tidegate subscribe on that broker with [collect.broker]",
                address = *address
            ),
            Self::Bind { address, .. } => message!(
                "cannot listen on {address}; check that the address is this machine's and the port allowed",
                address = *address
            ),
            Self::Tls(error) => error.message(),
            Self::Passwords(error) => error.message(),
            Self::Range { name, value, min, max } => message!(
                "{name} is {value}; write a number from {min} to {max}",
                name = *name,
                value = *value,
                min = *min,
                max = *max
            ),
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::NoAddress | Self::Range { .. } => Code::ConfigWrong,
            Self::Taken { .. } | Self::Bind { .. } => Code::Listen,
            Self::Tls(error) => error.code(),
            Self::Passwords(error) => error.code(),
        }
    }
}

impl Options {
    /// Refuses numbers that cannot work.
    pub(super) fn check(&self) -> Result<(), ListenError> {
        let ranges = [
            ("max_connections", self.max_connections as u64, 1, 100_000),
            ("max_packet_size", u64::from(self.max_packet_size), 1_024, 1024 * 1024),
            ("max_sessions", self.max_sessions as u64, 1, 1_000_000),
            ("session_max_age in seconds", self.session_max_age.as_secs(), 1, u64::from(u32::MAX) - 1),
            ("receive_maximum", u64::from(self.receive_maximum), 1, u64::from(u16::MAX)),
        ];
        for (name, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(ListenError::Range { name, value, min, max });
            }
        }
        if self.plain.is_none() && self.tls.is_none() {
            return Err(ListenError::NoAddress);
        }
        Ok(())
    }
}
