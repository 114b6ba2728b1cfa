//! A disk in memory that forgets, at a power cut, any legal part of what was not synced, and answers calls with errors.
//!
//! Constraints: it promises no more than POSIX does. A file's bytes and length last after [`DiskFile::sync_data`], a
//! folder's names after [`Disk::sync_dir`], a file's sync says nothing of its name, and nothing else orders anything.
//! What it decides comes from a seed alone.
//!
//! How it works: each file has what the cache shows (`live`), what the medium holds for certain (`durable`), and the
//! writes and changes of length in between, in order; each folder likewise with its names. At a cut ([`Contents::cut`]
//! for files, [`Folder::cut`] for names):
//!
//! - each stretch of a file, of any size, shows what it was after *any* of the unsynced steps, independently of its
//!   neighbours: so a write survives whole, in part, torn inside a page, or not, and later ones with or without it;
//! - the length is that after any of the steps, and where it reaches over a stretch that did not make it, there are
//!   zeros, or bytes of a file that was removed before (an [exact](SimulatedDisk::exact) disk writes whole sectors, and
//!   shows zeros there: what a journal may rely on when it is to tell what never arrived);
//! - each unsynced name is there or not; a renamed file has one of its names or both; unsynced folders may be gone.
//!
//! A failed sync is a cut of that one file (or folder), with the difference that the cache goes on showing what was
//! written, as a rule; and the medium never gets it, for the pages count as clean: a later sync that succeeds writes
//! only what came after.

mod calls;
mod contents;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use contents::Contents;
use pages::Pages;

/// Numbers that look random and depend on the seed alone (splitmix64).
#[derive(Debug, Clone, Default)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.roll() & 1 == 1
    }
}

/// The calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    MakeFolder,
    /// Opening a file that is there.
    Open,
    Create,
    List,
    Rename,
    Remove,
    SyncFolder,
    FreeSpace,
    Lock,
    Read,
    /// Fails, perhaps after some bytes got through.
    Write,
    /// Takes some bytes and says so.
    ShortWrite,
    SetLen,
    Sync,
    Allocate,
}

/// A call that fails: the first so many that fit, after some that do not.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// Only on paths that contain this.
    pub(crate) part: &'static str,
    pub(crate) errno: i32,
    pub(crate) skip: u32,
    pub(crate) times: u32,
}

#[derive(Debug, Clone, Default)]
struct Folder {
    /// Its own name is durable.
    lasts: bool,
    /// A sync of it, or of a file in it, failed: what it lost then, no later one makes good.
    doubted: bool,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Names made, replaced or removed since it was last synced, in order.
    unsynced: Vec<(String, Option<usize>)>,
}

impl Folder {
    fn set(&mut self, name: String, file: Option<usize>) {
        put(&mut self.live, &name, file);
        self.unsynced.push((name, file));
    }

    fn sync(&mut self) {
        for (name, file) in self.unsynced.drain(..) {
            put(&mut self.durable, &name, file);
        }
    }

    /// Each change of a name reaches the medium, or does not.
    fn cut(&mut self, dice: &mut Dice) {
        let all = dice.below(4);
        for (name, file) in self.unsynced.drain(..) {
            if all == 0 || (all > 1 && dice.coin()) {
                put(&mut self.durable, &name, file);
            }
        }
    }
}

fn put(names: &mut BTreeMap<String, usize>, name: &str, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}

/// A file that was given another name, of which neither change may have reached the medium yet.
#[derive(Debug, Clone)]
struct Renamed {
    file: usize,
    from: PathBuf,
    to: PathBuf,
}

#[derive(Debug, Clone, Default)]
struct State {
    folders: BTreeMap<PathBuf, Arc<Folder>>,
    /// Shared with forks until they differ, as the folders.
    files: Vec<Arc<Contents>>,
    renamed: Vec<Renamed>,
    locked: BTreeSet<PathBuf>,
    dice: Dice,
    faults: Vec<Fault>,
    /// The power goes after so many calls.
    dies_after: Option<u32>,
    dead: bool,
    /// Nothing fails and nothing counts: the test itself is reading.
    looking: bool,
    /// Bytes that all files may hold together.
    capacity: Option<u64>,
    /// Nothing may be changed.
    read_only: bool,
    /// Sectors are written whole, and show nothing of removed files.
    exact: bool,
    /// Bytes of the file that was removed last.
    stale: Pages,
    /// Errors given so far.
    failed: u64,
    /// Which calls were made to fail, and with what; shared by all disks that came out of one.
    given: Arc<Mutex<BTreeSet<(Call, i32)>>>,
}

/// The disk; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    pub(crate) fn new() -> Self {
        let disk = Self::default();
        disk.state().folders.insert("/".into(), Arc::new(Folder { lasts: true, ..Folder::default() }));
        disk
    }

    /// One whose medium writes sectors of 512 bytes whole, in any order, and where nothing of a removed file ever shows.
    pub(crate) fn exact() -> Self {
        let disk = Self::new();
        disk.state().exact = true;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn from(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// What it decides from here on follows from this.
    pub(crate) fn seed(&self, seed: u64) {
        self.state().dice = Dice(seed);
    }

    /// A fault to come. Of reads there is one at a time: where one fails, the journal reads again block by block, and
    /// takes for lost what fails only then.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.faults.retain(|one| one.times > 0 && (one.call != Call::Read || fault.call != Call::Read));
        state.faults.push(fault);
    }

    pub(crate) fn die_after(&self, calls: u32) {
        self.state().dies_after = Some(calls);
    }

    /// From here on there is room for so many bytes more.
    pub(crate) fn leave_room(&self, more: u64) {
        let mut state = self.state();
        state.capacity = Some(state.used() + more);
    }

    pub(crate) fn make_read_only(&self) {
        self.state().read_only = true;
    }

    /// Everything works again.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        state.faults.clear();
        (state.capacity, state.read_only, state.dies_after) = (None, false, None);
    }

    /// Lets the test itself read: no call fails meanwhile, nor does any count.
    pub(crate) fn look<T>(&self, look: impl FnOnce() -> T) -> T {
        self.state().looking = true;
        let seen = look();
        self.state().looking = false;
        seen
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Errors given so far.
    pub(crate) fn failed(&self) -> u64 {
        self.state().failed
    }

    /// Which calls were made to fail, and with what, on this disk and those it came from.
    pub(crate) fn given(&self) -> BTreeSet<(Call, i32)> {
        self.state().given.lock().expect("no holder of this lock panics").clone()
    }

    /// A disk of its own that holds, in cache and on the medium, what this one does.
    pub(crate) fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.locked.clear();
        Self::from(state)
    }

    /// What a process finds after this one was killed: the cache is as it was.
    pub(crate) fn killed(&self) -> Self {
        self.fork()
    }

    /// What the medium holds after a power cut. Whoever still uses the old disk does not reach the new one. Faults to
    /// come, and want of room, outlast it.
    pub(crate) fn cut(&self) -> Self {
        let mut old = self.state();
        let mut dice = Dice(old.dice.roll());
        let mut folders = old.folders.clone();
        for folder in folders.values_mut().filter(|folder| !folder.unsynced.is_empty()) {
            Arc::make_mut(folder).cut(&mut dice);
        }
        keep_renamed(&old.renamed, &mut folders);
        let gone: Vec<PathBuf> =
            folders.iter().filter(|(_, one)| !one.lasts && dice.coin()).map(|(path, _)| path.clone()).collect();
        folders.retain(|path, _| !gone.iter().any(|gone| path.starts_with(gone)));
        let mut files = Vec::new();
        let stale = (!old.exact).then_some(&old.stale);
        for folder in folders.values_mut() {
            let folder = Arc::make_mut(folder);
            for file in folder.durable.values_mut() {
                let left = old.files[*file].cut(&mut dice, stale);
                *file = files.len();
                files.push(Arc::new(Contents::lasting(left)));
            }
            folder.live.clone_from(&folder.durable);
            (folder.lasts, folder.doubted) = (true, false);
        }
        let (exact, stale, failed, given) = (old.exact, old.stale.clone(), old.failed, old.given.clone());
        let (faults, capacity, read_only) = (old.faults.clone(), old.capacity, old.read_only);
        Self::from(State {
            folders,
            files,
            dice,
            faults,
            capacity,
            read_only,
            exact,
            stale,
            failed,
            given,
            ..State::default()
        })
    }

    /// Whether a sync of a folder or of a file in it has failed since the last cut: a name removed before, or bytes cut
    /// off, may come back for good.
    pub(crate) fn doubts(&self, folder: &Path) -> bool {
        self.state().folders.get(folder).is_some_and(|folder| folder.doubted)
    }

    /// The paths of files that contain `part`, in order.
    pub(crate) fn paths(&self, part: &str) -> Vec<PathBuf> {
        let state = self.state();
        let all = state.folders.iter().flat_map(|(path, folder)| folder.live.keys().map(|name| path.join(name)));
        all.filter(|path| path.to_string_lossy().contains(part)).collect()
    }

    /// A file's bytes as the cache shows them.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        let file = state.find(path).expect("the test names a file that is there");
        state.files[file].live.to_vec()
    }

    /// Bytes that all files hold together.
    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }
}

impl State {
    fn used(&self) -> u64 {
        let names = self.folders.values().flat_map(|folder| folder.live.values());
        names.map(|file| self.files[*file].live.len() as u64).sum()
    }

    fn find(&self, path: &Path) -> Option<usize> {
        self.folders.get(path.parent()?)?.live.get(&calls::name(path)).copied()
    }
}

/// A rename may be half done, but never leaves a file without a name.
fn keep_renamed(renamed: &[Renamed], folders: &mut BTreeMap<PathBuf, Arc<Folder>>) {
    for Renamed { file, from, to } in renamed {
        let has = |path: &Path| {
            let folder = path.parent().and_then(|parent| folders.get(parent));
            folder.is_some_and(|folder| folder.durable.get(&calls::name(path)) == Some(file))
        };
        if has(from) || has(to) {
            continue;
        }
        if let Some(folder) = to.parent().and_then(|parent| folders.get_mut(parent)) {
            Arc::make_mut(folder).durable.insert(calls::name(to), *file);
        }
    }
}

#[cfg(test)]
mod tests;
