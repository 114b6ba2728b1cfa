//! Whom to ask: the running service over its control socket, or the files.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config;
use tidegate::language::Language;
use tidegate::message;
use tidegate::store::look::{Ask, End, Item, Look};
use tidegate::watch::control::{self, AskError};

use crate::command::service::Agent;
use crate::command::{Failure, NOT_RUNNING, holder};

/// Where the store is unless configured.
const STORE: &str = "/var/lib/tidegate";

/// Which buffer.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    #[command(flatten)]
    agent: Agent,
    /// Read the files of the store in this folder, and ask nobody
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["config", "socket"])]
    store: Option<PathBuf>,
}

/// Why an answer was not taken to its end.
pub(super) enum Stop {
    /// Whoever reads has read enough.
    Enough,
    /// Something failed on this side.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What takes the items of an answer.
pub(super) type Take<'a> = dyn FnMut(Item<'_>) -> Result<(), Stop> + 'a;

impl Place {
    /// Asks what has no items, and does not end before its end.
    pub(super) fn ask_once(&self, language: Language, ask: &Ask) -> Result<End, Failure> {
        let end = self.ask(language, ask, &mut |_| Ok(()))?;
        end.ok_or_else(super::another_answer)
    }

    /// Asks the service or, where none answers, the files. `None` if whoever reads had enough.
    pub(super) fn ask(&self, language: Language, ask: &Ask, take: &mut Take<'_>) -> Result<Option<End>, Failure> {
        if let Some(folder) = &self.store {
            return read(folder, None, language, ask, take);
        }
        let socket = self.agent.socket()?;
        match ask_service(&socket, ask, take) {
            Ok(end) => Ok(end),
            Err(AskedError::Failure(failure)) => Err(failure),
            Err(AskedError::Ask(error)) => {
                let why = match &error {
                    AskError::NotRunning { path, .. } => message!("no service answers on {path}", path = path),
                    AskError::Refused { code, message, .. } if code == "not_ready" => {
                        message!("the service does not answer for it: {reason}", reason = message)
                    }
                    _ => return Err(error.into()),
                };
                if self.agent.socket.is_some() || !reads_only(ask) {
                    return Err(not_running(&error, ask));
                }
                let (folder, limit) = self.folder()?;
                let text = message!("{why}: reading the files in {folder}", why = why, folder = folder.display());
                note(&text.text(language));
                read(&folder, limit, language, ask, take)
            }
        }
    }

    /// The store's folder and its byte limit, where known.
    fn folder(&self) -> Result<(PathBuf, Option<u64>), Failure> {
        let placed = config::store_place(self.agent.config_file());
        if self.agent.config.is_none() && placed.is_err() {
            return Ok((PathBuf::from(STORE), None));
        }
        let (folder, limit) = placed?;
        Ok((folder, Some(limit)))
    }
}

fn ask_service(socket: &Path, ask: &Ask, take: &mut Take<'_>) -> Result<Option<End>, AskedError> {
    let mut failed = None;
    let end = control::ask_stream(socket, "buffer", ask, &mut |json| {
        let taken = match serde_json::from_str::<Item<'_>>(json) {
            Ok(item) => take(item),
            Err(error) => Err(Stop::Failed(error.into())),
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(Stop::Enough) => ControlFlow::Break(()),
            Err(Stop::Failed(failure)) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    })
    .map_err(AskedError::Ask)?;
    match (failed, end) {
        (Some(failure), _) => Err(AskedError::Failure(failure)),
        (None, None) => Ok(None),
        (None, Some(end)) => serde_json::from_str(&end).map(Some).map_err(|error| AskedError::Failure(error.into())),
    }
}

fn read(
    folder: &Path,
    limit: Option<u64>,
    language: Language,
    ask: &Ask,
    take: &mut Take<'_>,
) -> Result<Option<End>, Failure> {
    if !reads_only(ask) {
        let text = message!("only the running service can do that: start it");
        return Err(Failure::coded(NOT_RUNNING, Code::NotRunning, text));
    }
    if let Some(process) = holder::of_store(folder) {
        let text = message!(
            "{holder} has this store open and is not asked: what is shown may not be committed yet, or be gone",
            holder = message!("process {process}", process = process)
        );
        note(&text.text(language));
    }
    let look = Look::open(folder)?;
    let mut stopped = None;
    let answer = look.answer(ask, &mut |item| match take(item) {
        Ok(()) => ControlFlow::Continue(()),
        Err(stop) => {
            stopped = Some(stop);
            ControlFlow::Break(())
        }
    });
    match stopped {
        Some(Stop::Enough) => return Ok(None),
        Some(Stop::Failed(failure)) => return Err(failure),
        None => {}
    }
    let mut end = answer?;
    if let End::Status(status) = &mut end {
        status.max_bytes = limit;
        status.add_paces(&look.paces_of_files());
    }
    Ok(Some(end))
}

enum AskedError {
    Ask(AskError),
    Failure(Failure),
}

/// Whether the files alone can answer.
fn reads_only(ask: &Ask) -> bool {
    matches!(ask, Ask::Status | Ask::Records(_) | Ask::Verify | Ask::Aside { .. })
}

fn not_running(error: &AskError, ask: &Ask) -> Failure {
    let code = if matches!(error, AskError::NotRunning { .. }) { NOT_RUNNING } else { crate::command::FAILED };
    let mut text = error.message();
    if !reads_only(ask) {
        text =
            message!("{why}; only the running service can do that: start it (`systemctl start tidegate`)", why = text);
    }
    Failure::coded(code, error.code(), text)
}

/// Says something beside the answer. A standard error that is closed leaves nobody to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "tidegate: {text}");
}
