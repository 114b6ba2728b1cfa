//! Words that the status has as words, for people: stances, kinds of notices, sources, clauses.

use super::plain;
use crate::language::{IntoValue as _, Message, Value};
use crate::message;

/// A stance, by the design's word.
pub(super) fn stance_word(word: &str) -> Value {
    let known = match word {
        "ended" => message!("ended"),
        "suspended" => message!("suspended"),
        "held" => message!("held"),
        "quota" => message!("quota"),
        "maintenance" => message!("maintenance"),
        "yield" => message!("yield"),
        "restricted" => message!("restricted"),
        "open" => message!("open"),
        "starting" => message!("starting"),
        other => return plain(other).into_value(),
    };
    known.into_value()
}

/// What Flux said, by the design's word.
pub(super) fn verdict_word(word: &str) -> Value {
    let known = match word {
        "" | "unknown" => message!("nothing sent yet"),
        "accepted" => message!("accepted"),
        "throttled" => message!("throttled"),
        "misconfigured" => message!("misconfigured"),
        "poison" => message!("poison"),
        "transient" => message!("transient"),
        other => return stance_word(other),
    };
    known.into_value()
}

/// The kind of an entry of the log of notices.
pub(super) fn notice_word(word: &str) -> Value {
    let known = match word {
        "emergency" => message!("emergency"),
        "restriction" => message!("restriction"),
        "suspension" => message!("suspension"),
        "end" => message!("end"),
        "terms_changed" => message!("terms_changed"),
        "terms_accepted" => message!("terms_accepted"),
        "identity" => message!("identity"),
        "return" => message!("return"),
        "withdrawn" => message!("withdrawn"),
        "information" => message!("information"),
        "incident" => message!("incident"),
        "dropped" => message!("dropped"),
        "refused" => message!("refused"),
        "state" => message!("state"),
        "hold" => message!("hold"),
        "resume" => message!("resume"),
        "sim" => message!("sim"),
        "expiry" => message!("expiry"),
        "try_now" => message!("try_now"),
        other => return verdict_word(other),
    };
    known.into_value()
}

/// Who says something, as it is kept: `notice m-17, key ops-2026 (socket)`, `status page`, `answer of Flux`.
pub(super) fn source(text: &str) -> Value {
    let known = match text {
        "answer of Flux" => message!("answer of Flux"),
        "status page" => message!("status page"),
        "operator" => message!("operator"),
        "this gateway" => message!("this gateway"),
        _ => {
            let Some(id) = text.strip_prefix("notice ") else { return plain(text).into_value() };
            if let Some((id, key)) = id.split_once(", key ") {
                message!("notice {id}, key {key}", id = plain(id), key = plain(key))
            } else {
                message!("notice {id}", id = plain(id))
            }
        }
    };
    known.into_value()
}

/// A clause of the terms as it is cited: `5.1(3)`.
pub fn clause(text: &str) -> Message {
    let place = text.trim_end_matches(')').replace(")(", "(");
    let mut parts = place.split('(').map(plain);
    let article = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (None, _) => message!("{article}", article = article),
        (Some(paragraph), None) => message!("{article}({paragraph})", article = article, paragraph = paragraph),
        (Some(paragraph), Some(item)) => {
            message!("{article}({paragraph})({item})", article = article, paragraph = paragraph, item = item)
        }
    }
}
