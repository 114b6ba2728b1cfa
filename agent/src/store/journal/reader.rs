//! Reading a lane in order.
//!
//! A reader remembers where it stands, so reading on never scans twice. Between reads it holds no file open: a forwarder
//! may stand at one place for the whole of an outage, and a segment that is evicted meanwhile must free its blocks. (To
//! open it again costs some microseconds.) What is deleted while it is read is read to the end of that chunk; the next
//! read goes on behind it. A reader sees committed bytes only. A damaged stretch is passed
//! over to the next good frame; what is missing is told to the writer, which counts it once.

use super::clocks::Clocks;
use super::frame::{Scan, Stop};
use super::log::{LogShared, SegmentView};
use super::segment::{self, HEAD_LEN, Identity};
use super::{Damage, Shared};
use crate::clock::Stamp;
use crate::store::disk::{DiskFile, Mode};
use crate::store::{ReadLimit, StoreError, submission};
use std::io;
use std::sync::Arc;
use tidegate_protocol::RecordRef;

/// Smallest and largest window read at one time. The largest bounds a chunk's memory (one record that is larger gets
/// what it needs).
const WINDOW: (usize, usize) = (16 * 1024, 256 * 1024);

/// Distance between the places a reader remembers to go back to, and how many it remembers: enough for every segment
/// of the largest size.
const MARK_EVERY: u64 = 64 * 1024;
const MARKS: usize = 128;

/// Tries to open a segment that is deleted in between, before the store is thought broken: each try looks the
/// segment up anew.
const TRIES: usize = 16;

/// Where a reader stands.
#[derive(Debug)]
struct Position {
    first: u64,
    generation: u64,
    identity: Arc<Identity>,
    salt: u32,
    /// The next frame: its number and where it begins.
    next: u64,
    offset: u64,
    /// Sequence numbers and offsets passed on the way.
    marks: Vec<(u64, u64)>,
}

impl Position {
    /// Stands at `from` or, where that place is not known, shortly before it.
    fn seek(&mut self, from: u64) {
        if from >= self.next {
            return;
        }
        let mark = self.marks.iter().rev().find(|(seq, _)| *seq <= from);
        (self.next, self.offset) = mark.copied().unwrap_or((self.first, HEAD_LEN as u64));
    }

    fn scan(&self, file: Arc<dyn DiskFile>, limit: u64, end: u64) -> Scan {
        Scan { file, salt: self.salt, offset: self.offset, limit, next: self.next, end, mark: None }
    }

    /// Stands where the scan does.
    fn follow(&mut self, scan: &Scan) {
        (self.next, self.offset) = (scan.next, scan.offset);
    }

    fn mark(&mut self) {
        let last = self.marks.last().map_or(HEAD_LEN as u64, |(_, offset)| *offset);
        if self.offset >= last + MARK_EVERY && self.marks.len() < MARKS {
            self.marks.push((self.next, self.offset));
        }
    }
}

/// Reads one log.
#[derive(Debug)]
pub(in crate::store) struct LogReader {
    shared: Arc<Shared>,
    log: Arc<LogShared>,
    /// The lane's index, if what is damaged in it is to be counted.
    lane: Option<u8>,
    at: Option<Position>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>, log: Arc<LogShared>, lane: Option<u8>) -> Self {
        Self { shared, log, lane, at: None }
    }

    /// Reads committed records from `from` on, as far as one segment and the limit go; empty if there are none.
    pub(in crate::store) fn read(&mut self, from: u64, limit: ReadLimit) -> Result<Chunk, StoreError> {
        let mut from = from;
        loop {
            let Some((end, scan)) = self.stand(&mut from)? else { return Ok(Chunk::default()) };
            if let Some(scan) = scan {
                let chunk = self.read_segment(scan, from, limit)?;
                if !chunk.is_empty() || limit.records == 0 {
                    return Ok(chunk);
                }
            }
            // Behind a long damaged stretch there may be minutes of reading: the end does not wait for it.
            if self.shared.is_closing() {
                return Ok(Chunk::default());
            }
            from = end;
        }
    }

    /// Opens the segment that holds `from` (or the next one, and moves `from` there) and stands in it. Says where that
    /// segment ends, with a scan of it unless it cannot be used; `None` if there is no such record yet.
    fn stand(&mut self, from: &mut u64) -> Result<Option<(u64, Option<Scan>)>, StoreError> {
        for _ in 0..TRIES {
            let found = {
                let view = self.log.view();
                let index = if *from < view.next { view.find(*from) } else { None };
                index.map(|index| (view.segments[index].clone(), view.end(index)))
            };
            let Some((segment, end)) = found else { return Ok(None) };
            *from = (*from).max(segment.first);
            match self.open(&segment) {
                Ok(Some(file)) => {
                    let Some(at) = &mut self.at else { return Ok(Some((end, None))) };
                    at.seek(*from);
                    return Ok(Some((end, Some(at.scan(file, segment.len, end)))));
                }
                Ok(None) => {
                    self.report(*from, end, Some((segment.first, segment.generation)));
                    return Ok(Some((end, None)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.error("open", (segment.first, segment.generation), error)),
            }
        }
        let error = io::Error::from(io::ErrorKind::NotFound);
        Err(StoreError::Io { action: "find a segment in", path: self.log.dir.display().to_string(), source: error })
    }

    /// Opens a segment, and stands at its beginning unless it stands in it already. `None` if its head is damaged.
    fn open(&mut self, segment: &SegmentView) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let (first, generation) = (segment.first, segment.generation);
        let stands = self.at.as_ref().is_some_and(|at| (at.first, at.generation) == (first, generation));
        if !stands {
            self.at = None;
        }
        let file = self.shared.disk.open(&self.log.path(first, generation), Mode::Read)?;
        if !stands {
            let Some(head) = segment::read_head(&*file, first, generation)? else { return Ok(None) };
            let (identity, salt, offset) = (head.identity, head.salt, HEAD_LEN as u64);
            self.at = Some(Position { first, generation, identity, salt, next: first, offset, marks: Vec::new() });
        }
        Ok(Some(file))
    }

    /// Reads from the segment it stands in; empty if that has no more records.
    fn read_segment(&mut self, mut scan: Scan, from: u64, limit: ReadLimit) -> Result<Chunk, StoreError> {
        let Some(mut at) = self.at.take() else { return Ok(Chunk::default()) };
        let clocks = self.shared.ledger().clocks.clone();
        let mut chunk = Chunk { identity: at.identity.clone(), clocks, ..Chunk::default() };
        let result = self.fill(&mut at, &mut scan, from, limit, &mut chunk);
        match result {
            Ok(()) => self.at = Some(at),
            Err(error) => return Err(self.error("read", (at.first, at.generation), error)),
        }
        if let Some((seq, time)) = chunk.first_time() {
            self.log.mark_time(seq, time);
        }
        Ok(chunk)
    }

    fn fill(
        &self,
        at: &mut Position,
        scan: &mut Scan,
        from: u64,
        limit: ReadLimit,
        chunk: &mut Chunk,
    ) -> io::Result<()> {
        // Heads and topics come on top of what the limit counts; a quarter more is enough as a rule, and where it is
        // not, the chunk is a little smaller.
        let window = limit.bytes.saturating_add(limit.bytes / 4).clamp(WINDOW.0, WINDOW.1);
        let Chunk { buffer, spans, .. } = chunk;
        let mut bytes = 0;
        loop {
            let stop = scan.pass(buffer, window, |_, seq, body| {
                if seq < from {
                    return true;
                }
                let full = spans.len() >= limit.records || (!spans.is_empty() && bytes + body.len() > limit.bytes);
                if !full {
                    bytes += body.len();
                    spans.push(Span { seq, start: body.start as u32, end: body.end as u32 });
                }
                !full
            })?;
            at.follow(scan);
            at.mark();
            if !spans.is_empty() {
                return Ok(());
            }
            let expected = scan.next;
            match stop {
                Stop::Window => {}
                Stop::Enough => return Ok(()),
                Stop::Bad if scan.resync(buffer)? => {
                    self.report(expected, scan.next, None);
                    at.follow(scan);
                }
                Stop::Bad | Stop::End => {
                    if expected < scan.end {
                        self.report(expected, scan.end, None);
                        (scan.offset, scan.next) = (scan.limit, scan.end);
                        at.follow(scan);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Tells the writer what is missing.
    fn report(&self, from: u64, below: u64, lost: Option<(u64, u64)>) {
        let Some(lane) = self.lane else { return };
        self.shared.report_damage(Damage { lane, from, below, lost });
    }

    fn error(&self, action: &'static str, segment: (u64, u64), source: io::Error) -> StoreError {
        StoreError::Io { action, path: self.log.path(segment.0, segment.1).display().to_string(), source }
    }
}

#[derive(Debug, Clone, Copy)]
struct Span {
    seq: u64,
    start: u32,
    end: u32,
}

/// Where the records of a chunk stand, to be filled.
#[derive(Debug)]
pub(super) struct Spans<'a>(&'a mut Vec<Span>);

impl Spans<'_> {
    pub(super) fn push(&mut self, seq: u64, body: std::ops::Range<usize>) {
        self.0.push(Span { seq, start: body.start as u32, end: body.end as u32 });
    }
}

/// Records read at one time. They stay valid when the store evicts or deletes them meanwhile.
#[derive(Debug)]
pub struct Chunk {
    identity: Arc<Identity>,
    clocks: Clocks,
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

impl Default for Chunk {
    fn default() -> Self {
        let identity = Identity { gateway: String::new(), epoch: String::new(), lane: String::new() };
        Self { identity: Arc::new(identity), clocks: Clocks::default(), buffer: Vec::new(), spans: Vec::new() }
    }
}

impl Chunk {
    /// An empty one of a segment with this head, whose times `clocks` puts right.
    pub(super) fn of(identity: Arc<Identity>, clocks: Clocks) -> Self {
        Self { identity, clocks, ..Self::default() }
    }

    /// What is to be filled: the bytes, and where the records stand in them.
    pub(super) fn parts(&mut self) -> (&mut Vec<u8>, Spans<'_>) {
        (&mut self.buffer, Spans(&mut self.spans))
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The record at `index`, in order of `seq`.
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        let decoded = submission::decode(self.body(index)?)?;
        let (stamp, time_source) = self.clocks.right(decoded.stamp);
        Some(RecordRef {
            gateway: &self.identity.gateway,
            epoch: &self.identity.epoch,
            lane: &self.identity.lane,
            seq: self.spans.get(index)?.seq,
            device: decoded.device,
            topic: decoded.topic,
            time_ms: stamp.wall_ms,
            time_source,
            payload: decoded.payload,
        })
    }

    /// The records in order of `seq`.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The number of the record at `index`, whether or not it can be taken apart.
    pub fn seq(&self, index: usize) -> Option<u64> {
        self.spans.get(index).map(|span| span.seq)
    }

    /// When the record at `index` was received, its wall time put right if that can be done.
    pub fn stamp(&self, index: usize) -> Option<Stamp> {
        Some(self.clocks.right(submission::stamp(self.body(index)?)?).0)
    }

    /// The last record's number, whether or not it can be taken apart.
    pub fn last_seq(&self) -> Option<u64> {
        self.spans.last().map(|span| span.seq)
    }

    /// The epoch of its records.
    pub(super) fn epoch(&self) -> &str {
        &self.identity.epoch
    }

    /// Numbers and bodies, whatever the bodies hold.
    pub(in crate::store) fn bodies(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (0..self.len()).filter_map(|index| Some((self.spans.get(index)?.seq, self.body(index)?)))
    }

    pub(super) fn seqs(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().map(|span| span.seq)
    }

    pub(super) fn body(&self, index: usize) -> Option<&[u8]> {
        let span = self.spans.get(index)?;
        self.buffer.get(span.start as usize..span.end as usize)
    }

    fn first_time(&self) -> Option<(u64, Stamp)> {
        Some((self.spans.first()?.seq, submission::stamp(self.body(0)?)?))
    }
}
