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

use std::path::PathBuf;

use tidegate::config::Config;
use tidegate::config::kept::Places;
use tidegate::language::Language;

use self::finding::{Finding, Outcome};
use self::probe::runner::Runner;
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
    /// Print JSON, for programs
    #[arg(long, conflicts_with = "offline")]
    json: bool,
    /// Judge the file alone: no network, no service, no other part of the machine is looked at
    #[arg(long)]
    offline: bool,
    /// Send one test event through Flux: a flow runs for it, and it counts as an event
    #[arg(long, conflicts_with = "offline")]
    send_event: bool,
    /// Compare with the configuration that is kept in this folder
    /// [default: the one that systemd names, the store's folder, or /var/lib/tidegate]
    #[arg(long, value_name = "FOLDER", requires = "offline")]
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
    if args.offline {
        let state = std::env::var_os("STATE_DIRECTORY");
        let places = Places::new(&args.config, args.state.as_deref(), state.as_deref());
        return offline::run(&args.config, &places, language);
    }
    let mut report = Report::new(language, args.json);
    let read = probe::configuration::look(&args.config, &mut |finding| report.take(finding));
    match &read {
        probe::configuration::Read::Config(config) => {
            report.head(&args.config, Some(&config.gateway.id));
            examine(config, args, &mut |finding| report.take(finding));
        }
        probe::configuration::Read::Wrong | probe::configuration::Read::NotPermitted => {
            report.head(&args.config, None);
            // It may run all the same, with the configuration that worked last, or wait for its first one.
            probe::unit::look(&Unit::ask(), None, false, &mut |finding| report.take(finding));
        }
    }
    report.end()?;
    match (&read, report.worst()) {
        (probe::configuration::Read::NotPermitted, _) => Err(Failure::said(NOT_PERMITTED)),
        (_, Outcome::Bad) => Err(Failure::said(super::FAILED)),
        _ => Ok(()),
    }
}

/// Everything that can be looked at with a configuration that is good.
fn examine(config: &Config, args: &Args, tell: Tell<'_>) {
    let unit = Unit::ask();
    let service = probe::service::look(&config.control.socket, tell);
    let service = service.as_ref();
    probe::unit::look(&unit, service, true, tell);
    let runner = Runner::find(&unit, service);
    probe::permissions::look(&args.config, &runner, &unit, tell);
    probe::store::look(&config.store, &runner, &unit, service, tell);
    if let Some(listener) = &config.collect.listener {
        probe::listener::look(listener, &unit, &runner, service, tell);
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
    if args.send_event {
        probe::flux::event(config, tell);
    }
}
