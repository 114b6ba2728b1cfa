//! Maintenances that do not end as they were announced: later, earlier, not at all, by the provider's word in a signed notice
//! or on its status page.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::elsewhen::now_s;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::office::{Office, text};
use tidegate_tests::stance::{
    WHILE, apply, delivered, ground, has_notice, has_outage, publish, sends_nothing, stance, survives_a_kill,
    until_stance,
};
use tidegate_tests::statuspage::{Maintenance, Says, StatusPage, page};
use tidegate_tests::wait::{self, BOUND};

/// Back within a second, by a clock that is right.
fn setup(flux: &Flux) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
    setup.synchronise();
    setup
}

fn believing(flux: &Flux, office: &Office) -> Setup {
    let mut setup = setup(flux);
    setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
    setup
}

/// A maintenance `m-1` in a signed notice: issued so many seconds after the others, and its window.
fn notice(issued: u32, window: &str) -> String {
    format!("id = \"m-1\"\nkind = \"maintenance\"\nissued = \"+{issued}s\"\n{window}\n")
}

/// Waits until so much of this test's time has passed since it began.
fn until(begun: Instant, seconds: u64) {
    wait::until("the time has come", BOUND, || begun.elapsed() >= Duration::from_secs(seconds));
}

#[test]
fn a_maintenance_that_is_amended_to_end_late_holds_until_its_new_end() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = believing(&flux, &office).start();
    let begun = Instant::now();
    apply(&agent, &office, "m", &notice(0, "until = \"+5s\""));
    until_stance(&agent, "maintenance");
    apply(&agent, &office, "late", &notice(1, "until = \"+10s\""));
    let end = ground(&agent)["until_ms"].as_u64().expect("an end");
    assert!(end > agent.number("/now_ms") + 7_000, "the new one");
    // What was said before is brought again, and counts no more: the inbox knows it, and after a restart the machine does.
    let before = office.sign("again", &notice(0, "until = \"+1s\""));
    let again = agent.command(&["notice", "apply", text(&before)]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("(older)"), "{again:?}");
    survives_a_kill(&mut agent, &flux, "maintenance");
    assert!(agent.command(&["notice", "apply", text(&before)]).status.success());
    has_notice(&agent, "nothing: a later one stands");
    until(begun, 7);
    assert_eq!((stance(&agent).as_str(), flux.requests()), ("maintenance", 0), "beyond its first end");
    delivered(&agent, &flux, 1);
    let back = flux.look(|log| log.requests[0].at);
    assert!(back >= begun + Duration::from_secs(9), "back after {:?}", back - begun);
    until_stance(&agent, "open");
    flux.assert_sound();
}

#[test]
fn a_maintenance_that_is_amended_to_end_early_ends_then() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = believing(&flux, &office).start();
    apply(&agent, &office, "m", &notice(0, "until = \"+2h\""));
    until_stance(&agent, "maintenance");
    sends_nothing(&agent, &flux);
    apply(&agent, &office, "early", &notice(1, "until = \"+3s\""));
    assert_eq!(stance(&agent), "maintenance");
    assert_eq!(flux.requests(), 0, "not before that");
    delivered(&agent, &flux, 1);
    until_stance(&agent, "open");
    flux.assert_sound();
}

#[test]
fn a_maintenance_that_is_amended_to_have_ended_already_ends_at_once() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = believing(&flux, &office).start();
    apply(&agent, &office, "m", &notice(0, "until = \"+2h\""));
    until_stance(&agent, "maintenance");
    survives_a_kill(&mut agent, &flux, "maintenance");
    apply(&agent, &office, "over", &notice(1, "from = \"-1h\"\nuntil = \"-1s\""));
    delivered(&agent, &flux, 1);
    until_stance(&agent, "open");
    flux.assert_sound();
}

#[test]
fn a_maintenance_that_is_withdrawn_or_put_off_before_it_begins_stops_nothing() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = believing(&flux, &office).start();
    let ahead = |agent: &Agent| agent.status()["stance"]["ahead"].as_array().map_or(0, Vec::len);
    let begun = Instant::now();
    apply(&agent, &office, "m", &notice(0, "from = \"+5s\"\nuntil = \"+2h\""));
    let other = "id = \"m-2\"\nkind = \"maintenance\"\nfrom = \"+5s\"\nuntil = \"+2h\"\n";
    apply(&agent, &office, "other", other);
    assert_eq!(ahead(&agent), 2);
    apply(&agent, &office, "gone", "id = \"m-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    let later = "id = \"m-2\"\nkind = \"maintenance\"\nissued = \"+1s\"\nfrom = \"+1h\"\nuntil = \"+2h\"\n";
    apply(&agent, &office, "later", later);
    agent.kill();
    agent.start();
    assert_eq!(ahead(&agent), 1);
    until(begun, 6);
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    assert_eq!((stance(&agent).as_str(), ahead(&agent)), ("open", 1));
    let off = agent.number("/stance/ahead/0/since_ms") / 1_000;
    assert!(off.abs_diff(now_s() + 3_600) < 60, "put off by an hour: {off}");
}

#[test]
fn a_maintenance_that_the_page_lists_beyond_its_end_holds_and_one_event_shows_when_it_is_over() {
    let flux = Flux::start();
    let site = StatusPage::start(Says::Page(page(&[], &[])));
    let mut setup = setup(&flux);
    setup.status_page(&site);
    let mut agent = setup.start();
    site.wait_for_asked(1);
    let says = |status| Says::Page(page(&[Maintenance::new("m1", status, -60, 4)], &[]));
    site.say(says("in_progress"));
    agent.reload();
    until_stance(&agent, "maintenance");
    flux.answer_all(Answer::status(503));
    for payload in ["1", "2", "3"] {
        publish(&agent, "telemetry", payload);
    }
    let passed = || ground(&agent)["cause"].to_string().contains("though its end has passed");
    wait::until("status says that its end has passed", BOUND, || passed() || flux.requests() > 0);
    // Within the second over which gateways come back, one asks for itself.
    flux.wait_for_requests(1);
    assert!(passed());
    agent.kill();
    agent.start();
    until_stance(&agent, "maintenance");
    wait::never("it is asked again within a minute", WHILE, || flux.requests() > 1);
    flux.look(|log| assert_eq!((log.requests[0].events.len(), log.requests[0].events[0].payload.get()), (1, "1")));
    has_outage(&agent, "announced");

    flux.answer_all(Answer::Accept);
    let asked = site.asked().len();
    site.say(says("completed"));
    agent.reload();
    site.wait_for_asked(asked + 1);
    delivered(&agent, &flux, 3);
    until_stance(&agent, "open");
    has_notice(&agent, "completed");
    flux.assert_sound();
}
