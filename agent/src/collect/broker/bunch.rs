//! A bunch: the publishes that were there at one moment, made into one submission to the store.

use tokio::sync::OwnedSemaphorePermit;

use super::link::{Ack, Publish};
use super::retained::LastSeen;
use super::state::printable;
use crate::clock::Stamp;
use crate::collect::devices::Ear;
use crate::collect::mapping::Rules;
use crate::collect::turned_away::{Cause, Seen, TurnedAway};
use crate::store::{Change, NewRecord, Refusal, Submission};

/// Most publishes in one bunch: with a commit of a few milliseconds more would not be faster, and fewer means that
/// acknowledgements flow while the next bunch is on its way.
const MAX_PUBLISHES: usize = 64;

/// Most bytes in one bunch, unless a single publish has more: a sixteenth of what the store lets be in flight.
const MAX_BYTES: usize = 256 * 1024;

/// What stands in a PUBLISH besides topic, payload and properties: the topic's length and the packet id, in bytes.
const LENGTH_AND_ID: usize = 4;

/// Longest text of a topic in a refusal, in bytes.
const MAX_WHO: usize = 128;

/// Publishes on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Bunch {
    pub(super) submission: Submission,
    pub(super) acks: Vec<Ack>,
    pub(super) tally: Tally,
    /// Room that the publishes take until they are committed.
    pub(super) held: Option<OwnedSemaphorePermit>,
    refusals: Vec<Refusal>,
}

/// What a bunch comes to, counted once it is committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) publishes: u64,
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
    pub(super) refused_topic: u64,
    pub(super) refused_device: u64,
    pub(super) refused_size: u64,
    pub(super) refused_fields: u64,
    pub(super) untreated: u64,
    pub(super) retained_repeats: u64,
}

/// What decides what becomes of a publish.
pub(super) struct Judge<'a> {
    pub(super) rules: &'a Rules,
    pub(super) last_seen: &'a mut LastSeen,
    /// Largest packet taken, in bytes, without fixed header and properties.
    pub(super) max_size: usize,
    /// Where refusals are logged, and the broker that is named there.
    pub(super) log: (&'a TurnedAway, &'a str),
    /// Where it is told which devices were heard.
    pub(super) ear: Option<&'a mut Ear>,
}

impl<'a> Judge<'a> {
    fn seen(&self) -> Seen<'a> {
        Seen { broker: Some(self.log.1), ..Seen::default() }
    }
}

impl Bunch {
    pub(super) fn is_full(&self) -> bool {
        self.tally.publishes >= MAX_PUBLISHES as u64 || self.submission.bytes() >= MAX_BYTES
    }

    /// Takes a publish, as a record or as a refusal, and its acknowledgement with it.
    pub(super) fn take(&mut self, publish: &Publish, judge: &mut Judge<'_>, stamp: Stamp) {
        self.tally.publishes += 1;
        self.acks.extend(publish.ack);
        let Some(topic) = publish.topic.as_deref() else {
            self.tally.refused_topic += 1;
            let seen =
                Seen { what: Some("a topic that is not UTF-8"), size: Some(publish.payload.len()), ..judge.seen() };
            return self.refuse(judge, Cause::Topic, "a topic that is not UTF-8", &seen);
        };
        let size = publish.payload.len() + topic.len() + LENGTH_AND_ID;
        let seen = Seen { topic: Some(topic.as_bytes()), size: Some(size), ..judge.seen() };
        let Some(mapped) = judge.rules.map(topic) else {
            self.tally.refused_topic += 1;
            return self.refuse(judge, Cause::Topic, topic, &seen);
        };
        if !judge.rules.allows(mapped.device) {
            self.tally.refused_device += 1;
            return self.refuse(judge, Cause::Device, mapped.device, &seen);
        }
        if size > judge.max_size {
            self.tally.refused_size += 1;
            return self.refuse(judge, Cause::Size, mapped.device, &seen);
        }
        let treatment = judge.rules.treatment(topic);
        let treated = match treatment.map(|treatment| treatment.treat(&publish.payload)).transpose() {
            Ok(treated) => treated,
            Err(refused) => {
                self.tally.refused_fields += 1;
                let what = refused.to_string();
                let seen = Seen { what: Some(&what), ..seen };
                return self.refuse(judge, Cause::Fields, mapped.device, &seen);
            }
        };
        // Only a hash of the payload is kept there, and in memory.
        if judge.last_seen.repeats(topic, &publish.payload) && publish.retained {
            self.tally.retained_repeats += 1;
            return;
        }
        let payload = treated.as_ref().map_or(&*publish.payload, |treated| &treated.payload);
        self.tally.records += 1;
        self.tally.payload_bytes += payload.len() as u64;
        self.tally.untreated += u64::from(treated.as_ref().is_some_and(|treated| treated.untreated.is_some()));
        let record = NewRecord { device: mapped.device, topic, payload, stamp, origin: None, will: false };
        self.submission.push(mapped.lane, &record);
        if let Some(ear) = &mut judge.ear {
            ear.hears(mapped.device, stamp.uptime_ms);
        }
    }

    /// Takes a publish that is only to be acknowledged.
    pub(super) fn pass(&mut self, publish: &Publish) {
        self.tally.publishes += 1;
        self.acks.extend(publish.ack);
    }

    /// Keeps the room that a publish takes, until all is committed.
    pub(super) fn hold(&mut self, room: Option<OwnedSemaphorePermit>) {
        match (&mut self.held, room) {
            (Some(held), Some(room)) => held.merge(room),
            (Some(_), None) => {}
            (held, room) => *held = room,
        }
    }

    /// Hands the refusals to the submission; nothing more is taken after it.
    pub(super) fn seal(&mut self) {
        for refusal in self.refusals.drain(..) {
            self.submission.change(Change::Refused(refusal));
        }
    }

    fn refuse(&mut self, judge: &Judge<'_>, cause: Cause, who: &str, seen: &Seen<'_>) {
        judge.log.0.tell(cause, 1, seen);
        let cause = cause.name();
        let mut who = printable(who, MAX_WHO - 8);
        who.shrink_to_fit();
        match self.refusals.iter_mut().find(|refusal| refusal.cause == cause && refusal.who == who) {
            Some(refusal) => refusal.count = refusal.count.saturating_add(1),
            None => self.refusals.push(Refusal { cause: cause.to_owned(), who, count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::mapping::Rule;
    use crate::collect::turned_away::tests::Captured;
    use bytes::Bytes;
    use tidegate_protocol::LaneId;
    use tracing::level_filters::LevelFilter;

    fn rules() -> Rules {
        Rules::new(vec![Rule { topic: "devices/{device}/telemetry".into(), lane: LaneId(1) }], None)
            .expect("the rule is one")
    }

    fn publish(topic: Option<&str>, payload: &'static [u8], retained: bool) -> Publish {
        Publish { topic: topic.map(str::to_owned), payload: Bytes::from_static(payload), retained, ack: None }
    }

    fn taken(publishes: &[Publish]) -> Bunch {
        let (rules, mut last_seen, log) = (rules(), LastSeen::default(), TurnedAway::default());
        let mut judge = Judge {
            rules: &rules,
            last_seen: &mut last_seen,
            max_size: 8 + 19 + 4,
            log: (&log, "broker:1883"),
            ear: None,
        };
        let mut bunch = Bunch::default();
        for publish in publishes {
            bunch.take(publish, &mut judge, Stamp::default());
        }
        bunch
    }

    #[test]
    fn what_is_refused_is_counted_per_cause_and_sender() {
        let bunch = taken(&[
            publish(Some("other/1"), b"1", false),
            publish(Some("other/1"), b"2", false),
            publish(None, b"3", false),
            publish(Some("devices/a/telemetry"), b"123456789", false),
            publish(Some("devices/a/telemetry"), b"12345678", false),
        ]);
        assert_eq!(bunch.submission.records(), 1);
        assert_eq!((bunch.tally.refused_topic, bunch.tally.refused_size, bunch.tally.records), (3, 1, 1));
        let counts: Vec<_> = bunch.refusals.iter().map(|refusal| (refusal.cause.as_str(), refusal.count)).collect();
        assert_eq!(counts, [("topic", 2), ("topic", 1), ("size", 1)]);
        assert_eq!(bunch.refusals[2].who, "a");
    }

    #[test]
    fn what_is_refused_is_logged_with_its_topic_size_and_broker() {
        let captured = Captured::from(LevelFilter::WARN);
        let topic = Some("other/1");
        taken(&[
            publish(topic, b"1", false),
            publish(topic, b"2", false),
            publish(Some("devices/a/telemetry"), b"123456789", false),
        ]);
        let by = "broker=\"broker:1883\"";
        assert_eq!(captured.with(&["cause=\"topic\"", "topic=\"other/1\"", "size=12", by]).len(), 1);
        assert_eq!(captured.with(&["cause=\"size\"", "topic=\"devices/a/telemetry\"", "size=32", by]).len(), 1);
        assert_eq!(captured.with(&[]).len(), 2);
    }

    #[test]
    fn a_device_that_may_not_publish_is_refused_by_its_name() {
        let (rules, mut last_seen, log) = (rules().only(["b"]), LastSeen::default(), TurnedAway::default());
        let mut judge =
            Judge { rules: &rules, last_seen: &mut last_seen, max_size: 100, log: (&log, "broker:1883"), ear: None };
        let mut bunch = Bunch::default();
        for topic in ["devices/a/telemetry", "devices/b/telemetry"] {
            bunch.take(&publish(Some(topic), b"1", false), &mut judge, Stamp::default());
        }
        assert_eq!((bunch.tally.refused_device, bunch.tally.records), (1, 1));
        assert_eq!((bunch.refusals[0].cause.as_str(), bunch.refusals[0].who.as_str()), ("device", "a"));
    }

    #[test]
    fn fields_are_treated_before_the_record_is_made_and_what_cannot_be_is_refused() {
        use crate::collect::fields::{Fields, Rule};
        let rule = Rule { topic: "devices/#".into(), drop: vec!["name".parse().expect("a field")], ..Rule::default() };
        let rules = rules().treating(Fields::new(&[rule], None).expect("a rule"));
        let (mut last_seen, log) = (LastSeen::default(), TurnedAway::default());
        let mut judge =
            Judge { rules: &rules, last_seen: &mut last_seen, max_size: 100, log: (&log, "broker:1883"), ear: None };
        let mut bunch = Bunch::default();
        let topic = Some("devices/a/telemetry");
        for (payload, retained) in
            [(&br#"{"name":"Ann","t":1}"#[..], false), (br#"{"name":"Ann","t":1}"#, true), (b"Ann", false)]
        {
            bunch.take(&publish(topic, payload, retained), &mut judge, Stamp::default());
        }
        assert_eq!((bunch.tally.records, bunch.tally.payload_bytes), (1, 7));
        assert_eq!((bunch.tally.retained_repeats, bunch.tally.refused_fields), (1, 1));
        assert_eq!((bunch.refusals[0].cause.as_str(), bunch.refusals[0].who.as_str()), ("fields", "a"));
    }

    #[test]
    fn a_retained_message_is_stored_unless_it_equals_the_last_one_on_its_topic() {
        let topic = Some("devices/a/telemetry");
        let bunch = taken(&[
            publish(topic, b"1", true),
            publish(topic, b"1", true),
            publish(topic, b"1", false),
            publish(topic, b"2", true),
        ]);
        assert_eq!((bunch.tally.records, bunch.tally.retained_repeats), (3, 1));
    }
}
