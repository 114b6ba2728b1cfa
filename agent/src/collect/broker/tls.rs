//! TLS towards a broker: which certificates are believed.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::error::LinkError;

/// How to check the broker's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file of the CA certificates that are believed; the system's if none is given.
    pub ca_file: Option<PathBuf>,
}

/// Reads the certificates anew, so that a replaced file counts from the next connection on.
pub(super) fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>, LinkError> {
    let mut roots = RootCertStore::empty();
    let place = if let Some(path) = &options.ca_file {
        let unreadable = |source| LinkError::CaFile { path: path.clone(), source };
        let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
        roots.add_parsable_certificates(certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)?);
        path.display().to_string()
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        "the system's certificate store".to_owned()
    };
    if roots.is_empty() {
        return Err(LinkError::NoCa(place));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(LinkError::TlsSetup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
