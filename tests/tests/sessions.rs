//! What MQTT promises a client over a break: sessions, QoS 2, last wills, takeover; and what it is answered on the way.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::Setup;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::{self, Connect, Publish, Will};
use tidegate_tests::mqtt::{Client, Packet, Qos, Silence, Version};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(30);

fn lasting(version: Version, id: &str) -> Connect {
    Connect::new(version, id).lasting()
}

fn again(version: Version, topic: &str, payload: &[u8], qos: Qos, id: u16) -> Vec<u8> {
    Publish { topic: topic.as_bytes(), payload, qos, id, dup: true }.encode(version)
}

fn sorted(mut payloads: Vec<String>) -> Vec<String> {
    payloads.sort();
    payloads.dedup();
    payloads
}

#[test]
fn a_client_with_unacknowledged_publishes_finds_its_session_after_a_kill_and_each_is_delivered() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    for (version, name) in [(Version::V311, "s3"), (Version::V5, "s5")] {
        let topic = format!("devices/{name}/telemetry");
        let (mut client, present) = Client::connect(agent.address(), &lasting(version, name));
        assert!(!present, "{name} has no session yet");
        for id in 1..=50 {
            client.publish(&topic, format!("{id}").as_bytes(), Qos::AtLeastOnce, id);
        }
        agent.kill(); // the client has seen none of the acknowledgements
        agent.start();
        let (mut client, present) = Client::connect(agent.address(), &lasting(version, name));
        assert!(present, "{name}: the session did not survive");
        for id in 1..=50 {
            client.send(&again(version, &topic, format!("{id}").as_bytes(), Qos::AtLeastOnce, id));
        }
        for id in 1..=50 {
            assert_eq!(client.expect(), Packet::Puback { id, reason: 0 });
        }
        let expected = sorted((1..=50).map(|id| id.to_string()).collect());
        wait::until("each is delivered", BOUND, || sorted(flux.payloads_of(name)) == expected);
    }
    flux.assert_sound();
}

#[test]
fn a_qos_2_publish_repeated_after_kills_is_stored_once() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    for (version, name) in [(Version::V311, "q3"), (Version::V5, "q5")] {
        let topic = format!("devices/{name}/telemetry");
        let connect = lasting(version, name);
        let (mut client, _) = Client::connect(agent.address(), &connect);
        client.publish(&topic, b"1", Qos::ExactlyOnce, 7);
        assert_eq!(client.expect(), Packet::Pubrec { id: 7, reason: 0 });
        for _ in 0..2 {
            agent.kill();
            agent.start();
            let (mut client, present) = Client::connect(agent.address(), &connect);
            assert!(present);
            client.send(&again(version, &topic, b"1", Qos::ExactlyOnce, 7));
            assert_eq!(client.expect(), Packet::Pubrec { id: 7, reason: 0 });
        }
        let (mut client, _) = Client::connect(agent.address(), &connect);
        client.send(&packet::pubrel(7));
        assert_eq!(client.expect(), Packet::Pubcomp { id: 7 });
        agent.kill();
        agent.start();
        // The release is as durable as the record: the identifier is free, and names another message now.
        let (mut client, present) = Client::connect(agent.address(), &connect);
        assert!(present);
        client.send(&packet::pubrel(7));
        assert_eq!(client.expect(), Packet::Pubcomp { id: 7 });
        client.publish_exactly_once(&topic, b"2", 7);
        wait::until("both are delivered", BOUND, || flux.payloads_of(name).len() >= 2);
        client.publish_exactly_once(&topic, b"3", 8);
        wait::until("the third is delivered", BOUND, || flux.payloads_of(name).contains(&"3".to_owned()));
        assert_eq!(flux.payloads_of(name), ["1", "2", "3"]);
    }
    flux.assert_sound();
}

#[test]
fn a_session_is_found_after_an_orderly_restart_and_not_after_a_clean_start() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    for (version, name) in [(Version::V311, "r3"), (Version::V5, "r5")] {
        let (client, _) = Client::connect(agent.address(), &lasting(version, name));
        client.disconnect();
        assert!(agent.terminate().success());
        agent.start();
        let (client, present) = Client::connect(agent.address(), &lasting(version, name));
        assert!(present, "{name}: gone after a restart");
        client.disconnect();
        let (client, present) = Client::connect(agent.address(), &Connect::new(version, name));
        assert!(!present, "{name}: a clean start was told of a session");
        client.disconnect();
        let (_client, present) = Client::connect(agent.address(), &lasting(version, name));
        assert!(!present, "{name}: the clean start left the old session standing");
    }
}

#[test]
fn a_version_5_session_ends_with_its_expiry_and_without_one_at_once() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let with_expiry =
        |seconds| Connect { clean: false, session_expiry: Some(seconds), ..Connect::new(Version::V5, "short") };
    let (client, _) = Client::connect(agent.address(), &with_expiry(0));
    client.disconnect();
    let (client, present) = Client::connect(agent.address(), &with_expiry(1));
    assert!(!present, "a session without expiry outlived its connection");
    client.disconnect();
    // Time itself is the condition here: nothing but looking again, which would renew the session, could show it.
    std::thread::sleep(Duration::from_millis(2500));
    let (_client, present) = Client::connect(agent.address(), &with_expiry(60));
    assert!(!present, "a session outlived its expiry");
}

#[test]
fn a_second_connection_of_a_client_takes_over_and_the_first_is_closed() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    for (version, name) in [(Version::V311, "t3"), (Version::V5, "t5")] {
        let (mut first, _) = Client::connect(agent.address(), &lasting(version, name));
        let (mut second, present) = Client::connect(agent.address(), &lasting(version, name));
        assert!(present);
        if version == Version::V5 {
            assert_eq!(first.expect(), Packet::Disconnect(0x8e), "session taken over");
        }
        first.expect_closed();
        second.publish_acknowledged(&format!("devices/{name}/telemetry"), b"1", 1);
    }
}

/// Mosquitto and Paho keep to it by themselves; a client that does not is told so, as MQTT 5 §4.9 has it.
#[test]
fn a_version_5_client_is_told_how_many_publishes_it_may_have_outstanding() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.listener", "receive_maximum", "7");
    let agent = setup.start();
    let mut client = Client::open(agent.address(), Version::V5);
    client.send(&Connect::new(Version::V5, "eager").encode());
    match client.expect() {
        Packet::Connack { code: 0, properties, .. } => {
            assert!(properties.windows(3).any(|window| window == [0x21, 0, 7]), "{properties:02x?}");
        }
        other => panic!("{other:?}"),
    }
    // QoS 2 publishes that are not released stay outstanding, however fast the server is.
    for id in 1..=8 {
        client.publish("devices/eager/telemetry", b"1", Qos::ExactlyOnce, id);
    }
    let last = std::iter::from_fn(|| client.receive(BOUND).ok()).last();
    assert_eq!(last, Some(Packet::Disconnect(0x93)), "receive maximum exceeded");
}

#[test]
fn a_last_will_is_stored_when_the_connection_breaks_and_not_after_an_orderly_disconnect() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let with_will = |version, name: &str, keep_alive| Connect {
        keep_alive,
        will: Some(Will {
            topic: format!("devices/{name}/telemetry"),
            payload: b"\"gone\"".to_vec(),
            qos: Qos::AtLeastOnce,
        }),
        ..Connect::new(version, name)
    };
    for version in Version::BOTH {
        let orderly = format!("orderly-{version:?}");
        Client::connect(agent.address(), &with_will(version, &orderly, 0)).0.disconnect();
        let broken = format!("broken-{version:?}");
        drop(Client::connect(agent.address(), &with_will(version, &broken, 0)));
        let silent = format!("silent-{version:?}");
        let (mut client, _) = Client::connect(agent.address(), &with_will(version, &silent, 1));
        client.expect_closed(); // by the keep-alive
        for name in [broken, silent] {
            wait::until("the will is delivered", BOUND, || flux.payloads_of(&name) == ["\"gone\""]);
        }
        assert!(flux.payloads_of(&orderly).is_empty(), "an orderly disconnect set off the will");
    }
}

#[test]
fn a_client_that_pings_in_time_is_kept() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let connect = Connect { keep_alive: 1, ..Connect::new(Version::V311, "pinger") };
    let (mut client, _) = Client::connect(agent.address(), &connect);
    for _ in 0..8 {
        assert_eq!(client.receive(Duration::from_millis(400)), Err(Silence::TimedOut));
        client.send(&packet::PINGREQ);
        assert_eq!(client.expect(), Packet::Pingresp);
    }
}

#[test]
fn a_subscription_is_granted_for_tidegates_own_topics_and_refused_for_others_without_hanging_up() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    for (version, name) in [(Version::V311, "sub3"), (Version::V5, "sub5")] {
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(version, name));
        client.send(&packet::subscribe(version, 1, "tidegate/alarm"));
        match client.expect() {
            Packet::Suback { id: 1, codes } => assert!(codes.len() == 1 && codes[0] <= 2, "refused: {codes:?}"),
            other => panic!("{other:?} instead of a SUBACK"),
        }
        for (id, filter) in [(2, "devices/+/telemetry"), (3, "#"), (4, "$SYS/#")] {
            client.send(&packet::subscribe(version, id, filter));
            match client.expect() {
                Packet::Suback { id: answered, codes } => {
                    assert_eq!(answered, id);
                    assert!(codes.len() == 1 && codes[0] >= 0x80, "{filter} was granted: {codes:?}");
                }
                other => panic!("{other:?} instead of a SUBACK"),
            }
        }
        client.publish_acknowledged(&format!("devices/{name}/telemetry"), b"1", 5);
    }
}

#[test]
fn an_empty_client_id_is_given_one_or_refused_as_the_version_says() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, ""));
    client.publish_acknowledged("devices/nameless/telemetry", b"1", 1);

    let mut client = Client::open(agent.address(), Version::V5);
    client.send(&Connect::new(Version::V5, "").encode());
    match client.expect() {
        Packet::Connack { code: 0, properties, .. } => {
            assert!(properties.contains(&0x12), "no assigned client identifier in {properties:02x?}");
        }
        other => panic!("{other:?}"),
    }

    let mut client = Client::open(agent.address(), Version::V311);
    client.send(&lasting(Version::V311, "").encode());
    match client.expect() {
        Packet::Connack { code: 2, session_present: false, .. } => client.expect_closed(),
        other => panic!("{other:?} instead of identifier rejected"),
    }
}

/// What a rule refuses: version 5 is told why, 3.1.1 is acknowledged, and both are counted.
#[test]
fn a_refused_publish_is_answered_as_the_version_allows_and_counted() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let (mut new, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "new"));
    let (mut old, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "old"));
    new.publish("unknown/topic", b"1", Qos::AtLeastOnce, 1);
    match new.expect() {
        Packet::Puback { id: 1, reason: 0x87 | 0x90 } => {}
        other => panic!("{other:?}"),
    }
    new.publish("unknown/topic", b"1", Qos::ExactlyOnce, 2);
    match new.expect() {
        Packet::Pubrec { id: 2, reason: 0x87 | 0x90 } => {}
        other => panic!("{other:?}"),
    }
    old.publish("unknown/topic", b"1", Qos::AtLeastOnce, 1);
    assert_eq!(old.expect(), Packet::Puback { id: 1, reason: 0 });
    old.publish_exactly_once("unknown/topic", b"1", 2);
    new.publish_acknowledged("devices/new/telemetry", b"1", 3);
    wait::until("the four are counted", BOUND, || agent.refused() == 4);
    // Gap records tell the flow of the refusals, before or after: what counts is what devices published.
    wait::until("the one that is not refused is delivered", BOUND, || flux.payloads_of("new") == ["1"]);
    let topics = flux.look(|log| log.delivered_events().iter().map(|event| event.topic.clone()).collect::<Vec<_>>());
    assert!(!topics.iter().any(|topic| topic == "unknown/topic"), "a refused publish was delivered: {topics:?}");
}

#[test]
fn a_device_that_is_not_named_is_refused_as_the_version_allows_until_a_reload_names_it() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect", "devices", "[\"pump-*\"]");
    let mut agent = setup.start();
    let (mut new, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "new"));
    let (mut old, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "old"));
    new.publish("devices/fan/telemetry", b"1", Qos::AtLeastOnce, 1);
    assert_eq!(new.expect(), Packet::Puback { id: 1, reason: 0x87 });
    old.publish_acknowledged("devices/fan/telemetry", b"2", 1);
    assert_eq!(agent.refused(), 2, "acknowledged, so durably counted");
    new.publish_acknowledged("devices/pump-3/telemetry", b"3", 2);
    agent.setup.set("collect", "devices", "[\"pump-*\", \"fan\"]");
    agent.reload();
    agent.wait_for_log("configuration read again", BOUND);
    new.publish_acknowledged("devices/fan/telemetry", b"4", 3);
    wait::until("the fan's is delivered", BOUND, || !flux.payloads_of("fan").is_empty());
    assert_eq!((flux.payloads_of("pump-3"), flux.payloads_of("fan")), (vec!["3".to_owned()], vec!["4".to_owned()]));
}

#[test]
fn refusals_stay_counted_after_a_kill() {
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "old"));
    for id in 1..=25 {
        client.publish("unknown/topic", b"1", Qos::AtLeastOnce, id);
        assert_eq!(client.expect(), Packet::Puback { id, reason: 0 });
    }
    agent.kill();
    agent.start();
    assert_eq!(agent.refused(), 25, "an acknowledged refusal was forgotten");
}

#[test]
fn a_topic_that_no_rule_matches_goes_where_the_default_says() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect", "default_lane", "\"bulk\"");
    let agent = setup.start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "any"));
    client.publish_acknowledged("some/other/topic", b"text, not JSON", 1);
    client.publish_acknowledged("devices/known/telemetry", b"\xff\x00", 2);
    flux.wait_for(2, BOUND);
    flux.look(|log| {
        let events = log.delivered_events();
        let found = |topic: &str| events.iter().find(|event| event.topic == topic).expect("both were delivered");
        let other = found("some/other/topic");
        assert_eq!((other.lane.as_str(), other.payload.get()), ("bulk", "\"text, not JSON\""));
        let known = found("devices/known/telemetry");
        assert_eq!((known.lane.as_str(), known.device.as_str()), ("normal", "known"));
        assert_eq!(known.payload.get(), r#"{"$base64":"/wA="}"#);
    });
}

/// Version 5 is told; 3.1.1, which would only come back and send it again, is acknowledged once that is counted.
#[test]
fn a_publish_over_the_size_limit_is_refused_and_counted_and_harms_no_other() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.listener", "max_packet_size", "\"4KiB\"");
    let agent = setup.start();
    let (mut other, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "other"));
    let large = vec![b'1'; 5000];
    let (mut new, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "new"));
    new.publish("devices/new/telemetry", &large, Qos::AtLeastOnce, 1);
    assert_eq!(new.expect(), Packet::Disconnect(0x95), "packet too large");
    new.expect_closed();
    let (mut old, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "old"));
    old.publish_acknowledged("devices/old/telemetry", &large, 1);
    old.publish_acknowledged("devices/old/telemetry", b"2", 2);
    other.publish_acknowledged("devices/other/telemetry", &vec![b'1'; 3000], 1);
    wait::until("what is not too large is delivered", BOUND, || {
        !flux.payloads_of("old").is_empty() && !flux.payloads_of("other").is_empty()
    });
    wait::until("the refusals are counted", BOUND, || agent.refused() == 2);
    assert_eq!(flux.payloads_of("old"), ["2"]);
    assert!(flux.payloads_of("new").is_empty());
}
