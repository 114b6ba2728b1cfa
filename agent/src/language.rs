//! What a technician reads, in English and Japanese: messages as values, and the one catalogue of their Japanese.
//!
//! # Constraints
//! - **English stands in the code**, where the thing is said, and is the key of the Japanese: whoever changes an English
//!   sentence must look at the Japanese one, or the test of the catalogue fails.
//! - **None is missing**: `agent/tests/catalogue.rs` reads every [`message!`](crate::message) of the source and holds it to the
//!   catalogue, both ways, placeholders included. What the compiler can judge, it judges: a placeholder without a value, or a
//!   value without a placeholder, does not compile.
//! - What the protocol crate says ([`Said`]) is in the catalogue too, and becomes a message here.
//! - A message crosses the control socket as a value, because the agent runs under the service manager's locale and the
//!   technician reads in theirs. An agent of another version may say what this catalogue does not know; it then stands there
//!   in English.
//! - Logs are English: they are searched for, and sent to whoever makes Tidegate.
//!
//! # How it works
//! [`message!`](crate::message) makes a [`Message`] of a template and named values; [`Message::text`] looks the template up and fills the
//! values in. A value may itself be a message. The catalogue is TOML, one table of `"English" = "日本語"` for each area in
//! `language/ja/`, and is read at the first Japanese message only: the running agent, which logs in English, never pays
//! for it.

pub mod bound;
pub mod sheet;
pub mod system;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tidegate_protocol::notice::{Flaw, NoticeError};
use tidegate_protocol::said::{Part, Said, Worth, parts};

use crate::message;
use crate::texts;

/// Most messages within messages that are written out; a sentence with a clause with a time needs 3. The bound is for what
/// comes through a socket.
const DEPTH: usize = 8;

/// A language that messages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English, the language of the code.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

impl Language {
    /// The languages by their ISO 639-1 codes, as `--lang` takes them.
    pub const WORDS: [(&'static str, Self); 2] = [("en", Self::English), ("ja", Self::Japanese)];

    /// The language of a locale name such as `ja_JP.UTF-8`, `ja` or `C` (POSIX.1-2017, 8.2). `None` if it is neither of these.
    pub fn of_locale(name: &str) -> Option<Self> {
        let language = name.split(['_', '.', '@', '-']).next().unwrap_or_default();
        if matches!(language, "C" | "POSIX") {
            return Some(Self::English);
        }
        Self::WORDS.iter().find(|(word, _)| language.eq_ignore_ascii_case(word)).map(|(_, language)| *language)
    }

    /// The language that the environment asks for: the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is set and not empty
    /// (POSIX.1-2017, 8.2), English if it names none of ours.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set);
        locale.and_then(|name| Self::of_locale(&name)).unwrap_or_default()
    }
}

/// Something to be read by a person, in whichever language they read: a template, and what to fill in.
///
/// Made by [`message!`](crate::message). [`Display`](fmt::Display) writes the English, for logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The English, with `{name}` where a value belongs and `{{`, `}}` for braces.
    #[serde(rename = "message")]
    template: Cow<'static, str>,
    /// The values by name.
    #[serde(rename = "with", default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<(Cow<'static, str>, Value)>,
}

/// What stands in a message's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// As it is in every language: a name, a figure with its unit, an address, what somebody else said.
    Text(String),
    /// Something that is said differently in each.
    Message(Message),
}

impl Message {
    /// A message of a template and its values; [`message!`](crate::message) has the compiler hold the two to each other.
    pub fn new<const N: usize>(template: &'static str, values: [(&'static str, Value); N]) -> Self {
        let values = values.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect();
        Self { template: Cow::Borrowed(template), values }
    }

    /// A message of a template without values.
    pub const fn plain(template: &'static str) -> Self {
        Self { template: Cow::Borrowed(template), values: Vec::new() }
    }

    /// What the catalogue is asked for.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether nothing is filled in: then its English says all.
    pub fn is_plain(&self) -> bool {
        self.values.is_empty()
    }

    /// The message in a language; in English if the catalogue has no Japanese for it.
    pub fn text(&self, language: Language) -> String {
        let mut out = String::new();
        self.write(&mut out, language, DEPTH);
        out
    }

    fn write(&self, out: &mut String, language: Language, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return out.push('…') };
        let template = match language {
            Language::English => &*self.template,
            Language::Japanese => japanese(&self.template).unwrap_or(&self.template),
        };
        let mut after_value = false;
        for part in parts(template) {
            let text_after_value = std::mem::replace(&mut after_value, matches!(part, Part::Name(_)));
            match part {
                Part::Text(text) if text_after_value => out.push_str(close_up(out, text)),
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => match self.values.iter().find(|(of, _)| of == name) {
                    Some((_, Value::Text(text))) => out.push_str(text),
                    Some((_, Value::Message(message))) => message.write(out, language, depth),
                    // Another version's: what it would have been is still told.
                    None => out.extend(["{", name, "}"]),
                },
            }
        }
    }
}

/// What stands behind a value, without the space that would part a Japanese value from its particle: a template has it for
/// the values that are names and figures (`{path} を`).
fn close_up<'a>(before: &str, behind: &'a str) -> &'a str {
    let is_hiragana = |c: char| ('\u{3041}'..='\u{309f}').contains(&c);
    let is_japanese =
        |c: char| is_hiragana(c) || ('\u{30a1}'..='\u{30ff}').contains(&c) || ('\u{4e00}'..='\u{9fff}').contains(&c);
    let particle =
        behind.strip_prefix(' ').filter(|rest| rest.starts_with(is_hiragana) && before.ends_with(is_japanese));
    particle.unwrap_or(behind)
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        let value = |value| match value {
            Worth::Text(text) => Value::Text(text),
            Worth::Said(said) => Value::Message(said.into()),
        };
        let values = said.values.into_iter().map(|(name, worth)| (Cow::Borrowed(name), value(worth))).collect();
        Self { template: Cow::Borrowed(said.template), values }
    }
}

impl From<&Flaw> for Message {
    fn from(flaw: &Flaw) -> Self {
        message!("`{field}`: {problem}", field = &flaw.field, problem = flaw.problem.clone())
    }
}

impl From<&NoticeError> for Message {
    fn from(error: &NoticeError) -> Self {
        match error {
            NoticeError::Malformed { found } => {
                message!("it is not a notice in its envelope: {found}", found = found.clone())
            }
            NoticeError::Content(flaw) => {
                message!("{what}: {why}", what = error.said(), why = Message::from(flaw))
            }
            other => other.said().into(),
        }
    }
}

impl Value {
    /// It in a language.
    pub fn text(&self, language: Language) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Message(message) => message.text(language),
        }
    }

    /// The same with another value where a text stands for itself among its values, such as a path that is not to be shown;
    /// in a text, its English.
    #[must_use]
    pub fn replace(self, text: &str, by: impl IntoValue) -> Self {
        let by = by.into_value();
        match self {
            Self::Text(whole) if whole == text => by,
            Self::Text(whole) => Self::Text(whole.replace(text, &by.to_string())),
            Self::Message(mut message) => {
                for (_, value) in &mut message.values {
                    *value = std::mem::take(value).replace(text, by.clone());
                }
                Self::Message(message)
            }
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// The message, if it is said differently in each language: what is sent beside its English.
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Text(_) => None,
            Self::Message(message) => Some(message),
        }
    }
}

impl Default for Value {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Message(message) => message.fmt(f),
        }
    }
}

/// What was kept as English text, in a language: if it is a message without values, as the catalogue has it, otherwise as it
/// stands. For what lasts longer than a version of Tidegate and is bounded in bytes, such as the log of notices.
pub fn again(english: &str, language: Language) -> &str {
    match language {
        Language::English => english,
        Language::Japanese => japanese(english).unwrap_or(english),
    }
}

/// Parts as one value, two and two joined: halved, so that many are not nested deeper than they are written out.
pub fn joined(parts: &[Value], join: fn(Value, Value) -> Message) -> Value {
    match parts {
        [] => Value::default(),
        [one] => one.clone(),
        more => {
            let (before, behind) = more.split_at(more.len() / 2);
            join(joined(before, join), joined(behind, join)).into_value()
        }
    }
}

/// Things one behind the other, for [`joined`].
pub fn both(one: Value, other: Value) -> Message {
    message!("{one}, {other}", one = one, other = other)
}

/// Alternatives: one or another.
pub fn either(parts: &[Value]) -> Value {
    joined(parts, |one, other| message!("{one} or {other}", one = one, other = other))
}

/// So that it can say why a word of the command line is refused.
impl std::error::Error for Message {}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text(Language::English))
    }
}

/// What can stand in a message's place: texts, numbers and messages.
pub trait IntoValue {
    /// The value.
    fn into_value(self) -> Value;
}

impl IntoValue for Message {
    fn into_value(self) -> Value {
        Value::Message(self)
    }
}

impl IntoValue for Said {
    fn into_value(self) -> Value {
        Value::Message(self.into())
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl<T: IntoValue + Clone> IntoValue for &T {
    fn into_value(self) -> Value {
        self.clone().into_value()
    }
}

impl IntoValue for String {
    fn into_value(self) -> Value {
        Value::Text(self)
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl IntoValue for std::path::Display<'_> {
    fn into_value(self) -> Value {
        Value::Text(self.to_string())
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl IntoValue for $number {
            fn into_value(self) -> Value {
                Value::Text(self.to_string())
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, usize, i32, i64, std::net::SocketAddr, crate::field::Path);

/// Makes a [`Message`](crate::language::Message): a template with named places, then the values.
///
/// ```
/// use tidegate::{language::Language, message};
/// let message = message!("{count} records wait in {lane}", count = 3_u64, lane = "normal");
/// assert_eq!(message.text(Language::English), "3 records wait in normal");
/// ```
#[macro_export]
macro_rules! message {
    ($template:literal $(,)?) => {{
        // Never run, and made of nothing outside: has the compiler see that there is no place, also where this is a constant.
        const _: fn() = || {
            let _ = ::std::format_args!($template);
        };
        $crate::language::Message::plain($template)
    }};
    ($template:literal $(, $name:ident = $value:expr)+ $(,)?) => {{
        // Never run: has the compiler hold places and values to each other.
        if false {
            let _ = ::std::format_args!($template $(, $name = "")+);
        }
        $crate::language::Message::new(
            $template,
            [$((::std::stringify!($name), $crate::language::IntoValue::into_value($value))),+],
        )
    }};
}

/// The names of a template's places, sorted: what a translation must have too.
pub fn places(template: &str) -> Vec<&str> {
    let name = |part| if let Part::Name(name) = part { Some(name) } else { None };
    let mut names: Vec<&str> = parts(template).into_iter().filter_map(name).collect();
    names.sort_unstable();
    names
}

/// Every entry of the catalogue as its files have it: the area, the English, the Japanese.
///
/// # Errors
/// The file that is not a table of texts, and why.
pub fn entries() -> Result<Vec<(&'static str, String, String)>, String> {
    let mut out = Vec::new();
    let mut areas: Vec<_> =
        texts::all().iter().filter_map(|(file, text)| Some((file.strip_suffix(".toml")?, text))).collect();
    areas.sort_unstable();
    for (area, text) in areas {
        let table: toml::map::Map<String, toml::Value> =
            toml::from_str(text).map_err(|error| format!("{area}.toml: {error}"))?;
        for (english, japanese) in table {
            let toml::Value::String(japanese) = japanese else {
                return Err(format!("{area}.toml: {english:?} is no text"));
            };
            out.push((area, english, japanese));
        }
    }
    Ok(out)
}

/// The Japanese template of an English one.
fn japanese(english: &str) -> Option<&'static str> {
    static READ: OnceLock<HashMap<String, String>> = OnceLock::new();
    let read = || {
        // A test reads it; in the field, a catalogue that could not be read is one that has nothing.
        let entries = entries().unwrap_or_default();
        entries.into_iter().map(|(_, english, japanese)| (english, japanese)).collect()
    };
    READ.get_or_init(read).get(english).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_names_a_language() {
        for (name, language) in [
            ("ja_JP.UTF-8", Some(Language::Japanese)),
            ("ja", Some(Language::Japanese)),
            ("JA-jp", Some(Language::Japanese)),
            ("en_GB.UTF-8", Some(Language::English)),
            ("C.UTF-8", Some(Language::English)),
            ("POSIX", Some(Language::English)),
            ("jam_JM", None),
            ("de_DE@euro", None),
            ("", None),
        ] {
            assert_eq!(Language::of_locale(name), language, "{name}");
        }
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let of = |set: &[(&str, &str)]| {
            Language::of_environment(|name| {
                set.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), Language::English);
        assert_eq!(of(&[("LANG", "ja_JP.UTF-8")]), Language::Japanese);
        assert_eq!(of(&[("LANG", "ja_JP.UTF-8"), ("LC_MESSAGES", "en_US.UTF-8")]), Language::English);
        assert_eq!(of(&[("LANG", "ja_JP.UTF-8"), ("LC_ALL", "")]), Language::Japanese);
        assert_eq!(of(&[("LANG", "ja_JP.UTF-8"), ("LC_ALL", "de_DE.UTF-8")]), Language::English);
    }

    #[test]
    fn values_stand_in_their_places_and_braces_where_they_are_doubled() {
        let inner = Message::new("since {time}", [("time", "12:00".into_value())]);
        let outer =
            Message::new("{{{count}}} wait {since}", [("since", inner.into_value()), ("count", 3_u64.into_value())]);
        assert_eq!(outer.to_string(), "{3} wait since 12:00");
        assert_eq!(places("{{{b}}} {a} {"), ["a", "b"]);
    }

    #[test]
    fn a_message_of_another_version_is_shown_as_far_as_it_goes() {
        let message: Message =
            serde_json::from_str(r#"{"message":"new {thing} of {nobody} {","with":[["thing","words"]]}"#)
                .expect("a message");
        assert_eq!(message.text(Language::Japanese), "new words of {nobody} {");
        let again: Message = serde_json::from_str(&serde_json::to_string(&message).expect("JSON")).expect("a message");
        assert_eq!(again, message);
    }

    #[test]
    fn messages_within_messages_end() {
        let mut message = Message::new("end", []);
        for _ in 0..100 {
            message = Message::new("({in})", [("in", message.into_value())]);
        }
        assert_eq!(message.to_string(), format!("{}…{}", "(".repeat(DEPTH), ")".repeat(DEPTH)));
    }

    #[test]
    fn what_was_kept_as_english_is_said_in_japanese_where_the_catalogue_has_it() {
        assert_eq!(again("because", Language::Japanese), "原因");
        assert_eq!(again("because", Language::English), "because");
        assert_eq!(again("what nobody says", Language::Japanese), "what nobody says");
    }

    #[test]
    fn a_particle_stands_close_to_a_japanese_value() {
        let unreadable = |path: Value| message!("cannot read {path}", path = path).text(Language::Japanese);
        assert_eq!(unreadable("/etc/x".into_value()), "/etc/x を読めません");
        assert_eq!(unreadable(message!("the file it names").into_value()), "指定されたファイルを読めません");
        assert_eq!(close_up("ID", " を"), " を");
        assert_eq!(close_up("時計", " {"), " {");
    }

    #[test]
    fn japanese_comes_from_the_catalogue() {
        assert_eq!(crate::message!("because").text(Language::Japanese), "原因");
    }
}
