//! One group commit: number, frame, write, sync, publish, answer.

use super::control::{self, Entry};
use super::log::Log;
use super::reserve::is_full;
use super::segment::framed;
use super::writer::Writer;
use crate::store::{Change, Origin, SessionRecord, Submission, submission};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Instant;
use tidegate_protocol::LaneId;

/// Record bytes in one commit at most, beyond the first submission: what a gateway's flash takes in a few tens of
/// milliseconds, and all the memory the writer needs for it.
const COMMIT_BYTES: usize = 1024 * 1024;

/// Changes in one commit at most, beyond the first submission; the rest follows in the next.
const COMMIT_CHANGES: usize = 4096;

/// Changes in one control frame at most: with client identifiers of 64 KiB, half of what a frame may hold.
const FRAME_ENTRIES: usize = 64;

/// Segments of the control lane that are kept: the newest, and the one before it, whose snapshot and entries lead to
/// the same state should the newest snapshot be damaged.
const CONTROL_SEGMENTS: usize = 2;

/// What a commit takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Whole submissions, in order.
    Everything,
    /// Only the changes of state: the records wait for room.
    Control,
}

/// One step of a commit, in order.
#[derive(Debug)]
pub(super) enum Op {
    /// A record with an origin was staged.
    Origin(Origin, u8, u64),
    /// A change that is written to the control lane.
    Entry(Entry),
}

/// Why a commit failed.
#[derive(Debug)]
pub(super) struct Failure {
    action: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot {} {}: {}", self.action, self.path.display(), self.error)?;
        let advice = match self.error.kind() {
            _ if is_full(&self.error) => "free space on that file system, or lower max_size",
            io::ErrorKind::ReadOnlyFilesystem => {
                "the file system is read-only: look for disk errors in the kernel's log, then remount it"
            }
            io::ErrorKind::PermissionDenied => "give tidegate's user the right to write there",
            io::ErrorKind::Other => return Ok(()),
            _ => "look for disk errors in the kernel's log",
        };
        write!(formatter, " ({advice})")
    }
}

impl Failure {
    pub(super) fn new(action: &'static str, path: PathBuf, error: io::Error) -> Self {
        Self { action, path, error }
    }

    pub(super) fn is_full(&self) -> bool {
        is_full(&self.error)
    }
}

impl Writer {
    /// Commits what is pending, or part of it. After an error everything is as it was before.
    pub(super) fn commit(&mut self, scope: Scope) -> Result<(), Failure> {
        let count = self.select(scope);
        if scope == Scope::Everything {
            self.make_room(count)?;
        }
        let pending = std::mem::take(&mut self.pending);
        self.stage(&pending, count, scope);
        self.pending = pending;
        self.flush()?;
        self.publish();
        self.set_aside();
        self.answer(count, scope);
        self.clean_up();
        self.shared.progress.send_modify(|commits| *commits += 1);
        Ok(())
    }

    /// How many submissions go into this commit.
    fn select(&self, scope: Scope) -> usize {
        let limit = match scope {
            Scope::Everything => (self.shared.segment_size as usize / 4).min(COMMIT_BYTES),
            Scope::Control => usize::MAX,
        };
        let (mut bytes, mut changes) = (0, 0);
        let wanted = self.pending.iter().take_while(|one| {
            bytes += framed(one.records(), one.bytes()) as usize;
            changes += one.changes().len();
            bytes <= limit && changes <= COMMIT_CHANGES
        });
        wanted.count().max(1).min(self.pending.len())
    }

    fn stage(&mut self, pending: &VecDeque<Submission>, count: usize, scope: Scope) {
        self.ops.clear();
        self.overlay.clear();
        self.sessions.clear();
        self.stage_clock();
        self.stage_damage();
        for one in pending.iter().take(count) {
            let mut changes = one.changes().iter().peekable();
            if scope == Scope::Everything {
                for (index, (lane, body)) in one.bodies().enumerate() {
                    while let Some((_, change)) = changes.next_if(|(before, _)| *before as usize <= index) {
                        self.stage_change(change);
                    }
                    self.stage_record(lane, body);
                }
            }
            for (_, change) in changes {
                if scope == Scope::Everything || !one.releases_own(change) {
                    self.stage_change(change);
                }
            }
        }
        self.stage_control();
    }

    fn stage_record(&mut self, lane: LaneId, body: &[u8]) {
        let index = lane.index();
        self.begin_lane(index);
        let seq = self.lanes[index].stage(body);
        if let Some(origin) = submission::origin(body) {
            // A client that uses a packet id again has had the old publish completed, whatever became of its PUBREL.
            self.stage_release(origin);
            self.ops.push(Op::Origin(origin, lane.0, seq));
            self.overlay.insert(origin, Some((lane.0, seq)));
        }
    }

    /// Prepares a lane for a record, with a new segment if it needs one.
    fn begin_lane(&mut self, index: usize) {
        if !self.lanes[index].begin(&self.shared.identities[index]) {
            return;
        }
        self.stage_rolled(index);
    }

    /// Notes a lane's new segment, and what is unreleased below it.
    pub(super) fn stage_rolled(&mut self, index: usize) {
        let (lane, log) = (index as u8, &self.lanes[index]);
        let ledger = self.shared.ledger();
        let accounted = ledger.lanes.get(index).map_or(0, |known| known.accounted);
        let still = |origin: &Origin, place: (u8, u64)| match self.overlay.get(origin) {
            Some(now) => *now == Some(place),
            None => true,
        };
        let unreleased = ledger
            .unreleased
            .iter()
            .filter(|(origin, place)| place.0 == lane && place.1 >= accounted && still(origin, **place))
            .map(|(origin, place)| (*origin, place.1))
            .collect();
        drop(ledger);
        let entry = Entry::Rolled { lane, first: log.next, generation: log.generation, unreleased };
        self.ops.push(Op::Entry(entry));
    }

    /// Notes when this boot was, once the clock is right. `true` if there was something to note.
    pub(super) fn stage_clock(&mut self) -> bool {
        let news = self.shared.ledger().clocks.news(&self.shared.options.clock.now());
        if let Some((boot, offset_ms)) = news {
            self.ops.push(Op::Entry(Entry::Clock { boot, offset_ms }));
        }
        news.is_some()
    }

    fn stage_damage(&mut self) {
        let ledger = self.shared.ledger();
        for one in &self.damage {
            let Some(known) = ledger.lanes.get(usize::from(one.lane)) else { continue };
            // What no longer waits is missed by nobody.
            for (from, below) in known.waiting.within(one.from, one.below) {
                let lane = one.lane;
                let again = self.ops.iter().any(
                    |op| matches!(op, Op::Entry(Entry::Damaged { lane: other, from: start, .. }) if (*other, *start) == (lane, from)),
                );
                if !again && !known.knows(from, below) {
                    self.ops.push(Op::Entry(Entry::Damaged { lane, from, below }));
                }
            }
        }
    }

    fn stage_change(&mut self, change: &Change) {
        let known = |lane: LaneId| self.lanes.get(lane.index()).map(|log| log.next);
        let change = match change {
            Change::Release(origin) => return self.stage_release(*origin),
            Change::PutAside { lane, seq, reason } => return self.stage_aside(*lane, *seq, reason),
            Change::Unquarantine { number, retried } => return self.stage_settled(*number, *retried),
            Change::Session(record) => return self.stage_session(record),
            Change::Acknowledge { lane, from, below } => {
                let Some(next) = known(*lane) else { return };
                Change::Acknowledge { lane: *lane, from: *from, below: (*below).min(next) }
            }
            Change::Sent { lane, from, below } => {
                let Some(next) = known(*lane) else { return };
                Change::Sent { lane: *lane, from: *from, below: (*below).min(next) }
            }
            Change::Replay { lane, from, below } => {
                let Some(log) = self.lanes.get(lane.index()) else { return };
                // What was deleted cannot be delivered again, and shall not be missed as damage.
                let kept = log.shared.view().segments.front().map_or(log.next, |segment| segment.first);
                Change::Replay { lane: *lane, from: (*from).max(kept), below: (*below).min(log.next) }
            }
            other => other.clone(),
        };
        self.ops.push(Op::Entry(Entry::Change(change)));
    }

    fn stage_release(&mut self, origin: Origin) {
        let place = match self.overlay.get(&origin) {
            Some(place) => *place,
            None => self.shared.ledger().unreleased.get(&origin).copied(),
        };
        if let Some((lane, seq)) = place {
            self.overlay.insert(origin, None);
            self.ops.push(Op::Entry(Entry::Released { origin, lane, seq }));
        }
    }

    fn stage_session(&mut self, record: &SessionRecord) {
        let limit = self.shared.options.max_sessions;
        let (ended, fits) = self.sessions.admit(&self.shared.ledger(), record, limit);
        for id in ended {
            self.ops.push(Op::Entry(Entry::Change(Change::SessionEnd { id })));
        }
        if fits {
            self.ops.push(Op::Entry(Entry::Change(Change::Session(record.clone()))));
        } else if let Some(count) = self.refused_sessions.add(1, Instant::now()) {
            tracing::warn!(count, "no room for more lasting sessions: all that are kept are connected");
        }
    }

    fn stage_aside(&mut self, lane: LaneId, seq: u64, reason: &str) {
        let Some(log) = self.lanes.get(lane.index()) else { return };
        let shared = log.shared.clone();
        match super::aside::encode(&self.shared, &shared, seq, reason, &mut self.body) {
            Ok(true) => {
                let need = framed(1, self.body.len());
                self.aside.begin(&self.shared.aside_identity);
                self.drop_aside(need);
                self.aside.stage(&self.body);
            }
            Ok(false) => tracing::warn!(lane = %shared.name, seq, "a record to be put aside is no longer there"),
            Err(error) => tracing::warn!(lane = %shared.name, seq, %error, "cannot read a record to be put aside"),
        }
        let change = Change::PutAside { lane, seq, reason: reason.chars().take(512).collect() };
        self.ops.push(Op::Entry(Entry::Change(change)));
    }

    /// Notes in the aside lane that a record there is settled.
    fn stage_settled(&mut self, number: u64, retried: bool) {
        super::aside::encode_settled(number, retried, &mut self.body);
        let need = framed(1, self.body.len());
        self.aside.begin(&self.shared.aside_identity);
        self.drop_aside(need);
        self.aside.stage(&self.body);
        self.ops.push(Op::Entry(Entry::Change(Change::Unquarantine { number, retried })));
    }

    /// Encodes the changes as one control frame, behind a snapshot if the control lane needs a new segment.
    pub(super) fn stage_control(&mut self) {
        let entries: Vec<&Entry> = self
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Entry(entry) => Some(entry),
                Op::Origin(..) => None,
            })
            .collect();
        if entries.is_empty() {
            return;
        }
        if self.control.begin(&self.shared.control_identity) {
            let mut ledger = self.shared.ledger();
            for (known, log) in ledger.lanes.iter_mut().zip(&self.lanes) {
                // What is committed is all in the ledger.
                known.accounted = log.next;
            }
            control::encode_snapshot(&ledger, &mut self.body);
            drop(ledger);
            self.control.segment_size = super::control_segment_size(self.shared.options.max_size, self.body.len());
            self.control.stage(&self.body);
        }
        for some in entries.chunks(FRAME_ENTRIES) {
            control::encode_entries(some, &mut self.body);
            self.control.stage(&self.body);
        }
        if self.body.capacity() > COMMIT_BYTES {
            self.body = Vec::new();
        }
    }

    /// Writes and syncs what is staged, or takes all of it back.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.shared.begin_io(Some(Instant::now()));
        let result = self.write_all().and_then(|()| self.sync_all());
        self.shared.begin_io(None);
        if let Err((failure, unsynced)) = result {
            let disk = self.shared.disk.clone();
            let logs = self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]);
            for (tag, log) in logs.enumerate() {
                log.roll_back(&*disk, unsynced.contains(&tag));
            }
            self.aside_drop = 0;
            if failure.is_full() && unsynced.iter().any(|tag| *tag >= self.lanes.len()) {
                // Some file systems find out only now. The next try has the reserve's room.
                self.reserve.release();
            }
            return Err(failure);
        }
        Ok(())
    }

    fn write_all(&mut self) -> Result<(), (Failure, Vec<usize>)> {
        let failed = |action, path: &std::path::Path, error| (Failure::new(action, path.into(), error), vec![]);
        let disk = self.shared.disk.clone();
        if self.lanes.iter().any(Log::has_entries) {
            // Records never use the space that is kept for the control lane.
            let path = &self.shared.options.path;
            self.reserve.restore().map_err(|error| failed("keep a reserve in", path, error))?;
        }
        let record_lanes = self.lanes.len();
        let logs = self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]);
        for (tag, log) in logs.enumerate().filter(|(_, log)| log.is_staged()) {
            let mut result = log.write(&*disk);
            let may_use_reserve = tag >= record_lanes || !log.has_entries();
            if may_use_reserve && result.as_ref().is_err_and(is_full) && self.reserve.release() {
                result = log.write(&*disk);
            }
            result.map_err(|error| failed("write to", &log.shared.dir, error))?;
        }
        Ok(())
    }

    /// Syncs the files, then the folders that have new ones. What is put aside goes first: the control lane must not
    /// say so before it is true.
    fn sync_all(&mut self) -> Result<(), (Failure, Vec<usize>)> {
        let mut files = Vec::with_capacity(4);
        let logs = self.lanes.iter().chain([&self.aside, &self.control]);
        for (tag, log) in logs.enumerate() {
            if let (true, Some(file)) = (log.is_staged(), log.file()) {
                files.push((tag, file));
            }
        }
        let tag_aside = self.lanes.len();
        let (first, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|(tag, _)| *tag == tag_aside);
        let mut failed = self.syncer.sync(&first);
        if failed.is_empty() {
            failed = self.syncer.sync(&rest);
        }
        let logs = || self.lanes.iter().chain([&self.aside, &self.control]).enumerate();
        if failed.is_empty() {
            for (tag, log) in logs().filter(|(_, log)| log.makes_file()) {
                if let Err(error) = self.shared.disk.sync_dir(&log.shared.dir) {
                    failed.push((tag, error));
                }
            }
        }
        let tags = failed.iter().map(|(tag, _)| *tag).collect();
        match failed.into_iter().next() {
            None => Ok(()),
            Some((tag, error)) => {
                let dir = logs().nth(tag).map(|(_, log)| log.shared.dir.clone()).unwrap_or_default();
                Err((Failure::new("sync", dir, error), tags))
            }
        }
    }

    /// All of it is on flash: the ledger has it, and readers may see it.
    pub(super) fn publish(&mut self) {
        let mut ledger = self.shared.ledger();
        let mut changed = false;
        for op in self.ops.drain(..) {
            match op {
                Op::Origin(origin, lane, seq) => ledger.store(origin, lane, seq),
                Op::Entry(entry) => {
                    changed = true;
                    ledger.apply(&entry);
                }
            }
        }
        drop(ledger);
        let mut bytes = 0;
        for log in self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]) {
            bytes += log.staged_bytes();
            log.publish();
        }
        if changed {
            self.shared.index.changed();
        }
        if bytes > 0 {
            self.count(bytes);
        }
    }

    fn answer(&mut self, count: usize, scope: Scope) {
        if scope == Scope::Everything {
            self.company = count;
            self.pending.drain(..count).for_each(Submission::answer);
            return;
        }
        let rest = self.pending.split_off(count);
        for mut one in std::mem::replace(&mut self.pending, rest).into_iter().rev() {
            one.forget_changes();
            if one.is_empty() {
                one.answer();
            } else {
                self.pending.push_front(one);
            }
        }
    }

    /// Removes segments that nothing needs any more.
    pub(super) fn clean_up(&mut self) {
        let disk = self.shared.disk.clone();
        let cursors: Vec<u64> = self.shared.ledger().lanes.iter().map(super::control::LaneLedger::cursor).collect();
        for (log, cursor) in self.lanes.iter_mut().zip(cursors) {
            let count = log.below(cursor);
            if count > 0 {
                log.remove_front(&*disk, count);
            }
        }
        let control = self.control.shared.view().segments.len();
        if control > CONTROL_SEGMENTS {
            self.control.remove_front(&*disk, control - CONTROL_SEGMENTS);
        }
        if self.aside_drop > 0 {
            let count = std::mem::take(&mut self.aside_drop);
            self.aside.remove_front(&*disk, count);
        }
    }
}
