//! What time it is for windows, and how much time has passed for everything else.
//!
//! There are two lines of time, and a third that serves the status page alone, because a gateway without a clock battery
//! can know the one and not the other:
//! - the *date*, in ms since the Unix epoch, for windows that the provider names. It is known while the gateway's clock is
//!   trusted, or once the provider said it in this boot (carried on by the uptime). Otherwise it is an estimate that is never
//!   ahead of the truth: what was known or told last, and the uptime since. So a window that was open when the power went
//!   is counted on by uptime, and stays open for at most its own length; one that has not begun by the estimate has not begun.
//! - *steady* time, in ms, for intervals: it only goes on, by the uptime, and no clock that is set makes it jump. Time in
//!   which the gateway was off is added once both sides of it are dated, [`MOST_OFF_MS`] at most.
//! - the *page's date*, for what the status page announces, while the date is not known. Over TLS the page says what time it
//!   is for everything. Over plain HTTP its `Date` proves nothing, so it sets no clock and dates no notice, no end and no
//!   quota; but it does date the windows of that same page, relative to itself: who forges the date can as well forge the
//!   windows, and gains nothing. It is carried on by steady time and kept over restarts. A page that says no date is taken
//!   to speak no earlier than what it says to be under way has begun. So a window that was read lasts for its own length by
//!   uptime at most, whether or not the page is ever read again.
//!
//! A trusted clock that jumps is believed once the jump has stood for an hour, as budgets do.

use serde::{Deserialize, Serialize};

use crate::clock::{EARLIEST_MS, Stamp, difference};

/// The latest date that is reckoned with (the end of the year 9999).
pub(super) const LATEST_MS: u64 = 253_402_300_799_999;

/// An uptime is no more than this ([`Stamp::uptime_ms`]): one that goes beyond stands still.
const LONGEST_UPTIME_MS: u64 = 1 << 48;

/// Steady time ends with this, which four boots of that length come to: beyond it stands still.
const LONGEST_STEADY_MS: u64 = 1 << 50;

/// A clock that is set by no more than this is followed at once: time services step by seconds.
const STEP_MS: u64 = 600_000;

/// A larger jump is believed once it has stood for so long: a time service has then asked its server again.
const BELIEVED_AFTER_MS: u64 = 3_600_000;

/// Of the time in which the gateway was off, so much counts: the longest interval between probes as they are usually
/// set. A clock that was wrong for a while then hastens one probe, and no more.
const MOST_OFF_MS: u64 = 86_400_000;

/// An uptime that is less by so much than one seen before is another boot's, where boots have no ids.
const ANOTHER_BOOT_MS: u64 = 60_000;

/// Both lines of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Time {
    boot: u32,
    /// The latest seen in this boot.
    uptime: u64,
    /// At that uptime.
    steady: u64,
    /// The date is no earlier, at that uptime.
    date: u64,
    /// The date less the uptime, once it is known in this boot.
    offset: Option<i64>,
    /// It is the provider's, not the clock's.
    told: bool,
    /// Another offset that the clock shows, and the uptime since when.
    doubt: Option<(i64, u64)>,
    /// The date was known in an earlier boot, and not yet in this one: what it is ahead by then is time off.
    resumed: bool,
    /// The status page's date, and the steady time at which that was said.
    page: Option<(u64, u64)>,
}

/// A moment, on all lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Ms since the Unix epoch; no later than it is.
    pub(super) date: u64,
    /// It is known.
    pub(super) known: bool,
    /// Ms that only go on.
    pub(super) steady: u64,
    /// The date for what the status page announces: the same once the date is known, else no earlier than it.
    pub(super) page: u64,
}

impl Time {
    /// Takes in what the clocks show. Says whether the system was booted since.
    pub(super) fn note(&mut self, now: &Stamp) -> bool {
        let now = Stamp { uptime_ms: now.uptime_ms.min(LONGEST_UPTIME_MS), ..*now };
        let back = self.uptime.saturating_sub(now.uptime_ms) > ANOTHER_BOOT_MS;
        let booted = self.boot != now.boot || back;
        if booted {
            let known = self.offset.is_some() || self.resumed;
            *self = Self { boot: now.boot, uptime: 0, offset: None, told: false, doubt: None, resumed: known, ..*self };
        }
        let passed = now.uptime_ms.saturating_sub(self.uptime);
        self.uptime = self.uptime.max(now.uptime_ms);
        self.go_on(passed);
        self.date = self.date.saturating_add(passed).min(LATEST_MS);
        let shown = difference(now.wall_ms.min(LATEST_MS), now.uptime_ms);
        if now.trusted && self.is_believed(shown, now.uptime_ms) {
            (self.offset, self.told, self.doubt) = (Some(shown), false, None);
        }
        self.follow();
        booted
    }

    /// The provider says what time it is: used while the gateway's own clock is not trusted.
    pub(super) fn told(&mut self, date: u64, now: &Stamp) {
        self.note(now);
        let own = self.offset.is_some() && !self.told;
        if !own && (EARLIEST_MS..=LATEST_MS).contains(&date) {
            (self.offset, self.told, self.doubt) = (Some(difference(date, self.uptime)), true, None);
            self.follow();
        }
    }

    /// It is no earlier than `date`: something was issued then. Of use only while nothing better is known.
    pub(super) fn at_least(&mut self, date: u64) {
        if self.offset.is_none() && date > self.date && date <= LATEST_MS {
            // That says nothing of how long the gateway was off.
            (self.date, self.resumed) = (date, false);
        }
    }

    /// The status page was read, and said what time it is: what it announces is dated by that while the date is not known. Says whether it can be
    /// a date.
    pub(super) fn page_said(&mut self, date: u64) -> bool {
        let sane = (EARLIEST_MS..=LATEST_MS).contains(&date);
        if sane {
            self.page = Some((date, self.steady));
        }
        sane
    }

    /// By the status page's word it is no earlier, as something has begun. Of use only where it said no date.
    pub(super) fn page_at_least(&mut self, date: u64) {
        if date > self.moment().page && date <= LATEST_MS {
            self.page = Some((date, self.steady));
        }
    }

    fn is_believed(&mut self, shown: i64, uptime: u64) -> bool {
        let Some(known) = self.offset.filter(|_| !self.told) else { return true };
        if known.abs_diff(shown) <= STEP_MS {
            return true;
        }
        match self.doubt {
            Some((doubt, since)) if doubt.abs_diff(shown) <= STEP_MS => {
                uptime.saturating_sub(since) >= BELIEVED_AFTER_MS
            }
            _ => {
                self.doubt = Some((shown, uptime));
                false
            }
        }
    }

    /// Dates by the offset, where there is one.
    fn follow(&mut self) {
        let Some(offset) = self.offset else { return };
        let known = self.uptime.saturating_add_signed(offset).min(LATEST_MS);
        if std::mem::take(&mut self.resumed) {
            self.go_on(known.saturating_sub(self.date).min(MOST_OFF_MS));
        }
        self.date = known;
    }

    fn go_on(&mut self, steady: u64) {
        self.steady = self.steady.saturating_add(steady).min(LONGEST_STEADY_MS);
    }

    /// The moment that was noted last.
    pub(super) fn moment(&self) -> Moment {
        let known = self.offset.is_some();
        let carried =
            |(date, steady): (u64, u64)| date.saturating_add(self.steady.saturating_sub(steady)).min(LATEST_MS);
        // What is known of the date by others is no later than it is, so neither is the page's.
        let page = self.page.filter(|_| !known).map_or(self.date, |page| carried(page).max(self.date));
        Moment { date: self.date, known, steady: self.steady, page }
    }

    /// Within bounds, whatever it was read from.
    pub(super) fn within_bounds(mut self) -> Self {
        self.uptime = self.uptime.min(LONGEST_UPTIME_MS);
        self.steady = self.steady.min(LONGEST_STEADY_MS);
        self.date = self.date.min(LATEST_MS);
        // A date less an uptime, of which either may be the larger.
        let sane = |offset: &i64| offset.unsigned_abs() <= LONGEST_UPTIME_MS.max(LATEST_MS);
        self.offset = self.offset.filter(sane);
        self.doubt = self.doubt.filter(|(offset, _)| sane(offset));
        self.page = self.page.map(|(date, steady)| (date.min(LATEST_MS), steady.min(self.steady)));
        self
    }
}

impl Moment {
    /// Which date a steady time is or was.
    pub(super) fn date_of(&self, steady: u64) -> u64 {
        (self.date.saturating_add(steady).saturating_sub(self.steady)).min(LATEST_MS)
    }

    /// Which steady time a date is or was.
    pub(super) fn steady_of(&self, date: u64) -> u64 {
        self.steady.saturating_add(date).saturating_sub(self.date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn stamp(wall_ms: u64, uptime_ms: u64, boot: u32, trusted: bool) -> Stamp {
        Stamp { wall_ms, uptime_ms, boot, trusted }
    }

    fn moment(date: u64, known: bool, steady: u64) -> Moment {
        Moment { date, known, steady, page: date }
    }

    fn after(stamps: &[Stamp]) -> Moment {
        let mut time = Time::default();
        for stamp in stamps {
            time.note(stamp);
        }
        time.moment()
    }

    #[test]
    fn an_untrusted_clock_dates_nothing_and_the_uptime_carries_on_what_is_known() {
        assert_eq!(after(&[stamp(NOW, 5_000, 1, false)]), moment(5_000, false, 5_000));
        let known = after(&[stamp(NOW, 5_000, 1, true), stamp(77, 9_000, 1, false)]);
        assert_eq!(known, moment(NOW + 4_000, true, 9_000));
    }

    #[test]
    fn after_a_power_cut_the_date_is_no_later_than_it_is_and_time_off_counts_once_it_is_dated() {
        let before = stamp(NOW, HOUR, 1, true);
        let estimate = after(&[before, stamp(0, 10_000, 2, false)]);
        assert_eq!(estimate, moment(NOW + 10_000, false, HOUR + 10_000));
        let dated = after(&[before, stamp(0, 10_000, 2, false), stamp(NOW + 5 * HOUR, 20_000, 2, true)]);
        assert_eq!(dated, moment(NOW + 5 * HOUR, true, 6 * HOUR));
        let far = after(&[before, stamp(NOW + 9_999 * HOUR, 0, 2, true)]);
        assert_eq!(far.steady, HOUR + MOST_OFF_MS);
    }

    #[test]
    fn what_the_provider_says_dates_until_the_own_clock_is_trusted() {
        let mut time = Time::default();
        time.told(NOW, &stamp(0, 1_000, 1, false));
        assert_eq!(time.moment().date, NOW);
        time.told(3, &stamp(0, 2_000, 1, false));
        assert_eq!(time.moment().date, NOW + 1_000, "no date that a server means");
        time.note(&stamp(NOW + 3 * HOUR, 3_000, 1, true));
        assert_eq!(time.moment().date, NOW + 3 * HOUR, "the clock's word replaces the provider's at once");
        time.told(NOW, &stamp(NOW + 3 * HOUR + 1_000, 4_000, 1, true));
        assert_eq!(time.moment().date, NOW + 3 * HOUR + 1_000);
    }

    #[test]
    fn a_jump_of_a_trusted_clock_counts_once_it_has_stood_for_an_hour_and_steady_time_never_jumps() {
        let year = 8_766 * HOUR;
        let (mut time, start) = (Time::default(), stamp(NOW, 0, 1, true));
        time.note(&start);
        time.note(&stamp(NOW + year, 1_000, 1, true));
        assert_eq!(time.moment().date, NOW + 1_000);
        time.note(&stamp(NOW + year + HOUR, HOUR + 1_000, 1, true));
        assert_eq!(time.moment(), moment(NOW + year + HOUR, true, HOUR + 1_000));
    }

    #[test]
    fn what_was_issued_is_no_later_than_now_and_says_nothing_of_time_off() {
        let mut time = Time::default();
        time.note(&stamp(0, 1_000, 1, false));
        time.at_least(NOW);
        time.at_least(NOW - HOUR);
        assert_eq!(time.moment(), moment(NOW, false, 1_000));
        time.note(&stamp(NOW + 5 * HOUR, 2_000, 1, true));
        assert_eq!(time.moment().steady, 2_000);
    }

    #[test]
    fn what_any_stamp_leaves_is_within_bounds_and_comes_back_as_it_was() {
        // What fuzzing found: with an uptime of nearly 2^48 ms the date less the uptime is beyond any date.
        // Beyond its bound the uptime, and then steady time, stands still.
        for uptime in [0, 60_000, (1 << 48) - 1, u64::MAX] {
            for wall in [0, NOW, LATEST_MS, u64::MAX] {
                let mut time = Time::default();
                time.note(&stamp(wall, uptime, 1, true));
                assert_eq!(time.within_bounds(), time, "{wall} at {uptime}");
                for boot in 2..8 {
                    time.note(&stamp(wall, uptime, boot, true));
                    assert_eq!(time.within_bounds(), time, "{wall} at {uptime} of boot {boot}");
                }
            }
        }
    }

    #[test]
    fn a_page_dates_what_it_announces_while_nobody_else_dates_it_and_nothing_else() {
        let mut time = Time::default();
        time.note(&stamp(0, 1_000, 1, false));
        time.page_at_least(NOW - HOUR);
        assert_eq!(time.moment(), Moment { page: NOW - HOUR, ..moment(1_000, false, 1_000) });
        assert!(time.page_said(NOW) && !time.page_said(77));
        time.page_at_least(NOW - HOUR);
        time.note(&stamp(0, 5_000, 1, false));
        assert_eq!(time.moment(), Moment { page: NOW + 4_000, ..moment(5_000, false, 5_000) });
        // Another boot: by its uptime.
        time.note(&stamp(0, 3_000, 2, false));
        assert_eq!(time.moment(), Moment { page: NOW + 7_000, ..moment(8_000, false, 8_000) });
        time.at_least(NOW + HOUR);
        assert_eq!(time.moment().page, NOW + HOUR, "a signed notice was issued later");
        time.note(&stamp(NOW + 9 * HOUR, 4_000, 2, true));
        assert_eq!(time.moment(), moment(NOW + 9 * HOUR, true, 9_000));
    }

    #[test]
    fn boots_without_ids_are_told_by_their_uptime() {
        let later = after(&[stamp(NOW, HOUR, 0, true), stamp(0, 5_000, 0, false)]);
        assert_eq!(later, moment(NOW + 5_000, false, HOUR + 5_000));
    }
}
