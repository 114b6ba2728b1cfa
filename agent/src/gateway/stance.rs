//! The provider's machine at work: hands it news, makes what it must remember last, and tells those who obey.
//!
//! ```text
//! answers ─ forward ──┐                    ┌─▶ forward (what may leave, probes)
//! SIM ─ metadata ─────┼─▶ machine ─ View ──┼─▶ limits (restrictions, the ramp)
//! operator ─ socket ──┘      │             └─▶ pollers, status
//!                            └─ entries ─▶ log of notices
//! ```
//!
//! # Constraints
//! - The machine is there before the first byte leaves: [`open`] restores it from the store, then the forwarder begins.
//! - Whoever brings news never waits for the disk: what the machine remembers goes to the control lane, and the log to its
//!   file, from a task of their own ([`keep`]), which ends after the forwarder and before the store. Who brings it over the
//!   control socket is answered once it is on flash ([`settle`]).
//!
//! # On disk
//! `provider/machine` among what the store keeps (see `Change::Kept`), and `notices` in the store's folder ([`log`]), at once
//! if a person did something. A log that cannot be written is said once and tried again; one that cannot be read is empty.

mod log;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_protocol::stance::{Leave, Stance, Telemetry};
use tokio::sync::{Notify, mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

pub use log::notices_of;

use super::{Rooms, Shared, ask, evidence, identity, inbox, limits, options, outages};
use crate::clock::{Clock as _, Stamp};
use crate::config::Config;
use crate::forward::{Go, Told, Verdict};
use crate::language::Message;
use crate::message;
use crate::provider::input::{Answer, Entry, Ground, Input, Means, View};
use crate::provider::line::Cause;
use crate::provider::machine::{Log, Machine, THIS_GATEWAY};
use crate::provider::metadata::{Line, Subscriber};
use crate::provider::question::{Ask, End, WHY_BYTES};
use crate::pulse::{Pulse, Question};
use crate::store::{Change, Kept, Store, Submission};
use crate::watch::control::{Refused, Streams};
use crate::watch::{ByUptimeStatus, GroundStatus, NoticeStatus, STARTING, StanceStatus};

/// What the machine remembers, among what the store keeps.
const KEPT: &str = "provider/machine";

/// The machine is looked at so often at least, though it names no time: a clock that was set is found so.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// And no sooner again than this.
const LEAST_WAIT: Duration = Duration::from_millis(20);

/// The machine, its log, and those who are told.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    view: channel::Sender<Arc<View>>,
    go: channel::Sender<Go>,
    leave: channel::Sender<Leave>,
    /// There is something to write, or another time to wake.
    news: Notify,
    /// Whether [`keep`] still turns.
    pulse: Pulse,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    /// The store's memory has been read; before that nothing is told.
    open: bool,
    /// Probes that were allowed before this run, as far as that was kept.
    probes: u64,
    log: Log,
    log_changed: bool,
    /// It is not to wait: a person was told that something is done.
    log_wanted: bool,
}

impl Desk {
    /// Open until the store says otherwise.
    pub(super) fn new(config: &Config, now: &Stamp) -> Self {
        let machine = Machine::new(options::machine(config));
        let view = machine.view(now);
        let state =
            State { machine, open: false, probes: 0, log: Log::default(), log_changed: false, log_wanted: false };
        Self {
            state: Mutex::new(state),
            go: channel::Sender::new(go(&view, now)),
            leave: channel::Sender::new(view.leave),
            view: channel::Sender::new(Arc::new(view)),
            news: Notify::new(),
            pulse: Pulse::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whether notices and answers are still turned into what may leave.
    pub(super) fn ask(&self) -> Question {
        let question = self.pulse.ask();
        self.news.notify_one();
        question
    }

    /// What may be sent, for the forwarder, and how many probes were allowed before this run.
    pub(super) fn go(&self) -> (channel::Receiver<Go>, u64) {
        (self.go.subscribe(), self.state().probes)
    }

    /// Who may do what, for those who ask others.
    pub(super) fn leave(&self) -> channel::Receiver<Leave> {
        self.leave.subscribe()
    }

    /// How things stand, now and from now on.
    pub(super) fn views(&self) -> channel::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// How things stand.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// The log, the oldest entry first.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.state().log.entries().cloned().collect()
    }

    /// The last entries of the log, so many at most, the oldest first.
    fn last_entries(&self, count: usize) -> Vec<Entry> {
        let state = self.state();
        let entries = state.log.entries();
        let before = entries.len().saturating_sub(count);
        entries.skip(before).cloned().collect()
    }
}

fn go(view: &View, now: &Stamp) -> Go {
    let stops = |ground: &&Ground| ground.stance.leave().telemetry == Telemetry::Nothing;
    // By the gateway's own clock, whatever that shows: it is for how long there is still time.
    let begins = |ground: &Ground| match &ground.by_uptime {
        Some(it) => now.wall_ms.saturating_add_signed(it.since.saturating_sub(signed(now.uptime_ms))),
        None => ground.since_ms,
    };
    let stop_ms = view.ahead.iter().filter(stops).map(begins).min();
    let probe_first = view.grounds.iter().any(|ground| ground.stance.leave().telemetry == Telemetry::First);
    Go { telemetry: view.leave.telemetry, probe: view.probe, may_probe: view.may_probe, probe_first, stop_ms }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Restores the machine from the store, and says which endpoint is in use. Before the forwarder begins.
pub(super) fn open(shared: &Shared, store: &Store) {
    let config = shared.loaded().config;
    let log = log::read(&log::path(&config));
    {
        let mut state = shared.stance.state();
        if let Some(kept) = store.kept(KEPT) {
            state.machine = Machine::restore(&kept, options::machine(&config));
            state.probes = state.machine.probes();
        }
        (state.open, state.log) = (true, log);
    }
    tell(shared, Input::Endpoint { fingerprint: identity::fingerprint(shared, &config) });
}

/// Takes a reloaded configuration into use, and tries again now what was stopped: a reload is also how an operator says
/// that something was mended.
pub(super) fn reload(shared: &Shared) {
    let config = shared.loaded().config;
    shared.stance.state().machine.set(options::machine(&config));
    tell(shared, Input::Endpoint { fingerprint: identity::fingerprint(shared, &config) });
    tell(shared, Input::TryNow);
}

/// Whether the machine can be told something.
pub(super) fn is_open(shared: &Shared) -> bool {
    shared.stance.state().open
}

/// The endpoint in use is another one, or its credentials are.
pub(super) fn another_endpoint(shared: &Shared) {
    let config = shared.loaded().config;
    tell(shared, Input::Endpoint { fingerprint: identity::fingerprint(shared, &config) });
}

/// For how long the endpoint in use has asked not to be asked, as far as it is not over.
pub(super) fn rest(shared: &Shared) -> Option<Duration> {
    let until = shared.stance.view().rest_until_ms?;
    Some(Duration::from_millis(until.saturating_sub(shared.clock.now().uptime_ms)))
}

/// From when the customer's identifier is another one, in ms since the Unix epoch, as far as notices say.
pub(super) fn identity_from(shared: &Shared) -> Option<u64> {
    shared.stance.state().machine.identity(&shared.clock.now()).map(|identity| identity.effective_ms)
}

/// What time it is no earlier than, in ms since the Unix epoch, as far as is known.
pub(super) fn earliest(shared: &Shared) -> u64 {
    shared.stance.state().machine.earliest(&shared.clock.now())
}

/// Tells the machine something; whoever obeys it is told at once. Says what was written into the log.
pub(super) fn tell(shared: &Shared, input: Input) -> Vec<Entry> {
    if let Input::ProviderTime { now_ms, error_ms } = input {
        // First, so that the machine dates by the clock if that believes it.
        shared.clock.told(now_ms, error_ms);
    }
    change(shared, |machine, now| machine.tell(input, now))
}

/// Writes into the log what this gateway did, beside what the machine says.
pub(super) fn did(shared: &Shared, what: &str, text: String, did: &Message) {
    let now = shared.clock.now();
    let entry = Entry {
        at_ms: now.wall_ms,
        trusted: now.trusted,
        what: what.to_owned(),
        source: THIS_GATEWAY.to_owned(),
        text,
        did: did.to_string(),
        ..Entry::default()
    };
    report(&entry);
    let mut state = shared.stance.state();
    state.log.push(entry);
    state.log_changed = true;
    drop(state);
    shared.stance.news.notify_one();
}

/// Lets the machine do something, and hands on what comes of it.
fn change(shared: &Shared, act: impl FnOnce(&mut Machine, &Stamp) -> Vec<Entry>) -> Vec<Entry> {
    let desk = &shared.stance;
    let now = shared.clock.now();
    let entries = {
        let mut state = desk.state();
        if !state.open {
            return Vec::new();
        }
        let entries = act(&mut state.machine, &now);
        for entry in &entries {
            state.log.push(entry.clone());
        }
        state.log_changed |= !entries.is_empty();
        // Under the lock: of two that bring news at a time, the view of the later one is to be the last that is told.
        publish(shared, state.machine.view(&now), &now);
        entries
    };
    entries.iter().for_each(report);
    desk.news.notify_one();
    entries
}

/// Hands the view on to whoever obeys it.
fn publish(shared: &Shared, view: View, now: &Stamp) {
    let desk = &shared.stance;
    let (going, leave) = (go(&view, now), view.leave);
    let mut limited = false;
    desk.view.send_if_modified(|known| {
        if **known == view {
            return false;
        }
        limited = known.limits != view.limits;
        *known = Arc::new(view);
        true
    });
    shared.wire.let_names(leave.names);
    desk.leave.send_if_modified(|known| std::mem::replace(known, leave) != leave);
    if limited {
        // Before more may leave.
        limits::renew(shared);
    }
    desk.go.send_if_modified(|known| std::mem::replace(known, going) != going);
}

fn report(entry: &Entry) {
    let Entry { what, id, source, text, did, .. } = entry;
    tracing::warn!(what, id, source, text, did, "notice");
}

/// Hands the machine what comes in, wakes it when it asks for it, and makes what it remembers last. Until `stop`, which
/// is to come after the forwarder's end.
pub(super) async fn keep(shared: Arc<Shared>, store: Store, mut told: mpsc::Receiver<Told>, stop: CancellationToken) {
    let mut line = shared.limits.line();
    let path = log::path(&shared.loaded().config);
    let mut writes = log::Writes::new(Instant::now());
    let mut failed = false;
    loop {
        shared.stance.pulse.answer();
        if stop.is_cancelled() {
            // The forwarder has ended: what it said last is all there is.
            while let Ok(said) = told.try_recv() {
                hear(&shared, said);
            }
        }
        remember(&shared, &store);
        let log_due = writes.due();
        let wanted = std::mem::take(&mut shared.stance.state().log_wanted);
        if wanted || Instant::now() >= log_due || stop.is_cancelled() {
            if let Some(bytes) = changed_log(&shared) {
                writes.wrote(Instant::now());
                // Said once, and tried again.
                failed = !log::write(&path, bytes, failed).await;
                shared.stance.state().log_changed |= failed;
            }
        }
        if stop.is_cancelled() {
            return;
        }
        let wake = next_wake(&shared, log_due);
        tokio::select! {
            () = stop.cancelled() => {}
            Some(said) = told.recv() => hear(&shared, said),
            Ok(()) = line.changed() => {
                // What was told before a question that had no answer is no news.
                let Some(told) = answered(&line.borrow_and_update()) else { continue };
                let expiry = told.expiry.map(|expiry| (expiry.at_ms, expiry.action));
                tell(&shared, Input::Sim { status: told.status, expiry });
            }
            () = shared.stance.news.notified() => {}
            () = tokio::time::sleep_until(wake.into()) => {
                change(&shared, Machine::turn);
            }
        }
    }
}

/// Takes in what came of an exchange.
fn hear(shared: &Shared, said: Told) {
    let finding = evidence::judge(shared, &said);
    outages::told(shared, &said, finding.as_ref());
    tell(shared, Input::Answer(answer(said, finding.map(|finding| finding.cause))));
}

/// What the metadata service told, if it answered the last question.
fn answered(line: &Line) -> Option<Subscriber> {
    (line.failures == 0).then(|| line.told.clone())
}

/// When the machine, or the log, is to be looked at.
fn next_wake(shared: &Shared, log_due: Instant) -> Instant {
    let now = Instant::now();
    let state = shared.stance.state();
    let machine = state.machine.wake_in_ms(&shared.clock.now()).map(Duration::from_millis);
    let wake = now + machine.unwrap_or(LOOK_EVERY).clamp(LEAST_WAIT, LOOK_EVERY);
    if state.log_changed { wake.min(log_due.max(now)) } else { wake }
}

/// Waits until what the machine remembers now is on flash: who is told that something is done may pull the plug. Call it
/// where blocking is allowed.
fn settle(shared: &Shared, runtime: &tokio::runtime::Handle) -> Result<(), Refused> {
    let refused = |code: &str, why: Message| Refused::new(code, why);
    let store = ask::store(shared).ok_or_else(|| refused("not_ready", message!("the store is not open yet")))?;
    let mut submission = Submission::new();
    let done = submission.on_commit();
    {
        // Whether or not somebody has handed it on meanwhile: that may be under way still.
        let mut state = shared.stance.state();
        submission.change(Change::Kept(Kept { name: KEPT.into(), value: state.machine.encode() }));
        store.submit(submission);
        state.machine.kept();
        state.log_wanted = true;
    }
    shared.stance.news.notify_one();
    runtime.block_on(async {
        match tokio::time::timeout(ask::PATIENCE, done).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(refused(
                "failed",
                message!("it holds, but the store was closed before it was on flash: do it again"),
            )),
            Err(_) => Err(refused(
                "stalled",
                message!("it holds, but the disk has not taken it yet: a power cut now would forget it"),
            )),
        }
    })
}

/// Makes what the machine remembers last.
fn remember(shared: &Shared, store: &Store) {
    let mut state = shared.stance.state();
    if state.machine.is_dirty() {
        let mut submission = Submission::new();
        submission.change(Change::Kept(Kept { name: KEPT.into(), value: state.machine.encode() }));
        store.submit(submission);
        state.machine.kept();
    }
}

/// What an exchange says to the machine.
fn answer(told: Told, cause: Option<Cause>) -> Answer {
    let by_rule = told.by_rule;
    let means = match told.verdict {
        Verdict::Accepted => Means::Accepted,
        Verdict::Throttled { .. } => Means::Throttled,
        Verdict::Maintenance { .. } => Means::Maintenance,
        Verdict::Suspended => Means::Suspended,
        Verdict::Quota { .. } => Means::Quota,
        Verdict::Ended => Means::Ended,
        Verdict::Misconfigured => Means::Misconfigured,
        Verdict::Poison { .. } => Means::Poison,
        // Without a time one of them says little; that they go on is an interruption nobody announced.
        Verdict::Transient { .. } if told.status == Some(503) && !by_rule => Means::Maintenance,
        Verdict::Transient { .. } => match cause {
            Some(Cause::OwnLine) => Means::OwnLine,
            Some(Cause::Provider) => Means::Unreachable,
            Some(Cause::Unknown) | None => Means::Transient,
        },
    };
    let wait_ms = told.wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    Answer { means, wait_ms, by_rule, reason: told.reason, probe: told.probe, per_minute: Some(told.per_minute) }
}

/// The log's bytes, if it has changed since it was last asked for.
fn changed_log(shared: &Shared) -> Option<Vec<u8>> {
    let mut state = shared.stance.state();
    std::mem::take(&mut state.log_changed).then(|| state.log.encode())
}

/// What `status` shows of it.
pub(super) fn status(shared: &Shared) -> StanceStatus {
    /// Entries of the log that are shown.
    const LAST: usize = 5;
    let (view, now) = (shared.stance.view(), shared.clock.now());
    // What held before this start stands in the store: until that is read nothing leaves, and nothing is known.
    let open = is_open(shared);
    let first = view.grounds.iter().map(|ground| ground.stance).min().unwrap_or(Stance::Open);
    StanceStatus {
        stance: if open { first.to_string() } else { STARTING.to_owned() },
        telemetry: match view.leave.telemetry {
            _ if !open => "nothing",
            Telemetry::Nothing => "nothing",
            Telemetry::First => "first",
            Telemetry::All => "all",
        }
        .to_owned(),
        grounds: view.grounds.iter().map(|one| ground(one, &now)).collect(),
        ahead: view.ahead.iter().map(|one| ground(one, &now)).collect(),
        probe_in_ms: probe_in_ms(shared, &view, now.uptime_ms),
        page: super::page::status(shared),
        notices: shown(&shared.stance.last_entries(LAST)),
        inbox: inbox::status(shared),
    }
}

/// When the next probe leaves: when it is due, or when this gateway's own limits have a request for it, if that is later.
fn probe_in_ms(shared: &Shared, view: &View, uptime_ms: u64) -> Option<u64> {
    let due = view.probe_at_ms?.saturating_sub(uptime_ms);
    match &*shared.rooms() {
        Rooms::Opening { .. } => Some(due),
        Rooms::Running { store, forward, .. } => Some(due.max(forward.probe_in_ms(&store.stats().lanes)?)),
    }
}

fn ground(ground: &Ground, now: &Stamp) -> GroundStatus {
    let uptime = signed(now.uptime_ms);
    let by_uptime = ground.by_uptime.map(|it| ByUptimeStatus {
        since_ago_ms: uptime.saturating_sub(it.since),
        until_in_ms: it.until.map(|until| until.saturating_sub(uptime)),
        since_dated: it.since_dated,
        until_dated: it.until_dated,
    });
    // What is no date is told by the clock that everything else here is told by.
    let of_clock = |from_now: i64| now.wall_ms.saturating_add_signed(from_now);
    let since_ms = match &by_uptime {
        Some(it) if !it.since_dated => of_clock(it.since_ago_ms.saturating_neg()),
        _ => ground.since_ms,
    };
    let until_ms = match &by_uptime {
        Some(it) if !it.until_dated => it.until_in_ms.map(of_clock),
        _ => ground.until_ms,
    };
    GroundStatus {
        stance: ground.stance.to_string(),
        source: ground.source.to_string(),
        source_message: ground.source.clone().into_message(),
        cause: ground.cause.to_string(),
        cause_message: ground.cause.clone().into_message(),
        clause: ground.clause.map(|clause| clause.to_string()).unwrap_or_default(),
        since_ms,
        until_ms,
        by_uptime,
        advice: ground.advice.to_string(),
        advice_message: ground.advice.clone().into_message(),
        code: String::new(),
    }
}

/// Entries of the log as they are shown.
pub fn shown(entries: &[Entry]) -> Vec<NoticeStatus> {
    entries.iter().map(notice).collect()
}

fn notice(entry: &Entry) -> NoticeStatus {
    let entry = entry.clone();
    NoticeStatus {
        at_ms: entry.at_ms,
        trusted: entry.trusted,
        what: entry.what,
        id: entry.id,
        source: entry.source,
        text: entry.text,
        text_message: entry.text_message,
        did: entry.did,
        did_message: entry.did_message,
        from_ms: entry.from_ms,
        until_ms: entry.until_ms,
        from_undated: entry.from_undated,
        until_undated: entry.until_undated,
        clause: entry.clause.unwrap_or_default(),
    }
}

/// Answers what is asked over the control socket; what changes something, once that is on flash. Call it within a runtime.
pub(super) fn streams(shared: &Arc<Shared>) -> Streams {
    let shared = Arc::clone(shared);
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |ask, _| {
        let refused = |code: &str, why: Message| Refused::new(code, why);
        let ask: Ask = serde_json::from_str(ask).map_err(|error| {
            refused("malformed", message!("this agent does not know that question: {error}", error = error.to_string()))
        })?;
        if !shared.stance.state().open {
            return Err(refused("not_ready", message!("the store is not open yet")));
        }
        let changes = !matches!(ask, Ask::Notices);
        let end = match ask {
            Ask::Notices => End::Notices { entries: shared.stance.entries() },
            Ask::Hold { why, .. } if why.len() > WHY_BYTES => {
                return Err(refused("too_long", message!("say it in at most {count} bytes", count = WHY_BYTES)));
            }
            Ask::Hold { for_ms, why } => done(&tell(&shared, Input::Hold { for_ms, why })),
            Ask::Resume => done(&tell(&shared, Input::Resume)),
            Ask::Notice { envelope } => End::Notice { told: Box::new(inbox::take(&shared, &envelope)) },
            Ask::AcceptTerms { version } => accept_terms(&shared, version),
        };
        let took = match &end {
            End::Notice { told } => told.verdict != "refused",
            other => !matches!(other, End::AskedInstead { .. }),
        };
        if changes && took {
            settle(&shared, &runtime)?;
        }
        serde_json::to_string(&end).map_err(|error| Refused::new("failed", error.to_string()))
    })
}

/// A person accepts terms. Of a version that is not known, while another is to be accepted, nothing comes.
fn accept_terms(shared: &Shared, version: String) -> End {
    let versions = shared.stance.state().machine.asked_instead(&version);
    if versions.is_empty() {
        done(&tell(shared, Input::AcceptTerms { version }))
    } else {
        End::AskedInstead { versions }
    }
}

/// What was done, in the words of the log.
fn done(entries: &[Entry]) -> End {
    let did: Vec<&str> = entries.iter().map(|entry| entry.did.as_str()).filter(|did| !did.is_empty()).collect();
    let what = if did.is_empty() { message!("nothing had to be done").to_string() } else { did.join("; ") };
    End::Done { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_an_interruption_is_503_or_no_connection_by_the_providers_fault() {
        let told = |status| Told {
            at: Stamp::default(),
            verdict: Verdict::Transient { costly: false },
            by_rule: false,
            status,
            failure: None,
            wait: None,
            reason: String::new(),
            probe: false,
            per_minute: 0,
        };
        for (status, cause, expected) in [
            (Some(503), None, Means::Maintenance),
            (Some(500), None, Means::Transient),
            (Some(408), None, Means::Transient),
            (None, Some(Cause::Provider), Means::Unreachable),
            (None, Some(Cause::OwnLine), Means::OwnLine),
            (None, Some(Cause::Unknown), Means::Transient),
        ] {
            assert_eq!(answer(told(status), cause).means, expected, "{status:?} {cause:?}");
        }
        let ruled = answer(Told { by_rule: true, ..told(Some(503)) }, None);
        assert_eq!((ruled.means, ruled.by_rule), (Means::Transient, true), "a rule is the operator's word");
    }
}
