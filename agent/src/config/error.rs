//! What is wrong with a configuration, said so that it can be corrected without this program's source.

use std::fmt;

use crate::code::Code;

/// Longest piece of the file that a message repeats, in characters: a value pasted into the wrong place must not fill
/// the terminal.
const SHOWN: usize = 60;

/// One thing that is wrong, or (as a warning) probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// Column in characters, counted from 1; 0 like `line`.
    pub column: usize,
    /// The key with its tables, such as `store.max_size`; empty for a mistake in the TOML itself.
    pub key: String,
    /// What was found.
    pub found: String,
    /// What to write instead, or what to do.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.found, self.advice)
    }
}

/// Everything that is wrong with a configuration, in the order of the lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    /// What was read, usually a path.
    pub source_name: String,
    /// The mistakes.
    pub problems: Vec<Problem>,
}

impl Errors {
    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        Code::ConfigWrong
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let things = if count == 1 { "mistake" } else { "mistakes" };
        write!(f, "{}: {count} {things}", self.source_name)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}; {advice}")]
    Unreadable {
        /// Its path.
        path: String,
        /// What to do.
        advice: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Nothing stands in it but comments.
    #[error(
        "{path} is not configured yet: nothing stands in it but comments; run `sudo tidegate setup`, or write it by hand \
         (`tidegate config default` prints every key with its default)"
    )]
    NotConfigured {
        /// Its path.
        path: String,
    },
    /// It was read and is wrong.
    #[error(transparent)]
    Wrong(#[from] Errors),
}

impl LoadError {
    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::ConfigUnreadable,
            Self::NotConfigured { .. } => Code::NotConfigured,
            Self::Wrong(errors) => errors.code(),
        }
    }
}

/// What the secrets of SORACOM are known by: the secret half of an authentication key, and the path of a webhook.
const SECRET_MARKS: [&str; 2] = ["secret-", "incoming_webhooks"];

/// Whether a text looks like a secret, or like an address that may be one, and not like a path or a word.
pub(super) fn looks_secret(text: &str) -> bool {
    text.contains("://") || SECRET_MARKS.iter().any(|mark| text.contains(mark))
}

/// A piece of the file as a message shows it: quoted, control characters escaped, cut to [`SHOWN`] characters. What
/// looks like a secret is not shown, whatever the key.
pub(super) fn shown(text: &str) -> String {
    if looks_secret(text) {
        return "a URL or a key, which is not shown here".into();
    }
    let mut out = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        match character {
            '"' => out.push('"'),
            _ => out.extend(character.escape_debug()),
        }
    }
    out.push('"');
    out
}
