//! Files that a command was writing when it was killed: another run of the command removes them.
//!
//! # Constraints
//! They may hold a secret or payloads, so they must not stay for ever; what belongs to somebody else must. A file is removed only if
//! - its name is of the kind that the command itself gives, with the process's id in it;
//! - it is a regular file (a link is never followed) of this user, or of whoever owns the folder: secrets are made over to the
//!   service's user before they are in their place;
//! - that process is gone, or the file was not written to for [`WRITING`]: another process may have the id by now.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a command writes to one file without a pause, at the most: an export's slowest pause is that of a medium that stalls,
/// some seconds.
const WRITING: Duration = Duration::from_secs(3600);

/// Entries of a folder that are looked at.
const ENTRIES: usize = 10_000;

/// Removes what is left over in a folder; hands out what was removed. `process`: the id in a name that is of the command's kind.
pub(super) fn remove(folder: &Path, process: impl Fn(&str) -> Option<u32>) -> Vec<PathBuf> {
    let Ok(owner) = std::fs::metadata(folder).map(|about| about.uid()) else { return Vec::new() };
    let is_left = |about: &Metadata, process| {
        let own = about.uid() == owner || about.uid() == rustix::process::geteuid().as_raw();
        let age = about.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        about.is_file() && own && (is_gone(process) || age.is_some_and(|age| age > WRITING))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(ENTRIES).flatten();
    let removed = entries.filter_map(|entry| {
        let process = process(entry.file_name().to_str()?)?;
        // Of the link itself, as `DirEntry::metadata` has it.
        let about = entry.metadata().ok()?;
        (is_left(&about, process) && std::fs::remove_file(entry.path()).is_ok()).then(|| entry.path())
    });
    removed.collect()
}

/// Whether a process has ended; where there is no `/proc`, nobody knows.
fn is_gone(process: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Higher than the highest process id there can be (4,194,304; `proc_sys_kernel(5)`, `pid_max`): it never runs.
    const NEVER: u32 = 4_194_305;

    #[test]
    fn what_a_killed_process_left_goes_and_what_belongs_to_others_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let own = std::process::id();
        let old = place(&format!("x.{own}"));
        for name in [format!("x.{NEVER}"), format!("y.{NEVER}"), "x.mine".to_owned(), format!("x.{own}")] {
            std::fs::write(place(&name), "secret").expect("a file");
        }
        std::fs::create_dir(place(&format!("x.{}", NEVER + 1))).expect("a folder");
        std::os::unix::fs::symlink(&old, place(&format!("x.{}", NEVER + 2))).expect("a link");
        let process = |name: &str| name.strip_prefix("x.")?.parse().ok();
        assert_eq!(remove(folder.path(), process), [place(&format!("x.{NEVER}"))]);
        let long_ago = SystemTime::now() - WRITING - Duration::from_secs(60);
        let file = std::fs::File::options().write(true).open(&old).expect("there");
        file.set_modified(long_ago).expect("its time is set");
        assert_eq!(remove(folder.path(), process), std::slice::from_ref(&old));
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 4);
        assert_eq!(remove(&place("none"), process), [""; 0].map(PathBuf::from));
    }
}
