//! One lane on its way out: the batch that is being gathered, the one that is ready, and its [`Course`].
//!
//! While a batch of the lane is with Flux, the next one is read and announced already. Refused or unanswered batches
//! go through a slot of their own (`piece`), so that the batch that was read ahead keeps its place behind them.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Jitter};
use super::batch::{Batch, Cutting, Loader, Open, Piece};
use super::course::{Course, Next, Outcome, Pace, Span};
use super::options::{LaneOptions, Options};
use crate::store::{LaneId, Store, StoreError, TimesKnown};

/// Shortest time between two looks at the end of a lane: one look costs some ten microseconds, and commits may come a
/// thousand times a second. Well below the second in which a critical record must be gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Pause after a read that failed: the disk may need a moment, and a broken one shall not be read in a loop.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// What a finished read found.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The fresh batch was filled; whether the lane's end was reached.
    Fresh(Option<Open>, Result<bool, StoreError>),
    /// A span was read.
    Piece(Result<Piece, StoreError>),
}

/// A read to be done where blocking is allowed.
#[derive(Debug)]
pub(super) enum Job {
    /// Fill the fresh batch.
    Fresh(Loader, Option<Open>, Cutting),
    /// Read a span.
    Piece(Loader, Span, Cutting),
}

impl Job {
    /// Does it.
    pub(super) fn run(self) -> (Loader, Loaded) {
        match self {
            Job::Fresh(mut loader, mut open, cutting) => {
                let result = loader.fill(&mut open, &cutting);
                (loader, Loaded::Fresh(open, result))
            }
            Job::Piece(mut loader, span, cutting) => {
                let result = loader.load_span(span, &cutting);
                (loader, Loaded::Piece(result))
            }
        }
    }
}

/// The lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) options: LaneOptions,
    pub(super) course: Course,
    /// Out while a read is under way.
    pub(super) loader: Option<Loader>,
    open: Option<Open>,
    due: Option<Instant>,
    pub(super) fresh: Option<Batch>,
    pub(super) piece: Option<Batch>,
    /// Records below this were given to the wire, or may have been before the start.
    pub(super) sent_below: u64,
    /// By what is known of boots' times its batches are laid out.
    pub(super) times_known: TimesKnown,
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

impl Lane {
    /// A lane that goes on from `cursor`.
    pub(super) fn new(store: &Store, id: LaneId, options: &Options, cursor: u64, sent: u64, now: Instant) -> Self {
        Self {
            id,
            options: options.lanes[id.index()],
            course: Course::new(cursor),
            loader: Some(Loader::new(store, id, cursor)),
            open: None,
            due: None,
            fresh: None,
            piece: None,
            sent_below: sent,
            times_known: store.times_known(),
            news: true,
            at_end: false,
            look_at: now,
            read_at: now,
            pace: Backoff::new(options.backoff),
            slow_pace: Backoff::new(options.probe),
            pace_until: now,
        }
    }

    /// Records have other times now: what is not on the wire is laid out anew. `false` if it has to be tried again, for
    /// a read is under way.
    pub(super) fn lay_out_anew(&mut self) -> bool {
        if self.loader.is_none() {
            return false;
        }
        if self.piece.take().is_some() {
            self.course.settle(Outcome::Unjudged);
        }
        self.drop_fresh();
        true
    }

    /// New options; what was laid out by the old ones is laid out anew, unless it is being read just now.
    pub(super) fn reconfigure(&mut self, options: &Options, now: Instant) {
        self.options = options.lanes[self.id.index()];
        self.pace = Backoff::new(options.backoff);
        self.slow_pace = Backoff::new(options.probe);
        self.pace_until = now;
        if self.loader.is_some() {
            self.drop_fresh();
        }
    }

    /// Closes the batch being gathered if it is full, or due and could go at once.
    pub(super) fn close_if_due(&mut self, gate_open: bool, now: Instant) -> bool {
        let due = gate_open && (self.options.immediate || self.due.is_some_and(|due| due <= now));
        if self.fresh.is_some() || !self.open.as_ref().is_some_and(|open| open.is_full() || due) {
            return false;
        }
        self.fresh = self.open.take().map(Open::close);
        self.due = None;
        true
    }

    /// The read that is to be done now, if any.
    pub(super) fn job(
        &mut self,
        cutting: impl Fn(u64) -> Cutting,
        gate_open: bool,
        now: Instant,
        store: &Store,
    ) -> Option<Job> {
        if self.loader.is_none() || now < self.read_at {
            return None;
        }
        let index = self.id.index();
        if gate_open && self.piece.is_none() {
            let end = || store.stats().lanes.get(index).map_or(0, |lane| lane.next);
            let next = self.course.next(end);
            let (span, paced) = match next {
                Next::Again { span, paced } => (Some(span), paced),
                Next::Beyond { seq, paced } => (Some(Span { from: seq, below: seq + 1 }), paced),
                Next::Fresh | Next::Wait => (None, false),
            };
            if let Some(span) = span.filter(|_| !paced || now >= self.pace_until) {
                self.course.begin(next);
                if matches!(next, Next::Beyond { .. }) {
                    self.drop_fresh();
                }
                return Some(Job::Piece(self.loader.take()?, span, cutting(self.sent_below)));
            }
        }
        let full = self.open.as_ref().is_some_and(Open::is_full);
        let wait = self.at_end && (!self.news || now < self.look_at);
        if self.fresh.is_some() || full || wait {
            return None;
        }
        self.news = false;
        Some(Job::Fresh(self.loader.take()?, self.open.take(), cutting(self.sent_below)))
    }

    /// Takes back what a read of the fresh batch found.
    pub(super) fn filled(&mut self, open: Option<Open>, at_end: bool, options: &Options, now_ms: u64, now: Instant) {
        if self.due.is_none() {
            self.due = open.as_ref().map(|open| {
                let age = Duration::from_millis(now_ms.saturating_sub(open.oldest_ms()));
                now + options.batch.max_age.saturating_sub(age)
            });
        }
        self.open = open;
        self.at_end = at_end;
        if at_end {
            self.look_at = now + LOOK_EVERY;
        }
    }

    /// Whether more records are known to wait than those read.
    pub(super) fn has_backlog(&self) -> bool {
        !self.at_end
    }

    /// A read failed.
    pub(super) fn read_failed(&mut self, now: Instant) {
        self.at_end = false;
        self.read_at = now + READ_AGAIN;
    }

    /// Forgets what was read ahead, to read it again from the course's front. Only while no read is under way.
    pub(super) fn drop_fresh(&mut self) {
        self.open = None;
        self.due = None;
        self.fresh = None;
        self.at_end = false;
        let front = self.course.front();
        if let Some(loader) = &mut self.loader {
            loader.restart(front);
        }
    }

    /// Waits before the next paced try.
    pub(super) fn wait(&mut self, pace: Pace, now: Instant, jitter: &mut Jitter) {
        match pace {
            Pace::Same => {}
            Pace::Short => self.pace_until = now + self.pace.failed(jitter),
            Pace::Long => self.pace_until = now + self.slow_pace.failed(jitter),
        }
    }

    /// Some lane's batch was accepted just now.
    pub(super) fn prove(&mut self) {
        self.course.prove();
        self.pace.reset();
        self.slow_pace.reset();
    }

    /// When something of it is to be sent next, as far as it knows by itself: `now` if nothing holds it up, `None` if no
    /// record is known to wait. `end` gives the lane's next sequence number.
    pub(super) fn next_attempt(&self, end: impl FnOnce() -> u64, now: Instant) -> Option<Instant> {
        if self.piece.is_some() {
            return Some(now);
        }
        let at_hand = |open: &Open| open.is_full() || self.options.immediate;
        match self.course.next(end) {
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
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let due = self.due.filter(|_| self.fresh.is_none());
        let look = (self.at_end && self.news).then_some(self.look_at);
        let pace = (self.course.next(|| u64::MAX) != Next::Fresh).then_some(self.pace_until);
        [due, look, pace, Some(self.read_at)].into_iter().flatten().filter(|at| *at > now).min()
    }
}
