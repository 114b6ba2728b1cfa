//! Recovery of one lane: what its segments hold, and how its newest one ends.

use super::control::{LaneLedger, Ledger};
use super::frame::{self, Scan, Stop};
use super::gaps::{Key, tell::gap_record};
use super::log::{LogShared, SegmentView, View};
use super::recover::{Access, Found, Report, WINDOW, list, read_error};
use super::segment::{self, HEAD_LEN, Head, Identity};
use super::unproven;
use crate::clock::Stamp;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::{Origin, StoreError, submission};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_protocol::SEQ_LIMIT;

/// Bytes read to see the first record of a segment.
const FIRST_WINDOW: usize = 4096;

/// What was found of a lane.
#[derive(Debug, Default)]
pub(super) struct LaneFound {
    pub(super) view: View,
    pub(super) generation: u64,
    pub(super) head: Option<Arc<Identity>>,
    /// Records with an origin, from the accounted one on.
    pub(super) origins: Vec<(Origin, u64)>,
    /// Gap records that the control lane may not know of, and when they were made.
    pub(super) gaps: Vec<(u64, Key, Stamp)>,
    /// Damaged ranges met on the way.
    pub(super) damage: Vec<(u64, u64)>,
    /// Up to here, segments without a head say that they hold records; nothing proves that they are right.
    pub(super) claimed: u64,
    /// Why the highest number used is not proved, if it is not.
    pub(super) doubt: Option<String>,
    /// Bytes at the end that are neither records nor zeros written ahead.
    pub(super) torn: u64,
    /// To do once the new state is on flash: cut what is behind the last record, move unusable segments, remove replaced ones.
    pub(super) cut: Option<(PathBuf, Arc<dyn DiskFile>, u64)>,
    pub(super) unusable: Vec<PathBuf>,
    pub(super) replaced: Vec<PathBuf>,
}

/// The end of a lane as its newest segment shows it.
struct Tail {
    file: Arc<dyn DiskFile>,
    head: Head,
}

/// What the control lane says of the records to be read.
struct Known {
    /// From here on origins are looked for.
    accounted: u64,
    /// All below was committed once, whatever is left of it.
    committed: u64,
}

impl Known {
    fn new(lane: Option<&LaneLedger>, access: Access) -> Self {
        let committed = lane.map_or(0, LaneLedger::evidence);
        match lane {
            // Who does not go on with the store has no use for origins.
            _ if access != Access::Own => Self { accounted: SEQ_LIMIT, committed },
            Some(lane) => Self { accounted: lane.accounted, committed },
            // Without a control lane there are no sessions left to which an unreleased publish could belong.
            None => Self { accounted: SEQ_LIMIT, committed },
        }
    }
}

/// Reads a lane. `known` is its index in the ledger, if the control lane said anything of it.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    ledger: Option<(&Ledger, usize)>,
    access: Access,
    report: &mut Report,
) -> Result<LaneFound, StoreError> {
    let mut found = LaneFound::default();
    let mut segments = list(&**disk, dir)?;
    found.generation = segments.iter().map(|segment| segment.generation).max().unwrap_or(0);
    let known = ledger.and_then(|(ledger, index)| ledger.lanes.get(index));
    let noted = known.map_or(0, |lane| lane.generation);
    if found.generation < noted {
        found.doubt = Some(format!("the newest segment in {} is missing", dir.display()));
    }
    found.generation = found.generation.max(noted);
    let tail = find_tail(disk, dir, &mut segments, (noted, access), &mut found, report)?;
    drop_replaced(dir, &mut segments, &mut found);
    found.view.segments = segments.iter().map(Found::view).collect();
    found.view.next = segments.last().map_or(0, |segment| segment.first);
    if let Some(tail) = tail {
        let known = Known::new(known, access);
        read_older(disk, dir, known.accounted, &mut found)?;
        read_tail(disk, dir, &tail, (&known, access), &mut found, report)?;
    } else if access == Access::Own {
        // A segment that was begun and taken back shall not come back once its numbers are used again.
        if let Err(error) = disk.sync_dir(dir) {
            found.doubt = Some(format!("{} cannot be synced: {error}", dir.display()));
        }
    }
    if found.claimed > found.view.next {
        found.damage.push((found.view.next, found.claimed));
        found.view.next = found.claimed;
    }
    found.view.bytes = found.view.segments.iter().map(|segment| segment.len).sum();
    Ok(found)
}

/// The newest segment with a readable head; those behind it that have none are taken out of the list.
fn find_tail(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segments: &mut Vec<Found>,
    (noted, access): (u64, Access),
    found: &mut LaneFound,
    report: &mut Report,
) -> Result<Option<Tail>, StoreError> {
    while let Some(newest) = segments.last() {
        let path = dir.join(segment::file_name(newest.first, newest.generation));
        let file = disk.open(&path, access.mode()).map_err(|error| read_error(&path, error))?;
        let head = segment::read_head(&*file, newest.first, newest.generation);
        if let Some(head) = head.map_err(|error| read_error(&path, error))? {
            return Ok(Some(Tail { file, head }));
        }
        if newest.len <= HEAD_LEN as u64 && newest.generation > noted {
            // A power cut met it while it was made: nothing in it was ever committed.
            report.add(format!("{} was never finished and is removed", path.display()));
            found.replaced.push(path);
        } else {
            let text = format!("neither head of {} can be read: it is set aside", path.display());
            report.add(text.clone());
            found.doubt = Some(text);
            // One that the control lane does not know of never held what was answered; nor did one whose heads never
            // arrived, though the control lane's part of their commit did.
            if newest.generation <= noted && !unproven::has_empty_sector(&*file, 0, HEAD_LEN as u64) {
                let end = frame::claimed_end(&*file, newest.first).map_err(|error| read_error(&path, error))?;
                found.claimed = found.claimed.max(end);
            }
            found.unusable.push(path);
        }
        segments.pop();
    }
    Ok(None)
}

/// A segment ends where one of a later generation begins: one that begins there or behind it holds nothing.
fn drop_replaced(dir: &Path, segments: &mut Vec<Found>, found: &mut LaneFound) {
    let mut begins = u64::MAX;
    let mut kept = Vec::with_capacity(segments.len());
    for segment in segments.drain(..).rev() {
        if segment.first >= begins {
            found.replaced.push(dir.join(segment::file_name(segment.first, segment.generation)));
        } else {
            begins = segment.first;
            kept.push(segment);
        }
    }
    kept.reverse();
    *segments = kept;
}

/// Looks through older segments for origins that the control lane does not know of yet; as a rule there are none.
fn read_older(disk: &Arc<dyn Disk>, dir: &Path, accounted: u64, found: &mut LaneFound) -> Result<(), StoreError> {
    let mut buffer = Vec::new();
    for index in 0..found.view.segments.len().saturating_sub(1) {
        let (segment, end) = (found.view.segments[index].clone(), found.view.end(index));
        if end <= accounted {
            continue;
        }
        let path = dir.join(segment::file_name(segment.first, segment.generation));
        let failed = |error| read_error(&path, error);
        let file = disk.open(&path, Mode::Read).map_err(failed)?;
        let Some(head) = segment::read_head(&*file, segment.first, segment.generation).map_err(failed)? else {
            continue;
        };
        let mut scan = Scan::new(file, &head, segment.len, end);
        loop {
            let stop = scan
                .pass(&mut buffer, WINDOW, |bytes, seq, body| {
                    if let Some(origin) = submission::origin(&bytes[body]).filter(|_| seq >= accounted) {
                        found.origins.push((origin, seq));
                    }
                    true
                })
                .map_err(failed)?;
            let done = match stop {
                Stop::Window => false,
                Stop::End | Stop::Enough => true,
                Stop::Bad => !scan.resync(&mut buffer).map_err(failed)?,
            };
            if done {
                break;
            }
        }
    }
    Ok(())
}

/// Walks the newest segment to its end, and makes durable what it shows: after a crash of the process alone it may only
/// be cached, and it is about to be handed out.
fn read_tail(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    tail: &Tail,
    (known, access): (&Known, Access),
    found: &mut LaneFound,
    report: &mut Report,
) -> Result<(), StoreError> {
    let Some(segment) = found.view.segments.back().cloned() else { return Ok(()) };
    let path = dir.join(segment::file_name(segment.first, segment.generation));
    let mut scan = Scan::new(tail.file.clone(), &tail.head, segment.len, SEQ_LIMIT);
    let (origins, gaps) = (&mut found.origins, &mut found.gaps);
    let walked = unproven::walk(&mut scan, known.committed, |seq, body| {
        origins.extend(submission::origin(body).filter(|_| seq >= known.accounted).map(|origin| (origin, seq)));
        if seq >= known.committed && submission::is_gap(body) {
            gaps.extend(gap_record(body).map(|(key, stamp)| (seq, key, stamp)));
        }
    });
    let walked = walked.map_err(|error| read_error(&path, error))?;
    origins.retain(|(_, seq)| *seq < scan.next);
    gaps.retain(|(seq, ..)| *seq < scan.next);
    for (from, below) in &walked.holes {
        report.add(format!("{}: records {from} to {} cannot be read", path.display(), below - 1));
    }
    found.damage.extend(walked.holes);
    found.torn = walked.torn;
    if walked.torn > 0 {
        let text = format!("{}: the last {} bytes are torn", path.display(), walked.torn);
        report.add(text.clone());
        found.doubt = Some(text);
    }
    if scan.offset < segment.len {
        found.cut = Some((path.clone(), tail.file.clone(), scan.offset));
    }
    found.view.next = scan.next;
    if let Some(last) = found.view.segments.back_mut() {
        last.len = scan.offset;
    }
    found.head = Some(tail.head.identity.clone());
    if access != Access::Own {
        return Ok(());
    }
    if let Err(error) = tail.file.sync_data().and_then(|()| disk.sync_dir(dir)) {
        // A failed sync is not tried again: the file is left as it is, and numbers go on in a new epoch, so whatever
        // the medium kept, no id names two records.
        let text = format!("{} cannot be synced: {error}", path.display());
        report.add(text.clone());
        found.doubt = Some(text);
    }
    Ok(())
}

/// Learns when the first record of the segment at the cursor was received, so that it can be told how long the oldest
/// one has waited. What cannot be read is met again, and counted, by the reader.
pub(super) fn learn_time(disk: &dyn Disk, log: &LogShared, cursor: u64) {
    let index = log.view().find(cursor);
    if let Some(index) = index {
        first_time(disk, log, index);
    }
}

/// When the first record of a segment was received: as it is known, or else as the segment itself says. `None` if that
/// cannot be read.
pub(super) fn first_time(disk: &dyn Disk, log: &LogShared, index: usize) -> Option<Stamp> {
    let (segment, end) = {
        let view = log.view();
        (view.segments.get(index)?.clone(), view.end(index))
    };
    if segment.first_time.is_some() || segment.first >= end {
        return segment.first_time;
    }
    let time = read_first_time(disk, &log.path(segment.first, segment.generation), &segment)?;
    let mut view = log.view();
    let known = view.segments.get_mut(index).filter(|one| one.generation == segment.generation)?;
    known.first_time = Some(time);
    Some(time)
}

/// When the first record of the segment in this file was received; `None` if that cannot be read.
pub(super) fn read_first_time(disk: &dyn Disk, path: &Path, segment: &SegmentView) -> Option<Stamp> {
    let file = disk.open(path, Mode::Read).ok()?;
    let head = segment::read_head(&*file, segment.first, segment.generation).ok()??;
    let mut scan = Scan::new(file, &head, segment.len, segment.first + 1);
    let mut time = None;
    let read = scan.pass(&mut Vec::new(), FIRST_WINDOW, |bytes, _, body| {
        time = submission::stamp(&bytes[body]);
        false
    });
    read.ok().and(time)
}
