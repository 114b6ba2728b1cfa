//! One rule, made ready: a tree of the fields that it names.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::pseudonym::Key;
use super::{MAX_DEPTH, MAX_OUTPUT, MAX_PSEUDONYMS, Rule, rewrite};
use crate::field::{Path, Segment, Step};
use crate::language::{IntoValue as _, Message};
use crate::message;

/// What becomes of a payload that cannot be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// It is refused and counted.
    #[default]
    Refuse,
    /// It is stored as it came, and counted.
    Store,
}

/// Why a payload cannot be treated. Holds nothing of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The field, as the rule names it; empty for the payload as a whole.
    pub(super) path: Box<str>,
    pub(super) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    NotJson(usize),
    TooDeep,
    /// What stands there, and what should.
    Wrong(Message, Message),
    NotRounded,
    NotWritten,
    TooMany,
    TooLong,
    NothingKept,
}

impl Refused {
    /// It in words.
    pub fn message(&self) -> Message {
        let place =
            if self.path.is_empty() { message!("the payload").into_value() } else { (&*self.path).into_value() };
        match &self.why {
            Why::NotJson(at) => message!("the payload is not JSON, at byte {at}", at = *at),
            Why::TooDeep => message!("the payload is nested deeper than {most}", most = MAX_DEPTH),
            Why::Wrong(found, wanted) => message!(
                "{place} is {found} and should be {wanted}",
                place = place,
                found = found.clone(),
                wanted = wanted.clone()
            ),
            Why::NotRounded => message!("{place} is a number too large to round", place = place),
            Why::NotWritten => {
                message!("{place} has an exponent or an escape that stands for nothing", place = place)
            }
            Why::TooMany => {
                message!("the payload has more than {most} fields to make pseudonyms of", most = MAX_PSEUDONYMS)
            }
            Why::TooLong => message!("the payload would be longer than {most} bytes", most = MAX_OUTPUT),
            Why::NothingKept => {
                message!("the payload is neither an object nor a list in which keep_only could keep something")
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(formatter)
    }
}

/// What came of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treated<'a> {
    /// What is to be stored.
    pub payload: Cow<'a, [u8]>,
    /// Why it is stored as it came, where it is ([`Otherwise::Store`]).
    pub untreated: Option<Refused>,
}

/// What was done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// `keep_only` does not name it.
    NotKept,
    /// It was dropped.
    Dropped,
    /// It was replaced by a pseudonym.
    Pseudonymised,
    /// It was rounded.
    Rounded,
}

/// What was done to one field of a payload, for a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Did {
    /// The field.
    pub path: String,
    /// What was done.
    pub deed: Deed,
    /// The field as it was written.
    pub from: String,
    /// The field as it is now; `None` if it is gone.
    pub to: Option<String>,
}

/// What is done to a field; with several, the first of these holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Drop,
    Pseudonymise,
    Round(Step),
}

/// A field that a rule names, or one on the way there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Node {
    /// How the rule names it.
    pub(super) path: Box<str>,
    /// Sorted by name.
    members: Vec<(Box<str>, Node)>,
    pub(super) elements: Option<Box<Node>>,
    pub(super) action: Option<Action>,
    /// It is kept with all that is in it.
    pub(super) keep: bool,
    /// Something in it is dropped, made a pseudonym of or rounded, so it must be what it is taken for.
    pub(super) must_fit: bool,
}

impl Node {
    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn member(&self, name: &str) -> Option<&Node> {
        let found = self.members.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.members[found].1)
    }

    /// The node of a path, made if there is none; `treated` marks the way there.
    fn at(&mut self, path: &Path, treated: bool) -> &mut Node {
        let mut node = self;
        for (index, segment) in path.segments().iter().enumerate() {
            node.must_fit |= treated;
            let here = || path.first(index + 1).to_string().into();
            node = match segment {
                Segment::Elements => {
                    node.elements.get_or_insert_with(|| Box::new(Node { path: here(), ..Node::default() }))
                }
                Segment::Member(name) => {
                    let found = node.members.binary_search_by(|(known, _)| known.cmp(name));
                    let at = found.unwrap_or_else(|at| {
                        node.members.insert(at, (name.clone(), Node { path: here(), ..Node::default() }));
                        at
                    });
                    &mut node.members[at].1
                }
            };
        }
        node
    }

    fn act(&mut self, path: &Path, action: Action) {
        self.at(path, true).action.get_or_insert(action);
    }
}

/// What becomes of the payloads that a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treatment {
    pub(super) root: Node,
    pub(super) key: Option<Arc<Key>>,
    topic: String,
    otherwise: Otherwise,
}

impl Treatment {
    /// The rule's, with the key to its pseudonyms.
    pub(super) fn new(rule: &Rule, key: Option<Arc<Key>>) -> Self {
        let mut root = Node { keep: rule.keep_only.is_none(), ..Node::default() };
        for path in rule.keep_only.iter().flatten() {
            root.at(path, false).keep = true;
        }
        // In the order in which they hold: the first action at a field stays.
        rule.drop.iter().for_each(|path| root.act(path, Action::Drop));
        rule.pseudonymise.iter().for_each(|path| root.act(path, Action::Pseudonymise));
        rule.round.iter().for_each(|(path, step)| root.act(path, Action::Round(*step)));
        Self { root, key, topic: rule.topic.clone(), otherwise: rule.otherwise }
    }

    /// The pattern of the topics it is for.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Makes of a payload what is to be stored.
    ///
    /// # Errors
    /// If it cannot be treated, and is not to be stored as it is.
    pub fn treat<'a>(&self, payload: &'a [u8]) -> Result<Treated<'a>, Refused> {
        self.stored(payload, rewrite::rewrite(self, payload, None))
    }

    /// The same, and what was done; at most a thousand of it.
    pub fn explain<'a>(&self, payload: &'a [u8]) -> (Result<Treated<'a>, Refused>, Vec<Did>) {
        let mut did = Vec::new();
        let rewritten = rewrite::rewrite(self, payload, Some(&mut did));
        (self.stored(payload, rewritten), did)
    }

    fn stored<'a>(&self, payload: &'a [u8], rewritten: Result<Vec<u8>, Refused>) -> Result<Treated<'a>, Refused> {
        match (rewritten, self.otherwise) {
            (Ok(rewritten), _) => Ok(Treated { payload: Cow::Owned(rewritten), untreated: None }),
            (Err(refused), Otherwise::Refuse) => Err(refused),
            (Err(refused), Otherwise::Store) => {
                Ok(Treated { payload: Cow::Borrowed(payload), untreated: Some(refused) })
            }
        }
    }
}
