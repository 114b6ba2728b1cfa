//! Points in time as people write them, none of them still to come: what is stored is looked for.
//!
//! ```text
//! 2026-11-22                      the beginning of that day
//! 2026-11-22 10:00                also with T, with seconds, with a fraction of them
//! 2026-11-22T10:00:00+09:00       RFC 3339; without an offset (or Z) it is UTC, as everything Tidegate shows
//! -2h  -90m  -7d  -1h30m          so long ago
//! now
//! ```

use tidegate::clock::now_ms;
use tidegate::clock::text::parse_or_advise;
use tidegate::language::Message;
use tidegate::message;

/// What to write.
const ADVICE: Message = message!(
    "write a date (2026-11-22), a date and time (\"2026-11-22 10:00\", 2026-11-22T10:00:00Z; UTC \
                      unless an offset such as +09:00 follows), or how long ago it was (-2h, -90m, -7d)"
);

/// Length of a date: 2026-11-22.
const DATE: usize = 10;

/// Reads a time: ms since the Unix epoch. The error says what to write.
pub(super) fn parse(text: &str) -> Result<u64, Message> {
    at(text, now_ms())
}

fn at(text: &str, now_ms: u64) -> Result<u64, Message> {
    let text = text.trim();
    // Nothing is stored that is still to come. `2026-11-22 10`, which would be read, may have been meant as a day.
    let hour_alone = || text.len() > DATE && !text.starts_with('-') && !text.contains(':');
    if text.starts_with('+') || hour_alone() {
        return Err(ADVICE);
    }
    parse_or_advise(text, now_ms, &ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::event::write_time;

    const DAY_MS: u64 = 86_400_000;
    const NOW: u64 = 1_795_336_200_123; // 2026-11-22T08:30:00.123Z

    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        write_time(&mut out, at(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}")));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2026-11-22", "2026-11-22T00:00:00.000Z"),
            ("2026-11-22 10:00", "2026-11-22T10:00:00.000Z"),
            (" 2026-11-22T10:00:59 ", "2026-11-22T10:00:59.000Z"),
            ("2026-11-22T10:00:59.5Z", "2026-11-22T10:00:59.500Z"),
            ("2026-11-22t10:00:59.123987z", "2026-11-22T10:00:59.123Z"),
            ("2026-11-22T05:00:00+09:00", "2026-11-21T20:00:00.000Z"),
            ("2026-11-22 20:00 -05:30", "2026-11-23T01:30:00.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("1970-01-01", "1970-01-01T00:00:00.000Z"),
            ("-2h", "2026-11-22T06:30:00.123Z"),
            ("-1h30m", "2026-11-22T07:00:00.123Z"),
            ("-7d", "2026-11-15T08:30:00.123Z"),
            ("now", "2026-11-22T08:30:00.123Z"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_answered_with_what_to_write() {
        for text in [
            "",
            "yesterday",
            "10:00",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "1969-12-31",
            "2026-11-22 25:00",
            "2026-11-22 10",
            "2026-11-22 10:00:61",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00+9",
            "-",
            "-2",
            "-x",
            "+2h",
            " +2h",
            "1970-01-01T00:00+09:00",
            "2026-11-22é10:00",
            "２０２６-11-22",
        ] {
            let error = at(text, NOW).expect_err(text);
            let error = error.to_string();
            assert!(error.contains("2026-11-22 10:00") && error.contains("-2h"), "{text}: {error}");
        }
    }

    #[test]
    fn every_day_is_read_as_it_is_written() {
        for day in (0..=2_932_896_u64).step_by(97) {
            let mut out = Vec::new();
            write_time(&mut out, day * DAY_MS);
            let text = String::from_utf8_lossy(&out);
            assert_eq!(at(&text, NOW), Ok(day * DAY_MS), "{text}");
        }
    }
}
