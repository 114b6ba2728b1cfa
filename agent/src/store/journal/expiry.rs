//! The age limit: records that became older than their lane's `max_age` go, told by gap records.
//!
//! # Constraints
//! - An age is judged only where it is known: by right clocks on both sides, or by the uptime within one boot
//!   ([`Stamp::age_ms`]). A clock that jumps from 1970 to today makes nothing older.
//! - A lane is in order: where a record is known to be too old, so are all before it, also those of which nothing is
//!   known by themselves.
//! - What a person wanted again (`tidegate buffer replay`) is delivered, however old it is.
//! - A look costs little where nothing is too old: the first waiting record is read once in [`LOOK_EVERY`]. A step
//!   takes at most one segment, and is committed before any file goes.
//!
//! Records that the forwarder has read ahead may still be sent; the gap record counts what had been given to the wire.

use super::clocks::Clocks;
use super::commit::{Failure, Op};
use super::control::Entry;
use super::log::LogShared;
use super::reader::LogReader;
use super::seldom::Seldom;
use super::writer::Writer;
use crate::clock::Stamp;
use crate::store::{ReadLimit, submission};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_protocol::gap::Cause;

/// Time between two looks: ages are meant in hours and days.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Time before another try after one that failed.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Time before a segment in which no age is known is looked through again: it takes a whole read of it, and only a
/// clock that is put right, or records behind it that grow old, can change the answer.
const UNKNOWN_AGAIN: Duration = Duration::from_secs(60);

/// Later segments whose first record is asked for its age in one step, each at the cost of opening a file once.
const SEGMENTS: usize = 16;

/// Bytes read at one time.
const STEP: usize = 200 * 1024;

/// What the writer remembers of it.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// When to look again.
    after: Option<Instant>,
    /// Where a lane began when no age was known in its first segment, and until when that is left alone.
    unknown: Vec<(usize, u64, Instant)>,
    log: Seldom,
}

/// Judges ages.
#[derive(Debug)]
struct Judge {
    clocks: Clocks,
    now: Stamp,
    max_age_ms: u64,
}

impl Judge {
    /// Whether a record is too old, if that can be known.
    fn is_too_old(&self, stamp: Stamp) -> Option<bool> {
        let age = self.clocks.right(stamp).0.age_ms(&self.now)?;
        Some(age > self.max_age_ms)
    }
}

impl Writer {
    /// How long the writer may wait before it is to look for records that are too old; `None` if no lane has a limit.
    pub(super) fn expire_in(&self) -> Option<Duration> {
        let limited = self.shared.options.lanes.iter().any(|lane| lane.max_age.is_some());
        let wait = |after: Instant| after.saturating_duration_since(Instant::now());
        limited.then(|| self.expiry.after.map_or(Duration::ZERO, wait))
    }

    /// Lets records go that are too old, a segment of each lane at most; what is left follows at the next turn.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.expiry.after.is_some_and(|after| now < after) {
            return;
        }
        self.expiry.after = Some(now + LOOK_EVERY);
        for index in 0..self.shared.options.lanes.len() {
            let Some(max_age) = self.shared.options.lanes[index].max_age else { continue };
            let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
            match self.expire_lane(index, max_age_ms, now) {
                Ok(0) => {}
                Ok(records) => {
                    self.expiry.after = None;
                    if let Some(records) = self.expiry.log.add(records, now) {
                        let lane = &self.shared.options.lanes[index].name;
                        tracing::warn!(%lane, records, "records became older than max_age and are dropped");
                    }
                }
                Err(reason) => {
                    tracing::debug!(%reason, "records that are too old cannot be dropped yet");
                    self.expiry.after = Some(now + TRY_AGAIN);
                    return;
                }
            }
        }
    }

    /// One step in one lane; says how many records went.
    fn expire_lane(&mut self, index: usize, max_age_ms: u64, now: Instant) -> Result<u64, Failure> {
        let (judge, (from, limit)) = {
            let ledger = self.shared.ledger();
            let clocks = ledger.clocks.clone();
            let (now, _) = clocks.right(self.shared.options.clock.now());
            let Some(lane) = ledger.lanes.get(index) else { return Ok(0) };
            (Judge { clocks, now, max_age_ms }, lane.first_ageing())
        };
        if from >= self.lanes[index].next {
            return Ok(0);
        }
        let below = self.too_old_below(index, from, &judge, now).min(limit);
        if below <= from {
            return Ok(0);
        }
        let (gaps, records) = self.census(Cause::Expired, index, from, below);
        self.ops.clear();
        self.overlay.clear();
        self.ops.push(Op::Entry(Entry::Expired { lane: index as u8, from, below, records, gaps }));
        self.commit_ops()?;
        self.clean_up(now);
        self.shared.progress.send_modify(|commits| *commits += 1);
        // Where only damaged records went, there may be more behind them all the same.
        Ok(records.max(1))
    }

    /// Up to where the records from `from` on are too old, within the segment that holds it.
    fn too_old_below(&mut self, index: usize, from: u64, judge: &Judge, now: Instant) -> u64 {
        let log = self.lanes[index].shared.clone();
        let mut reader = LogReader::new(self.shared.clone(), log.clone(), None);
        let (end, later) = {
            let view = log.view();
            let Some(at) = view.find(from) else { return from };
            let later = view.segments.iter().skip(at + 1).take(SEGMENTS);
            (view.end(at), later.map(|segment| (segment.first, segment.first_time)).collect::<Vec<_>>())
        };
        for (first, known) in later {
            let stamp = known.or_else(|| learn(&log, &mut reader, first));
            match stamp.and_then(|stamp| judge.is_too_old(stamp)) {
                Some(true) => return end,
                Some(false) => break,
                None => {}
            }
        }
        self.expiry.unknown.retain(|(_, _, until)| now < *until);
        if self.expiry.unknown.iter().any(|(lane, place, _)| (*lane, *place) == (index, from)) {
            return from;
        }
        let (below, unknown) = look_through(&mut reader, (from, end), judge);
        if unknown && below == from {
            self.expiry.unknown.push((index, from, now + UNKNOWN_AGAIN));
        }
        below
    }
}

/// Up to where records are too old, by the last one of which that is known; and whether there was one of which nothing
/// is known.
fn look_through(reader: &mut LogReader, (from, end): (u64, u64), judge: &Judge) -> (u64, bool) {
    let (mut next, mut below, mut unknown) = (from, from, false);
    while next < end {
        let records = if next == from { 1 } else { usize::try_from(end - next).unwrap_or(usize::MAX) };
        let chunk = match reader.read(next, ReadLimit { records, bytes: STEP }) {
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::debug!(%error, "records cannot be looked through for their age");
                break;
            }
        };
        let Some(last) = chunk.last_seq() else { break };
        for (index, seq) in chunk.seqs().enumerate() {
            if seq >= end {
                return (below, unknown);
            }
            match chunk.body(index).and_then(submission::stamp).and_then(|stamp| judge.is_too_old(stamp)) {
                Some(true) => below = seq + 1,
                Some(false) => return (below, unknown),
                None => unknown = true,
            }
        }
        next = last + 1;
    }
    (below, unknown)
}

/// Reads when the first record of a segment was received, and remembers it.
fn learn(log: &Arc<LogShared>, reader: &mut LogReader, first: u64) -> Option<Stamp> {
    let chunk = reader.read(first, ReadLimit { records: 1, bytes: 0 }).ok()?;
    let stamp = submission::stamp(chunk.body(0)?)?;
    let mut view = log.view();
    let end = view.find(first).map(|at| view.end(at))?;
    // Of a segment without a readable record, the answer is that of a later one.
    if chunk.last_seq()? >= end {
        return None;
    }
    if let Some(segment) = view.segments.iter_mut().find(|segment| segment.first == first) {
        segment.first_time = Some(stamp);
    }
    Some(stamp)
}
