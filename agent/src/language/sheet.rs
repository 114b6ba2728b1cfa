//! Names beside values, and columns, as they stand on a terminal in either language.
//!
//! A Japanese character takes two cells, a combining one none (Unicode Standard Annex 11): columns are counted in cells.

use unicode_width::UnicodeWidthStr as _;

use super::{IntoValue, Language};

/// Cells that a text takes on a terminal.
pub fn cells(text: &str) -> usize {
    text.width()
}

/// A text with spaces behind it, at least so many cells wide.
pub fn left(text: &str, width: usize) -> String {
    let fill = width.saturating_sub(cells(text));
    format!("{text}{:fill$}", "")
}

/// A text with spaces before it, at least so many cells wide.
pub fn right(text: &str, width: usize) -> String {
    let fill = width.saturating_sub(cells(text));
    format!("{:fill$}{text}", "")
}

/// The widest of texts, in cells.
pub fn widest<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(cells).max().unwrap_or(0)
}

/// What is written for a person: it knows their language, so that what is written into it need not.
#[derive(Debug)]
pub struct Sheet {
    out: String,
    language: Language,
    names: usize,
}

impl Sheet {
    /// An empty one. `names`: cells of the column of names; a longer one is followed by a space nevertheless.
    pub fn new(language: Language, names: usize) -> Self {
        Self { out: String::new(), language, names }
    }

    /// The language that is written.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Something in the language that is written.
    pub fn say(&self, value: impl IntoValue) -> String {
        value.into_value().text(self.language)
    }

    /// Things one behind the other.
    pub fn list<T: IntoValue>(&self, parts: impl IntoIterator<Item = T>) -> String {
        let parts: Vec<String> = parts.into_iter().map(|part| self.say(part)).collect();
        parts.join(match self.language {
            Language::English => ", ",
            Language::Japanese => "、",
        })
    }

    /// The title of a section, after an empty line.
    pub fn title(&mut self, text: impl IntoValue) {
        let text = self.say(text);
        self.out.extend(["\n", &text, "\n"]);
    }

    /// A value beside its name.
    pub fn line(&mut self, name: impl IntoValue, value: impl IntoValue) {
        let (name, value) = (left(&self.say(name), self.names), self.say(value));
        self.out.extend(["  ", &name, " ", &value, "\n"]);
    }

    /// A line as it is.
    pub fn plain(&mut self, text: impl IntoValue) {
        let text = self.say(text);
        self.out.extend([&text, "\n"]);
    }

    /// Text as it is, with its own ends of lines.
    pub fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_cells() {
        assert_eq!((cells("abc"), cells("日本語"), cells("e\u{301}")), (3, 6, 1));
        assert_eq!(left("日本", 6), "日本  ");
        assert_eq!(right("日本", 6), "  日本");
        assert_eq!(left("日本語", 2), "日本語");
    }

    #[test]
    fn values_stand_under_each_other_whatever_the_names_are_written_in() {
        let mut sheet = Sheet::new(Language::Japanese, 8);
        sheet.line("名前", "1");
        sheet.line("name", "2");
        sheet.line("a long name", "3");
        assert_eq!(sheet.finish(), "  名前     1\n  name     2\n  a long name 3\n");
    }

    #[test]
    fn a_list_is_joined_as_its_language_joins() {
        assert_eq!(Sheet::new(Language::English, 0).list(["a", "b"]), "a, b");
        assert_eq!(Sheet::new(Language::Japanese, 0).list(["a", "b"]), "a、b");
    }
}
