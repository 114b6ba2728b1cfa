use proptest::prelude::*;

use super::*;

fn some(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not 0")
}

fn operator(line: usize) -> Source {
    Source::Operator { file: "tidegate.toml".into(), line }
}

#[test]
fn every_kind_has_a_key_of_its_own_and_a_clause() {
    for kind in Kind::ALL {
        assert_eq!(Kind::of_key(kind.key()), Some(kind));
    }
    assert_eq!(Kind::of_key("frames"), None);
    let cited = |kind: Kind| kind.clause().to_string();
    assert_eq!(cited(Kind::RateUp), "5.1(2)");
    assert_eq!(cited(Kind::BytesPerDay), "11.1(3)");
    assert_eq!(cited(Kind::EventsPerMonth), "10.1(6)");
    assert_eq!(cited(Kind::BytesPerMonth), "12");
}

#[test]
fn a_kind_and_a_number_make_the_limit_that_gives_both_back() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Windows) {
        let bound = kind.bound(some(7)).expect("a limit");
        assert_eq!((bound.kind(), bound.number()), (kind, Some(7)));
    }
    assert_eq!(Kind::Windows.bound(some(7)), None);
    assert!(Kind::Share.bound(some(1_000_000)).is_some());
    for beyond in [1_000_001, u64::from(u32::MAX) + 2] {
        assert_eq!(Kind::Share.bound(some(beyond)), None, "{beyond}");
    }
}

#[test]
fn a_limit_says_its_number_and_who_says_it() {
    let windows = Windows::parse(["02:00-05:00"]).expect("a window");
    for (bound, text) in [
        (Bound::RateUp(some(512_000)), "512 kbit/s"),
        (Bound::Burst(some(32 * 1024)), "32KiB"),
        (Bound::BytesPerMonth(some(500_000_000)), "500MB a month"),
        (Bound::EventsPerMinute(some(30)), "30 a minute"),
        (Bound::EventsPerDay(some(300)), "300 a day"),
        (Bound::EventsPerMonth(Quota::Events(some(10_000))), "10,000 a month"),
        (Bound::EventsPerMonth(Quota::Unlimited), "unlimited"),
        (Bound::Share(Share::of_millionths(250_000).expect("a share")), "25 %"),
        (Bound::Share(Share::of_millionths(12_345).expect("a share")), "1.2345 %"),
        (Bound::Windows(windows), "02:00-05:00"),
    ] {
        assert_eq!(bound.to_string(), text);
    }
    let class = |known| Source::Provider(Provider::SpeedClass { class: "s1.slow".into(), known }).to_string();
    assert_eq!(class(true), "SIM speed class s1.slow");
    assert!(class(false).contains("the slowest it has"));
    assert_eq!(operator(3).to_string(), "operator, tidegate.toml line 3");
}

#[test]
fn unlimited_is_the_loosest_and_kinds_are_not_compared() {
    let (few, many) = (Quota::Events(some(1)), Quota::Events(some(u64::MAX)));
    assert!(Bound::EventsPerMonth(few).is_tighter_than(&Bound::EventsPerMonth(many)));
    assert!(Bound::EventsPerMonth(many).is_tighter_than(&Bound::EventsPerMonth(Quota::Unlimited)));
    assert!(!Bound::RateUp(some(1)).is_tighter_than(&Bound::RateDown(some(2))));
    assert!(!Bound::RateUp(some(1)).is_tighter_than(&Bound::RateUp(some(1))));
    let windows = |text: &str| Bound::Windows(Windows::parse([text]).expect("a window"));
    assert!(windows("02:00-03:00").is_tighter_than(&windows("01:00-04:00")));
    assert!(!windows("02:00-05:00").is_tighter_than(&windows("01:00-04:00")));
}

#[test]
fn a_document_says_each_kind_once_the_tighter_of_two() {
    let windows = |text: &str| Bound::Windows(Windows::parse([text]).expect("a window"));
    let terms = Terms::new([
        Limit::new(Bound::RateUp(some(8)), operator(1)),
        Limit::new(Bound::RateUp(some(5)), operator(2)),
        Limit::new(Bound::RateUp(some(6)), operator(3)),
        Limit::new(windows("01:00-04:00"), operator(4)),
        Limit::new(windows("03:00-06:00"), operator(5)),
    ]);
    let said: Vec<(String, Source)> =
        terms.limits().iter().map(|limit| (limit.bound.to_string(), limit.source.clone())).collect();
    assert_eq!(said, [("5 bit/s".to_owned(), operator(2)), ("03:00-04:00".to_owned(), operator(4))]);
}

proptest! {
    #[test]
    fn shares_of_a_whole_never_add_up_to_more(whole in any::<u64>(), parts in proptest::collection::vec(1_u32..400_000, 1..8)) {
        let sum: u32 = parts.iter().sum();
        prop_assume!(sum <= 1_000_000);
        let used: u128 =
            parts.iter().map(|part| u128::from(Share::of_millionths(*part).expect("a share").part(whole))).sum();
        prop_assert!(used <= u128::from(whole));
        prop_assert_eq!(Share::ALL.part(whole), whole);
    }
}
