//! The figures that `status`, the control socket and the Prometheus page show.
//!
//! Serialized as JSON this is what `tidegate status --json` prints. Fields may be added; none changes its meaning.
//! Unless said otherwise counts run since the store was created (so they survive restarts), times are milliseconds
//! since the Unix epoch by the gateway's clock, durations milliseconds, sizes bytes.

mod budgets;
mod codes;
mod devices;
mod provider;
mod terms;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::language::{Message, Value};

pub use budgets::{BudgetStatus, BudgetsStatus, DrainStatus, HeldStatus};
pub use devices::{DeviceStatus, DevicesStatus};
pub use provider::{
    ByUptimeStatus, GroundStatus, InboxStatus, NoticeStatus, OutageStatus, RefusedNotice, STARTING, StanceStatus,
    StatusPageStatus,
};
pub use terms::{LimitSource, LimitStatus, SimStatus, TermsFileStatus, TermsStatus};

/// Everything there is to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Status {
    /// Version of the running agent.
    pub version: String,
    /// The codes of everything that asks for action now, what is to be done first before what follows from it.
    pub codes: Vec<String>,
    /// Gateway id.
    pub gateway: String,
    /// The store's epoch.
    pub epoch: String,
    /// The running agent's process id.
    pub pid: u32,
    /// When the status was taken.
    pub now_ms: u64,
    /// Since when the agent has been running.
    pub uptime_ms: u64,
    /// Path of the configuration in force: what was read, or what was kept of it.
    pub config: String,
    /// Path of the configuration file, which a reload reads.
    pub config_file: String,
    /// SHA-256 of the text in force, in hexadecimal; empty if no file says it.
    pub config_fingerprint: String,
    /// The configuration in force is the one that was kept, because the file cannot be used (`config_error`).
    pub config_kept: bool,
    /// When it was kept; `None` if it is the file's.
    pub config_kept_ms: Option<u64>,
    /// When it was read.
    pub config_loaded_ms: u64,
    /// Keys that were changed in the file and take effect at the next start.
    pub config_needs_restart: Vec<String>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config_needs_restart_code: String,
    /// What was wrong with the file at the start or at the last reload, if it was refused; the configuration before it is
    /// in force.
    pub config_error: Option<String>,
    /// The lines of `config_error`, each as a message where it is said differently in each language.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_error_lines: Vec<Value>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config_error_code: String,
    /// Counts of records.
    pub counts: Counts,
    /// The lanes in order of priority.
    pub lanes: Vec<LaneStatus>,
    /// What Flux said last.
    pub verdict: VerdictStatus,
    /// What the provider allows now, and why.
    pub stance: StanceStatus,
    /// Time in which Flux could not be used.
    pub outage: OutageStatus,
    /// The oldest record that waits, of all lanes.
    pub oldest_waiting: Option<OldestWaiting>,
    /// What went over the wire to the outside.
    pub line: LineStatus,
    /// The store.
    pub store: StoreStatus,
    /// The listener; `None` if there is none.
    pub listener: Option<Connections>,
    /// The broker intake; `None` if there is none.
    pub broker: Option<BrokerState>,
    /// The devices that were heard.
    pub devices: DevicesStatus,
    /// Where it forwards to: kind and origin, such as `webhook https://api.soracom.io`. No secret.
    pub endpoint: String,
    /// Where it forwards to from a time on; `None` if nothing is announced.
    pub next_identity: Option<NextIdentity>,
    /// The clock.
    pub clock: ClockStatus,
    /// What limits what may leave, and who says so.
    pub terms: TermsStatus,
    /// What was used of budgets, what holds lanes, and what the backlog will cost.
    pub budgets: BudgetsStatus,
    /// Limits in force that stand nowhere else, as name and value for people, in the order to be shown: such as
    /// (`batch`, `500 records, 64KiB or 270s`).
    pub limits: Vec<(String, String)>,
    /// The values of `limits` as messages, in their order, where they are said differently in each language.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limit_messages: Vec<Option<Message>>,
}

/// The endpoint and credentials that hold from a time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct NextIdentity {
    /// Kind and origin. No secret.
    pub endpoint: String,
    /// From when.
    pub from_ms: u64,
    /// A notice has moved that time: it is later than the configuration's.
    pub moved: bool,
    /// It is what records leave under now.
    pub in_force: bool,
}

/// The way to the outside. All counts since the agent was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct LineStatus {
    /// Bytes sent on the wire: IP and TCP headers, acknowledgements, handshakes, repeats and name resolution included.
    pub sent: u64,
    /// Bytes received, likewise.
    pub received: u64,
    /// Whether both are in part estimates, because the system does not tell.
    pub estimated: bool,
    /// Connections made.
    pub connections: u64,
    /// What may leave, in bytes a second; `None` if that is not limited.
    pub rate: Option<u64>,
    /// What may come in, likewise.
    pub rate_down: Option<u64>,
    /// The longest round trip of the open connections, in milliseconds; `None` while none is known.
    pub round_trip_ms: Option<u64>,
    /// Bytes a second that leave at most because each request waits for the answer to the one before; `None` while that
    /// is 98 % of the rate or more, or nothing is limited.
    pub one_at_a_time: Option<u64>,
}

/// Records, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Counts {
    /// Publishes taken from devices and brokers since the agent was started.
    pub collected: u64,
    /// Records committed to flash.
    pub stored: u64,
    /// Records that wait to be delivered.
    pub waiting: u64,
    /// Records accepted by Flux since the agent was started.
    pub forwarded: u64,
    /// Records evicted undelivered because the store was at its limit.
    pub evicted: u64,
    /// Records lost to damage of the medium.
    pub damaged: u64,
    /// Records dropped undelivered because they had become older than their lane's `max_age`.
    pub expired: u64,
    /// Records put aside because Flux refuses them for good.
    pub put_aside: u64,
    /// Kinds of gaps (by cause, lane, device and epoch) of which the flow has not been told all.
    pub gaps_pending: u64,
    /// Gap records made since the store was created.
    pub gaps_told: u64,
    /// Publishes refused, in all.
    pub refused: u64,
    /// Those since the agent was started by cause: `topic`, `device`, `size`, `fields`.
    pub refused_by: Vec<RefusedCount>,
    /// Records stored since the agent was started as they came, although the rule for their fields cannot treat them,
    /// because it says `otherwise = "store"`.
    pub untreated: u64,
    /// By the names of the counts that say that records were lost or refused, the codes of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub codes: BTreeMap<String, String>,
    /// Requests sent to Flux since the agent was started.
    pub requests: u64,
    /// Of these, the ones that were not accepted.
    pub requests_failed: u64,
    /// Attempts since the agent was started that made no request, for want of a connection.
    pub connect_failures: u64,
    /// Attempts since the agent was started that made no request, because the API granted no token.
    pub token_refusals: u64,
}

/// Publishes refused, or connections turned away, for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct RefusedCount {
    /// `topic`, `device` or `size`.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct LaneStatus {
    /// Its name.
    pub name: String,
    /// Records committed.
    pub stored: u64,
    /// Records that wait.
    pub waiting: u64,
    /// Records evicted undelivered.
    pub evicted: u64,
    /// Records lost to damage.
    pub damaged: u64,
    /// Records dropped undelivered because they had become too old.
    pub expired: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When its oldest waiting record was received.
    pub oldest_ms: Option<u64>,
    /// How long ago that was, if it can be known: it cannot if the clock was not right then or is not now, and the system
    /// was restarted in between.
    pub oldest_age_ms: Option<u64>,
    /// Sequence number of the first record that is not acknowledged by Flux.
    pub cursor: u64,
    /// Sequence number that the next record will get.
    pub next: u64,
}

/// What Flux said last, or what holds sending up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct VerdictStatus {
    /// The design's word: `accepted`, `throttled`, `maintenance`, `suspended`, `quota`, `misconfigured`, `poison`,
    /// `transient`; empty or `unknown` before the first answer.
    pub word: String,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Since when.
    pub since_ms: Option<u64>,
    /// When the next attempt is due, while records wait and nothing will be sent before it: because of a refusal, or
    /// because a batch waits for its age (it goes earlier if it is full before).
    pub until_ms: Option<u64>,
    /// What the endpoint or the connection said. Text from outside: cut and escaped when shown.
    pub reason: String,
    /// The same as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_message: Option<Message>,
    /// What a person should do; empty if nothing.
    pub advice: String,
    /// `advice` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice_message: Option<Message>,
    /// When Flux last accepted something, since the agent was started.
    pub last_accepted_ms: Option<u64>,
    /// Records, or batches that must stay whole, that were refused alone: each waits until another is accepted, and is
    /// then tried once more, to tell a bad record from a bad endpoint.
    pub suspects: u64,
    /// The largest body in use, if a 413 taught that it must be below the configured one.
    pub learnt_body_limit: Option<u64>,
}

/// The oldest record that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct OldestWaiting {
    /// Its lane.
    pub lane: String,
    /// When it was received.
    pub time_ms: u64,
    /// How long it has waited, if that can be known, as with [`LaneStatus::oldest_age_ms`].
    pub age_ms: Option<u64>,
}

/// What storing costs the flash. Counts run since the agent was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct FlashStatus {
    /// Bytes of records stored: device, topic and payload with their stamps.
    pub stored: u64,
    /// Bytes written to the medium for them and for the store's own notes, estimated; `None` while it is not known.
    pub written: Option<u64>,
    /// `written` per byte stored.
    pub ratio: Option<f64>,
    /// Bytes that everyone has written to the device under the store, by its own counter.
    pub device_written: Option<u64>,
    /// Bytes that everyone writes to it in a day, at the pace of the last day (or since the agent was started, if that
    /// is shorter).
    pub device_a_day: Option<u64>,
    /// What may be written to the device in its life, as configured.
    pub endurance: Option<u64>,
    /// Years in which that is written at the present pace: the life of a new card.
    pub years: Option<f64>,
    /// Why bytes written are not known; empty if they are.
    pub unknown: String,
    /// `unknown` as a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_message: Option<Message>,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct StoreStatus {
    /// Its folder.
    pub path: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Limit of the bytes.
    pub max_bytes: u64,
    /// Group commits since the agent was started.
    pub commits: u64,
    /// What storing costs the flash.
    pub flash: FlashStatus,
    /// Why it cannot write now, if it cannot; acknowledgements are withheld meanwhile.
    pub stalled: Option<String>,
    /// `stalled` as a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_message: Option<Message>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Why its index is behind, if it is; nothing depends on it.
    pub index: Option<String>,
    /// `index` as a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_message: Option<Message>,
}

/// Whether the clock is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ClockStatus {
    /// Whether it is; if not, records keep the time that it shows, and their events say `unsynchronised`.
    pub trusted: bool,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Who says that it is: `marker` (the time service's file), `timedated`, or `answer` (the date of an answer over
    /// TLS); empty if nobody does.
    pub source: String,
    /// Since when, since the agent was started.
    pub since_ms: Option<u64>,
    /// By how much the system's clock is wrong (ms to be added to it); every time that the agent gives is right.
    pub correction_ms: i64,
    /// Who is asked for the time while it is not right; `None` once it is, or if nobody is to be asked.
    pub asks: Option<DateStatus>,
}

/// Who is asked for the time, over TLS, while nobody has told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct DateStatus {
    /// Scheme, host and port; empty if there is nobody to ask.
    pub origin: String,
    /// In how many ms it is asked next.
    pub next_in_ms: Option<u64>,
    /// Questions since the agent was started.
    pub asked: u64,
    /// Bytes on the wire that they cost, both directions.
    pub bytes: u64,
    /// Why the last one told no time that counts, or why nobody can be asked; empty if neither.
    pub problem: String,
    /// The same as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_message: Option<Message>,
    /// Its code.
    pub code: String,
    /// What to do about it.
    pub advice: Option<Message>,
}

/// A number and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Usage {
    /// Now.
    pub now: u64,
    /// At most.
    pub limit: u64,
}

/// The listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Connections {
    /// Addresses it listens on: `127.0.0.1:1883`, `0.0.0.0:8883 (TLS)`.
    pub addresses: Vec<String>,
    /// Connections.
    pub connections: Usage,
    /// Lasting sessions.
    pub sessions: Usage,
    /// Connections turned away or dropped for breaking the protocol or a limit, or because they are not listed, since
    /// the agent was started.
    pub turned_away: u64,
    /// These by cause: `client id`, `user name` and `certificate` (not listed), `password` (wrong, or none), `TLS` (the
    /// handshake failed), `protocol`, `not reading`, `limit` (of connections or sessions).
    pub turned_away_by: Vec<RefusedCount>,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
}

/// The broker intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct BrokerState {
    /// URL of the broker, without any secret.
    pub url: String,
    /// Whether it is connected and subscribed.
    pub connected: bool,
    /// Since when it is or is not.
    pub since_ms: Option<u64>,
    /// Publishes taken from it since the agent was started.
    pub collected: u64,
    /// What went wrong last; empty if nothing.
    pub last_error: String,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// `last_error` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_message: Option<Message>,
}
