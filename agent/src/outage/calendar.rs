//! Days and months as the provider's terms count them: in Japan (JST, UTC+9, without summer time).

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use crate::language::Message;
use crate::message;

/// Hours by which Japan is ahead of UTC.
const JST: i8 = 9;

/// A month: year and month of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    /// Its year.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

impl std::str::FromStr for Month {
    type Err = Message;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: Message = message!("write a month as 2026-11");
        let (year, month) = text.split_once('-').ok_or(ADVICE)?;
        let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(ADVICE);
        }
        let (year, month) = (year.parse().map_err(|_| ADVICE)?, month.parse().map_err(|_| ADVICE)?);
        if (1..=12).contains(&month) { Ok(Self { year, month }) } else { Err(ADVICE) }
    }
}

/// The day that a time (ms since the Unix epoch) falls into, in Japan.
pub fn day(wall_ms: u64) -> Date {
    let time = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // A time beyond the year 9999 is nobody's.
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::fixed(Offset::constant(JST))).date()
}

/// The month that a time falls into, in Japan.
pub fn month(wall_ms: u64) -> Month {
    let day = day(wall_ms);
    Month { year: day.year(), month: day.month() }
}

/// The last day to claim what was learnt of on `day`: three months later by the calendar; where that month is shorter, its
/// last day. (Clause 15.2(2): 「利用不能となったことを知った日から3ヶ月を経過する日まで」; by Articles 140 and 143 of the
/// Japanese Civil Code the day itself is not counted.)
pub fn last_day(day: Date) -> Date {
    day.checked_add(3.months()).unwrap_or(Date::MAX)
}

/// A time as a person in Japan writes it: `2026-11-22 18:30:00`.
pub fn text(wall_ms: u64) -> String {
    let time = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let local = time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::fixed(Offset::constant(JST)));
    format!("{} {:02}:{:02}:{:02}", local.date(), local.hour(), local.minute(), local.second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn the_last_day_to_claim_is_three_calendar_months_later() {
        for (learnt, last) in [
            (date(2026, 11, 22), date(2027, 2, 22)),
            (date(2026, 11, 30), date(2027, 2, 28)),
            (date(2027, 11, 30), date(2028, 2, 29)),
            (date(2026, 11, 28), date(2027, 2, 28)),
            (date(2027, 1, 31), date(2027, 4, 30)),
            (date(2027, 3, 31), date(2027, 6, 30)),
            (date(2026, 10, 1), date(2027, 1, 1)),
        ] {
            assert_eq!(last_day(learnt), last, "{learnt}");
        }
    }

    #[test]
    fn a_day_begins_in_japan_at_fifteen_hours_utc() {
        // 2026-11-30T15:00:00Z
        let midnight = 1_796_050_800_000;
        assert_eq!((day(midnight - 1), day(midnight)), (date(2026, 11, 30), date(2026, 12, 1)));
        assert_eq!(month(midnight), Month { year: 2026, month: 12 });
        assert_eq!(text(midnight), "2026-12-01 00:00:00");
    }

    #[test]
    fn a_month_is_written_with_year_and_two_digits() {
        assert_eq!("2026-11".parse(), Ok(Month { year: 2026, month: 11 }));
        for text in ["2026-13", "2026-1", "26-11", "2026", "2026-00", "+026-11", "2026-11-01"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
