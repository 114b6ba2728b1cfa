//! The control lane's contents: every change of state that must last, and what they add up to.
//!
//! A control frame's body is one byte for its kind and a CBOR value:
//!
//! ```text
//! Snapshot { kind: b'S', ledger: CBOR(Ledger) }          // the first frame of every control segment
//! Entries  { kind: b'E', entries: CBOR([Entry, ...]) }   // what one commit changed, up to 64 a frame
//! ```
//!
//! A later version may add fields, entries and kinds that this one may pass over; it does, and says so. What it must not
//! pass over raises the format (see `version`).
//!
//! Lanes stand in entries by their index in the ledger of the snapshot at the head of their segment.

use super::clocks::Clocks;
use super::gaps::{Gap, Gaps, Key, Span, Uptime};
use super::hardware::Hardware;
use crate::store::{BudgetUse, Change, Kept, Origin, Ranges, SessionRecord};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, HashMap, HashSet};
use tidegate_protocol::gap::Cause;

const SNAPSHOT: u8 = b'S';
const ENTRIES: u8 = b'E';

/// Damaged ranges remembered per lane, so that a range that is read twice is counted once.
const BAD_RANGES: usize = 256;

/// Unreleased QoS 2 publishes remembered at most: 3 MB of a snapshot, whose frame may have 8 MiB. The listener keeps
/// far below it; beyond it a repeat is stored twice rather than taken for known.
const UNRELEASED: usize = 65_536;

/// Budgets remembered at most: there are five kinds, and later versions may have more.
const BUDGETS: usize = 32;

/// Longest name of a budget, in bytes.
const BUDGET_NAME: usize = 64;

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
    /// These records are to be deleted to make room; so many of them were never delivered.
    Evicted { lane: u8, from: u64, below: u64, records: u64, gaps: Vec<Gap> },
    /// These records have become too old; so many of them were never delivered.
    Expired { lane: u8, from: u64, below: u64, records: u64, gaps: Vec<Gap> },
    /// Records that cannot be read, and the epoch of their ids.
    Damaged { lane: u8, from: u64, below: u64, epoch: Option<String> },
    /// A change by which something is gone, and what is to be told of it.
    Gone { change: Change, gaps: Vec<Gap> },
    /// A record of a lane tells what was pending of a key.
    GapTold { key: Key, lane: u8, seq: u64, at: Uptime },
    /// In this boot the wall clock is, or was, so many ms ahead of the uptime.
    Clock { boot: u32, offset_ms: i64 },
    /// Records put aside that were dropped, the oldest first, because the place kept for them is full.
    AsideDropped { records: u64 },
}

/// What the control lane says of one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneLedger {
    pub(super) name: String,
    /// Records that are not acknowledged.
    pub(super) waiting: Ranges,
    /// Records that were never sent.
    pub(super) unsent: Ranges,
    /// Up to here the unreleased origins are in the ledger; from here on they are looked for in the frames.
    pub(super) accounted: u64,
    /// Generation of the newest segment known of; a lane without it has lost it.
    pub(super) generation: u64,
    /// Up to here it has been accounted for, with a new epoch, that the lane ends before what was known of it.
    pub(super) lost: u64,
    pub(super) evicted: u64,
    pub(super) damaged: u64,
    #[serde(default)]
    pub(super) expired: u64,
    /// Records that may become too old: all but those that a person wanted again, until they are delivered.
    #[serde(default)]
    pub(super) ageing: Ranges,
    /// The age limit that was in force last, in ms. One that is new or shorter holds for what is stored from then on.
    #[serde(default)]
    pub(super) max_age_ms: Option<u64>,
    /// Damaged ranges that wait and are already counted.
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
    /// When the last boots were, as far as a right clock told.
    pub(super) clocks: Clocks,
    /// What a flow may not know of yet.
    #[serde(default)]
    pub(super) gaps: Gaps,
    /// What of budgets was used, by their names.
    #[serde(default)]
    pub(super) budgets: BTreeMap<String, BudgetUse>,
    /// What other rooms keep, by their names.
    #[serde(default)]
    pub(super) kept: BTreeMap<String, ByteBuf>,
    /// On which hardware it was written last.
    pub(super) hardware: Hardware,
    /// Releases of records above `accounted`: only while the control lane is replayed, when the records are not
    /// known yet.
    #[serde(skip)]
    pub(super) released_ahead: Option<HashSet<(u8, u64)>>,
}

impl Entry {
    /// Whether it changes what waits, and is not what the forwarder itself did.
    pub(super) fn changes_waiting(&self) -> bool {
        matches!(self, Entry::Evicted { .. } | Entry::Expired { .. } | Entry::Change(Change::Replay { .. }))
    }
}

impl LaneLedger {
    /// The first record that is not acknowledged.
    pub(super) fn cursor(&self) -> u64 {
        self.waiting.first()
    }

    /// Below this number records were certainly given away: stored, sent or acknowledged.
    pub(super) fn evidence(&self) -> u64 {
        self.waiting.open_from().max(self.unsent.open_from()).max(self.accounted)
    }

    /// The first records that wait and may become too old, as a range.
    pub(super) fn first_ageing(&self) -> (u64, u64) {
        let mut from = self.waiting.first();
        while !self.ageing.contains(from) {
            from = self.waiting.next_from(self.ageing.next_from(from));
        }
        (from, self.ageing.end_of(from))
    }

    /// Records of `[from, below)` that wait and can be read, as far as is known.
    pub(super) fn readable(&self, from: u64, below: u64) -> u64 {
        let lost = |range: &(u64, u64)| self.waiting.count(range.0.max(from), range.1.min(below));
        self.waiting.count(from, below).saturating_sub(self.bad.iter().map(lost).sum())
    }

    /// Whether a damaged range has been counted before, at least in part.
    pub(super) fn knows(&self, from: u64, below: u64) -> bool {
        self.bad.iter().any(|&(start, end)| start < below && from < end)
    }

    /// These no longer wait.
    fn settle(&mut self, from: u64, below: u64) {
        self.waiting.remove(from, below);
        self.unsent.remove(from, below);
        self.ageing.insert(from, below);
        let waiting = &self.waiting;
        self.bad.retain(|&(from, below)| waiting.touches(from, below));
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
            Entry::Evicted { lane, from, below, records, gaps } => {
                if let Some(lane) = self.part(*lane, *from, *below, gaps) {
                    lane.evicted = lane.evicted.saturating_add(*records);
                }
            }
            Entry::Expired { lane, from, below, records, gaps } => {
                if let Some(lane) = self.part(*lane, *from, *below, gaps) {
                    lane.expired = lane.expired.saturating_add(*records);
                }
            }
            Entry::Damaged { lane, from, below, epoch } => self.damage(*lane, *from, *below, epoch.as_ref()),
            Entry::Gone { change, gaps } => {
                self.apply_change(change);
                for gap in gaps {
                    self.gaps.add(gap);
                }
            }
            Entry::GapTold { key, lane, seq, at } => {
                self.gaps.tell(key, *lane, *seq, *at);
            }
            Entry::AsideDropped { records } => self.aside_dropped = self.aside_dropped.saturating_add(*records),
            Entry::Clock { boot, offset_ms } => self.clocks.note(*boot, *offset_ms),
        }
    }

    fn apply_change(&mut self, change: &Change) {
        match change {
            Change::Acknowledge { lane, from, below } => {
                self.gaps.deliver(lane.0, *from, *below);
                if let Some(lane) = self.lanes.get_mut(lane.index()) {
                    lane.settle(*from, *below);
                }
            }
            Change::Sent { lane, from, below } => {
                if let Some(lane) = self.lanes.get_mut(lane.index()) {
                    lane.unsent.remove(*from, *below);
                }
            }
            Change::Replay { lane, from, below } => {
                if let Some(lane) = self.lanes.get_mut(lane.index()) {
                    lane.waiting.insert(*from, *below);
                    lane.ageing.remove(*from, *below);
                }
            }
            Change::PutAside { .. } => self.put_aside = self.put_aside.saturating_add(1),
            Change::Unquarantine { .. } => self.aside_settled = self.aside_settled.saturating_add(1),
            Change::Session(record) => {
                self.next_session = self.next_session.max(record.id.saturating_add(1));
                self.sessions.insert(record.id, record.clone());
            }
            Change::SessionEnd { id } => {
                self.sessions.remove(id);
                self.unreleased.retain(|origin, _| origin.session != *id);
            }
            Change::Refused(refusal) => self.refused = self.refused.saturating_add(u64::from(refusal.count)),
            Change::Budget(used) => {
                let known = self.budgets.contains_key(&used.kind);
                if used.kind.len() <= BUDGET_NAME && (known || self.budgets.len() < BUDGETS) {
                    self.budgets.insert(used.kind.clone(), used.clone());
                }
            }
            Change::Kept(kept) if kept.value.is_empty() => {
                self.kept.remove(&kept.name);
            }
            Change::Kept(kept) => {
                if self.has_room_for(kept) {
                    self.kept.insert(kept.name.clone(), ByteBuf::from(kept.value.clone()));
                }
            }
            // Written as `Released`, with the place of the record.
            Change::Release(_) => {}
        }
    }

    /// Whether this can be kept.
    pub(super) fn has_room_for(&self, kept: &Kept) -> bool {
        kept.fits() && (self.kept.contains_key(&kept.name) || self.kept.len() < Kept::MAX_NAMES)
    }

    /// Records go undelivered: they no longer wait, and a flow is to be told.
    fn part(&mut self, lane: u8, from: u64, below: u64, gaps: &[Gap]) -> Option<&mut LaneLedger> {
        let known = self.lanes.get_mut(usize::from(lane))?;
        self.gaps.lose(lane, from, below, &known.unsent);
        for gap in gaps {
            self.gaps.add(gap);
        }
        known.settle(from, below);
        Some(known)
    }

    /// Records that wait cannot be read: they are counted, and a flow is to be told.
    fn damage(&mut self, lane: u8, from: u64, below: u64, epoch: Option<&String>) {
        let Some(known) = self.lanes.get_mut(usize::from(lane)) else { return };
        known.damaged = known.damaged.saturating_add(below.saturating_sub(from));
        if known.bad.len() == BAD_RANGES {
            known.bad.remove(0);
        }
        known.bad.push((from, below));
        let sent = below.saturating_sub(from).saturating_sub(known.unsent.count(from, below));
        let sent = sent.saturating_sub(self.gaps.perhaps_sent(lane, from, below, &known.unsent));
        let told = self.gaps.lose(lane, from, below, &known.unsent);
        let seqs = below.checked_sub(1).map(|last| (from, last));
        let count = below.saturating_sub(from).saturating_sub(told);
        let span = Span { seqs, count, perhaps_delivered: sent.min(count), ..Span::default() };
        let (lane, epoch) = (Some(known.name.clone()), epoch.cloned());
        self.gaps.add(&Gap { key: Key { cause: Cause::Damaged, reason: None, lane, device: None, epoch }, span });
    }

    /// Notes that a record with an origin is stored. On a full disk the end of its session may have gone ahead of it:
    /// then nobody comes back for it.
    pub(super) fn store(&mut self, origin: Origin, lane: u8, seq: u64) {
        self.next_session = self.next_session.max(origin.session.saturating_add(1));
        if !self.sessions.contains_key(&origin.session) {
            return;
        }
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
        for (name, used) in &self.budgets {
            contents.insert(format!("budget/{name}").into_bytes(), encode_value(used));
        }
        for (name, value) in &self.kept {
            contents.insert(format!("kept/{name}").into_bytes(), value.to_vec());
        }
        let counters =
            [("refused", self.refused), ("put_aside", self.put_aside), ("aside_dropped", self.aside_dropped)];
        for (name, count) in counters {
            contents.insert(format!("counter/{name}").into_bytes(), encode_value(&count));
        }
        contents
    }

    /// Notes up to where each lane's unreleased origins are in the ledger; says what it was before.
    pub(super) fn account(&mut self, accounted: impl Iterator<Item = u64>) -> Vec<u64> {
        let lanes = self.lanes.iter_mut().zip(accounted);
        lanes.map(|(lane, accounted)| std::mem::replace(&mut lane.accounted, accounted)).collect()
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
        self.gaps.arrange(place);
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
    /// Those that this version knows, and how many others there are.
    Entries(Vec<Entry>, usize),
    /// Of another kind: a later version's.
    Unknown,
}

/// Takes a control frame's body apart; `None` if it is not one. What a later version adds without raising the format is
/// passed over (see `version`).
pub(super) fn decode(body: &[u8]) -> Option<Decoded> {
    match body.split_first()? {
        (&SNAPSHOT, rest) => ciborium::from_reader(rest).ok().map(Box::new).map(Decoded::Snapshot),
        (&ENTRIES, rest) => match ciborium::from_reader(rest) {
            Ok(entries) => Some(Decoded::Entries(entries, 0)),
            Err(_) => known_of(rest),
        },
        _ => Some(Decoded::Unknown),
    }
}

/// The entries that this version knows among others; `None` if they are no entries at all.
fn known_of(entries: &[u8]) -> Option<Decoded> {
    let all: Vec<ciborium::Value> = ciborium::from_reader(entries).ok()?;
    let count = all.len();
    let known: Vec<Entry> = all.into_iter().filter_map(|entry| entry.deserialized().ok()).collect();
    let unknown = count - known.len();
    Some(Decoded::Entries(known, unknown))
}
