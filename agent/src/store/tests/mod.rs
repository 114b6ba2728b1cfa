//! The store as its callers see it, on a disk that fails and forgets.

mod cuts;
mod failure;
mod gaps;
mod hardware;
mod limits;
mod model;
mod outlook;
mod recovery;
mod room;
mod rot;
mod rules;
mod waiting;

use super::disk::faulty::FaultyDisk;
use super::*;
use crate::clock::Stamp;
use std::time::Instant;
use tokio::sync::oneshot;

/// Longest wait for anything.
const BOUND: Duration = Duration::from_secs(20);

const CRITICAL: LaneId = LaneId(0);
const NORMAL: LaneId = LaneId(1);
const BULK: LaneId = LaneId(2);

const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

fn options() -> Options {
    let options = Options::new("/store".into(), "gw-1", &["critical", "normal", "bulk"]);
    Options { max_size: 64 * 1024 * 1024, ..options }
}

/// So many ms after an epoch that is trusted, in the only boot.
fn stamp(wall_ms: u64) -> Stamp {
    Stamp { wall_ms, uptime_ms: wall_ms, boot: 1, trusted: true }
}

fn open(disk: &FaultyDisk) -> (Store, Opened) {
    open_with(disk, options())
}

fn open_with(disk: &FaultyDisk, options: Options) -> (Store, Opened) {
    Store::open_on(options, Arc::new(disk.clone())).expect("the store opens")
}

fn record(payload: &[u8]) -> NewRecord<'_> {
    NewRecord { device: "d-1", topic: "devices/d-1/telemetry", payload, stamp: stamp(1000), origin: None, will: false }
}

fn submission(lane: LaneId, payloads: &[&[u8]]) -> Submission {
    let mut submission = Submission::new();
    for payload in payloads {
        submission.push(lane, &record(payload));
    }
    submission
}

fn send(store: &Store, mut submission: Submission) -> oneshot::Receiver<Committed> {
    let done = submission.on_commit();
    store.submit(submission);
    done
}

fn wait(mut done: oneshot::Receiver<Committed>) -> Committed {
    let start = Instant::now();
    loop {
        match done.try_recv() {
            Ok(committed) => return committed,
            Err(oneshot::error::TryRecvError::Empty) if start.elapsed() < BOUND => std::thread::yield_now(),
            Err(error) => panic!("not committed: {error}"),
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn put(store: &Store, lane: LaneId, payloads: &[&[u8]]) {
    wait(send(store, submission(lane, payloads)));
}

fn change(store: &Store, change: Change) {
    let mut submission = Submission::new();
    submission.change(change);
    wait(send(store, submission));
}

/// Epoch, number and payload of every record from `from` on.
fn read_from(store: &Store, lane: LaneId, from: u64) -> Vec<(String, u64, Vec<u8>)> {
    let mut reader = store.reader(lane);
    let (mut from, mut records) = (from, Vec::new());
    loop {
        let chunk = reader.read(from, ALL).expect("the lane can be read");
        let Some(last) = chunk.last_seq() else { return records };
        records.extend(chunk.iter().map(|one| (one.epoch.to_owned(), one.seq, one.payload.to_vec())));
        from = last + 1;
    }
}

fn payloads(store: &Store, lane: LaneId) -> Vec<Vec<u8>> {
    read_from(store, lane, 0).into_iter().map(|(_, _, payload)| payload).collect()
}

fn numbers(store: &Store, lane: LaneId) -> Vec<u64> {
    read_from(store, lane, 0).into_iter().map(|(_, seq, _)| seq).collect()
}

fn session(id: u64) -> SessionRecord {
    SessionRecord { id, client_id: format!("client-{id}"), expiry_s: 3600, disconnected_ms: None, subscribed: false }
}
