//! `tidegate run`: the agent itself.

use std::path::Path;

use tidegate::config::{self, LogTarget};
use tidegate::gateway;
use tidegate::watch::log;

use super::Failure;

/// Reads the configuration, sets logging up, and runs until told to stop.
pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = config::load(path)?;
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
