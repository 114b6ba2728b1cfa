//! What the store has to let go of, a flow is told: nothing is missing without a trace.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::{Device, Outcome};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::wait;

/// Longest wait: gap records of one kind come once a minute.
const BOUND: Duration = Duration::from_secs(150);

const DEVICES: [&str; 3] = ["pump", "valve", "meter"];

/// Gap events of a cause, as they were delivered.
fn gaps(flux: &Flux, cause: &str) -> Vec<Value> {
    let parse = |text: String| serde_json::from_str(&text).expect("a gap record is JSON");
    let all = flux.payloads_of("tidegate").into_iter().map(parse);
    all.filter(|gap: &Value| gap["cause"] == cause).collect()
}

fn sum(gaps: &[Value], device: Option<&str>, figure: &str) -> u64 {
    let of_device = gaps.iter().filter(|gap| device.is_none() || gap["device"].as_str() == device);
    of_device.map(|gap| gap[figure].as_u64().unwrap_or(0)).sum()
}

/// Every device publishes so many records of 200 bytes; what was acknowledged.
fn publish(agent: &Agent, count: usize) -> BTreeMap<&'static str, Outcome> {
    let padding = "x".repeat(180);
    let running: Vec<_> = DEVICES
        .iter()
        .map(|name| {
            let padding = padding.clone();
            let payloads = (0..count).map(move |n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#));
            (*name, Device { window: 100, ..Device::new(name, Version::V5) }.start(agent.address(), payloads))
        })
        .collect();
    running.into_iter().map(|(name, running)| (name, running.join())).collect()
}

/// Waits until nothing waits any more and so many records were told of.
fn drain(agent: &Agent, flux: &Flux, cause: &str, count: u64) -> Vec<Value> {
    wait::until("the flow is told of all that is gone", BOUND, || sum(&gaps(flux, cause), None, "count") >= count);
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    let told = gaps(flux, cause);
    assert_eq!(sum(&told, None, "count"), count, "told of more than is gone: {told:?}");
    told
}

/// Of each device, what it published is what arrived and what the flow was told of. What had been given to the wire
/// before it went may have arrived, too.
fn assert_accounted(flux: &Flux, published: &BTreeMap<&str, Outcome>, told: &[Value]) {
    for (device, outcome) in published {
        let missing = outcome.acknowledged.len() as u64 - flux.payloads_of(device).len() as u64;
        let (count, perhaps) = (sum(told, Some(device), "count"), sum(told, Some(device), "perhaps_delivered"));
        assert!(
            (count - perhaps..=count).contains(&missing),
            "{device}: {missing} are missing, {count} told of, of which {perhaps} perhaps arrived"
        );
    }
    flux.assert_sound();
}

#[test]
fn of_what_overflows_while_flux_is_away_each_device_is_accounted_for() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"2MiB\"");
    let agent = setup.start();
    let published = publish(&agent, 5000);
    let evicted = agent.evicted();
    assert!(evicted > 0, "3 MB went into 2 MiB and nothing was evicted");
    flux.resume();
    let told = drain(&agent, &flux, "evicted", evicted);
    assert_accounted(&flux, &published, &told);
    for gap in &told {
        assert!(gap["lane"] == "normal" && gap["first_seq"].is_u64() && gap["first_time"].is_string(), "{gap}");
    }
    let in_critical = flux.look(|log| {
        log.delivered_events().iter().filter(|one| one.topic == "tidegate/gap").all(|one| one.lane == "critical")
    });
    assert!(in_critical, "gap records travel in the first lane");
    assert!(told.len() <= 2 * DEVICES.len(), "more than one a minute of each: {told:?}");
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

#[test]
fn damaged_records_are_told_of_with_their_numbers() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"4MiB\"");
    let mut agent = setup.start();
    let published = publish(&agent, 1000);
    agent.kill();
    let segments = segments(&agent);
    assert!(segments.len() > 4, "the backlog fills only {} segments", segments.len());
    for (segment, place) in [(1, 30_000), (2, 50_000)] {
        let mut bytes = fs::read(&segments[segment]).expect("a segment");
        bytes[place] ^= 0x10;
        fs::write(&segments[segment], bytes).expect("the segment again");
    }
    agent.start();
    flux.resume();
    wait::until("the damage is met", BOUND, || agent.number("/counts/damaged") >= 2 && agent.waiting() == 0);
    let damaged = agent.number("/counts/damaged");
    let told = drain(&agent, &flux, "damaged", damaged);
    let acknowledged: usize = published.values().map(|outcome| outcome.acknowledged.len()).sum();
    let arrived: usize = DEVICES.iter().map(|device| flux.payloads_of(device).len()).sum();
    assert_eq!((acknowledged - arrived) as u64, damaged, "each damaged record is told of, and no other is missing");
    let arrived: Vec<u64> =
        flux.look(|log| log.delivered_events().iter().filter(|one| one.lane == "normal").map(|one| one.seq).collect());
    for gap in &told {
        let first = gap["first_seq"].as_u64().expect("a number");
        assert!(!arrived.contains(&first) && gap["device"].is_null() && gap["epoch"].is_string(), "{gap}");
    }
    flux.assert_sound();
}

#[test]
fn records_that_became_too_old_are_told_of_by_device() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.lane("name = \"critical\"\nfirst = true");
    setup.lane("name = \"normal\"\nmax_age = \"3s\"");
    let agent = setup.start();
    let published = publish(&agent, 500);
    wait::until("nothing but gap records waits", BOUND, || agent.waiting() <= DEVICES.len() as u64);
    let late = publish(&agent, 10);
    flux.resume();
    let told = drain(&agent, &flux, "expired", 1500);
    for (device, outcome) in &published {
        assert_eq!(sum(&told, Some(device), "count"), outcome.acknowledged.len() as u64, "{told:?}");
    }
    for device in late.keys() {
        assert!(flux.payloads_of(device).len() >= 10, "what is young arrives");
    }
    flux.assert_sound();
}
