//! Builds the rooms, joins them, and runs until told to stop. The only place that knows all of them.
//!
//! # Constraints
//! - It starts, whatever a power cut, a full disk or a bad edit left behind: a store that cannot be opened now is tried
//!   again every [`OPEN_AGAIN`], `status` says why, and devices find no open port meanwhile, so they keep what they have.
//! - What was acknowledged is finished: on a stop the intakes end first (they answer for what is on flash), then the
//!   forwarder (the request in flight may be answered), then the store.
//! - A reload changes what can be changed or nothing: a bad file leaves the configuration in force as it is. At the start
//!   the one that last worked is used instead of it (`live`).
//! - What limits what may leave is known before anything does, and never waited for (`limits`).
//!
//! # How it works
//! Everything asynchronous shares one thread: the work is moving bytes, the store's own threads wait for the disk, and
//! one thread needs neither locks between tasks nor the memory of more. A supervisor task opens the store, binds the
//! listener, starts the rooms and ends them in order. Telemetry never passes through here.

mod alarm;
mod ask;
mod date;
mod devices;
mod evidence;
mod identity;
mod inbox;
mod limits;
mod live;
pub mod of_file;
mod options;
mod outages;
mod page;
mod service;
mod stance;
mod status;
mod supervise;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::synchronised::ThisMachine;
use crate::clock::{self, Clock as _, SystemClock};
use crate::code::Code;
use crate::collect::broker::State as BrokerLink;
use crate::collect::fields::{self, Fields};
use crate::collect::listener::{Credentials, ListenError};
use crate::collect::mapping::{RuleError, Rules};
use crate::config::{self, Config};
use crate::forward;
use crate::language::{Message, Value};
use crate::message;
use crate::shape::limits::Limits;
use crate::shape::wire::Wire;
use crate::store::{Store, StoreError};
use crate::watch::Status;
use live::Loaded;

pub use limits::limits_of_files;
pub use live::{Start, StartError};
pub use stance::{notices_of, shown as shown_notices};

/// How long to wait before the store is tried again. One second is quicker than a technician looks and slow enough
/// to cost nothing.
pub const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
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
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control socket or the metrics page cannot be had.
    Watch {
        /// Which.
        what: Message,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system refused a runtime or a signal handler.
    Process(#[source] std::io::Error),
    /// A room ended by itself, which it never should.
    Ended {
        /// Which.
        room: Message,
    },
}

impl GatewayError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Rule(error) => error.message(),
            Self::Fields(error) => error.message(),
            Self::Forward(error) => error.message(),
            Self::Listen(error) => error.message(),
            Self::Broker(error) => error.message(),
            Self::Store(error) => error.message(),
            Self::Read { path, .. } => message!("cannot read {path}", path = path.display()),
            Self::Watch { what, .. } => message!("cannot serve {what}", what = what),
            Self::Process(_) => message!("cannot set up the process"),
            Self::Ended { room } => {
                message!("{room} ended by itself; this is a defect, please report it with the log", room = room)
            }
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Rule(_) | Self::Fields(_) | Self::Forward(_) | Self::Broker(_) => Code::ConfigWrong,
            Self::Listen(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Read { .. } => Code::Secret,
            Self::Watch { .. } => Code::Serve,
            Self::Process(_) => Code::Process,
            Self::Ended { .. } => Code::Defect,
        }
    }
}

/// The rooms as far as they are up.
#[derive(Debug)]
enum Rooms {
    /// The store is not open yet.
    Opening { problem: Option<Value> },
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
    /// A store that cannot be opened is not waited for.
    impatient: bool,
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
        Self::begin(live::Chosen::unkept(config, source))
    }

    fn begin(chosen: live::Chosen) -> Result<Self, GatewayError> {
        let live::Chosen { config, origin, refused, impatient } = chosen;
        let rules = options::rules(&config)?;
        let clock = Arc::new(SystemClock::new());
        let wire = Wire::by_clock(options::wire(&config.forward)?, clock.clone());
        let limits = limits::Desk::new(&config, &origin.source);
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
                origin,
                at: clock.now(),
                needs_restart: Vec::new(),
                error: refused,
            }),
            impatient,
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
        live::reload(&self.shared, path);
    }

    /// Waits until it has ended by itself: only an error ends it.
    pub async fn ended(&mut self) -> Result<(), GatewayError> {
        match (&mut self.supervisor).await {
            Ok(result) => result,
            Err(_) => Err(GatewayError::Ended { room: message!("the supervisor") }),
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
pub fn run(start: Start) -> Result<(), GatewayError> {
    // Two blocking threads at most read lanes and resolve names, one verifies passwords; four leave one to spare.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(GatewayError::Process)?;
    let result = runtime.block_on(serve(start));
    // A name lookup that hangs must not hold the process: the store is closed by now.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// What the process is told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, GatewayError> {
        let heard = |kind| signal(kind).map_err(GatewayError::Process);
        Ok(Self {
            terminate: heard(SignalKind::terminate())?,
            interrupt: heard(SignalKind::interrupt())?,
            hangup: heard(SignalKind::hangup())?,
        })
    }
}

/// Serves with the configuration that was chosen; with the one that is kept if the gateway does not come up with it.
async fn serve(mut start: Start) -> Result<(), GatewayError> {
    let mut signals = Signals::listen()?;
    loop {
        start.tell();
        match serve_with(&mut start, &mut signals).await {
            Err(error) if start.falls_back(&error) => {}
            result => return result,
        }
    }
}

async fn serve_with(start: &mut Start, signals: &mut Signals) -> Result<(), GatewayError> {
    let mut gateway = Gateway::begin(start.chosen())?;
    let shared = Arc::clone(&gateway.shared);
    let served = match supervise::serve_watch(&shared).await {
        Ok(served) => served,
        Err(error) => {
            // It says why it ended, if it did; this is why it has to.
            let _ = gateway.stop().await;
            return Err(error);
        }
    };
    let service = service::Service::start(&shared, gateway.ready.clone());
    let keeper = live::Keeper::new(start.places().clone());
    let (mut ready, mut up) = (gateway.ready.clone(), false);
    let ended = loop {
        tokio::select! {
            result = gateway.ended() => break Some(result),
            true = async { ready.wait_for(|up| *up).await.is_ok() }, if !up => {
                up = true;
                start.came_up();
                keeper.keep(&shared);
            }
            _ = signals.terminate.recv() => break None,
            _ = signals.interrupt.recv() => break None,
            _ = signals.hangup.recv() => {
                service.reloading();
                gateway.reload(start.places().source());
                if up {
                    keeper.keep(&shared);
                }
                service.reloaded();
            }
        }
    };
    let result = if let Some(result) = ended {
        result
    } else {
        service.stopping();
        tracing::info!("stopping: finishing what was acknowledged");
        gateway.stop().await
    };
    service.stopped();
    served.end().await;
    result
}
