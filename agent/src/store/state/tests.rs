use super::*;
use crate::clock::Stamp;
use crate::store::{Change, Kept, LaneId, NewRecord, Options, Refusal, SessionRecord, Store, StoreError, Submission};
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;

fn options(path: &Path) -> Options {
    Options { max_size: 64 * 1024 * 1024, max_sessions: 1000, ..Options::new(path.to_path_buf(), "gw-1", &["normal"]) }
}

fn change(store: &Store, changes: &[Change]) {
    let mut submission = Submission::new();
    let record =
        NewRecord { device: "d", topic: "t", payload: b"x", stamp: Stamp::default(), origin: None, will: false };
    submission.push(LaneId(0), &record);
    for change in changes {
        submission.change(change.clone());
    }
    let done = submission.on_commit();
    store.submit(submission);
    done.blocking_recv().expect("the store commits");
}

fn indexed(path: &Path) -> Contents {
    database::read(&path.join("index")).expect("the index can be read")
}

/// Opens, applies the changes, closes; gives what the index should hold then.
fn run(path: &Path, changes: &[Change]) -> Contents {
    let (store, opened) = Store::open(options(path)).expect("the store opens");
    assert!(opened.report.is_empty(), "{:?}", opened.report);
    change(&store, changes);
    let contents = store.inner.shared.index_contents();
    store.close();
    contents
}

fn session(id: u64) -> Change {
    Change::Session(SessionRecord {
        id,
        client_id: format!("c-{id}"),
        expiry_s: 60,
        disconnected_ms: Some(id),
        subscribed: false,
    })
}

#[test]
fn at_close_the_index_holds_what_the_control_lane_adds_up_to() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let refused = Change::Refused(Refusal { cause: "size".into(), who: "c".into(), count: 3 });
    let aside = Change::PutAside { lane: LaneId(0), seq: 0, reason: "400".into() };
    run(folder.path(), &[]);
    let kept = Change::Kept(Kept { name: "sim".into(), value: b"s1.standard".to_vec() });
    let contents = run(folder.path(), &[session(1), session(2), refused, aside, kept, Change::SessionEnd { id: 1 }]);
    assert_eq!(contents.get(&b"kept/sim"[..]).map(Vec::as_slice), Some(&b"s1.standard"[..]));
    let keys: Vec<_> = contents.keys().map(|key| String::from_utf8_lossy(&key[..7]).into_owned()).collect();
    assert_eq!(keys, ["aside/\0", "counter", "counter", "counter", "kept/si", "lane/no", "session"]);
    assert_eq!(indexed(folder.path()), contents);
    assert!(folder_bytes(&folder.path().join("index")) < 1024 * 1024);
}

#[test]
fn an_index_that_is_deleted_damaged_or_no_folder_is_made_anew() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let path = folder.path();
    run(path, &[session(1)]);
    std::fs::remove_dir_all(path.join("index")).expect("it is there");
    assert_eq!(run(path, &[session(2)]), indexed(path));
    std::fs::write(path.join("index/db"), vec![0x55; 70_000]).expect("it can be written");
    assert_eq!(run(path, &[session(3)]), indexed(path));
    std::fs::write(path.join("index/conf"), b"nonsense").expect("it can be written");
    assert_eq!(run(path, &[session(4)]), indexed(path));
}

#[test]
fn the_second_of_two_on_one_folder_is_told_what_to_do() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let (_store, _) = Store::open(options(folder.path())).expect("the store opens");
    assert!(matches!(Store::open(options(folder.path())), Err(StoreError::Locked { .. })));
}

#[test]
fn the_reserve_has_real_blocks_and_files_are_for_the_gateway_alone() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let (store, _) = Store::open(options(&folder.path().join("deep/er"))).expect("the store opens");
    change(&store, &[]);
    let root = folder.path().join("deep/er");
    let reserve = std::fs::metadata(root.join("reserve")).expect("it is there");
    assert!(reserve.blocks() * 512 >= 1024 * 1024);
    assert_eq!(reserve.mode() & 0o077, 0);
    assert_eq!(std::fs::metadata(root.join("lane-normal")).map(|about| about.mode() & 0o077).ok(), Some(0));
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..20_u64).prop_map(session),
        (0..20_u64).prop_map(|id| Change::SessionEnd { id }),
        (0..30_u64).prop_map(|below| Change::Acknowledge { lane: LaneId(0), from: 0, below }),
        (0..30_u64).prop_map(|below| Change::Sent { lane: LaneId(0), from: 0, below }),
        Just(Change::PutAside { lane: LaneId(0), seq: 0, reason: "bad".into() }),
        (0..4_u8, prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(name, value)| Change::Kept(Kept { name: format!("name-{name}"), value })),
    ]
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("it can be made");
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("it can be copied");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn an_index_however_old_or_damaged_answers_the_same_after_a_checkpoint(
        rounds in prop::collection::vec((prop::collection::vec(any_change(), 0..12), 0..6_u8, any::<u16>()), 1..7)
    ) {
        let folder = tempfile::tempdir().expect("there is room for a test");
        let (path, old) = (folder.path().join("store"), |round: usize| folder.path().join(format!("old-{round}")));
        run(&path, &[]);
        copy(&path.join("index"), &old(0));
        for (round, (changes, what, place)) in rounds.into_iter().enumerate() {
            match what {
                0 => std::fs::remove_dir_all(path.join("index")).expect("it is there"),
                // Any checkpoint there has been: the last, or one long before it.
                1..=3 => copy(&old(usize::from(place) % (round + 1)), &path.join("index")),
                4 => {
                    let db = path.join("index/db");
                    let mut bytes = std::fs::read(&db).expect("it is there");
                    let at = usize::from(place) % bytes.len();
                    bytes[at] ^= 0x10;
                    std::fs::write(&db, bytes).expect("it can be written");
                }
                _ => {}
            }
            let contents = run(&path, &changes);
            prop_assert_eq!(indexed(&path), contents);
            copy(&path.join("index"), &old(round + 1));
        }
    }
}

#[test]
fn from_each_checkpoint_there_has_been_the_index_comes_to_the_same_answers() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let (path, old) = (folder.path().join("store"), |round: u64| folder.path().join(format!("old-{round}")));
    let rounds = 6;
    for round in 0..rounds {
        let more = [session(round), session(round + 100), Change::SessionEnd { id: round / 2 }];
        let acknowledged = Change::Acknowledge { lane: LaneId(0), from: 0, below: round };
        run(&path, &[&more[..], &[acknowledged]].concat());
        copy(&path.join("index"), &old(round));
    }
    let newest = indexed(&path);
    assert_ne!(database::read(&old(0)).ok(), Some(newest.clone()), "the first checkpoint is an older one");
    for round in 0..rounds {
        copy(&old(round), &path.join("index"));
        let (store, _) = Store::open(options(&path)).expect("the store opens");
        store.close();
        assert_eq!(indexed(&path), newest, "from checkpoint {round}");
    }
}

/// An index of its own, without a store.
fn contents(count: u64) -> Contents {
    (0..count).map(|number| (number.to_be_bytes().to_vec(), vec![number as u8; 200])).collect()
}

#[test]
fn a_snapshot_that_was_never_finished_is_no_damage() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let path = folder.path().join("index");
    database::write(&path, &contents(50), 0).expect("there is room");
    // What sled leaves when there was no block for it, and takes for its newest snapshot the next time.
    std::fs::write(path.join("snap.00000000FFFFFFFF.generating"), b"").expect("it can be written");
    assert_eq!(database::read(&path).expect("it can be read"), contents(50));
    database::write(&path, &contents(60), 0).expect("there is room");
    assert_eq!(database::read(&path).expect("it can be read"), contents(60));
}

#[test]
fn where_too_little_is_free_the_index_is_not_touched_and_it_says_why() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let path = folder.path().join("index");
    database::write(&path, &contents(50), 0).expect("there is room");
    let refused = database::write(&path, &contents(60), u64::MAX).expect_err("nothing may be used");
    assert!(refused.is_refusal() && chain(&refused).contains("bytes are free"), "{refused:?}");
    assert_eq!(database::read(&path).expect("it can be read"), contents(50));
    let index = Index::new(path.clone(), true, u64::MAX);
    assert_eq!(index.behind(), None);
    index.checkpoint(&contents(60));
    assert!(index.behind().is_some_and(|why| why.to_string().contains("bytes are free")), "{:?}", index.behind());
    let index = Index { keep_free: 0, ..index };
    index.checkpoint(&contents(60));
    assert_eq!(index.behind(), None);
    assert_eq!(database::read(&path).expect("it can be read"), contents(60));
}

#[test]
fn after_a_refusal_it_is_tried_again_at_longer_and_longer_times() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let index = Index::new(folder.path().join("index"), true, u64::MAX);
    for wait in [10, 20, 40, 60, 60] {
        let before = Instant::now();
        index.checkpoint(&contents(1));
        let due = index.pending().due.expect("it is tried again");
        assert!(due >= before + Duration::from_secs(wait) && due <= Instant::now() + Duration::from_secs(wait));
        index.changed();
        assert_eq!(index.pending().due, Some(due), "a change makes it neither earlier nor later");
    }
}

#[test]
fn a_database_that_someone_else_has_open_is_left_alone() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let path = folder.path().join("index");
    database::write(&path, &contents(50), 0).expect("there is room");
    let other = std::fs::File::open(path.join("db")).expect("it is there");
    rustix::fs::flock(&other, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    let refused = database::write(&path, &contents(60), 0).expect_err("it is locked");
    assert!(refused.is_refusal(), "{refused:?}");
    drop(other);
    database::write(&path, &contents(60), 0).expect("the lock is gone");
}

#[test]
fn an_index_that_is_a_file_or_holds_folders_for_files_is_made_anew() {
    let folder = tempfile::tempdir().expect("there is room for a test");
    let index = Index::new(folder.path().join("index"), true, 0);
    std::fs::write(&index.path, b"not a folder").expect("it can be written");
    index.checkpoint(&contents(5));
    assert_eq!((index.behind(), database::read(&index.path).ok()), (None, Some(contents(5))));
    for name in ["db", "conf"] {
        std::fs::remove_file(index.path.join(name)).expect("it is there");
        std::fs::create_dir(index.path.join(name)).expect("it can be made");
        index.checkpoint(&contents(6));
        assert_eq!((index.behind(), database::read(&index.path).ok()), (None, Some(contents(6))), "{name}");
    }
}
