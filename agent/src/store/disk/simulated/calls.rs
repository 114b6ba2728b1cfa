//! The simulated disk as the store sees it.

use super::contents::{Change, Contents, SECTOR};
use super::{Call, Folder, Renamed, SimulatedDisk, State};
use crate::store::disk::{Disk, DiskFile, Entry, Mode, Space};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

pub(super) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl State {
    /// Counts a call, and says how it fails if it does.
    fn call(&mut self, call: Call, path: &Path) -> io::Result<()> {
        let errno = self.errno(call, path);
        if errno.is_some() {
            self.failed += 1;
        }
        errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn errno(&mut self, call: Call, path: &Path) -> Option<i32> {
        if self.looking {
            return None;
        }
        if let Some(left) = &mut self.dies_after {
            self.dead |= *left == 0;
            *left = left.saturating_sub(1);
        }
        if self.dead {
            return Some(EIO);
        }
        let changes = !matches!(call, Call::Open | Call::List | Call::FreeSpace | Call::Read | Call::ShortWrite);
        if self.read_only && changes && !matches!(call, Call::Sync | Call::SyncFolder | Call::Lock) {
            self.note(call, EROFS);
            return Some(EROFS);
        }
        self.fault(call, path)
    }

    /// The errno of the first fault that fits and is due.
    fn fault(&mut self, call: Call, path: &Path) -> Option<i32> {
        let path = path.to_string_lossy();
        let fault = self.faults.iter_mut().find(|one| one.call == call && one.times > 0 && path.contains(one.part))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        let errno = fault.errno;
        self.note(call, errno);
        Some(errno)
    }

    fn contents(&mut self, file: usize) -> &mut Contents {
        Arc::make_mut(&mut self.files[file])
    }

    fn note(&self, call: Call, errno: i32) {
        self.given.lock().expect("no holder of this lock panics").insert((call, errno));
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders.get_mut(path).map(Arc::make_mut).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn parent(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folder(path.parent().unwrap_or(Path::new("/")))
    }

    /// How many of so many further bytes there is room for; an error if for none.
    fn room(&mut self, more: u64) -> io::Result<u64> {
        let Some(capacity) = self.capacity else { return Ok(more) };
        match capacity.saturating_sub(self.used()).min(more) {
            0 if more > 0 => {
                self.failed += 1;
                self.note(Call::Write, ENOSPC);
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            room => Ok(room),
        }
    }
}

impl Disk for SimulatedDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.folders.contains_key(path) {
            return Ok(());
        }
        state.call(Call::MakeFolder, path)?;
        for folder in path.ancestors() {
            state.folders.entry(folder.to_path_buf()).or_default();
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let there = state.find(path);
        state.call(if mode == Mode::Create { Call::Create } else { Call::Open }, path)?;
        let file = match (there, mode) {
            (Some(_), Mode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, Mode::Create) => {
                let file = state.files.len();
                state.parent(path)?.set(name(path), Some(file));
                state.files.push(Arc::new(Contents::default()));
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        if mode == Mode::Write && state.read_only {
            state.failed += 1;
            state.note(Call::Open, EROFS);
            return Err(io::Error::from_raw_os_error(EROFS));
        }
        Ok(Arc::new(SimulatedFile { disk: self.clone(), path: path.to_path_buf(), file }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.call(Call::List, path)?;
        let mut entries: Vec<Entry> = state
            .folders
            .keys()
            .filter(|folder| folder.parent() == Some(path))
            .map(|folder| Entry { name: name(folder), len: 0, folder: true })
            .collect();
        let folder = state.folders.get(path).ok_or(io::ErrorKind::NotFound)?;
        entries.extend(folder.live.iter().map(|(name, file)| {
            let len = state.files[*file].live.len() as u64;
            Entry { name: name.clone(), len, folder: false }
        }));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Rename, from)?;
        let file = state.find(from).ok_or(io::ErrorKind::NotFound)?;
        state.parent(to)?.set(name(to), Some(file));
        state.parent(from)?.set(name(from), None);
        state.renamed.retain(|one| one.to != to);
        state.renamed.push(Renamed { file, from: from.into(), to: to.into() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Remove, path)?;
        let file = state.find(path).ok_or(io::ErrorKind::NotFound)?;
        state.stale = state.files[file].live.clone();
        state.renamed.retain(|one| one.file != file);
        state.parent(path)?.set(name(path), None);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let called = state.call(Call::SyncFolder, path);
        if state.dead {
            return called;
        }
        let mut dice = state.dice.clone();
        let folder = state.folder(path)?;
        if called.is_err() {
            folder.cut(&mut dice);
            folder.doubted = true;
            state.dice = dice;
            return called;
        }
        folder.sync();
        for (_, inner) in state.folders.iter_mut().filter(|(inner, _)| inner.parent() == Some(path)) {
            if !inner.lasts {
                Arc::make_mut(inner).lasts = true;
            }
        }
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let mut state = self.state();
        state.call(Call::FreeSpace, path)?;
        let free_bytes = state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        Ok(Space { free_bytes, kept_bytes: 0, free_inodes: None, block: 1 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let mut state = self.state();
        state.call(Call::Lock, path)?;
        if state.locked.insert(path.to_path_buf()) {
            return Ok(Box::new(Locked { disk: self.clone(), path: path.to_path_buf() }));
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[derive(Debug)]
struct Locked {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    file: usize,
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.call(Call::Read, &self.path)?;
        Ok(state.files[self.file].live.read(offset as usize, buffer))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let was_dead = state.dead;
        let called = state.call(Call::Write, &self.path);
        let mut count = bytes.len();
        if called.is_err() {
            // Some of it may have got through before; when the power goes meanwhile, all of it may.
            let refused = was_dead || state.read_only || state.dice.coin();
            count = if refused { 0 } else { state.dice.below(bytes.len() + 1) };
        } else if state.fault(Call::ShortWrite, &self.path).is_some() {
            count = 1 + state.dice.below(bytes.len());
        }
        let (now, end) = (state.files[self.file].live.len() as u64, offset + count as u64);
        if end > now {
            let (need, room) = (end - now, state.room(end - now)?);
            count = count.saturating_sub((need - room) as usize);
        }
        if state.exact && count < bytes.len() {
            // File systems take a part of a write in whole blocks.
            count = ((offset as usize + count) / SECTOR * SECTOR).saturating_sub(offset as usize);
            if count == 0 && called.is_ok() {
                state.failed += 1;
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
        }
        if count > 0 {
            state.contents(self.file).change(Change::Write(offset as usize, bytes[..count].into()));
        }
        called.map(|()| count)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(Call::SetLen, &self.path)?;
        state.contents(self.file).change(Change::Len(len as usize));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].live.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let called = state.call(Call::Sync, &self.path);
        if state.dead {
            return called;
        }
        if called.is_err() {
            state.parent(&self.path)?.doubted = true;
        }
        let State { files, dice, stale, exact, .. } = &mut *state;
        let file = Arc::make_mut(&mut files[self.file]);
        match &called {
            Ok(()) => file.sync(),
            Err(_) => file.fail_sync(dice, (!*exact).then_some(&*stale)),
        }
        called
    }

    fn extend(&self, _: u64, len: u64) -> io::Result<bool> {
        self.allocate(len).map(|()| true)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(Call::Allocate, &self.path)?;
        let more = len.saturating_sub(state.files[self.file].live.len() as u64);
        if state.room(more)? < more {
            state.failed += 1;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if more > 0 {
            state.contents(self.file).change(Change::Len(len as usize));
        }
        Ok(())
    }
}
