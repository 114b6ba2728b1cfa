//! Intervals and their ledger for people.

use std::fmt::Write as _;

use tidegate::outage::calendar::Month;
use tidegate::outage::report::{Claim, Moment, Row, described, span};
use tidegate::outage::{Found, How, Quality};
use tidegate::watch::render::{number, plain};

/// Pieces of evidence shown of each interval, the first and the last of them; `--json` has all.
const EVIDENCE: usize = 6;

/// Width of the column of names.
const NAMES: usize = 14;

fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<NAMES$}{text}");
}

/// All intervals, with what can be claimed.
pub(super) fn intervals(found: &Found, ledger: &str, rows: &[Row], month: Option<Month>) -> String {
    let mut out = String::new();
    let of = if found.tally.gateway.is_empty() {
        String::new()
    } else {
        format!(" of gateway {}", plain(&found.tally.gateway))
    };
    let during = month.map_or_else(String::new, |month| format!(" in {}-{:02}", month.year, month.month));
    let _ = writeln!(out, "Time in which Flux could not be used{of}{during} · {ledger}");
    if !found.is_whole() {
        let _ = writeln!(out, "! the ledger is not as it was written: `tidegate outages --verify` says where");
    }
    if rows.is_empty() {
        let _ = writeln!(out, "\nnone");
    }
    for row in rows {
        interval(&mut out, row);
    }
    if found.tally.more > 0 && month.is_none() {
        let _ = writeln!(out, "\n{} older ones are no longer kept", number(found.tally.more));
    }
    if rows.iter().any(|row| !row.claims.is_empty()) {
        let _ = writeln!(
            out,
            "\nClause 15.2(2): if claimed, the fee is cut by one day for each full 24 hours in which Flux could not be used at \
             all, without a\nbreak, counted from when the provider knew of it. The right to it ends three months after the day \
             the customer learnt of it;\nthat is taken to be the interval's first day here."
        );
    }
    out
}

fn moment(moment: &Moment) -> String {
    let doubt = if moment.clock == Quality::Unknown { "?" } else { "" };
    format!("{}{doubt} JST", moment.jst)
}

fn interval(out: &mut String, row: &Row) {
    let until = if row.open { "not over, as far as the ledger says".to_owned() } else { moment(&row.until) };
    let _ = writeln!(out, "\n#{}  {} to {until}", row.number, moment(&row.from));
    let proved = format!(
        "{} proved, {} of them can be claimed without a break",
        span(row.proved_ms),
        span(row.uninterrupted_ms)
    );
    line(out, "length", &proved);
    line(out, "class", &classes(row));
    if let Some(success) = &row.last_success {
        line(out, "before", &format!("last delivery {} (nothing is counted from then)", moment(success)));
    }
    if let Some((at, how)) = &row.ended {
        let how = match how {
            How::Delivered => "Flux took a delivery",
            How::Answered => "Flux answered in a way that shows that it works",
        };
        line(out, "end", &format!("{how}, {}", moment(at)));
    }
    for hole in &row.not_counted {
        let length = hole.ms.map_or_else(|| "of unknown length".to_owned(), span);
        let times = if hole.count > 1 { format!(", {} times", hole.count) } else { String::new() };
        let (from, until) = (moment(&hole.from), moment(&hole.until));
        line(out, "not counted", &format!("{length}{times}, {from} to {until}: {}", hole.why.text()));
    }
    evidence(out, row);
    for claim in &row.claims {
        line(out, "CLAIM", &self::claim(claim));
    }
    for (index, text) in row.cannot_prove.iter().enumerate() {
        line(out, if index == 0 { "cannot prove" } else { "" }, text);
    }
}

fn classes(row: &Row) -> String {
    let by = &row.by_class;
    let all = [
        ("provider", by.provider_ms),
        ("unknown", by.unknown_ms),
        ("announced", by.announced_ms),
        ("own line", by.own_line_ms),
    ];
    let parts: Vec<String> =
        all.iter().filter(|(_, ms)| *ms > 0).map(|(word, ms)| format!("{word} {}", span(*ms))).collect();
    if parts.is_empty() { row.class.word().to_owned() } else { parts.join(" · ") }
}

fn evidence(out: &mut String, row: &Row) {
    let count = row.evidence.len();
    line(out, "attempts", &format!("{} failed, {} apart at most", number(row.attempts), span(row.widest_ms)));
    for (index, one) in row.evidence.iter().enumerate() {
        if count > EVIDENCE && index == EVIDENCE / 2 {
            let skipped = count - EVIDENCE;
            line(out, "", &format!("… {skipped} more (--json)"));
        }
        if count <= EVIDENCE || index < EVIDENCE / 2 || index >= count - EVIDENCE / 2 {
            line(out, "", &format!("{} {} ({})", moment(&one.at), plain(&described(one)), one.class.word()));
        }
    }
}

fn claim(claim: &Claim) -> String {
    let days = if claim.days == 1 { "1 day".to_owned() } else { format!("{} days", claim.days) };
    let last = claim.last_day.as_ref().map_or_else(
        || "last day to claim not known, for the clock was not right".to_owned(),
        |day| format!("last day to claim {day}"),
    );
    let unknown = if claim.unknown_ms > 0 {
        format!(", {} of it of class unknown", span(claim.unknown_ms))
    } else {
        String::new()
    };
    format!(
        "{days}: {} without a break{unknown}, divided by 24 h, rounded down; clause {}; {last}",
        span(claim.uninterrupted_ms),
        claim.clause
    )
}

/// What the comparison of all digests found.
pub(super) fn verified(found: &Found, ledger: &str) -> String {
    let mut out = format!("{ledger}: {} entries", number(found.entries));
    if found.folded > 0 {
        let _ = write!(out, ", {} older ones folded", number(found.folded));
    }
    out.push('\n');
    for note in &found.notes {
        let _ = writeln!(out, "  note: line {}: {}", note.line, plain(&note.what));
    }
    for fault in &found.faults {
        let _ = writeln!(out, "  line {} (byte {}): {}", fault.line, fault.offset, plain(&fault.what));
    }
    let beyond = found.fault_count - found.faults.len() as u64;
    if beyond > 0 {
        let _ = writeln!(out, "  and {} more", number(beyond));
    }
    if found.is_whole() {
        let _ = writeln!(out, "whole: each entry follows from the one before it");
    }
    let _ = writeln!(out, "last digest {}", found.last_digest);
    let _ = writeln!(
        out,
        "(A chain that is whole shows that no single entry was changed; who computes all digests anew, or cuts off the end, \
         is found\nonly by a digest that was noted down elsewhere: compare it with the lines of the file.)"
    );
    out
}
