//! Each stance, on the real binary: what is sent under it and what is not, what `status` and `notices` say, that a
//! `kill -9` changes nothing of it, and what ends it.

use std::time::{Duration, Instant};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::metadata::{Metadata, Says};
use tidegate_tests::office::Office;
use tidegate_tests::stance::{
    self, apply, delivered, ground, has_notice, has_outage, notices, outages, publish, publish_apart, sends_nothing,
    stance, survives_a_kill, until_stance,
};
use tidegate_tests::wait::{self, BOUND};

/// An agent that believes this office, with a lane for alarms that goes first.
fn setup(flux: &Flux, office: &Office) -> Setup {
    let mut setup = stance::setup(flux, office);
    setup.without_lanes_and_rules();
    setup.lane("name = \"critical\"\nfirst = true").lane("name = \"normal\"");
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    setup.rule("topic = \"devices/{device}/telemetry\"\nlane = \"normal\"");
    setup
}

#[test]
fn a_hold_of_the_operator_stops_sending_until_resume_and_survives_a_kill() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    let output = agent.command(&["hold", "--for", "2h", "--why", "the mast is being painted"]);
    assert!(output.status.success(), "{output:?}");
    until_stance(&agent, "held");
    let why = ground(&agent);
    assert!(why["cause"].as_str().is_some_and(|cause| cause.contains("the mast is being painted")), "{why}");
    assert!(why["until_ms"].as_u64().is_some_and(|until| until > agent.number("/now_ms") + 7_100_000), "{why}");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "held");
    has_notice(&agent, "the mast is being painted");
    assert!(agent.command(&["resume"]).status.success());
    until_stance(&agent, "open");
    delivered(&agent, &flux, 3);
    flux.assert_sound();
    assert!(outages(&agent).is_empty(), "who does not send has no outage");
}

#[test]
fn an_announced_maintenance_is_told_ahead_stops_at_its_start_and_ends_at_a_moment_of_its_own() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    let window =
        "id = \"m-1\"\nkind = \"maintenance\"\nwhy = \"the database moves\"\nfrom = \"+4s\"\nuntil = \"+14s\"\n";
    apply(&agent, &office, "m-1", window);
    assert_eq!(stance(&agent), "open");
    assert_eq!(agent.status()["stance"]["ahead"][0]["stance"], "maintenance");
    publish(&agent, "telemetry", "before");
    delivered(&agent, &flux, 2);
    until_stance(&agent, "maintenance");
    assert_eq!(ground(&agent)["clause"], "5.2(1)");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "maintenance");
    has_notice(&agent, "m-1");
    has_outage(&agent, "announced");
    let requests = flux.requests();
    until_stance(&agent, "open");
    delivered(&agent, &flux, 4);
    assert!(flux.requests() > requests);
    flux.assert_sound();
}

#[test]
fn a_maintenance_that_ends_early_ends_with_the_providers_word() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    apply(&agent, &office, "m-1", "id = \"m-1\"\nkind = \"maintenance\"\nuntil = \"+2h\"\n");
    until_stance(&agent, "maintenance");
    sends_nothing(&agent, &flux);
    apply(&agent, &office, "m-2", "id = \"m-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    delivered(&agent, &flux, 1);
    until_stance(&agent, "open");
}

#[test]
fn under_yield_only_what_goes_first_leaves() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    apply(&agent, &office, "e", "id = \"e-1\"\nkind = \"emergency\"\nwhy = \"an earthquake\"\n");
    until_stance(&agent, "yield");
    assert_eq!(ground(&agent)["clause"], "5.1(1)");
    sends_nothing(&agent, &flux);
    publish(&agent, "alarm", "fire");
    delivered(&agent, &flux, 1);
    survives_a_kill(&mut agent, &flux, "yield");
    publish(&agent, "alarm", "smoke");
    delivered(&agent, &flux, 2);
    has_notice(&agent, "an earthquake");
    assert!(outages(&agent).is_empty(), "it can be used");
    apply(&agent, &office, "over", "id = \"e-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    delivered(&agent, &flux, 4);
    flux.assert_sound();
}

#[test]
fn a_restriction_is_a_limit_that_says_where_it_comes_from() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    let toml = "id = \"r-1\"\nkind = \"restriction\"\nuntil = \"+1h\"\n[limits]\nrate = \"64 kbit/s\"\n";
    apply(&agent, &office, "r", toml);
    until_stance(&agent, "restricted");
    let says = |agent: &Agent| {
        let terms = agent.command(&["terms"]);
        String::from_utf8_lossy(&terms.stdout).into_owned()
    };
    assert!(says(&agent).contains("64 kbit/s") && says(&agent).contains("r-1"), "{}", says(&agent));
    assert_eq!(agent.number("/line/rate"), 8_000);
    agent.kill();
    agent.start();
    until_stance(&agent, "restricted");
    wait::until("the limit binds again", BOUND, || agent.number("/line/rate") == 8_000);
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
}

#[test]
fn limits_that_a_notice_tells_a_running_gateway_bind_at_once_and_go_with_it() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    for (round, limit) in
        ["events_per_minute = 2", "events_per_day = 3", "bytes_per_hour = \"60 kB\""].into_iter().enumerate()
    {
        let kind = limit.split_once(' ').map(|(kind, _)| kind);
        let binds = || {
            let status = agent.status();
            let budgets = status["budgets"]["budgets"].as_array().cloned().unwrap_or_default();
            budgets.iter().any(|budget| budget["kind"].as_str() == kind)
        };
        apply(
            &agent,
            &office,
            &format!("r{round}"),
            &format!("id = \"r-{round}\"\nkind = \"restriction\"\n[limits]\n{limit}\n"),
        );
        wait::until(&format!("{limit} binds"), BOUND, binds);
        let before = flux.requests();
        // Too much for an hour of 60 kB.
        publish_apart(&agent, (0..8).map(|number| format!("\"{number} {}\"", "x".repeat(12_000))));
        let sent = flux.requests() - before;
        assert!(sent <= 4 && agent.waiting() > 0, "{limit}: {sent} requests");
        apply(
            &agent,
            &office,
            &format!("w{round}"),
            &format!("id = \"r-{round}\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n"),
        );
        delivered(&agent, &flux, 1 + 8 * (round + 1));
        assert!(!binds(), "{limit} is over");
    }
    flux.assert_sound();
}

#[test]
fn while_it_starts_status_never_says_that_it_is_open_where_it_is_not() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    apply(&agent, &office, "s", "id = \"s-1\"\nkind = \"suspension\"\ncause = \"unpaid\"\n");
    until_stance(&agent, "suspended");
    for _ in 0..5 {
        agent.kill();
        agent.spawn();
        let words = stance::words_until(&agent, "suspended");
        assert!(words.iter().all(|word| word == "starting" || word == "suspended"), "{words:?}");
    }
}

#[test]
fn changed_terms_hold_until_a_person_accepts_them_if_so_configured() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    setup.set("terms", "on_change", "\"hold\"");
    let mut agent = setup.start();
    let toml = "id = \"t-1\"\nkind = \"terms_changed\"\nversion = \"2027-01\"\neffective = \"now\"\n";
    apply(&agent, &office, "t", toml);
    until_stance(&agent, "held");
    assert_eq!(ground(&agent)["clause"], "1.2");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "held");
    let (before, output) = (notices(&agent), agent.command(&["terms", "accept", "2027-1"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("to be accepted is 2027-01"), "{output:?}");
    assert_eq!((stance(&agent).as_str(), notices(&agent)), ("held", before), "nothing is changed");
    // The operator's own hold is another ground: resume does not accept terms.
    assert!(agent.command(&["resume"]).status.success());
    assert_eq!(stance(&agent), "held");
    assert!(agent.command(&["terms", "accept", "2027-01"]).status.success());
    until_stance(&agent, "open");
    delivered(&agent, &flux, 2);
    has_notice(&agent, "2027-01");
}

#[test]
fn changed_terms_are_only_logged_unless_configured_otherwise() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    let toml = "id = \"t-1\"\nkind = \"terms_changed\"\nversion = \"2027-01\"\neffective = \"now\"\n";
    apply(&agent, &office, "t", toml);
    has_notice(&agent, "2027-01");
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    assert_eq!(stance(&agent), "open");
}

#[test]
fn a_suspension_in_answers_stops_all_but_a_rare_probe_of_one_record_and_ends_with_one_that_is_accepted() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::status(403));
    publish(&agent, "telemetry", "oldest");
    until_stance(&agent, "suspended");
    let why = ground(&agent);
    assert!(why["clause"] == "5.1(3)" && !why["advice"].as_str().unwrap_or_default().is_empty(), "{why}");
    for number in 0..20 {
        publish(&agent, "telemetry", &number.to_string());
    }
    publish(&agent, "alarm", "an alarm waits, too");
    let before = flux.requests();
    wait::until("two probes", BOUND, || flux.requests() >= before + 2);
    agent.kill();
    agent.start();
    until_stance(&agent, "suspended");
    let again = flux.requests();
    wait::until("a probe after the restart", BOUND, || flux.requests() > again);
    flux.look(|log| {
        for request in &log.requests[before..] {
            assert_eq!(request.events.len(), 1, "a probe is one record");
            assert_eq!(request.events[0].payload.get(), "\"oldest\"", "the oldest");
        }
    });
    has_notice(&agent, "suspended");
    has_outage(&agent, "announced");
    flux.answer_all(Answer::Accept);
    until_stance(&agent, "open");
    delivered(&agent, &flux, 23);
    flux.assert_sound();
}

#[test]
fn a_refusal_before_anything_was_ever_accepted_is_a_misconfiguration_and_no_stance() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    flux.answer_all(Answer::status(403));
    let agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    agent.wait_for_verdict("misconfigured");
    assert_eq!(stance(&agent), "open");
}

#[test]
fn a_suspension_by_notice_ends_with_the_notice() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    setup.set("provider.probe", "min", "\"1h\"").set("provider.probe", "max", "\"1h\"");
    let mut agent = setup.start();
    apply(&agent, &office, "s", "id = \"s-1\"\nkind = \"suspension\"\ncause = \"unpaid\"\n");
    until_stance(&agent, "suspended");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "suspended");
    apply(&agent, &office, "over", "id = \"s-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    delivered(&agent, &flux, 2);
    until_stance(&agent, "open");
}

#[test]
fn a_spent_quota_stops_until_its_end() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    setup.set("provider.probe", "min", "\"1h\"").set("provider.probe", "max", "\"1h\"");
    let mut agent = setup.start();
    apply(&agent, &office, "q", "id = \"q-1\"\nkind = \"quota\"\nuntil = \"+10s\"\n");
    until_stance(&agent, "quota");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "quota");
    has_notice(&agent, "q-1");
    has_outage(&agent, "announced");
    delivered(&agent, &flux, 2);
    until_stance(&agent, "open");
}

#[test]
fn after_the_end_nothing_is_sent_any_more_not_even_a_probe_and_the_buffer_can_be_exported() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    apply(&agent, &office, "end", "id = \"end\"\nkind = \"end\"\nat = \"+2s\"\n");
    until_stance(&agent, "ended");
    let why = ground(&agent);
    assert!(why["advice"].as_str().is_some_and(|advice| advice.contains("tidegate buffer export")), "{why}");
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "ended");
    has_notice(&agent, "\"end\"");
    has_outage(&agent, "announced");
    agent.reload();
    sends_nothing(&agent, &flux);
    wait::never("a probe is sent", Duration::from_secs(5), || flux.requests() > 1);
    let export = agent.command(&["buffer", "export", "--format", "ndjson"]);
    assert!(String::from_utf8_lossy(&export.stdout).lines().count() >= 3, "{export:?}");
}

#[test]
fn the_sims_own_status_suspends_and_lifts() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let service = Metadata::start(Says::line("s1.fast", "suspended"));
    let mut setup = setup(&flux, &office);
    setup.set("provider.probe", "min", "\"1h\"").set("provider.probe", "max", "\"1h\"");
    setup.metadata(&service);
    let agent = setup.start();
    until_stance(&agent, "suspended");
    let why = ground(&agent);
    assert!(why["advice"].as_str().is_some_and(|advice| advice.contains("modem")), "{why}");
    sends_nothing(&agent, &flux);
    service.say(Says::class("s1.fast"));
    agent.reload();
    delivered(&agent, &flux, 1);
    until_stance(&agent, "open");
}

#[test]
fn an_unannounced_maintenance_in_answers_waits_and_then_asks_with_one_event() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_next([Answer::status(503).with_header("Retry-After", "600")]);
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "maintenance");
    sends_nothing(&agent, &flux);
    // An operator who knows better.
    agent.reload();
    delivered(&agent, &flux, 3);
    until_stance(&agent, "open");
    flux.look(|log| assert!(log.requests.iter().any(|request| request.events.len() == 1)));
    flux.assert_sound();
}

#[test]
fn a_503_that_goes_on_is_an_interruption_that_is_probed_with_one_event() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::status(503));
    for number in 0..20 {
        publish(&agent, "telemetry", &number.to_string());
    }
    // Three failures over half a minute.
    wait::until("the stance is maintenance", Duration::from_secs(90), || stance(&agent) == "maintenance");
    assert_eq!(ground(&agent)["source"], "answer of Flux");
    let before = flux.requests();
    sends_nothing(&agent, &flux);
    flux.answer_all(Answer::Accept);
    agent.reload();
    delivered(&agent, &flux, 22);
    until_stance(&agent, "open");
    flux.look(|log| assert_eq!(log.requests[before].events.len(), 1, "a probe is one record"));
    flux.assert_sound();
}

#[test]
fn a_record_that_waits_for_its_window_keeps_no_suspended_gateway_shut() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    setup.lane("name = \"bulk\"").rule("topic = \"devices/{device}/bulk\"\nlane = \"bulk\"");
    // The clock is not known to be right, so its windows are never open.
    setup.set("limits", "windows", "[\"03:00-03:01\"]");
    let agent = setup.start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    publish(&agent, "bulk", "1");
    flux.answer_next([Answer::status(403)]);
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "suspended");
    wait::until("a probe is to come", BOUND, || agent.status()["stance"]["probe_in_ms"].is_u64());
    agent.reload();
    delivered(&agent, &flux, 2);
    until_stance(&agent, "open");
    publish(&agent, "alarm", "fire");
    delivered(&agent, &flux, 3);
    assert_eq!(agent.waiting(), 1, "what waits for its window still does");
    flux.assert_sound();
}

#[test]
fn a_used_up_quota_is_asked_again_when_status_says_and_not_before_the_time_that_it_names() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = setup(&flux, &office).start();
    let probe_in = |agent: &Agent| agent.status()["stance"]["probe_in_ms"].as_u64();
    let day = 86_400_000;
    // Without a time: a day, whatever the rare probes' pace is.
    flux.answer_next([Answer::status(402)]);
    publish(&agent, "telemetry", "1");
    until_stance(&agent, "quota");
    assert!(probe_in(&agent).is_none_or(|wait| (day - 60_000..=day).contains(&wait)), "{:?}", probe_in(&agent));
    sends_nothing(&agent, &flux);
    // The operator bought more, but not enough: now the answer names a time.
    flux.answer_next([Answer::status(402).with_header("Retry-After", "8")]);
    let asked = Instant::now();
    agent.reload();
    flux.wait_for_requests(2);
    wait::until("its end is the one that was named", BOUND, || {
        ground(&agent)["until_ms"].as_u64().is_some_and(|until| until < agent.number("/now_ms") + 9_000)
    });
    assert_eq!(probe_in(&agent), None, "with its end telemetry goes on");
    agent.kill();
    agent.start();
    delivered(&agent, &flux, 2);
    assert!(asked.elapsed() >= Duration::from_secs(8), "{:?}", asked.elapsed());
    until_stance(&agent, "open");
    flux.assert_sound();
}

#[test]
fn several_stances_hold_at_once_and_when_one_lifts_the_others_remain() {
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    apply(&agent, &office, "m", "id = \"m-1\"\nkind = \"maintenance\"\nuntil = \"+1h\"\n");
    apply(&agent, &office, "e", "id = \"e-1\"\nkind = \"emergency\"\n");
    assert!(agent.command(&["hold", "--why", "painting"]).status.success());
    until_stance(&agent, "held");
    assert_eq!(agent.status()["stance"]["grounds"].as_array().map(Vec::len), Some(3));
    assert!(agent.command(&["resume"]).status.success());
    until_stance(&agent, "maintenance");
    sends_nothing(&agent, &flux);
    apply(&agent, &office, "m2", "id = \"m-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    wait::until("yield remains", BOUND, || stance(&agent) == "yield");
    publish(&agent, "alarm", "fire");
    delivered(&agent, &flux, 1);
    apply(&agent, &office, "e2", "id = \"e-1\"\nkind = \"withdrawn\"\nissued = \"+1s\"\n");
    delivered(&agent, &flux, 2);
    until_stance(&agent, "open");
}
