//! Frames made ahead, on a disk that fails; what they lead to in random company is the model's business
//! (`store::tests::cuts`).

use super::*;
use crate::clock::Stamp;
use crate::store::disk::faulty::FaultyDisk;
use crate::store::journal::driven::Driven;
use crate::store::{Change, NewRecord, Options, Origin, ReadLimit};
use std::sync::Arc;
use tidegate_protocol::LaneId;
use tokio::sync::oneshot::Receiver;

const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// Framed, three submissions of [`put`] are more than that.
const LIMIT: usize = 700;

fn open(disk: &FaultyDisk, segment_size: Option<u64>) -> Driven {
    let options = Options { max_size: 8 << 20, ..Options::new("/store".into(), "gw-1", &["critical", "normal"]) };
    let (mut driven, _) = Driven::open(options, Arc::new(disk.clone()), segment_size).expect("the store opens");
    driven.limit_commits(LIMIT);
    driven
}

fn submission(lane: u8, number: u8, origin: Option<Origin>) -> Submission {
    let mut submission = Submission::new();
    let (device, topic, stamp) = ("d-1", "t", Stamp::default());
    submission.push(LaneId(lane), &NewRecord { device, topic, payload: &[number; 200], stamp, origin, will: false });
    submission
}

fn put(driven: &Driven, lane: u8, number: u8) -> Receiver<crate::store::Committed> {
    hand_in(driven, submission(lane, number, None))
}

fn hand_in(driven: &Driven, mut submission: Submission) -> Receiver<crate::store::Committed> {
    let done = submission.on_commit();
    driven.shared().submit(submission);
    done
}

/// The numbers that stand in a lane's payloads.
fn read(driven: &Driven, lane: usize) -> Vec<u8> {
    let (mut reader, mut found) = (driven.shared().reader(lane).expect("the lane is there"), Vec::new());
    loop {
        let chunk = reader.read(found.len() as u64, ALL).expect("the lane can be read");
        if chunk.is_empty() {
            return found;
        }
        found.extend(chunk.iter().map(|one| one.payload[0]));
    }
}

/// Nine submissions, then turns until all are answered; says how many were framed ahead.
fn nine(driven: &mut Driven, lanes: &[u8]) -> u64 {
    let before = driven.framed_ahead();
    let mut open: Vec<_> = (0..9).map(|number| put(driven, lanes[usize::from(number) % lanes.len()], number)).collect();
    for _ in 0..20 {
        driven.turn();
        // In order: none is answered before an earlier one.
        let answered = open.iter_mut().map(|done| done.try_recv().is_ok()).take_while(|is| *is).count();
        open.drain(..answered);
        assert!(open.iter_mut().all(|done| done.try_recv().is_err()), "an answer out of order");
    }
    assert!(open.is_empty(), "{} are not answered", open.len());
    driven.framed_ahead() - before
}

#[test]
fn what_is_left_over_is_framed_ahead_and_comes_back_in_order_after_a_cut() {
    let disk = FaultyDisk::default();
    let mut driven = open(&disk, None);
    assert_eq!(nine(&mut driven, &[1]), 7, "all but the first commit's two");
    assert_eq!(read(&driven, 1), (0..9).collect::<Vec<_>>());
    let driven = open(&disk.crash(0), None);
    assert_eq!(read(&driven, 1), (0..9).collect::<Vec<_>>());
}

#[test]
fn several_lanes_and_new_segments_are_framed_ahead_too() {
    let disk = FaultyDisk::default();
    // A head is 1 KiB, so each commit fills its segment.
    let mut driven = open(&disk, Some(1500));
    assert_eq!(nine(&mut driven, &[0, 1, 1]), 7);
    assert!(disk.paths("lane-normal").len() > 2 && disk.paths("lane-critical").len() > 1, "segments do not roll");
    let driven = open(&disk.crash(0), None);
    assert_eq!(read(&driven, 0), [0, 3, 6]);
    assert_eq!(read(&driven, 1), [1, 2, 4, 5, 7, 8]);
}

#[test]
fn after_a_failed_sync_or_write_nothing_that_was_framed_ahead_is_used() {
    for call in ["sync", "write", "create"] {
        let disk = FaultyDisk::default();
        let mut driven = open(&disk, Some(1500));
        let first = put(&driven, 1, 100);
        driven.turn();
        drop(first);
        let begin = driven.framed_ahead();
        let open_ones: Vec<_> = (0..6).map(|number| put(&driven, 1, number)).collect();
        disk.set(|faults| match call {
            "sync" => faults.sync = Some(("lane-normal".into(), 1)),
            "write" => faults.write = Some(("lane-normal".into(), 28)),
            _ => faults.create = Some(("lane-normal".into(), 28)),
        });
        driven.turn();
        disk.set(|faults| (faults.write, faults.create) = (None, None));
        assert_eq!(driven.framed_ahead(), begin);
        for _ in 0..10 {
            driven.turn();
        }
        drop(open_ones);
        let expected: Vec<_> = [100].into_iter().chain(0..6).collect();
        assert_eq!(read(&driven, 1), expected, "after a failed {call}");
        let driven = open(&disk.crash(0), None);
        assert_eq!(read(&driven, 1), expected, "after a failed {call} and a cut");
    }
}

#[test]
fn a_submission_with_a_change_or_an_origin_is_left_to_its_commit_and_keeps_its_place() {
    let disk = FaultyDisk::default();
    let mut driven = open(&disk, None);
    let origin = Some(Origin { session: 1, packet_id: 1 });
    let mut with_change = submission(1, 3, None);
    with_change.change(Change::Sent { lane: LaneId(1), from: 0, below: 1 });
    let all = [submission(1, 0, None), submission(1, 1, None), submission(1, 2, origin), with_change];
    let open_ones: Vec<_> = all.into_iter().map(|one| hand_in(&driven, one)).collect();
    for _ in 0..4 {
        driven.turn();
    }
    assert!(open_ones.into_iter().all(|mut done| done.try_recv().is_ok()));
    assert_eq!((read(&driven, 1), driven.framed_ahead()), (vec![0, 1, 2, 3], 0));
}

#[test]
fn what_many_submit_faster_than_it_can_be_committed_is_answered_and_all_of_it_is_read_back() {
    const RECORDS: u64 = 6000;
    let disk = FaultyDisk::default();
    let options = Options { max_size: 1 << 30, ..Options::new("/store".into(), "gw-1", &["critical", "normal"]) };
    let (store, _) = crate::store::Store::open_on(options, Arc::new(disk.clone())).expect("the store opens");
    let payload = |number: u64| number.to_le_bytes().repeat(100);
    let open_ones: Vec<_> = (0..RECORDS)
        .map(|number| {
            let mut submission = Submission::new();
            let (device, topic, stamp) = ("d-1", "t", Stamp::default());
            let payload = &payload(number);
            submission.push(LaneId(1), &NewRecord { device, topic, payload, stamp, origin: None, will: false });
            let done = submission.on_commit();
            store.submit(submission);
            done
        })
        .collect();
    for done in open_ones {
        done.blocking_recv().expect("it is answered");
    }
    assert!(store.stats().commits < RECORDS / 4, "{} commits", store.stats().commits);
    store.close();
    let (store, _) = crate::store::Store::open_on(
        Options { max_size: 1 << 30, ..Options::new("/store".into(), "gw-1", &["critical", "normal"]) },
        Arc::new(disk.crash(0)),
    )
    .expect("the store opens");
    let (mut reader, mut next) = (store.reader(LaneId(1)), 0);
    while next < RECORDS {
        let chunk = reader.read(next, ALL).expect("the lane can be read");
        assert!(!chunk.is_empty(), "only {next} are there");
        for one in chunk.iter() {
            assert!(one.seq == next && one.payload == payload(next), "{next} reads otherwise");
            next += 1;
        }
    }
}
