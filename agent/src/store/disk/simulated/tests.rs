//! That the simulated disk is as treacherous as it says.

use super::*;
use crate::store::disk::{Disk, DiskFile, Mode};

const EIO: i32 = 5;

fn file(disk: &SimulatedDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), Mode::Create).expect("the disk works")
}

/// All that a file holds after cuts of the same disk with many seeds; `None` where it is not there.
fn after_cuts(disk: &SimulatedDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let cut = |seed| {
        disk.seed(seed);
        let after = disk.cut();
        let state = after.state();
        state.find(Path::new(path)).map(|file| state.files[file].live.to_vec())
    };
    (0..400).map(cut).collect()
}

#[test]
fn what_is_synced_outlasts_every_cut_and_what_is_not_may_be_whole_torn_or_gone() {
    let disk = SimulatedDisk::new();
    let one = file(&disk, "/one");
    one.write_at(b"synced", 0).expect("the disk works");
    one.sync_data().expect("the disk works");
    disk.sync_dir(Path::new("/")).expect("the disk works");
    assert_eq!(after_cuts(&disk, "/one"), [Some(b"synced".to_vec())].into());
    one.write_at(b"first", 6).expect("the disk works");
    one.write_at(b"second", 11).expect("the disk works");
    let seen = after_cuts(&disk, "/one");
    assert!(seen.iter().all(|bytes| bytes.as_ref().is_some_and(|bytes| bytes.starts_with(b"synced"))));
    for possible in [&b"synced"[..], b"syncedfirst", b"syncedfirstsecond", b"synced\0\0\0\0\0second"] {
        assert!(seen.contains(&Some(possible.to_vec())), "{possible:?}");
    }
    assert!(seen.len() > 8, "and many torn ones: {}", seen.len());
}

#[test]
fn a_name_lasts_only_with_its_folder() {
    let disk = SimulatedDisk::new();
    let one = file(&disk, "/one");
    one.write_at(b"x", 0).expect("the disk works");
    one.sync_data().expect("the disk works");
    assert_eq!(after_cuts(&disk, "/one"), [None, Some(b"x".to_vec())].into());
    disk.sync_dir(Path::new("/")).expect("the disk works");
    disk.remove(Path::new("/one")).expect("the disk works");
    assert_eq!(after_cuts(&disk, "/one").len(), 2, "a removed name may come back");
    disk.sync_dir(Path::new("/")).expect("the disk works");
    assert_eq!(after_cuts(&disk, "/one"), [None].into());
}

#[test]
fn a_renamed_file_keeps_a_name() {
    let disk = SimulatedDisk::new();
    for folder in ["/a", "/b"] {
        disk.create_dir_all(Path::new(folder)).expect("the disk works");
    }
    file(&disk, "/a/one");
    for folder in ["/", "/a"] {
        disk.sync_dir(Path::new(folder)).expect("the disk works");
    }
    disk.rename(Path::new("/a/one"), Path::new("/b/two")).expect("the disk works");
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        disk.seed(seed);
        seen.insert(disk.cut().paths("").len());
    }
    assert_eq!(seen, [1, 2].into());
}

#[test]
fn after_a_failed_sync_a_good_one_makes_nothing_durable_that_came_before() {
    let disk = SimulatedDisk::new();
    let one = file(&disk, "/one");
    disk.sync_dir(Path::new("/")).expect("the disk works");
    let mut lost = 0;
    for seed in 0..50 {
        one.set_len(0).and_then(|()| one.sync_data()).expect("the disk works");
        one.write_at(b"dropped", 0).expect("the disk works");
        disk.seed(seed);
        disk.fail(Fault { call: Call::Sync, part: "", errno: EIO, skip: 0, times: 1 });
        assert_eq!(one.sync_data().map_err(|error| error.raw_os_error()), Err(Some(EIO)));
        assert!(one.sync_data().is_ok(), "the trap");
        lost += usize::from(after_cuts(&disk, "/one") != [Some(b"dropped".to_vec())].into());
    }
    assert!((10..50).contains(&lost), "{lost}");
}

#[test]
fn a_short_write_says_how_much_it_took() {
    let disk = SimulatedDisk::new();
    let one = file(&disk, "/one");
    disk.seed(3);
    disk.fail(Fault { call: Call::ShortWrite, part: "", errno: EIO, skip: 0, times: 1 });
    let count = one.write_at(&[7; 1000], 0).expect("a short write is no error");
    assert!(count < 1000 && disk.bytes(Path::new("/one")) == vec![7; count], "{count}");
}

#[test]
fn a_dead_disk_takes_nothing_more() {
    let disk = SimulatedDisk::new();
    let one = file(&disk, "/one");
    disk.sync_dir(Path::new("/")).expect("the disk works");
    disk.die_after(1);
    one.write_at(b"before", 0).expect("the disk works");
    assert!(one.sync_data().is_err() && disk.is_dead());
    assert!(one.write_at(b"after", 6).is_err());
    assert!(after_cuts(&disk, "/one").contains(&Some(Vec::new())));
    assert!(after_cuts(&disk, "/one").contains(&Some(b"before".to_vec())));
}
