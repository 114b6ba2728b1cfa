//! `tidegate buffer` as a technician uses it: while the service runs and while it is stopped, on real publishes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;
use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::device::Device;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::Version;
use tidegate_tests::readings;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

/// Runs `tidegate buffer …` and fails unless it ends with this exit code.
#[track_caller]
fn buffer(agent: &Agent, arguments: &[&str], code: i32) -> Output {
    let output = agent.command(&[&["buffer"], arguments].concat());
    let said = format!("{arguments:?}: {}{}", String::from_utf8_lossy(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    output
}

fn publish(agent: &Agent, device: &str, payloads: impl IntoIterator<Item = String>) {
    let payloads: Vec<String> = payloads.into_iter().collect();
    let count = payloads.len();
    let device = Device { window: 100, ..Device::new(device, Version::V5) };
    let outcome = device.start(agent.address(), payloads.into_iter()).join();
    assert_eq!(outcome.acknowledged.len(), count);
}

/// Publishes real readings; says what each device published.
fn publish_readings(agent: &Agent) -> BTreeMap<String, Vec<String>> {
    let mut published = BTreeMap::new();
    for series in readings::all() {
        let payloads: Vec<String> = series.payloads.into_iter().take(2000).collect();
        publish(agent, series.device, payloads.clone());
        published.insert(series.device.to_owned(), payloads);
    }
    published
}

#[derive(serde::Deserialize)]
struct Line {
    device: String,
    payload: Box<RawValue>,
}

/// What stands in an export, by device, to the letter.
fn by_device(export: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text(export).lines() {
        let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        found.entry(line.device).or_default().push(line.payload.get().to_owned());
    }
    found
}

/// Every file of the store with its bytes and when they were last changed.
fn files(store: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(store).expect("the store's folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let changed = fs::metadata(&path).and_then(|about| about.modified()).expect("a file");
            found.insert(path.clone(), (fs::read(&path).expect("a file"), changed));
        }
    }
    found
}

#[test]
fn an_export_is_what_was_published_value_for_value_from_the_service_and_from_the_files() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    let published = publish_readings(&agent);
    let formats = ["ndjson", "csv", "cbor"];
    let live = formats.map(|format| buffer(&agent, &["export", "--format", format], 0).stdout);
    assert_eq!(by_device(&live[0]), published);
    // What is looked at is still there, and goes where it belongs.
    let count: usize = published.values().map(Vec::len).sum();
    assert_eq!(agent.waiting(), count as u64);
    agent.terminate();
    let store = agent.setup.folder().join("store");
    let before = files(&store);
    for (format, live) in formats.iter().zip(&live) {
        let output = buffer(&agent, &["export", "--format", format], 0);
        assert!(output.stdout == *live, "{format}: the files say something else");
        assert!(text(&output.stderr).contains("no service answers"), "{}", text(&output.stderr));
    }
    let to = agent.setup.folder().join("export.ndjson");
    // Of an export that was killed: 4,194,304 is the highest process id there can be (proc_sys_kernel(5)).
    let left = agent.setup.folder().join(".export.ndjson.4194305");
    fs::write(&left, "payloads").expect("a file");
    buffer(&agent, &["export", "--format", "ndjson", "--output", to.to_str().expect("text")], 0);
    assert!(fs::read(&to).expect("the export") == live[0], "the file holds something else");
    assert!(!left.exists(), "an interrupted export's payloads stay");
    for arguments in [&["status"][..], &["inspect", "--limit", "5"], &["verify"], &["quarantine", "list"]] {
        buffer(&agent, arguments, 0);
    }
    assert!(files(&store) == before, "looking has changed the store");
    let lines = text(&live[1]).matches("\r\n").count();
    assert_eq!(lines, count + 1, "a line for each record and one for the names");
}

#[test]
fn inspect_shows_the_oldest_first_and_what_it_is_asked_for() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    let mut agent = setup.start();
    publish(&agent, "meter-1", (0..30).map(|n| n.to_string()));
    publish(&agent, "meter-2", (30..40).map(|n| n.to_string()));
    let alarm = Device { kind: "alarm", ..Device::new("pump-1", Version::V311) };
    let _ = alarm.start(agent.address(), ["\"hot\"".to_owned()].into_iter()).join();
    for running in [true, false] {
        if !running {
            agent.terminate();
        }
        let payloads = |arguments: &[&str]| -> Vec<String> {
            let output = buffer(&agent, &[&["inspect", "--json"], arguments].concat(), 0);
            text(&output.stdout)
                .lines()
                .map(|line| serde_json::from_str::<Line>(line).expect("an event").payload.get().to_owned())
                .collect()
        };
        let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(payloads(&["--limit", "12"]), numbers(0..12));
        assert_eq!(payloads(&["--device", "meter-2"]), numbers(30..40));
        assert_eq!(payloads(&["--device", "meter-*", "--lane", "normal"]), numbers(0..40));
        assert_eq!(payloads(&["--lane", "critical"]), ["\"hot\""]);
        assert_eq!(payloads(&["--from", "-1h", "--to", "now"]).len(), 41);
        assert!(payloads(&["--to", "-1h"]).is_empty());
        let shown = buffer(&agent, &["inspect", "--limit", "2"], 0);
        assert!(text(&shown.stdout).contains("devices/meter-1/telemetry"), "{}", text(&shown.stdout));
        assert!(text(&shown.stderr).contains("there are more"), "{}", text(&shown.stderr));
        let wrong = buffer(&agent, &["inspect", "--lane", "urgent"], 1);
        assert!(text(&wrong.stderr).contains("critical, normal, bulk"), "{}", text(&wrong.stderr));
        buffer(&agent, &["inspect", "--from", "yesterday"], 2);
    }
}

#[test]
fn status_says_per_lane_what_waits_and_how_full_it_is() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"4MiB\"");
    let mut agent = setup.start();
    publish(&agent, "meter", (0..500).map(|n| n.to_string()));
    for running in [true, false] {
        if !running {
            agent.terminate();
        }
        let output = buffer(&agent, &["status", "--json"], 0);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(status["live"], running, "{status:#}");
        assert_eq!(status["max_bytes"], 4 * 1024 * 1024, "{status:#}");
        let lane = &status["lanes"][1];
        assert_eq!((&lane["name"], &lane["waiting"]), (&"normal".into(), &500.into()), "{status:#}");
        assert!(lane["oldest_ms"].as_u64().is_some() && lane["bytes"].as_u64().is_some_and(|bytes| bytes > 500));
        assert!(text(&buffer(&agent, &["status"], 0).stdout).contains("of 4.0 MiB"));
    }
}

#[test]
fn verify_names_the_damaged_range_and_ends_with_1() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"4MiB\"");
    let mut agent = setup.start();
    let padding = "x".repeat(500);
    publish(&agent, "writer", (0..3000).map(|n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#)));
    assert!(text(&buffer(&agent, &["verify"], 0).stdout).contains("everything is whole"));
    let folder = agent.setup.folder().join("store/lane-normal");
    let mut segments: Vec<PathBuf> =
        fs::read_dir(folder).expect("a lane").map(|entry| entry.expect("a file").path()).collect();
    segments.sort();
    assert!(segments.len() > 3, "the backlog fills only {} segments", segments.len());
    let victim = &segments[1];
    let mut bytes = fs::read(victim).expect("a segment");
    let middle = bytes.len() / 2;
    // In place: the running service has the file open.
    bytes[middle] ^= 0x10;
    std::os::unix::fs::FileExt::write_all_at(
        &fs::OpenOptions::new().write(true).open(victim).expect("a segment"),
        &bytes[middle..=middle],
        middle as u64,
    )
    .expect("a byte of the segment");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    for running in [true, false] {
        if !running {
            agent.terminate();
        }
        let output = buffer(&agent, &["verify", "--json"], 1);
        let damage: Vec<serde_json::Value> = text(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .filter_map(|item| item.get("damage").cloned())
            .collect();
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert_eq!(damage[0]["file"], victim.to_str().expect("text"));
        let (offset, from, below) =
            (number(&damage[0]["offset"]), number(&damage[0]["from"]), number(&damage[0]["below"]));
        assert!(offset <= middle as u64 && middle as u64 - offset < 1200, "{damage:?}");
        assert!((1..=2).contains(&(below - from)), "{damage:?}");
        // Exactly these records are missing from an export.
        let left = by_device(&buffer(&agent, &["export", "--format", "ndjson"], 0).stdout);
        let expected: Vec<String> = (0..3000)
            .filter(|n| !(from..below).contains(n))
            .map(|n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#))
            .collect();
        assert!(left["writer"] == expected, "running: {running}");
        let said = text(&buffer(&agent, &["verify"], 1).stderr);
        assert!(said.contains("1 range is damaged"), "{said}");
    }
    let nowhere = Command::new(binary()).args(["buffer", "verify", "--store", "/nowhere"]).output().expect("it runs");
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere.stderr));
}

#[test]
fn verify_names_a_damaged_version_until_the_next_start_has_written_it_anew() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, "writer", (0..3).map(|n| n.to_string()));
    agent.terminate();
    let version = agent.setup.folder().join("store/version");
    for damaged in ["", "garbage\n"] {
        fs::write(&version, damaged).expect("a file");
        let output = buffer(&agent, &["verify"], 1);
        let (shown, said) = (text(&output.stdout), text(&output.stderr));
        assert!(shown.contains("the store's version") && shown.contains("store/version"), "{shown}");
        assert!(shown.contains("lane normal") && !shown.contains("DAMAGED"), "the lanes are whole: {shown}");
        assert!(said.contains("TG-305"), "{said}");
        let japanese = buffer(&agent, &["verify", "--lang", "ja"], 1);
        assert!(text(&japanese.stdout).contains("保存領域の版"), "{}", text(&japanese.stdout));
        let items = text(&buffer(&agent, &["verify", "--json"], 1).stdout);
        assert_eq!(items.matches("\"damage\":").count(), 1, "{items}");
    }
    agent.start();
    assert!(text(&buffer(&agent, &["verify"], 0).stdout).contains("everything is whole"));
}

#[test]
fn whoever_reads_only_the_beginning_of_an_export_is_content() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    let padding = "x".repeat(1000);
    publish(&agent, "writer", (0..3000).map(|n| format!("\"{n} {padding}\"")));
    for running in [true, false] {
        if !running {
            agent.terminate();
        }
        let mut child = Command::new(binary())
            .args(["buffer", "export", "--format", "ndjson", "--config"])
            .arg(agent.setup.folder().join("tidegate.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("text");
        assert!(first.contains("\"0 xxx"), "{first}");
        drop(lines);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    // A file that cannot be made is a failure, and nothing is left behind.
    let nowhere = agent.setup.folder().join("nowhere/export.csv");
    buffer(&agent, &["export", "--format", "csv", "--output", nowhere.to_str().expect("text")], 1);
}

#[test]
fn what_is_put_aside_is_listed_tried_again_and_dropped() {
    let flux = Flux::start();
    flux.answer_by(|request| if request.holds("poison") { Answer::status(400) } else { Answer::Accept });
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, "mixed", ["1", "\"poison a\"", "2", "\"poison b\"", "\"poison c\"", "3"].map(str::to_owned));
    wait::until("the bad ones are put aside", BOUND, || agent.put_aside() == 3);
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    let ids = |agent: &Agent| -> Vec<String> {
        let output = buffer(agent, &["quarantine", "list", "--json"], 0);
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        text(&output.stdout).lines().map(|text| line(text)["id"].as_str().expect("an id").to_owned()).collect()
    };
    let listed = ids(&agent);
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed[0].starts_with("gw-test/") && listed[0].ends_with("/normal/1"), "{listed:?}");
    let shown = text(&buffer(&agent, &["quarantine", "show", "normal/3"], 0).stdout);
    assert!(shown.contains("\"poison b\"") && shown.contains("400") && shown.contains(&listed[1]), "{shown}");
    let wrong = text(&buffer(&agent, &["quarantine", "show", "normal/9"], 1).stderr);
    assert!(wrong.contains("quarantine list"), "{wrong}");
    buffer(&agent, &["quarantine", "drop", &listed[1]], 0);
    // Somebody mended the flow: what was refused is taken now.
    flux.answer_all(Answer::Accept);
    let said = text(&buffer(&agent, &["quarantine", "retry", "normal/1"], 0).stdout);
    assert!(said.contains("under its id"), "{said}");
    assert_eq!(ids(&agent), [listed[2].clone()]);
    agent.terminate();
    assert_eq!(ids(&agent), [listed[2].clone()]);
    for arguments in [["quarantine", "retry", "normal/4"], ["quarantine", "drop", "normal/4"]] {
        let said = text(&buffer(&agent, &arguments, 3).stderr);
        assert!(said.contains("start it"), "{said}");
    }
    assert_eq!(ids(&agent), [listed[2].clone()]);
    agent.start();
    wait::until("the record that was tried again arrives", BOUND, || {
        flux.payloads_of("mixed").contains(&"\"poison a\"".to_owned())
    });
    flux.look(|log| {
        // Its order is broken, because that was asked for; its id is not.
        log.assert_faultless();
        let accepted = log.requests.iter().filter(|request| request.accepted).flat_map(|request| &request.events);
        let again: Vec<_> = accepted.filter(|event| event.payload.get() == "\"poison a\"").collect();
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!((again[0].seq, again[0].replayed), (1, true), "under its old id, marked as replayed");
    });
}

#[test]
fn what_was_put_aside_and_is_gone_from_its_lane_is_tried_again_as_a_new_record() {
    let flux = Flux::start();
    flux.answer_by(|request| if request.holds("poison") { Answer::status(400) } else { Answer::Accept });
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"4MiB\"");
    let agent = setup.start();
    publish(&agent, "mixed", ["1", "\"poison\"", "2"].map(str::to_owned));
    wait::until("the bad one is put aside", BOUND, || agent.put_aside() == 1);
    let folder = agent.setup.folder().join("store/lane-normal");
    let first = folder.join("0000000000000000-0000000001.seg");
    assert!(first.exists());
    let padding = "x".repeat(200);
    publish(&agent, "filler", (0..2000).map(|n| format!("\"{n} {padding}\"")));
    wait::until("its segment is delivered and goes", BOUND, || !first.exists());
    let shown = text(&buffer(&agent, &["quarantine", "show", "normal/1"], 0).stdout);
    assert!(shown.contains("\"poison\"") && shown.contains("no longer holds it"), "{shown}");
    flux.answer_all(Answer::Accept);
    let said = text(&buffer(&agent, &["quarantine", "retry", "normal/1"], 0).stdout);
    assert!(said.contains("as a new record with a new id"), "{said}");
    wait::until("the copy arrives", BOUND, || flux.payloads_of("mixed").contains(&"\"poison\"".to_owned()));
    flux.look(|log| {
        log.assert_faultless();
        let accepted = log.requests.iter().filter(|request| request.accepted).flat_map(|request| &request.events);
        let copies: Vec<_> = accepted.filter(|event| event.payload.get() == "\"poison\"").collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
        assert!(copies[0].seq >= 2000 && copies[0].topic == "devices/mixed/telemetry", "{copies:?}");
    });
    assert!(text(&buffer(&agent, &["quarantine", "list"], 0).stderr).contains("nothing is put aside"));
}

#[test]
fn delivered_records_that_are_kept_are_delivered_again_when_that_is_asked_for() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, "meter", (0..100).map(|n| n.to_string()));
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    assert_eq!(flux.delivered(), 100);
    let span = ["--from", "-1h", "--to", "now"];
    let said = text(&buffer(&agent, &[&["replay"], &span[..]].concat(), 0).stdout);
    assert!(said.contains("100 delivered records") && said.contains("--yes"), "{said}");
    wait::never("a record is delivered that was only counted", Duration::from_millis(500), || {
        flux.requests() > 1
            && flux.look(|log| log.requests.iter().map(|request| request.events.len()).sum::<usize>()) > 100
    });
    let said = text(&buffer(&agent, &[&["replay", "--yes"], &span[..]].concat(), 0).stdout);
    assert!(said.contains("wait to be delivered again"), "{said}");
    let sent = || {
        flux.look(|log| log.requests.iter().flat_map(|request| &request.events).filter(|event| event.replayed).count())
    };
    wait::until("all of them are sent again, marked", BOUND, || sent() == 100);
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    flux.assert_sound();
    let said = text(&buffer(&agent, &["replay", "--from", "-2h", "--to", "-1h", "--yes"], 0).stdout);
    assert!(said.contains("no delivered record"), "{said}");
    let said = text(&buffer(&agent, &[&["replay", "--device", "meter"], &span[..]].concat(), 2).stderr);
    assert!(said.contains("export --all --device"), "{said}");
    agent.terminate();
    buffer(&agent, &[&["replay", "--yes"], &span[..]].concat(), 3);
}

#[test]
fn a_service_that_is_not_asked_is_said_to_hold_the_store_and_is_not_disturbed() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, "meter", (0..10).map(|n| n.to_string()));
    let store = agent.setup.folder().join("store");
    let output = Command::new(binary())
        .args(["buffer", "export", "--format", "ndjson", "--store"])
        .arg(&store)
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(by_device(&output.stdout)["meter"].len(), 10);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("process {} has this store open", agent.pid())), "{said}");
    publish(&agent, "meter", (10..20).map(|n| n.to_string()));
    agent.assert_running();
    assert_eq!(agent.waiting(), 20);
}
