//! The gap record: what a flow is told of records that it will never see.
//!
//! A gap record travels upstream like any other, in the first lane, as an event of device [`DEVICE`] on topic
//! [`TOPIC`]. Its payload is one JSON object:
//!
//! ```json
//! {"cause":"evicted","lane":"normal","device":"pump-3","epoch":"k3v9","first_seq":17,"last_seq":4711,
//!  "first_time":"2026-11-22T08:30:00.123Z","last_time":"2026-11-22T11:02:41.007Z","count":4695,"bytes":812345,
//!  "perhaps_delivered":12}
//! ```
//!
//! - `cause`: see [`Cause`]. `reason` is there for refusals only: why they were refused, in the agent's word.
//! - `lane`, `device`, `epoch`: as in the events of the records that are gone; left out where not known, and where
//!   there were too many to tell apart. For refusals, `device` is the client or device that was refused, cut to
//!   [`DEVICE_LIMIT`] bytes.
//! - `first_seq`, `last_seq`: the lowest and the highest number among them; records of others may stand between. Left
//!   out for refusals, which never got a number.
//! - `first_time`, `last_time`: when these were received; `time_source` says so where a clock was not synchronised, as
//!   it does in an event. Left out where not known.
//! - `count`: how many are gone. `bytes`: of their payloads, as far as they could be read.
//! - `perhaps_delivered`, if not 0: so many of them had been given to the wire before they went, and may have arrived.
//! - `perhaps_told`, if not 0: an earlier gap record may have told of so many of them already. It was lost after it had
//!   been given to the wire, and its content is told again with this one.
//!
//! What a flow will never see is thus `count - perhaps_delivered` to `count` records; a record whose id it has seen was
//! delivered.

use serde::{Deserialize, Serialize};

use crate::event::{write_number, write_string, write_time};
use crate::record::TimeSource;

/// The device in the event of a gap record.
pub const DEVICE: &str = "tidegate";

/// The topic in the event of a gap record.
pub const TOPIC: &str = "tidegate/gap";

/// Bytes of a device's name that a gap record carries at most: MQTT 3.1.1 guarantees client identifiers of 23 bytes,
/// and those seen in the field stay below 64.
pub const DEVICE_LIMIT: usize = 128;

/// Bytes of a gap record's payload at most: a lane's name of 64 bytes, an epoch and a reason of as many, a device's
/// name each byte of which is escaped, and the rest.
pub const PAYLOAD_LIMIT: usize = 2048;

/// Why records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Deleted to make room before they were delivered.
    Evicted,
    /// They cannot be read any more.
    Damaged,
    /// Publishes that were not taken.
    Refused,
    /// They became older than the lane's `max_age`.
    Expired,
    /// Flux refused them for what they are; they are kept on the gateway.
    PutAside,
}

impl Cause {
    /// The word for it in a gap record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::PutAside => "put-aside",
        }
    }
}

/// A moment as a gap record tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// How far that can be believed.
    pub source: TimeSource,
}

/// What one gap record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRef<'a> {
    /// Why they are gone.
    pub cause: Cause,
    /// Why they were refused, in one word.
    pub reason: Option<&'a str>,
    /// The name of the lane they stood in.
    pub lane: Option<&'a str>,
    /// Who had published them.
    pub device: Option<&'a str>,
    /// The epoch of their ids.
    pub epoch: Option<&'a str>,
    /// Lowest and highest sequence number.
    pub seqs: Option<(u64, u64)>,
    /// When the first and the last of them were received.
    pub times: Option<(Moment, Moment)>,
    /// How many.
    pub count: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// How many of them had been given to the wire.
    pub perhaps_delivered: u64,
    /// Of how many of them an earlier gap record may have told.
    pub perhaps_told: u64,
}

/// As much of a device's name as a gap record carries.
#[must_use]
pub fn cut_device(device: &str) -> &str {
    let mut end = device.len().min(DEVICE_LIMIT);
    while !device.is_char_boundary(end) {
        end -= 1;
    }
    &device[..end]
}

/// Appends the payload of a gap record to `out`.
pub fn write_gap(out: &mut Vec<u8>, gap: &GapRef<'_>) {
    out.extend_from_slice(b"{\"cause\":");
    write_string(out, gap.cause.name());
    let device = gap.device.map(cut_device);
    for (name, value) in [("reason", gap.reason), ("lane", gap.lane), ("device", device), ("epoch", gap.epoch)] {
        if let Some(value) = value {
            write_name(out, name);
            write_string(out, value);
        }
    }
    if let Some((first, last)) = gap.seqs {
        put_number(out, "first_seq", first);
        put_number(out, "last_seq", last);
    }
    if let Some((first, last)) = gap.times {
        for (name, moment) in [("first_time", first), ("last_time", last)] {
            write_name(out, name);
            out.push(b'"');
            write_time(out, moment.time_ms);
            out.push(b'"');
        }
        let worst = |source| first.source == source || last.source == source;
        if worst(TimeSource::Unsynchronised) {
            out.extend_from_slice(b",\"time_source\":\"unsynchronised\"");
        } else if worst(TimeSource::Corrected) {
            out.extend_from_slice(b",\"time_source\":\"corrected\"");
        }
    }
    put_number(out, "count", gap.count);
    put_number(out, "bytes", gap.bytes);
    for (name, count) in [("perhaps_delivered", gap.perhaps_delivered), ("perhaps_told", gap.perhaps_told)] {
        if count > 0 {
            put_number(out, name, count);
        }
    }
    out.push(b'}');
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    write_string(out, name);
    out.push(b':');
}

fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    write_name(out, name);
    write_number(out, number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(time_ms: u64, source: TimeSource) -> Moment {
        Moment { time_ms, source }
    }

    fn written(gap: &GapRef<'_>) -> String {
        let mut out = Vec::new();
        write_gap(&mut out, gap);
        String::from_utf8(out).expect("a gap record is UTF-8")
    }

    #[test]
    fn a_flow_is_told_all_that_is_known_and_nothing_else() {
        let gap = GapRef {
            cause: Cause::Evicted,
            reason: None,
            lane: Some("normal"),
            device: Some("pump-3"),
            epoch: Some("k3v9"),
            seqs: Some((17, 4711)),
            times: Some((
                moment(1_795_336_200_123, TimeSource::Synchronised),
                moment(1_795_336_200_123, TimeSource::Corrected),
            )),
            count: 4695,
            bytes: 812_345,
            perhaps_delivered: 12,
            perhaps_told: 0,
        };
        assert_eq!(
            written(&gap),
            "{\"cause\":\"evicted\",\"lane\":\"normal\",\"device\":\"pump-3\",\"epoch\":\"k3v9\",\"first_seq\":17,\
             \"last_seq\":4711,\"first_time\":\"2026-11-22T08:30:00.123Z\",\"last_time\":\"2026-11-22T08:30:00.123Z\",\
             \"time_source\":\"corrected\",\"count\":4695,\"bytes\":812345,\"perhaps_delivered\":12}"
        );
        let refused = GapRef {
            cause: Cause::Refused,
            reason: Some("topic"),
            lane: None,
            epoch: None,
            seqs: None,
            times: None,
            count: 3,
            bytes: 0,
            perhaps_delivered: 0,
            ..gap
        };
        assert_eq!(
            written(&refused),
            "{\"cause\":\"refused\",\"reason\":\"topic\",\"device\":\"pump-3\",\"count\":3,\"bytes\":0}"
        );
    }

    proptest! {
        #[test]
        fn whatever_stands_in_it_it_is_json_within_its_limit(
            device in "\\PC{0,300}|[\\x00-\\x1f\"\\\\]{0,300}",
            numbers in any::<[u64; 8]>(),
        ) {
            let [from, to, start, end, count, bytes, delivered, told] = numbers;
            let long = "x".repeat(64);
            let source = TimeSource::Unsynchronised;
            let gap = GapRef {
                cause: Cause::PutAside,
                reason: Some(&long),
                lane: Some(&long),
                device: Some(&device),
                epoch: Some(&long),
                seqs: Some((from, to)),
                times: Some((moment(start, source), moment(end, source))),
                count,
                bytes,
                perhaps_delivered: delivered,
                perhaps_told: told,
            };
            let text = written(&gap);
            prop_assert!(text.len() <= PAYLOAD_LIMIT, "{} bytes", text.len());
            let parsed: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(parsed["count"].as_u64(), Some(count));
            prop_assert_eq!(parsed["device"].as_str(), Some(cut_device(&device)));
        }
    }
}
