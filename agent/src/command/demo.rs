//! `tidegate demo`: the whole path on this machine, with nothing to configure.
//!
//! Real parts: the gateway as `tidegate run` builds it, with a store in a temporary folder, and MQTT devices that publish
//! real readings. Only the endpoint is a look-alike, on loopback. In the middle it is stopped for a few seconds, so that
//! the backlog grows on flash and drains. At the end, what the devices had acknowledged is compared, value by value, with
//! what the endpoint received; anything lost is an error. The folder is removed, also after Ctrl-C and
//! when the terminal goes away.

mod devices;
mod display;
mod flux;
mod folder;
mod ledger;
mod sample;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate::code::Code;
use tidegate::config;
use tidegate::gateway::Gateway;
use tidegate::language::{IntoValue as _, Language, Message, Value};
use tidegate::message;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::devices::{Device, GaveUp};
use self::display::{Display, Figures, REDRAW};
use self::flux::Flux;
use self::folder::{Folder, NoFolder};
use self::ledger::{Ledger, Outcome};

/// How long the gateway may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long the backlog may take to drain once the devices are done. What has not arrived then counts as lost.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// How long the gateway may take to end: longer than a request that is under way may.
const STOP_WITHIN: Duration = Duration::from_secs(35);

/// What the demo may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// When what happens.
#[derive(Debug, Clone, Copy)]
struct Script {
    /// Readings each device publishes, at most what the sample has.
    readings: usize,
    /// Time from one to the next.
    pace: Duration,
    /// When the endpoint is stopped.
    stop_after: Duration,
    /// For how long.
    down_for: Duration,
}

/// Four devices, 300 readings each, in fifteen seconds; the endpoint is away for four of them, in which over 300 readings
/// gather.
const SCRIPT: Script = Script {
    readings: 300,
    pace: Duration::from_millis(50),
    stop_after: Duration::from_secs(5),
    down_for: Duration::from_secs(4),
};

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(super) enum DemoError {
    SetUp {
        what: Message,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(transparent)]
    Folder(#[from] NoFolder),
    NotReady,
    #[error(transparent)]
    Device(#[from] GaveUp),
    Interrupted,
    Lost {
        lost: usize,
    },
    Wrong,
}

impl DemoError {
    /// It in words, without its cause.
    pub(super) fn message(&self) -> Message {
        match self {
            Self::SetUp { what, .. } => message!("cannot set up the demo: {what}", what = what),
            Self::Folder(error) => error.message(),
            Self::NotReady => {
                message!("the gateway did not begin to listen within {time} s", time = READY_WITHIN.as_secs())
            }
            Self::Device(error) => error.message(),
            Self::Interrupted => message!("interrupted"),
            Self::Lost { lost } => {
                message!("{lost} lost; this is a defect, please report it with what stands above", lost = *lost)
            }
            Self::Wrong => message!(
                "what was delivered is not what was collected; this is a defect, please report it with what stands above"
            ),
        }
    }

    /// What to read about it; nothing, if somebody ended it.
    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Self::SetUp { .. } | Self::NotReady => Some(Code::Process),
            Self::Folder(_) => Some(Code::CannotWrite),
            Self::Device(_) | Self::Lost { .. } | Self::Wrong => Some(Code::Defect),
            Self::Interrupted => None,
        }
    }
}

/// Says what was being set up when it failed.
fn set_up<E>(what: Message) -> impl FnOnce(E) -> DemoError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| DemoError::SetUp { what, source: source.into() }
}

/// Runs the demo until it ends by itself.
pub(crate) fn run(_: &Args, language: Language) -> Result<(), Box<dyn std::error::Error>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(set_up(message!("the runtime")))?;
    let result = runtime.block_on(async {
        let interrupted = interrupted().map_err(set_up(message!("a signal handler")))?;
        demo(SCRIPT, Display::stdout(Instant::now(), language), interrupted).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(result?)
}

/// Waits for SIGINT, SIGTERM or SIGHUP: a terminal that is gone, such as a dropped SSH session, must leave no folder.
fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// Sets everything up, plays the script, and takes everything down again whatever came of it.
async fn demo<W: Write>(
    script: Script,
    display: Display<W>,
    interrupted: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    let folder = Folder::make()?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let flux = Flux::start(Arc::clone(&ledger)).await.map_err(set_up(message!("the endpoint")))?;
    let text = configuration(folder.path(), &flux.url());
    let config = config::parse(&text, "the demo's configuration").map_err(set_up(message!("its configuration")))?;
    let gateway = Gateway::start(config, "the demo's own").map_err(set_up(message!("the gateway")))?;

    let mut stage = Stage { display, flux, gateway, ledger, endpoint_up: true };
    let played = tokio::select! {
        played = stage.play(script, folder.path()) => played,
        () = interrupted => Err(DemoError::Interrupted),
    };
    let Stage { mut display, gateway, ledger, .. } = stage;
    // The folder goes last: a store that is still open would make it anew.
    let stopped = timeout(STOP_WITHIN, gateway.stop()).await.map_err(set_up(message!("the gateway's end")));
    drop(folder);
    if played.is_err() {
        display.leave();
    }
    played?;
    stopped?.map_err(set_up(message!("the gateway's end")))?;
    let outcome = lock(&ledger).compare();
    conclude(&mut display, &outcome)
}

/// Everything that is up while the demo plays.
struct Stage<W> {
    display: Display<W>,
    flux: Flux,
    gateway: Gateway,
    ledger: Arc<Mutex<Ledger>>,
    endpoint_up: bool,
}

impl<W: Write> Stage<W> {
    fn introduce(&mut self, script: Script, listener: SocketAddr, folder: &Path) {
        let devices = sample::FILES.len();
        self.display.say(message!(
            "{devices} devices publish {count} real readings over MQTT (QoS 1) to Tidegate\n\
             at {listener}. It writes each to flash before it acknowledges it, in\n\
             {folder},\n\
             and forwards them in batches to a Flux look-alike on this machine.\n",
            devices = devices,
            count = devices * script.readings,
            listener = listener,
            folder = folder.display()
        ));
    }

    /// Devices publish; the endpoint goes and comes back; the backlog drains.
    async fn play(&mut self, script: Script, folder: &Path) -> Result<(), DemoError> {
        let up = timeout(READY_WITHIN, self.gateway.ready()).await.unwrap_or(false);
        let listener = self.gateway.listener_addr().filter(|_| up).ok_or(DemoError::NotReady)?;
        self.introduce(script, listener, folder);
        let mut devices = JoinSet::new();
        for (name, csv) in sample::FILES {
            let device = Device { name, payloads: sample::payloads(csv).take(script.readings).collect() };
            devices.spawn(device.publish(listener, script.pace, Arc::clone(&self.ledger)));
        }
        self.watch_for(script.stop_after).await;
        self.flux.stop().await;
        self.endpoint_up = false;
        self.display.say(message!("        the endpoint is stopped: readings gather on flash"));
        self.watch_for(script.down_for).await;
        self.flux.resume().await.map_err(set_up(message!("the endpoint's return")))?;
        self.endpoint_up = true;
        self.display.say(message!("        the endpoint is back: the backlog drains"));
        while let Some(ended) = self.watch_until_next(&mut devices).await {
            ended?;
        }
        self.drain().await;
        let figures = self.figures();
        self.display.keep(&figures, Instant::now());
        Ok(())
    }

    /// Shows the figures for so long.
    async fn watch_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.show();
            tokio::time::sleep(REDRAW.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Shows the figures until a device has ended; `None` if all have.
    async fn watch_until_next(&mut self, devices: &mut JoinSet<Result<(), GaveUp>>) -> Option<Result<(), DemoError>> {
        loop {
            self.show();
            match timeout(REDRAW, devices.join_next()).await {
                Err(_) => {}
                Ok(None) => return None,
                Ok(Some(Ok(ended))) => return Some(ended.map_err(DemoError::from)),
                Ok(Some(Err(broken))) => return Some(Err(set_up(message!("a device"))(broken))),
            }
        }
    }

    /// Shows the figures until nothing waits and everything has arrived, or it has taken too long.
    async fn drain(&mut self) {
        let end = Instant::now() + DRAIN_WITHIN;
        while Instant::now() < end {
            let waiting = self.gateway.status().counts.waiting;
            let arrived = { lock(&self.ledger).compare().lost() == 0 };
            if waiting == 0 && arrived {
                return;
            }
            self.show();
            tokio::time::sleep(REDRAW).await;
        }
    }

    fn show(&mut self) {
        let figures = self.figures();
        self.display.show(&figures, Instant::now());
    }

    fn figures(&self) -> Figures {
        let counts = self.gateway.status().counts;
        let ledger = lock(&self.ledger);
        Figures {
            collected: ledger.collected() as u64,
            on_flash: counts.stored,
            delivered: ledger.received() as u64,
            waiting: counts.waiting,
            endpoint_up: self.endpoint_up,
        }
    }
}

/// Says how it ended, and whether that is a failure.
fn conclude<W: Write>(display: &mut Display<W>, outcome: &Outcome) -> Result<(), DemoError> {
    for fault in &outcome.faults {
        display.say(message!("received wrongly: {fault}", fault = fault));
    }
    for (device, payload) in &outcome.missing {
        display.say(message!("not received: of {device}, first {payload}", device = device, payload = payload));
    }
    let repeats = match outcome.repeats {
        0 => Value::default(),
        1 => message!(" (1 came twice and was dropped by its id)").into_value(),
        count => message!(" ({count} came twice and were dropped by their ids)", count = count).into_value(),
    };
    display.say(message!(
        "\n{collected} collected, {delivered} delivered, {lost} lost{repeats}",
        collected = outcome.collected,
        delivered = outcome.delivered,
        lost = outcome.lost(),
        repeats = repeats
    ));
    match outcome.lost() {
        0 if outcome.faults.is_empty() => Ok(()),
        0 => Err(DemoError::Wrong),
        lost => Err(DemoError::Lost { lost }),
    }
}

/// A batch closes after a second, where it would be minutes in the field, so that there is something to watch; the
/// delays between attempts are short for the same reason.
fn configuration(folder: &Path, url: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let path = |name: &str| quoted(&folder.join(name).display().to_string());
    format!(
        "[gateway]\nid = \"demo\"\n\
         [collect.listener]\nbind = \"127.0.0.1:0\"\n\
         [store]\npath = {store}\nmax_size = \"64MiB\"\n\
         [forward.flux]\nkind = \"webhook\"\nurl = {url}\n\
         [forward.flux.batch]\nmax_records = 50\nmax_age = \"1s\"\n\
         [forward.backoff]\nmin = \"100ms\"\nmax = \"1s\"\n\
         [limits]\nevents_per_month = \"unlimited\"\n\
         [control]\nsocket = {socket}\n",
        store = path("store"),
        url = quoted(url),
        socket = path("control.sock"),
    )
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
