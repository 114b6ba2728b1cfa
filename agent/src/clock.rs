//! The wall clock, read in one place.
//!
//! Gateways have no clock battery, so what is read here may be 1970 until the system is synchronised. It stands on
//! records and in figures; what must not jump (back-off, keep-alive, ages) is measured with the monotonic clock.
//! Like `secret`, this is known to every room.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch by the system's clock; 0 if that stands before the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
