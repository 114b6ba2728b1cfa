//! Latencies, counted in buckets that grow with the value: exact to the microsecond below 256 µs, to 1 in 128 above.

use std::time::Duration;

/// Values below this have a bucket each; above, each doubling has half as many.
const LINEAR: u64 = 256;

/// Counted latencies.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; index_of(u64::from(u32::MAX)) + 1], total: 0 }
    }
}

fn index_of(micros: u64) -> usize {
    if micros < LINEAR {
        return micros as usize;
    }
    let doublings = u64::from(micros.ilog2() - LINEAR.ilog2()) + 1;
    (LINEAR + (doublings - 1) * LINEAR / 2 + ((micros >> doublings) - LINEAR / 2)) as usize
}

fn lowest_in(index: usize) -> u64 {
    let index = index as u64;
    if index < LINEAR {
        return index;
    }
    let doublings = (index - LINEAR) / (LINEAR / 2) + 1;
    ((index - LINEAR) % (LINEAR / 2) + LINEAR / 2) << doublings
}

impl Histogram {
    /// Counts a latency; above an hour it counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(3_600_000_000);
        self.counts[index_of(micros)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latency that so much of all (0 to 1) does not exceed, as the lower edge of its bucket.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.total as f64 * part).ceil();
        let mut sum = 0;
        for (index, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum > 0 && sum as f64 >= wanted {
                return Duration::from_micros(lowest_in(index));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_is_near_it_and_buckets_do_not_overlap() {
        let mut last = 0;
        for micros in (0..5000).chain((5000..4_000_000_000).step_by(9_999_991)) {
            let index = index_of(micros);
            assert!(index >= last, "{micros} goes back");
            last = index;
            let low = lowest_in(index);
            assert!(low <= micros && (micros - low) * 128 <= micros, "{micros} is counted as {low}");
            assert_eq!(index_of(low), index);
        }
    }

    #[test]
    fn quantiles_are_found() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.total(), 1000);
        assert_eq!(histogram.quantile(0.5), Duration::from_micros(500));
        assert!(histogram.quantile(0.99) >= Duration::from_micros(982));
        assert!(histogram.quantile(0.99) <= Duration::from_micros(990));
    }
}
