//! How long a commit waits for company: pure, the time comes as an argument.
//!
//! While one sync runs, the next commit gathers: that groups most of what there is to group. Beyond it, waiting
//! saves syncs (and so flash), and costs time. Whom it costs is told apart by *sources*: the connections that submit.
//!
//! - **A closed loop** is a source that comes back shortly after each answer: a synchronous client, a window that is
//!   full. Its rate is the commits' rate, so it waits only for a moment, and only for others like it: until half as many
//!   are there as the last commit answered, or a [`SHARE`]th of `commit_within` is over. (500 µs by default, about two
//!   syncs of a fast disk: where a sync takes longer, what comes meanwhile is company enough; where it is shorter, fewer
//!   syncs are made.)
//! - **Others** publish when they have something to say: a commit that comes later costs them nothing. If only such
//!   submissions are pending, the commit waits until `commit_within` is over.
//! - **Alone**: if no other source has submitted within `commit_within`, nobody is expected, and the commit goes at
//!   once. Not so for a source that stands for many devices ([`Submission::MANY`], the broker intake): it is company enough.
//! - **Urgent**: what the agent itself submits ([`Submission::URGENT`]: the forwarder's marks, a session that begins) never waits,
//!   and takes along whatever else is pending.
//! - A commit's worth of bytes ends every wait, and so does `commit_within` after the first submission.
//!
//! At most [`REMEMBERED`] sources are remembered: that many connections saturate any gateway's flash, and which of more
//! are remembered makes little difference.

use crate::store::Submission;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const URGENT: u32 = Submission::URGENT;
const MANY: u32 = Submission::MANY;

/// How much of `commit_within` those in a closed loop may be held: at its default of 20 ms the 500 µs at which 100
/// connections reached their highest rate, and one connection lost nothing.
const SHARE: u32 = 40;

/// Who comes again within this time after an answer may be in a closed loop: above the round trip of a wireless
/// network, far below the interval of nearly every device.
const RETURN: Duration = Duration::from_millis(20);

/// The same for [`Submission::MANY`]: a broker is on this machine or near it, and its devices together publish often.
const RETURN_MANY: Duration = Duration::from_millis(2);

/// Returns in a row that make a closed loop: a device that publishes every second comes so soon by chance once in
/// fifty times, and three times in a row hardly ever.
const RETURNS: u8 = 3;

/// Sources remembered at most.
const REMEMBERED: usize = 1024;

/// For how long a source is remembered without submitting, if that is longer than `commit_within`.
const MEMORY: Duration = Duration::from_secs(10);

/// One source.
#[derive(Debug)]
struct Source {
    seen: Instant,
    /// When it was answered, if it has not submitted since.
    answered: Option<Instant>,
    /// Soon returns in a row.
    returns: u8,
    /// It has something pending.
    pending: bool,
}

impl Source {
    fn is_closed_loop(&self) -> bool {
        self.returns >= RETURNS
    }
}

/// What the present commit should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Commit what is there.
    Now,
    /// Wait until then, or until so many more submissions are there.
    Wait { until: Instant, more: usize },
}

/// The sources and what is pending of them.
#[derive(Debug)]
pub(super) struct Company {
    within: Duration,
    sources: HashMap<u32, Source>,
    /// Submitted and not answered: when the first of it came, its bytes, whether any of it is urgent.
    first: Option<Instant>,
    bytes: usize,
    urgent: bool,
    /// When the present wait began.
    waits_since: Option<Instant>,
    pruned: Option<Instant>,
    /// Sources in a closed loop that the last commit answered.
    answered: usize,
}

impl Company {
    /// Commits wait for `within` at most; 0 never waits.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            sources: HashMap::new(),
            first: None,
            bytes: 0,
            urgent: false,
            waits_since: None,
            pruned: None,
            answered: 0,
        }
    }

    /// Takes note of submissions.
    pub(super) fn note<'a>(&mut self, submissions: impl IntoIterator<Item = &'a Submission>) {
        for one in submissions {
            if let Some(at) = one.handed_in() {
                self.submitted(one.source(), one.bytes(), at);
            }
        }
    }

    fn submitted(&mut self, source: u32, bytes: usize, at: Instant) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.bytes = self.bytes.saturating_add(bytes);
        if source == URGENT {
            self.urgent = true;
            return;
        }
        if self.within.is_zero() {
            return;
        }
        if !self.sources.contains_key(&source) && !self.make_room(at) {
            return;
        }
        let known =
            self.sources.entry(source).or_insert(Source { seen: at, answered: None, returns: 0, pending: false });
        known.seen = known.seen.max(at);
        known.pending = true;
        if let Some(answered) = known.answered.take() {
            let limit = if source == MANY { RETURN_MANY } else { RETURN };
            let soon = at.saturating_duration_since(answered) <= limit;
            known.returns = if soon { (known.returns + 1).min(RETURNS) } else { 0 };
        }
    }

    /// A commit has answered what these sources had submitted.
    pub(super) fn answered(&mut self, sources: impl Iterator<Item = u32>, now: Instant) {
        self.answered = 0;
        for source in sources {
            if let Some(known) = self.sources.get_mut(&source) {
                let pending = std::mem::take(&mut known.pending);
                known.answered = Some(now);
                if known.is_closed_loop() {
                    self.answered += usize::from(pending);
                    // It is expected from now on, however long the sync took.
                    known.seen = now;
                }
            }
        }
        // What is left over for the next commit makes that one not wait at all.
        (self.first, self.bytes, self.urgent, self.waits_since) = (None, 0, false, None);
    }

    /// Whether to commit now what is pending; `full` are the bytes that one commit takes.
    pub(super) fn decide(&mut self, full: usize, now: Instant) -> Decision {
        let Some(first) = self.first else { return Decision::Now };
        if self.urgent || self.within.is_zero() || self.bytes >= full {
            return Decision::Now;
        }
        let (mut active, mut loops, mut many) = (0_usize, 0_usize, false);
        for (number, source) in &self.sources {
            if source.pending || now.saturating_duration_since(source.seen) <= self.within {
                active += 1;
                many |= *number == MANY;
                loops += usize::from(source.pending && source.is_closed_loop());
            }
        }
        if active < 2 && !many {
            return Decision::Now;
        }
        let latest = first + self.within;
        let wanted = self.answered / 2;
        let (until, more) = if loops == 0 {
            (latest, 1)
        } else if loops >= wanted {
            return Decision::Now;
        } else {
            let began = *self.waits_since.get_or_insert(now);
            (latest.min(began + self.within / SHARE), wanted - loops)
        };
        if now >= until { Decision::Now } else { Decision::Wait { until, more } }
    }

    /// Forgets who has been silent for long; `false` if there is no room for another even so.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.sources.len() < REMEMBERED {
            return true;
        }
        // Looking through all of them is worth it once in a while only.
        if self.pruned.is_some_and(|at| now.saturating_duration_since(at) < RETURN) {
            return false;
        }
        self.pruned = Some(now);
        let memory = self.within.max(MEMORY);
        self.sources.retain(|_, source| source.pending || now.saturating_duration_since(source.seen) <= memory);
        if self.sources.len() >= REMEMBERED {
            // Connections that have ended, most likely: whoever has been silent for longest goes.
            let oldest = self.sources.iter().filter(|(_, source)| !source.pending).min_by_key(|(_, one)| one.seen);
            if let Some(number) = oldest.map(|(number, _)| *number) {
                self.sources.remove(&number);
            }
        }
        self.sources.len() < REMEMBERED
    }
}

#[cfg(test)]
mod tests;
