//! Power cuts and failing calls at any moment: what was written is found again, and nothing else.

use super::*;
use crate::outage::file::{LedgerFile, NAME};
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Call, Dice, Fault, SimulatedDisk};
use std::path::Path;
use std::sync::Arc;

const CASES: u64 = 300;

fn open(disk: &SimulatedDisk) -> std::io::Result<(LedgerFile, Found)> {
    LedgerFile::open(Arc::new(disk.clone()), Path::new("/store/outages"), "gw-1", (at(0), 0))
}

/// An interval's account that is as long as `minutes` and padded to fill the file sooner.
fn entry(number: u64, minutes: u64) -> Entry {
    let mut account = Account::new(number, at(0), None);
    account.stretches.push(Stretch {
        class: Class::Provider,
        from: at(0),
        until: at(minutes * MINUTE),
        ms: minutes * MINUTE,
    });
    let evidence = Evidence::new(Stage::Http, Class::Provider, &"x".repeat(REASON));
    account.evidence = vec![Noted { at: at(0), what: evidence, before: 0 }; 8];
    Entry { n: 0, at: at(minutes * MINUTE), run: 0, what: What::Still(Box::new(account)) }
}

fn minutes(found: &Found) -> u64 {
    found.tally.intervals.values().map(|account| account.proved_ms() / MINUTE).max().unwrap_or(0)
}

#[test]
fn after_a_power_cut_at_any_moment_what_was_written_is_there_and_the_chain_is_whole() {
    for seed in 0..CASES {
        let mut dice = Dice(seed);
        let mut disk = SimulatedDisk::new();
        disk.create_dir_all(Path::new("/store")).expect("a folder");
        disk.sync_dir(Path::new("/")).expect("synced");
        let (mut written, mut tried) = (0, 0);
        for _ in 0..4 {
            disk.seed(dice.roll());
            disk.die_after(dice.below(60) as u32);
            if let Ok((mut file, found)) = open(&disk) {
                assert!(found.is_whole(), "seed {seed}: {:?}", found.faults);
                assert!(
                    minutes(&found) >= written && minutes(&found) <= tried,
                    "seed {seed}: {written} {tried} {found:?}"
                );
                while !disk.is_dead() {
                    tried += 1;
                    if file.append(vec![entry(1, tried)]).is_ok() {
                        written = tried;
                    }
                }
            }
            let left = disk.cut();
            disk = left;
        }
        disk.calm();
        let (_, found) = open(&disk).expect("the disk is well");
        assert!(found.is_whole() && minutes(&found) >= written && minutes(&found) <= tried, "seed {seed}: {found:?}");
    }
}

#[test]
fn after_failing_calls_and_a_power_cut_what_was_written_is_there() {
    for seed in 0..CASES {
        let mut dice = Dice(seed ^ 0xfa11);
        let disk = SimulatedDisk::new();
        disk.create_dir_all(Path::new("/store")).expect("a folder");
        disk.sync_dir(Path::new("/")).expect("synced");
        disk.seed(dice.roll());
        let (mut file, _) = open(&disk).expect("the disk is well");
        let (mut written, mut tried) = (0, 0);
        for _ in 0..40 {
            if dice.below(3) == 0 {
                let calls = [Call::Write, Call::Sync, Call::SyncFolder, Call::Create, Call::Rename, Call::ShortWrite];
                let call = calls[dice.below(calls.len())];
                let errno = if dice.coin() { 28 } else { 5 };
                disk.fail(Fault {
                    call,
                    part: "outages",
                    errno,
                    skip: dice.below(3) as u32,
                    times: 1 + dice.below(3) as u32,
                });
            }
            tried += 1;
            if file.append(vec![entry(1, tried)]).is_ok() {
                written = tried;
            }
        }
        let left = disk.cut();
        left.calm();
        let (_, found) = open(&left).expect("the disk is well");
        assert!(found.is_whole(), "seed {seed}: {:?}", found.faults);
        assert!(
            minutes(&found) >= written && minutes(&found) <= tried,
            "seed {seed}: {written} of {tried}, {}",
            minutes(&found)
        );
    }
}

#[test]
fn a_power_cut_while_the_file_is_folded_leaves_the_old_one_or_the_new_one() {
    let well = SimulatedDisk::exact();
    well.create_dir_all(Path::new("/store")).expect("a folder");
    well.sync_dir(Path::new("/")).expect("synced");
    let (mut file, _) = open(&well).expect("the disk is well");
    let path = Path::new("/store/outages").join(NAME);
    let mut written = 0;
    while well.bytes(&path).len() < 510_000 {
        written += 1;
        file.append(vec![entry(1 + written / 50, written)]).expect("the disk is well");
    }
    drop(file);
    for calls in 0..40 {
        let disk = well.fork();
        disk.seed(u64::from(calls));
        let (mut file, found) = open(&disk).expect("the disk is well");
        assert_eq!(minutes(&found), written);
        disk.die_after(calls);
        let mut last = written;
        for more in 1..10 {
            if file.append(vec![entry(1 + written / 50, written + more)]).is_ok() {
                last = written + more;
            }
        }
        let (_, found) = open(&disk.cut()).expect("the disk is well");
        assert!(found.is_whole(), "{calls}: {:?}", found.faults);
        assert!(minutes(&found) >= last, "{calls}: {last} {}", minutes(&found));
    }
}
