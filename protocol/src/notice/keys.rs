//! Keys: who signs notices, and whose are believed.
//!
//! Ed25519 (RFC 8032). A key is called by its id, which stands in the envelope; in a configuration it is
//! `<id>:<base64 of its 32 public bytes>`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::ID_BYTES;
use crate::said;
use crate::said::Said;

/// Keys that a gateway can pin: the present and the next of each of several who sign.
pub const KEYS: usize = 16;

/// Whether somebody wrote the padding or not says nothing of the key.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Encodings of points of small order, without the sign bit (RFC 7748, section 7, says why they are dangerous; the list is
/// all y of order 1, 2, 4 and 8, with those that are not reduced). Under such a key anyone can make a signature that holds
/// for anything. The first is 32 zeros, which people write as a placeholder.
const WEAK: [[u8; 32]; 7] = [
    [0; 32],
    y(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    y(0xec, 0xff, 0x7f),
    y(0xed, 0xff, 0x7f),
    y(0xee, 0xff, 0x7f),
];

const fn y(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Why a key, or a list of keys, cannot be used. The value stands in none: it may be the private key by mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.said())]
pub enum KeyError {
    /// There is no `:` between id and key.
    NoId,
    /// The id is not one.
    Id,
    /// What stands behind the id is not base64.
    NotBase64,
    /// It is not as long as a key.
    Length {
        /// Its bytes.
        bytes: usize,
    },
    /// Anyone could sign for this key.
    Weak,
    /// It is no private key.
    NotPrivate,
    /// Two keys have one id.
    Twice {
        /// The id.
        kid: String,
    },
    /// There are none, or too many.
    Count {
        /// How many.
        found: usize,
    },
}

impl KeyError {
    /// It in words.
    pub fn said(&self) -> Said {
        match self {
            Self::NoId => said!("there is no `:` between the key's id and the key"),
            Self::Id => said!("the key's id is not 1 to {most} of A-Z, a-z, 0-9, `.`, `_`, `-`", most = ID_BYTES),
            Self::NotBase64 => said!("what stands behind the key's id is not base64"),
            Self::Length { bytes } => said!("the key has {bytes} bytes; a public Ed25519 key has 32", bytes = bytes),
            Self::Weak => said!("this is not a key that anyone made: every signature could be forged under it"),
            Self::NotPrivate => said!("it is not a private Ed25519 key in PKCS#8"),
            Self::Twice { kid } => said!("two keys have the id {kid}", kid = kid),
            Self::Count { found } => {
                said!("there are {found} keys; there may be 1 to {most}", found = found, most = KEYS)
            }
        }
    }
}

fn judge_id(kid: &str) -> Result<(), KeyError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if kid.is_empty() || kid.len() > ID_BYTES || !kid.chars().all(plain) { Err(KeyError::Id) } else { Ok(()) }
}

/// Whose notices are believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    kid: String,
    bytes: [u8; 32],
}

impl PublicKey {
    /// A key and what it is called.
    ///
    /// # Errors
    /// [`KeyError::Id`], [`KeyError::Weak`].
    pub fn new(kid: &str, bytes: [u8; 32]) -> Result<Self, KeyError> {
        judge_id(kid)?;
        let mut unsigned = bytes;
        unsigned[31] &= 0x7f;
        if WEAK.contains(&unsigned) {
            return Err(KeyError::Weak);
        }
        Ok(Self { kid: kid.to_owned(), bytes })
    }

    /// Its id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether it signed the message.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kid, BASE64.encode(self.bytes))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (kid, key) = text.trim().split_once(':').ok_or(KeyError::NoId)?;
        judge_id(kid)?;
        let bytes = BASE64.decode(key).map_err(|_| KeyError::NotBase64)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|bytes| KeyError::Length { bytes: bytes.len() })?;
        Self::new(kid, bytes)
    }
}

/// Those whose notices are believed, 1 to [`KEYS`], each id once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<PublicKey>);

impl Keys {
    /// These.
    ///
    /// # Errors
    /// [`KeyError::Count`], [`KeyError::Twice`].
    pub fn new(keys: Vec<PublicKey>) -> Result<Self, KeyError> {
        if !(1..=KEYS).contains(&keys.len()) {
            return Err(KeyError::Count { found: keys.len() });
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|other| other.kid == key.kid) {
                return Err(KeyError::Twice { kid: key.kid.clone() });
            }
        }
        Ok(Self(keys))
    }

    /// All of them.
    pub fn all(&self) -> &[PublicKey] {
        &self.0
    }

    pub(super) fn find(&self, kid: &[u8]) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.kid.as_bytes() == kid)
    }
}

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key of this seed (32 random bytes, the private key of RFC 8032), called `kid`; without one it is called by its
    /// first bytes' hash, which is the same wherever the key is read.
    ///
    /// # Errors
    /// [`KeyError::Id`].
    pub fn from_seed(seed: &[u8; 32], kid: Option<&str>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Length { bytes: seed.len() })?;
        Self::of(pair, kid)
    }

    /// The key of a private key as other tools write it: PKCS#8 (RFC 5958, RFC 8410), with or without the public key in it.
    ///
    /// # Errors
    /// [`KeyError::NotPrivate`], [`KeyError::Id`].
    pub fn from_pkcs8(der: &[u8], kid: Option<&str>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::NotPrivate)?;
        Self::of(pair, kid)
    }

    fn of(pair: Ed25519KeyPair, kid: Option<&str>) -> Result<Self, KeyError> {
        let bytes = pair.public_key().as_ref();
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Length { bytes: bytes.len() })?;
        let kid = kid.map_or_else(|| own_id(&bytes), str::to_owned);
        Ok(Self { public: PublicKey::new(&kid, bytes)?, pair })
    }

    /// The key under which others recognise what it signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// `k-` and eight hexadecimal digits of the key's SHA-256.
fn own_id(public: &[u8; 32]) -> String {
    let hash = digest::digest(&digest::SHA256, public);
    let digits = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}"));
    format!("k-{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32], None).expect("a key")
    }

    #[test]
    fn a_key_is_read_as_it_is_written_with_or_without_padding() {
        for number in 1..20 {
            let public = key(number).public().clone();
            let written = public.to_string();
            assert_eq!(written.parse(), Ok(public.clone()));
            assert_eq!(format!(" {} \n", written.trim_end_matches('=')).parse(), Ok(public));
        }
    }

    #[test]
    fn a_private_key_of_openssl_is_read() {
        // `openssl genpkey -algorithm ed25519 -outform DER`: RFC 8410, section 7, the seed being the last 32 bytes.
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend([5; 32]);
        let read = SigningKey::from_pkcs8(&der, None).expect("a key");
        assert_eq!(read.public(), key(5).public());
        assert_eq!(SigningKey::from_pkcs8(&der[1..], None).err(), Some(KeyError::NotPrivate));
    }

    #[test]
    fn what_is_no_key_is_told_without_repeating_it() {
        for (text, error) in [
            ("AAAA", KeyError::NoId),
            (":AAAA", KeyError::Id),
            ("o ps:AAAA", KeyError::Id),
            ("ops:!", KeyError::NotBase64),
            ("ops:AAAA", KeyError::Length { bytes: 3 }),
            ("ops:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", KeyError::Weak),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(error.clone()), "{text}");
            assert!(!error.to_string().contains("AAAA"));
        }
        assert_eq!(PublicKey::new(&"a".repeat(65), [3; 32]), Err(KeyError::Id));
    }

    #[test]
    fn a_list_has_1_to_16_keys_and_each_id_once() {
        assert_eq!(Keys::new(Vec::new()), Err(KeyError::Count { found: 0 }));
        let all: Vec<PublicKey> = (1..=17).map(|number| key(number).public().clone()).collect();
        assert_eq!(Keys::new(all.clone()), Err(KeyError::Count { found: 17 }));
        assert!(Keys::new(all[..16].to_vec()).is_ok());
        let kid = all[0].kid().to_owned();
        assert_eq!(Keys::new(vec![all[0].clone(), all[1].clone(), all[0].clone()]), Err(KeyError::Twice { kid }));
    }

    #[test]
    fn a_signature_under_a_weak_key_could_be_forged_which_is_why_there_can_be_none() {
        // R the neutral element and S = 0: it holds whenever the hash times the key is neutral, so for one message in
        // eight at least, whoever made it.
        let mut forged = [0; 64];
        forged[0] = 1;
        for weak in WEAK {
            let holds = |sign: u8, number: u8| {
                let mut bytes = weak;
                bytes[31] |= sign;
                UnparsedPublicKey::new(&ED25519, bytes).verify(&[number], &forged).is_ok()
            };
            assert_eq!(PublicKey::new("weak", weak), Err(KeyError::Weak));
            // Some verifiers refuse encodings that are not reduced; those can then not be forged, and are no keys either.
            let reduced = weak[0] < 0xed || weak[31] != 0x7f;
            assert!(!reduced || (0..=255).any(|number| holds(0, number) || holds(0x80, number)), "{weak:02x?}");
        }
    }

    #[test]
    fn the_private_key_shows_in_no_text() {
        let text = format!("{:?}", SigningKey::from_seed(&[0xab; 32], Some("ops")).expect("a key"));
        assert!(text.contains("ops") && !text.contains("171") && !text.contains("ab, ab"), "{text}");
    }
}
