//! TLS for devices: certificates, and handshakes that harm nobody else.
//!
//! rustls with `ring`; TLS 1.2 and 1.3. A handshake costs a signature, milliseconds on a small gateway, on the thread
//! that serves all devices. So the first flight is read by all at the same time, but only one handshake computes
//! before all other tasks have had their turn (`Acceptor::accept`): a thousand devices that come back at once after
//! a power cut delay each other, not those that are connected.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::code::Code;
use crate::collect::listener::TlsOptions;
use crate::language::Message;
use crate::message;

/// What is looked for in a PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pem {
    /// A certificate.
    Certificate,
    /// A private key.
    Key,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or has no PEM section of the right kind.
    Read {
        /// What was looked for.
        what: Pem,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file holds no certificate.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot be used together.
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The authorities for client certificates cannot be used.
    Authorities {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TlsError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Read { what, path, .. } => {
                let path = path.display();
                match what {
                    Pem::Certificate => {
                        message!("cannot read a certificate from {path}; it must be a PEM file", path = path)
                    }
                    Pem::Key => message!("cannot read a private key from {path}; it must be a PEM file", path = path),
                }
            }
            Self::Empty { path } => {
                message!("{path} holds no certificate; it must be a PEM file with one at least", path = path.display())
            }
            Self::Pair { certificate, key, .. } => message!(
                "cannot use the certificate {certificate} with the key {key}; they must belong together",
                certificate = certificate.display(),
                key = key.display()
            ),
            Self::Authorities { path, .. } => {
                message!("cannot use the certificate authorities in {path}", path = path.display())
            }
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        Code::ListenerTls
    }
}

/// Does handshakes.
#[derive(Clone)]
pub(super) struct Acceptor {
    config: Arc<ServerConfig>,
    turn: Arc<Semaphore>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Reads certificates and key.
    pub(super) fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pair =
            |source| TlsError::Pair { certificate: options.certificate.clone(), key: options.key.clone(), source };
        let chain = certificates(&options.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&options.key).map_err(|source| TlsError::Read {
            what: Pem::Key,
            path: options.key.clone(),
            source,
        })?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let builder = match &options.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let unusable = |source| TlsError::Authorities { path: path.clone(), source };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| unusable(error.into()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if options.require_client_certificate {
                    verifier.build()
                } else {
                    verifier.allow_unauthenticated().build()
                };
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(error.into()))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(pair)?;
        Ok(Self { config: Arc::new(config), turn: Arc::new(Semaphore::new(1)) })
    }

    /// Does one handshake. The caller bounds its time.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let mut handshake = pin!(hello.into_stream(self.config.clone()));
        {
            let _turn = self.turn.acquire().await.map_err(std::io::Error::other)?;
            // The first poll answers the hello: key exchange and signature, nearly all of the cost.
            if let Some(finished) = poll_once(handshake.as_mut()).await {
                return finished;
            }
            tokio::task::yield_now().await;
        }
        handshake.await
    }
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { what: Pem::Certificate, path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if found.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(found) }
}
