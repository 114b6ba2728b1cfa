//! The devices that were heard.

use serde::{Deserialize, Serialize};

/// The devices that were heard since the agent was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct DevicesStatus {
    /// Devices that are remembered, 1,000 at most.
    pub known: u64,
    /// Of these, how many are silent.
    pub silent: u64,
    /// Times that a device was forgotten in favour of another, because there are more than can be remembered.
    pub forgotten: u64,
    /// Some of them, 200 at most: the silent ones first, then those heard last.
    pub list: Vec<DeviceStatus>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct DeviceStatus {
    /// Its name, as the topic rules find it; cut at 128 bytes.
    pub name: String,
    /// Publishes taken from it since it is remembered.
    pub messages: u64,
    /// When it was last heard.
    pub last_ms: u64,
    /// How long ago that was.
    pub ago_ms: u64,
    /// Messages in the last hour at the pace of the last ten minutes, or of the time since it is remembered.
    pub per_hour: u64,
    /// The longest time between messages that is usual for it; `None` until it is learnt.
    pub usual_ms: Option<u64>,
    /// Nothing was heard for several times its usual interval.
    pub silent: bool,
}
