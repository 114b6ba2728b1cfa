//! The little of DER (X.690) that is needed to read fields of a certificate: elements one behind the other, and strings.
//!
//! What cannot be read ends the walk; nothing here panics, whatever the bytes.

/// Tag of a sequence.
pub(crate) const SEQUENCE: u8 = 0x30;

/// Tag of a set.
pub(crate) const SET: u8 = 0x31;

/// Tag of an object identifier.
pub(crate) const OID: u8 = 0x06;

/// Tag of an octet string.
pub(crate) const OCTETS: u8 = 0x04;

/// A string of the directory (RFC 5280, section 4.1.2.4). Teletex is taken where it is ASCII; it says nothing else for
/// certain.
pub(crate) fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        // UTF-8, printable, IA5.
        0x0c | 0x13 | 0x16 => String::from_utf8(value.to_vec()).ok(),
        0x14 if value.is_ascii() => String::from_utf8(value.to_vec()).ok(),
        // Two bytes a character.
        0x1e if value.len() % 2 == 0 => {
            let units: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// The elements of a constructed value, one behind the other: tag and contents. Ends at what is no element.
pub(crate) struct Elements<'a>(pub(crate) &'a [u8]);

impl<'a> Elements<'a> {
    /// The contents of the next element, if it has this tag.
    pub(crate) fn tagged(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        // Long tags stand nowhere on the way; a certificate is below 16 MiB, so three bytes of length are enough.
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (tag & 0x1f != 0x1f).then_some((tag, contents))
    }
}
