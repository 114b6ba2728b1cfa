//! Asking the running agent something of the provider's part: what its commands share.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tidegate::config;
use tidegate::language::{Language, again};
use tidegate::provider::question::{Ask, End};
use tidegate::watch::control::{self, AskError};

use super::{CONFIG, FAILED, Failure, NOT_RUNNING};

/// Which agent.
#[derive(Debug, clap::Args)]
pub(super) struct Agent {
    /// Ask the agent behind this control socket
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration that names the socket [default: /etc/tidegate/tidegate.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Agent {
    /// Asks it.
    pub(super) fn ask(&self, question: &Ask) -> Result<End, Failure> {
        let named = || config::control_socket(self.config.as_deref().unwrap_or(Path::new(CONFIG)));
        let socket = match (&self.socket, &self.config) {
            (Some(socket), _) => socket.clone(),
            (None, Some(_)) => named()?,
            (None, None) => named().unwrap_or_else(|_| config::DEFAULT_SOCKET.into()),
        };
        ask(&socket, question)
    }
}

/// Asks the agent behind a socket.
pub(super) fn ask(socket: &Path, question: &Ask) -> Result<End, Failure> {
    let answer = control::ask_stream(socket, "provider", question, &mut |_| ControlFlow::Continue(()));
    let end = answer.map_err(|error| {
        let code = if matches!(error, AskError::NotRunning { .. }) { NOT_RUNNING } else { FAILED };
        Failure { code, error: error.into() }
    })?;
    Ok(serde_json::from_str(end.as_deref().unwrap_or("null"))?)
}

/// What was done, as a line.
pub(super) fn done(end: End, language: Language) -> Result<String, Failure> {
    match end {
        End::Done { what } => {
            // Several things, each a message of its own.
            let whole = again(&what, language);
            if whole != what {
                return Ok(format!("{whole}\n"));
            }
            let done: Vec<&str> = what.split("; ").map(|one| again(one, language)).collect();
            Ok(done.join("; ") + "\n")
        }
        _ => Err("the agent answered something else".into()),
    }
}
