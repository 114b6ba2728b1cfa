//! The door for a client that brings its own sockets: rumqttc speaks to a Unix socket, a relay carries the bytes through a
//! [`WireStream`]. Nothing of the door is made for it.

use std::num::NonZeroU64;
use std::time::Instant;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, Transport};
use tokio::net::UnixListener;

use super::*;
use crate::shape::pace::Rate;

const MESSAGES: usize = 20;
const PAYLOAD: usize = 1_000;

/// Takes what a client sends and says what MQTT 3.1.1 wants said: CONNACK, PUBACK. The bytes it was sent, once the client
/// has left.
async fn broker(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let Ok(kind) = stream.read_u8().await else { return Ok(taken) };
        let (mut length, mut shift) = (0_usize, 0);
        taken += 1;
        loop {
            let byte = stream.read_u8().await?;
            taken += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        taken += length as u64;
        match kind >> 4 {
            1 => stream.write_all(&[0x20, 2, 0, 0]).await?,
            3 => {
                let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                stream.write_all(&[0x40, 2, body[id], body[id + 1]]).await?;
            }
            14 => return Ok(taken),
            other => panic!("a packet of type {other} is not part of this exchange"),
        }
        stream.flush().await?;
    }
}

/// A client publishes through a relay and the door; the bytes that the broker was sent, and how long it took.
async fn publish_through(wire: &Wire, authority: Option<&Authority>) -> (u64, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let target = target("localhost", listener.local_addr().expect("it is bound").port(), authority.is_some());
    let acceptor = authority.map(|authority| TlsAcceptor::from(Arc::new(server(authority, "localhost", false))));
    let broker = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        match acceptor {
            None => broker(stream).await,
            Some(acceptor) => broker(acceptor.accept(stream).await?).await,
        }
    });

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("door.sock");
    let socket = UnixListener::bind(&path).expect("a socket can be made");
    let relay = tokio::spawn({
        let wire = wire.clone();
        async move {
            let (mut near, _) = socket.accept().await.expect("the client comes");
            let mut far = wire.connect(&target).await.expect("the broker is there");
            // The client's keep-alive and its timeouts are its own: what the door holds back it takes for a slow line.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    });

    let mut options = MqttOptions::new("gw-1", path.to_str().expect("a temporary folder's name is text"), 1883);
    options.set_transport(Transport::Unix);
    let (client, mut events) = AsyncClient::new(options, MESSAGES);
    let start = Instant::now();
    for number in 0..MESSAGES {
        let payload = vec![number as u8; PAYLOAD];
        client.publish("telemetry", QoS::AtLeastOnce, false, payload).await.expect("there is room in the queue");
    }
    let mut acknowledged = 0;
    while acknowledged < MESSAGES {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.expect("the connection holds") {
            acknowledged += 1;
        }
    }
    let took = start.elapsed();
    client.disconnect().await.expect("it is running");
    while events.poll().await.is_ok() {}
    drop(events);
    let taken = broker.await.expect("it ends").expect("the exchange is whole");
    relay.await.expect("it ends");
    (taken, took)
}

#[tokio::test]
async fn an_mqtt_client_goes_through_the_same_door_by_a_unix_socket_and_is_shaped_and_counted() {
    for tls in [false, true] {
        let authority = Authority::new();
        let options = Options { roots: Roots::Pem(authority.pem()), ..Options::default() };
        let wire = Wire::new(options).for_class(Class::Critical);
        let rate = Rate::new(NonZeroU64::new(20_000).expect("more than nothing"), 4_000);
        wire.set_pace(Pace { up: Some(rate), down: None });
        let (taken, took) = publish_through(&wire, tls.then_some(&authority)).await;
        assert!(taken > (MESSAGES * PAYLOAD) as u64, "{taken} bytes");
        let counts = wire.counts();
        if tls {
            assert!(counts.payload_sent > taken + 300, "records and a handshake besides: {counts:?}");
        } else {
            assert_eq!(counts.payload_sent, taken, "each byte went through the door");
        }
        assert!(counts.sent > counts.payload_sent + 200 && !counts.estimated, "{counts:?}");
        assert_eq!(counts.connections, 1);
        // What left, less the burst, at the rate.
        let least = (counts.sent as f64 - 4_000.0 - 300.0) / 20_000.0;
        assert!(took.as_secs_f64() >= least, "{took:?} for {} bytes", counts.sent);
    }
}
