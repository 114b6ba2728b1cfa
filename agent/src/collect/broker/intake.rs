//! The receiving half of one connection: publishes → submissions → acknowledgements in order.
//!
//! ```text
//! broker ─ PUBLISH ─▶ Source (pump) ─▶ channel ─▶ Bunch ─ permits ─▶ store ─ committed ─▶ Client ─ PUBACK ─▶ broker
//! ```
//!
//! What is between the pump and flash is bounded by [`HELD_BYTES`] and the channel's length, which is the window
//! ([`Options::inflight`]): a broker that keeps to it never makes the pump stop. When it is full, the pump stops
//! polling: see the module above for what then happens to the connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bunch::{Bunch, Judge, Tally};
use super::error::LinkError;
use super::link::{Ack, Arrival, Client, Grant, Source};
use super::retained::LastSeen;
use super::state::printable;
use super::{Deps, Options};
use crate::clock::now_ms;
use crate::collect::devices::Ear;
use crate::collect::turned_away::TurnedAway;
use crate::collect::{Alarm, Heard};
use crate::store::{Committed, IN_FLIGHT_BYTES, Submission};

/// Bytes of publishes received and not yet committed, one more publish excepted: a quarter of what the store lets be
/// in flight for all.
const HELD_BYTES: usize = IN_FLIGHT_BYTES / 4;

/// What a publish is taken to cost besides topic and payload, in bytes: its entry in the channel and the bunch.
const OVERHEAD: usize = 128;

/// Submissions under way at one time: enough to fill the next commit while one is running.
const MAX_SUBMISSIONS: usize = 8;

/// How long what was received may take to be committed and acknowledged when told to stop. What is not, the broker
/// sends again.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How long after a refusal a topic filter is tried again: an operator may have changed the broker's access rules.
const RETRY_FILTERS: Duration = Duration::from_secs(300);

/// Something that arrived, with the room it takes.
pub(super) struct Arrived {
    arrival: Arrival,
    room: Option<OwnedSemaphorePermit>,
}

/// The way from the pump to the intake.
pub(super) struct Way {
    arrivals: mpsc::Sender<Arrived>,
    room: Arc<Semaphore>,
}

/// Drives the connection until it is lost. What arrives once the intake has closed its side is dropped,
/// unacknowledged, while what is to be sent still goes out.
pub(super) async fn pump(mut source: Source, way: Way, keep_alive: Duration) -> LinkError {
    loop {
        match source.next(keep_alive).await {
            Ok(arrival) => way.put(arrival).await,
            Err(error) => {
                for arrival in source.left_over() {
                    way.put(arrival).await;
                }
                return error;
            }
        }
    }
}

impl Way {
    /// Waits for room, and puts the arrival on its way. Nothing comes of it once the intake has closed its side.
    async fn put(&self, arrival: Arrival) {
        let bytes = match &arrival {
            Arrival::Publish(publish) => {
                publish.payload.len() + publish.topic.as_ref().map_or(0, String::len) + OVERHEAD
            }
            _ => 0,
        };
        let room = Arc::clone(&self.room).acquire_many_owned(bytes.min(HELD_BYTES) as u32).await.ok();
        let _ = self.arrivals.send(Arrived { arrival, room }).await;
    }
}

/// A submission that is on its way to flash.
struct Waiting {
    /// `None` if there was nothing to commit.
    done: Option<oneshot::Receiver<Committed>>,
    acks: Vec<Ack>,
    tally: Tally,
    _held: Option<OwnedSemaphorePermit>,
    _in_flight: OwnedSemaphorePermit,
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// How the intake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The connection is gone and all that came by it is committed.
    LinkGone,
    /// It was told to stop, and has acknowledged what was committed.
    Stopped,
    /// The store has been closed.
    StoreClosed,
}

/// The receiving half of one connection.
pub(super) struct Intake<'a> {
    options: &'a Options,
    deps: &'a Deps,
    client: Client,
    last_seen: &'a mut LastSeen,
    log: &'a TurnedAway,
    /// The broker's name in the log.
    name: String,
    arrivals: mpsc::Receiver<Arrived>,
    room: Arc<Semaphore>,
    bunch: Bunch,
    acquiring: Option<Acquiring>,
    waiting: VecDeque<Waiting>,
    asked: Vec<String>,
    retry_filters: Option<Instant>,
    /// The alarms, from when the connection is there.
    alarms: Option<Heard>,
    ear: Ear,
}

impl<'a> Intake<'a> {
    /// The intake of one connection, and the way by which things arrive.
    pub(super) fn new(
        options: &'a Options,
        deps: &'a Deps,
        client: Client,
        last_seen: &'a mut LastSeen,
        log: &'a TurnedAway,
    ) -> (Self, Way) {
        let (sender, arrivals) = mpsc::channel(usize::from(options.inflight.max(1)));
        let room = Arc::new(Semaphore::new(HELD_BYTES));
        let way = Way { arrivals: sender, room: Arc::clone(&room) };
        let intake = Self {
            options,
            deps,
            client,
            last_seen,
            log,
            name: options.name(),
            arrivals,
            room,
            bunch: Bunch::default(),
            acquiring: None,
            waiting: VecDeque::new(),
            asked: Vec::new(),
            retry_filters: None,
            alarms: None,
            ear: Ear::new(Arc::clone(&deps.stats.devices)),
        };
        (intake, way)
    }

    /// Takes what arrives until the connection is gone, the store is closed, or it is told to stop.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Ended {
        let (mut deadline, mut open) = (None, true);
        loop {
            if !open && self.acquiring.is_none() && self.waiting.is_empty() {
                return if deadline.is_some() { Ended::Stopped } else { Ended::LinkGone };
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + STOP_WITHIN);
                    self.room.close();
                    self.arrivals.close();
                }
                () = at(deadline) => return Ended::Stopped,
                committed = front(&mut self.waiting), if !self.waiting.is_empty() => {
                    if committed.is_err() {
                        return Ended::StoreClosed;
                    }
                    self.acknowledge();
                }
                permit = acquired(&mut self.acquiring), if self.acquiring.is_some() => {
                    self.acquiring = None;
                    let Ok(permit) = permit else { return Ended::StoreClosed };
                    self.submit(permit);
                }
                () = at(self.retry_filters), if open => self.ask_again(),
                alarm = next(&mut self.alarms), if open => self.sound(&alarm),
                arrived = self.arrivals.recv(),
                    if open && self.acquiring.is_none() && self.waiting.len() < MAX_SUBMISSIONS =>
                {
                    match arrived {
                        Some(arrived) => self.gather(arrived),
                        None => open = false,
                    }
                }
            }
        }
    }

    /// Makes a bunch of what arrived and of what else is there already, and asks the store for room.
    fn gather(&mut self, first: Arrived) {
        let rules = Arc::clone(&self.deps.rules.borrow());
        let stamp = self.deps.clock.now();
        let mut next = Some(first);
        while let Some(Arrived { arrival, room }) = next {
            match arrival {
                Arrival::Connected { session_present } => self.connected(session_present),
                Arrival::Subscribed(grants) => self.subscribed(grants),
                Arrival::Publish(publish) => {
                    // A subscription that is wide enough hears this gateway's own alarms.
                    if publish.topic.as_ref() == Some(&self.options.alarm_topic) {
                        self.bunch.pass(&publish);
                        self.bunch.hold(room);
                        next = if self.bunch.is_full() { None } else { self.arrivals.try_recv().ok() };
                        continue;
                    }
                    let max_size = self.options.max_packet_size;
                    let log = (self.log, self.name.as_str());
                    let mut judge =
                        Judge { rules: &rules, last_seen: self.last_seen, max_size, log, ear: Some(&mut self.ear) };
                    self.bunch.take(&publish, &mut judge, stamp);
                    self.bunch.hold(room);
                }
            }
            next = if self.bunch.is_full() { None } else { self.arrivals.try_recv().ok() };
        }
        self.ear.tell();
        if self.bunch.tally.publishes > 0 {
            self.bunch.seal();
            let bytes = self.bunch.submission.bytes().min(IN_FLIGHT_BYTES) as u32;
            self.acquiring = Some(Box::pin(Arc::clone(self.deps.store.in_flight()).acquire_many_owned(bytes)));
        }
    }

    fn submit(&mut self, in_flight: OwnedSemaphorePermit) {
        let Bunch { mut submission, acks, tally, held, .. } = std::mem::take(&mut self.bunch);
        self.deps.state.change(|state| state.received += tally.publishes);
        let done = if submission.is_empty() {
            None
        } else {
            let done = submission.on_commit();
            submission.set_source(Submission::MANY);
            self.deps.store.submit(submission);
            Some(done)
        };
        self.waiting.push_back(Waiting { done, acks, tally, _held: held, _in_flight: in_flight });
    }

    /// The oldest submission is on flash: says so to the broker, on the connection its publishes came by.
    fn acknowledge(&mut self) {
        let Some(Waiting { acks, tally, .. }) = self.waiting.pop_front() else { return };
        let stats = &self.deps.stats;
        stats.collected.add(tally.records);
        stats.collected_bytes.add(tally.payload_bytes);
        stats.refused_topic.add(tally.refused_topic);
        stats.refused_device.add(tally.refused_device);
        stats.refused_size.add(tally.refused_size);
        stats.refused_fields.add(tally.refused_fields);
        stats.untreated.add(tally.untreated);
        let given = acks.iter().take_while(|ack| self.client.acknowledge(**ack)).count();
        self.deps.state.change(|state| {
            state.acknowledged += given as u64;
            state.dropped_acks += (acks.len() - given) as u64;
            state.retained_repeats += tally.retained_repeats;
        });
    }

    fn connected(&mut self, session_present: bool) {
        let now = now_ms();
        let (mut lost, mut again) = (false, false);
        self.deps.state.change(|state| {
            again = state.connects > 0;
            lost = again && !session_present;
            state.connects += 1;
            state.sessions_lost += u64::from(lost);
            state.connected_since_ms = Some(now);
        });
        self.deps.stats.brokers.add(1);
        self.deps.stats.broker_reconnects.add(u64::from(again));
        tracing::info!(broker = %self.name, session_present, "connected to the broker");
        if lost {
            tracing::warn!(
                broker = %self.name,
                "the broker had forgotten this gateway's session, and with it what it held for it; \
                 let it keep sessions over a restart (Mosquitto: persistence true)"
            );
        }
        // Always, whatever the broker says of the session: it may have kept it without its subscriptions, and the
        // topics may have changed since.
        self.asked.clone_from(&self.options.topics);
        self.client.subscribe(&self.asked);
        self.alarms = Some(self.deps.alarms.subscribe());
    }

    fn sound(&mut self, alarm: &Result<Alarm, RecvError>) {
        match alarm {
            Ok(Alarm(text)) => {
                if !self.client.publish(&self.options.alarm_topic, text) {
                    tracing::warn!(broker = %self.name, "the broker could not be told of an alarm");
                }
            }
            // What was missed is older than what comes next.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => self.alarms = None,
        }
    }

    fn ask_again(&mut self) {
        self.retry_filters = None;
        self.asked = self.deps.state.snapshot().refused_filters;
        self.client.subscribe(&self.asked);
    }

    fn subscribed(&mut self, grants: Vec<Grant>) {
        let asked = std::mem::take(&mut self.asked);
        let (mut refused, mut lowered) = (Vec::new(), Vec::new());
        for (filter, grant) in asked.into_iter().zip(grants) {
            match grant {
                Grant::Granted { qos: 0 } => lowered.push(filter),
                Grant::Granted { .. } => {}
                Grant::Refused(reason) => {
                    tracing::error!(
                        broker = %self.name, filter = %printable(&filter, 128), %reason,
                        "the broker refuses this subscription: nothing arrives by it; \
                         allow it in the broker's access rules, or remove it from topics"
                    );
                    refused.push(filter);
                }
            }
        }
        for filter in &lowered {
            tracing::warn!(
                broker = %self.name, filter = %printable(filter, 128),
                "the broker grants this subscription at QoS 0 only: what it sends by it may be lost on the way"
            );
        }
        self.retry_filters = (!refused.is_empty()).then(|| Instant::now() + RETRY_FILTERS);
        self.deps.state.change(|state| {
            state.lowered_filters.retain(|known| !refused.contains(known) && !lowered.contains(known));
            state.lowered_filters.extend(lowered);
            state.refused_filters = refused;
        });
    }
}

/// Waits until then; for ever if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next alarm; for ever if nobody listens.
async fn next(alarms: &mut Option<Heard>) -> Result<Alarm, RecvError> {
    match alarms {
        Some(heard) => heard.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until the oldest submission is on flash.
async fn front(waiting: &mut VecDeque<Waiting>) -> Result<(), oneshot::error::RecvError> {
    match waiting.front_mut() {
        Some(Waiting { done: Some(done), .. }) => done.await.map(|_| ()),
        Some(Waiting { done: None, .. }) => Ok(()),
        None => std::future::pending().await,
    }
}

async fn acquired(acquiring: &mut Option<Acquiring>) -> Result<OwnedSemaphorePermit, AcquireError> {
    match acquiring {
        Some(acquiring) => acquiring.await,
        None => std::future::pending().await,
    }
}
