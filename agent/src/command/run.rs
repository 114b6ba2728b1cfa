//! `tidegate run`: the agent itself.

use std::path::Path;

use tidegate::config::LogTarget;
use tidegate::config::kept::Places;
use tidegate::gateway::{self, Start};
use tidegate::message;
use tidegate::watch::log;

use super::{FAILED, Failure, NOT_CONFIGURED};

/// Reads the configuration, sets logging up, and runs until told to stop.
///
/// `state`: the state directory, where the configuration that last worked is kept; without it the one that systemd names,
/// and else the store's folder.
pub(super) fn run(path: &Path, state: Option<&Path>) -> Result<(), Failure> {
    serve(path, state).inspect_err(|failure| gateway::last_word(&failure.brief()))
}

fn serve(path: &Path, state: Option<&Path>) -> Result<(), Failure> {
    if path == Path::new("-") {
        // A file of this name can still be given as `./-`.
        return Err(message!(
            "run takes no configuration from standard input, for it reads it again on SIGHUP; name a file"
        )
        .into());
    }
    let start = Start::choose(Places::new(path, state, std::env::var_os("STATE_DIRECTORY").as_deref()));
    let start = start.map_err(|error| {
        let code = if error.is_unconfigured() { NOT_CONFIGURED } else { FAILED };
        Failure { code, error: error.into() }
    })?;
    let config = start.config();
    let target = match config.log.target {
        LogTarget::Stderr => log::Target::Stderr,
        LogTarget::Journald => log::Target::Journald,
    };
    log::init(config.log.level.filter(), target)?;
    for warning in &config.warnings {
        tracing::warn!("{}: {warning}", start.source());
    }
    gateway::run(start)?;
    Ok(())
}
