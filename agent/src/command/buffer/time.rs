//! Points in time as people write them.
//!
//! ```text
//! 2026-11-22                      the beginning of that day
//! 2026-11-22 10:00                also with T, with seconds, with a fraction of them
//! 2026-11-22T10:00:00+09:00       RFC 3339; without an offset (or Z) it is UTC, as everything Tidegate shows
//! -2h  -90m  -7d  -1h30m          so long ago
//! now
//! ```

use tidegate::clock::now_ms;
use tidegate::config::units::parse_duration;

const DAY_MS: u64 = 86_400_000;

/// What to write.
const ADVICE: &str = "write a date (2026-11-22), a date and time (\"2026-11-22 10:00\", 2026-11-22T10:00:00Z; UTC \
                      unless an offset such as +09:00 follows), or how long ago it was (-2h, -90m, -7d)";

/// Reads a time: ms since the Unix epoch. The error says what to write.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    at(text, now_ms())
}

fn at(text: &str, now_ms: u64) -> Result<u64, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = parse_duration(ago).map_err(|error| format!("{error}, or {ADVICE}"))?;
        return Ok(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)));
    }
    absolute(text).ok_or_else(|| ADVICE.to_owned())
}

fn absolute(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let day_ms = day(date)?.checked_mul(DAY_MS)?;
    if rest.is_empty() {
        return Some(day_ms);
    }
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let zone = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone);
    let ms = day_ms + in_day(clock.trim_end())?;
    match zone {
        "" | "Z" | "z" => Some(ms),
        _ => {
            let offset_ms = in_day(&zone[1..]).filter(|_| zone.len() == 6)?;
            if zone.starts_with('+') { ms.checked_sub(offset_ms) } else { ms.checked_add(offset_ms) }
        }
    }
}

/// Milliseconds since midnight of `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`.
fn in_day(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let hour = number(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = number(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let mut ms = (hour * 60 + minute) * 60_000;
    if let Some(rest) = parts.next() {
        let (second, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
        ms += number(second, 2).filter(|second| *second < 60)? * 1000;
        if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Finer than a millisecond nothing is kept.
        let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
        ms += number(&digits, 3)?;
    }
    Some(ms)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1970-01-01 of `YYYY-MM-DD`, from 1970 on, in the proleptic Gregorian calendar: years are counted from
/// March, so that a leap day is a year's last.
fn day(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4).filter(|year| *year >= 1970)?;
    let month = number(parts.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = number(parts.next()?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length).contains(&day) || parts.next().is_some() {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days from 0000-03-01 to 1970-01-01.
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::event::write_time;

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
            "1970-01-01T00:00+09:00",
            "2026-11-22é10:00",
            "２０２６-11-22",
        ] {
            let error = at(text, NOW).expect_err(text);
            assert!(error.contains("2026-11-22 10:00") && error.contains("-2h"), "{text}: {error}");
        }
    }

    #[test]
    fn every_day_is_read_as_it_is_written() {
        for day in (0..=2_932_896_u64).step_by(97) {
            let mut out = Vec::new();
            write_time(&mut out, day * DAY_MS);
            let text = String::from_utf8_lossy(&out);
            assert_eq!(absolute(&text), Some(day * DAY_MS), "{text}");
        }
    }
}
