//! What an answer means. Pure: the answer, what is known besides, and the time are handed in.
//!
//! SORACOM documents neither the success status of a webhook, nor error codes, nor what a spent quota looks like.
//! So the rules are few and err towards keeping records:
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx but 207, without `"result":"ng"` at the top or in `body` | accepted |
//! | 207, or `"result":"ng"` | transient, *costly*: the flow may have run and the event may be counted |
//! | 429 | throttled until `X-Soracom-Ratelimit-Seconds-Before-Refresh` or `Retry-After`, clamped |
//! | what a rule of the configuration matches | what the rule says |
//! | 503 with `Retry-After` | maintenance until then, clamped to a day |
//! | 402, or 403 whose error speaks of a quota | quota, until `Retry-After` if it has one, clamped to 31 days |
//! | 401, 403, 404, 410 | misconfigured if nothing was ever delivered, else suspended; 410 over TLS then ended |
//! | 400, 422; 413 | poison; too large |
//! | 408, 409, 425, other 5xx, no whole answer | transient |
//! | 3xx and all else | misconfigured: a redirect is not followed, it would carry records where nobody sent them |
//!
//! An answer to the request for a token is judged alike, but 400 and 422 then speak of the key, not of a record,
//! and are misconfigured. A 401 or 403 comes here only once the API has refused a token that was new (`http`).

use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;

use crate::answer::Means;
use crate::answer::rule::{self, Rule};
use crate::answer::{retry_after, seconds};
use crate::code::Code;
use crate::language::{IntoValue as _, Value};
use crate::message;
use crate::shape::wire::{Failure, Stage, Trouble};

/// Seconds until the rate limit is refreshed (general notes of the API's reference).
const RATE_LIMIT_REFRESH: &str = "x-soracom-ratelimit-seconds-before-refresh";

/// Requests that the account may make in a minute (ibid.).
const RATE_LIMIT: &str = "x-soracom-ratelimit-limit";

/// Shortest wait that an answer can ask for: `Retry-After: 0` shall not make a loop.
pub(super) const MIN_WAIT: Duration = Duration::from_secs(1);

/// Longest wait that an answer can ask for: a date in another century shall not silence a gateway.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Longest time that works on the service can ask for. It is told again by whoever asks after a day; a single answer shall not
/// silence a gateway for longer.
pub(super) const MAX_MAINTENANCE: Duration = Duration::from_secs(24 * 3600);

/// Longest time that a used-up quota can ask for: the longest month, after which a quota has begun anew.
pub(super) const MAX_QUOTA: Duration = Duration::from_secs(31 * 24 * 3600);

/// How long an answer that a rule takes for works on the service, and that says no time, stops the gateway.
const DEFAULT_MAINTENANCE: Duration = Duration::from_secs(300);

/// The wait after a 429 that says nothing: the API's rate limit is per minute.
const DEFAULT_THROTTLE: Duration = Duration::from_secs(60);

/// What Flux said of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Accepted,
    /// Too much for now.
    Throttled {
        /// When it may be tried again.
        until: Instant,
    },
    /// The service is being worked on.
    Maintenance {
        /// When it may be tried again.
        until: Instant,
    },
    /// What used to be taken is not any more: the contract, the app or the credential ended.
    Suspended,
    /// The account has used up what it may use.
    Quota {
        /// When it may be tried again, if the answer says so.
        until: Option<Instant>,
    },
    /// It is gone for good: the service, the contract or the app has ended.
    Ended,
    /// It never worked as configured.
    Misconfigured,
    /// This body is refused; another may not be.
    Poison {
        /// Because of its size.
        too_large: bool,
    },
    /// It may pass by itself.
    Transient {
        /// The request did arrive, and each repeat may trigger the flow and cost an event.
        costly: bool,
    },
}

impl Verdict {
    /// Its name, as `status` shows it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Throttled { .. } => "throttled",
            Verdict::Maintenance { .. } => "maintenance",
            Verdict::Suspended => "suspended",
            Verdict::Quota { .. } => "quota",
            Verdict::Ended => "ended",
            Verdict::Misconfigured => "misconfigured",
            Verdict::Poison { .. } => "poison",
            Verdict::Transient { .. } => "transient",
        }
    }

    /// What the operator can do about it; empty if nothing.
    pub fn advice(self) -> Value {
        let advice = match self {
            Verdict::Accepted => return Value::default(),
            Verdict::Throttled { .. } | Verdict::Maintenance { .. } => message!("nothing: sending goes on by itself"),
            Verdict::Suspended => {
                message!(
                    "see in the SORACOM console that the contract, the Flux app and its channel are active and that the \
                 credential is still valid; after a change of the configuration, reload"
                )
            }
            Verdict::Quota { .. } => {
                message!(
                    "see the account's usage in the SORACOM console: records are kept until it is raised or \
                 renewed; after raising it, reload"
                )
            }
            Verdict::Ended => {
                message!(
                    "see in the SORACOM console whether the contract or the Flux app has ended; what is stored stays, and \
                 `tidegate buffer export` writes it out; with another endpoint in the configuration, reload"
                )
            }
            Verdict::Misconfigured => {
                message!("correct the endpoint's URL or credential in the configuration, then reload")
            }
            Verdict::Poison { too_large: false } => {
                message!("if no record is accepted, see that the channel's event source expects this JSON")
            }
            Verdict::Poison { too_large: true } => {
                message!("lower max_bytes, or have devices publish smaller payloads")
            }
            Verdict::Transient { costly: true } => {
                message!("see the log of the flow and of the other destinations in the SORACOM console")
            }
            Verdict::Transient { costly: false } => {
                message!("if it lasts, see that the line is up and the host can be reached")
            }
        };
        advice.into_value()
    }
}

impl Verdict {
    /// The code of what is wrong, with the status that was answered, or how it failed without an answer. `auth`: it was the
    /// request for a token. `None` if nothing is.
    pub(super) fn code(self, status: Option<u16>, failure: Option<Failure>, auth: bool) -> Option<Code> {
        Some(match self {
            Verdict::Accepted => return None,
            Verdict::Throttled { .. } => Code::Restricted,
            Verdict::Maintenance { .. } => Code::Maintenance,
            Verdict::Misconfigured | Verdict::Suspended if auth => Code::TokenRefused,
            Verdict::Suspended => Code::Suspended,
            Verdict::Quota { .. } => Code::QuotaSpent,
            Verdict::Ended => Code::Ended,
            Verdict::Misconfigured => Code::EndpointWrong,
            Verdict::Poison { .. } => Code::PutAside,
            Verdict::Transient { .. } if status.is_some() => Code::FluxUnusable,
            Verdict::Transient { .. } => match failure {
                Some(Failure::Connecting { trouble: Trouble::NoWay, .. }) => Code::NoRoute,
                Some(Failure::Connecting { stage: Stage::Name, .. }) => Code::Names,
                Some(Failure::Connecting { stage: Stage::Tls, trouble: Trouble::Answered, .. }) => Code::Certificate,
                _ => Code::NoConnection,
            },
        })
    }
}

/// An answer, as far as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// The first bytes of its body.
    pub(super) body: Vec<u8>,
}

/// What is known besides the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The configuration's rules for answers.
    pub(super) rules: &'a [Rule],
    /// The kind of endpoint, as the configuration names it.
    pub(super) kind: &'a str,
    /// Something was delivered to this endpoint before.
    pub(super) delivered: bool,
    /// It answers a request for a token.
    pub(super) auth: bool,
    /// Who answers has proved who they are, over TLS.
    pub(super) proven: bool,
    /// Now, for `until`.
    pub(super) now: Instant,
    /// Now by the wall clock, for a `Retry-After` date in an answer without a `Date`.
    pub(super) wall: SystemTime,
}

/// A verdict with its reason, cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) reason: Value,
}

/// Says what an answer means.
pub(super) fn judge(answer: &Answer, context: &Context<'_>) -> Judged {
    if context.auth && (200..=299).contains(&answer.status) {
        // The body is not shown: it may be half a token.
        let reason = message!("HTTP {status} to the request for a token, without a token", status = answer.status);
        return Judged { verdict: Verdict::Misconfigured, reason: reason.into_value() };
    }
    let message = Message::of(&answer.body);
    let refused = if context.delivered { Verdict::Suspended } else { Verdict::Misconfigured };
    let after = |wait: Duration| context.now + wait.clamp(MIN_WAIT, MAX_WAIT);
    let works = |wait: Duration| Verdict::Maintenance { until: context.now + wait.clamp(MIN_WAIT, MAX_MAINTENANCE) };
    let spent = || {
        let wait = retry_after(&answer.headers, context.wall);
        Verdict::Quota { until: wait.map(|wait| context.now + wait.clamp(MIN_WAIT, MAX_QUOTA)) }
    };
    let by_rule = by_rule(answer, context);
    let verdict = by_rule.unwrap_or_else(|| match answer.status {
        207 => Verdict::Transient { costly: true },
        200..=299 if message.ng => Verdict::Transient { costly: true },
        200..=299 => Verdict::Accepted,
        429 => {
            let wait = refresh(&answer.headers).or_else(|| retry_after(&answer.headers, context.wall));
            Verdict::Throttled { until: after(wait.unwrap_or(DEFAULT_THROTTLE)) }
        }
        503 => match retry_after(&answer.headers, context.wall) {
            Some(wait) => works(wait),
            None => Verdict::Transient { costly: false },
        },
        402 => spent(),
        403 if message.speaks_of_quota() => spent(),
        // In plain HTTP anybody on the way could end a gateway for good; there it is a suspension, which is probed.
        410 if context.delivered && context.proven && !context.auth => Verdict::Ended,
        401 | 403 | 404 | 410 => refused,
        400 | 422 if context.auth => refused,
        400 | 422 => Verdict::Poison { too_large: false },
        413 if !context.auth => Verdict::Poison { too_large: true },
        408 | 409 | 425 | 500..=599 => Verdict::Transient { costly: false },
        _ => Verdict::Misconfigured,
    });
    if verdict == Verdict::Accepted {
        return Judged { verdict, reason: Value::default() };
    }
    let mut reason = if context.auth {
        message!("HTTP {status} to the request for a token", status = answer.status).into_value()
    } else {
        format!("HTTP {}", answer.status).into_value()
    };
    for part in [if message.ng { "result ng" } else { "" }, &message.text] {
        reason = match (part, reason) {
            ("", reason) => reason,
            (part, Value::Text(reason)) => format!("{reason}: {part}").into_value(),
            (part, reason) => message!("{what}: {why}", what = reason, why = part).into_value(),
        };
    }
    if by_rule.is_some() {
        reason = message!("{reason} (as a rule of the configuration has it)", reason = reason).into_value();
    }
    Judged { verdict, reason }
}

/// What the first rule says that matches. Of a request for a token it says nothing of records.
fn by_rule(answer: &Answer, context: &Context<'_>) -> Option<Verdict> {
    let wait = || retry_after(&answer.headers, context.wall);
    let until = |wait: Duration, most| context.now + wait.clamp(MIN_WAIT, most);
    Some(match rule::first(context.rules, context.kind, answer.status, &answer.headers, &answer.body)? {
        Means::Accepted | Means::Poison if context.auth => return None,
        // Only an answer that says so itself may take records from the store; the configuration sees to that, too.
        Means::Accepted if !(200..=299).contains(&answer.status) => return None,
        Means::Accepted => Verdict::Accepted,
        Means::Throttled => {
            let wait = refresh(&answer.headers).or_else(wait).unwrap_or(DEFAULT_THROTTLE);
            Verdict::Throttled { until: until(wait, MAX_WAIT) }
        }
        Means::Maintenance => {
            Verdict::Maintenance { until: until(wait().unwrap_or(DEFAULT_MAINTENANCE), MAX_MAINTENANCE) }
        }
        Means::Suspended => Verdict::Suspended,
        Means::Quota => Verdict::Quota { until: wait().map(|wait| until(wait, MAX_QUOTA)) },
        Means::Ended => Verdict::Ended,
        Means::Misconfigured => Verdict::Misconfigured,
        Means::Poison => Verdict::Poison { too_large: answer.status == 413 },
        Means::Transient => Verdict::Transient { costly: (200..=299).contains(&answer.status) },
        // They are no answers.
        Means::OwnLine | Means::Unreachable => return None,
    })
}

/// What an answer says of the rate limit that it was counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in a minute.
    pub per_minute: NonZeroU64,
    /// Until when it was said: the end of the minute that is counted, 1 s to 1 h away.
    pub until: Instant,
}

/// The rate limit that an answer's headers tell, if they do.
pub(super) fn rate_limit(headers: &HeaderMap, now: Instant) -> Option<RateLimit> {
    let per_minute = headers.get(RATE_LIMIT)?.to_str().ok()?.trim().parse().ok()?;
    let life = refresh(headers).unwrap_or(DEFAULT_THROTTLE).clamp(MIN_WAIT, MAX_WAIT);
    Some(RateLimit { per_minute, until: now + life })
}

fn refresh(headers: &HeaderMap) -> Option<Duration> {
    seconds(headers.get(RATE_LIMIT_REFRESH)?.to_str().ok()?)
}

/// What a body says, if it says anything that is understood.
#[derive(Debug, Default)]
struct Message {
    ng: bool,
    text: String,
}

impl Message {
    /// Reads the Unified Endpoint's replies and both shapes of API errors.
    fn of(body: &[u8]) -> Self {
        // Only an object can be one of these; a long array echoed back is not parsed.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            let text = if body.is_empty() { String::new() } else { shown(&String::from_utf8_lossy(body)) };
            return Self { ng: false, text };
        }
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
            return Self { ng: false, text: shown(&String::from_utf8_lossy(body)) };
        };
        let ng = |value: &serde_json::Value| value["result"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("ng"));
        let error = if value["errorMessage"].is_object() { &value["errorMessage"] } else { &value };
        let parts: Vec<&str> = ["code", "message"].iter().filter_map(|key| error[key].as_str()).collect();
        Self { ng: ng(&value) || ng(&value["body"]), text: shown(&parts.join(" ")) }
    }

    fn speaks_of_quota(&self) -> bool {
        self.text.to_ascii_lowercase().contains("quota")
    }
}

/// A text from outside, cut and without what is not seen where it stands.
pub(super) fn shown(text: &str) -> String {
    crate::shown::shown(text, crate::shown::MESSAGE)
}

#[cfg(test)]
mod tests;
