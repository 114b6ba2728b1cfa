//! What a reload changes is named by key, and told apart.

use std::fmt::Write as _;

use super::super::changes::facts;
use super::*;

/// Key, a value, another value. Together they are a configuration.
const VALUES: &[(&str, &str, &str)] = &[
    ("gateway.id", "\"a\"", "\"b\""),
    ("collect.default_lane", "\"bulk\"", "\"normal\""),
    ("collect.devices", "[\"a\"]", "[\"a\", \"b*\"]"),
    ("collect.allow.client_ids", "[\"a\"]", "[\"b\"]"),
    ("collect.allow.usernames", "[\"a\"]", "[\"b\"]"),
    ("collect.allow.certificates", "[\"a\"]", "[\"b\"]"),
    ("collect.listener.bind", "\"127.0.0.1:1\"", "\"127.0.0.1:2\""),
    ("collect.listener.tls_bind", "\"127.0.0.1:3\"", "\"127.0.0.1:4\""),
    ("collect.listener.tls_certificate", "\"/a\"", "\"/b\""),
    ("collect.listener.tls_key", "\"/a\"", "\"/b\""),
    ("collect.listener.tls_client_ca", "\"/a\"", "\"/b\""),
    ("collect.listener.tls_require_client_certificate", "true", "false"),
    ("collect.listener.passwords_file", "\"/a\"", "\"/b\""),
    ("collect.listener.allow_anonymous", "true", "false"),
    ("collect.listener.max_connections", "10", "11"),
    ("collect.listener.max_packet_size", "\"64KiB\"", "\"65KiB\""),
    ("collect.listener.max_sessions", "10", "11"),
    ("collect.listener.session_max_age", "\"1h\"", "\"2h\""),
    ("collect.listener.connect_timeout", "\"5s\"", "\"6s\""),
    ("collect.listener.receive_maximum", "10", "11"),
    ("collect.broker.url", "\"mqtts://a\"", "\"mqtts://b\""),
    ("collect.broker.topics", "[\"a/#\"]", "[\"b/#\"]"),
    ("collect.broker.client_id", "\"a\"", "\"b\""),
    ("collect.broker.protocol", "\"3.1.1\"", "\"5\""),
    ("collect.broker.username", "\"a\"", "\"b\""),
    ("collect.broker.ca_file", "\"/a\"", "\"/b\""),
    ("collect.broker.client_certificate", "\"/a\"", "\"/b\""),
    ("collect.broker.client_key", "\"/a\"", "\"/b\""),
    ("collect.broker.keep_alive", "\"20s\"", "\"21s\""),
    ("collect.broker.session_expiry", "\"1h\"", "\"2h\""),
    ("collect.broker.inflight", "10", "11"),
    ("collect.broker.max_packet_size", "\"64KiB\"", "\"65KiB\""),
    ("store.path", "\"/a\"", "\"/b\""),
    ("store.max_size", "\"64MiB\"", "\"65MiB\""),
    ("store.min_size", "\"10%\"", "\"11%\""),
    ("store.keep_free", "\"1MiB\"", "\"2MiB\""),
    ("store.keep_free_inodes", "10", "11"),
    ("store.policy", "\"refuse\"", "\"drop-oldest\""),
    ("store.keep_delivered", "\"1h\"", "\"2h\""),
    ("store.commit_within", "\"1ms\"", "\"2ms\""),
    ("store.flash_endurance", "\"30TB\"", "\"31TB\""),
    ("store.hardware", "\"none\"", "\"network:eth0\""),
    ("forward.order", "\"live-first\"", "\"oldest-first\""),
    ("forward.backlog_share", "\"10%\"", "\"11%\""),
    ("forward.interface", "\"wwan0\"", "\"eth0\""),
    ("forward.flux.base_url", "\"https://a\"", "\"https://b\""),
    ("forward.flux.app_id", "\"a\"", "\"b\""),
    ("forward.flux.channel_id", "\"a\"", "\"b\""),
    ("forward.flux.auth_key_id", "\"a\"", "\"b\""),
    ("forward.flux.token_timeout", "\"1h\"", "\"2h\""),
    ("forward.flux.ca_file", "\"/a\"", "\"/b\""),
    ("forward.flux.client_certificate", "\"/a\"", "\"/b\""),
    ("forward.flux.client_key", "\"/a\"", "\"/b\""),
    ("forward.flux.connect_timeout", "\"5s\"", "\"6s\""),
    ("forward.flux.timeout", "\"5s\"", "\"6s\""),
    ("forward.flux.replayed_after", "\"1h\"", "\"2h\""),
    ("forward.flux.batch.max_records", "10", "11"),
    ("forward.flux.batch.max_bytes", "\"64KiB\"", "\"65KiB\""),
    ("forward.flux.batch.max_age", "\"300s\"", "\"301s\""),
    ("forward.flux.batch.layout", "\"array\"", "\"single\""),
    ("forward.backoff.min", "\"1s\"", "\"2s\""),
    ("forward.backoff.max", "\"10s\"", "\"20s\""),
    ("forward.backoff.probe_min", "\"1s\"", "\"2s\""),
    ("forward.backoff.probe_max", "\"10s\"", "\"20s\""),
    ("limits.rate", "\"1Mbit/s\"", "\"2Mbit/s\""),
    ("limits.rate_down", "\"1Mbit/s\"", "\"2Mbit/s\""),
    ("limits.burst", "\"32KiB\"", "\"33KiB\""),
    ("limits.bytes_per_hour", "\"1MB\"", "\"2MB\""),
    ("limits.bytes_per_day", "\"1MB\"", "\"2MB\""),
    ("limits.bytes_per_month", "\"1MB\"", "\"2MB\""),
    ("limits.events_per_minute", "10", "11"),
    ("limits.events_per_day", "10", "11"),
    ("limits.events_per_month", "10", "\"unlimited\""),
    ("limits.share", "0.5", "\"60%\""),
    ("limits.windows", "[\"02:00-05:00\"]", "[\"02:00-06:00\"]"),
    ("limits.calendar", "\"JST\"", "\"UTC\""),
    ("limits.events_count", "\"records\"", "\"requests\""),
    ("provider.terms", "\"/a\"", "\"/b\""),
    ("provider.metadata.enabled", "true", "false"),
    ("provider.metadata.url", "\"http://a\"", "\"http://b\""),
    ("provider.metadata.every", "\"10m\"", "\"11m\""),
    ("provider.statuspage.enabled", "true", "false"),
    ("provider.statuspage.url", "\"https://a\"", "\"https://b\""),
    ("provider.statuspage.components", "[\"a\"]", "[\"b\"]"),
    ("provider.statuspage.every", "\"10m\"", "\"11m\""),
    ("provider.statuspage.bytes_per_day", "\"1MB\"", "\"2MB\""),
    ("provider.statuspage.interface", "\"wlan0\"", "\"eth0\""),
    ("provider.statuspage.ca_file", "\"/a\"", "\"/b\""),
    (
        "provider.notices.keys",
        "[\"a:TEDE9ZIaX1JlLIXvr+sWTi+KCOibmi8brJmxnBqG0u4=\"]",
        "[\"b:TEDE9ZIaX1JlLIXvr+sWTi+KCOibmi8brJmxnBqG0u4=\"]",
    ),
    ("provider.notices.folder", "\"/a\"", "\"/b\""),
    ("provider.resume.spread", "\"10m\"", "\"11m\""),
    ("provider.resume.ramp", "\"10m\"", "\"11m\""),
    ("provider.probe.min", "\"1h\"", "\"2h\""),
    ("provider.probe.max", "\"24h\"", "\"25h\""),
    ("terms.on_change", "\"hold\"", "\"continue\""),
    ("alarm.after", "\"6h\"", "\"7h\""),
    ("alarm.repeat", "\"1h\"", "\"2h\""),
    ("alarm.command", "[\"/a\", \"--on\"]", "[\"/a\", \"--off\"]"),
    ("alarm.command_timeout", "\"30s\"", "\"31s\""),
    ("alarm.topic", "\"a\"", "\"b\""),
    ("clock.synchronised_marker", "\"/a\"", "\"/b\""),
    ("clock.timedated", "true", "false"),
    ("clock.date.enabled", "true", "false"),
    ("clock.date.url", "\"https://a\"", "\"https://b\""),
    ("clock.date.after", "\"10m\"", "\"11m\""),
    ("clock.date.ca_file", "\"/a\"", "\"/b\""),
    ("control.socket", "\"/a\"", "\"/b\""),
    ("metrics.bind", "\"127.0.0.1:5\"", "\"127.0.0.1:6\""),
    ("log.level", "\"info\"", "\"debug\""),
    ("log.target", "\"stderr\"", "\"journald\""),
];

/// Keys of the same configuration that the other tests below change.
const ELSEWHERE: &[&str] = &[
    "collect.allow.devices",
    "collect.rule.topic",
    "collect.rule.lane",
    "collect.fields.topic",
    "collect.fields.keep_only",
    "collect.fields.drop",
    "collect.fields.pseudonymise",
    "collect.fields.round",
    "collect.fields.otherwise",
    "collect.pseudonyms.key_file",
    "lane.name",
    "lane.first",
    "lane.weight",
    "lane.windowed",
    "lane.reserve",
    "lane.max_age",
    "provider.rule.status",
    "provider.rule.means",
    "provider.rule.body",
    "provider.rule.header",
    "provider.rule.kinds",
    "provider.speed_class.name",
    "provider.speed_class.rate",
    "collect.broker.password_file",
    "forward.flux.kind",
    "forward.flux.url",
    "forward.flux.url_file",
    "forward.flux.auth_key_id_file",
    "forward.flux.auth_key_file",
    "forward.flux_next.from",
    "forward.flux_next.kind",
    "forward.flux_next.url_file",
    "forward.flux_next.url",
    "forward.flux_next.base_url",
    "forward.flux_next.app_id",
    "forward.flux_next.channel_id",
    "forward.flux_next.auth_key_id",
    "forward.flux_next.auth_key_id_file",
    "forward.flux_next.auth_key_file",
    "forward.flux_next.token_timeout",
];

fn with(changed: Option<&str>) -> Config {
    let mut text = String::from(
        "forward.flux.kind = \"api\"\nforward.flux.auth_key_file = \"/k\"\ncollect.broker.password_file = \"/p\"\n",
    );
    for (key, one, other) in VALUES {
        let value = if changed == Some(*key) { other } else { one };
        writeln!(text, "{key} = {value}").expect("a string takes everything");
    }
    good(&text)
}

#[test]
fn each_key_that_changes_is_named_alone_and_says_whether_it_is_live() {
    let base = with(None);
    assert!(changes(&base, &base.clone()).is_empty());
    for (key, ..) in VALUES {
        let found = changes(&base, &with(Some(key)));
        let (live, restart): (&[&str], &[&str]) = if keys::is_live(key) { (&[key], &[]) } else { (&[], &[key]) };
        assert_eq!((found.applied.as_slice(), found.needs_restart.as_slice()), (live, restart), "{key}");
    }
}

#[test]
fn every_key_is_compared() {
    let tested: BTreeSet<&str> = VALUES.iter().map(|(key, ..)| *key).chain(ELSEWHERE.iter().copied()).collect();
    let listed: BTreeSet<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(tested, listed);
    let facts: BTreeSet<&str> = facts(&with(None)).into_keys().collect();
    assert!(facts.is_subset(&listed), "{facts:?}");
}

#[test]
fn what_the_documents_say_is_live_is_live() {
    for key in [
        "collect.rule.topic",
        "collect.default_lane",
        "forward.flux.url_file",
        "forward.flux.batch.max_age",
        "log.level",
    ] {
        assert!(keys::is_live(key), "{key}");
    }
    for key in ["lane.weight", "forward.order", "forward.backlog_share"] {
        assert!(keys::is_live(key), "{key}");
    }
    for key in [
        "store.commit_within",
        "lane.name",
        "lane.reserve",
        "gateway.id",
        "store.path",
        "collect.listener.bind",
        "control.socket",
        "metrics.bind",
    ] {
        assert!(!keys::is_live(key), "{key}");
    }
}

#[test]
fn a_new_secret_under_an_old_path_is_a_change() {
    let base = good("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl_file = \"/u\"");
    let mut rotated = base.clone();
    rotated.forward.target = FluxTarget::Webhook { url: Secret::new("https://hooks.example.com/new") };
    let found = changes(&base, &rotated);
    assert_eq!(found.applied, ["forward.flux.url"]);
    let mut broker = with(None);
    let old = broker.clone();
    broker.collect.broker.as_mut().expect("a broker").password = Some(Secret::new("new"));
    assert_eq!(changes(&old, &broker).needs_restart, ["collect.broker.password_file"]);
    let mut key = old.clone();
    if let FluxTarget::Api { auth_key, .. } = &mut key.forward.target {
        *auth_key = Secret::new("new");
    }
    assert_eq!(changes(&old, &key).applied, ["forward.flux.auth_key_file"]);
}

#[test]
fn the_devices_may_move_into_the_table_of_lists() {
    let before = good(&format!("{SMALLEST}[collect]\ndevices = [\"a\"]"));
    let after = good(&format!("{SMALLEST}[collect.allow]\ndevices = [\"a\", \"b\"]"));
    assert_eq!(changes(&before, &after).applied, ["collect.allow.devices", "collect.devices"]);
}

#[test]
fn a_changed_rule_for_fields_and_a_new_key_take_effect_at_once() {
    let with = |rule: &str| {
        good(&format!(
            "{SMALLEST}[collect.pseudonyms]\nkey_file = \"/k\"\n[[collect.fields]]\npseudonymise = [\"p\"]\n{rule}"
        ))
    };
    let base = with("topic = \"a\"");
    for (rule, key) in [
        ("topic = \"b\"", "collect.fields.topic"),
        ("topic = \"a\"\nkeep_only = [\"p\"]", "collect.fields.keep_only"),
        ("topic = \"a\"\ndrop = [\"q\"]", "collect.fields.drop"),
        ("topic = \"a\"\nround = { t = 0.5 }", "collect.fields.round"),
        ("topic = \"a\"\notherwise = \"store\"", "collect.fields.otherwise"),
    ] {
        assert_eq!(changes(&base, &with(rule)).applied, [key]);
    }
    let mut other = base.clone();
    other.collect.fields[0].pseudonymise.clear();
    assert_eq!(changes(&base, &other).applied, ["collect.fields.pseudonymise"]);
    let mut rotated = base.clone();
    rotated.collect.pseudonym_key = Some(Secret::new("new"));
    assert_eq!(changes(&base, &rotated).applied, ["collect.pseudonyms.key_file"]);
}

#[test]
fn another_identity_from_a_time_on_is_a_change_that_takes_effect_at_once() {
    let with = |next: &str| good(&format!("{SMALLEST}[forward.flux_next]\nkind = \"webhook\"\n{next}\n"));
    let base = with("url_file = \"/n\"\nfrom = \"2026-12-01T00:00:00+09:00\"");
    assert_eq!(base.forward.next.as_ref().map(|next| next.from_ms), Some(1_796_050_800_000));
    let later = with("url_file = \"/n\"\nfrom = 2027-01-01T00:00:00Z");
    assert_eq!(changes(&base, &later).applied, ["forward.flux_next.from"]);
    let other = with("url = \"https://other.example/x\"\nfrom = \"2026-12-01T00:00:00+09:00\"");
    assert_eq!(changes(&base, &other).applied, ["forward.flux_next.url"]);
    let none = changes(&base, &good(SMALLEST)).applied;
    assert_eq!(none, ["forward.flux_next.from", "forward.flux_next.kind", "forward.flux_next.url"]);
}

#[test]
fn new_rules_another_kind_and_a_new_intake_are_changes() {
    let base = good(SMALLEST);
    let rules = good(&format!("{SMALLEST}[[collect.rule]]\ntopic = \"{{device}}\"\nlane = \"bulk\""));
    assert_eq!(changes(&base, &rules).applied, ["collect.rule.lane", "collect.rule.topic"]);
    let webhook = good("[gateway]\nid = \"gw-1\"\n[forward.flux]\nkind = \"webhook\"\nurl_file = \"/u\"");
    // Only with `unified` is the line known to be SORACOM's, and another host is not SORACOM's.
    assert_eq!(
        changes(&base, &webhook).applied,
        ["forward.flux.kind", "forward.flux.url", "provider.metadata.enabled", "provider.statuspage.enabled"]
    );
    let broker =
        good(&format!("{SMALLEST}[collect.listener]\n[collect.broker]\nurl = \"mqtt://b\"\ntopics = [\"devices/#\"]"));
    let found = changes(&base, &broker);
    assert!(found.applied.is_empty() && found.needs_restart.iter().all(|key| key.starts_with("collect.broker.")));
}

#[test]
fn a_limit_that_only_moved_within_the_file_has_not_changed_and_a_speed_class_that_changed_has() {
    let limits = "[limits]\nrate = \"1 Mbit/s\"\n";
    let (base, moved) = (good(&format!("{SMALLEST}{limits}")), good(&format!("{SMALLEST}\n\n{limits}")));
    assert!(changes(&base, &moved).is_empty());
    let class = |name: &str, rate: &str| {
        good(&format!("{SMALLEST}[[provider.speed_class]]\nname = \"{name}\"\nrate = \"{rate}\"\n"))
    };
    assert!(changes(&good(SMALLEST), &class("s1.slow", "128 kbit/s")).is_empty(), "as it is by default");
    assert_eq!(changes(&good(SMALLEST), &class("s1.slow", "64 kbit/s")).applied, ["provider.speed_class.rate"]);
    let found = changes(&good(SMALLEST), &class("x9.new", "64 kbit/s"));
    assert_eq!(found.applied, ["provider.speed_class.name", "provider.speed_class.rate"]);
}

#[test]
fn lanes_are_the_stores_and_rules_that_name_other_lanes_wait_for_the_restart_too() {
    let lanes = |first: &str, rest: &str| {
        let critical = format!("[[lane]]\nname = \"critical\"\nfirst = true\n{first}");
        good(&format!("{SMALLEST}{critical}\n[[lane]]\nname = \"normal\"\n[[lane]]\nname = \"bulk\"\n{rest}"))
    };
    let base = lanes("", "");
    for (line, key) in
        [("weight = 3", "lane.weight"), ("reserve = \"5%\"", "lane.reserve"), ("max_age = \"1h\"", "lane.max_age")]
    {
        let found = changes(&base, &lanes(line, ""));
        let all: Vec<&str> = found.applied.iter().chain(&found.needs_restart).copied().collect();
        assert_eq!((all.as_slice(), found.applied.is_empty()), (&[key][..], !keys::is_live(key)));
    }
    let more = "[[lane]]\nname = \"video\"\n[[collect.rule]]\ntopic = \"{device}\"\nlane = \"video\"\n[log]\nlevel = \"debug\"";
    let found = changes(&base, &lanes("", more));
    assert_eq!(found.applied, ["log.level"]);
    for key in ["lane.name", "collect.rule.lane", "collect.rule.topic"] {
        assert!(found.needs_restart.contains(&key), "{key}: {found:?}");
    }
}
