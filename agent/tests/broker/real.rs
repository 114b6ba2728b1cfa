//! Against a real Mosquitto.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::QoS;
use tidegate::collect::broker::Protocol;
use tidegate::store::IN_FLIGHT_BYTES;

use crate::gateway::{Gateway, options};
use crate::mosquitto::Mosquitto;
use crate::publisher::{payloads, publish};

const TOPIC: &str = "devices/pump-3/telemetry";

/// Publishes one retained message, which comes by the subscription whether that is there already or not yet.
async fn until_subscribed(gateway: &Gateway, port: u16) {
    publish(port, TOPIC, QoS::AtLeastOnce, true, &payloads("first", 1)).await;
    gateway.until_stored(&payloads("first", 1)).await;
}

async fn everything_arrives_over_a_restart(protocol: Protocol) {
    let mut broker = Mosquitto::start("");
    let mut options = options(broker.port);
    options.protocol = protocol;
    let gateway = Gateway::start(options);
    until_subscribed(&gateway, broker.port).await;

    let mut sent = Vec::new();
    for (name, qos) in [("zero", QoS::AtMostOnce), ("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce)] {
        publish(broker.port, TOPIC, qos, false, &payloads(name, 200)).await;
        if qos != QoS::AtMostOnce {
            sent.extend(payloads(name, 200));
        }
    }
    broker.terminate();
    gateway.until("the loss of the connection", |state| state.connected_since_ms.is_none()).await;
    broker.run();
    for (name, qos) in [("one again", QoS::AtLeastOnce), ("two again", QoS::ExactlyOnce)] {
        publish(broker.port, TOPIC, qos, false, &payloads(name, 200)).await;
        sent.extend(payloads(name, 200));
    }
    gateway.until_stored(&sent).await;
    let state = gateway.until("all acknowledgements", |state| state.acknowledged >= 801).await;
    assert!(state.connects >= 2);
    assert_eq!(state.sessions_lost, 0);
    assert_eq!(gateway.stats.broker_reconnects.get(), state.connects - 1);
    gateway.stop().await;
}

#[tokio::test]
async fn all_of_qos_1_and_2_arrives_over_a_restart_of_the_broker_in_3_1_1() {
    everything_arrives_over_a_restart(Protocol::V311).await;
}

#[tokio::test]
async fn all_of_qos_1_and_2_arrives_over_a_restart_of_the_broker_in_5() {
    everything_arrives_over_a_restart(Protocol::V5).await;
}

async fn what_is_published_meanwhile_arrives(protocol: Protocol) {
    let broker = Mosquitto::start("");
    let mut options = options(broker.port);
    options.protocol = protocol;
    let gateway = Gateway::start(options.clone());
    until_subscribed(&gateway, broker.port).await;
    let kept = gateway.stop().await;
    publish(broker.port, TOPIC, QoS::AtLeastOnce, false, &payloads("meanwhile", 100)).await;
    let gateway = Gateway::start_on(options, kept);
    gateway.until_stored(&payloads("meanwhile", 100)).await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_published_while_the_gateway_is_stopped_arrives_in_3_1_1() {
    what_is_published_meanwhile_arrives(Protocol::V311).await;
}

#[tokio::test]
async fn what_is_published_while_the_gateway_is_stopped_arrives_in_5() {
    what_is_published_meanwhile_arrives(Protocol::V5).await;
}

#[tokio::test]
async fn an_orderly_stop_leaves_nothing_to_be_sent_again() {
    let broker = Mosquitto::start("");
    let gateway = Gateway::start(options(broker.port));
    until_subscribed(&gateway, broker.port).await;
    publish(broker.port, TOPIC, QoS::AtLeastOnce, false, &payloads("once", 300)).await;
    gateway.until_stored(&payloads("once", 300)).await;
    let kept = gateway.stop().await;
    let gateway = Gateway::start_on(options(broker.port), kept);
    publish(broker.port, TOPIC, QoS::AtLeastOnce, false, &payloads("last", 1)).await;
    gateway.until_stored(&payloads("last", 1)).await;
    let stored = gateway.stored();
    let twice: Vec<_> = payloads("once", 300).into_iter().filter(|payload| stored[payload] != 1).collect();
    assert!(twice.is_empty(), "stored again: {twice:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_retained_message_is_stored_once_however_often_the_gateway_reconnects() {
    let mut broker = Mosquitto::start("");
    let gateway = Gateway::start(options(broker.port));
    until_subscribed(&gateway, broker.port).await;
    for round in 2..=3 {
        broker.terminate();
        broker.run();
        gateway.until("the next connection", |state| state.connects >= round).await;
        gateway.until("the retained message", |state| state.retained_repeats >= round - 1).await;
    }
    assert_eq!(gateway.stored()[&payloads("first", 1)[0]], 1);
    publish(broker.port, TOPIC, QoS::AtLeastOnce, true, &payloads("second", 1)).await;
    gateway.until_stored(&payloads("second", 1)).await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_no_rule_takes_or_is_too_large_is_counted_durably_and_acknowledged() {
    let broker = Mosquitto::start("");
    let mut options = options(broker.port);
    options.max_packet_size = 20_000 + TOPIC.len() + 4;
    let gateway = Gateway::start(options);
    until_subscribed(&gateway, broker.port).await;
    publish(broker.port, "devices/pump-3/unknown", QoS::AtLeastOnce, false, &payloads("refused", 30)).await;
    let large = ["x".repeat(20_001), "y".repeat(1_000_000)];
    publish(broker.port, TOPIC, QoS::AtLeastOnce, false, &large).await;
    let allowed = ["z".repeat(20_000)];
    publish(broker.port, TOPIC, QoS::AtLeastOnce, false, &allowed).await;
    gateway.until_stored(&allowed).await;
    gateway.until("all acknowledgements", |state| state.acknowledged == 34).await;
    assert_eq!((gateway.stats.refused_topic.get(), gateway.stats.refused_size.get()), (30, 2));
    assert_eq!(gateway.store.stats().refused, 32);
    assert_eq!(gateway.stored().len(), 2);
    gateway.stop().await;
}

async fn a_store_that_stands_still(protocol: Protocol, extra: &str) {
    let broker = Mosquitto::start(extra);
    let mut options = options(broker.port);
    options.protocol = protocol;
    let gateway = Gateway::start(options);
    until_subscribed(&gateway, broker.port).await;
    let before = gateway.state.snapshot();

    let all = u32::try_from(IN_FLIGHT_BYTES).expect("it fits");
    let permits = Arc::clone(gateway.store.in_flight()).acquire_many_owned(all).await.expect("the store is open");
    let sent: Vec<_> = payloads("stalled", 900).into_iter().map(|payload| payload + &" ".repeat(4000)).collect();
    publish(broker.port, TOPIC, QoS::AtLeastOnce, false, &sent).await;
    // Longer than one and a half times the keep-alive: a broker that still hears pings keeps the connection.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let during = gateway.state.snapshot();
    assert_eq!(during.acknowledged, before.acknowledged, "acknowledged without a commit");
    if extra.is_empty() {
        assert_eq!(during.connects, before.connects, "the connection outlasts the standstill: {during:?}");
    }
    drop(permits);
    gateway.until_stored(&sent).await;
    gateway.until("acknowledgements", |state| state.acknowledged >= before.acknowledged + 900).await;
    gateway.stop().await;
}

#[tokio::test]
async fn while_the_store_stands_still_nothing_is_acknowledged_and_the_connection_stays_in_3_1_1() {
    a_store_that_stands_still(Protocol::V311, "").await;
}

#[tokio::test]
async fn while_the_store_stands_still_nothing_is_acknowledged_and_the_connection_stays_in_5() {
    a_store_that_stands_still(Protocol::V5, "").await;
}

#[tokio::test]
async fn a_broker_without_a_limit_in_flight_waits_while_the_store_stands_still_and_nothing_is_lost() {
    a_store_that_stands_still(Protocol::V311, "max_inflight_messages 0\nmax_queued_messages 0").await;
}
