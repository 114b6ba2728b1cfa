//! What a person does with it: check a configuration, ask for the status, stop, reload, watch the demo.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Packet, Qos, Version};
use tidegate_tests::{ports, tools, wait};

const BOUND: Duration = Duration::from_secs(60);

fn check(text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, text).expect("a file in the temporary folder");
    let output =
        Command::new(binary()).args(["check", "--offline", "--config"]).arg(&file).output().expect("the binary starts");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert_eq!(output.status.code(), Some(1), "{shown}");
    }
    (output.status.success(), shown)
}

#[test]
fn check_reports_every_mistake_at_once_with_its_line() {
    let text = "\
[gateway]
id = \"not a good id\"
[collect.listener]
bind = 1883
max_conections = 5
[[collect.rule]]
topic = \"devices/telemetry\"
lane = \"urgent\"
[store]
path = \"/var/lib/tidegate\"
max_size = 64
[forward.flux]
kind = \"carrier-pigeon\"
[forward.flux.batch]
max_age = \"soon\"
[nonsense]
";
    let (good, shown) = check(text);
    assert!(!good);
    for (line, word) in [
        (2, "gateway.id"),
        (4, "bind"),
        (5, "max_connections"),
        (7, "{device}"),
        (8, "critical"),
        (11, "64"),
        (13, "webhook"),
        (15, "270s"),
        (16, "nonsense"),
    ] {
        let mark = format!("line {line},");
        let reported = shown.lines().find(|report| report.contains(&mark));
        let reported = reported.unwrap_or_else(|| panic!("nothing is said of line {line}:\n{shown}"));
        assert!(reported.contains(word), "line {line}: {word:?} is not in {reported:?}");
    }
}

#[test]
fn check_says_where_broken_toml_breaks_and_what_a_good_file_was_understood_to_mean() {
    let (good, shown) = check("[gateway]\nid = \"gw-1\nx = 1\n");
    assert!(!good && shown.contains("line 2"), "{shown}");
    let flux = Flux::start_stopped();
    let (good, shown) = check(&Setup::webhook(&flux).text());
    assert!(good, "{shown}");
    assert!(shown.contains("gw-test"), "{shown}");
}

#[test]
fn the_default_configuration_names_every_key_and_needs_only_its_secret() {
    let output = tools::run(Command::new(binary()).args(["config", "default"]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for key in ["[gateway]", "[collect.listener]", "[[collect.rule]]", "max_size", "url_file", "max_age", "socket"] {
        assert!(text.contains(key), "{key} is not in the default configuration");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("webhook.url");
    std::fs::write(&file, "https://api.soracom.io/v1/flux/incoming_webhooks/a/b\n").expect("a file");
    let (good, shown) = check(&text.replace("/etc/tidegate/secrets/webhook.url", &file.display().to_string()));
    assert!(good, "{shown}");
}

#[test]
fn run_refuses_a_wrong_configuration_with_the_same_words_as_check() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "64");
    let file = setup.write();
    let output = Command::new(binary()).args(["run", "--config"]).arg(&file).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(shown.contains("store.max_size"), "{shown}");
}

#[test]
fn status_says_what_was_collected_stored_forwarded_and_waits() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let count = 250;
    let payloads = (0..count).map(|n| n.to_string());
    Device::new("meter", Version::V5).start(agent.address(), payloads).join();
    flux.wait_for(count, BOUND);
    wait::until("the status has caught up", BOUND, || agent.number("/counts/forwarded") == count as u64);
    flux.stop();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "late"));
    for id in 1..=7 {
        client.publish_acknowledged("devices/late/telemetry", b"1", id);
    }
    let status = agent.status();
    let number = |pointer: &str| status.pointer(pointer).and_then(serde_json::Value::as_u64);
    for (pointer, expected) in [
        ("/counts/collected", 257),
        ("/counts/stored", 257),
        ("/counts/forwarded", 250),
        ("/counts/waiting", 7),
        ("/counts/evicted", 0),
        ("/counts/refused", 0),
        ("/listener/connections/now", 1),
    ] {
        assert_eq!(number(pointer), Some(expected), "{pointer} in {status:#}");
    }
    assert_eq!(status.pointer("/gateway").and_then(serde_json::Value::as_str), Some("gw-test"));
    assert!(number("/oldest_waiting/time_ms").is_some(), "{status:#}");
    assert!(number("/store/max_bytes").is_some(), "{status:#}");
    agent.wait_for_verdict("transient");
    let human = agent.command(&["status"]);
    let human = String::from_utf8_lossy(&human.stdout).into_owned();
    assert!(human.contains("gw-test") && human.contains("257"), "{human}");
}

#[test]
fn counts_survive_a_kill() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    Device::new("meter", Version::V5).start(agent.address(), (0..100).map(|n| n.to_string())).join();
    flux.wait_for(100, BOUND);
    wait::until("all is acknowledged", BOUND, || agent.waiting() == 0);
    // The cursor that says so is itself committed within the commit delay.
    wait::until("all is counted", BOUND, || agent.number("/counts/forwarded") == 100);
    agent.kill();
    agent.start();
    assert_eq!(agent.number("/counts/stored"), 100);
}

#[test]
fn without_an_agent_status_says_so_with_its_own_exit_code() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    agent.kill();
    let output = agent.command(&["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn told_to_stop_it_finishes_what_it_took_and_keeps_the_rest() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux.batch", "max_age", "\"1h\"");
    let mut agent = setup.start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "last").lasting());
    for id in 1..=200 {
        client.publish("devices/last/telemetry", id.to_string().as_bytes(), Qos::AtLeastOnce, id);
    }
    assert_eq!(client.expect(), Packet::Puback { id: 1, reason: 0 });
    assert!(agent.terminate().success(), "SIGTERM is no failure");
    let mut acknowledged = 1;
    while let Ok(Packet::Puback { id, reason: 0 }) = client.receive(Duration::from_secs(5)) {
        acknowledged = id;
    }
    agent.setup.set("forward.flux.batch", "max_age", "\"100ms\"");
    agent.start();
    wait::until("what was acknowledged arrives", BOUND, || flux.payloads_of("last").len() >= usize::from(acknowledged));
    let expected: Vec<String> = (1..=acknowledged).map(|id| id.to_string()).collect();
    assert_eq!(flux.payloads_of("last")[..usize::from(acknowledged)], expected);
    flux.assert_sound();
}

#[test]
fn told_to_stop_while_flux_is_away_it_stops_within_seconds() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    Device::new("meter", Version::V5).start(agent.address(), (0..500).map(|n| n.to_string())).join();
    let start = std::time::Instant::now();
    assert!(agent.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(15), "it took {:?} to stop", start.elapsed());
    agent.start();
    assert_eq!(agent.waiting(), 500);
    flux.resume();
    flux.wait_for(500, BOUND);
    flux.assert_sound();
}

#[test]
fn a_reload_takes_what_is_safe_says_what_needs_a_restart_and_survives_a_wrong_file() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux.batch", "max_age", "\"1h\"");
    let mut agent: Agent = setup.start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "meter"));
    client.publish_acknowledged("devices/meter/telemetry", b"1", 1);

    agent.setup.set("store", "max_size", "64");
    agent.reload();
    wait::until("the wrong file is reported", BOUND, || agent.status()["config_error"].is_string());
    agent.assert_running();

    agent.setup.set("store", "max_size", "\"512MiB\"");
    agent.setup.set("forward.flux.batch", "max_age", "\"100ms\"");
    agent.reload();
    flux.wait_for(1, BOUND); // the new age is in force
    let status = agent.status();
    assert!(status["config_error"].is_null(), "{status:#}");
    let needs = status["config_needs_restart"].to_string();
    assert!(needs.contains("store.max_size"), "{needs}");
    agent.wait_for_log("store.max_size", BOUND);
    client.publish_acknowledged("devices/meter/telemetry", b"2", 2); // the connection was kept
}

#[test]
fn the_prometheus_page_shows_the_counts() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let port = ports::free_port();
    setup.set("metrics", "bind", &format!("\"127.0.0.1:{port}\""));
    let agent = setup.start();
    Device::new("meter", Version::V5).start(agent.address(), (0..50).map(|n| n.to_string())).join();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the page is served");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let line = |line: &&str| !line.starts_with('#') && line.contains("stored") && line.ends_with(" 50");
    assert!(page.lines().any(|text| line(&text)), "{page}");
}

#[test]
fn the_demo_ends_by_itself_with_nothing_lost() {
    let output = tools::run(Command::new(binary()).arg("demo"));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = shown.trim_end().rsplit(['\n', '\r']).next().unwrap_or_default().to_owned();
    let numbers: Vec<u64> = last
        .split(|c: char| !c.is_ascii_digit() && c != ',')
        .filter_map(|word| word.trim_matches(',').replace(',', "").parse().ok())
        .collect();
    assert!(last.ends_with("0 lost"), "{last:?} of:\n{shown}");
    assert_eq!(numbers.len(), 3, "{last}");
    assert!(numbers[0] > 0 && numbers[0] == numbers[1], "{last}");
}
