//! TLS for connections to the outside: whom to trust, and what to show.
//!
//! Certificates are judged by the agent's clock, which knows better than the system's once it was told the time. Who asks
//! for the time itself has no clock that could judge them: see `asking_time`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::asking_time::{Judging, WhileUnknown};
use super::error::WireError;
use crate::certificate::Witness;
use crate::clock::Clock;

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

fn material(what: &'static str) -> impl Fn(io::Error) -> WireError {
    move |source| WireError::Material { what, source }
}

/// What time it is for certificates.
#[derive(Debug)]
struct ByClock(Arc<dyn Clock>);

impl TimeProvider for ByClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().wall_ms)))
    }
}

/// Reads certificates and keys. Blocks while it reads the system's. `judging`: the time is not known, and is what is asked for.
pub(super) fn client_config(
    trusted: &Roots,
    identity: Option<&ClientIdentity>,
    clock: Arc<dyn Clock>,
    judging: Option<Arc<Judging>>,
) -> Result<ClientConfig, WireError> {
    let roots = roots(trusted)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(ByClock(clock)))
        .with_safe_default_protocol_versions()
        .map_err(|error| material("TLS configuration")(io::Error::other(error)))?;
    let builder = match judging {
        None => builder.with_root_certificates(roots),
        Some(judging) => {
            let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| material("CA file")(io::Error::other(error)))?;
            // "Dangerous" is what a verifier of one's own may be; this one checks all but when the chain became valid.
            builder.dangerous().with_custom_certificate_verifier(Arc::new(WhileUnknown::new(strict, judging)))
        }
    };
    identify(builder, identity)
}

/// The same, with who sees what certificate the server shows, also one that is not trusted.
pub(super) fn witnessed_config(
    trusted: &Roots,
    identity: Option<&ClientIdentity>,
    clock: Arc<dyn Clock>,
) -> Result<(ClientConfig, Arc<Witness>), WireError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(trusted)?), Arc::clone(&provider))
        .build()
        .map_err(|error| material("CA file")(io::Error::other(error)))?;
    let witness = Arc::new(Witness::of(judge));
    let builder = ClientConfig::builder_with_details(provider, Arc::new(ByClock(clock)))
        .with_safe_default_protocol_versions()
        .map_err(|error| material("TLS configuration")(io::Error::other(error)))?
        // "Dangerous" is what a verifier of one's own may be; this one asks rustls's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>);
    Ok((identify(builder, identity)?, witness))
}

fn roots(trusted: &Roots) -> Result<RootCertStore, WireError> {
    let mut roots = RootCertStore::empty();
    match trusted {
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
    Ok(roots)
}

fn identify(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, WireError> {
    let mut config = match identity {
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
