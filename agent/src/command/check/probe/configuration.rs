//! The configuration file: whether it can be used, and what in it is probably not meant.

use std::io;
use std::path::Path;

use tidegate::chain;
use tidegate::code::Code;
use tidegate::config::{self, Config, LoadError};
use tidegate::message;

use crate::command::check::Tell;
use crate::command::check::finding::Finding;

/// What came of reading it.
#[derive(Debug)]
pub(in crate::command) enum Read {
    /// It can be used.
    Config(Box<Config>),
    /// It cannot.
    Wrong,
    /// This user may not read it, or a file that it names: whether it can be used is not known.
    NotPermitted,
}

/// Reads it; `-` is standard input.
pub(in crate::command) fn look(path: &Path, tell: Tell<'_>) -> Read {
    let loaded = if path == Path::new("-") {
        config::load_from(io::stdin().lock(), "standard input")
    } else {
        config::load(path)
    };
    let what = || message!("configuration");
    let sudo = || message!("run it again with sudo");
    let denied = format!("{}", io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error()));
    match loaded {
        Ok(config) => {
            if config.warnings.is_empty() {
                tell(Finding::good(what(), message!("no mistakes")));
            }
            for warning in &config.warnings {
                tell(Finding::attention(
                    what(),
                    message!(
                        "usable; line {line}: {key}: {found}",
                        line = warning.line,
                        key = &warning.key,
                        found = &warning.found
                    ),
                    Code::ConfigWrong,
                    message!("look at it: {advice}", advice = &warning.advice),
                ));
            }
            Read::Config(Box::new(config))
        }
        Err(LoadError::Unreadable { path, source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let said = message!("this user may not read {path}", path = path);
            tell(Finding::unknown(what(), said, Some(sudo())));
            Read::NotPermitted
        }
        Err(LoadError::Wrong(errors)) => {
            let mut not_permitted = true;
            for problem in &errors.problems {
                let said = message!(
                    "line {line}: {key}: {found}",
                    line = problem.line,
                    key = &problem.key,
                    found = &problem.found
                );
                if problem.found.to_string().contains(&denied) {
                    tell(Finding::unknown(what(), said, Some(sudo())));
                } else {
                    not_permitted = false;
                    let next = message!("correct it: {advice}", advice = &problem.advice);
                    tell(Finding::bad(what(), said, Code::ConfigWrong, next));
                }
            }
            if not_permitted { Read::NotPermitted } else { Read::Wrong }
        }
        Err(LoadError::NotConfigured { .. }) => {
            let said = message!("it is not configured yet: the file holds comments only");
            let next = message!("run setup: sudo tidegate setup");
            tell(Finding::bad(what(), said, Code::NotConfigured, next));
            Read::Wrong
        }
        Err(error) => {
            let said = message!("it cannot be read: {error}", error = chain::said(&error));
            let next = message!("run `tidegate setup`, or begin with `tidegate config default`");
            tell(Finding::bad(what(), said, error.code(), next));
            Read::Wrong
        }
    }
}
