//! Windows: spans of the week in which what can wait may leave.
//!
//! ```text
//! window = [days] HH:MM-HH:MM        "02:00-05:00"   "mon-fri 22:00-06:00"   "sat,sun 00:00-24:00"
//! days   = day | day-day, parted by commas
//! day    = mon | tue | wed | thu | fri | sat | sun
//! ```
//! Local time. Without days it is every day. A window that ends before it begins crosses midnight, and its days are those
//! on which it begins. `24:00` is the end of a day, and only an end.
//!
//! Held as minutes of the week, so that two sets of windows can be cut to what both allow, and the same set of minutes is
//! the same value however it was written.

use std::fmt;
use std::fmt::Write as _;

use crate::said;
use crate::said::Said;

/// Minutes of a day.
const DAY: u16 = 1440;

/// Minutes of a week. Minute 0 is Monday 00:00, local time.
pub const MINUTES_OF_WEEK: u16 = 7 * DAY;

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A set of minutes of the week.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windows {
    /// From (included) and below, in order, neither touching nor overlapping, all within the week.
    spans: Vec<(u16, u16)>,
}

/// A text is no window: what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{advice}")]
pub struct WindowError {
    /// What to write instead.
    pub advice: Said,
}

const EXAMPLE: Said = said!("write a window such as \"02:00-05:00\" or \"mon-fri 22:00-06:00\", in local time");

const fn error(advice: Said) -> WindowError {
    WindowError { advice }
}

impl Windows {
    /// The minutes of all these windows together.
    ///
    /// # Errors
    /// What to write instead of the first that is no window.
    pub fn parse<'a>(windows: impl IntoIterator<Item = &'a str>) -> Result<Self, WindowError> {
        let mut spans = Vec::new();
        for window in windows {
            add(window, &mut spans)?;
        }
        Ok(Self::of(spans))
    }

    /// Sorted and joined.
    fn of(mut spans: Vec<(u16, u16)>) -> Self {
        spans.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(spans.len());
        for (from, below) in spans {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(below),
                _ => joined.push((from, below)),
            }
        }
        Self { spans: joined }
    }

    /// Whether they are never open. Only cutting makes such a set.
    pub fn is_never(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether they are open at a minute of the week (below [`MINUTES_OF_WEEK`]).
    pub fn is_open(&self, minute: u16) -> bool {
        self.spans.iter().any(|(from, below)| (*from..*below).contains(&minute))
    }

    /// Minutes from `minute` of the week until they are open: 0 if they are, `None` if they never will be.
    pub fn opens_in(&self, minute: u16) -> Option<u16> {
        if self.is_open(minute) {
            return Some(0);
        }
        let next = self.spans.iter().map(|(from, _)| *from).find(|from| *from > minute);
        let first = self.spans.first().map(|(from, _)| from + MINUTES_OF_WEEK);
        next.or(first).map(|from| from - minute)
    }

    /// What both allow.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let cut = |(from, below): (u16, u16)| {
            let pieces = other.spans.iter().map(move |(start, end)| (from.max(*start), below.min(*end)));
            pieces.filter(|(from, below)| from < below)
        };
        Self::of(self.spans.iter().copied().flat_map(cut).collect())
    }

    /// The spans as they are written: those that cross the end of the week are joined again, those that cover more than a
    /// day are parted at its midnights.
    fn written(&self) -> Vec<(u16, u16)> {
        let mut spans = self.spans.clone();
        let wraps = spans.len() > 1 && spans[0].0 == 0 && spans[spans.len() - 1].1 == MINUTES_OF_WEEK;
        if wraps && spans[0].1 + (MINUTES_OF_WEEK - spans[spans.len() - 1].0) < DAY {
            let first = spans.remove(0);
            if let Some(last) = spans.last_mut() {
                last.1 += first.1;
            }
        }
        let mut written = Vec::new();
        for (mut from, below) in spans {
            while below - from > DAY || (below - from == DAY && from % DAY != 0) {
                let midnight = from / DAY * DAY + DAY;
                written.push((from, midnight));
                from = midnight;
            }
            written.push((from, below));
        }
        written
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("never");
        }
        // Days, as bits, by when on the day a window begins and how long it lasts.
        let mut daily: Vec<((u16, u16), u8)> = Vec::new();
        for (from, below) in self.written() {
            let (span, day) = ((from % DAY, below - from), 1 << (from / DAY));
            match daily.iter_mut().find(|(known, _)| *known == span) {
                Some((_, days)) => *days |= day,
                None => daily.push((span, day)),
            }
        }
        daily.sort_unstable_by_key(|((from, length), days)| (days.trailing_zeros(), *from, *length));
        for (count, ((from, length), days)) in daily.iter().enumerate() {
            if count > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&days_text(*days))?;
            let end = from + length;
            let end = if end > DAY { end - DAY } else { end };
            write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, end / 60, end % 60)?;
        }
        Ok(())
    }
}

/// Days as they are written, with the space behind them; nothing for every day.
fn days_text(days: u8) -> String {
    if days == 0x7f {
        return String::new();
    }
    let has = |day: usize| day < 7 && days & (1 << day) != 0;
    let (mut text, mut day) = (String::new(), 0);
    while day < 7 {
        if !has(day) {
            day += 1;
            continue;
        }
        let first = day;
        while has(day + 1) {
            day += 1;
        }
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match day - first {
            0 => write!(text, "{comma}{}", NAMES[first]),
            1 => write!(text, "{comma}{},{}", NAMES[first], NAMES[day]),
            _ => write!(text, "{comma}{}-{}", NAMES[first], NAMES[day]),
        };
        day += 1;
    }
    text.push(' ');
    text
}

/// Adds the spans of one window.
fn add(window: &str, spans: &mut Vec<(u16, u16)>) -> Result<(), WindowError> {
    let mut words = window.split_whitespace();
    let (days, times) = match (words.next(), words.next(), words.next()) {
        (Some(times), None, _) => (0x7f, times),
        (Some(days), Some(times), None) => (parse_days(days)?, times),
        _ => return Err(error(EXAMPLE)),
    };
    let (from, to) = times.split_once('-').ok_or(error(EXAMPLE))?;
    let (from, to) = (time(from)?, time(to)?);
    if from == DAY {
        return Err(error(said!("write \"00:00\" where a window begins: \"24:00\" is the end of a day")));
    }
    if from == to || (from == 0 && to == 0) {
        return Err(error(said!("write \"00:00-24:00\" for a whole day, or leave the window out")));
    }
    let length = if to > from { to - from } else { DAY - from + to };
    for day in (0..7).filter(|day| days & (1 << day) != 0) {
        let (start, end) = (day * DAY + from, day * DAY + from + length);
        spans.push((start, end.min(MINUTES_OF_WEEK)));
        if end > MINUTES_OF_WEEK {
            spans.push((0, end - MINUTES_OF_WEEK));
        }
    }
    Ok(())
}

fn parse_days(text: &str) -> Result<u8, WindowError> {
    const ADVICE: Said = said!("write days as mon, tue, wed, thu, fri, sat, sun: \"mon-fri\", \"sat,sun\"");
    let day = |name: &str| NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or(error(ADVICE));
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days |= 1 << at;
        while at != last {
            at = (at + 1) % 7;
            days |= 1 << at;
        }
    }
    Ok(days)
}

/// Minutes since midnight: `HH:MM`, up to `24:00`.
fn time(text: &str) -> Result<u16, WindowError> {
    const ADVICE: Said = said!("write times as hours and minutes from \"00:00\" to \"24:00\", such as \"02:00-05:00\"");
    let part = |text: &str| {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let minutes = text.split_once(':').filter(|(_, minutes)| minutes.len() == 2).and_then(|(hours, minutes)| {
        let (hours, minutes) = (part(hours)?, part(minutes)?);
        (minutes < 60).then_some(hours * 60 + minutes)
    });
    minutes.filter(|minutes| *minutes <= DAY).ok_or(error(ADVICE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(texts: &[&str]) -> Windows {
        Windows::parse(texts.iter().copied()).unwrap_or_else(|error| panic!("{texts:?}: {error}"))
    }

    fn at(day: &str, hour: u16, minute: u16) -> u16 {
        let day = NAMES.iter().position(|name| *name == day).expect("a day") as u16;
        day * DAY + hour * 60 + minute
    }

    #[test]
    fn a_daily_window_is_open_from_its_first_minute_to_before_its_last() {
        let nightly = windows(&["02:00-05:00"]);
        for day in NAMES {
            assert!(nightly.is_open(at(day, 2, 0)) && nightly.is_open(at(day, 4, 59)));
            assert!(!nightly.is_open(at(day, 1, 59)) && !nightly.is_open(at(day, 5, 0)));
        }
        assert_eq!(nightly.opens_in(at("mon", 1, 0)), Some(60));
        assert_eq!(nightly.opens_in(at("mon", 3, 0)), Some(0));
        assert_eq!(nightly.opens_in(at("sun", 23, 0)), Some(180), "over the end of the week");
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let late = windows(&["fri,sun 22:00-06:00"]);
        for (day, hour, open) in
            [("fri", 21, false), ("fri", 22, true), ("sat", 5, true), ("sat", 6, false), ("sat", 22, false)]
        {
            assert_eq!(late.is_open(at(day, hour, 0)), open, "{day} {hour}");
        }
        assert!(late.is_open(at("mon", 5, 59)) && !late.is_open(at("mon", 6, 0)), "over the end of the week");
        assert_eq!(late.to_string(), "fri,sun 22:00-06:00");
    }

    #[test]
    fn windows_are_written_for_people() {
        for (texts, written) in [
            (&["02:00-05:00"][..], "02:00-05:00"),
            (&["mon-fri 02:00-05:00"], "mon-fri 02:00-05:00"),
            (&["MON,TUE,wed 2:00-5:00"], "mon-wed 02:00-05:00"),
            (&["23:00-01:00", "12:00-13:00"], "12:00-13:00; 23:00-01:00"),
            (&["sat-mon 00:00-24:00"], "mon,sat,sun 00:00-24:00"),
            (&["00:00-24:00"], "00:00-24:00"),
            (&["02:00-04:00", "03:00-05:00"], "02:00-05:00"),
        ] {
            assert_eq!(windows(texts).to_string(), written, "{texts:?}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_to_write() {
        for (text, word) in [
            ("", "\"02:00-05:00\""),
            ("night", "\"02:00-05:00\""),
            ("2-5", "\"00:00\" to \"24:00\""),
            ("02:00-25:00", "\"24:00\""),
            ("02:60-05:00", "\"24:00\""),
            ("02:00-05:00 mon", "mon, tue"),
            ("mo 02:00-05:00", "mon, tue"),
            ("mon-fri", "\"00:00\" to"),
            ("24:00-05:00", "\"00:00\" where"),
            ("05:00-05:00", "whole day"),
            ("mon 1:00-2:00 x", "\"02:00-05:00\""),
            ("+2:00-05:00", "\"24:00\""),
        ] {
            let error = Windows::parse([text]).expect_err(text);
            assert!(error.advice.to_string().contains(word), "{text}: {error}");
        }
    }

    /// Windows of any days and times.
    fn any() -> impl Strategy<Value = Windows> {
        let one = (1_u8..=0x7f, 0..DAY, 1..DAY).prop_map(|(days, from, length)| {
            let to = (from + length) % DAY;
            let to = if to == 0 { DAY } else { to };
            format!("{}{:02}:{:02}-{:02}:{:02}", days_text(days), from / 60, from % 60, to / 60, to % 60)
        });
        proptest::collection::vec(one, 0..6)
            .prop_map(|texts| Windows::parse(texts.iter().map(String::as_str)).expect("windows"))
    }

    proptest! {
        #[test]
        fn windows_read_back_as_they_are_written(windows in any()) {
            prop_assume!(!windows.is_never());
            prop_assert_eq!(Windows::parse(windows.to_string().split("; ")), Ok(windows));
        }

        #[test]
        fn what_both_allow_is_open_exactly_when_both_are(one in any(), other in any()) {
            let both = one.intersect(&other);
            prop_assert_eq!(&both, &other.intersect(&one));
            for minute in 0..MINUTES_OF_WEEK {
                prop_assert_eq!(both.is_open(minute), one.is_open(minute) && other.is_open(minute));
            }
        }

        #[test]
        fn the_wait_ends_when_they_open(windows in any(), minute in 0..MINUTES_OF_WEEK) {
            match windows.opens_in(minute) {
                None => prop_assert!(windows.is_never()),
                Some(wait) => {
                    prop_assert!(windows.is_open((minute + wait) % MINUTES_OF_WEEK));
                    prop_assert!((0..wait).all(|early| !windows.is_open((minute + early) % MINUTES_OF_WEEK)));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z,-]{0,8} ?[0-9:.-]{0,12}\\PC{0,3}") {
            let _ = Windows::parse([text.as_str()]);
        }
    }
}
