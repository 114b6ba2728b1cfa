//! Devices connect here.

mod options;

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

pub use options::{Deps, ListenError, Options, TlsOptions};

/// The intake for devices: bound, and not yet running.
#[derive(Debug)]
pub struct Listener {
    _deps: Deps,
}

impl Listener {
    /// Binds the addresses and reads certificates and passwords.
    ///
    /// # Errors
    /// See [`ListenError`]; each says what to do.
    pub fn bind(options: Options, deps: Deps) -> Result<Self, ListenError> {
        options.check()?;
        Ok(Self { _deps: deps })
    }

    /// Where it listens for plain MQTT.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Where it listens for MQTT over TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Serves devices until told to stop; then acknowledges what was received, within the stop timeout.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
