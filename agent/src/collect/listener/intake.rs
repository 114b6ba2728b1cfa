//! From bytes to records: what one connection received becomes one submission and the answers that follow it.
//!
//! # Constraints
//! - No I/O and no waiting: the caller reads, hands over what it read, submits, and writes the answers when the
//!   store has committed. All that a read holds becomes **one** submission with one answer.
//! - Nothing is allocated for a publish whose fields no rule treats: it goes from the read buffer into the submission's
//!   buffer.
//! - Acknowledgements leave in the order of the packets they answer, over all kinds (MQTT 5, section 4.6): each
//!   [`Round`] collects its answers in that order, and rounds are answered in theirs.
//! - A record's bytes may be many times the bytes read (a topic alias names a topic with two), so a round has a budget
//!   and stops when it is used; the rest stays with the caller.

use std::ops::Range;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Property, v5_0};
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use tokio::sync::watch;

use super::connect::MAX_ALIASES;
use super::finish::cut;
use super::subscribe::{subscribe, unsubscribe};
use super::wire::{self, Fault, Header, Publish, Version, kind, malformed, protocol};
use crate::clock::Stamp;
use crate::collect::allow::{Identity, Unlisted};
use crate::collect::devices::Ear;
use crate::collect::fields::{Refused, Treatment};
use crate::collect::mapping::Rules;
use crate::collect::session::{PacketIds, record};
use crate::collect::turned_away::{self, SHOWN, Seen, TurnedAway};
use crate::store::{Change, LaneId, NewRecord, Origin, RECORD_OVERHEAD, Refusal, Submission};

#[cfg(test)]
mod tests;

/// Longest topic taken, in bytes; AWS `IoT` Core takes 256. It bounds what a topic alias can stand for. A longer one
/// is refused as a topic that no rule matches.
pub(super) const MAX_TOPIC: usize = 1_024;

/// Up to this size a PUBLISH of MQTT 3.1.1 that is larger than allowed is read to its end, counted and acknowledged;
/// otherwise the client would send it again for ever, and nothing behind it. Beyond, it is counted and the connection
/// ends.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Devices whose refused publishes are told apart in a round: as many as the store tells apart in all. What is beyond them is
/// the client's, like what names no device.
const DEVICES: usize = 32;

/// Why a publish is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Topic,
    Device,
    Size,
    Fields,
}

/// How many causes there are.
pub(super) const CAUSES: usize = Cause::ALL.len();

impl Cause {
    const ALL: [Self; 4] = [Self::Topic, Self::Device, Self::Size, Self::Fields];

    /// How it is called in the log and in what is counted.
    pub(super) fn logged(self) -> turned_away::Cause {
        match self {
            Self::Topic => turned_away::Cause::Topic,
            Self::Device => turned_away::Cause::Device,
            Self::Size => turned_away::Cause::Size,
            Self::Fields => turned_away::Cause::Fields,
        }
    }

    /// What MQTT 5 answers in PUBACK or PUBREC; 3.1.1 has no such answer.
    fn reason(self, version: Version) -> u8 {
        match (version, self) {
            (Version::V3, _) | (_, Self::Size) => 0,
            (Version::V5, Self::Topic) => 0x90,
            (Version::V5, Self::Device) => 0x87,
            // Payload format invalid.
            (Version::V5, Self::Fields) => 0x99,
        }
    }
}

/// What one read gave.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// To be committed.
    pub(super) submission: Submission,
    /// The acknowledgements, to be written once it is.
    pub(super) answers: Vec<u8>,
    /// What need not wait: PINGRESP.
    pub(super) at_once: Vec<u8>,
    /// Payload bytes of its records.
    pub(super) payload_bytes: u64,
    /// Publishes refused, by [`Cause`].
    pub(super) refused: [u32; CAUSES],
    /// The first refused of each, for the log.
    examples: [Option<Example>; CAUSES],
    /// Of those refused, the ones whose device is known, by cause and device; at most [`DEVICES`] of them.
    devices: Vec<(Cause, Box<str>, u32)>,
    /// Records that are stored as they came although a rule is for their fields.
    pub(super) untreated: u32,
    /// QoS 2 publishes known already.
    pub(super) repeats: u32,
    /// Publishes that are no longer under way when `answers` has been written (section 4.9).
    pub(super) credits: u32,
}

/// A publish that was refused.
#[derive(Debug)]
struct Example {
    /// Its topic, as far as a log line shows it; `None` if nothing of it was received.
    topic: Option<Box<[u8]>>,
    /// Bytes of its packet.
    size: usize,
    /// What more there is to say.
    what: Option<Box<str>>,
}

impl Round {
    /// Whose publish of this cause is refused: the device's that the topic rule names, as in the record that it would have been.
    fn blame(&mut self, cause: Cause, device: &str) {
        let (device, full) = (cut(device), self.devices.len() >= DEVICES);
        match self.devices.iter_mut().find(|(known, name, _)| *known == cause && **name == *device) {
            Some((.., count)) => *count += 1,
            None if device.is_empty() || full => {}
            None => self.devices.push((cause, device.into(), 1)),
        }
    }

    fn refuse(&mut self, cause: Cause, topic: Option<&[u8]>, size: usize, what: Option<&Refused>) {
        self.refused[cause as usize] += 1;
        self.examples[cause as usize].get_or_insert_with(|| {
            // One byte more than is shown, so that it can be seen that it was cut.
            let topic = topic.map(|topic| topic[..topic.len().min(SHOWN + 1)].into());
            Example { topic, size, what: what.map(|what| what.to_string().into()) }
        });
    }

    /// Logs what was refused; `seen` says by whom.
    pub(super) fn log(&self, log: &TurnedAway, seen: &Seen<'_>) {
        for cause in Cause::ALL {
            if let Some(example) = &self.examples[cause as usize] {
                let (topic, size) = (example.topic.as_deref(), Some(example.size));
                let seen = Seen { topic, size, what: example.what.as_deref(), ..*seen };
                log.tell(cause.logged(), u64::from(self.refused[cause as usize]), &seen);
            }
        }
    }

    /// Makes the refusals part of what is to be committed. Those that name no device are the client's.
    pub(super) fn close(&mut self, client: &str) {
        let mut left = self.refused;
        let mut refuse = |cause: Cause, who: &str, count: u32| {
            let refusal = Refusal { cause: cause.logged().name().to_owned(), who: who.to_owned(), count };
            self.submission.change(Change::Refused(refusal));
        };
        for (cause, device, count) in self.devices.drain(..) {
            left[cause as usize] -= count;
            refuse(cause, &device, count);
        }
        for cause in Cause::ALL {
            if left[cause as usize] > 0 {
                refuse(cause, cut(client), left[cause as usize]);
            }
        }
    }
}

/// Why a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// What is left is the beginning of a packet of so many bytes; 0 if that is not known yet.
    More(usize),
    /// The budget is used up; the next record needs so many bytes.
    Full(usize),
    /// The client said DISCONNECT.
    Leave {
        /// The will is to be stored all the same.
        with_will: bool,
        /// A new session expiry in seconds.
        expiry_s: Option<u32>,
    },
    /// The client broke the protocol.
    Fault(Fault),
    /// The client is not, or no longer, among those that are served.
    Unlisted(Unlisted),
}

/// What the last topic was mapped to, so that a device that publishes on one topic is mapped once.
#[derive(Debug)]
struct Place {
    topic: String,
    device: Range<usize>,
    /// `Err` if publishes on it are refused.
    lane: Result<LaneId, Cause>,
    /// What becomes of their payloads; `None` if they are stored as they come.
    treatment: Option<Arc<Treatment>>,
    /// Whether `topic` is the topic: there is none before the first, and one that is too long is not remembered.
    remembered: bool,
}

/// A packet that is too large and is being read past.
#[derive(Debug, Clone)]
struct Discard {
    total: usize,
    read: usize,
    qos: u8,
    /// Where in the packet its topic begins and ends; the packet identifier follows.
    topic: Range<usize>,
    packet_id: u16,
    /// As much of the topic as a log line shows.
    shown: Vec<u8>,
}

/// What is fixed for a connection once it is accepted.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) version: Version,
    /// The lasting session's number.
    pub(super) session: Option<u64>,
    /// QoS 2 publishes received and not released.
    pub(super) unreleased: PacketIds,
    pub(super) subscribed: bool,
    pub(super) max_packet_size: usize,
    pub(super) receive_maximum: u32,
    /// The session expiry granted; a DISCONNECT may not make it of 0 another.
    pub(super) expiry_s: u32,
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    /// Where it is told which devices were heard.
    pub(super) ear: Ear,
    /// What the client has shown of itself.
    pub(super) identity: Identity,
}

/// The receiving half of a connection's state.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) setup: Setup,
    rules: Arc<Rules>,
    /// Whether `rules` were found to serve this client. What was asked at its CONNECT may have changed since.
    admitted: bool,
    place: Place,
    aliases: Vec<Option<Box<str>>>,
    /// QoS 1 and 2 publishes under way.
    under_way: u32,
    /// Whether the session, as it is kept, has the subscription.
    kept_subscribed: bool,
    discard: Option<Discard>,
}

impl Intake {
    pub(super) fn new(mut setup: Setup) -> Self {
        let rules = setup.rules.borrow_and_update().clone();
        let kept_subscribed = setup.subscribed;
        Self {
            setup,
            rules,
            admitted: false,
            place: Place::new(),
            aliases: Vec::new(),
            under_way: 0,
            kept_subscribed,
            discard: None,
        }
    }

    /// What is to be kept of a lasting session whose client has subscribed or unsubscribed since it was last asked.
    pub(super) fn changed_subscription(&mut self, client_id: &str) -> Option<Change> {
        let subscribed = self.setup.subscribed;
        let id = self.setup.session.filter(|_| subscribed != self.kept_subscribed)?;
        self.kept_subscribed = subscribed;
        Some(record(id, client_id, self.setup.expiry_s, None, subscribed))
    }

    /// The answers of a round have been written.
    pub(super) fn answered(&mut self, credits: u32) {
        self.under_way = self.under_way.saturating_sub(credits);
    }

    /// Takes packets from `input` until it is used up or the round must end; says how many bytes it took.
    ///
    /// `budget` bounds the bytes of records in the round, `stamp` is when they were received.
    pub(super) fn take(&mut self, input: &[u8], budget: usize, stamp: Stamp, round: &mut Round) -> (usize, Step) {
        if self.setup.rules.has_changed().unwrap_or(false) {
            self.rules = self.setup.rules.borrow_and_update().clone();
            self.place.remembered = false;
            self.admitted = false;
        }
        if !self.admitted {
            if let Err(unlisted) = self.rules.admits(&self.setup.identity) {
                return (0, Step::Unlisted(unlisted));
            }
            self.admitted = true;
        }
        let mut at = match self.discard(input, round) {
            Ok(taken) => taken,
            Err(fault) => return (0, Step::Fault(fault)),
        };
        loop {
            let rest = &input[at..];
            let header = match wire::header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return (at, Step::More(0)),
                Err(fault) => return (at, Step::Fault(fault)),
            };
            // For all packets: it is what MQTT 5 was told, and a SUBSCRIBE of many filters is answered, not hung up on.
            if header.total > self.setup.max_packet_size {
                match self.too_large(header, rest, round) {
                    Ok(Some(taken)) => {
                        at += taken;
                        continue;
                    }
                    Ok(None) => return (at, Step::More(0)),
                    Err(fault) => return (at, Step::Fault(fault)),
                }
            }
            let Some(body) = rest.get(header.len..header.total) else { return (at, Step::More(header.total)) };
            match self.packet(header, body, budget, stamp, round) {
                Ok(None) => at += header.total,
                Ok(Some(step @ Step::Full(_))) => return (at, step),
                Ok(Some(step)) => return (at + header.total, step),
                Err(fault) => return (at, Step::Fault(fault)),
            }
        }
    }

    fn packet(
        &mut self,
        header: Header,
        body: &[u8],
        budget: usize,
        stamp: Stamp,
        round: &mut Round,
    ) -> Result<Option<Step>, Fault> {
        let version = self.setup.version;
        match header.kind() {
            kind::PUBLISH => {
                let publish = wire::publish(header.first, body, version)?;
                return self.publish(&publish, header.total, budget, stamp, round);
            }
            kind::PUBREL => self.release(wire::pubrel(body, version)?, round),
            kind::PINGREQ if body.is_empty() => round.at_once.extend_from_slice(&wire::PINGRESP),
            kind::SUBSCRIBE => subscribe(body, version, &mut self.setup.subscribed, &mut round.answers)?,
            kind::UNSUBSCRIBE => unsubscribe(body, version, &mut self.setup.subscribed, &mut round.answers)?,
            kind::DISCONNECT => return self.disconnect(body).map(Some),
            kind::PINGREQ => return Err(malformed("PINGREQ with a body")),
            kind::CONNECT => return Err(protocol("a second CONNECT")),
            _ => return Err(protocol("a packet that a client does not send, or not now")),
        }
        Ok(None)
    }

    fn publish(
        &mut self,
        publish: &Publish<'_>,
        size: usize,
        budget: usize,
        stamp: Stamp,
        round: &mut Round,
    ) -> Result<Option<Step>, Fault> {
        self.locate(publish)?;
        if publish.qos == 2 && self.setup.unreleased.contains(publish.packet_id) {
            // Its record is in this round, in one before it, or committed long ago: the order of answers sees to it
            // that PUBREC follows the commit.
            round.repeats += 1;
            answer(round, 2, publish.packet_id, 0);
            return Ok(None);
        }
        let place = &self.place;
        let lane = match place.lane {
            Ok(lane) => lane,
            Err(cause) => return self.refuse(cause, publish, size, None, round),
        };
        // In a round that is full it is done once more in the next: only what many publishes ask for in few bytes.
        let treated = match &place.treatment {
            None => None,
            Some(treatment) => match treatment.treat(publish.payload) {
                Ok(treated) => Some(treated),
                Err(refused) => return self.refuse(Cause::Fields, publish, size, Some(&refused), round),
            },
        };
        let payload = treated.as_ref().map_or(publish.payload, |treated| &treated.payload);
        let need = RECORD_OVERHEAD + place.topic.len() + place.device.len() + payload.len();
        if round.submission.bytes() + need > budget {
            return Ok(Some(Step::Full(need)));
        }
        self.count(publish.qos)?;
        let mut origin = None;
        if publish.qos == 2 {
            self.setup.unreleased.insert(publish.packet_id);
            origin = self.setup.session.map(|session| Origin { session, packet_id: publish.packet_id });
        }
        let (topic, device) = (&*self.place.topic, &self.place.topic[self.place.device.clone()]);
        let record = NewRecord { device, topic, payload, stamp, origin, will: false };
        round.submission.push(lane, &record);
        self.setup.ear.hears(device, stamp.uptime_ms);
        round.payload_bytes += payload.len() as u64;
        round.untreated += u32::from(treated.is_some_and(|treated| treated.untreated.is_some()));
        round.credits += u32::from(publish.qos == 1);
        answer(round, publish.qos, publish.packet_id, 0);
        Ok(None)
    }

    /// Answers a publish that is refused.
    fn refuse(
        &mut self,
        cause: Cause,
        publish: &Publish<'_>,
        size: usize,
        what: Option<&Refused>,
        round: &mut Round,
    ) -> Result<Option<Step>, Fault> {
        // A topic that is too long is not in `place`, one that an alias stands for is not in the packet.
        let topic = if publish.topic.is_empty() { self.place.topic.as_bytes() } else { publish.topic };
        round.refuse(cause, Some(topic), size, what);
        round.blame(cause, &self.place.topic[self.place.device.clone()]);
        self.count(publish.qos)?;
        round.credits += u32::from(publish.qos > 0);
        answer(round, publish.qos, publish.packet_id, cause.reason(self.setup.version));
        Ok(None)
    }

    /// One more publish is under way; MQTT 5 bounds them (section 4.9).
    fn count(&mut self, qos: u8) -> Result<(), Fault> {
        if qos == 0 {
            return Ok(());
        }
        self.under_way += 1;
        if self.setup.version == Version::V5 && self.under_way > self.setup.receive_maximum {
            let reason = DisconnectReasonCode::ReceiveMaximumExceeded;
            return Err(Fault { reason, what: "more publishes under way than Receive Maximum" });
        }
        Ok(())
    }

    /// Finds out where a publish goes, and leaves it in `self.place`.
    fn locate(&mut self, publish: &Publish<'_>) -> Result<(), Fault> {
        let Some(alias) = publish.alias else { return self.place.find(publish.topic, &self.rules) };
        let invalid = Fault { reason: DisconnectReasonCode::TopicAliasInvalid, what: "a topic alias out of range" };
        if alias == 0 || alias > MAX_ALIASES {
            return Err(invalid);
        }
        let index = usize::from(alias - 1);
        if publish.topic.is_empty() {
            let topic = self.aliases.get(index).and_then(Option::as_deref);
            let topic = topic.ok_or(protocol("a topic alias that stands for nothing"))?;
            return self.place.find(topic.as_bytes(), &self.rules);
        }
        self.place.find(publish.topic, &self.rules)?;
        if self.aliases.len() <= index {
            self.aliases.resize(index + 1, None);
        }
        self.aliases[index] = self.place.remembered.then(|| self.place.topic.as_str().into());
        Ok(())
    }

    fn release(&mut self, packet_id: u16, round: &mut Round) {
        let known = self.setup.unreleased.remove(packet_id);
        if let (true, Some(session)) = (known, self.setup.session) {
            round.submission.change(Change::Release(Origin { session, packet_id }));
        }
        round.credits += u32::from(known);
        // MQTT 5 says of an identifier that is not known: 0x92. A client that repeats a PUBREL after a power cut
        // meets it, and goes on.
        let reason = if known || self.setup.version == Version::V3 { 0 } else { 0x92 };
        wire::acknowledge(&mut round.answers, kind::PUBCOMP, packet_id, reason);
    }

    fn disconnect(&self, body: &[u8]) -> Result<Step, Fault> {
        if self.setup.version == Version::V3 {
            let leave = Step::Leave { with_will: false, expiry_s: None };
            return if body.is_empty() { Ok(leave) } else { Err(malformed("DISCONNECT with a body")) };
        }
        let parsed = v5_0::Disconnect::parse(body).map_err(|error| wire::from_library(error, "DISCONNECT"))?;
        if parsed.1 != body.len() {
            return Err(malformed("DISCONNECT has a wrong length"));
        }
        let properties = parsed.0.props().iter().flat_map(|properties| properties.iter());
        let expiry_s = properties.into_iter().find_map(|property| match property {
            Property::SessionExpiryInterval(value) => Some(value.val()),
            _ => None,
        });
        if self.setup.expiry_s == 0 && expiry_s.is_some_and(|seconds| seconds > 0) {
            return Err(protocol("DISCONNECT makes a session last that did not"));
        }
        // Any reason but 0x00 says that the client did not end as it meant to (section 3.14.2.1, MQTT-3.14.4-3).
        let with_will = parsed.0.reason_code().is_some_and(|code| code != DisconnectReasonCode::NormalDisconnection);
        Ok(Step::Leave { with_will, expiry_s })
    }

    /// A packet is larger than allowed. Says how much of it was taken, `None` if more must be seen of it.
    fn too_large(&mut self, header: Header, rest: &[u8], round: &mut Round) -> Result<Option<usize>, Fault> {
        let fault = Fault { reason: DisconnectReasonCode::PacketTooLarge, what: "a packet that is too large" };
        if header.kind() != kind::PUBLISH {
            return Err(fault);
        }
        let body = &rest[header.len.min(rest.len())..];
        let length = body.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)));
        if self.setup.version == Version::V5 || header.total > MAX_DISCARDED {
            // The connection ends at once: what is not here of the topic by now is not waited for.
            let topic = length.map(|length| &body[2..body.len().min(2 + length)]);
            round.refuse(Cause::Size, topic, header.total, None);
            return Err(fault);
        }
        let Some(length) = length else { return Ok(None) };
        let qos = (header.first >> 1) & 3;
        let topic = header.len + 2..header.len + 2 + length;
        if topic.end + if qos > 0 { 2 } else { 0 } > header.total {
            return Err(malformed("PUBLISH is too short"));
        }
        let discard = Discard { total: header.total, read: 0, qos, topic, packet_id: 0, shown: Vec::new() };
        self.discard = Some(discard);
        self.discard(rest, round).map(Some)
    }

    /// Reads past a packet that is too large; when it is over, it is counted and acknowledged.
    fn discard(&mut self, input: &[u8], round: &mut Round) -> Result<usize, Fault> {
        let Some(mut discard) = self.discard.take() else { return Ok(0) };
        let taken = (discard.total - discard.read).min(input.len());
        discard.see(&input[..taken]);
        if discard.read < discard.total {
            self.discard = Some(discard);
            return Ok(taken);
        }
        if discard.qos > 0 && discard.packet_id == 0 {
            return Err(malformed("packet identifier 0"));
        }
        round.refuse(Cause::Size, Some(&discard.shown), discard.total, None);
        answer(round, discard.qos, discard.packet_id, 0);
        Ok(taken)
    }
}

impl Discard {
    /// Takes of the next bytes what must be known of the packet.
    fn see(&mut self, bytes: &[u8]) {
        let here = self.read..self.read + bytes.len();
        // The part of `bytes` that lies in a range of the packet.
        let part = |range: Range<usize>| {
            let (start, end) = (range.start.max(here.start), range.end.min(here.end));
            if start < end { &bytes[start - here.start..end - here.start] } else { &[] }
        };
        self.shown.extend_from_slice(part(self.topic.start..self.topic.end.min(self.topic.start + SHOWN + 1)));
        if self.qos > 0 {
            for &byte in part(self.topic.end..self.topic.end + 2) {
                self.packet_id = self.packet_id << 8 | u16::from(byte);
            }
        }
        self.read = here.end;
    }
}

/// Adds the acknowledgement of a publish.
fn answer(round: &mut Round, qos: u8, packet_id: u16, reason: u8) {
    match qos {
        1 => wire::acknowledge(&mut round.answers, kind::PUBACK, packet_id, reason),
        2 => wire::acknowledge(&mut round.answers, kind::PUBREC, packet_id, reason),
        _ => {}
    }
}

impl Place {
    fn new() -> Self {
        Self { topic: String::new(), device: 0..0, lane: Err(Cause::Topic), treatment: None, remembered: false }
    }

    fn find(&mut self, topic: &[u8], rules: &Rules) -> Result<(), Fault> {
        if self.remembered && self.topic.as_bytes() == topic {
            return Ok(());
        }
        let name = wire::topic_name(topic)?;
        self.device = 0..0;
        self.topic.clear();
        self.treatment = None;
        self.remembered = name.len() <= MAX_TOPIC;
        if !self.remembered {
            self.lane = Err(Cause::Topic);
            return Ok(());
        }
        self.topic.push_str(name);
        self.lane = match rules.map(&self.topic) {
            None => Err(Cause::Topic),
            Some(mapped) => {
                // The device is a part of the topic, or all of it: that is what the lifetimes of `map` say.
                let start = mapped.device.as_ptr() as usize - self.topic.as_ptr() as usize;
                self.device = start..start + mapped.device.len();
                if rules.allows(mapped.device) { Ok(mapped.lane) } else { Err(Cause::Device) }
            }
        };
        self.treatment = rules.treatment(&self.topic).cloned();
        Ok(())
    }
}
