//! What need not be done between one commit and the next: the next one's records are framed while the present one is
//! being synced, and who waited for the one before is answered meanwhile.
//!
//! At saturation the disk should never wait for the writer. Of a commit of 1 MiB, framing and sums took 0.2 ms and
//! answering its 57 submissions 0.3 ms (each answer wakes a task of another thread, and gives back memory that came
//! from there), beside 0.25 ms for its write and 0.5 to 0.9 ms for its sync, on the disk that README's table was measured
//! on. So while others wait to be committed the [`Syncer`](super::sync::Syncer)'s helper syncs, and the writer does both in
//! that time. (The other way round, with the framing and answering handed to a second thread, that thread, woken up,
//! took the processor from the writer just when the disk had nothing to do: 0.1 to 0.2 ms a commit.)
//!
//! - *Ahead* is framed only what the next commit takes in whatever happens: what is left over from the present commit,
//!   or has come meanwhile and fills a commit by itself. What comes slower is framed as it is committed, and the writer
//!   syncs by itself: no other thread wakes up for a small commit.
//! - Nothing of it is *written* before the present commit is published. The frames stand in memory under the numbers,
//!   and summed with the salt, that they have if the present commit succeeds and nothing else comes between. When the
//!   next one is staged, all of that is compared with what is so by then. If anything differs (room was made, a gap
//!   record went ahead, submissions were put in front), the frames are thrown away and made anew; and so they are in any
//!   case when a write or a sync has failed.
//! - Only records without an origin and submissions without changes: what those do depends on the ledger.
//! - Answers that are *owed* are given with the next sync, or failure, whatever that is of; and in order.
//!
//! It takes as much memory as a commit, 1 MiB and a quarter at most, once as much has come.

use super::commit::Fate;
use super::frame;
use super::log::KEEP_BUFFER;
use super::segment::{HEAD_LEN, framed};
use super::writer::Writer;
use crate::store::{Submission, submission};
use std::collections::VecDeque;
use std::mem;
use tidegate_protocol::LaneId;

/// Buffers are made in multiples of this, so that a commit that is a little larger finds its room in them too.
const GRAIN: usize = 64 * 1024;

/// Makes room in an empty buffer for a head and so many bytes of frames, at once and without doubling.
pub(super) fn reserve(buffer: &mut Vec<u8>, bytes: usize) {
    buffer.reserve_exact((HEAD_LEN + bytes).next_multiple_of(GRAIN));
}

/// Frames of one lane's next commit: as many bytes as [`Ahead::head`] of a new segment's head, then frames.
#[derive(Debug)]
pub(super) struct Ahead {
    /// The number of the first.
    pub(super) next: u64,
    pub(super) salt: u32,
    /// Bytes of a new segment's head: all or nothing.
    pub(super) head: usize,
    pub(super) entries: u64,
    pub(super) buffer: Vec<u8>,
}

impl Ahead {
    /// Nothing yet, behind what the present commit stages: in the same segment, or in one that has that head.
    pub(super) fn new(next: u64, salt: u32, head: Option<&[u8; HEAD_LEN]>) -> Self {
        let buffer = head.map_or_else(Vec::new, |head| head.to_vec());
        Self { next, salt, head: buffer.len(), entries: 0, buffer }
    }

    /// Makes room for so many bytes of frames, in the spare buffer if there is one.
    fn reserve(&mut self, bytes: usize, spare: &mut Vec<u8>) {
        let mut buffer = mem::take(spare);
        buffer.clear();
        reserve(&mut buffer, bytes);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
    }

    fn stage(&mut self, body: &[u8]) {
        frame::append(&mut self.buffer, self.salt, self.next + self.entries, self.entries == 0, body);
        self.entries += 1;
    }
}

/// What was framed ahead, and of which submissions.
#[derive(Debug)]
struct Framed {
    /// By record lane.
    lanes: Vec<Ahead>,
    count: usize,
    /// Tickets of the first and the last of them: what is pending stands in order, so between them are no others.
    tickets: (u64, u64),
}

/// What is ready for the next commit, and still to be done for the last.
#[derive(Debug, Default)]
pub(super) struct Between {
    framed: Option<Framed>,
    /// The present commit may be followed by another that is framed ahead.
    wanted: bool,
    /// A buffer for the next frames.
    spare: Vec<u8>,
    /// Committed and not answered.
    owed: Vec<Submission>,
    /// Submissions that were framed ahead, and staged so.
    used: u64,
}

impl Between {
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Answers what is owed.
    pub(super) fn pay(&mut self) {
        self.owed.drain(..).for_each(Submission::answer);
    }

    /// Keeps the largest buffer that is worth it for the next frames.
    fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= KEEP_BUFFER {
            self.spare = buffer;
        }
    }

    fn throw_away(&mut self) {
        if let Some(framed) = self.framed.take() {
            framed.lanes.into_iter().for_each(|one| self.keep(one.buffer));
        }
    }

    /// Frames what comes next, as far as one commit takes it.
    fn frame<'a>(&mut self, mut lanes: Vec<Ahead>, later: impl Iterator<Item = &'a Submission> + Clone, limit: usize) {
        let (mut bytes, mut count, mut needs) = (0, 0, vec![0; lanes.len()]);
        for one in later.clone() {
            bytes += framed(one.records(), one.bytes()) as usize;
            let plain =
                |(lane, body): (LaneId, &[u8])| lane.index() < needs.len() && submission::origin(body).is_none();
            if bytes > limit || !one.changes().is_empty() || !one.bodies().all(plain) {
                break;
            }
            for (lane, body) in one.bodies() {
                needs[lane.index()] += framed(1, body.len()) as usize;
            }
            count += 1;
        }
        for (ahead, need) in lanes.iter_mut().zip(&needs).filter(|(_, need)| **need > 0) {
            ahead.reserve(*need, &mut self.spare);
        }
        let mut tickets = None;
        for one in later.take(count) {
            let first = tickets.map_or(one.ticket(), |(first, _)| first);
            tickets = Some((first, one.ticket()));
            one.bodies().for_each(|(lane, body)| lanes[lane.index()].stage(body));
        }
        self.framed = tickets.map(|tickets| Framed { lanes, count, tickets });
    }
}

impl Writer {
    /// The present commit is of what is pending, so what is left of that can be framed ahead.
    pub(super) fn look_ahead(&mut self) {
        self.between.wanted = true;
    }

    /// Whether there is anything to do while the present commit is synced.
    pub(super) fn has_meanwhile(&mut self) -> bool {
        if self.between.wanted {
            self.take_more();
            self.between.wanted = self.pending.len() > self.fates.len();
        }
        self.between.wanted || !self.between.owed.is_empty()
    }

    /// Does it.
    pub(super) fn meanwhile(&mut self) {
        self.between.pay();
        if mem::take(&mut self.between.wanted) {
            self.between.throw_away();
            let lanes = self.lanes.iter().zip(&self.shared.identities);
            let lanes = lanes.map(|(log, identity)| log.ahead(identity)).collect();
            let later = self.pending.range(self.fates.len()..);
            self.between.frame(lanes, later, self.commit_bytes);
        }
    }

    /// The present commit has failed: what was framed behind it will have other places.
    pub(super) fn forget_ahead(&mut self) {
        self.between.pay();
        self.between.wanted = false;
        self.between.throw_away();
    }

    /// Takes over what has been submitted, if the next commit waits for no company anyway.
    fn take_more(&mut self) {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        if queue.bytes < self.commit_bytes && self.pending.len() <= self.fates.len() {
            return;
        }
        queue.bytes = 0;
        // Of its sources note is taken once those of the present commit have been answered, as if it had come then.
        self.unnoted += queue.submissions.len() - mem::take(&mut queue.noted);
        self.pending.extend(queue.submissions.drain(..));
    }

    /// Answers what is committed; with the next sync, if there is something to be committed already.
    pub(super) fn answer_or_owe(&mut self, done: Vec<Submission>) {
        self.between.owed.extend(done);
        if self.pending.is_empty() || !self.syncer.has_helper() {
            self.between.pay();
        }
    }

    /// Stages what was framed ahead, if that is how the present commit would frame it; says of how many submissions.
    pub(super) fn stage_ahead(&mut self, pending: &VecDeque<Submission>) -> usize {
        let Some(mut framed) = self.between.framed.take() else { return 0 };
        let ticket = |at: usize| pending.get(at).map(Submission::ticket);
        let (first, last) = (ticket(0), framed.count.checked_sub(1).and_then(ticket));
        let taken = self.fates.get(..framed.count);
        let whole = taken.is_some_and(|taken| taken.iter().all(|fate| *fate == Fate::Whole));
        let mut fits = whole && first.zip(last) == Some(framed.tickets);
        if fits {
            for index in 0..framed.lanes.len() {
                if framed.lanes[index].entries > 0 {
                    self.begin_lane(index);
                    fits &= self.lanes[index].takes(&framed.lanes[index]);
                }
            }
        }
        if fits {
            for (log, ahead) in self.lanes.iter_mut().zip(&mut framed.lanes).filter(|(_, ahead)| ahead.entries > 0) {
                log.stage_ahead(ahead);
            }
        }
        let count = if fits { framed.count } else { 0 };
        self.between.used += count as u64;
        self.between.framed = Some(framed);
        self.between.throw_away();
        count
    }
}

#[cfg(test)]
mod tests;
