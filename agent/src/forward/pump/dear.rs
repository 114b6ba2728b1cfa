//! Records that cost more than a budget has in all: they can never leave, and what comes behind them shall.

use std::time::Instant;

use super::Pump;
use crate::forward::course::Outcome;

impl Pump {
    /// Puts aside the records at the head of lanes for which the limits have no room at any time. They wait there with the
    /// reason, as what Flux refuses does, and can be tried again once the limit is larger.
    pub(super) fn put_dear_aside(&mut self, now: Instant) {
        for index in 0..self.lanes.len() {
            let turn = self.lanes[index].turn(|span| self.ledger.is_announced(index, span));
            let dear = turn.and_then(|(side, batch)| Some((side, self.permits.is_too_dear(index, batch)?)));
            let Some((side, reason)) = dear else { continue };
            let Some(batch) = self.lanes[index].take(side) else { continue };
            let settled = self.lanes[index].plan.settle(side, Outcome::Empty, 0);
            self.set_aside(index, &batch, &reason, now);
            if let Some(done) = settled.done {
                self.ledger.acknowledge(index, done);
            }
        }
    }
}
