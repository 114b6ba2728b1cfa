//! The machine: of everything that the provider says and does, what it allows now. Pure.
//!
//! # Constraints
//! - Everything that shuts is a *ground* of its own: who says so, what, since when, until when. Several hold at once,
//!   their effects combine ([`Leave::and`](tidegate_protocol::stance::Leave::and)), and when one lifts the others remain.
//! - While suspended nothing leaves but a rare probe; when ended not even that. Nothing stays shut after everything that
//!   shut it is over, but for the gateway's own moment to come back, which lies within the announced period.
//! - A restart at any point changes nothing: whatever a decision rests on is in [`Machine::encode`].
//! - Bounded: 64 things announced, [`STATE_BYTES`] in all; of more the least harmful is forgotten, and that is said.
//! - Nothing from outside makes it fail: notices repeated, reordered, contradicting, in the past, overlapping, withdrawn,
//!   amended, of kinds unknown or from a newer version; a clock that is wrong; bytes that are no state.
//!
//! # What makes a ground, and what ends it
//!
//! | ground | made by | ended by |
//! |---|---|---|
//! | ended | a notice's date; the SIM's expiry to `terminate`; 410 where deliveries had succeeded; a rule of the configuration | the notice amended or withdrawn; another expiry told (the operator's "try again" makes it suspended until then); another endpoint |
//! | suspended | a notice; the SIM's status or expiry; 401, 403 where deliveries had succeeded; a rule | the notice amended or withdrawn; another status, or an accepted record; an accepted probe, or another endpoint |
//! | held | changed terms, if so set; the operator | a person who accepts them; the operator, or its time |
//! | quota | a notice; an answer | its end; for an answer's also an accepted probe, or another endpoint |
//! | maintenance | a notice; the status page; answers (503 with a long wait; 503 or connections refused for half a minute) | its end, or the word that it is over; an accepted probe |
//! | yield, restricted | a notice; 429 | its end, or the notice withdrawn; with time |
//!
//! An accepted record never ends what a signed notice says. A signed notice that withdraws `answers` ends what answers
//! made, whatever it is, if it was issued after them.
//!
//! # The way back
//! What stopped telemetry and was announced ends for a whole fleet in one moment. Each gateway goes on at a moment of
//! its own within the *resume period* after that (`own`: a hash of its id and the window), and then the events a
//! minute double ten times over the *ramp*, from one a minute to no limit. Where an accepted probe ends an interruption,
//! the gateways' probes are spread already (`probe`), and only the ramp follows.
//!
//! # Time
//! Windows are dated by the gateway's clock while that is trusted, else by the provider's own time; with neither by an
//! estimate that is never ahead (`time`): what was open when the power went stays shut for at most its length by
//! uptime, and what has not begun by the estimate has not begun. The first answer over TLS then says what time it is. What
//! the status page says over plain HTTP counts by the page's own date, which counts for nothing else.
//!
//! # On disk
//! `state` has the format and what follows from damage. While something dated is known, the time reached is worth
//! keeping every [`CHECKPOINT_MS`], so that power cuts in a row do not make it begin anew each time.

mod answers;
mod bounds;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod grounds;
mod item;
mod log;
mod notices;
mod own;
mod probe;
mod scribe;
mod settings;
mod sim;
mod state;
mod throttle;
mod time;
mod words;

#[cfg(test)]
mod tests;

pub use log::{BYTES as LOG_BYTES, ENTRIES as LOG_ENTRIES, Log};
pub use settings::{OnTermsChange, Settings};
pub use state::STATE_BYTES;
pub use words::AGENT as THIS_GATEWAY;
pub(in crate::provider) use words::forgotten;

use grounds::Standing;
use item::{Origin, Said, Ways};
use scribe::Scribe;
use settings::Span;
use state::{Hold, State, Unreadable, WHY_BYTES};

use super::input::{Entry, Input, View};
use crate::clock::Stamp;
use crate::language::Message;
use crate::message;

/// How often the time reached is worth keeping while something dated is known: 5 min, so some 290 small records a day.
pub const CHECKPOINT_MS: u64 = 300_000;

/// The longest time that [`Machine::wake_in_ms`] says.
const LONGEST_SLEEP_MS: u64 = 86_400_000;

/// That the customer's identifier changes (3.4(2)), as a notice says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The notice's id.
    pub notice: String,
    /// From when, in ms since the Unix epoch.
    pub effective_ms: u64,
    /// That time has come.
    pub due: bool,
}

/// Of everything that the provider says and does, what it allows now.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: Settings,
    state: State,
    dirty: bool,
    /// When the state was handed on last, steady.
    kept_at: u64,
    /// What is to be said of how the state was read: to be written down once the time is known.
    found: Vec<Message>,
}

fn ways(settings: &Settings) -> Ways<'_> {
    let holds_terms = settings.on_terms_change == OnTermsChange::Hold;
    Ways { gateway: &settings.gateway, span: Span::of(settings), holds_terms }
}

impl Machine {
    /// One that was told nothing yet: open.
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: State::default(), dirty: false, kept_at: 0, found: Vec::new() }
    }

    /// One that goes on where [`Machine::encode`] was called. Bytes that are no state, or that of a newer version, give a
    /// cautious one, which says so in its first entry.
    pub fn restore(bytes: &[u8], settings: Settings) -> Self {
        let mut machine = Self::new(settings);
        match State::decode(bytes, Span::of(&machine.settings)) {
            Ok((state, lost)) => {
                machine.kept_at = state.time.moment().steady;
                machine.state = state;
                if lost > 0 {
                    machine.found.push(message!("{count} of the notices that were kept cannot be read", count = lost));
                }
            }
            Err(why) => {
                machine.state = State::cautious();
                machine.dirty = true;
                machine.found.push(match why {
                    Unreadable::Newer(version) => {
                        message!("what was kept is of the newer version {version}", version = version)
                    }
                    Unreadable::Damaged => message!("what was kept is damaged"),
                });
            }
        }
        machine
    }

    /// What has to last, at most [`STATE_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        self.state.encode()
    }

    /// Whether [`Machine::encode`] gives something that should be made durable.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// What [`Machine::encode`] gives now was handed on to be made durable.
    pub fn kept(&mut self) {
        self.dirty = false;
        self.kept_at = self.state.time.moment().steady;
    }

    /// Takes other settings into use.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether the endpoint in use ever accepted anything, as far as is known.
    pub fn delivered(&self) -> bool {
        self.state.has_delivered()
    }

    /// How many probes were allowed so far.
    pub fn probes(&self) -> u64 {
        self.state.probes.count
    }

    /// What time it is no earlier than, in ms since the Unix epoch; a small number where nothing is known.
    pub fn earliest(&self, now: &Stamp) -> u64 {
        let mut time = self.state.time;
        time.note(now);
        time.moment().date
    }

    /// The latest change of the customer's identifier, if one is announced.
    pub fn identity(&self, now: &Stamp) -> Option<Identity> {
        let mut time = self.state.time;
        time.note(now);
        let date = time.moment().date;
        let changes = self.state.items.iter().filter_map(|item| match item.said {
            Said::Identity { from } => Some((from.max(1), item)),
            _ => None,
        });
        let (effective_ms, item) = changes.max_by_key(|(from, _)| *from)?;
        Some(Identity { notice: item.id.clone(), effective_ms, due: effective_ms <= date })
    }

    /// Takes in what is told. Says what is to be written into the log.
    pub fn tell(&mut self, input: Input, now: &Stamp) -> Vec<Entry> {
        if let Input::ProviderTime { now_ms, .. } = input {
            self.state.time.told(now_ms, now);
        }
        let mut log = self.advance(now);
        match input {
            Input::Answer(answer) => self.answer(answer, &mut log),
            Input::Page { page, now_ms } => self.page(&page, now_ms, &mut log),
            Input::Sim { status, expiry } => self.sim(status, expiry, &mut log),
            Input::Notice { notice, key, via } => self.notice(notice, &key, via, &mut log),
            Input::Hold { for_ms, why } => self.hold(for_ms, why, &mut log),
            Input::Resume => self.resume(&mut log),
            Input::AcceptTerms { version } => self.accept_terms(&version, &mut log),
            Input::ProviderTime { .. } => {}
            Input::Endpoint { fingerprint } => self.endpoint(fingerprint, &mut log),
            Input::TryNow => self.try_now(&mut log),
        }
        self.settle(&mut log);
        log.entries
    }

    /// Time has passed. Says what is to be written into the log.
    pub fn turn(&mut self, now: &Stamp) -> Vec<Entry> {
        let mut log = self.advance(now);
        self.settle(&mut log);
        log.entries
    }

    /// How things stand at a time that is no earlier than any told so far.
    pub fn view(&self, now: &Stamp) -> View {
        let mut then = self.clone();
        then.turn(now);
        then.standing().view(now)
    }

    /// In how many ms [`Machine::turn`] is to be called, if nothing is told before.
    pub fn wake_in_ms(&self, now: &Stamp) -> Option<u64> {
        let mut then = self.clone();
        then.turn(now);
        let standing = then.standing();
        let at = standing.at;
        let of_dates = standing.dates().filter(|date| *date > at.date).map(|date| date - at.date);
        let of_steadies = standing.steadies().filter(|time| *time > at.steady).map(|time| time - at.steady);
        let keep = (then.is_dated() && !then.dirty).then(|| then.kept_at.saturating_add(CHECKPOINT_MS) - at.steady);
        of_dates.chain(of_steadies).chain(keep).min().map(|wait| wait.min(LONGEST_SLEEP_MS))
    }

    fn standing(&self) -> Standing<'_> {
        Standing { state: &self.state, ways: ways(&self.settings), at: self.state.time.moment() }
    }

    /// Whether anything is known whose course depends on the date.
    fn is_dated(&self) -> bool {
        self.state.items.iter().any(|item| item.origin != Origin::Return && item.said != Said::Gone)
    }

    /// Lets time pass up to now.
    fn advance(&mut self, now: &Stamp) -> Scribe {
        self.dirty |= self.state.time.note(now);
        let mut log = Scribe::new(*now, self.state.time.moment());
        for text in std::mem::take(&mut self.found) {
            log.entry(
                "state",
                "",
                words::AGENT,
                text,
                &message!("the rest counts; what is missing is learnt again, cautiously"),
            );
        }
        self.turn_hold(&mut log);
        self.turn_answers(&mut log);
        self.turn_items(&mut log);
        self.turn_sim(&mut log);
        self.dirty |= self.is_dated() && log.at.steady.saturating_sub(self.kept_at) >= CHECKPOINT_MS;
        log
    }

    /// What follows from all that has been taken in: probes.
    fn settle(&mut self, log: &mut Scribe) {
        log.at = self.state.time.moment();
        let (span, steady) = (Span::of(&self.settings), log.at.steady);
        let need = self.standing().need();
        self.dirty |= self.state.probes.follow(need, steady, span, &self.settings.gateway);
        let is_due = self.state.probes.due().is_some_and(|due| due <= steady);
        if is_due && !self.standing().is_in_the_way() && !self.standing().rests() {
            self.dirty |= self.state.probes.turn(steady, span, &self.settings.gateway);
        }
    }

    fn hold(&mut self, for_ms: Option<u64>, mut why: String, log: &mut Scribe) {
        cut(&mut why, WHY_BYTES);
        let since = log.at.steady;
        let until = for_ms.map(|length| since.saturating_add(length));
        log.entry("hold", "", words::OPERATOR, &why, &message!("nothing is sent"));
        log.holds(None, until.map(|until| log.at.date_of(until)));
        self.state.hold = Some(Hold { since, until, why });
        self.dirty = true;
    }

    fn resume(&mut self, log: &mut Scribe) {
        let did = if self.state.hold.take().is_some() {
            self.dirty = true;
            message!("the operator's hold is over")
        } else {
            message!("nothing: the operator does not hold")
        };
        log.entry("resume", "", words::OPERATOR, "", &did);
    }

    fn turn_hold(&mut self, log: &mut Scribe) {
        if self.state.hold.take_if(|hold| hold.until.is_some_and(|until| until <= log.at.steady)).is_some() {
            self.dirty = true;
            log.entry("hold", "", words::OPERATOR, "", &message!("it is over: its time has passed"));
        }
    }

    fn sim(&mut self, status: Option<String>, expiry: Option<(u64, String)>, log: &mut Scribe) {
        let sim = self.state.sim.get_or_insert_default();
        self.dirty |= sim.tell(status, expiry, log.at);
        self.turn_sim(log);
    }

    /// Writes down what the SIM stops, and that it does not any more.
    fn turn_sim(&mut self, log: &mut Scribe) {
        let Some(sim) = &mut self.state.sim else { return };
        let stops = sim.by_status().is_some();
        if stops != std::mem::replace(&mut sim.logged.0, stops) {
            self.dirty = true;
            let did = if stops {
                message!("sending stops; no connection is tried but rarely")
            } else {
                message!("sending goes on")
            };
            log.entry("sim", "", words::SIM, sim.status.as_deref().unwrap_or_default(), &did);
        }
        let expired = sim.by_expiry().is_some_and(|(_, at)| at <= log.at.date);
        if expired != std::mem::replace(&mut sim.logged.1, expired) {
            self.dirty = true;
            let action = sim.expiry.as_ref().map_or("", |(_, action)| action.as_str());
            let did = if expired {
                message!("sending stops: the line has reached its expiry")
            } else {
                message!("sending goes on")
            };
            log.entry("expiry", "", words::SIM, action, &did);
        }
    }

    /// The operator says "try again now": a SIM may have been exchanged. One event shows it, and its status is asked for
    /// anew; until then what is known of it holds, for a configuration is also reloaded for other reasons.
    fn try_now(&mut self, log: &mut Scribe) {
        log.at = self.state.time.moment();
        self.dirty |= self.state.sim.as_mut().is_some_and(|sim| sim.doubt(log.at.date));
        let need = self.standing().need();
        let (span, steady) = (Span::of(&self.settings), log.at.steady);
        self.state.probes.follow(need, steady, span, &self.settings.gateway);
        // Also before a time that an answer named: an interruption may be over before that, and who reloads may know it.
        if self.standing().is_in_the_way() {
            return;
        }
        // The one that is due anyway is the one that is wanted.
        let probes = &mut self.state.probes;
        if probes.turn(steady, span, &self.settings.gateway) || probes.try_now(steady) {
            self.dirty = true;
            log.entry("try_now", "", words::OPERATOR, "", &message!("one event shows whether anything is taken again"));
        }
    }
}

/// Cuts a text to so many bytes, between characters.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}
