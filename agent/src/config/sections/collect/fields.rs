//! `[[collect.fields]]` and `[collect.pseudonyms]`: what of payloads is kept.

use super::super::super::error::shown;
use super::super::super::model::FieldRule;
use super::super::super::pattern;
use super::super::super::reader::{Section, Value, found_text};
use crate::field::{Path, PathFault, Step, StepFault};
use crate::language::Message;
use crate::message;
use crate::secret::Secret;

/// Most rules, and most fields in one list of a rule: far above what a person reads over before it is taken into use.
const MAX_RULES: usize = 64;
const MAX_PATHS: usize = 256;

/// Shortest key in bytes: 32 characters of base64 are 192 bits, and shorter than that are words.
const MIN_KEY: usize = 32;

const TOPIC: Message = message!("write the topics whose payloads are treated, such as \"devices/+/telemetry/#\"");
const PATHS: Message = message!("write a list of fields, such as [\"person.name\", \"readings[].patient\"]");
const ROUND: Message = message!("write round = {{ temperature = 0.5, \"location.lat\" = \"2 decimals\" }}");

/// The rules, and the key to pseudonyms, within the section `collect`.
pub(in super::super) fn fields(collect: &Section<'_>) -> (Vec<FieldRule>, Option<Secret>) {
    let mut rules: Vec<FieldRule> = Vec::new();
    let mut pseudonymises = None;
    for (index, table) in collect.sections("fields").unwrap_or_default().into_iter().enumerate() {
        if index == MAX_RULES {
            table.missing(
                "topic",
                message!("one rule too many: at most {most}; join some with `+` or `#`", most = MAX_RULES),
            );
            break;
        }
        let topic = topic(&table, &rules);
        let (rule, value) = rule(&table, topic);
        pseudonymises = pseudonymises.or(value);
        rules.push(rule);
        table.finish();
    }
    let key = key(&collect.section("pseudonyms"), pseudonymises.as_ref());
    (rules, key)
}

fn topic(table: &Section<'_>, earlier: &[FieldRule]) -> String {
    let Some((text, value)) = table.text("topic", TOPIC) else {
        if !table.has("topic") {
            table.missing("topic", TOPIC);
        }
        return String::new();
    };
    if let Err(advice) = pattern::fields(text) {
        value.problem(found_text(text), advice);
    } else if let Some(first) = earlier.iter().find(|rule| pattern::covers(&rule.topic, text)) {
        value.warn(
            message!("the rule for {what} above takes all of these topics", what = shown(&first.topic)),
            message!("put this one before it, or join them: the first that matches treats a payload, and it alone"),
        );
    }
    text.to_owned()
}

/// A rule, and where it asks for pseudonyms.
fn rule<'a>(table: &Section<'a>, topic: String) -> (FieldRule, Option<Value<'a>>) {
    let keep_only = paths(table, "keep_only");
    let drop = paths(table, "drop");
    let pseudonymise = paths(table, "pseudonymise");
    let round = round(table);
    let store_untreated = table.word("otherwise", &[("refuse", false), ("store", true)]).unwrap_or(false);
    if ["keep_only", "drop", "pseudonymise", "round"].iter().all(|key| !table.has(key)) {
        table.missing(
            "drop",
            message!("write what this rule does: one or more of keep_only, drop, pseudonymise and round"),
        );
    }
    if store_untreated {
        if let Some(value) = ["keep_only", "drop", "pseudonymise"].iter().find_map(|key| table.get(key)) {
            value.warn(
                message!("a payload that cannot be treated is stored with whatever it holds: otherwise is \"store\""),
                message!("write otherwise = \"refuse\" where fields must not be kept"),
            );
        }
    }
    let places: Vec<(&str, &Path, &Value<'_>)> = [("drop", &drop), ("pseudonymise", &pseudonymise)]
        .into_iter()
        .flat_map(|(key, list)| list.iter().flatten().map(move |(path, value)| (key, path, value)))
        .chain(round.iter().map(|(path, _, value)| ("round", path, value)))
        .collect();
    judge_together(&places);
    if let Some(kept) = &keep_only {
        for (_, path, value) in places.iter().filter(|(key, ..)| *key != "drop") {
            if !kept.iter().any(|(keep, _)| path.is_within(keep)) {
                value.warn(
                    message!("keep_only does not name {path}, so it is dropped", path = path),
                    message!("name it in keep_only, too, or remove it here"),
                );
            }
        }
    }
    let value = pseudonymise.as_ref().and_then(|list| list.first()).map(|(_, value)| value.clone());
    let bare = |list: Option<Vec<(Path, Value<'_>)>>| list.map(|list| list.into_iter().map(|(path, _)| path).collect());
    let rule = FieldRule {
        topic,
        keep_only: bare(keep_only),
        drop: bare(drop).unwrap_or_default(),
        pseudonymise: bare(pseudonymise).unwrap_or_default(),
        round: round.into_iter().map(|(path, step, _)| (path, step)).collect(),
        store_untreated,
    };
    (rule, value)
}

/// Enters fields that two lists name, or of which one lies within another.
fn judge_together(places: &[(&str, &Path, &Value<'_>)]) {
    for (index, (_, path, value)) in places.iter().enumerate() {
        for (key, other, there) in &places[..index] {
            if path == other {
                value.problem(
                    message!("{path} stands in {key} above", path = path, key = key),
                    message!("name it once: one thing is done to a field"),
                );
            } else if path.is_within(other) {
                value.problem(
                    message!(
                        "{path} lies within {other}, which stands in {key}",
                        path = path,
                        other = other,
                        key = key
                    ),
                    message!("name one of the two"),
                );
            } else if other.is_within(path) {
                there.problem(
                    message!("{other} lies within {path}, which is named, too", other = other, path = path),
                    message!("name one of the two"),
                );
            }
        }
    }
}

fn paths<'a>(table: &Section<'a>, key: &'static str) -> Option<Vec<(Path, Value<'a>)>> {
    let value = table.get(key)?;
    let elements = value.elements(PATHS);
    if !(1..=MAX_PATHS).contains(&elements.len()) && value.is_array() {
        value.problem(
            message!("found {count} fields", count = elements.len()),
            message!("write 1 to {most}, or remove the key", most = MAX_PATHS),
        );
    }
    let mut paths = Vec::new();
    for element in elements {
        let Some(text) = element.text(message!("write each field in quotes")) else { continue };
        paths.extend(path(text, &element).map(|path| (path, element)));
    }
    Some(paths)
}

fn path(text: &str, value: &Value<'_>) -> Option<Path> {
    text.parse().map_err(|fault: PathFault| value.problem(found_text(text), fault.message())).ok()
}

fn round<'a>(table: &Section<'a>) -> Vec<(Path, Step, Value<'a>)> {
    let Some(value) = table.get("round") else { return Vec::new() };
    let Some(entries) = value.entries(ROUND) else { return Vec::new() };
    if !(1..=MAX_PATHS).contains(&entries.len()) {
        value.problem(
            message!("found {count} fields", count = entries.len()),
            message!("write 1 to {most}, or remove the key", most = MAX_PATHS),
        );
    }
    let mut round = Vec::new();
    for (name, value) in entries {
        if value.is_table() {
            value.problem(message!("a field's name has a dot and stands without quotes"), ROUND);
        } else if let (Some(path), Some(step)) = (path(name, &value), step(&value)) {
            round.push((path, step, value));
        }
    }
    round
}

fn step(value: &Value<'_>) -> Option<Step> {
    const ADVICE: Message = message!("write what it is rounded to a multiple of, such as 0.5, or \"2 decimals\"");
    if let Some(number) = value.number() {
        return number.parse().map_err(|StepFault| value.problem(found_text(number), StepFault::ADVICE)).ok();
    }
    let text = value.text(ADVICE)?;
    let decimals = text.strip_suffix("decimals").or_else(|| text.strip_suffix("decimal"));
    let step = decimals.and_then(|number| number.trim().parse().ok()).and_then(Step::decimals);
    if step.is_none() {
        value.problem(found_text(text), message!("{advice} (0 to 18)", advice = ADVICE));
    }
    step
}

/// The key to pseudonyms; `needed` is where they are asked for.
fn key(section: &Section<'_>, needed: Option<&Value<'_>>) -> Option<Secret> {
    let found =
        if needed.is_some() { section.guarded_secret_file("key_file") } else { section.secret_file("key_file") };
    if let (Some(needed), false) = (needed, section.has("key_file")) {
        needed.problem(
            message!("there is no key to make pseudonyms with"),
            message!("write key_file = \"/etc/tidegate/secrets/pseudonym.key\" in [collect.pseudonyms]; `openssl rand -base64 32` makes a key"),
        );
    }
    if let Some((_, value)) = found.as_ref().filter(|(secret, _)| secret.expose().len() < MIN_KEY) {
        value.problem(
            message!("the key in the file is shorter than {least} characters", least = MIN_KEY),
            message!("write one that nobody can try out: `openssl rand -base64 32` makes one; with it all pseudonyms are others"),
        );
    }
    found.map(|(secret, _)| secret)
}
