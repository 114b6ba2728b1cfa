//! `tidegate status`: asks the running agent over its control socket.

use std::path::{Path, PathBuf};

use tidegate::config;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render;

use super::{CONFIG, FAILED, Failure, NOT_RUNNING, print};

/// Which agent, and how to show it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// The agent's control socket; otherwise the one that the configuration names
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration that names the socket [default: /etc/tidegate/tidegate.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Asks and prints.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let status = control::ask(&socket(args)?).map_err(|error| {
        let code = if matches!(error, AskError::NotRunning { .. }) { NOT_RUNNING } else { FAILED };
        Failure { code, error: error.into() }
    })?;
    if args.json { print(&(serde_json::to_string_pretty(&status)? + "\n")) } else { print(&render::human(&status)) }
}

fn socket(args: &Args) -> Result<PathBuf, Failure> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    if let Some(file) = &args.config {
        return Ok(config::control_socket(file)?);
    }
    // Without the file, or where this user may not read it, the socket is most likely where it is by default.
    Ok(config::control_socket(Path::new(CONFIG)).unwrap_or_else(|_| PathBuf::from(config::DEFAULT_SOCKET)))
}
