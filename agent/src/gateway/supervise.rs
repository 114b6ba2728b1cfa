//! Brings the rooms up in order, watches them, and takes them down in order.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    GatewayError, OPEN_AGAIN, Rooms, Shared, alarm, ask, date, identity, inbox, lane_names, limits, options, outages,
    page, stance, status,
};
use crate::chain::said;
use crate::clock::Clock;
use crate::clock::synchronised::{self, ThisMachine};
use crate::code::Code;
use crate::collect::listener::Listener;
use crate::collect::{Alarm, Alarms, Subject, broker, listener};
use crate::config::Config;
use crate::forward::Forwarder;
use crate::language::Value;
use crate::message;
use crate::shape::wire::Wire;
use crate::store::{Opened, Store, StoreError};
use crate::watch;
use crate::watch::control::ControlError;

/// The rooms that run, each with what ends it.
struct Running {
    store: Store,
    intakes: CancellationToken,
    forwarding: CancellationToken,
    listening: CancellationToken,
    stance: JoinHandle<()>,
    listener: Option<JoinHandle<()>>,
    broker: Option<JoinHandle<Result<(), broker::OptionsError>>>,
    forwarder: JoinHandle<()>,
    alarms: JoinHandle<()>,
    watching: Vec<JoinHandle<()>>,
}

pub(super) async fn run(
    shared: Arc<Shared>,
    wire: Wire,
    up: channel::Sender<bool>,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    raise_descriptor_limit();
    let time = tokio::spawn(watch_time(Arc::clone(&shared)));
    let folder = tokio::spawn(inbox::watch(Arc::clone(&shared), stop.clone()));
    let result = run_rooms(shared, wire, up, stop).await;
    folder.abort();
    time.abort();
    result
}

/// Asks whether the clock is right, until it is.
async fn watch_time(shared: Arc<Shared>) {
    synchronised::wait(&shared.clock, || shared.time_settings(), ThisMachine).await;
}

async fn run_rooms(
    shared: Arc<Shared>,
    wire: Wire,
    up: channel::Sender<bool>,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    let Some((store, opened)) = open(&shared, &stop).await? else { return Ok(()) };
    // Before the first byte leaves: what was in force before the start is in force again.
    limits::remember(&shared, &store);
    let mut running = match start(&shared, store.clone(), opened, wire.clone()) {
        Ok(running) => running,
        Err(error) => {
            close(store).await;
            return Err(error);
        }
    };
    let limits = spawn(|| limits::keep(Arc::clone(&shared), store, wire, stop.clone()));
    up.send_replace(true);
    let ended = tokio::select! {
        () = stop.cancelled() => None,
        () = finished(running.listener.as_mut()) => Some(message!("the listener")),
        () = finished(running.broker.as_mut()) => Some(message!("the broker intake")),
        _ = &mut running.forwarder => Some(message!("the forwarder")),
    };
    // It has a handle on the store, which is closed when the last one goes.
    limits.abort();
    let result = ended.map_or(Ok(()), |room| Err(GatewayError::Ended { room }));
    end(&shared, running).await;
    result
}

/// Starts a task that `make` makes. One that is made in its caller's frame has a place of its own there, kilobytes of it: the
/// stack of a start was 130 KiB deep, and stays resident.
#[inline(never)]
fn spawn<F>(make: impl FnOnce() -> F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(make())
}

/// Opens the store, again and again if the disk does not allow it now, unless a configuration whose store is elsewhere
/// is there to fall back on. `None` if told to stop before.
async fn open(shared: &Shared, stop: &CancellationToken) -> Result<Option<(Store, Opened)>, GatewayError> {
    let config = shared.loaded().config;
    loop {
        let options = options::store(&config, shared.clock.clone());
        let tried = tokio::task::spawn_blocking(move || Store::open(options)).await;
        let error = match tried {
            Ok(Ok(opened)) => return Ok(Some(opened)),
            Ok(Err(error)) => error,
            Err(_) => return Err(GatewayError::Ended { room: message!("opening the store") }),
        };
        if !may_pass(&error) || shared.impatient {
            return Err(error.into());
        }
        report(shared, &error);
        tokio::select! {
            () = tokio::time::sleep(OPEN_AGAIN) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

/// Whether what keeps the store from opening may pass by itself: what the disk says may; a store that another process
/// holds, or that this version cannot read, does not.
fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { .. })
}

/// Logs a new reason, once, and keeps it for `status`.
fn report(shared: &Shared, error: &StoreError) {
    let text = said(error);
    let mut rooms = shared.rooms();
    if !matches!(&*rooms, Rooms::Opening { problem: Some(known) } if *known == text) {
        tracing::error!(code = %Code::StoreUnusable, "the store cannot be opened, trying again until it can: {text}");
        *rooms = Rooms::Opening { problem: Some(text) };
    }
}

fn start(shared: &Arc<Shared>, store: Store, opened: Opened, wire: Wire) -> Result<Running, GatewayError> {
    let config = shared.loaded().config;
    for line in &opened.report {
        tracing::warn!("store: {line}");
    }
    let alarms = Alarms::default();
    let clock: Arc<dyn Clock> = shared.clock.clone();
    let deps = listener::Deps {
        store: store.clone(),
        clock: clock.clone(),
        rules: shared.rules.subscribe(),
        kept: opened.sessions,
        next_session_id: opened.next_session_id,
        stats: Arc::clone(&shared.stats),
        alarms: alarms.clone(),
    };
    let bind = |config: &_| Listener::bind(options::listener(config), deps);
    let listener = config.collect.listener.as_ref().map(bind).transpose()?;
    let told_on = |options| broker::Options { alarm_topic: config.alarm.topic.clone(), ..options };
    let broker_options = config.collect.broker.as_ref().map(options::broker).map(told_on);
    if let Some(options) = &broker_options {
        options.validate()?;
    }
    outages::open(shared, &config.store.path, &config.gateway.id);
    identity::open(shared, &store);
    let options = identity::forward(shared, &config, &lane_names(&store));
    let (forwarder, handle) = Forwarder::new(options, store.clone(), wire)?;
    stance::open(shared, &store);
    let (teller, said) = tokio::sync::mpsc::channel(crate::forward::TOLD_WAITING);
    let (go, probes) = shared.stance.go();
    let forwarder = forwarder.limited_by(shared.limits.subscribe()).let_by(go, probes);
    let forwarder = forwarder.rested(stance::rest(shared)).telling(teller);
    let told = handle.rate_limit();
    let (plain, tls) = listener.as_ref().map_or((None, None), |bound| (bound.local_addr(), bound.tls_addr()));
    let credentials = listener.as_ref().map(Listener::credentials);
    *shared.rooms() = Rooms::Running { store: store.clone(), forward: handle, credentials, plain, tls };

    let [intakes, forwarding, listening] = std::array::from_fn(|_| CancellationToken::new());
    spawn(|| limits::follow(Arc::clone(shared), told, forwarding.clone()));
    spawn(|| page::keep(Arc::clone(shared), forwarding.clone()));
    spawn(|| date::keep(Arc::clone(shared), forwarding.clone()));
    spawn(|| identity::follow(Arc::clone(shared), store.clone(), forwarding.clone()));
    let broker = broker_options.map(|options| {
        let deps = broker::Deps {
            store: store.clone(),
            clock,
            rules: shared.rules.subscribe(),
            stats: Arc::clone(&shared.stats),
            state: Arc::clone(&shared.broker),
            alarms: alarms.clone(),
        };
        spawn(|| broker::run(options, deps, intakes.clone()))
    });
    tracing::info!(
        gateway = config.gateway.id,
        plain = plain.map(tracing::field::display),
        tls = tls.map(tracing::field::display),
        "ready"
    );
    Ok(Running {
        listener: listener.map(|listener| spawn(|| listener.run(intakes.clone()))),
        broker,
        forwarder: spawn(|| forwarder.run(forwarding.clone())),
        stance: spawn(|| stance::keep(Arc::clone(shared), store.clone(), said, listening.clone())),
        watching: vec![
            spawn(|| outages::follow(Arc::clone(shared), listening.clone())),
            spawn(|| alarm::watch(Arc::clone(shared), alarms.clone(), listening.clone())),
        ],
        alarms: spawn(|| raise_alarms(store.clone(), alarms)),
        store,
        intakes,
        forwarding,
        listening,
    })
}

/// Waits for a room that may not be there.
async fn finished<T>(room: Option<&mut JoinHandle<T>>) {
    match room {
        Some(handle) => drop(handle.await),
        None => std::future::pending().await,
    }
}

/// Intakes first, so that nothing new comes; then the forwarder; then the machine; then the store.
async fn end(shared: &Arc<Shared>, running: Running) {
    running.intakes.cancel();
    if let Some(listener) = running.listener.filter(|room| !room.is_finished()) {
        let _ = listener.await;
    }
    if let Some(broker) = running.broker.filter(|room| !room.is_finished()) {
        let _ = broker.await;
    }
    running.forwarding.cancel();
    if !running.forwarder.is_finished() {
        let _ = running.forwarder.await;
    }
    // It has heard all that came of the last requests, and makes it last.
    running.listening.cancel();
    let _ = running.stance.await;
    for room in running.watching {
        let _ = room.await;
    }
    outages::close(shared).await;
    running.alarms.abort();
    close(running.store).await;
}

async fn close(store: Store) {
    // Joining the writer blocks; a panic in it has been logged by the store.
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
}

/// Tells people near the gateway, over `tidegate/alarm`, when nothing can be stored, and when it can again.
async fn raise_alarms(store: Store, alarms: Alarms) {
    let mut progress = store.progress();
    let mut known = None;
    while progress.changed().await.is_ok() {
        let stalled = store.stats().withheld();
        if stalled != known {
            tell(&alarms, stalled.as_ref(), store.clock().now().wall_ms);
            known = stalled;
        }
        // Commits come by the thousand; their figures are worth a look once a second.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// Tells that the store stands still and why, or that it no longer does. The store has logged it.
fn tell(alarms: &Alarms, stalled: Option<&Value>, time_ms: u64) {
    let Some(reason) = stalled else {
        let text = serde_json::json!({"alarm": "store", "state": "recovered", "time_ms": time_ms});
        alarms.end(Subject::Store, Alarm(text.to_string().into()));
        return;
    };
    let text =
        serde_json::json!({"alarm": "store", "state": "stalled", "reason": reason.to_string(), "time_ms": time_ms});
    alarms.raise(Subject::Store, Alarm(text.to_string().into()));
}

/// The control socket and the metrics page, being served.
pub(super) struct Served {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Served {
    /// Serves them no more; the socket is gone when this returns.
    pub(super) async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Serves the control socket and the metrics page, or neither.
pub(super) async fn serve_watch(shared: &Arc<Shared>) -> Result<Served, GatewayError> {
    let config = shared.loaded().config;
    let stop = CancellationToken::new();
    let source: watch::Source = {
        let shared = Arc::clone(shared);
        Arc::new(move || status::gather(&shared))
    };
    let control = match watch::control::bind(&config.control.socket) {
        Ok(control) => control,
        Err(error) => return Err(no_control(error, &config).await),
    };
    let page = match config.metrics.bind {
        None => None,
        Some(address) => {
            let page = watch::metrics::bind(address).await;
            Some(
                page.map_err(|error| GatewayError::Watch { what: message!("the metrics page"), source: error.into() })?,
            )
        }
    };
    let rooms: watch::control::Rooms =
        Arc::new([("buffer", ask::streams(shared, stop.clone())), ("provider", stance::streams(shared))]);
    let mut tasks = vec![tokio::spawn(control.serve(Arc::clone(&source), rooms, stop.clone()))];
    tasks.extend(page.map(|page| tokio::spawn(watch::metrics::serve_on(page, source, stop.clone()))));
    Ok(Served { stop, tasks })
}

/// Why there is no control socket. Where an agent answers there that has this store, that is the reason a person can act on: this
/// one was started beside the service.
async fn no_control(error: ControlError, config: &Config) -> GatewayError {
    if let ControlError::InUse { .. } = error {
        let (socket, store) = (config.control.socket.clone(), config.store.path.clone());
        let same = move || {
            let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            watch::control::ask(&socket).is_ok_and(|other| real(Path::new(&other.store.path)) == real(&store))
        };
        if tokio::task::spawn_blocking(same).await.unwrap_or(false) {
            return StoreError::Locked { path: config.store.path.display().to_string() }.into();
        }
    }
    GatewayError::Watch { what: message!("the control socket"), source: error.into() }
}

/// Lets the process have as many descriptors as it may: a connection is one, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stall_is_in_force_until_the_store_has_recovered() {
        let alarms = Alarms::default();
        tell(&alarms, Some(&Value::Text("no space".into())), 7);
        let mut heard = alarms.subscribe();
        let text = heard.next().await.expect("in force").0;
        assert_eq!(&*text, r#"{"alarm":"store","reason":"no space","state":"stalled","time_ms":7}"#);
        tell(&alarms, None, 8);
        assert!(heard.next().await.expect("told").0.contains("recovered"));
        tell(&alarms, Some(&Value::Text("again".into())), 9);
        assert!(alarms.subscribe().next().await.expect("in force").0.contains("again"), "the one before is over");
    }
}
