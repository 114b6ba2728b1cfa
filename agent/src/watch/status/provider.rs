//! What the provider allows, says, and could not be reached for.

use serde::{Deserialize, Serialize};

use super::RefusedCount;
use crate::language::Message;

/// The word for the stance while the store is being opened: nothing is sent, and what holds is not known yet.
pub const STARTING: &str = "starting";

/// What the provider allows now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct StanceStatus {
    /// The design's word for the first of those that hold: `ended`, `suspended`, `held`, `quota`, `maintenance`, `yield`,
    /// `restricted`, or `open` if none does; [`STARTING`] until the store is open, in which it stands.
    pub stance: String,
    /// Which telemetry may leave: `all`, `first` (only lanes that go first) or `nothing`.
    pub telemetry: String,
    /// Why, in the order in which stances are shown; empty while open.
    pub grounds: Vec<GroundStatus>,
    /// What is announced and has not begun.
    pub ahead: Vec<GroundStatus>,
    /// In how many ms the next probe is due: one record that is sent to see whether it is taken.
    pub probe_in_ms: Option<u64>,
    /// The provider's status page; `None` if it is not asked.
    pub page: Option<StatusPageStatus>,
    /// The last entries of the log of notices, the oldest first; `tidegate notices` shows all.
    pub notices: Vec<NoticeStatus>,
    /// Signed notices that were brought.
    pub inbox: InboxStatus,
}

/// Signed notices that were brought since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct InboxStatus {
    /// The ids of the keys that are believed.
    pub keys: Vec<String>,
    /// The folder that is watched, if one is.
    pub folder: Option<String>,
    /// Why it cannot be looked into, if so.
    pub folder_problem: Option<String>,
    /// `folder_problem` as a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder_problem_message: Option<Message>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub folder_code: String,
    /// Taken in.
    pub accepted: u64,
    /// Brought again.
    pub repeated: u64,
    /// Taken in, but with keys or of a kind that this version does not know.
    pub not_wholly_known: u64,
    /// Refused, by reason.
    pub refused: Vec<RefusedCount>,
    /// The last of them, the newest last.
    pub last: Vec<RefusedNotice>,
}

/// A notice that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct RefusedNotice {
    /// When.
    pub at_ms: u64,
    /// How it came: `socket`, or `folder` and the file's name.
    pub from: String,
    /// The reason's word.
    pub code: String,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error_code: String,
    /// Why.
    pub why: String,
    /// The same, to be said in the reader's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_message: Option<Message>,
}

/// Time in which Flux could not be used, by the outage ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct OutageStatus {
    /// The first failed attempt of the interval that is open (ms since the Unix epoch).
    pub since_ms: Option<u64>,
    /// Whose side it is: `own-line`, `announced`, `provider` or `unknown`; empty if none is open.
    pub class: String,
    /// What of it is proved, in ms.
    pub proved_ms: u64,
    /// The longest uninterrupted time of it that can be claimed, in ms.
    pub uninterrupted_ms: u64,
    /// Attempts that failed in it.
    pub attempts: u64,
    /// Intervals that touch this month (JST).
    pub month: u64,
    /// The longest uninterrupted time of them that can be claimed, in ms.
    pub month_longest_ms: u64,
    /// The local alarm is in force: nothing was delivered for the set time.
    pub alarm: bool,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Why the ledger cannot be written now.
    pub problem: Option<String>,
    /// `problem` as a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_message: Option<Message>,
}

/// The provider's status page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct StatusPageStatus {
    /// Which page it asks.
    pub url: String,
    /// How long ago it answered; `None` if it has not since the agent was started.
    pub answered_ago_ms: Option<u64>,
    /// Maintenances on it that concern this gateway.
    pub maintenances: u64,
    /// Incidents on it that concern this gateway and go on, the first five.
    pub incidents: Vec<String>,
    /// `incidents` as messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incident_messages: Vec<Message>,
    /// All of them.
    pub incidents_count: u64,
    /// Entries of its last answer that could not be read.
    pub skipped: u64,
    /// Questions since the agent was started.
    pub asked: u64,
    /// Of these, answers that nothing has changed.
    pub unchanged: u64,
    /// Bytes on the wire that they cost, both directions.
    pub bytes: u64,
    /// Questions since the last answer that were not answered.
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

/// Why a stance holds, or will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct GroundStatus {
    /// Which one.
    pub stance: String,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Who says so.
    pub source: String,
    /// `source` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_message: Option<Message>,
    /// What and why.
    pub cause: String,
    /// `cause` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause_message: Option<Message>,
    /// The clause of the terms of service; empty if none.
    pub clause: String,
    /// Since when, or from when.
    pub since_ms: u64,
    /// Until when, if that is known.
    pub until_ms: Option<u64>,
    /// How far that is from now, while the clock is not known to be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_uptime: Option<ByUptimeStatus>,
    /// What a person should do; empty if nothing.
    pub advice: String,
    /// `advice` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice_message: Option<Message>,
}

/// How far something is from now by the uptime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ByUptimeStatus {
    /// So long ago it began, in ms; below 0 if it is to come.
    pub since_ago_ms: i64,
    /// In so many ms it ends, if that is known; below 0 if it has.
    pub until_in_ms: Option<i64>,
    /// `since_ms` is a date that the provider said. If not, it is told by a clock that may be wrong.
    pub since_dated: bool,
    /// Likewise `until_ms`.
    pub until_dated: bool,
}

/// A line of the log of notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct NoticeStatus {
    /// When it was received, by the gateway's clock.
    pub at_ms: u64,
    /// Whether that clock was known to be right.
    pub trusted: bool,
    /// What: the kind of a notice, or of what is like one.
    pub what: String,
    /// The notice's id, or the status page's id of it; empty where there is none.
    pub id: String,
    /// From whom.
    pub source: String,
    /// Its text.
    pub text: String,
    /// `text` as a message, if it is this gateway's own; what others say has none, and is shown as they said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_message: Option<Message>,
    /// What the agent did.
    pub did: String,
    /// `did` as a message, if something is filled in in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_message: Option<Message>,
    /// From when it holds, if that is said.
    pub from_ms: Option<u64>,
    /// Until when it holds, if that is known.
    pub until_ms: Option<u64>,
    /// `from_ms` is no date: it says no more than how far it is from `at_ms`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_undated: bool,
    /// Likewise `until_ms`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub until_undated: bool,
    /// The clause of the terms of service; empty if none.
    pub clause: String,
}
