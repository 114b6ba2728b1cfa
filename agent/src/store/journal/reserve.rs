//! The reserve: a file of real blocks that are there for the control lane when the disk is full.
//!
//! The cursor must always be able to advance, or a full disk would stay full: so a little space is kept that only the
//! control lane (and what is put aside) may use. While the reserve is gone no records are written.
//!
//! **The file itself becomes the control lane's next segment** ([`Reserve::become_file`]). Removing it would not do:
//! ext4 keeps 5 % of its blocks for root, and once root has filled these too, what others free goes there first, out of
//! our reach. What is written into blocks that the file has already needs none. It is written and synced before it gets
//! its name, so that a power cut in between leaves the reserve, and never a segment of zeros; the next start sees that
//! it was written to, and makes it zeros again, in place. A copy-on-write file system may refuse even that: then it is
//! removed, as for what is put aside.
//!
//! For others than the control lane a part is cut off first ([`Reserve::lend`]): all of it goes only if that has shown
//! that what is given back does reach us.

use super::log::Log;
use super::segment::HEAD_LEN;
use crate::store::disk::{Disk, DiskFile, Mode, read_full_at, write_all_at};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes cut off to see whether they reach us: a few blocks, enough for the heads of each lane's next segment.
const LENT: u64 = 32 * 1024;

/// Bytes of zeros written at one time.
const ZEROS: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    size: u64,
    /// Its length; 0 while it is not there.
    len: u64,
    /// The control lane has found the disk full.
    wanted: bool,
}

impl Reserve {
    /// The reserve as it is found: present only if it is whole, but for what was lent of it.
    pub(super) fn find(disk: Arc<dyn Disk>, folder: &Path, size: u64) -> Self {
        let path = folder.join("reserve");
        // One that is larger, of a time with a larger `max_size`, is made anew too: it counts as `size`.
        let found = disk.open(&path, Mode::Write).and_then(|file| {
            let len = file.len()?;
            if len <= size && len + LENT >= size {
                clear(&*file, len)?;
                return Ok(len);
            }
            Ok(0)
        });
        Self { disk, path, size, len: found.unwrap_or(0), wanted: false }
    }

    pub(super) fn is_present(&self) -> bool {
        self.len > 0
    }

    /// Whether it is there and nothing is lent of it.
    pub(super) fn is_whole(&self) -> bool {
        self.len == self.size
    }

    /// Makes it, or what is missing of it.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        if self.is_whole() {
            self.wanted = false;
            return Ok(());
        }
        if self.is_present() {
            // What cannot be allocated leaves it as it is.
            let file = self.disk.open(&self.path, Mode::Write)?;
            file.allocate(self.size).and_then(|()| file.sync_data()).inspect_err(|_| {
                let _ = file.set_len(self.len);
            })?;
        } else {
            match self.disk.remove(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let made = self.disk.open(&self.path, Mode::Create).and_then(|file| {
                file.allocate(self.size)?;
                file.sync_data()
            });
            if let Err(error) = made {
                let _ = self.disk.remove(&self.path);
                return Err(error);
            }
        }
        (self.len, self.wanted) = (self.size, false);
        Ok(())
    }

    /// The control lane has found the disk full: its next segment is to be made of this.
    pub(super) fn want(&mut self) -> bool {
        self.wanted = self.is_present();
        self.wanted
    }

    /// Whether it is to be used for a segment at once.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted && self.is_present()
    }

    /// Makes it the file at `path` that begins with `bytes`, on flash; zeros follow up to the length that is returned
    /// with it. `None` if it is not there, too small, or cannot be written to: then it is gone, and its space given back.
    pub(super) fn become_file(&mut self, path: &Path, bytes: &[u8]) -> Option<(Arc<dyn DiskFile>, u64)> {
        if self.len < bytes.len() as u64 || !self.is_present() {
            return None;
        }
        let made = self.disk.open(&self.path, Mode::Write).and_then(|file| {
            write_all_at(&*file, bytes, 0)?;
            file.sync_data()?;
            self.disk.rename(&self.path, path)?;
            // A file system without a journal could bring back the old name beside the new one, of the same file.
            self.path.parent().map_or(Ok(()), |folder| self.disk.sync_dir(folder))?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                tracing::debug!(file = %path.display(), "the disk is full: the reserve becomes a segment of the control lane");
                self.wanted = false;
                Some((file, std::mem::take(&mut self.len)))
            }
            Err(error) => {
                tracing::debug!(file = %path.display(), %error, "the reserve cannot become a segment: it is removed");
                let _ = self.disk.remove(path);
                self.release();
                None
            }
        }
    }

    /// Writes what the control lane has staged, for which the disk had no room: into this if a segment begins with it,
    /// else with the next commit, which begins one.
    pub(super) fn serve(&mut self, log: &mut Log, disk: &dyn Disk, failed: io::Result<()>) -> io::Result<()> {
        if !self.is_present() {
            return failed;
        }
        if log.give_up_segment() {
            self.want();
            return failed;
        }
        if log.write_into(self) { Ok(()) } else { log.write(disk, 0) }
    }

    /// Gives a part of it back, or all if that part has reached us, for others than the control lane. `false` if
    /// nothing was given.
    pub(super) fn lend(&mut self) -> bool {
        if !self.is_present() {
            return false;
        }
        if self.is_whole() && self.size > LENT {
            let kept = self.size - LENT;
            let cut = self.disk.open(&self.path, Mode::Write).and_then(|file| file.set_len(kept));
            self.len = if cut.is_ok() { kept } else { self.len };
            return cut.is_ok();
        }
        let reached = self.path.parent().and_then(|folder| self.disk.space(folder).ok());
        reached.is_some_and(|space| space.free_bytes > 0) && self.release()
    }

    /// Gives its space back; `false` if there was none to give.
    pub(super) fn release(&mut self) -> bool {
        if !self.is_present() {
            return false;
        }
        (self.len, self.wanted) = (0, false);
        match self.disk.remove(&self.path) {
            Ok(()) => {
                tracing::debug!("the disk is full: the reserve is given back");
                true
            }
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "cannot release the reserve");
                false
            }
        }
    }
}

/// Makes a file zeros again that was to become a segment when the power was cut.
fn clear(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    let mut head = [0; HEAD_LEN];
    let filled = read_full_at(file, &mut head, 0)?;
    if head[..filled].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    // From its end, so that the mark by which it is known goes last.
    let mut end = len;
    while end > 0 {
        let begin = end.saturating_sub(ZEROS as u64);
        write_zeros(file, begin, end)?;
        if begin == 0 {
            break;
        }
        end = begin;
    }
    file.sync_data()
}

/// Writes zeros to `[from, below)`.
pub(super) fn write_zeros(file: &dyn DiskFile, from: u64, below: u64) -> io::Result<()> {
    let zeros = [0; ZEROS];
    let mut at = from;
    while at < below {
        let count = (below - at).min(ZEROS as u64);
        write_all_at(file, &zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

/// Whether an error means that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::WriteZero
            | io::ErrorKind::FileTooLarge
    )
}
