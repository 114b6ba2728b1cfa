//! Rules for fields: what they are understood to mean, and what is said of mistakes.

use super::*;

/// A configuration with this rule; `key` says whether there is a key to pseudonyms.
fn with(rule: &str, key: bool) -> String {
    let key = if key { "[collect.pseudonyms]\nkey_file = \"/k\"\n" } else { "" };
    format!("{SMALLEST}{key}[[collect.fields]]\n{rule}\n")
}

fn only(text: &str) -> String {
    let found = problems(text);
    let [problem] = &found[..] else { panic!("{text}: {found:?}") };
    problem.to_string().replacen("line ", "", 1).replacen(", column ", ":", 1)
}

#[test]
fn a_rule_is_read_with_every_kind_of_treatment() {
    let rule = "topic = \"devices/{device}/#\"\nkeep_only = [\"t\", \"who\", \"at\"]\ndrop = ['at.\"a.b\"']\n\
                pseudonymise = [\"who\"]\nround = { t = 0.5, \"at.lat\" = \"2 decimals\", 'at.\"x.y\"' = 10 }\n\
                otherwise = \"store\"";
    let config = good(&with(rule, true));
    let [rule] = &config.collect.fields[..] else { panic!("{:?}", config.collect.fields) };
    assert_eq!(rule.topic, "devices/{device}/#");
    assert_eq!(rule.keep_only.as_ref().map(Vec::len), Some(3));
    assert_eq!(rule.drop[0].segments().len(), 2);
    let mut round: Vec<(String, crate::field::Step)> =
        rule.round.iter().map(|(path, step)| (path.to_string(), *step)).collect();
    round.sort_by(|one, other| one.0.cmp(&other.0));
    let step = |text: &str| text.parse().expect("a step");
    let expected = [("at.\"x.y\"", "10"), ("at.lat", "0.01"), ("t", "0.5")];
    assert_eq!(round, expected.map(|(path, text)| (path.to_owned(), step(text))));
    assert!(rule.store_untreated);
    assert!(config.warnings.iter().any(|warning| warning.key == "collect.fields.keep_only"), "{:?}", config.warnings);
    assert_eq!(config.collect.pseudonym_key.expect("a key").expose(), URL);
}

#[test]
fn each_mistake_is_said_where_it_is() {
    for (rule, said) in [
        ("drop = [\"a\"]", &["collect.fields.topic", "missing"][..]),
        ("topic = \"a/#/b\"\ndrop = [\"a\"]", &["6:9", "may only be the last level"]),
        ("topic = \"a/{b}\"\ndrop = [\"a\"]", &["{device} for the device"]),
        ("topic = \"a\"", &["collect.fields.drop", "one or more of"]),
        ("topic = \"a\"\ndrop = []", &["7:8", "found 0 fields"]),
        ("topic = \"a\"\ndrop = \"a\"", &["7:8", "person.name"]),
        ("topic = \"a\"\ndrop = [\"a\", \"b[0]\"]", &["7:14", "readings[].patient"]),
        ("topic = \"a\"\ndrop = [\"*.name\"]", &["7:9", "`*` is none"]),
        ("topic = \"a\"\npseudonymise = [\"p\"]", &["collect.fields.pseudonymise", "no key", "openssl rand"]),
        ("topic = \"a\"\nround = 0.5", &["7:9", "round = {"]),
        ("topic = \"a\"\nround = { t = 0 }", &["7:15", "above 0"]),
        ("topic = \"a\"\nround = { t = \"19 decimals\" }", &["7:15", "0 to 18"]),
        ("topic = \"a\"\nround = { a.b = 1 }", &["without quotes"]),
        ("topic = \"a\"\nround = { t = nan }", &["found", "above 0"]),
        ("topic = \"a\"\ndrop = [\"a\"]\nround = { a = 1 }", &["8:15", "a stands in drop"]),
        ("topic = \"a\"\ndrop = [\"a\"]\nround = { \"a.b\" = 1 }", &["a.b lies within a"]),
        ("topic = \"a\"\ndrop = [\"a.b\"]\nround = { a = 1 }", &["7:9", "a.b lies within a"]),
        ("topic = \"a\"\ndrop = [\"a\"]\notherwise = \"stroe\"", &["perhaps \"store\""]),
        ("topic = \"a\"\ndrop = [\"a\"]\nkeep = [\"b\"]", &["unknown key"]),
    ] {
        let found = only(&with(rule, false));
        assert!(said.iter().all(|said| found.contains(said)), "{rule}: {found}");
    }
}

#[test]
fn a_rule_that_never_applies_and_a_field_that_is_not_kept_are_warned_of() {
    let rule = "topic = \"devices/#\"\ndrop = [\"a\"]\n[[collect.fields]]\ntopic = \"devices/+/x\"\nkeep_only = [\"t\"]\n\
                round = { u = 1 }";
    let warnings = good(&with(rule, false)).warnings;
    let told: Vec<(usize, &str)> = warnings.iter().map(|warning| (warning.line, warning.key.as_str())).collect();
    assert_eq!(told, [(9, "collect.fields.topic"), (11, "collect.fields.round")], "{warnings:?}");
}

#[test]
fn one_pattern_covers_another_if_all_its_topics_are_its_own() {
    for (pattern, other, covers) in [
        ("#", "a/b", true),
        ("#", "#", true),
        ("a/#", "a", true),
        ("a/#", "a/+/#", true),
        ("a/+", "a/b", true),
        ("a/{device}", "a/+", true),
        ("a/b", "a/+", false),
        ("a/+", "a/#", false),
        ("a/+", "a/b/c", false),
        ("a/b/#", "a/#", false),
        ("a", "b", false),
    ] {
        assert_eq!(pattern::covers(pattern, other), covers, "{pattern} and {other}");
    }
}

#[test]
fn the_key_must_be_there_long_and_hidden_if_pseudonyms_are_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, long) = (folder.path().join("key"), "k".repeat(32));
    let key = |text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    let named = |rule: &str| {
        let text = format!("[collect.pseudonyms]\nkey_file = {path:?}\n[[collect.fields]]\ntopic = \"a\"\n{rule}\n");
        sections::fields(&text, "test").map_err(|errors| errors.to_string())
    };
    let (pseudonyms, none) = ("pseudonymise = [\"p\"]", "drop = [\"p\"]");
    let refused = named(pseudonyms).expect_err("no file");
    assert!(refused.contains("create it"), "{refused}");
    key(&long, 0o644);
    let refused = named(pseudonyms).expect_err("everybody may read it");
    assert!(refused.contains("chmod it 600"), "{refused}");
    assert!(named(none).is_ok(), "nobody needs it");
    key(&long[1..], 0o600);
    let refused = named(pseudonyms).expect_err("short");
    assert!(refused.contains("32 characters") && !refused.contains("kkk"), "{refused}");
    key(&long, 0o600);
    assert_eq!(named(pseudonyms).expect("good").1, Some(Secret::new(long)));
}
