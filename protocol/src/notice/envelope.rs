//! The envelope: a `COSE_Sign1` (RFC 9052) whose payload is a notice.
//!
//! # Constraints
//! - **A signature of something else never passes for a notice.** What is signed begins with [`CONTEXT`] as its
//!   `external_aad` and names the [`CONTENT_TYPE`], so a key that also signs other things (it should not) gives nothing away.
//! - Nothing that no key vouches for is looked at further than it takes to find the key: envelopes come from anywhere.
//!   The size is bounded first, the nesting with it. A counter signature in a header is refused before `coset` reads it,
//!   because it would follow counter signatures within counter signatures as deep as 16 KiB allow.
//! - One envelope has one form: what is not written as [`seal`] writes it (lengths, tag, an empty unprotected header) is
//!   refused, so that every bit of it counts. The protected header and the payload are the signer's, to the byte.
//! - `crit` is obeyed: a parameter that must be understood and is not refuses the envelope. Other parameters are ignored.
//!
//! # Format
//! ```cddl
//! envelope = #6.18([ protected, {}, payload: bstr .cbor notice, signature: bstr .size 64 ])   ; at most 16 KiB
//! protected = bstr .size (1..256) .cbor {
//!   1: -8 / -19,                                    ; alg: EdDSA, or Ed25519 (RFC 9864)
//!   ? 2: [+ (1 / 2 / 3 / 4)],                       ; crit
//!   3: "application/vnd.tidegate.notice+cbor",      ; content type
//!   4: bstr .size (1..64),                          ; kid: the key's id
//!   * label => any
//! }
//! signed = [ "Signature1", protected, 'tidegate notice v1', payload ]
//! ```

use ciborium::Value;
use coset::iana::{Algorithm, HeaderParameter};
use coset::{
    CborSerializable as _, ContentType, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, ProtectedHeader,
    RegisteredLabelWithPrivate, TaggedCborSerializable as _,
};

use super::wire::{self, DEPTH};
use super::{Content, Flaw, ID_BYTES, Keys, Notice, Now, SigningKey};
use crate::said;
use crate::said::Said;

/// Largest envelope, in bytes. A notice that names a hundred gateways has some 3 KB.
pub const ENVELOPE_BYTES: usize = 16 * 1024;

/// The content type that the protected header names.
pub const CONTENT_TYPE: &str = "application/vnd.tidegate.notice+cbor";

/// The `external_aad` of the signature.
pub const CONTEXT: &[u8] = b"tidegate notice v1";

/// Longest protected header, in bytes; ours has some 60 and a key id.
const PROTECTED_BYTES: usize = 256;

/// Characters of a key id from outside that are shown.
const SHOWN: usize = ID_BYTES;

/// Why an envelope, or the notice in it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.said())]
#[non_exhaustive]
pub enum NoticeError {
    /// It is larger than a notice can be.
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// It is no envelope.
    Malformed {
        /// What is wrong.
        found: Said,
    },
    /// It is not signed.
    Unsigned,
    /// It must be understood in a way that this version does not know.
    Critical {
        /// What.
        what: String,
    },
    /// It is signed by a key that is not pinned.
    UnknownKey {
        /// The key's id, cut and escaped.
        kid: String,
    },
    /// The signature does not hold.
    BadSignature {
        /// The id of the key that should have signed it.
        kid: String,
    },
    /// It is rightly signed, and makes no sense.
    Content(#[source] Flaw),
    /// It is for others.
    NotForThisGateway {
        /// This gateway.
        gateway: String,
    },
    /// It came too late.
    Expired {
        /// Until when it could be taken in.
        expires_ms: u64,
        /// The time now, at least.
        now_ms: u64,
    },
    /// It was issued in the future.
    NotYetIssued {
        /// When it was issued.
        issued_ms: u64,
        /// The time now.
        now_ms: u64,
    },
    /// Something later is known.
    Older {
        /// Its id.
        id: String,
        /// When it was issued.
        issued_ms: u64,
        /// When the one that is known was.
        known_ms: u64,
    },
}

impl NoticeError {
    /// It in words.
    pub fn said(&self) -> Said {
        match self {
            Self::TooLarge { bytes } => {
                said!("it has {bytes} bytes; a notice has at most {most}", bytes = bytes, most = ENVELOPE_BYTES)
            }
            Self::Malformed { found } => said!("it is not a notice in its envelope: {found}", found = found),
            Self::Unsigned => said!("it is not signed; have it signed with `tidegate notice sign`"),
            Self::Critical { what } => said!(
                "it demands that {what} is understood, which this version does not know; update Tidegate",
                what = what
            ),
            Self::UnknownKey { kid } => {
                said!("it is signed by the key {kid}, which is not among those of [provider.notices] keys", kid = kid)
            }
            Self::BadSignature { kid } => said!(
                "the signature does not hold: it was changed on its way, or another key than {kid} made it",
                kid = kid
            ),
            Self::Content(_) => said!("it is rightly signed, and what it says cannot be used"),
            Self::NotForThisGateway { gateway } => said!("it is not for this gateway, {gateway}", gateway = gateway),
            Self::Expired { expires_ms, now_ms } => said!(
                "it has expired: it could be taken in until {expires_ms}, and it is {now_ms} (ms since the Unix epoch)",
                expires_ms = expires_ms,
                now_ms = now_ms
            ),
            Self::NotYetIssued { issued_ms, now_ms } => said!(
                "it was issued at {issued_ms}, and it is {now_ms} (ms since the Unix epoch); see that both clocks are right",
                issued_ms = issued_ms,
                now_ms = now_ms
            ),
            Self::Older { id, known_ms, issued_ms } => said!(
                "of {id} one that was issued later, or says something else, was taken in before: {known_ms} against {issued_ms}",
                id = id,
                known_ms = known_ms,
                issued_ms = issued_ms
            ),
        }
    }
}

impl NoticeError {
    /// Every [`NoticeError::code`].
    pub const CODES: [&'static str; 11] = [
        "too_large",
        "malformed",
        "unsigned",
        "critical",
        "unknown_key",
        "bad_signature",
        "content",
        "not_for_this_gateway",
        "expired",
        "not_yet_issued",
        "older",
    ];

    /// A word for the reason: refused ones are counted by it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::Unsigned => "unsigned",
            Self::Critical { .. } => "critical",
            Self::UnknownKey { .. } => "unknown_key",
            Self::BadSignature { .. } => "bad_signature",
            Self::Content(_) => "content",
            Self::NotForThisGateway { .. } => "not_for_this_gateway",
            Self::Expired { .. } => "expired",
            Self::NotYetIssued { .. } => "not_yet_issued",
            Self::Older { .. } => "older",
        }
    }

    /// Whether it may be taken in later, as it is: the clock may be put right, or the time come.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NotYetIssued { .. })
    }
}

fn malformed(found: Said) -> NoticeError {
    NoticeError::Malformed { found }
}

/// Why a notice cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.said())]
#[non_exhaustive]
pub enum SealError {
    /// It makes no sense.
    Content(#[source] Flaw),
    /// Nobody knows what it says.
    Unknown {
        /// The kind.
        kind: String,
    },
    /// It would be refused for its size.
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
}

impl SealError {
    /// It in words.
    pub fn said(&self) -> Said {
        match self {
            Self::Content(_) => said!("what the notice says cannot be used"),
            Self::Unknown { kind } => {
                said!("a notice of the kind {kind} cannot be made: this version does not know it", kind = kind)
            }
            Self::TooLarge { bytes } => said!(
                "the notice in its envelope has {bytes} bytes, more than {most}; name fewer gateways, or more at once with `*`",
                bytes = bytes,
                most = ENVELOPE_BYTES
            ),
        }
    }
}

/// A notice, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The notice.
    pub notice: Notice,
    /// The key's id.
    pub kid: String,
    /// Keys of the notice that are not known to this version, the first of them.
    pub unknown: Vec<String>,
    /// How many there are in all.
    pub unknown_count: usize,
}

/// Signs a notice.
///
/// # Errors
/// A notice that [`open`] would refuse everywhere is not signed.
pub fn seal(notice: &Notice, key: &SigningKey) -> Result<Vec<u8>, SealError> {
    if let Content::Unknown { kind } = &notice.content {
        return Err(SealError::Unknown { kind: kind.clone() });
    }
    notice.check().map_err(SealError::Content)?;
    let bytes = seal_payload(wire::write(notice), protected(key.public().kid()), key);
    if bytes.len() > ENVELOPE_BYTES { Err(SealError::TooLarge { bytes: bytes.len() }) } else { Ok(bytes) }
}

fn protected(kid: &str) -> Header {
    HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_type(CONTENT_TYPE.to_owned())
        .key_id(kid.as_bytes().to_vec())
        .build()
}

fn seal_payload(payload: Vec<u8>, protected: Header, key: &SigningKey) -> Vec<u8> {
    let sign = CoseSign1Builder::new().protected(protected).payload(payload);
    let sealed = sign.create_signature(CONTEXT, |message| key.sign(message)).build();
    sealed.to_tagged_vec().expect("it holds nothing that CBOR cannot, and a Vec takes all")
}

/// Opens an envelope for a gateway, at a time.
///
/// # Errors
/// Why it is refused.
pub fn open(bytes: &[u8], keys: &Keys, gateway: &str, now: Now) -> Result<Opened, NoticeError> {
    let opened = verify(bytes, keys)?;
    opened.notice.judge(gateway, now)?;
    Ok(opened)
}

/// Opens an envelope, whomever and whenever it is for.
///
/// # Errors
/// Why it is refused.
pub fn verify(bytes: &[u8], keys: &Keys) -> Result<Opened, NoticeError> {
    let (sealed, kid) = unpack(bytes)?;
    let key = keys.find(&sealed.protected.header.key_id).ok_or(NoticeError::UnknownKey { kid: kid.clone() })?;
    sealed
        .verify_signature(CONTEXT, |signature, message| key.signed(message, signature).then_some(()).ok_or(()))
        .map_err(|()| NoticeError::BadSignature { kid: kid.clone() })?;
    read(&sealed, kid)
}

/// Shows what is in an envelope **without knowing who made it**: for people, never to act on.
///
/// # Errors
/// Why it cannot be read.
pub fn peek(bytes: &[u8]) -> Result<Opened, NoticeError> {
    let (sealed, kid) = unpack(bytes)?;
    read(&sealed, kid)
}

fn read(sealed: &CoseSign1, kid: String) -> Result<Opened, NoticeError> {
    let payload = sealed.payload.as_deref().unwrap_or_default();
    let wire::Read { notice, unknown, unknown_count } = wire::read(payload).map_err(NoticeError::Content)?;
    Ok(Opened { notice, kid, unknown, unknown_count })
}

/// Takes an envelope apart: everything but the signature and the payload is judged. Also gives the key's id, for people.
fn unpack(bytes: &[u8]) -> Result<(CoseSign1, String), NoticeError> {
    if bytes.len() > ENVELOPE_BYTES {
        return Err(NoticeError::TooLarge { bytes: bytes.len() });
    }
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH)
        .map_err(|error| malformed(said!("it is no CBOR: {why}", why = wire::said(&error))))?;
    let sealed = parts(value)?;
    if sealed.clone().to_tagged_vec().ok().as_deref() != Some(bytes) {
        return Err(malformed(said!("it is not written in the one way there is, or something follows it")));
    }
    let kid = judge_header(&sealed.protected.header)?;
    Ok((sealed, kid))
}

fn parts(value: Value) -> Result<CoseSign1, NoticeError> {
    const TAG: u64 = CoseSign1::TAG;
    let Value::Tag(TAG, inner) = value else {
        // The notice itself, or another message of COSE without a signature.
        return Err(if value.is_map() {
            NoticeError::Unsigned
        } else {
            malformed(said!("it is not a COSE_Sign1 with its tag"))
        });
    };
    let parts = inner.into_array().ok().and_then(|parts| <[Value; 4]>::try_from(parts).ok());
    let Some([protected, unprotected, payload, signature]) = parts else {
        return Err(malformed(said!("it has not the four parts of a COSE_Sign1")));
    };
    let (Value::Bytes(protected), Value::Bytes(payload)) = (protected, payload) else {
        return Err(malformed(said!("its protected header or its payload is not a byte string")));
    };
    if !matches!(unprotected, Value::Map(map) if map.is_empty()) {
        return Err(malformed(said!("its unprotected header is not empty")));
    }
    let signature = match signature {
        Value::Bytes(signature) if signature.len() == 64 => signature,
        Value::Bytes(signature) if !signature.is_empty() => {
            return Err(malformed(said!("its signature has {bytes} bytes, not 64", bytes = signature.len())));
        }
        _ => return Err(NoticeError::Unsigned),
    };
    let header = header(&protected)?;
    Ok(CoseSign1 {
        protected: ProtectedHeader { original_data: Some(protected), header },
        unprotected: Header::default(),
        payload: Some(payload),
        signature,
    })
}

/// Reads the protected header. Its size bounds how deep anything in it can be nested.
fn header(bytes: &[u8]) -> Result<Header, NoticeError> {
    const COUNTER_SIGNATURES: [HeaderParameter; 4] = [
        HeaderParameter::CounterSignature,
        HeaderParameter::CounterSignature0,
        HeaderParameter::CounterSignatureV2,
        HeaderParameter::CounterSignature0V2,
    ];
    if bytes.len() > PROTECTED_BYTES {
        return Err(malformed(said!(
            "its protected header has {bytes} bytes, more than {most}",
            bytes = bytes.len(),
            most = PROTECTED_BYTES
        )));
    }
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH)
        .map_err(|error| malformed(said!("its protected header is no CBOR: {why}", why = wire::said(&error))))?;
    let map = value.as_map().ok_or_else(|| malformed(said!("its protected header is not a map")))?;
    let signs = |key: &Value| COUNTER_SIGNATURES.iter().any(|label| *key == Value::from(*label as i64));
    if map.iter().any(|(key, _)| signs(key)) {
        return Err(malformed(said!("it has a counter signature")));
    }
    Header::from_slice(bytes)
        .map_err(|error| malformed(said!("its protected header cannot be read: {why}", why = error.to_string())))
}

fn judge_header(header: &Header) -> Result<String, NoticeError> {
    use RegisteredLabelWithPrivate::{Assigned, PrivateUse, Text};
    for label in &header.crit {
        let understood =
            [HeaderParameter::Alg, HeaderParameter::Crit, HeaderParameter::ContentType, HeaderParameter::Kid];
        let what = match label {
            Assigned(label) if understood.contains(label) => continue,
            Assigned(label) => format!("header parameter {}", *label as i64),
            PrivateUse(label) => format!("header parameter {label}"),
            Text(label) => format!("header parameter {}", cut(label)),
        };
        return Err(NoticeError::Critical { what });
    }
    if !matches!(header.alg, Some(Assigned(Algorithm::EdDSA | Algorithm::Ed25519))) {
        return Err(malformed(said!("it is not signed with EdDSA (Ed25519)")));
    }
    if !matches!(&header.content_type, Some(ContentType::Text(text)) if text == CONTENT_TYPE) {
        return Err(malformed(said!("it does not say that it holds a notice")));
    }
    if !(1..=ID_BYTES).contains(&header.key_id.len()) {
        return Err(malformed(said!("it does not name the key that signed it")));
    }
    Ok(cut(&String::from_utf8_lossy(&header.key_id)))
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
