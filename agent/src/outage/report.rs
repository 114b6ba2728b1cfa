//! What is shown of the ledger: each interval with what can be claimed for it, and with what cannot be proved.

use std::fmt::Write as _;

use serde::Serialize;

use super::account::{Account, How, Why};
use super::calendar::{self, Month};
use super::entry::{Quality, Tally};
use super::fact::Class;
use crate::clock::Stamp;
use crate::language::Message;
use crate::message;

/// Uninterrupted time for which a day is granted.
pub const DAY_MS: u64 = 86_400_000;

/// The clause that grants it.
pub const CLAUSE: &str = "15.2(2)";

/// A moment as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// RFC 3339, in UTC.
    pub utc: String,
    /// In Japan.
    pub jst: String,
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// How sure it is.
    pub clock: Quality,
}

/// How long it was whose side, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ByClass {
    /// The gateway's own line.
    pub own_line_ms: u64,
    /// The provider's word.
    pub announced_ms: u64,
    /// Nobody's for certain.
    pub unknown_ms: u64,
    /// The provider's side.
    pub provider_ms: u64,
}

/// A stretch of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownStretch {
    /// Whose side it was.
    pub class: Class,
    /// Its first moment.
    pub from: Moment,
    /// Its last moment.
    pub until: Moment,
    /// How much of it is proved.
    pub ms: u64,
}

/// Time that is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownHole {
    /// Why.
    pub why: Why,
    /// Its first moment.
    pub from: Moment,
    /// Its end.
    pub until: Moment,
    /// How long it was, if that can be known.
    pub ms: Option<u64>,
    /// How many it stands for.
    pub count: u32,
}

/// What an attempt showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownEvidence {
    /// When.
    pub at: Moment,
    /// Where it failed.
    pub stage: &'static str,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// Whose side it was.
    pub class: Class,
    /// Why.
    pub reason: String,
    /// What was known of the line.
    pub line: String,
    /// How many attempts before it showed the same as the one noted before.
    pub like_before: u64,
}

/// What can be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The first moment of the uninterrupted time.
    pub from: Moment,
    /// Its last moment.
    pub until: Moment,
    /// How much of it is proved.
    pub uninterrupted_ms: u64,
    /// Of that, what is nobody's for certain.
    pub unknown_ms: u64,
    /// Whole days: its length in hours divided by 24, rounded down.
    pub days: u64,
    /// The clause that grants them.
    pub clause: &'static str,
    /// The last day to claim them, in Japan, if the customer learnt of it on the interval's first day; `None` if the time of
    /// that is not known.
    pub last_day: Option<String>,
}

/// An interval as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number.
    pub number: u64,
    /// The first attempt that failed.
    pub from: Moment,
    /// The last moment it is proved for.
    pub until: Moment,
    /// It goes on, as far as the ledger says.
    pub open: bool,
    /// When it was known to be over, and how.
    pub ended: Option<(Moment, How)>,
    /// The last delivery before.
    pub last_success: Option<Moment>,
    /// How sure the least sure of its times is.
    pub clock: Quality,
    /// All that is proved.
    pub proved_ms: u64,
    /// The longest uninterrupted time that can be claimed.
    pub uninterrupted_ms: u64,
    /// The class of most of it.
    pub class: Class,
    /// By class.
    pub by_class: ByClass,
    /// In order.
    pub stretches: Vec<ShownStretch>,
    /// What is not counted.
    pub not_counted: Vec<ShownHole>,
    /// Attempts that failed.
    pub attempts: u64,
    /// The longest counted time between two attempts.
    pub widest_ms: u64,
    /// What attempts showed.
    pub evidence: Vec<ShownEvidence>,
    /// Pieces of evidence that were left out.
    pub left_out: u64,
    /// What can be claimed: each uninterrupted time of 24 hours or more.
    pub claims: Vec<Claim>,
    /// What this cannot prove, a sentence each.
    #[serde(serialize_with = "english")]
    pub cannot_prove: Vec<Message>,
}

/// Programs, and whoever they hand it on to, find the same words on every gateway.
fn english<S: serde::Serializer>(messages: &[Message], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(messages.iter().map(Message::to_string))
}

/// The intervals, all or those that touch a month (in Japan), in order.
pub fn rows(tally: &Tally, month: Option<Month>) -> Vec<Row> {
    let rows = tally.intervals.values().map(|account| row(tally, account));
    let touches = |row: &Row| {
        month.is_none_or(|month| calendar::month(row.from.ms) <= month && month <= calendar::month(row.until.ms))
    };
    rows.filter(touches).collect()
}

fn moment(tally: &Tally, stamp: &Stamp) -> Moment {
    let (ms, clock) = tally.time(stamp);
    let mut utc = Vec::new();
    tidegate_protocol::event::write_time(&mut utc, ms);
    Moment { utc: String::from_utf8(utc).unwrap_or_default(), jst: calendar::text(ms), ms, clock }
}

fn row(tally: &Tally, account: &Account) -> Row {
    let at = |stamp: &Stamp| moment(tally, stamp);
    let stretches = account.so_far();
    let mut by_class = ByClass::default();
    for stretch in &stretches {
        let sum = match stretch.class {
            Class::OwnLine => &mut by_class.own_line_ms,
            Class::Announced => &mut by_class.announced_ms,
            Class::Unknown => &mut by_class.unknown_ms,
            Class::Provider => &mut by_class.provider_ms,
        };
        *sum += stretch.ms;
    }
    let (from, until) = (at(&account.from), at(&account.until()));
    let evidence = account.evidence.iter().map(|noted| ShownEvidence {
        at: at(&noted.at),
        stage: noted.what.stage.word(),
        status: noted.what.status,
        class: noted.what.class,
        reason: noted.what.reason.clone(),
        line: noted.what.line.clone(),
        like_before: noted.before,
    });
    let holes = account.holes.iter().map(|hole| ShownHole {
        why: hole.why,
        from: at(&hole.from),
        until: at(&hole.until),
        ms: hole.ms,
        count: hole.count,
    });
    let shown = stretches.iter().map(|stretch| ShownStretch {
        class: stretch.class,
        from: at(&stretch.from),
        until: at(&stretch.until),
        ms: stretch.ms,
    });
    let claims = claims(tally, account, &from);
    Row {
        number: account.number,
        clock: from.clock.min(until.clock),
        open: account.ended.is_none(),
        ended: account.ended.as_ref().map(|ended| (at(&ended.at), ended.how)),
        last_success: account.last_success.as_ref().map(at),
        proved_ms: account.proved_ms(),
        uninterrupted_ms: account.uninterrupted_ms(),
        class: stretches.iter().max_by_key(|stretch| stretch.ms).map_or(account.class(), |stretch| stretch.class),
        by_class,
        stretches: shown.collect(),
        not_counted: holes.collect(),
        attempts: account.attempts,
        widest_ms: account.widest_ms.max(account.tail.as_ref().map_or(0, |tail| tail.ms)),
        evidence: evidence.collect(),
        left_out: account.left_out,
        cannot_prove: cannot_prove(account, from.clock.min(until.clock), &by_class),
        claims,
        from,
        until,
    }
}

fn claims(tally: &Tally, account: &Account, first: &Moment) -> Vec<Claim> {
    let long = account.claimable().into_iter().filter(|run| run.ms >= DAY_MS);
    let claim = |run: super::Uninterrupted| Claim {
        from: moment(tally, &run.from),
        until: moment(tally, &run.until),
        uninterrupted_ms: run.ms,
        unknown_ms: run.unknown_ms,
        days: run.ms / DAY_MS,
        clause: CLAUSE,
        last_day: (first.clock > Quality::Unknown).then(|| calendar::last_day(calendar::day(first.ms)).to_string()),
    };
    long.map(claim).collect()
}

/// What an interval cannot prove, whatever its length.
fn cannot_prove(account: &Account, clock: Quality, by_class: &ByClass) -> Vec<Message> {
    let widest = span(account.widest_ms.max(account.tail.as_ref().map_or(0, |tail| tail.ms)));
    let mut all = vec![
        message!("when the provider knew: the clause counts from then"),
        message!("what was between attempts, which were {span} apart at most", span = widest),
    ];
    match clock {
        Quality::Right => {}
        Quality::Corrected => {
            all.push(message!("the time of day to the second: the clock became right only later in the same boot"));
        }
        Quality::Unknown => {
            all.push(message!("the date: the gateway's clock was not known to be right (lengths do not depend on it)"));
        }
    }
    if !account.holes.is_empty() {
        all.push(message!(
            "that Flux could not be used in the time that is not counted: it is taken as one interval all the same, and \
             does not add to its length"
        ));
    }
    if by_class.unknown_ms > 0 {
        all.push(message!(
            "whose side it was for {span} of it (class unknown): it counts here as if the provider's",
            span = span(by_class.unknown_ms)
        ));
    }
    if by_class.own_line_ms > 0 {
        all.push(message!(
            "that {span} of it can be claimed: the gateway's own line was broken",
            span = span(by_class.own_line_ms)
        ));
    }
    if by_class.announced_ms > 0 {
        all.push(message!(
            "that {span} of it can be claimed: by the provider's word (announced, or a refusal)",
            span = span(by_class.announced_ms)
        ));
    }
    all
}

/// A length for people: `30 h 28 min`, `4 min 10 s`.
pub fn span(ms: u64) -> Message {
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => message!("{count} s", count = seconds),
        (0, _) => message!("{minutes} min {seconds} s", minutes = minutes, seconds = seconds % 60),
        _ => message!("{hours} h {minutes} min", hours = hours, minutes = minutes),
    }
}

/// The columns of [`csv`].
const COLUMNS: &str = "number,from_utc,until_utc,from_jst,until_jst,open,clock,class,proved_ms,uninterrupted_ms,provider_ms,\
                       unknown_ms,announced_ms,own_line_ms,not_counted,attempts,widest_ms,days,clause,last_day_to_claim,\
                       first_evidence,last_evidence,ledger_whole";

/// The intervals as comma-separated values (RFC 4180): a header, CRLF, a line each. Each says whether the ledger is as it was
/// written: RFC 4180 knows no comments, and what goes with a claim shall not say less than the other forms.
pub fn csv(rows: &[Row], whole: bool) -> String {
    let mut out = format!("{COLUMNS}\r\n");
    for row in rows {
        let days: u64 = row.claims.iter().map(|claim| claim.days).sum();
        let claim = row.claims.first();
        let evidence = |one: Option<&ShownEvidence>| one.map_or_else(String::new, described);
        let fields = [
            row.number.to_string(),
            row.from.utc.clone(),
            row.until.utc.clone(),
            row.from.jst.clone(),
            row.until.jst.clone(),
            row.open.to_string(),
            word(row.clock),
            row.class.word().to_owned(),
            row.proved_ms.to_string(),
            row.uninterrupted_ms.to_string(),
            row.by_class.provider_ms.to_string(),
            row.by_class.unknown_ms.to_string(),
            row.by_class.announced_ms.to_string(),
            row.by_class.own_line_ms.to_string(),
            row.not_counted.iter().map(|hole| u64::from(hole.count)).sum::<u64>().to_string(),
            row.attempts.to_string(),
            row.widest_ms.to_string(),
            days.to_string(),
            claim.map_or("", |claim| claim.clause).to_owned(),
            claim.and_then(|claim| claim.last_day.clone()).unwrap_or_default(),
            evidence(row.evidence.first()),
            evidence(row.evidence.last()),
            whole.to_string(),
        ];
        let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        let _ = write!(out, "{}\r\n", fields.join(","));
    }
    out
}

/// A piece of evidence in one line.
pub fn described(evidence: &ShownEvidence) -> String {
    let mut text = evidence.stage.to_owned();
    if let Some(status) = evidence.status {
        let _ = write!(text, " {status}");
    }
    for more in [&evidence.reason, &evidence.line] {
        if !more.is_empty() {
            let _ = write!(text, ": {more}");
        }
    }
    text
}

fn word(quality: Quality) -> String {
    match quality {
        Quality::Unknown => "unknown",
        Quality::Corrected => "corrected",
        Quality::Right => "right",
    }
    .to_owned()
}

fn quoted(field: &str) -> String {
    // What a spreadsheet would take for a formula is text here.
    let field = if field.starts_with(['=', '+', '-', '@']) { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}
