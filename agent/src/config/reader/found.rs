//! What was found in a file, for messages: shown where it may be, and only named where it may be a secret.

use std::path::Path;

use toml::de::DeValue;

use crate::config::Exposed;
use crate::config::error::{looks_secret, shown};
use crate::language::Message;
use crate::message;

/// The folder of secrets that belong to root alone, because the service manager hands them over (`tidegate.service`).
const HANDED_OVER: &str = "/etc/tidegate/secrets";

/// What is wrong with a file that everybody may read or change, and what to do.
pub(super) fn exposed(path: &Path, how: Exposed) -> (Message, Message) {
    let handed_over = path.starts_with(HANDED_OVER);
    let path = path.display();
    let found = match how {
        Exposed::Read => message!("{path} may be read by every user of this machine", path = path),
        Exposed::Change => message!("{path} may be changed by every user of this machine", path = path),
        Exposed::Both => message!("{path} may be read and changed by every user of this machine", path = path),
    };
    let advice = if handed_over {
        message!("chown it to root and chmod it 600: systemd hands it to the service")
    } else {
        message!("chown it to the user that Tidegate runs as and chmod it 600")
    };
    (found, advice)
}

/// What a value is, for a message.
pub(super) fn describe(value: &DeValue<'_>) -> Message {
    match value {
        DeValue::String(text) => message!("found the text {text}", text = shown(text)),
        DeValue::Integer(number) => message!("found the bare number {number}", number = short(number.as_str())),
        DeValue::Float(number) => message!("found the bare number {number}", number = short(number.as_str())),
        DeValue::Boolean(found) => message!("found {what}", what = found.to_string()),
        _ => kind(value),
    }
}

/// That a text was found, as it is shown.
pub(in crate::config) fn found_text(text: &str) -> Message {
    message!("found {what}", what = shown(text))
}

/// What kind of value it is, for a message that must not repeat it.
pub(super) fn kind(value: &DeValue<'_>) -> Message {
    match value {
        DeValue::String(_) => message!("found the text"),
        DeValue::Integer(_) | DeValue::Float(_) => message!("found the bare number"),
        DeValue::Boolean(_) => message!("found true or false"),
        DeValue::Datetime(_) => message!("found a date or time"),
        DeValue::Array(_) => message!("found an array"),
        DeValue::Table(_) => message!("found a table"),
    }
}

/// Whether a value that should be the path of a secret's file may be shown, because it is one: it is there, or it is
/// made as paths are, which passwords and keys are not. A mistake that cannot be told apart costs the message a
/// word: the key's name and its line say which file is meant.
pub(super) fn plausible(path: &str) -> bool {
    /// The shortest secret that is guarded against; folders' names are mostly shorter.
    const LONGEST_NAME: usize = 40;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let names: Vec<&str> = path.split('/').skip(1).collect();
    let made_as_paths_are = path.starts_with('/')
        && names.len() > 1
        && names.iter().all(|name| name.len() <= LONGEST_NAME && name.chars().all(plain))
        && names.first().is_some_and(|name| FOLDERS.contains(name));
    !looks_secret(path) && (made_as_paths_are || Path::new(path).exists())
}

/// Folders that secrets usually are in, and that begin no secret by chance.
const FOLDERS: [&str; 10] = ["etc", "var", "run", "home", "root", "opt", "srv", "usr", "tmp", "mnt"];

pub(super) fn short(number: &str) -> String {
    number.chars().take(24).collect()
}

/// An unknown key as a message shows it: bare where it could be bare, quoted and cut otherwise.
pub(super) fn shown_key(name: &str) -> String {
    let bare = !looks_secret(name)
        && !name.is_empty()
        && name.len() <= 60
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if bare { name.to_owned() } else { shown(name).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_systemd_hands_over_is_roots_and_another_the_services() {
        let advice = |path: &str| exposed(Path::new(path), Exposed::Read).1.to_string();
        assert!(advice("/etc/tidegate/secrets/webhook-url").contains("to root"));
        assert!(advice("/etc/tidegate/key").contains("the user that Tidegate runs as"));
    }
}
