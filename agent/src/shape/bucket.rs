//! When bytes may pass: a token bucket, and the queue of those who wait for it. Pure: the time is an argument.
//!
//! # Constraints
//! - In no window of any length does what was permitted exceed rate × window + burst (with a rate that changes: the sum
//!   of rate × time, plus the burst in force when the window begins).
//! - Nothing permitted is withheld longer than it must: whoever is told to wait is told the very nanosecond.
//! - No drift: what has gathered is counted in billionths of a byte, of which each nanosecond brings exactly `rate`.
//!   Nothing is ever divided but to answer "when".
//! - [`Class::Critical`] goes first and cannot starve the rest: see [`FIRST_BYTES`].
//!
//! # How it works
//! [`Bucket`] holds the tokens. What could not be foreseen (acknowledgements, segments sent again, an estimate that was
//! too low) is charged afterwards and may leave a debt, which is taken from what comes next. [`Admission`] puts a queue
//! for each class before a bucket: only the one whose turn it is may take, so a large request is not overtaken for ever
//! by small ones. Whoever waits is given a time, not asked to poll; when the turn passes to another before it,
//! [`Admission::next`] names whom to wake.

use std::collections::VecDeque;

use super::pace::Rate;

/// Nanoseconds since any fixed moment. A clock that steps back is taken to stand still.
pub type Nanos = u64;

/// Bytes that the critical class gets for each byte of the others while both wait: nine of ten, as among lanes. Alarms
/// are worth nearly all of the line; a tenth of the slowest (400 B/s) still keeps a request of the others from being
/// cut, and empties them in time.
pub const FIRST_BYTES: u64 = 9;

/// Parts of a byte in which tokens are counted: a nanosecond at one byte a second brings one.
const PART: i128 = 1_000_000_000;

/// What traffic is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Goes first.
    Critical,
    /// Everything else.
    #[default]
    Other,
}

/// Tokens: bytes that may pass at once.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// In parts of a byte; below zero while in debt, never above the burst. 2^127 parts are 10^20 bursts of 1 GiB.
    level: i128,
    /// Until when `level` has been filled.
    at: Nanos,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Nanos) -> Self {
        Self { rate, level: top(rate), at: now }
    }

    /// The rate in force.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Another rate, obeyed from `now` on. What has gathered stays, up to the new burst; so does a debt.
    pub fn set_rate(&mut self, rate: Rate, now: Nanos) {
        self.fill(now);
        self.rate = rate;
        self.level = self.level.min(top(rate));
    }

    /// Takes `bytes`, or says when they will be there if nobody else takes any: `Nanos::MAX` if they are more than the
    /// burst, because then they never will.
    pub fn take(&mut self, bytes: u64, now: Nanos) -> Result<(), Nanos> {
        self.fill(now);
        let missing = parts(bytes) - self.level;
        if missing <= 0 {
            self.level -= parts(bytes);
            return Ok(());
        }
        if bytes > self.rate.burst() {
            return Err(Nanos::MAX);
        }
        let rate = i128::from(self.rate.bytes_per_second());
        let wait = Nanos::try_from((missing + rate - 1) / rate).unwrap_or(Nanos::MAX);
        Err(self.at.saturating_add(wait))
    }

    /// Counts `bytes` that passed without having been asked for.
    pub fn charge(&mut self, bytes: u64, now: Nanos) {
        self.fill(now);
        self.level = self.level.saturating_sub(parts(bytes));
    }

    /// Gives back `bytes` that were taken and have not passed, nor will.
    pub fn credit(&mut self, bytes: u64, now: Nanos) {
        self.fill(now);
        self.level = self.level.saturating_add(parts(bytes)).min(top(self.rate));
    }

    fn fill(&mut self, now: Nanos) {
        let passed = i128::from(now.saturating_sub(self.at));
        let gained = passed * i128::from(self.rate.bytes_per_second());
        self.level = self.level.saturating_add(gained).min(top(self.rate));
        self.at = self.at.max(now);
    }
}

fn parts(bytes: u64) -> i128 {
    i128::from(bytes) * PART
}

fn top(rate: Rate) -> i128 {
    parts(rate.burst())
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The bytes may pass now; they are taken.
    Now,
    /// Ask again then: it is the asker's turn, and so many bytes will be there. `Nanos::MAX`: never; ask for no more than
    /// the burst.
    At(Nanos),
    /// It is another's turn; the asker keeps its place, and will be the [`Admission::next`] in time.
    Behind,
}

/// A bucket with a queue for each class before it.
#[derive(Debug, Clone)]
pub struct Admission {
    bucket: Bucket,
    critical: VecDeque<Waiting>,
    other: VecDeque<Waiting>,
    /// Bytes that the others have earned by waiting, and what is left of bytes that earned less than one.
    claim: u64,
    rest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: u64,
    bytes: u64,
}

impl Admission {
    /// Nobody waits before `bucket`.
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket, critical: VecDeque::new(), other: VecDeque::new(), claim: 0, rest: 0 }
    }

    /// The tokens, to charge, to credit and to change the rate.
    pub fn bucket(&mut self) -> &mut Bucket {
        &mut self.bucket
    }

    /// Asks for `bytes`. A ticket stands for one asker at a time; who asks again may ask for another number and keeps its
    /// place. The queues are as long as there are tickets.
    pub fn ask(&mut self, ticket: u64, class: Class, bytes: u64, now: Nanos) -> Answer {
        let queue = self.queue(class);
        match queue.iter_mut().find(|waiting| waiting.ticket == ticket) {
            Some(waiting) => waiting.bytes = bytes,
            None => queue.push_back(Waiting { ticket, bytes }),
        }
        if self.next() != Some(ticket) {
            return Answer::Behind;
        }
        match self.bucket.take(bytes, now) {
            Ok(()) => {
                self.queue(class).pop_front();
                self.share(class, bytes);
                Answer::Now
            }
            Err(at) => Answer::At(at),
        }
    }

    /// Whose turn it is.
    pub fn next(&self) -> Option<u64> {
        let next = match (self.critical.front(), self.other.front()) {
            (Some(_), Some(other)) if self.claim >= other.bytes => Some(other),
            (Some(critical), _) => Some(critical),
            (None, other) => other,
        };
        next.map(|waiting| waiting.ticket)
    }

    /// Whoever has this ticket does not wait any more.
    pub fn leave(&mut self, ticket: u64) {
        self.critical.retain(|waiting| waiting.ticket != ticket);
        self.other.retain(|waiting| waiting.ticket != ticket);
    }

    fn queue(&mut self, class: Class) -> &mut VecDeque<Waiting> {
        match class {
            Class::Critical => &mut self.critical,
            Class::Other => &mut self.other,
        }
    }

    /// Keeps the account between the classes. A claim lasts only while both wait: as soon as the critical class pauses,
    /// the others go anyway, and having waited earns no credit for later.
    fn share(&mut self, class: Class, bytes: u64) {
        match class {
            Class::Critical if self.other.is_empty() => (self.claim, self.rest) = (0, 0),
            Class::Critical => {
                let earned = self.rest.saturating_add(bytes);
                self.claim = self.claim.saturating_add(earned / FIRST_BYTES);
                self.rest = earned % FIRST_BYTES;
            }
            Class::Other if self.critical.is_empty() => (self.claim, self.rest) = (0, 0),
            Class::Other => self.claim = self.claim.saturating_sub(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
