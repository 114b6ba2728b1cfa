//! The one door to the wire: the only code of the agent that opens a connection to the outside.
//!
//! # Constraints
//! - Every byte that leaves or comes in is counted and limited here, as it goes over the wire: headers, handshakes,
//!   acknowledgements, segments sent again and name resolution included ([`Wire::set_pace`], [`Wire::counts`]).
//! - Whoever asks for a connection gets a byte stream and does not see whether it is TLS, IPv4 or IPv6.
//! - Connecting is bounded in time: a name that does not resolve and a peer that does not answer are errors, not hangs.
//!   Time in which the gate holds bytes back is nobody's fault and does not count ([`WireStream::held`]).
//! - With no pace set it costs a flag's look for each write.
//!
//! # How it works
//! [`Wire::connect`] resolves the name (`resolve`), tries at most [`MAX_ADDRESSES`] addresses in the order the resolver gave
//! them, switches `TCP_NODELAY` on (requests are written whole, and an acknowledgement must not wait for Nagle), and
//! does TLS with rustls and `ring` where the target asks for it. The roots are the system's, or those of a given PEM
//! text; they are read at the first TLS connection, so a gateway that only talks plain HTTP needs none.
//!
//! ```text
//!   WireStream ── TLS ── Metered ── TcpStream        one per connection
//!                           │ asks        │ TCP_INFO
//!                           ▼             ▼
//!                         gate ◄─────── meter        one per door: buckets of both directions, what really went
//! ```
//!
//! TLS sits *above* the metered socket, so its records and handshakes are limited and counted like anything else. Before
//! a write the socket asks the `gate` for what the write will cost, headers included; what it really cost is read from the
//! kernel (`line`, `meter`) before the next permit and settled as debt or credit.
//!
//! What comes in is held by the peer: it may send what the receive window allows. The window is as small as the burst
//! demands, paid for when the connection is made, and opened again by reading, for which the gate is asked (`window`). Two
//! things cannot be held so, and are charged afterwards: acknowledgements of what leaves (at most 52 bytes for each
//! segment, with IPv6 72), and what a peer sends again. And a `rate_down` that is set while connections are open binds
//! them only after what their windows allowed before, 64 KB at first. Weighed on a wire between two namespaces,
//! at 32 kbit/s to 8 Mbit/s and with TLS and without, both directions stay within rate × window + burst in windows of 1, 10
//! and 60 s, and our count is within 1 % of the interface's.
//!
//! # A client that brings its own sockets
//! [`WireStream`] is an ordinary byte stream, so a client that cannot be given one goes through the door by a relay: it
//! connects to a Unix socket, and for each connection the relay calls [`Wire::connect`] and copies both ways
//! (`tokio::io::copy_bidirectional`). TLS is the door's; the client speaks plainly to its socket. rumqttc can do that
//! (`Transport::Unix`), which a test shows. To such a client the gate is a slow line: its time-outs and its keep-alive must
//! allow for a whole message at the rate in force.
//!
//! A ceiling on the count of bytes (`ceiling`, [`Wire::set_ceiling`]) is the hard stop under budgets of bytes: where there is
//! no room under it, a write and a read fail, a connection is not made and a name is not asked for.
//!
//! What the system does not offer is missed visibly: a line in the log, [`Counts::estimated`], never an error.
//!
//! On the wire: TCP, TLS 1.2 or 1.3 with ALPN `http/1.1`. Nothing is written to disk. After an error the caller
//! decides when to try again; the door keeps no state about a target.

mod asking_time;
mod ceiling;
mod certificate;
mod dial;
mod error;
mod failure;
mod gate;
mod line;
mod meter;
mod packet;
mod reach;
mod repeats;
pub(crate) mod resolve;
mod socket;
mod stream;
mod tls;
mod window;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

pub use super::bucket::Class;
use super::pace::Pace;
use crate::clock::{Clock, SystemClock};
use crate::message;
pub use asking_time::Judging;
pub use ceiling::{SENT_AGAIN, TAIL};
pub use certificate::Certificate;
pub(crate) use error::CannotBind;
use error::too_long;
pub use error::{Stage, Trouble, WireError, trouble};
pub use failure::Failure;
use gate::{Direction, Gate};
pub use meter::Counts;
use meter::{Meter, Reader};
pub use reach::{Distrust, Reached, distrust};
pub use resolve::Names;
use resolve::Resolver;
use socket::Metered;
use stream::Inner;
pub use stream::{Carried, HeldBack, WireStream};
pub use tls::{ClientIdentity, Roots};

/// Addresses of one name that are tried before giving up. A dual-stack host behind a load balancer has two to eight;
/// with the default connect limit four of them cost at most 40 s.
pub const MAX_ADDRESSES: usize = 4;

/// What the door is told when it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whom to trust in TLS.
    pub roots: Roots,
    /// What to show in TLS where a server asks.
    pub identity: Option<ClientIdentity>,
    /// Longest time for resolving a name, and again for connecting to each of its addresses.
    pub connect_timeout: Duration,
    /// Longest time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// The network interface that everything goes through, by name; any that has a route if none.
    pub interface: Option<String>,
    /// Where the machine says what it knows of names.
    pub names: Names,
}

impl Default for Options {
    /// Ten seconds each: a modem that wakes from idle takes two to five, and two lost SYNs cost three more.
    fn default() -> Self {
        let limit = Duration::from_secs(10);
        Self {
            roots: Roots::System,
            identity: None,
            connect_timeout: limit,
            handshake_timeout: limit,
            interface: None,
            names: Names::default(),
        }
    }
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether to do TLS.
    pub tls: bool,
}

/// The door; clones share its limits, its counts and its TLS configuration.
#[derive(Clone)]
pub struct Wire {
    door: Arc<Door>,
    class: Class,
    /// It is used to ask what time it is, which is not known.
    asks_time: Option<Arc<Judging>>,
}

/// What all clones share. What limits and counts is shared with doors [beside](Wire::beside) it, too.
struct Door {
    options: Options,
    gate: Arc<Gate>,
    meter: Arc<Meter>,
    resolver: Resolver,
    tls: OnceCell<TlsConnector>,
    pace: Arc<Mutex<Pace>>,
    /// By which certificates are judged.
    clock: Arc<dyn Clock>,
    /// No name server is asked.
    silent: Arc<AtomicBool>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Wire")
            .field("options", &self.door.options)
            .field("pace", &self.pace())
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// A door with these options, without limits. Certificates are read at the first TLS connection.
    pub fn new(options: Options) -> Self {
        Self::by_clock(options, Arc::new(SystemClock::new()))
    }

    /// The same, where certificates are judged by this clock.
    pub fn by_clock(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self::with_reader(options, clock, |socket| tidegate_sockopt::tcp_info(socket))
    }

    /// The same with another way to learn what connections carried.
    fn with_reader(options: Options, clock: Arc<dyn Clock>, reader: Reader) -> Self {
        let gate = Arc::new(Gate::open());
        let meter = Arc::new(Meter::new(Arc::clone(&gate), reader));
        let (resolver, tls, pace, silent) = (Resolver::default(), OnceCell::new(), Arc::default(), Arc::default());
        let door = Door { options, gate, meter, resolver, tls, pace, clock, silent };
        Self { door: Arc::new(door), class: Class::default(), asks_time: None }
    }

    /// A door that leads elsewhere, through another interface or with other trust, and is limited and counted with this one:
    /// whatever leaves by either takes from the same buckets and stands in the same counts. Over another line that is
    /// stricter than need be, and there is no way around the gate.
    #[must_use]
    pub fn beside(&self, options: Options) -> Self {
        let (gate, meter) = (Arc::clone(&self.door.gate), Arc::clone(&self.door.meter));
        let (resolver, tls, pace) = (Resolver::default(), OnceCell::new(), Arc::clone(&self.door.pace));
        let (clock, silent) = (Arc::clone(&self.door.clock), Arc::clone(&self.door.silent));
        let door = Door { options, gate, meter, resolver, tls, pace, clock, silent };
        Self { door: Arc::new(door), class: Class::default(), asks_time: None }
    }

    /// The same door for whoever asks what time it is, which is not known: certificates are judged as [`Judging`] has it,
    /// and names are resolved though others may not ([`Wire::let_names`]).
    #[must_use]
    pub fn asking_time(&self, judging: Arc<Judging>) -> Self {
        Self { asks_time: Some(judging), ..self.clone() }
    }

    /// Whether name servers may be asked, by this door and those beside it. What is known already may be used all the same.
    pub fn let_names(&self, may: bool) {
        self.door.silent.store(!may, Ordering::Relaxed);
    }

    /// The same door for traffic of a class: [`Class::Critical`] has the next bytes. Traffic is [`Class::Other`] unless
    /// this says otherwise.
    #[must_use]
    pub fn for_class(&self, class: Class) -> Self {
        Self { class, ..self.clone() }
    }

    /// Limits what passes from now on, also what waits already; nothing where there is no rate.
    pub fn set_pace(&self, pace: Pace) {
        let mut known = self.door.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == pace {
            return;
        }
        // What passed until now is settled by the old rates; where there were none, it is nobody's debt.
        self.door.meter.settle();
        *known = pace;
        self.door.gate.set(pace);
        for line in self.door.meter.lines() {
            line.tune(pace);
        }
    }

    /// What limits it.
    pub fn pace(&self) -> Pace {
        *self.door.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection: resolved, connected and, where asked for, through the TLS handshake.
    pub async fn connect(&self, target: &Target) -> Result<WireStream, WireError> {
        if !self.may_connect() {
            return Err(WireError::Spent);
        }
        let tls = match (target.tls, &self.asks_time) {
            (false, _) => None,
            (true, None) => Some(self.door.tls.get_or_try_init(|| self.connector(None)).await?.clone()),
            // Seldom, and never judged as others are: so nothing of it is kept.
            (true, Some(judging)) => Some(self.connector(Some(Arc::clone(judging))).await?),
        };
        let dialled = self.dial(target).await?;
        self.door.meter.connected();
        let metered = Metered::new(dialled, &self.door.gate, Arc::clone(&self.door.meter), self.class);
        let held = HeldBack(metered.held());
        let Some(connector) = tls else { return Ok(WireStream { inner: Inner::Plain(metered), held }) };
        let host = || target.host.clone();
        let name = ServerName::try_from(host()).map_err(|_| WireError::Name { host: host() })?;
        let limit = self.door.options.handshake_timeout;
        match held.timeout(limit, connector.connect(name, metered)).await {
            Some(Ok(stream)) => Ok(WireStream { inner: Inner::Tls(Box::new(stream)), held }),
            Some(Err(source)) => Err(WireError::Tls { host: host(), source }),
            None => Err(WireError::Tls { host: host(), source: too_long(message!("the handshake"), limit) }),
        }
    }

    /// When a name server beyond the site last answered, whatever it said: evidence that the line carries something.
    pub fn names_answered(&self) -> Option<std::time::Instant> {
        self.door.resolver.answered()
    }

    /// What has passed through so far.
    pub fn counts(&self) -> Counts {
        self.door.meter.counts()
    }

    /// A TLS configuration; reading the system's roots blocks, so it is done aside.
    async fn connector(&self, judging: Option<Arc<Judging>>) -> Result<TlsConnector, WireError> {
        let door = Arc::clone(&self.door);
        let read = move || {
            let (options, clock) = (&door.options, Arc::clone(&door.clock));
            tls::client_config(&options.roots, options.identity.as_ref(), clock, judging)
        };
        let made = tokio::task::spawn_blocking(read).await;
        let config = made.map_err(|error| WireError::NoRoots { source: Some(std::io::Error::other(error)) })??;
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests;
