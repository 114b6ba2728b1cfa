//! [`Status`] for people: every figure beside its limit, every state beside its reason and what to do.

mod budgets;
pub mod live;
mod outages;
mod stance;
mod store;
mod terms;
mod words;

use tidegate_protocol::event::write_time;
use tidegate_protocol::units::format_rate;

pub use outages::class;
pub use stance::notices;
pub use terms::terms;
pub use tidegate_protocol::units::format_count as number;
pub use words::clause;

use super::{BrokerState, Connections, DateStatus, RefusedCount, Status, Usage};
use crate::language::sheet::{Sheet, left, right, widest};
use crate::language::{IntoValue, Language, Message, Value, again};
use crate::message;
use words::verdict_word;

/// Width of the column of names, in cells; a longer one is followed by a space nevertheless.
const NAMES: usize = 17;

/// Most lines shown of why a changed configuration was refused.
const MISTAKES: usize = 10;

/// Digits of the fingerprint that are shown: enough to tell two files apart by eye.
const FINGERPRINT: usize = 16;

/// Longest text from outside that is shown, in characters.
const SHOWN: usize = 300;

/// Since when a count runs that the agent keeps in memory.
fn started() -> Message {
    message!("since the agent was started")
}

/// Since when a count runs that the store keeps.
fn created() -> Message {
    message!("since the store was created")
}

/// A count, and since when it runs.
fn counted(count: u64) -> Message {
    message!("{count} {since}", count = number(count), since = started())
}

/// Writes the whole status, several lines, ending in a newline.
pub fn human(status: &Status, language: Language) -> String {
    let mut out = Sheet::new(language, NAMES);
    head(&mut out, status);
    stance::section(&mut out, &status.stance, status.now_ms);
    outages::section(&mut out, &status.outage);
    records(&mut out, status);
    lanes(&mut out, status);
    flux(&mut out, status);
    wire(&mut out, status);
    store::section(&mut out, &status.store);
    if let Some(listener) = &status.listener {
        self::listener(&mut out, listener);
    }
    if let Some(broker) = &status.broker {
        self::broker(&mut out, broker, status.now_ms);
    }
    budgets::section(&mut out, &status.budgets, status.now_ms);
    terms::section(&mut out, &status.terms, status.now_ms);
    if !status.limits.is_empty() {
        out.title(message!("Limits"));
        for (index, (name, value)) in status.limits.iter().enumerate() {
            let message = status.limit_messages.get(index).and_then(Option::as_ref);
            let name = plain(again(name, language));
            out.line(name, told(&out, value, message));
        }
    }
    out.finish()
}

fn head(out: &mut Sheet, status: &Status) {
    let (version, gateway, epoch) = (plain(&status.version), plain(&status.gateway), plain(&status.epoch));
    out.plain(message!(
        "tidegate {version} · gateway {gateway} · epoch {epoch}",
        version = version,
        gateway = gateway,
        epoch = epoch
    ));
    refused(out, status);
    let running = message!("{time} (process {process})", time = span(status.uptime_ms), process = status.pid);
    out.line(message!("running for"), running);
    let read = message!("{file}, read {time}", file = plain(&status.config), time = time(status.config_loaded_ms));
    out.line(message!("configuration"), read);
    if !status.config_fingerprint.is_empty() {
        let digits: String = status.config_fingerprint.chars().take(FINGERPRINT).collect();
        out.line(message!("fingerprint"), format!("{} (sha256)", plain(&digits)));
    }
    clock(out, status);
    if !status.codes.is_empty() {
        let codes = out.list(status.codes.iter().map(|code| plain(code)));
        out.line(message!("to act on"), message!("{codes} (`tidegate explain CODE` says what to do)", codes = codes));
    }
    if !status.config_needs_restart.is_empty() {
        let keys = out.list(status.config_needs_restart.iter().map(|key| plain(key)));
        let text = message!("! takes effect at the next start: {keys}", keys = keys);
        out.line("", coded(text, &status.config_needs_restart_code));
    }
}

/// Why the file is not what is in force, if it is not.
fn refused(out: &mut Sheet, status: &Status) {
    let Some(error) = &status.config_error else { return };
    let file = plain(&status.config_file);
    let text = match (status.config_kept, status.config_kept_ms) {
        (true, Some(at)) => {
            message!("! {file} cannot be used; what was kept on {time} is in force:", file = file, time = time(at))
        }
        (true, None) => message!("! {file} cannot be used; what was kept of it is in force:", file = file),
        (false, _) => message!("! the file was changed and REFUSED; what was read before stays in force:"),
    };
    out.line(message!("CONFIGURATION"), coded(text, &status.config_error_code));
    let lines = lines(out, error, &status.config_error_lines);
    for line in lines.iter().take(MISTAKES) {
        out.line("", format!("  {line}"));
    }
    if lines.len() > MISTAKES {
        out.line("", message!("  … (`tidegate check` says the rest)"));
    }
    if status.config_kept {
        out.line("", message!("  correct it, then: systemctl reload tidegate (or send SIGHUP)"));
    }
}

fn clock(out: &mut Sheet, status: &Status) {
    let clock = &status.clock;
    if !clock.trusted {
        let text = message!(
            "not known to be right: events say so, and those that wait get the right time once it is (timedatectl)"
        );
        out.line(message!("clock"), coded(text, &clock.code));
        return clock.asks.iter().for_each(|asks| time_asked(out, asks));
    }
    let source = match clock.source.as_str() {
        "marker" => out.say(message!("the time service's marker file says so")),
        "timedated" => out.say(message!("timedated says so")),
        "answer" => out.say(message!("an answer over TLS says so")),
        other => plain(other),
    };
    let right = if let Some(at) = clock.since_ms {
        message!("right since {time}: {source}", time = time(at), source = source)
    } else {
        message!("right: {source}", source = source)
    };
    out.line(message!("clock"), right);
    if clock.correction_ms != 0 {
        let by = span(clock.correction_ms.unsigned_abs());
        let text = if clock.correction_ms > 0 {
            message!(
                "! the system's own is {time} behind: set up its synchronisation (timedatectl set-ntp true)",
                time = by
            )
        } else {
            message!(
                "! the system's own is {time} ahead: set up its synchronisation (timedatectl set-ntp true)",
                time = by
            )
        };
        out.line("", text);
    }
}

fn time_asked(out: &mut Sheet, asks: &DateStatus) {
    if !asks.origin.is_empty() {
        let mut text = out.say(message!("the time is asked of {origin}", origin = plain(&asks.origin)));
        if let Some(wait) = asks.next_in_ms {
            text += &out.say(message!(" in {span}, unless somebody tells it before", span = span(wait)));
        }
        if asks.asked > 0 {
            let size = size(asks.bytes);
            text += &out.say(message!("; {count} questions so far, {size}", count = asks.asked, size = size));
        }
        out.line("", text);
    }
    if !asks.problem.is_empty() {
        let advice = told(out, "", asks.advice.as_ref());
        out.line(
            "",
            message!(
                "! {code} {problem}; {advice}",
                code = plain(&asks.code),
                problem = told(out, &asks.problem, asks.problem_message.as_ref()),
                advice = advice
            ),
        );
    }
}

fn records(out: &mut Sheet, status: &Status) {
    let counts = &status.counts;
    out.title(message!("Records"));
    let oldest = status.oldest_waiting.as_ref().map_or_else(String::new, |oldest| {
        let age = oldest.age_ms.map_or_else(|| message!("an unknown time"), span);
        let (time, lane) = (time(oldest.time_ms), plain(&oldest.lane));
        out.say(message!("the oldest for {age} ({time}, lane {lane})", age = age, time = time, lane = lane))
    });
    let causes = by_cause(out, &counts.refused_by);
    let refused = if causes.is_empty() {
        created()
    } else {
        message!("{created}; {started}: {causes}", created = created(), started = started(), causes = causes)
    };
    let untreated = message!("! stored as they came: otherwise = \"store\", {since}", since = started());
    let on_flash = message!("on flash, {since}", since = created());
    let accepted = message!("accepted by Flux, {since}", since = started());
    let evicted = note(counts.evicted, message!("! lost: the store was at its limit"));
    let damaged = note(counts.damaged, message!("! lost: the medium returned other bytes"));
    let expired = note(counts.expired, message!("! dropped: older than their lane's max_age"));
    let put_aside = note(counts.put_aside, message!("! Flux refuses them for good"));
    let rows = [
        (message!("collected"), counts.collected, out.say(started())),
        (message!("stored"), counts.stored, out.say(on_flash)),
        (message!("waiting"), counts.waiting, oldest),
        (message!("forwarded"), counts.forwarded, out.say(accepted)),
        (message!("evicted"), counts.evicted, out.say(evicted)),
        (message!("damaged"), counts.damaged, out.say(damaged)),
        (message!("expired"), counts.expired, out.say(expired)),
        (message!("put aside"), counts.put_aside, out.say(put_aside)),
        (message!("refused"), counts.refused, out.say(refused)),
        (message!("untreated"), counts.untreated, out.say(untreated)),
    ];
    let width = rows.iter().map(|(_, count, _)| number(*count).len()).max().unwrap_or(0);
    // Lanes have no age limit and topics no rule for fields unless one is set.
    let seldom = ["expired", "untreated"];
    for (name, count, remark) in rows {
        if count > 0 || !seldom.contains(&name.template()) {
            let code = counts.codes.get(&name.template().replace(' ', "_")).map_or("", String::as_str);
            let text = coded(format!("{:>width$}  {remark}", number(count)), code).text(out.language());
            out.line(name, text.trim_end());
        }
    }
}

/// Counts by cause, one behind the other.
fn by_cause(out: &Sheet, counts: &[RefusedCount]) -> String {
    let counted = counts.iter().filter(|refused| refused.count > 0);
    out.list(counted.map(|refused| format!("{} {}", out.say(cause(&refused.cause)), number(refused.count))))
}

/// Why a publish was refused or a connection turned away, by the word of it.
fn cause(word: &str) -> Value {
    let known = match word {
        "topic" => message!("topic"),
        "device" => message!("device"),
        "size" => message!("size"),
        "fields" => message!("fields"),
        "client id" => message!("client id"),
        "user name" => message!("user name"),
        "certificate" => message!("certificate"),
        "password" => message!("password"),
        "protocol" => message!("protocol"),
        "not reading" => message!("not reading"),
        "limit" => message!("limit"),
        // TLS, and what another version counts.
        other => return plain(other).into_value(),
    };
    known.into_value()
}

/// Since when a count runs, and what it means if it is not 0.
fn note(count: u64, text: Message) -> Message {
    if count > 0 { message!("{text}; {since}", text = text, since = created()) } else { created() }
}

fn lanes(out: &mut Sheet, status: &Status) {
    if status.lanes.is_empty() {
        return;
    }
    let heads = [
        message!("Lanes"),
        message!("waiting"),
        message!("oldest"),
        message!("stored"),
        message!("evicted"),
        message!("damaged"),
        message!("on disk"),
    ];
    let mut rows = vec![heads.map(|head| out.say(head))];
    for lane in &status.lanes {
        let oldest = match (lane.oldest_ms, lane.oldest_age_ms) {
            (None, _) => "-".into(),
            (Some(_), Some(age)) => out.say(span(age)),
            (Some(_), None) => out.say(message!("unknown")),
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
    let widths: Vec<usize> = (0..7).map(|column| widest(rows.iter().map(|row| row[column].as_str()))).collect();
    out.plain("");
    for row in rows {
        let mut text = left(&row[0], widths[0].max(NAMES + 3));
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            text.extend(["  ", &right(cell, *width)]);
        }
        out.plain(text);
    }
}

fn flux(out: &mut Sheet, status: &Status) {
    let verdict = &status.verdict;
    out.title(message!("Flux"));
    out.line(message!("endpoint"), plain(&status.endpoint));
    next_endpoint(out, status);
    let word = out.say(verdict_word(&verdict.word));
    let text = match verdict.since_ms {
        Some(since) => {
            let ago = span(status.now_ms.saturating_sub(since));
            out.say(message!("{verdict} since {time} ({ago})", verdict = word, time = time(since), ago = ago))
        }
        None => word,
    };
    out.line(message!("verdict"), coded(text, &verdict.code));
    if !verdict.reason.is_empty() {
        out.line(message!("reason"), told(out, &verdict.reason, verdict.reason_message.as_ref()));
    }
    if !verdict.advice.is_empty() {
        out.line(message!("what to do"), own(out, &verdict.advice, verdict.advice_message.as_ref()));
    }
    if let Some(until) = verdict.until_ms {
        let text = match until.checked_sub(status.now_ms) {
            Some(wait) if wait > 0 => message!("in {span} ({time})", span = span(wait), time = time(until)),
            _ => message!("due now"),
        };
        out.line(message!("next attempt"), text);
    }
    let last = match verdict.last_accepted_ms {
        None => message!("never since the agent was started"),
        Some(at) => {
            let ago = span(status.now_ms.saturating_sub(at));
            message!("{time} ({span} ago)", time = time(at), span = ago)
        }
    };
    out.line(message!("last accepted"), last);
    attempts(out, status);
}

fn next_endpoint(out: &mut Sheet, status: &Status) {
    let Some(next) = &status.next_identity else { return };
    let endpoint = plain(&next.endpoint);
    let from = if next.moved {
        out.say(message!("{time} (moved by a notice)", time = time(next.from_ms)))
    } else {
        time(next.from_ms)
    };
    let text = match (next.in_force, status.clock.trusted) {
        (true, _) => message!("{endpoint} since {time}", endpoint = endpoint, time = from),
        (false, true) => message!("{endpoint} from {time} on", endpoint = endpoint, time = from),
        (false, false) => {
            message!("{endpoint} from {time} on, ! once the clock is right", endpoint = endpoint, time = from)
        }
    };
    out.line(message!("next endpoint"), text);
}

/// How often Flux was asked, and what it was not asked for.
fn attempts(out: &mut Sheet, status: &Status) {
    let (counts, verdict) = (&status.counts, &status.verdict);
    let (requests, failed) = (counted(counts.requests), number(counts.requests_failed));
    out.line(message!("requests"), message!("{requests}, {failed} not accepted", requests = requests, failed = failed));
    let more =
        |count| message!("{count} more attempts {since}: nothing was sent", count = number(count), since = started());
    if counts.connect_failures > 0 {
        out.line(message!("no connection"), more(counts.connect_failures));
    }
    if counts.token_refusals > 0 {
        out.line(message!("no token"), more(counts.token_refusals));
    }
    if verdict.suspects > 0 {
        let text = message!(
            "{count} refused alone; tried again when another is accepted, then put aside if refused again",
            count = number(verdict.suspects)
        );
        out.line(message!("suspects"), text);
    }
    if let Some(limit) = verdict.learnt_body_limit {
        let text = message!("{size}, less than configured: learnt from HTTP 413", size = size(limit));
        out.line(message!("body limit"), text);
    }
}

/// What went over the wire, and how fast it may.
fn wire(out: &mut Sheet, status: &Status) {
    let wire = &status.line;
    out.title(message!("Line"));
    let sent = message!("{size} {since}, headers and repeats included", size = size(wire.sent), since = started());
    let sent = if wire.estimated {
        message!("{sent}, in part estimated: this system does not tell", sent = sent)
    } else {
        sent
    };
    out.line(message!("sent"), sent);
    out.line(message!("received"), message!("{size}, likewise", size = size(wire.received)));
    out.line(message!("connected"), message!("{count} times", count = number(wire.connections)));
    if let Some(rate) = wire.rate {
        out.line(message!("may leave"), format_rate(rate.saturating_mul(8)));
    }
    if let Some(rate) = wire.rate_down {
        out.line(message!("may come in"), format_rate(rate.saturating_mul(8)));
    }
    if let Some(millis) = wire.round_trip_ms {
        out.line(message!("round trip"), format!("{} ms", number(millis)));
    }
    if let Some(rate) = wire.one_at_a_time {
        let rate = format_rate((rate.saturating_mul(8) / 1000).max(1) * 1000);
        out.line(
            "",
            message!("one request at a time is at most {rate} over that round trip: with a larger", rate = rate),
        );
        out.line("", message!("[forward.flux.batch] max_bytes (and max_records) more leaves, in fewer events"));
    }
}

fn listener(out: &mut Sheet, listener: &Connections) {
    out.title(message!("Listener"));
    let addresses: Vec<String> = listener.addresses.iter().map(|address| plain(address)).collect();
    out.line(message!("listens on"), addresses.join(", "));
    out.line(message!("connections"), usage(listener.connections));
    out.line(message!("sessions"), usage(listener.sessions));
    let mut turned_away = counted(listener.turned_away);
    if !listener.turned_away_by.is_empty() {
        let causes = by_cause(out, &listener.turned_away_by);
        turned_away = message!("{counted}: {causes}", counted = turned_away, causes = causes);
    }
    out.line(message!("turned away"), coded(turned_away, &listener.code));
}

fn broker(out: &mut Sheet, broker: &BrokerState, now_ms: u64) {
    out.title(message!("Broker"));
    out.line(message!("url"), plain(&broker.url));
    let state = if broker.connected { message!("connected") } else { message!("NOT CONNECTED") };
    let state = match broker.since_ms {
        Some(since) => {
            message!("{state} for {span}", state = state, span = span(now_ms.saturating_sub(since)))
        }
        None => state,
    };
    out.line(message!("state"), coded(state, &broker.code));
    if !broker.last_error.is_empty() {
        out.line(message!("last error"), told(out, &broker.last_error, broker.last_error_message.as_ref()));
    }
    out.line(message!("collected"), counted(broker.collected));
}

fn usage(usage: Usage) -> Message {
    message!("{now} of {limit}", now = number(usage.now), limit = number(usage.limit))
}

/// A text with the code of what is wrong behind it, if anything is.
fn coded(text: impl IntoValue, code: &str) -> Value {
    if code.is_empty() {
        return text.into_value();
    }
    message!("{text} [{code}]", text = text, code = plain(code)).into_value()
}

/// What the agent said: its message, or without one the words of somebody else, which stand as they are. Both come through a
/// socket.
fn told(out: &Sheet, english: &str, message: Option<&Message>) -> String {
    message.map_or_else(|| plain(english), |message| plain(&out.say(message)))
}

/// The same of what is always the agent's own, such as advice: one that sends no message says it in words that may be known.
fn own(out: &Sheet, english: &str, message: Option<&Message>) -> String {
    message.map_or_else(|| plain(again(english, out.language())), |message| plain(&out.say(message)))
}

/// The lines of what the agent said: as it sent them, or those of its English.
fn lines<T: IntoValue + Clone>(out: &Sheet, english: &str, sent: &[T]) -> Vec<String> {
    if sent.is_empty() {
        return english.lines().map(|line| plain(line.trim())).collect();
    }
    sent.iter().map(|line| plain(&out.say(line))).collect()
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
pub fn span(ms: u64) -> Message {
    let seconds = ms / 1000;
    match seconds {
        0 => message!("{count} ms", count = ms),
        1..60 => message!("{count} s", count = seconds),
        60..3600 => message!("{minutes} min {seconds} s", minutes = seconds / 60, seconds = seconds % 60),
        3600..86_400 => message!("{hours} h {minutes} min", hours = seconds / 3600, minutes = seconds / 60 % 60),
        _ => message!("{days} d {hours} h", days = seconds / 86_400, hours = seconds / 3600 % 24),
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
