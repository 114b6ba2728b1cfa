//! Devices connect here: MQTT 3.1.1 and 5 over TCP or TLS, straight into the store.
//!
//! # Constraints
//! - **A PUBACK means it is on flash.** QoS 1 is acknowledged after the record's group commit, QoS 2 likewise with
//!   PUBREC, and PUBCOMP follows the commit of the release. Acknowledgements leave in the order received.
//! - While the disk is full or failing, acknowledgements are withheld and sockets not read; no failure code is ever
//!   sent for a publish that should be stored, because the client would forget it. Memory stays bounded meanwhile.
//! - A client that asks for a session finds it again after a reconnect, a restart and a power cut.
//! - It is an intake, not a broker: nothing goes from one device to another. SUBSCRIBE is granted for `tidegate/alarm`
//!   and refused in SUBACK for everything else, never by hanging up; an alarm that is in force is told at once, also to
//!   a client that comes back to its session. RETAIN is accepted and means nothing.
//! - Whatever a client sends, it harms nobody else: it is answered with the right reason and disconnected.
//!
//! # Operation
//! One task serves one connection, all on the thread of the runtime (`current_thread` is enough; the store writes on
//! its own):
//!
//! ```text
//! accept ─ (TLS) ─ admit: CONNECT, password, takeover, session ─ serve: read, submit, answer ─ finish: will, session
//!                         connect  credentials  table                   intake  wire                    table
//! ```
//!
//! `serve` says how reading, submitting and acknowledging are bounded; `table` how one client's connections follow
//! each other; [`super::session`] what lasts.
//!
//! # Refusing
//! A publish whose topic no rule matches, whose device is not allowed or which is too large is refused and counted
//! durably. MQTT 5 answers 0x90 or 0x87 in PUBACK or PUBREC, and DISCONNECT 0x95 for the size; 3.1.1 has no such
//! answer, so there it is acknowledged once the refusal is on flash: otherwise the client would send it again for ever,
//! and nothing behind it. One that is too large is read past for that, up to 16 MiB; a larger one is counted and ends
//! the connection, as it does in MQTT 5.
//!
//! Whatever is refused or turned away leaves a line in the log that names who it was and what to do, at warn level
//! once a minute for each cause (`turned_away`).
//!
//! # Wills
//! A will is stored as telemetry, by the same rules, when the connection ends other than by an orderly DISCONNECT,
//! after its delay (MQTT 5); not when Tidegate stops, because then the devices are well. A will that waits for its
//! delay is stored at once when Tidegate stops, and forgotten in a power cut.

mod admit;
mod connect;
mod credentials;
mod finish;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod intake;
mod options;
mod serve;
mod subscribe;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::sync::CancellationToken;

pub use credentials::Credentials;
pub use options::{Deps, ListenError, Options, TlsOptions};

use self::admit::{Visitor, converse};
use self::table::Table;
use crate::clock::{Clock, now_ms};
use crate::collect::mapping::Rules;
use crate::collect::session::{Limits, Now, Sessions};
use crate::collect::tls::Acceptor;
use crate::collect::turned_away::{Cause, Seen, TurnedAway};
use crate::collect::{Alarms, Stats, certificate};
use crate::store::{Store, Submission};

/// Connections the system may hold that are not accepted yet: devices that all come back at once after a power cut.
const BACKLOG: u32 = 1_024;

/// Pause after the system could not give a socket (no descriptors, no memory): it will not be different at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// How often wills that wait are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How many ticks lie between two looks at the sessions' ages.
const EXPIRE_TICKS: u64 = 60;

/// At most one log line about connections that cannot be accepted in this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// A device behind a line that died without a word is noticed after two minutes, also if it asked for no keep-alive.
const TCP_IDLE: Duration = Duration::from_secs(60);
const TCP_INTERVAL: Duration = Duration::from_secs(15);
const TCP_PROBES: u32 = 4;

/// What all connections share.
struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    rules: watch::Receiver<Arc<Rules>>,
    stats: Arc<Stats>,
    alarms: Alarms,
    table: Arc<Table>,
    credentials: Credentials,
    allow_anonymous: bool,
    max_packet_size: u32,
    receive_maximum: u16,
    write_timeout: Duration,
    packet_budget: Arc<Semaphore>,
    stop: CancellationToken,
    started: Instant,
    turned_away: TurnedAway,
}

impl Shared {
    fn now(&self) -> Now {
        Now { monotonic_ms: self.started.elapsed().as_millis() as u64, wall_ms: now_ms() }
    }
}

/// The intake for devices: bound, and not yet running.
pub struct Listener {
    plain: Option<TcpListener>,
    tls: Option<TcpListener>,
    shared: Shared,
    max_connections: usize,
    connect_timeout: Duration,
    stop_timeout: Duration,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Listener on {:?}, TLS on {:?}", self.local_addr(), self.tls_addr())
    }
}

impl Listener {
    /// Binds the addresses and reads certificates and passwords. To be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`ListenError`]; each says what to do.
    pub fn bind(options: Options, deps: Deps) -> Result<Self, ListenError> {
        options.check()?;
        let tls_bind = options.tls.as_ref().map(|tls| tls.bind);
        let open_to = open_addresses(&options);
        let credentials = Credentials::open(options.passwords, options.tls)?;
        let plain = options.plain.map(listen).transpose()?;
        let tls = tls_bind.map(listen).transpose()?;
        for address in open_to {
            tracing::warn!(%address, "whoever reaches this address may publish: no password or certificate is needed");
        }
        let started = Instant::now();
        let limits = Limits {
            max_sessions: options.max_sessions,
            max_age_s: u32::try_from(options.session_max_age.as_secs()).unwrap_or(u32::MAX - 1),
        };
        let now = Now { monotonic_ms: 0, wall_ms: now_ms() };
        let (sessions, ended) = Sessions::restore(limits, deps.kept, deps.next_session_id, now);
        deps.stats.sessions.set(sessions.len() as u64);
        let mut submission = Submission::new();
        for change in ended {
            submission.change(change);
        }
        if !submission.is_empty() {
            deps.store.submit(submission);
        }
        let shared = Shared {
            store: deps.store,
            clock: deps.clock,
            rules: deps.rules,
            stats: deps.stats,
            alarms: deps.alarms,
            table: Table::new(sessions),
            credentials,
            allow_anonymous: options.allow_anonymous,
            max_packet_size: options.max_packet_size,
            receive_maximum: options.receive_maximum,
            write_timeout: options.write_timeout,
            packet_budget: Arc::new(Semaphore::new(serve::PACKET_BYTES.max(options.max_packet_size as usize))),
            stop: CancellationToken::new(),
            started,
            turned_away: TurnedAway::default(),
        };
        let (max_connections, connect_timeout) = (options.max_connections, options.connect_timeout);
        Ok(Self { plain, tls, shared, max_connections, connect_timeout, stop_timeout: options.stop_timeout })
    }

    /// Where it listens for plain MQTT.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref()?.local_addr().ok()
    }

    /// Where it listens for MQTT over TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref()?.local_addr().ok()
    }

    /// What to tell when the password file or a certificate has changed.
    pub fn credentials(&self) -> Credentials {
        self.shared.credentials.clone()
    }

    /// Serves devices until told to stop. Then it accepts no more and reads no more, acknowledges what was received
    /// once it is on flash, and says goodbye (MQTT 5: 0x8B), within the stop timeout.
    pub async fn run(self, stop: CancellationToken) {
        let Self { plain, tls, mut shared, max_connections, connect_timeout, stop_timeout } = self;
        shared.stop = stop.clone();
        let shared = Arc::new(shared);
        for (listener, how) in [(plain.as_ref(), "plain"), (tls.as_ref(), "TLS")] {
            if let Some(address) = listener.and_then(|listener| listener.local_addr().ok()) {
                tracing::info!(%address, how, "devices may connect");
            }
        }
        let mut reception =
            Reception { shared: shared.clone(), tasks: JoinSet::new(), max_connections, connect_timeout, told: None };
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    count += 1;
                    housekeep(&shared, &mut reception.tasks, count % EXPIRE_TICKS == 0);
                }
                Some(ended) = reception.tasks.join_next() => report(ended),
                accepted = accept(plain.as_ref()) => reception.receive(accepted, None).await,
                accepted = accept(tls.as_ref()) => {
                    reception.receive(accepted, shared.credentials.acceptor()).await;
                }
            }
        }
        drop((plain, tls));
        shared.table.stop();
        let deadline = Instant::now() + stop_timeout;
        let mut tasks = reception.tasks;
        for (client_id, will) in shared.table.lock().due(None) {
            let shared = shared.clone();
            tasks.spawn(async move { finish::store_will(&shared, &client_id, will).await });
        }
        while let Ok(Some(ended)) = timeout_at(deadline, tasks.join_next()).await {
            report(ended);
        }
        if !tasks.is_empty() {
            tracing::warn!(
                connections = tasks.len(),
                "stopped before all that was received was on flash; it is not acknowledged, the devices will send it again"
            );
        }
        tasks.shutdown().await;
    }
}

/// Takes connections in.
struct Reception {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    max_connections: usize,
    connect_timeout: Duration,
    /// When something was last logged about connections that cannot be taken.
    told: Option<Instant>,
}

impl Reception {
    async fn receive(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>, tls: Option<Acceptor>) {
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if lasting(&error) => {
                self.tell(|| tracing::warn!(%error, "cannot accept connections; raise the limit of open files"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return;
            }
            // The client went away before it was accepted.
            Err(_) => return,
        };
        if self.tasks.len() >= self.max_connections {
            self.shared.stats.connections_refused.add(1);
            let seen = Seen { peer: Some(from), ..Seen::default() };
            self.shared.turned_away.tell(Cause::Connections, 1, &seen);
            return;
        }
        self.shared.stats.connections_total.add(1);
        let open = Open::new(self.shared.clone());
        let deadline = Instant::now() + self.connect_timeout;
        self.tasks.spawn(async move {
            prepare(&stream);
            connection(stream, &open, deadline, from, tls).await;
        });
    }

    fn tell(&mut self, log: impl FnOnce()) {
        if self.told.is_none_or(|told| told.elapsed() >= LOG_PAUSE) {
            self.told = Some(Instant::now());
            log();
        }
    }
}

/// Counts an open connection for as long as it lives, however it ends.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.stats.connections.add(1);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.connections.sub(1);
    }
}

async fn connection(stream: TcpStream, open: &Open, deadline: Instant, from: SocketAddr, tls: Option<Acceptor>) {
    let shared = open.0.clone();
    let Some(acceptor) = tls else {
        return converse(Visitor { stream, shared, deadline, from, certificate: None }).await;
    };
    let handshake = async {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => None,
            stream = timeout_at(deadline, acceptor.accept(stream)) => Some(stream),
        }
    };
    // Boxed, so that it does not count for the connection that comes of it.
    match Box::pin(handshake).await {
        Some(Ok(Ok(stream))) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = certificate.map(|certificate| certificate::names(certificate));
            let stream = Box::new(stream);
            converse(Visitor { stream, shared, deadline, from, certificate }).await;
        }
        Some(Ok(Err(error))) => {
            shared.stats.tls_failed.add(1);
            let cause = if no_tls(&error) { Cause::PlainOnTls } else { Cause::Tls };
            let what = error.to_string();
            shared.turned_away.tell(cause, 1, &Seen { peer: Some(from), what: Some(&what), ..Seen::default() });
        }
        Some(Err(_)) => {
            shared.stats.timeouts.add(1);
            let what = Some("the TLS handshake was not finished in time");
            shared.turned_away.tell(Cause::Late, 1, &Seen { peer: Some(from), what, ..Seen::default() });
        }
        None => {}
    }
}

/// Whether a handshake failed because what came is not TLS.
fn no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidMessage(_)))
}

/// Addresses at which anyone who reaches them may publish. That may be meant: a network of devices alone is common.
fn open_addresses(options: &Options) -> Vec<SocketAddr> {
    if options.passwords.is_some() && !options.allow_anonymous {
        return Vec::new();
    }
    let certified = |tls: &TlsOptions| tls.client_ca.is_some() && tls.require_client_certificate;
    let tls = options.tls.as_ref().filter(|tls| !certified(tls)).map(|tls| tls.bind);
    [options.plain, tls].into_iter().flatten().filter(|address| !address.ip().is_loopback()).collect()
}

fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Without it a restart would have to wait for the old connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken { address, source },
        _ => ListenError::Bind { address, source },
    })
}

/// The next connection; never, if there is no listener.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Whether `accept` fails for a reason that lies with this machine and lasts.
fn lasting(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Acknowledgements are small and must not wait for company; a dead line must be noticed. Without these it works, only
/// later.
fn prepare(stream: &TcpStream) {
    use rustix::net::sockopt;
    let prepared = stream.set_nodelay(true).and_then(|()| {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, TCP_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, TCP_INTERVAL)?;
        Ok(sockopt::set_tcp_keepcnt(stream, TCP_PROBES)?)
    });
    if let Err(error) = prepared {
        tracing::debug!(%error, "cannot set an option of a device's socket");
    }
}

/// Stores the wills that are due, and ends the sessions that are over.
fn housekeep(shared: &Arc<Shared>, tasks: &mut JoinSet<()>, expire: bool) {
    let mut inner = shared.table.lock();
    for (client_id, will) in inner.due(Some(Instant::now())) {
        let shared = shared.clone();
        tasks.spawn(async move { finish::store_will(&shared, &client_id, will).await });
    }
    if expire {
        let mut submission = Submission::new();
        for change in inner.sessions.expire(shared.now()) {
            submission.change(change);
        }
        if !submission.is_empty() {
            shared.store.submit(submission);
        }
        shared.stats.sessions.set(inner.sessions.len() as u64);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        if error.is_panic() {
            tracing::error!(%error, "serving a connection failed and it was closed; this is a fault in Tidegate");
        }
    }
}
