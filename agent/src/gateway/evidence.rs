//! Whose fault it was that an exchange with Flux had no answer: gathers what is known, and has it judged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use crate::clock::Clock as _;
use crate::forward::Told;
use crate::provider::line::{self, Evidence, Finding, Other, System};
use crate::provider::reach::Reach;

/// Since when Flux has given no answer.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<Option<Instant>>);

impl Desk {
    /// For how long it has given none, this time included; `None` if it did now.
    fn failing_for(&self, fails: bool, now: Instant) -> Option<Duration> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = fails.then(|| since.unwrap_or(now));
        since.map(|since| now.saturating_duration_since(since))
    }
}

/// Judges an exchange; `None` if there was an answer. Reads some small files of the kernel's.
pub(super) fn judge(shared: &Shared, told: &Told) -> Option<Finding> {
    let now = Instant::now();
    let failing_for = shared.evidence.failing_for(told.failure.is_some(), now)?;
    let config = shared.loaded().config;
    let interface = config.forward.interface.clone();
    Some(line::judge(&Evidence {
        failure: told.failure?,
        failing_for,
        links: System::default().look(),
        others: others(shared, now),
        interface,
        clock_trusted: shared.clock.now().trusted,
    }))
}

/// Who else is asked, and when they answered.
fn others(shared: &Shared, now: Instant) -> Vec<Other> {
    let config = shared.loaded().config;
    let ago = |at: Instant| now.saturating_duration_since(at);
    let mut others = Vec::new();
    if config.provider.metadata.enabled {
        let line = shared.limits.line();
        let line = line.borrow();
        let (answered_ago, last) = (line.contact.at.map(ago), line.contact.last);
        others.push(Other { who: "metadata service", answered_ago, last, same_line: true });
    }
    let page = &config.provider.statuspage;
    if page.enabled {
        let same_line = page.interface.as_ref().is_none_or(|other| Some(other) == config.forward.interface.as_ref());
        let standing = shared.page.standing();
        let (answered_ago, last) = (standing.contact.at.map(ago), standing.contact.last);
        others.push(Other { who: "status page", answered_ago, last, same_line });
    }
    if let Some(answered) = shared.wire.names_answered() {
        others.push(Other {
            who: line::NAME_SERVER,
            answered_ago: Some(ago(answered)),
            last: Some(Reach::Host),
            same_line: true,
        });
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_from_the_first_without_an_answer_to_the_next_answer() {
        let (desk, now, second) = (Desk::default(), Instant::now(), Duration::from_secs(1));
        assert_eq!(desk.failing_for(true, now), Some(Duration::ZERO));
        assert_eq!(desk.failing_for(true, now + 5 * second), Some(5 * second));
        assert_eq!(desk.failing_for(false, now + 6 * second), None);
        assert_eq!(desk.failing_for(true, now + 7 * second), Some(Duration::ZERO));
    }
}
