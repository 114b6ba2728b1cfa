//! A limit on log lines that could come thousands of times.

use std::time::{Duration, Instant};

/// Time between two lines of one kind.
const BETWEEN: Duration = Duration::from_secs(60);

/// Lets one line through a minute, and counts what it stands for.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// Adds to the count; gives it, and begins anew, when a line may be written.
    pub(super) fn add(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.since += count;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }

    /// What has been counted since the last line, once another may be written: for when nothing more comes.
    pub(super) fn rest(&mut self, now: Instant) -> Option<u64> {
        if self.since == 0 { None } else { self.add(0, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_tells_of_all() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.add(3, start), Some(3));
        assert_eq!(seldom.add(4, start + Duration::from_secs(59)), None);
        assert_eq!(seldom.add(5, start + Duration::from_secs(60)), Some(9));
        assert_eq!(seldom.rest(start + Duration::from_secs(200)), None);
        assert_eq!(seldom.add(2, start + Duration::from_secs(61)), None);
        assert_eq!(seldom.rest(start + Duration::from_secs(62)), None);
        assert_eq!(seldom.rest(start + Duration::from_secs(120)), Some(2));
    }
}
