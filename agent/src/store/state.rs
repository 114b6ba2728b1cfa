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
//! writes that its next recovery cuts off again.
//!
//! *Damage* removes the folder; the next attempt follows at once, from nothing. A *refusal* (no space, no inodes, no right,
//! a read-only file system) is not damage: the folder is left as it is, the figures say why the index is behind, the log
//! does so once, and it is tried again, at first after [`RETRY_FIRST`]. How the two are told apart stands in `database`.
//!
//! Keys and values (CBOR):
//!
//! ```text
//! lane/<name>               LaneLedger      what waits, what was never sent, counters
//! session/<id: u64 BE>      SessionRecord
//! aside/<number: u64 BE>    AsideEntry      where a record was put aside, which it is, and why
//! counter/<name>            u64
//! budget/<kind>             BudgetUse       what of a budget was used
//! kept/<name>               bytes           what another room keeps, as that room wrote it
//! ```

mod database;

use super::journal::Shared;
use crate::chain::chain;
use crate::language::Value;
use database::DatabaseError;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Time from the first change to the checkpoint: what is newer stands in the control lane all the same, and a flush
/// costs about 16 KB of flash.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// First and longest wait after a refusal. A try costs a look at the free space, or one failed opening.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// All keys with their values.
pub(super) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug)]
struct Pending {
    /// When the next checkpoint is due, if anything has changed.
    due: Option<Instant>,
    /// Wait after the next refusal.
    retry: Duration,
    closing: bool,
}

/// The index's side of the journal.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    enabled: bool,
    /// Bytes of the file system that are left alone.
    keep_free: u64,
    pending: Mutex<Pending>,
    wake: Condvar,
    bytes: AtomicU64,
    /// Why it is behind, if it is.
    behind: Mutex<Option<Value>>,
}

impl Index {
    /// An index in a folder of its own; one that is not enabled does nothing.
    pub(super) fn new(path: PathBuf, enabled: bool, keep_free: u64) -> Self {
        let bytes = AtomicU64::new(if enabled { folder_bytes(&path) } else { 0 });
        // It is due from the start: it may have been lost, or be older than what the control lane says.
        let due = Some(Instant::now() + CHECKPOINT);
        let pending = Mutex::new(Pending { due, retry: RETRY_FIRST, closing: false });
        Self { path, enabled, keep_free, pending, wake: Condvar::new(), bytes, behind: Mutex::new(None) }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no holder of this lock panics")
    }

    fn behind_mut(&self) -> MutexGuard<'_, Option<Value>> {
        self.behind.lock().expect("no holder of this lock panics")
    }

    /// Something has changed.
    pub(super) fn changed(&self) {
        if !self.enabled {
            return;
        }
        let mut pending = self.pending();
        if pending.due.is_none() {
            pending.due = Some(Instant::now() + CHECKPOINT);
            self.wake.notify_one();
        }
    }

    /// Bytes it takes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Why it does not say what the control lane says, if the last checkpoint failed.
    pub(super) fn behind(&self) -> Option<Value> {
        self.behind_mut().clone()
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
                let left = pending.due.map(|due| due.saturating_duration_since(Instant::now()));
                if pending.closing || left.is_some_and(|left| left.is_zero()) {
                    break;
                }
                let left = left.unwrap_or(Duration::MAX);
                pending = self.wake.wait_timeout(pending, left).expect("no holder of this lock panics").0;
            }
            let (due, closing) = (pending.due.take().is_some(), pending.closing);
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

    /// Makes the index say what `contents` says, or says why it cannot and when it is tried again.
    fn checkpoint(&self, contents: &Contents) {
        let write = || database::write(&self.path, contents, self.keep_free);
        let mut result = write();
        if let Err(error) = result.as_ref().map_err(|error| chain(error)) {
            if !result.as_ref().is_err_and(DatabaseError::is_refusal) {
                tracing::warn!(folder = %self.path.display(), error, "the index is made anew from the control lane");
                result = database::remove(&self.path).and_then(|()| write());
            }
        }
        self.bytes.store(folder_bytes(&self.path), Ordering::Relaxed);
        let mut behind = self.behind_mut();
        let mut pending = self.pending();
        match result.as_ref().map_err(DatabaseError::said) {
            Ok(()) => {
                pending.retry = RETRY_FIRST;
                if behind.take().is_some() {
                    tracing::info!(folder = %self.path.display(), "the index is up to date again");
                }
            }
            Err(reason) => {
                if behind.is_none() {
                    tracing::warn!(
                        folder = %self.path.display(), %reason,
                        "the index is behind; nothing depends on it, and it follows once the file system lets it"
                    );
                } else {
                    tracing::debug!(%reason, "the index is still behind");
                }
                *behind = Some(reason);
                pending.due = Some(Instant::now() + pending.retry);
                pending.retry = (pending.retry * 2).min(RETRY_LAST);
            }
        }
    }
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
