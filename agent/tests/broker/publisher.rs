//! A device that publishes through the broker and waits for its acknowledgements.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};

/// Publishes these payloads on `topic` and returns once the broker has acknowledged all of them.
pub(crate) async fn publish(port: u16, topic: &str, qos: QoS, retain: bool, payloads: &[String]) {
    let mut options = MqttOptions::new(format!("publisher-{}", qos as u8), "127.0.0.1", port);
    // Mosquitto 2.0 acknowledges what a client has in flight beyond 20 at QoS 2, and loses it.
    options.set_max_packet_size(1 << 24, 1 << 24).set_inflight(20);
    let (client, mut source) = AsyncClient::new(options, payloads.len() + 1);
    for payload in payloads {
        client.try_publish(topic, qos, retain, payload.as_bytes()).expect("the channel is long enough");
    }
    let all = async {
        let mut acknowledged = 0;
        while acknowledged < payloads.len() {
            match (source.poll().await.expect("the publisher keeps its connection"), qos) {
                (Event::Outgoing(Outgoing::Publish(_)), QoS::AtMostOnce)
                | (Event::Incoming(Packet::PubAck(_)), QoS::AtLeastOnce)
                | (Event::Incoming(Packet::PubComp(_)), QoS::ExactlyOnce) => acknowledged += 1,
                _ => {}
            }
        }
        client.try_disconnect().expect("the channel is long enough");
        while !matches!(source.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {}
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("the broker acknowledges in time");
}

/// `count` payloads that tell where they come from.
pub(crate) fn payloads(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{\"{name}\":{number}}}")).collect()
}
