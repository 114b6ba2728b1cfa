//! What the forwarder is told: where Flux is, how batches are cut, how lanes share, how failures are paced.

use std::time::Duration;

use blake2::{Blake2s256, Digest as _};

pub use tidegate_protocol::batch::Layout;

use crate::answer::rule::Rule;
use crate::language::Message;
use crate::message;
use crate::secret::Secret;
use crate::shape::budget::Calendar;

/// The way into the Flux app, with its secrets as values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flux {
    /// An incoming webhook.
    Webhook {
        /// `https://…` or `http://…`. The whole URL is the secret: only its host is ever shown.
        url: Secret,
    },
    /// The API with an authentication key.
    Api {
        /// The API's base, such as `https://api.soracom.io` or `https://g.api.soracom.io`.
        base: String,
        /// The Flux app.
        app_id: String,
        /// The channel of its event source.
        channel_id: String,
        /// The authentication key's id (`keyId-…`).
        auth_key_id: Secret,
        /// The authentication key (`secret-…`).
        auth_key: Secret,
        /// How long a token is asked to live: 24 h by default, 48 h at most.
        token_timeout: Duration,
    },
    /// The Unified Endpoint, reached over a SORACOM line; the SIM is the credential.
    Unified {
        /// `http://uni.soracom.io/` unless a test says otherwise.
        url: String,
    },
}

impl Flux {
    /// A number that tells endpoints with their credentials apart, the same at every start, and gives nothing of them away.
    pub fn fingerprint(&self) -> u64 {
        let parts: [&str; 5] = match self {
            Flux::Webhook { url } => [url.expose(), "", "", "", ""],
            Flux::Api { base, app_id, channel_id, auth_key_id, auth_key, .. } => {
                [base, app_id, channel_id, auth_key_id.expose(), auth_key.expose()]
            }
            Flux::Unified { url } => [url, "", "", "", ""],
        };
        let mut hash = Blake2s256::new();
        for part in std::iter::once(self.kind()).chain(parts) {
            // Lengths keep two texts from running into one another.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let bytes = hash.finalize();
        bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The kind's name in configuration: `webhook`, `api` or `unified`.
    pub fn kind(&self) -> &'static str {
        match self {
            Flux::Webhook { .. } => "webhook",
            Flux::Api { .. } => "api",
            Flux::Unified { .. } => "unified",
        }
    }
}

/// When a batch closes: at whichever of these comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// At so many records; 1 makes each request carry one.
    pub max_records: usize,
    /// At so many bytes of request body; a single record may be larger.
    pub max_bytes: usize,
    /// When its oldest record is so old. An event is counted per request, and a new account's plan has 10,000 a month:
    /// one every 270 s is 9,600 in 30 days.
    pub max_age: Duration,
    /// An array of events, or one event without the array.
    pub layout: Layout,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { max_records: 500, max_bytes: 64 * 1024, max_age: Duration::from_secs(270), layout: Layout::default() }
    }
}

/// How one lane takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneOptions {
    /// Its share of the bytes among the lanes that are `first`, or among those that are not; 0 counts as 1.
    pub weight: u32,
    /// It goes before all lanes that are not, on a connection of its own; where the line is limited, up to nine of ten
    /// bytes while they wait. And its batches do not wait for `max_age`.
    pub first: bool,
    /// Its batches leave only while the windows are open, if there are any.
    pub windowed: bool,
}

/// What counts as an event of the account's quota where a request carries an array of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventsCount {
    /// Each request.
    #[default]
    Requests,
    /// Each record of each request.
    Records,
}

impl LaneOptions {
    /// `critical`, `normal` and `bulk`: the first at once, the others 4 : 1.
    pub fn defaults() -> Vec<Self> {
        let lane = |weight, first, windowed| Self { weight, first, windowed };
        vec![lane(1, true, false), lane(4, false, false), lane(1, false, true)]
    }
}

/// In which order a lane's records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As they came in.
    #[default]
    OldestFirst,
    /// After an outage, what comes in goes first, and what waited has a share of the line until it is gone.
    LiveFirst,
}

/// The range of a growing delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayRange {
    /// The shortest delay.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to.
    pub flux: Flux,
    /// When it no longer may be sent there, in ms since the Unix epoch, by a clock that is known to be right: no request is
    /// begun from two seconds before it, and none that was begun before and has not got onto the wire is sent. Other
    /// options are to follow ([`Handle::reload`](super::Handle::reload)).
    pub until_ms: Option<u64>,
    /// How batches are cut.
    pub batch: BatchOptions,
    /// Records that waited longer are marked `replayed`, as are those sent before.
    pub replayed_after: Duration,
    /// In which order a lane's records go.
    pub order: Order,
    /// With [`Order::LiveFirst`]: what of a lane's bytes its backlog gets while both it and fresh records wait, in
    /// percent, 1 to 99.
    pub backlog_share: u8,
    /// One per lane of the store, in its order.
    pub lanes: Vec<LaneOptions>,
    /// Delays after failures that pass by themselves: the line, the server, a refused batch.
    pub backoff: DelayRange,
    /// Delays between looks at an endpoint that will not take anything until somebody acts (suspended, quota,
    /// misconfigured), and between repeats that each may cost an event.
    pub probe: DelayRange,
    /// Longest time from the first byte of a request to the last of its answer. The time that the body takes on the
    /// slowest line, at 2,000 B/s, is added: 5 s are 7 s for a body of 4,000 bytes, and 37.8 s for one of 64 KiB.
    pub answer_timeout: Duration,
    /// A connection that carried nothing for so long is not used again.
    pub idle_limit: Duration,
    /// By which calendar the account's months and days begin.
    pub calendar: Calendar,
    /// What counts as an event.
    pub events_count: EventsCount,
    /// What answers mean, before what is known of them otherwise.
    pub rules: Vec<Rule>,
}

impl Options {
    /// Defaults for everything but the endpoint.
    pub fn new(flux: Flux) -> Self {
        Self {
            flux,
            until_ms: None,
            batch: BatchOptions::default(),
            // Twice the batch's age: an ordinary wait for company is no replay, an outage is.
            replayed_after: Duration::from_secs(540),
            order: Order::default(),
            backlog_share: 20,
            lanes: LaneOptions::defaults(),
            backoff: DelayRange { min: Duration::from_secs(1), max: Duration::from_secs(300) },
            probe: DelayRange { min: Duration::from_secs(60), max: Duration::from_secs(3600) },
            answer_timeout: Duration::from_secs(60),
            // Load balancers commonly close after 60 s without traffic; leaving first avoids the race.
            idle_limit: Duration::from_secs(55),
            calendar: Calendar::default(),
            events_count: EventsCount::default(),
            rules: Vec::new(),
        }
    }
}

/// Why options cannot be used. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum OptionsError {
    /// The URL cannot be used.
    Url {
        /// The kind.
        kind: &'static str,
        /// What is wrong, and what to write.
        problem: Message,
    },
    /// A part of an API path would not survive in a URL.
    Id {
        /// Which one.
        what: &'static str,
    },
    /// A number is outside its range.
    Range {
        /// Which one.
        what: &'static str,
        /// What is allowed.
        range: Message,
    },
    /// The lanes are not those of the store.
    Lanes {
        /// Lanes in the options.
        given: usize,
        /// Lanes in the store.
        present: usize,
    },
}

impl OptionsError {
    /// It in words.
    pub fn message(&self) -> Message {
        match self {
            Self::Url { kind, problem } => {
                message!("the URL for Flux kind `{kind}` {problem}", kind = *kind, problem = problem)
            }
            Self::Id { what } => {
                message!("{what} may hold letters, digits, `-`, `_` and `.` only, and not be empty", what = *what)
            }
            Self::Range { what, range } => message!("{what} must be {range}", what = *what, range = range),
            Self::Lanes { given, present } => message!(
                "{given} lanes are given, the store has {present}; lanes change with a restart only",
                given = *given,
                present = *present
            ),
        }
    }
}
