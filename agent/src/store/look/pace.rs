//! How fast the buffer fills: over the last ten minutes, and in the busiest ten minutes seen.
//!
//! Pure: the time is given, in milliseconds of a clock that nobody sets, and so are the bytes.

use std::collections::VecDeque;

/// Minutes that a pace is taken over. Long enough that a batch of readings is no peak, short enough that a busy hour
/// is seen as one.
const MINUTES: u64 = 10;

/// Before this, one burst would look like a pace.
const KNOWN_AFTER_MS: u64 = 60_000;

const MINUTE_MS: u64 = 60_000;

/// The pace of one lane, or of several together.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    began_ms: Option<u64>,
    /// The minute that is counted now, since it began.
    minute: u64,
    /// Bytes of the last complete minutes, at most [`MINUTES`], the newest last.
    complete: VecDeque<u64>,
    current: u64,
    total: u64,
    busiest: u64,
}

impl Pace {
    /// Notes how many bytes there have been in all. Twice a minute is often enough.
    pub fn note(&mut self, now_ms: u64, total: u64) {
        let began = *self.began_ms.get_or_insert_with(|| {
            self.total = total;
            now_ms
        });
        let minute = now_ms.saturating_sub(began) / MINUTE_MS;
        // What is new came before now: it belongs to the minute that was counted until now.
        self.current += total.saturating_sub(self.total);
        self.total = self.total.max(total);
        // After a pause longer than all that is remembered, nothing of it is left.
        for _ in 0..minute.saturating_sub(self.minute).min(MINUTES + 1) {
            self.complete.push_back(std::mem::take(&mut self.current));
            if self.complete.len() as u64 > MINUTES {
                self.complete.pop_front();
            }
            self.busiest = self.busiest.max(self.complete.iter().sum());
        }
        self.minute = self.minute.max(minute);
    }

    /// Bytes an hour over the last ten minutes, or since it began. `None` in the first minute.
    pub fn present(&self, now_ms: u64) -> Option<u64> {
        let since = now_ms.checked_sub(self.began_ms?)?;
        if since < KNOWN_AFTER_MS {
            return None;
        }
        let in_minute = since.saturating_sub(self.minute * MINUTE_MS);
        let span = self.complete.len() as u64 * MINUTE_MS + in_minute;
        Some(per_hour(self.complete.iter().sum::<u64>() + self.current, span))
    }

    /// Bytes an hour in the busiest ten minutes since it began. `None` in the first minute.
    pub fn busiest(&self, now_ms: u64) -> Option<u64> {
        let present = self.present(now_ms)?;
        Some(present.max(per_hour(self.busiest, MINUTES * MINUTE_MS)))
    }
}

fn per_hour(bytes: u64, span_ms: u64) -> u64 {
    let hour = u128::from(bytes) * 3_600_000 / u128::from(span_ms.max(1));
    u64::try_from(hour).unwrap_or(u64::MAX)
}

/// The paces of all lanes: each alone, and each together with those before it, which go on while it is evicted.
#[derive(Debug, Clone, Default)]
pub struct Paces {
    alone: Vec<Pace>,
    together: Vec<Pace>,
}

/// Present and busiest pace in bytes an hour, where known.
pub type Known = (Option<u64>, Option<u64>);

impl Paces {
    /// Notes how many bytes each lane has had in all, in order of priority.
    pub fn note(&mut self, now_ms: u64, totals: &[u64]) {
        self.alone.resize_with(totals.len(), Pace::default);
        self.together.resize_with(totals.len(), Pace::default);
        let mut sum = 0_u64;
        for ((alone, together), total) in self.alone.iter_mut().zip(&mut self.together).zip(totals) {
            sum = sum.saturating_add(*total);
            alone.note(now_ms, *total);
            together.note(now_ms, sum);
        }
    }

    /// For each lane: its own pace, and that of it and all before it.
    pub fn known(&self, now_ms: u64) -> Vec<(Known, Known)> {
        let known = |pace: &Pace| (pace.present(now_ms), pace.busiest(now_ms));
        self.alone.iter().zip(&self.together).map(|(alone, together)| (known(alone), known(together))).collect()
    }
}

/// The busiest pace in bytes an hour that segments show: of each the time of its first record and its bytes, in
/// order. `None` if they do not span ten minutes, or their times do not rise.
pub(super) fn busiest_of(segments: &[(u64, u64)]) -> Option<u64> {
    let mut busiest = None;
    let (mut start, mut bytes) = (0, 0_u64);
    for (index, &(time, _)) in segments.iter().enumerate().skip(1) {
        bytes += segments[index - 1].1;
        // The shortest span of at least ten minutes that ends here.
        while start + 1 < index && time.saturating_sub(segments[start + 1].0) >= MINUTES * MINUTE_MS {
            bytes -= segments[start].1;
            start += 1;
        }
        let span = time.saturating_sub(segments[start].0);
        if span >= MINUTES * MINUTE_MS {
            busiest = busiest.max(Some(per_hour(bytes, span)));
        }
    }
    busiest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 60 * MINUTE_MS;

    #[test]
    fn nothing_is_known_in_the_first_minute_and_what_was_there_before_does_not_count() {
        let mut pace = Pace::default();
        assert_eq!(pace.present(5), None);
        pace.note(1000, 1_000_000);
        pace.note(31_000, 1_000_100);
        assert_eq!(pace.present(31_000), None);
        assert_eq!(pace.present(61_000), Some(6000));
    }

    #[test]
    fn the_present_forgets_and_the_busiest_does_not() {
        let mut pace = Pace::default();
        let mut total = 0;
        for half in 0..=240 {
            pace.note(half * 30_000, total);
            // A thousand bytes a minute, but ten thousand in minutes 30 to 39.
            total += if (60..80).contains(&half) { 5000 } else { 500 };
        }
        assert_eq!(pace.present(2 * HOUR), Some(60_000));
        assert_eq!(pace.busiest(2 * HOUR), Some(600_000));
        // An hour later without a word: the present is nothing, the busiest stays.
        pace.note(3 * HOUR, total);
        pace.note(4 * HOUR, total);
        assert_eq!((pace.present(4 * HOUR), pace.busiest(4 * HOUR)), (Some(0), Some(600_000)));
    }

    #[test]
    fn lanes_are_told_alone_and_with_those_before_them() {
        let mut paces = Paces::default();
        paces.note(0, &[0, 0]);
        paces.note(HOUR / 60, &[10, 100]);
        let known = paces.known(HOUR / 60);
        assert_eq!((known[0].0.0, known[0].1.0), (Some(600), Some(600)));
        assert_eq!((known[1].0.0, known[1].1.0), (Some(6000), Some(6600)));
    }

    #[test]
    fn segments_show_their_busiest_ten_minutes() {
        let minute = |minute: u64| 1_795_336_200_000 + minute * MINUTE_MS;
        assert_eq!(busiest_of(&[]), None);
        assert_eq!(busiest_of(&[(minute(0), 100), (minute(9), 100)]), None);
        assert_eq!(busiest_of(&[(minute(0), 100), (minute(60), 1)]), Some(100));
        let segments = [(minute(0), 100), (minute(60), 100), (minute(65), 300), (minute(71), 7), (minute(100), 1)];
        assert_eq!(busiest_of(&segments), Some(400 * 60 / 11));
        // Times that fall show nothing.
        assert_eq!(busiest_of(&[(minute(60), 100), (minute(0), 100)]), None);
    }

    proptest! {
        #[test]
        fn the_busiest_is_never_below_the_present_nor_above_what_came(
            notes in proptest::collection::vec((1_u64..400_000, 0_u64..10_000_000), 1..60),
        ) {
            let (mut pace, mut now, mut total) = (Pace::default(), 0, 0);
            for (after, bytes) in notes {
                now += after;
                total += bytes;
                pace.note(now, total);
                if let (Some(present), Some(busiest)) = (pace.present(now), pace.busiest(now)) {
                    prop_assert!(present <= busiest);
                    // At most everything within one minute, the shortest span that is judged.
                    prop_assert!(busiest <= total * 60);
                }
            }
        }
    }
}
