//! Room: what is evicted before records are written, and in which order. The rules are in [`limits`](super::limits).
//!
//! First go segments none of whose records wait: delivered, and only kept (`keep_delivered`), the oldest of all lanes
//! first, wherever they stand in their lane. Then a lane's newest segment that is delivered as a whole and at least half
//! full, once an empty one is made behind it. Then the oldest segment of the lowest lane that holds more than its
//! reserve; the lanes that are written to may lose their own oldest even within it. A lane's only segment is closed
//! before it goes, for the newest is never removed. What goes undelivered is first counted in the control lane, and
//! that is on flash before the file is removed.
//!
//! With [`Policy::Refuse`] nothing undelivered goes: not for new records, which wait (see [`refuse`](super::refuse)),
//! and not for others, who fill the disk.

use super::commit::{Failure, Op};
use super::control::Entry;
use super::limits::{Held, LaneUse, Limits, evictable, kept_for_others, victim};
use super::log::{self, View};
use super::recover;
use super::segment::HEAD_LEN;
use super::writer::Writer;
use super::{CONTROL_SEGMENTS, INDEX_SHARE, Ranges};
use crate::code::Code;
use crate::language::Message;
use crate::message;
use crate::store::Policy;
use crate::store::disk::Space;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tidegate_protocol::gap::Cause;

/// What one commit may add to the control lane beyond a full segment, counted generously.
const OVERHEAD: u64 = 64 * 1024;

/// What a lane may hold however full the disk: two of the smallest segments, so that one can go when the next is begun.
const WORKING: u64 = 2 * 64 * 1024;

/// What records leave for gap records, or a full store could not tell of what it let go: some seventy of them.
const GAP_ROOM: u64 = 32 * 1024;

/// What is left before a commit.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) held: Held,
    /// Bytes that may be held.
    pub(super) ceiling: u64,
    pub(super) space: Option<Space>,
    /// The lanes' use and the bytes that are only kept, once they were asked for.
    detail: Option<(Vec<LaneUse>, u64)>,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sake {
    /// New records need its room.
    Records,
    /// Others need the disk.
    Others,
}

/// Bytes that records of these sizes take, each lane with a new segment's head and a block begun.
fn with_heads(needs: &[u64], block: u64) -> u64 {
    needs.iter().filter(|bytes| **bytes > 0).map(|bytes| bytes + HEAD_LEN as u64 + block).sum()
}

/// The index of a lane's oldest segment of which records wait, or of its newest if none wait.
fn oldest_waiting(view: &View, waiting: &Ranges) -> Option<usize> {
    let index = view.find(waiting.first())?;
    let last = view.segments.len() - 1;
    if index == last && view.segments[last].first >= view.next { None } else { Some(index) }
}

/// The holes of a set: what no longer waits, up to where all does.
pub(super) fn holes(waiting: &Ranges) -> impl Iterator<Item = (u64, u64)> + '_ {
    let begins = std::iter::once(0).chain(waiting.iter().map(|range| range.1));
    begins.zip(waiting.iter().map(|range| range.0)).filter(|(from, below)| from < below)
}

impl Writer {
    pub(super) fn limits(&self) -> Limits {
        let options = &self.shared.options;
        Limits {
            max_size: options.max_size,
            min_size: options.min_size,
            keep_free: options.keep_free,
            keep_free_inodes: options.keep_free_inodes,
            working: self.fixed().0 + WORKING * self.lanes.len() as u64 + GAP_ROOM,
        }
    }

    /// What the store needs besides records, at its most, and how much of that is not on the disk yet.
    fn fixed(&self) -> (u64, u64) {
        let block = self.shared.block;
        let control = self.control.shared.view().held();
        let segments = (CONTROL_SEGMENTS as u64 + 1) * log::occupied(self.control.segment_size, block);
        let control_most = control.max(segments + OVERHEAD);
        let (index, share) = (self.shared.index.bytes(), if self.shared.disk.is_os() { INDEX_SHARE } else { 0 });
        let index_most = index.max(share);
        let folders = (self.lanes.len() as u64 + 6) * block;
        let others = self.shared.other_bytes.load(Ordering::Relaxed);
        let reserve = if self.reserve.is_present() { 0 } else { super::reserve_size(self.shared.options.max_size) };
        let planned = control_most - control + index_most - index + reserve;
        (control_most + index_most + folders + others, planned)
    }

    pub(super) fn held(&self) -> Held {
        let (fixed, planned) = self.fixed();
        let logs = self.lanes.iter().chain([&self.aside]);
        let segments: u64 = logs.map(|log| log.shared.view().held()).sum();
        Held { total: segments + fixed, planned }
    }

    fn space(&self) -> Option<Space> {
        if !self.limits().watch_space() {
            return None;
        }
        let asked = self.shared.disk.space(&self.shared.options.path);
        // A disk that does not even say this will fail the write, and that is told.
        asked.map_err(|error| tracing::debug!(%error, "cannot ask for the free space")).ok()
    }

    /// Looks at the disk: gives way where others need it, and says what may be held from here on.
    pub(super) fn survey(&mut self, now: Instant) -> Result<Room, Failure> {
        let (limits, mut space) = (self.limits(), self.space());
        let surplus = self.level.surplus(&limits, self.held(), space.as_ref(), now);
        if surplus.over + surplus.wanted > 0 {
            self.give_way(surplus.over, surplus.wanted, now)?;
            space = self.space();
        }
        let held = self.held();
        let ceiling = self.level.ceiling(&limits, held, space.as_ref());
        self.shared.allowed.store(ceiling, Ordering::Relaxed);
        Ok(Room { held, ceiling, space, detail: None })
    }

    /// Lets go of what is over `max_size`, and of what others want, down to `min_size`.
    fn give_way(&mut self, over: u64, wanted: u64, now: Instant) -> Result<(), Failure> {
        let (mut over, mut wanted) = (over, wanted);
        while over.max(wanted) > 0 {
            let freed = self.drop_kept(Sake::Others, now);
            (over, wanted) = (over.saturating_sub(freed), wanted.saturating_sub(freed));
            if freed == 0 {
                break;
            }
        }
        let min_size = self.shared.options.min_size;
        while over.max(wanted) > 0 && self.shared.options.policy == Policy::DropOldest {
            let lanes = self.uses(&vec![1; self.lanes.len()]).0;
            let Some(index) = victim(&lanes) else { break };
            let len = lanes[index].oldest.unwrap_or(0);
            let keeps_least = self.held().total.saturating_sub(len) >= min_size;
            if over == 0 && (!keeps_least || self.stands_alone(index)) {
                break;
            }
            let freed = self.evict(index, Sake::Others, now)?;
            (over, wanted) = (over.saturating_sub(freed), wanted.saturating_sub(freed));
            if freed == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whether a lane's oldest segment that waits is its newest too.
    fn stands_alone(&self, index: usize) -> bool {
        let ledger = self.shared.ledger();
        let Some(lane) = ledger.lanes.get(index) else { return true };
        let view = self.lanes[index].shared.view();
        oldest_waiting(&view, &lane.waiting).is_none_or(|at| at + 1 >= view.segments.len())
    }

    /// The lanes as eviction sees them, and the bytes that are only kept. `needs` says who writes.
    fn uses(&self, needs: &[u64]) -> (Vec<LaneUse>, u64) {
        let ledger = self.shared.ledger();
        let (mut uses, mut kept) = (Vec::with_capacity(self.lanes.len()), 0);
        for (index, (log, lane)) in self.lanes.iter().zip(&ledger.lanes).enumerate() {
            let view = log.shared.view();
            let occupied = |at: usize| log.shared.occupied(&view.segments[at]);
            let idle: u64 = holes(&lane.waiting).flat_map(|hole| view.inside(hole.0, hole.1)).map(occupied).sum();
            kept += idle;
            uses.push(LaneUse {
                bytes: view.occupied - idle,
                reserve: self.shared.options.lanes.get(index).map_or(0, |lane| lane.reserve),
                oldest: oldest_waiting(&view, &lane.waiting).map(occupied),
                writes: needs.get(index).is_some_and(|bytes| *bytes > 0),
            });
        }
        (uses, kept)
    }

    /// Whether records of these sizes, by lane, can be written, evicting what may be evicted for them.
    pub(super) fn fits(&self, room: &mut Room, needs: &[u64], reserves: bool) -> bool {
        let need = with_heads(needs, self.shared.block) + GAP_ROOM;
        let refuse = self.shared.options.policy == Policy::Refuse;
        let most: u64 = if refuse { self.shared.options.lanes.iter().map(|lane| lane.reserve).sum() } else { 0 };
        if room.held.total + need + most <= room.ceiling {
            return true;
        }
        let (lanes, kept) = room.detail.get_or_insert_with(|| self.uses(&[]));
        let left = room.held.total.saturating_sub(*kept) + need;
        if refuse {
            return left + kept_for_others(lanes, needs) <= room.ceiling;
        }
        for (lane, need) in lanes.iter_mut().zip(needs) {
            lane.writes = *need > 0 || !reserves;
        }
        left.saturating_sub(evictable(lanes)) <= room.ceiling
    }

    /// Makes room for records of these sizes, by lane.
    pub(super) fn make_room(&mut self, room: &Room, needs: &[u64], now: Instant) -> Result<(), Failure> {
        let need = with_heads(needs, self.shared.block) + GAP_ROOM;
        while self.held().total + need > room.ceiling {
            if self.drop_kept(Sake::Records, now) > 0 || self.roll_spent()? {
                continue;
            }
            let lanes = self.uses(needs).0;
            let lane = victim(&lanes).filter(|_| self.shared.options.policy == Policy::DropOldest);
            let Some(lane) = lane else { return Err(self.no_room(room, need)) };
            if self.evict(lane, Sake::Records, now)? == 0 {
                return Err(self.no_room(room, need));
            }
        }
        self.spare_inodes(room, needs, now)
    }

    /// Bytes that are left once these records are written.
    pub(super) fn room_left(&self, room: &Room, needs: &[u64]) -> u64 {
        room.ceiling.saturating_sub(self.held().total + with_heads(needs, self.shared.block))
    }

    /// While inodes are short, a new segment takes the place of an old one; if there is none that could go, the present
    /// one grows on.
    fn spare_inodes(&mut self, room: &Room, needs: &[u64], now: Instant) -> Result<(), Failure> {
        let short = self.limits().short_of_inodes(room.space.as_ref());
        for index in 0..self.lanes.len() {
            let begins = needs.get(index).is_some_and(|bytes| *bytes > 0) && self.lanes[index].is_full();
            let mut stretch = short && begins;
            if stretch {
                stretch = self.drop_kept(Sake::Records, now) == 0;
            }
            let evicts = self.shared.options.policy == Policy::DropOldest;
            let found = if stretch && evicts { victim(&self.uses(needs).0) } else { None };
            if let Some(lane) = found.filter(|lane| !self.stands_alone(*lane)) {
                stretch = self.evict(lane, Sake::Records, now)? == 0;
            }
            self.lanes[index].stretch(stretch);
        }
        Ok(())
    }

    /// Why there is no room.
    pub(super) fn no_room(&self, room: &Room, need: u64) -> Failure {
        Failure::new("make room in", self.shared.options.path.clone(), io::Error::other(self.shortage(room, need)))
    }

    /// In words: which limit leaves no room, and what to do.
    pub(super) fn shortage(&self, room: &Room, need: u64) -> Message {
        let options = &self.shared.options;
        let used = room.held.total;
        match room.space {
            Some(space) if room.ceiling < options.max_size => message!(
                "others fill the file system: {free} bytes are free, keep_free = {keep} are to stay free, {need} are needed, \
                 and nothing is left to give way: free space there, or lower keep_free",
                free = space.free_bytes,
                keep = options.keep_free,
                need = need
            ),
            _ => message!(
                "{used} bytes are in use, {need} more are needed, and the limit of {limit} leaves nothing to evict: raise \
                 max_size",
                used = used,
                need = need,
                limit = options.max_size
            ),
        }
    }

    /// Removes the oldest segment that is only kept; says how many bytes that freed.
    fn drop_kept(&mut self, sake: Sake, now: Instant) -> u64 {
        let ledger = self.shared.ledger();
        let time = self.shared.options.clock.now();
        let mut oldest: Option<(u64, usize, u64, u64)> = None;
        for (index, (log, lane)) in self.lanes.iter().zip(&ledger.lanes).enumerate() {
            let view = log.shared.view();
            let Some(at) = holes(&lane.waiting).find_map(|hole| view.inside(hole.0, hole.1).next()) else { continue };
            let segment = &view.segments[at];
            let right = segment.first_time.and_then(|stamp| ledger.clocks.right(stamp).0.age_ms(&time));
            // What nobody knows the age of is taken for old.
            let age = right.unwrap_or(u64::MAX);
            if oldest.is_none_or(|known| known.0 < age) {
                oldest = Some((age, index, segment.first, segment.generation));
            }
        }
        drop(ledger);
        let Some((_, index, first, generation)) = oldest else { return 0 };
        self.remove(index, first, generation, sake, now)
    }

    fn remove(&mut self, index: usize, first: u64, generation: u64, sake: Sake, now: Instant) -> u64 {
        let disk = self.shared.disk.clone();
        let freed = self.lanes[index].remove(&*disk, first, generation);
        match sake {
            Sake::Records => self.level.replaced(freed, now),
            Sake::Others => self.level.gave_back(freed, now),
        }
        freed
    }

    /// Removes a lane's oldest segment of which records wait; says how many bytes that freed.
    fn evict(&mut self, index: usize, sake: Sake, now: Instant) -> Result<u64, Failure> {
        if self.stands_alone(index) {
            self.roll(index)?;
        }
        let (first, generation, below) = {
            let ledger = self.shared.ledger();
            let Some(lane) = ledger.lanes.get(index) else { return Ok(0) };
            let view = self.lanes[index].shared.view();
            // Rolled just now, a lane that is delivered to its end has its oldest before the newest.
            let last = view.segments.len().saturating_sub(1);
            let at = oldest_waiting(&view, &lane.waiting).unwrap_or(last).min(last.saturating_sub(1));
            let Some(segment) = view.segments.get(at).filter(|_| at < last) else { return Ok(0) };
            (segment.first, segment.generation, view.end(at))
        };
        let (gaps, records) = self.census(Cause::Evicted, index, first, below);
        self.ops.clear();
        self.overlay.clear();
        self.ops.push(Op::Entry(Entry::Evicted { lane: index as u8, from: first, below, records, gaps }));
        self.commit_ops()?;
        let freed = self.remove(index, first, generation, sake, now);
        if let Some(records) = self.evictions.add(records, now) {
            let lane = &self.lanes[index].shared.name;
            match sake {
                Sake::Records => {
                    tracing::warn!(code = %Code::StoreFull, %lane, records, freed, "no room for new records: the oldest are evicted");
                }
                Sake::Others => {
                    tracing::warn!(code = %Code::StoreFull, %lane, records, freed, "others fill the disk: the oldest give way");
                }
            }
        }
        Ok(freed)
    }

    /// Makes an empty segment behind each newest one that is delivered as a whole and at least half full, so that it
    /// can go. (Smaller ones would cost more files than they give room.)
    pub(super) fn roll_spent(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        for index in 0..self.lanes.len() {
            let spent = {
                let ledger = self.shared.ledger();
                let view = self.lanes[index].shared.view();
                let newest = view.segments.back().filter(|newest| newest.len >= self.lanes[index].segment_size / 2);
                let waiting = ledger.lanes.get(index).map(|lane| &lane.waiting);
                newest.is_some_and(|newest| {
                    newest.first < view.next && waiting.is_some_and(|waiting| !waiting.touches(newest.first, view.next))
                })
            };
            if spent {
                self.roll(index)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// On a full disk: lets go of newest segments of which everything is delivered, by making empty ones behind them
    /// (with the space of the reserve). On a disk of a few segments' size there may be nothing else to let go.
    pub(super) fn roll_delivered(&mut self, now: Instant) -> Result<(), Failure> {
        let cursors: Vec<u64> = self.shared.ledger().lanes.iter().map(super::control::LaneLedger::cursor).collect();
        for (index, cursor) in cursors.into_iter().enumerate() {
            let holds = {
                let view = self.lanes[index].shared.view();
                view.segments.back().is_some_and(|newest| newest.first < view.next)
            };
            if holds && cursor >= self.lanes[index].next {
                self.roll(index)?;
            }
        }
        // On a full disk what is only kept is not.
        while self.drop_kept(Sake::Others, now) > 0 {}
        self.clean_up(now);
        Ok(())
    }

    /// Closes a lane's newest segment by making an empty one behind it.
    fn roll(&mut self, index: usize) -> Result<(), Failure> {
        self.ops.clear();
        self.overlay.clear();
        let now = self.shared.options.clock.now();
        self.lanes[index].begin_empty(&self.shared.identities[index], now);
        self.stage_rolled(index);
        self.commit_ops()
    }

    /// Commits what stands in `ops` alone.
    pub(super) fn commit_ops(&mut self) -> Result<(), Failure> {
        self.stage_control();
        self.flush()?;
        self.publish();
        Ok(())
    }

    /// Moves segments that readers found without a head out of the way, once what they held is counted.
    pub(super) fn set_aside(&mut self) {
        let (disk, root) = (self.shared.disk.clone(), self.shared.options.path.clone());
        for damage in std::mem::take(&mut self.damage) {
            let Some((first, generation)) = damage.lost else { continue };
            let Some(log) = self.lanes.get_mut(usize::from(damage.lane)) else { continue };
            if !log.forget(first, generation) {
                continue;
            }
            let path = log.shared.path(first, generation);
            if let Err(error) = recover::set_aside(&*disk, &root, &path) {
                tracing::warn!(file = %path.display(), %error, "cannot move a damaged segment out of the way");
            }
            self.shared.measure_others();
        }
    }

    /// Plans which of the oldest put-aside segments go, so that `need` more bytes keep within their share.
    pub(super) fn drop_aside(&mut self, need: u64) {
        let view = self.aside.shared.view();
        let mut bytes = view.bytes + self.aside.staged_bytes() + need;
        let mut records = 0;
        let mut count = 0;
        for (index, segment) in view.segments.iter().enumerate().take(view.segments.len().saturating_sub(1)) {
            if bytes <= self.shared.aside_limit {
                break;
            }
            bytes = bytes.saturating_sub(segment.len);
            count += 1;
            if count > self.aside_drop {
                records += view.end(index) - segment.first;
            }
        }
        drop(view);
        if count > self.aside_drop {
            self.aside_drop = count;
            self.ops.push(Op::Entry(Entry::AsideDropped { records }));
        }
    }
}
