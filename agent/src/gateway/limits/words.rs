//! Limits and who says them, for people. The types that cross the boundary say them in English.

use tidegate_protocol::terms::{Bound, Provider, Quota, Source};
use tidegate_protocol::units::{format_count, format_size};

use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::limits::Binding;

/// What is limited, and to what; `None` for what is written the same in every language.
pub(super) fn bound(bound: &Bound) -> Option<Message> {
    Some(match bound {
        Bound::BytesPerHour(bytes) => message!("{amount} an hour", amount = format_size(bytes.get())),
        Bound::BytesPerDay(bytes) => message!("{amount} a day", amount = format_size(bytes.get())),
        Bound::BytesPerMonth(bytes) => message!("{amount} a month", amount = format_size(bytes.get())),
        Bound::EventsPerMinute(events) => message!("{amount} a minute", amount = format_count(events.get())),
        Bound::EventsPerDay(events) => message!("{amount} a day", amount = format_count(events.get())),
        Bound::EventsPerMonth(Quota::Events(events)) => {
            message!("{amount} a month", amount = format_count(events.get()))
        }
        Bound::EventsPerMonth(Quota::Unlimited) => message!("unlimited"),
        Bound::Windows(windows) if windows.is_never() => message!("never"),
        Bound::RateUp(_) | Bound::RateDown(_) | Bound::Burst(_) | Bound::Share(_) | Bound::Windows(_) => return None,
    })
}

/// Who says a limit.
pub(super) fn source(source: &Source) -> Message {
    match source {
        Source::Terms { file, line } => message!("terms, {file} line {line}", file = file, line = *line),
        Source::Operator { file, line } => message!("operator, {file} line {line}", file = file, line = *line),
        Source::Default { why } => message!("default: {why}", why = default(why)),
        Source::Provider(Provider::SpeedClass { class, known: true }) => {
            message!("SIM speed class {class}", class = class)
        }
        Source::Provider(Provider::SpeedClass { class, known: false }) => {
            message!("SIM speed class {class}, which the table does not have: the slowest it has", class = class)
        }
        Source::Provider(Provider::RateLimitHeader) => message!("rate-limit header of an answer"),
        Source::Provider(Provider::Throttled) => message!("answers that say that it is too much"),
        Source::Provider(Provider::WayBack) => message!("the way back after an interruption"),
        Source::Provider(Provider::Notice { id }) => message!("notice {id}", id = id),
    }
}

/// Why there is a limit that nobody set.
fn default(why: &str) -> Value {
    match why {
        "a new account's Developer plan" => message!("a new account's Developer plan").into_value(),
        other => other.into_value(),
    }
}

/// All who say a limit that holds.
pub(super) fn sources(binding: &Binding) -> Value {
    let all = binding.by.iter().map(|limit| source(&limit.source).into_value());
    all.reduce(|one, other| message!("{one} and {other}", one = one, other = other).into_value()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn what_is_said_in_messages_is_what_the_protocol_says() {
        let number = NonZeroU64::new(10_000).expect("some");
        for one in [
            Bound::BytesPerHour(number),
            Bound::BytesPerDay(number),
            Bound::BytesPerMonth(number),
            Bound::EventsPerMinute(number),
            Bound::EventsPerDay(number),
            Bound::EventsPerMonth(Quota::Events(number)),
            Bound::EventsPerMonth(Quota::Unlimited),
        ] {
            assert_eq!(bound(&one).map(|message| message.to_string()), Some(one.to_string()));
        }
        let class = || "s1.slow".to_owned();
        for one in [
            Source::Terms { file: "/t.toml".into(), line: 3 },
            Source::Operator { file: "/c.toml".into(), line: 4 },
            Source::Default { why: "a new account's Developer plan" },
            Source::Provider(Provider::SpeedClass { class: class(), known: true }),
            Source::Provider(Provider::SpeedClass { class: class(), known: false }),
            Source::Provider(Provider::RateLimitHeader),
            Source::Provider(Provider::Throttled),
            Source::Provider(Provider::WayBack),
            Source::Provider(Provider::Notice { id: "m-1".into() }),
        ] {
            assert_eq!(source(&one).to_string(), one.to_string());
        }
    }
}
