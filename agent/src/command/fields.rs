//! `tidegate fields`: what the rules for fields make of payloads, without storing anything.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate::code::Code;
use tidegate::collect::fields::{Deed, Did, Fields, Refused, Treated, Treatment};
use tidegate::config;
use tidegate::gateway;
use tidegate::language::sheet::{Sheet, left, widest};
use tidegate::language::{Language, Message};
use tidegate::message;

use super::{CONFIG, Coded, FAILED, Failure, print};

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
pub(super) fn run(which: &Which, language: Language) -> Result<(), Failure> {
    let Which::Try(args) = which;
    let (rules, key) = config::fields(&args.config)?;
    let fields = gateway::fields_of_file(&rules, key.as_ref())?;
    let name = args.config.display().to_string();
    let rule = chosen(&fields, args.topic.as_deref(), rules.iter().map(|rule| rule.topic.as_str()), &name)?;
    let bytes = read(&args.file)?;
    let tried = Tried::of(rule, &payloads(&bytes, args.whole));
    print(&if args.json { serde_json::to_string_pretty(&tried)? + "\n" } else { tried.shown(language) })?;
    if tried.refused > 0 {
        let text = message!(
            "{refused} of {count} payloads would be refused",
            refused = tried.refused,
            count = tried.payloads.len()
        );
        return Err(text.into());
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
        let text = message!(
            "{config} has no rule for fields, so payloads are stored as they come; write [[collect.fields]] into it and try again (every key: tidegate config default)",
            config = config
        );
        Failure::coded(FAILED, Code::ConfigWrong, text)
    } else {
        message!(
            "{config} has several rules for fields ({topics}); say with --topic which topic is meant",
            config = config,
            topics = topics.join(", ")
        )
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
        return Err(message!("{path} is longer than 64 MiB; try a part of it", path = path.display()).into());
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
    /// The same for people.
    #[serde(skip)]
    why: Option<Message>,
    did: Vec<Done>,
}

#[derive(Debug, Serialize)]
struct Done {
    field: String,
    #[serde(serialize_with = "as_text")]
    was: Message,
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
    fn shown(&self, language: Language) -> String {
        let mut out = Sheet::new(language, 0);
        match &self.rule {
            Some(rule) => out.plain(message!("Treated by the rule for {topic}", topic = plain(rule))),
            None => out.plain(message!("No rule treats this topic: payloads are stored as they come")),
        }
        let names = [message!("came"), message!("stored"), message!("REFUSED")].map(|name| out.say(name));
        let width = widest(names.iter().map(String::as_str));
        let [came, stored, refused] = names.map(|name| left(&name, width));
        for one in &self.payloads {
            out.title(message!("line {number}", number = one.line));
            out.plain(format!("  {came} {}", plain(&one.came)));
            let why = one.why.as_ref().map(|why| plain(&out.say(why)));
            match (&one.stored, why) {
                (Some(text), None) => out.plain(format!("  {stored} {}", plain(text))),
                (Some(_), Some(why)) => {
                    let text = out.say(message!("as it came, although {why}", why = why));
                    out.plain(format!("  {stored} {text}"));
                }
                (None, why) => out.plain(format!("  {refused} {}", why.unwrap_or_default())),
            }
            one.deeds(&mut out);
        }
        let (count, refused) = (self.payloads.len(), self.refused);
        out.raw("\n");
        out.plain(if count == 1 {
            message!("1 payload, {refused} refused", refused = refused)
        } else {
            message!("{count} payloads, {refused} refused", count = count, refused = refused)
        });
        out.finish()
    }
}

impl One {
    /// What was done to its fields.
    fn deeds(&self, out: &mut Sheet) {
        let fields: Vec<String> = self.did.iter().map(|done| plain(&done.field)).collect();
        let words: Vec<String> = self.did.iter().map(|done| out.say(&done.was)).collect();
        // Deeper fields are rare, and would push all others out of sight.
        let width = widest(fields.iter().map(String::as_str)).min(40);
        let all = [Deed::NotKept, Deed::Dropped, Deed::Pseudonymised, Deed::Rounded].map(|deed| out.say(word(deed)));
        let word_width = widest(all.iter().map(String::as_str));
        for ((done, field), word) in self.did.iter().zip(&fields).zip(&words) {
            let to = done.to.as_ref().map(|to| format!(" → {}", plain(to))).unwrap_or_default();
            out.plain(format!("    {}  {}  {}{to}", left(field, width), left(word, word_width), plain(&done.from)));
        }
    }

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
        let (why, reason) = (reason.as_ref().map(Refused::message), reason.map(|reason| reason.to_string()));
        Self { line, came, stored, reason, why, did: did.into_iter().map(done).collect() }
    }
}

/// A message in a document for programs, which is English.
fn as_text<S: serde::Serializer>(message: &Message, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(message)
}

fn word(deed: Deed) -> Message {
    match deed {
        Deed::NotKept => message!("not kept"),
        Deed::Dropped => message!("dropped"),
        Deed::Pseudonymised => message!("pseudonymised"),
        Deed::Rounded => message!("rounded"),
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
