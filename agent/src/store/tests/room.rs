//! The byte limit: what is evicted, and how it is counted.

use super::*;

const LIMIT: u64 = 4 * 1024 * 1024;

fn small(disk: &FaultyDisk) -> Store {
    open_with(disk, Options { max_size: LIMIT, ..options() }).0
}

fn used(disk: &FaultyDisk) -> u64 {
    disk.paths("").iter().map(|path| disk.bytes(path).len() as u64).sum()
}

#[test]
fn the_limit_is_kept_and_the_oldest_of_the_lowest_lane_goes_first() {
    let disk = FaultyDisk::default();
    let store = small(&disk);
    for number in 0..100_u8 {
        put(&store, CRITICAL, &[&[number; 5_000]]);
        put(&store, NORMAL, &[&[number; 5_000]]);
        put(&store, BULK, &[&[number; 5_000]]);
    }
    for number in 100..160_u8 {
        put(&store, NORMAL, &[&vec![number; 40_000]]);
        assert!(used(&disk) <= LIMIT, "{} bytes", used(&disk));
    }
    let lanes = store.stats().lanes;
    assert_eq!((lanes[0].evicted, lanes[1].evicted), (0, 0), "bulk goes first");
    assert!(lanes[2].evicted > 0);
    for number in 160..=255_u8 {
        put(&store, NORMAL, &[&vec![number; 20_000]]);
        put(&store, NORMAL, &[&vec![number; 20_000]]);
        assert!(used(&disk) <= LIMIT, "{} bytes", used(&disk));
    }
    let lanes = store.stats().lanes;
    assert_eq!(lanes[0].evicted, 0);
    assert_eq!((lanes[2].evicted, lanes[2].waiting), (100, 0), "bulk is gone to its last record");
    for (index, lane) in lanes.iter().enumerate() {
        let left = numbers(&store, LaneId(index as u8));
        assert_eq!(left, (lane.evicted..lane.next).collect::<Vec<_>>());
        assert_eq!((lane.waiting, lane.cursor), (left.len() as u64, lane.evicted));
    }
    let (again, opened) = open_with(&disk.crash(0), Options { max_size: LIMIT, ..options() });
    assert!(!opened.new_epoch, "{:?}", opened.report);
    let counted: Vec<_> = again.stats().lanes.iter().map(|lane| (lane.evicted, lane.waiting)).collect();
    assert_eq!(counted, lanes.iter().map(|lane| (lane.evicted, lane.waiting)).collect::<Vec<_>>());
}

#[test]
fn what_was_delivered_is_never_counted_as_evicted() {
    let disk = FaultyDisk::default();
    let store = small(&disk);
    for number in 0..400_u64 {
        put(&store, NORMAL, &[&vec![0; 30_000]]);
        change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: number + 1 });
    }
    assert_eq!(store.stats().lanes[1].evicted, 0);
    assert!(used(&disk) < 2 * 1024 * 1024);
}

#[test]
fn acknowledged_segments_go_but_never_the_newest() {
    let disk = FaultyDisk::default();
    let store = small(&disk);
    for _ in 0..50 {
        put(&store, NORMAL, &[&vec![0; 30_000]]);
    }
    assert!(disk.paths("lane-normal").len() > 5);
    let mut reader = store.reader(NORMAL);
    let chunk = reader.read(0, ReadLimit { records: 1, bytes: 0 }).expect("the lane can be read");
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 50 });
    until("they go", || disk.paths("lane-normal").len() == 1);
    assert_eq!(chunk.get(0).map(|record| record.payload.len()), Some(30_000));
    put(&store, NORMAL, &[b"next"]);
    assert_eq!(reader.read(1, ALL).ok().and_then(|chunk| chunk.last_seq()), Some(50));
}

#[test]
fn what_is_put_aside_is_bounded_and_what_it_loses_is_the_oldest() {
    let disk = FaultyDisk::default();
    let store = small(&disk);
    for number in 0..60_u64 {
        put(&store, NORMAL, &[&[number as u8; 10_000]]);
        let mut poison = Submission::new();
        poison.change(Change::PutAside { lane: NORMAL, seq: number, reason: "bad".into() });
        poison.change(Change::Acknowledge { lane: NORMAL, from: 0, below: number + 1 });
        wait(send(&store, poison));
    }
    let kept = store.put_aside(1000).expect("the lane can be read");
    let numbers: Vec<_> = kept.iter().map(|one| one.seq).collect();
    assert_eq!(numbers, (60 - kept.len() as u64..60).rev().collect::<Vec<_>>());
    let bytes: usize = disk.paths("aside").iter().map(|path| disk.bytes(path).len()).sum();
    assert!((8..40).contains(&kept.len()) && bytes <= 300 * 1024, "{} records, {bytes} bytes", kept.len());
    assert_eq!(store.stats().put_aside, 60);
}

#[test]
fn a_submission_that_can_never_fit_withholds_its_answer_and_says_why() {
    let disk = FaultyDisk::default();
    let (store, _) = open_with(&disk, Options { max_size: MIN_MAX_SIZE, ..options() });
    let done = send(&store, submission(NORMAL, &[&vec![0; 3 * 1024 * 1024]]));
    until("it says so", || store.stats().stalled.is_some_and(|reason| reason.to_string().contains("raise max_size")));
    store.close();
    assert!(done.blocking_recv().is_err());
}
