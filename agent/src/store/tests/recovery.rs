//! What is found again after cuts, damage and loss.

use super::*;
use std::path::PathBuf;

/// A store with ten records in `normal`, cleanly closed, whose frames are equally long: a record's times are numbers of
/// variable length, and once in a while one grows by a byte from one record to the next.
fn ten() -> FaultyDisk {
    loop {
        let disk = FaultyDisk::default();
        let (store, _) = open(&disk);
        for number in 0..10_u8 {
            put(&store, NORMAL, &[&[number; 20]]);
        }
        store.close();
        let frames = disk.bytes(&the_segment(&disk)).len() - 1024;
        if frames % 10 == 0 {
            return disk;
        }
    }
}

fn the_segment(disk: &FaultyDisk) -> PathBuf {
    let files = disk.paths("lane-normal");
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn a_tail_cut_anywhere_leaves_every_whole_record_and_never_an_old_id() {
    let disk = ten();
    let path = the_segment(&disk);
    let whole = disk.bytes(&path);
    let frame = (whole.len() - 1024) / 10;
    for cut in (1025..whole.len()).rev() {
        let disk = disk.copy();
        disk.replace(&path, &whole[..cut]);
        let (store, opened) = open(&disk);
        let left = (cut - 1024) / frame;
        let torn = (cut - 1024) % frame != 0;
        assert_eq!(numbers(&store, NORMAL), (0..left as u64).collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(opened.new_epoch, torn, "cut at {cut}: {:?}", opened.report);
        put(&store, NORMAL, &[b"new"]);
        let all = read_from(&store, NORMAL, 0);
        assert_eq!(all.len(), left + 1);
        assert_eq!(torn, all.first().map(|one| &one.0) != all.last().map(|one| &one.0) || left == 0, "cut at {cut}");
        let epoch = store.stats().epoch;
        store.close();
        let (store, opened) = open(&disk);
        assert!(!opened.new_epoch && opened.report.is_empty(), "cut at {cut}: {:?}", opened.report);
        assert_eq!(store.stats().epoch, epoch);
    }
}

#[test]
fn any_byte_of_a_record_segment_may_flip_and_all_other_records_come_out() {
    let disk = ten();
    let path = the_segment(&disk);
    let whole = disk.bytes(&path);
    let frame = (whole.len() - 1024) / 10;
    for at in 0..whole.len() {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        disk.replace(&path, &bytes);
        let (store, opened) = open(&disk);
        let hit = at.checked_sub(1024).map(|at| at / frame);
        let wanted: Vec<u64> = (0..10).filter(|number| Some(*number as usize) != hit).collect();
        assert_eq!(numbers(&store, NORMAL), wanted, "byte {at}: {:?}", opened.report);
        assert_eq!(opened.new_epoch, hit == Some(9), "byte {at}: {:?}", opened.report);
        assert_eq!(store.stats().lanes[1].damaged, u64::from(hit.is_some_and(|hit| hit < 9)), "byte {at}");
    }
}

#[test]
fn damage_in_an_older_segment_is_passed_over_counted_once_and_remembered() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    for number in 0..40_u8 {
        put(&store, NORMAL, &[&vec![number; 60_000]]);
    }
    store.close();
    let files = disk.paths("lane-normal");
    assert!(files.len() > 2);
    let mut bytes = disk.bytes(&files[0]);
    bytes[1024 + 150_000] ^= 4;
    disk.replace(&files[0], &bytes);
    let (store, opened) = open(&disk);
    assert!(!opened.new_epoch);
    for _ in 0..3 {
        assert_eq!(numbers(&store, NORMAL), (0..40).filter(|number| *number != 2).collect::<Vec<_>>());
    }
    until("the damage is counted", || store.stats().lanes[1].damaged == 1);
    assert_eq!(store.stats().lanes[1].waiting, 39);
    store.close();
    let (store, _) = open(&disk);
    assert_eq!(numbers(&store, NORMAL).len(), 39);
    put(&store, BULK, &[b"one more commit"]);
    assert_eq!(store.stats().lanes[1].damaged, 1);
}

#[test]
fn a_segment_without_a_head_is_passed_over_and_what_is_behind_it_comes_out() {
    for which in 0..3 {
        let disk = FaultyDisk::default();
        let (store, _) = open(&disk);
        for number in 0..45_u8 {
            put(&store, NORMAL, &[&vec![number; 60_000]]);
        }
        store.close();
        let files = disk.paths("lane-normal");
        assert_eq!(files.len(), 3);
        let mut bytes = disk.bytes(&files[which]);
        bytes[..1024].fill(0xff);
        disk.replace(&files[which], &bytes);
        let first = |index: usize| {
            let name = files.get(index)?.file_name()?.to_string_lossy().into_owned();
            name.split('-').next()?.parse::<u64>().ok()
        };
        let lost = first(which).unwrap_or(0)..first(which + 1).unwrap_or(45);
        let (store, opened) = open(&disk);
        assert_eq!(numbers(&store, NORMAL), (0..45).filter(|number| !lost.contains(number)).collect::<Vec<_>>());
        assert_eq!(opened.new_epoch, which == 2, "{:?}", opened.report);
        put(&store, NORMAL, &[b"new"]);
        assert_eq!(payloads(&store, NORMAL).last(), Some(&b"new".to_vec()));
        if which < 2 {
            until("the loss is counted", || store.stats().lanes[1].damaged == lost.end - lost.start);
        }
        until("it is set aside", || disk.paths("damaged").len() == 1);
    }
}

#[test]
fn any_byte_of_the_control_lane_may_flip_and_no_record_is_lost() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"zero", b"one", b"two"]);
    change(&store, Change::Session(session(1)));
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 1 });
    let epoch = store.stats().epoch;
    store.close();
    let path = disk.paths("control")[0].clone();
    let whole = disk.bytes(&path);
    for at in 0..whole.len() {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        disk.replace(&path, &bytes);
        let (store, opened) = open(&disk);
        let damaged = at >= 1024;
        assert_eq!(opened.new_epoch, damaged, "byte {at}: {:?}", opened.report);
        assert_eq!(store.stats().epoch != epoch, damaged, "byte {at}");
        assert!(store.cursor(NORMAL) <= 1, "byte {at}");
        assert_eq!(numbers(&store, NORMAL), [0, 1, 2], "byte {at}");
        put(&store, NORMAL, &[b"three"]);
        assert_eq!(numbers(&store, NORMAL), [0, 1, 2, 3], "byte {at}");
    }
}

#[test]
fn a_damaged_newest_snapshot_costs_no_state() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"zero", b"one"]);
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 1 });
    for id in 0..80 {
        let record = SessionRecord { client_id: "x".repeat(5000), ..session(id) };
        change(&store, Change::Session(record));
    }
    store.close();
    let files = disk.paths("control");
    assert_eq!(files.len(), 2, "the control lane has rolled");
    let mut bytes = disk.bytes(&files[1]);
    bytes[1024 + 50] ^= 1;
    disk.replace(&files[1], &bytes);
    let (store, opened) = open(&disk);
    assert!(opened.new_epoch);
    assert_eq!((opened.sessions.len(), opened.next_session_id, store.cursor(NORMAL)), (80, 80, 1));
}

#[test]
fn after_a_restart_the_oldest_waiting_record_still_tells_its_time() {
    let disk = ten();
    assert_eq!(open(&disk).0.stats().lanes[1].oldest_ms, Some(1000));
}

#[test]
fn a_lost_control_lane_sends_everything_again_under_the_same_ids() {
    let disk = ten();
    for path in disk.paths("control") {
        disk.take(&path);
    }
    let (store, opened) = open(&disk);
    assert!(opened.new_epoch && !opened.report.is_empty());
    assert_eq!((store.cursor(NORMAL), store.sent(NORMAL)), (0, 10));
    assert_eq!(numbers(&store, NORMAL).len(), 10);
}

#[test]
fn a_missing_newest_segment_draws_a_new_epoch() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"zero"]);
    store.close();
    disk.take(&the_segment(&disk));
    let (store, opened) = open(&disk);
    assert!(opened.new_epoch, "{:?}", opened.report);
    put(&store, NORMAL, &[b"new"]);
    assert_eq!(numbers(&store, NORMAL).len(), 1);
}

#[test]
fn a_cursor_or_sent_mark_above_what_is_found_draws_a_new_epoch_above_it() {
    for mark in
        [Change::Acknowledge { lane: NORMAL, from: 0, below: 9 }, Change::Sent { lane: NORMAL, from: 0, below: 9 }]
    {
        let disk = FaultyDisk::default();
        let (store, _) = open(&disk);
        for number in 0..10_u8 {
            put(&store, NORMAL, &[&[number; 20]]);
        }
        change(&store, mark);
        store.close();
        let path = the_segment(&disk);
        let whole = disk.bytes(&path);
        let frame = (whole.len() - 1024) / 10;
        disk.replace(&path, &whole[..1024 + 5 * frame]);
        let (store, opened) = open(&disk);
        assert!(opened.new_epoch, "{:?}", opened.report);
        put(&store, NORMAL, &[b"new"]);
        assert_eq!(numbers(&store, NORMAL).last(), Some(&9));
        let stats = store.stats().lanes.swap_remove(1);
        assert_eq!(stats.waiting, stats.next - stats.cursor - stats.damaged);
    }
}

#[test]
fn a_second_crash_during_recovery_changes_nothing() {
    let disk = ten();
    let path = the_segment(&disk);
    let whole = disk.bytes(&path);
    disk.replace(&path, &whole[..whole.len() - 3]);
    // Recovery cannot write its snapshot: everything stays as it was.
    disk.set(|faults| faults.write = Some(("control".into(), 5)));
    for _ in 0..3 {
        assert!(Store::open_on(options(), Arc::new(disk.clone())).is_err());
        assert_eq!(disk.bytes(&path).len(), whole.len() - 3);
    }
    disk.set(|faults| faults.write = None);
    let (store, opened) = open(&disk);
    assert!(opened.new_epoch);
    let epoch = store.stats().epoch;
    // The power goes before anything else is written.
    let (store, opened) = open(&disk.crash(0));
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert_eq!((store.stats().epoch, numbers(&store, NORMAL).len()), (epoch, 9));
}

#[test]
fn blocks_of_a_deleted_segment_never_read_as_records() {
    let disk = ten();
    let path = the_segment(&disk);
    let old = disk.bytes(&path);
    disk.take(&path);
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[&[99; 20]]);
    store.close();
    let path = the_segment(&disk);
    let mut bytes = disk.bytes(&path);
    let end = bytes.len();
    bytes.extend_from_slice(&old[end.min(old.len())..]);
    disk.replace(&path, &bytes);
    let (store, opened) = open(&disk);
    assert!(opened.new_epoch);
    assert_eq!(payloads(&store, NORMAL), [vec![99; 20]]);
}

#[test]
fn a_renamed_gateway_names_only_what_comes_after() {
    let disk = ten();
    let (store, opened) = open_with(&disk, Options { gateway: "gw-2".into(), ..options() });
    assert!(!opened.new_epoch);
    put(&store, NORMAL, &[b"new"]);
    let mut reader = store.reader(NORMAL);
    let old = reader.read(0, ALL).expect("the lane can be read");
    assert_eq!((old.len(), old.get(0).map(|one| one.gateway)), (10, Some("gw-1")));
    let new = reader.read(10, ALL).expect("the lane can be read");
    assert_eq!((new.len(), new.get(0).map(|one| (one.gateway, one.seq))), (1, Some(("gw-2", 10))));
}

#[test]
fn what_a_killed_process_left_in_the_cache_is_on_flash_before_it_is_handed_out() {
    let disk = ten();
    let path = the_segment(&disk);
    let frame = (disk.bytes(&path).len() - 1024) / 10;
    let killed = disk.killed(&path, 1024 + 5 * frame);
    let (store, opened) = open(&killed);
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert_eq!(numbers(&store, NORMAL).len(), 10);
    let (store, _) = open(&killed.crash(0));
    assert_eq!(numbers(&store, NORMAL).len(), 10);
}

#[test]
fn a_sync_that_fails_at_opening_never_lets_an_id_name_two_records() {
    for part in ["lane-normal", "control"] {
        let disk = ten();
        let path = the_segment(&disk);
        let frame = (disk.bytes(&path).len() - 1024) / 10;
        let killed = disk.killed(&path, 1024 + 5 * frame);
        killed.set(|faults| faults.sync = Some((part.into(), 1)));
        let (store, opened) = open(&killed);
        assert!(opened.new_epoch, "{:?}", opened.report);
        let handed_out = read_from(&store, NORMAL, 0);
        assert_eq!(handed_out.len(), 10);
        let (store, _) = open(&killed.crash(0));
        put(&store, NORMAL, &[&[77; 20][..]; 10]);
        for one in read_from(&store, NORMAL, 0) {
            let before = handed_out.iter().find(|other| (&other.0, other.1) == (&one.0, one.1));
            assert!(before.is_none_or(|before| before.2 == one.2), "{part}: {one:?}");
        }
    }
}

#[test]
fn an_unreadable_block_costs_only_the_records_in_it() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    for number in 0..100_u8 {
        put(&store, NORMAL, &[&[number; 1000]]);
    }
    disk.set(|faults| faults.read = Some(("lane-normal".into(), 50_000..50_001)));
    let left = numbers(&store, NORMAL);
    assert!((94..99).contains(&left.len()) && left[0] == 0 && left.last() == Some(&99), "{left:?}");
    until("the damage is counted", || store.stats().lanes[1].damaged == 100 - left.len() as u64);
    store.close();
    let (store, opened) = open(&disk);
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert_eq!((numbers(&store, NORMAL), store.stats().lanes[1].damaged), (left.clone(), 100 - left.len() as u64));
    // A medium that is gone is not damage: nothing is given up.
    disk.set(|faults| faults.read = Some(("lane-normal".into(), 0..u64::MAX)));
    assert!(store.reader(NORMAL).read(0, ALL).is_err());
    disk.set(|faults| faults.read = None);
    assert_eq!(store.reader(NORMAL).read(0, ALL).map(|chunk| chunk.is_empty()).ok(), Some(false));
}

/// A segment's bytes with both heads of another version, whole as any.
fn of_version(version: u16, mut bytes: Vec<u8>) -> Vec<u8> {
    for copy in bytes[..1024].chunks_exact_mut(512) {
        copy[12..14].copy_from_slice(&version.to_le_bytes());
        let sum = crc32c::crc32c(&copy[12..]);
        copy[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

#[test]
fn a_store_of_another_version_is_refused_and_left_as_it_is() {
    let written = ten();
    for part in ["lane-normal", "control"] {
        for version in [1, 3, u16::MAX] {
            let disk = written.copy();
            let path = disk.paths(part)[0].clone();
            disk.replace(&path, &of_version(version, disk.bytes(&path)));
            let all = |disk: &FaultyDisk| {
                disk.paths("").iter().map(|path| (path.clone(), disk.bytes(path))).collect::<Vec<_>>()
            };
            let before = all(&disk);
            let refused = Store::open_on(options(), Arc::new(disk.clone()));
            let named = matches!(&refused, Err(StoreError::Version { found, .. }) if *found == version);
            assert!(named, "{part}, version {version}: {refused:?}");
            assert_eq!(all(&disk), before, "{part}, version {version}");
        }
    }
}

/// Every file with its bytes.
fn everything(disk: &FaultyDisk) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    disk.paths("").iter().map(|path| (path.clone(), disk.bytes(path))).collect()
}

#[test]
fn a_store_says_its_version_first_and_one_of_a_newer_version_is_not_touched() {
    let written = ten();
    let path = std::path::Path::new("/store/version");
    assert!(written.bytes(path).starts_with(b"tidegate-store 2 "));
    let line = b"tidegate-store 3 ";
    let newer = [&line[..], format!("{:08x}\nfor later\n", crc32c::crc32c(line)).as_bytes()].concat();
    let disk = written.copy();
    disk.replace(path, &newer);
    // Not even the lock is made where there is none.
    disk.take(std::path::Path::new("/store/lock"));
    let before = everything(&disk);
    for _ in 0..2 {
        let refused = Store::open_on(options(), Arc::new(disk.clone()));
        let Err(error @ StoreError::Version { found: 3, known: 2, .. }) = refused else { panic!("{refused:?}") };
        assert!(error.code() == crate::code::Code::StoreNewer && error.to_string().contains("newer"), "{error}");
        let looked =
            look::Look::open_on(std::path::Path::new("/store"), &(Arc::new(disk.clone()) as Arc<dyn disk::Disk>));
        assert!(matches!(looked, Err(StoreError::Version { .. })), "{looked:?}");
    }
    assert_eq!(everything(&disk), before);
}

#[test]
fn a_store_from_before_there_was_a_version_is_read_as_it_is_and_gets_one() {
    let disk = ten();
    disk.take(std::path::Path::new("/store/version"));
    let (store, opened) = open(&disk);
    assert!(!opened.new_epoch && opened.report.is_empty(), "{:?}", opened.report);
    assert_eq!(payloads(&store, NORMAL).len(), 10);
    assert!(disk.bytes(std::path::Path::new("/store/version")).starts_with(b"tidegate-store 2 "));
}
