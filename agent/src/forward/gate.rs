//! When the endpoint may be tried again, for all lanes together. Pure.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Jitter};
use super::options::Options;
use super::verdict::Verdict;

/// Most that is added to a time an answer named, so that all gateways of an account do not come back in one moment.
const SPREAD: Duration = Duration::from_secs(10);

/// The endpoint's own pace.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    not_before: Option<Instant>,
    backoff: Backoff,
    probe: Backoff,
}

impl Gate {
    /// Open.
    pub(super) fn new(options: &Options) -> Self {
        Self { not_before: None, backoff: Backoff::new(options.backoff), probe: Backoff::new(options.probe) }
    }

    /// When it opens, if it is closed at `now`.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|until| *until > now)
    }

    /// Takes a verdict into account.
    pub(super) fn judged(&mut self, verdict: Verdict, now: Instant, jitter: &mut Jitter) {
        self.not_before = match verdict {
            Verdict::Accepted => {
                self.backoff.succeeded(now);
                self.probe.reset();
                None
            }
            // What is wrong is the batch; its lane waits, the endpoint need not.
            Verdict::Poison { .. } | Verdict::Transient { costly: true } => None,
            Verdict::Throttled { until } | Verdict::Maintenance { until } => {
                let spread = (until.saturating_duration_since(now) / 10).min(SPREAD);
                Some(until + jitter.between(Duration::ZERO, spread))
            }
            Verdict::Suspended | Verdict::Quota | Verdict::Misconfigured => Some(now + self.probe.failed(jitter)),
            Verdict::Transient { costly: false } => Some(now + self.backoff.failed(jitter)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Flux, Options};

    #[test]
    fn each_verdict_closes_the_gate_for_as_long_as_it_says() {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let until = now + 40 * second;
        for seed in 0..200 {
            for (verdict, range) in [
                (Verdict::Accepted, None),
                (Verdict::Poison { too_large: false }, None),
                (Verdict::Transient { costly: true }, None),
                (Verdict::Throttled { until }, Some((40, 44))),
                (Verdict::Maintenance { until }, Some((40, 44))),
                (Verdict::Suspended, Some((60, 120))),
                (Verdict::Quota, Some((60, 120))),
                (Verdict::Misconfigured, Some((60, 120))),
                (Verdict::Transient { costly: false }, Some((1, 2))),
            ] {
                let mut gate = Gate::new(&options);
                gate.judged(verdict, now, &mut Jitter::new(seed));
                let closed = gate.closed_until(now).map(|until| until - now);
                let within = |(low, high)| closed.is_some_and(|wait| wait >= low * second && wait <= high * second);
                assert!(range.map_or(closed.is_none(), within), "{verdict:?}: {closed:?}");
            }
        }
    }

    #[test]
    fn probes_become_rare_and_an_acceptance_opens_the_gate() {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let (now, mut jitter, mut gate) = (Instant::now(), Jitter::new(7), Gate::new(&options));
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            gate.judged(Verdict::Suspended, now, &mut jitter);
            longest = longest.max(gate.closed_until(now).map_or(Duration::ZERO, |until| until - now));
        }
        assert!(longest > options.probe.max / 2 && longest <= options.probe.max, "{longest:?}");
        gate.judged(Verdict::Accepted, now, &mut jitter);
        assert_eq!(gate.closed_until(now), None);
    }
}
