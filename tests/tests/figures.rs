//! What a release binary of this machine needs while it does nothing: `tests/cross amd64` runs this with the binary that goes
//! into the package (`TIDEGATE_BIN`). A development build would say nothing about it, and is not asked.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::certs;
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::wait;

/// The promise for an agent that waits for its first device: a gateway has 512 MB, and other things to do. Measured were
/// 7.0 MiB; all but some 900 KiB of it is the program file and the C library, mapped, which the kernel drops when others need the
/// room. What comes close to the promise has most likely left the order of `systemd/order`.
const IDLE_KIB: u64 = 10 * 1024;

/// What may be its own, written by itself and so not to be dropped, when it waits again after a day's work: measured were
/// 2,240 KiB. More of the program file has been touched by then, so that all in all it may be more than [`IDLE_KIB`].
const OWN_AFTER_KIB: u64 = 4 * 1024;

/// Whatever it does at start and every few seconds (checkpoint, metrics) has happened by then.
const SETTLED: Duration = Duration::from_secs(12);

/// Resident memory, the program's own pages of it, and the most there ever was, in KiB.
fn memory(agent: &Agent) -> (u64, u64, u64) {
    (agent.memory_kib("VmRSS"), agent.memory_kib("RssAnon"), agent.memory_kib("VmHWM"))
}

/// A day's work: a record a minute from each of 20 devices.
const RECORDS: usize = 20 * 24 * 60;

#[test]
#[ignore = "needs the release binary of this machine: tests/cross amd64"]
fn an_idle_agent_needs_less_than_ten_mebibytes_and_after_a_day_s_work_little_of_its_own() {
    assert!(std::env::var_os("TIDEGATE_BIN").is_some(), "this is for tests/cross, which names a release binary");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    // Over TLS, as to Flux itself: its certificates and buffers are part of it.
    let flux = Flux::start_tls(&certs);
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
    let begun = Instant::now();
    let mut agent = setup.start();
    println!("ready, as its status says: {:?} after the start", begun.elapsed());
    std::thread::sleep(SETTLED);
    agent.assert_running();
    let (fresh, own, most) = memory(&agent);
    println!("idle on an empty store: {fresh} KiB resident, {own} of them its own; most: {most}");
    let device = Device { window: 100, ..Device::new("day", Version::V311) };
    let outcome = device.start(agent.address(), (0..RECORDS).map(|n| format!(r#"{{"temperature":{n}}}"#))).join();
    flux.wait_for(outcome.acknowledged.len(), Duration::from_secs(120));
    wait::until("nothing waits", wait::BOUND, || agent.waiting() == 0);
    std::thread::sleep(SETTLED);
    let (after, own, most) = memory(&agent);
    println!("idle after {RECORDS} records: {after} KiB resident, {own} of them its own; most: {most}");
    assert!(fresh < IDLE_KIB, "{fresh} KiB on an empty store");
    assert!(own < OWN_AFTER_KIB, "{own} KiB of its own after a day's work");
}
