//! `tidegate config`: configurations to begin with, and the one to go back to.

use std::path::PathBuf;

use tidegate::code::Code;
use tidegate::config::DEFAULT_FILE;
use tidegate::config::kept::Places;
use tidegate::message;
use tidegate::store::disk::OsDisk;

use super::{CONFIG, FAILED, Failure, print};

/// Which configuration to print.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Which {
    /// Print the default configuration with every key, its default and what it is for
    Default,
    /// Print the configuration that last worked, as it was kept: the text that the file had then
    Kept(KeptArgs),
}

/// Of which file.
#[derive(Debug, clap::Args)]
pub(super) struct KeptArgs {
    /// The configuration file that it was kept of
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Look for it in this folder first
    /// [default: the one that systemd names, the store's folder, or /var/lib/tidegate]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

/// Prints it.
pub(super) fn run(which: &Which) -> Result<(), Failure> {
    match which {
        Which::Default => print(DEFAULT_FILE),
        Which::Kept(args) => kept(args),
    }
}

fn kept(args: &KeptArgs) -> Result<(), Failure> {
    let systemd = std::env::var_os("STATE_DIRECTORY");
    let found = Places::new(&args.config, args.state.as_deref(), systemd.as_deref()).find(&OsDisk);
    match (found.kept, found.problems.into_iter().next()) {
        (Some((kept, _)), _) => print(&kept.text),
        (None, Some(problem)) => Err(problem.into()),
        (None, None) => {
            let folders: Vec<String> = found.looked.iter().map(|folder| folder.display().to_string()).collect();
            let (file, folders) = (args.config.display(), folders.join(", "));
            let text = message!(
                "nothing is kept of {file} in {folders}: it is kept once the gateway has come up with it; if it has, name the state directory or the store's folder (--state), and else write the file anew (tidegate setup, tidegate config default)",
                file = file,
                folders = folders
            );
            Err(Failure::coded(FAILED, Code::ConfigUnreadable, text))
        }
    }
}
