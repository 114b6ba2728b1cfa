//! Input from clients that are broken or mean harm: it ends their own connection at most.
#![forbid(unsafe_code)]

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::{self, Connect, Publish, Will};
use tidegate_tests::mqtt::{Client, Packet, Qos, Version};
use tidegate_tests::rng::Rng;
use tidegate_tests::{tools, wait};

/// What one client that misbehaves may cost the agent: far above the buffers of one connection and what a dev build
/// and its allocator waste, far below what the client tries to make it take.
const ALLOWED_GROWTH_KIB: u64 = 24 * 1024;

struct Case {
    name: &'static str,
    /// Sent first, unless the case is about the first packet.
    connect: Option<Version>,
    bytes: Vec<u8>,
}

fn connected(name: &'static str, version: Version, bytes: Vec<u8>) -> Case {
    Case { name, connect: Some(version), bytes }
}

fn first(name: &'static str, bytes: Vec<u8>) -> Case {
    Case { name, connect: None, bytes }
}

fn publish(version: Version, topic: &[u8]) -> Vec<u8> {
    Publish { topic, payload: b"1", qos: Qos::AtLeastOnce, id: 1, dup: false }.encode(version)
}

/// What is wrong before or within CONNECT.
fn wrong_beginnings() -> Vec<Case> {
    let good = Connect::new(Version::V311, "c").encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let will_of = |topic: &str| Connect {
        will: Some(Will { topic: topic.to_owned(), payload: Vec::new(), qos: Qos::AtMostOnce }),
        ..Connect::new(Version::V311, "c")
    };
    vec![
        first("HTTP", b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n".to_vec()),
        first("a TLS hello on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        first("zeros", vec![0; 64]),
        first("a PUBLISH before CONNECT", publish(Version::V311, b"devices/x/telemetry")),
        first("a PINGREQ before CONNECT", packet::PINGREQ.to_vec()),
        first("another protocol's name", with(4, b'X')),
        first("protocol level 3", with(8, 3)),
        first("protocol level 99", with(8, 99)),
        first("CONNECT with its reserved flag", with(9, 0x03)),
        first("CONNECT with will QoS 3", with(9, 0x1e)),
        first("CONNECT with fixed header flags", with(0, 0x11)),
        first("a client id longer than its packet", with(13, 200)),
        first("a client id that is no UTF-8", with(14, 0xff)),
        first("a will topic with a wildcard", will_of("devices/#").encode()),
        first("an empty CONNECT", packet::packet(0x10, b"")),
        first("a remaining length of five bytes", vec![0x10, 0xff, 0xff, 0xff, 0xff, 0x01]),
    ]
}

/// What is wrong after CONNECT.
fn wrong_continuations() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in Version::BOTH {
        let with_properties = |body: &[u8]| {
            let mut bytes = Vec::new();
            packet::put_field(&mut bytes, b"devices/x/telemetry");
            bytes.extend_from_slice(&[0, 1]);
            bytes.extend_from_slice(body);
            packet::packet(0x32, &bytes)
        };
        let mut without_id = Vec::new();
        packet::put_field(&mut without_id, b"devices/x/telemetry");
        without_id.extend_from_slice(&[0, 0, 0]);
        let mut topic_too_long = vec![0xff, 0xff];
        topic_too_long.extend_from_slice(b"devices");
        cases.extend([
            connected("a second CONNECT", version, Connect::new(version, "again").encode()),
            connected("QoS 3", version, with_first(0x36, publish(version, b"devices/x/telemetry"))),
            connected("packet identifier 0", version, packet::packet(0x32, &without_id)),
            connected("a topic that is no UTF-8", version, publish(version, b"devices/\xff\xfe/telemetry")),
            connected("a surrogate in the topic", version, publish(version, b"devices/\xed\xa0\x80/telemetry")),
            connected("a topic with NUL", version, publish(version, b"devices/\0/telemetry")),
            connected("a topic with +", version, publish(version, b"devices/+/telemetry")),
            connected("a topic with #", version, publish(version, b"devices/x/telemetry/#")),
            connected("an empty topic", version, publish(version, b"")),
            connected("a topic longer than its packet", version, packet::packet(0x32, &topic_too_long)),
            connected("an empty PUBLISH", version, packet::packet(0x32, b"")),
            connected("SUBSCRIBE with wrong flags", version, with_first(0x80, packet::subscribe(version, 1, "a"))),
            connected("SUBSCRIBE without a filter", version, packet::packet(0x82, &[0, 1, 0])),
            connected("PUBREL with wrong flags", version, with_first(0x60, packet::pubrel(1))),
            connected("a CONNACK from a client", version, vec![0x20, 2, 0, 0]),
            connected("a remaining length of five bytes", version, vec![0x32, 0xff, 0xff, 0xff, 0xff, 0x01]),
            connected("packet type 0", version, vec![0x00, 0x00]),
        ]);
        if version == Version::V5 {
            cases.extend([
                connected("topic alias 0", version, with_properties(&[3, 0x23, 0, 0, b'1'])),
                connected("properties longer than the packet", version, with_properties(&[100, b'1'])),
                connected("an unknown property", version, with_properties(&[2, 0x7f, 0, b'1'])),
                connected("a property twice", version, with_properties(&[4, 0x01, 0, 0x01, 0, b'1'])),
            ]);
        } else {
            cases.push(connected("packet type 15", version, vec![0xf0, 0x00]));
        }
    }
    cases
}

fn with_first(byte: u8, mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] = byte;
    packet
}

/// Sends a case and fails unless the server closes the connection.
fn is_closed(address: SocketAddr, case: &Case) {
    println!("{} ({:?})", case.name, case.connect);
    let mut client = match case.connect {
        Some(version) => Client::connect(address, &Connect::new(version, "hostile")).0,
        None => Client::open(address, Version::V311),
    };
    let _ = client.try_send(&case.bytes); // the server may close before it has all of it
    client.expect_closed();
}

#[test]
fn malformed_packets_end_their_connection_and_harm_no_other() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.listener", "connect_timeout", "\"2s\"");
    let mut agent = setup.start();
    let (mut good, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "good"));
    let mut id = 0;
    for case in wrong_beginnings().iter().chain(&wrong_continuations()) {
        is_closed(agent.address(), case);
        id += 1;
        good.publish_acknowledged("devices/good/telemetry", b"1", id);
    }
    agent.assert_running();
    flux.wait_for(usize::from(id), wait::BOUND);
    assert_eq!(flux.look(|log| log.delivered_events().iter().filter(|event| event.device != "good").count()), 0);
}

#[test]
fn random_bytes_harm_nothing() {
    let mut rng = Rng::seeded("random_bytes_harm_nothing");
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    for round in 0..400 {
        let version = Version::BOTH[round % 2];
        let mut client = Client::open(agent.address(), version);
        let mut bytes = Vec::new();
        if round % 4 != 0 {
            bytes = Connect::new(version, "random").encode();
        }
        // Whole packets with a few bytes changed get further than pure noise.
        for id in 1..=3 {
            let topic = b"devices/random/telemetry";
            let mut publish = Publish { topic, payload: b"1", qos: Qos::AtLeastOnce, id, dup: false }.encode(version);
            for _ in 0..rng.between(0, 4) {
                let at = rng.between(0, publish.len() as u64) as usize;
                publish[at] = rng.bits() as u8;
            }
            bytes.extend_from_slice(&publish);
        }
        let _ = client.try_send(&bytes); // the server may close at any of it
        agent.assert_running();
    }
    let (mut good, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "good"));
    good.publish_acknowledged("devices/good/telemetry", b"1", 1);
    wait::until("it is delivered", wait::BOUND, || flux.payloads_of("good") == ["1"]);
    flux.look(|log| log.assert_faultless());
}

#[test]
fn a_remaining_length_of_256_mib_costs_no_memory() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.listener", "connect_timeout", "\"2s\"");
    let mut agent = setup.start();
    let before = agent.memory_kib("VmHWM");
    let huge = |first: u8| [vec![first, 0xff, 0xff, 0xff, 0x7f], vec![b'x'; 64 * 1024]].concat();
    for _ in 0..20 {
        for version in Version::BOTH {
            is_closed(agent.address(), &connected("256 MiB announced in a PUBLISH", version, huge(0x32)));
        }
        is_closed(agent.address(), &first("256 MiB announced in a CONNECT", huge(0x10)));
    }
    agent.assert_running();
    let grown = agent.memory_kib("VmHWM") - before;
    assert!(grown < ALLOWED_GROWTH_KIB, "memory grew by {grown} KiB");
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_the_time_limit() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.listener", "connect_timeout", "\"1s\"");
    let agent = setup.start();
    let mut silent = Client::open(agent.address(), Version::V311);
    let mut slow = Client::open(agent.address(), Version::V311);
    slow.send(&Connect::new(Version::V311, "slow").encode()[..5]);
    let start = Instant::now();
    silent.expect_closed();
    slow.expect_closed();
    assert!(start.elapsed() < Duration::from_secs(5), "closed only after {:?}", start.elapsed());
}

#[test]
fn a_client_that_stops_reading_costs_bounded_memory_and_holds_up_nobody() {
    const FLOOD: usize = 256 << 20;
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"64MiB\"");
    let mut agent = setup.start();
    let before = agent.memory_kib("VmHWM");
    for version in Version::BOTH {
        let (client, _) = Client::connect(agent.address(), &Connect::new(version, &format!("deaf-{version:?}")));
        let topic = b"devices/deaf/telemetry";
        let publish = |id| Publish { topic, payload: b"1", qos: Qos::AtLeastOnce, id, dup: false }.encode(version);
        // Tiny publishes, so that the acknowledgements nobody reads weigh as much as possible.
        let block: Vec<u8> = (1..=2000).flat_map(publish).collect();
        let mut stream = client.stream();
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout on a socket");
        let mut written = 0;
        while written < FLOOD {
            match stream.write(&block) {
                Ok(count) => written += count,
                Err(_) => break, // it no longer reads from us, or has hung up: both are right
            }
        }
        println!("{version:?}: {written} bytes were taken from a client that reads nothing");
        let (mut good, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "good"));
        for id in 1..=20 {
            good.publish_acknowledged("devices/good/telemetry", b"1", id);
        }
        drop(client);
    }
    agent.assert_running();
    let grown = agent.memory_kib("VmHWM") - before;
    assert!(grown < ALLOWED_GROWTH_KIB, "memory grew by {grown} KiB");
}

/// 10,000 connections, and what a process has open besides.
const OPEN_FILES: u64 = 12_000;

/// As [`Setup::webhook`], with descriptors for so many connections on both sides.
fn crowded(flux: &Flux, max_connections: usize) -> Agent {
    tools::raise_open_files(OPEN_FILES);
    let mut setup = Setup::webhook(flux);
    setup.set("collect.listener", "max_connections", &max_connections.to_string());
    setup.set("collect.listener", "connect_timeout", "\"60s\"");
    setup.start()
}

#[test]
fn ten_thousand_connections_are_served_in_bounded_memory() {
    const CONNECTIONS: usize = 10_000;
    /// Per connection: a dev build's task, its protocol state and buffers.
    const KIB_EACH: u64 = 16;
    let flux = Flux::start();
    let agent = crowded(&flux, CONNECTIONS + 100);
    let before = agent.memory_kib("VmRSS");
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|number| Client::connect(agent.address(), &Connect::new(Version::V311, &format!("c{number}"))).0)
        .collect();
    let grown = agent.memory_kib("VmRSS").saturating_sub(before);
    println!("{CONNECTIONS} connections: {grown} KiB");
    assert!(grown < CONNECTIONS as u64 * KIB_EACH, "memory grew by {grown} KiB");
    for client in &mut clients {
        client.publish("devices/crowd/telemetry", b"1", Qos::AtLeastOnce, 1);
    }
    for client in &mut clients {
        assert_eq!(client.expect(), Packet::Puback { id: 1, reason: 0 });
    }
    flux.wait_for(CONNECTIONS, Duration::from_secs(60));
}

#[test]
fn connections_beyond_the_limit_are_turned_away_and_the_others_are_served() {
    let flux = Flux::start();
    let mut agent = crowded(&flux, 50);
    let mut inside: Vec<Client> = (0..50)
        .map(|number| Client::connect(agent.address(), &Connect::new(Version::V5, &format!("in{number}"))).0)
        .collect();
    let mut outside = Vec::new();
    let mut let_in = 0;
    for number in 0..10_000 {
        // Refused, or accepted and closed without an answer, or answered "server busy": all turn it away.
        let Ok(mut client) = Client::try_open(agent.address(), Version::V5) else { continue };
        if client.try_send(&Connect::new(Version::V5, &format!("out{number}")).encode()).is_err() {
            continue;
        }
        if number % 100 == 0 {
            let answer = client.receive(Duration::from_secs(20));
            let_in += usize::from(matches!(answer, Ok(Packet::Connack { code: 0, .. })));
        } else {
            outside.push(client);
        }
    }
    assert_eq!(let_in, 0, "connections beyond the limit were let in");
    for client in &mut inside {
        client.publish_acknowledged("devices/inside/telemetry", b"1", 1);
    }
    agent.assert_running();
    drop((inside, outside));
    wait::until("there is room again", wait::BOUND, || {
        Client::try_connect(agent.address(), &Connect::new(Version::V5, "later")).is_some()
    });
}
