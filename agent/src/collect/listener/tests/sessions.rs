use super::*;
use crate::collect::Subject;
use crate::store::{IN_FLIGHT_BYTES, SessionRecord};

/// Connects with MQTT 3.1.1 and clean session 0; says `session_present`.
async fn lasting(gate: &Gate, client_id: &str) -> (Client, bool) {
    let mut client = gate.raw().await;
    client.send(&connect(4, client_id, 0, 0, &[])).await;
    let answer = client.packet().await;
    assert_eq!((answer.len(), answer[3]), (4, 0));
    (client, answer[2] == 1)
}

#[tokio::test]
async fn a_session_is_found_again_after_a_reconnect() {
    let gate = Gate::open();
    let (mut client, present) = lasting(&gate, "c").await;
    assert!(!present);
    client.send(&publish(4, 2, 5, "d/a", b"x")).await;
    client.expect(&[0x50, 2, 0, 5]).await;
    drop(client);
    let (mut client, present) = lasting(&gate, "c").await;
    assert!(present);
    let mut again = publish(4, 2, 5, "d/a", b"x");
    again[0] |= 0x08;
    client.send(&again).await;
    client.expect(&[0x50, 2, 0, 5]).await;
    client.send(&[0x62, 2, 0, 5]).await;
    client.expect(&[0x70, 2, 0, 5]).await;
    assert_eq!((gate.payloads().len(), gate.stats.repeats.get(), gate.stats.sessions.get()), (1, 1, 1));
}

#[tokio::test]
async fn a_session_is_found_again_after_a_restart() {
    let record =
        SessionRecord { id: 7, client_id: "c".into(), expiry_s: 600, disconnected_ms: None, subscribed: false };
    let gate = Gate::with(options(), vec![KeptSession { record, unreleased: vec![5] }]);
    let (mut client, present) = lasting(&gate, "c").await;
    assert!(present);
    client.send(&[publish(4, 2, 5, "d/a", b"known"), publish(4, 2, 6, "d/a", b"new")].concat()).await;
    client.expect(&[0x50, 2, 0, 5, 0x50, 2, 0, 6]).await;
    assert_eq!(gate.payloads(), [b"new".to_vec()]);
}

#[tokio::test]
async fn a_session_found_again_after_a_restart_still_hears_alarms() {
    let record = SessionRecord { id: 7, client_id: "c".into(), expiry_s: 600, disconnected_ms: None, subscribed: true };
    let gate = Gate::with(options(), vec![KeptSession { record, unreleased: vec![] }]);
    let (mut client, present) = lasting(&gate, "c").await;
    assert!(present);
    client.send(&[0xc0, 0]).await;
    client.expect(&[0xd0, 0]).await;
    assert!(gate.alarms.raise(Subject::Store, Alarm("the disk is full".into())) > 0, "somebody is told");
    assert!(client.packet().await.ends_with(b"the disk is full"));
}

#[tokio::test]
async fn a_clean_start_ends_the_session() {
    let gate = Gate::open();
    let (mut client, _) = lasting(&gate, "c").await;
    client.send(&publish(4, 2, 5, "d/a", b"x")).await;
    client.expect(&[0x50, 2, 0, 5]).await;
    drop(client);
    let mut client = gate.v3("c").await;
    client.send(&publish(4, 2, 5, "d/a", b"y")).await;
    client.expect(&[0x50, 2, 0, 5]).await;
    assert_eq!((gate.payloads().len(), gate.stats.sessions.get()), (2, 0));
    drop(client);
    assert!(!lasting(&gate, "c").await.1);
}

/// Connects with MQTT 5, clean start 0, and an expiry; says the CONNACK.
async fn expiring(gate: &Gate, expiry_s: u32) -> (Client, Vec<u8>) {
    let mut client = gate.raw().await;
    let properties = [&[0x11][..], &expiry_s.to_be_bytes()].concat();
    client.send(&connect(5, "c", 0, 0, &properties)).await;
    let answer = client.packet().await;
    assert_eq!(answer[3], 0);
    (client, answer)
}

#[tokio::test]
async fn mqtt_5_is_told_when_its_session_lasts_shorter_than_asked_for() {
    let gate = Gate::with(Options { session_max_age: Duration::from_secs(100), ..options() }, Vec::new());
    let (client, answer) = expiring(&gate, u32::MAX).await;
    assert_eq!(answer[5..10], [0x11, 0, 0, 0, 100]);
    drop(client);
    let (_client, answer) = expiring(&gate, 50).await;
    assert_eq!(answer[2], 1);
    assert_ne!(answer[5], 0x11, "granted as asked for");
}

#[tokio::test]
async fn a_disconnect_may_end_the_session() {
    let gate = Gate::open();
    let (mut client, _) = expiring(&gate, 500).await;
    client.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    assert_eq!(client.rest().await, [0; 0]);
    assert_eq!(expiring(&gate, 500).await.1[2], 0);
}

#[tokio::test]
async fn the_session_longest_alone_makes_room_and_a_connected_one_never() {
    let gate = Gate::with(Options { max_sessions: 2, ..options() }, Vec::new());
    for name in ["a", "b"] {
        drop(lasting(&gate, name).await);
        gate.until("gone", |stats| stats.connections.get() == 0).await;
    }
    let (_c, _) = lasting(&gate, "c").await;
    assert_eq!(gate.stats.sessions.get(), 2);
    let (_b, present) = lasting(&gate, "b").await;
    assert!(present, "a made room");
    let mut late = gate.raw().await;
    late.send(&connect(4, "late", 0, 0, &[])).await;
    late.expect(&[0x20, 2, 0, 3]).await;
    let mut late = gate.raw().await;
    late.send(&connect(5, "late", 2, 0, &[0x11, 0, 0, 0, 9])).await;
    late.expect(&[0x20, 3, 0, 0x97, 0]).await;
    gate.v3("clean-sessions-need-no-room").await;
}

#[tokio::test]
async fn a_second_connection_takes_the_client_over() {
    let gate = Gate::open();
    let mut first = gate.v5("c").await;
    let mut second = gate.v5("c").await;
    assert_eq!(first.rest().await, [0xe0, 1, 0x8e]);
    let mut third = gate.v3("c").await;
    assert_eq!(second.rest().await, [0xe0, 1, 0x8e]);
    third.send(&publish(4, 1, 1, "d/a", b"x")).await;
    third.expect(&[0x40, 2, 0, 1]).await;
    assert_eq!(gate.stats.taken_over.get(), 2);
}

#[tokio::test]
async fn a_storm_of_takeovers_leaves_one_connection_and_stores_each_publish_once() {
    let gate = Gate::open();
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = gate.raw().await;
        client.send(&[connect(4, "c", 0, 0, &[]), publish(4, 2, 9, "d/a", b"x")].concat()).await;
        clients.push(client);
    }
    gate.until("one is left", |stats| stats.connections.get() == 1 && stats.connections_total.get() == 40).await;
    let mut last = clients.pop().expect("forty");
    let answer = last.packet().await;
    assert_eq!(answer[0], 0x20);
    last.expect(&[0x50, 2, 0, 9]).await;
    assert_eq!(gate.payloads().len(), 1);
}

#[tokio::test]
async fn an_empty_client_identifier_gets_one() {
    let gate = Gate::open();
    let mut v3 = gate.raw().await;
    v3.send(&connect(4, "", 2, 0, &[])).await;
    v3.expect(&[0x20, 2, 0, 0]).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut v5 = gate.raw().await;
        v5.send(&connect(5, "", 2, 0, &[])).await;
        let answer = v5.packet().await;
        let at = answer.windows(9).position(|part| part == b"tidegate-").expect("an assigned identifier");
        assert_eq!(answer[at - 3..at], [0x12, 0, 25]);
        names.push(answer[at..at + 25].to_vec());
    }
    assert_ne!(names[0], names[1]);
    assert_eq!(gate.stats.taken_over.get(), 0);
}

fn with_will(version: u8, client_id: &str, properties: &[u8], will: &[u8]) -> Vec<u8> {
    connect_with(version, client_id, 0x06, 0, properties, &[will, &text("d/gone"), &text("lost")].concat())
}

#[tokio::test]
async fn a_will_is_stored_when_the_connection_breaks() {
    let gate = Gate::open();
    let mut client = gate.raw().await;
    client.send(&with_will(4, "c", &[], &[])).await;
    client.expect(&[0x20, 2, 0, 0]).await;
    drop(client);
    gate.until("the will", |stats| stats.wills.get() == 1).await;
    assert_eq!(gate.stored_in(NORMAL), [("gone".to_owned(), "d/gone".to_owned(), b"lost".to_vec())]);
}

#[tokio::test]
async fn a_will_is_stored_when_another_connection_takes_over() {
    let gate = Gate::open();
    for (version, expected) in [(4, 1), (5, 2)] {
        let mut first = gate.raw().await;
        first.send(&with_will(version, "c", &[], if version == 5 { &[0] } else { &[] })).await;
        first.packet().await;
        let mut second = gate.raw().await;
        second.send(&connect(version, "c", 2, 0, &[])).await;
        second.packet().await;
        gate.until("the will", |stats| stats.wills.get() == expected).await;
        second.send(&[0xe0, 0]).await;
        second.rest().await;
    }
    assert_eq!(gate.stored_in(NORMAL).len(), 2);
}

#[tokio::test]
async fn a_will_is_dropped_by_an_orderly_disconnect_and_kept_by_0x04() {
    let gate = Gate::open();
    for (version, disconnect, stored) in
        [(4, vec![0xe0, 0], 0), (5, vec![0xe0, 0], 0), (5, vec![0xe0, 1, 0], 0), (5, vec![0xe0, 1, 4], 1)]
    {
        let mut client = gate.raw().await;
        client.send(&with_will(version, "c", &[], if version == 5 { &[0] } else { &[] })).await;
        client.packet().await;
        client.send(&disconnect).await;
        assert_eq!(client.rest().await, [0; 0]);
        gate.until("gone", |stats| stats.connections.get() == 0).await;
        assert_eq!(gate.stats.wills.get(), stored, "{disconnect:?}");
    }
}

#[tokio::test]
async fn a_will_that_no_rule_takes_is_counted() {
    let gate = Gate::open();
    let mut client = gate.raw().await;
    client.send(&connect_with(4, "c", 0x06, 0, &[], &[text("else"), text("lost")].concat())).await;
    client.expect(&[0x20, 2, 0, 0]).await;
    drop(client);
    gate.until("counted", |stats| stats.refused_topic.get() == 1).await;
    assert_eq!(gate.store.stats().refused, 1);
}

#[tokio::test]
async fn a_will_waits_for_its_delay_and_is_dropped_when_the_client_comes_back() {
    let gate = Gate::open();
    let lasts = [0x11, 0, 0, 1, 0];
    let delayed = [5, 0x18, 0, 0, 0, 1];
    for comes_back in [true, false] {
        let mut client = gate.raw().await;
        client.send(&with_will(5, "c", &lasts, &delayed)).await;
        client.packet().await;
        drop(client);
        gate.until("gone", |stats| stats.connections.get() == 0).await;
        assert_eq!(gate.stats.wills.get(), 0, "not at once");
        if comes_back {
            let mut client = gate.raw().await;
            client.send(&connect(5, "c", 0, 0, &lasts)).await;
            assert_eq!(client.packet().await[2], 1);
            client.send(&[0xe0, 0]).await;
            client.rest().await;
        }
    }
    gate.until("after its delay", |stats| stats.wills.get() == 1).await;
}

#[tokio::test]
async fn a_delayed_will_is_stored_when_tidegate_stops_or_the_session_ends() {
    let gate = Gate::open();
    let lasts = [0x11, 0, 0, 1, 0];
    let delayed = [5, 0x18, 0, 0, 1, 0];
    for client_id in ["a", "b"] {
        let mut client = gate.raw().await;
        client.send(&with_will(5, client_id, &lasts, &delayed)).await;
        client.packet().await;
    }
    gate.until("gone", |stats| stats.connections.get() == 0).await;
    drop(gate.v5("a").await);
    gate.until("the session has ended", |stats| stats.wills.get() == 1).await;
    gate.stop.cancel();
    timeout(PATIENCE, gate.running).await.expect("in time").expect("stopped");
    assert_eq!(gate.stats.wills.get(), 2);
}

#[tokio::test]
async fn a_delayed_will_comes_before_what_its_client_publishes_when_it_is_back() {
    let gate = Gate::open();
    let (lasts, delayed) = ([0x11, 0, 0, 1, 0], [5, 0x18, 0, 0, 1, 0]);
    for round in 1..=20 {
        let mut client = gate.raw().await;
        client.send(&with_will(5, "c", &lasts, &delayed)).await;
        client.packet().await;
        drop(client);
        gate.until("gone", |stats| stats.connections.get() == 0).await;
        let mut client = gate.raw().await;
        client.send(&[connect(5, "c", 2, 0, &[]), publish(5, 1, 1, "d/a", b"back")].concat()).await;
        client.packet().await;
        client.expect(&[0x40, 2, 0, 1]).await;
        assert_eq!(gate.stats.wills.get(), round, "an acknowledgement follows what was submitted before");
        drop(client);
        gate.until("gone", |stats| stats.connections.get() == 0).await;
    }
    let expected: Vec<&[u8]> = [&b"lost"[..], b"back"].repeat(20);
    assert_eq!(gate.payloads(), expected);
}

#[tokio::test]
async fn without_room_for_its_delayed_will_a_client_is_told_in_time_and_the_will_is_stored_later() {
    let gate = Gate::with(Options { connect_timeout: Duration::from_millis(300), ..options() }, Vec::new());
    let (lasts, delayed) = ([0x11, 0, 0, 1, 0], [5, 0x18, 0, 0, 1, 0]);
    let mut client = gate.raw().await;
    client.send(&with_will(5, "c", &lasts, &delayed)).await;
    client.packet().await;
    drop(client);
    gate.until("gone", |stats| stats.connections.get() == 0).await;
    let all = gate.store.in_flight().clone().acquire_many_owned(IN_FLIGHT_BYTES as u32).await.expect("open");
    let mut client = gate.raw().await;
    client.send(&connect(5, "c", 2, 0, &[])).await;
    assert_eq!(client.rest().await, [0x20, 3, 0, 0x88, 0]);
    assert_eq!((gate.stats.timeouts.get(), gate.stats.wills.get()), (1, 0));
    drop(all);
    gate.until("the will", |stats| stats.wills.get() == 1).await;
    drop(gate.v5("c").await);
    assert_eq!(gate.payloads(), [b"lost".to_vec()]);
}
