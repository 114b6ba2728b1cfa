//! The limits in force, and who says so.

use serde::{Deserialize, Serialize};

use crate::language::Message;

/// What limits what may leave. `tidegate terms --json` prints this alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct TermsStatus {
    /// What is limited, kind by kind.
    pub limits: Vec<LimitStatus>,
    /// Kinds that nobody limits.
    pub unlimited: Vec<String>,
    /// What is wrong with limits that are each right.
    pub problems: Vec<String>,
    /// `problems` as messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problem_messages: Vec<Message>,
    /// What the SIM's metadata service says; `None` if it is not asked, or not now ([`TermsStatus::provider_known`]).
    pub sim: Option<SimStatus>,
    /// The contract's terms file; `None` if none is configured.
    pub file: Option<TermsFileStatus>,
    /// By which calendar months and days are counted: `JST` or `UTC`.
    pub calendar: String,
    /// Whether what the provider says is among it. It is not while the agent is stopped.
    pub provider_known: bool,
}

/// What is limited of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct LimitStatus {
    /// The key in `[limits]`: `rate`, `events_per_month` and so on.
    pub kind: String,
    /// What holds, for people: `512 kbit/s`.
    pub value: String,
    /// `value` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_message: Option<Message>,
    /// What holds as a number; `None` for what has none: unlimited, or windows.
    pub number: Option<u64>,
    /// The number's unit: `bit/s`, `bytes`, `events`, `millionths`, or empty.
    pub unit: String,
    /// This gateway's part of it, of what is the account's.
    pub part: Option<u64>,
    /// Who says what holds: one, or of windows all without whom more would be allowed.
    pub by: Vec<LimitSource>,
    /// What others say, which does not hold, the tightest first.
    pub overruled: Vec<LimitSource>,
}

/// A limit as somebody says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct LimitSource {
    /// For people.
    pub value: String,
    /// `value` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_message: Option<Message>,
    /// As a number, in the unit of its kind.
    pub number: Option<u64>,
    /// `operator`, `terms`, `provider` or `default`.
    pub who: String,
    /// Who exactly: a file and its line, a speed class.
    pub source: String,
    /// `source` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_message: Option<Message>,
    /// The clause of the terms of service that it serves: `5.1(2)`.
    pub clause: String,
}

/// The SIM's line, as its metadata service tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct SimStatus {
    /// Whom it asks.
    pub url: String,
    /// Speed class, such as `s1.slow`; the last that was told.
    pub speed_class: Option<String>,
    /// Status, such as `active`; the last that was told.
    pub status: Option<String>,
    /// When something is announced to happen to the line.
    pub expiry_ms: Option<u64>,
    /// What: `suspend`, `terminate` and so on; empty if that is not said.
    pub expiry_action: String,
    /// When the speed class was told, if that was before the agent was started (ms since the Unix epoch).
    pub told_before_ms: Option<u64>,
    /// How long ago it answered; `None` if it has not since the agent was started.
    pub answered_ago_ms: Option<u64>,
    /// Questions since then that it did not answer.
    pub failures: u64,
    /// Why it did not answer the last one; empty if it did.
    pub problem: String,
    /// The same as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_message: Option<Message>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What to do about it.
    pub advice: String,
    /// `advice` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice_message: Option<Message>,
}

/// The contract's terms file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct TermsFileStatus {
    /// Its path.
    pub path: String,
    /// What it calls itself.
    pub title: String,
    /// Its version, as it says it.
    pub version: String,
    /// Whether its limits, or those of an earlier reading, are in force.
    pub in_force: bool,
    /// When what is in force was read, if that was before the agent was started (ms since the Unix epoch).
    pub kept_ms: Option<u64>,
    /// Keys in it that this version does not know and that have no effect: the first of them.
    pub unknown: Vec<String>,
    /// How many there are.
    pub unknown_count: u64,
    /// Why it cannot be used as it is now.
    pub error: Option<String>,
    /// The lines of `error` as messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_lines: Vec<Message>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
}
