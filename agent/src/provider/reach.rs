//! Whether a service of the provider could be reached, whatever it said: what its answers prove of the line.
//!
//! # Constraints
//! - A line that carries an answer works: also one that refuses, fails, or says what nobody asked for.
//! - But plain HTTP does not prove who answered. A captive portal answers for everybody, with a page of its own, a redirect or
//!   511 (RFC 6585, section 6), and a proxy with 407, 502 or 504 (RFC 9110, sections 15.5.8, 15.6.3 and 15.6.5). These prove nothing of what
//!   lies behind; nor does a certificate that is not trusted.
//! - What was not asked at all (no budget, no usable URL) changes nothing.

use std::time::Instant;

use super::ask::AskError;
use crate::shape::wire::{Stage, Trouble, WireError};

/// Who was met by a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Who was asked answered.
    Host,
    /// Somebody answered, perhaps something between here and there.
    Somebody,
    /// Nobody answered.
    Nobody,
}

/// What questions so far met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contact {
    /// When whoever is asked answered last.
    pub at: Option<Instant>,
    /// Whom the last question met; `None` before the first.
    pub last: Option<Reach>,
}

impl Contact {
    /// Enters whom a question met; `None` if it was not asked.
    pub(super) fn note(&mut self, reach: Option<Reach>, now: Instant) {
        if reach == Some(Reach::Host) {
            self.at = Some(now);
        }
        self.last = reach.or(self.last);
    }
}

/// Whether a service is asked over TLS, so that it proves who it is.
pub(super) fn is_proved(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// Who refused with this status, or gave an answer of no use (2xx).
pub(super) fn of_status(status: u16, proved: bool) -> Reach {
    match status {
        _ if proved => Reach::Host,
        407 | 502 | 504 | 511 => Reach::Somebody,
        400..=599 => Reach::Host,
        _ => Reach::Somebody,
    }
}

/// Who was met where no whole answer came; `None` if nobody was asked.
pub(super) fn of_error(error: &AskError, proved: bool) -> Option<Reach> {
    match error {
        AskError::Url | AskError::Unreachable(WireError::Spent | WireError::Silent { .. }) => None,
        AskError::Unreachable(error) if (error.stage(), error.trouble()) == (Stage::Tls, Trouble::Answered) => {
            Some(Reach::Somebody)
        }
        AskError::Unreachable(_) | AskError::Broke(_) | AskError::Late(_) => Some(Reach::Nobody),
        AskError::TooLong(_) => Some(if proved { Reach::Host } else { Reach::Somebody }),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_answers_is_reached_unless_something_in_between_may_have_answered() {
        for status in [200, 204, 301, 304, 400, 403, 404, 407, 429, 500, 502, 503, 504, 511] {
            assert_eq!(of_status(status, true), Reach::Host, "{status} over TLS");
            let somebody = [200, 204, 301, 304, 407, 502, 504, 511].contains(&status);
            assert_eq!(of_status(status, false), if somebody { Reach::Somebody } else { Reach::Host }, "{status}");
        }
        let tls = |source: io::Error| AskError::Unreachable(WireError::Tls { host: "x".into(), source });
        let untrusted = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
        );
        assert_eq!(of_error(&tls(untrusted), true), Some(Reach::Somebody));
        assert_eq!(of_error(&tls(io::ErrorKind::ConnectionReset.into()), true), Some(Reach::Nobody));
        assert_eq!(of_error(&AskError::Late(Duration::from_secs(30)), true), Some(Reach::Nobody));
        assert_eq!(of_error(&AskError::TooLong(9), true), Some(Reach::Host));
        assert_eq!(of_error(&AskError::TooLong(9), false), Some(Reach::Somebody));
        assert_eq!(of_error(&AskError::Unreachable(WireError::Spent), false), None);
        assert_eq!(of_error(&AskError::Url, false), None);
        assert!(is_proved("HTTPS://x") && is_proved("https://x") && !is_proved("http://x") && !is_proved("https"));
    }

    #[test]
    fn what_was_not_asked_changes_nothing_and_a_refusal_counts_as_reached() {
        let (mut contact, now, second) = (Contact::default(), Instant::now(), Duration::from_secs(1));
        contact.note(None, now);
        assert_eq!(contact, Contact::default());
        contact.note(Some(Reach::Host), now);
        contact.note(None, now + second);
        assert_eq!(contact, Contact { at: Some(now), last: Some(Reach::Host) });
        contact.note(Some(Reach::Nobody), now + second);
        assert_eq!(contact, Contact { at: Some(now), last: Some(Reach::Nobody) });
    }
}
