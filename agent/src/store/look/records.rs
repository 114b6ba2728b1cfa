//! Records of one or several lanes, the oldest first.

use super::ask::{End, Filter, Item, Record, What};
use super::{Look, LookError, Say, WINDOW};
use crate::store::journal::Chunk;
use crate::store::journal::sight::{Choice, LaneSight, Step, Walk};
use crate::store::{LaneId, StoreError};
use std::sync::Arc;
use tidegate_protocol::RecordRef;

/// Separate spans of one lane's records that can be delivered again at one time: the store remembers 64 ranges per
/// lane of what waits, and what waits already needs some of them.
pub(super) const SPANS: usize = 32;

/// A run of records of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lane's place in the store.
    pub lane: LaneId,
    /// The first.
    pub from: u64,
    /// The first that no longer belongs to it.
    pub below: u64,
}

/// Delivered records that are still kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Where they are.
    pub spans: Vec<Span>,
    /// How many.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// A lane and where its reading stands.
struct Cursor {
    walk: Walk,
    lane: Arc<LaneSight>,
    chunk: Chunk,
    at: usize,
    done: bool,
}

impl Cursor {
    /// The record it stands at.
    fn head(&self) -> Option<RecordRef<'_>> {
        if self.done { None } else { self.chunk.get(self.at) }
    }
}

/// Several lanes, read together.
struct Merge {
    cursors: Vec<Cursor>,
    read: u64,
    total: u64,
    damaged: u64,
}

impl Merge {
    fn new(look: &Look, lanes: &[(LaneId, Arc<LaneSight>)], choice: Choice) -> Self {
        let cursor = |(_, lane): &(LaneId, Arc<LaneSight>)| Cursor {
            walk: Walk::new(&look.sight, lane, choice, WINDOW),
            lane: lane.clone(),
            chunk: Chunk::default(),
            at: 0,
            done: false,
        };
        let cursors: Vec<Cursor> = lanes.iter().map(cursor).collect();
        let total = cursors.iter().map(|cursor| cursor.walk.bytes()).sum();
        Self { cursors, read: 0, total, damaged: 0 }
    }

    /// Reads on wherever a lane has nothing in memory; says whether the disk was asked. After each window it returns,
    /// so that whoever asks may rest.
    fn fill(&mut self) -> Result<bool, StoreError> {
        for cursor in &mut self.cursors {
            while cursor.at < cursor.chunk.len() && cursor.chunk.get(cursor.at).is_none() {
                // Its sum is right, so this version does not know how to take it apart.
                self.damaged += 1;
                cursor.at += 1;
            }
            if cursor.done || cursor.at < cursor.chunk.len() {
                continue;
            }
            match cursor.walk.step()? {
                // Heads are read too, but they are little.
                Step::Segment(_) => {}
                Step::Records(chunk, bytes) => {
                    self.read += bytes;
                    (cursor.chunk, cursor.at) = (chunk, 0);
                }
                Step::Hole(_) => self.damaged += 1,
                Step::End => cursor.done = true,
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The lane whose next record is the oldest; the first of them if several are.
    fn oldest(&self) -> Option<usize> {
        let times = self.cursors.iter().enumerate();
        times.filter_map(|(index, cursor)| Some((cursor.head()?.time_ms, index))).min().map(|(_, index)| index)
    }
}

impl Filter {
    /// Whether a record is one of those asked for, its lane apart.
    fn takes(&self, record: &RecordRef<'_>) -> bool {
        self.from_ms.is_none_or(|from| record.time_ms >= from)
            && self.to_ms.is_none_or(|to| record.time_ms < to)
            && self.device.as_ref().is_none_or(|device| device.matches(record.device))
    }
}

impl Look {
    /// The lanes asked for: all, or one by name.
    fn lanes(&self, name: Option<&str>) -> Result<Vec<(LaneId, Arc<LaneSight>)>, LookError> {
        let all = self.sight.lanes.iter().enumerate().map(|(index, lane)| (LaneId(index as u8), lane.clone()));
        let Some(name) = name else { return Ok(all.collect()) };
        let found: Vec<_> = all.filter(|(_, lane)| lane.name == name).collect();
        if found.is_empty() {
            let there = self.sight.lanes.iter().map(|lane| lane.name.clone()).collect();
            return Err(LookError::NoLane { name: name.to_owned(), there });
        }
        Ok(found)
    }

    pub(super) fn records(&self, filter: &Filter, say: &mut Say<'_>) -> Result<End, LookError> {
        let choice = if filter.what == What::All { Choice::All } else { Choice::Waiting };
        let mut merge = Merge::new(self, &self.lanes(filter.lane.as_deref())?, choice);
        let (mut records, limit) = (0, filter.limit.unwrap_or(u64::MAX));
        while records < limit {
            while merge.fill()? {
                let (done, total) = (merge.read, merge.total);
                if say(Item::Progress { done, total }).is_break() {
                    return Err(LookError::Ended);
                }
            }
            let Some(index) = merge.oldest() else { break };
            let cursor = &mut merge.cursors[index];
            if let Some(record) = cursor.head().filter(|record| filter.takes(record)) {
                let waiting = cursor.lane.waits(record.seq);
                if say(Item::Record(Record::new(&record, waiting))).is_break() {
                    return Err(LookError::Ended);
                }
                records += 1;
            }
            cursor.at += 1;
        }
        Ok(End::Records { records, damaged: merge.damaged })
    }

    /// Delivered records, still kept, that were received from `from_ms` on and before `to_ms`. Only
    /// [`Item::Progress`] is said.
    ///
    /// # Errors
    /// [`LookError::Scattered`] if they stand in too many places.
    pub fn delivered(
        &self,
        name: Option<&str>,
        (from_ms, to_ms): (u64, u64),
        say: &mut Say<'_>,
    ) -> Result<Delivered, LookError> {
        let mut found = Delivered::default();
        let lanes = self.lanes(name)?;
        let (mut done, total) = (0, lanes.iter().map(|(_, lane)| lane.bytes()).sum());
        for (id, lane) in lanes {
            let first = found.spans.len();
            let mut walk = Walk::new(&self.sight, &lane, Choice::All, WINDOW);
            // Whether the span found last may go on: nothing delivered that was not asked for has followed.
            let mut open = false;
            loop {
                let chunk = match walk.step()? {
                    Step::End => break,
                    Step::Segment(_) | Step::Hole(_) => continue,
                    Step::Records(chunk, bytes) => {
                        done += bytes;
                        if say(Item::Progress { done, total }).is_break() {
                            return Err(LookError::Ended);
                        }
                        chunk
                    }
                };
                for record in chunk.iter().filter(|record| !lane.waits(record.seq)) {
                    let wanted = (from_ms..to_ms).contains(&record.time_ms);
                    // Records between that are gone would be looked for, and missed, if they waited again.
                    match found.spans.last_mut().filter(|span| open && span.below == record.seq) {
                        Some(span) if wanted => span.below = record.seq + 1,
                        _ if wanted => found.spans.push(Span { lane: id, from: record.seq, below: record.seq + 1 }),
                        _ => {}
                    }
                    open = wanted;
                    if wanted {
                        found.records += 1;
                        found.bytes += record.payload.len() as u64;
                    }
                }
                if found.spans.len() - first > SPANS {
                    return Err(LookError::Scattered { lane: lane.name.clone() });
                }
            }
        }
        Ok(found)
    }
}
