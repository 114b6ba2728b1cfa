//! Decimal numbers as text: one canonical form, and rounding that is exact.
//!
//! Binary floating point would make 0.15, rounded to a tenth, 0.1 on some way and 0.2 on another, and integers above
//! 2^53 others. So a number is taken as its digits and an exponent of ten.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::language::Message;
use crate::message;

/// Digits of a number that rounding looks at; with them, all of it fits 128 bits. What stands behind is at least 34
/// places below the first digit and cannot tip a rounding to even a tenth of that.
const DIGITS: usize = 34;

/// Exponents of ten within which a canonical number is written out.
const WRITTEN_OUT: i64 = 40;

/// A number as its digits: `digits` × 10^`exponent`, without zeros at either end; none is zero.
struct Parts {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// Takes a JSON number (RFC 8259, section 6) apart. `None` if it is none, or its exponent is beyond 9 digits.
fn parts(text: &str) -> Option<Parts> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.trim_start_matches(['+', '-']);
            let shown = digits.trim_start_matches('0');
            if digits.is_empty() || exponent.len() > digits.len() + 1 || shown.len() > 9 {
                return None;
            }
            (mantissa, exponent.parse().ok()?)
        }
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !all().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut digits: Vec<u8> = all().skip_while(|byte| *byte == b'0').collect();
    let mut exponent = exponent - places(fraction.len());
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent += 1;
    }
    let zero = digits.is_empty();
    Some(Parts { negative: negative && !zero, digits, exponent: if zero { 0 } else { exponent } })
}

/// A count of digits as an exponent; no text is so long that it would not be one.
fn places(digits: usize) -> i64 {
    i64::try_from(digits).unwrap_or(i64::MAX)
}

/// One text for all ways to write a number: `42`, `42.0` and `4.2e1` are `42`. `None` for what is no JSON number, or
/// one with an exponent beyond nine digits.
pub fn canonical(text: &str) -> Option<String> {
    let Parts { negative, digits, exponent } = parts(text)?;
    let digits = String::from_utf8(digits).ok()?;
    let mut out = String::from(if negative { "-" } else { "" });
    if digits.is_empty() {
        out.push('0');
    } else if (0..=WRITTEN_OUT).contains(&exponent) {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize));
    } else if (-WRITTEN_OUT..0).contains(&exponent) {
        point(&mut out, &digits, exponent.unsigned_abs() as usize);
    } else {
        let _ = write!(out, "{digits}e{exponent}");
    }
    Some(out)
}

/// Writes digits with so many of them behind the point.
fn point(out: &mut String, digits: &str, decimals: usize) {
    let padded = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, fraction) = padded.split_at(padded.len() - decimals);
    let _ = write!(out, "{whole}.{fraction}");
}

/// What numbers are rounded to a multiple of: above 0, from 10^-18 to below 10^18.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    units: u64,
    exponent: i64,
}

/// Why a text is no step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::ADVICE)]
pub struct StepFault;

impl StepFault {
    /// What to write.
    pub const ADVICE: Message =
        message!("write a number above 0, such as 0.5, 10 or 0.01, of at most 18 digits before and behind the point");
}

impl FromStr for Step {
    type Err = StepFault;

    fn from_str(text: &str) -> Result<Self, StepFault> {
        let Parts { negative, digits, exponent } = parts(text).ok_or(StepFault)?;
        let below = exponent + places(digits.len());
        if negative || digits.is_empty() || exponent < -18 || below > 18 || digits.len() > 18 {
            return Err(StepFault);
        }
        let units = String::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(StepFault)?;
        Ok(Self { units, exponent })
    }
}

impl Step {
    /// The step that leaves so many decimals, 0 to 18.
    pub fn decimals(decimals: u8) -> Option<Self> {
        (decimals <= 18).then_some(Self { units: 1, exponent: -i64::from(decimals) })
    }

    /// The multiple nearest to a JSON number, away from zero where two are, written with as many decimals as the step
    /// has. `None` for what is no number, or of 38 digits and more before the point.
    pub fn round(&self, text: &str) -> Option<String> {
        let mut number = parts(text)?;
        if number.digits.len() > DIGITS {
            number.exponent += places(number.digits.len() - DIGITS);
            number.digits.truncate(DIGITS);
        }
        let digits = std::str::from_utf8(&number.digits).ok()?;
        let value: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let apart = number.exponent - self.exponent;
        let ten_to = |power: i64| u32::try_from(power).ok().and_then(|power| 10u128.checked_pow(power));
        let units = u128::from(self.units);
        let count = if value == 0 {
            0
        } else if apart >= 0 {
            nearest(value.checked_mul(ten_to(apart)?)?, units)?
        } else {
            // Where the step in the number's own last place does not fit, it is far more than twice the number.
            let step = ten_to(-apart).and_then(|scale| units.checked_mul(scale));
            step.map_or(Some(0), |step| nearest(value, step))?
        };
        let rounded = count.checked_mul(units)?;
        let mut out = String::from(if number.negative && rounded > 0 { "-" } else { "" });
        let digits = rounded.to_string();
        if self.exponent < 0 {
            point(&mut out, &digits, self.exponent.unsigned_abs() as usize);
        } else {
            out.push_str(&digits);
            if rounded > 0 {
                out.extend(std::iter::repeat_n('0', self.exponent.unsigned_abs() as usize));
            }
        }
        Some(out)
    }
}

/// How many whole steps are nearest to a value; up where it is half way.
fn nearest(value: u128, step: u128) -> Option<u128> {
    let (whole, rest) = (value / step, value % step);
    // Not `2 * rest`, which may not fit.
    if rest >= step - rest { whole.checked_add(1) } else { Some(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_canonical_form() {
        for (forms, canon) in [
            (&["42", "42.0", "4.2e1", "4200E-2", "0.42e+02"][..], "42"),
            (&["-1.50", "-15e-1", "-0.15E1"], "-1.5"),
            (&["0", "-0", "0.000", "-0e5"], "0"),
            (&["9007199254740993", "9007199254740993.0"], "9007199254740993"),
            (&["1e3", "1000"], "1000"),
            (&["0.001", "1e-3"], "0.001"),
            (&["1e100", "10e99"], "1e100"),
            (&["1e-100"], "1e-100"),
        ] {
            for form in forms {
                assert_eq!(canonical(form).as_deref(), Some(canon), "{form}");
            }
        }
        for none in ["", "-", "a", ".5", "1e", "1e+", "1e+-2", "1e9999999999", "1_0"] {
            assert_eq!(canonical(none), None, "{none}");
        }
    }

    #[test]
    fn a_number_is_rounded_to_the_nearest_multiple_and_away_from_zero_half_way() {
        for (step, number, rounded) in [
            ("0.5", "21.74", "21.5"),
            ("0.5", "21.75", "22.0"),
            ("0.5", "-21.75", "-22.0"),
            ("0.1", "0.15", "0.2"),
            ("0.1", "0.25", "0.3"),
            ("0.01", "1.1", "1.10"),
            ("0.01", "35.681236", "35.68"),
            ("10", "44.999", "40"),
            ("10", "45", "50"),
            ("1e2", "149.9", "100"),
            ("7", "24", "21"),
            ("7", "25", "28"),
            ("0.5", "-0.1", "0.0"),
            ("1", "1e-300", "0"),
            ("100", "-49", "0"),
            ("1", "9007199254740993.4", "9007199254740993"),
            ("0.001", "1e20", "100000000000000000000.000"),
            ("0.1", "0.1000000000000000055511151231257827021181583404541015625", "0.1"),
            ("0.000000000000000001", "1e-18", "0.000000000000000001"),
        ] {
            let step: Step = step.parse().expect(step);
            assert_eq!(step.round(number).as_deref(), Some(rounded), "{number}");
        }
        assert_eq!(Step::decimals(2), "0.01".parse().ok());
        assert_eq!(Step::decimals(0).and_then(|step| step.round("1.5")).as_deref(), Some("2"));
        let tenth: Step = "0.1".parse().expect("a step");
        for none in ["", "1e", "nan", "1e300", "1e40"] {
            assert_eq!(tenth.round(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for text in ["", "0", "0.0", "-1", "a", "1e18", "1e-19", "1234567890123456789"] {
            assert_eq!(text.parse::<Step>(), Err(StepFault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rounded_is_a_multiple_within_half_a_step(
            value in -1_000_000_000i64..1_000_000_000, decimals in 0u32..6, units in 1u64..1000, places in 0u32..4,
        ) {
            let number = if decimals == 0 { value.to_string() } else {
                let mut text = String::from(if value < 0 { "-" } else { "" });
                point(&mut text, &value.unsigned_abs().to_string(), decimals as usize);
                text
            };
            let step: Step = format!("{units}e-{places}").parse().expect("a step");
            let rounded = step.round(&number).expect("rounded");
            // Both in millionths, where all is whole.
            let millionths = |text: &str| {
                let parts = parts(text).expect("a number");
                let digits: i128 = String::from_utf8(parts.digits).expect("digits").parse().unwrap_or(0);
                let scaled = digits * 10i128.pow(u32::try_from(parts.exponent + 6).expect("a small exponent"));
                if parts.negative { -scaled } else { scaled }
            };
            let step = i128::from(units) * 10i128.pow(6 - places);
            let (before, after) = (millionths(&number), millionths(&rounded));
            prop_assert_eq!(after % step, 0, "{} of {}", rounded, number);
            prop_assert!(2 * (after - before).abs() <= step, "{} of {}", rounded, number);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[-+0-9.eE]{0,60}") {
            let _ = canonical(&text);
            if let Ok(step) = text.parse::<Step>() {
                let _ = step.round("1e17");
            }
            let _ = Step::decimals(18).and_then(|step| step.round(&text));
        }
    }
}
