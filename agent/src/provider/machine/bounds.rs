//! Limits as they are kept: a kind by its name and its number or its windows, so that what a newer version added is told
//! from what is damaged.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use tidegate_protocol::terms::{Bound, Kind, Quota, Windows};

/// A limit: the key of its kind, and its number, or its windows as text; neither for a quota without an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptBound(String, Option<u64>, String);

impl KeptBound {
    pub(super) fn of(bound: &Bound) -> Self {
        let windows = if let Bound::Windows(windows) = bound { windows.to_string() } else { String::new() };
        Self(bound.kind().key().to_owned(), bound.number(), windows)
    }

    /// The limit, if it is one.
    pub(super) fn bound(&self) -> Option<Bound> {
        let number = self.1.and_then(NonZeroU64::new);
        match Kind::of_key(&self.0)? {
            Kind::Windows => Some(Bound::Windows(Windows::parse(self.2.split("; ")).ok()?)),
            Kind::EventsPerMonth if number.is_none() => Some(Bound::EventsPerMonth(Quota::Unlimited)),
            kind => kind.bound(number?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::terms::Share;

    #[test]
    fn every_kind_of_limit_comes_back_as_it_was() {
        let number = NonZeroU64::new(7).expect("not 0");
        let bounds = [
            Bound::RateUp(number),
            Bound::RateDown(number),
            Bound::Burst(number),
            Bound::BytesPerHour(number),
            Bound::BytesPerDay(number),
            Bound::BytesPerMonth(number),
            Bound::EventsPerMinute(number),
            Bound::EventsPerDay(number),
            Bound::EventsPerMonth(Quota::Events(number)),
            Bound::Share(Share::of_millionths(7).expect("a share")),
            Bound::Windows(Windows::parse(["mon-fri 22:00-06:00", "sat 01:00-02:00"]).expect("windows")),
        ];
        assert_eq!(bounds.each_ref().map(Bound::kind), Kind::ALL);
        for bound in bounds.into_iter().chain([Bound::EventsPerMonth(Quota::Unlimited)]) {
            assert_eq!(KeptBound::of(&bound).bound(), Some(bound));
        }
        assert_eq!(KeptBound("of_a_newer_version".into(), Some(7), String::new()).bound(), None);
    }
}
