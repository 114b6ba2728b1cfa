//! Rules of the configuration for what an answer of Flux means. Pure.
//!
//! SORACOM documents few of Flux's answers, so what is found in the field is written down as rules: the first that matches
//! says what an answer means, before everything that the agent knows by itself.

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::Means;
use crate::glob::{Glob, folded};

/// Rules at most.
pub const RULES: usize = 32;

/// Characters of a body that are searched: an error says what it is at its beginning.
const SEARCHED: usize = 8 * 1024;

/// Which statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// All of a class: 5 for 500 to 599.
    Class(u8),
}

impl Statuses {
    /// Whether a status is one of them.
    pub fn include(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => status / 100 == u16::from(class),
        }
    }

    /// Whether all of them say that the request was taken (2xx).
    pub fn are_successes(self) -> bool {
        match self {
            Self::One(one) => one / 100 == 2,
            Self::Class(class) => class == 2,
        }
    }
}

/// A rule. Everything that it names must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The HTTP status.
    pub status: Statuses,
    /// Found in the first 8,192 characters of the body.
    pub body: Option<Glob>,
    /// A header, and what is found in its value.
    pub header: Option<(HeaderName, Glob)>,
    /// The kinds of endpoint that it is for, by their names in the configuration; all if empty.
    pub kinds: Vec<&'static str>,
    /// What the answer means; never [`Means::OwnLine`] or [`Means::Unreachable`].
    pub means: Means,
}

/// What the first rule says that matches.
pub fn first(rules: &[Rule], kind: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Option<Means> {
    let mut text: Option<Vec<char>> = None;
    let rule = rules.iter().find(|rule| {
        let header = |(name, wanted): &(HeaderName, Glob)| {
            headers.get_all(name).iter().any(|value| wanted.is_in(&String::from_utf8_lossy(value.as_bytes())))
        };
        rule.status.include(status)
            && (rule.kinds.is_empty() || rule.kinds.contains(&kind))
            && rule.header.as_ref().is_none_or(header)
            && rule.body.as_ref().is_none_or(|wanted| {
                let text = text.get_or_insert_with(|| folded(&String::from_utf8_lossy(body), SEARCHED));
                wanted.is_in_folded(text)
            })
    })?;
    Some(rule.means)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_in_all_it_names_says_what_an_answer_means() {
        let glob = |text| Some(Glob::new(text).expect("a pattern"));
        let rule = |status, body, means| Rule { status, body, header: None, kinds: vec![], means };
        let header = glob("stopped").map(|glob| (HeaderName::from_static("x-reason"), glob));
        let rules = [
            rule(Statuses::One(403), glob("Limit*exceeded"), Means::Quota),
            Rule { kinds: vec!["api"], ..rule(Statuses::One(403), None, Means::Misconfigured) },
            Rule { header, ..rule(Statuses::Class(4), None, Means::Ended) },
            rule(Statuses::One(403), None, Means::Suspended),
            rule(Statuses::Class(5), None, Means::Maintenance),
        ];
        let said = |kind: &str, status: u16, reason: &str, body: &str| {
            let headers = [("x-reason", reason)].into_iter();
            let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")));
            first(&rules, kind, status, &headers.collect(), body.as_bytes())
        };
        for (kind, status, reason, body, means) in [
            ("webhook", 403, "", r#"{"message":"event LIMIT was exceeded"}"#, Some(Means::Quota)),
            ("webhook", 403, "", "exceeded limit", Some(Means::Suspended)),
            ("api", 403, "", "", Some(Means::Misconfigured)),
            ("webhook", 403, "App Stopped", "", Some(Means::Ended)),
            ("webhook", 409, "app stopped", "", Some(Means::Ended)),
            ("webhook", 409, "", "", None),
            ("webhook", 599, "", "", Some(Means::Maintenance)),
            ("webhook", 200, "stopped", "limit exceeded", None),
        ] {
            assert_eq!(said(kind, status, reason, body), means, "{kind} {status} {reason} {body}");
        }
        let late = format!("{}limit exceeded", "x".repeat(SEARCHED));
        assert_eq!(said("webhook", 403, "", &late), Some(Means::Suspended), "it is searched to a bound");
    }
}
