//! The ledger of the time in which Flux could not be used: as the real binary writes it through refusals, errors, silence,
//! kills and restarts, and as `tidegate outages` shows it.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate::clock::{self, Stamp};
use tidegate::outage::{Class, Desk, Evidence, Fact, SILENCE_MS, Stage};
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait::{self, BOUND};

fn ledger(agent: &Agent) -> PathBuf {
    agent.setup.folder().join("store/outages/ledger")
}

#[track_caller]
fn outages(agent: &Agent, arguments: &[&str]) -> Value {
    let output = agent.command(&[&["outages", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The intervals in the file.
#[track_caller]
fn intervals(agent: &Agent) -> Vec<Value> {
    outages(agent, &[])["intervals"].as_array().expect("intervals").clone()
}

/// Waits until the file has so many intervals and the last is over or not.
#[track_caller]
fn wait_for(agent: &Agent, count: usize, open: bool) -> Value {
    let found = || {
        let found = intervals(agent);
        found.last().filter(|last| found.len() == count && last["open"] == open).cloned()
    };
    let stands = || format!("but {:#?}\n{}", intervals(agent), agent.log());
    wait::for_value_or_tell(&format!("{count} intervals, the last open: {open}"), BOUND, found, stands)
}

/// Publishes a record, which then waits or is delivered.
#[track_caller]
fn publish(agent: &Agent, payload: &str) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "pump"));
    client.publish_acknowledged("devices/pump/telemetry", payload.as_bytes(), 1);
}

fn ms(interval: &Value, key: &str) -> u64 {
    interval[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {interval:#}"))
}

#[test]
fn errors_of_flux_are_an_interval_of_the_provider_from_the_first_failure_to_the_first_success() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    setup.synchronise();
    let agent = setup.start();
    publish(&agent, "1");
    flux.wait_for(1, BOUND);
    flux.answer_all(Answer::status(503));
    publish(&agent, "2");
    let open = wait_for(&agent, 1, true);
    assert_eq!((open["class"].as_str(), open["clock"].as_str()), (Some("provider"), Some("right")), "{open:#}");
    let first = &open["evidence"][0];
    assert_eq!((first["stage"].as_str(), first["status"].as_u64()), (Some("http"), Some(503)), "{open:#}");
    assert!(open["last_success"]["ms"].as_u64() < open["from"]["ms"].as_u64(), "{open:#}");
    let status = agent.status();
    assert_eq!(status["outage"]["class"], "provider", "{:#}", status["outage"]);
    assert_eq!(status["outage"]["since_ms"], open["from"]["ms"]);
    let requests = flux.requests();
    flux.wait_for_requests(requests + 3);
    flux.answer_all(Answer::status(200));
    flux.wait_for(2, BOUND);
    let over = wait_for(&agent, 1, false);
    assert_eq!(over["from"], open["from"]);
    assert_eq!(over["ended"][1], "delivered");
    let length = ms(&over["until"], "ms") - ms(&over["from"], "ms");
    assert!(ms(&over, "proved_ms").abs_diff(length) < 100, "{over:#}");
    assert!(ms(&over, "attempts") >= 4 && over["claims"].as_array().is_some_and(Vec::is_empty), "{over:#}");
    assert_eq!(over["by_class"]["provider_ms"], over["proved_ms"]);
    let text = String::from_utf8(agent.command(&["outages"]).stdout).expect("text");
    for part in ["#1 ", "JST", "provider", "http 503", "cannot prove", "when the provider knew"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let csv = String::from_utf8(agent.command(&["outages", "--csv"]).stdout).expect("text");
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert!(csv.lines().nth(1).is_some_and(|line| line.ends_with(",true")), "{csv}");
    assert!(
        csv.lines().nth(1).is_some_and(|line| line.starts_with("1,") && line.contains(",right,provider,")),
        "{csv}"
    );
    let month = over["from"]["jst"].as_str().expect("a date")[..7].to_owned();
    assert_eq!(outages(&agent, &["--month", &month])["intervals"].as_array().map(Vec::len), Some(1));
    assert_eq!(outages(&agent, &["--month", "2020-02"])["intervals"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_refused_connection_is_of_the_providers_side_and_a_429_is_no_outage() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    publish(&agent, "1");
    flux.wait_for(1, BOUND);
    flux.stop();
    publish(&agent, "2");
    let refused = wait_for(&agent, 1, true);
    assert_eq!((refused["class"].as_str(), refused["evidence"][0]["stage"].as_str()), (Some("provider"), Some("tcp")));
    assert!(refused["evidence"][0]["status"].is_null(), "{refused:#}");
    assert_eq!(refused["clock"], "unknown", "nobody said that the clock is right");
    flux.resume();
    flux.wait_for(2, BOUND);
    wait_for(&agent, 1, false);
    // Last: what follows from it holds for minutes.
    flux.answer_next([Answer::status(429).with_header("retry-after", "1")]);
    publish(&agent, "3");
    agent.wait_for_verdict("throttled");
    let told = || agent.status()["stance"]["stance"] == "restricted";
    wait::until("it is taken in", BOUND, told);
    assert_eq!(intervals(&agent).len(), 1);
    assert!(agent.status()["outage"]["since_ms"].is_null());
}

/// A port on which nobody takes connections, and nobody refuses them: the queue of those that wait is full.
fn black_hole() -> (SocketAddr, Vec<OwnedFd>) {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket_with};
    let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    let listener = socket(rustix::net::SocketFlags::empty());
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    listen(&listener, 0).expect("a listener");
    let address = SocketAddr::try_from(getsockname(&listener).expect("its address")).expect("an IP address");
    let mut held = vec![listener];
    for _ in 0..4 {
        let waiting = socket(rustix::net::SocketFlags::NONBLOCK);
        let _ = connect(&waiting, &address); // in progress, for ever
        held.push(waiting);
    }
    (address, held)
}

#[test]
fn packets_that_get_no_answer_are_a_failure_to_connect_that_is_nobodys() {
    let (address, _held) = black_hole();
    let mut setup = Setup::bare();
    setup.set("forward.flux", "kind", "\"webhook\"").set("forward.flux", "connect_timeout", "\"1s\"");
    setup.set("forward.flux", "url", &format!("\"http://{address}/hook\""));
    let agent = setup.start();
    publish(&agent, "1");
    let silent = wait_for(&agent, 1, true);
    let first = &silent["evidence"][0];
    assert_eq!((first["stage"].as_str(), first["class"].as_str()), (Some("tcp"), Some("unknown")), "{silent:#}");
    assert!(first["status"].is_null() && silent["last_success"].is_null(), "{silent:#}");
}

#[test]
fn an_endpoint_that_says_nothing_is_of_class_unknown() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux", "timeout", "\"1s\"");
    let agent = setup.start();
    flux.answer_all(Answer::status(200).after(Duration::from_secs(600)));
    publish(&agent, "1");
    let silent = wait_for(&agent, 1, true);
    assert_eq!(silent["class"], "unknown", "{silent:#}");
    flux.answer_all(Answer::status(200));
    flux.wait_for(1, BOUND);
    wait_for(&agent, 1, false);
}

#[test]
fn a_kill_breaks_no_interval_and_the_time_it_was_off_is_not_claimed() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    setup.synchronise();
    let mut agent = setup.start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "1");
    let before = wait_for(&agent, 1, true);
    agent.kill();
    // What is looked at while nothing runs is the same file.
    assert_eq!(intervals(&agent).len(), 1);
    // Time itself is what is measured: that it was off for so long is what the ledger has to say.
    let off = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    agent.start();
    let off = off.elapsed();
    let requests = flux.requests();
    flux.wait_for_requests(requests + 2);
    flux.answer_all(Answer::status(200));
    flux.wait_for(1, BOUND);
    let over = wait_for(&agent, 1, false);
    assert_eq!(over["from"], before["from"], "one interval");
    let hole = &over["not_counted"][0];
    assert_eq!(hole["why"], "down", "{over:#}");
    assert!(hole["ms"].as_u64().is_some_and(|hole| hole >= 2_000), "{over:#}");
    let length = ms(&over["until"], "ms") - ms(&over["from"], "ms");
    assert!(ms(&over, "proved_ms") + 2_000 <= length, "off for {off:?}: {over:#}");
    assert!(ms(&over, "proved_ms") > 0, "{over:#}");
    // An orderly stop breaks none, either, and says until when it was seen.
    flux.answer_all(Answer::status(503));
    publish(&agent, "2");
    wait::until("the interval is in the figures", BOUND, || agent.status()["outage"]["since_ms"].is_u64());
    agent.terminate();
    let stopped = wait_for(&agent, 2, true);
    agent.start();
    flux.answer_all(Answer::status(200));
    flux.wait_for(2, BOUND);
    let over = wait_for(&agent, 2, false);
    assert_eq!(over["from"], stopped["from"]);
}

#[test]
fn a_file_edited_by_hand_is_found_with_the_line_and_the_gateway_goes_on() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "1");
    wait_for(&agent, 1, true);
    flux.answer_all(Answer::status(200));
    flux.wait_for(1, BOUND);
    wait_for(&agent, 1, false);
    agent.terminate();
    let verify = |agent: &Agent| {
        let output = agent.command(&["outages", "--verify"]);
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = verify(&agent);
    assert!(code == Some(0) && text.contains("whole"), "{code:?} {text}");
    let whole = std::fs::read_to_string(ledger(&agent)).expect("the ledger");
    let place = whole.find("\"attempts\":").expect("a number to make greater") + 11;
    let mut edited = whole.clone();
    edited.replace_range(place..=place, if &whole[place..=place] == "9" { "8" } else { "9" });
    let line = whole[..place].matches('\n').count() + 1;
    std::fs::write(ledger(&agent), &edited).expect("written");
    let (code, text) = verify(&agent);
    assert!(code == Some(1) && text.contains(&format!("line {line} ")), "line {line}: {text}");
    assert!(!text.contains("whole: "), "{text}");
    let shown = String::from_utf8(agent.command(&["outages"]).stdout).expect("text");
    assert!(shown.contains("not as it was written"), "{shown}");
    // What goes with a claim says no less, and stays what reads CSV understands.
    let csv = agent.command(&["outages", "--csv"]);
    let (rows, beside) = (String::from_utf8_lossy(&csv.stdout), String::from_utf8_lossy(&csv.stderr));
    assert!(csv.status.success() && beside.contains("not as it was written"), "{csv:?}");
    let ends: Vec<&str> = rows.lines().filter_map(|line| line.rsplit(',').next()).collect();
    assert_eq!(ends, ["ledger_whole", "false"], "{rows}");
    // It goes on with the edit visible.
    agent.start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "2");
    wait_for(&agent, 2, true);
    assert_eq!(verify(&agent).0, Some(1));
    assert_eq!(outages(&agent, &[])["whole"], false);
    agent.wait_for_log("its digest", BOUND);
}

#[test]
fn who_has_no_ledger_yet_is_told_so_and_a_store_that_cannot_be_read_is_said() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    let _ = setup.write();
    let agent = Agent::new(setup);
    let output = agent.command(&["outages"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("none"));
    let folder = agent.setup.folder().join("store/outages");
    std::fs::create_dir_all(folder.join("ledger")).expect("a folder where the file should be");
    let output = agent.command(&["outages"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("cannot read the outage ledger"), "{said}");
}

/// The ledger of an earlier boot of this gateway, as the agent writes it, in which Flux answered with errors for so long
/// until a minute ago; then the power went.
fn out_for_ms(setup: &Setup, length_ms: u64) {
    let store = setup.folder().join("store");
    std::fs::create_dir_all(&store).expect("a folder");
    // Any boot but this one.
    let begun = clock::now_ms() - length_ms - 60_000;
    let at = |passed| Stamp { wall_ms: begun + passed, uptime_ms: passed, boot: 1, trusted: true };
    let desk = Desk::open(&store, "gw-test", &at(0)).expect("a ledger");
    let figures = desk.figures();
    wait::until("the ledger is open", BOUND, || figures.borrow().ready);
    desk.tell(Fact::Started, &at(0));
    let failed =
        Evidence { status: Some(503), ..Evidence::new(Stage::Http, Class::Provider, "503 Service Unavailable") };
    for passed in (0..length_ms).step_by(SILENCE_MS as usize / 2).chain([length_ms]) {
        desk.tell(Fact::Failed(failed.clone()), &at(passed));
    }
    desk.close(&at(length_ms));
}

#[test]
fn what_lasted_a_day_by_the_ledger_of_an_earlier_boot_goes_on_and_is_claimed_and_an_hour_less_is_not() {
    const HOUR_MS: u64 = 3_600_000;
    for (hours, days) in [(49, Some(2)), (23, None)] {
        let flux = Flux::start();
        flux.answer_all(Answer::status(503));
        let setup = Setup::webhook(&flux);
        setup.synchronise();
        out_for_ms(&setup, hours * HOUR_MS + 600_000);
        let mut agent = setup.start();
        publish(&agent, "1");
        let failed = intervals(&agent)[0]["attempts"].as_u64();
        wait::until("it went on", BOUND, || intervals(&agent)[0]["attempts"].as_u64() > failed);
        agent.kill();
        agent.start();
        flux.answer_all(Answer::status(200));
        flux.wait_for(1, BOUND);
        let over = wait_for(&agent, 1, false);
        assert_eq!(over["not_counted"].as_array().map(Vec::len), Some(2), "the power cut and the kill: {over:#}");
        let claims = over["claims"].as_array().expect("claims");
        assert_eq!(claims.first().and_then(|claim| claim["days"].as_u64()), days, "{over:#}");
        let text = String::from_utf8(agent.command(&["outages"]).stdout).expect("text");
        let said = text.contains("2 days: 49 h 1") && text.contains("15.2(2)") && text.contains("last day to claim 20");
        assert_eq!((said, text.contains("CLAIM")), (days.is_some(), days.is_some()), "{text}");
    }
}
