//! Gaps: what is remembered of records that are gone until a flow has been told.
//!
//! # Constraints
//! - What goes undelivered is in the ledger in the same control frame that lets it go, and so on flash before the data
//!   is removed.
//! - A flow is told at most once a minute of each [`Key`], by a record in the first lane; and no further one of a key is
//!   made while the last still waits there. So an outage of weeks costs one record a key.
//! - Bounded: [`KEYS`] keys, [`REFUSED_KEYS`] of them for refusals, whose names are chosen by outsiders. What is beyond
//!   is told together, first without its device, then without its epoch, at last without its lane.
//! - A gap record is no record that could be missed: it never makes another gap. Lost before it was delivered, its
//!   content is told again with what has come since. Told twice rather than never; `perhaps_told` says so.
//!
//! # How it works
//! ```text
//!             add                    told, with a number in lane 0       acknowledged
//!   nothing ───────► pending ─────────────────────────────────► told ─────────────────► forgotten
//!                       ▲  add: merged      lost: merged with what has come since │
//!                       └─────────────────────────────────────────────────────────┘
//! ```
//! Everything here is pure, and the same when entries are replayed: times come with the entries.
//!
//! - [`census`] looks through records that are to go, and tells them apart by device.
//! - [`tell`] makes the records.

pub(super) mod census;
pub(super) mod tell;
#[cfg(test)]
mod tests;

use crate::clock::Stamp;
use crate::store::Ranges;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_protocol::gap::Cause;

/// Keys at most: with the longest names 100 KiB of a snapshot.
pub(super) const KEYS: usize = 256;
/// From so many keys on no further device is told apart, from so many no further epoch, from so many no further lane:
/// each step leaves room for those after it, the last for one key a cause.
const STEPS: [usize; 3] = [KEYS - 64, KEYS - 32, KEYS - 8];

/// Devices that were refused, told apart at most.
pub(super) const REFUSED_KEYS: usize = 32;

/// Time between two records of one key: a minute is often enough for whoever looks at a dashboard, and 256 keys a
/// minute are 2 KB/s at the most.
const BETWEEN_MS: u64 = 60_000;

/// What is told together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) cause: Cause,
    /// Why, of a refusal.
    pub(super) reason: Option<String>,
    /// The lane's name: it outlasts another order of lanes.
    pub(super) lane: Option<String>,
    pub(super) device: Option<String>,
    pub(super) epoch: Option<String>,
}

/// What is gone of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    /// Lowest and highest number.
    pub(super) seqs: Option<(u64, u64)>,
    /// When the first and the last were received.
    pub(super) times: Option<(Stamp, Stamp)>,
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) perhaps_delivered: u64,
    pub(super) perhaps_told: u64,
}

/// Records that go, as an entry notes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    pub(super) key: Key,
    pub(super) span: Span,
}

/// A moment by the uptime: `(boot, ms)`.
pub(super) type Uptime = (u32, u64);

/// A record that tells, and waits in its lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    lane: u8,
    seq: u64,
    span: Span,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    pending: Option<Span>,
    told: Option<Told>,
    /// When a record was made last.
    told_at: Option<Uptime>,
}

/// All gaps that a flow may not know of yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gaps {
    known: BTreeMap<Key, Known>,
    /// Gap records made since the store was created.
    pub(super) made: u64,
}

impl Span {
    /// Takes in what went later.
    pub(super) fn merge(&mut self, other: &Span) {
        let earlier = matches!((self.seqs, other.seqs), (Some(own), Some(others)) if others.0 < own.0);
        let later = !matches!((self.seqs, other.seqs), (Some(own), Some(others)) if others.1 < own.1);
        self.times = match (self.times, other.times) {
            (Some(own), Some(others)) => {
                Some((if earlier { others.0 } else { own.0 }, if later { others.1 } else { own.1 }))
            }
            (own, others) => own.or(others),
        };
        self.seqs = match (self.seqs, other.seqs) {
            (Some(own), Some(others)) => Some((own.0.min(others.0), own.1.max(others.1))),
            (own, others) => own.or(others),
        };
        self.count += other.count;
        self.bytes += other.bytes;
        self.perhaps_delivered += other.perhaps_delivered;
        self.perhaps_told += other.perhaps_told;
    }
}

impl Known {
    fn is_settled(&self) -> bool {
        self.pending.is_none() && self.told.is_none()
    }

    fn add(&mut self, span: &Span) {
        match &mut self.pending {
            Some(pending) => pending.merge(span),
            None => self.pending = Some(span.clone()),
        }
    }

    /// Whether a record may be made of it: in how many ms at the latest, 0 being now.
    fn wait_ms(&self, (boot, uptime_ms): Uptime) -> Option<u64> {
        if self.pending.is_none() || self.told.is_some() {
            return None;
        }
        Some(self.told_at.filter(|at| at.0 == boot).map_or(0, |at| (at.1 + BETWEEN_MS).saturating_sub(uptime_ms)))
    }

    /// What was told is lost; it goes before what has come since.
    fn lose(&mut self, perhaps_sent: bool) {
        let Some(told) = self.told.take() else { return };
        let mut span = told.span;
        if perhaps_sent {
            span.perhaps_told = span.count;
        }
        if let Some(since) = self.pending.take() {
            span.merge(&since);
        }
        self.pending = Some(span);
    }
}

impl Gaps {
    /// Notes that records are gone.
    pub(super) fn add(&mut self, gap: &Gap) {
        if gap.span.count == 0 {
            return;
        }
        let key = self.place(&gap.key);
        let mut span = gap.span.clone();
        if key.lane.is_none() {
            // Numbers mean nothing without their lane.
            span.seqs = None;
        }
        self.known.entry(key).or_default().add(&span);
    }

    /// The key under which there is room.
    fn place(&mut self, key: &Key) -> Key {
        if self.known.contains_key(key) {
            return key.clone();
        }
        if self.known.len() >= STEPS[0] {
            // Only remembered for the minute.
            self.known.retain(|_, known| !known.is_settled());
        }
        let refused = self.known.keys().filter(|known| known.cause == Cause::Refused && known.device.is_some()).count();
        let crowded = key.cause == Cause::Refused && refused >= REFUSED_KEYS;
        let mut key = key.clone();
        for (step, limit) in STEPS.into_iter().enumerate() {
            let full = self.known.len() >= limit || (step == 0 && crowded);
            if !full || self.known.contains_key(&key) {
                return key;
            }
            match step {
                0 => key.device = None,
                1 => (key.epoch, key.reason) = (None, None),
                _ => key.lane = None,
            }
        }
        key
    }

    /// A record with this number tells what is pending of the key; `false` if that is nothing.
    pub(super) fn tell(&mut self, key: &Key, lane: u8, seq: u64, at: Uptime) -> bool {
        let Some(known) = self.known.get_mut(key).filter(|known| known.told.is_none()) else { return false };
        let Some(span) = known.pending.take() else { return false };
        known.told = Some(Told { lane, seq, span });
        known.told_at = Some(at);
        self.made += 1;
        self.known.retain(|_, known| !known.is_settled() || known.told_at.is_some_and(|last| recent(last, at)));
        true
    }

    /// Records of a lane were delivered.
    pub(super) fn deliver(&mut self, lane: u8, from: u64, below: u64) {
        for known in self.known.values_mut() {
            known.told.take_if(|told| told.lane == lane && (from..below).contains(&told.seq));
        }
    }

    /// Records of a lane are gone undelivered. Says how many gap records were among them.
    pub(super) fn lose(&mut self, lane: u8, from: u64, below: u64, unsent: &Ranges) -> u64 {
        let mut lost = 0;
        for known in self.known.values_mut() {
            let gone = known.told.as_ref().filter(|told| told.lane == lane && (from..below).contains(&told.seq));
            if let Some(seq) = gone.map(|told| told.seq) {
                known.lose(!unsent.contains(seq));
                lost += 1;
            }
        }
        lost
    }

    /// Gap records waiting in `[from, below)` of a lane that may have been sent.
    pub(super) fn perhaps_sent(&self, lane: u8, from: u64, below: u64, unsent: &Ranges) -> u64 {
        let told = self.known.values().filter_map(|known| known.told.as_ref());
        let here = told.filter(|told| told.lane == lane && (from..below).contains(&told.seq));
        here.filter(|told| !unsent.contains(told.seq)).count() as u64
    }

    /// Whether the record with this number is one of those that tell.
    pub(super) fn tells(&self, lane: u8, seq: u64) -> bool {
        self.known.values().any(|known| known.told.as_ref().is_some_and(|told| (told.lane, told.seq) == (lane, seq)))
    }

    /// What may be told at `now`.
    pub(super) fn due(&self, now: &Stamp) -> impl Iterator<Item = (&Key, &Span)> {
        let now = (now.boot, now.uptime_ms);
        self.known.iter().filter_map(move |(key, known)| match known.wait_ms(now) {
            Some(0) => Some((key, known.pending.as_ref()?)),
            _ => None,
        })
    }

    /// In how many ms something may be told, if anything waits for the time alone.
    pub(super) fn wait_ms(&self, now: &Stamp) -> Option<u64> {
        self.known.values().filter_map(|known| known.wait_ms((now.boot, now.uptime_ms))).min()
    }

    /// Keys of which something is not delivered yet.
    pub(super) fn pending(&self) -> u64 {
        self.known.values().filter(|known| !known.is_settled()).count() as u64
    }

    /// The lanes stand in another order; `None` for one that is no more.
    pub(super) fn arrange(&mut self, place: impl Fn(u8) -> Option<u8>) {
        for known in self.known.values_mut() {
            match known.told.as_ref().map(|told| place(told.lane)) {
                Some(None) => known.lose(true),
                Some(Some(lane)) => known.told.iter_mut().for_each(|told| told.lane = lane),
                None => {}
            }
        }
    }
}

fn recent(last: Uptime, now: Uptime) -> bool {
    last.0 == now.0 && now.1 < last.1 + BETWEEN_MS
}
