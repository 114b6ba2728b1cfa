use proptest::prelude::*;

use super::super::render::{number, size, span, time};
use super::super::*;
use super::sample;
use crate::language::Language;

fn human(status: &Status) -> String {
    super::super::render::human(status, Language::English)
}

#[test]
fn a_technician_sees_figures_limits_reasons_and_what_to_do() {
    let text = human(&sample());
    for words in [
        "gateway gw-1",
        "running for       1 h 2 min (process 42)",
        "takes effect at the next start: store.max_size",
        "1,234,567",
        "the oldest for 1 min 40 s",
        "throttled since",
        "wait; sending goes on by itself",
        "in 30 s",
        "STALLED",
        "no space left on device",
        "index behind",
        "the file system refuses the index",
        "9.5 MiB of 1.0 GiB (0.9 %)",
        "stored            5.0 MiB of records since the agent was started",
        "written to flash  6.0 MiB for them, 1.20 bytes a byte (estimated)",
        "by the device     9.0 MiB written by everyone since the agent was started, 3.0 GiB a day",
        "flash life        25.5 years of a new card at this pace (27.3 TiB can be written)",
        "3 of 1,000",
        "NOT CONNECTED",
        "500 records, 64KiB or 270s",
        "events_per_month  7,200 of 10,000 used, 2,800 left (140 of them kept for lanes that go first); until 2026-11-30",
        "; used up on 2026-11-28",
        "held              lane normal: what is left is spread over what remains of the month (events_per_month), until",
        "1,200 records wait: some 195 KiB on the wire, 3 events, 1.2 % of the month, 15 min 0 s at the least",
        "! Flux refuses them for good",
        "4,000 since the agent was started, 12 not accepted",
        "no connection     1,003 more attempts since the agent was started: nothing was sent",
        "no token          4 more attempts since the agent was started",
        "suspects          2 refused alone",
        "body limit        32.0 KiB, less than configured",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
}

#[test]
fn while_the_clock_is_not_right_who_is_asked_when_and_what_is_wrong_is_shown() {
    let mut status = sample();
    let asks = DateStatus {
        origin: "https://status.example".into(),
        next_in_ms: Some(420_000),
        asked: 2,
        bytes: 12_288,
        problem: "no connection\u{1b}".into(),
        problem_message: None,
        code: "TG-401".into(),
        advice: Some(crate::language::Message::new("name another host", [])),
    };
    status.clock = ClockStatus { asks: Some(asks), ..ClockStatus::default() };
    let text = human(&status);
    for words in [
        "not known to be right",
        "the time is asked of https://status.example in 7 min 0 s, unless somebody tells it before; 2 questions so far, 12.0 KiB",
        "! TG-401 no connection\\u{1b}; name another host",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    status.clock.asks = Some(DateStatus { problem: "nobody".into(), ..DateStatus::default() });
    let text = human(&status);
    assert!(!text.contains("is asked of") && text.contains("nobody; "), "{text}");
}

#[test]
fn why_wear_is_not_known_is_shown() {
    let mut status = sample();
    status.store.flash =
        FlashStatus { unknown: "/store does not lie on a\nblock device".into(), ..FlashStatus::default() };
    let text = human(&status);
    assert!(text.contains("written to flash  not known: /store does not lie on a\\nblock device"), "{text}");
    assert!(!text.contains("flash life"), "{text}");
}

#[test]
fn the_clock_says_whether_it_is_right_and_who_says_so() {
    let text = |clock| human(&Status { clock, ..sample() });
    let shown = text(sample().clock);
    assert!(
        shown.contains("clock             right since 2026-11-22 08:26:40 UTC: an answer over TLS says so"),
        "{shown}"
    );
    assert!(shown.contains("! the system's own is 1 h 0 min behind: set up its synchronisation"), "{shown}");
    let synchronised = text(ClockStatus { source: "timedated".into(), correction_ms: 0, ..sample().clock });
    assert!(synchronised.contains("timedated says so") && !synchronised.contains("system's own"), "{synchronised}");
    let unknown = text(ClockStatus::default());
    assert!(unknown.contains("clock             not known to be right"), "{unknown}");
}

#[test]
fn a_refused_configuration_is_shown_line_by_line_within_a_limit() {
    let error = |count: usize| Some((1..=count).map(|n| format!("  mistake {n}")).collect::<Vec<_>>().join("\n"));
    let text = human(&Status { config_error: error(3), ..sample() });
    assert!(text.contains("REFUSED") && text.contains("  mistake 1\n") && text.contains("  mistake 3\n"), "{text}");
    assert!(!text.contains("says the rest"), "{text}");
    let text = human(&Status { config_error: error(3000), ..sample() });
    assert!(text.contains("mistake 10\n") && !text.contains("mistake 11") && text.contains("says the rest"), "{text}");
}

#[test]
fn that_the_kept_configuration_is_in_force_stands_in_the_first_lines() {
    let mut status = Status {
        config: "/var/lib/tidegate/configuration/kept".into(),
        config_kept: true,
        config_kept_ms: Some(1_795_332_475_000),
        config_error: Some("/etc/tidegate/tidegate.toml: 1 mistake\n  line 3: nonsense".into()),
        ..sample()
    };
    status.mark();
    let text = human(&status);
    let lines: Vec<&str> = text.lines().take(5).collect();
    assert!(lines[1].contains("CONFIGURATION") && lines[1].contains("TG-104"), "{text}");
    assert!(lines[1].contains("/etc/tidegate/tidegate.toml cannot be used"), "{text}");
    assert!(lines[3].contains("line 3: nonsense") && lines[4].contains("systemctl reload"), "{text}");
    assert!(text.contains("fingerprint       ca978112ca1bbdca (sha256)"), "{text}");
}

#[test]
fn the_columns_of_the_lanes_stand_under_each_other() {
    let text = human(&sample());
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("Lanes")).take(3).collect();
    assert_eq!(rows.len(), 3);
    let widths: Vec<usize> = rows.iter().map(|row| row.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
}

#[test]
fn each_count_says_since_when_it_runs() {
    let text = human(&sample());
    for (name, since) in [
        ("collected", "agent was started"),
        ("stored", "store was created"),
        ("forwarded", "agent was started"),
        ("evicted", "store was created"),
        ("damaged", "store was created"),
        ("put aside", "store was created"),
        ("refused", "store was created; since the agent was started: to"),
        ("requests", "agent was started"),
        ("commits", "agent was started"),
        ("turned away", "agent was started"),
    ] {
        let row = text.lines().find(|line| line.trim_start().starts_with(name));
        assert!(row.is_some_and(|row| row.contains(&format!("since the {since}"))), "{name}: {row:?}");
    }
}

#[test]
fn a_gateway_that_has_only_begun_can_be_shown() {
    let text = human(&Status::default());
    assert!(!text.contains("no connection") && !text.contains("suspects") && !text.contains("body limit"), "{text}");
    assert!(text.contains("nothing sent yet") && text.contains("never since"), "{text}");
    assert!(!text.contains('!'), "nothing is wrong yet:\n{text}");
}

#[test]
fn a_long_name_does_not_run_into_its_value() {
    let limits = vec![("a name longer than its column".to_owned(), "7".to_owned())];
    assert!(human(&Status { limits, ..sample() }).contains("its column 7\n"));
}

#[test]
fn figures_are_written_for_people() {
    assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
    let sizes = [0, 1023, 1024, 1536, 1 << 20, 150 << 20, 1 << 30, (1 << 20) - 1, u64::MAX];
    let written = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "150 MiB", "1.0 GiB", "1.0 MiB", "16777216 TiB"];
    assert_eq!(sizes.map(size), written);
    let spans = [5, 59_999, 60_000, 3_600_000, 90_000_000].map(|ms| span(ms).to_string());
    assert_eq!(spans, ["5 ms", "59 s", "1 min 0 s", "1 h 0 min", "1 d 1 h"]);
    assert_eq!(time(1_795_336_200_123), "2026-11-22 08:30:00 UTC");
}

proptest! {
    #[test]
    fn no_text_from_outside_reaches_the_terminal_raw(text in any::<String>(), number: u64) {
        let status = Status {
            gateway: text.clone(),
            config: text.clone(),
            config_error: Some(text.clone()),
            endpoint: text.clone(),
            verdict: VerdictStatus {
                word: text.clone(),
                reason: text.clone(),
                advice: text.clone(),
                advice_message: serde_json::from_value(serde_json::json!({ "message": text, "with": [["a", text]] })).ok(),
                code: text.clone(),
                until_ms: Some(number),
                since_ms: Some(number),
                ..VerdictStatus::default()
            },
            lanes: vec![LaneStatus { name: text.clone(), oldest_ms: Some(number), oldest_age_ms: Some(number), ..LaneStatus::default() }],
            broker: Some(BrokerState { url: text.clone(), last_error: text.clone(), ..BrokerState::default() }),
            store: StoreStatus { path: text.clone(), bytes: number, max_bytes: number, ..StoreStatus::default() },
            limits: vec![(text.clone(), text)],
            now_ms: number,
            ..Status::default()
        };
        let shown = human(&status);
        prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", shown);
        prop_assert!(shown.len() < 40_000);
    }

    #[test]
    fn a_status_survives_json(number: u64, text in any::<String>()) {
        let mut status = sample();
        status.counts.stored = number;
        status.verdict.reason = text;
        let json = serde_json::to_string(&status).expect("JSON");
        prop_assert!(!json.contains('\n'), "one line");
        prop_assert_eq!(serde_json::from_str::<Status>(&json).expect("a status"), status);
    }
}
