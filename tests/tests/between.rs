//! Between stances: what one leaves behind, met by the next.

use std::time::Duration;

use tidegate_tests::agent::Agent;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::metadata::{Metadata, Says};
use tidegate_tests::office::Office;
use tidegate_tests::stance::{apply, notices, publish, setup, stance, until_stance};
use tidegate_tests::wait::{self, BOUND};

const WHILE: Duration = Duration::from_millis(2500);

/// Waits until a probe was allowed although nothing is stored: the next one is then further away than this one was.
#[track_caller]
fn until_a_probe_waits_for_a_record(agent: &Agent) {
    let due = || agent.number("/stance/probe_in_ms");
    let mut least = due();
    wait::until("a probe is allowed", BOUND, || {
        let now = due();
        let next = now > least + 100;
        least = least.min(now);
        next
    });
}

#[test]
fn a_probe_that_waits_for_a_record_is_not_sent_once_the_service_has_ended_or_is_held() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    apply(&agent, &office, "s", "id = \"s-1\"\nkind = \"suspension\"\ncause = \"unpaid\"\n");
    until_stance(&agent, "suspended");
    until_a_probe_waits_for_a_record(&agent);
    assert!(agent.command(&["hold", "--why", "the mast is being painted"]).status.success());
    publish(&agent, "telemetry", "1");
    wait::never("anything is sent while held", WHILE, || flux.requests() > 0);
    apply(&agent, &office, "e", "id = \"e-1\"\nkind = \"end\"\nat = \"now\"\n");
    assert!(agent.command(&["resume"]).status.success());
    until_stance(&agent, "ended");
    publish(&agent, "telemetry", "2");
    wait::never("anything is sent after the end", WHILE, || flux.connections() > 0);
    apply(&agent, &office, "w", "id = \"e-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    flux.wait_for_requests(1);
    flux.look(|log| assert_eq!(log.requests[0].events.len(), 1, "a probe is one record"));
}

#[test]
fn what_was_answered_over_the_control_socket_holds_after_a_kill_in_that_moment() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    for round in 0..6 {
        let (command, word): (&[&str], _) =
            if round % 2 == 0 { (&["hold", "--why", "painting"], "held") } else { (&["resume"], "open") };
        assert!(agent.command(command).status.success());
        agent.kill();
        agent.start();
        until_stance(&agent, word);
    }
}

#[test]
fn reloads_on_a_suspended_sim_send_one_record_a_minute_at_most() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let service = Metadata::start(Says::line("s1.fast", "suspended"));
    let mut setup = setup(&flux, &office);
    setup.set("provider.probe", "min", "\"1h\"").set("provider.probe", "max", "\"1h\"");
    setup.metadata(&service);
    let agent = setup.start();
    until_stance(&agent, "suspended");
    flux.answer_all(Answer::status(503));
    for number in 0..20 {
        publish(&agent, "telemetry", &number.to_string());
    }
    for reload in 1..=5 {
        let asked = service.asked().len();
        agent.reload();
        service.wait_for_asked(asked + 1);
        wait::until(&format!("after reload {reload} one probe"), BOUND, || flux.requests() == 1);
    }
    wait::never("more is sent", WHILE, || flux.requests() > 1);
    flux.look(|log| assert_eq!(log.requests[0].events.len(), 1));
    assert_eq!(stance(&agent), "suspended");
}

#[test]
fn what_a_person_did_is_in_the_log_of_notices_at_once() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    let store = tempfile::tempdir().expect("a folder");
    setup.store_at(store.path());
    let agent = setup.start();
    for why in ["first", "second", "third"] {
        assert!(agent.command(&["hold", "--why", why]).status.success());
        // Below the ten seconds that others wait; a busy disk takes seconds for one file.
        wait::until(&format!("the {why} is on disk"), Duration::from_secs(9), || {
            let log = std::fs::read(store.path().join("notices")).unwrap_or_default();
            log.windows(why.len()).any(|part| part == why.as_bytes())
        });
    }
}

#[test]
fn what_happened_stays_in_the_log_of_notices_though_it_is_killed_soon_after() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    let store = tempfile::tempdir().expect("a folder");
    setup.store_at(store.path());
    let mut agent = setup.start();
    publish(&agent, "telemetry", "1");
    flux.wait_for(1, BOUND);
    apply(&agent, &office, "m", "id = \"m-1\"\nkind = \"maintenance\"\nuntil = \"+2s\"\n");
    until_stance(&agent, "maintenance");
    until_stance(&agent, "open");
    flux.answer_all(Answer::status(403));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "suspended");
    let before = notices(&agent);
    let about: Vec<&str> = before.iter().filter_map(|entry| entry["what"].as_str()).collect();
    assert_eq!(about, ["maintenance", "maintenance", "suspended"]);
    // Below the ten seconds that it waits where very much is said; a busy disk takes seconds for one file.
    wait::until("the log is on disk", Duration::from_secs(5), || {
        let log = std::fs::read(store.path().join("notices")).unwrap_or_default();
        log.windows(8).any(|part| part == b"HTTP 403")
    });
    agent.kill();
    agent.start();
    assert_eq!(notices(&agent)[..before.len()], before[..]);
}
