//! The readings the demo's devices publish: real ones, compiled in.
//!
//! Excerpts of the Numenta Anomaly Benchmark, 300 rows of each of four sensors, unchanged (see `sample/NOTICE.txt`).
//! The first holds repeated timestamps and one that goes back, as real sensors produce them.

/// Sensor and file.
pub(super) const FILES: [(&str, &str); 4] = [
    ("machine_temperature", include_str!("sample/machine_temperature_system_failure.csv")),
    ("speed_7578", include_str!("sample/speed_7578.csv")),
    ("occupancy_6005", include_str!("sample/occupancy_6005.csv")),
    ("travel_time_387", include_str!("sample/TravelTime_387.csv")),
];

/// The payloads of one file in order, such as `{"timestamp":"2015-09-08 11:39:00","value":73}`: the number stands as
/// it stands in the file, digit for digit.
pub(super) fn payloads(csv: &str) -> impl Iterator<Item = String> + '_ {
    csv.lines()
        .skip(1)
        .filter_map(|row| row.split_once(','))
        .map(|(timestamp, value)| format!("{{\"timestamp\":\"{timestamp}\",\"value\":{value}}}"))
}

/// The topic a sensor publishes on.
pub(super) fn topic(sensor: &str) -> String {
    format!("devices/{sensor}/telemetry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_payload_that_is_json_with_its_number_to_the_letter() {
        for (sensor, csv) in FILES {
            let payloads: Vec<_> = payloads(csv).collect();
            assert_eq!(payloads.len(), 300, "{sensor}");
            for (row, payload) in csv.lines().skip(1).zip(&payloads) {
                let (timestamp, value) = row.split_once(',').expect("a row has two columns");
                let parsed: serde_json::Value = serde_json::from_str(payload).expect("a payload is JSON");
                assert_eq!(parsed["timestamp"], timestamp);
                assert!(payload.ends_with(&format!(":{value}}}")));
            }
        }
    }

    #[test]
    fn the_sample_holds_repeated_timestamps_and_one_out_of_order() {
        let times: Vec<_> = FILES[0].1.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
        assert_eq!(times.windows(2).filter(|pair| pair[1] < pair[0]).count(), 1);
        let distinct: std::collections::HashSet<_> = times.iter().collect();
        assert_eq!(times.len() - distinct.len(), 12);
    }
}
