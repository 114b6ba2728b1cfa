//! Which lane goes next. Pure.
//!
//! Lanes share by weight in bytes, not in batches, so that a lane of small batches is not cheated: each has a virtual
//! time that advances by bytes over weight with what it sends, and the one that is furthest behind goes (self-clocked
//! fair queuing, Golestani 1994). One that had nothing to send joins at the present virtual time: having been silent
//! earns no credit.
//!
//! Lanes that are `first` go before the others, but not without limit: a device in a loop on `critical` must not starve
//! the rest. While both wait, the others earn a claim of one byte for each [`FIRST_BYTES`] that the first lanes send, and
//! go once it covers their next batch. A claim lasts only while the first lanes keep sending: as soon as they pause, the
//! others go anyway. So a batch of a first lane that comes alone waits for the one batch in flight and no other.

use super::options::LaneOptions;

/// Virtual time per byte at weight 1; makes division by weights up to a million exact enough.
const SCALE: u64 = 1 << 20;

/// Bytes that lanes which are `first` send for each byte of the others that wait: nine of ten. Alarms are worth nearly
/// all of the line; a tenth of the slowest line (2,000 B/s) still empties the others in time.
const FIRST_BYTES: usize = 9;

/// Weighted fair queuing of a few.
#[derive(Debug, Clone)]
pub(super) struct Fair {
    members: Vec<Member>,
    /// The virtual time at which the one now being served began.
    now: u64,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    weight: u64,
    time: u64,
}

impl Fair {
    /// Members with these weights; 0 counts as 1.
    pub(super) fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let members = weights.into_iter().map(|weight| Member { weight: u64::from(weight.max(1)), time: 0 });
        Self { members: members.collect(), now: 0 }
    }

    /// Who goes next among those that are `ready`.
    pub(super) fn pick(&self, ready: impl Fn(usize) -> bool) -> Option<usize> {
        let all = self.members.iter().enumerate().filter(|(index, _)| ready(*index));
        all.min_by_key(|(index, member)| (member.time.max(self.now), *index)).map(|(index, _)| index)
    }

    /// Counts `bytes` sent for one that [`Fair::pick`] chose.
    pub(super) fn charge(&mut self, index: usize, bytes: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        self.now = member.time.max(self.now);
        // 2^64 at 2^20 a byte is 16 TiB at weight 1: decades on the lines this is for; holding there is harmless.
        member.time = self.now.saturating_add((bytes as u64).saturating_mul(SCALE) / member.weight);
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The lane.
    pub(super) lane: usize,
    bytes: usize,
    /// Lanes of the other class wait, too.
    contested: bool,
}

/// The order of lanes.
#[derive(Debug, Clone)]
pub(super) struct LaneOrder {
    first: Vec<bool>,
    /// Shares among the lanes that are first, and among those that are not. Each knows all lanes, so that indices are
    /// the same everywhere.
    firsts: Fair,
    others: Fair,
    /// Bytes that the others have earned by waiting.
    claim: usize,
    /// What is left of bytes that earned less than one.
    rest: usize,
}

impl LaneOrder {
    /// Lanes in their configured order.
    pub(super) fn new(lanes: &[LaneOptions]) -> Self {
        let fair = Fair::new(lanes.iter().map(|options| options.weight));
        let first = lanes.iter().map(|options| options.first).collect();
        Self { first, firsts: fair.clone(), others: fair, claim: 0, rest: 0 }
    }

    /// The lane that goes next; `ready` gives the bytes of a lane's batch if it has one to send.
    pub(super) fn pick(&self, ready: impl Fn(usize) -> Option<usize>) -> Option<Turn> {
        let is_first = |lane: usize| self.first.get(lane).copied().unwrap_or(false);
        let first = self.firsts.pick(|lane| is_first(lane) && ready(lane).is_some());
        let other = self.others.pick(|lane| !is_first(lane) && ready(lane).is_some());
        let bytes = |lane: usize| ready(lane).unwrap_or(0);
        let (lane, contested) = match (first, other) {
            (Some(_), Some(other)) if self.claim >= bytes(other) => (other, true),
            (Some(first), other) => (first, other.is_some()),
            (None, other) => (other?, false),
        };
        Some(Turn { lane, bytes: bytes(lane), contested })
    }

    /// Counts what is sent in a turn that [`LaneOrder::pick`] gave.
    pub(super) fn charge(&mut self, turn: Turn) {
        let Turn { lane, bytes, contested } = turn;
        if !self.first.get(lane).copied().unwrap_or(false) {
            self.others.charge(lane, bytes);
            self.claim = if contested { self.claim.saturating_sub(bytes) } else { 0 };
            return;
        }
        self.firsts.charge(lane, bytes);
        if contested {
            let earned = self.rest + bytes;
            self.claim = self.claim.saturating_add(earned / FIRST_BYTES);
            self.rest = earned % FIRST_BYTES;
        } else {
            (self.claim, self.rest) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests;
