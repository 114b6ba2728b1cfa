//! What came to the Flux, and what can be said of it: which ids, in which order, and whether two contents went by
//! one id.

use std::collections::HashMap;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A record's id: gateway, epoch, lane, sequence number.
pub type Id = (String, String, String, u64);

/// An event as it came. The payload keeps its spelling, numbers to the letter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Gateway id.
    pub gateway: String,
    /// Epoch of its store.
    pub epoch: String,
    /// Lane.
    pub lane: String,
    /// Sequence number within the lane.
    pub seq: u64,
    /// Device.
    pub device: String,
    /// Topic.
    pub topic: String,
    /// RFC 3339.
    pub time: String,
    /// `corrected` or `unsynchronised`, where it is not the time of a synchronised clock.
    #[serde(default)]
    pub time_source: Option<String>,
    /// The payload as JSON text.
    pub payload: Box<RawValue>,
    /// Sent before, or waited long.
    #[serde(default)]
    pub replayed: bool,
}

impl Event {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Id {
        (self.gateway.clone(), self.epoch.clone(), self.lane.clone(), self.seq)
    }

    /// Whether this may be a repeat of the other: nothing differs but a time that was put right in between.
    fn repeats(&self, other: &Self) -> bool {
        let content = |event: &Self| (event.device.clone(), event.topic.clone(), event.payload.get().to_owned());
        let time = |event: &Self| (event.time.clone(), event.time_source.clone());
        let was = |event: &Self, source| event.time_source.as_deref() == Some(source);
        let put_right = was(other, "unsynchronised") && was(self, "corrected");
        content(self) == content(other) && (time(self) == time(other) || put_right)
    }
}

/// One request, as it came and as it was answered.
#[derive(Debug, Clone)]
pub struct Received {
    /// When its body was complete.
    pub at: Instant,
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub length: usize,
    /// Whether the body was a JSON array, not one event.
    pub array: bool,
    /// Events in it, in order.
    pub events: Vec<Event>,
    /// Status answered; 0 where the connection was cut instead.
    pub status: u16,
    /// Whether the answer means accepted.
    pub accepted: bool,
}

impl Received {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Parses a body: an array of events or one event; says whether it was an array.
pub(super) fn parse(body: &[u8]) -> Result<(bool, Vec<Event>), serde_json::Error> {
    if body.first() == Some(&b'[') {
        Ok((true, serde_json::from_slice(body)?))
    } else {
        Ok((false, vec![serde_json::from_slice(body)?]))
    }
}

/// Everything that came so far.
#[derive(Debug, Default)]
pub struct Log {
    /// Requests in the order in which they were answered.
    pub requests: Vec<Received>,
    /// What no Tidegate may ever do; a test fails if there is any.
    pub faults: Vec<String>,
    /// First sight of each id: its content must never change.
    seen: HashMap<Id, Event>,
    /// Ids of accepted events in the order in which each first was accepted.
    delivered: Vec<Id>,
    delivered_at: HashMap<Id, usize>,
}

impl Log {
    pub(super) fn take(&mut self, request: Received) {
        for event in &request.events {
            let id = event.id();
            match self.seen.get(&id) {
                Some(first) if !event.repeats(first) => {
                    self.faults.push(format!("one id, two contents: {first:?} and {event:?}"));
                }
                Some(_) => {}
                None => {
                    self.seen.insert(id.clone(), event.clone());
                }
            }
            if request.accepted && !self.delivered_at.contains_key(&id) {
                self.delivered_at.insert(id.clone(), self.delivered.len());
                self.delivered.push(id);
            }
        }
        self.requests.push(request);
    }

    /// How many different records were accepted.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.delivered.len()
    }

    /// The accepted events, each once, in the order in which they first were accepted.
    #[must_use]
    pub fn delivered_events(&self) -> Vec<&Event> {
        self.delivered_from(0).collect()
    }

    /// The same without the first `skip` of them: for one who has looked before.
    pub fn delivered_from(&self, skip: usize) -> impl Iterator<Item = &Event> {
        self.delivered.iter().skip(skip).filter_map(|id| self.seen.get(id))
    }

    /// Fails unless records of one device and lane were first accepted in the order of their sequence numbers.
    #[track_caller]
    pub fn assert_in_order(&self) {
        let mut last: HashMap<(&str, &str, &str, &str), u64> = HashMap::new();
        for event in self.delivered_events() {
            let key = (event.gateway.as_str(), event.epoch.as_str(), event.lane.as_str(), event.device.as_str());
            if let Some(before) = last.insert(key, event.seq) {
                assert!(before < event.seq, "of {key:?}, seq {} was delivered after {before}", event.seq);
            }
        }
    }

    /// Fails if anything came that no Tidegate may ever send.
    #[track_caller]
    pub fn assert_faultless(&self) {
        assert!(self.faults.is_empty(), "{} faults, the first: {}", self.faults.len(), self.faults[0]);
    }
}
