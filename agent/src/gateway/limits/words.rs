//! Limits and who says them, for people. The types that cross the boundary say them in English.

use tidegate_protocol::terms::{Provider, Source};

use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::limits::Binding;

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

    use super::*;

    #[test]
    fn what_is_said_in_messages_is_what_the_protocol_says() {
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
