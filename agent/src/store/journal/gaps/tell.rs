//! Telling a flow: what is pending becomes a record in the first lane.
//!
//! The records and the entries that say so are one commit. A power cut may keep either without the other: at recovery
//! ([`Ledger::settle_gaps`]) an entry without its record makes that pending again, and a record without its entry is
//! taken for what it says. So what is gone is told once, as long as nothing else is lost.
//!
//! A gap record takes no room from other records, or it would make further gaps: it goes into the room that records
//! leave for it at every commit (`room::GAP_ROOM`), and where that is used up it waits for more.

use super::{Gap, Gaps, Key, Span};
use crate::clock::Stamp;
use crate::store::journal::clocks::Clocks;
use crate::store::journal::commit::Op;
use crate::store::journal::control::{Entry, Ledger};
use crate::store::journal::recover_lane::LaneFound;
use crate::store::journal::segment::{HEAD_LEN, framed};
use crate::store::journal::writer::Writer;
use crate::store::{RECORD_OVERHEAD, Ranges, Refusal, submission};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidegate_protocol::gap::{Cause, DEVICE, GapRef, Moment, TOPIC, cut_device, write_gap};

/// Shortest time between two looks at what may be told, so that keys that fall due one after the other share a commit.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time before another try after one that failed: the disk may need a moment.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Payload bytes of one commit's gap records at most, beyond the first.
const TELL_BYTES: usize = 4 * 1024;

impl Writer {
    /// Makes records of what may be told, unless a look was taken just now.
    pub(in crate::store::journal) fn tell_gaps(&mut self, now: Instant) {
        if self.tell_after.is_some_and(|after| now < after) {
            return;
        }
        if self.shared.ledger().gaps.is_empty() {
            return;
        }
        let clock_now = self.shared.options.clock.now();
        self.tell_after = Some(now + LOOK_EVERY);
        let due = self.due_gaps(&clock_now);
        if due.is_empty() {
            return;
        }
        let bytes = due.iter().map(|(_, payload)| payload.len() + RECORD_OVERHEAD + DEVICE.len() + TOPIC.len()).sum();
        // What is noted of them in the control lane is planned for.
        let need = framed(due.len(), bytes) + HEAD_LEN as u64 + self.shared.block;
        if self.held().total + need > self.shared.allowed.load(Ordering::Relaxed) {
            return;
        }
        self.ops.clear();
        self.overlay.clear();
        self.begin_lane(0);
        for (key, payload) in due {
            submission::encode_gap(&mut self.body, &clock_now, DEVICE, TOPIC, &payload);
            let seq = self.lanes[0].stage(&self.body);
            let at = (clock_now.boot, clock_now.uptime_ms);
            self.ops.push(Op::Entry(Entry::GapTold { key, lane: 0, seq, at }));
        }
        match self.commit_ops() {
            Ok(()) => self.shared.progress.send_modify(|commits| *commits += 1),
            Err(reason) => {
                tracing::debug!(%reason, "gap records cannot be stored yet");
                self.tell_after = Some(now + TRY_AGAIN);
            }
        }
    }

    /// Keys that may be told now, with the payloads that tell them.
    fn due_gaps(&self, now: &Stamp) -> Vec<(Key, Vec<u8>)> {
        let ledger = self.shared.ledger();
        let (mut due, mut bytes) = (Vec::new(), 0);
        for (key, span) in ledger.gaps.due(now) {
            let mut payload = Vec::new();
            write_gap(&mut payload, &told(key, span, &ledger.clocks));
            bytes += payload.len();
            if bytes > TELL_BYTES && !due.is_empty() {
                break;
            }
            due.push((key.clone(), payload));
        }
        due
    }

    /// How long the writer may wait before something is to be told; `None` if nothing waits for the time alone.
    pub(in crate::store::journal) fn tell_in(&self) -> Option<Duration> {
        let ledger = self.shared.ledger();
        if ledger.gaps.is_empty() {
            return None;
        }
        let wait = ledger.gaps.wait_ms(&self.shared.options.clock.now())?;
        Some(Duration::from_millis(wait).max(LOOK_EVERY))
    }
}

fn told<'a>(key: &'a Key, span: &Span, clocks: &Clocks) -> GapRef<'a> {
    let moment = |stamp| {
        let (stamp, source) = clocks.right(stamp);
        Moment { time_ms: stamp.wall_ms, source }
    };
    GapRef {
        cause: key.cause,
        reason: key.reason.as_deref(),
        lane: key.lane.as_deref(),
        device: key.device.as_deref(),
        epoch: key.epoch.as_deref(),
        seqs: span.seqs,
        times: span.times.map(|(first, last)| (moment(first), moment(last))),
        count: span.count,
        bytes: span.bytes,
        perhaps_delivered: span.perhaps_delivered,
        perhaps_told: span.perhaps_told,
    }
}

/// What a refusal leaves untold: there were no records, so there is no lane, and of the time only when it was noted.
pub(in crate::store::journal) fn refused(refusal: &Refusal, now: Stamp) -> Gap {
    let reason = (!refusal.cause.is_empty()).then(|| cut_device(&refusal.cause).to_owned());
    let device = (!refusal.who.is_empty()).then(|| cut_device(&refusal.who).to_owned());
    let span = Span { times: Some((now, now)), count: u64::from(refusal.count), ..Span::default() };
    Gap { key: Key { cause: Cause::Refused, reason, lane: None, device, epoch: None }, span }
}

impl Gaps {
    pub(in crate::store::journal) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// What a gap record's body tells of, and when it was made.
pub(in crate::store::journal) fn gap_record(body: &[u8]) -> Option<(Key, Stamp)> {
    let body = submission::decode(body)?;
    // The payload names the parts of the key as the key does.
    Some((serde_json::from_slice(body.payload).ok()?, body.stamp))
}

impl Ledger {
    /// After a power cut, holds what tells of gaps against a lane as it was found: what was told by records that are not
    /// there is pending again; and where the control lane is `whole`, a gap record that it does not know of tells what
    /// is pending there. `true` if anything changed.
    pub(in crate::store::journal) fn settle_gaps(&mut self, lane: u8, found: &mut LaneFound, unbroken: bool) -> bool {
        let next = found.view.next;
        let mut changed = self.gaps.lose(lane, next, u64::MAX, &Ranges::from(next)) > 0;
        for (seq, key, stamp) in std::mem::take(&mut found.gaps) {
            if unbroken && !self.gaps.tells(lane, seq) {
                changed |= self.gaps.tell(&key, lane, seq, (stamp.boot, stamp.uptime_ms));
            }
        }
        changed
    }
}
