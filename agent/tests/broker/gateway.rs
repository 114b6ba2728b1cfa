//! The broker client with a store behind it, as the gateway joins them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::clock::SystemClock;
use tidegate::collect::Stats;
use tidegate::collect::broker::{self, Backoff, Deps, Options, Snapshot, State};
use tidegate::collect::mapping::{Rule, Rules};
use tidegate::store::{self, LaneId, ReadLimit, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in these tests: generous, because the machine may be busy; reached only on failure.
const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct Gateway {
    pub(crate) store: Store,
    pub(crate) state: Arc<State>,
    pub(crate) stats: Arc<Stats>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _rules: watch::Sender<Arc<Rules>>,
    folder: tempfile::TempDir,
}

/// What outlasts a stop.
pub(crate) type Kept = (Store, tempfile::TempDir);

/// Options for a broker on this machine, with short delays between attempts.
pub(crate) fn options(port: u16) -> Options {
    let mut options = Options::new("127.0.0.1", port, "gw-test", vec!["devices/#".into()]);
    options.backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_millis(200) };
    options.keep_alive = Duration::from_secs(5);
    options
}

impl Gateway {
    pub(crate) fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (store, _) = Store::open(store::Options {
            max_size: 64 << 20,
            commit_within: Duration::from_millis(1),
            ..store::Options::new(folder.path().join("store"), "gw-test", &["critical", "normal"])
        })
        .expect("the store opens in an empty folder");
        Self::start_on(options, (store, folder))
    }

    pub(crate) fn start_on(options: Options, (store, folder): Kept) -> Self {
        let rule = Rule { topic: "devices/{device}/telemetry".into(), lane: LaneId(1) };
        let rules = Rules::new(vec![rule], None).expect("the rule is one");
        let (sender, rules) = watch::channel(Arc::new(rules));
        let (link, stats, stop) = (Arc::new(State::default()), Arc::new(Stats::default()), CancellationToken::new());
        let deps = Deps {
            store: store.clone(),
            clock: Arc::new(SystemClock::new()),
            rules,
            stats: Arc::clone(&stats),
            state: Arc::clone(&link),
            alarms: tidegate::collect::Alarms::default(),
        };
        let token = stop.clone();
        let task =
            tokio::spawn(async move { broker::run(options, deps, token).await.expect("the options are usable") });
        Self { store, state: link, stats, stop, task, _rules: sender, folder }
    }

    /// Stops as the service does; what it returns is the store to start on again.
    pub(crate) async fn stop(self) -> Kept {
        self.stop.cancel();
        tokio::time::timeout(BOUND, self.task).await.expect("it stops in time").expect("it does not panic");
        (self.store, self.folder)
    }

    /// Waits until the state satisfies `condition`.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begun = Instant::now();
        loop {
            let state = self.state.snapshot();
            if condition(&state) {
                return state;
            }
            assert!(begun.elapsed() < BOUND, "{what} did not come to pass within {BOUND:?}: {state:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How often each payload is stored.
    pub(crate) fn stored(&self) -> BTreeMap<String, usize> {
        let mut reader = self.store.reader(LaneId(1));
        let (mut from, mut found) = (0, BTreeMap::new());
        loop {
            let chunk = reader.read(from, ReadLimit { records: 1000, bytes: 1 << 20 }).expect("the store can be read");
            for record in chunk.iter() {
                *found.entry(String::from_utf8_lossy(record.payload).into_owned()).or_default() += 1;
                from = record.seq + 1;
            }
            if chunk.is_empty() {
                return found;
            }
        }
    }

    /// Waits until every one of these payloads is stored.
    pub(crate) async fn until_stored(&self, payloads: &[String]) {
        let begun = Instant::now();
        loop {
            let stored = self.stored();
            let missing: Vec<_> = payloads.iter().filter(|payload| !stored.contains_key(*payload)).collect();
            if missing.is_empty() {
                return;
            }
            assert!(begun.elapsed() < BOUND, "{} payloads missing, first {:?}", missing.len(), missing.first());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
