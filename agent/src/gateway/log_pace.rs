//! How often the log of notices may be written. Pure.
//!
//! What the machine remembers is on flash within milliseconds, also that it has said something. So an entry that waits when
//! the power goes is never written any more: what is said now and then is written at once. But each time the whole log is
//! written, up to 64 KiB, and a provider that has lost its mind may say much: then it waits.

use std::time::{Duration, Instant};

/// So often in the long run: of a log that is full, 6.5 KB/s at the most.
const EVERY: Duration = Duration::from_secs(10);

/// So many times at once after a rest: an interruption with all that belongs to it has fewer entries. A rest of
/// 160 s makes them available again.
const AT_ONCE: u32 = 16;

/// When the log may be written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogPace {
    /// When everything that was written would have been, one time each [`EVERY`].
    paid: Option<Instant>,
}

impl LogPace {
    /// From when it may be written.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let owed = self.paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        now + owed.saturating_sub(EVERY * (AT_ONCE - 1))
    }

    /// It is written, whether or not it was due.
    pub(super) fn written(&mut self, now: Instant) {
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + EVERY;
        // What a person did is never made to wait, nor does it make others wait longer.
        self.paid = Some(paid.min(now + EVERY * AT_ONCE));
    }

    /// It could not be written: the disk is given [`EVERY`] before it is tried again.
    pub(super) fn failed(&mut self, now: Instant) {
        self.paid = Some(now + EVERY * AT_ONCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_now_and_then_is_written_at_once_and_what_never_ends_every_ten_seconds() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = LogPace::default();
        let mut now = start;
        for _ in 0..AT_ONCE {
            assert_eq!(pace.due(now), now);
            pace.written(now);
        }
        for _ in 0..100 {
            assert_eq!(pace.due(now), now + EVERY);
            assert_eq!(pace.due(now + 4 * second), now + EVERY, "time alone brings it nearer");
            now = pace.due(now);
            pace.written(now);
        }
        // What a person does, over and over.
        for _ in 0..1_000 {
            pace.written(now);
        }
        assert_eq!(pace.due(now), now + EVERY);
        let rested = now + EVERY * AT_ONCE;
        assert_eq!((pace.due(rested), pace.due(rested + 1_000_000 * second)), (rested, rested + 1_000_000 * second));
        for _ in 0..AT_ONCE {
            assert_eq!(pace.due(rested), rested);
            pace.written(rested);
        }
        assert!(pace.due(rested) > rested);
        let mut pace = LogPace::default();
        pace.failed(start);
        assert_eq!(pace.due(start), start + EVERY);
    }
}
