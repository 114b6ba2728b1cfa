//! Stances, as a whole-system test brings them about and sees them: an agent that believes an office, notices that reach it,
//! telemetry that waits meanwhile.

use crate::agent::{Agent, Setup};
use crate::flux::Flux;
use crate::mqtt::packet::Connect;
use crate::mqtt::{Client, Packet, Qos, Version};
use crate::office::{Office, text};
use crate::wait::{self, BOUND};

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

/// The stance in force, by its word; empty where the agent does not answer.
#[must_use]
pub fn stance(agent: &Agent) -> String {
    agent.try_status().and_then(|status| Some(status["stance"]["stance"].as_str()?.to_owned())).unwrap_or_default()
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
