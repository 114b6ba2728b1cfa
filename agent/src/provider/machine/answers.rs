//! What follows from Flux's answers, and from there being none.
//!
//! # Constraints
//! - An answer speaks for the endpoint that gave it: another endpoint ends what the old one's answers made.
//! - What answers made, answers end: one that accepts, or one that shows that the record is judged and not the gateway.
//!   They never end what a signed notice said; that it is accepted nevertheless is logged. An *end* (410 over TLS, where
//!   records had been accepted) no answer lifts, because nothing is sent any more: that takes another endpoint or
//!   credential, or a signed notice that withdraws `answers`. The operator's word does not: a configuration is reloaded for
//!   many reasons, and each time something would be sent to who said that it is gone for good.
//! - The gateway's own line at fault shuts nothing, and ends what was concluded from connections that were refused or cut
//!   before that could be told.
//! - A refusal by an endpoint that never accepted anything is a mistake in the configuration, and no stance: the
//!   forwarder tries on at its own pace. Unless a rule of the configuration says what such an answer means: that is the
//!   operator's word, and there is nothing to conclude.
//!
//! # Over a restart
//! How long an answer asks to wait (`Retry-After` and its like) is the forwarder's to keep to (`forward::gate`), and is
//! remembered here, so that a start is no way around it. It counts in steady time, an hour at most of a 429 and a day of
//! anything else, and ends with it, with any other answer, and with another endpoint.
//!
//! # One at a time
//! The endpoint says one thing at a time, so there is one ground made of answers. Of two answers the later counts, but an
//! end stands, and an endpoint that suspends and then cannot be reached has not stopped suspending.

use serde::{Deserialize, Serialize};
use tidegate_protocol::stance::Stance;

use super::item::{Item, Origin, Phase, Said};
use super::settings::Span;
use super::state::{ENDPOINTS, WHY_BYTES};
use super::throttle::Throttle;
use super::time::Moment;
use super::words;
use super::{Machine, Scribe, Settings, cut};
use crate::language::Message;
use crate::message;
use crate::provider::input::{Answer, Means};

/// A wait that is this long is a maintenance; a shorter one is waited for at the endpoint's own pace (`forward::gate`).
const LONG_WAIT_MS: u64 = 120_000;

/// A wait that an answer asks for counts up to this: then one event shows whether it was meant.
pub(super) const LONGEST_REST_MS: u64 = 86_400_000;

/// A wait that a 429 asks for counts up to this, as for the forwarder.
const LONGEST_THROTTLE_MS: u64 = 3_600_000;

/// A wait that is shorter is not worth a write to flash: a restart takes about as long.
const KEPT_REST_MS: u64 = 5_000;

/// An endpoint that is misconfigured is asked again after a restart no sooner than this after it refused: as soon as the
/// forwarder itself would at the soonest, and as often as reloads may bring a try. A service that is started anew every few
/// seconds does not press it, and a person who starts it by hand hardly waits.
const REFUSED_REST_MS: u64 = 60_000;

/// Failures in a row, and time since the first of them, that make an interruption of it: connections are refused and
/// cut now and then, and Unified sessions are cut for maintenance that is over in seconds.
const FAILURES: (u32, u64) = (3, 30_000);

/// The longest that a spent quota is believed to last: a month.
pub(super) const LONGEST_QUOTA_MS: u64 = 31 * 86_400_000;

/// After an answer that the quota is used up, one event in so long asks whether it still is: each may be counted.
const ASK_QUOTA_MS: u64 = 86_400_000;

/// What an answer makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Maintenance,
    Suspended,
    Quota,
    Ended,
}

/// The ground made of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) kind: Kind,
    /// Steady.
    pub(super) since: u64,
    /// Until when a quota is spent, ms since the Unix epoch, if that is known and the answer named no time.
    pub(super) until: Option<u64>,
    /// When it was told last, steady.
    pub(super) set: u64,
    /// Until when it asks to wait, steady; of a quota, until when it is not asked again.
    pub(super) rest: Option<u64>,
    /// That is what the answer named, and with a quota its end.
    #[serde(default)]
    pub(super) named: bool,
    /// It was concluded from connections that were refused or cut, and from nothing that was answered since.
    #[serde(default)]
    pub(super) unreached: bool,
    pub(super) reason: String,
}

impl Kind {
    pub(super) const fn stance(self) -> Stance {
        match self {
            Self::Maintenance => Stance::Maintenance,
            Self::Suspended => Stance::Suspended,
            Self::Quota => Stance::Quota,
            Self::Ended => Stance::Ended,
        }
    }
}

impl Told {
    /// Until when a quota is used up, by the answer that says so now: the time that it names, counted from now on, but no
    /// sooner than a probe would come, for each question may be counted; else the end of the account's month. Says whether
    /// anything is new.
    fn lasts(&mut self, wait_ms: Option<u64>, at: Moment, settings: &Settings) -> bool {
        if self.kind != Kind::Quota {
            return false;
        }
        let until = at.known.then(|| settings.calendar.month_end_ms(at.date));
        match wait_ms {
            Some(wait) => {
                let least = Span::of(settings).probe_min;
                let rest = at.steady.saturating_add(wait.clamp(least, LONGEST_QUOTA_MS));
                (self.named, self.rest, self.until) = (true, Some(rest), None);
            }
            None if self.named => {}
            None => {
                self.rest = Some(at.steady.saturating_add(ASK_QUOTA_MS));
                self.until = until.or(self.until);
            }
        }
        self.set = at.steady;
        true
    }

    /// The date at which a quota begins anew, if that is known.
    pub(super) fn ends(&self, at: Moment) -> Option<u64> {
        if self.named { self.rest.map(|rest| at.date_of(rest)) } else { self.until }
    }
}

impl Machine {
    pub(super) fn answer(&mut self, answer: Answer, log: &mut Scribe) {
        self.rests(&answer, log.at);
        match answer.means {
            Means::Accepted => self.accepted(answer.probe, log),
            Means::Throttled => self.throttled(answer, log),
            Means::Maintenance | Means::Unreachable => self.not_reached(answer, log),
            Means::Suspended if self.is_meant(&answer) => self.refused(Kind::Suspended, answer, log),
            Means::Ended if self.is_meant(&answer) => self.refused(Kind::Ended, answer, log),
            Means::Suspended | Means::Ended | Means::Misconfigured => self.mistaken(&answer, log),
            Means::Quota => self.refused(Kind::Quota, answer, log),
            Means::Poison => {
                self.state.failing = None;
                self.lift(&[Kind::Maintenance, Kind::Suspended, Kind::Quota], message!("it judges records again"), log);
            }
            Means::Transient => {}
            Means::OwnLine => self.own_line(log),
        }
    }

    /// Whether a refusal means what it says: the operator says so, or records had been accepted before.
    fn is_meant(&self, answer: &Answer) -> bool {
        answer.by_rule || self.state.has_delivered()
    }

    /// Remembers until when an answer asks not to be asked.
    fn rests(&mut self, answer: &Answer, at: Moment) {
        let most = match answer.means {
            Means::Throttled => LONGEST_THROTTLE_MS,
            Means::Maintenance => LONGEST_REST_MS,
            // They say nothing of it.
            Means::Transient | Means::OwnLine | Means::Unreachable => return,
            _ => {
                self.dirty |= self.state.rest.take().is_some();
                return;
            }
        };
        let Some(wait) = answer.wait_ms else { return };
        self.dirty |= wait >= KEPT_REST_MS;
        self.state.rest = Some(at.steady.saturating_add(wait.min(most)));
    }

    fn accepted(&mut self, probe: bool, log: &mut Scribe) {
        self.state.failing = None;
        self.state.misconfigured = false;
        let endpoint = self.state.endpoint.unwrap_or_default();
        if self.state.cautious || !self.state.delivered.contains(&endpoint) {
            self.state.delivered.retain(|known| *known != endpoint);
            self.state.delivered.insert(0, endpoint);
            self.state.delivered.truncate(ENDPOINTS);
            self.state.cautious = false;
            self.dirty = true;
        }
        self.lift(&[Kind::Maintenance, Kind::Suspended, Kind::Quota], message!("accepted"), log);
        let date = log.at.date;
        if self.state.sim.as_mut().is_some_and(|sim| sim.accepted(date)) {
            self.dirty = true;
            log.entry("sim", "", words::SIM, message!("Flux accepts over this line"), &message!("sending goes on"));
        }
        self.outlived_windows(log);
        if probe {
            self.odd_suspensions(log);
        }
    }

    /// It answers, though the page still says that a maintenance is under way whose end has passed.
    fn outlived_windows(&mut self, log: &mut Scribe) {
        let ways = super::ways(&self.settings);
        let mut back = None;
        for item in &mut self.state.items {
            let overrun = item.phase(&ways, log.at) == Phase::Overrun;
            if let (true, Said::Planned { passed, .. }) = (overrun, &mut item.said) {
                *passed = true;
                item.logged = Phase::Past;
                back = Some(item.id.clone());
            }
        }
        if let Some(id) = back {
            log.entry(
                "maintenance",
                &id,
                words::PAGE,
                message!("Flux accepts after its planned end"),
                &message!("sending goes on, slowly at first"),
            );
            self.come_back(id, Stance::Maintenance, 0, log);
        }
    }

    fn odd_suspensions(&mut self, log: &mut Scribe) {
        let ways = super::ways(&self.settings);
        for item in &mut self.state.items {
            let holds = item.phase(&ways, log.at).holds();
            if holds && !item.odd && matches!(item.said, Said::Suspension { .. }) {
                item.odd = true;
                self.dirty = true;
                let (id, source) = (item.id.clone(), words::source(item).to_string());
                log.entry(
                    "suspension",
                    &id,
                    &source,
                    message!("Flux accepted a probe although this suspends"),
                    &words::stands(),
                );
            }
        }
    }

    fn throttled(&mut self, answer: Answer, log: &mut Scribe) {
        self.state.failing = None;
        self.lift(&[Kind::Maintenance], message!("it answers again"), log);
        let steady = log.at.steady;
        let reason = short(answer.reason);
        let counts = if let Some(throttle) = self.state.throttle.as_mut().filter(|one| one.per_minute(steady).is_some())
        {
            throttle.again(answer.per_minute, steady)
        } else {
            let throttle = Throttle::new(answer.per_minute, steady, reason.clone());
            let rate = throttle.per_minute(steady).unwrap_or(1);
            let did = message!("no more than {count} events a minute", count = rate);
            self.state.throttle = Some(throttle);
            log.entry("throttled", "", words::ANSWER, &reason, &did);
            true
        };
        self.dirty |= counts;
    }

    fn not_reached(&mut self, answer: Answer, log: &mut Scribe) {
        let at = log.at;
        if self.is_announced(at) {
            // That explains it, and says when it is over.
            self.state.failing = None;
            return;
        }
        let wait = answer.wait_ms.filter(|wait| *wait >= LONG_WAIT_MS).map(|wait| wait.min(LONGEST_REST_MS));
        let rest = wait.map(|wait| at.steady.saturating_add(wait));
        match &mut self.state.answers {
            Some(told) if told.kind == Kind::Maintenance => {
                if told.unreached && answer.means == Means::Maintenance {
                    told.unreached = false;
                    self.dirty = true;
                }
                if let Some(rest) = rest {
                    (told.set, told.rest) = (at.steady, Some(rest));
                    self.dirty = true;
                }
                return;
            }
            Some(_) => return,
            None => {}
        }
        let (since, count) = self.state.failing.unwrap_or((at.steady, 0));
        self.state.failing = Some((since, count.saturating_add(1)));
        let lasts = count + 1 >= FAILURES.0 && at.steady.saturating_sub(since) >= FAILURES.1;
        if rest.is_none() && !lasts {
            return;
        }
        self.state.failing = None;
        let reason = short(answer.reason);
        log.entry(
            "maintenance",
            "",
            words::ANSWER,
            &reason,
            &message!("sending stops; now and then one event shows whether it is over"),
        );
        log.holds(words::clause(Stance::Maintenance), rest.map(|rest| at.date_of(rest)));
        let since = if lasts && rest.is_none() { since } else { at.steady };
        let (kind, set, named) = (Kind::Maintenance, at.steady, rest.is_some());
        let unreached = answer.means == Means::Unreachable;
        self.state.answers = Some(Told { kind, since, until: None, set, rest, named, unreached, reason });
        self.dirty = true;
    }

    fn refused(&mut self, kind: Kind, answer: Answer, log: &mut Scribe) {
        self.state.failing = None;
        let at = log.at;
        let reason = short(answer.reason);
        match &mut self.state.answers {
            Some(told) if told.kind == Kind::Ended => return,
            Some(told) if told.kind == kind => {
                self.dirty |= told.lasts(answer.wait_ms, at, &self.settings);
                return;
            }
            _ => {}
        }
        self.state.misconfigured = false;
        let did = match kind {
            Kind::Ended => message!("nothing is sent any more; records are kept"),
            Kind::Quota if answer.wait_ms.is_some() => message!("sending stops until the time that it names"),
            _ => message!("sending stops; rarely one event shows whether it is over"),
        };
        let mut told = Told {
            kind,
            since: at.steady,
            until: None,
            set: at.steady,
            rest: None,
            named: false,
            unreached: false,
            reason,
        };
        told.lasts(answer.wait_ms, at, &self.settings);
        log.entry(kind.stance().as_str(), "", words::ANSWER, &told.reason, &did);
        let until = if kind == Kind::Quota { told.ends(at) } else { None };
        log.holds(words::clause(kind.stance()), until);
        self.state.answers = Some(told);
        self.dirty = true;
    }

    /// The gateway's own line is at fault. Connections may have been refused for a while before that could be told, and what
    /// was concluded from them was wrong; what Flux answered stands.
    fn own_line(&mut self, log: &mut Scribe) {
        self.state.failing = None;
        if self.state.answers.as_ref().is_some_and(|told| told.kind == Kind::Maintenance && told.unreached) {
            let why = message!("others cannot be reached either: the gateway's own line is at fault");
            self.lift(&[Kind::Maintenance], why, log);
        }
    }

    /// The configuration is at fault, as far as can be told, or as a rule has it.
    fn mistaken(&mut self, answer: &Answer, log: &mut Scribe) {
        self.state.failing = None;
        (self.state.rest, self.dirty) = (Some(log.at.steady.saturating_add(REFUSED_REST_MS)), true);
        let delivered = self.state.has_delivered();
        if answer.by_rule || !delivered {
            // Where nothing was accepted only a rule can have made a suspension, and that has been changed since.
            let why = message!("it is taken for a mistake in the configuration");
            self.lift(&[Kind::Suspended], why, log);
        }
        let did = if delivered {
            message!("nothing: it is tried again, more and more rarely")
        } else {
            message!("nothing: the endpoint never accepted a record")
        };
        if !std::mem::replace(&mut self.state.misconfigured, true) {
            self.dirty = true;
            log.entry("misconfigured", "", words::ANSWER, &answer.reason, &did);
        }
    }

    /// Ends what answers made, if it is one of these.
    fn lift(&mut self, kinds: &[Kind], why: Message, log: &mut Scribe) {
        let Some(told) = self.state.answers.take_if(|told| kinds.contains(&told.kind)) else { return };
        let stance = told.kind.stance();
        log.entry(stance.as_str(), "", words::ANSWER, why, &message!("sending goes on, slowly at first"));
        self.come_back(super::notices::ANSWERS.into(), stance, 0, log);
    }

    /// An interruption is over by somebody's word: this gateway comes back within `period` ms, then slowly.
    pub(super) fn come_back(&mut self, id: String, stance: Stance, period: u64, log: &Scribe) {
        self.come_back_from(id, stance, log.at.date, period, log);
    }

    /// The same, of one that was over at `base`.
    pub(super) fn come_back_from(&mut self, id: String, stance: Stance, base: u64, period: u64, log: &Scribe) {
        self.state.items.retain(|item| !item.is(Origin::Return, &id));
        let logged = if period == 0 { Phase::Ramps } else { Phase::Waits };
        self.state.items.push(Item {
            origin: Origin::Return,
            id,
            key: String::new(),
            issued: 0,
            expires: 0,
            received: log.at.date,
            why: String::new(),
            said: Said::back_from(stance, base, period),
            logged,
            odd: false,
        });
        self.dirty = true;
    }

    /// Whether an announced maintenance holds. The way back from one explains nothing: who is let in and refused meets
    /// something that nobody announced, or a maintenance that ends late.
    fn is_announced(&self, at: Moment) -> bool {
        let ways = super::ways(&self.settings);
        self.state.items.iter().any(|item| {
            matches!(item.said, Said::Maintenance { .. } | Said::Planned { .. }) && item.phase(&ways, at).holds()
        })
    }

    /// Another endpoint is used.
    pub(super) fn endpoint(&mut self, fingerprint: u64, log: &mut Scribe) {
        let before = self.state.endpoint.replace(fingerprint);
        if before == Some(fingerprint) {
            return;
        }
        self.dirty = true;
        if before.is_none() {
            // What is known was learnt of this one, as far as can be told.
            if self.state.delivered.contains(&0) {
                self.state.delivered.insert(0, fingerprint);
            }
            return;
        }
        self.state.cautious = false;
        self.state.failing = None;
        self.state.misconfigured = false;
        let throttle = self.state.throttle.take();
        self.state.rest = None;
        let told = self.state.answers.take();
        if throttle.is_some() || told.is_some() {
            let what = told.map_or("throttled", |told| told.kind.stance().as_str());
            log.entry(
                what,
                "",
                words::ANSWER,
                message!("another endpoint is used"),
                &message!("what the old one answered no longer holds"),
            );
        }
    }

    /// What time alone changes of what answers made.
    pub(super) fn turn_answers(&mut self, log: &mut Scribe) {
        let at = log.at;
        self.state.rest = self.state.rest.filter(|rest| *rest > at.steady);
        let unbound = |throttle: &Throttle| throttle.per_minute(at.steady).is_none();
        if self.state.rest.is_none() && self.state.throttle.as_ref().is_some_and(unbound) {
            self.state.throttle = None;
            self.dirty = true;
            log.entry(
                "throttled",
                "",
                words::ANSWER,
                message!("over"),
                &message!("events are not limited by it any more"),
            );
        }
        let Some(told) = self.state.answers.as_mut().filter(|told| told.kind == Kind::Quota) else { return };
        if told.until.is_none() && at.known && !told.named {
            told.until = Some(self.settings.calendar.month_end_ms(at.date_of(told.since)));
            self.dirty = true;
        }
        if let Some(until) = told.ends(at).filter(|until| *until <= at.date) {
            self.state.answers = None;
            log.entry(
                "quota",
                "",
                words::ANSWER,
                message!("a new period begins"),
                &message!("this gateway goes on at a moment of its own"),
            );
            let period = super::ways(&self.settings).span.resume;
            self.come_back_from("quota".into(), Stance::Quota, until, period, log);
        }
    }
}

fn short(mut reason: String) -> String {
    cut(&mut reason, WHY_BYTES);
    reason
}
