//! What the devices had acknowledged, what the endpoint received, and whether the two agree.
//!
//! The comparison is by content and order: of each device, the acknowledged payloads must stand among the received
//! ones, equal to the letter and in the same order, once repeats (the same record id again) are dropped. A payload that
//! was received and never acknowledged is no fault: the connection may have ended before the acknowledgement came.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate::language::{IntoValue as _, Message, Value};
use tidegate::message;

/// An event as the endpoint sees it; what else stands in it is of no matter here.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    gateway: String,
    epoch: String,
    lane: String,
    seq: u64,
    device: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// A record's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Id {
    gateway: String,
    epoch: String,
    lane: String,
    seq: u64,
}

/// Both sides of the demo.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: BTreeMap<String, Vec<String>>,
    received: HashMap<Id, (String, String)>,
    repeats: u64,
    faults: Vec<Value>,
}

/// What the comparison says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Publishes the devices had acknowledged.
    pub(super) collected: usize,
    /// Of these, received equal and in order.
    pub(super) delivered: usize,
    /// Events that came again under the same id, and were dropped by it.
    pub(super) repeats: u64,
    /// What was received wrongly: not an event, or one id with two contents. At most [`MAX_FAULTS`].
    pub(super) faults: Vec<Value>,
    /// The first payload of each device that was acknowledged and not received.
    pub(super) missing: Vec<(String, String)>,
}

/// Faults that are kept; one is already too many.
const MAX_FAULTS: usize = 10;

impl Outcome {
    pub(super) fn lost(&self) -> usize {
        self.collected - self.delivered
    }
}

impl Ledger {
    /// A device's publish was acknowledged.
    pub(super) fn acknowledge(&mut self, device: &str, payload: &str) {
        self.acknowledged.entry(device.to_owned()).or_default().push(payload.to_owned());
    }

    /// The endpoint received a request's body. Says whether it was one.
    pub(super) fn receive(&mut self, body: &[u8]) -> bool {
        let events: Vec<Event<'_>> = match serde_json::from_slice(body) {
            Ok(events) => events,
            Err(error) => {
                self.fault(message!("a body is not an array of events: {error}", error = error.to_string()));
                return false;
            }
        };
        for event in events {
            let id = Id { gateway: event.gateway, epoch: event.epoch, lane: event.lane, seq: event.seq };
            let content = (event.device, event.payload.get().to_owned());
            match self.received.get(&id) {
                None => {
                    self.received.insert(id, content);
                }
                Some(known) if *known == content => self.repeats += 1,
                Some(known) => {
                    let fault = message!(
                        "{id} names two records: {one} and {other}",
                        id = format!("{id:?}"),
                        one = format!("{known:?}"),
                        other = format!("{content:?}")
                    );
                    self.fault(fault);
                }
            }
        }
        true
    }

    /// Publishes acknowledged so far.
    pub(super) fn collected(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// Different records received so far.
    pub(super) fn received(&self) -> usize {
        self.received.len()
    }

    /// Compares the two sides.
    pub(super) fn compare(&self) -> Outcome {
        let mut arrived: BTreeMap<&str, Vec<(&Id, &str)>> = BTreeMap::new();
        for (id, (device, payload)) in &self.received {
            arrived.entry(device).or_default().push((id, payload));
        }
        let (mut delivered, mut missing) = (0, Vec::new());
        for (device, sent) in &self.acknowledged {
            let mut records = arrived.remove(device.as_str()).unwrap_or_default();
            records.sort_unstable();
            let (found, first_missing) = in_order(sent, records.iter().map(|record| record.1));
            delivered += found;
            missing.extend(first_missing.map(|payload| (device.clone(), payload.to_owned())));
        }
        Outcome { collected: self.collected(), delivered, repeats: self.repeats, faults: self.faults.clone(), missing }
    }

    fn fault(&mut self, fault: Message) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault.into_value());
        }
    }
}

/// How many of `sent` stand among `arrived` in the same order, and the first that does not. One that is missing is
/// passed over, so that it counts as one and not as all that follow.
fn in_order<'a>(sent: &'a [String], arrived: impl Iterator<Item = &'a str> + Clone) -> (usize, Option<&'a str>) {
    let (mut found, mut missing, mut rest) = (0, None, arrived);
    for payload in sent {
        let mut ahead = rest.clone();
        if ahead.any(|candidate| candidate == payload) {
            found += 1;
            rest = ahead;
        } else {
            missing = missing.or(Some(payload.as_str()));
        }
    }
    (found, missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::RecordRef;
    use tidegate_protocol::batch::{BodyBuilder, Layout};

    fn body(records: &[(&str, u64, &str)]) -> Vec<u8> {
        let mut builder = BodyBuilder::new(Layout::Array);
        for (device, seq, payload) in records {
            let record = RecordRef {
                gateway: "demo",
                epoch: "e",
                lane: "normal",
                seq: *seq,
                device,
                topic: "t",
                time_ms: 0,
                time_source: tidegate_protocol::TimeSource::Synchronised,
                payload: payload.as_bytes(),
            };
            assert!(builder.push(&record, false, usize::MAX));
        }
        builder.finish()
    }

    fn ledger(acknowledged: &[(&str, &str)], bodies: &[&[(&str, u64, &str)]]) -> Outcome {
        let mut ledger = Ledger::default();
        for (device, payload) in acknowledged {
            ledger.acknowledge(device, payload);
        }
        for records in bodies {
            assert!(ledger.receive(&body(records)));
        }
        ledger.compare()
    }

    #[test]
    fn equal_payloads_in_order_are_delivered_and_repeats_are_dropped_by_id() {
        let sent = [("a", "{\"v\":1.50}"), ("b", "2"), ("a", "3"), ("a", "3")];
        let outcome = ledger(
            &sent,
            &[&[("a", 0, "{\"v\":1.50}"), ("b", 1, "2")], &[("b", 1, "2"), ("a", 2, "3")], &[("a", 3, "3")]],
        );
        assert_eq!((outcome.collected, outcome.delivered, outcome.lost(), outcome.repeats), (4, 4, 0, 1));
        assert!(outcome.faults.is_empty() && outcome.missing.is_empty());
    }

    #[test]
    fn a_lost_a_changed_and_an_exchanged_payload_are_found() {
        let sent = [("a", "1"), ("a", "2"), ("a", "3")];
        for received in [
            &[("a", 0, "1"), ("a", 2, "3")][..],
            &[("a", 0, "1"), ("a", 1, "2.0"), ("a", 2, "3")],
            &[("a", 0, "1"), ("a", 1, "3"), ("a", 2, "2")],
            &[("a", 0, "1"), ("b", 1, "2"), ("a", 2, "3")],
        ] {
            let outcome = ledger(&sent, &[received]);
            assert_eq!((outcome.delivered, outcome.lost()), (2, 1), "{received:?}");
            assert_eq!(outcome.missing.len(), 1);
        }
    }

    #[test]
    fn a_payload_that_was_received_without_an_acknowledgement_is_no_fault() {
        let outcome = ledger(&[("a", "1"), ("a", "2")], &[&[("a", 0, "1"), ("a", 1, "1"), ("a", 2, "2")]]);
        assert_eq!((outcome.delivered, outcome.lost()), (2, 0));
    }

    #[test]
    fn an_id_that_names_two_records_and_a_body_that_is_none_are_faults() {
        let outcome = ledger(&[], &[&[("a", 0, "1")], &[("a", 0, "2")]]);
        assert_eq!(outcome.faults.len(), 1);
        let mut ledger = Ledger::default();
        assert!(!ledger.receive(b"[{\"gateway\":1}]"));
        assert!(!ledger.receive(b"hello"));
        assert_eq!(ledger.compare().faults.len(), 2);
    }
}
