//! What the forwarder asks the store to remember, gathered into few commits.
//!
//! Three things must last: that records **may have been sent** (committed before the first byte of them leaves, so that
//! a repeat after a power cut is marked `replayed`), that they **were accepted**, and that they were **put aside**. One
//! commit is under way at a time; what comes up meanwhile goes together into the next. While a batch is with Flux, one
//! commit carries the acknowledgement of the batch before it and the announcement of the batch after it; while a backlog
//! waits, several batches are announced at once, so that sending never waits for a commit. An acknowledgement waits for
//! company only while a read is under way, which takes milliseconds and mostly ends in an announcement.
//!
//! Exactly what is done with is acknowledged, in whatever order: the store then remembers what waits as ranges, of which
//! it keeps [`Ranges::LIMIT`] at most. An acknowledgement that would make more than [`ACKNOWLEDGED_RANGES`] is held back
//! until those before it are done with; after a restart what it holds back is sent again.

use tokio::sync::oneshot;

use super::spans::{Span, Spans, holes};
use crate::shape::budget::Urgency;
use crate::store::{Change, Committed, LaneId, Ranges, Store, Submission};

/// Ranges that acknowledgements may make of what waits in a lane. What the store makes of it itself, by evicting and
/// replaying, has the rest.
const ACKNOWLEDGED_RANGES: usize = Ranges::LIMIT - 8;

/// One lane's part.
#[derive(Debug)]
struct Marks {
    /// May be sent: announced durably, and not acknowledged since. Bounded as what the forwarder holds is.
    announced: Spans,
    /// The same, with what is to be announced and what is being announced.
    claimed: Spans,
    to_announce: Vec<Span>,
    announcing: Vec<Span>,
    /// To be acknowledged.
    done: Spans,
    /// What waits in the store, less what acknowledgements take out that were handed in.
    waiting: Ranges,
}

/// Changes that are to be committed.
#[derive(Debug)]
pub(super) struct Ledger {
    lanes: Vec<Marks>,
    aside: Vec<Change>,
    /// Of budgets.
    notes: Vec<Change>,
    pub(super) committing: Option<oneshot::Receiver<Committed>>,
}

impl Ledger {
    /// Nothing to commit; per lane, what waits and what of it was never sent.
    pub(super) fn new(lanes: impl Iterator<Item = (Ranges, Ranges)>) -> Self {
        let lanes = lanes.map(|(waiting, unsent)| {
            let mut announced = Spans::default();
            for span in holes(&unsent) {
                announced.insert(span);
            }
            for span in holes(&waiting) {
                announced.remove(span);
            }
            Marks {
                claimed: announced.clone(),
                announced,
                to_announce: Vec::new(),
                announcing: Vec::new(),
                done: Spans::default(),
                waiting,
            }
        });
        Self { lanes: lanes.collect(), aside: Vec::new(), notes: Vec::new(), committing: None }
    }

    /// These records may be sent soon.
    pub(super) fn announce(&mut self, lane: usize, span: Span) {
        let marks = &mut self.lanes[lane];
        let new = marks.claimed.lacks(span);
        for span in &new {
            marks.claimed.insert(*span);
        }
        marks.to_announce.extend(new);
    }

    /// Whether these records were announced, durably or not yet.
    pub(super) fn is_claimed(&self, lane: usize, span: Span) -> bool {
        self.lanes[lane].claimed.covers(span)
    }

    /// Whether these records may be sent now.
    pub(super) fn is_announced(&self, lane: usize, span: Span) -> bool {
        self.lanes[lane].announced.covers(span)
    }

    /// These are accepted or put aside, or no record has their numbers any more.
    pub(super) fn acknowledge(&mut self, lane: usize, span: Span) {
        let marks = &mut self.lanes[lane];
        marks.done.insert(span);
        marks.announced.remove(span);
        marks.claimed.remove(span);
    }

    /// A record is put aside; the acknowledgement that passes it must be asked for after this.
    pub(super) fn put_aside(&mut self, lane: usize, seq: u64, reason: &str) {
        self.aside.push(Change::PutAside { lane: LaneId(lane as u8), seq, reason: reason.to_owned() });
    }

    /// What waits in a lane of the store has changed by other hands. Returns what it was before. Only while no commit
    /// is under way, whose acknowledgements the store may or may not have taken in.
    pub(super) fn wait_for(&mut self, lane: usize, waiting: Ranges) -> Ranges {
        let marks = &mut self.lanes[lane];
        for gone in holes(&waiting) {
            marks.announced.remove(gone);
            marks.claimed.remove(gone);
            marks.done.remove(gone);
        }
        std::mem::replace(&mut marks.waiting, waiting)
    }

    /// Whether a commit is due: something is to be announced or put aside, or something is to be acknowledged and no
    /// announcement is about to come that it could travel with.
    fn due(&self, announcement_near: bool) -> bool {
        let announce = self.lanes.iter().any(|marks| !marks.to_announce.is_empty());
        let acknowledge = self.lanes.iter().any(|marks| !marks.done.is_empty());
        announce || !self.aside.is_empty() || !self.notes.is_empty() || (acknowledge && !announcement_near)
    }

    /// How urgent a note must be to be taken now; `None` while a commit is under way.
    pub(super) fn takes_notes(&self, announcement_near: bool) -> Option<Urgency> {
        let along = self.due(announcement_near);
        self.committing.is_none().then_some(if along { Urgency::Along } else { Urgency::Alone })
    }

    /// These go with the next commit, which they make due.
    pub(super) fn note(&mut self, notes: Vec<Change>) {
        self.notes.extend(notes);
    }

    /// Starts a commit if one is due and none is under way.
    pub(super) fn submit(&mut self, store: &Store, announcement_near: bool) {
        if self.committing.is_some() || !self.due(announcement_near) {
            return;
        }
        let mut submission = Submission::new();
        for change in self.aside.drain(..).chain(self.notes.drain(..)) {
            submission.change(change);
        }
        for (lane, marks) in self.lanes.iter_mut().enumerate() {
            let lane = LaneId(lane as u8);
            for Span { from, below } in marks.take_done() {
                submission.change(Change::Acknowledge { lane, from, below });
            }
            for Span { from, below } in &marks.to_announce {
                submission.change(Change::Sent { lane, from: *from, below: *below });
            }
            marks.announcing = std::mem::take(&mut marks.to_announce);
        }
        if submission.is_empty() {
            return;
        }
        self.committing = Some(submission.on_commit());
        store.submit(submission);
    }

    /// The commit under way is on flash.
    pub(super) fn committed(&mut self) {
        self.committing = None;
        for marks in &mut self.lanes {
            for span in std::mem::take(&mut marks.announcing) {
                marks.announced.insert(span);
            }
        }
    }
}

impl Marks {
    /// What is to be acknowledged now.
    fn take_done(&mut self) -> Vec<Span> {
        let mut taken = Vec::new();
        let mut held = Spans::default();
        for span in std::mem::take(&mut self.done).iter() {
            let mut after = self.waiting.clone();
            after.remove(span.from, span.below);
            if after.iter().count() <= ACKNOWLEDGED_RANGES.max(self.waiting.iter().count()) {
                self.waiting = after;
                taken.push(span);
            } else {
                held.insert(span);
            }
        }
        self.done = held;
        taken
    }
}

#[cfg(test)]
mod tests;
