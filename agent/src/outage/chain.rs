//! The lines of the file, and how each is bound to the one before it.
//!
//! ```text
//! <length> <digest> <entry>\n
//!
//! length   bytes of the entry, decimal
//! digest   SHA-256, lower-case hexadecimal, of the digest of the line before as it stands there (64 characters; 64
//!          zeros before the first line) followed by the bytes of the entry
//! entry    JSON without line breaks
//! ```
//!
//! So anyone can check it without this program: `printf '%s%s' "$digest_before" "$entry" | sha256sum`. An edit of any byte
//! shows in the line it is in, or in the one that follows. The chain is not signed: whoever changes an entry *and*
//! computes all digests after it anew is not found by the file alone, nor is who cuts off its end; only a digest that was
//! kept elsewhere (`tidegate outages --verify` shows the last one, each copy has them all) tells then.

use ring::digest::{SHA256, digest as sha256};

/// Characters of a digest.
const HEX: usize = 64;

/// The digest that the first line is chained to.
pub(super) const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The SHA-256 of some bytes in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(HEX);
    for byte in sha256(&SHA256, bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The digest of an entry behind a line with the digest `before`.
pub(super) fn digest(before: &str, entry: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(HEX + entry.len());
    bytes.extend_from_slice(before.as_bytes());
    bytes.extend_from_slice(entry);
    hash(&bytes)
}

/// Appends the line of an entry behind one with the digest `before`; gives its own digest.
pub(super) fn write(out: &mut Vec<u8>, before: &str, entry: &[u8]) -> String {
    let digest = digest(before, entry);
    out.extend_from_slice(format!("{} {digest} ", entry.len()).as_bytes());
    out.extend_from_slice(entry);
    out.push(b'\n');
    digest
}

/// A line as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Where it begins.
    pub(super) offset: usize,
    /// Its bytes with the line break.
    pub(super) len: usize,
    /// What the line says that its digest is; `None` if it is not made as a line is.
    pub(super) parts: Option<(&'a str, &'a [u8])>,
}

impl Line<'_> {
    /// Whether its digest is that of its entry behind `before`.
    pub(super) fn follows(&self, before: &str) -> bool {
        self.parts.is_some_and(|(stated, entry)| digest(before, entry) == stated)
    }
}

/// The lines of `bytes`; what stands behind the last line break is none.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = Line { offset, len: end + 1, parts: parts(&rest[..end]) };
        offset += end + 1;
        Some(line)
    })
}

fn parts(line: &[u8]) -> Option<(&str, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (length, rest) = (std::str::from_utf8(&line[..space]).ok()?, &line[space + 1..]);
    let (stated, rest) = rest.split_at_checked(HEX)?;
    let entry = rest.strip_prefix(b" ")?;
    // As it is written and in no other way: a changed byte that means the same is a changed byte.
    let plain = length == entry.len().to_string();
    let hex = stated.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain && hex { Some((std::str::from_utf8(stated).ok()?, entry)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_what_sha256sum_says_of_the_one_before_and_the_entry() {
        // printf 'abc' | sha256sum, and that digest with {} behind it.
        let first = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(b"abc"), first);
        let mut out = Vec::new();
        let second = write(&mut out, first, b"{}");
        assert_eq!(second, hash(format!("{first}{{}}").as_bytes()));
        assert_eq!(String::from_utf8(out).expect("text"), format!("2 {second} {{}}\n"));
    }

    #[test]
    fn a_line_is_only_what_is_written_as_one() {
        let mut out = Vec::new();
        write(&mut out, START, b"{\"a\":1}");
        assert!(lines(&out).next().is_some_and(|line| line.follows(START)));
        for at in 0..out.len() {
            for bit in 0..8 {
                let mut changed = out.clone();
                changed[at] ^= 1 << bit;
                assert!(!lines(&changed).next().is_some_and(|line| line.follows(START)), "byte {at}, bit {bit}");
            }
        }
        assert_eq!(lines(b"no line break").count(), 0);
    }
}
