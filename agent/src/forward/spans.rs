//! Spans of sequence numbers, and sets of them. Pure.
//!
//! What the forwarder holds in memory must be exact, or it would send a record twice within one run. So these sets,
//! unlike [`crate::store::Ranges`], fill no holes; each place that keeps one says what bounds it.

/// Where a span ends that takes in whatever is stored later.
pub(super) const END: u64 = u64::MAX;

/// A range of sequence numbers; some of them may not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) below: u64,
}

impl Span {
    /// From the one up to the other, which is not in it.
    pub(super) fn new(from: u64, below: u64) -> Self {
        Self { from, below }
    }

    fn is_empty(self) -> bool {
        self.from >= self.below
    }
}

/// A set of sequence numbers as disjoint spans in order, no two of which touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans {
    spans: Vec<Span>,
}

impl Spans {
    /// The spans.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.spans.iter().copied()
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Puts a span in.
    pub(super) fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let start = self.spans.partition_point(|known| known.below < span.from);
        let end = self.spans.partition_point(|known| known.from <= span.below);
        let touched = &self.spans[start..end];
        let from = touched.first().map_or(span.from, |first| first.from.min(span.from));
        let below = touched.last().map_or(span.below, |last| last.below.max(span.below));
        self.spans.splice(start..end, [Span { from, below }]);
    }

    /// Takes a span out.
    pub(super) fn remove(&mut self, span: Span) {
        let start = self.spans.partition_point(|known| known.below <= span.from);
        let end = self.spans.partition_point(|known| known.from < span.below);
        if span.is_empty() || start >= end {
            return;
        }
        let left = Span { from: self.spans[start].from, below: span.from };
        let right = Span { from: span.below, below: self.spans[end - 1].below };
        self.spans.splice(start..end, [left, right].into_iter().filter(|rest| !rest.is_empty()));
    }

    /// What of it lies in `span`.
    pub(super) fn within(&self, span: Span) -> impl Iterator<Item = Span> + '_ {
        let start = self.spans.partition_point(|known| known.below <= span.from);
        self.spans[start..]
            .iter()
            .take_while(move |known| known.from < span.below)
            .map(move |known| Span { from: known.from.max(span.from), below: known.below.min(span.below) })
            .filter(|part| !part.is_empty())
    }

    /// What of `span` is not in it.
    pub(super) fn lacks(&self, span: Span) -> Vec<Span> {
        let mut lacking = Vec::new();
        let mut from = span.from;
        for known in self.within(span) {
            lacking.push(Span { from, below: known.from });
            from = known.below;
        }
        lacking.push(Span { from, below: span.below });
        lacking.retain(|part| !part.is_empty());
        lacking
    }

    /// Whether all of `span` is in it.
    pub(super) fn covers(&self, span: Span) -> bool {
        self.within(span).next() == Some(span)
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, seq: u64) -> bool {
        self.next_from(seq).is_some_and(|span| span.from == seq)
    }

    /// The first span that ends above `from`, without what of it lies below.
    pub(super) fn next_from(&self, from: u64) -> Option<Span> {
        let at = self.spans.partition_point(|known| known.below <= from);
        self.spans.get(at).map(|known| Span { from: known.from.max(from), below: known.below })
    }

    /// The last span.
    pub(super) fn last(&self) -> Option<Span> {
        self.spans.last().copied()
    }
}

impl FromIterator<(u64, u64)> for Spans {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut spans = Self::default();
        ranges.into_iter().for_each(|(from, below)| spans.insert(Span { from, below }));
        spans
    }
}

/// What below the open end is not in a set of the store's.
pub(super) fn holes(ranges: &crate::store::Ranges) -> Vec<Span> {
    let mut from = 0;
    let mut holes = Vec::new();
    for (start, end) in ranges.iter() {
        if from < start {
            holes.push(Span { from, below: start });
        }
        from = end;
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_answers_as_a_set_of_numbers_does(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..60, 0_u64..20), 0..40),
            from in 0_u64..80, len in 1_u64..40,
        ) {
            let (mut spans, mut model) = (Spans::default(), BTreeSet::new());
            for (insert, start, size) in steps {
                let span = Span::new(start, start + size);
                if insert {
                    spans.insert(span);
                    model.extend(start..start + size);
                } else {
                    spans.remove(span);
                    model.retain(|seq| !(start..start + size).contains(seq));
                }
                let all: Vec<_> = spans.iter().collect();
                prop_assert!(all.windows(2).all(|two| two[0].below < two[1].from), "{all:?}");
                prop_assert!(all.iter().all(|span| span.from < span.below));
                prop_assert_eq!(all.iter().flat_map(|span| span.from..span.below).collect::<BTreeSet<_>>(), model.clone());
            }
            let asked = Span::new(from, from + len);
            let inside: Vec<u64> = model.range(from..from + len).copied().collect();
            let numbers = |spans: Vec<Span>| spans.into_iter().flat_map(|span| span.from..span.below).collect::<Vec<_>>();
            prop_assert_eq!(numbers(spans.within(asked).collect()), inside.clone());
            let outside: Vec<u64> = (from..from + len).filter(|seq| !model.contains(seq)).collect();
            prop_assert_eq!(numbers(spans.lacks(asked)), outside);
            prop_assert_eq!(spans.covers(asked), inside.len() as u64 == len);
            prop_assert_eq!(spans.contains(from), model.contains(&from));
            prop_assert_eq!(spans.next_from(from).map(|span| span.from), model.range(from..).next().copied());
        }
    }
}
