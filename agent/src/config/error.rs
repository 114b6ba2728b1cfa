//! What is wrong with a configuration, said so that it can be corrected without this program's source.

use std::fmt;

use crate::chain::said;
use crate::code::Code;
use crate::language::{IntoValue, Language, Message, Value};
use crate::message;

/// Longest piece of the file that a message repeats, in characters: a value pasted into the wrong place must not fill
/// the terminal.
const SHOWN: usize = 60;

/// What is read where no file is named, as the source of a configuration or notice.
pub const STANDARD_INPUT: &str = "standard input";

/// One thing that is wrong, or (as a warning) probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// Column in characters, counted from 1; 0 like `line`.
    pub column: usize,
    /// The key with its tables, such as `store.max_size`; empty for a mistake in the TOML itself.
    pub key: String,
    /// What was found.
    pub found: Value,
    /// What to write instead, or what to do.
    pub advice: Value,
    /// The code whose page says what to do.
    pub code: Code,
}

impl Problem {
    /// The whole of it in a language.
    pub fn text(&self, language: Language) -> String {
        self.message().text(language)
    }

    /// The whole of it: where, what, and what to do.
    pub fn message(&self) -> Message {
        let (found, advice) = (&self.found, &self.advice);
        let what = if self.key.is_empty() {
            message!("{found}; {advice}", found = found, advice = advice)
        } else {
            message!("{key}: {found}; {advice}", key = &self.key, found = found, advice = advice)
        };
        if self.line == 0 {
            return what;
        }
        message!("line {line}, column {column}: {what}", line = self.line, column = self.column, what = what)
    }
}

impl Problem {
    /// Where and what, without what to do.
    pub fn place_and_found(&self) -> Message {
        let found = &self.found;
        match (self.line, self.key.is_empty()) {
            (0, _) => message!("{key}: {found}", key = &self.key, found = found),
            (line, true) => message!("line {line}: {found}", line = line, found = found),
            (line, false) => message!("line {line}: {key}: {found}", line = line, key = &self.key, found = found),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)
    }
}

/// Everything that is wrong with a configuration, in the order of the lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    /// What was read, usually a path.
    pub source_name: String,
    /// The mistakes.
    pub problems: Vec<Problem>,
}

impl Errors {
    /// The code whose page says what to do: that of the mistakes, if they have the same.
    pub fn code(&self) -> Code {
        let mut codes = self.problems.iter().map(|problem| problem.code);
        let first = codes.next().unwrap_or(Code::ConfigWrong);
        if codes.all(|code| code == first) { first } else { Code::ConfigWrong }
    }
}

impl std::error::Error for Errors {}

impl Errors {
    /// How many there are and the first of them, in one line.
    pub fn summary(&self) -> Message {
        let first = self.problems.first().map(Problem::message).unwrap_or(message!("missing"));
        match self.problems.len() {
            0 | 1 => first,
            count => message!("{count} mistakes, first {problem}", count = count, problem = first),
        }
    }

    /// All of them, a line each: what is read, and how many, and then each.
    pub fn lines(&self) -> Vec<Message> {
        let source = match &*self.source_name {
            STANDARD_INPUT => message!("standard input").into_value(),
            path => path.into_value(),
        };
        let heading = match self.problems.len() {
            1 => message!("{file}: 1 mistake", file = source),
            count => message!("{file}: {count} mistakes", file = source, count = count),
        };
        let problems = self.problems.iter().map(Problem::message);
        [heading].into_iter().chain(problems).collect()
    }

    /// The same in a language.
    pub fn text(&self, language: Language) -> String {
        let lines: Vec<String> = self.lines().iter().map(|line| line.text(language)).collect();
        lines.join("\n  ")
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Language::English))
    }
}

/// What stands in several lines, such as [`Errors::lines`], in one: the heading and the first.
pub fn first_of_lines(lines: &[Value]) -> Option<Value> {
    match lines {
        [] => None,
        [one] => Some(one.clone()),
        [heading, first, ..] => Some(message!("{what}: {why}", what = heading, why = first).into_value()),
    }
}

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text(Language::English))]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    Unreadable {
        /// Its path.
        path: String,
        /// What to do.
        advice: Message,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Nothing stands in it but comments.
    NotConfigured {
        /// Its path.
        path: String,
    },
    /// It was read and is wrong.
    Wrong(Errors),
}

impl From<Errors> for LoadError {
    fn from(errors: Errors) -> Self {
        Self::Wrong(errors)
    }
}

impl LoadError {
    /// It in a language.
    pub fn text(&self, language: Language) -> String {
        match self {
            Self::Wrong(errors) => errors.text(language),
            other => other.words().text(language),
        }
    }

    /// It as a value; of one that is wrong, how many mistakes there are and the first.
    pub fn words(&self) -> Value {
        match self {
            Self::Wrong(errors) => first_of_lines(&self.passed_over()).unwrap_or_else(|| errors.summary().into_value()),
            Self::Unreadable { path, advice, .. } => {
                message!("cannot read the configuration {path}; {advice}", path = path, advice = advice).into_value()
            }
            Self::NotConfigured { path } => message!(
                "{path} is not configured yet: nothing stands in it but comments; run `sudo tidegate setup`, or write it by hand \
                 (`tidegate config default` prints every key with its default)",
                path = path
            )
            .into_value(),
        }
    }

    /// It with its causes, a line each, where another configuration is used instead: without the way to a first one.
    pub fn passed_over(&self) -> Vec<Value> {
        match self {
            Self::NotConfigured { path } => {
                vec![message!("nothing but comments stands in {path}", path = path).into_value()]
            }
            Self::Wrong(errors) => errors.lines().into_iter().map(IntoValue::into_value).collect(),
            Self::Unreadable { .. } => vec![said(self)],
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::ConfigUnreadable,
            Self::NotConfigured { .. } => Code::NotConfigured,
            Self::Wrong(errors) => errors.code(),
        }
    }
}

/// What the secrets of SORACOM are known by: the secret half of an authentication key, and the path of a webhook.
const SECRET_MARKS: [&str; 2] = ["secret-", "incoming_webhooks"];

/// Whether a text looks like a secret, or like an address that may be one, and not like a path or a word.
pub(super) fn looks_secret(text: &str) -> bool {
    text.contains("://") || SECRET_MARKS.iter().any(|mark| text.contains(mark))
}

/// A piece of the file as a message shows it: quoted, control characters escaped, cut to [`SHOWN`] characters. What
/// looks like a secret is not shown, whatever the key.
pub(super) fn shown(text: &str) -> Value {
    if looks_secret(text) {
        return message!("a URL or a key, which is not shown here").into_value();
    }
    let mut out = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN {
            out.push('…');
            break;
        }
        match character {
            '"' => out.push('"'),
            _ => out.extend(character.escape_debug()),
        }
    }
    out.push('"');
    Value::Text(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_no_line_is_said_without_one() {
        let problem = |line, key: &str| Problem {
            code: Code::ConfigWrong,
            line,
            column: 1,
            key: key.into(),
            found: message!("missing").into_value(),
            advice: message!("remove it").into_value(),
        };
        assert_eq!(problem(0, "store.path").place_and_found().to_string(), "store.path: missing");
        assert_eq!(problem(3, "store.path").place_and_found().to_string(), "line 3: store.path: missing");
        assert_eq!(problem(3, "").place_and_found().to_string(), "line 3: missing");
    }
}
