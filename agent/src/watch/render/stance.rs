//! The stance for people: what the provider allows, why, until when, and what to do; and the log of notices.

use super::super::status::{
    ByUptimeStatus, GroundStatus, InboxStatus, NoticeStatus, STARTING, StanceStatus, StatusPageStatus,
};
use super::words::{clause, notice_word, source, stance_word};
use super::{NAMES, coded, number, own, plain, size, span, time, told};
use crate::language::sheet::Sheet;
use crate::language::{Language, Message, again};
use crate::message;

/// What of it may be sent.
pub(super) fn may(stance: &StanceStatus) -> Message {
    match stance.telemetry.as_str() {
        _ if stance.stance == STARTING => message!("the store is being opened; nothing is sent until then"),
        "nothing" => message!("nothing is sent; collecting goes on"),
        "first" => message!("only lanes that go first are sent"),
        _ => message!("all lanes are sent"),
    }
}

/// The section of `status`. Nothing where there is nothing to say.
pub(super) fn section(out: &mut Sheet, stance: &StanceStatus, now_ms: u64) {
    let inbox = &stance.inbox;
    let silent = inbox.keys.is_empty() && inbox.refused.is_empty();
    if stance.grounds.is_empty()
        && stance.ahead.is_empty()
        && stance.stance != STARTING
        && stance.notices.is_empty()
        && silent
        && stance.page.is_none()
    {
        return;
    }
    out.title(message!("Provider"));
    let may = may(stance);
    out.line(message!("stance"), message!("{stance}: {may}", stance = stance_word(&stance.stance), may = may));
    for ground in &stance.grounds {
        let text = of_ground(out, ground, now_ms);
        out.line(stance_word(&ground.stance), coded(text, &ground.code));
        if !ground.advice.is_empty() {
            out.line("", format!("! {}", own(out, &ground.advice, ground.advice_message.as_ref())));
        }
    }
    if let Some(wait) = stance.probe_in_ms {
        out.line(
            message!("next probe"),
            message!("in {span}: one record, to see whether it is taken", span = span(wait)),
        );
    }
    for ground in &stance.ahead {
        let text = format!("{} {}", out.say(stance_word(&ground.stance)), of_ground(out, ground, now_ms));
        out.line(message!("ahead"), text);
    }
    if let Some(found) = &stance.page {
        page(out, found);
    }
    for notice in &stance.notices {
        let text = of_notice(out, notice);
        out.line(message!("notice"), text);
    }
    if !silent {
        of_inbox(out, inbox);
    }
}

fn of_inbox(out: &mut Sheet, inbox: &InboxStatus) {
    let keys = if inbox.keys.is_empty() { out.say(message!("nobody's")) } else { plain(&inbox.keys.join(", ")) };
    let refused: u64 = inbox.refused.iter().map(|one| one.count).sum();
    let mut text = out.say(message!(
        "keys believed: {keys}; {accepted} taken in, {repeated} brought again, {refused} refused",
        keys = keys,
        accepted = inbox.accepted,
        repeated = inbox.repeated,
        refused = refused
    ));
    if refused > 0 {
        let reasons = inbox.refused.iter().map(|one| format!("{} {}", plain(&one.cause), one.count));
        let reasons = out.list(reasons);
        text.extend([" (", &reasons, ")"]);
    }
    out.line(message!("signed"), text);
    if inbox.not_wholly_known > 0 {
        let count = number(inbox.not_wholly_known);
        let text =
            message!("{count} of them say something that this version does not know (the log names it)", count = count);
        out.line("", text);
    }
    if let Some(refused) = inbox.last.last() {
        let text = message!(
            "! {time} from {source}: {why}",
            time = time(refused.at_ms),
            source = plain(&refused.from),
            why = told(out, &refused.why, refused.why_message.as_ref())
        );
        out.line("", coded(text, &refused.error_code));
    }
    if let Some(problem) = &inbox.folder_problem {
        let text = message!(
            "! the folder cannot be looked into: {problem}",
            problem = told(out, problem, inbox.folder_problem_message.as_ref())
        );
        out.line("", coded(text, &inbox.folder_code));
    }
}

fn page(out: &mut Sheet, page: &StatusPageStatus) {
    let answered = match page.answered_ago_ms {
        Some(ago) => message!("answered {span} ago", span = span(ago)),
        None if page.asked == 0 => message!("not asked yet"),
        None => message!("has not answered since the start"),
    };
    let mut text = out.say(message!("{url}: {answered}", url = plain(&page.url), answered = answered));
    if page.answered_ago_ms.is_some() {
        let maintenances = match page.maintenances {
            1 => message!("1 maintenance"),
            count => message!("{count} maintenances", count = count),
        };
        let incidents = match page.incidents_count {
            1 => message!("1 incident"),
            count => message!("{count} incidents", count = count),
        };
        text += &out.say(message!(
            "; {maintenances} and {incidents} concern this gateway",
            maintenances = maintenances,
            incidents = incidents
        ));
    }
    if page.asked > 0 {
        let size = size(page.bytes);
        text += &out.say(match page.asked {
            1 => message!("; 1 question so far, {size}", size = size),
            count => message!("; {count} questions so far, {size}", count = count, size = size),
        });
    }
    out.line(message!("status page"), text);
    for (index, incident) in page.incidents.iter().enumerate() {
        out.line(message!("incident"), told(out, incident, page.incident_messages.get(index)));
    }
    match page.skipped {
        0 => {}
        1 => out.line("", message!("! 1 entry of it could not be read")),
        count => out.line("", message!("! {count} entries of it could not be read", count = number(count))),
    }
    if !page.problem.is_empty() {
        let advice = own(out, &page.advice, page.advice_message.as_ref());
        let text = message!(
            "! {problem}; {advice}",
            problem = told(out, &page.problem, page.problem_message.as_ref()),
            advice = advice
        );
        out.line("", coded(text, &page.code));
    }
}

/// Since when, or from when, and until when. While the clock is not known to be right, what somebody said is a date, and
/// what this gateway saw begin is told by how long ago that is.
fn course(out: &Sheet, ground: &GroundStatus, now_ms: u64) -> String {
    let from_now = |at_ms: u64| i64::try_from(i128::from(at_ms) - i128::from(now_ms)).unwrap_or(i64::MAX);
    let course = ground.by_uptime.unwrap_or_else(|| ByUptimeStatus {
        since_ago_ms: from_now(ground.since_ms).saturating_neg(),
        until_in_ms: ground.until_ms.map(from_now),
        since_dated: true,
        until_dated: true,
    });
    let (from, ago) = (time(ground.since_ms), span(course.since_ago_ms.unsigned_abs()));
    let mut text = out.say(match (course.since_ago_ms < 0, course.since_dated) {
        (true, _) => message!("from {time} (in {span})", time = from, span = ago),
        (false, true) => message!("since {time} ({span})", time = from, span = ago),
        (false, false) => message!("since {span} ago", span = ago),
    });
    if let Some(until) = ground.until_ms {
        let wait = course.until_in_ms.and_then(|wait| u64::try_from(wait).ok()).filter(|wait| *wait > 0);
        match (wait, course.until_dated) {
            (Some(wait), true) => {
                text += &out.say(message!(", until {time} (in {span})", time = time(until), span = span(wait)));
            }
            (Some(wait), false) => text += &out.say(message!(", for {span} more", span = span(wait))),
            (None, true) => text += &out.say(message!(", until {time}", time = time(until))),
            (None, false) => {}
        }
    }
    text
}

pub(super) fn of_ground(out: &Sheet, ground: &GroundStatus, now_ms: u64) -> String {
    let mut text = course(out, ground, now_ms);
    let source = match &ground.source_message {
        Some(message) => plain(&out.say(message.clone())),
        None => out.say(source(&ground.source)),
    };
    text += &out.say(message!("; {source}", source = source));
    if !ground.cause.is_empty() {
        let cause = told(out, &ground.cause, ground.cause_message.as_ref());
        text += &out.say(message!(": {cause}", cause = cause));
    }
    if !ground.clause.is_empty() {
        text += &out.say(message!(" (clause {clause})", clause = clause(&ground.clause)));
    }
    text
}

pub(super) fn of_notice(out: &Sheet, notice: &NoticeStatus) -> String {
    let mut text = out.say(message!(
        "{time} {what} from {source}",
        time = time(notice.at_ms),
        what = notice_word(&notice.what),
        source = source(&notice.source)
    ));
    for part in [text_of(out, notice), done(out, notice)] {
        if !part.is_empty() {
            text += &out.say(message!("; {text}", text = part));
        }
    }
    text
}

/// What an entry of the log says: in the reader's language if it is this gateway's own, and else as it was said.
fn text_of(out: &Sheet, notice: &NoticeStatus) -> String {
    plain(&notice.text_message.as_ref().map_or_else(|| notice.text.clone(), |message| out.say(message)))
}

/// What the agent did, by an entry of the log.
fn done(out: &Sheet, notice: &NoticeStatus) -> String {
    match &notice.did_message {
        Some(message) => plain(&out.say(message)),
        None => plain(again(&notice.did, out.language())),
    }
}

/// From when and until when something holds; nothing if neither is said.
fn window(notice: &NoticeStatus) -> Option<Message> {
    if notice.from_undated || notice.until_undated {
        return undated_window(notice);
    }
    Some(match (notice.from_ms.map(time), notice.until_ms.map(time)) {
        (None, None) => return None,
        (Some(from), None) => message!("from {time}", time = from),
        (None, Some(until)) => message!("until {time}", time = until),
        (Some(from), Some(until)) => message!("from {from} until {until}", from = from, until = until),
    })
}

/// The same where it was not known what time it was, by how far it is from the entry's own time.
fn undated_window(notice: &NoticeStatus) -> Option<Message> {
    let at = notice.at_ms;
    let from = notice.from_ms.map(|from| match at.checked_sub(from) {
        _ if !notice.from_undated => message!("from {time}", time = time(from)),
        Some(before) if before >= 1_000 => message!("since {span} before", span = span(before)),
        _ => message!("from then on"),
    });
    let until = notice.until_ms.and_then(|until| match until.checked_sub(at) {
        _ if !notice.until_undated => Some(message!("until {time}", time = time(until))),
        Some(length) if length > 0 => Some(message!("for {span}", span = span(length))),
        _ => None,
    });
    match (from, until) {
        (Some(from), Some(until)) => Some(message!("{from}, {until}", from = from, until = until)),
        (from, until) => from.or(until),
    }
}

/// The log of notices, the newest last: a paragraph each, ending in a newline.
pub fn notices(entries: &[NoticeStatus], language: Language) -> String {
    let mut out = Sheet::new(language, NAMES);
    if entries.is_empty() {
        out.plain(message!("no notices"));
    }
    for entry in entries {
        let at = time(entry.at_ms);
        let at = if entry.trusted {
            at
        } else {
            out.say(message!("{time} (by a clock that was not known to be right)", time = at))
        };
        out.plain(format!("{at}  {}", out.say(notice_word(&entry.what))));
        let from = out.say(source(&entry.source));
        let from = if entry.id.is_empty() {
            from
        } else {
            out.say(message!("{source} (id {id})", source = from, id = plain(&entry.id)))
        };
        let holds = window(entry).map_or_else(String::new, |window| out.say(window));
        let clause = if entry.clause.is_empty() { String::new() } else { out.say(clause(&entry.clause)) };
        let rows = [
            (message!("from"), from),
            (message!("says"), text_of(&out, entry)),
            (message!("holds"), holds),
            (message!("clause"), clause),
            (message!("Tidegate"), done(&out, entry)),
        ];
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            out.line(name, value);
        }
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(stance: &StanceStatus, now_ms: u64) -> String {
        let mut out = Sheet::new(Language::English, NAMES);
        section(&mut out, stance, now_ms);
        out.finish()
    }

    fn ground(stance: &str) -> GroundStatus {
        GroundStatus {
            stance: stance.into(),
            source: "answer of Flux".into(),
            cause: "HTTP 403\u{1b}".into(),
            clause: "5.1(3)".into(),
            since_ms: 1_795_336_190_000,
            until_ms: None,
            advice: "look at the bill".into(),
            ..GroundStatus::default()
        }
    }

    #[test]
    fn the_section_says_what_holds_why_since_when_and_what_to_do() {
        let now = 1_795_336_200_000;
        let mut stance = StanceStatus { stance: "open".into(), telemetry: "all".into(), ..StanceStatus::default() };
        assert_eq!(shown(&stance, now), "", "nothing to say");
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
        let out = shown(&stance, now);
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
    fn while_the_clock_is_not_known_to_be_right_what_is_no_date_is_told_by_how_far_it_is_from_now() {
        let now = 77_000;
        let by_uptime = ByUptimeStatus { since_ago_ms: 480_000, until_in_ms: Some(6_720_000), ..Default::default() };
        let mut one = GroundStatus { until_ms: Some(now), by_uptime: Some(by_uptime), ..ground("maintenance") };
        let shown = |ground: &GroundStatus, language| course(&Sheet::new(language, NAMES), ground, now);
        assert_eq!(shown(&one, Language::English), "since 8 min 0 s ago, for 1 h 52 min more");
        assert_eq!(shown(&one, Language::Japanese), "8 分 0 秒前から、あと 1 時間 52 分");
        one.by_uptime = Some(ByUptimeStatus { since_dated: true, until_dated: true, ..by_uptime });
        one.until_ms = Some(1_795_339_800_000);
        assert_eq!(
            shown(&one, Language::English),
            "since 2026-11-22 08:29:50 UTC (8 min 0 s), until 2026-11-22 09:30:00 UTC (in 1 h 52 min)"
        );
        one.by_uptime = Some(ByUptimeStatus { until_in_ms: Some(-1), ..by_uptime });
        assert_eq!(shown(&one, Language::English), "since 8 min 0 s ago");

        let mut entry = NoticeStatus {
            at_ms: now,
            from_ms: Some(now),
            until_ms: Some(now + 20_000),
            from_undated: true,
            until_undated: true,
            ..NoticeStatus::default()
        };
        let shown = |entry: &NoticeStatus| notices(std::slice::from_ref(entry), Language::English);
        assert!(shown(&entry).contains("from then on, for 20 s"), "{}", shown(&entry));
        (entry.from_ms, entry.until_undated, entry.until_ms) = (Some(now - 9_000), false, Some(1_795_339_800_000));
        assert!(shown(&entry).contains("since 9 s before, until 2026-11-22 09:30:00 UTC"), "{}", shown(&entry));
    }

    #[test]
    fn while_the_store_is_being_opened_nothing_is_said_to_be_sent() {
        let stance = StanceStatus { stance: STARTING.into(), telemetry: "nothing".into(), ..StanceStatus::default() };
        let out = shown(&stance, 0);
        assert!(out.contains("starting: the store is being opened; nothing is sent until then"), "{out}");
    }

    #[test]
    fn the_status_page_is_shown_with_what_it_costs_and_what_is_wrong() {
        let mut stance = StanceStatus { stance: "open".into(), ..StanceStatus::default() };
        let mut shown = |page: StatusPageStatus| {
            stance.page = Some(page);
            super::tests::shown(&stance, 0)
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
            ..NoticeStatus::default()
        };
        let text = notices(&[entry], Language::English);
        for part in ["not known to be right", "status page (id m-1)", "until 2026-11-22 09:30:00 UTC", "stops at its"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert_eq!(notices(&[], Language::English), "no notices\n");
    }
}
