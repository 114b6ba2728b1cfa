//! What the rest of the agent sees of a running forwarder: its figures, and a way to hand it new options.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::endpoint::Endpoint;
use super::options::{Options, OptionsError};
use super::permit::{Standing as BudgetStanding, View};
use super::verdict::{RateLimit, rate_limit, shown};
use crate::clock::now_ms;
use crate::code::Code;
use crate::language::Value;
use crate::message;
use crate::shape::wire::Wire;
use crate::store::LaneStats;

/// What Flux last said, as `status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// `unknown` until something was answered, then the verdict's word: `accepted`, `throttled`, `maintenance`,
    /// `suspended`, `quota`, `misconfigured`, `poison` or `transient`.
    pub word: String,
    /// Since when it has been this word (ms since the Unix epoch).
    pub since_ms: u64,
    /// When the next attempt is due, while records wait and nothing will be sent before it (ms since the Unix epoch):
    /// because the endpoint or a lane is backed off, or because a batch waits for its age. A batch that is full before
    /// its age goes earlier.
    pub until_ms: Option<u64>,
    /// Why, in the endpoint's words where it gave any: cut, escaped, secrets struck out. Empty if accepted.
    pub reason: Value,
    /// What the operator can do. Empty if nothing.
    pub advice: Value,
    /// The code of what is wrong, if anything is.
    #[serde(skip)]
    pub code: Option<Code>,
}

/// Figures since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Which kind of endpoint.
    pub kind: String,
    /// Its host; the rest of the URL may be secret.
    pub host: String,
    /// Records accepted by Flux.
    pub forwarded: u64,
    /// Batches accepted: what an account's event quota is charged for.
    pub batches: u64,
    /// Requests that carried records, whatever came of them.
    pub requests: u64,
    /// Attempts at which nothing of the batch left: no connection was to be had, or it broke before.
    pub connect_failures: u64,
    /// Attempts at which nothing of the batch left because the API granted no token.
    pub token_refusals: u64,
    /// Bytes sent on the wire, by all who use it; see [`Counts`](crate::shape::wire::Counts).
    pub bytes_sent: u64,
    /// Bytes received, likewise.
    pub bytes_received: u64,
    /// TCP connections made.
    pub connections: u64,
    /// When Flux last accepted a batch (ms since the Unix epoch).
    pub last_accepted_ms: Option<u64>,
    /// Records put aside.
    pub put_aside: u64,
    /// Records refused alone that wait until another is accepted, to tell a bad record from a bad endpoint.
    pub suspects: u64,
    /// Records that wait below where the lanes' live streams go on, as sequence numbers: what an outage left, and what
    /// is replayed. In oldest-first order mostly 0, since all is one stream then.
    pub backlog: u64,
    /// The largest body in use now: the configured one, or less after a 413.
    pub body_limit: u64,
    /// What Flux last said.
    pub verdict: Standing,
    /// What [`Standing::until_ms`] says, by the clock that nobody sets: the gateway's own may be set by years meanwhile.
    #[serde(skip)]
    pub(super) next_attempt: Option<Instant>,
}

impl Stats {
    /// Nothing was sent yet.
    pub(super) fn starting(checked: &Checked) -> Self {
        let verdict = Standing { word: "unknown".into(), since_ms: now_ms(), ..Standing::default() };
        let mut stats = Self { verdict, ..Self::default() };
        stats.describe(checked);
        stats
    }

    /// Says which endpoint the figures are about.
    pub(super) fn describe(&mut self, checked: &Checked) {
        checked.endpoint.kind.clone_into(&mut self.kind);
        self.host = shown(&checked.endpoint.target.host);
        self.body_limit = checked.options.batch.max_bytes as u64;
    }
}

/// Options that were checked, with the endpoint they describe.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) options: Options,
    pub(super) endpoint: Endpoint,
}

impl Checked {
    pub(super) fn new(options: Options, lanes: usize) -> Result<Self, OptionsError> {
        let range = |ok: bool, what, range| if ok { Ok(()) } else { Err(OptionsError::Range { what, range }) };
        if options.lanes.len() != lanes {
            return Err(OptionsError::Lanes { given: options.lanes.len(), present: lanes });
        }
        range(options.batch.max_records > 0, "max_records", message!("at least 1"))?;
        range(options.batch.max_bytes > 0, "max_bytes", message!("at least 1 byte"))?;
        range((1..=99).contains(&options.backlog_share), "backlog_share", message!("1 to 99 percent"))?;
        range(options.answer_timeout.as_millis() > 0, "answer_timeout", message!("more than 0"))?;
        for delays in [options.backoff, options.probe] {
            let ok = delays.min.as_millis() > 0 && delays.min <= delays.max;
            range(ok, "a delay's min", message!("more than 0 and not above its max"))?;
        }
        let endpoint = Endpoint::new(&options.flux)?;
        Ok(Self { options, endpoint })
    }
}

impl Options {
    /// Whether they can be used, by a forwarder with as many lanes.
    ///
    /// # Errors
    /// What cannot be used of them.
    pub fn check(&self) -> Result<(), OptionsError> {
        Checked::new(self.clone(), self.lanes.len()).map(|_| ())
    }
}

/// A handle on a forwarder; clones share it.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) stats: Arc<Mutex<Stats>>,
    pub(super) reload: Arc<watch::Sender<Arc<Checked>>>,
    pub(super) wire: Wire,
    pub(super) view: View,
    /// What the last answer that spoke of it said of the rate limit.
    pub(super) limit: Arc<watch::Sender<Option<RateLimit>>>,
}

impl Handle {
    /// The figures as they stand.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counts = self.wire.counts();
        stats.bytes_sent = counts.sent;
        stats.bytes_received = counts.received;
        stats.connections = counts.connections;
        let wait = stats.next_attempt.map(|at| at.saturating_duration_since(Instant::now()));
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        stats.verdict.until_ms = wait_ms.filter(|wait| *wait > 0).map(|wait| now_ms().saturating_add(wait));
        stats
    }

    /// How the budgets stand, and what it will cost to send what waits in these lanes.
    pub fn budgets(&self, lanes: &[LaneStats]) -> BudgetStanding {
        self.view.standing(lanes)
    }

    /// In how many ms budgets let a probe leave, which is the oldest of what waits in these lanes, alone; `None` if that is not
    /// known.
    pub fn probe_in_ms(&self, lanes: &[LaneStats]) -> Option<u64> {
        self.view.probe_held(lanes).ok()
    }

    /// Takes new options into use, and tries the endpoint at once, unless it is the same and named a time
    /// (`Retry-After`), or a reload that changed nothing has had it tried within a minute. Lanes cannot change in number. If the options cannot be used, the old ones stay.
    pub fn reload(&self, options: Options) -> Result<(), OptionsError> {
        let lanes = self.reload.borrow().options.lanes.len();
        let checked = Checked::new(options, lanes)?;
        self.reload.send_replace(Arc::new(checked));
        Ok(())
    }

    /// What answers say of the provider's rate limit; each is there until a later one speaks of it, its end notwithstanding.
    pub fn rate_limit(&self) -> watch::Receiver<Option<RateLimit>> {
        self.limit.subscribe()
    }

    /// Takes note of what an answer's headers say of the rate limit.
    pub(super) fn note_limit(&self, headers: &HeaderMap, now: Instant) {
        if let Some(limit) = rate_limit(headers, now) {
            self.limit.send_replace(Some(limit));
        }
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
