//! What of a payload is kept, before it is stored: fields that are dropped, made pseudonyms of, or rounded.
//!
//! # Constraints
//! - Personal data needs consent, and the AI providers behind a flow may use what they are sent (SORACOM Flux terms,
//!   10.1(4)(5) and 10.1(5)). What must not leave must not lie in a buffer on a stolen SD card either, so a payload is
//!   treated **before** its record is made, and never touches the store as it came.
//! - A rule never lets pass what it cannot treat: a payload that is no JSON, a list where an object should be, a number
//!   too long to round. Such a publish is refused and counted ([`Refused`]), unless the rule says `otherwise = "store"`.
//! - What no rule names stays as it is, to the letter: numbers keep their digits, text its escapes.
//! - A topic without a rule costs nothing more. One with a rule costs one pass over the payload.
//! - Bounded: [`MAX_DEPTH`], [`MAX_PSEUDONYMS`] and [`MAX_OUTPUT`] for a payload, [`MAX_RULES`] rules.
//! - No part of a payload stands in a log line or an error: a reason names the rule's own path.
//!
//! # Operation
//! The first rule whose topic pattern matches treats a payload, and it alone. A pattern looks like an MQTT topic filter;
//! `{device}` is `+`. Unlike there, `#` and `+` match a topic that begins with `$`, too: what is to be kept from flash
//! shall not pass by being published elsewhere. The pattern judges the topic alone; the topic itself is stored as it is.
//!
//! Of a rule, at each field ([`Path`]):
//!
//! 1. `keep_only`: what is neither named, nor within what is named, nor on the way there, is dropped. A list on the way
//!    loses the elements in which nothing can be kept.
//! 2. `drop`: what is named goes, whatever it is.
//! 3. `pseudonymise`: a text or number is replaced ([`pseudonym`]).
//! 4. `round`: a number becomes the nearest multiple of its step.
//!
//! `null` is left where it stands in 3 and 4: nothing is in it. A field that is absent is no mistake. A member that
//! stands in an object more than once is treated each time; its name is compared after its escapes are resolved, and to
//! the letter otherwise: `Name` is not `name`, which only `keep_only` is proof against.
//!
//! An object or list in which something is treated is written anew without white space; what is untouched in it is
//! copied.

mod json;
pub mod pseudonym;
mod rewrite;
mod topic;
mod treatment;

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use pseudonym::Key;
pub use treatment::{Deed, Did, Otherwise, Refused, Treated, Treatment};

use self::topic::Pattern;
use crate::field::{Path, Step};
use crate::language::Message;
use crate::message;

/// Most rules: each publish on a new topic is compared with all of them.
pub const MAX_RULES: usize = 64;

/// Deepest nesting of a payload that is treated.
pub const MAX_DEPTH: usize = 64;

/// Most pseudonyms in one payload: each costs some microseconds on a small processor, on the thread that serves all
/// devices.
pub const MAX_PSEUDONYMS: usize = 1_000;

/// Longest payload that treatment may make, in bytes: pseudonyms are longer than the numbers they stand for, and the
/// largest packet that a configuration allows must stay the largest record.
pub const MAX_OUTPUT: usize = 1024 * 1024;

/// One rule as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The topics whose payloads it treats.
    pub topic: String,
    /// All else is dropped; `None` keeps all.
    pub keep_only: Option<Vec<Path>>,
    /// What is dropped.
    pub drop: Vec<Path>,
    /// Texts and numbers that are replaced by pseudonyms.
    pub pseudonymise: Vec<Path>,
    /// Numbers that are rounded, and to what.
    pub round: Vec<(Path, Step)>,
    /// What becomes of a payload that cannot be treated.
    pub otherwise: Otherwise,
}

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum RuleError {
    /// There are more than [`MAX_RULES`].
    TooMany(usize),
    /// A topic pattern is none.
    Topic(String),
    /// Pseudonyms without a key.
    NoKey(String),
}

impl RuleError {
    /// It in words.
    pub fn message(&self) -> Message {
        match self {
            Self::TooMany(count) => message!(
                "there are {count} rules for fields; at most {most} are allowed: join some with `+` or `#`",
                count = *count,
                most = MAX_RULES
            ),
            Self::Topic(topic) => message!(
                "the rule for fields of {topic} has no topic pattern: write levels, `+` for any one, `#` at the end",
                topic = format!("{topic:?}")
            ),
            Self::NoKey(topic) => message!(
                "the rule for fields of {topic} makes pseudonyms and there is no key; set key_file in [collect.pseudonyms]",
                topic = format!("{topic:?}")
            ),
        }
    }
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<(Pattern, Arc<Treatment>)>);

impl Fields {
    /// Reads the rules; the first that matches a topic treats its payloads. `key` makes pseudonyms.
    ///
    /// # Errors
    /// The first rule that cannot be used.
    pub fn new(rules: &[Rule], key: Option<&Arc<Key>>) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError::TooMany(rules.len()));
        }
        let read = |rule: &Rule| {
            let pattern = Pattern::parse(&rule.topic).ok_or_else(|| RuleError::Topic(rule.topic.clone()))?;
            if !rule.pseudonymise.is_empty() && key.is_none() {
                return Err(RuleError::NoKey(rule.topic.clone()));
            }
            Ok((pattern, Arc::new(Treatment::new(rule, key.cloned()))))
        };
        rules.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// What becomes of payloads on a topic; `None` if they are stored as they come.
    pub fn of(&self, topic: &str) -> Option<&Arc<Treatment>> {
        self.0.iter().find(|(pattern, _)| pattern.matches(topic)).map(|(_, treatment)| treatment)
    }

    /// The only rule there is; `None` if there is none or several.
    pub fn only(&self) -> Option<&Arc<Treatment>> {
        match &self.0[..] {
            [(_, treatment)] => Some(treatment),
            _ => None,
        }
    }
}
