//! The figures that `status`, the control socket and the Prometheus page show.
//!
//! Serialized as JSON this is what `tidegate status --json` prints. Fields may be added; none changes its meaning.
//! Unless said otherwise counts run since the store was created (so they survive restarts), times are milliseconds
//! since the Unix epoch by the gateway's clock, durations milliseconds, sizes bytes.

use serde::{Deserialize, Serialize};

/// Everything there is to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Status {
    /// Version of the running agent.
    pub version: String,
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
    /// Path of the configuration in force.
    pub config: String,
    /// When it was read.
    pub config_loaded_ms: u64,
    /// Keys that were changed in the file and take effect at the next start.
    pub config_needs_restart: Vec<String>,
    /// What was wrong with the file at the last reload, if it was refused; the configuration before it stays in force.
    pub config_error: Option<String>,
    /// Counts of records.
    pub counts: Counts,
    /// The lanes in order of priority.
    pub lanes: Vec<LaneStatus>,
    /// What Flux said last.
    pub verdict: VerdictStatus,
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
    /// Where it forwards to: kind and origin, such as `webhook https://api.soracom.io`. No secret.
    pub endpoint: String,
    /// The clock.
    pub clock: ClockStatus,
    /// Limits in force that stand nowhere else, as name and value for people, in the order to be shown: such as
    /// (`batch`, `500 records, 64KiB or 270s`).
    pub limits: Vec<(String, String)>,
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
    /// Those since the agent was started by cause: `topic`, `device`, `size`.
    pub refused_by: Vec<RefusedCount>,
    /// Requests sent to Flux since the agent was started.
    pub requests: u64,
    /// Of these, the ones that were not accepted.
    pub requests_failed: u64,
    /// Attempts since the agent was started that made no request, for want of a connection.
    pub connect_failures: u64,
    /// Attempts since the agent was started that made no request, because the API granted no token.
    pub token_refusals: u64,
}

/// Publishes refused for one cause.
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
    /// Since when.
    pub since_ms: Option<u64>,
    /// When the next attempt is due, while records wait and nothing will be sent before it: because of a refusal, or
    /// because a batch waits for its age (it goes earlier if it is full before).
    pub until_ms: Option<u64>,
    /// What the endpoint or the connection said. Text from outside: cut and escaped when shown.
    pub reason: String,
    /// What a person should do; empty if nothing.
    pub advice: String,
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
    /// Why its index is behind, if it is; nothing depends on it.
    pub index: Option<String>,
}

/// Whether the clock is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ClockStatus {
    /// Whether it is; if not, records keep the time that it shows, and their events say `unsynchronised`.
    pub trusted: bool,
    /// Who says that it is: `marker` (the time service's file), `timedated`, or `answer` (the date of an answer over
    /// TLS); empty if nobody does.
    pub source: String,
    /// Since when, since the agent was started.
    pub since_ms: Option<u64>,
    /// By how much the system's clock is wrong (ms to be added to it); every time that the agent gives is right.
    pub correction_ms: i64,
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
    /// Connections turned away or dropped for breaking the protocol or a limit, since the agent was started.
    pub turned_away: u64,
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
}
