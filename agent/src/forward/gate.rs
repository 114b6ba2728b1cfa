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
    /// The endpoint itself named the time.
    told: bool,
    backoff: Backoff,
    probe: Backoff,
}

impl Gate {
    /// Open.
    pub(super) fn new(options: &Options) -> Self {
        let (backoff, probe) = (Backoff::new(options.backoff), Backoff::new(options.probe));
        Self { not_before: None, told: false, backoff, probe }
    }

    /// New options: it opens at once, because an operator who reloads may have mended what was wrong; but a time that
    /// the same endpoint asked for is kept to, or reloads would be a way around its rate limit.
    pub(super) fn reload(&mut self, options: &Options, same_endpoint: bool) {
        let kept = self.not_before.filter(|_| self.told && same_endpoint);
        *self = Self { not_before: kept, told: kept.is_some(), ..Self::new(options) };
    }

    /// When it opens, if it is closed at `now`.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|until| *until > now)
    }

    /// Takes a verdict into account.
    pub(super) fn judged(&mut self, verdict: Verdict, now: Instant, jitter: &mut Jitter) {
        self.told = matches!(verdict, Verdict::Throttled { .. } | Verdict::Maintenance { .. });
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
    fn a_reload_opens_the_gate_unless_the_same_endpoint_named_a_time() {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let now = Instant::now();
        let until = now + Duration::from_secs(40);
        for (verdict, same_endpoint, stays) in [
            (Verdict::Throttled { until }, true, true),
            (Verdict::Maintenance { until }, true, true),
            (Verdict::Throttled { until }, false, false),
            (Verdict::Misconfigured, true, false),
            (Verdict::Suspended, true, false),
            (Verdict::Quota, true, false),
            (Verdict::Transient { costly: false }, true, false),
        ] {
            let mut gate = Gate::new(&options);
            gate.judged(verdict, now, &mut Jitter::new(1));
            gate.reload(&options, same_endpoint);
            assert_eq!(gate.closed_until(now).is_some(), stays, "{verdict:?}");
            gate.reload(&options, same_endpoint);
            assert_eq!(gate.closed_until(now).is_some(), stays, "{verdict:?}, twice");
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
