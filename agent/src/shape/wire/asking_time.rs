//! Certificates for whoever asks what time it is, because it is not known.
//!
//! A gateway without a clock battery starts in 1970, or at whatever time it was switched off. By that clock no certificate is
//! valid yet, and so nobody could prove what time it is. So the clock is not asked at all. The chain is judged at the latest
//! time that is known to be past (the *floor*), and if it becomes valid only later, at the moment when it does: what proves
//! that this moment is past is that the chain exists, for authorities do not sign ahead. The time that is then told must
//! not be before that moment, or it contradicts the certificate that proves it.
//!
//! What that gives away: a chain that has expired since the floor is taken, so who holds the key of one can have the
//! gateway believe a time within its validity. Names, signatures and trust are checked as ever, and once the clock is known to
//! be right nobody asks. And a floor that is wrong, because the system's clock was believed when it stood years ahead, has
//! every chain refused as expired: until the time is that, or the system's time service is heard again, which is asked all the
//! while. Who asks hands no floor that is farther ahead than can be (`provider::date`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Certificates of a chain at most, each of which may become valid later than the one before.
const CHAIN: usize = 8;

/// At which time a chain is judged, and was. Milliseconds since the Unix epoch.
#[derive(Debug)]
pub struct Judging {
    floor_ms: u64,
    judged_ms: AtomicU64,
}

impl Judging {
    /// It is known to be no earlier than `floor_ms`.
    pub fn from(floor_ms: u64) -> Self {
        Self { floor_ms, judged_ms: AtomicU64::new(floor_ms) }
    }

    /// No earlier can it be, by the floor and by the certificates that were shown.
    pub fn earliest_ms(&self) -> u64 {
        self.judged_ms.load(Ordering::Relaxed)
    }
}

/// Judges chains while the time is not known.
#[derive(Debug)]
pub(super) struct WhileUnknown {
    strict: Arc<WebPkiServerVerifier>,
    judging: Arc<Judging>,
}

impl WhileUnknown {
    pub(super) fn new(strict: Arc<WebPkiServerVerifier>, judging: Arc<Judging>) -> Self {
        Self { strict, judging }
    }
}

impl ServerCertVerifier for WhileUnknown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut at = Duration::from_millis(self.judging.floor_ms).as_secs();
        for _ in 0..CHAIN {
            let when = UnixTime::since_unix_epoch(Duration::from_secs(at));
            let judged = self.strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, when);
            match judged {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }))
                    if not_before.as_secs() > at =>
                {
                    at = not_before.as_secs();
                }
                Ok(verified) => {
                    let judged_ms = at.saturating_mul(1_000).max(self.judging.floor_ms);
                    self.judging.judged_ms.store(judged_ms, Ordering::Relaxed);
                    return Ok(verified);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
