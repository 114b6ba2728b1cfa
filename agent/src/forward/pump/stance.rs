//! What the provider's stance makes the pump do: wait, send a probe, and say what came of each exchange.

use std::time::Instant;

use super::Pump;
use crate::forward::http::is_over;
use crate::forward::leave::Turn;
use crate::forward::plan::Side;
use crate::forward::told::Told;
use crate::forward::verdict::Verdict;
use crate::forward::ways::CLASSES;
use crate::shape::wire::Class;
use crate::shape::wire::Failure;

/// How long before an identity ends no request is begun under it: a clock that is right by the `Date` of an answer may be
/// wrong by more than half a second, and a request takes a moment until it is on the wire.
const LAST_MS: u64 = 2_000;

impl Pump {
    /// Takes in what the stance lets leave now.
    pub(super) fn follow_stance(&mut self) {
        match self.leave.look() {
            Turn::Same => {}
            Turn::Opened => {
                // What was tried while it was shut says nothing of what is taken now.
                self.gate.open(&self.config.options);
                self.lanes.iter_mut().for_each(super::Lane::outage_ended);
                // If a quota was used up, that is over by the machine's word.
                self.permits.ask_again();
            }
            Turn::Shut => CLASSES.into_iter().for_each(|class| self.way(class).hang_up()),
            Turn::Probe => {
                // When it is due is the machine's to say alone: what `status` shows is what happens.
                self.permits.ask_again();
                // A probe is one record: what was gathered for a whole batch is read anew.
                for side in Side::BOTH {
                    self.lanes.iter_mut().for_each(|lane| lane.stream(side).drop_fresh());
                }
            }
        }
    }

    /// Whether anything of a lane may leave now, as far as the stance and the endpoint's own pace go.
    pub(super) fn is_open(&self, index: usize, now: Instant) -> bool {
        let paced = || self.lets(index) && self.gate.closed_for(index, now).is_none();
        !self.is_ending() && (self.leave.is_probing() || paced())
    }

    /// Whether the identity in use is about to end: nothing is begun under it any more.
    pub(super) fn is_ending(&self) -> bool {
        // The clock is asked only where that matters: this runs at every turn of the loop.
        let until_ms = self.config.options.until_ms;
        until_ms.is_some() && is_over(until_ms, LAST_MS, &self.store.clock().now())
    }

    /// Whether anything of a lane may.
    pub(super) fn lets(&self, index: usize) -> bool {
        self.leave.is_probing() || self.leave.lets(self.lanes[index].options.first)
    }

    /// Sends the oldest record that the limits, and an emergency, let out, once it is known which it is. What waits for a window of its lane,
    /// or for what its lane may use, would keep every other lane shut with it, and for what need not be over: the probe is
    /// there to find out about the provider.
    pub(super) fn start_probe(&mut self) {
        let busy = !self.loads.is_empty() || self.critical.is_asking() || self.other.is_asking();
        if busy {
            return;
        }
        let may_be = |lane: &&super::Lane| self.leave.probes(lane.options.first);
        let ready = |lane: &super::Lane| lane.oldest().map(|(side, batch)| (batch.oldest, lane.id.index(), side));
        let mut oldest: Vec<_> = self.lanes.iter().filter(may_be).filter_map(ready).collect();
        oldest.sort_by_key(|(at, ..)| *at);
        // One that is still to be cut to a single record is waited for: it may be the one.
        let may = |index: usize| {
            let batch = self.lanes[index].oldest().map(|(_, batch)| batch);
            batch.is_some_and(|batch| batch.events > 1 || self.permits.may_probe(index, batch))
        };
        let Some((_, index, side)) = oldest.into_iter().find(|(_, index, _)| may(*index)) else { return };
        let announced = self.lanes[index]
            .oldest()
            .is_some_and(|(_, batch)| batch.events == 1 && self.ledger.is_announced(index, batch.span));
        let class = if self.lanes[index].options.first { Class::Critical } else { Class::Other };
        if !announced || self.way(class).link.is_none() {
            return;
        }
        self.leave.probed();
        self.send(class, index, side, true);
    }

    /// Says what came of an exchange.
    pub(super) fn tell(
        &mut self,
        (verdict, by_rule): (Verdict, bool),
        (status, failure): (Option<u16>, Option<Failure>),
        reason: &str,
        probe: bool,
        now: Instant,
    ) {
        let wait = match verdict {
            Verdict::Throttled { until } | Verdict::Maintenance { until } => Some(until),
            Verdict::Quota { until } => until,
            _ => None,
        };
        let wait = wait.map(|until| until.saturating_duration_since(now));
        let at = self.store.clock().now();
        let reason = reason.to_owned();
        self.teller.tell(Told { at, verdict, by_rule, status, failure, wait, reason, probe, per_minute: 0 }, now);
    }
}
