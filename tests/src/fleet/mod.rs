//! A fleet of gateways under virtual time: how it comes back.
//!
//! Each gateway has the agent's own `provider::machine` and `forward::backoff`; beside it runs the same fleet with the
//! back-off alone (exponential, full jitter). What is between the two and the service is a model of the forwarder, reduced to
//! what matters here: one batch each interval, what cannot be sent waits, one request at a time, a limit of events a minute
//! is kept by even gaps. Nothing is random but what the seed draws, so a run can be had again.
//!
//! | scenario | what happens | what is looked at |
//! |---|---|---|
//! | maintenance | a window announced by a notice, an hour long | first connections over the resume period |
//! | outage | connections are refused for forty minutes, and nobody announced it | first connections over ten minutes |
//! | throttled | an alarm makes every gateway send eight times as often for half an hour, four times what the account may | what is refused |

mod figures;
mod gateway;
mod service;
mod svg;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidegate_protocol::notice::{Content, Interruption, Notice, Scope};

use crate::rng::Rng;
pub use figures::{Course, Figures, summary, table};
use gateway::Gateway;
pub use service::{Answer, Service};
pub use svg::draw;

/// Milliseconds of a second and a minute.
pub const SECOND: u64 = 1_000;
/// A minute.
pub const MINUTE: u64 = 60 * SECOND;

/// When the virtual time begins, in ms since the Unix epoch (2026-11-18T14:26:40Z).
pub(crate) const EPOCH: u64 = 1_795_012_000_000;

/// What happens to the fleet. Times in ms of virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// An announced maintenance.
    Maintenance,
    /// An outage that nobody announced.
    Outage,
    /// More is sent than the account may.
    Throttled,
}

/// Whether gateways heed the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As the agent does.
    Tidegate,
    /// Back-off with full jitter alone.
    BackoffAlone,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Maintenance, Self::Outage, Self::Throttled];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Outage => "outage",
            Self::Throttled => "throttled",
        }
    }

    /// When it begins to be refused, and when it is not any more.
    pub fn span(self) -> (u64, u64) {
        match self {
            Self::Maintenance => (10 * MINUTE, 70 * MINUTE),
            Self::Outage => (10 * MINUTE, 50 * MINUTE),
            Self::Throttled => (10 * MINUTE, 40 * MINUTE),
        }
    }

    /// Over what time after that the first connections are looked at: the resume period, or the longest slot of probes.
    pub fn period(self) -> u64 {
        match self {
            Self::Maintenance => 30 * MINUTE,
            Self::Outage | Self::Throttled => 10 * MINUTE,
        }
    }

    /// How long it is watched.
    pub fn length(self) -> u64 {
        self.span().1 + self.period() + 15 * MINUTE
    }
}

/// Lets `gateways` of them live through a scenario.
pub fn run(scenario: Scenario, kind: Kind, gateways: u32, seed: u64) -> Figures {
    let mut rng = Rng::from_seed(seed);
    let mut service = Service::new(scenario, gateways);
    let mut figures = Figures::new(scenario, gateways);
    let mut fleet: Vec<Gateway> = (0..gateways).map(|number| Gateway::new(number, kind, scenario, &mut rng)).collect();
    if let (Scenario::Maintenance, Kind::Tidegate) = (scenario, kind) {
        for gateway in &mut fleet {
            gateway.told(announcement(scenario));
        }
    }
    let mut next: BinaryHeap<Reverse<(u64, u32)>> =
        fleet.iter().zip(0..).map(|(gateway, number)| Reverse((gateway.begins(), number))).collect();
    while let Some(Reverse((at, number))) = next.pop() {
        if at >= scenario.length() {
            continue;
        }
        let wait = fleet[number as usize].act(at, &mut service, &mut figures);
        next.push(Reverse((at + wait.max(1), number)));
    }
    figures
}

fn announcement(scenario: Scenario) -> Notice {
    let (from, until) = scenario.span();
    Notice {
        id: "works-1".into(),
        issued_ms: EPOCH,
        expires_ms: EPOCH + until,
        scope: Scope::Fleet,
        content: Content::Maintenance {
            from_ms: EPOCH + from,
            until_ms: EPOCH + until,
            cause: Interruption::Works,
            resume_s: None,
        },
        why: "database".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough for a bin of a hundredth to hold 150 on average, and so to be within a third of it by chance alone.
    const GATEWAYS: u32 = 15_000;

    #[test]
    fn after_a_maintenance_a_fleet_comes_back_evenly_and_nobody_waits_longer_than_promised() {
        let seed = 1;
        println!("seed {seed}");
        let ours = run(Scenario::Maintenance, Kind::Tidegate, GATEWAYS, seed);
        let alone = run(Scenario::Maintenance, Kind::BackoffAlone, GATEWAYS, seed);
        assert_eq!(ours.refused_in_all(), 0, "nobody tries while it is shut");
        assert_eq!((ours.returned(), alone.returned()), (GATEWAYS, GATEWAYS));
        assert!(ours.peak_over_mean() <= 1.3, "{}", ours.peak_over_mean());
        assert!(alone.peak_over_mean() >= 10.0, "{}", alone.peak_over_mean());
        // Promised: within the resume period; a gateway has something to send once a minute.
        assert!(ours.longest_wait() <= Scenario::Maintenance.period() + MINUTE, "{} ms", ours.longest_wait());
    }

    #[test]
    fn after_an_outage_that_nobody_announced_nobody_waits_longer_than_a_slot_and_the_peak_is_low() {
        let seed = 2;
        println!("seed {seed}");
        let ours = run(Scenario::Outage, Kind::Tidegate, GATEWAYS / 5, seed);
        let alone = run(Scenario::Outage, Kind::BackoffAlone, GATEWAYS / 5, seed);
        assert_eq!(ours.returned(), GATEWAYS / 5);
        assert!(ours.longest_wait() <= Scenario::Outage.period() + MINUTE, "{} ms", ours.longest_wait());
        assert!(ours.peak_over_mean() * 2.0 < alone.peak_over_mean(), "{}", alone.peak_over_mean());
        // At first every gateway finds out for itself; once its slots are long, it tries a quarter as often.
        let (from, until) = Scenario::Outage.span();
        let late = |figures: &Figures| figures.refused.rate(from + 20 * MINUTE, until);
        assert!(late(&ours) * 3.0 < late(&alone), "{} and {} a second", late(&ours), late(&alone));
    }

    #[test]
    fn a_throttled_fleet_is_refused_less_than_with_back_off_alone_and_uses_what_it_may() {
        let seed = 3;
        println!("seed {seed}");
        let ours = run(Scenario::Throttled, Kind::Tidegate, GATEWAYS / 10, seed);
        let alone = run(Scenario::Throttled, Kind::BackoffAlone, GATEWAYS / 10, seed);
        assert!(ours.refused_in_all() < alone.refused_in_all(), "{} {}", ours.refused_in_all(), alone.refused_in_all());
        assert!(ours.used() > 0.5, "{}", ours.used());
    }
}
