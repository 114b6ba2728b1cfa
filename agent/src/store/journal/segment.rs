//! Segments: their names and their heads.

use super::frame::FRAME_HEAD;
use crate::store::disk::{DiskFile, read_full_at};
use std::io;
use std::sync::Arc;

/// Bytes of one copy of the head: a flash sector's worth, so that both copies together stay small beside the smallest
/// segment (64 KiB) and one damaged byte can never meet both.
const COPY: usize = 512;

/// Bytes before the first frame.
pub(super) const HEAD_LEN: usize = 2 * COPY;

const MAGIC: &[u8; 8] = b"TIDEGATE";
/// The format that this version of Tidegate writes, of segments and of the store as a whole (see `version`).
pub(super) const VERSION: u16 = 2;
const FIXED: usize = 40;

/// Longest gateway id in bytes.
pub(super) const GATEWAY_LIMIT: usize = 255;
/// Longest lane name in bytes.
pub(super) const LANE_LIMIT: usize = 64;

/// The part of a record's id that all records of a segment share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) gateway: String,
    pub(super) epoch: String,
    pub(super) lane: String,
}

/// A segment's head.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) identity: Arc<Identity>,
    pub(super) first: u64,
    pub(super) generation: u64,
    /// What the sums of its frames start from: the head's own sum.
    pub(super) salt: u32,
}

/// The file name of a segment. Both numbers are padded, so that names sort as numbers do; 16 digits hold 2^53.
pub(super) fn file_name(first: u64, generation: u64) -> String {
    format!("{first:016}-{generation:010}.seg")
}

/// First sequence number and generation, from a file name.
pub(super) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, generation) = name.strip_suffix(".seg")?.split_once('-')?;
    let parsed = (first.parse().ok()?, generation.parse().ok()?);
    (file_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// A head's bytes, both copies, and the salt for the frames.
pub(super) fn encode(identity: &Identity, first: u64, generation: u64) -> ([u8; HEAD_LEN], u32) {
    let mut bytes = [0; HEAD_LEN];
    let texts = [&identity.gateway, &identity.epoch, &identity.lane];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[12..14].copy_from_slice(&VERSION.to_le_bytes());
    let mut at = FIXED;
    for (index, text) in texts.iter().enumerate() {
        let text = &text.as_bytes()[..text.len().min(GATEWAY_LIMIT)];
        let text = &text[..text.len().min(COPY - at)];
        bytes[16 + index] = text.len() as u8;
        bytes[at..at + text.len()].copy_from_slice(text);
        at += text.len();
    }
    bytes[24..32].copy_from_slice(&first.to_le_bytes());
    bytes[32..40].copy_from_slice(&generation.to_le_bytes());
    let salt = crc32c::crc32c(&bytes[12..COPY]);
    bytes[8..12].copy_from_slice(&salt.to_le_bytes());
    let (one, two) = bytes.split_at_mut(COPY);
    two.copy_from_slice(one);
    (bytes, salt)
}

/// A file that is whole, in a format that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its format is version {found}, and this tidegate knows version {VERSION} alone")]
pub(super) struct OtherVersion {
    pub(super) found: u16,
}

/// The sum and the version of a copy of a head that is as it was written. Both have this place in every version.
fn whole_copy(bytes: &[u8]) -> Option<(u32, u16)> {
    let salt = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let whole = bytes.get(..8)? == MAGIC && crc32c::crc32c(bytes.get(12..COPY)?) == salt;
    let version = u16::from_le_bytes(bytes.get(12..14)?.try_into().ok()?);
    whole.then_some((salt, version))
}

fn decode_copy(bytes: &[u8]) -> Option<Head> {
    let number = |from: usize| Some(u64::from_le_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
    let (salt, _) = whole_copy(bytes).filter(|(_, version)| *version == VERSION)?;
    let mut at = FIXED;
    let mut text = |index: usize| {
        let len = usize::from(*bytes.get(16 + index)?);
        let text = std::str::from_utf8(bytes.get(at..at + len)?).ok()?;
        at += len;
        Some(text.to_owned())
    };
    let identity = Arc::new(Identity { gateway: text(0)?, epoch: text(1)?, lane: text(2)? });
    Some(Head { identity, first: number(24)?, generation: number(32)?, salt })
}

/// A segment's head from either copy; `None` if both are damaged or it is not the head of a file of that name. That of
/// another version is no damage but an error, which says so.
pub(super) fn read_head(file: &dyn DiskFile, first: u64, generation: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD_LEN];
    let filled = read_full_at(file, &mut bytes, 0)?;
    let copies = bytes[..filled].chunks_exact(COPY);
    let head = copies.clone().filter_map(decode_copy).find(|head| head.first == first && head.generation == generation);
    let other = copies.filter_map(whole_copy).find(|(_, version)| *version != VERSION);
    match other.filter(|_| head.is_none()) {
        Some((_, found)) => Err(io::Error::new(io::ErrorKind::Unsupported, OtherVersion { found })),
        None => Ok(head),
    }
}

/// Where in a file a copy of its head stands that is not that of a file of this name, while the other one is.
pub(super) fn bad_copy(file: &dyn DiskFile, first: u64, generation: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; HEAD_LEN];
    let filled = read_full_at(file, &mut bytes, 0)?;
    let good = |copy: &[u8]| decode_copy(copy).is_some_and(|head| head.first == first && head.generation == generation);
    let copies: Vec<bool> = bytes[..filled].chunks_exact(COPY).map(good).collect();
    Ok(match copies[..] {
        [true, false] => Some(COPY as u64),
        [false, true] => Some(0),
        _ => None,
    })
}

/// Bytes that `records` frames with `bytes` of bodies take up.
pub(super) fn framed(records: usize, bytes: usize) -> u64 {
    (records * FRAME_HEAD + bytes) as u64
}
