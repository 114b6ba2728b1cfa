//! A disk in memory, so that a store can be opened thousands of times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate::store::disk::{Disk, DiskFile, Entry, Mode, Space};

type Bytes = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Default)]
struct Inside {
    files: BTreeMap<PathBuf, Bytes>,
    folders: BTreeSet<PathBuf>,
}

/// Files and folders in memory; clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Inside>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl MemoryDisk {
    /// Another disk with the same contents.
    #[must_use]
    pub fn copied(&self) -> Self {
        let inside = lock(&self.0);
        let files = inside.files.iter().map(|(path, bytes)| (path.clone(), Arc::new(Mutex::new(lock(bytes).clone()))));
        Self(Arc::new(Mutex::new(Inside { files: files.collect(), folders: inside.folders.clone() })))
    }

    /// Where the files are whose name ends so.
    #[must_use]
    pub fn paths(&self, end: &str) -> Vec<PathBuf> {
        lock(&self.0).files.keys().filter(|path| path.to_string_lossy().ends_with(end)).cloned().collect()
    }

    /// Changes a file's bytes behind the store's back.
    pub fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(bytes) = lock(&self.0).files.get(path) {
            change(&mut lock(bytes));
        }
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut inside = lock(&self.0);
        let found = inside.files.get(path).cloned();
        let file = match (mode, found) {
            (Mode::Create, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Mode::Create, None) => inside.files.entry(path.to_owned()).or_default().clone(),
            (_, found) => found.ok_or_else(absent)?,
        };
        Ok(Arc::new(MemoryFile(file)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let inside = lock(&self.0);
        if !inside.folders.contains(path) {
            return Err(absent());
        }
        let name = |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let files = inside.files.iter().filter(|(file, _)| file.parent() == Some(path));
        let files = files.map(|(file, bytes)| Entry { name: name(file), len: lock(bytes).len() as u64, folder: false });
        let folders = inside.folders.iter().filter(|folder| folder.parent() == Some(path));
        Ok(files.chain(folders.map(|folder| Entry { name: name(folder), len: 0, folder: true })).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inside = lock(&self.0);
        let file = inside.files.remove(from).ok_or_else(absent)?;
        inside.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).files.remove(path).map(|_| ()).ok_or_else(absent)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space { free_bytes: 1 << 40, free_inodes: None, block: 4096 })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        Ok(Box::new(()))
    }
}

#[derive(Debug)]
struct MemoryFile(Bytes);

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> io::Result<usize> {
        let (mut bytes, end) = (lock(&self.0), offset as usize + new.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(new);
        Ok(new.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.0).resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    /// Memory has no blocks to reserve.
    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}
