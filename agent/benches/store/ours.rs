//! Tidegate's store, through its public interface.

use crate::queue::{DRAIN_STEP, Outcome, Queue};
use crate::readings::Readings;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate::clock::Stamp;
use tidegate::store::{Change, DEFAULT_COMMIT_WITHIN, LaneId, NewRecord, Options, ReadLimit, Store, Submission};
use tokio::runtime::Runtime;

const LANE: LaneId = LaneId(1);

/// Who submits at saturation: so many connections, each with so many records under way, together all that the store
/// lets be in flight. Each is one submission, as the listener makes one of what a read brings.
const SUBMITTERS: u64 = 200;
const WINDOW: u64 = 64;

/// As much as the forwarder reads at one time.
const READ: ReadLimit = ReadLimit { records: 500, bytes: 256 * 1024 };

pub(crate) struct Ours {
    store: Store,
    runtime: Runtime,
}

impl Ours {
    pub(crate) fn open(folder: &Path, max_size: u64) -> Outcome<Self> {
        let options = Options {
            max_size,
            commit_within: DEFAULT_COMMIT_WITHIN,
            ..Options::new(folder.join("store"), "gw-1", &["critical", "normal", "bulk"])
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { store: Store::open(options)?.0, runtime })
    }

    fn commits(&self) -> u64 {
        self.store.stats().commits
    }
}

fn submission(readings: &Readings, from: u64, count: u64) -> Submission {
    let mut submission = Submission::new();
    for number in from..from + count {
        submission.push(LANE, &readings.get(number).record(number));
    }
    submission
}

impl crate::readings::Reading {
    /// As the listener hands it over.
    pub(crate) fn record(&self, number: u64) -> NewRecord<'_> {
        NewRecord {
            device: self.device,
            topic: &self.topic,
            payload: &self.payload,
            stamp: Stamp { wall_ms: number, ..Stamp::default() },
            origin: None,
            will: false,
        }
    }
}

impl Queue for Ours {
    fn append(&mut self, readings: &Readings, from: u64, count: u64, _: u64) -> Outcome<()> {
        let mut submission = submission(readings, from, count);
        let done = submission.on_commit();
        self.store.submit(submission);
        done.blocking_recv().map_err(|_| "the store was closed")?;
        Ok(())
    }

    fn saturate(&mut self, readings: &Arc<Readings>, from: u64, count: u64, _: u64, _: u64) -> Outcome<u64> {
        let before = self.commits();
        let (next, end) = (Arc::new(AtomicU64::new(from)), from + count);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..SUBMITTERS {
            let (store, readings, next) = (self.store.clone(), readings.clone(), next.clone());
            tasks.spawn_on(submitter(number, store, readings, next, end), self.runtime.handle());
        }
        self.runtime.block_on(async {
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        Ok(self.commits() - before)
    }

    fn read(&mut self, readings: &Readings) -> Outcome<u64> {
        let (mut reader, mut next) = (self.store.reader(LANE), self.store.cursor(LANE));
        let first = next;
        loop {
            let chunk = reader.read(next, READ)?;
            let Some(last) = chunk.last_seq() else { return Ok(next - first) };
            for record in chunk.iter() {
                let reading = readings.get(next);
                let same = record.payload == reading.payload && record.device == reading.device;
                if record.seq != next || !same {
                    return Err(format!("record {next} reads otherwise").into());
                }
                next += 1;
            }
            if next != last + 1 {
                return Err(format!("records are missing before {last}").into());
            }
        }
    }

    fn drain(&mut self, from: u64, count: u64) -> Outcome<()> {
        let (mut below, end) = (from, from + count);
        while below < end {
            below = (below + DRAIN_STEP).min(end);
            let mut submission = Submission::new();
            submission.change(Change::Acknowledge { lane: LANE, from: below - DRAIN_STEP.min(below), below });
            let done = submission.on_commit();
            self.store.submit(submission);
            done.blocking_recv().map_err(|_| "the store was closed")?;
        }
        match self.store.stats().lanes.get(LANE.index()).map(|lane| lane.waiting) {
            Some(0) => Ok(()),
            left => Err(format!("{left:?} records are left after draining").into()),
        }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.store.close();
        Ok(())
    }
}

/// One connection: submits, waits for the answer, and so on until the records are used up.
async fn submitter(number: u64, store: Store, readings: Arc<Readings>, next: Arc<AtomicU64>, end: u64) -> Outcome<()> {
    let most = (WINDOW as usize * readings.longest()) as u32;
    loop {
        let _permit = store.in_flight().acquire_many(most).await?;
        // Without an await between, numbers are handed out and submitted in one order.
        let first = next.fetch_add(WINDOW, Ordering::Relaxed);
        if first >= end {
            return Ok(());
        }
        let mut submission = submission(&readings, first, WINDOW.min(end - first));
        submission.set_source(number as u32 + 1);
        let done = submission.on_commit();
        store.submit(submission);
        done.await.map_err(|_| "the store was closed")?;
    }
}
