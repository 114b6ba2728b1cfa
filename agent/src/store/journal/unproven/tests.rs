//! That a torn commit ends where something is missing, and that damage anywhere costs what it hits and no more.

use super::*;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::disk::{Disk, Mode};
use crate::store::journal::frame;
use crate::store::journal::segment::{self, HEAD_LEN, Head, Identity};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use tidegate_protocol::SEQ_LIMIT;

/// A segment of some commits, each of some records of so many bytes.
struct Written {
    bytes: Vec<u8>,
    head: Head,
    /// Where each frame begins, and the end.
    frames: Vec<usize>,
    /// The first number of each commit.
    commits: Vec<u64>,
}

fn written(commits: &[Vec<usize>]) -> Written {
    let identity = Identity { gateway: "gw-1".into(), epoch: "abcdefgh".into(), lane: "normal".into() };
    let (first, generation) = (7, 1);
    let (head, salt) = segment::encode(&identity, first, generation);
    let mut made = Written {
        bytes: head.to_vec(),
        head: Head { identity: Arc::new(identity), first, generation, salt },
        frames: vec![],
        commits: vec![],
    };
    let mut seq = first;
    for sizes in commits {
        made.commits.push(seq);
        for (index, size) in sizes.iter().enumerate() {
            made.frames.push(made.bytes.len());
            frame::append(&mut made.bytes, salt, seq, index == 0, &vec![seq as u8 | 1; *size]);
            seq += 1;
        }
    }
    made.frames.push(made.bytes.len());
    made
}

/// The numbers that are there, and what else was found.
fn walked(made: &Written, bytes: &[u8], committed: u64) -> (Vec<u64>, Walked) {
    let file = SimulatedDisk::new().open(Path::new("/one"), Mode::Create).expect("the disk works");
    file.write_at(bytes, 0).expect("the disk works");
    let mut scan = Scan::new(file, &made.head, bytes.len() as u64, SEQ_LIMIT);
    let mut seen = vec![];
    let found = walk(&mut scan, committed, |seq, _| seen.push(seq)).expect("the disk works");
    seen.retain(|seq| *seq < scan.next);
    (seen, found)
}

/// The number of the frame that holds a byte.
fn at(made: &Written, offset: usize) -> u64 {
    made.head.first + made.frames.partition_point(|start| *start <= offset) as u64 - 1
}

fn commits() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(1..1500_usize, 1..12), 1..5)
}

proptest! {
    #[test]
    fn of_a_commit_that_lost_any_sectors_all_up_to_the_first_missing_record_is_left(
        commits in commits(),
        lost in prop::collection::vec(any::<bool>(), 64),
        short in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let made = written(&commits);
        let begin = made.frames[(made.commits[commits.len() - 1] - made.head.first) as usize];
        let mut bytes = made.bytes.clone();
        let mut missing = made.bytes.len();
        for (sector, _) in lost.iter().enumerate().filter(|(_, lost)| **lost) {
            let from = (begin / 512 + sector) * 512;
            let (from, to) = (from.max(begin), (from + 512).min(bytes.len()));
            if from < to {
                bytes[from..to].fill(0);
                missing = missing.min(from);
            }
        }
        if let Some(short) = short {
            bytes.truncate(begin + short.index(made.bytes.len() - begin + 1));
            missing = missing.min(bytes.len());
        }
        let (seen, found) = walked(&made, &bytes, 0);
        let end = if missing < made.bytes.len() { at(&made, missing) } else { made.head.first + made.frames.len() as u64 - 1 };
        prop_assert_eq!(seen, (made.head.first..end).collect::<Vec<_>>());
        prop_assert_eq!(found.holes, vec![]);
    }

    #[test]
    fn zeros_up_to_the_end_are_room_that_was_not_used_and_anything_else_is_torn(
        commits in commits(),
        room in 1..70_000_usize,
        stray in prop::option::of((any::<prop::sample::Index>(), 1_u8..)),
    ) {
        let made = written(&commits);
        let end = made.bytes.len();
        let mut bytes = made.bytes.clone();
        bytes.resize(end + room, 0);
        if let Some((place, byte)) = &stray {
            bytes[end + place.index(room)] = *byte;
        }
        let (seen, found) = walked(&made, &bytes, 0);
        prop_assert_eq!(seen.len(), commits.iter().map(Vec::len).sum::<usize>());
        prop_assert_eq!(found.whole, stray.is_none());
        prop_assert_eq!(found.torn, if stray.is_some() { room as u64 } else { 0 });
        prop_assert!(found.holes.is_empty());
    }

    #[test]
    fn a_flipped_byte_costs_its_record_and_no_other(
        commits in commits(), offset in any::<prop::sample::Index>(), bit in 0..8_u32,
    ) {
        let made = written(&commits);
        let mut bytes = made.bytes.clone();
        let offset = HEAD_LEN + offset.index(bytes.len() - HEAD_LEN);
        bytes[offset] ^= 1 << bit;
        let hit = at(&made, offset);
        let (seen, found) = walked(&made, &bytes, 0);
        let end = made.head.first + made.frames.len() as u64 - 1;
        prop_assert_eq!(seen, (made.head.first..end).filter(|seq| *seq != hit).collect::<Vec<_>>());
        prop_assert_eq!(found.holes, if hit + 1 < end { vec![(hit, hit + 1)] } else { vec![] });
    }

    #[test]
    fn zeros_before_the_last_commit_or_in_what_is_known_to_be_committed_are_damage(
        commits in prop::collection::vec(prop::collection::vec(600..1500_usize, 2..6), 2..4), known in any::<bool>(),
    ) {
        let made = written(&commits);
        let last = made.commits[commits.len() - 1];
        let end = made.head.first + made.frames.len() as u64 - 1;
        // The first record of all, or of the last commit.
        let hit = if known { last } else { made.head.first };
        let mut bytes = made.bytes.clone();
        let index = (hit - made.head.first) as usize;
        bytes[made.frames[index]..made.frames[index + 1]].fill(0);
        let (seen, found) = walked(&made, &bytes, if known { last + 1 } else { 0 });
        prop_assert_eq!(seen, (made.head.first..end).filter(|seq| *seq != hit).collect::<Vec<_>>());
        prop_assert_eq!(found, Walked { holes: vec![(hit, hit + 1)], torn: 0, whole: false });
    }
}
