//! Pseudonyms: the same person the same word, and no way back without the key.
//!
//! # Form
//! ```text
//! p_  ·  base64url without padding (RFC 4648, section 5) of the first 16 bytes of HMAC-SHA-256(key, value)
//! ```
//!
//! 24 characters of `A-Z a-z 0-9 - _`. Two of a hundred million people share one with a probability of 1 in 10^22; the
//! first half of a MAC is a MAC (RFC 2104, section 5). A plain hash would not do: all eight-digit numbers can be tried in
//! a second.
//!
//! The value is a text's characters as UTF-8 after their escapes are resolved, otherwise as they are: nothing is trimmed,
//! folded or normalised. A number is its canonical decimal form ([`canonical`](crate::field::canonical)): 42, 42.0 and
//! 4.2e1 are `42`. So is the text "42", for one device writes a person's number as a number and another as a text. Neither
//! field nor topic nor gateway go into it: gateways with one key give one pseudonym. Whoever has the key can repeat it:
//!
//! ```text
//! printf %s 'Sato Hanako' | openssl dgst -sha256 -hmac "$(cat pseudonym.key)" -binary | head -c 16 | basenc --base64url | tr -d =
//! ```
//!
//! # The key
//! The text of its file, without the white space around it. With another key everybody gets another pseudonym.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::secret::Secret;

/// What a pseudonym begins with, so that one can be told from a name in a flow.
pub const PREFIX: &str = "p_";

/// Bytes of the MAC that are kept.
const KEPT: usize = 16;

/// The key to pseudonyms.
pub struct Key {
    secret: Secret,
    key: hmac::Key,
}

impl Key {
    /// The key whose file holds this text.
    pub fn new(secret: Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self { secret, key }
    }

    /// The pseudonym of a value.
    pub fn pseudonym(&self, value: &str) -> String {
        let tag = hmac::sign(&self.key, value.as_bytes());
        let mut pseudonym = String::from(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&tag.as_ref()[..KEPT], &mut pseudonym);
        pseudonym
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_beginning_of_the_mac() {
        // RFC 4231, section 4.3: key "Jefe", data "what do ya want for nothing?",
        // MAC 5bdcc146bf60754e6a042426089575c7…
        let key = Key::new(Secret::new("Jefe"));
        assert_eq!(key.pseudonym("what do ya want for nothing?"), "p_W9zBRr9gdU5qBCQmCJV1xw");
        assert_ne!(key.pseudonym("a"), Key::new(Secret::new("jefe")).pseudonym("a"));
        assert!(!format!("{key:?}").contains("Jefe"));
    }
}
