//! What the ledger is told.

use serde::{Deserialize, Serialize};

/// Whose side it was, as far as can be told. The order is that of what can be claimed: of two that may apply, the
/// lesser counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The gateway's own line: no route, no modem, other hosts unreachable too.
    OwnLine,
    /// The provider's word: a maintenance that was announced, or a refusal that Flux itself gave (suspended, quota used
    /// up, ended).
    Announced,
    /// Nothing tells whose.
    Unknown,
    /// The provider's side: it answered, and with an error; or it alone could not be reached.
    Provider,
}

impl Class {
    /// A word for it, as it stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::OwnLine => "own-line",
            Self::Announced => "announced",
            Self::Unknown => "unknown",
            Self::Provider => "provider",
        }
    }

    /// Whether time of this class can be claimed.
    pub fn claimable(self) -> bool {
        matches!(self, Self::Unknown | Self::Provider)
    }
}

/// How far an attempt came: where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The name could not be resolved.
    Dns,
    /// No TCP connection.
    Tcp,
    /// No TLS.
    Tls,
    /// There was a connection; the answer was an error, or not whole.
    Http,
    /// No token was granted.
    Token,
    /// Not tried, because the provider's word forbids it.
    Stance,
    /// Not told how far it came.
    #[serde(other)]
    Other,
}

impl Stage {
    /// A word for it, as it stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Token => "token",
            Self::Stance => "stance",
            Self::Other => "other",
        }
    }
}

/// What an attempt showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it failed.
    pub stage: Stage,
    /// The HTTP status, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whose side it was, by this attempt alone.
    pub class: Class,
    /// Why, for people; without secrets. Cut to [`REASON`] bytes.
    pub reason: String,
    /// What is known of the line: interface, route, other hosts. Empty if nothing; cut to [`REASON`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub line: String,
}

/// Bytes kept of a reason: what an endpoint says of itself is mostly shorter, and an entry is written every quarter of an
/// hour.
pub const REASON: usize = 240;

impl Evidence {
    /// Evidence without status and without a word on the line.
    pub fn new(stage: Stage, class: Class, reason: &str) -> Self {
        Self { stage, status: None, class, reason: reason.into(), line: String::new() }.bounded()
    }

    /// The same with its texts cut to what is kept of them, control characters made spaces.
    pub(super) fn bounded(mut self) -> Self {
        for text in [&mut self.reason, &mut self.line] {
            if text.len() > REASON || text.contains(char::is_control) {
                let plain = |c: char| if c.is_control() { ' ' } else { c };
                let mut end = text.len().min(REASON);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                *text = text[..end].chars().map(plain).collect();
            }
        }
        self
    }

    /// Whether the other shows the same, whatever its words.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.stage, self.status, self.class) == (other.stage, other.status, other.class) && self.line == other.line
    }
}

/// A time for which the provider has said that Flux will not be there, in ms since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from_ms: u64,
    /// Its end; open if it was not said.
    pub until_ms: Option<u64>,
}

impl Window {
    pub(super) fn holds(&self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && self.until_ms.is_none_or(|until| at_ms < until)
    }
}

/// Something that the ledger is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The gateway begins to run. Told once, first.
    Started,
    /// The gateway runs. To be told at least every [`SILENCE_MS`](super::SILENCE_MS): longer silence counts as time in
    /// which it did not.
    Heartbeat,
    /// The gateway is about to end in order.
    Stopping,
    /// Flux took what was sent.
    Delivered,
    /// Flux answered, and in a way that shows that it works, though it did not take this: too much for now (429), a record
    /// that it refuses (400).
    Answered,
    /// An attempt failed.
    Failed(Evidence),
    /// The provider's word forbids sending from now on (maintenance, suspended, quota, ended). The operator's own hold is
    /// no fact: who does not want to send has no outage.
    Barred(Evidence),
    /// The provider's word allows sending again.
    Unbarred,
    /// All maintenances known now: those told before are forgotten. The first 16 count.
    Announced(Vec<Window>),
    /// The gateway's own line is known to be broken, and how; or, with `None`, no longer.
    OwnLine(Option<String>),
    /// The local alarm was raised or is over.
    Alarm {
        /// Whether it was raised.
        raised: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character_and_keep_to_one_line() {
        let evidence = Evidence::new(Stage::Http, Class::Provider, &format!("a\nb{}", "é".repeat(300)));
        assert!(evidence.reason.len() <= REASON && evidence.reason.starts_with("a bé"), "{}", evidence.reason);
    }

    #[test]
    fn what_cannot_be_claimed_counts_for_more_where_two_may_apply() {
        assert!(
            Class::OwnLine < Class::Announced && Class::Announced < Class::Unknown && Class::Unknown < Class::Provider
        );
        assert!(!Class::Announced.claimable() && Class::Unknown.claimable());
    }
}
