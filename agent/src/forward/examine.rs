//! What a person's examination asks of Flux, by which the way there and the credential are judged without sending a record.
//!
//! # Constraints
//! - **No event unless asked for.** The way is tried with `OPTIONS *`, which is about the server as a whole and of use "only as a
//!   'ping' or 'no-op'" (RFC 9110, 9.3.7): it names no resource, so no flow can run for it and no secret path is shown. What a
//!   GET or HEAD of a webhook's URL does is not documented, so neither is used.
//! - An answer of any status proves the way; of the credential it says nothing. The authentication key is judged by asking for a
//!   token, as sending does; nothing documented judges a webhook's URL but an event ([`event`]).
//! - One request each, in the time that sending has, nothing repeated.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;

use super::endpoint::Endpoint;
use super::http::{Exchange, HEAD_BYTES, Link, Tokens, USER_AGENT, chain};
use super::options::{Flux, OptionsError};
use super::verdict::{Context, Verdict, judge};
use crate::answer::rule::Rule;
use crate::clock::SystemClock;
use crate::language::Value;
use crate::shape::wire::{Target, Wire, WireStream};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// What time it is by the answer, in ms since the Unix epoch, to a second or two.
    pub server_ms: Option<u64>,
    /// What it says and what that means, secrets struck out; of a ping empty.
    pub message: String,
}

/// What came of asking for a token, or of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It was granted, or taken.
    Yes,
    /// It was answered otherwise.
    No(Answered),
    /// The token for it was refused.
    NoToken(Answered),
    /// There is no answer, and why.
    Nothing(Value),
}

/// Where requests go.
///
/// # Errors
/// What is wrong with the options.
pub fn target(flux: &Flux) -> Result<Target, OptionsError> {
    Endpoint::new(flux).map(|endpoint| endpoint.target)
}

/// Asks the server at the end of `stream`, which leads to [`target`], whether it is there.
///
/// # Errors
/// Why there is no answer, in words.
pub async fn ping(flux: &Flux, stream: WireStream, limit: Duration) -> Result<Answered, String> {
    let endpoint = Endpoint::new(flux).map_err(|error| error.to_string())?;
    let held = stream.held();
    let exchange = async {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| chain(&error))?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = Uri::from_static("*");
        let headers = request.headers_mut();
        headers.insert(header::HOST, endpoint.host_header.clone());
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let mut answer = std::pin::pin!(sender.send_request(request));
        let mut driver = std::pin::pin!(connection);
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection may end with the answer, which is then there, or an error.
            _ = &mut driver => answer.await,
        };
        answer.map_err(|error| chain(&error))
    };
    match held.timeout(limit, exchange).await {
        None => Err(format!("no answer within {} s", limit.as_secs())),
        Some(answer) => answer.map(|answer| Answered {
            status: answer.status().as_u16(),
            server_ms: date(answer.headers()),
            message: String::new(),
        }),
    }
}

/// Asks for a token, if the kind of endpoint needs one; `None` if it does not. The token is let go: those that others hold stay
/// good.
///
/// # Errors
/// What is wrong with the options.
pub async fn token(flux: &Flux, wire: Wire, limit: Duration) -> Result<Option<Said>, OptionsError> {
    let endpoint = Endpoint::new(flux)?;
    if endpoint.auth.is_none() {
        return Ok(None);
    }
    let mut link = link(endpoint, wire, limit);
    let said = match link.renew().await {
        Ok(()) => Said::Yes,
        Err(exchange) => said(&link, exchange, &[]),
    };
    link.hang_up();
    Ok(Some(said))
}

/// Sends a body that is no record. **It is an event**: a flow runs for it, and it counts.
///
/// # Errors
/// What is wrong with the options.
pub async fn event(
    flux: &Flux,
    wire: Wire,
    limit: Duration,
    rules: &[Rule],
    body: Vec<u8>,
) -> Result<Said, OptionsError> {
    let mut link = link(Endpoint::new(flux)?, wire, limit);
    let exchange = link.send_test(Bytes::from(body)).await;
    let said = said(&link, exchange, rules);
    link.hang_up();
    Ok(said)
}

fn link(endpoint: Endpoint, wire: Wire, limit: Duration) -> Link {
    Link::new(wire, Arc::new(SystemClock::new()), endpoint, (limit, limit), Arc::<Tokens>::default())
}

fn said(link: &Link, exchange: Exchange, rules: &[Rule]) -> Said {
    let (answer, auth) = match exchange {
        Exchange::Answered { answer, auth } => (answer, auth),
        Exchange::NotSent(lack) | Exchange::Cut(lack) => return Said::Nothing(lack.reason),
    };
    let context = Context {
        rules,
        kind: link.kind(),
        delivered: false,
        auth,
        proven: link.proves(),
        now: Instant::now(),
        wall: SystemTime::now(),
    };
    let judged = judge(&answer, &context);
    let server_ms = date(&answer.headers);
    let answered = Answered { status: answer.status, server_ms, message: link.redact(&judged.reason.to_string()) };
    match (judged.verdict, auth) {
        (Verdict::Accepted, false) => Said::Yes,
        (_, false) => Said::No(answered),
        (_, true) => Said::NoToken(answered),
    }
}

fn date(headers: &hyper::HeaderMap) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}
