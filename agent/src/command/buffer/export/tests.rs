use super::*;
use proptest::prelude::*;
use std::borrow::Cow;
use tidegate_protocol::TimeSource;

fn record<'a>(device: &'a str, topic: &'a str, payload: &'a [u8], seq: u64) -> Record<'a> {
    Record {
        gateway: "gw-1".into(),
        epoch: "k3v9".into(),
        lane: "normal".into(),
        seq,
        device: device.into(),
        topic: topic.into(),
        time_ms: 1_795_336_200_123,
        time_source: TimeSource::Corrected,
        waiting: true,
        payload: Cow::Borrowed(payload),
    }
}

fn encoded(format: Format, record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    assert!(encode(format, record, &mut line).is_ok());
    line
}

/// Reads RFC 4180 as its grammar has it, knowing nothing of how it was written.
fn read_csv(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let (mut quoted, mut at) = (false, 0);
    while at < text.len() {
        match (quoted, text[at], text.get(at + 1)) {
            (true, b'"', Some(b'"')) => {
                field.push(b'"');
                at += 1;
            }
            (_, b'"', _) => quoted = !quoted,
            (true, byte, _) => field.push(byte),
            (false, b',', _) => row.push(std::mem::take(&mut field)),
            (false, b'\r', Some(b'\n')) => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
                at += 1;
            }
            (false, byte, _) => field.push(byte),
        }
        at += 1;
    }
    assert!(row.is_empty() && field.is_empty() && !quoted, "the last line is not ended");
    rows
}

#[test]
fn a_line_of_each_format_is_what_the_documents_say() {
    let pump = record("pump, \"3\"", "devices/pump/telemetry", b"{\"t\": 73.96732207}", 17);
    assert_eq!(
        String::from_utf8_lossy(&encoded(Format::Ndjson, &pump)),
        "{\"gateway\":\"gw-1\",\"epoch\":\"k3v9\",\"lane\":\"normal\",\"seq\":17,\"device\":\"pump, \\\"3\\\"\",\
         \"topic\":\"devices/pump/telemetry\",\"time\":\"2026-11-22T08:30:00.123Z\",\"time_source\":\"corrected\",\
         \"payload\":{\"t\": 73.96732207}}\n"
    );
    assert_eq!(
        String::from_utf8_lossy(&encoded(Format::Csv, &pump)),
        "gw-1,k3v9,normal,17,\"pump, \"\"3\"\"\",devices/pump/telemetry,2026-11-22T08:30:00.123Z,corrected,\
         \"{\"\"t\"\": 73.96732207}\"\r\n"
    );
    let binary = record("d", "t", b"\xff\xfe", 1);
    assert!(
        String::from_utf8_lossy(&encoded(Format::Csv, &binary)).ends_with("\"{\"\"$base64\"\":\"\"//4=\"\"}\"\r\n")
    );
}

proptest! {
    #[test]
    fn what_is_written_as_csv_is_read_back(
        device in "[ -~\r\n\"é,]{0,20}",
        payload in "[ -~\r\n\"é,]{0,60}",
        seq in 0_u64..1 << 53,
    ) {
        let one = record(&device, "a/b", payload.as_bytes(), seq);
        let text = [HEADER, &encoded(Format::Csv, &one), &encoded(Format::Csv, &one)].concat();
        let rows = read_csv(&text);
        prop_assert_eq!(rows.len(), 3);
        prop_assert!(rows.iter().all(|row| row.len() == 9));
        prop_assert_eq!(&rows[1], &rows[2]);
        prop_assert_eq!(&rows[1][3], &seq.to_string().into_bytes());
        prop_assert_eq!(&rows[1][4], device.as_bytes());
        prop_assert_eq!(&rows[1][8], payload.as_bytes());
    }

    #[test]
    fn what_is_written_as_cbor_is_read_back_byte_for_byte(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..8),
    ) {
        let mut sequence = Vec::new();
        for (seq, payload) in payloads.iter().enumerate() {
            sequence.extend(encoded(Format::Cbor, &record("d", "t", payload, seq as u64)));
        }
        let mut rest = &sequence[..];
        for (seq, payload) in payloads.iter().enumerate() {
            let value: ciborium::Value =
                ciborium::from_reader(&mut rest).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let map = value.into_map().map_err(|_| TestCaseError::fail("not a map"))?;
            let get = |key: &str| map.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value);
            prop_assert_eq!(get("payload").and_then(|value| value.as_bytes()), Some(payload));
            prop_assert_eq!(get("seq").and_then(|value| value.as_integer()), Some((seq as u64).into()));
            prop_assert_eq!(get("time_ms").and_then(|value| value.as_integer()), Some(1_795_336_200_123_u64.into()));
            prop_assert_eq!(get("gateway").and_then(|value| value.as_text()), Some("gw-1"));
        }
        prop_assert!(rest.is_empty());
    }
}
