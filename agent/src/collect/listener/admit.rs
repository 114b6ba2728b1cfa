//! From an accepted socket to a connection that is served: CONNECT, authentication, takeover, session, CONNACK.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::connect::{self, Hello, Refused, Terms, Will, refuse};
use super::finish::{finish, submit_will, turn_away};
use super::intake::{Intake, Setup};
use super::serve::{Batch, Ended, Parts, Serving};
use super::table::Seat;
use super::wire::{self, Version, kind};
use crate::collect::Counter;
use crate::collect::allow::{Identity, Unlisted};
use crate::collect::devices::Ear;
use crate::collect::session::{Granted, PacketIds};
use crate::collect::turned_away::{Cause, Seen};
use crate::store::Submission;

/// Largest CONNECT taken, in bytes: before it is read nobody knows who sends it. A will of 8 KiB has room.
const MAX_CONNECT: usize = 16 * 1024;

/// Where the protocol level stands in the body of a CONNECT that calls the protocol MQTT (section 3.1.2).
const LEVEL: usize = 6;

/// What a TLS record with a handshake begins with (RFC 8446, section 5.1); as an MQTT packet it would be a PUBLISH.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that may not yet publish.
pub(super) struct Visitor<S> {
    pub(super) stream: S,
    pub(super) shared: Arc<Shared>,
    /// Until when its CONNECT must be answered.
    pub(super) deadline: Instant,
    pub(super) from: SocketAddr,
    /// The names in its TLS certificate, once that was checked; `None` if it showed none.
    pub(super) certificate: Option<Box<[Box<str>]>>,
}

/// Why a visitor is not served.
enum Denied {
    /// It is gone, or Tidegate stops: nothing is said.
    Gone,
    /// It is told why, counted and logged.
    Refused(Refused),
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
    let hello = match hello {
        Ok(hello) => hello,
        Err(denied) => return deny(visitor, None, denied).await,
    };
    match enter(&visitor, &hello).await {
        Ok(seat) => join(visitor, hello, seat, input).await,
        Err(denied) => deny(visitor, Some(&hello), denied).await,
    }
}

async fn deny<S: AsyncRead + AsyncWrite + Unpin, T>(
    visitor: Visitor<S>,
    hello: Option<&Hello>,
    denied: Denied,
) -> Option<T> {
    if let Denied::Refused(refused) = denied {
        counter(&visitor.shared, refused.cause).add(1);
        let seen = Seen {
            peer: Some(visitor.from),
            client: hello.map(|hello| &*hello.client_id),
            user: hello.and_then(|hello| hello.user.as_deref()),
            what: Some(refused.what),
            ..Seen::default()
        };
        visitor.shared.turned_away.tell(refused.cause, 1, &seen);
        turn_away(visitor.stream, &refused.reply).await;
    }
    None
}

/// What counts those who are not let in.
pub(super) fn counter(shared: &Shared, cause: Cause) -> &Counter {
    let stats = &shared.stats;
    match cause {
        Cause::Password | Cause::NoUser => &stats.not_authorized,
        Cause::ClientId => &stats.unlisted_client_id,
        Cause::User => &stats.unlisted_user,
        Cause::Certificate => &stats.unlisted_certificate,
        Cause::Late | Cause::Store => &stats.timeouts,
        Cause::Connections | Cause::Sessions => &stats.connections_refused,
        _ => &stats.malformed,
    }
}

fn late() -> Denied {
    Denied::Refused(Refused { reply: Vec::new(), cause: Cause::Late, what: "no CONNECT in time" })
}

/// Reads CONNECT. What came behind it stays in `input`.
async fn greet<S: AsyncRead + Unpin>(visitor: &mut Visitor<S>, input: &mut Vec<u8>) -> Result<Hello, Denied> {
    timeout_at(visitor.deadline, read_connect(&mut visitor.stream, input)).await.map_err(|_| late())?
}

/// Checks who it is, and takes the client's seat.
async fn enter<S>(visitor: &Visitor<S>, hello: &Hello) -> Result<Seat, Denied> {
    tokio::select! {
        biased;
        () = visitor.shared.stop.cancelled() => return Err(Denied::Gone),
        allowed = authorize(visitor, hello) => allowed?,
    }
    // Behind the password, so that nobody learns from the answer which names are listed.
    let admitted = visitor.shared.rules.borrow().admits(&identity(visitor, hello));
    admitted.map_err(|unlisted| Denied::Refused(unlisted_answer(hello.version, unlisted)))?;
    take_seat(visitor, hello).await
}

/// What the client has shown of itself.
fn identity<S>(visitor: &Visitor<S>, hello: &Hello) -> Identity {
    Identity {
        client_id: hello.client_id.as_str().into(),
        user: hello.user.as_deref().map(Into::into),
        certificate: visitor.certificate.clone().unwrap_or_default(),
    }
}

/// The CONNACK for a client that is not listed.
fn unlisted_answer(version: Version, unlisted: Unlisted) -> Refused {
    let (v3, v5, what) = match unlisted {
        Unlisted::ClientId => (
            ConnectReturnCode::IdentifierRejected,
            ConnectReasonCode::ClientIdentifierNotValid,
            "its client id is not in client_ids",
        ),
        Unlisted::User => (
            ConnectReturnCode::NotAuthorized,
            ConnectReasonCode::NotAuthorized,
            "its user name, or that it gives none, is not in usernames",
        ),
        Unlisted::Certificate => (
            ConnectReturnCode::NotAuthorized,
            ConnectReasonCode::NotAuthorized,
            "no name of its certificate, or no certificate, is in certificates",
        ),
    };
    refuse(version, Some(v3), v5, unlisted.into(), what)
}

async fn authorize<S>(visitor: &Visitor<S>, hello: &Hello) -> Result<(), Denied> {
    let Some(passwords) = visitor.shared.credentials.passwords() else { return Ok(()) };
    let Some(user) = &hello.user else {
        if visitor.shared.allow_anonymous || visitor.certificate.is_some() {
            return Ok(());
        }
        let (v3, v5) = (Some(ConnectReturnCode::NotAuthorized), ConnectReasonCode::NotAuthorized);
        let what = "a user name and password are needed";
        return Err(Denied::Refused(refuse(hello.version, v3, v5, Cause::NoUser, what)));
    };
    let password = hello.password.as_deref().unwrap_or_default();
    let verified = passwords.verify(user, password, visitor.from.ip());
    if timeout_at(visitor.deadline, verified).await.map_err(|_| late())? {
        return Ok(());
    }
    let (v3, v5) = (Some(ConnectReturnCode::BadUserNameOrPassword), ConnectReasonCode::BadUserNameOrPassword);
    Err(Denied::Refused(refuse(hello.version, v3, v5, Cause::Password, "a wrong user name or password")))
}

async fn read_connect<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<Hello, Denied> {
    let bad = |cause, what| Denied::Refused(Refused { reply: Vec::new(), cause, what });
    loop {
        match input.first() {
            Some(&TLS_HANDSHAKE) => return Err(bad(Cause::TlsOnPlain, "the first byte is that of a TLS handshake")),
            Some(&first) if first != kind::CONNECT << 4 => {
                return Err(bad(Cause::Connect, "the first packet is not CONNECT"));
            }
            _ => {}
        }
        if let Some(header) = wire::header(input).map_err(|fault| bad(Cause::Connect, fault.what))? {
            if header.total > MAX_CONNECT && input.len() > header.len + LEVEL {
                let version = if input[header.len + LEVEL] == 5 { Version::V5 } else { Version::V3 };
                let (code, what) = (ConnectReasonCode::PacketTooLarge, "a CONNECT of more than 16 KiB");
                return Err(Denied::Refused(refuse(version, None, code, Cause::Connect, what)));
            }
            if let Some(body) = input.get(header.len..header.total) {
                let parsed = connect::parse(body);
                input.drain(..header.total);
                return parsed.map_err(Denied::Refused);
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
            let code = ConnectReasonCode::ServerUnavailable;
            Err(Denied::Refused(refuse(hello.version, v3, code, Cause::Store, what)))
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
        let (v3, v5) = (Some(ConnectReturnCode::ServerUnavailable), ConnectReasonCode::QuotaExceeded);
        let refused = refuse(hello.version, v3, v5, Cause::Sessions, "there is no room for a session");
        return deny(visitor, Some(&hello), Denied::Refused(refused)).await;
    };
    let parting = match will {
        Some(will) => submit_parting(&shared, &seat, will, visitor.deadline).await,
        None => Ok(None),
    };
    let connack = connack(&shared, &hello, &granted, &seat);
    let (deadline, version) = (visitor.deadline, hello.version);
    let mut serving = Box::new(assemble(visitor, hello, granted, seat, input));
    let committed = match parting {
        Ok(parting) => {
            if let Some(parting) = parting {
                serving.follow(parting);
            }
            timeout_at(deadline, committed).await
        }
        Err(late) => Err(late),
    };
    let ended = match (committed, connack) {
        (Ok(true), Ok(connack)) => {
            serving.out = connack;
            return Some((serving, None));
        }
        (Ok(false), _) => Ended::StoreClosed,
        (Err(_), _) => {
            let v3 = Some(ConnectReturnCode::ServerUnavailable);
            let what = "its session, or its last will before it, is not on flash yet";
            let refused = refuse(version, v3, ConnectReasonCode::ServerUnavailable, Cause::Store, what);
            counter(&shared, refused.cause).add(1);
            shared.turned_away.tell(refused.cause, 1, &Seen { what: Some(what), ..serving.seen() });
            serving.out = refused.reply;
            Ended::Refused
        }
        (_, Err(error)) => {
            tracing::error!(?error, "cannot build a CONNACK; this is a fault in Tidegate");
            Ended::Refused
        }
    };
    Some((serving, Some(ended)))
}

/// The CONNACK that lets the client in.
fn connack(shared: &Shared, hello: &Hello, granted: &Granted, seat: &Seat) -> Result<Vec<u8>, MqttError> {
    let terms = Terms {
        expiry_s: Some(granted.expiry_s).filter(|granted_s| *granted_s != hello.expiry_s),
        assigned: hello.client_id.is_empty().then_some(&*seat.client_id),
        receive_maximum: shared.receive_maximum,
        max_packet_size: shared.max_packet_size,
    };
    connect::accept(hello.version, granted.present, &terms)
}

/// Submits the will that the client left when it was here before, within its time for CONNECT.
///
/// It must be submitted before anything that the client publishes now, so that its death comes before its return.
/// Its commit is not waited for: the store keeps the order of what it is handed, and CONNACK promises nothing of it. So
/// only room for its bytes can keep the client waiting, while the disk is full; when there is none in time the will
/// goes back to those that are due, and the client is told to come again.
async fn submit_parting(shared: &Shared, seat: &Seat, will: Will, deadline: Instant) -> Result<Option<Batch>, Elapsed> {
    let submitted = timeout_at(deadline, submit_will(shared, &seat.client_id, &will)).await;
    if submitted.is_err() {
        shared.table.lock().put_back(&seat.client_id, will);
    }
    submitted
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
    let identity = identity(&visitor, &hello);
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
        ear: Ear::new(Arc::clone(&shared.stats.devices)),
        identity,
    };
    Serving::new(Parts {
        stream: visitor.stream,
        from: visitor.from,
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
