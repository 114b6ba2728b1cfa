use super::*;

/// Sends to a connected client's socket what breaks the protocol; says what comes back before the close, and checks
/// that another client is served on.
async fn broken(gate: &Gate, version: u8, bytes: &[u8]) -> Vec<u8> {
    let mut other = gate.v3("other").await;
    let before = gate.stats.malformed.get();
    let mut client = if version == 4 { gate.v3("c").await } else { gate.v5("c").await };
    client.send(bytes).await;
    let answer = client.rest().await;
    gate.until("counted", |stats| stats.malformed.get() == before + 1).await;
    other.send(&publish(4, 1, 1, "d/other", b"still here")).await;
    other.expect(&[0x40, 2, 0, 1]).await;
    answer
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection_with_the_right_reason() {
    let gate = Gate::open();
    let bad_utf8 = packet(0x32, &[&[0, 3, b'd', b'/', 0xff, 0, 1, 0], b"x"]);
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        ("wildcard +", publish(5, 1, 1, "d/+", b"x"), 0x90),
        ("wildcard #", publish(5, 1, 1, "d/#", b"x"), 0x90),
        ("U+0000 in the topic", publish(5, 1, 1, "d/\0", b"x"), 0x81),
        ("invalid UTF-8 in the topic", bad_utf8, 0x81),
        ("an empty topic", publish(5, 1, 1, "", b"x"), 0x82),
        ("QoS 3", publish(5, 3, 1, "d/a", b"x"), 0x81),
        ("packet identifier 0", publish(5, 1, 0, "d/a", b"x"), 0x81),
        ("a release of identifier 0", vec![0x62, 2, 0, 0], 0x81),
        ("a topic longer than its packet", vec![0x30, 4, 0, 9, b'd', b'/'], 0x81),
        ("no properties", vec![0x30, 5, 0, 3, b'd', b'/', b'a'], 0x81),
        ("properties longer than the packet", vec![0x30, 6, 0, 3, b'd', b'/', b'a', 9], 0x81),
        ("a property that PUBLISH has not", packet(0x30, &[&text("d/a"), &[3, 0x21, 0, 9]]), 0x82),
        ("a subscription identifier", packet(0x30, &[&text("d/a"), &[2, 0x0b, 1]]), 0x82),
        ("a response topic with a wildcard", packet(0x30, &[&text("d/a"), &[4, 8, 0, 1, b'#']]), 0x81),
        ("topic alias 0", packet(0x30, &[&text("d/a"), &[3, 0x23, 0, 0]]), 0x94),
        ("topic alias 17", packet(0x30, &[&text("d/a"), &[3, 0x23, 0, 17]]), 0x94),
        ("a topic alias never set", packet(0x30, &[&text(""), &[3, 0x23, 0, 3]]), 0x82),
        ("256 MiB remaining length", vec![0x30, 0xff, 0xff, 0xff, 0x7f, 0, 3], 0x95),
        ("a remaining length of five bytes", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01], 0x81),
        ("reserved flags of SUBSCRIBE", packet(0x80, &[&[0, 1, 0], &text("a"), &[0]]), 0x81),
        ("reserved flags of PUBREL", vec![0x60, 2, 0, 1], 0x81),
        ("reserved flags of PINGREQ", vec![0xc1, 0], 0x81),
        ("a PINGREQ with a body", vec![0xc0, 1, 0], 0x81),
        ("packet type 0", vec![0x00, 0], 0x81),
        ("a second CONNECT", connect(5, "c", 2, 0, &[]), 0x82),
        ("a CONNACK from a client", vec![0x20, 2, 0, 0], 0x82),
        ("a PUBACK for nothing", vec![0x40, 2, 0, 1], 0x82),
        ("an AUTH that was not agreed on", vec![0xf0, 0], 0x82),
        ("SUBSCRIBE without a filter", vec![0x82, 3, 0, 1, 0], 0x82),
        ("SUBSCRIBE with identifier 0", packet(0x82, &[&[0, 0, 0], &text("a"), &[0]]), 0x81),
        ("SUBSCRIBE with QoS 3", packet(0x82, &[&[0, 1, 0], &text("a"), &[3]]), 0x81),
        ("UNSUBSCRIBE without a filter", vec![0xa2, 3, 0, 1, 0], 0x82),
        ("a SUBSCRIBE of 20 KiB", packet(0x82, &[&[0, 1, 0], &vec![0; 20_000]]), 0x95),
        ("DISCONNECT that makes the session last", vec![0xe0, 7, 0, 5, 0x11, 0, 0, 0, 9], 0x82),
        ("DISCONNECT with an unknown reason", vec![0xe0, 1, 0x55], 0x81),
    ];
    for (name, bytes, reason) in cases {
        assert_eq!(broken(&gate, 5, &bytes).await, [0xe0, 1, reason], "{name}");
    }
}

#[tokio::test]
async fn mqtt_3_1_1_is_hung_up_on_without_a_word() {
    let gate = Gate::open();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("wildcard", publish(4, 1, 1, "d/#", b"x")),
        ("invalid UTF-8", packet(0x32, &[&[0, 3, b'd', b'/', 0xc0, 0, 1], b"x"])),
        ("QoS 3", publish(4, 3, 1, "d/a", b"x")),
        ("256 MiB remaining length", vec![0x30, 0xff, 0xff, 0xff, 0x7f, 0, 3]),
        ("a second CONNECT", connect(4, "c", 2, 0, &[])),
        ("PUBREL with a reason", vec![0x62, 3, 0, 1, 0]),
        ("DISCONNECT with a body", vec![0xe0, 1, 0]),
        ("options of MQTT 5 in SUBSCRIBE", packet(0x82, &[&[0, 1], &text("a"), &[0x04]])),
        ("AUTH", vec![0xf0, 0]),
    ];
    for (name, bytes) in cases {
        assert_eq!(broken(&gate, 4, &bytes).await, [0; 0], "{name}");
    }
}

#[tokio::test]
async fn a_connect_that_is_none_is_refused_as_its_version_allows() {
    let gate = Gate::open();
    let will = |flags: u8, topic: &str| connect_with(4, "c", flags, 0, &[], &[text(topic), text("gone")].concat());
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("PINGREQ first", vec![0xc0, 0], vec![]),
        ("TLS first", vec![0x16, 3, 1, 2, 0, 1], vec![]),
        ("HTTP first", b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![]),
        ("a CONNECT of another protocol", packet(0x10, &[&text("MQTX"), &[4, 2, 0, 0], &text("c")]), vec![]),
        ("MQTT 3.1", packet(0x10, &[&text("MQIsdp"), &[3, 2, 0, 0], &text("c")]), vec![0x20, 2, 0, 1]),
        ("MQTT 6", connect(6, "c", 2, 0, &[]), vec![0x20, 3, 0, 0x84, 0]),
        ("level 3", connect(3, "c", 2, 0, &[]), vec![0x20, 2, 0, 1]),
        ("the reserved flag, 3.1.1", connect(4, "c", 3, 0, &[]), vec![]),
        ("the reserved flag, 5", connect(5, "c", 3, 0, &[]), vec![0x20, 3, 0, 0x81, 0]),
        ("a will's QoS without a will", connect(5, "c", 0x0a, 0, &[]), vec![0x20, 3, 0, 0x81, 0]),
        ("a will of QoS 3", will(0x1e, "d/a"), vec![]),
        ("a will on a wildcard", will(0x06, "d/#"), vec![]),
        ("a will that is missing", connect(4, "c", 6, 0, &[]), vec![]),
        ("a password without a user", connect_with(4, "c", 0x42, 0, &[], &text("p")), vec![]),
        ("no client identifier and no clean session", connect(4, "", 0, 0, &[]), vec![0x20, 2, 0, 2]),
        ("a client identifier of 300 bytes, 3.1.1", connect(4, &"x".repeat(300), 2, 0, &[]), vec![0x20, 2, 0, 2]),
        ("a client identifier of 300 bytes, 5", connect(5, &"x".repeat(300), 2, 0, &[]), vec![0x20, 3, 0, 0x85, 0]),
        ("U+0000 in the client identifier", connect(5, "a\0", 2, 0, &[]), vec![0x20, 3, 0, 0x81, 0]),
        ("bytes behind the end", packet(0x10, &[&connect(4, "c", 2, 0, &[])[2..], b"more"]), vec![]),
        ("enhanced authentication", connect(5, "c", 2, 0, &[0x15, 0, 1, b'x']), vec![0x20, 3, 0, 0x8c, 0]),
        ("a property twice", connect(5, "c", 2, 0, &[0x21, 0, 1, 0x21, 0, 1]), vec![0x20, 3, 0, 0x82, 0]),
        ("256 MiB, 3.1.1", [&[0x10, 0xff, 0xff, 0xff, 0x7f][..], &connect(4, "c", 2, 0, &[])[2..]].concat(), vec![]),
        ("20 KiB, 5", connect_with(5, "c", 0x82, 0, &[], &[78, 32].repeat(10_000)), vec![0x20, 3, 0, 0x95, 0]),
    ];
    let count = cases.len() as u64;
    for (name, bytes, answer) in cases {
        let mut client = gate.raw().await;
        client.send(&bytes).await;
        assert_eq!(client.rest().await, answer, "{name}");
    }
    assert_eq!(gate.stats.malformed.get(), count);
    gate.v3("still-served").await;
}

#[tokio::test]
async fn noise_harms_nobody() {
    let gate = Gate::open();
    let mut other = gate.v3("other").await;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..300_u16 {
        let mut noise = Vec::new();
        for _ in 0..200 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.push(state as u8);
        }
        let mut client = match round % 3 {
            0 => gate.raw().await,
            1 => gate.v3("noisy").await,
            _ => gate.v5("noisy").await,
        };
        if round % 2 == 0 {
            // Noise in a PUBLISH reaches deeper than noise.
            noise = packet(0x30 | (noise[0] & 0x0f), &[&noise]);
        }
        // A client that is hung up on half-way may fail to send the rest.
        let _ = client.stream.write_all(&noise).await;
        drop(client);
    }
    other.send(&publish(4, 1, 1, "d/other", b"still here")).await;
    other.expect(&[0x40, 2, 0, 1]).await;
}
