//! Why a command failed, as a person reads it: the code first, then what was tried and why not, then where to read on.
//!
//! Errors say their codes themselves (`code()` beside each type); here they are only found. In Japanese the first line is the
//! code's title where the error itself is said in English only.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use tidegate::chain;
use tidegate::code::Code;
use tidegate::collect::auth::AuthError;
use tidegate::collect::listener::ListenError;
use tidegate::config::kept::KeptError;
use tidegate::config::terms::TermsError;
use tidegate::config::{Errors, LoadError};
use tidegate::first_of;
use tidegate::gateway::{GatewayError, StartError};
use tidegate::language::{IntoValue as _, Language, Message, Value};
use tidegate::message;
use tidegate::store::StoreError;
use tidegate::store::look::LookError;
use tidegate::watch::control::{AskError, ControlError};
use tidegate::watch::log::LogError;
use tidegate_protocol::notice::{Flaw, KeyError, NoticeError, SealError};

use super::demo::DemoError;
use super::notice::FileError;
use super::{FAILED, check};

/// Why a command failed, and the exit code that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// Why.
    pub(crate) error: Box<dyn Error>,
}

/// That what was printed has said why.
#[derive(Debug, thiserror::Error)]
#[error("see above")]
struct Said;

/// Why a command failed, for a person to read in their language.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Coded {
    /// Where more is written about it.
    pub(super) code: Option<Code>,
    /// What was tried, and what to do.
    pub(super) text: Message,
    /// Why not.
    pub(super) source: Option<io::Error>,
}

impl Coded {
    /// What has no cause.
    pub(super) fn new(text: Message, code: Option<Code>) -> Self {
        Self { code, text, source: None }
    }
}

impl Failure {
    /// An exit code that what was printed has explained.
    pub(super) fn said(code: u8) -> Self {
        Self { code, error: Said.into() }
    }

    /// Something that is no error of a room, with its code.
    pub(super) fn coded(exit: u8, code: impl Into<Option<Code>>, text: Message) -> Self {
        Self { code: exit, error: Coded::new(text, code.into()).into() }
    }
}

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: FAILED, error: error.into() }
    }
}

/// The code of one error, without its causes.
fn own_code(error: &(dyn Error + 'static)) -> Option<Code> {
    first_of! { error;
        Coded => |error| error.code,
        StartError => |error| Some(error.code()),
        GatewayError => |error| Some(error.code()),
        check::offline::Refused => |error| Some(error.code()),
        LoadError => |error| Some(error.code()),
        Errors => |error| Some(error.code()),
        KeptError => |error| Some(error.code()),
        TermsError => |error| Some(error.code()),
        ListenError => |error| Some(error.code()),
        AuthError => |error| Some(error.code()),
        StoreError => |error| Some(error.code()),
        LookError => LookError::code,
        AskError => AskError::code,
        ControlError => |error| Some(error.code()),
        LogError => |error| Some(error.code()),
        NoticeError => |error| Some(Code::of_notice(error.code())),
        FileError => |error| Some(error.code()),
        DemoError => DemoError::code,
    }
    .flatten()
}

/// The code of an error or, if it has none, of the first of its causes that has one.
fn code(error: &(dyn Error + 'static)) -> Option<Code> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = own_code(error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

/// What an error says in the reader's language, if it can say it.
fn said(error: &(dyn Error + 'static), language: Language) -> Option<String> {
    if let Some(error) = error.downcast_ref::<LoadError>() {
        return Some(error.text(language));
    }
    if let Some(errors) = error.downcast_ref::<Errors>() {
        return Some(errors.text(language));
    }
    if let Some(error) = error.downcast_ref::<StartError>() {
        return Some(error.text(language));
    }
    if let Some(refused) = error.downcast_ref::<check::offline::Refused>() {
        return Some(refused.text(language));
    }
    if let Some(error) = error.downcast_ref::<TermsError>() {
        return Some(error.text(language));
    }
    words(error).map(|words| words.text(language))
}

/// An error that is a message, or can be said as one.
fn words(error: &(dyn Error + 'static)) -> Option<Value> {
    let own = first_of! { error;
        FileError => |error| error.message().into_value(),
        Coded => |error| error.text.clone().into_value(),
        DemoError => |error| error.message().into_value(),
        // Its cause stands below.
        NoticeError => |error| if let NoticeError::Content(_) = error { error.said().into_value() } else { Message::from(error).into_value() },
        Flaw => |error| Message::from(error).into_value(),
        KeyError => |error| error.said().into_value(),
        SealError => |error| error.said().into_value(),
    };
    own.or_else(|| chain::words(error))
}

/// A failure as it is printed, a line for each thing.
fn told(error: &(dyn Error + 'static), language: Language) -> String {
    // A String takes all.
    let mut out = String::from("tidegate: ");
    let code = code(error);
    if let Some(code) = code {
        let _ = write!(out, "{code}: ");
    }
    match (said(error, language), code) {
        (Some(text), _) => out += &text,
        (None, Some(code)) if language != Language::English => {
            let _ = write!(out, "{}\n{error}", code.title().text(language));
        }
        (None, _) => out += &error.to_string(),
    }
    out.push('\n');
    let because = message!("because").text(language);
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = words(error).map_or_else(|| error.to_string(), |words| words.text(language));
        let _ = writeln!(out, "  {because}: {why}");
        cause = error.source();
    }
    if let Some(code) = code {
        let hint = message!("what to do: tidegate explain {code}", code = code.to_string());
        let _ = writeln!(out, "  {}", hint.text(language));
    }
    out
}

/// Prints a failure with its causes. A standard error that is closed leaves nobody to tell.
pub(crate) fn complain(failure: &Failure, language: Language) {
    if !failure.error.is::<Said>() {
        let _ = io::Write::write_all(&mut io::stderr().lock(), told(&*failure.error, language).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked() -> StoreError {
        StoreError::Locked { path: "/s".into() }
    }

    #[test]
    fn the_code_comes_first_and_the_way_to_its_page_last() {
        let text = told(&locked(), Language::English);
        assert!(text.starts_with("tidegate: TG-302: /s is in use"), "{text}");
        assert!(text.ends_with("\n  what to do: tidegate explain TG-302\n"), "{text}");
        let text = told(&locked(), Language::Japanese);
        assert!(text.starts_with("tidegate: TG-302: /s は別のプロセスが使用中です"), "{text}");
        assert!(text.ends_with("\n  対処: tidegate explain TG-302\n"), "{text}");
    }

    #[test]
    fn what_has_no_code_is_said_as_it_is() {
        let failure = Failure::from("write `*` only at the end");
        assert_eq!(told(&*failure.error, Language::Japanese), "tidegate: write `*` only at the end\n");
    }

    #[test]
    fn an_error_within_an_error_tells_its_own_code() {
        for (error, expected) in [
            (GatewayError::Store(locked()), Code::StoreInUse),
            (GatewayError::Listen(ListenError::NoAddress), Code::ConfigWrong),
            (GatewayError::Ended { room: message!("forward") }, Code::Defect),
            (GatewayError::Process(io::Error::other("no memory")), Code::Process),
        ] {
            assert_eq!(code(&error), Some(expected), "{error}");
        }
        assert_eq!(code(&LookError::Store(locked())), Some(Code::StoreInUse));
        assert_eq!(code(&LookError::Ended), None);
        let version = |found| StoreError::Version { path: "/s".into(), found, known: 1 };
        assert_eq!(version(2).code(), Code::StoreNewer);
        assert_eq!(version(0).code(), Code::StoreUnusable);
    }

    #[test]
    fn what_can_be_said_in_japanese_is() {
        let source = io::Error::other("gone");
        let text = told(&AskError::NotRunning { path: "/run/x".into(), source }, Language::Japanese);
        assert!(text.starts_with("tidegate: TG-601: ") && !text.contains("not running"), "{text}");
    }
}
