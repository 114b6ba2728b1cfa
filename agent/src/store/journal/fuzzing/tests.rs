//! What the fuzz target does, on what is nearly right: true encodings with a few bytes changed. The fuzzer goes further; this
//! runs with every test run.

use super::*;
use crate::clock::Stamp;
use crate::store::{Change, Origin, SessionRecord};
use proptest::prelude::*;

/// One true encoding of each kind.
fn encodings() -> Vec<Vec<u8>> {
    let stamp = Stamp { wall_ms: 1_795_336_200_000, uptime_ms: 77, boot: 5, trusted: true };
    let origin = Some(Origin { session: 3, packet_id: 9 });
    let mut submission = Submission::new();
    for origin in [None, origin] {
        let record = NewRecord { device: "d-1", topic: "d/1", payload: b"{\"n\":1}", stamp, origin, will: false };
        submission.push(LaneId(0), &record);
    }
    let mut all: Vec<Vec<u8>> = submission.bodies().map(|(_, body)| body.to_vec()).collect();
    let session =
        SessionRecord { id: 3, client_id: "c".into(), expiry_s: 60, disconnected_ms: Some(4), subscribed: true };
    let entries = [
        Entry::Change(Change::Session(session)),
        Entry::Change(Change::Acknowledge { lane: LaneId(1), from: 3, below: 700 }),
        Entry::Change(Change::Sent { lane: LaneId(0), from: 0, below: 70_000 }),
        Entry::Rolled { lane: 0, first: 5, generation: 2, unreleased: vec![(Origin { session: 3, packet_id: 9 }, 4)] },
        Entry::Damaged { lane: 1, from: 800, below: 900, epoch: None },
        Entry::Clock { boot: 5, offset_ms: -3 },
        Entry::AsideDropped { records: 2 },
    ];
    let mut body = Vec::new();
    control::encode_entries(&entries.iter().collect::<Vec<_>>(), &mut body);
    all.push(body.clone());
    for entry in &entries {
        control::encode_entries(&[entry], &mut body);
        all.push(body.clone());
    }
    let lane = |name: &str| LaneLedger { name: name.into(), ..LaneLedger::default() };
    let mut ledger = Ledger { lanes: vec![lane("critical"), lane("normal")], ..Ledger::default() };
    for entry in &entries {
        ledger.apply(entry);
    }
    control::encode_snapshot(&ledger, &mut body);
    all.push(body.clone());
    aside::encode_settled(7, true, &mut body);
    all.push(body);
    all.push(segment::file_name(12, 3).into_bytes());
    all
}

#[test]
fn what_was_encoded_is_understood() {
    let understood = |bytes: &[u8]| {
        let name = std::str::from_utf8(bytes).ok().and_then(segment::parse_name).is_some();
        name || submission::decode(bytes).is_some()
            || control::decode(bytes).is_some()
            || aside::decode(bytes).is_some()
    };
    for bytes in encodings() {
        assert!(understood(&bytes), "{bytes:?}");
        decode(&bytes);
    }
}

#[test]
fn numbers_at_their_limits_overflow_nothing() {
    let end = u64::MAX;
    let limits = [
        Entry::Damaged { lane: 0, from: 0, below: end, epoch: None },
        Entry::Damaged { lane: 0, from: end, below: 0, epoch: None },
        Entry::Evicted { lane: 0, from: 0, below: end, records: end, gaps: Vec::new() },
        Entry::Change(Change::Acknowledge { lane: LaneId(0), from: end, below: 0 }),
        Entry::Change(Change::Acknowledge { lane: LaneId(0), from: 0, below: end }),
        Entry::Change(Change::Sent { lane: LaneId(255), from: 0, below: end }),
        Entry::Rolled { lane: 0, first: end, generation: end, unreleased: Vec::new() },
        Entry::AsideDropped { records: end },
        Entry::Clock { boot: u32::MAX, offset_ms: i64::MIN },
    ];
    let mut body = Vec::new();
    for one in &limits {
        for other in &limits {
            control::encode_entries(&[one, other, one], &mut body);
            decode(&body);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn what_is_nearly_right_is_refused_or_is_what_it_says(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let all = encodings();
        let mut bytes = all[which.index(all.len())].clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if at < bytes.len() => { bytes.remove(at); }
                _ => {}
            }
        }
        decode(&bytes);
    }

    #[test]
    fn anything_is_refused_or_is_what_it_says(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes);
    }
}
