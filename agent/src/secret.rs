//! Values that must not be seen: a webhook's URL, a key, a token, a password.
//!
//! The one type for them in all rooms, so that a value stays hidden on its way from the configuration's file to the
//! wire. It is known to every room, as the protocol is.

use std::fmt;

/// Longest secret file in bytes: keys and URLs are a few hundred at most.
pub const MAX_FILE: u64 = 16 * 1024;

/// A value that neither `Debug` nor a log shows. [`Secret::expose`] gives it to whoever must send it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}
