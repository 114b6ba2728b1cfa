//! The end of a connection: the last words, what is still under way, the will, the session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode as Reason;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::Shared;
use super::admit::counter;
use super::connect::Will;
use super::intake::{Cause, Intake};
use super::serve::{Batch, Ended, Serving};
use super::table::Seat;
use super::wire::{self, Version};
use crate::collect::fields::{Refused, Treated};
use crate::collect::mapping::{Mapped, Rules};
use crate::collect::session::Session;
use crate::collect::turned_away::{self, Seen};
use crate::store::{Change, NewRecord, RECORD_OVERHEAD, Refusal, Submission};

/// Time for the last words to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long and how much is read and thrown away after the last words: closing a socket with unread input resets the
/// connection, and the client might not see why.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 1024 * 1024;

/// Ends a connection.
pub(super) async fn finish<S: AsyncRead + AsyncWrite + Unpin>(mut serving: Box<Serving<S>>, ended: Ended) {
    note(&serving, ended);
    serving.close_intake();
    if ended == Ended::Stopping {
        // Bounded by the one who stops: it drops this task when its time is over.
        serving.drain().await;
    }
    let silent = matches!(ended, Ended::Broken | Ended::NotReading | Ended::StoreClosed);
    if !silent {
        if let (Version::V5, Some(reason)) = (serving.intake.setup.version, reason(ended)) {
            serving.out.extend_from_slice(&wire::disconnect(reason));
        }
        let rest = serving.out.split_off(serving.written.min(serving.out.len()));
        say(&mut serving.stream, &rest).await;
    }
    let Serving { stream, shared, seat, intake, batches, will, .. } = *serving;
    let settled = settle(shared, seat, intake, batches, will, ended);
    if silent || matches!(ended, Ended::Left { .. }) {
        drop(stream);
        settled.await;
    } else {
        tokio::join!(linger(stream), settled);
    }
}

/// What MQTT 5 is told.
fn reason(ended: Ended) -> Option<Reason> {
    match ended {
        Ended::Fault(fault) => Some(fault.reason),
        Ended::Unlisted(_) => Some(Reason::NotAuthorized),
        Ended::Silent => Some(Reason::KeepAliveTimeout),
        Ended::TakenOver => Some(Reason::SessionTakenOver),
        Ended::Stopping => Some(Reason::ServerShuttingDown),
        Ended::Left { .. } | Ended::Broken | Ended::NotReading | Ended::StoreClosed | Ended::Refused => None,
    }
}

/// Counts and logs.
fn note<S>(serving: &Serving<S>, ended: Ended) {
    let stats = &serving.shared.stats;
    match ended {
        Ended::Fault(fault) => {
            stats.malformed.add(1);
            serving.shared.turned_away.tell(
                turned_away::Cause::Packet,
                1,
                &Seen { what: Some(fault.what), ..serving.seen() },
            );
        }
        Ended::Unlisted(unlisted) => {
            let cause = unlisted.into();
            counter(&serving.shared, cause).add(1);
            let seen = Seen { what: Some("it was connected when the lists changed"), ..serving.seen() };
            serving.shared.turned_away.tell(cause, 1, &seen);
        }
        Ended::Silent => stats.timeouts.add(1),
        Ended::NotReading => stats.not_reading.add(1),
        Ended::TakenOver => stats.taken_over.add(1),
        _ => {}
    }
    // `{:?}` escapes control characters; the identifier is at most 256 bytes.
    tracing::debug!(peer = %serving.from, client = ?serving.seat.client_id, ?ended, "a connection has ended");
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, words: &[u8]) {
    let saying = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    // A client that does not listen now is not told.
    let _ = timeout(FAREWELL, saying).await;
}

/// Refuses a client that was never served.
pub(super) async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, reply: &[u8]) {
    say(&mut stream, reply).await;
    linger(stream).await;
}

async fn linger<S: AsyncRead + Unpin>(mut stream: S) {
    let mut nowhere = [0; 1_024];
    let reading = async {
        let mut read = 0;
        while read < LINGER_BYTES {
            match stream.read(&mut nowhere).await {
                Ok(0) | Err(_) => break,
                Ok(count) => read += count,
            }
        }
    };
    let _ = timeout(LINGER, reading).await;
}

/// Waits for the store, then stores the will, gives the session back and leaves the seat.
async fn settle(
    shared: Arc<Shared>,
    seat: Seat,
    intake: Intake,
    mut batches: VecDeque<Batch>,
    will: Option<Will>,
    ended: Ended,
) {
    while let Some(mut batch) = batches.pop_front() {
        if !poll_fn(|context| batch.poll(context)).await {
            return;
        }
        batch.count(&shared);
    }
    let setup = intake.setup;
    let mut expiry_s = setup.expiry_s;
    // Who may not publish any more may not do so by dying either.
    let mut with_will = !matches!(ended, Ended::Stopping | Ended::StoreClosed | Ended::Refused | Ended::Unlisted(_));
    if let Ended::Left { with_will: keep, expiry_s: changed } = ended {
        expiry_s = changed.unwrap_or(expiry_s);
        with_will = keep;
    }
    let mut will = will.filter(|_| with_will);
    {
        let mut inner = shared.table.lock();
        if let Some(id) = setup.session {
            let session = Session { id, unreleased: setup.unreleased, subscribed: setup.subscribed };
            if let Some(change) = inner.sessions.leave(&seat.client_id, session, expiry_s, shared.now()) {
                let mut submission = Submission::new();
                submission.change(change);
                shared.store.submit(submission);
            }
            shared.stats.sessions.set(inner.sessions.len() as u64);
        }
        // The delay ends with the session, whichever is sooner (section 3.1.3.2.2).
        let delay_s = will.as_ref().map_or(0, |will| will.delay_s).min(expiry_s);
        if delay_s > 0 {
            let due = Instant::now() + Duration::from_secs(u64::from(delay_s));
            will = will.and_then(|will| inner.delay(&seat.client_id, due, will));
        }
    }
    if let Some(will) = will {
        store_will(&shared, &seat.client_id, will).await;
    }
}

/// Stores a will, however long that takes.
pub(super) async fn store_will(shared: &Shared, client_id: &str, will: Will) {
    let Some(mut batch) = submit_will(shared, client_id, &will).await else { return };
    if poll_fn(|context| batch.poll(context)).await {
        batch.count(shared);
    }
}

/// Submits a will like a publish of its client, when there is room for it; given up before, nothing has happened.
/// `None` if the store has been closed.
pub(super) async fn submit_will(shared: &Shared, client_id: &str, will: &Will) -> Option<Batch> {
    let rules = shared.rules.borrow().clone();
    let mut submission = Submission::new();
    let mut batch = Batch::default();
    match judge_will(&rules, will) {
        Ok((mapped, treated)) => {
            let payload = treated.as_ref().map_or(&*will.payload, |treated| &treated.payload);
            let bytes = RECORD_OVERHEAD + 2 * will.topic.len() + payload.len();
            // Closed only with the store.
            batch.permit = Some(shared.store.in_flight().clone().acquire_many_owned(bytes as u32).await.ok()?);
            (batch.records, batch.payload_bytes, batch.wills) = (1, payload.len() as u64, 1);
            batch.untreated = u32::from(treated.as_ref().is_some_and(|treated| treated.untreated.is_some()));
            let (device, topic, stamp) = (mapped.device, &*will.topic, shared.clock.now());
            submission.push(mapped.lane, &NewRecord { device, topic, payload, stamp, origin: None, will: true });
        }
        Err(Unwilled { cause, device, why }) => {
            let (topic, size) = (Some(will.topic.as_bytes()), Some(will.payload.len()));
            let what = why.map_or_else(|| "a last will".to_owned(), |why| format!("a last will: {why}"));
            let seen = Seen { client: Some(client_id), topic, size, what: Some(&what), ..Seen::default() };
            shared.turned_away.tell(cause.logged(), 1, &seen);
            batch.refused[cause as usize] = 1;
            let who = cut(device.unwrap_or(client_id)).to_owned();
            let refusal = Refusal { cause: cause.logged().name().to_owned(), who, count: 1 };
            submission.change(Change::Refused(refusal));
        }
    }
    batch.wait = Some(submission.on_commit());
    shared.store.submit(submission);
    Some(batch)
}

/// Why a will is refused.
struct Unwilled<'a> {
    cause: Cause,
    /// The device that the topic rule names, if one does.
    device: Option<&'a str>,
    why: Option<Box<Refused>>,
}

/// Where a will goes and what becomes of its payload, or why it is refused.
fn judge_will<'a>(rules: &Rules, will: &'a Will) -> Result<(Mapped<'a>, Option<Treated<'a>>), Unwilled<'a>> {
    let mapped = rules.map(&will.topic).ok_or(Unwilled { cause: Cause::Topic, device: None, why: None })?;
    let device = Some(mapped.device);
    if !rules.allows(mapped.device) {
        return Err(Unwilled { cause: Cause::Device, device, why: None });
    }
    let treated = rules.treatment(&will.topic).map(|treatment| treatment.treat(&will.payload)).transpose();
    Ok((mapped, treated.map_err(|refused| Unwilled { cause: Cause::Fields, device, why: Some(Box::new(refused)) })?))
}

/// As much of a client identifier or a device as a refusal names: 128 bytes.
pub(super) fn cut(name: &str) -> &str {
    let mut end = name.len().min(128);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
