//! The limits: how many bytes the store may hold, and whose oldest segment goes when there are too many. Pure: what is
//! on the disk, what is free and what time it is are handed in.
//!
//! Two limits hold at once: `max_size`, and `keep_free` of the file system, which others fill too. What we hold and
//! what is free add up to something that only others change; less `keep_free` it is our **fair share**. Within it, and
//! within `max_size`, the store grows as it needs to, and what it writes never takes the last `keep_free` bytes.
//!
//! When others take so much that the fair share is less than what we hold, we give way, the oldest first, but only down
//! to `min_size`: a log that runs wild elsewhere cannot eat the backlog. From there on, what we hold is **net zero**:
//! a new record is written into the room of an old one that was evicted for it, so that we never take from a disk that
//! is short already. What an evicted segment freed and the record did not use stays ours for the next ones, or each
//! commit would cost a segment: that is what [`Level::hold`] remembers.
//!
//! **What is freed must be of use.** Where root's programs have filled what the file system keeps for root, blocks that we free
//! go back into that reserve first, and we could write no more than before. How large the reserve is shows as long as we have room
//! ([`Level::lost`]); nothing undelivered is evicted for a new record unless what is left of its room takes that.
//!
//! Below `min_size` there is one more right: a **working** minimum of some 100 KiB a lane, however full the disk, or a
//! store that has delivered everything could take nothing more in. It is the only part that may go into `keep_free`.
//!
//! **A limit that was lowered drops nothing.** What was there when the store was opened may stay, though it is more than
//! `max_size`: until it is delivered, or gives way to records that come in, as in a store that is full. What is delivered
//! lowers what may be held, down to `max_size`.
//!
//! **What is planned counts as taken.** The control lane, its reserve, the index and folders change size by
//! themselves; they count with the most they may come to, so that an acknowledgement on a full disk breaks no limit.
//! Files count in whole blocks.
//!
//! **Freed is not free at once.** Some file systems give deleted blocks back only after a while (btrfs with its next
//! transaction, after 30 s at most), and no file system while someone has the file open. So, when the question is whether
//! *more* must give way, what was removed lately and is missing from the sum of what is ours and what is free counts as
//! free; when it is whether we may grow, it does not. (Others may have taken it, too: then we give way a little later.)

use crate::store::disk::Space;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long removed bytes may take to show up as free: the commit interval of btrfs (30 s), and a little.
const SETTLES: Duration = Duration::from_secs(35);

/// Removals closer together than this are remembered as one, so that their memory is bounded.
const ONE: Duration = Duration::from_secs(1);

/// The limits as they are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes that the store may hold.
    pub(super) max_size: u64,
    /// Bytes down to which it gives way to others.
    pub(super) min_size: u64,
    /// Bytes of the file system that it leaves free; 0 leaves that to the file system itself.
    pub(super) keep_free: u64,
    /// Files of the file system that it leaves free.
    pub(super) keep_free_inodes: u64,
    /// Bytes that it may hold however full the disk; not above `min_size`.
    pub(super) working: u64,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    /// Bytes, with what is planned.
    pub(super) total: u64,
    /// Of these the ones that are not on the disk yet.
    pub(super) planned: u64,
}

impl Limits {
    /// Whether the file system is to be asked.
    pub(super) fn watch_space(&self) -> bool {
        self.keep_free > 0 || self.keep_free_inodes > 0
    }

    /// What may be held without going into `keep_free`.
    fn fair(&self, held: Held, space: Option<&Space>) -> u64 {
        match space {
            Some(space) if self.keep_free > 0 => {
                held.total.saturating_add(space.free_bytes).saturating_sub(held.planned.saturating_add(self.keep_free))
            }
            _ => u64::MAX,
        }
    }

    /// Whether making a file would go into `keep_free_inodes`.
    pub(super) fn short_of_inodes(&self, space: Option<&Space>) -> bool {
        let free = space.and_then(|space| space.free_inodes);
        self.keep_free_inodes > 0 && free.is_some_and(|free| free <= self.keep_free_inodes)
    }
}

/// What is to be given back, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Surplus {
    /// Above `max_size`: goes in any case.
    pub(super) over: u64,
    /// Wanted by others: goes as long as `min_size` is left.
    pub(super) wanted: u64,
}

/// How much of the disk is ours while it is short.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// What we may hold even beyond the fair share, because we held it before.
    hold: u64,
    /// What was removed lately.
    removed: VecDeque<Removed>,
    /// What we held and what was free, together, when last asked.
    sum: u64,
    /// What the file system keeps for the superuser, as it showed last while we had room; no less than showed since.
    reserved: u64,
    /// What we held when the store was opened, less what was given back since; `None` until first asked.
    inherited: Option<u64>,
}

/// Bytes removed.
#[derive(Debug)]
struct Removed {
    at: Instant,
    bytes: u64,
    /// What we held and what was free, together, before.
    sum: u64,
}

impl Level {
    /// What may be held from here on; judged anew before each commit.
    pub(super) fn ceiling(&mut self, limits: &Limits, held: Held, space: Option<&Space>) -> u64 {
        if let Some(space) = space {
            let known = if space.free_bytes > 0 { 0 } else { self.reserved };
            self.reserved = known.max(space.kept_bytes);
        }
        let fair = limits.fair(held, space);
        self.hold = if fair >= held.total { held.total } else { self.hold.max(held.total) };
        let most = limits.max_size.max(self.inherited.unwrap_or(0));
        fair.max(self.hold).max(limits.working.min(limits.min_size)).min(most)
    }

    /// What of the next bytes that are freed we could not write to: the superuser's programs have taken it of what is kept for
    /// them, and it goes back there.
    pub(super) fn lost(&self, space: Option<&Space>) -> u64 {
        let full = space.filter(|space| space.free_bytes == 0);
        full.map_or(0, |space| self.reserved.saturating_sub(space.kept_bytes))
    }

    /// What has to go before anything is written.
    pub(super) fn surplus(&mut self, limits: &Limits, held: Held, space: Option<&Space>, now: Instant) -> Surplus {
        while self.removed.front().is_some_and(|one| now.saturating_duration_since(one.at) >= SETTLES) {
            self.removed.pop_front();
        }
        let free = space.map_or(0, |space| space.free_bytes);
        self.sum = held.total.saturating_add(free).saturating_sub(held.planned);
        let removed: u64 = self.removed.iter().map(|one| one.bytes).sum();
        let missing = self.removed.front().map_or(0, |one| one.sum.saturating_sub(self.sum));
        let coming = removed.min(missing);
        let space = space.map(|space| Space { free_bytes: free.saturating_add(coming), ..*space });
        let fair = limits.fair(held, space.as_ref());
        let inherited = self.inherited.get_or_insert(held.total);
        if held.total <= limits.max_size {
            // Back within the limit, which holds from now on.
            *inherited = 0;
        }
        let lowered = *inherited > limits.max_size;
        Surplus {
            over: if lowered { 0 } else { held.total.saturating_sub(limits.max_size) },
            wanted: held.total.saturating_sub(fair.max(limits.min_size)),
        }
    }

    /// A segment was removed because it was delivered, or to give way: what it took is no longer ours.
    pub(super) fn gave_back(&mut self, bytes: u64, now: Instant) {
        self.hold = self.hold.saturating_sub(bytes);
        self.inherited = self.inherited.map(|inherited| inherited.saturating_sub(bytes));
        self.replaced(bytes, now);
    }

    /// A segment was evicted for a new record: what it took stays ours.
    pub(super) fn replaced(&mut self, bytes: u64, now: Instant) {
        match self.removed.back_mut() {
            Some(last) if now.saturating_duration_since(last.at) < ONE => last.bytes += bytes,
            _ => self.removed.push_back(Removed { at: now, bytes, sum: self.sum }),
        }
    }
}

/// One lane, as eviction sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LaneUse {
    /// Bytes of its segments, those left out that are delivered and only kept.
    pub(super) bytes: u64,
    /// Bytes that others cannot take from it.
    pub(super) reserve: u64,
    /// Bytes of its oldest segment of which records wait; `None` if it has none that could go.
    pub(super) oldest: Option<u64>,
    /// It is one of those that need the room.
    pub(super) writes: bool,
}

impl LaneUse {
    /// Whether its oldest segment may go for another lane's sake.
    fn spares(&self) -> bool {
        self.oldest.is_some_and(|oldest| self.bytes.saturating_sub(oldest) >= self.reserve)
    }

    /// Bytes that others may take from it at most.
    fn spare(&self) -> u64 {
        if self.oldest.is_some() { self.bytes.saturating_sub(self.reserve) } else { 0 }
    }
}

/// The lane whose oldest segment goes next: the lowest that keeps its reserve without it; if there is none, the lowest
/// of those that need the room.
pub(super) fn victim(lanes: &[LaneUse]) -> Option<usize> {
    let spares = lanes.iter().rposition(LaneUse::spares);
    spares.or_else(|| lanes.iter().rposition(|lane| lane.writes && lane.oldest.is_some()))
}

/// Whether eviction makes room for so many bytes where `lost` of what it frees cannot be written to: the first that goes
/// is to be enough then.
pub(super) fn is_of_use(lanes: &[LaneUse], lost: u64, need: u64) -> bool {
    let first = victim(lanes).and_then(|lane| lanes[lane].oldest).unwrap_or(0);
    lost == 0 || first >= lost.saturating_add(need)
}

/// Bytes that eviction can free at most.
pub(super) fn evictable(lanes: &[LaneUse]) -> u64 {
    lanes.iter().map(|lane| if lane.writes { lane.bytes } else { lane.spare() }).sum()
}

/// Bytes that are kept for lanes which do not use them, once the lanes hold so much more.
pub(super) fn kept_for_others(lanes: &[LaneUse], more: &[u64]) -> u64 {
    let more = more.iter().copied().chain(std::iter::repeat(0));
    lanes.iter().zip(more).map(|(lane, more)| lane.reserve.saturating_sub(lane.bytes.saturating_add(more))).sum()
}

#[cfg(test)]
mod tests;
