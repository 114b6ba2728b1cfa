//! Points in time as people write them into a file or behind a flag.
//!
//! ```text
//! 2026-12-01                      the beginning of that day
//! 2026-12-01 02:00                also with T, with seconds, with a fraction of them
//! 2026-12-01T02:00:00+09:00       RFC 3339; without an offset (or Z) it is UTC, as everything Tidegate shows
//! now  +2h  -30m                  from now on
//! ```

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use tidegate_protocol::units::parse_duration;

use crate::language::Message;
use crate::message;

/// What to write.
pub const ADVICE: Message = message!(
    "write a time such as \"2026-12-01 02:00\" (UTC unless an offset follows: \
                          \"2026-12-01T02:00:00+09:00\"), a date, \"now\", or how long from now: \"+2h\""
);

/// Reads a time: ms since the Unix epoch, not before it. `now_ms` is what it is counted from where it is said from now.
///
/// # Errors
/// What to write instead.
pub fn parse(text: &str, now_ms: u64) -> Result<u64, Message> {
    parse_or_advise(text, now_ms, &ADVICE)
}

/// The same, for who has advice of its own.
///
/// # Errors
/// `advice`, behind what is wrong with a duration.
pub fn parse_or_advise(text: &str, now_ms: u64, advice: &Message) -> Result<u64, Message> {
    let text = text.trim();
    let signed = |duration: &str| {
        let duration = parse_duration(duration)
            .map_err(|error| message!("{advice}, or {other}", advice = error.advice, other = advice))?;
        Ok::<u64, Message>(ms(duration))
    };
    match text.as_bytes().first() {
        _ if text == "now" => Ok(now_ms),
        Some(b'+') => Ok(now_ms.saturating_add(signed(&text[1..])?)),
        Some(b'-') => Ok(now_ms.saturating_sub(signed(&text[1..])?)),
        _ => absolute(text).ok_or_else(|| advice.clone()),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn absolute(text: &str) -> Option<u64> {
    // An offset may stand apart, as people write it: `02:00 +09:00`.
    let joined =
        text.rsplit_once(' ').filter(|(_, last)| last.starts_with(['+', '-']) || last.eq_ignore_ascii_case("z"));
    let joined = joined.map(|(time, offset)| format!("{time}{offset}"));
    let text = joined.as_deref().unwrap_or(text);
    let utc = |civil: DateTime| civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    // A text with an offset or a `Z` is a moment by itself; one with a zone in brackets would hide which rules are meant.
    let plain = !text.contains(['[', ']']);
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => Some(moment),
        Err(_) if has_offset(text) => None,
        Err(_) => text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from)).ok().and_then(utc),
    };
    moment.filter(|_| plain).and_then(|moment| u64::try_from(moment.as_millisecond()).ok())
}

/// Whether an offset stands behind the time of day; a date's own dashes stand before.
fn has_offset(text: &str) -> bool {
    text.get(10..).is_some_and(|clock| clock.contains(['+', '-', 'Z', 'z']))
}

/// Writes a time so that [`parse`] gives it back: RFC 3339, UTC, the milliseconds only where there are some.
pub fn format(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_795_336_200_123; // 2026-11-22T08:30:00.123Z

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2026-12-01", "2026-12-01T00:00:00Z"),
            ("2026-12-01 02:00", "2026-12-01T02:00:00Z"),
            (" 2026-12-01T02:00:59.5 ", "2026-12-01T02:00:59.5Z"),
            ("2026-12-01T02:00:00Z", "2026-12-01T02:00:00Z"),
            ("2026-12-01T02:00:00+09:00", "2026-11-30T17:00:00Z"),
            ("2026-12-01 02:00 +09:00", "2026-11-30T17:00:00Z"),
            ("2026-12-01 02:00-05:00", "2026-12-01T07:00:00Z"),
            ("now", "2026-11-22T08:30:00.123Z"),
            ("+2h", "2026-11-22T10:30:00.123Z"),
            ("-1h30m", "2026-11-22T07:00:00.123Z"),
        ] {
            assert_eq!(parse(text, NOW).map(format), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_answered_with_what_to_write() {
        for text in [
            "",
            "tomorrow",
            "02:00",
            "2026-13-01",
            "2026-12-01 25:00",
            "1969-12-31",
            "+",
            "+2",
            "2026-12-01T02:00+99:00",
        ] {
            let error = parse(text, NOW).expect_err(text);
            assert!(error.to_string().contains("2026-12-01 02:00"), "{text}: {error}");
        }
        assert!(parse("2026-12-01T02:00:00+09:00[Asia/Tokyo]", NOW).is_err(), "an offset, not a zone");
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_it_is_written(ms in 0_u64..4_102_444_800_000) {
            prop_assert_eq!(parse(&format(ms), NOW), Ok(ms));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = parse(&text, NOW);
        }
    }
}
