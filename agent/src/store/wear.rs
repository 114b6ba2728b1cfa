//! What storing costs the flash: bytes stored, bytes written to the medium for them, and how long a card lasts so.
//!
//! # What is counted
//!
//! - *Stored*: bytes of the records' bodies as they were handed in.
//! - *Device written*: the block device's own counter (`/sys/dev/block/<major>:<minor>/stat`, field 7, in units of 512
//!   bytes; kernel documentation `block/stat`). It counts everyone's writes, ours and those of the file system's
//!   journal among them. What the card's controller writes beyond that (it moves data to free whole erase blocks) no
//!   program can see.
//! - *Our share* is an estimate. Around the write and sync of some of our commits the counter is read; what it moved by
//!   beyond what we handed to the file system is what that commit cost in blocks that are not full and in the file system's
//!   journal. That depends little on the commit's size, so each commit is counted as what it handed over and such a cost: the
//!   mean of those of the last samples, without their highest quarter. There stand the commits that made a file or the
//!   reserve, which is written once, and those beside which somebody else wrote much: a sync waits for whatever the file
//!   system has under way. Wrong in it: who else writes in more than a quarter of those moments is counted as ours, and what
//!   the file system writes later for us (its own journal's checkpoint, the removal of segments) is not. More than the
//!   device wrote in all is never claimed.
//!
//! `/proc/self/io` is not used: it counts whole pages made dirty, each time, and nothing of the file system's own.
//!
//! Nothing here is kept on disk: the figures run since the store was opened.

use crate::language::{IntoValue as _, Message, Value, system};
use crate::message;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A commit is sampled when so many have passed without one: even for commits of all sizes, a sixteenth of the cost.
const EVERY: u32 = 16;
/// A sample is due after this time even when fewer commits came: a gateway that commits once a minute is estimated too.
const AT_LEAST: Duration = Duration::from_secs(10);
/// Samples are never closer than this: reading the counter takes tens of microseconds, so it stays below 0.1 %.
const AT_MOST: Duration = Duration::from_millis(100);
/// The cost of a commit is that of the last so many samples.
const SAMPLES: usize = 64;
/// Samples from which on something is told: of five the two highest are left out, so that neither the making of the store,
/// which all of the first sample may be, nor one burst of somebody else's is taken for a habit.
const ENOUGH: usize = 5;
/// Bytes stored from which on a ratio is told, 16 blocks of a file system: each commit costs some whole blocks, however little is
/// in it, and by a few bytes that divides to a number in the thousands that says nothing of how long the card lasts.
const RATIO_FROM: u64 = 64 * 1024;

/// How often the device's counter is noted for the present pace.
const NOTE: Duration = Duration::from_secs(3600);
/// The present pace is that of the last day: shifts and nights even out.
const NOTES: usize = 24;
/// Shortest time from which a pace is told: below it one burst would look like a habit.
const PACE_AFTER: Duration = Duration::from_secs(60);

const SECTOR: u64 = 512;
const SECONDS_A_YEAR: f64 = 365.25 * 24.0 * 3600.0;

/// Whatever counts the bytes that are written to the medium.
pub trait Medium: Debug + Send + Sync {
    /// Bytes written to it so far, from any beginning; only ever grows.
    ///
    /// # Errors
    /// When the counter cannot be read.
    fn written(&self) -> io::Result<u64>;
}

/// Why bytes written to the medium are not known.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum NoCounter {
    /// The folder cannot be looked at.
    Io {
        /// The folder.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file system does not lie on one block device, as overlay, tmpfs, btrfs and network file systems do not.
    NoDevice {
        /// The folder.
        path: String,
    },
    /// The device has no counter to be read.
    Unreadable {
        /// The folder.
        path: String,
        /// Where it should be.
        counter: String,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
}

impl NoCounter {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Io { path, .. } => message!("cannot find the device under {path}", path = path),
            Self::NoDevice { path } => {
                message!("{path} does not lie on a single block device that counts", path = path)
            }
            Self::Unreadable { path, counter, .. } => {
                message!("the block device under {path} has no counter at {counter}", path = path, counter = counter)
            }
        }
    }
}

/// The block device on which a folder lies (a partition has a counter of its own).
#[derive(Debug)]
pub struct BlockDevice {
    stat: PathBuf,
}

impl BlockDevice {
    /// Finds it, and makes sure that its counter can be read.
    ///
    /// # Errors
    /// When there is none, and why.
    pub fn of(folder: &Path) -> Result<Self, NoCounter> {
        let path = || folder.display().to_string();
        let about = rustix::fs::stat(folder).map_err(|error| NoCounter::Io { path: path(), source: error.into() })?;
        let (major, minor) = (rustix::fs::major(about.st_dev), rustix::fs::minor(about.st_dev));
        if major == 0 {
            // Linux gives major 0 to what has no device of its own.
            return Err(NoCounter::NoDevice { path: path() });
        }
        let device = Self { stat: PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat")) };
        match device.written() {
            Ok(_) => Ok(device),
            Err(source) => {
                Err(NoCounter::Unreadable { path: path(), counter: device.stat.display().to_string(), source })
            }
        }
    }
}

impl Medium for BlockDevice {
    fn written(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(&self.stat)?;
        parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the fields of a block device"))
    }
}

/// Bytes written, from a device's `stat`.
fn parse_stat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(SECTOR)
}

/// Why the medium's bytes are not known, with its cause, for people.
fn explain(error: &NoCounter) -> Value {
    match error {
        NoCounter::Io { source, .. } | NoCounter::Unreadable { source, .. } => {
            message!("{what}: {why}", what = error.message(), why = system::said(source)).into_value()
        }
        NoCounter::NoDevice { .. } => error.message().into_value(),
    }
}

/// The store's own: its medium's counter and the estimate.
#[derive(Debug)]
pub(super) struct Gauge {
    medium: Result<Box<dyn Medium>, Value>,
    estimator: Mutex<Estimator>,
}

impl Gauge {
    pub(super) fn new(medium: Result<Box<dyn Medium>, NoCounter>) -> Self {
        let now = Instant::now();
        let medium = medium.map_err(|error| explain(&error));
        let gauge = Self { medium, estimator: Mutex::new(Estimator::new(now)) };
        if let Some(counter) = gauge.counter() {
            gauge.estimator().note(counter, now);
        }
        gauge
    }

    fn estimator(&self) -> MutexGuard<'_, Estimator> {
        self.estimator.lock().expect("no holder of this lock panics")
    }

    fn counter(&self) -> Option<u64> {
        // One that cannot be read for once is a sample less.
        self.medium.as_ref().ok()?.written().ok()
    }

    /// Before a commit: the counter, if this one is to be sampled.
    pub(super) fn begin(&self) -> Option<u64> {
        let due = self.medium.is_ok() && self.estimator().is_due(Instant::now());
        if due { self.counter() } else { None }
    }

    /// After the commit's syncs: the counter before and after.
    pub(super) fn end(&self, before: u64) -> Option<(u64, u64)> {
        Some((before, self.counter()?))
    }

    /// A commit is on flash: so many bytes of bodies, so many handed to the file system in all, and its sample.
    pub(super) fn committed(&self, stored: u64, handed: u64, sample: Option<(u64, u64)>) {
        let mut estimator = self.estimator();
        estimator.committed(stored, handed);
        if let Some((before, after)) = sample {
            estimator.sample(handed, before, after, Instant::now());
        }
    }

    /// The figures as they stand.
    pub(super) fn wear(&self) -> Wear {
        let (now, counter) = (Instant::now(), self.counter());
        let mut estimator = self.estimator();
        if let Some(counter) = counter {
            estimator.note(counter, now);
        }
        Wear { unknown: self.medium.as_ref().err().cloned().unwrap_or_default(), ..estimator.wear(now) }
    }
}

/// What storing has cost since the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Wear {
    /// Bytes of records' bodies committed.
    pub stored: u64,
    /// Bytes written to the medium for them and for changes of state: our share, estimated. `None` until enough commits were
    /// sampled, or where the medium does not count.
    pub written: Option<u64>,
    /// Bytes that everyone wrote to the device.
    pub device_written: Option<u64>,
    /// Bytes that everyone writes to the device in a day, at the present pace (that of the last day at most).
    pub device_a_day: Option<u64>,
    /// Since when all this is counted: milliseconds ago.
    pub for_ms: u64,
    /// Why the medium's bytes are not known; empty if they are.
    pub unknown: Value,
}

impl Wear {
    /// Bytes written to the medium per byte stored; `None` while less is stored than says something (64 KiB).
    pub fn ratio(&self) -> Option<f64> {
        self.written.filter(|_| self.stored >= RATIO_FROM).map(|written| written as f64 / self.stored as f64)
    }

    /// Years in which `endurance` bytes would be written at the device's present pace; what was written before the
    /// agent was started is not known, so it is the life of a new card.
    pub fn years(&self, endurance: u64) -> Option<f64> {
        years(endurance, self.device_a_day?)
    }
}

/// Years in which so many bytes are written; `None` if nothing is.
fn years(endurance: u64, bytes_a_day: u64) -> Option<f64> {
    (bytes_a_day > 0).then(|| endurance as f64 / bytes_a_day as f64 * 86_400.0 / SECONDS_A_YEAR)
}

/// A count of bytes that was reckoned with.
// Nothing here is ever below 0, and `as` stops at the highest number.
#[allow(clippy::cast_sign_loss)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// Adds up what is known. Pure: counters and time come as arguments.
#[derive(Debug)]
struct Estimator {
    began: Instant,
    stored: u64,
    /// Handed to the file system since the last sample, or since the beginning while there are not enough.
    handed: u64,
    /// Commits since then.
    commits: u64,
    /// Commits since the last sample.
    unsampled: u32,
    sampled_at: Option<Instant>,
    /// What recent samples' commits cost beyond what was handed over.
    beyond: VecDeque<u64>,
    /// Our share until the last sample.
    written: u64,
    /// The counter first and last.
    device: Option<(u64, u64)>,
    /// Whether that is all that was written: no counter went back.
    device_whole: bool,
    notes: VecDeque<(Instant, u64)>,
}

impl Estimator {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            stored: 0,
            handed: 0,
            commits: 0,
            unsampled: 0,
            sampled_at: None,
            beyond: VecDeque::new(),
            written: 0,
            device: None,
            device_whole: true,
            notes: VecDeque::new(),
        }
    }

    /// Whether the commit that comes now should be sampled.
    fn is_due(&self, now: Instant) -> bool {
        match self.sampled_at.map(|at| now.saturating_duration_since(at)) {
            None => true,
            Some(since) => since >= AT_MOST && (self.unsampled >= EVERY || since >= AT_LEAST),
        }
    }

    /// A commit is on flash: so many bytes of bodies, so many handed to the file system in all.
    fn committed(&mut self, stored: u64, handed: u64) {
        self.stored += stored;
        self.handed += handed;
        self.commits += 1;
        self.unsampled = self.unsampled.saturating_add(1);
    }

    /// The counter before and after one commit of `handed` bytes (which [`Estimator::committed`] counts too).
    fn sample(&mut self, handed: u64, before: u64, after: u64, now: Instant) {
        self.note(after, now);
        self.sampled_at = Some(now);
        self.unsampled = 0;
        // A counter that went back is another device's (a card was changed): no sample.
        let Some(medium) = after.checked_sub(before) else { return };
        if handed == 0 {
            return;
        }
        if self.beyond.len() == SAMPLES {
            self.beyond.pop_front();
        }
        self.beyond.push_back(medium.saturating_sub(handed));
        if let Some(pending) = self.pending() {
            self.written += pending;
            (self.handed, self.commits) = (0, 0);
        }
    }

    /// What the commits cost that were not counted yet; `None` before there are enough samples.
    fn pending(&self) -> Option<u64> {
        if self.beyond.len() < ENOUGH {
            return None;
        }
        let mut all: Vec<u64> = self.beyond.iter().copied().collect();
        all.sort_unstable();
        all.truncate(all.len() - all.len().div_ceil(4));
        let mean = all.iter().sum::<u64>() / all.len() as u64;
        Some(self.handed + self.commits.saturating_mul(mean))
    }

    /// The device's counter as it is now.
    fn note(&mut self, counter: u64, now: Instant) {
        match &mut self.device {
            Some((_, last)) if *last <= counter => *last = counter,
            before => {
                self.device_whole &= before.is_none();
                self.device = Some((counter, counter));
                self.notes.clear();
            }
        }
        if self.notes.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= NOTE) {
            self.notes.push_back((now, counter));
            if self.notes.len() > NOTES {
                self.notes.pop_front();
            }
        }
    }

    /// The figures as they stand.
    fn wear(&self, now: Instant) -> Wear {
        let device_written = self.device.map(|(first, last)| last - first);
        let most = device_written.filter(|_| self.device_whole).unwrap_or(u64::MAX);
        Wear {
            stored: self.stored,
            written: self.pending().map(|pending| self.written.saturating_add(pending).min(most)),
            device_written,
            device_a_day: self.pace(now),
            for_ms: now.saturating_duration_since(self.began).as_millis() as u64,
            unknown: Value::default(),
        }
    }

    fn pace(&self, now: Instant) -> Option<u64> {
        let (from, first) = self.notes.front()?;
        let (_, last) = self.device?;
        let time = now.saturating_duration_since(*from);
        (time >= PACE_AFTER).then(|| whole(last.saturating_sub(*first) as f64 / time.as_secs_f64() * 86_400.0))
    }
}

#[cfg(test)]
mod tests;
