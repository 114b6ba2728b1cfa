//! A broker that follows a script, byte for byte, for what Mosquitto never does.

use std::sync::Arc;
use std::time::Duration;

use tidegate::collect::broker::{Options, Protocol};
use tidegate::store::IN_FLIGHT_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{Gateway, options};

const CONNECT: u8 = 1;
const PUBACK: u8 = 4;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const BOUND: Duration = Duration::from_secs(20);

struct Scripted(TcpStream);

impl Scripted {
    /// Accepts a connection, answers CONNECT (3.1.1) and SUBSCRIBE with this return code.
    async fn accept(listener: &TcpListener, session_present: bool, granted: u8) -> Self {
        let mut link = Self::accept_only(listener).await;
        link.send(&[0x20, 2, u8::from(session_present), 0]).await;
        let subscribe = link.expect(SUBSCRIBE).await;
        link.send(&[0x90, 3, subscribe[0], subscribe[1], granted]).await;
        link
    }

    /// The same in MQTT 5, granting QoS 1, with a Server Keep Alive if one is given.
    async fn accept_v5(listener: &TcpListener, server_keep_alive: Option<u8>) -> Self {
        let mut link = Self::accept_only(listener).await;
        match server_keep_alive {
            None => link.send(&[0x20, 3, 0, 0, 0]).await,
            Some(seconds) => link.send(&[0x20, 6, 0, 0, 3, 0x13, 0, seconds]).await,
        }
        let subscribe = link.expect(SUBSCRIBE).await;
        link.send(&[0x90, 4, subscribe[0], subscribe[1], 0, 1]).await;
        link
    }

    async fn accept_only(listener: &TcpListener) -> Self {
        let (stream, _) = tokio::time::timeout(BOUND, listener.accept()).await.expect("it connects").expect("accepted");
        let mut link = Self(stream);
        link.expect(CONNECT).await;
        link
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the gateway reads");
    }

    /// A PUBLISH of `payload` at `qos` with this packet id.
    async fn publish(&mut self, qos: u8, packet_id: u8, payload: &str) {
        let topic = b"devices/a/telemetry";
        let remaining = 2 + topic.len() + 2 + payload.len();
        let mut packet = vec![0x30 | qos << 1, u8::try_from(remaining).expect("it is short"), 0, topic.len() as u8];
        packet.extend_from_slice(topic);
        packet.extend_from_slice(&[0, packet_id]);
        packet.extend_from_slice(payload.as_bytes());
        self.send(&packet).await;
    }

    /// The body of the next packet, pings aside, which must be of this type.
    async fn expect(&mut self, kind: u8) -> Vec<u8> {
        let read = async {
            loop {
                let first = self.0.read_u8().await.expect("a packet");
                let length = self.0.read_u8().await.expect("its length");
                assert!(length < 128, "packets of the gateway are short here");
                let mut body = vec![0; usize::from(length)];
                self.0.read_exact(&mut body).await.expect("its body");
                match first >> 4 {
                    12 => self.send(&[0xd0, 0]).await,
                    found => {
                        assert_eq!(found, kind, "{body:?}");
                        return body;
                    }
                }
            }
        };
        tokio::time::timeout(BOUND, read).await.expect("the gateway answers in time")
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

#[tokio::test]
async fn an_acknowledgement_of_a_connection_that_is_gone_is_never_sent_on_the_next() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    let mut first = Scripted::accept(&listener, false, 1).await;
    let all = u32::try_from(IN_FLIGHT_BYTES).expect("it fits");
    let permits = Arc::clone(gateway.store.in_flight()).acquire_many_owned(all).await.expect("the store is open");
    first.publish(1, 7, "seven").await;
    // Once the window of TCP shows it read, it is in the gateway; its commit waits for the permits.
    gateway.until("the subscription", |state| state.connects == 1).await;
    first.publish(1, 8, "eight").await;
    first.0.shutdown().await.expect("it can be closed");
    drop(first);
    gateway.until("the failed intake of both", |_| gateway.store.in_flight().available_permits() == 0).await;
    drop(permits);
    let mut second = Scripted::accept(&listener, true, 1).await;
    gateway.until_stored(&["seven".into(), "eight".into()]).await;
    let state = gateway.until("two acknowledgements dropped", |state| state.dropped_acks == 2).await;
    assert_eq!(state.acknowledged, 0);
    second.publish(1, 9, "nine").await;
    assert_eq!(second.expect(PUBACK).await, [0, 9]);
    gateway.stop().await;
}

#[tokio::test]
async fn acknowledgements_leave_in_the_order_received() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    let mut link = Scripted::accept(&listener, false, 1).await;
    let order = [5_u8, 3, 9, 1, 200, 2, 77];
    for packet_id in order {
        link.publish(1, packet_id, &format!("{packet_id}")).await;
    }
    for packet_id in order {
        assert_eq!(link.expect(PUBACK).await, [0, packet_id]);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn it_subscribes_again_whatever_the_broker_says_of_the_session() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    for session_present in [false, true, true, false] {
        // It waits for the SUBSCRIBE.
        drop(Scripted::accept(&listener, session_present, 1).await);
    }
    gateway.until("a lost session", |state| state.sessions_lost == 1).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_refused_or_lowered_subscription_is_shown() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    let refused = Scripted::accept(&listener, false, 0x80).await;
    let state = gateway.until("the refusal", |state| !state.refused_filters.is_empty()).await;
    assert_eq!(state.refused_filters, ["devices/#"]);
    drop(refused);
    let _lowered = Scripted::accept(&listener, false, 0).await;
    let state = gateway.until("the lower QoS", |state| !state.lowered_filters.is_empty()).await;
    assert_eq!((state.refused_filters, state.lowered_filters), (vec![], vec!["devices/#".to_owned()]));
    gateway.stop().await;
}

#[tokio::test]
async fn a_release_left_over_from_an_earlier_user_of_the_session_is_answered_and_does_not_loop() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    let mut first = Scripted::accept(&listener, true, 1).await;
    first.send(&[0x62, 2, 0, 4]).await;
    let mut second = Scripted::accept(&listener, true, 1).await;
    second.send(&[0x62, 2, 0, 4]).await;
    assert_eq!(second.expect(PUBCOMP).await, [0, 4]);
    second.publish(1, 5, "after").await;
    assert_eq!(second.expect(PUBACK).await, [0, 5]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_broker_that_answers_nonsense_or_nothing_is_tried_again() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    let mut nonsense = Scripted::accept_only(&listener).await;
    nonsense.send(&[0xff; 64]).await;
    let mut refusing = Scripted::accept_only(&listener).await;
    refusing.send(&[0x20, 2, 0, 3]).await;
    let mut silent = Scripted::accept(&listener, false, 1).await;
    silent.publish(1, 1, "x").await;
    assert_eq!(silent.expect(PUBACK).await, [0, 1]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_server_keep_alive_of_zero_does_not_end_the_connection() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(Options { protocol: Protocol::V5, ..options(port) });
    let mut link = Scripted::accept_v5(&listener, Some(0)).await;
    for packet_id in 1..=20 {
        // Property length 0 stands before the payload in MQTT 5.
        link.publish(1, packet_id, &format!("\0{packet_id}")).await;
        assert_eq!(link.expect(PUBACK).await[..2], [0, packet_id]);
    }
    assert_eq!(gateway.state.snapshot().connects, 1);
    assert!(gateway.stored().contains_key("20"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_taken_over_by_another_client_is_named_as_such() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(Options { protocol: Protocol::V5, ..options(port) });
    let mut link = Scripted::accept_v5(&listener, None).await;
    link.send(&[0xe0, 2, 0x8e, 0]).await;
    let state = gateway.until("an error", |state| state.last_error.is_some()).await;
    assert!(state.last_error.is_some_and(|error| error.to_string().contains("another client took over the session")));
    let _again = Scripted::accept_v5(&listener, None).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_packet_that_cannot_be_read_is_reported_with_what_to_do() {
    let (listener, port) = listen().await;
    let gateway = Gateway::start(options(port));
    let mut link = Scripted::accept(&listener, false, 1).await;
    // A PUBLISH that announces the most MQTT can: 268,435,455 bytes.
    link.send(&[0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a']).await;
    let state = gateway.until("an error", |state| state.last_error.is_some()).await;
    assert!(
        state
            .last_error
            .is_some_and(|error| error.to_string().contains("set a lower message size limit on the broker"))
    );
    gateway.stop().await;
}
