//! What nobody announced: an endpoint that refuses connections, a line of one's own that is down, an endpoint that throttles.
//! Each is told from the others by what the agent itself sees, and shuts no more than it has to.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::metadata::{Metadata, Says};
use tidegate_tests::netns::Pair;
use tidegate_tests::ports;
use tidegate_tests::stance::{
    WHILE, delivered, ground, has_notice, has_outage, notices, outages, publish, publish_apart, said, sends_nothing,
    stance, until_stance,
};
use tidegate_tests::wait::{self, BOUND};

fn setup(flux: &Flux) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
    setup.synchronise();
    setup
}

#[test]
fn refusals_for_half_a_minute_are_an_interruption_and_a_line_of_ones_own_that_is_down_is_none() {
    // Side by side: half a minute is what the agent waits for.
    let flux = Flux::start();
    let mut refused = setup(&flux).start();
    publish(&refused, "telemetry", "1");
    delivered(&refused, &flux, 1);
    flux.stop();
    publish(&refused, "telemetry", "2");

    let pair = Pair::make();
    let far = Flux::start_far(&pair, None);
    let mut setup = setup(&far);
    // The connection that there is breaks in silence.
    setup.set("forward.flux", "timeout", "\"2s\"");
    setup.within(&pair.near.within().iter().map(String::as_str).collect::<Vec<_>>());
    let cut = setup.start();
    pair.near.run(|| publish(&cut, "telemetry", "1"));
    delivered(&cut, &far, 1);
    pair.cut();
    pair.near.run(|| publish(&cut, "telemetry", "2"));
    has_outage(&cut, "own-line");

    has_outage(&refused, "provider");
    wait::until_or_tell(
        "refusals are taken for an interruption",
        BOUND * 2,
        || stance(&refused) == "maintenance",
        || refused.status()["stance"].clone(),
    );
    let why = ground(&refused);
    assert_eq!((why["source"].as_str(), why["clause"].as_str()), (Some("answer of Flux"), Some("5.2(1)")), "{why}");
    has_notice(&refused, "now and then one event shows whether it is over");
    refused.kill();
    refused.start();
    until_stance(&refused, "maintenance");
    // What would be sent could be seen again, and is not before the next slot.
    flux.resume();
    sends_nothing(&refused, &flux);
    // A person need not wait for the slot.
    refused.reload();
    delivered(&refused, &flux, 3);
    until_stance(&refused, "open");

    // For longer than the other needed.
    assert_eq!((stance(&cut).as_str(), far.requests()), ("open", 1));
    pair.mend();
    delivered(&cut, &far, 2);
    let evidence: Value = serde_json::from_str(&said(&cut, &["outages", "--json"])).expect("JSON");
    assert_eq!(evidence["intervals"][0]["by_class"]["provider_ms"].as_u64().unwrap_or(0), 0, "{evidence:#}");
    far.assert_sound();
    flux.assert_sound();
}

#[test]
fn refused_by_all_who_are_asked_is_the_own_line_by_one_of_two_unknown_and_by_flux_alone_an_interruption() {
    let flux = Flux::start();
    let nobody = format!("\"http://127.0.0.1:{}\"", ports::free_port());
    let sim = Metadata::start(Says::class("s1.fast"));
    let alone = setup(&flux).start();
    let mut everywhere = setup(&flux);
    everywhere.set("provider.statuspage", "url", &nobody);
    let everywhere = everywhere.start();
    let mut mixed = setup(&flux);
    mixed.set("provider.statuspage", "url", &nobody).metadata(&sim);
    let mixed = mixed.start();
    let all = [&alone, &everywhere, &mixed];
    for (count, agent) in (1..).zip(all) {
        publish(agent, "telemetry", "1");
        delivered(agent, &flux, count);
    }
    for agent in [&everywhere, &mixed] {
        let page = || agent.status()["stance"]["page"].clone();
        let failed = || page()["problem"].as_str().is_some_and(|problem| !problem.is_empty());
        wait::until_or_tell("the page cannot be reached", BOUND, failed, page);
    }
    flux.stop();
    for agent in &all {
        publish(agent, "telemetry", "2");
    }
    has_outage(&everywhere, "own-line");
    has_outage(&mixed, "unknown");
    has_outage(&alone, "provider");
    let since = Instant::now();
    wait::until("refusals by Flux alone are an interruption", BOUND * 2, || stance(&alone) == "maintenance");
    // The others were refused for as long, and tried more often.
    wait::until("half a minute has passed for all", BOUND * 2, || since.elapsed() > Duration::from_secs(32));
    for (agent, class) in [(&everywhere, "own-line"), (&mixed, "unknown")] {
        assert_eq!(stance(agent), "open", "{class}");
        assert_eq!(outages(agent), [class]);
        assert!(notices(agent).is_empty(), "{class}: {:?}", notices(agent));
    }
    let shown: Value = serde_json::from_str(&said(&everywhere, &["outages", "--json"])).expect("JSON");
    let shown = &shown["intervals"][0];
    assert_eq!((shown["uninterrupted_ms"].as_u64(), shown["by_class"]["provider_ms"].as_u64()), (Some(0), Some(0)));
    assert!(shown["evidence"].to_string().contains("status page: does not answer"), "{shown:#}");
}

/// The limit of events a minute that follows from 429.
fn limit(agent: &Agent) -> Option<u64> {
    let terms: Value = serde_json::from_str(&said(agent, &["terms", "--json"])).expect("JSON");
    let limits = terms["limits"].as_array()?.clone();
    limits.iter().find(|limit| limit["kind"] == "events_per_minute")?["number"].as_u64()
}

#[test]
fn a_429_halves_what_leaves_at_once_and_a_kill_forgets_nothing_of_it() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    for number in 1..=8 {
        publish(&agent, "telemetry", &number.to_string());
        delivered(&agent, &flux, number);
    }
    flux.answer_next([Answer::status(429).with_header("retry-after", "1")]);
    publish(&agent, "telemetry", "9");
    until_stance(&agent, "restricted");
    let why = ground(&agent);
    assert_eq!((why["source"].as_str(), why["clause"].as_str()), (Some("answer of Flux"), Some("5.1(2)")), "{why}");
    assert_eq!(limit(&agent), Some(4), "half of the eight of the last minute");
    has_notice(&agent, "no more than 4 events a minute");
    let refused = flux.requests();
    publish_apart(&agent, (10..=20).map(|number| number.to_string()));
    wait::never("more leaves than that", WHILE * 2, || flux.requests() > refused + 4);
    agent.kill();
    agent.start();
    until_stance(&agent, "restricted");
    wait::until("the limit holds again", BOUND, || limit(&agent) == Some(4));
    let refused = flux.requests();
    publish_apart(&agent, (21..=30).map(|number| number.to_string()));
    wait::never("more leaves than that", WHILE * 2, || flux.requests() > refused + 4);
    assert!(said(&agent, &["outages"]).contains("none"), "it can be used");
}
