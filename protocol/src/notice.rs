//! Notice: what the provider, or whoever runs the cloud side for the customer, tells a gateway about the service.
//!
//! # Constraints
//! - A notice is believed for who signed it, never for who brought it.
//! - What a newer sender adds is tolerated: a kind that is not known is [`Content::Unknown`], counted and shown, and
//!   changes nothing (clause 9.3(2)).
//! - A notice is *about one thing*, named by its [`Notice::id`]. Of two notices with one id the one issued later stands, and
//!   takes the place of the other whole: so a window is amended by saying it again with other times, and anything is taken
//!   back by [`Content::Withdrawn`]. One that is issued no later than what is known of its id is a repeat.
//!
//! Times are milliseconds since the Unix epoch by the provider's clock.
//!
//! # How it works
//! A notice is a CBOR map ([`wire`]) in a `COSE_Sign1` envelope ([`envelope`]) that one of the pinned [`Keys`] signed. Whoever
//! has an envelope gives it to [`open`], with the gateway's id and what is known of the time, and gets the notice or why it
//! is refused ([`NoticeError`]); [`Taken`] then tells what is new from what was taken in before. All of it is pure.

mod check;
pub mod envelope;
mod keys;
mod taken;
pub mod wire;

pub use check::{EARLIEST_MS, Flaw, LATEST_MS, LONGEST_MS, Now, RESUME_S, SKEW_MS};
pub use envelope::{ENVELOPE_BYTES, NoticeError, Opened, SealError, open, peek, seal, verify};
pub use keys::{KEYS, KeyError, Keys, PublicKey, SigningKey};
pub use taken::{REMEMBERED, Taken, Turn};

use crate::terms::Bound;

/// Longest id, in bytes.
pub const ID_BYTES: usize = 64;

/// Longest text for people, in bytes.
pub const WHY_BYTES: usize = 500;

/// Gateways that a scope can name.
pub const SCOPE_GATEWAYS: usize = 1_000;

/// Longest version of terms, kind, and pattern of gateways, in bytes.
pub const NAME_BYTES: usize = 64;

/// Longest URL, in bytes.
pub const URL_BYTES: usize = 500;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about: 1 to [`ID_BYTES`] bytes of A-Z, a-z, 0-9, `.`, `_`, `-`.
    pub id: String,
    /// When it was issued. Of one id the latest stands.
    pub issued_ms: u64,
    /// Until when it may be taken in. What was taken in holds for as long as its content says.
    pub expires_ms: u64,
    /// For whom it is.
    pub scope: Scope,
    /// What it says.
    pub content: Content,
    /// For people: why, at most [`WHY_BYTES`] bytes; may be empty.
    pub why: String,
}

/// For whom a notice is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every gateway that pins the key.
    Fleet,
    /// These, by their ids, 1 to [`SCOPE_GATEWAYS`]; a `*` at an end stands for any end.
    Gateways(Vec<String>),
}

/// Why the service is interrupted (clause 5.2(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interruption {
    /// Works on the service.
    Works,
    /// A carrier or cloud that it is built on.
    Upstream,
    /// The customer's identifier changes.
    Identifier,
    /// Security.
    Security,
    /// It is not said, or in a word that is not known.
    Other,
}

/// Why the service is suspended for the customer (clause 5.1(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Something is not paid.
    Unpaid,
    /// A statement was false.
    FalseStatement,
    /// The terms were broken.
    Terms,
    /// The card cannot be used.
    Card,
    /// It is not said, or in a word that is not known.
    Other,
}

/// What a notice says. `from_ms` of 0 is at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The service is interrupted (5.2).
    Maintenance {
        /// Its beginning.
        from_ms: u64,
        /// Its end.
        until_ms: u64,
        /// Why.
        cause: Interruption,
        /// Over how many seconds gateways come back after it; the gateway's own setting without it.
        resume_s: Option<u32>,
    },
    /// An emergency: only what goes first may leave (5.1(1)).
    Emergency {
        /// Its beginning.
        from_ms: u64,
        /// Its end; until it is withdrawn without it.
        until_ms: Option<u64>,
    },
    /// Less is allowed (5.1(2), 10.1(6)).
    Restriction {
        /// Its beginning.
        from_ms: u64,
        /// Its end; until it is withdrawn without it.
        until_ms: Option<u64>,
        /// To what, each kind at most once.
        limits: Vec<Bound>,
    },
    /// The service is suspended for this customer (5.1(3)).
    Suspension {
        /// Its beginning.
        from_ms: u64,
        /// Why.
        cause: Breach,
    },
    /// What the account may use is used up.
    Quota {
        /// Until when.
        until_ms: u64,
    },
    /// The service or the contract ends (5.3, 6.2).
    End {
        /// When.
        at_ms: u64,
    },
    /// The terms change (1.2).
    TermsChanged {
        /// Their new version, at most 64 bytes.
        version: String,
        /// From when.
        effective_ms: u64,
        /// Where they can be read, at most 500 bytes; may be empty.
        url: String,
    },
    /// The customer's identifier changes (3.4(2), 5.2(1)): from then on the other identity that the gateway is configured
    /// with is used.
    Identity {
        /// From when.
        effective_ms: u64,
    },
    /// Something that people should know (7.3(3)); nothing follows from it.
    Information,
    /// What a notice with this id said no longer holds.
    Withdrawn,
    /// A kind that this version does not know.
    Unknown {
        /// Its name, at most 64 bytes.
        kind: String,
    },
}

impl Interruption {
    /// Each with its word on the wire and in files.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("works", Self::Works),
        ("upstream", Self::Upstream),
        ("identifier", Self::Identifier),
        ("security", Self::Security),
        ("other", Self::Other),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&Self::WORDS, &self)
    }
}

impl Breach {
    /// Each with its word on the wire and in files.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("unpaid", Self::Unpaid),
        ("false_statement", Self::FalseStatement),
        ("terms", Self::Terms),
        ("card", Self::Card),
        ("other", Self::Other),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&Self::WORDS, &self)
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], meaning: &T) -> &'static str {
    words.iter().find(|(_, known)| known == meaning).map_or("other", |(word, _)| word)
}

impl Content {
    /// The kind's name on the wire and in lists.
    pub fn kind(&self) -> &str {
        match self {
            Self::Maintenance { .. } => "maintenance",
            Self::Emergency { .. } => "emergency",
            Self::Restriction { .. } => "restriction",
            Self::Suspension { .. } => "suspension",
            Self::Quota { .. } => "quota",
            Self::End { .. } => "end",
            Self::TermsChanged { .. } => "terms_changed",
            Self::Identity { .. } => "identity",
            Self::Information => "information",
            Self::Withdrawn => "withdrawn",
            Self::Unknown { kind } => kind,
        }
    }
}

impl Scope {
    /// Whether it means this gateway.
    pub fn includes(&self, gateway: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => gateway.starts_with(start),
            None => pattern == gateway,
        };
        match self {
            Self::Fleet => true,
            Self::Gateways(names) => names.iter().any(matches),
        }
    }
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_gateways_whole_or_by_their_beginning() {
        let scope = Scope::Gateways(vec!["barn-1".into(), "pole-*".into()]);
        for (gateway, included) in [("barn-1", true), ("barn-12", false), ("pole-7", true), ("pole", false)] {
            assert_eq!(scope.includes(gateway), included, "{gateway}");
            assert!(Scope::Fleet.includes(gateway));
        }
    }
}
