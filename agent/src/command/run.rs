//! `tidegate run`: the agent itself.

use std::path::Path;

use tidegate::config::{self, LoadError, LogTarget};
use tidegate::gateway;
use tidegate::watch::log;

use super::{Failure, NOT_CONFIGURED};

/// Reads the configuration, sets logging up, and runs until told to stop.
pub(super) fn run(path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        // A file of this name can still be given as `./-`.
        return Err(
            "run takes no configuration from standard input, for it reads it again on SIGHUP; name a file".into()
        );
    }
    let config = config::load(path).map_err(|error| match error {
        LoadError::NotConfigured { .. } => Failure { code: NOT_CONFIGURED, error: error.into() },
        _ => error.into(),
    })?;
    let target = match config.log.target {
        LogTarget::Stderr => log::Target::Stderr,
        LogTarget::Journald => log::Target::Journald,
    };
    log::init(config.log.level.filter(), target)?;
    for warning in &config.warnings {
        tracing::warn!("{}: {warning}", path.display());
    }
    gateway::run(config, path)?;
    Ok(())
}
