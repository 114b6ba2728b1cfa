//! What a test does and looks at under a stance: publishes, applies notices, and reads what the agent says of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::Agent;
use crate::flux::Flux;
use crate::mqtt::packet::Connect;
use crate::mqtt::{Client, Packet, Qos, Version};
use crate::office::{Office, text};
use crate::wait::{self, BOUND};

/// Long enough for an agent whose batches close after 100 ms to do what it may not.
pub const WHILE: Duration = Duration::from_millis(1200);

/// Publishes telemetry or an alarm at QoS 1 and has it acknowledged: collecting goes on under every stance.
#[track_caller]
pub fn publish(agent: &Agent, kind: &str, payload: &str) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
    client.publish(&format!("devices/pump/{kind}"), payload.as_bytes(), Qos::AtLeastOnce, 1);
    assert_eq!(client.expect(), Packet::Puback { id: 1, reason: 0 });
    client.disconnect();
}

/// The stance; empty of an agent that does not answer.
pub fn stance(agent: &Agent) -> String {
    agent.try_status().and_then(|status| Some(status["stance"]["stance"].as_str()?.to_owned())).unwrap_or_default()
}

/// Waits for a stance; says how things stand if it does not come.
#[track_caller]
pub fn until_stance(agent: &Agent, word: &str) {
    let start = Instant::now();
    while stance(agent) != word {
        assert!(start.elapsed() < BOUND, "the stance is not {word}: {:#}", agent.status()["stance"]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Has a notice signed and applied.
#[track_caller]
pub fn apply(agent: &Agent, office: &Office, name: &str, toml: &str) {
    let file = office.sign(name, toml);
    let output = agent.command(&["notice", "apply", text(&file)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The first ground, as `status` has it.
#[track_caller]
pub fn ground(agent: &Agent) -> Value {
    agent.status()["stance"]["grounds"][0].clone()
}

/// What a command that succeeds prints.
#[track_caller]
pub fn said(agent: &Agent, arguments: &[&str]) -> String {
    let output = agent.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The log of notices.
#[track_caller]
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

/// Waits until the outage ledger has one interval, of this class: it is written aside.
#[track_caller]
pub fn has_outage(agent: &Agent, class: &str) {
    let classes = || {
        let report: Value = serde_json::from_str(&said(agent, &["outages", "--json"])).expect("JSON");
        let intervals = report["intervals"].as_array().expect("intervals").clone();
        intervals.iter().map(|one| one["class"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    wait::until(&format!("an outage that is {class}: {:?}", classes()), BOUND, || classes() == [class]);
}

/// Waits until so many records were delivered; says how things stand if they are not.
#[track_caller]
pub fn delivered(agent: &Agent, flux: &Flux, records: usize) {
    let start = Instant::now();
    while flux.delivered() < records {
        assert!(start.elapsed() < BOUND, "{} of {records} delivered: {:#}", flux.delivered(), agent.status());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What was sent before does not grow although something waits.
#[track_caller]
pub fn sends_nothing(agent: &Agent, flux: &Flux) {
    let before = flux.requests();
    publish(agent, "telemetry", "\"waits\"");
    wait::never("something is sent", WHILE, || flux.requests() > before);
}

/// Kills it and starts it again: under the same stance nothing is sent.
#[track_caller]
pub fn survives_a_kill(agent: &mut Agent, flux: &Flux, word: &str) {
    agent.kill();
    agent.start();
    until_stance(agent, word);
    sends_nothing(agent, flux);
}
