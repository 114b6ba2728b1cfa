//! The running service, asked over its control socket.

use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::language::Message;
use tidegate::message;
use tidegate::watch::Status;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render::time;

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};

fn what() -> Subject {
    Id::Service.of(message!("service"))
}

/// Asks it; hands its status out, if it answers.
pub(in crate::command) fn look(socket: &Path, tell: Tell<'_>) -> Option<Status> {
    match control::ask(socket) {
        Ok(status) => {
            let pid = status.pid;
            match &status.config_error {
                Some(error) if status.config_kept => tell(with_kept(&status, Some(error))),
                Some(error) => tell(Finding::attention(
                    what(),
                    message!(
                        "it runs (process {pid}), with a configuration from before: {error}",
                        pid = pid,
                        error = error
                    ),
                    Code::ReloadRefused,
                    message!("correct the file, then reload: systemctl reload tidegate"),
                )),
                None if !status.config_needs_restart.is_empty() => tell(Finding::attention(
                    what(),
                    message!(
                        "it runs (process {pid}); not in effect yet: {keys}",
                        pid = pid,
                        keys = status.config_needs_restart.join(", "),
                    ),
                    Code::RestartNeeded,
                    message!("restart it when it suits you: systemctl restart tidegate"),
                )),
                None => tell(Finding::good(what(), message!("it runs (process {pid})", pid = pid))),
            }
            Some(status)
        }
        Err(AskError::NotRunning { .. }) => {
            tell(ended(socket));
            None
        }
        Err(error) => {
            let said = message!("it could not be asked: {error}", error = error.to_string());
            tell(Finding::unknown(what(), said, Some(message!("run it again with sudo"))));
            None
        }
    }
}

fn ended(socket: &Path) -> Finding {
    Finding::attention(
        what(),
        message!("it does not run: nobody answers on {socket}", socket = socket.display()),
        Code::NotRunning,
        message!("start it: systemctl enable --now tidegate"),
    )
}

/// It runs with what was kept.
fn with_kept(status: &Status, why: Option<&str>) -> Finding {
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
/// that file, absolute; `others`: processes that run with it.
pub(in crate::command) fn beside_a_bad_file(
    sockets: &[PathBuf],
    file: &Path,
    others: &[u32],
    tell: Tell<'_>,
) -> Option<Status> {
    let mut unasked = None;
    for socket in sockets {
        match control::ask(socket) {
            Ok(status) if Path::new(&status.config_file) == file => {
                tell(with_what(&status));
                return Some(status);
            }
            // An agent with a file of its own.
            Ok(_) | Err(AskError::NotRunning { .. }) => {}
            Err(error) => unasked = Some(error),
        }
    }
    let sudo = || Some(message!("run it again with sudo"));
    tell(match (unasked, others.first(), sockets.first()) {
        (Some(error), _, _) => {
            Finding::unknown(what(), message!("it could not be asked: {error}", error = error.message()), sudo())
        }
        (None, Some(pid), _) => {
            let said = message!("process {pid} runs with this file, and where it can be asked is not known", pid = pid);
            Finding::unknown(what(), said, sudo())
        }
        (None, None, Some(socket)) => ended(socket),
        (None, None, None) => Finding::unknown(what(), message!("where it can be asked is not known"), sudo()),
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
