//! Where it is measured.

use crate::queue::Outcome;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate::store::wear::{BlockDevice, Medium};

/// A folder of this run's own, removed at the end.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    /// `ext4 on /dev/mmcblk0p2`.
    pub(crate) file_system: String,
    /// Why the medium's bytes are not known, if they are not.
    pub(crate) no_counter: Option<String>,
}

impl Place {
    pub(crate) fn new(parent: Option<PathBuf>) -> Outcome<Self> {
        let parent = parent.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
        std::fs::create_dir_all(&parent)?;
        let folder = TempDir::with_prefix_in("store-bench-", &parent)
            .map_err(|error| format!("cannot make a folder in {}: {error}", parent.display()))?;
        let (kind, source) = mount_of(folder.path())?;
        if matches!(kind.as_str(), "tmpfs" | "ramfs") {
            return Err(format!(
                "{} is in memory ({kind}): give a folder on the flash that is to be measured",
                parent.display()
            )
            .into());
        }
        let no_counter = BlockDevice::of(folder.path()).err().map(|error| error.to_string());
        Ok(Self { folder, file_system: format!("{kind} on {source}"), no_counter })
    }

    /// A new folder for one contender's files.
    pub(crate) fn folder(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    }
}

/// Kind and source of the file system that holds a path, from `/proc/self/mountinfo` (man page proc(5)).
fn mount_of(path: &Path) -> Outcome<(String, String)> {
    let path = path.canonicalize()?;
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut best: Option<(usize, (String, String))> = None;
    for line in text.lines() {
        let Some((mount, about)) = line.split_once(" - ") else { continue };
        let (Some(point), mut about) = (mount.split(' ').nth(4), about.split(' ')) else { continue };
        let (Some(kind), Some(source)) = (about.next(), about.next()) else { continue };
        // The longest mount point wins; of equal ones the last, which covers the others.
        if path.starts_with(point) && best.as_ref().is_none_or(|(len, _)| point.len() >= *len) {
            best = Some((point.len(), (kind.to_owned(), source.to_owned())));
        }
    }
    Ok(best.ok_or("the file system is not in /proc/self/mountinfo")?.1)
}

/// Bytes that everyone has written to the medium under a folder; `None` where it does not count.
pub(crate) fn written(folder: &Path) -> Option<u64> {
    BlockDevice::of(folder).ok()?.written().ok()
}

/// Every file in a folder and below it.
pub(crate) fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// Bytes that a folder's files take on the disk.
pub(crate) fn occupied(folder: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    files(folder)?.iter().map(|path| Ok(std::fs::symlink_metadata(path)?.blocks() * 512)).sum()
}
