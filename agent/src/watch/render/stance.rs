//! The stance for people: what the provider allows, why, until when, and what to do; and the log of notices.

use std::fmt::Write as _;

use super::super::status::{GroundStatus, InboxStatus, NoticeStatus, StanceStatus, StatusPageStatus};
use super::{line, plain, size, span, time, title};

/// The section of `status`. Nothing where there is nothing to say.
pub(super) fn section(out: &mut String, stance: &StanceStatus, now_ms: u64) {
    let inbox = &stance.inbox;
    let silent = inbox.keys.is_empty() && inbox.refused.is_empty();
    if stance.grounds.is_empty()
        && stance.ahead.is_empty()
        && stance.notices.is_empty()
        && silent
        && stance.page.is_none()
    {
        return;
    }
    title(out, "Provider");
    let may = match stance.telemetry.as_str() {
        "nothing" => "nothing is sent; collecting goes on",
        "first" => "only lanes that go first are sent",
        _ => "all lanes are sent",
    };
    line(out, "stance", &format!("{}: {may}", plain(&stance.stance)));
    for ground in &stance.grounds {
        line(out, &plain(&ground.stance), &of_ground(ground, now_ms));
        if !ground.advice.is_empty() {
            line(out, "", &format!("! {}", plain(&ground.advice)));
        }
    }
    if let Some(wait) = stance.probe_in_ms {
        line(out, "next probe", &format!("in {}: one record, to see whether it is taken", span(wait)));
    }
    for ground in &stance.ahead {
        line(out, "ahead", &format!("{} {}", plain(&ground.stance), of_ground(ground, now_ms)));
    }
    if let Some(found) = &stance.page {
        page(out, found);
    }
    for notice in &stance.notices {
        line(out, "notice", &of_notice(notice));
    }
    if !silent {
        of_inbox(out, inbox);
    }
}

fn of_inbox(out: &mut String, inbox: &InboxStatus) {
    let keys = if inbox.keys.is_empty() { "nobody's".to_owned() } else { plain(&inbox.keys.join(", ")) };
    let mut text = format!("keys believed: {keys}; {} taken in, {} brought again", inbox.accepted, inbox.repeated);
    let refused: u64 = inbox.refused.iter().map(|one| one.count).sum();
    let _ = write!(text, ", {refused} refused");
    if refused > 0 {
        let reasons: Vec<String> = inbox.refused.iter().map(|one| format!("{} {}", one.cause, one.count)).collect();
        let _ = write!(text, " ({})", plain(&reasons.join(", ")));
    }
    line(out, "signed", &text);
    if let Some(refused) = inbox.last.last() {
        line(out, "", &format!("! {} from {}: {}", time(refused.at_ms), plain(&refused.from), plain(&refused.why)));
    }
    if let Some(problem) = &inbox.folder_problem {
        line(out, "", &format!("! the folder cannot be looked into: {}", plain(problem)));
    }
}

fn page(out: &mut String, page: &StatusPageStatus) {
    let answered = match page.answered_ago_ms {
        Some(ago) => format!("answered {} ago", span(ago)),
        None if page.asked == 0 => "not asked yet".into(),
        None => "has not answered since the start".into(),
    };
    let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut text = format!("{}: {answered}", plain(&page.url));
    if page.answered_ago_ms.is_some() {
        let (maintenances, incidents) =
            (counted(page.maintenances, "maintenance"), counted(page.incidents_count, "incident"));
        let _ = write!(text, "; {maintenances} and {incidents} concern this gateway");
    }
    if page.asked > 0 {
        let cost = size(page.bytes);
        let _ = write!(text, "; {} so far, {cost}", counted(page.asked, "question"));
    }
    line(out, "status page", &text);
    for incident in &page.incidents {
        line(out, "incident", &plain(incident));
    }
    if page.skipped > 0 {
        line(
            out,
            "",
            &format!("! {} of it could not be read", counted(page.skipped, "entry").replace("entrys", "entries")),
        );
    }
    if !page.problem.is_empty() {
        line(out, "", &format!("! {}; {}", plain(&page.problem), plain(&page.advice)));
    }
}

fn of_ground(ground: &GroundStatus, now_ms: u64) -> String {
    let mut text = if ground.since_ms > now_ms {
        format!("from {} (in {})", time(ground.since_ms), span(ground.since_ms - now_ms))
    } else {
        format!("since {} ({})", time(ground.since_ms), span(now_ms - ground.since_ms))
    };
    if let Some(until) = ground.until_ms {
        let _ = write!(text, ", until {}", time(until));
        if until > now_ms {
            let _ = write!(text, " (in {})", span(until - now_ms));
        }
    }
    let _ = write!(text, "; {}", plain(&ground.source));
    if !ground.cause.is_empty() {
        let _ = write!(text, ": {}", plain(&ground.cause));
    }
    if !ground.clause.is_empty() {
        let _ = write!(text, " (clause {})", plain(&ground.clause));
    }
    text
}

fn of_notice(notice: &NoticeStatus) -> String {
    let mut text = format!("{} {} from {}", time(notice.at_ms), plain(&notice.what), plain(&notice.source));
    for part in [&notice.text, &notice.did] {
        if !part.is_empty() {
            let _ = write!(text, "; {}", plain(part));
        }
    }
    text
}

/// The log of notices, the newest last: a paragraph each, ending in a newline.
pub fn notices(entries: &[NoticeStatus]) -> String {
    let mut out = String::new();
    if entries.is_empty() {
        return "no notices\n".into();
    }
    for entry in entries {
        let clock = if entry.trusted { "" } else { " (by a clock that was not known to be right)" };
        let _ = writeln!(out, "{}{clock}  {}", time(entry.at_ms), plain(&entry.what));
        let id = if entry.id.is_empty() { String::new() } else { format!(" (id {})", plain(&entry.id)) };
        let (from, until) = (entry.from_ms.map(time), entry.until_ms.map(time));
        let holds = match (from, until) {
            (None, None) => String::new(),
            (from, until) => [from.map(|at| format!("from {at}")), until.map(|at| format!("until {at}"))]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
        };
        let rows = [
            ("from", format!("{}{id}", plain(&entry.source))),
            ("says", plain(&entry.text)),
            ("holds", holds),
            ("clause", plain(&entry.clause)),
            ("Tidegate", plain(&entry.did)),
        ];
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            line(&mut out, name, &value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(stance: &str) -> GroundStatus {
        GroundStatus {
            stance: stance.into(),
            source: "answer of Flux".into(),
            cause: "HTTP 403\u{1b}".into(),
            clause: "5.1(3)".into(),
            since_ms: 1_795_336_190_000,
            until_ms: None,
            advice: "look at the bill".into(),
        }
    }

    #[test]
    fn the_section_says_what_holds_why_since_when_and_what_to_do() {
        let now = 1_795_336_200_000;
        let mut stance = StanceStatus { stance: "open".into(), telemetry: "all".into(), ..StanceStatus::default() };
        let mut out = String::new();
        section(&mut out, &stance, now);
        assert_eq!(out, "", "nothing to say");
        stance.stance = "suspended".into();
        stance.telemetry = "nothing".into();
        stance.grounds = vec![ground("suspended")];
        stance.probe_in_ms = Some(3_600_000);
        let ahead = GroundStatus {
            since_ms: now + 60_000,
            until_ms: Some(now + 120_000),
            advice: String::new(),
            ..ground("maintenance")
        };
        stance.ahead = vec![ahead];
        section(&mut out, &stance, now);
        for text in [
            "stance            suspended: nothing is sent; collecting goes on",
            "(10 s); answer of Flux: HTTP 403\\u{1b} (clause 5.1(3))",
            "! look at the bill",
            "next probe        in 1 h 0 min",
            "ahead             maintenance from 2026-11-22 08:31:00 UTC (in 1 min 0 s), until 2026-11-22 08:32:00 UTC",
        ] {
            assert!(out.contains(text), "{text}:\n{out}");
        }
    }

    #[test]
    fn the_status_page_is_shown_with_what_it_costs_and_what_is_wrong() {
        let mut stance = StanceStatus { stance: "open".into(), ..StanceStatus::default() };
        let mut shown = |page: StatusPageStatus| {
            let mut out = String::new();
            stance.page = Some(page);
            section(&mut out, &stance, 0);
            out
        };
        let page = StatusPageStatus { url: "https://status.example".into(), ..StatusPageStatus::default() };
        assert!(shown(page.clone()).contains("status page       https://status.example: not asked yet\n"));
        let page = StatusPageStatus {
            answered_ago_ms: Some(60_000),
            maintenances: 1,
            incidents: vec!["Flux\u{1b} (impact minor)".into()],
            incidents_count: 2,
            skipped: 1,
            asked: 40,
            bytes: 150_000,
            problem: "HTTP 503".into(),
            advice: "nothing".into(),
            ..page
        };
        let text = shown(page);
        for part in [
            "answered 1 min 0 s ago; 1 maintenance and 2 incidents concern this gateway; 40 questions so far, ",
            "incident          Flux\\u{1b} (impact minor)",
            "! 1 entry of it could not be read",
            "! HTTP 503; nothing",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn the_log_tells_what_from_whom_what_was_done_and_until_when() {
        let entry = NoticeStatus {
            at_ms: 1_795_336_190_000,
            trusted: false,
            what: "maintenance".into(),
            id: "m-1".into(),
            source: "status page".into(),
            text: "works".into(),
            did: "sending stops at its beginning".into(),
            from_ms: Some(1_795_336_200_000),
            until_ms: Some(1_795_339_800_000),
            clause: "5.2(1)".into(),
        };
        let text = notices(&[entry]);
        for part in ["not known to be right", "status page (id m-1)", "until 2026-11-22 09:30:00 UTC", "stops at its"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert_eq!(notices(&[]), "no notices\n");
    }
}
