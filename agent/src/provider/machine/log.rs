//! The log of notices: what, from whom, when, what the agent did, until when. The last of them, within a size.
//!
//! # Format
//! CBOR: `[1, [entry, …]]`, the oldest first, at most [`BYTES`]. What is damaged or newer is read as an empty log: it is a
//! record for people, and nothing is decided by it.

use std::collections::VecDeque;

use crate::provider::input::Entry;

/// Entries that are kept: months of an ordinary provider's maintenances, and an hour of one that has lost its mind.
pub const ENTRIES: usize = 200;

/// Bytes that [`Log::encode`] gives at most.
pub const BYTES: usize = 64 * 1024;

/// Longest text of an entry, in bytes: longer ones are cut.
const TEXT_BYTES: usize = 500;

const VERSION: u8 = 1;

/// Entries, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    entries: VecDeque<Entry>,
}

impl Log {
    /// Adds one; the oldest goes where there is no room.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() >= ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(cut(entry));
    }

    /// All of them, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Its bytes, at most [`BYTES`]: the oldest entries are left out where that takes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut first = 0;
        loop {
            let some: Vec<&Entry> = self.entries.iter().skip(first).collect();
            let mut bytes = Vec::new();
            let written = ciborium::into_writer(&(VERSION, &some), &mut bytes);
            if some.is_empty() || (written.is_ok() && bytes.len() <= BYTES) {
                return bytes;
            }
            // As many as are too much, were all of one size; at least one, so that it comes to an end.
            let surplus = bytes.len().saturating_sub(BYTES) * some.len() / bytes.len().max(1);
            first += surplus.max(1);
        }
    }

    /// What [`Log::encode`] gave, or an empty log.
    pub fn decode(bytes: &[u8]) -> Self {
        let read = |bytes: &[u8]| -> Option<(u8, VecDeque<Entry>)> {
            (bytes.len() <= BYTES).then(|| ciborium::from_reader(bytes).ok()).flatten()
        };
        let mut log = Self::default();
        if let Some((VERSION, entries)) = read(bytes) {
            for entry in entries {
                log.push(entry);
            }
        }
        log
    }
}

/// A message that would be cut is left out: its English, which is cut, says where.
fn cut(mut entry: Entry) -> Entry {
    for message in [&mut entry.text_message, &mut entry.did_message] {
        message.take_if(|message| message.to_string().len() > TEXT_BYTES);
    }
    let texts = [&mut entry.what, &mut entry.id, &mut entry.source, &mut entry.text, &mut entry.did];
    for text in texts.into_iter().chain(entry.clause.as_mut()) {
        super::cut(text, TEXT_BYTES);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, text: &str) -> Entry {
        Entry {
            at_ms: number,
            trusted: true,
            what: "maintenance".into(),
            id: "m-1".into(),
            source: "notice m-1, key ops".into(),
            text: text.into(),
            did: "sending stops".into(),
            from_ms: Some(number),
            until_ms: None,
            clause: Some("5.2".into()),
            ..Entry::default()
        }
    }

    #[test]
    fn the_last_entries_are_kept_and_come_back_as_they_were() {
        let mut log = Log::default();
        (0..500).for_each(|number| log.push(entry(number, "works")));
        assert_eq!(log.entries().len(), ENTRIES);
        assert_eq!(log.entries().next().map(|entry| entry.at_ms), Some(300));
        assert_eq!(Log::decode(&log.encode()), log);
    }

    #[test]
    fn its_bytes_are_bounded_and_the_newest_are_among_them() {
        let mut log = Log::default();
        (0..500).for_each(|number| log.push(entry(number, &"\u{1F30A}".repeat(400))));
        let bytes = log.encode();
        assert!(bytes.len() <= BYTES && bytes.len() > BYTES * 9 / 10, "{}", bytes.len());
        let read = Log::decode(&bytes);
        assert_eq!(read.entries().next_back(), log.entries().next_back());
    }

    #[test]
    fn what_is_no_log_is_an_empty_one() {
        let mut log = Log::default();
        log.push(entry(1, "works"));
        let bytes = log.encode();
        for broken in [&b""[..], b"nonsense", &bytes[..bytes.len() - 1], &vec![0x9f; BYTES + 1]] {
            assert_eq!(Log::decode(broken), Log::default());
        }
    }
}
