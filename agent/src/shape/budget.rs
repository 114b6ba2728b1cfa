//! Budgets: what may be used in a minute, an hour, a day and a month, and how a month is made to last.
//!
//! # Constraints
//! - Nothing ever exceeds what is limited. Events: what a request costs is set aside when it begins, and counts until it
//!   is known whether it did cost that. Bytes: what a request is *expected* to cost is set aside likewise, but whoever
//!   sends is also told how many bytes may still pass in all ([`Budgets::room`]), and the wire stops there
//!   (`shape::wire`, its ceiling): retransmissions, long answers, handshakes, name resolution and polls of the metadata
//!   service cannot pass it either. That a request is asked for with something to spare ([`Cost::spare`]) makes it a stop
//!   that is hardly ever met.
//! - A spent budget is no error: [`Budgets::ask`] refuses with a [`Reason`] and with when to ask again, no later than it
//!   would be permitted.
//! - A wrong clock never empties or refills a budget. Days and months turn over only when a trusted clock says so, and a jump
//!   of a trusted clock counts once it has stood for an hour (`reckoning`). A clock that is put back changes nothing. As
//!   long as no time is known, use counts against the last period known. Minutes and hours are measured by the uptime, in
//!   windows that slide.
//! - A power cut forgets no more than a minute or a hundredth of a budget, and of what is only counted no more than a minute:
//!   [`Budgets::notes`] says what is to be made durable and how urgent it is. Requests under way are noted as if they
//!   counted.
//!
//! # Who may have what
//! Of a day or a month a twentieth is kept for lanes that go first; the rest is the common part (`account`). A month is
//! *paced*: what is left of the common part is spread over what remains of the month, so that what an idle night left is
//! spread too. After idleness what an hour gives may go at once, and ten events or a hundredth of the bytes in any case.
//! Lanes that go first do not wait for the pace. Of a minute and an hour either side leaves the other a tenth, and one event at
//! the least; a minute of a single event ([`Budgets::is_single`]) belongs to lanes that go first while they have something.
//!
//! Pure: the time is an argument, what was noted is handed in, and notes are handed out.

mod account;
mod calendar;
mod figures;
mod reckoning;
mod sliding;

use serde::{Deserialize, Serialize};
use tidegate_protocol::terms::Kind;

use super::limits::Limits;
use crate::clock::Stamp;
use crate::language::Message;
use crate::message;
use account::{Account, Place, Told};
use calendar::Span;
use reckoning::Reckoning;
use sliding::Sliding;

pub use calendar::Calendar;
pub use figures::{Drain, Figures, Load};

/// Of a minute and an hour, one part in so many is left to the other class of lanes.
const OTHERS_PART: u64 = 10;

/// What was not noted for so long goes along with a commit that goes anyway.
const NOTE_ALONG_MS: u64 = 15_000;

/// What is not noted for so long is noted by itself: a quarter of a minute before the minute is over, for the commit.
const NOTE_ALONE_MS: u64 = 45_000;

/// A part of a budget that is not forgotten: one in so many.
const FORGET: u64 = 100;

/// A body takes at most one part in so many of the smallest budget of bytes, so that the last of it is of use.
const BODY_PART: u64 = 8;

/// But bodies are not made smaller than this for it: below, headers cost more than is gained.
pub const LEAST_BODY: u64 = 4 * 1024;

/// Which lanes ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Those that go first.
    First,
    /// All others.
    Other,
}

/// What a request is expected to cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Events of the account's quota.
    pub events: u64,
    /// Bytes on the wire, both directions.
    pub bytes: u64,
    /// Bytes that must be left besides, because the wire keeps them back for what cannot be foreseen.
    pub spare: u64,
}

/// Why nothing may leave now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The budget is used up.
    Spent,
    /// What is left is kept for lanes that go first.
    Reserved,
    /// What is left is kept for lanes that do not go first, and the reserve is used up for now.
    Share,
    /// What is left is spread over what remains of the month.
    Pace,
    /// The provider answered that the quota is spent. That lasts to the end of the month; one request a day asks whether it
    /// is still so, since more may have been bought.
    Told,
    /// The windows of lanes that can wait are closed.
    Window,
    /// Windows cannot be kept, because the time is not known.
    Clock,
    /// There is room for it, but it is kept for another lane of its class that was passed over long enough.
    Turn,
    /// One request alone is more than the limit ever allows.
    TooSmall,
}

impl Reason {
    /// It, for people.
    pub fn message(self) -> Message {
        match self {
            Self::Spent => message!("the budget is used up"),
            Self::Reserved => message!("what is left is kept for lanes that go first"),
            Self::Share => message!("what is left is kept for lanes that do not go first"),
            Self::Pace => message!("what is left is spread over what remains of the month"),
            Self::Told => message!("the provider says that the quota is used up"),
            Self::Window => message!("the windows are closed"),
            Self::Turn => message!("another lane waits longer for what there is"),
            Self::TooSmall => message!("the limit is less than one request takes"),
            Self::Clock => message!("the windows cannot be kept while the clock is not known to be right"),
        }
    }
}

/// A permit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which limit.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// In how many ms it will be permitted if nothing else is used and no limit changes; `None` if that is not known,
    /// because the time is not, or the provider must say so.
    pub wait_ms: Option<u64>,
}

/// A request that may be sent. It is handed back to [`Budgets::settle`]; one that never is counts as used.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    class: Class,
    cost: Cost,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Accepted,
    /// It left, and may have been counted.
    Counted,
    /// It did not leave, or was turned away before it could be counted.
    Free,
    /// It was turned away because the account's quota is used up.
    Quota,
}

/// What is made durable of one budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// [`Kind::key`] of its limit.
    pub kind: String,
    /// The day or month since 1970 that it is about; `None` before the time was ever known.
    pub period: Option<u64>,
    /// What was used in it, in the kind's unit.
    pub used: u64,
    /// What of it was used by lanes that go first.
    pub first: u64,
    /// The provider said that it is spent.
    pub told: bool,
}

/// How urgent it is to note what was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A commit goes anyway.
    Along,
    /// Only what may not wait.
    Alone,
    /// Everything that is limited: there is no later.
    Last,
}

/// A limit of a sliding window.
#[derive(Debug, Clone)]
struct Window {
    kind: Kind,
    amount: Option<u64>,
    all: Sliding,
    first: Sliding,
}

impl Window {
    const fn new(kind: Kind, width_ms: u64) -> Self {
        Self { kind, amount: None, all: Sliding::new(width_ms), first: Sliding::new(width_ms) }
    }

    fn ask(&mut self, class: Class, cost: u64, uptime_ms: u64) -> Result<(), Refused> {
        let Some(amount) = self.amount.filter(|_| cost > 0) else { return Ok(()) };
        let mine = self.part();
        // Of all for lanes that go first, what they have themselves; of the others what all have.
        let (all, own) = match class {
            Class::First => (amount, Some(mine)),
            Class::Other => (mine, None),
        };
        let wait = |window: &mut Sliding, limit: u64| {
            let Some(goal) = limit.checked_sub(cost) else { return Err(()) };
            Ok(window.wait(goal, uptime_ms))
        };
        let waits = (wait(&mut self.all, all), own.map_or(Ok(0), |own| wait(&mut self.first, own)));
        let wait_ms = match waits {
            (Ok(0), Ok(0)) => return Ok(()),
            (Ok(all), Ok(own)) => Some(all.max(own)),
            // One request alone is more than is ever permitted.
            _ => None,
        };
        let is_left = wait(&mut self.all, amount) == Ok(0);
        let reason = match class {
            _ if !is_left => Reason::Spent,
            Class::First => Reason::Share,
            Class::Other => Reason::Reserved,
        };
        Err(Refused { kind: self.kind, reason, wait_ms })
    }

    /// What of the rest is kept for lanes that go first.
    fn reserved(&mut self, uptime_ms: u64) -> u64 {
        let left = self.amount.unwrap_or(u64::MAX).saturating_sub(self.all.sum(uptime_ms));
        left.min(self.amount.map_or(0, |amount| amount - self.part()))
    }

    /// What may still be added now.
    fn room(&mut self, class: Class, uptime_ms: u64) -> Option<u64> {
        let amount = self.amount?;
        let limit = if class == Class::First { amount } else { self.part() };
        Some(limit.saturating_sub(self.all.sum(uptime_ms)))
    }

    /// What one class may have at most.
    fn part(&self) -> u64 {
        let amount = self.amount.unwrap_or(u64::MAX);
        amount - if amount > 1 { (amount / OTHERS_PART).max(1) } else { 0 }
    }

    fn add(&mut self, class: Class, amount: u64, uptime_ms: u64) {
        self.all.add(amount, uptime_ms);
        if class == Class::First {
            self.first.add(amount, uptime_ms);
        }
    }

    fn take_back(&mut self, class: Class, amount: u64) {
        self.all.take_back(amount);
        if class == Class::First {
            self.first.take_back(amount);
        }
    }
}

/// All budgets.
#[derive(Debug, Clone)]
pub struct Budgets {
    calendar: Calendar,
    time: Reckoning,
    accounts: [Account; 4],
    minute: Window,
    hour: Window,
    /// Bytes expected of requests under way that were not seen yet.
    expected: u64,
    /// Bytes of the hour as they were noted last, and since when something of them is not.
    hour_noted: u64,
    hour_unnoted: Option<u64>,
}

impl Budgets {
    /// Whether a minute has a single event: nothing of it can be kept for either class.
    pub fn is_single(&self) -> bool {
        self.minute.amount == Some(1)
    }

    /// What is limited by nothing yet ([`Budgets::limit`]), with what was noted before.
    pub fn new(calendar: Calendar, kept: &[Kept], now: &Stamp) -> Self {
        let at = now.uptime_ms;
        let account = |kind: Kind, span, paced| {
            let kept = kept.iter().find(|kept| kept.kind == kind.key());
            Account::new(kind, span, paced, kept, at)
        };
        let mut hour = Window::new(Kind::BytesPerHour, 60_000);
        // How long ago that was is not known: all of it as if just now.
        let noted = kept.iter().find(|kept| kept.kind == Kind::BytesPerHour.key()).map_or(0, |kept| kept.used);
        hour.add(Class::Other, noted, at);
        Self {
            calendar,
            time: Reckoning::default(),
            accounts: [
                account(Kind::EventsPerMonth, Span::Month, true),
                account(Kind::BytesPerMonth, Span::Month, true),
                account(Kind::BytesPerDay, Span::Day, false),
                account(Kind::EventsPerDay, Span::Day, false),
            ],
            minute: Window::new(Kind::EventsPerMinute, 1_000),
            hour,
            expected: 0,
            hour_noted: noted,
            hour_unnoted: None,
        }
    }

    /// Takes limits into use, this gateway's share of the account's month taken first. What was used stays used.
    pub fn limit(&mut self, limits: &Limits, now: &Stamp) {
        let days = [Kind::BytesPerDay, Kind::EventsPerDay].map(|kind| limits.number(kind));
        self.set([limits.events_per_month(), limits.bytes_per_month(), days[0], days[1]], now);
        self.minute.amount = limits.number(Kind::EventsPerMinute);
        self.hour.amount = limits.number(Kind::BytesPerHour);
    }

    /// Events a month, bytes a month, bytes a day, events a day.
    fn set(&mut self, amounts: [Option<u64>; 4], now: &Stamp) {
        let time = self.turn(now);
        for (account, amount) in self.accounts.iter_mut().zip(amounts) {
            let place = account.place(self.calendar, time, now.uptime_ms);
            account.set(amount, &place);
        }
    }

    /// Takes another calendar into use: with the next period.
    pub fn set_calendar(&mut self, calendar: Calendar) {
        self.calendar = calendar;
    }

    /// Turns over what has ended; says what time it is, if that is known.
    fn turn(&mut self, now: &Stamp) -> Option<u64> {
        let time = self.time.now(now);
        for account in &mut self.accounts {
            let before = account.period;
            account.turn(self.calendar, time);
            if account.period != before && (account.used > 0 || account.noted.used > 0) {
                account.touch(now.uptime_ms);
            }
        }
        time
    }

    fn places(&self, time: Option<u64>, now: &Stamp) -> [Place; 4] {
        self.accounts.each_ref().map(|account| account.place(self.calendar, time, now.uptime_ms))
    }

    /// What time it is for windows, in ms since the Unix epoch; `None` if it is not known.
    pub fn time(&mut self, now: &Stamp) -> Option<u64> {
        self.turn(now)
    }

    /// Whether a request may leave now.
    ///
    /// # Errors
    /// Why not, and when it may: of several limits that which lasts longest.
    pub fn ask(&mut self, class: Class, cost: Cost, now: &Stamp) -> Result<(), Refused> {
        if let Some((kind, _)) = self.never(class, cost) {
            return Err(Refused { kind, reason: Reason::TooSmall, wait_ms: None });
        }
        let time = self.turn(now);
        let places = self.places(time, now);
        let mut worst: Option<Refused> = None;
        let mut note = |refused: Refused| {
            let length = |refused: &Refused| refused.wait_ms.unwrap_or(u64::MAX);
            if worst.as_ref().is_none_or(|worst| length(worst) < length(&refused)) {
                worst = Some(refused);
            }
        };
        for (account, place) in self.accounts.iter().zip(&places) {
            let spare = if counts_events(account.kind) { 0 } else { cost.spare };
            if let Err((reason, wait_ms)) = account.ask(class, of(account.kind, cost), spare, place) {
                note(Refused { kind: account.kind, reason, wait_ms });
            }
        }
        if let Err(refused) = self.minute.ask(class, cost.events, now.uptime_ms) {
            note(refused);
        }
        let bytes = cost.bytes.saturating_add(cost.spare).saturating_add(self.expected);
        if let Err(refused) = self.hour.ask(class, bytes, now.uptime_ms) {
            note(refused);
        }
        worst.map_or(Ok(()), Err)
    }

    /// The limit that such a request can never keep, even if nothing else were used, and what that has for the class;
    /// `None` if there is none.
    pub fn never(&self, class: Class, cost: Cost) -> Option<(Kind, u64)> {
        let bytes = cost.bytes.saturating_add(cost.spare);
        let accounts = self.accounts.iter().filter(|account| !counts_events(account.kind));
        let accounts = accounts.filter_map(|account| Some((account.kind, account.most(class)?)));
        let hour = self.hour.amount.map(|_| (self.hour.kind, self.hour.part()));
        accounts.chain(hour).find(|(_, most)| bytes > *most)
    }

    /// Begins a request that [`Budgets::ask`] permits.
    ///
    /// # Errors
    /// As [`Budgets::ask`]; nothing is set aside then.
    pub fn take(&mut self, class: Class, cost: Cost, now: &Stamp) -> Result<Permit, Refused> {
        self.ask(class, cost, now)?;
        let time = self.turn(now);
        let places = self.places(time, now);
        for (account, place) in self.accounts.iter_mut().zip(&places) {
            account.take(class, of(account.kind, cost), place);
        }
        self.minute.add(class, cost.events, now.uptime_ms);
        self.expected = self.expected.saturating_add(cost.bytes);
        Ok(Permit { class, cost })
    }

    /// A request has ended. Its bytes are those that were seen ([`Budgets::count_bytes`]) before this.
    #[allow(clippy::needless_pass_by_value, reason = "a permit is used up")]
    pub fn settle(&mut self, permit: Permit, outcome: Outcome, now: &Stamp) {
        let Permit { class, cost } = permit;
        let time = self.turn(now);
        let places = self.places(time, now);
        let counts = matches!(outcome, Outcome::Accepted | Outcome::Counted);
        for (account, place) in self.accounts.iter_mut().zip(&places) {
            if counts_events(account.kind) {
                account.settle(class, cost.events, if counts { cost.events } else { 0 }, place);
            } else {
                // Its bytes were counted as they went.
                account.release(class, cost.bytes, place);
            }
            if account.kind == Kind::EventsPerMonth {
                match outcome {
                    Outcome::Accepted => account.told = None,
                    Outcome::Quota => account.told = Some(Told::At(now.uptime_ms)),
                    _ => {}
                }
            }
        }
        if !counts {
            self.minute.take_back(class, cost.events);
        }
        self.expected = self.expected.saturating_sub(cost.bytes);
    }

    /// So many bytes were seen on the wire, in both directions, whoever caused them. `class`: of the requests under way;
    /// [`Class::Other`] if there are both or none.
    pub fn count_bytes(&mut self, class: Class, bytes: u64, now: &Stamp) {
        if bytes == 0 {
            return;
        }
        let time = self.turn(now);
        let places = self.places(time, now);
        for (account, place) in self.accounts.iter_mut().zip(&places).filter(|(it, _)| !counts_events(it.kind)) {
            account.count_bytes(class, bytes, place);
        }
        self.hour.add(class, bytes, now.uptime_ms);
        self.hour_unnoted.get_or_insert(now.uptime_ms);
    }

    /// Bytes that may still pass now, whatever for, beyond those that were counted ([`Budgets::count_bytes`]); `None` for any
    /// number. As long as no more pass than this said last, no budget of bytes is exceeded: not in a day, not in a month,
    /// and not in any hour, since what was counted by then leaves the window later than it passed.
    pub fn room(&mut self, class: Class, now: &Stamp) -> Option<u64> {
        let time = self.turn(now);
        let places = self.places(time, now);
        let accounts = self.accounts.iter().zip(&places).filter(|(it, _)| !counts_events(it.kind));
        let room = accounts.filter_map(|(account, place)| account.room(class, place)).min();
        let hour = self.hour.room(class, now.uptime_ms);
        room.into_iter().chain(hour).min()
    }

    /// Someone who knows more says that it is worth asking again at once whether the quota is still used up.
    pub fn ask_again(&mut self) {
        for account in &mut self.accounts {
            account.told = account.told.map(|_| Told::AskNow);
        }
    }

    /// What is to be made durable now; handed out once.
    pub fn notes(&mut self, urgency: Urgency, now: &Stamp) -> Vec<Kept> {
        self.turn(now);
        let mut notes = Vec::new();
        let old = |since: Option<u64>, limit| since.is_some_and(|since| now.uptime_ms.saturating_sub(since) >= limit);
        for account in &mut self.accounts {
            let much = account.amount.is_some_and(|amount| account.forgotten() > amount / FORGET);
            // That the quota is used up is said once, and asking again may cost.
            let much = much || account.told.is_some() != account.noted.told;
            let due = account.unnoted.is_some()
                && account.is_shown()
                && match urgency {
                    // Where requests are rare, with the acknowledgement of each: no commit goes for it alone then.
                    Urgency::Along => much || account.noted_at.is_none() || old(account.noted_at, NOTE_ALONG_MS),
                    Urgency::Alone => much || old(account.unnoted, NOTE_ALONE_MS),
                    // What is only counted is worth no commit of its own before its time.
                    Urgency::Last => account.amount.is_some(),
                };
            let kept = account.kept();
            if due && kept != account.noted {
                account.noted = kept.clone();
                notes.push(kept);
            }
            if due {
                (account.unnoted, account.noted_at) = (None, Some(now.uptime_ms));
            }
        }
        notes.extend(self.note_hour(urgency, now));
        notes
    }

    fn note_hour(&mut self, urgency: Urgency, now: &Stamp) -> Option<Kept> {
        let (amount, since) = (self.hour.amount?, self.hour_unnoted?);
        let used = self.hour.all.sum(now.uptime_ms).saturating_add(self.expected);
        let much = used.saturating_sub(self.hour_noted) > amount / FORGET;
        let age = now.uptime_ms.saturating_sub(since);
        let due = match urgency {
            Urgency::Along => much || age >= NOTE_ALONG_MS,
            Urgency::Alone => much || age >= NOTE_ALONE_MS,
            Urgency::Last => true,
        };
        if !due {
            return None;
        }
        (self.hour_noted, self.hour_unnoted) = (used, None);
        Some(Kept { kind: Kind::BytesPerHour.key().into(), used, ..Kept::default() })
    }

    /// In how many ms something is to be noted by itself, if nothing more is used.
    pub fn note_in(&self, now: &Stamp) -> Option<u64> {
        let accounts = self.accounts.iter().filter(|account| account.is_shown()).filter_map(|it| it.unnoted);
        let first = accounts.chain(self.hour_unnoted.filter(|_| self.hour.amount.is_some())).min()?;
        Some((first + NOTE_ALONE_MS).saturating_sub(now.uptime_ms))
    }

    /// The most records that a request may carry if each counts as an event.
    pub fn most_events(&mut self, class: Class, now: &Stamp) -> u64 {
        let time = self.turn(now);
        let of = |account: &Account| match class {
            Class::First => account.left(),
            Class::Other => account.open(&account.place(self.calendar, time, now.uptime_ms)),
        };
        let left = self.accounts.iter().filter(|it| counts_events(it.kind)).map(of).min().unwrap_or(u64::MAX);
        // A burst's worth: more would wait for the pace as a whole.
        let minute = self.minute.amount.map_or(u64::MAX, |amount| amount - amount / OTHERS_PART);
        left.min(minute / 2).max(1)
    }

    /// The largest body that budgets of bytes have a use for.
    pub fn largest_body(&self) -> u64 {
        let days = self.accounts.iter().filter(|account| !counts_events(account.kind)).map(|it| it.amount);
        let smallest = days.chain([self.hour.amount]).flatten().min();
        smallest.map_or(u64::MAX, |amount| (amount / BODY_PART).max(LEAST_BODY))
    }

    /// The mean time between two requests that the month's pace gives, in ms; `None` if there is no pace.
    pub fn interval_ms(&mut self, now: &Stamp) -> Option<u64> {
        let time = self.turn(now);
        let month = &self.accounts[0];
        month.interval_ms(&month.place(self.calendar, time, now.uptime_ms))
    }
}

/// What of a cost an account counts.
fn of(kind: Kind, cost: Cost) -> u64 {
    if counts_events(kind) { cost.events } else { cost.bytes }
}

/// Whether an account counts events; the others count bytes.
fn counts_events(kind: Kind) -> bool {
    matches!(kind, Kind::EventsPerMonth | Kind::EventsPerDay)
}

#[cfg(test)]
mod tests;
