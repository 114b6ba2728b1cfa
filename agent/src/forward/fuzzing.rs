//! The judging of answers, for fuzzing.

use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::verdict::{self, Answer, Context, Verdict};
use crate::answer::Means;
use crate::answer::rule::{Rule, Statuses};
use crate::glob::Glob;

/// Longest wait that any answer may ask for: above the longest that is granted, far below what a gateway would be
/// given up for.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longest reason in bytes: it goes into logs and status.
const LONGEST_REASON: usize = 2_048;

/// One of each form.
fn rules() -> Vec<Rule> {
    let glob = |text: &str| Glob::new(text).expect("a pattern");
    let header = Some((hyper::header::SERVER, glob("a*b")));
    let rule =
        Rule { status: Statuses::Class(5), body: Some(glob("a?*c")), header, kinds: vec![], means: Means::Maintenance };
    vec![rule.clone(), Rule { status: Statuses::Class(2), header: None, means: Means::Accepted, ..rule }]
}

/// Judges an answer with these headers, `Name: value` line by line.
///
/// # Panics
/// If the verdict waits for ever or its reason could not go into a log.
pub fn judge(status: u16, headers: &[u8], body: &[u8], delivered: bool, auth: bool) {
    let mut map = HeaderMap::new();
    for line in headers.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            map.append(name, value);
        }
    }
    let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_336_200));
    let answer = Answer { status, headers: map, body: body.to_vec() };
    let judged = verdict::judge(
        &answer,
        &Context { rules: &rules(), kind: "webhook", delivered, auth, proven: !auth, now, wall },
    );
    if let Verdict::Throttled { until } | Verdict::Maintenance { until } = judged.verdict {
        assert!(until <= now + LONGEST, "waits {:?}", until - now);
    }
    assert!(judged.reason.to_string().len() <= LONGEST_REASON, "a reason of {} bytes", judged.reason.to_string().len());
    assert!(!judged.reason.to_string().chars().any(char::is_control), "a control character in {:?}", judged.reason);
}
