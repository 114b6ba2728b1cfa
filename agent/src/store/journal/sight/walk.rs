//! Walking one lane of a sight, window by window.

use super::{LaneSight, Sight, failed};
use crate::store::StoreError;
use crate::store::disk::{Disk, Mode};
use crate::store::journal::clocks::Clocks;
use crate::store::journal::frame::{Scan, Stop};
use crate::store::journal::reader::Chunk;
use crate::store::journal::segment::{self, Identity};
use crate::store::journal::unproven;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A range that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Hole {
    pub(in crate::store) file: PathBuf,
    /// Where in the file it begins.
    pub(in crate::store) offset: u64,
    /// First record that cannot be read, and first that can again. The same number twice where only bytes between two
    /// records are damaged.
    pub(in crate::store) from: u64,
    pub(in crate::store) below: u64,
}

/// Which records a walk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Choice {
    /// All that are there.
    All,
    /// Those that wait to be delivered. Segments without any are not read.
    Waiting,
    /// All from this number on. Segments before it are not read.
    From(u64),
}

/// What a walk came to.
#[derive(Debug)]
pub(in crate::store) enum Step {
    /// A segment of so many bytes begins.
    Segment(u64),
    /// Records; none if a window held none of those chosen. So many bytes of the segment were read for it.
    Records(Chunk, u64),
    /// Something that cannot be read.
    Hole(Hole),
    /// There is no more.
    End,
}

/// Walks one lane of a sight, window by window.
#[derive(Debug)]
pub(in crate::store) struct Walk {
    disk: Arc<dyn Disk>,
    clocks: Clocks,
    lane: Arc<LaneSight>,
    choice: Choice,
    window: usize,
    /// The segment it will enter next, or is in.
    index: usize,
    at: Option<At>,
    /// Show also what costs no record: a damaged copy of a head.
    strict: bool,
    /// Such a copy in the segment just entered.
    bad_copy: Option<Hole>,
}

#[derive(Debug)]
struct At {
    identity: Arc<Identity>,
    scan: Scan,
    file: PathBuf,
}

impl Walk {
    /// `window`: bytes read at one time.
    pub(in crate::store) fn new(sight: &Sight, lane: &Arc<LaneSight>, choice: Choice, window: usize) -> Self {
        Self {
            disk: sight.disk.clone(),
            clocks: sight.clocks.clone(),
            lane: lane.clone(),
            choice,
            window,
            index: 0,
            at: None,
            strict: false,
            bad_copy: None,
        }
    }

    /// Shows also what costs no record.
    pub(in crate::store) fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Bytes of the segments that it will read, at most.
    pub(in crate::store) fn bytes(&self) -> u64 {
        (0..self.lane.segments.len()).filter(|index| self.wants(*index)).map(|i| self.lane.segments[i].len).sum()
    }

    /// The next step.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(in crate::store) fn step(&mut self) -> Result<Step, StoreError> {
        if let Some(hole) = self.bad_copy.take() {
            return Ok(Step::Hole(hole));
        }
        loop {
            let Some(mut at) = self.at.take() else {
                match self.enter()? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            };
            let mut chunk = Chunk::of(at.identity.clone(), self.clocks.clone());
            let (before, expected) = (at.scan.offset, at.scan.next);
            let stop = self.pass(&mut at, &mut chunk).map_err(|error| failed("read", &at.file, error))?;
            let read = at.scan.offset - before;
            if at.scan.next > expected {
                // What follows is met again at the next step.
                self.at = Some(at);
                return Ok(Step::Records(chunk, read));
            }
            match stop {
                Stop::Window | Stop::Enough => self.at = Some(at),
                Stop::End | Stop::Bad => {
                    if let Some(hole) = self.pass_over(at, stop)? {
                        return Ok(Step::Hole(hole));
                    }
                }
            }
        }
    }

    /// Whether the segment that it is in was written by this gateway in this epoch.
    pub(in crate::store) fn is_in(&self, gateway: &str, epoch: &str) -> bool {
        self.at.as_ref().is_some_and(|at| at.identity.gateway == gateway && at.identity.epoch == epoch)
    }

    fn pass(&self, at: &mut At, chunk: &mut Chunk) -> io::Result<Stop> {
        let (lane, choice) = (&self.lane, self.choice);
        let (buffer, mut spans) = chunk.parts();
        at.scan.pass(buffer, self.window, |_, seq, body| {
            let chosen = match choice {
                Choice::All => true,
                Choice::Waiting => lane.waits(seq),
                Choice::From(from) => seq >= from,
            };
            if chosen {
                spans.push(seq, body);
            }
            true
        })
    }

    /// Passes over what cannot be read: to the next good frame, or to the end of the segment.
    fn pass_over(&mut self, mut at: At, stop: Stop) -> Result<Option<Hole>, StoreError> {
        let (from, offset) = (at.scan.next, at.scan.offset);
        let found =
            stop == Stop::Bad && at.scan.resync(&mut Vec::new()).map_err(|error| failed("read", &at.file, error))?;
        let file = at.file.clone();
        if found {
            let below = at.scan.next;
            self.at = Some(at);
            return Ok(Some(Hole { file, offset, from, below }));
        }
        self.index += 1;
        let (mut from, mut below) = (from, at.scan.end);
        // Zeros up to the end are room that was taken ahead and not used.
        let unused = offset < at.scan.limit
            && unproven::is_empty(&*at.scan.file, offset, at.scan.limit)
                .map_err(|error| failed("read", &file, error))?;
        let stop = if unused { Stop::End } else { stop };
        if stop == Stop::End && (unused || offset >= self.lane.segments[self.index - 1].len) {
            // The file holds all it ever did. What follows may have stood in segments that were delivered and went;
            // only what waits is missed.
            let mut waiting = self.lane.known.waiting.within(from, below);
            (from, below) = waiting.next().map_or((below, below), |first| (first.0, waiting.last().unwrap_or(first).1));
        }
        // A later generation may begin anywhere in an older segment; behind the newest there is nothing.
        let more = self.index == self.lane.segments.len() && offset < at.scan.limit && !unused;
        Ok((from < below || stop == Stop::Bad || more).then_some(Hole { file, offset, from, below }))
    }

    fn wants(&self, index: usize) -> bool {
        let end = self.lane.end(index);
        match self.choice {
            Choice::All => true,
            Choice::Waiting => self.lane.any_waits(self.lane.segments[index].first, end),
            Choice::From(from) => end > from,
        }
    }

    /// Enters the next segment that it wants. `None` to be asked again.
    fn enter(&mut self) -> Result<Option<Step>, StoreError> {
        while self.index < self.lane.segments.len() && !self.wants(self.index) {
            self.index += 1;
        }
        let Some(segment) = self.lane.segments.get(self.index) else { return Ok(Some(Step::End)) };
        let (file, end) = (self.lane.file(segment), self.lane.end(self.index));
        let opened = self.disk.open(&file, Mode::Read).and_then(|open| {
            let head = segment::read_head(&*open, segment.first, segment.generation)?;
            Ok((open, head))
        });
        match opened {
            Ok((open, Some(head))) => {
                // What is committed, or less if the file has been cut short.
                let limit = open.len().map_err(|error| failed("read", &file, error))?.min(segment.len);
                if self.strict {
                    let copy = segment::bad_copy(&*open, segment.first, segment.generation);
                    let copy = copy.map_err(|error| failed("read", &file, error))?;
                    let (from, below) = (segment.first, segment.first);
                    self.bad_copy = copy.map(|offset| Hole { file: file.clone(), offset, from, below });
                }
                let scan = Scan::new(open, &head, limit, end);
                self.at = Some(At { identity: head.identity, scan, file });
                Ok(Some(Step::Segment(segment.len)))
            }
            Ok((_, None)) => {
                self.index += 1;
                Ok(Some(Step::Hole(Hole { file, offset: 0, from: segment.first, below: end })))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.index += 1;
                Ok(None)
            }
            Err(error) => Err(failed("open", &file, error)),
        }
    }
}
