//! What any answer over HTTP says: how long to wait by its headers, and what it means by the configuration's [rules](rule).
//! Pure.

pub mod rule;

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};

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
