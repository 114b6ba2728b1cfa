//! Syncing several files of one commit at the same time.
//!
//! One thread helps the writer: a commit touches two files as a rule (a record lane and the control lane), and syncs of
//! one file system share its journal, so two at a time gain nearly everything that more would.

use crate::store::disk::DiskFile;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

type Job = (usize, Arc<dyn DiskFile>);

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
            while let Ok((tag, file)) = inbox.recv() {
                if outbox.send((tag, file.sync_data())).is_err() {
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

    /// Syncs all files; says which failed. The tags are the caller's.
    pub(super) fn sync(&self, files: &[Job]) -> Vec<(usize, io::Error)> {
        let mut failed = Vec::new();
        let Some(((tag, first), rest)) = files.split_first() else { return failed };
        let mut handed = 0;
        let mut mine = vec![];
        for (tag, file) in rest {
            match self.jobs.as_ref().map(|jobs| jobs.send((*tag, file.clone()))) {
                Some(Ok(())) => handed += 1,
                _ => mine.push((*tag, file)),
            }
        }
        mine.push((*tag, first));
        for (tag, file) in mine {
            if let Err(error) = file.sync_data() {
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
