//! Tests of the order of lanes: shares, and how long anyone waits.

use super::*;
use proptest::prelude::*;

/// The largest batch of these tests, in bytes.
const LARGEST: usize = 70_000;

fn lane(weight: u32, first: bool) -> LaneOptions {
    LaneOptions { weight, first, windowed: false }
}

/// Gives `bytes` to whoever of the class is next among the `ready`.
fn send(order: &mut LaneOrder, class: Class, bytes: usize, ready: impl Fn(usize) -> bool) -> usize {
    let lane = order.pick(class, ready).expect("one is ready");
    order.charge(class, lane, bytes);
    lane
}

#[test]
fn lanes_of_a_class_share_by_weight_and_those_of_the_other_are_not_theirs_to_wait_for() {
    let mut order = LaneOrder::new(&LaneOptions::defaults());
    let mut sent = [0; 3];
    for _ in 0..1000 {
        sent[send(&mut order, Class::Other, 1000, |_| true)] += 1;
        sent[send(&mut order, Class::Critical, 1000, |_| true)] += 1;
    }
    assert_eq!(sent, [1000, 800, 200]);
    assert_eq!(order.pick(Class::Critical, |lane| lane > 0), None);
    assert_eq!(order.pick(Class::Other, |lane| lane == 0), None);
}

#[test]
fn first_lanes_share_by_weight_among_themselves() {
    let mut order = LaneOrder::new(&[lane(3, true), lane(1, true)]);
    let mut sent = [0; 2];
    for _ in 0..400 {
        sent[send(&mut order, Class::Critical, 1000, |_| true)] += 1;
    }
    assert_eq!(sent, [300, 100]);
}

#[test]
fn a_backlog_has_its_share_in_bytes_and_all_of_them_while_nothing_else_waits() {
    let mut fair = Fair::new([20, 80]);
    let mut sent = [0; 2];
    for round in 0..1000 {
        let next = fair.pick(|_| true).expect("both are ready");
        let bytes = if next == 0 { 1000 } else { 100 + round % 50 };
        fair.charge(next, bytes);
        sent[next] += bytes;
    }
    let share = sent[0] as f64 / (sent[0] + sent[1]) as f64;
    assert!((share - 0.2).abs() < 0.01, "{share}");
    assert_eq!(fair.pick(|which| which == 0), Some(0));
    assert_eq!(fair.pick(|which| which == 1), Some(1));
}

#[test]
fn silence_earns_no_credit() {
    let mut order = LaneOrder::new(&[lane(1, false), lane(1, false)]);
    for _ in 0..1000 {
        send(&mut order, Class::Other, 1000, |lane| lane == 0);
    }
    let next: Vec<_> = (0..6).map(|_| send(&mut order, Class::Other, 1000, |_| true)).collect();
    assert_eq!(next.iter().filter(|lane| **lane == 1).count(), 3, "{next:?}");
    assert_eq!(order.pick(Class::Other, |_| false), None);
}

proptest! {
    #[test]
    fn shares_follow_the_weights_in_bytes_whatever_the_sizes(
        weights in proptest::collection::vec(1_u32..20, 2..5),
        sizes in proptest::collection::vec(1..LARGEST, 2_000),
    ) {
        let lanes: Vec<_> = weights.iter().map(|weight| lane(*weight, false)).collect();
        let mut order = LaneOrder::new(&lanes);
        let mut sent = vec![0_usize; lanes.len()];
        for size in &sizes {
            sent[send(&mut order, Class::Other, *size, |_| true)] += size;
        }
        // Two lanes that always have work never drift further apart than one batch each (Golestani's bound).
        for (a, b) in (0..lanes.len()).flat_map(|a| (0..lanes.len()).map(move |b| (a, b))) {
            let normal = |lane: usize| sent[lane] as f64 / f64::from(weights[lane]);
            let slack = LARGEST as f64 / f64::from(weights[a]) + LARGEST as f64 / f64::from(weights[b]);
            prop_assert!((normal(a) - normal(b)).abs() <= slack + 1.0, "{sent:?} for {weights:?}");
        }
    }

    /// Lanes come and go, each with batches of its own size; whoever keeps waiting is served within a bound in bytes.
    #[test]
    fn no_lane_that_waits_goes_without_for_longer_than_its_share_allows(
        lanes in proptest::collection::vec((1_u32..10, 1..LARGEST), 2..8),
        ready in proptest::collection::vec(any::<u8>(), 400),
        first in any::<bool>(),
    ) {
        let class = if first { Class::Critical } else { Class::Other };
        let options: Vec<_> = lanes.iter().map(|(weight, _)| lane(*weight, first)).collect();
        let mut order = LaneOrder::new(&options);
        let mut waited = vec![0_usize; lanes.len()];
        // A lane that waits stays ready until it is served.
        let mut waits = vec![false; lanes.len()];
        for bits in ready {
            for (index, waits) in waits.iter_mut().enumerate() {
                *waits |= bits >> index & 1 == 1;
            }
            if !waits.contains(&true) {
                continue;
            }
            let next = order.pick(class, |index| waits[index]).expect("one is ready");
            order.charge(class, next, lanes[next].1);
            waits[next] = false;
            for (index, waited) in waited.iter_mut().enumerate() {
                *waited = if waits[index] { *waited + lanes[next].1 } else { 0 };
            }
            for (index, waited) in waited.iter().enumerate() {
                prop_assert!(*waited <= bound(&lanes, index), "lane {index} waits for {waited} bytes: {lanes:?}");
            }
        }
    }
}

/// Bytes that may go before a lane that waits: what the others send by the weights, and more for the batches on the edge.
fn bound(lanes: &[(u32, usize)], index: usize) -> usize {
    let (weight, own) = lanes[index];
    let scaled = |bytes: usize, by: u32| bytes * by as usize / weight as usize;
    lanes.iter().map(|(other, bytes)| bytes + scaled(own, *other) + scaled(*bytes, *other)).sum()
}
