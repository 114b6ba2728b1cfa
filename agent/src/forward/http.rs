//! One HTTP connection to Flux: a batch goes out, an answer comes back.
//!
//! # On the wire
//! HTTP/1.1 over [`crate::shape::wire`], kept open between batches, at most one unanswered request on it:
//!
//! ```text
//! POST <path> HTTP/1.1
//! host, content-length
//! content-type: application/json
//! user-agent: tidegate/<version>
//! x-tidegate-gateway, x-tidegate-epoch, x-tidegate-lane: of the batch's records
//! x-tidegate-seq: <first>-<last>        x-tidegate-events: <how many>
//! x-soracom-api-key, x-soracom-token    (kind `api` only)
//! ```
//!
//! Flux shows a request's headers to the flow, so a flow can see a batch's place without opening it.
//!
//! # Recovery
//! A connection that is found closed before anything of a request was written is replaced at once, and once. A
//! connection that fails later, or whose answer is not whole in time, is dropped: nobody knows whether the batch
//! arrived. With a 401 or 403 to a token that is not new, a new token is asked for and the request repeated, once: both
//! say that it was not taken. A token that was refused with 403 when it was new is not replaced for another 403.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;

use super::batch::Batch;
use super::endpoint::{Endpoint, strike_out};
use super::handle::Checked;
use super::token::{self, Need};
use super::verdict::{Answer, shown};
use crate::chain::said;
use crate::clock::{Clock, Stamp};
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::wire::{Failure as How, HeldBack, Wire, WireError};

/// Bytes of an answer's body that are read; a connection whose answer is longer is dropped rather than drained.
const ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of an answer's head at most; real ones are below 2 KiB.
pub(super) const HEAD_BYTES: usize = 32 * 1024;

/// Bytes a second that even a bad line carries: half the slowest speed class (32 kbit/s). A large body gets so much
/// longer, or it would be cut and repeated for ever on a line that is merely slow.
const SLOWEST_LINE: f64 = 2_000.0;

/// How long a connection that is ended in order may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

const HALF_A_SECOND: Duration = Duration::from_millis(500);

pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What came of sending a batch.
#[derive(Debug)]
pub(super) enum Exchange {
    /// There is an answer, to the batch or to the request for a token.
    Answered {
        /// The answer.
        answer: Answer,
        /// It answers the request for a token.
        auth: bool,
    },
    /// Nothing of the batch left the gateway.
    NotSent(Lack),
    /// The batch may have arrived; there is no answer.
    Cut(Lack),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Lack {
    /// For people.
    pub(super) reason: Value,
    /// As evidence of whose fault it is.
    pub(super) how: How,
}

/// The connection, made when needed.
#[derive(Debug)]
pub(super) struct Link {
    wire: Wire,
    clock: Arc<dyn Clock>,
    endpoint: Endpoint,
    answer_timeout: Duration,
    idle_limit: Duration,
    /// When nothing may be sent there any more.
    until_ms: Option<u64>,
    connection: Option<Connection>,
    tokens: Arc<Tokens>,
}

/// The API's token, of all links to an endpoint.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: std::sync::Mutex<token::Tokens>,
    /// Held while a token is asked for, so that one link asks and the others use what it got.
    renewing: tokio::sync::Mutex<()>,
}

impl Tokens {
    fn known(&self) -> MutexGuard<'_, token::Tokens> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Option<tokio::task::JoinHandle<()>>,
    used_at: Instant,
    held: HeldBack,
}

impl Connection {
    fn is_usable(&self, idle_limit: Duration) -> bool {
        !self.sender.is_closed() && self.used_at.elapsed() < idle_limit
    }

    /// Lets its task say goodbye: with TLS's and TCP's own words, once nothing more can be asked on it.
    fn close(mut self) {
        if let Some(mut driver) = self.driver.take() {
            drop(self);
            tokio::spawn(async move {
                if tokio::time::timeout(FAREWELL, &mut driver).await.is_err() {
                    driver.abort();
                }
            });
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// A request that failed, with the request if nothing of it was written.
struct Lost {
    unsent: Option<Box<Request<Full<Bytes>>>>,
    error: hyper::Error,
}

enum Failure {
    NotSent(Lack),
    Cut(Lack),
}

impl From<Failure> for Exchange {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(lack) => Exchange::NotSent(lack),
            Failure::Cut(lack) => Exchange::Cut(lack),
        }
    }
}

impl Link {
    /// A link to `endpoint` that is not connected yet.
    pub(super) fn new(
        wire: Wire,
        clock: Arc<dyn Clock>,
        endpoint: Endpoint,
        (answer_timeout, idle_limit): (Duration, Duration),
        tokens: Arc<Tokens>,
    ) -> Self {
        Self { wire, clock, endpoint, answer_timeout, idle_limit, until_ms: None, connection: None, tokens }
    }

    /// The same, on which nothing is sent from a time on.
    pub(super) fn until(self, until_ms: Option<u64>) -> Self {
        Self { until_ms, ..self }
    }

    /// Whether there is a connection that will do for a while.
    pub(super) fn is_warm(&self) -> bool {
        self.connection.as_ref().is_some_and(|held| held.is_usable(self.idle_limit / 4 * 3))
    }

    /// Makes a connection before it is needed; says whether there is one.
    pub(super) async fn warm(&mut self) -> bool {
        if !self.is_warm() {
            self.connection = None;
            match self.connect().await {
                Ok(connection) => self.connection = Some(connection),
                Err(lack) => tracing::debug!(reason = %lack.reason, "no connection could be made beforehand"),
            }
        }
        self.connection.is_some()
    }

    /// Ends the connection, if there is one: in order, as far as the peer takes part within [`FAREWELL`].
    pub(super) fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }

    /// Sends a batch and reads the answer.
    pub(super) async fn send(&mut self, batch: &Batch) -> Exchange {
        let fresh = match self.authorise().await {
            Ok(fresh) => fresh,
            Err(exchange) => return exchange,
        };
        let used = self.tokens.known().headers();
        let answer = match self.round_trip(self.request(batch)).await {
            Ok(answer) => answer,
            Err(failure) => return failure.into(),
        };
        if !matches!(answer.status, 401 | 403) || self.endpoint.auth.is_none() || fresh {
            if fresh && answer.status == 403 {
                self.tokens.known().refused();
            }
            return Exchange::Answered { answer, auth: false };
        }
        {
            let mut known = self.tokens.known();
            if answer.status == 403 && known.was_refused() {
                // It was refused when it was new: another one is no better, and asking for it is rate limited.
                return Exchange::Answered { answer, auth: false };
            }
            // Another link may have got a new one meanwhile.
            if known.headers() == used {
                known.drop_held();
            }
        }
        if let Err(exchange) = self.authorise().await {
            return exchange;
        }
        match self.round_trip(self.request(batch)).await {
            Ok(answer) => {
                if answer.status == 403 {
                    self.tokens.known().refused();
                }
                Exchange::Answered { answer, auth: false }
            }
            Err(failure) => failure.into(),
        }
    }

    /// Sends a body that is no batch: a person's test event. A token is asked for if one is needed, and nothing is repeated.
    pub(super) async fn send_test(&mut self, body: Bytes) -> Exchange {
        if let Err(exchange) = self.authorise().await {
            return exchange;
        }
        let mut request = self.post(self.endpoint.uri(), body);
        self.prove(request.headers_mut());
        match self.round_trip(request).await {
            Ok(answer) => Exchange::Answered { answer, auth: false },
            Err(failure) => failure.into(),
        }
    }

    /// Sees to it that there is a token if one is needed; says whether it is new.
    async fn authorise(&mut self) -> Result<bool, Exchange> {
        let tokens = Arc::clone(&self.tokens);
        let need = || tokens.known().need(Instant::now());
        if self.endpoint.auth.is_none() || need() == Need::Nothing {
            return Ok(false);
        }
        let _turn = tokens.renewing.lock().await;
        match need() {
            Need::Nothing => Ok(false),
            Need::Renew => {
                let renewed = self.renew().await.is_ok();
                if !renewed {
                    tokens.known().renewal_failed(Instant::now());
                }
                Ok(renewed)
            }
            Need::Obtain => self.renew().await.map(|()| true),
        }
    }

    /// The kind of endpoint that it leads to.
    pub(super) fn kind(&self) -> &'static str {
        self.endpoint.kind
    }

    /// Whether who answers proves over TLS who they are.
    pub(super) fn proves(&self) -> bool {
        self.endpoint.target.tls
    }

    /// Whether it goes where the configuration says.
    pub(super) fn is_to(&self, config: &Checked) -> bool {
        self.endpoint == config.endpoint
    }

    /// Whether it is still all that the configuration asks for.
    pub(super) fn is_for(&self, config: &Checked) -> bool {
        let options = &config.options;
        let limits = (options.answer_timeout, options.idle_limit);
        self.is_to(config) && (self.answer_timeout, self.idle_limit) == limits && self.until_ms == options.until_ms
    }

    /// Strikes everything secret out of a text that is to be shown.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = self.endpoint.redact(text);
        let Some((key, token)) = self.tokens.known().headers() else { return text };
        let secrets: Vec<&str> = [&key, &token].into_iter().filter_map(|value| value.to_str().ok()).collect();
        strike_out(&text, &secrets)
    }

    /// Asks for a token.
    pub(super) async fn renew(&mut self) -> Result<(), Exchange> {
        let Some(auth) = &self.endpoint.auth else { return Ok(()) };
        let life = Duration::from_secs(auth.timeout_s);
        let request = self.post(auth.path.clone(), Bytes::from(auth.body()));
        let asked_at = Instant::now();
        match self.round_trip(request).await {
            Ok(answer) => {
                let taken = (200..300).contains(&answer.status);
                if taken && self.tokens.known().granted(&answer.body, life, asked_at) {
                    return Ok(());
                }
                Err(Exchange::Answered { answer, auth: true })
            }
            // Whatever became of the request for a token, the batch itself has not left.
            Err(Failure::NotSent(lack) | Failure::Cut(lack)) => Err(Exchange::NotSent(lack)),
        }
    }

    fn post(&self, path: Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.endpoint.host_header.clone());
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::USER_AGENT, USER_AGENT);
        request
    }

    fn request(&self, batch: &Batch) -> Request<Full<Bytes>> {
        let mut request = self.post(self.endpoint.uri(), batch.body.clone());
        let headers = request.headers_mut();
        for (name, value) in [
            ("x-tidegate-gateway", batch.gateway.as_str()),
            ("x-tidegate-epoch", &batch.epoch),
            ("x-tidegate-lane", &batch.lane_name),
            ("x-tidegate-seq", &format!("{}-{}", batch.first(), batch.last())),
            ("x-tidegate-events", &batch.events.to_string()),
        ] {
            // A name with characters that no header may carry is in every event of the body anyway.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        self.prove(headers);
        request
    }

    /// Adds the token, if there is one.
    fn prove(&self, headers: &mut HeaderMap) {
        if let Some((key, token)) = self.tokens.known().headers() {
            headers.insert(HeaderName::from_static("x-soracom-api-key"), key);
            headers.insert(HeaderName::from_static("x-soracom-token"), token);
        }
    }

    /// Sends a request and reads its whole answer, on the connection at hand or a new one.
    async fn round_trip(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let bytes = hyper::body::Body::size_hint(request.body()).lower();
        let for_body = Duration::from_secs_f64(bytes as f64 / SLOWEST_LINE);
        let limit = self.answer_timeout + for_body;
        loop {
            // The connection is out of `self` meanwhile, so that whatever ends this early drops it.
            let idle = self.idle_limit;
            let held = self.connection.take().filter(|held| held.is_usable(idle));
            let reused = held.is_some();
            let mut connection = match held {
                Some(connection) => connection,
                None => self.connect().await.map_err(Failure::NotSent)?,
            };
            if is_over(self.until_ms, 0, &self.clock.now()) {
                let reason = message!("the identity that this would be sent under has ended").into_value();
                // It says nothing of the line: a connection was there.
                return Err(Failure::NotSent(Lack { reason, how: How::Cut }));
            }
            let asked_at = Instant::now();
            // Time in which the gate holds the request back is not the endpoint's.
            let held_back = connection.held.clone();
            match held_back.timeout(limit, exchange(&mut connection.sender, request)).await {
                Some(Ok((answer, whole))) => {
                    self.take_time(&answer, asked_at.elapsed());
                    connection.used_at = Instant::now();
                    self.connection = whole.then_some(connection);
                    return Ok(answer);
                }
                Some(Err(Lost { unsent: Some(unsent), .. })) if reused => request = *unsent,
                Some(Err(Lost { unsent, error })) => {
                    let (host, why) = (self.endpoint.target.host.as_str(), said(&error));
                    let reason = message!("the connection to {host} broke: {why}", host = host, why = why);
                    let lack = Lack { reason: reason.into_value(), how: How::broken(&error) };
                    return Err(if unsent.is_some() { Failure::NotSent(lack) } else { Failure::Cut(lack) });
                }
                None => {
                    let reason = late(&self.endpoint.target.host, self.answer_timeout, for_body);
                    return Err(Failure::Cut(Lack { reason: reason.into_value(), how: How::Silent }));
                }
            }
        }
    }

    /// Tells the clock what time the server says it is, if it has proved over TLS who it is. Plain HTTP proves nothing.
    fn take_time(&self, answer: &Answer, took: Duration) {
        let date = answer.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let date = date.filter(|_| self.endpoint.target.tls).and_then(|date| httpdate::parse_http_date(date).ok());
        let Some(date) = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()) else { return };
        // The header has whole seconds, rounded down, and was written at some moment of the request.
        let half = took / 2 + HALF_A_SECOND;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.clock.told(ms(date.saturating_add(half)), ms(half));
    }

    async fn connect(&self) -> Result<Connection, Lack> {
        let refused = |error: WireError| Lack { reason: said(&error), how: How::from(&error) };
        let stream = self.wire.connect(&self.endpoint.target).await.map_err(refused)?;
        let held = stream.held();
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES);
        let broken = |error: hyper::Error| Lack { reason: said(&error), how: How::broken(&error) };
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(async move {
            // Its error reaches whoever waits for an answer; without one, a closed connection is no event.
            let _ = connection.await;
        });
        Ok(Connection { sender, driver: Some(driver), used_at: Instant::now(), held })
    }
}

/// Whether an identity that holds until then is over, or ends within so many ms. Only a clock that is right says so.
pub(super) fn is_over(until_ms: Option<u64>, within_ms: u64, now: &Stamp) -> bool {
    until_ms.is_some_and(|until| now.trusted && now.wall_ms.saturating_add(within_ms) >= until)
}

/// The answer, and whether all of it was read.
async fn exchange(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(Answer, bool), Lost> {
    if let Err(error) = sender.ready().await {
        return Err(Lost { unsent: Some(Box::new(request)), error });
    }
    let response = sender.try_send_request(request).await.map_err(|mut failed| {
        let unsent = failed.take_message().map(Box::new);
        Lost { unsent, error: failed.into_error() }
    })?;
    let (parts, mut body) = response.into_parts();
    let mut answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body: Vec::new() };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Lost { unsent: None, error })?;
        let Ok(data) = frame.into_data() else { continue };
        let room = ANSWER_BYTES - answer.body.len();
        answer.body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((answer, false));
        }
    }
    Ok((answer, true))
}

/// That an answer came too late, and of what the time that it had was made up: who configured 5 s shall not wonder at 7.
fn late(host: &str, timeout: Duration, for_body: Duration) -> Message {
    let tenths = |time: Duration| (time.as_millis() + 50) / 100;
    let shown = |tenths: u128| match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        rest => format!("{}.{rest} s", tenths / 10),
    };
    let (timeout, for_body) = (tenths(timeout), tenths(for_body));
    let limit = shown(timeout + for_body);
    if for_body == 0 {
        return message!("{host} gave no whole answer within {limit}", host = host, limit = limit);
    }
    message!(
        "{host} gave no whole answer within {limit} ({time} and {more} for the body's size)",
        host = host,
        limit = limit,
        time = shown(timeout),
        more = shown(for_body)
    )
}

/// An error with its causes, on one line, cut and escaped.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    shown(&crate::chain::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_over_by_a_right_clock_only() {
        let now = |wall_ms, trusted| Stamp { wall_ms, trusted, ..Stamp::default() };
        for (until_ms, within_ms, now, over) in [
            (None, 0, now(900, true), false),
            (Some(500), 0, now(499, true), false),
            (Some(500), 0, now(500, true), true),
            (Some(500), 100, now(400, true), true),
            (Some(500), 100, now(399, true), false),
            (Some(500), 100, now(900, false), false),
            (Some(u64::MAX), 100, now(u64::MAX, true), true),
        ] {
            assert_eq!(is_over(until_ms, within_ms, &now), over, "{until_ms:?} {within_ms} {now:?}");
        }
    }

    #[test]
    fn an_answer_too_late_says_what_its_time_was_made_up_of() {
        let late = |timeout, for_body| late("h", Duration::from_millis(timeout), Duration::from_millis(for_body));
        assert_eq!(
            late(5_000, 2_000).to_string(),
            "h gave no whole answer within 7 s (5 s and 2 s for the body's size)"
        );
        assert_eq!(
            late(60_000, 32_768).to_string(),
            "h gave no whole answer within 92.8 s (60 s and 32.8 s for the body's size)"
        );
        assert_eq!(late(5_000, 49).to_string(), "h gave no whole answer within 5 s");
        assert_eq!(late(300, 0).to_string(), "h gave no whole answer within 0.3 s");
    }
}
