//! Reads everything and compares all sums.

use super::ask::{Checked, Damage, End, Item};
use super::{Look, LookError, Say, WINDOW};
use crate::store::journal::sight::{Choice, HEAD_LEN, Hole, LaneSight, Step, Walk};
use std::path::Path;
use std::sync::Arc;

/// What has been found so far.
struct Found<'a, 'b> {
    say: &'a mut Say<'b>,
    done: u64,
    total: u64,
    damaged: u64,
}

impl Found<'_, '_> {
    fn say(&mut self, item: Item<'_>) -> Result<(), LookError> {
        if (self.say)(item).is_break() { Err(LookError::Ended) } else { Ok(()) }
    }

    fn damage(&mut self, damage: Damage) -> Result<(), LookError> {
        self.damaged += 1;
        self.say(Item::Damage(damage))
    }
}

impl Look {
    /// Judges the store's file `version`, then walks all segments of all lanes, the store's own included: heads, sums, sequence
    /// numbers.
    pub(super) fn verify(&self, say: &mut Say<'_>) -> Result<End, LookError> {
        let own = [&self.sight.aside, &self.sight.control];
        let lanes: Vec<&Arc<LaneSight>> = self.sight.lanes.iter().chain(own).collect();
        let total = lanes.iter().map(|lane| lane.bytes()).sum();
        let mut found = Found { say, done: 0, total, damaged: 0 };
        if let Some(file) = self.sight.damaged_version() {
            let what = "it is not as it was written; no record is lost by that, for the segments say the same, and the next start \
                        writes it anew";
            let file = file.display().to_string();
            let lane = String::new();
            found.damage(Damage { lane, file, offset: 0, from: 0, below: 0, what: what.to_owned() })?;
        }
        for lane in lanes {
            self.verify_lane(lane, &mut found)?;
        }
        Ok(End::Verified { damaged: found.damaged })
    }

    fn verify_lane(&self, lane: &Arc<LaneSight>, found: &mut Found<'_, '_>) -> Result<(), LookError> {
        let mut checked = Checked { lane: lane.name.clone(), ..Checked::default() };
        let before = found.damaged;
        let damage = |file: &Path, offset: u64, (from, below): (u64, u64), what: &str| Damage {
            lane: lane.name.clone(),
            file: file.display().to_string(),
            offset,
            from,
            below,
            what: what.to_owned(),
        };
        let mut walk = Walk::new(&self.sight, lane, Choice::All, WINDOW).strict();
        loop {
            match walk.step()? {
                Step::End => break,
                Step::Segment(len) => {
                    checked.segments += 1;
                    checked.bytes += len;
                }
                Step::Records(chunk, bytes) => {
                    checked.records += chunk.len() as u64;
                    found.done += bytes;
                    let (done, total) = (found.done, found.total);
                    found.say(Item::Progress { done, total })?;
                }
                Step::Hole(Hole { file, offset, from, below }) => {
                    let what = match (offset, below - from.min(below)) {
                        (0..HEAD_LEN, 0) => {
                            "one of the two copies of the segment's head is damaged; nothing is lost by that"
                        }
                        (0, _) => "neither copy of the segment's head can be read",
                        (_, 0) => "there are bytes that are not the store's",
                        _ => "the records are not there, or their sums are wrong",
                    };
                    found.damage(damage(&file, offset, (from, below), what))?;
                }
            }
        }
        for file in &lane.unusable {
            let what = "neither copy of the segment's head can be read; what it held is not known";
            found.damage(damage(file, 0, (lane.next, lane.next), what))?;
        }
        if let Some(torn) = &lane.torn {
            let what = format!(
                "the last {} bytes are no whole record: a write that a power cut ended looks like this, and so does \
                 damage at the end; the next start cuts them off",
                torn.bytes
            );
            found.damage(damage(&torn.file, torn.offset, (lane.next, lane.next), &what))?;
        }
        if let Some((from, below)) = lane.missing {
            let what = if from < below {
                "the control lane knows of these records, and they are not there"
            } else {
                "the control lane knows of a newer segment, and it is not there; what it held is not known"
            };
            found.damage(damage(&lane.folder(), 0, (from, below), what))?;
        }
        checked.damaged = found.damaged - before;
        found.say(Item::Checked(checked))
    }
}
