//! Asking the running agent something of the provider's part: what its commands share.

use std::ops::ControlFlow;

use tidegate::language::{Language, again};
use tidegate::message;
use tidegate::provider::question::{Ask, End};
use tidegate::watch::control::{self, AskError};

use super::service::Agent;
use super::{FAILED, Failure, NOT_RUNNING};

impl Agent {
    /// Asks it.
    pub(super) fn ask(&self, question: &Ask) -> Result<End, Failure> {
        let answer = control::ask_stream(&self.socket()?, "provider", question, &mut |_| ControlFlow::Continue(()));
        let end = answer.map_err(|error| {
            let code = if matches!(error, AskError::NotRunning { .. }) { NOT_RUNNING } else { FAILED };
            Failure { code, error: error.into() }
        })?;
        Ok(serde_json::from_str(end.as_deref().unwrap_or("null"))?)
    }
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
        _ => Err(message!("the agent answered something else").into()),
    }
}
