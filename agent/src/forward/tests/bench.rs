//! A forwarder at work, and what its tests do with it: records to forward, options that do not wait, what has arrived.

use std::time::{Duration, Instant};

use super::super::*;
use super::flux;
use crate::shape::wire;
use crate::store::{self, LaneId, NewRecord, Submission};

/// Longest that any condition is waited for.
pub(super) const BOUND: Duration = Duration::from_secs(20);

pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) handle: Handle,
    pub(super) stop: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<()>,
    /// Where the store lives; deleted with this.
    pub(super) folder: tempfile::TempDir,
}

impl Bench {
    pub(super) fn start(options: Options) -> Self {
        let (store, folder) = open_store();
        Self::on(store, folder, options)
    }

    pub(super) fn on(store: Store, folder: tempfile::TempDir, options: Options) -> Self {
        Self::limited(store, folder, options, Limits::default())
    }

    pub(super) fn limited(store: Store, folder: tempfile::TempDir, options: Options, limits: Limits) -> Self {
        let (forwarder, handle) =
            Forwarder::new(options, store.clone(), Wire::new(wire::Options::default())).expect("the options are good");
        let forwarder = forwarder.limited_by(watch::channel(Arc::new(limits)).1);
        let stop = CancellationToken::new();
        let task = tokio::spawn(forwarder.run(stop.clone()));
        Self { store, handle, stop, task, folder }
    }

    pub(super) fn publish(&self, lane: u8, payloads: impl IntoIterator<Item = String>) {
        publish(&self.store, lane, payloads);
    }

    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Stats) -> bool) -> Stats {
        let start = Instant::now();
        loop {
            let stats = self.handle.stats();
            if condition(&stats) {
                return stats;
            }
            assert!(start.elapsed() < BOUND, "{what}: {stats:?} {:?}", self.store.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn until_forwarded(&self, records: u64) -> Stats {
        self.until("forwarded", |stats| stats.forwarded >= records).await
    }

    /// Waits until so many records are put aside and none waits: what the store tells of those put aside goes too.
    pub(super) async fn until_settled(&self, put_aside: u64) -> Stats {
        let waiting = || self.store.stats().lanes.iter().map(|lane| lane.waiting).sum::<u64>();
        self.until("all settled", |stats| stats.put_aside == put_aside && waiting() == 0).await
    }

    /// Stops the forwarder and says how many records still wait in the store.
    pub(super) async fn stop(self) -> u64 {
        let (store, _folder) = self.stop_and_keep().await;
        store.stats().lanes.iter().map(|lane| lane.waiting).sum()
    }

    /// Stops the forwarder and gives the store back.
    pub(super) async fn stop_and_keep(self) -> (Store, tempfile::TempDir) {
        self.stop.cancel();
        self.task.await.expect("the forwarder does not panic");
        (self.store, self.folder)
    }
}

pub(in crate::forward) fn open_store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    (open_in(&folder), folder)
}

pub(super) fn open_in(folder: &tempfile::TempDir) -> Store {
    Store::open(store_options(folder)).expect("a store can be opened").0
}

pub(super) fn store_options(folder: &tempfile::TempDir) -> store::Options {
    store::Options {
        max_size: 64 * 1024 * 1024,
        max_sessions: 10,
        ..store::Options::new(folder.path().to_owned(), "gw-1", &["critical", "normal", "bulk"])
    }
}

pub(super) fn publish(store: &Store, lane: u8, payloads: impl IntoIterator<Item = String>) {
    let mut submission = Submission::new();
    for payload in payloads {
        let record = NewRecord {
            device: "pump",
            topic: "devices/pump/telemetry",
            payload: payload.as_bytes(),
            stamp: store.clock().now(),
            origin: None,
            will: false,
        };
        submission.push(LaneId(lane), &record);
    }
    store.submit(submission);
}

pub(super) fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|number| format!("{{\"n\":{number}}}"))
}

pub(super) fn quick(flux: Flux) -> Options {
    let mut options = Options::new(flux);
    options.batch.max_age = Duration::from_millis(40);
    options.backoff = DelayRange { min: Duration::from_millis(5), max: Duration::from_millis(40) };
    options.probe = DelayRange { min: Duration::from_millis(50), max: Duration::from_millis(200) };
    options.answer_timeout = Duration::from_secs(5);
    options
}

pub(super) fn webhook(flux: &flux::Flux) -> Options {
    let url = format!("http://{}/v1/flux/incoming_webhooks/wh-0123456789/s3cr3t-s3cr3t?x=tail-s3cr3t", flux.address);
    quick(Flux::Webhook { url: Secret::new(url) })
}

pub(super) fn api(flux: &flux::Flux) -> Options {
    quick(Flux::Api {
        base: format!("http://{}/", flux.address),
        app_id: "app".into(),
        channel_id: "channel".into(),
        auth_key_id: Secret::new("keyId-s3cr3t"),
        auth_key: Secret::new("secret-s3cr3t"),
        token_timeout: Duration::from_secs(86_400),
    })
}

/// The numbers that were accepted, in order, gap records left out.
pub(super) fn delivered(flux: &flux::Flux) -> Vec<u64> {
    numbers_of(&flux.accepted())
}

pub(super) fn numbers_of(seen: &[flux::Seen]) -> Vec<u64> {
    let events = seen.iter().flat_map(flux::Seen::events).filter(|event| event["topic"] != "tidegate/gap");
    events.map(|event| event["seq"].as_u64().expect("each event has a seq")).collect()
}
