//! One group commit: number, frame, write, sync, publish, answer.

use super::control::{self, Entry};
use super::gaps;
use super::log::Log;
use super::reserve::is_full;
use super::room::Room;
use super::segment::framed;
use super::sync::Target;
use super::writer::Writer;
use super::{delivered, refuse};
use crate::language::{Message, system};
use crate::message;
use crate::store::{Change, Origin, Policy, SessionRecord, Submission, submission};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tidegate_protocol::LaneId;
use tidegate_protocol::gap::Cause;

/// Record bytes in one commit at most, beyond the first submission: what a gateway's flash takes in a few tens of
/// milliseconds, and all the memory the writer needs for it.
pub(super) const COMMIT_BYTES: usize = 1024 * 1024;

/// Changes in one commit at most, beyond the first submission; the rest follows in the next.
const COMMIT_CHANGES: usize = 4096;

/// Changes in one control frame at most: with client identifiers of 64 KiB, half of what a frame may hold.
const FRAME_ENTRIES: usize = 64;

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

/// In English, for the log.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(formatter)
    }
}

impl Failure {
    pub(super) fn new(action: &'static str, path: PathBuf, error: io::Error) -> Self {
        Self { action, path, error }
    }

    /// It with its cause and what to do, in words.
    pub(super) fn message(&self) -> Message {
        let path = self.path.display();
        let what = message!("cannot {action} {path}", action = super::super::acted(self.action), path = path);
        let what = message!("{what}: {why}", what = what, why = system::said(&self.error));
        let advice = match self.error.kind() {
            _ if is_full(&self.error) => message!("free space on that file system, or lower max_size"),
            io::ErrorKind::ReadOnlyFilesystem => {
                message!("the file system is read-only: look for disk errors in the kernel's log, then remount it")
            }
            io::ErrorKind::PermissionDenied => message!("give tidegate's user the right to write there"),
            io::ErrorKind::Other => return what,
            _ => message!("look for disk errors in the kernel's log"),
        };
        message!("{what} ({advice})", what = what, advice = advice)
    }

    pub(super) fn is_full(&self) -> bool {
        is_full(&self.error)
    }
}

/// What becomes of a submission in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it goes in.
    Whole,
    /// Its changes go in, its records wait for room.
    Parked,
}

/// What is left of a range without others, which are in order.
fn without((from, below): (u64, u64), others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut left, mut at) = (Vec::new(), from);
    for &(start, end) in others {
        if start < below && at < end {
            left.push((at, start));
            at = end;
        }
    }
    left.push((at, below.max(at)));
    left.retain(|(from, below)| from < below);
    left
}

impl Writer {
    /// Commits what is pending, or part of it. After an error everything is as it was before.
    pub(super) fn commit(&mut self, scope: Scope, now: Instant) -> Result<(), Failure> {
        match scope {
            Scope::Everything => self.plan(now).inspect_err(|_| self.forget_ahead())?,
            Scope::Control => self.take_changes(),
        }
        let pending = std::mem::take(&mut self.pending);
        self.stage(&pending, scope);
        self.pending = pending;
        if scope == Scope::Everything {
            self.look_ahead();
        }
        self.flush()?;
        self.publish();
        self.set_aside();
        self.answer(scope);
        self.clean_up(now);
        self.unpark(now);
        self.shared.progress.send_modify(|commits| *commits += 1);
        Ok(())
    }

    /// Decides which submissions go into this commit, as far as there is room, and makes that room.
    fn plan(&mut self, now: Instant) -> Result<(), Failure> {
        self.spare = 0;
        self.fates.clear();
        self.blocking.clear();
        let pending = std::mem::take(&mut self.pending);
        let planned = self.plan_from(&pending, now);
        self.pending = pending;
        let Some((room, needs)) = planned? else { return Ok(()) };
        self.make_room(&room, &needs, now)?;
        self.spare = self.room_left(&room, &needs);
        for (log, need) in self.lanes.iter_mut().zip(&needs) {
            log.reserve(*need);
        }
        Ok(())
    }

    /// The room that was found, and what is taken of it by lane; `None` if there are no records.
    fn plan_from(&mut self, pending: &VecDeque<Submission>, now: Instant) -> Result<Option<(Room, Vec<u64>)>, Failure> {
        let limit = self.commit_bytes;
        let (mut bytes, mut changes, mut room) = (0, 0, None::<Room>);
        let mut taken = vec![0; self.lanes.len()];
        for one in pending {
            bytes += framed(one.records(), one.bytes()) as usize;
            changes += one.changes().len();
            if (bytes > limit || changes > COMMIT_CHANGES) && !self.fates.is_empty() {
                break;
            }
            if one.records() == 0 {
                self.fates.push(Fate::Whole);
                continue;
            }
            let needs = refuse::needs(one, self.lanes.len());
            let mut fate = Fate::Parked;
            if self.is_blocked(&needs) {
                self.follow(&needs);
            } else {
                let with: Vec<u64> = taken.iter().zip(&needs).map(|(taken, need)| taken + need).collect();
                let found = match room.take() {
                    Some(room) => room,
                    None => self.survey(now)?,
                };
                let (found, fits) = self.find_room(found, &with, now)?;
                let found = room.insert(found);
                if fits {
                    (fate, taken) = (Fate::Whole, with);
                } else if self.shared.options.policy == Policy::Refuse || self.fits(found, &with, false) {
                    self.begin_blocking(found, &needs);
                } else if self.fates.is_empty() {
                    return Err(self.no_room(found, needs.iter().sum()));
                } else {
                    break;
                }
            }
            if fate == Fate::Parked {
                bytes -= framed(one.records(), one.bytes()) as usize;
            }
            self.fates.push(fate);
        }
        Ok(room.map(|room| (room, taken)))
    }

    /// Whether so much fits, perhaps once newest segments that are delivered are closed.
    fn find_room(&mut self, mut room: Room, needs: &[u64], now: Instant) -> Result<(Room, bool), Failure> {
        let mut fits = self.fits(&mut room, needs, true);
        if !fits && self.roll_spent()? {
            room = self.survey(now)?;
            fits = self.fits(&mut room, needs, true);
        }
        Ok((room, fits))
    }

    /// Only changes of state go into this commit.
    fn take_changes(&mut self) {
        let mut changes = 0;
        let wanted = self.pending.iter().take_while(|one| {
            changes += one.changes().len();
            changes <= COMMIT_CHANGES
        });
        let count = wanted.count().max(1).min(self.pending.len());
        self.fates.clear();
        self.fates.resize(count, Fate::Parked);
    }

    fn stage(&mut self, pending: &VecDeque<Submission>, scope: Scope) {
        self.ops.clear();
        self.overlay.clear();
        self.sessions.clear();
        self.stage_clock();
        self.stage_damage();
        let ahead = if scope == Scope::Everything { self.stage_ahead(pending) } else { 0 };
        for (at, one) in pending.iter().enumerate().take(self.fates.len()).skip(ahead) {
            let whole = scope == Scope::Everything && self.fates[at] == Fate::Whole;
            let mut changes = one.changes().iter().peekable();
            if whole {
                for (index, (lane, body)) in one.bodies().enumerate() {
                    while let Some((_, change)) = changes.next_if(|(before, _)| *before as usize <= index) {
                        self.stage_change(change);
                    }
                    self.stage_record(lane, body);
                }
            }
            for (_, change) in changes {
                if whole || !one.releases_own(change) {
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
    pub(super) fn begin_lane(&mut self, index: usize) {
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
        let entry = Entry::Rolled { lane, first: log.next, generation: log.staged_generation(), unreleased };
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
        let epochs: Vec<_> = self.damage.iter().map(|one| self.epoch_of(one)).collect();
        let ledger = self.shared.ledger();
        for (one, epoch) in self.damage.iter().zip(epochs) {
            let Some(known) = ledger.lanes.get(usize::from(one.lane)) else { continue };
            // What no longer waits is missed by nobody.
            for (from, below) in known.waiting.within(one.from, one.below) {
                let lane = one.lane;
                let again = self.ops.iter().any(
                    |op| matches!(op, Op::Entry(Entry::Damaged { lane: other, from: start, .. }) if (*other, *start) == (lane, from)),
                );
                if !again && !known.knows(from, below) {
                    let epoch = epoch.clone().or_else(|| Some(ledger.epoch.clone()));
                    self.ops.push(Op::Entry(Entry::Damaged { lane, from, below, epoch }));
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
            Change::Refused(refusal) => {
                let gaps = vec![gaps::tell::refused(refusal, self.shared.options.clock.now())];
                return self.ops.push(Op::Entry(Entry::Gone { change: change.clone(), gaps }));
            }
            Change::Acknowledge { lane, from, below } => {
                let Some(next) = known(*lane) else { return };
                Change::Acknowledge { lane: *lane, from: *from, below: (*below).min(next) }
            }
            Change::Sent { lane, from, below } => {
                let Some(next) = known(*lane) else { return };
                Change::Sent { lane: *lane, from: *from, below: (*below).min(next) }
            }
            Change::Replay { lane, from, below } => return self.stage_replay(*lane, *from, *below),
            Change::Kept(kept) if !self.shared.ledger().has_room_for(kept) => {
                tracing::error!(name = kept.name, bytes = kept.value.len(), "there is no room to keep this");
                return;
            }
            other => other.clone(),
        };
        self.ops.push(Op::Entry(Entry::Change(change)));
    }

    /// What was deleted cannot be delivered again, and shall not be missed as damage.
    fn stage_replay(&mut self, lane: LaneId, from: u64, below: u64) {
        let Some(log) = self.lanes.get(lane.index()) else { return };
        let unknown = delivered::learn_holes(&*self.shared.disk, &log.shared, from, below);
        let there = log.shared.view().there(from, below.min(log.next));
        let there = there.into_iter().flat_map(|part| without(part, &unknown));
        let parts = there.map(|(from, below)| Change::Replay { lane, from, below });
        self.ops.extend(parts.map(|change| Op::Entry(Entry::Change(change))));
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
        let gaps = self.census(Cause::PutAside, lane.index(), seq, seq.saturating_add(1)).0;
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
        self.ops.push(Op::Entry(Entry::Gone { change, gaps }));
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
            // What is committed is all in the ledger. But the ledger itself says so only once the snapshot is on flash:
            // what is unreleased below is listed nowhere else.
            let before = ledger.account(self.lanes.iter().map(|log| log.next));
            control::encode_snapshot(&ledger, &mut self.body);
            ledger.account(before.into_iter());
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
        let sample = self.shared.wear.begin();
        let result = self.write_all().and_then(|()| self.sync_all());
        self.sample = result.as_ref().ok().and(sample).and_then(|begun| self.shared.wear.end(begun));
        self.shared.begin_io(None);
        if let Err((failure, unsynced)) = result {
            let disk = self.shared.disk.clone();
            let logs = self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]);
            for (tag, log) in logs.enumerate() {
                log.roll_back(&*disk, unsynced.contains(&tag));
            }
            self.aside_drop = 0;
            self.forget_ahead();
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
        let mut spare = std::mem::take(&mut self.spare);
        let logs = self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]);
        for (tag, log) in logs.enumerate().filter(|(_, log)| log.is_staged()) {
            let mut result = log.write(&*disk, spare);
            spare = spare.saturating_sub(log.lengthening());
            let may_use_reserve = tag >= record_lanes || !log.has_entries();
            if may_use_reserve && result.as_ref().is_err_and(is_full) && self.reserve.release() {
                result = log.write(&*disk, 0);
            }
            result.map_err(|error| failed("write to", &log.shared.dir, error))?;
        }
        Ok(())
    }

    /// Syncs the files and the folders that have new ones. Which of them is first does not matter: until all are, the
    /// commit is not, and recovery takes whatever is left of it. But what is put aside goes first: the control lane
    /// must not say so before it is true.
    fn sync_all(&mut self) -> Result<(), (Failure, Vec<usize>)> {
        let disk = &self.shared.disk;
        let (mut files, mut folders) = (Vec::with_capacity(4), Vec::new());
        let logs = || self.lanes.iter().chain([&self.aside, &self.control]).enumerate();
        for (tag, log) in logs().filter(|(_, log)| log.is_staged()) {
            let Some(file) = log.file() else { continue };
            files.push((tag, Target::File(file)));
            if log.makes_file() {
                folders.push((tag, Target::Folder(disk.clone(), log.shared.dir.clone())));
            }
        }
        // A record lane's file comes first: it takes longest. The small ones and the folders follow.
        files.append(&mut folders);
        let tag_aside = self.lanes.len();
        let (first, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|(tag, _)| *tag == tag_aside);
        let mut failed = self.syncer.sync(first);
        if failed.is_empty() {
            let busy = self.has_meanwhile();
            self.syncer.begin(rest, busy);
            self.meanwhile();
            failed = self.syncer.finish();
        }
        let tags = failed.iter().map(|(tag, _)| *tag).collect();
        match failed.into_iter().next() {
            None => Ok(()),
            Some((tag, error)) => {
                let mut logs = self.lanes.iter().chain([&self.aside, &self.control]);
                let dir = logs.nth(tag).map(|log| log.shared.dir.clone()).unwrap_or_default();
                Err((Failure::new("sync", dir, error), tags))
            }
        }
    }

    /// All of it is on flash: the ledger has it, and readers may see it.
    pub(super) fn publish(&mut self) {
        let mut ledger = self.shared.ledger();
        if self.control.makes_file() {
            ledger.account(self.lanes.iter().map(|log| log.next));
        }
        let (mut changed, mut others) = (false, false);
        for op in self.ops.drain(..) {
            match op {
                Op::Origin(origin, lane, seq) => ledger.store(origin, lane, seq),
                Op::Entry(entry) => {
                    changed = true;
                    others |= entry.changes_waiting();
                    ledger.apply(&entry);
                }
            }
        }
        drop(ledger);
        if others {
            self.shared.waiting_changed.fetch_add(1, Ordering::Release);
        }
        let (mut bytes, mut bodies) = (0, 0);
        let records = self.lanes.len();
        for (index, log) in self.lanes.iter_mut().chain([&mut self.aside, &mut self.control]).enumerate() {
            bytes += log.staged_bytes();
            bodies += if index < records { log.staged_bodies() } else { 0 };
            log.publish();
        }
        if changed {
            self.shared.index.changed();
        }
        if bytes > 0 {
            self.count(bytes);
            self.shared.wear.committed(bodies, bytes, self.sample.take());
        }
    }

    fn answer(&mut self, scope: Scope) {
        let rest = self.pending.split_off(self.fates.len().min(self.pending.len()));
        let done = std::mem::replace(&mut self.pending, rest);
        if scope == Scope::Control {
            for mut one in done.into_iter().rev() {
                one.forget_changes();
                if one.is_empty() {
                    one.answer();
                } else {
                    self.pending.push_front(one);
                }
            }
            return;
        }
        let answered = done.iter().zip(&self.fates).filter(|(_, fate)| **fate == Fate::Whole);
        self.company.answered(answered.map(|(one, _)| one.source()), Instant::now());
        let mut whole = Vec::with_capacity(done.len());
        for (mut one, fate) in done.into_iter().zip(&self.fates) {
            if *fate == Fate::Whole {
                whole.push(one);
            } else {
                one.forget_changes();
                self.parked.push(one);
            }
        }
        self.answer_or_owe(whole);
        let blocking = std::mem::take(&mut self.blocking);
        self.parked.block(blocking);
        self.tell_refusing();
    }
}
