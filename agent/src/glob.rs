//! Small patterns for texts from outside: names of a status page's components, bodies and headers of answers.
//!
//! A pattern is found *anywhere* in a text, whatever the case: `flux` is found in `SORACOM Flux`. `*` stands for any number of
//! characters, `?` for any one; there is no other syntax, so nothing can be written that takes long. `*` alone is found in
//! every text, also in an empty one. Full-width Latin letters, as Japanese texts have them, count as the ordinary ones.

use crate::language::Message;
use crate::message;

use std::fmt;

/// Longest pattern in bytes.
pub const LONGEST: usize = 200;

/// A pattern.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    text: String,
    /// Folded, without a `*` at either end, which would say nothing.
    wanted: Vec<char>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum GlobError {
    /// It is empty.
    Empty,
    /// It is too long.
    TooLong,
}

impl GlobError {
    /// What is wrong.
    pub fn message(self) -> Message {
        match self {
            Self::Empty => message!("an empty pattern; write \"*\" for everything"),
            Self::TooLong => message!("a pattern of more than {most} bytes", most = LONGEST),
        }
    }
}

impl Glob {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > LONGEST {
            return Err(GlobError::TooLong);
        }
        let wanted = folded(text.trim_matches('*'), usize::MAX);
        Ok(Self { text: text.to_owned(), wanted })
    }

    /// Whether it is found in a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.is_in_folded(&folded(text, usize::MAX))
    }

    /// The same for a text that was [`folded`] before, for many patterns.
    pub fn is_in_folded(&self, text: &[char]) -> bool {
        // Each part between stars is found as early as possible behind the one before: no later place does better.
        let mut rest = text;
        self.wanted.split(|character| *character == '*').all(|part| {
            let found = (0..=rest.len().saturating_sub(part.len())).find(|at| {
                rest[*at..].len() >= part.len()
                    && rest[*at..].iter().zip(part).all(|(found, wanted)| *wanted == '?' || found == wanted)
            });
            found.map(|at| rest = &rest[at + part.len()..]).is_some()
        })
    }
}

/// At most `limit` characters of a text, without case and width, for [`Glob::is_in_folded`].
pub fn folded(text: &str, limit: usize) -> Vec<char> {
    let narrow = |character| match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        _ => character,
    };
    text.chars().take(limit).flat_map(|character| narrow(character).to_lowercase()).collect()
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> Glob {
        Glob::new(text).expect("a pattern")
    }

    #[test]
    fn a_pattern_is_found_anywhere_whatever_the_case_and_width() {
        for (pattern, text, found) in [
            ("flux", "SORACOM Flux", true),
            ("FLUX", "soracom flux (preview)", true),
            ("flux", "SORACOM Ｆｌｕｘ", true),
            ("フラックス", "ソラコム フラックス", true),
            ("flux", "SORACOM Beam", false),
            ("flux", "", false),
            ("*", "", true),
            ("***", "x", true),
            ("?", "", false),
            ("a?c", "xabcx", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "aec", false),
            ("sora*flux", "SORACOM Flux", true),
            ("flux*sora", "SORACOM Flux", false),
            ("aab", "aaab", true),
            ("MÜNCHEN", "münchen", true),
        ] {
            assert_eq!(glob(pattern).is_in(text), found, "{pattern} in {text}");
        }
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        assert_eq!(Glob::new(&"x".repeat(201)), Err(GlobError::TooLong));
    }

    #[test]
    fn no_pattern_takes_long() {
        let start = std::time::Instant::now();
        let text = folded(&"a".repeat(8 * 1024), usize::MAX);
        assert!(!glob(&"a*".repeat(99)).is_in_folded(&folded(&"b".repeat(8 * 1024), usize::MAX)));
        assert!(!glob(&format!("{}b", "a".repeat(199))).is_in_folded(&text));
        assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
    }

    /// The definition, slowly.
    fn defined(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => true,
            Some(('*', rest)) => (0..=text.len()).any(|at| defined(rest, &text[at..])),
            Some((wanted, rest)) => text
                .split_first()
                .is_some_and(|(found, left)| (*wanted == '?' || wanted == found) && defined(rest, left)),
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_the_definition_says(pattern in "[ab?*]{1,6}", text in "[abc]{0,8}") {
            let (wanted, chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let expected = (0..=chars.len()).any(|at| defined(&wanted, &chars[at..]));
            prop_assert_eq!(glob(&pattern).is_in(&text), expected, "{} in {}", pattern, text);
        }
    }
}
