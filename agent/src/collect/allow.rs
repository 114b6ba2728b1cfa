//! Which devices are served: lists of names, each of one kind, with patterns.
//!
//! # Constraints
//! - A gateway's contract may cover named devices only (SORACOM Flux terms, 11.1(1) and (2)), so what is not listed is
//!   refused, with the answer that the protocol has for it, and counted by its kind.
//! - A kind that is listed must match; one that is not listed lets all pass. So each list narrows, and no list widens
//!   another.
//! - Asked for each connection and, of devices, for each new topic of one: it neither allocates nor locks.
//!
//! # Kinds
//! | kind | what it is compared with | where |
//! |---|---|---|
//! | devices | the level of the topic that a rule calls `{device}` | each publish, and each last will |
//! | client ids | the client identifier as the device sent it, empty if the server is to choose one | CONNECT |
//! | user names | the user name, once its password was checked | CONNECT |
//! | certificates | the common name and each alternative name of the client's certificate, once its chain was checked | CONNECT |
//!
//! What comes through another broker has a topic and nothing else, so only devices are compared there.
//!
//! # Patterns
//! A `*` stands for any characters, also none, at any place of a pattern; all else stands for itself, to the letter.

use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// Names, and patterns of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    whole: HashSet<Box<str>>,
    patterns: Vec<Box<str>>,
}

impl Names {
    /// Names to the letter, or with `*` for any characters.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = Self::default();
        for name in names {
            if name.contains('*') {
                list.patterns.push(name.into());
            } else {
                list.whole.insert(name.into());
            }
        }
        list
    }

    /// Whether a name is among them.
    pub fn has(&self, name: &str) -> bool {
        self.whole.contains(name) || self.patterns.iter().any(|pattern| fits(pattern, name))
    }
}

/// Whether `name` fits a pattern in which `*` stands for any characters. Takes time in proportion to the product of the
/// lengths at worst, whatever the pattern: what stands between two stars is found at its first place, and no later one
/// could do better.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((beginning, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(beginning) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(inner) = name.strip_suffix(end) else { return false };
    name = inner;
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    true
}

/// What a connection has shown of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The client identifier as it was sent.
    pub client_id: Box<str>,
    /// The user name.
    pub user: Option<Box<str>>,
    /// The names in its certificate; none without one.
    pub certificate: Box<[Box<str>]>,
}

/// Which list a connection is not in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// That of client identifiers.
    ClientId,
    /// That of user names.
    User,
    /// That of certificates.
    Certificate,
}

/// Who is served; `None` is everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Devices, as the topic rules name them.
    pub devices: Option<Names>,
    /// Client identifiers.
    pub client_ids: Option<Names>,
    /// User names.
    pub users: Option<Names>,
    /// Names in certificates.
    pub certificates: Option<Names>,
}

impl Allowed {
    /// Whether a device may publish.
    pub fn device(&self, device: &str) -> bool {
        self.devices.as_ref().is_none_or(|names| names.has(device))
    }

    /// Whether a connection is served.
    ///
    /// # Errors
    /// The first list that it is not in: what is proved (certificate, user name) before what is only said.
    pub fn connection(&self, identity: &Identity) -> Result<(), Unlisted> {
        let listed = |names: &Option<Names>, unlisted, is: &dyn Fn(&Names) -> bool| match names {
            Some(names) if !is(names) => Err(unlisted),
            _ => Ok(()),
        };
        listed(&self.certificates, Unlisted::Certificate, &|names| {
            identity.certificate.iter().any(|name| names.has(name))
        })?;
        listed(&self.users, Unlisted::User, &|names| identity.user.as_deref().is_some_and(|user| names.has(user)))?;
        listed(&self.client_ids, Unlisted::ClientId, &|names| names.has(&identity.client_id))
    }
}
