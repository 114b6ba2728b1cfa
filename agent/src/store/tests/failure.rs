//! What holds while the disk fails.

use super::*;
use crate::store::disk::simulated::{Call, Fault, SimulatedDisk};
use crate::store::disk::{Disk as _, Mode, write_all_at};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

#[test]
fn a_failing_write_withholds_the_answer_harms_nothing_and_cures_itself() {
    for (errno, advice) in [(EIO, "kernel's log"), (ENOSPC, "free space"), (EROFS, "remount")] {
        for through in [0, 30, 500] {
            let disk = FaultyDisk::default();
            let (store, _) = open(&disk);
            put(&store, NORMAL, &[b"before"]);
            disk.set(|faults| {
                faults.write = Some(("lane-normal".into(), errno));
                faults.write_through = through;
            });
            let mut done = send(&store, submission(NORMAL, &[&[1; 300], &[2; 300]]));
            until("the store says why it cannot write", || {
                store.stats().stalled.is_some_and(|reason| {
                    reason.to_string().contains("lane-normal") && reason.to_string().contains(advice)
                })
            });
            assert!(done.try_recv().is_err());
            assert_eq!(payloads(&store, NORMAL), [b"before".to_vec()]);
            disk.set(|faults| faults.write = None);
            wait(done);
            until("the store says that it can write", || store.stats().stalled.is_none());
            put(&store, NORMAL, &[b"after"]);
            let wanted = [b"before".to_vec(), vec![1; 300], vec![2; 300], b"after".to_vec()];
            assert_eq!(payloads(&store, NORMAL), wanted);
            let (store, opened) = open(&disk.crash(0));
            assert!(!opened.new_epoch, "{:?}", opened.report);
            assert_eq!(payloads(&store, NORMAL), wanted);
        }
    }
}

#[test]
fn a_segment_that_cannot_be_cut_back_is_left_for_a_new_one() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"before"]);
    disk.set(|faults| {
        faults.write = Some(("lane-normal".into(), EIO));
        faults.write_through = 100;
        faults.set_len = true;
    });
    let done = send(&store, submission(NORMAL, &[&[1; 300]]));
    until("the store says that it cannot write", || store.stats().stalled.is_some());
    disk.set(|faults| (faults.write, faults.set_len) = (None, false));
    wait(done);
    assert_eq!(disk.paths("lane-normal").len(), 2);
    assert_eq!(payloads(&open(&disk.crash(0)).0, NORMAL), [b"before".to_vec(), vec![1; 300]]);
}

#[test]
fn a_failed_sync_moves_the_records_to_a_new_segment_under_their_numbers() {
    let disk = FaultyDisk::default();
    let (store, opened) = open(&disk);
    assert!(opened.new_epoch);
    put(&store, NORMAL, &[b"zero"]);
    disk.set(|faults| faults.sync = Some(("lane-normal".into(), 1)));
    put(&store, NORMAL, &[b"one", b"two"]);
    put(&store, NORMAL, &[b"three"]);
    let files = disk.paths("lane-normal");
    assert_eq!(files.len(), 2);
    assert!(files[1].to_string_lossy().contains("0000000000000001-0000000002"), "{files:?}");
    for disk in [disk.crash(0), disk.crash(usize::MAX), disk.copy()] {
        let (store, opened) = open(&disk);
        assert!(!opened.new_epoch, "{:?}", opened.report);
        let seen: Vec<_> = read_from(&store, NORMAL, 0).into_iter().map(|(_, seq, payload)| (seq, payload)).collect();
        let wanted = [&b"zero"[..], b"one", b"two", b"three"].map(<[u8]>::to_vec);
        assert_eq!(seen, (0..).zip(wanted).collect::<Vec<_>>());
    }
}

#[test]
fn where_two_segments_hold_a_number_the_later_copy_wins() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"zero"]);
    // The medium keeps what the failed sync was about, and cannot be cut: both copies are there.
    disk.set(|faults| {
        faults.sync = Some(("lane-normal".into(), 1));
        faults.set_len = true;
    });
    put(&store, NORMAL, &[b"one", b"two"]);
    store.close();
    let files = disk.paths("lane-normal");
    let (old, new) = (disk.bytes(&files[0]).len(), disk.bytes(&files[1]).len());
    assert!(old > 1024 + 100 && new > 1024 + 100, "{old} {new}");
    let (store, opened) = open(&disk.copy());
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert_eq!(payloads(&store, NORMAL), [b"zero".to_vec(), b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn every_file_may_fail_to_sync_once_and_nothing_is_lost_or_doubled() {
    for part in ["control", "lane-critical", "lane-bulk", "aside"] {
        let disk = FaultyDisk::default();
        let (store, _) = open(&disk);
        put(&store, CRITICAL, &[b"c0"]);
        put(&store, BULK, &[b"b0"]);
        disk.set(|faults| faults.sync = Some((part.into(), 1)));
        let mut all = submission(CRITICAL, &[b"c1"]);
        all.push(BULK, &record(b"b1"));
        all.change(Change::Acknowledge { lane: CRITICAL, from: 0, below: 1 });
        all.change(Change::PutAside { lane: BULK, seq: 0, reason: "bad".into() });
        wait(send(&store, all));
        let (store, opened) = open(&disk.crash(0));
        assert!(!opened.new_epoch, "{part}: {:?}", opened.report);
        assert_eq!(payloads(&store, BULK), [b"b0".to_vec(), b"b1".to_vec()], "{part}");
        assert_eq!(store.cursor(CRITICAL), 1, "{part}");
        assert_eq!(read_from(&store, CRITICAL, 1).len(), 1, "{part}");
        assert_eq!(store.put_aside(9).map(|kept| kept.len()).ok(), Some(1), "{part}");
        assert_eq!(store.stats().put_aside, 1, "{part}");
    }
}

#[test]
fn on_a_full_disk_the_cursor_advances_and_makes_room() {
    let disk = FaultyDisk::default();
    let capacity = 6 * 1024 * 1024;
    disk.set(|faults| faults.capacity = Some(capacity));
    let (store, _) = open(&disk);
    let mut waiting = Vec::new();
    for _ in 0..80 {
        waiting.push(send(&store, submission(NORMAL, &[&vec![3; 100_000]])));
    }
    until("the disk is full", || store.stats().stalled.is_some());
    let stored = store.stats().lanes[1].next;
    assert!((40..60).contains(&stored), "{stored}");
    // Others take what is left, to the last byte: only the reserve is there for the cursor.
    let left = capacity - disk.paths("").iter().map(|path| disk.bytes(path).len() as u64).sum::<u64>();
    disk.replace(std::path::Path::new("/store/log-of-someone-else"), &vec![0; left as usize]);
    change(&store, Change::Sent { lane: NORMAL, from: 0, below: stored });
    assert!(disk.paths("reserve").is_empty(), "the reserve was used");
    assert!(store.stats().stalled.is_some());
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: stored });
    for done in waiting {
        wait(done);
    }
    assert_eq!(store.stats().lanes[1].next, 80);
    assert_eq!(disk.paths("reserve").len(), 1);
    let (store, opened) = open(&disk.crash(0));
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert_eq!(store.stats().lanes[1].waiting, 80 - stored);
}

#[test]
fn a_full_disk_that_only_the_sync_finds_out_leaves_the_reserve_to_the_control_lane() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"zero"]);
    disk.set(|faults| {
        faults.sync = Some(("control".into(), 1));
        faults.sync_errno = Some(ENOSPC);
        faults.write = Some(("lane-".into(), ENOSPC));
    });
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 1 });
    assert_eq!(disk.paths("control").len(), 2, "the first one is abandoned");
    assert_eq!(open(&disk.crash(0)).0.cursor(NORMAL), 1);
    assert!(disk.paths("reserve").is_empty());
}

#[test]
fn a_disk_smaller_than_two_segments_never_gets_stuck_once_all_is_delivered() {
    let disk = FaultyDisk::default();
    disk.set(|faults| faults.capacity = Some(1_900_000));
    let (store, _) = open(&disk);
    let mut sent = 0;
    let mut under_way: Vec<_> = (0..40).map(|_| send(&store, submission(NORMAL, &[&vec![3; 50_000]]))).collect();
    until("all is stored and delivered", || {
        let next = store.stats().lanes[1].next;
        if next > sent {
            change(&store, Change::Sent { lane: NORMAL, from: 0, below: next });
            change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: next });
            sent = next;
        }
        under_way.retain_mut(|done| done.try_recv().is_err());
        under_way.is_empty()
    });
    assert_eq!(store.stats().lanes[1].next, 40);
    let (store, opened) = open(&disk.crash(0));
    assert!(!opened.new_epoch, "{:?}", opened.report);
    put(&store, NORMAL, &[b"next"]);
    assert_eq!(store.stats().lanes[1].next, 41);
}

#[test]
fn changes_handed_in_with_records_go_ahead_of_them_while_there_is_no_room() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"zero"]);
    disk.set(|faults| faults.write = Some(("lane-".into(), ENOSPC)));
    let mut both = submission(NORMAL, &[b"one"]);
    both.change(Change::Acknowledge { lane: NORMAL, from: 0, below: 1 });
    let mut done = send(&store, both);
    until("the cursor advances", || store.cursor(NORMAL) == 1);
    assert!(done.try_recv().is_err());
    change(&store, Change::Session(session(1)));
    disk.set(|faults| faults.write = None);
    wait(done);
    assert_eq!(read_from(&store, NORMAL, 1).len(), 1);
}

#[test]
fn a_release_handed_in_with_its_publish_waits_with_it_while_there_is_no_room() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    change(&store, Change::Session(session(1)));
    disk.set(|faults| faults.write = Some(("lane-".into(), ENOSPC)));
    let origin = Origin { session: 1, packet_id: 7 };
    let mut both = Submission::new();
    both.push(NORMAL, &NewRecord { origin: Some(origin), ..record(b"qos 2") });
    both.change(Change::Release(origin));
    let done = send(&store, both);
    until("the store says that it cannot write", || store.stats().stalled.is_some());
    // A change committed ahead of the record, with all those that may go.
    change(&store, Change::Session(session(2)));
    disk.set(|faults| faults.write = None);
    wait(done);
    let (_, opened) = open(&disk.crash(0));
    assert_eq!(opened.sessions[0].unreleased, [0_u16; 0]);
}

#[test]
fn a_store_closed_while_it_cannot_write_ends_and_answers_nobody() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    disk.set(|faults| faults.write = Some(("lane-".into(), EIO)));
    let done = send(&store, submission(NORMAL, &[b"one"]));
    store.close();
    assert!(done.blocking_recv().is_err());
    disk.set(|faults| faults.write = None);
    drop(store);
    assert_eq!(numbers(&open(&disk).0, NORMAL), [0_u64; 0]);
}

#[test]
fn opening_on_a_disk_that_refuses_says_so_and_works_later() {
    let disk = FaultyDisk::default();
    disk.set(|faults| faults.create = Some(("control".into(), EROFS)));
    let refused = Store::open_on(options(), Arc::new(disk.clone()));
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    disk.set(|faults| faults.create = None);
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"one"]);
}

#[test]
fn a_folder_that_cannot_be_made_keeps_the_store_from_opening_and_not_for_good() {
    for errno in [EIO, ENOSPC, EROFS] {
        for skip in 0..7 {
            let disk = SimulatedDisk::new();
            disk.fail(Fault { call: Call::MakeFolder, part: "", errno, skip, times: 1 });
            let refused = Store::open_on(options(), Arc::new(disk.clone()));
            let error = refused.err().map(|error| match error {
                StoreError::Io { action, source, .. } => (action, source.raw_os_error()),
                other => panic!("{other:?}"),
            });
            assert_eq!(error, Some(("make the folder", Some(errno))), "the folder number {skip}");
            let (store, _) =
                Store::open_on(options(), Arc::new(disk.clone())).expect("a disk that works makes a store");
            put(&store, NORMAL, &[b"one"]);
            assert_eq!(payloads(&store, NORMAL), [b"one"]);
        }
    }
}

#[test]
fn a_damaged_segment_that_cannot_be_moved_away_harms_nothing() {
    for errno in [EIO, ENOSPC, EROFS] {
        let disk = SimulatedDisk::new();
        let open = || Store::open_on(options(), Arc::new(disk.clone())).expect("the store opens");
        let (store, _) = open();
        for payload in [b"one", b"two", b"six"] {
            put(&store, BULK, &[payload]);
        }
        put(&store, NORMAL, &[b"kept"]);
        store.close();
        let file = disk.open(&disk.paths("lane-bulk")[0], Mode::Write).expect("the file opens");
        write_all_at(&*file, &[0xff; 1024], 0).expect("the file can be written to");
        drop(file);
        disk.fail(Fault { call: Call::Rename, part: "", errno, skip: 0, times: 1 });
        let (store, opened) = open();
        assert!(opened.new_epoch && opened.report.iter().any(|line| line.contains("set aside")), "{:?}", opened.report);
        assert!(disk.given().contains(&(Call::Rename, errno)));
        assert_eq!(disk.paths("damaged").len(), 0);
        put(&store, BULK, &[b"new"]);
        store.close();
        for _ in 0..2 {
            let (store, _) = open();
            assert_eq!(payloads(&store, NORMAL), [b"kept"]);
            assert_eq!(payloads(&store, BULK), [b"new"]);
            assert_eq!((store.stats().lanes[2].damaged, store.stats().lanes[2].next), (3, 4), "counted, once");
            store.close();
        }
    }
}

#[test]
fn a_writer_that_rests_or_that_the_disk_refuses_answers_and_one_that_hangs_in_it_does_not() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    let answers = |what: &str| {
        let question = store.ask();
        until(what, || question.is_answered());
    };
    answers("an idle writer answers");
    put(&store, NORMAL, &[b"before"]);
    answers("one that has just committed answers");

    disk.set(|faults| faults.write = Some(("lane-normal".into(), ENOSPC)));
    let done = send(&store, submission(NORMAL, &[b"full"]));
    until("the store says that it cannot write", || store.stats().stalled.is_some());
    answers("one that cannot write answers");
    disk.set(|faults| faults.write = None);
    wait(done);

    disk.set(|faults| faults.hang = Some("lane-normal".into()));
    let done = send(&store, submission(NORMAL, &[b"hung"]));
    // Until the writer has it in hand, it may answer still.
    until("the writer hangs", || {
        let question = store.ask();
        std::thread::sleep(Duration::from_millis(200));
        !question.is_answered()
    });
    let question = store.ask();
    disk.set(|faults| faults.hang = None);
    until("it answers what was asked meanwhile", || question.is_answered());
    wait(done);
}
