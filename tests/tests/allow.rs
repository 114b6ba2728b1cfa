//! Only listed devices, clients, users and certificates are served, and real clients are told so in their version's
//! words.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::{Connect, Publish};
use tidegate_tests::mqtt::{Client, Packet, Qos, Version};
use tidegate_tests::tools::{self, Mosquitto};
use tidegate_tests::{certs, ports, wait};

const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

fn topic(device: &str) -> String {
    format!("devices/{device}/telemetry")
}

/// `mosquitto_pub` publishes one message as this client and device.
fn publish(address: SocketAddr, version: &str, client_id: &str, device: &str, more: &[&str]) -> Output {
    let mut command = tools::mosquitto_pub(address);
    command.args(["-V", version, "-q", "1", "-i", client_id, "-t", &topic(device), "-m", "1"]).args(more);
    command.output().expect("mosquitto_pub starts")
}

/// What a client printed, if it failed.
#[track_caller]
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "was let in: {said}");
    said.to_lowercase()
}

/// A count by cause, of `/listener/turned_away_by` or `/counts/refused_by`.
fn by_cause(agent: &Agent, pointer: &str, cause: &str) -> u64 {
    let status = agent.status();
    let counts = status.pointer(pointer).and_then(|counts| counts.as_array()).cloned().unwrap_or_default();
    counts.iter().find(|count| count["cause"] == cause).map_or(0, |count| count["count"].as_u64().expect("a count"))
}

#[test]
fn clients_that_are_not_listed_are_refused_at_connect_in_both_versions() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.allow", "client_ids", "[\"pump-*\", \"meter\"]");
    let agent = setup.start();
    for (version, words) in VERSIONS.into_iter().zip(["identifier rejected", "identifier not valid"]) {
        let said = refusal(&publish(agent.address(), version, "stranger", "x", &[]));
        assert!(said.contains(words), "{version}: {said}");
        assert!(publish(agent.address(), version, "pump-1", "listed", &[]).status.success(), "{version}");
    }
    let mut paho = tools::paho_publish(agent.address());
    paho.args(["--version", "5", "--qos", "1", "--topic", &topic("paho"), "--count", "1", "--client-id", "meter"]);
    tools::run(&mut paho);
    wait::until("what listed clients published is delivered", wait::BOUND, || flux.delivered() == 3);
    assert!(flux.payloads_of("x").is_empty());
    assert_eq!(by_cause(&agent, "/listener/turned_away_by", "client id"), 2);
    let shown = agent.command(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("turned away") && shown.contains("client id 2"), "{shown}");
    assert_eq!(agent.log().matches("its client id is not listed").count(), 1, "one line a minute");
}

#[test]
fn users_that_are_not_listed_are_refused_at_connect_in_both_versions() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.allow", "usernames", "[\"pumps\"]");
    let agent = setup.start();
    for version in VERSIONS {
        for user in [&["-u", "meters"][..], &[]] {
            let said = refusal(&publish(agent.address(), version, "c", "x", user));
            assert!(said.contains("not authori"), "{version}: {said}");
        }
        assert!(publish(agent.address(), version, "c", "listed", &["-u", "pumps"]).status.success());
    }
    assert_eq!(by_cause(&agent, "/listener/turned_away_by", "user name"), 4);
}

#[test]
fn a_certificate_is_listed_by_its_name_and_another_of_the_same_authority_is_not() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let certs = certs::make(setup.folder());
    let port = ports::free_port();
    setup.without("collect.listener").set("collect.listener", "tls_bind", &format!("\"127.0.0.1:{port}\""));
    for (key, path) in
        [("tls_certificate", &certs.server), ("tls_key", &certs.server_key), ("tls_client_ca", &certs.ca)]
    {
        setup.set("collect.listener", key, &format!("\"{}\"", path.display()));
    }
    setup.set("collect.allow", "certificates", "[\"test *\"]");
    let agent = setup.start();
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let show = |command: &mut Command, pair: Option<(&std::path::Path, &std::path::Path)>| {
        command.arg("--cafile").arg(&certs.ca);
        if let Some((certificate, key)) = pair {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command.output().expect("mosquitto_pub starts")
    };
    for version in VERSIONS {
        let command = |device: &str| {
            let mut command = tools::mosquitto_pub(address);
            command.args(["-V", version, "-q", "1", "-t", &topic(device), "-m", "1"]);
            command
        };
        let listed = show(&mut command("listed"), Some((&certs.client, &certs.client_key)));
        assert!(listed.status.success(), "{listed:?}");
        // The server's own certificate: the same authority, and the name localhost.
        for pair in [None, Some((&*certs.server, &*certs.server_key))] {
            assert!(refusal(&show(&mut command("x"), pair)).contains("not authori"), "{version}");
        }
    }
    wait::until("what was listed is delivered", wait::BOUND, || flux.delivered() == 2);
    assert_eq!(by_cause(&agent, "/listener/turned_away_by", "certificate"), 4);
    assert!(flux.payloads_of("x").is_empty());
}

#[test]
fn a_device_that_is_not_listed_is_refused_at_publish_with_the_answer_that_its_version_has() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.allow", "devices", "[\"pump-3\", \"*-meter\"]");
    let mut agent = setup.start();
    for (version, reason) in [(Version::V311, 0), (Version::V5, 0x87)] {
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(version, "c"));
        for (id, device, reason) in [(1, "pump-4", reason), (2, "pump-3", 0), (3, "a-meter", 0)] {
            let topic = topic(device);
            let publish = Publish { topic: topic.as_bytes(), payload: b"1", qos: Qos::AtLeastOnce, id, dup: false };
            client.try_send(&publish.encode(version)).expect("sent");
            match client.receive(wait::BOUND) {
                Ok(Packet::Puback { id: answered, reason: said }) => {
                    assert_eq!((answered, said), (id, reason), "{device}");
                }
                other => panic!("{other:?} is no PUBACK"),
            }
        }
        client.disconnect();
    }
    let said = publish(agent.address(), "mqttv5", "c", "pump-4", &[]);
    assert!(String::from_utf8_lossy(&said.stderr).to_lowercase().contains("not authori"), "{said:?}");
    flux.wait_for(4, wait::BOUND);
    assert!(flux.payloads_of("pump-4").is_empty());
    assert_eq!(by_cause(&agent, "/counts/refused_by", "device"), 3);
    // What was refused is counted on flash: it is the only answer that a client of 3.1.1 was given.
    agent.kill();
    agent.start();
    assert_eq!(agent.refused(), 3);
}

#[test]
fn devices_behind_a_broker_are_listed_by_their_topics() {
    let flux = Flux::start();
    let broker = Mosquitto::start_persistent();
    let mut setup = Setup::webhook(&flux);
    setup.without("collect.listener");
    setup.set("collect.broker", "url", &format!("\"mqtt://{}\"", broker.address()));
    setup.set("collect.broker", "topics", "[\"devices/#\"]");
    setup.set("collect.allow", "devices", "[\"pump-*\"]");
    let agent = setup.start();
    wait::until("connected to the broker", wait::BOUND, || agent.status()["broker"]["connected"] == true);
    let tell = |device: &str| assert!(publish(broker.address(), "mqttv5", "c", device, &[]).status.success());
    wait::until("the subscription stands", wait::BOUND, || {
        tell("pump-1");
        flux.delivered() > 0
    });
    tell("meter");
    wait::until("it is refused and counted", wait::BOUND, || by_cause(&agent, "/counts/refused_by", "device") == 1);
    assert!(flux.payloads_of("meter").is_empty());
}

#[test]
fn a_reload_takes_a_device_out_that_is_connected_and_lets_it_in_again() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    let connect = || Client::try_connect(agent.address(), &Connect::new(Version::V5, "pump"));
    let (mut client, _) = connect().expect("all are served");
    client.publish_acknowledged(&topic("pump"), b"1", 1);
    agent.setup.set("collect.allow", "client_ids", "[\"meter\"]");
    agent.reload();
    agent.wait_for_log("configuration read again", wait::BOUND);
    let address = agent.address();
    let late = topic("pump");
    let publish = Publish { topic: late.as_bytes(), payload: b"2", qos: Qos::AtLeastOnce, id: 2, dup: false };
    client.try_send(&publish.encode(Version::V5)).expect("sent");
    let answer = client.receive(wait::BOUND);
    assert!(!matches!(answer, Ok(Packet::Puback { .. })), "{answer:?}");
    assert!(Client::try_connect(address, &Connect::new(Version::V5, "pump")).is_none(), "it is not listed");
    agent.setup.without("collect.allow");
    agent.reload();
    wait::until("it is served again", wait::BOUND, || {
        Client::try_connect(address, &Connect::new(Version::V5, "pump")).is_some()
    });
    flux.wait_for(1, wait::BOUND);
    assert_eq!(flux.payloads_of("pump"), ["1"]);
}
