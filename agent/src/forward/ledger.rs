//! What the forwarder asks the store to remember, gathered into few commits.
//!
//! Three things must last: that records **may have been sent** (committed before the first byte of them leaves, so that
//! a repeat after a power cut is marked `replayed`), that they **were accepted**, and that they were **put aside**. One
//! commit is under way at a time; what comes up meanwhile goes together into the next. While a batch is with Flux, one
//! commit carries the acknowledgement of the batch before it and the announcement of the batch after it; while a backlog
//! waits, several batches are announced at once, so that sending never waits for a commit. An acknowledgement waits for
//! company only while a read is under way, which takes milliseconds and mostly ends in an announcement.

use tokio::sync::oneshot;

use crate::store::{Change, Committed, LaneId, Store, Submission};

#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    /// Announced durably: everything below may have been sent.
    sent: u64,
    /// To be announced, or being announced.
    sent_wanted: u64,
    /// To be acknowledged, and acknowledged or being so.
    acknowledge: u64,
    acknowledge_asked: u64,
    /// `sent_wanted` as it stands in the commit under way.
    sent_asked: u64,
}

/// Changes that are to be committed.
#[derive(Debug)]
pub(super) struct Ledger {
    lanes: Vec<Marks>,
    aside: Vec<Change>,
    pub(super) committing: Option<oneshot::Receiver<Committed>>,
}

impl Ledger {
    /// Nothing to commit; per lane, what is acknowledged and what was announced before.
    pub(super) fn new(lanes: impl Iterator<Item = (u64, u64)>) -> Self {
        let lanes = lanes
            .map(|(cursor, sent)| Marks {
                sent,
                sent_wanted: sent,
                sent_asked: sent,
                acknowledge: cursor,
                acknowledge_asked: cursor,
            })
            .collect();
        Self { lanes, aside: Vec::new(), committing: None }
    }

    /// Records below may be sent soon.
    pub(super) fn announce(&mut self, lane: usize, below: u64) {
        self.lanes[lane].sent_wanted = self.lanes[lane].sent_wanted.max(below);
    }

    /// Below which records were announced, durably or not yet.
    pub(super) fn wanted(&self, lane: usize) -> u64 {
        self.lanes[lane].sent_wanted
    }

    /// Whether records below may be sent now.
    pub(super) fn announced(&self, lane: usize, below: u64) -> bool {
        self.lanes[lane].sent >= below
    }

    /// Everything below is accepted or put aside.
    pub(super) fn acknowledge(&mut self, lane: usize, below: u64) {
        self.lanes[lane].acknowledge = self.lanes[lane].acknowledge.max(below);
    }

    /// A record is put aside; the acknowledgement that passes it must be asked for after this.
    pub(super) fn put_aside(&mut self, lane: usize, seq: u64, reason: &str) {
        self.aside.push(Change::PutAside { lane: LaneId(lane as u8), seq, reason: reason.to_owned() });
    }

    /// Whether a commit is due: something is to be announced or put aside, or something is to be acknowledged and no
    /// announcement is about to come that it could travel with.
    fn due(&self, announcement_near: bool) -> bool {
        let announce = self.lanes.iter().any(|marks| marks.sent_wanted > marks.sent_asked);
        let acknowledge = self.lanes.iter().any(|marks| marks.acknowledge > marks.acknowledge_asked);
        announce || !self.aside.is_empty() || (acknowledge && !announcement_near)
    }

    /// Starts a commit if one is due and none is under way.
    pub(super) fn submit(&mut self, store: &Store, announcement_near: bool) {
        if self.committing.is_some() || !self.due(announcement_near) {
            return;
        }
        let mut submission = Submission::new();
        for change in self.aside.drain(..) {
            submission.change(change);
        }
        for (lane, marks) in self.lanes.iter_mut().enumerate() {
            let lane = LaneId(lane as u8);
            if marks.acknowledge > marks.acknowledge_asked {
                marks.acknowledge_asked = marks.acknowledge;
                submission.change(Change::Acknowledge { lane, from: 0, below: marks.acknowledge });
            }
            if marks.sent_wanted > marks.sent_asked {
                marks.sent_asked = marks.sent_wanted;
                submission.change(Change::Sent { lane, from: 0, below: marks.sent_wanted });
            }
        }
        self.committing = Some(submission.on_commit());
        store.submit(submission);
    }

    /// The commit under way is on flash.
    pub(super) fn committed(&mut self) {
        self.committing = None;
        for marks in &mut self.lanes {
            marks.sent = marks.sent_asked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_announced_only_once_the_commit_is_on_flash() {
        let (store, _folder) = crate::forward::tests::open_store();
        let mut ledger = Ledger::new([(0, 0), (5, 7)].into_iter());
        assert!(ledger.announced(1, 7), "what an earlier run announced stays so");
        ledger.announce(1, 20);
        assert!(!ledger.announced(1, 8));
        ledger.submit(&store, true);
        assert!(!ledger.announced(1, 8), "submitted is not committed");
        ledger.announce(1, 30);
        let commit = ledger.committing.take().expect("one is under way");
        commit.blocking_recv().expect("the store answers");
        ledger.committed();
        assert!(ledger.announced(1, 20) && !ledger.announced(1, 21), "what came meanwhile is in the next commit");
        assert!(!ledger.announced(0, 1));
    }

    #[test]
    fn an_acknowledgement_travels_with_an_announcement_that_is_near_and_else_alone() {
        let (store, _folder) = crate::forward::tests::open_store();
        let mut ledger = Ledger::new([(0, 0)].into_iter());
        ledger.acknowledge(0, 3);
        ledger.submit(&store, true);
        assert!(ledger.committing.is_none(), "it waits for the announcement");
        ledger.announce(0, 9);
        ledger.submit(&store, true);
        assert!(ledger.committing.take().is_some());
        ledger.committed();
        ledger.acknowledge(0, 2);
        ledger.submit(&store, false);
        assert!(ledger.committing.is_none(), "there is nothing new in it");
        ledger.acknowledge(0, 4);
        ledger.submit(&store, false);
        assert!(ledger.committing.is_some());
    }
}
