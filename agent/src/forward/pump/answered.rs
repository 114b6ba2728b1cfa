//! What follows when a link comes back: the answer is judged, and the verdict's consequences are drawn for the batch's
//! lane, the gate, the permits and the figures.

use std::time::{Instant, SystemTime};

use super::Pump;
use crate::clock::now_ms;
use crate::forward::batch::Batch;
use crate::forward::course::{Course, Outcome};
use crate::forward::http::Exchange;
use crate::forward::lane::Lane;
use crate::forward::plan::Side;
use crate::forward::size;
use crate::forward::verdict::{Context, Judged, Verdict, judge};
use crate::forward::ways::{Back, Reply};
use crate::language::Value;
use crate::shape::wire::Class;

impl Pump {
    /// A link is back.
    pub(super) fn came_back(&mut self, class: Class, back: Back) {
        match back {
            Back::Reply(reply) => self.answered(class, *reply),
            Back::Warmed(link, made) => {
                let link = if link.is_for(&self.config) { *link } else { self.new_link(class) };
                self.way(class).overtaken = false;
                self.way(class).warmed(link, made, Instant::now());
            }
        }
    }

    /// Judges what came of a request and draws the consequences.
    pub(super) fn answered(&mut self, class: Class, reply: Reply) {
        let now = Instant::now();
        let Reply { link, batch, lane, side, exchange, probe } = reply;
        let was_sent = !matches!(exchange, Exchange::NotSent(_) | Exchange::Answered { auth: true, .. });
        if was_sent {
            self.lanes[lane].was_sent(&batch);
        }
        self.handle.update(|stats| match exchange {
            Exchange::NotSent(_) => stats.connect_failures += 1,
            Exchange::Answered { auth: true, .. } => stats.token_refusals += 1,
            Exchange::Answered { .. } | Exchange::Cut(_) => stats.requests += 1,
        });
        let (mut status, mut failure) = (None, None);
        let auth = matches!(exchange, Exchange::Answered { auth: true, .. });
        let judged = match exchange {
            Exchange::Answered { mut answer, .. } => {
                status = Some(answer.status);
                self.handle.note_limit(&answer.headers, now);
                // Before anything is cut: half a secret would not be recognised.
                answer.body = link.redact(&String::from_utf8_lossy(&answer.body)).into_bytes();
                let wall = SystemTime::now();
                let (rules, kind) = (&self.config.options.rules, link.kind());
                let proven = link.proves();
                judge(&answer, &Context { rules, kind, delivered: self.delivered, auth, proven, now, wall })
            }
            Exchange::NotSent(lack) | Exchange::Cut(lack) => {
                failure = Some(lack.how);
                Judged { verdict: Verdict::Transient { costly: false }, reason: lack.reason, by_rule: false }
            }
        };
        let Judged { verdict, reason: said, by_rule } = judged;
        let reason = said.to_string();
        self.permits.end(lane, was_sent, verdict);
        if link.is_to(&self.config) {
            self.tell((verdict, by_rule), (status, failure), &reason, probe, now);
        }
        let overtaken = std::mem::take(&mut self.way(class).overtaken);
        let same_endpoint = link.is_to(&self.config);
        if matches!(verdict, Verdict::Quota { .. }) && (overtaken || !same_endpoint) {
            self.permits.ask_again();
        }
        let link = if link.is_for(&self.config) { link } else { self.new_link(class) };
        self.way(class).link = Some(link);
        if !self.leave.lets_any() {
            self.way(class).hang_up();
        }
        // What was answered to a request from before a reload holds nothing up: the operator may have mended the cause
        // meanwhile. A time that the endpoint named is kept to all the same; see `Gate::reload`.
        let named = matches!(verdict, Verdict::Accepted | Verdict::Throttled { .. } | Verdict::Maintenance { .. });
        let outage_ended = same_endpoint && (named || !overtaken) && self.gate.judged(verdict, now, &mut self.jitter);
        let outcome = if same_endpoint {
            self.outcome(&batch, verdict, now)
        } else if verdict == Verdict::Accepted {
            Outcome::Accepted
        } else {
            // What an endpoint that is not used any more refuses, the new one may take.
            Outcome::Unjudged
        };
        let put_aside = self.settle((lane, side), &batch, outcome, &reason, (now, overtaken));
        if outcome == Outcome::Accepted && same_endpoint {
            self.lanes.iter_mut().for_each(Lane::prove);
        }
        if outage_ended {
            self.lanes.iter_mut().for_each(Lane::outage_ended);
        }
        if put_aside && !self.courses().any(Course::is_in_doubt) {
            // It was put aside because the endpoint takes others: what it said of the one does not stand for it.
            self.publish(Verdict::Accepted, None, &Value::default(), now);
        } else if same_endpoint {
            self.publish(verdict, verdict.code(status, failure, auth), &said, now);
        }
    }

    /// What a verdict of the endpoint in use means for the batch's lane.
    fn outcome(&mut self, batch: &Batch, verdict: Verdict, now: Instant) -> Outcome {
        match verdict {
            Verdict::Accepted => {
                self.delivered = true;
                self.size.accepted(batch.body.len());
                Outcome::Accepted
            }
            Verdict::Poison { too_large: true } if batch.events > 1 && batch.body.len() > size::FLOOR => {
                self.size.refused(batch.body.len(), now);
                Outcome::Unjudged
            }
            Verdict::Poison { .. } => Outcome::Refused { first: batch.first(), last: batch.last() },
            Verdict::Transient { costly: true } => Outcome::NotTaken,
            _ => Outcome::Unjudged,
        }
    }

    /// Draws the consequences for the batch's lane; says whether the batch was put aside.
    fn settle(
        &mut self,
        (index, side): (usize, Side),
        batch: &Batch,
        outcome: Outcome,
        reason: &str,
        (now, overtaken): (Instant, bool),
    ) -> bool {
        let settled = self.lanes[index].plan.settle(side, outcome, 0);
        if outcome == Outcome::Accepted {
            self.handle.update(|stats| {
                stats.last_accepted_ms = Some(now_ms());
                stats.forwarded += batch.events as u64;
                stats.batches += 1;
            });
        }
        if !overtaken {
            self.lanes[index].stream(side).wait(settled.pace, now, &mut self.jitter);
        }
        if settled.put_aside {
            self.set_aside(index, batch, reason, now);
        }
        if let Some(done) = settled.done {
            self.lanes[index].is_done(done);
            self.ledger.acknowledge(index, done);
        }
        settled.put_aside
    }

    /// Puts a batch's records aside.
    pub(super) fn set_aside(&mut self, index: usize, batch: &Batch, reason: &str, now: Instant) {
        for seq in batch.runs.iter().flat_map(|run| run.from..run.below) {
            self.ledger.put_aside(index, seq, reason);
        }
        self.handle.update(|stats| stats.put_aside += batch.events as u64);
        self.report.put_aside(index, batch, reason, now);
    }
}
