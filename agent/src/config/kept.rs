//! The configuration that last worked, kept so that a bad edit never keeps the gateway from starting.
//!
//! # Constraints
//! - What is kept **was accepted and worked**: it was read without a mistake, and the gateway came up with it (the store
//!   open, listener and control socket bound). After a reload that holds too, but only if nothing in the file waits for
//!   a restart. Who runs the gateway decides that; this module keeps.
//! - It is found without the configuration ([`Places`]), because that may be cut to nothing.
//! - It is the text as it was read, not what was understood of it: a person can put it back. Secrets are read from their
//!   files as they are then. A webhook's URL may stand in the text itself, so the file is for its owner alone (0600).
//! - Flash is not worn: a text that is kept already is not written again.
//!
//! # On disk
//! `configuration/kept` in a folder of [`Places`]. It is a configuration itself, whose first two lines are comments:
//!
//! ```text
//! # tidegate-kept 1 <SHA-256 of all that follows this line, in hexadecimal>
//! # {"source":"/etc/tidegate/tidegate.toml","kept_ms":1795500000000,"trusted":true}
//! <the text>
//! ```
//!
//! `source`: the file that it was read from, absolute. `kept_ms`: when it was kept, by the gateway's clock; `trusted`:
//! whether that was known to be right. Fields may be added.
//!
//! # Recovery
//! A new one is written beside the old one (`configuration/kept.new`), synced, and renamed over it; then the folder is
//! synced. So at any moment either is there as a whole. One that was cut off is removed at the next start. What its sum does not fit is no configuration.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::MAX_FILE;
use crate::code::Code;
use crate::language::{Message, system};
use crate::message;
use crate::store::disk::{Disk, Mode, read_full_at, write_all_at};

/// The folder within the store's, or within the state directory.
pub const FOLDER: &str = "configuration";

/// The file's name in it.
const NAME: &str = "kept";

/// The name under which a new one is written.
const NEW: &str = "kept.new";

/// How the first line begins; the number is the version of this format.
const MARK: &str = "# tidegate-kept 1 ";

/// Bytes that the two lines before the text may have: a path has 4096 at most (`PATH_MAX`), six times as many once it is
/// escaped.
const HEAD: u64 = 32 * 1024;

/// A configuration that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The text, as it was read.
    pub text: String,
    /// The file that it was read from, absolute.
    pub source: String,
    /// When it was kept, in ms since the Unix epoch by the gateway's clock.
    pub kept_ms: u64,
    /// Whether that clock was known to be right.
    pub trusted: bool,
}

impl Kept {
    /// The control socket that it names, whatever else is wrong with it by now.
    pub fn control_socket(&self) -> Option<PathBuf> {
        super::sections::control_socket(&self.text, &self.source).ok()
    }
}

/// The second line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    source: String,
    kept_ms: u64,
    #[serde(default)]
    trusted: bool,
}

/// Why what is kept cannot be used, or nothing can be kept.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum KeptError {
    /// A file operation failed.
    Io {
        /// What was tried.
        action: Action,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is not as it was written.
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: Message,
    },
    /// It belongs to another configuration file.
    Other {
        /// The file.
        path: String,
        /// What it was kept of.
        source_path: String,
    },
}

/// What was tried with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its content was to be had.
    Read,
    /// A file or folder was to be made.
    Make,
    /// It was to be on the medium.
    Write,
    /// It was to go.
    Remove,
}

impl KeptError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Io { action: Action::Read, path, .. } => message!("cannot read {path}", path = path),
            Self::Io { action: Action::Make, path, .. } => message!("cannot make {path}", path = path),
            Self::Io { action: Action::Write, path, .. } => message!("cannot write {path}", path = path),
            Self::Io { action: Action::Remove, path, .. } => message!("cannot remove {path}", path = path),
            Self::Damaged { path, what } => message!("{path} is damaged: {what}", path = path, what = what),
            Self::Other { path, source_path } => {
                message!("{path} was kept of {source}", path = path, source = source_path)
            }
        }
    }

    /// The same with its cause.
    pub fn whole(&self) -> Message {
        match self {
            Self::Io { source, .. } => message!("{what}: {why}", what = self.message(), why = system::said(source)),
            _ => self.message(),
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        Code::ConfigUnreadable
    }
}

/// Where a configuration is kept, and looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    source: PathBuf,
    state: Option<PathBuf>,
    more: Vec<PathBuf>,
}

/// The state directory of the service, where nothing says otherwise (systemd.exec(5), `StateDirectory=`); the store's
/// default too.
pub const STATE: &str = "/var/lib/tidegate";

impl Places {
    /// For the configuration file `source`. `state`: the state directory that a person names. `systemd`: the value of
    /// `STATE_DIRECTORY`, which systemd sets; of several folders the first.
    pub fn new(source: &Path, state: Option<&Path>, systemd: Option<&OsStr>) -> Self {
        let first = |value: &OsStr| {
            let first = value.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
            PathBuf::from(OsStr::from_bytes(first))
        };
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let given = state.map(absolute).or_else(|| systemd.map(first).filter(|path| path.is_absolute()));
        let source = absolute(source);
        Self { source, state: given, more: Vec::new() }
    }

    /// The same, and a folder to look into that the file does not name: whoever looks has learned of it elsewhere.
    #[must_use]
    pub fn or_in(mut self, folder: PathBuf) -> Self {
        self.more.push(folder);
        self
    }

    /// The configuration file, absolute.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The folder to keep it in: the state directory, and without one the store's own.
    pub fn home<'a>(&'a self, store: &'a Path) -> &'a Path {
        self.state.as_deref().unwrap_or(store)
    }

    /// Where to look for it, the first first: the state directory; the store's folder as far as the file says it, however
    /// bad it is; what was learned elsewhere ([`Places::or_in`]); the state directory that the service has by default.
    pub fn candidates(&self) -> Vec<PathBuf> {
        let store = super::store_path(&self.source);
        let mut places: Vec<PathBuf> = Vec::new();
        let named = self.state.clone().into_iter().chain(store).chain(self.more.iter().cloned());
        for place in named.chain([PathBuf::from(STATE)]) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// What is kept of the configuration file, and the path where it was found; else why what is there cannot be used.
    pub fn find(&self, disk: &dyn Disk) -> Found {
        let mut found = Found { looked: self.candidates(), ..Found::default() };
        for folder in found.looked.clone() {
            match read(disk, &folder) {
                Ok(None) => {}
                Ok(Some(kept)) if Path::new(&kept.source) == self.source => {
                    found.kept = Some((kept, file(&folder)));
                    break;
                }
                Ok(Some(kept)) => {
                    found.problems.push(KeptError::Other { path: shown(&file(&folder)), source_path: kept.source });
                }
                Err(error) => found.problems.push(error),
            }
        }
        found
    }
}

/// What [`Places::find`] found.
#[derive(Debug, Default)]
pub struct Found {
    /// What is kept, and where.
    pub kept: Option<(Kept, PathBuf)>,
    /// What was there and cannot be used.
    pub problems: Vec<KeptError>,
    /// The folders that were looked into, in order.
    pub looked: Vec<PathBuf>,
}

/// Where it is kept within a folder of [`Places`].
pub fn file(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(NAME)
}

/// The SHA-256 of a configuration's text, in hexadecimal: what `sha256sum` says of the file.
pub fn fingerprint(text: &str) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What is kept in a folder; `None` if nothing is.
///
/// # Errors
/// [`KeptError::Io`] if it cannot be read, [`KeptError::Damaged`] if it is not as it was written.
pub fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Kept>, KeptError> {
    let path = file(folder);
    let failed = |source| KeptError::Io { action: Action::Read, path: shown(&path), source };
    let damaged = |what| KeptError::Damaged { path: shown(&path), what };
    let opened = match disk.open(&path, Mode::Read) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        // A folder, a FIFO or a device.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Err(damaged(message!("it is not a regular file")));
        }
        Err(error) => return Err(failed(error)),
    };
    let len = opened.len().map_err(failed)?;
    if len > MAX_FILE + HEAD {
        return Err(damaged(message!("it is longer than a configuration may be")));
    }
    let mut bytes = vec![0; len as usize];
    let filled = read_full_at(&*opened, &mut bytes, 0).map_err(failed)?;
    bytes.truncate(filled);
    let text = String::from_utf8(bytes).map_err(|_| damaged(message!("it is not text")))?;
    decode(&text).map_err(damaged).map(Some)
}

fn decode(all: &str) -> Result<Kept, Message> {
    let sum = |line: &str| line.strip_prefix(MARK).map(str::to_owned);
    let (first, rest) = all.split_once('\n').ok_or(message!("it is cut short"))?;
    let sum = sum(first).ok_or(message!("its first line is not that of a kept configuration of this version"))?;
    if fingerprint(rest) != sum {
        return Err(message!("its sum does not fit"));
    }
    let (second, text) = rest.split_once('\n').ok_or(message!("it is cut short"))?;
    let head = second.strip_prefix("# ").and_then(|json| serde_json::from_str::<Head>(json).ok());
    let head = head.ok_or(message!("its second line is not what it should be"))?;
    Ok(Kept { text: text.to_owned(), source: head.source, kept_ms: head.kept_ms, trusted: head.trusted })
}

fn encode(kept: &Kept) -> String {
    let head = Head { source: kept.source.clone(), kept_ms: kept.kept_ms, trusted: kept.trusted };
    let head = serde_json::to_string(&head).expect("a text, a number and a truth value are all JSON");
    let rest = format!("# {head}\n{}", kept.text);
    format!("{MARK}{}\n{rest}", fingerprint(&rest))
}

/// Keeps it in a folder; it is on the medium when this returns. `false` if the same text of the same file was kept there
/// before: then nothing is written.
///
/// # Errors
/// [`KeptError::Io`]; what was kept before is still there.
pub fn write(disk: &dyn Disk, folder: &Path, kept: &Kept) -> Result<bool, KeptError> {
    let place = folder.join(FOLDER);
    let new = place.join(NEW);
    if let Ok(Some(known)) = read(disk, folder) {
        if known.text == kept.text && known.source == kept.source {
            // What was cut off may hold a secret; nothing is lost where it stays.
            let _ = disk.remove(&new);
            return Ok(false);
        }
    }
    let failed = |action, path: &Path| {
        let path = shown(path);
        move |source| KeptError::Io { action, path, source }
    };
    disk.create_dir_all(&place).map_err(failed(Action::Make, &place))?;
    disk.sync_dir(folder).map_err(failed(Action::Write, folder))?;
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(Action::Remove, &new)(error)),
        _ => {}
    }
    let file = disk.open(&new, Mode::Create).map_err(failed(Action::Make, &new))?;
    let written = write_all_at(&*file, encode(kept).as_bytes(), 0).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // On a full disk its blocks are needed by others; one that stays is removed the next time.
        let _ = disk.remove(&new);
        return Err(failed(Action::Write, &new)(error));
    }
    disk.rename(&new, &place.join(NAME)).map_err(failed(Action::Write, &new))?;
    disk.sync_dir(&place).map_err(failed(Action::Write, &place))?;
    Ok(true)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
