//! What the machine is told, and what it says: the values between `machine`, those who bring it news, and those who obey.
//!
//! ```text
//! answers of Flux ── forward ──┐
//! status page ── statuspage ───┤
//! SIM ── metadata ─────────────┼─ Input ─▶ machine ─ View ─▶ forward (what may leave) · shape (limits) · pollers · status
//! signed notices ── inbox ─────┤              └─── Entry ─▶ the log of notices
//! operator ── control socket ──┘
//! ```

use tidegate_protocol::notice::Notice;
use tidegate_protocol::stance::{Leave, Stance};
use tidegate_protocol::terms::{Clause, Terms};

use super::page::Page;
pub use crate::answer::Means;
use crate::language::{Message, Value};

/// Something that the machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Flux answered a request, or could not be reached.
    Answer(Answer),
    /// The status page was read.
    Page {
        /// What it says.
        page: Page,
        /// What time it was by its own word, in ms since the Unix epoch, if it said so: also over plain HTTP, where it dates
        /// no more than what it announces.
        now_ms: Option<u64>,
    },
    /// The SIM's metadata service answered: its status, and when and how its line is to be stopped.
    Sim {
        /// Such as `active` or `suspended`.
        status: Option<String>,
        /// When, in ms since the Unix epoch, and `expiryAction`.
        expiry: Option<(u64, String)>,
    },
    /// A notice whose signature was verified, that is for this gateway and has not expired. `via` says how it came:
    /// `file`, `folder`, `socket`.
    Notice {
        /// The notice.
        notice: Notice,
        /// The id of the key that signed it.
        key: String,
        /// How it came.
        via: &'static str,
    },
    /// The operator says to hold.
    Hold {
        /// For so many ms; until [`Input::Resume`] without it.
        for_ms: Option<u64>,
        /// Why, at most 500 bytes.
        why: String,
    },
    /// The operator ends the operator's own hold.
    Resume,
    /// A person accepts the terms of this version (clause 1.2).
    AcceptTerms {
        /// Their version.
        version: String,
    },
    /// Someone who proved who they are said what time it is (`Date` of an authenticated answer, or a notice).
    ProviderTime {
        /// Milliseconds since the Unix epoch.
        now_ms: u64,
        /// By how much that may be wrong, in ms; the clock weighs it.
        error_ms: u64,
    },
    /// The endpoint that is sent to is another one: what the old one answered says nothing of it. `fingerprint` is a hash
    /// that tells endpoints with their credentials apart and gives nothing of them away.
    Endpoint {
        /// Of the endpoint in use now.
        fingerprint: u64,
    },
    /// The operator said "try again now" (a reload): a probe may go at once.
    TryNow,
}

/// An answer, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it means.
    pub means: Means,
    /// A rule of the configuration says so: the operator's word, whatever was delivered before.
    pub by_rule: bool,
    /// How long it asks to wait, in ms, if it does.
    pub wait_ms: Option<u64>,
    /// For people: cut, escaped, secrets struck out.
    pub reason: String,
    /// It answers a probe.
    pub probe: bool,
    /// Events that left in the minute before it, if that is known: a 429 halves them.
    pub per_minute: Option<u32>,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Every ground there is, in the order in which stances are shown; empty while open.
    pub grounds: Vec<Ground>,
    /// What all of them together allow.
    pub leave: Leave,
    /// Limits that follow: restrictions, and the ramp after a stop.
    pub limits: Terms,
    /// Counts the probes that were allowed: one that is not known yet may be sent now.
    pub probe: u64,
    /// Nothing is in the way of one that was allowed: no stance that allows none, no maintenance that is under way, no
    /// moment of this gateway's own that is still to come.
    pub may_probe: bool,
    /// When the next probe is due, in ms by [`Stamp::uptime_ms`](crate::clock::Stamp), if one is to come.
    pub probe_at_ms: Option<u64>,
    /// Until when the endpoint asked not to be asked, in ms by [`Stamp::uptime_ms`](crate::clock::Stamp).
    pub rest_until_ms: Option<u64>,
    /// What is announced and has not begun.
    pub ahead: Vec<Ground>,
}

/// Why a stance holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The stance.
    pub stance: Stance,
    /// Who says so, for people: `notice m-17, key ops-2026`, `status page`, `answer of Flux`, `SIM`, `operator`.
    pub source: Value,
    /// What and why, for people.
    pub cause: Value,
    /// The clause of the terms.
    pub clause: Option<Clause>,
    /// Since when, or from when it will hold, in ms since the Unix epoch.
    pub since_ms: u64,
    /// Until when, if that is known.
    pub until_ms: Option<u64>,
    /// The same by the uptime, while the gateway's clock is not known to be right.
    pub by_uptime: Option<ByUptime>,
    /// What a person should do; empty if nothing.
    pub advice: Value,
}

/// From when until when, in ms by [`Stamp::uptime_ms`](crate::clock::Stamp): below 0 before the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByUptime {
    /// From when.
    pub since: i64,
    /// Until when, if that is known.
    pub until: Option<i64>,
    /// [`Ground::since_ms`] is a date: the provider said it, or it is known.
    pub since_dated: bool,
    /// Likewise [`Ground::until_ms`].
    pub until_dated: bool,
}

/// A line of the log of notices: what, from whom, when, what the agent did, until when.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// When it was received, in ms since the Unix epoch by the gateway's clock.
    pub at_ms: u64,
    /// Whether that clock was right.
    pub trusted: bool,
    /// What: the kind of a notice, or of what is like one, such as `maintenance`, `suspended`, `refused`.
    pub what: String,
    /// The notice's id, or the status page's id of it; empty where there is none.
    pub id: String,
    /// From whom: as [`Ground::source`].
    pub source: String,
    /// Its text.
    pub text: String,
    /// `text` as a message, if it is this gateway's own; what others say has none, and is shown as they said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_message: Option<Message>,
    /// What the agent did.
    pub did: String,
    /// `did` as a message, if something is filled in in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did_message: Option<Message>,
    /// From when it holds, if that is said.
    pub from_ms: Option<u64>,
    /// Until when it holds, if that is known.
    pub until_ms: Option<u64>,
    /// What time it was, was not known, and nobody said `from_ms`: it says no more than how far that is from `at_ms`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_undated: bool,
    /// Likewise `until_ms`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until_undated: bool,
    /// The clause of the terms.
    pub clause: Option<String>,
}
