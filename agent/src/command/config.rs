//! `tidegate config`: configurations to begin with.

use tidegate::config::DEFAULT_FILE;

use super::{Failure, print};

/// Which configuration to print.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Which {
    /// Print the default configuration with every key, its default and what it is for
    Default,
}

/// Prints it.
pub(super) fn run(which: &Which) -> Result<(), Failure> {
    match which {
        Which::Default => print(DEFAULT_FILE),
    }
}
