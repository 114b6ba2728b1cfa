//! What there is, lane by lane, and how long there is room.

use super::pace::{self, Paces};
use super::{Look, LookError, WINDOW};
use crate::store::journal::sight::{self, Choice, LaneSight, Step, Walk};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Segments per lane whose first record is read to tell a pace from files alone: a read of 4 KiB each.
const SEGMENTS: usize = 1024;

/// One lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneLook {
    /// Its name.
    pub name: String,
    /// Records that wait to be delivered.
    pub waiting: u64,
    /// Records stored since the store was created.
    pub stored: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes of segments of which everything is delivered: the first to go when room is needed.
    pub delivered_bytes: u64,
    /// Bytes that lanes after it can never take from it.
    pub reserve: u64,
    /// When the oldest waiting record was received (ms since the Unix epoch).
    pub oldest_ms: Option<u64>,
    /// Records evicted before they were delivered.
    pub evicted: u64,
    /// Records lost to damage.
    pub damaged: u64,
    /// Records dropped before they were delivered, because they had become too old.
    pub expired: u64,
    /// Bytes an hour over the last ten minutes, or since the start.
    pub pace_now: Option<u64>,
    /// Bytes an hour in the busiest ten minutes since the start.
    pub pace_busiest: Option<u64>,
    /// Hours until it begins to lose records at the present pace, if nothing is delivered meanwhile: until the
    /// room that is free, and that lanes after it must give way in, is used up by it and the lanes before it.
    pub hours_now: Option<f64>,
    /// The same at the busiest pace.
    pub hours_busiest: Option<f64>,
}

/// The whole store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreLook {
    /// Its folder.
    pub path: String,
    /// The present epoch; empty if the control lane cannot be read.
    pub epoch: String,
    /// Whether the running service said it; otherwise the files did.
    pub live: bool,
    /// The lanes in order of priority.
    pub lanes: Vec<LaneLook>,
    /// Bytes on disk in all.
    pub bytes: u64,
    /// The limit on `bytes`, where known.
    pub max_bytes: Option<u64>,
    /// What `bytes` may come to at present: less than `max_bytes` where others fill the disk. Only the running service
    /// knows.
    pub allowed_bytes: Option<u64>,
    /// Records put aside since the store was created, and those of them that are no longer held: tried again, dropped,
    /// or gone because the place for them was full.
    pub put_aside: u64,
    /// See `put_aside`.
    pub put_aside_gone: u64,
    /// Publishes refused since the store was created.
    pub refused: u64,
    /// Whether the control lane is whole. If it is not, what was delivered may be shown as waiting.
    pub control_whole: bool,
}

impl Look {
    /// What there is. Reads the first waiting record of each lane, and nothing else.
    pub(super) fn status(&self) -> Result<StoreLook, LookError> {
        let sight = &self.sight;
        let lanes = sight.lanes.iter().map(|lane| self.lane(lane)).collect::<Result<_, _>>()?;
        Ok(StoreLook {
            path: sight.path.display().to_string(),
            epoch: sight.epoch.clone(),
            live: sight.live,
            lanes,
            bytes: sight.bytes,
            max_bytes: sight.max_size,
            allowed_bytes: None,
            put_aside: sight.put_aside,
            put_aside_gone: sight.aside_gone,
            refused: sight.refused,
            control_whole: sight.control_whole,
        })
    }

    fn lane(&self, lane: &Arc<LaneSight>) -> Result<LaneLook, LookError> {
        let waiting = lane.waiting();
        let [evicted, damaged, expired] = lane.lost();
        Ok(LaneLook {
            name: lane.name.clone(),
            waiting,
            stored: lane.next,
            bytes: lane.bytes(),
            delivered_bytes: lane.delivered_bytes(),
            oldest_ms: if waiting > 0 { self.oldest(lane)? } else { None },
            evicted,
            damaged,
            expired,
            ..LaneLook::default()
        })
    }

    /// When the first waiting record that can be read was received.
    fn oldest(&self, lane: &Arc<LaneSight>) -> Result<Option<u64>, LookError> {
        let mut walk = Walk::new(&self.sight, lane, Choice::Waiting, WINDOW);
        loop {
            match walk.step()? {
                Step::End => return Ok(None),
                Step::Segment(_) | Step::Hole(_) => {}
                Step::Records(chunk, _) => {
                    if let Some(record) = chunk.get(0) {
                        return Ok(Some(record.time_ms));
                    }
                }
            }
        }
    }

    /// Paces as far as the files alone show them: the busiest of each lane, told by the times of its records.
    pub fn paces_of_files(&self) -> Vec<(pace::Known, pace::Known)> {
        let mut sum: Option<u64> = None;
        let mut known = Vec::with_capacity(self.sight.lanes.len());
        for lane in &self.sight.lanes {
            let alone = pace::busiest_of(&sight::first_times(&self.sight, lane, SEGMENTS));
            // Not all lanes need be busy at one time: together they are at most that busy.
            sum = alone.map_or(sum, |alone| Some(sum.unwrap_or(0).saturating_add(alone)));
            known.push(((None, alone), (None, sum)));
        }
        known
    }
}

impl StoreLook {
    /// Adds paces, and how long there is room at each. See [`Paces::known`].
    pub fn add_paces(&mut self, known: &[(pace::Known, pace::Known)]) {
        let room = self.room();
        for (index, (alone, together)) in known.iter().enumerate() {
            let Some(lane) = self.lanes.get_mut(index) else { break };
            (lane.pace_now, lane.pace_busiest) = *alone;
            let room = room.as_ref().and_then(|room| room.get(index).copied());
            lane.hours_now = hours(room, together.0);
            lane.hours_busiest = hours(room, together.1);
        }
    }

    /// Adds what `paces` knows now.
    pub fn add(&mut self, paces: &Paces, now_ms: u64) {
        self.add_paces(&paces.known(now_ms));
    }

    /// Bytes that each lane and those before it may still grow by before it loses records.
    fn room(&self) -> Option<Vec<u64>> {
        let delivered: u64 = self.lanes.iter().map(|lane| lane.delivered_bytes).sum();
        let mut room = self.allowed_bytes.or(self.max_bytes)?.saturating_add(delivered).saturating_sub(self.bytes);
        let mut rooms = Vec::with_capacity(self.lanes.len());
        for lane in self.lanes.iter().rev() {
            rooms.push(room);
            room += lane.bytes.saturating_sub(lane.delivered_bytes).saturating_sub(lane.reserve);
        }
        rooms.reverse();
        Some(rooms)
    }
}

/// Hours until `room` bytes are used up at `pace` bytes an hour. `None` where either is not known, or nothing comes.
pub fn hours(room: Option<u64>, pace: Option<u64>) -> Option<f64> {
    let (room, pace) = (room?, pace.filter(|pace| *pace > 0)?);
    Some(room as f64 / pace as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_the_room_that_lanes_after_it_must_give_up() {
        let lane =
            |bytes, delivered_bytes, reserve| LaneLook { bytes, delivered_bytes, reserve, ..LaneLook::default() };
        let lanes = vec![lane(10, 0, 20), lane(300, 100, 50), lane(400, 0, 0)];
        let mut store = StoreLook { lanes, bytes: 710, max_bytes: Some(1000), ..StoreLook::default() };
        // Free are 290, and 100 that are only kept; lane 2 gives way with 400, lane 1 with 150.
        assert_eq!(store.room(), Some(vec![940, 790, 390]));
        let known = [(Some(10), Some(10)), (Some(20), Some(79)), (Some(0), None)].map(|known| (known, known));
        store.add_paces(&known);
        let shown: Vec<_> = store.lanes.iter().map(|lane| (lane.hours_now, lane.hours_busiest)).collect();
        assert_eq!(shown, [(Some(94.0), Some(94.0)), (Some(39.5), Some(10.0)), (None, None)]);
        store.max_bytes = None;
        store.add_paces(&known);
        assert_eq!(store.lanes[0].hours_now, None);
    }
}
