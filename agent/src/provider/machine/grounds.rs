//! How things stand: every ground there is, what all of them leave, and the limits that follow.

use std::num::NonZeroU64;

use tidegate_protocol::stance::{Leave, Stance, Telemetry};
use tidegate_protocol::terms::{Bound, Limit, Provider, Source, Terms};

use super::answers::{Kind, Told};
use super::item::{Item, Phase, Said, Ways};
use super::probe::{FIRST_SLOT_MS, Need};
use super::state::State;
use super::time::Moment;
use super::words;
use crate::clock::{EARLIEST_MS, Stamp};
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::provider::input::{ByUptime, Ground, View};

/// The way back doubles so many times: from 1 event a minute to 512, and then there is no limit. All in all that lets
/// through a thousand events, each up to a whole body.
const DOUBLINGS: u64 = 10;

/// Grounds as they stand at a moment.
pub(super) struct Standing<'a> {
    pub(super) state: &'a State,
    pub(super) ways: Ways<'a>,
    pub(super) at: Moment,
}

impl Standing<'_> {
    pub(super) fn view(&self, now: &Stamp) -> View {
        let uptime_ms = now.uptime_ms;
        let (mut grounds, mut ahead) = self.grounds();
        let uptime = i64::try_from(uptime_ms).unwrap_or(i64::MAX);
        for ground in grounds.iter_mut().chain(&mut ahead) {
            ground.by_uptime = ground.by_uptime.filter(|_| !now.trusted).map(|it| ByUptime {
                since: it.since.saturating_add(uptime),
                until: it.until.map(|until| until.saturating_add(uptime)),
                ..it
            });
        }
        let leave = leave(&grounds);
        let probe_at = self.probe_at().filter(|_| leave.probe);
        let by_uptime = |steady: u64| uptime_ms.saturating_add(steady.saturating_sub(self.at.steady));
        let probe_at_ms = probe_at.map(by_uptime);
        let rest_until_ms = self.state.rest.filter(|rest| *rest > self.at.steady).map(by_uptime);
        let may_probe = leave.probe && self.in_the_way().next().is_none();
        let (limits, probe) = (self.limits(), self.state.probes.count);
        View { grounds, leave, limits, probe, may_probe, probe_at_ms, rest_until_ms, ahead }
    }

    /// Adds how far from now it begins and ends, by the `line` of dates that counts for it. `said`: whether somebody said
    /// when, of either.
    fn reckoned(&self, ground: Ground, line: u64, said: (bool, bool)) -> Ground {
        let from_now = |date: u64| {
            let away = i64::try_from(date.abs_diff(line)).unwrap_or(i64::MAX);
            if date < line { -away } else { away }
        };
        let dated = |date: u64, said: bool| self.at.known || said && date >= EARLIEST_MS;
        let by_uptime = ByUptime {
            since: from_now(ground.since_ms),
            until: ground.until_ms.map(from_now),
            since_dated: dated(ground.since_ms, said.0),
            until_dated: ground.until_ms.is_some_and(|until| dated(until, said.1)),
        };
        Ground { by_uptime: Some(by_uptime), ..ground }
    }

    /// Those that hold, and those that are to come, each in the order in which they are shown.
    fn grounds(&self) -> (Vec<Ground>, Vec<Ground>) {
        let mut grounds: Vec<Ground> = Vec::new();
        let mut ahead: Vec<Ground> = Vec::new();
        for item in &self.state.items {
            let phase = item.phase(&self.ways, self.at);
            if phase == Phase::Ahead {
                ahead.extend(self.of_item(item, phase));
            } else {
                grounds.extend(self.of_item(item, phase));
            }
        }
        grounds.extend(self.of_answers());
        grounds.extend(self.of_throttle());
        grounds.extend(self.of_hold());
        self.of_sim(&mut grounds, &mut ahead);
        grounds.sort_by_key(|ground| (ground.stance, ground.since_ms));
        ahead.sort_by_key(|ground| (ground.since_ms, ground.stance));
        (grounds, ahead)
    }

    fn of_item(&self, item: &Item, phase: Phase) -> Option<Ground> {
        let course = item.course(&self.ways)?;
        let stance = item.said.stance()?;
        let (cause, advice) = texts(item, stance);
        let ground = Ground {
            stance,
            source: words::source(item),
            cause,
            clause: words::clause(stance),
            since_ms: course.from,
            until_ms: course.planned.or(course.end),
            by_uptime: None,
            advice,
        };
        let ground = match phase {
            Phase::None | Phase::Past => None,
            Phase::Ahead | Phase::Holds => Some(ground),
            Phase::Overrun => {
                let cause = words::join(
                    ground.cause,
                    message!("still said to be under way, though its end has passed").into_value(),
                );
                Some(Ground { cause, ..ground })
            }
            Phase::Waits => {
                let cause = words::join(
                    ground.cause,
                    message!("over; gateways come back one by one, this one at its own moment").into_value(),
                );
                Some(Ground { cause, until_ms: course.back, advice: words::wait(), ..ground })
            }
            Phase::Ramps => Some(Ground {
                stance: Stance::Restricted,
                cause: words::join(ground.cause, message!("over; what may be sent doubles step by step").into_value()),
                clause: words::clause(Stance::Restricted),
                since_ms: course.back.unwrap_or(course.from),
                until_ms: course.done,
                advice: words::wait(),
                ..ground
            }),
        };
        let said = if phase == Phase::Ramps { (course.said.1, course.said.1) } else { course.said };
        ground.map(|ground| self.reckoned(ground, item.date(self.at), said))
    }

    fn of_answers(&self) -> Option<Ground> {
        let told = self.state.answers.as_ref()?;
        let stance = told.kind.stance();
        let advice = match told.kind {
            Kind::Maintenance => words::wait(),
            Kind::Suspended => words::suspended(),
            Kind::Quota => words::quota(),
            Kind::Ended => words::ended_by_answer(),
        };
        let ground = Ground {
            stance,
            source: words::who(words::ANSWER),
            cause: (&told.reason).into_value(),
            clause: words::clause(stance),
            since_ms: self.at.date_of(told.since),
            until_ms: match told.kind {
                Kind::Quota => told.ends(self.at),
                _ => told.rest.map(|rest| self.at.date_of(rest)),
            },
            by_uptime: None,
            advice,
        };
        Some(self.reckoned(ground, self.at.date, (false, told.kind == Kind::Quota && !told.named)))
    }

    fn of_throttle(&self) -> Option<Ground> {
        let throttle = self.state.throttle.as_ref()?;
        let rest = self.state.rest.filter(|rest| *rest > self.at.steady);
        if rest.is_none() {
            throttle.per_minute(self.at.steady)?;
        }
        let ground = Ground {
            stance: Stance::Restricted,
            source: words::who(words::ANSWER),
            cause: (&throttle.reason).into_value(),
            clause: words::clause(Stance::Restricted),
            since_ms: self.at.date_of(throttle.since),
            until_ms: None,
            by_uptime: None,
            advice: words::wait(),
        };
        Some(self.reckoned(ground, self.at.date, (false, false)))
    }

    fn of_hold(&self) -> Option<Ground> {
        let hold = self.state.hold.as_ref()?;
        let ground = Ground {
            stance: Stance::Held,
            source: words::who(words::OPERATOR),
            cause: (&hold.why).into_value(),
            clause: None,
            since_ms: self.at.date_of(hold.since),
            until_ms: hold.until.map(|until| self.at.date_of(until)),
            by_uptime: None,
            advice: words::resume(),
        };
        Some(self.reckoned(ground, self.at.date, (false, false)))
    }

    fn of_sim(&self, grounds: &mut Vec<Ground>, ahead: &mut Vec<Ground>) {
        let Some(sim) = &self.state.sim else { return };
        let ground = |stance, cause: Message, (since_ms, said), advice: Value| {
            let ground = Ground {
                stance,
                source: words::who(words::SIM),
                cause: cause.into_value(),
                clause: words::clause(stance),
                since_ms,
                until_ms: None,
                by_uptime: None,
                advice,
            };
            self.reckoned(ground, self.at.date, (said, false))
        };
        if let (Some(stance), Some(status)) = (sim.by_status(), &sim.status) {
            grounds.push(ground(
                stance,
                message!("status {status}", status = status),
                (self.at.date_of(sim.since), false),
                words::sim_stopped(),
            ));
        }
        if let (Some((stance, at)), Some((_, action))) = (sim.by_expiry(), &sim.expiry) {
            let cause = message!("expires, action {action}", action = action);
            if at > self.at.date {
                ahead.push(ground(stance, cause, (at, true), words::sim_expires()));
            } else {
                let advice = if stance == Stance::Ended { words::ended() } else { words::sim_stopped() };
                grounds.push(ground(stance, cause, (at, true), advice));
            }
        }
    }

    /// Limits that hold now, of each kind the least.
    fn limits(&self) -> Terms {
        let mut terms = Terms::default();
        let mut add = |bound: Bound, provider: Provider| terms.add(Limit::new(bound, Source::Provider(provider)));
        for item in &self.state.items {
            let phase = item.phase(&self.ways, self.at);
            if let (Said::Restriction { limits, .. }, Phase::Holds) = (&item.said, phase) {
                for bound in limits.iter().filter_map(super::bounds::KeptBound::bound) {
                    add(bound, Provider::Notice { id: item.id.clone() });
                }
            }
            if phase == Phase::Ramps {
                add(Bound::EventsPerMinute(self.ramp(item)), Provider::WayBack);
            }
        }
        if let Some(rate) = self.state.throttle.as_ref().and_then(|throttle| throttle.per_minute(self.at.steady)) {
            add(Bound::EventsPerMinute(NonZeroU64::new(rate).unwrap_or(NonZeroU64::MIN)), Provider::Throttled);
        }
        terms
    }

    /// Events a minute on the way back.
    fn ramp(&self, item: &Item) -> NonZeroU64 {
        let back = item.course(&self.ways).and_then(|course| course.back).unwrap_or(item.date(self.at));
        let step = item.date(self.at).saturating_sub(back) * DOUBLINGS / self.ways.span.ramp.max(1);
        NonZeroU64::new(1 << step.min(DOUBLINGS - 1)).unwrap_or(NonZeroU64::MIN)
    }

    /// What kind of probes are asked for.
    pub(super) fn need(&self) -> Need {
        let mut need = Need::None;
        let mut soon = |anchor: u64, first: u64| match need {
            Need::Soon { anchor: earlier, .. } if earlier <= anchor => {}
            _ => need = Need::Soon { anchor, first },
        };
        match &self.state.answers {
            Some(told) if told.kind == Kind::Maintenance => match told.rest {
                Some(rest) => soon(rest, self.ways.span.resume),
                None => soon(told.set, FIRST_SLOT_MS),
            },
            _ => {}
        }
        for item in &self.state.items {
            if let (Said::Planned { until: Some(until), .. }, Phase::Overrun) =
                (&item.said, item.phase(&self.ways, self.at))
            {
                soon(item.steady_of(*until, self.at), self.ways.span.resume);
            }
        }
        let refused = |told: &Told| matches!(told.kind, Kind::Suspended | Kind::Quota);
        let rarely = self.state.answers.as_ref().is_some_and(refused) || self.is_rarely_asked_for();
        if rarely { Need::Rarely } else { need }
    }

    /// Whether something besides answers asks for rare probes.
    fn is_rarely_asked_for(&self) -> bool {
        let sim = self.state.sim.as_ref().is_some_and(|sim| {
            let expired = sim.by_expiry().is_some_and(|(stance, at)| at <= self.at.date && stance == Stance::Suspended);
            sim.by_status().is_some() || expired
        });
        let rare = |item: &Item| matches!(item.said, Said::Suspension { .. } | Said::Quota { .. });
        sim || self.state.items.iter().any(|item| rare(item) && item.phase(&self.ways, self.at) == Phase::Holds)
    }

    /// A quota that an answer says is used up.
    fn quota(&self) -> Option<&Told> {
        self.state.answers.as_ref().filter(|told| told.kind == Kind::Quota)
    }

    /// Whether an answer named a time that has not come for a probe; the operator's word counts for more.
    pub(super) fn rests(&self) -> bool {
        self.quota().and_then(|told| told.rest).is_some_and(|rest| rest > self.at.steady)
    }

    /// Whether something is in the way of probes: a stance that allows none, a maintenance that is not over, or a moment of
    /// this gateway's own that has not come.
    pub(super) fn is_in_the_way(&self) -> bool {
        !leave(&self.grounds().0).probe || self.in_the_way().next().is_some()
    }

    fn in_the_way(&self) -> impl Iterator<Item = &Item> {
        self.state.items.iter().filter(|item| {
            let phase = item.phase(&self.ways, self.at);
            let works = matches!(item.said, Said::Maintenance { .. } | Said::Planned { .. });
            let stops = item.said.stance().is_some_and(|stance| stance.leave().telemetry == Telemetry::Nothing);
            stops && (phase == Phase::Waits || works && phase == Phase::Holds)
        })
    }

    /// When the next probe is due, steady; as far as can be said.
    fn probe_at(&self) -> Option<u64> {
        let due = self.state.probes.due()?;
        let free = |item: &Item| {
            let course = item.course(&self.ways)?;
            course.planned.or(course.back)
        };
        let mut at = due;
        for item in self.in_the_way() {
            at = at.max(item.steady_of(free(item)?, self.at));
        }
        let Some(quota) = self.quota() else { return Some(at) };
        at = at.max(quota.rest.unwrap_or(0));
        // With a new period it is over by itself.
        let over = quota.ends(self.at).is_some_and(|end| self.at.steady_of(end) <= at);
        (!over || self.is_rarely_asked_for()).then_some(at)
    }

    /// The dates at which something changes by itself.
    pub(super) fn dates(&self) -> impl Iterator<Item = u64> {
        let of_items = self.state.items.iter().filter_map(|item| item.course(&self.ways).map(|course| (item, course)));
        let of_items = of_items.flat_map(move |(item, course)| {
            let (step, now) = (self.ways.span.ramp / DOUBLINGS, item.date(self.at));
            let ramp = course.back.filter(|_| item.phase(&self.ways, self.at) == Phase::Ramps).map(|back| {
                let steps = now.saturating_sub(back) * DOUBLINGS / self.ways.span.ramp.max(1) + 1;
                // Rounded up, so that by then the step has been reached.
                back.saturating_add((steps * self.ways.span.ramp).div_ceil(DOUBLINGS)).max(now + step.min(1))
            });
            let all = [Some(course.from), course.planned, course.end, course.back, course.done, ramp];
            // In how long it is by the item's own date, it is by all.
            let wait = move |date: u64| date.checked_sub(now).map(|wait| self.at.date.saturating_add(wait));
            all.into_iter().flatten().filter_map(wait)
        });
        let sim = self.state.sim.as_ref().and_then(super::sim::Sim::by_expiry).map(|(_, at)| at);
        let quota = self.quota().and_then(|told| told.ends(self.at));
        of_items.chain(sim).chain(quota)
    }

    /// The steady times at which something changes by itself.
    pub(super) fn steadies(&self) -> impl Iterator<Item = u64> {
        let throttle = self.state.throttle.as_ref().map(|throttle| throttle.changes_at(self.at.steady));
        let hold = self.state.hold.as_ref().and_then(|hold| hold.until);
        [throttle, hold, self.state.rest, self.probe_at()].into_iter().flatten()
    }
}

fn leave(grounds: &[Ground]) -> Leave {
    grounds.iter().fold(Leave::ALL, |leave, ground| leave.and(ground.stance.leave()))
}

/// The cause and the advice.
fn texts(item: &Item, stance: Stance) -> (Value, Value) {
    let why = item.why.as_str();
    match &item.said {
        Said::Suspension { breach, .. } => {
            let (cause, advice) = words::suspension(*breach);
            (words::join(cause, why.into_value()), advice)
        }
        Said::Terms { version, .. } => {
            // The log names the version too.
            let why = why.strip_prefix(&format!("version {version}")).map_or(why, |rest| rest.trim_start_matches(": "));
            let cause = message!("terms {version} are not accepted", version = version).into_value();
            (words::join(cause, why.into_value()), words::accept(version))
        }
        Said::Return { .. } => {
            (message!("the way back from {stance}", stance = stance_name(stance)).into_value(), words::wait())
        }
        Said::End { .. } => (words::why(item), words::ended()),
        Said::Quota { .. } => (words::why(item), words::quota()),
        _ => (words::why(item), words::wait()),
    }
}

/// A stance as a person reads it.
fn stance_name(stance: Stance) -> Message {
    match stance {
        Stance::Ended => message!("ended"),
        Stance::Suspended => message!("suspended"),
        Stance::Held => message!("held"),
        Stance::Quota => message!("quota"),
        Stance::Maintenance => message!("maintenance"),
        Stance::Yield => message!("yield"),
        Stance::Restricted => message!("restricted"),
        Stance::Open => message!("open"),
    }
}
