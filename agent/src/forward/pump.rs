//! The loop that joins the parts: reads ahead, announces, sends, judges, acknowledges.
//!
//! ```text
//!   lane: read and lay out ──► announce (commit `Sent`) ──► send ──► judge ──► acknowledge (commit)
//!         batch k+1                batch k+1                batch k             batch k-1
//! ```
//!
//! It waits for six things and polls none: answers to the requests under way (one of each class, `ways`), finished reads,
//! the commit under way, news from the store, new options, and the next moment at which something falls due. After each
//! of them it looks what can be done now ([`Pump::step`]); what an answer leads to stands in `answered`.

mod answered;
mod dear;
mod stance;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::backoff::Jitter;
use super::batch::{Batch, Cutting, Filled, Loader, Piece};
use super::course::{Course, Outcome};
use super::gate::{Gate, Reloads};
use super::handle::{Checked, Handle};
use super::http::{Link, Tokens, chain};
use super::lane::Lane;
use super::lanes::LaneOrder;
use super::leave::Leave;
use super::ledger::Ledger;
use super::permit::Permits;
use super::plan::Side;
use super::report::Report;
use super::size::SizeLimit;
use super::spans::Span;
use super::stream::Loaded;
use super::told::Teller;
use super::verdict::{Verdict, shown};
use super::ways::{CLASSES, Way, new_link};
use crate::clock::now_ms;
use crate::code::Code;
use crate::language::Value;
use crate::shape::budget::Urgency;
use crate::shape::wire::{Class, Wire};
use crate::store::{LaneId, LaneStats, Store, TimesKnown};

/// How long the answer under way, and then the last commit, are waited for when told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A batch made ready is laid out anew if a record of it should by now be marked `replayed`, but not for less than
/// this: laying out takes time too, and must not chase the clock.
const MARK_SLACK: Duration = Duration::from_secs(10);

/// While a backlog waits, so many batches are announced together, and again when half of them are left: no batch then
/// waits for a commit, which on an SD card takes longer than a request. The price is that after a power cut up to so
/// many batches that were not sent are marked `replayed`, too.
const ANNOUNCE_AHEAD: u64 = 8;

/// Whether anything was ever delivered, as far as the store's figures show.
fn ever_delivered(lanes: &[LaneStats], put_aside: u64) -> bool {
    let gone: u64 = lanes.iter().map(|lane| lane.stored.saturating_sub(lane.waiting)).sum();
    let lost: u64 = lanes.iter().map(|lane| lane.evicted + lane.damaged + lane.expired).sum();
    gone > lost + put_aside
}

/// What comes from other rooms, and what is told them.
pub(super) struct Neighbours {
    /// What the budgets permit.
    pub(super) permits: Permits,
    /// What the provider's stance lets leave.
    pub(super) leave: Leave,
    /// Who is told what came of exchanges.
    pub(super) teller: Teller,
    /// Until when the endpoint asked, before the forwarder began, not to be asked.
    pub(super) rest: Option<Instant>,
}

/// The loop's state.
pub(super) struct Pump {
    store: Store,
    wire: Wire,
    handle: Handle,
    config: Arc<Checked>,
    lanes: Vec<Lane>,
    order: LaneOrder,
    gate: Gate,
    reloads: Reloads,
    size: SizeLimit,
    ledger: Ledger,
    permits: Permits,
    leave: Leave,
    teller: Teller,
    loads: JoinSet<(usize, Side, Loader, Loaded)>,
    /// For the lanes that go first.
    critical: Way,
    /// For all others.
    other: Way,
    tokens: Arc<Tokens>,
    delivered: bool,
    /// What was known of boots' times when the batches at hand were laid out.
    times_known: TimesKnown,
    /// [`Store::waiting_changed`] as it stood when the plans were made.
    waiting_changed: u64,
    jitter: Jitter,
    report: Report,
}

impl Pump {
    /// Ready to go on where the store says.
    pub(super) fn new(store: Store, wire: Wire, handle: Handle, config: Arc<Checked>, neighbours: Neighbours) -> Self {
        let Neighbours { permits, leave, teller, rest } = neighbours;
        // Before what waits is looked at: a change in between is taken in once more.
        let waiting_changed = store.waiting_changed();
        let (stats, now) = (store.stats(), Instant::now());
        let options = &config.options;
        let lanes: Vec<Lane> = stats
            .lanes
            .iter()
            .enumerate()
            .map(|(at, lane)| Lane::new(&store, lane, LaneId(at as u8), options, now))
            .collect();
        let tokens = Arc::<Tokens>::default();
        let way = |class| Way::new(new_link(&store, &wire, &config, &tokens, class));
        let mut jitter = Jitter::from_system();
        let gate = Gate::new(options);
        Self {
            critical: way(Class::Critical),
            other: way(Class::Other),
            tokens: Arc::clone(&tokens),
            ledger: Ledger::new(lanes.iter().map(|lane| (store.waiting(lane.id), store.unsent(lane.id)))),
            permits,
            leave,
            teller,
            order: LaneOrder::new(&options.lanes),
            gate: match rest {
                Some(until) => gate.resting(until, now, &mut jitter),
                None => gate,
            },
            reloads: Reloads::default(),
            size: SizeLimit::new(options.batch.max_bytes),
            loads: JoinSet::new(),
            times_known: store.times_known(),
            delivered: ever_delivered(&stats.lanes, stats.put_aside),
            jitter,
            report: Report::default(),
            waiting_changed,
            store,
            wire,
            handle,
            config,
            lanes,
        }
    }

    fn new_link(&self, class: Class) -> Link {
        new_link(&self.store, &self.wire, &self.config, &self.tokens, class)
    }

    fn way(&mut self, class: Class) -> &mut Way {
        match class {
            Class::Critical => &mut self.critical,
            Class::Other => &mut self.other,
        }
    }

    /// Works until `stop`, then lets the request under way be answered and acknowledged.
    pub(super) async fn run(mut self, mut reload: watch::Receiver<Arc<Checked>>, stop: CancellationToken) {
        let mut progress = self.store.progress();
        loop {
            let now = Instant::now();
            self.step(now);
            self.show(now);
            let wake = self.wake_at(now);
            let listen = self.lanes.iter().any(Lane::listens);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = reload.changed() => {
                    let config = Arc::clone(&reload.borrow_and_update());
                    self.reconfigure(config);
                }
                back = self.critical.back() => self.came_back(Class::Critical, back),
                back = self.other.back() => self.came_back(Class::Other, back),
                Some(loaded) = self.loads.join_next() => self.loaded(loaded),
                result = pending_or(&mut self.ledger.committing) => {
                    if result.is_err() {
                        self.ledger.committing = None;
                        tracing::debug!("the store has been closed; nothing more is forwarded");
                        break;
                    }
                    self.ledger.committed();
                }
                Ok(()) = self.permits.changed() => {}
                Ok(()) = self.leave.changed() => {}
                Ok(()) = progress.changed(), if listen => self.lanes.iter_mut().for_each(Lane::has_news),
                () = sleep_until(wake) => {}
            }
        }
        self.finish().await;
    }

    /// Lets the request under way end and commits what it brought, each within [`STOP_LIMIT`].
    async fn finish(mut self) {
        let limit = tokio::time::Instant::now() + STOP_LIMIT;
        for class in CLASSES {
            let request = self.way(class).take_request();
            match tokio::time::timeout_at(limit, request).await {
                Ok(Some(back)) => self.came_back(class, back),
                Ok(None) => {}
                Err(_) => tracing::info!("stopped before the last batch was answered; it will be sent again"),
            }
        }
        self.report.put_asides_left();
        self.show(Instant::now());
        let last = async {
            loop {
                self.ledger.note(self.permits.notes(Urgency::Last));
                self.ledger.submit(&self.store, false);
                let Some(committing) = &mut self.ledger.committing else { break };
                if committing.await.is_err() {
                    break;
                }
                self.ledger.committed();
            }
        };
        if tokio::time::timeout(STOP_LIMIT, last).await.is_err() {
            tracing::warn!("stopped before the last acknowledgement was on flash; its records will be sent again");
        }
    }

    /// Does everything that can be done now.
    fn step(&mut self, now: Instant) {
        let settled = self.follow_store();
        self.permits.look();
        self.follow_stance();
        let gate_open = self.is_open(now);
        let call = self.leave.last_call(now, || self.store.clock().now());
        let cutting = self.cutting(now);
        let sides = (0..self.lanes.len()).flat_map(|index| Side::BOTH.map(|side| (index, side)));
        for (index, side) in sides.clone() {
            self.lanes[index].keep_up(&self.store, &cutting);
            let may_close = gate_open && self.lets(index) && self.may_close(index, side, call, now);
            if self.lanes[index].close_if_due(side, may_close, call, now) {
                self.announce_fresh(index, side);
            }
        }
        if gate_open && CLASSES.into_iter().any(|class| self.way(class).link.is_some()) {
            // Before the reads: what is dropped is read again at once.
            self.renew_outdated(now);
        }
        for (index, side) in sides {
            let open = gate_open && self.lets(index);
            self.read(index, side, open, cutting);
        }
        self.put_dear_aside(now);
        if self.leave.is_probing() {
            self.start_probe();
        } else if gate_open {
            for class in CLASSES {
                self.start_request(class);
            }
            self.warm_up(now);
        }
        if settled {
            let near = !self.loads.is_empty();
            if let Some(urgency) = self.ledger.takes_notes(near) {
                self.ledger.note(self.permits.notes(urgency));
            }
            self.ledger.submit(&self.store, near);
        }
        self.report.put_asides_due(now);
    }

    /// Whether the budgets have a request for a batch that closes because it is due.
    fn may_close(&self, index: usize, side: Side, call: Option<Instant>, now: Instant) -> bool {
        let closed = self.lanes.iter().filter(|lane| !lane.options.first).flat_map(Lane::at_hand).count();
        let due = self.lanes[index].is_due(side, now) || self.lanes[index].is_called(side, call);
        !due || self.permits.may_close(index, closed)
    }

    /// Starts the read that a stream is to do now, if any.
    fn read(&mut self, index: usize, side: Side, gate_open: bool, cutting: Cutting) {
        let cutting = self.permits.cut(index, cutting);
        let Some((job, announce)) = self.lanes[index].job(side, &self.store, gate_open, cutting) else { return };
        if let Some(span) = announce {
            self.ledger.announce(index, span);
        }
        self.loads.spawn_blocking(move || {
            let (loader, found) = job.run();
            (index, side, loader, found)
        });
    }

    /// Takes in what others have changed of what waits: records evicted, expired or to be replayed. `false` if that
    /// must wait for the commit under way; no other is to be begun before.
    fn follow_store(&mut self) -> bool {
        let changed = self.store.waiting_changed();
        if changed == self.waiting_changed {
            return true;
        }
        if self.ledger.committing.is_some() {
            return false;
        }
        self.waiting_changed = changed;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let now = self.store.waiting(lane.id);
            let before = self.ledger.wait_for(index, now.clone());
            let again = lane.plan.wait_for(&before, &now);
            lane.sent_before(&again);
            lane.follow();
            lane.lose(&before, &now);
            // What is at hand shall not wait for what the ledger has forgotten with the rest.
            lane.at_hand().for_each(|batch| self.ledger.announce(index, batch.span));
        }
        true
    }

    /// Announces the fresh batch of a stream and, while more waits, what comes after it.
    fn announce_fresh(&mut self, index: usize, side: Side) {
        let lane = &mut self.lanes[index];
        let Some(batch) = &lane.stream(side).fresh else { return };
        let (span, events) = (batch.span, batch.events as u64);
        if !lane.stream(side).has_more() {
            return self.ledger.announce(index, span);
        }
        let ahead = |batches: u64| Span::new(span.from, span.below + events * batches);
        if !self.ledger.is_claimed(index, span) || !self.ledger.is_claimed(index, ahead(ANNOUNCE_AHEAD / 2)) {
            let range = lane.plan.untried(side, span.from).map_or(span.below, |range| range.below);
            let end = range.min(Lane::end(&self.store, lane.id));
            let below = ahead(ANNOUNCE_AHEAD).below.min(end).max(span.below);
            self.ledger.announce(index, Span::new(span.from, below));
        }
    }

    fn cutting(&mut self, now: Instant) -> Cutting {
        let options = &self.config.options;
        Cutting {
            layout: options.batch.layout,
            max_records: if self.leave.is_probing() { 1 } else { options.batch.max_records },
            max_bytes: self.size.current(now),
            replayed_after: self.permits.replayed_after(options.replayed_after),
            now,
            stamp: self.store.clock().now(),
        }
    }

    /// Sends the next batch of a class if its link is free and a lane has one that is announced. While the endpoint is
    /// not known to take anything, one request at a time asks whether it does.
    fn start_request(&mut self, class: Class) {
        let asking = self.critical.is_asking() || self.other.is_asking();
        if self.way(class).link.is_none() || (asking && !self.gate.takes()) {
            return;
        }
        let turn = |index: usize| self.lanes[index].turn(|span| self.ledger.is_announced(index, span));
        let may =
            |index: usize| self.lets(index) && turn(index).is_some_and(|(_, batch)| self.permits.may(index, batch));
        let Some(index) = self.order.pick(class, may) else { return };
        let Some(side) = turn(index).map(|(side, _)| side) else { return };
        self.send(class, index, side, false);
    }

    /// Sends the batch that a lane's turn named. `probe`: to see whether it is taken at all.
    fn send(&mut self, class: Class, index: usize, side: Side, probe: bool) {
        let Some(link) = self.way(class).link.take() else { return };
        let Some(batch) = self.lanes[index].take(side) else { return };
        self.order.charge(class, index, batch.body.len());
        self.permits.begin(index, &batch);
        self.way(class).send(link, batch, (index, side), probe);
    }

    /// Makes the connection of the lanes that go first before it is needed, where that is worth it.
    fn warm_up(&mut self, now: Instant) {
        let any_first = self.lanes.iter().any(|lane| lane.options.first);
        if any_first
            && self.leave.lets_any()
            && self.gate.takes()
            && self.critical.may_warm(&self.other, self.wire.pace(), now)
        {
            self.critical.warm();
        }
    }

    /// Lays batches out anew that waited so long that their marks, or their size, are no longer right.
    fn renew_outdated(&mut self, now: Instant) {
        let cutting = self.cutting(now);
        let limit = cutting.replayed_after + MARK_SLACK;
        let outdated = |batch: &Batch, cut: Cutting| {
            let too_large = batch.events > 1 && (batch.body.len() > cut.max_bytes || batch.events > cut.max_records);
            too_large || batch.oldest_unmarked.is_some_and(|oldest| now.saturating_duration_since(oldest) > limit)
        };
        let times_known = self.store.times_known();
        let retimed = std::mem::replace(&mut self.times_known, times_known) != times_known;
        for lane in &mut self.lanes {
            let cut = self.permits.cut(lane.id.index(), cutting);
            for side in Side::BOTH {
                if retimed {
                    // Records have other times now: what is not on the wire is laid out anew.
                    lane.stream(side).drop_fresh();
                }
                if lane.stream(side).drop_outdated(|batch| retimed || outdated(batch, cut)) {
                    lane.plan.settle(side, Outcome::Unjudged, 0);
                }
            }
        }
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let late = self.config.options.replayed_after;
        let lanes = self.lanes.iter().filter_map(|lane| lane.wake_at(late, now)).min();
        let call = self.leave.next_call(now, || self.store.clock().now());
        [lanes, self.gate.closed_until(now), self.report.due(), self.permits.wake_at(now), call]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes back what a read found.
    fn loaded(&mut self, joined: Result<(usize, Side, Loader, Loaded), JoinError>) {
        let now = Instant::now();
        let (index, side, loader, found) = match joined {
            Ok(done) => done,
            Err(error) => return self.read_broke(&error, now),
        };
        let lane = &mut self.lanes[index];
        let wanted = lane.stream(side).returned(loader);
        let failure = match found {
            Loaded::Fresh(..) if !wanted => None,
            Loaded::Fresh(open, range, result) => {
                let filled = result.as_ref().ok().copied();
                if filled == Some(Filled::RangeEnd) && open.is_none() {
                    lane.plan.vanished(range);
                    self.ledger.acknowledge(index, range);
                }
                lane.stream(side).filled(open, filled, &self.config.options, now);
                result.err()
            }
            Loaded::Piece(Ok(Piece::Batch { .. })) if !wanted => {
                lane.plan.settle(side, Outcome::Unjudged, 0);
                None
            }
            Loaded::Piece(Ok(Piece::Batch { batch, ends_at })) => {
                lane.plan.course_mut(side).ends_at(ends_at);
                // What is tried ends there, wherever its last record stands.
                let span = Span::new(batch.span.from, ends_at);
                self.ledger.announce(index, span);
                lane.stream(side).piece = Some(Batch { span, ..batch });
                None
            }
            Loaded::Piece(Ok(Piece::Empty { next })) => {
                if let Some(done) = lane.plan.settle(side, Outcome::Empty, next).done {
                    self.ledger.acknowledge(index, done);
                }
                None
            }
            Loaded::Piece(Err(error)) => {
                lane.plan.settle(side, Outcome::Unjudged, 0);
                Some(error)
            }
        };
        if let Some(error) = failure {
            lane.stream(side).read_failed(now);
            tracing::warn!(lane = index, "cannot read stored records, will try again: {}", chain(&error));
        }
    }

    /// A read panicked: a fault in the store. Its reader is lost; all streams that miss theirs get a new one.
    fn read_broke(&mut self, error: &JoinError, now: Instant) {
        tracing::error!("reading stored records failed inside; please report it: {}", chain(error));
        // Whose it was is not told: the others' results are dropped too, and read again.
        self.loads = JoinSet::new();
        for lane in &mut self.lanes {
            let id = lane.id;
            for side in Side::BOTH {
                if lane.stream(side).lost(&self.store, id, now) {
                    lane.plan.settle(side, Outcome::Unjudged, 0);
                }
            }
        }
    }

    /// Takes new options into use; see [`Gate::reload`] for when it tries again.
    fn reconfigure(&mut self, config: Arc<Checked>) {
        let now = Instant::now();
        let same_endpoint = self.config.options.flux == config.options.flux;
        let from = self.reloads.reloaded(self.config.options != config.options, now);
        self.config = config;
        let options = &self.config.options;
        self.gate.reload(options, same_endpoint, from);
        self.permits.reconfigure(options);
        self.order = LaneOrder::new(&options.lanes);
        if from <= now {
            // What is tried anew is tried with all of it: a full body, another token.
            self.size = SizeLimit::new(options.batch.max_bytes);
            self.tokens = Arc::default();
        }
        self.lanes.iter_mut().for_each(|lane| lane.reconfigure(options, from));
        if !same_endpoint {
            self.delivered = false;
            self.lanes.iter_mut().for_each(|lane| lane.plan.change_endpoint());
        }
        for class in CLASSES {
            // A link that is out is replaced when it comes home.
            let link = self.way(class).link.is_some().then(|| self.new_link(class));
            let way = self.way(class);
            // What is answered to it counts all the same if nothing is to be tried at once.
            way.overtaken = link.is_none() && (way.overtaken || from <= now);
            way.link = link;
        }
        self.handle.update(|stats| stats.describe(&self.config));
        tracing::info!(kind = self.config.endpoint.kind, host = %shown(&self.config.endpoint.target.host), "new options");
    }

    fn courses(&self) -> impl Iterator<Item = &Course> {
        self.lanes.iter().flat_map(|lane| lane.plan.courses())
    }

    /// Shows how things stand besides the verdict.
    fn show(&mut self, now: Instant) {
        let suspects = self.courses().map(|course| course.suspects() as u64).sum();
        let backlog = self.lanes.iter().map(|lane| lane.plan.backlog()).sum();
        let body_limit = self.size.current(now) as u64;
        let next_attempt = self.next_attempt(now);
        self.handle.update(|stats| {
            stats.suspects = suspects;
            stats.backlog = backlog;
            stats.body_limit = body_limit;
            stats.next_attempt = next_attempt;
        });
    }

    /// Before when nothing will be sent, if that is known and still to come.
    fn next_attempt(&self, now: Instant) -> Option<Instant> {
        if self.critical.is_asking() || self.other.is_asking() {
            return None;
        }
        if !self.leave.lets_any() {
            // When is the machine's to say.
            return None;
        }
        let attempt = |lane: &Lane| self.permits.held_until(lane.id.index(), lane.next_attempt(&self.store, now)?);
        let lanes = self.lanes.iter().filter(|lane| self.leave.lets(lane.options.first)).filter_map(attempt).min();
        [lanes, self.gate.closed_until(now)].into_iter().flatten().max().filter(|at| *at > now)
    }

    /// Shows the verdict, and logs it when it changes.
    fn publish(&mut self, verdict: Verdict, code: Option<Code>, reason: &Value, now: Instant) {
        let now_ms = now_ms();
        self.handle.update(|stats| {
            let standing = &mut stats.verdict;
            if standing.word != verdict.word() {
                verdict.word().clone_into(&mut standing.word);
                standing.since_ms = now_ms;
                standing.advice = verdict.advice();
            }
            standing.code = code;
            if standing.reason != *reason {
                standing.reason.clone_from(reason);
            }
        });
        self.report.verdict(verdict, code, &reason.to_string(), now);
    }
}

/// Awaits what is there, or for ever.
async fn pending_or<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
