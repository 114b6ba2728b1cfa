//! `tidegate fields`: what the rules for fields make of payloads, without storing anything.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate::code::Code;
use tidegate::collect::fields::{Deed, Did, Fields, Refused, Treated, Treatment};
use tidegate::config;
use tidegate::gateway;
use tidegate::message;

use super::{CONFIG, Coded, Failure, print};

/// Largest file that is read: sixty-four publishes of the largest size.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What to do with rules for fields.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Which {
    /// Show what would be stored of payloads, and what each rule did; exit code 1 if one would be refused
    Try(Try),
}

/// Which payloads, by which rules.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is stored, and no running service is asked. The key to pseudonyms is read, if there is one."
)]
pub(super) struct Try {
    /// Payloads: one JSON document, or one payload a line; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The topic they are published on; needed if there are several rules
    #[arg(long)]
    topic: Option<String>,
    /// Take the file as one payload, whatever stands in it
    #[arg(long)]
    whole: bool,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// The configuration with the rules
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// Does it.
pub(super) fn run(which: &Which) -> Result<(), Failure> {
    let Which::Try(args) = which;
    let (rules, key) = config::fields(&args.config)?;
    let fields = gateway::fields_of_file(&rules, key.as_ref())?;
    let name = args.config.display().to_string();
    let rule = chosen(&fields, args.topic.as_deref(), rules.iter().map(|rule| rule.topic.as_str()), &name)?;
    let bytes = read(&args.file)?;
    let tried = Tried::of(rule, &payloads(&bytes, args.whole));
    print(&if args.json { serde_json::to_string_pretty(&tried)? + "\n" } else { tried.shown() })?;
    if tried.refused > 0 {
        return Err(format!("{} of {} payloads would be refused", tried.refused, tried.payloads.len()).into());
    }
    Ok(())
}

/// The rule that would treat payloads; `None` if none would.
fn chosen<'a>(
    fields: &'a Fields,
    topic: Option<&str>,
    topics: impl Iterator<Item = &'a str>,
    config: &str,
) -> Result<Option<&'a Treatment>, Failure> {
    if let Some(topic) = topic {
        return Ok(fields.of(topic).map(AsRef::as_ref));
    }
    if let Some(only) = fields.only() {
        return Ok(Some(only));
    }
    let topics: Vec<&str> = topics.collect();
    Err(if topics.is_empty() {
        format!("{config} has no rule for fields; write [[collect.fields]]").into()
    } else {
        format!("{config} has several rules for fields ({}); say with --topic which topic is meant", topics.join(", "))
            .into()
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |source: std::io::Error| {
        let text = message!("cannot read {path}", path = path.display());
        Coded { code: Some(Code::CannotRead), text, source: Some(source) }
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        let file = std::fs::File::open(path).map_err(cannot)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} is longer than 64 MiB; try a part of it", path.display()).into());
    }
    Ok(bytes)
}

/// The payloads in a file, with the line that each begins on.
fn payloads(bytes: &[u8], whole: bool) -> Vec<(usize, &[u8])> {
    if whole || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        return vec![(1, bytes.strip_suffix(b"\n").unwrap_or(bytes))];
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty()).collect()
}

/// What came of all payloads.
#[derive(Debug, Serialize)]
struct Tried {
    /// The pattern of the rule that treated them.
    rule: Option<String>,
    payloads: Vec<One>,
    refused: usize,
}

/// What came of one.
#[derive(Debug, Serialize)]
struct One {
    /// The line it begins on.
    line: usize,
    came: String,
    stored: Option<String>,
    /// Why it would be refused, or is stored as it came.
    reason: Option<String>,
    did: Vec<Done>,
}

#[derive(Debug, Serialize)]
struct Done {
    field: String,
    was: &'static str,
    from: String,
    to: Option<String>,
}

impl Tried {
    fn of(rule: Option<&Treatment>, payloads: &[(usize, &[u8])]) -> Self {
        let payloads: Vec<One> = payloads
            .iter()
            .map(|(line, payload)| match rule {
                None => {
                    One::of(*line, payload, Ok(Treated { payload: (*payload).into(), untreated: None }), Vec::new())
                }
                Some(rule) => {
                    let (treated, did) = rule.explain(payload);
                    One::of(*line, payload, treated, did)
                }
            })
            .collect();
        let refused = payloads.iter().filter(|one| one.stored.is_none()).count();
        Self { rule: rule.map(|rule| rule.topic().to_owned()), payloads, refused }
    }

    /// The same for people.
    fn shown(&self) -> String {
        let mut out = match &self.rule {
            Some(rule) => format!("Treated by the rule for {}\n", plain(rule)),
            None => "No rule treats this topic: payloads are stored as they come\n".to_owned(),
        };
        for one in &self.payloads {
            let _ = writeln!(out, "\nline {}", one.line);
            let _ = writeln!(out, "  came    {}", plain(&one.came));
            match (&one.stored, &one.reason) {
                (Some(stored), None) => drop(writeln!(out, "  stored  {}", plain(stored))),
                (Some(_), Some(reason)) => drop(writeln!(out, "  stored  as it came, although {}", plain(reason))),
                (None, reason) => {
                    let _ = writeln!(out, "  REFUSED {}", plain(reason.as_deref().unwrap_or_default()));
                }
            }
            let width = one.did.iter().map(|done| done.field.chars().count()).max().unwrap_or(0).min(40);
            for done in &one.did {
                let _ = write!(out, "    {:width$}  {:<13}  {}", plain(&done.field), done.was, plain(&done.from));
                let _ = match &done.to {
                    Some(to) => writeln!(out, " → {}", plain(to)),
                    None => writeln!(out),
                };
            }
        }
        let (count, refused) = (self.payloads.len(), self.refused);
        let _ = writeln!(out, "\n{count} payload{}, {refused} refused", if count == 1 { "" } else { "s" });
        out
    }
}

impl One {
    fn of(line: usize, payload: &[u8], treated: Result<Treated<'_>, Refused>, did: Vec<Did>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let came = text(payload);
        let (stored, reason) = match treated {
            Ok(treated) => (Some(text(&treated.payload)), treated.untreated),
            Err(refused) => (None, Some(refused)),
        };
        // Of a payload that is not treated, what was done up to the fault is of no effect.
        let did = if reason.is_some() { Vec::new() } else { did };
        let done = |did: Did| Done { field: did.path, was: word(did.deed), from: did.from, to: did.to };
        let reason = reason.map(|reason| reason.to_string());
        Self { line, came, stored, reason, did: did.into_iter().map(done).collect() }
    }
}

fn word(deed: Deed) -> &'static str {
    match deed {
        Deed::NotKept => "not kept",
        Deed::Dropped => "dropped",
        Deed::Pseudonymised => "pseudonymised",
        Deed::Rounded => "rounded",
    }
}

/// A text from outside on one line, without what moves a terminal's cursor.
fn plain(text: &str) -> String {
    // Marks that turn the direction of writing are no control characters, and hide as much.
    let hides = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if hides(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_document_or_a_payload_a_line() {
        let lines =
            |text: &str, whole| payloads(text.as_bytes(), whole).iter().map(|(line, _)| *line).collect::<Vec<_>>();
        assert_eq!(lines("{\"a\":\n1}\n", false), [1]);
        assert_eq!(lines("{\"a\":1}\r\n\n{\"a\":2}\n", false), [1, 3]);
        assert_eq!(lines("no\nJSON\n", false), [1, 2]);
        assert_eq!(lines("no\nJSON\n", true), [1]);
        assert_eq!(payloads(b"a\r\nb", false), [(1, &b"a"[..]), (2, b"b")]);
        assert_eq!(lines("", false), [0; 0]);
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2J\n\u{202e}b"), "a\\u{1b}[2J \\u{202e}b");
    }
}
