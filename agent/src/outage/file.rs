//! The file on the disk: opened, cut where it is not whole, appended to, folded when it is full.
//!
//! # Recovery
//! Each append is one write of whole lines and one `fdatasync`; what was synced is never written to again. So after a power
//! cut only what stands behind the last synced line can be wrong: it is cut off, and a `cut` entry says how much it was
//! and what its digest was, since a hand that changed the last entry leaves the same picture. What is wrong further up was
//! changed; it stays as it is, and the chain goes on from the last line. A write or sync that failed is not repeated: the
//! file is made anew from what was synced, beside the old one, and takes its name once it is on the medium.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain;
use super::entry::{Entry, Tally, VERSION, What};
use super::read::{self, Found, READ};
use crate::clock::Stamp;
use crate::message;
use crate::store::disk::{Disk, DiskFile, Mode, read_full_at, write_all_at};

/// Bytes that the file may have: two weeks of one outage at an entry each quarter of an hour, or a thousand short ones.
pub(super) const LIMIT: u64 = 512 * 1024;

/// Bytes that a fold leaves of entries, at most.
const AFTER_FOLD: usize = LIMIT as usize / 2;

/// The file's name in its folder.
pub(super) const NAME: &str = "ledger";

/// The name under which a new one is made.
const NEW: &str = "ledger.new";

/// The name of a file that was too large to be one.
const FOREIGN: &str = "ledger.foreign";

/// The open file.
#[derive(Debug)]
pub(super) struct LedgerFile {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Bytes that are synced.
    len: u64,
    digest: String,
    n: u64,
    /// It has to be made anew before anything is appended.
    doubtful: bool,
}

impl LedgerFile {
    /// Opens the file in `folder`, or makes it. `stamp` and `run` are for the entries that this may take.
    ///
    /// # Errors
    /// When the disk does not allow it now; nothing is lost by trying again.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        gateway: &str,
        (stamp, run): (Stamp, u64),
    ) -> io::Result<(Self, Found)> {
        disk.create_dir_all(folder)?;
        if let Some(parent) = folder.parent() {
            disk.sync_dir(parent)?;
        }
        match disk.open(&folder.join(NAME), Mode::Write) {
            Ok(file) => Self::take_up(disk, folder, file, (stamp, run)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = What::Opened { version: VERSION, gateway: gateway.into() };
                let entry = Entry { n: 1, at: stamp, run, what };
                let mut bytes = Vec::new();
                let digest = chain::write(&mut bytes, chain::START, &json(&entry)?);
                let file = replace(&*disk, folder, &bytes)?;
                let found = read::read(&bytes);
                let len = bytes.len() as u64;
                Ok((Self { disk, folder: folder.into(), file, len, digest, n: 1, doubtful: false }, found))
            }
            Err(error) => Err(error),
        }
    }

    fn take_up(
        disk: Arc<dyn Disk>,
        folder: &Path,
        file: Arc<dyn DiskFile>,
        (stamp, run): (Stamp, u64),
    ) -> io::Result<(Self, Found)> {
        if file.len()? > READ {
            disk.rename(&folder.join(NAME), &folder.join(FOREIGN))?;
            disk.sync_dir(folder)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                message!(
                    "{name} was too large to be a ledger, and is called {other} now",
                    name = NAME,
                    other = FOREIGN
                ),
            ));
        }
        let bytes = contents(&*file)?;
        let mut found = read::read(&bytes);
        let (end, left) = bytes.split_at(found.end);
        let mut this = Self {
            disk,
            folder: folder.into(),
            file,
            len: end.len() as u64,
            digest: found.last_digest.clone(),
            n: found.n,
            doubtful: false,
        };
        if !left.is_empty() {
            // The torn tail is no fault of the chain once it is noted.
            let what = What::Cut { bytes: left.len() as u64, digest: chain::hash(left) };
            this.file.set_len(this.len)?;
            this.append(vec![Entry { n: 0, at: stamp, run, what }])?;
            found = read::read(&contents(&*this.file)?);
        }
        Ok((this, found))
    }

    /// Appends entries, which get their numbers here; they are on the medium when this returns.
    ///
    /// # Errors
    /// When the disk does not allow it now. None of them counts as written then; the caller tries again.
    pub(super) fn append(&mut self, mut entries: Vec<Entry>) -> io::Result<()> {
        let (mut n, mut digest, mut bytes) = (self.n, self.digest.clone(), Vec::new());
        for entry in &mut entries {
            n += 1;
            entry.n = n;
            digest = chain::write(&mut bytes, &digest, &json(entry)?);
        }
        if self.doubtful || self.len + bytes.len() as u64 > LIMIT {
            self.make_anew(&bytes, (digest, n))?;
            return Ok(());
        }
        // What fails from here on may have left anything behind the synced length.
        self.doubtful = true;
        write_all_at(&*self.file, &bytes, self.len)?;
        self.file.sync_data()?;
        self.doubtful = false;
        self.len += bytes.len() as u64;
        (self.digest, self.n) = (digest, n);
        Ok(())
    }

    /// Makes the file anew of what was synced and `new` behind it, folding the oldest entries if it would be too long.
    fn make_anew(&mut self, new: &[u8], (digest, n): (String, u64)) -> io::Result<()> {
        let mut bytes = contents(&*self.file)?;
        bytes.truncate(usize::try_from(self.len).unwrap_or(usize::MAX));
        if bytes.len() + new.len() > LIMIT as usize {
            bytes = fold(&bytes, new.len())?;
        }
        bytes.extend_from_slice(new);
        self.doubtful = true;
        self.file = replace(&*self.disk, &self.folder, &bytes)?;
        self.doubtful = false;
        self.len = bytes.len() as u64;
        (self.digest, self.n) = (digest, n);
        Ok(())
    }
}

/// The same lines with the oldest of them folded into one, so that `more` bytes fit behind them with as much room again.
fn fold(bytes: &[u8], more: usize) -> io::Result<Vec<u8>> {
    let lines: Vec<chain::Line<'_>> = chain::lines(bytes).collect();
    let mut first = lines.len();
    let mut left = more;
    // A line that was changed so that it is none could not be followed: what stands before it goes too.
    while first > 1 && left + lines[first - 1].len <= AFTER_FOLD && lines[first - 1].parts.is_some() {
        left += lines[first - 1].len;
        first -= 1;
    }
    let gone = lines.get(first).map_or(bytes.len(), |line| line.offset);
    let found = read::read(&bytes[..gone]);
    let folded =
        found.tally.fold(found.last_digest.clone(), found.folded + found.entries, found.fault_count + found.noted);
    let at = found.tally.at.unwrap_or_default();
    let entry = Entry { n: found.n, at, run: found.tally.run, what: What::Folded(Box::new(folded)) };
    let mut out = Vec::with_capacity(AFTER_FOLD * 2);
    chain::write(&mut out, chain::START, &json(&entry)?);
    out.extend_from_slice(&bytes[gone..]);
    Ok(out)
}

/// Writes a new file beside the old one, and gives it its name once it is on the medium.
fn replace(disk: &dyn Disk, folder: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let (new, name) = (folder.join(NEW), folder.join(NAME));
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&new, Mode::Create)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync_data()?;
    disk.rename(&new, &name)?;
    disk.sync_dir(folder)?;
    Ok(file)
}

/// All of a file, [`READ`] bytes at most.
pub(super) fn contents(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?.min(READ)).unwrap_or(usize::MAX)];
    let count = read_full_at(file, &mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn json(entry: &Entry) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(entry)?)
}

/// Reads the file in `folder` without changing anything; `None` if there is none.
///
/// # Errors
/// When it cannot be read.
pub(super) fn look(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.open(&folder.join(NAME), Mode::Read) {
        Ok(file) => contents(&*file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Tally {
    /// What the entries of a folder's file add up to, for a test.
    #[cfg(test)]
    pub(super) fn of(disk: &dyn Disk, folder: &Path) -> Self {
        read::read(&look(disk, folder).expect("the test's disk").unwrap_or_default()).tally
    }
}
