//! Frames: how one entry stands in a segment, and how entries are found again.
//!
//! The sum stands first, so that everything it covers is one run of bytes. It is seeded with the segment's salt: a
//! block of a deleted file that the file system hands back in a new one never reads as a frame of the new one.
//!
//! The first frame of each commit is marked. The next commit is written only once the one before it is synced, so a
//! good marked frame proves that all before it in its file reached the medium: what is bad there is damage. What is
//! bad behind the last mark may never have been written ([`unproven`](super::unproven)).

use super::segment::{self, HEAD_LEN};
use crate::store::disk::{DiskFile, read_full_at};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes before a frame's body.
pub(super) const FRAME_HEAD: usize = 16;

/// Bytes of one body at most: above what may be in flight at one time (4 MiB), low enough that a damaged length never
/// makes recovery ask for much memory.
pub(super) const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// In a frame's `len`: it is the first of its commit in this file. No length comes near this bit.
const FIRST: u32 = 1 << 31;

/// Bytes read at one time while looking for the next good frame.
const RESYNC_WINDOW: usize = 256 * 1024;

/// Bytes read at one time around an unreadable place: a page, the least that the kernel reads.
const BLOCK: usize = 4096;

/// A block without anything in it.
const EMPTY: [u8; BLOCK] = [0; BLOCK];

/// Appends one frame; `first` if it is its commit's first in this file.
pub(super) fn append(buffer: &mut Vec<u8>, salt: u32, seq: u64, first: bool, body: &[u8]) {
    let start = buffer.len();
    buffer.reserve(FRAME_HEAD + body.len());
    buffer.extend_from_slice(&[0; 4]);
    let len = body.len() as u32 | if first { FIRST } else { 0 };
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(&seq.to_le_bytes());
    buffer.extend_from_slice(body);
    let sum = crc32c::crc32c_append(salt, &buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Up to which number a segment whose heads cannot be read says that it holds records, of which nothing is proved without
/// the salt: as far as its frames name each other's places, and one at least if there is anything behind the heads.
pub(super) fn claimed_end(file: &dyn DiskFile, first: u64) -> io::Result<u64> {
    let (len, mut offset, mut seq) = (file.len()?, HEAD_LEN as u64, first);
    loop {
        let mut head = [0; FRAME_HEAD];
        let whole = read_full_at(file, &mut head, offset)? == FRAME_HEAD;
        let claimed = split_head(&head);
        let end = offset + (FRAME_HEAD + claimed.len) as u64;
        if !whole || claimed.seq != seq || claimed.len > BODY_LIMIT || end > len {
            break;
        }
        (offset, seq) = (end, seq + 1);
    }
    Ok(if len > HEAD_LEN as u64 { seq.max(first + 1) } else { seq })
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A whole frame of so many bytes.
    Frame { seq: u64, size: usize, first: bool },
    /// Perhaps a frame, of so many bytes, of which some are missing.
    Short { size: usize },
    /// No frame.
    Bad,
}

fn parse(bytes: &[u8], salt: u32) -> Parsed {
    let Some((head, _)) = bytes.split_first_chunk::<FRAME_HEAD>() else {
        return Parsed::Short { size: FRAME_HEAD };
    };
    let Head { sum, len, first, seq } = split_head(head);
    if len > BODY_LIMIT {
        return Parsed::Bad;
    }
    let size = FRAME_HEAD + len;
    match bytes.get(4..size) {
        None => Parsed::Short { size },
        Some(covered) if crc32c::crc32c_append(salt, covered) == sum => Parsed::Frame { seq, size, first },
        Some(_) => Parsed::Bad,
    }
}

/// What stands before a frame's body.
struct Head {
    sum: u32,
    len: usize,
    first: bool,
    seq: u64,
}

fn split_head(head: &[u8; FRAME_HEAD]) -> Head {
    let [s0, s1, s2, s3, l0, l1, l2, l3, seq @ ..] = *head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]);
    Head {
        sum: u32::from_le_bytes([s0, s1, s2, s3]),
        len: (len & !FIRST) as usize,
        first: len & FIRST != 0,
        seq: u64::from_le_bytes(seq),
    }
}

/// Why a pass over a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The visitor had enough; the frame it refused is next.
    Enough,
    /// The window is used up; there is more.
    Window,
    /// There is nothing more.
    End,
    /// What follows is not the frame that should be there.
    Bad,
}

/// Walks the frames of one segment.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) salt: u32,
    /// Where the next frame begins.
    pub(super) offset: u64,
    /// Bytes of the file that count.
    pub(super) limit: u64,
    /// The sequence number that the next frame should have.
    pub(super) next: u64,
    /// The first sequence number that no longer belongs to this segment.
    pub(super) end: u64,
    /// The last frame passed that began a commit.
    pub(super) mark: Option<u64>,
}

impl Scan {
    /// Stands before the first frame of a segment of which `limit` bytes count.
    pub(super) fn new(file: Arc<dyn DiskFile>, head: &segment::Head, limit: u64, end: u64) -> Self {
        let (offset, next) = (HEAD_LEN as u64, head.first);
        Self { file, salt: head.salt, offset, limit, next, end, mark: None }
    }

    /// Reads `window` bytes (more if one frame needs more) into `buffer` and shows each good frame's number and the
    /// place of its body to `visit`, until that answers `false`.
    pub(super) fn pass(
        &mut self,
        buffer: &mut Vec<u8>,
        mut window: usize,
        mut visit: impl FnMut(&[u8], u64, Range<usize>) -> bool,
    ) -> io::Result<Stop> {
        loop {
            if self.offset >= self.limit || self.next >= self.end {
                return Ok(Stop::End);
            }
            let whole = self.fill(buffer, window)?;
            let mut at = 0;
            let stop = loop {
                if self.next >= self.end {
                    break Stop::End;
                }
                match parse(&buffer[at..], self.salt) {
                    Parsed::Frame { seq, size, first } if seq == self.next => {
                        if !visit(buffer, seq, at + FRAME_HEAD..at + size) {
                            break Stop::Enough;
                        }
                        if first {
                            self.mark = Some(seq);
                        }
                        at += size;
                        self.next += 1;
                    }
                    Parsed::Short { .. } if whole && at == buffer.len() => break Stop::End,
                    Parsed::Short { .. } if whole => break Stop::Bad,
                    Parsed::Short { size } if at == 0 => {
                        window = size.max(window * 2);
                        break Stop::Window;
                    }
                    Parsed::Short { .. } => break Stop::Window,
                    Parsed::Frame { .. } | Parsed::Bad => break Stop::Bad,
                }
            };
            self.offset += at as u64;
            if stop == Stop::Window && at == 0 {
                continue;
            }
            return Ok(stop);
        }
    }

    /// Looks for the next good frame of this segment from here on, byte by byte, and stands before it. `false`, and
    /// unmoved, if there is none.
    pub(super) fn resync(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let (start, mut window) = (self.offset, RESYNC_WINDOW);
        while self.offset < self.limit {
            let whole = self.fill(buffer, window)?;
            let (mut more, mut at) = (None, 0);
            while at < buffer.len() {
                // No body is empty, so no frame begins with a head of zeros: where the medium gives nothing else, which
                // is the commonest damage of whole blocks, it is passed over block by block.
                if buffer[at..].starts_with(&EMPTY) {
                    at += EMPTY.len() - FRAME_HEAD + 1;
                    continue;
                }
                if self.may_begin(&buffer[at..]) {
                    match parse(&buffer[at..], self.salt) {
                        Parsed::Frame { seq, .. } => {
                            self.offset += at as u64;
                            self.next = seq;
                            return Ok(true);
                        }
                        Parsed::Short { size } if !whole => {
                            more = Some((at, size));
                            break;
                        }
                        Parsed::Short { .. } | Parsed::Bad => {}
                    }
                }
                at += 1;
            }
            match more {
                Some((at, size)) => {
                    self.offset += at as u64;
                    window = size.max(RESYNC_WINDOW);
                }
                None => break,
            }
        }
        self.offset = start;
        Ok(false)
    }

    /// Whether the head, as far as it can be seen, could be one of this segment's: rules nearly everything out before
    /// a sum is made.
    fn may_begin(&self, bytes: &[u8]) -> bool {
        let Some((head, _)) = bytes.split_first_chunk::<FRAME_HEAD>() else { return true };
        let Head { len, seq, .. } = split_head(head);
        len <= BODY_LIMIT && (self.next..self.end).contains(&seq)
    }

    /// Reads block by block, and leaves zeros (which are no frame) where the medium gives nothing. If it gives
    /// nothing at all, it may be the medium that is gone, not the data: then nothing is given up, and the error
    /// stands.
    fn fill_around(&self, buffer: &mut [u8], error: io::Error) -> io::Result<usize> {
        let (mut filled, mut any) = (0, false);
        for block in buffer.chunks_mut(BLOCK) {
            if let Ok(count) = read_full_at(&*self.file, block, self.offset + filled as u64) {
                any = true;
                filled += count;
                if count < block.len() {
                    break;
                }
            } else {
                block.fill(0);
                filled += block.len();
            }
        }
        if any { Ok(filled) } else { Err(error) }
    }

    /// Reads a window; says whether it reaches the end of what counts (or of the file, when that is shorter).
    fn fill(&self, buffer: &mut Vec<u8>, window: usize) -> io::Result<bool> {
        let count = (self.limit - self.offset).min(window as u64) as usize;
        // What was read before is overwritten; only what is new needs to be something.
        if buffer.capacity() < count {
            *buffer = vec![0; count];
        }
        buffer.resize(count, 0);
        let filled = match read_full_at(&*self.file, buffer, self.offset) {
            Ok(filled) => filled,
            Err(error) => self.fill_around(buffer, error)?,
        };
        buffer.truncate(filled);
        Ok(filled < count || self.offset + filled as u64 >= self.limit)
    }
}
