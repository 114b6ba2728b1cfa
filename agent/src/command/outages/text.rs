//! Intervals and their ledger for people.

use tidegate::language::Language;
use tidegate::language::sheet::Sheet;
use tidegate::message;
use tidegate::outage::calendar::Month;
use tidegate::outage::report::{Claim, Moment, Row, described, span};
use tidegate::outage::{Found, How, Quality};
use tidegate::watch::render::{class, clause, number, plain};

/// Pieces of evidence shown of each interval, the first and the last of them; `--json` has all.
const EVIDENCE: usize = 6;

/// Width of the column of names, in cells.
const NAMES: usize = 13;

/// All intervals, with what can be claimed.
pub(super) fn intervals(found: &Found, ledger: &str, rows: &[Row], month: Option<Month>, language: Language) -> String {
    let mut out = Sheet::new(language, NAMES);
    let heading = heading(&out, found, ledger, month);
    out.plain(heading);
    if !found.is_whole() {
        out.plain(message!("! the ledger is not as it was written: `tidegate outages --verify` says where"));
    }
    if rows.is_empty() {
        out.title(message!("none"));
    }
    for row in rows {
        interval(&mut out, row);
    }
    if found.tally.more > 0 && month.is_none() {
        out.title(message!("{count} older ones are no longer kept", count = number(found.tally.more)));
    }
    if rows.iter().any(|row| !row.claims.is_empty()) {
        out.title(message!(
            "Clause 15.2(2): if claimed, the fee is cut by one day for each full 24 hours in which Flux could not be used at \
             all, without a\nbreak, counted from when the provider knew of it. The right to it ends three months after the day \
             the customer learnt of it;\nthat is taken to be the interval's first day here."
        ));
    }
    out.finish()
}

fn heading(out: &Sheet, found: &Found, ledger: &str, month: Option<Month>) -> String {
    let mut text = out.say(match &*found.tally.gateway {
        "" => message!("Time in which Flux could not be used"),
        gateway => message!("Time in which Flux could not be used of gateway {gateway}", gateway = plain(gateway)),
    });
    if let Some(month) = month {
        let month = format!("{}-{:02}", month.year, month.month);
        text += &out.say(message!(" in {month}", month = month));
    }
    format!("{text} · {ledger}")
}

fn moment(moment: &Moment) -> String {
    let doubt = if moment.clock == Quality::Unknown { "?" } else { "" };
    format!("{}{doubt} JST", moment.jst)
}

fn interval(out: &mut Sheet, row: &Row) {
    let from = moment(&row.from);
    let times = if row.open {
        message!("{from} to not over, as far as the ledger says", from = from)
    } else {
        message!("{from} to {until}", from = from, until = moment(&row.until))
    };
    out.title(format!("#{}  {}", row.number, out.say(times)));
    let proved = message!(
        "{proved} proved, {claimable} of them can be claimed without a break",
        proved = span(row.proved_ms),
        claimable = span(row.uninterrupted_ms)
    );
    out.line(message!("length"), proved);
    let classes = classes(out, row);
    out.line(message!("class"), classes);
    if let Some(success) = &row.last_success {
        let text = message!("last delivery {time} (nothing is counted from then)", time = moment(success));
        out.line(message!("before"), text);
    }
    if let Some((at, how)) = &row.ended {
        let text = match how {
            How::Delivered => message!("Flux took a delivery, {time}", time = moment(at)),
            How::Answered => {
                message!("Flux answered in a way that shows that it works, {time}", time = moment(at))
            }
        };
        out.line(message!("end"), text);
    }
    for hole in &row.not_counted {
        let length = hole.ms.map_or_else(|| message!("of unknown length"), span);
        let length = match hole.count {
            0 | 1 => length,
            count => message!("{span}, {count} times", span = length, count = count),
        };
        let (from, until) = (moment(&hole.from), moment(&hole.until));
        let text = message!(
            "{length}, {from} to {until}: {why}",
            length = length,
            from = from,
            until = until,
            why = hole.why.text()
        );
        out.line(message!("not counted"), text);
    }
    evidence(out, row);
    for claim in &row.claims {
        let text = self::claim(out, claim);
        out.line(message!("CLAIM"), text);
    }
    for (index, text) in row.cannot_prove.iter().enumerate() {
        let name = if index == 0 { out.say(message!("cannot prove")) } else { String::new() };
        out.line(name, text.clone());
    }
}

fn classes(out: &Sheet, row: &Row) -> String {
    let by = &row.by_class;
    let all = [
        (message!("provider"), by.provider_ms),
        (message!("unknown"), by.unknown_ms),
        (message!("announced"), by.announced_ms),
        (message!("own line"), by.own_line_ms),
    ];
    let counted = all.into_iter().filter(|(_, ms)| *ms > 0);
    let parts: Vec<String> = counted.map(|(word, ms)| format!("{} {}", out.say(word), out.say(span(ms)))).collect();
    if parts.is_empty() { out.say(class(row.class.word())) } else { parts.join(" · ") }
}

fn evidence(out: &mut Sheet, row: &Row) {
    let count = row.evidence.len();
    let text =
        message!("{count} failed, {span} apart at most", count = number(row.attempts), span = span(row.widest_ms));
    out.line(message!("attempts"), text);
    for (index, one) in row.evidence.iter().enumerate() {
        if count > EVIDENCE && index == EVIDENCE / 2 {
            out.line("", message!("… {count} more (--json)", count = count - EVIDENCE));
        }
        if count <= EVIDENCE || index < EVIDENCE / 2 || index >= count - EVIDENCE / 2 {
            let (at, what, class) = (moment(&one.at), plain(&described(one)), out.say(class(one.class.word())));
            out.line("", format!("{at} {what} ({class})"));
        }
    }
}

fn claim(out: &Sheet, claim: &Claim) -> String {
    let days = match claim.days {
        1 => message!("1 day"),
        count => message!("{count} days", count = count),
    };
    let last = match &claim.last_day {
        None => message!("last day to claim not known, for the clock was not right"),
        Some(day) => message!("last day to claim {day}", day = day),
    };
    let mut length = span(claim.uninterrupted_ms);
    length = message!("{span} without a break", span = length);
    if claim.unknown_ms > 0 {
        length = message!("{length}, {span} of it of class unknown", length = length, span = span(claim.unknown_ms));
    }
    out.say(message!(
        "{days}: {length}, divided by 24 h, rounded down; clause {clause}; {last}",
        days = days,
        length = length,
        clause = clause(claim.clause),
        last = last
    ))
}

/// What the comparison of all digests found.
pub(super) fn verified(found: &Found, ledger: &str, language: Language) -> String {
    let mut out = Sheet::new(language, NAMES);
    let entries = number(found.entries);
    out.plain(match found.folded {
        0 => message!("{ledger}: {count} entries", ledger = ledger, count = entries),
        folded => {
            message!(
                "{ledger}: {count} entries, {folded} older ones folded",
                ledger = ledger,
                count = entries,
                folded = number(folded)
            )
        }
    });
    for note in &found.notes {
        out.plain(message!("  note: line {line}: {what}", line = note.line, what = plain(&note.what.text(language))));
    }
    for fault in &found.faults {
        let (line, byte, what) = (fault.line, fault.offset, plain(&fault.what.text(language)));
        out.plain(message!("  line {line} (byte {byte}): {what}", line = line, byte = byte, what = what));
    }
    let beyond = found.fault_count - found.faults.len() as u64;
    if beyond > 0 {
        out.plain(message!("  and {count} more", count = number(beyond)));
    }
    if found.is_whole() {
        out.plain(message!("whole: each entry follows from the one before it"));
    }
    out.plain(message!("last digest {digest}", digest = &found.last_digest));
    out.plain(message!(
        "(A chain that is whole shows that no single entry was changed; who computes all digests anew, or cuts off the end, \
         is found\nonly by a digest that was noted down elsewhere: compare it with the lines of the file.)"
    ));
    out.finish()
}
