//! The machine under bytes from anywhere, for fuzzing: a state that is none, and then whatever is told.

use tidegate_protocol::notice::{Breach, Content, Interruption, Notice, Scope};
use tidegate_protocol::stance::{Stance, Telemetry};

use super::{Machine, OnTermsChange, STATE_BYTES, Settings};
use crate::clock::Stamp;
use crate::provider::input::{Answer, Input, Means};
use crate::provider::page::{Page, Planned, Progress};

/// Steps of one run.
const STEPS: usize = 64;

const MEANS: [Means; 11] = [
    Means::Accepted,
    Means::Throttled,
    Means::Maintenance,
    Means::Suspended,
    Means::Quota,
    Means::Ended,
    Means::Misconfigured,
    Means::Poison,
    Means::Transient,
    Means::OwnLine,
    Means::Unreachable,
];

/// Takes numbers and texts off the input; zeros when it is used up.
struct Supply<'a>(&'a [u8]);

impl Supply<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Any number, small ones and those near a date more often.
    fn number(&mut self) -> u64 {
        let bytes = [(); 8].map(|()| self.byte());
        let number = u64::from_le_bytes(bytes);
        match self.byte() % 4 {
            0 => number,
            1 => number % 100_000,
            _ => 1_795_000_000_000 + number % 1_000_000_000,
        }
    }

    fn maybe(&mut self) -> Option<u64> {
        (self.byte() % 2 == 0).then(|| self.number())
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.byte());
        let (text, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn content(&mut self) -> Content {
        let (from_ms, until_ms) = (self.number(), self.maybe());
        match self.byte() % 10 {
            0 => Content::Maintenance {
                from_ms,
                until_ms: until_ms.unwrap_or(0),
                cause: Interruption::Other,
                resume_s: Some(u32::from(self.byte())),
            },
            1 => Content::Emergency { from_ms, until_ms },
            2 => Content::Restriction { from_ms, until_ms, limits: Vec::new() },
            3 => Content::Suspension { from_ms, cause: Breach::Other },
            4 => Content::Quota { until_ms: from_ms },
            5 => Content::End { at_ms: from_ms },
            6 => Content::TermsChanged { version: self.text(), effective_ms: from_ms, url: self.text() },
            7 => Content::Identity { effective_ms: from_ms },
            8 => Content::Unknown { kind: self.text() },
            _ => Content::Withdrawn,
        }
    }

    fn page(&mut self) -> Page {
        let progress = [Progress::Scheduled, Progress::InProgress, Progress::Completed];
        let one = |supply: &mut Self| Planned {
            id: supply.text(),
            name: supply.text(),
            from_ms: supply.number(),
            until_ms: supply.maybe(),
            progress: progress[usize::from(supply.byte() % 3)],
        };
        let count = self.byte() % 3;
        Page { maintenances: (0..count).map(|_| one(self)).collect(), incidents: Vec::new() }
    }

    fn input(&mut self) -> Input {
        match self.byte() % 10 {
            0..=2 => Input::Answer(Answer {
                means: MEANS[usize::from(self.byte()) % MEANS.len()],
                by_rule: self.byte() % 2 == 0,
                wait_ms: self.maybe(),
                reason: self.text(),
                probe: self.byte() % 2 == 0,
                per_minute: Some(u32::from(self.byte())),
            }),
            3 | 4 => {
                let (issued_ms, expires_ms) = (self.number(), self.number());
                let (id, content, why) = (format!("n{}", self.byte() % 4), self.content(), self.text());
                let notice = Notice { id, issued_ms, expires_ms, scope: Scope::Fleet, content, why };
                Input::Notice { notice, key: self.text(), via: "file" }
            }
            5 => Input::Page { page: self.page(), now_ms: self.maybe() },
            6 => {
                let status = (self.byte() % 2 == 0).then(|| self.text());
                Input::Sim { status, expiry: self.maybe().map(|at| (at, self.text())) }
            }
            7 => match self.byte() % 4 {
                0 => Input::Resume,
                1 => Input::TryNow,
                2 => Input::AcceptTerms { version: self.text() },
                _ => Input::Hold { for_ms: self.maybe(), why: self.text() },
            },
            8 => Input::ProviderTime { now_ms: self.number(), error_ms: 0 },
            _ => Input::Endpoint { fingerprint: u64::from(self.byte() % 3) },
        }
    }

    fn stamp(&mut self, now: Stamp) -> Stamp {
        match self.byte() % 8 {
            0 => Stamp { wall_ms: self.number(), ..now },
            1 => Stamp { trusted: !now.trusted, ..now },
            2 => Stamp { boot: now.boot.wrapping_add(1), uptime_ms: self.number() % (1 << 48), ..now },
            _ => {
                let passed = self.number() % (1 << 36);
                let (wall_ms, uptime_ms) = (now.wall_ms.saturating_add(passed), now.uptime_ms.saturating_add(passed));
                Stamp { wall_ms, uptime_ms, ..now }
            }
        }
    }
}

/// Restores a machine from `state`, and tells it what `steps` come to.
///
/// # Panics
/// If what is to last is too long, a restart changes how things stand, or anything may leave when ended.
#[cfg_attr(not(feature = "fuzzing"), allow(unreachable_pub, reason = "it is handed on with the feature"))]
pub fn run(state: &[u8], steps: &[u8], holds: bool) {
    let on_terms_change = if holds { OnTermsChange::Hold } else { OnTermsChange::Continue };
    let settings = Settings { on_terms_change, ..Settings::new("fuzzed") };
    let mut machine = Machine::restore(state, settings.clone());
    let mut now = Stamp { wall_ms: 1_795_000_000_000, uptime_ms: 60_000, boot: 1, trusted: true };
    let mut supply = Supply(steps);
    for _ in 0..STEPS {
        machine.tell(supply.input(), &now);
        now = supply.stamp(now);
        machine.turn(&now);
        let (view, bytes) = (machine.view(&now), machine.encode());
        assert!(bytes.len() <= STATE_BYTES, "{} bytes", bytes.len());
        assert_eq!(Machine::restore(&bytes, settings.clone()).view(&now), view, "after a restart");
        if view.grounds.iter().any(|ground| ground.stance == Stance::Ended) {
            assert!(view.leave.telemetry == Telemetry::Nothing && !view.may_probe, "when ended");
        }
        let longest = now.uptime_ms.saturating_add(86_400_000);
        assert!(view.rest_until_ms.is_none_or(|rest| rest <= longest), "{:?} at {}", view.rest_until_ms, now.uptime_ms);
        machine.wake_in_ms(&now);
        if supply.0.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fuzzed_is_told() {
        let steps: Vec<u8> = (0..4_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for state in [&b""[..], &Machine::new(Settings::new("fuzzed")).encode()] {
            run(state, &steps, true);
            run(state, &steps[1..], false);
        }
    }
    #[test]
    fn an_uptime_that_goes_beyond_its_bound_comes_back_as_it_was() {
        // What fuzzing found: an endpoint, another boot at an uptime of nearly 2^48 ms, a page, and then weeks more.
        let found = [109, 0, 82, 0x61, 0x2e, 255, 255, 255, 255, 0x32, 255, 112, 115, 6, 1, 255, 0, 0, 0, 252, 0];
        run(&[], &found, false);
    }
}
