//! `[alarm]`: telling people near the gateway that nothing is delivered.

use std::time::Duration;

use super::pattern;
use super::reader::{Section, found_text};
use super::surroundings::Content;
use crate::language::Message;
use crate::message;

/// `[alarm]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// After so long without a delivery while something waits, 1 s to 30 days; no alarm without it.
    pub after: Option<Duration>,
    /// And again so often while it lasts, 1 s to 7 days.
    pub repeat: Duration,
    /// A program by its absolute path, and its arguments.
    pub command: Option<Vec<String>>,
    /// How long it may run, 1 s to 10 min.
    pub command_timeout: Duration,
    /// The topic on the broker that `[collect.broker]` names.
    pub topic: String,
}

/// The topic on which the listener tells alarms, and the broker unless configured otherwise.
pub const ALARM_TOPIC: &str = "tidegate/alarm";

/// Words of a command at most, and bytes of each: what no real one reaches.
const WORDS: usize = 32;
const WORD: usize = 1024;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// `[alarm]`.
pub(super) fn alarm(root: &Section<'_>) -> Alarm {
    let section = root.section("alarm");
    let there = section.has("after");
    let after = section.duration("after", &(SECOND..=30 * DAY), 6 * HOUR);
    let alarm = Alarm {
        after: there.then_some(after),
        repeat: section.duration("repeat", &(SECOND..=7 * DAY), HOUR),
        command: command(&section),
        command_timeout: section.duration("command_timeout", &(SECOND..=Duration::from_secs(600)), 30 * SECOND),
        topic: topic(&section),
    };
    if let (false, Some(value)) = (there, section.get("command")) {
        value.problem(
            message!("stands alone"),
            message!("write after = \"6h\" too: how long nothing may be delivered, or remove this"),
        );
    }
    section.finish();
    alarm
}

fn command(section: &Section<'_>) -> Option<Vec<String>> {
    const ADVICE: Message = message!(
        "write the program with its path and each argument in quotes, such as \
                          [\"/usr/local/bin/horn\", \"--on\"]"
    );
    let value = section.get("command")?;
    let elements = value.elements(ADVICE);
    if value.is_array() && !(1..=WORDS).contains(&elements.len()) {
        value.problem(
            message!("found {count} words", count = elements.len()),
            message!("{advice}; 1 to {most} in all", advice = ADVICE, most = WORDS),
        );
    }
    let mut words = Vec::new();
    for element in elements {
        let Some(word) = element.text(ADVICE) else { continue };
        if word.len() > WORD || word.contains('\0') {
            element.problem(found_text(word), message!("write at most {most} bytes, none of them zero", most = WORD));
        } else if words.is_empty() {
            section.program(word, &element, Content::Program);
        }
        words.push(word.to_owned());
    }
    Some(words)
}

fn topic(section: &Section<'_>) -> String {
    const ADVICE: Message = message!("write a topic without wildcards, such as \"tidegate/alarm\"");
    let Some((text, value)) = section.text("topic", ADVICE) else { return ALARM_TOPIC.into() };
    if text.is_empty() || text.contains(['+', '#', '\0']) || text.starts_with('$') || pattern::filter(text).is_err() {
        value.problem(found_text(text), ADVICE);
    }
    text.to_owned()
}
