//! The index: what the control lane adds up to, in sled, for whoever wants to query it from outside the journal.
//!
//! Constraints: it is an index and nothing more. The journal never reads it and never waits for it; it may be
//! deleted, damaged, old by any number of checkpoints or on a full disk, and nothing stops. What it says is what the
//! control lane said at the last checkpoint.
//!
//! How it works: a thread of its own checkpoints a minute after the start, a minute after the first change since the
//! last checkpoint, and when the store is closed. A checkpoint opens sled, compares what it holds with what the
//! ledger says now, writes only the differences, calls `flush()`, then `fsync`s the `db` file (sled's flush promises
//! nothing on Linux), and drops the handle: so it holds no memory in between, and a handle that has met a full disk
//! is never used again. What was written is read back through a new handle: sled opened over one flipped bit may take
//! writes that its next recovery cuts off again. Damage found on the way (an error that is not the file system's refusal, or a panic inside
//! sled) removes the folder; the next attempt follows at once, from nothing.
//!
//! Keys and values (CBOR):
//!
//! ```text
//! lane/<name>               LaneLedger      cursor, sent, counters
//! session/<id: u64 BE>      SessionRecord
//! aside/<number: u64 BE>    AsideEntry      where a record was put aside, which it is, and why
//! counter/<name>            u64
//! ```

use super::journal::Shared;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Time from the first change to the checkpoint: what is newer stands in the control lane all the same, and a flush
/// costs about 16 KB of flash.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Bytes of pages that sled may keep while it is open: what it holds is a few hundred KB at most.
const CACHE: u64 = 512 * 1024;

/// sled's unit of writing and of growth. Its default, 512 KiB, would be most of a small store.
const SEGMENT: usize = 64 * 1024;

/// All keys with their values.
pub(super) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug)]
struct Pending {
    since: Option<Instant>,
    closing: bool,
}

/// The index's side of the journal.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    enabled: bool,
    pending: Mutex<Pending>,
    wake: Condvar,
    bytes: AtomicU64,
}

/// Why a checkpoint failed.
#[derive(Debug, thiserror::Error)]
enum IndexError {
    #[error("the file system refuses the index")]
    Refused(#[source] io::Error),
    #[error("the index is damaged")]
    Damaged(#[source] sled::Error),
    #[error("the index is damaged: its library panicked")]
    Panicked,
    #[error("the index is damaged: it does not give back what was written")]
    Differs,
}

impl From<sled::Error> for IndexError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other
                ) =>
            {
                Self::Refused(error)
            }
            other => Self::Damaged(other),
        }
    }
}

impl Index {
    /// An index in a folder of its own; one that is not enabled does nothing.
    pub(super) fn new(path: PathBuf, enabled: bool) -> Self {
        let bytes = AtomicU64::new(if enabled { folder_bytes(&path) } else { 0 });
        // It is due from the start: it may have been lost, or be older than what the control lane says.
        let pending = Mutex::new(Pending { since: Some(Instant::now()), closing: false });
        Self { path, enabled, pending, wake: Condvar::new(), bytes }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no holder of this lock panics")
    }

    /// Something has changed.
    pub(super) fn changed(&self) {
        if !self.enabled {
            return;
        }
        let mut pending = self.pending();
        if pending.since.is_none() {
            pending.since = Some(Instant::now());
            self.wake.notify_one();
        }
    }

    /// Bytes it takes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Starts its thread. Ends after [`Index::close`].
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Option<std::thread::JoinHandle<()>>> {
        if !shared.index.enabled {
            return Ok(None);
        }
        let shared = shared.clone();
        std::thread::Builder::new().name("tidegate-index".into()).spawn(move || shared.index.run(&shared)).map(Some)
    }

    /// Asks the thread to make a last checkpoint, if anything has changed, and to end.
    pub(super) fn close(&self) {
        self.pending().closing = true;
        self.wake.notify_one();
    }

    fn run(&self, shared: &Arc<Shared>) {
        loop {
            let mut pending = self.pending();
            loop {
                let left = pending.since.map(|since| CHECKPOINT.saturating_sub(since.elapsed()));
                if pending.closing || left.is_some_and(|left| left.is_zero()) {
                    break;
                }
                let left = left.unwrap_or(Duration::MAX);
                pending = self.wake.wait_timeout(pending, left).expect("no holder of this lock panics").0;
            }
            let (due, closing) = (pending.since.take().is_some(), pending.closing);
            drop(pending);
            if due && shared.index_may_grow() {
                self.checkpoint(&shared.index_contents());
            } else if due {
                self.changed();
            }
            if closing {
                return;
            }
        }
    }

    fn checkpoint(&self, contents: &Contents) {
        let mut result = write(&self.path, contents);
        if let Err(error @ (IndexError::Damaged(_) | IndexError::Panicked | IndexError::Differs)) = &result {
            tracing::warn!(folder = %self.path.display(), %error, "the index is made anew from the control lane");
            result = std::fs::remove_dir_all(&self.path)
                .map_err(IndexError::Refused)
                .and_then(|()| write(&self.path, contents));
        }
        if let Err(error) = result {
            tracing::debug!(folder = %self.path.display(), %error, "no checkpoint of the index; trying again later");
            self.changed();
        }
        self.bytes.store(folder_bytes(&self.path), Ordering::Relaxed);
    }
}

/// Makes sled hold exactly `contents`, durably.
fn write(path: &Path, contents: &Contents) -> Result<(), IndexError> {
    let work = || {
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
        std::fs::File::open(path.join("db")).and_then(|file| file.sync_all()).map_err(IndexError::Refused)?;
        if changes > 0 && read(path)? != *contents {
            return Err(IndexError::Differs);
        }
        Ok(())
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Err(IndexError::Panicked))
}

/// Everything that sled holds.
fn read(path: &Path) -> Result<Contents, sled::Error> {
    open(path)?.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

fn open(path: &Path) -> Result<sled::Db, sled::Error> {
    sled::Config::new()
        .path(path)
        .cache_capacity(CACHE)
        .segment_size(SEGMENT)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
        .open()
}

fn folder_bytes(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => bytes += about.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
