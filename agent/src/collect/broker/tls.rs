//! TLS towards a broker: which certificates are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::error::LinkError;
use crate::certificate::Witness;

/// How to check the broker's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file of the CA certificates that are believed; the system's if none is given.
    pub ca_file: Option<PathBuf>,
    /// PEM files with a certificate chain and its key, by which the gateway proves itself to the broker.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Reads the certificates anew, so that a replaced file counts from the next connection on.
pub(super) fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>, LinkError> {
    let roots = roots(options)?;
    identify(builder()?.with_root_certificates(roots), options)
}

/// The same, with who sees what certificate the broker shows, also one that is not trusted.
pub(super) fn witnessed(options: &TlsOptions) -> Result<(Arc<ClientConfig>, Arc<Witness>), LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(options)?), provider)
        .build()
        .map_err(|error| LinkError::TlsSetup(rustls::Error::General(error.to_string())))?;
    let witness = Arc::new(Witness::of(judge));
    // "Dangerous" is what a verifier of one's own may be; this one asks rustls's.
    let builder = builder()?.dangerous().with_custom_certificate_verifier(Arc::clone(&witness) as _);
    Ok((identify(builder, options)?, witness))
}

/// For whoever wants to know whether TLS is spoken at all: nobody is trusted, so nothing is sent.
pub(super) fn trial() -> Result<(Arc<ClientConfig>, Arc<Witness>), LinkError> {
    let witness = Arc::new(Witness::trusting_nobody(&rustls::crypto::ring::default_provider()));
    let builder = builder()?.dangerous().with_custom_certificate_verifier(Arc::clone(&witness) as _);
    Ok((Arc::new(builder.with_no_client_auth()), witness))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, LinkError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(LinkError::TlsSetup)
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, LinkError> {
    let mut roots = RootCertStore::empty();
    let place = if let Some(path) = &options.ca_file {
        roots.add_parsable_certificates(certificates(path)?);
        path.display().to_string()
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        "the system's certificate store".to_owned()
    };
    if roots.is_empty() { Err(LinkError::NoCa(place)) } else { Ok(roots) }
}

fn identify(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    options: &TlsOptions,
) -> Result<Arc<ClientConfig>, LinkError> {
    let config = if let Some((chain, key)) = &options.client_certificate {
        let chain = certificates(chain)?;
        let key =
            PrivateKeyDer::from_pem_file(key).map_err(|source| LinkError::PemFile { path: key.clone(), source })?;
        builder.with_client_auth_cert(chain, key).map_err(LinkError::TlsSetup)?
    } else {
        builder.with_no_client_auth()
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let unreadable = |source| LinkError::PemFile { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}
