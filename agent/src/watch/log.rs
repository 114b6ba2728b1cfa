//! Where `tracing` goes: standard error for people, or the journal with its fields.
//!
//! The level is that of Tidegate's own words. The libraries it is built on never say more than warnings: at `debug`
//! they fill a gateway's journal, and nobody has judged whether they repeat a secret.

use crate::code::Code;
use crate::language::Message;
use crate::message;
use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Standard error: a line for each event, coloured on a terminal. Under systemd it ends in the journal, which
    /// keeps the time, so the line has none there.
    Stderr,
    /// The journal's own protocol (`/run/systemd/journal/socket`), with fields.
    Journald,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum LogError {
    /// There is no journal to write to.
    Journal(#[source] std::io::Error),
    /// Logging was set up before, in this process.
    Again(#[source] TryInitError),
    /// It was not set up, so there is no level to change.
    NotSetUp,
    /// The level could not be changed.
    Reload(#[source] reload::Error),
}

impl LogError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Journal(_) => {
                message!("cannot reach the journal; write target = \"stderr\" in [log], or start systemd-journald")
            }
            Self::Again(_) => message!("logging is set up already"),
            Self::NotSetUp => message!("logging is not set up"),
            Self::Reload(_) => message!("cannot change the log level"),
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        Code::Process
    }
}

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("tidegate", level)
}

/// Sets logging up for this process, once.
///
/// # Errors
/// [`LogError::Journal`] without a journal; [`LogError::Again`] the second time.
pub fn init(level: LevelFilter, target: Target) -> Result<(), LogError> {
    let (filter, handle) = reload::Layer::new(targets(level));
    let registry = tracing_subscriber::registry().with(filter);
    match target {
        Target::Journald => {
            let layer = tracing_journald::layer().map_err(LogError::Journal)?;
            registry.with(layer).try_init().map_err(LogError::Again)?;
        }
        Target::Stderr => {
            let terminal = std::io::stderr().is_terminal();
            let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false);
            // systemd sets JOURNAL_STREAM where standard error is the journal (systemd.exec(5)).
            if std::env::var_os("JOURNAL_STREAM").is_some() && !terminal {
                registry.with(layer.without_time().boxed()).try_init().map_err(LogError::Again)?;
            } else {
                registry.with(layer.boxed()).try_init().map_err(LogError::Again)?;
            }
        }
    }
    let _ = LEVEL.set(handle);
    Ok(())
}

/// Changes the level while the agent runs.
///
/// # Errors
/// [`LogError::NotSetUp`] before [`init`].
pub fn set_level(level: LevelFilter) -> Result<(), LogError> {
    LEVEL.get().ok_or(LogError::NotSetUp)?.reload(targets(level)).map_err(LogError::Reload)
}
