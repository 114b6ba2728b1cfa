//! The outage ledger at work: what comes of exchanges with Flux and what the provider says become facts of it.
//!
//! An exchange that Flux took, or refused for the record's or the rate's sake, shows that it works; one that failed, and
//! one that was refused for good, shows that it could not be used. The gateway's own limits and the operator's hold
//! are no facts: who does not send has no outage.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_protocol::stance::Stance;
use tokio::sync::watch as channel;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock::Clock as _;
use crate::forward::{Told, Verdict};
use crate::outage::{Class, Desk, Evidence, Fact, Figures, Stage, Window};
use crate::provider::input::{Ground, View};
use crate::provider::line::{Cause, Finding};
use crate::shape::wire::{self, Failure};
use crate::watch::OutageStatus;

/// How often the ledger hears that the gateway runs: five times within what it takes for silence.
const BEAT: Duration = Duration::from_secs(60);

/// The ledger, once the store's folder is ours.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Option<Desk>>);

impl Ledger {
    fn desk(&self) -> Option<Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How things stand, now and from now on; `None` before the ledger is open.
    pub(super) fn figures(&self) -> Option<channel::Receiver<Figures>> {
        self.desk().map(|desk| desk.figures())
    }
}

/// Opens the ledger in the store's folder, which this process holds.
pub(super) fn open(shared: &Shared, store: &Path, gateway: &str) {
    match Desk::open(store, gateway, &shared.clock.now()) {
        Ok(desk) => *shared.outages.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(desk),
        Err(error) => tracing::error!(%error, "no outage ledger is kept: the system gives no thread for it"),
    }
}

/// Writes what there is to write and closes it. Blocks for some seconds at most.
pub(super) async fn close(shared: &Arc<Shared>) {
    let Some(desk) = shared.outages.desk() else { return };
    let now = shared.clock.now();
    let _ = tokio::task::spawn_blocking(move || desk.close(&now)).await;
}

/// Tells the ledger something that is so now.
pub(super) fn tell(shared: &Shared, fact: Fact) {
    if let Some(desk) = shared.outages.desk() {
        desk.tell(fact, &shared.clock.now());
    }
}

/// Tells the ledger what came of an exchange.
pub(super) fn told(shared: &Shared, told: &Told, finding: Option<&Finding>) {
    if let Some(desk) = shared.outages.desk() {
        desk.tell(fact(told, finding), &told.at);
    }
}

/// Tells the ledger that the gateway runs, and what the provider's word forbids, until told to stop.
pub(super) async fn follow(shared: Arc<Shared>, stop: CancellationToken) {
    let mut views = shared.stance.views();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut barred = false;
    loop {
        let (windows, bar) = word(&views.borrow_and_update());
        tell(&shared, Fact::Announced(windows));
        match (barred, bar) {
            (false, Some(evidence)) => {
                tell(&shared, Fact::Barred(evidence));
                barred = true;
            }
            (true, None) => {
                tell(&shared, Fact::Unbarred);
                barred = false;
            }
            _ => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => tell(&shared, Fact::Heartbeat),
            changed = views.changed() => if changed.is_err() { return },
        }
    }
}

/// What of a view concerns the ledger: announced maintenances, and what forbids sending by the provider's word.
fn word(view: &View) -> (Vec<Window>, Option<Evidence>) {
    let announced = view.grounds.iter().chain(&view.ahead).filter(|ground| is_announced(ground));
    let windows = announced.filter(|ground| ground.stance == Stance::Maintenance);
    let windows = windows.map(|ground| Window { from_ms: ground.since_ms, until_ms: ground.until_ms });
    let bars = |ground: &&Ground| {
        matches!(ground.stance, Stance::Ended | Stance::Suspended | Stance::Quota)
            || ground.stance == Stance::Maintenance && is_announced(ground)
    };
    let bar = view.grounds.iter().find(bars).map(|ground| {
        let text = format!("{} by {}: {}", ground.stance, ground.source, ground.cause);
        Evidence::new(Stage::Stance, Class::Announced, &text)
    });
    (windows.collect(), bar)
}

/// Whether the provider said it apart from Flux's answers, in which an interruption shows that the ledger is there for.
/// That the gateway comes back at a moment of its own is its own doing.
fn is_announced(ground: &Ground) -> bool {
    let source = ground.source.to_string();
    ["notice", "status page", "SIM"].iter().any(|who| source.starts_with(who))
}

/// What an exchange says.
fn fact(told: &Told, finding: Option<&Finding>) -> Fact {
    let refused =
        matches!(told.verdict, Verdict::Suspended | Verdict::Quota { .. } | Verdict::Ended | Verdict::Misconfigured);
    let failed =
        |stage, class| Fact::Failed(Evidence { status: told.status, ..Evidence::new(stage, class, &told.reason) });
    match (told.verdict, told.status) {
        (Verdict::Accepted, _) => Fact::Delivered,
        // The provider's word, whatever its cause: nothing that could be claimed.
        _ if refused => failed(Stage::Http, Class::Announced),
        (Verdict::Maintenance { .. }, _) => failed(Stage::Http, Class::Provider),
        (Verdict::Throttled { .. } | Verdict::Poison { .. }, _) => Fact::Answered,
        (_, Some(status)) if status >= 500 => failed(Stage::Http, Class::Provider),
        (_, Some(_)) => Fact::Answered,
        (_, None) => {
            let class = match finding.map(|finding| finding.cause) {
                Some(Cause::OwnLine) => Class::OwnLine,
                Some(Cause::Provider) => Class::Provider,
                Some(Cause::Unknown) | None => Class::Unknown,
            };
            let line = finding.map(of_line).unwrap_or_default();
            Fact::Failed(Evidence { line, ..Evidence::new(stage(told.failure), class, &told.reason) })
        }
    }
}

/// What was seen of the line, in words that are the same as long as it is: how long ago somebody answered is left out.
fn of_line(finding: &Finding) -> String {
    let seen = finding.facts.iter().skip(1).map(|fact| {
        let is = if fact.is.starts_with("answered") { "answers" } else { &fact.is };
        let is = is.split(", answered").next().unwrap_or(is);
        format!("{}: {is}", fact.of)
    });
    seen.collect::<Vec<_>>().join("; ")
}

/// How far an attempt without an answer came. What could not even be tried was wanting for TLS.
fn stage(failure: Option<Failure>) -> Stage {
    match failure {
        Some(Failure::Connecting { stage: wire::Stage::Name, .. }) => Stage::Dns,
        Some(Failure::Connecting { stage: wire::Stage::Tcp, .. }) => Stage::Tcp,
        Some(Failure::Connecting { stage: wire::Stage::Tls | wire::Stage::Setup, .. }) => Stage::Tls,
        Some(Failure::Cut | Failure::Silent | Failure::Answered(_)) | None => Stage::Http,
    }
}

/// What `status` shows of it.
pub(super) fn status(shared: &Shared) -> OutageStatus {
    let Some(figures) = shared.outages.figures() else { return OutageStatus::default() };
    let (figures, now) = (figures.borrow().clone(), shared.clock.now());
    let open = figures.open.as_ref();
    let since = |at: &crate::clock::Stamp| if at.trusted || at.boot != now.boot { at.wall_ms } else { at.by(&now) };
    let (problem, problem_message) = super::status::told(figures.problem);
    OutageStatus {
        since_ms: open.map(|open| since(&open.since)),
        class: open.map_or_else(String::new, |open| open.class.word().to_owned()),
        proved_ms: open.map_or(0, |open| open.proved_ms),
        uninterrupted_ms: open.map_or(0, |open| open.uninterrupted_ms),
        attempts: open.map_or(0, |open| open.attempts),
        month: figures.month,
        month_longest_ms: figures.month_longest_ms,
        alarm: figures.alarm,
        problem,
        problem_message,
        ..OutageStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::chain;
    use crate::clock::Stamp;
    use crate::language::{IntoValue as _, Value};
    use crate::provider::line;
    use crate::shape::wire::WireError;
    use std::io;
    use std::time::Instant;

    fn said(verdict: Verdict, status: Option<u16>, reason: &str) -> Fact {
        fact(&said_of(verdict, status, reason), None)
    }

    fn said_of(verdict: Verdict, status: Option<u16>, reason: &str) -> Told {
        Told {
            at: Stamp::default(),
            verdict,
            by_rule: false,
            status,
            failure: None,
            wait: None,
            reason: reason.into(),
            probe: false,
            per_minute: 0,
        }
    }

    #[test]
    fn whose_fault_it_was_comes_from_the_evidence_with_words_that_stay_the_same() {
        use crate::provider::line::Fact as Seen;
        let seen = |of: &str, is: &str| Seen { of: of.into(), is: is.into() };
        let silence = WireError::Connect { host: "h".into(), port: 443, source: io::ErrorKind::TimedOut.into() };
        let told = Told {
            failure: Some(Failure::from(&silence)),
            ..said_of(Verdict::Transient { costly: false }, None, &chain(&silence))
        };
        for (cause, expected) in
            [(Cause::OwnLine, Class::OwnLine), (Cause::Provider, Class::Provider), (Cause::Unknown, Class::Unknown)]
        {
            for ago in ["answered 4 s ago", "answered 7 s ago"] {
                let facts = vec![
                    seen("tcp", "no answer in time"),
                    seen("route", "default through wwan0"),
                    seen("metadata service", ago),
                    seen("status page", "does not answer now, answered 90 s ago"),
                ];
                let Fact::Failed(evidence) = fact(&told, Some(&Finding { cause, facts })) else { panic!("it failed") };
                assert_eq!((evidence.stage, evidence.class), (Stage::Tcp, expected));
                let line = "route: default through wwan0; metadata service: answers; status page: does not answer now";
                assert_eq!(evidence.line, line);
            }
        }
    }

    fn class(fact: &Fact) -> Option<(Stage, Class)> {
        match fact {
            Fact::Failed(evidence) => Some((evidence.stage, evidence.class)),
            _ => None,
        }
    }

    #[test]
    fn an_answer_shows_that_flux_works_unless_it_is_an_error_of_its_own_or_a_refusal() {
        let (soon, down) = (Instant::now(), Verdict::Transient { costly: false });
        assert_eq!(said(Verdict::Accepted, Some(200), ""), Fact::Delivered);
        for (verdict, status) in [
            (Verdict::Throttled { until: soon }, 429),
            (Verdict::Poison { too_large: false }, 400),
            (Verdict::Transient { costly: true }, 207),
            (down, 409),
        ] {
            assert_eq!(said(verdict, Some(status), ""), Fact::Answered, "{status}");
        }
        for (verdict, status, class_of) in [
            (down, 503, Class::Provider),
            (Verdict::Maintenance { until: soon }, 503, Class::Provider),
            (Verdict::Suspended, 403, Class::Announced),
            (Verdict::Quota { until: None }, 402, Class::Announced),
            (Verdict::Misconfigured, 404, Class::Announced),
            (Verdict::Ended, 410, Class::Announced),
        ] {
            let fact = said(verdict, Some(status), "why");
            assert_eq!(class(&fact), Some((Stage::Http, class_of)), "{status}");
        }
    }

    #[test]
    fn what_had_no_answer_says_how_far_it_came_and_whose_side_it_was_as_far_as_can_be_told() {
        let host = || "flux.example".to_owned();
        let os = io::Error::from_raw_os_error;
        let connect = |source| WireError::Connect { host: host(), port: 443, source };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "did not answer within 10 s");
        for (error, expected) in [
            (WireError::Resolve { host: host(), source: late() }, (Stage::Dns, Class::Unknown)),
            (WireError::NoAddress { host: host() }, (Stage::Dns, Class::Unknown)),
            (connect(os(111)), (Stage::Tcp, Class::Provider)),
            (connect(os(101)), (Stage::Tcp, Class::OwnLine)),
            (connect(os(99)), (Stage::Tcp, Class::OwnLine)),
            (connect(os(113)), (Stage::Tcp, Class::Unknown)),
            (connect(late()), (Stage::Tcp, Class::Unknown)),
            (WireError::Tls { host: host(), source: late() }, (Stage::Tls, Class::Unknown)),
        ] {
            let (reason, failure) = (chain(&error), Failure::from(&error));
            let told = Told { failure: Some(failure), ..said_of(Verdict::Transient { costly: false }, None, &reason) };
            // Nothing is known but how the attempt itself failed.
            let finding = line::judge(&line::Evidence {
                failure,
                failing_for: Duration::ZERO,
                links: line::Links::default(),
                interface: None,
                others: Vec::new(),
                clock_trusted: true,
            });
            assert_eq!(class(&fact(&told, Some(&finding))), Some(expected), "{reason}");
        }
        let cut = said(Verdict::Transient { costly: false }, None, "the connection was closed before an answer");
        assert_eq!(class(&cut), Some((Stage::Http, Class::Unknown)));
    }

    #[test]
    fn the_providers_word_bars_and_the_operators_and_flux_own_answers_do_not() {
        let ground = |stance, source: &str| Ground {
            stance,
            source: source.into_value(),
            cause: "works".into_value(),
            clause: None,
            since_ms: 5,
            until_ms: Some(9),
            by_uptime: None,
            advice: Value::default(),
        };
        let view = |grounds: Vec<Ground>| View {
            grounds,
            leave: Stance::Open.leave(),
            limits: tidegate_protocol::terms::Terms::default(),
            probe: 0,
            may_probe: false,
            probe_at_ms: None,
            rest_until_ms: None,
            ahead: vec![ground(Stance::Maintenance, "status page")],
        };
        let barred = |stance, source| word(&view(vec![ground(stance, source)])).1.is_some();
        assert!(barred(Stance::Maintenance, "notice m-1, key ops") && barred(Stance::Suspended, "answer of Flux"));
        assert!(barred(Stance::Ended, "SIM") && barred(Stance::Quota, "answer of Flux"));
        assert!(!barred(Stance::Maintenance, "answer of Flux") && !barred(Stance::Held, "operator"));
        assert!(!barred(Stance::Maintenance, "this gateway") && barred(Stance::Maintenance, "status page"));
        assert!(!barred(Stance::Yield, "notice m-1, key ops") && !barred(Stance::Restricted, "status page"));
        let ahead = Window { from_ms: 5, until_ms: Some(9) };
        assert_eq!(word(&view(vec![ground(Stance::Maintenance, "answer of Flux")])).0, [ahead]);
    }
}
