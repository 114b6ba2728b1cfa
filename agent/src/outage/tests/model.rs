//! Any sequence of facts, restarts, power cuts and settings of the clock: what is claimed was true.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// The gateway runs for so many minutes.
    Live(u64),
    /// The machine sleeps for so many minutes.
    Sleep(u64),
    Fact(Fact),
    /// The process is killed and started again after so many seconds.
    Kill(u64),
    /// The same, told to stop before.
    Stop(u64),
    /// The power is gone for so many minutes; the clock may not be known afterwards.
    Cut(u64, bool),
    /// The clock is set, to a wrong time or to the right one.
    Set(Option<u64>),
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        1 => Just(Class::OwnLine),
        1 => Just(Class::Announced),
        1 => Just(Class::Unknown),
        3 => Just(Class::Provider),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let evidence = |class| Evidence::new(Stage::Http, class, "unavailable");
    prop_oneof![
        6 => (1_u64..200).prop_map(Step::Live),
        1 => (1_u64..600).prop_map(Step::Sleep),
        8 => class().prop_map(move |class| Step::Fact(Fact::Failed(evidence(class)))),
        2 => Just(Step::Fact(Fact::Delivered)),
        1 => Just(Step::Fact(Fact::Answered)),
        1 => Just(Step::Fact(Fact::Barred(evidence(Class::Announced)))),
        1 => Just(Step::Fact(Fact::Unbarred)),
        1 => any::<bool>().prop_map(|broken| Step::Fact(Fact::OwnLine(broken.then(|| "no carrier".into())))),
        1 => (0_u64..90).prop_map(Step::Kill),
        1 => (0_u64..90).prop_map(Step::Stop),
        1 => (0_u64..3000, any::<bool>()).prop_map(|(minutes, known)| Step::Cut(minutes, known)),
        1 => proptest::option::of(0_u64..4_000_000_000_000).prop_map(Step::Set),
    ]
}

/// The world as it is: true time is what nobody in it knows.
struct World {
    ledger: Ledger,
    tally: Tally,
    n: u64,
    /// True time in ms.
    now: u64,
    boot: u32,
    /// When each boot began, in true time.
    boots: Vec<u64>,
    /// Wall time less true time, and whether it is known to be right.
    wall: (i64, bool),
    /// Spans of true time in which a process ran, and the machine was not asleep for longer than is noticed.
    awake: Vec<(u64, u64)>,
    /// Times of deliveries and other proofs that Flux worked.
    worked: Vec<u64>,
}

const EPOCH: i64 = 1_795_000_000_000;

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::resume(&Tally::default(), &Stamp::default()),
            tally: Tally::default(),
            n: 0,
            now: 1_000,
            boot: 0,
            boots: vec![0],
            wall: (EPOCH, true),
            awake: Vec::new(),
            worked: Vec::new(),
        };
        world.start();
        world
    }

    fn stamp(&self) -> Stamp {
        let wall = i64::try_from(self.now).expect("small") + self.wall.0;
        Stamp {
            wall_ms: u64::try_from(wall).unwrap_or(0),
            uptime_ms: self.now - self.boots[self.boot as usize],
            boot: self.boot,
            trusted: self.wall.1,
        }
    }

    fn truth(&self, stamp: &Stamp) -> u64 {
        self.boots[stamp.boot as usize] + stamp.uptime_ms
    }

    fn start(&mut self) {
        let stamp = self.stamp();
        self.ledger = Ledger::resume(&self.tally, &stamp);
        self.awake.push((self.now, self.now));
        self.tell(Fact::Started);
    }

    fn tell(&mut self, fact: Fact) {
        if matches!(fact, Fact::Delivered | Fact::Answered) {
            self.worked.push(self.now);
        }
        let stamp = self.stamp();
        if let Some(entry) = self.ledger.tell(fact, &stamp) {
            self.n += 1;
            // As it comes back from the file.
            let text = serde_json::to_string(&Entry { n: self.n, ..entry }).expect("JSON");
            self.tally.take(&serde_json::from_str(&text).expect("an entry"));
        }
        self.awake.last_mut().expect("a run").1 = self.now;
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Live(minutes) => {
                for _ in 0..*minutes {
                    self.now += MINUTE;
                    self.tell(Fact::Heartbeat);
                }
            }
            Step::Sleep(minutes) => {
                self.now += minutes * MINUTE;
                if minutes * MINUTE > SILENCE_MS {
                    self.awake.push((self.now, self.now));
                }
                self.tell(Fact::Heartbeat);
            }
            Step::Fact(fact) => self.tell(fact.clone()),
            Step::Kill(seconds) => {
                self.now += seconds * 1000;
                self.start();
            }
            Step::Stop(seconds) => {
                self.tell(Fact::Stopping);
                self.now += seconds * 1000;
                self.start();
            }
            Step::Cut(minutes, known) => {
                self.now += minutes * MINUTE;
                self.boot += 1;
                self.boots.push(self.now);
                self.now += 500;
                self.wall = if *known { (EPOCH, true) } else { (-i64::try_from(self.now).expect("small"), false) };
                self.start();
            }
            Step::Set(None) => self.wall = (EPOCH, true),
            Step::Set(Some(wall)) => {
                let now = i64::try_from(self.now).expect("small");
                self.wall = (i64::try_from(*wall).expect("small") - now, false);
            }
        }
    }

    /// How long a process ran within a span.
    fn awake_in(&self, from: u64, until: u64) -> u64 {
        self.awake.iter().map(|(begin, end)| (*end).min(until).saturating_sub((*begin).max(from))).sum()
    }

    fn check(&self) {
        let mut before = 0;
        for account in self.tally.intervals.values() {
            let (from, until) = (self.truth(&account.from), self.truth(&account.until()));
            assert!(before <= from && from <= until, "{before} {from} {until}");
            let worked = self.worked.iter().filter(|at| from < **at && **at < until).count();
            assert_eq!(worked, 0, "Flux worked within interval {}: {account:?}", account.number);
            assert!(account.proved_ms() <= self.awake_in(from, until), "{account:?}");
            let mut last = from;
            for stretch in account.so_far() {
                let (from, until) = (self.truth(&stretch.from), self.truth(&stretch.until));
                assert!(last <= from && from <= until, "{account:?}");
                assert!(stretch.ms <= self.awake_in(from, until), "{stretch:?} of {account:?}");
                last = until;
            }
            assert_eq!(account.so_far().iter().map(|stretch| stretch.ms).sum::<u64>(), account.proved_ms());
            assert!(account.uninterrupted_ms() <= account.proved_ms());
            before = account.ended.as_ref().map_or(until, |ended| self.truth(&ended.at));
            assert!(until <= before);
            assert!(account.stretches.len() <= 32 && account.holes.len() <= 32);
            for hole in &account.holes {
                let length = self.truth(&hole.until) - self.truth(&hole.from);
                assert!(hole.count > 1 || hole.ms.is_none_or(|ms| ms.abs_diff(length) < 2), "{hole:?} of {length}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn intervals_never_overlap_never_exceed_what_is_proved_and_claim_no_time_that_the_gateway_was_off(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.check();
        world.tell(Fact::Stopping);
        world.check();
        let rows = report::rows(&world.tally, None);
        prop_assert_eq!(report::csv(&rows, true).matches("\r\n").count(), rows.len() + 1);
    }
}
