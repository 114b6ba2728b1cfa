//! Stances, as a whole-system test brings them about and sees them: an agent that believes an office, notices that reach it,
//! telemetry that waits meanwhile.

use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, Setup};
use crate::flux::Flux;
use crate::mqtt::packet::Connect;
use crate::mqtt::{Client, Packet, Qos, Version};
use crate::office::{Office, text};
use crate::wait::{self, BOUND};

/// Long enough for an agent whose batches close after 100 ms to do what it may not.
pub const WHILE: Duration = Duration::from_millis(1200);

/// An agent that believes this office, comes back within a second after a stop, and probes every second or two.
#[track_caller]
pub fn setup(flux: &Flux, office: &Office) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
    setup.set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
    setup.set("provider.probe", "min", "\"1s\"").set("provider.probe", "max", "\"2s\"");
    setup.synchronise();
    setup
}

/// Publishes to `devices/pump/` and `kind` at QoS 1 and has it acknowledged: collecting goes on under every stance.
#[track_caller]
pub fn publish(agent: &Agent, kind: &str, payload: &str) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
    client.publish(&format!("devices/pump/{kind}"), payload.as_bytes(), Qos::AtLeastOnce, 1);
    assert_eq!(client.expect(), Packet::Puback { id: 1, reason: 0 });
    client.disconnect();
}

/// How long after one record the next is published, so that each would be a request of its own if nothing limited them: twice as
/// long as a batch waits for more in these setups.
const APART: Duration = Duration::from_millis(200);

/// Publishes these telemetry records one after another, far enough apart that no two share a batch.
#[track_caller]
pub fn publish_apart(agent: &Agent, payloads: impl IntoIterator<Item = String>) {
    for payload in payloads {
        publish(agent, "telemetry", &payload);
        std::thread::sleep(APART);
    }
}

/// The stance in force, by its word; empty where the agent does not answer.
#[must_use]
pub fn stance(agent: &Agent) -> String {
    agent.try_status().and_then(|status| Some(status["stance"]["stance"].as_str()?.to_owned())).unwrap_or_default()
}

/// The words that `status` has shown for the stance since the process began, from the first that it could be asked for until
/// this one.
#[track_caller]
pub fn words_until(agent: &Agent, word: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    wait::until(&format!("the stance is {word}"), BOUND, || {
        words.extend(Some(stance(agent)).filter(|now| !now.is_empty() && words.last() != Some(now)));
        words.last().is_some_and(|last| last == word)
    });
    words
}

/// Waits until this stance is in force.
#[track_caller]
pub fn until_stance(agent: &Agent, word: &str) {
    let stands = || agent.status()["stance"].clone();
    wait::until_or_tell(&format!("the stance is {word}"), BOUND, || stance(agent) == word, stands);
}

/// Has the office sign the notice that stands in `toml`, under this name, and the agent take it in.
#[track_caller]
pub fn apply(agent: &Agent, office: &Office, name: &str, toml: &str) {
    let file = office.sign(name, toml);
    let output = agent.command(&["notice", "apply", text(&file)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a command that succeeds prints.
#[track_caller]
#[must_use]
pub fn said(agent: &Agent, arguments: &[&str]) -> String {
    let output = agent.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The log of notices, as the command shows it.
#[track_caller]
#[must_use]
pub fn notices(agent: &Agent) -> Vec<Value> {
    serde_json::from_str(&said(agent, &["notices", "--json"])).expect("JSON")
}

/// Waits until an entry of the log of notices says this.
#[track_caller]
pub fn has_notice(agent: &Agent, part: &str) {
    wait::until(&format!("a notice says {part}"), BOUND, || {
        notices(agent).iter().any(|entry| entry.to_string().contains(part))
    });
}

/// The intervals of the outage ledger, by their class.
#[track_caller]
#[must_use]
pub fn outages(agent: &Agent) -> Vec<String> {
    let report: Value = serde_json::from_str(&said(agent, &["outages", "--json"])).expect("JSON");
    let intervals = report["intervals"].as_array().expect("intervals");
    intervals.iter().map(|interval| interval["class"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The ledger has one interval, of this class: it is written aside, so it is waited for.
#[track_caller]
pub fn has_outage(agent: &Agent, class: &str) {
    let stands = || format!("{:?}", outages(agent));
    wait::until_or_tell(&format!("one outage is {class}"), BOUND, || outages(agent) == [class], stands);
}

/// Waits until so many records were delivered; says how things stand if they are not.
#[track_caller]
pub fn delivered(agent: &Agent, flux: &Flux, records: usize) {
    let enough = || flux.delivered() >= records;
    let stands = || format!("{} were, and the status is {:#}", flux.delivered(), agent.status());
    wait::until_or_tell(&format!("{records} records were delivered"), BOUND, enough, stands);
}

/// The first ground, as `status` has it.
#[track_caller]
#[must_use]
pub fn ground(agent: &Agent) -> Value {
    agent.status()["stance"]["grounds"][0].clone()
}

/// Fails if anything is sent although something waits: a record that this publishes.
#[track_caller]
pub fn sends_nothing(agent: &Agent, flux: &Flux) {
    let before = flux.requests();
    publish(agent, "telemetry", "waits");
    wait::never("something is sent", WHILE, || flux.requests() > before);
}

/// Kills it and starts it again: the stance is the same, and nothing is sent.
#[track_caller]
pub fn survives_a_kill(agent: &mut Agent, flux: &Flux, word: &str) {
    agent.kill();
    agent.start();
    until_stance(agent, word);
    sends_nothing(agent, flux);
}
