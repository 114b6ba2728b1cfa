//! The file system that forgets does forget, and keeps what it must: without this the power cuts would prove nothing.
//! Through the real mount, with the calls that the store makes.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use tidegate_tests::forgetful::{ForgetfulDisk, Loss};
use tidegate_tests::wait;

fn mount() -> ForgetfulDisk {
    ForgetfulDisk::mount(Path::new(env!("CARGO_BIN_EXE_forgetful-fs")), 1, Duration::ZERO)
}

fn sync_folder(path: &Path) {
    File::open(path).and_then(|folder| folder.sync_all()).expect("a folder can be synced");
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a folder can be listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn write(path: &Path, bytes: &[u8]) -> File {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).expect("a file");
    file.write_all_at(bytes, 0).expect("room");
    file
}

fn mounts_at(path: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the list of mounts");
    mounts.lines().filter(|line| line.split(' ').nth(1) == path.to_str()).count()
}

#[test]
fn contents_that_were_not_synced_are_gone_and_those_that_were_are_there() {
    let mut disk = mount();
    let root = disk.path();
    let synced = write(&root.join("synced"), b"one");
    synced.sync_data().expect("fdatasync");
    synced.write_all_at(b"two", 3).expect("room");
    let long = vec![9; 300_000];
    let all = write(&root.join("all"), &long);
    all.sync_all().expect("fsync");
    drop(write(&root.join("never"), b"three"));
    sync_folder(&root);
    assert_eq!(fs::read(root.join("synced")).expect("before the cut all is there"), b"onetwo");
    drop((synced, all));
    let lost = disk.cut(Loss::All);
    assert_eq!((lost.sectors, lost.names), (2, 0));
    disk.remount();
    assert_eq!(fs::read(root.join("synced")).expect("its name was synced"), b"one");
    assert_eq!(fs::read(root.join("all")).expect("its name was synced"), long);
    assert_eq!(fs::read(root.join("never")).expect("its name was synced"), b"");
}

#[test]
fn a_cut_or_lengthened_file_has_its_old_length_until_it_is_synced() {
    let mut disk = mount();
    let path = disk.path().join("file");
    let file = write(&path, b"123456");
    file.sync_data().expect("fdatasync");
    sync_folder(&disk.path());
    file.set_len(2).expect("shorter");
    disk.cut(Loss::All);
    drop(file);
    disk.remount();
    assert_eq!(fs::read(&path).expect("its name was synced"), b"123456");
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    file.set_len(2).expect("shorter");
    file.sync_data().expect("fdatasync");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 100).expect("room");
    assert_eq!(fs::metadata(&path).expect("its name was synced").len(), 100);
    disk.cut(Loss::All);
    drop(file);
    disk.remount();
    assert_eq!(fs::read(&path).expect("its name was synced"), b"12");
}

#[test]
fn names_last_only_once_their_folder_is_synced() {
    let mut disk = mount();
    let root = disk.path();
    for name in ["renamed", "removed", "replaced"] {
        write(&root.join(name), name.as_bytes()).sync_all().expect("fsync");
    }
    fs::create_dir(root.join("folder")).expect("a folder");
    sync_folder(&root);
    // A file whose contents are synced, but not its name; a rename, a removal, a file replaced by another; and names in
    // a folder below.
    write(&root.join("new"), b"new").sync_all().expect("fsync");
    write(&root.join("folder/below"), b"below").sync_all().expect("fsync");
    fs::rename(root.join("renamed"), root.join("other")).expect("a rename");
    fs::remove_file(root.join("removed")).expect("a removal");
    fs::rename(root.join("new"), root.join("replaced")).expect("a rename");
    assert_eq!(names(&root), ["folder", "other", "replaced"]);
    assert_eq!(disk.cut(Loss::All).names, 5);
    disk.remount();
    assert_eq!(names(&root), ["folder", "removed", "renamed", "replaced"]);
    assert_eq!(fs::read(root.join("replaced")).expect("it is there"), b"replaced");
    assert!(names(&root.join("folder")).is_empty());

    write(&root.join("new"), b"new").sync_all().expect("fsync");
    fs::rename(root.join("renamed"), root.join("folder/moved")).expect("a rename");
    fs::remove_file(root.join("removed")).expect("a removal");
    fs::rename(root.join("new"), root.join("replaced")).expect("a rename");
    sync_folder(&root);
    sync_folder(&root.join("folder"));
    assert_eq!(disk.cut(Loss::All).names, 0);
    disk.remount();
    assert_eq!(names(&root), ["folder", "replaced"]);
    assert_eq!(fs::read(root.join("replaced")).expect("it is there"), b"new");
    assert_eq!(fs::read(root.join("folder/moved")).expect("it is there"), b"renamed");
}

#[test]
fn after_the_cut_nothing_is_answered_and_nothing_becomes_durable() {
    let mut disk = mount();
    let path = disk.path().join("file");
    let file = write(&path, b"1");
    file.sync_all().expect("fsync");
    sync_folder(&disk.path());
    file.write_all_at(b"2", 0).expect("room");
    disk.cut(Loss::All);
    assert!(file.sync_data().is_err(), "a sync after the cut");
    assert!(file.write_all_at(b"3", 0).is_err(), "a write after the cut");
    assert!(File::create(disk.path().join("other")).is_err(), "a new file after the cut");
    // The file stays open over the remount: whoever held it goes on getting errors.
    disk.remount();
    assert!(file.read_at(&mut [0; 1], 0).is_err(), "a read through a file of before the cut");
    assert_eq!(fs::read(&path).expect("its name was synced"), b"1");
}

#[test]
fn nothing_is_left_mounted_and_no_process_is_left_running() {
    let disk = mount();
    let (path, pid) = (disk.path(), disk.pid());
    let open = write(&path.join("file"), b"1");
    assert_eq!(mounts_at(&path), 1);
    drop(disk); // with a file open
    assert_eq!(mounts_at(&path), 0);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_ne!(fs::metadata(&path).expect_err("its temporary folder is gone too").kind(), ErrorKind::NotConnected);
    drop(open);
    let killed = mount();
    let path = killed.path();
    let pid = i32::try_from(killed.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
    wait::until("it is dead", wait::BOUND, || fs::read_dir(&path).is_err());
    drop(killed);
    assert_eq!(mounts_at(&path), 0);
}
