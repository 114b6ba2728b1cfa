//! What time it is, asked of somebody who proves who they are: where the clock is not known to be right and nothing else
//! tells it.
//!
//! Most gateways never need it: the system synchronises its clock, or an answer of Flux or of the status page over TLS has
//! a `Date`. But while a stance lets nothing leave, no such answer comes; and windows, ends and quotas are dated. So asking for
//! the time is allowed under every stance as long as the clock is not right (`protocol::stance`, column *time*).
//!
//! # Constraints
//! - Seldom: first after [`Settings::after`] at the least, then after twice as long each time, up to six hours, all of it
//!   jittered; and never again once the clock is right, whoever said so.
//! - One request, without a body, credentials or anything of the gateway's: `HEAD /`. Nothing of the answer counts but its
//!   head's `Date` (and `Age`), whatever the status. Bounded as `ask` has it: 16 KiB and [`PATIENCE`].
//! - **Only over TLS.** Anybody on the way can write a date into plain HTTP. The certificates are judged without the clock,
//!   which is what is not known ([`Judging`]); a date from before they were valid contradicts them and is not believed.
//! - **What was believed of the future is no bound.** A clock that was believed while it stood wrong, as behind a receiver
//!   whose week number wrapped (19.6 years off) or beside a time server that was set by hand, leaves a time that is "known to
//!   be past" and is to come; by it every certificate has expired, and the clock would stay wrong for good. So a time
//!   more than ten years after this program was written bounds nothing: what is certain then is only that.
//! - Through the door ([`Wire`]) like everything else: limited, counted, under the budgets' ceiling.
//!
//! # On the wire
//! ```text
//! HEAD / HTTP/1.1
//! host, user-agent: tidegate/<version>, accept, connection: close, cache-control: no-cache
//! ```
//! With a public chain some 6 KB in both directions. A cache that answers all the same says so in `Age`.
//!
//! # Recovery
//! Nothing is kept. What was asked for and not answered is asked for again after a start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::header::{self, HeaderValue};
use tidegate_protocol::stance::Leave;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::ask::{AskError, Asked, Question, ask, next_wait, random};
use super::input::Input;
use crate::chain::chain;
use crate::clock::{Clock, EARLIEST_MS};
use crate::code::Code;
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::wire::{Judging, Wire};
use crate::shown;

/// How long connecting, asking and the answer may take together. The time that is told may be wrong by half of that, and
/// the clock believes nothing that may be wrong by more than 15 s.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// A time is known to be past only if it is no later than this (2036-01-01): ten years from the year that the program was
/// written in, which is longer than SORACOM's roots and the machines' flash are made for, and half of what a wrapped week
/// number is off by. Who still runs it then has certificates judged as of 2026: one that has expired since is taken.
const BELIEVABLE_MS: u64 = EARLIEST_MS + 3_652 * 86_400_000;

/// What the latest time that is known to be past says of a chain.
fn floor_ms(earliest_ms: u64) -> u64 {
    if earliest_ms > BELIEVABLE_MS { EARLIEST_MS } else { earliest_ms }
}

/// Whom to ask, and when.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port: `https://status.soracom.io`.
    pub origin: String,
    /// How long after the start at the least; twice as long at the most.
    pub after: Duration,
    /// The door that leads there.
    pub wire: Wire,
}

/// Why no time was told, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What came of asking. Text from outside is cut and escaped.
    pub reason: String,
    /// The same for people in their language.
    pub said: Value,
    /// What the operator can do.
    pub advice: Message,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Questions so far.
    pub asked: u64,
    /// Bytes that they cost on the wire, both directions.
    pub bytes: u64,
    /// When the next one is due; `None` if none is to come.
    pub next: Option<Instant>,
    /// Why the last one told no time that counts, if it did not.
    pub problem: Option<Problem>,
}

/// Why no time was told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoAnswer(AskError),
    #[error("HTTP {0} without a date that can be read")]
    NoDate(u16),
    #[error("a date that is {} s before its own certificates were valid", .0 / 1_000)]
    TooEarly(u64),
    #[error("the answer took too long to be exact: it may be wrong by {} s", .0 / 1_000)]
    NotExact(u64),
}

impl Failure {
    /// It with its causes, for people in their language; what came from outside is cut and escaped.
    fn said(&self) -> Value {
        match self {
            Self::NoAnswer(error) => error.said(),
            Self::NoDate(status) => {
                message!("HTTP {status} without a date that can be read", status = *status).into_value()
            }
            Self::TooEarly(ms) => {
                message!("a date that is {count} s before its own certificates were valid", count = ms / 1_000)
                    .into_value()
            }
            Self::NotExact(ms) => {
                message!("the answer took too long to be exact: it may be wrong by {count} s", count = ms / 1_000)
                    .into_value()
            }
        }
    }

    fn advice(&self) -> Message {
        match self {
            Self::NoAnswer(AskError::Unreachable(_) | AskError::Broke(_) | AskError::Late(_)) | Self::NotExact(_) => {
                message!(
                    "nothing, if the line is down: it is asked again; otherwise name another host in [clock.date] url, or \
                     set up the system's time synchronisation"
                )
            }
            _ => message!("name another host in [clock.date] url, or set up the system's time synchronisation"),
        }
    }
}

/// The latest error that a clock believes.
const MOST_ERROR_MS: u64 = 15_000;

/// Asks until the clock is right, or `stop`. `earliest` says before each question what time it is no earlier than, in ms
/// since the Unix epoch. What was told goes to `told`, for whoever sets the clock by it.
pub async fn run(
    mut settings: watch::Receiver<Option<Settings>>,
    mut leave: watch::Receiver<Leave>,
    (clock, earliest): (Arc<dyn Clock>, impl Fn() -> u64),
    standing: watch::Sender<Standing>,
    told: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    let origin = |settings: &Option<Settings>| settings.as_ref().map(|settings| settings.origin.clone());
    let mut now = settings.borrow_and_update().clone();
    let mut failures = 0;
    let first = now.as_ref().map_or(Duration::ZERO, |settings| settings.after.mul_f64(1.0 + random()));
    let mut due = tokio::time::Instant::now() + first;
    while !clock.now().trusted {
        standing.send_modify(|standing| standing.next = now.as_ref().map(|_| due.into_std()));
        let turn = async {
            let Some(settings) = &now else { return std::future::pending().await };
            tokio::time::sleep_until(due).await;
            // Without anybody who could change it, it stays as it is.
            if leave.wait_for(|leave| leave.time.lets(clock.now().trusted)).await.is_err() {
                std::future::pending::<()>().await;
            }
            if clock.now().trusted {
                return None;
            }
            Some(question(settings, earliest()).await)
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
                let new = settings.borrow_and_update().clone();
                if origin(&new) != origin(&now) {
                    // Whoever names another host wants to see what it says; the same one is not asked any sooner.
                    (failures, due) = (0, tokio::time::Instant::now());
                    standing.send_modify(|standing| standing.problem = None);
                }
                now = new;
            }
            answer = turn => {
                let Some((result, bytes)) = answer else { break };
                failures += 1;
                let after = now.as_ref().map_or(Duration::ZERO, |settings| settings.after);
                due = tokio::time::Instant::now() + next_wait(after, failures, false, random());
                let input = result.as_ref().ok().cloned();
                standing.send_modify(|standing| note(standing, result, bytes));
                if let Some(input) = input {
                    // Without anybody who listens it is of no use, and no reason to end. If it is not believed it is
                    // asked again.
                    let _ = told.send(input).await;
                }
            }
        }
    }
    standing.send_modify(|standing| (standing.next, standing.problem) = (None, None));
}

/// Enters what came of a question, and logs it if it is news.
fn note(standing: &mut Standing, result: Result<Input, Failure>, bytes: u64) {
    standing.asked += 1;
    standing.bytes = standing.bytes.saturating_add(bytes);
    let Err(error) = result else {
        standing.problem = None;
        return;
    };
    let (reason, said, advice) = (shown::shown(&chain(&error), shown::MESSAGE), error.said(), error.advice());
    if standing.problem.as_ref().is_none_or(|known| known.reason != reason) {
        tracing::warn!(code = %Code::Clock, reason, "nobody tells the time; {advice}");
    }
    standing.problem = Some(Problem { reason, said, advice });
}

/// Asks once. What it cost is counted either way.
async fn question(settings: &Settings, earliest_ms: u64) -> (Result<Input, Failure>, u64) {
    let judging = Arc::new(Judging::from(floor_ms(earliest_ms)));
    let question = Question {
        method: Method::HEAD,
        base: &settings.origin,
        path: "/",
        headers: vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))],
        most: 0,
        patience: PATIENCE,
    };
    let Asked { result, bytes } = ask(&question, &settings.wire.asking_time(Arc::clone(&judging))).await;
    let told = result.map_err(Failure::NoAnswer).and_then(|reply| {
        let now_ms = reply.now_ms.ok_or(Failure::NoDate(reply.status))?;
        let (error_ms, earliest_ms) = (reply.error_ms, judging.earliest_ms());
        if now_ms.saturating_add(error_ms) < earliest_ms {
            return Err(Failure::TooEarly(earliest_ms - now_ms));
        }
        if error_ms > MOST_ERROR_MS {
            return Err(Failure::NotExact(error_ms));
        }
        Ok(Input::ProviderTime { now_ms, error_ms })
    });
    (told, bytes)
}

#[cfg(test)]
mod tests;
