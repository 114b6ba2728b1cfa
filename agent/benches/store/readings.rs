//! The records: real readings as devices send them.

use crate::queue::Outcome;
use std::path::Path;
use tidegate::store::{LaneId, Submission};

/// Series with the device that publishes it. Where they come from stands in `tests/data/README.md`.
const FILES: [(&str, &str); 4] = [
    ("machine-temperature", "machine_temperature_system_failure.csv"),
    ("speed-7578", "speed_7578.csv"),
    ("occupancy-6005", "occupancy_6005.csv"),
    ("travel-time-387", "TravelTime_387.csv"),
];

/// A payload takes readings until it is at least so long.
const PAYLOAD: usize = 180;

/// One publish.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) device: &'static str,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

/// All of them; record `n` of a run is the one at `n` modulo their count.
#[derive(Debug)]
pub(crate) struct Readings {
    all: Vec<Reading>,
    /// Bytes that the store's own encoding puts before device, topic and payload.
    head: usize,
}

impl Readings {
    pub(crate) fn load() -> Outcome<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        let mut series = Vec::new();
        for (device, file) in FILES {
            let path = folder.join(file);
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            series.push(payloads(&text).into_iter().map(move |payload| (device, payload)).collect::<Vec<_>>());
        }
        // Devices publish side by side, not one after the other.
        let mut all = Vec::new();
        let longest = series.iter().map(Vec::len).max().unwrap_or(0);
        for index in 0..longest {
            for one in &series {
                let Some((device, payload)) = one.get(index) else { continue };
                all.push(Reading { device, topic: format!("devices/{device}/telemetry"), payload: payload.clone() });
            }
        }
        let first = all.first().ok_or("there are no readings")?;
        let mut submission = Submission::new();
        submission.push(LaneId(0), &first.record(0));
        let head = submission.bytes() - first.text_len();
        Ok(Self { all, head })
    }

    pub(crate) fn get(&self, number: u64) -> &Reading {
        &self.all[(number % self.all.len() as u64) as usize]
    }

    /// Bytes of one body.
    pub(crate) fn len(&self, number: u64) -> usize {
        self.head + self.get(number).text_len()
    }

    /// Bytes of the bodies of `count` records.
    pub(crate) fn bytes(&self, from: u64, count: u64) -> u64 {
        (from..from + count).map(|number| self.len(number) as u64).sum()
    }

    /// How many records make up so many bytes.
    pub(crate) fn count(&self, bytes: u64) -> u64 {
        let round: u64 = self.bytes(0, self.all.len() as u64);
        (u128::from(bytes) * self.all.len() as u128 / u128::from(round)) as u64
    }

    /// The longest body.
    pub(crate) fn longest(&self) -> usize {
        self.all.iter().map(Reading::text_len).max().unwrap_or(0) + self.head
    }

    /// Appends a body to `out`, as long as the store's own and with the same text: its number, then the text.
    pub(crate) fn body(&self, number: u64, out: &mut Vec<u8>) {
        let reading = self.get(number);
        let start = out.len();
        out.extend_from_slice(&number.to_le_bytes());
        out.resize(start + self.head, 0);
        out.extend_from_slice(reading.device.as_bytes());
        out.extend_from_slice(reading.topic.as_bytes());
        out.extend_from_slice(&reading.payload);
    }

    /// Whether this is the body of that record.
    pub(crate) fn is_body(&self, number: u64, body: &[u8]) -> bool {
        body.len() == self.len(number)
            && body.starts_with(&number.to_le_bytes())
            && body.ends_with(&self.get(number).payload)
    }
}

impl Reading {
    fn text_len(&self) -> usize {
        self.device.len() + self.topic.len() + self.payload.len()
    }
}

/// Packs the rows of a series: `{"readings":[["2013-12-02 21:15:00",73.96732207],…]}`.
fn payloads(text: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut payload = String::new();
    for (time, value) in text.lines().skip(1).filter_map(|line| line.split_once(',')) {
        payload.push_str(if payload.is_empty() { r#"{"readings":["# } else { "," });
        payload.push_str(&format!(r#"["{time}",{value}]"#));
        if payload.len() >= PAYLOAD {
            payload.push_str("]}");
            all.push(std::mem::take(&mut payload).into_bytes());
        }
    }
    all
}
