//! Recovery of the control lane.

use super::control::{self, Decoded, Ledger};
use super::frame::Scan;
use super::log::SegmentView;
use super::recover::{Access, Found, Report, list, read_error};
use super::{segment, unproven};
use crate::store::StoreError;
use crate::store::disk::Disk;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use tidegate_protocol::SEQ_LIMIT;

/// What was found of the control lane.
#[derive(Debug, Default)]
pub(super) struct ControlFound {
    /// What it adds up to; `None` if there is none, or none that can be read.
    pub(super) ledger: Option<Ledger>,
    pub(super) segments: Vec<SegmentView>,
    pub(super) next: u64,
    pub(super) generation: u64,
    /// It is not as it was left: a damaged or torn segment.
    pub(super) damaged: bool,
    /// Nothing is missing before the last of what was read: the state is what it once was, if not what it was last.
    pub(super) unbroken: bool,
}

/// One segment's contents.
struct Contents {
    /// With the number of its frame, as the entries.
    snapshot: Option<(u64, Box<Ledger>)>,
    entries: Vec<(u64, Vec<control::Entry>)>,
    next: u64,
    whole: bool,
    /// Entries that a later version made and this one passes over.
    unknown: usize,
}

/// Reads the control lane.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    access: Access,
    report: &mut Report,
) -> Result<ControlFound, StoreError> {
    let segments = list(&**disk, dir)?;
    let mut found = ControlFound {
        generation: segments.iter().map(|segment| segment.generation).max().unwrap_or(0),
        segments: segments.iter().map(Found::view).collect(),
        next: segments.iter().map(|segment| segment.first).max().unwrap_or(0),
        ..ControlFound::default()
    };
    let mut newer: Vec<Contents> = Vec::new();
    let mut end = SEQ_LIMIT;
    for segment in segments.iter().rev() {
        let contents = read_segment(disk, dir, segment, end, access)?;
        end = end.min(segment.first);
        if !contents.whole {
            found.damaged = true;
            let path = dir.join(segment::file_name(segment.first, segment.generation));
            report.add(format!("{} is damaged or was cut short", path.display()));
        }
        if contents.unknown > 0 {
            let path = dir.join(segment::file_name(segment.first, segment.generation));
            let (count, path) = (contents.unknown, path.display());
            report.add(format!("{path}: {count} entries of a later version of tidegate are passed over"));
        }
        let has_snapshot = contents.snapshot.is_some();
        newer.push(contents);
        if has_snapshot {
            break;
        }
        found.damaged = true;
    }
    found.next = newer.iter().map(|contents| contents.next).max().unwrap_or(found.next).max(found.next);
    let mut oldest_first = newer.into_iter().rev();
    let Some(base) = oldest_first.next() else { return Ok(found) };
    let Some((begin, snapshot)) = base.snapshot else { return Ok(found) };
    let mut ledger = Ledger { released_ahead: Some(HashSet::default()), ..*snapshot };
    let mut last = begin;
    found.unbroken = true;
    for (seq, entries) in base.entries.into_iter().chain(oldest_first.flat_map(|contents| contents.entries)) {
        found.unbroken &= seq == last + 1;
        last = seq;
        for entry in &entries {
            ledger.apply(entry);
        }
    }
    found.ledger = Some(ledger);
    Ok(found)
}

fn read_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segment: &Found,
    end: u64,
    access: Access,
) -> Result<Contents, StoreError> {
    let path = dir.join(segment::file_name(segment.first, segment.generation));
    let failed = |error| read_error(&path, error);
    let mut contents = Contents { snapshot: None, entries: Vec::new(), next: segment.first, whole: false, unknown: 0 };
    let file = disk.open(&path, access.mode()).map_err(failed)?;
    let Some(head) = segment::read_head(&*file, segment.first, segment.generation).map_err(failed)? else {
        return Ok(contents);
    };
    let mut scan = Scan::new(file.clone(), &head, segment.len, end);
    let mut known = true;
    let walked = unproven::walk(&mut scan, 0, |seq, body| match control::decode(body) {
        Some(Decoded::Snapshot(ledger)) => {
            contents.snapshot = Some((seq, ledger));
            contents.entries.clear();
        }
        Some(Decoded::Entries(entries, unknown)) => {
            contents.entries.push((seq, entries));
            contents.unknown += unknown;
        }
        Some(Decoded::Unknown) => {
            contents.entries.push((seq, Vec::new()));
            contents.unknown += 1;
        }
        None => known = false,
    });
    contents.whole = walked.map_err(failed)?.whole && known;
    // What is cut off was never committed.
    contents.snapshot.take_if(|(seq, _)| *seq >= scan.next);
    contents.entries.retain(|(seq, _)| *seq < scan.next);
    contents.next = scan.next;
    if access != Access::Own {
        return Ok(contents);
    }
    // Made durable before anything is decided from it: after a crash of the process alone it may only be cached. If
    // that fails it is not tried again: what was read is written anew, to another file.
    if let Err(error) = file.sync_data().and_then(|()| disk.sync_dir(dir)) {
        tracing::warn!(file = %path.display(), %error, "cannot sync");
        contents.whole = false;
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::simulated::SimulatedDisk;
    use crate::store::disk::{Mode, write_all_at};
    use ciborium::value::Value;
    use control::{Entry, LaneLedger};

    /// A control segment of these frames, the first of which begins a commit each.
    fn control_of(bodies: &[Vec<u8>]) -> Arc<dyn Disk> {
        let disk = SimulatedDisk::new();
        let dir = Path::new("/control");
        disk.create_dir_all(dir).expect("a folder");
        let identity = segment::Identity { gateway: "g".into(), epoch: "e".into(), lane: "control".into() };
        let (head, salt) = segment::encode(&identity, 5, 1);
        let mut bytes = head.to_vec();
        for (seq, body) in (5..).zip(bodies) {
            super::super::frame::append(&mut bytes, salt, seq, true, body);
        }
        let file = disk.open(&dir.join(segment::file_name(5, 1)), Mode::Create).expect("a file");
        write_all_at(&*file, &bytes, 0).expect("written");
        Arc::new(disk)
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over_and_said_and_what_stands_beside_it_holds() {
        let lane = LaneLedger { name: "normal".into(), ..LaneLedger::default() };
        let ledger = Ledger { epoch: "e".into(), lanes: vec![lane], ..Ledger::default() };
        let [mut snapshot, mut plain] = [Vec::new(), Vec::new()];
        control::encode_snapshot(&ledger, &mut snapshot);
        let evicted = Entry::Evicted { lane: 0, from: 0, below: 7, records: 7, gaps: Vec::new() };
        control::encode_entries(&[&Entry::AsideDropped { records: 2 }], &mut plain);
        let later = Value::Map(vec![(Value::Text("Later".into()), Value::Map(vec![]))]);
        let known = Value::serialized(&evicted).expect("an entry is CBOR");
        let mut mixed = vec![b'E'];
        ciborium::into_writer(&vec![later.clone(), known, later], &mut mixed).expect("a Vec takes all");
        let disk = control_of(&[snapshot, mixed, b"Zanything".to_vec(), plain]);
        let mut report = Report::quiet();
        let found = read(&disk, Path::new("/control"), Access::Own, &mut report).expect("it can be read");
        let ledger = found.ledger.expect("a snapshot");
        assert_eq!((ledger.lanes[0].evicted, ledger.lanes[0].cursor(), ledger.aside_dropped), (7, 7, 2));
        assert!(!found.damaged && found.unbroken && found.next == 9, "no damage: the sums are good");
        let said = format!("{report:?}");
        assert!(said.contains("3 entries of a later version"), "{said}");
    }

    #[test]
    fn a_frame_of_a_known_kind_that_is_no_such_thing_is_damage() {
        let mut snapshot = Vec::new();
        control::encode_snapshot(&Ledger::default(), &mut snapshot);
        let disk = control_of(&[snapshot, b"E\xff\xff".to_vec()]);
        let found = read(&disk, Path::new("/control"), Access::Own, &mut Report::quiet()).expect("it can be read");
        assert!(found.damaged);
    }
}
