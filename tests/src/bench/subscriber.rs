//! A QoS 1 subscriber that acknowledges and counts, at little cost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::mqtt::packet::{Connect, subscribe};
use crate::mqtt::{Client, Packet, Version};

/// The subscriber; its thread ends when the broker does.
#[derive(Debug)]
pub struct Subscriber {
    messages: Arc<AtomicU64>,
}

impl Subscriber {
    /// Subscribes to everything below `devices`; returns once the broker has granted it.
    #[track_caller]
    pub fn start(broker: SocketAddr) -> Self {
        let (mut client, _) = Client::connect(broker, &Connect::new(Version::V311, "bench-subscriber"));
        client.send(&subscribe(Version::V311, 1, "devices/#"));
        assert_eq!(client.expect(), Packet::Suback { id: 1, codes: vec![1] }, "the broker grants QoS 1");
        let messages = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&messages);
        std::thread::spawn(move || {
            let stream = client.stream().try_clone().ok()?;
            stream.set_read_timeout(None::<Duration>).ok()?;
            take(&stream, &counter)
        });
        Self { messages }
    }

    /// Messages that came.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

/// Counts and acknowledges until the connection ends.
fn take(mut stream: &TcpStream, counter: &AtomicU64) -> Option<()> {
    let mut buffer = Vec::with_capacity(256 * 1024);
    let mut chunk = vec![0_u8; 64 * 1024];
    let mut acks = Vec::new();
    loop {
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        buffer.extend_from_slice(&chunk[..length]);
        let mut at = 0;
        while let Some((packet_id, end)) = publish_at(&buffer, at) {
            at = end;
            if let Some([high, low]) = packet_id {
                acks.extend_from_slice(&[0x40, 2, high, low]);
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        buffer.drain(..at);
        stream.write_all(&acks).ok()?;
        acks.clear();
    }
}

/// The packet at `at`: where it ends and, of a QoS 1 PUBLISH, its identifier. `None` if not all of it is there.
fn publish_at(buffer: &[u8], at: usize) -> Option<(Option<[u8; 2]>, usize)> {
    let first = *buffer.get(at)?;
    let (mut length, mut width) = (0_usize, 0);
    loop {
        let byte = *buffer.get(at + 1 + width)?;
        length |= usize::from(byte & 0x7f) << (7 * width);
        width += 1;
        if byte & 0x80 == 0 || width == 4 {
            break;
        }
    }
    let body = buffer.get(at + 1 + width..at + 1 + width + length)?;
    let end = at + 1 + width + length;
    if first & 0xf6 != 0x32 {
        return Some((None, end));
    }
    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let id = body.get(2 + topic..4 + topic)?;
    Some((Some([id[0], id[1]]), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Qos;
    use crate::tools::Mosquitto;
    use crate::wait;

    #[test]
    fn every_message_is_counted_once() {
        let broker = Mosquitto::start("max_inflight_messages 0\nmax_queued_messages 0\n");
        let subscriber = Subscriber::start(broker.address());
        let (mut client, _) = Client::connect(broker.address(), &Connect::new(Version::V5, "publisher"));
        for id in 1..=500 {
            client.publish("devices/a/telemetry", &[b'x'; 300], Qos::AtLeastOnce, id);
        }
        wait::until("500 messages came", wait::BOUND, || subscriber.messages() == 500);
        wait::never("a message came twice", Duration::from_millis(100), || subscriber.messages() > 500);
    }
}
