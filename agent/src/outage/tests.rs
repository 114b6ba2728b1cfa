//! Tests of the whole room: facts to entries to what is shown, on disks that fail.

mod cuts;
mod facts;
mod files;
mod model;

use super::*;
use crate::clock::Stamp;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// A moment of boot 1, in ms of uptime, by a right clock.
fn at(uptime_ms: u64) -> Stamp {
    Stamp { wall_ms: 1_795_000_000_000 + uptime_ms, uptime_ms, boot: 1, trusted: true }
}

fn failed(class: Class) -> Fact {
    Fact::Failed(Evidence::new(Stage::Tcp, class, "connection refused"))
}

fn ledger(now: &Stamp) -> Ledger {
    let mut ledger = Ledger::resume(&Tally::default(), now);
    ledger.tell(Fact::Started, now);
    ledger
}

/// Lets a ledger live from one moment to another with a heartbeat each minute; gives the entries.
fn live(ledger: &mut Ledger, from_ms: u64, until_ms: u64) -> Vec<Entry> {
    let beats = (from_ms..until_ms).step_by(MINUTE as usize).skip(1);
    beats.filter_map(|ms| ledger.tell(Fact::Heartbeat, &at(ms))).collect()
}
