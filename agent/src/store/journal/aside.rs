//! What was put aside: kept in full in a lane of its own, each with its reason, the oldest first out.
//!
//! ```text
//! Body = CBOR(PutAside)                                // a record
//!      | CBOR({ "settled": u64, "retried": bool })     // the record with this number was tried again, or dropped
//! ```
//! What was settled stays where it is until its segment goes; lists leave it out. The settling frame always stands
//! behind the record, so the record goes first.

use super::Shared;
use super::control::encode_value;
use super::log::LogShared;
use super::reader::LogReader;
use crate::store::state::Contents;
use crate::store::{PutAside, ReadLimit, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// Records read at one time while listing.
const STEP: ReadLimit = ReadLimit { records: 256, bytes: 128 * 1024 };

/// Longest reason kept, in bytes.
const REASON: usize = 512;

/// Reads the record `seq` of a lane and encodes it with the reason. `false` if it is not there.
pub(super) fn encode(
    shared: &Arc<Shared>,
    log: &Arc<LogShared>,
    seq: u64,
    reason: &str,
    body: &mut Vec<u8>,
) -> Result<bool, StoreError> {
    let chunk = LogReader::new(shared.clone(), log.clone(), None).read(seq, ReadLimit { records: 1, bytes: 0 })?;
    let Some(record) = chunk.get(0).filter(|record| record.seq == seq) else { return Ok(false) };
    let mut end = reason.len().min(REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let kept = PutAside {
        gateway: record.gateway.to_owned(),
        epoch: record.epoch.to_owned(),
        lane: record.lane.to_owned(),
        seq,
        reason: reason[..end].to_owned(),
        device: record.device.to_owned(),
        topic: record.topic.to_owned(),
        time_ms: record.time_ms,
        payload: record.payload.to_vec(),
    };
    body.clear();
    ciborium::into_writer(&kept, body).expect("the value holds nothing that CBOR cannot, and a Vec takes all");
    Ok(true)
}

/// The record with this number was tried again, or dropped.
#[derive(Debug, Serialize, Deserialize)]
struct Settled {
    settled: u64,
    retried: bool,
}

/// What a frame of this lane holds.
#[derive(Debug)]
pub(in crate::store) enum AsideFrame {
    /// A record that was put aside.
    Record(PutAside),
    /// The record with this number is no longer to be shown.
    Settled(u64),
}

/// Takes a frame's body apart; `None` if it is neither.
pub(in crate::store) fn decode(body: &[u8]) -> Option<AsideFrame> {
    if let Ok(kept) = ciborium::from_reader::<PutAside, _>(body) {
        return Some(AsideFrame::Record(kept));
    }
    ciborium::from_reader::<Settled, _>(body).ok().map(|one| AsideFrame::Settled(one.settled))
}

/// Encodes that the record with this number was tried again, or dropped.
pub(super) fn encode_settled(number: u64, retried: bool, body: &mut Vec<u8>) {
    body.clear();
    ciborium::into_writer(&Settled { settled: number, retried }, body)
        .expect("the value holds nothing that CBOR cannot, and a Vec takes all");
}

/// The newest `limit` records put aside, newest first.
pub(super) fn list(shared: &Arc<Shared>, limit: usize) -> Result<Vec<PutAside>, StoreError> {
    let log = shared.aside.clone();
    let next = log.view().next;
    let mut from = next.saturating_sub(limit as u64);
    let mut reader = LogReader::new(shared.clone(), log, None);
    let (mut kept, mut settled) = (Vec::new(), HashSet::new());
    loop {
        let chunk = reader.read(from, STEP)?;
        let Some(last) = chunk.last_seq() else { break };
        for (number, body) in chunk.bodies() {
            match decode(body) {
                Some(AsideFrame::Record(record)) => kept.push((number, record)),
                Some(AsideFrame::Settled(number)) => drop(settled.insert(number)),
                None => {}
            }
        }
        from = last + 1;
    }
    let left = kept.into_iter().rev().filter(|(number, _)| !settled.contains(number));
    Ok(left.map(|(_, record)| record).take(limit).collect())
}

/// A record put aside, as the index knows it.
#[derive(Debug, Serialize)]
struct AsideEntry<'a> {
    lane: &'a str,
    seq: u64,
    reason: &'a str,
}

/// Entries in the index at most, the newest.
const INDEXED: u64 = 1024;

/// Adds what is put aside to what the index is to hold.
pub(super) fn index(shared: &Arc<Shared>, contents: &mut Contents) {
    let log = shared.aside.clone();
    let next = log.view().next;
    let mut from = next.saturating_sub(INDEXED);
    let mut reader = LogReader::new(shared.clone(), log, None);
    while let Ok(chunk) = reader.read(from, STEP) {
        let Some(last) = chunk.last_seq() else { break };
        for (index, number) in chunk.seqs().enumerate() {
            let kept: Option<PutAside> = chunk.body(index).and_then(|body| ciborium::from_reader(body).ok());
            if let Some(kept) = kept {
                let entry = AsideEntry { lane: &kept.lane, seq: kept.seq, reason: &kept.reason };
                contents.insert([b"aside/", &number.to_be_bytes()[..]].concat(), encode_value(&entry));
            }
        }
        from = last + 1;
    }
}
