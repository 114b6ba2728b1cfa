//! Syncing several files of one commit, and the folders of new ones, at the same time.
//!
//! One thread helps the writer: a commit touches two files as a rule (a record lane and the control lane), and syncs of
//! one file system share its journal, so two at a time gain nearly everything that more would.

use crate::store::disk::{Disk, DiskFile};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// What is to be made durable.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A file's bytes and length.
    File(Arc<dyn DiskFile>),
    /// The names in a folder.
    Folder(Arc<dyn Disk>, PathBuf),
}

impl Target {
    fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Folder(disk, path) => disk.sync_dir(path),
        }
    }
}

type Job = (usize, Target);

/// Jobs that may wait for the helper: more than there are lanes by default; beyond it the writer just waits.
const WAITING: usize = 8;

/// The helper and the ways to it.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<(usize, io::Result<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(WAITING);
        let (outbox, results) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("tidegate-sync".into()).spawn(move || {
            while let Ok((tag, target)) = inbox.recv() {
                if outbox.send((tag, target.sync())).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { jobs: Some(jobs), results, thread: Some(thread) })
    }

    /// Without a helper: all is synced by the caller, in a fixed order.
    #[cfg(test)]
    pub(super) fn alone() -> Self {
        let (_, results) = std::sync::mpsc::channel();
        Self { jobs: None, results, thread: None }
    }

    /// Syncs all of it; says what failed. The tags are the caller's.
    pub(super) fn sync(&self, targets: &[Job]) -> Vec<(usize, io::Error)> {
        let mut failed = Vec::new();
        let Some(((tag, first), rest)) = targets.split_first() else { return failed };
        let mut handed = 0;
        let mut mine = vec![];
        for (tag, target) in rest {
            match self.jobs.as_ref().map(|jobs| jobs.send((*tag, target.clone()))) {
                Some(Ok(())) => handed += 1,
                _ => mine.push((*tag, target)),
            }
        }
        mine.push((*tag, first));
        for (tag, target) in mine {
            if let Err(error) = target.sync() {
                failed.push((tag, error));
            }
        }
        for _ in 0..handed {
            match self.results.recv() {
                Ok((_, Ok(()))) => {}
                Ok((tag, Err(error))) => failed.push((tag, error)),
                // The helper is gone with jobs in hand: nothing is known of any of them.
                Err(_) => failed.extend(rest.iter().map(|(tag, _)| (*tag, io::ErrorKind::BrokenPipe.into()))),
            }
        }
        failed
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
