//! Looking into the journal without touching it.
//!
//! A [`Sight`] is what the journal held at one moment: which segments each lane has, how far they are committed, and
//! what the control lane says of them. The running store makes one from what it shares with its readers, so that
//! nothing uncommitted is seen; [`open`] makes one from the files alone, for when no service runs. Both are walked by
//! the same [`Walk`].
//!
//! # Constraints
//! - **Nothing is written**: no folder is made, no file is opened for writing, nothing is synced, cut, moved or counted.
//! - **No lock is taken**, not even a shared one: a service that starts meanwhile would find the store in use and end.
//! - **Bounded**: 40 bytes a segment, and one window a walk (a record that is larger gets what it needs).
//!
//! Segments may be removed while a sight is walked, because what they held was delivered or evicted: such a segment is
//! passed over and is no damage.

mod walk;

pub(in crate::store) use walk::{Choice, Hole, Step, Walk};

use super::Shared;
use super::clocks::Clocks;
use super::control::LaneLedger;
use super::log::{LogShared, SegmentView};
use super::recover::{Access, Report};
use super::recover_lane::LaneFound;
use super::segment;
use super::{recover_control, recover_lane, version};
use crate::store::disk::Disk;
use crate::store::{Ranges, StoreError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Times that reading the files begins anew because one of them was removed meanwhile: only a process that writes the
/// store does that, and no faster than segments fill.
const TRIES: usize = 8;

/// Bytes before a segment's first record.
pub(in crate::store) const HEAD_LEN: u64 = segment::HEAD_LEN as u64;

/// What the journal held at one moment.
#[derive(Debug)]
pub(in crate::store) struct Sight {
    disk: Arc<dyn Disk>,
    clocks: Clocks,
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) epoch: String,
    pub(in crate::store) put_aside: u64,
    /// Of these, tried again, dropped, or gone because the place for them was full.
    pub(in crate::store) aside_gone: u64,
    /// Whether a running store says it.
    pub(in crate::store) live: bool,
    pub(in crate::store) refused: u64,
    /// Bytes of everything in the folder, as far as that is known.
    pub(in crate::store) bytes: u64,
    /// The limit on `bytes`; what only files tell does not say it.
    pub(in crate::store) max_size: Option<u64>,
    /// Whether the control lane was there, whole and readable.
    pub(in crate::store) control_whole: bool,
    /// Record lanes, in order of priority.
    pub(in crate::store) lanes: Vec<Arc<LaneSight>>,
    pub(in crate::store) aside: Arc<LaneSight>,
    pub(in crate::store) control: Arc<LaneSight>,
}

/// One lane at one moment.
#[derive(Debug)]
pub(in crate::store) struct LaneSight {
    pub(in crate::store) name: String,
    dir: PathBuf,
    segments: Vec<SegmentView>,
    /// The next sequence number.
    pub(in crate::store) next: u64,
    /// What the control lane says of it.
    known: LaneLedger,
    /// What stands behind the last good frame of the newest segment; only files show that.
    pub(in crate::store) torn: Option<Torn>,
    /// Segments at its end without a readable head; only files show that.
    pub(in crate::store) unusable: Vec<PathBuf>,
    /// Records that were known of and are no longer there, at its end; the same number twice if its newest segment is
    /// gone and what that held is not known.
    pub(in crate::store) missing: Option<(u64, u64)>,
}

/// Bytes behind the last good frame.
#[derive(Debug, Clone)]
pub(in crate::store) struct Torn {
    pub(in crate::store) file: PathBuf,
    pub(in crate::store) offset: u64,
    pub(in crate::store) bytes: u64,
}

impl Sight {
    /// The store's file of its version, if it is not as it was written.
    pub(in crate::store) fn damaged_version(&self) -> Option<PathBuf> {
        version::damaged(&*self.disk, &self.path)
    }

    /// What the running store holds: committed records only.
    pub(super) fn of(shared: &Shared) -> Self {
        let ledger = shared.ledger();
        let lanes = ledger.lanes.iter().zip(&shared.logs);
        let lanes = lanes.map(|(known, log)| Arc::new(LaneSight::of(log, known.clone()))).collect();
        let (epoch, put_aside, refused) = (ledger.epoch.clone(), ledger.put_aside, ledger.refused);
        let aside_gone = ledger.aside_dropped + ledger.aside_settled;
        let clocks = ledger.clocks.clone();
        drop(ledger);
        let other = |log: &LogShared| Arc::new(LaneSight::of(log, LaneLedger::default()));
        Self {
            disk: shared.disk.clone(),
            clocks,
            path: shared.options.path.clone(),
            epoch,
            put_aside,
            aside_gone,
            live: true,
            refused,
            bytes: shared.total_bytes(),
            max_size: Some(shared.options.max_size),
            control_whole: true,
            lanes,
            aside: other(&shared.aside),
            control: other(&shared.control),
        }
    }
}

impl LaneSight {
    fn of(log: &LogShared, known: LaneLedger) -> Self {
        let view = log.view();
        Self {
            name: log.name.clone(),
            dir: log.dir.clone(),
            segments: view.segments.iter().cloned().collect(),
            next: view.next,
            known,
            torn: None,
            unusable: Vec::new(),
            missing: None,
        }
    }

    fn found(name: &str, dir: PathBuf, found: LaneFound, known: Option<LaneLedger>) -> io::Result<Self> {
        let known = known.unwrap_or_else(|| {
            // Where the cursor stood is not known: all that is there waits.
            let waiting = Ranges::from(found.view.segments.front().map_or(0, |segment| segment.first));
            LaneLedger { name: name.to_owned(), unsent: waiting.clone(), waiting, ..LaneLedger::default() }
        });
        let next = found.view.next;
        let evidence = known.evidence();
        let torn = match found.cut {
            Some((file, open, offset)) if found.torn > 0 => {
                Some(Torn { file, offset, bytes: open.len()?.saturating_sub(offset) }).filter(|torn| torn.bytes > 0)
            }
            _ => None,
        };
        let newest = found.view.segments.back().map_or(0, |segment| segment.generation);
        let gone = newest < known.generation && found.unusable.is_empty();
        Ok(Self {
            name: name.to_owned(),
            dir,
            segments: found.view.segments.into(),
            next: next.max(evidence),
            known,
            torn,
            unusable: found.unusable,
            missing: (evidence > next || gone).then_some((next, next.max(evidence))),
        })
    }

    /// Bytes of its segments.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// Records that wait to be delivered.
    pub(in crate::store) fn waiting(&self) -> u64 {
        self.known.readable(0, self.next)
    }

    /// Whether a record waits to be delivered.
    pub(in crate::store) fn waits(&self, seq: u64) -> bool {
        self.known.waiting.contains(seq)
    }

    /// Whether any of these waits to be delivered.
    fn any_waits(&self, from: u64, below: u64) -> bool {
        self.known.waiting.touches(from, below)
    }

    /// First number that is still kept.
    pub(in crate::store) fn first_kept(&self) -> u64 {
        self.segments.first().map_or(self.next, |segment| segment.first)
    }

    /// Bytes of segments of which nothing waits.
    pub(in crate::store) fn delivered_bytes(&self) -> u64 {
        let delivered = |index: &usize| !self.any_waits(self.segments[*index].first, self.end(*index));
        (0..self.segments.len()).filter(delivered).map(|index| self.segments[index].len).sum()
    }

    /// Records evicted, damaged and expired before they were delivered.
    pub(in crate::store) fn lost(&self) -> [u64; 3] {
        [self.known.evicted, self.known.damaged, self.known.expired]
    }

    /// Its folder.
    pub(in crate::store) fn folder(&self) -> PathBuf {
        self.dir.clone()
    }

    fn end(&self, index: usize) -> u64 {
        self.segments.get(index + 1).map_or(self.next, |segment| segment.first)
    }

    fn file(&self, segment: &SegmentView) -> PathBuf {
        self.dir.join(segment::file_name(segment.first, segment.generation))
    }
}

/// Reads what the files of a store hold.
///
/// # Errors
/// When there is no store, or it cannot be read.
pub(in crate::store) fn open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Sight, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match read(path, disk) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                // A store that is being written; but where there is none at all, trying again finds none.
                disk.list(path).map_err(|error| failed("list", path, error))?;
            }
            other => return other,
        }
    }
}

fn read(path: &Path, disk: &Arc<dyn Disk>) -> Result<Sight, StoreError> {
    version::check(&**disk, path)?;
    let entries = disk.list(path).map_err(|error| failed("list", path, error))?;
    let mut folders: Vec<String> = entries
        .iter()
        .filter(|entry| entry.folder)
        .filter_map(|entry| entry.name.strip_prefix("lane-").map(str::to_owned))
        .collect();
    folders.sort();
    if folders.is_empty() && !entries.iter().any(|entry| entry.folder && entry.name == "control") {
        let error = io::Error::other("it holds neither a folder `control` nor a folder `lane-…`");
        return Err(failed("find a store in", path, error));
    }
    let mut report = Report::quiet();
    let control_dir = path.join("control");
    let found = recover_control::read(disk, &control_dir, Access::Look, &mut report)?;
    let control_whole = found.ledger.is_some() && !found.damaged;
    let known = found.ledger.is_some();
    let ledger = found.ledger.unwrap_or_default();
    let mut names: Vec<String> = ledger.lanes.iter().map(|lane| lane.name.clone()).collect();
    names.extend(folders.into_iter().filter(|name| !ledger.lanes.iter().any(|lane| lane.name == *name)));
    let mut lanes = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let dir = path.join(format!("lane-{name}"));
        let of = known.then_some((&ledger, index));
        let lane = recover_lane::read(disk, &dir, of, Access::Look, &mut report)?;
        let lane = LaneSight::found(name, dir.clone(), lane, ledger.lanes.get(index).cloned());
        lanes.push(Arc::new(lane.map_err(|error| failed("read", &dir, error))?));
    }
    let dir = path.join("aside");
    let aside = recover_lane::read(disk, &dir, None, Access::Look, &mut report)?;
    let aside = LaneSight::found("aside", dir.clone(), aside, None).map_err(|error| failed("read", &dir, error))?;
    let control = LaneSight {
        name: "control".into(),
        dir: control_dir,
        segments: found.segments,
        next: found.next,
        known: LaneLedger::default(),
        torn: None,
        unusable: Vec::new(),
        missing: None,
    };
    let others: u64 =
        ["damaged", "index"].iter().map(|name| super::recover::folder_bytes(&**disk, &path.join(name))).sum();
    let files: u64 = entries.iter().map(|entry| entry.len).sum();
    let segments = lanes.iter().map(|lane| lane.bytes()).sum::<u64>() + aside.bytes() + control.bytes();
    Ok(Sight {
        disk: disk.clone(),
        clocks: ledger.clocks,
        path: path.to_owned(),
        epoch: ledger.epoch,
        put_aside: ledger.put_aside,
        aside_gone: ledger.aside_dropped + ledger.aside_settled,
        live: false,
        refused: ledger.refused,
        bytes: segments + others + files,
        max_size: None,
        control_whole,
        lanes,
        aside: Arc::new(aside),
        control: Arc::new(control),
    })
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.display().to_string(), source }
}

/// When the first record of each of a lane's newest segments was received, and how long that segment is; at most
/// `limit` of them. What cannot be read is left out.
pub(in crate::store) fn first_times(sight: &Sight, lane: &LaneSight, limit: usize) -> Vec<(u64, u64)> {
    let skipped = lane.segments.len().saturating_sub(limit);
    let segments = lane.segments.iter().skip(skipped);
    segments.filter_map(|segment| Some((first_time(sight, lane, segment)?, segment.len))).collect()
}

fn first_time(sight: &Sight, lane: &LaneSight, segment: &SegmentView) -> Option<u64> {
    let right = |stamp| sight.clocks.right(stamp).0.wall_ms;
    if let Some(stamp) = segment.first_time {
        return Some(right(stamp));
    }
    recover_lane::read_first_time(&*sight.disk, &lane.file(segment), segment).map(right)
}
