//! The names in a device's certificate.
//!
//! # Constraints
//! - Only certificates whose chain rustls has checked come here, yet a careless authority signs anything: what cannot
//!   be read gives no name, never a panic, and no more than 32 names of 256 bytes are kept.
//! - rustls judges certificates and tells no names; of X.509 all that is needed here is the way to two fields.
//!
//! # Format
//! DER (X.690) of a certificate (RFC 5280, section 4.1):
//!
//! ```text
//! SEQUENCE { SEQUENCE tbs { [0] version?  serial  algorithm  issuer  validity  subject  key  [1]? [2]? [3] extensions? } … }
//! subject     SEQUENCE of SET of SEQUENCE { OID 2.5.4.3 (common name)  text }
//! extensions  SEQUENCE of SEQUENCE { OID 2.5.29.17 (alternative names)  critical?  OCTET STRING { SEQUENCE of name } }
//! name        [1] mail address · [2] DNS name · [6] URI · [7] IP address, in context tags
//! ```

use std::net::IpAddr;

use crate::der::{Elements, OCTETS, OID, SEQUENCE, SET, text};

#[cfg(test)]
mod tests;

/// Most names kept of one certificate: a device's has one or two.
const MAX_NAMES: usize = 32;

/// Longest name kept, in bytes; a DNS name has at most 253.
const MAX_NAME: usize = 256;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// The common name and the alternative names in a certificate, as far as they can be read.
pub fn names(der: &[u8]) -> Box<[Box<str>]> {
    let mut names = Vec::new();
    // What stands before a fault is kept; the chain was checked, so there should be none.
    let _ = read(der, &mut names);
    names.into()
}

fn read(der: &[u8], names: &mut Vec<Box<str>>) -> Option<()> {
    let mut certificate = Elements(Elements(der).tagged(SEQUENCE)?);
    let mut fields = Elements(certificate.tagged(SEQUENCE)?);
    let (first, _) = fields.next()?;
    // With a version, three fields stand before the validity, and without one the first of them is gone already.
    let before_subject = if first == 0xa0 { 4 } else { 3 };
    for _ in 0..before_subject {
        fields.next()?;
    }
    for (_, set) in Elements(fields.tagged(SEQUENCE)?).filter(|(tag, _)| *tag == SET) {
        for (_, pair) in Elements(set).filter(|(tag, _)| *tag == SEQUENCE) {
            let mut pair = Elements(pair);
            if pair.tagged(OID) == Some(COMMON_NAME) {
                let (tag, value) = pair.next()?;
                keep(names, text(tag, value));
            }
        }
    }
    let extensions = fields.find(|(tag, _)| *tag == 0xa3)?.1;
    for (_, extension) in Elements(Elements(extensions).tagged(SEQUENCE)?) {
        let mut parts = Elements(extension);
        if parts.tagged(OID) != Some(ALTERNATIVE_NAMES) {
            continue;
        }
        let octets = parts.find(|(tag, _)| *tag == OCTETS)?.1;
        for (tag, value) in Elements(Elements(octets).tagged(SEQUENCE)?) {
            keep(names, alternative(tag, value));
        }
    }
    Some(())
}

fn keep(names: &mut Vec<Box<str>>, name: Option<String>) {
    if let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= MAX_NAME) {
        if names.len() < MAX_NAMES && !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }
}

fn alternative(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        0x81 | 0x82 | 0x86 => text(0x16, value),
        0x87 => {
            let four = <[u8; 4]>::try_from(value).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()?;
            Some(address.to_string())
        }
        _ => None,
    }
}
