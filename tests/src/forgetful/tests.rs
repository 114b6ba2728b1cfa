//! The medium itself: what a cut may leave, over many seeds.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use super::medium::{About, ROOT};
use super::{Loss, Medium};
use crate::rng::Rng;

fn create(medium: &mut Medium, name: &str) -> About {
    medium.create(ROOT, OsStr::new(name), false, 0o600).expect("the name is free")
}

fn sync(medium: &mut Medium, inode: u64) {
    let now = medium.moment();
    medium.sync(inode, now).expect("it is there");
}

fn contents(medium: &Medium, name: &str) -> Option<Vec<u8>> {
    let file = medium.lookup(ROOT, OsStr::new(name)).ok()?;
    Some(medium.read(file.inode, 0, u32::MAX).expect("a file").to_vec())
}

fn names(medium: &Medium) -> Vec<String> {
    medium.list(ROOT).expect("a folder").into_iter().map(|(name, _)| name.into_string().expect("UTF-8")).collect()
}

#[test]
fn a_sync_keeps_what_was_there_when_it_began_and_nothing_that_came_while_it_ran() {
    let mut medium = Medium::new(Rng::from_seed(1));
    let file = create(&mut medium, "a");
    sync(&mut medium, ROOT);
    medium.write(file.inode, 0, b"before").expect("it may");
    let began = medium.moment();
    medium.write(file.inode, 6, b" and after").expect("it may");
    medium.sync(file.inode, began).expect("it may");
    assert_eq!(contents(&medium, "a").expect("it is named"), b"before and after");
    let lost = medium.cut(Loss::All);
    assert_eq!(contents(&medium, "a").expect("it is named"), b"before");
    assert_eq!((lost.sectors, lost.names), (1, 0));
}

#[test]
fn what_is_synced_is_whole_after_any_cut() {
    for seed in 0..200 {
        let mut medium = Medium::new(Rng::from_seed(seed));
        let file = create(&mut medium, "a");
        medium.write(file.inode, 100, &[7; 10_000]).expect("it may");
        medium.set_len(file.inode, 9_000).expect("it may");
        let synced = contents(&medium, "a").expect("it may");
        sync(&mut medium, file.inode);
        sync(&mut medium, ROOT);
        medium.write(file.inode, 9_000, &[8; 5_000]).expect("it may");
        create(&mut medium, "b");
        medium.cut(Loss::Part);
        assert_eq!(contents(&medium, "a").expect("it is named")[..9_000], synced, "seed {seed}");
        let left = contents(&medium, "a").expect("it may");
        medium.cut(Loss::Part);
        assert_eq!(contents(&medium, "a").expect("it is named"), left, "a second cut changes nothing");
    }
}

#[test]
fn a_partial_cut_leaves_old_and_new_sectors_side_by_side_and_nothing_else() {
    let (mut wholes, mut torn, mut lengths) = (BTreeSet::new(), 0, BTreeSet::new());
    for seed in 0..300 {
        let mut medium = Medium::new(Rng::from_seed(seed));
        let file = create(&mut medium, "a");
        medium.write(file.inode, 0, &[1; 16_384]).expect("it may");
        sync(&mut medium, file.inode);
        sync(&mut medium, ROOT);
        medium.write(file.inode, 0, &[2; 16_384]).expect("it may");
        medium.write(file.inode, 16_384, &[3; 4_096]).expect("it may");
        medium.cut(Loss::Part);
        let left = contents(&medium, "a").expect("it may");
        lengths.insert(left.len());
        for sector in left[..16_384].chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]) && [1, 2].contains(&sector[0]), "a sector is whole");
        }
        assert!(left[16_384..].iter().all(|byte| [0, 3].contains(byte)), "not written reads as zeros");
        let firsts: BTreeSet<u8> = left[..16_384].iter().copied().collect();
        torn += usize::from(left[..4096].windows(2).any(|pair| pair[0] != pair[1]));
        wholes.insert(firsts);
    }
    let expected: BTreeSet<BTreeSet<u8>> = [[1].into(), [2].into(), [1, 2].into()].into();
    assert_eq!(wholes, expected, "all old, all new and mixed occur");
    assert!(torn > 0, "no page was torn inside");
    assert_eq!(lengths, [16_384, 20_480].into(), "the length with and without the last write");
}

#[test]
fn a_cut_of_the_tail_leaves_the_beginning_of_what_was_written() {
    let mut lengths = BTreeSet::new();
    for seed in 0..300 {
        let mut medium = Medium::new(Rng::from_seed(seed));
        let file = create(&mut medium, "a");
        sync(&mut medium, ROOT);
        let bytes: Vec<u8> = (0..3000_u16).map(|index| (index % 251) as u8).collect();
        for (offset, chunk) in (0..).step_by(1000).zip(bytes.chunks(1000)) {
            medium.write(file.inode, offset, chunk).expect("it may");
        }
        medium.cut(Loss::Tail);
        let left = contents(&medium, "a").expect("it is named");
        assert!(bytes.starts_with(&left), "seed {seed}: {} bytes are not the beginning", left.len());
        lengths.insert(left.len());
    }
    // Whole writes, and sectors of the next.
    assert_eq!(lengths, [0, 512, 1000, 1024, 1536, 2000, 2048, 2560, 3000].into());
}

#[test]
fn a_partial_cut_keeps_the_changes_of_one_name_in_their_order() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let mut medium = Medium::new(Rng::from_seed(seed));
        create(&mut medium, "old");
        sync(&mut medium, ROOT);
        medium.rename((ROOT, OsStr::new("old")), (ROOT, OsStr::new("new"))).expect("it may");
        medium.remove(ROOT, OsStr::new("new"), false).expect("it may");
        create(&mut medium, "other");
        medium.cut(Loss::Part);
        seen.insert(names(&medium).join(" "));
    }
    // Never both old and new, and never a removal without the rename before it.
    let expected = ["", "new", "new other", "old", "old other", "other"].map(str::to_owned);
    assert_eq!(seen, expected.into());
}

#[test]
fn a_folder_whose_name_was_not_synced_takes_with_it_what_was_synced_inside() {
    let mut medium = Medium::new(Rng::from_seed(1));
    let folder = medium.create(ROOT, OsStr::new("folder"), true, 0o700).expect("it may");
    let file = medium.create(folder.inode, OsStr::new("file"), false, 0o600).expect("it may");
    sync(&mut medium, file.inode);
    sync(&mut medium, folder.inode);
    medium.cut(Loss::All);
    assert!(names(&medium).is_empty());
    assert!(medium.about(file.inode).is_err(), "what nothing names is freed");
}
