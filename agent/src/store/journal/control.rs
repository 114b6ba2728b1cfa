//! The control lane's contents: every change of state that must last, and what they add up to.
//!
//! A control frame's body is one byte for its kind and a CBOR value:
//!
//! ```text
//! Snapshot { kind: b'S', ledger: CBOR(Ledger) }          // the first frame of every control segment
//! Entries  { kind: b'E', entries: CBOR([Entry, ...]) }   // what one commit changed, up to 64 a frame
//! ```
//!
//! Lanes stand in entries by their index in the ledger of the snapshot at the head of their segment.

use crate::store::{Change, Origin, SessionRecord};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

const SNAPSHOT: u8 = b'S';
const ENTRIES: u8 = b'E';

/// Damaged ranges remembered per lane, so that a range that is read twice is counted once.
const BAD_RANGES: usize = 256;

/// Unreleased QoS 2 publishes remembered at most: 3 MB of a snapshot, whose frame may have 8 MiB. The listener keeps
/// far below it; beyond it a repeat is stored twice rather than taken for known.
const UNRELEASED: usize = 65_536;

/// One lasting change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// As it was handed in.
    Change(Change),
    /// A QoS 2 publish was released; the place of its record is written down, so that the order between the lanes
    /// does not matter.
    Released { origin: Origin, lane: u8, seq: u64 },
    /// A lane has a new segment; of the records below it these are unreleased.
    Rolled { lane: u8, first: u64, generation: u64, unreleased: Vec<(Origin, u64)> },
    /// Records below this number are to be deleted to make room; so many of them were never delivered.
    Evicted { lane: u8, below: u64, records: u64 },
    /// Records that cannot be read.
    Damaged { lane: u8, from: u64, below: u64 },
    /// Records put aside that were dropped, the oldest first, because the place kept for them is full.
    AsideDropped { records: u64 },
}

/// What the control lane says of one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneLedger {
    pub(super) name: String,
    /// First record that is not acknowledged.
    pub(super) cursor: u64,
    /// First record that was never sent.
    pub(super) sent: u64,
    /// Up to here the unreleased origins are in the ledger; from here on they are looked for in the frames.
    pub(super) accounted: u64,
    /// Generation of the newest segment known of; a lane without it has lost it.
    pub(super) generation: u64,
    pub(super) evicted: u64,
    pub(super) damaged: u64,
    /// Damaged ranges above the cursor that are already counted.
    pub(super) bad: Vec<(u64, u64)>,
}

/// What the control lane adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub(super) epoch: String,
    pub(super) lanes: Vec<LaneLedger>,
    pub(super) sessions: BTreeMap<u64, SessionRecord>,
    pub(super) unreleased: HashMap<Origin, (u8, u64)>,
    pub(super) next_session: u64,
    pub(super) refused: u64,
    pub(super) put_aside: u64,
    pub(super) aside_dropped: u64,
    /// Records put aside that were tried again or dropped by a person.
    #[serde(default)]
    pub(super) aside_settled: u64,
    /// Releases of records above `accounted`: only while the control lane is replayed, when the records are not
    /// known yet.
    #[serde(skip)]
    pub(super) released_ahead: Option<HashSet<(u8, u64)>>,
}

impl LaneLedger {
    /// Records lost to damage among those that wait.
    pub(super) fn bad_waiting(&self, next: u64) -> u64 {
        self.bad.iter().map(|&(from, below)| below.min(next).saturating_sub(from.max(self.cursor))).sum()
    }

    /// Whether a damaged range has been counted before, at least in part.
    pub(super) fn knows(&self, from: u64, below: u64) -> bool {
        self.bad.iter().any(|&(start, end)| start < below && from < end)
    }

    fn pass(&mut self, cursor: u64) {
        self.cursor = self.cursor.max(cursor);
        self.sent = self.sent.max(self.cursor);
        self.bad.retain(|&(_, below)| below > self.cursor);
    }
}

impl Ledger {
    /// Applies a change: the same when it is made and when it is replayed.
    pub(super) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Change(change) => self.apply_change(change),
            Entry::Released { origin, lane, seq } => self.release(*origin, *lane, *seq),
            Entry::Rolled { lane, first, generation, unreleased } => {
                if let Some(known) = self.lanes.get_mut(usize::from(*lane)) {
                    known.accounted = known.accounted.max(*first);
                    known.generation = known.generation.max(*generation);
                    for (origin, seq) in unreleased {
                        self.unreleased.insert(*origin, (*lane, *seq));
                    }
                }
            }
            Entry::Evicted { lane, below, records } => {
                if let Some(lane) = self.lanes.get_mut(usize::from(*lane)) {
                    lane.pass(*below);
                    lane.evicted += records;
                }
            }
            Entry::Damaged { lane, from, below } => {
                if let Some(lane) = self.lanes.get_mut(usize::from(*lane)) {
                    lane.damaged += below.saturating_sub(*from);
                    if lane.bad.len() == BAD_RANGES {
                        lane.bad.remove(0);
                    }
                    lane.bad.push((*from, *below));
                }
            }
            Entry::AsideDropped { records } => self.aside_dropped += records,
        }
    }

    fn apply_change(&mut self, change: &Change) {
        match change {
            Change::Acknowledge { lane, below } => {
                if let Some(lane) = self.lanes.get_mut(lane.index()) {
                    lane.pass(*below);
                }
            }
            Change::Sent { lane, below } => {
                if let Some(lane) = self.lanes.get_mut(lane.index()) {
                    lane.sent = lane.sent.max(*below);
                }
            }
            Change::PutAside { .. } => self.put_aside += 1,
            Change::Unquarantine { .. } => self.aside_settled += 1,
            Change::Session(record) => {
                self.next_session = self.next_session.max(record.id.saturating_add(1));
                self.sessions.insert(record.id, record.clone());
            }
            Change::SessionEnd { id } => {
                self.sessions.remove(id);
                self.unreleased.retain(|origin, _| origin.session != *id);
            }
            Change::Refused(refusal) => self.refused += u64::from(refusal.count),
            // Written as `Released`, with the place of the record.
            Change::Release(_) => {}
        }
    }

    /// Notes that a record with an origin is stored.
    pub(super) fn store(&mut self, origin: Origin, lane: u8, seq: u64) {
        self.next_session = self.next_session.max(origin.session.saturating_add(1));
        if self.unreleased.len() < UNRELEASED || self.unreleased.contains_key(&origin) {
            self.unreleased.insert(origin, (lane, seq));
        }
    }

    fn release(&mut self, origin: Origin, lane: u8, seq: u64) {
        if self.unreleased.get(&origin) == Some(&(lane, seq)) {
            self.unreleased.remove(&origin);
        }
        if let Some(ahead) = &mut self.released_ahead {
            if self.lanes.get(usize::from(lane)).is_some_and(|lane| seq >= lane.accounted) {
                ahead.insert((lane, seq));
            }
        }
    }

    /// What the index is to hold of it.
    pub(super) fn index_contents(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut contents = BTreeMap::new();
        for lane in &self.lanes {
            contents.insert(format!("lane/{}", lane.name).into_bytes(), encode_value(lane));
        }
        for (id, record) in &self.sessions {
            contents.insert([b"session/", &id.to_be_bytes()[..]].concat(), encode_value(record));
        }
        let counters =
            [("refused", self.refused), ("put_aside", self.put_aside), ("aside_dropped", self.aside_dropped)];
        for (name, count) in counters {
            contents.insert(format!("counter/{name}").into_bytes(), encode_value(&count));
        }
        contents
    }

    /// Puts the lanes into another order: `names` first, then those it no longer names.
    pub(super) fn arrange(&mut self, names: &[String]) {
        let mut order: Vec<usize> = Vec::new();
        let mut lanes = Vec::new();
        for name in names {
            let known = self.lanes.iter().position(|lane| lane.name == *name);
            order.push(known.unwrap_or(usize::MAX));
            let fresh = || LaneLedger { name: name.clone(), ..LaneLedger::default() };
            lanes.push(known.map_or_else(fresh, |index| self.lanes[index].clone()));
        }
        let place = |old: u8| order.iter().position(|&index| index == usize::from(old)).map(|index| index as u8);
        self.unreleased = std::mem::take(&mut self.unreleased)
            .into_iter()
            .filter_map(|(origin, (lane, seq))| Some((origin, (place(lane)?, seq))))
            .collect();
        if let Some(ahead) = &mut self.released_ahead {
            *ahead = ahead.drain().filter_map(|(lane, seq)| Some((place(lane)?, seq))).collect();
        }
        self.lanes = lanes;
    }
}

/// A value as the index keeps it.
pub(super) fn encode_value<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("the value holds nothing that CBOR cannot, and a Vec takes all");
    bytes
}

/// A snapshot's body.
pub(super) fn encode_snapshot(ledger: &Ledger, body: &mut Vec<u8>) {
    body.clear();
    body.push(SNAPSHOT);
    ciborium::into_writer(ledger, body).expect("a ledger has no value that CBOR cannot hold, and a Vec takes all");
}

/// The body of one commit's entries.
pub(super) fn encode_entries(entries: &[&Entry], body: &mut Vec<u8>) {
    body.clear();
    body.push(ENTRIES);
    ciborium::into_writer(entries, body).expect("an entry has no value that CBOR cannot hold, and a Vec takes all");
}

/// A control frame's body, taken apart.
#[derive(Debug)]
pub(super) enum Decoded {
    Snapshot(Box<Ledger>),
    Entries(Vec<Entry>),
}

/// Takes a control frame's body apart; `None` if it is not one, which a later version's may be.
pub(super) fn decode(body: &[u8]) -> Option<Decoded> {
    match body.split_first()? {
        (&SNAPSHOT, rest) => ciborium::from_reader(rest).ok().map(Box::new).map(Decoded::Snapshot),
        (&ENTRIES, rest) => ciborium::from_reader(rest).ok().map(Decoded::Entries),
        _ => None,
    }
}
