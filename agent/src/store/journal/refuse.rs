//! Records for which there is no room: with [`Policy::Refuse`](crate::store::Policy::Refuse), or where all the room
//! there is has been reserved for other lanes.
//!
//! They are not answered and wait here, and with them everything that comes later for the same lanes: order within a
//! lane is kept. Other lanes go on. Changes of state that came with them are committed at once. As soon as the first
//! that waits for a lane fits, because something was delivered or others freed the disk, they all go back to the head
//! of the queue, and wait again from the first on that does not fit.
//!
//! How much may wait is bounded by what all callers may have in flight ([`Store::in_flight`]).
//!
//! [`Store::in_flight`]: crate::store::Store::in_flight

use super::frame::FRAME_HEAD;
use super::room::Room;
use super::writer::Writer;
use crate::language::{IntoValue as _, Message};
use crate::message;
use crate::store::{Policy, Refusing, Submission};
use std::collections::VecDeque;
use std::time::Instant;

/// A lane whose records wait.
#[derive(Debug)]
pub(super) struct Blocked {
    lane: usize,
    /// What the first of them needs, by lane; `None` if that waits only behind one of another lane.
    needs: Option<Vec<u64>>,
    reason: Message,
}

/// Submissions that wait for room.
#[derive(Debug, Default)]
pub(super) struct Parked {
    waiting: VecDeque<Submission>,
    blocked: Vec<Blocked>,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, submission: Submission) {
        self.waiting.push_back(submission);
    }

    pub(super) fn block(&mut self, blocked: impl IntoIterator<Item = Blocked>) {
        self.blocked.extend(blocked);
    }
}

/// Bytes of a submission's records in frames, by lane.
pub(super) fn needs(submission: &Submission, lanes: usize) -> Vec<u64> {
    let mut needs = vec![0; lanes];
    for (lane, body) in submission.bodies() {
        if let Some(need) = needs.get_mut(lane.index()) {
            *need += (FRAME_HEAD + body.len()) as u64;
        }
    }
    needs
}

/// The lanes that are needed.
fn needed(needs: &[u64]) -> impl Iterator<Item = usize> + '_ {
    needs.iter().enumerate().filter(|(_, bytes)| **bytes > 0).map(|(lane, _)| lane)
}

impl Writer {
    /// Whether something waits already for a lane that is needed.
    pub(super) fn is_blocked(&self, needs: &[u64]) -> bool {
        let mut all = self.parked.blocked.iter().chain(&self.blocking);
        all.any(|one| needs.get(one.lane).is_some_and(|bytes| *bytes > 0))
    }

    /// The present commit leaves a submission waiting for room.
    pub(super) fn begin_blocking(&mut self, room: &Room, needs: &[u64]) {
        // Without figures that change with each record, or whoever is told would be told each time.
        let options = &self.shared.options;
        let reason = match options.policy {
            Policy::DropOldest => message!("all the room that could be made is reserved for other lanes"),
            Policy::Refuse if room.ceiling < options.max_size => {
                message!(
                    "others fill the file system, of which keep_free = {free} bytes are to stay free",
                    free = options.keep_free
                )
            }
            Policy::Refuse => {
                message!("max_size = {size} bytes are used, or reserved for other lanes", size = options.max_size)
            }
        };
        self.block(needs, Some(needs), &reason);
    }

    /// The present commit leaves a submission waiting behind another: for all its lanes, or their order would break.
    pub(super) fn follow(&mut self, needs: &[u64]) {
        let reason = message!("its records came together with some of a lane that has no room");
        self.block(needs, None, &reason);
    }

    fn block(&mut self, lanes: &[u64], needs: Option<&[u64]>, reason: &Message) {
        for lane in needed(lanes) {
            if !self.is_blocked_lane(lane) {
                let needs = needs.map(<[u64]>::to_vec);
                self.blocking.push(Blocked { lane, needs, reason: reason.clone() });
            }
        }
    }

    fn is_blocked_lane(&self, lane: usize) -> bool {
        self.parked.blocked.iter().chain(&self.blocking).any(|one| one.lane == lane)
    }

    /// Puts what waits back to the head of the queue, if any of it fits now.
    pub(super) fn unpark(&mut self, now: Instant) {
        if self.parked.is_empty() {
            return;
        }
        // What is wrong with the disk, the next commit says.
        let Ok(mut room) = self.survey(now) else { return };
        let blocked = std::mem::take(&mut self.parked.blocked);
        let any = blocked.iter().filter_map(|one| one.needs.as_ref()).any(|needs| self.fits(&mut room, needs, true));
        self.parked.blocked = blocked;
        if any {
            self.parked.blocked.clear();
            let later = std::mem::replace(&mut self.pending, std::mem::take(&mut self.parked.waiting));
            self.pending.extend(later);
        }
    }

    /// Says which lanes take nothing more, if that has changed.
    pub(super) fn tell_refusing(&self) {
        let name = |lane: usize| self.lanes.get(lane).map(|log| log.shared.name.clone()).unwrap_or_default();
        let mut refusing: Vec<Refusing> = self
            .parked
            .blocked
            .iter()
            .map(|one| Refusing { lane: name(one.lane), reason: one.reason.clone().into_value() })
            .collect();
        refusing.sort_by(|one, other| one.lane.cmp(&other.lane));
        self.shared.set_refusing(refusing);
    }
}
