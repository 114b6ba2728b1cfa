//! The customer's identifier changes (3.4(2), 5.2(1)(3)) while other things go on: a signed notice moves its time, the old
//! identity is suspended, everything is. Nothing is sent under the wrong one.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_protocol::event::write_time;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::office::Office;
use tidegate_tests::stance::{
    self, WHILE, apply, delivered, ground, has_notice, notices, publish, said, stance, until_stance,
};
use tidegate_tests::wait::{self, BOUND};

/// So many seconds from now: for this process, and as a configuration says it.
fn after(seconds: u64) -> (Instant, String) {
    let at = SystemTime::now() + Duration::from_secs(seconds);
    let ms = at.duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let mut text = Vec::new();
    write_time(&mut text, ms);
    (Instant::now() + Duration::from_secs(seconds), format!("\"{}\"", String::from_utf8(text).expect("ASCII")))
}

/// An agent that sends to `old`, and from a time on to `new`.
fn setup(old: &Flux, new: &Flux, office: &Office, from: &str) -> Setup {
    let mut setup = stance::setup(old, office);
    setup.set("forward.flux_next", "kind", "\"webhook\"");
    setup.set("forward.flux_next", "url", &format!("\"{}\"", new.webhook_url()));
    setup.set("forward.flux_next", "from", from);
    setup
}

fn in_force(agent: &Agent) -> bool {
    agent.status()["next_identity"]["in_force"].as_bool().expect("there is a next one")
}

/// Waits until so much of the test's time has passed.
fn until(at: Instant) {
    wait::until("the time has come", BOUND, || Instant::now() >= at);
}

#[test]
fn a_signed_notice_moves_the_change_of_identity_to_its_time_and_a_kill_moves_nothing_back() {
    let (old, new, office) = (Flux::start(), Flux::start(), Office::new("ops"));
    let (configured, from) = after(5);
    let mut agent = setup(&old, &new, &office, &from).start();
    let moved = Instant::now() + Duration::from_secs(10);
    apply(&agent, &office, "i", "id = \"i-1\"\nkind = \"identity\"\neffective = \"+10s\"\n");
    wait::until("status says that it is moved", BOUND, || agent.status()["next_identity"]["moved"] == true);
    assert!(said(&agent, &["status"]).contains("next endpoint"));
    has_notice(&agent, "i-1");
    // Another one names an earlier time, and moves nothing.
    apply(&agent, &office, "j", "id = \"i-2\"\nkind = \"identity\"\neffective = \"+2s\"\n");
    publish(&agent, "telemetry", "1");
    delivered(&agent, &old, 1);
    agent.kill();
    agent.start();
    until(configured);
    publish(&agent, "telemetry", "2");
    delivered(&agent, &old, 2);
    assert!(!in_force(&agent) && new.requests() == 0, "the notice's time has not come");
    has_notice(&agent, "its time has come");
    let changed = || notices(&agent).iter().any(|entry| entry["did"] == "the other identity is used");
    assert!(!changed(), "what was not done is not said: {:?}", notices(&agent));
    wait::until("the change is made", BOUND, || in_force(&agent));
    wait::until("the log says so", BOUND, changed);
    // A notice is signed some moments after the test took its time.
    assert!(Instant::now() >= moved);
    let before = old.requests();
    publish(&agent, "telemetry", "3");
    delivered(&agent, &new, 1);
    agent.kill();
    agent.start();
    assert!(in_force(&agent));
    publish(&agent, "telemetry", "4");
    delivered(&agent, &new, 2);
    assert_eq!(old.requests(), before);
    assert_eq!(
        (old.payloads_of("pump"), new.payloads_of("pump")),
        (["1", "2"].map(String::from).into(), ["3", "4"].map(String::from).into())
    );
    old.assert_sound();
    new.assert_sound();
}

#[test]
fn while_the_old_identity_is_suspended_the_change_is_made_and_ends_that() {
    let (old, new, office) = (Flux::start(), Flux::start(), Office::new("ops"));
    let (_, far) = after(3_600);
    let mut setup = setup(&old, &new, &office, &far);
    setup.set("provider.probe", "min", "\"1h\"").set("provider.probe", "max", "\"1h\"");
    let mut agent = setup.start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &old, 1);
    // What the provider does to an identifier that it takes away.
    old.answer_all(Answer::status(403));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "suspended");
    publish(&agent, "telemetry", "3");
    let before = old.requests();
    let (at, from) = after(4);
    agent.setup.set("forward.flux_next", "from", &from);
    let _ = agent.setup.write();
    agent.kill();
    agent.start();
    until_stance(&agent, "suspended");
    assert_eq!(new.connections(), 0);
    delivered(&agent, &new, 2);
    let first = new.look(|log| log.requests[0].at);
    assert!(first >= at, "{:?} before its time", at - first);
    until_stance(&agent, "open");
    has_notice(&agent, "another endpoint is used");
    assert_eq!(old.requests(), before, "nothing more under the old one");
    new.assert_sound();
}

#[test]
fn a_suspension_by_notice_outlasts_the_change_and_its_probes_go_under_the_new_identity() {
    let (old, new, office) = (Flux::start(), Flux::start(), Office::new("ops"));
    let (_, from) = after(4);
    let mut agent = setup(&old, &new, &office, &from).start();
    apply(&agent, &office, "s", "id = \"s-1\"\nkind = \"suspension\"\ncause = \"unpaid\"\n");
    until_stance(&agent, "suspended");
    old.answer_all(Answer::status(403));
    new.answer_all(Answer::status(403));
    publish(&agent, "telemetry", "1");
    publish(&agent, "telemetry", "2");
    old.wait_for_requests(1);
    wait::until("the change is made", BOUND, || in_force(&agent));
    let before = old.requests();
    assert_eq!(stance(&agent), "suspended");
    agent.kill();
    agent.start();
    new.wait_for_requests(1);
    wait::never("a probe goes under the old one", WHILE * 2, || old.requests() > before);
    for flux in [&old, &new] {
        flux.look(|log| {
            for probe in &log.requests {
                assert_eq!((probe.events.len(), probe.events[0].payload.get()), (1, "1"), "the oldest alone");
            }
        });
    }
    assert_eq!(ground(&agent)["source"], "notice s-1, key ops");
    new.answer_all(Answer::Accept);
    apply(&agent, &office, "over", "id = \"s-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    delivered(&agent, &new, 2);
    until_stance(&agent, "open");
    assert_eq!((old.requests(), old.delivered()), (before, 0));
}
