//! A disk that is full or may not be written, in a small file system of its own, and then has room or right again.
#![forbid(unsafe_code)]

use std::process::Command;
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::{Device, Running};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::{self, Connect};
use tidegate_tests::mqtt::{Client, Packet, Qos, Silence, Version};
use tidegate_tests::tools::{self, LoopDisk};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

fn agent_on(disk: &LoopDisk, flux: &Flux) -> Agent {
    let mut setup = Setup::webhook(flux);
    setup.store_at(&disk.path().join("store"));
    setup.start()
}

fn device(agent: &Agent) -> Running {
    let padding = "x".repeat(150);
    let payloads = (0_u64..).map(move |n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#));
    Device::new("writer", Version::V5).start(agent.address(), payloads)
}

/// Waits until acknowledgements have stopped.
fn wait_until_withheld(running: &Running) {
    let (mut last, mut since) = (running.acknowledged(), std::time::Instant::now());
    wait::until("acknowledgements stop", BOUND, || {
        let now = running.acknowledged();
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        since.elapsed() > Duration::from_secs(1)
    });
}

#[test]
fn on_a_full_disk_acknowledgements_are_withheld_and_all_arrives_once_there_is_room() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start_stopped();
    let mut agent = agent_on(&disk, &flux);
    let running = device(&agent);
    wait::until("some are acknowledged", BOUND, || running.acknowledged() > 500);
    disk.fill();
    wait_until_withheld(&running);
    assert!(agent.stalled().is_some(), "status does not say that the store cannot write");
    agent.assert_running();
    let withheld_at = running.acknowledged();
    wait::never("a publish is acknowledged on a full disk", Duration::from_secs(2), || {
        running.acknowledged() > withheld_at
    });
    disk.free();
    wait::until("acknowledgements go on", BOUND, || running.acknowledged() > withheld_at + 500);
    wait::until("status says that the store can write", BOUND, || agent.stalled().is_none());
    let outcome = running.finish();
    assert_eq!(outcome.connects, 1, "the connection was not kept");
    flux.resume();
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
    assert_eq!(agent.evicted(), 0);
}

#[test]
fn a_client_that_waits_for_its_puback_in_silence_is_kept_and_who_listens_for_alarms_is_told() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start_stopped();
    let agent = agent_on(&disk, &flux);
    let (mut listening, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "technician"));
    listening.send(&packet::subscribe(Version::V311, 1, "tidegate/alarm"));
    assert_eq!(listening.expect(), Packet::Suback { id: 1, codes: vec![0] });
    let mut alarm = || match listening.expect() {
        Packet::Other(0x30, body) => String::from_utf8_lossy(&body).into_owned(),
        other => panic!("{other:?} instead of an alarm"),
    };
    let running = device(&agent);
    wait::until("some are acknowledged", BOUND, || running.acknowledged() > 500);
    disk.fill();
    wait_until_withheld(&running);
    let told = alarm();
    assert!(told.contains(r#""state":"stalled""#), "{told}");
    let connect = Connect { keep_alive: 1, ..Connect::new(Version::V311, "quiet") };
    let (mut quiet, _) = Client::connect(agent.address(), &connect);
    quiet.publish("devices/quiet/telemetry", b"1", Qos::AtLeastOnce, 1);
    // Twice what a silent client is given.
    assert_eq!(quiet.receive(Duration::from_secs(3)), Err(Silence::TimedOut));
    disk.free();
    assert_eq!(quiet.expect(), Packet::Puback { id: 1, reason: 0 });
    let told = alarm();
    assert!(told.contains(r#""state":"recovered""#), "{told}");
    flux.resume();
    running.finish().assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
}

#[test]
fn on_a_full_disk_delivery_goes_on_and_makes_room_by_itself() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start_stopped();
    let agent = agent_on(&disk, &flux);
    let running = device(&agent);
    wait::until("a backlog stands", BOUND, || running.acknowledged() > 2000);
    disk.fill();
    wait_until_withheld(&running);
    let withheld_at = running.acknowledged() as usize;
    flux.resume();
    flux.wait_for(withheld_at, BOUND);
    wait::until("the backlog is known to be gone", BOUND, || agent.waiting() == 0 || agent.stalled().is_none());
    disk.free();
    let outcome = running.finish();
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
}

#[test]
fn an_agent_killed_on_a_full_disk_starts_there_and_loses_nothing() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start_stopped();
    let mut agent = agent_on(&disk, &flux);
    let running = device(&agent);
    wait::until("some are acknowledged", BOUND, || running.acknowledged() > 500);
    disk.fill();
    wait_until_withheld(&running);
    agent.kill();
    agent.start();
    let withheld_at = running.acknowledged() as usize;
    flux.resume();
    flux.wait_for(withheld_at, BOUND);
    disk.free();
    let outcome = running.finish();
    assert_eq!(outcome.sessions_lost, 0, "a session was lost");
    outcome.assert_delivered(&flux, "writer", false, BOUND);
    flux.assert_sound();
}

#[test]
fn on_a_disk_filled_into_roots_own_part_a_start_sends_what_waits_and_sends_it_once() {
    let disk = LoopDisk::mount_with_a_part_kept(32);
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.store_at(&disk.path().join("store"));
    setup.within(&["setpriv", "--bounding-set", "-sys_resource"]);
    let mut agent = setup.start();
    let running = device(&agent);
    wait::until("a backlog stands", BOUND, || running.acknowledged() > 2000);
    let outcome = running.finish();
    let stored = outcome.acknowledged.len();
    agent.terminate();
    disk.fill_with_the_part_kept();
    agent.start();
    flux.resume();
    flux.wait_for(stored, BOUND);
    wait::until("the backlog is known to be gone", BOUND, || agent.waiting() == 0);
    assert!(disk.is_full_for_others(), "there is room after all");
    agent.kill();
    agent.start();
    assert_eq!(agent.waiting(), 0, "what was sent is not known any more");
    disk.free();
    wait::until("status says that the store can write", BOUND, || agent.stalled().is_none());
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
}

#[test]
fn a_store_that_may_not_be_written_withholds_acknowledgements_until_it_may() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start();
    let mut agent = agent_on(&disk, &flux);
    let running = device(&agent);
    wait::until("some are acknowledged", BOUND, || running.acknowledged() > 500);
    // Immutable files refuse even root.
    let chattr = |flag: &str| {
        let mut command = Command::new(tools::find("chattr", "e2fsprogs"));
        tools::run(command.args(["-R", flag]).arg(disk.path().join("store")));
    };
    chattr("+i");
    wait_until_withheld(&running);
    let withheld_at = running.acknowledged();
    assert!(agent.stalled().is_some(), "status does not say that the store cannot write");
    wait::never("a publish is acknowledged that could not be stored", Duration::from_secs(1), || {
        running.acknowledged() > withheld_at
    });
    agent.assert_running();
    chattr("-i");
    wait::until("acknowledgements go on", BOUND, || running.acknowledged() > withheld_at + 500);
    let outcome = running.finish();
    assert_eq!(outcome.connects, 1, "the connection was not kept");
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
}

/// A file system to which whoever writes waits, until this goes.
struct Frozen<'a>(&'a LoopDisk);

impl<'a> Frozen<'a> {
    fn freeze(disk: &'a LoopDisk) -> Self {
        tools::run(Command::new(tools::find("fsfreeze", "util-linux")).arg("--freeze").arg(disk.path()));
        Self(disk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new(tools::find("fsfreeze", "util-linux")).arg("--unfreeze").arg(self.0.path()).status();
    }
}

#[test]
fn check_beside_an_agent_that_waits_for_its_disk_ends_and_says_so() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start();
    let agent = agent_on(&disk, &flux);
    let running = device(&agent);
    wait::until("some are acknowledged", BOUND, || running.acknowledged() > 100);
    let config = agent.setup.folder().join("tidegate.toml");
    let frozen = Frozen::freeze(&disk);
    wait::until("status says that the disk does not answer", BOUND, || agent.stalled().is_some());
    let mut command = Command::new(tidegate_tests::agent::binary());
    command.args(["check", "--lang", "en", "--config"]).arg(config).stdout(std::process::Stdio::piped());
    let child = command.spawn().expect("it starts");
    let said = std::thread::spawn(move || child.wait_with_output().expect("its output"));
    let start = std::time::Instant::now();
    while !said.is_finished() && start.elapsed() < BOUND {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = said.is_finished();
    drop(frozen);
    let output = said.join().expect("it was waited for");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(ended, "it did not end while the disk stood: {text}");
    assert!(text.contains("not tried: the disk under") && text.contains("TG-304"), "{text}");
    running.finish().assert_delivered(&flux, "writer", true, BOUND);
}

#[test]
fn on_a_read_only_file_system_it_starts_says_so_and_collects_once_it_can() {
    let disk = LoopDisk::mount(16);
    let flux = Flux::start();
    disk.remount("ro");
    let mut setup = Setup::webhook(&flux);
    setup.store_at(&disk.path().join("store"));
    let mut agent = setup.spawn();
    wait::until("the status says why nothing can be stored", BOUND, || {
        agent.assert_running();
        agent
            .try_status()
            .is_some_and(|status| status.pointer("/store/stalled").is_some_and(serde_json::Value::is_string))
    });
    let running = device(&agent);
    wait::never("a publish is acknowledged without a store", Duration::from_secs(1), || running.acknowledged() > 0);
    disk.remount("rw");
    wait::until("publishes are acknowledged", BOUND, || running.acknowledged() > 100);
    let outcome = running.finish();
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    flux.assert_sound();
}
