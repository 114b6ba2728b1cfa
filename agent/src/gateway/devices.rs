//! The devices that were heard, as `status` shows them.

use super::Shared;
use crate::clock::Stamp;
use crate::watch::{DeviceStatus, DevicesStatus};

/// Devices in one status at most: what a screen shows, and little enough to be asked for each second.
const LISTED: usize = 200;

pub(super) fn status(shared: &Shared, now: &Stamp) -> DevicesStatus {
    let devices = &shared.stats.devices;
    let heard = devices.heard(now.uptime_ms);
    let (known, silent) = (heard.len() as u64, heard.iter().filter(|one| one.silent).count() as u64);
    let list = heard.into_iter().take(LISTED).map(|one| DeviceStatus {
        last_ms: Stamp { uptime_ms: one.last_ms, ..*now }.by(now),
        ago_ms: now.uptime_ms.saturating_sub(one.last_ms),
        name: one.name,
        messages: one.messages,
        per_hour: one.per_hour,
        usual_ms: one.usual_ms,
        silent: one.silent,
    });
    DevicesStatus { known, silent, forgotten: devices.forgotten.get(), list: list.collect() }
}
