//! A log: one lane's segments, as the writer appends to them and as readers see them.
//!
//! An append has three steps, so that several logs can be synced together: entries are *staged* in memory, *written*,
//! and, once synced, *published*: only then do readers see them. If anything fails in between, the log is rolled back
//! to what was last published, and the same entries can be staged again under the same numbers.

use super::ahead::{self, Ahead};
use super::frame;
use super::reserve::{Reserve, write_zeros};
use super::segment::{self, HEAD_LEN, Identity};
use crate::clock::Stamp;
use crate::store::disk::{Disk, DiskFile, Mode, write_all_at};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Times remembered per lane to tell how long the oldest record has waited: where recent reads began. A forwarder
/// keeps a few batches under way, each of which begins where a read did.
const TIME_MARKS: usize = 64;

/// Bytes by which a segment is lengthened ahead of what is written, so that a small commit changes neither the file's
/// length nor its blocks. Measured on ext4 with its journal: a commit of one 270-byte record then writes 5 KiB to
/// the medium instead of 17, one of 5 KiB 21 instead of 31; commits of 1 MiB gain nothing. Low enough that all logs together
/// hold little that is not used, high enough that lengthening is seldom.
const STEP: u64 = 64 * 1024;

/// Bytes that must be left for files to be lengthened ahead: what all logs together take so stays a small part of it, and
/// a small store, or one that is nearly full, has none of its room taken.
const AMPLE: u64 = 16 * STEP;

/// A commit of more than this is written without: it needs new blocks anyway.
const SMALL: u64 = STEP / 4;

/// A buffer larger than this is given back after use; below, it is kept for the next commit.
pub(super) const KEEP_BUFFER: usize = 1024 * 1024 + 256 * 1024;

/// A segment as readers see it.
#[derive(Debug, Clone)]
pub(super) struct SegmentView {
    pub(super) first: u64,
    pub(super) generation: u64,
    /// Committed bytes.
    pub(super) len: u64,
    /// Where its numbers end at the latest, should a segment behind it have been removed; else the next one says so.
    pub(super) end: u64,
    /// That its numbers end there, and not before, is known; while nothing behind it was removed it need not be.
    pub(super) end_known: bool,
    /// When its first record was received, once that is known; while it has none, when it was begun.
    pub(super) first_time: Option<Stamp>,
}

/// What is committed.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) segments: VecDeque<SegmentView>,
    /// The next sequence number.
    pub(super) next: u64,
    pub(super) bytes: u64,
    /// Bytes that the newest segment's file is longer than what is committed.
    pub(super) slack: u64,
    /// Bytes appended since the start.
    pub(super) appended: u64,
    /// Bytes on disk, each file rounded up to whole blocks.
    pub(super) occupied: u64,
    /// Receive times of some records, by sequence number.
    pub(super) times: BTreeMap<u64, Stamp>,
}

/// The part of a log that the writer and the readers share.
#[derive(Debug)]
pub(super) struct LogShared {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    /// Bytes in which a file grows on this file system.
    block: u64,
    view: Mutex<View>,
}

impl LogShared {
    pub(super) fn new(name: String, dir: PathBuf, block: u64, mut view: View) -> Self {
        view.occupied = view.segments.iter().map(|segment| occupied(segment.len, block)).sum();
        Self { name, dir, block, view: Mutex::new(view) }
    }

    /// Bytes that a segment takes on disk.
    pub(super) fn occupied(&self, segment: &SegmentView) -> u64 {
        occupied(segment.len, self.block)
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no holder of this lock panics")
    }

    pub(super) fn path(&self, first: u64, generation: u64) -> PathBuf {
        self.dir.join(segment::file_name(first, generation))
    }

    /// Notes when a record was received.
    pub(super) fn mark_time(&self, seq: u64, stamp: Stamp) {
        let mut view = self.view();
        view.times.insert(seq, stamp);
        if view.times.len() > TIME_MARKS {
            view.times.pop_first();
        }
    }
}

/// So many bytes in whole blocks.
pub(super) fn occupied(len: u64, block: u64) -> u64 {
    len.div_ceil(block.max(1)).saturating_mul(block.max(1))
}

impl View {
    /// Bytes on disk in all.
    pub(super) fn held(&self) -> u64 {
        self.occupied + self.slack
    }

    /// The index of the segment that holds `seq`, or else of the next one; of the last if there is none.
    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        let last = self.segments.len().checked_sub(1)?;
        let index = self.segments.partition_point(|segment| segment.first <= seq).saturating_sub(1);
        // Behind its end there is a hole: a segment that was delivered and removed.
        let behind = self.segments[index].first <= seq && self.end(index) <= seq;
        Some(if behind { (index + 1).min(last) } else { index })
    }

    /// The first sequence number that no longer belongs to a segment.
    pub(super) fn end(&self, index: usize) -> u64 {
        let next = self.segments.get(index + 1).map_or(self.next, |segment| segment.first);
        self.segments.get(index).map_or(next, |segment| segment.end.min(next))
    }

    /// Segments of which every number lies in `[from, below)`, without the newest.
    pub(super) fn inside(&self, from: u64, below: u64) -> Range<usize> {
        let start = self.segments.partition_point(|segment| segment.first < from);
        let last = self.segments.len().saturating_sub(1);
        let count = (start..last).take_while(|&index| self.end(index) <= below).count();
        start..start + count
    }

    /// What of `[from, below)` segments are there for.
    pub(super) fn there(&self, from: u64, below: u64) -> Vec<(u64, u64)> {
        let mut parts: Vec<(u64, u64)> = Vec::new();
        for index in self.find(from).unwrap_or(0)..self.segments.len() {
            let (start, end) = (self.segments[index].first.max(from), self.end(index).min(below));
            match parts.last_mut() {
                _ if start >= end => {}
                Some(last) if last.1 == start => last.1 = end,
                _ => parts.push((start, end)),
            }
            if self.segments[index].first >= below {
                break;
            }
        }
        parts
    }

    /// Takes a segment out, unless it is the newest.
    fn take(&mut self, first: u64, generation: u64) -> Option<SegmentView> {
        let index = self.segments.iter().position(|one| (one.first, one.generation) == (first, generation))?;
        if index + 1 >= self.segments.len() {
            return None;
        }
        // The one before it does not reach up to the next one, though that follows now.
        if let Some(before) = index.checked_sub(1).and_then(|before| self.segments.get_mut(before)) {
            // With a generation between them there may have been a hole between them already.
            before.end_known |= before.generation + 1 == generation;
            before.end = before.end.min(first);
        }
        let end = self.end(index);
        let gone = self.segments.remove(index)?;
        self.bytes = self.bytes.saturating_sub(gone.len);
        self.times.retain(|seq, _| !(first..end).contains(seq));
        Some(gone)
    }

    /// When the record at `seq` was received, or one shortly before it.
    pub(super) fn time_at(&self, seq: u64) -> Option<Stamp> {
        let segment = &self.segments[self.find(seq)?];
        let marked = self.times.range(segment.first..=seq.max(segment.first)).next_back().map(|(_, time)| *time);
        marked.or(segment.first_time)
    }
}

/// The segment that is appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) salt: u32,
    pub(super) len: u64,
    /// How long the file is: zeros behind `len`.
    pub(super) allocated: u64,
    /// Up to here it has blocks that come from the reserve: while the disk is full they are not let go.
    pub(super) kept: u64,
}

impl Active {
    /// Takes off the file what is not used; what stays is cut at the next start, or goes with the file.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.allocated = self.len;
        Ok(())
    }

    /// Makes sure that so many bytes fit in without lengthening the file; `false` if that can never be.
    fn extend(&mut self, bytes: u64) -> bool {
        let end = self.len + bytes;
        if end <= self.allocated {
            return true;
        }
        match self.file.extend(self.len.max(self.allocated), end + STEP) {
            Ok(true) => {
                self.allocated = end + STEP;
                true
            }
            Ok(false) => false,
            Err(_) => {
                // Part of it may have been done. What is wrong the write says, if it matters to it.
                let _ = self.file.set_len(self.allocated);
                true
            }
        }
    }
}

/// A segment that begins with the present commit.
#[derive(Debug)]
struct Fresh {
    generation: u64,
    salt: u32,
    /// Once it is made.
    file: Option<Arc<dyn DiskFile>>,
    /// The length of the reserve of which it is made, if it is.
    kept: u64,
    first_time: Option<Stamp>,
}

/// One lane's append side; the writer thread's own.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) shared: Arc<LogShared>,
    pub(super) next: u64,
    /// The generation of the newest segment that was committed.
    pub(super) generation: u64,
    pub(super) active: Option<Active>,
    pub(super) segment_size: u64,
    fresh: Option<Fresh>,
    /// No new segment may begin with the present commit.
    stretched: bool,
    /// The next commit begins a new segment: the disk has no room for more in the present one.
    ended: bool,
    staged: Vec<u8>,
    staged_entries: u64,
    /// The file system can lengthen files ahead.
    extends: bool,
}

impl Log {
    /// A log that goes on behind what there is, in a segment of its own: the names of files that a process before this
    /// one began and took back are not known, but they begin where it stood, and so does this.
    pub(super) fn new(shared: Arc<LogShared>, next: u64, generation: u64, segment_size: u64) -> Self {
        let (active, fresh, staged) = (None, None, Vec::new());
        let (stretched, ended, staged_entries, extends) = (false, false, 0, true);
        Self {
            shared,
            next,
            generation,
            active,
            segment_size,
            fresh,
            stretched,
            ended,
            staged,
            staged_entries,
            extends,
        }
    }

    /// Prepares for entries: chooses the segment, a new one if there is none or the present one is full. `true` if a
    /// new one begins.
    pub(super) fn begin(&mut self, identity: &Identity) -> bool {
        if self.fresh.is_some() || !self.staged.is_empty() {
            return false;
        }
        match &self.active {
            Some(active) if active.len < self.segment_size.max(active.kept) || self.stretched => false,
            _ => {
                self.begin_segment(identity);
                true
            }
        }
    }

    /// Begins a new segment whether or not the present one is full.
    pub(super) fn begin_segment(&mut self, identity: &Identity) {
        let generation = self.generation + 1;
        let (head, salt) = segment::encode(identity, self.next, generation);
        self.staged.extend_from_slice(&head);
        self.fresh = Some(Fresh { generation, salt, file: None, kept: 0, first_time: None });
    }

    /// The generation of the segment in which the present commit goes on.
    pub(super) fn staged_generation(&self) -> u64 {
        self.fresh.as_ref().map_or(self.generation, |fresh| fresh.generation)
    }

    /// Begins an empty segment at `now`, which is then known to be when the one before it ended at the latest.
    pub(super) fn begin_empty(&mut self, identity: &Identity, now: Stamp) {
        self.begin_segment(identity);
        if let Some(fresh) = &mut self.fresh {
            fresh.first_time = Some(now);
        }
    }

    /// Whether the next record begins a new segment.
    pub(super) fn is_full(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.len >= self.segment_size)
    }

    /// Lets the next commit go on in the present segment, full or not, if there is one; or takes that back.
    pub(super) fn stretch(&mut self, stretch: bool) {
        self.stretched = stretch && self.active.is_some();
    }

    /// Makes room for so many bytes of frames, if there is none yet.
    pub(super) fn reserve(&mut self, bytes: u64) {
        if self.staged.is_empty() && bytes > 0 {
            ahead::reserve(&mut self.staged, bytes as usize);
        }
    }

    /// Stages one entry; says its sequence number. [`Log::begin`] comes first.
    pub(super) fn stage(&mut self, body: &[u8]) -> u64 {
        let seq = self.next + self.staged_entries;
        let salt = match (&mut self.fresh, &self.active) {
            (Some(fresh), _) => {
                if self.staged_entries == 0 {
                    fresh.first_time = crate::store::submission::stamp(body);
                }
                fresh.salt
            }
            (None, Some(active)) => active.salt,
            (None, None) => 0,
        };
        debug_assert!(self.fresh.is_some() || self.active.is_some(), "begin() comes before stage()");
        frame::append(&mut self.staged, salt, seq, self.staged_entries == 0, body);
        self.staged_entries += 1;
        seq
    }

    /// Where the next commit's frames go if the present one, which is staged, is published: in the same segment or, if
    /// that is full by then, in a new one.
    pub(super) fn ahead(&self, identity: &Identity) -> Ahead {
        let next = self.next + self.staged_entries;
        let present = match (&self.fresh, &self.active) {
            (Some(fresh), _) => Some((fresh.salt, self.staged_bytes())),
            (None, Some(active)) => Some((active.salt, active.len + self.staged_bytes())),
            (None, None) => None,
        };
        match present {
            Some((salt, len)) if len < self.segment_size => Ahead::new(next, salt, None),
            _ => {
                let (head, salt) = segment::encode(identity, next, self.staged_generation() + 1);
                Ahead::new(next, salt, Some(&head))
            }
        }
    }

    /// Whether frames that were made ahead are what would be staged now: [`Log::begin`] comes first, and nothing else.
    pub(super) fn takes(&self, ahead: &Ahead) -> bool {
        let salt = self.fresh.as_ref().map(|fresh| fresh.salt).or(self.active.as_ref().map(|active| active.salt));
        let same = salt == Some(ahead.salt) && self.next == ahead.next;
        // What is staged is a new segment's head, or nothing.
        same && self.staged_entries == 0 && ahead.buffer.get(..ahead.head) == Some(self.staged.as_slice())
    }

    /// Stages frames that were made ahead, of which [`Log::takes`] has been asked; the other buffer is free then.
    pub(super) fn stage_ahead(&mut self, ahead: &mut Ahead) {
        std::mem::swap(&mut self.staged, &mut ahead.buffer);
        self.staged_entries = ahead.entries;
        if let Some(fresh) = &mut self.fresh {
            let body = self.staged.get(ahead.head + frame::FRAME_HEAD..);
            fresh.first_time = body.and_then(crate::store::submission::stamp);
        }
    }

    /// Whether anything is staged.
    pub(super) fn is_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Whether entries are staged, not only the head of a new segment.
    pub(super) fn has_entries(&self) -> bool {
        self.staged_entries > 0
    }

    /// Bytes staged.
    pub(super) fn staged_bytes(&self) -> u64 {
        self.staged.len() as u64
    }

    /// Of these, the bytes of entries' bodies.
    pub(super) fn staged_bodies(&self) -> u64 {
        let head = if self.fresh.is_some() { HEAD_LEN as u64 } else { 0 };
        self.staged_bytes().saturating_sub(head + self.staged_entries * frame::FRAME_HEAD as u64)
    }

    /// Whether the present commit makes a file, so that the folder must be synced.
    pub(super) fn makes_file(&self) -> bool {
        self.fresh.is_some()
    }

    /// Bytes that [`Log::write`] may add to the file beyond what is staged.
    pub(super) fn lengthening(&self) -> u64 {
        if self.extends && self.staged_bytes() <= SMALL { STEP } else { 0 }
    }

    /// Writes what is staged behind what is committed. `spare` are bytes that may be taken ahead.
    pub(super) fn write(&mut self, disk: &dyn Disk, spare: u64) -> io::Result<()> {
        if let Some(fresh) = &mut self.fresh {
            let file = match &fresh.file {
                // A second try, after room was made.
                Some(file) => file.clone(),
                None => create(disk, &self.shared.path(self.next, fresh.generation))?,
            };
            fresh.file = Some(file.clone());
            return write_all_at(&*file, &self.staged, 0);
        }
        let ahead = self.lengthening();
        let Some(active) = &mut self.active else { return Ok(()) };
        if ahead > 0 && spare >= AMPLE {
            self.extends = active.extend(self.staged.len() as u64);
        }
        write_all_at(&*active.file, &self.staged, active.len)
    }

    /// Makes the segment that begins with the present commit out of the reserve, if one begins; what is staged is then
    /// written, and in place of a file that could not be.
    pub(super) fn write_into(&mut self, reserve: &mut Reserve) -> bool {
        let Some(fresh) = &mut self.fresh else { return false };
        let Some((file, kept)) = reserve.become_file(&self.shared.path(self.next, fresh.generation), &self.staged)
        else {
            // It may have no name any more.
            fresh.file = None;
            return false;
        };
        (fresh.file, fresh.kept) = (Some(file), kept);
        true
    }

    /// The present segment can take no more: once what is staged is taken back, a new one is begun. `false` if the
    /// present commit begins one.
    pub(super) fn give_up_segment(&mut self) -> bool {
        self.ended = self.fresh.is_none();
        self.ended
    }

    /// There is a reserve again: what the newest segment had of the one before and does not use is let go.
    pub(super) fn let_go(&mut self) {
        let Some(active) = self.active.as_mut().filter(|active| active.kept > 0) else { return };
        active.kept = 0;
        if self.staged.is_empty() && active.cut().is_ok() {
            self.shared.view().slack = 0;
        }
    }

    /// The file that was written to.
    pub(super) fn file(&self) -> Option<Arc<dyn DiskFile>> {
        match &self.fresh {
            Some(fresh) => fresh.file.clone(),
            None => self.active.as_ref().map(|active| active.file.clone()),
        }
    }

    /// What is staged is on flash: readers may see it.
    pub(super) fn publish(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let added = self.staged.len() as u64;
        let mut view = self.shared.view();
        if let Some(Fresh { generation, salt, file: Some(file), kept, first_time }) = self.fresh.take() {
            // What cannot be cut is counted by the next start, and goes with the file.
            let _ = self.active.as_mut().filter(|active| active.allocated > active.len).map(Active::cut);
            self.active = Some(Active { file, salt, len: added, allocated: added.max(kept), kept });
            self.generation = generation;
            let segment =
                SegmentView { first: self.next, generation, len: added, end: u64::MAX, end_known: false, first_time };
            view.occupied += self.shared.occupied(&segment);
            view.segments.push_back(segment);
        } else {
            if let Some(active) = &mut self.active {
                active.len += added;
                active.allocated = active.allocated.max(active.len);
            }
            if let Some(last) = view.segments.back_mut() {
                let before = self.shared.occupied(last);
                last.len += added;
                if last.first == self.next {
                    last.first_time = self.staged.get(frame::FRAME_HEAD..).and_then(crate::store::submission::stamp);
                }
                let more = self.shared.occupied(last) - before;
                view.occupied += more;
            }
        }
        view.bytes += added;
        view.slack = self.active.as_ref().map_or(0, |active| active.allocated - active.len);
        view.appended += added;
        self.next += self.staged_entries;
        view.next = self.next;
        drop(view);
        self.clear();
    }

    /// Takes back what was staged, and perhaps written. When `sync_failed`, nothing in that file
    /// beyond what was committed can be trusted any more, nor can another sync of it.
    pub(super) fn roll_back(&mut self, disk: &dyn Disk, sync_failed: bool) {
        if self.staged.is_empty() {
            return;
        }
        if let Some(fresh) = self.fresh.take() {
            if fresh.file.is_some() {
                // Best effort: it may stay, and a removed name may come back at a power cut. So the next try gets the same
                // name; and the segment before, which this one would outrank, is not appended to any more.
                let removed = disk.remove(&self.shared.path(self.next, fresh.generation));
                if let (Err(_), Some(file)) = (removed, &fresh.file) {
                    // A process after this one shall not take for stored what a failed sync left in the cache alone.
                    let _ = file.set_len(0);
                }
                self.active = None;
            }
        } else if let Some(active) = &mut self.active {
            let end = active.len + self.staged.len() as u64;
            let zeros = |active: &Active| write_zeros(&*active.file, active.len, end.min(active.allocated));
            let keeps = active.kept >= end && !sync_failed && !self.ended && zeros(active).is_ok();
            if !keeps {
                if active.cut().is_err() || sync_failed || self.ended {
                    let _ = active.cut();
                    self.active = None;
                }
                self.shared.view().slack = 0;
            }
        }
        self.clear();
    }

    /// The store is being closed: the file ends where what is committed ends.
    pub(super) fn finish(&mut self) {
        if let Some(active) = self.active.as_mut().filter(|active| active.allocated > active.len && active.kept == 0) {
            if active.cut().is_ok() {
                self.shared.view().slack = 0;
            }
        }
    }

    fn clear(&mut self) {
        (self.stretched, self.ended) = (false, false);
        self.staged_entries = 0;
        self.staged.clear();
        if self.staged.capacity() > KEEP_BUFFER {
            self.staged = Vec::new();
        }
    }

    /// Takes a segment out of what readers see, unless it is the newest.
    pub(super) fn forget(&mut self, first: u64, generation: u64) -> bool {
        let mut view = self.shared.view();
        let gone = view.take(first, generation);
        view.occupied = view.occupied.saturating_sub(gone.as_ref().map_or(0, |gone| self.shared.occupied(gone)));
        gone.is_some()
    }

    /// Removes a segment, but never the newest; says how many bytes of the disk that frees.
    pub(super) fn remove(&mut self, disk: &dyn Disk, first: u64, generation: u64) -> u64 {
        let mut view = self.shared.view();
        let Some(gone) = view.take(first, generation) else { return 0 };
        let freed = self.shared.occupied(&gone);
        view.occupied = view.occupied.saturating_sub(freed);
        drop(view);
        let path = self.shared.path(first, generation);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // It is no longer counted as ours to read; the next start removes it.
                tracing::warn!(file = %path.display(), %error, "cannot remove a segment that is no longer needed");
            }
            _ => {}
        }
        freed
    }

    /// Removes the oldest `count` segments, but never the newest; says how many bytes of the disk that frees.
    pub(super) fn remove_front(&mut self, disk: &dyn Disk, count: usize) -> u64 {
        let oldest = |log: &Self| log.shared.view().segments.front().map(|one| (one.first, one.generation));
        let mut freed = 0;
        for _ in 0..count {
            let Some((first, generation)) = oldest(self) else { break };
            freed += self.remove(disk, first, generation);
        }
        freed
    }
}

/// Makes a segment's file. A file of that name can only be what an earlier try left, which nobody was answered for: a
/// sync of it may have failed, so it is not written to again.
fn create(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    match disk.open(path, Mode::Create) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.open(path, Mode::Create)
        }
        made => made,
    }
}
