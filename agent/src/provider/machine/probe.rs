//! Probes: when one record may be sent to see whether anything is taken again.
//!
//! There are two paces, both in steady time and both drawn by a hash, so that a restart neither resets nor hastens them:
//! - *rarely*, while suspended or without quota: the first after one to two times the shortest interval, then twice as long
//!   each time up to the longest; within each interval, a moment in its second half. With an hour and a day: 1–2 h, 2–4 h,
//!   4–8 h, 8–16 h, then 12–24 h.
//! - *soon*, while the service seems to be down for all: time since the beginning is cut into slots of 1, 2, 4, 8 … minutes
//!   up to ten, and this gateway's moment is at one place of its own in every slot. So when the service is back, at
//!   whatever time, the gateways that have not tried yet in this slot and those that will in the next are spread over
//!   both: at full length, evenly over ten minutes. Where all know the same moment (a `Retry-After`, the planned end of
//!   an announced window) the first slot is as long as the period over which a fleet comes back.

use serde::{Deserialize, Serialize};

use super::own::{draw, within};
use super::settings::Span;

/// The first slot when nobody named a time: gateways notice an outage at moments of their own.
pub(super) const FIRST_SLOT_MS: u64 = 60_000;

/// The longest slot, but for the first: nobody waits longer once the service is back, and 100,000 gateways make 167
/// connections a second.
const LONGEST_SLOT_MS: u64 = 600_000;

/// Two moments at which a slot begins are one if they are no further apart: dates and steady time drift by as much.
const SAME_MS: u64 = 60_000;

/// Two probes are no closer than the first slot's length, whatever they had to wait for.
const LEAST_GAP_MS: u64 = FIRST_SLOT_MS;

/// An operator's word may bring a probe so often.
const TRY_NOW_MS: u64 = 60_000;

/// What kind of probes the grounds ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// None.
    None,
    /// Soon: in slots from `anchor` (steady) on, the first `first` ms long.
    Soon { anchor: u64, first: u64 },
    /// Rarely.
    Rarely,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Pace {
    #[default]
    None,
    Soon,
    Rarely,
}

/// The probes' schedule, in steady time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Probes {
    /// How many were allowed.
    pub(super) count: u64,
    last: Option<u64>,
    pace: Pace,
    /// Soon: where the slots began, and the slot that counts now: its beginning and length.
    anchor: u64,
    slot: u64,
    length: u64,
    /// Rarely: intervals that have passed; kept while the pace is another, until nothing asks for probes.
    step: u32,
    due: u64,
}

impl Probes {
    /// Takes in what is asked for now. Says whether anything changed.
    pub(super) fn follow(&mut self, need: Need, steady: u64, span: Span, gateway: &str) -> bool {
        let before = *self;
        match need {
            Need::None if self.pace == Pace::None => {}
            Need::None => (self.pace, self.step) = (Pace::None, 0),
            Need::Soon { anchor, first } => {
                if self.pace != Pace::Soon || self.anchor.abs_diff(anchor) > SAME_MS {
                    (self.pace, self.anchor, self.slot) = (Pace::Soon, anchor, anchor);
                    self.length = first.max(1_000);
                    self.due = self.moment(gateway);
                }
            }
            Need::Rarely if self.pace == Pace::Rarely => {}
            Need::Rarely => {
                self.pace = Pace::Rarely;
                self.due = steady.saturating_add(self.interval(span, gateway));
            }
        }
        before != *self
    }

    /// Allows the probe that is due, if it is. Not while something else is in the way.
    pub(super) fn turn(&mut self, steady: u64, span: Span, gateway: &str) -> bool {
        if self.pace == Pace::None || steady < self.due {
            return false;
        }
        self.count += 1;
        self.last = Some(steady);
        if self.pace == Pace::Rarely {
            self.step = self.step.saturating_add(1);
            self.due = steady.saturating_add(self.interval(span, gateway));
            return true;
        }
        // After a long sleep the slots that passed are skipped at once.
        let missed = steady.saturating_sub(self.slot) / LONGEST_SLOT_MS;
        if missed > 64 {
            (self.slot, self.length) = (self.slot.saturating_add((missed - 1) * LONGEST_SLOT_MS), LONGEST_SLOT_MS);
        }
        // One that had to wait for something else may be close to the next moment.
        while self.due < steady.saturating_add(LEAST_GAP_MS) {
            self.slot = self.slot.saturating_add(self.length);
            self.length = (self.length * 2).min(LONGEST_SLOT_MS);
            self.due = self.moment(gateway);
        }
        true
    }

    /// The operator wants one now. Says whether it is allowed.
    pub(super) fn try_now(&mut self, steady: u64) -> bool {
        let lately = self.last.is_some_and(|last| steady.saturating_sub(last) < TRY_NOW_MS);
        if self.pace == Pace::None || lately {
            return false;
        }
        self.count += 1;
        self.last = Some(steady);
        true
    }

    /// When the next is due, if any is to come.
    pub(super) fn due(&self) -> Option<u64> {
        (self.pace != Pace::None).then_some(self.due)
    }

    fn moment(&self, gateway: &str) -> u64 {
        self.slot.saturating_add(within(draw(gateway, "soon", self.anchor), self.length))
    }

    fn interval(&self, span: Span, gateway: &str) -> u64 {
        let doubled = span.probe_min.saturating_mul(2_u64.saturating_pow(self.step.saturating_add(1)));
        let longest = doubled.min(span.probe_max);
        let shortest = (longest / 2).max(span.probe_min);
        shortest + within(draw(gateway, "rarely", self.count), longest - shortest)
    }

    /// Within bounds, whatever it was read from.
    pub(super) fn within_bounds(mut self, steady: u64, span: Span) -> Self {
        self.last = self.last.map(|last| last.min(steady));
        self.length = self.length.clamp(1_000, Span::MOST_RESUME_MS);
        self.count = self.count.min(1 << 48);
        // A slot begins no later than the one behind the longest first one, and a probe that had to wait for it.
        self.slot = self.slot.min(steady.saturating_add(Span::MOST_RESUME_MS + LEAST_GAP_MS));
        // A wait from elsewhere is no longer than any of its own.
        self.due = self.due.min(steady.saturating_add(span.probe_max.max(Span::MOST_RESUME_MS) * 2));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const SPAN: Span = Span { resume: 10 * MINUTE, ramp: 0, probe_min: HOUR, probe_max: 24 * HOUR };

    fn moments(need: Need, gateway: &str, until: u64) -> Vec<u64> {
        let mut probes = Probes::default();
        probes.follow(need, 0, SPAN, gateway);
        let mut moments = Vec::new();
        while let Some(due) = probes.due().filter(|due| *due < until) {
            assert!(!probes.turn(due - 1, SPAN, gateway));
            assert!(probes.turn(due, SPAN, gateway));
            moments.push(due);
        }
        moments
    }

    #[test]
    fn rare_probes_come_after_one_hour_at_first_and_at_last_once_in_half_a_day_to_a_day() {
        for gateway in ["gw-1", "gw-2", "gw-3"] {
            let moments = moments(Need::Rarely, gateway, 2_000 * HOUR);
            let intervals: Vec<u64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let bounds = [(2, 4), (4, 8), (8, 16)].into_iter().chain(std::iter::repeat((12, 24)));
            assert!((HOUR..=2 * HOUR).contains(&moments[0]), "{moments:?}");
            for (interval, (least, most)) in intervals.into_iter().zip(bounds) {
                assert!((least * HOUR..=most * HOUR).contains(&interval), "{interval} not in {least} to {most} h");
            }
        }
    }

    #[test]
    fn soon_means_one_moment_of_its_own_in_every_slot_and_slots_that_double_up_to_the_period() {
        for gateway in ["gw-1", "gw-2", "gw-3"] {
            let moments = moments(Need::Soon { anchor: 0, first: MINUTE }, gateway, 10 * HOUR);
            let mut slot = 0;
            for (moment, length) in moments.iter().zip([1, 2, 4, 8].into_iter().chain(std::iter::repeat(10))) {
                assert!((slot..slot + length * MINUTE).contains(moment), "{moment} in the slot at {slot}");
                slot += length * MINUTE;
            }
            assert_eq!(moments[9] - moments[8], 10 * MINUTE, "evenly, once the slots are of one length");
        }
    }

    #[test]
    fn slots_that_were_slept_through_are_skipped_with_one_probe() {
        let mut probes = Probes::default();
        probes.follow(Need::Soon { anchor: 0, first: MINUTE }, 0, SPAN, "gw");
        assert!(probes.turn(5_000 * HOUR, SPAN, "gw"));
        assert!(!probes.turn(5_000 * HOUR, SPAN, "gw"));
        assert!(probes.due().is_some_and(|due| due <= 5_000 * HOUR + 20 * MINUTE));
    }

    #[test]
    fn an_interlude_at_the_other_pace_does_not_shorten_the_rare_intervals() {
        let mut probes = Probes::default();
        probes.follow(Need::Rarely, 0, SPAN, "gw");
        for _ in 0..10 {
            let due = probes.due().unwrap_or_default();
            probes.turn(due, SPAN, "gw");
        }
        let at = 1_000 * HOUR;
        probes.follow(Need::Soon { anchor: at, first: MINUTE }, at, SPAN, "gw");
        probes.follow(Need::Rarely, at, SPAN, "gw");
        assert!(probes.due().is_some_and(|due| due >= at + 12 * HOUR));
        probes.follow(Need::None, at, SPAN, "gw");
        assert_eq!(probes.due(), None);
        probes.follow(Need::Rarely, at, SPAN, "gw");
        assert!(probes.due().is_some_and(|due| due <= at + 2 * HOUR), "it was over in between");
    }

    #[test]
    fn what_was_read_from_anywhere_stays_within_bounds_from_then_on() {
        for slot in [0, 5 * HOUR, 5_000 * HOUR, u64::MAX] {
            let read = Probes { pace: Pace::Soon, slot, length: u64::MAX, due: u64::MAX, ..Probes::default() };
            let mut probes = read.within_bounds(HOUR, SPAN);
            for _ in 0..5 {
                let due = probes.due().unwrap_or_default();
                assert!(probes.turn(due, SPAN, "gw"));
                assert_eq!(probes.within_bounds(due, SPAN), probes, "a restart after a slot at {slot}");
            }
        }
    }

    #[test]
    fn the_operators_word_brings_a_probe_at_once_but_no_more_than_one_a_minute() {
        let mut probes = Probes::default();
        assert!(!probes.try_now(5), "there is nothing to try");
        probes.follow(Need::Rarely, 0, SPAN, "gw");
        let due = probes.due();
        assert!(probes.try_now(5) && !probes.try_now(59_000) && probes.try_now(60_005));
        assert_eq!((probes.count, probes.due()), (2, due));
    }
}
