//! What stands in frames, taken apart, for the fuzz target `decode`. A good sum says that the bytes are those that were
//! written, not that this version wrote them.

use super::control::{self, Decoded, Entry, LaneLedger, Ledger};
use super::{aside, segment};
use crate::store::submission;
use crate::store::{LaneId, NewRecord, Submission};

/// Takes the body of a record, of a control frame and of a frame of what is put aside apart, and checks that what was
/// understood is what stands there: encoded again it is the same.
///
/// # Panics
/// When it is not: that is what the fuzzer looks for.
#[allow(unreachable_pub)] // it is reached with the feature alone
pub fn decode(bytes: &[u8]) {
    record(bytes);
    match control::decode(bytes) {
        Some(Decoded::Snapshot(ledger)) => snapshot(*ledger),
        Some(Decoded::Entries(entries, _)) => changes(&entries),
        Some(Decoded::Unknown) | None => {}
    }
    let _ = aside::decode(bytes);
    if let Some((first, generation)) = std::str::from_utf8(bytes).ok().and_then(segment::parse_name) {
        assert_eq!(segment::file_name(first, generation).as_bytes(), bytes, "a name has one spelling");
    }
}

/// Flags that a record which was submitted can have: all but that of a gap, which the store itself makes.
const SUBMITTED: u8 = 0b111;

fn record(bytes: &[u8]) {
    let Some(body) = submission::decode(bytes) else { return };
    assert_eq!(submission::origin(bytes), body.origin, "both ways to the origin agree");
    assert_eq!(submission::stamp(bytes), Some(body.stamp), "both ways to the stamp agree");
    assert_eq!(submission::is_gap(bytes), body.gap, "both ways to the flag agree");
    if bytes[0] & !SUBMITTED != 0 {
        return;
    }
    let mut submission = Submission::new();
    let (device, topic, payload) = (body.device, body.topic, body.payload);
    let again = NewRecord { device, topic, payload, stamp: body.stamp, origin: body.origin, will: body.will };
    submission.push(LaneId(0), &again);
    assert!(submission.bodies().all(|(_, made)| made == bytes), "a record has one encoding");
}

fn snapshot(ledger: Ledger) {
    let mut body = Vec::new();
    control::encode_snapshot(&ledger, &mut body);
    match control::decode(&body) {
        Some(Decoded::Snapshot(again)) => assert_eq!(*again, ledger, "a snapshot survives"),
        other => panic!("{other:?} instead of a snapshot"),
    }
    let mut arranged = ledger;
    arranged.arrange(&["critical".into(), "normal".into()]);
    let _ = arranged.index_contents();
}

fn changes(entries: &[Entry]) {
    let mut body = Vec::new();
    control::encode_entries(&entries.iter().collect::<Vec<_>>(), &mut body);
    match control::decode(&body) {
        Some(Decoded::Entries(again, 0)) => assert_eq!(again, entries, "entries survive"),
        other => panic!("{other:?} instead of entries"),
    }
    let lane = |name: &str| LaneLedger { name: name.into(), ..LaneLedger::default() };
    let mut ledger = Ledger { lanes: vec![lane("critical"), lane("normal")], ..Ledger::default() };
    // Whatever is told twice: nothing may overflow.
    for entry in entries.iter().chain(entries) {
        ledger.apply(entry);
    }
    snapshot(ledger);
}

#[cfg(test)]
mod tests;
