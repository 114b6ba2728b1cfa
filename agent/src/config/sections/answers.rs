//! `[[provider.rule]]`: what answers of Flux mean.

use hyper::header::HeaderName;

use super::super::error::shown;
use super::super::model::Kind;
use super::super::reader::{Section, Value, found_text};
use crate::answer::rule::{RULES, Rule, Statuses};
use crate::glob::Glob;
use crate::language::Message;
use crate::message;
use crate::provider::input::Means;

const MEANS: [(&str, Means); 9] = [
    ("accepted", Means::Accepted),
    ("throttled", Means::Throttled),
    ("maintenance", Means::Maintenance),
    ("suspended", Means::Suspended),
    ("quota", Means::Quota),
    ("ended", Means::Ended),
    ("misconfigured", Means::Misconfigured),
    ("poison", Means::Poison),
    ("transient", Means::Transient),
];

pub(super) fn rules(provider: &Section<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for table in provider.sections("rule").unwrap_or_default() {
        let rule = rule(&table);
        if rules.len() == RULES {
            table.problem("", message!("one rule too many"), message!("write at most {most}", most = RULES));
        } else {
            rules.extend(rule);
        }
        table.finish();
    }
    rules
}

/// A rule; `None` if something is wrong with it, which is then entered.
fn rule(table: &Section<'_>) -> Option<Rule> {
    const STATUS: Message = message!("write an HTTP status, such as 403, or a class of them, such as \"5xx\"");
    for (key, advice) in
        [("status", STATUS), ("means", message!("write what such an answer means, such as \"suspended\""))]
    {
        if !table.has(key) {
            table.missing(key, advice);
        }
    }
    let status = table.get("status").and_then(|value| statuses(table, &value, STATUS));
    let means = table.word("means", &MEANS);
    let body = pattern(table, "body", message!("write what is found in the body, such as \"quota*exceeded\""));
    let header = header(table);
    let kinds = kinds(table);
    let (status, means) = status.zip(means)?;
    if means == Means::Accepted && !status.are_successes() {
        table.problem(
            "means",
            message!("only an answer that says so itself (2xx) can be taken for an acceptance: records would be deleted that nobody has"),
            message!("write another word, or a status from 200 to 299"),
        );
        return None;
    }
    Some(Rule { status, body, header, kinds, means })
}

fn statuses(table: &Section<'_>, value: &Value<'_>, advice: Message) -> Option<Statuses> {
    if !value.is_text() {
        let status = table.integer("status", &(100..=599), 0);
        return u16::try_from(status).ok().filter(|status| *status > 0).map(Statuses::One);
    }
    let text = value.text(&advice)?;
    let class = text.strip_suffix("xx").and_then(|class| class.parse().ok()).filter(|class| (1..=5).contains(class));
    if class.is_none() {
        value.problem(found_text(text), advice);
    }
    class.map(Statuses::Class)
}

fn pattern(table: &Section<'_>, key: &'static str, advice: Message) -> Option<Glob> {
    let (text, value) = table.text(key, &advice)?;
    glob(text, &value, advice)
}

fn glob(text: &str, value: &Value<'_>, advice: Message) -> Option<Glob> {
    Glob::new(text)
        .map_err(|error| {
            value.problem(message!("found {what}: {why}", what = shown(text), why = error.message()), advice);
        })
        .ok()
}

fn header(table: &Section<'_>) -> Option<(HeaderName, Glob)> {
    const ADVICE: Message = message!(
        "write a header's name and what is found in its value, such as \"x-reason: stopped\"; `*` if it only has \
                          to be there"
    );
    let (text, value) = table.text("header", ADVICE)?;
    let parts =
        text.split_once(':').map(|(name, wanted)| (HeaderName::from_bytes(name.trim().as_bytes()), wanted.trim()));
    let Some((Ok(name), wanted)) = parts else {
        value.problem(found_text(text), ADVICE);
        return None;
    };
    Some((name, glob(wanted, &value, ADVICE)?))
}

fn kinds(table: &Section<'_>) -> Vec<&'static str> {
    const ADVICE: Message = message!("write kinds of endpoint in an array, such as [\"webhook\", \"api\"]");
    let Some(value) = table.get("kinds") else { return Vec::new() };
    let elements = value.elements(ADVICE);
    if value.is_array() && elements.is_empty() {
        value.problem(
            message!("found no kind"),
            message!("{advice}; without the key a rule is for all", advice = ADVICE),
        );
    }
    let mut kinds = Vec::new();
    for element in elements {
        let Some(text) = element.text(ADVICE) else { continue };
        let known = [Kind::Webhook, Kind::Api, Kind::Unified].map(Kind::as_str);
        match known.into_iter().find(|kind| *kind == text) {
            Some(kind) => kinds.push(kind),
            None => element.problem(found_text(text), ADVICE),
        }
    }
    kinds
}
