//! The version of the store as a whole: what decides about up- and downgrades before anything else is read.
//!
//! # Constraints
//! - A store that a newer version of Tidegate has changed in a way that this one does not know is **refused and not
//!   touched**: it is read before the lock is taken, and nothing is made, cut, moved or removed.
//! - It never keeps a store from opening for its own sake: where it is missing, damaged, or cannot be written (a full
//!   disk), each segment's head still says its version, and it is written at the next start.
//!
//! # On disk
//! `version` in the store's folder, written before anything else is made there: beside its place first
//! (`version.new`), synced, renamed, and the folder synced.
//!
//! ```text
//! tidegate-store <format> <sum>\n     // decimal; CRC32C of what stands before it, eight hexadecimal digits
//! ```
//!
//! What is behind the line is for later versions.
//!
//! # Which version reads what
//! The `format` is that of the segments' heads. It rises when an older version must not go on with the store: it would
//! lose records, hand out an id twice, or forget what was promised. What an older version may pass over without such harm
//! does not raise it: unknown fields and unknown entries of the control lane are passed over, and said.
//!
//! - The same format: opened.
//! - None, because the store was made before there was this file: opened if the heads fit, and the file is written.
//! - An older one: read by what is known of it. Format 1 never left the developers' machines and is refused.
//! - A newer one: refused.

use super::segment::VERSION;
use crate::store::StoreError;
use crate::store::disk::{Disk, Mode, read_full_at, write_all_at};
use std::io;
use std::path::{Path, PathBuf};

/// The file's name.
pub(super) const NAME: &str = "version";

/// The name under which it is written.
const NEW: &str = "version.new";

/// How it begins.
const MARK: &str = "tidegate-store ";

/// Bytes that are read of it: the line has 32 at most.
const READ: usize = 64;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// There is none, or it cannot be read.
    Nothing,
    /// It is not as it was written.
    Damaged,
    /// The format.
    Format(u16),
}

/// Refuses a store that is not to be touched by this version; hands out what the file says. Changes nothing.
pub(super) fn check(disk: &dyn Disk, root: &Path) -> Result<Says, StoreError> {
    match says(disk, root) {
        Says::Format(found) if found != VERSION => {
            Err(StoreError::Version { path: root.join(NAME).display().to_string(), found, known: VERSION })
        }
        says => Ok(says),
    }
}

/// Where the file is, if it is there and not as it was written.
pub(super) fn damaged(disk: &dyn Disk, root: &Path) -> Option<PathBuf> {
    (says(disk, root) == Says::Damaged).then(|| root.join(NAME))
}

/// Whether nothing of a store is there yet.
pub(super) fn is_fresh(disk: &dyn Disk, root: &Path) -> io::Result<bool> {
    let entries = disk.list(root)?;
    Ok(!entries.iter().any(|entry| entry.folder && (entry.name == "control" || entry.name.starts_with("lane-"))))
}

/// Writes the file if it does not say what it should. To be called with the lock held, after [`check`]. Where the disk does
/// not allow it, the segments' heads say it.
pub(super) fn say(disk: &dyn Disk, root: &Path) {
    if let Err(error) = settle(disk, root) {
        tracing::warn!(%error, "the store's version cannot be written; trying again at the next start");
    }
}

fn settle(disk: &dyn Disk, root: &Path) -> io::Result<()> {
    if says(disk, root) == Says::Format(VERSION) {
        return Ok(());
    }
    let (new, place) = (root.join(NEW), root.join(NAME));
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&new, Mode::Create)?;
    write_all_at(&*file, encode(VERSION).as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(&new, &place)?;
    disk.sync_dir(root)
}

fn says(disk: &dyn Disk, root: &Path) -> Says {
    let mut bytes = [0; READ];
    let read = disk.open(&root.join(NAME), Mode::Read).and_then(|file| read_full_at(&*file, &mut bytes, 0));
    match read {
        Ok(filled) => decode(&bytes[..filled]).map_or(Says::Damaged, Says::Format),
        // A FIFO or a device in its place.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Says::Damaged,
        Err(_) => Says::Nothing,
    }
}

fn encode(format: u16) -> String {
    let line = format!("{MARK}{format} ");
    format!("{line}{:08x}\n", crc32c::crc32c(line.as_bytes()))
}

fn decode(bytes: &[u8]) -> Option<u16> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let format = line.strip_prefix(MARK)?.split(' ').next()?.parse().ok()?;
    (encode(format).as_bytes() == &bytes[..=end]).then_some(format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::simulated::SimulatedDisk;
    use proptest::prelude::*;

    fn disk() -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        disk.create_dir_all(Path::new("/store")).expect("a folder");
        disk.sync_dir(Path::new("/")).expect("synced");
        disk
    }

    fn put(disk: &SimulatedDisk, bytes: &[u8]) {
        let file = disk.open(Path::new("/store/version"), Mode::Create).expect("a file");
        write_all_at(&*file, bytes, 0).expect("written");
    }

    #[test]
    fn it_is_written_once_and_what_is_damaged_anew() {
        let root = Path::new("/store");
        let store = disk();
        assert_eq!(says(&store, root), Says::Nothing);
        settle(&store, root).expect("the disk is fine");
        assert_eq!(says(&store, root), Says::Format(VERSION));
        store.make_read_only();
        settle(&store, root).expect("nothing to write");
        for damaged in ["", "tidegate-store 9", "tidegate-store 9 00000000\n", "\u{0}\u{0}\n"] {
            let store = disk();
            put(&store, damaged.as_bytes());
            assert_eq!(check(&store, root).expect("what is damaged refuses nothing"), Says::Damaged);
            assert_eq!(super::damaged(&store, root), Some("/store/version".into()));
            settle(&store, root).expect("the disk is fine");
            assert_eq!(super::damaged(&store, root), None);
            assert_eq!(says(&store, root), Says::Format(VERSION), "{damaged:?}");
        }
    }

    #[test]
    fn another_format_is_refused_whatever_follows_its_line() {
        for format in [1, 3, u16::MAX] {
            let store = disk();
            put(&store, format!("{}made for later\n", encode(format)).as_bytes());
            let refused = check(&store, Path::new("/store"));
            assert!(matches!(refused, Err(StoreError::Version { found, .. }) if found == format), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn a_format_reads_back_and_a_cut_or_changed_line_does_not(format: u16, at in 0_usize..40, change in 1_u8..=255) {
            let line = encode(format);
            prop_assert!(line.len() <= READ);
            prop_assert_eq!(decode(line.as_bytes()), Some(format));
            let at = at % line.len();
            prop_assert_eq!(decode(&line.as_bytes()[..at]), None);
            let mut changed = line.into_bytes();
            changed[at] ^= change;
            prop_assert_eq!(decode(&changed), None);
        }

        #[test]
        fn a_power_cut_while_it_is_written_leaves_it_or_nothing(seed: u64, calls in 0_u32..10) {
            let store = disk();
            store.seed(seed);
            store.die_after(calls);
            let answered = settle(&store, Path::new("/store"));
            let after = store.cut();
            let found = says(&after, Path::new("/store"));
            prop_assert!(found == Says::Format(VERSION) || answered.is_err() && found == Says::Nothing);
            settle(&after, Path::new("/store")).expect("the disk is fine");
        }
    }
}
