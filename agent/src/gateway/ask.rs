//! Answers what is asked of the buffer over the control socket: joins requests to the store.
//!
//! # Constraints
//! - Looking never disturbs. It runs where blocking is allowed, one question at a time (the control socket sees to
//!   that), and rests for as long as it has read, so that the disk is the forwarder's and the intakes' half of the time.
//! - A change is answered once it is on flash, or once [`PATIENCE`] is over; it is done all the same then, as soon as
//!   the disk allows.
//!
//! # What is done here and not in `store::look`
//! What needs the running service: paces (noted every [`NOTE_EVERY`]), delivering again, and settling what was put
//! aside. A record that was put aside is tried again **under its old id** while its lane still holds it: the very same
//! bytes wait again ([`Change::Replay`]). Once its segment is gone there is nothing that could be sent under that id: it
//! is then stored anew, as a new record with a new id, and the answer says so. Either way it leaves the list in the
//! same commit.

use super::{Rooms, Shared};
use crate::chain::said;
use crate::clock::Stamp;
use crate::language::{IntoValue, Message};
use crate::message;
use crate::store::look::{Ask, Delivered, End, Item, Look, LookError, Paces};
use crate::store::{Change, NewRecord, RECORD_OVERHEAD, Store, Submission};
use crate::watch::control::{Outlet, Refused, Streams};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often the bytes stored are noted: several times in the minutes that a pace is made of.
const NOTE_EVERY: Duration = Duration::from_secs(15);

/// How long a change may take to reach flash before its answer says that it has not yet: three times what the store
/// itself calls a disk that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Longest rest after one window: a card that took longer for it was busy with something else.
const REST: Duration = Duration::from_millis(50);

/// What questions are answered with.
struct Answerer {
    shared: Arc<Shared>,
    paces: Arc<Mutex<Paces>>,
    runtime: tokio::runtime::Handle,
}

/// Answers questions until the process ends; notes paces until `stop`. Call it within a runtime.
pub(super) fn streams(shared: &Arc<Shared>, stop: CancellationToken) -> Streams {
    let paces = Arc::new(Mutex::new(Paces::default()));
    tokio::spawn(note(Arc::clone(shared), Arc::clone(&paces), stop));
    let runtime = tokio::runtime::Handle::current();
    let answerer = Answerer { shared: Arc::clone(shared), paces, runtime };
    Arc::new(move |ask, outlet| answerer.answer(ask, outlet))
}

pub(super) fn store(shared: &Shared) -> Option<Store> {
    match &*shared.rooms() {
        Rooms::Opening { .. } => None,
        Rooms::Running { store, .. } => Some(store.clone()),
    }
}

/// Notes how much was stored, from when the store is open.
async fn note(shared: Arc<Shared>, paces: Arc<Mutex<Paces>>, stop: CancellationToken) {
    loop {
        // Looked up each time: a handle kept here would keep the store open.
        let open = store(&shared).map(|store| note_now(&shared, &store, &paces)).is_some();
        let pause = if open { NOTE_EVERY } else { super::OPEN_AGAIN };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Notes what has been stored up to now; says when that is, in ms since the start.
fn note_now(shared: &Shared, store: &Store, paces: &Mutex<Paces>) -> u64 {
    let now = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    paces.lock().unwrap_or_else(PoisonError::into_inner).note(now, &store.appended());
    now
}

fn refused(code: &str, why: impl IntoValue) -> Refused {
    Refused::new(code, why)
}

fn done(what: Message) -> End {
    End::Done { what: what.to_string(), said: Some(what) }
}

impl From<LookError> for Refused {
    fn from(error: LookError) -> Self {
        let code = match &error {
            LookError::NoLane { .. } => "no_lane",
            LookError::NoSuchRecord { .. } => "no_record",
            LookError::Scattered { .. } => "scattered",
            _ => "failed",
        };
        refused(code, said(&error))
    }
}

impl Answerer {
    fn answer(&self, ask: &str, outlet: &mut Outlet) -> Result<String, Refused> {
        let ask: Ask = serde_json::from_str(ask).map_err(|error| {
            refused("malformed", message!("this agent does not know that question: {error}", error = error.to_string()))
        })?;
        let store = store(&self.shared).ok_or_else(|| refused("not_ready", message!("the store is not open yet")))?;
        let mut rested = Instant::now();
        let mut say = |item: Item<'_>| {
            if matches!(item, Item::Progress { .. }) {
                std::thread::sleep(rested.elapsed().min(REST));
                rested = Instant::now();
            }
            match serde_json::to_vec(&item) {
                Ok(json) => outlet.item(&json),
                // Only a map with keys that are no strings cannot be JSON, and there is none.
                Err(_) => ControlFlow::Continue(()),
            }
        };
        let end = match &ask {
            Ask::Status => self.status(&store)?,
            Ask::Replay { from_ms, to_ms, lane, go } => {
                let look = store.look();
                let found = look.delivered(lane.as_deref(), (*from_ms, *to_ms), &mut say)?;
                self.replay(&store, &found, *go)?
            }
            Ask::Retry { id } => self.retry(&store, &store.look(), id)?,
            Ask::Drop { id } => self.drop(&store, id)?,
            other => store.look().answer(other, &mut say)?,
        };
        serde_json::to_string(&end).map_err(|error| refused("failed", error.to_string()))
    }

    fn status(&self, store: &Store) -> Result<End, Refused> {
        let mut end = store.look().answer(&Ask::Status, &mut |_| ControlFlow::Continue(()))?;
        if let End::Status(status) = &mut end {
            let options = super::options::store(&self.shared.loaded().config, self.shared.clock.clone());
            for lane in &mut status.lanes {
                let reserve = options.lanes.iter().find(|one| one.name == lane.name).map(|one| one.reserve);
                lane.reserve = reserve.unwrap_or(0);
            }
            status.allowed_bytes = Some(store.stats().allowed);
            let now = note_now(&self.shared, store, &self.paces);
            status.add(&self.paces.lock().unwrap_or_else(PoisonError::into_inner), now);
        }
        Ok(end)
    }

    fn replay(&self, store: &Store, found: &Delivered, go: bool) -> Result<End, Refused> {
        if go && !found.spans.is_empty() {
            let mut submission = Submission::new();
            for span in &found.spans {
                submission.change(Change::Replay { lane: span.lane, from: span.from, below: span.below });
            }
            self.commit(store, submission)?;
            tracing::info!(records = found.records, "delivered records are delivered again, as was asked for");
        }
        Ok(End::Replay { records: found.records, bytes: found.bytes, done: go })
    }

    fn retry(&self, store: &Store, look: &Look, id: &str) -> Result<End, Refused> {
        let one = look.aside(id)?;
        let record = &one.record;
        let name = format!("{}/{}/{}/{}", record.gateway, record.epoch, record.lane, record.seq);
        let Some(lane) = one.lane else {
            return Err(refused(
                "no_lane",
                message!("the lane of {name} is gone: it cannot be delivered any more", name = name),
            ));
        };
        let mut submission = Submission::new();
        let under_its_id = look.can_be_read(&one)?;
        if under_its_id {
            submission.change(Change::Replay { lane, from: record.seq, below: record.seq + 1 });
        } else {
            // Of no boot: a time that was not right then is not put right by what this boot's clock learns.
            let stamp = Stamp { wall_ms: record.time_ms, trusted: record.trusted, ..Stamp::default() };
            let (device, topic, payload) = (&record.device, &record.topic, &record.payload);
            let (origin, will) = (None, false);
            submission.push(lane, &NewRecord { device, topic, payload, stamp, origin, will });
        }
        submission.change(Change::Unquarantine { number: one.number, retried: true });
        self.commit(store, submission)?;
        let what = if under_its_id {
            message!("{name} waits to be delivered again, under its id", name = name)
        } else {
            message!(
                "{name} is no longer in its lane: a copy waits to be delivered, as a new record with a new id",
                name = name
            )
        };
        Ok(done(what))
    }

    fn drop(&self, store: &Store, id: &str) -> Result<End, Refused> {
        let one = store.look().aside(id)?;
        let record = &one.record;
        let mut submission = Submission::new();
        submission.change(Change::Unquarantine { number: one.number, retried: false });
        self.commit(store, submission)?;
        let name = format!("{}/{}/{}/{}", record.gateway, record.epoch, record.lane, record.seq);
        Ok(done(message!("{name} is dropped; its bytes go with the segment they stand in", name = name)))
    }

    /// Has it committed, and waits until it is on flash.
    fn commit(&self, store: &Store, mut submission: Submission) -> Result<(), Refused> {
        let late =
            || refused("stalled", message!("the disk has not taken it yet; it is done as soon as the disk allows"));
        self.runtime.block_on(async {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            let bytes = if submission.records() > 0 { submission.bytes() + RECORD_OVERHEAD } else { 0 };
            let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(crate::store::IN_FLIGHT_BYTES as u32);
            let _permit = tokio::time::timeout_at(deadline, store.in_flight().acquire_many(permits))
                .await
                .map_err(|_| refused("stalled", message!("the disk takes nothing now; nothing was changed")))?;
            let done = submission.on_commit();
            store.submit(submission);
            match tokio::time::timeout_at(deadline, done).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(refused("failed", message!("the store was closed before it was on flash"))),
                Err(_) => Err(late()),
            }
        })
    }
}
