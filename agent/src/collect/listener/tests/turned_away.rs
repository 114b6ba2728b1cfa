use tracing::level_filters::LevelFilter;

use super::*;
use crate::collect::turned_away::tests::Captured;

/// The line of this cause, once it is there.
async fn line(captured: &Captured, parts: &[&str]) -> String {
    let waiting = async {
        loop {
            if let Some(line) = captured.with(parts).pop() {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no line with {parts:?} in {:?}", captured.with(&[])))
}

#[tokio::test]
async fn a_refused_publish_is_logged_with_client_peer_topic_and_size_once_a_minute() {
    let captured = Captured::from(LevelFilter::INFO);
    let gate = Gate::open();
    gate.rules.send_replace(Arc::new(Rules::clone(&rules(&["d/{device}"], None)).only(["a"])));
    let mut client = gate.v3("meter\n7").await;
    let peer = client.stream.local_addr().expect("an address").to_string();
    for _ in 0..10 {
        client.send(&publish(4, 1, 1, "other/\u{1b}[2J", b"12345678")).await;
        client.expect(&[0x40, 2, 0, 1]).await;
        client.send(&publish(4, 1, 2, "d/b", b"")).await;
        client.expect(&[0x40, 2, 0, 2]).await;
    }
    let lines = captured.with(&["a publish is refused"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for part in ["WARN", &peer, r#"client="meter\n7""#, r#"topic="other/\u{1b}[2J""#, "size=24", "[[collect.rule]]"] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(lines[1].contains(r#"cause="device""#) && lines[1].contains(r#"topic="d/b""#), "{}", lines[1]);
}

#[tokio::test]
async fn a_publish_that_is_too_large_is_logged_counted_and_in_3_1_1_acknowledged_whatever_its_topic() {
    for (version, long) in [(4, false), (4, true), (5, false)] {
        let captured = Captured::from(LevelFilter::INFO);
        let gate = Gate::with(Options { max_packet_size: 2_048, ..options() }, Vec::new());
        let mut client = gate.raw().await;
        client.send(&connect(version, "big", 2, 0, &[])).await;
        client.packet().await;
        let topic = format!("d/{}", if long { "x".repeat(60_000) } else { "a".into() });
        client.send(&publish(version, 1, 0x102, &topic, &[7; 3_000])).await;
        match version {
            4 => client.expect(&[0x40, 2, 1, 2]).await,
            _ => assert_eq!(client.rest().await, [0xe0, 1, 0x95]),
        }
        gate.until("counted", |stats| stats.refused_size.get() == 1).await;
        if version == 4 {
            client.send(&publish(4, 1, 3, "d/a", b"after it")).await;
            client.expect(&[0x40, 2, 0, 3]).await;
        }
        let logged = line(&captured, &["WARN", r#"cause="size""#, r#"client="big""#, "max_packet_size"]).await;
        let start = if long { r#"topic="d/xxx"# } else { r#"topic="d/a""# };
        assert!(logged.contains(start) && logged.contains("size=") && logged.len() < 1_024, "{logged}");
    }
}

#[tokio::test]
async fn who_is_turned_away_before_it_is_served_is_logged_with_its_address_and_why() {
    let captured = Captured::from(LevelFilter::INFO);
    let gate = Gate::open();
    let mqtt_3_1 = packet(0x10, &[b"\0\x06MQIsdp\x03\x02\0\0", &text("old")]);
    let tries: [(&str, Vec<u8>); 4] = [
        ("version", mqtt_3_1),
        ("TLS on the plain port", vec![0x16, 3, 1, 2, 0]),
        ("CONNECT", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("CONNECT", connect(4, "", 0, 0, &[])),
    ];
    for (cause, bytes) in tries {
        let known = captured.with(&[&format!("cause={cause:?}")]).len();
        let mut client = gate.raw().await;
        let peer = format!("peer={} ", client.stream.local_addr().expect("an address"));
        client.send(&bytes).await;
        client.rest().await;
        let own = captured.with(&["WARN", &format!("cause={cause:?}"), &peer]).len();
        assert_eq!(own, 1 - known, "only the first of {cause} is logged: {:?}", captured.with(&[]));
    }
    let mut client = gate.v5("breaker").await;
    client.send(&[0xf0, 0]).await;
    client.rest().await;
    line(&captured, &["WARN", r#"cause="packet""#, "peer=127.0.0.1:", r#"client="breaker""#, "a client does not send"])
        .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_logged_with_their_address() {
    let captured = Captured::from(LevelFilter::INFO);
    let gate = Gate::with(Options { max_connections: 1, ..options() }, Vec::new());
    let _inside = gate.v3("inside").await;
    let mut outside = gate.raw().await;
    let peer = outside.stream.local_addr().expect("an address").to_string();
    outside.rest().await;
    line(&captured, &["WARN", r#"cause="max_connections""#, &peer]).await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_at_debug_level_with_its_address() {
    let captured = Captured::from(LevelFilter::DEBUG);
    let gate = Gate::open();
    let mut client = gate.v3("c").await;
    let peer = client.stream.local_addr().expect("an address").to_string();
    client.send(&[0xf0, 0]).await;
    client.rest().await;
    line(&captured, &["DEBUG", "a connection has ended", &peer]).await;
}
