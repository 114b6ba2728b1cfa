//! Opening: what is on the disk becomes a ledger, lanes to append to, and a report. The order of steps is in the
//! [module's documentation](super).

use super::contents::{self, Contents};
use super::control::{self, Entry, LaneLedger, Ledger};
use super::delivered::{self, Keep};
use super::hardware::Met;
use super::log::{Log, LogShared, SegmentView, View};
use super::recover_control::ControlFound;
use super::recover_lane::{self, LaneFound};
use super::reserve::{Reserve, is_full};
use super::segment::{self, GATEWAY_LIMIT, Identity, LANE_LIMIT};
use super::version::{self, Says};
use super::writer::Parts;
use super::{Queue, Shared, aside_limit, control_segment_size, lane_dir, own_needs, reserve_size, segment_size};
use crate::code::Code;
use crate::store::disk::{Disk, Mode};
use crate::store::state::Index;
use crate::store::wear::Gauge;
use crate::store::{KeptSession, MIN_MAX_SIZE, Opened, Options, REPORT_LINES, Ranges, StoreError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};

/// Bytes read at one time.
pub(super) const WINDOW: usize = 256 * 1024;

/// Unusable segments kept for whoever wants to look at them.
const DAMAGED_KEPT: usize = 8;

/// Lanes at most, those once configured included: an index is one byte.
const LANES: usize = 255;

/// What reading is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// To go on with the store: what was read is synced, and files are opened to be written to.
    Own,
    /// To learn whether that is possible: files are opened to be written to; nothing is written, and nothing is synced.
    Try,
    /// Only to look: nothing is written, and nothing is synced.
    Look,
}

impl Access {
    pub(super) fn mode(self) -> Mode {
        if self == Self::Look { Mode::Read } else { Mode::Write }
    }
}

/// What recovery has to say.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<String>,
    more: usize,
    quiet: bool,
}

impl Report {
    /// One that logs nothing, for who only looks.
    pub(super) fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    pub(super) fn add(&mut self, line: String) {
        if self.lines.len() + 1 >= REPORT_LINES {
            self.more += 1;
            return;
        }
        if !self.quiet {
            tracing::warn!("{line}");
        }
        self.lines.push(line);
    }

    /// The same with the code whose page says what to do.
    fn add_coded(&mut self, code: Code, line: &str) {
        self.add(format!("{line} ({code})"));
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            let line = format!("and {} more", self.more);
            tracing::warn!("{line}");
            self.lines.push(line);
        }
        self.lines
    }
}

/// A segment file as it is listed.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) first: u64,
    pub(super) generation: u64,
    pub(super) len: u64,
}

impl Found {
    pub(super) fn view(&self) -> SegmentView {
        let (first, generation, len) = (self.first, self.generation, self.len);
        SegmentView { first, generation, len, end: u64::MAX, end_known: false, first_time: None }
    }
}

/// The segments in a folder, by generation. Other files are left alone.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Found>, StoreError> {
    let entries = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| io_error("list", dir, error))?,
    };
    let mut found: Vec<Found> = entries
        .into_iter()
        .filter(|entry| !entry.folder)
        .filter_map(|entry| {
            let (first, generation) = segment::parse_name(&entry.name)?;
            Some(Found { first, generation, len: entry.len })
        })
        .collect();
    found.sort_by_key(|segment| (segment.generation, segment.first));
    Ok(found)
}

pub(super) fn read_error(path: &Path, source: io::Error) -> StoreError {
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<segment::OtherVersion>());
    if let Some(other) = inner {
        return StoreError::Version { path: path.display().to_string(), found: other.found, known: segment::VERSION };
    }
    io_error("read", path, source)
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.display().to_string(), source }
}

/// Opens what is there, or makes a new store.
pub(super) fn open(options: Options, disk: Arc<dyn Disk>) -> Result<(Arc<Shared>, Parts, Opened), StoreError> {
    check(&options)?;
    let root = options.path.clone();
    // Before anything is made, the lock included.
    version::check(&*disk, &root)?;
    disk.create_dir_all(&root).map_err(|error| io_error("make the folder", &root, error))?;
    let lock = take_lock(&*disk, &root)?;
    let mut report = Report::default();
    // Another process may have made the store meanwhile.
    if version::check(&*disk, &root)? == Says::Damaged {
        let file = root.join(version::NAME);
        let text = format!("{} is damaged: the segments' heads say the format, and it is written anew", file.display());
        report.add_coded(Code::StoreDamaged, &text);
    }
    // A store that was made before there was this file is judged by the heads before it is said of the whole.
    let fresh = version::is_fresh(&*disk, &root).map_err(|error| io_error("list", &root, error))?;
    if fresh {
        version::say(&*disk, &root);
    }
    let contents = Contents::read(&disk, &options, Access::Own, &mut report)?;
    let whole = disk.clone();
    let recovery = Recovery::of(options, disk, contents, report)?;
    let opened = recovery.finish(lock)?;
    if !fresh {
        version::say(&*whole, &root);
    }
    Ok(opened)
}

/// Judges the options by themselves.
pub(super) fn check(options: &Options) -> Result<(), StoreError> {
    let wrong = |what: String| Err(StoreError::Options { what });
    if options.gateway.is_empty() || options.gateway.len() > GATEWAY_LIMIT {
        return wrong(format!("the gateway's id must have 1 to {GATEWAY_LIMIT} bytes"));
    }
    if options.lanes.is_empty() || options.lanes.len() > LANES / 2 {
        return wrong(format!("there must be 1 to {} lanes", LANES / 2));
    }
    for (index, lane) in options.lanes.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        if lane.name.is_empty() || lane.name.len() > LANE_LIMIT || !lane.name.bytes().all(plain) {
            return wrong(format!(
                "the lane name {:?} must have 1 to {LANE_LIMIT} characters out of a-z, 0-9, _ and -",
                lane.name
            ));
        }
        if options.lanes[..index].iter().any(|other| other.name == lane.name) {
            return wrong(format!("two lanes are named {:?}", lane.name));
        }
    }
    check_sizes(options)?;
    Ok(())
}

fn check_sizes(options: &Options) -> Result<(), StoreError> {
    let wrong = |what: String| Err(StoreError::Options { what });
    if options.max_size < MIN_MAX_SIZE {
        return wrong(format!("max_size is {} bytes and must be at least {MIN_MAX_SIZE}", options.max_size));
    }
    if options.min_size > options.max_size {
        return wrong(format!(
            "min_size is {} bytes and must be at most max_size, which is {}",
            options.min_size, options.max_size
        ));
    }
    let reserved = options.lanes.iter().fold(0_u64, |sum, lane| sum.saturating_add(lane.reserve));
    let reservable = options.max_size.saturating_sub(own_needs(options.max_size));
    if reserved > reservable {
        return wrong(format!(
            "{reserved} bytes are reserved for lanes in all: of max_size, {} bytes, at most {reservable} can be, for \
             the store needs room for itself, and a lane without a reserve must not be shut out",
            options.max_size
        ));
    }
    Ok(())
}

fn take_lock(disk: &dyn Disk, root: &Path) -> Result<Box<dyn std::fmt::Debug + Send + Sync>, StoreError> {
    let path = root.join("lock");
    disk.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked { path: root.display().to_string() },
        _ => io_error("lock", &path, error),
    })
}

/// The configured lanes in order, then those that the ledger or a folder still knows.
pub(super) fn lane_names(
    disk: &dyn Disk,
    options: &Options,
    ledger: Option<&Ledger>,
) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> = options.lanes.iter().map(|lane| lane.name.clone()).collect();
    let known = ledger.into_iter().flat_map(|ledger| &ledger.lanes).map(|lane| lane.name.clone());
    let mut folders: Vec<String> = disk
        .list(&options.path)
        .map_err(|error| io_error("list", &options.path, error))?
        .into_iter()
        .filter(|entry| entry.folder)
        .filter_map(|entry| entry.name.strip_prefix("lane-").map(str::to_owned))
        .collect();
    folders.sort();
    for name in known.chain(folders) {
        if !names.contains(&name) && names.len() < LANES {
            names.push(name);
        }
    }
    Ok(names)
}

/// The folders that a store has, without its own.
pub(super) fn folders(options: &Options, names: &[String]) -> Vec<PathBuf> {
    let lanes = names.iter().map(|name| lane_dir(options, name));
    lanes.chain(["control", "aside", "damaged"].map(|name| options.path.join(name))).collect()
}

pub(super) fn make_folders(disk: &dyn Disk, options: &Options, names: &[String]) -> Result<(), StoreError> {
    let root = &options.path;
    for dir in &folders(options, names) {
        disk.create_dir_all(dir).map_err(|error| io_error("make the folder", dir, error))?;
    }
    disk.sync_dir(root).map_err(|error| io_error("sync", root, error))?;
    for parent in root.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
        // Not ours, and perhaps not readable for us; where it is, the names on the way to the store are made to last:
        // any of them may have been made just now.
        let _ = disk.sync_dir(parent);
    }
    Ok(())
}

/// What has been found so far, before anything on the disk is changed.
struct Recovery {
    options: Options,
    disk: Arc<dyn Disk>,
    report: Report,
    control: ControlFound,
    ledger: Ledger,
    lanes: Vec<LaneFound>,
    aside: LaneFound,
    /// The ledger differs from what the control lane says, or the control lane cannot be gone on with.
    changed: bool,
    new_epoch: bool,
    /// Bytes in which a file grows on this file system.
    block: u64,
}

impl Recovery {
    fn of(options: Options, disk: Arc<dyn Disk>, contents: Contents, report: Report) -> Result<Self, StoreError> {
        let Contents { control, ledger, known, same, lanes, aside } = contents;
        let changed = !known || !same || control.damaged;
        // What cannot be asked for is as it is nearly everywhere.
        let block = disk.space(&options.path).map_or(4096, |space| space.block);
        let new_epoch = !known;
        let mut recovery = Self { options, disk, report, control, ledger, lanes, aside, changed, new_epoch, block };
        recovery.account(known);
        recovery.limit_ages();
        recovery.decide_epoch(known)?;
        Ok(recovery)
    }

    /// Brings the ledger and the lanes together.
    fn account(&mut self, known: bool) {
        let ahead = self.ledger.released_ahead.take().unwrap_or_default();
        for (index, found) in self.lanes.iter_mut().enumerate() {
            let lane = index as u8;
            let epoch = found.head.as_ref().map_or(&self.ledger.epoch, |head| &head.epoch).clone();
            let ledger = &mut self.ledger.lanes[index];
            if !known {
                // Where the cursor stood is lost: all that is there goes (again), and is marked as perhaps sent.
                ledger.waiting = Ranges::from(found.view.segments.front().map_or(0, |segment| segment.first));
                ledger.unsent = Ranges::from(found.view.next);
            }
            // Accounted for with the epoch that is drawn now: the lane ends too early until it has a record again.
            ledger.lost = ledger.lost.max(found.claimed);
            let evidence = ledger.evidence();
            if evidence > found.view.next {
                let (from, below) = (found.view.next, evidence);
                // Until the lane has a record again it ends too early at each start: once, a new epoch is drawn for it.
                if below > ledger.lost {
                    ledger.lost = below;
                    found.doubt =
                        Some(format!("lane {}: records up to {below} were known of, some are lost", ledger.name));
                }
                found.damage.push((from, below));
                found.view.next = evidence;
            }
            for (from, below) in std::mem::take(&mut found.damage) {
                // What no longer waits is missed by nobody.
                let waiting: Vec<_> = self.ledger.lanes[index].waiting.within(from, below).collect();
                for (from, below) in waiting {
                    if !self.ledger.lanes[index].knows(from, below) {
                        self.changed = true;
                        let epoch = Some(epoch.clone());
                        self.ledger.apply(&Entry::Damaged { lane, from, below, epoch });
                    }
                }
            }
            let newest = found.view.segments.back().map_or(0, |segment| segment.first);
            self.changed |= self.ledger.settle_gaps(lane, found, self.control.unbroken);
            for (origin, seq) in std::mem::take(&mut found.origins) {
                if !ahead.contains(&(lane, seq)) && self.ledger.sessions.contains_key(&origin.session) {
                    // Two publishes under one packet id: the release of the first, which came with the second, did
                    // not reach the control lane. A release names one place; the snapshot forgets the other.
                    self.changed |= self.ledger.unreleased.get(&origin).is_some_and(|place| *place != (lane, seq));
                    // Nor did what the control lane is told when a lane begins a new segment: the one that holds this
                    // may go as soon as it is delivered.
                    self.changed |= seq < newest;
                    self.ledger.store(origin, lane, seq);
                }
                self.ledger.next_session = self.ledger.next_session.max(origin.session.saturating_add(1));
            }
        }
    }

    /// An age limit that is new or was shortened does not reach back: what is stored stays until it is delivered.
    fn limit_ages(&mut self) {
        let lanes = self.ledger.lanes.iter_mut().zip(&self.lanes).zip(&self.options.lanes);
        for ((ledger, found), configured) in lanes {
            let limit = configured.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            if limit == ledger.max_age_ms {
                continue;
            }
            if limit.is_some_and(|limit| ledger.max_age_ms.is_none_or(|before| limit < before)) {
                ledger.ageing.remove(0, found.view.next);
            }
            ledger.max_age_ms = limit;
            self.changed = true;
        }
    }

    fn decide_epoch(&mut self, known: bool) -> Result<(), StoreError> {
        let fresh = contents::is_new(known, &self.control, &self.lanes);
        let mut doubts: Vec<String> = self.lanes.iter_mut().filter_map(|lane| lane.doubt.take()).collect();
        if !fresh && !known {
            doubts.push("the control lane is lost: what was delivered is sent again, sessions begin anew".into());
        } else if self.control.damaged {
            doubts.push("the control lane is damaged".into());
        }
        let here = self.options.hardware.as_deref().unwrap_or_default();
        match self.ledger.hardware.meet(here) {
            Met::Same => {}
            Met::New => self.changed = true,
            Met::Other(keys) => doubts.push(format!(
                "the store is on other hardware than before ({keys}): the card or an image of it was copied or moved; what \
                 it holds is kept and sent under its old ids"
            )),
        }
        if fresh || !doubts.is_empty() {
            self.new_epoch = true;
            self.changed = true;
            self.ledger.epoch =
                draw_epoch().map_err(|error| io_error("draw an epoch for", &self.options.path, error))?;
        }
        for doubt in doubts {
            self.report.add(format!("a new epoch is drawn: {doubt}"));
        }
        Ok(())
    }

    /// Makes the new state durable, then tidies up.
    fn finish(
        mut self,
        lock: Box<dyn std::fmt::Debug + Send + Sync>,
    ) -> Result<(Arc<Shared>, Parts, Opened), StoreError> {
        let max_size = self.options.max_size;
        let size = segment_size(max_size);
        let mut lanes = Vec::new();
        for (index, found) in self.lanes.iter_mut().enumerate() {
            let ledger = &mut self.ledger.lanes[index];
            let dir = lane_dir(&self.options, &ledger.name);
            let newest = found.view.segments.back().map_or(0, |segment| segment.generation);
            lanes.push(make_log(found, dir, &ledger.name, size, self.block));
            // What is missing has been accounted for with a new epoch: it is not missed again at the next start.
            ledger.generation = newest;
        }
        let aside_dir = self.options.path.join("aside");
        let aside_size = aside_limit(max_size) / 4;
        let aside = make_log(&mut self.aside, aside_dir, "aside", aside_size, self.block);
        let mut reserve = Reserve::find(self.disk.clone(), &self.options.path, reserve_size(max_size));
        let mut control = self.make_control();
        if self.changed {
            self.write_snapshot(&mut control, &lanes, &mut reserve)?;
        }
        self.tidy(&mut lanes, &mut control);
        for (log, known) in lanes.iter().zip(&self.ledger.lanes) {
            recover_lane::learn_time(&*self.disk, &log.shared, known.cursor());
        }
        if let Err(error) = reserve.restore() {
            tracing::warn!(%error, "no room for the reserve: no records are taken until there is");
        }
        let opened = Opened {
            sessions: kept_sessions(&self.ledger),
            next_session_id: self.ledger.next_session,
            new_epoch: self.new_epoch,
            report: std::mem::take(&mut self.report).finish(),
        };
        let shared = self.share(&lanes, &aside, &control);
        Ok((shared, Parts { lanes, aside, control, reserve, lock }, opened))
    }

    fn make_control(&mut self) -> Log {
        let found = &mut self.control;
        let bytes = found.segments.iter().map(|segment| segment.len).sum();
        let segments = std::mem::take(&mut found.segments).into();
        let view = View { segments, next: found.next, bytes, ..View::default() };
        let shared = Arc::new(LogShared::new("control".into(), self.options.path.join("control"), self.block, view));
        let size = control_segment_size(self.options.max_size, 0);
        Log::new(shared, found.next, found.generation, size)
    }

    /// Writes a new control segment that begins with the state as it is now.
    fn write_snapshot(&mut self, control: &mut Log, lanes: &[Log], reserve: &mut Reserve) -> Result<(), StoreError> {
        for (known, log) in self.ledger.lanes.iter_mut().zip(lanes) {
            known.accounted = log.next;
        }
        let mut body = Vec::new();
        control::encode_snapshot(&self.ledger, &mut body);
        let identity = identity(&self.options.gateway, &self.ledger.epoch, "control");
        control.segment_size = control_segment_size(self.options.max_size, body.len());
        control.begin_segment(&identity);
        control.stage(&body);
        let dir = control.shared.dir.clone();
        let mut result = control.write(&*self.disk, 0);
        if result.as_ref().is_err_and(is_full) {
            result = reserve.serve(control, &*self.disk, result);
        }
        let synced = result.and_then(|()| {
            if let Some(file) = control.file() {
                file.sync_data()?;
            }
            self.disk.sync_dir(&dir)
        });
        if let Err(error) = synced {
            control.roll_back(&*self.disk, true);
            return Err(io_error("write to", &dir, error));
        }
        control.publish();
        Ok(())
    }

    /// Cuts, moves and removes what is no longer needed. What fails is tried again at the next start.
    fn tidy(&mut self, lanes: &mut [Log], control: &mut Log) {
        let failed = |path: &Path, error: io::Error| {
            tracing::warn!(file = %path.display(), %error, "cannot tidy up; trying again at the next start");
        };
        for found in self.lanes.iter().chain([&self.aside]) {
            if let Some((path, file, len)) = &found.cut {
                if let Err(error) = file.set_len(*len).and_then(|()| file.sync_data()) {
                    failed(path, error);
                }
            }
            for path in &found.replaced {
                if let Err(error) = self.disk.remove(path) {
                    failed(path, error);
                }
            }
            for path in &found.unusable {
                if let Err(error) = set_aside(&*self.disk, &self.options.path, path) {
                    failed(path, error);
                }
            }
        }
        let now = self.options.clock.now();
        let keep = Keep { time: self.options.keep_delivered, now, began: now };
        for (log, known) in lanes.iter_mut().zip(&self.ledger.lanes) {
            delivered::sweep(&*self.disk, log, &self.ledger, &known.waiting, &keep);
        }
        let extra = control.shared.view().segments.len().saturating_sub(2);
        control.remove_front(&*self.disk, extra);
    }

    fn share(self, lanes: &[Log], aside: &Log, control: &Log) -> Arc<Shared> {
        let (gateway, epoch) = (&self.options.gateway, &self.ledger.epoch);
        let of = |lane: &str| identity(gateway, epoch, lane);
        let finished = Mutex::new(false);
        let shared = Arc::new(Shared {
            segment_size: segment_size(self.options.max_size),
            // A limit that was lowered drops nothing.
            aside_limit: aside_limit(self.options.max_size).max(aside.shared.view().held()),
            logs: lanes.iter().map(|log| log.shared.clone()).collect(),
            identities: self.ledger.lanes.iter().map(|lane: &LaneLedger| of(&lane.name)).collect(),
            aside: aside.shared.clone(),
            aside_identity: of("aside"),
            control: control.shared.clone(),
            control_identity: of("control"),
            queue: Mutex::new(Queue::default()),
            pulse: crate::pulse::Pulse::default(),
            wake: Condvar::new(),
            finished,
            has_finished: Condvar::new(),
            progress: tokio::sync::watch::Sender::new(0),
            waiting_changed: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            wear: Gauge::new(self.disk.medium(&self.options.path)),
            other_bytes: AtomicU64::new(0),
            stalled: Mutex::new(None),
            refusing: Mutex::new(Vec::new()),
            refuses: AtomicBool::new(false),
            allowed: AtomicU64::new(self.options.max_size),
            block: self.block,
            io_since: Mutex::new(None),
            index: Arc::new(Index::new(self.options.path.join("index"), self.disk.is_os(), self.options.keep_free)),
            ledger: Mutex::new(self.ledger),
            disk: self.disk,
            options: self.options,
        });
        shared.measure_others();
        shared
    }
}

fn make_log(found: &mut LaneFound, dir: PathBuf, name: &str, size: u64, block: u64) -> Log {
    let view = std::mem::take(&mut found.view);
    let next = view.next;
    Log::new(Arc::new(LogShared::new(name.into(), dir, block, view)), next, found.generation, size)
}

fn identity(gateway: &str, epoch: &str, lane: &str) -> Identity {
    Identity { gateway: gateway.to_owned(), epoch: epoch.to_owned(), lane: lane.to_owned() }
}

pub(super) fn kept_sessions(ledger: &Ledger) -> Vec<KeptSession> {
    let mut sessions: std::collections::BTreeMap<u64, KeptSession> = ledger
        .sessions
        .iter()
        .map(|(id, record)| (*id, KeptSession { record: record.clone(), unreleased: Vec::new() }))
        .collect();
    for origin in ledger.unreleased.keys() {
        if let Some(session) = sessions.get_mut(&origin.session) {
            session.unreleased.push(origin.packet_id);
        }
    }
    for session in sessions.values_mut() {
        session.unreleased.sort_unstable();
    }
    sessions.into_values().collect()
}

/// Moves a segment that cannot be used out of the way, and keeps only the newest of those moved.
pub(super) fn set_aside(disk: &dyn Disk, root: &Path, path: &Path) -> io::Result<()> {
    let damaged = root.join("damaged");
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("{}-{}", part(path.parent().and_then(Path::file_name)), part(path.file_name()));
    disk.rename(path, &damaged.join(name))?;
    let mut kept: Vec<String> = disk.list(&damaged)?.into_iter().map(|entry| entry.name).collect();
    kept.sort();
    for name in kept.iter().take(kept.len().saturating_sub(DAMAGED_KEPT)) {
        disk.remove(&damaged.join(name))?;
    }
    disk.sync_dir(&damaged)
}

pub(super) fn folder_bytes(disk: &dyn Disk, dir: &Path) -> u64 {
    disk.list(dir).map_or(0, |entries| entries.iter().map(|entry| entry.len).sum())
}

/// Eight characters that read well and cannot be mistaken for each other: 40 random bits, so that two epochs of one
/// gateway are alike once in a million times a million.
fn draw_epoch() -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect())
}
