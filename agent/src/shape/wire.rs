//! The one door to the wire: the only code of the agent that opens a connection to the outside.
//!
//! # Constraints
//! - Every byte that leaves passes through a [`WireStream`], so that one place can count it and, later, hold it back.
//! - Whoever asks for a connection gets a byte stream and does not see whether it is TLS, IPv4 or IPv6.
//! - Connecting is bounded in time: a name that does not resolve and a peer that does not answer are errors, not hangs.
//!
//! # How it works
//! [`Wire::connect`] resolves the name, tries at most [`MAX_ADDRESSES`] addresses in the order the resolver gave
//! them, switches `TCP_NODELAY` on (requests are written whole, and an acknowledgement must not wait for Nagle), and
//! does TLS with rustls and `ring` where the target asks for it. The roots are the system's, or those of a given PEM
//! text; they are read at the first TLS connection, so a gateway that only talks plain HTTP needs none.
//!
//! TLS sits *above* the metered socket: what is counted ([`Wire::counts`]) is TCP payload, handshakes and TLS records
//! included, IP and TCP headers, retransmissions and name resolution not yet. The metered socket is also where a
//! permit will be asked for before each write.
//!
//! On the wire: TCP, TLS 1.2 or 1.3 with ALPN `http/1.1`. Nothing is written to disk. After an error the caller
//! decides when to try again; the door keeps no state about a target.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Addresses of one name that are tried before giving up. A dual-stack host behind a load balancer has two to eight;
/// with the default connect limit four of them cost at most 40 s.
pub const MAX_ADDRESSES: usize = 4;

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system (`/etc/ssl/certs` and the like, or `SSL_CERT_FILE`).
    #[default]
    System,
    /// Those in this PEM text, and no others.
    Pem(Vec<u8>),
}

/// A certificate the gateway shows to servers that ask for one.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate chain, PEM, the gateway's own first.
    pub certificates: Vec<u8>,
    /// Its private key, PEM (PKCS #8, PKCS #1 or SEC 1).
    pub key: Vec<u8>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

/// What the door is told when it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whom to trust in TLS.
    pub roots: Roots,
    /// What to show in TLS where a server asks.
    pub identity: Option<ClientIdentity>,
    /// Longest time for resolving a name, and again for connecting to each of its addresses.
    pub connect_timeout: Duration,
    /// Longest time for a TLS handshake.
    pub handshake_timeout: Duration,
}

impl Default for Options {
    /// Ten seconds each: a modem that wakes from idle takes two to five, and two lost SYNs cost three more.
    fn default() -> Self {
        let limit = Duration::from_secs(10);
        Self { roots: Roots::System, identity: None, connect_timeout: limit, handshake_timeout: limit }
    }
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether to do TLS.
    pub tls: bool,
}

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

/// Bytes and connections since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP payload bytes handed to the kernel, TLS included.
    pub sent: u64,
    /// TCP payload bytes received, TLS included.
    pub received: u64,
    /// TCP connections made.
    pub connections: u64,
}

#[derive(Debug, Default)]
struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    connections: AtomicU64,
}

/// The door; clones share its counts and its TLS configuration.
#[derive(Clone)]
pub struct Wire {
    options: Arc<Options>,
    meter: Arc<Meter>,
    tls: Arc<OnceCell<TlsConnector>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Wire")
            .field("options", &self.options)
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// A door with these options. Certificates are read at the first TLS connection.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options), meter: Arc::default(), tls: Arc::default() }
    }

    /// Opens a connection: resolved, connected and, where asked for, through the TLS handshake.
    pub async fn connect(&self, target: &Target) -> Result<WireStream, WireError> {
        let tls = if target.tls { Some(self.connector().await?) } else { None };
        let tcp = self.connect_tcp(target).await?;
        self.meter.connections.fetch_add(1, Ordering::Relaxed);
        let metered = Metered { tcp, meter: Arc::clone(&self.meter) };
        let Some(connector) = tls else { return Ok(WireStream(Inner::Plain(metered))) };
        let host = || target.host.clone();
        let name = ServerName::try_from(host()).map_err(|_| WireError::Name { host: host() })?;
        let limit = self.options.handshake_timeout;
        match timeout(limit, connector.connect(name, metered)).await {
            Ok(Ok(stream)) => Ok(WireStream(Inner::Tls(Box::new(stream)))),
            Ok(Err(source)) => Err(WireError::Tls { host: host(), source }),
            Err(_) => Err(WireError::Tls { host: host(), source: too_long("the handshake", limit) }),
        }
    }

    /// What has passed through so far.
    pub fn counts(&self) -> Counts {
        Counts {
            sent: self.meter.sent.load(Ordering::Relaxed),
            received: self.meter.received.load(Ordering::Relaxed),
            connections: self.meter.connections.load(Ordering::Relaxed),
        }
    }

    async fn connect_tcp(&self, target: &Target) -> Result<TcpStream, WireError> {
        let (host, port) = (target.host.as_str(), target.port);
        let limit = self.options.connect_timeout;
        let addresses: Vec<SocketAddr> = match timeout(limit, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect(),
            Ok(Err(source)) => return Err(WireError::Resolve { host: host.into(), source }),
            Err(_) => return Err(WireError::Resolve { host: host.into(), source: too_long("the resolver", limit) }),
        };
        let mut last = None;
        for address in addresses {
            let failure = match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => match tcp.set_nodelay(true) {
                    Ok(()) => return Ok(tcp),
                    Err(error) => error,
                },
                Ok(Err(error)) => error,
                Err(_) => too_long("the peer", limit),
            };
            tracing::debug!(%address, error = %failure, "cannot connect");
            last = Some(failure);
        }
        Err(match last {
            Some(source) => WireError::Connect { host: host.into(), port, source },
            None => WireError::NoAddress { host: host.into() },
        })
    }

    /// The TLS configuration, made at its first use; reading the system's roots blocks, so it is done aside.
    async fn connector(&self) -> Result<&TlsConnector, WireError> {
        let make = async {
            let options = Arc::clone(&self.options);
            let made = tokio::task::spawn_blocking(move || client_config(&options)).await;
            let config = made.map_err(|error| WireError::NoRoots { source: Some(io::Error::other(error)) })??;
            Ok(TlsConnector::from(Arc::new(config)))
        };
        self.tls.get_or_try_init(|| make).await
    }
}

fn too_long(who: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{who} did not answer within {} s", limit.as_secs_f32()))
}

fn material(what: &'static str) -> impl Fn(io::Error) -> WireError {
    move |source| WireError::Material { what, source }
}

fn client_config(options: &Options) -> Result<ClientConfig, WireError> {
    let mut roots = RootCertStore::empty();
    match &options.roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(WireError::NoRoots { source: found.errors.into_iter().next().map(io::Error::other) });
            }
        }
        Roots::Pem(text) => {
            let failed = material("CA file");
            for certificate in CertificateDer::pem_slice_iter(text) {
                let certificate = certificate.map_err(|error| failed(io::Error::other(error)))?;
                roots.add(certificate).map_err(|error| failed(io::Error::other(error)))?;
            }
            if roots.is_empty() {
                return Err(failed(io::Error::other("it holds no certificate")));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| material("TLS configuration")(io::Error::other(error)))?
        .with_root_certificates(roots);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let failed = material("client certificate or its key");
            let chain = CertificateDer::pem_slice_iter(&identity.certificates)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| failed(io::Error::other(error)))?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| failed(io::Error::other(error)))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(io::Error::other(error)))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A connection to the outside.
#[derive(Debug)]
pub struct WireStream(Inner);

#[derive(Debug)]
enum Inner {
    Plain(Metered),
    Tls(Box<TlsStream<Metered>>),
}

/// The socket itself. Every byte to and from the outside goes through here.
#[derive(Debug)]
struct Metered {
    tcp: TcpStream,
    meter: Arc<Meter>,
}

impl Metered {
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.meter.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.meter.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for WireStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Inner::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Plain(stream) => stream.is_write_vectored(),
            Inner::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
