//! `tidegate notice`: makes, shows and applies signed notices.
//!
//! # Exit codes
//! 0 done (`apply`: it was taken in, now or before; `show`: it may be believed, or nobody asked) · 1 it failed, or the notice is
//! refused: the message says why · 2 wrong arguments · 3 (`apply`) no agent is running behind that socket.

mod apply;
pub(super) mod file;
mod keygen;
mod show;
mod sign;

use tidegate::language::Language;

pub(super) use self::file::FileError;
use super::Failure;

/// What to do with notices.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "A gateway believes a notice for its signature: pin the key that `keygen` prints in [provider.notices].\n\
                  Exit codes: 0 done (apply: it was taken in, now or before), 1 failed or refused, 2 wrong arguments, \
                  3 (apply) no agent is running"
)]
pub(super) enum Which {
    /// Make a key that signs notices, and print what gateways pin
    Keygen(keygen::Args),
    /// Sign a notice that is written as TOML
    Sign(sign::Args),
    /// Show what a signed notice says, and whether it may be believed
    Show(show::Args),
    /// Give a signed notice to the running agent
    Apply(apply::Args),
}

/// Does it.
pub(super) fn run(which: &Which, language: Language) -> Result<(), Failure> {
    match which {
        Which::Keygen(args) => keygen::run(args),
        Which::Sign(args) => sign::run(args, language),
        Which::Show(args) => show::run(args, language),
        Which::Apply(args) => apply::run(args, language),
    }
}

/// Says something beside the answer. A standard error that is closed leaves nobody to tell.
fn note(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "tidegate: {text}");
}
