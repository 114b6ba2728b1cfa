//! The limits beside others who fill and free the disk, over random sequences.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_size: 1000, min_size: 250, keep_free: 300, keep_free_inodes: 10, working: 60 };

/// Bytes of the disk.
const DISK: u64 = 3000;

/// A full segment.
const SEGMENT: u64 = 40;

#[derive(Debug, Clone)]
enum Step {
    /// A record of so many bytes comes in.
    Write(u64),
    /// Others fill or free the disk by so many bytes.
    Others(i64),
    /// The oldest segment is delivered and removed.
    Deliver,
    /// Nothing comes for a while.
    Idle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u64..50).prop_map(Step::Write),
        2 => (-600_i64..600).prop_map(Step::Others),
        1 => Just(Step::Deliver),
        1 => Just(Step::Idle),
    ]
}

/// One lane on a disk that others use too.
struct Model {
    level: Level,
    segments: VecDeque<u64>,
    others: u64,
    now: Instant,
    /// Bytes deleted that do not show up as free yet.
    lagging: u64,
    evicted: u64,
}

impl Model {
    fn new() -> Self {
        let (segments, now) = (VecDeque::from([0]), Instant::now());
        Self { level: Level::default(), segments, others: 0, now, lagging: 0, evicted: 0 }
    }

    fn total(&self) -> u64 {
        self.segments.iter().sum()
    }

    fn free(&self) -> u64 {
        DISK.saturating_sub(self.others + self.total() + self.lagging)
    }

    fn space(&self) -> Space {
        Space { free_bytes: self.free(), kept_bytes: 0, free_inodes: None, block: 1 }
    }

    fn held(&self) -> Held {
        Held { total: self.total(), planned: 0 }
    }

    fn pop(&mut self) -> Option<u64> {
        (self.segments.len() > 1).then(|| self.segments.pop_front()).flatten()
    }

    /// As the writer does before each commit and while it is idle.
    fn give_way(&mut self) -> Surplus {
        let space = self.space();
        let surplus = self.level.surplus(&LIMITS, self.held(), Some(&space), self.now);
        let mut wanted = surplus.over + surplus.wanted;
        while wanted > 0 && self.segments.len() > 1 && self.total() - self.segments[0] >= LIMITS.min_size {
            let Some(freed) = self.pop() else { break };
            self.level.gave_back(freed, self.now);
            self.evicted += freed;
            wanted = wanted.saturating_sub(freed);
        }
        surplus
    }

    /// Writes; `false` if there is no room.
    fn write(&mut self, bytes: u64) -> bool {
        self.give_way();
        let space = self.space();
        let ceiling = self.level.ceiling(&LIMITS, self.held(), Some(&space));
        while self.total() + bytes > ceiling {
            if self.segments.len() == 1 && self.segments[0] > 0 {
                self.segments.push_back(0);
            }
            let Some(freed) = self.pop() else { return false };
            self.level.replaced(freed, self.now);
            self.evicted += freed;
        }
        if self.segments.back().is_none_or(|last| *last >= SEGMENT) {
            self.segments.push_back(0);
        }
        if let Some(last) = self.segments.back_mut() {
            *last += bytes;
        }
        true
    }

    fn others(&mut self, by: i64) {
        let room = i64::try_from(self.free()).unwrap_or(i64::MAX);
        self.others = self.others.saturating_add_signed(by.min(room));
    }
}

proptest! {
    #[test]
    fn what_we_write_breaks_neither_limit_and_others_never_push_us_below_the_least(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new();
        // What we held when the disk became short.
        let mut short_at = None::<u64>;
        for step in steps {
            model.now += Duration::from_secs(40);
            let (before, free) = (model.total(), model.free());
            match step {
                Step::Write(bytes) => {
                    model.write(bytes);
                    // One write may find the disk so short that it gives way first, but nothing goes for nothing.
                    let (total, now_free) = (model.total(), model.free());
                    prop_assert!(total <= LIMITS.max_size);
                    let least = short_at.unwrap_or(before).max(LIMITS.working);
                    prop_assert!(now_free >= LIMITS.keep_free || total <= least, "{total} held, {now_free} free, {least} before");
                    prop_assert!(now_free >= LIMITS.keep_free.min(free) || total <= least);
                }
                Step::Others(by) => model.others(by),
                Step::Deliver => {
                    if let Some(freed) = model.pop() {
                        model.level.gave_back(freed, model.now);
                    }
                }
                Step::Idle => {
                    let surplus = model.give_way();
                    let gone = before - model.total();
                    // No more goes than is wanted, but for the rest of a segment.
                    prop_assert!(gone < surplus.over + surplus.wanted + SEGMENT + 50, "{gone} of {surplus:?}");
                    prop_assert!(gone == 0 || model.total() >= LIMITS.min_size, "{} left", model.total());
                    if before >= LIMITS.min_size {
                        let enough = model.free() >= LIMITS.keep_free;
                        let near = model.total() < LIMITS.min_size + SEGMENT + 50 || model.segments.len() == 1;
                        prop_assert!(enough || near, "{} held, {} free", model.total(), model.free());
                    }
                }
            }
            // As the idle turn does.
            let space = model.space();
            model.level.ceiling(&LIMITS, model.held(), Some(&space));
            short_at = if model.free() >= LIMITS.keep_free { None }
                else { Some(short_at.map_or(model.total().max(before), |short| short.max(model.total()))) };
        }
    }

    #[test]
    fn a_disk_that_is_short_costs_one_record_for_each_new_one_and_not_a_segment(sizes in proptest::collection::vec(1_u64..50, 50..200)) {
        let mut model = Model::new();
        for _ in 0..30 {
            model.write(40);
        }
        for _ in 0..4 {
            model.others(i64::MAX);
            model.others(-50);
            model.now += SETTLES;
            model.give_way();
        }
        let (held, evicted) = (model.total(), model.evicted);
        prop_assert!((LIMITS.min_size..LIMITS.min_size + SEGMENT + 50).contains(&held));
        let written: u64 = sizes.iter().sum();
        for bytes in sizes {
            model.now += Duration::from_secs(1);
            prop_assert!(model.write(bytes));
            prop_assert!(model.total() <= held && model.total() + 2 * (SEGMENT + 50) > held, "{}", model.total());
        }
        prop_assert!(model.evicted - evicted <= written + 2 * (SEGMENT + 50), "{} for {written}", model.evicted - evicted);
    }

    #[test]
    fn a_lane_never_falls_below_its_reserve_by_another_ones_need(
        lanes in proptest::collection::vec((0_u64..10, 0_u64..200, any::<bool>()), 1..5),
    ) {
        let lanes: Vec<LaneUse> = lanes
            .into_iter()
            .map(|(segments, reserve, writes)| LaneUse {
                bytes: segments * SEGMENT,
                reserve,
                oldest: (segments > 0).then_some(SEGMENT),
                writes,
            })
            .collect();
        match victim(&lanes) {
            Some(index) => {
                let lane = lanes[index];
                let spared = lane.bytes >= lane.reserve + SEGMENT;
                prop_assert!(spared || lane.writes);
                let lower_spares = lanes[index + 1..].iter().any(|one| one.oldest.is_some() && one.bytes >= one.reserve + SEGMENT);
                prop_assert!(!lower_spares, "the lowest goes first");
                let any_spares = lanes.iter().any(|one| one.oldest.is_some() && one.bytes >= one.reserve + SEGMENT);
                prop_assert!(spared || !any_spares, "its own reserve goes last");
            }
            None => prop_assert!(lanes.iter().all(|lane| lane.oldest.is_none() || (!lane.writes && lane.bytes < lane.reserve + SEGMENT))),
        }
    }
}

#[test]
fn blocks_that_come_back_late_are_not_asked_for_twice() {
    let mut model = Model::new();
    for _ in 0..30 {
        model.write(40);
    }
    assert_eq!(model.total(), 1000);
    model.others = DISK - 1000 - 200;
    model.now += SETTLES;
    model.give_way();
    let left = model.total();
    assert!((880..=900).contains(&left), "{left}");
    // A reader has them open, or the file system frees them with its next transaction.
    model.lagging = 1000 - left;
    for _ in 0..3 {
        model.now += Duration::from_secs(10);
        model.give_way();
        assert_eq!(model.total(), left);
    }
    // By then they should have come.
    model.now += SETTLES;
    model.give_way();
    assert!(model.total() < left);
}

#[test]
fn a_disk_without_inode_counts_is_not_judged_by_them() {
    let space = |free_inodes| Space { free_bytes: 0, kept_bytes: 0, free_inodes, block: 4096 };
    assert!(LIMITS.short_of_inodes(Some(&space(Some(10)))));
    assert!(!LIMITS.short_of_inodes(Some(&space(Some(11)))));
    assert!(!LIMITS.short_of_inodes(Some(&space(None))));
    assert!(!LIMITS.short_of_inodes(None));
}

#[test]
fn what_is_planned_counts_as_taken() {
    let limits = Limits { keep_free: 100, ..LIMITS };
    let space = Space { free_bytes: 150, kept_bytes: 0, free_inodes: None, block: 1 };
    let ceiling = |planned| Level::default().ceiling(&limits, Held { total: 300, planned }, Some(&space));
    assert_eq!(ceiling(0), 350);
    assert_eq!(ceiling(30), 320);
    assert_eq!(ceiling(80), 300, "net zero");
}

#[test]
fn without_keep_free_only_the_size_counts() {
    let limits = Limits { keep_free: 0, ..LIMITS };
    let full = Space { free_bytes: 0, kept_bytes: 0, free_inodes: None, block: 1 };
    let held = Held { total: 900, planned: 0 };
    assert_eq!(Level::default().ceiling(&limits, held, Some(&full)), 1000);
    assert_eq!(Level::default().surplus(&limits, held, Some(&full), Instant::now()), Surplus::default());
}

#[test]
fn what_root_has_taken_of_its_reserve_comes_first_out_of_what_is_freed() {
    let space = |free_bytes, kept_bytes| Space { free_bytes, kept_bytes, free_inodes: None, block: 1 };
    let held = Held { total: 200, planned: 0 };
    let mut level = Level::default();
    let mut lost = |free, kept| {
        level.ceiling(&LIMITS, held, Some(&space(free, kept)));
        level.lost(Some(&space(free, kept)))
    };
    assert_eq!(lost(0, 0), 0, "whether there is a reserve is not known");
    assert_eq!(lost(500, 150), 0);
    assert_eq!(lost(0, 150), 0, "others than root have filled it");
    assert_eq!(lost(0, 30), 120);
    assert_eq!(lost(0, 0), 150);
    assert_eq!(lost(0, 40), 110, "something was freed");
    assert_eq!(lost(10, 20), 0, "the reserve was made smaller");
    assert_eq!(lost(0, 0), 20);
    assert_eq!(level.lost(None), 0);
}

#[test]
fn an_eviction_is_of_use_if_something_of_it_is_left_to_write_to() {
    let lane = |oldest, writes| LaneUse { bytes: 100, reserve: 0, oldest: Some(oldest), writes };
    let lanes = [lane(70, true), lane(40, false)];
    assert_eq!(victim(&lanes), Some(1));
    assert!(is_of_use(&lanes, 0, 90), "further ones may go for it");
    assert!(is_of_use(&lanes, 30, 10));
    assert!(!is_of_use(&lanes, 30, 11));
    assert!(!is_of_use(&lanes, 100, 1));
    assert!(!is_of_use(&[], 1, 1));
}
