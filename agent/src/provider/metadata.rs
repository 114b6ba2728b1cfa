//! The SIM's metadata service: speed class, status and announced end of the line that the gateway itself uses.
//!
//! # Constraints
//! - It is asked seldom: every [`Settings::every`], give or take a fifth, more seldom while it fails, and never twice
//!   for one answer. Gateways that were switched on together do not ask together. Not at all while the stance forbids it.
//! - Nothing waits for it. What was told last stands until something else is told: a class does not end because the
//!   service does not answer now, or leaves the field out.
//! - Nothing it says is trusted further than it can be used: the answer is bounded in size ([`ANSWER_BYTES`]) and time
//!   ([`PATIENCE`]), every field may be missing, null or nonsense, and a class that no table has is the caller's to judge.
//!   It is plain HTTP: whoever is on the path may lie, and can thereby make the gateway slower, never faster than others
//!   allow.
//!
//! # On the wire
//! `GET <base>/v1/subscriber`, as `ask` has it. It must be enabled in the SIM group (otherwise 403), and is reached over a SORACOM line only.
//!
//! # Recovery
//! Whoever runs this keeps the class on disk and hands it in with `line`: after a start it holds until the first answer.
//! While nobody could be reached since the start (the modem is still coming up), it is asked again after a minute, then
//! after twice that, and so on.

mod subscriber;

use std::time::{Duration, Instant};

use tidegate_protocol::stance::Leave;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use super::ask::Problem;
use super::ask::{AskError, Question, SPREAD, ask, next_wait, random, until_allowed, until_forbidden};
use super::reach::{self, Contact, Reach};
use crate::chain::chain;
use crate::code::Code;
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::wire::{Wire, WireError};
use crate::shown;
pub use subscriber::{Expiry, Subscriber};

/// Bytes of an answer's body that are taken; real ones have some 2 KB. A longer one is no answer.
pub const ANSWER_BYTES: usize = 64 * 1024;

/// How long connecting, asking and the answer may take together: a name, a handshake and 3 KB at 32 kbit/s take two
/// seconds on an idle line, and a full one may make it wait for the queue.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
    /// Whom the questions met, whatever was answered.
    pub contact: Contact,
}

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoAnswer(AskError),
    #[error("HTTP {status}{message}")]
    Refused { status: u16, message: String },
    #[error("the answer is not a JSON object")]
    Nonsense(#[source] Option<serde_json::Error>),
}

impl Failure {
    /// Who was met, if anybody was asked.
    fn reach(&self, proved: bool) -> Option<Reach> {
        match self {
            Self::NoAnswer(error) => reach::of_error(error, proved),
            Self::Refused { status, .. } => Some(reach::of_status(*status, proved)),
            Self::Nonsense(_) => Some(reach::of_status(200, proved)),
        }
    }

    /// It with its causes, for people in their language; what came from outside is cut and escaped.
    fn said(&self) -> Value {
        match self {
            Self::NoAnswer(error) => error.said(),
            Self::Refused { status, message } => format!("HTTP {status}{message}").into_value(),
            Self::Nonsense(_) => message!("the answer is not a JSON object").into_value(),
        }
    }

    fn advice(&self) -> Message {
        match self {
            Self::NoAnswer(AskError::Url) => message!("correct [provider.metadata] url"),
            Self::NoAnswer(AskError::Unreachable(WireError::Spent)) => {
                message!("nothing: it is asked again later, and what was told last stays")
            }
            Self::NoAnswer(AskError::Unreachable(_) | AskError::Broke(_) | AskError::Late(_)) => {
                message!(
                    "nothing, if the line is down; the service answers over a SORACOM line only: on another one write \
                 [provider.metadata] enabled = false"
                )
            }
            Self::Refused { status: 403, .. } => message!("enable the metadata service in the SIM group"),
            Self::Refused { .. } | Self::NoAnswer(AskError::TooLong(_)) | Self::Nonsense(_) => {
                message!("see that [provider.metadata] url leads to SORACOM's metadata service")
            }
        }
    }
}

/// Asks until `stop`, and says what is known of the line in `line`. While there are no `settings` nothing is asked and
/// nothing known; whom to ask can change at any time, and what another service said is then forgotten. What `line` says
/// already is what the first of them told before. While `leave` does not allow it, nothing is asked, and what is known
/// stays.
pub async fn run(
    mut settings: watch::Receiver<Option<Settings>>,
    mut leave: watch::Receiver<Leave>,
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
            let mut forbids = leave.clone();
            until_allowed(&mut leave).await;
            let answer = tokio::select! {
                // What is forbidden meanwhile is broken off, and asked anew when it is allowed again.
                () = until_forbidden(&mut forbids) => return Duration::ZERO,
                answer = question(&settings.url, &wire) => answer,
            };
            let unreachable = matches!(answer, Err(Failure::NoAnswer(AskError::Unreachable(_))));
            let met = match &answer {
                Ok(_) => Some(Reach::Host),
                Err(failure) => failure.reach(reach::is_proved(&settings.url)),
            };
            line.send_modify(|line| {
                line.contact.note(met, Instant::now());
                note(line, answer, Instant::now());
            });
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
fn note(line: &mut Line, answer: Result<Subscriber, Failure>, now: Instant) {
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
            let (reason, said, advice) = (shown::shown(&chain(&error), shown::MESSAGE), error.said(), error.advice());
            if line.problem.as_ref().is_none_or(|known| known.reason != reason) {
                tracing::warn!(code = %Code::Metadata, reason, "the SIM's metadata service does not tell the speed class; {advice}");
            }
            line.problem = Some(Problem { reason, said, advice });
            line.failures = line.failures.saturating_add(1);
        }
    }
}

/// Asks once, for a person's examination.
///
/// # Errors
/// Why nothing was told: the HTTP status, if there was an answer, and a text.
pub async fn ask_once(url: &str, wire: &Wire) -> Result<Subscriber, (Option<u16>, Value)> {
    question(url, wire).await.map_err(|failure| {
        let status = if let Failure::Refused { status, .. } = failure { Some(status) } else { None };
        (status, failure.said())
    })
}

async fn question(url: &str, wire: &Wire) -> Result<Subscriber, Failure> {
    let question = Question {
        method: hyper::Method::GET,
        base: url,
        path: PATH,
        headers: Vec::new(),
        most: ANSWER_BYTES,
        patience: PATIENCE,
    };
    let reply = ask(&question, wire).await.result.map_err(Failure::NoAnswer)?;
    match reply.status {
        200..=299 => Subscriber::read(&reply.body).map_err(Failure::Nonsense),
        status => Err(Failure::Refused { status, message: reply.message() }),
    }
}

#[cfg(test)]
mod tests;
