//! What of a lane is to be delivered, and in which order: two streams. Pure.
//!
//! A lane's records that wait are *owed*. They are split at one number: from there on they are the **live** stream's,
//! below it the **backlog**'s. Each stream goes through what is its own in order of `seq`, with a [`Course`] of its own.
//!
//! ```text
//!        acknowledged   ┌─ backlog ─┐     ┌── backlog ──┐            ┌─ live ──►
//!   0 ─────────────────[═════════════)───[══════════════)───────────[═════════════ ...
//!                       an earlier one    the last outage  delivered  split
//! ```
//!
//! - `oldest-first`: the split stands where the last range that is owed begins. A lane that was always sent in order
//!   has but this one range, and all of it is live. There is a backlog only if holes were left (by an earlier
//!   `live-first`, by suspects that stood when the agent stopped) or records are to be replayed; it goes first.
//! - `live-first`: the split moves to the lane's end whenever the lane has fallen behind ([`Plan::move_live`]); what
//!   waited is then the backlog, and the two share the line (see `lane`).
//!
//! # Bounds
//! The owed set has a range for each outage whose backlog is not gone yet. At [`BACKLOG_RANGES`] the split is not moved
//! any more, so live records wait for those before them; a line that has been too slow for so long can do no better.
//! Besides, it has at most as many ranges as the store's set of what waits.

use super::course::{Course, Next, Outcome, Settled, Untried};
use super::options::Order;
use super::spans::{Span, Spans, holes};
use crate::store::Ranges;

/// Ranges of backlog at most: half of what the store remembers, so that holes that suspects and replays leave have
/// room beside them.
pub(super) const BACKLOG_RANGES: usize = Ranges::LIMIT / 2;

/// One of a lane's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What waited before.
    Backlog,
    /// What comes in now.
    Live,
}

impl Side {
    /// Both, the older first.
    pub(super) const BOTH: [Self; 2] = [Self::Backlog, Self::Live];

    /// Its place where both stand in a row.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// The plan of one lane.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    order: Order,
    /// To be delivered, and in no course yet. The last span is open-ended.
    owed: Spans,
    /// From here on it is live; never below where the last span begins.
    split: u64,
    courses: [Course; 2],
    /// What a stream has read ahead is no longer what comes next in it.
    moved: [bool; 2],
}

impl Plan {
    /// A plan for what waits in a lane whose next record gets the number `end`.
    pub(super) fn new(order: Order, waiting: &Ranges, end: u64) -> Self {
        let owed: Spans = waiting.iter().collect();
        let mut plan = Self { order, owed, split: 0, courses: Default::default(), moved: [false; 2] };
        plan.split = plan.open_from();
        plan.move_live(end);
        plan.moved = [false; 2];
        plan
    }

    /// Where the last span begins.
    fn open_from(&self) -> u64 {
        self.owed.last().map_or(0, |span| span.from)
    }

    /// The order in use.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// A stream's course.
    pub(super) fn course(&self, side: Side) -> &Course {
        &self.courses[side.index()]
    }

    /// A stream's course, to tell it what came of a try.
    pub(super) fn course_mut(&mut self, side: Side) -> &mut Course {
        &mut self.courses[side.index()]
    }

    /// Both courses.
    pub(super) fn courses(&self) -> &[Course; 2] {
        &self.courses
    }

    /// Another record was accepted; see [`Course::prove`].
    pub(super) fn prove(&mut self) {
        self.courses.iter_mut().for_each(Course::prove);
    }

    /// Another endpoint is used; see [`Course::change_endpoint`].
    pub(super) fn change_endpoint(&mut self) {
        self.courses.iter_mut().for_each(Course::change_endpoint);
    }

    /// The first numbers of a stream, from `at` on, that were never tried: a range without holes. Live's is open-ended.
    pub(super) fn untried(&self, side: Side, at: u64) -> Option<Span> {
        match side {
            Side::Live => self.owed.next_from(at.max(self.split)),
            Side::Backlog => {
                let span = self.owed.next_from(at).filter(|span| span.from < self.split)?;
                Some(Span::new(span.from, span.below.min(self.split)))
            }
        }
    }

    /// Whether there is anything below the split that is to be sent and can be: suspects wait for proof.
    pub(super) fn has_backlog(&self) -> bool {
        self.untried(Side::Backlog, 0).is_some() || self.course(Side::Backlog).is_busy()
    }

    /// Numbers below the split that were never tried, as a count; some may not exist any more.
    pub(super) fn backlog(&self) -> u64 {
        self.owed.within(Span::new(0, self.split)).map(|span| span.below - span.from).sum()
    }

    /// What a stream is to try next; `end` gives the lane's next sequence number.
    pub(super) fn next(&self, side: Side, end: impl FnOnce() -> u64) -> Next {
        self.course(side).next(|| match side {
            Side::Backlog => Untried { owed: &self.owed, from: 0, below: self.split },
            Side::Live => Untried { owed: &self.owed, from: self.split, below: end() },
        })
    }

    /// What [`Plan::next`] named, and not [`Next::Fresh`], is about to be loaded. Returns what is to be announced before
    /// it is sent: with a record out of turn all that is skipped, so that the store need not remember each by itself.
    pub(super) fn begin(&mut self, side: Side, next: Next) -> Option<Span> {
        match next {
            Next::Fresh | Next::Wait => None,
            Next::Again { span, .. } => {
                self.course_mut(side).begin(next, []);
                Some(span)
            }
            Next::Beyond { seq, .. } => {
                let first = self.untried(side, 0).map_or(seq, |span| span.from.min(seq));
                let skipped: Vec<Span> = self.owed.within(Span::new(first, seq)).collect();
                self.take(Span::new(first, seq + 1));
                self.moved[side.index()] = true;
                self.course_mut(side).begin(next, skipped);
                Some(Span::new(first, seq + 1))
            }
        }
    }

    /// A fresh batch that covers `span` is about to be sent.
    pub(super) fn begin_fresh(&mut self, side: Side, span: Span) {
        self.take(span);
        self.course_mut(side).begin_fresh(span);
    }

    /// There is no record in this part of what was never tried.
    pub(super) fn vanished(&mut self, span: Span) {
        self.take(span);
    }

    fn take(&mut self, span: Span) {
        self.owed.remove(span);
        self.split = match self.order {
            Order::OldestFirst => self.open_from(),
            Order::LiveFirst => self.split.max(self.open_from()),
        };
    }

    /// What was tried is settled. `next` is the next number that exists, or will, where a try was empty: what of the
    /// stream lies between need not be stepped through one by one.
    pub(super) fn settle(&mut self, side: Side, outcome: Outcome, next: u64) -> Settled {
        let mut settled = self.course_mut(side).settle(outcome);
        if let (Outcome::Empty, Some(done)) = (outcome, &mut settled.done) {
            let limit = self.untried(side, done.below).map_or(done.below, |span| span.below);
            let below = next.min(limit).max(done.below);
            self.take(Span::new(done.below, below));
            done.below = below;
        }
        settled
    }

    /// In live-first order, when the lane has fallen behind: live goes on at `end`, the number the lane's next record
    /// will get, and what waits becomes backlog. Says whether it does; not in the middle of a live try.
    pub(super) fn move_live(&mut self, end: u64) -> bool {
        let ranges = self.owed.within(Span::new(0, self.split)).count();
        let live = self.course(Side::Live);
        if self.order != Order::LiveFirst || end <= self.split || live.is_trying() || ranges >= BACKLOG_RANGES {
            return false;
        }
        self.split = end;
        let [backlog, live] = &mut self.courses;
        for span in live.hand_over(backlog) {
            self.owed.insert(span);
            // It may lie before what the backlog has read.
            self.moved[Side::Backlog.index()] = true;
        }
        self.moved[Side::Live.index()] = true;
        true
    }

    /// Another order from now on; nothing is lost or repeated by it. Live-first begins where live is moved next.
    pub(super) fn reorder(&mut self, order: Order) {
        if self.order == order {
            return;
        }
        self.order = order;
        if order == Order::OldestFirst {
            self.join();
        }
    }

    /// Puts the split back where the last span begins.
    fn join(&mut self) {
        if self.split != self.open_from() {
            self.split = self.open_from();
            self.moved = [true; 2];
        }
    }

    /// What waits has changed by other hands, from `before` to `now`: records were evicted, have expired, or are to be
    /// replayed. Returns what waits again.
    pub(super) fn wait_for(&mut self, before: &Ranges, now: &Ranges) -> Vec<Span> {
        for gone in holes(now) {
            self.owed.remove(gone);
            self.courses.iter_mut().for_each(|course| course.drop_span(gone));
        }
        let again: Vec<Span> = holes(before)
            .into_iter()
            .flat_map(|hole| now.within(hole.from, hole.below).map(|(from, below)| Span::new(from, below)))
            .collect();
        for span in &again {
            self.owed.insert(*span);
            self.moved[Side::Backlog.index()] = true;
        }
        match self.order {
            Order::OldestFirst if self.open_from() < self.split => self.join(),
            Order::OldestFirst => self.split = self.open_from(),
            Order::LiveFirst => self.split = self.split.max(self.open_from()),
        }
        again
    }

    /// Whether what the stream has read ahead is to be dropped; asked once.
    pub(super) fn take_moved(&mut self, side: Side) -> bool {
        std::mem::take(&mut self.moved[side.index()])
    }
}

#[cfg(test)]
mod tests;
