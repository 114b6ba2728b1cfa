//! The topics of a rule.

/// A topic filter: literal levels, `+` or `{device}` for any one level, `#` at the end for any number, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `None` is any level.
    levels: Box<[Option<Box<str>>]>,
    open: bool,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (body, open) = match text.strip_suffix('#') {
            Some("") => return Some(Self { levels: Box::default(), open: true }),
            Some(body) => (body.strip_suffix('/')?, true),
            None => (text, false),
        };
        let level = |level: &str| match level {
            "+" | "{device}" => Some(None),
            _ if level.contains(['+', '#', '{', '}', '\0']) => None,
            _ => Some(Some(level.into())),
        };
        let levels = body.split('/').map(level).collect::<Option<_>>()?;
        (!text.is_empty()).then_some(Self { levels, open })
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        let mut parts = topic.split('/');
        let fits = |level: &Option<Box<str>>| {
            parts.next().is_some_and(|part| level.as_deref().is_none_or(|literal| literal == part))
        };
        self.levels.iter().all(fits) && (self.open || parts.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_a_topic_filter_does() {
        for (pattern, topic, matches) in [
            ("devices/{device}/telemetry/#", "devices/a/telemetry", true),
            ("devices/{device}/telemetry/#", "devices/a/telemetry/b/c", true),
            ("devices/+/telemetry", "devices//telemetry", true),
            ("devices/+/telemetry", "devices/a/telemetry/b", false),
            ("devices/+", "devices", false),
            ("#", "", true),
            ("#", "$SYS/x", true),
            ("+/x", "$SYS/x", true),
            ("a", "a", true),
            ("a", "b", false),
        ] {
            assert_eq!(Pattern::parse(pattern).expect(pattern).matches(topic), matches, "{pattern} {topic}");
        }
        for pattern in ["", "a#", "#/a", "a/#/b", "a+", "{x}", "a\0"] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern:?}");
        }
    }
}
