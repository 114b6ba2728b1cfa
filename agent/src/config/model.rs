//! The configuration as plain values. Every field holds what its key says, checked; nothing here does anything.

mod provider;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Problem;
use crate::field::{Path, Step};
use crate::hardware::Source;
use crate::secret::Secret;
use tidegate_protocol::terms::Bound;
use tidegate_protocol::units::Amount;

pub use provider::{Metadata, Notices, OnTermsChange, Probe, Provider, Resume, SpeedClass, StatusPage};

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[gateway]`: who this is.
    pub gateway: Gateway,
    /// `[collect]`: where telemetry comes from.
    pub collect: Collect,
    /// `[store]`: where it is kept until delivered.
    pub store: Store,
    /// `[[lane]]`: the lanes within it, in order of priority: the last is evicted from first. 1 to 16.
    pub lanes: Vec<Lane>,
    /// `[forward]`: where it goes.
    pub forward: Forward,
    /// `[limits]`: what may leave.
    pub limits: Limits,
    /// `[provider]`: what the contract and the line allow.
    pub provider: Provider,
    /// `[clock]`: what says that the clock is right.
    pub clock: Clock,
    /// `[alarm]`: telling people near the gateway.
    pub alarm: super::Alarm,
    /// `[control]`: the socket that `tidegate status` asks.
    pub control: Control,
    /// `[metrics]`: the Prometheus page.
    pub metrics: Metrics,
    /// `[log]`: what is logged and where.
    pub log: Log,
    /// What is allowed but probably not meant, in the order of the lines. To be logged at start and after a reload.
    pub warnings: Vec<Problem>,
}

/// `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The gateway's name in every event: 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
    pub id: String,
}

/// `[collect]`. At least one of the two intakes is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    /// The listener devices connect to. Stands by default unless only `[collect.broker]` is configured.
    pub listener: Option<Listener>,
    /// The broker to subscribe on.
    pub broker: Option<Broker>,
    /// The lane of topics that no rule matches; `None` refuses them. One of [`Config::lanes`].
    pub default_lane: Option<String>,
    /// Devices that may publish, as `[collect]` itself names them; never with [`Allow::devices`].
    pub devices: Option<Vec<String>>,
    /// `[collect.allow]`: who is served.
    pub allow: Allow,
    /// Topic rules; the first that matches wins. Never empty; at most 256.
    pub rules: Vec<Rule>,
    /// What of payloads is kept; the first that matches a topic treats its payloads. At most 64.
    pub fields: Vec<FieldRule>,
    /// `[collect.pseudonyms] key_file`: the key to pseudonyms; there if a rule makes any.
    pub pseudonym_key: Option<Secret>,
}

/// `[collect.allow]`: names, in which `*` stands for any characters. `None` lets all pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allow {
    /// Devices that may publish, as the topic rules name them.
    pub devices: Option<Vec<String>>,
    /// MQTT client identifiers.
    pub client_ids: Option<Vec<String>>,
    /// User names.
    pub usernames: Option<Vec<String>>,
    /// Common and alternative names of client certificates.
    pub certificates: Option<Vec<String>>,
}

/// `[[collect.rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The pattern: literal levels, exactly one `{device}`, `+`, a trailing `#`.
    pub topic: String,
    /// One of [`Config::lanes`].
    pub lane: String,
}

/// `[[collect.fields]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRule {
    /// The pattern: literal levels, `+` or `{device}` for any one, a trailing `#`.
    pub topic: String,
    /// Fields that are kept, and no others; `None` keeps all.
    pub keep_only: Option<Vec<Path>>,
    /// Fields that are dropped.
    pub drop: Vec<Path>,
    /// Fields that are replaced by pseudonyms.
    pub pseudonymise: Vec<Path>,
    /// Fields that are rounded, and to what.
    pub round: Vec<(Path, Step)>,
    /// Whether a payload that cannot be treated is stored as it is, and not refused.
    pub store_untreated: bool,
}

/// `[collect.listener]`. At least one of `bind` and `tls` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address for plain MQTT.
    pub bind: Option<SocketAddr>,
    /// MQTT over TLS.
    pub tls: Option<Tls>,
    /// File of user names and argon2 hashes, one `name:hash` a line.
    pub passwords_file: Option<PathBuf>,
    /// Whether a device may connect without a user name. By default only while there is no `passwords_file`.
    pub allow_anonymous: bool,
    /// Connections at one time, 1 to 65,535.
    pub max_connections: usize,
    /// Largest MQTT packet taken, in bytes, 1 KiB to 1 MiB.
    pub max_packet_size: u32,
    /// Lasting sessions kept, 1 to 100,000.
    pub max_sessions: usize,
    /// How long a session without a connection is kept, 1 minute to 365 days.
    pub session_max_age: Duration,
    /// How long a new connection may take until its CONNECT is complete, 1 s to 5 min.
    pub connect_timeout: Duration,
    /// Unacknowledged `QoS` 1 and 2 publishes that an MQTT 5 client may have outstanding, 1 to 65,535.
    pub receive_maximum: u16,
}

/// The listener's TLS side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Address for MQTT over TLS.
    pub bind: SocketAddr,
    /// PEM file with the server's certificate chain.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the CA that signs client certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is turned away. Needs `client_ca`.
    pub require_client_certificate: bool,
}

/// MQTT versions the broker intake speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// `[collect.broker]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The URL as configured; holds no secret.
    pub url: String,
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// Port: the URL's, or 1883 and 8883 (IANA) for `mqtt` and `mqtts`.
    pub port: u16,
    /// Whether the URL is `mqtts://`.
    pub tls: bool,
    /// Topic filters to subscribe to, 1 to 64.
    pub topics: Vec<String>,
    /// The MQTT client identifier, the same at every start. By default `tidegate-` and the gateway's id.
    pub client_id: String,
    /// The MQTT version.
    pub protocol: MqttVersion,
    /// User name.
    pub username: Option<String>,
    /// Password; only with a user name.
    pub password: Option<Secret>,
    /// PEM file with the CA of the broker; without it the system's roots are used. Only with `tls`.
    pub ca_file: Option<PathBuf>,
    /// PEM files with a client certificate and its key. Only with `tls`.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// MQTT keep-alive, 5 s to 65,535 s, whole seconds.
    pub keep_alive: Duration,
    /// How long the broker is asked to keep the session (MQTT 5), 1 minute to 365 days.
    pub session_expiry: Duration,
    /// Publishes taken from the broker and not yet acknowledged, 1 to 65,535; the Receive Maximum of MQTT 5.
    pub inflight: u16,
    /// Largest MQTT packet taken, in bytes, 1 KiB to 1 MiB.
    pub max_packet_size: u32,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its folder. An absolute path.
    pub path: PathBuf,
    /// Bytes on disk that the store may use in all, 2 MiB to 16 TiB.
    pub max_size: u64,
    /// What the store keeps when others fill the disk; at most `max_size`.
    pub min_size: Amount,
    /// Bytes of the file system that the store leaves free, 0 to 16 TiB.
    pub keep_free: u64,
    /// Inodes of the file system that the store leaves free, 0 to 2^32.
    pub keep_free_inodes: u64,
    /// What happens when there is no room.
    pub policy: Policy,
    /// How long delivered records are kept, room permitting, 0 to 365 days.
    pub keep_delivered: Duration,
    /// Longest time a commit waits for company, 0 to 60 s.
    pub commit_within: Duration,
    /// Bytes that the medium can be written with in its life, as its maker says; 1 GB to 10,000 TB.
    pub flash_endurance: Option<u64>,
    /// What tells this gateway's hardware from another's.
    pub hardware: Source,
}

impl Store {
    /// [`Store::min_size`] in bytes.
    pub fn min_bytes(&self) -> u64 {
        self.min_size.of(self.max_size)
    }
}

/// What happens to records that come in when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The oldest of the lowest lane go.
    DropOldest,
    /// They are not acknowledged, so that the devices keep them.
    Refuse,
}

impl Policy {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DropOldest => "drop-oldest",
            Self::Refuse => "refuse",
        }
    }
}

/// `[[lane]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// 1 to 64 of `a-z 0-9 _ -`, each name once.
    pub name: String,
    /// It goes before all lanes that are not, and its batches do not wait for company.
    pub first: bool,
    /// Its share of what is sent, among lanes that are not `first` or among those that are; 1 to 1000.
    pub weight: u32,
    /// Its batches leave only while the windows are open, if there are any.
    pub windowed: bool,
    /// What of the store's `max_size` other lanes' records cannot take from it.
    pub reserve: Amount,
    /// How old a record may become before it is dropped, 1 s to 3650 days; `None` for any age.
    pub max_age: Option<Duration>,
}

/// `[clock]`: what says that the system's clock is synchronised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// A file that is there once it is. An absolute path.
    pub synchronised_marker: PathBuf,
    /// Whether systemd-timedated is asked too.
    pub timedated: bool,
    /// `[clock.date]`.
    pub date: Date,
}

/// `[clock.date]`: who is asked for the time over TLS while the clock is not known to be right and nothing else tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Date {
    /// Whether anybody is.
    pub enabled: bool,
    /// Scheme (`https`), host and port. Without it the status page, or an endpoint that is not SORACOM's, over TLS.
    pub url: Option<String>,
    /// How long after the start at the least, 1 s to 24 h.
    pub after: Duration,
    /// PEM file with the CA of `url`; without it the system's roots are used.
    pub ca_file: Option<PathBuf>,
}

/// `[forward]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Which records of a lane go first.
    pub order: Order,
    /// The backlog's guaranteed share of what is sent while it waits, with [`Order::LiveFirst`]; 1 to 99 percent.
    pub backlog_share: u8,
    /// The network interface that everything to the outside goes through; any that has a route if none.
    pub interface: Option<String>,
    /// Where it goes to and how it proves itself.
    pub target: FluxTarget,
    /// `[forward.flux_next]`: the same from a time on.
    pub next: Option<NextFlux>,
    /// PEM file with the CA of the endpoint; without it the system's roots are used.
    pub ca_file: Option<PathBuf>,
    /// PEM files with a client certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// How long connecting, with TLS, may take, 1 s to 5 min.
    pub connect_timeout: Duration,
    /// How long a request may take from its first byte to the end of the answer, 1 s to 10 min.
    pub timeout: Duration,
    /// After how long a wait an event says `replayed: true`, 1 s to 365 days.
    pub replayed_after: Duration,
    /// `[forward.flux.batch]`.
    pub batch: Batch,
    /// `[forward.backoff]`.
    pub backoff: Backoff,
}

/// Which records of a lane go first after an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order in which they came.
    OldestFirst,
    /// Fresh ones, the backlog in its share beside them.
    LiveFirst,
}

impl Order {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OldestFirst => "oldest-first",
            Self::LiveFirst => "live-first",
        }
    }
}

/// The kinds of Flux endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An incoming webhook; its URL is the secret.
    Webhook,
    /// The API with an authentication key.
    Api,
    /// Unified Endpoint over a SORACOM line.
    Unified,
}

impl Kind {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Api => "api",
            Self::Unified => "unified",
        }
    }
}

/// `[forward.flux]`: what differs between the kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FluxTarget {
    /// An incoming webhook.
    Webhook {
        /// The URL, `http` or `https`, checked; a secret.
        url: Secret,
    },
    /// The API.
    Api {
        /// Without a trailing slash: `https://api.soracom.io`.
        base_url: String,
        /// The Flux app.
        app_id: String,
        /// The channel within it.
        channel_id: String,
        /// Key id for `POST /v1/auth`.
        auth_key_id: Secret,
        /// Key for `POST /v1/auth`.
        auth_key: Secret,
        /// Lifetime asked of a token, 5 min to 48 h, whole seconds.
        token_timeout: Duration,
    },
    /// Unified Endpoint.
    Unified {
        /// By default `http://uni.soracom.io/`.
        url: String,
    },
}

impl FluxTarget {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Webhook { .. } => Kind::Webhook,
            Self::Api { .. } => Kind::Api,
            Self::Unified { .. } => Kind::Unified,
        }
    }

    /// Whether it is SORACOM's.
    pub fn is_soracoms(&self) -> bool {
        super::address::is_soracom(&self.origin())
    }

    /// Scheme, host and port: as much of the address as may be shown.
    pub fn origin(&self) -> String {
        let url = match self {
            Self::Webhook { url } => url.expose(),
            Self::Api { base_url, .. } => base_url,
            Self::Unified { url } => url,
        };
        super::address::origin(url)
    }
}

/// `[forward.flux_next]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextFlux {
    /// From when it holds, in ms since the Unix epoch.
    pub from_ms: u64,
    /// Where it goes to and how it proves itself.
    pub target: FluxTarget,
}

/// `[forward.flux.batch]`: when a batch closes, whichever comes first. `critical` does not wait for `max_age`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Records, 1 to 10,000.
    pub max_records: usize,
    /// Bytes of the request's body, 1 KiB to 4 MiB.
    pub max_bytes: usize,
    /// Age of the oldest record, 0 to 24 h.
    pub max_age: Duration,
    /// How the body is laid out.
    pub layout: Layout,
}

/// How the body of a request is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A JSON array of events.
    Array,
    /// One event a request.
    Single,
}

/// `[forward.backoff]`: waits between attempts grow from `min` to `max`, with full jitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// 10 ms to 1 h.
    pub min: Duration,
    /// `min` to 24 h.
    pub max: Duration,
    /// The same where somebody must act first, and where each attempt may cost an event: 100 ms to 24 h.
    pub probe_min: Duration,
    /// `probe_min` to 24 h.
    pub probe_max: Duration,
}

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Path of the Unix socket: absolute, at most 100 bytes (the system's limit is near: `sun_path`, unix(7)).
    pub socket: PathBuf,
}

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// A loopback address, or none.
    pub bind: Option<SocketAddr>,
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// What is logged.
    pub level: LogLevel,
    /// Where to.
    pub target: LogTarget,
}

/// What is logged: this and everything more serious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only where an operator must act.
    Error,
    /// And what an operator may want to know.
    Warn,
    /// And the agent's rare changes of life.
    Info,
    /// And the rest.
    Debug,
    /// And what is only of use beside the source.
    Trace,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error, for people (under systemd it ends in the journal too).
    Stderr,
    /// The journal's own protocol, with fields.
    Journald,
}

impl LogLevel {
    /// The level as `tracing` has it.
    pub fn filter(self) -> tracing::level_filters::LevelFilter {
        use tracing::level_filters::LevelFilter;
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// `[limits]`: what the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What stands there, each kind at most once.
    pub stated: Vec<Stated>,
    /// By which calendar months and days begin that are counted.
    pub calendar: Calendar,
    /// What the provider counts as an event.
    pub events_count: EventsCount,
}

/// What the provider counts as an event where a request carries an array of records: that is not documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsCount {
    /// Each request.
    Requests,
    /// Each record of each request.
    Records,
}

/// A limit as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// What is limited, and to what.
    pub bound: Bound,
    /// The line, counted from 1.
    pub line: usize,
}

/// The calendar of the provider's bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// Japan's time: nine hours ahead of UTC all year.
    Jst,
    /// UTC.
    Utc,
}

impl Calendar {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jst => "JST",
            Self::Utc => "UTC",
        }
    }
}
