//! One gateway of a fleet: the agent's machine and back-off, and a model of what sends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidegate::clock::Stamp;
use tidegate::forward::DelayRange;
use tidegate::forward::backoff::{Backoff, Jitter};
use tidegate::provider::input::{self, Input, Means, View};
use tidegate::provider::machine::{Machine, Settings};
use tidegate_protocol::notice::Notice;
use tidegate_protocol::stance::Telemetry;
use tidegate_protocol::terms;

use super::figures::Figures;
use super::service::{Answer, Service};
use super::{EPOCH, Kind, MINUTE, SECOND, Scenario};
use crate::rng::Rng;

/// The agent's own default.
const BACKOFF: DelayRange = DelayRange { min: Duration::from_secs(1), max: Duration::from_secs(300) };

/// How long a request takes.
const REQUEST: u64 = 200;

/// The agent tells its machine of a row of acceptances so often.
const ACCEPTED_EVERY: u64 = 10 * SECOND;

/// The agent spreads the end of a wait that an answer named by a tenth of it, but no more than this (`forward::gate`).
const SPREAD: u64 = 10 * SECOND;

/// One gateway. Times in ms of virtual time.
#[derive(Debug)]
pub(super) struct Gateway {
    machine: Option<Machine>,
    /// The machine's view, and until when nothing in it changes by itself.
    view: Option<(View, u64)>,
    backoff: Backoff,
    jitter: Jitter,
    base: Instant,
    scenario: Scenario,
    /// How long it had been up when the time began.
    uptime: u64,
    next_batch: u64,
    waiting: u64,
    not_before: u64,
    sent: VecDeque<u64>,
    told_accepted: u64,
    connected: bool,
    open: bool,
    probe: u64,
    returned: bool,
}

impl Gateway {
    pub(super) fn new(number: u32, kind: Kind, scenario: Scenario, rng: &mut Rng) -> Self {
        let machine = (kind == Kind::Tidegate).then(|| Machine::new(Settings::new(format!("gw-{number:06}"))));
        Self {
            machine,
            view: None,
            backoff: Backoff::new(BACKOFF),
            jitter: Jitter::new(rng.bits()),
            base: Instant::now(),
            scenario,
            uptime: rng.between(MINUTE, 1_000 * MINUTE),
            next_batch: rng.between(0, MINUTE),
            waiting: 0,
            not_before: 0,
            sent: VecDeque::new(),
            told_accepted: 0,
            connected: false,
            open: true,
            probe: 0,
            returned: false,
        }
    }

    /// When it first has something to send.
    pub(super) fn begins(&self) -> u64 {
        self.next_batch
    }

    fn stamp(&self, at: u64) -> Stamp {
        Stamp { wall_ms: EPOCH + at, uptime_ms: self.uptime + at, boot: 1, trusted: true }
    }

    pub(super) fn told(&mut self, notice: Notice) {
        let now = self.stamp(0);
        if let Some(machine) = &mut self.machine {
            machine.tell(Input::Notice { notice, key: "ops".into(), via: "file" }, &now);
        }
    }

    /// How often it has a batch.
    fn interval(&self, at: u64) -> u64 {
        let (from, until) = self.scenario.span();
        let alarm = self.scenario == Scenario::Throttled && (from..until).contains(&at);
        if alarm { MINUTE / 8 } else { MINUTE }
    }

    /// Does what is to be done at `at`. Says after how many ms there may be something more.
    pub(super) fn act(&mut self, at: u64, service: &mut Service, figures: &mut Figures) -> u64 {
        while self.next_batch <= at {
            self.waiting += 1;
            self.next_batch += self.interval(self.next_batch);
        }
        let (open, probe, gap) = self.may(at);
        if open && !self.open {
            // What was tried while it was shut says nothing of what is taken now.
            self.not_before = 0;
            self.backoff.reset();
        }
        self.open = open;
        if !open {
            self.connected = false;
        }
        let free = self.free_at(gap);
        if self.waiting > 0 && (probe || open && at >= free) {
            self.send(at, probe, service, figures);
        }
        self.wait(at)
    }

    /// Whether telemetry may leave, whether a probe may, and how far apart events have to be.
    fn may(&mut self, at: u64) -> (bool, bool, u64) {
        let now = self.stamp(at);
        let Some(machine) = &mut self.machine else { return (true, false, 0) };
        if self.view.as_ref().is_none_or(|(_, until)| *until <= at) {
            machine.turn(&now);
            let until = machine.wake_in_ms(&now).map_or(u64::MAX, |wait| at + wait);
            self.view = Some((machine.view(&now), until));
        }
        let Some((view, _)) = &self.view else { return (true, false, 0) };
        let limit = view.limits.limits().iter().find(|limit| limit.bound.kind() == terms::Kind::EventsPerMinute);
        let gap = limit.and_then(|limit| limit.bound.number()).map_or(0, |events| MINUTE.div_ceil(events));
        let open = view.leave.telemetry == Telemetry::All;
        (open, !open && view.probe > self.probe, gap)
    }

    fn free_at(&self, gap: u64) -> u64 {
        self.not_before.max(self.sent.back().map_or(0, |sent| sent + gap.max(REQUEST)))
    }

    fn send(&mut self, at: u64, probe: bool, service: &mut Service, figures: &mut Figures) {
        if probe {
            self.probe = self.view.as_ref().map_or(0, |(view, _)| view.probe);
        }
        let answer = service.ask(at);
        figures.sent(at, !self.connected, answer);
        while self.sent.front().is_some_and(|sent| sent + MINUTE <= at) {
            self.sent.pop_front();
        }
        let per_minute = self.sent.len() as u32;
        self.sent.push_back(at);
        match answer {
            Answer::Accepted => {
                self.waiting -= 1;
                self.connected = true;
                self.backoff.succeeded(self.base + Duration::from_millis(at));
                if at >= self.scenario.span().1 && !std::mem::replace(&mut self.returned, true) {
                    figures.came_back(at);
                }
                if probe || self.told_accepted == 0 || at >= self.told_accepted + ACCEPTED_EVERY {
                    self.told_accepted = at;
                    self.tell(at, Means::Accepted, None, probe, per_minute);
                }
            }
            Answer::Unreachable => {
                self.connected = false;
                self.told_accepted = 0;
                self.not_before = at + self.backoff.failed(&mut self.jitter).as_millis() as u64;
                self.tell(at, Means::Unreachable, None, probe, per_minute);
            }
            Answer::Throttled(wait) => {
                self.connected = true;
                self.told_accepted = 0;
                let spread = self.jitter.between(Duration::ZERO, Duration::from_millis((wait / 10).min(SPREAD)));
                self.not_before = at + wait + spread.as_millis() as u64;
                self.tell(at, Means::Throttled, Some(wait), probe, per_minute);
            }
        }
    }

    fn tell(&mut self, at: u64, means: Means, wait_ms: Option<u64>, probe: bool, per_minute: u32) {
        let now = self.stamp(at);
        let Some(machine) = &mut self.machine else { return };
        let answer = input::Answer {
            means,
            by_rule: false,
            wait_ms,
            reason: String::new(),
            probe,
            per_minute: Some(per_minute),
        };
        machine.tell(Input::Answer(answer), &now);
        self.view = None;
    }

    /// How long there is nothing to do.
    fn wait(&mut self, at: u64) -> u64 {
        let (open, probe, gap) = self.may(at);
        let send = if probe {
            at
        } else if open && self.waiting > 0 {
            self.free_at(gap)
        } else if open {
            self.next_batch
        } else {
            u64::MAX
        };
        let wake = self.view.as_ref().map_or(u64::MAX, |(_, until)| *until);
        send.min(wake).saturating_sub(at)
    }
}
