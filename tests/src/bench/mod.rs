//! Parts of the side-by-side benchmarks: a load generator that costs little itself, an HTTP sink, an MQTT subscriber,
//! and what the kernel says a process used.

mod arguments;
mod histogram;
mod load;
mod process;
mod sink;
mod subscriber;

pub use arguments::Arguments;
pub use histogram::Histogram;
pub use load::{Measured, Plan, PlanError, Until};
pub use process::{Usage, proc_status_kib};
pub use sink::Sink;
pub use subscriber::Subscriber;

/// Which of the two gateways is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This project's.
    Tidegate,
    /// Mosquitto.
    Mosquitto,
}

impl Side {
    /// In the order in which a round measures them.
    pub const BOTH: [Self; 2] = [Self::Tidegate, Self::Mosquitto];

    /// Its name, for a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::Mosquitto => "Mosquitto",
        }
    }
}

/// The middle one of some measurements; the mean of the two in the middle if their number is even.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![1.0, 2.0, 4.0, 100.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
    }
}
