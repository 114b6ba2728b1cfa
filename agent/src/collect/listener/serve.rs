//! One accepted connection: reading, submitting, acknowledging.
//!
//! # Constraints
//! - Hundreds of thousands of publishes a second over a few connections, on one thread: all that a read returns is one
//!   submission with one answer, and all answers that are ready go out in one write. So this is one state machine
//!   polled by one task, without a lock or a channel of its own.
//! - An idle connection costs little: read buffers are shared by all connections of the thread ([`SCRATCH`]), and what
//!   a connection owns is given back when it is empty.
//! - Bounded, whatever the client or the disk does. Before the socket is read, permits are held for what the records
//!   may take ([`in_flight`](crate::store::Store::in_flight), one a byte, shared by all); a connection has at most
//!   [`MAX_BATCHES`] submissions and [`MAX_CONNECTION_BYTES`] under way. While a bound is reached the socket is not
//!   read, so TCP holds the client back.
//! - A full disk must not look like a dead client: the keep-alive does not run while the socket is not read, nor while
//!   an acknowledgement is owed, because many clients wait for it and say nothing meanwhile. Until a bound is reached
//!   pings are answered, so that the client does not take Tidegate for dead either.
//! - What is kept of input is the start of one packet. If that packet is longer than [`FREE_PACKET`],
//!   permits for all of it are taken from a shared budget before more is read; a
//!   packet must be complete within [`PACKET_TIME`], so nobody sits on that budget. Where many records come
//!   from few bytes, up to one read ([`READ`]) waits unparsed.
//!
//! # Acknowledging
//! ```text
//! socket → scratch → Intake::take → Round ─ submission → store ─ commit ─┐
//!                                    └ answers → Batch (queued in order) ┴→ out → socket
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::PollSemaphore;

use super::Shared;
use super::connect::Will;
use super::intake::{CAUSES, Intake, Round, Step};
use super::subscribe::Following;
use super::table::{Go, Seat};
use super::wire::Fault;
use crate::collect::allow::Unlisted;
use crate::collect::turned_away::Seen;
use crate::store::{Committed, IN_FLIGHT_BYTES};

mod alarms;
#[cfg(test)]
mod tests;

/// Bytes read at one time: 140 publishes of 200 bytes, more than the windows that clients keep open.
const READ: usize = 32 * 1024;

/// Permits taken before a read: records are their publish with the device and 32 bytes added, which is less than
/// twice as much for all but the shortest.
const RESERVE: usize = 2 * READ;

/// Packets up to this size are kept without permits while they are incomplete; nearly all telemetry is smaller.
const FREE_PACKET: usize = 4 * 1024;

/// Budget for longer packets that are incomplete, shared by all connections: one of the largest size at least.
pub(super) const PACKET_BYTES: usize = 4 * 1024 * 1024;

/// Longest time from the first byte of a packet to its last: 256 KiB over a line of 35 kbit/s.
pub(super) const PACKET_TIME: Duration = Duration::from_secs(60);

/// Submissions one connection may have under way.
const MAX_BATCHES: usize = 32;

/// Bytes of records one connection may have under way: a quarter of what all have.
const MAX_CONNECTION_BYTES: usize = IN_FLIGHT_BYTES / 4;

/// Bytes waiting to be written to a client beyond which it is not served further: 4,000 acknowledgements.
const MAX_OUT: usize = 16 * 1024;

/// Rounds in one turn, so that a fast client leaves the thread to others.
const TURN: usize = 8;

/// What a connection keeps of an emptied buffer.
const KEEP: usize = 1_024;

thread_local! {
    /// Read buffer of all connections of this thread: room for the start of a packet, then for a read.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; FREE_PACKET + READ].into());
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client said DISCONNECT.
    Left { with_will: bool, expiry_s: Option<u32> },
    /// The client broke the protocol.
    Fault(Fault),
    /// The client is no longer among those that are served.
    Unlisted(Unlisted),
    /// The client closed the connection, or the network did.
    Broken,
    /// Nothing was heard for one and a half times the keep-alive, or a packet was not completed.
    Silent,
    /// The client does not read.
    NotReading,
    /// Another connection has its client identifier.
    TakenOver,
    /// Tidegate stops.
    Stopping,
    /// The store has been closed.
    StoreClosed,
    /// The client was not let in after all; CONNACK says why.
    Refused,
}

/// A submission on its way to flash, and what follows it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// `None` if there was nothing to store, or it is answered.
    pub(super) wait: Option<oneshot::Receiver<Committed>>,
    /// The store was closed before it answered.
    lost: bool,
    answers: Vec<u8>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
    pub(super) refused: [u32; CAUSES],
    pub(super) untreated: u32,
    pub(super) wills: u64,
    repeats: u32,
    credits: u32,
}

/// A connection that is being served.
pub(super) struct Serving<S> {
    pub(super) stream: S,
    pub(super) shared: Arc<Shared>,
    /// Where the client connects from.
    pub(super) from: SocketAddr,
    pub(super) seat: Seat,
    pub(super) intake: Intake,
    pub(super) batches: VecDeque<Batch>,
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    unflushed: bool,
    /// Since when `out` waits for the client without a byte going.
    write_since: Option<Instant>,
    /// Received and not yet taken.
    input: Vec<u8>,
    /// Whether whole packets wait in `input`.
    unprocessed: bool,
    /// Length of the packet that `input` begins with, where it needs permits.
    packet: usize,
    packet_permit: Option<OwnedSemaphorePermit>,
    packet_budget: PollSemaphore,
    packet_since: Instant,
    in_flight: PollSemaphore,
    reserve: usize,
    in_flight_bytes: usize,
    /// Not reading because a bound is reached.
    suspended: bool,
    keep_alive: Option<Duration>,
    last_heard: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    alarms: Option<Following>,
    max_alarm: usize,
    pub(super) will: Option<Will>,
}

/// What a connection is made of when it is accepted.
pub(super) struct Parts<S> {
    pub(super) stream: S,
    pub(super) from: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Seat,
    pub(super) intake: Intake,
    /// Its CONNACK.
    pub(super) out: Vec<u8>,
    /// What came behind its CONNECT.
    pub(super) input: Vec<u8>,
    /// Seconds; 0 for none.
    pub(super) keep_alive: u16,
    /// Largest packet the client takes.
    pub(super) max_packet_size: u32,
    pub(super) will: Option<Will>,
}

impl<S> Serving<S> {
    /// Who it is, for the log.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen { peer: Some(self.from), client: Some(&self.seat.client_id), ..Seen::default() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    pub(super) fn new(parts: Parts<S>) -> Self {
        let now = Instant::now();
        // One and a half times the keep-alive (section 3.1.2.10).
        let keep_alive = Duration::from_millis(u64::from(parts.keep_alive) * 1_500);
        let mut serving = Self {
            stream: parts.stream,
            from: parts.from,
            seat: parts.seat,
            intake: parts.intake,
            batches: VecDeque::new(),
            out: parts.out,
            written: 0,
            unflushed: false,
            write_since: None,
            unprocessed: !parts.input.is_empty(),
            input: parts.input,
            packet: 0,
            packet_permit: None,
            packet_budget: PollSemaphore::new(parts.shared.packet_budget.clone()),
            packet_since: now,
            in_flight: PollSemaphore::new(parts.shared.store.in_flight().clone()),
            reserve: RESERVE,
            in_flight_bytes: 0,
            suspended: false,
            keep_alive: Some(keep_alive).filter(|keep_alive| !keep_alive.is_zero()),
            last_heard: now,
            timer: None,
            alarms: None,
            max_alarm: parts.max_packet_size as usize,
            will: parts.will,
            shared: parts.shared,
        };
        serving.follow_alarms();
        serving
    }

    /// Serves until the connection ends.
    pub(super) async fn serve(&mut self) -> Ended {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        if let Poll::Ready(go) = Pin::new(&mut self.seat.go).poll(context) {
            return Poll::Ready(if go == Ok(Go::Stop) { Ended::Stopping } else { Ended::TakenOver });
        }
        for turn in 0.. {
            match self.advance(context) {
                Ok(false) => break,
                Ok(true) if turn < TURN => {}
                Ok(true) => {
                    context.waker().wake_by_ref();
                    break;
                }
                Err(ended) => return Poll::Ready(ended),
            }
        }
        self.poll_timer(context)
    }

    /// Does what can be done now; says whether that was anything.
    fn advance(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        let mut moved = self.poll_answers(context)?;
        moved |= self.poll_alarms(context);
        moved |= self.poll_write(context)?;
        moved |= self.poll_read(context)?;
        Ok(moved)
    }

    /// Moves the answers of committed batches to `out`, in order.
    fn poll_answers(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        let mut moved = false;
        while self.out.len() < MAX_OUT {
            let Some(batch) = self.batches.front_mut() else { break };
            match batch.poll(context) {
                Poll::Pending => break,
                Poll::Ready(false) => return Err(Ended::StoreClosed),
                Poll::Ready(true) => {}
            }
            self.complete();
            moved = true;
        }
        Ok(moved)
    }

    /// The first batch is on flash.
    fn complete(&mut self) {
        let Some(batch) = self.batches.pop_front() else { return };
        batch.count(&self.shared);
        self.in_flight_bytes -= batch.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.out.extend_from_slice(&batch.answers);
        self.intake.answered(batch.credits);
        if self.batches.is_empty() {
            self.last_heard = Instant::now();
        }
    }

    /// Waits until everything submitted is answered; the answers are in `out` then. `false` if the store was closed
    /// before.
    pub(super) async fn drain(&mut self) -> bool {
        while let Some(batch) = self.batches.front_mut() {
            if !std::future::poll_fn(|context| batch.poll(context)).await {
                return false;
            }
            self.complete();
        }
        true
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        let mut moved = false;
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.written += count;
                    self.unflushed = true;
                    self.write_since = None;
                    moved = true;
                }
                Poll::Ready(_) => return Err(Ended::Broken),
                Poll::Pending => {
                    self.write_since.get_or_insert_with(Instant::now);
                    break;
                }
            }
        }
        if self.written == self.out.len() && self.written > 0 {
            self.written = 0;
            self.out.clear();
            self.out.shrink_to(KEEP);
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    if self.out.is_empty() {
                        self.write_since = None;
                    }
                }
                Poll::Ready(Err(_)) => return Err(Ended::Broken),
                Poll::Pending => {
                    self.write_since.get_or_insert_with(Instant::now);
                }
            }
        }
        Ok(moved)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        let Some(permit) = self.poll_room(context) else {
            self.suspended = true;
            return Ok(false);
        };
        if std::mem::take(&mut self.suspended) {
            self.last_heard = Instant::now();
            self.packet_since = self.last_heard;
        }
        if self.unprocessed {
            let input = std::mem::take(&mut self.input);
            let taken = self.process(&input, permit)?;
            self.keep(input, taken);
            return Ok(true);
        }
        SCRATCH.with_borrow_mut(|scratch| self.read(context, scratch, permit))
    }

    /// Permits for what a read may bring; `None` while a bound is reached.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Option<OwnedSemaphorePermit> {
        let mut full = self.batches.len() >= MAX_BATCHES || self.in_flight_bytes >= MAX_CONNECTION_BYTES;
        // While the store has no room for some lane, what its devices send stays in flight: so that they cannot take
        // all permits from those whose lanes have room, nobody has more than one submission under way then.
        full |= !self.batches.is_empty() && self.shared.store.refuses();
        if full || self.out.len() >= MAX_OUT {
            if self.suspended {
                self.leave_queues();
            }
            return None;
        }
        let held = self.packet_permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if self.packet > held {
            self.packet_permit = None;
            match self.packet_budget.poll_acquire_many(context, self.packet as u32) {
                Poll::Ready(permit) => self.packet_permit = permit,
                Poll::Pending => return None,
            }
            self.input.reserve_exact(self.packet.saturating_sub(self.input.len()));
        }
        match self.in_flight.poll_acquire_many(context, self.reserve as u32) {
            Poll::Ready(permit) => permit,
            Poll::Pending => None,
        }
    }

    /// Gives up waiting for permits. A request that waits may be granted at any time, and what is granted to one who
    /// does not come for it is lost to all others.
    fn leave_queues(&mut self) {
        self.in_flight = PollSemaphore::new(self.shared.store.in_flight().clone());
        self.packet_budget = PollSemaphore::new(self.shared.packet_budget.clone());
    }

    /// Nothing more will be read: gives back everything that reading needs.
    pub(super) fn close_intake(&mut self) {
        self.leave_queues();
        self.packet_permit = None;
        self.input = Vec::new();
        self.alarms = None;
        self.timer = None;
    }

    fn read(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut [u8],
        permit: OwnedSemaphorePermit,
    ) -> Result<bool, Ended> {
        let kept = self.input.len();
        let start = if kept <= FREE_PACKET { kept } else { 0 };
        let mut buffer = ReadBuf::new(&mut scratch[start..start + READ]);
        let count = match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(_)) => return Err(Ended::Broken),
            Poll::Ready(Ok(())) => buffer.filled().len(),
        };
        if count == 0 {
            return Err(Ended::Broken);
        }
        self.last_heard = Instant::now();
        if kept == 0 {
            self.packet_since = self.last_heard;
        }
        if kept > FREE_PACKET {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(&scratch[..count]);
            let taken = self.process(&input, permit)?;
            self.keep(input, taken);
        } else {
            scratch[..kept].copy_from_slice(&self.input);
            let data = &scratch[..kept + count];
            let taken = self.process(data, permit)?;
            if taken > 0 {
                self.packet_since = self.last_heard;
            }
            self.input.clear();
            self.input.extend_from_slice(&data[taken..]);
            self.input.shrink_to(if self.input.is_empty() { KEEP } else { FREE_PACKET });
        }
        Ok(true)
    }

    fn keep(&mut self, mut input: Vec<u8>, taken: usize) {
        if taken > 0 {
            input.drain(..taken);
            input.shrink_to(KEEP);
            self.packet_since = Instant::now();
        }
        self.input = input;
    }

    /// Takes the packets in `data`, submits what they bring, and says how many bytes were used.
    fn process(&mut self, data: &[u8], permit: OwnedSemaphorePermit) -> Result<usize, Ended> {
        let mut round = Round::default();
        let (taken, step) = self.intake.take(data, permit.num_permits(), self.shared.clock.now(), &mut round);
        self.intake.setup.ear.tell();
        self.follow_alarms();
        self.submit(round, permit);
        self.unprocessed = false;
        self.reserve = RESERVE;
        match step {
            Step::More(total) => {
                self.packet = if total > FREE_PACKET { total } else { 0 };
                if self.packet == 0 {
                    self.packet_permit = None;
                }
                Ok(taken)
            }
            Step::Full(need) => {
                self.unprocessed = true;
                self.reserve = need.max(RESERVE);
                Ok(taken)
            }
            Step::Leave { with_will, expiry_s } => Err(Ended::Left { with_will, expiry_s }),
            Step::Fault(fault) => Err(Ended::Fault(fault)),
            Step::Unlisted(unlisted) => Err(Ended::Unlisted(unlisted)),
        }
    }

    fn submit(&mut self, mut round: Round, mut permit: OwnedSemaphorePermit) {
        self.out.append(&mut round.at_once);
        round.log(&self.shared.turned_away, &self.seen());
        round.close(&self.seat.client_id);
        if let Some(change) = self.intake.changed_subscription(&self.seat.client_id) {
            // Before its SUBACK leaves: the session lasts with its subscription.
            round.submission.change(change);
        }
        let mut batch = Batch {
            answers: round.answers,
            records: round.submission.records() as u64,
            payload_bytes: round.payload_bytes,
            refused: round.refused,
            untreated: round.untreated,
            repeats: round.repeats,
            credits: round.credits,
            ..Batch::default()
        };
        if !round.submission.is_empty() {
            let bytes = round.submission.bytes();
            // What was reserved and not used goes back at the end of this function.
            batch.permit = permit.split(bytes);
            batch.wait = Some(round.submission.on_commit());
            round.submission.set_source(self.seat.source());
            self.shared.store.submit(round.submission);
        } else if batch.answers.is_empty() {
            return;
        }
        self.follow(batch);
    }

    /// Waits for a submission, behind those before it.
    pub(super) fn follow(&mut self, batch: Batch) {
        self.in_flight_bytes += batch.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.batches.push_back(batch);
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let Some((deadline, ended)) = self.deadline() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            // A deadline that moved away is noticed when the timer fires: no timer is touched for each read.
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(ended);
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// What ends the connection next if nothing happens.
    fn deadline(&self) -> Option<(Instant, Ended)> {
        let writing = self.write_since.map(|since| (since + self.shared.write_timeout, Ended::NotReading));
        let heard = self.keep_alive.map(|keep_alive| (self.last_heard + keep_alive, Ended::Silent));
        let heard = heard.filter(|_| self.batches.is_empty());
        let begun = !self.input.is_empty() && !self.unprocessed;
        let packet = begun.then(|| (self.packet_since + PACKET_TIME, Ended::Silent));
        let reading = if self.suspended { [None, None] } else { [heard, packet] };
        [writing].into_iter().chain(reading).flatten().min_by_key(|(deadline, _)| *deadline)
    }
}

impl Batch {
    /// Whether it is on flash; `false` if it never will be.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if let Some(wait) = &mut self.wait {
            let Poll::Ready(answer) = Pin::new(wait).poll(context) else { return Poll::Pending };
            self.wait = None;
            self.lost = answer.is_err();
        }
        Poll::Ready(!self.lost)
    }

    pub(super) fn count(&self, shared: &Shared) {
        let stats = &shared.stats;
        stats.collected.add(self.records);
        stats.collected_bytes.add(self.payload_bytes);
        stats.wills.add(self.wills);
        if self.repeats > 0 {
            stats.repeats.add(u64::from(self.repeats));
        }
        if self.untreated > 0 {
            stats.untreated.add(u64::from(self.untreated));
        }
        let refused: [_; CAUSES] =
            [&stats.refused_topic, &stats.refused_device, &stats.refused_size, &stats.refused_fields];
        for (count, counter) in self.refused.iter().zip(refused) {
            if *count > 0 {
                counter.add(u64::from(*count));
            }
        }
    }
}
