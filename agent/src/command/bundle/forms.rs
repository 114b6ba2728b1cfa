//! In which forms a value may stand in a text, and where it does.
//!
//! # How it works
//! A line is looked at as it stands, and with its escapes taken back, up to twice and in either order: percent-encoding (RFC 3986,
//! 2.1), of whichever characters and in either case, and backslashes as in JSON (RFC 8259, 7: also `\/` and `\u0041`), in Rust
//! and in C. `+` and a space are taken for the same, as forms have them (URL Standard, 5.1). What is found is told by where it
//! stands in the line as it was.
//!
//! base64 (RFC 4648) is not taken back, because nobody knows where it begins: those of its characters that depend on the value
//! alone are looked for instead, for each of the three places that a value may have in it. With them goes all that is
//! connected to them: `user:password` as a whole, and the characters at the ends, which tell some bits.
//!
//! A text that was cut says so by `…` or `...`: the beginning of a value goes where one of them follows, from [`SHORTEST`]
//! characters on. Ordinary words stay, unless a value begins with that very word and the text was cut behind it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Characters of the shortest value, and of the shortest beginning of one, that is looked for.
pub(super) const SHORTEST: usize = 4;

/// Characters of base64 that are looked for at the least: 36 bits, which chance does not bring about in a log of 4 MiB (it would
/// once in 10,000 of them).
const BASE64: usize = 6;

/// Bytes by which values are found: all have as many.
const KEY: usize = SHORTEST;

/// How often escapes are taken back: a text in JSON may hold an address that holds another.
const ROUNDS: usize = 2;

/// What stands where a text was cut: the agent's own mark, and other programs'.
const CUT: [&str; 2] = ["…", "..."];

/// One form of a value, `+` in it as a space.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    bytes: Vec<u8>,
    is_base64: bool,
}

/// The forms of all values.
#[derive(Debug, Default)]
pub(super) struct Forms {
    by_key: HashMap<[u8; KEY], BTreeSet<Form>>,
    /// The bytes that a form begins with, a bit each: most of a log is passed over by it.
    begins: [u64; 4],
}

impl Forms {
    /// Adds a value, if it is long enough to be told from ordinary words.
    pub(super) fn add(&mut self, value: &str) {
        if value.chars().count() < SHORTEST {
            return;
        }
        self.insert(value, false);
        for (before, from) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&[0; 2][..before], value.as_bytes()].concat();
            for all in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                // Six bits each; the first ones and the last one hold bits of what stands before or behind.
                let own = &all[from..bytes.len() * 8 / 6];
                match (own.len() >= BASE64, before) {
                    (true, _) => self.insert(own, true),
                    (false, 0) if all.len() >= BASE64 => self.insert(&all, true),
                    (false, _) => {}
                }
            }
        }
    }

    fn insert(&mut self, text: &str, is_base64: bool) {
        let bytes: Vec<u8> = text.bytes().map(folded).collect();
        if let Some(key) = bytes.first_chunk::<KEY>() {
            self.begins[usize::from(key[0] / 64)] |= 1 << (key[0] % 64);
            self.by_key.entry(*key).or_default().insert(Form { bytes, is_base64 });
        }
    }

    /// The text with a mark in the place of each value; `None` if none is there. With a mark of fewer than [`SHORTEST`]
    /// characters the text has fewer than before.
    pub(super) fn take_out(&self, text: &str, mark: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut found = false;
        for line in text.split_inclusive('\n') {
            let mut done = 0;
            for place in self.places(line) {
                found = true;
                out.extend([&line[done..place.start], mark]);
                done = place.end;
            }
            out.push_str(&line[done..]);
        }
        found.then_some(out)
    }

    /// Where values stand in a line, in order; places that overlap are one.
    fn places(&self, line: &str) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        for view in View::all(line) {
            for at in 0..view.bytes.len().saturating_sub(KEY - 1) {
                let first = folded(view.bytes[at]);
                if self.begins[usize::from(first / 64)] & 1 << (first % 64) == 0 {
                    continue;
                }
                let Some(forms) = view.key(at).and_then(|key| self.by_key.get(&key)) else { continue };
                for form in forms {
                    if let Some(end) = form.ends(&view.bytes, at) {
                        let run = if form.is_base64 { connected(&view.bytes, at..end) } else { at..end };
                        places.push(view.starts[run.start]..view.starts[run.end]);
                    }
                }
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for place in places {
            match merged.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => merged.push(place),
            }
        }
        merged
    }
}

impl Form {
    /// Where it ends that begins at `at`: whole, or cut.
    fn ends(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let same = self.bytes.iter().zip(&bytes[at..]).take_while(|(own, other)| **own == folded(**other)).count();
        if same == self.bytes.len() {
            return Some(at + same);
        }
        // The mark itself may begin as the value's next character does.
        let cut = (0..=same).rev().find(|length| !continues(self.bytes[*length]))?;
        let length = self.bytes[..cut].iter().filter(|byte| !continues(**byte)).count();
        (length >= SHORTEST && is_cut(&bytes[at + cut..])).then_some(at + cut)
    }
}

/// A line, or what it says once escapes are taken back.
struct View {
    bytes: Vec<u8>,
    /// Where each byte begins in the line, and where the line ends.
    starts: Vec<usize>,
}

/// What an escape at the beginning of some bytes stands for: its length, and the bytes. It stands for none where it was cut.
type Escape = fn(&[u8]) -> Option<(usize, Vec<u8>)>;

impl View {
    /// The line as it stands and in each other way in which it can be read.
    fn all(line: &str) -> Vec<Self> {
        let mut all = vec![Self { bytes: line.as_bytes().to_vec(), starts: (0..=line.len()).collect() }];
        let mut new = 0..1;
        for _ in 0..ROUNDS {
            for at in new.clone() {
                let read = [percent as Escape, backslash].into_iter().filter_map(|escape| all[at].read(escape));
                for view in read.collect::<Vec<_>>() {
                    // One kind of escapes after the other is mostly the same as the other after the one.
                    if all.iter().all(|other| other.bytes != view.bytes) {
                        all.push(view);
                    }
                }
            }
            new = new.end..all.len();
        }
        all
    }

    /// With one kind of escapes taken back; `None` if there is none.
    fn read(&self, escape: Escape) -> Option<Self> {
        let (mut bytes, mut starts, mut at) = (Vec::new(), Vec::new(), 0);
        let mut changed = false;
        while let Some(byte) = self.bytes.get(at) {
            let meant = escape(&self.bytes[at..]);
            changed |= meant.is_some();
            let (length, meant) = meant.unwrap_or_else(|| (1, vec![*byte]));
            starts.extend(meant.iter().map(|_| self.starts[at]));
            bytes.extend(meant);
            at += length;
        }
        starts.push(self.starts[at]);
        changed.then_some(Self { bytes, starts })
    }

    fn key(&self, at: usize) -> Option<[u8; KEY]> {
        self.bytes[at..].first_chunk::<KEY>().map(|key| key.map(folded))
    }
}

fn folded(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte }
}

/// Whether a byte is within a character (UTF-8).
fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn is_cut(bytes: &[u8]) -> bool {
    CUT.iter().any(|mark| bytes.starts_with(mark.as_bytes()))
}

/// All base64 that is connected to a part of it.
fn connected(bytes: &[u8], part: Range<usize>) -> Range<usize> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let before = bytes[..part.start].iter().rev().take_while(|byte| is_digit(byte)).count();
    let behind = bytes[part.end..].iter().take_while(|byte| is_digit(byte)).count();
    let padding = bytes[part.end + behind..].iter().take_while(|byte| **byte == b'=').count();
    part.start - before..part.end + behind + padding
}

/// A number in hexadecimal digits.
fn number(digits: Option<&[u8]>) -> Option<u32> {
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The length of an escape that the text was cut in.
fn cut_in(bytes: &[u8], has: fn(&u8) -> bool) -> Option<(usize, Vec<u8>)> {
    let length = 1 + bytes[1..].iter().take_while(|byte| has(byte)).count();
    is_cut(&bytes[length..]).then(|| (length, Vec::new()))
}

fn percent(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    if bytes.first() != Some(&b'%') {
        return None;
    }
    match number(bytes.get(1..3)).and_then(|number| u8::try_from(number).ok()) {
        Some(byte) => Some((3, vec![byte])),
        None => cut_in(bytes, u8::is_ascii_hexdigit),
    }
}

fn backslash(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (b'\\', kind) = (*bytes.first()?, *bytes.get(1)?) else { return None };
    let plain = |byte: u8| Some((2, vec![byte]));
    match kind {
        b'"' | b'\'' | b'\\' | b'/' => plain(kind),
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'x' => number(bytes.get(2..4)).and_then(|number| Some((4, vec![u8::try_from(number).ok()?]))),
        b'u' => unicode(bytes),
        _ => None,
    }
    .or_else(|| cut_in(bytes, |byte| matches!(byte, b'u' | b'x' | b'{') || byte.is_ascii_hexdigit()))
}

/// `\u0041`, a pair of surrogates (RFC 8259, 7), or Rust's `\u{41}`.
fn unicode(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (length, number) = if bytes.get(2) == Some(&b'{') {
        let digits = bytes[3..].iter().take(7).position(|byte| *byte == b'}')?;
        (digits + 4, number(bytes.get(3..3 + digits))?)
    } else {
        let one = |at: usize| number(bytes.get(at + 2..at + 6).filter(|_| bytes[at..].starts_with(b"\\u")));
        match (one(0)?, bytes.get(6).and_then(|_| one(6))) {
            (high @ 0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                (12, 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            }
            (number, _) => (6, number),
        }
    };
    Some((length, char::from_u32(number)?.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forms(values: &[&str]) -> Forms {
        let mut forms = Forms::default();
        for value in values {
            forms.add(value);
        }
        forms
    }

    #[test]
    fn a_value_is_found_however_it_is_encoded() {
        let forms = forms(&["BRKPW p@ss/w+rd=%oo44"]);
        for form in [
            "BRKPW p@ss/w+rd=%oo44",
            "BRKPW%20p%40ss%2Fw%2Brd%3D%25oo44",
            "BRKPW%20p%40ss%2fw%2brd%3d%25oo44",
            "BRKPW%20p%40ss/w%2Brd%3D%25oo44",
            "BRKPW+p%40ss%2Fw%2Brd%3D%25oo44",
            "%42%52%4B%50%57%20%70%40%73%73%2F%77%2B%72%64%3D%25%6F%6F%34%34",
            "BRKPW%2520p%2540ss%252Fw%252Brd%253D%2525oo44",
            r"BRKPW p@ss\/w+rd=%oo44",
            r"BRKPW\u0020p@ss\\/w+rd=%oo44",
            r"BRKPW\u{20}p\x40ss/w+rd=%oo44",
            r"BRKPW%20p%40ss\/w%2Brd%3D%25oo44",
        ] {
            assert_eq!(forms.take_out(&format!("a {form}, b\n"), "#").as_deref(), Some("a #, b\n"), "{form}");
        }
    }

    #[test]
    fn base64_is_found_with_something_before_and_behind_and_goes_as_a_whole() {
        let forms = forms(&["p@ss/w+rd"]);
        for pair in ["p@ss/w+rd", "u:p@ss/w+rd", "me:p@ss/w+rd", "you:p@ss/w+rd", "u:p@ss/w+rd;more", "??>p@ss/w+rd??>"]
        {
            for said in [STANDARD_NO_PAD.encode(pair), URL_SAFE_NO_PAD.encode(pair), STANDARD_NO_PAD.encode(pair) + "="]
            {
                assert_eq!(forms.take_out(&format!("Basic {said}, b"), "#").as_deref(), Some("Basic #, b"), "{pair}");
            }
        }
        assert_eq!(forms.take_out(&STANDARD_NO_PAD.encode("something else"), "#"), None);
    }

    #[test]
    fn the_beginning_of_a_value_goes_where_the_text_was_cut_and_words_stay() {
        let forms = forms(&["BRKPW p@ss/w+rd", "日本語の合言葉"]);
        for (text, left) in [
            ("x BRKPW+p%40s… y", "x #… y"),
            ("x BRKPW p%4… y", "x #… y"),
            (r"x BRKPW p@ss\…", "x #…"),
            (r"[BRKPW\u00\u2026]", r"[#\u2026]"),
            ("x BRKP...", "x #..."),
            ("x BRK…", ""),
            ("x BRKPW, y…", ""),
            ("日本語の…", "#…"),
            ("日本語…", ""),
        ] {
            assert_eq!(forms.take_out(text, "#").as_deref().unwrap_or_default(), left, "{text}");
        }
    }

    #[test]
    fn values_that_overlap_go_together() {
        let forms = forms(&["abcdEF", "EFGHij"]);
        assert_eq!(forms.take_out("1abcdEFGHij2 abcdEFEFGHij", "#").as_deref(), Some("1#2 ##"));
    }

    fn escaped(value: &str, how: &[u8]) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        for (at, byte) in value.bytes().enumerate() {
            let _ = match how[at % how.len()] {
                1 => write!(out, "%{byte:02X}"),
                2 => write!(out, "%{byte:02x}"),
                _ if byte == b' ' => write!(out, "+"),
                // These would be read as part of an escape.
                _ if b"%+".contains(&byte) => write!(out, "%{byte:02x}"),
                _ => write!(out, "{}", char::from(byte)),
            };
        }
        out
    }

    proptest! {
        #[test]
        fn no_encoding_hides_a_value(
            value in "[!-~][ -~]{3,20}[!-~]",
            how in proptest::collection::vec(0_u8..3, 1..6),
            before in "[a-z:]{0,5}", behind in "[a-z:]{0,5}",
        ) {
            let forms = forms(&[&value]);
            let json = serde_json::to_string(&value).expect("text").replace('/', "\\/");
            let json = json[1..json.len() - 1].to_owned();
            for said in [escaped(&value, &how), json] {
                let left = forms.take_out(&format!("{before} {said} {behind}"), "#");
                prop_assert_eq!(left, Some(format!("{before} # {behind}")), "{}", said);
            }
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{value}{behind}"));
            prop_assert_eq!(forms.take_out(&encoded, "#"), Some("#".to_owned()));
        }

        #[test]
        fn any_line_is_read_and_what_goes_makes_it_shorter(line in "[ -~…日%\\\\]{0,60}", value in "[ -~…日%\\\\]{4,8}") {
            let forms = forms(&[&value]);
            if let Some(left) = forms.take_out(&format!("{line}{value}{line}"), "[…]") {
                prop_assert!(left.chars().count() < line.chars().count() * 2 + value.chars().count());
            }
        }
    }
}
