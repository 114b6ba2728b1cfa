//! The SIM's expiry, as the metadata service tells it: a stop known ahead, for which the buffer is drained, and what follows
//! at its time.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::elsewhen::now_s;
use tidegate_tests::flux::Flux;
use tidegate_tests::metadata::{Metadata, Says};
use tidegate_tests::stance::{
    delivered, ground, has_notice, publish, said, sends_nothing, stance, survives_a_kill, until_stance,
};
use tidegate_tests::wait::{self, BOUND};

/// An agent on a line that expires so in this time, whose batches close at this age; and when that is.
fn start(flux: &Flux, service: &Metadata, action: &str, ahead_s: u64, max_age: &str) -> (Agent, Instant) {
    let mut setup = Setup::webhook(flux);
    setup.set("forward.flux.batch", "max_age", max_age);
    setup.set("provider.probe", "min", "\"1h\"").set("provider.probe", "max", "\"1h\"");
    setup.metadata(service).synchronise();
    let at = Instant::now() + Duration::from_secs(ahead_s);
    service.say(Says::expiring((now_s() + ahead_s) * 1_000, action));
    let agent = setup.start();
    wait::until("the expiry is shown ahead", BOUND, || !self::ahead(&agent).is_null());
    (agent, at)
}

fn ahead(agent: &Agent) -> Value {
    agent.status()["stance"]["ahead"][0].clone()
}

#[test]
fn an_expiry_that_suspends_is_shown_ahead_drained_for_and_stops_at_its_time_until_it_is_extended() {
    let (flux, service) = (Flux::start(), Metadata::start(Says::Nothing));
    // Batches would wait for an hour; what there is closes ten seconds before the stop.
    let (mut agent, expiry) = start(&flux, &service, "suspend", 14, "\"1h\"");
    let known = ahead(&agent);
    assert_eq!((known["stance"].as_str(), known["source"].as_str()), (Some("suspended"), Some("SIM")), "{known}");
    let shown = said(&agent, &["status"]);
    assert!(shown.contains("ahead") && shown.contains("expires, action suspend"), "{shown}");
    assert_eq!(stance(&agent), "open");
    for payload in ["1", "2", "3"] {
        publish(&agent, "telemetry", payload);
    }
    delivered(&agent, &flux, 3);
    let last = flux.look(|log| log.requests.last().map(|request| request.at)).expect("one came");
    assert!(last < expiry, "{:?} after the expiry", last - expiry);

    until_stance(&agent, "suspended");
    let why = ground(&agent);
    assert!(why["advice"].as_str().is_some_and(|advice| advice.contains("reactivate the SIM")), "{why}");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "suspended");
    has_notice(&agent, "the line has reached its expiry");

    // Somebody extends it: a reload asks at once.
    service.say(Says::expiring((now_s() + 86_400) * 1_000, "suspend"));
    agent.setup.set("forward.flux.batch", "max_age", "\"100ms\"");
    agent.reload();
    delivered(&agent, &flux, 5);
    until_stance(&agent, "open");
    assert_eq!(ahead(&agent)["stance"], "suspended");
    flux.assert_sound();
}

#[test]
fn an_expiry_that_terminates_ends_it_and_only_another_word_of_the_service_or_of_a_person_brings_it_back() {
    let (flux, service) = (Flux::start(), Metadata::start(Says::Nothing));
    let (mut agent, _) = start(&flux, &service, "terminate", 4, "\"100ms\"");
    assert_eq!(ahead(&agent)["stance"], "ended");
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    until_stance(&agent, "ended");
    let why = ground(&agent);
    assert!(why["advice"].as_str().is_some_and(|advice| advice.contains("tidegate buffer export")), "{why}");
    // Nobody is asked any more: the line is gone.
    let asked = service.asked().len();
    survives_a_kill(&mut agent, &flux, "ended");
    assert_eq!(service.asked().len(), asked);
    assert!(said(&agent, &["buffer", "export", "--format", "ndjson"]).contains("waits"));

    // A person says that it was a mistake; the service says that the line is up after that time.
    agent.reload();
    service.wait_for_asked(asked + 1);
    delivered(&agent, &flux, 2);
    until_stance(&agent, "open");
    flux.assert_sound();
}

#[test]
fn an_expiry_that_only_ends_the_session_stops_nothing() {
    let (flux, service) = (Flux::start(), Metadata::start(Says::Nothing));
    service.say(Says::expiring((now_s() + 1) * 1_000, "deleteSession"));
    let mut setup = Setup::webhook(&flux);
    setup.metadata(&service).synchronise();
    let agent = setup.start();
    service.wait_for_asked(1);
    wait::until("the status is known", BOUND, || agent.status()["terms"]["sim"]["status"] == "active");
    assert!(ahead(&agent).is_null());
    let late = Instant::now() + Duration::from_secs(2);
    wait::until("its time has passed", BOUND, || Instant::now() >= late);
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    assert_eq!(stance(&agent), "open");
}
