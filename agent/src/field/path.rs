//! The way from a payload's root to a field.
//!
//! ```text
//! person.name           the member `name` of the member `person`
//! readings[].patient    the member `patient` of each element of the list `readings`
//! [].name               the payload itself is a list
//! "a.b"."c d"           names in quotes, in which `\"` and `\\` stand for a quote and a backslash
//! ```

use std::fmt;
use std::str::FromStr;

use crate::language::Message;
use crate::message;

/// Longest path in bytes, and most steps in one: no payload seen nests deeper than ten.
const MAX_BYTES: usize = 512;
const MAX_SEGMENTS: usize = 32;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// To the member of this name.
    Member(Box<str>),
    /// To each element of a list.
    Elements,
}

/// The way to a field; at least one step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Box<[Segment]>);

/// Why a text is no path, and what to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum PathFault {
    /// It is empty, or there is nothing between two dots.
    Empty,
    /// It is too long.
    TooLong,
    /// Brackets that are not `[]` behind a list's name.
    Brackets,
    /// A quoted name does not end, or something stands behind it.
    Quotes,
    /// A star.
    Star,
}

impl PathFault {
    /// What to write.
    pub fn message(self) -> Message {
        match self {
            Self::Empty => message!("write a name between the dots, as in person.name"),
            Self::TooLong => {
                message!("write at most {bytes} bytes and {steps} steps", bytes = MAX_BYTES, steps = MAX_SEGMENTS)
            }
            Self::Brackets => {
                message!("write [] behind a list's name for each of its elements, as in readings[].patient")
            }
            Self::Quotes => message!("write a name with dots or brackets in it in quotes, as in \"a.b\".c"),
            Self::Star => {
                message!("write each field by its name: `*` is none (a name that has one stands in quotes)")
            }
        }
    }
}

impl Path {
    /// Its steps.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Its first steps; at least one.
    #[must_use]
    pub fn first(&self, steps: usize) -> Self {
        Self(self.0[..steps.clamp(1, self.0.len())].into())
    }

    /// Whether it leads to the other, or to something within it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl FromStr for Path {
    type Err = PathFault;

    fn from_str(text: &str) -> Result<Self, PathFault> {
        if text.len() > MAX_BYTES {
            return Err(PathFault::TooLong);
        }
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            // At the beginning, and behind a dot: a name. Only the payload itself may be a list without one.
            if !(segments.is_empty() && rest.starts_with('[')) {
                let (name, after) = name(rest)?;
                segments.push(Segment::Member(name));
                rest = after;
            }
            while let Some(after) = rest.strip_prefix("[]") {
                segments.push(Segment::Elements);
                rest = after;
            }
            if segments.len() > MAX_SEGMENTS {
                return Err(PathFault::TooLong);
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Ok(Self(segments.into())),
                None if rest.starts_with(['[', ']']) => return Err(PathFault::Brackets),
                None => return Err(PathFault::Quotes),
            }
        }
    }
}

/// The name at the beginning of a text, and what stands behind it.
fn name(text: &str) -> Result<(Box<str>, &str), PathFault> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (mut name, mut chars) = (String::new(), quoted.char_indices());
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Ok((name.into(), &quoted[at + 1..])),
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => name.push(c),
                    _ => return Err(PathFault::Quotes),
                },
                c => name.push(c),
            }
        }
        return Err(PathFault::Quotes);
    }
    let end = text.find(['.', '[', ']', '"', '*']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if rest.starts_with('*') {
        return Err(PathFault::Star);
    }
    if name.is_empty() {
        return Err(if rest.starts_with(['[', ']']) { PathFault::Brackets } else { PathFault::Empty });
    }
    Ok((name.into(), rest))
}

/// A member's name as a path writes it: in quotes where it must be.
pub fn member(name: &str) -> String {
    if name.is_empty() || name.contains(['.', '[', ']', '"', '*']) {
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    } else {
        name.to_owned()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Elements => formatter.write_str("[]")?,
                Segment::Member(name) => {
                    if index > 0 {
                        formatter.write_str(".")?;
                    }
                    formatter.write_str(&member(name))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(name: &str) -> Segment {
        Segment::Member(name.into())
    }

    #[test]
    fn a_path_names_members_and_elements() {
        for (text, segments) in [
            ("name", vec![member("name")]),
            ("person.name", vec![member("person"), member("name")]),
            ("readings[].patient", vec![member("readings"), Segment::Elements, member("patient")]),
            ("[].name", vec![Segment::Elements, member("name")]),
            ("grid[][]", vec![member("grid"), Segment::Elements, Segment::Elements]),
            (r#""a.b"."c\"\\ d""#, vec![member("a.b"), member(r#"c"\ d"#)]),
            (r#""""#, vec![member("")]),
            ("Ort der Messung.größe-2", vec![member("Ort der Messung"), member("größe-2")]),
        ] {
            let path: Path = text.parse().expect(text);
            assert_eq!(path.segments(), segments, "{text}");
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_told_what_to_write() {
        for (text, fault) in [
            ("", PathFault::Empty),
            ("a..b", PathFault::Empty),
            ("a.", PathFault::Empty),
            (".a", PathFault::Empty),
            ("a[0]", PathFault::Brackets),
            ("a]", PathFault::Brackets),
            ("a[].[]", PathFault::Brackets),
            ("[]a", PathFault::Quotes),
            ("\"a", PathFault::Quotes),
            ("\"a\"b", PathFault::Quotes),
            ("\"a\\n\"", PathFault::Quotes),
            ("*.name", PathFault::Star),
            ("a*", PathFault::Star),
        ] {
            assert_eq!(text.parse::<Path>(), Err(fault), "{text}");
        }
        assert_eq!("a.".repeat(300).parse::<Path>(), Err(PathFault::TooLong));
        assert_eq!(vec!["a"; 33].join(".").parse::<Path>(), Err(PathFault::TooLong));
    }

    #[test]
    fn a_path_is_within_itself_and_what_it_passes() {
        let path = |text: &str| text.parse::<Path>().expect(text);
        assert!(path("a.b").is_within(&path("a")) && path("a").is_within(&path("a")));
        assert!(!path("a").is_within(&path("a.b")) && !path("ab").is_within(&path("a")));
    }

    proptest! {
        #[test]
        fn a_path_is_the_same_read_back(text in "[a.\\[\\]\"\\\\*é ]{0,12}") {
            if let Ok(path) = text.parse::<Path>() {
                prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
            }
        }
    }
}
