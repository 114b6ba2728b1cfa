use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::secret::Secret;

mod model;

fn paths(paths: &[&str]) -> Vec<Path> {
    paths.iter().map(|path| path.parse().expect(path)).collect()
}

fn key() -> Arc<Key> {
    Arc::new(Key::new(Secret::new("0123456789abcdef0123456789abcdef")))
}

fn made(rule: &Rule) -> Arc<Treatment> {
    let rule = Rule { topic: "#".into(), ..rule.clone() };
    Fields::new(&[rule], Some(&key())).expect("a rule").only().expect("one rule").clone()
}

/// What becomes of a payload, as text, or why it is refused.
fn treated(rule: &Rule, payload: &str) -> Result<String, String> {
    let treated = made(rule).treat(payload.as_bytes()).map_err(|refused| refused.to_string())?;
    Ok(String::from_utf8(treated.payload.into_owned()).expect("UTF-8 comes of UTF-8"))
}

fn kept(keep: &[&str]) -> Rule {
    Rule { keep_only: Some(paths(keep)), ..Rule::default() }
}

fn dropped(drop: &[&str]) -> Rule {
    Rule { drop: paths(drop), ..Rule::default() }
}

fn pseudonymised(fields: &[&str]) -> Rule {
    Rule { pseudonymise: paths(fields), ..Rule::default() }
}

fn rounded(path: &str, step: &str) -> Rule {
    Rule { round: vec![(path.parse().expect(path), step.parse().expect(step))], ..Rule::default() }
}

#[test]
fn what_is_dropped_goes_and_the_rest_stays_to_the_letter() {
    let payload = r#" { "person" : {"name":"Ann","age":41}, "t": 1.10, "n" :9007199254740993 , "list": [ 1 , 2 ] } "#;
    for (drop, left) in [
        (&["person.name"][..], r#"{"person":{"age":41},"t":1.10,"n":9007199254740993,"list":[ 1 , 2 ]}"#),
        (&["person", "list"], r#"{"t":1.10,"n":9007199254740993}"#),
        (&["list[]"], r#"{"person":{"name":"Ann","age":41},"t":1.10,"n":9007199254740993,"list":[]}"#),
        (&["person", "t", "n", "list"], "{}"),
        (
            &["absent", "person.absent"],
            r#"{"person":{"name":"Ann","age":41},"t":1.10,"n":9007199254740993,"list":[ 1 , 2 ]}"#,
        ),
    ] {
        assert_eq!(treated(&dropped(drop), payload).as_deref(), Ok(left), "{drop:?}");
    }
}

#[test]
fn keep_only_keeps_what_it_names_with_all_that_is_in_it() {
    let payload = r#"{"person":{"name":"Ann","age":41},"rows":[{"v":1,"who":"Ann"},2,{"v":{"x":3}}],"t":1}"#;
    for (keep, left) in [
        (&["t"][..], r#"{"t":1}"#),
        (&["person.age", "t"], r#"{"person":{"age":41},"t":1}"#),
        (&["rows[].v"], r#"{"rows":[{"v":1},{"v":{"x":3}}]}"#),
        (&["person"], r#"{"person":{"name":"Ann","age":41}}"#),
        (&["person", "person.age"], r#"{"person":{"name":"Ann","age":41}}"#),
        (&["t.deeper"], "{}"),
        (&["absent"], "{}"),
    ] {
        assert_eq!(treated(&kept(keep), payload).as_deref(), Ok(left), "{keep:?}");
    }
    assert_eq!(treated(&kept(&["[].v"]), r#"[{"v":1,"w":2},"Ann"]"#).as_deref(), Ok(r#"[{"v":1}]"#));
}

#[test]
fn a_pseudonym_is_the_same_however_the_value_is_written() {
    let rule = pseudonymised(&["who"]);
    let of = |value: &str| treated(&rule, &format!(r#"{{"who":{value}}}"#)).expect("treated");
    let ann = format!(r#"{{"who":"{}"}}"#, key().pseudonym("Ann"));
    assert_eq!((of(r#""Ann""#), of(r#""\u0041nn""#)), (ann.clone(), ann));
    let number = of("42");
    for same in ["42.0", "4.2e1", r#""42""#] {
        assert_eq!(of(same), number);
    }
    assert_ne!(of("43"), number);
    assert_ne!(of(r#""ann""#), of(r#""Ann""#));
    assert_eq!(of("null"), r#"{"who":null}"#, "there is nobody in it");
    assert_eq!(of(r#""\ud83d\ude00""#), of(r#""😀""#));
}

#[test]
fn names_are_compared_by_their_characters_and_each_of_two_is_treated() {
    let payload = r#"{"n\u0061me":"Ann","name":"Ann","Name":"x"}"#;
    assert_eq!(treated(&dropped(&["name"]), payload).as_deref(), Ok(r#"{"Name":"x"}"#));
    assert_eq!(treated(&dropped(&[r#""a.b""#]), r#"{"a.b":1,"a":{"b":2}}"#).as_deref(), Ok(r#"{"a":{"b":2}}"#));
}

#[test]
fn the_first_of_several_rules_at_a_field_holds() {
    let rule = Rule {
        keep_only: Some(paths(&["a", "b", "c"])),
        drop: paths(&["a"]),
        pseudonymise: paths(&["a", "b", "d"]),
        round: vec![
            ("b".parse().expect("b"), "1".parse().expect("1")),
            ("c".parse().expect("c"), "1".parse().expect("1")),
        ],
        ..Rule::default()
    };
    let left = format!(r#"{{"b":"{}","c":2}}"#, key().pseudonym("1.5"));
    assert_eq!(treated(&rule, r#"{"a":"Ann","b":1.5,"c":1.5,"d":"Bob","e":0}"#), Ok(left));
}

#[test]
fn what_cannot_be_treated_is_refused_and_the_reason_names_nothing_of_the_payload() {
    for (rule, payload, reason) in [
        (dropped(&["a.name"]), r#"{"a":"Ann"}"#, "a is a text and should be an object"),
        (dropped(&["a.name"]), r#"{"a":[{"name":"Ann"}]}"#, "a is a list and should be an object"),
        (dropped(&["a[].name"]), r#"{"a":{"name":"Ann"}}"#, "a is an object and should be a list"),
        (dropped(&["a.name", "a[].name"]), r#"{"a":true}"#, "a is true or false and should be an object or a list"),
        (dropped(&["name"]), r#"[{"name":"Ann"}]"#, "the payload is a list and should be an object"),
        (dropped(&["name"]), r#""Ann""#, "the payload is a text and should be an object"),
        (dropped(&["name"]), "Ann", "the payload is not JSON, at byte 0"),
        (dropped(&["name"]), "", "the payload is not JSON, at byte 0"),
        (dropped(&["name"]), r#"{"name":"Ann"} x"#, "the payload is not JSON, at byte 15"),
        (dropped(&["name"]), r#"{"name":"Ann",}"#, "the payload is not JSON, at byte 14"),
        (dropped(&["name"]), r#"{"\ud800":1}"#, "the payload has an exponent or an escape that stands for nothing"),
        (pseudonymised(&["who"]), r#"{"who":{"name":"Ann"}}"#, "who is an object and should be a text or a number"),
        (pseudonymised(&["who"]), r#"{"who":["Ann"]}"#, "who is a list and should be a text or a number"),
        (pseudonymised(&["who[].id"]), r#"{"who":[{"id":true}]}"#, "who[].id is true or false and should be"),
        (rounded("t", "0.5"), r#"{"t":"21.7"}"#, "t is a text and should be a number"),
        (rounded("t", "0.5"), r#"{"t":1e300}"#, "t is a number too large to round"),
        (kept(&["t"]), "[1]", "the payload is neither an object nor a list in which"),
        (kept(&["t"]), r#""Ann""#, "the payload is neither an object nor a list in which"),
    ] {
        let refused = treated(&rule, payload).expect_err(payload);
        assert!(refused.starts_with(reason), "{payload}: {refused}");
        assert!(!refused.contains("Ann"), "{refused}");
    }
    assert!(made(&dropped(&["n"])).treat(&[b'"', 0xff, b'"']).is_err(), "no UTF-8");
}

#[test]
fn a_rule_may_have_what_it_cannot_treat_stored_as_it_came() {
    let rule = Rule { otherwise: Otherwise::Store, ..rounded("t", "0.5") };
    let treatment = made(&rule);
    let treated = treatment.treat(b"no JSON").expect("stored");
    assert_eq!(&*treated.payload, b"no JSON");
    assert!(treated.untreated.is_some());
    assert_eq!(treatment.treat(br#"{"t":1.3}"#).expect("treated").untreated, None);
}

#[test]
fn depth_pseudonyms_and_length_are_bounded() {
    let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(treated(&dropped(&["a"]), &nested(MAX_DEPTH - 1)).is_ok());
    assert!(treated(&dropped(&["a"]), &nested(MAX_DEPTH)).expect_err("too deep").contains("deeper"));
    assert!(treated(&dropped(&["a"]), &nested(500_000)).expect_err("too deep").contains("deeper"));
    let list = |count: usize| format!(r#"{{"ids":[{}]}}"#, vec!["1"; count].join(","));
    assert!(treated(&pseudonymised(&["ids[]"]), &list(MAX_PSEUDONYMS)).is_ok());
    assert!(
        treated(&pseudonymised(&["ids[]"]), &list(MAX_PSEUDONYMS + 1)).expect_err("too many").contains("more than")
    );
    // Each of three bytes becomes twenty.
    let step = "0.000000000000000001";
    let long = treated(&rounded("ids[]", step), &list(MAX_OUTPUT / 20));
    assert!(long.expect_err("too long").contains("longer"), "{}", MAX_OUTPUT);
}

#[test]
fn the_first_rule_that_matches_a_topic_treats_it_and_only_that_one() {
    let rule = |topic: &str, field: &str| Rule { topic: topic.into(), ..dropped(&[field]) };
    let fields = Fields::new(&[rule("devices/+/a", "x"), rule("devices/#", "y")], None).expect("two rules");
    let dropped = |topic: &str| {
        fields.of(topic).map(|treatment| {
            String::from_utf8(treatment.treat(br#"{"x":1,"y":2}"#).expect("treated").payload.into_owned())
                .expect("text")
        })
    };
    assert_eq!(dropped("devices/1/a").as_deref(), Some(r#"{"y":2}"#));
    assert_eq!(dropped("devices/1/b").as_deref(), Some(r#"{"x":1}"#));
    assert_eq!(dropped("other"), None);
    assert_eq!(fields.only(), None);
    assert!(matches!(Fields::new(&[rule("a/#/b", "x")], None), Err(RuleError::Topic(_))));
    let no_key = Rule { topic: "#".into(), ..pseudonymised(&["who"]) };
    assert!(matches!(Fields::new(&[no_key], None), Err(RuleError::NoKey(_))));
    assert!(matches!(Fields::new(&vec![rule("a", "x"); 65], None), Err(RuleError::TooMany(65))));
}

#[test]
fn a_dry_run_says_what_was_done_to_which_field() {
    let rule = Rule {
        keep_only: Some(paths(&["rows[]", "t", "who"])),
        drop: paths(&["rows[].name"]),
        ..Rule { pseudonymise: paths(&["who"]), ..rounded("t", "0.5") }
    };
    let payload = r#"{"rows":[{"name":"Ann"},{"name":"Bob","v":1}],"t":1.3,"who":"Ann","a.b":[1,2]}"#;
    let (stored, did) = made(&rule).explain(payload.as_bytes());
    assert!(stored.is_ok());
    let told: Vec<(&str, Deed, &str)> = did.iter().map(|did| (&*did.path, did.deed, &*did.from)).collect();
    assert_eq!(
        told,
        [
            ("rows[].name", Deed::Dropped, r#""Ann""#),
            ("rows[].name", Deed::Dropped, r#""Bob""#),
            ("t", Deed::Rounded, "1.3"),
            ("who", Deed::Pseudonymised, r#""Ann""#),
            (r#""a.b""#, Deed::NotKept, "[1,2]"),
        ]
    );
    assert_eq!(did[2].to.as_deref(), Some("1.5"));
}
