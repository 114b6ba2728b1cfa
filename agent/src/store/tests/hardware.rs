//! A store that finds itself on other hardware: a copied card, a restored image.

use super::*;
use crate::store::disk::simulated::SimulatedDisk;

const HERE: &str = "board/cpu=0011223344556677 board/device-tree=8899aabbccddeeff";
const THERE: &str = "board/cpu=7766554433221100 board/device-tree=8899aabbccddeeff";

fn on(hardware: Option<&str>) -> Options {
    Options { hardware: hardware.map(str::to_owned), ..options() }
}

fn open_at(disk: &SimulatedDisk, hardware: Option<&str>) -> Result<(Store, Opened), StoreError> {
    Store::open_on(on(hardware), Arc::new(disk.clone()))
}

/// A store with ten records in two lanes, of which two are delivered, cleanly closed; and its epoch.
fn written_here() -> (SimulatedDisk, String) {
    let disk = SimulatedDisk::new();
    let (store, _) = open_at(&disk, Some(HERE)).expect("an empty disk makes a store");
    for number in 0..5_u8 {
        put(&store, NORMAL, &[&[number; 20]]);
        put(&store, BULK, &[&[number; 30]]);
    }
    change(&store, Change::Acknowledge { lane: NORMAL, from: 0, below: 2 });
    change(&store, Change::Session(session(3)));
    let epoch = store.stats().epoch;
    store.close();
    (disk, epoch)
}

/// All that waits, with ids.
fn waiting(store: &Store) -> Vec<(String, u64, Vec<u8>)> {
    [NORMAL, BULK].into_iter().flat_map(|lane| read_from(store, lane, store.cursor(lane))).collect()
}

#[test]
fn on_other_hardware_a_new_epoch_is_drawn_once_and_what_waits_goes_out_under_its_old_ids() {
    let (disk, epoch) = written_here();
    let original = disk.fork();
    let (store, opened) = open_at(&disk, Some(THERE)).expect("the copy opens");
    assert!(opened.new_epoch);
    assert!(opened.report.iter().any(|line| line.contains("other hardware") && line.contains("board/cpu")));
    assert!(opened.report.iter().all(|line| !line.contains("board/device-tree")), "that is the same");
    assert_eq!(opened.sessions.len(), 1, "sessions are kept");
    assert_eq!((store.cursor(NORMAL), waiting(&store).len()), (2, 8));
    assert!(waiting(&store).iter().all(|(of, ..)| *of == epoch));
    put(&store, NORMAL, &[b"there"]);
    let there = read_from(&store, NORMAL, 5);
    assert_eq!(there, [(store.stats().epoch, 5, b"there".to_vec())]);
    assert_ne!(there[0].0, epoch);
    store.close();
    let (store, opened) = open_at(&disk, Some(THERE)).expect("it opens again");
    assert!(!opened.new_epoch && opened.report.is_empty(), "{:?}", opened.report);
    assert_eq!(store.stats().epoch, there[0].0);
    let (store, opened) = open_at(&original, Some(HERE)).expect("the original opens");
    assert!(!opened.new_epoch && opened.report.is_empty(), "{:?}", opened.report);
    put(&store, NORMAL, &[b"here"]);
    assert_eq!(read_from(&store, NORMAL, 5), [(epoch, 5, b"here".to_vec())], "the same number, in another epoch");
}

#[test]
fn another_source_or_none_is_not_other_hardware() {
    let (disk, epoch) = written_here();
    for hardware in
        [None, Some("network/eth0=0123456789abcdef"), Some("board/device-tree=8899aabbccddeeff"), Some(HERE)]
    {
        let (store, opened) = open_at(&disk, hardware).expect("the store opens");
        assert!(!opened.new_epoch && opened.report.is_empty(), "{hardware:?}: {:?}", opened.report);
        assert_eq!(store.stats().epoch, epoch);
        store.close();
    }
    let (_, opened) = open_at(&disk, Some("network/eth0=fedcba9876543210")).expect("the store opens");
    assert!(opened.new_epoch, "what was found meanwhile was noted: {:?}", opened.report);
}

#[test]
fn a_power_cut_anywhere_in_that_opening_changes_nothing_twice() {
    let (base, epoch) = written_here();
    let mut cut_short = 0;
    for calls in 0.. {
        let mut opened_whole = false;
        for seed in 0..6 {
            let disk = base.fork();
            disk.seed(seed * 1000 + u64::from(calls));
            disk.die_after(calls);
            if let Ok((store, _)) = open_at(&disk, Some(THERE)) {
                opened_whole |= !disk.is_dead();
                store.close();
            } else {
                cut_short += 1;
            }
            let disk = disk.cut();
            let (store, opened) = open_at(&disk, Some(THERE)).expect("it opens after the cut");
            assert_ne!(store.stats().epoch, epoch, "calls {calls}, seed {seed}");
            assert!(opened.new_epoch || opened.report.is_empty(), "calls {calls}, seed {seed}: {:?}", opened.report);
            assert_eq!((store.cursor(NORMAL), waiting(&store).len()), (2, 8), "calls {calls}, seed {seed}");
            assert!(waiting(&store).iter().all(|(of, ..)| *of == epoch), "calls {calls}, seed {seed}");
            put(&store, NORMAL, &[b"new"]);
            let of = store.stats().epoch;
            assert_eq!(read_from(&store, NORMAL, 5), [(of.clone(), 5, b"new".to_vec())]);
            store.close();
            let (store, opened) = open_at(&disk, Some(THERE)).expect("it opens again");
            assert!(!opened.new_epoch && opened.report.is_empty(), "calls {calls}, seed {seed}: {:?}", opened.report);
            assert_eq!(store.stats().epoch, of);
        }
        if opened_whole {
            break;
        }
    }
    assert!(cut_short > 60, "only {cut_short} openings were cut short");
}
