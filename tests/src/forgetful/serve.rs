//! The medium as a FUSE file system.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::medium::{About, Lost, Medium};
use super::{Loss, medium};

/// How long the kernel may keep what it was told: all changes come through it, so it knows of each.
const VALID: Duration = Duration::from_secs(1);

/// Room that the file system says it has, in blocks of 4096 bytes: 4 GiB.
const BLOCKS: u64 = 1 << 20;

/// One mount of a medium. Its power fails once, for ever; then the medium can be mounted anew.
#[derive(Debug, Clone)]
pub struct Powered {
    medium: Arc<Mutex<Medium>>,
    /// Guards nothing; whoever looks at it holds the medium.
    failed: Arc<std::sync::atomic::AtomicBool>,
    sync_takes: Duration,
    listings: Arc<Mutex<HashMap<u64, Listing>>>,
    next_handle: Arc<AtomicU64>,
}

type Listing = Vec<(INodeNo, FileType, OsString)>;

impl Powered {
    /// A mount of `medium` on which a sync takes up to so long.
    #[must_use]
    pub fn new(medium: Arc<Mutex<Medium>>, sync_takes: Duration) -> Self {
        Self {
            medium,
            failed: Arc::default(),
            sync_takes,
            listings: Arc::default(),
            next_handle: Arc::new(AtomicU64::new(1)),
        }
    }

    /// The power fails: from now on nothing is answered but EIO, and nothing changes.
    #[must_use]
    pub fn cut(&self, loss: Loss) -> Lost {
        let mut medium = self.medium.lock().unwrap_or_else(PoisonError::into_inner);
        self.failed.store(true, Ordering::Relaxed);
        medium.cut(loss)
    }

    fn medium(&self) -> Result<MutexGuard<'_, Medium>, Errno> {
        let medium = self.medium.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Relaxed) { Err(Errno::EIO) } else { Ok(medium) }
    }

    /// Takes its time, and makes durable what was there when it began.
    fn sync(&self, inode: INodeNo) -> Result<(), Errno> {
        let mut medium = self.medium()?;
        let up_to = medium.moment();
        let takes = medium.random(self.sync_takes.as_micros() as u64 + 1);
        drop(medium);
        std::thread::sleep(Duration::from_micros(takes));
        self.medium()?.sync(inode.0, up_to)
    }

    fn set(&self, inode: INodeNo, mode: Option<u32>, size: Option<u64>) -> Result<About, Errno> {
        let mut medium = self.medium()?;
        if let Some(mode) = mode {
            medium.set_mode(inode.0, permissions(mode, 0))?;
        }
        if let Some(size) = size {
            medium.set_len(inode.0, size)?;
        }
        medium.about(inode.0)
    }

    fn rename(&self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr), flags: RenameFlags) -> Result<(), Errno> {
        let mut medium = self.medium()?;
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && medium.lookup(to.0.0, to.1).is_ok() {
            return Err(Errno::EEXIST);
        }
        if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
            return Err(Errno::EINVAL);
        }
        medium.rename((from.0.0, from.1), (to.0.0, to.1))
    }

    /// A folder is read as it was when it was opened, however often its reader comes back.
    fn open_folder(&self, inode: INodeNo) -> Result<FileHandle, Errno> {
        let mut listing: Listing = [".", ".."].map(|name| (inode, FileType::Directory, name.into())).into();
        let names = self.medium()?.list(inode.0)?;
        listing.extend(names.into_iter().map(|(name, about)| (INodeNo(about.inode), kind(&about), name)));
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.listings().insert(handle, listing);
        Ok(FileHandle(handle))
    }

    fn listings(&self) -> MutexGuard<'_, HashMap<u64, Listing>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room extended beyond the length is only noted as length: memory has no blocks to reserve.
    fn allocate(&self, inode: INodeNo, end: u64, mode: i32) -> Result<(), Errno> {
        if mode != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut medium = self.medium()?;
        if medium.about(inode.0)?.len < end { medium.set_len(inode.0, end) } else { Ok(()) }
    }
}

fn kind(about: &About) -> FileType {
    if about.folder { FileType::Directory } else { FileType::RegularFile }
}

fn permissions(mode: u32, umask: u32) -> u16 {
    (mode & !umask & 0o7777) as u16
}

fn attributes(about: &About) -> FileAttr {
    FileAttr {
        ino: INodeNo(about.inode),
        size: about.len,
        blocks: about.len.div_ceil(512),
        atime: about.modified,
        mtime: about.modified,
        ctime: about.modified,
        crtime: about.modified,
        kind: kind(about),
        perm: about.mode,
        nlink: if about.folder { 2 } else { 1 },
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn entry(result: Result<About, Errno>, reply: ReplyEntry) {
    match result {
        Ok(about) => reply.entry(&VALID, &attributes(&about), Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn attr(result: Result<About, Errno>, reply: ReplyAttr) {
    match result {
        Ok(about) => reply.attr(&VALID, &attributes(&about)),
        Err(error) => reply.error(error),
    }
}

fn empty(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

// Files bypass the kernel's page cache: what was written is here at once, and what is read comes from here.
impl Filesystem for Powered {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.medium().and_then(|medium| medium.lookup(parent.0, name)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(self.medium().and_then(|medium| medium.about(ino.0)), reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        attr(self.set(ino, mode, size), reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mode = permissions(mode, umask);
        entry(self.medium().and_then(|mut medium| medium.create(parent.0, name, true, mode)), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.medium().and_then(|mut medium| medium.remove(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.medium().and_then(|mut medium| medium.remove(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        empty(self.rename((parent, name), (newparent, newname), flags), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.medium().and_then(|medium| medium.about(ino.0)) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mode = permissions(mode, umask);
        match self.medium().and_then(|mut medium| medium.create(parent.0, name, false, mode)) {
            Ok(about) => {
                reply.created(&VALID, &attributes(&about), Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.medium().and_then(|medium| medium.read(ino.0, offset, size).map(<[u8]>::to_vec)) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.medium().and_then(|mut medium| medium.write(ino.0, offset, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    /// Called at each close: keeps nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        empty(self.medium().map(|_| ()), reply);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(self.sync(ino), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(self.sync(ino), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        empty(self.allocate(ino, offset.saturating_add(length), mode), reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_folder(ino) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if let Err(error) = self.medium().map(|_| ()) {
            return reply.error(error);
        }
        let listings = self.listings();
        let listing = listings.get(&fh.0).map_or(&[][..], Vec::as_slice);
        for (at, (inode, kind, name)) in (1..).zip(listing).skip(offset as usize) {
            if reply.add(*inode, at, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings().remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}

// The kernel's root inode is the medium's.
const _: () = assert!(INodeNo::ROOT.0 == medium::ROOT);
