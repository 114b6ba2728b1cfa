//! What holds while nothing fails.

use super::*;

#[test]
fn a_record_comes_back_as_it_was_handed_in() {
    let (store, opened) = open(&FaultyDisk::default());
    assert!(opened.new_epoch && opened.report.is_empty() && opened.sessions.is_empty());
    put(&store, NORMAL, &[b"one", b"", b"three"]);
    let chunk = store.reader(NORMAL).read(0, ALL).expect("the lane can be read");
    let records: Vec<_> = chunk.iter().collect();
    assert_eq!(records.len(), 3);
    assert_eq!((records[0].gateway, records[0].lane, records[0].seq), ("gw-1", "normal", 0));
    assert_eq!((records[2].device, records[2].topic), ("d-1", "devices/d-1/telemetry"));
    assert_eq!((records[2].time_ms, records[2].payload), (1000, &b"three"[..]));
    assert_eq!(records[1].epoch, store.stats().epoch);
}

#[test]
fn a_read_keeps_to_its_limits_but_gives_one_record_at_least() {
    let (store, _) = open(&FaultyDisk::default());
    put(&store, NORMAL, &[&[1; 1000], &[2; 1000], &[3; 1000]]);
    let mut reader = store.reader(NORMAL);
    assert_eq!(reader.read(0, ReadLimit { records: 2, bytes: usize::MAX }).map(|chunk| chunk.len()).ok(), Some(2));
    assert_eq!(reader.read(0, ReadLimit { records: 9, bytes: 10 }).map(|chunk| chunk.len()).ok(), Some(1));
    let chunk = reader.read(1, ReadLimit { records: 9, bytes: 2100 }).expect("the lane can be read");
    assert_eq!(chunk.iter().map(|one| one.seq).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_record_larger_than_a_window_and_a_segment_comes_back() {
    let (store, _) = open(&FaultyDisk::default());
    let large = vec![7; 3 * 1024 * 1024];
    put(&store, NORMAL, &[b"before", &large, b"after"]);
    put(&store, NORMAL, &[b"later"]);
    assert_eq!(payloads(&store, NORMAL), [b"before".to_vec(), large, b"after".to_vec(), b"later".to_vec()]);
}

#[test]
fn many_submitters_get_each_record_stored_once_and_in_their_own_order() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    std::thread::scope(|scope| {
        for who in 0..8_u8 {
            let store = store.clone();
            scope.spawn(move || {
                for round in 0..50_u8 {
                    put(&store, LaneId(who % 3), &[&[who, round, 0], &[who, round, 1]]);
                }
            });
        }
    });
    for who in 0..8_u8 {
        let mine = payloads(&store, LaneId(who % 3)).into_iter().filter(|payload| payload[0] == who);
        let wanted = (0..50).flat_map(|round| [vec![who, round, 0], vec![who, round, 1]]);
        assert!(mine.eq(wanted), "submitter {who}");
    }
    assert!(store.stats().commits <= 400);
}

#[test]
fn a_clean_restart_keeps_ids_cursor_sessions_and_counters() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"a", b"b", b"c"]);
    change(&store, Change::Session(session(4)));
    change(&store, Change::Session(session(5)));
    change(&store, Change::SessionEnd { id: 5 });
    change(&store, Change::Sent { lane: NORMAL, from: 0, below: 3 });
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 2 });
    change(&store, Change::Refused(Refusal { cause: "topic".into(), who: "x".into(), count: 7 }));
    let before = store.stats();
    store.close();
    let (store, opened) = open(&disk);
    let after = store.stats();
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert_eq!(opened.next_session_id, 6);
    assert_eq!(opened.sessions, [KeptSession { record: session(4), unreleased: vec![] }]);
    assert_eq!((before.epoch, before.refused), (after.epoch, after.refused));
    assert_eq!((after.lanes[1].cursor, after.lanes[1].next, after.lanes[1].waiting), (2, 3, 1));
    assert_eq!(store.sent(NORMAL), 3);
    put(&store, NORMAL, &[b"d"]);
    let seen: Vec<_> = read_from(&store, NORMAL, 2).into_iter().map(|(_, seq, payload)| (seq, payload)).collect();
    assert_eq!(seen, [(2, b"c".to_vec()), (3, b"d".to_vec())]);
}

#[test]
fn a_clean_restart_writes_nothing() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"a"]);
    store.close();
    let before: Vec<_> = disk.paths("").into_iter().map(|path| (disk.bytes(&path), path)).collect();
    open(&disk).0.close();
    let after: Vec<_> = disk.paths("").into_iter().map(|path| (disk.bytes(&path), path)).collect();
    assert!(before == after);
}

#[test]
fn a_second_opening_is_refused_and_says_what_to_do() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    let second = Store::open_on(options(), Arc::new(disk.clone()));
    assert!(matches!(&second, Err(error @ StoreError::Locked { .. }) if error.to_string().contains("stop the other")));
    drop(store);
    open(&disk);
}

fn origin(session: u64, packet_id: u16) -> Origin {
    Origin { session, packet_id }
}

fn publish(store: &Store, lane: LaneId, from: Origin) {
    let mut submission = Submission::new();
    submission.push(lane, &NewRecord { origin: Some(from), ..record(b"qos 2") });
    wait(send(store, submission));
}

#[test]
fn unreleased_packet_ids_outlast_restart_power_cut_rolls_and_delivery() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    change(&store, Change::Session(session(1)));
    for packet_id in 1..=5 {
        publish(&store, NORMAL, origin(1, packet_id));
    }
    publish(&store, BULK, origin(1, 9));
    change(&store, Change::Release(origin(1, 2)));
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 5 });
    // Enough for several segments and a few control snapshots.
    for _ in 0..6 {
        put(&store, NORMAL, &[&vec![0; 600_000]]);
    }
    change(&store, Change::Release(origin(1, 3)));
    let disk = disk.crash(0);
    let (store, opened) = open(&disk);
    assert_eq!(opened.sessions, [KeptSession { record: session(1), unreleased: vec![1, 4, 5, 9] }]);
    change(&store, Change::Release(origin(1, 9)));
    store.close();
    let (store, opened) = open(&disk);
    assert_eq!(opened.sessions[0].unreleased, [1, 4, 5]);
    change(&store, Change::SessionEnd { id: 1 });
    store.close();
    let (_store, opened) = open(&disk);
    assert_eq!((opened.sessions.len(), opened.next_session_id), (0, 2));
}

#[test]
fn a_packet_id_released_and_used_again_in_one_submission_is_unreleased() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    change(&store, Change::Session(session(1)));
    publish(&store, NORMAL, origin(1, 7));
    let mut both = Submission::new();
    both.change(Change::Release(origin(1, 7)));
    both.push(NORMAL, &NewRecord { origin: Some(origin(1, 7)), ..record(b"again") });
    wait(send(&store, both));
    let (_, opened) = open(&disk.crash(0));
    assert_eq!(opened.sessions[0].unreleased, [7]);
    let mut both = Submission::new();
    both.push(NORMAL, &NewRecord { origin: Some(origin(1, 8)), ..record(b"once") });
    both.change(Change::Release(origin(1, 8)));
    both.change(Change::Release(origin(1, 7)));
    wait(send(&store, both));
    let (_, opened) = open(&disk.crash(0));
    assert_eq!(opened.sessions[0].unreleased, [0_u16; 0]);
}

#[test]
fn a_record_put_aside_is_kept_in_full_with_its_reason() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, CRITICAL, &[b"good", b"bad", b"good"]);
    let mut poison = Submission::new();
    poison.change(Change::PutAside { lane: CRITICAL, seq: 1, reason: "422: what is this".into() });
    poison.change(Change::Acknowledge { lane: CRITICAL, from: 0, below: 3 });
    wait(send(&store, poison));
    let (store, _) = open(&disk.crash(0));
    let kept = store.put_aside(10).expect("the lane can be read");
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].seq, kept[0].lane.as_str(), kept[0].payload.as_slice()), (1, "critical", &b"bad"[..]));
    assert_eq!(kept[0].reason, "422: what is this");
    assert_eq!((store.stats().put_aside, store.stats().lanes[0].waiting), (1, 0));
}

#[test]
fn the_oldest_waiting_record_tells_its_time() {
    let (store, _) = open(&FaultyDisk::default());
    for time_ms in 1..=5 {
        let mut one = Submission::new();
        one.push(NORMAL, &NewRecord { stamp: stamp(time_ms), ..record(b"x") });
        wait(send(&store, one));
    }
    assert_eq!(store.stats().lanes[1].oldest_ms, Some(1));
    let chunk = store.reader(NORMAL).read(3, ALL).expect("the lane can be read");
    assert_eq!(chunk.len(), 2);
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 3 });
    assert_eq!(store.stats().lanes[1].oldest_ms, Some(4));
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 5 });
    assert_eq!(store.stats().lanes[1].oldest_ms, None);
}

#[test]
fn lanes_may_be_added_reordered_and_left_out() {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"n"]);
    put(&store, BULK, &[b"b0", b"b1"]);
    change(&store, Change::Acknowledge { lane: BULK, from: 0, below: 1 });
    store.close();
    let lanes: Vec<_> = ["bulk", "extra"].map(LaneOptions::named).into();
    let (store, opened) = open_with(&disk, Options { lanes, ..options() });
    assert!(!opened.new_epoch);
    let names: Vec<_> = store.stats().lanes.into_iter().map(|lane| (lane.name, lane.waiting)).collect();
    let wanted = [("bulk", 1), ("extra", 0), ("critical", 0), ("normal", 1)];
    assert_eq!(names, wanted.map(|(name, waiting)| (name.to_owned(), waiting)));
    put(&store, LaneId(0), &[b"b2"]);
    assert_eq!(numbers(&store, LaneId(0)).last(), Some(&2));
    assert_eq!(payloads(&store, LaneId(3)), [b"n".to_vec()]);
}

#[test]
fn options_that_make_no_store_are_refused_with_the_reason() {
    let refused = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        match Store::open_on(options, Arc::new(FaultyDisk::default())) {
            Err(StoreError::Options { what }) => what,
            other => panic!("not refused: {other:?}"),
        }
    };
    assert!(refused(|options| options.max_size = 1).contains("max_size"));
    assert!(refused(|options| options.lanes.clear()).contains("lanes"));
    assert!(refused(|options| options.lanes[1].name = "../x".into()).contains("a-z"));
    assert!(refused(|options| options.lanes[1].name = "bulk".into()).contains("two lanes"));
    assert!(refused(|options| options.gateway.clear()).contains("gateway"));
}

#[test]
fn a_closed_store_drops_submissions_unanswered() {
    let (store, _) = open(&FaultyDisk::default());
    store.close();
    let done = send(&store, submission(NORMAL, &[b"late"]));
    assert!(done.blocking_recv().is_err());
}

#[test]
fn sessions_over_the_limit_end_the_one_longest_gone_and_never_a_connected_one() {
    let disk = FaultyDisk::default();
    let (store, _) = open_with(&disk, Options { max_sessions: 3, ..options() });
    for id in 0..3 {
        let disconnected_ms = [Some(20), None, Some(10)][id as usize];
        change(&store, Change::Session(SessionRecord { disconnected_ms, ..session(id) }));
    }
    for id in 3..8 {
        change(&store, Change::Session(session(id)));
    }
    change(&store, Change::Session(SessionRecord { disconnected_ms: Some(5), ..session(1) }));
    store.close();
    let (_store, opened) = open_with(&disk, Options { max_sessions: 3, ..options() });
    let kept: Vec<_> = opened.sessions.iter().map(|one| (one.record.id, one.record.disconnected_ms)).collect();
    assert_eq!(kept, [(1, Some(5)), (3, None), (4, None)]);
}

#[test]
fn the_longest_client_identifiers_never_make_a_snapshot_that_cannot_be_read() {
    let disk = FaultyDisk::default();
    let options = || Options { max_sessions: 1000, ..options() };
    let (store, _) = open_with(&disk, options());
    let mut all = Submission::new();
    for id in 0..200 {
        let client_id = "x".repeat(65_535);
        all.change(Change::Session(SessionRecord {
            id,
            client_id,
            expiry_s: 1,
            disconnected_ms: Some(id),
            subscribed: false,
        }));
    }
    wait(send(&store, all));
    // Until the control lane has rolled again.
    for _ in 0..12 {
        let mut some = Submission::new();
        for id in 0..25 {
            let client_id = "y".repeat(65_535);
            some.change(Change::Session(SessionRecord {
                id,
                client_id,
                expiry_s: 1,
                disconnected_ms: None,
                subscribed: false,
            }));
        }
        wait(send(&store, some));
    }
    store.close();
    let (_store, opened) = open_with(&disk, options());
    assert!(!opened.new_epoch, "{:?}", opened.report);
    assert!(opened.sessions.len() > 20, "{}", opened.sessions.len());
}

#[test]
fn of_a_segment_that_is_delivered_in_part_that_part_does_not_wait() {
    let (store, _) = open(&FaultyDisk::default());
    put(&store, NORMAL, &[&[7; 1_000][..]; 100]);
    let waiting = |store: &Store| store.stats().lanes[1].waiting_bytes;
    let all = waiting(&store);
    assert!((100_000..115_000).contains(&all), "{all}");
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 75 });
    assert_eq!(waiting(&store), all / 4);
    change(&store, Change::Acknowledge { lane: NORMAL, from: 75, below: 100 });
    assert_eq!(waiting(&store), 0);
}
