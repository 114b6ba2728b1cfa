//! The medium: files and folders in memory, with what of them is synced. Knows nothing of FUSE but its error numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use fuser::Errno;

use super::Loss;
use super::contents::Contents;
use super::names::Names;
use crate::rng::Rng;

/// The inode of the uppermost folder.
pub(super) const ROOT: u64 = 1;

/// Largest length of a file: what no test needs, and every machine has as memory.
const LONGEST: u64 = 1 << 30;

/// What a power cut took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Sectors that read otherwise than before.
    pub sectors: u64,
    /// Files of which some but not all unsynced changes are left.
    pub torn: u64,
    /// Changes of names (created, removed, renamed) that did not happen.
    pub names: u64,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.sectors += other.sectors;
        self.torn += other.torn;
        self.names += other.names;
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {} {}", self.sectors, self.torn, self.names)
    }
}

impl FromStr for Lost {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split(' ').map(u64::from_str);
        let mut number = || numbers.next().unwrap_or_else(|| "".parse());
        Ok(Self { sectors: number()?, torn: number()?, names: number()? })
    }
}

#[derive(Debug)]
enum Kind {
    File(Contents),
    Folder(Names),
}

#[derive(Debug)]
struct Inode {
    kind: Kind,
    mode: u16,
    modified: SystemTime,
}

/// What can be asked of an inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) inode: u64,
    pub(super) folder: bool,
    pub(super) len: u64,
    pub(super) mode: u16,
    pub(super) modified: SystemTime,
}

/// Files and folders. Inodes that nothing names any more stay until the next power cut, for a cut may bring their
/// names back.
#[derive(Debug)]
pub struct Medium {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    clock: u64,
    rng: Rng,
}

impl Medium {
    /// One with an empty folder. What a cut leaves is chosen by `rng`.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        let mut medium = Self { inodes: BTreeMap::new(), next: ROOT, clock: 0, rng };
        medium.insert(Kind::Folder(Names::default()), 0o700);
        medium
    }

    /// A random number for whoever serves it.
    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.rng.between(0, below)
    }

    fn insert(&mut self, kind: Kind, mode: u16) -> u64 {
        let inode = self.next;
        self.next += 1;
        self.inodes.insert(inode, Inode { kind, mode, modified: SystemTime::now() });
        inode
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn inode(&self, inode: u64) -> Result<&Inode, Errno> {
        self.inodes.get(&inode).ok_or(Errno::ENOENT)
    }

    fn names(&self, folder: u64) -> Result<&Names, Errno> {
        match &self.inode(folder)?.kind {
            Kind::Folder(names) => Ok(names),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn names_mut(&mut self, folder: u64) -> Result<&mut Names, Errno> {
        let inode = self.inodes.get_mut(&folder).ok_or(Errno::ENOENT)?;
        inode.modified = SystemTime::now();
        match &mut inode.kind {
            Kind::Folder(names) => Ok(names),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn contents_mut(&mut self, file: u64) -> Result<&mut Contents, Errno> {
        let inode = self.inodes.get_mut(&file).ok_or(Errno::ENOENT)?;
        inode.modified = SystemTime::now();
        match &mut inode.kind {
            Kind::File(contents) => Ok(contents),
            Kind::Folder(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn about(&self, inode: u64) -> Result<About, Errno> {
        let found = self.inode(inode)?;
        let (folder, len) = match &found.kind {
            Kind::File(contents) => (false, contents.len() as u64),
            Kind::Folder(_) => (true, 0),
        };
        Ok(About { inode, folder, len, mode: found.mode, modified: found.modified })
    }

    pub(super) fn lookup(&self, folder: u64, name: &OsStr) -> Result<About, Errno> {
        self.about(self.names(folder)?.get(name).ok_or(Errno::ENOENT)?)
    }

    pub(super) fn list(&self, folder: u64) -> Result<Vec<(OsString, About)>, Errno> {
        let names = self.names(folder)?.iter();
        names.map(|(name, inode)| Ok((name.to_owned(), self.about(inode)?))).collect()
    }

    pub(super) fn create(&mut self, folder: u64, name: &OsStr, is_folder: bool, mode: u16) -> Result<About, Errno> {
        if self.names(folder)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let kind = if is_folder { Kind::Folder(Names::default()) } else { Kind::File(Contents::default()) };
        let inode = self.insert(kind, mode);
        let at = self.tick();
        self.names_mut(folder)?.add(at, name, inode);
        self.about(inode)
    }

    pub(super) fn remove(&mut self, folder: u64, name: &OsStr, want_folder: bool) -> Result<(), Errno> {
        let found = self.lookup(folder, name)?;
        match (found.folder, want_folder) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !self.names(found.inode)?.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        let at = self.tick();
        self.names_mut(folder)?.remove(at, name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let moved = self.lookup(from.0, from.1)?;
        if let Some(replaced) = self.names(to.0)?.get(to.1) {
            let replaced = self.about(replaced)?;
            match (moved.folder, replaced.folder) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (true, true) if !self.names(replaced.inode)?.is_empty() => return Err(Errno::ENOTEMPTY),
                _ if replaced.inode == moved.inode => return Ok(()),
                _ => {}
            }
        }
        let at = self.tick();
        if from.0 == to.0 {
            self.names_mut(from.0)?.rename(at, from.1, to.1, moved.inode);
        } else {
            self.names_mut(to.0)?.add(at, to.1, moved.inode);
            self.names_mut(from.0)?.remove(at, from.1);
        }
        Ok(())
    }

    pub(super) fn read(&self, file: u64, offset: u64, length: u32) -> Result<&[u8], Errno> {
        match &self.inode(file)?.kind {
            Kind::File(contents) => Ok(contents.read(within(offset)?, length as usize)),
            Kind::Folder(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn write(&mut self, file: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        within(offset.saturating_add(bytes.len() as u64))?;
        let at = self.tick();
        self.contents_mut(file)?.write(at, offset as usize, bytes);
        Ok(())
    }

    pub(super) fn set_len(&mut self, file: u64, length: u64) -> Result<(), Errno> {
        let length = within(length)?;
        let at = self.tick();
        self.contents_mut(file)?.set_len(at, length);
        Ok(())
    }

    pub(super) fn set_mode(&mut self, inode: u64, mode: u16) -> Result<(), Errno> {
        self.inodes.get_mut(&inode).ok_or(Errno::ENOENT)?.mode = mode;
        Ok(())
    }

    /// The present moment, for a sync that begins now.
    pub(super) fn moment(&self) -> u64 {
        self.clock
    }

    /// Makes durable what a file or folder was at a moment.
    pub(super) fn sync(&mut self, inode: u64, up_to: u64) -> Result<(), Errno> {
        match &mut self.inodes.get_mut(&inode).ok_or(Errno::ENOENT)?.kind {
            Kind::File(contents) => contents.sync(up_to),
            Kind::Folder(names) => names.sync(up_to),
        }
        Ok(())
    }

    /// Loses power: what is not synced is gone, or a part of it.
    pub fn cut(&mut self, loss: Loss) -> Lost {
        let mut taken = Lost::default();
        for inode in self.inodes.values_mut() {
            match &mut inode.kind {
                Kind::File(contents) => contents.cut(loss, &mut self.rng, &mut taken),
                Kind::Folder(names) => names.cut(loss, &mut self.rng, &mut taken),
            }
        }
        let (mut named, mut look) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(folder) = look.pop() {
            if let Ok(names) = self.names(folder) {
                look.extend(names.iter().map(|(_, inode)| inode).filter(|inode| named.insert(*inode)));
            }
        }
        self.inodes.retain(|inode, _| named.contains(inode));
        taken
    }
}

fn within(offset: u64) -> Result<usize, Errno> {
    if offset > LONGEST { Err(Errno::EFBIG) } else { Ok(offset as usize) }
}
