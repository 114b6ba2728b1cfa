//! When the endpoint may be tried again, for all lanes together. Pure.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Jitter};
use super::options::Options;
use super::verdict::Verdict;

/// Most that is added to a time an answer named, so that all gateways of an account do not come back in one moment.
const SPREAD: Duration = Duration::from_secs(10);

/// Failures in a row, or time since the first of them, that make an outage. Flux's front ends cut a connection now and
/// then, and the next try is taken: that alone shall not turn the order of records around.
const OUTAGE: (u32, Duration) = (3, Duration::from_secs(10));

/// Reloads that change nothing bring a try so often at the most: whoever reloads over and over, such as a tool that renews
/// configurations, must not thereby press an endpoint that refuses. A person who mended the other side waits no longer.
const RELOADS: Duration = Duration::from_secs(60);

/// From when a reload lets the endpoint be tried. Pure.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reloads {
    /// The last try that a reload brought, or will.
    last: Option<Instant>,
}

impl Reloads {
    /// `changed`: the reload changes something of what is sent, where to, or how. Then at once; otherwise at once only if no
    /// reload did so within [`RELOADS`], or when that is over.
    pub(super) fn reloaded(&mut self, changed: bool, now: Instant) -> Instant {
        let from = self.last.map_or(now, |last| if last > now { last } else { (last + RELOADS).max(now) });
        let from = if changed { now } else { from };
        self.last = Some(from);
        from
    }
}

/// The endpoint's own pace.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    not_before: Option<Instant>,
    /// The endpoint itself named the time.
    told: bool,
    backoff: Backoff,
    probe: Backoff,
    /// When it first failed since it last accepted, and how often.
    failed: Option<(Instant, u32)>,
}

impl Gate {
    /// Open.
    pub(super) fn new(options: &Options) -> Self {
        let (backoff, probe) = (Backoff::new(options.backoff), Backoff::new(options.probe));
        Self { not_before: None, told: false, backoff, probe, failed: None }
    }

    /// Closed until what an answer named before a restart, as if it had been answered just now.
    pub(super) fn resting(self, until: Instant, now: Instant, jitter: &mut Jitter) -> Self {
        Self { not_before: Some(until + spread(until, now, jitter)), told: true, failed: Some((now, 1)), ..self }
    }

    /// New options: it opens, because an operator who reloads may have mended what was wrong, but not before `from`
    /// ([`Reloads`]); and a time that the same endpoint asked for is kept to, or reloads would be a way around its rate limit.
    pub(super) fn reload(&mut self, options: &Options, same_endpoint: bool, from: Instant) {
        let told = self.told && same_endpoint;
        let kept = self.not_before.map(|at| if told { at } else { at.min(from) });
        *self = Self { not_before: kept, told, failed: self.failed, ..Self::new(options) };
    }

    /// It opens at once: somebody who knows more lets telemetry leave again.
    pub(super) fn open(&mut self, options: &Options) {
        let kept = self.not_before.filter(|_| self.told);
        *self = Self { not_before: kept, told: kept.is_some(), failed: self.failed, ..Self::new(options) };
    }

    /// Whether the endpoint takes records, as far as is known: it did when it was last asked, or was not asked yet.
    pub(super) fn takes(&self) -> bool {
        self.failed.is_none()
    }

    /// When it opens, if it is closed at `now`.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|until| *until > now)
    }

    /// Takes a verdict into account; `true` if it ends an outage.
    pub(super) fn judged(&mut self, verdict: Verdict, now: Instant, jitter: &mut Jitter) -> bool {
        self.told = matches!(verdict, Verdict::Throttled { .. } | Verdict::Maintenance { .. });
        self.not_before = match verdict {
            Verdict::Accepted => {
                self.backoff.succeeded(now);
                self.probe.reset();
                None
            }
            // What is wrong is the batch; its lane waits, the endpoint need not. A quota is the budgets' affair: they rest
            // until the month turns, to the moment.
            Verdict::Poison { .. } | Verdict::Transient { costly: true } | Verdict::Quota { .. } => None,
            Verdict::Throttled { until } | Verdict::Maintenance { until } => Some(until + spread(until, now, jitter)),
            Verdict::Suspended | Verdict::Ended | Verdict::Misconfigured => Some(now + self.probe.failed(jitter)),
            Verdict::Transient { costly: false } => Some(now + self.backoff.failed(jitter)),
        };
        self.count(verdict, now)
    }

    /// Counts failures of the endpoint; `true` if the verdict ends an outage.
    fn count(&mut self, verdict: Verdict, now: Instant) -> bool {
        match verdict {
            Verdict::Accepted => self.failed.take().is_some_and(|(since, failures)| {
                failures >= OUTAGE.0 || now.saturating_duration_since(since) >= OUTAGE.1
            }),
            Verdict::Poison { .. } | Verdict::Transient { costly: true } => false,
            _ => {
                let (since, failures) = self.failed.unwrap_or((now, 0));
                self.failed = Some((since, failures.saturating_add(1)));
                false
            }
        }
    }
}

/// What is added to a time that an answer named.
fn spread(until: Instant, now: Instant, jitter: &mut Jitter) -> Duration {
    jitter.between(Duration::ZERO, (until.saturating_duration_since(now) / 10).min(SPREAD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Flux, Options};

    #[test]
    fn a_time_that_was_named_before_a_restart_is_kept_to_as_one_that_is_named_now() {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let until = now + 40 * second;
        for seed in 0..200 {
            let mut jitter = Jitter::new(seed);
            let mut gate = Gate::new(&options).resting(until, now, &mut jitter);
            let closed = gate.closed_until(now).map(|at| at - now);
            assert!(closed.is_some_and(|wait| wait >= 40 * second && wait <= 44 * second), "{closed:?}");
            assert!(!gate.takes(), "one request asks whether it takes anything");
            gate.reload(&options, true, now);
            gate.open(&options);
            assert_eq!(gate.closed_until(now).map(|at| at - now), closed, "a reload is no way around it");
            gate.reload(&options, false, now);
            assert_eq!(gate.closed_until(now), None, "another endpoint named nothing");
        }
    }

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
                (Verdict::Quota { until: Some(until) }, None),
                (Verdict::Ended, Some((60, 120))),
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
            (Verdict::Quota { until: None }, true, false),
            (Verdict::Ended, true, false),
            (Verdict::Transient { costly: false }, true, false),
        ] {
            let mut gate = Gate::new(&options);
            gate.judged(verdict, now, &mut Jitter::new(1));
            gate.reload(&options, same_endpoint, now);
            assert_eq!(gate.closed_until(now).is_some(), stays, "{verdict:?}");
            gate.reload(&options, same_endpoint, now);
            assert_eq!(gate.closed_until(now).is_some(), stays, "{verdict:?}, twice");
        }
    }

    #[test]
    fn reloads_that_change_nothing_bring_a_try_a_minute_and_one_that_does_at_once() {
        let (mut reloads, start) = (Reloads::default(), Instant::now());
        let mut from =
            |second: u64, changed| (reloads.reloaded(changed, start + Duration::from_secs(second)) - start).as_secs();
        let seen: Vec<u64> = [0, 1, 5, 59, 61, 62, 200].into_iter().map(|second| from(second, false)).collect();
        assert_eq!(seen, [0, 60, 60, 60, 120, 120, 200]);
        assert_eq!([from(201, true), from(202, true), from(203, false)], [201, 202, 262]);
    }

    #[test]
    fn a_reload_opens_a_closed_gate_at_its_time_and_closes_none() {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(30));
        let mut gate = Gate::new(&options);
        gate.reload(&options, true, later);
        assert_eq!(gate.closed_until(now), None, "it was open");
        gate.judged(Verdict::Misconfigured, now, &mut Jitter::new(1));
        gate.reload(&options, true, later);
        assert_eq!(gate.closed_until(now), Some(later));
        gate.open(&options);
        assert_eq!(gate.closed_until(now), None);
    }

    #[test]
    fn failures_that_last_or_repeat_are_an_outage_and_a_cut_now_and_then_is_none() {
        let options = Options::new(Flux::Unified { url: "http://uni.soracom.io/".into() });
        let cut = Verdict::Transient { costly: false };
        for (failures, seconds, outage) in [(0, 60, false), (1, 9, false), (2, 9, false), (3, 0, true), (1, 10, true)] {
            let (mut gate, mut jitter, now) = (Gate::new(&options), Jitter::new(1), Instant::now());
            for _ in 0..failures {
                assert!(!gate.judged(cut, now, &mut jitter));
                assert!(
                    !gate.judged(Verdict::Poison { too_large: false }, now, &mut jitter),
                    "that says nothing of it"
                );
                gate.reload(&options, true, now);
            }
            let later = now + Duration::from_secs(seconds);
            assert_eq!(gate.judged(Verdict::Accepted, later, &mut jitter), outage, "{failures} in {seconds} s");
            assert!(!gate.judged(Verdict::Accepted, later, &mut jitter), "told once");
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
