//! What the machine does, step by step: `table` names every transition, `course` follows some through time, `clockless` where
//! nobody knows what time it is, `kept` goes through restarts, `properties` through everything at random.

mod clockless;
mod course;
mod kept;
mod properties;
mod table;

use tidegate_protocol::notice::{Breach, Content, Interruption, Notice, Scope};
use tidegate_protocol::stance::{Stance, Telemetry};
use tidegate_protocol::terms::{Bound, Kind};

use super::*;
use crate::provider::input::{Answer, Means};
use crate::provider::page::{Incident, Page, Planned, Progress};

pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// 2026-11-18T14:26:40Z.
pub(super) const START: u64 = 1_795_012_000_000;

/// A machine and a clock.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: Stamp,
    pub(super) log: Vec<Entry>,
}

/// Ten minutes to come back, and ten to be as before.
pub(super) fn settings() -> Settings {
    Settings { resume: std::time::Duration::from_secs(600), ..Settings::new("barn-1") }
}

impl Bench {
    /// One whose clock is trusted, at [`START`], an hour after it was booted, and whose endpoint has accepted something.
    pub(super) fn new() -> Self {
        let mut bench = Self::fresh(settings());
        bench.tell(answer(Means::Accepted));
        bench
    }

    pub(super) fn fresh(settings: Settings) -> Self {
        let now = Stamp { wall_ms: START, uptime_ms: HOUR, boot: 1, trusted: true };
        Self { machine: Machine::new(settings), now, log: Vec::new() }
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.log.extend(self.machine.tell(input, &self.now));
    }

    /// Lets time pass in one step.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.uptime_ms += ms;
        self.log.extend(self.machine.turn(&self.now));
    }

    /// Lets time pass as the one who runs it does: it is woken when it asks for it.
    pub(super) fn run(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = self.machine.wake_in_ms(&self.now).unwrap_or(left).clamp(1, left);
            self.pass(step);
            left -= step;
        }
    }

    /// What is shown first.
    pub(super) fn stance(&self) -> Stance {
        self.view().grounds.first().map_or(Stance::Open, |ground| ground.stance)
    }

    pub(super) fn view(&self) -> View {
        self.machine.view(&self.now)
    }

    pub(super) fn telemetry(&self) -> Telemetry {
        self.view().leave.telemetry
    }

    pub(super) fn per_minute(&self) -> Option<u64> {
        let view = self.view();
        let limit = view.limits.limits().iter().find(|limit| limit.bound.kind() == Kind::EventsPerMinute);
        limit.and_then(|limit| limit.bound.number())
    }

    /// What the last entry says was done.
    pub(super) fn did(&self) -> &str {
        self.log.last().map_or("", |entry| &entry.did)
    }

    /// Goes through a restart of the process.
    pub(super) fn restart(&mut self) {
        self.machine = Machine::restore(&self.machine.encode(), self.machine.settings.clone());
    }
}

pub(super) fn answer(means: Means) -> Input {
    waiting(means, None)
}

/// An answer that a rule of the configuration says the meaning of.
pub(super) fn by_rule(means: Means) -> Input {
    match answer(means) {
        Input::Answer(answer) => Input::Answer(Answer { by_rule: true, ..answer }),
        other => other,
    }
}

pub(super) fn waiting(means: Means, wait_ms: Option<u64>) -> Input {
    Input::Answer(Answer {
        means,
        by_rule: false,
        wait_ms,
        reason: format!("{means:?}"),
        probe: false,
        per_minute: Some(40),
    })
}

pub(super) fn notice(id: &str, issued_ms: u64, content: Content) -> Input {
    let notice = Notice {
        id: id.into(),
        issued_ms,
        expires_ms: issued_ms + 7 * DAY,
        scope: Scope::Fleet,
        content,
        why: "as agreed".into(),
    };
    Input::Notice { notice, key: "ops".into(), via: "file" }
}

pub(super) fn works(from_ms: u64, until_ms: u64) -> Content {
    Content::Maintenance { from_ms, until_ms, cause: Interruption::Works, resume_s: None }
}

/// As of a page that says no time.
pub(super) fn planned(from_ms: u64, until_ms: u64, progress: Progress) -> Input {
    planned_at(None, from_ms, until_ms, progress)
}

pub(super) fn planned_at(now_ms: Option<u64>, from_ms: u64, until_ms: u64, progress: Progress) -> Input {
    let planned = Planned { id: "p1".into(), name: "Flux".into(), from_ms, until_ms: Some(until_ms), progress };
    Input::Page { page: Page { maintenances: vec![planned], incidents: Vec::new() }, now_ms }
}

pub(super) fn sim(status: &str, expiry: Option<(u64, &str)>) -> Input {
    Input::Sim { status: Some(status.into()), expiry: expiry.map(|(at, action)| (at, action.to_owned())) }
}

pub(super) fn hold(for_ms: Option<u64>) -> Input {
    Input::Hold { for_ms, why: "crane over the mast".into() }
}

pub(super) fn window() -> Input {
    notice("m-1", START, works(START + HOUR, START + 2 * HOUR))
}

/// Lets time pass, a second at a time, until telemetry may leave. Says after how many ms it might.
pub(super) fn until_open(bench: &mut Bench, most: u64) -> u64 {
    let mut waited = 0;
    while bench.telemetry() != Telemetry::All {
        assert!(waited <= most, "shut for more than {most} ms");
        bench.pass(SECOND);
        waited += SECOND;
    }
    waited
}
