//! The event: a record as a flow sees it, one JSON object.
//!
//! ```json
//! {"gateway":"gw-1","epoch":"k3v9","lane":"normal","seq":17,"device":"pump-3","topic":"devices/pump-3/telemetry",
//!  "time":"2026-11-22T08:30:00.123Z","payload":{"temperature":73.96732207}}
//! ```
//!
//! `replayed: true` is added once the record has been sent before or has waited longer than a set time.
//!
//! # Payload
//! - A payload that is one JSON text (RFC 8259) stays that text **to the letter**: `1.50`, `1e3` and
//!   `12345678901234567890` are not rewritten, because a number that went through a double is another number.
//! - Other UTF-8 becomes a JSON string.
//! - Anything else becomes `{"$base64":"…"}` (standard alphabet, padded).
//!
//! JSON nested deeper than [`MAX_DEPTH`] is carried as a string: parsers on the other side refuse it or overflow.
//! The agent stores the bytes and decides here, when the record leaves, so that intake costs nothing for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::record::{RecordRef, TimeSource};

/// Deepest nesting of arrays and objects that is embedded as JSON. 128 is what `serde_json` and several other
/// parsers refuse beyond; telemetry seen in the field stays below ten. The event object itself and the batch's
/// array add two levels, hence 120.
pub const MAX_DEPTH: usize = 120;

/// What a payload is, and so how it stands in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One JSON text, without the white space around it.
    Json(&'a str),
    /// UTF-8 that is not JSON.
    Text(&'a str),
    /// Neither.
    Binary(&'a [u8]),
}

/// Tells what a payload is.
#[must_use]
pub fn classify(payload: &[u8]) -> Payload<'_> {
    let Ok(text) = std::str::from_utf8(payload) else {
        return Payload::Binary(payload);
    };
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    if depth_within_limit(trimmed) && serde_json::from_str::<&serde_json::value::RawValue>(trimmed).is_ok() {
        Payload::Json(trimmed)
    } else {
        Payload::Text(text)
    }
}

/// Counts brackets outside strings; says nothing of validity.
fn depth_within_limit(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Appends the event of `record` to `out`.
pub fn write_event(out: &mut Vec<u8>, record: &RecordRef<'_>, replayed: bool) {
    out.extend_from_slice(b"{\"gateway\":");
    write_string(out, record.gateway);
    out.extend_from_slice(b",\"epoch\":");
    write_string(out, record.epoch);
    out.extend_from_slice(b",\"lane\":");
    write_string(out, record.lane);
    out.extend_from_slice(b",\"seq\":");
    write_number(out, record.seq);
    out.extend_from_slice(b",\"device\":");
    write_string(out, record.device);
    out.extend_from_slice(b",\"topic\":");
    write_string(out, record.topic);
    out.extend_from_slice(b",\"time\":\"");
    write_time(out, record.time_ms);
    out.push(b'"');
    match record.time_source {
        TimeSource::Synchronised => {}
        TimeSource::Corrected => out.extend_from_slice(b",\"time_source\":\"corrected\""),
        TimeSource::Unsynchronised => out.extend_from_slice(b",\"time_source\":\"unsynchronised\""),
    }
    out.extend_from_slice(b",\"payload\":");
    match classify(record.payload) {
        Payload::Json(text) => out.extend_from_slice(text.as_bytes()),
        Payload::Text(text) => write_string(out, text),
        Payload::Binary(bytes) => {
            out.extend_from_slice(b"{\"$base64\":\"");
            let start = out.len();
            out.resize(start + bytes.len().div_ceil(3) * 4, 0);
            let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
            out.truncate(start + written);
            out.extend_from_slice(b"\"}");
        }
    }
    if replayed {
        out.extend_from_slice(b",\"replayed\":true");
    }
    out.push(b'}');
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

/// Appends a number in decimal.
pub(crate) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends milliseconds since the Unix epoch as an RFC 3339 time in UTC, milliseconds always given.
///
/// Times beyond the year 9999, which RFC 3339 cannot say, are held at its last millisecond.
pub fn write_time(out: &mut Vec<u8>, time_ms: u64) {
    const LAST_MS: u64 = 253_402_300_799_999;
    let time_ms = time_ms.min(LAST_MS);
    let (days, in_day) = (time_ms / 86_400_000, time_ms % 86_400_000);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
    for (value, width, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (hour, 2, b':'),
        (minute, 2, b':'),
        (second, 2, b'.'),
        (milli, 3, b'Z'),
    ] {
        let mut divisor = 10_u64.pow(width - 1);
        for _ in 0..width {
            out.push(b'0' + (value / divisor % 10) as u8);
            divisor /= 10;
        }
        out.push(end);
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar: years are counted
/// from March, so that the leap day is a year's last and every month's first day follows one linear formula.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097); // 400 years have 146,097 days
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(payload: &[u8], replayed: bool) -> String {
        let record = RecordRef {
            gateway: "gw-1",
            epoch: "k3v9",
            lane: "normal",
            seq: 17,
            device: "pump \"3\"",
            topic: "devices/pump/telemetry",
            time_ms: 1_795_336_200_123,
            time_source: TimeSource::Synchronised,
            payload,
        };
        let mut out = Vec::new();
        write_event(&mut out, &record, replayed);
        String::from_utf8(out).expect("an event is UTF-8")
    }

    #[test]
    fn a_flow_sees_every_field_and_numbers_to_the_letter() {
        assert_eq!(
            event(b" {\"a\": 1.50, \"b\": 12345678901234567890.10}\n", true),
            "{\"gateway\":\"gw-1\",\"epoch\":\"k3v9\",\"lane\":\"normal\",\"seq\":17,\"device\":\"pump \\\"3\\\"\",\
             \"topic\":\"devices/pump/telemetry\",\"time\":\"2026-11-22T08:30:00.123Z\",\
             \"payload\":{\"a\": 1.50, \"b\": 12345678901234567890.10},\"replayed\":true}"
        );
    }

    #[test]
    fn payloads_that_are_not_json_become_strings_or_marked_base64() {
        for (payload, expected) in [
            (&b"hello \x01\"\\"[..], r#""payload":"hello \u0001\"\\"}"#),
            (b"", r#""payload":""}"#),
            (b"\xff\xfe", r#""payload":{"$base64":"//4="}}"#),
            (b"{\"a\":1} {\"b\":2}", r#""payload":"{\"a\":1} {\"b\":2}"}"#),
            (b"NaN", r#""payload":"NaN"}"#),
            (b"null", r#""payload":null}"#),
            (b"1e400", r#""payload":1e400}"#),
            (b"\xef\xbb\xbf1", "\"payload\":\"\u{feff}1\"}"),
        ] {
            let text = event(payload, false);
            assert!(text.ends_with(expected), "{text} should end with {expected}");
        }
    }

    #[test]
    fn json_nested_too_deep_is_carried_as_a_string() {
        let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
        assert!(matches!(classify(deep.as_bytes()), Payload::Text(_)));
        let allowed = &deep[1..=MAX_DEPTH * 2];
        assert!(matches!(classify(allowed.as_bytes()), Payload::Json(_)));
        let quoted = format!("\"{}\"", "[".repeat(1000));
        assert!(matches!(classify(quoted.as_bytes()), Payload::Json(_)));
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (time_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, time_ms);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    proptest! {
        #[test]
        fn every_payload_makes_an_event_that_parses_and_gives_the_payload_back(
            payload in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                ".{0,80}".prop_map(String::into_bytes),
                "[\\[\\]{}\",:0-9eE.\\\\ -]{0,40}".prop_map(String::into_bytes),
            ],
            replayed: bool,
        ) {
            let text = event(&payload, replayed);
            let value: serde_json::Value = serde_json::from_str(&text)
                .map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(value.get("replayed").is_some(), replayed);
            match classify(&payload) {
                Payload::Json(json) => prop_assert!(text.contains(json)),
                Payload::Text(plain) => prop_assert_eq!(value["payload"].as_str(), Some(plain)),
                Payload::Binary(bytes) => {
                    let encoded = value["payload"]["$base64"].as_str().unwrap_or_default();
                    prop_assert_eq!(STANDARD.decode(encoded).unwrap_or_default(), bytes);
                }
            }
        }
    }
}
