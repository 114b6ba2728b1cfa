//! Each mistake is found, at its place, with what to write instead.

use super::*;

/// Exactly one mistake, at this place and key; the message has these words.
#[track_caller]
fn one(text: &str, line: usize, column: usize, key: &str, words: &[&str]) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let problem = &found[0];
    assert_eq!((problem.line, problem.column, problem.key.as_str()), (line, column, key), "{problem}");
    for word in words {
        assert!(problem.to_string().contains(word), "{problem}\nshould say {word}");
    }
}

/// One mistake in lines behind the smallest configuration, whose four lines come first.
#[track_caller]
pub(super) fn behind(text: &str, line: usize, column: usize, key: &str, words: &[&str]) {
    one(&format!("{SMALLEST}{text}"), line + 4, column, key, words);
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_lines() {
    let found = problems(
        "[gateway]\nidd = \"gw-1\"\n[store]\nmax_size = 64\npath = 3\n[forward.flux]\nkind = \"webhook\"\n\
         timeout = \"1 week\"\n[forward.flux.bacth]\nmax_records = 5\n[metrics]\nbind = \"0.0.0.0:1\"\n",
    );
    let places: Vec<(usize, &str)> = found.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
    assert_eq!(
        places,
        [
            (1, "gateway.id"),
            (2, "gateway.idd"),
            (4, "store.max_size"),
            (5, "store.path"),
            (6, "forward.flux.url_file"),
            (8, "forward.flux.timeout"),
            (9, "forward.flux.bacth"),
            (12, "metrics.bind"),
        ],
        "{found:#?}"
    );
}

#[test]
fn an_unknown_key_is_said_with_the_one_that_was_likely_meant() {
    behind("[store]\nmaxsize = \"1GiB\"", 2, 1, "store.maxsize", &["unknown key", "`max_size`"]);
    behind("[store]\nmax-size = \"1GiB\"", 2, 1, "store.max-size", &["`max_size`"]);
    behind("[store]\n  bind = 1", 2, 3, "store.bind", &["belongs in", "[collect.listener]", "[metrics]"]);
    behind("[contrl]\nsocket = 1", 1, 2, "contrl", &["`control`"]);
    behind("[store]\nretention = 1", 2, 1, "store.retention", &["remove it", "`path`", "`commit_within`"]);
    behind("\"st\\nore\" = 1", 1, 1, "forward.flux.\"st\\nore\"", &["unknown key"]);
    behind(
        "[store]\nreplaced_after = 1",
        2,
        1,
        "store.replaced_after",
        &["`replayed_after` in [forward.flux]", "`path`"],
    );
    let named = "[gateway]\nid = \"g\"\nname = \"g\"\n[forward.flux]\nkind = \"unified\"";
    one(named, 3, 1, "gateway.name", &["belongs in [[lane]] or [[provider.speed_class]]; what may stand here: `id`"]);
    one(&format!("max_size = 1\n{SMALLEST}"), 1, 1, "max_size", &["belongs in [store]"]);
}

#[test]
fn a_value_of_the_wrong_type_is_said_with_an_example() {
    behind("[store]\nmax_size = true", 2, 12, "store.max_size", &["found true", "\"1GiB\""]);
    behind("[store]\nmax_size = 1_024", 2, 12, "store.max_size", &["1024", "\"1024KiB\""]);
    behind("[store]\ncommit_within = 5", 2, 17, "store.commit_within", &["\"5ms\"", "\"5s\""]);
    behind("[collect.listener]\nbind = 1883", 2, 8, "collect.listener.bind", &["\"127.0.0.1:1883\""]);
    behind("[collect.listener]\nmax_sessions = \"9\"", 2, 16, "collect.listener.max_sessions", &["without quotes"]);
    behind("[collect.listener]\nallow_anonymous = 1", 2, 19, "collect.listener.allow_anonymous", &["true or false"]);
    behind("[log]\nlevel = 3", 2, 9, "log.level", &["\"info\""]);
    behind("[collect]\nrule = 5", 2, 8, "collect.rule", &["[[collect.rule]]"]);
    behind("[collect.rule]\ntopic = 1", 1, 1, "collect.rule", &["two brackets"]);
    one("store = 1\n[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"unified\"", 1, 9, "store", &["[store]"]);
    one("forward = 1\n[gateway]\nid = \"g\"", 1, 11, "forward", &["[forward]"]);
}

#[test]
fn a_value_out_of_range_is_said_with_the_range() {
    behind("[store]\nmax_size = \"1KiB\"", 2, 12, "store.max_size", &["\"2MiB\"", "\"16TiB\""]);
    behind("[forward.flux.batch]\nmax_records = 0", 2, 15, "forward.flux.batch.max_records", &["1 to 10000"]);
    let key = "forward.flux.batch.max_records";
    behind("[forward.flux.batch]\nmax_records = 99999999999999999999", 2, 15, key, &["out of range"]);
    behind("[forward.flux.batch]\nmax_records = -1", 2, 15, key, &["-1 is out of range"]);
    behind("[forward.backoff]\nmin = \"10m\"\nmax = \"1m\"", 3, 7, "forward.backoff.max", &["shorter than min"]);
}

#[test]
fn a_unit_that_is_no_unit_is_said_with_the_right_one() {
    for (value, word) in [("64", "\"64KiB\""), ("64K", "\"64KiB\""), ("64kb", "\"64kB\""), ("lots", "\"64KiB\"")] {
        behind(&format!("[store]\nmax_size = \"{value}\""), 2, 12, "store.max_size", &[word]);
    }
    for (value, word) in [("5", "\"5ms\""), ("5 sec", "\"5s\""), ("5 weeks", "\"24h\""), ("", "\"24h\"")] {
        behind(&format!("[store]\ncommit_within = \"{value}\""), 2, 17, "store.commit_within", &[word]);
    }
}

#[test]
fn lanes_and_patterns_are_judged_in_each_rule() {
    let rule = |topic: &str, lane: &str| format!("[[collect.rule]]\ntopic = \"{topic}\"\nlane = \"{lane}\"");
    behind(&rule("a/{device}", "norml"), 3, 8, "collect.rule.lane", &["not a lane", "perhaps \"normal\""]);
    for (topic, word) in [
        ("", "devices/#"),
        ("a/b", "{device}"),
        ("{device}/{device}", "once"),
        ("a/#/{device}", "last level"),
        ("#", "last level"),
        ("a/x{device}", "alone"),
        ("a+/{device}", "alone"),
    ] {
        behind(&rule(topic, "bulk"), 2, 9, "collect.rule.topic", &[word]);
    }
    behind("[collect]\ndefault_lane = \"low\"", 2, 16, "collect.default_lane", &["\"bulk\""]);
    behind("[[collect.rule]]\ntopic = \"{device}\"", 1, 1, "collect.rule.lane", &["missing"]);
    behind("[[collect.rule]]\nlane = \"bulk\"", 1, 1, "collect.rule.topic", &["missing"]);
}

#[test]
fn too_many_rules_are_said() {
    let rules = "[[collect.rule]]\ntopic = \"a/{device}\"\nlane = \"bulk\"\n".repeat(257);
    behind(&rules, 769, 1, "collect.rule.topic", &["at most 256"]);
}

#[test]
fn addresses_are_judged() {
    for (value, word) in [
        ("localhost:1884", "\"127.0.0.1:1884\""),
        (":1883", "\"0.0.0.0:1883\""),
        ("*:99", "\"0.0.0.0:99\""),
        ("127.0.0.1", "\"127.0.0.1:1883\""),
        ("::1", "\"[::1]:1883\""),
        ("1883", "\"0.0.0.0:1883\""),
        ("eth0:1883", "an IP address"),
        ("127.0.0.1:99999", "an IP address"),
    ] {
        behind(&format!("[collect.listener]\nbind = \"{value}\""), 2, 8, "collect.listener.bind", &[word]);
    }
    behind("[metrics]\nbind = \"0.0.0.0:9464\"", 2, 8, "metrics.bind", &["\"127.0.0.1:9464\"", "no password"]);
    let socket = format!("/{}", "x".repeat(100));
    behind(&format!("[control]\nsocket = \"{socket}\""), 2, 10, "control.socket", &["101", "100"]);
    behind("[control]\nsocket = \"run/x\"", 2, 10, "control.socket", &["absolute"]);
}

#[test]
fn broker_urls_and_topics_are_judged() {
    let broker = |url: &str, topics: &str| format!("[collect.broker]\nurl = \"{url}\"\ntopics = [{topics}]");
    for (url, word) in [
        ("127.0.0.1:1883", "no scheme"),
        ("tcp://b", "\"mqtt://…\""),
        ("ssl://b", "\"mqtts://…\""),
        ("ws://b", "\"mqtt://…\""),
        ("mqtt://", "mqtt://…"),
        ("mqtt://u:p@b", "keys of their own"),
        ("mqtt://b/topic", "path"),
        ("mqtt://b:99999", "port"),
        ("mqtt://b:x", "port"),
        ("mqtt://a b", "white space"),
        ("mqtts://[::1]", "host name"),
    ] {
        behind(&broker(url, "\"devices/#\""), 2, 7, "collect.broker.url", &[word]);
    }
    for (topics, word) in [("", "1 to 64"), ("3", "in quotes"), ("\"a/#/b\"", "last level"), ("\"{device}/#\"", "`+`")]
    {
        let text = format!("{SMALLEST}{}", broker("mqtt://b", topics));
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].key == "collect.broker.topics" && found[0].to_string().contains(word), "{}", found[0]);
    }
    behind("[collect.broker]\ntopics = [\"devices/#\"]", 1, 1, "collect.broker.url", &["missing", "mqtt://"]);
    behind("[collect.broker]\nurl = \"mqtt://b\"", 1, 1, "collect.broker.topics", &["missing", "devices/#"]);
    let own = "[collect.listener]\n[collect.broker]\nurl = \"mqtt://localhost\"\ntopics = [\"devices/#\"]";
    behind(own, 3, 7, "collect.broker.url", &["own listener"]);
}

#[test]
fn keys_that_only_work_together_are_asked_for_together() {
    behind(
        "[collect.listener]\ntls_bind = \"0.0.0.0:1\"\ntls_key = \"/k\"",
        1,
        1,
        "collect.listener.tls_certificate",
        &[],
    );
    behind("[collect.listener]\ntls_key = \"/k\"", 2, 11, "collect.listener.tls_key", &["tls_bind"]);
    behind("[collect.listener]\nallow_anonymous = false", 1, 1, "collect.listener.passwords_file", &["nobody can"]);
    behind(
        "[forward.flux.batch]\n[collect.broker]\nurl = \"mqtt://b\"\ntopics = [\"devices/#\"]\npassword_file = \"/p\"",
        5,
        17,
        "collect.broker.password_file",
        &["username"],
    );
    one(&format!("{SMALLEST}client_key = \"/k\""), 5, 14, "forward.flux.client_key", &["client_certificate"]);
}

#[test]
fn each_kind_of_endpoint_has_its_own_keys() {
    let flux = |rest: &str| format!("[gateway]\nid = \"g\"\n[forward.flux]\n{rest}");
    one(&flux(""), 3, 1, "forward.flux.kind", &["\"webhook\"", "\"api\"", "\"unified\""]);
    one(&flux("kind = \"webhok\"\nurl_file = \"/u\""), 4, 8, "forward.flux.kind", &["perhaps \"webhook\""]);
    one(&flux("kind = \"webhook\""), 3, 1, "forward.flux.url_file", &["missing"]);
    let both = "kind = \"webhook\"\nurl = \"http://127.0.0.1/\"\nurl_file = \"/u\"";
    one(&flux(both), 5, 7, "forward.flux.url", &["both", "remove url"]);
    one(&flux("kind = \"unified\"\napp_id = \"a\""), 5, 10, "forward.flux.app_id", &["kind = \"api\""]);
    one(&flux("kind = \"unified\"\nurl = \"ftp://x\""), 5, 7, "forward.flux.url", &["\"ftp\"", "http://"]);
    let found = problems(&flux("kind = \"api\""));
    let missing: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        missing,
        ["app_id", "channel_id", "auth_key_id", "auth_key_file"].map(|key| format!("forward.flux.{key}"))
    );
    let api = "kind = \"api\"\napp_id = \"a/b\"\nchannel_id = \"c\"\nauth_key_id = \"k\"\nauth_key_file = \"/k\"";
    one(&flux(api), 5, 10, "forward.flux.app_id", &["letters, digits"]);
    let api = "kind = \"api\"\napp_id = \"a\"\nchannel_id = \"c\"\nauth_key_id = \"secret-x\"\nauth_key_file = \"/k\"";
    one(&flux(api), 7, 15, "forward.flux.auth_key_id", &["secret half"]);
    let api = "kind = \"api\"\napp_id = \"a\"\nchannel_id = \"c\"\nauth_key_id = \"keyId-…\"\nauth_key_file = \"/k\"";
    one(&flux(api), 7, 15, "forward.flux.auth_key_id", &["whole id"]);
    let api = "kind = \"api\"\napp_id = \"a\"\nchannel_id = \"c\"\nauth_key_id = \"k\"\nauth_key_file = \"/k\"\nbase_url = \"https://x/v1\"";
    one(&flux(api), 9, 12, "forward.flux.base_url", &["host only"]);
}

#[test]
fn devices_are_judged_one_by_one() {
    for (value, line) in [
        ("\"pump-3\"", "found the text \"pump-3\""),
        ("[]", "found 0 devices"),
        ("[\"pump-3\", \"\"]", "found \"\""),
        ("[\"*a*b*c*d*\"]", "found \"*a*b*c*d*\""),
        ("[\"a/#\"]", "found \"a/#\""),
        ("[7]", "write each in quotes"),
    ] {
        let found = problems(&format!("{SMALLEST}[collect]\ndevices = {value}"));
        let [problem] = &found[..] else { panic!("{value}: {found:?}") };
        let shown = problem.to_string();
        assert!(shown.contains("collect.devices") && shown.contains(line), "{value}: {shown}");
    }
    let config = good(&format!("{SMALLEST}[collect]\ndevices = [\"pump-3\", \"meter-*\"]"));
    assert_eq!(config.collect.devices.as_deref(), Some(&["pump-3".to_owned(), "meter-*".to_owned()][..]));
}

#[test]
fn lists_of_who_is_served_are_judged_with_what_they_need() {
    let allow = |lists: &str| format!("{SMALLEST}[collect.allow]\n{lists}\n");
    one(&allow("client_ids = []"), 6, 14, "collect.allow.client_ids", &["found 0 client ids"]);
    one(&allow("usernames = [\"\"]"), 6, 14, "collect.allow.usernames", &["a user name"]);
    one(&allow("devices = [\"a/+\"]"), 6, 12, "collect.allow.devices", &["topics"]);
    one(&allow("certificates = [\"a\"]"), 6, 16, "collect.allow.certificates", &["tls_client_ca"]);
    let twice = format!("{SMALLEST}[collect]\ndevices = [\"a\"]\n[collect.allow]\ndevices = [\"a\"]");
    one(&twice, 8, 11, "collect.allow.devices", &["[collect]", "the same"]);
    let config = good(&allow("devices = [\"a*b\"]\nclient_ids = [\"+\", \"#\"]\nusernames = [\"*\"]"));
    assert_eq!(config.collect.allow.devices.as_deref(), Some(&["a*b".to_owned()][..]));
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert_eq!((warning.key.as_str(), warning.line), ("collect.allow.usernames", 8));
}

#[test]
fn another_endpoint_from_a_time_on_needs_that_time_and_is_judged_like_the_present_one() {
    let next = |keys: &str| format!("{SMALLEST}[forward.flux_next]\n{keys}\n");
    let unified = "kind = \"unified\"\nurl = \"http://other.example/\"";
    one(&next(unified), 5, 1, "forward.flux_next.from", &["missing", "2026-12-01"]);
    for from in ["\"+2h\"", "\"now\"", "\"tomorrow\"", "5"] {
        let found = problems(&next(&format!("from = {from}\n{unified}")));
        assert!(found.len() == 1 && found[0].key == "forward.flux_next.from", "{from}: {found:?}");
    }
    let from = "from = 2026-12-01T00:00:00+09:00";
    one(&next(from), 5, 1, "forward.flux_next.kind", &["missing"]);
    one(&next(&format!("{from}\nkind = \"webhook\"")), 5, 1, "forward.flux_next.url_file", &["webhook's URL"]);
    one(&next(&format!("{from}\n{unified}\ntimeout = \"5s\"")), 9, 1, "forward.flux_next.timeout", &["unknown key"]);
    let same = good(&next(&format!("{from}\nkind = \"unified\"")));
    assert!(
        same.warnings.iter().any(|warning| warning.found.to_string().contains("the same as")),
        "{:?}",
        same.warnings
    );
}

#[test]
fn a_gateway_id_that_cannot_be_used_is_said() {
    for id in ["", "a b", "-a", "ä", "a/b", &"x".repeat(65)] {
        let text = format!("[gateway]\nid = \"{id}\"\n[forward.flux]\nkind = \"unified\"");
        one(&text, 2, 6, "gateway.id", &["1 to 64"]);
    }
}

#[test]
fn columns_count_characters() {
    one(
        "[gateway]\nid = \"g\" # é\n[forward.flux]\n\"é\" = { \"ü\" = 1 }\nkind = \"unified\"",
        4,
        1,
        "forward.flux.\"é\"",
        &[],
    );
    let text = format!(
        "{SMALLEST}[collect.broker]\nurl = \"mqtt://b\"\ntopics = [\"é/#\", 4]\n[collect]\ndefault_lane = \"bulk\""
    );
    one(&text, 7, 18, "collect.broker.topics", &["in quotes"]);
}

#[test]
fn a_mistake_in_the_toml_is_said_with_its_line_and_hides_what_it_may_have_caused() {
    one("[gateway\nid = \"g\"\n", 1, 9, "", &["not TOML"]);
    one("[gateway]\nid = \"g\n[forward.flux]\nkind = \"unified\"", 2, 8, "", &["not TOML"]);
    let twice = "[gateway]\nid = \"g\"\nid = \"h\"\n[forward.flux]\nkind = \"unified\"\n[store]\nmax_size = 5";
    let found = problems(twice);
    let places: Vec<usize> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(places, [3, 7], "{found:#?}");
    assert!(found[0].found.to_string().contains("duplicate key"));
}

#[test]
fn a_message_stays_short_and_on_one_line_whatever_the_file_holds() {
    let text = format!("{SMALLEST}[log]\nlevel = \"\\u001b[31m\\n{}\"", "x".repeat(100_000));
    let found = problems(&text);
    let message = found[0].to_string();
    assert!(message.len() < 300 && !message.contains(['\u{1b}', '\n']), "{message}");
}

#[test]
fn the_number_of_mistakes_said_is_bounded() {
    let keys: Vec<String> = (0..5000).map(|n| format!("unknown_{n} = 1")).collect();
    assert_eq!(problems(&keys.join("\n")).len(), 100);
}

#[test]
fn an_old_name_is_said_with_the_present_one() {
    behind("[store]\ncommit_delay = \"5ms\"", 2, 1, "store.commit_delay", &["unknown key", "write `commit_within`"]);
}

#[test]
fn the_limits_of_the_store_are_judged() {
    let store = |key: &str, value: &str, words: &[&str]| {
        let text = format!("[store]\n{key} = {value}");
        behind(&text, 2, key.len() + 4, &format!("store.{key}"), words);
    };
    store("max_size", "\"1MiB\"", &["\"2MiB\"", "\"16TiB\""]);
    store("min_size", "\"2GiB\"", &["more than max_size", "\"1GiB\""]);
    store("min_size", "\"120%\"", &["0 to 100"]);
    store("min_size", "64", &["\"64MiB\""]);
    store("keep_free_inodes", "-1", &["out of range"]);
    store("policy", "\"drop\"", &["\"drop-oldest\"", "\"refuse\""]);
    store("keep_delivered", "\"400d\"", &["\"365d\""]);
    store("commit_within", "\"61s\"", &["\"60s\""]);
    store("flash_endurance", "\"30\"", &["unit"]);
    store("flash_endurance", "\"1MB\"", &["\"1GB\"", "\"10000TB\""]);
    for hardware in ["cpu", "network:", "network:../x", "network:sixteen-letters-"] {
        store("hardware", &format!("\"{hardware}\""), &["\"board\"", "\"network:eth0\"", "\"none\""]);
    }
}

#[test]
fn lanes_are_judged_and_rules_by_them() {
    let lane = |lines: &str| format!("[[lane]]\n{lines}\n[[collect.rule]]\ntopic = \"{{device}}\"\nlane = \"a\"");
    behind(&lane("name = \"a\"\nweight = 0"), 3, 10, "lane.weight", &["1 to 1000"]);
    behind(&lane("name = \"a\"\nreserve = \"10 parts\""), 3, 11, "lane.reserve", &["\"1GiB\""]);
    behind(&lane("name = \"a\"\nreserve = \"80%\""), 3, 11, "lane.reserve", &["819MiB", "1GiB", "75%"]);
    behind(&lane("name = \"a\"\nmax_age = \"1ms\""), 3, 11, "lane.max_age", &["\"1s\""]);
    behind(&lane("name = \"a\"\nfirst = 1"), 3, 9, "lane.first", &["true or false"]);
    behind(&lane("weight = 1"), 1, 1, "lane.name", &["missing", "a-z"]);
    behind(&lane("name = \"a\"\n[[lane]]\nname = \"a\""), 4, 8, "lane.name", &["two lanes", "another name"]);
    behind(&lane("name = \"a\"\nshare = 1"), 3, 1, "lane.share", &["unknown key", "`weight`"]);
    for name in ["", "A", "a b", "a/b", "é"] {
        let text = format!("[[lane]]\nname = \"a\"\n[[lane]]\nname = \"{name}\"\n{}", lane("name = \"b\""));
        behind(&text, 4, 8, "lane.name", &["1 to 64"]);
    }
    let rule =
        "[[lane]]\nname = \"a1\"\n[[lane]]\nname = \"b1\"\n[[collect.rule]]\ntopic = \"{device}\"\nlane = \"bulk\"";
    behind(rule, 7, 8, "collect.rule.lane", &["not a lane", "\"a1\", \"b1\""]);
    behind("[[lane]]\nname = \"critical\"\n[collect]", 3, 1, "collect.rule", &["\"normal\"", "[[collect.rule]]"]);
    let many = (0..17).map(|count| format!("[[lane]]\nname = \"l{count}\"\n")).collect::<Vec<_>>().concat();
    let rule = "[[collect.rule]]\ntopic = \"{device}\"\nlane = \"l0\"";
    behind(&format!("{many}{rule}"), 33, 1, "lane", &["at most 16"]);
    one(&format!("lane = 1\n{SMALLEST}"), 1, 8, "lane", &["[[lane]]"]);
}

#[test]
fn shares_and_probes_are_judged() {
    for share in ["0%", "100%", "20", "1e1%", "-5%"] {
        behind(&format!("[forward]\nbacklog_share = \"{share}\""), 2, 17, "forward.backlog_share", &["%\""]);
    }
    behind("[forward]\nbacklog_share = 20", 2, 17, "forward.backlog_share", &["\"1%\" to \"99%\""]);
    behind("[forward]\norder = \"newest\"", 2, 9, "forward.order", &["\"live-first\""]);
    behind("[forward.backoff]\nprobe_min = \"2h\"", 2, 13, "forward.backoff.probe_min", &["shorter than probe_min"]);
    behind("[clock]\nsynchronised_marker = \"run/x\"", 2, 23, "clock.synchronised_marker", &["absolute"]);
    for (line, key, column, words) in [
        ("url = \"http://time.example\"", "url", 7, &["\"http\"", "https://"][..]),
        ("url = \"https://time.example/now\"", "url", 7, &["has a path", "scheme, host"]),
        ("url = \"time.example\"", "url", 7, &["no scheme", "https://"]),
        ("after = \"0s\"", "after", 9, &["1s"]),
        ("every = \"5m\"", "every", 1, &["unknown key"]),
    ] {
        behind(&format!("[clock.date]\n{line}"), 2, column, &format!("clock.date.{key}"), words);
    }
}
