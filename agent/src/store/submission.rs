//! What the other rooms hand to the store: records and changes of state, to be committed together.
//!
//! A record is encoded into the submission's one buffer at once, on the caller's side: the writer thread then only
//! numbers it, sums it and writes it. The body of a data frame is:
//!
//! ```text
//! Body {
//!     flags:      u8        // bit 0: an Origin follows; 1: a last will; 2: the clock was right; 3: a gap; others 0
//!     wall_ms:    u64 LE    // received, ms since the Unix epoch by the gateway's clock
//!     boot:       u32 LE    // which boot that was
//!     uptime_ms:  [u8; 6]   // LE; ms since that boot
//!     session:    u64 LE    // only with bit 0
//!     packet_id:  u16 LE    // only with bit 0
//!     device_len: u16 LE
//!     topic_len:  u16 LE
//!     device:     [u8; device_len]   // UTF-8
//!     topic:      [u8; topic_len]    // UTF-8
//!     payload:    [u8]               // the rest
//! }
//! ```

use crate::clock::Stamp;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tidegate_protocol::LaneId;
use tokio::sync::oneshot;

const HAS_ORIGIN: u8 = 1;
const IS_WILL: u8 = 2;
const IS_TRUSTED: u8 = 4;
const IS_GAP: u8 = 8;

/// Where the stamp ends and an origin, if there is one, begins.
const STAMP_END: usize = 19;

/// Bytes that a record takes in a submission besides its texts and payload, at most: flags and stamp, an origin, the
/// two lengths.
pub const RECORD_OVERHEAD: usize = STAMP_END + 10 + 4;

/// Where a QoS 2 publish of a lasting session came from: what makes a repeat of it known again after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The session's number ([`SessionRecord::id`]); it stands for the client.
    pub session: u64,
    /// The MQTT packet identifier.
    pub packet_id: u16,
}

/// A record that is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The device as the topic rule named it, at most 65,535 bytes.
    pub device: &'a str,
    /// The topic it was published on, at most 65,535 bytes.
    pub topic: &'a str,
    /// The payload, byte for byte.
    pub payload: &'a [u8],
    /// When it was received.
    pub stamp: Stamp,
    /// Only for QoS 2 of a lasting session.
    pub origin: Option<Origin>,
    /// It is a last will.
    pub will: bool,
}

/// A lasting MQTT session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Unique within the store; never used twice.
    pub id: u64,
    /// The MQTT client identifier.
    pub client_id: String,
    /// Seconds it lasts after its connection ends; `u32::MAX` is as long as the configured limit.
    pub expiry_s: u32,
    /// Since when it has had no connection (ms since the Unix epoch); `None` while connected.
    pub disconnected_ms: Option<u64>,
    /// Whether the client has subscribed to `tidegate/alarm`: a session that lasts keeps its subscription.
    #[serde(default)]
    pub subscribed: bool,
}

/// Publishes that were refused for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `topic`, `device`, `size` or `fields`.
    pub cause: String,
    /// The device that the topic rule names, else the client; cut to 128 bytes.
    pub who: String,
    /// How many.
    pub count: u32,
}

/// What of a budget was used, in absolute numbers: applied twice it is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUse {
    /// Whose it is: the key of its limit, such as `events_per_month`, at most 64 bytes.
    pub kind: String,
    /// The period that it is about, in the budget's own count; `None` if that was never known.
    pub period: Option<u64>,
    /// What was used in it, in the budget's unit.
    pub used: u64,
    /// What of it was used by lanes that go first.
    pub first: u64,
    /// The provider said that it is spent.
    pub told: bool,
}

/// Something small that another room keeps over restarts and power cuts, under a name of its own. The store does not look
/// into it. All that is kept stands in the snapshot at the head of each control segment: hence the bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name, 1 to [`Kept::MAX_NAME`] bytes.
    pub name: String,
    /// What it is from now on, at most [`Kept::MAX_VALUE`] bytes; empty: it is no longer kept.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl Kept {
    /// Names at most. With values of their full size half a MiB of a snapshot, whose frame may have 8 MiB.
    pub const MAX_NAMES: usize = 32;

    /// Bytes of a name at most.
    pub const MAX_NAME: usize = 64;

    /// Bytes of a value at most: several times what a terms document or the state of a machine comes to.
    pub const MAX_VALUE: usize = 16 * 1024;

    /// Whether name and value are within their bounds.
    pub fn fits(&self) -> bool {
        (1..=Self::MAX_NAME).contains(&self.name.len()) && self.value.len() <= Self::MAX_VALUE
    }
}

/// A change of state that must last: a record of the control lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Change {
    /// These records of the lane were accepted by Flux or put aside.
    Acknowledge {
        /// The lane's index.
        #[serde(with = "lane_index")]
        lane: LaneId,
        /// The first of them.
        from: u64,
        /// First sequence number behind them.
        below: u64,
    },
    /// These records of the lane may have been sent: they are `replayed` when sent again.
    Sent {
        /// The lane's index.
        #[serde(with = "lane_index")]
        lane: LaneId,
        /// The first of them.
        from: u64,
        /// First sequence number behind them.
        below: u64,
    },
    /// These records of the lane are to be delivered again, as far as they are still kept.
    Replay {
        /// The lane's index.
        #[serde(with = "lane_index")]
        lane: LaneId,
        /// The first of them.
        from: u64,
        /// First sequence number behind them.
        below: u64,
    },
    /// The record is kept aside with a reason; an [`Change::Acknowledge`] that passes it follows or comes with it.
    PutAside {
        /// The lane's index.
        #[serde(with = "lane_index")]
        lane: LaneId,
        /// Its sequence number.
        seq: u64,
        /// What the endpoint said of it, at most 512 bytes.
        reason: String,
    },
    /// A record that was put aside is settled: lists leave it out.
    Unquarantine {
        /// Its number among what was put aside.
        number: u64,
        /// It is tried again, by a [`Change::Replay`] or as a new record that comes with this; otherwise dropped.
        retried: bool,
    },
    /// A session is new or has changed.
    Session(SessionRecord),
    /// A session has ended; what it had unreleased is forgotten.
    SessionEnd {
        /// Its number.
        id: u64,
    },
    /// The client released a QoS 2 publish (PUBREL).
    Release(Origin),
    /// Publishes were refused.
    Refused(Refusal),
    /// So much of a budget was used; it replaces what was said of it before.
    Budget(BudgetUse),
    /// This is kept under its name instead of what was before. What does not [fit](Kept::fits), and a name beyond
    /// [`Kept::MAX_NAMES`], is not kept: it is logged, and what was kept before stays.
    Kept(Kept),
}

mod lane_index {
    use serde::{Deserialize, Deserializer, Serializer};
    use tidegate_protocol::LaneId;

    // serde hands a reference to whatever type the field has.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(lane: &LaneId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(lane.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LaneId, D::Error> {
        u8::deserialize(deserializer).map(LaneId)
    }
}

/// The answer to a submission: all of it is on flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {}

/// Records and changes that are committed together.
#[derive(Debug, Default)]
pub struct Submission {
    buffer: Vec<u8>,
    /// Lane and end of each record's body within `buffer`.
    bodies: Vec<(LaneId, u32)>,
    /// How many records stood before it, and the change: a release and a publish that uses its packet id again
    /// may come in one submission, and their order decides which of them is released.
    changes: Vec<(u32, Change)>,
    done: Option<oneshot::Sender<Committed>>,
    source: u32,
    /// When it was handed to the store.
    at: Option<Instant>,
    /// Its place among all that were handed in.
    ticket: u64,
}

impl Submission {
    /// The source of what the agent itself has to say: it never waits for company.
    pub const URGENT: u32 = 0;

    /// A source that stands for many devices, as a broker does: it gathers though it is alone.
    pub const MANY: u32 = u32::MAX;

    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record. A device or topic over 65,535 bytes cannot come from MQTT and is cut at a character.
    pub fn push(&mut self, lane: LaneId, record: &NewRecord<'_>) {
        let mut flags = 0;
        if record.origin.is_some() {
            flags |= HAS_ORIGIN;
        }
        if record.will {
            flags |= IS_WILL;
        }
        encode(&mut self.buffer, flags, record);
        let buffer = &self.buffer;
        self.bodies.push((lane, buffer.len() as u32));
    }

    /// Adds a change of state.
    pub fn change(&mut self, change: Change) {
        self.changes.push((self.bodies.len() as u32, change));
    }

    /// Says on whose behalf it is: a number of the connection's own between [`Submission::URGENT`], which it is unless
    /// this is called, and [`Submission::MANY`]. How long a commit waits for company depends on who has submitted.
    pub fn set_source(&mut self, source: u32) {
        self.source = source;
    }

    /// Asks for an answer once everything in it is on flash.
    pub fn on_commit(&mut self) -> oneshot::Receiver<Committed> {
        let (sender, receiver) = oneshot::channel();
        self.done = Some(sender);
        receiver
    }

    /// Records in it.
    pub fn records(&self) -> usize {
        self.bodies.len()
    }

    /// Bytes of records in it.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty() && self.changes.is_empty()
    }

    pub(super) fn source(&self) -> u32 {
        self.source
    }

    /// It is handed to the store, as the `ticket`th.
    pub(super) fn hand_in(&mut self, now: Instant, ticket: u64) {
        self.at = Some(now);
        self.ticket = ticket;
    }

    /// Its place among all that were handed in; no two share one.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// When it was handed to the store; `None` before.
    pub(super) fn handed_in(&self) -> Option<Instant> {
        self.at
    }

    /// The records' lanes and bodies.
    pub(super) fn bodies(&self) -> impl Iterator<Item = (LaneId, &[u8])> {
        let mut start = 0;
        self.bodies.iter().map(move |&(lane, end)| {
            let body = &self.buffer[start as usize..end as usize];
            start = end;
            (lane, body)
        })
    }

    /// The changes, each with the number of records before it.
    pub(crate) fn changes(&self) -> &[(u32, Change)] {
        &self.changes
    }

    /// Whether the change releases a publish that is in here too. Ahead of its record there would be nothing to
    /// release yet, and once that is stored it would stay unreleased for ever: so such a release stays with it.
    pub(super) fn releases_own(&self, change: &Change) -> bool {
        let Change::Release(released) = change else { return false };
        self.bodies().any(|(_, body)| origin(body).as_ref() == Some(released))
    }

    /// Forgets the changes, once they are committed ahead of the records.
    pub(super) fn forget_changes(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.retain(|(_, change)| self.releases_own(change));
        self.changes = changes;
    }

    /// Answers whoever waits.
    pub(super) fn answer(self) {
        if let Some(done) = self.done {
            // Who no longer waits has lost its connection; the records are stored all the same.
            let _ = done.send(Committed {});
        }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Appends a record's body; `flags` but for the clock's.
fn encode(buffer: &mut Vec<u8>, flags: u8, record: &NewRecord<'_>) {
    let (device, topic) = (cut(record.device), cut(record.topic));
    let trusted = if record.stamp.trusted { IS_TRUSTED } else { 0 };
    buffer.reserve(RECORD_OVERHEAD + device.len() + topic.len() + record.payload.len());
    buffer.push(flags | trusted);
    buffer.extend_from_slice(&record.stamp.wall_ms.to_le_bytes());
    buffer.extend_from_slice(&record.stamp.boot.to_le_bytes());
    buffer.extend_from_slice(&record.stamp.uptime_ms.to_le_bytes()[..6]);
    if let Some(origin) = record.origin {
        buffer.extend_from_slice(&origin.session.to_le_bytes());
        buffer.extend_from_slice(&origin.packet_id.to_le_bytes());
    }
    buffer.extend_from_slice(&(device.len() as u16).to_le_bytes());
    buffer.extend_from_slice(&(topic.len() as u16).to_le_bytes());
    buffer.extend_from_slice(device.as_bytes());
    buffer.extend_from_slice(topic.as_bytes());
    buffer.extend_from_slice(record.payload);
}

/// Makes the body of a gap record.
pub(super) fn encode_gap(body: &mut Vec<u8>, stamp: &Stamp, device: &str, topic: &str, payload: &[u8]) {
    body.clear();
    let record = NewRecord { device, topic, payload, stamp: *stamp, origin: None, will: false };
    encode(body, IS_GAP, &record);
}

/// Whether a record's body tells of records that are gone.
pub(super) fn is_gap(body: &[u8]) -> bool {
    body.first().is_some_and(|flags| flags & IS_GAP != 0)
}

/// A record's body, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body<'a> {
    pub(super) stamp: Stamp,
    pub(super) origin: Option<Origin>,
    pub(super) will: bool,
    /// It tells of records that are gone.
    pub(super) gap: bool,
    pub(super) device: &'a str,
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
}

/// The origin of a record's body, if it has one.
pub(super) fn origin(body: &[u8]) -> Option<Origin> {
    if body.first()? & HAS_ORIGIN == 0 {
        return None;
    }
    let session = body.get(STAMP_END..STAMP_END + 8)?.first_chunk::<8>()?;
    let packet_id = body.get(STAMP_END + 8..STAMP_END + 10)?.first_chunk::<2>()?;
    Some(Origin { session: u64::from_le_bytes(*session), packet_id: u16::from_le_bytes(*packet_id) })
}

/// When a record's body was received.
pub(super) fn stamp(body: &[u8]) -> Option<Stamp> {
    let (&flags, rest) = body.split_first()?;
    let (wall_ms, rest) = rest.split_first_chunk::<8>()?;
    let (boot, rest) = rest.split_first_chunk::<4>()?;
    let [u0, u1, u2, u3, u4, u5] = *rest.first_chunk::<6>()?;
    Some(Stamp {
        wall_ms: u64::from_le_bytes(*wall_ms),
        uptime_ms: u64::from_le_bytes([u0, u1, u2, u3, u4, u5, 0, 0]),
        boot: u32::from_le_bytes(*boot),
        trusted: flags & IS_TRUSTED != 0,
    })
}

/// Takes a record's body apart; `None` if it is not one.
pub(super) fn decode(body: &[u8]) -> Option<Body<'_>> {
    let stamp = stamp(body)?;
    let (&flags, mut rest) = (body.first()?, body.get(STAMP_END..)?);
    let mut origin = None;
    if flags & HAS_ORIGIN != 0 {
        let (session, after) = rest.split_first_chunk::<8>()?;
        let (packet_id, after) = after.split_first_chunk::<2>()?;
        origin = Some(Origin { session: u64::from_le_bytes(*session), packet_id: u16::from_le_bytes(*packet_id) });
        rest = after;
    }
    let (device_len, rest) = rest.split_first_chunk::<2>()?;
    let (topic_len, rest) = rest.split_first_chunk::<2>()?;
    let (device, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*device_len)))?;
    let (topic, payload) = rest.split_at_checked(usize::from(u16::from_le_bytes(*topic_len)))?;
    Some(Body {
        stamp,
        origin,
        will: flags & IS_WILL != 0,
        gap: flags & IS_GAP != 0,
        device: std::str::from_utf8(device).ok()?,
        topic: std::str::from_utf8(topic).ok()?,
        payload,
    })
}
