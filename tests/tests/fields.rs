//! What a rule takes from payloads reaches neither the flow nor the store's files, whichever way a publish comes.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use memchr::memmem;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::{Connect, Publish, Will};
use tidegate_tests::mqtt::{Client, Packet, Qos, Version};
use tidegate_tests::tools::{self, Mosquitto};
use tidegate_tests::wait;

/// What must be nowhere. Long, so that chance does not write it.
const NAME: &str = "Hanako-Sato-of-Minato";
const NUMBER: &str = "4907199254740993";

const RULE: &str = "topic = \"devices/{device}/telemetry\"\ndrop = [\"person.name\", \"rows[].name\"]\n\
                    pseudonymise = [\"person.id\"]\nround = { t = 0.5 }";

const TOPIC: &str = "devices/pump/telemetry";

/// A payload as a device sends it.
fn payload() -> String {
    format!(
        "{{\"person\":{{\"name\":\"{NAME}\",\"id\":{NUMBER}}},\"rows\":[{{\"name\":\"{NAME}\",\"v\":1.10}}],\"t\":21.74,\
         \"n\":9007199254740993}}"
    )
}

/// What is left of it, but for the pseudonym.
const LEFT: [&str; 2] = ["{\"person\":{\"id\":\"p_", "\"},\"rows\":[{\"v\":1.10}],\"t\":21.5,\"n\":9007199254740993}"];

/// An agent with the rule, and a key to pseudonyms.
fn setup(flux: &Flux) -> Setup {
    let mut setup = Setup::webhook(flux);
    let key = setup.folder().join("pseudonym.key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("a key in the temporary folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("only its owner may read it");
    setup.set("collect.pseudonyms", "key_file", &format!("\"{}\"", key.display())).fields(RULE);
    setup
}

/// Fails if a file below `folder` holds `text`; says how many bytes were looked through.
#[track_caller]
fn assert_nowhere(folder: &Path, text: &str) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            bytes += assert_nowhere(&path, text);
        } else if let Ok(contents) = std::fs::read(&path) {
            assert!(memmem::find(&contents, text.as_bytes()).is_none(), "{text} is in {}", path.display());
            bytes += contents.len() as u64;
        }
    }
    bytes
}

/// Stops the agent, and looks for what must not be there, and for what must.
#[track_caller]
fn assert_kept_out(agent: &mut Agent) {
    agent.terminate();
    let store = agent.setup.folder().join("store");
    for text in [NAME, NUMBER] {
        assert!(assert_nowhere(&store, text) > 1_000, "there is a store to look through");
        assert!(!agent.log().contains(text), "{text} is in the log");
    }
    let found = std::panic::catch_unwind(|| assert_nowhere(&store, "9007199254740993"));
    assert!(found.is_err(), "what is kept would be found if it were looked for");
}

#[track_caller]
fn assert_all_treated(flux: &Flux, device: &str, count: usize) {
    wait::until(&format!("{count} of {device} are delivered"), wait::BOUND, || flux.payloads_of(device).len() >= count);
    let payloads = flux.payloads_of(device);
    assert_eq!(payloads.len(), count);
    for payload in &payloads {
        assert!(payload.starts_with(LEFT[0]) && payload.ends_with(LEFT[1]), "{payload}");
        assert_eq!(payload, &payloads[0], "one person is one pseudonym");
    }
}

#[test]
fn real_clients_at_every_qos_leave_no_trace_of_what_is_dropped() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let mut command = tools::mosquitto_pub(agent.address());
            tools::run(command.args(["-V", version, "-q", qos, "-t", TOPIC, "-m", &payload(), "-r"]));
        }
    }
    assert_all_treated(&flux, "pump", 6);
    assert_eq!(agent.refused(), 0);
    assert_kept_out(&mut agent);
}

#[test]
fn a_last_will_is_treated_like_a_publish() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    for version in [Version::V311, Version::V5] {
        let mut connect = Connect::new(version, "pump");
        connect.will = Some(Will { topic: TOPIC.into(), payload: payload().into_bytes(), qos: Qos::AtLeastOnce });
        let (client, _) = Client::connect(agent.address(), &connect);
        drop(client);
    }
    assert_all_treated(&flux, "pump", 2);
    assert_kept_out(&mut agent);
}

#[test]
fn what_comes_through_a_broker_is_treated_too() {
    let flux = Flux::start();
    let broker = Mosquitto::start("");
    let mut setup = setup(&flux);
    setup.without("collect.listener");
    setup.set("collect.broker", "url", &format!("\"mqtt://{}\"", broker.address()));
    setup.set("collect.broker", "topics", "[\"devices/#\"]");
    let publish = |payload: &str| {
        let mut command = tools::mosquitto_pub(broker.address());
        tools::run(command.args(["-q", "1", "-r", "-t", TOPIC, "-m", payload]));
    };
    // Retained, so that it comes with the subscription.
    publish(&payload());
    let mut agent = setup.start();
    assert_all_treated(&flux, "pump", 1);
    publish(NAME);
    wait::until("what is no JSON is refused", wait::BOUND, || agent.refused() == 1);
    assert_kept_out(&mut agent);
}

#[test]
fn what_cannot_be_treated_is_refused_with_the_answer_that_its_version_has_and_counted_on_flash() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    let bad = format!("{{\"person\":\"{NAME}\",\"number\":{NUMBER}}}");
    let send = |client: &mut Client, version, payload: &str, id, qos| {
        let publish = Publish { topic: TOPIC.as_bytes(), payload: payload.as_bytes(), qos, id, dup: false };
        client.try_send(&publish.encode(version)).expect("sent");
        client.receive(wait::BOUND).expect("an answer")
    };
    for (version, reason) in [(Version::V311, 0), (Version::V5, 0x99)] {
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(version, "the-client"));
        match send(&mut client, version, &bad, 1, Qos::AtLeastOnce) {
            Packet::Puback { id: 1, reason: said } => assert_eq!(said, reason),
            other => panic!("{other:?}"),
        }
        match send(&mut client, version, NAME, 2, Qos::ExactlyOnce) {
            Packet::Pubrec { id: 2, reason: said } => assert_eq!(said, reason),
            other => panic!("{other:?}"),
        }
        client.publish_acknowledged(TOPIC, payload().as_bytes(), 3);
        client.disconnect();
    }
    let mut command = tools::mosquitto_pub(agent.address());
    let output =
        command.args(["-V", "mqttv5", "-q", "1", "-t", TOPIC, "-m", &bad]).output().expect("mosquitto_pub starts");
    assert!(String::from_utf8_lossy(&output.stderr).to_lowercase().contains("payload format"), "{output:?}");
    assert_all_treated(&flux, "pump", 2);
    let shown = String::from_utf8_lossy(&agent.command(&["status"]).stdout).into_owned();
    assert!(shown.contains("fields 5"), "{shown}");
    wait::until("the flow is told", wait::BOUND, || !flux.payloads_of("tidegate").is_empty());
    for told in flux.payloads_of("tidegate") {
        let gap: serde_json::Value = serde_json::from_str(&told).expect("a gap record is JSON");
        assert_eq!((gap["reason"].as_str(), gap["device"].as_str()), (Some("fields"), Some("pump")), "{told}");
    }
    agent.kill();
    agent.start();
    assert_eq!(agent.refused(), 5, "each was on flash before it was answered");
    assert_kept_out(&mut agent);
}

#[test]
fn a_reload_takes_rules_into_use_and_a_key_that_everybody_may_read_is_refused() {
    let flux = Flux::start();
    let mut setup = setup(&flux);
    let key = setup.folder().join("pseudonym.key");
    setup.without_fields();
    let mut agent = setup.start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
    client.publish_acknowledged(TOPIC, b"{\"t\":1.3}", 1);
    agent.setup.fields(RULE);
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&key, mode(0o644)).expect("changed");
    agent.reload();
    agent.wait_for_log("may be read by every user", wait::BOUND);
    client.publish_acknowledged(TOPIC, b"{\"t\":1.3}", 2);
    std::fs::set_permissions(&key, mode(0o600)).expect("changed");
    agent.reload();
    agent.wait_for_log("configuration read again", wait::BOUND);
    client.publish_acknowledged(TOPIC, b"{\"t\":1.3}", 3);
    flux.wait_for(3, Duration::from_secs(30));
    assert_eq!(flux.payloads_of("pump"), ["{\"t\":1.3}", "{\"t\":1.3}", "{\"t\":1.5}"]);
}
