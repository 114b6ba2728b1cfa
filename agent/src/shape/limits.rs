//! What all documents of limits come to: for each kind the tightest binds, and it is remembered why.
//!
//! # Constraints
//! - Nobody can loosen what another says. The operator, the contract and the provider each give a document
//!   ([`Terms`]); what comes out is never looser than any of them, whatever order they come in.
//! - Only a default gives way: [`Source::Default`] stands while nobody says anything of its kind, or a plan without a quota
//!   could not be said at all.
//! - Whoever wonders sees it all: the limit that binds, who says it, what clause it serves, and those it overrules.
//!
//! # How it works
//! Numbers are compared; of equal ones that of the first source in [`Source`]'s order is said to bind. Windows are cut to
//! what all of them allow, and those without which more would be allowed bind together. What is never allowed is an answer
//! too ([`Windows::is_never`](tidegate_protocol::terms::Windows::is_never)): whoever merges says so.
//!
//! Pure: no time, no I/O. A limit that ends by itself is merged no more by whoever knows the time.

use std::num::NonZeroU64;

use tidegate_protocol::terms::{Bound, Kind, Limit, Quota, Share, Source, Terms, Windows};

use super::pace::{PACKET, Pace, Rate};

/// A burst that nobody said is what passes in this part of a second: long enough that a process which wakes late, as one
/// among many on a small machine does, loses nothing of the rate; short enough to stay within the queue of a radio link.
const BURST_PER_SECOND: u64 = 2;

/// A burst of what comes in that nobody said is what passes in a second, since the window that a peer fills a round trip
/// with is about half of it (`wire::window`), and round trips over a slow radio link take half a second. Besides that it
/// has room for what is let in at a time, for a critical connection and for what the system keeps of a window: measured,
/// without these 32 to 128 kbit/s fill 65 to 94 % of a round trip of 300 ms.
const MORE_BURST_DOWN: u64 = 4 * PACKET;

/// A burst of what comes in that nobody said is at most so many bytes: more than the largest window takes (750 KiB).
const LARGEST_BURST_DOWN: u64 = 1 << 20;

/// A burst of what leaves that nobody said is at most so many bytes: what the kernel hands to a link at once (GSO's largest packet), so
/// that a fast line gains nothing from more.
const LARGEST_BURST: u64 = 64 * 1024;

/// What binds of one kind, and what it overrules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What holds.
    pub bound: Bound,
    /// Who says so: one limit, or of windows all without which more would be allowed. Never empty.
    pub by: Vec<Limit>,
    /// Those that are overruled, the tightest first.
    pub others: Vec<Limit>,
}

/// What holds of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// By kind, in [`Kind`]'s order, each at most once.
    bindings: Vec<Binding>,
}

impl Limits {
    /// What these documents come to.
    pub fn merge<'a>(documents: impl IntoIterator<Item = &'a Terms>) -> Self {
        let mut all: Vec<Limit> = documents.into_iter().flat_map(|terms| terms.limits().iter().cloned()).collect();
        // By kind, then by tightness, then by source: from here on the order of the documents is forgotten.
        all.sort_unstable_by(|one, other| {
            (one.bound.kind(), is_default(one))
                .cmp(&(other.bound.kind(), is_default(other)))
                .then_with(|| one.cmp(other))
        });
        Self { bindings: all.chunk_by(|one, other| one.bound.kind() == other.bound.kind()).map(Binding::of).collect() }
    }

    /// What holds of a kind; `None` if nobody limits it.
    pub fn of(&self, kind: Kind) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.bound.kind() == kind)
    }

    /// What holds, kind by kind.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// What the door is told. A rate without a burst gets that of half a second, at most 64 KiB; a `rate_down` that of a
    /// second and four packets, at most 1 MiB. [`Rate`] makes it two packets at least. Rates are rounded down to whole bytes a second.
    pub fn pace(&self) -> Pace {
        Pace {
            up: self.rate(Kind::RateUp, |rate| (rate / BURST_PER_SECOND).min(LARGEST_BURST)),
            down: self.rate(Kind::RateDown, |rate| rate.saturating_add(MORE_BURST_DOWN).min(LARGEST_BURST_DOWN)),
        }
    }

    fn rate(&self, kind: Kind, usual_burst: impl Fn(u64) -> u64) -> Option<Rate> {
        let bytes = NonZeroU64::new(self.number(kind)? / 8).unwrap_or(NonZeroU64::MIN);
        let burst = self.number(Kind::Burst).unwrap_or_else(|| usual_burst(bytes.get()));
        Some(Rate::new(bytes, burst))
    }

    /// The number that holds of a kind, in the kind's unit.
    pub fn number(&self, kind: Kind) -> Option<u64> {
        self.of(kind)?.bound.number()
    }

    /// This gateway's part of the account's month: all of it if nobody says less.
    pub fn share(&self) -> Share {
        match self.of(Kind::Share).map(|binding| &binding.bound) {
            Some(Bound::Share(share)) => *share,
            _ => Share::ALL,
        }
    }

    /// Events that this gateway may have in a month; `None` for any number.
    pub fn events_per_month(&self) -> Option<u64> {
        match self.of(Kind::EventsPerMonth).map(|binding| &binding.bound) {
            Some(Bound::EventsPerMonth(Quota::Events(events))) => Some(self.share().part(events.get())),
            _ => None,
        }
    }

    /// Bytes on the wire that this gateway may have in a month; `None` for any number.
    pub fn bytes_per_month(&self) -> Option<u64> {
        Some(self.share().part(self.number(Kind::BytesPerMonth)?))
    }

    /// When lanes that can wait may leave; `None` for always.
    pub fn windows(&self) -> Option<&Windows> {
        match self.of(Kind::Windows).map(|binding| &binding.bound) {
            Some(Bound::Windows(windows)) => Some(windows),
            _ => None,
        }
    }
}

fn is_default(limit: &Limit) -> bool {
    matches!(limit.source, Source::Default { .. })
}

impl Binding {
    /// Of limits of one kind: what somebody says first, the tightest first, then what stands by default. Not empty.
    fn of(limits: &[Limit]) -> Self {
        let said = limits.iter().take_while(|limit| !is_default(limit)).count();
        // Defaults count only among themselves.
        let (count, rest) = limits.split_at(if said > 0 { said } else { limits.len() });
        let windows = cut(count);
        let Some(windows) = windows else {
            return Self { bound: count[0].bound.clone(), by: vec![count[0].clone()], others: limits[1..].to_vec() };
        };
        let (mut by, mut others) = (count.to_vec(), Vec::new());
        // From the end, so that of windows that do the same the first stays.
        for index in (0..by.len()).rev() {
            let without: Vec<Limit> =
                by.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, it)| it.clone()).collect();
            if cut(&without).as_ref() == Some(&windows) {
                others.insert(0, by.remove(index));
            }
        }
        others.extend_from_slice(rest);
        Self { bound: Bound::Windows(windows), by, others }
    }
}

/// What all of these windows allow; `None` if they are none.
fn cut(limits: &[Limit]) -> Option<Windows> {
    let mut windows = limits.iter().filter_map(|limit| match &limit.bound {
        Bound::Windows(windows) => Some(windows.clone()),
        _ => None,
    });
    let first = windows.next()?;
    Some(windows.fold(first, |all, one| all.intersect(&one)))
}

#[cfg(test)]
mod tests;
