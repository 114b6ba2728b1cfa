//! Lasting MQTT sessions: which clients are known, and what they have sent with QoS 2 and not released.
//!
//! # Constraints
//! - A client that is told `session_present = 0` throws away what it had not yet seen acknowledged. So a session
//!   that a client was promised must be found again after a reconnect, a restart and a power cut.
//! - Bounded in number and in age: a session costs memory here and room in the store.
//! - Pure: no I/O, no clock. Every call takes the time and says which changes must be committed.
//!
//! # Operation
//! The table holds sessions by client identifier. While a client is connected its connection *holds* the session
//! ([`Session`] is moved out to it, so that a QoS 2 publish takes no lock) and gives it back at the end. The caller
//! sees to it that a client has one holder at a time. When a new session would be one too many, the one longest
//! without a connection ends; one that is held never does.
//!
//! # Time
//! Ages are measured by a monotonic clock (milliseconds since any fixed moment): gateways have no clock battery, and a
//! clock that jumps from 1970 to today must not end every session. So the age of a session found at start counts from
//! the start: in doubt it lasts longer. Wall time only goes into [`SessionRecord::disconnected_ms`], which orders the
//! sessions found at start by who was gone longest.
//!
//! # On flash
//! [`Change::Session`] when one begins, is resumed or is left; [`Change::SessionEnd`] when it ends. The packet
//! identifiers are not among them: the store knows them from the records' own frames ([`crate::store::Origin`]) and
//! from [`Change::Release`].

mod packet_ids;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use packet_ids::PacketIds;

use crate::store::{Change, KeptSession, SessionRecord};

/// What the table may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at most.
    pub max_sessions: usize,
    /// Longest time without a connection, in seconds.
    pub max_age_s: u32,
}

/// The time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since any fixed moment, never going back.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch, by whatever the gateway believes.
    pub wall_ms: u64,
}

/// A session in the hands of its connection.
#[derive(Debug, PartialEq)]
pub struct Session {
    /// Its number ([`SessionRecord::id`]).
    pub id: u64,
    /// QoS 2 publishes received and not released.
    pub unreleased: PacketIds,
    /// Whether the client has subscribed to alarms.
    pub subscribed: bool,
}

/// The answer to a client that connects.
#[derive(Debug, PartialEq)]
pub struct Granted {
    /// The session, if the client has one that lasts. It must come back with [`Sessions::leave`].
    pub session: Option<Session>,
    /// What CONNACK says: `session_present`.
    pub present: bool,
    /// Seconds it lasts without a connection; 0 if it ends with the connection.
    pub expiry_s: u32,
    /// To be committed.
    pub changes: Vec<Change>,
    /// Whether CONNACK must wait for the commit: a promise is made or the past is cut off. Merely coming back is
    /// neither.
    pub wait: bool,
}

/// There are as many sessions as allowed, and all are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {0} sessions, as many as allowed, and all are connected; raise max_sessions")]
pub struct Full(pub usize);

#[derive(Debug)]
struct Entry {
    id: u64,
    expiry_s: u32,
    /// `None` while a connection holds it.
    rest: Option<Rest>,
}

/// A session without a connection.
#[derive(Debug)]
struct Rest {
    unreleased: PacketIds,
    subscribed: bool,
    since_ms: u64,
    /// Orders sessions that began to rest at the same moment, which those found at start all did.
    order: u64,
}

/// The table of lasting sessions.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    by_client: HashMap<Box<str>, Entry>,
    next_id: u64,
    next_order: u64,
}

impl Sessions {
    /// A table with what the store found; the changes end those that are too many now.
    pub fn restore(limits: Limits, kept: Vec<KeptSession>, next_id: u64, now: Now) -> (Self, Vec<Change>) {
        let mut kept = kept;
        // Those that were connected when the power went were gone last of all.
        kept.sort_by_key(|session| session.record.disconnected_ms.unwrap_or(u64::MAX));
        let next_id = kept.iter().map(|session| session.record.id.saturating_add(1)).fold(next_id.max(1), u64::max);
        let mut table = Self { limits, by_client: HashMap::new(), next_id, next_order: 0 };
        let mut changes = Vec::new();
        for session in kept {
            let subscribed = session.record.subscribed;
            let rest = table.rest(session.unreleased.into_iter().collect(), subscribed, now);
            let entry = Entry { id: session.record.id, expiry_s: session.record.expiry_s, rest: Some(rest) };
            if let Some(twin) = table.by_client.insert(session.record.client_id.into(), entry) {
                changes.push(Change::SessionEnd { id: twin.id });
            }
        }
        while table.by_client.len() > limits.max_sessions {
            match table.end_oldest() {
                Some(change) => changes.push(change),
                None => break,
            }
        }
        (table, changes)
    }

    /// A client connects that no other connection stands for.
    ///
    /// `clean` is clean session (3.1.1) or clean start (5); `expiry_s` what it asks for: 0 for a session that ends
    /// with the connection, `u32::MAX` for as long as allowed.
    pub fn join(&mut self, client_id: &str, clean: bool, expiry_s: u32, now: Now) -> Result<Granted, Full> {
        let granted_s = expiry_s.min(self.limits.max_age_s);
        let old = self.by_client.get(client_id);
        let usable = old.is_some_and(|entry| !clean && !self.expired(entry, now.monotonic_ms));
        if usable {
            return Ok(self.resume(client_id, granted_s));
        }
        let mut changes = Vec::new();
        if let Some(old) = self.by_client.remove(client_id) {
            changes.push(Change::SessionEnd { id: old.id });
        }
        let mut session = None;
        if granted_s > 0 {
            if self.by_client.len() >= self.limits.max_sessions {
                changes.push(self.end_oldest().ok_or(Full(self.by_client.len()))?);
            }
            let id = self.next_id;
            self.next_id += 1;
            self.by_client.insert(client_id.into(), Entry { id, expiry_s: granted_s, rest: None });
            changes.push(record(id, client_id, granted_s, None, false));
            session = Some(Session { id, unreleased: PacketIds::default(), subscribed: false });
        }
        let wait = !changes.is_empty();
        Ok(Granted { session, present: false, expiry_s: granted_s, changes, wait })
    }

    fn resume(&mut self, client_id: &str, expiry_s: u32) -> Granted {
        let Some(entry) = self.by_client.get_mut(client_id) else {
            return Granted { session: None, present: false, expiry_s, changes: Vec::new(), wait: false };
        };
        let rest = entry.rest.take();
        let (unreleased, subscribed) = rest.map(|rest| (rest.unreleased, rest.subscribed)).unwrap_or_default();
        // A longer life is a promise; the other way a power cut can only make the session last longer than it must.
        let wait = expiry_s > entry.expiry_s;
        entry.expiry_s = expiry_s;
        Granted {
            present: true,
            expiry_s,
            changes: vec![record(entry.id, client_id, expiry_s, None, subscribed)],
            wait,
            session: Some(Session { id: entry.id, unreleased, subscribed }),
        }
    }

    /// The connection has ended and gives its session back, with the life it is to have from now on (seconds).
    pub fn leave(&mut self, client_id: &str, session: Session, expiry_s: u32, now: Now) -> Option<Change> {
        let expiry_s = expiry_s.min(self.limits.max_age_s);
        let subscribed = session.subscribed;
        let rest = self.rest(session.unreleased, subscribed, now);
        let entry = self.by_client.get_mut(client_id).filter(|entry| entry.id == session.id)?;
        if expiry_s == 0 {
            self.by_client.remove(client_id);
            return Some(Change::SessionEnd { id: session.id });
        }
        entry.expiry_s = expiry_s;
        entry.rest = Some(rest);
        Some(record(session.id, client_id, expiry_s, Some(now.wall_ms), subscribed))
    }

    /// Ends the sessions whose time is over; to be called now and then.
    pub fn expire(&mut self, now: Now) -> Vec<Change> {
        let mut over = Vec::new();
        for (client_id, entry) in &self.by_client {
            if self.expired(entry, now.monotonic_ms) {
                over.push(client_id.clone());
            }
        }
        let ended = over.iter().filter_map(|client_id| self.by_client.remove(client_id));
        ended.map(|entry| Change::SessionEnd { id: entry.id }).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    fn expired(&self, entry: &Entry, now_ms: u64) -> bool {
        let life_ms = u64::from(entry.expiry_s.min(self.limits.max_age_s)) * 1_000;
        entry.rest.as_ref().is_some_and(|rest| now_ms.saturating_sub(rest.since_ms) >= life_ms)
    }

    fn rest(&mut self, unreleased: PacketIds, subscribed: bool, now: Now) -> Rest {
        self.next_order += 1;
        Rest { unreleased, subscribed, since_ms: now.monotonic_ms, order: self.next_order }
    }

    /// Ends the session that is longest without a connection.
    fn end_oldest(&mut self) -> Option<Change> {
        let resting = self.by_client.iter().filter_map(|(client, entry)| Some((client, entry.rest.as_ref()?.order)));
        let oldest = resting.min_by_key(|(_, order)| *order).map(|(client, _)| client.clone())?;
        self.by_client.remove(&oldest).map(|entry| Change::SessionEnd { id: entry.id })
    }
}

/// A session as it is to be kept.
pub(super) fn record(
    id: u64,
    client_id: &str,
    expiry_s: u32,
    disconnected_ms: Option<u64>,
    subscribed: bool,
) -> Change {
    Change::Session(SessionRecord { id, client_id: client_id.to_owned(), expiry_s, disconnected_ms, subscribed })
}
