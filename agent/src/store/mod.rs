//! The durable buffer: records are written to flash here before anyone is thanked for them.

mod submission;

pub use submission::{Change, Committed, NewRecord, Origin, Refusal, SessionRecord, Submission};
pub use tidegate_protocol::{LaneId, RecordRef};

use std::sync::Arc;

// ---------------------------------------------------------------------------------------------------------
// STAND-IN: an in-memory store with the final public interface, to be replaced by the journal.
// ---------------------------------------------------------------------------------------------------------

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
    /// Its name, as it stands in configuration, in folder names and in events.
    pub name: String,
}

/// What the store is told when it is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder it lives in; made if it is not there.
    pub path: std::path::PathBuf,
    /// This gateway's id.
    pub gateway: String,
    /// Lanes in order of priority, first to go first; evicted from last.
    pub lanes: Vec<LaneOptions>,
    /// Bytes on disk that the store may use in all.
    pub max_size: u64,
    /// Longest time a commit waits for company.
    pub commit_delay: std::time::Duration,
    /// Sessions kept at most.
    pub max_sessions: usize,
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
    /// Whether a new epoch was drawn: at creation, or because the highest `seq` used could not be proved.
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
    /// Bytes on disk in this lane's segments.
    pub bytes: u64,
    /// Records evicted before they were delivered.
    pub evicted: u64,
    /// Records lost to damage.
    pub damaged: u64,
    /// When the oldest waiting record was received (ms since the Unix epoch).
    pub oldest_ms: Option<u64>,
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
    /// Bytes on disk in all, and the limit.
    pub bytes: u64,
    /// The limit on `bytes`.
    pub max_size: u64,
    /// Group commits since the start.
    pub commits: u64,
    /// Bytes handed to the file system since the start, headers and control records included.
    pub bytes_written: u64,
    /// Why the store cannot write now, if it cannot; acknowledgements are withheld meanwhile.
    pub stalled: Option<String>,
}

/// Why the store could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Bytes of records that may be between the devices and flash at one time: twice what one commit of 2,000 publishes
/// of 1 KiB holds, and a quarter of the memory aim of 16 MiB.
pub const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
struct Memory {
    lanes: Vec<(u64, std::collections::VecDeque<(u64, Vec<u8>)>)>,
    refused: u64,
    put_aside: u64,
}

/// A handle on the store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    memory: Arc<std::sync::Mutex<Memory>>,
    options: Arc<Options>,
    progress: Arc<tokio::sync::watch::Sender<u64>>,
    in_flight: Arc<tokio::sync::Semaphore>,
}

impl Store {
    /// Opens the store, recovers what is there, and starts its writer thread.
    pub fn open(options: Options) -> Result<(Self, Opened), StoreError> {
        let memory =
            Memory { lanes: options.lanes.iter().map(|_| (0, Default::default())).collect(), refused: 0, put_aside: 0 };
        let store = Self {
            memory: Arc::new(std::sync::Mutex::new(memory)),
            options: Arc::new(options),
            progress: Arc::new(tokio::sync::watch::Sender::new(0)),
            in_flight: Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES)),
        };
        Ok((store, Opened::default()))
    }

    /// Hands a submission to the writer. Never blocks and never fails: while the disk is full or failing the
    /// submission waits, and its `done` is answered when it is on flash. (A `done` that is dropped unanswered means that the
    /// store has been closed.) What may be outstanding is bounded by the callers: each holds permits of
    /// [`Store::in_flight`] for the bytes it has handed over.
    pub fn submit(&self, submission: Submission) {
        let mut memory = self.memory.lock().expect("no holder of this lock panics");
        let (entries, changes, done) = submission.into_parts();
        for (lane, frame) in entries {
            let lane = &mut memory.lanes[lane.index()];
            let seq = lane.0;
            lane.0 += 1;
            lane.1.push_back((seq, frame));
        }
        for change in changes {
            match change {
                Change::Acknowledge { lane, below } => {
                    let lane = &mut memory.lanes[lane.index()].1;
                    while lane.front().is_some_and(|entry| entry.0 < below) {
                        lane.pop_front();
                    }
                }
                Change::Refused(refusal) => memory.refused += u64::from(refusal.count),
                Change::PutAside { .. } => memory.put_aside += 1,
                _ => {}
            }
        }
        drop(memory);
        if let Some(done) = done {
            let _ = done.send(Committed {});
        }
        self.progress.send_modify(|commits| *commits += 1);
    }

    /// Permits for bytes that are handed over and not yet on flash, one a byte: whoever submits records acquires
    /// as many as [`Submission::bytes`] before, and gives them back when answered.
    pub fn in_flight(&self) -> &Arc<tokio::sync::Semaphore> {
        &self.in_flight
    }

    /// Changes each time records were committed or the store's condition changed: wait on it instead of polling.
    pub fn progress(&self) -> tokio::sync::watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// A reader of one lane, for one user of it at a time. Reads block on the disk: call it where blocking is allowed.
    pub fn reader(&self, lane: LaneId) -> Reader {
        Reader { store: self.clone(), lane }
    }

    /// First sequence number of a lane that was certainly never sent; records below it are `replayed` when sent.
    pub fn sent(&self, _lane: LaneId) -> u64 {
        0
    }

    /// Records put aside, newest first, at most `limit`. Reads the disk.
    pub fn put_aside(&self, _limit: usize) -> Result<Vec<PutAside>, StoreError> {
        Ok(Vec::new())
    }

    /// The figures as they stand.
    pub fn stats(&self) -> Stats {
        let memory = self.memory.lock().expect("no holder of this lock panics");
        Stats {
            epoch: "memory".into(),
            lanes: memory
                .lanes
                .iter()
                .zip(&self.options.lanes)
                .map(|((next, lane), options)| LaneStats {
                    name: options.name.clone(),
                    stored: *next,
                    waiting: lane.len() as u64,
                    cursor: lane.front().map_or(*next, |entry| entry.0),
                    next: *next,
                    ..LaneStats::default()
                })
                .collect(),
            refused: memory.refused,
            put_aside: memory.put_aside,
            ..Stats::default()
        }
    }

    /// Writes what was submitted, then stops the writer. Submissions after it are dropped unanswered.
    pub fn close(&self) {}
}

/// Reads one lane's committed records in order.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    lane: LaneId,
}

impl Reader {
    /// Reads committed records from `from` on (or from the first one still there), in order of `seq`.
    ///
    /// Empty if there is none. Damaged ranges are passed over and counted.
    pub fn read(&mut self, from: u64, limit: ReadLimit) -> Result<Chunk, StoreError> {
        let memory = self.store.memory.lock().expect("no holder of this lock panics");
        let mut chunk = Chunk {
            gateway: self.store.options.gateway.clone(),
            lane: self.store.options.lanes[self.lane.index()].name.clone(),
            ..Chunk::default()
        };
        let mut bytes = 0;
        for (seq, body) in memory.lanes[self.lane.index()].1.iter().filter(|entry| entry.0 >= from) {
            if chunk.records.len() >= limit.records || (bytes > 0 && bytes + body.len() > limit.bytes) {
                break;
            }
            bytes += body.len();
            chunk.records.push((*seq, body.clone()));
        }
        Ok(chunk)
    }
}

/// Records read at one time. They stay valid when the store evicts or deletes them meanwhile.
#[derive(Debug, Default)]
pub struct Chunk {
    gateway: String,
    lane: String,
    records: Vec<(u64, Vec<u8>)>,
}

impl Chunk {
    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record at `index`, in order of `seq`.
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        let (seq, body) = self.records.get(index)?;
        let decoded = submission::decode(body)?;
        Some(RecordRef {
            gateway: &self.gateway,
            epoch: "memory",
            lane: &self.lane,
            seq: *seq,
            device: decoded.device,
            topic: decoded.topic,
            time_ms: decoded.time_ms,
            payload: decoded.payload,
        })
    }

    /// The records in order of `seq`.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}
