//! Topic rules: which device a publish is from, and which lane it goes to.
//!
//! # Constraints
//! - Runs once for every publish (the listener remembers the last topic of each connection), so it neither allocates
//!   nor locks: what it returns borrows from the topic.
//! - Rules may change while it runs (SIGHUP): [`Rules`] is immutable, and a new one is handed to all users through a
//!   `tokio::sync::watch` channel of `Arc<Rules>`.
//!
//! # Operation
//! A pattern looks like an MQTT topic filter (MQTT 5, section 4.7) with one level that is `{device}`:
//!
//! ```text
//! devices/{device}/telemetry      literal levels and the device
//! +/{device}/#                    `+` is any one level, a trailing `#` any number of further levels, also none
//! ```
//!
//! The first rule that matches wins. A topic that none matches is taken by the fallback, if there is one, with the
//! whole topic as device; otherwise it is refused. `{device}` matches any level but an empty one: a device without a
//! name could not be told from another. As in MQTT, a topic that begins with `$` is not matched by a pattern that
//! begins with `+`, `#` or `{device}`, nor taken by the fallback: such topics are a broker's own (`$SYS`). The same holds of
//! topics whose first level is `tidegate`: they are the agent's own, and what a device published there would look to a flow
//! like a gap record.
//!
//! Besides, the rules carry who is served at all ([`Rules::serving`], see [`allow`](super::allow)); others are refused,
//! whatever the topic rule says. And what of a payload is kept ([`Rules::treating`], see [`fields`](super::fields)).

use std::sync::Arc;

use tidegate_protocol::LaneId;

use super::allow::{Allowed, Identity, Names, Unlisted};
use super::fields::{Fields, Treatment};
use crate::language::Message;
use crate::message;

/// The level that names the device.
pub const DEVICE: &str = "{device}";

/// Most rules there may be: each publish on a new topic is compared with all of them, and no gateway seen in the
/// field has more than a few dozen kinds of topic.
pub const MAX_RULES: usize = 256;

/// Longest pattern in bytes: an MQTT topic is a string with a 16-bit length (MQTT 5, section 1.5.4).
pub const MAX_PATTERN: usize = u16::MAX as usize;

/// One topic rule as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The pattern: literal levels, exactly one `{device}`, `+`, a trailing `#`.
    pub topic: String,
    /// Where the records go.
    pub lane: LaneId,
}

/// What a topic was mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// The device: a level of the topic, or the whole topic if the fallback took it.
    pub device: &'a str,
    /// Where the record goes.
    pub lane: LaneId,
}

/// Why a rule is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct RuleError {
    /// Which rule, counted from 1 in the order given.
    pub number: usize,
    /// Its pattern, cut to 128 bytes.
    pub topic: String,
    /// What is wrong with it and what to write instead.
    pub fault: RuleFault,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum RuleFault {
    /// There are more than [`MAX_RULES`].
    TooMany,
    /// It is empty.
    Empty,
    /// It is longer than a topic can be.
    TooLong,
    /// It contains a character that no topic can contain.
    Nul,
    /// No level names the device.
    NoDevice,
    /// More than one level names the device.
    TwoDevices,
    /// `+`, `#` or a brace stands within a level.
    Mixed(String),
    /// `#` is not the last level.
    HashInside,
}

impl RuleError {
    /// It in words.
    pub fn message(&self) -> Message {
        let topic = format!("{:?}", self.topic);
        message!(
            "topic rule {number} ({topic}) {fault}",
            number = self.number,
            topic = topic,
            fault = self.fault.message()
        )
    }
}

impl RuleFault {
    /// It in words, which follow the rule's name.
    pub fn message(&self) -> Message {
        match self {
            Self::TooMany => {
                message!(
                    "is one too many: at most {most} rules are allowed; join some with `+` or `#`",
                    most = MAX_RULES
                )
            }
            Self::Empty => message!("is empty; write a pattern such as \"devices/{{device}}/telemetry\""),
            Self::TooLong => message!("is longer than {most} bytes, which no topic can be", most = MAX_PATTERN),
            Self::Nul => message!("contains the character U+0000, which no topic can contain; remove it"),
            Self::NoDevice => {
                message!("does not say which level names the device; write {device} for that level", device = DEVICE)
            }
            Self::TwoDevices => {
                message!(
                    "has {device} more than once; write `+` for the levels that do not name the device",
                    device = DEVICE
                )
            }
            Self::Mixed(level) => message!(
                "has the level {level}; `+`, `#` and {device} must each stand alone between slashes, and no other braces",
                level = format!("{level:?}"),
                device = DEVICE
            ),
            Self::HashInside => {
                message!("has `#` before its end; `#` may only be the last level: write `+` for one level")
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(Box<str>),
    Device,
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    levels: Box<[Level]>,
    /// Ends in `#`.
    open: bool,
    lane: LaneId,
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    patterns: Vec<Pattern>,
    fallback: Option<LaneId>,
    allowed: Allowed,
    fields: Fields,
}

impl Rules {
    /// Reads the rules; the first that matches a topic wins, and `fallback` takes what none matches.
    ///
    /// # Errors
    /// The first rule that is not one.
    pub fn new(rules: Vec<Rule>, fallback: Option<LaneId>) -> Result<Self, RuleError> {
        let mut patterns = Vec::with_capacity(rules.len().min(MAX_RULES));
        for (index, rule) in rules.into_iter().enumerate() {
            let parsed =
                if index < MAX_RULES { Pattern::parse(&rule.topic, rule.lane) } else { Err(RuleFault::TooMany) };
            patterns.push(parsed.map_err(|fault| RuleError {
                number: index + 1,
                topic: cut(&rule.topic, 128).to_owned(),
                fault,
            })?);
        }
        Ok(Self { patterns, fallback, allowed: Allowed::default(), fields: Fields::default() })
    }

    /// The same rules for these only.
    #[must_use]
    pub fn serving(self, allowed: Allowed) -> Self {
        Self { allowed, ..self }
    }

    /// The same rules for these devices only, by their names, in which `*` stands for any characters.
    #[must_use]
    pub fn only<'a>(self, devices: impl IntoIterator<Item = &'a str>) -> Self {
        let allowed = Allowed { devices: Some(Names::new(devices)), ..self.allowed };
        Self { allowed, ..self }
    }

    /// The same rules, with these for the fields of payloads.
    #[must_use]
    pub fn treating(self, fields: Fields) -> Self {
        Self { fields, ..self }
    }

    /// What becomes of the payloads on a topic before they are stored; `None` if they are stored as they come.
    pub fn treatment(&self, topic: &str) -> Option<&Arc<Treatment>> {
        self.fields.of(topic)
    }

    /// Whether a device that [`Rules::map`] named may publish.
    pub fn allows(&self, device: &str) -> bool {
        self.allowed.device(device)
    }

    /// Whether a connection is served.
    ///
    /// # Errors
    /// The list that it is not in.
    pub fn admits(&self, identity: &Identity) -> Result<(), Unlisted> {
        self.allowed.connection(identity)
    }

    /// The device and lane of a topic; `None` if it is to be refused.
    pub fn map<'a>(&self, topic: &'a str) -> Option<Mapped<'a>> {
        for pattern in &self.patterns {
            if let Some(device) = pattern.device(topic) {
                return Some(Mapped { device, lane: pattern.lane });
            }
        }
        let lane = self.fallback.filter(|_| !topic.is_empty() && !is_reserved(topic))?;
        Some(Mapped { device: topic, lane })
    }
}

/// Whether only a rule that names a topic's first level takes it.
fn is_reserved(topic: &str) -> bool {
    topic.starts_with('$') || topic.split('/').next() == Some("tidegate")
}

impl Pattern {
    fn parse(topic: &str, lane: LaneId) -> Result<Self, RuleFault> {
        if topic.is_empty() {
            return Err(RuleFault::Empty);
        }
        if topic.len() > MAX_PATTERN {
            return Err(RuleFault::TooLong);
        }
        if topic.contains('\0') {
            return Err(RuleFault::Nul);
        }
        if topic == "#" {
            return Err(RuleFault::NoDevice);
        }
        let (body, open) = match topic.strip_suffix("/#") {
            Some(body) => (body, true),
            None => (topic, false),
        };
        let levels = body.split('/').map(Level::parse).collect::<Result<Box<[_]>, _>>()?;
        match levels.iter().filter(|level| **level == Level::Device).count() {
            0 => Err(RuleFault::NoDevice),
            1 => Ok(Self { levels, open, lane }),
            _ => Err(RuleFault::TwoDevices),
        }
    }

    /// The topic's device if the pattern matches it.
    fn device<'a>(&self, topic: &'a str) -> Option<&'a str> {
        if is_reserved(topic) && !matches!(self.levels.first(), Some(Level::Literal(_))) {
            return None;
        }
        let mut parts = topic.split('/');
        let mut device = None;
        for level in &self.levels {
            let part = parts.next()?;
            match level {
                Level::Literal(literal) if **literal == *part => {}
                Level::Device if !part.is_empty() => device = Some(part),
                Level::Any => {}
                Level::Literal(_) | Level::Device => return None,
            }
        }
        if self.open || parts.next().is_none() { device } else { None }
    }
}

impl Level {
    fn parse(level: &str) -> Result<Self, RuleFault> {
        match level {
            DEVICE => Ok(Self::Device),
            "+" => Ok(Self::Any),
            "#" => Err(RuleFault::HashInside),
            _ if level.contains(['+', '#', '{', '}']) => Err(RuleFault::Mixed(cut(level, 128).to_owned())),
            _ => Ok(Self::Literal(level.into())),
        }
    }
}

/// The beginning of a text, at most `limit` bytes, whole characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
