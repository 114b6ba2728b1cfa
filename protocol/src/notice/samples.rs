//! Notices for tests.

use std::num::NonZeroU64;

use proptest::option;
use proptest::prelude::*;

use super::{Breach, Content, EARLIEST_MS, Interruption, LATEST_MS, LONGEST_MS, Notice, Scope, SigningKey};
use crate::terms::{Bound, Kind, Quota, Windows};

/// 2026-11-22T08:30:00Z.
pub(super) const ISSUED: u64 = 1_795_336_200_000;

pub(super) const DAY: u64 = 86_400_000;

pub(super) fn information(id: &str, issued_ms: u64) -> Notice {
    Notice {
        id: id.into(),
        issued_ms,
        expires_ms: issued_ms + DAY,
        scope: Scope::Fleet,
        content: Content::Information,
        why: "the office is closed".into(),
    }
}

pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32], Some(&format!("ops-{number}"))).expect("a key")
}

/// Any notice that makes sense.
pub(super) fn notice() -> impl Strategy<Value = Notice> {
    let scope = prop_oneof![
        Just(Scope::Fleet),
        proptest::collection::vec("[A-Za-z0-9._-]{1,20}\\*?", 1..20).prop_map(Scope::Gateways),
        Just(Scope::Gateways(vec!["*".into()])),
    ];
    let issued = EARLIEST_MS..LATEST_MS - LONGEST_MS;
    let parts = ("[A-Za-z0-9._-]{1,64}", issued, 1..LONGEST_MS, scope, content(), "[^\\p{Cc}]{0,100}");
    parts.prop_map(|(id, issued_ms, lasts, scope, content, why)| Notice {
        id,
        issued_ms,
        expires_ms: issued_ms + lasts,
        scope,
        content,
        why,
    })
}

fn content() -> impl Strategy<Value = Content> {
    let begin = || prop_oneof![Just(0), EARLIEST_MS..LATEST_MS - 1];
    let end = LATEST_MS - 1..=LATEST_MS;
    let interruption = proptest::sample::select(Interruption::WORDS.map(|(_, cause)| cause).to_vec());
    let breach = proptest::sample::select(Breach::WORDS.map(|(_, cause)| cause).to_vec());
    prop_oneof![
        (begin(), end.clone(), interruption, option::of(0..=super::RESUME_S)).prop_map(
            |(from_ms, until_ms, cause, resume_s)| { Content::Maintenance { from_ms, until_ms, cause, resume_s } }
        ),
        (begin(), option::of(end.clone())).prop_map(|(from_ms, until_ms)| Content::Emergency { from_ms, until_ms }),
        (begin(), option::of(end.clone()), limits()).prop_map(|(from_ms, until_ms, limits)| Content::Restriction {
            from_ms,
            until_ms,
            limits
        }),
        (begin(), breach).prop_map(|(from_ms, cause)| Content::Suspension { from_ms, cause }),
        end.prop_map(|until_ms| Content::Quota { until_ms }),
        begin().prop_map(|at_ms| Content::End { at_ms }),
        ("[^\\p{Cc}]{1,16}", begin(), "[ -~]{0,500}").prop_map(|(version, effective_ms, url)| Content::TermsChanged {
            version,
            effective_ms,
            url
        }),
        begin().prop_map(|effective_ms| Content::Identity { effective_ms }),
        Just(Content::Information),
        Just(Content::Withdrawn),
    ]
}

fn limits() -> impl Strategy<Value = Vec<Bound>> {
    let minutes = proptest::collection::vec((0_u8..7, 0_u32..24, 0_u32..24), 1..4);
    let parts = (proptest::sample::subsequence(Kind::ALL.to_vec(), 1..=Kind::ALL.len()), any::<u64>(), minutes);
    parts.prop_map(|(kinds, number, windows)| kinds.into_iter().map(|kind| bound(kind, number, &windows)).collect())
}

fn bound(kind: Kind, number: u64, windows: &[(u8, u32, u32)]) -> Bound {
    let Some(range) = kind.range() else {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let texts: Vec<String> = windows
            .iter()
            .map(|(day, from, length)| {
                let end = (from + 1 + length % 23) % 24;
                format!("{} {from:02}:00-{end:02}:15", days[usize::from(*day)])
            })
            .collect();
        return Bound::Windows(Windows::parse(texts.iter().map(String::as_str)).expect("windows"));
    };
    let number = range.start() + number % (range.end() - range.start() + 1);
    let above_0 = NonZeroU64::new(number).expect("no range begins with 0");
    if kind == Kind::EventsPerMonth && number % 2 == 0 {
        return Bound::EventsPerMonth(Quota::Unlimited);
    }
    kind.bound(above_0).expect("within its range")
}
