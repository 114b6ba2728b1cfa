//! Writes down what happens while the machine is told something.

use tidegate_protocol::stance::Stance;
use tidegate_protocol::terms::Clause;

use super::item::Course;
use super::time::Moment;
use super::words;
use crate::clock::{EARLIEST_MS, Stamp};
use crate::language::{IntoValue, Message};
use crate::provider::input::Entry;

/// The time it is, and the entries so far.
pub(super) struct Scribe {
    now: Stamp,
    pub(super) at: Moment,
    pub(super) entries: Vec<Entry>,
}

impl Scribe {
    pub(super) fn new(now: Stamp, at: Moment) -> Self {
        Self { now, at, entries: Vec::new() }
    }

    /// Writes an entry without a window. `text` is a message if it is this gateway's own, and shown as it stands if it is
    /// somebody else's. What was done is kept in English, which [`again`](crate::language::again) finds the Japanese of, and as a
    /// message where that would not do.
    pub(super) fn entry(&mut self, what: &str, id: &str, source: &str, text: impl IntoValue, did: &Message) {
        self.dated(what, id, source, text, did, None, None);
    }

    /// What was written last makes a ground of its own from now on, until that date if it is known.
    pub(super) fn holds(&mut self, clause: Option<Clause>, until_ms: Option<u64>) {
        let (from_ms, from_undated) = self.date(self.at.date, false);
        let until = until_ms.map(|until| self.date(until, false));
        if let Some(entry) = self.entries.last_mut() {
            (entry.from_ms, entry.from_undated) = (Some(from_ms), from_undated);
            (entry.until_ms, entry.until_undated) = (until.map(|it| it.0), until.is_some_and(|it| it.1));
            entry.clause = clause.map(|clause| clause.to_string());
        }
    }

    /// A date as an entry has it. One that is reckoned while it is not known what time it is says no more than how far it is
    /// from now, so it is told by the clock that the entry's own time is told by. `said`: somebody else named it.
    fn date(&self, date: u64, said: bool) -> (u64, bool) {
        if self.at.known || said && date >= EARLIEST_MS {
            return (date, false);
        }
        (self.now.wall_ms.saturating_add(date).saturating_sub(self.at.date), true)
    }

    /// Writes an entry of something that has a course.
    #[allow(clippy::too_many_arguments, reason = "an entry has as many parts")]
    pub(super) fn dated(
        &mut self,
        what: &str,
        id: &str,
        source: &str,
        text: impl IntoValue,
        did: &Message,
        course: Option<Course>,
        stance: Option<Stance>,
    ) {
        let from = course.map(|course| self.date(course.from, course.said.0));
        let until = course.and_then(|course| Some(self.date(course.planned.or(course.end)?, course.said.1)));
        let text = text.into_value();
        self.entries.push(Entry {
            at_ms: self.now.wall_ms,
            trusted: self.now.trusted,
            what: what.to_owned(),
            id: id.to_owned(),
            source: source.to_owned(),
            text: text.to_string(),
            text_message: text.into_message(),
            did: did.to_string(),
            did_message: Some(did).filter(|did| !did.is_plain()).cloned(),
            from_ms: from.map(|it| it.0),
            until_ms: until.map(|it| it.0),
            from_undated: from.is_some_and(|it| it.1),
            until_undated: until.is_some_and(|it| it.1),
            clause: stance.and_then(words::clause).map(|clause| clause.to_string()),
        });
    }
}
