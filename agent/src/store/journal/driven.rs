//! The journal without its threads: a test takes the writer's turns itself, one after the other, so that what happens
//! depends on the test alone, and so that hundreds of thousands of turns take seconds.
//!
//! What is driven is the writer and the recovery as they are; only the waiting between turns is left out, the two
//! files of a commit are synced one after the other, and segments may be made small so that they roll often.

use super::sync::Syncer;
use super::writer::Writer;
use super::{Shared, recover};
use crate::store::disk::Disk;
use crate::store::{KeptSession, Opened, Options, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time that passes between two turns: longer than any wait of the writer, so that each turn tries.
const BETWEEN: Duration = Duration::from_secs(20);

/// An open store whose writer moves only when told.
#[derive(Debug)]
pub(in crate::store) struct Driven {
    shared: Arc<Shared>,
    writer: Option<Writer>,
    now: Instant,
    segment_size: Option<u64>,
}

impl Driven {
    /// Opens and recovers as [`super::open`] does, with segments of another size if one is given.
    pub(in crate::store) fn open(
        options: Options,
        disk: Arc<dyn Disk>,
        segment_size: Option<u64>,
    ) -> Result<(Self, Opened), StoreError> {
        let (shared, parts, opened) = recover::open(options, disk)?;
        let writer = Some(Writer::new(shared.clone(), parts, Syncer::alone()));
        Ok((Self { shared, writer, now: Instant::now(), segment_size }, opened))
    }

    /// Lets commits take so many bytes of framed records from now on, beyond their first submission.
    pub(in crate::store) fn limit_commits(&mut self, bytes: usize) {
        if let Some(writer) = &mut self.writer {
            writer.commit_bytes = bytes;
        }
    }

    /// Submissions that were framed before their commit's turn, and committed so.
    pub(in crate::store) fn framed_ahead(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.between.used())
    }

    pub(in crate::store) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// A record lane's oldest number that is still on the disk, and the number that its next record gets.
    pub(in crate::store) fn lane(&self, index: usize) -> (u64, u64) {
        let view = self.shared.logs[index].view();
        (view.segments.front().map_or(view.next, |segment| segment.first), view.next)
    }

    /// The first numbers of a record lane's segments.
    pub(in crate::store) fn firsts(&self, index: usize) -> Vec<u64> {
        self.shared.logs[index].view().segments.iter().map(|segment| segment.first).collect()
    }

    /// The sessions as recovery would hand them out.
    pub(in crate::store) fn sessions(&self) -> Vec<KeptSession> {
        recover::kept_sessions(&self.shared.ledger())
    }

    /// Lets the writer do all that it would do before it waits again.
    pub(in crate::store) fn turn(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        self.now += BETWEEN;
        if let Some(size) = self.segment_size {
            let logs = writer.lanes.iter_mut().chain([&mut writer.aside, &mut writer.control]);
            logs.for_each(|log| log.segment_size = size);
        }
        let closing = writer.take_over();
        let _ = writer.turn(closing, self.now);
    }

    /// Closes as [`Shared::close`] does.
    pub(in crate::store) fn close(mut self) {
        while !self.turn_to_close() {}
    }

    /// One of the turns that closing takes; `true` if it was the last.
    pub(in crate::store) fn turn_to_close(&mut self) -> bool {
        self.shared.queue().closing = true;
        let Some(writer) = &mut self.writer else { return true };
        self.now += BETWEEN;
        let closing = writer.take_over();
        if writer.turn(closing, self.now).is_continue() {
            return false;
        }
        if let Some(writer) = self.writer.take() {
            writer.end(None);
        }
        true
    }
}

impl Shared {
    /// The number that a record lane's next record gets.
    pub(in crate::store) fn next(&self, lane: usize) -> u64 {
        self.logs[lane].view().next
    }
}

impl Drop for Driven {
    /// The process is gone, whatever it was about to do.
    fn drop(&mut self) {
        self.writer = None;
        self.shared.finished();
    }
}
