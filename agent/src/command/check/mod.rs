//! `tidegate check`: looks at the configuration, the machine, the network and the service, and says of each thing how it is
//! and, where it is not good, what to do next.
//!
//! # Constraints
//! - **Never a false red.** [`Outcome::Bad`] is what is known to be so; what could not be judged says so, and why.
//! - **Nothing is disturbed.** It runs beside the service: it takes no lock, binds no port that the service holds, makes no
//!   event in Flux unless told to (`--send-event`), and leaves nothing behind. To a broker it is another client.
//! - Whatever leaves the gateway leaves through [`tidegate::shape::wire`], as the service's traffic does.
//! - Every probe ends: each has its time limit.
//!
//! # Which configuration
//! The file's. Where that cannot be used, what was kept of it when it last worked ([`tidegate::config::kept`]): the service would
//! start with it, or runs with it. Where there is neither, what could not be looked at is told in one line.
//!
//! # How it works
//! [`probe`] has a function for each thing, which is handed what it needs as values of the configuration and gives its findings
//! one by one to [`Tell`], so that a person sees them as they come and `setup` can use one alone. [`report`] shows them.
//!
//! # Exit codes
//! 0 nothing is bad · 1 something is bad · 2 wrong arguments · 4 this user may not read the configuration, so there was nothing
//! to examine.

mod change;
pub(in crate::command) mod finding;
pub(in crate::command) mod offline;
pub(in crate::command) mod probe;
pub(in crate::command) mod report;

use std::path::{Path, PathBuf};

use tidegate::config::kept::Places;
use tidegate::config::{self, Config, DEFAULT_SOCKET, LoadError};
use tidegate::language::Language;
use tidegate::message;
use tidegate::watch::Status;

use self::finding::{Finding, Id, Outcome};
use self::probe::configuration::{self, Read};
use self::probe::kept::Instead;
use self::probe::runner::Runner;
use self::probe::sandbox::Sandbox;
use self::probe::unit::Unit;
use self::report::Report;
use super::{CONFIG, Failure};

/// Takes each finding as it comes.
pub(in crate::command) type Tell<'a> = &'a mut dyn FnMut(Finding);

/// Exit code when there was nothing to examine, for want of permission.
const NOT_PERMITTED: u8 = 4;

/// What to check, and how to show it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file, or `-` for standard input
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Print JSON, for programs: the same in every language; of each line id, result and code never change their meaning
    #[arg(long, conflicts_with = "offline")]
    json: bool,
    /// Judge the file alone: no network, no service, no other part of the machine is looked at
    #[arg(long)]
    offline: bool,
    /// Send one test event through Flux: a flow runs for it, and it counts as an event
    #[arg(long, conflicts_with = "offline")]
    send_event: bool,
    /// Look in this folder first for the configuration that is kept, to compare with it or to use it
    /// [default: the one that systemd names, the store's folder, or /var/lib/tidegate]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

impl Args {
    /// What `setup` ends with.
    pub(super) fn after_setup(config: PathBuf, send_event: bool) -> Self {
        Self { config, json: false, offline: false, send_event, state: None }
    }
}

/// Examines and prints.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let state = std::env::var_os("STATE_DIRECTORY");
    let places = Places::new(&args.config, args.state.as_deref(), state.as_deref());
    if args.offline {
        return offline::run(&args.config, &places, language);
    }
    let mut report = Report::new(language, args.json);
    let read = configuration::look(&args.config, &mut |finding| report.take(finding));
    let not_permitted = matches!(read, Read::NotPermitted);
    match read {
        Read::Config(config, text) => {
            report.head(&args.config, Some(&config.gateway.id));
            report.judged_by(&args.config);
            let tell: Tell<'_> = &mut |finding| report.take(finding);
            let unit = Unit::ask();
            let service = match &text {
                Some(text) => probe::service::look_with(&config.control.socket, &unit, places.source(), text, tell),
                None => probe::service::look(&config.control.socket, &unit, tell),
            };
            probe::unit::look(&unit, service.as_ref(), true, tell);
            probe::credentials::look(&unit, tell);
            let text = text.as_deref().map(|text| (args.config.as_path(), text));
            let sandbox = Sandbox::of(&unit, places.source(), service.as_ref());
            let runner = Runner::find(&unit, service.as_ref()).within(sandbox);
            examine(&config, text, &unit, &runner, service.as_ref(), args.send_event, tell);
        }
        Read::Wrong(error) if args.config == Path::new("-") => {
            report.head(&args.config, None);
            configuration::refused(&error, None, false, &mut |finding| report.take(finding));
            report.take(unexamined());
        }
        Read::Wrong(error) => instead(&error, args, places, &mut report),
        Read::NotPermitted => {
            report.head(&args.config, None);
            // It may run all the same, with the configuration that worked last, or wait for its first one.
            probe::unit::look(&Unit::ask(), None, false, &mut |finding| report.take(finding));
        }
    }
    report.end()?;
    match report.worst() {
        _ if not_permitted => Err(Failure::said(NOT_PERMITTED)),
        Outcome::Bad => Err(Failure::said(super::FAILED)),
        _ => Ok(()),
    }
}

/// The file cannot be used: what the service runs with now and would start with, and the machine by that.
fn instead(error: &LoadError, args: &Args, places: Places, report: &mut Report) {
    let unit = Unit::ask();
    let file = places.source().to_path_buf();
    let running = probe::running::with(&file);
    let elsewhere = probe::kept::elsewhere(&running, unit.state());
    let found = Instead::find(elsewhere.into_iter().fold(places, Places::or_in));
    report.head(&args.config, found.config().map(|config| config.gateway.id.as_str()));
    let tell: Tell<'_> = &mut |finding| report.take(finding);
    configuration::refused(error, Some(&found), !running.is_empty(), tell);
    found.tell(tell);
    let pids: Vec<u32> = running.iter().map(|one| one.pid).collect();
    let starts = found.config().is_some();
    let sockets = sockets(&args.config, &found);
    let service = probe::service::beside_a_bad_file(&sockets, &unit, &file, &pids, starts, tell);
    probe::unit::look(&unit, service.as_ref(), starts, tell);
    probe::credentials::look(&unit, tell);
    let (Some(config), Some((kept, path))) = (found.config(), found.kept()) else {
        return report.take(unexamined());
    };
    let runner = Runner::find(&unit, service.as_ref()).within(Sandbox::of(&unit, &file, service.as_ref()));
    examine(config, Some((path, &kept.text)), &unit, &runner, service.as_ref(), args.send_event, tell);
    report.judged_by(path);
}

/// Where the service of a file that cannot be used may be asked: where what is left of the file says, where what was kept
/// of it says, and where it is unless anything says otherwise.
fn sockets(file: &Path, found: &Instead) -> Vec<PathBuf> {
    let kept = found.kept().and_then(|(kept, _)| kept.control_socket());
    let mut sockets = Vec::new();
    for socket in kept.into_iter().chain(config::control_socket(file).ok()).chain([DEFAULT_SOCKET.into()]) {
        if !sockets.contains(&socket) {
            sockets.push(socket);
        }
    }
    sockets
}

fn unexamined() -> Finding {
    Finding::unknown(
        Id::Rest.of(message!("all the rest")),
        message!("store, devices, clock, line and Flux were not looked at: there is no configuration to judge them by"),
        Some(message!("correct the configuration, then check again")),
    )
}

/// Everything that can be looked at with a configuration that is good. `text`: the file that it stands in, and its text.
fn examine(
    config: &Config,
    text: Option<(&Path, &str)>,
    unit: &Unit,
    runner: &Runner,
    service: Option<&Status>,
    send_event: bool,
    tell: Tell<'_>,
) {
    // An event that is sent shows what without one could not be judged.
    let tell: Tell<'_> = &mut |finding: Finding| {
        if !(send_event && finding.id == Id::FluxEvents && finding.result == Outcome::Unknown) {
            tell(finding);
        }
    };
    if let Some((file, text)) = text {
        probe::permissions::look(file, text, runner, unit, tell);
    }
    probe::terms::look(config, runner, service, tell);
    probe::opening::look(config, runner, unit, service, tell);
    probe::store::look(&config.store, runner, unit, service, tell);
    if let Some(listener) = &config.collect.listener {
        probe::listener::look(listener, unit, runner, service, tell);
    }
    if let Some(address) = config.metrics.bind {
        tell(probe::metrics::look(address, unit.main_pid(), service));
    }
    let clock_is_right = probe::clock::is_right(&config.clock);
    if let Some(broker) = &config.collect.broker {
        probe::broker::look(broker, clock_is_right, service, tell);
    }
    probe::clock::look(&config.clock, service, tell);
    let forward = &config.forward;
    probe::line::look(forward.interface.as_deref(), tell);
    probe::flux::look(forward, clock_is_right, service, tell);
    probe::provider::metadata(&config.provider.metadata, forward, service, tell);
    probe::provider::statuspage(&config.provider.statuspage, forward, service, tell);
    if send_event {
        probe::flux::event(config, tell);
    }
}
