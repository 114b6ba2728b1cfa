//! The watched folder: a technician, a USB stick or a program on the gateway puts notices there.
//!
//! # Constraints
//! - Taken are plain files named `*.notice` or `*.cbor` whose names do not begin with a dot; links, pipes, devices and
//!   folders of such a name are refused without being opened for reading, and nothing larger than a notice is read.
//! - **Write under another name and rename**: what is renamed is whole, and is taken at the next look. A file that is written
//!   in place may be met half written: one that cannot be believed is looked at again while it changes, and refused only when
//!   it was the same in [`STILL`] looks.
//! - Whoever may write there may also lay traps: everything goes through the folder's own descriptor, links are not followed,
//!   and what is moved can only land in `done` and `refused` within it.
//! - Bounded: [`ENTRIES`] files and [`NAMES`] names of any kind a look, [`BATCH`] files read a look, [`KEPT`] files in `done` and in
//!   `refused`. Where there are more, that is said.
//! - Nothing that lies there keeps a notice from being read for good: what was never met comes first, what was met comes again in
//!   turn, and what was judged is not read again unless it changes. Five thousand files take five minutes.
//!
//! # How it works
//! Every [`EVERY`] the folder is listed, and the oldest files are taken first, so that an amendment follows what it amends.
//! (Polling, not inotify: it costs a directory read from memory, and also works on network and vfat file systems.)
//! What was taken in stays where it is for [`SETTLED`] looks and then goes to `done`; what was refused goes to `refused` at once. A
//! notice from the future stays, and is looked at again: its time may come, or the clock be put right.
//! Where nothing can be moved (a read-only folder), what was judged is remembered and not judged again unless it changes.
//!
//! # Recovery
//! After a restart everything that stands in the folder is judged anew; a notice that was taken in before is a repeat for the
//! machine. A file goes to `done` only a minute after it was taken in, when the store has long committed what the machine
//! made of it: a power cut before that finds the file again.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use tidegate_protocol::notice::{ENVELOPE_BYTES, NoticeError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Inbox, Refusal, Via};
use crate::language::{IntoValue as _, Value, system};
use crate::message;

/// How often it is looked into: a person who put a file there waits that long.
pub const EVERY: Duration = Duration::from_secs(5);

/// Looks in which a file that cannot be believed was the same before it is refused: two pauses between them, ten seconds.
pub const STILL: u32 = 3;

/// Looks for which a file stays after it was taken in: a minute.
pub const SETTLED: u32 = 12;

/// Files named as notices that are looked at; 1 MB of memory if all of them are there.
pub const ENTRIES: usize = 5_000;

/// Names of any kind that are passed over to find them: some 50 ms of a slow processor a look.
pub const NAMES: usize = 50_000;

/// Files that are read in one look: 2 MiB.
pub const BATCH: usize = 128;

/// Files that are kept in `done` and in `refused`, each.
pub const KEPT: usize = 32;

const DONE: &CStr = c"done";
const REFUSED: &CStr = c"refused";

/// Watches a folder until `stop`, or none while there is none; which one can change at any time.
pub async fn watch(inbox: Inbox, mut folder: watch::Receiver<Option<PathBuf>>, stop: CancellationToken) {
    let mut watched: Option<Watched> = None;
    loop {
        let path = folder.borrow_and_update().clone();
        if watched.as_ref().map(|watched| &watched.path) != path.as_ref() {
            watched = path.clone().map(Watched::new);
        }
        match watched.take() {
            Some(mut before) => {
                let inbox = inbox.clone();
                // A file system may take its time, and telemetry does not wait for it.
                let looked = tokio::task::spawn_blocking(move || {
                    before.look(&inbox);
                    before
                });
                watched = tokio::select! {
                    () = stop.cancelled() => return,
                    after = looked => after.ok(),
                };
            }
            None => inbox.watching(None, None),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            changed = folder.changed() => if changed.is_err() { return },
        }
    }
}

/// A folder, and what is known of its files.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    seen: HashMap<CString, Seen>,
    /// Looks so far.
    looks: u64,
}

/// A file that was looked at and is still there.
#[derive(Debug)]
struct Seen {
    identity: Identity,
    fate: Fate,
    /// The look in which it was read last.
    look: u64,
}

/// What tells a file from another of its name, and from itself as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    inode: u64,
    size: u64,
    modified: (i64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It cannot be believed as it is; it was the same in so many looks.
    Doubtful(u32),
    /// Its time has not come. It was told once.
    Early,
    /// It was taken in, so many looks ago.
    Taken(u32),
    /// It was judged, and cannot be moved.
    Stuck,
}

/// A file to be judged.
struct Candidate {
    name: CString,
    identity: Identity,
    plain: bool,
}

impl Watched {
    /// A folder of which nothing is known yet; it may be missing.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: HashMap::new(), looks: 0 }
    }

    /// Looks into it once. Blocks.
    pub fn look(&mut self, inbox: &Inbox) {
        let shown = self.path.display().to_string();
        let about = |why: Value| Some(message!("{what}: {why}", what = &shown, why = why).into_value());
        let problem = match self.try_look(inbox) {
            Ok(true) => None,
            Ok(false) => about(
                message!(
                    "more than {notices} notices, or {names} files, are there, and those beyond are not seen; remove what does not \
                     belong there",
                    notices = ENTRIES,
                    names = NAMES
                )
                .into_value(),
            ),
            Err(error) => about(system::said(&error)),
        };
        inbox.watching(Some(shown), problem);
    }

    /// Whether all that is there was seen.
    fn try_look(&mut self, inbox: &Inbox) -> io::Result<bool> {
        let folder = open_folder(&self.path)?;
        let (mut there, all) = list(folder.as_fd())?;
        self.looks += 1;
        let unchanged: HashSet<(&CStr, Identity)> =
            there.iter().map(|file| (file.name.as_c_str(), file.identity)).collect();
        self.seen.retain(|name, seen| unchanged.contains(&(name.as_c_str(), seen.identity)));
        there.retain(|file| match self.fate(&file.name) {
            Some(Fate::Taken(_) | Fate::Stuck) => false,
            None | Some(Fate::Doubtful(_) | Fate::Early) => true,
        });
        self.put_away_taken(folder.as_fd());
        // Those that were met before come last, and each in its turn, so that they keep none from being looked at.
        let met = |file: &Candidate| self.seen.get(&file.name).map(|seen| seen.look);
        there.sort_by_cached_key(|file| (met(file), file.identity.modified, file.name.clone()));
        for file in there.into_iter().take(BATCH) {
            self.judge(inbox, folder.as_fd(), file);
        }
        Ok(all)
    }

    fn fate(&self, name: &CStr) -> Option<Fate> {
        self.seen.get(name).map(|seen| seen.fate)
    }

    fn set(&mut self, name: CString, identity: Identity, fate: Fate) {
        self.seen.insert(name, Seen { identity, fate, look: self.looks });
    }

    /// Moves what was taken in long enough ago.
    fn put_away_taken(&mut self, folder: BorrowedFd<'_>) {
        for (name, seen) in &mut self.seen {
            if let Fate::Taken(looks) = &mut seen.fate {
                *looks += 1;
                if *looks >= SETTLED {
                    // Where that is not possible it stays known, and is not judged again.
                    seen.fate = Fate::Stuck;
                    put_away(folder, name, DONE);
                }
            }
        }
    }

    fn judge(&mut self, inbox: &Inbox, folder: BorrowedFd<'_>, file: Candidate) {
        let Candidate { name, identity, plain } = file;
        let fate = self.fate(&name);
        let judged = match read(folder, &name, plain) {
            Ok(bytes) => inbox.try_take(&bytes, Via::Folder),
            Err(refusal) => Err(refusal),
        };
        let refusal = match judged {
            Ok(_) => return self.set(name, identity, Fate::Taken(0)),
            // Not judged: it is met again at the next look.
            Err(Refusal::NotNow) => return,
            Err(refusal) => refusal,
        };
        let shown = name.to_string_lossy().into_owned();
        if matches!(&refusal, Refusal::Notice(error) if error.may_pass()) {
            if fate != Some(Fate::Early) {
                inbox.refuse(&refusal, Via::Folder, &shown);
            }
            return self.set(name, identity, Fate::Early);
        }
        let looks = match fate {
            Some(Fate::Doubtful(looks)) => looks + 1,
            _ => 1,
        };
        if may_become_whole(&refusal) && looks < STILL {
            return self.set(name, identity, Fate::Doubtful(looks));
        }
        inbox.refuse(&refusal, Via::Folder, &shown);
        put_away(folder, &name, REFUSED);
        // Gone with the next look if it was moved.
        self.set(name, identity, Fate::Stuck);
    }
}

/// Whether a file that is still being written would be refused like this. What a signature vouches for is whole.
fn may_become_whole(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Notice(error) => {
            matches!(error, NoticeError::Malformed { .. } | NoticeError::Unsigned | NoticeError::BadSignature { .. })
        }
        Refusal::Unreadable { .. } => true,
        Refusal::NoKeys | Refusal::NotAFile | Refusal::Forgotten | Refusal::NotNow => false,
    }
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A folder within the folder; a link there is not followed.
fn open_within(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

/// What is named as notices are, at most [`ENTRIES`] of [`NAMES`] names; whether that is all.
fn list(folder: BorrowedFd<'_>) -> io::Result<(Vec<Candidate>, bool)> {
    let mut found = Vec::new();
    for (count, entry) in Dir::read_from(folder)?.enumerate() {
        let entry = entry?;
        if count >= NAMES {
            return Ok((found, false));
        }
        let name = entry.file_name();
        if !is_named_like_a_notice(name.to_bytes()) {
            continue;
        }
        if found.len() >= ENTRIES {
            return Ok((found, false));
        }
        // Gone again, or not to be looked at: then it is nothing to judge either.
        let Ok(about) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let plain = FileType::from_raw_mode(about.st_mode) == FileType::RegularFile;
        found.push(Candidate { name: name.to_owned(), identity: identity(&about), plain });
    }
    Ok((found, true))
}

fn is_named_like_a_notice(name: &[u8]) -> bool {
    !name.starts_with(b".") && (name.ends_with(b".notice") || name.ends_with(b".cbor"))
}

// The fields' types differ from one architecture to another.
#[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, clippy::useless_conversion)]
fn identity(about: &Stat) -> Identity {
    Identity {
        inode: about.st_ino as u64,
        size: about.st_size as u64,
        modified: (about.st_mtime as i64, about.st_mtime_nsec as u64),
    }
}

/// The file's bytes; one too many of what is too large.
fn read(folder: BorrowedFd<'_>, name: &CStr, plain: bool) -> Result<Vec<u8>, Refusal> {
    let unreadable = |error: io::Error| Refusal::Unreadable { why: system::said(&error) };
    if !plain {
        return Err(Refusal::NotAFile);
    }
    // What stood there a moment ago may have been replaced: a pipe must not make it wait, and a link not lead away.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
    let about = rustix::fs::fstat(&file).map_err(|error| unreadable(error.into()))?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(Refusal::NotAFile);
    }
    let mut bytes = Vec::new();
    File::from(file).take(ENVELOPE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Moves a file into a folder within the folder, and sees that there are not too many there. What cannot be moved stays.
fn put_away(folder: BorrowedFd<'_>, name: &CStr, to: &CStr) {
    if let Err(error) = try_put_away(folder, name, to) {
        let (name, to) = (crate::shown::shown(&name.to_string_lossy(), super::NAME), to.to_string_lossy());
        tracing::debug!(name, %error, "a notice that was judged cannot be moved to {to}; it stays and is not judged again");
    }
}

fn try_put_away(folder: BorrowedFd<'_>, name: &CStr, to: &CStr) -> io::Result<()> {
    match rustix::fs::mkdirat(folder, to, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let target = open_within(folder, to)?;
    rustix::fs::renameat(folder, name, &target, name)?;
    thin(target.as_fd())
}

/// Removes the oldest files of a folder of judged ones, until there are [`KEPT`].
fn thin(folder: BorrowedFd<'_>) -> io::Result<()> {
    let (mut files, _) = list(folder)?;
    files.retain(|file| file.plain);
    files.sort_by_key(|file| file.identity.modified);
    let spare = files.len().saturating_sub(KEPT);
    for file in files.into_iter().take(spare) {
        rustix::fs::unlinkat(folder, &file.name, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
