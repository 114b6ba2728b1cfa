//! A folder that is gone when the demo is.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Attempts to find a name that is free; one is enough unless the names are not random.
const ATTEMPTS: usize = 16;

/// A temporary folder, removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one that only this user may enter.
    pub(super) fn make() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..ATTEMPTS {
            let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
            let path = std::env::temp_dir().join(format!("tidegate-demo-{random:016x}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to tell; what stays is in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
