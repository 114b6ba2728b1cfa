//! Who has a store open, told without taking its lock: that would keep a service that starts at that moment from starting.
//!
//! # Format
//! `/proc/locks` (proc(5)) has a line for each lock: a number, `FLOCK`, `ADVISORY`, `WRITE`, the process's id and
//! `major:minor:inode` of the file, the device's numbers in hexadecimal. Some file systems (btrfs, overlayfs) show another
//! device there than to who asks about the file; then it is looked for among what processes have open, of which only root
//! sees all.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Processes that are looked through at most: a gateway has some hundred.
const PROCESSES: usize = 4096;

/// The process that holds the lock of the store in this folder, as far as this user may see it.
pub(super) fn of_store(folder: &Path) -> Option<u32> {
    let lock = folder.join("lock");
    let about = std::fs::metadata(&lock).ok()?;
    let (major, minor) = (rustix::fs::major(about.dev()), rustix::fs::minor(about.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", about.ino());
    let listed = std::fs::read_to_string("/proc/locks").ok().and_then(|locks| locked_by(&locks, &file));
    // Whoever has the file open holds its lock: nobody else opens it for longer.
    listed.or_else(|| who_has_open(&lock.canonicalize().ok()?))
}

/// The process that holds a `flock` on `file` (device and inode as `/proc/locks` writes them).
fn locked_by(locks: &str, file: &str) -> Option<u32> {
    let line = locks.lines().find(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.any(|word| word == file)
    })?;
    line.split_whitespace().nth(4)?.parse().ok()
}

fn who_has_open(file: &Path) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten().take(PROCESSES);
    let mut pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|one| std::fs::read_link(one.path()).is_ok_and(|to| to == file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_lock_is_told_from_the_systems_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 77 fe:01:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fe:01:42 0 EOF\n";
        assert_eq!(locked_by(locks, "fe:01:42"), Some(4711));
        assert_eq!(locked_by(locks, "fe:01:43"), None);
    }

    #[test]
    fn a_lock_that_is_held_is_seen_and_none_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(of_store(folder.path()), None);
        let path = folder.path().join("lock");
        drop(std::fs::File::create(&path).expect("a lock file"));
        assert_eq!(of_store(folder.path()), None);
        let file = std::fs::File::open(&path).expect("it is there");
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("the lock");
        let me = Some(std::process::id());
        assert_eq!(of_store(folder.path()), me);
        let path = path.canonicalize().expect("it is there");
        assert_eq!(who_has_open(&path), me);
        drop(file);
        assert_eq!(who_has_open(&path), None);
    }
}
