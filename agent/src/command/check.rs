//! `tidegate check`: everything that is wrong with a configuration, or what it was understood to mean and would change.

mod change;
mod offline;

use std::path::PathBuf;

use tidegate::config::kept::Places;

use super::{CONFIG, Failure};

/// Which configuration to check, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file, or `-` for standard input
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Judge the file alone, with the files that it names: no network, no service
    #[arg(long)]
    offline: bool,
    /// Compare with the configuration that is kept in this folder
    /// [default: the one that systemd names, the store's folder, or /var/lib/tidegate]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

/// Checks and prints.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // Nothing is asked that is not in files, so far, whichever way it is called.
    let Args { config, offline: _, state } = args;
    let places = Places::new(config, state.as_deref(), std::env::var_os("STATE_DIRECTORY").as_deref());
    offline::run(config, &places)
}
