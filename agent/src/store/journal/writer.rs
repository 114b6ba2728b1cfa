//! The writer thread: takes what was submitted, commits it in groups, answers.

use super::Shared;
use super::ahead::Between;
use super::commit::{Failure, Fate, Op, Scope};
use super::company::{Company, Decision};
use super::expiry::Expiry;
use super::limits::Level;
use super::log::Log;
use super::refuse::{Blocked, Parked};
use super::reserve::Reserve;
use super::seldom::Seldom;
use super::sessions::SessionRoom;
use super::sync::Syncer;
use crate::clock::Stamp;
use crate::code::Code;
use crate::language::IntoValue as _;
use crate::pulse::Question;
use crate::store::{Origin, Submission};
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// First wait after a failed write: long enough not to spin, short enough that a single failed sync, which a new
/// segment cures, is not felt.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Longest wait between tries: space that returns is noticed within about a second.
const RETRY_LAST: Duration = Duration::from_secs(1);
/// How often the writer looks after itself (restores the reserve, gives way on a disk that others fill, lets go of what
/// need not be kept any longer).
const IDLE: Duration = Duration::from_secs(10);

/// While the store cannot write.
#[derive(Debug)]
struct Stall {
    wait: Duration,
    retry: Instant,
    /// For want of room.
    full: bool,
    /// The log was told of it, so it is told of its end too.
    logged: bool,
    /// Control records do not get through either, until then.
    control_retry: Option<Instant>,
}

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Vec<Log>,
    pub(super) aside: Log,
    pub(super) control: Log,
    pub(super) reserve: Reserve,
    pub(super) syncer: Syncer,
    pub(super) between: Between,
    /// Record bytes that one commit takes, beyond its first submission.
    pub(super) commit_bytes: usize,
    /// Submitted and not committed, in order.
    pub(super) pending: VecDeque<Submission>,
    /// How many of the last of them [`Company`] has not been told of.
    pub(super) unnoted: usize,
    /// What waits for room, and why.
    pub(super) parked: Parked,
    /// What becomes of the first of those pending in the present commit.
    pub(super) fates: Vec<Fate>,
    /// Lanes that wait once the present commit is through.
    pub(super) blocking: Vec<Blocked>,
    /// What is ours of a disk that is short.
    pub(super) level: Level,
    /// When this process began.
    pub(super) began: Stamp,
    /// When the writer last looked after itself.
    tended: Option<Instant>,
    /// What the present commit changes, in order.
    pub(super) ops: Vec<Op>,
    /// QoS 2 origins as the present commit leaves them.
    pub(super) overlay: HashMap<Origin, Option<(u8, u64)>>,
    pub(super) sessions: SessionRoom,
    pub(super) body: Vec<u8>,
    pub(super) incoming: Vec<Submission>,
    /// Segments of what is put aside that go with the present commit.
    pub(super) aside_drop: usize,
    pub(super) company: Company,
    /// The medium's counter before and after the present commit, if it is sampled.
    pub(super) sample: Option<(u64, u64)>,
    /// Bytes of room that the present commit leaves: files may be lengthened ahead by that much.
    pub(super) spare: u64,
    pub(super) damage: Vec<super::Damage>,
    /// When to look again whether a flow is to be told of gaps.
    pub(super) tell_after: Option<Instant>,
    pub(super) expiry: Expiry,
    pub(super) lock: Box<dyn Debug + Send + Sync>,
    stall: Option<Stall>,
    stalls: Seldom,
    pub(super) evictions: Seldom,
    pub(super) refused_sessions: Seldom,
}

/// What recovery hands to the writer.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) lanes: Vec<Log>,
    pub(super) aside: Log,
    pub(super) control: Log,
    pub(super) reserve: Reserve,
    pub(super) lock: Box<dyn Debug + Send + Sync>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, parts: Parts, syncer: Syncer) -> Self {
        let Parts { lanes, aside, control, reserve, lock } = parts;
        let began = shared.options.clock.now();
        let company = Company::new(shared.options.commit_within);
        Self {
            parked: Parked::default(),
            fates: Vec::new(),
            blocking: Vec::new(),
            level: Level::default(),
            began,
            tended: None,
            between: Between::default(),
            commit_bytes: shared.commit_bytes(),
            unnoted: 0,
            shared,
            lanes,
            aside,
            control,
            reserve,
            syncer,
            pending: VecDeque::new(),
            ops: Vec::new(),
            overlay: HashMap::new(),
            sessions: SessionRoom::default(),
            body: Vec::new(),
            incoming: Vec::new(),
            aside_drop: 0,
            company,
            sample: None,
            spare: 0,
            damage: Vec::new(),
            tell_after: None,
            expiry: Expiry::default(),
            lock,
            stall: None,
            stalls: Seldom::default(),
            evictions: Seldom::default(),
            refused_sessions: Seldom::default(),
        }
    }

    /// Runs until the store is closed.
    pub(super) fn run(mut self, index: Option<JoinHandle<()>>) {
        loop {
            let closing = self.gather();
            if self.turn(closing, Instant::now()).is_break() {
                break;
            }
        }
        self.end(index);
    }

    /// One turn: a commit of what is pending, as far as the disk lets it. Breaks once nothing is left to do while the
    /// store is being closed, or it cannot be done.
    pub(super) fn turn(&mut self, closing: bool, now: Instant) -> ControlFlow<()> {
        self.tend(now);
        self.unpark(now);
        if !closing {
            // Also on a full disk: this makes room.
            self.expire(now);
            if self.stall.is_none() {
                self.tell_gaps(now);
            }
        }
        if self.pending.is_empty() && self.damage.is_empty() {
            if closing {
                if !self.parked.is_empty() {
                    tracing::error!(
                        unanswered = self.parked.len(),
                        "the store is closed while it has no room: what was not acknowledged is left to the devices"
                    );
                }
                return ControlFlow::Break(());
            }
            self.idle();
            return ControlFlow::Continue(());
        }
        let records_wait = self.stall.as_ref().is_some_and(|stall| now < stall.retry);
        if !records_wait || closing {
            if self.stall.as_ref().is_some_and(|stall| stall.full) {
                // Should this fail too, the commit says why.
                let _ = self.roll_delivered(now);
            }
            let result = self.commit(Scope::Everything, now);
            let failed = result.is_err();
            self.settle(result, now);
            if failed && closing {
                let _ = self.commit(Scope::Control, now);
                tracing::error!(
                    unanswered = self.pending.len() + self.parked.len(),
                    "the store is closed while it cannot write: what was not acknowledged is left to the devices"
                );
                return ControlFlow::Break(());
            }
        }
        self.commit_control(now);
        ControlFlow::Continue(())
    }

    /// Stops the index, gives the lock back, and says that nothing more comes.
    pub(super) fn end(mut self, index: Option<JoinHandle<()>>) {
        self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]).for_each(Log::finish);
        self.shared.index.close();
        if index.is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the index's thread has panicked; the index is made anew when it is needed");
        }
        let Self { lock, shared, .. } = self;
        drop(lock);
        shared.finished();
    }

    /// While records wait for the disk, changes of state go ahead of them.
    fn commit_control(&mut self, now: Instant) {
        let Some(stall) = &self.stall else { return };
        let waits = stall.control_retry.is_some_and(|retry| now < retry);
        let wanted = !self.damage.is_empty() || self.pending.iter().any(|one| !one.changes().is_empty());
        if waits || !wanted {
            return;
        }
        let failed = self.commit(Scope::Control, now).is_err();
        if let Some(stall) = &mut self.stall {
            stall.control_retry = failed.then(|| now + RETRY_LAST);
        }
    }

    fn settle(&mut self, result: Result<(), Failure>, now: Instant) {
        match (result, &mut self.stall) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                self.end_stall();
            }
            (Err(failure), Some(stall)) => {
                stall.full = failure.is_full();
                stall.wait = (stall.wait * 2).min(RETRY_LAST);
                stall.retry = now + stall.wait;
            }
            (Err(failure), none) => {
                let told = self.stalls.add(1, now);
                if let Some(times) = told {
                    tracing::error!(
                        code = %Code::StoreStalled,
                        reason = %failure,
                        times,
                        "the store cannot write; nothing stored is harmed, acknowledgements are withheld, trying again"
                    );
                }
                let (wait, full) = (RETRY_FIRST, failure.is_full());
                let (retry, logged) = (now + wait, told.is_some());
                *none = Some(Stall { wait, retry, control_retry: None, full, logged });
                self.shared.set_stalled(Some(failure.message().into_value()));
            }
        }
    }

    /// Takes over what was submitted. Waits for it if there is nothing to do. `true` once the store is being closed.
    fn gather(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        if self.pending.is_empty() || self.stall.is_some() {
            let until = match &self.stall {
                Some(stall) if !self.pending.is_empty() => stall.retry,
                // Others may free the disk at any time.
                _ if !self.parked.is_empty() => Instant::now() + RETRY_LAST,
                _ => Instant::now() + self.rest(),
            };
            while queue.is_empty() && !queue.closing {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                queue = shared.wait(queue, 1, left);
            }
            if self.stall.is_none() {
                queue = self.await_company(queue);
            }
        }
        drop(queue);
        self.take_over()
    }

    /// How long it waits when nothing comes.
    fn rest(&self) -> Duration {
        [self.tell_in(), self.expire_in()].into_iter().flatten().fold(IDLE, Duration::min)
    }

    /// Takes over what was submitted by now, without waiting. `true` once the store is being closed.
    pub(super) fn take_over(&mut self) -> bool {
        let shared = self.shared.clone();
        // What it had in hand is done, whether or not the disk took it.
        shared.pulse.answer();
        let mut queue = shared.queue();
        queue.asked = false;
        std::mem::swap(&mut queue.submissions, &mut self.incoming);
        let noted = std::mem::take(&mut queue.noted);
        queue.bytes = 0;
        self.damage.append(&mut queue.damage);
        let closing = queue.closing;
        drop(queue);
        let before = self.pending.len() - std::mem::take(&mut self.unnoted).min(self.pending.len());
        self.company.note(self.pending.range(before..));
        self.company.note(self.incoming.iter().skip(noted));
        self.pending.extend(self.incoming.drain(..));
        closing
    }

    /// Waits for company as long as that pays.
    fn await_company<'a>(&mut self, mut queue: MutexGuard<'a, super::Queue>) -> MutexGuard<'a, super::Queue> {
        let shared = self.shared.clone();
        loop {
            self.company.note(queue.submissions.iter().skip(queue.noted));
            queue.noted = queue.submissions.len();
            if queue.closing || queue.submissions.is_empty() || !queue.damage.is_empty() {
                return queue;
            }
            let now = Instant::now();
            match self.company.decide(self.commit_bytes, now) {
                Decision::Now => return queue,
                Decision::Wait { until, more } => {
                    let wanted = queue.noted + more;
                    queue = shared.wait(queue, wanted, until.saturating_duration_since(now));
                }
            }
        }
    }

    /// Looks after the disk, now and then, whether or not anything comes.
    fn tend(&mut self, now: Instant) {
        if self.tended.is_some_and(|last| now.saturating_duration_since(last) < IDLE) {
            return;
        }
        self.tended = Some(now);
        self.sweep_kept(now);
        if let Err(failure) = self.survey(now) {
            tracing::debug!(%failure, "cannot give way yet");
        }
    }

    fn idle(&mut self) {
        // Nothing waits any more, so nothing shows whether the disk is well: the next submission will.
        self.end_stall();
        if let Some(records) = self.evictions.rest(Instant::now()) {
            tracing::warn!(records, "the byte limit was reached: more records were evicted than were logged");
        }
        self.ops.clear();
        if self.stage_clock() {
            if let Err(failure) = self.commit_ops() {
                tracing::debug!(%failure, "cannot note the time yet");
            } else {
                // Who has read records before has to know that they have other times now.
                self.shared.progress.send_modify(|commits| *commits += 1);
            }
        }
        if !self.reserve.is_present() {
            if let Err(error) = self.reserve.restore() {
                tracing::debug!(%error, "cannot restore the reserve yet");
            }
        }
    }

    fn end_stall(&mut self) {
        let Some(stall) = self.stall.take() else { return };
        self.shared.set_stalled(None);
        if stall.logged {
            tracing::info!("the store writes again");
        } else {
            tracing::debug!("the store writes again");
        }
    }

    /// Counts a commit and its bytes.
    pub(super) fn count(&self, bytes: u64) {
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Shared {
    /// Asks the writer whether it lives. It answers when it next takes over what was submitted, which is at once if it
    /// rests.
    pub(in crate::store) fn ask(&self) -> Question {
        let question = self.pulse.ask();
        self.queue().asked = true;
        self.wake.notify_one();
        question
    }
}
