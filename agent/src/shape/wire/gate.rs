//! Where bytes wait until they may pass: the token buckets of both directions, shared by all connections.
//!
//! # Constraints
//! - With nothing limited it costs one load of a flag.
//! - Nobody polls: who waits sleeps until the moment that [`Admission`] named, and is woken before if the pace changes
//!   or its turn comes otherwise.
//! - A new pace takes effect at once, also for who waits.
//! - What passed and may still come at any time counts against the burst: what the kernel has not sent yet, and the windows
//!   that peers were given. A bucket holds what these leave of it.
//!
//! # Why so much at a time
//! What is handed over at once leaves at the speed of the link, so it should be little: [`hand_over`] gives two full
//! segments (receivers acknowledge every other one), which at 32 kbit/s are three quarters of a second. But each hand-over
//! wakes a task and calls the kernel. [`HAND_OVERS`] a second bound what that costs at higher rates: up to 2.4 Mbit/s it is
//! two segments, above it grows with the rate.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::meter::difference;
use super::window::{self, Open};
use crate::shape::bucket::{Admission, Answer, Bucket, Class, Nanos};
use crate::shape::pace::{PACKET, Pace, Rate};

/// Hand-overs a second above which each takes more: one of 10 ms is ten times the timer's grain and a tenth of what a
/// person notices.
const HAND_OVERS: u64 = 100;

/// Most that is handed over at a time: what a TLS library writes at once, and the kernel's largest segment.
const LARGEST: u64 = 64 * 1024;

/// The longest anyone sleeps before looking again; a guard, since whatever changes wakes who waits.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Bytes on the wire that are handed over at a time, where a full segment has `segment`. Not more than half of the
/// burst, so that tokens gather while the second half goes, and a timer's lateness costs nothing.
pub(super) fn hand_over(rate: Rate, segment: u64) -> u64 {
    let usual = (2 * segment).max(rate.bytes_per_second() / HAND_OVERS);
    usual.min(rate.burst() / 2).min(LARGEST).max(segment)
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// What leads out and in.
#[derive(Debug)]
pub(super) struct Gate {
    origin: Instant,
    up: Way,
    down: Way,
    /// What may leave, in all, and the bytes of it that the kernel has taken and not sent yet.
    to_leave: Mutex<(Option<Rate>, u64)>,
    /// What may come in, in all, and the windows that peers have of it.
    let_in: Mutex<LetIn>,
    tickets: AtomicU64,
}

#[derive(Debug, Default)]
struct LetIn {
    rate: Option<Rate>,
    open: Open,
}

impl LetIn {
    fn bucket(&self) -> Option<Rate> {
        self.rate.map(|rate| self.open.bucket(rate))
    }
}

#[derive(Debug, Default)]
struct Way {
    /// Whether there is an admission: looked at before the lock is taken.
    limited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    admission: Option<Admission>,
    /// Of those who wait; as many as there are connections at most.
    wakers: HashMap<u64, Waker>,
}

impl State {
    /// Wakes whose turn it is, to look when it may go.
    fn wake_next(&self) {
        let next = self.admission.as_ref().and_then(Admission::next);
        if let Some(waker) = next.and_then(|ticket| self.wakers.get(&ticket)) {
            waker.wake_by_ref();
        }
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, rate: Option<Rate>, now: Nanos) {
        let mut state = self.state();
        match (&mut state.admission, rate) {
            (Some(admission), Some(rate)) => admission.bucket().set_rate(rate, now),
            (admission, rate) => *admission = rate.map(|rate| Admission::new(Bucket::full(rate, now))),
        }
        self.limited.store(rate.is_some(), Ordering::Release);
        for (_, waker) in state.wakers.drain() {
            waker.wake();
        }
    }

    /// Has the bucket hold another burst. Nobody need be woken: no bytes are there sooner.
    fn resize(&self, rate: Rate, now: Nanos) {
        if let Some(admission) = &mut self.state().admission {
            admission.bucket().set_rate(rate, now);
        }
    }

    /// Takes `bytes` that a peer is invited to send; if they are not there, only if that `may` leave a debt.
    fn invite(&self, bytes: u64, may_owe: bool, now: Nanos) -> bool {
        let mut state = self.state();
        let Some(admission) = &mut state.admission else { return true };
        if may_owe {
            admission.bucket().charge(bytes, now);
            return true;
        }
        admission.bucket().take(bytes, now).is_ok()
    }

    /// Charges what passed beyond what was taken, or gives back what was taken and did not pass.
    fn settle(&self, difference: i64, now: Nanos) {
        let mut state = self.state();
        let Some(admission) = &mut state.admission else { return };
        match difference {
            0 => return,
            1.. => admission.bucket().charge(difference.unsigned_abs(), now),
            _ => admission.bucket().credit(difference.unsigned_abs(), now),
        }
        if difference < 0 {
            state.wake_next();
        }
    }
}

impl Gate {
    /// Nothing is limited.
    pub(super) fn open() -> Self {
        let (up, down) = (Way::default(), Way::default());
        let (to_leave, let_in) = (Mutex::default(), Mutex::default());
        Self { origin: Instant::now(), up, down, to_leave, let_in, tickets: AtomicU64::new(0) }
    }

    /// Limits what passes from now on.
    pub(super) fn set(&self, pace: Pace) {
        let now = self.now();
        let mut to_leave = self.to_leave.lock().unwrap_or_else(PoisonError::into_inner);
        *to_leave = (pace.up, 0);
        self.up.set(pace.up, now);
        drop(to_leave);
        let mut let_in = self.let_in();
        let_in.rate = pace.down;
        self.down.set(let_in.bucket(), now);
    }

    /// The kernel has so many bytes that passed and did not leave. They may leave at any time, so they take up as much of
    /// the burst: else a window that a line's outage had closed would let both go at once.
    pub(super) fn unsent(&self, bytes: u64) {
        let mut to_leave = self.to_leave.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(rate), before) = *to_leave else { return };
        if before != bytes {
            to_leave.1 = bytes;
            let left = rate.burst().saturating_sub(bytes).max(PACKET.min(rate.burst()));
            self.up.resize(rate.with_burst(left), self.now());
        }
    }

    fn let_in(&self) -> MutexGuard<'_, LetIn> {
        self.let_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A window for a connection that has one of `before` segments: as large as there is room for now, or `None` if what
    /// comes in is not limited. What it is larger is taken from the bucket; if that is not there, it grows only if it
    /// `may_owe`.
    pub(super) fn window(&self, class: Class, before: u64, may_owe: bool) -> Option<u64> {
        let mut let_in = self.let_in();
        let mut open = let_in.open;
        open.change(class, before, 0);
        let segments = let_in.rate.map(|rate| open.next(rate, class));
        let after = segments.unwrap_or(0);
        let more = window::wire(after.saturating_sub(before));
        if after == before || !self.down.invite(more, may_owe, self.now()) {
            return segments.map(|_| before);
        }
        open.change(class, 0, after);
        let_in.open = open;
        self.leave_room(&let_in);
        segments
    }

    /// A connection with a window of so many segments has ended, of which `unused` bytes can come no more.
    pub(super) fn close_window(&self, class: Class, segments: u64, unused: u64) {
        let mut let_in = self.let_in();
        let_in.open.change(class, segments, 0);
        self.leave_room(&let_in);
        self.down.settle(difference(0, unused), self.now());
    }

    fn leave_room(&self, let_in: &LetIn) {
        if let Some(rate) = let_in.bucket() {
            self.down.set(Some(rate), self.now());
        }
    }

    /// Waits until there are tokens for a window of one connection more; but not for more than the bucket holds.
    pub(super) async fn pass_window(self: &Arc<Self>, class: Class) {
        let wanted = {
            let let_in = self.let_in();
            let Some(rate) = let_in.rate else { return };
            window::wire(let_in.open.next(rate, class))
        };
        let mut place = self.place(Direction::Down, class, Arc::default());
        let part = |rate: Rate| wanted.min(rate.burst());
        if let Some(taken) = std::future::poll_fn(|cx| place.poll(part, cx)).await {
            // The window itself takes them, and knows better how many.
            self.down.settle(difference(0, taken), self.now());
        }
    }

    /// Whether a direction is limited.
    pub(super) fn is_limited(&self, direction: Direction) -> bool {
        self.way(direction).limited.load(Ordering::Acquire)
    }

    /// A place in the queues of a direction.
    pub(super) fn place(self: &Arc<Self>, direction: Direction, class: Class, held: Arc<Held>) -> Place {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        Place { gate: Arc::clone(self), direction, class, ticket, timer: None, waits: false, held }
    }

    /// Waits until `bytes` may pass in a direction, in a queue of its own; more than a burst are taken in parts.
    pub(super) async fn pass(self: &Arc<Self>, direction: Direction, class: Class, bytes: u64) {
        let mut place = self.place(direction, class, Arc::default());
        let mut left = bytes;
        while left > 0 {
            let part = |rate: Rate| left.min(rate.burst());
            let Some(taken) = std::future::poll_fn(|cx| place.poll(part, cx)).await else { return };
            left -= taken;
        }
    }

    /// Charges what passed beyond what was taken, and gives back what was taken and did not pass.
    pub(super) fn settle(&self, up: i64, down: i64) {
        let now = self.now();
        self.up.settle(up, now);
        self.down.settle(down, now);
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.origin.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// A place in a queue, kept over many requests to pass.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    direction: Direction,
    class: Class,
    ticket: u64,
    timer: Option<Pin<Box<Sleep>>>,
    /// It stands in a queue.
    waits: bool,
    held: Arc<Held>,
}

impl Place {
    /// Takes as many bytes as `wanted` says for the rate in force, when it may: `Some` of them, or `None` if nothing is
    /// limited.
    pub(super) fn poll(&mut self, wanted: impl Fn(Rate) -> u64, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        loop {
            let gate = Arc::clone(&self.gate);
            let way = gate.way(self.direction);
            if !way.limited.load(Ordering::Acquire) {
                self.passed();
                return Poll::Ready(None);
            }
            let mut state = way.state();
            let Some(admission) = &mut state.admission else { continue };
            let bytes = wanted(admission.bucket().rate());
            let answer = admission.ask(self.ticket, self.class, bytes, gate.now());
            if answer == Answer::Now {
                state.wakers.remove(&self.ticket);
                state.wake_next();
                drop(state);
                self.passed();
                return Poll::Ready(Some(bytes));
            }
            state.wakers.insert(self.ticket, cx.waker().clone());
            drop(state);
            self.waits = true;
            self.held.begin();
            let Answer::At(at) = answer else { return Poll::Pending };
            let latest = Instant::now() + LOOK_AGAIN;
            let until = gate.origin.checked_add(Duration::from_nanos(at)).map_or(latest, |at| at.min(latest));
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn passed(&mut self) {
        self.waits = false;
        self.held.end();
    }

    /// Leaves the queue, so that nobody waits behind one that could not use its turn.
    pub(super) fn leave(&mut self) {
        if !self.waits {
            return;
        }
        self.passed();
        let mut state = self.gate.way(self.direction).state();
        state.wakers.remove(&self.ticket);
        if let Some(admission) = &mut state.admission {
            admission.leave(self.ticket);
        }
        state.wake_next();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// For how long the gate has held a connection's bytes back: time that a peer is not to blame for.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<(Duration, Option<Instant>)>);

impl Held {
    /// In all, up to now.
    pub(super) fn total(&self) -> Duration {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 + held.1.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn begin(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.1.get_or_insert_with(Instant::now);
    }

    fn end(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = held.1.take() {
            held.0 += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests;
