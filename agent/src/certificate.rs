//! What a server's certificate says of itself, and why it is not trusted: for people, who want to know which it is and until when it
//! holds. Whether it is trusted is rustls's to judge; a [`Witness`] stands by and sees it.
//!
//! # Format
//! DER (X.690) of a certificate (RFC 5280, section 4.1):
//!
//! ```text
//! SEQUENCE { SEQUENCE tbs { [0] version?  serial  algorithm  issuer  validity  subject … } … }
//! issuer, subject   SEQUENCE of SET of SEQUENCE { OID  text }, OID 2.5.4.3 (common name) or 2.5.4.10 (organisation)
//! validity          SEQUENCE { notBefore, notAfter }: UTCTime YYMMDDHHMMSSZ or GeneralizedTime YYYYMMDDHHMMSSZ
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::der::{Elements, OID, SEQUENCE, SET, text};
use crate::shown;

/// Characters of a name that are kept.
const NAME: usize = 80;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is: its common name, or its organisation; empty if it says neither, as short-lived ones do.
    pub subject: String,
    /// Who issued it, likewise.
    pub issuer: String,
    /// From when it holds, in ms since the Unix epoch.
    pub from_ms: u64,
    /// Until when it holds, likewise.
    pub until_ms: u64,
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It held until before now.
    Expired,
    /// It holds from after now.
    NotYetValid,
    /// Nobody who is trusted issued it.
    UnknownIssuer,
    /// It is for another name.
    OtherName,
    /// Anything else.
    Other,
}

/// Why the far end's certificate is not trusted, if that is what an error of rustls says.
pub fn distrust(error: &rustls::Error) -> Option<Distrust> {
    let rustls::Error::InvalidCertificate(why) = error else { return None };
    Some(match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Distrust::NotYetValid,
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Distrust::OtherName,
        _ => Distrust::Other,
    })
}

/// Sees the certificate that a server shows, also one that is not trusted, and leaves the judgement to rustls.
#[derive(Debug)]
pub struct Witness {
    judge: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl Witness {
    /// One that leaves the judgement to `judge`.
    pub fn of(judge: Arc<WebPkiServerVerifier>) -> Self {
        Self { schemes: judge.supported_verify_schemes(), judge: Some(judge), seen: Mutex::default() }
    }

    /// One by whom nobody is trusted: every handshake ends when the certificate was seen.
    pub fn trusting_nobody(provider: &CryptoProvider) -> Self {
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        Self { judge: None, schemes, seen: Mutex::default() }
    }

    /// The server's own certificate, DER, if it has shown one.
    pub fn seen(&self) -> Option<Vec<u8>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, if it can be read.
    pub fn certificate(&self) -> Option<Certificate> {
        self.seen().and_then(|der| Certificate::read(&der))
    }

    fn judge(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        self.judge.as_deref().ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(own.to_vec());
        self.judge()?.verify_server_cert(own, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge()?.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge()?.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

impl Certificate {
    /// Reads one; `None` if its fields are not where they should be.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Elements(Elements(der).tagged(SEQUENCE)?);
        let mut fields = Elements(certificate.tagged(SEQUENCE)?);
        let (first, _) = fields.next()?;
        // With a version, serial and algorithm follow; without one the serial is gone already.
        for _ in 0..if first == 0xa0 { 2 } else { 1 } {
            fields.next()?;
        }
        let issuer = name(fields.tagged(SEQUENCE)?);
        let mut validity = Elements(fields.tagged(SEQUENCE)?);
        let (from_ms, until_ms) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = name(fields.tagged(SEQUENCE)?);
        Some(Self { subject, issuer, from_ms, until_ms })
    }
}

/// The common name in a distinguished name, or the organisation.
fn name(sets: &[u8]) -> String {
    let mut organisation = None;
    for (_, set) in Elements(sets).filter(|(tag, _)| *tag == SET) {
        for (_, pair) in Elements(set).filter(|(tag, _)| *tag == SEQUENCE) {
            let mut pair = Elements(pair);
            let Some(kind) = pair.tagged(OID) else { continue };
            let Some(value) = pair.next().and_then(|(tag, value)| text(tag, value)) else { continue };
            match kind {
                COMMON_NAME => return shown::shown(&value, NAME),
                ORGANISATION => organisation = Some(value),
                _ => {}
            }
        }
    }
    organisation.map_or_else(String::new, |value| shown::shown(&value, NAME))
}

/// A time in ms since the Unix epoch. Two digits of a year are of 1950 to 2049 (RFC 5280, 4.1.2.5.1).
fn time((tag, value): (u8, &[u8])) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (century, rest) = match tag {
        UTC_TIME if digits.len() == 12 => (if digits < "50" { "20" } else { "19" }, digits),
        GENERALIZED_TIME if digits.len() == 14 => (&digits[..2], &digits[2..]),
        _ => return None,
    };
    if !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| &rest[at..at + 2];
    let written = format!("{century}{}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8), part(10));
    let moment: jiff::Timestamp = written.parse().ok()?;
    // Before 1970 it holds from the beginning.
    Some(u64::try_from(moment.as_millisecond()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_whose_it_is_who_issued_it_and_how_long_it_holds() {
        let mut params = rcgen::CertificateParams::new(vec!["flux.example".to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Tide");
        params.distinguished_name.push(rcgen::DnType::CommonName, "flux.example");
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2051, 3, 4);
        let key = rcgen::KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("it is signed").der().to_vec();
        let read = Certificate::read(&der).expect("it can be read");
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), ("flux.example", "flux.example"));
        assert_eq!((read.from_ms, read.until_ms), (1_767_312_000_000, 2_561_500_800_000));
        for length in 0..der.len().min(200) {
            assert_eq!(Certificate::read(&der[..length]), None);
        }
    }

    #[test]
    fn times_are_read_in_both_forms_and_nothing_else_is() {
        assert_eq!(time((UTC_TIME, b"700101000001Z")), Some(1_000));
        assert_eq!(time((UTC_TIME, b"491231235959Z")), time((GENERALIZED_TIME, b"20491231235959Z")));
        assert_eq!(time((UTC_TIME, b"500101000000Z")), Some(0));
        for wrong in [&b""[..], b"Z", b"26010100000Z", b"261301000000Z", b"2601010000a0Z", b"260101000000+"] {
            assert_eq!(time((UTC_TIME, wrong)), None, "{wrong:?}");
        }
        assert_eq!(time((0x04, b"260101000000Z")), None);
    }
}
