//! `kill -9` at random moments during load, many rounds: whatever a client saw acknowledged arrives, in order within
//! its device and lane, and repeats carry the same id.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::Device;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Qos, Version};
use tidegate_tests::rng::Rng;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(120);

/// Rounds, unless `TIDEGATE_TEST_ROUNDS` says otherwise.
fn rounds() -> u64 {
    std::env::var("TIDEGATE_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

/// The devices of a run: every way in which MQTT promises something over a break, and one that asks for nothing. Two
/// publish as fast as they are acknowledged, so that there is always something in flight when the kill comes.
fn devices() -> Vec<Device> {
    let pause = Duration::from_millis(2);
    vec![
        Device { window: 5, ..Device::new("v311-once", Version::V311) },
        Device { window: 50, ..Device::new("v5-once", Version::V5) },
        Device { pause, qos: Qos::ExactlyOnce, ..Device::new("v311-twice", Version::V311) },
        Device { pause, qos: Qos::ExactlyOnce, kind: "alarm", ..Device::new("v5-twice", Version::V5) },
        Device { pause, lasting: false, kind: "bulk", ..Device::new("v5-clean", Version::V5) },
    ]
}

/// An agent with a rule for each lane.
fn agent(flux: &Flux) -> Agent {
    let mut setup = Setup::webhook(flux);
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    setup.rule("topic = \"devices/{device}/bulk\"\nlane = \"bulk\"");
    setup.start()
}

#[test]
fn everything_acknowledged_survives_being_killed_at_any_moment() {
    let mut rng = Rng::seeded("everything_acknowledged_survives_being_killed_at_any_moment");
    let flux = Flux::start();
    // Answers and requests are lost and refused now and then, so that records are sent again, before and after a kill.
    flux.answer_by(|request| match request.number % 40 {
        3 => Answer::CutAnswer,
        15 => Answer::CutRequest,
        28 => Answer::status(503),
        _ => Answer::Accept,
    });
    let mut agent = agent(&flux);
    let running: Vec<_> = devices()
        .into_iter()
        .map(|device| (device.name.clone(), device.qos, device.start_counting(agent.address())))
        .collect();
    for _ in 0..rounds() {
        let before: Vec<u64> = running.iter().map(|(.., running)| running.acknowledged()).collect();
        wait::until("every device is acknowledged something", BOUND, || {
            agent.assert_running();
            running.iter().zip(&before).all(|((.., running), before)| running.acknowledged() > *before)
        });
        // The moment is what is random; nothing is waited for here.
        std::thread::sleep(Duration::from_micros(rng.between(0, 100_000)));
        agent.kill();
        if rng.between(0, 3) == 0 {
            // A second one while it recovers from the first.
            agent.spawn();
            std::thread::sleep(Duration::from_micros(rng.between(0, 40_000)));
            agent.kill();
        }
        agent.start();
    }
    for (name, qos, running) in running {
        let outcome = running.finish();
        println!(
            "{name}: {} acknowledged, {} connections, {} sent again",
            outcome.acknowledged.len(),
            outcome.connects,
            outcome.resent
        );
        assert_eq!(outcome.sessions_lost, 0, "{name} was told that its session is gone");
        outcome.assert_delivered(&flux, &name, qos == Qos::ExactlyOnce, BOUND);
    }
    flux.assert_sound();
}

#[test]
fn a_start_reads_the_newest_segments_and_not_the_backlog() {
    const PAYLOAD: usize = 100_000;
    const COUNT: u16 = 600;
    /// The newest segment of the lane (4 MiB at this limit), the control lane, and what the forwarder reads ahead.
    const MAY_READ: u64 = 16 * 1024 * 1024;
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"1GiB\"");
    let mut agent = setup.start();
    let (mut camera, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "camera"));
    let payload = vec![b'x'; PAYLOAD];
    for id in 1..=COUNT {
        camera.publish_acknowledged("devices/camera/telemetry", &payload, id);
    }
    agent.kill();
    agent.start();
    assert_eq!(agent.waiting(), u64::from(COUNT));
    // Bytes read by system calls, from the cache or not (proc_pid_io(5)).
    let io = std::fs::read_to_string(format!("/proc/{}/io", agent.pid())).expect("its own processes can be looked at");
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|bytes| bytes.parse::<u64>().ok());
    let read = read.expect("rchar stands in it");
    assert!(read < MAY_READ, "{read} bytes were read at start, of {} stored", PAYLOAD * usize::from(COUNT));
}

#[test]
fn everything_acknowledged_survives_being_killed_while_flux_is_away() {
    let mut rng = Rng::seeded("everything_acknowledged_survives_being_killed_while_flux_is_away");
    let flux = Flux::start_stopped();
    let mut agent = agent(&flux);
    let running: Vec<_> = devices()
        .into_iter()
        .map(|device| (device.name.clone(), device.qos, device.start_counting(agent.address())))
        .collect();
    for _ in 0..rounds() / 3 {
        let before = running[0].2.acknowledged();
        wait::until("something is acknowledged", BOUND, || running[0].2.acknowledged() > before);
        std::thread::sleep(Duration::from_micros(rng.between(0, 100_000)));
        agent.kill();
        agent.start();
    }
    let outcomes: Vec<_> = running.into_iter().map(|(name, qos, running)| (name, qos, running.finish())).collect();
    agent.kill();
    agent.start();
    flux.resume();
    for (name, qos, outcome) in outcomes {
        outcome.assert_delivered(&flux, &name, qos == Qos::ExactlyOnce, BOUND);
    }
    flux.assert_sound();
}
