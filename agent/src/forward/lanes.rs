//! Which lane goes next. Pure.
//!
//! Lanes share by weight in bytes, not in batches, so that a lane of small batches is not cheated: each has a virtual
//! time that advances by bytes over weight with what it sends, and the one that is furthest behind goes (self-clocked
//! fair queuing, Golestani 1994). One that had nothing to send joins at the present virtual time: having been silent
//! earns no credit.
//!
//! Lanes that are `first` and those that are not do not compete here: each class has a connection of its own, and the
//! gate (`shape::bucket`) shares the line between the two, nine of ten bytes to the first while both wait. So a batch of a
//! first lane that comes alone waits for no other.

use crate::shape::wire::Class;

use super::options::LaneOptions;

/// Virtual time per byte at weight 1; makes division by weights up to a million exact enough.
const SCALE: u64 = 1 << 20;

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

/// The order of lanes.
#[derive(Debug, Clone)]
pub(super) struct LaneOrder {
    first: Vec<bool>,
    /// Shares among the lanes that are first, and among those that are not. Each knows all lanes, so that indices are
    /// the same everywhere.
    firsts: Fair,
    others: Fair,
}

impl LaneOrder {
    /// Lanes in their configured order.
    pub(super) fn new(lanes: &[LaneOptions]) -> Self {
        let fair = Fair::new(lanes.iter().map(|options| options.weight));
        let first = lanes.iter().map(|options| options.first).collect();
        Self { first, firsts: fair.clone(), others: fair }
    }

    /// The lane of a class that goes next among those that are `ready`.
    pub(super) fn pick(&self, class: Class, ready: impl Fn(usize) -> bool) -> Option<usize> {
        let of_class = |lane: usize| self.first.get(lane).copied().unwrap_or(false) == (class == Class::Critical);
        let fair = match class {
            Class::Critical => &self.firsts,
            Class::Other => &self.others,
        };
        fair.pick(|lane| of_class(lane) && ready(lane))
    }

    /// Counts what is sent for a lane that [`LaneOrder::pick`] gave.
    pub(super) fn charge(&mut self, class: Class, lane: usize, bytes: usize) {
        match class {
            Class::Critical => self.firsts.charge(lane, bytes),
            Class::Other => self.others.charge(lane, bytes),
        }
    }
}

#[cfg(test)]
mod tests;
