use proptest::prelude::*;

use super::*;

const A: LaneId = LaneId(0);
const B: LaneId = LaneId(1);

fn rules(patterns: &[(&str, LaneId)], fallback: Option<LaneId>) -> Rules {
    let rules = patterns.iter().map(|(topic, lane)| Rule { topic: (*topic).to_owned(), lane: *lane }).collect();
    Rules::new(rules, fallback).expect("valid rules")
}

fn fault(pattern: &str) -> RuleFault {
    Rules::new(vec![Rule { topic: pattern.to_owned(), lane: A }], None).expect_err("not a rule").fault
}

fn device<'a>(pattern: &str, topic: &'a str) -> Option<&'a str> {
    rules(&[(pattern, A)], None).map(topic).map(|mapped| mapped.device)
}

#[test]
fn the_device_is_the_level_that_the_rule_names() {
    assert_eq!(device("devices/{device}/telemetry", "devices/pump-3/telemetry"), Some("pump-3"));
    assert_eq!(device("{device}", "pump-3"), Some("pump-3"));
    assert_eq!(device("/{device}", "/pump-3"), Some("pump-3"));
    assert_eq!(device("devices/{device}/telemetry", "devices/ポンプ/telemetry"), Some("ポンプ"));
}

#[test]
fn a_literal_level_must_be_equal() {
    for topic in ["devices/p/telemetry/", "devices/p", "devices/p/Telemetry", "x/p/telemetry", "/devices/p/telemetry"] {
        assert_eq!(device("devices/{device}/telemetry", topic), None, "{topic}");
    }
}

#[test]
fn an_empty_level_names_no_device() {
    assert_eq!(device("devices/{device}/telemetry", "devices//telemetry"), None);
    assert_eq!(device("{device}", ""), None);
}

#[test]
fn a_plus_is_one_level_and_a_hash_any_number() {
    assert_eq!(device("+/{device}", "site/p"), Some("p"));
    assert_eq!(device("+/{device}", "/p"), Some("p"));
    assert_eq!(device("+/{device}", "a/b/p"), None);
    assert_eq!(device("d/{device}/#", "d/p"), Some("p"));
    assert_eq!(device("d/{device}/#", "d/p/a/b"), Some("p"));
    assert_eq!(device("d/{device}/#", "d"), None);
}

#[test]
fn a_topic_of_the_broker_is_not_matched_by_a_wildcard() {
    assert_eq!(device("{device}/#", "$SYS/broker"), None);
    assert_eq!(device("+/{device}", "$SYS/broker"), None);
    assert_eq!(device("$SYS/{device}", "$SYS/broker"), Some("broker"));
    assert_eq!(rules(&[], Some(A)).map("$SYS/broker"), None);
}

#[test]
fn the_first_rule_that_matches_wins_and_the_fallback_comes_last() {
    let rules = rules(&[("a/{device}/x", A), ("a/{device}/+", B)], Some(LaneId(2)));
    assert_eq!(rules.map("a/p/x"), Some(Mapped { device: "p", lane: A }));
    assert_eq!(rules.map("a/p/y"), Some(Mapped { device: "p", lane: B }));
    assert_eq!(rules.map("b/p"), Some(Mapped { device: "b/p", lane: LaneId(2) }));
}

#[test]
fn without_a_fallback_an_unmatched_topic_is_refused() {
    assert_eq!(rules(&[("a/{device}", A)], None).map("b/p"), None);
}

#[test]
fn a_wrong_rule_is_named_with_what_to_write_instead() {
    assert_eq!(fault(""), RuleFault::Empty);
    assert_eq!(fault(&"x".repeat(MAX_PATTERN + 1)), RuleFault::TooLong);
    assert_eq!(fault("a/\0/{device}"), RuleFault::Nul);
    assert_eq!(fault("devices/telemetry"), RuleFault::NoDevice);
    assert_eq!(fault("#"), RuleFault::NoDevice);
    assert_eq!(fault("{device}/{device}"), RuleFault::TwoDevices);
    assert_eq!(fault("#/{device}"), RuleFault::HashInside);
    for mixed in ["a+/{device}", "{device}/a#", "x{device}", "{dev}/{device}"] {
        assert!(matches!(fault(mixed), RuleFault::Mixed(_)), "{mixed}");
    }
    let error = Rules::new(vec![Rule { topic: "a".into(), lane: A }], None).expect_err("no device");
    assert_eq!(
        error.to_string(),
        "topic rule 1 (\"a\") does not say which level names the device; write {device} for that level"
    );
}

#[test]
fn only_devices_that_are_named_or_begin_as_named_may_publish() {
    let all = Rules::new(Vec::new(), Some(LaneId(0))).expect("valid");
    assert!(all.allows("pump-3") && all.allows(""));
    let some = all.only(["pump-3", "meter-*"]);
    for (device, allowed) in
        [("pump-3", true), ("pump-30", false), ("pump", false), ("meter-", true), ("meter-7", true), ("meter", false)]
    {
        assert_eq!(some.allows(device), allowed, "{device}");
    }
    assert!(some.only(["*"]).allows("any"));
}

#[test]
fn the_number_of_rules_is_bounded() {
    let rule = Rule { topic: "{device}".into(), lane: A };
    assert!(Rules::new(vec![rule.clone(); MAX_RULES], None).is_ok());
    let error = Rules::new(vec![rule; MAX_RULES + 1], None).expect_err("one too many");
    assert_eq!((error.number, error.fault), (MAX_RULES + 1, RuleFault::TooMany));
}

/// The definition of matching, level by level and by recursion, to compare with.
fn matches(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) | (["#"], _) => true,
        ([], _) | (_, []) => false,
        (["+", pattern @ ..], [_, topic @ ..]) => matches(pattern, topic),
        ([DEVICE, pattern @ ..], [level, topic @ ..]) => !level.is_empty() && matches(pattern, topic),
        ([literal, pattern @ ..], [level, topic @ ..]) => literal == level && matches(pattern, topic),
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_its_definition(
        before in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+", "$x"]), 0..3),
        after in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+"]), 0..3),
        open in any::<bool>(),
        topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$x", "p"]), 1..7),
    ) {
        let mut pattern = before;
        pattern.push(DEVICE);
        pattern.extend(after);
        if open {
            pattern.push("#");
        }
        let (text, joined) = (pattern.join("/"), topic.join("/"));
        let wild_first = joined.starts_with('$') && matches!(pattern[0], "+" | DEVICE);
        let expected = matches(&pattern, &topic) && !wild_first;
        prop_assert_eq!(device(&text, &joined).is_some(), expected, "{} against {}", text, joined);
    }

    #[test]
    fn no_text_makes_it_panic(pattern in ".*", topic in ".*") {
        if let Ok(rules) = Rules::new(vec![Rule { topic: pattern, lane: A }], Some(B)) {
            let _ = rules.map(&topic);
        }
    }
}

#[test]
fn topics_of_the_agents_own_are_taken_only_by_a_rule_that_names_them() {
    let open = rules(&[("+/{device}", A), ("{device}/+", A)], Some(LaneId(2)));
    for topic in ["tidegate/gap", "tidegate/alarm", "tidegate"] {
        assert_eq!(open.map(topic), None, "{topic}");
    }
    assert_eq!(open.map("tidegates/gap"), Some(Mapped { device: "gap", lane: A }));
    assert_eq!(rules(&[("tidegate/{device}", A)], None).map("tidegate/x"), Some(Mapped { device: "x", lane: A }));
}
