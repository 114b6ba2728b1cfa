//! Reading the file: what its entries add up to, and whether its chain is whole.

use serde::Serialize;

use super::chain::{self, Line};
use super::entry::{Entry, Tally, What};
use crate::language::Message;
use crate::message;

/// Bytes of the file that are read: eight times what it may have.
pub(super) const READ: u64 = 8 * super::file::LIMIT;

/// Faults that are listed; more are counted.
const FAULTS: usize = 32;

/// A place where the chain is broken, or where something is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// Where in the file it begins, in bytes.
    pub offset: usize,
    /// What is wrong; JSON has its English.
    #[serde(serialize_with = "english")]
    pub what: Message,
}

fn english<S: serde::Serializer>(message: &Message, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(message)
}

/// What was found in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What its entries add up to; entries whose digest is wrong are taken with the others, as they stand.
    pub tally: Tally,
    /// Entries in it.
    pub entries: u64,
    /// Entries that were folded and are gone.
    pub folded: u64,
    /// The digest of the last line.
    pub last_digest: String,
    /// Where the chain is broken.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
    /// What is no fault of this file but worth knowing: cuts that were noted, faults before a fold.
    pub notes: Vec<Fault>,
    /// Number of the newest entry.
    pub(super) n: u64,
    /// Bytes up to where the file is in order: what stands behind is not whole.
    pub(super) end: usize,
    /// Cuts and faults that stand in it or were folded.
    pub(super) noted: u64,
}

impl Found {
    /// Whether no fault was found.
    pub fn is_whole(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, line: usize, offset: usize, what: Message) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS {
            self.faults.push(Fault { line, offset, what });
        }
    }

    fn note(&mut self, line: usize, offset: usize, what: Message) {
        if self.notes.len() < FAULTS {
            self.notes.push(Fault { line, offset, what });
        }
    }
}

/// Reads the bytes of a file. Never fails: what cannot be read is a fault.
pub fn read(bytes: &[u8]) -> Found {
    let lines: Vec<Line<'_>> = chain::lines(bytes).collect();
    let mut found = Found { last_digest: chain::START.into(), ..Found::default() };
    // What follows the last line that fits is not whole, and nobody's; a bad line before it was changed.
    let sound = last_sound(&lines);
    let mut before = Some(chain::START.to_owned());
    for (index, line) in lines.iter().take(sound).enumerate() {
        take(&mut found, &mut before, index + 1, line);
    }
    found.end =
        lines.get(sound).map_or_else(|| lines.last().map_or(0, |last| last.offset + last.len), |line| line.offset);
    let left = bytes.len() - found.end;
    if left > 0 {
        let what = message!(
            "{left} bytes are not whole entries: torn by a power cut, or changed (the service cuts them off when it starts, and \
             notes it)",
            left = left
        );
        found.fault(sound + 1, found.end, what);
    }
    found
}

/// How many lines stand before what is not whole: up to the last that fits to the line before it and whose number is
/// higher than all before. Old bytes that a file system shows behind the end may be lines of this file's own past, but
/// their numbers are lower.
fn last_sound(lines: &[Line<'_>]) -> usize {
    let (mut sound, mut highest) = (0, 0);
    let mut before = chain::START.to_owned();
    for (index, line) in lines.iter().enumerate() {
        let Some((stated, entry)) = line.parts else { continue };
        let fits = line.follows(&before);
        stated.clone_into(&mut before);
        let parsed = parse(entry);
        if let (true, Some(entry)) = (fits, &parsed) {
            if entry.n > highest {
                (sound, highest) = (index + 1, entry.n);
            }
        }
        if let Some(Entry { what: What::Folded(folded), .. }) = parsed.filter(|_| index == 0) {
            before = folded.digest;
        }
    }
    sound
}

fn parse(entry: &[u8]) -> Option<Entry> {
    serde_json::from_slice(entry).ok()
}

/// `before`: the digest of the line before, if that is known.
fn take(found: &mut Found, before: &mut Option<String>, number: usize, line: &Line<'_>) {
    found.entries += 1;
    let Some((stated, entry)) = line.parts else {
        found.fault(number, line.offset, message!("this is not a line as Tidegate writes it: it was changed"));
        *before = None;
        return;
    };
    if let Some(known) = before.as_deref().filter(|known| !line.follows(known)) {
        let what = if known == chain::START {
            message!("its digest is not that of its entry: it was changed, or what stood before it was removed")
        } else {
            message!(
                "its digest does not follow from the line before: this line or that one was changed, or one between them removed"
            )
        };
        found.fault(number, line.offset, what);
    }
    *before = Some(stated.to_owned());
    stated.clone_into(&mut found.last_digest);
    let Some(entry) = parse(entry) else {
        let what = message!("its digest is right, but it is no entry that this version can read");
        found.fault(number, line.offset, what);
        return;
    };
    if entry.n <= found.n {
        found.fault(
            number,
            line.offset,
            message!("entry {number} follows entry {before}", number = entry.n, before = found.n),
        );
    }
    found.n = found.n.max(entry.n);
    match &entry.what {
        What::Folded(folded) if number == 1 => {
            *before = Some(folded.digest.clone());
            found.folded = folded.entries;
            found.noted += folded.faults;
            if folded.faults > 0 {
                let what =
                    message!("{count} faults or cuts stood in entries that are folded now", count = folded.faults);
                found.note(number, line.offset, what);
            }
        }
        What::Cut { bytes, digest } => {
            found.noted += 1;
            let what = message!(
                "{bytes} bytes stood here that were not whole, and were cut off: torn by a power cut, or changed (SHA-256 {digest})",
                bytes = *bytes,
                digest = digest
            );
            found.note(number, line.offset, what);
        }
        _ => {}
    }
    found.tally.take(&entry);
}
