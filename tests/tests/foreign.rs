//! What is different for a binary of another processor: `tests/cross` runs these with one that qemu's user mode executes
//! (`TIDEGATE_BIN`), and beside it the binary of this machine. With the usual binary they would say nothing, and are ignored.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{self, Agent, Setup};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(120);

/// The binary under test; these tests mean something only if somebody named it.
#[track_caller]
fn foreign() -> std::path::PathBuf {
    assert!(std::env::var_os("TIDEGATE_BIN").is_some(), "this is for tests/cross, which names a foreign binary");
    agent::binary()
}

#[test]
#[ignore = "needs a binary that qemu runs: tests/cross"]
fn a_system_without_the_finer_socket_options_is_told_of_and_delivers_all_the_same() {
    let _ = foreign();
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    // A rate makes it ask for pacing; far above what 200 records need.
    setup.set("limits", "rate", "\"800 kbit/s\"");
    let agent = setup.start();
    let outcome = Device::new("plain", Version::V5).start(agent.address(), (0..200).map(|n| format!("{n}"))).join();
    outcome.assert_delivered(&flux, "plain", true, BOUND);
    flux.assert_sound();
    // qemu's user mode (7.2, and up to 10) passes neither TCP_INFO on in full nor SO_MAX_PACING_RATE at all.
    agent.wait_for_log("this system does not tell what connections really carry", wait::BOUND);
    agent.wait_for_log("this system does not take a socket option", wait::BOUND);
    wait::until("status says that wire bytes are estimated", wait::BOUND, || {
        agent.status().pointer("/line/estimated").and_then(serde_json::Value::as_bool) == Some(true)
    });
    assert!(agent.number("/line/sent") > 0, "estimated, but counted");
}

/// Fills a store with one binary, kills it, and has the other go on; back and forth, as when a card is moved to another board.
fn moved_back_and_forth(mut agent: Agent, flux: &Flux) {
    let mut sent = Vec::new();
    let binaries = [agent::built_here(), foreign()];
    for round in 0..4_usize {
        agent.setup.run_by(binaries[round % 2].clone());
        agent.start();
        let epoch = agent.status()["epoch"].clone();
        let payloads = (0..500).map(move |n| format!(r#"{{"round":{round},"n":{n}}}"#));
        let outcome = Device::new("card", Version::V5).start(agent.address(), payloads).join();
        sent.extend(outcome.acknowledged);
        assert_eq!(agent.waiting(), sent.len() as u64, "round {round}: all that was stored before is known");
        agent.kill();
        // Looking from the other side, at files that a kill left.
        agent.setup.run_by(binaries[(round + 1) % 2].clone());
        let verified = agent.command(&["buffer", "verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        agent.start();
        assert_eq!(agent.status()["epoch"], epoch, "round {round}: the same machine, so the same epoch");
        agent.kill();
    }
    agent.start();
    flux.resume();
    flux.wait_for(sent.len(), BOUND);
    assert_eq!(flux.payloads_of("card"), sent);
    flux.assert_sound();
    wait::until("nothing waits", wait::BOUND, || agent.waiting() == 0);
}

#[test]
#[ignore = "needs a binary that qemu runs: tests/cross"]
fn a_store_written_on_one_processor_is_read_and_continued_on_another() {
    let flux = Flux::start_stopped();
    moved_back_and_forth(Agent::new(Setup::webhook(&flux)), &flux);
}
