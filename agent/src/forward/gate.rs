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
