//! Who had published the records that go: a look through them before they are gone.
//!
//! Costs one read of what goes, at most a segment at a time, in the writer's thread. Measured with records of 200 bytes
//! evicted at full rate (`MAX_SIZE_MIB=64 store_throughput`): 0.12 us a record beside the 6.2 us that storing one took
//! with 100 submitters, hence 2 %, from the page cache; what has left that is read from the medium once more. While
//! nothing goes it costs nothing. What cannot be read is told without its device: a disk that does not answer never
//! keeps records from going.

use super::{Gap, Key, Span};
use crate::clock::Stamp;
use crate::store::disk::{Disk, Mode};
use crate::store::journal::log::LogShared;
use crate::store::journal::reader::LogReader;
use crate::store::journal::segment;
use crate::store::journal::writer::Writer;
use crate::store::journal::{Damage, Shared};
use crate::store::{Ranges, ReadLimit, submission};
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_protocol::gap::{Cause, cut_device};

/// Devices told apart in one segment at most; the others are told together.
pub(in crate::store::journal) const DEVICES: usize = 32;

/// Bytes read at one time: about a reader's largest window.
const STEP: usize = 200 * 1024;

/// Records of one lane that go for one cause.
#[derive(Debug)]
pub(in crate::store::journal) struct Census<'a> {
    pub(in crate::store::journal) cause: Cause,
    pub(in crate::store::journal) lane: &'a str,
    /// What of the lane waits; only that can be missed.
    pub(in crate::store::journal) waiting: &'a Ranges,
    /// What of it was never given to the wire; what Flux refused did not arrive, so there it is all.
    pub(in crate::store::journal) unsent: &'a Ranges,
}

/// What is counted of one epoch.
#[derive(Debug, Default)]
struct Tally {
    spans: Vec<(Option<String>, Span)>,
    places: HashMap<String, usize>,
    /// The place of the last record's device: devices publish in bursts.
    last: usize,
}

impl Tally {
    fn place(&mut self, device: &str) -> usize {
        let device = cut_device(device);
        if self.spans.get(self.last).is_some_and(|(known, _)| known.as_deref() == Some(device)) {
            return self.last;
        }
        self.last = match self.places.get(device) {
            Some(place) => *place,
            None if self.places.len() < DEVICES => {
                self.spans.push((Some(device.to_owned()), Span::default()));
                self.places.insert(device.to_owned(), self.spans.len() - 1);
                self.spans.len() - 1
            }
            None => self.others(),
        };
        self.last
    }

    /// The place of those not told apart.
    fn others(&mut self) -> usize {
        if let Some(place) = self.spans.iter().position(|(device, _)| device.is_none()) {
            return place;
        }
        self.spans.push((None, Span::default()));
        self.spans.len() - 1
    }

    fn count(&mut self, device: &str, seq: u64, stamp: Stamp, bytes: u64, perhaps_delivered: bool) {
        let place = self.place(device);
        let span = &mut self.spans[place].1;
        let (first, begin) = (span.seqs.map_or(seq, |seqs| seqs.0), span.times.map_or(stamp, |times| times.0));
        (span.seqs, span.times) = (Some((first, seq)), Some((begin, stamp)));
        span.count += 1;
        span.bytes += bytes;
        span.perhaps_delivered += u64::from(perhaps_delivered);
    }
}

impl Census<'_> {
    /// Looks through `[from, below)`, which should hold `expected` records that wait and are not counted as damaged.
    pub(in crate::store::journal) fn take(
        &self,
        shared: &Arc<Shared>,
        log: &Arc<LogShared>,
        (from, below): (u64, u64),
        expected: u64,
    ) -> Vec<Gap> {
        let (mut gaps, mut tally, mut epoch) = (Vec::new(), Tally::default(), None::<String>);
        let mut reader = LogReader::new(shared.clone(), log.clone(), None);
        let (mut next, mut found) = (self.waiting.next_from(from), 0);
        while next < below {
            let records = usize::try_from(below - next).unwrap_or(usize::MAX);
            let chunk = match reader.read(next, ReadLimit { records, bytes: STEP }) {
                Ok(chunk) => chunk,
                Err(error) => {
                    tracing::debug!(lane = self.lane, %error, "records that go cannot be looked through");
                    break;
                }
            };
            let Some(last) = chunk.last_seq() else { break };
            if epoch.as_deref() != Some(chunk.epoch()) {
                let before = epoch.replace(chunk.epoch().to_owned());
                self.close(std::mem::take(&mut tally), before.as_ref(), &mut gaps);
            }
            for (index, seq) in chunk.seqs().enumerate() {
                if seq >= below || !self.waiting.contains(seq) {
                    continue;
                }
                found += 1;
                let Some(body) = chunk.body(index).and_then(submission::decode) else { continue };
                if !body.gap {
                    let perhaps_delivered = !self.unsent.contains(seq);
                    tally.count(body.device, seq, body.stamp, body.payload.len() as u64, perhaps_delivered);
                }
            }
            next = self.waiting.next_from(last + 1);
        }
        let epoch = epoch.or_else(|| epoch_at(&*shared.disk, log, from));
        self.add_unseen(&mut tally, (from, below), expected.saturating_sub(found));
        self.close(tally, epoch.as_ref(), &mut gaps);
        gaps
    }

    /// Records that should be there and were not seen.
    fn add_unseen(&self, tally: &mut Tally, (from, below): (u64, u64), count: u64) {
        let mut waiting = self.waiting.within(from, below);
        let (Some(first), true) = (waiting.next(), count > 0) else { return };
        let last = waiting.last().unwrap_or(first);
        let sent = self.waiting.count(from, below).saturating_sub(self.unsent.count(from, below));
        let seqs = Some((first.0, last.1 - 1));
        let span = Span { seqs, count, perhaps_delivered: sent.min(count), ..Span::default() };
        let place = tally.others();
        tally.spans[place].1.merge(&span);
    }

    fn close(&self, tally: Tally, epoch: Option<&String>, gaps: &mut Vec<Gap>) {
        for (device, span) in tally.spans {
            let (lane, epoch) = (Some(self.lane.to_owned()), epoch.cloned());
            gaps.push(Gap { key: Key { cause: self.cause, reason: None, lane, device, epoch }, span });
        }
    }
}

/// The epoch of the segment that holds a record, or else of one beside it: where a head cannot be read, the nearest one
/// is the best guess.
pub(in crate::store::journal) fn epoch_at(disk: &dyn Disk, log: &LogShared, seq: u64) -> Option<String> {
    let near: Vec<_> = {
        let view = log.view();
        let at = view.find(seq)?;
        let near = [Some(at), at.checked_sub(1), Some(at + 1)].into_iter().flatten();
        near.filter_map(|index| view.segments.get(index).map(|one| (one.first, one.generation))).collect()
    };
    near.into_iter().find_map(|(first, generation)| {
        let file = disk.open(&log.path(first, generation), Mode::Read).ok()?;
        Some(segment::read_head(&*file, first, generation).ok()??.identity.epoch.clone())
    })
}

impl Writer {
    /// What a flow is to be told when `[from, below)` of a lane, within one segment, goes undelivered; and how many
    /// records that are, gap records among them.
    pub(in crate::store::journal) fn census(
        &self,
        cause: Cause,
        lane: usize,
        from: u64,
        below: u64,
    ) -> (Vec<Gap>, u64) {
        let (Some(log), ledger) = (self.lanes.get(lane), self.shared.ledger()) else { return (Vec::new(), 0) };
        let Some(known) = ledger.lanes.get(lane) else { return (Vec::new(), 0) };
        let records = known.readable(from, below);
        // What Flux refused did not arrive.
        let unsent = if cause == Cause::PutAside { Ranges::default() } else { known.unsent.clone() };
        let (waiting, name) = (known.waiting.clone(), known.name.clone());
        drop(ledger);
        if records == 0 {
            return (Vec::new(), 0);
        }
        let census = Census { cause, lane: &name, waiting: &waiting, unsent: &unsent };
        (census.take(&self.shared, &log.shared, (from, below), records), records)
    }

    /// The epoch of the records that cannot be read.
    pub(in crate::store::journal) fn epoch_of(&self, damage: &Damage) -> Option<String> {
        let log = self.lanes.get(usize::from(damage.lane))?;
        epoch_at(&*self.shared.disk, &log.shared, damage.from)
    }
}
