//! Limits of files as documents: the contract's terms file, and what the operator wrote.
//!
//! # Format
//! A terms file is TOML, at most [`MAX_FILE`](super::MAX_FILE) bytes long:
//! ```toml
//! [terms]                          # what it is; all of it may be missing
//! title = "Flux contract of Example Inc."
//! version = "2026-10-01"
//!
//! [limits]                         # as in the configuration
//! rate = "512 kbit/s"
//! bytes_per_day = "200 MB"
//!
//! [clauses]                        # where a limit serves another clause than its kind usually does
//! bytes_per_day = "11.1(3)"
//! ```
//!
//! # Constraints
//! - A contract's file may be newer than this agent (clause 9.3(2)): a key that is not known is no mistake, but is kept by
//!   name so that it can be counted and shown. A key that is known and wrong makes the file unusable as a whole: a limit
//!   that was meant and is not understood must not quietly fall away.
//! - A file that is missing or wrong never keeps the agent from starting; what follows is the caller's to decide.

use crate::code::Code;
use crate::language::{IntoValue, Language, Message, Value};
use crate::message;
use std::num::NonZeroU64;
use std::path::Path;

use tidegate_protocol::terms::{Bound, Clause, ClauseError, Kind, Limit, Quota, Source, Terms};
use toml::de::DeTable;

use super::error::{Errors, Problem};
use super::model::Limits;
use super::reader::{Document, Section, found_text};
use super::sections;
use super::surroundings::{Disk, contents};
use super::syntax;

/// Events of a new account's Developer plan in a month; when they are used up its apps stop.
pub(super) const DEVELOPER_EVENTS: NonZeroU64 = NonZeroU64::new(10_000).expect("not 0");

/// Unknown keys that are kept by name; the others are counted. More of them mean that this is another kind of file.
const MAX_UNKNOWN: usize = 20;

/// Longest title and version that are shown, in characters.
const SHOWN: usize = 100;

/// Why a terms file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text(Language::English))]
#[non_exhaustive]
pub enum TermsError {
    /// It could not be read.
    Unreadable {
        /// What was found.
        found: Value,
        /// What to do.
        advice: Value,
    },
    /// It was read and is wrong.
    Wrong(Errors),
}

impl TermsError {
    /// It, a line each: that it cannot be used, with the first thing that is wrong or how many are, and then each.
    pub fn lines(&self) -> Vec<Message> {
        let unusable = |why| message!("the terms file cannot be used: {why}", why = why);
        match self {
            Self::Unreadable { found, advice } => {
                vec![unusable(message!("{found}; {advice}", found = found, advice = advice).into_value())]
            }
            Self::Wrong(errors) => {
                let mut lines = errors.lines().into_iter();
                let first = lines.next().map_or_else(Value::default, IntoValue::into_value);
                [unusable(first)].into_iter().chain(lines).collect()
            }
        }
    }

    /// It in a language.
    pub fn text(&self, language: Language) -> String {
        let lines: Vec<String> = self.lines().iter().map(|line| line.text(language)).collect();
        lines.join("\n  ")
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        Code::TermsFile
    }

    /// Each thing that is wrong: what was found, where it has a place behind that, and what to do.
    pub fn faults(&self) -> Vec<(Value, Value)> {
        match self {
            Self::Unreadable { found, advice } => vec![(found.clone(), advice.clone())],
            Self::Wrong(errors) => {
                let fault = |problem: &Problem| (problem.place_and_found().into_value(), problem.advice.clone());
                errors.problems.iter().map(fault).collect()
            }
        }
    }
}

/// Reads the terms file at `path`.
///
/// # Errors
/// [`TermsError::Unreadable`] if there is no such file, it may not be read, is too long or no text;
/// [`TermsError::Wrong`] with everything that is wrong in it otherwise.
pub fn load(path: &Path) -> Result<Terms, TermsError> {
    load_text(path).map(|(terms, _)| terms)
}

/// The same, with the text.
///
/// # Errors
/// As [`load`].
pub fn load_text(path: &Path) -> Result<(Terms, String), TermsError> {
    let name = path.display().to_string();
    let (bytes, _) =
        contents(path).map_err(|fault| TermsError::Unreadable { found: fault.found, advice: fault.advice })?;
    let text = String::from_utf8(bytes).map_err(|_| TermsError::Unreadable {
        found: message!("{path} is not text (UTF-8)", path = &name).into_value(),
        advice: message!("name the right file").into_value(),
    })?;
    parse(&text, &name).map(|terms| (terms, text)).map_err(TermsError::Wrong)
}

/// Reads terms from `text`; `name` stands in messages and as the limits' source.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn parse(text: &str, name: &str) -> Result<Terms, Errors> {
    let (tree, faults) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, &Disk);
    let terms = if faults.is_empty() {
        document(&doc, tree.get_ref(), name)
    } else {
        for fault in &faults {
            let at = fault.span().map_or(0, |span| span.start);
            let advice = message!("correct this line (text stands in double quotes, a table's name in brackets)");
            doc.problem(Some(at), "", syntax::said(fault), advice);
        }
        Terms::default()
    };
    let problems = doc.close().problems;
    if problems.is_empty() { Ok(terms) } else { Err(Errors { source_name: name.to_owned(), problems }) }
}

fn document(doc: &Document<'_>, tree: &DeTable<'_>, name: &str) -> Terms {
    let root = Section::root(doc, tree);
    let about = root.section("terms");
    let text =
        |key| about.text(key, message!("write a text in quotes")).map_or_else(String::new, |(text, _)| cut(text));
    let (title, version) = (text("title"), text("version"));
    let limits = root.section("limits");
    let stated = sections::limits::stated(&limits);
    let clauses = root.section("clauses");
    let mut unknown = Vec::new();
    let clause_of = |kind: Kind| clause(&clauses, kind);
    let mut terms = Terms::new(stated.into_iter().map(|stated| {
        let source = Source::Terms { file: name.to_owned(), line: stated.line };
        let limit = Limit::new(stated.bound, source);
        let clause = clause_of(limit.bound.kind()).unwrap_or(limit.clause);
        Limit { clause, ..limit }
    }));
    for section in [about, limits, clauses, root] {
        unknown.extend(section.left_over());
    }
    terms.unknown_count = unknown.len();
    unknown.truncate(MAX_UNKNOWN);
    (terms.title, terms.version, terms.unknown) = (title, version, unknown);
    terms
}

/// The clause that the file says a kind's limit serves.
fn clause(clauses: &Section<'_>, kind: Kind) -> Option<Clause> {
    const ADVICE: Message = message!("write a clause in quotes, such as \"5.1(2)\"");
    let (text, value) = clauses.text(kind.key(), ADVICE)?;
    let clause = text.parse().ok();
    if clause.is_none() {
        value.problem(found_text(text), ClauseError::ADVICE);
    }
    clause
}

fn cut(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

/// What the operator wrote, as a document; `file` is the configuration's path.
pub fn of_operator(limits: &Limits, file: &str) -> Terms {
    Terms::new(limits.stated.iter().map(|stated| {
        let source = Source::Operator { file: file.to_owned(), line: stated.line };
        Limit::new(stated.bound.clone(), source)
    }))
}

/// What stands while nobody says anything of its kind.
pub fn defaults() -> Terms {
    let source = Source::Default { why: "a new account's Developer plan" };
    Terms::new([Limit::new(Bound::EventsPerMonth(Quota::Events(DEVELOPER_EVENTS)), source)])
}
