//! Changes a configuration's text, and leaves every byte alone that is not meant.
//!
//! # Constraints
//! - Comments, order, white space and line ends stay as somebody wrote them. So the text is not written anew from a tree: the tree is
//!   asked where things stand (the spans of the `toml` crate, which the reader of the configuration uses too), and the text is
//!   changed there.
//! - What is taken away becomes a comment, as keys that are not in use are in the default file; of a secret the comment names the file
//!   that has it then.
//! - After each change the text is read again. A form that this does not know how to change is an error, and nothing was changed.

use std::ops::Range;

use tidegate::code::Code;
use tidegate::language::Message;
use tidegate::message;
use toml::de::{DeTable, DeValue};

use crate::command::Coded;

/// A change that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} stands in a form that is not changed here; write {wanted} by hand, then run this again")]
pub(super) struct EditError {
    pub(super) key: String,
    pub(super) wanted: String,
}

impl EditError {
    /// The same for a person.
    pub(super) fn words(self) -> Coded {
        let Self { key, wanted } = self;
        let said = message!(
            "{key} stands in a form that is not changed here; write {wanted} by hand, then run this again",
            key = key,
            wanted = wanted,
        );
        Coded::new(said, Some(Code::ConfigWrong))
    }
}

/// A configuration's text. It is TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(String);

/// Where something stands.
struct Place {
    /// Its key's last part.
    key: Range<usize>,
    /// Its value; of a table with a header, the header.
    value: Range<usize>,
    is_table: bool,
    /// The lines of a table's own keys.
    own: Vec<Range<usize>>,
}

impl Text {
    /// A text, if it is TOML; else what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, Message> {
        DeTable::parse(text).map(|_| Self(text.to_owned())).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            message!("line {line}: {what}", line = before.matches('\n').count() + 1, what = error.message())
        })
    }

    /// The text as it stands.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether no key stands in it.
    pub(super) fn is_bare(&self) -> bool {
        DeTable::parse(&self.0).is_ok_and(|tree| tree.get_ref().is_empty())
    }

    /// What stands at a path: a text without its quotes, anything else as it is written.
    pub(super) fn get(&self, path: &[&str]) -> Option<String> {
        let tree = DeTable::parse(&self.0).ok()?;
        let (last, tables) = path.split_last()?;
        let mut table = tree.get_ref();
        for name in tables {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        let value = table.get(*last)?;
        let text = value.get_ref().as_str().map(str::to_owned);
        text.or_else(|| self.0.get(value.span()).map(str::to_owned))
    }

    fn find(&self, path: &[&str]) -> Option<Place> {
        let tree = DeTable::parse(&self.0).ok()?;
        let (last, tables) = path.split_last()?;
        let mut table = tree.get_ref();
        for name in tables {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        let (key, value) = table.get_key_value(*last)?;
        let mut own = Vec::new();
        if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table {
                let (key, value) = (key.span(), value.span());
                // A table with a header, or one that another's header implies, has its keys elsewhere; the key stands in the header.
                if value.start >= key.end {
                    own.push(key.start..value.end);
                }
            }
        }
        Some(Place { key: key.span(), value: value.span(), is_table: value.get_ref().is_table(), own })
    }

    fn end_of_line(&self, at: usize) -> usize {
        self.0[at..].find('\n').map_or(self.0.len(), |more| at + more + 1)
    }

    fn newline(&self) -> &'static str {
        if self.0.find('\n').is_some_and(|at| self.0[..at].ends_with('\r')) { "\r\n" } else { "\n" }
    }

    /// Whether a table has a header of its own.
    fn has_header(&self, place: &Place) -> bool {
        place.is_table && self.0[place.value.clone()].starts_with('[')
    }

    /// Sets a key to a value, which is written as TOML; makes its table if there is none.
    pub(super) fn set(&mut self, path: &[&str], value: &str) -> Result<(), EditError> {
        let Some((key, tables)) = path.split_last() else { return Ok(()) };
        let changed = if let Some(place) = self.find(path) {
            if place.is_table { None } else { Some(self.with(place.value, value)) }
        } else if let Some(table) = self.find(tables).filter(|table| self.has_header(table)) {
            let after = table.own.iter().map(|own| own.end).max().unwrap_or(table.value.end);
            let at = self.end_of_line(after);
            let nl = self.newline();
            let before = if self.0[..at].ends_with('\n') { "" } else { nl };
            Some(self.with(at..at, &format!("{before}{key} = {value}{nl}")))
        } else {
            let nl = self.newline();
            let before = match self.0.as_str() {
                "" => String::new(),
                text if text.ends_with('\n') => nl.to_owned(),
                _ => nl.repeat(2),
            };
            let at = self.0.len();
            Some(self.with(at..at, &format!("{before}[{}]{nl}{key} = {value}{nl}", tables.join("."))))
        };
        let wanted = format!("{key} = {value}");
        let changed = changed.and_then(|text| Self::new(&text).ok());
        match changed.filter(|text| text.find(path).is_some_and(|place| text.0[place.value] == *value)) {
            Some(changed) => {
                *self = changed;
                Ok(())
            }
            None => Err(EditError { key: path.join("."), wanted }),
        }
    }

    /// Takes a key away, or a table with a header and its own keys: a comment stays.
    pub(super) fn unset(&mut self, path: &[&str]) -> Result<(), EditError> {
        let Some(place) = self.find(path) else { return Ok(()) };
        let (first, more) = if self.has_header(&place) {
            (place.value, place.own)
        } else {
            (place.key.start..place.value.end, Vec::new())
        };
        let mut lines: Vec<Range<usize>> = std::iter::once(first).chain(more).collect();
        lines.sort_by_key(|range| range.start);
        let mut text = self.0.clone();
        for range in lines.iter().rev() {
            self.comment(&mut text, range, None);
        }
        self.without(path, &text)
    }

    /// Takes a key away: in the comment that stays another key and value stand in its place.
    pub(super) fn retire(&mut self, path: &[&str], key: &str, value: &str) -> Result<(), EditError> {
        let Some(place) = self.find(path) else { return Ok(()) };
        let mut text = self.0.clone();
        self.comment(&mut text, &(place.key.start..place.value.end), Some(&format!("{key} = {value}")));
        self.without(path, &text)
    }

    /// Makes comments of the lines of a range, in a text that is as this one up to the range's end.
    fn comment(&self, text: &mut String, range: &Range<usize>, instead: Option<&str>) {
        let begin = self.0[..range.start].rfind('\n').map_or(0, |end| end + 1);
        let end = self.end_of_line(range.end);
        let lines = match instead {
            Some(new) => [&self.0[begin..range.start], new, &self.0[range.end..end]].concat(),
            None => self.0[begin..end].to_owned(),
        };
        let commented: String = lines.split_inclusive('\n').flat_map(|line| ["#", line]).collect();
        text.replace_range(begin..end, &commented);
    }

    /// Takes a text that is to differ in nothing but that a path is not there.
    fn without(&mut self, path: &[&str], text: &str) -> Result<(), EditError> {
        let others = |text: &Self| text.leaves().into_iter().filter(|leaf| !leaf.starts_with(path)).collect::<Vec<_>>();
        match Self::new(text).ok().filter(|text| text.find(path).is_none() && others(text) == others(self)) {
            Some(changed) => {
                *self = changed;
                Ok(())
            }
            None => Err(EditError { key: path.join("."), wanted: "nothing in its place".into() }),
        }
    }

    /// The paths of all values.
    fn leaves(&self) -> Vec<Vec<String>> {
        fn walk(table: &DeTable<'_>, at: &[String], out: &mut Vec<Vec<String>>) {
            for (key, value) in table {
                let path: Vec<String> = at.iter().cloned().chain([key.get_ref().to_string()]).collect();
                match value.get_ref() {
                    DeValue::Table(table) => walk(table, &path, out),
                    _ => out.push(path),
                }
            }
        }
        let mut out = Vec::new();
        if let Ok(tree) = DeTable::parse(&self.0) {
            walk(tree.get_ref(), &[], &mut out);
        }
        out
    }

    fn with(&self, range: Range<usize>, new: &str) -> String {
        let mut text = self.0.clone();
        text.replace_range(range, new);
        text
    }
}

/// Whether a path of owned parts begins with another.
trait StartsWith {
    fn starts_with(&self, path: &[&str]) -> bool;
}

impl StartsWith for Vec<String> {
    fn starts_with(&self, path: &[&str]) -> bool {
        self.len() >= path.len() && self.iter().zip(path).all(|(own, other)| own == other)
    }
}

/// A text as TOML writes it (a basic string, TOML 1.0).
pub(super) fn quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", control as u32);
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Text {
        Text::new(text).expect("TOML")
    }

    #[test]
    fn a_value_is_changed_in_its_place_and_a_new_key_stands_with_its_table() {
        let mut it =
            text("# top\n[gateway] # g\nid = \"a\" # mine\n\n[forward]\n# way\n[forward.flux]\nkind = 'unified'");
        it.set(&["gateway", "id"], "\"b\"").expect("set");
        it.set(&["forward", "interface"], "\"wwan0\"").expect("set");
        it.set(&["forward", "flux", "url_file"], "\"/x\"").expect("set");
        it.set(&["limits", "events_per_month"], "5").expect("set");
        assert_eq!(
            it.as_str(),
            "# top\n[gateway] # g\nid = \"b\" # mine\n\n[forward]\ninterface = \"wwan0\"\n# way\n[forward.flux]\n\
             kind = 'unified'\nurl_file = \"/x\"\n\n[limits]\nevents_per_month = 5\n"
        );
        assert_eq!(it.get(&["forward", "flux", "kind"]).as_deref(), Some("unified"));
    }

    #[test]
    fn what_is_taken_away_becomes_a_comment_and_of_a_secret_where_it_is() {
        let mut it = text("[a]\n# why\nx = [\n 1,\n]\n y = \"\"\"\ns\"\"\" # c\nz = 1\n[b]\nq = 1\n");
        it.unset(&["a", "x"]).expect("unset");
        it.retire(&["a", "y"], "y_file", "\"/f\"").expect("retired");
        it.unset(&["b"]).expect("unset");
        assert_eq!(it.as_str(), "[a]\n# why\n#x = [\n# 1,\n#]\n# y_file = \"/f\" # c\nz = 1\n#[b]\n#q = 1\n");
    }

    #[test]
    fn a_form_that_is_not_known_is_an_error_and_nothing_is_changed() {
        for form in ["forward = { flux = { kind = \"unified\" } }\n", "[forward]\nflux.kind = \"unified\"\n"] {
            let mut it = text(form);
            assert!(it.set(&["forward", "flux", "url_file"], "\"/x\"").is_err(), "{form}");
            assert_eq!(it.as_str(), form);
            it.set(&["forward", "flux", "kind"], "\"webhook\"").expect("what is there can be changed");
        }
        let mut it = text("forward = { a = 1, b = 2 }\n");
        assert!(it.unset(&["forward", "a"]).is_err());
    }

    #[test]
    fn the_default_file_can_be_changed_and_a_text_is_read_as_it_was_written() {
        let mut it = text(tidegate::config::DEFAULT_FILE);
        for name in ["日本\"\\\n\u{7}", "plain"] {
            it.set(&["gateway", "id"], &quoted(name)).expect("set");
            assert_eq!(it.get(&["gateway", "id"]).as_deref(), Some(name));
        }
    }

    /// A table of a configuration as people write them: comments, blank lines, values of all kinds.
    fn table() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("# 注: a = 1".to_owned()),
            Just(String::new()),
            Just("  \t".to_owned()),
            "[ \t]{0,2}k[0-9]{1,6}[ ]?=[ ]?([0-9]{1,3}|true|\"[a-z#\\[]{0,5}\"|'é[a-z]{0,3}')([ ]{1,2}# c)?",
            "m[0-9]{1,6} = \\[\n *[0-9], # x\n\\]",
            "n[0-9]{1,6} = \"\"\"\n\\[limits\\]\nid = 1\n\"\"\"",
            "d[0-9]{1,6}\\.e = \\{ f = 1 \\}",
        ];
        prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn setting_a_key_keeps_every_other_line(
            parts in prop::collection::vec((0_usize..6, table()), 0..6),
            crlf in any::<bool>(), ends in any::<bool>(), which in 0_usize..3,
        ) {
            let heads = ["[gateway]", "[forward]", "[forward.flux] # h", "[limits]", "[[lane]]", "[ \"collect\" . listener ]"];
            let mut whole = String::from("# first\n");
            let mut used = Vec::new();
            for (head, body) in &parts {
                if *head == 4 || !used.contains(head) {
                    whole.extend([heads[*head], "\n", body, "\n"]);
                    used.push(*head);
                }
            }
            if !ends { whole.truncate(whole.trim_end().len()); }
            if crlf { whole = whole.replace('\n', "\r\n"); }
            let Ok(mut it) = Text::new(&whole) else { return Ok(()) };
            let path: &[&str] = [&["gateway", "id"][..], &["forward", "flux", "kind"], &["forward", "interface"]][which];
            it.set(path, "\"new\"").expect("a form that is known");
            prop_assert_eq!(it.get(path), Some("new".to_owned()));
            // Nothing goes, and at most a header, a blank line, the key and a line's end come.
            let mut rest = it.as_str().lines();
            for line in whole.lines() {
                prop_assert!(rest.any(|other| other == line), "{line:?} is gone or moved:\n{}", it.as_str());
            }
            prop_assert!(it.as_str().lines().count() <= whole.lines().count() + 3);
            // Line ends are as they were, in what is new too.
            let plain = it.as_str().replace("\r\n", "").contains('\n');
            prop_assert_eq!(plain, !whole.contains("\r\n"));
            let changed = it.clone();
            it.set(path, "\"old\"").expect("set again");
            prop_assert_eq!(it.as_str().replace("\"old\"", "\"new\""), changed.as_str());
        }
    }
}
