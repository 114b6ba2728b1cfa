//! The status in Japanese: nothing of it is left in English but names, units, codes, and what others said.

use std::collections::BTreeSet;

use super::super::render::{human, notices, terms};
use super::super::*;
use super::sample;
use crate::forward::Verdict;
use crate::language::sheet::cells;
use crate::language::{Language, Message};
use crate::message;
use crate::shape::budget::Reason;

const NOW: u64 = 1_795_336_200_000;

/// Words that stand in Japanese text as they are: products, protocols, units, keys and values of the configuration, commands,
/// and identifiers.
const NAMES: &[&str] = &[
    // Products, services, protocols and what they call their parts.
    "tidegate",
    "Tidegate",
    "Flux",
    "SORACOM",
    "SIM",
    "MQTT",
    "TLS",
    "HTTP",
    "URL",
    "ID",
    "JSON",
    "Developer",
    "publish",
    "Webhook",
    "timedated",
    "UTC",
    "JST",
    // Units.
    "B",
    "KiB",
    "MiB",
    "GiB",
    "TiB",
    "ms",
    "s",
    "kbit",
    "Mbit",
    // The configuration, and commands.
    "forward.flux.batch",
    "max_bytes",
    "max_records",
    "max_age",
    "otherwise",
    "store",
    "store.max_size",
    "events_per_month",
    "burst",
    "rate",
    "timedatectl",
    "set-ntp",
    "true",
    "check",
    "explain",
    "outages",
    "provider.metadata",
    "provider.statuspage",
    "url",
    "enabled",
    "false",
    "on_change",
    "terms",
    "accept",
    "buffer",
    "export",
    // The fixtures' lanes.
    "critical",
    "normal",
];

/// What others said, in the fixtures, as it is shown.
const OUTSIDE: &[&str] = &[
    "the file system refuses the index: no space left on device",
    "no space left on device",
    "429 \\u{1b}[31mred\\u{202e}\\nnext",
    "to\"p\\ic\\n",
    "/etc/tidegate/tidegate.toml",
    "/etc/tidegate.toml",
    "/var/lib/tidegate",
    "webhook https://api.soracom.io",
    "unified http://uni.soracom.io",
    "mqtt://127.0.0.1:1884",
    "https://status.example",
    "http://m",
    "/t.toml: Contract",
    "line 4: rate",
    "mistake",
    "gw-1",
    "k3v9",
    "s1.slow",
    "active",
    "suspend",
    "minor",
    "m-1",
    "ops",
    "socket",
    "ca978112ca1bbdca (sha256)",
    "64KiB",
    "270s",
];

/// Words, with the signs that join a key's parts.
fn words(text: &str) -> BTreeSet<&str> {
    let of_word = |character: char| character.is_ascii_alphabetic() || matches!(character, '-' | '_' | '.');
    let words = text.split(move |character| !of_word(character));
    words.map(|word| word.trim_matches(['-', '.'])).filter(|word| !word.is_empty()).collect()
}

#[track_caller]
fn holds_no_english(text: &str) {
    let ours = OUTSIDE.iter().fold(text.to_owned(), |text, outside| text.replace(outside, " "));
    let is_code = |word: &str| word == "TG";
    let english: Vec<&str> = words(&ours).into_iter().filter(|word| !NAMES.contains(word) && !is_code(word)).collect();
    assert!(english.is_empty(), "{english:?} in\n{text}");
}

fn ground(stance: &str, clause: &str, source: Message, advice: Message) -> GroundStatus {
    let why = message!("something is not paid");
    GroundStatus {
        stance: stance.into(),
        clause: clause.into(),
        source: source.to_string(),
        source_message: Some(source),
        cause: why.to_string(),
        cause_message: Some(why),
        advice: advice.to_string(),
        advice_message: Some(advice),
        since_ms: NOW - 10_000,
        until_ms: Some(NOW + 90_000_000),
        ..GroundStatus::default()
    }
}

fn entry(what: &str, did: &str) -> NoticeStatus {
    NoticeStatus {
        at_ms: NOW,
        what: what.into(),
        id: "m-1".into(),
        source: "notice m-1, key ops (socket)".into(),
        text: "works on the service".into(),
        text_message: Some(message!("works on the service")),
        did: did.into(),
        from_ms: Some(NOW),
        until_ms: Some(NOW + 1000),
        clause: "5.2(1)".into(),
        ..NoticeStatus::default()
    }
}

fn stances() -> StanceStatus {
    let wait = || message!("nothing: sending goes on by itself");
    let page = || message!("status page");
    StanceStatus {
        stance: "ended".into(),
        telemetry: "nothing".into(),
        grounds: [
            ("ended", "5.3"),
            ("suspended", "5.1(3)(1)"),
            ("held", "1.2"),
            ("quota", "10.1(6)"),
            ("maintenance", "5.2(1)"),
            ("yield", "5.1(1)"),
            ("restricted", "5.1(2)"),
            ("held", ""),
        ]
        .map(|(stance, clause)| ground(stance, clause, page(), wait()))
        .into(),
        ahead: vec![GroundStatus { since_ms: NOW + 60_000, ..ground("maintenance", "5.2(1)", page(), wait()) }],
        probe_in_ms: Some(3_600_000),
        page: Some(StatusPageStatus {
            url: "https://status.example".into(),
            answered_ago_ms: Some(60_000),
            maintenances: 1,
            incidents: vec!["Flux (impact minor)".into()],
            incident_messages: vec![message!("{name} (impact {impact})", name = "Flux", impact = "minor")],
            incidents_count: 2,
            skipped: 1,
            asked: 40,
            problem: "HTTP 503".into(),
            advice: "nothing: it is asked again, more seldom".into(),
            advice_message: Some(message!("nothing: it is asked again, more seldom")),
            ..StatusPageStatus::default()
        }),
        notices: vec![
            entry("maintenance", "it is noted, and shown ahead"),
            NoticeStatus {
                did_message: Some(message!("no more than {count} events a minute", count = 30_u64)),
                ..entry("throttled", "no more than 30 events a minute")
            },
        ],
        inbox: InboxStatus {
            keys: vec!["ops".into()],
            accepted: 2,
            not_wholly_known: 1,
            folder_problem: Some("no space left on device".into()),
            ..InboxStatus::default()
        },
    }
}

fn limit(value: &str, said: Message) -> LimitStatus {
    let source = message!("operator, {file} line {line}", file = "/etc/tidegate.toml", line = 12_u64);
    let by = LimitSource {
        value: value.into(),
        value_message: Some(said.clone()),
        source: source.to_string(),
        source_message: Some(source),
        clause: "5.1(2)".into(),
        ..LimitSource::default()
    };
    LimitStatus {
        kind: "events_per_month".into(),
        value: value.into(),
        value_message: Some(said),
        number: Some(10_000),
        unit: "events".into(),
        part: Some(2_500),
        by: vec![by.clone(), by.clone()],
        overruled: vec![by],
    }
}

fn limits() -> TermsStatus {
    let problem = message!(
        "the windows never open together, so lanes that wait for them never leave: see {who}",
        who = message!("answers that say that it is too much")
    );
    let advice = message!("enable the metadata service in the SIM group");
    TermsStatus {
        limits: vec![limit("10,000 a month", message!("{amount} a month", amount = "10,000"))],
        unlimited: vec!["burst".into()],
        problems: vec![problem.to_string()],
        problem_messages: vec![problem],
        sim: Some(SimStatus {
            url: "http://m".into(),
            speed_class: Some("s1.slow".into()),
            status: Some("active".into()),
            expiry_ms: Some(NOW + 90_000_000),
            answered_ago_ms: Some(180_000),
            problem: "HTTP 403".into(),
            advice: advice.to_string(),
            advice_message: Some(advice),
            ..SimStatus::default()
        }),
        file: Some(TermsFileStatus {
            path: "/t.toml".into(),
            title: "Contract".into(),
            version: "7".into(),
            unknown: vec!["rate".into()],
            unknown_count: 3,
            error: Some("mistake\n  line 4: rate".into()),
            in_force: true,
            kept_ms: Some(NOW),
            ..TermsFileStatus::default()
        }),
        calendar: "JST".into(),
        provider_known: false,
    }
}

/// The sample as an agent sends it: its own words as messages.
fn sent(verdict: Verdict) -> Status {
    let mut status = sample();
    status.verdict.word = verdict.word().into();
    status.verdict.advice = verdict.advice().to_string();
    status.verdict.advice_message = verdict.advice().into_message();
    for held in &mut status.budgets.held {
        held.reason_message = Some(Reason::Pace.message());
    }
    status.limit_messages =
        vec![Some(message!("{records} records, {bytes} or {age}", records = 500_u64, bytes = "64KiB", age = "270s"))];
    status
}

fn verdicts() -> Vec<Verdict> {
    let until = std::time::Instant::now();
    vec![
        Verdict::Accepted,
        Verdict::Throttled { until },
        Verdict::Maintenance { until },
        Verdict::Suspended,
        Verdict::Quota { until: None },
        Verdict::Ended,
        Verdict::Misconfigured,
        Verdict::Poison { too_large: false },
        Verdict::Poison { too_large: true },
        Verdict::Transient { costly: true },
        Verdict::Transient { costly: false },
    ]
}

#[test]
fn every_state_of_the_status_is_japanese() {
    for verdict in verdicts() {
        let mut status = sent(verdict);
        status.mark();
        holds_no_english(&human(&status, Language::Japanese));
    }
    let mut full = sent(Verdict::Suspended);
    full.config_error = Some((1..=20).map(|_| "mistake").collect::<Vec<_>>().join("\n"));
    full.clock = ClockStatus::default();
    full.stance = stances();
    full.terms = limits();
    full.outage = OutageStatus {
        since_ms: Some(NOW - 7_200_000),
        class: "own-line".into(),
        proved_ms: 7_200_000,
        attempts: 9,
        month: 2,
        alarm: true,
        problem: Some("no space left on device".into()),
        ..OutageStatus::default()
    };
    full.counts.expired = 2;
    full.counts.untreated = 3;
    full.counts.evicted = 4;
    full.counts.damaged = 5;
    for budget in &mut full.budgets.budgets {
        budget.told = true;
        (budget.ends_ms, budget.runs_out_ms) = (None, None);
    }
    full.mark();
    let text = human(&full, Language::Japanese);
    holds_no_english(&text);
    for code in ["TG-106", "TG-503", "TG-512", "TG-401", "TG-408", "TG-407", "TG-306"] {
        assert!(text.contains(code), "{code}\n{text}");
    }
    holds_no_english(&human(&Status::default(), Language::Japanese));
    for (unknown, kind) in [(true, "marker"), (false, "timedated")] {
        let mut status = sent(Verdict::Accepted);
        status.clock = ClockStatus { trusted: true, source: kind.into(), ..ClockStatus::default() };
        status.store.flash.years = (!unknown).then_some(200.0);
        status.store.flash.written = (!unknown).then_some(5);
        status.verdict.until_ms = None;
        status.verdict.last_accepted_ms = None;
        holds_no_english(&human(&status, Language::Japanese));
    }
}

#[test]
fn every_code_for_why_a_lane_is_held_is_japanese() {
    for reason in [
        Reason::Spent,
        Reason::Reserved,
        Reason::Share,
        Reason::Pace,
        Reason::Told,
        Reason::Window,
        Reason::Turn,
        Reason::TooSmall,
        Reason::Clock,
    ] {
        holds_no_english(&reason.message().text(Language::Japanese));
    }
}

#[test]
fn the_limits_and_the_log_of_notices_are_japanese() {
    holds_no_english(&terms(&limits(), message!("Limits"), NOW, Language::Japanese));
    for (what, did) in [
        ("terms_changed", "nothing is sent until they are accepted"),
        ("withdrawn", "what it said no longer holds"),
        ("hold", "nothing is sent"),
        ("try_now", "one event shows whether anything is taken again"),
        ("misconfigured", "nothing: the endpoint never accepted a record"),
    ] {
        holds_no_english(&notices(&[entry(what, did)], Language::Japanese));
    }
    holds_no_english(&notices(&[], Language::Japanese));
}

#[test]
fn japanese_columns_stand_under_each_other() {
    let text = human(&sent(Verdict::Accepted), Language::Japanese);
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("レーン")).take(3).collect();
    let widths: BTreeSet<usize> = rows.iter().map(|row| cells(row)).collect();
    assert_eq!((rows.len(), widths.len()), (3, 1), "{text}");
    let commits = text.lines().find(|line| line.contains("コミット")).expect("a line");
    let folder = text.lines().find(|line| line.contains("フォルダー")).expect("a line");
    let value = |line: &str, value: &str| cells(&line[..line.find(value).expect("its value")]);
    assert_eq!(value(commits, "77"), value(folder, "/var"), "{text}");
}

#[test]
fn durations_are_said_in_japanese() {
    let span = |ms| super::super::render::span(ms).text(Language::Japanese);
    let spans = [5, 59_999, 60_000, 11_100_000, 90_000_000].map(span);
    assert_eq!(spans, ["5 ミリ秒", "59 秒", "1 分 0 秒", "3 時間 5 分", "1 日 1 時間"]);
}

#[test]
fn an_agent_that_sends_no_messages_is_still_shown() {
    let mut status = sample();
    status.verdict.advice = Verdict::Suspended.advice().to_string();
    let text = human(&status, Language::Japanese);
    assert!(text.contains("SORACOM ユーザーコンソール"), "fixed words are found by their English:\n{text}");
    status.verdict.advice = "what a newer agent says".into();
    assert!(human(&status, Language::Japanese).contains("what a newer agent says"));
}
