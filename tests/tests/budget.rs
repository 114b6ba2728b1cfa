//! A small month with the real binary: it sends what the budget has and no more, says why and until when, and a power
//! cut forgets nothing of it.

use std::time::Duration;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait::{self, BOUND};

fn setup(flux: &Flux, events: u64) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.set("limits", "events_per_month", &events.to_string());
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    setup.synchronise();
    setup
}

/// Publishes one record, which is on flash when this returns.
#[track_caller]
fn publish(agent: &Agent, kind: &str, payload: &str) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "device"));
    client.publish_acknowledged(&format!("devices/d/{kind}"), payload.as_bytes(), 1);
}

fn status(agent: &Agent) -> Value {
    let output = agent.command(&["status", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn events(agent: &Agent) -> Value {
    let status = status(agent);
    let budgets = status["budgets"]["budgets"].as_array().expect("budgets");
    budgets.iter().find(|budget| budget["kind"] == "events_per_month").expect("events").clone()
}

/// Publishes records one at a time, each of which is a request of its own.
fn send(agent: &Agent, flux: &Flux, kind: &str, count: usize) {
    for _ in 0..count {
        let requests = flux.requests();
        publish(agent, kind, "1");
        flux.wait_for_requests(requests + 1);
        wait::until("it is counted", BOUND, || status(agent)["counts"]["waiting"] == 0);
    }
}

fn wait_until_held(agent: &Agent, lane: &str, reason: &str) -> Value {
    let mut held = Value::Null;
    wait::until(reason, BOUND, || {
        let all = status(agent)["budgets"]["held"].clone();
        held = all.as_array().and_then(|all| all.iter().find(|held| held["lane"] == lane)).cloned().unwrap_or_default();
        held["reason"].as_str().is_some_and(|found| found.contains(reason))
    });
    held
}

#[test]
fn of_five_events_five_requests_are_made_the_last_by_an_alarm_and_then_status_says_why_and_until_when() {
    let flux = Flux::start();
    let mut agent = setup(&flux, 5).start();
    send(&agent, &flux, "telemetry", 2);
    agent.kill();
    agent.start();
    assert_eq!(events(&agent)["used"], 2, "a power cut forgets none that was answered");
    send(&agent, &flux, "telemetry", 2);
    publish(&agent, "telemetry", "waits");
    let held = wait_until_held(&agent, "normal", "kept for lanes that go first");
    assert_eq!(held["limit"], "events_per_month");
    assert!(held["until_ms"].as_u64().expect("known") > status(&agent)["now_ms"].as_u64().expect("now"), "{held}");

    // The reserve is for alarms, and there at once.
    publish(&agent, "alarm", "fire");
    flux.wait_for_requests(5);
    wait::until("it is delivered", BOUND, || !flux.payloads_of("d").iter().all(|payload| !payload.contains("fire")));
    publish(&agent, "alarm", "again");
    let held = wait_until_held(&agent, "critical", "the budget is used up");
    let used = events(&agent);
    assert_eq!((&used["used"], &used["left"], &used["amount"]), (&5.into(), &0.into(), &5.into()));
    assert!(
        used["ends_ms"].as_u64().expect("the month ends").abs_diff(held["until_ms"].as_u64().expect("known")) < 60_000
    );

    agent.kill();
    agent.start();
    wait_until_held(&agent, "critical", "the budget is used up");
    let text = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    for words in ["events_per_month  5 of 5 used, 0 left", "lane critical: the budget is used up", "2 records wait"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(flux.requests(), 5);
    // More was bought: what waits leaves.
    agent.setup.set("limits", "events_per_month", "100");
    let _ = agent.setup.write();
    agent.reload();
    flux.wait_for(7, BOUND);
    flux.assert_sound();
}

#[test]
fn requests_under_way_when_the_power_fails_count() {
    let flux = Flux::start();
    flux.answer_all(Answer::status(200).after(Duration::from_secs(3600)));
    let mut agent = setup(&flux, 5).start();
    publish(&agent, "telemetry", "1");
    // It may have been counted by Flux, which does not answer: it is noted, in the third commit after the record's own and
    // the announcement, before it is known.
    wait::until("it is under way", BOUND, || events(&agent)["used"] == 1);
    wait::until("it is noted", BOUND, || status(&agent)["store"]["commits"].as_u64() > Some(2));
    agent.kill();
    flux.answer_all(Answer::status(200));
    agent.start();
    flux.wait_for(1, BOUND);
    wait::until("both are counted", BOUND, || events(&agent)["used"] == 2);
}

#[test]
fn after_the_first_requests_a_batch_waits_until_the_month_has_an_event_for_it() {
    let flux = Flux::start();
    let agent = setup(&flux, 1_000).start();
    send(&agent, &flux, "telemetry", 10);
    for number in 0..20 {
        publish(&agent, "telemetry", &number.to_string());
    }
    let held = wait_until_held(&agent, "normal", "spread over what remains of the month");
    let (now, until) = (status(&agent)["now_ms"].as_u64(), held["until_ms"].as_u64());
    assert!(until > now, "{held}");
    publish(&agent, "alarm", "fire");
    flux.wait_for_requests(11);
    let drain = status(&agent)["budgets"]["drain"].clone();
    assert_eq!((&drain["records"], &drain["events"]), (&20.into(), &1.into()), "{drain}");
    assert!(drain["bytes"].as_u64() > Some(2_000) && drain["time_ms"].as_u64() > Some(0), "{drain}");
    assert_eq!(flux.requests(), 11);
}

#[test]
fn bulk_waits_for_its_window_and_other_lanes_do_not() {
    let flux = Flux::start();
    let mut setup = setup(&flux, 1_000);
    setup.rule("topic = \"devices/{device}/bulk\"\nlane = \"bulk\"");
    // Half an hour that is twelve hours away, whatever the zone is: a window opens in local time.
    let local = String::from_utf8(std::process::Command::new("date").arg("+%H").output().expect("date").stdout);
    let hour: u32 = local.expect("digits").trim().parse().expect("an hour");
    let away = (hour + 12) % 24;
    setup.set("limits", "windows", &format!("[\"{away:02}:00-{away:02}:30\"]"));
    let agent = setup.start();
    publish(&agent, "bulk", "1");
    let held = wait_until_held(&agent, "bulk", "windows are closed");
    let wait = held["until_ms"].as_u64().expect("known") - status(&agent)["now_ms"].as_u64().expect("now");
    assert!((10 * 3_600_000..=12 * 3_600_000).contains(&wait), "{wait}");
    send_past(&agent, &flux);
    assert_eq!(flux.requests(), 1);
}

/// Another lane's record leaves though one of bulk waits.
fn send_past(agent: &Agent, flux: &Flux) {
    publish(agent, "telemetry", "2");
    flux.wait_for_requests(1);
    wait::until("bulk alone waits", BOUND, || status(agent)["counts"]["waiting"] == 1);
}

#[test]
fn a_quota_answer_rests_over_restarts_until_a_reload_asks_and_is_accepted() {
    let flux = Flux::start();
    flux.answer_all(Answer::status(402));
    let mut setup = setup(&flux, 10_000);
    setup.set("forward.backoff", "probe_min", "\"1s\"").set("forward.backoff", "probe_max", "\"2s\"");
    let mut agent = setup.start();
    publish(&agent, "telemetry", "1");
    wait::until("it is told", BOUND, || events(&agent)["told"] == true);
    assert_eq!(events(&agent)["used"].as_u64().filter(|used| *used > 1), None, "what is turned away is not counted");
    let text = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(text.contains("! the provider says that the quota is used up"), "{text}");
    wait::until("the stance is quota", BOUND, || status(&agent)["stance"]["stance"] == "quota");
    let ground = status(&agent)["stance"]["grounds"][0].clone();
    let month = status(&agent)["now_ms"].as_u64().map(|now| now + 31 * 86_400_000);
    assert!(ground["until_ms"].as_u64().is_some() && ground["until_ms"].as_u64() <= month, "{ground}");
    flux.answer_all(Answer::status(200));
    wait::until("it is noted", BOUND, || status(&agent)["store"]["commits"].as_u64() > Some(2));
    agent.kill();
    agent.start();
    publish(&agent, "alarm", "fire");
    wait::until("the stance is quota", BOUND, || status(&agent)["stance"]["stance"] == "quota");
    wait::never("something is sent", Duration::from_secs(3), || flux.requests() > 1);
    agent.reload();
    flux.wait_for(2, BOUND);
    wait::until("it is open again", BOUND, || events(&agent)["told"] == false);
}

#[test]
fn in_a_minute_leave_no_more_events_than_are_permitted_and_alarms_have_their_part() {
    let flux = Flux::start();
    let mut setup = setup(&flux, 10_000);
    setup.set("limits", "events_per_minute", "4");
    let agent = setup.start();
    send(&agent, &flux, "telemetry", 3);
    publish(&agent, "telemetry", "waits");
    let held = wait_until_held(&agent, "normal", "kept for lanes that go first");
    assert_eq!(held["limit"], "events_per_minute");
    send_alarm(&agent, &flux, 4);
    publish(&agent, "alarm", "waits, too");
    wait_until_held(&agent, "critical", "used up");
    assert_eq!(flux.requests(), 4);
}

fn send_alarm(agent: &Agent, flux: &Flux, requests: usize) {
    publish(agent, "alarm", "fire");
    flux.wait_for_requests(requests);
}

#[test]
fn where_each_record_counts_a_request_carries_no_more_than_are_left() {
    let flux = Flux::start();
    let mut setup = setup(&flux, 8);
    setup.set("limits", "events_count", "\"records\"");
    let agent = setup.start();
    flux.stop();
    for number in 0..12 {
        publish(&agent, "telemetry", &number.to_string());
    }
    flux.resume();
    // One of the eight is kept for alarms.
    flux.wait_for(7, BOUND);
    wait_until_held(&agent, "normal", "kept for lanes that go first");
    assert_eq!((events(&agent)["used"].as_u64(), flux.delivered()), (Some(7), 7));
}

#[test]
fn a_day_of_bytes_ends_sending_before_it_is_exceeded() {
    let flux = Flux::start();
    let mut setup = setup(&flux, 10_000);
    setup.set("limits", "bytes_per_day", "\"100 kB\"").set("limits", "events_per_month", "\"unlimited\"");
    let agent = setup.start();
    let payload = format!("\"{}\"", "x".repeat(6_000));
    for _ in 0..20 {
        publish(&agent, "telemetry", &payload);
    }
    let held = wait_until_held(&agent, "normal", "the budget is used up");
    assert_eq!(held["limit"], "bytes_per_day");
    let all = status(&agent)["budgets"]["budgets"].clone();
    let day =
        all.as_array().and_then(|all| all.iter().find(|one| one["kind"] == "bytes_per_day")).expect("a day").clone();
    let used = day["used"].as_u64().expect("a number");
    assert!((60_000..=95_000).contains(&used), "{day}");
}

fn budget(agent: &Agent, kind: &str) -> Value {
    let all = status(agent)["budgets"]["budgets"].clone();
    all.as_array().and_then(|all| all.iter().find(|one| one["kind"] == kind)).expect("it is limited").clone()
}

/// Bytes that the door has counted.
fn on_the_wire(agent: &Agent) -> u64 {
    let line = status(agent)["line"].clone();
    line["sent"].as_u64().expect("a number") + line["received"].as_u64().expect("a number")
}

#[test]
fn an_hour_of_bytes_is_not_exceeded_and_a_power_cut_forgets_little_of_it() {
    let flux = Flux::start();
    let mut setup = setup(&flux, 10_000);
    let amount = 300_000;
    setup.set("limits", "bytes_per_hour", "\"300 kB\"").set("limits", "events_per_month", "\"unlimited\"");
    let mut agent = setup.start();
    let payload = format!("\"{}\"", "x".repeat(20_000));
    for _ in 0..20 {
        publish(&agent, "telemetry", &payload);
    }
    // Used up for it, or what is left is for others: that depends on what the last requests had on the wire.
    let held = wait_until_held(&agent, "normal", "");
    assert_eq!(held["limit"], "bytes_per_hour");
    let (now, until) = (status(&agent)["now_ms"].as_u64(), held["until_ms"].as_u64());
    assert!(until > now && until <= now.map(|now| now + 61 * 60_000), "{held}");
    let used = budget(&agent, "bytes_per_hour")["used"].as_u64().expect("a number");
    assert!((200_000..=amount * 9 / 10).contains(&used), "{used}");
    assert!(on_the_wire(&agent) <= used, "all that passed is counted");
    // Part of the hour is for alarms, and no more than that.
    for _ in 0..10 {
        publish(&agent, "alarm", &payload);
    }
    wait_until_held(&agent, "critical", "used up");
    let used = budget(&agent, "bytes_per_hour")["used"].as_u64().expect("a number");
    assert!(used <= amount && on_the_wire(&agent) <= amount, "{used}");
    agent.kill();
    agent.start();
    let after = budget(&agent, "bytes_per_hour")["used"].as_u64().expect("a number");
    assert!(after + amount / 100 >= used, "{used} before, {after} after");
    let requests = flux.requests();
    wait_until_held(&agent, "normal", "used up");
    assert_eq!(flux.requests(), requests);
}

#[test]
fn what_draining_costs_is_about_what_was_said_before() {
    for (payload, count, events_count) in [(40, 600, "requests"), (2_000, 120, "requests"), (300, 50, "records")] {
        let flux = Flux::start();
        let mut setup = setup(&flux, 10_000);
        setup.set("limits", "bytes_per_month", "\"50 MB\"").set(
            "limits",
            "events_count",
            &format!("\"{events_count}\""),
        );
        let agent = setup.start();
        let payload = format!("\"{}\"", "x".repeat(payload));
        // So that the size of an event is known.
        send(&agent, &flux, "alarm", 1);
        flux.stop();
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "device"));
        for id in 1..=count {
            client.publish_acknowledged("devices/d/alarm", payload.as_bytes(), id);
        }
        let before = (on_the_wire(&agent), events(&agent)["used"].as_u64().expect("a number"));
        let said = status(&agent)["budgets"]["drain"].clone();
        assert_eq!(said["records"], count, "{said}");
        flux.resume();
        flux.wait_for(usize::from(count) + 1, BOUND);
        wait::until("all is counted", BOUND, || status(&agent)["counts"]["waiting"] == 0);
        let cost = on_the_wire(&agent) - before.0;
        let used = events(&agent)["used"].as_u64().expect("a number") - before.1;
        let number = |key: &str| said[key].as_u64().expect("a number");
        println!("{events_count}: {cost} bytes and {used} events of {said}");
        assert!(number("bytes") >= cost * 2 / 3 && number("bytes") <= cost * 3 / 2, "{cost} bytes, and {said}");
        assert!(number("events").abs_diff(used) <= 2 + used / 4, "{used} events, and {said}");
    }
}
