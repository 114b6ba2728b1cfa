//! Who limits what may leave: the operator, the contract's terms file, the SIM's speed class and answers, in the running
//! service and, as far as files say it, without one.

use std::path::PathBuf;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::checked::Checked;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::metadata::{Metadata, Says};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait::{self, BOUND};

/// What `tidegate terms --json` says.
#[track_caller]
fn terms(agent: &Agent) -> Value {
    let output = agent.command(&["terms", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The same for people.
#[track_caller]
fn shown(agent: &Agent) -> String {
    let output = agent.command(&["terms"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What holds of a kind, and who says so.
fn binding(terms: &Value, kind: &str) -> Option<(String, String)> {
    let limit = terms["limits"].as_array()?.iter().find(|limit| limit["kind"] == kind)?;
    Some((limit["value"].as_str()?.to_owned(), limit["by"][0]["source"].as_str()?.to_owned()))
}

#[track_caller]
fn wait_for(agent: &Agent, kind: &str, value: &str, source: &str) {
    let holds = || binding(&terms(agent), kind).is_some_and(|(found, by)| found == value && by.contains(source));
    wait::until_or_tell(&format!("{kind} is {value} by {source}"), BOUND, holds, || terms(agent));
}

/// Publishes one record and waits until it is delivered.
#[track_caller]
fn deliver(agent: &Agent, flux: &Flux, name: &str) {
    let before = flux.delivered();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, name));
    client.publish_acknowledged(&format!("devices/{name}/telemetry"), b"1", 1);
    flux.wait_for(before + 1, BOUND);
}

#[test]
fn the_speed_class_is_seen_binds_and_gives_way_at_once_when_it_changes() {
    let (flux, sim) = (Flux::start(), Metadata::start(Says::class("s1.slow")));
    let mut setup = Setup::webhook(&flux);
    setup.without("limits").set("limits", "rate", "\"512 kbit/s\"").metadata(&sim);
    let agent = setup.start();
    wait_for(&agent, "rate", "128 kbit/s", "SIM speed class s1.slow");
    wait_for(&agent, "rate_down", "128 kbit/s", "SIM speed class s1.slow");
    let text = shown(&agent);
    let line = |text: &str, words: &[&str]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&text, &["*", "rate ", "128 kbit/s", "5.1(2)", "SIM speed class s1.slow"]), "{text}");
    assert!(line(&text, &["512 kbit/s", "operator", "tidegate.toml line"]), "{text}");
    assert!(line(&text, &["*", "events_per_month", "10,000 a month", "10.1(6)", "default"]), "{text}");
    assert!(line(&text, &["SIM", "active", "speed class s1.slow"]), "{text}");
    let status = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(line(&status, &["rate ", "128 kbit/s", "SIM speed class s1.slow, clause 5.1(2)"]), "{status}");
    assert!(sim.asked()[0].starts_with("GET /v1/subscriber HTTP/1.1\r\n"), "{:?}", sim.asked());
    deliver(&agent, &flux, "slow");

    sim.say(Says::class("s1.fast"));
    agent.reload(); // asks at once; otherwise it is within 72 s
    wait_for(&agent, "rate", "512 kbit/s", "operator");
    wait_for(&agent, "rate_down", "2 Mbit/s", "SIM speed class s1.fast");
    sim.say(Says::class("s9.unheard_of"));
    agent.reload();
    wait_for(&agent, "rate", "32 kbit/s", "s9.unheard_of, which the table does not have");
    agent.wait_for_log("s9.unheard_of", BOUND);
}

#[test]
fn a_service_that_does_not_answer_or_answers_nonsense_is_shown_and_delivery_goes_on() {
    let flux = Flux::start();
    let sim = Metadata::start(Says::class("s1.standard"));
    let mut setup = Setup::webhook(&flux);
    setup.metadata(&sim);
    let agent = setup.start();
    wait_for(&agent, "rate", "512 kbit/s", "s1.standard");
    let refused = "You are not allowed to access Metadata Server.";
    for (number, (says, problem)) in [
        (Says::Status(403, refused.to_owned()), "HTTP 403: You are not allowed"),
        (Says::Status(404, String::new()), "HTTP 404"),
        (Says::Status(200, "<html>captive portal</html>".to_owned()), "not a JSON object"),
        (Says::Status(200, format!("{{\"tags\":\"{}\"}}", "x".repeat(1_000_000))), "more than 65536 bytes"),
        (Says::Bytes(vec![0xff; 100_000]), "the connection broke"),
        (Says::Bytes(Vec::new()), "the connection broke"),
    ]
    .into_iter()
    .enumerate()
    {
        println!("{problem}");
        sim.say(says);
        agent.reload();
        wait::until(problem, BOUND, || {
            terms(&agent)["sim"]["problem"].as_str().is_some_and(|found| found.contains(problem))
        });
        assert_eq!(binding(&terms(&agent), "rate").expect("the last that was told").0, "512 kbit/s");
        deliver(&agent, &flux, &format!("d{number}"));
    }
    assert!(shown(&agent).contains("what to do: "), "{}", shown(&agent));
    // While it keeps the connection and says nothing, telemetry does not wait for it.
    let times = sim.asked().len();
    sim.say(Says::Nothing);
    agent.reload();
    sim.wait_for_asked(times + 1);
    deliver(&agent, &flux, "silent");
    sim.say(Says::Status(200, r#"{"speedClass":null}"#.to_owned()));
    agent.reload();
    wait::until("it answers again", BOUND, || terms(&agent)["sim"]["problem"] == "");
    assert_eq!(binding(&terms(&agent), "rate").expect("the last that was told").0, "512 kbit/s");
    flux.assert_sound();
}

#[test]
fn without_a_way_to_the_service_nothing_is_limited_by_it_and_delivery_goes_on() {
    let (flux, sim) = (Flux::start(), Metadata::absent());
    let mut setup = Setup::webhook(&flux);
    setup.metadata(&sim);
    let agent = setup.start();
    deliver(&agent, &flux, "alone");
    wait::until("it is shown", BOUND, || {
        terms(&agent)["sim"]["problem"].as_str().is_some_and(|problem| problem.contains("no connection"))
    });
    assert_eq!(binding(&terms(&agent), "rate"), None);
    assert!(shown(&agent).contains("nothing known yet"), "{}", shown(&agent));
}

#[test]
fn over_a_line_that_is_not_known_to_be_soracoms_nobody_is_asked() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.without("provider.metadata");
    let agent = setup.start();
    deliver(&agent, &flux, "any");
    assert_eq!(terms(&agent)["sim"], Value::Null);
}

fn contract(setup: &mut Setup, text: &str) -> PathBuf {
    let path = setup.folder().join("terms.toml");
    std::fs::write(&path, text).expect("a terms file in the temporary folder");
    setup.set("provider", "terms", &format!("\"{}\"", path.display()));
    path
}

#[test]
fn a_terms_file_binds_and_when_it_turns_bad_the_last_good_one_stays_in_force() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("limits", "rate", "\"512 kbit/s\"").set("limits", "windows", "[\"01:00-04:00\"]");
    let good = "[terms]\nversion = \"7\"\n[limits]\nrate = \"64 KiB/s\"\nbytes_per_day = \"20 MB\"\nframes = 3\n\
                windows = [\"mon-fri 02:00-05:00\"]\n[clauses]\nbytes_per_day = \"17.3\"\n";
    let path = contract(&mut setup, good);
    let agent = setup.start();
    let found = terms(&agent);
    assert_eq!(binding(&found, "rate").expect("a rate").0, "512 kbit/s");
    let (value, source) = binding(&found, "bytes_per_day").expect("a volume");
    assert!(value == "20MB a day" && source.ends_with("terms.toml line 5"), "{value} {source}");
    assert_eq!(binding(&found, "windows").expect("windows").0, "mon-fri 02:00-04:00");
    assert_eq!(found["file"]["unknown"][0], "limits.frames (line 6)");
    let text = shown(&agent);
    for part in ["version 7", "17.3", "limits.frames (line 6)", "what they all allow"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for bad in ["[limits]\nrate = 64\n", "[limits\n"] {
        std::fs::write(&path, bad).expect("a terms file");
        agent.reload();
        wait::until("the mistake is shown", BOUND, || terms(&agent)["file"]["error"].is_string());
        assert_eq!(binding(&terms(&agent), "bytes_per_day").expect("as before").0, "20MB a day");
        assert!(shown(&agent).contains("what was read before stays in force"));
        deliver(&agent, &flux, "during");
        std::fs::write(&path, good).expect("a terms file");
        agent.reload();
        wait::until("it is good again", BOUND, || terms(&agent)["file"]["error"].is_null());
    }
    std::fs::write(&path, "[limits]\nbytes_per_day = \"10 MB\"\n").expect("a terms file");
    agent.reload();
    wait_for(&agent, "bytes_per_day", "10MB a day", "line 2");
}

#[test]
fn a_power_cut_and_a_bad_edit_make_nothing_faster_and_the_last_good_terms_are_in_force() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let good = "[terms]\nversion = \"7\"\n[limits]\nrate = \"256 kbit/s\"\nbytes_per_day = \"20 MB\"\n";
    let path = contract(&mut setup, good);
    let mut agent = setup.start();
    deliver(&agent, &flux, "before");
    for bad in [Some("[limits]\nrate = 64\n"), None] {
        agent.kill();
        match bad {
            Some(bad) => std::fs::write(&path, bad).expect("a terms file"),
            None => std::fs::remove_file(&path).expect("it was there"),
        }
        agent.start();
        let found = terms(&agent);
        assert_eq!(binding(&found, "rate").expect("as before").0, "256 kbit/s");
        assert_eq!(binding(&found, "bytes_per_day").expect("as before").0, "20MB a day");
        assert!(found["file"]["error"].is_string() && found["file"]["in_force"] == true, "{}", found["file"]);
        assert!(shown(&agent).contains("what was read before the start stays in force"), "{}", shown(&agent));
        deliver(&agent, &flux, "all_the_same");
    }
    // Who names none has none, and it does not come back.
    agent.setup.without("provider");
    let _ = agent.setup.write();
    agent.reload();
    wait::until("none is in force", BOUND, || binding(&terms(&agent), "rate").is_none());
    deliver(&agent, &flux, "without");
    contract(&mut agent.setup, "[limits]\nrate = 64\n");
    let _ = agent.setup.write();
    agent.kill();
    agent.start();
    assert_eq!(binding(&terms(&agent), "rate"), None);
}

#[test]
fn after_a_power_cut_the_speed_class_holds_until_another_is_told() {
    let (flux, sim) = (Flux::start(), Metadata::start(Says::class("s1.slow")));
    let mut setup = Setup::webhook(&flux);
    setup.metadata(&sim);
    let mut agent = setup.start();
    wait_for(&agent, "rate", "128 kbit/s", "SIM speed class s1.slow");
    deliver(&agent, &flux, "before");
    agent.kill();
    sim.say(Says::Nothing);
    agent.start();
    assert_eq!(binding(&terms(&agent), "rate").expect("from the first moment on").0, "128 kbit/s");
    let found = terms(&agent);
    assert!(found["sim"]["told_before_ms"].is_u64() && found["sim"]["answered_ago_ms"].is_null(), "{}", found["sim"]);
    assert!(shown(&agent).contains("speed class s1.slow, told before the start"), "{}", shown(&agent));
    sim.say(Says::class("s1.fast"));
    agent.reload();
    wait_for(&agent, "rate", "2 Mbit/s", "SIM speed class s1.fast");
    assert!(terms(&agent)["sim"]["told_before_ms"].is_null());
    deliver(&agent, &flux, "after");
    agent.kill();
    sim.say(Says::Status(500, String::new()));
    agent.start();
    assert_eq!(binding(&terms(&agent), "rate").expect("from the first moment on").0, "2 Mbit/s");
}

#[test]
fn it_starts_with_a_terms_file_that_is_bad_or_missing_and_check_says_so() {
    for text in [Some("[limits]\nrate = 512\n"), None] {
        let flux = Flux::start();
        let mut setup = Setup::webhook(&flux);
        let path = contract(&mut setup, text.unwrap_or_default());
        if text.is_none() {
            std::fs::remove_file(&path).expect("it was there");
        }
        let agent = setup.start();
        deliver(&agent, &flux, "all_the_same");
        let file = &terms(&agent)["file"];
        assert!(file["error"].as_str().is_some_and(|error| error.contains("terms.toml")), "{file}");
        assert_eq!(file["in_force"], false);
        let check = agent.command(&["check", "--offline"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(check.status.code() == Some(1) && said.contains("terms.toml"), "{said}");
        assert!(String::from_utf8_lossy(&check.stdout).contains("is fine, but its terms file is not"));
    }
}

#[test]
fn while_the_agent_is_stopped_the_files_are_asked_and_the_provider_is_unknown() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.without("limits").set("limits", "rate", "\"2Mbps\"").set("limits", "share", "0.25");
    contract(&mut setup, "[limits]\nrate = \"1 Mbit/s\"\n");
    let _ = setup.write();
    let agent = Agent::new(setup);
    let found = terms(&agent);
    assert_eq!(found["provider_known"], false);
    assert_eq!(binding(&found, "rate").expect("a rate").0, "1 Mbit/s");
    let text = shown(&agent);
    assert!(text.contains("no service answers") && text.contains("unknown while the agent is stopped"), "{text}");
    assert!(text.contains("2,500"), "{text}");
    let alone = agent.setup.folder().join("nobody.sock");
    let output = std::process::Command::new(tidegate_tests::agent::binary())
        .args(["terms", "--socket"])
        .arg(alone)
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_rate_limit_that_an_answer_tells_binds_until_its_minute_is_over() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("limits", "events_per_minute", "50");
    let agent = setup.start();
    let told = Answer::status(200)
        .with_header("X-Soracom-Ratelimit-Limit", "20")
        .with_header("X-Soracom-Ratelimit-Seconds-Before-Refresh", "4");
    flux.answer_next([told]);
    deliver(&agent, &flux, "counted");
    wait_for(&agent, "events_per_minute", "20 a minute", "rate-limit header");
    wait_for(&agent, "events_per_minute", "50 a minute", "operator");
}

#[test]
fn limits_change_with_a_reload_and_a_bare_number_changes_nothing() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("limits", "rate", "\"512 kbit/s\"");
    let mut agent = setup.start();
    agent.setup.set("limits", "rate", "\"256 kbit/s\"").set("limits", "events_per_month", "\"unlimited\"");
    agent.reload();
    wait_for(&agent, "rate", "256 kbit/s", "operator");
    wait_for(&agent, "events_per_month", "unlimited", "operator");
    agent.setup.set("limits", "rate", "512");
    agent.reload();
    wait::until("the mistake is shown", BOUND, || {
        let error = agent.status()["config_error"].as_str().unwrap_or_default().to_owned();
        error.contains("limits.rate") && error.contains("\"512 kbit/s\"") && error.contains("\"512 kB/s\"")
    });
    assert_eq!(binding(&terms(&agent), "rate").expect("as before").0, "256 kbit/s");
}

#[test]
fn a_fifo_in_the_terms_files_place_blocks_neither_the_gateway_nor_who_looks_at_it() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let file = setup.folder().join("terms.toml");
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("coreutils are there");
    assert!(made.success());
    setup.set("provider", "terms", &format!("\"{}\"", file.display()));
    let agent = setup.start();
    deliver(&agent, &flux, "meter");
    let status = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(status.contains("TG-108"), "{status}");
    let checked = Checked::of(&agent.command(&["check", "--json"]));
    checked.assert("terms file", "bad", "TG-108");
    checked.assert(&format!("file {}", file.display()), "bad", "TG-603");
}
