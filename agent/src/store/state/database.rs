//! The index's sled database: opened, brought up to date, synced, read back, closed.
//!
//! What sled 0.34.7 does on a file system that refuses it, as measured on a small ext4 (full, out of inodes, mounted
//! read-only, with an immutable folder or file, with another user's files), and what is done about it:
//!
//! - It answers with the file system's error, as it came or wrapped in another of the same kind. That is a refusal: the
//!   handle is dropped and nothing is removed.
//! - It then leaves `snap.<number>.generating` behind, empty or in part, and takes that for its newest snapshot the next
//!   time: it answers "corruption" for ever, also once there is space again. Such a file was never finished, so what it
//!   is to hold stands in the log too: it is removed before every opening. Of 200 tries on a file system filled to a random
//!   last few kilobytes 25 were refused; every database opened afterwards and took what was to be written.
//! - A handle that has failed keeps its lock for some ms after it was dropped (its threads hold it), and opening it again
//!   then fails with an error of kind `Other`: it is tried for a while ([`LOCKED`]).
//! - Counting keys (`len()`) on a handle that has failed never ends and takes gigabytes: here every walk ends at its first
//!   error.
//! - Threads of it may panic when a sync fails.
//!
//! So an error is taken for damage only if it is none of the file system's refusals *and* the folder then takes a write:
//! otherwise it stays open what is damaged, and the folder is left alone.

use super::Contents;
use crate::chain::said;
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of pages that sled may keep while it is open: what it holds is a few hundred KB at most.
const CACHE: u64 = 512 * 1024;

/// sled's unit of writing and of growth. Its default, 512 KiB, would be most of a small store.
const SEGMENT: usize = 64 * 1024;

/// Bytes that must be free before sled is touched, besides twice what it is to hold: its log grows by whole segments, and
/// what is the control lane's should not be taken from it on the last few blocks.
const ROOM: u64 = 4 * SEGMENT as u64;

/// Inodes that must be free: for the database, its settings, its folder of large values and two snapshots.
const INODES: u64 = 8;

/// How long to wait for the lock that a handle dropped just now may still have.
const LOCKED: Duration = Duration::from_secs(2);

/// Written to see whether the folder takes anything: a segment's worth.
const PROBE: &[u8] = &[0x5a; SEGMENT];

/// Why a checkpoint failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(super) enum DatabaseError {
    /// No room, or no right: nothing is wrong with the database.
    Refused(#[source] io::Error),
    Damaged(#[source] sled::Error),
    Unreadable(#[source] io::Error),
    Panicked,
    Differs,
}

impl DatabaseError {
    fn message(&self) -> Message {
        match self {
            Self::Refused(_) => message!("the file system refuses the index"),
            Self::Damaged(_) => message!("the index is damaged"),
            Self::Unreadable(_) => message!("the index cannot be read"),
            Self::Panicked => message!("the index is damaged: its library panicked"),
            Self::Differs => message!("the index is damaged: it does not give back what was written"),
        }
    }

    /// It with its cause, for people.
    pub(super) fn said(&self) -> Value {
        let why = match self {
            Self::Refused(error) | Self::Unreadable(error) => said(error),
            Self::Damaged(error) => said(error),
            Self::Panicked | Self::Differs => return self.message().into_value(),
        };
        message!("{what}: {why}", what = self.message(), why = why).into_value()
    }

    /// Whether it would be in the way of a new one too.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    fn io(error: io::Error) -> Self {
        if is_damage(&error) { Self::Unreadable(error) } else { Self::Refused(error) }
    }
}

impl From<sled::Error> for DatabaseError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if !is_damage(&error) => Self::Refused(error),
            other => Self::Damaged(other),
        }
    }
}

/// Whether a file operation's error speaks against the files and not for want of room, right or handles.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let of_content = matches!(
        error.kind(),
        Kind::InvalidData | Kind::UnexpectedEof | Kind::NotADirectory | Kind::IsADirectory | Kind::AlreadyExists
    );
    // `Other` is what sled makes up itself. Its wrapped errors keep kind and text, but not the number; EIO has no kind.
    let own = error.kind() == Kind::Other && !is_locked(error);
    of_content || own || error.raw_os_error() == Some(EIO) || error.to_string().contains("Os { code: 5,")
}

/// Linux's number for a medium that cannot give back what it holds.
const EIO: i32 = 5;

/// Whether another handle has the database open. sled tells it in its text alone.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock")
}

/// Makes the database at `path` hold exactly `contents`, durably, and leaves `keep_free` bytes of the file system alone.
pub(super) fn write(path: &Path, contents: &Contents, keep_free: u64) -> Result<(), DatabaseError> {
    check_room(path, contents, keep_free)?;
    let work = || update(path, contents);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Err(DatabaseError::Panicked));
    match result {
        Err(error) if !error.is_refusal() => Err(believe(path, error)),
        other => other,
    }
}

/// An error that looks like damage is believed only of a folder that takes a write.
fn believe(path: &Path, error: DatabaseError) -> DatabaseError {
    let probe = path.join("probe");
    let written = std::fs::File::create(&probe).and_then(|mut file| {
        file.write_all(PROBE)?;
        file.sync_all()
    });
    let removed = match std::fs::remove_file(&probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    match written.and(removed) {
        Err(refusal) if !is_damage(&refusal) => DatabaseError::Refused(refusal),
        _ => error,
    }
}

/// Removes the database, whatever it is.
pub(super) fn remove(path: &Path) -> Result<(), DatabaseError> {
    let about = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(DatabaseError::Refused)?,
    };
    let removed = if about.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(DatabaseError::Refused)
}

fn check_room(path: &Path, contents: &Contents, keep_free: u64) -> Result<(), DatabaseError> {
    let folder = path.parent().unwrap_or(path);
    let about = rustix::fs::statvfs(folder).map_err(|errno| DatabaseError::Refused(errno.into()))?;
    let free = about.f_bavail.saturating_mul(about.f_frsize).saturating_sub(keep_free);
    let held: usize = contents.iter().map(|(key, value)| key.len() + value.len()).sum();
    let wanted = ROOM + 2 * held as u64;
    // Some file systems make inodes as they are needed, and count none.
    let inodes = about.f_files == 0 || about.f_favail >= INODES;
    if free >= wanted && inodes {
        return Ok(());
    }
    let what = if inodes {
        message!("{free} bytes are free, {wanted} are needed", free = free, wanted = wanted)
    } else {
        message!("no inodes are free")
    };
    Err(DatabaseError::Refused(io::Error::new(io::ErrorKind::StorageFull, what)))
}

fn update(path: &Path, contents: &Contents) -> Result<(), DatabaseError> {
    let sled = open(path)?;
    let mut batch = sled::Batch::default();
    let mut changes = 0_usize;
    let mut same = std::collections::BTreeSet::new();
    for pair in sled.iter() {
        let (key, value) = pair?;
        match contents.get(&key[..]) {
            Some(wanted) if *wanted == value[..] => {
                same.insert(key.to_vec());
            }
            Some(_) => {}
            None => {
                batch.remove(key);
                changes += 1;
            }
        }
    }
    for (key, value) in contents.iter().filter(|(key, _)| !same.contains(*key)) {
        batch.insert(key.as_slice(), value.as_slice());
        changes += 1;
    }
    if changes > 0 {
        sled.apply_batch(batch)?;
        sled.flush()?;
    }
    drop(sled);
    std::fs::File::open(path.join("db")).and_then(|file| file.sync_all()).map_err(DatabaseError::io)?;
    if changes > 0 && read(path)? != *contents {
        return Err(DatabaseError::Differs);
    }
    Ok(())
}

/// Everything that the database holds.
pub(super) fn read(path: &Path) -> Result<Contents, DatabaseError> {
    let pairs = open(path)?.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
    Ok(pairs.collect::<Result<Contents, sled::Error>>()?)
}

fn open(path: &Path) -> Result<sled::Db, DatabaseError> {
    remove_unfinished(path).map_err(DatabaseError::io)?;
    let until = Instant::now() + LOCKED;
    loop {
        let opened = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE)
            .segment_size(SEGMENT)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None)
            .open();
        match opened {
            Err(sled::Error::Io(error)) if is_locked(&error) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return Ok(other?),
        }
    }
}

/// Removes the snapshots that sled began and did not finish.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let file: PathBuf = entry?.path();
        if file.extension().is_some_and(|end| end == "generating") {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}
