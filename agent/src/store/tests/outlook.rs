//! What is told of opening before it is done: nothing is changed for it, and opening then does what was told.

use super::*;
use crate::store::disk::Disk;
use std::path::{Path, PathBuf};

/// Ten records, the store closed.
fn ten() -> FaultyDisk {
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    for number in 0..10_u8 {
        put(&store, NORMAL, &[&[number; 20]]);
    }
    store.close();
    disk
}

fn everything(disk: &FaultyDisk) -> Vec<(PathBuf, Vec<u8>)> {
    disk.paths("").iter().map(|path| (path.clone(), disk.bytes(path))).collect()
}

/// What is told, with nothing changed; a store that is then opened opens, or fails with the same words.
fn told(disk: &FaultyDisk) -> Result<Outlook, String> {
    let before = everything(disk);
    let told = Store::outlook_on(&options(), &(Arc::new(disk.clone()) as Arc<dyn Disk>));
    assert_eq!(everything(disk), before);
    let opened = Store::open_on(options(), Arc::new(disk.copy()));
    match (told, opened) {
        (Ok(outlook), Ok((_, opened))) => {
            assert_eq!(opened.report.is_empty(), !outlook.is_damaged() && outlook.torn == 0, "{:?}", opened.report);
            Ok(outlook)
        }
        (Err(told), Err(error)) => {
            assert_eq!((told.to_string(), told.code()), (error.to_string(), error.code()));
            Err(told.to_string())
        }
        (told, opened) => panic!("{told:?} and {opened:?}"),
    }
}

#[test]
fn a_store_that_is_new_or_whole_is_told_so() {
    let new = Outlook { new: true, ..Outlook::default() };
    assert_eq!(Store::outlook(&Options::new("/nonexistent/store".into(), "gw-1", &["normal"])).ok(), Some(new));
    assert_eq!(told(&ten()), Ok(Outlook::default()));
    let disk = ten();
    disk.take(Path::new("/store/version"));
    disk.take(Path::new("/store/lock"));
    assert_eq!(told(&disk), Ok(Outlook::default()), "from before there was a version");
    let disk = FaultyDisk::default();
    let (store, _) = open(&disk);
    put(&store, NORMAL, &[b"one"]);
    assert_eq!(told(&disk.copy()), Ok(Outlook::default()), "killed");
}

#[test]
fn what_is_damaged_is_told_with_what_it_costs() {
    let version = Path::new("/store/version");
    for damaged in ["", "tidegate-store 9 00000000\n"] {
        let disk = ten();
        disk.replace(version, damaged.as_bytes());
        assert_eq!(told(&disk), Ok(Outlook { version_damaged: true, ..Outlook::default() }));
        let (_, opened) = open(&disk);
        assert!(opened.report.len() == 1 && opened.report[0].contains("TG-305"), "{:?}", opened.report);
        assert!(!opened.new_epoch && open(&disk.copy()).1.report.is_empty(), "once");
    }
    let disk = ten();
    disk.paths("control").iter().for_each(|path| disk.take(path));
    assert_eq!(told(&disk), Ok(Outlook { control_lost: true, ..Outlook::default() }));
    let disk = ten();
    let segment = disk.paths("lane-normal")[0].clone();
    let mut bytes = disk.bytes(&segment);
    bytes[1024 + 16 + 5] ^= 1;
    disk.replace(&segment, &bytes);
    assert_eq!(told(&disk), Ok(Outlook { unreadable: 1, ..Outlook::default() }));
    // Once it has been counted, it is no news.
    open(&disk).0.close();
    assert_eq!(
        Store::outlook_on(&options(), &(Arc::new(disk.clone()) as Arc<dyn Disk>)).ok(),
        Some(Outlook::default())
    );
    let disk = ten();
    let mut bytes = disk.bytes(&segment);
    bytes[..1024].fill(7);
    disk.replace(&segment, &bytes);
    assert_eq!(told(&disk), Ok(Outlook { unusable: 1, unreadable: 10, ..Outlook::default() }));
    let disk = ten();
    let mut bytes = disk.bytes(&segment);
    bytes.extend_from_slice(&[9; 30]);
    disk.replace(&segment, &bytes);
    assert_eq!(told(&disk), Ok(Outlook { torn: 30, ..Outlook::default() }));
}

#[test]
fn what_cannot_be_opened_is_told_in_the_words_of_opening() {
    let disk = ten();
    let line = b"tidegate-store 3 ";
    let newer = [&line[..], format!("{:08x}\n", crc32c::crc32c(line)).as_bytes()].concat();
    disk.replace(Path::new("/store/version"), &newer);
    assert!(told(&disk).is_err_and(|text| text.contains("newer")));
    let disk = ten();
    disk.set(|faults| faults.read = Some(("lane-normal".into(), 0..u64::MAX)));
    let outlook = Store::outlook_on(&options(), &(Arc::new(disk.clone()) as Arc<dyn Disk>));
    let opened = Store::open_on(options(), Arc::new(disk));
    let (Err(told), Err(error)) = (outlook, opened) else { panic!("a segment that cannot be read") };
    assert_eq!(told.to_string(), error.to_string());
    let none = Options { lanes: Vec::new(), ..options() };
    let outlook = Store::outlook_on(&none, &(Arc::new(ten()) as Arc<dyn Disk>));
    assert!(matches!(outlook, Err(StoreError::Options { .. })), "{outlook:?}");
}
