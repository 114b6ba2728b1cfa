//! What a file holds: as it reads now, as it was last synced, and what happened in between.

use super::Loss;
use super::medium::Lost;
use crate::rng::Rng;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Sectors that the page cache writes together as a rule.
const SECTORS_PER_PAGE: usize = 8;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => contents.resize(*length, 0),
        }
    }
}

/// A file's bytes.
#[derive(Debug, Default)]
pub(super) struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since `durable`, each with the moment at which it was made.
    pending: Vec<(u64, Change)>,
}

impl Contents {
    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn read(&self, offset: usize, length: usize) -> &[u8] {
        let from = offset.min(self.now.len());
        &self.now[from..(from + length).min(self.now.len())]
    }

    pub(super) fn write(&mut self, at: u64, offset: usize, bytes: &[u8]) {
        self.change(at, Change::Write { offset, bytes: bytes.to_owned() });
    }

    pub(super) fn set_len(&mut self, at: u64, length: usize) {
        if length != self.now.len() {
            self.change(at, Change::Length(length));
        }
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
        let left = match (loss, rng.between(0, 5)) {
            _ if self.pending.is_empty() => return,
            (Loss::All, _) | (_, 0) => self.durable.clone(),
            (_, 1) => self.now.clone(),
            (Loss::Tail, _) => self.beginning(rng),
            (Loss::Part, _) => self.mixture(rng),
        };
        let sectors = left.len().max(self.now.len()).div_ceil(SECTOR);
        let differing = (0..sectors).filter(|index| sector(&left, *index) != sector(&self.now, *index)).count();
        taken.sectors += differing as u64;
        taken.torn += u64::from(left != self.now && left != self.durable);
        self.durable.clone_from(&left);
        self.now = left;
        self.pending.clear();
    }

    /// The first of the pending changes, and of a write after them the first sectors.
    fn beginning(&self, rng: &mut Rng) -> Vec<u8> {
        let mut left = self.durable.clone();
        let whole = rng.between(0, self.pending.len() as u64) as usize;
        for (_, change) in &self.pending[..whole] {
            change.apply(&mut left);
        }
        if let Some((_, Change::Write { offset, bytes })) = self.pending.get(whole) {
            let sectors = (offset + bytes.len()).div_ceil(SECTOR) - offset / SECTOR;
            let end = (offset / SECTOR + rng.between(0, sectors as u64 + 1) as usize) * SECTOR;
            let bytes = bytes[..end.saturating_sub(*offset).min(bytes.len())].to_owned();
            if !bytes.is_empty() {
                Change::Write { offset: *offset, bytes }.apply(&mut left);
            }
        }
        left
    }

    /// Each sector, and the length, as they were after any number of the pending changes.
    fn mixture(&self, rng: &mut Rng) -> Vec<u8> {
        let moments = self.pending.len() + 1;
        let (mut longest, mut state) = (self.durable.len(), self.durable.clone());
        let length_at = rng.between(0, moments as u64) as usize;
        let mut length = state.len();
        for (index, (_, change)) in self.pending.iter().enumerate() {
            change.apply(&mut state);
            longest = longest.max(state.len());
            if index + 1 == length_at {
                length = state.len();
            }
        }
        let mut by_moment: Vec<Vec<usize>> = vec![Vec::new(); moments];
        let (mut page, mut torn) = (0, false);
        for index in 0..longest.div_ceil(SECTOR) {
            if index % SECTORS_PER_PAGE == 0 {
                torn = rng.between(0, 4) == 0;
            }
            if torn || index % SECTORS_PER_PAGE == 0 {
                page = moment(moments, rng);
            }
            by_moment[page].push(index);
        }
        let mut left = vec![0; longest];
        state.clone_from(&self.durable);
        for (count, indices) in by_moment.iter().enumerate() {
            for index in indices {
                let bytes = sector(&state, *index);
                left[index * SECTOR..][..bytes.len()].copy_from_slice(bytes);
            }
            if let Some((_, change)) = self.pending.get(count) {
                change.apply(&mut state);
            }
        }
        left.truncate(length);
        left
    }
}

/// How many of the changes have reached the medium: mostly none or all of them, as with a page that was written back
/// or was not.
fn moment(moments: usize, rng: &mut Rng) -> usize {
    match rng.between(0, 3) {
        0 => 0,
        1 => moments - 1,
        _ => rng.between(0, moments as u64) as usize,
    }
}

fn sector(bytes: &[u8], index: usize) -> &[u8] {
    let from = (index * SECTOR).min(bytes.len());
    &bytes[from..(from + SECTOR).min(bytes.len())]
}
