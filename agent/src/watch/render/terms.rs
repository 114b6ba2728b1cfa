//! What limits what may leave, for people: a short section of `status`, and the whole of it for `tidegate terms`.

use std::fmt::Write as _;

use tidegate_protocol::units::format_size;

use super::super::status::{LimitSource, LimitStatus, SimStatus, TermsFileStatus, TermsStatus};
use super::{line, number, plain, size, span, time, title};

/// The section of `status`: what holds, who says so, and what is wrong.
pub(super) fn section(out: &mut String, terms: &TermsStatus, now_ms: u64) {
    if terms.limits.is_empty() && terms.sim.is_none() && terms.file.is_none() {
        return;
    }
    title(out, "Terms");
    for limit in &terms.limits {
        let who: Vec<String> = limit.by.iter().map(said).collect();
        line(out, &plain(&limit.kind), &format!("{}{} ({})", plain(&limit.value), part(limit), who.join("; ")));
    }
    around(out, terms, now_ms);
}

/// Everything: each limit with those that it overrules. `gateway` and `source` say whose it is and who says so. `now_ms`:
/// for what is shown as a time.
pub fn terms(terms: &TermsStatus, heading: &str, now_ms: u64) -> String {
    let mut rows: Vec<[String; 5]> = vec![["", "limit", "value", "clause", "who says it"].map(str::to_owned)];
    for limit in &terms.limits {
        let mut kind = plain(&limit.kind);
        for by in &limit.by {
            rows.push(row("*", &std::mem::take(&mut kind), &plain(&by.value), by));
        }
        for other in &limit.overruled {
            rows.push(row("", "", &plain(&other.value), other));
        }
        if limit.by.len() > 1 {
            rows.push(["*", "", &plain(&limit.value), "", "what they all allow"].map(str::to_owned));
        }
        if let Some(part) = limit.part.filter(|part| Some(*part) != limit.number) {
            rows.push(
                ["*", "", &amount(part, &limit.unit), "", "this gateway's part, by its share"].map(str::to_owned),
            );
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut out = format!("{}\n\n", plain(heading));
    for row in &rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}{}", text, row[4]);
    }
    let _ = writeln!(out, "\n* holds; without the mark, what it overrules");
    if !terms.unlimited.is_empty() {
        let names: Vec<String> = terms.unlimited.iter().map(|name| plain(name)).collect();
        let _ = writeln!(out, "not limited: {}", names.join(", "));
    }
    out.push('\n');
    around(&mut out, terms, now_ms);
    line(&mut out, "calendar", &plain(&terms.calendar));
    out
}

fn row(mark: &str, kind: &str, value: &str, by: &LimitSource) -> [String; 5] {
    [mark, kind, value, &plain(&by.clause), &plain(&by.source)].map(str::to_owned)
}

fn said(by: &LimitSource) -> String {
    format!("{}, clause {}", plain(&by.source), plain(&by.clause))
}

/// This gateway's part of what is the account's, where it is not all of it.
fn part(limit: &LimitStatus) -> String {
    match limit.part {
        Some(part) if Some(part) != limit.number => {
            format!(", of which {} are this gateway's", amount(part, &limit.unit))
        }
        _ => String::new(),
    }
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
fn around(out: &mut String, terms: &TermsStatus, now_ms: u64) {
    for problem in &terms.problems {
        line(out, "", &format!("! {}", plain(problem)));
    }
    if let Some(found) = &terms.sim {
        sim(out, found, now_ms);
    }
    if let Some(found) = &terms.file {
        file(out, found);
    }
    if !terms.provider_known {
        line(out, "provider", "unknown while the agent is stopped: speed class, rate limits");
    }
}

fn sim(out: &mut String, found: &SimStatus, now_ms: u64) {
    let mut parts = Vec::new();
    parts.extend(found.status.as_deref().map(plain));
    match (&found.speed_class, found.answered_ago_ms) {
        (Some(class), _) => parts.push(format!("speed class {}", plain(class))),
        (None, Some(_)) => parts.push("speed class not told".into()),
        (None, None) => parts.push("nothing known yet".into()),
    }
    if let Some(at) = found.told_before_ms {
        parts.push(format!("told before the start, {}", time(at)));
    } else {
        parts.extend(found.answered_ago_ms.map(|ago| format!("told {} ago", span(ago))));
    }
    line(out, "SIM", &parts.join(", "));
    if let Some(at) = found.expiry_ms {
        let action = if found.expiry_action.is_empty() { "expiry".into() } else { plain(&found.expiry_action) };
        let when = at.checked_sub(now_ms).filter(|left| *left > 0);
        let when = when.map_or_else(|| "is over".into(), |left| format!("in {}", span(left)));
        line(out, "", &format!("! announced for {}: {action} ({when})", time(at)));
    }
    if !found.problem.is_empty() {
        line(out, "", &format!("! {} does not answer: {}", plain(&found.url), plain(&found.problem)));
        line(out, "", &format!("  what to do: {}", plain(&found.advice)));
    }
}

fn file(out: &mut String, found: &TermsFileStatus) {
    let mut text = plain(&found.path);
    if !found.title.is_empty() {
        let _ = write!(text, ": {}", plain(&found.title));
    }
    if !found.version.is_empty() {
        let _ = write!(text, ", version {}", plain(&found.version));
    }
    line(out, "terms file", &text);
    if found.unknown_count > 0 {
        let names: Vec<String> = found.unknown.iter().map(|name| plain(name)).collect();
        let more = if found.unknown_count > names.len() as u64 { " and others" } else { "" };
        let (count, keys) = (number(found.unknown_count), if found.unknown_count == 1 { "key" } else { "keys" });
        let names = names.join(", ");
        line(out, "", &format!("! not known to this version and without effect: {count} {keys}: {names}{more}"));
    }
    if let Some(error) = &found.error {
        let kept = match (found.in_force, found.kept_ms) {
            (true, Some(at)) => format!("what was read before the start stays in force ({})", time(at)),
            (true, None) => "what was read before stays in force".to_owned(),
            (false, _) => "none of it is in force".to_owned(),
        };
        for (count, text) in error.lines().take(super::MISTAKES).enumerate() {
            let mark = if count == 0 { format!("! {kept}: ") } else { "    ".to_owned() };
            line(out, "", &format!("{mark}{}", plain(text.trim())));
        }
    }
}

#[cfg(test)]
mod tests {
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
        let text = terms(&some(), "Limits of gateway gw-1", 0);
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
        let mut out = String::new();
        section(&mut out, &some(), 0);
        assert!(
            out.contains("Terms\n  rate              128 kbit/s (SIM speed class s1.slow, clause 5.1(2))\n"),
            "{out}"
        );
        assert!(out.contains("10,000 a month, of which 2,500 are this gateway's (default"), "{out}");
        assert!(!out.contains("512 kbit/s"), "{out}");
        out.clear();
        section(&mut out, &TermsStatus::default(), 0);
        assert_eq!(out, "");
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
            error: Some("cannot be used: 1 mistake\n  line 4: rate".into()),
            in_force: true,
            kept_ms: None,
        });
        let text = terms(&status, "x", 3_600_000);
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
        assert!(terms(&status, "x", 0).contains("unknown while the agent is stopped"));
    }
}
