//! How long commits wait for company, with the real writer.

use super::*;
use crate::store::look::{Ask, Item, Look};

fn from(source: u32, payload: &[u8]) -> Submission {
    let mut submission = submission(NORMAL, &[payload]);
    submission.set_source(source);
    submission
}

/// A store whose commits may wait for so long.
fn waiting_store(within: Duration) -> Store {
    open_with(&FaultyDisk::default(), Options { commit_within: within, ..options() }).0
}

#[test]
fn at_a_low_rate_devices_share_a_commit() {
    let store = waiting_store(Duration::from_secs(2));
    let before = store.stats().commits;
    let start = Instant::now();
    let all: Vec<_> = (1..=50).map(|source| send(&store, from(source, b"21.5"))).collect();
    for done in all {
        wait(done);
    }
    let commits = store.stats().commits - before;
    // The first may come before any other is known.
    assert!(commits <= 2, "{commits} commits of 50 publishes");
    assert!(start.elapsed() < BOUND);
    assert_eq!(payloads(&store, NORMAL).len(), 50);
}

#[test]
fn a_lone_device_is_answered_at_once_again_and_again() {
    let store = waiting_store(Duration::from_secs(60));
    for _ in 0..20 {
        wait(send(&store, from(1, b"21.5")));
    }
    assert!(store.stats().commits >= 20);
}

#[test]
fn what_is_urgent_takes_those_along_who_wait() {
    let store = waiting_store(Duration::from_secs(60));
    wait(send(&store, from(1, b"first")));
    let second = send(&store, from(2, b"second"));
    let third = send(&store, from(1, b"third"));
    change(&store, Change::Sent { lane: NORMAL, from: 0, below: 1 });
    wait(second);
    wait(third);
}

#[test]
fn closing_ends_a_wait() {
    let store = waiting_store(Duration::from_secs(60));
    wait(send(&store, from(1, b"first")));
    let second = send(&store, from(2, b"second"));
    let start = Instant::now();
    store.close();
    wait(second);
    assert!(start.elapsed() < Duration::from_secs(30));
}

/// Copies a folder as it is, as a kill would leave it.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// Bytes of a lane's files.
fn length(store: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(store.join("lane-normal")).expect("a folder");
    files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum()
}

/// Places of a store, as it lies there, that are not as they were written.
fn damaged(store: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let look = Look::open(store).expect("the store can be looked at");
    let end = look.answer(&Ask::Verify, &mut |item| {
        if let Item::Damage(damage) = item {
            found.push(format!("{damage:?}"));
        }
        std::ops::ControlFlow::Continue(())
    });
    assert!(end.is_ok(), "{end:?}");
    found
}

#[test]
fn what_was_taken_ahead_is_given_back_at_the_end_and_means_no_harm_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let open = |path: &std::path::Path| {
        let (store, opened) = Store::open(Options { path: path.into(), ..options() }).expect("the store opens");
        assert!(!opened.new_epoch || opened.report.is_empty(), "{:?}", opened.report);
        store
    };
    let go_on = |store: &Store, payload: &[u8]| {
        put(store, NORMAL, &[payload]);
        let mut sent = Submission::new();
        sent.change(Change::Sent { lane: NORMAL, from: 0, below: 1 });
        send(store, sent).blocking_recv().expect("it is committed");
    };
    let store = open(&path);
    for payload in [b"one", b"two", b"six"] {
        go_on(&store, payload);
    }
    let (bytes, limit) = (store.stats().lanes[1].bytes, length(&path));
    assert!(store.stats().bytes >= limit, "what is taken ahead counts");
    let mut left = folder.path().join("killed-0");
    copy(&path, &left);
    assert!(length(&left) > bytes, "it was taken ahead");
    store.close();
    assert_eq!(length(&path), bytes, "closed, the files end where the records end");
    for round in 1..4_u64 {
        assert_eq!(damaged(&left), Vec::<String>::new(), "killed {round} times");
        let store = open(&left);
        go_on(&store, b"ten");
        go_on(&store, b"ten");
        assert_eq!(numbers(&store, NORMAL), (0..3 + 2 * round).collect::<Vec<_>>());
        let next = folder.path().join(format!("killed-{round}"));
        copy(&left, &next);
        left = next;
    }
}

#[test]
fn bytes_stored_are_those_handed_in_and_a_disk_that_does_not_count_says_so() {
    let store = waiting_store(Duration::ZERO);
    let submission = submission(NORMAL, &[b"one", b"two, which is longer"]);
    let bytes = submission.bytes() as u64;
    wait(send(&store, submission));
    let wear = store.stats().wear;
    assert_eq!((wear.stored, wear.written), (bytes, None));
    assert!(wear.unknown.to_string().contains("/store"), "{}", wear.unknown);
}

#[test]
fn on_a_real_disk_that_counts_what_was_written_is_estimated() {
    let folder = tempfile::tempdir().expect("a folder");
    let counts = wear::BlockDevice::of(folder.path()).is_ok();
    let options = Options { path: folder.path().join("store"), ..options() };
    let (store, _) = Store::open(options).expect("the store opens");
    put(&store, NORMAL, &[&vec![7; 100_000]]);
    assert_eq!(store.stats().wear.written, None, "one commit is no habit");
    // A sample is due after some commits and some time.
    let begun = std::time::Instant::now();
    while counts && store.stats().wear.written.is_none() && begun.elapsed() < Duration::from_secs(60) {
        put(&store, NORMAL, &[&[7; 100]]);
    }
    let wear = store.stats().wear;
    // Which it is depends on where the test runs: neither may claim the other.
    assert_eq!(wear.written.is_some(), counts, "{wear:?}");
    assert_eq!(wear.unknown.is_empty(), counts, "{wear:?}");
    assert!(!counts || wear.written >= Some(100_000), "{wear:?}");
}
