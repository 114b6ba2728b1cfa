//! Budgets: what of each was used, which lanes they hold, and what the backlog will cost.

use serde::{Deserialize, Serialize};

use crate::language::Message;

/// Budgets of events and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct BudgetsStatus {
    /// Each budget. The month's use is there though it is not limited.
    pub budgets: Vec<BudgetStatus>,
    /// Lanes that may not send now though they have something to send.
    pub held: Vec<HeldStatus>,
    /// What it will cost to send what waits; `None` if nothing does.
    pub drain: Option<DrainStatus>,
}

/// A budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct BudgetStatus {
    /// The key in `[limits]`: `events_per_month` and so on.
    pub kind: String,
    /// `events` or `bytes`.
    pub unit: String,
    /// What this gateway may use, its share; `None` for any number.
    pub amount: Option<u64>,
    /// What it has used, requests under way included.
    pub used: u64,
    /// What it may still use; `None` for any number.
    pub left: Option<u64>,
    /// What of that is kept for lanes that go first.
    pub reserved: u64,
    /// When the period ends; `None` as long as the time is not known, and for a minute and an hour, which slide.
    pub ends_ms: Option<u64>,
    /// When it is used up at the present pace, if that is before its end.
    pub runs_out_ms: Option<u64>,
    /// The provider answered that the quota is used up: only one request at a time asks whether it still is.
    pub told: bool,
}

/// A lane that may not send now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct HeldStatus {
    /// Its name.
    pub lane: String,
    /// The code of what is wrong: `TG-503`, to be explained by `tidegate explain`; empty if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The key of the limit that holds it.
    pub limit: String,
    /// Why.
    pub reason: String,
    /// `reason` as a message, where it is said differently in each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_message: Option<Message>,
    /// Until when, if that is known.
    pub until_ms: Option<u64>,
}

/// What it will cost to send what waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct DrainStatus {
    /// Records.
    pub records: u64,
    /// Events that they make.
    pub events: u64,
    /// Bytes on the wire, both directions, estimated.
    pub bytes: u64,
    /// What of the month that is, in thousandths, of the tightest of its budgets; `None` if it has none.
    pub month_thousandths: Option<u64>,
    /// How long it takes at the least; `None` if the month has not so much.
    pub time_ms: Option<u64>,
}
