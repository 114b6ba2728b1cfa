//! The running service, asked over its control socket.

use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config::kept::fingerprint;
use tidegate::config::{DEFAULT_SOCKET, first_of_lines};
use tidegate::language::{IntoValue as _, Message, Value};
use tidegate::message;
use tidegate::watch::Status;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render::time;

use super::unit::Unit;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Outcome, Subject};

fn what() -> Subject {
    Id::Service.of(message!("service"))
}

/// Asks it; hands its status out, if it answers.
pub(in crate::command) fn look(socket: &Path, unit: &Unit, tell: Tell<'_>) -> Option<Status> {
    let (status, finding) = ask(socket, unit);
    tell(finding);
    status
}

/// The same, where it is to run with `file` (absolute), whose text is `text`: an agent that answers there with another file is
/// told as that, and one that has not read this text yet is.
pub(in crate::command) fn look_with(
    socket: &Path,
    unit: &Unit,
    file: &Path,
    text: &str,
    tell: Tell<'_>,
) -> Option<Status> {
    let (status, finding) = ask(socket, unit);
    let finding = match &status {
        Some(status) if !status.config_file.is_empty() && Path::new(&status.config_file) != file => {
            with_another(status)
        }
        Some(status) if finding.result == Outcome::Good && status.config_fingerprint != fingerprint(text) => {
            Finding::good(
                what(),
                message!(
                    "it runs (process {pid}), with what it read from the file on {time}; the file was changed since, and takes effect with systemctl reload tidegate",
                    pid = status.pid,
                    time = time(status.config_loaded_ms)
                ),
            )
        }
        _ => finding,
    };
    tell(finding);
    status
}

fn with_another(status: &Status) -> Finding {
    Finding::attention(
        what(),
        message!(
            "an agent with another file runs (process {pid}, {file}): what follows takes it for the service",
            pid = status.pid,
            file = &status.config_file
        ),
        Code::Serve,
        message!("if both are to run, give each its own [control] socket, [store] path and ports"),
    )
}

fn ask(socket: &Path, unit: &Unit) -> (Option<Status>, Finding) {
    match asked(socket) {
        Ok(status) => {
            let finding = runs(&status);
            (Some(status), finding)
        }
        Err(AskError::NotRunning { .. }) => (None, ended(socket, start(unit))),
        Err(error) => (None, unasked(&error)),
    }
}

/// Asks; a second time where nothing came, so that a moment in which the machine was busy is no hang.
fn asked(socket: &Path) -> Result<Status, AskError> {
    control::ask(socket).or_else(|error| match error {
        AskError::Silent { .. } | AskError::Io { .. } => control::ask(socket),
        _ => Err(error),
    })
}

fn unasked(error: &AskError) -> Finding {
    if let (AskError::Silent { .. } | AskError::Io { .. }, Some(code)) = (error, error.code()) {
        let next = message!(
            "wait two minutes and check again; if it is the same: systemctl restart tidegate, and see why: journalctl -u tidegate -n 50"
        );
        return Finding::bad(what(), error.message(), code, next);
    }
    let said = message!("it could not be asked: {error}", error = error.message());
    Finding::unknown(what(), said, Some(message!("run it again with sudo")))
}

fn runs(status: &Status) -> Finding {
    let pid = status.pid;
    match &status.config_error {
        Some(error) if status.config_kept => with_kept(status, Some(refused(status, error))),
        Some(error) => Finding::attention(
            what(),
            message!(
                "it runs (process {pid}), with a configuration from before: {error}",
                pid = pid,
                error = refused(status, error)
            ),
            Code::ReloadRefused,
            reload(),
        ),
        None if !status.config_needs_restart.is_empty() => Finding::attention(
            what(),
            message!(
                "it runs (process {pid}); not in effect yet: {keys}",
                pid = pid,
                keys = status.config_needs_restart.join(", "),
            ),
            Code::RestartNeeded,
            message!("restart it when it suits you: systemctl restart tidegate"),
        ),
        None => Finding::good(what(), message!("it runs (process {pid})", pid = pid)),
    }
}

fn ended(socket: &Path, next: Message) -> Finding {
    let said = message!("it does not run: nobody answers on {socket}", socket = socket.display());
    Finding::attention(what(), said, Code::NotRunning, next)
}

/// What to do where it does not run; where systemd is at it, there is nothing to start.
fn start(unit: &Unit) -> Message {
    if unit.is_starting() {
        return message!("systemd is about to start it by itself: see why it ended: journalctl -u tidegate -n 50");
    }
    message!("start it: systemctl enable --now tidegate")
}

/// What is wrong with the file that it read, in one line.
fn refused(status: &Status, english: &str) -> Value {
    first_of_lines(&status.config_error_lines).unwrap_or_else(|| english.into_value())
}

/// It runs with what was kept.
fn with_kept(status: &Status, why: Option<Value>) -> Finding {
    let (pid, path) = (status.pid, &status.config);
    let said = message!("it runs (process {pid}), with what worked last, kept in {path}", pid = pid, path = path);
    let said = match why {
        Some(why) => message!("{said}: {why}", said = said, why = why),
        None => said,
    };
    // The file is not what the gateway does, whatever can be seen to be wrong with it from here.
    Finding::bad(what(), said, Code::ConfigKept, reload())
}

fn reload() -> Message {
    message!("correct the file, then reload: systemctl reload tidegate")
}

/// The service, whose file cannot be used: the first of these sockets behind which an agent answers that reads it. `file`:
/// that file, absolute; `others`: processes that run with it; `starts`: whether it would start, with what was kept.
pub(in crate::command) fn beside_a_bad_file(
    sockets: &[PathBuf],
    unit: &Unit,
    file: &Path,
    others: &[u32],
    starts: bool,
    tell: Tell<'_>,
) -> Option<Status> {
    let (mut silent, mut other) = (None, None);
    for socket in sockets {
        match asked(socket) {
            Ok(status) if Path::new(&status.config_file) == file => {
                tell(with_what(&status));
                return Some(status);
            }
            Ok(status) => other = Some((socket, status)),
            Err(AskError::NotRunning { .. }) => {}
            Err(error) => silent = Some(error),
        }
    }
    tell(match (silent, others.first(), other) {
        (Some(error), _, _) => unasked(&error),
        (None, Some(pid), _) => {
            let said = message!("process {pid} runs with this file, and where it can be asked is not known", pid = pid);
            Finding::unknown(what(), said, Some(message!("run it again with sudo")))
        }
        (None, None, Some((socket, status))) => Finding::unknown(
            what(),
            message!(
                "none answers that runs with this file; process {pid} on {socket} runs with {file}",
                pid = status.pid,
                socket = socket.display(),
                file = &status.config_file
            ),
            Some(message!(
                "if that is the one that is meant: tidegate check --config {file}",
                file = &status.config_file
            )),
        ),
        (None, None, None) => {
            let socket = sockets.first().map_or(Path::new(DEFAULT_SOCKET), PathBuf::as_path);
            let first = || message!("once the configuration can be used: {step}", step = start(unit));
            ended(socket, if starts || unit.is_starting() { start(unit) } else { first() })
        }
    });
    None
}

/// The file is bad: with what it runs.
fn with_what(status: &Status) -> Finding {
    let pid = status.pid;
    if status.config_kept {
        return with_kept(status, None);
    }
    match &status.config_error {
        Some(_) => Finding::attention(
            what(),
            message!("it runs (process {pid}), with the configuration from before the last reload", pid = pid),
            Code::ReloadRefused,
            reload(),
        ),
        None => Finding::good(
            what(),
            message!(
                "it runs (process {pid}), with what it read from the file on {time}, before that was changed",
                pid = pid,
                time = time(status.config_loaded_ms)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_systemd_is_about_to_start_is_not_to_be_started() {
        let nobody = Path::new("/nonexistent/control.sock");
        let said = |unit: &Unit| {
            let mut all = Vec::new();
            assert_eq!(look(nobody, unit, &mut |finding| all.push(finding)), None);
            let finding = all.pop().expect("a line");
            assert_eq!((finding.result, finding.code), (Outcome::Attention, Some(Code::NotRunning)));
            finding.next.expect("what to do").to_string()
        };
        let restarts = Unit::of_text("LoadState=loaded\nActiveState=activating\nSubState=auto-restart\n");
        assert!(said(&restarts).contains("by itself") && !said(&restarts).contains("enable"), "{}", said(&restarts));
        assert!(said(&Unit::NoSystemd).contains("systemctl enable --now tidegate"));
    }
}
