//! Where bytes wait until they may pass: the token buckets of both directions, shared by all connections.
//!
//! # Constraints
//! - With nothing limited it costs one load of a flag.
//! - Nobody polls: who waits sleeps until the moment that [`Admission`] named, and is woken before if the pace changes
//!   or its turn comes otherwise.
//! - A new pace takes effect at once, also for who waits.
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

use super::line::window;
use crate::shape::bucket::{Admission, Answer, Bucket, Class, Nanos};
use crate::shape::pace::{Pace, Rate};

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
    tickets: AtomicU64,
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
        Self { origin: Instant::now(), up: Way::default(), down: Way::default(), tickets: AtomicU64::new(0) }
    }

    /// Limits what passes from now on.
    pub(super) fn set(&self, pace: Pace) {
        let now = self.now();
        self.up.set(pace.up, now);
        // A peer may have a window's worth on the way beyond what was let in.
        let let_in = |rate: Rate| Rate::new(rate.per_second(), rate.burst().saturating_sub(window(rate)));
        self.down.set(pace.down.map(let_in), now);
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
