//! What one file holds: in the cache, on the medium, and what may become of the difference.

use super::Dice;
use super::pages::Pages;
use std::sync::Arc;

/// What a medium writes whole, in an exact disk.
pub(super) const SECTOR: usize = 512;

/// What was done to a file since it was last synced.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(usize, Arc<[u8]>),
    Len(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Pages) {
        match self {
            Self::Write(at, new) => bytes.write(*at, new),
            Self::Len(len) => bytes.resize(*len),
        }
    }

    /// Where it begins to differ from a file of so many bytes.
    fn begin(&self, len: usize) -> usize {
        match self {
            Self::Write(at, _) => (*at).min(len),
            Self::Len(new) => (*new).min(len),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) live: Pages,
    durable: Pages,
    unsynced: Vec<Change>,
}

impl Contents {
    /// As a medium holds it.
    pub(super) fn lasting(bytes: Pages) -> Self {
        Self { live: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// The medium took some of it, which part nobody knows, and the rest is marked clean.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice, stale: Option<&Pages>) {
        self.durable = self.cut(dice, stale);
        self.unsynced.clear();
        if dice.below(3) == 0 {
            // The clean pages were dropped from the cache: reads show the medium. The length is the cache's own.
            let len = self.live.len();
            self.live.clone_from(&self.durable);
            self.live.resize(len);
        }
    }

    /// What the medium may hold when only some of the changes reached it. Whole sectors of what was there or was
    /// written, or zeros, if no bytes of a removed file are given; else anything goes.
    pub(super) fn cut(&self, dice: &mut Dice, stale: Option<&Pages>) -> Pages {
        if self.unsynced.is_empty() {
            return self.durable.clone();
        }
        let mut versions = vec![self.durable.clone()];
        let mut touched = usize::MAX;
        for change in &self.unsynced {
            let mut next = versions.last().cloned().unwrap_or_default();
            touched = touched.min(change.begin(next.len()));
            change.apply(&mut next);
            versions.push(next);
        }
        let any = versions.len();
        // Most cuts meet a disk that was idle before the last write or is done with it.
        match dice.below(5) {
            0 => return versions.swap_remove(0),
            1 => return versions.swap_remove(any - 1),
            2 => {
                // Each is there as a whole, or not at all.
                let mut some = versions.swap_remove(0);
                self.unsynced.iter().filter(|_| dice.coin()).for_each(|change| change.apply(&mut some));
                return some;
            }
            _ => {}
        }
        mixture(dice, &versions, touched, stale)
    }
}

/// Each stretch from `touched` on as it is in any of the versions.
fn mixture(dice: &mut Dice, versions: &[Pages], touched: usize, stale: Option<&Pages>) -> Pages {
    let any = versions.len();
    let len = versions[dice.below(any)].len();
    let mut mixed = versions[0].clone();
    mixed.resize(touched.min(mixed.len()).min(len));
    let largest = [8, SECTOR, 4096, 65_536][dice.below(4)];
    let fill = stale.filter(|stale| stale.len() > 0).filter(|_| dice.coin());
    let mut bytes;
    while mixed.len() < len {
        let at = mixed.len();
        let end = match stale {
            Some(_) => at + 1 + dice.below(largest),
            None => (at + dice.below(largest)) / SECTOR * SECTOR + SECTOR,
        };
        bytes = vec![0; end.min(len) - at];
        let known = versions[dice.below(any)].read(at, &mut bytes);
        if let Some(stale) = fill {
            for (index, byte) in bytes.iter_mut().enumerate().skip(known) {
                let mut one = [0];
                stale.read((at + index) % stale.len(), &mut one);
                *byte = one[0];
            }
        }
        mixed.write(at, &bytes);
    }
    mixed
}
