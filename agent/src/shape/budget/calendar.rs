//! Days and months of the provider's bills.

/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 86_400_000;

/// The latest time that is reckoned with (the end of the year 9999): a clock beyond it is a fault, not a time.
const LATEST_MS: u64 = 253_402_300_799_999;

/// Days of the first months of a common year, up to each month's beginning.
const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// Whose days and months are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Calendar {
    /// Japan's: nine hours ahead of UTC all year.
    #[default]
    Jst,
    /// UTC's.
    Utc,
}

impl Calendar {
    const fn ahead_ms(self) -> u64 {
        match self {
            Self::Jst => 9 * 3_600_000,
            Self::Utc => 0,
        }
    }

    /// When the month that a time falls into has ended, both in ms since the Unix epoch.
    pub fn month_end_ms(self, wall_ms: u64) -> u64 {
        Span::Month.bounds(self, Span::Month.at(self, wall_ms)).1
    }
}

/// A span of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Day,
    Month,
}

impl Span {
    /// Which day or month since 1970 a time (ms since the Unix epoch) falls into.
    pub(super) fn at(self, calendar: Calendar, wall_ms: u64) -> u64 {
        let day = (wall_ms.min(LATEST_MS) + calendar.ahead_ms()) / DAY_MS;
        match self {
            Self::Day => day,
            Self::Month => month_of(day),
        }
    }

    /// When it begins and when it has ended, ms since the Unix epoch.
    pub(super) fn bounds(self, calendar: Calendar, number: u64) -> (u64, u64) {
        let day = |number| match self {
            Self::Day => number,
            Self::Month => first_day(number),
        };
        let begins = |number| (day(number) * DAY_MS).saturating_sub(calendar.ahead_ms());
        (begins(number), begins(number + 1))
    }

    /// The longest that one lasts, in ms.
    pub(super) const fn longest_ms(self) -> u64 {
        match self {
            Self::Day => DAY_MS,
            Self::Month => 31 * DAY_MS,
        }
    }
}

/// The day since 1970 on which a month since 1970 begins.
fn first_day(month: u64) -> u64 {
    let (year, month) = (1970 + month / 12, (month % 12) as usize);
    // Leap days of the years before this one: 477 of them before 1970.
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400 - 477;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    (year - 1970) * 365 + leaps + BEFORE_MONTH[month] + u64::from(is_leap && month > 1)
}

/// The month since 1970 that a day since 1970 falls into.
fn month_of(day: u64) -> u64 {
    // No month has more than 31 days, so the guess is never too late; and by the year 9999 it is 7 months in 400 years short.
    let mut month = day / 31;
    // A mean month has 30.436875 days (146,097 days in 4,800 months).
    month = month.max((day * 4_800 / 146_097).saturating_sub(1));
    while first_day(month + 1) <= day {
        month += 1;
    }
    month
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn months_begin_when_the_calendar_has_it() {
        // 2026-11-30T15:00:00Z is the first moment of December in Japan.
        let moment = 1_796_050_800_000;
        let month = (2026 - 1970) * 12 + 11;
        assert_eq!(Span::Month.at(Calendar::Jst, moment), month);
        assert_eq!(Span::Month.at(Calendar::Jst, moment - 1), month - 1);
        assert_eq!(Span::Month.at(Calendar::Utc, moment), month - 1);
        assert_eq!(Span::Month.bounds(Calendar::Jst, month).0, moment);
        assert_eq!(Span::Month.bounds(Calendar::Utc, month).0, moment + 9 * 3_600_000);
        let length = |number| {
            let (begin, end) = Span::Month.bounds(Calendar::Utc, number);
            (end - begin) / DAY_MS
        };
        assert_eq!((length(month), length(month + 2)), (31, 28));
        assert_eq!(length((2028 - 1970) * 12 + 1), 29);
        assert_eq!(length((2000 - 1970) * 12 + 1), 29);
        assert_eq!(length((2100 - 1970) * 12 + 1), 28);
        assert_eq!(length(1), 28, "February 1970");
        assert_eq!(Span::Month.at(Calendar::Utc, 0), 0);
    }

    proptest! {
        #[test]
        fn every_moment_lies_within_its_own_day_and_month(wall in 0..LATEST_MS, jst in any::<bool>()) {
            let calendar = if jst { Calendar::Jst } else { Calendar::Utc };
            for span in [Span::Day, Span::Month] {
                let (begin, end) = span.bounds(calendar, span.at(calendar, wall));
                prop_assert!(begin <= wall && wall < end);
                prop_assert!(end - begin <= span.longest_ms());
            }
        }
    }
}
