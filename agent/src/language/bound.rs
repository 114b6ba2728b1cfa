//! Limits for people: the type that crosses the boundary says them in English.

use tidegate_protocol::terms::{Bound, Quota};
use tidegate_protocol::units::{format_count, format_size};

use super::{IntoValue as _, Message, Value, joined};
use crate::message;

/// What is limited, and to what; `None` for what is written the same in every language.
pub fn bound(bound: &Bound) -> Option<Message> {
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

/// The same behind its key, as a file has it.
pub fn keyed(of: &Bound) -> Value {
    let value = bound(of).map_or_else(|| of.to_string().into_value(), super::IntoValue::into_value);
    message!("{key} {value}", key = of.kind().key(), value = value).into_value()
}

/// Several of them, each behind its key.
pub fn listed<'a>(bounds: impl IntoIterator<Item = &'a Bound>) -> Value {
    let bounds: Vec<Value> = bounds.into_iter().map(keyed).collect();
    joined(&bounds, super::both)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::language::Language;

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
    }

    #[test]
    fn several_stand_behind_their_keys_in_either_language() {
        let number = NonZeroU64::new(10_000).expect("some");
        let all = listed(&[Bound::RateUp(number), Bound::EventsPerDay(number), Bound::BytesPerHour(number)]);
        assert_eq!(all.to_string(), "rate 10 kbit/s, events_per_day 10,000 a day, bytes_per_hour 10kB an hour");
        let japanese = "rate 10 kbit/s、events_per_day 1 日あたり 10,000、bytes_per_hour 1 時間あたり 10kB";
        assert_eq!(all.text(Language::Japanese), japanese);
    }
}
