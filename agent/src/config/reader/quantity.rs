//! Quantities: numbers, and texts that are a number with a unit.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::super::error::shown;
use super::found::short;
use super::{Section, found_text};
use crate::message;
use tidegate_protocol::terms::Share;
use tidegate_protocol::units::{self, Amount};

impl Section<'_> {
    /// A number in a range.
    pub(in super::super) fn integer(&self, key: &'static str, range: &RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.get(key) else { return default };
        let advice =
            message!("write a number from {min} to {max}, without quotes", min = *range.start(), max = *range.end());
        match (value.node, value.integer().map(u64::try_from)) {
            (_, Some(Ok(number))) if range.contains(&number) => return number,
            (DeValue::Integer(number), _) => {
                value.problem(message!("{what} is out of range", what = short(number.as_str())), advice);
            }
            _ => value.wrong_type(advice),
        }
        default
    }

    /// A size in bytes in a range.
    pub(in super::super) fn size(&self, key: &'static str, range: &RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.get(key) else { return default };
        let text = match value.node {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                value.wrong_type(units::size_meanings(&short(number.as_str())));
                return default;
            }
            _ => {
                let example = units::format_size(default);
                value.wrong_type(message!("write a size with its unit, such as \"{example}\"", example = example));
                return default;
            }
        };
        match units::parse_size(text) {
            Ok(size) if range.contains(&size) => return size,
            Ok(_) => value.problem(
                message!("{what} is out of range", what = shown(text)),
                message!(
                    "write a size from \"{min}\" to \"{max}\"",
                    min = units::format_size(*range.start()),
                    max = units::format_size(*range.end())
                ),
            ),
            Err(error) => value.problem(found_text(text), error.advice),
        }
        default
    }

    /// A size in bytes in a range, or a share in percent.
    pub(in super::super) fn amount(&self, key: &'static str, range: &RangeInclusive<u64>, default: Amount) -> Amount {
        let Some(value) = self.get(key) else { return default };
        match value.node {
            DeValue::String(text) if text.contains('%') => match units::parse_percent(text) {
                Ok(percent) => return Amount::Percent(percent),
                Err(error) => value.problem(found_text(text), error.advice),
            },
            _ => return Amount::Bytes(self.size(key, range, *range.start())),
        }
        default
    }

    /// A share in whole percent in a range.
    pub(in super::super) fn percent(&self, key: &'static str, range: &RangeInclusive<u8>, default: u8) -> u8 {
        let advice = message!("write a share from \"{min}%\" to \"{max}%\"", min = *range.start(), max = *range.end());
        let Some((text, value)) = self.text(key, advice.clone()) else { return default };
        match units::parse_percent(text) {
            Ok(percent) if range.contains(&percent) => return percent,
            Ok(_) => value.problem(message!("{what} is out of range", what = shown(text)), advice),
            Err(error) => value.problem(found_text(text), error.advice),
        }
        default
    }

    /// A duration in a range.
    pub(in super::super) fn duration(
        &self,
        key: &'static str,
        range: &RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(value) = self.get(key) else { return default };
        let text = match value.node {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                value.wrong_type(units::duration_meanings(&short(number.as_str())));
                return default;
            }
            _ => {
                let example = units::format_duration(default);
                value.wrong_type(message!("write a duration with its unit, such as \"{example}\"", example = example));
                return default;
            }
        };
        match units::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => return duration,
            Ok(_) => value.problem(
                message!("{what} is out of range", what = shown(text)),
                message!(
                    "write a duration from \"{min}\" to \"{max}\"",
                    min = units::format_duration(*range.start()),
                    max = units::format_duration(*range.end())
                ),
            ),
            Err(error) => value.problem(found_text(text), error.advice),
        }
        default
    }

    /// A rate in bits a second in a range.
    pub(in super::super) fn rate(&self, key: &'static str, range: &RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let text = match value.node {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                value.wrong_type(units::rate_meanings(&short(number.as_str())));
                return None;
            }
            DeValue::Float(number) => {
                value.wrong_type(units::rate_meanings(&short(number.as_str())));
                return None;
            }
            _ => {
                value.wrong_type(message!("write a rate with its unit, such as \"512 kbit/s\""));
                return None;
            }
        };
        match units::parse_rate(text) {
            Ok(rate) if range.contains(&rate) => return Some(rate),
            Ok(_) => value.problem(
                message!("{what} is out of range", what = shown(text)),
                message!(
                    "write a rate from \"{min}\" to \"{max}\"",
                    min = units::format_rate(*range.start()),
                    max = units::format_rate(*range.end())
                ),
            ),
            Err(error) => value.problem(found_text(text), error.advice),
        }
        None
    }

    /// A part of a whole: a number above 0 and at most 1, or a share in percent.
    pub(in super::super) fn share(&self, key: &'static str) -> Option<Share> {
        let advice = || message!("write a part above 0 and at most 1, such as 0.25 or \"25%\"");
        let value = self.get(key)?;
        let part = match value.node {
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(_) => value.integer().map(|number| number as f64),
            DeValue::String(text) if text.contains('%') => text
                .trim()
                .strip_suffix('%')
                .and_then(|number| number.trim().parse::<f64>().ok())
                .map(|part| part / 100.0),
            _ => {
                value.wrong_type(advice());
                return None;
            }
        };
        // Below a millionth it would be nothing; what is no number at all becomes 0 too, and is refused with it.
        let millionths = part.map_or(0.0, |part| (part * 1e6).round());
        #[allow(clippy::cast_sign_loss)] // A cast of what is negative or no number gives 0.
        let share = if millionths <= 1e6 { Share::of_millionths(millionths as u32) } else { None };
        if share.is_none() {
            value.wrong_type(advice());
        }
        share
    }
}
