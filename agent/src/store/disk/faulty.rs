//! A disk in memory that fails when told, and forgets at a crash what was not synced.

use super::{Disk, DiskFile, Entry, Mode, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

type Bytes = Arc<Mutex<Contents>>;

#[derive(Debug, Default)]
struct Contents {
    live: Vec<u8>,
    synced: Vec<u8>,
    /// A sync failed: what was written is readable, and later syncs succeed without making anything durable.
    poisoned: bool,
}

/// What the disk answers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Faults {
    /// Writes to paths that contain this text fail with this errno.
    pub(crate) write: Option<(String, i32)>,
    /// Bytes of a failing write that get through all the same.
    pub(crate) write_through: usize,
    /// The next so many `sync_data` of paths that contain this text fail; what was written since the last good one
    /// stays readable, and never becomes durable.
    pub(crate) sync: Option<(String, usize)>,
    /// The errno they fail with; EIO if none is given.
    pub(crate) sync_errno: Option<i32>,
    /// Syncs of paths that contain this text do not return as long as this stands.
    pub(crate) hang: Option<String>,
    /// Creating files whose path contains this text fails with this errno.
    pub(crate) create: Option<(String, i32)>,
    /// Reads that touch this range of a path that contains this text fail.
    pub(crate) read: Option<(String, std::ops::Range<u64>)>,
    /// Bytes that all files may hold together.
    pub(crate) capacity: Option<u64>,
    /// Bytes that are free besides, for the superuser.
    pub(crate) kept: u64,
    /// Files that it may hold; not counted if not given.
    pub(crate) inodes: Option<u64>,
    /// Bytes of a block, as far as it says so; 0 is 1.
    pub(crate) block: u64,
    /// Cutting files fails.
    pub(crate) set_len: bool,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Bytes>,
    synced: BTreeMap<PathBuf, Bytes>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    faults: Faults,
}

/// The disk; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<Tree>>);

impl FaultyDisk {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.tree().faults);
    }

    /// What the medium holds after a power cut: unsynced bytes go, all but the first `keep` of each file's new ones;
    /// names that were not synced go too. Whoever still uses the old disk no longer reaches the new one.
    pub(crate) fn crash(&self, keep: usize) -> Self {
        let tree = self.tree();
        let mut after = Tree { folders: tree.folders.clone(), ..Tree::default() };
        for (path, bytes) in &tree.synced {
            let bytes = bytes.lock().expect("no holder of this lock panics");
            let mut left = bytes.synced.clone();
            if bytes.live.len() > left.len() {
                let more = (bytes.live.len() - left.len()).min(keep);
                let start = left.len();
                left.extend_from_slice(&bytes.live[start..start + more]);
            }
            let bytes = Arc::new(Mutex::new(Contents { live: left.clone(), synced: left, poisoned: false }));
            after.files.insert(path.clone(), bytes.clone());
            after.synced.insert(path.clone(), bytes);
        }
        Self(Arc::new(Mutex::new(after)))
    }

    /// The paths of files that contain `part`, in order.
    pub(crate) fn paths(&self, part: &str) -> Vec<PathBuf> {
        self.tree().files.keys().filter(|path| path.to_string_lossy().contains(part)).cloned().collect()
    }

    /// A file's bytes.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let bytes = self.tree().files.get(path).cloned().expect("the test names a file that is there");
        let contents = bytes.lock().expect("no holder of this lock panics");
        contents.live.clone()
    }

    /// Replaces a file's bytes, durably.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) {
        let contents = Arc::new(Mutex::new(Contents { live: bytes.to_vec(), synced: bytes.to_vec(), poisoned: false }));
        let mut tree = self.tree();
        tree.files.insert(path.to_path_buf(), contents.clone());
        tree.synced.insert(path.to_path_buf(), contents);
    }

    /// Takes a file away, durably.
    pub(crate) fn take(&self, path: &Path) {
        let mut tree = self.tree();
        tree.files.remove(path);
        tree.synced.remove(path);
    }

    /// What a killed process leaves: the cache is as it was, the lock is gone. Of this file only the first `synced`
    /// bytes are on the medium.
    pub(crate) fn killed(&self, path: &Path, synced: usize) -> Self {
        let copy = self.copy();
        let tree = copy.tree();
        if let Some(bytes) = tree.files.get(path) {
            bytes.lock().expect("no holder of this lock panics").synced.truncate(synced);
        }
        drop(tree);
        copy
    }

    /// A copy of what it holds now, as if all of it were durable (a clean stop).
    pub(crate) fn copy(&self) -> Self {
        let tree = self.tree();
        let copy = Self(Arc::new(Mutex::new(Tree { folders: tree.folders.clone(), ..Tree::default() })));
        for (path, bytes) in &tree.files {
            copy.replace(path, &bytes.lock().expect("no holder of this lock panics").live.clone());
        }
        copy
    }
}

fn fails(rule: Option<&(String, i32)>, path: &Path) -> io::Result<()> {
    match rule {
        Some((part, errno)) if path.to_string_lossy().contains(part.as_str()) => {
            Err(io::Error::from_raw_os_error(*errno))
        }
        _ => Ok(()),
    }
}

impl Tree {
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.lock().expect("no holder of this lock panics").live.len() as u64).sum()
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.tree().folders.insert(path.to_path_buf());
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut tree = self.tree();
        let bytes = match (tree.files.get(path).cloned(), mode) {
            (Some(_), Mode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(bytes), _) => bytes,
            (None, Mode::Create) => {
                fails(tree.faults.create.as_ref(), path)?;
                let bytes = Bytes::default();
                tree.files.insert(path.to_path_buf(), bytes.clone());
                bytes
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(FaultyFile { disk: self.clone(), path: path.to_path_buf(), bytes }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let tree = self.tree();
        let mut entries = Vec::new();
        for folder in tree.folders.iter().filter(|folder| folder.parent() == Some(path)) {
            entries.push(Entry { name: name(folder), len: 0, folder: true });
        }
        for (file, bytes) in tree.files.iter().filter(|(file, _)| file.parent() == Some(path)) {
            let len = bytes.lock().expect("no holder of this lock panics").live.len() as u64;
            entries.push(Entry { name: name(file), len, folder: false });
        }
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let bytes = tree.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to.to_path_buf(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let now: Vec<_> = tree
            .files
            .iter()
            .filter(|(file, _)| file.parent() == Some(path))
            .map(|(file, bytes)| (file.clone(), bytes.clone()))
            .collect();
        tree.synced.retain(|file, _| file.parent() != Some(path));
        tree.synced.extend(now);
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let tree = self.tree();
        let faults = &tree.faults;
        let free_bytes = faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(tree.used()));
        let free_inodes = faults.inodes.map(|inodes| inodes.saturating_sub(tree.files.len() as u64));
        Ok(Space { free_bytes, kept_bytes: faults.kept, free_inodes, block: faults.block.max(1) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        if self.tree().locked.insert(path.to_path_buf()) {
            return Ok(Box::new(Locked { disk: self.clone(), path: path.to_path_buf() }));
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[derive(Debug)]
struct Locked {
    disk: FaultyDisk,
    path: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.tree().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    bytes: Bytes,
}

impl FaultyFile {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.bytes.lock().expect("no holder of this lock panics")
    }

    fn room(&self, more: u64) -> io::Result<u64> {
        let tree = self.disk.tree();
        let Some(capacity) = tree.faults.capacity else { return Ok(more) };
        match capacity.saturating_sub(tree.used()).min(more) {
            0 if more > 0 => Err(io::Error::from_raw_os_error(28)),
            room => Ok(room),
        }
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let faults = self.disk.tree().faults.clone();
        if let Some((part, range)) = &faults.read {
            let end = offset + buffer.len() as u64;
            if self.path.to_string_lossy().contains(part.as_str()) && offset < range.end && range.start < end {
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        let contents = self.contents();
        let from = (offset as usize).min(contents.live.len());
        let count = buffer.len().min(contents.live.len() - from);
        buffer[..count].copy_from_slice(&contents.live[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let faults = self.disk.tree().faults.clone();
        let mut count = bytes.len();
        if let Err(error) = fails(faults.write.as_ref(), &self.path) {
            count = faults.write_through.min(count);
            if count == 0 {
                return Err(error);
            }
            self.disk.tree().faults.write_through = 0;
        }
        let end = offset + count as u64;
        let now = self.contents().live.len() as u64;
        if end > now {
            let room = self.room(end - now)?;
            count -= (end - now - room) as usize;
        }
        let mut contents = self.contents();
        let end = offset as usize + count;
        if contents.live.len() < end {
            contents.live.resize(end, 0);
        }
        contents.live[offset as usize..end].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.disk.tree().faults.set_len {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.contents().live.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().live.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut tree = self.disk.tree();
        while tree.faults.hang.as_ref().is_some_and(|part| self.path.to_string_lossy().contains(part.as_str())) {
            drop(tree);
            std::thread::sleep(std::time::Duration::from_millis(1));
            tree = self.disk.tree();
        }
        if let Some((part, left)) = &mut tree.faults.sync {
            if *left > 0 && self.path.to_string_lossy().contains(part.as_str()) {
                *left -= 1;
                let errno = tree.faults.sync_errno.unwrap_or(5);
                drop(tree);
                self.contents().poisoned = true;
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        drop(tree);
        let mut contents = self.contents();
        if !contents.poisoned {
            contents.synced = contents.live.clone();
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.contents().live.len() as u64;
        if self.room(len.saturating_sub(now))? < len.saturating_sub(now) {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.contents().live.resize(len as usize, 0);
        Ok(())
    }
}
