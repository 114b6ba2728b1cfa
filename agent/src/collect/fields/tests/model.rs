//! The treatment against rules applied to parsed values as plainly as they can be written, and what must hold whatever
//! a payload is.

use super::*;
use crate::field::Segment;

/// Names that meet each other often.
const NAMES: [&str; 4] = ["a", "b", "c", "né"];

fn any_path() -> impl Strategy<Value = Path> {
    let step = (prop::sample::select(&NAMES[..]), prop::sample::select(vec!["", "", "[]", "[][]"]));
    let lead = prop::sample::select(vec!["", "", "", "[]."]);
    (lead, proptest::collection::vec(step, 1..3)).prop_map(|(lead, steps)| {
        let steps: Vec<String> = steps.into_iter().map(|(name, list)| format!("{name}{list}")).collect();
        format!("{lead}{}", steps.join(".")).parse().expect("a path")
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let paths = || proptest::collection::vec(any_path(), 0..3);
    let round = proptest::collection::vec((any_path(), Just("5".parse::<Step>().expect("a step"))), 0..2);
    (proptest::option::of(paths()), paths(), paths(), round).prop_map(|(keep_only, drop, pseudonymise, round)| Rule {
        keep_only,
        drop,
        pseudonymise,
        round,
        ..Rule::default()
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-100i64..100).prop_map(Value::from),
        "[a-c\"\\\\\u{1}é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The rule's own words, applied to a value: `Ok(None)` if nothing is left of it.
fn plainly(rule: &Rule, value: &Value, at: &[Segment], kept: bool) -> Result<Option<Value>, ()> {
    let is = |path: &Path| path.segments() == at;
    let passes = |path: &Path| path.segments().len() > at.len() && path.segments().starts_with(at);
    let kept = kept || rule.keep_only.iter().flatten().any(is);
    if rule.drop.iter().any(is) {
        return Ok(None);
    }
    let (pseudonym, round) = (rule.pseudonymise.iter().any(is), rule.round.iter().find(|(path, _)| is(path)));
    if (pseudonym || round.is_some()) && kept {
        return Ok(Some(match value {
            Value::Null => Value::Null,
            Value::String(text) if pseudonym => key().pseudonym(text).into(),
            Value::Number(number) if pseudonym => key().pseudonym(&number.to_string()).into(),
            Value::Number(number) => {
                let number = number.as_i64().ok_or(())?;
                let nearest = (number.abs() + 2) / 5 * 5 * number.signum();
                nearest.into()
            }
            _ => return Err(()),
        }));
    }
    let leaf = pseudonym || round.is_some();
    let treated: Vec<&Path> =
        rule.drop.iter().chain(&rule.pseudonymise).chain(rule.round.iter().map(|(path, _)| path)).collect();
    let named: Vec<&Path> = treated.iter().copied().chain(rule.keep_only.iter().flatten()).collect();
    let leads = |to_member: bool| {
        !leaf
            && named
                .iter()
                .any(|path| passes(path) && matches!(path.segments()[at.len()], Segment::Member(_)) == to_member)
    };
    let step = |segment: Segment| [at, &[segment]].concat();
    match value {
        Value::Object(members) if leads(true) => {
            let mut left = serde_json::Map::new();
            for (name, member) in members {
                if let Some(member) = plainly(rule, member, &step(Segment::Member(name.as_str().into())), kept)? {
                    left.insert(name.clone(), member);
                }
            }
            Ok(Some(Value::Object(left)))
        }
        Value::Array(elements) if leads(false) => {
            let elements = elements.iter().map(|element| plainly(rule, element, &step(Segment::Elements), kept));
            Ok(Some(elements.collect::<Result<Vec<_>, ()>>()?.into_iter().flatten().collect::<Vec<_>>().into()))
        }
        _ if !kept => Ok(None),
        Value::Null => Ok(Some(Value::Null)),
        _ if treated.iter().any(|path| passes(path)) => Err(()),
        value => Ok(Some(value.clone())),
    }
}

/// A value as JSON with white space, and each name and text in escapes or not.
fn written(value: &Value, escaped: bool) -> String {
    let text = |text: &str| {
        if !escaped {
            return json!(text).to_string();
        }
        let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{}\"", units.concat())
    };
    match value {
        Value::String(string) => text(string),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(|element| written(element, escaped)).collect();
            format!("[ {} ]", elements.join("\n,"))
        }
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}\t: {}", text(name), written(value, escaped))).collect();
            format!(" {{{} }}", members.join(" ,"))
        }
        other => other.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_payload_becomes_what_the_rule_says(rule in any_rule(), value in any_value(), escaped in any::<bool>()) {
        let expected = plainly(&rule, &value, &[], rule.keep_only.is_none());
        let found = treated(&rule, &written(&value, escaped));
        match expected {
            Ok(Some(expected)) => {
                let found = found.map_err(|reason| TestCaseError::fail(format!("{reason}, for {expected}")))?;
                prop_assert_eq!(serde_json::from_str::<Value>(&found).expect("JSON"), expected, "{}", found);
            }
            Ok(None) | Err(()) => prop_assert!(found.is_err(), "{:?}", found),
        }
    }

    #[test]
    fn the_value_of_a_dropped_field_is_nowhere_in_what_is_stored(
        drop in proptest::collection::vec(any_path(), 1..4), value in any_value(), escaped in any::<bool>(),
    ) {
        const MARK: &str = "7365637265";
        /// Puts a mark into everything that a path leads to.
        fn mark(value: &mut Value, way: &[Segment]) {
            match (way.split_first(), value) {
                (None, value) => *value = json!([MARK, { MARK: MARK.parse::<u64>().expect("a number") }]),
                (Some((Segment::Member(name), rest)), Value::Object(members)) => {
                    members.entry(&**name).and_modify(|member| mark(member, rest));
                }
                (Some((Segment::Elements, rest)), Value::Array(elements)) => {
                    for element in elements {
                        mark(element, rest);
                    }
                }
                _ => {}
            }
        }
        let mut value = value;
        for path in &drop {
            mark(&mut value, path.segments());
        }
        let rule = Rule { drop, ..Rule::default() };
        if let Ok(stored) = treated(&rule, &written(&value, escaped)) {
            let plain = serde_json::from_str::<Value>(&stored).expect("JSON").to_string();
            prop_assert!(!stored.contains(MARK) && !plain.contains(MARK), "{}", stored);
        }
    }

    #[test]
    fn two_values_have_one_pseudonym_only_if_they_are_equal(one in "[a-c]{0,3}", other in "[a-c]{0,3}") {
        let key = key();
        prop_assert_eq!(one == other, key.pseudonym(&one) == key.pseudonym(&other));
        prop_assert_eq!(key.pseudonym(&one).len(), 24);
    }

    #[test]
    fn what_no_rule_names_stays_to_the_letter(
        numbers in proptest::collection::vec("-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][-+]?[0-9]{1,5})?", 1..5),
        text in "\\PC{0,20}",
    ) {
        let members: Vec<String> = numbers.iter().enumerate().map(|(n, number)| format!("\"n{n}\":{number}")).collect();
        let rest = format!("{},\"text\":{}", members.join(","), json!(text));
        let stored = treated(&dropped(&["gone"]), &format!("{{\"gone\":1,{rest}}}"));
        prop_assert_eq!(stored, Ok(format!("{{{rest}}}")));
    }

    #[test]
    fn nothing_makes_it_panic_and_json_is_what_serde_takes_for_it(
        text in "([\\[\\]{},:\"0-9a\\\\ue.+-]|true|null|\\\\u00e9|\"a\":|\"b\"|1){0,20}",
    ) {
        let taken = treated(&Rule { drop: paths(&["x"]), otherwise: Otherwise::Refuse, ..Rule::default() }, &text);
        if let Ok(stored) = &taken {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", stored);
        }
        // Where the whole is an object or null, the rule fits it.
        let fits = text.trim_start().starts_with('{');
        if fits && serde_json::from_str::<Value>(&text).is_ok() {
            prop_assert!(taken.is_ok(), "{:?}", taken);
        }
        let _ = treated(&kept(&["a", "b[]"]), &text);
        let _ = treated(&pseudonymised(&["a", "[]"]), &text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = made(&pseudonymised(&["a", "[]"])).treat(&bytes);
    }
}
