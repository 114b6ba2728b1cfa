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

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Outcome, Subject};

fn what() -> Subject {
    Id::Service.of(message!("service"))
}

/// Asks it; hands its status out, if it answers.
pub(in crate::command) fn look(socket: &Path, tell: Tell<'_>) -> Option<Status> {
    let (status, finding) = ask(socket);
    tell(finding);
    status
}

/// The same, where it is to run with `file` (absolute), whose text is `text`: an agent that answers there with another file is
/// told as that, and one that has not read this text yet is.
pub(in crate::command) fn look_with(socket: &Path, file: &Path, text: &str, tell: Tell<'_>) -> Option<Status> {
    let (status, finding) = ask(socket);
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

fn ask(socket: &Path) -> (Option<Status>, Finding) {
    match control::ask(socket) {
        Ok(status) => {
            let finding = runs(&status);
            (Some(status), finding)
        }
        Err(AskError::NotRunning { .. }) => (None, ended(socket, start())),
        Err(error) => (None, unasked(&error)),
    }
}

fn unasked(error: &AskError) -> Finding {
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

fn start() -> Message {
    message!("start it: systemctl enable --now tidegate")
}

/// It runs with what was kept.
/// What is wrong with the file that it read, in one line.
fn refused(status: &Status, english: &str) -> Value {
    first_of_lines(&status.config_error_lines).unwrap_or_else(|| english.into_value())
}

fn with_kept(status: &Status, why: Option<Value>) -> Finding {
    let (pid, path) = (status.pid, &status.config);
    let said = message!("it runs (process {pid}), with what worked last, kept in {path}", pid = pid, path = path);
    let said = match why {
        Some(why) => message!("{said}: {why}", said = said, why = why),
        None => said,
    };
    Finding::attention(what(), said, Code::ConfigKept, reload())
}

fn reload() -> Message {
    message!("correct the file, then reload: systemctl reload tidegate")
}

/// The service, whose file cannot be used: the first of these sockets behind which an agent answers that reads it. `file`:
/// that file, absolute; `others`: processes that run with it; `starts`: whether it would start, with what was kept.
pub(in crate::command) fn beside_a_bad_file(
    sockets: &[PathBuf],
    file: &Path,
    others: &[u32],
    starts: bool,
    tell: Tell<'_>,
) -> Option<Status> {
    let (mut silent, mut other) = (None, None);
    for socket in sockets {
        match control::ask(socket) {
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
            let first = || message!("once the configuration can be used: {step}", step = start());
            ended(socket, if starts { start() } else { first() })
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
