//! The demo's devices: MQTT clients that publish readings at QoS 1, each waiting for its PUBACK before the next.
//!
//! rumqttc gives no token from a publish to its acknowledgement; with one publish at a time there is no doubt whose
//! PUBACK it is. When a connection is lost the reading is published again, as a real device would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tidegate::language::Message;
use tidegate::message;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::ledger::Ledger;
use super::sample;

/// Attempts to publish one reading.
const ATTEMPTS: u32 = 20;

/// How long a PUBACK may take: as long as a slow card needs for a commit, several times over.
const PUBACK_WITHIN: Duration = Duration::from_secs(10);

/// Delay before a new attempt.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A device gave up.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(in crate::command) struct GaveUp {
    device: &'static str,
}

impl GaveUp {
    /// It in words.
    pub(super) fn message(&self) -> Message {
        message!(
            "device {device} had no acknowledgement for a reading in {count} attempts",
            device = self.device,
            count = ATTEMPTS
        )
    }
}

/// One device.
#[derive(Debug)]
pub(super) struct Device {
    /// Its name, a level of its topic.
    pub(super) name: &'static str,
    /// What it publishes.
    pub(super) payloads: Vec<String>,
}

impl Device {
    /// Publishes its readings, one each `pace`, and notes in the ledger what was acknowledged.
    pub(super) async fn publish(
        self,
        gateway: SocketAddr,
        pace: Duration,
        ledger: Arc<Mutex<Ledger>>,
    ) -> Result<(), GaveUp> {
        let mut options = MqttOptions::new(format!("demo-{}", self.name), gateway.ip().to_string(), gateway.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut source) = AsyncClient::new(options, 2);
        let topic = sample::topic(self.name);
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for payload in self.payloads {
            ticks.tick().await;
            let mut attempts = 0;
            while !acknowledged(&client, &mut source, &topic, &payload).await {
                attempts += 1;
                if attempts >= ATTEMPTS {
                    return Err(GaveUp { device: self.name });
                }
                sleep(AGAIN_AFTER).await;
            }
            ledger.lock().unwrap_or_else(PoisonError::into_inner).acknowledge(self.name, &payload);
        }
        if client.try_disconnect().is_ok() {
            let farewell =
                async { while !matches!(source.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {} };
            let _ = timeout(PUBACK_WITHIN, farewell).await;
        }
        Ok(())
    }
}

/// Publishes one reading and waits for its PUBACK; false if the connection was lost before.
async fn acknowledged(client: &AsyncClient, source: &mut EventLoop, topic: &str, payload: &str) -> bool {
    if client.try_publish(topic, QoS::AtLeastOnce, false, payload).is_err() {
        return false;
    }
    let puback = async {
        loop {
            match source.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    if let Ok(acknowledged) = timeout(PUBACK_WITHIN, puback).await {
        return acknowledged;
    }
    // Begin with a new connection, so that a late PUBACK is not taken for that of the next attempt.
    source.clean();
    source.pending.clear();
    false
}
