//! The service that a fleet sends to: what it answers when.

use super::{MINUTE, Scenario};

/// How often the account may send in a minute, as a share of the gateways: each interval is a minute, so this is twice what
/// they send usually, and a quarter of what they send during the alarm.
const PER_GATEWAY: u64 = 2;

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It takes it.
    Accepted,
    /// It refuses the connection.
    Unreachable,
    /// Too much in this minute; in how many ms the next begins.
    Throttled(u64),
}

/// The service.
#[derive(Debug)]
pub struct Service {
    scenario: Scenario,
    gateways: u32,
    /// The minute that is counted, and what was accepted in it.
    minute: (u64, u64),
}

impl Service {
    /// One for so many gateways.
    pub fn new(scenario: Scenario, gateways: u32) -> Self {
        Self { scenario, gateways, minute: (0, 0) }
    }

    /// Events that the account may send in a minute.
    pub fn per_minute(gateways: u32) -> u64 {
        u64::from(gateways) * PER_GATEWAY
    }

    /// What is asked at `at` is answered so.
    pub fn ask(&mut self, at: u64) -> Answer {
        let (from, until) = self.scenario.span();
        if self.scenario != Scenario::Throttled {
            return if (from..until).contains(&at) { Answer::Unreachable } else { Answer::Accepted };
        }
        let minute = at / MINUTE;
        if self.minute.0 != minute {
            self.minute = (minute, 0);
        }
        if self.minute.1 >= Self::per_minute(self.gateways) {
            return Answer::Throttled((minute + 1) * MINUTE - at);
        }
        self.minute.1 += 1;
        Answer::Accepted
    }
}
