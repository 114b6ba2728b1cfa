//! The provider's status page, and rules for answers, in the running service.

use std::time::Duration;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::statuspage::{Maintenance, Says, StatusPage, page};
use tidegate_tests::wait::{self, BOUND};

fn setup(flux: &Flux, page: &StatusPage) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.status_page(page).set("provider.resume", "spread", "\"0s\"").set("provider.resume", "ramp", "\"0s\"");
    setup.synchronise();
    setup
}

fn publish(agent: &Agent, name: &str) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, name));
    client.publish_acknowledged(&format!("devices/{name}/telemetry"), b"1", 1);
}

#[track_caller]
fn deliver(agent: &Agent, flux: &Flux, name: &str) {
    let before = flux.delivered();
    publish(agent, name);
    flux.wait_for(before + 1, BOUND);
}

/// Has it ask now, and waits until it has an answer that is not older.
#[track_caller]
fn look(agent: &Agent, page: &StatusPage) {
    let before = asked(agent);
    let times = page.asked().len();
    agent.reload();
    page.wait_for_asked(times + 1);
    wait::until("the page was read", BOUND, || asked(agent) > before);
}

fn asked(agent: &Agent) -> u64 {
    agent.status()["stance"]["page"]["asked"].as_u64().unwrap_or(0)
}

fn stance(agent: &Agent) -> String {
    agent.status()["stance"]["stance"].as_str().unwrap_or_default().to_owned()
}

fn problem(agent: &Agent) -> String {
    agent.status()["stance"]["page"]["problem"].as_str().unwrap_or_default().to_owned()
}

fn text(agent: &Agent, what: &str) -> String {
    text_of(agent, &[what])
}

fn text_of(agent: &Agent, arguments: &[&str]) -> String {
    String::from_utf8(agent.command(arguments).stdout).expect("text")
}

/// Nobody says over TLS what time it is, and the clock is not known to be right.
fn undated(flux: &Flux, page: &StatusPage) -> Agent {
    let mut setup = Setup::webhook(flux);
    setup.status_page(page).set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
    let agent = setup.start();
    assert_eq!(agent.status()["clock"]["trusted"], false);
    agent
}

#[test]
fn without_a_clock_a_window_that_the_page_announces_begins_and_ends_by_the_pages_own_date() {
    let flux = Flux::start();
    let site = StatusPage::start(Says::Dated(page(&[], &[])));
    let agent = undated(&flux, &site);
    look(&agent, &site);
    site.say(Says::Dated(page(&[Maintenance::new("m1", "scheduled", 8, 14)], &[])));
    look(&agent, &site);
    wait::until("it is told ahead", BOUND, || agent.status()["stance"]["ahead"][0]["stance"] == "maintenance");
    // It is never read again.
    site.say(Says::Nothing);
    deliver(&agent, &flux, "ahead");
    wait::until("it begins", BOUND, || stance(&agent) == "maintenance");
    publish(&agent, "meanwhile");
    wait::never("anything is sent", Duration::from_secs(3), || flux.delivered() > 1);
    flux.wait_for(2, BOUND);
    assert_eq!(stance(&agent), "open");
    flux.assert_sound();
}

#[test]
fn without_a_clock_a_page_that_is_gone_shuts_no_longer_than_its_window_which_one_event_shows() {
    for says in [Says::Dated as fn(String) -> Says, Says::Page] {
        let flux = Flux::start();
        let site = StatusPage::start(says(page(&[Maintenance::new("m1", "in_progress", -2, 8)], &[])));
        let mut agent = undated(&flux, &site);
        // At once; by itself it asks at some moment of the first half minute.
        look(&agent, &site);
        wait::until("it holds", BOUND, || stance(&agent) == "maintenance");
        site.say(Says::Nothing);
        publish(&agent, "meanwhile");
        let shown = text(&agent, "status");
        assert!(!shown.contains("1970-"), "{shown}");
        agent.kill();
        agent.start();
        assert_eq!((stance(&agent).as_str(), flux.requests()), ("maintenance", 0));
        flux.wait_for(1, BOUND);
        wait::until("it is over", BOUND, || stance(&agent) == "open");
        flux.assert_sound();
    }
}

#[test]
fn a_maintenance_that_the_page_tells_stops_sending_until_the_page_says_it_is_over() {
    let flux = Flux::start();
    let quiet = page(&[], &["Flux is slow"]);
    let site = StatusPage::start(Says::Page(quiet));
    let agent = setup(&flux, &site).start();
    look(&agent, &site);
    deliver(&agent, &flux, "before");
    let shown = text(&agent, "status");
    assert!(shown.contains("0 maintenances and 1 incident concern this gateway"), "{shown}");
    assert!(shown.contains("Flux is slow (impact major)"), "{shown}");

    // What concerns others stops nothing.
    let other = Maintenance { component: "SORACOM Beam", ..Maintenance::new("beam", "in_progress", -60, 3_600) };
    site.say(Says::Page(page(&[other], &[])));
    look(&agent, &site);
    deliver(&agent, &flux, "other");

    site.say(Says::Page(page(&[Maintenance::new("m1", "scheduled", 7_200, 10_800)], &[])));
    look(&agent, &site);
    wait::until("it is told ahead", BOUND, || agent.status()["stance"]["ahead"][0]["stance"] == "maintenance");
    deliver(&agent, &flux, "ahead");

    let under_way = page(&[Maintenance::new("m1", "in_progress", -60, 3_600)], &[]);
    site.say(Says::Page(under_way.clone()));
    look(&agent, &site);
    wait::until("it stops", BOUND, || stance(&agent) == "maintenance");
    let before = flux.delivered();
    publish(&agent, "during");
    // Asked again, the page has not changed; a page that is broken withdraws nothing.
    look(&agent, &site);
    site.say(Says::Status(200, "", "<html>captive portal</html>".into()));
    look(&agent, &site);
    wait::until("that is said", BOUND, || problem(&agent).contains("not a JSON object"));
    assert_eq!((stance(&agent).as_str(), flux.delivered()), ("maintenance", before));
    let notices = text(&agent, "notices");
    assert!(notices.contains("status page") && notices.contains("m1"), "{notices}");

    let over = page(&[Maintenance::new("m1", "completed", -60, 3_600)], &[]);
    site.say(Says::Page(over));
    look(&agent, &site);
    flux.wait_for(before + 1, BOUND);
    wait::until("it is open", BOUND, || stance(&agent) == "open");
    let heads = site.asked();
    assert!(heads[0].starts_with("GET /api/v2/summary.json HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads.iter().any(|head| head.contains("if-none-match: W/")), "{heads:?}");
    let shown = &agent.status()["stance"]["page"];
    assert!(shown["unchanged"].as_u64() > Some(0) && shown["bytes"].as_u64() > Some(1_000), "{shown}");
    flux.assert_sound();
}

#[test]
fn a_page_that_answers_nonsense_or_nothing_is_shown_and_delivery_goes_on() {
    let flux = Flux::start();
    let site = StatusPage::start(Says::Page(page(&[], &[])));
    let agent = setup(&flux, &site).start();
    look(&agent, &site);
    let moved = "location: http://127.0.0.1:1/";
    for (number, (says, reason)) in [
        (Says::Status(429, "retry-after: 1", String::new()), "HTTP 429"),
        (Says::Status(503, "", "<h1>busy</h1>".into()), "HTTP 503"),
        (Says::Status(302, moved, String::new()), "a redirect to http://127.0.0.1:1/, which is not followed"),
        (Says::Status(200, "", "{\"incidents\":{}}".into()), "neither incidents nor"),
        (Says::Status(200, "", format!("{{\"incidents\":[\"{}\"]}}", "x".repeat(1_000_000))), "HTTP 200 So"),
        (Says::Status(200, "", format!("{{\"incidents\":{}", "[".repeat(100_000))), "not a JSON object"),
        (Says::Bytes(vec![0xff; 100_000]), "the connection broke"),
        (Says::Bytes(Vec::new()), "the connection broke"),
    ]
    .into_iter()
    .enumerate()
    {
        println!("{reason}");
        // Too long a summary is asked for in parts, which are as long.
        let reason = if reason == "HTTP 200 So" { "more than 262144 bytes" } else { reason };
        site.say(says);
        look(&agent, &site);
        wait::until(reason, BOUND, || problem(&agent).contains(reason));
        deliver(&agent, &flux, &format!("d{number}"));
    }
    let shown = text(&agent, "status");
    assert!(shown.contains("the connection broke"), "{shown}");
    for says in [Says::Nothing, Says::Slow(page(&[], &[]), Duration::from_millis(50))] {
        let times = site.asked().len();
        site.say(says);
        agent.reload();
        site.wait_for_asked(times + 1);
        deliver(&agent, &flux, "meanwhile");
    }
    site.say(Says::Page(page(&[], &[])));
    agent.reload();
    wait::until("it answers again", BOUND, || problem(&agent).is_empty() && asked(&agent) > 0);
    flux.assert_sound();
}

#[test]
fn where_the_endpoint_is_not_soracoms_nobodys_page_is_asked() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    deliver(&agent, &flux, "any");
    assert_eq!(agent.status()["stance"]["page"], Value::Null);
}

#[test]
fn a_rule_that_suspends_holds_at_a_fresh_gateway_and_one_record_leaves_as_a_probe() {
    let flux = Flux::start();
    flux.answer_all(Answer::status(403));
    let mut setup = Setup::webhook(&flux);
    setup.answer_rule("status = 403\nmeans = \"suspended\"");
    setup.synchronise();
    let mut agent = setup.start();
    publish(&agent, "a");
    agent.wait_for_verdict("suspended");
    wait::until("the stance says so too", BOUND, || stance(&agent) == "suspended");
    let noted: Value = serde_json::from_str(&text_of(&agent, &["notices", "--json"])).expect("JSON");
    let noted: Vec<&str> = noted.as_array().expect("a list").iter().filter_map(|one| one["what"].as_str()).collect();
    assert_eq!(noted, ["suspended"], "nothing else is said of it");
    for name in ["b", "c", "d"] {
        publish(&agent, name);
    }
    let requests = flux.requests();
    agent.kill();
    agent.start();
    wait::until("it holds after a restart", BOUND, || stance(&agent) == "suspended" && agent.waiting() == 4);
    wait::never("a batch leaves", Duration::from_secs(2), || flux.requests() > requests);
    flux.answer_all(Answer::Accept);
    flux.answer_next([Answer::status(403)]);
    agent.reload();
    flux.wait_for_requests(requests + 1);
    let probe = flux.look(|log| log.requests.last().map_or(0, |request| request.events.len()));
    assert_eq!(probe, 1, "a probe is one record");
    assert_eq!((agent.verdict().as_str(), agent.waiting()), ("suspended", 4));
}

#[test]
fn whatever_a_rule_says_a_fresh_gateway_does_and_every_place_says_the_same() {
    let cases = [
        ("ended", "ended", "ended", "ended"),
        ("quota", "quota", "quota", "quota"),
        ("maintenance", "maintenance", "maintenance", "maintenance"),
        ("throttled", "throttled", "restricted", "throttled"),
        ("misconfigured", "misconfigured", "open", "misconfigured"),
        ("transient", "transient", "open", ""),
    ];
    // Side by side: most of it is the start of the binary.
    let running: Vec<_> = cases
        .iter()
        .map(|(means, ..)| {
            let flux = Flux::start();
            flux.answer_all(Answer::status(503));
            let mut setup = Setup::webhook(&flux);
            setup.answer_rule(&format!("status = 503\nmeans = \"{means}\""));
            let agent = setup.start();
            publish(&agent, "a");
            (flux, agent)
        })
        .collect();
    for ((means, verdict, stands, what), (flux, agent)) in cases.into_iter().zip(&running) {
        agent.wait_for_verdict(verdict);
        wait::until(&format!("{means} is {stands}"), BOUND, || stance(agent) == stands);
        let noted: Value = serde_json::from_str(&text_of(agent, &["notices", "--json"])).expect("JSON");
        let noted: Vec<&str> =
            noted.as_array().expect("a list").iter().filter_map(|one| one["what"].as_str()).collect();
        assert_eq!(noted.join(" "), what, "{means}");
        assert_eq!(flux.delivered(), 0);
    }
}

#[test]
fn rules_of_the_configuration_say_what_answers_mean() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    // By themselves the first would count as misconfigured and the second as suspended: nothing for a minute at the least.
    setup.answer_rule("status = 418\nmeans = \"transient\"\nbody = \"tea*spent\"");
    setup.answer_rule("status = \"4xx\"\nmeans = \"maintenance\"\nheader = \"x-works: *\"");
    let mut agent = setup.start();
    deliver(&agent, &flux, "first");
    let spent = Answer::Status { status: 418, headers: Vec::new(), body: "The TEA is spent".into() };
    flux.answer_next([spent]);
    publish(&agent, "a");
    flux.wait_for(2, BOUND);
    flux.answer_next([Answer::status(403).with_header("x-works", "today").with_header("retry-after", "1")]);
    publish(&agent, "b");
    agent.wait_for_log("as a rule of the configuration has it", BOUND);
    flux.wait_for(3, BOUND);
    // A mistake in a rule changes nothing.
    agent.setup.answer_rule("status = 404\nmeans = \"accepted\"");
    agent.reload();
    wait::until("the mistake is shown", BOUND, || {
        agent.status()["config_error"].as_str().is_some_and(|error| error.contains("provider.rule"))
    });
    deliver(&agent, &flux, "after");
    flux.assert_sound();
}
