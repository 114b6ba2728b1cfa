//! Clauses of the terms of service, as people cite them: `5.1(2)`, `12`, `10.1(4)(3)`, `17.3`.

use std::fmt;
use std::str::FromStr;

use crate::said;
use crate::said::Said;

/// Bracketed numbers that a clause may end in: the terms nest them twice.
const MAX_ITEMS: usize = 2;

/// A place in the terms of service. Which places there are depends on the version of the terms, so any number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    article: u8,
    paragraph: Option<u8>,
    /// 0 where there is none.
    items: [u8; MAX_ITEMS],
}

/// A text is no clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::ADVICE)]
pub struct ClauseError;

impl ClauseError {
    /// What to write.
    pub const ADVICE: Said = said!("write a clause as the terms number it, such as \"5.1(2)\", \"11.1(3)\" or \"12\"");
}

impl Clause {
    /// `article.paragraph(item)(item)`. Items beyond the second are left out.
    pub const fn of(article: u8, paragraph: Option<u8>, items: &[u8]) -> Self {
        let mut held = [0; MAX_ITEMS];
        let mut at = 0;
        while at < items.len() && at < MAX_ITEMS {
            held[at] = items[at];
            at += 1;
        }
        Self { article, paragraph, items: held }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.article)?;
        if let Some(paragraph) = self.paragraph {
            write!(f, ".{paragraph}")?;
        }
        self.items.iter().filter(|item| **item > 0).try_for_each(|item| write!(f, "({item})"))
    }
}

impl FromStr for Clause {
    type Err = ClauseError;

    fn from_str(text: &str) -> Result<Self, ClauseError> {
        let (place, rest) = text.trim().split_at(text.trim().find('(').unwrap_or(text.trim().len()));
        let (article, paragraph) = match place.split_once('.') {
            Some((article, paragraph)) => (number(article)?, Some(number(paragraph)?)),
            None => (number(place)?, None),
        };
        let mut items = [0; MAX_ITEMS];
        let mut rest = rest;
        for item in &mut items {
            if rest.is_empty() {
                break;
            }
            let (inside, after) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or(ClauseError)?;
            *item = number(inside)?;
            rest = after;
        }
        if rest.is_empty() { Ok(Self { article, paragraph, items }) } else { Err(ClauseError) }
    }
}

/// A number from 1 to 255, without a sign.
fn number(text: &str) -> Result<u8, ClauseError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number > 0).ok_or(ClauseError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clauses_read_as_the_terms_number_them_and_nothing_else_does() {
        for text in ["5.1(2)", "12", "10.1(4)(3)", "17.3", "11.1(15)"] {
            assert_eq!(text.parse::<Clause>().expect(text).to_string(), text);
        }
        for text in ["", "5.", ".1", "5.1(2", "5.1()", "5.1(2)x", "5.1(1)(2)(3)", "0", "+5", "five", "5.1.1", "300"] {
            assert_eq!(text.parse::<Clause>(), Err(ClauseError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.()]{0,12}\\PC{0,3}") {
            if let Ok(clause) = text.parse::<Clause>() {
                prop_assert_eq!(clause.to_string().parse::<Clause>(), Ok(clause));
            }
        }
    }
}
