//! A folder that is gone when the demo is.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tidegate::language::Message;
use tidegate::message;

/// Attempts to find a name that is free; one is enough unless the names are not random.
const ATTEMPTS: usize = 16;

/// Longest path of the demo's folder: the control socket stands in it, and the configuration takes 100 bytes for that
/// one's path.
const LONGEST: usize = 100 - "/control.sock".len();

/// The demo's folder could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(in crate::command) struct NoFolder {
    parent: PathBuf,
    source: io::Error,
}

impl NoFolder {
    /// It in words, without its cause.
    pub(super) fn message(&self) -> Message {
        message!(
            "cannot make the demo's folder in {folder}; name one that you may write to in TMPDIR: TMPDIR=/var/tmp tidegate demo",
            folder = self.parent.display()
        )
    }
}

/// A temporary folder, removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one that only this user may enter, where TMPDIR says (`/tmp` if it says nothing).
    pub(super) fn make() -> Result<Self, NoFolder> {
        Self::make_in(std::env::temp_dir())
    }

    fn make_in(parent: PathBuf) -> Result<Self, NoFolder> {
        Self::try_make(&parent).map_err(|source| NoFolder { parent, source })
    }

    fn try_make(parent: &Path) -> io::Result<Self> {
        // The configuration takes absolute paths, and text.
        let parent = std::path::absolute(parent)?;
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..ATTEMPTS {
            let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
            let path = parent.join(format!("tidegate-demo-{random:016x}"));
            if path.to_str().is_none_or(|text| text.len() > LONGEST) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    message!("its path is too long, or is not text"),
                ));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_with_everything_in_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = Folder::make_in(parent.path().to_owned()).expect("a folder");
        std::fs::write(folder.path().join("x"), b"x").expect("a file");
        drop(folder);
        assert_eq!(std::fs::read_dir(parent.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_parent_that_cannot_hold_it_is_named_with_what_to_do() {
        let parent = tempfile::tempdir().expect("a folder");
        let long = parent.path().join("x".repeat(100));
        std::fs::create_dir(&long).expect("a folder");
        for parent in [parent.path().join("missing"), PathBuf::from("/dev/null"), long] {
            let said = Folder::make_in(parent.clone()).expect_err("no folder").to_string();
            assert!(said.contains(&parent.display().to_string()) && said.contains("TMPDIR="), "{said}");
        }
    }
}
