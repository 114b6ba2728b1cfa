//! Whose turn it is when a budget has room for small requests and not yet for a dear one. Pure.
//!
//! A lane whose batch costs more than another's may find that what the hour or the pace gives is taken, bit by bit, before
//! it comes to what it needs: it would wait for good. So it is counted what goes ahead of it, and once that is
//! [`PASSED_OVER`] times its own cost the others of its class wait until it has gone.
//!
//! Another case is a minute that has a single event: nothing of it can be kept for lanes that go first, so whoever asks first
//! would have it. After a start that is whoever was announced before, which is what was being sent then. So others give way
//! ([`GiveWay`]) while a lane that goes first is about to send.

use std::time::{Duration, Instant};

use tidegate_protocol::terms::Kind;

use crate::shape::budget::Cost;

/// So many times its own cost goes ahead of a batch at most: twice what the default weights (4 : 1) give the other of two
/// lanes, so that it is weights that share, and this only what keeps a lane from starving.
const PASSED_OVER: u64 = 8;

/// How long others give way to a lane that is about to send, but does not. A read and the commit of an announcement take some
/// hundredths of a second, on a worn card seconds.
const GIVE_WAY: Duration = Duration::from_secs(10);

/// Parts of a cost.
const WHOLE: u64 = 1_000;

/// What each lane waits for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    round: u64,
    lanes: Vec<Waiting>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    cost: Cost,
    /// Which budget refused it.
    kind: Option<Kind>,
    /// The round in which it was refused last.
    round: u64,
    /// What went ahead of it, in parts of its cost.
    passed: u64,
}

impl Turns {
    /// It is looked anew who may send.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    fn lane(&mut self, lane: usize) -> &mut Waiting {
        if self.lanes.len() <= lane {
            self.lanes.resize(lane + 1, Waiting::default());
        }
        &mut self.lanes[lane]
    }

    /// A lane's batch has to wait for a budget.
    pub(super) fn refused(&mut self, lane: usize, cost: Cost, kind: Kind) {
        let round = self.round;
        let waiting = self.lane(lane);
        (waiting.cost, waiting.kind, waiting.round) = (cost, Some(kind), round);
    }

    /// A lane's batch goes; `rivals` says which lanes want the same.
    pub(super) fn went(&mut self, lane: usize, cost: Cost, rivals: impl Fn(usize) -> bool) {
        self.lane(lane).passed = 0;
        let round = self.round;
        for (index, other) in self.lanes.iter_mut().enumerate() {
            if index != lane && other.round == round && rivals(index) {
                // Of what is dearer: what costs the same is the weights' affair.
                let part = |part: u64, whole: u64| {
                    if whole > part { (part.saturating_mul(WHOLE) / whole).max(1) } else { 0 }
                };
                let ahead = part(cost.bytes, other.cost.bytes).max(part(cost.events, other.cost.events));
                other.passed = other.passed.saturating_add(ahead);
            }
        }
    }

    /// What a lane has to wait for, and which budget that waits for: the batch of another that was passed over often enough. One that was not refused lately
    /// is not there any more.
    pub(super) fn ahead_of(&self, lane: usize, rivals: impl Fn(usize) -> bool) -> Option<(Cost, Kind)> {
        let due = |waiting: &Waiting| waiting.passed >= PASSED_OVER * WHOLE && waiting.round + 1 >= self.round;
        let mut others = self.lanes.iter().enumerate().filter(|(index, _)| *index != lane && rivals(*index));
        if self.lanes.get(lane).is_some_and(due) {
            return None;
        }
        others.find(|(_, waiting)| due(waiting)).and_then(|(_, waiting)| Some((waiting.cost, waiting.kind?)))
    }
}

/// How long lanes that do not go first wait for one that does.
#[derive(Debug, Default)]
pub(super) struct GiveWay {
    since: Option<Instant>,
}

impl GiveWay {
    /// Until when the others wait, if they do. `near`: a lane that goes first is about to send.
    pub(super) fn until(&mut self, near: bool, now: Instant) -> Option<Instant> {
        if !near {
            self.since = None;
            return None;
        }
        let until = *self.since.get_or_insert(now) + GIVE_WAY;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_give_way_while_one_that_goes_first_is_about_to_send_but_not_for_ever() {
        let (mut way, start) = (GiveWay::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(way.until(false, at(0)), None);
        assert_eq!(way.until(true, at(1)), Some(at(11)));
        assert_eq!(way.until(true, at(10)), Some(at(11)));
        assert_eq!(way.until(true, at(11)), None, "something keeps it from sending");
        assert_eq!(way.until(false, at(12)), None);
        assert_eq!(way.until(true, at(13)), Some(at(23)));
    }

    const SMALL: Cost = Cost { events: 1, bytes: 1_000, spare: 0 };
    const DEAR: Cost = Cost { events: 1, bytes: 50_000, spare: 0 };

    #[test]
    fn a_dear_batch_is_passed_over_by_eight_times_its_cost_and_then_waited_for() {
        let (mut turns, all) = (Turns::default(), |_| true);
        let mut ahead = 0;
        for _ in 0..10_000 {
            turns.begin();
            turns.refused(1, DEAR, Kind::BytesPerHour);
            if turns.ahead_of(0, all).is_some() {
                break;
            }
            turns.went(0, SMALL, all);
            ahead += SMALL.bytes;
        }
        assert_eq!(ahead, 8 * DEAR.bytes);
        assert_eq!(turns.ahead_of(0, all), Some((DEAR, Kind::BytesPerHour)));
        assert_eq!(turns.ahead_of(0, |lane| lane != 1), None, "it does not want the same");
        assert_eq!(turns.ahead_of(1, all), None);
        turns.went(1, DEAR, all);
        assert_eq!(turns.ahead_of(0, all), None);
    }

    #[test]
    fn batches_that_cost_the_same_leave_it_to_the_weights_and_one_that_is_gone_is_not_waited_for() {
        let (mut turns, all) = (Turns::default(), |_| true);
        for _ in 0..100 {
            turns.begin();
            turns.refused(1, SMALL, Kind::BytesPerHour);
            turns.went(0, SMALL, all);
        }
        assert_eq!(turns.ahead_of(0, all), None);
        for _ in 0..1_000 {
            turns.begin();
            turns.refused(1, DEAR, Kind::BytesPerHour);
            turns.went(0, SMALL, all);
        }
        assert!(turns.ahead_of(0, all).is_some());
        // It was evicted, or has become another's.
        turns.begin();
        turns.begin();
        assert_eq!(turns.ahead_of(0, all), None);
    }
}
