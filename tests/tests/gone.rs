//! 410: what it ends, and what it cannot end. Over TLS the service has ended, and not a byte goes there any more; in plain
//! HTTP anybody on the way could say so, and it is a suspension.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::certs;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::stance::{WHILE, delivered, ground, has_notice, has_outage, publish, said, stance, until_stance};
use tidegate_tests::wait::{self, BOUND};

/// Probes come every second or two where any may.
fn probing(mut setup: Setup) -> Setup {
    setup.set("provider.probe", "min", "\"1s\"").set("provider.probe", "max", "\"2s\"");
    setup.synchronise();
    setup
}

/// Fails if a connection is made to Flux, or a byte leaves over one that there is.
#[track_caller]
fn nothing_leaves(agent: &Agent, flux: &Flux) {
    publish(agent, "telemetry", "\"waits\"");
    // A connection that is closed says so in a packet or two.
    let quiet = || (flux.connections(), agent.number("/line/sent"));
    let mut before = quiet();
    wait::until("nothing is on its way any more", BOUND, || {
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, quiet()) == before
    });
    // Longer than two probes are apart at the most.
    wait::never("a connection is made", WHILE * 2, || flux.connections() > before.0);
    assert_eq!(quiet(), before, "connections, and bytes on the wire");
}

#[test]
fn a_410_over_tls_ends_it_and_not_a_byte_is_sent_any_more_until_another_endpoint_is_configured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    let flux = Flux::start_tls(&certs);
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
    let mut agent = probing(setup).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::status(410));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "ended");
    let requests = flux.requests();
    // It would be taken now: nobody asks.
    flux.answer_all(Answer::Accept);
    nothing_leaves(&agent, &flux);
    agent.kill();
    agent.start();
    assert_eq!(stance(&agent), "ended");
    nothing_leaves(&agent, &flux);
    agent.reload();
    agent.wait_for_log("configuration read again", BOUND);
    nothing_leaves(&agent, &flux);
    assert!(!agent.command(&["resume"]).status.success() || stance(&agent) == "ended");
    assert_eq!(flux.requests(), requests);

    let why = ground(&agent);
    assert_eq!((why["source"].as_str(), why["clause"].as_str()), (Some("answer of Flux"), Some("5.3")), "{why}");
    let shown = said(&agent, &["status"]);
    assert!(shown.contains("ended: nothing is sent; collecting goes on"), "{shown}");
    assert!(shown.contains("tidegate buffer export") && shown.contains("configure the new one and reload"), "{shown}");
    has_notice(&agent, "nothing is sent any more; records are kept");
    has_outage(&agent, "announced");
    let export = said(&agent, &["buffer", "export", "--format", "ndjson"]);
    assert_eq!(export.lines().count(), 4, "{export}");

    let other = Flux::start_tls(&certs);
    agent.setup.set("forward.flux", "url", &format!("\"{}\"", other.webhook_url()));
    agent.reload();
    delivered(&agent, &other, 4);
    until_stance(&agent, "open");
    assert_eq!((flux.requests(), other.delivered()), (requests, 4));
    other.assert_sound();
}

#[test]
fn a_410_in_plain_http_suspends_and_the_probe_that_is_taken_ends_that() {
    let flux = Flux::start();
    let mut agent = probing(Setup::webhook(&flux)).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::status(410));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "suspended");
    assert_eq!(ground(&agent)["clause"], "5.1(3)");
    publish(&agent, "telemetry", "3");
    let before = flux.requests();
    flux.wait_for_requests(before + 1);
    agent.kill();
    agent.start();
    until_stance(&agent, "suspended");
    let before_last = flux.requests();
    flux.wait_for_requests(before_last + 1);
    flux.look(|log| {
        for probe in &log.requests[before..] {
            assert_eq!((probe.events.len(), probe.events[0].payload.get()), (1, "2"), "the oldest alone");
        }
    });
    has_notice(&agent, "suspended");
    flux.answer_all(Answer::Accept);
    until_stance(&agent, "open");
    delivered(&agent, &flux, 3);
    flux.assert_sound();
}

#[test]
fn a_410_before_anything_was_delivered_is_a_mistake_in_the_configuration_and_ends_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    let flux = Flux::start_tls(&certs);
    flux.answer_all(Answer::status(410));
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
    setup.set("forward.backoff", "probe_min", "\"200ms\"").set("forward.backoff", "probe_max", "\"1s\"");
    let agent = probing(setup).start();
    publish(&agent, "telemetry", "1");
    agent.wait_for_verdict("misconfigured");
    assert_eq!(stance(&agent), "open");
    flux.answer_all(Answer::Accept);
    flux.wait_for(1, Duration::from_secs(20));
}
