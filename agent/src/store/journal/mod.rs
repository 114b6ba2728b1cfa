//! The journal: append-only segments that hold the records, and a control lane that holds every change of state.
//!
//! # Constraints
//!
//! - **An answer means flash.** A submission is answered after `fdatasync` of every file it touched, and after the sync
//!   of every folder in which such a file is new. Readers see nothing earlier.
//! - **No id names two records.** Ids are `(gateway, epoch, lane, seq)`. Whenever the highest `seq` used cannot be
//!   proved, a new epoch is drawn. A record that has to be written again keeps its `seq`.
//! - **Each byte is written once.** No rewriting, no compaction: space is freed by deleting files.
//! - **It starts.** Start-up lists the folders and reads the newest segment of each lane; the backlog costs nothing.
//! - **Bounded.** One commit holds at most 1 MiB of records (or one submission), and as much may be framed ahead for the
//!   next; one reader's chunk about 256 KiB; what stands in memory per segment is 64 bytes.
//! - **One writer.** One thread owns all that is written; one process holds the folder (`lock`). Another helps it to
//!   sync (`sync`).
//!
//! # On disk
//!
//! ```text
//! <path>/
//!   version                  which version of Tidegate may go on with it (see `version`)
//!   lock                     held with flock while a process has the store open
//!   reserve                  real blocks, removed when the disk is full so that the control lane can go on
//!   lane-<name>/             one folder per record lane
//!     <first>-<generation>.seg
//!   control/                 the control lane, likewise
//!   aside/                   records that were put aside, likewise
//!   damaged/                 segments that cannot be used, the newest 8
//!   outages/                 the outage ledger, not this room's (see `outage`); counted with the rest
//!   configuration/           the configuration that last worked, likewise (see `config::kept`)
//!   index/                   sled: what the control lane adds up to (see `store::state`); never needed
//!
//! Segment {
//!     head:   Head              // twice, each in 512 bytes: one flipped byte never costs a segment
//!     head:   Head
//!     frames: [Frame]
//! }
//!
//! Head {                        // all numbers little-endian
//!     magic:       [u8; 8]      // "TIDEGATE"
//!     salt:        u32          // CRC32C of the rest of the 512 bytes
//!     version:     u16          // 2
//!     reserved:    u16
//!     gateway_len: u8, epoch_len: u8, lane_len: u8, reserved: [u8; 5]
//!     first:       u64          // sequence number of the first frame; stands in the name too
//!     generation:  u64          // counts the lane's segments; stands in the name too
//!     gateway, epoch, lane: UTF-8
//! }
//!
//! Frame {
//!     sum:  u32                 // CRC32C of all that follows, starting from the head's salt
//!     len:  u32                 // of the body, at most 8 MiB; top bit: the first frame of its commit in this file
//!     seq:  u64                 // counts up by one
//!     body: [u8; len]           // record lanes: see `store::submission`; control: see `control`; aside: CBOR
//! }
//! ```
//!
//! The **generation** rises with every segment of a lane. Where two segments hold the same `seq`, the later generation
//! wins: a segment ends where a later one begins, whatever else stands in it. It is always one more than that of the
//! newest segment committed, however often making the file failed; and a process never appends to a segment that it did
//! not begin. So a file that was begun and taken back, whose name a failed sync of the folder may bring back for good,
//! has the name of the segment that came instead of it, and was replaced by it.
//!
//! The sums of a segment's frames start from its own **salt**, so that a stale block, handed back by the file system
//! from a deleted segment, never reads as a frame.
//!
//! The **mark** of a commit's first frame (the top bit of its `len`, under the sum as all the rest) proves what stands
//! before it: a commit is written only once the one before it is synced, and a file whose sync failed is never written
//! to again. So everything before the last good marked frame of a file was synced, and what is bad there is damage. The
//! frames from that mark on are the **unproven last commit**: it may have been answered, or the power may have gone
//! while it was written.
//!
//! Every segment of the **control lane** begins with a snapshot of the whole state, so older ones can go (the last but
//! one is kept: its snapshot and entries lead to the same state). One commit's changes are one frame (of 64
//! at most): all or nothing.
//!
//! # Operation
//!
//! A commit takes what was submitted meanwhile (at most 1 MiB), makes room (below), numbers the records, frames them
//! into one buffer per lane, writes each with one `pwrite`, syncs the files side by side, then the folders with new
//! files, then *publishes*: the ledger takes the changes, readers see the records, the submissions are answered, and
//! segments that lie wholly below the cursor are deleted (a lane's newest never is: it proves the highest `seq`).
//!
//! While one `fdatasync` runs, the next commit gathers: that groups nearly all there is to group at high rates. Beyond
//! it, a commit waits for company, [`commit_within`](crate::store::Options::commit_within) at most: a moment while
//! clients wait for their answers and half of them are not back yet, longer at low rates, where it saves syncs and
//! costs nobody. A lone client never waits. `company` decides. Where records come faster than they can be committed, the
//! next commit's are framed meanwhile, in memory, so that after the sync only their write is left to do (`ahead`).
//!
//! A segment is lengthened ahead of small commits, 64 KiB at a time: a sync then changes neither the file's length nor its
//! blocks, and the file system's own journal is left alone. What is not used is cut off when the segment is full and when
//! the store is closed; a file that ends in zeros ends where they begin.
//!
//! *QoS 2.* A record's frame carries its origin (session, packet id). A release is written to the control lane with
//! the `(lane, seq)` it releases, so that after a power cut the unreleased origins are those in frames less those
//! released there, whatever reached flash first. When a lane begins a new segment, the control lane is told what is
//! unreleased below it; only newer frames need to be looked through.
//!
//! *Room.* Before records are written, segments are deleted until all fits in what the store may hold: `max_size`, or
//! less where others fill the file system, of which `keep_free` stays free (`limits`). First go segments of which no
//! record waits, wherever they stand in their lane (`delivered`); then the oldest of the lowest lane that holds more
//! than its reserve (`room`). What goes undelivered is first counted in the control lane, durably. With the policy
//! `refuse` nothing undelivered goes: records wait in memory, unanswered, while other lanes go on (`refuse`). Every ten
//! seconds, whether or not anything comes, the writer gives way to others and lets go of what was kept long enough.
//!
//! *Gaps.* Whatever goes undelivered is noted in the ledger by the same control frame that lets it go, with who had
//! published it; records in the first lane tell a flow, one a minute of each kind at most (see `gaps`). Records that
//! became older than their lane's `max_age` go likewise (see `expiry`). While nothing goes, this costs nothing.
//!
//! *Failure.* A failed write is cut back to the last committed byte (a segment that cannot even be cut is left for a
//! new one); a failed sync is never repeated: its segment is abandoned at its last synced length, and the same
//! records go, under the same numbers, to a new file, of a later generation unless it is one that just begins. The submissions stay, unanswered, and are
//! tried again within a second until it works. Meanwhile changes of state are committed ahead of them, on a full disk
//! with the reserve's space: the cursor advances, its segments go, and there is room again. The reserve is made anew
//! before any record is written.
//!
//! *Looking* (`sight`) walks the same segments without a reader's place in the lane, without a lock, and without a
//! word to the writer: what it finds damaged it only shows.
//!
//! # Recovery
//!
//! 0. A store that a newer version has changed is refused before anything is touched (`version`).
//! 1. The control lane: from the newest segment with a good snapshot, replay to the end.
//! 2. Each lane: list; drop what a later generation replaces; find the newest segment with a good head; walk its
//!    frames, past damage to the next good frame, to the last one. Bytes behind that are a torn tail. So is everything
//!    from the first place on, in the unproven last commit and above all that the control lane knows of as committed,
//!    where something never arrived: where a bad stretch holds nothing but zeros in one of the sectors that it meets
//!    (`unproven`). The control lane ends by the same rule. So a commit that was not answered is there up to some
//!    point and not beyond, in whatever order the medium wrote, and what its devices publish again follows in order.
//! 3. Sync what was read, for it may have been only in the page cache, and will now be handed out.
//! 4. A new epoch is drawn if a tail was torn, the newest segment is missing or unusable, the control lane is lost or
//!    damaged, or the cursor, the sent mark or a noted segment lies above what was found; or if the hardware is not that
//!    on which it was written (see `hardware`). Numbers go on above all evidence.
//! 5. If anything has changed, a new control segment with a snapshot is written and synced.
//! 6. Only then are torn tails cut, replaced segments removed, unusable ones moved to `damaged/`.
//!
//! Each lane, and the control lane, goes on in a new segment, made with its first commit.
//!
//! Until step 5 is done nothing on the disk has changed (missing folders apart), and what steps 5 and 6 do leads to
//! the same state when it is cut short and done again: a second crash during recovery changes nothing.

mod ahead;
mod aside;
mod budgets;
mod clocks;
mod commit;
mod company;
mod contents;
mod control;
mod delivered;
#[cfg(test)]
pub(super) mod driven;
mod expiry;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gaps;
mod hardware;
mod heads;
mod limits;
mod log;
mod reader;
mod recover;
mod recover_control;
mod recover_lane;
mod refuse;
mod reserve;
mod room;
mod segment;
mod seldom;
mod sessions;
pub(super) mod sight;
mod sync;
mod unproven;
mod version;
mod writer;

pub(super) use aside::{AsideFrame, decode as decode_aside};
pub use clocks::TimesKnown;
pub use contents::Outlook;
pub(super) use contents::outlook;
pub use heads::{MOST_HEADS, SegmentHead, heads};
pub use reader::Chunk;
pub(super) use reader::LogReader;

use super::disk::Disk;
use super::state::{Contents, Index};
use super::wear::Gauge;
use super::{LaneStats, Opened, Options, PutAside, Ranges, Refusing, Stats, StoreError, Submission};
use crate::code::Code;
use crate::language::{IntoValue as _, Value};
use crate::message;
use crate::pulse::Pulse;
use control::{LaneLedger, Ledger};
use log::LogShared;
use segment::Identity;
use seldom::Seldom;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Damage reports that may wait for the writer; more are dropped, and made again when the place is read again.
const DAMAGE_LIMIT: usize = 64;

/// How long a reader waits for the writer to take damage reports, so that a long damaged stretch that is passed over at
/// one go is counted whole: several commits. On a disk that cannot be written it is no use to wait longer.
const DAMAGE_WAIT: Duration = Duration::from_secs(2);

/// How long closing waits for the writer: several syncs of a slow card.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// A commit that takes longer is shown as a stall: slow cards pause for a second or two while they tidy up.
const HANGS: Duration = Duration::from_secs(10);

/// A record lane's segment: a 64th of the limit, so that eviction takes little at a time; at least 64 KiB, so that
/// heads and syncs of folders weigh little; at most 4 MiB, so that start-up, which reads one per lane, takes well
/// below a second from a card that reads 20 MB/s.
fn segment_size(max_size: u64) -> u64 {
    (max_size / 64).clamp(64 * 1024, 4 * 1024 * 1024)
}

/// A control segment: small, for it is replayed at start-up; but four times its snapshot, so that snapshots stay a
/// small part of what is written.
fn control_segment_size(max_size: u64, snapshot: usize) -> u64 {
    (max_size / 256).clamp(64 * 1024, 1024 * 1024).max(4 * snapshot as u64)
}

/// Bytes kept for the control lane on a full disk: hundreds of cursor changes at least.
fn reserve_size(max_size: u64) -> u64 {
    (max_size / 64).clamp(128 * 1024, 1024 * 1024)
}

/// Segments of the control lane that are kept: the newest, and the one before it, whose snapshot and entries lead to
/// the same state should the newest snapshot be damaged.
const CONTROL_SEGMENTS: usize = 2;

/// Bytes that the index is expected to take, counted as taken from the start.
const INDEX_SHARE: u64 = 256 * 1024;

/// Bytes that records put aside may take.
fn aside_limit(max_size: u64) -> u64 {
    (max_size / 16).clamp(128 * 1024, 64 * 1024 * 1024)
}

/// Bytes that the store may come to need besides records, and one segment: what cannot be reserved for lanes.
fn own_needs(max_size: u64) -> u64 {
    let control = (CONTROL_SEGMENTS as u64 + 2) * control_segment_size(max_size, 0);
    control + reserve_size(max_size) + aside_limit(max_size) + INDEX_SHARE + segment_size(max_size)
}

/// Records that a reader could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Damage {
    lane: u8,
    from: u64,
    below: u64,
    /// First number and generation of a segment without a readable head.
    lost: Option<(u64, u64)>,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Queue {
    damage_log: Seldom,
    submissions: Vec<Submission>,
    damage: Vec<Damage>,
    /// How many of them the writer has taken note of already.
    noted: usize,
    /// Bytes of records in them.
    bytes: usize,
    /// Submissions handed in so far.
    tickets: u64,
    /// Submissions that the waiting writer waits for; 0 while it does not wait.
    wanted: usize,
    /// The writer was asked whether it lives.
    asked: bool,
    closing: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.submissions.is_empty() && self.damage.is_empty() && !self.asked
    }
}

/// What the writer, the readers and the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    options: Options,
    disk: Arc<dyn Disk>,
    segment_size: u64,
    aside_limit: u64,
    /// Record lanes: those configured, in order, then those that were configured once and still hold something.
    logs: Vec<Arc<LogShared>>,
    identities: Vec<Identity>,
    aside: Arc<LogShared>,
    aside_identity: Identity,
    control: Arc<LogShared>,
    control_identity: Identity,
    ledger: Mutex<Ledger>,
    queue: Mutex<Queue>,
    pulse: Pulse,
    wake: Condvar,
    finished: Mutex<bool>,
    has_finished: Condvar,
    pub(super) progress: tokio::sync::watch::Sender<u64>,
    /// See [`Store::waiting_changed`](crate::store::Store::waiting_changed).
    pub(super) waiting_changed: AtomicU64,
    commits: AtomicU64,
    bytes_written: AtomicU64,
    wear: Gauge,
    /// Bytes of `reserve` and `damaged`.
    other_bytes: AtomicU64,
    stalled: Mutex<Option<Value>>,
    /// Lanes that take nothing more for want of room.
    refusing: Mutex<Vec<Refusing>>,
    /// The same, to be asked for often.
    refuses: AtomicBool,
    /// Bytes that may be held, as last judged.
    allowed: AtomicU64,
    /// Bytes in which a file grows on this file system.
    block: u64,
    /// Since when the disk has been at work on the present commit.
    io_since: Mutex<Option<Instant>>,
    pub(super) index: Arc<Index>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of this lock panics")
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    /// Lets the writer wait until so many submissions are there, something else happened, or the time is over.
    fn wait<'a>(&self, mut queue: MutexGuard<'a, Queue>, wanted: usize, time: Duration) -> MutexGuard<'a, Queue> {
        queue.wanted = wanted;
        let (mut queue, _) = self.wake.wait_timeout(queue, time).expect("no holder of this lock panics");
        queue.wanted = 0;
        queue
    }

    /// Bytes of framed records that one commit takes, beyond its first submission.
    fn commit_bytes(&self) -> usize {
        (self.segment_size as usize / 4).min(commit::COMMIT_BYTES)
    }

    /// Queues a submission for the writer.
    pub(super) fn submit(&self, mut submission: Submission) {
        let configured = self.options.lanes.len();
        let fits = submission.bodies().all(|(lane, body)| lane.index() < configured && body.len() <= frame::BODY_LIMIT);
        if !fits {
            // Cannot come from the listener, whose packets are bounded and whose lanes are configured.
            tracing::error!("a submission for an unknown lane or with a record over 8 MiB is dropped unanswered");
            return;
        }
        let mut queue = self.queue();
        if queue.closing {
            return;
        }
        submission.hand_in(Instant::now(), queue.tickets);
        queue.tickets += 1;
        let urgent = submission.source() == Submission::URGENT;
        queue.bytes += submission.bytes();
        queue.submissions.push(submission);
        let enough = urgent || queue.submissions.len() >= queue.wanted || queue.bytes >= self.commit_bytes();
        if queue.wanted > 0 && enough {
            queue.wanted = 0;
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Whether the store is being closed.
    fn is_closing(&self) -> bool {
        self.queue().closing
    }

    fn report_damage(&self, damage: Damage) {
        let log = self.logs.get(usize::from(damage.lane));
        // What does not wait is missed by nobody: it was delivered, and its segment perhaps removed.
        let missed = |lane: &LaneLedger| {
            let waits = lane.waiting.touches(damage.from, damage.below) || damage.lost.is_some();
            waits && !lane.knows(damage.from, damage.below)
        };
        if !self.ledger().lanes.get(usize::from(damage.lane)).is_some_and(missed) {
            return;
        }
        let lane = log.map(|log| log.name.as_str()).unwrap_or_default();
        let mut queue = self.queue();
        if let Some(places) = queue.damage_log.add(1, Instant::now()) {
            let (from, below) = (damage.from, damage.below);
            tracing::warn!(code = %Code::StoreDamaged, lane, from, below, places, "records cannot be read and are passed over");
        }
        let until = Instant::now() + DAMAGE_WAIT;
        while queue.damage.len() >= DAMAGE_LIMIT && !queue.damage.contains(&damage) && Instant::now() < until {
            if queue.closing {
                return;
            }
            drop(queue);
            std::thread::sleep(Duration::from_millis(5));
            queue = self.queue();
        }
        if queue.damage.len() < DAMAGE_LIMIT && !queue.damage.contains(&damage) {
            queue.damage.push(damage);
            self.wake.notify_one();
        }
    }

    /// Asks the writer to finish, and waits until it has.
    pub(super) fn close(&self) {
        self.queue().closing = true;
        self.wake.notify_one();
        let until = Instant::now() + CLOSE_LIMIT;
        let mut finished = self.finished.lock().expect("no holder of this lock panics");
        while !*finished {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!("the disk does not answer: the store is left as it is");
                return;
            }
            finished = self.has_finished.wait_timeout(finished, left).expect("no holder of this lock panics").0;
        }
    }

    /// The writer has finished.
    fn finished(&self) {
        *self.finished.lock().expect("no holder of this lock panics") = true;
        self.has_finished.notify_all();
    }

    fn set_stalled(&self, reason: Option<Value>) {
        *self.stalled.lock().expect("no holder of this lock panics") = reason;
        self.progress.send_modify(|commits| *commits += 1);
    }

    /// Says which lanes take nothing more for want of room.
    fn set_refusing(&self, refusing: Vec<Refusing>) {
        let mut known = self.refusing.lock().expect("no holder of this lock panics");
        if *known == refusing {
            return;
        }
        for one in refusing.iter().filter(|one| !known.iter().any(|known| known.lane == one.lane)) {
            tracing::warn!(code = %Code::StoreStalled, lane = one.lane, reason = %one.reason, "no room: acknowledgements are withheld");
        }
        for one in known.iter().filter(|one| !refusing.iter().any(|now| now.lane == one.lane)) {
            tracing::info!(lane = one.lane, "there is room again");
        }
        self.refuses.store(!refusing.is_empty(), Ordering::Relaxed);
        *known = refusing;
        drop(known);
        self.progress.send_modify(|commits| *commits += 1);
    }

    /// Whether any lane takes nothing more for want of room.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    fn begin_io(&self, now: Option<Instant>) {
        *self.io_since.lock().expect("no holder of this lock panics") = now;
    }

    /// Why nothing can be written now: an error, or a disk that does not answer.
    fn stalled(&self) -> Option<Value> {
        let reason = self.stalled.lock().expect("no holder of this lock panics").clone();
        let since = *self.io_since.lock().expect("no holder of this lock panics");
        let hangs = since.map(|since| since.elapsed()).filter(|time| *time > HANGS);
        reason.or_else(|| {
            let path = self.options.path.display();
            let message = |time: Duration| {
                message!("the disk under {path} has not answered for {time} s", path = path, time = time.as_secs())
            };
            hangs.map(|time| message(time).into_value())
        })
    }

    /// Whether the index may write a checkpoint without going into what is to stay free for others.
    pub(super) fn index_may_grow(&self) -> bool {
        let keep_free = self.options.keep_free;
        let space = if keep_free > 0 { self.disk.space(&self.options.path).ok() } else { None };
        space.is_none_or(|space| space.free_bytes >= keep_free.saturating_add(INDEX_SHARE))
    }

    /// Bytes of everything of ours in the folder.
    fn total_bytes(&self) -> u64 {
        let logs = self.logs.iter().chain([&self.aside, &self.control]);
        let segments: u64 = logs.map(|log| log.view().held()).sum();
        segments + self.other_bytes.load(Ordering::Relaxed) + self.index.bytes()
    }

    /// Counts what is neither a segment nor the index.
    fn measure_others(&self) {
        let bytes = |name| recover::folder_bytes(&*self.disk, &self.options.path.join(name));
        let others = bytes("damaged") + bytes(crate::outage::FOLDER) + bytes(crate::config::kept::FOLDER);
        self.other_bytes.store(reserve_size(self.options.max_size) + others, Ordering::Relaxed);
    }

    /// A reader of a lane; of nothing if there is no such lane.
    pub(super) fn reader(self: &Arc<Self>, lane: usize) -> Option<LogReader> {
        let log = self.logs.get(lane)?.clone();
        Some(LogReader::new(self.clone(), log, Some(lane as u8)))
    }

    pub(super) fn waiting(&self, lane: usize) -> Ranges {
        self.ledger().lanes.get(lane).map(|lane| lane.waiting.clone()).unwrap_or_default()
    }

    pub(super) fn unsent(&self, lane: usize) -> Ranges {
        self.ledger().lanes.get(lane).map(|lane| lane.unsent.clone()).unwrap_or_default()
    }

    pub(super) fn clock(&self) -> &Arc<dyn crate::clock::Clock> {
        &self.options.clock
    }

    pub(super) fn times_known(&self) -> TimesKnown {
        self.ledger().clocks.known()
    }

    pub(super) fn put_aside(self: &Arc<Self>, limit: usize) -> Result<Vec<PutAside>, StoreError> {
        aside::list(self, limit)
    }

    /// What it holds now, to be looked into.
    pub(super) fn sight(&self) -> sight::Sight {
        sight::Sight::of(self)
    }

    /// Bytes appended to each record lane since the start.
    pub(super) fn appended(&self) -> Vec<u64> {
        self.logs.iter().map(|log| log.view().appended).collect()
    }

    /// What the index is to hold.
    pub(super) fn index_contents(self: &Arc<Self>) -> Contents {
        let mut contents = self.ledger().index_contents();
        aside::index(self, &mut contents);
        contents
    }

    pub(super) fn stats(&self) -> Stats {
        let now = self.options.clock.now();
        let ledger = self.ledger();
        let lanes = ledger
            .lanes
            .iter()
            .zip(&self.logs)
            .map(|(known, log)| {
                let view = log.view();
                let (waiting, cursor) = (known.readable(0, view.next), known.cursor());
                let oldest = view.time_at(cursor).filter(|_| waiting > 0).map(|stamp| ledger.clocks.right(stamp).0);
                LaneStats {
                    name: known.name.clone(),
                    stored: view.next,
                    waiting,
                    waiting_bytes: delivered::waiting_bytes(&view, &known.waiting),
                    bytes: view.bytes,
                    kept: delivered::kept_bytes(&view, &known.waiting),
                    evicted: known.evicted,
                    damaged: known.damaged,
                    expired: known.expired,
                    oldest_ms: oldest.map(|stamp| stamp.wall_ms),
                    oldest_age_ms: oldest.and_then(|stamp| stamp.age_ms(&now)),
                    cursor,
                    sent: known.unsent.first(),
                    next: view.next,
                }
            })
            .collect();
        let (epoch, refused, put_aside) = (ledger.epoch.clone(), ledger.refused, ledger.put_aside);
        let (gaps_pending, gaps_told) = (ledger.gaps.pending(), ledger.gaps.made);
        drop(ledger);
        Stats {
            epoch,
            lanes,
            refused,
            put_aside,
            gaps_pending,
            gaps_told,
            bytes: self.total_bytes(),
            max_size: self.options.max_size,
            allowed: self.allowed.load(Ordering::Relaxed),
            refusing: self.refusing.lock().expect("no holder of this lock panics").clone(),
            commits: self.commits.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            wear: self.wear.wear(),
            stalled: self.stalled(),
            index: self.index.behind(),
        }
    }
}

/// Opens the journal: recovers what is there and starts the writer.
pub(super) fn open(options: Options, disk: Arc<dyn Disk>) -> Result<(Arc<Shared>, Opened), StoreError> {
    let path = options.path.clone();
    let (shared, parts, opened) = recover::open(options, disk)?;
    let failed = |source| StoreError::Io { action: "start the writer thread for", path: folder(&path), source };
    let syncer = sync::Syncer::start().map_err(failed)?;
    let writer = writer::Writer::new(shared.clone(), parts, syncer);
    let index = Index::start(&shared).map_err(failed)?;
    let started = std::thread::Builder::new().name("tidegate-store".into()).spawn(move || writer.run(index));
    if let Err(error) = started {
        shared.index.close();
        return Err(failed(error));
    }
    Ok((shared, opened))
}

fn folder(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// The folder of a record lane.
fn lane_dir(options: &Options, name: &str) -> PathBuf {
    options.path.join(format!("lane-{name}"))
}
