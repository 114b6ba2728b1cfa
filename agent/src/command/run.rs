//! `tidegate run`: the agent itself.

use std::path::Path;

use tidegate::config::{self, LogTarget};
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
    gateway_run(config, path)?;
    Ok(())
}

/// Stands in for `tidegate::gateway::run` until it is there.
fn gateway_run(_: config::Config, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    Err(format!("{} is fine, but this build has no gateway", path.display()).into())
}
