//! Text from outside, as it may stand in a log, in `status` and in a notice: cut, and without anything that would not stay
//! where it stands.
//!
//! Whoever answers for Flux, the metadata service or the status page chooses these texts, and people read them on terminals
//! and web pages. Control characters could rewrite a terminal, bidirectional overrides the line, characters without width
//! could hide something, and markup could become part of a page. Each is escaped, so that it shows.

/// Characters of a message that are kept: as much as a line of a log bears.
pub const MESSAGE: usize = 200;

/// A text of at most `limit` characters, without what is not seen where it stands; `…` says that it was cut.
pub fn shown(text: &str, limit: usize) -> String {
    escaped(text, limit, |_| false)
}

/// The same without `<` and `>`, for what is meant for web pages and may hold markup.
pub fn title(text: &str, limit: usize) -> String {
    escaped(text, limit, |character| matches!(character, '<' | '>'))
}

fn escaped(text: &str, limit: usize, other: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut characters = text.trim().chars();
    for character in characters.by_ref().take(limit) {
        if is_unseen(character) || other(character) {
            out.extend(character.escape_unicode());
        } else if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// Whether a character is not seen where it stands, and is no control character: marks and overrides of direction, characters
/// without width, separators of lines, tags. (Unicode 16, `Default_Ignorable_Code_Point` and `Bidi_Control`, without
/// variation selectors, which names in Japanese have.)
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_seen_is_escaped_and_what_people_read_stays() {
        assert_eq!(shown(" フラックスの保守 (Flux & API) \n", 50), "フラックスの保守 (Flux & API)");
        assert_eq!(shown("a\u{1b}[31m\u{202e}b\u{200b}c\tö", 50), "a\\u{1b}[31m\\u{202e}b\\u{200b}c\\tö");
        assert_eq!(shown("12345", 4), "1234…");
        assert_eq!(shown("<b>", 5), "<b>");
        assert_eq!(title("<b onload=x>", 50), "\\u{3c}b onload=x\\u{3e}");
        assert_eq!(shown("\u{e0041}\u{2066}", 5), "\\u{e0041}\\u{2066}");
    }

    proptest! {
        #[test]
        fn no_text_keeps_anything_that_is_not_seen(text in "\\PC{0,20}|.{0,20}|[\\u{0}-\\u{10ffff}]{0,20}", limit in 0_usize..30) {
            let title = title(&text, limit);
            prop_assert!(!title.chars().any(|c| c.is_control() || is_unseen(c) || "<>".contains(c)), "{title:?}");
            prop_assert!(title.chars().count() <= limit * 10 + 1);
        }
    }
}
