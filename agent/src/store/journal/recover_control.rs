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
    /// It is not as it was left: a damaged or torn segment, or an unknown entry.
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
    let mut contents = Contents { snapshot: None, entries: Vec::new(), next: segment.first, whole: false };
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
        Some(Decoded::Entries(entries)) => contents.entries.push((seq, entries)),
        None => known = false,
    });
    contents.whole = walked.map_err(failed)?.whole && known;
    // What is cut off was never committed.
    contents.snapshot.take_if(|(seq, _)| *seq >= scan.next);
    contents.entries.retain(|(seq, _)| *seq < scan.next);
    contents.next = scan.next;
    if access == Access::Look {
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
