//! Hands out keys of the parsed tree by name and type, and keeps book of what is wrong and of what was never asked for.

mod found;
mod quantity;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use self::found::found_text;
use self::found::{describe, exposed, kind, plausible, shown_key};
use super::error::{Problem, looks_secret};
use super::exposed::Exposed;
use super::keys;
use super::surroundings::{Content, Fault, Place, Surroundings, Volume};
use crate::code::Code;
use crate::language::{IntoValue, Message, Value as Said};
use crate::message;
use crate::secret::Secret;

/// Most mistakes that are reported; more of them mean that this is another kind of file.
const MOST_PROBLEMS: usize = 100;

/// The text being read and the book that is kept of it.
pub(super) struct Document<'a> {
    text: &'a str,
    surroundings: &'a dyn Surroundings,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    asked: RefCell<BTreeSet<String>>,
}

/// What reading a document left in its book.
pub(super) struct Book {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Every key that was asked for; the test that holds the lists to each other reads it.
    #[cfg_attr(not(test), expect(dead_code, reason = "kept for the test of completeness"))]
    pub(super) asked: BTreeSet<String>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str, surroundings: &'a dyn Surroundings) -> Self {
        Self {
            text,
            surroundings,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// Enters a mistake at a byte of the text; `None` is the file as a whole.
    pub(super) fn problem(&self, at: Option<usize>, key: &str, found: impl IntoValue, advice: impl IntoValue) {
        self.coded_problem(Code::ConfigWrong, at, key, (found.into_value(), advice.into_value()));
    }

    fn coded_problem(&self, code: Code, at: Option<usize>, key: &str, said: (Said, Said)) {
        if !self.is_full() {
            self.problems.borrow_mut().push(self.entry(code, at, key, said));
        }
    }

    /// Whether a mistake was entered.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Whether no further mistake will be entered, so that none need be looked for.
    fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MOST_PROBLEMS
    }

    /// Enters a warning.
    pub(super) fn warn(&self, at: Option<usize>, key: &str, found: impl IntoValue, advice: impl IntoValue) {
        self.coded_warning(Code::ConfigNote, at, key, (found.into_value(), advice.into_value()));
    }

    fn coded_warning(&self, code: Code, at: Option<usize>, key: &str, said: (Said, Said)) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MOST_PROBLEMS {
            warnings.push(self.entry(code, at, key, said));
        }
    }

    fn entry(&self, code: Code, at: Option<usize>, key: &str, (found, advice): (Said, Said)) -> Problem {
        let (line, column) = at.map_or((0, 0), |at| self.place(at));
        Problem { line, column, key: key.to_owned(), found, advice, code }
    }

    /// Line and column of a byte. Bytes beyond the end or within a character count as what stands before them.
    fn place(&self, at: usize) -> (usize, usize) {
        let mut end = at.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        (1 + before.matches('\n').count(), 1 + before[start_of_line..].chars().count())
    }

    /// The book, in the order of the lines; what is missing from the file as a whole comes last.
    pub(super) fn close(self) -> Book {
        let order = |problem: &Problem| (problem.line == 0, problem.line, problem.column);
        let (mut problems, mut warnings) = (self.problems.into_inner(), self.warnings.into_inner());
        problems.sort_by_key(order);
        warnings.sort_by_key(order);
        Book { problems, warnings, asked: self.asked.into_inner() }
    }
}

/// A table of the file, there or not.
pub(super) struct Section<'a> {
    doc: &'a Document<'a>,
    /// `collect.listener`; empty at the root.
    path: String,
    table: Option<&'a DeTable<'a>>,
    at: Option<usize>,
    /// Something else stands where the table should; said already.
    broken: bool,
    asked: RefCell<Vec<&'static str>>,
}

/// A value of the file with its key.
#[derive(Clone)]
pub(super) struct Value<'a> {
    doc: &'a Document<'a>,
    pub(super) key: String,
    node: &'a DeValue<'a>,
    at: usize,
}

impl<'a> Value<'a> {
    /// Enters a mistake at this value.
    pub(super) fn problem(&self, found: impl IntoValue, advice: impl IntoValue) {
        self.doc.problem(Some(self.at), &self.key, found, advice);
    }

    /// Enters a warning at this value.
    pub(super) fn warn(&self, found: impl IntoValue, advice: impl IntoValue) {
        self.doc.warn(Some(self.at), &self.key, found, advice);
    }

    fn warn_of_exposed(&self, path: &Path, how: Exposed) {
        let (found, advice) = exposed(path, how);
        let said = (found.into_value(), advice.into_value());
        self.doc.coded_warning(Code::Permissions, Some(self.at), &self.key, said);
    }

    /// Enters what is wrong with the file at `path`, which this value names. A value that may be the secret itself,
    /// and no path, is not repeated.
    fn fault(&self, code: Code, path: &Path, fault: Fault) {
        let path = path.display().to_string();
        let hidden = keys::bears_secret(&self.key) && !plausible(&path);
        let found = if hidden { fault.found.replace(&path, message!("the file it names")) } else { fault.found };
        self.doc.coded_problem(code, Some(self.at), &self.key, (found, fault.advice));
    }

    /// A mistake in the type: says what was found, and what is wanted with an example.
    pub(super) fn wrong_type(&self, advice: impl IntoValue) {
        let hidden = keys::bears_secret(&self.key);
        self.problem(if hidden { kind(self.node) } else { describe(self.node) }, advice);
    }

    /// The text, if it is one; otherwise a mistake.
    pub(super) fn text(&self, advice: impl IntoValue) -> Option<&'a str> {
        if let DeValue::String(text) = self.node {
            Some(text)
        } else {
            self.wrong_type(advice);
            None
        }
    }

    /// The text of a time, in quotes or without; otherwise a mistake.
    pub(super) fn time_text(&self, advice: impl IntoValue) -> Option<String> {
        match self.node {
            DeValue::Datetime(time) => Some(time.to_string()),
            _ => self.text(advice).map(str::to_owned),
        }
    }

    /// The names and values of a table; otherwise a mistake.
    pub(super) fn entries(&self, advice: impl IntoValue) -> Option<Vec<(&'a str, Value<'a>)>> {
        let DeValue::Table(table) = self.node else {
            self.wrong_type(advice);
            return None;
        };
        let entry = |(name, value): (&'a Spanned<std::borrow::Cow<'_, str>>, &'a Spanned<DeValue<'a>>)| {
            let value = Value { doc: self.doc, key: self.key.clone(), node: value.get_ref(), at: value.span().start };
            (name.get_ref().as_ref(), value)
        };
        Some(table.iter().map(entry).collect())
    }

    /// A number as it is written, if it is a decimal one.
    pub(super) fn number(&self) -> Option<&'a str> {
        match self.node {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i128> {
        match self.node {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        }
    }

    /// The line it stands on, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.doc.place(self.at).0
    }

    /// Whether it is a text.
    pub(super) fn is_text(&self) -> bool {
        self.node.is_str()
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.node.is_table()
    }

    /// Whether it is an array.
    pub(super) fn is_array(&self) -> bool {
        self.node.is_array()
    }

    /// The elements, if it is an array; otherwise a mistake.
    pub(super) fn elements(&self, advice: impl IntoValue) -> Vec<Value<'a>> {
        let DeValue::Array(array) = self.node else {
            self.wrong_type(advice);
            return Vec::new();
        };
        let element = |value: &'a Spanned<DeValue<'a>>| Value {
            doc: self.doc,
            key: self.key.clone(),
            node: value.get_ref(),
            at: value.span().start,
        };
        array.iter().map(element).collect()
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(doc: &'a Document<'a>, table: &'a DeTable<'a>) -> Self {
        Self { doc, path: String::new(), table: Some(table), at: None, broken: false, asked: RefCell::default() }
    }

    /// Whether the file has it, whatever stands in it.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some() || self.broken
    }

    /// Whether the key stands in the file, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        let path = self.path_of(key);
        self.doc.asked.borrow_mut().insert(path.clone());
        self.raw(key).map(|value| Value { doc: self.doc, key: path, node: value.get_ref(), at: value.span().start })
    }

    fn raw(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// The text at the end of a path of tables, if there is one, without judging what stands on the way or asking for it:
    /// for what another table's default depends on.
    pub(super) fn glance(&self, path: &[&str]) -> Option<&'a str> {
        let (last, tables) = path.split_last()?;
        let mut table = self.table?;
        for name in tables {
            let (_, value) = table.iter().find(|(key, _)| key.get_ref() == *name)?;
            let DeValue::Table(inner) = value.get_ref() else { return None };
            table = inner;
        }
        match table.iter().find(|(key, _)| key.get_ref() == *last)?.1.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The table under a key.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        self.asked.borrow_mut().push(key);
        let value = self.raw(key);
        let mut section = Section {
            doc: self.doc,
            path: self.path_of(key),
            table: None,
            at: value.map(|value| value.span().start),
            broken: self.broken,
            asked: RefCell::default(),
        };
        match value.map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => section.table = Some(table),
            Some(other) => {
                let advice = message!("write a table: {header}", header = keys::header(&section.path));
                self.doc.problem(section.at, &section.path, describe(other), advice);
                section.broken = true;
            }
            None => {}
        }
        section
    }

    /// The tables of an array of tables under a key; `None` if there is no such key.
    pub(super) fn sections(&self, key: &'static str) -> Option<Vec<Section<'a>>> {
        self.asked.borrow_mut().push(key);
        let path = self.path_of(key);
        let value = self.raw(key)?;
        let wrong = |at: usize, found: &DeValue<'_>| {
            let advice = message!("write {header} above each, with two brackets", header = keys::header(&path));
            self.doc.problem(Some(at), &path, describe(found), advice);
        };
        let DeValue::Array(array) = value.get_ref() else {
            wrong(value.span().start, value.get_ref());
            return Some(Vec::new());
        };
        let mut sections = Vec::new();
        for element in array {
            let DeValue::Table(table) = element.get_ref() else {
                wrong(element.span().start, element.get_ref());
                continue;
            };
            sections.push(Section {
                doc: self.doc,
                path: path.clone(),
                table: Some(table),
                at: Some(element.span().start),
                broken: false,
                asked: RefCell::default(),
            });
        }
        Some(sections)
    }

    /// Enters that a key is missing, at the table's header if the file has one.
    pub(super) fn missing(&self, key: &str, advice: impl IntoValue) {
        if !self.broken {
            self.doc.problem(self.at, &self.path_of(key), message!("missing"), advice);
        }
    }

    /// Enters a mistake about the table as a whole, or about what is not there in it; an empty `key` is the table.
    pub(super) fn problem(&self, key: &str, found: impl IntoValue, advice: impl IntoValue) {
        let path = if key.is_empty() { self.path.clone() } else { self.path_of(key) };
        self.doc.problem(self.at, &path, found, advice);
    }

    /// Enters a mistake about a key's value that only shows beside others; where the key is not there, about the table.
    pub(super) fn problem_at(&self, key: &str, found: impl IntoValue, advice: impl IntoValue) {
        let at = self.raw(key).map(|value| value.span().start).or(self.at);
        self.doc.problem(at, &self.path_of(key), found, advice);
    }

    /// Enters a warning about the table as a whole.
    pub(super) fn warn(&self, key: &str, found: impl IntoValue, advice: impl IntoValue) {
        self.doc.warn(self.at, &self.path_of(key), found, advice);
    }

    /// The keys of the table that were not asked for, by name and line, for a file in which they are no mistakes.
    pub(super) fn left_over(self) -> Vec<String> {
        let asked = self.asked.borrow();
        let left = self.table.into_iter().flatten().map(|(name, _)| name);
        left.filter(|name| !asked.contains(&name.get_ref().as_ref()))
            .map(|name| {
                let path = self.path_of(&shown_key(name.get_ref()));
                format!("{path} (line {})", self.doc.place(name.span().start).0)
            })
            .collect()
    }

    /// Enters every key of the table that was not asked for.
    pub(super) fn finish(self) {
        let path = self.path.clone();
        self.finish_with(|name| keys::instead_of(&path, name));
    }

    /// The same, with what to write instead of each.
    pub(super) fn finish_with(self, instead: impl Fn(&str) -> Message) {
        let asked = self.asked.borrow();
        for (name, _) in self.table.into_iter().flatten() {
            if self.doc.is_full() {
                break;
            }
            if asked.contains(&name.get_ref().as_ref()) {
                continue;
            }
            let advice = instead(name.get_ref());
            let shown_path = self.path_of(&shown_key(name.get_ref()));
            self.doc.problem(Some(name.span().start), &shown_path, message!("unknown key"), advice);
        }
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str, advice: impl IntoValue) -> Option<(&'a str, Value<'a>)> {
        let value = self.get(key)?;
        value.text(advice).map(|text| (text, value))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        if let DeValue::Boolean(found) = value.node {
            return Some(*found);
        }
        value.wrong_type(message!("write true or false, without quotes"));
        None
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let list: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
        let advice = message!("write one of {words}", words = list.join(", "));
        let text = value.text(advice.clone())?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let advice = match keys::nearest(text, &known) {
                Some(near) => message!("{advice} (perhaps \"{near}\")", advice = advice, near = near),
                None => advice,
            };
            value.problem(found_text(text), advice);
        }
        found
    }

    /// An absolute path.
    pub(super) fn path(&self, key: &'static str) -> Option<(PathBuf, Value<'a>)> {
        let advice = message!("write an absolute path in quotes, such as \"/etc/tidegate/…\"");
        let (text, value) = self.text(key, advice)?;
        let path = Path::new(text);
        let absolute = path.is_absolute() && !text.contains('\0');
        if keys::bears_secret(&value.key) && (!absolute || looks_secret(text)) {
            value.problem(
                message!("found a value that is not a path (not shown, for it may be the secret itself)"),
                message!(
                    "put it into a file of its own, readable only by Tidegate, and write that file's path: {key} = \"/etc/tidegate/…\"",
                    key = key
                ),
            );
            return None;
        }
        if !absolute {
            value.problem(found_text(text), message!("write an absolute path: a service has no folder of its own"));
            return None;
        }
        Some((path.to_owned(), value))
    }

    /// The file system that a folder is on, or will be.
    pub(super) fn volume(&self, path: &Path) -> Option<Volume> {
        self.doc.surroundings.volume(path)
    }

    /// What stands where the store should be.
    pub(super) fn place(&self, path: &Path) -> Place {
        self.doc.surroundings.place(path)
    }

    /// Where a file that a key names is read: where it is, or where the service manager has put what stood in it.
    fn as_handed(&self, named: &Path, value: &Value<'a>) -> PathBuf {
        let Some(handed) = self.doc.surroundings.handed(named) else { return named.to_owned() };
        if handed.stale {
            let found = message!("{path} was changed after the service had started", path = named.display());
            let advice = message!(
                "restart the service (systemctl restart tidegate): until then it goes on with what stood there before"
            );
            let said = (found.into_value(), advice.into_value());
            self.doc.coded_warning(Code::RestartNeeded, Some(value.at), &value.key, said);
        }
        handed.path
    }

    /// A file that must be there and hold what it should.
    pub(super) fn file(&self, key: &'static str, content: Content) -> Option<(PathBuf, Value<'a>)> {
        let (named, value) = self.path(key)?;
        let path = self.as_handed(&named, &value);
        match self.doc.surroundings.usable(&path, content) {
            Ok(exposed) => {
                if let Some(how) = exposed.filter(|_| content != Content::Certificates) {
                    value.warn_of_exposed(&path, how);
                }
            }
            Err(fault) => {
                let code = match content {
                    Content::Certificates | Content::Key if value.key.starts_with("collect.listener.") => {
                        Code::ListenerTls
                    }
                    Content::Key | Content::Passwords => Code::Secret,
                    Content::Certificates | Content::Program => Code::ConfigWrong,
                };
                value.fault(code, &named, fault.about(&path, &named));
            }
        }
        Some((path, value))
    }

    /// Judges the program that a value names by its path.
    pub(super) fn program(&self, path: &str, value: &Value<'a>, content: Content) {
        if !Path::new(path).is_absolute() {
            value.problem(found_text(path), message!("write the program's absolute path first: no shell looks for it"));
            return;
        }
        match self.doc.surroundings.usable(Path::new(path), content) {
            Ok(Some(_)) => value.warn(
                message!("{path} may be changed by every user of this machine", path = path),
                message!("chmod it 755: Tidegate runs it with its own rights"),
            ),
            Ok(None) => {}
            Err(fault) => value.problem(fault.found, fault.advice),
        }
    }

    /// Enters a mistake at `key` if it names a private key that does not belong to the certificate.
    pub(super) fn belongs(&self, certificate: &Path, key: &(PathBuf, Value<'a>)) {
        if let Err(fault) = self.doc.surroundings.belongs(certificate, &key.0) {
            key.1.problem(fault.found, fault.advice);
        }
    }

    /// The secret in the file that a key names.
    pub(super) fn secret_file(&self, key: &'static str) -> Option<(Secret, Value<'a>)> {
        self.secret_of(key, false)
    }

    /// The same, where it is a mistake that every user may read the file.
    pub(super) fn guarded_secret_file(&self, key: &'static str) -> Option<(Secret, Value<'a>)> {
        self.secret_of(key, true)
    }

    fn secret_of(&self, key: &'static str, guarded: bool) -> Option<(Secret, Value<'a>)> {
        let (named, value) = self.path(key)?;
        let path = self.as_handed(&named, &value);
        match self.doc.surroundings.secret(&path) {
            Ok(file) => {
                if let Some(how) = file.exposed.filter(|_| guarded) {
                    let (found, advice) = exposed(&path, how);
                    let said = (found.into_value(), advice.into_value());
                    self.doc.coded_problem(Code::Permissions, Some(value.at), &value.key, said);
                } else if let Some(how) = file.exposed {
                    value.warn_of_exposed(&path, how);
                }
                Some((file.secret, value))
            }
            Err(fault) => {
                value.fault(Code::Secret, &named, fault.about(&path, &named));
                None
            }
        }
    }
}
