//! The limits on a disk that others use too: free space, inodes, reserves, refusal, and delivered records that are kept.

use super::*;
use crate::clock::{Clock, SetClock};
use crate::store::journal::driven::Driven;
use std::path::Path;

const MIB: u64 = 1024 * 1024;

/// A store whose writer's turns the test takes, on a disk of its own.
struct Bench {
    disk: FaultyDisk,
    driven: Driven,
    store: Store,
}

impl Bench {
    fn open(disk: &FaultyDisk, options: Options) -> Self {
        let (driven, _) = Driven::open(options, Arc::new(disk.clone()), None).expect("the store opens");
        let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES));
        let store = Store { inner: Arc::new(Inner { shared: driven.shared(), in_flight }) };
        Self { disk: disk.clone(), driven, store }
    }

    fn send(&mut self, submission: Submission) -> oneshot::Receiver<Committed> {
        let done = send(&self.store, submission);
        self.driven.turn();
        done
    }

    /// Stores one record of so many bytes.
    fn put(&mut self, lane: LaneId, size: usize) -> bool {
        self.send(submission(lane, &[&vec![7; size]])).try_recv().is_ok()
    }

    fn change(&mut self, change: Change) {
        let mut submission = Submission::new();
        submission.change(change);
        let mut done = self.send(submission);
        // Records that had waited go before it, as many as one commit takes.
        for _ in 0..1000 {
            if done.try_recv().is_ok() {
                return;
            }
            self.driven.turn();
        }
        panic!("changes always go through: {:?}", self.store.stats());
    }

    fn acknowledge(&mut self, lane: LaneId, from: u64, below: u64) {
        self.change(Change::Acknowledge { lane, from, below });
    }

    /// Bytes that our files take.
    fn used(&self) -> u64 {
        self.disk.paths("/store").iter().map(|path| self.disk.bytes(path).len() as u64).sum()
    }

    fn free(&self) -> u64 {
        use crate::store::disk::Disk;
        self.disk.space(Path::new("/store")).expect("the disk answers").free_bytes
    }

    /// Somebody else's file has so many bytes.
    fn others(&self, bytes: u64) {
        self.disk.replace(Path::new("/log"), &vec![0; bytes as usize]);
    }

    fn lane(&self, lane: LaneId) -> LaneStats {
        self.store.stats().lanes[lane.index()].clone()
    }

    fn files(&self, part: &str) -> usize {
        self.disk.paths(part).len()
    }
}

/// A disk of 24 MiB, of which 4 are to stay free; a store of at most 16, at least 6.
fn shared_disk() -> (FaultyDisk, Options) {
    let disk = FaultyDisk::default();
    disk.set(|faults| faults.capacity = Some(24 * MIB));
    (disk, Options { max_size: 16 * MIB, min_size: 6 * MIB, keep_free: 4 * MIB, ..options() })
}

#[test]
fn others_fill_the_disk_and_the_store_gives_way_down_to_the_least_and_grows_again() {
    let (disk, options) = shared_disk();
    let mut bench = Bench::open(&disk, options);
    for _ in 0..500 {
        assert!(bench.put(NORMAL, 40_000));
        assert!(bench.used() <= 16 * MIB && bench.free() >= 4 * MIB);
    }
    assert!(bench.used() > 15 * MIB, "it grows to its limit");
    // Others take 3 MiB more than there is to spare: as much is given back, without a record coming in.
    bench.others(7 * MIB);
    assert!(bench.free() < 4 * MIB);
    for _ in 0..3 {
        bench.driven.turn();
    }
    assert!(bench.free() >= 4 * MIB, "{} free", bench.free());
    assert!(bench.free() < 4 * MIB + 512 * 1024, "no more than needed: {} free", bench.free());
    assert!(bench.put(NORMAL, 40_000));
    assert!(bench.free() >= 4 * MIB);
    // Others take all there is: the store keeps its least, and replaces old by new.
    bench.others(24 * MIB - bench.used() - MIB);
    for _ in 0..5 {
        bench.driven.turn();
    }
    bench.others(24 * MIB - bench.used() - MIB);
    let mut lowest = u64::MAX;
    for _ in 0..300 {
        let (before, free) = (bench.used(), bench.free());
        assert!(bench.put(NORMAL, 40_000), "{:?}", bench.store.stats().stalled);
        lowest = lowest.min(bench.used());
        assert!(bench.used() <= before.max(7 * MIB) && bench.free() >= free.min(MIB - 400_000), "{}", bench.free());
    }
    assert!(lowest >= 5 * MIB, "{lowest} left");
    let lane = bench.lane(NORMAL);
    assert_eq!(numbers(&bench.store, NORMAL), (lane.evicted..lane.next).collect::<Vec<_>>(), "the newest are there");
    assert!(bench.store.stats().allowed < 8 * MIB);
    // The disk is freed.
    bench.others(0);
    for _ in 0..400 {
        assert!(bench.put(NORMAL, 40_000));
        assert!(bench.free() >= 4 * MIB);
    }
    assert!(bench.used() > 15 * MIB, "it grows again: {}", bench.used());
    assert_eq!(bench.store.stats().allowed, 16 * MIB);
}

#[test]
fn a_store_that_has_delivered_all_goes_on_on_a_full_disk_within_a_little() {
    let (disk, options) = shared_disk();
    let mut bench = Bench::open(&disk, options);
    bench.put(NORMAL, 1000);
    bench.acknowledge(NORMAL, 0, 1);
    bench.others(24 * MIB - bench.used() - 2 * MIB);
    for seq in 1..300 {
        assert!(bench.put(NORMAL, 5000), "{:?}", bench.store.stats().stalled);
        bench.acknowledge(NORMAL, seq, seq + 1);
    }
    assert_eq!(bench.lane(NORMAL).evicted, 0);
    assert!(bench.free() > MIB, "{} free", bench.free());
    // Not delivered, the oldest of these few go for the new ones.
    for _ in 0..200 {
        assert!(bench.put(NORMAL, 5000), "{:?}", bench.store.stats().stalled);
    }
    assert!(bench.lane(NORMAL).evicted > 0 && bench.free() > MIB, "{} free", bench.free());
}

#[test]
fn while_inodes_are_short_a_new_segment_takes_the_place_of_an_old_one() {
    let disk = FaultyDisk::default();
    disk.set(|faults| faults.inodes = Some(200));
    let mut bench = Bench::open(&disk, Options { max_size: 64 * MIB, keep_free_inodes: 100, ..options() });
    // Gap records need no file of their own then.
    assert!(bench.put(CRITICAL, 10));
    for _ in 0..60 {
        assert!(bench.put(NORMAL, 100_000));
    }
    let files = bench.files("");
    assert!(files >= 8, "{files}");
    disk.set(|faults| faults.inodes = Some(100 + files as u64));
    for _ in 0..60 {
        assert!(bench.put(NORMAL, 100_000));
        assert!(bench.files("") <= files, "{} files", bench.files(""));
    }
    let evicted = bench.lane(NORMAL).evicted;
    assert!((40..=60).contains(&evicted), "the oldest made place: {evicted}");
    // There is enough again.
    disk.set(|faults| faults.inodes = Some(200));
    for _ in 0..60 {
        assert!(bench.put(NORMAL, 100_000));
    }
    assert_eq!(bench.lane(NORMAL).evicted, evicted);
}

#[test]
fn while_inodes_are_short_a_segment_that_stands_alone_grows_on_and_nothing_is_lost() {
    let disk = FaultyDisk::default();
    let mut bench = Bench::open(&disk, Options { max_size: 64 * MIB, keep_free_inodes: 100, ..options() });
    assert!(bench.put(NORMAL, 1000));
    disk.set(|faults| faults.inodes = Some(100));
    for _ in 0..40 {
        assert!(bench.put(NORMAL, 100_000));
    }
    assert_eq!((bench.files("lane-normal"), bench.lane(NORMAL).evicted), (1, 0));
    disk.set(|faults| faults.inodes = None);
    assert!(bench.put(NORMAL, 1000));
    assert_eq!((bench.files("lane-normal"), bench.lane(NORMAL).evicted), (2, 0));
}

fn reserving(policy: Policy) -> Options {
    let mut options = Options { max_size: 8 * MIB, policy, ..options() };
    options.lanes[0].reserve = 2 * MIB;
    options.lanes[1].reserve = MIB;
    options
}

#[test]
fn bulk_never_pushes_out_critical_within_its_reserve() {
    let mut bench = Bench::open(&FaultyDisk::default(), reserving(Policy::DropOldest));
    for _ in 0..18 {
        assert!(bench.put(CRITICAL, 100_000));
    }
    for _ in 0..20 {
        assert!(bench.put(NORMAL, 100_000));
    }
    for _ in 0..200 {
        assert!(bench.put(BULK, 100_000));
        assert!(bench.used() <= 8 * MIB);
    }
    // What was evicted is told of by records of critical's own.
    assert!(bench.lane(CRITICAL).evicted == 0 && bench.lane(CRITICAL).waiting >= 18);
    let bulk = bench.lane(BULK);
    assert!(bulk.evicted > 0 && bulk.waiting > 10, "{bulk:?}");
    // Nor does normal, which may take all else from bulk, and its own oldest.
    for _ in 0..200 {
        assert!(bench.put(NORMAL, 100_000));
    }
    assert_eq!((bench.lane(CRITICAL).evicted, bench.lane(BULK).waiting), (0, 0));
    assert!(bench.lane(NORMAL).evicted > 0);
    // Critical takes back all that is above the others' reserves.
    for _ in 0..200 {
        assert!(bench.put(CRITICAL, 100_000));
    }
    let normal = bench.lane(NORMAL).bytes;
    assert!((MIB..MIB + 300_000).contains(&normal), "{normal} bytes of normal are left");
    assert!(bench.lane(CRITICAL).evicted > 0);
}

#[test]
fn refused_records_wait_while_other_lanes_go_on_and_come_once_in_order_when_there_is_room() {
    let mut bench = Bench::open(&FaultyDisk::default(), reserving(Policy::Refuse));
    let (mut waiting, mut stored) = (Vec::new(), 0_u64);
    for number in 0..200_u32 {
        let mut publish = Submission::new();
        publish.push(BULK, &record(&[&number.to_le_bytes()[..], &vec![0; 50_000]].concat()));
        // What came with it is not kept waiting.
        publish.change(Change::Refused(Refusal { cause: "size".into(), who: "d".into(), count: 1 }));
        let mut done = bench.send(publish);
        match done.try_recv() {
            Ok(_) => stored += 1,
            Err(_) => waiting.push(done),
        }
    }
    assert!(waiting.len() > 80, "{stored} stored");
    let stats = bench.store.stats();
    assert_eq!((stats.lanes[2].evicted, stats.stalled.clone()), (0, None));
    assert_eq!(stats.refused, 200);
    assert_eq!(stats.refusing.len(), 1);
    assert!(stats.refusing[0].lane == "bulk" && stats.refusing[0].reason.to_string().contains("max_size"), "{stats:?}");
    assert!(bench.store.refuses() && stats.withheld().is_some_and(|reason| reason.to_string().contains("bulk")));
    assert!(bench.used() <= 5 * MIB, "{} bytes, 3 MiB are others'", bench.used());
    // The others use their reserves, and no more than that.
    for _ in 0..17 {
        assert!(bench.put(CRITICAL, 100_000));
    }
    assert!(bench.put(NORMAL, 100_000));
    assert!(!bench.put(BULK, 10), "order within a lane is kept");
    // Delivery makes room: all come, once, in their order.
    let mut seen = Vec::new();
    for _ in 0..100 {
        let read = read_from(&bench.store, BULK, bench.store.cursor(BULK));
        let Some(last) = read.last().map(|one| one.1) else { break };
        seen.extend(read.iter().filter(|one| one.2.len() > 1000).map(|one| one.2[0]));
        bench.acknowledge(BULK, 0, last + 1);
        bench.driven.turn();
    }
    assert_eq!(seen, (0..200).collect::<Vec<u8>>());
    assert!(waiting.iter_mut().all(|done| done.try_recv().is_ok()));
    assert!(bench.store.stats().refusing.is_empty() && !bench.store.refuses());
    assert_eq!(bench.lane(BULK).evicted, 0);
}

#[test]
fn what_waits_behind_a_refused_record_keeps_its_place_in_all_its_lanes() {
    let mut bench = Bench::open(&FaultyDisk::default(), reserving(Policy::Refuse));
    while bench.put(BULK, 50_000) {}
    let mut both = submission(CRITICAL, &[b"first"]);
    both.push(BULK, &record(b"with it"));
    assert!(bench.send(both).try_recv().is_err());
    assert!(!bench.put(CRITICAL, 10), "it comes after the one that waits");
    assert!(bench.put(NORMAL, 10));
    assert_eq!(bench.store.stats().refusing.len(), 2);
    bench.acknowledge(BULK, 0, bench.lane(BULK).next);
    for _ in 0..10 {
        bench.driven.turn();
    }
    assert_eq!(payloads(&bench.store, CRITICAL), [b"first".to_vec(), vec![7; 10]]);
    assert!(bench.store.stats().refusing.is_empty());
}

#[test]
fn a_lane_without_room_beside_others_reserves_waits_and_stops_nobody() {
    let mut options = Options { max_size: 8 * MIB, ..options() };
    options.lanes[0].reserve = 5 * MIB;
    let mut bench = Bench::open(&FaultyDisk::default(), options);
    for _ in 0..49 {
        assert!(bench.put(CRITICAL, 100_000));
    }
    assert!(!bench.put(BULK, 3_200_000), "it could only go into what is critical's");
    assert!(bench.put(CRITICAL, 1000) && bench.put(NORMAL, 1000));
    let stats = bench.store.stats();
    assert!(stats.stalled.is_none() && stats.refusing[0].reason.to_string().contains("reserved"), "{stats:?}");
}

#[test]
fn reserves_that_leave_no_room_are_refused_with_words() {
    let mut options = options();
    options.lanes[2].reserve = options.max_size;
    let refused = Store::open_on(options.clone(), Arc::new(FaultyDisk::default()));
    assert!(matches!(&refused, Err(StoreError::Options { what }) if what.contains("reserved")), "{refused:?}");
    options.lanes[2].reserve = 0;
    options.min_size = options.max_size + 1;
    let refused = Store::open_on(options, Arc::new(FaultyDisk::default()));
    assert!(matches!(&refused, Err(StoreError::Options { what }) if what.contains("min_size")), "{refused:?}");
}

const HOUR: u64 = 3_600_000;

/// A store that keeps what is delivered for an hour, with a clock.
fn keeping(max_size: u64) -> (FaultyDisk, Arc<SetClock>, Options) {
    let clock = Arc::new(SetClock::at(stamp(HOUR)));
    let keep_delivered = Duration::from_millis(HOUR);
    let options = Options { max_size, keep_delivered, clock: clock.clone(), ..options() };
    (FaultyDisk::default(), clock, options)
}

fn put_at(bench: &mut Bench, lane: LaneId, clock: &SetClock, size: usize) {
    let payload = vec![7; size];
    let mut submission = Submission::new();
    submission.push(lane, &NewRecord { stamp: clock.now(), ..record(&payload) });
    assert!(bench.send(submission).try_recv().is_ok());
}

#[test]
fn delivered_records_are_kept_for_their_time_over_a_restart_and_then_go() {
    let (disk, clock, options) = keeping(16 * MIB);
    let mut bench = Bench::open(&disk, options.clone());
    for _ in 0..30 {
        put_at(&mut bench, NORMAL, &clock, 50_000);
        clock.advance(60_000);
    }
    bench.acknowledge(NORMAL, 0, 30);
    bench.driven.turn();
    assert_eq!(numbers(&bench.store, NORMAL).len(), 30, "all are there still");
    let kept = bench.lane(NORMAL).kept;
    assert!(kept > MIB && kept < bench.lane(NORMAL).bytes, "{kept}");
    assert_eq!(bench.lane(NORMAL).waiting, 0);
    // Half an hour later the first ones are older than an hour.
    clock.advance(HOUR / 2 + 600_000);
    bench.driven.turn();
    let left = numbers(&bench.store, NORMAL);
    assert!((15..28).contains(&left.len()) && left.last() == Some(&29), "{left:?}");
    drop(bench);
    let mut bench = Bench::open(&disk, options);
    assert_eq!(numbers(&bench.store, NORMAL), left);
    bench.change(Change::Replay { lane: NORMAL, from: 0, below: 30 });
    assert_eq!(bench.lane(NORMAL).waiting, left.len() as u64, "what is kept can be delivered again");
    bench.acknowledge(NORMAL, 0, 30);
    clock.advance(HOUR);
    bench.driven.turn();
    assert_eq!(bench.files("lane-normal"), 1, "the newest stays");
    assert_eq!((bench.lane(NORMAL).evicted, bench.lane(NORMAL).damaged), (0, 0));
}

#[test]
fn a_kept_record_of_an_unknown_time_counts_from_the_start_of_the_process() {
    let (disk, clock, options) = keeping(16 * MIB);
    let mut bench = Bench::open(&disk, options.clone());
    clock.set(Stamp { wall_ms: 5, uptime_ms: 5, boot: 1, trusted: false });
    for _ in 0..30 {
        put_at(&mut bench, NORMAL, &clock, 50_000);
    }
    bench.acknowledge(NORMAL, 0, 30);
    drop(bench);
    // Another boot, and the clock is right at once: how old they are, nobody knows.
    clock.set(Stamp { wall_ms: 1000 * HOUR, uptime_ms: 5, boot: 2, trusted: true });
    let mut bench = Bench::open(&disk, options);
    bench.driven.turn();
    assert_eq!(numbers(&bench.store, NORMAL).len(), 30);
    clock.advance(HOUR - 1);
    bench.driven.turn();
    assert_eq!(numbers(&bench.store, NORMAL).len(), 30);
    clock.advance(1);
    bench.driven.turn();
    assert_eq!(bench.files("lane-normal"), 1);
}

#[test]
fn kept_records_are_the_first_to_go_and_leave_no_trace() {
    let (disk, clock, options) = keeping(8 * MIB);
    let mut bench = Bench::open(&disk, options);
    for _ in 0..20 {
        put_at(&mut bench, CRITICAL, &clock, 100_000);
    }
    bench.acknowledge(CRITICAL, 0, 20);
    for _ in 0..70 {
        put_at(&mut bench, BULK, &clock, 100_000);
    }
    assert!(bench.used() <= 8 * MIB);
    assert_eq!(bench.lane(BULK).evicted, 0, "{:?}", bench.lane(BULK));
    assert!(bench.lane(CRITICAL).bytes < MIB, "what critical kept made place");
    assert_eq!(bench.lane(CRITICAL).evicted, 0);
}

#[test]
fn a_hole_in_the_middle_of_a_lane_is_no_damage_to_readers_recovery_or_replay() {
    let disk = FaultyDisk::default();
    let options = Options { max_size: 8 * MIB, ..options() };
    let mut bench = Bench::open(&disk, options.clone());
    for _ in 0..60 {
        assert!(bench.put(NORMAL, 50_000));
    }
    // Live first: the newer ones are delivered, the backlog waits.
    bench.acknowledge(NORMAL, 20, 50);
    let files = bench.files("lane-normal");
    assert!((10..14).contains(&files), "the middle is gone: {files} files");
    let there = numbers(&bench.store, NORMAL);
    assert!(there.len() < 40 && there.starts_with(&(0..20).collect::<Vec<_>>()) && there.last() == Some(&59));
    for round in 0..2 {
        assert_eq!(numbers(&bench.store, NORMAL), there, "round {round}");
        let waiting: Vec<u64> = there.iter().copied().filter(|seq| !(20..50).contains(seq)).collect();
        assert_eq!(bench.lane(NORMAL).waiting, waiting.len() as u64);
        // A reader that begins in the hole goes on behind it.
        let after = read_from(&bench.store, NORMAL, 30).first().map(|one| one.1);
        assert_eq!(after, there.iter().copied().find(|seq| *seq >= 30));
        bench.driven.turn();
        assert_eq!(bench.lane(NORMAL).damaged, 0);
        drop(bench);
        bench = Bench::open(&disk.copy(), options.clone());
        assert_eq!(bench.lane(NORMAL).damaged, 0);
    }
    // Only what is there can be delivered again.
    bench.change(Change::Replay { lane: NORMAL, from: 0, below: 60 });
    assert_eq!(bench.lane(NORMAL).waiting, there.len() as u64);
    assert_eq!(numbers(&bench.store, NORMAL), there);
    bench.driven.turn();
    assert_eq!(bench.lane(NORMAL).damaged, 0);
}

/// What each lane holds, with the first number that waits.
fn held(bench: &Bench) -> Vec<(u64, u64, u64)> {
    bench.store.stats().lanes.iter().map(|lane| (lane.waiting, lane.cursor, lane.evicted)).collect()
}

#[test]
fn a_smaller_limit_drops_nothing_until_records_come_and_then_as_if_full() {
    for policy in [Policy::DropOldest, Policy::Refuse] {
        let disk = FaultyDisk::default();
        let wide = Options { max_size: 32 * MIB, policy, ..options() };
        let mut bench = Bench::open(&disk, wide.clone());
        for _ in 0..120 {
            assert!(bench.put(NORMAL, 100_000) && bench.put(BULK, 50_000));
        }
        let before = held(&bench);
        drop(bench);
        let narrow = Options { max_size: 4 * MIB, ..wide };
        // Again and again: it is not the first start alone that drops nothing.
        for _ in 0..3 {
            let mut bench = Bench::open(&disk, narrow.clone());
            for _ in 0..5 {
                bench.driven.turn();
            }
            bench.change(Change::Budget(BudgetUse::default()));
            assert_eq!(held(&bench), before, "{policy:?}");
        }
        let mut bench = Bench::open(&disk, narrow.clone());
        bench.driven.turn();
        let used = bench.used();
        let taken = (0..20).filter(|_| bench.put(NORMAL, 10_000)).count();
        assert!(bench.used() <= used + MIB / 4, "it does not grow: {used}, {}", bench.used());
        let gone: u64 = held(&bench).iter().map(|lane| lane.2).sum();
        match policy {
            // 200 kB came; what a segment holds may go for them, not eight tenths of the backlog.
            Policy::DropOldest => assert!(taken == 20 && gone > 0 && gone < 60, "{taken} {gone}"),
            Policy::Refuse => assert_eq!((taken, gone), (0, 0)),
        }
        // Delivered, it falls back to the limit, and the limit holds again.
        for lane in [NORMAL, BULK] {
            bench.acknowledge(lane, 0, bench.lane(lane).next);
        }
        for _ in 0..10 {
            bench.driven.turn();
        }
        for _ in 0..200 {
            bench.put(NORMAL, 100_000);
        }
        assert!(bench.store.stats().allowed <= narrow.max_size && bench.used() <= narrow.max_size, "{}", bench.used());
    }
}
