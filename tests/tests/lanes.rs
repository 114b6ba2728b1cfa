//! Lanes are configuration, and what a lane holds is delivered whatever becomes of its configuration.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// Publishes `count` records of `kind` and waits until each is on flash.
fn publish(agent: &Agent, kind: &str, count: u16) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, kind));
    for id in 1..=count {
        client.publish_acknowledged(&format!("devices/pump/{kind}"), b"1", id);
    }
    client.disconnect();
}

/// Lanes with a rule each: `devices/{device}/<lane>`.
fn lanes(setup: &mut Setup, names: &[&str]) {
    setup.without_lanes_and_rules();
    for name in names {
        setup.lane(&format!("name = \"{name}\""));
        setup.rule(&format!("topic = \"devices/{{device}}/{name}\"\nlane = \"{name}\""));
    }
}

/// Lanes that events came from, in order of delivery, repeats of the last left out.
fn delivered(flux: &Flux) -> Vec<(String, usize)> {
    flux.look(|log| {
        let mut runs: Vec<(String, usize)> = Vec::new();
        for event in log.delivered_events() {
            match runs.iter_mut().find(|(lane, _)| *lane == event.lane) {
                Some((_, count)) => *count += 1,
                None => runs.push((event.lane.clone(), 1)),
            }
        }
        runs.sort();
        runs
    })
}

/// Names of the lanes in the status.
fn names(agent: &Agent) -> Vec<String> {
    let status = agent.status();
    let lanes = status["lanes"].as_array().cloned().unwrap_or_default();
    lanes.iter().filter_map(|lane| lane["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn lanes_are_those_configured_and_one_that_is_taken_away_is_delivered_to_its_end() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    lanes(&mut setup, &["urgent", "readings", "video"]);
    let mut agent = setup.start();
    for kind in ["video", "readings", "urgent"] {
        publish(&agent, kind, 20);
    }
    assert_eq!((names(&agent), agent.waiting()), (vec!["urgent".into(), "readings".into(), "video".into()], 60));
    agent.terminate();

    // One is gone, the others have changed places, and there is a new one.
    lanes(&mut agent.setup, &["readings", "pictures", "urgent"]);
    agent.start();
    assert_eq!(names(&agent)[..3], ["readings", "pictures", "urgent"]);
    assert_eq!(agent.waiting(), 60);
    publish(&agent, "pictures", 5);
    flux.resume();
    flux.wait_for(65, BOUND);
    let expected = [("pictures", 5), ("readings", 20), ("urgent", 20), ("video", 20)];
    assert_eq!(delivered(&flux), expected.map(|(lane, count)| (lane.to_owned(), count)));
    flux.assert_sound();
    wait::until("the store knows that nothing waits", BOUND, || agent.waiting() == 0);

    // Whatever becomes of the empty lane, a lane of that name goes on where it was: no id comes twice.
    agent.terminate();
    lanes(&mut agent.setup, &["video", "readings"]);
    agent.start();
    publish(&agent, "video", 3);
    flux.wait_for(68, BOUND);
    flux.assert_sound();
}

#[test]
fn a_reload_changes_weights_at_once_and_lanes_only_with_a_restart() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    lanes(&mut setup, &["a", "b"]);
    let mut agent = setup.start();
    lanes(&mut agent.setup, &["a", "b", "c"]);
    agent.reload();
    let pending = |agent: &Agent| agent.status()["config_needs_restart"].to_string();
    wait::until("the status says what waits for a restart", BOUND, || pending(&agent).contains("lane.name"));
    assert!(pending(&agent).contains("collect.rule.lane"), "{}", pending(&agent));
    assert_eq!(names(&agent), ["a", "b"]);
    publish(&agent, "a", 1);
    flux.wait_for(1, BOUND);

    agent.setup.without_lanes_and_rules();
    agent.setup.lane("name = \"a\"").lane("name = \"b\"\nweight = 9");
    agent.setup.rule("topic = \"devices/{device}/x\"\nlane = \"b\"");
    agent.reload();
    wait::until("nothing waits for a restart", BOUND, || pending(&agent) == "[]");
    publish(&agent, "x", 1);
    flux.wait_for(2, BOUND);
    assert_eq!(delivered(&flux), [("a".to_owned(), 1), ("b".to_owned(), 1)]);

    agent.terminate();
    lanes(&mut agent.setup, &["a", "b", "c"]);
    agent.start();
    publish(&agent, "c", 1);
    flux.wait_for(3, BOUND);
    assert_eq!(agent.status()["config_error"], serde_json::Value::Null);
    flux.assert_sound();
}
