//! One budget of a day or a month: what was used, and what of the rest is open to whom now.
//!
//! ```text
//! 0 ── used ──┬───────────── left ──────────────┬── amount
//!             │  common part  │   reserve       │
//! ```
//! The *reserve* is a twentieth at the period's beginning and shrinks with what remains of it, so that it is used up by its
//! end. Lanes that do not go first take from the common part alone, at the pace at which it lasts. Those that go first take
//! from the common part without a pace, down to half of what the others' pace would have for the rest of the period;
//! below that they have the reserve, half of it at once and the rest evenly.

use super::calendar::{Calendar, Span};
use super::sliding::Sliding;
use super::{Class, Kept, Reason};
use tidegate_protocol::terms::Kind;

/// Of a budget one part in so many is kept for lanes that go first: 500 of 10,000 events, 16 alarms a day beside what the
/// common part gives them.
const RESERVE: u64 = 20;

/// Idleness earns what the pace gives in this time, and no more is taken at once: longer would send a night's backlog in
/// small requests in the morning, shorter would make a batch that is ready wait for nothing.
const IDLE_MS: u64 = 3_600_000;

/// Events that may always go at once: who installs a gateway and tries it out sees the first records arrive.
const LEAST_BURST_EVENTS: u64 = 10;

/// The same for bytes, as a part of the budget: one in so many.
const LEAST_BURST_BYTES: u64 = 100;

/// How long after the provider said that the quota is used up it is asked whether it still is. Apps do not execute for the
/// rest of the month then, and a question may cost: one a day is enough to notice that somebody bought more.
const ASK_AGAIN_MS: u64 = super::calendar::DAY_MS;

/// The reserve shrinks in so many steps at most: of a month's bytes one in 84 minutes, each a moment at which who waits looks
/// again. By single bytes it would be a thousand looks a second.
const RESERVE_STEPS: u64 = 512;

/// Parts of an event or a byte that credit is kept in: the pace of one event a month, 0.4 · 10⁻⁹ a millisecond, is still a
/// number of four digits.
const FINE: i128 = 1_000_000_000_000;

/// Fields are `amount`'s unit unless said otherwise.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) kind: Kind,
    pub(super) span: Span,
    /// What may be used in a period; `None` for any number: then it only counts.
    pub(super) amount: Option<u64>,
    /// Whether the common part is spread over the period.
    paced: bool,
    /// The last period known; `None` until the time was trusted once.
    pub(super) period: Option<u64>,
    pub(super) used: u64,
    /// Of it what lanes that go first have used.
    pub(super) first: u64,
    /// Of requests under way.
    pub(super) pending: u64,
    /// The provider says that it is spent.
    pub(super) told: Option<Told>,
    /// What the pace has for the common part at `credit_at`, in [`FINE`] parts; below 0 after more was taken than was there.
    credit: i128,
    credit_at: u64,
    /// The same of the reserve.
    reserve: i128,
    reserve_at: u64,
    /// As it was noted last.
    pub(super) noted: Kept,
    /// Since when, by the uptime, something is not noted.
    pub(super) unnoted: Option<u64>,
    /// When it was noted last.
    pub(super) noted_at: Option<u64>,
    /// What was used within a day, and since when that is counted.
    recent: Sliding,
    started: u64,
}

/// The provider says that it is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// At this uptime.
    At(u64),
    /// But somebody wants it to be asked now.
    AskNow,
}

/// Where in its period an account stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) uptime_ms: u64,
    /// Length of the period, and what remains of it, in ms. Without a trusted time all of the longest there is: that is never too
    /// fast.
    length: u64,
    remaining: u64,
    /// When the period ends, ms since the Unix epoch, if that is known.
    pub(super) ends_ms: Option<u64>,
}

impl Account {
    /// `kept`: what was noted of it before.
    pub(super) fn new(kind: Kind, span: Span, paced: bool, kept: Option<&Kept>, uptime_ms: u64) -> Self {
        let empty = Kept { kind: kind.key().into(), ..Kept::default() };
        let noted = kept.cloned().unwrap_or(empty);
        Self {
            kind,
            span,
            amount: None,
            paced,
            period: noted.period,
            used: noted.used,
            first: noted.first,
            pending: 0,
            // A start is no reason to ask: it may be one of many.
            told: noted.told.then_some(Told::At(uptime_ms)),
            credit: 0,
            credit_at: uptime_ms,
            reserve: 0,
            reserve_at: uptime_ms,
            noted,
            unnoted: None,
            noted_at: None,
            recent: Sliding::new(super::calendar::DAY_MS / 60),
            started: uptime_ms,
        }
    }

    /// Takes another amount; what was used stays used. The first one opens what the pace has by then.
    pub(super) fn set(&mut self, amount: Option<u64>, place: &Place) {
        if self.amount == amount {
            return;
        }
        self.amount = amount;
        let at = place.uptime_ms;
        // Not more than the pace would have by now, but for the burst: a start over and over earns nothing.
        let elapsed = place.length - place.remaining;
        let line = scaled(self.common(), elapsed, place.length);
        let others = self.used.saturating_sub(self.first);
        let burst = self.burst(place);
        let open = (fine(line) - fine(others) + burst).clamp(0, burst);
        (self.credit, self.credit_at) = (open, at);
        (self.reserve, self.reserve_at) = (self.reserve_burst(), at);
    }

    /// Moves to the period of `now`, if that is known; says whether a new one begins.
    pub(super) fn turn(&mut self, calendar: Calendar, now: Option<u64>) -> bool {
        let Some(now) = now else { return false };
        let number = self.span.at(calendar, now);
        match self.period {
            Some(known) if number > known => {
                (self.period, self.used, self.first, self.told) = (Some(number), 0, 0, None);
                true
            }
            // A period that lies further ahead than a clock's step at a boundary was never: an earlier run was told a wrong
            // time. What was used since counts now.
            Some(known) if number + 1 < known => {
                self.period = Some(number);
                false
            }
            Some(_) => false,
            // What was used before the time was known counts as used in this period.
            None => {
                self.period = Some(number);
                false
            }
        }
    }

    /// Where in its period it stands.
    pub(super) fn place(&self, calendar: Calendar, now: Option<u64>, uptime_ms: u64) -> Place {
        let longest = self.span.longest_ms();
        let known = now.zip(self.period);
        let (length, remaining, ends_ms) = known.map_or((longest, longest, None), |(now, period)| {
            let (begin, end) = self.span.bounds(calendar, period);
            let length = end - begin;
            // A clock that was put back before the period's beginning leaves all of it.
            (length, end.saturating_sub(now).clamp(1, length), Some(end))
        });
        Place { uptime_ms, length, remaining, ends_ms }
    }

    /// Whether anyone wants to know of it: what is limited, and the month's use in any case.
    pub(super) fn is_shown(&self) -> bool {
        self.amount.is_some() || self.span == Span::Month
    }

    /// What is not used.
    pub(super) fn left(&self) -> u64 {
        self.amount.unwrap_or(u64::MAX).saturating_sub(self.used).saturating_sub(self.pending)
    }

    /// The whole reserve.
    fn whole_reserve(&self) -> u64 {
        match self.amount {
            None | Some(0 | 1) => 0,
            Some(amount) => (amount / RESERVE).max(1),
        }
    }

    fn common(&self) -> u64 {
        self.amount.map_or(0, |amount| amount - self.whole_reserve())
    }

    /// What of the reserve is still kept.
    pub(super) fn floor(&self, place: &Place) -> u64 {
        let kept = u128::from(self.whole_reserve()) * u128::from(self.step(place));
        kept.div_ceil(u128::from(self.steps())) as u64
    }

    /// Steps in which the reserve shrinks.
    fn steps(&self) -> u64 {
        self.whole_reserve().clamp(1, RESERVE_STEPS)
    }

    /// Steps that are still to come.
    fn step(&self, place: &Place) -> u64 {
        let steps = u128::from(self.steps()) * u128::from(place.remaining);
        steps.div_ceil(u128::from(place.length)) as u64
    }

    /// In how many ms no more than so many steps are to come.
    fn until_step(&self, step: u64, place: &Place) -> u64 {
        let then = u128::from(step.min(self.steps())) * u128::from(place.length) / u128::from(self.steps());
        place.remaining.saturating_sub(then as u64)
    }

    /// What of the common part lanes that do not go first may still have.
    pub(super) fn open(&self, place: &Place) -> u64 {
        self.left().saturating_sub(self.floor(place))
    }

    /// Down to here lanes that go first take from the common part.
    fn fair(&self, place: &Place) -> u64 {
        let kept = u128::from(self.whole_reserve() + self.common() / 2) * u128::from(place.remaining);
        kept.div_ceil(u128::from(place.length)) as u64
    }

    /// The most that may go at once, in [`FINE`] parts.
    fn burst(&self, place: &Place) -> i128 {
        let paced = scaled(self.open(place), IDLE_MS.min(place.remaining), place.remaining);
        let least = match self.kind {
            Kind::EventsPerMonth | Kind::EventsPerDay => LEAST_BURST_EVENTS,
            _ => self.amount.unwrap_or(0) / LEAST_BURST_BYTES,
        };
        fine(paced.max(least))
    }

    fn reserve_burst(&self) -> i128 {
        fine((self.whole_reserve() / 2).max(1))
    }

    fn credit(&self, place: &Place) -> i128 {
        let passed = place.uptime_ms.saturating_sub(self.credit_at);
        let earned = fine(self.open(place)) * i128::from(passed) / i128::from(place.remaining);
        (self.credit + earned).min(self.burst(place))
    }

    fn reserve(&self, place: &Place) -> i128 {
        let passed = place.uptime_ms.saturating_sub(self.reserve_at);
        let earned = fine(self.whole_reserve()) * i128::from(passed) / i128::from(place.length);
        (self.reserve + earned).min(self.reserve_burst())
    }

    /// What a class may have at most, in one request, at the period's beginning; `None` for any amount.
    pub(super) fn most(&self, class: Class) -> Option<u64> {
        let amount = self.amount?;
        Some(if class == Class::First { amount } else { self.common() })
    }

    /// Whether so much may be used now; if not, why, and in how many ms it may if nothing else changes (`None`: not before
    /// the time is known).
    pub(super) fn ask(&self, class: Class, cost: u64, spare: u64, place: &Place) -> Result<(), (Reason, Option<u64>)> {
        if cost == 0 {
            return Ok(());
        }
        if let Some(told) = self.told {
            return self.ask_told(told, place);
        }
        if self.amount.is_none() {
            return Ok(());
        }
        // What is to spare is not used: it must be there, and counts for nothing else.
        let Some(left) = self.left().checked_sub(spare).filter(|left| cost <= *left) else {
            return Err((Reason::Spent, place.ends_ms.map(|_| place.remaining)));
        };
        match class {
            Class::First => self.ask_first(cost, left, place),
            Class::Other => self.ask_other(cost, left, place),
        }
    }

    /// One request asks whether it is still spent, and if it is, the next one a day later. At the end of the period
    /// it is not.
    fn ask_told(&self, told: Told, place: &Place) -> Result<(), (Reason, Option<u64>)> {
        let ends = place.ends_ms.map_or(u64::MAX, |_| place.remaining);
        let wait = match told {
            Told::AskNow => 0,
            Told::At(at) => (at + ASK_AGAIN_MS).saturating_sub(place.uptime_ms),
        };
        match wait {
            0 if self.pending == 0 => Ok(()),
            0 => Err((Reason::Told, None)),
            wait => Err((Reason::Told, Some(wait.min(ends)))),
        }
    }

    /// Bytes that may still be used, whatever for.
    pub(super) fn room(&self, class: Class, place: &Place) -> Option<u64> {
        let left = self.amount?.saturating_sub(self.used);
        Some(if class == Class::First { left } else { left.saturating_sub(self.floor(place)) })
    }

    fn ask_first(&self, cost: u64, left: u64, place: &Place) -> Result<(), (Reason, Option<u64>)> {
        let reserve = self.reserve(place);
        let need = fine(cost).min(self.reserve_burst());
        if left - cost >= self.fair(place) || reserve >= need {
            return Ok(());
        }
        let rate = fine(self.whole_reserve());
        if rate == 0 {
            return Err((Reason::Spent, place.ends_ms.map(|_| place.remaining)));
        }
        // When the reserve has it, or when what is the others' share of the common part has shrunk so far.
        let passed = place.uptime_ms.saturating_sub(self.reserve_at);
        let refilled = up((need - self.reserve) * i128::from(place.length), rate).saturating_sub(passed);
        let shrunk = place.ends_ms.map(|_| {
            let whole = u128::from(self.whole_reserve() + self.common() / 2);
            let enough = u128::from(left - cost) * u128::from(place.length) / whole.max(1);
            place.remaining.saturating_sub(enough.min(u128::from(u64::MAX)) as u64)
        });
        Err((Reason::Share, Some(shrunk.map_or(refilled, |shrunk| shrunk.min(refilled)))))
    }

    fn ask_other(&self, cost: u64, left: u64, place: &Place) -> Result<(), (Reason, Option<u64>)> {
        let open = left.saturating_sub(self.floor(place));
        if cost > open {
            // The reserve shrinks with what remains of the period.
            let enough = u128::from(left - cost) * u128::from(self.steps()) / u128::from(self.whole_reserve().max(1));
            let wait = self.until_step(enough.min(u128::from(u64::MAX)) as u64, place);
            return Err((Reason::Reserved, place.ends_ms.map(|_| wait)));
        }
        let credit = self.credit(place);
        let need = fine(cost).min(self.burst(place));
        if !self.paced || credit >= need {
            return Ok(());
        }
        // As the reserve shrinks, the pace rises.
        let wait = self.wait(need, open, place);
        let rises = place.ends_ms.and_then(|_| self.floor_shrinks_in(place));
        Err((Reason::Pace, Some(rises.map_or(wait, |rises| rises.min(wait)))))
    }

    /// In how many ms the reserve that is kept is less by a step.
    fn floor_shrinks_in(&self, place: &Place) -> Option<u64> {
        Some(self.until_step(self.step(place).checked_sub(1)?, place).max(1))
    }

    /// In how many ms the pace gives what is needed. What it gives rises as the period shrinks, if its end is known.
    fn wait(&self, need: i128, open: u64, place: &Place) -> u64 {
        let passed = place.uptime_ms.saturating_sub(self.credit_at);
        let (open, remaining, lacking) = (fine(open), i128::from(place.remaining), need - self.credit);
        if place.ends_ms.is_none() {
            return up(lacking * remaining, open).saturating_sub(passed);
        }
        // credit + open · (passed + wait) / (remaining − wait) = need, where credit is that of `credit_at`.
        up(lacking * remaining - open * i128::from(passed), open + lacking)
    }

    /// Begins a request.
    pub(super) fn take(&mut self, class: Class, cost: u64, place: &Place) {
        self.touch(place.uptime_ms);
        if self.amount.is_some() && self.told.is_none() {
            match class {
                Class::Other => {
                    (self.credit, self.credit_at) = (self.credit(place) - fine(cost), place.uptime_ms);
                }
                Class::First if self.left().saturating_sub(cost) < self.fair(place) => {
                    (self.reserve, self.reserve_at) = (self.reserve(place) - fine(cost), place.uptime_ms);
                }
                Class::First => {}
            }
        }
        self.pending = self.pending.saturating_add(cost);
    }

    /// A request has ended that was begun with this cost, of which so much counts.
    pub(super) fn settle(&mut self, class: Class, cost: u64, counts: u64, place: &Place) {
        self.touch(place.uptime_ms);
        self.pending = self.pending.saturating_sub(cost);
        if class == Class::Other && counts < cost && self.amount.is_some() && self.told.is_none() {
            self.credit += fine(cost - counts);
        }
        self.count(class, counts, place.uptime_ms);
    }

    /// So much was used.
    pub(super) fn count(&mut self, class: Class, amount: u64, uptime_ms: u64) {
        if amount == 0 {
            return;
        }
        self.touch(uptime_ms);
        self.used = self.used.saturating_add(amount);
        if class == Class::First {
            self.first = self.first.saturating_add(amount).min(self.used);
        }
        self.recent.add(amount, uptime_ms);
    }

    /// Bytes were used: it is these that the pace has to bear, not what was expected.
    pub(super) fn count_bytes(&mut self, class: Class, bytes: u64, place: &Place) {
        self.bear(class, -fine(bytes), place);
        self.count(class, bytes, place.uptime_ms);
    }

    /// A request has ended whose bytes were counted already: what was expected of it is given back to the pace.
    pub(super) fn release(&mut self, class: Class, cost: u64, place: &Place) {
        self.touch(place.uptime_ms);
        self.pending = self.pending.saturating_sub(cost);
        self.bear(class, fine(cost), place);
    }

    /// Adds to the credit that a class draws on.
    fn bear(&mut self, class: Class, amount: i128, place: &Place) {
        match class {
            _ if self.amount.is_none() => {}
            Class::Other => (self.credit, self.credit_at) = (self.credit(place) + amount, place.uptime_ms),
            Class::First if self.left() < self.fair(place) => {
                (self.reserve, self.reserve_at) = (self.reserve(place) + amount, place.uptime_ms);
            }
            Class::First => {}
        }
    }

    /// Something of it is not noted.
    pub(super) fn touch(&mut self, uptime_ms: u64) {
        self.unnoted.get_or_insert(uptime_ms);
    }

    /// As it is to be noted: what is under way counts as used, for whoever starts after a power cut.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            kind: self.kind.key().into(),
            period: self.period,
            used: self.used.saturating_add(self.pending),
            first: self.first,
            told: self.told.is_some(),
        }
    }

    /// What would be forgotten now.
    pub(super) fn forgotten(&self) -> u64 {
        let noted = if self.noted.period == self.period { self.noted.used } else { 0 };
        (self.used + self.pending).saturating_sub(noted)
    }

    /// What is used in a day at the present pace: that of the last day, or of as long as it is known.
    pub(super) fn a_day(&mut self, uptime_ms: u64) -> u64 {
        let known = uptime_ms.saturating_sub(self.started).clamp(IDLE_MS, super::calendar::DAY_MS);
        scaled(self.recent.sum(uptime_ms), super::calendar::DAY_MS, known)
    }

    /// The mean time between two events at the pace, in ms, if it is paced and has any.
    pub(super) fn interval_ms(&self, place: &Place) -> Option<u64> {
        let open = self.open(place);
        (self.paced && self.amount.is_some() && open > 0).then(|| place.remaining / open)
    }

    /// How long so much takes at the pace, beyond what may go at once, in ms; `None` if the period has not so much.
    pub(super) fn time_for(&self, amount: u64, place: &Place) -> Option<u64> {
        if self.amount.is_none() {
            return Some(0);
        }
        let open = self.open(place);
        if amount > open || open == 0 {
            return None;
        }
        let missing = fine(amount) - self.credit(place);
        Some(if self.paced && missing > 0 { up(missing * i128::from(place.remaining), fine(open)) } else { 0 })
    }
}

fn fine(amount: u64) -> i128 {
    i128::from(amount) * FINE
}

/// `amount · part / whole`, rounded down.
fn scaled(amount: u64, part: u64, whole: u64) -> u64 {
    (u128::from(amount) * u128::from(part) / u128::from(whole.max(1))).min(u128::from(u64::MAX)) as u64
}

/// A quotient of what is not negative, rounded up to the next whole.
fn up(above: i128, below: i128) -> u64 {
    let (above, below) = (above.max(0), below.max(1));
    u64::try_from((above + below - 1) / below).unwrap_or(u64::MAX)
}
