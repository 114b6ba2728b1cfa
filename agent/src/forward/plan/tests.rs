//! Tests of the plan: a model lane that stores, delivers, falls behind, evicts and replays at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::spans::END;
use super::*;

/// What happens next to the model.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many records are stored.
    Store(u64),
    /// A stream tries what it would, in batches of this many; what comes of it.
    Try(bool, u64, Answer),
    /// The lane has fallen behind.
    Behind,
    /// Delivered records are to be replayed.
    Replay(u64, u64),
    /// The oldest so many numbers are evicted.
    Evict(u64),
    /// The order is set.
    Reorder(Order),
    /// What is done with is committed, and what others changed is taken in.
    Follow,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Accept,
    Refuse,
    NotTaken,
    Cut,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![6 => Just(Answer::Accept), 1 => Just(Answer::Refuse), 1 => Just(Answer::NotTaken), 2 => Just(Answer::Cut)]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::OldestFirst), Just(Order::LiveFirst)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..40).prop_map(Step::Store),
        12 => (any::<bool>(), 1_u64..20, answer()).prop_map(|(live, batch, answer)| Step::Try(live, batch, answer)),
        2 => Just(Step::Behind),
        1 => (0_u64..400, 1_u64..60).prop_map(|(from, count)| Step::Replay(from, from + count)),
        1 => (1_u64..10).prop_map(Step::Evict),
        1 => order().prop_map(Step::Reorder),
        3 => Just(Step::Follow),
    ]
}

/// A lane of the store, with the plan that delivers it.
struct Model {
    plan: Plan,
    /// What waits in the store, without a bound: exact.
    waiting: BTreeSet<u64>,
    /// The same as the store has it, and as the plan last saw it less what is acknowledged.
    stored: Ranges,
    seen: Ranges,
    end: u64,
    /// Times each record was delivered or put aside, and is to be.
    settled: BTreeMap<u64, u32>,
    expected: BTreeMap<u64, u32>,
    done: Spans,
    /// Since something was evicted: what was read before may be settled though it no longer waits.
    evicted: BTreeSet<u64>,
    kept_from: u64,
    order: Vec<(Side, u64)>,
}

impl Model {
    fn new(order: Order) -> Self {
        Self {
            plan: Plan::new(order, &Ranges::default(), 0),
            waiting: BTreeSet::new(),
            stored: Ranges::default(),
            seen: Ranges::default(),
            end: 0,
            settled: BTreeMap::new(),
            expected: BTreeMap::new(),
            done: Spans::default(),
            evicted: BTreeSet::new(),
            kept_from: 0,
            order: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Store(count) => {
                for seq in self.end..self.end + count {
                    self.waiting.insert(seq);
                    self.expected.insert(seq, 1);
                }
                self.end += count;
            }
            Step::Try(live, batch, answer) => {
                let side = if live { Side::Live } else { Side::Backlog };
                self.attempt(side, batch, answer);
            }
            Step::Behind => {
                self.plan.move_live(self.end);
            }
            Step::Replay(from, below) => {
                self.follow();
                // What was evicted is no longer kept.
                let (from, below) = (from.max(self.kept_from), below.min(self.end));
                for seq in from..below {
                    if self.waiting.insert(seq) {
                        *self.expected.entry(seq).or_default() += 1;
                    }
                }
                self.stored.insert(from, below);
            }
            Step::Evict(count) => {
                self.follow();
                let below = (self.stored.first() + count).min(self.end);
                self.stored.remove(0, below);
                self.kept_from = self.kept_from.max(below);
                while self.waiting.first().is_some_and(|seq| *seq < below) {
                    self.evicted.extend(self.waiting.pop_first());
                }
            }
            Step::Reorder(order) => self.plan.reorder(order),
            Step::Follow => self.follow(),
        }
        self.check();
    }

    /// Commits acknowledgements, then takes in what others changed, as the pump does.
    fn follow(&mut self) {
        for span in std::mem::take(&mut self.done).iter() {
            self.stored.remove(span.from, span.below);
            self.seen.remove(span.from, span.below);
            for seq in span.from..span.below {
                self.waiting.remove(&seq);
            }
        }
        let before = std::mem::replace(&mut self.seen, self.stored.clone());
        self.plan.wait_for(&before, &self.stored);
    }

    /// What the stream would do next: a request of at most `batch` records.
    fn attempt(&mut self, side: Side, batch: u64, answer: Answer) {
        let next = self.plan.next(side, || self.end);
        let span = match next {
            Next::Wait => unreachable!("each try is settled before the next"),
            Next::Fresh => {
                let Some(range) = self.plan.untried(side, 0) else { return };
                let span = Span::new(range.from, range.below.min(range.from + batch).min(self.end));
                if span.from >= span.below {
                    return;
                }
                self.plan.begin_fresh(side, span);
                span
            }
            Next::Again { span, .. } => {
                self.plan.begin(side, next);
                let below = span.below.min(span.from + batch);
                self.plan.course_mut(side).ends_at(below);
                Span::new(span.from, below)
            }
            Next::Beyond { seq, .. } => {
                let announced = self.plan.begin(side, next).expect("it says what to announce");
                assert!(announced.from <= seq && announced.below == seq + 1);
                Span::new(seq, seq + 1)
            }
        };
        let outcome = match answer {
            Answer::Accept => Outcome::Accepted,
            Answer::Refuse => Outcome::Refused { first: span.from, last: span.below - 1 },
            Answer::NotTaken => Outcome::NotTaken,
            Answer::Cut => Outcome::Unjudged,
        };
        let settled = self.plan.settle(side, outcome, 0);
        if outcome == Outcome::Accepted {
            self.plan.prove();
        }
        let Some(done) = settled.done else { return };
        assert_eq!(done, span);
        self.done.insert(done);
        for seq in done.from..done.below {
            self.order.push((side, seq));
            *self.settled.entry(seq).or_default() += 1;
        }
    }

    /// What always holds.
    fn check(&self) {
        for (seq, times) in &self.settled {
            let expected = self.expected.get(seq).copied().unwrap_or(0);
            assert!(*times <= expected, "{seq} was settled {times} times, {expected} were due");
        }
        let ranges = self.plan.owed.within(Span::new(0, self.plan.split)).count();
        assert!(ranges <= Ranges::LIMIT, "{ranges} ranges of backlog");
        assert_eq!(self.plan.owed.last().map(|span| span.below), Some(END));
        assert!(self.plan.split >= self.plan.open_from());
        if self.plan.order == Order::OldestFirst {
            assert_eq!(self.plan.split, self.plan.open_from());
        }
    }

    /// Delivers what is left, the endpoint taking everything.
    fn drain(&mut self) {
        self.follow();
        for _ in 0..20_000 {
            let before = self.settled.values().sum::<u32>();
            self.attempt(Side::Backlog, 500, Answer::Accept);
            self.attempt(Side::Live, 500, Answer::Accept);
            if self.settled.values().sum::<u32>() == before && self.plan.courses.iter().all(Course::is_clear) {
                break;
            }
        }
        self.follow();
    }
}

proptest! {
    /// Without a crash, each record is delivered or put aside once for each time that it is due, whatever is accepted,
    /// refused or cut, whenever the lane falls behind, the order is changed, records are evicted or replayed.
    #[test]
    fn every_record_is_settled_once_each_time_it_is_due(
        order in order(), steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::new(order);
        for step in steps {
            model.step(step);
        }
        model.drain();
        prop_assert!(model.waiting.is_empty(), "{:?} wait for ever", model.waiting);
        for (seq, expected) in &model.expected {
            let settled = model.settled.get(seq).copied().unwrap_or(0);
            let lost = model.evicted.contains(seq);
            prop_assert!(settled == *expected || (lost && settled < *expected), "{seq}: {settled} of {expected}");
        }
        prop_assert_eq!(model.plan.backlog(), 0);
    }

    /// Within each stream, order is by number as long as nothing is refused, replayed or reordered.
    #[test]
    fn each_stream_is_in_order(
        tries in proptest::collection::vec((0_u8..6, 1_u64..20, any::<bool>()), 1..200),
    ) {
        let mut model = Model::new(Order::LiveFirst);
        for (what, size, taken) in tries {
            let answer = if taken { Answer::Accept } else { Answer::Cut };
            model.step(match what {
                0 | 1 => Step::Store(size * 2),
                2 => Step::Behind,
                3 => Step::Try(false, size, answer),
                _ => Step::Try(true, size, answer),
            });
        }
        for side in Side::BOTH {
            let seqs: Vec<u64> = model.order.iter().filter(|(of, _)| *of == side).map(|(_, seq)| *seq).collect();
            prop_assert!(seqs.is_sorted(), "{side:?}: {seqs:?}");
        }
    }
}

#[test]
fn in_oldest_first_order_all_is_one_stream_as_long_as_there_are_no_holes() {
    let plan = Plan::new(Order::OldestFirst, &Ranges::from(5), 100);
    assert!(!plan.has_backlog());
    assert_eq!(plan.untried(Side::Live, 0), Some(Span::new(5, END)));
    let mut waiting = Ranges::from(5);
    waiting.remove(10, 20);
    let plan = Plan::new(Order::OldestFirst, &waiting, 100);
    assert!(plan.has_backlog());
    assert_eq!(plan.untried(Side::Backlog, 0), Some(Span::new(5, 10)));
    assert_eq!(plan.untried(Side::Live, 0), Some(Span::new(20, END)));
}

#[test]
fn live_goes_on_at_the_end_and_what_waits_is_the_backlog_until_there_are_too_many_ranges() {
    let mut plan = Plan::new(Order::LiveFirst, &Ranges::from(5), 100);
    assert_eq!(plan.untried(Side::Backlog, 0), Some(Span::new(5, 100)));
    assert_eq!(plan.untried(Side::Live, 0), Some(Span::new(100, END)));
    for outage in 1..200 {
        let from = plan.untried(Side::Live, 0).expect("live never ends").from;
        plan.begin_fresh(Side::Live, Span::new(from, from + 1));
        assert!(!plan.move_live(outage * 100 + 100), "not while its batch is with Flux");
        plan.settle(Side::Live, Outcome::Accepted, 0);
        let moved = plan.move_live(outage * 100 + 100);
        assert_eq!(moved, outage < BACKLOG_RANGES as u64, "{outage}");
    }
    plan.reorder(Order::OldestFirst);
    assert_eq!(plan.untried(Side::Backlog, 0), Some(Span::new(5, 100)), "the oldest go first");
}

#[test]
fn what_was_cut_before_live_moved_is_the_backlogs_to_repeat() {
    let mut plan = Plan::new(Order::LiveFirst, &Ranges::default(), 0);
    plan.begin_fresh(Side::Live, Span::new(0, 10));
    plan.settle(Side::Live, Outcome::Unjudged, 0);
    assert!(plan.move_live(50));
    assert!(plan.course(Side::Live).is_clear());
    assert_eq!(plan.untried(Side::Backlog, 0), Some(Span::new(0, 50)));
    assert!(plan.take_moved(Side::Live) && plan.take_moved(Side::Backlog) && !plan.take_moved(Side::Live));
}

#[test]
fn records_to_be_replayed_are_backlog_in_either_order() {
    for order in [Order::OldestFirst, Order::LiveFirst] {
        let before = Ranges::from(80);
        let mut plan = Plan::new(order, &before, 80);
        let mut now = before.clone();
        now.insert(10, 20);
        assert_eq!(plan.wait_for(&before, &now), [Span::new(10, 20)]);
        assert_eq!(plan.untried(Side::Backlog, 0), Some(Span::new(10, 20)));
        assert_eq!(plan.untried(Side::Live, 0), Some(Span::new(80, END)));
        assert!(plan.take_moved(Side::Backlog) && !plan.take_moved(Side::Live), "{order:?}");
    }
}

#[test]
fn records_replayed_just_below_those_that_come_next_keep_their_order() {
    let before = Ranges::from(80);
    let mut plan = Plan::new(Order::OldestFirst, &before, 80);
    let mut now = before.clone();
    now.insert(70, 80);
    plan.wait_for(&before, &now);
    assert_eq!(plan.untried(Side::Live, 0), Some(Span::new(70, END)));
    assert!(plan.take_moved(Side::Live), "what was read ahead is not what comes next");
}
