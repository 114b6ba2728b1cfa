//! Notices as a person writes them: the file that `tidegate notice sign` signs.
//!
//! # Format
//! TOML, at most [`MAX_FILE`](super::MAX_FILE) bytes long, with the names that the notice has on the wire
//! ([`tidegate_protocol::notice::wire`]) and values as in the configuration:
//! ```toml
//! id = "m-2026-12-01"                  # what it is about: say it again to amend it
//! kind = "maintenance"
//! gateways = ["barn-1", "pole-*"]      # for whom; without it for every gateway that pins the key
//! why = "The database moves."
//! issued = "now"                       # now, unless said otherwise
//! expires = "+7d"                      # until when it may be taken in; without it until it is over, or for 30 days
//!
//! from = "2026-12-01 02:00 +09:00"     # at once, unless said otherwise
//! until = 2026-12-01T04:00:00+09:00    # in quotes or without
//! cause = "works"
//! resume = "30m"                       # over how long gateways come back after it
//! ```
//!
//! | kind | its keys, `[…]` may be missing |
//! |---|---|
//! | `maintenance` | \[from\], until, \[cause: works, upstream, identifier, security, other\], \[resume\] |
//! | `emergency` | \[from\], \[until\] |
//! | `restriction` | \[from\], \[until\], and a table `[limits]` as in the configuration |
//! | `suspension` | \[from\], \[cause: unpaid, `false_statement`, terms, card, other\] |
//! | `quota` | until |
//! | `end` | at |
//! | `terms_changed` | version, effective, \[url\] |
//! | `identity` | effective |
//! | `information`, `withdrawn` | none |
//!
//! Everything that is wrong is told at once, with line and column; a key that does not belong to the kind is wrong.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use tidegate_protocol::notice::{Breach, Content, Interruption, LONGEST_MS, Notice, RESUME_S, Scope};
use tidegate_protocol::terms::Bound;
use toml::de::DeTable;

use super::error::{Errors, LoadError, STANDARD_INPUT};
use super::reader::{Document, Section, found_text};
use super::sections;
use super::surroundings::{self, Disk};
use super::syntax;
use crate::clock::text;
use crate::language::Message;
use crate::message;

/// How long a notice without an end of its own may be taken in, unless the file says otherwise: as long as a gateway may be
/// out of reach.
const LASTS_MS: u64 = 30 * 86_400_000;

/// A notice whose end is near may still be taken in for so long after it was issued: its files travel with people.
const AT_LEAST_MS: u64 = 86_400_000;

/// What the wire takes.
const RESUME: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(RESUME_S as u64);

/// Reads a notice from the file at `path`, or from standard input if it is `-`; `now_ms` is the time it is issued at unless
/// the file says another.
///
/// # Errors
/// [`LoadError::Unreadable`], or [`LoadError::Wrong`] with everything that is wrong in it.
pub fn load(path: &Path, now_ms: u64) -> Result<Notice, LoadError> {
    if path == Path::new("-") {
        let name = STANDARD_INPUT;
        return Ok(parse(&surroundings::read_all(std::io::stdin().lock(), name)?, name, now_ms)?);
    }
    Ok(parse(&surroundings::read_text(path)?, &path.display().to_string(), now_ms)?)
}

/// Reads a notice from `text`; `name` stands in messages.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn parse(text: &str, name: &str, now_ms: u64) -> Result<Notice, Errors> {
    let (tree, faults) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, &Disk);
    let notice = if faults.is_empty() {
        document(&doc, tree.get_ref(), now_ms)
    } else {
        for fault in &faults {
            let at = fault.span().map_or(0, |span| span.start);
            let advice = message!("correct this line (text stands in double quotes, a table's name in brackets)");
            doc.problem(Some(at), "", syntax::said(fault), advice);
        }
        None
    };
    let problems = doc.close().problems;
    match notice {
        Some(notice) if problems.is_empty() => Ok(notice),
        _ => Err(Errors { source_name: name.to_owned(), problems }),
    }
}

fn document(doc: &Document<'_>, tree: &DeTable<'_>, now_ms: u64) -> Option<Notice> {
    let root = Section::root(doc, tree);
    let reader = Reader { root: &root, now_ms };
    let id = reader.text("id", message!("write what it is about, such as id = \"m-2026-12-01\""));
    let content = reader.content();
    let issued_ms = reader.time_if("issued").unwrap_or(now_ms);
    // Said from when it is issued, not from when the file is read.
    let expires_ms = Reader { root: &root, now_ms: issued_ms }.time_if("expires");
    let scope = reader.scope();
    let why =
        root.text("why", message!("write a text in quotes")).map_or_else(String::new, |(text, _)| text.to_owned());
    let notice = content.map(|content| Notice {
        id: id.unwrap_or_default(),
        issued_ms,
        expires_ms: expires_ms.unwrap_or_else(|| lasts_until(&content, issued_ms)),
        scope,
        content,
        why,
    });
    if let (Some(notice), false) = (&notice, doc.has_problems()) {
        if let Err(flaw) = notice.check() {
            let field = flaw.field.rsplit('.').next().unwrap_or_default();
            root.problem_at(
                field,
                flaw.problem,
                message!("write what the notice's form says: `tidegate notice sign --help`"),
            );
        }
    }
    if notice.is_some() {
        let advice = message!("remove it: it is not among the keys of this kind (`tidegate notice sign --help`)");
        root.finish_with(|_| advice.clone());
    }
    notice
}

/// Until when it may be taken in unless the file says so: until what it says is over.
fn lasts_until(content: &Content, issued_ms: u64) -> u64 {
    let end = match content {
        Content::Maintenance { until_ms, .. } | Content::Quota { until_ms } => Some(*until_ms),
        Content::Emergency { until_ms, .. } | Content::Restriction { until_ms, .. } => *until_ms,
        // What begins later must still be taken in by who hears of it when it has begun.
        Content::End { at_ms: begin_ms }
        | Content::TermsChanged { effective_ms: begin_ms, .. }
        | Content::Identity { effective_ms: begin_ms }
        | Content::Suspension { from_ms: begin_ms, .. } => Some((*begin_ms).max(issued_ms) + LASTS_MS),
        Content::Information | Content::Withdrawn | Content::Unknown { .. } => None,
    };
    end.unwrap_or(issued_ms + LASTS_MS).clamp(issued_ms + AT_LEAST_MS, issued_ms + LONGEST_MS)
}

/// Hands out the file's keys.
struct Reader<'a> {
    root: &'a Section<'a>,
    now_ms: u64,
}

impl Reader<'_> {
    fn text(&self, key: &'static str, advice: Message) -> Option<String> {
        if !self.root.has(key) {
            self.root.missing(key, &advice);
        }
        self.root.text(key, advice).map(|(text, _)| text.to_owned())
    }

    fn time_if(&self, key: &'static str) -> Option<u64> {
        let value = self.root.get(key)?;
        let found = value.time_text(text::ADVICE)?;
        match text::parse(&found, self.now_ms) {
            Ok(ms) => Some(ms),
            Err(advice) => {
                value.problem(found_text(&found), advice);
                None
            }
        }
    }

    fn time(&self, key: &'static str) -> u64 {
        if !self.root.has(key) {
            self.root.missing(key, text::ADVICE);
        }
        // What is wrong is entered, so the number is not used.
        self.time_if(key).unwrap_or(0)
    }

    fn begin(&self) -> u64 {
        self.time_if("from").unwrap_or(0)
    }

    fn scope(&self) -> Scope {
        const ADVICE: Message =
            message!("write the gateways' ids in an array: [\"barn-1\", \"pole-*\"]; without the key it is for all");
        let Some(value) = self.root.get("gateways") else { return Scope::Fleet };
        let texts = value.elements(ADVICE).into_iter().filter_map(|one| one.text(ADVICE).map(str::to_owned));
        Scope::Gateways(texts.collect())
    }

    fn resume(&self) -> Option<u32> {
        let seconds = self.root.has("resume").then(|| self.root.duration("resume", &RESUME, Duration::ZERO))?;
        u32::try_from(seconds.as_secs()).ok()
    }

    fn limits(&self) -> Vec<Bound> {
        let section = self.root.section("limits");
        if !section.is_there() {
            self.root.missing(
                "limits",
                message!("write a table [limits] below, with what may leave: rate = \"128 kbit/s\""),
            );
        }
        let stated = sections::limits::stated(&section).into_iter().map(|stated| stated.bound).collect();
        section.finish();
        stated
    }

    fn content(&self) -> Option<Content> {
        const KINDS: [(&str, usize); 10] = [
            ("maintenance", 0),
            ("emergency", 1),
            ("restriction", 2),
            ("suspension", 3),
            ("quota", 4),
            ("end", 5),
            ("terms_changed", 6),
            ("identity", 7),
            ("information", 8),
            ("withdrawn", 9),
        ];
        if !self.root.has("kind") {
            self.root.missing("kind", message!("write what it says, such as kind = \"maintenance\""));
        }
        Some(match self.root.word("kind", &KINDS)? {
            0 => Content::Maintenance {
                from_ms: self.begin(),
                until_ms: self.time("until"),
                cause: self.root.word("cause", &Interruption::WORDS).unwrap_or(Interruption::Other),
                resume_s: self.resume(),
            },
            1 => Content::Emergency { from_ms: self.begin(), until_ms: self.time_if("until") },
            2 => Content::Restriction { from_ms: self.begin(), until_ms: self.time_if("until"), limits: self.limits() },
            3 => Content::Suspension {
                from_ms: self.begin(),
                cause: self.root.word("cause", &Breach::WORDS).unwrap_or(Breach::Other),
            },
            4 => Content::Quota { until_ms: self.time("until") },
            5 => Content::End { at_ms: self.time("at") },
            6 => Content::TermsChanged {
                version: self
                    .text("version", message!("write the new terms' version, such as version = \"2027-04-01\""))?,
                effective_ms: self.time("effective"),
                url: self
                    .root
                    .text("url", message!("write a URL in quotes"))
                    .map_or_else(String::new, |(url, _)| url.to_owned()),
            },
            7 => Content::Identity { effective_ms: self.time("effective") },
            8 => Content::Information,
            _ => Content::Withdrawn,
        })
    }
}

/// Writes a notice as such a file. What a newer sender added is not in it, and a kind that is not known stands there
/// without what it says.
pub fn write(notice: &Notice) -> String {
    let mut out = String::new();
    let mut put = |key: &str, value: String| {
        // A String takes all.
        let _ = writeln!(out, "{key} = {value}");
    };
    put("id", quoted(&notice.id));
    put("kind", quoted(notice.content.kind()));
    if let Scope::Gateways(names) = &notice.scope {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        put("gateways", format!("[{}]", names.join(", ")));
    }
    if !notice.why.is_empty() {
        put("why", quoted(&notice.why));
    }
    put("issued", text::format(notice.issued_ms));
    put("expires", text::format(notice.expires_ms));
    let mut moment = |key: &str, ms: u64| put(key, if ms == 0 { "\"1970-01-01\"".into() } else { text::format(ms) });
    let (mut limits, mut rest) = (&[][..], Vec::new());
    match &notice.content {
        Content::Maintenance { from_ms, until_ms, cause, resume_s } => {
            begin(&mut moment, *from_ms);
            moment("until", *until_ms);
            rest.push(("cause", quoted(cause.as_str())));
            rest.extend(resume_s.map(|seconds| ("resume", format!("\"{seconds}s\""))));
        }
        Content::Emergency { from_ms, until_ms } => {
            begin(&mut moment, *from_ms);
            if let Some(until_ms) = until_ms {
                moment("until", *until_ms);
            }
        }
        Content::Restriction { from_ms, until_ms, limits: bounds } => {
            begin(&mut moment, *from_ms);
            if let Some(until_ms) = until_ms {
                moment("until", *until_ms);
            }
            limits = bounds;
        }
        Content::Suspension { from_ms, cause } => {
            begin(&mut moment, *from_ms);
            rest.push(("cause", quoted(cause.as_str())));
        }
        Content::Quota { until_ms } => moment("until", *until_ms),
        Content::End { at_ms } => moment("at", *at_ms),
        Content::TermsChanged { version, effective_ms, url } => {
            moment("effective", *effective_ms);
            rest.push(("version", quoted(version)));
            rest.extend((!url.is_empty()).then(|| ("url", quoted(url))));
        }
        Content::Identity { effective_ms } => moment("effective", *effective_ms),
        Content::Information | Content::Withdrawn | Content::Unknown { .. } => {}
    }
    for (key, value) in rest {
        put(key, value);
    }
    if !limits.is_empty() {
        out.push_str("[limits]\n");
        for bound in limits {
            let _ = writeln!(out, "{} = {}", bound.kind().key(), limit(bound));
        }
    }
    out
}

/// 0 is at once, which is what a file says that does not say it.
fn begin(moment: &mut impl FnMut(&str, u64), from_ms: u64) {
    if from_ms > 0 {
        moment("from", from_ms);
    }
}

fn limit(bound: &Bound) -> String {
    use tidegate_protocol::units::{format_rate, format_size};
    match bound {
        Bound::RateUp(rate) | Bound::RateDown(rate) => quoted(&format_rate(rate.get())),
        Bound::Burst(bytes) | Bound::BytesPerHour(bytes) | Bound::BytesPerDay(bytes) | Bound::BytesPerMonth(bytes) => {
            quoted(&format_size(bytes.get()))
        }
        Bound::Share(share) => format!("{:.6}", f64::from(share.millionths()) / 1_000_000.0),
        Bound::Windows(windows) => {
            let windows: Vec<String> = windows.to_string().split("; ").map(quoted).collect();
            format!("[{}]", windows.join(", "))
        }
        _ => bound.number().map_or_else(|| "\"unlimited\"".into(), |number| number.to_string()),
    }
}

/// A TOML basic string, without anything in it that a terminal would not show.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // Also what hides or turns text around on a terminal.
            c if c.is_control() || !shows(c) => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a terminal shows a character as itself, as far as `escape_debug` knows.
fn shows(character: char) -> bool {
    character == '\'' || character.escape_debug().count() == 1
}

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(test)]
mod tests;
