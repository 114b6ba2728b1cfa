//! The service after the file was written: started, reloaded or restarted by systemd.

use std::path::Path;
use std::process::{Command, Stdio};

use tidegate::language::Language;
use tidegate::message;
use tidegate::watch::control;

use super::flags::Args;
use super::terminal::Terminal;
use crate::command::check::probe::runner::Runner;
use crate::command::check::probe::unit::{NAME, Unit};
use crate::command::{Failure, print};

/// Who must own the secrets: root where systemd hands them over, else the user that the service runs as. `None`: whoever writes.
pub(super) fn owner_of_secrets(folder: &Path) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let unit = Unit::ask();
    if unit.hands_over(folder) { Some((0, 0)) } else { Some(Runner::find(&unit, None).ids()) }
}

/// Has the service take the new configuration, or offers to start it.
pub(super) fn tell(
    args: &Args,
    terminal: Option<&mut Terminal>,
    secrets: bool,
    socket: &Path,
    language: Language,
) -> Result<(), Failure> {
    let unit = Unit::ask();
    if args.no_start || !unit.is_there() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let runs = control::ask(socket).is_ok();
    let words: &[&str] = match (runs, secrets) {
        // Secrets that systemd hands over are read at the start.
        (true, true) => &["restart", NAME],
        (true, false) => &["reload", NAME],
        (false, _) => &["enable", "--now", NAME],
    };
    let agreed = match terminal {
        _ if args.start || (runs && args.yes) => true,
        Some(terminal) if !args.yes => {
            let question = if runs {
                message!("Have the service take it now (y/n)?")
            } else {
                message!("Start the service now and at every boot (y/n)?")
            };
            terminal.agree_still(&question, true)?
        }
        _ => false,
    };
    if !agreed {
        return Ok(());
    }
    let command = format!("systemctl {}", words.join(" "));
    let done = Command::new("systemctl")
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let said = if done {
        message!("done: {command}", command = command)
    } else {
        message!("failed: {command}; see why: journalctl -u tidegate -n 50", command = command)
    };
    print(&format!("{}\n", said.text(language)))
}
