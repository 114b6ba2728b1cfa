//! An error with its causes in one line, for logs and for `status`.
//!
//! Errors carry their causes as `#[source]` and never in their own text, so that both can be told apart; whoever shows one
//! to people wants both. Libraries do not all keep to that: what has been said already is not said again.

use std::error::Error;
use std::io;

use crate::collect::auth::AuthError;
use crate::collect::listener::ListenError;
use crate::collect::tls::TlsError;
use crate::collect::{broker, fields, mapping};
use crate::config::LoadError;
use crate::config::kept::KeptError;
use crate::forward;
use crate::gateway::GatewayError;
use crate::language::{IntoValue as _, Message, Value, system};
use crate::message;
use crate::shape::wire::{CannotBind, WireError};
use crate::shown::{MESSAGE, shown};
use crate::store::StoreError;
use crate::store::look::LookError;
use crate::watch::control::{AskError, ControlError};
use crate::watch::log::LogError;
use crate::watch::metrics::MetricsError;

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

/// What an error tells by the first of these types that it is; `None` if it is none of them.
#[macro_export]
macro_rules! first_of {
    ($error:expr; $($type:ty => $told:expr),* $(,)?) => {
        'found: {
            let error: &(dyn ::std::error::Error + 'static) = $error;
            $(if let Some(error) = error.downcast_ref::<$type>() {
                let told: fn(&$type) -> _ = $told;
                break 'found Some(told(error));
            })*
            None
        }
    };
}

/// What one error says, without its causes, where it can be said in another language; what libraries say stands as they say it.
pub fn words(error: &(dyn Error + 'static)) -> Option<Value> {
    first_of! { error;
        Message => |error| error.into_value(),
        WireError => |error| error.message().into_value(),
        CannotBind => |error| error.message().into_value(),
        StoreError => |error| error.message().into_value(),
        LookError => |error| error.message().into_value(),
        AskError => |error| error.message().into_value(),
        LoadError => LoadError::words,
        KeptError => |error| error.message().into_value(),
        GatewayError => |error| error.message().into_value(),
        mapping::RuleError => |error| error.message().into_value(),
        fields::RuleError => |error| error.message().into_value(),
        forward::OptionsError => |error| error.message().into_value(),
        broker::OptionsError => |error| error.message().into_value(),
        ListenError => |error| error.message().into_value(),
        TlsError => |error| error.message().into_value(),
        AuthError => |error| error.message().into_value(),
        ControlError => |error| error.message().into_value(),
        MetricsError => |error| error.message().into_value(),
        LogError => |error| error.message().into_value(),
        io::Error => |error| match error.get_ref() {
            // What was added to it says more, and is one of these or a library's.
            Some(inner) => words(inner).unwrap_or_else(|| as_said(error)),
            None => system::said(error),
        },
    }
}

/// What a library says: it may repeat what came from outside, so it is cut and escaped.
fn as_said(error: &dyn Error) -> Value {
    shown(&error.to_string(), MESSAGE).into_value()
}

/// The error with its causes as [`chain`] has them, for people in their language; what came from outside is cut and escaped.
pub fn said(error: &(dyn Error + 'static)) -> Value {
    let of = |error: &(dyn Error + 'static)| words(error).unwrap_or_else(|| as_said(error));
    let (mut all, mut text) = (of(error), error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.extend([": ", &part]);
            all = message!("{what}: {why}", what = all, why = of(error)).into_value();
        }
        cause = error.source();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("cannot read the page")]
        Read(#[source] io::Error),
        #[error("cannot read it: {0}")]
        Repeats(#[source] io::Error),
    }

    #[test]
    fn an_error_is_said_in_each_language_as_far_as_it_is_ours() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        let error = WireError::Connect { host: "h".into(), port: 443, source: refused };
        assert_eq!(said(&error).to_string(), chain(&error));
        let japanese = said(&error).text(crate::language::Language::Japanese);
        assert!(!japanese.contains("connect") && japanese.contains("(os error 111)"), "{japanese}");
        let late = io::Error::new(io::ErrorKind::TimedOut, message!("the peer"));
        assert_ne!(said(&late).text(crate::language::Language::Japanese), "the peer");
    }

    #[test]
    fn each_cause_is_said_once() {
        let broken = || io::Error::other("the disk is gone");
        assert_eq!(chain(&Failure::Read(broken())), "cannot read the page: the disk is gone");
        assert_eq!(chain(&Failure::Repeats(broken())), "cannot read it: the disk is gone");
        assert_eq!(chain(&broken()), "the disk is gone");
    }
}
