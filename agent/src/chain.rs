//! An error with its causes in one line, for logs and for `status`.
//!
//! Errors carry their causes as `#[source]` and never in their own text, so that both can be told apart; whoever shows one
//! to people wants both. Libraries do not all keep to that: what has been said already is not said again.

use std::error::Error;

/// The error's text, then its causes', each behind a colon. What came from outside is in it as it came: whoever shows it
/// cuts and escapes it.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("cannot read the page")]
        Read(#[source] io::Error),
        #[error("cannot read it: {0}")]
        Repeats(#[source] io::Error),
    }

    #[test]
    fn each_cause_is_said_once() {
        let broken = || io::Error::other("the disk is gone");
        assert_eq!(chain(&Failure::Read(broken())), "cannot read the page: the disk is gone");
        assert_eq!(chain(&Failure::Repeats(broken())), "cannot read it: the disk is gone");
        assert_eq!(chain(&broken()), "the disk is gone");
    }
}
