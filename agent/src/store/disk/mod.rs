//! The file system as the store sees it: a trait, so that the journal can be tested on a disk that fails.
//!
//! Constraints: only what the journal needs, nothing that a simulated disk could not answer; every call blocks and may
//! fail; nothing is durable before [`DiskFile::sync_data`] (a file's bytes and length) or [`Disk::sync_dir`] (which
//! names exist in a folder) has returned without error. A failed sync proves nothing about what is on the medium, and
//! is never repeated as if it could: on Linux the pages are marked clean after the first failure.

mod os;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod simulated;

pub use os::OsDisk;

use super::wear::{Medium, NoCounter};
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet, for reading and writing.
    Create,
}

/// What a folder holds under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name within the folder. Names that are not UTF-8 are not ours and are left out.
    pub name: String,
    /// Its length in bytes; 0 for a folder.
    pub len: u64,
    /// Whether it is a folder.
    pub folder: bool,
}

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written by us; what is kept for the superuser is not among them.
    pub free_bytes: u64,
    /// Bytes that are free and kept for the superuser (ext4 keeps a twentieth); 0 if we are that.
    pub kept_bytes: u64,
    /// Files that may still be made by us; `None` where the file system does not count them (btrfs, most FATs).
    pub free_inodes: Option<u64>,
    /// Bytes in which a file grows, at least 1.
    pub block: u64,
}

/// A file system.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Makes a folder and those above it; fine if it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    /// What a folder holds, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; whoever has it open may go on reading.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes durable which names exist in a folder.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// What is left on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the exclusive lock that keeps a second process out, held until the result is dropped.
    /// [`io::ErrorKind::WouldBlock`] when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>>;
    /// What counts the bytes written to the medium under `path`.
    ///
    /// # Errors
    /// When nothing does, and why.
    fn medium(&self, path: &Path) -> Result<Box<dyn Medium>, NoCounter> {
        Err(NoCounter::NoDevice { path: path.display().to_string() })
    }
    /// Whether paths are those of the operating system, so that a library with file access of its own can use them.
    fn is_os(&self) -> bool {
        false
    }
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; may write fewer bytes than given.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts or lengthens the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes its bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Lengthens the file to `len` with zeros that take up real blocks, without writing them; `false` if the file system
    /// cannot. A file that is written to within its length needs no change of its length with each sync.
    fn extend(&self, from: u64, len: u64) -> io::Result<bool> {
        let _ = (from, len);
        Ok(false)
    }
    /// Gives the file real blocks up to `len`, so that removing it gives that space back.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// Writes all of `bytes`; an error when the disk takes none of them.
pub(crate) fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills as much of `buffer` as the file holds from `offset` on; says how much that was.
pub(crate) fn read_full_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
