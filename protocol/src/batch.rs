//! The batch: what one request carries, as a JSON array of events or a single one.
//!
//! An array body can be split inside Flux into one event per element. The body is built once, event by event,
//! into one buffer, with the place of each event kept so that a batch can be halved without reading the store again.

use crate::event::write_event;
use crate::record::RecordRef;

/// How the body of a request is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// A JSON array, also for one event.
    #[default]
    Array,
    /// One event, without the array: each request carries one record.
    Single,
}

/// Builds the body of one request.
#[derive(Debug, Default)]
pub struct BodyBuilder {
    layout: Layout,
    body: Vec<u8>,
    events: usize,
}

impl BodyBuilder {
    /// An empty body.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, body: Vec::new(), events: 0 }
    }

    /// Adds the event of `record` if the finished body then still has at most `max_bytes`; a first event is
    /// always taken, because a record must be able to leave however small the limit. Says whether it was added.
    pub fn push(&mut self, record: &RecordRef<'_>, replayed: bool, max_bytes: usize) -> bool {
        if self.layout == Layout::Single && self.events == 1 {
            return false;
        }
        let before = self.body.len();
        if self.layout == Layout::Array {
            self.body.push(if self.events == 0 { b'[' } else { b',' });
        }
        write_event(&mut self.body, record, replayed);
        let closing = usize::from(self.layout == Layout::Array);
        if self.events > 0 && self.body.len() + closing > max_bytes {
            self.body.truncate(before);
            return false;
        }
        self.events += 1;
        true
    }

    /// How many events it holds.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    /// How long the finished body would be, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len() + usize::from(self.layout == Layout::Array && self.events > 0)
    }

    /// Whether it holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The finished body.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.layout == Layout::Array && self.events > 0 {
            self.body.push(b']');
        }
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TimeSource;

    fn record(seq: u64) -> RecordRef<'static> {
        RecordRef {
            gateway: "g",
            epoch: "e",
            lane: "normal",
            seq,
            device: "d",
            topic: "t",
            time_ms: 0,
            time_source: TimeSource::Synchronised,
            payload: b"1",
        }
    }

    #[test]
    fn an_array_takes_events_until_the_limit_and_never_passes_it() {
        let mut builder = BodyBuilder::new(Layout::Array);
        let mut seq = 0;
        while builder.push(&record(seq), false, 500) {
            seq += 1;
        }
        assert!(seq > 2);
        assert_eq!(builder.events() as u64, seq);
        let expected = builder.len();
        let body = builder.finish();
        assert!(body.len() <= 500);
        assert_eq!(body.len(), expected);
        let parsed: Vec<serde_json::Value> = serde_json::from_slice(&body).expect("a body is JSON");
        assert_eq!(parsed.last().and_then(|event| event["seq"].as_u64()), Some(seq - 1));
    }

    #[test]
    fn a_first_event_is_taken_however_small_the_limit() {
        let mut builder = BodyBuilder::new(Layout::Single);
        assert!(builder.push(&record(1), true, 1));
        assert!(!builder.push(&record(2), true, 10_000));
        let body = builder.finish();
        let parsed: serde_json::Value = serde_json::from_slice(&body).expect("a body is JSON");
        assert_eq!(parsed["seq"], 1);
        assert_eq!(parsed["replayed"], true);
    }
}
