//! What the machine knows, and how it is kept.
//!
//! # Format
//! CBOR (RFC 8949): `[version, state]`, at most [`STATE_BYTES`]. `state` is a map by field names; a field that is missing has
//! its first value, one that is not known is passed over. What was announced stands in it as a list whose entries are
//! read one by one: one that cannot be read is left out and said, and the others stay.
//!
//! # Recovery
//! What cannot be read as a whole, or is of a newer version, gives a machine that is *cautious*: it begins as after an
//! interruption that was not announced (one probe within a minute, and if that is accepted, slowly up to full rate), and
//! takes a refusal for a suspension, because what was delivered before is not known.

use ciborium::Value;
use serde::{Deserialize, Serialize};

use super::answers::{Kind, LONGEST_QUOTA_MS, LONGEST_REST_MS, Told};
use super::cut;
use super::item::{Item, Origin, Said};
use super::probe::Probes;
use super::settings::Span;
use super::sim::Sim;
use super::throttle::Throttle;
use super::time::{LATEST_MS, Time};

/// Bytes that a machine's state takes at most.
pub const STATE_BYTES: usize = 16 * 1024;

/// Things announced that are kept at once.
pub(super) const ITEMS: usize = 64;

/// Endpoints that are remembered to have accepted something: the one in use and those that were before it.
pub(super) const ENDPOINTS: usize = 8;

/// Versions of terms that are remembered to be accepted.
pub(super) const ACCEPTED: usize = 8;

/// Incidents of the status page that are known for having been logged.
pub(super) const INCIDENTS: usize = 16;

/// Longest id, version or name that is kept, in bytes.
pub(super) const ID_BYTES: usize = 64;

/// Longest text for people that is kept, in bytes.
pub(super) const WHY_BYTES: usize = 160;

const VERSION: u16 = 1;

/// The operator's hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    /// Steady.
    pub(super) since: u64,
    pub(super) until: Option<u64>,
    pub(super) why: String,
}

/// All that the machine knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) time: Time,
    #[serde(skip)]
    pub(super) items: Vec<Item>,
    /// What of [`State::items`] is written and read.
    announced: Vec<Value>,
    /// Of the notices that were over and forgotten before they had expired, the latest was issued then: what was issued no later under an
    /// id that is not known may be one of them, brought again.
    pub(super) let_go: u64,
    pub(super) answers: Option<Told>,
    pub(super) throttle: Option<Throttle>,
    /// Until when the endpoint asked not to be asked, or is not to be pressed by restarts, steady. While the forwarder runs
    /// it keeps to that by itself.
    pub(super) rest: Option<u64>,
    /// Failures in a row to reach the provider: since when (steady), and how many.
    pub(super) failing: Option<(u64, u32)>,
    pub(super) sim: Option<Sim>,
    pub(super) hold: Option<Hold>,
    pub(super) accepted_terms: Vec<String>,
    pub(super) probes: Probes,
    /// The endpoint in use.
    pub(super) endpoint: Option<u64>,
    /// Those that ever accepted something.
    pub(super) delivered: Vec<u64>,
    /// What was delivered before is not known: as if something was.
    pub(super) cautious: bool,
    pub(super) incidents: Vec<String>,
    /// That the endpoint refuses what it never took was logged.
    pub(super) misconfigured: bool,
}

/// Why a state could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    Newer(u16),
    Damaged,
}

impl State {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let value = |item: &Item| Value::serialized(item).expect("plain structures have a value");
        let whole = Self { announced: self.items.iter().map(value).collect(), items: Vec::new(), ..self.clone() };
        let mut bytes = Vec::new();
        ciborium::into_writer(&(VERSION, &whole), &mut bytes).expect("a vector takes every byte");
        bytes
    }

    /// What [`State::encode`] gave, and how many things announced could not be read.
    pub(super) fn decode(bytes: &[u8], span: Span) -> Result<(Self, usize), Unreadable> {
        if bytes.len() > STATE_BYTES {
            return Err(Unreadable::Damaged);
        }
        let (version, value): (u16, Value) = ciborium::from_reader(bytes).map_err(|_| Unreadable::Damaged)?;
        if version != VERSION {
            return Err(Unreadable::Newer(version));
        }
        let mut state: Self = value.deserialized().map_err(|_| Unreadable::Damaged)?;
        let announced = std::mem::take(&mut state.announced);
        let count = announced.len();
        state.items = announced.iter().filter_map(|value| value.deserialized().ok()).take(ITEMS).collect();
        let lost = count - state.items.len();
        Ok((state.within_bounds(span), lost))
    }

    /// What was written by this version is within them already.
    fn within_bounds(mut self, span: Span) -> Self {
        self.time = self.time.within_bounds();
        let steady = self.time.moment().steady;
        self.items.iter_mut().for_each(bound_item);
        if let Some(told) = &mut self.answers {
            told.set = told.set.min(steady);
            let longest = if told.kind == Kind::Quota { LONGEST_QUOTA_MS } else { LONGEST_REST_MS };
            told.rest = told.rest.map(|rest| rest.min(steady.saturating_add(longest)));
            told.since = told.since.min(steady);
            cut(&mut told.reason, WHY_BYTES);
        }
        self.rest = self.rest.map(|rest| rest.min(steady.saturating_add(LONGEST_REST_MS)));
        if let Some(throttle) = &mut self.throttle {
            throttle.bound(steady);
        }
        if let Some(hold) = &mut self.hold {
            hold.since = hold.since.min(steady);
            cut(&mut hold.why, WHY_BYTES);
        }
        if let Some(sim) = &mut self.sim {
            sim.bound(steady);
        }
        self.failing = self.failing.map(|(since, count)| (since.min(steady), count));
        for (texts, most) in [(&mut self.accepted_terms, ACCEPTED), (&mut self.incidents, INCIDENTS)] {
            texts.truncate(most);
            for text in texts {
                cut(text, ID_BYTES);
            }
        }
        self.delivered.truncate(ENDPOINTS);
        self.probes = self.probes.within_bounds(steady, span);
        self
    }

    /// Where nothing is known of what was.
    pub(super) fn cautious() -> Self {
        let reason = "what was known of the provider's notices could not be read".to_owned();
        let told = Told {
            kind: Kind::Maintenance,
            since: 0,
            until: None,
            set: 0,
            rest: None,
            named: false,
            unreached: false,
            reason,
        };
        Self { answers: Some(told), cautious: true, ..Self::default() }
    }

    /// Whether the endpoint in use ever accepted anything.
    pub(super) fn has_delivered(&self) -> bool {
        self.cautious || self.delivered.contains(&self.endpoint.unwrap_or_default())
    }

    pub(super) fn item(&mut self, origin: Origin, id: &str) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.is(origin, id))
    }
}

fn bound_item(item: &mut Item) {
    for text in [&mut item.id, &mut item.key] {
        cut(text, ID_BYTES);
    }
    cut(&mut item.why, WHY_BYTES);
    if let Said::Terms { version, .. } = &mut item.said {
        cut(version, ID_BYTES);
    }
    item.received = item.received.min(LATEST_MS);
}
