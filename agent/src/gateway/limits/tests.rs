use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::config::SpeedClass;

fn table() -> Vec<SpeedClass> {
    let class = |name: &str, rate| SpeedClass { name: name.into(), rate: NonZeroU64::new(rate).expect("not 0") };
    vec![class("s1.fast", 2_000_000), class("s1.minimum", 32_000), class("s1.slow", 128_000)]
}

#[test]
fn a_speed_class_limits_both_directions_and_an_unknown_one_counts_as_the_slowest() {
    for (class, rate, source) in [
        ("s1.slow", "128 kbit/s", "SIM speed class s1.slow"),
        ("x9.new", "32 kbit/s", "SIM speed class x9.new, which the table does not have: the slowest it has"),
    ] {
        let terms = of_class(class, &table());
        let said: Vec<(&str, String, String)> = terms
            .limits()
            .iter()
            .map(|limit| (limit.bound.kind().key(), limit.bound.to_string(), limit.source.to_string()))
            .collect();
        let expected = ["rate", "rate_down"].map(|kind| (kind, rate.to_owned(), source.to_owned()));
        assert_eq!(said, expected);
    }
}

#[test]
fn what_an_answer_told_holds_until_its_end_and_no_longer() {
    let now = Instant::now();
    let told = RateLimit { per_minute: NonZeroU64::new(60).expect("not 0"), until: now + Duration::from_secs(5) };
    let terms = of_answer(told, now + Duration::from_secs(4)).expect("it holds");
    assert_eq!(terms.limits()[0].bound.to_string(), "60 a minute");
    assert_eq!(of_answer(told, now + Duration::from_secs(5)), None);
}

#[test]
fn a_terms_file_that_turns_bad_leaves_the_last_good_one_in_force_and_none_takes_it_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("terms.toml");
    let write = |text: &str| std::fs::write(&path, text).expect("a file");
    let mut file = File::default();
    file.read(Some(&path));
    assert!(
        file.terms.is_none() && file.error.as_ref().is_some_and(|error| error[0].to_string().contains("terms.toml"))
    );
    write("[limits]\nrate = \"1 Mbit/s\"");
    file.read(Some(&path));
    let good = file.terms.clone();
    assert!(good.is_some() && file.error.is_none());
    write("[limits]\nrate = 1");
    file.read(Some(&path));
    assert_eq!(file.terms, good);
    assert!(
        file.error.as_ref().is_some_and(|error| error.iter().any(|line| line.to_string().contains("limits.rate"))),
        "{:?}",
        file.error
    );
    file.read(None);
    assert!(file.terms.is_none() && file.error.is_none());
}

#[test]
fn files_alone_say_what_they_say_and_that_the_provider_is_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let (main, contract) = (folder.path().join("tidegate.toml"), folder.path().join("terms.toml"));
    let text = format!(
        "[limits]\nrate = \"512 kbit/s\"\nshare = 0.25\n[provider]\nterms = \"{}\"\n[provider.metadata]\nevery = \"5m\"\n",
        contract.display()
    );
    std::fs::write(&main, text).expect("a file");
    std::fs::write(&contract, "[limits]\nrate = \"1 Mbit/s\"\nframes = 1\n").expect("a file");
    let (limits, provider) = config::limits_and_provider(&main).expect("limits");
    let status = limits_of_files(&limits, &provider, "tidegate.toml");
    assert!(!status.provider_known && status.sim.is_none());
    let rate = &status.limits[0];
    assert_eq!((rate.kind.as_str(), rate.value.as_str(), rate.number), ("rate", "512 kbit/s", Some(512_000)));
    assert_eq!((rate.by[0].who.as_str(), rate.by[0].source.as_str()), ("operator", "operator, tidegate.toml line 2"));
    assert_eq!(rate.overruled[0].who, "terms");
    let events = status.limits.iter().find(|limit| limit.kind == "events_per_month").expect("the default");
    assert_eq!((events.by[0].who.as_str(), events.part), ("default", Some(2_500)));
    let file = status.file.expect("a terms file");
    assert_eq!((file.in_force, file.unknown_count, file.error), (true, 1, None));
    std::fs::write(&contract, "[limits]\nrate = 1\n").expect("a file");
    let file = limits_of_files(&limits, &provider, "tidegate.toml").file.expect("a terms file");
    assert!(!file.in_force && file.error.is_some());
}

#[test]
fn limits_under_which_nothing_leaves_are_said_to_be_so() {
    let share = tidegate_protocol::terms::Share::of_millionths(1).expect("a millionth");
    let bytes = |amount| NonZeroU64::new(amount).expect("not 0");
    let events = Bound::EventsPerMonth(tidegate_protocol::terms::Quota::Events(bytes(10_000)));
    for (bounds, words) in [
        (vec![Bound::BytesPerDay(bytes(20_000))], Some("bytes_per_day leaves this gateway 20000 bytes")),
        (vec![Bound::BytesPerHour(bytes(LEAST_BYTES))], None),
        (vec![Bound::BytesPerMonth(bytes(1_000_000_000)), Bound::Share(share)], Some("bytes_per_month leaves")),
        (vec![events.clone(), Bound::Share(share)], Some("no event, because its share is 0.0001 %")),
        (vec![events], None),
    ] {
        let source = || Source::Operator { file: "t.toml".into(), line: 7 };
        let limits = Limits::merge([&Terms::new(bounds.into_iter().map(|bound| Limit::new(bound, source())))]);
        let found: Vec<String> =
            limits.bindings().iter().filter_map(|it| problem(it, &limits)).map(|it| it.to_string()).collect();
        assert_eq!(found.len(), usize::from(words.is_some()), "{found:?}");
        assert!(words.is_none_or(|words| found[0].contains(words) && found[0].contains("t.toml line 7")), "{found:?}");
    }
}
