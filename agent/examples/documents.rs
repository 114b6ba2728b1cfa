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

use clap::builder::PossibleValuesParser;
use clap_complete::Shell;
use tidegate::code::Code;
use tidegate::language::Language;

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
    for page in std::fs::read_dir(&pages)? {
        let path = page?.path();
        std::fs::write(&path, line_by_line(&std::fs::read_to_string(&path)?))?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut completed(), "tidegate", folder)?;
    }
    Ok(())
}

/// A manual page whose section of what stands behind the help, one thing on a line, is set line by line (`groff_man(7)`, `.nf`): filled,
/// it would be one paragraph.
fn line_by_line(page: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in page.lines() {
        if inside && line.starts_with(".SH") {
            out += ".fi\n";
            inside = false;
        }
        out.extend([line, "\n"]);
        if line == ".SH EXTRA" {
            out += ".nf\n";
            inside = true;
        }
    }
    out + if inside { ".fi\n" } else { "" }
}

/// The commands with the values that a shell can offer: the program judges these by itself, to say what is wrong with one in the
/// reader's language.
fn completed() -> clap::Command {
    let languages = Language::WORDS.map(|(name, _)| name);
    // clap keeps names as long as the process lives; this is asked for once a shell.
    let codes = Code::ALL.iter().map(|code| &*code.to_string().leak());
    command::definition()
        .mut_arg("lang", |arg| arg.value_parser(PossibleValuesParser::new(languages)))
        .mut_subcommand("explain", |explain| {
            explain.mut_arg("code", |arg| arg.value_parser(PossibleValuesParser::new(codes)))
        })
}
