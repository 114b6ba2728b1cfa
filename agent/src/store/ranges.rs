//! A small set of sequence numbers: what of a lane waits, and what of it was never sent.
//!
//! Numbers count up without end, so the last range is open: it reaches up to [`Ranges::END`] and takes in whatever is
//! stored later. In a lane that is sent in order the set is that one range, and its beginning is the cursor.
//! Holes come from sending out of order (`order = "live-first"`) and from `tidegate buffer replay`.
//!
//! The set is bounded: beyond [`Ranges::LIMIT`] ranges the smallest hole is filled again. What stood in it is then
//! delivered twice, under the same ids: repeats rather than loss, and a flow can drop them.

use serde::{Deserialize, Deserializer, Serialize};

/// Disjoint half-open ranges in ascending order, none touching the next; the last one is open-ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ranges {
    ranges: Vec<(u64, u64)>,
}

impl Default for Ranges {
    fn default() -> Self {
        Self::from(0)
    }
}

impl Ranges {
    /// Where the open range ends: above every sequence number.
    pub const END: u64 = u64::MAX;

    /// Ranges at most. Each outage in live-first order, while the backlog of the one before is not gone, makes one;
    /// 64 of them are 1 KiB of a snapshot.
    pub const LIMIT: usize = 64;

    /// Everything from `first` on.
    #[must_use]
    pub fn from(first: u64) -> Self {
        Self { ranges: vec![(first, Self::END)] }
    }

    /// The lowest number in the set.
    pub fn first(&self) -> u64 {
        self.ranges.first().map_or(0, |range| range.0)
    }

    /// Where the open range begins: from here on everything is in the set.
    pub fn open_from(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.0)
    }

    /// The ranges, the last one open-ended.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }

    /// Whether a number is in the set.
    pub fn contains(&self, seq: u64) -> bool {
        self.next_from(seq) == seq
    }

    /// The lowest number of the set that is not below `seq`.
    pub fn next_from(&self, seq: u64) -> u64 {
        let at = self.ranges.partition_point(|range| range.1 <= seq);
        self.ranges.get(at).map_or(seq, |range| range.0.max(seq))
    }

    /// Where the range that holds `seq` ends, or the next one begins if none holds it.
    pub fn end_of(&self, seq: u64) -> u64 {
        let at = self.ranges.partition_point(|range| range.1 <= seq);
        self.ranges.get(at).map_or(Self::END, |range| if range.0 <= seq { range.1 } else { range.0 })
    }

    /// What of `[from, below)` is in the set, as ranges.
    pub fn within(&self, from: u64, below: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.iter().map(move |(start, end)| (start.max(from), end.min(below))).filter(|(start, end)| start < end)
    }

    /// How many numbers of `[from, below)` are in the set.
    pub fn count(&self, from: u64, below: u64) -> u64 {
        self.within(from, below).map(|(start, end)| end - start).sum()
    }

    /// Whether any number of `[from, below)` is in the set.
    pub fn touches(&self, from: u64, below: u64) -> bool {
        self.within(from, below).next().is_some()
    }

    /// Takes `[from, below)` out. `below` is a number that was given, never [`Ranges::END`].
    pub fn remove(&mut self, from: u64, below: u64) {
        let below = below.min(Self::END - 1);
        if from >= below {
            return;
        }
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for &(start, end) in &self.ranges {
            if start < from.min(end) {
                kept.push((start, from.min(end)));
            }
            if end > below.max(start) {
                kept.push((below.max(start), end));
            }
        }
        // A range that lies wholly outside was pushed once by either branch; one that is cut, by both.
        self.ranges = kept;
        self.bound();
    }

    /// Puts `[from, below)` in.
    pub fn insert(&mut self, from: u64, below: u64) {
        if from >= below {
            return;
        }
        let (mut from, mut below) = (from, below);
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for &(start, end) in &self.ranges {
            if end < from || start > below {
                kept.push((start, end));
            } else {
                (from, below) = (from.min(start), below.max(end));
            }
        }
        kept.push((from, below));
        kept.sort_unstable();
        self.ranges = kept;
        self.bound();
    }

    /// Fills the smallest holes while there are too many ranges.
    fn bound(&mut self) {
        while self.ranges.len() > Self::LIMIT {
            let hole = |at: &usize| self.ranges[at + 1].0 - self.ranges[*at].1;
            // Never the last hole: where the open range begins proves what was given away.
            let Some(at) = (0..self.ranges.len() - 2).min_by_key(hole) else { return };
            self.ranges[at].1 = self.ranges[at + 1].1;
            self.ranges.remove(at + 1);
        }
    }
}

impl<'de> Deserialize<'de> for Ranges {
    /// What is read is put in order; a set that is not one (a later version's, or rot that a sum let pass) becomes the
    /// nearest that is, open-ended as all are.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Vec::<(u64, u64)>::deserialize(deserializer)?;
        let open = given.iter().filter(|range| range.1 == Self::END).map(|range| range.0).min();
        let highest = given.iter().map(|range| range.1).max().unwrap_or(0);
        let mut ranges = Self::from(open.unwrap_or(highest));
        for (from, below) in given {
            ranges.insert(from, below);
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_that_is_sent_in_order_is_one_range() {
        let mut ranges = Ranges::default();
        for below in [3, 3, 10, 7] {
            ranges.remove(0, below);
        }
        assert_eq!(ranges, Ranges::from(10));
        assert_eq!((ranges.first(), ranges.open_from(), ranges.count(4, 12)), (10, 10, 2));
    }

    #[test]
    fn beyond_the_limit_the_smallest_hole_is_filled() {
        let mut ranges = Ranges::default();
        for hole in 0..Ranges::LIMIT as u64 {
            let size = if hole == 5 { 1 } else { 2 };
            ranges.remove(hole * 10 + 1, hole * 10 + 1 + size);
        }
        assert_eq!(ranges.iter().count(), Ranges::LIMIT);
        assert!(ranges.contains(51), "the smallest hole is filled");
        assert!(!ranges.contains(41) && !ranges.contains(61));
    }

    #[test]
    fn where_the_open_range_begins_is_never_forgotten() {
        let mut ranges = Ranges::default();
        for hole in 0..100_u64 {
            // The newest hole is the smallest there is.
            let from = 10 + hole * 10;
            ranges.remove(from, from + if hole == 99 { 1 } else { 5 });
        }
        assert_eq!(ranges.open_from(), 1_001);
        assert!(ranges.iter().count() <= Ranges::LIMIT);
    }

    proptest! {
        #[test]
        fn it_answers_as_a_set_of_numbers_does(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..60, 0_u64..20), 0..40),
            from in 0_u64..80,
            len in 0_u64..80,
        ) {
            let (mut ranges, mut model) = (Ranges::default(), (0..100).collect::<BTreeSet<u64>>());
            for (insert, start, size) in steps {
                let below = start + size;
                if insert {
                    ranges.insert(start, below);
                    model.extend(start..below);
                } else {
                    ranges.remove(start, below);
                    model.retain(|seq| !(start..below).contains(seq));
                }
                let all: Vec<_> = ranges.iter().collect();
                prop_assert!(all.windows(2).all(|two| two[0].1 < two[1].0), "{all:?}");
                prop_assert!(all.iter().all(|range| range.0 < range.1));
                prop_assert_eq!(all.last().map(|range| range.1), Some(Ranges::END));
            }
            let below = from + len;
            prop_assert_eq!(ranges.count(from, below), count(&model, from, below));
            prop_assert_eq!(ranges.contains(from), from >= 100 || model.contains(&from));
            prop_assert_eq!(Some(ranges.first()), model.first().copied());
            prop_assert_eq!(ranges.next_from(from), model.range(from..).next().copied().unwrap_or(from));
            let mut bytes = Vec::new();
            ciborium::into_writer(&ranges, &mut bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let read: Ranges = ciborium::from_reader(&bytes[..]).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read, ranges);
        }

        #[test]
        fn whatever_is_read_becomes_a_set(given in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..80)) {
            let mut bytes = Vec::new();
            ciborium::into_writer(&given, &mut bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let ranges: Ranges = ciborium::from_reader(&bytes[..]).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(ranges.iter().last().map(|range| range.1), Some(Ranges::END));
            prop_assert!(ranges.iter().count() <= Ranges::LIMIT);
        }
    }

    fn count(model: &BTreeSet<u64>, from: u64, below: u64) -> u64 {
        model.range(from..below.min(100).max(from)).count() as u64 + below.saturating_sub(from.max(100))
    }
}
