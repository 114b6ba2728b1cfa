//! The running service, asked over its control socket.

use std::path::Path;

use tidegate::code::Code;
use tidegate::message;
use tidegate::watch::Status;
use tidegate::watch::control::{self, AskError};

use crate::command::check::Tell;
use crate::command::check::finding::Finding;

/// Asks it; hands its status out, if it answers.
pub(in crate::command) fn look(socket: &Path, tell: Tell<'_>) -> Option<Status> {
    let what = || message!("service");
    match control::ask(socket) {
        Ok(status) => {
            let pid = status.pid;
            match &status.config_error {
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
            tell(Finding::attention(
                what(),
                message!("it does not run: nobody answers on {socket}", socket = socket.display()),
                Code::NotRunning,
                message!("start it: systemctl enable --now tidegate"),
            ));
            None
        }
        Err(error) => {
            let said = message!("it could not be asked: {error}", error = error.to_string());
            tell(Finding::unknown(what(), said, Some(message!("run it again with sudo"))));
            None
        }
    }
}
