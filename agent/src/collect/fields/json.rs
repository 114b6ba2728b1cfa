//! A cursor over JSON text (RFC 8259) that hands out tokens as they are written, and judges them on the way.
//!
//! serde's values would do for the structure, but not keep the text of what is untouched without a second parser for
//! each piece of it.

use std::borrow::Cow;

use super::MAX_DEPTH;

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no JSON, at this byte.
    NotJson(usize),
    /// It is nested too deep.
    TooDeep,
}

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Result<Self, Fault> {
        match std::str::from_utf8(payload) {
            Ok(text) => Ok(Self { text, at: 0 }),
            Err(error) => Err(Fault::NotJson(error.valid_up_to())),
        }
    }

    pub(super) fn fault<T>(&self) -> Result<T, Fault> {
        Err(Fault::NotJson(self.at))
    }

    /// The next byte behind white space; 0, which begins no token, at the end.
    pub(super) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Takes the next byte behind white space if it is this.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == byte;
        self.at += usize::from(taken);
        taken
    }

    /// Judges that nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.fault() }
    }

    /// Takes a string and hands it out with its quotes.
    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        if self.peek() != b'"' {
            return self.fault();
        }
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at += 1;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let hex =
                        |range| bytes.get(range).is_some_and(|digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit));
                    self.at += match bytes.get(self.at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') if hex(self.at + 2..self.at + 6) => 6,
                        _ => return self.fault(),
                    };
                }
                Some(0x20..) => self.at += 1,
                Some(_) | None => return self.fault(),
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at])
    }

    /// Takes a number.
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let (start, bytes) = (self.at, self.text.as_bytes());
        let digits = |at: &mut usize| {
            let first = *at;
            while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
                *at += 1;
            }
            *at > first
        };
        let mut at = start;
        at += usize::from(bytes.get(at) == Some(&b'-'));
        let zero = bytes.get(at) == Some(&b'0');
        let mut sound = if zero {
            at += 1;
            true
        } else {
            digits(&mut at)
        };
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            sound &= digits(&mut at);
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            sound &= digits(&mut at);
        }
        self.at = at;
        if sound { Ok(&self.text[start..at]) } else { self.fault() }
    }

    /// Takes any value and hands it out as it is written. `depth`: of what it stands in.
    pub(super) fn value(&mut self, depth: usize) -> Result<&'a str, Fault> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => drop(self.string()?),
            b'{' | b'[' => self.nested(first, depth + 1)?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => drop(self.number()?),
        }
        Ok(&self.text[start..self.at])
    }

    fn nested(&mut self, first: u8, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        let last = if first == b'{' { b'}' } else { b']' };
        self.at += 1;
        if self.take(last) {
            return Ok(());
        }
        loop {
            if first == b'{' {
                self.string()?;
                if !self.take(b':') {
                    return self.fault();
                }
            }
            self.value(depth)?;
            if self.take(last) {
                return Ok(());
            }
            if !self.take(b',') {
                return self.fault();
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            self.fault()
        }
    }
}

/// The characters of a string as it is written, quotes included, that [`Cursor::string`] has judged. `None` if an
/// escape is half of a pair (section 8.2), which is no character.
pub(super) fn characters(written: &str) -> Option<Cow<'_, str>> {
    let inner = &written[1..written.len() - 1];
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        let mut used = at + 2;
        let unit = |from: usize| u16::from_str_radix(rest.get(from..from + 4)?, 16).ok();
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = unit(used)?;
                used += 4;
                if let 0xd800..=0xdbff = first {
                    let second =
                        rest.get(used..used + 2).filter(|escape| *escape == "\\u").and_then(|_| unit(used + 2));
                    used += 6;
                    char::decode_utf16([first, second?]).next()?.ok()?
                } else {
                    char::from_u32(u32::from(first))?
                }
            }
            other => char::from(*other),
        });
        rest = &rest[used..];
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}
