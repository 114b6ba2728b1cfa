//! Documents in the shape of public status pages, and nonsense.

use super::*;
use proptest::prelude::*;

/// An API alone, without groups: one incident that goes on, one resolved, one with its postmortem.
const CODE_HOST: &str = include_str!("shapes/code_host.json");
/// Components in groups, maintenances under way and to come, one of no component.
const NETWORK: &str = include_str!("shapes/network.json");
/// Offsets, nulls, markup, components in updates alone, maintenances that are verified and over.
const TELEPHONY: &str = include_str!("shapes/telephony.json");
/// Japanese, full-width letters, a status in another language, components as ids.
const IOT_JAPAN: &str = include_str!("shapes/iot_japan.json");

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::new(pattern).expect("a pattern")).collect()
}

fn read(text: &str, patterns: &[&str]) -> Document {
    Document::read(text.as_bytes(), &globs(patterns)).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// Ids, windows in s since 2026-11-22T00:00Z, and progress.
fn windows(document: &Document) -> Vec<(&str, i64, Option<i64>, Progress)> {
    let since = |ms: u64| i64::try_from(ms / 1000).expect("a time of these centuries") - 1_795_305_600;
    let all = document.maintenances.as_ref().expect("a list");
    all.iter().map(|it| (it.id.as_str(), since(it.from_ms), it.until_ms.map(since), it.progress)).collect()
}

fn incidents(document: &Document) -> Vec<(&str, &str)> {
    let all = document.incidents.as_ref().expect("a list");
    all.iter().map(|it| (it.id.as_str(), it.impact.as_str())).collect()
}

const HOUR: i64 = 3600;

#[test]
fn incidents_that_are_over_are_left_out() {
    let document = read(CODE_HOST, &["api"]);
    assert_eq!(incidents(&document), [("i00000000001", "minor")]);
    assert_eq!(document.incidents.as_ref().expect("a list")[0].since_ms, Some(1_795_334_281_092));
    assert_eq!((document.maintenances.as_deref(), document.skipped, document.others), (Some(&[][..]), 0, 0));
    let document = read(CODE_HOST, &["flux"]);
    assert_eq!((incidents(&document), document.others), (vec![], 1));
}

#[test]
fn a_component_counts_by_its_own_name_and_by_its_groups() {
    use Progress::{InProgress, Scheduled};
    let tokyo = ("m00000000001", 7 * HOUR, Some(10 * HOUR), InProgress);
    let osaka = ("m00000000002", 65 * HOUR, Some(71 * HOUR), Scheduled);
    assert_eq!(windows(&read(NETWORK, &["tokyo"])), [tokyo]);
    assert_eq!(windows(&read(NETWORK, &["asia"])), [tokyo, osaka]);
    assert_eq!(windows(&read(NETWORK, &["sites"])), []);
    // Of no component: its title counts, and a star takes all.
    assert_eq!(windows(&read(NETWORK, &["billing"]))[0].0, "m00000000003");
    assert_eq!(windows(&read(NETWORK, &["*"])).len(), 3);
}

#[test]
fn offsets_nulls_markup_and_components_in_updates_alone_are_read() {
    use Progress::{Completed, InProgress};
    let document = read(TELEPHONY, &["api"]);
    assert_eq!(
        windows(&document),
        [
            ("m0000000net1", 8 * HOUR, Some(8 * HOUR + 900), InProgress),
            ("m0000000net2", 2 * HOUR, Some(4 * HOUR), Completed)
        ]
    );
    assert_eq!(incidents(&document), [("i0000000api1", "critical")]);
    let incident = &document.incidents.as_ref().expect("a list")[0];
    assert_eq!(incident.name, "REST API &amp; Console: increased \\u{3c}b\\u{3e}errors\\u{3c}/b\\u{3e}");
    // A leap second is the second before it.
    assert_eq!(incident.since_ms, Some(1_795_305_600_000 + 8 * 3_600_000 - 1_000));
    assert_eq!((document.skipped, document.others), (0, 1));
}

#[test]
fn japanese_full_width_letters_and_unknown_words_are_read() {
    use Progress::Scheduled;
    let document = read(IOT_JAPAN, &["flux", "unified", "api"]);
    let day = 24 * HOUR;
    assert_eq!(
        windows(&document),
        [
            ("mjp000000001", 3 * day + 17 * HOUR, Some(3 * day + 19 * HOUR), Scheduled),
            ("mjp000000003", 5 * day + 17 * HOUR, Some(5 * day + 19 * HOUR), Scheduled),
        ]
    );
    let title = &document.maintenances.as_ref().expect("a list")[0].name;
    assert_eq!(title, "Unified Endpoint 定期メンテナンスのお知らせ (11/26 2:00〜4:00)");
    // A status in words of their own is not resolved.
    assert_eq!(incidents(&document), [("ijp000000002", "minor")]);
    assert_eq!(document.incidents.as_ref().expect("a list")[0].name, "Flux の実行遅延について\\u{200b}\\u{202e}");
    assert_eq!(document.others, 1);
}

fn maintenance(fields: &str) -> String {
    format!(
        r#"{{"id":"m","name":"Flux","status":"scheduled","scheduled_for":"2026-11-22T07:00:00Z","scheduled_until":"2026-11-22T08:00:00Z"{fields}}}"#
    )
}

fn page(maintenances: &[String]) -> String {
    format!(r#"{{"scheduled_maintenances":[{}]}}"#, maintenances.join(","))
}

#[test]
fn nonsense_in_one_entry_never_loses_the_others() {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let wide = format!(r#"{{"x":"{}"}}"#, "y".repeat(100_000));
    for (nonsense, skipped) in [
        ("null", 1),
        ("7", 1),
        ("\"text\"", 1),
        ("[]", 1),
        ("{}", 1),
        (r#"{"id":{"a":1},"name":[2],"status":{},"scheduled_for":3,"components":{"flux":1}}"#, 1),
        (r#"{"id":"x","name":"Flux","status":"scheduled","scheduled_for":"soon"}"#, 1),
        (r#"{"id":"x","name":"Flux","status":"scheduled","scheduled_for":"2026-11-22T07:00:00"}"#, 1),
        (r#"{"id":"x","name":"Flux","status":"scheduled","scheduled_for":"1969-11-22T07:00:00Z"}"#, 1),
        (r#"{"id":"x","name":"Flux","status":"scheduled","scheduled_for":"99999-01-01T00:00:00Z"}"#, 1),
        (r#"{"id":"x","name":null,"components":[null,7,{"name":5},{"id":null}],"status":"in_progress"}"#, 0),
        (&*deep, 1),
        (&*wide, 1),
        (&*format!(r#"{{"id":"x","components":{deep}}}"#), 1),
    ] {
        let entries = [maintenance(""), nonsense.to_owned(), maintenance(r#","x":1"#).replace("\"m\"", "\"n\"")];
        let document = read(&page(&entries), &["flux"]);
        let found = document.maintenances.as_ref().expect("a list");
        assert_eq!(found.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["m", "n"], "{nonsense:.80}");
        assert_eq!(document.skipped, skipped, "{nonsense:.80}");
    }
    // Half a character is one bad letter, and a byte order mark none.
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(page(&[maintenance(r#","body":"@""#)]).replace('@', "\u{1}").bytes());
    let at = bytes.iter().position(|byte| *byte == 1).expect("it is there");
    bytes[at] = 0xe3;
    let document = Document::read(&bytes, &globs(&["flux"])).expect("a page");
    assert_eq!(document.maintenances.map(|all| all.len()), Some(1));
}

#[test]
fn a_list_that_is_missing_is_not_an_empty_one_and_what_is_no_page_is_said() {
    let mut known = Page::default();
    read(&page(&[maintenance("")]), &["*"]).onto(&mut known);
    assert_eq!(known.maintenances.len(), 1);
    for text in [r#"{"incidents":[]}"#, r#"{"incidents":[],"scheduled_maintenances":null}"#] {
        let document = read(text, &["*"]);
        assert_eq!((document.maintenances.is_none(), document.incidents.is_some()), (true, true), "{text}");
        document.onto(&mut known);
        assert_eq!(known.maintenances.len(), 1, "{text}");
    }
    read(r#"{"scheduled_maintenances":[]}"#, &["*"]).onto(&mut known);
    assert_eq!(known, Page::default());
    for text in ["{}", r#"{"error":"no such page"}"#, r#"{"incidents":{},"scheduled_maintenances":"none"}"#] {
        assert!(matches!(Document::read(text.as_bytes(), &[]), Err(NoPage::NoLists)), "{text}");
    }
    for text in ["", "<html>", "[]", "null", "{", "\u{0}"] {
        assert!(matches!(Document::read(text.as_bytes(), &[]), Err(NoPage::Nonsense(_))), "{text}");
    }
}

#[test]
fn windows_that_make_no_sense_have_no_end() {
    let until = |until: &str| {
        let text = page(&[maintenance("").replace("\"2026-11-22T08:00:00Z\"", until)]);
        windows(&read(&text, &["flux"]))[0].2
    };
    assert_eq!(until("\"2026-11-22T16:00:00.5+09:00\""), Some(7 * HOUR));
    for none in ["null", "\"2026-11-22T07:00:00Z\"", "\"2026-11-22T06:00:00Z\"", "8", "\"later\""] {
        assert_eq!(until(none), None, "{none}");
    }
    // Under way, though nobody said since when.
    let text = page(&[r#"{"id":"m","name":"Flux","status":"in_progress"}"#.to_owned()]);
    assert_eq!(read(&text, &["flux"]).maintenances.expect("a list")[0].from_ms, 0);
    for (word, progress) in [
        ("in_progress", Progress::InProgress),
        ("VERIFYING", Progress::InProgress),
        ("completed", Progress::Completed),
        ("cancelled", Progress::Completed),
        ("scheduled", Progress::Scheduled),
        ("postponed?", Progress::Scheduled),
    ] {
        let text = page(&[maintenance("").replace("\"scheduled\"", &format!("\"{word}\""))]);
        assert_eq!(windows(&read(&text, &["flux"]))[0].3, progress, "{word}");
    }
}

#[test]
fn of_two_entries_with_one_id_the_one_changed_later_counts_and_one_without_is_told_apart() {
    let one = maintenance(r#","updated_at":"2026-11-20T00:00:00Z""#);
    let later = one.replace("08:00:00Z\"", "09:00:00Z\"").replace("11-20", "11-21");
    for entries in [[one.clone(), later.clone()], [later, one]] {
        assert_eq!(windows(&read(&page(&entries), &["flux"])), [("m", 7 * HOUR, Some(9 * HOUR), Progress::Scheduled)]);
    }
    let unnamed = maintenance("").replace("\"m\"", "null");
    let other = unnamed.replace("2026-11-22T07", "2026-11-22T06");
    let document = read(&page(&[unnamed.clone(), other, unnamed]), &["flux"]);
    let ids: Vec<String> = document.maintenances.expect("a list").into_iter().map(|it| it.id).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids[0].starts_with("unnamed-"), "{ids:?}");
    let long = maintenance("").replace("\"m\"", &format!("\"{}\"", "é".repeat(100)));
    assert!(read(&page(&[long]), &["flux"]).maintenances.expect("a list")[0].id.len() <= 64);
}

#[test]
fn what_is_kept_is_bounded_and_what_is_under_way_is_kept_first() {
    let mut entries: Vec<String> = (0..1_000).map(|n| maintenance("").replace("\"m\"", &format!("\"s{n}\""))).collect();
    entries.push(maintenance("").replace("\"m\"", "\"now\"").replace("scheduled\"", "in_progress\""));
    let document = read(&page(&entries), &["flux"]);
    let found = document.maintenances.expect("a list");
    assert_eq!((found.len(), found[0].id.as_str()), (ENTRIES, "now"));
    assert!(found.iter().all(|it| it.name.chars().count() <= 121));
}

proptest! {
    #[test]
    fn no_document_makes_it_panic_or_keep_too_much(
        text in "\\{(\"(scheduled_maintenances|incidents|components)\":[0-9a-z\"\\[{\\]}:,]{0,40},?){0,3}\\PC{0,9}",
        cut in 0..3_000_usize,
        byte: u8,
    ) {
        let _ = Document::read(text.as_bytes(), &globs(&["flux"]));
        for shape in [CODE_HOST, NETWORK, TELEPHONY, IOT_JAPAN] {
            let mut bytes = shape.as_bytes().to_vec();
            let at = cut * bytes.len() / 3_000;
            bytes[at] = byte;
            if let Ok(document) = Document::read(&bytes, &globs(&["*"])) {
                prop_assert!(document.maintenances.unwrap_or_default().len() <= ENTRIES);
            }
        }
    }
}
