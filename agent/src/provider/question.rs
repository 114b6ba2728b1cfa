//! What can be asked of the provider's part over the control socket, and what is answered: its words as JSON.

use serde::{Deserialize, Serialize};

use super::inbox::Told;
use super::input::Entry;

/// Longest text of a person's, in bytes.
pub const WHY_BYTES: usize = 500;

/// A question. Answered with one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ask {
    /// The log of notices. [`End::Notices`].
    Notices,
    /// Send nothing until told otherwise. [`End::Done`].
    Hold {
        /// For so many ms; until [`Ask::Resume`] without it.
        for_ms: Option<u64>,
        /// Why, at most [`WHY_BYTES`].
        why: String,
    },
    /// End what [`Ask::Hold`] began, and nothing else. [`End::Done`].
    Resume,
    /// A person accepts the terms of this version. [`End::Done`], or [`End::AskedInstead`].
    AcceptTerms {
        /// Their version.
        version: String,
    },
    /// Take in a signed notice. [`End::Notice`], also where it is refused.
    Notice {
        /// The envelope in base64.
        envelope: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum End {
    /// The log, the oldest first.
    Notices {
        /// Its entries.
        entries: Vec<Entry>,
    },
    /// It was done.
    Done {
        /// What, for people.
        what: String,
    },
    /// Nothing was done: these versions of the terms are to be accepted, and the one that was named is not known.
    AskedInstead {
        /// The versions.
        versions: Vec<String>,
    },
    /// What became of a notice.
    Notice {
        /// What.
        told: Box<Told>,
    },
}
