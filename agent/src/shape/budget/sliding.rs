//! A limit that holds in every window of its length, measured by the uptime alone: no clock can empty or refill it.
//!
//! Sixty slots make a window, and a sixty-first covers its ragged edge: what is counted within 61 slots is never less than
//! what fell into any window, so what is permitted is never more. The price is that a sixtieth is withheld a little longer.

/// Slots of a window, and one for its edge.
const SLOTS: usize = 61;

/// What was counted lately.
#[derive(Debug, Clone)]
pub(super) struct Sliding {
    width_ms: u64,
    slots: [u64; SLOTS],
    /// The newest slot's number: uptime over width.
    newest: u64,
}

impl Sliding {
    /// Nothing counted yet; windows of sixty times `width_ms`.
    pub(super) const fn new(width_ms: u64) -> Self {
        Self { width_ms, slots: [0; SLOTS], newest: 0 }
    }

    fn place(number: u64) -> usize {
        (number % SLOTS as u64) as usize
    }

    fn advance(&mut self, uptime_ms: u64) {
        let now = uptime_ms / self.width_ms;
        let passed = now.saturating_sub(self.newest).min(SLOTS as u64);
        for number in 0..passed {
            self.slots[Self::place(now - number)] = 0;
        }
        self.newest = self.newest.max(now);
    }

    /// Counts.
    pub(super) fn add(&mut self, amount: u64, uptime_ms: u64) {
        self.advance(uptime_ms);
        let slot = &mut self.slots[Self::place(self.newest)];
        *slot = slot.saturating_add(amount);
    }

    /// Takes back what was counted and did not come to pass, the newest first.
    pub(super) fn take_back(&mut self, mut amount: u64) {
        for age in 0..SLOTS as u64 {
            let slot = &mut self.slots[Self::place(self.newest + SLOTS as u64 - age)];
            let part = amount.min(*slot);
            *slot -= part;
            amount -= part;
        }
    }

    /// What was counted within the window that ends now.
    pub(super) fn sum(&mut self, uptime_ms: u64) -> u64 {
        self.advance(uptime_ms);
        self.slots.iter().fold(0, |sum, slot| sum.saturating_add(*slot))
    }

    /// How long until the sum is at most `goal`, in ms, if nothing more is counted.
    pub(super) fn wait(&mut self, goal: u64, uptime_ms: u64) -> u64 {
        let mut sum = self.sum(uptime_ms);
        for age in (0..SLOTS as u64).rev() {
            if sum <= goal {
                // The slot that was dropped last is one older.
                let dropped = age + 1;
                return self.until_dropped(dropped, uptime_ms);
            }
            sum -= self.slots[Self::place(self.newest + SLOTS as u64 - age)];
        }
        self.until_dropped(0, uptime_ms)
    }

    fn until_dropped(&self, age: u64, uptime_ms: u64) -> u64 {
        if age >= SLOTS as u64 {
            return 0;
        }
        ((self.newest + SLOTS as u64 - age) * self.width_ms).saturating_sub(uptime_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_counted_leaves_after_a_window_and_a_slot() {
        let mut minute = Sliding::new(1_000);
        minute.add(3, 500);
        minute.add(4, 10_999);
        assert_eq!(minute.sum(60_999), 7);
        assert_eq!(minute.wait(6, 500), 60_500);
        assert_eq!(minute.wait(7, 500), 0);
        assert_eq!(minute.wait(0, 20_000), 51_000);
        assert_eq!(minute.sum(61_000), 4);
        assert_eq!(minute.sum(71_000), 0);
    }

    proptest! {
        #[test]
        fn a_wait_is_neither_too_short_nor_too_long(
            counts in prop::collection::vec((0..30_000_u64, 1..9_u64), 1..30), goal in 0..40_u64,
        ) {
            let (mut window, mut now) = (Sliding::new(1_000), 0);
            for (pause, amount) in counts {
                now += pause;
                window.add(amount, now);
            }
            let wait = window.wait(goal, now);
            prop_assert!(wait == 0 || window.clone().sum(now + wait - 1) > goal);
            prop_assert!(window.sum(now + wait) <= goal);
        }
    }
}
