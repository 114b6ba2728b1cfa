//! The processes of this machine, as `/proc` lists them (proc(5)).
//!
//! # Format
//! A folder for each process, by its id. In it `comm` is its name, at most 15 characters and a line's end; `fd/<n>` are links to
//! what it has open. Of others' processes only root sees the links.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

/// Processes that a person's question is worth looking through: a gateway has some hundred.
const WORTH: usize = 4096;

/// The id of each.
pub fn all() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| id(&entry))
}

/// The ids of those that are worth looking through for a person, in a `/proc` that may stand elsewhere.
pub fn worth_a_look(proc: &Path) -> impl Iterator<Item = u32> {
    std::fs::read_dir(proc).into_iter().flatten().flatten().take(WORTH).filter_map(|entry| id(&entry))
}

fn id(entry: &DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.parse().ok()
}

/// The name of one, in a `/proc` that may stand elsewhere; `None` if it is gone.
pub fn name(proc: &Path, id: u32) -> Option<String> {
    let name = std::fs::read_to_string(proc.join(id.to_string()).join("comm")).ok()?;
    Some(name.trim().to_owned())
}

/// What one has open, as far as this user may see it: paths, and such as `socket:[<inode>]`.
pub fn open_files(id: u32) -> impl Iterator<Item = PathBuf> {
    let links = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    links.filter_map(|link| std::fs::read_link(link.path()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_one_with_a_name_and_what_it_has_open() {
        let own = std::process::id();
        assert!(all().any(|id| id == own) && worth_a_look(Path::new("/proc")).any(|id| id == own));
        assert!(name(Path::new("/proc"), own).is_some_and(|name| !name.is_empty() && !name.ends_with('\n')));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().canonicalize().expect("it is there");
        assert!(open_files(own).any(|open| open == path));
        drop(file);
        assert!(!open_files(own).any(|open| open == path));
        assert_eq!((worth_a_look(Path::new("/nonexistent")).count(), name(Path::new("/nonexistent"), own)), (0, None));
    }
}
