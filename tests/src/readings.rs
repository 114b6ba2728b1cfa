//! The sample readings: real series whose numbers have many spellings (`73.96732207`, `6.44`, `564`), with repeated
//! timestamps and one that is out of order. Where they come from stands in `tests/data/README.md`.

use std::path::Path;

/// One series.
#[derive(Debug, Clone)]
pub struct Series {
    /// The device it is published as.
    pub device: &'static str,
    /// Payloads in the order of the file: the value spelled as in the file.
    pub payloads: Vec<String>,
}

/// The series with their file names.
const FILES: [(&str, &str); 4] = [
    ("machine-temperature", "machine_temperature_system_failure.csv"),
    ("speed-7578", "speed_7578.csv"),
    ("occupancy-6005", "occupancy_6005.csv"),
    ("travel-time-387", "TravelTime_387.csv"),
];

/// All four series, whole.
#[must_use]
pub fn all() -> Vec<Series> {
    FILES.iter().map(|(device, file)| Series { device, payloads: read(file) }).collect()
}

fn read(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let payloads: Vec<String> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(time, value)| format!(r#"{{"timestamp":"{time}","value":{value}}}"#))
        .collect();
    assert!(payloads.len() > 1000, "{} holds only {} readings", path.display(), payloads.len());
    payloads
}
