//! Puts what was answered on the disk: all of it or nothing, secrets readable by nobody else.
//!
//! All files are written beside their places and synced first; only then are they renamed, and their folders synced. So a disk that is
//! full or breaks leaves everything as it was, and after a power cut each file is the old one or the new one. Secrets come first: a
//! configuration never names one that is not there. What a run that was killed left beside its place the next one removes.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::message;

use super::answers::SECRETS;
use crate::command::{Coded, leftover};

/// How a file's name ends until it is in its place: `.NAME.PID.new`.
const NEW: &str = ".new";

/// A file or folder that could not be written.
pub(super) fn cannot(path: &Path, source: io::Error) -> Coded {
    let path = path.display();
    let said = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            message!("there is no room for {path}; make some (see: df -h), then run this again", path = path)
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            message!(
                "{path} is on a file system that is read-only; mount it writable, then run this again",
                path = path
            )
        }
        io::ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            message!("this user cannot write {path}; run this with sudo", path = path)
        }
        _ => message!("cannot write {path}; see to the permissions and the disk there", path = path),
    };
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

/// What is written and not in its place yet. Dropped before it is, nothing of it stays.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Folders that were made for it, from the outside in.
    folders: Vec<PathBuf>,
    /// Each file beside its place, and its place.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Batch {
    /// Makes a folder and those above it; only a new one gets owner and mode (0755 those above).
    pub(super) fn folder(&mut self, path: &Path, belongs: Belongs) -> Result<(), Coded> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            let failed = |source| cannot(folder, source);
            let (mode, to) = if folder == path { (belongs.mode, belongs.to) } else { (0o755, None) };
            DirBuilder::new().mode(mode).create(folder).map_err(failed)?;
            self.folders.push(folder.to_path_buf());
            if let Some((uid, gid)) = to {
                std::os::unix::fs::chown(folder, Some(uid), Some(gid)).map_err(failed)?;
            }
            folder.parent().map_or(Ok(()), sync_folder).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes a file beside its place: that of what a link leads to.
    pub(super) fn file(&mut self, path: &Path, bytes: &[u8], belongs: Belongs) -> Result<(), Coded> {
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let failed = |source| cannot(path, source);
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}{NEW}", std::process::id()));
        let beside = target.with_file_name(beside);
        self.files.push((beside.clone(), target));
        write(&beside, bytes, belongs).map_err(failed)
    }

    /// Puts all of it in its place, in the order in which it was written.
    pub(super) fn commit(mut self) -> Result<(), Coded> {
        self.folders.clear();
        for (beside, target) in &self.files {
            let done = std::fs::rename(beside, target).and_then(|()| target.parent().map_or(Ok(()), sync_folder));
            done.map_err(|source| cannot(target, source))?;
        }
        self.files.clear();
        Ok(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // What cannot be removed either is why this was given up, and that was said.
        for (beside, _) in &self.files {
            let _ = std::fs::remove_file(beside);
        }
        for folder in self.folders.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn write(path: &Path, bytes: &[u8], belongs: Belongs) -> io::Result<()> {
    // A name with this process's number can only be left of one that was cut off.
    if let Err(error) = std::fs::remove_file(path) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if let Some((uid, gid)) = belongs.to {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    file.set_permissions(Permissions::from_mode(belongs.mode))?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Removes what a run that was killed left of the configuration at `path` and of the secrets in `secrets`: it may be a secret.
/// Hands out what was removed.
pub(super) fn remove_left_over(path: &Path, secrets: &Path) -> Vec<PathBuf> {
    let of = |target: &Path, is_own: &dyn Fn(&str) -> bool| {
        leftover::remove(target, |name| {
            let (name, process) = name.strip_prefix('.')?.strip_suffix(NEW)?.rsplit_once('.')?;
            process.parse().ok().filter(|_| is_own(name))
        })
    };
    let is_secret = |name: &str| {
        let (name, old) = name.split_once(".old").unwrap_or((name, ""));
        SECRETS.contains(&name) && old.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut removed = of(secrets, &is_secret);
    // Beside what a link leads to, as it is written there.
    for file in std::iter::once(path.to_path_buf()).chain(SECRETS.map(|name| secrets.join(name))) {
        let target = std::fs::canonicalize(&file).unwrap_or(file);
        if let (Some(folder), Some(own)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) {
            removed.extend(of(folder, &|name| name == own));
        }
    }
    removed
}

/// That files can be made in a folder, or in the nearest above it that is there; else why not.
pub(super) fn writable(folder: &Path) -> Result<(), io::Error> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    Ok(rustix::fs::access(there, rustix::fs::Access::WRITE_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, belongs: Belongs) -> Result<(), Coded> {
        let mut batch = Batch::default();
        batch.file(path, b"new", belongs)?;
        batch.commit()
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().expect("a folder");
        let (secrets, path) = (root.path().join("a/secrets"), root.path().join("a/secrets/key"));
        let mut batch = Batch::default();
        batch.folder(&secrets, Belongs { to: None, mode: 0o700 }).expect("made");
        std::fs::write(&path, "old").expect("a file");
        batch.file(&path, b"new", Belongs { to: None, mode: 0o600 }).expect("written");
        batch.commit().expect("in its place");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&secrets), mode(&path)), (0o700, 0o600));
        assert_eq!(std::fs::read(&path).expect("there"), b"new");
        assert_eq!(std::fs::read_dir(&secrets).expect("there").count(), 1);
    }

    #[test]
    fn what_is_given_up_leaves_neither_files_nor_folders() {
        let root = tempfile::tempdir().expect("a folder");
        let (secrets, old) = (root.path().join("a/b/secrets"), root.path().join("old"));
        std::fs::write(&old, "old").expect("a file");
        let mut batch = Batch::default();
        batch.folder(&secrets, Belongs { to: None, mode: 0o700 }).expect("made");
        batch.file(&secrets.join("key"), b"new", Belongs { to: None, mode: 0o600 }).expect("written");
        batch.file(&old, b"new", Belongs { to: None, mode: 0o600 }).expect("written");
        assert!(batch.file(&root.path().join("none/x"), b"x", Belongs { to: None, mode: 0o600 }).is_err());
        drop(batch);
        assert_eq!(std::fs::read(&old).expect("there"), b"old");
        assert_eq!(std::fs::read_dir(root.path()).expect("there").count(), 1);
    }

    #[test]
    fn a_link_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        std::fs::write(&real, "old").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        put(&link, Belongs::as_there(&link, 0o644)).expect("written");
        assert_eq!(std::fs::read(&real).expect("there"), b"new");
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
    }
}
