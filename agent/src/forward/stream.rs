//! One of a lane's two streams on its way out: the batch that is being gathered, and the one that is ready.
//!
//! While a batch of the stream is with Flux, the next one is read and announced already. Refused or unanswered batches
//! go through a slot of their own (`piece`), so that the batch that was read ahead keeps its place behind them.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Jitter};
use super::batch::{Batch, Cutting, Filled, Loader, Marks, Open, Piece};
use super::course::{Next, Pace};
use super::options::Options;
use super::plan::{Plan, Side};
use super::spans::Span;
use crate::store::{LaneId, Store, StoreError};

/// Shortest time between two looks at the end of a lane: one look costs some ten microseconds, and commits may come a
/// thousand times a second. Well below the second in which a critical record must be gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Pause after a read that failed: the disk may need a moment, and a broken one shall not be read in a loop.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// What a finished read found.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The fresh batch was filled from a range, and why no further.
    Fresh(Option<Open>, Span, Result<Filled, StoreError>),
    /// A span was read.
    Piece(Result<Piece, StoreError>),
}

/// A read to be done where blocking is allowed.
#[derive(Debug)]
pub(super) struct Job {
    loader: Loader,
    cutting: Cutting,
    marks: Marks,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Fill the fresh batch.
    Fresh(Option<Open>, Span),
    /// Read a span.
    Piece(Span),
}

impl Job {
    /// Does it.
    pub(super) fn run(self) -> (Loader, Loaded) {
        let Self { mut loader, cutting, marks, what } = self;
        match what {
            What::Fresh(mut open, range) => {
                let result = loader.fill(&mut open, range, &cutting, &marks);
                (loader, Loaded::Fresh(open, range, result))
            }
            What::Piece(span) => {
                let result = loader.load_span(span, &cutting, &marks);
                (loader, Loaded::Piece(result))
            }
        }
    }
}

/// How things stand when a stream looks what to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now<'a> {
    pub(super) at: Instant,
    /// The endpoint may be tried.
    pub(super) gate_open: bool,
    pub(super) cutting: Cutting,
    pub(super) marks: &'a Marks,
}

/// The stream.
#[derive(Debug)]
pub(super) struct Stream {
    side: Side,
    /// Out while a read is under way.
    loader: Option<Loader>,
    /// The read under way is of what the course is trying.
    reads_piece: bool,
    /// What the read under way finds is to be dropped.
    stale: bool,
    open: Option<Open>,
    /// When the batch that is being gathered is so old that it closes.
    due: Option<Instant>,
    pub(super) fresh: Option<Batch>,
    pub(super) piece: Option<Batch>,
    /// The store has committed something since the last look.
    pub(super) news: bool,
    at_end: bool,
    /// At the lane's end: when to look again at the earliest.
    look_at: Instant,
    /// After a read that failed: when to read again.
    read_at: Instant,
    pace: Backoff,
    slow_pace: Backoff,
    pace_until: Instant,
}

impl Stream {
    /// A stream of which nothing is read yet.
    pub(super) fn new(store: &Store, id: LaneId, side: Side, options: &Options, now: Instant) -> Self {
        Self {
            side,
            loader: Some(Loader::new(store, id)),
            reads_piece: false,
            stale: false,
            open: None,
            due: None,
            fresh: None,
            piece: None,
            news: true,
            at_end: false,
            look_at: now,
            read_at: now,
            pace: Backoff::new(options.backoff),
            slow_pace: Backoff::new(options.probe),
            pace_until: now,
        }
    }

    /// New options; what was laid out by the old ones is laid out anew.
    /// `from`: when what was refused may be tried again.
    pub(super) fn reconfigure(&mut self, options: &Options, from: Instant) {
        self.pace = Backoff::new(options.backoff);
        self.slow_pace = Backoff::new(options.probe);
        self.pace_until = self.pace_until.min(from);
        self.drop_fresh();
    }

    /// Closes the batch being gathered if it is full, or due (`at_once` if it need not wait) and could go.
    pub(super) fn close_if_due(&mut self, at_once: bool, gate_open: bool, now: Instant) -> bool {
        let due = gate_open && (at_once || self.due.is_some_and(|due| due <= now));
        if self.fresh.is_some() || !self.open.as_ref().is_some_and(|open| open.is_full() || due) {
            return false;
        }
        self.fresh = self.open.take().map(Open::close);
        self.due = None;
        true
    }

    /// When the oldest record of the batch being gathered was received.
    pub(super) fn gathered_since(&self) -> Option<Instant> {
        self.open.as_ref().filter(|_| self.fresh.is_none()).map(Open::oldest)
    }

    /// Whether the batch being gathered is so old that it is to close.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.fresh.is_none() && self.open.is_some() && self.due.is_some_and(|due| due <= now)
    }

    /// The read that is to be done now, if any, and what is to be announced of it already.
    pub(super) fn job(
        &mut self,
        plan: &mut Plan,
        end: impl FnOnce() -> u64,
        now: &Now<'_>,
    ) -> Option<(Job, Option<Span>)> {
        if self.loader.is_none() || now.at < self.read_at {
            return None;
        }
        let idle = plan.course(self.side).is_clear();
        if now.gate_open && self.piece.is_none() && !idle {
            let next = plan.next(self.side, end);
            let (span, paced) = match next {
                Next::Again { span, paced } => (Some(span), paced),
                Next::Beyond { seq, paced } => (Some(Span::new(seq, seq + 1)), paced),
                Next::Fresh | Next::Wait => (None, false),
            };
            if let Some(span) = span.filter(|_| !paced || now.at >= self.pace_until) {
                let announce = plan.begin(self.side, next);
                if plan.take_moved(self.side) {
                    self.drop_fresh();
                }
                return Some((self.begin(What::Piece(span), now)?, announce));
            }
        }
        let range = self.range(plan, now.at)?;
        let open = self.open.take();
        Some((self.begin(What::Fresh(open, range), now)?, None))
    }

    /// What the fresh batch is to be filled from, if it is to be.
    fn range(&mut self, plan: &Plan, now: Instant) -> Option<Span> {
        let full = self.open.as_ref().is_some_and(Open::is_full);
        let wait = self.at_end && (!self.news || now < self.look_at);
        if self.fresh.is_some() || full || wait {
            return None;
        }
        let position = self.loader.as_ref()?.position();
        let range = plan.untried(self.side, position)?;
        if range.from > position {
            if let Some(open) = &mut self.open {
                // What came next no longer waits; a batch holds what lies together.
                open.end_at(None);
                return None;
            }
        }
        self.news = false;
        Some(range)
    }

    fn begin(&mut self, what: What, now: &Now<'_>) -> Option<Job> {
        self.reads_piece = matches!(what, What::Piece(_));
        Some(Job { loader: self.loader.take()?, cutting: now.cutting, marks: now.marks.clone(), what })
    }

    /// The loader is back from a read. Says whether what it found is still wanted.
    pub(super) fn returned(&mut self, loader: Loader) -> bool {
        self.loader = Some(loader);
        if !self.stale {
            return true;
        }
        self.stale = false;
        self.drop_fresh();
        false
    }

    /// A read panicked: its loader is lost, if it was this stream's. Says whether what the course is trying was read.
    pub(super) fn lost(&mut self, store: &Store, id: LaneId, now: Instant) -> bool {
        if self.loader.is_some() {
            return false;
        }
        self.loader = Some(Loader::new(store, id));
        self.stale = false;
        self.drop_fresh();
        self.read_failed(now);
        self.reads_piece
    }

    /// Takes back what a read of the fresh batch found.
    pub(super) fn filled(&mut self, open: Option<Open>, filled: Option<Filled>, options: &Options, now: Instant) {
        if self.due.is_none() {
            self.due = open.as_ref().map(|open| open.oldest() + options.batch.max_age);
        }
        self.open = open;
        self.at_end = filled == Some(Filled::LaneEnd);
        if self.at_end {
            self.look_at = now + LOOK_EVERY;
        }
    }

    /// Whether more records are known to wait than those read.
    pub(super) fn has_more(&self) -> bool {
        !self.at_end
    }

    /// When the oldest record was received that is at hand and was never tried.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.fresh.as_ref().map(|batch| batch.oldest).or_else(|| self.open.as_ref().map(Open::oldest))
    }

    /// Whether a read is under way.
    pub(super) fn is_reading(&self) -> bool {
        self.loader.is_none()
    }

    /// A read failed.
    pub(super) fn read_failed(&mut self, now: Instant) {
        self.at_end = false;
        self.read_at = now + READ_AGAIN;
    }

    /// Forgets what was read ahead, to read it again from where the plan has the stream begin.
    pub(super) fn drop_fresh(&mut self) {
        self.open = None;
        self.due = None;
        self.fresh = None;
        self.at_end = false;
        match &mut self.loader {
            Some(loader) => loader.restart(),
            None => self.stale = true,
        }
    }

    /// Drops batches for which `outdated` holds; `true` if the one to be repeated was.
    pub(super) fn drop_outdated(&mut self, outdated: impl Fn(&Batch) -> bool) -> bool {
        if self.loader.is_some() && self.fresh.as_ref().is_some_and(&outdated) {
            self.drop_fresh();
        }
        self.piece.take_if(|piece| outdated(piece)).is_some()
    }

    /// Drops what was read of records that are gone; `true` if the batch to be repeated was.
    pub(super) fn lose(&mut self, gone: &[Span]) -> bool {
        let read = [self.fresh.as_ref().map(|batch| batch.span.from), self.open.as_ref().map(Open::from)];
        let from = if self.loader.is_none() { Some(0) } else { read.into_iter().flatten().min() };
        if from.is_some_and(|from| gone.iter().any(|gone| gone.below > from)) {
            self.drop_fresh();
        }
        let touches =
            |piece: &mut Batch| gone.iter().any(|gone| gone.from < piece.span.below && piece.span.from < gone.below);
        self.piece.take_if(touches).is_some()
    }

    /// What it would send now: a batch that is to be repeated, or a fresh one that nothing stands before.
    pub(super) fn batch(&self, plan: &Plan) -> Option<&Batch> {
        self.piece.as_ref().or_else(|| self.fresh.as_ref().filter(|_| plan.course(self.side).is_clear()))
    }

    /// Waits before the next paced try.
    pub(super) fn wait(&mut self, pace: Pace, now: Instant, jitter: &mut Jitter) {
        match pace {
            Pace::Same => {}
            Pace::Short => self.pace_until = now + self.pace.failed(jitter),
            Pace::Long => self.pace_until = now + self.slow_pace.failed(jitter),
        }
    }

    /// Some batch was accepted just now.
    pub(super) fn prove(&mut self) {
        self.pace.reset();
        self.slow_pace.reset();
    }

    /// When something of it is to be sent next, as far as it knows by itself: `now` if nothing holds it up, `None` if no
    /// record is known to wait. `end` gives the lane's next sequence number.
    pub(super) fn next_attempt(
        &self,
        plan: &Plan,
        at_once: bool,
        end: impl FnOnce() -> u64,
        now: Instant,
    ) -> Option<Instant> {
        if self.piece.is_some() {
            return Some(now);
        }
        let at_hand = |open: &Open| open.is_full() || at_once;
        match plan.next(self.side, end) {
            // It is being read, or is on the wire.
            Next::Wait => Some(now),
            Next::Again { paced, .. } | Next::Beyond { paced, .. } => {
                let paced_until = if paced { self.pace_until } else { now };
                Some(paced_until.max(self.read_at))
            }
            Next::Fresh if self.fresh.is_some() || self.open.as_ref().is_some_and(at_hand) => Some(now),
            Next::Fresh => self.due.or((self.read_at > now).then_some(self.read_at)),
        }
    }

    /// When it must be looked at again if nothing else happens.
    pub(super) fn wake_at(&self, plan: &Plan, now: Instant) -> Option<Instant> {
        let due = self.due.filter(|_| self.fresh.is_none());
        let look = (self.at_end && self.news).then_some(self.look_at);
        let pace = (!plan.course(self.side).is_clear()).then_some(self.pace_until);
        [due, look, pace, Some(self.read_at)].into_iter().flatten().filter(|at| *at > now).min()
    }
}
