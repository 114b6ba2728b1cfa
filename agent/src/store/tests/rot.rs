//! Bit rot: any byte of any segment may flip. The store opens, serves everything else, and names what is damaged; nothing
//! is ever read that was not written.
//!
//! What a flipped byte may cost follows from where it stands, and is held exactly:
//!
//! | where | what is lost | where it is named |
//! |---|---|---|
//! | either head of a segment | nothing | - |
//! | a record in a lane's older segment | that record | the lane's damaged ranges, once it is read |
//! | a record in its newest segment | that record | the report of the opening, and the damaged ranges |
//! | the last record of all | that record, for its number cannot be proved | the report; a new epoch is drawn |
//! | the control lane's newest segment | no record; the epoch | the report |
//! | the control lane's older segment | nothing | - |
//! | a record put aside (its number there is nobody's id) | that one | the report, if it stands in the newest segment |

use super::*;
use crate::store::disk::simulated::Dice;
use crate::store::journal::driven::Driven;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes before a segment's first frame, and before a frame's body: the format's own.
const HEADS: usize = 1024;
const FRAME: usize = 16;

const LANES: [(LaneId, &str); 3] = [(CRITICAL, "critical"), (NORMAL, "normal"), (BULK, "bulk")];

/// Epoch, number, payload.
type Read = (String, u64, Vec<u8>);

/// What a store held when it was whole.
struct Written {
    disk: FaultyDisk,
    segment_size: u64,
    records: [Vec<Read>; 3],
    aside: Vec<PutAside>,
    epoch: String,
    /// The first number of each lane that the control lane does not know of.
    accounted: [u64; 3],
}

/// A store that is driven by the test, so that each opening takes a fraction of a millisecond.
struct Open {
    driven: Driven,
    store: Store,
    opened: Opened,
}

impl Open {
    fn new(disk: &FaultyDisk, segment_size: u64) -> Self {
        let options = Options { max_size: 8 * 1024 * 1024, ..options() };
        let (driven, opened) =
            Driven::open(options, Arc::new(disk.clone()), Some(segment_size)).expect("a damaged store opens");
        let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES));
        let store = Store { inner: Arc::new(Inner { shared: driven.shared(), in_flight }) };
        Self { driven, store, opened }
    }

    fn submit(&mut self, submission: Submission) {
        let mut done = send(&self.store, submission);
        self.driven.turn();
        assert!(done.try_recv().is_ok(), "the disk takes everything");
    }

    fn records(&self) -> [Vec<Read>; 3] {
        LANES.map(|(lane, _)| self.lane(lane))
    }

    /// What a lane holds but for gap records, which tell of the damage and come when they come.
    fn lane(&self, lane: LaneId) -> Vec<Read> {
        let (mut reader, mut from, mut records) = (self.store.reader(lane), 0, Vec::new());
        loop {
            let chunk = reader.read(from, ALL).expect("the lane can be read");
            let Some(last) = chunk.last_seq() else { return records };
            let published = chunk.iter().filter(|one| one.topic == record(b"").topic);
            records.extend(published.map(|one| (one.epoch.to_owned(), one.seq, one.payload.to_vec())));
            from = last + 1;
        }
    }

    fn aside(&self) -> Vec<PutAside> {
        self.store.put_aside(1000).expect("what is put aside can be read")
    }

    /// What the ledger says of each lane under this name.
    fn known<T: serde::de::DeserializeOwned>(&self, field: &str) -> [T; 3] {
        let contents = self.driven.shared().index_contents();
        LANES.map(|(_, name)| {
            let lane = contents.get(format!("lane/{name}").as_bytes()).expect("the index tells of each lane");
            let value: ciborium::Value = ciborium::from_reader(&lane[..]).expect("it is CBOR");
            let fields = value.into_map().expect("it is a map");
            let found = fields.into_iter().find(|(key, _)| key.as_text() == Some(field)).expect("it has the field");
            found.1.deserialized().expect("it is of this type")
        })
    }

    /// The damaged ranges that the ledger knows of, once the writer has heard of those just read.
    fn damaged(&mut self) -> [Vec<(u64, u64)>; 3] {
        self.driven.turn();
        self.known("bad")
    }
}

/// A store of several segments per lane: some of `normal` are put aside, and every other commit has two
/// records.
fn write(segment_size: u64, records: u64, aside: fn(u64) -> bool, mut size: impl FnMut(u64) -> usize) -> Written {
    let disk = FaultyDisk::default();
    let mut open = Open::new(&disk, segment_size);
    for number in 0..records {
        for (lane, _) in LANES {
            let payload = vec![1 + (number % 250) as u8; size(number)];
            let payloads = [&payload[..], &payload[..]];
            open.submit(submission(lane, &payloads[..=(number % 2) as usize]));
        }
        if aside(number) {
            let mut submission = Submission::new();
            submission.change(Change::PutAside { lane: NORMAL, seq: number, reason: format!("reason {number}") });
            submission.change(Change::Session(session(number)));
            open.submit(submission);
        }
    }
    let (records, aside, epoch) = (open.records(), open.aside(), open.store.stats().epoch);
    let accounted = open.known("accounted");
    open.driven.close();
    Written { disk: disk.copy(), segment_size, records, aside, epoch, accounted }
}

/// Where the frames of a segment stand: number and end of each.
fn frames(bytes: &[u8]) -> Vec<(u64, usize)> {
    let (mut at, mut frames) = (HEADS, Vec::new());
    while let Some(head) = bytes.get(at..at + FRAME) {
        let len = u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) & !(1 << 31);
        at += FRAME + len as usize;
        frames.push((u64::from_le_bytes(head[8..16].try_into().expect("eight bytes")), at));
    }
    assert_eq!(at, bytes.len(), "the segment ends with a frame");
    frames
}

/// A segment of the store: whose it is, its frames, and whether it is the newest there.
struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
    folder: String,
    frames: Vec<(u64, usize)>,
    newest: bool,
}

fn segments(written: &Written) -> Vec<Segment> {
    let folder = |path: &Path| {
        let folder = path.parent().and_then(Path::file_name).expect("a segment is in a folder");
        folder.to_string_lossy().into_owned()
    };
    let paths = written.disk.paths(".seg");
    let newest: BTreeMap<String, PathBuf> = paths.iter().map(|path| (folder(path), path.clone())).collect();
    let segments = paths.into_iter().map(|path| {
        let (bytes, folder) = (written.disk.bytes(&path), folder(&path));
        let newest = newest[&folder] == path;
        Segment { frames: frames(&bytes), path, bytes, folder, newest }
    });
    segments.collect()
}

/// What one flipped byte costs, by where it stands.
#[derive(Debug, Default)]
struct Cost {
    /// A lane and the record there.
    record: Option<(usize, u64)>,
    /// The place of a record put aside, from the oldest.
    aside: Option<u64>,
    new_epoch: bool,
    reported: bool,
}

impl Cost {
    fn is_nothing(&self) -> bool {
        self.record.is_none() && self.aside.is_none() && !self.new_epoch && !self.reported
    }
}

fn cost(segment: &Segment, at: usize) -> Cost {
    let Some(frame) = segment.frames.iter().position(|(_, end)| at < *end).filter(|_| at >= HEADS) else {
        return Cost::default();
    };
    let (seq, last) = (segment.frames[frame].0, frame + 1 == segment.frames.len());
    let tail = segment.newest && last;
    let lane = segment.folder.strip_prefix("lane-").and_then(|name| LANES.iter().position(|lane| lane.1 == name));
    match (lane, &*segment.folder) {
        (Some(lane), _) => Cost { record: Some((lane, seq)), aside: None, new_epoch: tail, reported: segment.newest },
        (None, "aside") => Cost { aside: Some(seq), reported: segment.newest, ..Cost::default() },
        _ => Cost { new_epoch: segment.newest, reported: segment.newest, ..Cost::default() },
    }
}

/// Flips a bit of one byte and holds what must hold; says what was lost.
fn flip(written: &Written, segment: &Segment, at: usize) -> Cost {
    let (disk, cost) = (written.disk.copy(), cost(segment, at));
    let mut bytes = segment.bytes.clone();
    bytes[at] ^= 1 << (at % 8);
    disk.replace(&segment.path, &bytes);
    let place = format!("byte {at} of {}: {cost:?}", segment.path.display());
    let mut open = Open::new(&disk, written.segment_size);
    let report = open.opened.report.clone();
    assert_eq!(open.opened.new_epoch, cost.new_epoch, "{place}: {report:?}");
    assert_eq!(open.store.stats().epoch != written.epoch, cost.new_epoch, "{place}");
    assert_eq!(!report.is_empty(), cost.reported, "{place}: {report:?}");
    let name = segment.path.file_name().expect("it has a name").to_string_lossy().into_owned();
    assert!(!cost.reported || report.iter().any(|line| line.contains(&name)), "{place}: {report:?}");
    let mut expected = written.records.clone();
    let mut damaged: [Vec<(u64, u64)>; 3] = Default::default();
    if let Some((lane, seq)) = cost.record {
        expected[lane].retain(|record| record.1 != seq);
        // At the very end, a number that the control lane does not know of counts as never given: the next epoch begins
        // with it.
        if !cost.new_epoch || seq < written.accounted[lane] {
            damaged[lane].push((seq, seq + 1));
        }
    }
    let mut aside = written.aside.clone();
    if let Some(number) = cost.aside {
        aside.remove(aside.len() - 1 - number as usize);
    }
    assert!(open.records() == expected, "{place}: other records than were written");
    assert!(open.aside() == aside, "{place}: something else is put aside");
    assert_eq!(open.damaged(), damaged, "{place}");
    assert!(open.records() == expected, "{place}: a second reading finds something else");
    open.driven.turn();
    let told: u64 = open.store.stats().lanes.iter().map(|lane| lane.damaged).sum();
    assert_eq!(told, damaged.iter().flatten().count() as u64, "{place}: counted once");
    open.driven.close();
    // A second start takes as long as the first: a fifth of them show as much.
    if cost.is_nothing() || at % 5 != 0 {
        return cost;
    }
    let mut open = Open::new(&disk, written.segment_size);
    assert!(!open.opened.new_epoch, "{place}: a second start draws another epoch: {:?}", open.opened.report);
    assert!(open.records() == expected, "{place}: a second start finds something else");
    assert_eq!(open.damaged(), damaged, "{place}: after a second start");
    cost
}

/// Flips every byte of the segments in the folders named; those of the heads, which cost nothing, in one older and in the
/// newest of each folder only. Says how many bytes cost a record, an epoch, and a record put aside.
fn flip_all(folders: &[&str]) -> (usize, usize, usize) {
    let written = write(1500, 9, |_| true, |number| 70 + 13 * number as usize);
    let segments = segments(&written);
    let (mut records, mut epochs, mut aside) = (0, 0, 0);
    for folder in folders {
        let of: Vec<&Segment> = segments.iter().filter(|segment| segment.folder == *folder).collect();
        assert!(of.len() > 1, "{folder} has {} segments", of.len());
        for (index, segment) in of.iter().enumerate() {
            let heads = if index == 0 || segment.newest { 0 } else { HEADS };
            for at in heads..segment.bytes.len() {
                let cost = flip(&written, segment, at);
                records += usize::from(cost.record.is_some());
                epochs += usize::from(cost.new_epoch);
                aside += usize::from(cost.aside.is_some());
            }
        }
    }
    (records, epochs, aside)
}

#[test]
fn any_byte_of_any_segment_of_a_lane_may_flip_and_the_rest_is_served() {
    let (records, epochs, aside) = flip_all(&["lane-critical", "lane-normal", "lane-bulk"]);
    assert!(records > 5_000 && epochs > 500 && aside == 0, "{records} {epochs} {aside}");
}

#[test]
fn any_byte_of_the_control_lane_may_flip_and_every_record_is_served() {
    let (records, epochs, aside) = flip_all(&["control"]);
    assert!(records == 0 && epochs > 500 && aside == 0, "{records} {epochs} {aside}");
}

#[test]
fn any_byte_of_what_is_put_aside_may_flip_and_the_rest_is_served() {
    let (records, epochs, aside) = flip_all(&["aside"]);
    assert!(records == 0 && epochs == 0 && aside > 1_000, "{records} {epochs} {aside}");
}

#[test]
fn bytes_anywhere_in_a_larger_store_may_flip_and_the_rest_is_served() {
    let mut dice = Dice(11);
    let written = write(64 * 1024, 40, |number| number % 3 == 0, |_| 1 + dice.below(12_000));
    let segments = segments(&written);
    assert!(segments.len() > 15, "{} segments", segments.len());
    for _ in 0..60 {
        let segment = &segments[dice.below(segments.len())];
        flip(&written, segment, dice.below(segment.bytes.len()));
    }
}
