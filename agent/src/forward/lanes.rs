//! Which lane goes next. Pure.
//!
//! Lanes that are `immediate` go first, in their order. The others share by weight in bytes, not in batches, so that
//! a lane of small batches is not cheated: each lane has a virtual time that advances by bytes over weight with what
//! it sends, and the lane that is furthest behind goes (self-clocked fair queuing, Golestani 1994). A lane that had
//! nothing to send joins at the present virtual time: having been silent earns no credit.

use super::options::LaneOptions;

/// Virtual time per byte at weight 1; makes division by weights up to a million exact enough.
const SCALE: u64 = 1 << 20;

/// The order of lanes.
#[derive(Debug, Clone)]
pub(super) struct LaneOrder {
    lanes: Vec<Lane>,
    /// The virtual time at which the lane now being served began.
    now: u64,
}

#[derive(Debug, Clone)]
struct Lane {
    options: LaneOptions,
    time: u64,
}

impl LaneOrder {
    /// Lanes in their configured order.
    pub(super) fn new(lanes: &[LaneOptions]) -> Self {
        Self { lanes: lanes.iter().map(|options| Lane { options: *options, time: 0 }).collect(), now: 0 }
    }

    /// The lane that goes next among those that are `ready`.
    pub(super) fn pick(&self, ready: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(bool, u64, usize)> = None;
        for (index, lane) in self.lanes.iter().enumerate().filter(|(index, _)| ready(*index)) {
            // An immediate lane's place in the order is its index; the others' is their virtual time.
            let time = if lane.options.immediate { 0 } else { lane.time.max(self.now) };
            let key = (!lane.options.immediate, time, index);
            if best.is_none_or(|best| key < best) {
                best = Some(key);
            }
        }
        best.map(|(_, _, index)| index)
    }

    /// Counts `bytes` sent for a lane that [`LaneOrder::pick`] chose.
    pub(super) fn charge(&mut self, lane: usize, bytes: usize) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        if lane.options.immediate {
            return;
        }
        let weight = u64::from(lane.options.weight.max(1));
        self.now = lane.time.max(self.now);
        // 2^64 at 2^20 a byte is 16 TiB at weight 1: decades on the lines this is for; holding there is harmless.
        lane.time = self.now.saturating_add((bytes as u64).saturating_mul(SCALE) / weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(weight: u32, immediate: bool) -> LaneOptions {
        LaneOptions { weight, immediate }
    }

    #[test]
    fn an_immediate_lane_goes_before_the_others_and_costs_them_no_share() {
        let mut order = LaneOrder::new(&[lane(1, true), lane(4, false), lane(1, false)]);
        for _ in 0..50 {
            assert_eq!(order.pick(|_| true), Some(0));
            order.charge(0, 1000);
        }
        let mut sent = [0; 3];
        for _ in 0..100 {
            let next = order.pick(|index| index > 0).expect("two are ready");
            order.charge(next, 1000);
            sent[next] += 1;
        }
        assert_eq!(sent, [0, 80, 20]);
        assert_eq!(order.pick(|_| false), None);
    }

    #[test]
    fn silence_earns_no_credit() {
        let mut order = LaneOrder::new(&[lane(1, false), lane(1, false)]);
        for _ in 0..1000 {
            order.charge(0, 1000);
        }
        let first: Vec<_> = (0..6)
            .filter_map(|_| {
                let next = order.pick(|_| true)?;
                order.charge(next, 1000);
                Some(next)
            })
            .collect();
        assert_eq!(first.iter().filter(|lane| **lane == 1).count(), 3, "{first:?}");
    }

    proptest! {
        #[test]
        fn shares_follow_the_weights_in_bytes_whatever_the_sizes(
            weights in proptest::collection::vec(1_u32..20, 2..5),
            sizes in proptest::collection::vec(1_usize..70_000, 2_000),
        ) {
            let lanes: Vec<_> = weights.iter().map(|weight| lane(*weight, false)).collect();
            let mut order = LaneOrder::new(&lanes);
            let mut sent = vec![0_usize; lanes.len()];
            for size in &sizes {
                let next = order.pick(|_| true).expect("all are ready");
                order.charge(next, *size);
                sent[next] += size;
            }
            // Two lanes that always have work never drift further apart than one batch each (Golestani's bound).
            for (a, b) in (0..lanes.len()).flat_map(|a| (0..lanes.len()).map(move |b| (a, b))) {
                let normal = |lane: usize| sent[lane] as f64 / f64::from(weights[lane]);
                let slack = 70_000.0 / f64::from(weights[a]) + 70_000.0 / f64::from(weights[b]);
                prop_assert!((normal(a) - normal(b)).abs() <= slack + 1.0, "{sent:?} for {weights:?}");
            }
        }
    }
}
