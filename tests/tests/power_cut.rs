//! Power cuts at random moments during load, many rounds: the agent's store is on a file system that forgets what was
//! not synced ([`tidegate_tests::forgetful`]). Whatever a client saw acknowledged arrives all the same, equal and in
//! order within its device and lane, QoS 2 once; repeats carry the same id; sessions are found again.
//!
//! The order is strict on a medium that writes as it likes, too: of the commit that was being written at the cut a
//! beginning is left, however much of what came behind it reached the medium.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::{Device, Outcome, Running};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::forgetful::{ForgetfulDisk, Loss, Lost};
use tidegate_tests::mqtt::{Qos, Version};
use tidegate_tests::rng::Rng;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(120);

/// What a sync takes at most: enough for a cut to find one under way more often than not, little enough for hundreds
/// of commits a round.
const SYNC_TAKES: Duration = Duration::from_millis(4);

/// Rounds, unless `TIDEGATE_TEST_ROUNDS` says otherwise.
fn rounds() -> u64 {
    std::env::var("TIDEGATE_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// Every way in which MQTT promises something over a break, in all three lanes.
fn devices() -> Vec<Device> {
    let pause = Duration::from_millis(2);
    let twice = |name, version| Device { pause, qos: Qos::ExactlyOnce, ..Device::new(name, version) };
    vec![
        Device { window: 5, ..Device::new("v311-once", Version::V311) },
        Device { window: 50, ..Device::new("v5-once", Version::V5) },
        twice("v311-twice", Version::V311),
        Device { kind: "alarm", ..twice("v5-twice", Version::V5) },
        Device { pause, kind: "bulk", ..Device::new("v311-bulk", Version::V311) },
    ]
}

/// What the medium does with writes that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    InOrder,
    InAnyOrder,
}

struct Field {
    writes: Writes,
    rng: Rng,
    flux: Flux,
    // Before the disk, so that it is killed before the disk is unmounted when a test fails.
    agent: Agent,
    disk: ForgetfulDisk,
    lost: Lost,
}

impl Field {
    /// An agent, a rule for each lane, its store on a disk that forgets.
    fn new(test: &str, flux: Flux, writes: Writes) -> Self {
        let mut rng = Rng::seeded(test);
        let program = Path::new(env!("CARGO_BIN_EXE_forgetful-fs"));
        let disk = ForgetfulDisk::mount(program, rng.bits(), SYNC_TAKES);
        let mut setup = Setup::webhook(&flux);
        setup.store_at(&disk.path().join("tidegate"));
        setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
        setup.rule("topic = \"devices/{device}/bulk\"\nlane = \"bulk\"");
        let agent = setup.start();
        Self { writes, rng, flux, agent, disk, lost: Lost::default() }
    }

    /// The power fails now. The process may see its last calls fail, or end a moment before the disk does.
    fn cut(&mut self) {
        let loss = match (self.rng.between(0, 3), self.writes) {
            (0, _) => Loss::All,
            (_, Writes::InOrder) => Loss::Tail,
            (_, Writes::InAnyOrder) => Loss::Part,
        };
        if self.rng.between(0, 2) == 0 {
            self.lost += self.disk.cut(loss);
            self.agent.kill();
        } else {
            self.agent.kill();
            self.lost += self.disk.cut(loss);
        }
        self.disk.remount();
    }

    /// A round: load until every device has got on, a cut at a random moment, perhaps others while it recovers.
    fn round(&mut self, running: &[Running]) {
        let before: Vec<u64> = running.iter().map(Running::acknowledged).collect();
        wait::until("every device is acknowledged something", BOUND, || {
            self.agent.assert_running();
            running.iter().zip(&before).all(|(running, before)| running.acknowledged() > *before)
        });
        // The moment is what is random; nothing is waited for here.
        std::thread::sleep(Duration::from_micros(self.rng.between(0, 100_000)));
        self.cut();
        while self.rng.between(0, 3) == 0 {
            self.agent.spawn();
            std::thread::sleep(Duration::from_micros(self.rng.between(0, 60_000)));
            self.cut();
        }
        self.agent.start();
    }

    /// Lets devices work through so many rounds, and judges what came.
    fn play(&mut self, rounds: u64) {
        let began = Instant::now();
        let devices = devices();
        let running: Vec<Running> =
            devices.iter().map(|device| device.clone().start_counting(self.agent.address())).collect();
        for _ in 0..rounds {
            self.round(&running);
        }
        running.iter().for_each(Running::tell_to_finish);
        let outcomes: Vec<Outcome> = running.into_iter().map(Running::finish).collect();
        self.round_without_load();
        self.flux.resume();
        for (device, outcome) in devices.iter().zip(&outcomes) {
            self.judge(device, outcome);
        }
        self.flux.assert_sound();
        let records: usize = outcomes.iter().map(|outcome| outcome.acknowledged.len()).sum();
        let (Lost { sectors, torn, names }, took) = (self.lost, began.elapsed().as_secs_f64());
        println!("{rounds} rounds, {records} records acknowledged and delivered, {took:.1} s");
        println!("the cuts took {sectors} sectors and {names} changes of names, and left {torn} files torn");
        assert!(sectors + names > 0, "the cuts took nothing, and so proved nothing");
    }

    /// Everything is acknowledged: not even a cut that takes all there is to take may change anything now.
    fn round_without_load(&mut self) {
        self.agent.kill();
        self.lost += self.disk.cut(Loss::All);
        self.disk.remount();
        self.agent.start();
    }

    fn judge(&self, device: &Device, outcome: &Outcome) {
        let (name, once) = (&device.name, device.qos == Qos::ExactlyOnce);
        println!(
            "{name}: {} acknowledged, {} connections, {} sent again",
            outcome.acknowledged.len(),
            outcome.connects,
            outcome.resent
        );
        assert!(outcome.connects > 1, "{name} was never cut off");
        assert_eq!(outcome.sessions_lost, 0, "{name} was told that its session is gone");
        outcome.assert_delivered(&self.flux, name, once, BOUND);
    }
}

/// A Flux where answers and requests are lost and refused now and then, so that records are sent again, before and
/// after a cut.
fn unsteady_flux() -> Flux {
    let flux = Flux::start();
    flux.answer_by(|request| match request.number % 40 {
        3 => Answer::CutAnswer,
        15 => Answer::CutRequest,
        28 => Answer::status(503),
        _ => Answer::Accept,
    });
    flux
}

#[test]
fn everything_acknowledged_survives_power_cuts_at_any_moment() {
    let test = "everything_acknowledged_survives_power_cuts_at_any_moment";
    Field::new(test, unsteady_flux(), Writes::InOrder).play(rounds());
}

#[test]
fn everything_acknowledged_survives_power_cuts_that_leave_any_part_of_what_was_being_written() {
    let test = "everything_acknowledged_survives_power_cuts_that_leave_any_part_of_what_was_being_written";
    Field::new(test, unsteady_flux(), Writes::InAnyOrder).play(rounds());
}

#[test]
fn everything_acknowledged_survives_power_cuts_while_flux_is_away() {
    let test = "everything_acknowledged_survives_power_cuts_while_flux_is_away";
    Field::new(test, Flux::start_stopped(), Writes::InOrder).play(rounds() / 2);
}
