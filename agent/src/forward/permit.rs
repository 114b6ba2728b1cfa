//! Asks before each request whether it may leave, and says afterwards what it did cost.
//!
//! The budgets themselves are `shape::budget`'s; what is here joins them to lanes, to the windows, to the wire's own count
//! of bytes and to the store, which keeps what was used. A lane that is refused is *held*: its batches wait, and those
//! that are not full yet go on gathering, so that a batch's age stretches to what the pace has an event for.
//!
//! What is expected of a request in bytes is set aside from its beginning to its end; what is charged is what the wire
//! counts, by whomever. Each time that is looked at, the wire is told up to where it may count (`Wire::set_ceiling`), so
//! that a budget of bytes is not passed by what nobody expected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_protocol::terms::{Kind, Windows};
use tokio::sync::watch;

use super::batch::{Batch, Cutting};
use super::options::{EventsCount, LaneOptions, Options};
use super::turns::{GiveWay, Turns};
use super::verdict::Verdict;
use crate::clock::{Clock, Stamp, local};
use crate::shape::budget::{
    Budgets, Class, Cost, Drain, Figures, Kept, LEAST_BODY, Load, Outcome, Permit, Reason, Refused, Urgency,
};
use crate::shape::limits::Limits;
use crate::shape::wire::{SENT_AGAIN, TAIL, Wire};
use crate::store::{BudgetUse, Change, LaneStats, Store};

/// Bytes of a request and its answer beside the body: some 700 of request head, 500 of the answer, and the packets'
/// headers and acknowledgements of both.
const REQUEST_BYTES: u64 = 2 * 1024;

/// What a new connection adds: TLS with a chain of three certificates, name resolution, TCP's handshake.
const CONNECTION_BYTES: u64 = 6 * 1024;

/// Of a body one part in so many is added for the headers of its packets (66 bytes with Ethernet's MTU) and TLS's.
const PACKET_PART: u64 = 16;

/// Bytes that an hour, a day or a month must have for an ordinary request to leave: 4 KiB of body in packets, the request, a
/// connection, and what the wire keeps back for two connections; of it lanes that do not go first may have nine tenths.
pub const LEAST_BYTES: u64 = 42_000;

/// Bytes that an event has more than its record on disk: the names of its fields, gateway, epoch, lane and time in words,
/// less frame and stamp. With the names of the tests' gateway, lanes and topics it is 95.
const EVENT_BYTES: u64 = 100;

/// A batch that waits for its pace is looked at again after twice the mean time between two requests before its records
/// count as late.
const LATE_AFTER: u32 = 2;

/// While bytes are limited, the wire's count is looked at so often though nothing is sent: others use it too.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The same while requests are under way: what the kernel sends again by itself is noticed after so long.
const LOOK_OFTEN: Duration = Duration::from_secs(1);

/// A note that is due waits so long at least for a commit that is under way.
const LEAST_WAIT_MS: u64 = 1_000;

/// A lane that may not send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its index.
    pub lane: usize,
    /// Which limit holds it.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// When it may send, if that is known.
    pub until: Option<Instant>,
}

/// How budgets stand.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Each budget.
    pub figures: Vec<Figures>,
    /// The lanes that may not send now though they have something.
    pub held: Vec<Held>,
    /// What it will cost to send what waits; `None` if nothing does.
    pub drain: Option<Drain>,
}

/// What is shared with whoever asks how things stand.
#[derive(Debug)]
pub(super) struct Desk {
    budgets: Budgets,
    windows: Option<Windows>,
    bytes_per_second: Option<u64>,
    limited_bytes: bool,
    lanes: Vec<LaneOptions>,
    counting: EventsCount,
    max_records: u64,
    max_bytes: u64,
    held: Vec<Held>,
    turns: Turns,
    give_way: GiveWay,
    /// Until when lanes that do not go first leave a minute's one event to those that do.
    given_until: Option<Instant>,
}

/// A view of it for others.
#[derive(Debug, Clone)]
pub(super) struct View {
    desk: Arc<Mutex<Desk>>,
    clock: Arc<dyn Clock>,
}

impl View {
    /// With what the store kept of earlier runs.
    pub(super) fn new(store: &Store, options: &Options) -> Self {
        let clock = Arc::clone(store.clock());
        let kept: Vec<Kept> = store.budgets().into_iter().map(kept).collect();
        let mut desk = Desk {
            budgets: Budgets::new(options.calendar, &kept, &clock.now()),
            windows: None,
            bytes_per_second: None,
            limited_bytes: false,
            lanes: Vec::new(),
            counting: options.events_count,
            max_records: 1,
            max_bytes: 1,
            held: Vec::new(),
            turns: Turns::default(),
            give_way: GiveWay::default(),
            given_until: None,
        };
        desk.reconfigure(options);
        Self { desk: Arc::new(Mutex::new(desk)), clock }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How budgets stand, with these lanes' backlog.
    pub(super) fn standing(&self, lanes: &[LaneStats]) -> Standing {
        let now = self.clock.now();
        let mut desk = self.desk();
        let load = desk.load(lanes);
        let rate = desk.bytes_per_second;
        Standing {
            figures: desk.budgets.figures(&now),
            held: desk.held.clone(),
            drain: (load.records > 0).then(|| desk.budgets.drain(load, rate, &now)),
        }
    }
}

impl View {
    /// See [`Permits::ask_again`].
    pub(super) fn ask_again(&self) {
        self.desk().budgets.ask_again();
    }

    /// Until when the limits would hold back a probe, which is the oldest record that they let out, alone: `Ok` for how many ms,
    /// 0 for none; `Err` if that is not known of any lane. That the provider said that its quota is used up does not count:
    /// when that is asked again is not the budgets' to say.
    pub(super) fn probe_held(&self, lanes: &[LaneStats]) -> Result<u64, Reason> {
        let now = self.clock.now();
        let mut desk = self.desk();
        let mut held = Ok(0);
        for (at, (lane, stats)) in lanes.iter().enumerate().filter(|(_, lane)| lane.waiting > 0).enumerate() {
            let cost = desk.cost(Line::worst(), 1, 1, stats.waiting_bytes / stats.waiting + EVENT_BYTES);
            let wait = match desk.ask(lane, cost, &now) {
                Ok(()) | Err(Refused { reason: Reason::Told, .. }) => Ok(0),
                Err(refused) => refused.wait_ms.ok_or(refused.reason),
            };
            held = match (held, wait) {
                (Ok(known), Ok(wait)) if at > 0 => Ok(wait.min(known)),
                (Ok(known), Err(_)) if at > 0 => Ok(known),
                (_, wait) => wait,
            };
        }
        held
    }
}

impl Desk {
    fn reconfigure(&mut self, options: &Options) {
        self.lanes.clone_from(&options.lanes);
        self.counting = options.events_count;
        (self.max_records, self.max_bytes) = (options.batch.max_records as u64, options.batch.max_bytes as u64);
        self.budgets.set_calendar(options.calendar);
    }

    fn limit(&mut self, limits: &Limits, now: &Stamp) {
        self.budgets.limit(limits, now);
        self.windows = limits.windows().cloned();
        self.bytes_per_second = limits.number(Kind::RateUp).map(|bits| (bits / 8).max(1));
        let bytes = [Kind::BytesPerMonth, Kind::BytesPerDay, Kind::BytesPerHour];
        self.limited_bytes = bytes.into_iter().any(|kind| limits.of(kind).is_some());
    }

    fn lane(&self, lane: usize) -> (Class, bool) {
        let options = self.lanes.get(lane);
        let class = if options.is_some_and(|lane| lane.first) { Class::First } else { Class::Other };
        (class, options.is_some_and(|lane| lane.windowed))
    }

    fn cost(&self, line: Line, requests: u64, records: u64, body: u64) -> Cost {
        let events = match self.counting {
            EventsCount::Requests => requests,
            EventsCount::Records => records,
        };
        let connection = if line.is_connected { 0 } else { CONNECTION_BYTES };
        Cost { events, bytes: body + body / PACKET_PART + REQUEST_BYTES + connection, spare: line.spare }
    }

    fn ask(&mut self, lane: usize, cost: Cost, now: &Stamp) -> Result<(), Refused> {
        let (class, windowed) = self.lane(lane);
        if windowed {
            self.within_windows(now)?;
        }
        self.budgets.ask(class, cost, now)
    }

    /// Whether a batch that is at hand may leave. Another of its class that was passed over often enough goes before it, if
    /// all that it waits for is that small requests leave it the room: what turns over with a day or a month is full then.
    fn ask_in_turn(&mut self, lane: usize, cost: Cost, now: &Stamp) -> Result<(), Refused> {
        self.ask(lane, cost, now).inspect_err(|refused| {
            if is_gradual(*refused) {
                self.turns.refused(lane, cost, refused.kind);
            }
        })?;
        let class = self.lane(lane).0;
        if let Some(until) = self.given_until.filter(|_| class == Class::Other) {
            let left = until.saturating_duration_since(Instant::now());
            let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(Refused { kind: Kind::EventsPerMinute, reason: Reason::Reserved, wait_ms: Some(wait_ms) });
        }
        let Some((ahead, kind)) = self.turns.ahead_of(lane, |other| self.lane(other).0 == class) else { return Ok(()) };
        match self.budgets.ask(class, ahead, now) {
            // It goes now, or is not there any more: then this one goes in the round after the next.
            Ok(()) => Err(Refused { kind, reason: Reason::Turn, wait_ms: Some(1) }),
            Err(refused) if refused.wait_ms.is_some() && is_gradual(refused) => {
                Err(Refused { reason: Reason::Turn, ..refused })
            }
            Err(_) => Ok(()),
        }
    }

    fn within_windows(&mut self, now: &Stamp) -> Result<(), Refused> {
        let Some(windows) = &self.windows else { return Ok(()) };
        let refused = |reason, wait_ms| Err(Refused { kind: Kind::Windows, reason, wait_ms });
        let Some(time) = self.budgets.time(now) else { return refused(Reason::Clock, None) };
        match windows.opens_in(local::minute_of_week(time)) {
            Some(0) => Ok(()),
            // To the beginning of the minute in which they open; should the clock be set forward for summer meanwhile, it
            // is looked again at the next request.
            opens => refused(Reason::Window, opens.map(|minutes| u64::from(minutes) * 60_000 - time % 60_000)),
        }
    }

    fn hold(&mut self, lane: usize, refused: Refused) {
        let until = refused.wait_ms.map(|wait| Instant::now() + Duration::from_millis(wait));
        let held = Held { lane, kind: refused.kind, reason: refused.reason, until };
        match self.held.iter_mut().find(|held| held.lane == lane) {
            Some(known) => *known = held,
            None => self.held.push(held),
        }
    }

    /// What waits, as events and bytes.
    fn load(&self, lanes: &[LaneStats]) -> Load {
        let mut load = Load::default();
        let largest = self.max_bytes.min(self.budgets.largest_body());
        for lane in lanes.iter().filter(|lane| lane.waiting > 0) {
            // What waits may be other than what was sent before: its own size counts.
            let each = lane.waiting_bytes / lane.waiting + EVENT_BYTES;
            let a_request = (largest / each).clamp(1, self.max_records);
            let requests = lane.waiting.div_ceil(a_request);
            let body = lane.waiting.saturating_mul(each);
            load.records += lane.waiting;
            load.events += if self.counting == EventsCount::Records { lane.waiting } else { requests };
            load.bytes += body + body / PACKET_PART + requests.saturating_mul(REQUEST_BYTES);
        }
        load
    }
}

/// The wire as a cost depends on it.
#[derive(Debug, Clone, Copy)]
struct Line {
    is_connected: bool,
    spare: u64,
}

impl Line {
    fn of(wire: &Wire) -> Self {
        Self { is_connected: wire.is_connected(), spare: wire.spare().min(Self::worst().spare) }
    }

    /// Nothing is connected that could be used, and one connection idles.
    const fn worst() -> Self {
        Self { is_connected: false, spare: 2 * TAIL + SENT_AGAIN }
    }
}

/// Asks, for the pump.
#[derive(Debug)]
pub(super) struct Permits {
    view: View,
    wire: Wire,
    limits: watch::Receiver<Arc<Limits>>,
    /// Bytes of the wire that were charged.
    seen: u64,
    /// Of requests under way, by lane.
    open: Vec<Option<Permit>>,
}

impl Permits {
    /// Asks what `view` shows.
    pub(super) fn new(view: View, wire: Wire, mut limits: watch::Receiver<Arc<Limits>>) -> Self {
        let now = view.clock.now();
        view.desk().limit(&limits.borrow_and_update(), &now);
        Self { view, wire, limits, seen: 0, open: Vec::new() }
    }

    /// Waits until limits change, which [`look`](Self::look) then takes in; `Err` if they never will.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.limits.changed().await?;
        // Waiting alone takes nothing in: without this, what came while there was nothing to do would never bind.
        self.limits.mark_changed();
        Ok(())
    }

    /// Takes new options into use.
    pub(super) fn reconfigure(&self, options: &Options) {
        self.view.desk().reconfigure(options);
        self.ask_again();
    }

    /// The operator may have bought more: a quota that was said to be used up is asked for at once.
    pub(super) fn ask_again(&self) {
        self.view.ask_again();
    }

    /// Before it is looked what can be sent: takes in what has changed.
    pub(super) fn look(&mut self) {
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        if self.limits.has_changed().unwrap_or(false) {
            desk.limit(&self.limits.borrow_and_update(), &now);
        }
        let counts = self.wire.counts();
        let total = counts.sent + counts.received;
        let class = self.class_under_way(&desk);
        desk.budgets.count_bytes(class, total.saturating_sub(self.seen), &now);
        self.seen = total;
        let mut ceiling = |class| desk.budgets.room(class, &now).map(|room| total.saturating_add(room));
        self.wire.set_ceiling(ceiling(Class::First), ceiling(Class::Other));
        self.wire.keep_ceiling();
        desk.held.clear();
        desk.turns.begin();
    }

    /// Whose bytes are seen: of the lanes that go first only while nothing else is under way.
    fn class_under_way(&self, desk: &Desk) -> Class {
        let mut lanes = self.open.iter().enumerate().filter(|(_, permit)| permit.is_some()).map(|(lane, _)| lane);
        let first = lanes.next().map(|lane| desk.lane(lane).0);
        match first {
            Some(Class::First) if lanes.all(|lane| desk.lane(lane).0 == Class::First) => Class::First,
            _ => Class::Other,
        }
    }

    /// Before lanes that do not go first ask: whether one that does is about to send, which they leave a minute's one event to.
    pub(super) fn give_way(&self, near: impl FnOnce(&[Held]) -> bool, now: Instant) {
        let mut desk = self.view.desk();
        // Looked at only where it matters: this runs at every turn of the pump.
        let near = desk.budgets.is_single() && near(&desk.held);
        desk.given_until = desk.give_way.until(near, now);
    }

    /// Whether a batch of a lane may leave now; if not, the lane is held.
    pub(super) fn may(&self, lane: usize, batch: &Batch) -> bool {
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        let cost = desk.cost(Line::of(&self.wire), 1, batch.events as u64, batch.body.len() as u64);
        desk.ask_in_turn(lane, cost, &now).map_err(|refused| desk.hold(lane, refused)).is_ok()
    }

    /// Whether a record may leave alone to see whether it is taken; if not, the lane is held. A probe waits for no other
    /// lane's turn: it is one record, now and then.
    pub(super) fn may_probe(&self, lane: usize, batch: &Batch) -> bool {
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        let cost = desk.cost(Line::of(&self.wire), 1, batch.events as u64, batch.body.len() as u64);
        desk.ask(lane, cost, &now).map_err(|refused| desk.hold(lane, refused)).is_ok()
    }

    /// Whether a batch that is as old as it should become may close, though it is not full: only if there is a request
    /// for it, behind those of `ahead` batches that are closed. Those of lanes that go first do not wait.
    pub(super) fn may_close(&self, lane: usize, ahead: usize) -> bool {
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        if desk.lane(lane).0 == Class::First {
            return true;
        }
        let requests = ahead as u64 + 1;
        let cost = desk.cost(Line::of(&self.wire), requests, requests, 0);
        desk.ask(lane, cost, &now).map_err(|refused| desk.hold(lane, refused)).is_ok()
    }

    /// Why a record can never leave under the limits as they are, if an ordinary one can: it alone costs more than one of
    /// them allows.
    pub(super) fn is_too_dear(&self, lane: usize, batch: &Batch) -> Option<String> {
        if batch.events != 1 {
            return None;
        }
        let desk = self.view.desk();
        let cost = |body| desk.cost(Line::worst(), 1, 1, body);
        let cost_of_it = cost(batch.body.len() as u64);
        let class = desk.lane(lane).0;
        let (kind, most) = desk.budgets.never(class, cost_of_it)?;
        if desk.budgets.never(class, cost(LEAST_BODY)).is_some() {
            return None;
        }
        let (bytes, key) = (cost_of_it.bytes + cost_of_it.spare, kind.key());
        Some(format!(
            "its request needs room for {bytes} bytes on the wire, and {key} has {most} for its lane: raise the limit and \
             try it again with `tidegate buffer quarantine retry`"
        ))
    }

    /// A request begins that [`Permits::may`] permits.
    pub(super) fn begin(&mut self, lane: usize, batch: &Batch) {
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        let cost = desk.cost(Line::of(&self.wire), 1, batch.events as u64, batch.body.len() as u64);
        let class = desk.lane(lane).0;
        let permit = desk.budgets.take(class, cost, &now);
        let Desk { turns, lanes, .. } = &mut *desk;
        let first = |lane: usize| lanes.get(lane).is_some_and(|lane| lane.first);
        turns.went(lane, cost, |other| first(other) == (class == Class::First));
        if self.open.len() <= lane {
            self.open.resize_with(lane + 1, || None);
        }
        // Between the question and this nothing else is asked: the pump is one task.
        self.open[lane] = permit.ok();
    }

    /// The lane's request has ended: with this verdict, or nothing of it has left.
    pub(super) fn end(&mut self, lane: usize, was_sent: bool, verdict: Verdict) {
        // Its bytes first.
        self.look();
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        let outcome = match verdict {
            _ if !was_sent => Outcome::Free,
            Verdict::Accepted => Outcome::Accepted,
            Verdict::Quota { .. } => Outcome::Quota,
            // Turned away at the door: it has not reached the channel, where events are counted.
            Verdict::Throttled { .. } | Verdict::Suspended | Verdict::Ended | Verdict::Misconfigured => Outcome::Free,
            Verdict::Maintenance { .. } | Verdict::Poison { .. } | Verdict::Transient { .. } => Outcome::Counted,
        };
        if let Some(permit) = self.open.get_mut(lane).and_then(Option::take) {
            desk.budgets.settle(permit, outcome, &now);
        }
    }

    /// Cuts a lane's batches to what budgets have a use for.
    pub(super) fn cut(&self, lane: usize, cutting: Cutting) -> Cutting {
        let now = self.view.clock.now();
        let mut desk = self.view.desk();
        let class = desk.lane(lane).0;
        let largest = usize::try_from(desk.budgets.largest_body()).unwrap_or(usize::MAX);
        let most = match desk.counting {
            EventsCount::Requests => usize::MAX,
            EventsCount::Records => usize::try_from(desk.budgets.most_events(class, &now)).unwrap_or(usize::MAX),
        };
        Cutting { max_records: cutting.max_records.min(most), max_bytes: cutting.max_bytes.min(largest), ..cutting }
    }

    /// How long a record may wait before it counts as late: not less than the pace makes it wait.
    pub(super) fn replayed_after(&self, configured: Duration) -> Duration {
        let interval = self.view.desk().budgets.interval_ms(&self.view.clock.now());
        configured.max(interval.map_or(Duration::ZERO, |ms| Duration::from_millis(ms) * LATE_AFTER))
    }

    /// What is to be made durable now.
    pub(super) fn notes(&self, urgency: Urgency) -> Vec<Change> {
        let notes = self.view.desk().budgets.notes(urgency, &self.view.clock.now());
        notes.into_iter().map(|note| Change::Budget(told(note))).collect()
    }

    /// When to look again if nothing else happens.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let desk = self.view.desk();
        let note =
            desk.budgets.note_in(&self.view.clock.now()).map(|ms| now + Duration::from_millis(ms.max(LEAST_WAIT_MS)));
        let under_way = self.open.iter().any(Option::is_some);
        let look = desk.limited_bytes.then(|| now + if under_way { LOOK_OFTEN } else { LOOK_EVERY });
        let held = desk.held.iter().filter_map(|held| held.until).map(|until| until.max(now));
        held.chain(note).chain(look).min()
    }

    /// When a lane sends that would at `at`; `None` if it is held and until when is not known.
    pub(super) fn held_until(&self, lane: usize, at: Instant) -> Option<Instant> {
        let desk = self.view.desk();
        let held = desk.held.iter().find(|held| held.lane == lane);
        held.map_or(Some(at), |held| held.until.map(|until| until.max(at)))
    }
}

/// Whether room for a request gathers little by little, so that small ones can keep it from coming together.
fn is_gradual(refused: Refused) -> bool {
    refused.reason == Reason::Pace || matches!(refused.kind, Kind::BytesPerHour | Kind::EventsPerMinute)
}

fn kept(used: BudgetUse) -> Kept {
    let BudgetUse { kind, period, used, first, told } = used;
    Kept { kind, period, used, first, told }
}

fn told(kept: Kept) -> BudgetUse {
    let Kept { kind, period, used, first, told } = kept;
    BudgetUse { kind, period, used, first, told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Flux;
    use crate::shape::budget::Calendar;
    use std::num::NonZeroU64;
    use tidegate_protocol::terms::{Bound, Limit, Source, Terms};

    /// With the default lanes and so many bytes an hour.
    fn desk(an_hour: u64, now: &Stamp) -> Desk {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let mut desk = Desk {
            budgets: Budgets::new(Calendar::Utc, &[], now),
            windows: None,
            bytes_per_second: None,
            limited_bytes: true,
            lanes: Vec::new(),
            counting: EventsCount::Requests,
            max_records: 1,
            max_bytes: 1,
            held: Vec::new(),
            turns: Turns::default(),
            give_way: GiveWay::default(),
            given_until: None,
        };
        desk.reconfigure(&options);
        let source = Source::Operator { file: "test".into(), line: 1 };
        let bound = Bound::BytesPerHour(NonZeroU64::new(an_hour).expect("some"));
        desk.limit(&Limits::merge([&Terms::new([Limit::new(bound, source)])]), now);
        desk
    }

    /// Two lanes that always have something: many small requests, and dear ones.
    #[test]
    fn small_requests_do_not_keep_a_dear_one_from_leaving() {
        let at = |minute: u64| Stamp { wall_ms: 0, uptime_ms: minute * 60_000, boot: 1, trusted: false };
        let mut desk = desk(1_000_000, &at(0));
        let costs = [Cost { events: 1, bytes: 3_000, spare: 0 }, Cost { events: 1, bytes: 400_000, spare: 0 }];
        let mut went = [0, 0];
        for minute in 0..24 * 60 {
            for _ in 0..10 {
                desk.turns.begin();
                // The small one is asked first.
                let may = [1, 2].map(|lane| desk.ask_in_turn(lane, costs[lane - 1], &at(minute)).is_ok());
                let Some(lane) = [1, 2].into_iter().find(|lane| may[lane - 1]) else { break };
                let cost = costs[lane - 1];
                let permit = desk.budgets.take(Class::Other, cost, &at(minute)).expect("it was asked");
                desk.turns.went(lane, cost, |other| other > 0);
                desk.budgets.count_bytes(Class::Other, cost.bytes, &at(minute));
                desk.budgets.settle(permit, Outcome::Accepted, &at(minute));
                went[lane - 1] += 1;
            }
        }
        // Of 21.6 MB a ninth goes to the dear lane; the rest to the small one.
        assert!(went[1] >= 4 && went[0] * 3_000 > 8_000_000, "{went:?}");
    }

    #[test]
    fn the_least_budget_has_room_for_an_ordinary_request_and_not_much_more() {
        let cost = LEAST_BODY + LEAST_BODY / PACKET_PART + REQUEST_BYTES + CONNECTION_BYTES + Line::worst().spare;
        let others = LEAST_BYTES - LEAST_BYTES / 10;
        assert!(cost <= others && cost + 1_000 > others, "{cost} of {others}");
    }
}
