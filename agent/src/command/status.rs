//! `tidegate status`: asks the running agent over its control socket.

mod terminal;
mod watch;

use tidegate::language::Language;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render;

use super::service::Service;
use super::{FAILED, Failure, NOT_RUNNING, print};

/// Which agent, and how to show it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show it live, refreshed each second, until q or Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    #[command(flatten)]
    service: Service,
}

/// Asks and prints.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    if args.watch {
        return watch::run(&args.service.agent, language);
    }
    let status = control::ask(&args.service.agent.socket()?).map_err(|error| {
        let code = if matches!(error, AskError::NotRunning { .. }) { NOT_RUNNING } else { FAILED };
        Failure { code, error: error.into() }
    })?;
    if args.service.json {
        return print(&(serde_json::to_string_pretty(&status)? + "\n"));
    }
    print(&render::human(&status, language))
}
