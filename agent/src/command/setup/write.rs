//! Puts what was answered on the disk: each file whole or not at all, secrets readable by nobody else.
//!
//! A file is written beside its place, synced, renamed, and the folder synced: after a power cut the old one or the new one is
//! there. Secrets come first: a configuration never names one that is not there.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tidegate::code::Code;
use tidegate::message;

use crate::command::Coded;

/// A file or folder that could not be written.
fn cannot(path: &Path, source: io::Error) -> Coded {
    let said = message!(
        "cannot write {path}; run this with sudo, or see to the room and the permissions there",
        path = path.display()
    );
    Coded { text: said, code: Some(Code::CannotWrite), source: Some(source) }
}

/// Who owns a file, and its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Belongs {
    /// User and group; `None`: whoever writes.
    pub(super) to: Option<(u32, u32)>,
    /// The permission bits.
    pub(super) mode: u32,
}

impl Belongs {
    /// As a file that is there; `mode` if there is none.
    pub(super) fn as_there(path: &Path, mode: u32) -> Self {
        let about = std::fs::metadata(path).ok();
        let to =
            about.as_ref().filter(|_| rustix::process::geteuid().is_root()).map(|about| (about.uid(), about.gid()));
        Self { to, mode: about.map_or(mode, |about| about.mode() & 0o7777) }
    }
}

/// Makes a folder and those above it; only a new one gets owner and mode (0755 those above).
pub(super) fn folder(path: &Path, belongs: Belongs) -> Result<(), Coded> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |source| cannot(path, source);
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(failed)?;
    }
    DirBuilder::new().mode(belongs.mode).create(path).map_err(failed)?;
    if let Some((uid, gid)) = belongs.to {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    path.parent().map_or(Ok(()), sync_folder).map_err(failed)
}

/// Writes a file, in the place of what a link leads to.
pub(super) fn file(path: &Path, bytes: &[u8], belongs: Belongs) -> Result<(), Coded> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let failed = |source| cannot(path, source);
    let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.new", std::process::id()));
    let beside = target.with_file_name(beside);
    let done = replace(&beside, &target, bytes, belongs);
    if done.is_err() {
        // What is left of an attempt; if it cannot be removed either, the error below says why.
        let _ = std::fs::remove_file(&beside);
    }
    done.map_err(failed)
}

fn replace(beside: &Path, target: &Path, bytes: &[u8], belongs: Belongs) -> io::Result<()> {
    // A name with this process's number can only be left of one that was cut off.
    if let Err(error) = std::fs::remove_file(beside) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(bytes)?;
    if let Some((uid, gid)) = belongs.to {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    file.set_permissions(Permissions::from_mode(belongs.mode))?;
    file.sync_all()?;
    std::fs::rename(beside, target)?;
    target.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Whether files can be made in a folder, or in the nearest above it that is there.
pub(super) fn writable(folder: &Path) -> bool {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_alone_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().expect("a folder");
        let (secrets, path) = (root.path().join("a/secrets"), root.path().join("a/secrets/key"));
        folder(&secrets, Belongs { to: None, mode: 0o700 }).expect("made");
        std::fs::write(&path, "old").expect("a file");
        file(&path, b"new", Belongs { to: None, mode: 0o600 }).expect("written");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&secrets), mode(&path)), (0o700, 0o600));
        assert_eq!(std::fs::read(&path).expect("there"), b"new");
        assert_eq!(std::fs::read_dir(&secrets).expect("there").count(), 1);
    }

    #[test]
    fn a_link_stays_and_a_file_that_cannot_be_written_stays_as_it_is() {
        let root = tempfile::tempdir().expect("a folder");
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        std::fs::write(&real, "old").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        file(&link, b"new", Belongs::as_there(&link, 0o644)).expect("written");
        assert_eq!(std::fs::read(&real).expect("there"), b"new");
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
        assert!(file(&root.path().join("none/x"), b"x", Belongs { to: None, mode: 0o600 }).is_err());
    }
}
