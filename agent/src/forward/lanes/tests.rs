//! Tests of the order of lanes: shares, and how long anyone waits.

use super::*;
use proptest::prelude::*;

/// The largest batch of these tests, in bytes.
const LARGEST: usize = 70_000;

fn lane(weight: u32, first: bool) -> LaneOptions {
    LaneOptions { weight, first, windowed: false }
}

/// Gives `bytes` to whoever is next among the `ready`.
fn send(order: &mut LaneOrder, bytes: usize, ready: impl Fn(usize) -> bool) -> usize {
    let turn = order.pick(|lane| ready(lane).then_some(bytes)).expect("one is ready");
    order.charge(turn);
    turn.lane
}

#[test]
fn a_first_lane_gets_nine_of_ten_bytes_at_most_while_others_wait_and_they_share_the_rest() {
    let mut order = LaneOrder::new(&LaneOptions::defaults());
    let mut sent = [0; 3];
    for _ in 0..1000 {
        sent[send(&mut order, 1000, |_| true)] += 1;
    }
    assert_eq!(sent, [900, 80, 20]);
}

#[test]
fn a_first_lane_has_all_that_nobody_else_wants_and_owes_nothing_for_it() {
    let mut order = LaneOrder::new(&LaneOptions::defaults());
    for _ in 0..1000 {
        assert_eq!(send(&mut order, 1000, |lane| lane == 0), 0);
    }
    for _ in 0..9 {
        assert_eq!(send(&mut order, 1000, |_| true), 0);
    }
    assert_eq!(send(&mut order, 1000, |_| true), 1);
}

#[test]
fn first_lanes_share_by_weight_among_themselves() {
    let mut order = LaneOrder::new(&[lane(3, true), lane(1, true)]);
    let mut sent = [0; 2];
    for _ in 0..400 {
        sent[send(&mut order, 1000, |_| true)] += 1;
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
        send(&mut order, 1000, |lane| lane == 0);
    }
    let next: Vec<_> = (0..6).map(|_| send(&mut order, 1000, |_| true)).collect();
    assert_eq!(next.iter().filter(|lane| **lane == 1).count(), 3, "{next:?}");
    assert_eq!(order.pick(|_| None), None);
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
            sent[send(&mut order, *size, |_| true)] += size;
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
        lanes in proptest::collection::vec((1_u32..10, any::<bool>(), 1..LARGEST), 2..8),
        ready in proptest::collection::vec(any::<u8>(), 400),
    ) {
        let options: Vec<_> = lanes.iter().map(|(weight, first, _)| lane(*weight, *first)).collect();
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
            let turn = order.pick(|index| waits[index].then_some(lanes[index].2)).expect("one is ready");
            order.charge(turn);
            waits[turn.lane] = false;
            for (index, waited) in waited.iter_mut().enumerate() {
                *waited = if waits[index] { *waited + turn.bytes } else { 0 };
            }
            for (index, waited) in waited.iter().enumerate() {
                prop_assert!(*waited <= bound(&lanes, index), "lane {index} waits for {waited} bytes: {lanes:?}");
            }
        }
    }

    /// Whatever came before: once first lanes pause for one turn, their next batch goes next.
    #[test]
    fn a_batch_of_a_first_lane_that_comes_alone_waits_for_no_other_than_the_one_in_flight(
        before in proptest::collection::vec((1..LARGEST, any::<bool>()), 0..100), size in 1..LARGEST,
    ) {
        let mut order = LaneOrder::new(&LaneOptions::defaults());
        for (size, first) in before {
            send(&mut order, size, |lane| first || lane > 0);
        }
        send(&mut order, 1, |lane| lane > 0);
        prop_assert_eq!(send(&mut order, size, |_| true), 0);
    }

    #[test]
    fn a_first_lane_goes_before_the_others_within_its_share_and_never_exceeds_it(
        sizes in proptest::collection::vec((1..LARGEST, 1..LARGEST, 1..LARGEST), 500),
    ) {
        let mut order = LaneOrder::new(&LaneOptions::defaults());
        let mut sent = [0_usize; 3];
        for size in sizes {
            let turn = order.pick(|lane| Some([size.0, size.1, size.2][lane])).expect("all are ready");
            order.charge(turn);
            sent[turn.lane] += turn.bytes;
            let others = sent[1] + sent[2];
            prop_assert!(sent[0] <= FIRST_BYTES * (others + LARGEST) + LARGEST, "{sent:?}");
            prop_assert!(others * FIRST_BYTES <= sent[0], "the others had more than they earned: {sent:?}");
        }
    }
}

/// Bytes that may go before a lane that waits: what its own class sends by the weights, and nine times that, and more
/// for the batches on the edge, of the other.
fn bound(lanes: &[(u32, bool, usize)], index: usize) -> usize {
    let (weight, first, own) = lanes[index];
    let class: usize = lanes
        .iter()
        .filter(|lane| lane.1 == first)
        .map(|lane| lane.2 + own * lane.0 as usize / weight as usize + lane.2 * lane.0 as usize / weight as usize)
        .sum();
    class + FIRST_BYTES * (class + 2 * LARGEST) + LARGEST
}
