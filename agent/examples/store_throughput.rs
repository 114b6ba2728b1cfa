//! Measures the store alone: records per second with many submitters that keep one small batch each under way, and
//! with one submitter that keeps a window of records under way.
//!
//! Usage: `store_throughput [folder] [seconds]`. Every record is 200 bytes of payload, every commit is synced.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidegate::store::{Change, DEFAULT_COMMIT_WITHIN, LaneId, NewRecord, Options, ReadLimit, Store, Submission};

const LANE: LaneId = LaneId(1);

fn open(path: PathBuf) -> Result<Store, Box<dyn std::error::Error>> {
    let delay = std::env::var("COMMIT_WITHIN_US").ok().and_then(|text| text.parse().ok()).map(Duration::from_micros);
    let options = Options::new(path, "gw-1", &["critical", "normal", "bulk"]);
    let options = Options { commit_within: delay.unwrap_or(DEFAULT_COMMIT_WITHIN), ..options };
    Ok(Store::open(options)?.0)
}

async fn submitter(store: Store, source: u32, batch: usize, until: Instant) -> u64 {
    let payload = [b'x'; 200];
    let mut sent = 0;
    while Instant::now() < until {
        let mut submission = Submission::new();
        for _ in 0..batch {
            let (device, topic) = ("d-1", "devices/d-1/telemetry");
            let record = NewRecord {
                device,
                topic,
                payload: &payload,
                stamp: tidegate::clock::Stamp::default(),
                origin: None,
                will: false,
            };
            submission.push(LANE, &record);
        }
        let bytes = submission.bytes() as u32;
        let Ok(_permit) = store.in_flight().acquire_many(bytes).await else { break };
        submission.set_source(source);
        let done = submission.on_commit();
        store.submit(submission);
        if done.await.is_err() {
            break;
        }
        sent += batch as u64;
    }
    sent
}

/// The most memory that was ever resident.
fn memory() -> Result<String, std::io::Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().replace('\t', " "))
}

fn run(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    submitters: usize,
    batch: usize,
    time: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let before = store.stats();
    let start = Instant::now();
    let sent: u64 = runtime.block_on(async {
        let tasks: Vec<_> = (0..submitters)
            .map(|number| tokio::spawn(submitter(store.clone(), number as u32 + 1, batch, start + time)))
            .collect();
        let mut sent = 0;
        for task in tasks {
            sent += task.await.unwrap_or(0);
        }
        sent
    });
    let (seconds, after) = (start.elapsed().as_secs_f64(), store.stats());
    let commits = after.commits - before.commits;
    let memory = memory()?;
    println!(
        "{submitters:4} submitters x {batch:3}: {:9.0} records/s, {:6.0} commits/s, {:4.0} records/commit, {memory}",
        sent as f64 / seconds,
        commits as f64 / seconds,
        sent as f64 / commits as f64
    );
    Ok(())
}

/// Reads all that waits in batches of 500, acknowledging as a forwarder does.
fn drain(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let (mut reader, mut from, mut count) = (store.reader(LANE), store.cursor(LANE), 0_u64);
    loop {
        let chunk = reader.read(from, ReadLimit { records: 500, bytes: 256 * 1024 })?;
        let Some(last) = chunk.last_seq() else { break };
        count += chunk.iter().filter(|record| record.payload.len() == 200).count() as u64;
        from = last + 1;
        if count % 50_000 < 500 {
            let mut submission = Submission::new();
            submission.change(Change::Acknowledge { lane: LANE, from: 0, below: from });
            store.submit(submission);
        }
    }
    println!("drained {count} records, {:.0} records/s", count as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().map_or_else(|| std::env::temp_dir().join("store_throughput"), PathBuf::from);
    let time = Duration::from_secs(arguments.next().map_or(Ok(5), |text| text.parse())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = open(path.clone())?;
    run(&runtime, &store, 1, 100, time)?;
    run(&runtime, &store, 100, 20, time)?;
    run(&runtime, &store, 1, 1, time)?;
    drain(&store)?;
    store.close();
    let start = Instant::now();
    let store = open(path)?;
    println!("reopened in {:?}", start.elapsed());
    store.close();
    println!("at the end, checkpoints of the index included: {}", memory()?);
    Ok(())
}
