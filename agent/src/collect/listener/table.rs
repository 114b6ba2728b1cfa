//! Who is connected: one seat per client identifier, its session, and the wills that wait.
//!
//! # Takeover
//! A client that connects takes its identifier's seat at once; whoever sits there is told to go, and the newcomer
//! waits until that one has *finished*: until everything it submitted is answered by the store and its session is
//! given back. Only then does the newcomer join the session, so that a QoS 2 publish which is repeated over the new
//! connection is known, and its PUBREC cannot overtake the commit. A newcomer that gives up while it waits leaves whom
//! it waited for to the next one ([`Finished`] passes it on), so a chain of takeovers keeps its order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connect::Will;
use crate::collect::session::{Granted, Sessions};
use crate::store::Submission;

/// Wills that may wait for their delay at one time, each up to a CONNECT's size; one more is stored at once.
const MAX_DELAYED: usize = 256;

/// Why a connection is told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    /// Another connection with the same client identifier.
    TakenOver,
    /// Tidegate stops.
    Stop,
}

/// Resolves when a connection has finished, or passes on whom that one still waited for itself.
#[derive(Debug)]
struct Finished(oneshot::Receiver<Option<Finished>>);

/// A connection's place in the table; given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) client_id: Arc<str>,
    /// Resolves when the connection must go.
    pub(super) go: oneshot::Receiver<Go>,
    number: u64,
    table: Arc<Table>,
    /// Who sat here before and has not finished.
    previous: Option<Finished>,
    /// Taken when the seat is dropped.
    finishing: Option<oneshot::Sender<Option<Finished>>>,
}

#[derive(Debug)]
struct Sitting {
    number: u64,
    /// `None` once the connection has been told, or has gone and left one behind that it waited for.
    go: Option<oneshot::Sender<Go>>,
    finished: Finished,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table(Mutex<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) sessions: Sessions,
    seats: HashMap<Arc<str>, Sitting>,
    wills: HashMap<Arc<str>, (Instant, Will)>,
    next_number: u64,
    stopping: bool,
}

impl Table {
    pub(super) fn new(sessions: Sessions) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner {
            sessions,
            seats: HashMap::new(),
            wills: HashMap::new(),
            next_number: 0,
            stopping: false,
        })))
    }

    /// Nobody waits for long: the lock is held for a few map operations and never over an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change of the table is whole before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the seat of a client identifier, and tells whoever sits there to go.
    pub(super) fn sit(self: &Arc<Self>, client_id: &str) -> Seat {
        let client_id: Arc<str> = client_id.into();
        let (go, told) = oneshot::channel();
        let (finishing, finished) = oneshot::channel();
        let mut inner = self.lock();
        inner.next_number += 1;
        let number = inner.next_number;
        let mut go = Some(go);
        if inner.stopping {
            tell(&mut go, Go::Stop);
        }
        let sitting = Sitting { number, go, finished: Finished(finished) };
        let previous = inner.seats.insert(client_id.clone(), sitting).map(|mut sitting| {
            tell(&mut sitting.go, Go::TakenOver);
            sitting.finished
        });
        drop(inner);
        Seat { client_id, go: told, number, table: self.clone(), previous, finishing: Some(finishing) }
    }

    /// Tells everyone to go, now and from now on.
    pub(super) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        for sitting in inner.seats.values_mut() {
            tell(&mut sitting.go, Go::Stop);
        }
    }
}

impl Inner {
    /// Keeps a will until its delay is over; gives it back if there is no room.
    pub(super) fn delay(&mut self, client_id: &Arc<str>, due: Instant, will: Will) -> Option<Will> {
        if self.wills.len() >= MAX_DELAYED {
            return Some(will);
        }
        self.wills.insert(client_id.clone(), (due, will)).map(|(_, will)| will)
    }

    /// Takes back a will that could not be stored; it is due. Beyond [`MAX_DELAYED`] too, because it had its place
    /// before, and a connection brings back no more than the one that it took.
    pub(super) fn put_back(&mut self, client_id: &Arc<str>, will: Will) {
        self.wills.insert(client_id.clone(), (Instant::now(), will));
    }

    /// A client has come back: its will must not be stored if the session went on (MQTT 5, section 3.1.3.2.2), and
    /// must be at once if the session ended.
    pub(super) fn came_back(&mut self, client_id: &str, granted: &Granted) -> Option<Will> {
        let (_, will) = self.wills.remove(client_id)?;
        if granted.present { None } else { Some(will) }
    }

    /// The wills whose delay is over, or all.
    pub(super) fn due(&mut self, now: Option<Instant>) -> Vec<(Arc<str>, Will)> {
        let due = |due: Instant| now.is_none_or(|now| due <= now);
        let over: Vec<_> =
            self.wills.iter().filter(|(_, will)| due(will.0)).map(|(client, _)| client.clone()).collect();
        over.into_iter().filter_map(|client| Some((client.clone(), self.wills.remove(&client)?.1))).collect()
    }
}

fn tell(go: &mut Option<oneshot::Sender<Go>>, what: Go) {
    if let Some(go) = go.take() {
        // A connection that is no longer there to be told has gone.
        let _ = go.send(what);
    }
}

impl Seat {
    /// What its submissions to the store carry as their source: the connection's number, wrapped into the range.
    pub(super) fn source(&self) -> u32 {
        1 + (self.number % u64::from(Submission::MANY - 1)) as u32
    }

    /// Waits until those who sat here before have finished. May be given up and called again.
    pub(super) async fn cleared(&mut self) {
        while let Some(previous) = &mut self.previous {
            // An error means that it has finished with nobody before it.
            self.previous = (&mut previous.0).await.unwrap_or(None);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        let mine = inner.seats.get(&self.client_id).is_some_and(|sitting| sitting.number == self.number);
        match self.previous.take() {
            Some(finished) if mine => {
                let sitting = Sitting { number: self.number, go: None, finished };
                inner.seats.insert(self.client_id.clone(), sitting);
            }
            previous => {
                if mine {
                    inner.seats.remove(&self.client_id);
                }
                if let Some(finishing) = self.finishing.take() {
                    // Nobody may be waiting.
                    let _ = finishing.send(previous);
                }
            }
        }
    }
}
