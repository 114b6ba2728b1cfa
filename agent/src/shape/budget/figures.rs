//! What budgets look like to people, and what draining a backlog will cost.

use tidegate_protocol::terms::Kind;

use super::{Budgets, Stamp};

/// One budget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// [`Kind::key`] of its limit.
    pub kind: &'static str,
    /// What may be used; `None` for any number.
    pub amount: Option<u64>,
    /// What was used, in the kind's unit, what is under way included.
    pub used: u64,
    /// What of the rest is kept for lanes that go first.
    pub reserved: u64,
    /// When the period ends (ms since the Unix epoch); `None` if that is not known, or if it is a window that slides.
    pub ends_ms: Option<u64>,
    /// When it is used up at the present pace (ms since the Unix epoch), if that is before its end.
    pub runs_out_ms: Option<u64>,
    /// The provider says that it is used up.
    pub told: bool,
}

impl Figures {
    /// What is not used; `None` for any number.
    pub fn left(&self) -> Option<u64> {
        Some(self.amount?.saturating_sub(self.used))
    }
}

/// A backlog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Records.
    pub records: u64,
    /// Events that they make.
    pub events: u64,
    /// Bytes on the wire, both directions.
    pub bytes: u64,
}

/// What draining a backlog will cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drain {
    /// What is to be sent.
    pub load: Load,
    /// What of the month that is, in thousandths of the tightest of its budgets; `None` if it has none.
    pub share: Option<u64>,
    /// How long it takes if nothing else is sent, in ms; `None` if the month has not so much, or it cannot be known.
    pub time_ms: Option<u64>,
}

impl Budgets {
    /// How each budget stands: those that are limited, and the month's use in any case.
    pub fn figures(&mut self, now: &Stamp) -> Vec<Figures> {
        let time = self.turn(now);
        let places = self.places(time, now);
        let mut all = Vec::new();
        for (account, place) in self.accounts.iter_mut().zip(&places) {
            if !account.is_shown() {
                continue;
            }
            let a_day = account.a_day(now.uptime_ms);
            let runs_out = account.amount.zip(time).filter(|_| a_day > 0).map(|(_, time)| {
                let wait = u128::from(account.left()) * u128::from(super::calendar::DAY_MS) / u128::from(a_day);
                time.saturating_add(wait.min(u128::from(u64::MAX)) as u64)
            });
            all.push(Figures {
                kind: account.kind.key(),
                amount: account.amount,
                used: account.used + account.pending,
                reserved: account.floor(place).min(account.left()),
                ends_ms: place.ends_ms,
                runs_out_ms: runs_out.filter(|at| place.ends_ms.is_some_and(|end| *at < end)),
                told: account.told.is_some(),
            });
        }
        for window in [&mut self.minute, &mut self.hour] {
            if window.amount.is_some() {
                let used = window.all.sum(now.uptime_ms);
                let (kind, reserved) = (window.kind.key(), window.reserved(now.uptime_ms));
                all.push(Figures { kind, amount: window.amount, used, reserved, ..Figures::default() });
            }
        }
        all
    }

    /// What it will cost to send this, at most so many bytes a second (`None`: any number).
    pub fn drain(&mut self, load: Load, bytes_per_second: Option<u64>, now: &Stamp) -> Drain {
        let time = self.turn(now);
        let places = self.places(time, now);
        let mut drain = Drain { load, share: None, time_ms: Some(0) };
        for (account, place) in self.accounts.iter().zip(&places) {
            let cost = if super::counts_events(account.kind) { load.events } else { load.bytes };
            let takes = if account.told.is_some() { None } else { account.time_for(cost, place) };
            // A day begins again tomorrow; a month that has not so much is said to have not.
            let days = account.amount.filter(|_| is_of_a_day(account.kind));
            let takes = takes.or_else(|| Some(cost.div_ceil(days?.max(1)).saturating_mul(super::calendar::DAY_MS)));
            drain.time_ms = drain.time_ms.zip(takes).map(|(one, other)| one.max(other));
            if let Some(amount) = account.amount.filter(|_| !is_of_a_day(account.kind)) {
                let share = u128::from(cost) * 1_000 / u128::from(amount.max(1));
                drain.share = drain.share.max(Some(share.min(u128::from(u64::MAX)) as u64));
            }
        }
        let windows = [(self.minute.amount, load.events, 60_000), (self.hour.amount, load.bytes, 3_600_000)];
        let rate = (bytes_per_second, load.bytes, 1_000);
        for (amount, cost, length) in windows.into_iter().chain([rate]) {
            let Some(amount) = amount else { continue };
            let takes = u128::from(cost) * length / u128::from(amount.max(1));
            drain.time_ms = drain.time_ms.map(|time| time.max(takes.min(u128::from(u64::MAX)) as u64));
        }
        drain
    }
}

fn is_of_a_day(kind: Kind) -> bool {
    matches!(kind, Kind::BytesPerDay | Kind::EventsPerDay)
}
