//! The file: what an edit, a fold and a full disk leave of it.

use super::*;
use crate::outage::file::{LIMIT, LedgerFile, NAME};
use crate::store::disk::Disk;
use crate::store::disk::simulated::SimulatedDisk;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const STORE: &str = "/store";

fn folder() -> std::path::PathBuf {
    Path::new(STORE).join(FOLDER)
}

fn open(disk: &SimulatedDisk) -> (LedgerFile, Found) {
    LedgerFile::open(Arc::new(disk.clone()), &folder(), "gw-1", (at(0), 0)).expect("the disk allows it")
}

fn made() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    disk.create_dir_all(Path::new(STORE)).expect("a folder");
    disk
}

/// A file with an hour's interval, told entry by entry.
fn hour() -> SimulatedDisk {
    let disk = made();
    let (mut file, _) = open(&disk);
    let mut ledger = ledger(&at(0));
    let mut entries: Vec<Entry> = ledger.tell(failed(Class::Provider), &at(0)).into_iter().collect();
    entries.extend(live(&mut ledger, 0, HOUR));
    entries.extend(ledger.tell(Fact::Delivered, &at(HOUR)));
    for entry in entries {
        file.append(vec![entry]).expect("the disk allows it");
    }
    disk
}

fn bytes(disk: &SimulatedDisk) -> Vec<u8> {
    disk.bytes(&folder().join(NAME))
}

/// Waits for the desk's own thread, with a bound far beyond what it takes on a busy machine.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_file_is_whole_and_says_again_what_was_told() {
    let found = read(&bytes(&hour()));
    assert!(found.is_whole() && found.notes.is_empty(), "{:?}", found.faults);
    assert_eq!((found.tally.gateway.as_str(), found.entries), ("gw-1", 6));
    assert_eq!(found.tally.intervals[&1].proved_ms(), HOUR);
}

#[test]
fn any_byte_changed_is_found_and_where() {
    let whole = bytes(&hour());
    let line_of = |at: usize| whole[..at].split(|byte| *byte == b'\n').count();
    for at in 0..whole.len() {
        for change in [1_u8, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= change;
            let found = read(&changed);
            assert!(!found.is_whole(), "byte {at} ^ {change}");
            let line = line_of(at);
            let said = found.faults[0].line;
            assert!(said == line || said == line + 1, "byte {at} of line {line} was said to be of line {said}");
        }
    }
}

#[test]
fn a_line_taken_out_put_in_or_moved_is_found() {
    let whole = bytes(&hour());
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for index in 0..lines.len() - 1 {
        let without: Vec<u8> =
            lines.iter().enumerate().filter(|(at, _)| *at != index).flat_map(|(_, line)| line.to_vec()).collect();
        assert!(!read(&without).is_whole(), "without line {}", index + 1);
        let mut twice = lines.clone();
        twice.insert(index, lines[index]);
        assert!(!read(&twice.concat()).is_whole(), "with line {} twice", index + 1);
        let mut moved = lines.clone();
        moved.swap(index, index + 1);
        assert!(!read(&moved.concat()).is_whole(), "with line {} behind the next", index + 1);
    }
}

#[test]
fn an_edit_in_the_middle_stays_visible_while_the_gateway_goes_on_and_one_at_the_end_is_noted() {
    let disk = hour();
    let path = folder().join(NAME);
    let edit = |disk: &SimulatedDisk, from: &str, to: &str, last: bool| {
        let text = String::from_utf8(bytes(disk)).expect("text");
        let place = if last { text.rfind(from) } else { text.find(from) }.expect("it is in the file");
        let file = disk.open(&path, crate::store::disk::Mode::Write).expect("the file");
        file.write_at(to.as_bytes(), place as u64).expect("written");
    };
    edit(&disk, "connection refused", "connection refuse!", false);
    let (mut file, found) = open(&disk);
    assert_eq!(found.faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2], "{:?}", found.faults);
    let mut ledger = Ledger::resume(&found.tally, &at(2 * HOUR));
    let entry = ledger.tell(failed(Class::Provider), &at(2 * HOUR)).expect("an entry");
    file.append(vec![entry]).expect("written");
    let found = read(&bytes(&disk));
    assert_eq!((found.fault_count, found.faults[0].line, found.tally.intervals.len()), (1, 2, 2));
    edit(&disk, "connection refused", "connection refuse!", true);
    assert_eq!(read(&bytes(&disk)).fault_count, 2);
    let (_, found) = open(&disk);
    assert_eq!(found.fault_count, 1);
    assert!(found.notes.iter().any(|note| note.what.to_string().contains("cut off")), "{:?}", found.notes);
    assert_eq!(found.tally.intervals.len(), 1, "what is cut is not told");
}

#[test]
fn a_full_file_folds_its_older_half_and_stays_chained() {
    let disk = made();
    let (mut file, _) = open(&disk);
    let mut noted = None;
    // Short ones for weeks, and a long one among the first.
    let mut ledger = ledger(&at(0));
    let (mut now, mut number) = (0, 0);
    while number < 4_000 {
        let hours = if number == 5 { 30 } else { 0 };
        let mut entries: Vec<Entry> = ledger.tell(failed(Class::Provider), &at(now)).into_iter().collect();
        for _ in 0..hours * 2 {
            entries.extend(live(&mut ledger, now, now + 30 * MINUTE));
            now += 30 * MINUTE;
            entries.extend(ledger.tell(failed(Class::Provider), &at(now)));
        }
        now += 2 * MINUTE;
        entries.extend(ledger.tell(Fact::Delivered, &at(now)));
        now += 2 * MINUTE;
        for entry in entries {
            file.append(vec![entry]).expect("the disk allows it");
            assert!(bytes(&disk).len() as u64 <= LIMIT);
        }
        number += 1;
        if number == 3_900 {
            noted = Some(read(&bytes(&disk)).last_digest);
        }
    }
    let text = bytes(&disk);
    let found = read(&text);
    assert!(found.is_whole(), "{:?}", found.faults);
    assert!(found.folded > 1_000);
    let known = found.tally.intervals.len() as u64;
    assert_eq!(known + found.tally.more, 4_000);
    let long = found.tally.intervals.values().find(|account| account.uninterrupted_ms() >= 24 * HOUR);
    assert_eq!(long.map(|account| account.number), Some(6));
    assert!(long.is_some_and(|account| !account.evidence.is_empty()));
    let noted = noted.expect("a digest noted down before");
    assert!(String::from_utf8_lossy(&text).contains(&noted), "a digest noted down elsewhere is still there to compare");
    // And the fold is chained to what follows it.
    let mut changed = text.clone();
    let place = String::from_utf8_lossy(&text).find("\"digest\":\"").expect("the fold's digest") + 10;
    changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
    assert!(!read(&changed).is_whole());
}

#[test]
fn an_interval_longer_than_the_file_is_kept_whole() {
    let disk = made();
    let (mut file, _) = open(&disk);
    let mut ledger = ledger(&at(0));
    let mut beats = 0;
    for minute in 0..80 * 1440 {
        let fact = if minute % 20 == 0 { failed(Class::Provider) } else { Fact::Heartbeat };
        if let Some(entry) = ledger.tell(fact, &at(minute * MINUTE)) {
            file.append(vec![entry]).expect("the disk allows it");
            beats += 1;
        }
    }
    let found = read(&bytes(&disk));
    assert!(found.is_whole() && found.folded > 0 && beats > 7_000, "{beats}");
    let account = found.tally.open().expect("it goes on");
    assert!(account.proved_ms() >= 80 * 24 * HOUR - 20 * MINUTE, "{}", account.proved_ms() / HOUR);
    assert_eq!(account.evidence[0].at, at(0), "the first evidence is kept");
}

#[test]
fn a_full_disk_hurts_nobody_and_what_waits_is_written_when_there_is_room() {
    let disk = made();
    let started = at(0);
    let ledger = Desk::open_on(Path::new(STORE), "gw-1", &started, Arc::new(disk.clone())).expect("a thread");
    let figures = ledger.figures();
    until("the file is open", || figures.borrow().ready);
    disk.leave_room(0);
    ledger.tell(failed(Class::Provider), &at(MINUTE));
    until("it says that it cannot write", || figures.borrow().problem.is_some());
    for minute in 2..2_000 {
        ledger.tell(failed(Class::Provider), &at(minute * MINUTE));
    }
    assert_eq!(figures.borrow().open.as_ref().map(|open| open.proved_ms), Some(1_998 * MINUTE));
    disk.calm();
    until("it can write again", || figures.borrow().problem.is_none());
    ledger.close(&at(2_000 * MINUTE));
    let found = read(&bytes(&disk));
    assert!(found.is_whole(), "{:?}", found.faults);
    assert_eq!(found.tally.intervals[&1].proved_ms(), 1_999 * MINUTE);
    assert_eq!(found.tally.intervals[&1].from, at(MINUTE));
    assert!(found.entries < 20, "one account waited, not two thousand: {}", found.entries);
}

#[test]
fn what_is_told_before_the_file_can_be_opened_is_not_lost() {
    let disk = made();
    disk.make_read_only();
    let ledger = Desk::open_on(Path::new(STORE), "gw-1", &at(0), Arc::new(disk.clone())).expect("a thread");
    ledger.tell(failed(Class::Provider), &at(MINUTE));
    for minute in 2..1_000 {
        ledger.tell(Fact::Heartbeat, &at(minute * MINUTE));
    }
    assert!(!ledger.figures().borrow().ready);
    disk.calm();
    // Closing does not wait for the next attempt; a second desk finds what the first could write.
    until("the file is open", || ledger.figures().borrow().ready);
    ledger.close(&at(1_000 * MINUTE));
    assert_eq!(Tally::of(&disk, &folder()).intervals[&1].from, at(MINUTE));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let found = read(&bytes);
        prop_assert!(found.is_whole() == bytes.is_empty());
    }

    #[test]
    fn no_change_makes_reading_panic_and_none_goes_unseen(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..200, "[ -~\n]{0,40}"), 1..4),
    ) {
        let whole = bytes(&hour());
        let mut changed = whole.clone();
        for (index, remove, insert) in cuts {
            let at = index.index(changed.len() + 1);
            let end = (at + remove).min(changed.len());
            changed.splice(at..end, insert.into_bytes());
        }
        let found = read(&changed);
        let _ = report::csv(&report::rows(&found.tally, None), found.is_whole());
        // What is cut off at the end of a line cannot be told from a file that ends there.
        let shortened = whole.starts_with(&changed) && (changed.is_empty() || changed.ends_with(b"\n"));
        prop_assert!(changed == whole || shortened || !found.is_whole());
    }
}
