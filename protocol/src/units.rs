//! Sizes, rates and durations as people write them, and as they are written for people.
//!
//! ```text
//! size     = number unit                 "1GiB"  "64 KiB"  "10MB"  "1.5 GiB"
//! unit     = B | kB | KB | MB | GB | TB  powers of 1000
//!          | KiB | MiB | GiB | TiB       powers of 1024
//! rate     = number unit                 "512 kbit/s"  "2Mbps"  "10 kB/s"
//! unit     = bit/s | kbit/s | Mbit/s | Gbit/s, also written bps | b/s and so on: bits, powers of 1000
//!          | any unit of a size with /s  bytes
//! duration = number unit [number unit…]  "270s"  "500ms"  "1h30m"  "1.5 h"
//! unit     = us | ms | s | m | min | h | d
//! share    = digits %                    "20%"
//! ```
//! A number without a unit is refused: 64 what? A fraction must give whole bytes, bits a second or nanoseconds. In a rate
//! a small `b` is a bit and a capital `B` a byte; `KBps`, in which nobody can tell, is refused with both meanings.

use std::fmt::Write as _;
use std::time::Duration;

use crate::said;
use crate::said::Said;

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];

/// What a rate in bits begins with, and how many bits a second that is.
const BITS: [(&str, u64); 6] =
    [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000), ("K", 1000), ("", 1), ("m", 1_000_000)];

/// How a rate in bits ends.
const BIT_ENDS: [&str; 4] = ["bit/s", "bits/s", "bps", "b/s"];

/// Nanoseconds.
const DURATIONS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("µs", 1000),
];

/// Why a text is no size, rate, share or duration: what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{advice}")]
pub struct UnitError {
    /// What to write instead.
    pub advice: Said,
}

fn error(advice: Said) -> UnitError {
    UnitError { advice }
}

/// Reads a size in bytes.
///
/// # Errors
/// What to write instead.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    const EXAMPLE: Said = said!("write a number with a unit, such as \"64KiB\" or \"1GiB\"");
    let Some((number, rest)) = number(text.trim()) else { return Err(error(EXAMPLE)) };
    let unit = rest.trim();
    if let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) {
        let bytes = number
            .times(*factor)
            .ok_or_else(|| error(said!("write a size that is a whole number of bytes below 16 EiB")))?;
        return Ok(bytes);
    }
    let plain = &text.trim()[..text.trim().len() - rest.len()];
    Err(match unit {
        "" => error(size_meanings(plain)),
        "K" | "k" | "M" | "G" | "T" | "m" | "g" | "t" | "Ki" | "Mi" | "Gi" | "Ti" => {
            let letter = unit[..1].to_uppercase();
            error(said!(
                "write \"{plain}{letter}iB\" (powers of 1024) or \"{plain}{letter}B\" (powers of 1000)",
                plain = plain,
                letter = letter
            ))
        }
        _ => match SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((name, _)) => {
                error(said!("write \"{plain}{name}\" (a small b would mean bits)", plain = plain, name = name))
            }
            None => error(EXAMPLE),
        },
    })
}

/// Reads a rate, in bits a second.
///
/// # Errors
/// What to write instead.
pub fn parse_rate(text: &str) -> Result<u64, UnitError> {
    const EXAMPLE: Said = said!("write a rate with its unit, such as \"512 kbit/s\" or \"64 KiB/s\"");
    let Some((number, rest)) = number(text.trim()) else { return Err(error(EXAMPLE)) };
    let unit = rest.trim();
    let plain = &text.trim()[..text.trim().len() - rest.len()];
    if unit.is_empty() {
        return Err(error(rate_meanings(plain)));
    }
    let Some(factor) = bits_of(unit) else { return Err(error(other_rate(plain, unit).unwrap_or(EXAMPLE))) };
    number.times(factor).ok_or_else(|| error(said!("write a rate of whole bits a second, below 16 Ebit/s")))
}

/// Bits a second that one of this unit is.
fn bits_of(unit: &str) -> Option<u64> {
    let bits = BIT_ENDS.iter().find_map(|end| {
        let prefix = unit.strip_suffix(end)?;
        // `mbps` is read by everyone as what `Mbps` says, for there are no thousandths of a bit.
        BITS.iter().find(|(name, _)| *name == prefix).map(|(_, factor)| *factor)
    });
    bits.or_else(|| {
        let bytes = unit.strip_suffix("/s")?;
        SIZES.iter().find(|(name, _)| *name == bytes).and_then(|(_, factor)| factor.checked_mul(8))
    })
}

fn other_rate(plain: &str, unit: &str) -> Option<Said> {
    let letter = |letter: char| match letter {
        'k' | 'K' => Some("k"),
        'm' | 'M' => Some("M"),
        'g' | 'G' => Some("G"),
        _ => None,
    };
    if SIZES.iter().any(|(name, _)| *name == unit) {
        return Some(said!(
            "write \"{plain} {unit}/s\" if bytes a second are meant; a rate says per what time",
            plain = plain,
            unit = unit
        ));
    }
    let first = unit.chars().next().and_then(letter);
    let rest = if first.is_some() { &unit[1..] } else { unit };
    let first = first.unwrap_or("");
    match rest {
        "" | "Bps" | "B/S" | "/s" => Some(said!(
            "write \"{plain} {first}bit/s\" for bits or \"{plain} {first}B/s\" for bytes, eight times as much",
            plain = plain,
            first = first
        )),
        "b" | "bit" | "bits" => Some(said!("write \"{plain} {first}bit/s\"", plain = plain, first = first)),
        _ => None,
    }
}

/// What a rate without a unit may mean.
pub fn rate_meanings(number: &str) -> Said {
    said!(
        "write the unit: \"{number} kbit/s\" is thousands of bits a second, \"{number} kB/s\" thousands of bytes, eight \
         times as much",
        number = number
    )
}

/// Writes a rate so that [`parse_rate`] gives it back: the largest unit in which it has at most three decimals.
pub fn format_rate(bits_per_second: u64) -> String {
    let units = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1000)];
    let found =
        units.into_iter().find(|(_, factor)| bits_per_second >= *factor && bits_per_second % (factor / 1000) == 0);
    let Some((name, factor)) = found else { return format!("{bits_per_second} bit/s") };
    let (whole, part) = (bits_per_second / factor, bits_per_second % factor / (factor / 1000));
    if part == 0 {
        return format!("{whole} {name}");
    }
    let decimals = format!("{part:03}");
    format!("{whole}.{} {name}", decimals.trim_end_matches('0'))
}

/// So many bytes, or a share of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Hundredths, 0 to 100.
    Percent(u8),
}

impl Amount {
    /// In bytes, of a whole.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // Rounded down; the product of a size below 16 EiB does not fit 64 bits.
            Self::Percent(percent) => (u128::from(whole) * u128::from(percent) / 100) as u64,
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&format_size(*bytes)),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Reads a share in whole percent, 0 to 100: `10%`, `10 %`.
///
/// # Errors
/// What to write instead.
pub fn parse_percent(text: &str) -> Result<u8, UnitError> {
    const EXAMPLE: Said = said!("write a whole number from 0 to 100 with its sign, such as \"20%\"");
    let Some(number) = text.trim().strip_suffix('%').map(str::trim_end) else { return Err(error(EXAMPLE)) };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let value = number.parse::<u8>().ok().filter(|value| digits && *value <= 100);
    value.ok_or_else(|| error(EXAMPLE))
}

/// What a size without a unit may mean.
pub fn size_meanings(number: &str) -> Said {
    said!(
        "write the unit: \"{number}B\" is bytes, \"{number}KiB\" and \"{number}MiB\" are powers of 1024",
        number = number
    )
}

/// What a duration without a unit may mean.
pub fn duration_meanings(number: &str) -> Said {
    said!(
        "write the unit: \"{number}s\" is seconds, \"{number}ms\" milliseconds, \"{number}m\" minutes",
        number = number
    )
}

/// Reads a duration.
///
/// # Errors
/// What to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    const EXAMPLE: Said = said!("write a number with a unit, such as \"500ms\", \"270s\", \"10m\" or \"24h\"");
    let mut rest = text.trim();
    let (mut total, mut parts) = (0_u64, 0);
    while !rest.is_empty() {
        let Some((number, after)) = number(rest) else { return Err(error(EXAMPLE)) };
        let plain = &rest[..rest.len() - after.len()];
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            let alone = parts == 0 && next.is_empty();
            return Err(if alone { error(duration_meanings(plain)) } else { error(EXAMPLE) });
        }
        let Some((_, factor)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return Err(error(other_duration(plain, unit).unwrap_or(EXAMPLE)));
        };
        total = number
            .times(*factor)
            .and_then(|nanos| total.checked_add(nanos))
            .ok_or_else(|| error(said!("write a duration of whole nanoseconds below 584 years")))?;
        parts += 1;
        rest = next.trim_start();
    }
    if parts == 0 { Err(error(EXAMPLE)) } else { Ok(Duration::from_nanos(total)) }
}

fn other_duration(plain: &str, unit: &str) -> Option<Said> {
    let known = match unit.to_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "msec" | "msecs" | "millisecond" | "milliseconds" | "ms" => "ms",
        "mins" | "minute" | "minutes" | "m" | "min" => "m",
        "hr" | "hrs" | "hour" | "hours" | "h" => "h",
        "day" | "days" | "d" => "d",
        _ => return None,
    };
    Some(said!("write \"{plain}{known}\"", plain = plain, known = known))
}

/// Writes a size so that [`parse_size`] gives it back: the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(name, factor)| *name != "KB" && bytes >= *factor && bytes % factor == 0);
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// Writes a count with its thousands parted: `1,234,567`.
pub fn format_count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a duration of whole microseconds so that [`parse_duration`] gives it back; finer ones lose the rest. One
/// unit where it divides, several otherwise: `270s`, `24h`, `1h30m`.
pub fn format_duration(duration: Duration) -> String {
    let mut nanos = duration.as_nanos().min(u128::from(u64::MAX)) as u64 / 1000 * 1000;
    if nanos == 0 {
        return "0s".into();
    }
    // Below ten minutes, seconds read better than minutes and seconds: "270s" is what the documents say.
    if nanos % 1_000_000_000 == 0 && nanos < 600_000_000_000 {
        return format!("{}s", nanos / 1_000_000_000);
    }
    let mut out = String::new();
    for (name, factor) in DURATIONS.iter().filter(|(name, _)| !matches!(*name, "min" | "µs")) {
        let count = nanos / factor;
        if count > 0 {
            let _ = write!(out, "{count}{name}");
            nanos %= factor;
        }
    }
    out
}

/// A decimal number, exact: digits without the point, and how many stood behind it.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    digits: u64,
    places: u32,
}

impl Decimal {
    /// `self × factor`, if that is a whole number.
    fn times(self, factor: u64) -> Option<u64> {
        let product = u128::from(self.digits) * u128::from(factor);
        let divisor = 10_u128.pow(self.places);
        if product % divisor == 0 { u64::try_from(product / divisor).ok() } else { None }
    }
}

/// The number a text begins with, and what follows it. `_` may part the digits, as in TOML.
fn number(text: &str) -> Option<(Decimal, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let ends_right = whole.ends_with(|c: char| c.is_ascii_digit()) && whole.starts_with(|c: char| c.is_ascii_digit());
    // Nine places reach a nanosecond; more would only overflow.
    if !ends_right
        || fraction.contains(['.', '_'])
        || fraction.len() > 9
        || (number.contains('.') && fraction.is_empty())
    {
        return None;
    }
    let digits: String = whole.chars().chain(fraction.chars()).filter(|c| *c != '_').collect();
    Some((Decimal { digits: digits.parse().ok()?, places: fraction.len() as u32 }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, bits) in [
            ("512 kbit/s", 512_000),
            ("512kbit/s", 512_000),
            (" 512 kbps ", 512_000),
            ("512Kbps", 512_000),
            ("2Mbps", 2_000_000),
            ("2 mbps", 2_000_000),
            ("0.5 Mbit/s", 500_000),
            ("1.2Gbit/s", 1_200_000_000),
            ("9600 bps", 9_600),
            ("64 kb/s", 64_000),
            ("64 KiB/s", 64 * 1024 * 8),
            ("10 kB/s", 80_000),
            ("10KB/s", 80_000),
            ("1 MB/s", 8_000_000),
            ("4_000 B/s", 32_000),
        ] {
            assert_eq!(parse_rate(text), Ok(bits), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_what_was_likely_meant() {
        for (text, words) in [
            ("512", &["\"512 kbit/s\"", "\"512 kB/s\"", "eight times"][..]),
            ("2M", &["\"2 Mbit/s\"", "\"2 MB/s\""]),
            ("2 MBps", &["\"2 Mbit/s\"", "\"2 MB/s\""]),
            ("64 KiB", &["\"64 KiB/s\""]),
            ("64 kbit", &["\"64 kbit/s\""]),
            ("64 kB", &["\"64 kB/s\""]),
            ("fast", &["\"512 kbit/s\""]),
            ("", &["\"512 kbit/s\""]),
            ("5 parsecs", &["\"512 kbit/s\""]),
            ("0.0005 bit/s", &["whole bits"]),
            ("99999999999999999 GB/s", &["whole bits"]),
        ] {
            let error = parse_rate(text).expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{text}: {error}");
            }
        }
    }

    #[test]
    fn rates_are_written_for_people() {
        for (bits, text) in [
            (32_000, "32 kbit/s"),
            (512_000, "512 kbit/s"),
            (2_000_000, "2 Mbit/s"),
            (2_500_000, "2.5 Mbit/s"),
            (524_288, "524.288 kbit/s"),
            (999, "999 bit/s"),
            (1_001_001, "1001.001 kbit/s"),
            (0, "0 bit/s"),
        ] {
            assert_eq!(format_rate(bits), text);
        }
    }

    proptest! {
        #[test]
        fn a_rate_is_read_back_as_it_was_written(bits in any::<u64>(), unit in 1_u64..2_000_000_000) {
            prop_assert_eq!(parse_rate(&format_rate(bits)), Ok(bits));
            let round = bits / unit * unit;
            prop_assert_eq!(parse_rate(&format_rate(round)), Ok(round));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9._]{0,25} ?[kKmMGTi]{0,2}[bBits/p]{0,6}\\PC{0,3}") {
            let _ = parse_rate(&text);
        }
    }
}
