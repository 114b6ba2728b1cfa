//! The operating system's file system.

use super::{Disk, DiskFile, Entry, Mode, Space, write_all_at};
use crate::regular;
use crate::store::wear::{BlockDevice, Medium, NoCounter};
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// Files and folders are for the gateway's own user alone: they hold what the devices said.
const FILE_MODE: u32 = 0o600;

/// Bytes written at one time where the file system cannot allocate.
const FILL: usize = 64 * 1024;

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(FILE_MODE);
        match mode {
            Mode::Read => return Ok(Arc::new(OsFile(regular::open(path)?))),
            Mode::Write => {
                options.write(true);
            }
            Mode::Create => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(about) => {
                    let folder = about.is_dir();
                    entries.push(Entry { name, len: if folder { 0 } else { about.len() }, folder });
                }
                // Removed between being listed and being looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let about = rustix::fs::statvfs(path)?;
        // POSIX counts blocks in `f_frsize`; a file system that leaves it at 0 means `f_bsize`.
        let block = if about.f_frsize == 0 { about.f_bsize } else { about.f_frsize };
        // What is kept is counted as free for the superuser, who may write to it.
        let kept = about.f_bfree.saturating_sub(about.f_bavail);
        let kept = if rustix::process::geteuid().is_root() { 0 } else { kept };
        Ok(Space {
            kept_bytes: kept.saturating_mul(block),
            free_bytes: about.f_bavail.saturating_mul(block),
            free_inodes: (about.f_files > 0).then_some(about.f_favail),
            block: block.max(1),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn medium(&self, path: &Path) -> Result<Box<dyn Medium>, NoCounter> {
        Ok(Box::new(BlockDevice::of(path)?))
    }

    fn is_os(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn extend(&self, from: u64, len: u64) -> io::Result<bool> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), from, len.saturating_sub(from)) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let zeros = vec![0; FILL];
                let mut offset = 0;
                while offset < len {
                    let count = (len - offset).min(FILL as u64);
                    write_all_at(self, &zeros[..count as usize], offset)?;
                    offset += count;
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }
}
