//! The `tidegate` command.
//!
//! # Exit codes
//! 0 done · 1 it failed: the message says what was tried, why not, and what to do · 2 wrong arguments ·
//! 3 `status`, `notice apply`, and what only the running agent can do of `buffer`: no agent is running behind that socket.
//! 78 `run`: nothing is configured yet.
//! `buffer verify`: 1 something is damaged · 2 it could not look. `check`: 1 something is bad · 4 this user may not read the
//! configuration.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, language)) => {
            command::complain(&failure, language);
            ExitCode::from(failure.code)
        }
    }
}
