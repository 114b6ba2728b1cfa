//! `tidegate demo`: the whole path on this machine.

/// What the demo may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the demo until it ends by itself.
pub(crate) fn run(_: &Args) -> Result<(), Box<dyn std::error::Error>> {
    Err("this build has no demo".into())
}
