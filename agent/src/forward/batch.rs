//! Records → batches: reads a lane and lays requests out. Blocks on the disk: it runs where blocking is allowed.
//!
//! A [`Loader`] goes forward through its lane: what was read and did not fit the batch stays at hand for the next.
//! An [`Open`] batch takes records until it is full; closed, it is a [`Batch`] with the finished body. Apart from
//! that, [`Loader::load_span`] reads given records again, to repeat or to take apart what was refused.
//!
//! A lane's files hold more than what waits: delivered records are kept for a time, some have expired. So a loader
//! reads only where it is told to, one range of what waits at a time, and a batch never reaches over the end of one.
//!
//! # Ages
//! How long a record has waited is told by the uptime within one boot, whatever the wall clock did meanwhile, and by
//! the wall clock between two boots if it was right at both ends. Else the record is from before this boot, and so has
//! waited at least as long as the system has been up; nothing more is said of it. A 1970 never makes a record old.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_protocol::batch::{BodyBuilder, Layout};
use tidegate_protocol::{LaneId, RecordRef};

use super::spans::{END, Span, Spans};
use crate::clock::Stamp;
use crate::store::{Chunk, Ranges, ReadLimit, Reader, Store, StoreError};

/// Fewest records and bytes of one read: reading one record at a time would cost more than sending it.
const READ_AT_LEAST: ReadLimit = ReadLimit { records: 256, bytes: 64 * 1024 };

/// How batches are cut now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cutting {
    pub(super) layout: Layout,
    pub(super) max_records: usize,
    /// Of the body; what is learnt from 413 counted in.
    pub(super) max_bytes: usize,
    /// How long a record may wait before it counts as replayed.
    pub(super) replayed_after: Duration,
    /// Now, and what the store's clock says of it.
    pub(super) now: Instant,
    pub(super) stamp: Stamp,
}

impl Cutting {
    fn read_limit(&self) -> ReadLimit {
        ReadLimit {
            records: self.max_records.max(READ_AT_LEAST.records),
            bytes: self.max_bytes.max(READ_AT_LEAST.bytes),
        }
    }
}

/// What of a lane was sent before.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    /// Never sent before this run.
    pub(super) unsent: Ranges,
    /// Sent in this run and neither accepted nor put aside.
    pub(super) sent: Spans,
}

impl Marks {
    fn was_sent(&self, seq: u64) -> bool {
        !self.unsent.contains(seq) || self.sent.contains(seq)
    }
}

/// A batch that still takes records.
#[derive(Debug)]
pub(super) struct Open {
    builder: BodyBuilder,
    /// From where on all that waits is in it.
    from: u64,
    /// Up to where that is so, if that is beyond its last record.
    below: Option<u64>,
    gateway: String,
    epoch: String,
    lane_name: String,
    runs: Vec<Span>,
    oldest: Instant,
    /// The oldest record that is not marked `replayed`.
    oldest_unmarked: Option<Instant>,
    full: bool,
}

impl Open {
    /// From where on all that waits is in it.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    fn new(record: &RecordRef<'_>, from: u64, cutting: &Cutting) -> Self {
        Self {
            builder: BodyBuilder::new(cutting.layout),
            from,
            below: None,
            gateway: record.gateway.to_owned(),
            epoch: record.epoch.to_owned(),
            lane_name: record.lane.to_owned(),
            runs: Vec::with_capacity(1),
            oldest: cutting.now,
            oldest_unmarked: None,
            full: false,
        }
    }

    /// Takes a record that has waited for so long if there is room for it.
    fn push(&mut self, record: &RecordRef<'_>, age: Duration, cutting: &Cutting, marks: &Marks) -> bool {
        let replayed = age > cutting.replayed_after || marks.was_sent(record.seq);
        // A batch names one epoch in its headers.
        let fits = self.epoch == record.epoch && self.builder.push(record, replayed, cutting.max_bytes);
        if !fits {
            self.full = true;
            return false;
        }
        let next = record.seq + 1;
        match self.runs.last_mut() {
            Some(run) if run.below == record.seq => run.below = next,
            _ => self.runs.push(Span { from: record.seq, below: next }),
        }
        // An instant so far back that the clock cannot hold it is treated as now; Linux's can hold any age.
        let received = cutting.now.checked_sub(age).unwrap_or(cutting.now);
        self.oldest = self.oldest.min(received);
        if !replayed {
            self.oldest_unmarked = Some(self.oldest_unmarked.map_or(received, |oldest| oldest.min(received)));
        }
        let single = cutting.layout == Layout::Single;
        self.full = single || self.builder.events() >= cutting.max_records || self.builder.len() >= cutting.max_bytes;
        true
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes no more: the range it is of ends here, or what came next no longer waits.
    pub(super) fn end_at(&mut self, below: Option<u64>) {
        self.full = true;
        self.below = below;
    }

    /// When its oldest record was received.
    pub(super) fn oldest(&self) -> Instant {
        self.oldest
    }

    /// The finished batch.
    pub(super) fn close(self) -> Batch {
        let events = self.builder.events();
        let last = self.runs.last().map_or(self.from, |run| run.below);
        Batch {
            span: Span { from: self.from, below: self.below.unwrap_or(last) },
            oldest: self.oldest,
            body: Bytes::from(self.builder.finish()),
            gateway: self.gateway,
            epoch: self.epoch,
            lane_name: self.lane_name,
            runs: self.runs,
            events,
            oldest_unmarked: self.oldest_unmarked,
        }
    }
}

/// What one request carries.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) body: Bytes,
    pub(super) gateway: String,
    pub(super) epoch: String,
    pub(super) lane_name: String,
    /// The sequence numbers it holds, as runs without gaps; never empty.
    pub(super) runs: Vec<Span>,
    /// What it covers: its records, and the numbers before and between them that no record has any more.
    pub(super) span: Span,
    pub(super) events: usize,
    /// When its oldest record was received.
    pub(super) oldest: Instant,
    /// When the oldest record was received that is not marked `replayed`; `None` if all are.
    pub(super) oldest_unmarked: Option<Instant>,
}

impl Batch {
    /// Its lowest sequence number.
    pub(super) fn first(&self) -> u64 {
        self.runs.first().map_or(0, |run| run.from)
    }

    /// Its highest sequence number.
    pub(super) fn last(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.below.saturating_sub(1))
    }
}

/// What a span held.
#[derive(Debug)]
pub(super) enum Piece {
    /// A batch; what of the span is not in it begins at `ends_at`.
    Batch {
        /// The records.
        batch: Batch,
        /// Where it ends.
        ends_at: u64,
    },
    /// No record.
    Empty {
        /// The next sequence number that exists, or will.
        next: u64,
    },
}

/// Why [`Loader::fill`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The batch is full.
    Full,
    /// There is no record above those read.
    LaneEnd,
    /// What is left of the range holds no record. The batch, if there is one, is closed.
    RangeEnd,
}

/// Reads one stream of a lane.
#[derive(Debug)]
pub(super) struct Loader {
    store: Store,
    lane: LaneId,
    reader: Reader,
    chunk: Chunk,
    at: usize,
    /// Where it reads on.
    next: u64,
    /// All below that was to be read is in a batch; what lies between, up to `next`, cannot be taken apart.
    covered: u64,
}

impl Loader {
    /// A loader that goes forward from the lane's first record.
    pub(super) fn new(store: &Store, lane: LaneId) -> Self {
        let reader = store.reader(lane);
        Self { store: store.clone(), lane, reader, chunk: Chunk::default(), at: 0, next: 0, covered: 0 }
    }

    /// Starts over.
    pub(super) fn restart(&mut self) {
        self.chunk = Chunk::default();
        (self.at, self.next, self.covered) = (0, 0, 0);
    }

    /// Where what it has not put into a batch begins.
    pub(super) fn position(&self) -> u64 {
        self.covered
    }

    /// Adds records of `range`, which begins where it stands or beyond, to `open` until it is full.
    pub(super) fn fill(
        &mut self,
        open: &mut Option<Open>,
        range: Span,
        cutting: &Cutting,
        marks: &Marks,
    ) -> Result<Filled, StoreError> {
        self.covered = self.covered.max(range.from);
        self.next = self.next.max(range.from);
        loop {
            while let Some(seq) = self.chunk.seq(self.at).filter(|seq| *seq < range.below) {
                let Some(record) = self.chunk.get(self.at).filter(|_| seq >= self.next) else {
                    self.at += 1;
                    continue;
                };
                let age = age(&self.chunk, self.at, &cutting.stamp);
                let batch = open.get_or_insert_with(|| Open::new(&record, self.covered, cutting));
                if !batch.push(&record, age, cutting, marks) {
                    return Ok(Filled::Full);
                }
                (self.next, self.covered) = (seq + 1, seq + 1);
                self.at += 1;
                if batch.is_full() {
                    return Ok(Filled::Full);
                }
            }
            if self.at < self.chunk.len() || self.next >= range.below {
                return Ok(self.range_ends(open, range));
            }
            self.chunk = Chunk::default();
            self.at = 0;
            let chunk = self.reader.read(self.next, cutting.read_limit())?;
            let Some(last) = chunk.last_seq() else {
                return Ok(if range.below == END { Filled::LaneEnd } else { self.range_ends(open, range) });
            };
            if !chunk.iter().any(|record| record.seq >= self.next) {
                // What cannot be taken apart is passed over, and so is what lies below: go on and not round.
                self.next = last.max(self.next) + 1;
            }
            self.chunk = chunk;
        }
    }

    fn range_ends(&mut self, open: &mut Option<Open>, range: Span) -> Filled {
        (self.next, self.covered) = (range.below, range.below);
        if let Some(open) = open {
            open.end_at(Some(range.below));
        }
        Filled::RangeEnd
    }

    /// Reads the records of `span`, as many as fit one request. What [`Loader::fill`] has at hand stays as it is.
    pub(super) fn load_span(&mut self, span: Span, cutting: &Cutting, marks: &Marks) -> Result<Piece, StoreError> {
        let mut open: Option<Open> = None;
        let mut from = span.from;
        let done = |open: Option<Open>, ends_at, next| match open {
            Some(open) => Piece::Batch { batch: open.close(), ends_at },
            None => Piece::Empty { next },
        };
        // Before the first read: what is stored after that is not missing.
        let end = self.store.stats().lanes.get(self.lane.index()).map_or(span.below, |lane| lane.next);
        while from < span.below {
            let few = usize::try_from(span.below - from).unwrap_or(usize::MAX);
            let limit = ReadLimit { records: cutting.max_records.min(few), bytes: cutting.max_bytes };
            let chunk = self.reader.read(from, limit)?;
            let Some(last) = chunk.last_seq() else { return Ok(done(open, span.below, end)) };
            for at in 0..chunk.len() {
                let Some(record) = chunk.get(at) else { continue };
                if record.seq >= span.below {
                    return Ok(done(open, span.below, record.seq));
                }
                let age = age(&chunk, at, &cutting.stamp);
                let batch = open.get_or_insert_with(|| Open::new(&record, span.from, cutting));
                if !batch.push(&record, age, cutting, marks) {
                    return Ok(done(open, record.seq, record.seq));
                }
                from = record.seq + 1;
                if batch.is_full() {
                    return Ok(done(open, from.min(span.below), from));
                }
            }
            // As in `fill`; what cannot be taken apart is passed over.
            from = from.max(last + 1);
        }
        Ok(done(open, span.below, span.below))
    }
}

/// How long a chunk's record has waited, or has waited at least.
fn age(chunk: &Chunk, at: usize, now: &Stamp) -> Duration {
    let known = chunk.stamp(at).and_then(|stamp| stamp.age_ms(now));
    Duration::from_millis(known.unwrap_or(now.uptime_ms))
}
