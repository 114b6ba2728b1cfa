//! What need not be done between one commit and the next: the next one's records are framed while the present one is on
//! its way to flash, and who waited for the one before is answered meanwhile.
//!
//! At saturation the disk should never wait for the writer. Of a commit of 1 MiB, framing and sums took 0.2 ms and
//! answering its 57 submissions 0.3 ms (each answer wakes a task of another thread, and gives back memory that came
//! from there), beside 0.3 ms for its write and about 0.5 ms for its sync, on the disk that README's table was measured
//! on. So a second thread, the *mate*, does both while the writer writes and syncs.
//!
//! - *Ahead* is framed only what the next commit takes in whatever happens: what is left over from the present commit,
//!   or has come meanwhile and fills a commit by itself. What comes slower is framed by the writer as it commits it, so
//!   nothing waits for the mate and it wakes up for nothing.
//! - Nothing of it is *written* before the present commit is published. The frames stand in memory under the numbers,
//!   and summed with the salt, that they have if the present commit succeeds and nothing else comes between. When the
//!   next one is staged, all of that is compared with what is so by then. If anything differs (a sync failed, room was
//!   made, a gap record went ahead, submissions were put in front), the frames are thrown away, and the writer makes its own.
//! - Only records without an origin and submissions without changes: what those do depends on the ledger.
//! - What the mate has not begun when the sync is over, the writer takes back, so a busy machine loses nothing by it.
//! - Submissions are answered by the mate only if others wait already, and in order.
//!
//! It takes as much memory as a commit, 1 MiB and a quarter at most, once as much has come.

use super::commit::Fate;
use super::frame;
use super::log::KEEP_BUFFER;
use super::segment::{HEAD_LEN, framed};
use super::writer::Writer;
use crate::store::{Submission, submission};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
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

/// The next commit's records, to be framed.
#[derive(Debug)]
struct Framing {
    /// By record lane.
    lanes: Vec<Ahead>,
    /// Bytes of framed records at most.
    limit: usize,
    /// What comes next, in order.
    later: VecDeque<Submission>,
    /// How many of them are framed.
    count: usize,
    /// A buffer for the first lane that has something.
    spare: Vec<u8>,
}

impl Framing {
    fn run(&mut self) {
        let (mut bytes, mut needs) = (0, vec![0; self.lanes.len()]);
        for one in &self.later {
            bytes += framed(one.records(), one.bytes()) as usize;
            let plain =
                |(lane, body): (LaneId, &[u8])| lane.index() < needs.len() && submission::origin(body).is_none();
            if bytes > self.limit || !one.changes().is_empty() || !one.bodies().all(plain) {
                break;
            }
            for (lane, body) in one.bodies() {
                needs[lane.index()] += framed(1, body.len()) as usize;
            }
            self.count += 1;
        }
        for (ahead, need) in self.lanes.iter_mut().zip(&needs).filter(|(_, need)| **need > 0) {
            ahead.reserve(*need, &mut self.spare);
        }
        for (lane, body) in self.later.iter().take(self.count).flat_map(Submission::bodies) {
            self.lanes[lane.index()].stage(body);
        }
    }
}

/// What was framed ahead, and of which submissions.
#[derive(Debug)]
pub(super) struct Framed {
    lanes: Vec<Ahead>,
    count: usize,
    /// Tickets of the first and the last of them: what is pending stands in order, so between them are no others.
    tickets: (u64, u64),
}

/// What the mate is to do.
#[derive(Debug)]
enum Job {
    Answer(Vec<Submission>),
    /// What lies on the desk.
    Frame,
}

/// Where a framing lies.
#[derive(Debug, Default)]
enum Desk {
    #[default]
    Empty,
    Waits(Framing),
    /// The mate has it in hand.
    AtWork,
    Done(Framing),
}

#[derive(Debug, Default)]
struct Between {
    desk: Mutex<Desk>,
    is_done: Condvar,
    /// Lots of answers handed to the mate and not given yet.
    answering: AtomicUsize,
}

impl Between {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("no holder of this lock panics")
    }

    /// Frames what lies on the desk, if it is still there.
    fn frame(&self) {
        let mut desk = self.desk();
        match mem::take(&mut *desk) {
            Desk::Waits(mut framing) => {
                *desk = Desk::AtWork;
                drop(desk);
                framing.run();
                *self.desk() = Desk::Done(framing);
                self.is_done.notify_one();
            }
            other => *desk = other,
        }
    }
}

/// The writer's mate.
#[derive(Debug)]
pub(super) struct Mate {
    between: Arc<Between>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Kept from the last framing.
    spare: Vec<u8>,
    /// Submissions that were framed ahead, and staged so.
    used: u64,
}

impl Mate {
    pub(super) fn start() -> io::Result<Self> {
        let between = Arc::new(Between::default());
        let (jobs, inbox) = channel();
        let shared = between.clone();
        let thread = std::thread::Builder::new().name("tidegate-ahead".into()).spawn(move || {
            for job in inbox {
                match job {
                    Job::Answer(done) => {
                        done.into_iter().for_each(Submission::answer);
                        shared.answering.fetch_sub(1, Ordering::Release);
                    }
                    Job::Frame => shared.frame(),
                }
            }
        })?;
        Ok(Self { between, jobs: Some(jobs), thread: Some(thread), spare: Vec::new(), used: 0 })
    }

    /// Without a thread: what is given to it is done at once.
    #[cfg(test)]
    pub(super) fn alone() -> Self {
        Self { between: Arc::default(), jobs: None, thread: None, spare: Vec::new(), used: 0 }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    fn begin(&self, framing: Framing) {
        *self.between.desk() = Desk::Waits(framing);
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(Job::Frame).is_err()) {
            self.between.frame();
        }
    }

    /// Takes back what was begun, done or not.
    fn end(&self) -> Option<Framing> {
        let mut desk = self.between.desk();
        loop {
            match mem::take(&mut *desk) {
                Desk::Empty => return None,
                Desk::Waits(framing) | Desk::Done(framing) => return Some(framing),
                Desk::AtWork => {
                    *desk = Desk::AtWork;
                    desk = self.between.is_done.wait(desk).expect("no holder of this lock panics");
                }
            }
        }
    }

    /// Answers what is committed: while others wait to be committed (`busy`) the mate does it, and it goes on until all
    /// that it was given is answered, so that all are answered in order.
    pub(super) fn answer(&self, done: Vec<Submission>, busy: bool) {
        let later = busy || self.between.answering.load(Ordering::Acquire) > 0;
        let Some(jobs) = self.jobs.as_ref().filter(|_| later) else {
            return done.into_iter().for_each(Submission::answer);
        };
        self.between.answering.fetch_add(1, Ordering::Relaxed);
        if let Err(gone) = jobs.send(Job::Answer(done)) {
            if let Job::Answer(done) = gone.0 {
                done.into_iter().for_each(Submission::answer);
            }
        }
    }

    /// Keeps the largest buffer that is worth it for the next framing.
    fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= KEEP_BUFFER {
            self.spare = buffer;
        }
    }
}

impl Drop for Mate {
    fn drop(&mut self) {
        tracing::debug!(submissions = self.used, "framed ahead of their commits");
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// Has the next commit's records framed while the present one, which is staged, is written and synced.
    pub(super) fn begin_ahead(&mut self) {
        self.take_more();
        let later = self.pending.split_off(self.fates.len().min(self.pending.len()));
        if later.is_empty() {
            return;
        }
        let lanes = self.lanes.iter().zip(&self.shared.identities).map(|(log, identity)| log.ahead(identity)).collect();
        let (limit, spare) = (self.commit_bytes, mem::take(&mut self.mate.spare));
        self.mate.begin(Framing { lanes, limit, later, count: 0, spare });
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

    /// What follows the present commit is pending again. What was framed of it is of use only if that has `succeeded`.
    pub(super) fn end_ahead(&mut self, succeeded: bool) {
        let Some(Framing { lanes, later, count, spare, .. }) = self.mate.end() else { return };
        self.mate.keep(spare);
        let ticket = |at: usize| later.get(at).map(Submission::ticket);
        let tickets = ticket(0).zip(count.checked_sub(1).and_then(ticket));
        let framed = tickets.map(|tickets| Framed { lanes, count, tickets });
        match framed {
            Some(framed) if succeeded => self.framed = Some(framed),
            Some(framed) => self.throw_away(framed),
            None => {}
        }
        self.pending.extend(later);
    }

    fn throw_away(&mut self, framed: Framed) {
        framed.lanes.into_iter().for_each(|one| self.mate.keep(one.buffer));
    }

    /// Stages what was framed ahead, if that is how the present commit would frame it; says of how many submissions.
    pub(super) fn stage_ahead(&mut self, pending: &VecDeque<Submission>) -> usize {
        let Some(mut framed) = self.framed.take() else { return 0 };
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
        self.mate.used += count as u64;
        self.throw_away(framed);
        count
    }
}

#[cfg(test)]
mod tests;
