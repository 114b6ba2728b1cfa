//! The provider changes the customer's identifier at an announced time: from then on records leave under the other
//! identity, and none under the wrong one.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_protocol::event::write_time;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::Device;
use tidegate_tests::flux::{Answer, Flux, Id};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// A time so far from now: as this process counts, and as a configuration says it.
fn after(wait: Duration) -> (Instant, String) {
    let at = SystemTime::now() + wait;
    let ms = at.duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let mut text = Vec::new();
    write_time(&mut text, ms);
    (Instant::now() + wait, format!("\"{}\"", String::from_utf8(text).expect("a time is ASCII")))
}

/// An agent that sends to `old`, and from a time on to `new`.
fn setup(old: &Flux, new: &Flux, from: &str) -> Setup {
    let mut setup = Setup::webhook(old);
    setup.set("forward.flux_next", "kind", "\"webhook\"");
    setup.set("forward.flux_next", "url", &format!("\"{}\"", new.webhook_url()));
    setup.set("forward.flux_next", "from", from);
    setup
}

fn ids(flux: &Flux) -> HashSet<Id> {
    flux.look(|log| log.delivered_events().into_iter().map(tidegate_tests::flux::Event::id).collect())
}

/// Fails if a request came to the old endpoint at or after the switch, or to the new one before it.
#[track_caller]
fn assert_each_in_its_time(old: &Flux, new: &Flux, switch: Instant) {
    let last = old.look(|log| log.requests.iter().map(|request| request.at).max()).expect("some came before");
    let first = new.look(|log| log.requests.iter().map(|request| request.at).min()).expect("some came after");
    assert!(last < switch, "under the old identity {:?} after the switch", last - switch);
    assert!(first >= switch, "under the new identity {:?} before the switch", switch - first);
}

fn in_force(agent: &Agent) -> bool {
    agent.status().pointer("/next_identity/in_force").and_then(serde_json::Value::as_bool).expect("there is a next one")
}

#[test]
fn every_record_arrives_under_exactly_one_identity_and_none_under_the_wrong_one() {
    let (old, new) = (Flux::start(), Flux::start());
    let (switch, from) = after(Duration::from_secs(6));
    let setup = setup(&old, &new, &from);
    setup.synchronise();
    let agent = setup.start();
    let running =
        Device { pause: Duration::from_millis(2), ..Device::new("pump", Version::V5) }.start_counting(agent.address());
    wait::until("the old one has some", BOUND, || old.delivered() > 50);
    assert!(!in_force(&agent));
    wait::until("the new one has some", BOUND, || new.delivered() > 50);
    assert!(in_force(&agent));
    let outcome = running.finish();
    let count = outcome.acknowledged.len();
    wait::until("all are delivered", BOUND, || old.delivered() + new.delivered() >= count);
    assert_each_in_its_time(&old, &new, switch);
    let (before, since) = (ids(&old), ids(&new));
    assert_eq!(before.intersection(&since).count(), 0, "under both");
    assert_eq!(before.len() + since.len(), count);
    assert!(Instant::now().saturating_duration_since(switch) < BOUND);
    let shown = String::from_utf8_lossy(&agent.command(&["status"]).stdout).into_owned();
    assert!(shown.contains("next endpoint") && shown.contains("since"), "{shown}");
    old.assert_sound();
    new.assert_sound();
}

#[test]
fn kills_around_the_switch_lose_nothing_and_send_nothing_under_the_wrong_identity() {
    let (old, new) = (Flux::start(), Flux::start());
    let (switch, from) = after(Duration::from_secs(8));
    let setup = setup(&old, &new, &from);
    setup.synchronise();
    let mut agent = setup.start();
    let device = Device { pause: Duration::from_millis(2), ..Device::new("pump", Version::V5) };
    let running = device.start_counting(agent.address());
    wait::until("the old one has some", BOUND, || old.delivered() > 20);
    // Before it, in the moments in which nothing is begun, as it is made, and after it.
    let begun = Instant::now();
    for (before_ms, after_ms) in [(3_000, 0), (1_000, 0), (0, 5), (0, 60), (0, 700)] {
        let whole = switch.saturating_duration_since(begun).saturating_sub(Duration::from_millis(before_ms));
        let at = begun + whole + Duration::from_millis(after_ms);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        agent.kill();
        agent.start();
    }
    wait::until("the new one has some", BOUND, || new.delivered() > 20);
    let outcome = running.finish();
    let payloads = |flux: &Flux| flux.payloads_of("pump").into_iter().collect::<HashSet<_>>();
    let all: HashSet<String> = outcome.acknowledged.iter().cloned().collect();
    wait::until("all are delivered", BOUND, || {
        all.is_subset(&payloads(&old).union(&payloads(&new)).cloned().collect())
    });
    assert_each_in_its_time(&old, &new, switch);
    // What was under way when it was killed is sent once more, and says so.
    let before = ids(&old);
    let unmarked = new.look(|log| {
        log.delivered_events().into_iter().filter(|event| before.contains(&event.id()) && !event.replayed).count()
    });
    assert_eq!(unmarked, 0, "under both, and not marked");
}

#[test]
fn a_clock_that_is_not_right_switches_nothing_and_what_was_switched_stays_so_without_one() {
    let (old, new) = (Flux::start(), Flux::start());
    let setup = setup(&old, &new, "\"2026-01-01\"");
    let marker = setup.folder().join("synchronised");
    let mut agent = setup.start();
    let publish = |agent: &Agent, id| {
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
        client.publish_acknowledged("devices/pump/telemetry", format!("{id}").as_bytes(), id);
        client.disconnect();
    };
    publish(&agent, 1);
    old.wait_for(1, BOUND);
    assert!(!in_force(&agent));
    agent.setup.synchronise();
    wait::until("the clock is right and the switch is made", BOUND, || in_force(&agent));
    publish(&agent, 2);
    new.wait_for(1, BOUND);
    std::fs::remove_file(marker).expect("the marker was there");
    agent.kill();
    agent.start();
    assert!(in_force(&agent), "whatever the clock says now, the time is past");
    publish(&agent, 3);
    new.wait_for(2, BOUND);
    assert_eq!(old.requests(), 1);
}

/// As where the configuration reaches the gateway late, or the gateway lay in a store room over the switch.
#[test]
fn who_first_starts_after_the_switch_remembers_it_without_a_clock_as_well() {
    let (old, new) = (Flux::start(), Flux::start());
    let setup = setup(&old, &new, "\"2026-01-01\"");
    setup.synchronise();
    let marker = setup.folder().join("synchronised");
    let mut agent = setup.start();
    wait::until("the clock is right", BOUND, || agent.status()["clock"]["trusted"] == true && in_force(&agent));
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
    client.publish_acknowledged("devices/pump/telemetry", b"1", 1);
    client.disconnect();
    new.wait_for(1, BOUND);
    std::fs::remove_file(marker).expect("the marker was there");
    agent.kill();
    agent.start();
    assert!(in_force(&agent), "whatever the clock says now, the time is past");
}

#[test]
fn what_the_old_identity_was_refused_goes_under_the_new_one() {
    let (old, new) = (Flux::start(), Flux::start());
    // What the provider does to an identifier that it takes away.
    old.answer_all(Answer::status(403));
    let (switch, from) = after(Duration::from_secs(5));
    let setup = setup(&old, &new, &from);
    setup.synchronise();
    let agent = setup.start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
    for id in 1..=20 {
        client.publish_acknowledged("devices/pump/telemetry", format!("{id}").as_bytes(), id);
    }
    old.wait_for_requests(1);
    new.wait_for(20, BOUND);
    assert_each_in_its_time(&old, &new, switch);
    assert_eq!((old.delivered(), agent.put_aside()), (0, 0));
    new.assert_sound();
}

#[test]
fn a_reload_moves_the_time_or_takes_the_other_identity_away() {
    let (old, new) = (Flux::start(), Flux::start());
    let (_, far) = after(Duration::from_secs(3_600));
    let setup = setup(&old, &new, &far);
    setup.synchronise();
    let mut agent = setup.start();
    let publish = |agent: &Agent, id| {
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
        client.publish_acknowledged("devices/pump/telemetry", format!("{id}").as_bytes(), id);
    };
    publish(&agent, 1);
    old.wait_for(1, BOUND);
    agent.setup.set("forward.flux_next", "from", "\"2026-01-01\"");
    agent.reload();
    wait::until("the other one is in force", BOUND, || in_force(&agent));
    publish(&agent, 2);
    new.wait_for(1, BOUND);
    agent.setup.without("forward.flux_next");
    agent.reload();
    wait::until("there is none", BOUND, || agent.status()["next_identity"].is_null());
    publish(&agent, 3);
    old.wait_for(2, BOUND);
    assert_eq!((old.requests(), new.requests()), (2, 1));
}
