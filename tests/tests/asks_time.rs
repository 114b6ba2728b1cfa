//! A gateway whose clock is not right, and that hears from nobody while all else is shut, asks for the time itself: seldom,
//! over TLS, without anything of its own; and what is dated then goes by it.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::certs::{self, Certs};
use tidegate_tests::elsewhen::{self, Elsewhen, IN_1980};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::office::Office;
use tidegate_tests::stance::{apply, publish, stance, until_stance};
use tidegate_tests::wait::{self, BOUND};

/// Long enough for an agent that asks after a second or two to do what it may not.
const WHILE: Duration = Duration::from_secs(4);

/// Someone who speaks TLS and tells the time, and an authority to trust for it.
struct Host {
    site: Flux,
    certs: Certs,
    _folder: tempfile::TempDir,
}

impl Host {
    fn start() -> Self {
        Self::with(certs::make)
    }

    fn with(certs: impl FnOnce(&Path) -> Certs) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certs = certs(folder.path());
        Self { site: Flux::start_tls(&certs), certs, _folder: folder }
    }

    /// What it was asked: each question's method and path.
    fn asked(&self) -> Vec<String> {
        self.site
            .look(|log| log.faults.iter().map(|fault| fault.split(':').next().unwrap_or_default().to_owned()).collect())
    }

    fn named_in(&self, setup: &mut Setup) {
        setup.set("clock.date", "url", &format!("\"{}\"", self.site.base_url()));
        setup.set("clock.date", "ca_file", &format!("\"{}\"", self.certs.ca.display()));
        setup.set("clock.date", "after", "\"1s\"");
    }
}

/// An agent that believes this office and whose clock nobody vouches for; its Flux speaks plain HTTP.
fn setup(flux: &Flux, office: &Office) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
    setup
}

fn clock(agent: &Agent) -> Value {
    agent.status()["clock"].clone()
}

#[track_caller]
fn until_right(agent: &Agent) {
    let stands = || clock(agent);
    wait::until_or_tell("the clock is right", BOUND, || clock(agent)["source"] == "answer", stands);
}

#[test]
fn a_gateway_that_has_ended_or_is_suspended_or_held_asks_for_the_time_and_for_nothing_else() {
    let office = Office::new("ops");
    for (word, notice) in [
        ("ended", "id = \"e\"\nkind = \"end\"\nat = \"now\"\n"),
        ("suspended", "id = \"s\"\nkind = \"suspension\"\ncause = \"unpaid\"\n"),
        ("held", ""),
    ] {
        let (flux, host) = (Flux::start(), Host::start());
        let mut agent = setup(&flux, &office).start();
        if notice.is_empty() {
            assert!(agent.command(&["hold", "--why", "painting"]).status.success());
        } else {
            apply(&agent, &office, word, notice);
        }
        until_stance(&agent, word);
        agent.kill();
        host.named_in(&mut agent.setup);
        agent.start();
        until_stance(&agent, word);
        publish(&agent, "telemetry", "1");
        until_right(&agent);
        assert_eq!(clock(&agent)["asks"], Value::Null, "nobody need be asked any more");
        assert_eq!(host.asked(), ["HEAD /"], "{word}");
        wait::never("it is asked again", WHILE, || host.asked().len() > 1);
        assert_eq!((stance(&agent).as_str(), flux.connections()), (word, 0));
    }
}

#[test]
fn while_nobody_answers_status_says_so_and_plain_http_is_not_believed() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    let asks = clock(&agent)["asks"].clone();
    assert!(asks["problem"].as_str().is_some_and(|it| it.contains("nobody to ask")), "{asks}");
    let shown = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(shown.contains("[clock.date]"), "{shown}");
    // What it was told over plain HTTP counts for nothing.
    let ahead = SystemTime::now() + Duration::from_secs(99 * 86_400);
    flux.answer_all(Answer::status(200).with_header("date", &httpdate::fmt_http_date(ahead)));
    publish(&agent, "telemetry", "1");
    flux.wait_for(1, BOUND);
    assert_eq!(clock(&agent)["trusted"], false);

    // A host whose certificate nobody trusts.
    let host = Host::start();
    host.named_in(&mut agent.setup);
    let stranger = Host::start();
    agent.setup.set("clock.date", "ca_file", &format!("\"{}\"", stranger.certs.ca.display()));
    agent.kill();
    agent.start();
    let asks = || clock(&agent)["asks"].clone();
    wait::until_or_tell("it was asked", BOUND, || asks()["asked"].as_u64() > Some(0), asks);
    assert!(asks()["problem"].as_str().is_some_and(|it| it.contains("no TLS with localhost")), "{}", asks());
    assert!(asks()["next_in_ms"].as_u64().is_some(), "it is asked again: {}", asks());
    assert_eq!((host.asked().len(), clock(&agent)["trusted"].as_bool()), (0, Some(false)));
}

#[test]
fn a_quota_that_lasts_to_the_months_end_is_dated_by_what_was_asked_for() {
    let (flux, office, host) = (Flux::start(), Office::new("ops"), Host::start());
    let mut setup = setup(&flux, &office);
    host.named_in(&mut setup);
    setup.set("clock.date", "after", "\"3s\"");
    flux.answer_all(Answer::status(402));
    let agent = setup.start();
    publish(&agent, "telemetry", "1");
    until_stance(&agent, "quota");
    let until = || agent.status()["stance"]["grounds"][0]["until_ms"].as_u64();
    assert!(clock(&agent)["trusted"] == true || until().is_none(), "no month ends that is not known");
    until_right(&agent);
    let now = agent.number("/now_ms");
    wait::until("the quota's end is known", BOUND, || until().is_some_and(|until| until > now));
}

/// What the time service said of 2046 is kept over the power cut, and no certificate of today is valid by it.
#[test]
fn a_clock_that_was_believed_twenty_years_ahead_does_not_keep_the_right_time_out_after_a_power_cut() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let host = Host::with(|folder| certs::make_for(folder, (2026, 1, 1), (2040, 1, 1), &["localhost", "127.0.0.1"]));
    let mut setup = setup(&flux, &office);
    let boot = |setup: &mut Setup, at: u64, number: u32| {
        let sight = Elsewhen::at(at).booted(number);
        setup.within(&sight.within().iter().map(String::as_str).collect::<Vec<_>>());
        sight
    };
    let marker = setup.folder().join("synchronised");
    std::fs::write(&marker, "").expect("written");
    let _first = boot(&mut setup, elsewhen::now_s() + 1_024 * 7 * 86_400, 1);
    let mut agent = setup.start();
    assert!(agent.command(&["hold", "--why", "painting"]).status.success());
    until_stance(&agent, "held");
    assert_eq!(clock(&agent)["source"], "marker");
    agent.kill();
    std::fs::remove_file(&marker).expect("removed");
    host.named_in(&mut agent.setup);
    let _second = boot(&mut agent.setup, IN_1980, 2);
    agent.start();
    until_right(&agent);
    assert!(agent.number("/now_ms").abs_diff(elsewhen::now_s() * 1_000) < 60_000, "{}", agent.status()["now_ms"]);
    assert_eq!((stance(&agent).as_str(), flux.connections()), ("held", 0));
}
