//! Subscribes on a broker that is already there, and makes its publishes into records.
//!
//! # Constraints
//! - **A PUBACK means it is on flash**: a publish is acknowledged to the broker only after the group commit that holds
//!   it, and on the connection it came by or not at all; the broker sends again what was not acknowledged.
//! - QoS 1 at most is asked for: rumqttc 0.25.1 as a QoS 2 subscriber loops for ever after a lost PUBCOMP.
//! - The session lasts (clean session 0; in v5 clean start 0 and a session expiry) under a stable client id, so the
//!   broker keeps for the gateway what is published while it is away. How much it keeps is the broker's setting:
//!   Mosquitto's defaults are 20 publishes in flight and 1,000 queued, and what is over is **silently dropped**.
//! - Memory is bounded whatever the broker sends and however long the store stands still.
//!
//! # Operation
//! Each connection is a new event loop (`link`) with two halves in one task. The pump polls rumqttc and puts what
//! arrives into a bounded channel; the intake (`intake`) makes a bunch of what is there, maps it by the topic rules,
//! submits it to the store (several at a time), and when the store has committed it acknowledges in the order received.
//!
//! **A store that stands still** (full or failing disk): acknowledgements are withheld. The pump goes on polling, and
//! so pinging, until [`Options::inflight`] publishes or 1 MiB are held. With a broker that limits what it has in flight
//! to fewer (Mosquitto's default is 20; in v5 Tidegate itself announces that number as Receive Maximum) that is never
//! reached by QoS 1, and the connection stays up for as long as it takes. Otherwise the pump stops reading: TCP's flow
//! control holds the broker, which hears no ping and closes the connection after 1.5 times the keep-alive, keeps QoS 1
//! for the session and drops QoS 0. When the store moves again, what was held is committed, its acknowledgements are
//! dropped with their connection, and the next connection brings the rest. Polling without taking is impossible with
//! rumqttc, and taking more would need memory without bound.
//!
//! **Refused** is a publish whose topic no rule takes, or which is too large: it is counted durably
//! ([`Change::Refused`](crate::store::Change::Refused)) and then acknowledged, because to a broker there is no other
//! answer than to have it sent again for ever. One line a minute for each cause says so in the log at warn level.
//!
//! **Retained messages** come again after each SUBSCRIBE; one that equals the last seen on its topic is acknowledged,
//! counted and not stored (`retained`).
//!
//! **Alarms** are published on a topic of the broker, those in force again after each connect.
//!
//! **Reconnecting** is by exponential back-off with full jitter, begun anew only after a connection has been good for
//! [`GOOD_AFTER`]. It subscribes again after every connect, whatever the broker says of the session.
//! A refused subscription is reported for an operator and asked for again every five minutes.

mod backoff;
mod bunch;
mod error;
pub mod examine;
mod intake;
mod link;
mod retained;
mod state;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use error::OptionsError;
pub use state::{Snapshot, State};
pub use tls::TlsOptions;

use self::backoff::Delays;
use self::error::LinkError;
use self::intake::{Ended, Intake, pump};
use self::retained::LastSeen;
use super::mapping::Rules;
use super::turned_away::TurnedAway;
use super::{Alarms, Stats};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::store::Store;

/// Publishes of QoS 1 that may be unacknowledged, unless told otherwise: with a commit every 5 ms it lets 20,000 a
/// second through, more than a local broker brings.
pub const WINDOW: u16 = 100;

/// How long a connection must last to count as good.
pub const GOOD_AFTER: Duration = Duration::from_secs(10);

/// A failure that stays the same is logged again after this time, not at every attempt.
const LOG_AGAIN: Duration = Duration::from_secs(600);

/// How long the DISCONNECT may take to go out when told to stop.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Packet ids of unknown releases that are remembered; more than one has not been seen.
const MAX_UNRELEASED: usize = 64;

/// The topic that alarms are published on unless told otherwise.
const ALARM_TOPIC: &str = "tidegate/alarm";

/// Version of MQTT to speak with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// MQTT 3.1.1, which every broker speaks.
    #[default]
    V311,
    /// MQTT 5.
    V5,
}

/// Who the gateway is to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password; may be empty.
    pub password: Secret,
}

/// What to subscribe to, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Name or address of the broker; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS (`mqtts://`); `None` for a plain connection (`mqtt://`).
    pub tls: Option<TlsOptions>,
    /// Client id, the same at every start: the broker keeps the session under it. No other client may use it.
    pub client_id: String,
    /// Version of MQTT.
    pub protocol: Protocol,
    /// Topic filters, subscribed at QoS 1.
    pub topics: Vec<String>,
    /// The topic that alarms are published on, at QoS 1 and not retained; what comes back on it is not stored.
    pub alarm_topic: String,
    /// User name and password, if the broker asks for them.
    pub credentials: Option<Credentials>,
    /// Longest silence before a ping, 5 to 65,535 s.
    pub keep_alive: Duration,
    /// How long the broker is asked to keep the session (v5 only; in 3.1.1 the broker decides).
    pub session_expiry: Duration,
    /// Publishes of QoS 1 taken and not yet acknowledged, at least 1: announced as Receive Maximum in v5.
    pub inflight: u16,
    /// Largest packet that is stored, in bytes without its fixed header and properties; what is larger is refused and
    /// counted.
    pub max_packet_size: usize,
    /// Longest time to connect, in whole seconds, at least 1.
    pub connect_timeout: Duration,
    /// Delays between attempts to connect.
    pub backoff: Backoff,
}

impl Options {
    /// Options with everything but these left at its default.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            client_id: client_id.into(),
            protocol: Protocol::default(),
            topics,
            alarm_topic: ALARM_TOPIC.into(),
            credentials: None,
            keep_alive: Duration::from_secs(30),
            // A week: the longest a gateway may be off, for instance over a holiday, before its broker forgets it.
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            inflight: WINDOW,
            max_packet_size: 256 * 1024,
            connect_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
        }
    }

    /// Whether they can be used.
    ///
    /// # Errors
    /// The first thing that is wrong, and what to write instead.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if self.client_id.is_empty() {
            return Err(OptionsError::NoClientId);
        }
        if self.topics.is_empty() {
            return Err(OptionsError::NoTopics);
        }
        if let Some(filter) = self.topics.iter().find(|filter| !rumqttc::valid_filter(filter)) {
            return Err(OptionsError::Filter(state::printable(filter, 128)));
        }
        let keep_alive = self.keep_alive.as_secs();
        if !(5..=u64::from(u16::MAX)).contains(&keep_alive) {
            return Err(OptionsError::KeepAlive(keep_alive));
        }
        if self.tls.is_some() && self.host.contains(':') {
            return Err(OptionsError::TlsToIpv6(self.host.clone()));
        }
        Ok(())
    }

    /// The host as rumqttc wants it: it joins host and port with a colon.
    fn address(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.address(), self.port)
    }

    /// Room for a topic and properties besides the payload, 128 KiB, is always left.
    fn read_limit(&self) -> usize {
        self.max_packet_size.saturating_add(128 * 1024).max(link::READ_LIMIT)
    }
}

/// What the broker client is handed.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Where records go.
    pub store: Store,
    /// What tells when they were received.
    pub clock: Arc<dyn Clock>,
    /// The topic rules in force.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// The intake's counters.
    pub stats: Arc<Stats>,
    /// Where the state of the link is shown.
    pub state: Arc<State>,
    /// What is published on [`Options::alarm_topic`].
    pub alarms: Alarms,
}

/// Keeps a subscription on the broker, over its restarts and ours, until told to stop or the store is closed.
///
/// When told to stop it takes no more, waits up to five seconds for what it received to be committed and acknowledged,
/// and says good-bye; the broker keeps the session.
///
/// # Errors
/// Only for options that cannot be used. A broker that cannot be reached is tried again for ever.
pub async fn run(options: Options, deps: Deps, stop: CancellationToken) -> Result<(), OptionsError> {
    options.validate()?;
    let mut delays = Delays::new(options.backoff);
    let mut last_seen = LastSeen::default();
    let mut unreleased = Vec::new();
    let mut reports = Reports::default();
    let log = TurnedAway::default();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let connects = deps.state.snapshot().connects;
        let ended = connection(&options, &deps, &stop, (&mut last_seen, &log), &unreleased).await;
        if deps.state.snapshot().connects > connects {
            deps.stats.brokers.sub(1);
        }
        let Err(error) = ended else { break };
        if let LinkError::UnknownRelease(packet_id) = error {
            unreleased.truncate(MAX_UNRELEASED - 1);
            unreleased.insert(0, packet_id);
        }
        deps.state.failed(&error);
        reports.report(&options, &error, Instant::now());
        if begun.elapsed() >= GOOD_AFTER {
            delays.reset();
        }
        // Without randomness (no known system) the longest delay is a safe one.
        let delay = delays.next(getrandom::u64().unwrap_or(u64::MAX));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => {}
        }
    }
    deps.state.change(|state| state.connected_since_ms = None);
    Ok(())
}

/// One connection, from CONNECT until it is lost (an error), told to stop, or the store is closed.
async fn connection(
    options: &Options,
    deps: &Deps,
    stop: &CancellationToken,
    (last_seen, log): (&mut LastSeen, &TurnedAway),
    unreleased: &[u16],
) -> Result<(), LinkError> {
    let tls = options.tls.as_ref().map(tls::config).transpose()?;
    let (client, source) = link::open(options, tls, unreleased);
    let (intake, way) = Intake::new(options, deps, client.clone(), last_seen, log);
    let mut pump = std::pin::pin!(pump(source, way, options.keep_alive));
    let mut intake = std::pin::pin!(intake.run(stop));
    let ended = tokio::select! {
        // The pump has dropped the event loop: no acknowledgement can be given any more. What was received is still
        // stored; the broker sends again what it holds unacknowledged.
        error = &mut pump => {
            return match intake.await {
                Ended::LinkGone => Err(error),
                Ended::Stopped | Ended::StoreClosed => Ok(()),
            };
        }
        ended = &mut intake => ended,
    };
    if ended == Ended::Stopped && client.disconnect() {
        let _ = tokio::time::timeout(GOODBYE_WITHIN, pump).await;
    }
    Ok(())
}

/// Keeps a failure that goes on from filling the log.
#[derive(Debug, Default)]
struct Reports {
    last: Option<(String, Instant)>,
}

impl Reports {
    fn report(&mut self, options: &Options, error: &LinkError, now: Instant) {
        let text = state::chain(error);
        let broker = options.name();
        if self.last.as_ref().is_some_and(|(last, when)| *last == text && now.duration_since(*when) < LOG_AGAIN) {
            tracing::debug!(%broker, error = %text, "still no connection to the broker");
            return;
        }
        let code = error.code();
        if error.needs_operator() {
            tracing::error!(%code, %broker, error = %text, "no connection to the broker until this is put right");
        } else {
            tracing::warn!(%code, %broker, error = %text, "no connection to the broker; trying again");
        }
        self.last = Some((text, now));
    }
}
