//! What was put aside.

use super::ask::{AsideId, AsideItem, End, Item, Record};
use super::{Look, LookError, Say, WINDOW};
use crate::language::Message;
use crate::message;
use crate::store::journal::sight::{Choice, LaneSight, Step, Walk};
use crate::store::journal::{AsideFrame, decode_aside};
use crate::store::{LaneId, PutAside};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use tidegate_protocol::TimeSource;

/// A record that was put aside, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Its number among what was put aside.
    pub number: u64,
    /// The record.
    pub record: PutAside,
    /// Its lane, if that is still there.
    pub lane: Option<LaneId>,
    /// Whether its lane still holds it, delivered as it is.
    pub kept: bool,
}

impl Look {
    /// The one record with this id that was put aside and neither retried nor dropped.
    ///
    /// # Errors
    /// [`LookError::NoSuchRecord`] if there is none, or more than one.
    pub fn aside(&self, id: &str) -> Result<Aside, LookError> {
        let mut found: Vec<Aside> = Vec::new();
        self.each_aside(Some(id), &mut |one| {
            found.push(one);
            // Two are enough to say that the id is ambiguous.
            Ok(found.len() < 2)
        })?;
        let missing = |what: Message| Err(LookError::NoSuchRecord { what });
        match (found.pop(), found.pop()) {
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => missing(message!(
                "more than one record was put aside under {id}, such as {one} and {other}: write the whole id",
                id = format!("{id:?}"),
                one = whole(&other.record),
                other = whole(&one.record)
            )),
            _ => missing(none_under(id)),
        }
    }

    /// Lists them, the oldest first.
    pub(super) fn list_aside(&self, id: Option<&str>, say: &mut Say<'_>) -> Result<End, LookError> {
        let mut records = 0;
        let mut ended = false;
        self.each_aside(id, &mut |one| {
            records += 1;
            ended = say(Item::Aside(item(&one))).is_break();
            Ok(!ended)
        })?;
        if ended {
            return Err(LookError::Ended);
        }
        if let (Some(id), 0) = (id, records) {
            return Err(LookError::NoSuchRecord { what: none_under(id) });
        }
        Ok(End::Records { records, damaged: 0 })
    }

    /// Shows each that was neither retried nor dropped to `visit`, the oldest first, until that answers `false`.
    fn each_aside(
        &self,
        id: Option<&str>,
        visit: &mut dyn FnMut(Aside) -> Result<bool, LookError>,
    ) -> Result<(), LookError> {
        let id = match id {
            None => None,
            Some(text) => Some(AsideId::read(text).ok_or_else(|| LookError::NoSuchRecord {
                what: message!(
                    "{id} is not an id: write gateway/epoch/lane/seq, or only lane/seq",
                    id = format!("{text:?}")
                ),
            })?),
        };
        // What was settled stands behind what it settles: a first pass gathers the numbers.
        let mut settled = HashSet::new();
        self.walk_aside(&mut |_, frame| {
            if let AsideFrame::Settled(number) = frame {
                settled.insert(number);
            }
            Ok(true)
        })?;
        self.walk_aside(&mut |number, frame| {
            let AsideFrame::Record(one) = frame else { return Ok(true) };
            let wanted = id.as_ref().is_none_or(|id| id.matches(&one.gateway, &one.epoch, &one.lane, one.seq));
            if !wanted || settled.contains(&number) { Ok(true) } else { visit(self.place(number, one)?) }
        })
    }

    fn walk_aside(&self, visit: &mut dyn FnMut(u64, AsideFrame) -> Result<bool, LookError>) -> Result<(), LookError> {
        let mut walk = Walk::new(&self.sight, &self.sight.aside, Choice::All, WINDOW);
        loop {
            match walk.step()? {
                Step::End => return Ok(()),
                Step::Segment(_) | Step::Hole(_) => {}
                Step::Records(chunk, _) => {
                    for (number, body) in chunk.bodies() {
                        if let Some(frame) = decode_aside(body) {
                            if !visit(number, frame)? {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where a record stands now.
    fn place(&self, number: u64, record: PutAside) -> Result<Aside, LookError> {
        let found = self.sight.lanes.iter().enumerate().find(|(_, lane)| lane.name == record.lane);
        let kept = match found {
            Some((_, lane)) => self.holds(lane, &record)?,
            None => false,
        };
        Ok(Aside { number, lane: found.map(|(index, _)| LaneId(index as u8)), kept, record })
    }

    /// Whether a lane still has the segment with the record of this id, and it does not wait. One head is read.
    fn holds(&self, lane: &Arc<LaneSight>, record: &PutAside) -> Result<bool, LookError> {
        if record.seq < lane.first_kept() || record.seq >= lane.next || lane.waits(record.seq) {
            return Ok(false);
        }
        let mut walk = Walk::new(&self.sight, lane, Choice::From(record.seq), WINDOW);
        Ok(matches!(walk.step()?, Step::Segment(_)) && walk.is_in(&record.gateway, &record.epoch))
    }

    /// Whether the record itself can still be read in its lane.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn can_be_read(&self, one: &Aside) -> Result<bool, LookError> {
        let Some(lane) = one.lane.and_then(|id| self.sight.lanes.get(id.index())).filter(|_| one.kept) else {
            return Ok(false);
        };
        let mut walk = Walk::new(&self.sight, lane, Choice::From(one.record.seq), WINDOW);
        loop {
            match walk.step()? {
                Step::End => return Ok(false),
                Step::Hole(hole) if hole.below > one.record.seq => return Ok(false),
                Step::Segment(_) | Step::Hole(_) => {}
                Step::Records(chunk, _) => {
                    if let Some(found) = chunk.get(0) {
                        return Ok(found.seq == one.record.seq);
                    }
                }
            }
        }
    }
}

/// That nothing was put aside under an id.
fn none_under(id: &str) -> Message {
    message!("no record was put aside under {id}: `tidegate buffer quarantine list` lists them", id = format!("{id:?}"))
}

fn whole(record: &PutAside) -> String {
    format!("{}/{}/{}/{}", record.gateway, record.epoch, record.lane, record.seq)
}

fn item(one: &Aside) -> AsideItem<'_> {
    let record = &one.record;
    AsideItem {
        record: Record {
            gateway: Cow::Borrowed(&record.gateway),
            epoch: Cow::Borrowed(&record.epoch),
            lane: Cow::Borrowed(&record.lane),
            seq: record.seq,
            device: Cow::Borrowed(&record.device),
            topic: Cow::Borrowed(&record.topic),
            time_ms: record.time_ms,
            time_source: if record.trusted { TimeSource::Synchronised } else { TimeSource::Unsynchronised },
            waiting: false,
            payload: Cow::Borrowed(&record.payload),
        },
        reason: Cow::Borrowed(&record.reason),
        kept: one.kept,
    }
}
