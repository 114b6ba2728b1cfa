use super::*;
use crate::clock::Stamp;
use crate::store::disk::faulty::FaultyDisk;
use crate::store::disk::{DiskFile, Entry, Mode};
use crate::store::{Change, LaneId, NewRecord, Options, Store, Submission};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const CRITICAL: LaneId = LaneId(0);
const NORMAL: LaneId = LaneId(1);
const BOUND: Duration = Duration::from_secs(20);

/// A disk on which every call that would change something fails the test.
#[derive(Debug)]
struct Untouched(FaultyDisk);

impl Disk for Untouched {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        panic!("{} would be made", path.display())
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        assert_eq!(mode, Mode::Read, "{} would be written to", path.display());
        self.0.open(path, mode)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(path)
    }
    fn rename(&self, from: &Path, _: &Path) -> io::Result<()> {
        panic!("{} would be renamed", from.display())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        panic!("{} would be removed", path.display())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        panic!("{} would be synced", path.display())
    }
    fn space(&self, path: &Path) -> io::Result<crate::store::disk::Space> {
        self.0.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn std::fmt::Debug + Send + Sync>> {
        panic!("{} would be locked", path.display())
    }
}

fn open(disk: &FaultyDisk) -> Store {
    let options = Options::new("/store".into(), "gw-1", &["critical", "normal", "bulk"]);
    let options = Options { max_size: 4 * 1024 * 1024, ..options };
    Store::open_on(options, Arc::new(disk.clone())).expect("the store opens").0
}

fn files(disk: &FaultyDisk) -> Look {
    Look::open_on(Path::new("/store"), Arc::new(Untouched(disk.clone()))).expect("there is a store")
}

fn commit(store: &Store, mut submission: Submission) {
    let mut done = submission.on_commit();
    store.submit(submission);
    let start = Instant::now();
    while done.try_recv().is_err() {
        assert!(start.elapsed() < BOUND, "not committed");
        std::thread::yield_now();
    }
}

fn put(store: &Store, lane: LaneId, device: &str, wall_ms: u64, payload: &[u8]) {
    let stamp = Stamp { wall_ms, uptime_ms: wall_ms, boot: 1, trusted: true };
    let topic = format!("devices/{device}/telemetry");
    let mut submission = Submission::new();
    submission.push(lane, &NewRecord { device, topic: &topic, payload, stamp, origin: None, will: false });
    commit(store, submission);
}

fn change(store: &Store, changes: impl IntoIterator<Item = Change>) {
    let mut submission = Submission::new();
    changes.into_iter().for_each(|change| submission.change(change));
    commit(store, submission);
}

/// Everything that is answered, as it goes over the control socket, and back from there.
fn answer(look: &Look, ask: &Ask) -> (Vec<String>, End) {
    let ask: Ask = serde_json::from_str(&serde_json::to_string(ask).expect("JSON")).expect("a question");
    let mut items = Vec::new();
    let end = look
        .answer(&ask, &mut |item| {
            let json = serde_json::to_string(&item).expect("JSON");
            assert_eq!(serde_json::from_str::<Item<'_>>(&json).expect("an item"), item);
            if !matches!(item, Item::Progress { .. }) {
                items.push(json);
            }
            ControlFlow::Continue(())
        })
        .expect("an answer");
    assert_eq!(serde_json::from_str::<End>(&serde_json::to_string(&end).expect("JSON")).expect("an end"), end);
    (items, end)
}

/// Lane, number and payload of the records asked for.
fn records(look: &Look, filter: Filter) -> Vec<(String, u64, Vec<u8>)> {
    let mut found = Vec::new();
    look.answer(&Ask::Records(filter), &mut |item| {
        if let Item::Record(record) = item {
            found.push((record.lane.into_owned(), record.seq, record.payload.into_owned()));
        }
        ControlFlow::Continue(())
    })
    .expect("an answer");
    found
}

fn damage(look: &Look) -> Vec<Damage> {
    let mut found = Vec::new();
    let end = look.answer(&Ask::Verify, &mut |item| {
        if let Item::Damage(damage) = item {
            found.push(damage);
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(end, Ok(End::Verified { damaged }) if damaged == found.len() as u64), "{end:?}");
    found
}

fn all() -> Filter {
    Filter { what: What::All, ..Filter::default() }
}

/// Ten records in `normal`, of which three are delivered; two in `critical`, the first of which is put aside.
fn filled() -> (FaultyDisk, Store) {
    let disk = FaultyDisk::default();
    let store = open(&disk);
    for number in 0..10 {
        let device = if number % 2 == 0 { "pump-1" } else { "meter-1" };
        put(&store, NORMAL, device, 1000 + 10 * number, &[number as u8; 20]);
    }
    put(&store, CRITICAL, "pump-1", 1035, b"hot");
    put(&store, CRITICAL, "pump-2", 1005, b"hotter");
    let reason = "400 Bad Request".into();
    change(
        &store,
        [
            Change::Acknowledge { lane: NORMAL, from: 0, below: 3 },
            Change::PutAside { lane: CRITICAL, seq: 0, reason },
            Change::Acknowledge { lane: CRITICAL, from: 0, below: 1 },
        ],
    );
    (disk, store)
}

#[test]
fn the_files_and_the_running_store_show_the_same_and_looking_changes_nothing() {
    let (disk, store) = filled();
    let bytes: Vec<_> = disk.paths("").iter().map(|path| (path.clone(), disk.bytes(path))).collect();
    let (live, offline) = (store.look(), files(&disk));
    for ask in [
        Ask::Records(Filter::default()),
        Ask::Records(all()),
        Ask::Records(Filter { lane: Some("normal".into()), limit: Some(3), ..Filter::default() }),
        Ask::Verify,
        Ask::Aside { id: None },
        Ask::Aside { id: Some("critical/0".into()) },
    ] {
        let (shown, read) = (answer(&live, &ask), answer(&offline, &ask));
        assert!(!shown.0.is_empty(), "{ask:?}");
        assert_eq!(shown, read, "{ask:?}");
    }
    let (End::Status(mut shown), End::Status(read)) = (answer(&live, &Ask::Status).1, answer(&offline, &Ask::Status).1)
    else {
        panic!("not a status");
    };
    assert!(shown.live && !read.live && shown.max_bytes == Some(4 * 1024 * 1024) && read.max_bytes.is_none());
    (shown.live, shown.max_bytes, shown.bytes) = (false, None, read.bytes);
    assert_eq!(shown, read);
    let normal = &read.lanes[1];
    assert_eq!((normal.waiting, normal.stored, normal.oldest_ms), (7, 10, Some(1030)));
    assert_eq!((read.put_aside, read.lanes[0].waiting), (1, 1));
    for (path, bytes) in bytes {
        assert_eq!(disk.bytes(&path), bytes, "{}", path.display());
    }
    store.close();
}

#[test]
fn the_running_store_shows_no_record_that_is_not_committed() {
    let (disk, store) = filled();
    disk.set(|faults| faults.sync = Some(("lane-normal".into(), usize::MAX)));
    let mut submission = Submission::new();
    let stamp = Stamp { wall_ms: 9, uptime_ms: 9, boot: 1, trusted: true };
    let record = NewRecord { device: "d", topic: "t", payload: b"late", stamp, origin: None, will: false };
    submission.push(NORMAL, &record);
    let mut done = submission.on_commit();
    store.submit(submission);
    let start = Instant::now();
    while store.stats().stalled.is_none() {
        assert!(start.elapsed() < BOUND, "the sync does not fail");
        std::thread::yield_now();
    }
    assert_eq!(records(&store.look(), all()).len(), 12);
    assert!(damage(&store.look()).is_empty());
    assert!(done.try_recv().is_err(), "it was not committed");
    disk.set(|faults| faults.sync = None);
    store.close();
}

#[test]
fn records_of_several_lanes_come_oldest_first_and_filters_take_what_they_say() {
    let (disk, store) = filled();
    store.close();
    let look = files(&disk);
    let numbers = |filter: Filter| -> Vec<(String, u64)> {
        records(&look, filter).into_iter().map(|(lane, seq, _)| (lane, seq)).collect()
    };
    let waiting = numbers(Filter::default());
    // The lane's own order stands above its times: the second of `critical` is older than the first.
    assert_eq!(waiting.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(waiting[0].0, "critical");
    assert_eq!(numbers(all()).len(), 12);
    let normal = |filter: Filter| -> Vec<u64> {
        let filter = Filter { lane: Some("normal".into()), ..filter };
        numbers(filter).into_iter().map(|(_, seq)| seq).collect()
    };
    let device = |text: &str| Some(DevicePattern(text.into()));
    assert_eq!(normal(Filter { device: device("pump-1"), ..all() }), [0, 2, 4, 6, 8]);
    assert_eq!(normal(Filter { device: device("met*"), ..Filter::default() }), [3, 5, 7, 9]);
    assert_eq!(normal(Filter { from_ms: Some(1020), to_ms: Some(1050), ..all() }), [2, 3, 4]);
    assert_eq!(normal(Filter { limit: Some(2), ..Filter::default() }), [3, 4]);
    let wrong = Ask::Records(Filter { lane: Some("nix".into()), ..Filter::default() });
    let error = look.answer(&wrong, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(error, Err(LookError::NoLane { there, .. }) if there == ["critical", "normal", "bulk"]));
}

#[test]
fn whoever_has_enough_ends_the_looking() {
    let (_disk, store) = filled();
    let mut seen = 0;
    let ended = store.look().answer(&Ask::Records(all()), &mut |item| {
        if matches!(item, Item::Record(_)) {
            seen += 1;
        }
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(ended, Err(LookError::Ended)));
    assert_eq!(seen, 2);
}

#[test]
fn any_byte_of_any_segment_may_flip_and_its_file_is_named_and_all_else_is_shown() {
    let (disk, store) = filled();
    store.close();
    let whole = records(&files(&disk), all());
    assert!(damage(&files(&disk)).is_empty());
    let segments: Vec<PathBuf> = ["lane-normal", "lane-critical", "aside", "control"]
        .iter()
        .flat_map(|folder| disk.paths(folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    assert_eq!(segments.len(), 4);
    for path in segments {
        let bytes = disk.bytes(&path);
        for at in 0..bytes.len() {
            let disk = disk.copy();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            disk.replace(&path, &flipped);
            let look = files(&disk);
            let found = damage(&look);
            let named = found.iter().filter(|one| one.file == path.display().to_string()).count();
            assert_eq!((found.len(), named), (1, 1), "byte {at} of {}: {found:?}", path.display());
            assert!(found[0].offset <= at as u64, "byte {at} of {}: {found:?}", path.display());
            let left = records(&look, all());
            assert!(left.iter().all(|record| whole.contains(record)), "byte {at}: something else is shown");
            // A flipped byte in a frame costs at most the record it is in and the one whose beginning it hides.
            assert!(left.len() + 2 >= whole.len(), "byte {at} of {} costs more", path.display());
        }
    }
}

#[test]
fn what_is_missing_torn_or_nonsense_is_named() {
    let disk = FaultyDisk::default();
    let store = open(&disk);
    // Segments of this store hold 64 KiB.
    for number in 0..40 {
        put(&store, NORMAL, "d", 1000 + number, &[number as u8; 8000]);
    }
    store.close();
    let segments = disk.paths("lane-normal");
    assert!(segments.len() > 4, "{segments:?}");
    let broken = disk.copy();
    broken.take(&segments[1]);
    broken.replace(&segments[2], &vec![0xa5; 5000]);
    let newest = segments.last().expect("a segment");
    let mut torn = broken.bytes(newest);
    torn.extend_from_slice(&[0x5a; 100]);
    broken.replace(newest, &torn);
    let found = damage(&files(&broken));
    // Without the segment, the one before it seems to reach up to the next.
    let what: Vec<(&str, u64)> = found.iter().map(|one| (one.file.as_str(), one.below - one.from)).collect();
    let name = |index: usize| segments[index].to_str().expect("text");
    let per_segment = found[1].below - found[1].from;
    assert_eq!(what, [(name(0), per_segment), (name(2), per_segment), (newest.to_str().expect("text"), 0)]);
    assert!(found[2].what.contains("100 bytes"), "{}", found[2].what);
    assert_eq!(records(&files(&broken), all()).len() as u64, 40 - 2 * per_segment);
    // Of what was known of and is gone, the end of a lane says nothing; the control lane does.
    let cut = disk.copy();
    cut.take(newest);
    let found = damage(&files(&cut));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("a newer segment"), "{found:?}");
}

#[test]
fn without_a_control_lane_everything_is_shown_as_waiting_and_that_is_said() {
    let (disk, store) = filled();
    store.close();
    for path in disk.paths("control") {
        disk.take(&path);
    }
    let look = files(&disk);
    let End::Status(status) = answer(&look, &Ask::Status).1 else { panic!("not a status") };
    assert!(!status.control_whole);
    assert_eq!(status.lanes.iter().map(|lane| lane.waiting).sum::<u64>(), 12);
    assert_eq!(records(&look, Filter::default()).len(), 12);
}

#[test]
fn a_folder_without_a_store_is_no_empty_store() {
    let disk = FaultyDisk::default();
    disk.create_dir_all(Path::new("/other")).expect("a folder");
    let look = |path: &str| Look::open_on(Path::new(path), Arc::new(Untouched(disk.clone())));
    assert!(matches!(look("/other"), Err(StoreError::Io { action: "find a store in", .. })));
    assert!(matches!(look("/nowhere"), Err(StoreError::Io { .. })));
}

#[test]
fn what_was_put_aside_is_found_by_any_part_of_its_id_that_is_enough() {
    let (disk, store) = filled();
    let reason = || "again".to_owned();
    change(&store, [Change::PutAside { lane: NORMAL, seq: 1, reason: reason() }]);
    change(&store, [Change::PutAside { lane: CRITICAL, seq: 1, reason: reason() }]);
    let look = store.look();
    let epoch = store.stats().epoch;
    for id in ["normal/1".to_owned(), format!("{epoch}/normal/1"), format!("gw-1/{epoch}/normal/1")] {
        let one = look.aside(&id).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!((one.record.payload, one.lane, one.kept), (vec![1; 20], Some(NORMAL), true), "{id}");
    }
    assert_eq!(look.aside("0").expect("only one has this number").record.reason, "400 Bad Request");
    for (id, words) in [
        ("1", "more than one"),
        ("normal/2", "no record"),
        ("gw-2/x/normal/1", "no record"),
        ("normal", "not an id"),
        ("/1", "not an id"),
        ("a/b/c/d/1", "not an id"),
    ] {
        let error = look.aside(id).expect_err(id).to_string();
        assert!(error.contains(words), "{id}: {error}");
    }
    // In `critical` the second record still waits, so there is nothing to try again.
    assert!(!look.aside("critical/1").expect("it is there").kept);
    store.close();
    assert_eq!(answer(&files(&disk), &Ask::Aside { id: None }).0.len(), 3);
}

#[test]
fn what_is_settled_is_no_longer_listed_now_and_after_a_restart() {
    let (disk, store) = filled();
    change(&store, [Change::PutAside { lane: NORMAL, seq: 1, reason: "no".into() }]);
    let one = store.look().aside("critical/0").expect("it is there");
    assert!(store.look().can_be_read(&one).expect("the disk can be read"));
    change(
        &store,
        [
            Change::Replay { lane: CRITICAL, from: 0, below: 1 },
            Change::Unquarantine { number: one.number, retried: true },
        ],
    );
    let waiting = Filter { lane: Some("critical".into()), ..Filter::default() };
    assert_eq!(records(&store.look(), waiting.clone()).len(), 2, "it waits again");
    let check = |look: &Look| {
        assert!(look.aside("critical/0").is_err());
        assert_eq!(look.aside("normal/1").expect("the other stays").record.reason, "no");
        let End::Status(status) = answer(look, &Ask::Status).1 else { panic!("not a status") };
        assert_eq!((status.put_aside, status.put_aside_gone), (2, 1));
    };
    check(&store.look());
    assert_eq!(store.put_aside(10).expect("the disk can be read").len(), 1);
    store.close();
    check(&files(&disk));
    assert_eq!(records(&files(&disk), waiting).len(), 2);
    let store = open(&disk);
    check(&store.look());
    store.close();
}

#[test]
fn delivered_records_that_are_kept_are_found_by_their_time_in_spans() {
    let (_disk, store) = filled();
    change(&store, [Change::Acknowledge { lane: NORMAL, from: 5, below: 9 }]);
    let found = |lane: Option<&str>, span| store.look().delivered(lane, span, &mut |_| ControlFlow::Continue(()));
    let spans = |found: Delivered| -> Vec<(u8, u64, u64)> {
        found.spans.iter().map(|span| (span.lane.0, span.from, span.below)).collect()
    };
    let everything = found(None, (0, u64::MAX)).expect("an answer");
    assert_eq!((everything.records, everything.bytes), (8, 7 * 20 + 3));
    assert_eq!(spans(everything), [(0, 0, 1), (1, 0, 3), (1, 5, 9)]);
    let some = found(Some("normal"), (1010, 1070)).expect("an answer");
    assert_eq!(spans(some), [(1, 1, 3), (1, 5, 7)]);
    assert_eq!(found(Some("bulk"), (0, u64::MAX)).expect("an answer"), Delivered::default());
    assert!(matches!(found(Some("nix"), (0, 1)), Err(LookError::NoLane { .. })));
    store.close();
}

#[test]
fn times_that_jump_make_more_places_than_can_be_remembered_and_that_is_said() {
    let disk = FaultyDisk::default();
    let store = open(&disk);
    for number in 0..100 {
        put(&store, NORMAL, "d", if number % 2 == 0 { 10 } else { 1_000_000 }, b"1");
    }
    change(&store, [Change::Acknowledge { lane: NORMAL, from: 0, below: 100 }]);
    let found = |span| store.look().delivered(None, span, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(found((0, 1000)), Err(LookError::Scattered { .. })));
    assert_eq!(found((0, u64::MAX)).expect("one span").spans.len(), 1);
    store.close();
}
