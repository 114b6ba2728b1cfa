//! Topic rules and topic filters, judged as the mapping and MQTT judge them (MQTT 5, section 4.7).

use crate::language::Message;
use crate::message;

/// Longest topic in bytes: a string with a 16-bit length (MQTT 5, section 1.5.4).
const MAX_TOPIC: usize = u16::MAX as usize;

const DEVICE: &str = "{device}";

/// Judges a rule's pattern: literal levels, exactly one `{device}`, `+`, a trailing `#`. The error says what to write.
pub(super) fn rule(topic: &str) -> Result<(), Message> {
    common(topic)?;
    let (body, _) = open(topic);
    for level in body.split('/') {
        match level {
            DEVICE | "+" => {}
            "#" => return Err(message!("`#` may only be the last level, after others: write `+` for one level")),
            _ if level.contains(['+', '#', '{', '}']) => {
                return Err(message!(
                    "`+`, `#` and {{device}} must each stand alone between slashes, and no other braces"
                ));
            }
            _ => {}
        }
    }
    match body.split('/').filter(|level| *level == DEVICE).count() {
        0 => Err(message!(
            "write {{device}} for the level that names the device, as in \"devices/{{device}}/telemetry\""
        )),
        1 => Ok(()),
        _ => Err(message!("write {{device}} once, and `+` for the levels that do not name the device")),
    }
}

/// Judges the pattern of a rule for fields: literal levels, `{device}` or `+`, a trailing `#`. The error says what to
/// write.
pub(super) fn fields(topic: &str) -> Result<(), Message> {
    let braces = message!("write `+` for one level and `#` for all that follow, or {{device}} for the device");
    judged(
        &topic.split('/').map(|level| if level == DEVICE { "+" } else { level }).collect::<Vec<_>>().join("/"),
        braces,
    )
}

/// Whether every topic that `other` matches is matched by `pattern`, both judged by [`fields`].
pub(super) fn covers(pattern: &str, other: &str) -> bool {
    let parts = |text: &str| -> (Vec<String>, bool) {
        if text == "#" {
            return (Vec::new(), true);
        }
        let (body, open) = open(text);
        (body.split('/').map(str::to_owned).collect(), open)
    };
    let ((levels, is_open), (others, other_open)) = (parts(pattern), parts(other));
    let wild = |level: &str| level == "+" || level == DEVICE;
    let agree = levels.iter().zip(&others).all(|(level, other)| wild(level) || level == other);
    let lengths = if is_open { others.len() >= levels.len() } else { others.len() == levels.len() && !other_open };
    agree && lengths
}

/// Judges a topic filter to subscribe to. The error says what to write.
pub(super) fn filter(topic: &str) -> Result<(), Message> {
    judged(
        topic,
        message!("write `+` for one level and `#` for all that follow; {{device}} belongs in [[collect.rule]]"),
    )
}

/// The same; `braces` is what to write instead of them.
fn judged(topic: &str, braces: Message) -> Result<(), Message> {
    common(topic)?;
    if topic.contains(['{', '}']) {
        return Err(braces);
    }
    let levels: Vec<&str> = topic.split('/').collect();
    for (index, level) in levels.iter().enumerate() {
        if level.len() > 1 && level.contains(['+', '#']) {
            return Err(message!("`+` and `#` must each stand alone between slashes"));
        }
        if *level == "#" && index + 1 < levels.len() {
            return Err(message!("`#` may only be the last level: write `+` for one level"));
        }
    }
    Ok(())
}

fn common(topic: &str) -> Result<(), Message> {
    if topic.is_empty() {
        return Err(message!("write a topic such as \"devices/#\""));
    }
    if topic.len() > MAX_TOPIC {
        return Err(message!("write at most 65,535 bytes: no topic is longer"));
    }
    if topic.contains('\0') {
        return Err(message!("remove the character U+0000, which no topic can contain"));
    }
    Ok(())
}

fn open(topic: &str) -> (&str, bool) {
    topic.strip_suffix("/#").map_or((topic, false), |body| (body, true))
}

/// Whether some topic is let through by the filter and matched by the rule, both judged before.
pub(super) fn meet(filter: &str, rule: &str) -> bool {
    // A shared subscription's filter follows its group: $share/group/filter (MQTT 5, section 4.8.2).
    let filter =
        filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).map_or(filter, |(_, filter)| filter);
    let (filter_body, filter_open) = if filter == "#" { ("", true) } else { open(filter) };
    let (rule_body, rule_open) = open(rule);
    let filter_levels: Vec<&str> = if filter == "#" { Vec::new() } else { filter_body.split('/').collect() };
    let rule_levels: Vec<&str> = rule_body.split('/').collect();
    let wild = |level: &str| level == "+" || level == DEVICE;
    let agree = filter_levels.iter().zip(&rule_levels).all(|(one, other)| one == other || wild(one) || wild(other));
    let lengths = match filter_levels.len().cmp(&rule_levels.len()) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => filter_open,
        std::cmp::Ordering::Greater => rule_open,
    };
    agree && lengths
}
