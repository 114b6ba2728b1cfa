//! The end of a segment after a power cut: what was never written is told from what was and is damaged.
//!
//! A medium writes in any order. Of the last commit, which was not synced when the power went and which nobody was
//! answered, any sectors may be there without those before them. Were that taken for damage, later records of it would
//! be handed on ahead of the earlier ones, which their device publishes again; so it is cut off instead.
//!
//! What is proved to have been synced: all before the last good frame that begins a commit, for that commit was
//! written only after the sync of the one before; and all that the control lane knows of as committed. What is bad
//! there is damage: it is passed over and counted.
//!
//! What is bad behind that, with a sector (or as much of it as belongs to the bad stretch) of nothing but zeros, was
//! never written: a lane's files only ever grow, so where a write did not arrive there is nothing, which reads as zeros.
//! There the segment ends, as it does at a torn last frame. Any other bad stretch is damage as before: one flipped
//! byte in the last commit costs one record, not those behind it.
//!
//! Zeros and nothing else, up to the end of the file, are no torn frame: the file was lengthened ahead of what was to be
//! written there. Of a commit that was to come there nothing arrived, just as if the file ended there.
//!
//! Neither is sure. A sector that the medium itself turned to zeros, or a flipped byte in a frame with a kilobyte of
//! zeros of its own, in the last commit before an end without a later one, ends the segment early: the report and a
//! new epoch say so. A sector of the last commit with bytes of a deleted file (which no file system in its ordinary
//! mode hands out) is counted as damage.

use super::frame::{Scan, Stop};
use super::recover::WINDOW;
use crate::store::disk::{DiskFile, read_full_at};
use std::io;

/// What a medium writes as a whole or not at all: 512 bytes since ever; where it is more, it is a multiple.
const SECTOR: u64 = 512;

/// What was found on the way through a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// Sequence numbers that cannot be read, half open, in order.
    pub(super) holes: Vec<(u64, u64)>,
    /// Bytes behind the end that are not part of it.
    pub(super) torn: u64,
    /// Nothing bad was met.
    pub(super) whole: bool,
}

/// The first place where something never arrived.
struct Missing {
    seq: u64,
    offset: u64,
    /// Damaged ranges before it.
    holes: usize,
}

/// Shows all good frames from where `scan` stands, past damage, and leaves `scan` where the segment ends. What was
/// shown from there on (`scan.next`) does not count. All below `committed` is known to have been committed.
pub(super) fn walk(scan: &mut Scan, committed: u64, mut visit: impl FnMut(u64, &[u8])) -> io::Result<Walked> {
    let (mut buffer, mut missing) = (Vec::new(), None::<Missing>);
    let mut walked = Walked { whole: true, ..Walked::default() };
    loop {
        let stop = scan.pass(&mut buffer, WINDOW, |bytes, seq, body| {
            visit(seq, &bytes[body]);
            true
        })?;
        // A later commit proves that it did arrive once.
        missing = missing.filter(|place| scan.mark < Some(place.seq));
        match stop {
            Stop::Window => {}
            Stop::End | Stop::Enough => break,
            Stop::Bad => {
                let (seq, offset) = (scan.next, scan.offset);
                if !scan.resync(&mut buffer)? {
                    if !is_empty(&*scan.file, offset, scan.limit)? {
                        walked.whole = false;
                        walked.torn = scan.limit - offset;
                    }
                    break;
                }
                walked.whole = false;
                if missing.is_none() && seq >= committed && has_empty_sector(&*scan.file, offset, scan.offset) {
                    missing = Some(Missing { seq, offset, holes: walked.holes.len() });
                }
                // Damage between two frames costs bytes and no record.
                if scan.next > seq {
                    walked.holes.push((seq, scan.next));
                }
            }
        }
    }
    if let Some(Missing { seq, offset, holes }) = missing {
        walked.holes.truncate(holes);
        walked.torn = scan.limit - offset;
        (scan.next, scan.offset) = (seq, offset);
    }
    Ok(walked)
}

/// Whether a stretch holds nothing but zeros in any sector that it meets. What cannot be read is not empty: it is there.
pub(super) fn has_empty_sector(file: &dyn DiskFile, from: u64, to: u64) -> bool {
    let mut bytes = [0; SECTOR as usize];
    let mut at = from;
    while at < to {
        let end = ((at / SECTOR + 1) * SECTOR).min(to);
        let bytes = &mut bytes[..(end - at) as usize];
        if read_full_at(file, bytes, at).is_ok_and(|read| bytes[..read].iter().all(|byte| *byte == 0)) {
            return true;
        }
        at = end;
    }
    false
}

/// Whether there is nothing but zeros.
pub(super) fn is_empty(file: &dyn DiskFile, mut from: u64, to: u64) -> io::Result<bool> {
    let mut bytes = [0; 4096];
    while from < to {
        let bytes = &mut bytes[..(to - from).min(4096) as usize];
        let read = read_full_at(file, bytes, from)?;
        if bytes[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read == 0 {
            break;
        }
        from += read as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
