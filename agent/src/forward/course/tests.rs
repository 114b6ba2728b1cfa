//! Tests of the course: a model lane of numbered records and an endpoint that refuses some of them.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What the model endpoint does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Accept,
    Refuse,
    NotTaken,
    Cut,
}

#[derive(Debug, Default)]
struct Run {
    delivered: Vec<u64>,
    put_aside: Vec<u64>,
    requests: usize,
    /// Requests that would have waited for the back-off.
    paced: usize,
    acknowledged: Spans,
}

/// Drives a course over `records` (those that exist) until all are settled or `limit` requests were made.
fn drive(records: &BTreeSet<u64>, batch: usize, limit: usize, mut reply: impl FnMut(&[u64], usize) -> Reply) -> Run {
    let mut course = Course::default();
    let mut run = Run::default();
    let end = records.last().map_or(0, |last| last + 1);
    let mut owed: Spans = [(0, end)].into_iter().collect();
    while run.requests < limit {
        let next = course.next(|| Untried { owed: &owed, from: 0, below: end });
        let untried = owed.next_from(0);
        let (range, count, paced) = match (next, untried) {
            (Next::Wait, _) => unreachable!("each try is settled before the next"),
            (Next::Fresh, None) => break,
            (Next::Fresh, Some(untried)) => (untried, batch, false),
            (Next::Beyond { seq, paced }, _) => (Span { from: seq, below: seq + 1 }, 1, paced),
            (Next::Again { span, paced }, _) => (span, batch, paced),
        };
        let held: Vec<u64> = records.range(range.from..range.below).copied().take(count).collect();
        let below = if held.len() < count { range.below } else { held.last().map_or(range.below, |last| last + 1) };
        if let Next::Beyond { seq, .. } = next {
            let upto = Span { from: 0, below: seq + 1 };
            let skipped: Vec<Span> = owed.within(Span { below: seq, ..upto }).collect();
            owed.remove(upto);
            course.begin(next, skipped);
        } else if next == Next::Fresh {
            let span = Span { below, ..range };
            owed.remove(span);
            course.begin_fresh(span);
        } else {
            course.begin(next, []);
            course.ends_at(below);
        }
        let Some((&first, &last)) = held.first().zip(held.last()) else {
            run.done(course.settle(Outcome::Empty), records);
            continue;
        };
        run.requests += 1;
        run.paced += usize::from(paced);
        let outcome = match reply(&held, run.requests) {
            Reply::Accept => Outcome::Accepted,
            Reply::Refuse => Outcome::Refused { first, last },
            Reply::NotTaken => Outcome::NotTaken,
            Reply::Cut => Outcome::Unjudged,
        };
        let accepted = outcome == Outcome::Accepted;
        let settled = course.settle(outcome);
        if accepted {
            run.delivered.extend(&held);
            course.prove();
        } else if settled.put_aside {
            run.put_aside.extend(&held);
        }
        run.done(settled, records);
    }
    run
}

impl Run {
    /// Notes what is done with: each record once, and only if it was delivered or put aside.
    fn done(&mut self, settled: Settled, records: &BTreeSet<u64>) {
        let Some(span) = settled.done else { return };
        for seq in records.range(span.from..span.below) {
            assert!(self.delivered.contains(seq) || self.put_aside.contains(seq), "{seq} acknowledged and not settled");
            assert!(!self.acknowledged.contains(*seq), "{seq} acknowledged twice");
        }
        self.acknowledged.insert(span);
    }
}

fn count(values: &[u64]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(*value).or_default() += 1;
    }
    counts
}

proptest! {
    #[test]
    fn every_good_record_is_delivered_once_and_every_bad_one_is_put_aside(
        records in proptest::collection::btree_set(0_u64..300, 1..120),
        bad_share in 0_u64..100, salt: u64, batch in 1_usize..40, cuts in 0_usize..4,
    ) {
        let hash = |seq: u64| (seq ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let bad = |seq: &u64| hash(*seq) % 100 < bad_share;
        let good: Vec<u64> = records.iter().copied().filter(|seq| !bad(seq)).collect();
        prop_assume!(!good.is_empty());
        let (mut accepted_at, mut refused_at) = (0, BTreeMap::new());
        let run = drive(&records, batch, 1_500, |held, request| {
            if cuts > 0 && request % (cuts + 3) == 0 {
                Reply::Cut
            } else if held.iter().any(bad) {
                if held.len() == 1 {
                    refused_at.entry(held[0]).or_insert(request);
                }
                Reply::Refuse
            } else {
                accepted_at = request;
                Reply::Accept
            }
        });
        let delivered = count(&run.delivered);
        prop_assert!(delivered.values().all(|times| *times == 1), "{delivered:?}");
        prop_assert_eq!(delivered.keys().copied().collect::<Vec<_>>(), good.clone());
        let bad_ones: Vec<u64> = records.iter().copied().filter(bad).collect();
        let aside = count(&run.put_aside);
        prop_assert!(aside.values().all(|times| *times == 1));
        // One that was refused when nothing good was left waits: nothing proves that the endpoint takes records.
        for seq in bad_ones.iter().filter(|seq| !aside.contains_key(seq)) {
            prop_assert!(refused_at[seq] > accepted_at, "{seq} waits, and another was accepted after its refusal");
        }
        prop_assert!(run.put_aside.iter().all(bad));
    }

    #[test]
    fn an_endpoint_that_refuses_everything_for_a_while_loses_nothing(
        count in 1_u64..200, batch in 1_usize..50, from in 0_usize..30, length in 1_usize..100,
    ) {
        let records: BTreeSet<u64> = (0..count).collect();
        let run = drive(&records, batch, 5_000, |_, request| {
            if (from..from + length).contains(&request) { Reply::Refuse } else { Reply::Accept }
        });
        prop_assert!(run.put_aside.is_empty(), "{:?}", run.put_aside);
        let mut delivered = run.delivered;
        delivered.sort_unstable();
        prop_assert_eq!(delivered, records.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_put_aside_while_everything_fails(
        count in 1_u64..600, batch in 1_usize..500, kinds in proptest::collection::vec(0_u8..3, 1..20),
    ) {
        let records: BTreeSet<u64> = (0..count).collect();
        let run = drive(&records, batch, 600, |_, request| match kinds[request % kinds.len()] {
            0 => Reply::Refuse,
            1 => Reply::NotTaken,
            _ => Reply::Cut,
        });
        prop_assert!(run.put_aside.is_empty() && run.delivered.is_empty());
        prop_assert!(run.acknowledged.is_empty());
        prop_assert_eq!(run.requests, 600);
    }
}

#[test]
fn one_bad_record_of_500_costs_about_twice_the_depth() {
    let records: BTreeSet<u64> = (0..1000).collect();
    let run = drive(&records, 500, 1000, |held, _| if held.contains(&250) { Reply::Refuse } else { Reply::Accept });
    assert_eq!(run.put_aside, [250]);
    assert_eq!(run.delivered.len(), 999);
    assert!(run.requests <= 22, "{} requests", run.requests);
    assert_eq!(run.paced, 0);
}

#[test]
fn refusals_in_a_row_are_paced_after_the_free_ones() {
    let records: BTreeSet<u64> = (0..500).collect();
    let run = drive(&records, 500, 1000, |_, _| Reply::Refuse);
    let free = run.requests - run.paced;
    assert!(free <= FREE_REFUSALS as usize + 1, "{free} were free");
}

#[test]
fn a_run_of_bad_records_is_stepped_over_by_doubling() {
    let records: BTreeSet<u64> = (0..500).collect();
    let mut first_good = 0;
    let run = drive(&records, 500, 10_000, |held, request| {
        if held.iter().any(|seq| *seq < 400) {
            return Reply::Refuse;
        }
        if first_good == 0 {
            first_good = request;
        }
        Reply::Accept
    });
    assert!(first_good <= 22, "a good one was found at request {first_good}");
    assert_eq!(run.put_aside.len(), 400);
    assert_eq!(run.delivered.len(), 100);
}

/// What a course does next that has nothing untried.
fn next(course: &Course) -> Next {
    course.next(|| Untried { owed: &NONE, from: 0, below: 8 })
}

static NONE: std::sync::LazyLock<Spans> = std::sync::LazyLock::new(Spans::default);

#[test]
fn a_lone_bad_record_waits_until_another_is_accepted() {
    let mut course = Course::default();
    let span = Span { from: 7, below: 8 };
    course.begin_fresh(span);
    let refused = || Outcome::Refused { first: 7, last: 7 };
    assert_eq!(course.settle(refused()), Settled { done: None, put_aside: false, pace: Pace::Short });
    for _ in 0..100 {
        assert_eq!(next(&course), Next::Again { span, paced: true });
        course.begin(next(&course), []);
        let settled = course.settle(refused());
        assert!(!settled.put_aside && settled.done.is_none());
        assert!(course.is_in_doubt());
    }
    // Another stream's batch is accepted.
    course.prove();
    assert!(!course.is_in_doubt());
    assert_eq!(next(&course), Next::Again { span, paced: false });
    course.begin(next(&course), []);
    let settled = course.settle(refused());
    assert!(settled.put_aside);
    assert_eq!(settled.done, Some(span));
    assert_eq!(next(&course), Next::Fresh);
    assert!(course.is_clear());
}

#[test]
fn what_one_endpoint_accepts_proves_nothing_about_another() {
    let mut course = Course::default();
    let span = Span { from: 7, below: 8 };
    course.begin_fresh(span);
    let refused = || Outcome::Refused { first: 7, last: 7 };
    course.settle(refused());
    course.prove();
    course.change_endpoint();
    assert_eq!(next(&course), Next::Again { span, paced: true });
    course.begin(next(&course), []);
    assert!(!course.settle(refused()).put_aside);
    course.prove();
    course.begin(next(&course), []);
    course.change_endpoint();
    assert!(!course.settle(refused()).put_aside, "it was under way when the endpoint changed");
    course.prove();
    course.begin(next(&course), []);
    assert!(course.settle(refused()).put_aside);
}

#[test]
fn what_no_longer_waits_is_not_tried_again() {
    let mut course = Course::default();
    course.begin_fresh(Span { from: 0, below: 10 });
    course.settle(Outcome::Refused { first: 0, last: 9 });
    course.drop_span(Span { from: 0, below: 7 });
    assert_eq!(next(&course), Next::Again { span: Span { from: 7, below: 10 }, paced: false });
    course.drop_span(Span { from: 5, below: 20 });
    assert_eq!(next(&course), Next::Fresh);
}

#[test]
fn a_batch_that_is_not_taken_is_sent_three_times_in_all_while_others_are() {
    let records: BTreeSet<u64> = (0..60).collect();
    let mut sent = 0;
    let run = drive(&records, 20, 1000, |held, _| {
        if held.contains(&5) {
            sent += 1;
            return Reply::NotTaken;
        }
        Reply::Accept
    });
    assert_eq!(sent, usize::from(NOT_TAKEN_TRIES) + 1);
    assert_eq!(run.put_aside, (0..20).collect::<Vec<_>>());
    assert_eq!(run.delivered, (20..60).collect::<Vec<_>>());
}

#[test]
fn without_refusals_order_is_kept_whatever_is_cut() {
    let records: BTreeSet<u64> = (0..300).filter(|seq| seq % 7 != 3).collect();
    let run = drive(&records, 16, 1000, |_, request| if request % 3 == 0 { Reply::Cut } else { Reply::Accept });
    assert_eq!(run.delivered, records.into_iter().collect::<Vec<_>>());
}
