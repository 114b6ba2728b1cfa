//! Writes the manual pages (section 1, one for each command) and the completions for bash, zsh and fish from the command
//! line's own definitions, into the folder that is given:
//!
//! ```text
//! cargo run -p tidegate --example documents -- target/documents
//!   target/documents/man/tidegate.1, tidegate-run.1, tidegate-buffer-inspect.1, …
//!   target/documents/tidegate.bash, _tidegate, tidegate.fish
//! ```
//! An example and not a command, so that the program on the gateway does not carry what writes them, and so that they are
//! made on the machine that builds, whatever it builds for. The test of the package holds them to the commands there are.
#![forbid(unsafe_code)]

#[allow(dead_code, unreachable_pub, clippy::redundant_pub_crate)]
#[path = "../src/command/mod.rs"]
mod command;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name the folder to write into")?;
    write(&folder)
}

/// Writes all of them; what stood in the folder of manual pages before goes, for a command may be gone.
fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let pages = folder.join("man");
    if pages.exists() {
        std::fs::remove_dir_all(&pages)?;
    }
    std::fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(command::definition().disable_help_subcommand(true), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command::definition(), "tidegate", folder)?;
    }
    Ok(())
}
