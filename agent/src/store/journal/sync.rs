//! Syncing several files of one commit, and the folders of new ones, at the same time.
//!
//! One thread helps the writer: a commit touches two files as a rule (a record lane and the control lane), and syncs of
//! one file system share its journal, so two at a time gain nearly everything that more would. While the writer has
//! something better to do (`ahead`), the helper begins; the writer joins in when it is done.

use crate::store::disk::{Disk, DiskFile};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
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

/// The tag is the caller's.
pub(super) type Job = (usize, Target);

/// What is to be synced, and how that went.
#[derive(Debug, Default)]
struct Work {
    /// Not begun; at most two for each lane.
    jobs: VecDeque<Job>,
    /// The helper has one of them in hand.
    helping: bool,
    failed: Vec<(usize, io::Error)>,
    closing: bool,
}

#[derive(Debug, Default)]
struct Table {
    work: Mutex<Work>,
    has_jobs: Condvar,
    is_done: Condvar,
}

impl Table {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("no holder of this lock panics")
    }

    fn help(&self) {
        let mut work = self.work();
        while !work.closing {
            let Some((tag, target)) = work.jobs.pop_front() else {
                work = self.has_jobs.wait(work).expect("no holder of this lock panics");
                continue;
            };
            work.helping = true;
            drop(work);
            let result = target.sync();
            work = self.work();
            work.helping = false;
            work.failed.extend(result.err().map(|error| (tag, error)));
            self.is_done.notify_one();
        }
    }
}

/// The helper and the way to it.
#[derive(Debug)]
pub(super) struct Syncer {
    table: Arc<Table>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let table = Arc::new(Table::default());
        let shared = table.clone();
        let thread = std::thread::Builder::new().name("tidegate-sync".into()).spawn(move || shared.help())?;
        Ok(Self { table, thread: Some(thread) })
    }

    /// Without a helper: all is synced by the caller, in a fixed order.
    #[cfg(test)]
    pub(super) fn alone() -> Self {
        Self { table: Arc::default(), thread: None }
    }

    /// Whether anything can be done while it syncs.
    pub(super) fn has_helper(&self) -> bool {
        self.thread.is_some()
    }

    /// Says what is to be synced, the longest first: the helper begins, at once where the caller is `busy`, else only if
    /// there is more than one. [`Syncer::finish`] must follow.
    pub(super) fn begin(&self, targets: Vec<Job>, busy: bool) {
        let help = self.has_helper() && (busy || targets.len() > 1);
        let mut work = self.table.work();
        work.jobs.extend(targets);
        if !self.has_helper() && !work.jobs.is_empty() {
            // As if the helper had done all others by the time the caller has done the first.
            work.jobs.rotate_left(1);
        }
        drop(work);
        if help {
            self.table.has_jobs.notify_one();
        }
    }

    fn run(&self, (tag, target): Job) {
        if let Err(error) = target.sync() {
            self.table.work().failed.push((tag, error));
        }
    }

    /// Syncs what the helper has not begun, and waits for it; says what failed.
    pub(super) fn finish(&self) -> Vec<(usize, io::Error)> {
        let mut work = self.table.work();
        loop {
            if let Some(job) = work.jobs.pop_front() {
                drop(work);
                self.run(job);
                work = self.table.work();
            } else if work.helping {
                work = self.table.is_done.wait(work).expect("no holder of this lock panics");
            } else {
                return std::mem::take(&mut work.failed);
            }
        }
    }

    /// Syncs all of it; says what failed.
    pub(super) fn sync(&self, targets: Vec<Job>) -> Vec<(usize, io::Error)> {
        self.begin(targets, false);
        self.finish()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.table.work().closing = true;
        self.table.has_jobs.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// A file whose sync waits for another one's, tells who made it, and fails if so wished.
    #[derive(Debug)]
    struct Waiting {
        waits: Option<Mutex<Receiver<()>>>,
        frees: Option<Sender<()>>,
        by: Mutex<Option<std::thread::ThreadId>>,
        fails: bool,
    }

    impl Waiting {
        fn new(waits: Option<Receiver<()>>, frees: Option<Sender<()>>, fails: bool) -> Arc<Self> {
            Arc::new(Self { waits: waits.map(Mutex::new), frees, by: Mutex::default(), fails })
        }

        fn by(&self) -> Option<std::thread::ThreadId> {
            *self.by.lock().expect("no holder of this lock panics")
        }
    }

    impl DiskFile for Waiting {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn sync_data(&self) -> io::Result<()> {
            *self.by.lock().expect("no holder of this lock panics") = Some(std::thread::current().id());
            if let Some(waits) = &self.waits {
                let waits = waits.lock().expect("no holder of this lock panics");
                waits.recv_timeout(Duration::from_secs(20)).map_err(io::Error::other)?;
            }
            if let Some(frees) = &self.frees {
                frees.send(()).map_err(io::Error::other)?;
            }
            if self.fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn while_the_caller_is_busy_the_helper_begins_and_then_both_sync() {
        let syncer = Syncer::start().expect("a thread starts");
        let (frees, waits) = channel();
        let (long, short) = (Waiting::new(Some(waits), None, false), Waiting::new(None, Some(frees), true));
        syncer.begin(vec![(0, Target::File(long.clone())), (1, Target::File(short.clone()))], true);
        let begin = std::time::Instant::now();
        while long.by().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the helper does not begin");
            std::thread::yield_now();
        }
        // The helper hangs until the second one is synced: the caller does that.
        let failed: Vec<_> = syncer.finish().into_iter().map(|(tag, error)| (tag, error.raw_os_error())).collect();
        assert_eq!(failed, [(1, Some(5))]);
        assert_eq!(short.by(), Some(std::thread::current().id()));
        assert!(syncer.finish().is_empty(), "told once");
    }

    #[test]
    fn one_file_is_synced_by_the_caller_that_is_not_busy() {
        let syncer = Syncer::start().expect("a thread starts");
        let file = Waiting::new(None, None, false);
        assert!(syncer.sync(vec![(0, Target::File(file.clone()))]).is_empty());
        assert_eq!(file.by(), Some(std::thread::current().id()));
    }
}
