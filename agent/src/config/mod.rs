//! `tidegate.toml`: read, judged, and turned into a typed [`Config`], or into everything that is wrong with it.
//!
//! # Constraints
//! - A technician corrects the file once, not once for each mistake: **every** wrong, unknown or missing key is reported
//!   in one go, with line and column, what was found and what to write instead ([`Errors`]).
//! - A value that is accepted can be used: ranges, units, patterns, addresses and the files that a key names are judged
//!   here, so that the rooms need not.
//! - No bare number has a unit: `max_size = 64` is refused with its likely meanings.
//! - Secrets stand in files, not in this text (a webhook URL, for tests, may), and never in a log ([`Secret`]).
//! - A small program on a small machine: the file may be [`MAX_FILE`] bytes long.
//!
//! # How it works
//! `reader` walks the spanned tree that the `toml` crate makes and hands out keys by name; what was never asked
//! for is unknown. `sections` asks for each key with its type, range and default. `model` holds the result in plain
//! structs that know no other room; `gateway` turns them into the rooms' own options. [`KEYS`] lists every key once
//! more, with whether it can change while the agent runs; a test holds `KEYS`, the reader and [`DEFAULT_FILE`] to
//! each other.
//!
//! # Where it touches the disk
//! It reads: the file itself, the secret files it names (regular, at most [`MAX_FILE`](crate::secret::MAX_FILE) bytes), the
//! certificate, key and password files it names and, where [`terms`] is asked to, the contract's terms file (regular, at
//! most [`MAX_FILE`] bytes), in place of secret files that it may not read what the service manager has handed over
//! (`credentials`), and asks for the size and kind of the file system that the store is on and for what stands in the
//! folder. It writes what [`kept`] keeps, where it is told to, and nothing else.

mod address;
mod alarm;
mod changes;
mod credentials;
mod error;
mod exposed;
mod held;
pub mod kept;
mod keys;
mod model;
pub mod notice;
mod pattern;
mod reader;
mod sections;
mod surroundings;
mod syntax;
pub mod terms;

#[cfg(test)]
mod tests;

pub use crate::secret::Secret;
pub use alarm::{ALARM_TOPIC, Alarm};
pub use changes::{Changes, changes, stale};
pub use credentials::FOLDER as SECRETS_FOLDER;
pub use error::{Errors, LoadError, Problem, STANDARD_INPUT, first_of_lines};
pub use exposed::Exposed;
pub use keys::{KEYS, Key};
pub use model::{
    Allow, Backoff, Batch, Broker, Calendar, Clock, Collect, Config, Control, Date, EventsCount, FieldRule, FluxTarget,
    Forward, Gateway, Kind, Lane, Layout, Limits, Listener, Log, LogLevel, LogTarget, Metadata, Metrics, MqttVersion,
    NextFlux, Notices, OnTermsChange, Order, Policy, Probe, Provider, Resume, Rule, SpeedClass, Stated, StatusPage,
    Store, Tls,
};
pub use tidegate_protocol::units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest configuration file in bytes. A full one has some 15 KB; the bound keeps a wrong path (a log, a device) from
/// filling the memory.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Where the control socket is unless configured.
pub const DEFAULT_SOCKET: &str = "/run/tidegate/control.sock";

/// The file that is there once systemd-timesyncd has set the clock (systemd-timesyncd.service(8)), unless another is
/// configured.
pub const DEFAULT_MARKER: &str = "/run/systemd/timesync/synchronized";

/// The commented default configuration, as `tidegate config default` prints it. Every key stands in it.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// Reads a configuration from `text`; `source_name` stands in messages, usually the file's path.
///
/// The secret, certificate and password files it names are looked at too.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn parse(text: &str, source_name: &str) -> Result<Config, Errors> {
    sections::read(text, source_name, &surroundings::Disk).0
}

/// As [`parse`], with secrets that are not in their files yet, by the paths of these: so a configuration can be judged and
/// tried before anything of it is written.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(text: &str, source_name: &str, secrets: &BTreeMap<PathBuf, Secret>) -> Result<Config, Errors> {
    sections::read(text, source_name, &held::Held(secrets)).0
}

/// Reads the configuration file at `path`.
///
/// # Errors
/// [`LoadError::Unreadable`] if there is no such file, it may not be read or is longer than [`MAX_FILE`];
/// [`LoadError::NotConfigured`] if nothing stands in it but comments; [`LoadError::Wrong`] with everything that is wrong in
/// it otherwise.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let text = text(path)?;
    Ok(parse(&text, &path.display().to_string())?)
}

/// Whether nothing stands in it but comments: the file as the package brings it.
fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

/// The text of the configuration file at `path` as it is, for who changes it.
///
/// # Errors
/// [`LoadError::Unreadable`], as [`load`].
pub fn read_text(path: &Path) -> Result<String, LoadError> {
    surroundings::read_text(path)
}

/// The text of the configuration file at `path`, for [`parse`]: who reads it once can keep what was judged.
///
/// # Errors
/// [`LoadError::Unreadable`], as [`load`]; [`LoadError::NotConfigured`] if nothing stands in it but comments.
pub fn text(path: &Path) -> Result<String, LoadError> {
    let text = surroundings::read_text(path)?;
    if is_blank(&text) {
        return Err(LoadError::NotConfigured { path: path.display().to_string() });
    }
    Ok(text)
}

/// Reads a configuration from `from` to its end; `source_name` stands in messages.
///
/// # Errors
/// As [`load`].
pub fn load_from(from: impl std::io::Read, source_name: &str) -> Result<Config, LoadError> {
    let text = surroundings::read_all(from, source_name)?;
    Ok(parse(&text, source_name)?)
}

/// The control socket that the file at `path` names, whatever else is wrong with it: who asks for the status need not
/// be able to read the secrets.
///
/// # Errors
/// As [`load`], with what is wrong in `[control]` alone.
pub fn control_socket(path: &Path) -> Result<PathBuf, LoadError> {
    let text = surroundings::read_text(path)?;
    Ok(sections::control_socket(&text, &path.display().to_string())?)
}

/// The store's folder and its byte limit as the file at `path` says them, whatever else is wrong with it: who looks into
/// the buffer need not be able to read the secrets.
///
/// # Errors
/// As [`load`], with what is wrong in `[store]` alone.
pub fn store_place(path: &Path) -> Result<(PathBuf, u64), LoadError> {
    let text = surroundings::read_text(path)?;
    Ok(sections::store_place(&text, &path.display().to_string())?)
}

/// The store's folder, if the file at `path` can be read and says one, whatever is wrong with the rest of it.
fn store_path(path: &Path) -> Option<PathBuf> {
    sections::store_path(&surroundings::read_text(path).ok()?)
}

/// What `[[collect.fields]]` and `[collect.pseudonyms]` of the file at `path` say, whatever else is wrong with its keys: who
/// tries out rules need not be able to read all secrets, only the key to pseudonyms, if there are any.
///
/// # Errors
/// As [`load`], with what is wrong in these two alone, or is no TOML.
pub fn fields(path: &Path) -> Result<(Vec<FieldRule>, Option<Secret>), LoadError> {
    let text = surroundings::read_text(path)?;
    Ok(sections::fields(&text, &path.display().to_string())?)
}

/// The gateway's id and `[provider.notices]` as the file at `path` says them, whatever else is wrong with its keys: who looks at a
/// notice need not be able to read the secrets.
///
/// # Errors
/// As [`load`], with what is wrong in the two tables alone, or is no TOML.
pub fn gateway_and_notices(path: &Path) -> Result<(String, Notices), LoadError> {
    let text = surroundings::read_text(path)?;
    Ok(sections::gateway_and_notices(&text, &path.display().to_string())?)
}

/// `[limits]` and `[provider]` as the file at `path` says them, whatever else is wrong with its keys: who asks for the limits
/// need not be able to read the secrets.
///
/// # Errors
/// As [`load`], with what is wrong in the two tables alone, or is no TOML.
pub fn limits_and_provider(path: &Path) -> Result<(Limits, Provider), LoadError> {
    let text = surroundings::read_text(path)?;
    Ok(sections::limits_and_provider(&text, &path.display().to_string())?)
}
