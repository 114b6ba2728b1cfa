//! From an accepted socket to a connection that is served: CONNECT, authentication, takeover, session, CONNACK.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::connect::{self, Hello, Refused, Terms, Will, refuse};
use super::finish::{finish, store_will, turn_away};
use super::intake::{Intake, Setup};
use super::serve::{Ended, Parts, Serving};
use super::table::Seat;
use super::wire::{self, Version, kind};
use crate::collect::Counter;
use crate::collect::session::{Granted, PacketIds};
use crate::store::Submission;

/// Largest CONNECT taken, in bytes: before it is read nobody knows who sends it. A will of 8 KiB has room.
const MAX_CONNECT: usize = 16 * 1024;

/// Where the protocol level stands in the body of a CONNECT that calls the protocol MQTT (section 3.1.2).
const LEVEL: usize = 6;

/// A connection that may not yet publish.
pub(super) struct Visitor<S> {
    pub(super) stream: S,
    pub(super) shared: Arc<Shared>,
    /// Until when its CONNECT must be answered.
    pub(super) deadline: Instant,
    pub(super) from: IpAddr,
    /// Whether its TLS certificate was checked.
    pub(super) certified: bool,
}

/// Why a visitor is not served.
enum Denied {
    /// It is gone, or Tidegate stops: nothing is said.
    Gone,
    /// It is told why, and counted.
    Refused(Refused, fn(&Shared) -> &Counter),
}

/// Serves a connection from its first byte to its last.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(visitor: Visitor<S>) {
    // Boxed, so that what an accepted connection no longer needs does not count for it.
    let Some((serving, ended)) = Box::pin(admit(visitor)).await else { return };
    let mut serving = serving;
    let ended = match ended {
        Some(ended) => ended,
        None => serving.serve().await,
    };
    Box::pin(finish(serving, ended)).await;
}

/// Lets a client in. With `Some(ended)` it had joined its session already, but cannot be served.
async fn admit<S: AsyncRead + AsyncWrite + Unpin>(mut visitor: Visitor<S>) -> Option<(Box<Serving<S>>, Option<Ended>)> {
    let mut input = Vec::new();
    let stop = visitor.shared.stop.clone();
    let hello = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Denied::Gone),
        hello = greet(&mut visitor, &mut input) => hello,
    };
    let (hello, seat) = match hello {
        Ok(hello) => match take_seat(&visitor, &hello).await {
            Ok(seat) => (hello, seat),
            Err(denied) => return deny(visitor, denied).await,
        },
        Err(denied) => return deny(visitor, denied).await,
    };
    join(visitor, hello, seat, input).await
}

async fn deny<S: AsyncRead + AsyncWrite + Unpin, T>(visitor: Visitor<S>, denied: Denied) -> Option<T> {
    if let Denied::Refused(refused, counter) = denied {
        counter(&visitor.shared).add(1);
        tracing::debug!(why = refused.what, "a CONNECT was refused");
        turn_away(visitor.stream, &refused.reply).await;
    }
    None
}

/// Reads CONNECT and checks who sends it. What came behind it stays in `input`.
async fn greet<S: AsyncRead + Unpin>(visitor: &mut Visitor<S>, input: &mut Vec<u8>) -> Result<Hello, Denied> {
    let late = || {
        let what = "no CONNECT in time";
        Denied::Refused(Refused { reply: Vec::new(), what }, |shared| &shared.stats.timeouts)
    };
    let hello = timeout_at(visitor.deadline, read_connect(&mut visitor.stream, input)).await;
    let hello = hello.map_err(|_| late())??;
    let Some(passwords) = visitor.shared.credentials.passwords() else { return Ok(hello) };
    let unknown: fn(&Shared) -> &Counter = |shared| &shared.stats.not_authorized;
    let Some(user) = &hello.user else {
        if visitor.shared.allow_anonymous || visitor.certified {
            return Ok(hello);
        }
        let v3 = Some(ConnectReturnCode::NotAuthorized);
        let what = "a user name and password are needed";
        return Err(Denied::Refused(refuse(hello.version, v3, ConnectReasonCode::NotAuthorized, what), unknown));
    };
    let verified = passwords.verify(user, hello.password.as_deref().unwrap_or_default(), visitor.from);
    if timeout_at(visitor.deadline, verified).await.map_err(|_| late())? {
        return Ok(hello);
    }
    let v3 = Some(ConnectReturnCode::BadUserNameOrPassword);
    let what = "a wrong user name or password";
    Err(Denied::Refused(refuse(hello.version, v3, ConnectReasonCode::BadUserNameOrPassword, what), unknown))
}

async fn read_connect<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<Hello, Denied> {
    let bad = |what| Denied::Refused(Refused { reply: Vec::new(), what }, |shared| &shared.stats.malformed);
    loop {
        if input.first().is_some_and(|first| *first != kind::CONNECT << 4) {
            return Err(bad("the first packet is not CONNECT"));
        }
        if let Some(header) = wire::header(input).map_err(|fault| bad(fault.what))? {
            if header.total > MAX_CONNECT && input.len() > header.len + LEVEL {
                let version = if input[header.len + LEVEL] == 5 { Version::V5 } else { Version::V3 };
                let refused = refuse(version, None, ConnectReasonCode::PacketTooLarge, "CONNECT is too large");
                return Err(Denied::Refused(refused, |shared| &shared.stats.malformed));
            }
            if let Some(body) = input.get(header.len..header.total) {
                let parsed = connect::parse(body);
                input.drain(..header.total);
                return parsed.map_err(|refused| Denied::Refused(refused, |shared| &shared.stats.malformed));
            }
        }
        input.reserve(512);
        match stream.read_buf(input).await {
            Ok(0) | Err(_) => return Err(Denied::Gone),
            Ok(_) => {}
        }
    }
}

/// Takes the client's seat and waits until whoever sat there has finished.
async fn take_seat<S>(visitor: &Visitor<S>, hello: &Hello) -> Result<Seat, Denied> {
    let client_id = if hello.client_id.is_empty() { assigned_id() } else { hello.client_id.clone() };
    let mut seat = visitor.shared.table.sit(&client_id);
    let cleared = timeout_at(visitor.deadline, async {
        tokio::select! {
            biased;
            () = seat.cleared() => true,
            () = visitor.shared.stop.cancelled() => false,
        }
    });
    match cleared.await {
        Ok(true) => Ok(seat),
        Ok(false) => Err(Denied::Gone),
        Err(_) => {
            let v3 = Some(ConnectReturnCode::ServerUnavailable);
            let what = "what its last connection sent is not on flash yet";
            let refused = refuse(hello.version, v3, ConnectReasonCode::ServerUnavailable, what);
            Err(Denied::Refused(refused, |shared| &shared.stats.timeouts))
        }
    }
}

/// A client identifier for a client without one; 64 random bits, so that it is nobody else's.
fn assigned_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    // `RandomState` draws its keys from the system's random numbers and changes them for each use.
    format!("tidegate-{:016x}", RandomState::new().hash_one(Instant::now()))
}

/// Joins the session and answers CONNECT.
async fn join<S: AsyncRead + AsyncWrite + Unpin>(
    visitor: Visitor<S>,
    hello: Hello,
    seat: Seat,
    input: Vec<u8>,
) -> Option<(Box<Serving<S>>, Option<Ended>)> {
    let shared = visitor.shared.clone();
    let Some((granted, will, committed)) = join_session(&shared, &hello, &seat) else {
        tracing::warn!("as many lasting sessions as max_sessions allows are connected: a client was refused");
        let v3 = Some(ConnectReturnCode::ServerUnavailable);
        let refused = refuse(hello.version, v3, ConnectReasonCode::QuotaExceeded, "there is no room for a session");
        return deny(visitor, Denied::Refused(refused, |shared| &shared.stats.connections_refused)).await;
    };
    if let Some(will) = will {
        store_will(&shared, &seat.client_id, will).await;
    }
    let terms = Terms {
        expiry_s: Some(granted.expiry_s).filter(|granted_s| *granted_s != hello.expiry_s),
        assigned: hello.client_id.is_empty().then_some(&*seat.client_id),
        receive_maximum: shared.receive_maximum,
        max_packet_size: shared.max_packet_size,
    };
    let connack = connect::accept(hello.version, granted.present, &terms);
    let (deadline, version) = (visitor.deadline, hello.version);
    let mut serving = Box::new(assemble(visitor, hello, granted, seat, input));
    let ended = match (timeout_at(deadline, committed).await, connack) {
        (Ok(true), Ok(connack)) => {
            serving.out = connack;
            return Some((serving, None));
        }
        (Ok(false), _) => Ended::StoreClosed,
        (Err(_), _) => {
            let v3 = Some(ConnectReturnCode::ServerUnavailable);
            serving.out = refuse(version, v3, ConnectReasonCode::ServerUnavailable, "").reply;
            shared.stats.timeouts.add(1);
            Ended::Refused
        }
        (_, Err(error)) => {
            tracing::error!(?error, "cannot build a CONNACK; this is a fault in Tidegate");
            Ended::Refused
        }
    };
    Some((serving, Some(ended)))
}

/// Joins the session and submits what changes by it; the future says whether what CONNACK promises is on flash. `None`
/// if there is no room.
fn join_session(
    shared: &Shared,
    hello: &Hello,
    seat: &Seat,
) -> Option<(Granted, Option<Will>, impl Future<Output = bool> + use<>)> {
    let mut inner = shared.table.lock();
    let mut granted = inner.sessions.join(&seat.client_id, hello.clean, hello.expiry_s, shared.now()).ok()?;
    shared.stats.sessions.set(inner.sessions.len() as u64);
    let will = inner.came_back(&seat.client_id, &granted);
    // Submitted before the lock is given up: changes of one session must reach the store in their order.
    let committed = submit(shared, &mut granted);
    Some((granted, will, committed))
}

/// Hands the changes to the store; the answer is whether they are on flash.
fn submit(shared: &Shared, granted: &mut Granted) -> impl Future<Output = bool> + use<> {
    let mut submission = Submission::new();
    for change in granted.changes.drain(..) {
        submission.change(change);
    }
    let mut committed = None;
    if granted.wait {
        committed = Some(submission.on_commit());
    }
    if !submission.is_empty() {
        shared.store.submit(submission);
    }
    async {
        match committed {
            Some(committed) => committed.await.is_ok(),
            None => true,
        }
    }
}

fn assemble<S: AsyncRead + AsyncWrite + Unpin>(
    visitor: Visitor<S>,
    hello: Hello,
    granted: Granted,
    seat: Seat,
    input: Vec<u8>,
) -> Serving<S> {
    let shared = visitor.shared;
    let (session, unreleased, subscribed) = match granted.session {
        Some(session) => (Some(session.id), session.unreleased, session.subscribed),
        None => (None, PacketIds::default(), false),
    };
    let setup = Setup {
        version: hello.version,
        session,
        unreleased,
        subscribed,
        max_packet_size: shared.max_packet_size as usize,
        receive_maximum: u32::from(shared.receive_maximum),
        expiry_s: granted.expiry_s,
        rules: shared.rules.clone(),
        devices: shared.devices.clone(),
    };
    Serving::new(Parts {
        stream: visitor.stream,
        seat,
        intake: Intake::new(setup),
        out: Vec::new(),
        input,
        keep_alive: hello.keep_alive,
        max_packet_size: if hello.version == Version::V5 { hello.max_packet_size } else { u32::MAX },
        will: hello.will,
        shared,
    })
}
