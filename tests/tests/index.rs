//! The store's index while the file system refuses it: it is left as it is, says that it is behind, and follows later;
//! devices notice nothing of it.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::tools::{self, LoopDisk};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// The first checkpoint is made a minute after the start; an early try after a refusal within another.
const CHECKPOINT: Duration = Duration::from_secs(140);

/// The agent on a small disk, with an index there already, in which `first` has a session.
fn agent_with_index(disk: &LoopDisk, flux: &Flux) -> (Agent, PathBuf) {
    let store = disk.path().join("store");
    let mut setup = Setup::webhook(flux);
    setup.store_at(&store);
    let mut agent = setup.start();
    connect(&agent, "first");
    let _ = agent.terminate();
    assert_eq!(sessions(&store), ["first"]);
    agent.start();
    (agent, store)
}

/// Makes a session that lasts.
fn connect(agent: &Agent, name: &str) {
    let lasting = Connect { clean: false, session_expiry: Some(3600), ..Connect::new(Version::V5, name) };
    let (client, _) = Client::connect(agent.address(), &lasting);
    client.disconnect();
}

/// What names the index's folder on its file system: another number would mean that it was removed and made anew.
fn inode(store: &Path) -> u64 {
    std::fs::metadata(store.join("index")).expect("the index is there").ino()
}

/// The clients whose sessions the index knows; the store must be closed.
fn sessions(store: &Path) -> Vec<String> {
    let index = sled::Config::new().path(store.join("index")).segment_size(64 * 1024).open().expect("the index opens");
    let names = index.scan_prefix("session/").values().map(|value| {
        let value = value.expect("the index can be read");
        let text = String::from_utf8_lossy(&value).into_owned();
        let known = ["first", "second", "writer"].into_iter().find(|name| text.contains(name));
        known.expect("a session of this test").to_owned()
    });
    names.collect()
}

fn why_behind(agent: &Agent) -> Option<String> {
    let status = agent.status();
    status.pointer("/store/index").and_then(serde_json::Value::as_str).map(str::to_owned)
}

/// Ends the agent, whose file system refuses nothing any more, and looks at what the index says.
fn assert_followed(agent: &mut Agent, store: &Path, made: u64) {
    assert!(agent.terminate().success());
    assert_eq!(inode(store), made, "the index was made anew");
    assert!(!agent.log().contains("made anew"), "the index was taken for damaged");
    assert_eq!(sessions(store), ["first", "second"]);
}

#[test]
fn an_index_refused_at_the_end_on_a_full_disk_follows_at_the_end_of_the_next_run() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start();
    let (mut agent, store) = agent_with_index(&disk, &flux);
    let made = inode(&store);
    connect(&agent, "second");
    disk.fill();
    assert!(agent.terminate().success());
    agent.wait_for_log("the index is behind", BOUND);
    assert_eq!(inode(&store), made, "the index was removed for want of room");
    agent.start();
    let _ = agent.terminate();
    assert_eq!(inode(&store), made, "the index was removed for want of room");
    disk.free();
    agent.start();
    assert_followed(&mut agent, &store, made);
}

#[test]
fn an_index_on_a_full_disk_follows_by_itself_once_there_is_room() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start();
    let (mut agent, store) = agent_with_index(&disk, &flux);
    let made = inode(&store);
    connect(&agent, "second");
    disk.fill();
    assert_eq!(why_behind(&agent), None, "no checkpoint was due yet");
    wait::until("the status says why the index is behind", CHECKPOINT, || why_behind(&agent).is_some());
    let why = why_behind(&agent).unwrap_or_default();
    assert!(why.contains("free") || why.contains("space"), "{why}");
    disk.free();
    wait::until("the index has followed", CHECKPOINT, || why_behind(&agent).is_none());
    assert_eq!(agent.log().matches("the index is behind").count(), 1, "it is told once");
    agent.wait_for_log("the index is up to date again", BOUND);
    assert_followed(&mut agent, &store, made);
}

/// Publishes go on while `refuse` keeps the index from being written, and it follows after `allow`.
fn refused_alone(refuse: impl Fn(&Path), allow: impl Fn(&Path), told: &str) {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start();
    let (mut agent, store) = agent_with_index(&disk, &flux);
    let made = inode(&store);
    refuse(&store.join("index"));
    connect(&agent, "second");
    let device = Device { lasting: false, pause: Duration::from_millis(5), ..Device::new("writer", Version::V311) };
    let running = device.start_counting(agent.address());
    wait::until("the status says why the index is behind", CHECKPOINT, || why_behind(&agent).is_some());
    let why = why_behind(&agent).unwrap_or_default();
    assert!(why.contains(told), "{why}");
    assert_eq!(agent.stalled(), None, "an index that is refused stops nothing");
    let before = running.acknowledged();
    wait::until("publishes are acknowledged meanwhile", BOUND, || running.acknowledged() > before + 100);
    allow(&store.join("index"));
    wait::until("the index has followed", CHECKPOINT, || why_behind(&agent).is_none());
    running.finish().assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
    assert_followed(&mut agent, &store, made);
}

#[test]
fn an_index_that_is_mounted_read_only_is_left_alone_until_it_may_be_written() {
    let mount = |words: &[&str], path: &Path| {
        tools::run(Command::new(tools::find("mount", "mount")).args(words).arg(path));
    };
    let read_only = |index: &Path| {
        tools::run(Command::new(tools::find("mount", "mount")).arg("--bind").arg(index).arg(index));
        mount(&["-o", "remount,ro,bind"], index);
    };
    let writable = |index: &Path| {
        tools::run(Command::new(tools::find("umount", "mount")).arg(index));
    };
    refused_alone(read_only, writable, "Read-only file system");
}

#[test]
fn an_index_without_the_right_to_write_it_is_left_alone_until_there_is() {
    // Immutable files refuse even root.
    let chattr = |flag: &str, index: &Path| {
        tools::run(Command::new(tools::find("chattr", "e2fsprogs")).args(["-R", flag]).arg(index));
    };
    refused_alone(|index| chattr("+i", index), |index| chattr("-i", index), "not permitted");
}
