//! The store's limits on a small file system of its own that others fill and free.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::FallocateFlags;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::{Device, Running};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::tools::LoopDisk;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(90);

const MIB: u64 = 1024 * 1024;

/// Bytes of each publish's payload, nearly.
const PAYLOAD: usize = 16 * 1024;

/// Bytes of a segment, a 64th of `max_size`: what goes or stays with one record.
const SEGMENT: u64 = 40 * MIB / 64;

/// What others have on the disk, in blocks of their own.
struct Others {
    disk: PathBuf,
    bytes: u64,
}

impl Others {
    fn new(disk: &LoopDisk) -> Self {
        Self { disk: disk.path(), bytes: 0 }
    }

    fn free(&self) -> u64 {
        let about = rustix::fs::statvfs(&self.disk).expect("the disk is mounted");
        about.f_bavail * about.f_frsize
    }

    /// Takes all but so many bytes.
    fn leave(&mut self, free: u64) {
        let path = self.disk.join("log-that-runs-wild");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file of somebody else's");
        // Little by little, for the store goes on writing meanwhile.
        while self.free() > free + 64 * 1024 {
            let more = (self.free() - free).min(MIB);
            let taken = rustix::fs::fallocate(&file, FallocateFlags::empty(), self.bytes, more);
            taken.expect("there is as much");
            self.bytes += more;
        }
    }

    fn end(&mut self) {
        std::fs::remove_file(self.disk.join("log-that-runs-wild")).expect("it is there");
        self.bytes = 0;
    }
}

fn device(agent: &Agent) -> Running {
    let padding = "x".repeat(PAYLOAD);
    let payloads = (0_u64..).map(move |n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#));
    Device { pause: Duration::from_millis(1), ..Device::new("writer", Version::V5) }.start(agent.address(), payloads)
}

fn stored(agent: &Agent) -> u64 {
    agent.number("/store/bytes")
}

/// Which publish it was.
fn number(payload: &str) -> u64 {
    let digits: String = payload.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("each payload has its number")
}

/// What was acknowledged has arrived, but for the evicted, which are counted, and which are the oldest that there were
/// when they went.
fn assert_all_but_the_evicted_arrive(agent: &Agent, running: Running, flux: &Flux) {
    let outcome = running.finish();
    let evicted = agent.evicted() as usize;
    assert!(evicted > 0 && evicted < outcome.acknowledged.len(), "{evicted} of {}", outcome.acknowledged.len());
    flux.resume();
    let left = outcome.acknowledged.len() - evicted;
    wait::until("all that was not evicted arrives", BOUND, || flux.payloads_of("writer").len() >= left);
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    let arrived: Vec<u64> = flux.payloads_of("writer").iter().map(|payload| number(payload)).collect();
    let acknowledged: Vec<u64> = outcome.acknowledged.iter().map(|payload| number(payload)).collect();
    assert_eq!(arrived, acknowledged[evicted..], "the newest arrive, in order");
    flux.assert_sound();
}

#[test]
fn others_fill_the_disk_and_the_backlog_gives_way_to_its_least_and_grows_again() {
    let disk = LoopDisk::mount(64);
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.store_at(&disk.path().join("store"));
    setup.set("store", "max_size", "\"40MiB\"").set("store", "min_size", "\"8MiB\"");
    setup.set("store", "keep_free", "\"8MiB\"");
    let mut agent = setup.start();
    let mut others = Others::new(&disk);
    let running = device(&agent);
    wait::until("a backlog stands", BOUND, || stored(&agent) > 22 * MIB);

    // Others take 6 MiB of what is to stay free: as much is given back, and no more is taken.
    others.leave(2 * MIB);
    wait::until("the store gives way", BOUND, || others.free() >= 8 * MIB);
    assert!(stored(&agent) > 22 * MIB - 6 * MIB - 3 * SEGMENT, "{} bytes are left", stored(&agent));
    let acknowledged = running.acknowledged();
    wait::never("our own writes take what is to stay free", Duration::from_secs(3), || others.free() < 8 * MIB);
    assert!(running.acknowledged() > acknowledged, "new records take the place of old ones");

    // Others take all they can get, again and again: the backlog shrinks to its least.
    wait::until("the backlog is down to its least", BOUND, || {
        others.leave(2 * MIB);
        stored(&agent) < 8 * MIB + 2 * SEGMENT
    });
    others.leave(2 * MIB);
    let acknowledged = running.acknowledged();
    // What the index and the control lane may come to counts as held, and need not be there.
    let least = 8 * MIB - 2 * SEGMENT - MIB;
    wait::never("it falls below, or takes what is left", Duration::from_secs(5), || {
        stored(&agent) < least || others.free() < 2 * MIB - 2 * SEGMENT
    });
    assert!(running.acknowledged() > acknowledged, "new records take the place of old ones");
    assert_eq!(agent.stalled(), None);
    agent.assert_running();

    // They give it back.
    others.end();
    wait::until("the backlog grows again", BOUND, || stored(&agent) > 20 * MIB);
    assert!(others.free() >= 8 * MIB);
    assert_all_but_the_evicted_arrive(&agent, running, &flux);
}

#[test]
fn with_refuse_devices_keep_what_has_no_room_and_all_arrives_in_order_once_there_is() {
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"8MiB\"").set("store", "policy", "\"refuse\"");
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    let agent = setup.start();
    let running = device(&agent);
    wait::until("the store says that it takes no more", BOUND, || {
        agent.stalled().is_some_and(|reason| reason.contains("normal") && reason.contains("max_size"))
    });
    let held = running.acknowledged();
    wait::never("a publish without room is acknowledged", Duration::from_secs(2), || running.acknowledged() > held);
    // Another lane, within its reserve.
    let alarms = Device { kind: "alarm", window: 1, ..Device::new("siren", Version::V311) }
        .start(agent.address(), (0..20_u64).map(|n| format!(r#"{{"n":{n}}}"#)));
    let alarms = alarms.join();
    assert_eq!(alarms.acknowledged.len(), 20);
    assert_eq!(running.acknowledged(), held);
    flux.resume();
    wait::until("acknowledgements go on", BOUND, || running.acknowledged() > held + 100);
    let outcome = running.finish();
    assert_eq!((outcome.connects, agent.evicted()), (1, 0));
    outcome.assert_delivered(&flux, "writer", true, BOUND);
    alarms.assert_delivered(&flux, "siren", true, BOUND);
    wait::until("the store says that there is room", BOUND, || agent.stalled().is_none());
    flux.assert_sound();
}
