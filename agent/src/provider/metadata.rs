//! The SIM's metadata service: speed class, status and announced end of the line that the gateway itself uses.
//!
//! # Constraints
//! - It is asked seldom: every [`Settings::every`], give or take [`JITTER`], more seldom while it fails, and never twice
//!   for one answer. Gateways that were switched on together do not ask together.
//! - Nothing waits for it. What was told last stands until something else is told: a class does not end because the
//!   service does not answer now, or leaves the field out.
//! - Nothing it says is trusted further than it can be used: the answer is bounded in size ([`ANSWER_BYTES`]) and time
//!   ([`PATIENCE`]), every field may be missing, null or nonsense, and a class that no table has is the caller's to judge.
//!   It is plain HTTP: whoever is on the path may lie, and can thereby make the gateway slower, never faster than others
//!   allow.
//!
//! # On the wire
//! ```text
//! GET <base>/v1/subscriber HTTP/1.1      one request a connection, through `shape::wire`
//! host, user-agent: tidegate/<version>, accept: application/json, connection: close
//! ```
//! It must be enabled in the SIM group (otherwise 403), and is reached over a SORACOM line only.
//!
//! # Recovery
//! Whoever runs this keeps the class on disk and hands it in with `line`: after a start it holds until the first answer. While nobody could be reached since
//! the start (the modem is still coming up), it is asked again after [`FIRST_AGAIN`], then after twice that, and so on.

mod subscriber;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::shape::wire::{Target, Wire, WireError};
pub use subscriber::{Expiry, Subscriber};

/// Waits differ by up to so much of themselves, either way.
pub const JITTER: f64 = 0.2;

/// Bytes of an answer's body that are taken; real ones have some 2 KB. A longer one is no answer.
pub const ANSWER_BYTES: usize = 64 * 1024;

/// How long connecting, asking and the answer may take together: a name, a handshake and 3 KB at 32 kbit/s take two
/// seconds on an idle line, and a full one may make it wait for the queue.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How soon it is asked again while nobody could be reached since the start: a modem takes half a minute to register.
pub const FIRST_AGAIN: Duration = Duration::from_secs(60);

/// The longest wait that failures alone make.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// The first question comes at random within this time after the start.
const SPREAD: Duration = Duration::from_secs(1);

/// Bytes of an answer's head at most.
const HEAD_BYTES: usize = 16 * 1024;

/// Characters of a refusal that are shown.
const SHOWN: usize = 100;

const PATH: &str = "/v1/subscriber";

/// Whom to ask, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Base URL without a trailing slash, `http` or `https`: `http://metadata.soracom.io`.
    pub url: String,
    /// How often.
    pub every: Duration,
}

/// What is known of the line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// What was told last, field by field: what an answer leaves out stays as an earlier one told it.
    pub told: Subscriber,
    /// When the speed class was told, if that was before the start (ms since the Unix epoch).
    pub kept_ms: Option<u64>,
    /// When the last answer came that could be read.
    pub answered: Option<Instant>,
    /// Why the last question was not answered, if it was not.
    pub problem: Option<Problem>,
    /// Questions that were not answered since the last that was.
    pub failures: u32,
}

/// Why there is no answer, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What was tried, and what came of it. Text from outside is cut and escaped.
    pub reason: String,
    /// What the operator can do.
    pub advice: &'static str,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("its URL cannot be used")]
    Url,
    #[error("no connection")]
    Unreachable(#[source] WireError),
    #[error("the connection broke")]
    Broke(#[source] hyper::Error),
    #[error("no whole answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("HTTP {status}{message}")]
    Refused { status: u16, message: String },
    #[error("an answer of more than {ANSWER_BYTES} bytes")]
    TooLong,
    #[error("the answer is not a JSON object")]
    Nonsense(#[source] Option<serde_json::Error>),
}

impl AskError {
    fn advice(&self) -> &'static str {
        match self {
            Self::Url => "correct [provider.metadata] url",
            Self::Unreachable(WireError::Spent) => "nothing: it is asked again later, and what was told last stays",
            Self::Unreachable(_) | Self::Broke(_) | Self::Late => {
                "nothing, if the line is down; the service answers over a SORACOM line only: on another one write \
                 [provider.metadata] enabled = false"
            }
            Self::Refused { status: 403, .. } => "enable the metadata service in the SIM group",
            Self::Refused { .. } | Self::TooLong | Self::Nonsense(_) => {
                "see that [provider.metadata] url leads to SORACOM's metadata service"
            }
        }
    }
}

/// Asks until `stop`, and says what is known of the line in `line`. While there are no `settings` nothing is asked and
/// nothing known; whom to ask can change at any time, and what another service said is then forgotten. What `line` says
/// already is what the first of them told before.
pub async fn run(
    mut settings: watch::Receiver<Option<Settings>>,
    wire: Wire,
    line: watch::Sender<Line>,
    stop: CancellationToken,
) {
    let mut wait = SPREAD.mul_f64(random());
    let url_of = |settings: &Option<Settings>| settings.as_ref().map(|settings| settings.url.clone());
    let mut asked = url_of(&settings.borrow());
    loop {
        let now = settings.borrow_and_update().clone();
        let url = url_of(&now);
        if asked != url {
            line.send_replace(Line::default());
            asked = url;
        }
        let turn = async {
            let Some(settings) = now else { return std::future::pending().await };
            tokio::time::sleep(wait).await;
            let answer = ask(&settings.url, &wire).await;
            let unreachable = matches!(answer, Err(AskError::Unreachable(_)));
            line.send_modify(|line| note(line, answer, Instant::now()));
            let line = line.borrow();
            let never = unreachable && line.answered.is_none();
            next_wait(settings.every, line.failures, never, random())
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = settings.changed() => match changed {
                // Asked at once: whoever changes whom to ask wants to see what it says.
                Ok(()) => wait = Duration::ZERO,
                Err(_) => return,
            },
            next = turn => wait = next,
        }
    }
}

/// Enters what came of a question, and logs it if it is news.
fn note(line: &mut Line, answer: Result<Subscriber, AskError>, now: Instant) {
    match answer {
        Ok(told) => {
            if line.problem.take().is_some() {
                tracing::info!("the metadata service answers again");
            }
            if told.speed_class.is_some() && told.speed_class != line.told.speed_class {
                tracing::info!(class = told.speed_class, before = line.told.speed_class, "the SIM's speed class");
            }
            if told.status.is_some() && told.status != line.told.status {
                tracing::info!(status = told.status, before = line.told.status, "the SIM's status");
            }
            if told.speed_class.is_some() {
                line.kept_ms = None;
            }
            line.told.learn(told);
            (line.answered, line.failures) = (Some(now), 0);
        }
        Err(error) => {
            let (reason, advice) = (chain(&error), error.advice());
            if line.problem.as_ref().is_none_or(|known| known.reason != reason) {
                tracing::warn!(reason, "the SIM's metadata service does not tell the speed class; {advice}");
            }
            line.problem = Some(Problem { reason, advice });
            line.failures = line.failures.saturating_add(1);
        }
    }
}

/// How long until the next question. `never`: nobody could be reached since the start. `random`: 0 to 1.
fn next_wait(every: Duration, failures: u32, never: bool, random: f64) -> Duration {
    let doubled = |base: Duration, times: u32| base.saturating_mul(1 << times.min(16)).min(LONGEST.max(every));
    let wait = match failures {
        0 => every,
        _ if never => doubled(FIRST_AGAIN, failures - 1),
        _ => doubled(every, failures),
    };
    wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
}

/// A number from 0 to below 1; not for secrets. Without a random source (very early boot) always the same.
fn random() -> f64 {
    getrandom::u64().map_or(0.5, |bits| (bits >> 11) as f64 / (1_u64 << 53) as f64)
}

async fn ask(url: &str, wire: &Wire) -> Result<Subscriber, AskError> {
    let (target, request) = request(url).ok_or(AskError::Url)?;
    timeout(PATIENCE, exchange(wire, &target, request)).await.map_err(|_| AskError::Late)?
}

/// Where to and what, from the base URL.
fn request(base: &str) -> Option<(Target, Request<Empty<Bytes>>)> {
    let base: Uri = base.parse().ok()?;
    let tls = match base.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let host = base.host()?.trim_matches(['[', ']']).to_owned();
    let target = Target { host, port: base.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls };
    let request = Request::get(format!("{}{PATH}", base.path().trim_end_matches('/')))
        .header(header::HOST, HeaderValue::from_str(base.authority()?.as_str()).ok()?)
        .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .ok()?;
    Some((target, request))
}

/// Ends the connection's task with it, whatever ends the exchange.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(wire: &Wire, target: &Target, request: Request<Empty<Bytes>>) -> Result<Subscriber, AskError> {
    let stream = wire.connect(target).await.map_err(AskError::Unreachable)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(AskError::Broke)?;
    let _driver = Driver(tokio::spawn(async move {
        // Its error reaches the exchange.
        let _ = connection.await;
    }));
    let answer = sender.send_request(request).await.map_err(AskError::Broke)?;
    let status = answer.status();
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(AskError::Broke)?.into_data() else { continue };
        if bytes.len() + data.len() > ANSWER_BYTES {
            return Err(AskError::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    if !status.is_success() {
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text.trim().chars().take(SHOWN).flat_map(char::escape_debug).collect();
        let message = if text.is_empty() { text } else { format!(": {text}") };
        return Err(AskError::Refused { status: status.as_u16(), message });
    }
    Subscriber::read(&bytes).map_err(AskError::Nonsense)
}

#[cfg(test)]
mod tests;
