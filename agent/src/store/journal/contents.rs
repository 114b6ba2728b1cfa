//! What the files of a store hold: the control lane and each lane's newest segment, read once. Whoever opens the store
//! goes on from it ([`recover`](super::recover)); whoever asks what opening would come to is told it ([`outlook`]). Both read
//! the same files in the same way, so they cannot come to different ends.

use super::control::{LaneLedger, Ledger};
use super::lane_dir;
use super::recover::{Access, Report, folders, io_error, lane_names, make_folders};
use super::recover_control::{self, ControlFound};
use super::recover_lane::{self, LaneFound};
use super::version::{self, Says};
use crate::store::disk::{Disk, Mode};
use crate::store::{Options, StoreError};
use rustix::io::Errno;
use std::io;
use std::sync::Arc;

/// Times that reading begins anew because a file went meanwhile: only a process that writes the store does that, and no
/// faster than segments fill.
const TRIES: usize = 8;

/// What was read.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) control: ControlFound,
    /// What the control lane adds up to, brought to the lanes that there are.
    pub(super) ledger: Ledger,
    /// Whether the control lane said anything.
    pub(super) known: bool,
    /// Whether it knew the same lanes in the same order.
    pub(super) same: bool,
    pub(super) lanes: Vec<LaneFound>,
    pub(super) aside: LaneFound,
}

impl Contents {
    /// Reads; to go on with the store, its folders are made first where they are not there.
    pub(super) fn read(
        disk: &Arc<dyn Disk>,
        options: &Options,
        access: Access,
        report: &mut Report,
    ) -> Result<Self, StoreError> {
        let root = &options.path;
        let mut control = recover_control::read(disk, &root.join("control"), access, report)?;
        let names = lane_names(&**disk, options, control.ledger.as_ref())?;
        if access == Access::Own {
            make_folders(&**disk, options, &names)?;
        } else {
            see_folders(&**disk, options, &names)?;
        }
        let known = control.ledger.is_some();
        let mut ledger = control.ledger.take().unwrap_or_default();
        let same = ledger.lanes.iter().map(|lane| &lane.name).eq(&names);
        ledger.arrange(&names);
        let mut lanes = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let of = known.then_some((&ledger, index));
            lanes.push(recover_lane::read(disk, &lane_dir(options, name), of, access, report)?);
        }
        let aside = recover_lane::read(disk, &root.join("aside"), None, access, report)?;
        Ok(Self { control, ledger, known, same, lanes, aside })
    }
}

/// Whether nothing was ever stored: no control lane, and no lane with a segment.
pub(super) fn is_new(known: bool, control: &ControlFound, lanes: &[LaneFound]) -> bool {
    !known && control.segments.is_empty() && lanes.iter().all(|lane| lane.generation == 0)
}

/// Fails where a file stands in the place of a folder, as making the folder does.
fn see_folders(disk: &dyn Disk, options: &Options, names: &[String]) -> Result<(), StoreError> {
    let root = &options.path;
    let entries = disk.list(root).map_err(|error| io_error("list", root, error))?;
    for dir in folders(options, names) {
        let in_the_way = |name: &str| entries.iter().any(|entry| entry.name == name && !entry.folder);
        if dir.file_name().and_then(|name| name.to_str()).is_some_and(in_the_way) {
            return Err(io_error("make the folder", &dir, Errno::EXIST.into()));
        }
    }
    Ok(())
}

/// What opening a store would come to. What is damaged never keeps it from opening; it costs what stands here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Nothing is stored yet: opening makes the store.
    pub new: bool,
    /// The file `version` is not as it was written; the segments' heads say the format.
    pub version_damaged: bool,
    /// No state can be read of the control lane: what was delivered would be sent again, and sessions begin anew.
    pub control_lost: bool,
    /// Segments of which neither head can be read: they would be set aside with what they hold.
    pub unusable: usize,
    /// Records in the newest segments that cannot be read and were committed.
    pub unreadable: u64,
    /// Bytes that were being written when it ended, and that nobody was answered: they would be cut off.
    pub torn: u64,
}

impl Outlook {
    /// Whether something was lost to damage.
    pub fn is_damaged(&self) -> bool {
        self.version_damaged || self.control_lost || self.unusable > 0 || self.unreadable > 0
    }
}

/// Finds out what opening would come to. Files are opened as opening does, and nothing is written, synced, locked, made
/// or removed.
///
/// # Errors
/// What [`Store::open`](crate::store::Store::open) would fail with, as far as reading tells: that another process holds the
/// store, that it cannot be written, and that there is no room for it, it does not.
pub(in crate::store) fn outlook(options: &Options, disk: &Arc<dyn Disk>) -> Result<Outlook, StoreError> {
    super::recover::check(options)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match look(options, disk) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
            other => return other,
        }
    }
}

fn look(options: &Options, disk: &Arc<dyn Disk>) -> Result<Outlook, StoreError> {
    let root = &options.path;
    let version_damaged = version::check(&**disk, root)? == Says::Damaged;
    match disk.list(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Outlook { new: true, ..Outlook::default() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(io_error("make the folder", root, error));
        }
        listed => listed.map_err(|error| io_error("list", root, error))?,
    };
    let lock = root.join("lock");
    match disk.open(&lock, Mode::Write) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("lock", &lock, error)),
        _ => {}
    }
    let contents = Contents::read(disk, options, Access::Try, &mut Report::quiet())?;
    let Contents { control, known, lanes, ledger, .. } = &contents;
    let new = is_new(*known, control, lanes);
    let unreadable = lanes.iter().zip(&ledger.lanes).map(|(found, of)| unreadable(found, known.then_some(of))).sum();
    Ok(Outlook {
        new,
        version_damaged,
        control_lost: !new && !*known,
        unusable: lanes.iter().map(|lane| lane.unusable.len()).sum(),
        unreadable,
        torn: lanes.iter().map(|lane| lane.torn).sum(),
    })
}

/// Records of a lane that waited, cannot be read, and were not counted yet. `known`: what the control lane says of it.
fn unreadable(found: &LaneFound, known: Option<&LaneLedger>) -> u64 {
    let Some(known) = known else { return found.damage.iter().map(|(from, below)| below - from).sum() };
    // It ends before what was known of it, and that was not said at an earlier start.
    let evidence = known.evidence();
    let missing = (evidence > found.view.next.max(known.lost)).then_some((found.view.next, evidence));
    let waiting =
        found.damage.iter().copied().chain(missing).flat_map(|(from, below)| known.waiting.within(from, below));
    waiting.filter(|(from, below)| !known.knows(*from, *below)).map(|(from, below)| below - from).sum()
}
