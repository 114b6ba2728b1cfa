//! Who has a store open, told without taking its lock: that would keep a service that starts at that moment from starting.
//!
//! # Format
//! `/proc/locks` (proc(5)) has a line for each lock: a number, `FLOCK`, `ADVISORY`, `WRITE`, the process's id and
//! `major:minor:inode` of the file, the device's numbers in hexadecimal. Some file systems (btrfs) show another device there
//! than to who asks about the file; then the process must also have the file open, which of others' only root sees.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tidegate::processes;

/// The process that holds the lock of the store in this folder, as far as this user may see it.
pub(super) fn of_store(folder: &Path) -> Option<u32> {
    let lock = folder.join("lock");
    let about = std::fs::metadata(&lock).ok()?;
    let (major, minor) = (rustix::fs::major(about.dev()), rustix::fs::minor(about.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", about.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let exact = locked(&locks, |place| place == file).next();
    exact.or_else(|| {
        let (inode, path) = (format!(":{}", about.ino()), lock.canonicalize().ok()?);
        locked(&locks, |place| place.ends_with(&inode)).find(|pid| has_open(*pid, &path))
    })
}

/// The processes that hold a `flock` on such a file (device and inode as `/proc/locks` writes them).
fn locked<'a>(locks: &'a str, is: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = u32> + 'a {
    let of_line = move |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let this = words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|place| is(place));
        words.get(4).filter(|_| this)?.parse().ok()
    };
    locks.lines().filter_map(of_line)
}

fn has_open(pid: u32, file: &Path) -> bool {
    processes::open_files(pid).any(|open| open == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_lock_is_told_from_the_systems_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 77 fe:01:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fe:01:42 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 fe:01:42 0 EOF\n";
        let of = |file: &str| locked(locks, |place| place == file).collect::<Vec<_>>();
        assert_eq!(of("fe:01:42"), [4711], "who waits for a lock does not hold it");
        assert!(of("fe:01:43").is_empty());
    }

    #[test]
    fn a_lock_that_is_held_is_seen_none_is_taken_and_an_open_file_is_no_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(of_store(folder.path()), None);
        let path = folder.path().join("lock");
        let file = std::fs::File::create(&path).expect("a lock file");
        assert_eq!(of_store(folder.path()), None);
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("the lock");
        assert_eq!(of_store(folder.path()), Some(std::process::id()));
        let path = path.canonicalize().expect("it is there");
        assert!(has_open(std::process::id(), &path));
        drop(file);
        assert!(!has_open(std::process::id(), &path));
        assert_eq!(of_store(folder.path()), None);
    }
}
