//! `[provider.notices]`: whose signed notices are believed, and where they are looked for.

use tidegate_protocol::notice::{KeyError, Keys, PublicKey};

use super::super::model::Notices;
use super::super::reader::{Section, Value};
use crate::language::Message;
use crate::message;

const ADVICE: Message = message!("write each key as `tidegate notice keygen` prints it: keys = [\"ops-2026:…\"]");

pub(super) fn notices(section: Section<'_>) -> Notices {
    let keys = section.get("keys").and_then(|value| keys(&value));
    let folder = section.path("folder").map(|(path, _)| path);
    if folder.is_some() && !section.has("keys") {
        section.missing(
            "keys",
            message!("no file in the folder would be believed without one; {advice}", advice = ADVICE),
        );
    }
    section.finish();
    Notices { keys, folder }
}

/// The keys; `None` if one is wrong, which is then entered. None of them is repeated in a message: it may be the private
/// key by mistake.
fn keys(value: &Value<'_>) -> Option<Keys> {
    let elements = value.elements(ADVICE);
    if !value.is_array() {
        return None;
    }
    let mut keys: Vec<PublicKey> = Vec::new();
    for element in &elements {
        let key: Result<PublicKey, KeyError> = element.text(ADVICE)?.parse();
        match key {
            Ok(key) if keys.iter().any(|other| other.kid() == key.kid()) => {
                element.problem(message!("another key has the same id"), message!("give each key an id of its own"));
                return None;
            }
            Ok(key) => keys.push(key),
            Err(error) => {
                element.problem(error.said(), ADVICE);
                return None;
            }
        }
    }
    Keys::new(keys).map_err(|error| value.problem(error.said(), ADVICE)).ok()
}
