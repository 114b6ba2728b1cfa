//! One question over HTTP to a service of the provider, and its answer: what [`metadata`](super::metadata),
//! [`statuspage`](super::statuspage) and [`date`](super::date) have in common.
//!
//! # Constraints
//! - One request on a connection of its own, through the door ([`Wire`]), which limits and counts it.
//! - Bounded: the head ([`HEAD_BYTES`]), the body ([`Question::most`]) and the time ([`Question::patience`]; time in which the
//!   gate holds bytes back does not count). An answer that is longer is no answer.
//! - A redirect is not followed, it would ask somebody whom nobody configured: it is an answer whose [`Reply::moved_to`] says
//!   where it led.
//! - Compressed answers are not asked for: no code that unpacks can then be led to take more memory than the limit says.
//!
//! # How often
//! Every so often, give or take [`JITTER`], so that gateways that were switched on together do not ask together; after
//! failures more seldom ([`next_wait`]); and not at all while the provider's stance forbids it ([`until_allowed`]).
//!
//! # On the wire
//! ```text
//! GET <base><path> HTTP/1.1          (or HEAD)
//! host, user-agent: tidegate/<version>, accept: application/json, connection: close, and what the caller adds
//! ```

use std::time::{Duration, UNIX_EPOCH};

use crate::chain;
use crate::message;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tidegate_protocol::stance::Leave;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::language::{IntoValue as _, Message, Value};
use crate::shape::wire::{Target, Wire, WireError};
use crate::shown;

/// Bytes of an answer's head at most; those of services behind a content network have some 2 KB.
const HEAD_BYTES: usize = 16 * 1024;

/// Characters of a refusal's body, and of where a redirect leads, that are shown.
const SHOWN: usize = 100;

/// The oldest that an answer from a cache may be for its time to count, in seconds.
const OLDEST_AGE: u64 = 24 * 3600;

/// `Date` has whole seconds, rounded down.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// Waits differ by up to so much of themselves, either way.
pub(super) const JITTER: f64 = 0.2;

/// How soon it is asked again while nobody could be reached since the start: a modem takes half a minute to register.
pub(super) const FIRST_AGAIN: Duration = Duration::from_secs(60);

/// The longest wait that failures alone make.
pub(super) const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// The first question to a service of the line's own comes at random within this time after the start.
pub(super) const SPREAD: Duration = Duration::from_secs(1);

/// Why there is no answer that can be used, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What was tried, and what came of it. Text from outside is cut and escaped.
    pub reason: String,
    /// The same for people in their language.
    pub said: Value,
    /// What the operator can do.
    pub advice: Message,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// GET, or HEAD where only the head is of use.
    pub(super) method: Method,
    /// The service's base URL, `http` or `https`.
    pub(super) base: &'a str,
    /// What is added to its path.
    pub(super) path: &'a str,
    /// Headers beside the usual ones.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Bytes of the body that are taken.
    pub(super) most: usize,
    /// How long connecting, asking and the answer may take together.
    pub(super) patience: Duration,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The whole body.
    pub(super) body: Vec<u8>,
    /// What time it is by the answer, in ms since the Unix epoch at the moment that it came. It may be wrong by half a second
    /// and half the time that the exchange took.
    pub(super) time: Option<u64>,
    /// The same if it came over TLS: plain HTTP proves nothing.
    pub(super) now_ms: Option<u64>,
    /// By how much that may be wrong, in ms.
    pub(super) error_ms: u64,
}

impl Reply {
    /// Where a redirect leads, as it may be shown.
    pub(super) fn moved_to(&self) -> Option<String> {
        let to = self.headers.get(header::LOCATION).filter(|_| (300..400).contains(&self.status))?;
        Some(shown::title(&String::from_utf8_lossy(to.as_bytes()), SHOWN))
    }

    /// The beginning of its body, as it may be shown; with a redirect, where it leads. Begins with `: ` unless it is empty.
    pub(super) fn message(&self) -> String {
        let said = match self.moved_to() {
            Some(to) => format!("a redirect to {to}, which is not followed"),
            None => shown::shown(&String::from_utf8_lossy(&self.body), SHOWN),
        };
        if said.is_empty() { said } else { format!(": {said}") }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The URL is none.
    #[error("its URL cannot be used")]
    Url,
    /// No connection came about.
    #[error("no connection")]
    Unreachable(#[source] WireError),
    /// It ended too early, or what came is not HTTP.
    #[error("the connection broke")]
    Broke(#[source] hyper::Error),
    /// The time was over.
    #[error("no whole answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The body is too long.
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

impl AskError {
    /// It with its causes, for people in their language.
    pub(super) fn said(&self) -> Value {
        match self {
            Self::Url => message!("its URL cannot be used").into_value(),
            Self::Unreachable(error) => {
                message!("{what}: {why}", what = message!("no connection"), why = chain::said(error)).into_value()
            }
            Self::Broke(error) => {
                message!("{what}: {why}", what = message!("the connection broke"), why = chain::said(error))
                    .into_value()
            }
            Self::Late(limit) => message!("no whole answer within {count} s", count = limit.as_secs()).into_value(),
            Self::TooLong(most) => message!("an answer of more than {most} bytes", most = *most).into_value(),
        }
    }
}

/// What came of a question.
#[derive(Debug)]
pub(super) struct Asked {
    /// The whole answer, or why there is none within the bounds.
    pub(super) result: Result<Reply, AskError>,
    /// Bytes on the wire, both directions; 0 if no connection came about. Resolving the name is not among them.
    pub(super) bytes: u64,
}

/// Asks, and reads the whole answer.
pub(super) async fn ask(question: &Question<'_>, wire: &Wire) -> Asked {
    let failed = |error| Asked { result: Err(error), bytes: 0 };
    let Some((target, request)) = request(question) else { return failed(AskError::Url) };
    let start = Instant::now();
    // Connecting has limits of its own, which leave out the time in which the gate holds bytes back.
    let stream = match wire.connect(&target).await {
        Ok(stream) => stream,
        Err(error) => return failed(AskError::Unreachable(error)),
    };
    let (held, carried) = (stream.held(), stream.carried());
    let left = question.patience.saturating_sub(start.elapsed());
    let answer = held.timeout(left, exchange(stream, request, question.most)).await;
    let mut result = answer.unwrap_or(Err(AskError::Late(question.patience)));
    if let Ok(reply) = &mut result {
        reply.now_ms = reply.time.filter(|_| target.tls);
    }
    Asked { result, bytes: carried.bytes() }
}

/// Where to and what.
fn request(question: &Question<'_>) -> Option<(Target, Request<Empty<Bytes>>)> {
    let base: Uri = question.base.parse().ok()?;
    let tls = match base.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let host = base.host()?.trim_matches(['[', ']']).to_owned();
    let target = Target { host, port: base.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls };
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(format!("{}{}", base.path().trim_end_matches('/'), question.path))
        .header(header::HOST, HeaderValue::from_str(base.authority()?.as_str()).ok()?)
        .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .ok()?;
    request.headers_mut().extend(question.headers.iter().cloned());
    Some((target, request))
}

/// Ends the connection's task with it, whatever ends the exchange.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    stream: crate::shape::wire::WireStream,
    request: Request<Empty<Bytes>>,
    most: usize,
) -> Result<Reply, AskError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(AskError::Broke)?;
    let _driver = Driver(tokio::spawn(async move {
        // Its error reaches the exchange.
        let _ = connection.await;
    }));
    let start = Instant::now();
    let answer = sender.send_request(request).await.map_err(AskError::Broke)?;
    let (time, error_ms) = (time_of(answer.headers(), start.elapsed()), error_of(answer.headers(), start.elapsed()));
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(AskError::Broke)?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(AskError::TooLong(most));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: bytes, time, now_ms: None, error_ms })
}

/// What time it is by an answer whose head took so long. A cache between may have kept the answer: `Age` says for how long,
/// and `Date` when it was made (RFC 9111, 5.1).
fn time_of(headers: &HeaderMap, took: Duration) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let age = match headers.get(header::AGE) {
        Some(age) => age.to_str().ok()?.trim().parse().ok().filter(|age| *age <= OLDEST_AGE)?,
        None => 0,
    };
    let made = date.duration_since(UNIX_EPOCH).ok()?;
    let now = made.checked_add(Duration::from_secs(age))?.checked_add(took / 2 + HALF_A_SECOND)?;
    u64::try_from(now.as_millis()).ok()
}

/// By how much [`time_of`] may be wrong, in ms: `Date` and `Age` have whole seconds, and were written at some moment of the
/// exchange.
fn error_of(headers: &HeaderMap, took: Duration) -> u64 {
    let age = if headers.contains_key(header::AGE) { Duration::from_secs(1) } else { Duration::ZERO };
    u64::try_from((took / 2 + HALF_A_SECOND + age).as_millis()).unwrap_or(u64::MAX)
}

/// How long until the next question. `never`: nobody could be reached since the start. `random`: 0 to 1.
pub(super) fn next_wait(every: Duration, failures: u32, never: bool, random: f64) -> Duration {
    let doubled = |base: Duration, times: u32| base.saturating_mul(1 << times.min(16)).min(LONGEST.max(every));
    let wait = match failures {
        0 => every,
        _ if never => doubled(FIRST_AGAIN, failures - 1),
        _ => doubled(every, failures),
    };
    jittered(wait, random)
}

/// The wait, give or take [`JITTER`]. `random`: 0 to 1.
pub(super) fn jittered(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
}

/// A number from 0 to below 1; not for secrets. Without a random source (very early boot) always the same.
pub(super) fn random() -> f64 {
    getrandom::u64().map_or(0.5, |bits| (bits >> 11) as f64 / (1_u64 << 53) as f64)
}

/// Waits until the stance allows asking. Without anybody who could change it, it stays as it is.
pub(super) async fn until_allowed(leave: &mut watch::Receiver<Leave>) {
    if leave.wait_for(|leave| leave.poll).await.is_err() && !leave.borrow().poll {
        std::future::pending::<()>().await;
    }
}

/// Waits until the stance forbids asking.
pub(super) async fn until_forbidden(leave: &mut watch::Receiver<Leave>) {
    if leave.wait_for(|leave| !leave.poll).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_answer_takes_in_how_long_a_cache_kept_it() {
        let headers = |all: &[(&str, &str)]| -> HeaderMap {
            all.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
        };
        let date = ("date", "Sun, 22 Nov 2026 08:30:00 GMT");
        let time = |all: &[(&str, &str)]| time_of(&headers(all), Duration::from_secs(1));
        assert_eq!(time(&[date]), Some(1_795_336_201_000));
        assert_eq!(time(&[date, ("age", "120")]), Some(1_795_336_321_000));
        for other in [("age", "-1"), ("age", "soon"), ("age", "99999999"), ("date", "yesterday")] {
            let all = if other.0 == "date" { vec![other] } else { vec![date, other] };
            assert_eq!(time(&all), None, "{other:?}");
        }
        assert_eq!(time(&[]), None);
        let error = |all: &[(&str, &str)]| error_of(&headers(all), Duration::from_secs(3));
        assert_eq!((error(&[date]), error(&[date, ("age", "7")])), (2_000, 3_000));
    }

    #[test]
    fn a_base_with_a_path_keeps_it_and_what_is_no_url_is_said() {
        let ask = |base| {
            let question = Question {
                method: Method::GET,
                base,
                path: "/api/v2/summary.json",
                headers: vec![(header::IF_NONE_MATCH, HeaderValue::from_static("\"x\""))],
                most: 1,
                patience: Duration::from_secs(1),
            };
            request(&question).map(|(target, request)| (target, request.uri().to_string(), request.headers().len()))
        };
        let (target, path, headers) = ask("https://[::1]:8443/base/").expect("a request");
        assert_eq!(
            (target, path),
            (Target { host: "::1".into(), port: 8443, tls: true }, "/base/api/v2/summary.json".into())
        );
        assert_eq!(headers, 5);
        assert!(ask("mqtt://x").is_none() && ask("status.example").is_none() && ask("").is_none());
    }
}
