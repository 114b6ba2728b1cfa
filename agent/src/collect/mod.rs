//! From devices to records: the first of the three rooms that telemetry walks through.
//!
//! [`listener`] is where devices connect; the broker client subscribes on a broker that is already there. Both turn
//! publishes into records by the topic rules of [`mapping`], hand them to the store, and thank the sender only when
//! the store says that they are on flash.

pub mod broker;
pub mod mapping;
mod stats;

pub use stats::{Counter, Snapshot, Stats};
