use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::super::tests::{DAY, NOW, Tried, information, key, sealed};
use super::*;

struct Tray {
    tried: Tried,
    folder: tempfile::TempDir,
    watched: Watched,
}

impl Tray {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let watched = Watched::new(folder.path().to_owned());
        Self { tried: Tried::new(true), folder, watched }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file there as the documents say: under another name first.
    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(".fresh"), bytes).expect("written");
        fs::rename(self.path(".fresh"), self.path(name)).expect("renamed");
    }

    fn look(&mut self, times: u32) {
        for _ in 0..times {
            self.watched.look(&self.tried.inbox);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

#[test]
fn what_is_put_there_is_taken_at_the_next_look_and_put_away_when_it_has_long_been_committed() {
    let mut inbox = Tray::new();
    inbox.put("m.notice", &sealed("n-1", NOW));
    inbox.put("n.cbor", &sealed("n-2", NOW));
    inbox.look(1);
    let mut handed = inbox.tried.handed();
    handed.sort();
    assert_eq!(handed, ["n-1 ops-1 folder", "n-2 ops-1 folder"]);
    inbox.look(SETTLED - 1);
    assert!(inbox.has("m.notice"), "a power cut finds it again");
    inbox.look(1);
    assert!(!inbox.has("m.notice") && inbox.has("done/m.notice") && inbox.has("done/n.cbor"));
    assert_eq!(inbox.tried.handed().len(), 2, "and each was handed on once");
    assert_eq!(inbox.tried.inbox.standing().repeated, 0);
}

#[test]
fn older_files_are_taken_first_so_that_an_amendment_follows_what_it_amends() {
    let mut inbox = Tray::new();
    for (name, issued_ms, age) in [("a.notice", NOW + 2, 10), ("z.notice", NOW, 30), ("b.notice", NOW + 1, 20)] {
        inbox.put(name, &sealed("n-1", issued_ms));
        let time = std::time::SystemTime::now() - Duration::from_secs(age);
        fs::File::open(inbox.path(name)).and_then(|file| file.set_modified(time)).expect("a time");
    }
    inbox.look(1);
    assert_eq!(inbox.tried.handed().len(), 3);
    assert_eq!(inbox.tried.refused("older"), 0);
}

#[test]
fn a_file_that_is_still_being_written_is_not_refused_for_good() {
    let mut inbox = Tray::new();
    let envelope = sealed("n-1", NOW);
    for length in [0, 1, envelope.len() / 2, envelope.len() - 1] {
        fs::write(inbox.path("slow.notice"), &envelope[..length]).expect("written");
        inbox.look(STILL - 1);
    }
    assert_eq!(inbox.tried.inbox.standing().refused.len(), 0);
    fs::write(inbox.path("slow.notice"), &envelope).expect("written");
    inbox.look(1);
    assert_eq!(inbox.tried.handed(), ["n-1 ops-1 folder"]);
}

#[test]
fn what_cannot_be_believed_is_refused_once_counted_and_put_aside() {
    let mut inbox = Tray::new();
    inbox.put("rubbish.notice", b"PLEASE STOP");
    inbox.put("large.cbor", &vec![0; 100_000]);
    inbox.put("forged.notice", &tidegate_protocol::notice::seal(&information("n", NOW), &key(2)).expect("sealed"));
    inbox.look(STILL - 1);
    assert_eq!(inbox.tried.refused("malformed"), 0);
    inbox.look(5);
    for (code, name) in [("malformed", "rubbish.notice"), ("too_large", "large.cbor"), ("unknown_key", "forged.notice")]
    {
        assert_eq!(inbox.tried.refused(code), 1, "{code}");
        assert!(!inbox.has(name) && inbox.has(&format!("refused/{name}")));
    }
    let standing = inbox.tried.inbox.standing();
    assert!(standing.last.iter().any(|last| last.from == "folder rubbish.notice"), "{standing:?}");
    assert_eq!(inbox.tried.handed(), Vec::<String>::new());
}

#[test]
fn links_pipes_and_folders_are_refused_and_nothing_they_lead_to_is_read_or_moved() {
    let mut inbox = Tray::new();
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("n.notice"), sealed("n-1", NOW)).expect("written");
    symlink(outside.path().join("n.notice"), inbox.path("link.notice")).expect("a link");
    fs::create_dir(inbox.path("folder.notice")).expect("a folder");
    rustix::fs::mknodat(CWD, inbox.path("pipe.notice"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    inbox.put(".hidden.notice", &sealed("n-2", NOW));
    inbox.put("other.txt", &sealed("n-3", NOW));
    // Where judged files go to, traps.
    symlink(outside.path(), inbox.path("refused")).expect("a link");
    inbox.look(20);
    assert_eq!(inbox.tried.refused("not_a_file"), 3);
    assert_eq!(inbox.tried.handed(), Vec::<String>::new());
    assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 1, "nothing was moved out");
    assert!(inbox.has("link.notice") && inbox.has(".hidden.notice") && inbox.has("other.txt"));
}

#[test]
fn where_nothing_can_be_moved_what_was_judged_is_remembered_until_it_changes() {
    let mut inbox = Tray::new();
    // As in a folder that may only be read, which root could write all the same.
    fs::write(inbox.path("done"), "").expect("a file");
    fs::write(inbox.path("refused"), "").expect("a file");
    inbox.put("m.notice", &sealed("n-1", NOW));
    inbox.put("rubbish.notice", b"rubbish");
    inbox.look(SETTLED * 2);
    assert_eq!((inbox.tried.handed().len(), inbox.tried.refused("malformed")), (1, 1));
    assert!(inbox.has("m.notice") && inbox.has("rubbish.notice"));
    assert_eq!(inbox.tried.inbox.standing().repeated, 0);
    inbox.put("rubbish.notice", &sealed("n-2", NOW));
    inbox.put("m.notice", &sealed("n-1", NOW + 1));
    inbox.look(SETTLED * 2);
    let mut handed = inbox.tried.handed();
    handed.sort();
    assert_eq!(handed, ["n-1 ops-1 folder", "n-1 ops-1 folder", "n-2 ops-1 folder"]);
}

#[test]
fn a_notice_from_the_future_waits_in_the_folder_until_its_time_comes() {
    let mut inbox = Tray::new();
    inbox.put("early.notice", &sealed("n-1", NOW + DAY));
    inbox.look(10);
    assert_eq!((inbox.tried.refused("not_yet_issued"), inbox.tried.handed().len()), (1, 0));
    inbox.tried.clock.advance(DAY);
    inbox.look(1);
    assert_eq!(inbox.tried.handed(), ["n-1 ops-1 folder"]);
}

#[test]
fn before_the_store_is_open_nothing_is_judged_for_good() {
    let mut inbox = Tray::new();
    inbox.tried.open.store(false, Ordering::SeqCst);
    inbox.put("m.notice", &sealed("n-1", NOW));
    inbox.look(10);
    assert_eq!((inbox.tried.handed().len(), inbox.tried.inbox.standing().refused.len()), (0, 0));
    inbox.tried.open.store(true, Ordering::SeqCst);
    inbox.look(1);
    assert_eq!(inbox.tried.handed(), ["n-1 ops-1 folder"]);
}

#[test]
fn what_is_kept_and_what_is_looked_at_is_bounded() {
    let mut inbox = Tray::new();
    for number in 0..BATCH + KEPT + 10 {
        inbox.put(&format!("{number:03}.notice"), &sealed(&format!("n-{number}"), NOW - DAY - 1));
    }
    inbox.look(1);
    assert_eq!(inbox.tried.refused("expired"), BATCH as u64, "one batch a look");
    inbox.look(5);
    assert_eq!(inbox.tried.refused("expired"), (BATCH + KEPT + 10) as u64);
    assert_eq!(fs::read_dir(inbox.path("refused")).expect("a folder").count(), KEPT);
    inbox.look(1);
    assert!(inbox.watched.seen.is_empty());
}

#[test]
fn what_is_no_notice_counts_for_nothing_and_a_listing_that_was_cut_is_said() {
    let mut inbox = Tray::new();
    for number in 0..ENTRIES + 50 {
        fs::write(inbox.path(&format!("{number}.txt")), "").expect("written");
    }
    inbox.put("m.notice", &sealed("n-1", NOW));
    inbox.look(1);
    assert_eq!(inbox.tried.handed(), ["n-1 ops-1 folder"]);
    assert_eq!(inbox.tried.inbox.standing().folder_problem, None);
    // Where they cannot be moved, they stay.
    fs::write(inbox.path("refused"), "").expect("a file");
    for number in 0..ENTRIES {
        symlink("nowhere", inbox.path(&format!("{number}.notice"))).expect("a link");
    }
    inbox.look(1);
    let problem = inbox.tried.inbox.standing().folder_problem.expect("a problem");
    let problem = problem.to_string();
    assert!(problem.contains("more than 5000 notices"), "{problem}");
    fs::remove_file(inbox.path("0.notice")).expect("removed");
    inbox.look(1);
    assert_eq!(inbox.tried.inbox.standing().folder_problem, None);
}

#[test]
fn rubbish_that_cannot_be_moved_starves_no_notice_and_is_read_no_more_often_than_it_takes() {
    let mut inbox = Tray::new();
    fs::write(inbox.path("refused"), "").expect("a file");
    let count = 3 * BATCH;
    for number in 0..count {
        inbox.put(&format!("{number}.notice"), b"rubbish");
    }
    inbox.put("z.notice", &sealed("n-1", NOW));
    inbox.look(4);
    assert_eq!(inbox.tried.handed(), ["n-1 ops-1 folder"]);
    inbox.look(3 * STILL);
    assert_eq!(inbox.tried.refused("malformed"), count as u64);
    inbox.look(20);
    assert_eq!(inbox.tried.refused("malformed"), count as u64, "refused once and unchanged");
}

#[test]
fn those_that_wait_for_their_time_keep_none_of_their_kind_from_being_looked_at_again() {
    let mut inbox = Tray::new();
    for number in 0..BATCH {
        inbox.put(&format!("{number:03}.notice"), &sealed(&format!("n-{number}"), NOW + 3 * DAY));
    }
    inbox.look(1);
    inbox.put("sooner.notice", &sealed("sooner", NOW + DAY));
    inbox.look(1);
    inbox.tried.clock.advance(DAY);
    inbox.look(2);
    assert_eq!(inbox.tried.handed(), ["sooner ops-1 folder"]);
}

#[test]
fn a_folder_that_is_missing_is_said_and_watched_once_it_is_there() {
    let mut inbox = Tray::new();
    inbox.watched = Watched::new(inbox.path("later"));
    inbox.look(2);
    let problem = inbox.tried.inbox.standing().folder_problem.expect("a problem");
    assert!(problem.to_string().contains("/later: "), "{problem}");
    fs::create_dir(inbox.path("later")).expect("a folder");
    inbox.put("later/m.notice", &sealed("n-1", NOW));
    inbox.look(1);
    let standing = inbox.tried.inbox.standing();
    assert!(standing.folder_problem.is_none() && standing.folder.is_some_and(|folder| folder.ends_with("/later")));
    assert_eq!(inbox.tried.handed(), ["n-1 ops-1 folder"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_watched_until_it_is_told_to_stop_and_another_folder_can_be_named() {
    let inbox = Tray::new();
    let (sender, receiver) = watch::channel(None);
    let stop = CancellationToken::new();
    let task = tokio::spawn(super::watch(inbox.tried.inbox.clone(), receiver, stop.clone()));
    inbox.put("m.notice", &sealed("n-1", NOW));
    sender.send_replace(Some(inbox.folder.path().to_owned()));
    while inbox.tried.handed().is_empty() {
        tokio::time::sleep(EVERY).await;
    }
    stop.cancel();
    task.await.expect("it ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_file_makes_it_panic_or_is_believed(files in proptest::collection::vec(
        ("[a-z.\\u{1b}é]{1,8}", proptest::collection::vec(any::<u8>(), 0..200)), 0..6,
    )) {
        let mut inbox = Tray::new();
        for (name, bytes) in &files {
            if !matches!(name.as_str(), "." | "..") {
                inbox.put(&format!("{name}.notice"), bytes);
            }
        }
        inbox.look(STILL + 1);
        prop_assert!(inbox.tried.handed().is_empty());
    }
}
