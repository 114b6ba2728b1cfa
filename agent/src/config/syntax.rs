//! What the TOML parser says of a mistake, in words that can be said in another language.
//!
//! It says `<mistake>` or `<mistake>, expected <thing>, <thing>`. What is not known here, for the parser is newer or it is
//! seldom, stands as the parser says it.

use toml::de::Error;

use crate::language::{IntoValue, Message, Value, both, joined};
use crate::message;

/// What is wrong with a line, in the parser's words.
pub(super) fn said(fault: &Error) -> Message {
    let what = match fault.message().split_once(", expected ") {
        None => word(fault.message()),
        Some((what, things)) => {
            let things: Vec<Value> = things.split(", ").map(word).collect();
            message!("{what}, expected {things}", what = word(what), things = joined(&things, both)).into_value()
        }
    };
    message!("not TOML: {what}", what = what)
}

fn word(text: &str) -> Value {
    let of_type =
        text.strip_prefix("cannot extend value of type ").and_then(|rest| rest.strip_suffix(" with a dotted key"));
    if let Some(kind) = of_type {
        return message!("cannot extend value of type {kind} with a dotted key", kind = kind).into_value();
    }
    WORDS.iter().find(|known| known.template() == text).map_or_else(|| text.into_value(), IntoValue::into_value)
}

/// What the parser says (`toml` 0.9 with `toml_parser` 1.1), and what it expects.
const WORDS: &[Message] = &[
    message!("duplicate key"),
    message!("carriage return must be followed by newline"),
    message!("missing opening quote"),
    message!("missing comma between array elements"),
    message!("integers with a radix cannot be signed"),
    message!("radix must be lowercase"),
    message!("missing assignment between key-value pairs"),
    message!("unexpected leading zero"),
    message!("unclosed array table"),
    message!("missing key for inline table element"),
    message!("missing inline table opening"),
    message!("missing escaped value"),
    message!("missing array opening"),
    message!("invalid unquoted key"),
    message!("cannot recurse further; max recursion depth met"),
    message!("unquoted keys cannot be empty"),
    message!("unexpected sign"),
    message!("unexpected key or value"),
    message!("unexpected content"),
    message!("unexpected content between comment and newline"),
    message!("unexpected `=` in array"),
    message!("unclosed table"),
    message!("unclosed inline table"),
    message!("unclosed array"),
    message!("too few unicode value digits"),
    message!("string values must be quoted"),
    message!("redundant numeric sign"),
    message!("redundant integer number prefix"),
    message!("missing value"),
    message!("missing value for key"),
    message!("missing table open"),
    message!("missing comma between key-value pairs"),
    message!("keys cannot be multi-line literal strings"),
    message!("keys cannot be multi-line basic strings"),
    message!("key with no value"),
    message!("invalid value"),
    message!("invalid key-value pair"),
    message!("invalid inline table element"),
    message!("extra comma in inline table"),
    message!("extra comma in array"),
    message!("extra assignment between key-value pairs"),
    message!("extra `=`"),
    message!("`_` may only go between digits"),
    message!("invalid key"),
    message!("invalid string"),
    message!("invalid basic string"),
    message!("invalid literal string"),
    message!("invalid boolean"),
    message!("invalid date-time"),
    message!("invalid float"),
    message!("invalid integer number"),
    message!("invalid hexadecimal number"),
    message!("invalid octal number"),
    message!("invalid binary number"),
    message!("invalid mantissa"),
    message!("invalid fraction"),
    message!("invalid exponent"),
    message!("invalid table"),
    message!("invalid comment character"),
    message!("invalid multi-line basic string"),
    message!("invalid multi-line literal string"),
    message!("nothing"),
    message!("newline"),
    message!("key"),
    message!("value"),
    message!("digits"),
    message!("letters"),
    message!("numbers"),
    message!("characters"),
    message!("basic string"),
    message!("literal string"),
    message!("unquoted string"),
    message!("multi-line basic string"),
    message!("printable characters"),
    message!("non-double-quote visible characters"),
    message!("non-single-quote visible characters"),
    message!("unicode hexadecimal value"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;
    use toml::de::DeTable;

    #[test]
    fn what_the_parser_says_is_said_in_both_languages() {
        for (text, english) in [
            ("[gateway\n", "not TOML: unclosed table, expected `]`"),
            ("id = \"g\n", "not TOML: invalid basic string, expected `\"`"),
            ("id = g\n", "not TOML: string values must be quoted, expected literal string"),
            ("a = 1\na = 2\n", "not TOML: duplicate key"),
            ("a = [[1] [2]]\n", "not TOML: missing comma between array elements, expected `,`"),
            ("a.b = 1\na.b.c = 2\n", "not TOML: cannot extend value of type integer with a dotted key"),
            ("é = 1\n", "not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"),
        ] {
            let (_, faults) = DeTable::parse_recoverable(text);
            let message = said(faults.first().expect(text));
            assert_eq!(message.to_string(), english);
            let japanese = message.text(Language::Japanese);
            let parts = japanese.trim_start_matches("TOML").split(|c: char| !c.is_ascii_alphabetic());
            let words: Vec<&str> = parts.filter(|word| word.len() > 1 && *word != "integer").collect();
            assert!(words.is_empty(), "{japanese}");
        }
    }
}
