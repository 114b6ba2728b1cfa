//! One lane: its plan, its two streams, and how they share the line.
//!
//! In `oldest-first` order the backlog goes strictly before what is live; only suspects of it, which wait for proof, let
//! live pass. In `live-first` order the two share by bytes while both have something to send, the backlog getting its
//! share and no more; what one does not use the other has.
//!
//! # When live moves to the lane's end
//! In `live-first` order: at the start; when the order is set so; after an outage, if more than a batch waits; and when
//! what live would send next has waited for longer than `replayed_after`: then there is an outage, or the line is
//! slower than the devices.

use std::time::Instant;

use super::batch::{Batch, Cutting, Marks};
use super::course::Outcome;
use super::lanes::Fair;
use super::options::{LaneOptions, Options, Order};
use super::plan::{Plan, Side};
use super::spans::{Span, Spans, holes};
use super::stream::{Job, Now, Stream};
use crate::store::{LaneId, LaneStats, Ranges, Store};

/// The lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) options: LaneOptions,
    pub(super) plan: Plan,
    streams: [Stream; 2],
    /// Which stream's turn it is in live-first order.
    share: Fair,
    pub(super) marks: Marks,
    /// Live is to move to the lane's end as soon as no try of it is under way.
    behind: bool,
}

impl Lane {
    /// A lane that goes on where the store says.
    pub(super) fn new(store: &Store, stats: &LaneStats, id: LaneId, options: &Options, now: Instant) -> Self {
        Self {
            id,
            options: options.lanes[id.index()],
            plan: Plan::new(options.order, &store.waiting(id), stats.next),
            streams: Side::BOTH.map(|side| Stream::new(store, id, side, options, now)),
            share: share(options),
            marks: Marks { unsent: store.unsent(id), sent: Spans::default() },
            behind: false,
        }
    }

    /// A stream.
    pub(super) fn stream(&mut self, side: Side) -> &mut Stream {
        &mut self.streams[side.index()]
    }

    /// Batches that are ready to be sent.
    pub(super) fn at_hand(&self) -> impl Iterator<Item = &Batch> {
        self.streams.iter().flat_map(|stream| [&stream.fresh, &stream.piece]).flatten()
    }

    /// The lane's next sequence number: records exist below it.
    pub(super) fn end(store: &Store, id: LaneId) -> u64 {
        store.stats().lanes.get(id.index()).map_or(0, |lane| lane.next)
    }

    /// New options; what was laid out by the old ones is laid out anew.
    /// `from`: when what was refused may be tried again.
    pub(super) fn reconfigure(&mut self, options: &Options, from: Instant) {
        self.options = options.lanes[self.id.index()];
        self.share = share(options);
        self.behind = options.order == Order::LiveFirst && (self.behind || self.plan.order() != options.order);
        self.plan.reorder(options.order);
        self.streams.iter_mut().for_each(|stream| stream.reconfigure(options, from));
        self.follow();
    }

    /// Drops what the streams have read ahead and the plan has moved.
    pub(super) fn follow(&mut self) {
        for side in Side::BOTH {
            if self.plan.take_moved(side) {
                self.stream(side).drop_fresh();
            }
        }
    }

    /// The store has committed something.
    pub(super) fn has_news(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.news = true);
    }

    /// Whether it is to be told of news.
    pub(super) fn listens(&self) -> bool {
        self.streams.iter().any(|stream| !stream.news)
    }

    /// An outage is over: live moves to the lane's end if more than a batch waits.
    pub(super) fn outage_ended(&mut self) {
        let live = &self.streams[Side::Live.index()];
        self.behind |= self.plan.order() == Order::LiveFirst && live.fresh.is_some() && live.has_more();
    }

    /// Moves live to the lane's end if it has fallen behind.
    pub(super) fn keep_up(&mut self, store: &Store, cutting: &Cutting) {
        if self.plan.order() != Order::LiveFirst {
            return;
        }
        let oldest = self.streams[Side::Live.index()].oldest();
        let late = oldest.is_some_and(|oldest| cutting.now.saturating_duration_since(oldest) > cutting.replayed_after);
        if (self.behind || late) && !self.plan.course(Side::Live).is_trying() {
            self.behind = false;
            if self.plan.move_live(Self::end(store, self.id)) {
                self.has_news();
            }
            self.follow();
        }
    }

    /// Closes a stream's batch if it is full or due; see [`Stream::close_if_due`].
    /// `call`: what was gathered before then closes, though it is not due.
    pub(super) fn close_if_due(&mut self, side: Side, gate_open: bool, call: Option<Instant>, now: Instant) -> bool {
        let at_once = self.options.first || self.is_called(side, call);
        self.stream(side).close_if_due(at_once, gate_open, now)
    }

    /// Whether a stream's batch was begun before a call.
    pub(super) fn is_called(&self, side: Side, call: Option<Instant>) -> bool {
        let gathered = self.streams[side.index()].gathered_since();
        gathered.zip(call).is_some_and(|(since, call)| since <= call)
    }

    /// Whether a stream's batch is as old as it should become, see [`Stream::is_due`].
    pub(super) fn is_due(&self, side: Side, now: Instant) -> bool {
        self.streams[side.index()].is_due(now)
    }

    /// The read that a stream is to do now, if any, and what is to be announced of it already.
    pub(super) fn job(
        &mut self,
        side: Side,
        store: &Store,
        gate_open: bool,
        cutting: Cutting,
    ) -> Option<(Job, Option<Span>)> {
        if side == Side::Live && self.is_held() {
            return None;
        }
        let id = self.id;
        let now = Now { at: cutting.now, gate_open, cutting, marks: &self.marks };
        self.streams[side.index()].job(&mut self.plan, || Self::end(store, id), &now)
    }

    /// Whether live waits until the backlog is gone.
    fn is_held(&self) -> bool {
        let backlog = &self.streams[Side::Backlog.index()];
        let at_hand = backlog.fresh.is_some() || backlog.piece.is_some();
        self.plan.order() == Order::OldestFirst && (at_hand || self.plan.has_backlog())
    }

    /// Which stream's batch the lane would send now, if any; `announced` says whether it may be.
    pub(super) fn turn(&self, announced: impl Fn(Span) -> bool) -> Option<(Side, &Batch)> {
        let ready = |side: Side| {
            let batch = self.streams[side.index()].batch(&self.plan);
            batch.filter(|batch| announced(batch.span) && !(side == Side::Live && self.is_held()))
        };
        let index = self.share.pick(|index| ready(Side::BOTH[index]).is_some())?;
        let side = Side::BOTH[index];
        ready(side).map(|batch| (side, batch))
    }

    /// The batch with the lane's oldest record, if it is ready.
    pub(super) fn oldest(&self) -> Option<(Side, &Batch)> {
        let ready = |side: Side| Some((side, self.streams[side.index()].batch(&self.plan)?));
        Side::BOTH.into_iter().filter_map(ready).min_by_key(|(_, batch)| batch.oldest)
    }

    /// Takes the batch that [`Lane::turn`] named, to send it.
    pub(super) fn take(&mut self, side: Side) -> Option<Batch> {
        let stream = &mut self.streams[side.index()];
        let batch = if let Some(piece) = stream.piece.take() {
            piece
        } else {
            let batch = stream.fresh.take()?;
            self.plan.begin_fresh(side, batch.span);
            batch
        };
        self.share.charge(side.index(), batch.body.len());
        Some(batch)
    }

    /// A batch was given to the wire.
    pub(super) fn was_sent(&mut self, batch: &Batch) {
        batch.runs.iter().for_each(|run| self.marks.sent.insert(*run));
    }

    /// What was sent is done with.
    pub(super) fn is_done(&mut self, span: Span) {
        self.marks.sent.remove(span);
    }

    /// These are to be delivered again.
    pub(super) fn sent_before(&mut self, again: &[Span]) {
        for span in again {
            self.marks.unsent.remove(span.from, span.below);
        }
    }

    /// Drops what was read of records that other hands took out of what waits: a flow is told how many of them had been
    /// announced, and these may not have been.
    pub(super) fn lose(&mut self, before: &Ranges, now: &Ranges) {
        let gone = |hole: Span| before.within(hole.from, hole.below).map(|(from, below)| Span::new(from, below));
        let gone: Vec<Span> = holes(now).into_iter().flat_map(gone).collect();
        for side in Side::BOTH {
            if !gone.is_empty() && self.stream(side).lose(&gone) {
                self.plan.settle(side, Outcome::Unjudged, 0);
            }
        }
    }

    /// Some batch was accepted just now.
    pub(super) fn prove(&mut self) {
        self.plan.prove();
        self.streams.iter_mut().for_each(Stream::prove);
    }

    /// See [`Stream::next_attempt`].
    pub(super) fn next_attempt(&self, store: &Store, now: Instant) -> Option<Instant> {
        let of = |side: Side| {
            let end = || Self::end(store, self.id);
            self.streams[side.index()].next_attempt(&self.plan, self.options.first, end, now)
        };
        Side::BOTH.into_iter().filter(|side| *side == Side::Backlog || !self.is_held()).filter_map(of).min()
    }

    /// Whether it is about to send: something is at hand, or it is being read what there is.
    pub(super) fn is_near(&self, store: &Store, now: Instant) -> bool {
        let reads = self.streams.iter().any(Stream::is_reading);
        reads || self.next_attempt(store, now).is_some_and(|at| at <= now)
    }

    /// When it must be looked at again if nothing else happens.
    pub(super) fn wake_at(&self, replayed_after: std::time::Duration, now: Instant) -> Option<Instant> {
        let oldest = self.streams[Side::Live.index()].oldest();
        let late = oldest.filter(|_| self.plan.order() == Order::LiveFirst).map(|oldest| oldest + replayed_after);
        let streams = self.streams.iter().filter_map(|stream| stream.wake_at(&self.plan, now)).min();
        [streams, late.filter(|at| *at > now)].into_iter().flatten().min()
    }
}

/// The streams' shares: the backlog's as configured, the rest for live.
fn share(options: &Options) -> Fair {
    let backlog = u32::from(options.backlog_share);
    Fair::new([backlog, 100_u32.saturating_sub(backlog)])
}
