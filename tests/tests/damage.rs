//! What a power cut, a worn card or a clumsy hand leaves of a store: it opens, serves everything else, and counts.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::{Device, Outcome};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Client;
use tidegate_tests::mqtt::Version;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::office::{run, text};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// Records of the backlog that is damaged: a few dozen segments in a store of 4 MiB.
const COUNT: usize = 5000;

/// An agent, killed, with [`COUNT`] records that wait for a Flux that is away.
fn with_backlog(flux: &Flux) -> (Agent, Outcome) {
    let mut setup = Setup::webhook(flux);
    setup.set("store", "max_size", "\"4MiB\"");
    let mut agent = setup.start();
    let padding = "x".repeat(100);
    let payloads = (0..COUNT).map(move |n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#));
    let device = Device { window: 100, ..Device::new("writer", Version::V5) };
    let outcome = device.start(agent.address(), payloads).join();
    agent.kill();
    (agent, outcome)
}

/// The segments of lane `normal`, oldest first.
fn segments(agent: &Agent) -> Vec<PathBuf> {
    let folder = agent.setup.folder().join("store/lane-normal");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

fn start_and_drain(agent: &mut Agent, flux: &Flux) {
    agent.start();
    flux.resume();
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
}

#[test]
fn a_torn_tail_is_cut_and_all_that_was_acknowledged_arrives() {
    let flux = Flux::start_stopped();
    let (mut agent, outcome) = with_backlog(&flux);
    let newest = segments(&agent).pop().expect("there is a segment");
    let mut file = fs::OpenOptions::new().append(true).open(newest).expect("the newest segment");
    file.write_all(&[0x5a; 1000]).expect("bytes of a write that was cut short");
    drop(file);
    start_and_drain(&mut agent, &flux);
    assert_eq!(flux.payloads_of("writer"), outcome.acknowledged);
    flux.assert_sound();
    // What is stored from now on has ids that the torn bytes cannot have had.
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "later"));
    client.publish_acknowledged("devices/later/telemetry", b"1", 1);
    wait::until("it is delivered", BOUND, || flux.payloads_of("later") == ["1"]);
    flux.assert_sound();
}

#[test]
fn a_flipped_byte_costs_its_own_record_which_is_counted() {
    let flux = Flux::start_stopped();
    let (mut agent, outcome) = with_backlog(&flux);
    let segments = segments(&agent);
    assert!(segments.len() > 3, "the backlog fills only {} segments", segments.len());
    let victim = &segments[segments.len() / 2];
    let mut bytes = fs::read(victim).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(victim, bytes).expect("the segment again");
    start_and_drain(&mut agent, &flux);
    let arrived = flux.payloads_of("writer");
    let lost = COUNT - arrived.len();
    assert!((1..=2).contains(&lost), "one flipped byte cost {lost} records");
    assert_eq!(agent.number("/counts/damaged"), lost as u64, "the loss is not counted");
    assert!(arrived.iter().all(|payload| outcome.acknowledged.contains(payload)), "something else arrived");
    flux.assert_sound();
}

#[test]
fn a_segment_that_is_gone_or_nonsense_costs_its_own_records_and_no_others() {
    let flux = Flux::start_stopped();
    let (mut agent, outcome) = with_backlog(&flux);
    let segments = segments(&agent);
    fs::remove_file(&segments[2]).expect("a segment");
    let length = fs::metadata(&segments[4]).expect("a segment").len() as usize;
    fs::write(&segments[4], vec![0xa5; length]).expect("the segment again");
    start_and_drain(&mut agent, &flux);
    let arrived = flux.payloads_of("writer");
    let lost = COUNT - arrived.len();
    assert!(lost > 0 && lost < COUNT / 4, "two of {} segments cost {lost} records", segments.len());
    assert_eq!(agent.number("/counts/damaged"), lost as u64, "the loss is not counted");
    assert!(arrived.iter().all(|payload| outcome.acknowledged.contains(payload)), "something else arrived");
    flux.assert_sound();
}

#[test]
fn without_its_index_the_store_is_what_it_was() {
    let flux = Flux::start_stopped();
    let (mut agent, outcome) = with_backlog(&flux);
    agent.start();
    agent.terminate(); // in order, so that the index is complete when it goes
    fs::remove_dir_all(agent.setup.folder().join("store/index")).expect("the index");
    start_and_drain(&mut agent, &flux);
    assert_eq!(flux.payloads_of("writer"), outcome.acknowledged);
    let (_client, present) = Client::connect(agent.address(), &Connect::new(Version::V5, "writer").lasting());
    assert!(present, "the session was known only to the index");
    flux.assert_sound();
}

#[test]
fn without_its_control_lane_every_record_still_arrives() {
    let flux = Flux::start_stopped();
    let (mut agent, outcome) = with_backlog(&flux);
    fs::remove_dir_all(agent.setup.folder().join("store/control")).expect("the control lane");
    start_and_drain(&mut agent, &flux);
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
}

#[test]
fn a_second_agent_on_the_same_store_refuses_to_run() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    let mut other = Setup::webhook(&flux);
    other.store_at(&agent.setup.folder().join("store"));
    let mut other = other.spawn();
    let status = other.wait_for_end();
    assert_eq!(status.code(), Some(1), "{}", other.log());
    agent.assert_running();
    // With the same configuration the socket is asked for first, and it is the same reason.
    let by_hand = agent.setup.folder().join("tidegate.toml");
    let output = run(&["run", "--config", text(&by_hand)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("TG-302") && !said.contains("TG-604"), "{said}");
    agent.assert_running();
    // With a store of its own it is the socket alone.
    let mut third = Setup::webhook(&flux);
    third.set("control", "socket", &format!("\"{}\"", agent.setup.folder().join("control.sock").display()));
    let mut third = third.spawn();
    assert_eq!(third.wait_for_end().code(), Some(1), "{}", third.log());
    assert!(third.log().contains("TG-604"), "{}", third.log());
    agent.assert_running();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "meter"));
    client.publish_acknowledged("devices/meter/telemetry", b"1", 1);
    flux.wait_for(1, BOUND);
}
