//! Tests of the verdict.

use super::*;
use hyper::header::RETRY_AFTER;
use proptest::prelude::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let headers = headers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))).collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

fn context(delivered: bool) -> Context<'static> {
    // 2026-11-22T08:30:00Z
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_336_200);
    Context { rules: &[], kind: "webhook", delivered, auth: false, proven: true, now: Instant::now(), wall }
}

#[test]
fn each_status_means_what_the_table_says_before_and_after_a_delivery() {
    use Verdict::{Accepted, Ended, Misconfigured, Poison, Suspended, Transient};
    let (cheap, costly) = (Transient { costly: false }, Transient { costly: true });
    let spent = Verdict::Quota { until: None };
    let (bad, large) = (Poison { too_large: false }, Poison { too_large: true });
    for (status, body, before, after) in [
        (200, "", Accepted, Accepted),
        (200, r#"{"statusCode":200,"body":{"result":"ok","detail":{}}}"#, Accepted, Accepted),
        (201, "", Accepted, Accepted),
        (202, "anything", Accepted, Accepted),
        (204, "", Accepted, Accepted),
        (200, r#"{"result":"ng"}"#, costly, costly),
        (200, r#" {"statusCode":200, "body":{"result" : "ng"}}"#, costly, costly),
        (200, r#"[{"payload":{"result":"ng"}}]"#, Accepted, Accepted),
        (200, r#"{"payload":{"result":"ng"}}"#, Accepted, Accepted),
        (207, "", costly, costly),
        (207, r#"{"result":"ok"}"#, costly, costly),
        (301, "", Misconfigured, Misconfigured),
        (307, "", Misconfigured, Misconfigured),
        (400, "", bad, bad),
        (401, "", Misconfigured, Suspended),
        (402, "", spent, spent),
        (403, "", Misconfigured, Suspended),
        (403, r#"{"code":"FLX0001","message":"Monthly Quota exceeded"}"#, spent, spent),
        (404, "", Misconfigured, Suspended),
        (405, "", Misconfigured, Misconfigured),
        (408, "", cheap, cheap),
        (409, "", cheap, cheap),
        (410, "", Misconfigured, Ended),
        (413, "", large, large),
        (415, "", Misconfigured, Misconfigured),
        (422, "", bad, bad),
        (425, "", cheap, cheap),
        (500, r#"{"result":"ng"}"#, cheap, cheap),
        (502, "<html>", cheap, cheap),
        (503, "", cheap, cheap),
        (504, "", cheap, cheap),
        (999, "", Misconfigured, Misconfigured),
    ] {
        for (delivered, expected) in [(false, before), (true, after)] {
            let judged = judge(&answer(status, &[], body), &context(delivered));
            assert_eq!(judged.verdict, expected, "{status} {body} delivered={delivered}");
            assert_eq!(judged.reason.is_empty(), expected == Accepted, "{status}: {}", judged.reason);
        }
    }
}

#[test]
fn a_refused_request_for_a_token_is_never_held_against_a_record() {
    for status in [200, 400, 413, 422] {
        let judged =
            judge(&answer(status, &[], "{\"token\":\"half a secret"), &Context { auth: true, ..context(false) });
        assert_eq!(judged.verdict, Verdict::Misconfigured, "{status}");
        assert!(judged.reason.to_string().contains("request for a token"), "{}", judged.reason);
        assert!(status != 200 || !judged.reason.to_string().contains("secret"), "{}", judged.reason);
    }
}

#[test]
fn a_rule_goes_before_what_is_known_otherwise_but_takes_no_record_that_was_not_taken() {
    use crate::answer::rule::Statuses;
    let rule = |status, means| Rule { status, body: None, header: None, kinds: vec![], means };
    let (one, class) = (Statuses::One, Statuses::Class);
    let judged = |rules: &[Rule], status, headers: &[(&'static str, &str)], auth| {
        let context = Context { rules, auth, ..context(true) };
        let judged = judge(&answer(status, headers, ""), &context);
        let wait = match judged.verdict {
            Verdict::Throttled { until } | Verdict::Maintenance { until } => Some(until),
            Verdict::Quota { until } => until,
            _ => None,
        };
        let wait = wait.map(|until| (until - context.now).as_secs());
        assert_eq!(
            judged.reason.to_string().contains("rule"),
            judged.verdict.word() != "accepted" && !rules.is_empty()
        );
        (judged.verdict.word(), wait)
    };
    let after = [("retry-after", "7200")];
    for (status, means, headers, expected) in [
        (one(403), Means::Quota, &[][..], ("quota", None)),
        (one(403), Means::Quota, &after, ("quota", Some(7200))),
        (one(403), Means::Ended, &[], ("ended", None)),
        (one(403), Means::Misconfigured, &[], ("misconfigured", None)),
        (one(403), Means::Poison, &[], ("poison", None)),
        (one(403), Means::Transient, &[], ("transient", None)),
        (class(4), Means::Maintenance, &[], ("maintenance", Some(300))),
        (class(4), Means::Maintenance, &after, ("maintenance", Some(7200))),
        (one(403), Means::Throttled, &after, ("throttled", Some(3600))),
    ] {
        assert_eq!(judged(&[rule(status, means)], 403, headers, false), expected, "{means:?}");
    }
    let accepted = [rule(class(2), Means::Accepted)];
    assert_eq!(judged(&accepted, 207, &[], false), ("accepted", None));
    let refused = [rule(one(403), Means::Accepted)];
    let context = Context { rules: &refused, ..context(true) };
    assert_eq!(judge(&answer(403, &[], ""), &context).verdict, Verdict::Suspended);
    let costly = [rule(one(200), Means::Transient)];
    let context = Context { rules: &costly, ..context };
    assert_eq!(judge(&answer(200, &[], ""), &context).verdict, Verdict::Transient { costly: true });
    // Of a request for a token nothing is concluded for a record.
    let poison = [rule(one(400), Means::Poison), rule(class(2), Means::Accepted)];
    for status in [400, 200] {
        let context = Context { rules: &poison, auth: true, ..context };
        assert_ne!(judge(&answer(status, &[], ""), &context).verdict.word(), "accepted");
        assert_ne!(judge(&answer(status, &[], ""), &context).verdict.word(), "poison");
    }
}

#[test]
fn waits_come_from_either_header_and_are_clamped() {
    let refresh = "X-Soracom-Ratelimit-Seconds-Before-Refresh";
    for (status, headers, expected_s) in [
        (429, vec![("retry-after", "7")], 7),
        (429, vec![(refresh, "12")], 12),
        (429, vec![("retry-after", "7"), (refresh, "12")], 12),
        (429, vec![("retry-after", "7"), (refresh, "soon")], 7),
        (429, vec![], 60),
        (429, vec![("retry-after", "-5")], 60),
        (429, vec![("retry-after", "nonsense")], 60),
        (429, vec![("retry-after", "0")], 1),
        (429, vec![("retry-after", "99999999999999999999999999")], 3600),
        (429, vec![("retry-after", "Sun, 22 Nov 2026 08:31:30 GMT")], 90),
        (429, vec![("retry-after", "Sun, 22 Nov 2026 08:00:00 GMT")], 1),
        (429, vec![("retry-after", "Thu, 01 Jan 1970 00:02:00 GMT"), ("date", "Thu, 01 Jan 1970 00:00:00 GMT")], 120),
        (503, vec![("retry-after", "120")], 120),
        (503, vec![("retry-after", "7200")], 7200),
        (503, vec![("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], 86_400),
    ] {
        let context = context(true);
        let until = context.now + Duration::from_secs(expected_s);
        let expected = if status == 429 { Verdict::Throttled { until } } else { Verdict::Maintenance { until } };
        assert_eq!(judge(&answer(status, &headers, ""), &context).verdict, expected, "{status} {headers:?}");
    }
}

#[test]
fn a_used_up_quota_names_its_end_if_it_does_and_no_later_one_than_in_a_month() {
    let spoken = r#"{"message":"Monthly quota exceeded"}"#;
    for (status, body) in [(402, ""), (403, spoken)] {
        for (text, expected) in
            [("7200", Some(7200)), ("0", Some(1)), ("soon", None), ("99999999999", Some(31 * 86_400))]
        {
            let context = context(false);
            let until = expected.map(|wait| context.now + Duration::from_secs(wait));
            let judged = judge(&answer(status, &[("retry-after", text)], body), &context);
            assert_eq!(judged.verdict, Verdict::Quota { until }, "{status} {text}");
        }
    }
}

#[test]
fn a_named_wait_is_never_below_a_second_nor_above_an_hour_or_with_503_a_day_whatever_it_says() {
    let refresh = "x-soracom-ratelimit-seconds-before-refresh";
    // What says nothing that is understood counts as nothing said.
    let nonsense = [
        "-1",
        "-99999999999999999999999",
        "+5",
        "1.5",
        "1e9",
        "NaN",
        "inf",
        "0x10",
        "",
        " ",
        "soon",
        "10 s",
        "１０",
        "5,5",
    ];
    let clamped = [
        ("0", 1),
        ("1", 1),
        (" 3 ", 3),
        ("000000000000000000000000000007", 7),
        ("3600", 3600),
        ("3601", 3600),
        ("4294967296", 3600),
        ("18446744073709551615", 3600),
        ("18446744073709551616", 3600),
        ("99999999999999999999999999999999999999999999", 3600),
    ];
    let context = context(true);
    let wait_of = |status, headers: &[(&'static str, &str)]| match judge(&answer(status, headers, ""), &context).verdict
    {
        Verdict::Throttled { until } | Verdict::Maintenance { until } => Some((until - context.now).as_secs()),
        _ => None,
    };
    for text in nonsense {
        assert_eq!(wait_of(429, &[("retry-after", text)]), Some(60), "{text:?}");
        assert_eq!(wait_of(429, &[(refresh, text)]), Some(60), "{text:?}");
        assert_eq!(wait_of(429, &[(refresh, text), ("retry-after", "9")]), Some(9), "{text:?}");
        assert_eq!(wait_of(503, &[("retry-after", text)]), None, "{text:?}: no time is named, so it is transient");
    }
    for (text, expected) in clamped {
        assert_eq!(wait_of(429, &[("retry-after", text)]), Some(expected), "{text:?}");
        assert_eq!(wait_of(429, &[(refresh, text)]), Some(expected), "{text:?}");
        let works = text.trim().parse().map_or(86_400, |wait: u64| wait.clamp(1, 86_400));
        assert_eq!(wait_of(503, &[("retry-after", text)]), Some(works), "{text:?}");
    }
}

#[test]
fn both_shapes_of_api_errors_give_their_message_cut_and_escaped() {
    let long = "x".repeat(1000);
    for (body, expected) in [
        (
            r#"{"httpStatus":404,"errorMessage":{"code":"COM0004","message":"Not found"}}"#,
            "HTTP 404: COM0004 Not found",
        ),
        (
            r#"{"code":"COM0003","message":"Method\nnot \u001b[31mallowed"}"#,
            "HTTP 404: COM0003 Method\\nnot \\u{1b}[31mallowed",
        ),
        (r#"{"code":17,"message":null}"#, "HTTP 404"),
        ("<h1>gone\u{202e}</h1>", "HTTP 404: <h1>gone\\u{202e}</h1>"),
        ("", "HTTP 404"),
        (&long, &format!("HTTP 404: {}…", "x".repeat(200))),
    ] {
        assert_eq!(judge(&answer(404, &[], body), &context(true)).reason.to_string(), expected);
    }
}

#[test]
fn a_rate_limit_is_read_with_its_life_and_what_is_no_limit_is_none() {
    const LIMIT: &str = "x-soracom-ratelimit-limit";
    let now = Instant::now();
    let read = |headers: &[(&'static str, &str)]| {
        let limit = rate_limit(&answer(200, headers, "").headers, now)?;
        Some((limit.per_minute.get(), (limit.until - now).as_secs()))
    };
    assert_eq!(read(&[(LIMIT, "60"), (RATE_LIMIT_REFRESH, "17")]), Some((60, 17)));
    assert_eq!(read(&[(LIMIT, " 60 ")]), Some((60, 60)), "the API's limit is per minute");
    assert_eq!(read(&[(LIMIT, "60"), (RATE_LIMIT_REFRESH, "0")]), Some((60, 1)));
    assert_eq!(read(&[(LIMIT, "60"), (RATE_LIMIT_REFRESH, "99999999999999999999999")]), Some((60, 3600)));
    for value in ["", "0", "-1", "many", "1.5", "99999999999999999999999"] {
        assert_eq!(read(&[(LIMIT, value)]), None, "{value}");
    }
    assert_eq!(read(&[(RATE_LIMIT_REFRESH, "17")]), None);
}

proptest! {
    #[test]
    fn any_answer_is_judged_and_only_2xx_is_accepted(
        status in 0_u16..1000, body in proptest::collection::vec(any::<u8>(), 0..300), wait in ".{0,30}", delivered: bool,
    ) {
        let mut answer = Answer { status, body, ..Answer::default() };
        if let Ok(value) = hyper::header::HeaderValue::from_str(&wait) {
            answer.headers.insert(RETRY_AFTER, value);
        }
        let context = context(delivered);
        let judged = judge(&answer, &context);
        if judged.verdict == Verdict::Accepted {
            prop_assert!((200..300).contains(&status) && status != 207);
        }
        if let Verdict::Throttled { until } = judged.verdict {
            prop_assert!(until >= context.now + MIN_WAIT && until <= context.now + MAX_WAIT);
        }
        if let Verdict::Maintenance { until } = judged.verdict {
            prop_assert!(until >= context.now + MIN_WAIT && until <= context.now + MAX_MAINTENANCE);
        }
        if let Verdict::Quota { until: Some(until) } = judged.verdict {
            prop_assert!(until >= context.now + MIN_WAIT && until <= context.now + MAX_QUOTA);
        }
        prop_assert!(judged.reason.to_string().chars().all(|character| !character.is_control()));
    }
}

#[test]
fn in_plain_http_nobody_can_end_a_gateway_for_good() {
    let judged = |proven| judge(&answer(410, &[], ""), &Context { proven, ..context(true) }).verdict;
    assert_eq!((judged(true), judged(false)), (Verdict::Ended, Verdict::Suspended));
}
