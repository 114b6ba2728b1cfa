//! The ledger at work: takes facts from anywhere, writes what has to be written from a thread of its own.
//!
//! Telling never blocks on the disk and never fails. While the disk cannot be written, what there is to write waits in
//! memory: [`PENDING`] entries at most, of which those of one interval are made one, since each holds the whole account.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::calendar;
use super::entry::{Entry, Tally, What};
use super::fact::{Class, Fact};
use super::file::LedgerFile;
use super::ledger::Ledger;
use super::{Account, FOLDER};
use crate::clock::Stamp;
use crate::code::Code;
use crate::language::{IntoValue as _, Message, Value, system};
use crate::message;
use crate::store::disk::{Disk, OsDisk};

/// Entries that wait for the disk at most.
pub const PENDING: usize = 64;

/// Facts that wait for the file to be opened at most: beyond that those in the middle go, since the first failure and the
/// last success are what counts.
const QUEUED: usize = 256;

/// Waits between attempts to write: from this, doubling, to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_secs(5);

/// Longest wait between attempts to write: a disk that is full for days need not be asked more often.
const RETRY_MOST: Duration = Duration::from_secs(300);

/// Intervals that the figures of a month are made of, the newest.
const RECENT: usize = 256;

/// Evidence that an entry gathers while it waits.
const GATHERED: usize = 16;

/// Longest time that closing waits for the disk.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How things stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The file was read: what follows knows of earlier runs.
    pub ready: bool,
    /// The interval that is open.
    pub open: Option<Current>,
    /// Intervals that touch this month (JST), the open one included.
    pub month: u64,
    /// The longest uninterrupted time of them, in ms.
    pub month_longest_ms: u64,
    /// The last delivery that is known.
    pub delivered: Option<Stamp>,
    /// Whether the local alarm is in force.
    pub alarm: bool,
    /// When it was raised, if that is known.
    pub alarm_since: Option<Stamp>,
    /// Why nothing can be written now.
    pub problem: Option<Value>,
}

/// The interval that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Its number.
    pub number: u64,
    /// Its first failed attempt.
    pub since: Stamp,
    /// Whose side it is now.
    pub class: Class,
    /// All that is proved, in ms.
    pub proved_ms: u64,
    /// The longest uninterrupted time that can be claimed, in ms.
    pub uninterrupted_ms: u64,
    /// Attempts that failed.
    pub attempts: u64,
}

/// The ledger at work; clones share it.
#[derive(Debug, Clone)]
pub struct Desk {
    inner: Arc<Inner>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    figures: watch::Sender<Figures>,
    gateway: String,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    started: Stamp,
}

#[derive(Debug)]
struct State {
    /// `None` until the file was read.
    ledger: Option<Ledger>,
    queue: VecDeque<(Fact, Stamp)>,
    pending: VecDeque<Entry>,
    /// First and last moment and uninterrupted time of intervals that are over.
    recent: VecDeque<(Stamp, Stamp, u64)>,
    problem: Option<Value>,
    stop: bool,
    stopped: bool,
}

impl Desk {
    /// Begins a run of the ledger whose file is in the store's folder. Opens it in the background; what the disk does not
    /// allow now is tried again.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn open(store: &Path, gateway: &str, now: &Stamp) -> std::io::Result<Self> {
        Self::open_on(store, gateway, now, Arc::new(OsDisk))
    }

    /// The same on another file system.
    ///
    /// # Errors
    /// As [`Desk::open`].
    pub fn open_on(store: &Path, gateway: &str, now: &Stamp, disk: Arc<dyn Disk>) -> std::io::Result<Self> {
        let state = State {
            ledger: None,
            queue: VecDeque::new(),
            pending: VecDeque::new(),
            recent: VecDeque::new(),
            problem: None,
            stop: false,
            stopped: false,
        };
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            wake: Condvar::new(),
            figures: watch::Sender::new(Figures::default()),
            gateway: gateway.into(),
            folder: store.join(FOLDER),
            disk,
            started: *now,
        });
        let of_thread = Arc::clone(&inner);
        // It parses JSON and writes files; the largest thing on its stack is a path.
        let thread = std::thread::Builder::new()
            .name("tidegate-outage".into())
            .stack_size(256 * 1024)
            .spawn(move || of_thread.work())?;
        Ok(Self { inner, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Tells the ledger something that is so at `now`. Facts are told in the order of their times.
    pub fn tell(&self, fact: Fact, now: &Stamp) {
        let mut state = self.inner.state();
        if state.ledger.is_none() {
            if state.queue.len() >= QUEUED {
                state.queue.remove(QUEUED / 2);
            }
            state.queue.push_back((fact, *now));
            return;
        }
        state.tell(fact, now);
        self.inner.publish(&state, now);
        drop(state);
        self.inner.wake.notify_all();
    }

    /// How things stand, now and from now on.
    pub fn figures(&self) -> watch::Receiver<Figures> {
        self.inner.figures.subscribe()
    }

    /// Writes what there is to write, waiting some seconds at most, and ends. Blocks.
    pub fn close(&self, now: &Stamp) {
        self.tell(Fact::Stopping, now);
        let mut state = self.inner.state();
        state.stop = true;
        self.inner.wake.notify_all();
        let waited = self.inner.wake.wait_timeout_while(state, CLOSE_WITHIN, |state| !state.stopped);
        let stopped = waited.is_ok_and(|(state, _)| state.stopped);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that waits for a disk that hangs is left to itself.
        if let Some(thread) = thread.filter(|_| stopped) {
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A holder that panics leaves a ledger that is at worst one fact behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        if let Some(mut file) = self.open() {
            self.write(&mut file);
        }
        self.state().stopped = true;
        self.wake.notify_all();
    }

    /// Opens the file, again and again if the disk does not allow it now. `None` if told to stop before.
    fn open(&self) -> Option<LedgerFile> {
        let mut wait = RETRY_FIRST;
        loop {
            let run = (self.started, self.started.uptime_ms);
            match LedgerFile::open(Arc::clone(&self.disk), &self.folder, &self.gateway, run) {
                Ok((file, found)) => {
                    for note in found.faults.iter().chain(&found.notes) {
                        tracing::warn!(line = note.line, "outage ledger: {}", note.what);
                    }
                    self.begin(&found.tally);
                    return Some(file);
                }
                Err(error) => self.failed(self.cannot_open(&error)),
            }
            if self.rest(&mut wait) {
                return None;
            }
        }
    }

    /// The file was read: what was told meanwhile is taken in.
    fn begin(&self, tally: &Tally) {
        let mut state = self.state();
        state.ledger = Some(Ledger::resume(tally, &self.started));
        state.problem = None;
        let over = tally.intervals.values().filter(|account| account.ended.is_some());
        let recent: Vec<_> = over.map(|account| summed(account, |stamp| with_time(tally, stamp))).collect();
        state.recent = recent.into_iter().rev().take(RECENT).rev().collect();
        let started = self.started;
        state.tell(Fact::Started, &started);
        let mut last = started;
        while let Some((fact, now)) = state.queue.pop_front() {
            state.tell(fact, &now);
            last = now;
        }
        self.publish(&state, &last);
    }

    /// Writes what is pending until told to stop.
    fn write(&self, file: &mut LedgerFile) {
        let mut wait = RETRY_FIRST;
        loop {
            let mut state = self.state();
            while state.pending.is_empty() && !state.stop {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let batch = std::mem::take(&mut state.pending);
            let last = state.stop;
            drop(state);
            if batch.is_empty() {
                return;
            }
            let wrote = file.append(batch.iter().cloned().collect());
            match &wrote {
                Ok(()) => {
                    wait = RETRY_FIRST;
                    self.succeeded();
                }
                Err(error) => {
                    self.put_back(batch);
                    self.failed(self.cannot_write(error));
                }
            }
            let give_up = wrote.is_err() && (last || self.rest(&mut wait));
            if give_up {
                return;
            }
        }
    }

    fn put_back(&self, batch: VecDeque<Entry>) {
        let mut state = self.state();
        let newer = std::mem::replace(&mut state.pending, batch);
        for entry in newer {
            state.push(entry);
        }
    }

    /// Waits before the next attempt; says whether it was told to stop.
    fn rest(&self, wait: &mut Duration) -> bool {
        let waited = self.wake.wait_timeout_while(self.state(), *wait, |state| !state.stop);
        *wait = (*wait * 2).min(RETRY_MOST);
        waited.map_or(true, |(state, _)| state.stop)
    }

    fn cannot_open(&self, error: &std::io::Error) -> Message {
        let folder = self.folder.display();
        message!("cannot open the outage ledger in {folder}: {error}", folder = folder, error = system::said(error))
    }

    fn cannot_write(&self, error: &std::io::Error) -> Message {
        let folder = self.folder.display();
        message!("cannot write the outage ledger in {folder}: {error}", folder = folder, error = system::said(error))
    }

    fn failed(&self, why: Message) {
        let text = why.into_value();
        let mut state = self.state();
        if state.problem.as_ref() != Some(&text) {
            tracing::warn!(code = %Code::CannotWrite, "{text}; what it would say waits in memory, and is written once the disk allows it");
        }
        state.problem = Some(text.clone());
        drop(state);
        self.figures.send_if_modified(|figures| figures.problem.replace(text.clone()).is_none_or(|old| old != text));
    }

    fn succeeded(&self) {
        if self.state().problem.take().is_some() {
            tracing::info!("the outage ledger can be written again");
            self.figures.send_if_modified(|figures| figures.problem.take().is_some());
        }
    }

    fn publish(&self, state: &State, now: &Stamp) {
        let figures = state.figures(now);
        self.figures.send_if_modified(|known| {
            let news = *known != figures;
            *known = figures;
            news
        });
    }
}

/// The stamp with the wall time that the file's entries know for it.
fn with_time(tally: &Tally, stamp: &Stamp) -> Stamp {
    Stamp { wall_ms: tally.time(stamp).0, ..*stamp }
}

fn summed(account: &Account, time: impl Fn(&Stamp) -> Stamp) -> (Stamp, Stamp, u64) {
    (time(&account.from), time(&account.until()), account.uninterrupted_ms())
}

impl State {
    fn tell(&mut self, fact: Fact, now: &Stamp) {
        let Some(entry) = self.ledger.as_mut().and_then(|ledger| ledger.tell(fact, now)) else { return };
        if let What::Ended(account) = &entry.what {
            let right = |stamp: &Stamp| {
                let wall_ms = if stamp.boot == now.boot { stamp.by(now) } else { stamp.wall_ms };
                Stamp { wall_ms, ..*stamp }
            };
            self.recent.push_back(summed(account, right));
            while self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
        self.push(entry);
    }

    /// Adds an entry to what waits for the disk; of one interval only the newest waits, with all that was noted.
    fn push(&mut self, entry: Entry) {
        let one = self.pending.back().and_then(|before| joined(before, &entry));
        if one.is_some() {
            self.pending.pop_back();
        }
        self.pending.push_back(one.unwrap_or(entry));
        while self.pending.len() > PENDING {
            let mark = self.pending.iter().position(|entry| matches!(entry.what, What::Mark { .. }));
            self.pending.remove(mark.unwrap_or(0));
        }
    }

    fn figures(&self, now: &Stamp) -> Figures {
        let Some(ledger) = &self.ledger else {
            return Figures { problem: self.problem.clone(), ..Figures::default() };
        };
        let open = ledger.open();
        let month = calendar::month(now.wall_ms);
        let touches = |from: u64, until: u64| calendar::month(from) <= month && month <= calendar::month(until);
        let over = self.recent.iter().filter(|(from, until, _)| touches(from.wall_ms, until.wall_ms));
        let open_ms = open.map(Account::uninterrupted_ms);
        let longest: Vec<u64> = over.map(|(_, _, ms)| *ms).chain(open_ms).collect();
        Figures {
            ready: true,
            open: open.map(|account| Current {
                number: account.number,
                since: account.from,
                class: account.class(),
                proved_ms: account.proved_ms(),
                uninterrupted_ms: account.uninterrupted_ms(),
                attempts: account.attempts,
            }),
            month: longest.len() as u64,
            month_longest_ms: longest.into_iter().max().unwrap_or(0),
            delivered: ledger.delivered(),
            alarm: ledger.alarm(),
            alarm_since: ledger.alarm_since(),
            problem: self.problem.clone(),
        }
    }
}

/// Two entries of one interval as one, if the later says all that the earlier does.
fn joined(before: &Entry, after: &Entry) -> Option<Entry> {
    let (What::Begun(old) | What::Still(old)) = &before.what else { return None };
    let (What::Begun(new) | What::Still(new) | What::Ended(new)) = &after.what else { return None };
    // Another run's entry says when that one was last seen: the reader needs both.
    if old.number != new.number || before.run != after.run || before.at.boot != after.at.boot {
        return None;
    }
    let mut account = new.clone();
    account.evidence.splice(0..0, old.evidence.iter().cloned());
    let more = account.evidence.len().saturating_sub(GATHERED);
    account.evidence.truncate(GATHERED);
    account.left_out += more as u64;
    let what = match (&before.what, &after.what) {
        (_, What::Ended(_)) => What::Ended(account),
        (What::Begun(_), _) => What::Begun(account),
        _ => What::Still(account),
    };
    Some(Entry { what, ..after.clone() })
}
