//! The ledger itself: facts in, entries out. Pure: the time is handed in with each fact.
//!
//! # What is proved
//! *Begun* with the first attempt that failed, *over* with the first that did not. In between, time counts as far as the
//! gateway ran and tried: measured by the clock that only counts up, run by run, so that no setting of the wall clock makes
//! an interval longer or shorter. After each start it counts anew from the first attempt that failed. Between two attempts
//! it is of the lesser class of both: when the own line broke is only known to lie between them.

use super::account::{Account, Ended, How, Noted, Tail, Why};
use super::entry::{Entry, Tally, What};
use super::fact::{Class, Evidence, Fact, Window};
use crate::clock::Stamp;

/// Longest time between two facts of one run, in ms: with a heartbeat each minute, five in a row are missing only if the
/// machine slept or stood still, and then nobody knows what Flux did.
pub const SILENCE_MS: u64 = 5 * 60_000;

/// How long an attempt that failed counts if no other follows, in ms. Where the back-off is longest (`probe_max`, an hour
/// by default, give or take a tenth), attempts still follow each other.
pub const UNPROBED_MS: u64 = 75 * 60_000;

/// An entry at least so often while an interval is open, in ms: a power cut forgets no more of it. With one of some 4 KiB
/// on the medium that is 400 KB a day.
pub const STILL_MS: u64 = 15 * 60_000;

/// Between entries that are not the end of anything, in ms: a line that flaps writes no more than this.
pub const SPACING_MS: u64 = 60_000;

/// How often it is written that all is well, in ms: so old may the last delivery be that is known after a power cut.
pub const MARK_MS: u64 = 3_600_000;

/// Pieces of evidence that one entry carries.
const NOTED: usize = 8;

/// Maintenances that are known at one time.
const WINDOWS: usize = 16;

/// What the ledger knows.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// When this run began, by its uptime.
    run: u64,
    /// The newest moment that was told of in this run.
    seen: Stamp,
    next: u64,
    open: Option<Open>,
    delivered: Option<Stamp>,
    marked: Option<Stamp>,
    windows: Vec<Window>,
    barred: bool,
    line: Option<String>,
    alarm: bool,
    alarm_since: Option<Stamp>,
    /// The newest entry of this run that is not the end of anything.
    entered: Option<Stamp>,
}

#[derive(Debug, Clone)]
struct Open {
    account: Account,
    /// The tail grows: the last attempt was in this run, and nothing was missed since.
    live: bool,
    /// Why it does not.
    why: Why,
    /// An entry tells of it.
    entered: bool,
    /// Evidence noted last, and when; how many of its like came since.
    noted: Option<(Evidence, Stamp)>,
    before: u64,
    /// There is evidence that no entry tells of.
    news: bool,
}

/// Milliseconds from one stamp to another of the same boot.
fn passed(from: &Stamp, until: &Stamp) -> u64 {
    until.uptime_ms.saturating_sub(from.uptime_ms)
}

impl Ledger {
    /// A ledger that goes on from what the file says; `now` is when this run begins.
    pub fn resume(tally: &Tally, now: &Stamp) -> Self {
        let open = tally.open().map(|account| {
            let mut account = account.clone();
            account.evidence.clear();
            Open { account, live: false, why: Why::Down, entered: true, noted: None, before: 0, news: false }
        });
        Self {
            run: now.uptime_ms,
            seen: *now,
            next: tally.intervals.keys().next_back().map_or(1, |last| last + 1),
            open,
            delivered: tally.delivered,
            marked: tally.delivered,
            windows: Vec::new(),
            barred: false,
            line: None,
            alarm: tally.alarm,
            alarm_since: tally.alarm_since,
            entered: None,
        }
    }

    /// Takes a fact in; gives what has to be written because of it.
    pub fn tell(&mut self, fact: Fact, now: &Stamp) -> Option<Entry> {
        let other_boot = now.boot != self.seen.boot;
        if fact == Fact::Started || other_boot {
            self.begin_run(now);
        }
        // Tasks that tell at the same time may overtake each other: then it is told of a little late.
        let now = if now.uptime_ms < self.seen.uptime_ms { &self.seen.clone() } else { now };
        self.pass(now);
        let what = match fact {
            Fact::Started | Fact::Heartbeat => self.due(now),
            Fact::Stopping => self.due_at_end(now),
            Fact::Delivered => {
                self.delivered = Some(*now);
                self.end(How::Delivered, now).or_else(|| self.mark(now))
            }
            Fact::Answered => self.end(How::Answered, now),
            Fact::Failed(evidence) => self.failed(evidence.bounded(), now),
            Fact::Barred(evidence) => {
                let entry = self.failed(Evidence { class: Class::Announced, ..evidence.bounded() }, now);
                self.barred = true;
                entry
            }
            Fact::Unbarred => {
                self.unbar(now);
                self.due(now)
            }
            Fact::Announced(windows) => {
                self.windows = windows;
                self.windows.truncate(WINDOWS);
                self.due(now)
            }
            Fact::OwnLine(broken) => {
                self.own_line(broken, now);
                self.due(now)
            }
            Fact::Alarm { raised } => {
                let news = std::mem::replace(&mut self.alarm, raised) != raised;
                if news {
                    self.alarm_since = raised.then_some(*now);
                }
                news.then_some(What::Alarm { raised })
            }
        };
        what.map(|what| Entry { n: 0, at: *now, run: self.run, what })
    }

    /// A run begins: what it knows of the line and of the provider's word it has to be told anew.
    fn begin_run(&mut self, now: &Stamp) {
        (self.run, self.seen, self.entered) = (now.uptime_ms, *now, None);
        (self.barred, self.line) = (false, None);
        self.windows.clear();
        if let Some(open) = &mut self.open {
            (open.live, open.why) = (false, Why::Down);
        }
    }

    /// Lets time pass up to `now`, as far as it counts.
    fn pass(&mut self, now: &Stamp) {
        let silent = passed(&self.seen, now) > SILENCE_MS;
        self.seen = *now;
        let Some(open) = self.open.as_mut().filter(|open| open.live) else { return };
        let Some(tail) = &mut open.account.tail else { return };
        if silent {
            (open.live, open.why) = (false, Why::Asleep);
            return;
        }
        let ms = passed(&tail.from, now);
        if ms > UNPROBED_MS && !self.barred {
            // Up to there it counts, as it would have had nobody looked in between.
            let more = UNPROBED_MS.saturating_sub(tail.ms);
            tail.until.uptime_ms += more;
            tail.until.wall_ms = tail.until.wall_ms.saturating_add(more);
            tail.ms += more;
            (open.live, open.why) = (false, Why::Untried);
            return;
        }
        (tail.until, tail.ms) = (*now, ms);
    }

    /// What an attempt's class comes to with what is known besides.
    fn class(&self, evidence: &Evidence, now: &Stamp) -> Class {
        let mut class = evidence.class;
        if self.windows.iter().any(|window| window.holds(now.wall_ms)) {
            class = class.min(Class::Announced);
        }
        if self.line.is_some() { Class::OwnLine } else { class }
    }

    fn failed(&mut self, evidence: Evidence, now: &Stamp) -> Option<What> {
        let mut evidence = Evidence { class: self.class(&evidence, now), ..evidence };
        if let (Some(line), true) = (&self.line, evidence.line.is_empty()) {
            evidence.line.clone_from(line);
            evidence = evidence.bounded();
        }
        let class = evidence.class;
        let open = self.open.get_or_insert_with(|| {
            let account = Account::new(self.next, *now, self.delivered);
            Open { account, live: true, why: Why::Down, entered: false, noted: None, before: 0, news: false }
        });
        open.attempt(class, now);
        open.account.attempts += 1;
        open.note(evidence, now);
        self.due(now)
    }

    /// The provider's word allows sending again: from here on an attempt has to show that it cannot be used.
    fn unbar(&mut self, now: &Stamp) {
        if std::mem::replace(&mut self.barred, false) {
            if let Some(open) = self.open.as_mut().filter(|open| open.live) {
                open.attempt(Class::Announced, now);
            }
        }
    }

    fn own_line(&mut self, broken: Option<String>, now: &Stamp) {
        let was = std::mem::replace(&mut self.line, broken).is_some();
        if was != self.line.is_some() {
            if let Some(open) = self.open.as_mut().filter(|open| open.live) {
                // Between a broken line and a whole one nothing can be told of Flux.
                open.attempt(Class::OwnLine, now);
            }
        }
    }

    fn end(&mut self, how: How, now: &Stamp) -> Option<What> {
        let mut open = self.open.take()?;
        self.barred = false;
        if let Some(class) = open.account.tail.as_ref().map(|tail| tail.class) {
            open.account.settle(class);
        }
        open.account.ended = Some(Ended { at: *now, how });
        // One that was shorter than the spacing and came too soon after another is not worth the flash.
        if !open.entered && open.account.proved_ms() < SPACING_MS && self.spaced(now).is_none() {
            return None;
        }
        self.next = open.account.number + 1;
        self.marked = self.delivered;
        Some(What::Ended(Box::new(open.account)))
    }

    /// That all is well, if that was not written for a while.
    fn mark(&mut self, now: &Stamp) -> Option<What> {
        let recent = |marked: &Stamp| marked.age_ms(now).is_some_and(|age| age < MARK_MS);
        if self.marked.as_ref().is_some_and(recent) {
            return None;
        }
        self.marked = Some(*now);
        Some(What::Mark { delivered: *now })
    }

    /// Whether an entry that is not the end of anything may be written.
    fn spaced(&self, now: &Stamp) -> Option<()> {
        self.entered.is_none_or(|entered| passed(&entered, now) >= SPACING_MS).then_some(())
    }

    /// What of the open interval has to be written by now.
    fn due(&mut self, now: &Stamp) -> Option<What> {
        self.spaced(now)?;
        let aged = self.entered.is_none_or(|entered| passed(&entered, now) >= STILL_MS);
        let open = self.open.as_mut()?;
        if open.entered && !open.news && !(aged && open.live) {
            return None;
        }
        self.entered = Some(*now);
        self.next = self.next.max(open.account.number + 1);
        Some(open.enter())
    }

    /// What has to be written before this run ends.
    fn due_at_end(&mut self, now: &Stamp) -> Option<What> {
        let open = self.open.as_mut()?;
        self.entered = Some(*now);
        self.next = self.next.max(open.account.number + 1);
        Some(open.enter())
    }

    /// The interval that is open.
    pub fn open(&self) -> Option<&Account> {
        self.open.as_ref().map(|open| &open.account)
    }

    /// The last delivery that is known.
    pub fn delivered(&self) -> Option<Stamp> {
        self.delivered
    }

    /// Whether the local alarm is in force.
    pub fn alarm(&self) -> bool {
        self.alarm
    }

    /// When the alarm in force was raised, if that is known.
    pub fn alarm_since(&self) -> Option<Stamp> {
        self.alarm_since
    }
}

impl Open {
    /// An attempt, or something that counts as one, of this class.
    fn attempt(&mut self, class: Class, now: &Stamp) {
        let until = self.account.until();
        self.account.settle(class);
        if !self.live {
            self.account.hole(self.why, until, *now);
            self.live = true;
        }
        self.account.tail = Some(Tail { class, from: *now, until: *now, ms: 0 });
    }

    /// Notes what an attempt showed, if it is the first, another than before, or a while after the last.
    fn note(&mut self, evidence: Evidence, now: &Stamp) {
        let (same, recent) = self.noted.as_ref().map_or((false, false), |(known, at)| {
            (known.is_like(&evidence), at.boot == now.boot && passed(at, now) < STILL_MS)
        });
        if same && recent {
            self.before += 1;
            return;
        }
        let before = std::mem::take(&mut self.before);
        self.noted = Some((evidence.clone(), *now));
        if self.account.evidence.len() < NOTED {
            self.account.evidence.push(Noted { at: *now, what: evidence, before });
        } else {
            self.account.left_out += 1;
        }
        self.news |= !same;
    }

    /// The entry that tells of it as it stands.
    fn enter(&mut self) -> What {
        let account = Box::new(self.account.clone());
        self.account.evidence.clear();
        self.news = false;
        if std::mem::replace(&mut self.entered, true) { What::Still(account) } else { What::Begun(account) }
    }
}
