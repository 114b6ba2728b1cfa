//! What the provider's stance lets leave, as the forwarder is told it, and the probe.
//!
//! While no telemetry may leave, the machine (`provider::machine`) allows a probe now and then: one record, the oldest
//! stored that the limits let out. Each is allowed by a number that was not there before; what was allowed before the gateway began is not its
//! own, but what became due while it was off is. One that was allowed while nothing was stored waits for the first
//! record, or while limits hold all that is stored for the first that they let out, and for as long as the machine has something in its way.
//!
//! Before a stop that is announced, batches do not wait until they are as old as they should become: what a lane has gathered
//! closes at the [`CALLS`], so that at most the records of the last seconds wait for the stop's end. Twice and not all the
//! time, because each request is an event.

use std::time::{Duration, Instant};

use tidegate_protocol::stance::Telemetry;
use tokio::sync::watch;

use crate::clock::Stamp;

/// How long before a stop batches close though they are not due. A request of 64 KiB takes 17 s at 32 kbit/s, so what closes
/// a minute before is through; ten seconds are what a small one takes on a bad line.
const CALLS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10)];

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Go {
    /// Of which lanes telemetry may leave.
    pub telemetry: Telemetry,
    /// Counts the probes that were allowed.
    pub probe: u64,
    /// When nothing may leave any more, as far as it is announced: ms since the Unix epoch.
    pub stop_ms: Option<u64>,
    /// One that was allowed may begin. With nothing stored it has to wait, and meanwhile something may come that allows
    /// none: a hold, an announced window, the end.
    pub may_probe: bool,
    /// It is of a lane that goes first: in an emergency nothing else may leave, whatever else holds.
    pub probe_first: bool,
}

impl Default for Go {
    /// Everything.
    fn default() -> Self {
        Self { telemetry: Telemetry::All, probe: 0, may_probe: true, probe_first: false, stop_ms: None }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing that matters.
    Same,
    /// More may leave than before.
    Opened,
    /// Nothing may leave any more.
    Shut,
    /// A probe is due.
    Probe,
}

/// Keeps what it is told.
#[derive(Debug)]
pub(super) struct Leave {
    told: watch::Receiver<Go>,
    now: Go,
    due: bool,
}

impl Leave {
    /// As it stands, where so many probes were allowed to whoever forwarded before: one beyond that is due now.
    pub(super) fn new(mut told: watch::Receiver<Go>, probes: u64) -> Self {
        let now = Go { probe: probes, ..*told.borrow() };
        told.mark_changed();
        Self { told, now, due: false }
    }

    /// Waits for a change; `Err` if there will be none.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.told.changed().await
    }

    /// Takes in what was told meanwhile.
    pub(super) fn look(&mut self) -> Turn {
        let was_probing = self.is_probing();
        let before = std::mem::replace(&mut self.now, *self.told.borrow_and_update());
        let nothing = self.now.telemetry == Telemetry::Nothing;
        let allowed = nothing && self.now.probe != before.probe;
        self.due = nothing && (self.due || allowed);
        if self.is_probing() && (allowed || !was_probing) {
            Turn::Probe
        } else if self.now.telemetry > before.telemetry {
            Turn::Opened
        } else if nothing && self.now.telemetry < before.telemetry {
            Turn::Shut
        } else {
            Turn::Same
        }
    }

    /// Whether telemetry of a lane may leave; `first`: it goes first.
    pub(super) fn lets(&self, first: bool) -> bool {
        match self.now.telemetry {
            Telemetry::Nothing => false,
            Telemetry::First => first,
            Telemetry::All => true,
        }
    }

    /// The last call before an announced stop: what was gathered before it closes now. The clock is asked only if one is
    /// announced.
    pub(super) fn last_call(&self, now: Instant, clock: impl FnOnce() -> Stamp) -> Option<Instant> {
        self.calls(now, clock).filter(|at| *at <= now).max()
    }

    /// When the next one is.
    pub(super) fn next_call(&self, now: Instant, clock: impl FnOnce() -> Stamp) -> Option<Instant> {
        self.calls(now, clock).filter(|at| *at > now).min()
    }

    fn calls(&self, now: Instant, clock: impl FnOnce() -> Stamp) -> impl Iterator<Item = Instant> {
        let stop = self.now.stop_ms.and_then(|at| at.checked_sub(clock().wall_ms)).map(Duration::from_millis);
        let before = move |call: Duration| match stop?.checked_sub(call) {
            Some(wait) => now.checked_add(wait),
            None => now.checked_sub(call.saturating_sub(stop?)),
        };
        CALLS.into_iter().filter_map(before)
    }

    /// Whether any may.
    pub(super) fn lets_any(&self) -> bool {
        self.now.telemetry > Telemetry::Nothing
    }

    /// Whether one record may leave to see whether it is taken.
    pub(super) fn is_probing(&self) -> bool {
        self.due && self.now.may_probe
    }

    /// Whether it may be a record of a lane; `first`: that goes first.
    pub(super) fn probes(&self, first: bool) -> bool {
        first || !self.now.probe_first
    }

    /// The probe has begun.
    pub(super) fn probed(&mut self) {
        self.due = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_called_twice_before_a_stop_that_is_announced() {
        let (sender, receiver) = watch::channel(Go { stop_ms: Some(100_000), ..Go::default() });
        let mut leave = Leave::new(receiver, 0);
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let at = |second: u64| (start + seconds(second), Stamp { wall_ms: second * 1000, ..Stamp::default() });
        for (second, last, next) in
            [(5, None, Some(40)), (40, Some(40), Some(90)), (95, Some(90), None), (101, None, None)]
        {
            let (now, stamp) = at(second);
            assert_eq!(leave.last_call(now, || stamp), last.map(|at| start + seconds(at)), "{second}");
            assert_eq!(leave.next_call(now, || stamp), next.map(|at| start + seconds(at)), "{second}");
        }
        sender.send_replace(Go::default());
        leave.look();
        let clock = || -> Stamp { panic!("no stop is announced: nobody need know what time it is") };
        assert_eq!((leave.last_call(start, clock), leave.next_call(start, clock)), (None, None));
    }

    #[test]
    fn a_probe_is_due_once_for_each_number_and_only_while_nothing_else_may_leave() {
        let go = |telemetry, probe| Go { telemetry, probe, ..Go::default() };
        let (sender, receiver) = watch::channel(go(Telemetry::Nothing, 4));
        let mut leave = Leave::new(receiver, 4);
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Same, false), "the fourth was another's");
        sender.send_replace(go(Telemetry::Nothing, 5));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Probe, true));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Same, true), "until it has begun");
        leave.probed();
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Same, false));
        sender.send_replace(go(Telemetry::Nothing, 6));
        leave.look();
        sender.send_replace(go(Telemetry::First, 6));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Opened, false), "there is no need of it");
        assert!(leave.lets(true) && !leave.lets(false) && leave.lets_any());
        sender.send_replace(go(Telemetry::All, 7));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Opened, false));
        sender.send_replace(go(Telemetry::First, 7));
        assert_eq!(leave.look(), Turn::Same, "what goes first still may");
        sender.send_replace(go(Telemetry::Nothing, 7));
        assert_eq!((leave.look(), leave.lets_any()), (Turn::Shut, false));
    }

    #[test]
    fn a_probe_that_became_due_before_the_forwarder_began_is_due_when_it_begins() {
        let (_sender, receiver) = watch::channel(Go { telemetry: Telemetry::Nothing, probe: 5, ..Go::default() });
        let mut leave = Leave::new(receiver, 4);
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Probe, true));
        leave.probed();
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Same, false));
    }

    #[test]
    fn a_probe_that_waits_for_a_record_waits_too_while_something_is_in_its_way() {
        let go = |probe, may_probe| Go { telemetry: Telemetry::Nothing, probe, may_probe, ..Go::default() };
        let (sender, receiver) = watch::channel(go(0, true));
        let mut leave = Leave::new(receiver, 0);
        sender.send_replace(go(1, true));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Probe, true));
        sender.send_replace(go(1, false));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Same, false), "the service has ended, say");
        sender.send_replace(go(1, true));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Probe, true), "that was withdrawn");
        leave.probed();
        sender.send_replace(go(1, false));
        sender.send_replace(go(1, true));
        assert_eq!((leave.look(), leave.is_probing()), (Turn::Same, false));
    }
}
