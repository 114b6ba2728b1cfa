//! [`Status`] for people: every figure beside its limit, every state beside its reason and what to do.

mod budgets;
mod outages;
mod stance;
mod terms;

use std::fmt::Write as _;

use tidegate_protocol::event::write_time;
use tidegate_protocol::units::format_rate;

pub use stance::notices;
pub use terms::terms;
pub use tidegate_protocol::units::format_count as number;

use crate::code::Code;
use crate::language::Language;

use super::{BrokerState, Connections, DateStatus, FlashStatus, RefusedCount, Status, Usage};

/// Width of the column of names; a longer one is followed by a space nevertheless.
const NAMES: usize = 18;

/// Most lines shown of why a changed configuration was refused.
const MISTAKES: usize = 10;

/// Digits of the fingerprint that are shown: enough to tell two files apart by eye.
const FINGERPRINT: usize = 16;

/// Since when a count runs that the agent keeps in memory.
const STARTED: &str = "since the agent was started";

/// Since when a count runs that the store keeps.
const CREATED: &str = "since the store was created";

/// Longest text from outside that is shown, in characters.
const SHOWN: usize = 300;

/// Writes the whole status, several lines, ending in a newline.
pub fn human(status: &Status) -> String {
    let mut out = String::new();
    head(&mut out, status);
    stance::section(&mut out, &status.stance, status.now_ms);
    outages::section(&mut out, &status.outage);
    records(&mut out, status);
    lanes(&mut out, status);
    flux(&mut out, status);
    wire(&mut out, status);
    store(&mut out, status);
    if let Some(listener) = &status.listener {
        self::listener(&mut out, listener);
    }
    if let Some(broker) = &status.broker {
        self::broker(&mut out, broker, status.now_ms);
    }
    budgets::section(&mut out, &status.budgets, status.now_ms);
    terms::section(&mut out, &status.terms, status.now_ms);
    if !status.limits.is_empty() {
        title(&mut out, "Limits");
        for (name, value) in &status.limits {
            line(&mut out, &plain(name), &plain(value));
        }
    }
    out
}

fn title(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<width$} {value}", width = NAMES - 1);
}

fn head(out: &mut String, status: &Status) {
    let _ = writeln!(
        out,
        "tidegate {} · gateway {} · epoch {}",
        plain(&status.version),
        plain(&status.gateway),
        plain(&status.epoch)
    );
    refused(out, status);
    line(out, "running for", &format!("{} (process {})", span(status.uptime_ms), status.pid));
    let read = format!("{}, read {}", plain(&status.config), time(status.config_loaded_ms));
    line(out, "configuration", &read);
    if !status.config_fingerprint.is_empty() {
        let digits: String = status.config_fingerprint.chars().take(FINGERPRINT).collect();
        line(out, "fingerprint", &format!("{} (sha256)", plain(&digits)));
    }
    clock(out, status);
    if !status.config_needs_restart.is_empty() {
        let keys: Vec<String> = status.config_needs_restart.iter().map(|key| plain(key)).collect();
        line(out, "", &format!("! takes effect at the next start: {}", keys.join(", ")));
    }
}

/// Why the file is not what is in force, if it is not.
fn refused(out: &mut String, status: &Status) {
    let Some(error) = &status.config_error else { return };
    if status.config_kept {
        let kept = status.config_kept_ms.map_or_else(String::new, |at| format!(" on {}", time(at)));
        let file = plain(&status.config_file);
        let text = format!("! {file} cannot be used; what was kept{kept} is in force ({}):", Code::ConfigKept);
        line(out, "CONFIGURATION", &text);
    } else {
        let text = "! the file was changed and REFUSED; what was read before stays in force";
        line(out, "CONFIGURATION", &format!("{text} ({}):", Code::ReloadRefused));
    }
    for text in error.lines().take(MISTAKES) {
        line(out, "", &format!("  {}", plain(text.trim_start())));
    }
    if error.lines().count() > MISTAKES {
        line(out, "", "  … (`tidegate check` says the rest)");
    }
    if status.config_kept {
        line(out, "", "  correct it, then: systemctl reload tidegate (or send SIGHUP)");
    }
}

fn clock(out: &mut String, status: &Status) {
    let clock = &status.clock;
    if !clock.trusted {
        let text =
            "not known to be right: events say so, and those that wait get the right time once it is (timedatectl)";
        line(out, "clock", text);
        return clock.asks.iter().for_each(|asks| time_asked(out, asks));
    }
    let since = clock.since_ms.map_or_else(String::new, |at| format!(" since {}", time(at)));
    let source = match clock.source.as_str() {
        "marker" => "the time service's marker file says so".to_owned(),
        "timedated" => "timedated says so".to_owned(),
        "answer" => "an answer over TLS says so".to_owned(),
        other => plain(other),
    };
    line(out, "clock", &format!("right{since}: {source}"));
    if clock.correction_ms != 0 {
        let by = span(clock.correction_ms.unsigned_abs());
        let which = if clock.correction_ms > 0 { "behind" } else { "ahead" };
        line(
            out,
            "",
            &format!("! the system's own is {by} {which}: set up its synchronisation (timedatectl set-ntp true)"),
        );
    }
}

fn time_asked(out: &mut String, asks: &DateStatus) {
    if !asks.origin.is_empty() {
        let next = asks
            .next_in_ms
            .map_or_else(String::new, |wait| format!(" in {}, unless somebody tells it before", span(wait)));
        let so_far = if asks.asked == 0 {
            String::new()
        } else {
            format!("; {} questions so far, {}", asks.asked, size(asks.bytes))
        };
        line(out, "", &format!("the time is asked of {}{next}{so_far}", plain(&asks.origin)));
    }
    if !asks.problem.is_empty() {
        let advice = asks.advice.as_ref().map(|advice| advice.text(Language::English)).unwrap_or_default();
        line(out, "", &format!("! {} {}; {}", plain(&asks.code), plain(&asks.problem), plain(&advice)));
    }
}

fn records(out: &mut String, status: &Status) {
    let counts = &status.counts;
    title(out, "Records");
    let oldest = status.oldest_waiting.as_ref().map_or_else(String::new, |oldest| {
        let age = oldest.age_ms.map_or_else(|| "an unknown time".into(), span);
        format!("the oldest for {age} ({}, lane {})", time(oldest.time_ms), plain(&oldest.lane))
    });
    let causes = by_cause(&counts.refused_by);
    let mut refused = CREATED.to_owned();
    if !causes.is_empty() {
        let _ = write!(refused, "; {STARTED}: {causes}");
    }
    let rows = [
        ("collected", counts.collected, STARTED.to_owned()),
        ("stored", counts.stored, format!("on flash, {CREATED}")),
        ("waiting", counts.waiting, oldest),
        ("forwarded", counts.forwarded, format!("accepted by Flux, {STARTED}")),
        ("evicted", counts.evicted, note(counts.evicted, "! lost: the store was at its limit")),
        ("damaged", counts.damaged, note(counts.damaged, "! lost: the medium returned other bytes")),
        ("expired", counts.expired, note(counts.expired, "! dropped: older than their lane's max_age")),
        ("put aside", counts.put_aside, note(counts.put_aside, "! Flux refuses them for good")),
        ("refused", counts.refused, refused),
        ("untreated", counts.untreated, format!("! stored as they came: otherwise = \"store\", {STARTED}")),
    ];
    let width = rows.iter().map(|(_, count, _)| number(*count).len()).max().unwrap_or(0);
    // Lanes have no age limit and topics no rule for fields unless one is set.
    let seldom = ["expired", "untreated"];
    for (name, count, remark) in rows.into_iter().filter(|(name, count, _)| !seldom.contains(name) || *count > 0) {
        let text = format!("{:>width$}  {remark}", number(count));
        line(out, name, text.trim_end());
    }
}

/// Counts by cause, one behind the other.
fn by_cause(counts: &[RefusedCount]) -> String {
    let counted = counts.iter().filter(|refused| refused.count > 0);
    let counts: Vec<String> =
        counted.map(|refused| format!("{} {}", plain(&refused.cause), number(refused.count))).collect();
    counts.join(", ")
}

/// Since when a count runs, and what it means if it is not 0.
fn note(count: u64, text: &str) -> String {
    if count > 0 { format!("{text}; {CREATED}") } else { CREATED.to_owned() }
}

fn lanes(out: &mut String, status: &Status) {
    if status.lanes.is_empty() {
        return;
    }
    let mut rows = vec![["Lanes", "waiting", "oldest", "stored", "evicted", "damaged", "on disk"].map(str::to_owned)];
    for lane in &status.lanes {
        let oldest = match (lane.oldest_ms, lane.oldest_age_ms) {
            (None, _) => "-".into(),
            (Some(_), Some(age)) => span(age),
            (Some(_), None) => "unknown".into(),
        };
        rows.push([
            format!("  {}", plain(&lane.name)),
            number(lane.waiting),
            oldest,
            number(lane.stored),
            number(lane.evicted),
            number(lane.damaged),
            size(lane.bytes),
        ]);
    }
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    out.push('\n');
    for row in rows {
        let _ = write!(out, "{:<width$}", row[0], width = widths[0].max(NAMES + 2));
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.push('\n');
    }
}

fn flux(out: &mut String, status: &Status) {
    let verdict = &status.verdict;
    title(out, "Flux");
    line(out, "endpoint", &plain(&status.endpoint));
    if let Some(next) = &status.next_identity {
        let from = time(next.from_ms);
        let moved = if next.moved { " (moved by a notice)" } else { "" };
        let text = match (next.in_force, status.clock.trusted) {
            (true, _) => format!("{} since {from}{moved}", plain(&next.endpoint)),
            (false, true) => format!("{} from {from}{moved} on", plain(&next.endpoint)),
            (false, false) => format!("{} from {from}{moved} on, ! once the clock is right", plain(&next.endpoint)),
        };
        line(out, "next endpoint", &text);
    }
    let mut text = match verdict.word.as_str() {
        "" | "unknown" => "nothing sent yet".to_owned(),
        word => plain(word),
    };
    if let Some(since) = verdict.since_ms {
        let _ = write!(text, " since {} ({})", time(since), span(status.now_ms.saturating_sub(since)));
    }
    line(out, "verdict", &text);
    if !verdict.reason.is_empty() {
        line(out, "reason", &plain(&verdict.reason));
    }
    if !verdict.advice.is_empty() {
        line(out, "what to do", &plain(&verdict.advice));
    }
    if let Some(until) = verdict.until_ms {
        let text = match until.checked_sub(status.now_ms) {
            Some(wait) if wait > 0 => format!("in {} ({})", span(wait), time(until)),
            _ => "due now".into(),
        };
        line(out, "next attempt", &text);
    }
    let last = verdict.last_accepted_ms.map_or_else(
        || "never since the agent was started".into(),
        |at| format!("{} ({} ago)", time(at), span(status.now_ms.saturating_sub(at))),
    );
    line(out, "last accepted", &last);
    attempts(out, status);
}

/// How often Flux was asked, and what it was not asked for.
fn attempts(out: &mut String, status: &Status) {
    let (counts, verdict) = (&status.counts, &status.verdict);
    let requests = format!("{} {STARTED}, {} not accepted", number(counts.requests), number(counts.requests_failed));
    line(out, "requests", &requests);
    let more = |count| format!("{} more attempts {STARTED}: nothing was sent", number(count));
    for (name, count) in [("no connection", counts.connect_failures), ("no token", counts.token_refusals)] {
        if count > 0 {
            line(out, name, &more(count));
        }
    }
    if verdict.suspects > 0 {
        let text = "refused alone; tried again when another is accepted, then put aside if refused again";
        line(out, "suspects", &format!("{} {text}", number(verdict.suspects)));
    }
    if let Some(limit) = verdict.learnt_body_limit {
        line(out, "body limit", &format!("{}, less than configured: learnt from HTTP 413", size(limit)));
    }
}

/// What went over the wire, and how fast it may.
fn wire(out: &mut String, status: &Status) {
    let wire = &status.line;
    title(out, "Line");
    let how = if wire.estimated { ", in part estimated: this system does not tell" } else { "" };
    line(out, "sent", &format!("{} {STARTED}, headers and repeats included{how}", size(wire.sent)));
    line(out, "received", &format!("{}, likewise", size(wire.received)));
    line(out, "connected", &format!("{} times", number(wire.connections)));
    for (name, rate) in [("may leave", wire.rate), ("may come in", wire.rate_down)] {
        if let Some(rate) = rate {
            line(out, name, &format_rate(rate.saturating_mul(8)));
        }
    }
    if let Some(millis) = wire.round_trip_ms {
        line(out, "round trip", &format!("{} ms", number(millis)));
    }
    if let Some(rate) = wire.one_at_a_time {
        let rate = format_rate((rate.saturating_mul(8) / 1000).max(1) * 1000);
        line(out, "", &format!("one request at a time is at most {rate} over that round trip: with a larger"));
        line(out, "", "[forward.flux.batch] max_bytes (and max_records) more leaves, in fewer events");
    }
}

fn store(out: &mut String, status: &Status) {
    let store = &status.store;
    title(out, "Store");
    line(out, "folder", &plain(&store.path));
    let share = if store.max_bytes == 0 { 0.0 } else { store.bytes as f64 / store.max_bytes as f64 * 100.0 };
    line(out, "on disk", &format!("{} of {} ({share:.1} %)", size(store.bytes), size(store.max_bytes)));
    line(out, "commits", &format!("{} {STARTED}", number(store.commits)));
    flash(out, &store.flash);
    if let Some(reason) = &store.stalled {
        line(out, "STALLED", &format!("{}; devices keep what is not acknowledged", plain(reason)));
    }
    if let Some(reason) = &store.index {
        line(out, "index behind", &format!("{}; nothing depends on it", plain(reason)));
    }
}

/// What storing costs the flash, as far as that is known.
fn flash(out: &mut String, flash: &FlashStatus) {
    line(out, "stored", &format!("{} of records {STARTED}", size(flash.stored)));
    if !flash.unknown.is_empty() {
        line(out, "written to flash", &format!("not known: {}", plain(&flash.unknown)));
        return;
    }
    let written = match (flash.written, flash.ratio) {
        (Some(written), Some(ratio)) => format!("{} for them, {ratio:.2} bytes a byte (estimated)", size(written)),
        (Some(written), None) => format!("{} (estimated)", size(written)),
        _ => "no commit has been measured yet".into(),
    };
    line(out, "written to flash", &written);
    if let Some(device) = flash.device_written {
        let pace = flash.device_a_day.map_or_else(String::new, |bytes| format!(", {} a day", size(bytes)));
        line(out, "by the device", &format!("{} written by everyone {STARTED}{pace}", size(device)));
    }
    if let Some(endurance) = flash.endurance {
        let life = match flash.years {
            Some(years) if years >= 100.0 => "more than 100 years".into(),
            Some(years) => format!("{years:.1} years of a new card"),
            None => "not known yet".into(),
        };
        line(out, "flash life", &format!("{life} at this pace ({} can be written)", size(endurance)));
    }
}

fn listener(out: &mut String, listener: &Connections) {
    title(out, "Listener");
    let addresses: Vec<String> = listener.addresses.iter().map(|address| plain(address)).collect();
    line(out, "listens on", &addresses.join(", "));
    line(out, "connections", &usage(listener.connections));
    line(out, "sessions", &usage(listener.sessions));
    let mut turned_away = format!("{} {STARTED}", number(listener.turned_away));
    if !listener.turned_away_by.is_empty() {
        let _ = write!(turned_away, ": {}", by_cause(&listener.turned_away_by));
    }
    line(out, "turned away", &turned_away);
}

fn broker(out: &mut String, broker: &BrokerState, now_ms: u64) {
    title(out, "Broker");
    line(out, "url", &plain(&broker.url));
    let mut state = if broker.connected { "connected" } else { "NOT CONNECTED" }.to_owned();
    if let Some(since) = broker.since_ms {
        let _ = write!(state, " for {}", span(now_ms.saturating_sub(since)));
    }
    line(out, "state", &state);
    if !broker.last_error.is_empty() {
        line(out, "last error", &plain(&broker.last_error));
    }
    line(out, "collected", &format!("{} {STARTED}", number(broker.collected)));
}

fn usage(usage: Usage) -> String {
    format!("{} of {}", number(usage.now), number(usage.limit))
}

/// Text from outside: control characters escaped, cut.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        // Not only ASCII control characters: those that turn the direction of writing hide text too.
        match character {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.extend(character.escape_unicode()),
            _ if character.is_control() => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

/// A size for people, to a tenth: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.5 || unit == "TiB" {
            let places = usize::from(!(unit == "B" || value >= 99.95));
            return format!("{value:.places$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{bytes} B")
}

/// A length of time for people, two units: `3 h 12 min`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A point in time for people, in UTC to the second: `2026-11-22 08:30:00 UTC`.
pub fn time(ms: u64) -> String {
    let mut out = Vec::new();
    write_time(&mut out, ms);
    let text = String::from_utf8_lossy(&out);
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", clock.get(..8).unwrap_or(clock))
}
