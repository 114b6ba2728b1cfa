//! Why a connection to the outside could not be had.

use std::io;
use std::time::Duration;

/// Why a connection could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The name could not be resolved.
    #[error("cannot resolve {host}; check the gateway's DNS and that the line is up")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// The name has no address.
    #[error("{host} has no address; check its spelling")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// There is no room for a connection under the ceiling ([`Wire::set_ceiling`](super::Wire::set_ceiling)).
    #[error("the budget of bytes is used up; see `tidegate status` for when it begins anew")]
    Spent,
    /// No address could be connected to; the last failure is the cause.
    #[error("cannot connect to {host} port {port}")]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// Why the last address failed.
        #[source]
        source: io::Error,
    },
    /// TLS failed.
    #[error("no TLS with {host}; if its certificate was refused, check the gateway's clock and the trusted roots")]
    Tls {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host cannot stand in a certificate.
    #[error("{host} is not a name that TLS can check")]
    Name {
        /// The name.
        host: String,
    },
    /// There is nobody to trust.
    #[error("no trusted root certificate was found; install ca-certificates or name a CA file")]
    NoRoots {
        /// Why the first of them could not be read, if that is known.
        #[source]
        source: Option<io::Error>,
    },
    /// The CA or client certificate or key that was given cannot be used.
    #[error("the {what} cannot be used; it must be PEM")]
    Material {
        /// What it was for.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An error for something that took longer than it may.
pub(super) fn too_long(who: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{who} did not answer within {} s", limit.as_secs_f32()))
}
