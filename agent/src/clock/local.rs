//! Local time, as the person sees it who stands before the gateway: by the system's time zone.
//!
//! The zone is that of the environment variable `TZ`, or of `/etc/localtime`; UTC where neither can be read. A change of it
//! is seen within minutes.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The minute of the week, from Monday 00:00 local time, that a time (ms since the Unix epoch) falls into.
pub fn minute_of_week(wall_ms: u64) -> u16 {
    minute_in(&TimeZone::system(), wall_ms)
}

fn minute_in(zone: &TimeZone, wall_ms: u64) -> u16 {
    let time = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // A time beyond the year 9999 is nobody's: any minute will do.
    let local = time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone());
    let part = |number: i8| u16::try_from(number).unwrap_or(0);
    part(local.weekday().to_monday_zero_offset()) * 1440 + part(local.hour()) * 60 + part(local.minute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{Offset, TimeZone};

    #[test]
    fn a_week_begins_on_monday_where_the_gateway_stands() {
        // 2026-11-22T15:00:00Z, a Sunday; in Japan Monday has just begun.
        let moment = 1_795_359_600_000;
        assert_eq!(minute_in(&TimeZone::fixed(Offset::constant(9)), moment), 0);
        assert_eq!(minute_in(&TimeZone::UTC, moment), 6 * 1440 + 15 * 60);
        assert!(minute_in(&TimeZone::UTC, u64::MAX) < 10_080);
    }
}
