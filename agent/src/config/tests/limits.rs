//! `[limits]`, `[provider]` and terms files.

use tidegate_protocol::terms::{Bound, Kind, Source};

use super::mistakes::behind;
use super::*;
use crate::config::terms::{self, TermsError};

fn stated(text: &str) -> Vec<(&'static str, String, usize)> {
    let limits = good(&format!("{SMALLEST}{text}")).limits;
    limits.stated.iter().map(|it| (it.bound.kind().key(), it.bound.to_string(), it.line)).collect()
}

#[test]
fn limits_are_read_as_people_write_them_with_the_line_they_stand_on() {
    let text = "[limits]\nrate = \"512 kbit/s\"\nrate_down = \"2Mbps\"\nburst = \"64 KiB\"\nbytes_per_month = \"500 MB\"\n\
                events_per_minute = 30\nevents_per_month = 10000\nshare = 0.25\nwindows = [\"02:00-05:00\"]\n";
    let said: Vec<(&str, String)> = stated(text).into_iter().map(|(key, bound, _)| (key, bound)).collect();
    let expected = [
        ("rate", "512 kbit/s"),
        ("rate_down", "2 Mbit/s"),
        ("burst", "64KiB"),
        ("bytes_per_month", "500MB a month"),
        ("events_per_minute", "30 a minute"),
        ("events_per_month", "10,000 a month"),
        ("share", "25 %"),
        ("windows", "02:00-05:00"),
    ];
    assert_eq!(said, expected.map(|(key, text)| (key, text.to_owned())));
    assert!(stated(text).iter().enumerate().all(|(index, (_, _, line))| *line == 6 + index));
    assert_eq!(stated("[limits]\nevents_per_month = \"unlimited\"")[0].1, "unlimited");
    for whole in ["1", "1.0", "\"100%\""] {
        assert_eq!(stated(&format!("[limits]\nshare = {whole}"))[0].1, "100 %");
    }
}

#[test]
fn mistakes_in_limits_are_said_with_what_to_write() {
    let limit = |key: &str, value: &str, words: &[&str]| {
        behind(&format!("[limits]\n{key} = {value}"), 2, key.len() + 4, &format!("limits.{key}"), words);
    };
    limit("rate", "512", &["512", "\"512 kbit/s\"", "\"512 kB/s\"", "eight times"]);
    limit("rate", "\"512\"", &["\"512 kbit/s\"", "\"512 kB/s\""]);
    limit("rate", "1.5", &["\"1.5 kbit/s\""]);
    limit("rate", "\"64 KiB\"", &["\"64 KiB/s\""]);
    limit("rate", "\"1 bit/s\"", &["out of range", "\"1 kbit/s\"", "\"100 Gbit/s\""]);
    limit("rate", "true", &["found true", "\"512 kbit/s\""]);
    limit("burst", "64", &["\"64KiB\""]);
    limit("burst", "\"1kB\"", &["\"3kB\""]);
    limit("bytes_per_month", "500", &["\"500MiB\""]);
    limit("bytes_per_day", "\"0B\"", &["\"1kB\""]);
    limit("events_per_minute", "0", &["1 to 1000000"]);
    limit("events_per_month", "0", &["1 to 1000000000"]);
    limit("events_per_month", "\"10000\"", &["without quotes", "\"unlimited\""]);
    for share in ["0", "0.0", "1.5", "-0.5", "nan", "\"25\"", "\"0%\"", "\"x%\"", "true"] {
        limit("share", share, &["0.25", "\"25%\""]);
    }
    limit("windows", "\"02:00-05:00\"", &["in an array"]);
    limit("windows", "[]", &["found 0 windows", "remove the key"]);
    limit("calendar", "\"CET\"", &["\"JST\"", "\"UTC\""]);
    behind("[limits]\nwindows = [\"02:00-05:00\", \"2-5\"]", 2, 27, "limits.windows", &["found \"2-5\"", "24:00"]);
    behind("[limits]\nrates = \"1 Mbit/s\"", 2, 1, "limits.rates", &["unknown key", "`rate`"]);
    behind("[limits]\nevents_per_month = 3\nshare = 0.3", 3, 9, "limits.share", &["less than one event"]);
}

#[test]
fn the_line_is_asked_where_it_is_soracoms_or_somebody_says_so() {
    let hook = "[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl_file = \"/u\"\n";
    for (text, enabled) in [
        (SMALLEST.to_owned(), true),
        (hook.to_owned(), false),
        (format!("{hook}[provider.metadata]\n"), false),
        (format!("{hook}[provider.metadata]\nevery = \"5m\""), true),
        (format!("{hook}[provider.metadata]\nurl = \"http://metadata.soracom.io\""), true),
        (format!("{hook}[provider.metadata]\nenabled = true"), true),
        (format!("{hook}[provider.metadata]\nenabled = false\nevery = \"5m\""), false),
        (format!("{SMALLEST}[provider.metadata]\nenabled = false"), false),
    ] {
        assert_eq!(good(&text).provider.metadata.enabled, enabled, "{text}");
    }
    let url = |url: &str| good(&format!("{SMALLEST}[provider.metadata]\nurl = \"{url}\"")).provider.metadata.url;
    assert_eq!(url("http://127.0.0.1:8080/base/"), "http://127.0.0.1:8080/base");
    behind("[provider.metadata]\nurl = \"ftp://x\"", 2, 7, "provider.metadata.url", &["http://"]);
    behind("[provider.metadata]\nurl = \"http://x/?a\"", 2, 7, "provider.metadata.url", &["query"]);
    behind("[provider.metadata]\nevery = \"1s\"", 2, 9, "provider.metadata.every", &["\"60s\""]);
    behind("[provider]\nterms = \"terms.toml\"", 2, 9, "provider.terms", &["absolute"]);
}

#[test]
fn speed_classes_replace_and_add_to_the_defaults() {
    let classes = good(&format!(
        "{SMALLEST}[[provider.speed_class]]\nname = \"s1.slow\"\nrate = \"64 kbit/s\"\n\
         [[provider.speed_class]]\nname = \"x9.new\"\nrate = \"1Mbps\"\n"
    ))
    .provider
    .speed_classes;
    let rate = |name: &str| classes.iter().find(|class| class.name == name).map(|class| class.rate.get());
    assert_eq!((rate("s1.slow"), rate("x9.new")), (Some(64_000), Some(1_000_000)));
    assert_eq!((rate("s1.minimum"), rate("s1.8xfast"), classes.len()), (Some(32_000), Some(16_000_000), 11));
    let class = |lines: &str| format!("[[provider.speed_class]]\n{lines}");
    behind(&class("name = \"s1.slow\""), 1, 1, "provider.speed_class.rate", &["missing"]);
    behind(&class("rate = \"1Mbps\""), 1, 1, "provider.speed_class.name", &["missing"]);
    behind(&class("name = \"a b\"\nrate = \"1Mbps\""), 2, 8, "provider.speed_class.name", &["\"s1.slow\""]);
    behind(&class("name = \"a\"\nrate = 9"), 3, 8, "provider.speed_class.rate", &["\"9 kbit/s\""]);
    let twice = class("name = \"a\"\nrate = \"1Mbps\"\n");
    behind(&format!("{twice}{twice}"), 5, 8, "provider.speed_class.name", &["two speed classes"]);
}

#[test]
fn how_often_batches_may_go_is_judged_by_the_quota() {
    let warned = |limits: &str, age: &str| {
        let text = format!("{SMALLEST}[limits]\n{limits}\n[forward.flux.batch]\nmax_age = \"{age}\"\n");
        good(&text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warned("events_per_month = \"unlimited\"", "1s"), "");
    assert_eq!(warned("events_per_month = 100000", "27s"), "");
    assert!(warned("events_per_month = 100000", "10s").contains("\"30s\""));
    let shared = warned("share = 0.25", "270s");
    assert!(shared.contains("2,500 events a month") && shared.contains("\"1080s\""), "{shared}");
}

#[test]
fn the_global_coverage_and_japans_calendar_are_wondered_at() {
    let api = "[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"api\"\nbase_url = \"https://g.api.soracom.io\"\n\
               app_id = \"a\"\nchannel_id = \"c\"\nauth_key_id = \"k\"\nauth_key_file = \"/k\"\n";
    let warnings = good(api).warnings;
    assert!(warnings.iter().any(|warning| warning.key == "limits.calendar"), "{warnings:?}");
    assert_eq!(good(&format!("{api}[limits]\ncalendar = \"UTC\"")).warnings, []);
}

#[test]
fn limits_can_be_read_whatever_else_is_wrong_with_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    let write = |text: &str| std::fs::write(&path, text).expect("a file");
    write("[forward.flux]\nkind = \"unified\"\nurl_file = \"/nowhere\"\n[limits]\nrate = \"1Mbps\"\n");
    let (limits, provider) = limits_and_provider(&path).expect("limits");
    assert_eq!((limits.stated.len(), limits.stated[0].line), (1, 5));
    assert!(provider.metadata.enabled);
    write("forward = 3\n[limits]\nrate = 1\n");
    let error = limits_and_provider(&path).expect_err("a bare number").to_string();
    assert!(error.contains("limits.rate") && !error.contains("forward"), "{error}");
}

#[test]
fn a_terms_file_has_the_same_form_and_what_is_not_known_in_it_is_kept_by_name() {
    let text = "colour = 3\n[terms]\ntitle = \"Contract\"\nversion = \"2026-10\"\nsigned = true\n[limits]\n\
                rate = \"128 kbit/s\"\nframes = 7\nbytes_per_day = \"2 MB\"\n[clauses]\nrate = \"17.3\"\nburst = \"12\"\n[later]\n";
    let found = terms::parse(text, "terms.toml").expect("terms");
    assert_eq!((found.title.as_str(), found.version.as_str()), ("Contract", "2026-10"));
    let said: Vec<(String, String, &Source)> =
        found.limits().iter().map(|limit| (limit.bound.to_string(), limit.clause.to_string(), &limit.source)).collect();
    let source = |line| Source::Terms { file: "terms.toml".into(), line };
    assert_eq!(
        said,
        [
            ("128 kbit/s".to_owned(), "17.3".to_owned(), &source(7)),
            ("2MB a day".to_owned(), "11.1(3)".to_owned(), &source(9))
        ]
    );
    let unknown = [
        "terms.signed (line 5)",
        "limits.frames (line 8)",
        "clauses.burst (line 12)",
        "colour (line 1)",
        "later (line 13)",
    ];
    assert_eq!((found.unknown.clone(), found.unknown_count), (unknown.map(str::to_owned).to_vec(), 5));
    assert_eq!(terms::parse("", "t").expect("nothing").limits(), []);
}

#[test]
fn what_is_known_and_wrong_makes_a_terms_file_unusable_as_a_whole() {
    for (text, words) in [
        ("[limits]\nrate = 512\nburst = \"64KiB\"", &["line 2, column 8", "limits.rate", "\"512 kbit/s\""][..]),
        ("[limits]\nrate = \"1Mbps\"\n[clauses]\nrate = \"five\"", &["line 4", "clauses.rate", "\"5.1(2)\""]),
        ("limits = 3", &["[limits]"]),
        ("[limits\n", &["not TOML"]),
        ("[terms]\nversion = 3", &["terms.version", "in quotes"]),
    ] {
        let errors = terms::parse(text, "terms.toml").expect_err(text).to_string();
        for word in words {
            assert!(errors.contains(word), "{text}: {errors}");
        }
    }
}

#[test]
fn a_terms_file_that_cannot_be_read_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("terms.toml");
    let told = |path: &Path| match terms::load(path) {
        Err(error @ TermsError::Unreadable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(told(&path).contains("create it or correct the path"));
    assert!(told(folder.path()).contains("not a regular file"));
    std::fs::write(&path, [0xff, 0xfe]).expect("a file");
    assert!(told(&path).contains("UTF-8"));
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("a file");
    assert!(told(&path).contains("longer than 1 MiB"));
    std::fs::write(&path, "[limits]\nrate = \"1Mbps\"").expect("a file");
    let terms = terms::load(&path).expect("terms");
    assert_eq!(terms.limits()[0].bound.kind(), Kind::RateUp);
}

#[test]
fn the_unknown_keys_that_are_kept_by_name_are_bounded_and_all_are_counted() {
    let keys: Vec<String> = (0..500).map(|n| format!("key_{n} = 1")).collect();
    let found = terms::parse(&keys.join("\n"), "t").expect("terms");
    assert_eq!((found.unknown.len(), found.unknown_count), (20, 500));
}

#[test]
fn the_operators_limits_and_the_defaults_say_who_they_are() {
    let config = good(&format!("{SMALLEST}[limits]\nrate = \"1Mbps\""));
    let document = terms::of_operator(&config.limits, "tidegate.toml");
    assert_eq!(document.limits()[0].source, Source::Operator { file: "tidegate.toml".into(), line: 6 });
    let defaults = terms::defaults();
    assert!(matches!(&defaults.limits()[0].bound, bound @ Bound::EventsPerMonth(_) if bound.number() == Some(10_000)));
}

proptest! {
    #[test]
    fn no_terms_file_makes_it_panic(text in "(\\[(limits|clauses|terms)\\]\n|(rate|share|windows|burst) = (\"[ -~]{0,8}\"|[0-9.]{1,4}|\\[\\])\n|\\PC{0,20}\n){0,8}") {
        let _ = terms::parse(&text, "t");
    }
}

#[test]
fn the_status_page_is_asked_where_the_endpoint_is_soracoms_or_somebody_says_so() {
    let hook = "[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl_file = \"/u\"\n";
    for (text, enabled) in [
        (SMALLEST.to_owned(), true),
        (hook.to_owned(), false),
        (format!("{hook}[provider.statuspage]\n"), false),
        (format!("{hook}[provider.statuspage]\nevery = \"10m\""), true),
        (format!("{hook}[provider.statuspage]\nenabled = true"), true),
        (format!("{SMALLEST}[provider.statuspage]\nenabled = false"), false),
    ] {
        assert_eq!(good(&text).provider.statuspage.enabled, enabled, "{text}");
    }
    let page = good(SMALLEST).provider.statuspage;
    assert_eq!(
        (page.url.as_str(), page.every.as_secs(), page.bytes_per_day),
        ("https://status.soracom.io", 300, 330_000)
    );
    assert_eq!(page.components.iter().map(ToString::to_string).collect::<Vec<_>>(), ["flux", "unified", "api"]);
    let key = |line: &str, column: usize, key: &str, words: &[&str]| {
        behind(&format!("[provider.statuspage]\n{line}"), 2, column, &format!("provider.statuspage.{key}"), words);
    };
    key("url = \"ftp://x\"", 7, "url", &["https://"]);
    key("url = \"https://x/?a\"", 7, "url", &["query"]);
    key("every = \"1s\"", 9, "every", &["\"60s\""]);
    key("components = []", 14, "components", &["found 0", "[\"*\"]"]);
    key("components = \"flux\"", 14, "components", &["in an array"]);
    key("components = [\"flux\", \"\"]", 23, "components", &["empty"]);
    key("bytes_per_day = \"1kB\"", 17, "bytes_per_day", &["\"4kB\""]);
    key("interface = \"a/b\"", 13, "interface", &["ip link"]);
    let plain = good(&format!("{SMALLEST}[provider.statuspage]\nurl = \"http://status.example\""));
    assert!(plain.warnings.iter().any(|warning| warning.key == "provider.statuspage.url"), "{:?}", plain.warnings);
}

#[test]
fn rules_for_answers_are_read_in_order_and_their_mistakes_said() {
    use crate::answer::rule::Statuses;
    use crate::provider::input::Means;
    let rules = good(&format!(
        "{SMALLEST}[[provider.rule]]\nstatus = 403\nmeans = \"suspended\"\nbody = \"stopped\"\n[[provider.rule]]\n\
         status = \"5xx\"\nmeans = \"maintenance\"\nheader = \"X-Reason: works*\"\nkinds = [\"api\"]\n\
         [[provider.rule]]\nstatus = 207\nmeans = \"accepted\"\n"
    ))
    .provider
    .rules;
    let said: Vec<_> = rules.iter().map(|rule| (rule.status, rule.means, rule.kinds.clone())).collect();
    assert_eq!(
        said,
        [
            (Statuses::One(403), Means::Suspended, vec![]),
            (Statuses::Class(5), Means::Maintenance, vec!["api"]),
            (Statuses::One(207), Means::Accepted, vec![])
        ]
    );
    assert_eq!(
        rules[1].header.as_ref().map(|(name, glob)| (name.as_str(), glob.to_string())).expect("one").0,
        "x-reason"
    );
    let rule = |lines: &str, line: usize, column: usize, key: &str, words: &[&str]| {
        let path = if key.is_empty() { "provider.rule".to_owned() } else { format!("provider.rule.{key}") };
        behind(&format!("[[provider.rule]]\n{lines}"), line, column, &path, words);
    };
    rule("means = \"quota\"", 1, 1, "status", &["missing", "403"]);
    rule("status = 403", 1, 1, "means", &["missing", "suspended"]);
    rule("status = 99\nmeans = \"quota\"", 2, 10, "status", &["100 to 599"]);
    rule("status = \"6xx\"\nmeans = \"quota\"", 2, 10, "status", &["\"5xx\""]);
    rule("status = 403\nmeans = \"suspend\"", 3, 9, "means", &["\"suspended\""]);
    rule("status = 403\nmeans = \"quota\"\nheader = \"x\"", 4, 10, "header", &["x-reason"]);
    rule("status = 403\nmeans = \"quota\"\nbody = \"\"", 4, 8, "body", &["empty"]);
    rule("status = 403\nmeans = \"quota\"\nkinds = [\"mqtt\"]", 4, 10, "kinds", &["webhook"]);
    rule("status = 404\nmeans = \"accepted\"", 1, 1, "means", &["deleted", "200 to 299"]);
    let many = "[[provider.rule]]\nstatus = 403\nmeans = \"quota\"\n".repeat(33);
    behind(&many, 97, 1, "provider.rule", &["at most 32"]);
}
