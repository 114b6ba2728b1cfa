use proptest::prelude::*;
use tidegate_protocol::terms::Provider;

use super::*;

fn some(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not 0")
}

fn operator(line: usize) -> Source {
    Source::Operator { file: "tidegate.toml".into(), line }
}

fn class(name: &str) -> Source {
    Source::Provider(Provider::SpeedClass { class: name.into(), known: true })
}

fn default_events() -> Terms {
    let events = Bound::EventsPerMonth(Quota::Events(some(10_000)));
    Terms::new([Limit::new(events, Source::Default { why: "a new account's Developer plan" })])
}

fn document(limits: &[(Bound, Source)]) -> Terms {
    Terms::new(limits.iter().map(|(bound, source)| Limit::new(bound.clone(), source.clone())))
}

#[test]
fn the_tightest_binds_and_it_is_remembered_why() {
    let own = document(&[(Bound::RateUp(some(512_000)), operator(6))]);
    let line = document(&[(Bound::RateUp(some(128_000)), class("s1.slow"))]);
    let contract = Source::Terms { file: "terms.toml".into(), line: 2 };
    let contract = document(&[(Bound::RateUp(some(2_000_000)), contract)]);
    let limits = Limits::merge([&own, &line, &contract]);
    let binding = limits.of(Kind::RateUp).expect("a rate");
    assert_eq!(binding.bound.to_string(), "128 kbit/s");
    assert_eq!(
        (binding.by[0].source.to_string(), binding.by[0].clause.to_string()),
        ("SIM speed class s1.slow".into(), "5.1(2)".into())
    );
    let losers: Vec<String> = binding.others.iter().map(|limit| limit.bound.to_string()).collect();
    assert_eq!(losers, ["512 kbit/s", "2 Mbit/s"]);
    assert_eq!(limits.of(Kind::RateDown), None);
}

#[test]
fn a_default_gives_way_to_whatever_somebody_says_and_to_nothing_else() {
    let months = |documents: &[&Terms]| Limits::merge(documents.iter().copied()).events_per_month();
    let said = |quota| document(&[(Bound::EventsPerMonth(quota), operator(1))]);
    let (unlimited, many, few) =
        (said(Quota::Unlimited), said(Quota::Events(some(100_000))), said(Quota::Events(some(500))));
    let default = default_events();
    assert_eq!(months(&[&default]), Some(10_000));
    assert_eq!(months(&[&default, &unlimited]), None);
    assert_eq!(months(&[&many, &default]), Some(100_000));
    assert_eq!(months(&[&many, &default, &few, &unlimited]), Some(500));
    let limits = Limits::merge([&default, &unlimited]);
    let binding = limits.of(Kind::EventsPerMonth).expect("a quota");
    assert!(is_default(&binding.others[0]) && binding.by[0].source == operator(1));
}

#[test]
fn a_share_takes_its_part_of_the_month_and_of_nothing_else() {
    let quarter = Share::of_millionths(250_000).expect("a share");
    let all = document(&[
        (Bound::Share(quarter), operator(1)),
        (Bound::BytesPerMonth(some(1_000_001)), operator(2)),
        (Bound::BytesPerDay(some(1_000)), operator(3)),
        (Bound::EventsPerMinute(some(8)), operator(4)),
    ]);
    let limits = Limits::merge([&all, &default_events()]);
    assert_eq!((limits.events_per_month(), limits.bytes_per_month()), (Some(2_500), Some(250_000)));
    assert_eq!((limits.number(Kind::BytesPerDay), limits.number(Kind::EventsPerMinute)), (Some(1_000), Some(8)));
    assert_eq!(Limits::default().share(), Share::ALL);
    assert_eq!((Limits::default().events_per_month(), Limits::default().bytes_per_month()), (None, None));
}

#[test]
fn windows_are_cut_to_what_all_allow_and_those_that_matter_bind_together() {
    let windows =
        |text: &str, line| document(&[(Bound::Windows(Windows::parse([text]).expect("a window")), operator(line))]);
    let (late, early, wide) = (windows("22:00-04:00", 1), windows("02:00-06:00", 2), windows("21:00-07:00", 3));
    let limits = Limits::merge([&wide, &early, &late]);
    let binding = limits.of(Kind::Windows).expect("windows");
    assert_eq!(binding.bound.to_string(), "02:00-04:00");
    let mut lines: Vec<&Source> = binding.by.iter().map(|limit| &limit.source).collect();
    lines.sort_unstable();
    assert_eq!(lines, [&operator(1), &operator(2)]);
    assert_eq!(binding.others[0].source, operator(3));
    let never = Limits::merge([&windows("01:00-02:00", 1), &windows("03:00-04:00", 2)]);
    assert!(never.windows().is_some_and(Windows::is_never));
    assert_eq!(never.of(Kind::Windows).map(|binding| binding.by.len()), Some(2));
    let twice = Limits::merge([&windows("01:00-02:00", 2), &windows("01:00-02:00", 1)]);
    assert_eq!(twice.of(Kind::Windows).map(|binding| binding.by[0].source.clone()), Some(operator(1)));
}

#[test]
fn the_door_is_told_bytes_a_second_and_a_burst() {
    let pace = |limits: &[(Bound, Source)]| Limits::merge([&document(limits)]).pace();
    assert_eq!(pace(&[]), Pace::default());
    let rate = |bits| (Bound::RateUp(some(bits)), operator(1));
    for (bits, bytes, burst) in [
        (512_000, 64_000, 32_000),
        (32_000, 4_000, 3_000),
        (8_000_000, 1_000_000, 65_536),
        (1_007, 125, 3_000),
        (7, 1, 3_000),
    ] {
        let up = pace(&[rate(bits)]).up.expect("a rate");
        assert_eq!((up.bytes_per_second(), up.burst()), (bytes, burst), "{bits} bit/s");
    }
    let said =
        pace(&[rate(512_000), (Bound::Burst(some(10_000)), operator(2)), (Bound::RateDown(some(80_000)), operator(3))]);
    for (bits, burst) in [(32_000, 10_000), (8_000_000, 1_006_000), (100_000_000, 1 << 20)] {
        let down = pace(&[(Bound::RateDown(some(bits)), operator(1))]).down.expect("a rate");
        assert_eq!(down.burst(), burst, "{bits} bit/s");
    }
    assert_eq!(said.up.map(Rate::burst), Some(10_000));
    assert_eq!(said.down.map(|rate| (rate.bytes_per_second(), rate.burst())), Some((10_000, 10_000)));
}

/// Any limit that somebody says. Few values, so that equal ones meet.
fn limits() -> impl Strategy<Value = Limit> {
    let window = (0_u16..4, 1_u16..4).prop_map(|(from, hours)| format!("{from:02}:00-{:02}:00", from + hours));
    let bound = prop_oneof![
        (1_u64..5).prop_map(|number| Bound::RateUp(some(number * 1000))),
        (1_u64..5).prop_map(|number| Bound::BytesPerMonth(some(number))),
        (1_u64..5).prop_map(|number| Bound::EventsPerMonth(Quota::Events(some(number)))),
        Just(Bound::EventsPerMonth(Quota::Unlimited)),
        (1_u32..5).prop_map(|part| Bound::Share(Share::of_millionths(part * 100_000).expect("a share"))),
        proptest::collection::vec(window, 1..3)
            .prop_map(|texts| Bound::Windows(Windows::parse(texts.iter().map(String::as_str)).expect("windows"))),
    ];
    let source = prop_oneof![
        (1_usize..4).prop_map(operator),
        "[ab]".prop_map(|name| class(&name)),
        Just(Source::Provider(Provider::RateLimitHeader)),
    ];
    (bound, source).prop_map(|(bound, source)| Limit::new(bound, source))
}

fn documents() -> impl Strategy<Value = Vec<Terms>> {
    proptest::collection::vec(proptest::collection::vec(limits(), 0..5).prop_map(Terms::new), 0..6)
}

proptest! {
    #[test]
    fn the_order_of_the_documents_does_not_matter(documents in documents(), seed in any::<u64>()) {
        let merged = Limits::merge(&documents);
        let mut shuffled: Vec<(u64, &Terms)> =
            (0..).map(|at: u64| seed.rotate_left(at as u32 * 7).wrapping_mul(at * 2 + 1)).zip(&documents).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        prop_assert_eq!(Limits::merge(shuffled.into_iter().map(|(_, terms)| terms)), merged);
    }

    #[test]
    fn what_comes_out_is_never_looser_than_what_anybody_says(documents in documents()) {
        let mut documents = documents;
        documents.push(default_events());
        let merged = Limits::merge(&documents);
        for limit in documents.iter().flat_map(Terms::limits).filter(|limit| !is_default(limit)) {
            let binding = merged.of(limit.bound.kind()).expect("a kind that somebody limits");
            prop_assert!(!limit.bound.is_tighter_than(&binding.bound), "{} under {}", limit.bound, binding.bound);
            if let (Bound::Windows(all), Bound::Windows(one)) = (&binding.bound, &limit.bound) {
                prop_assert_eq!(&all.intersect(one), all);
            }
        }
    }

    #[test]
    fn without_the_binding_limit_the_next_one_binds(documents in documents()) {
        let merged = Limits::merge(&documents);
        for binding in merged.bindings() {
            let gone = &binding.by[0];
            let mut removed = false;
            let rest: Vec<Terms> = documents.iter().map(|terms| {
                Terms::new(terms.limits().iter().filter(|limit| {
                    let this = !removed && *limit == gone;
                    removed |= this;
                    !this
                }).cloned())
            }).collect();
            let next = Limits::merge(&rest);
            let next = next.of(binding.bound.kind());
            if matches!(binding.bound, Bound::Windows(_)) {
                // Others may allow the same, and then bind; without any others, more is allowed.
                if let Some(next) = next {
                    prop_assert!(!next.bound.is_tighter_than(&binding.bound));
                    prop_assert!(!binding.others.is_empty() || binding.bound.is_tighter_than(&next.bound));
                }
            } else {
                prop_assert_eq!(next.map(|next| &next.bound), binding.others.first().map(|limit| &limit.bound));
            }
        }
    }

    #[test]
    fn every_limit_that_somebody_says_is_among_those_that_bind_or_are_overruled(documents in documents()) {
        let merged = Limits::merge(&documents);
        let mut said: Vec<Limit> = documents.iter().flat_map(|terms| terms.limits().iter().cloned()).collect();
        let mut told: Vec<Limit> =
            merged.bindings().iter().flat_map(|binding| binding.by.iter().chain(&binding.others).cloned()).collect();
        said.sort();
        told.sort();
        prop_assert_eq!(said, told);
    }
}
