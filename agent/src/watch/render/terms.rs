//! What limits what may leave, for people: a short section of `status`, and the whole of it for `tidegate terms`.

use tidegate_protocol::units::format_size;

use super::super::status::{LimitSource, SimStatus, TermsFileStatus, TermsStatus};
use super::words::clause;
use super::{NAMES, coded, lines, number, own, plain, size, span, time, told};
use crate::language::sheet::{Sheet, left, widest};
use crate::language::{IntoValue, Language};
use crate::message;

/// The section of `status`: what holds, who says so, and what is wrong.
pub(super) fn section(out: &mut Sheet, terms: &TermsStatus, now_ms: u64) {
    if terms.limits.is_empty() && terms.sim.is_none() && terms.file.is_none() {
        return;
    }
    out.title(message!("Terms"));
    for limit in &terms.limits {
        let who: Vec<String> = limit.by.iter().map(|by| said(out, by)).collect();
        let value = told(out, &limit.value, limit.value_message.as_ref());
        let text = if let Some(part) = limit.part.filter(|part| Some(*part) != limit.number) {
            message!(
                "{value}, of which {part} are this gateway's ({who})",
                value = value,
                part = amount(part, &limit.unit),
                who = who.join("; ")
            )
        } else {
            message!("{value} ({who})", value = value, who = who.join("; "))
        };
        out.line(plain(&limit.kind), text);
    }
    around(out, terms, now_ms);
}

/// Everything: each limit with those that it overrules. `heading` says whose it is and who says so. `now_ms`: for what is
/// shown as a time.
pub fn terms(terms: &TermsStatus, heading: impl IntoValue, now_ms: u64, language: Language) -> String {
    let mut out = Sheet::new(language, NAMES);
    let heading = plain(&out.say(heading));
    out.plain(heading);
    out.plain("");
    table(&mut out, terms);
    out.plain("");
    out.plain(message!("* holds; without the mark, what it overrules"));
    if !terms.unlimited.is_empty() {
        let names = out.list(terms.unlimited.iter().map(|name| plain(name)));
        out.plain(message!("not limited: {names}", names = names));
    }
    out.plain("");
    around(&mut out, terms, now_ms);
    out.line(message!("calendar"), plain(&terms.calendar));
    out.finish()
}

fn table(out: &mut Sheet, terms: &TermsStatus) {
    let heads = [message!("limit"), message!("value"), message!("clause"), message!("who says it")];
    let [limit, value, clause, who] = heads.map(|head| out.say(head));
    let mut rows: Vec<[String; 5]> = vec![[String::new(), limit, value, clause, who]];
    for limit in &terms.limits {
        let mut kind = plain(&limit.kind);
        for by in &limit.by {
            rows.push(row(out, "*", std::mem::take(&mut kind), by));
        }
        for other in &limit.overruled {
            rows.push(row(out, "", String::new(), other));
        }
        let mut of_all = |value, why| rows.push(["*".into(), String::new(), value, String::new(), out.say(why)]);
        if limit.by.len() > 1 {
            of_all(told(out, &limit.value, limit.value_message.as_ref()), message!("what they all allow"));
        }
        if let Some(part) = limit.part.filter(|part| Some(*part) != limit.number) {
            of_all(amount(part, &limit.unit), message!("this gateway's part, by its share"));
        }
    }
    let widths: Vec<usize> = (0..4).map(|column| widest(rows.iter().map(|row| row[column].as_str()))).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| left(cell, *width) + "  ");
        out.plain(cells.collect::<String>() + &row[4]);
    }
}

fn row(out: &Sheet, mark: &str, kind: String, by: &LimitSource) -> [String; 5] {
    let value = told(out, &by.value, by.value_message.as_ref());
    let source = told(out, &by.source, by.source_message.as_ref());
    [mark.to_owned(), kind, value, out.say(clause(&by.clause)), source]
}

fn said(out: &Sheet, by: &LimitSource) -> String {
    let source = told(out, &by.source, by.source_message.as_ref());
    out.say(message!("{source}, clause {clause}", source = source, clause = clause(&by.clause)))
}

/// A count in a kind's unit: bytes as they would be written where that is short, and else to a tenth.
fn amount(count: u64, unit: &str) -> String {
    if unit != "bytes" {
        return number(count);
    }
    let written = format_size(count);
    if written.len() <= SHORT { written } else { size(count) }
}

/// Longest number of bytes that is shown to the byte: `1234kB`.
const SHORT: usize = 6;

/// The line, the terms file, and what is wrong.
fn around(out: &mut Sheet, terms: &TermsStatus, now_ms: u64) {
    for (index, problem) in terms.problems.iter().enumerate() {
        out.line("", format!("! {}", told(out, problem, terms.problem_messages.get(index))));
    }
    if let Some(found) = &terms.sim {
        sim(out, found, now_ms);
    }
    if let Some(found) = &terms.file {
        file(out, found);
    }
    if !terms.provider_known {
        out.line(message!("provider"), message!("unknown while the agent is stopped: speed class, rate limits"));
    }
}

fn sim(out: &mut Sheet, found: &SimStatus, now_ms: u64) {
    let mut parts = Vec::new();
    parts.extend(found.status.as_deref().map(|status| plain(status).into_value()));
    let class = match (&found.speed_class, found.answered_ago_ms) {
        (Some(class), _) => message!("speed class {class}", class = plain(class)),
        (None, Some(_)) => message!("speed class not told"),
        (None, None) => message!("nothing known yet"),
    };
    parts.push(class.into_value());
    if let Some(at) = found.told_before_ms {
        parts.push(message!("told before the start, {time}", time = time(at)).into_value());
    } else if let Some(ago) = found.answered_ago_ms {
        parts.push(message!("told {span} ago", span = span(ago)).into_value());
    }
    let parts = out.list(parts);
    out.line("SIM", parts);
    if let Some(at) = found.expiry_ms {
        let action = match found.expiry_action.as_str() {
            "" => out.say(message!("expiry")),
            action => plain(action),
        };
        let when = match at.checked_sub(now_ms) {
            Some(left) if left > 0 => message!("in {span}", span = span(left)),
            _ => message!("is over"),
        };
        let text = message!("! announced for {time}: {action} ({when})", time = time(at), action = action, when = when);
        out.line("", text);
    }
    if !found.problem.is_empty() {
        let (url, problem) = (plain(&found.url), told(out, &found.problem, found.problem_message.as_ref()));
        let text = message!("! {url} does not answer: {problem}", url = url, problem = problem);
        out.line("", coded(text, &found.code));
        let advice = own(out, &found.advice, found.advice_message.as_ref());
        out.line("", message!("  what to do: {advice}", advice = advice));
    }
}

fn file(out: &mut Sheet, found: &TermsFileStatus) {
    let mut text = plain(&found.path);
    if !found.title.is_empty() {
        text.extend([": ", &plain(&found.title)]);
    }
    if !found.version.is_empty() {
        text += &out.say(message!(", version {version}", version = plain(&found.version)));
    }
    out.line(message!("terms file"), text);
    if found.unknown_count > 0 {
        let mut names = out.list(found.unknown.iter().map(|name| plain(name)));
        if found.unknown_count > found.unknown.len() as u64 {
            names = out.say(message!("{names} and others", names = names));
        }
        let text = if found.unknown_count == 1 {
            message!("! not known to this version and without effect: 1 key: {names}", names = names)
        } else {
            let count = number(found.unknown_count);
            message!(
                "! not known to this version and without effect: {count} keys: {names}",
                count = count,
                names = names
            )
        };
        out.line("", text);
    }
    if let Some(error) = &found.error {
        let kept = match (found.in_force, found.kept_ms) {
            (true, Some(at)) => message!("what was read before the start stays in force ({time})", time = time(at)),
            (true, None) => message!("what was read before stays in force"),
            (false, _) => message!("none of it is in force"),
        };
        for (count, text) in lines(out, error, &found.error_lines).into_iter().take(super::MISTAKES).enumerate() {
            match count {
                0 => {
                    let text = message!("! {kept}: {error}", kept = kept.clone(), error = text);
                    out.line("", coded(text, &found.code));
                }
                _ => out.line("", format!("    {text}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::status::LimitStatus;
    use super::*;

    fn source(value: &str, source: &str) -> LimitSource {
        LimitSource { value: value.into(), source: source.into(), clause: "5.1(2)".into(), ..LimitSource::default() }
    }

    fn some() -> TermsStatus {
        let rate = LimitStatus {
            kind: "rate".into(),
            value: "128 kbit/s".into(),
            number: Some(128_000),
            by: vec![source("128 kbit/s", "SIM speed class s1.slow")],
            overruled: vec![source("512 kbit/s", "operator, tidegate.toml line 12")],
            ..LimitStatus::default()
        };
        let events = LimitStatus {
            kind: "events_per_month".into(),
            value: "10,000 a month".into(),
            number: Some(10_000),
            unit: "events".into(),
            part: Some(2_500),
            by: vec![source("10,000 a month", "default: a new account's Developer plan")],
            ..LimitStatus::default()
        };
        TermsStatus {
            limits: vec![rate, events],
            unlimited: vec!["burst".into()],
            calendar: "JST".into(),
            provider_known: true,
            ..TermsStatus::default()
        }
    }

    #[test]
    fn every_limit_is_shown_with_who_says_it_and_which_one_holds() {
        let text = terms(&some(), "Limits of gateway gw-1", 0, Language::English);
        let expected = "\
Limits of gateway gw-1

   limit             value           clause  who says it
*  rate              128 kbit/s      5.1(2)  SIM speed class s1.slow
                     512 kbit/s      5.1(2)  operator, tidegate.toml line 12
*  events_per_month  10,000 a month  5.1(2)  default: a new account's Developer plan
*                    2,500                   this gateway's part, by its share

* holds; without the mark, what it overrules
not limited: burst

  calendar          JST
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_part_in_bytes_is_written_as_people_write_it_or_rounded() {
        for (count, text) in [(125_000_000, "125MB"), (119_999_999, "114 MiB"), (1_536, "1536B"), (0, "0B")] {
            assert_eq!(amount(count, "bytes"), text);
        }
        assert_eq!(amount(2_500, "events"), "2,500");
    }

    #[test]
    fn the_status_says_shortly_what_holds_and_why() {
        let shown = |terms: &TermsStatus| {
            let mut out = Sheet::new(Language::English, NAMES);
            section(&mut out, terms, 0);
            out.finish()
        };
        let out = shown(&some());
        assert!(
            out.contains("Terms\n  rate              128 kbit/s (SIM speed class s1.slow, clause 5.1(2))\n"),
            "{out}"
        );
        assert!(out.contains("10,000 a month, of which 2,500 are this gateway's (default"), "{out}");
        assert!(!out.contains("512 kbit/s"), "{out}");
        assert_eq!(shown(&TermsStatus::default()), "");
    }

    #[test]
    fn the_line_and_the_terms_file_are_shown_with_what_is_wrong() {
        let mut status = some();
        status.problems = vec!["the windows never open together".into()];
        status.sim = Some(SimStatus {
            url: "http://m".into(),
            speed_class: Some("s1.slow".into()),
            status: Some("active".into()),
            expiry_ms: Some(90_000_000),
            expiry_action: "suspend".into(),
            answered_ago_ms: Some(180_000),
            problem: "HTTP 403".into(),
            advice: "enable it".into(),
            ..SimStatus::default()
        });
        status.file = Some(TermsFileStatus {
            path: "/t.toml".into(),
            title: "Contract".into(),
            version: "7".into(),
            unknown: vec!["a (line 1)".into()],
            unknown_count: 3,
            error_lines: Vec::new(),
            error: Some("cannot be used: 1 mistake\n  line 4: rate".into()),
            in_force: true,
            kept_ms: None,
            code: String::new(),
        });
        let text = terms(&status, "x", 3_600_000, Language::English);
        for part in [
            "SIM               active, speed class s1.slow, told 3 min 0 s ago",
            "! announced for 1970-01-02 01:00:00 UTC: suspend (in 1 d 0 h)",
            "! http://m does not answer: HTTP 403",
            "what to do: enable it",
            "terms file        /t.toml: Contract, version 7",
            "without effect: 3 keys: a (line 1) and others",
            "! what was read before stays in force: cannot be used: 1 mistake",
            "line 4: rate",
            "! the windows never open together",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        status.provider_known = false;
        status.sim = None;
        assert!(terms(&status, "x", 0, Language::English).contains("unknown while the agent is stopped"));
    }
}
