//! A store with a large backlog, made in seconds: most of its segments are sparse, with true heads and names, and only the
//! oldest and the newest of each lane hold records.
//!
//! It is written from the format that the journal's documentation gives, not with the journal's code: so it is a second
//! reading of that format too. There is no control lane: an agent that opens it takes it for lost, sends everything
//! again, and writes a new one. A second start finds an ordinary store. A record's device is named as its lane is.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// Bytes of one copy of a segment's head, of which there are two.
const COPY: usize = 512;

/// Top bit of a frame's length: the first frame of its commit.
const FIRST: u32 = 1 << 31;

/// Frames in one commit of those made here.
const COMMIT: u64 = 64;

/// What a backlog looks like, per lane.
#[derive(Debug, Clone, Copy)]
pub struct Lane {
    /// Its name.
    pub name: &'static str,
    /// How many segments it has.
    pub segments: u64,
    /// How many of the oldest hold records; the newest does too.
    pub whole: u64,
    /// Bytes of each segment; sparse ones have that length and next to no blocks.
    pub segment_bytes: u64,
    /// Bytes of each payload, at least 8: it begins with the record's number in decimal.
    pub payload: usize,
}

/// What was made of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// The number after its last.
    pub records: u64,
    /// How many the oldest, whole segments hold.
    pub oldest: u64,
    /// Bytes that its files seem to have.
    pub bytes: u64,
    /// Bytes of its newest segment.
    pub tail: u64,
}

/// Makes a lane of a store at `path`. Each sparse segment stands for as many records as a whole one holds.
#[must_use]
pub fn make(path: &Path, gateway: &str, lane: Lane) -> Made {
    let folder = path.join(format!("lane-{}", lane.name));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).expect("a folder for the lane");
    let (mut first, mut bytes, mut tail) = (0, 0, 0);
    for generation in 1..=lane.segments {
        let (head, salt) = head(gateway, "backlog1", lane.name, first, generation);
        let name: PathBuf = folder.join(format!("{first:016}-{generation:010}.seg"));
        let file = File::options().write(true).create_new(true).open(name).expect("a new segment");
        let whole = generation <= lane.whole || generation == lane.segments;
        let (written, records) = if whole {
            let (text, records) = frames(head, salt, first, lane);
            file.write_all_at(&text, 0).expect("room for a whole segment");
            (text.len() as u64, records)
        } else {
            file.write_all_at(&head, 0).expect("room for a head");
            file.set_len(lane.segment_bytes).expect("a sparse segment");
            (lane.segment_bytes, per_segment(lane))
        };
        first += records;
        bytes += written;
        tail = written;
    }
    Made { records: first, oldest: lane.whole * per_segment(lane), bytes, tail }
}

/// The head of a segment, both copies, and the salt of its frames.
fn head(gateway: &str, epoch: &str, lane: &str, first: u64, generation: u64) -> (Vec<u8>, u32) {
    let mut copy = [0; COPY];
    copy[..8].copy_from_slice(b"TIDEGATE");
    copy[12..14].copy_from_slice(&2_u16.to_le_bytes());
    let mut at = 40;
    for (index, text) in [gateway, epoch, lane].iter().enumerate() {
        copy[16 + index] = u8::try_from(text.len()).expect("a short name");
        copy[at..at + text.len()].copy_from_slice(text.as_bytes());
        at += text.len();
    }
    copy[24..32].copy_from_slice(&first.to_le_bytes());
    copy[32..40].copy_from_slice(&generation.to_le_bytes());
    let salt = crc32c::crc32c(&copy[12..]);
    copy[8..12].copy_from_slice(&salt.to_le_bytes());
    (copy.repeat(2), salt)
}

/// The payload of a record: its number and padding, a JSON string.
fn payload(seq: u64, len: usize) -> String {
    format!("\"{seq:0>width$}\"", width = len - 2)
}

/// A record's frame.
fn frame(out: &mut Vec<u8>, salt: u32, seq: u64, first: bool, lane: Lane) {
    let (device, topic) = (lane.name, "d/t");
    let mut body = vec![0]; // received while the clock was not right
    body.extend(1_700_000_000_000_u64.to_le_bytes());
    body.extend(7_u32.to_le_bytes());
    body.extend(&seq.to_le_bytes()[..6]);
    body.extend((device.len() as u16).to_le_bytes());
    body.extend((topic.len() as u16).to_le_bytes());
    body.extend(device.bytes().chain(topic.bytes()).chain(payload(seq, lane.payload).bytes()));
    let mut covered = (body.len() as u32 | if first { FIRST } else { 0 }).to_le_bytes().to_vec();
    covered.extend(seq.to_le_bytes());
    covered.extend(body);
    out.extend(crc32c::crc32c_append(salt, &covered).to_le_bytes());
    out.extend(covered);
}

/// A head and as many frames as fit into a segment.
fn frames(mut out: Vec<u8>, salt: u32, first: u64, lane: Lane) -> (Vec<u8>, u64) {
    let records = per_segment(lane);
    for index in 0..records {
        frame(&mut out, salt, first + index, index % COMMIT == 0, lane);
    }
    (out, records)
}

/// How many records a whole segment holds.
fn per_segment(lane: Lane) -> u64 {
    let mut one = Vec::new();
    frame(&mut one, 0, 0, true, lane);
    (lane.segment_bytes - 2 * COPY as u64) / one.len() as u64
}
