//! The durable buffer: records are written to flash here before anyone is thanked for them.
//!
//! Whoever has records to store puts them into a [`Submission`] and hands it to [`Store::submit`]; the answer comes
//! once all of it is on flash. Whoever forwards them reads lanes in order through [`Store::reader`], and hands back
//! what was accepted as a [`Change::Acknowledge`]. Everything that must last goes this one way, so one group commit
//! covers all of it.
//!
//! - `journal` holds records and changes in segment files: its documentation describes format, operation and recovery.
//! - `state` is an index of the changes in sled, never needed by the journal.
//! - [`look`] looks into what is held, for people: the running store or the files alone.
//! - [`disk`] is the file system as a trait.

pub mod disk;
mod journal;
pub mod look;
mod ranges;
mod state;
mod submission;
pub mod wear;

#[cfg(test)]
mod tests;

#[cfg(feature = "fuzzing")]
pub(crate) use journal::fuzzing;
pub use journal::{Chunk, MOST_HEADS, Outlook, SegmentHead, TimesKnown, heads};
pub use ranges::Ranges;
pub use submission::{
    BudgetUse, Change, Committed, Kept, NewRecord, Origin, RECORD_OVERHEAD, Refusal, SessionRecord, Submission,
};
pub use tidegate_protocol::{LaneId, RecordRef, TimeSource};

use crate::clock::Clock;
use crate::code::Code;
use crate::language::{IntoValue as _, Message, Value, joined};
use crate::message;
use crate::pulse::Question;

use std::sync::Arc;
use std::time::Duration;

/// How much one read may return.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// At most so many records.
    pub records: usize,
    /// At most so many payload bytes, but always one record.
    pub bytes: usize,
}

/// A lane as the store is told of it.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// Its name, as it stands in configuration, in folder names and in events: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
    pub name: String,
    /// Bytes on disk that other lanes' records cannot take from it.
    pub reserve: u64,
    /// How old a record may become before it is dropped, told by a gap record; `None` for any age.
    pub max_age: Option<Duration>,
}

impl LaneOptions {
    /// A lane without reservation or age limit.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), reserve: 0, max_age: None }
    }
}

/// What happens to records that come in when the limits leave no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The oldest records go, told by gap records.
    #[default]
    DropOldest,
    /// They are not acknowledged: the devices keep them, and those of other lanes go on ([`Stats::refusing`]). Nothing
    /// undelivered is ever evicted then, not even for others who fill the disk. A publish of QoS 0 waits like the
    /// others, and holds up its connection; so does, on a connection to a broker, whatever lane refuses all of it.
    Refuse,
}

/// What the store is told when it is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder it lives in; made if it is not there.
    pub path: std::path::PathBuf,
    /// This gateway's id, 1 to 255 bytes.
    pub gateway: String,
    /// Lanes in order of priority, first to go first; evicted from last.
    pub lanes: Vec<LaneOptions>,
    /// Bytes on disk that the store may use in all, at least [`MIN_MAX_SIZE`].
    pub max_size: u64,
    /// Bytes down to which the store gives way when others fill the disk; at most `max_size`.
    pub min_size: u64,
    /// Bytes of the file system that the store leaves free.
    pub keep_free: u64,
    /// Inodes of the file system that the store leaves free.
    pub keep_free_inodes: u64,
    /// What happens when there is no room.
    pub policy: Policy,
    /// How long delivered records are kept, room permitting; 0 for not at all.
    pub keep_delivered: Duration,
    /// Longest time a commit waits for company ([`DEFAULT_COMMIT_WITHIN`]); 0 never waits. Clients that come back as soon
    /// as they are answered are held for a fortieth of it at most, a client alone not at all; where devices publish
    /// seldom, it makes one commit of what comes within it: fewer syncs, a longer life of the card.
    pub commit_within: Duration,
    /// Sessions kept at most; a further one ends that which has been without a connection for longest.
    pub max_sessions: usize,
    /// What tells the time, and whether it can be believed.
    pub clock: Arc<dyn Clock>,
    /// The hardware that this runs on, as words of the form `key=fingerprint` ([`crate::hardware::identity`]); a store
    /// that was written on other hardware draws a new epoch. `None`: it is not judged.
    pub hardware: Option<String>,
}

impl Options {
    /// The defaults for a store at `path`: these lanes without reservations, 1 GiB, nothing kept once delivered, and a
    /// clock of its own that trusts nothing.
    pub fn new(path: std::path::PathBuf, gateway: &str, lanes: &[&str]) -> Self {
        Self {
            path,
            gateway: gateway.into(),
            lanes: lanes.iter().map(|name| LaneOptions::named(name)).collect(),
            max_size: 1 << 30,
            min_size: MIN_MAX_SIZE,
            keep_free: 0,
            keep_free_inodes: 0,
            policy: Policy::DropOldest,
            keep_delivered: Duration::ZERO,
            commit_within: Duration::ZERO,
            max_sessions: 100,
            clock: Arc::new(crate::clock::SystemClock::new()),
            hardware: None,
        }
    }
}

/// What a session was when the store was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// The session as it was last written.
    pub record: SessionRecord,
    /// Packet ids of QoS 2 publishes that are stored and not yet released.
    pub unreleased: Vec<u16>,
}

/// What opening found.
#[derive(Debug, Default)]
pub struct Opened {
    /// Sessions that ask to last.
    pub sessions: Vec<KeptSession>,
    /// First session id that was never used: the listener draws from here upwards.
    pub next_session_id: u64,
    /// Whether a new epoch was drawn: at creation, because the highest `seq` used could not be proved, or because the
    /// store finds itself on other hardware.
    pub new_epoch: bool,
    /// What recovery found and did, one line each, at most [`REPORT_LINES`]; also logged.
    pub report: Vec<String>,
}

/// Lines of [`Opened::report`] at most; what is beyond is only counted in its last line.
pub const REPORT_LINES: usize = 64;

/// A record that was put aside, as [`Store::put_aside`] lists it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PutAside {
    /// The record's id: gateway.
    pub gateway: String,
    /// The record's id: epoch.
    pub epoch: String,
    /// The record's id: the lane's name.
    pub lane: String,
    /// The record's id: its number.
    pub seq: u64,
    /// Why it was put aside.
    pub reason: String,
    /// The device that published it.
    pub device: String,
    /// The topic it was published on.
    pub topic: String,
    /// When it was received (ms since the Unix epoch).
    pub time_ms: u64,
    /// Whether that time was by a right clock, or was put right.
    #[serde(default)]
    pub trusted: bool,
    /// Its payload, byte for byte.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// Figures of one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LaneStats {
    /// The lane's name.
    pub name: String,
    /// Records committed since the store was created.
    pub stored: u64,
    /// Records that wait to be delivered.
    pub waiting: u64,
    /// Bytes that these take on disk, about.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// Bytes on disk in this lane's segments.
    pub bytes: u64,
    /// Of these the bytes in segments that are delivered and only kept (`keep_delivered`).
    pub kept: u64,
    /// Records evicted before they were delivered.
    pub evicted: u64,
    /// Records lost to damage.
    pub damaged: u64,
    /// Records dropped undelivered because they had become older than the lane's `max_age`.
    pub expired: u64,
    /// When the oldest waiting record was received (ms since the Unix epoch).
    pub oldest_ms: Option<u64>,
    /// How long ago that was in ms, if it can be known ([`Stamp::age_ms`](crate::clock::Stamp::age_ms)).
    pub oldest_age_ms: Option<u64>,
    /// Lowest sequence number still to be acknowledged.
    pub cursor: u64,
    /// First sequence number that was certainly never sent ([`Change::Sent`]).
    pub sent: u64,
    /// Sequence number the next record will get.
    pub next: u64,
}

/// Figures of the whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// The present epoch.
    pub epoch: String,
    /// Per lane, in order of priority.
    pub lanes: Vec<LaneStats>,
    /// Publishes refused, durably counted, since the store was created.
    pub refused: u64,
    /// Records put aside.
    pub put_aside: u64,
    /// Kinds of gaps (by cause, lane, device and epoch) of which the flow has not been told all.
    pub gaps_pending: u64,
    /// Gap records made since the store was created.
    pub gaps_told: u64,
    /// Bytes on disk in all, and the limit.
    pub bytes: u64,
    /// The limit on `bytes`.
    pub max_size: u64,
    /// What `bytes` may come to at present: less than `max_size` where others fill the disk.
    pub allowed: u64,
    /// Group commits since the start.
    pub commits: u64,
    /// Bytes handed to the file system since the start, headers and control records included.
    pub bytes_written: u64,
    /// What storing costs the flash.
    pub wear: wear::Wear,
    /// Why the store cannot write now, if it cannot; acknowledgements are withheld meanwhile.
    pub stalled: Option<Value>,
    /// Why the index is behind, if it is; nothing depends on it.
    #[serde(default)]
    pub index: Option<Value>,
    /// Lanes for whose records there is no room; their acknowledgements are withheld meanwhile.
    pub refusing: Vec<Refusing>,
}

impl Stats {
    /// Why acknowledgements are withheld, if any are: the store cannot write, or has no room for some lanes.
    pub fn withheld(&self) -> Option<Value> {
        let of =
            |one: &Refusing| message!("lane {lane}: {reason}", lane = &one.lane, reason = &one.reason).into_value();
        let refusing: Vec<Value> = self.refusing.iter().map(of).collect();
        let all = joined(&refusing, |one, other| message!("{one}; {other}", one = one, other = other));
        self.stalled.clone().or_else(|| Some(all).filter(|all| !all.is_empty()))
    }
}

/// A lane for whose records there is no room.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refusing {
    /// Its name.
    pub lane: String,
    /// Which limit leaves no room.
    pub reason: Value,
}

/// Why the store could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the store open.
    Locked {
        /// The store's folder.
        path: String,
    },
    /// The store, or a file of it, was written by another version of Tidegate. Nothing was changed.
    Version {
        /// The file.
        path: String,
        /// The version of its format.
        found: u16,
        /// The version that this one knows.
        known: u16,
    },
    /// The options do not make a store.
    Options {
        /// What is wrong, and what would be right.
        what: String,
    },
}

impl StoreError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Io { action, path, .. } => message!("cannot {action} {path}", action = acted(action), path = path),
            Self::Locked { path } => message!(
                "{path} is in use by another process: stop the other tidegate (`systemctl status tidegate`, \
                 `fuser {path}/lock`) or give this one a folder of its own in [store] path",
                path = path
            ),
            Self::Version { path, found, known } => message!(
                "{path} was written by {which} version of tidegate (format {found}, this one knows {known}): install that \
                 version again, or give this one a folder of its own in [store] path; nothing was changed",
                path = path,
                which = if found > known { message!("a newer") } else { message!("an older") },
                found = *found,
                known = *known
            ),
            Self::Options { what } => {
                message!("the store cannot be opened as configured: {what}", what = what)
            }
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Locked { .. } => Code::StoreInUse,
            Self::Version { found, known, .. } if found > known => Code::StoreNewer,
            Self::Io { .. } | Self::Version { .. } => Code::StoreUnusable,
            Self::Options { .. } => Code::ConfigWrong,
        }
    }
}

/// What was tried, in words; what is tried at a start only stands in the log, as it is.
fn acted(action: &'static str) -> Value {
    match action {
        "find a store in" => message!("find a store in").into_value(),
        "read" => message!("read").into_value(),
        "list" => message!("list").into_value(),
        "lock" => message!("lock").into_value(),
        "make the folder" => message!("make the folder").into_value(),
        "sync" => message!("sync").into_value(),
        "write to" => message!("write to").into_value(),
        "make room in" => message!("make room in").into_value(),
        "find a segment in" => message!("find a segment in").into_value(),
        other => other.into_value(),
    }
}

/// Bytes of records that may be between the devices and flash at one time: twice what one commit of 2,000 publishes
/// of 1 KiB holds, and a quarter of the memory aim of 16 MiB.
pub const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// Smallest `max_size`: below it, what the store needs for itself would leave next to nothing for records.
pub const MIN_MAX_SIZE: u64 = 2 * 1024 * 1024;

/// Longest time a commit waits for company, unless configured otherwise: nobody who publishes by hand or by the second
/// notices it, and clients that wait for their answers are held for a fraction of it at most (see
/// [`Options::commit_within`]).
pub const DEFAULT_COMMIT_WITHIN: Duration = Duration::from_millis(20);

/// A handle on the store; clones share it. When the last one goes, the store is closed.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<journal::Shared>,
    in_flight: Arc<tokio::sync::Semaphore>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Store {
    /// Opens the store, recovers what is there, and starts its threads. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Version`] and [`StoreError::Options`] are for the operator. [`StoreError::Io`] may pass (a disk
    /// that is full, read-only or not mounted yet): nothing stored was harmed, and the caller tries again, at first
    /// after a second.
    pub fn open(options: Options) -> Result<(Self, Opened), StoreError> {
        Self::open_on(options, Arc::new(disk::OsDisk))
    }

    /// Opens the store on another file system.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(options: Options, disk: Arc<dyn disk::Disk>) -> Result<(Self, Opened), StoreError> {
        let (shared, opened) = journal::open(options, disk)?;
        let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES));
        Ok((Self { inner: Arc::new(Inner { shared, in_flight }) }, opened))
    }

    /// Finds out what opening would come to, without opening: nothing is written, made, locked or removed. Whether another
    /// process holds the store is not looked at, for the only sure way to learn that is to take the lock.
    ///
    /// # Errors
    /// What [`Store::open`] would fail with, as far as reading tells.
    pub fn outlook(options: &Options) -> Result<Outlook, StoreError> {
        Self::outlook_on(options, &(Arc::new(disk::OsDisk) as Arc<dyn disk::Disk>))
    }

    /// The same on another file system.
    ///
    /// # Errors
    /// As [`Store::outlook`].
    pub fn outlook_on(options: &Options, disk: &Arc<dyn disk::Disk>) -> Result<Outlook, StoreError> {
        journal::outlook(options, disk)
    }

    /// Hands a submission to the writer. Never blocks on the disk and never fails: while the disk is full or failing
    /// the submission waits, and its `done` is answered when it is on flash. (A `done` that is dropped unanswered
    /// means that the store has been closed.) What may be outstanding is bounded by the callers: each holds permits
    /// of [`Store::in_flight`] for the bytes it has handed over.
    ///
    /// While records wait for the disk, changes are committed ahead of them, in the order handed in; a submission is
    /// answered once both are on flash.
    pub fn submit(&self, submission: Submission) {
        self.inner.shared.submit(submission);
    }

    /// Asks the writer whether it lives. It answers between two commits, however often the disk refuses them; one that
    /// hangs in the disk does not. Cheap, and wakes an idle writer.
    pub fn ask(&self) -> Question {
        self.inner.shared.ask()
    }

    /// Permits for bytes that are handed over and not yet on flash, one a byte: whoever submits records acquires
    /// as many as [`Submission::bytes`] before, and gives them back when answered.
    pub fn in_flight(&self) -> &Arc<tokio::sync::Semaphore> {
        &self.inner.in_flight
    }

    /// Whether the records of any lane wait for room. Cheap: for whoever decides how much more to take in.
    pub fn refuses(&self) -> bool {
        self.inner.shared.refuses()
    }

    /// Changes each time something was committed or the store's condition changed: wait on it instead of polling.
    pub fn progress(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.shared.progress.subscribe()
    }

    /// A reader of one lane, for one user of it at a time. Reads block on the disk: call it where blocking is allowed.
    pub fn reader(&self, lane: LaneId) -> Reader {
        Reader { reader: self.inner.shared.reader(lane.index()) }
    }

    /// What of a lane was certainly never sent; what waits and is not in it is `replayed` when sent.
    pub fn unsent(&self, lane: LaneId) -> Ranges {
        self.inner.shared.unsent(lane.index())
    }

    /// First sequence number of a lane that is to be delivered: where a reader begins.
    pub fn cursor(&self, lane: LaneId) -> u64 {
        self.waiting(lane).first()
    }

    /// First sequence number of a lane that was certainly never sent.
    pub fn sent(&self, lane: LaneId) -> u64 {
        self.unsent(lane).first()
    }

    /// The clock that the stamps of records are taken from, against which their ages are judged.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.inner.shared.clock()
    }

    /// Changes whenever records that were read before would now be read with another time, because the clock has
    /// become right or was set.
    pub fn times_known(&self) -> TimesKnown {
        self.inner.shared.times_known()
    }

    /// What of a lane is to be delivered: neither acknowledged nor evicted. The last range is open-ended.
    pub fn waiting(&self, lane: LaneId) -> Ranges {
        self.inner.shared.waiting(lane.index())
    }

    /// Rises whenever what waits has changed otherwise than by [`Change::Acknowledge`] and by what was stored: records
    /// were evicted or have expired, or are to be replayed. Cheap; never before [`Store::waiting`] shows the change.
    pub fn waiting_changed(&self) -> u64 {
        self.inner.shared.waiting_changed.load(std::sync::atomic::Ordering::Acquire)
    }

    /// What of budgets was used, as it was last said by a [`Change::Budget`] each; of 32 kinds at most.
    pub fn budgets(&self) -> Vec<BudgetUse> {
        self.inner.shared.budgets()
    }

    /// What is kept under a name, as the last [`Change::Kept`] that was committed says it. Cheap.
    pub fn kept(&self, name: &str) -> Option<Vec<u8>> {
        self.inner.shared.kept(name)
    }

    /// Records put aside, newest first, at most `limit`. Reads the disk.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn put_aside(&self, limit: usize) -> Result<Vec<PutAside>, StoreError> {
        self.inner.shared.put_aside(limit)
    }

    /// What the store holds now, to be looked into: committed records only.
    pub fn look(&self) -> look::Look {
        look::Look { sight: self.inner.shared.sight() }
    }

    /// Bytes appended to each lane since the start, in order of priority.
    pub fn appended(&self) -> Vec<u64> {
        self.inner.shared.appended()
    }

    /// The figures as they stand. Cheap: nothing is read from the disk.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Commits what was submitted, checkpoints, and stops the threads; waits for that, 10 s at most. Later
    /// submissions are dropped unanswered. Dropping the last handle does the same; async code closes where blocking is
    /// allowed. On a disk that cannot be written, what is unanswered stays so.
    pub fn close(&self) {
        self.inner.shared.close();
    }
}

/// Reads one lane's committed records in order.
#[derive(Debug)]
pub struct Reader {
    reader: Option<journal::LogReader>,
}

impl Reader {
    /// Reads committed records from `from` on (or from the first one still there), in order of `seq`; fewer than the
    /// limit allows where a segment ends.
    ///
    /// Empty if there is none. Damaged ranges are passed over and counted.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn read(&mut self, from: u64, limit: ReadLimit) -> Result<Chunk, StoreError> {
        match &mut self.reader {
            Some(reader) => reader.read(from, limit),
            None => Ok(Chunk::default()),
        }
    }
}
