//! A log: one lane's segments, as the writer appends to them and as readers see them.
//!
//! An append has three steps, so that several logs can be synced together: entries are *staged* in memory, *written*,
//! and, once synced, *published*: only then do readers see them. If anything fails in between, the log is rolled back
//! to what was last published, and the same entries can be staged again under the same numbers.

use super::frame;
use super::segment::{self, HEAD_LEN, Head, Identity};
use crate::clock::Stamp;
use crate::store::disk::{Disk, DiskFile, Mode, write_all_at};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// Times remembered per lane to tell how long the oldest record has waited: where recent reads began. A forwarder
/// keeps a few batches under way, each of which begins where a read did.
const TIME_MARKS: usize = 64;

/// A buffer larger than this is given back after use; below, it is kept for the next commit.
const KEEP_BUFFER: usize = 1024 * 1024 + 256 * 1024;

/// A segment as readers see it.
#[derive(Debug, Clone)]
pub(super) struct SegmentView {
    pub(super) first: u64,
    pub(super) generation: u64,
    /// Committed bytes.
    pub(super) len: u64,
    /// When its first record was received, once that is known.
    pub(super) first_time: Option<Stamp>,
}

/// What is committed.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) segments: VecDeque<SegmentView>,
    /// The next sequence number.
    pub(super) next: u64,
    pub(super) bytes: u64,
    /// Bytes appended since the start.
    pub(super) appended: u64,
    /// Receive times of some records, by sequence number.
    pub(super) times: BTreeMap<u64, Stamp>,
}

/// The part of a log that the writer and the readers share.
#[derive(Debug)]
pub(super) struct LogShared {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    view: Mutex<View>,
}

impl LogShared {
    pub(super) fn new(name: String, dir: PathBuf, view: View) -> Self {
        Self { name, dir, view: Mutex::new(view) }
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

impl View {
    /// The index of the segment that holds `seq`, or of the first one if that begins later.
    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        (!self.segments.is_empty()).then(|| after.saturating_sub(1))
    }

    /// The first sequence number that no longer belongs to a segment.
    pub(super) fn end(&self, index: usize) -> u64 {
        self.segments.get(index + 1).map_or(self.next, |segment| segment.first)
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
}

/// A segment that begins with the present commit.
#[derive(Debug)]
struct Fresh {
    generation: u64,
    salt: u32,
    /// Once it is made.
    file: Option<Arc<dyn DiskFile>>,
    first_time: Option<Stamp>,
}

/// One lane's append side; the writer thread's own.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) shared: Arc<LogShared>,
    pub(super) next: u64,
    /// The highest generation used.
    pub(super) generation: u64,
    pub(super) active: Option<Active>,
    pub(super) segment_size: u64,
    fresh: Option<Fresh>,
    staged: Vec<u8>,
    staged_entries: u64,
}

impl Log {
    pub(super) fn new(
        shared: Arc<LogShared>,
        next: u64,
        generation: u64,
        active: Option<Active>,
        segment_size: u64,
    ) -> Self {
        let (fresh, staged) = (None, Vec::new());
        Self { shared, next, generation, active, segment_size, fresh, staged, staged_entries: 0 }
    }

    /// Prepares for entries: chooses the segment, a new one if there is none or the present one is full. `true` if a
    /// new one begins.
    pub(super) fn begin(&mut self, identity: &Identity) -> bool {
        if self.fresh.is_some() || !self.staged.is_empty() {
            return false;
        }
        match &self.active {
            Some(active) if active.len < self.segment_size => false,
            _ => {
                self.begin_segment(identity);
                true
            }
        }
    }

    /// Begins a new segment whether or not the present one is full.
    pub(super) fn begin_segment(&mut self, identity: &Identity) {
        self.generation += 1;
        let (head, salt) = segment::encode(identity, self.next, self.generation);
        self.staged.extend_from_slice(&head);
        self.fresh = Some(Fresh { generation: self.generation, salt, file: None, first_time: None });
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

    /// Whether the present commit makes a file, so that the folder must be synced.
    pub(super) fn makes_file(&self) -> bool {
        self.fresh.is_some()
    }

    /// Writes what is staged behind what is committed.
    pub(super) fn write(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if let Some(fresh) = &mut self.fresh {
            let file = match &fresh.file {
                // A second try, after room was made.
                Some(file) => file.clone(),
                None => disk.open(&self.shared.path(self.next, fresh.generation), Mode::Create)?,
            };
            fresh.file = Some(file.clone());
            return write_all_at(&*file, &self.staged, 0);
        }
        let Some(active) = &self.active else { return Ok(()) };
        write_all_at(&*active.file, &self.staged, active.len)
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
        if let Some(Fresh { generation, salt, file: Some(file), first_time }) = self.fresh.take() {
            self.active = Some(Active { file, salt, len: added });
            let segment = SegmentView { first: self.next, generation, len: added, first_time };
            view.segments.push_back(segment);
        } else {
            if let Some(active) = &mut self.active {
                active.len += added;
            }
            if let Some(last) = view.segments.back_mut() {
                last.len += added;
                if last.first_time.is_none() && last.first == self.next {
                    last.first_time = self.staged.get(frame::FRAME_HEAD..).and_then(crate::store::submission::stamp);
                }
            }
        }
        view.bytes += added;
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
                // Best effort: it may stay, and a removed name may come back at a power cut. The next generation outranks
                // it; the segment before would be outranked by it, so nothing more is appended there.
                let _ = disk.remove(&self.shared.path(self.next, fresh.generation));
                self.active = None;
            }
        } else if let Some(active) = &self.active {
            if sync_failed || active.file.set_len(active.len).is_err() {
                let _ = active.file.set_len(active.len);
                self.active = None;
            }
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.staged_entries = 0;
        self.staged.clear();
        if self.staged.capacity() > KEEP_BUFFER {
            self.staged = Vec::new();
        }
    }

    /// Segments at the front that lie wholly below `seq` and are not the newest.
    pub(super) fn below(&self, seq: u64) -> usize {
        let view = self.shared.view();
        let last = view.segments.len().saturating_sub(1);
        (0..last).take_while(|&index| view.end(index) <= seq).count()
    }

    /// Takes a segment out of what readers see, unless it is the newest.
    pub(super) fn forget(&mut self, first: u64, generation: u64) -> bool {
        let mut view = self.shared.view();
        let found = view.segments.iter().position(|one| (one.first, one.generation) == (first, generation));
        match found.filter(|index| index + 1 < view.segments.len()) {
            // The segment before it seems to reach up to the next one now: what is missing there is already counted.
            Some(index) => {
                let gone = view.segments.remove(index);
                view.bytes = view.bytes.saturating_sub(gone.map_or(0, |segment| segment.len));
                true
            }
            None => false,
        }
    }

    /// Removes the oldest `count` segments, but never the newest; says how many bytes that freed.
    pub(super) fn remove_front(&mut self, disk: &dyn Disk, count: usize) -> u64 {
        let mut freed = 0;
        for _ in 0..count {
            let mut view = self.shared.view();
            if view.segments.len() < 2 {
                break;
            }
            let Some(segment) = view.segments.pop_front() else { break };
            view.bytes = view.bytes.saturating_sub(segment.len);
            let keep_from = view.segments.front().map_or(0, |segment| segment.first);
            view.times = view.times.split_off(&keep_from);
            drop(view);
            freed += segment.len;
            let path = self.shared.path(segment.first, segment.generation);
            match disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It is no longer counted as ours to read; the next start removes it.
                    tracing::warn!(file = %path.display(), %error, "cannot remove a segment that is no longer needed");
                }
                _ => {}
            }
        }
        freed
    }
}

/// A segment that is open for appending, from what recovery found of it.
pub(super) fn resume(file: Arc<dyn DiskFile>, head: &Head, len: u64) -> Active {
    Active { file, salt: head.salt, len: len.max(HEAD_LEN as u64) }
}
