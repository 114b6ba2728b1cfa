//! What becomes of segments that are delivered: of which no record waits any more.
//!
//! Without `keep_delivered` they go at once, wherever they stand in their lane; with it, when their newest record is
//! older than that. A lane's newest segment stays in any case: it proves the highest number, and is at most one
//! segment's size. How old a segment's newest record is, the first one of the segment behind it says closely enough.
//! Where that cannot be known (a record of another boot, whose clock was never right), the time since this process
//! began counts.
//!
//! A removal in the middle of a lane leaves a **hole**. Readers pass it (the segment before remembers where it ends);
//! after a restart it can no longer be told from a segment that was lost, but what is missing is held against what
//! waits, and there nothing does. A name whose removal was not synced comes back after a power cut, and is removed
//! again: what it holds does not wait.

use super::control::Ledger;
use super::log::{Log, LogShared, SegmentView, View};
use super::recover::WINDOW;
use super::room::holes;
use super::segment;
use super::writer::Writer;
use super::{Ranges, recover_lane};
use crate::clock::Stamp;
use crate::store::disk::{Disk, Mode};
use crate::store::journal::frame::{Scan, Stop};
use std::io;
use std::time::{Duration, Instant};

/// What age is measured against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) time: Duration,
    pub(super) now: Stamp,
    /// When this process began.
    pub(super) began: Stamp,
}

impl Keep {
    /// Whether something received then, or at an unknown time, has been kept for long enough.
    fn is_over(&self, ledger: &Ledger, received: Option<Stamp>) -> bool {
        let (now, began) = (&self.now, &self.began);
        let age = received.and_then(|stamp| ledger.clocks.right(stamp).0.age_ms(now));
        let age = age.unwrap_or_else(|| began.age_ms(now).unwrap_or(0));
        Duration::from_millis(age) >= self.time
    }
}

/// Bytes of a lane's segments that are delivered and only kept.
pub(super) fn kept_bytes(view: &View, waiting: &Ranges) -> u64 {
    holes(waiting).flat_map(|hole| view.inside(hole.0, hole.1)).map(|at| view.segments[at].len).sum()
}

/// Bytes that a lane's waiting records take, about: of a segment that is delivered in part, that part of its records.
pub(super) fn waiting_bytes(view: &View, waiting: &Ranges) -> u64 {
    let ends = view.segments.iter().skip(1).map(|segment| segment.first).chain([view.next]);
    let of = |len: u64, part: u64, whole: u64| (u128::from(len) * u128::from(part) / u128::from(whole.max(1))) as u64;
    let segments = view.segments.iter().zip(ends);
    segments.map(|(it, end)| of(it.len, waiting.count(it.first, end), end.saturating_sub(it.first))).sum()
}

/// Removes a lane's delivered segments that need not be kept any longer; says how many bytes that freed.
pub(super) fn sweep(disk: &dyn Disk, log: &mut Log, ledger: &Ledger, waiting: &Ranges, keep: &Keep) -> u64 {
    let mut freed = 0;
    for (from, below) in holes(waiting) {
        // The oldest of each hole that is too young ends its part: those behind it are younger still.
        while let Some((first, generation)) = next(disk, &log.shared, ledger, (from, below), keep) {
            let bytes = log.remove(disk, first, generation);
            freed += bytes;
            if bytes == 0 {
                break;
            }
        }
    }
    freed
}

/// The first segment of a hole, if it need not be kept.
fn next(disk: &dyn Disk, log: &LogShared, ledger: &Ledger, hole: (u64, u64), keep: &Keep) -> Option<(u64, u64)> {
    let (at, first, generation) = {
        let view = log.view();
        let at = view.inside(hole.0, hole.1).next()?;
        (at, view.segments[at].first, view.segments[at].generation)
    };
    if keep.time.is_zero() {
        return Some((first, generation));
    }
    let received = recover_lane::first_time(disk, log, at + 1);
    keep.is_over(ledger, received).then_some((first, generation))
}

/// How far the records of a segment go.
enum Reach {
    /// To its end.
    End(u64),
    /// Up to here they can be read; where they end cannot be told.
    Readable(u64),
}

/// Where the records of the segment at `index` end, as they stand in it: after a restart only that tells a hole behind
/// it.
fn reach_of(disk: &dyn Disk, log: &LogShared, segment: &SegmentView, end: u64) -> io::Result<Reach> {
    let file = disk.open(&log.path(segment.first, segment.generation), Mode::Read)?;
    let Some(head) = segment::read_head(&*file, segment.first, segment.generation)? else {
        return Ok(Reach::Readable(segment.first));
    };
    let (mut scan, mut buffer) = (Scan::new(file, &head, segment.len, end), Vec::new());
    loop {
        match scan.pass(&mut buffer, WINDOW, |_, _, _| true)? {
            Stop::Window => {}
            Stop::Bad => {
                let good = scan.next;
                if !scan.resync(&mut buffer)? {
                    return Ok(Reach::Readable(good));
                }
            }
            Stop::End | Stop::Enough => return Ok(Reach::End(scan.next)),
        }
    }
}

/// Learns of holes in `[from, below)` that were made before the restart. Reads the segments before each place where a
/// generation is missing: there was a segment, or one was begun and taken back. Says which numbers may lie in a hole
/// all the same, because a segment cannot be read to its end now: nobody could be given them either.
pub(super) fn learn_holes(disk: &dyn Disk, log: &LogShared, from: u64, below: u64) -> Vec<(u64, u64)> {
    let doubtful: Vec<(usize, SegmentView, u64)> = {
        let view = log.view();
        let first = view.find(from).unwrap_or(0);
        let gap = |index: &usize| {
            let next = view.segments.get(index + 1);
            let one = &view.segments[*index];
            !one.end_known && next.is_some_and(|next| next.generation != one.generation + 1)
        };
        let in_reach = (first..view.segments.len()).take_while(|index| view.segments[*index].first < below);
        in_reach.filter(gap).map(|index| (index, view.segments[index].clone(), view.end(index))).collect()
    };
    let mut unknown = Vec::new();
    for (index, segment, end) in doubtful {
        match reach_of(disk, log, &segment, end) {
            Ok(Reach::End(end)) => {
                if let Some(segment) = log.view().segments.get_mut(index) {
                    (segment.end, segment.end_known) = (end, true);
                }
            }
            Ok(Reach::Readable(good)) => unknown.push((good, end)),
            Err(error) => {
                tracing::debug!(lane = log.name, %error, "cannot see where a segment ends");
                unknown.push((segment.first, end));
            }
        }
    }
    unknown
}

impl Writer {
    /// What ages are measured against now.
    fn keep(&self) -> Keep {
        let options = &self.shared.options;
        Keep { time: options.keep_delivered, now: options.clock.now(), began: self.began }
    }

    /// Removes segments that nothing needs any more, after a commit; those that are kept for a time, see
    /// [`Writer::sweep_kept`].
    pub(super) fn clean_up(&mut self, now: Instant) {
        if self.shared.options.keep_delivered.is_zero() {
            self.sweep_kept(now);
        }
        let disk = self.shared.disk.clone();
        let control = self.control.shared.view().segments.len();
        if control > super::CONTROL_SEGMENTS {
            self.control.remove_front(&*disk, control - super::CONTROL_SEGMENTS);
        }
        if self.aside_drop > 0 {
            let count = std::mem::take(&mut self.aside_drop);
            self.aside.remove_front(&*disk, count);
        }
    }

    /// Removes delivered segments whose time is over.
    pub(super) fn sweep_kept(&mut self, now: Instant) {
        let (disk, shared, keep) = (self.shared.disk.clone(), self.shared.clone(), self.keep());
        let mut freed = 0;
        for (index, log) in self.lanes.iter_mut().enumerate() {
            let ledger = shared.ledger();
            let Some(lane) = ledger.lanes.get(index) else { continue };
            freed += sweep(&*disk, log, &ledger, &lane.waiting, &keep);
        }
        if freed > 0 {
            self.level.gave_back(freed, now);
        }
    }
}
