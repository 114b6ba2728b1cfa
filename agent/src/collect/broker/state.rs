//! How the link to the broker stands, for `status`.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::LinkError;
use crate::clock::now_ms;
use crate::language::Value;

/// Longest error text kept, in bytes: it goes to a terminal and a log line.
const MAX_TEXT: usize = 300;

/// The state of one link to a broker, shared by the link and whoever shows it.
#[derive(Debug, Default)]
pub struct State(Mutex<Snapshot>);

/// The state of one link to a broker at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Since when it has been connected (ms since the Unix epoch); `None` while it is not.
    pub connected_since_ms: Option<u64>,
    /// Why the link was lost or not made, the last time.
    pub last_error: Option<Value>,
    /// When that was (ms since the Unix epoch).
    pub last_error_ms: Option<u64>,
    /// Topic filters that the broker refused in its last answer: nothing arrives by them until an operator acts.
    pub refused_filters: Vec<String>,
    /// Topic filters granted at QoS 0 only: what the broker sends by them may be lost on the way.
    pub lowered_filters: Vec<String>,
    /// Publishes received.
    pub received: u64,
    /// Publishes of QoS 1 (or 2) acknowledged to the broker, on the connection they came by.
    pub acknowledged: u64,
    /// Acknowledgements dropped because their connection was gone; the broker sends those publishes again.
    pub dropped_acks: u64,
    /// Retained messages that repeated the last one seen on their topic and were not stored.
    pub retained_repeats: u64,
    /// Connections made.
    pub connects: u64,
    /// Times the broker had forgotten the session: what it held for it is lost.
    pub sessions_lost: u64,
}

impl State {
    /// The state as it stands.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn failed(&self, error: &LinkError) {
        let now = now_ms();
        self.change(|state| {
            state.connected_since_ms = None;
            state.last_error = Some(error.said());
            state.last_error_ms = Some(now);
        });
    }
}

/// Text from outside made fit for a log: control characters escaped, cut to about `limit` bytes.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        if out.len() >= limit {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// An error and its causes in one line, cut and escaped.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    printable(&crate::chain::chain(error), MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_cut_and_escaped() {
        assert_eq!(printable("a\u{1b}[31m\nb", 100), "a\\u{1b}[31m\\nb");
        assert!(printable(&"ü".repeat(1000), 50).len() <= 50 + 4);
    }
}
