//! The packet intake, for fuzzing.

use std::sync::Arc;

use tokio::sync::watch;

use super::intake::{Intake, Round, Setup, Step};
use super::wire::Version;
use crate::clock::Stamp;
use crate::collect::allow::Identity;
use crate::collect::mapping::{Rule, Rules};
use crate::collect::session::PacketIds;
use crate::store::LaneId;

/// Bytes of records in one round.
const BUDGET: usize = 1_000;

/// Gives bytes to the intake of an accepted connection, `piece` at a time, as a socket would, until they end or the
/// connection does.
///
/// # Panics
/// If the intake takes more than there is, puts more into a round than it may, or does not get on.
pub fn intake(bytes: &[u8], version_5: bool, lasting: bool, piece: usize) {
    let version = if version_5 { Version::V5 } else { Version::V3 };
    let Some(mut intake) = accepted(version, lasting) else { return };
    let stamp = Stamp { wall_ms: 1_000, uptime_ms: 1_000, boot: 1, trusted: false };
    let mut input = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        let mut allowed = BUDGET;
        loop {
            let mut round = Round::default();
            let (taken, step) = intake.take(&input, allowed, stamp, &mut round);
            assert!(taken <= input.len(), "took {taken} of {} bytes", input.len());
            assert!(round.submission.bytes() <= allowed, "more in a round than it may hold");
            input.drain(..taken);
            let stored = round.submission.records();
            round.close("fuzz");
            intake.answered(round.credits);
            let _ = intake.changed_subscription("fuzz");
            match step {
                Step::More(need) => {
                    assert!(need == 0 || need > input.len(), "asks for {need} bytes and has {}", input.len());
                    break;
                }
                Step::Full(need) => {
                    assert!(need > allowed || stored > 0, "full, and nothing in it");
                    allowed = need.max(BUDGET);
                }
                Step::Leave { .. } | Step::Fault(_) | Step::Unlisted(_) => return,
            }
        }
    }
}

fn accepted(version: Version, lasting: bool) -> Option<Intake> {
    let rules = vec![Rule { topic: "d/{device}".into(), lane: LaneId(0) }];
    let (_sender, rules) = watch::channel(Arc::new(Rules::new(rules, None).ok()?));
    Some(Intake::new(Setup {
        version,
        session: lasting.then_some(1),
        unreleased: PacketIds::default(),
        subscribed: false,
        max_packet_size: 10_000,
        receive_maximum: 20,
        expiry_s: 60,
        rules,
        ear: crate::collect::devices::Ear::new(Arc::default()),
        identity: Identity::default(),
    }))
}
