//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11): Tidegate is an intake and offers one topic, its own alarms.

use mqtt_protocol_core::mqtt::packet::{Property, Qos, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    MqttError, SubackReasonCode, SubackReturnCode, UnsubackReasonCode as Unsuback,
};

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::ReusableBoxFuture;

use super::wire::{Fault, Version, from_library};
use crate::collect::{Alarm, Alarms, Heard};

/// The next alarm for a client that has subscribed; its memory is used again for each.
pub(super) type Following = ReusableBoxFuture<'static, (Result<Alarm, RecvError>, Heard)>;

/// Begins with the alarms in force.
pub(super) fn follow(alarms: &Alarms) -> Following {
    ReusableBoxFuture::new(next_alarm(alarms.subscribe()))
}

/// What is there already, or else what comes next.
pub(super) async fn next_alarm(mut heard: Heard) -> (Result<Alarm, RecvError>, Heard) {
    (heard.next().await, heard)
}

/// The topic that alarms are published on.
pub(super) const ALARM_TOPIC: &str = "tidegate/alarm";

/// Longest alarm text in bytes; longer ones are cut.
pub(super) const MAX_ALARM: usize = 1_024;

/// Answers a SUBSCRIBE; sets `subscribed` if the alarm topic was among its filters.
pub(super) fn subscribe(body: &[u8], version: Version, subscribed: &mut bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    let answer = match version {
        Version::V3 => subscribe_v3(body, subscribed),
        Version::V5 => subscribe_v5(body, subscribed),
    };
    out.extend_from_slice(&answer.map_err(|error| from_library(error, "SUBSCRIBE"))?);
    Ok(())
}

fn subscribe_v3(body: &[u8], subscribed: &mut bool) -> Result<Vec<u8>, MqttError> {
    let (packet, length) = v3_1_1::Subscribe::parse(body)?;
    if length != body.len() || packet.packet_id() == 0 {
        return Err(MqttError::MalformedPacket);
    }
    let mut codes = Vec::with_capacity(packet.entries().len());
    for entry in packet.entries() {
        // 3.1.1 has the QoS in this byte and nothing else.
        if entry.sub_opts().to_buffer()[0] > Qos::ExactlyOnce as u8 {
            return Err(MqttError::MalformedPacket);
        }
        codes.push(match judge(entry) {
            SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
            _ => SubackReturnCode::Failure,
        });
        *subscribed |= entry.topic_filter() == ALARM_TOPIC;
    }
    let suback = v3_1_1::Suback::builder().packet_id(packet.packet_id()).return_codes(codes).build()?;
    Ok(suback.to_continuous_buffer())
}

fn subscribe_v5(body: &[u8], subscribed: &mut bool) -> Result<Vec<u8>, MqttError> {
    let (packet, length) = v5_0::Subscribe::parse(body)?;
    if length != body.len() || packet.packet_id() == 0 {
        return Err(MqttError::MalformedPacket);
    }
    let numbered = packet.props().iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_)));
    let mut codes = Vec::with_capacity(packet.entries().len());
    for entry in packet.entries() {
        if numbered {
            codes.push(SubackReasonCode::SubscriptionIdentifiersNotSupported);
            continue;
        }
        codes.push(judge(entry));
        *subscribed |= entry.topic_filter() == ALARM_TOPIC;
    }
    let suback = v5_0::Suback::builder().packet_id(packet.packet_id()).reason_codes(codes).build()?;
    Ok(suback.to_continuous_buffer())
}

/// What is answered to one filter. QoS 0 is granted whatever is asked for: an alarm says what is so now.
fn judge(entry: &SubEntry) -> SubackReasonCode {
    let filter = entry.topic_filter();
    match filter {
        ALARM_TOPIC => SubackReasonCode::GrantedQos0,
        _ if filter.is_empty() || filter.contains('\0') => SubackReasonCode::TopicFilterInvalid,
        _ if filter.starts_with("$share/") => SubackReasonCode::SharedSubscriptionsNotSupported,
        _ if filter.contains(['+', '#']) => SubackReasonCode::WildcardSubscriptionsNotSupported,
        _ => SubackReasonCode::NotAuthorized,
    }
}

/// Answers an UNSUBSCRIBE.
pub(super) fn unsubscribe(
    body: &[u8],
    version: Version,
    subscribed: &mut bool,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let answer = match version {
        Version::V3 => unsubscribe_v3(body, subscribed),
        Version::V5 => unsubscribe_v5(body, subscribed),
    };
    out.extend_from_slice(&answer.map_err(|error| from_library(error, "UNSUBSCRIBE"))?);
    Ok(())
}

fn unsubscribe_v3(body: &[u8], subscribed: &mut bool) -> Result<Vec<u8>, MqttError> {
    let (packet, length) = v3_1_1::Unsubscribe::parse(body)?;
    if length != body.len() || packet.packet_id() == 0 {
        return Err(MqttError::MalformedPacket);
    }
    *subscribed &= packet.entries().iter().all(|filter| filter.as_str() != ALARM_TOPIC);
    Ok(v3_1_1::Unsuback::builder().packet_id(packet.packet_id()).build()?.to_continuous_buffer())
}

fn unsubscribe_v5(body: &[u8], subscribed: &mut bool) -> Result<Vec<u8>, MqttError> {
    let (packet, length) = v5_0::Unsubscribe::parse(body)?;
    if length != body.len() || packet.packet_id() == 0 {
        return Err(MqttError::MalformedPacket);
    }
    let mut codes = Vec::with_capacity(packet.entries().len());
    for filter in packet.entries() {
        let there = filter.as_str() == ALARM_TOPIC && std::mem::take(subscribed);
        codes.push(if there { Unsuback::Success } else { Unsuback::NoSubscriptionExisted });
    }
    let unsuback = v5_0::Unsuback::builder().packet_id(packet.packet_id()).reason_codes(codes).build()?;
    Ok(unsuback.to_continuous_buffer())
}

/// The PUBLISH at QoS 0 that carries an alarm.
pub(super) fn alarm(text: &str, version: Version) -> Vec<u8> {
    let mut end = text.len().min(MAX_ALARM);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let remaining = 2 + ALARM_TOPIC.len() + usize::from(version == Version::V5) + text.len();
    let mut packet = Vec::with_capacity(remaining + 3);
    packet.push(0x30);
    // One or two bytes: two carry a length below 16,384 (section 1.5.5), and this one is below 1,100.
    if remaining < 128 {
        packet.push(remaining as u8);
    } else {
        packet.extend_from_slice(&[(remaining % 128) as u8 | 0x80, (remaining / 128) as u8]);
    }
    packet.extend_from_slice(&(ALARM_TOPIC.len() as u16).to_be_bytes());
    packet.extend_from_slice(ALARM_TOPIC.as_bytes());
    if version == Version::V5 {
        packet.push(0);
    }
    packet.extend_from_slice(text.as_bytes());
    packet
}
