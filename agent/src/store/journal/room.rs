//! The byte limit: what is evicted to make room, and in which order.
//!
//! Delivered segments go first, whatever their lane. Then the oldest segment of the lowest lane that has any record,
//! and so on upwards; a lane's only segment is closed first, because the newest is never removed. What goes
//! undelivered is counted in the control lane, and that is on flash before the file is removed.

use super::commit::{Failure, Op};
use super::control::{Entry, LaneLedger};
use super::recover;
use super::segment::{HEAD_LEN, framed};
use super::writer::Writer;
use std::io;
use std::time::Instant;

/// What one commit may add to the control lane and to the heads of new segments, counted generously.
const OVERHEAD: u64 = 16 * 1024;

impl Writer {
    /// Makes room for the records of the first `count` pending submissions.
    pub(super) fn make_room(&mut self, count: usize) -> Result<(), Failure> {
        let records: u64 = self.pending.iter().take(count).map(|one| framed(one.records(), one.bytes())).sum();
        if records == 0 {
            return Ok(());
        }
        let need = records + OVERHEAD + (self.lanes.len() * HEAD_LEN) as u64;
        let limit = self.shared.options.max_size;
        while self.shared.total_bytes() + need > limit {
            if !self.evict_one()? {
                let error = io::Error::other(format!(
                    "{} bytes are in use, {need} more are needed, and the limit of {limit} leaves nothing to evict: \
                     raise max_size",
                    self.shared.total_bytes()
                ));
                return Err(Failure::new("make room in", self.shared.options.path.clone(), error));
            }
        }
        Ok(())
    }

    /// Removes one segment; `false` if there is none to remove.
    fn evict_one(&mut self) -> Result<bool, Failure> {
        let cursors: Vec<u64> = self.shared.ledger().lanes.iter().map(LaneLedger::cursor).collect();
        let disk = self.shared.disk.clone();
        for (log, cursor) in self.lanes.iter_mut().zip(&cursors).rev() {
            if log.below(*cursor) > 0 {
                log.remove_front(&*disk, 1);
                return Ok(true);
            }
        }
        let Some(index) = (0..self.lanes.len()).rev().find(|&index| self.holds_records(index)) else {
            return Ok(false);
        };
        if self.lanes[index].shared.view().segments.len() < 2 {
            self.roll(index)?;
        }
        let (first, below) = {
            let view = self.lanes[index].shared.view();
            (view.segments.front().map_or(0, |segment| segment.first), view.end(0))
        };
        let records = self.shared.ledger().lanes.get(index).map_or(0, |lane| lane.readable(first, below));
        self.ops.clear();
        self.overlay.clear();
        self.ops.push(Op::Entry(Entry::Evicted { lane: index as u8, from: first, below, records }));
        self.commit_ops()?;
        let freed = self.lanes[index].remove_front(&*disk, 1);
        if let Some(records) = self.evictions.add(records, Instant::now()) {
            let lane = &self.lanes[index].shared.name;
            tracing::warn!(%lane, records, freed, "the byte limit is reached: the oldest records are evicted");
        }
        Ok(true)
    }

    /// Whether a lane has anything that could go: more than an empty newest segment.
    fn holds_records(&self, index: usize) -> bool {
        let view = self.lanes[index].shared.view();
        match view.segments.len() {
            0 => false,
            1 => view.segments.front().is_some_and(|segment| segment.first < view.next),
            _ => true,
        }
    }

    /// On a full disk: lets go of newest segments of which everything is delivered, by making empty ones behind them
    /// (with the space of the reserve). On a disk of a few segments' size there may be nothing else to let go.
    pub(super) fn roll_delivered(&mut self) -> Result<(), Failure> {
        let cursors: Vec<u64> = self.shared.ledger().lanes.iter().map(LaneLedger::cursor).collect();
        for (index, cursor) in cursors.into_iter().enumerate() {
            if cursor >= self.lanes[index].next && self.holds_records(index) {
                self.roll(index)?;
            }
        }
        self.clean_up();
        Ok(())
    }

    /// Closes a lane's newest segment by making an empty one behind it.
    fn roll(&mut self, index: usize) -> Result<(), Failure> {
        self.ops.clear();
        self.overlay.clear();
        self.lanes[index].begin_segment(&self.shared.identities[index]);
        self.stage_rolled(index);
        self.commit_ops()
    }

    /// Commits what stands in `ops` alone.
    pub(super) fn commit_ops(&mut self) -> Result<(), Failure> {
        self.stage_control();
        self.flush()?;
        self.publish();
        Ok(())
    }

    /// Moves segments that readers found without a head out of the way, once what they held is counted.
    pub(super) fn set_aside(&mut self) {
        let (disk, root) = (self.shared.disk.clone(), self.shared.options.path.clone());
        for damage in std::mem::take(&mut self.damage) {
            let Some((first, generation)) = damage.lost else { continue };
            let Some(log) = self.lanes.get_mut(usize::from(damage.lane)) else { continue };
            if !log.forget(first, generation) {
                continue;
            }
            let path = log.shared.path(first, generation);
            if let Err(error) = recover::set_aside(&*disk, &root, &path) {
                tracing::warn!(file = %path.display(), %error, "cannot move a damaged segment out of the way");
            }
            self.shared.measure_others();
        }
    }

    /// Plans which of the oldest put-aside segments go, so that `need` more bytes keep within their share.
    pub(super) fn drop_aside(&mut self, need: u64) {
        let view = self.aside.shared.view();
        let mut bytes = view.bytes + self.aside.staged_bytes() + need;
        let mut records = 0;
        let mut count = 0;
        for (index, segment) in view.segments.iter().enumerate().take(view.segments.len().saturating_sub(1)) {
            if bytes <= self.shared.aside_limit {
                break;
            }
            bytes = bytes.saturating_sub(segment.len);
            count += 1;
            if count > self.aside_drop {
                records += view.end(index) - segment.first;
            }
        }
        drop(view);
        if count > self.aside_drop {
            self.aside_drop = count;
            self.ops.push(Op::Entry(Entry::AsideDropped { records }));
        }
    }
}
