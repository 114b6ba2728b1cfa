//! One connection to a broker, MQTT 3.1.1 or 5, over rumqttc.
//!
//! rumqttc has two clients of the same shape and no common type; this module is the one place that knows both. It
//! also holds what rumqttc 0.25.1 needs to be told or spared:
//! - Every connection is a **new** event loop and a new client. An acknowledgement handed to a client whose event loop
//!   is gone fails, so one of an earlier connection cannot reach a later one, where the same packet id names another
//!   publish. (rumqttc's own reconnect would keep requests for the next connection.)
//! - Packets over 10 KiB are refused by default and end the connection; the broker would send them again for ever.
//! - With a topic alias it hands over an empty topic; no alias maximum is announced, so a broker may use none.
//! - A `Server Keep Alive` of 0 makes it ping without pause; the own interval is put back.
//! - Publishes read together with the end of the connection stay in its queue of events when it reports the end;
//!   they are taken out of it, for at QoS 0 nobody sends them again.
//! - A PUBREL for a publish it does not know ends the connection, and the broker sends it again for ever. Subscribed at
//!   QoS 1, a broker has no reason to send one, unless an earlier user of the client id left a QoS 2 session behind:
//!   such packet ids are learnt from the error and made known to the next connection, which then answers PUBCOMP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{MqttOptions as Options4, Packet as Packet4, QoS as QoS4, TlsConfiguration, Transport, v5};
use rustls::ClientConfig;
use v5::mqttbytes::QoS as QoS5;
use v5::mqttbytes::v5::{Filter, Packet as Packet5, RetainForwardRule, SubscribeReasonCode as Code5};

use super::error::LinkError;
use super::{Options, Protocol};

/// Requests that may wait for the event loop. Each is an acknowledgement of a distinct packet id, of which there are
/// 65,535 (MQTT 3.1.1, section 2.3.1), or one of a handful of SUBSCRIBEs: so a request is never turned away, and the
/// receiving side never has to wait for the sending one. Memory is taken only for what waits; that many wait only
/// if the broker sets no limit to what it has in flight.
const REQUESTS: usize = 65_535 + 16;

/// rumqttc numbers SUBSCRIBEs up to its window for outgoing publishes and sets aside memory for all of it; there are
/// none, so a small one will do (the default in v5 would cost 13 MB).
const OUTGOING_WINDOW: u16 = 16;

/// Largest packet read: what is over the configured size but below this is refused, counted and acknowledged; what is
/// over this cannot be acknowledged because rumqttc does not say which it was. A compromise between the specification's
/// 256 MiB and a gateway's memory.
pub(super) const READ_LIMIT: usize = 16 * 1024 * 1024;

/// What arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    Connected { session_present: bool },
    Subscribed(Vec<Grant>),
    Publish(Publish),
}

/// The broker's answer to one topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    Granted { qos: u8 },
    Refused(String),
}

/// A publish from the broker.
#[derive(Debug)]
pub(super) struct Publish {
    /// `None` if it is not UTF-8.
    pub(super) topic: Option<String>,
    pub(super) payload: Bytes,
    pub(super) retained: bool,
    pub(super) ack: Option<Ack>,
}

/// What is needed to acknowledge a publish on the connection it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    packet_id: u16,
    /// QoS 2: PUBREC instead of PUBACK.
    exactly_once: bool,
}

/// Says something to the broker, while the connection's [`Source`] is polled.
#[derive(Debug, Clone)]
pub(super) enum Client {
    V4(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// Receives what the broker says, and drives the connection. Not to be dropped in the middle of [`Source::next`] if
/// it is to be used again.
pub(super) enum Source {
    V4(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// Makes ready to connect; the connection is made by the first [`Source::next`]. `unreleased` are packet ids that
/// an earlier connection failed over.
pub(super) fn open(options: &Options, tls: Option<Arc<ClientConfig>>, unreleased: &[u16]) -> (Client, Source) {
    match options.protocol {
        Protocol::V311 => open_v4(options, transport(tls), unreleased, true),
        Protocol::V5 => open_v5(options, transport(tls), unreleased, true),
    }
}

/// The same for a look: the broker keeps nothing of it once it is gone.
pub(super) fn open_passing(options: &Options, tls: Option<Arc<ClientConfig>>) -> (Client, Source) {
    match options.protocol {
        Protocol::V311 => open_v4(options, transport(tls), &[], false),
        Protocol::V5 => open_v5(options, transport(tls), &[], false),
    }
}

fn transport(tls: Option<Arc<ClientConfig>>) -> Transport {
    match tls {
        Some(config) => Transport::tls_with_config(TlsConfiguration::Rustls(config)),
        None => Transport::tcp(),
    }
}

fn open_v4(options: &Options, transport: Transport, unreleased: &[u16], lasting: bool) -> (Client, Source) {
    let mut mqtt = Options4::new(&options.client_id, options.address(), options.port);
    mqtt.set_transport(transport)
        .set_keep_alive(options.keep_alive)
        .set_clean_session(!lasting)
        .set_manual_acks(true)
        .set_inflight(OUTGOING_WINDOW)
        .set_max_packet_size(options.read_limit(), options.read_limit());
    if let Some(credentials) = &options.credentials {
        mqtt.set_credentials(&credentials.username, credentials.password.expose());
    }
    let (client, mut source) = rumqttc::AsyncClient::new(mqtt, REQUESTS);
    source.network_options.set_connection_timeout(options.connect_timeout.as_secs().max(1)).set_tcp_nodelay(true);
    for &packet_id in unreleased {
        let mut publish = rumqttc::Publish::new("", QoS4::ExactlyOnce, Vec::new());
        publish.pkid = packet_id;
        // Only its packet id is noted; it cannot fail, and the event it leaves is taken out again.
        let _ = source.state.handle_incoming_packet(Packet4::Publish(publish));
        source.state.events.clear();
    }
    (Client::V4(client), Source::V4(Box::new(source)))
}

fn open_v5(options: &Options, transport: Transport, unreleased: &[u16], lasting: bool) -> (Client, Source) {
    let expiry = if lasting { u32::try_from(options.session_expiry.as_secs()).unwrap_or(u32::MAX) } else { 0 };
    let mut mqtt = v5::MqttOptions::new(&options.client_id, options.address(), options.port);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_transport(transport)
        .set_network_options(network)
        .set_connection_timeout(options.connect_timeout.as_secs().max(1))
        .set_keep_alive(options.keep_alive)
        .set_clean_start(!lasting)
        .set_session_expiry_interval(Some(expiry))
        .set_receive_maximum(Some(options.inflight.max(1)))
        .set_max_packet_size(Some(u32::try_from(options.read_limit()).unwrap_or(u32::MAX)))
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(OUTGOING_WINDOW);
    if let Some(credentials) = &options.credentials {
        mqtt.set_credentials(&credentials.username, credentials.password.expose());
    }
    let (client, mut source) = v5::AsyncClient::new(mqtt, REQUESTS);
    for &packet_id in unreleased {
        let mut publish = v5::mqttbytes::v5::Publish::new("", QoS5::ExactlyOnce, Vec::new(), None);
        publish.pkid = packet_id;
        let _ = source.state.handle_incoming_packet(Packet5::Publish(publish));
        source.state.events.clear();
    }
    (Client::V5(client), Source::V5(Box::new(source)))
}

impl Client {
    /// Asks for these topic filters at QoS 1. Says whether the connection is still there.
    pub(super) fn subscribe(&self, filters: &[String]) -> bool {
        match self {
            Self::V4(client) => client
                .try_subscribe_many(
                    filters.iter().map(|filter| rumqttc::SubscribeFilter::new(filter.clone(), QoS4::AtLeastOnce)),
                )
                .is_ok(),
            Self::V5(client) => client
                .try_subscribe_many(filters.iter().map(|filter| Filter {
                    // Retained messages only if the broker does not know the subscription yet.
                    retain_forward_rule: RetainForwardRule::OnNewSubscribe,
                    ..Filter::new(filter.clone(), QoS5::AtLeastOnce)
                }))
                .is_ok(),
        }
    }

    /// Acknowledges a publish of this connection. Says whether the connection is still there.
    pub(super) fn acknowledge(&self, ack: Ack) -> bool {
        match self {
            Self::V4(client) => {
                let qos = if ack.exactly_once { QoS4::ExactlyOnce } else { QoS4::AtLeastOnce };
                let mut publish = rumqttc::Publish::new("", qos, Vec::new());
                publish.pkid = ack.packet_id;
                client.try_ack(&publish).is_ok()
            }
            Self::V5(client) => {
                let qos = if ack.exactly_once { QoS5::ExactlyOnce } else { QoS5::AtLeastOnce };
                let mut publish = v5::mqttbytes::v5::Publish::new("", qos, Bytes::new(), None);
                publish.pkid = ack.packet_id;
                client.try_ack(&publish).is_ok()
            }
        }
    }

    /// Publishes at QoS 1, not retained. Says whether it was taken: not while more than the window wait, or if the topic
    /// is none.
    pub(super) fn publish(&self, topic: &str, payload: &str) -> bool {
        let payload = payload.as_bytes().to_vec();
        match self {
            Self::V4(client) => client.try_publish(topic, QoS4::AtLeastOnce, false, payload).is_ok(),
            Self::V5(client) => client.try_publish(topic, QoS5::AtLeastOnce, false, payload).is_ok(),
        }
    }

    /// Says good-bye; the broker keeps the session.
    pub(super) fn disconnect(&self) -> bool {
        match self {
            Self::V4(client) => client.try_disconnect().is_ok(),
            Self::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Source {
    /// Waits for the next thing the broker says, sending what is to be sent meanwhile. The first is
    /// [`Arrival::Connected`]; after an error there is nothing more to come.
    pub(super) async fn next(&mut self, keep_alive: Duration) -> Result<Arrival, LinkError> {
        loop {
            let arrival = match self {
                Self::V4(source) => match source.poll().await? {
                    rumqttc::Event::Incoming(packet) => arrival_v4(packet),
                    rumqttc::Event::Outgoing(_) => None,
                },
                Self::V5(source) => match source.poll().await? {
                    v5::Event::Incoming(Packet5::ConnAck(connack)) => {
                        if source.options.keep_alive().is_zero() {
                            source.options.set_keep_alive(keep_alive);
                        }
                        Some(Arrival::Connected { session_present: connack.session_present })
                    }
                    v5::Event::Incoming(packet) => arrival_v5(packet),
                    v5::Event::Outgoing(_) => None,
                },
            };
            if let Some(arrival) = arrival {
                return Ok(arrival);
            }
        }
    }

    /// What was read together with the failure that [`Source::next`] gave, and would be lost with it.
    pub(super) fn left_over(&mut self) -> Vec<Arrival> {
        match self {
            Self::V4(source) => source
                .state
                .events
                .drain(..)
                .filter_map(|event| match event {
                    rumqttc::Event::Incoming(packet) => arrival_v4(packet),
                    rumqttc::Event::Outgoing(_) => None,
                })
                .collect(),
            Self::V5(source) => source
                .state
                .events
                .drain(..)
                .filter_map(|event| match event {
                    v5::Event::Incoming(packet) => arrival_v5(packet),
                    v5::Event::Outgoing(_) => None,
                })
                .collect(),
        }
    }
}

fn arrival_v4(packet: Packet4) -> Option<Arrival> {
    match packet {
        Packet4::ConnAck(connack) => Some(Arrival::Connected { session_present: connack.session_present }),
        Packet4::SubAck(suback) => Some(Arrival::Subscribed(
            suback
                .return_codes
                .into_iter()
                .map(|code| match code {
                    rumqttc::SubscribeReasonCode::Success(qos) => Grant::Granted { qos: qos as u8 },
                    rumqttc::SubscribeReasonCode::Failure => Grant::Refused("0x80 failure".to_owned()),
                })
                .collect(),
        )),
        Packet4::Publish(publish) => Some(Arrival::Publish(Publish {
            ack: ack(publish.qos as u8, publish.pkid),
            topic: Some(publish.topic),
            payload: publish.payload,
            retained: publish.retain,
        })),
        _ => None,
    }
}

fn arrival_v5(packet: Packet5) -> Option<Arrival> {
    match packet {
        Packet5::SubAck(suback) => Some(Arrival::Subscribed(
            suback
                .return_codes
                .into_iter()
                .map(|code| match code {
                    Code5::Success(qos) => Grant::Granted { qos: qos as u8 },
                    refused => Grant::Refused(format!("{refused:?}")),
                })
                .collect(),
        )),
        Packet5::Publish(publish) => Some(Arrival::Publish(Publish {
            ack: ack(publish.qos as u8, publish.pkid),
            topic: String::from_utf8(publish.topic.to_vec()).ok(),
            payload: publish.payload,
            retained: publish.retain,
        })),
        _ => None,
    }
}

fn ack(qos: u8, packet_id: u16) -> Option<Ack> {
    (qos > 0).then_some(Ack { packet_id, exactly_once: qos == 2 })
}
