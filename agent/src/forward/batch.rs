//! Records → batches: reads a lane and lays requests out. Blocks on the disk: it runs where blocking is allowed.
//!
//! A [`Loader`] goes forward through its lane: what was read and did not fit the batch stays at hand for the next.
//! An [`Open`] batch takes records until it is full; closed, it is a [`Batch`] with the finished body. Apart from
//! that, [`Loader::load_span`] reads given records again, to repeat or to take apart what was refused.

use bytes::Bytes;
use tidegate_protocol::batch::{BodyBuilder, Layout};
use tidegate_protocol::{LaneId, RecordRef};

use super::course::Span;
use crate::store::{Chunk, ReadLimit, Reader, Store, StoreError};

/// Fewest records and bytes of one read: reading one record at a time would cost more than sending it.
const READ_AT_LEAST: ReadLimit = ReadLimit { records: 256, bytes: 64 * 1024 };

/// How batches are cut now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cutting {
    pub(super) layout: Layout,
    pub(super) max_records: usize,
    /// Of the body; what is learnt from 413 counted in.
    pub(super) max_bytes: usize,
    /// Records below this may have been sent before.
    pub(super) replayed_below: u64,
    /// How long a record may wait before it counts as replayed, in ms.
    pub(super) replayed_after_ms: u64,
    /// The wall clock now, in ms since the Unix epoch.
    pub(super) now_ms: u64,
}

impl Cutting {
    fn read_limit(&self) -> ReadLimit {
        ReadLimit {
            records: self.max_records.max(READ_AT_LEAST.records),
            bytes: self.max_bytes.max(READ_AT_LEAST.bytes),
        }
    }
}

/// A batch that still takes records.
#[derive(Debug)]
pub(super) struct Open {
    builder: BodyBuilder,
    gateway: String,
    epoch: String,
    lane_name: String,
    runs: Vec<Span>,
    oldest_ms: u64,
    /// The oldest record that is not marked `replayed`.
    oldest_unmarked_ms: u64,
    full: bool,
}

impl Open {
    fn new(record: &RecordRef<'_>, layout: Layout) -> Self {
        Self {
            builder: BodyBuilder::new(layout),
            gateway: record.gateway.to_owned(),
            epoch: record.epoch.to_owned(),
            lane_name: record.lane.to_owned(),
            runs: Vec::with_capacity(1),
            oldest_ms: u64::MAX,
            oldest_unmarked_ms: u64::MAX,
            full: false,
        }
    }

    /// Takes a record if there is room for it.
    fn push(&mut self, record: &RecordRef<'_>, cutting: &Cutting) -> bool {
        let waited = cutting.now_ms.saturating_sub(record.time_ms) > cutting.replayed_after_ms;
        let replayed = waited || record.seq < cutting.replayed_below;
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
        self.oldest_ms = self.oldest_ms.min(record.time_ms);
        if !replayed {
            self.oldest_unmarked_ms = self.oldest_unmarked_ms.min(record.time_ms);
        }
        let single = cutting.layout == Layout::Single;
        self.full = single || self.builder.events() >= cutting.max_records || self.builder.len() >= cutting.max_bytes;
        true
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// When its oldest record was received (ms since the Unix epoch).
    pub(super) fn oldest_ms(&self) -> u64 {
        self.oldest_ms
    }

    /// The finished batch.
    pub(super) fn close(self) -> Batch {
        let events = self.builder.events();
        Batch {
            body: Bytes::from(self.builder.finish()),
            gateway: self.gateway,
            epoch: self.epoch,
            lane_name: self.lane_name,
            runs: self.runs,
            events,
            oldest_unmarked_ms: self.oldest_unmarked_ms,
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
    pub(super) events: usize,
    /// When the oldest record was received that is not marked `replayed`; `u64::MAX` if all are.
    pub(super) oldest_unmarked_ms: u64,
}

impl Batch {
    /// Its lowest sequence number.
    pub(super) fn first(&self) -> u64 {
        self.runs.first().map_or(0, |run| run.from)
    }

    /// Its highest sequence number.
    pub(super) fn last(&self) -> u64 {
        self.below().saturating_sub(1)
    }

    /// The sequence number after its highest.
    pub(super) fn below(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.below)
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

/// Reads one lane.
#[derive(Debug)]
pub(super) struct Loader {
    store: Store,
    lane: LaneId,
    reader: Reader,
    chunk: Chunk,
    at: usize,
    next: u64,
}

impl Loader {
    /// A loader that goes forward from `from`.
    pub(super) fn new(store: &Store, lane: LaneId, from: u64) -> Self {
        let reader = store.reader(lane);
        Self { store: store.clone(), lane, reader, chunk: Chunk::default(), at: 0, next: from }
    }

    /// Goes on from `from` instead.
    pub(super) fn restart(&mut self, from: u64) {
        self.chunk = Chunk::default();
        self.at = 0;
        self.next = from;
    }

    /// Adds records to `open` until it is full; says whether the lane's end was reached before.
    pub(super) fn fill(&mut self, open: &mut Option<Open>, cutting: &Cutting) -> Result<bool, StoreError> {
        loop {
            while self.at < self.chunk.len() {
                let Some(record) = self.chunk.get(self.at).filter(|record| record.seq >= self.next) else {
                    self.at += 1;
                    continue;
                };
                let batch = open.get_or_insert_with(|| Open::new(&record, cutting.layout));
                if !batch.push(&record, cutting) {
                    return Ok(false);
                }
                self.next = record.seq + 1;
                self.at += 1;
                if batch.is_full() {
                    return Ok(false);
                }
            }
            self.chunk = Chunk::default();
            self.at = 0;
            let chunk = self.reader.read(self.next, cutting.read_limit())?;
            if chunk.is_empty() {
                return Ok(true);
            }
            if !chunk.iter().any(|record| record.seq >= self.next) {
                // The store hands out decodable records from `next` on; if it ever does not, go on and not round.
                self.next += 1;
            }
            self.chunk = chunk;
        }
    }

    /// Reads the records of `span`, as many as fit one request. What [`Loader::fill`] has at hand stays as it is.
    pub(super) fn load_span(&mut self, span: Span, cutting: &Cutting) -> Result<Piece, StoreError> {
        let mut open: Option<Open> = None;
        let mut from = span.from;
        let done = |open: Option<Open>, ends_at, next| match open {
            Some(open) => Piece::Batch { batch: open.close(), ends_at },
            None => Piece::Empty { next },
        };
        while from < span.below {
            let few = usize::try_from(span.below - from).unwrap_or(usize::MAX);
            let limit = ReadLimit { records: cutting.max_records.min(few), bytes: cutting.max_bytes };
            let chunk = self.reader.read(from, limit)?;
            if chunk.is_empty() {
                let end = self.store.stats().lanes.get(self.lane.index()).map_or(span.below, |lane| lane.next);
                return Ok(done(open, span.below, end));
            }
            let before = from;
            for record in chunk.iter() {
                if record.seq >= span.below {
                    return Ok(done(open, span.below, record.seq));
                }
                let batch = open.get_or_insert_with(|| Open::new(&record, cutting.layout));
                if !batch.push(&record, cutting) {
                    return Ok(done(open, record.seq, record.seq));
                }
                from = record.seq + 1;
                if batch.is_full() {
                    return Ok(done(open, from.min(span.below), from));
                }
            }
            from = from.max(before + 1); // as in `fill`
        }
        Ok(done(open, span.below, span.below))
    }
}
