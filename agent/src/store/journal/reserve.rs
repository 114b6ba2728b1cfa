//! The reserve: a file whose only use is to be removed when the disk is full.
//!
//! The cursor must always be able to advance, or a full disk would stay full: so a little space is kept that only the
//! control lane (and what is put aside) may use. While the reserve is gone no records are written.

use crate::store::disk::{Disk, Mode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    size: u64,
    present: bool,
}

impl Reserve {
    /// The reserve as it is found: present only if it is whole.
    pub(super) fn find(disk: Arc<dyn Disk>, folder: &Path, size: u64) -> Self {
        let path = folder.join("reserve");
        // One that is larger, of a time with a larger `max_size`, is made anew too: it counts as `size`.
        let present = disk.open(&path, Mode::Read).and_then(|file| file.len()).is_ok_and(|len| len == size);
        Self { disk, path, size, present }
    }

    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    /// Makes it, if it is not there.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        if self.present {
            return Ok(());
        }
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = self.disk.open(&self.path, Mode::Create).and_then(|file| {
            file.allocate(self.size)?;
            file.sync_data()
        });
        match made {
            Ok(()) => self.present = true,
            Err(error) => {
                let _ = self.disk.remove(&self.path);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives its space back; `false` if there was none to give.
    pub(super) fn release(&mut self) -> bool {
        if !self.present {
            return false;
        }
        self.present = false;
        match self.disk.remove(&self.path) {
            Ok(()) => {
                tracing::debug!("the disk is full: the reserve is used for the control lane");
                true
            }
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "cannot release the reserve");
                false
            }
        }
    }
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
