//! What the store should hold.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// A record's id without the gateway, which never changes here.
pub(super) type Id = (String, u8, u64);

/// Something handed in and not answered yet.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) done: oneshot::Receiver<Committed>,
    /// Lane and the payload's own number.
    pub(super) records: Vec<(u8, u64)>,
    pub(super) changes: Vec<Fact>,
}

/// What the control lane can be asked about, and what it should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Acknowledged(u8, u64, u64),
    Sent(u8, u64, u64),
    Replayed(u8, u64, u64),
    Session(u64, Option<SessionRecord>),
    Unreleased(Origin, bool),
    Refused(u64),
    Aside(u8, u64),
}

/// What adds up.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) waiting: [Ranges; 3],
    pub(super) unsent: [Ranges; 3],
    pub(super) sessions: BTreeMap<u64, SessionRecord>,
    pub(super) unreleased: BTreeSet<(u64, u16)>,
    pub(super) refused: u64,
    pub(super) aside: u64,
}

/// Each says what a fact does to one thing that can be asked about, and whether it does anything.
pub(super) mod effect {
    use super::*;

    pub(in super::super) fn waiting(lane: u8) -> impl Fn(&mut Ranges, &Fact) -> bool {
        move |waiting, fact| match *fact {
            Fact::Acknowledged(of, from, below) if of == lane => {
                waiting.remove(from, below);
                true
            }
            Fact::Replayed(of, from, below) if of == lane => {
                waiting.insert(from, below);
                true
            }
            _ => false,
        }
    }

    pub(in super::super) fn unsent(lane: u8) -> impl Fn(&mut Ranges, &Fact) -> bool {
        move |unsent, fact| match *fact {
            Fact::Acknowledged(of, from, below) | Fact::Sent(of, from, below) if of == lane => {
                unsent.remove(from, below);
                true
            }
            _ => false,
        }
    }

    pub(in super::super) fn session(id: u64) -> impl Fn(&mut Option<SessionRecord>, &Fact) -> bool {
        move |session, fact| match fact {
            Fact::Session(of, now) if *of == id => {
                session.clone_from(now);
                true
            }
            _ => false,
        }
    }

    /// Whether a session is there, and whether it has the packet id unreleased.
    pub(in super::super) fn unreleased(id: u64, packet_id: u16) -> impl Fn(&mut (bool, bool), &Fact) -> bool {
        let origin = Origin { session: id, packet_id };
        move |(session, unreleased), fact| match fact {
            Fact::Session(of, now) if *of == id => {
                (*session, *unreleased) = (now.is_some(), *unreleased && now.is_some());
                true
            }
            Fact::Unreleased(of, now) if *of == origin => {
                // Nobody comes back for a publish of a session that has ended, whichever was committed first.
                *unreleased = *now && *session;
                true
            }
            _ => false,
        }
    }

    pub(in super::super) fn counters((refused, aside): &mut (u64, u64), fact: &Fact) -> bool {
        match fact {
            Fact::Refused(count) => *refused += count,
            Fact::Aside(..) => *aside += 1,
            _ => return false,
        }
        true
    }
}

impl State {
    pub(super) fn apply(&mut self, fact: &Fact) {
        for lane in 0..3_u8 {
            effect::waiting(lane)(&mut self.waiting[usize::from(lane)], fact);
            effect::unsent(lane)(&mut self.unsent[usize::from(lane)], fact);
        }
        match fact {
            Fact::Session(id, Some(record)) => drop(self.sessions.insert(*id, record.clone())),
            Fact::Session(id, None) => {
                self.sessions.remove(id);
                self.unreleased.retain(|(session, _)| session != id);
            }
            Fact::Unreleased(origin, true) if self.sessions.contains_key(&origin.session) => {
                self.unreleased.insert((origin.session, origin.packet_id));
            }
            Fact::Unreleased(origin, _) => drop(self.unreleased.remove(&(origin.session, origin.packet_id))),
            _ => {}
        }
        let mut counters = (self.refused, self.aside);
        effect::counters(&mut counters, fact);
        (self.refused, self.aside) = counters;
    }
}

/// A record that was answered, or found after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) seq: u64,
    pub(super) number: u64,
    /// It was acknowledged once, whether or not it waits again.
    pub(super) delivered: bool,
}

impl Kept {
    pub(super) fn new(seq: u64, number: u64) -> Self {
        Self { seq, number, delivered: false }
    }

    pub(super) fn is(&self, seq: u64, number: u64) -> bool {
        (self.seq, self.number) == (seq, number)
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Per lane, in order, from the oldest that is still on the disk on, delivered or not.
    pub(super) kept: [Vec<Kept>; 3],
    /// The number that the next record gets.
    pub(super) next: [u64; 3],
    pub(super) state: State,
    /// Never answered and not there after a restart: a name whose removal was not synced may bring them back.
    pub(super) ghosts: [Vec<u64>; 3],
    /// Handed in and not answered, in order.
    pub(super) open: Vec<Open>,
    /// What every id that was answered or read names.
    pub(super) ids: BTreeMap<Id, u64>,
    /// Answered, never acknowledged, and gone.
    pub(super) evicted: u64,
    /// Of what was replayed since it was delivered, the numbers: these do not expire.
    pub(super) wanted: [BTreeSet<u64>; 3],
    /// Became too old.
    pub(super) expired: u64,
    /// Sizes of the payloads by their own number, which is their place.
    pub(super) sizes: Vec<u32>,
    /// When they were handed in, ms.
    pub(super) received: Vec<u64>,
}

impl Model {
    /// Takes in what was answered; says which records that were. While records wait for the disk, changes are committed
    /// ahead of them, in the order handed in: those before an answered one have been.
    pub(super) fn answered(&mut self) -> Vec<(u8, u64)> {
        let mut open = std::mem::take(&mut self.open);
        let done: Vec<bool> = open.iter_mut().map(|one| one.done.try_recv().is_ok()).collect();
        let committed = done.iter().rposition(|done| *done).map_or(0, |last| last + 1);
        let mut records = Vec::new();
        for (index, (mut one, done)) in open.into_iter().zip(done).enumerate() {
            let (now, later): (Vec<Fact>, Vec<Fact>) = std::mem::take(&mut one.changes)
                .into_iter()
                .partition(|fact| done || (index < committed && !matches!(fact, Fact::Unreleased(..))));
            for fact in &now {
                self.apply(fact);
            }
            if done {
                records.append(&mut one.records);
            } else {
                self.open.push(Open { changes: later, ..one });
            }
        }
        records
    }

    fn apply(&mut self, fact: &Fact) {
        self.state.apply(fact);
        match fact {
            Fact::Acknowledged(lane, from, below) => {
                let kept = self.kept[usize::from(*lane)].iter_mut();
                kept.filter(|one| (*from..*below).contains(&one.seq)).for_each(|one| one.delivered = true);
                self.wanted[usize::from(*lane)].retain(|seq| !(*from..*below).contains(seq));
            }
            Fact::Replayed(lane, from, below) => {
                let kept = self.kept[usize::from(*lane)].iter().map(|one| one.seq);
                self.wanted[usize::from(*lane)].extend(kept.filter(|seq| (*from..*below).contains(seq)));
            }
            _ => {}
        }
    }

    /// What may be now: what was answered, or with any of the first changes that are not answered.
    pub(super) fn may_be<T: Clone>(&self, answered: T, effect: impl Fn(&mut T, &Fact) -> bool) -> Vec<T> {
        let (mut now, mut all) = (answered.clone(), vec![answered]);
        for fact in self.open.iter().flat_map(|one| &one.changes) {
            if effect(&mut now, fact) {
                all.push(now.clone());
            }
        }
        all
    }

    /// How old a record is at `now`, ms; gap records are of no age.
    pub(super) fn age(&self, kept: &Kept, now: u64) -> Option<u64> {
        let received = self.received.get(usize::try_from(kept.number).ok()?)?;
        Some(now.saturating_sub(*received))
    }

    /// The numbers of the records handed in for a lane and not answered, in order.
    pub(super) fn doubtful(&self, lane: u8) -> Vec<u64> {
        let all = self.open.iter().flat_map(|one| &one.records);
        all.filter(|(one, _)| *one == lane).map(|(_, number)| *number).collect()
    }

    /// Those from a number on.
    pub(super) fn from(&self, lane: u8, seq: u64) -> &[Kept] {
        let kept = &self.kept[usize::from(lane)];
        &kept[kept.partition_point(|one| one.seq < seq)..]
    }
}
