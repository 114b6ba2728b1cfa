//! What the forwarder logs, and how often.
//!
//! A verdict is logged when it is news: isolating one bad record changes it with every request, so a change to the
//! same word is logged above debug at most once in [`LOG_EVERY`]. Records that are put aside are rare and precious:
//! each batch of them gets its own line, [`ASIDE_LINES`] a minute, and what is more than that is summed up lane by
//! lane when the minute is over, so that no sequence number is without a line that spans it.

use crate::code::Code;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::verdict::{Verdict, shown};

/// Transient failures in a row that are worth a line in the log.
const TRANSIENT_NEWS: u32 = 3;

/// A change of verdict to the same word is logged above debug at most so often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Put-asides that get their own line within one [`LOG_EVERY`]: a device that publishes what Flux does not take shows
/// its pattern in fewer, and a log on flash is not filled by them.
const ASIDE_LINES: u32 = 20;

/// What was logged.
#[derive(Debug, Default)]
pub(super) struct Report {
    logged: HashMap<&'static str, Instant>,
    /// Verdicts of the same word in a row, and the word last logged.
    streak: (&'static str, u32),
    last_logged: &'static str,
    aside: Aside,
}

impl Report {
    /// Logs a verdict that is news. A cut connection is none: SORACOM ends sessions at any time without notice, so a
    /// transient failure is logged when it has lasted for [`TRANSIENT_NEWS`] tries.
    pub(super) fn verdict(&mut self, verdict: Verdict, code: Option<Code>, reason: &str, now: Instant) {
        let (word, advice) = (verdict.word(), verdict.advice().to_string());
        self.streak = if self.streak.0 == word { (word, self.streak.1.saturating_add(1)) } else { (word, 1) };
        let passing = verdict == Verdict::Transient { costly: false } && self.streak.1 < TRANSIENT_NEWS;
        if passing || self.last_logged == word || !self.may_log(word, now) {
            tracing::debug!(verdict = word, reason, "verdict");
            return;
        }
        let first = std::mem::replace(&mut self.last_logged, word).is_empty();
        match verdict {
            Verdict::Accepted if first => tracing::info!("Flux accepts records"),
            Verdict::Accepted => tracing::info!("Flux accepts records again"),
            Verdict::Suspended | Verdict::Quota { .. } | Verdict::Ended | Verdict::Misconfigured => {
                tracing::error!(
                    code = code.map(tracing::field::display),
                    verdict = word,
                    reason,
                    advice,
                    "Flux takes nothing until somebody acts; records are kept"
                );
            }
            _ => {
                let code = code.map(tracing::field::display);
                tracing::warn!(code, verdict = word, reason, advice, "Flux does not accept; records are kept");
            }
        }
    }

    fn may_log(&mut self, what: &'static str, now: Instant) -> bool {
        let last = self.logged.get(what);
        let may = last.is_none_or(|last| now.saturating_duration_since(*last) >= LOG_EVERY);
        if may {
            self.logged.insert(what, now);
        }
        may
    }

    /// Logs that a batch of lane `index` is put aside, now or with others when the minute is over.
    pub(super) fn put_aside(&mut self, index: usize, batch: &Batch, reason: &str, now: Instant) {
        self.put_asides_due(now);
        let (first, last, records, lane) = (batch.first(), batch.last(), batch.events, shown(&batch.lane_name));
        if self.aside.note(index, &lane, (first, last, records as u64), now) {
            tracing::warn!(
                code = %Code::PutAside,
                lane,
                first,
                last,
                records,
                reason,
                "records put aside: others can be delivered, these cannot"
            );
        } else {
            tracing::debug!(lane, first, last, records, reason, "records put aside");
        }
    }

    /// When [`Report::put_asides_due`] has something to log.
    pub(super) fn due(&self) -> Option<Instant> {
        self.aside.due()
    }

    /// Sums up the put-asides that got no line of their own, if their minute is over.
    pub(super) fn put_asides_due(&mut self, now: Instant) {
        if self.aside.due().is_some_and(|due| due <= now) {
            self.put_asides_left();
        }
    }

    /// Sums up the put-asides that got no line of their own.
    pub(super) fn put_asides_left(&mut self) {
        for Left { lane, first, last, records } in self.aside.take() {
            tracing::warn!(lane, first, last, records, "more records put aside, between these sequence numbers");
        }
    }
}

/// Put-asides of one lane that got no line of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    lane: String,
    /// The lowest and the highest sequence number.
    first: u64,
    last: u64,
    records: u64,
}

/// Which put-asides get a line of their own. Pure.
#[derive(Debug, Default)]
struct Aside {
    since: Option<Instant>,
    lines: u32,
    /// By lane, so there are at most as many as the store has lanes.
    left: HashMap<usize, Left>,
}

impl Aside {
    /// Notes that records from `first` to `last` of a lane are put aside; says whether they get a line.
    fn note(&mut self, index: usize, lane: &str, (first, last, records): (u64, u64, u64), now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= LOG_EVERY) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines < ASIDE_LINES {
            self.lines += 1;
            return true;
        }
        let left = self.left.entry(index).or_insert_with(|| Left { lane: lane.to_owned(), first, last, records: 0 });
        left.first = left.first.min(first);
        left.last = left.last.max(last);
        left.records = left.records.saturating_add(records);
        false
    }

    fn due(&self) -> Option<Instant> {
        self.since.filter(|_| !self.left.is_empty()).map(|since| since + LOG_EVERY)
    }

    fn take(&mut self) -> Vec<Left> {
        let mut left: Vec<(usize, Left)> = self.left.drain().collect();
        left.sort_unstable_by_key(|(index, _)| *index);
        left.into_iter().map(|(_, left)| left).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_a_minute_get_a_line_each_and_the_rest_one_by_lane_at_its_end() {
        let (mut aside, start) = (Aside::default(), Instant::now());
        let second = Duration::from_secs(1);
        for seq in 0..u64::from(ASIDE_LINES) {
            assert!(aside.note(1, "normal", (seq, seq, 1), start + second), "{seq}");
        }
        assert_eq!(aside.due(), None, "nothing is left over");
        assert!(!aside.note(1, "normal", (90, 93, 4), start + 2 * second));
        assert!(!aside.note(0, "critical", (7, 7, 1), start + 3 * second));
        assert!(!aside.note(1, "normal", (60, 60, 1), start + 4 * second));
        assert_eq!(aside.due(), Some(start + second + LOG_EVERY));
        let left = |lane: &str, first, last, records| Left { lane: lane.into(), first, last, records };
        assert_eq!(aside.take(), [left("critical", 7, 7, 1), left("normal", 60, 93, 5)]);
        assert_eq!(aside.due(), None);
        assert!(!aside.note(1, "normal", (95, 95, 1), start + 30 * second), "the minute is not over");
        assert_eq!(aside.take(), [left("normal", 95, 95, 1)]);
        assert!(aside.note(1, "normal", (96, 96, 1), start + second + LOG_EVERY));
    }

    proptest! {
        #[test]
        fn every_record_is_in_a_line_and_lines_are_few(
            steps in proptest::collection::vec((0_usize..3, 0_u64..3_000), 1..400),
        ) {
            let (mut aside, mut now, mut lines, mut told) = (Aside::default(), Instant::now(), 0, 0);
            let start = now;
            for (seq, (lane, pause)) in steps.iter().enumerate() {
                now += Duration::from_millis(*pause);
                if aside.due().is_some_and(|due| due <= now) {
                    let left = aside.take();
                    lines += left.len() as u64;
                    told += left.iter().map(|left| left.records).sum::<u64>();
                }
                if aside.note(*lane, "lane", (seq as u64, seq as u64, 1), now) {
                    lines += 1;
                    told += 1;
                }
            }
            told += aside.take().iter().map(|left| left.records).sum::<u64>();
            prop_assert_eq!(told, steps.len() as u64);
            let minutes = (now - start).as_secs() / LOG_EVERY.as_secs() + 1;
            prop_assert!(lines <= minutes * (u64::from(ASIDE_LINES) + 3), "{} lines in {} minutes", lines, minutes);
        }
    }
}
