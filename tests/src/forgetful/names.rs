//! Which names a folder holds: now, as last synced, and what happened in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::Loss;
use super::medium::Lost;
use crate::rng::Rng;

#[derive(Debug, Clone)]
enum Change {
    Add { name: OsString, inode: u64 },
    Remove { name: OsString },
    Rename { from: OsString, to: OsString, inode: u64 },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        match self {
            Self::Add { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn touches(&self) -> Vec<&OsStr> {
        match self {
            Self::Add { name, .. } | Self::Remove { name } => vec![name],
            Self::Rename { from, to, .. } => vec![from, to],
        }
    }
}

/// A folder's names, each with the inode it stands for.
#[derive(Debug, Default)]
pub(super) struct Names {
    now: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    pending: Vec<(u64, Change)>,
}

impl Names {
    pub(super) fn get(&self, name: &OsStr) -> Option<u64> {
        self.now.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsStr, u64)> {
        self.now.iter().map(|(name, inode)| (name.as_os_str(), *inode))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    pub(super) fn add(&mut self, at: u64, name: &OsStr, inode: u64) {
        self.change(at, Change::Add { name: name.to_owned(), inode });
    }

    pub(super) fn remove(&mut self, at: u64, name: &OsStr) {
        self.change(at, Change::Remove { name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, at: u64, from: &OsStr, to: &OsStr, inode: u64) {
        self.change(at, Change::Rename { from: from.to_owned(), to: to.to_owned(), inode });
    }

    fn change(&mut self, at: u64, change: Change) {
        change.apply(&mut self.now);
        self.pending.push((at, change));
    }

    /// Makes what happened up to a moment durable.
    pub(super) fn sync(&mut self, up_to: u64) {
        let count = self.pending.partition_point(|(at, _)| *at <= up_to);
        for (_, change) in self.pending.drain(..count) {
            change.apply(&mut self.durable);
        }
    }

    /// Loses power.
    pub(super) fn cut(&mut self, loss: Loss, rng: &mut Rng, taken: &mut Lost) {
        let pending = std::mem::take(&mut self.pending);
        let kinds = match loss {
            Loss::All => 1,
            Loss::Tail => 3,
            Loss::Part => 4,
        };
        let kind = rng.between(0, kinds);
        let first = rng.between(0, pending.len() as u64 + 1) as usize;
        let mut given_up: BTreeSet<&OsStr> = BTreeSet::new();
        for (index, (_, change)) in pending.iter().enumerate() {
            let keep = match kind {
                0 => false,
                1 => true,
                2 => index < first,
                // Later changes of a name need the earlier ones.
                _ => rng.between(0, 2) == 0 && !change.touches().iter().any(|name| given_up.contains(name)),
            };
            if keep {
                change.apply(&mut self.durable);
            } else {
                given_up.extend(change.touches());
                taken.names += 1;
            }
        }
        self.now.clone_from(&self.durable);
    }
}
