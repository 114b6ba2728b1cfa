//! What any answer over HTTP says: how long to wait by its headers, and what it means by the configuration's [rules](rule).
//! Pure.

pub mod rule;

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};

/// What Flux's answer, by the rules of the configuration, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// Accepted.
    Accepted,
    /// Too much for now (429).
    Throttled,
    /// It is being worked on (503; with a time, or again and again).
    Maintenance,
    /// What used to be taken is not any more (401, 403).
    Suspended,
    /// What the account may use is used up.
    Quota,
    /// It is gone for good (410).
    Ended,
    /// It never worked as configured.
    Misconfigured,
    /// The record is refused, not the gateway.
    Poison,
    /// It may pass by itself: an error of the server, no whole answer.
    Transient,
    /// No connection came about, and the gateway's own line is at fault as far as can be told.
    OwnLine,
    /// No connection came about, and the provider's side is at fault as far as can be told.
    Unreachable,
}

/// `Retry-After` as seconds or as a date (RFC 9110, 10.2.3), not clamped. A date is taken relative to the answer's own
/// `Date`, or else to `wall`, because the gateway's clock may be wrong by years.
pub fn retry_after(headers: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Some(wait) = seconds(value) {
        return Some(wait);
    }
    let at = httpdate::parse_http_date(value.trim()).ok()?;
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Some(at.duration_since(date.unwrap_or(wall)).unwrap_or(Duration::ZERO))
}

/// Whole seconds, written in digits alone.
pub fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a u64 holds is a wait beyond every clamp.
    digits.then(|| text.parse().map_or(Duration::MAX, Duration::from_secs))
}
