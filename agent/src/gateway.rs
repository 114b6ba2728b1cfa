//! Builds the rooms, joins them, and runs until told to stop. The only place that knows all of them.
//!
//! # Constraints
//! - It starts, whatever a power cut, a full disk or a bad edit left behind: a store that cannot be opened now is tried
//!   again every [`OPEN_AGAIN`], `status` says why, and devices find no open port meanwhile, so they keep what they have.
//! - What was acknowledged is finished: on a stop the intakes end first (they answer for what is on flash), then the
//!   forwarder (the request in flight may be answered), then the store.
//! - A reload changes what can be changed or nothing: a bad file leaves the configuration in force as it is.
//! - What limits what may leave is known before anything does, and never waited for (`limits`).
//!
//! # How it works
//! Everything asynchronous shares one thread: the work is moving bytes, the store's own threads wait for the disk, and
//! one thread needs neither locks between tasks nor the memory of more. A supervisor task opens the store, binds the
//! listener, starts the rooms and ends them in order. Telemetry never passes through here.

mod alarm;
mod ask;
mod date;
mod evidence;
mod identity;
mod inbox;
mod limits;
mod options;
mod outages;
mod page;
mod stance;
mod status;
mod supervise;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::clock::synchronised::ThisMachine;
use crate::clock::{self, Clock as _, Stamp, SystemClock};
use crate::collect::broker::State as BrokerLink;
use crate::collect::fields::{self, Fields};
use crate::collect::listener::{Credentials, ListenError};
use crate::collect::mapping::{RuleError, Rules};
use crate::config::{self, Config};
use crate::forward;
use crate::shape::limits::Limits;
use crate::shape::wire::Wire;
use crate::store::{Store, StoreError};
use crate::watch::{self, Status};

pub use limits::limits_of_files;
pub use stance::{notices_of, shown as shown_notices};

/// How long to wait before the store is tried again. One second is quicker than a technician looks and slow enough
/// to cost nothing.
pub const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A topic rule cannot be used.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A rule for fields cannot be used.
    #[error(transparent)]
    Fields(#[from] fields::RuleError),
    /// The endpoint's options cannot be used.
    #[error(transparent)]
    Forward(#[from] forward::OptionsError),
    /// The listener cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The broker's options cannot be used.
    #[error(transparent)]
    Broker(#[from] crate::collect::broker::OptionsError),
    /// The store is in use or not usable by this version: waiting would not help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control socket or the metrics page cannot be had.
    #[error("cannot serve {what}")]
    Watch {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system refused a runtime or a signal handler.
    #[error("cannot set up the process")]
    Process(#[source] std::io::Error),
    /// A room ended by itself, which it never should.
    #[error("{room} ended by itself; this is a defect, please report it with the log")]
    Ended {
        /// Which.
        room: &'static str,
    },
}

/// The configuration in force, and what the last reload said.
#[derive(Debug, Clone)]
struct Loaded {
    config: Arc<Config>,
    source: String,
    at: Stamp,
    needs_restart: Vec<&'static str>,
    error: Option<String>,
}

/// The rooms as far as they are up.
#[derive(Debug)]
enum Rooms {
    /// The store is not open yet.
    Opening { problem: Option<String> },
    /// All of them run.
    Running {
        store: Store,
        forward: forward::Handle,
        credentials: Option<Credentials>,
        plain: Option<SocketAddr>,
        tls: Option<SocketAddr>,
    },
}

/// What the supervisor, the status and a reload share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    loaded: Mutex<Loaded>,
    rooms: Mutex<Rooms>,
    rules: channel::Sender<Arc<Rules>>,
    stats: Arc<crate::collect::Stats>,
    clock: Arc<SystemClock>,
    broker: Arc<BrokerLink>,
    wire: Wire,
    limits: limits::Desk,
    identity: identity::Desk,
    stance: stance::Desk,
    inbox: inbox::Desk,
    outages: outages::Ledger,
    page: page::Desk,
    date: date::Desk,
    evidence: evidence::Desk,
}

impl Shared {
    /// Whom to ask whether the clock is right.
    fn time_settings(&self) -> clock::synchronised::Settings {
        options::time(&self.loaded().config)
    }

    fn loaded(&self) -> Loaded {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running gateway. Must be made within a tokio runtime.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    stop: CancellationToken,
    ready: channel::Receiver<bool>,
    supervisor: JoinHandle<Result<(), GatewayError>>,
}

impl Gateway {
    /// Starts it. What is wrong with the configuration is an error here; a disk that is not usable yet is not (see
    /// [`Gateway::ready`]). `source` names the configuration in `status`.
    pub fn start(config: Config, source: &str) -> Result<Self, GatewayError> {
        let rules = options::rules(&config)?;
        let clock = Arc::new(SystemClock::new());
        let wire = Wire::by_clock(options::wire(&config)?, clock.clone());
        let limits = limits::Desk::new(&config, source);
        let page = page::Desk::new(&config, &wire, &limits.subscribe().borrow())?;
        let date = date::Desk::new(&config, &wire)?;
        let shared = Arc::new(Shared {
            started: Instant::now(),
            limits,
            identity: identity::Desk::default(),
            stance: stance::Desk::new(&config, &clock.now()),
            inbox: inbox::Desk::default(),
            outages: outages::Ledger::default(),
            page,
            date,
            evidence: evidence::Desk::default(),
            loaded: Mutex::new(Loaded {
                config: Arc::new(config),
                source: source.into(),
                at: clock.now(),
                needs_restart: Vec::new(),
                error: None,
            }),
            rooms: Mutex::new(Rooms::Opening { problem: None }),
            rules: channel::Sender::new(rules),
            stats: Arc::default(),
            clock,
            broker: Arc::default(),
            wire: wire.clone(),
        });
        inbox::reload(&shared);
        // Before anything goes through it.
        wire.set_pace(shared.limits.subscribe().borrow().pace());
        let stop = CancellationToken::new();
        let (up, ready) = channel::channel(false);
        // Before the first record comes in.
        clock::synchronised::look(&shared.clock, &shared.time_settings(), &ThisMachine);
        let supervisor = tokio::spawn(supervise::run(Arc::clone(&shared), wire, up, stop.clone()));
        Ok(Self { shared, stop, ready, supervisor })
    }

    /// Waits until devices can connect. `false` if it ended before; [`Gateway::ended`] says why.
    pub async fn ready(&self) -> bool {
        self.ready.clone().wait_for(|up| *up).await.is_ok()
    }

    /// The figures as they stand.
    pub fn status(&self) -> Status {
        status::gather(&self.shared)
    }

    /// What may leave, now and from now on.
    pub fn limits(&self) -> channel::Receiver<Arc<Limits>> {
        self.shared.limits.subscribe()
    }

    /// Where it listens for plain MQTT; `None` before it is ready or if it does not.
    pub fn listener_addr(&self) -> Option<SocketAddr> {
        match &*self.shared.rooms() {
            Rooms::Opening { .. } => None,
            Rooms::Running { plain, .. } => *plain,
        }
    }

    /// Takes a changed configuration file into use as far as that is possible without a restart. A bad file changes
    /// nothing. What happened is logged and shown in `status`.
    pub fn reload(&self, path: &Path) {
        match self.try_reload(path) {
            Ok(changes) => {
                tracing::info!(applied = ?changes.applied, needs_restart = ?changes.needs_restart, "configuration read again");
                if !changes.needs_restart.is_empty() {
                    tracing::warn!("restart Tidegate for these to take effect: {}", changes.needs_restart.join(", "));
                }
            }
            Err(error) => {
                tracing::error!("the changed configuration is not used, the one before stays in force: {error}");
                self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
            }
        }
    }

    fn try_reload(&self, path: &Path) -> Result<config::Changes, String> {
        let told = |error: &dyn std::error::Error| chain(error);
        let config = config::load(path).map_err(|error| told(&error))?;
        let running = self.shared.loaded().config;
        let changes = config::changes(&running, &config);
        let config = options::in_force(config, &running);
        let rules = options::rules(&config).map_err(|error| told(&error))?;
        // The endpoint's options are handed over even if they are the same: a reload is also how an operator says
        // "try again now" after mending something on the other side.
        if let Rooms::Running { store, forward, credentials, .. } = &*self.shared.rooms() {
            // A renewed certificate or a changed password stands behind the same path, so no key tells.
            if let Some(credentials) = credentials {
                credentials.reload().map_err(|error| told(&error))?;
            }
            forward
                .reload(identity::forward(&self.shared, &config, &lane_names(store)))
                .map_err(|error| told(&error))?;
        }
        self.shared.rules.send_replace(rules);
        if let Err(error) = watch::log::set_level(config.log.level.filter()) {
            tracing::warn!("the log level stays as it is: {}", chain(&error));
        }
        let mut loaded = self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.config = Arc::new(config);
        loaded.at = self.shared.clock.now();
        loaded.needs_restart.clone_from(&changes.needs_restart);
        loaded.error = None;
        drop(loaded);
        limits::reload(&self.shared);
        stance::reload(&self.shared);
        page::reload(&self.shared);
        date::reload(&self.shared);
        inbox::reload(&self.shared);
        Ok(changes)
    }

    /// Waits until it has ended by itself: only an error ends it.
    pub async fn ended(&mut self) -> Result<(), GatewayError> {
        match (&mut self.supervisor).await {
            Ok(result) => result,
            Err(_) => Err(GatewayError::Ended { room: "the supervisor" }),
        }
    }

    /// Finishes what was acknowledged and ends.
    pub async fn stop(mut self) -> Result<(), GatewayError> {
        self.stop.cancel();
        self.ended().await
    }
}

/// The rules for fields that a configuration says, for who tries them out.
///
/// # Errors
/// The first rule that cannot be used.
pub fn fields_of_file(rules: &[config::FieldRule], key: Option<&config::Secret>) -> Result<Fields, GatewayError> {
    options::fields(rules, key)
}

/// The store's lanes: those configured, then those that were and still hold something.
fn lane_names(store: &Store) -> Vec<String> {
    store.stats().lanes.into_iter().map(|lane| lane.name).collect()
}

/// Runs a gateway as a process: SIGTERM and SIGINT end it in order, SIGHUP reads the configuration again.
pub fn run(config: Config, config_path: &Path) -> Result<(), GatewayError> {
    // Two blocking threads at most read lanes and resolve names, one verifies passwords; four leave one to spare.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(GatewayError::Process)?;
    let result = runtime.block_on(serve(config, config_path));
    // A name lookup that hangs must not hold the process: the store is closed by now.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(config: Config, config_path: &Path) -> Result<(), GatewayError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(GatewayError::Process)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(GatewayError::Process)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(GatewayError::Process)?;
    let mut gateway = Gateway::start(config, &config_path.display().to_string())?;
    let shared = Arc::clone(&gateway.shared);
    let served = supervise::serve_watch(&shared).await?;
    loop {
        tokio::select! {
            result = gateway.ended() => return result,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => gateway.reload(config_path),
        }
    }
    tracing::info!("stopping: finishing what was acknowledged");
    let result = gateway.stop().await;
    served.cancel();
    result
}
