//! The account of one interval: from when, of whose side, what is not counted, and what was seen.

use serde::{Deserialize, Serialize};

use super::fact::{Class, Evidence};
use crate::clock::Stamp;
use crate::language::Message;
use crate::message;

/// Stretches kept of an interval: more changes of class than this within one are a line that flaps, of which the shortest
/// are made one, under the class that counts for less.
const STRETCHES: usize = 32;

/// Holes kept of an interval; the oldest are made one beyond that.
const HOLES: usize = 32;

/// Consecutive time of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Whose side it was.
    pub class: Class,
    /// Its first moment.
    pub from: Stamp,
    /// Its last moment.
    pub until: Stamp,
    /// How much of it is proved, in ms by the clock that only counts up: without what lies in holes.
    pub ms: u64,
}

/// Why time within an interval is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The gateway was off, had not tried yet since it was on again, or what it tried before a power cut was not yet written.
    Down,
    /// The gateway ran and nothing was heard of it: the machine slept or stood still.
    Asleep,
    /// Nothing was tried for too long.
    Untried,
    /// Of more than one kind.
    #[serde(other)]
    Several,
}

impl Why {
    /// What it means, for people.
    pub fn text(self) -> Message {
        match self {
            Self::Down => message!("the gateway was off, had not tried yet, or what it tried was forgotten"),
            Self::Asleep => message!("the gateway slept or stood still"),
            Self::Untried => message!("nothing was tried"),
            Self::Several => message!("the gateway was off, slept, or did not try"),
        }
    }
}

/// Time within an interval that is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Why.
    pub why: Why,
    /// Its first moment.
    pub from: Stamp,
    /// Its end.
    pub until: Stamp,
    /// How long it was, if that can be known; of several, their sum.
    pub ms: Option<u64>,
    /// How many it stands for.
    pub count: u32,
}

/// Time since the last attempt: its class is certain only with the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// What the last attempt showed.
    pub class: Class,
    /// When it was.
    pub from: Stamp,
    /// Until when it counts so far.
    pub until: Stamp,
    /// How long that is.
    pub ms: u64,
}

/// What an attempt showed, with when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// When.
    pub at: Stamp,
    /// What.
    #[serde(flatten)]
    pub what: Evidence,
    /// How many attempts that showed the same came before it without being noted.
    #[serde(default)]
    pub before: u64,
}

/// How an interval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Flux took what was sent.
    Delivered,
    /// Flux answered in a way that shows that it works.
    #[serde(other)]
    Answered,
}

/// The end of an interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When it was known. Behind [`Account::until`] if the gateway was off in between.
    pub at: Stamp,
    /// How.
    pub how: How,
}

/// The account of an interval as it stands. Each entry of the file holds all of it, but the evidence: of that what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its number: they count up.
    pub number: u64,
    /// The first attempt that failed: from then on it is proved.
    pub from: Stamp,
    /// The last delivery before, as context; nothing is claimed from then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Stamp>,
    /// What is certain, in order.
    pub stretches: Vec<Stretch>,
    /// What is not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// What is not counted, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,
    /// Attempts that failed.
    pub attempts: u64,
    /// The longest time between two attempts that is counted, in ms.
    pub widest_ms: u64,
    /// How it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What attempts showed, since the entry before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Noted>,
    /// Changes of what attempts showed that were left out.
    #[serde(default)]
    pub left_out: u64,
}

impl Account {
    pub(super) fn new(number: u64, from: Stamp, last_success: Option<Stamp>) -> Self {
        Self {
            number,
            from,
            last_success,
            stretches: Vec::new(),
            tail: None,
            holes: Vec::new(),
            attempts: 0,
            widest_ms: 0,
            ended: None,
            evidence: Vec::new(),
            left_out: 0,
        }
    }

    /// What is certain and what is not yet, by what the last attempt showed.
    pub fn so_far(&self) -> Vec<Stretch> {
        let mut account = self.clone();
        if let Some(class) = self.tail.as_ref().map(|tail| tail.class) {
            account.settle(class);
        }
        account.stretches
    }

    /// All that is proved, in ms.
    pub fn proved_ms(&self) -> u64 {
        let certain: u64 = self.stretches.iter().map(|stretch| stretch.ms).sum();
        certain + self.tail.as_ref().map_or(0, |tail| tail.ms)
    }

    /// The last moment that it is proved for.
    pub fn until(&self) -> Stamp {
        let last = self.stretches.last().map_or(self.from, |stretch| stretch.until);
        self.tail.as_ref().map_or(last, |tail| tail.until)
    }

    /// Whose side it is now.
    pub fn class(&self) -> Class {
        let last = self.stretches.last().map_or(Class::Unknown, |stretch| stretch.class);
        self.tail.as_ref().map_or(last, |tail| tail.class)
    }

    /// Makes the tail certain: the lesser of its class and that which the next attempt showed.
    pub(super) fn settle(&mut self, next: Class) {
        let Some(tail) = self.tail.take() else { return };
        self.widest_ms = self.widest_ms.max(tail.ms);
        let class = tail.class.min(next);
        match self.stretches.last_mut() {
            Some(last) if last.class == class => {
                last.ms += tail.ms;
                last.until = tail.until;
            }
            _ => self.stretches.push(Stretch { class, from: tail.from, until: tail.until, ms: tail.ms }),
        }
        while self.stretches.len() > STRETCHES {
            self.join_shortest();
        }
    }

    /// Makes one of the two neighbours that are shortest together, under the class that counts for less.
    fn join_shortest(&mut self) {
        let sum = |index: usize| self.stretches[index].ms + self.stretches[index + 1].ms;
        let Some(index) = (0..self.stretches.len().saturating_sub(1)).min_by_key(|index| sum(*index)) else { return };
        let second = self.stretches.remove(index + 1);
        let first = &mut self.stretches[index];
        first.class = first.class.min(second.class);
        first.ms += second.ms;
        first.until = second.until;
    }

    /// Notes time that is not counted.
    pub(super) fn hole(&mut self, why: Why, from: Stamp, until: Stamp) {
        self.holes.push(Hole { why, from, until, ms: from.age_ms(&until), count: 1 });
        while self.holes.len() > HOLES {
            let second = self.holes.remove(1);
            let first = &mut self.holes[0];
            first.why = if first.why == second.why { first.why } else { Why::Several };
            first.until = second.until;
            first.ms = first.ms.zip(second.ms).map(|(first, second)| first.saturating_add(second));
            first.count = first.count.saturating_add(second.count);
        }
    }

    /// Uninterrupted time that can be claimed: stretches of such classes that follow each other. Holes are not counted
    /// and do not interrupt.
    pub fn claimable(&self) -> Vec<Uninterrupted> {
        let mut runs: Vec<Uninterrupted> = Vec::new();
        let mut goes_on = false;
        for stretch in self.so_far() {
            if !stretch.class.claimable() {
                goes_on = false;
                continue;
            }
            if !goes_on {
                runs.push(Uninterrupted { from: stretch.from, until: stretch.until, ms: 0, unknown_ms: 0 });
            }
            goes_on = true;
            if let Some(run) = runs.last_mut() {
                run.until = stretch.until;
                run.ms += stretch.ms;
                run.unknown_ms += if stretch.class == Class::Unknown { stretch.ms } else { 0 };
            }
        }
        runs.retain(|run| run.ms > 0);
        runs
    }

    /// The longest of them, in ms.
    pub fn uninterrupted_ms(&self) -> u64 {
        self.claimable().iter().map(|run| run.ms).max().unwrap_or(0)
    }
}

/// Time that can be claimed, without a break by time that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uninterrupted {
    /// Its first moment.
    pub from: Stamp,
    /// Its last moment.
    pub until: Stamp,
    /// How much of it is proved, in ms.
    pub ms: u64,
    /// Of that, what is nobody's for certain.
    pub unknown_ms: u64,
}
