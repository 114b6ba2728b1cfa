//! Units, patterns, suggestions, warnings.

use std::time::Duration;

use super::super::units::{format_duration, format_size, parse_duration, parse_size};
use super::super::{keys, pattern};
use super::*;

#[test]
fn sizes_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("1GiB", 1 << 30),
        ("64 KiB", 65_536),
        ("10MB", 10_000_000),
        ("10kB", 10_000),
        ("10KB", 10_000),
        ("1.5 GiB", 3 << 29),
        (" 7B ", 7),
        ("1_000B", 1000),
        ("0B", 0),
        ("16383PiB", 0),
    ] {
        match parse_size(text) {
            Ok(size) => assert_eq!(size, bytes, "{text}"),
            Err(error) => assert!(text.contains("PiB"), "{text}: {error}"),
        }
    }
    for text in
        ["", "GiB", "-1GiB", "1..5GiB", "1.GiB", "0.3B", "1e3B", "99999999TiB", "1GiBx", "_1B", "1,5GiB", "１GiB"]
    {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, ms) in [
        ("270s", 270_000),
        ("500ms", 500),
        ("10m", 600_000),
        ("10 min", 600_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("0s", 0),
        ("2000us", 2),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "s", "5", "1h30", "-1s", "1 week", "1H", "99999999999d", "1.0000000001s", "0.0001us"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_size_that_is_written_reads_back(bytes: u64, shift in 0_u32..64) {
        let bytes = bytes >> shift;
        prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
    }

    #[test]
    fn a_duration_that_is_written_reads_back(micros in 0_u64..u64::MAX / 1000, shift in 0_u32..64) {
        let duration = Duration::from_micros(micros >> shift);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn no_text_makes_the_units_panic(text in "[0-9._]{0,25}\\PC{0,8}") {
        let _ = (parse_size(&text), parse_duration(&text));
    }

    #[test]
    fn no_text_makes_addresses_or_patterns_panic(text in "\\PC{0,30}", other in "[a-z+#/{}:@\\[\\]]{0,20}") {
        for text in [&text, &other] {
            let _ = super::super::address::socket_address(text, 1);
            for scheme in ["mqtt://", "https://", ""] {
                let _ = super::super::address::url(&format!("{scheme}{text}"), &["mqtt", "https"]);
            }
            let _ = (pattern::rule(text), pattern::filter(text), pattern::meet(text, &other));
        }
    }
}

#[test]
fn a_filter_and_a_rule_meet_where_some_topic_fits_both() {
    for (filter, rule, meet) in [
        ("devices/#", "devices/{device}/telemetry", true),
        ("#", "{device}", true),
        ("devices/+/telemetry", "devices/{device}/#", true),
        ("devices/+", "devices/{device}/telemetry", false),
        ("devices/+/a", "devices/{device}/b", false),
        ("plant/#", "devices/{device}", false),
        ("devices/p/a/b", "devices/{device}/#", true),
        ("devices/p", "devices/p/{device}/#", false),
        ("devices/#", "devices/{device}", true),
        ("$share/g/devices/#", "devices/{device}", true),
        ("devices/{x}", "+/{device}", true),
    ] {
        assert_eq!(pattern::meet(filter, rule), meet, "{filter} {rule}");
    }
}

#[test]
fn a_slip_finds_its_key_and_another_word_does_not() {
    let known = keys::children("store");
    assert_eq!(keys::nearest("paht", &known), Some("path"));
    assert_eq!(keys::nearest("MAX_SIZE", &known), Some("max_size"));
    assert_eq!(keys::nearest("retention", &known), None);
    assert_eq!(keys::nearest(&"x".repeat(1_000_000), &known), None);
    assert_eq!(keys::children("forward"), ["order", "backlog_share", "interface", "flux", "flux_next", "backoff"]);
}

#[track_caller]
fn warned(text: &str, key: &str, word: &str) {
    let config = good(&format!("{SMALLEST}{text}"));
    assert_eq!(config.warnings.len(), 1, "{:#?}", config.warnings);
    assert_eq!(config.warnings[0].key, key);
    assert!(config.warnings[0].to_string().contains(word), "{}", config.warnings[0]);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    warned("[collect.listener]\nbind = \"0.0.0.0:1883\"", "collect.listener.bind", "anyone");
    let passwords = "[collect.listener]\nbind = \"0.0.0.0:1883\"\npasswords_file = \"/p\"";
    warned(passwords, "collect.listener.bind", "in the clear");
    warned("[forward.flux.batch]\nmax_age = \"10s\"", "forward.flux.batch.max_age", "10,000");
    warned("[forward.flux.batch]\nlayout = \"single\"", "forward.flux.batch.layout", "10,000");
    warned("[store]\npath = \"/tmp/x\"", "store.path", "in memory");
    warned("[store]\nmax_size = \"2TiB\"", "store.max_size", "1TiB in all");
    warned("replayed_after = \"200s\"", "forward.flux.replayed_after", "max_age");
    let rule = "[[collect.rule]]\ntopic = \"{device}\"\nlane = \"bulk\"\n".repeat(2);
    warned(&rule, "collect.rule.topic", "first that matches");
}

#[test]
fn a_broker_topic_that_every_rule_misses_is_warned_of_unless_a_default_takes_it() {
    let broker = "[collect.broker]\nurl = \"mqtt://b\"\ntopics = [\"plant/#\"]\n";
    let config = good(&format!("{SMALLEST}{broker}"));
    assert!(config.warnings.iter().any(|warning| warning.key == "collect.broker.topics"), "{:#?}", config.warnings);
    let config = good(&format!("{SMALLEST}{broker}[collect]\ndefault_lane = \"bulk\""));
    assert!(config.warnings.iter().all(|warning| warning.key != "collect.broker.topics"), "{:#?}", config.warnings);
}

#[test]
fn a_webhook_url_in_the_file_is_warned_of_unless_it_is_a_test() {
    let webhook = |url: &str| format!("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl = \"{url}\"");
    for url in ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:8080/x"] {
        assert_eq!(good(&webhook(url)).warnings, [], "{url}");
    }
    let config = good(&webhook("https://api.example/x?token"));
    assert_eq!(config.warnings.len(), 1);
    assert!(!config.warnings[0].to_string().contains("token"));
    assert_eq!(good(&webhook("http://api.example/x")).warnings.len(), 2);
}

#[test]
fn a_webhook_that_is_a_placeholder_or_not_one_of_soracoms_is_said() {
    let hook = |url: &str| format!("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl = \"{url}\"\n");
    let found = problems(&hook("https://api.soracom.io/v1/flux/incoming_webhooks/…/…"));
    assert!(found.len() == 1 && found[0].to_string().contains("whole URL"), "{found:?}");
    let about_path = |url: &str| {
        let warnings = good(&hook(url)).warnings;
        warnings.iter().filter(|warning| warning.found.to_string().contains("not a webhook's")).count()
    };
    for url in [
        "https://api.soracom.io/v1/flux/apps/a/channels/c/messages",
        "https://g.api.soracom.io/",
        "https://api.soracom.io/v1/flux/incoming_webhooks/a",
    ] {
        assert_eq!(about_path(url), 1, "{url}");
    }
    for url in ["https://api.soracom.io/v1/flux/incoming_webhooks/a/b", "https://hooks.example/x"] {
        assert_eq!(about_path(url), 0, "{url}");
    }
}

#[test]
fn a_port_that_the_system_chooses_is_warned_of() {
    let text = format!("{SMALLEST}[collect.listener]\nbind = \"127.0.0.1:0\"\n[metrics]\nbind = \"127.0.0.1:0\"\n");
    let keys: Vec<String> = good(&text).warnings.into_iter().map(|warning| warning.key).collect();
    assert_eq!(keys, ["collect.listener.bind", "metrics.bind"]);
}

#[test]
fn amounts_are_sizes_or_shares_of_a_whole() {
    use units::{Amount, parse_percent};
    for (text, percent) in [("0%", 0), ("10%", 10), (" 20 % ", 20), ("100%", 100)] {
        assert_eq!(parse_percent(text), Ok(percent), "{text:?}");
    }
    for text in ["", "%", "101%", "256%", "+5%", "1.5%", "10", "10%%"] {
        assert!(parse_percent(text).is_err(), "{text:?}");
    }
    assert_eq!(Amount::Percent(10).of(1 << 30), 107_374_182);
    assert_eq!(Amount::Percent(100).of(u64::MAX), u64::MAX);
    assert_eq!(Amount::Bytes(5).of(1), 5);
    assert_eq!((Amount::Percent(7).to_string(), Amount::Bytes(2048).to_string()), ("7%".into(), "2KiB".into()));
    assert_eq!(units::parse_size("30TB"), Ok(30_000_000_000_000));
}

#[test]
fn lanes_and_limits_are_read() {
    let config = good(&format!(
        "{SMALLEST}[store]\nmax_size = \"100MiB\"\nhardware = \"network:wlan0\"\nflash_endurance = \"30TB\"\n\
         [[lane]]\nname = \"a\"\nreserve = \"1MiB\"\nmax_age = \"2h\"\n[[lane]]\nname = \"b\"\nfirst = true\nweight = 7\n\
         [collect]\ndefault_lane = \"b\"\n[[collect.rule]]\ntopic = \"{{device}}\"\nlane = \"a\"\n"
    ));
    assert_eq!(config.store.hardware, crate::hardware::Source::Network("wlan0".into()));
    assert_eq!((config.store.min_bytes(), config.store.flash_endurance), (25 << 20, Some(30_000_000_000_000)));
    let lanes: Vec<(&str, bool, u32, u64)> = config
        .lanes
        .iter()
        .map(|lane| (lane.name.as_str(), lane.first, lane.weight, lane.reserve.of(config.store.max_size)))
        .collect();
    assert_eq!(lanes, [("a", false, 1, 1 << 20), ("b", true, 7, 0)]);
    assert_eq!(config.lanes[0].max_age, Some(std::time::Duration::from_secs(7200)));
    let names: Vec<String> = good(SMALLEST).lanes.into_iter().map(|lane| lane.name).collect();
    assert_eq!(names, ["critical", "normal", "bulk"]);
}
