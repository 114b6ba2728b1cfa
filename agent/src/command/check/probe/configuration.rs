//! The configuration file: whether it can be used, and what in it is probably not meant.

use std::io;
use std::path::Path;

use tidegate::chain;
use tidegate::code::Code;
use tidegate::config::{self, Config, Errors, LoadError, Problem, STANDARD_INPUT};
use tidegate::language::Message;
use tidegate::message;

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};
use crate::command::check::probe::kept::Instead;

/// What came of reading it.
#[derive(Debug)]
pub(in crate::command) enum Read {
    /// It can be used; with its text, if it is a file's.
    Config(Box<Config>, Option<String>),
    /// It cannot.
    Wrong(LoadError),
    /// This user may not read it, or a file that it names: whether it can be used is not known.
    NotPermitted,
}

/// What keeps this user from seeing something.
pub(super) fn denied() -> String {
    io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error()).to_string()
}

pub(super) fn sudo() -> Message {
    message!("run it again with sudo")
}

fn what() -> Subject {
    Id::Configuration.of(message!("configuration"))
}

fn load(path: &Path) -> Result<(Config, Option<String>), LoadError> {
    if path == Path::new("-") {
        return Ok((config::load_from(io::stdin().lock(), STANDARD_INPUT)?, None));
    }
    let text = config::text(path)?;
    Ok((config::parse(&text, &path.display().to_string())?, Some(text)))
}

/// What is probably not meant so.
pub(in crate::command) fn warned(warning: &Problem) -> Finding {
    Finding::attention(
        what(),
        message!("usable; {found}", found = warning.place_and_found()),
        warning.code,
        message!("look at it: {advice}", advice = &warning.advice),
    )
}

/// Reads it; `-` is standard input. What cannot be used is for [`refused`] to tell.
pub(in crate::command) fn look(path: &Path, tell: Tell<'_>) -> Read {
    match load(path) {
        Ok((config, text)) => {
            if config.warnings.is_empty() {
                tell(Finding::good(what(), message!("no mistakes")));
            }
            config.warnings.iter().for_each(|warning| tell(warned(warning)));
            Read::Config(Box::new(config), text)
        }
        Err(LoadError::Unreadable { path, source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let said = message!("this user may not read {path}", path = path);
            tell(Finding::unknown(what(), said, Some(sudo())));
            Read::NotPermitted
        }
        Err(LoadError::Wrong(errors))
            if errors.problems.iter().all(|one| one.found.to_string().contains(&denied())) =>
        {
            mistakes(&errors, tell);
            Read::NotPermitted
        }
        Err(error) => Read::Wrong(error),
    }
}

/// Tells what is wrong with the file. `instead`: what the service would start with; `runs`: an agent runs with it. A gateway
/// that has run before is not sent to where gateways begin.
pub(in crate::command) fn refused(error: &LoadError, instead: Option<&Instead>, runs: bool, tell: Tell<'_>) {
    let put_back = instead.and_then(Instead::put_back);
    let hidden = instead.is_some_and(Instead::is_hidden);
    let ran = runs || instead.is_some_and(Instead::was_there);
    let copy = || message!("restore your copy of the file; without one answer anew: sudo tidegate setup");
    let restore = |command: &str| message!("put back what worked last: {command}", command = command);
    match (error, &put_back) {
        (LoadError::Wrong(errors), _) => mistakes(errors, tell),
        (LoadError::NotConfigured { .. }, Some(command)) => {
            let said = message!("the file holds comments only, and this gateway was configured before");
            tell(Finding::bad(what(), said, Code::ConfigKept, restore(command)));
        }
        (LoadError::NotConfigured { .. }, None) if hidden => {
            let said =
                message!("the file holds comments only; what worked last may be kept, and this user may not see it");
            tell(Finding::bad(what(), said, Code::ConfigKept, sudo()));
        }
        (LoadError::NotConfigured { .. }, None) if ran => {
            let said = message!("the file holds comments only, and this gateway was configured before");
            tell(Finding::bad(what(), said, Code::ConfigUnreadable, copy()));
        }
        (LoadError::NotConfigured { .. }, None) => {
            let said = message!("it is not configured yet: the file holds comments only");
            tell(Finding::bad(what(), said, Code::NotConfigured, message!("run setup: sudo tidegate setup")));
        }
        (_, command) => {
            let cause = chain::said(error);
            let said = message!("it cannot be read: {error}", error = cause);
            let next = match command {
                Some(command) => restore(command),
                None if hidden => sudo(),
                None if ran => copy(),
                None => message!("run `tidegate setup`, or begin with `tidegate config default`"),
            };
            tell(Finding::bad(what(), said, error.code(), next));
        }
    }
}

fn mistakes(errors: &Errors, tell: Tell<'_>) {
    let denied = denied();
    for problem in &errors.problems {
        let said = problem.place_and_found();
        if problem.found.to_string().contains(&denied) {
            tell(Finding::unknown(what(), said, Some(sudo())));
        } else {
            let next = message!("correct it: {advice}", advice = &problem.advice);
            tell(Finding::bad(what(), said, problem.code, next));
        }
    }
}
