//! Writes down what happens while the machine is told something.

use tidegate_protocol::stance::Stance;

use super::item::Course;
use super::time::Moment;
use super::words;
use crate::clock::Stamp;
use crate::language::Message;
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

    /// Writes an entry without a window. It is kept in English, which [`again`](crate::language::again) finds the Japanese of.
    pub(super) fn entry(&mut self, what: &str, id: &str, source: &str, text: &str, did: &Message) {
        self.dated(what, id, source, text, did, None, None);
    }

    /// Writes an entry of something that has a course.
    #[allow(clippy::too_many_arguments, reason = "an entry has as many parts")]
    pub(super) fn dated(
        &mut self,
        what: &str,
        id: &str,
        source: &str,
        text: &str,
        did: &Message,
        course: Option<Course>,
        stance: Option<Stance>,
    ) {
        self.entries.push(Entry {
            at_ms: self.now.wall_ms,
            trusted: self.now.trusted,
            what: what.to_owned(),
            id: id.to_owned(),
            source: source.to_owned(),
            text: text.to_owned(),
            did: did.to_string(),
            from_ms: course.map(|course| course.from),
            until_ms: course.and_then(|course| course.planned.or(course.end)),
            clause: stance.and_then(words::clause).map(|clause| clause.to_string()),
        });
    }
}
