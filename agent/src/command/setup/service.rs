//! The service after the file was written: started, reloaded or restarted by systemd.
//!
//! # How it works
//! What runs is asked over its control socket and compared with what systemd runs. A service that has the file's text in force
//! is left alone. One that runs is reloaded, and watched until it has taken the file; it is restarted where secrets have
//! changed, which systemd hands over at a start, or where the service says that a key takes effect at a start only.

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate::config::kept::fingerprint;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::program;
use tidegate::watch::{Status, control};

use super::flags::Args;
use super::terminal::Terminal;
use crate::command::check::probe::runner::Runner;
use crate::command::check::probe::unit::{NAME, Unit};
use crate::command::{Failure, print};

/// How long a reload is waited for: the service reads files and answers its control socket meanwhile.
const TAKES: Duration = Duration::from_secs(10);

/// How often it is asked meanwhile.
const EVERY: Duration = Duration::from_millis(100);

/// Who must own the secrets: root where systemd hands them over, else the user that the service runs as. `None`: whoever writes.
pub(super) fn owner_of_secrets(folder: &Path) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let unit = Unit::ask();
    if unit.hands_over(folder) { Some((0, 0)) } else { Some(Runner::find(&unit, None).ids()) }
}

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// The file's text.
    pub(super) text: &'a str,
    /// Whether secrets are among it.
    pub(super) secrets: bool,
    /// The control socket that it names.
    pub(super) socket: &'a Path,
}

/// What the service needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Start,
    Reload,
    Restart,
}

impl Need {
    fn of(unit: &Unit, service: Option<&Status>, written: Written<'_>) -> Self {
        if !unit.is_active() {
            return Self::Start;
        }
        let has_it =
            |status: &Status| status.config_fingerprint == fingerprint(written.text) && status.config_error.is_none();
        match (written.secrets, service) {
            // It answers on another socket than the file says, which a reload does not change.
            (true, _) | (false, None) => Self::Restart,
            (false, Some(status)) if has_it(status) => {
                if status.config_needs_restart.is_empty() {
                    Self::Nothing
                } else {
                    Self::Restart
                }
            }
            (false, Some(_)) => Self::Reload,
        }
    }
}

/// Has the service take the new configuration, or offers to start it. Whether all that was to be done is done.
pub(super) fn tell(
    args: &Args,
    terminal: Option<&mut Terminal>,
    written: Written<'_>,
    language: Language,
) -> Result<bool, Failure> {
    if args.no_start {
        return Ok(true);
    }
    let say = |message: Message| print(&format!("{}\n", message.text(language)));
    let unit = Unit::ask();
    if !unit.is_there() || !rustix::process::geteuid().is_root() {
        let why = match unit {
            _ if unit.is_masked() => {
                message!("the service was left as it is: its unit is masked; systemctl unmask tidegate")
            }
            _ if !args.start => return Ok(true),
            _ if unit.is_there() => message!("the service was not started: that needs root"),
            _ => message!("the service was not started: systemd runs no unit {name} here", name = NAME),
        };
        say(why)?;
        return Ok(!args.start);
    }
    let service = control::ask(written.socket).ok();
    if let Some(status) = service.as_ref().filter(|status| unit.main_pid() != Some(status.pid)) {
        say(message!(
            "the service was started by hand (process {pid}) and was left as it is: end it there, then: systemctl enable --now tidegate",
            pid = status.pid
        ))?;
        return Ok(!args.start);
    }
    let need = Need::of(&unit, service.as_ref(), written);
    let at_boot = args.start && need != Need::Start && !unit.is_enabled();
    if need == Need::Nothing {
        return if at_boot { systemctl(&["enable", NAME], &say) } else { Ok(true) };
    }
    if !agreed(args, terminal, need)? {
        return Ok(true);
    }
    if at_boot && !systemctl(&["enable", NAME], &say)? {
        return Ok(false);
    }
    match need {
        Need::Start => systemctl(&["enable", "--now", NAME], &say),
        Need::Restart => systemctl(&["restart", NAME], &say),
        Need::Reload | Need::Nothing => reload(written, &say),
    }
}

fn agreed(args: &Args, terminal: Option<&mut Terminal>, need: Need) -> Result<bool, Failure> {
    match terminal {
        _ if args.start || (need != Need::Start && args.yes) => Ok(true),
        Some(terminal) if !args.yes => {
            let question = if need == Need::Start {
                message!("Start the service now and at every boot (y/n)?")
            } else {
                message!("Have the service take it now (y/n)?")
            };
            Ok(terminal.agree_still(&question, true)?)
        }
        _ => Ok(false),
    }
}

/// Reloads, and restarts where that is not enough. What the service refuses, the check at the end tells.
fn reload(written: Written<'_>, say: &dyn Fn(Message) -> Result<(), Failure>) -> Result<bool, Failure> {
    let before = control::ask(written.socket).ok().and_then(|status| status.config_error);
    if !systemctl(&["reload", NAME], say)? {
        return Ok(false);
    }
    let wanted = fingerprint(written.text);
    let begun = Instant::now();
    while begun.elapsed() < TAKES {
        if let Ok(status) = control::ask(written.socket) {
            if status.config_fingerprint == wanted && status.config_error.is_none() {
                if status.config_needs_restart.is_empty() {
                    return Ok(true);
                }
                let keys = status.config_needs_restart.join(", ");
                say(message!("a restart is needed for: {keys}", keys = keys))?;
                return systemctl(&["restart", NAME], say);
            }
            if status.config_error.is_some() && status.config_error != before {
                break;
            }
        }
        std::thread::sleep(EVERY);
    }
    say(message!("the service has not taken the file; see why: journalctl -u tidegate -n 50"))?;
    Ok(false)
}

/// Runs it, and says how that ended; what it prints itself is seen, too.
fn systemctl(words: &[&str], say: &dyn Fn(Message) -> Result<(), Failure>) -> Result<bool, Failure> {
    let command = format!("systemctl {}", words.join(" "));
    let done = program::shown("systemctl", words);
    say(if done {
        message!("done: {command}", command = command)
    } else {
        message!("failed: {command}; see why: journalctl -u tidegate -n 50", command = command)
    })?;
    Ok(done)
}
