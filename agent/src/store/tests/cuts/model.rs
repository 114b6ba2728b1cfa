//! What the store should hold.

use super::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A record's id without the gateway, which never changes here.
pub(super) type Id = (String, u8, u64);

/// Something handed in and not answered yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) done: oneshot::Receiver<Committed>,
    /// Lane, the payload's own number, and where the record came from.
    pub(super) records: Vec<(u8, u64)>,
    pub(super) changes: Vec<Fact>,
}

/// What the control lane can be asked about, and what it should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Cursor(u8, u64),
    Sent(u8, u64),
    Session(u64, Option<SessionRecord>),
    Unreleased(Origin, bool),
    Refused(u64),
    Aside,
}

/// What adds up.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) cursor: [u64; 3],
    pub(super) sent: [u64; 3],
    pub(super) sessions: BTreeMap<u64, SessionRecord>,
    pub(super) unreleased: BTreeSet<(u64, u16)>,
    pub(super) refused: u64,
    pub(super) aside: u64,
}

impl State {
    pub(super) fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Cursor(lane, below) => {
                let lane = usize::from(*lane);
                self.cursor[lane] = self.cursor[lane].max(*below);
                self.sent[lane] = self.sent[lane].max(*below);
            }
            Fact::Sent(lane, below) => self.sent[usize::from(*lane)] = self.sent[usize::from(*lane)].max(*below),
            Fact::Session(id, Some(record)) => drop(self.sessions.insert(*id, record.clone())),
            Fact::Session(id, None) => {
                self.sessions.remove(id);
                self.unreleased.retain(|(session, _)| session != id);
            }
            Fact::Unreleased(origin, true) => drop(self.unreleased.insert((origin.session, origin.packet_id))),
            Fact::Unreleased(origin, false) => drop(self.unreleased.remove(&(origin.session, origin.packet_id))),
            Fact::Refused(count) => self.refused += count,
            Fact::Aside => self.aside += 1,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Answered and not acknowledged, in order: sequence number and the payload's own.
    pub(super) waiting: [VecDeque<(u64, u64)>; 3],
    pub(super) state: State,
    /// Never answered and not there after a restart: a name whose removal was not synced may bring them back.
    pub(super) ghosts: [Vec<u64>; 3],
    /// Handed in and not answered.
    pub(super) open: Vec<Waiting>,
    /// What every id that was answered or read names.
    pub(super) ids: BTreeMap<Id, u64>,
    /// Answered, never acknowledged, and gone.
    pub(super) evicted: u64,
    /// Sizes of the payloads by their own number, which is their place.
    pub(super) sizes: Vec<u32>,
}

impl Model {
    /// Takes in what was answered; says which records that were.
    pub(super) fn answered(&mut self) -> Vec<(u8, u64)> {
        let mut records = Vec::new();
        for mut one in std::mem::take(&mut self.open) {
            if one.done.try_recv().is_ok() {
                one.changes.iter().for_each(|fact| self.state.apply(fact));
                records.extend(one.records);
            } else {
                self.open.push(one);
            }
        }
        records
    }

    /// What `ask` may answer: as it is, or with any of the first changes that are not answered.
    pub(super) fn may_be<T: Ord>(&self, ask: impl Fn(&State) -> T) -> BTreeSet<T> {
        let mut state = self.state.clone();
        let mut all = BTreeSet::from([ask(&state)]);
        for fact in self.open.iter().flat_map(|one| &one.changes) {
            state.apply(fact);
            all.insert(ask(&state));
        }
        all
    }

    pub(super) fn doubtful(&self, lane: u8) -> Vec<u64> {
        let all = self.open.iter().flat_map(|one| &one.records);
        let all = all.filter(|(one, _)| *one == lane).map(|(_, number)| *number);
        self.ghosts[usize::from(lane)].iter().copied().chain(all).collect()
    }
}
