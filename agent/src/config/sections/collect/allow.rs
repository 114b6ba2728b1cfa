//! `[collect] devices` and `[collect.allow]`: who is served.

use super::super::super::model::{Allow, Listener};
use super::super::super::reader::{Section, Value, found_text};
use crate::message;

/// Most names in a list: ten times the connections that are allowed by default.
const MAX_NAMES: usize = 10_000;

/// Longest name, and most stars in one: bounds of what it costs to compare with it. A client identifier has 256 bytes
/// at most here, a DNS name 253.
const MAX_NAME: usize = 256;
const MAX_STARS: usize = 4;

/// Devices that may publish by `[collect] devices`; `None` if the file does not say.
pub(super) fn devices(section: &Section<'_>) -> Option<Vec<String>> {
    names(section, "devices").map(|(names, _)| names)
}

/// `[collect.allow]`, within the section `collect`. `listener`: as far as there is one.
pub(super) fn allow(collect: &Section<'_>, listener: Option<&Listener>) -> Allow {
    let section = collect.section("allow");
    let devices = names(&section, "devices");
    if let (Some((_, value)), true) = (&devices, collect.has("devices")) {
        value.problem(
            message!("devices stands in [collect], too"),
            message!("remove one of the two: they mean the same, and this place is for all lists together"),
        );
    }
    let client_ids = names(&section, "client_ids");
    let usernames = names(&section, "usernames");
    let certificates = names(&section, "certificates");
    if let Some((_, value)) = &usernames {
        if listener.is_some_and(|listener| listener.passwords_file.is_none()) {
            value.warn(
                message!("no user name is checked without passwords_file, so a device may give any that is listed"),
                message!("write passwords_file in [collect.listener]"),
            );
        }
    }
    if let Some((_, value)) = &certificates {
        judge_certificates(value, listener);
    }
    for (_, value) in [&client_ids, &usernames, &certificates].into_iter().flatten() {
        if listener.is_none() {
            value.warn(
                message!("there is no listener, and what comes through a broker shows no such name"),
                message!("list devices"),
            );
        }
    }
    section.finish();
    let [devices, client_ids, usernames, certificates] =
        [devices, client_ids, usernames, certificates].map(|list| list.map(|(names, _)| names));
    Allow { devices, client_ids, usernames, certificates }
}

fn judge_certificates(value: &Value<'_>, listener: Option<&Listener>) {
    let Some(listener) = listener else { return };
    if listener.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
        value.problem(
            message!("no device can show a certificate, so none would be served"),
            message!("write tls_bind and tls_client_ca in [collect.listener], or remove this"),
        );
    } else if let Some(bind) = listener.bind {
        value.warn(
            message!(
                "no device can show a certificate on {bind}, which is without TLS, so all are turned away there",
                bind = bind
            ),
            message!("leave tls_bind alone in [collect.listener]: without bind there is no plain port"),
        );
    }
}

fn names<'a>(section: &Section<'a>, key: &'static str) -> Option<(Vec<String>, Value<'a>)> {
    const NAMES: &str = "[\"pump-3\", \"meter-*\"]";
    let (example, many, what) = match key {
        "devices" => (NAMES, message!("devices"), message!("a device's name as it stands in its topics")),
        "client_ids" => (NAMES, message!("client ids"), message!("a client identifier")),
        "usernames" => (NAMES, message!("user names"), message!("a user name")),
        _ => (
            "[\"pump-3\", \"*.meters.example.com\"]",
            message!("certificates"),
            message!("a common or alternative name in a certificate"),
        ),
    };
    let value = section.get(key)?;
    let elements = value.elements(message!("write {key} = {example}", key = key, example = example));
    if !(1..=MAX_NAMES).contains(&elements.len()) && value.is_array() {
        value.problem(
            message!("found {count} {what}", count = elements.len(), what = many),
            message!("write 1 to {most}, or remove the key to let all pass", most = MAX_NAMES),
        );
    }
    let mut names = Vec::new();
    for element in elements {
        let Some(name) = element.text(message!("write each in quotes")) else { continue };
        let in_no_topic = key == "devices" && name.contains(['+', '#']);
        let size = (1..=MAX_NAME).contains(&name.len()) && name.matches('*').count() <= MAX_STARS;
        if !size || in_no_topic || name.contains(char::is_control) {
            element.problem(
                found_text(name),
                message!(
                    "write {what}, of at most {most} bytes, in which a `*`, up to {stars}, stands for any characters",
                    what = &what,
                    most = MAX_NAME,
                    stars = MAX_STARS
                ),
            );
        }
        names.push(name.to_owned());
    }
    Some((names, value))
}
