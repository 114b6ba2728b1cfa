//! Where the store is, or will be: whether the service can write there, on what medium, how much room there is, and how long a
//! sync takes.
//!
//! # Constraints
//! - The store's own files and its lock are not touched. What is written is one file of [`BLOCK`] × [`SYNCS`] bytes at the most, as the
//!   service's user, which is removed; one that a killed check has left behind is removed by the next.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tidegate::code::Code;
use tidegate::config::Store;
use tidegate::config::units::format_size;
use tidegate::language::{IntoValue, system};
use tidegate::message;
use tidegate::watch::Status;

use super::medium::{self, Lasting};
use super::runner::Runner;
use super::unit::Unit;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};
use crate::command::leftover;

/// What is written before each sync, in bytes: a small commit.
const BLOCK: usize = 4096;

/// Syncs that are measured at most: 64 KiB in all, no wear to speak of.
const SYNCS: usize = 16;

/// After this time no further sync is begun.
const LIMIT: Duration = Duration::from_secs(3);

/// A median above this is slow: with the default window of 20 publishes a device gets 200 acknowledgements a second then.
const SLOW: Duration = Duration::from_millis(100);

/// A single sync above this is worth knowing of: cards that tidy up stall so, and devices wait 5 to 20 s for a PUBACK.
const STALL: Duration = Duration::from_secs(2);

/// How the file's name begins; the process's number follows.
const NAME: &str = "tidegate-check-";

/// Files that are counted at most, when the service does not say how much it uses.
const FILES: usize = 100_000;

/// Looks.
pub(in crate::command) fn look(store: &Store, runner: &Runner, unit: &Unit, service: Option<&Status>, tell: Tell<'_>) {
    if let Some(store) = service.map(|status| &status.store).filter(|store| store.stalled.is_some()) {
        let english = || store.stalled.clone().unwrap_or_default().into_value();
        let why = store.stalled_message.clone().map_or_else(english, IntoValue::into_value);
        tell(Finding::bad(
            Id::Store.of(message!("store")),
            message!("the service cannot write to it now: {why}", why = why),
            Code::StoreStalled,
            message!("free the disk or replace the medium; devices keep what is not acknowledged"),
        ));
    }
    let Some(there) = nearest(&store.path) else {
        let said = message!("{path} cannot be looked at", path = store.path.display());
        tell(Finding::unknown(Id::Store.of(message!("store")), said, Some(message!("run it again with sudo"))));
        return;
    };
    let lasting = on_what(&there, tell);
    let stored = service.map_or_else(|| size(&store.path), |status| status.store.bytes);
    tell(room(store, &there, stored));
    if there != store.path && unit.makes(&store.path) {
        let said = message!("{path} is made by systemd at the first start", path = store.path.display());
        tell(Finding::good(Id::StoreWriting.of(message!("store, writing")), said));
        return;
    }
    write(store, &there, runner, lasting, tell);
}

/// The folder itself, or the nearest one above it that is there.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|path| path.is_dir()).map(Path::to_path_buf)
}

/// On what it is; hands out whether that lasts.
fn on_what(there: &Path, tell: Tell<'_>) -> Lasting {
    let what = || Id::StoreMedium.of(message!("store, medium"));
    let Some(medium) = medium::of(there) else {
        tell(Finding::unknown(
            what(),
            message!("the system does not say on what {path} lies", path = there.display()),
            None,
        ));
        return Lasting::Unknown;
    };
    let on = || message!("{kind} on {device}", kind = &medium.kind, device = &medium.device);
    let elsewhere = || message!("put the store on the gateway's own flash: [store] path");
    tell(match medium.lasting {
        _ if medium.read_only => Finding::bad(
            what(),
            message!("{medium}, mounted read-only", medium = on()),
            Code::StoreUnusable,
            message!(
                "see `dmesg` for why, then: mount -o remount,rw {path}; a card that does so by itself is at its end",
                path = medium.mounted_at.display(),
            ),
        ),
        Lasting::Yes => Finding::good(what(), on()),
        Lasting::Memory => Finding::bad(
            what(),
            message!("{medium}: what is stored there is gone with the power", medium = on()),
            Code::StoreMedium,
            elsewhere(),
        ),
        Lasting::Network => Finding::attention(
            what(),
            message!("{medium}: without the network nothing can be stored", medium = on()),
            Code::StoreMedium,
            elsewhere(),
        ),
        Lasting::Fragile => Finding::attention(
            what(),
            message!("{medium}: a power cut may damage this file system", medium = on()),
            Code::StoreMedium,
            message!("put the store on ext4: [store] path"),
        ),
        Lasting::Unknown => Finding::unknown(
            what(),
            message!("{medium}: what lies below cannot be seen from here", medium = on()),
            Some(message!("see that it is no memory: in a container, give [store] path a volume of its own")),
        ),
    });
    medium.lasting
}

/// Whether there is room for what it may become.
fn room(store: &Store, there: &Path, stored: u64) -> Finding {
    let what = Id::StoreRoom.of(message!("store, room"));
    let volume = match rustix::fs::statvfs(there) {
        Ok(volume) => volume,
        Err(error) => {
            let said = message!(
                "the free space of {path} cannot be read: {error}",
                path = there.display(),
                error = system::said(&error.into())
            );
            return Finding::unknown(what, said, None);
        }
    };
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    // File systems without a fixed number of inodes say 0.
    let inodes = (volume.f_files > 0).then_some(volume.f_favail);
    judge_room(what, store, (free, inodes), stored)
}

fn judge_room(what: Subject, store: &Store, (free, inodes): (u64, Option<u64>), stored: u64) -> Finding {
    let size = |bytes: u64| format_size_roughly(bytes);
    let possible = free.saturating_sub(store.keep_free).saturating_add(stored);
    if inodes.is_some_and(|inodes| inodes <= store.keep_free_inodes) {
        return Finding::bad(
            what,
            message!("the file system has no inodes left (too many small files)"),
            Code::StoreStalled,
            message!("find and remove them: du --inodes -x / | sort -n | tail"),
        );
    }
    let next = message!("free the disk, or lower [store] max_size: du -x / | sort -n | tail");
    let (max, left) = (format_size(store.max_size), format_size(store.keep_free));
    if possible >= store.max_size {
        let free = size(free);
        return Finding::good(
            what,
            message!(
                "room for all of [store] max_size {max} ({free} free, {kept} of it left to others)",
                max = max,
                free = free,
                kept = left
            ),
        );
    }
    let told = message!(
        "room for {possible} of [store] max_size {max} ({free} free, {kept} of it left to others)",
        possible = size(possible),
        max = max,
        free = size(free),
        kept = left,
    );
    if possible < store.min_bytes() {
        Finding::bad(what, told, Code::StoreStalled, next)
    } else {
        Finding::attention(what, told, Code::StoreFull, next)
    }
}

/// Bytes with three digits or so: nobody needs the last byte of a disk.
fn format_size_roughly(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes >> shift > 0);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, shift)| format!("{:.1} {name}", bytes as f64 / (1_u64 << shift) as f64),
    )
}

/// What the store's own folders take (`control` and `lane-…`), as far as they may be seen.
fn size(store: &Path) -> u64 {
    let is_ours = |name: &str| name == "control" || name.starts_with("lane-");
    let Ok(entries) = std::fs::read_dir(store) else { return 0 };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    let files = ours.take(FILES).filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten();
    files.take(FILES).filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
}

fn write(store: &Store, there: &Path, runner: &Runner, lasting: Lasting, tell: Tell<'_>) {
    let what = || Id::StoreWriting.of(message!("store, writing"));
    let user = runner.name.as_str();
    let Some(measured) = runner.act(|| measure(there)) else {
        tell(Finding::unknown(
            what(),
            message!(
                "whether the service's user {user} may write to {path} can be seen by root and {user} only",
                user = user,
                path = there.display()
            ),
            Some(message!("run it again with sudo")),
        ));
        return;
    };
    let syncs = match measured {
        Ok(syncs) => syncs,
        Err(error) => {
            tell(refused(store, there, user, &error));
            return;
        }
    };
    tell(Finding::good(what(), message!("{user} may write to {path}", user = user, path = there.display())));
    if lasting != Lasting::Memory {
        tell(judge_syncs(syncs));
    }
}

/// Why nothing can be written, by what the system says of it (errno(3)).
fn refused(store: &Store, there: &Path, user: &str, error: &io::Error) -> Finding {
    let path = || there.display();
    let (said, code, next) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS) => (
            message!("the service's user {user} may not write to {path}", user = user, path = path()),
            Code::StoreUnusable,
            message!(
                "give it its folder: install -d -o {user} -m 750 {path}",
                user = user,
                path = store.path.display()
            ),
        ),
        Some(Errno::PERM) => (
            message!("{path} is protected: even its owner may not write to it", path = path()),
            Code::StoreUnusable,
            message!(
                "see by what: lsattr -d {path}, findmnt --target {path}; or write another [store] path",
                path = path()
            ),
        ),
        Some(Errno::ROFS) => (
            message!("{path} is on a file system that is mounted read-only", path = path()),
            Code::StoreUnusable,
            message!(
                "see `dmesg` for why, then: mount -o remount,rw {path}; a card that does so by itself is at its end",
                path = path()
            ),
        ),
        Some(Errno::NOSPC | Errno::DQUOT) => (
            message!("the disk is full: not even 4 KiB can be written to {path}", path = path()),
            Code::StoreStalled,
            message!("free the disk, or lower [store] max_size: du -x / | sort -n | tail"),
        ),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::OPNOTSUPP) => (
            message!("no file can be made in {path}: {error}", path = path(), error = system::said(error)),
            Code::StoreUnusable,
            message!("write a folder on the gateway's own flash as [store] path"),
        ),
        Some(Errno::IO | Errno::NXIO | Errno::NODEV) => (
            message!("writing to {path} failed: {error}", path = path(), error = system::said(error)),
            Code::StoreUnusable,
            message!("see `dmesg`; a medium that fails so must be replaced"),
        ),
        _ => (
            message!("writing to {path} failed: {error}", path = path(), error = system::said(error)),
            Code::StoreUnusable,
            message!("see `dmesg` for why, or write another [store] path"),
        ),
    };
    Finding::bad(Id::StoreWriting.of(message!("store, writing")), said, code, next)
}

/// How long each sync took; at least one.
fn measure(folder: &Path) -> io::Result<Vec<Duration>> {
    leftover::remove(folder, |name| name.strip_prefix(NAME)?.strip_suffix(".tmp")?.parse().ok());
    let scrap = Scrap(folder.join(format!("{NAME}{}.tmp", std::process::id())));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scrap.0)?;
    let (begun, mut syncs) = (Instant::now(), Vec::new());
    while syncs.is_empty() || syncs.len() < SYNCS && begun.elapsed() < LIMIT {
        file.write_all(&[0x55; BLOCK])?;
        let start = Instant::now();
        file.sync_data()?;
        syncs.push(start.elapsed());
    }
    Ok(syncs)
}

/// A file that goes, whatever happens.
struct Scrap(PathBuf);

impl Drop for Scrap {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn judge_syncs(mut syncs: Vec<Duration>) -> Finding {
    let what = Id::StoreSync.of(message!("store, sync"));
    syncs.sort_unstable();
    let (median, longest) = (syncs[syncs.len() / 2], syncs[syncs.len() - 1]);
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let said = message!(
        "a sync takes {median}, at most {longest} ({count} measured): so long a device waits for its PUBACK",
        median = ms(median),
        longest = ms(longest),
        count = syncs.len(),
    );
    if median > SLOW || longest > STALL {
        let next = message!(
            "use a card of class A1 or better, or [store] commit_within to make fewer syncs; see what else writes: iotop"
        );
        return Finding::attention(what, said, Code::StoreSlow, next);
    }
    Finding::good(what, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;
    use tidegate::config;

    fn store(text: &str) -> Store {
        let text = format!("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"unified\"\n[store]\n{text}");
        config::parse(&text, "test").expect("a configuration").store
    }

    #[test]
    fn room_is_bad_only_below_what_the_store_keeps_in_any_case() {
        let store = store(
            "path = \"/x\"\nmax_size = \"100MiB\"\nmin_size = \"25MiB\"\nkeep_free = \"10MiB\"\nkeep_free_inodes = 100\n",
        );
        let judged = |free: u64, inodes, stored: u64| {
            judge_room(Id::StoreRoom.of(message!("store, room")), &store, (free << 20, inodes), stored << 20)
        };
        let result = |free, inodes, stored| judged(free, inodes, stored).result;
        assert_eq!(result(110, None, 0), Outcome::Good);
        assert_eq!(result(20, Some(1_000), 90), Outcome::Good);
        assert_eq!(result(109, None, 0), Outcome::Attention);
        assert_eq!(result(34, None, 0), Outcome::Bad);
        assert_eq!(result(500, Some(100), 0), Outcome::Bad);
        let said = |free| judged(free, None, 0).said.to_string();
        assert_eq!(said(500), "room for all of [store] max_size 100MiB (500.0 MiB free, 10MiB of it left to others)");
        assert_eq!(
            said(60),
            "room for 50.0 MiB of [store] max_size 100MiB (60.0 MiB free, 10MiB of it left to others)"
        );
    }

    #[test]
    fn what_the_system_says_of_a_store_has_a_step_that_fits() {
        let store = store("path = \"/srv/x\"\n");
        for (errno, code, step) in [
            (Errno::ACCESS, Code::StoreUnusable, "install -d -o gw -m 750 /srv/x"),
            (Errno::PERM, Code::StoreUnusable, "lsattr -d /srv"),
            (Errno::ROFS, Code::StoreUnusable, "remount,rw"),
            (Errno::NOSPC, Code::StoreStalled, "free the disk"),
            (Errno::DQUOT, Code::StoreStalled, "free the disk"),
            (Errno::NOENT, Code::StoreUnusable, "write a folder"),
            (Errno::NOTDIR, Code::StoreUnusable, "write a folder"),
            (Errno::IO, Code::StoreUnusable, "must be replaced"),
            (Errno::MFILE, Code::StoreUnusable, "dmesg"),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            let finding = refused(&store, Path::new("/srv"), "gw", &error);
            let next = finding.next.expect("what to do").to_string();
            assert_eq!((finding.result, finding.code), (Outcome::Bad, Some(code)), "{errno:?}");
            assert!(next.contains(step), "{errno:?}: {next}");
            assert_eq!(next.contains("replaced"), errno == Errno::IO, "{errno:?}: {next}");
        }
    }

    #[test]
    fn syncs_are_measured_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        // 4,194,304 is the highest process id there can be (proc_sys_kernel(5), pid_max), so 4194305 never runs.
        let left = folder.path().join("tidegate-check-4194305.tmp");
        let others = folder.path().join("tidegate-check-mine.tmp");
        std::fs::write(&left, "x").and_then(|()| std::fs::write(&others, "x")).expect("files");
        let syncs = measure(folder.path()).expect("it can be written");
        assert!((1..=SYNCS).contains(&syncs.len()));
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(judge_syncs(vec![Duration::from_millis(5); 4]).result, Outcome::Good);
        assert_eq!(judge_syncs(vec![Duration::from_millis(150); 4]).result, Outcome::Attention);
        assert_eq!(judge_syncs(vec![Duration::from_millis(5), Duration::from_secs(3)]).result, Outcome::Attention);
    }

    #[test]
    fn a_size_is_shown_with_a_few_digits() {
        for (bytes, shown) in [(5, "5 B"), (2048, "2.0 KiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(format_size_roughly(bytes), shown);
        }
    }
}
