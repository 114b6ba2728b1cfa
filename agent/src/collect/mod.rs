//! From devices to records: the first of the three rooms that telemetry walks through.
//!
//! [`listener`] is where devices connect; [`broker`] subscribes on a broker that is already there. Both turn
//! publishes into records by the topic rules of [`mapping`], take from payloads what must not be kept ([`fields`]), hand them to the store, and thank the sender only when
//! the store says that they are on flash. What no rule takes, is too large, or comes from whom [`allow`] does not list, is refused: counted durably, logged
//! (`turned_away`), and answered with a failure where the protocol has one. MQTT 3.1.1 has none, so there, and to a
//! broker, a refused publish is acknowledged like a stored one once its refusal is on flash.

mod alarms;
pub mod allow;
pub mod auth;
pub mod broker;
pub mod certificate;
pub mod devices;
pub mod fields;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod listener;
pub mod mapping;
pub mod session;
mod stats;
pub mod tls;
mod turned_away;

pub use alarms::{Alarm, Alarms, Heard, Subject};
pub use stats::{Counter, Snapshot, Stats};
