//! Whether the terms file that the configuration names can be used: without it the contract's limits are not in force.

use std::io;

use tidegate::config::Config;
use tidegate::config::terms::load;
use tidegate::message;
use tidegate::regular;

use super::runner::Runner;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// Looks at it, if there is one. What the service's user may not read is `permissions`' to say.
pub(in crate::command) fn look(config: &Config, runner: &Runner, tell: Tell<'_>) {
    let Some(path) = &config.provider.terms else { return };
    let what = || Id::Terms.of(message!("terms file {path}", path = path.display()));
    let read = runner.act(|| regular::open(path).map(|_| ()).map_err(|error| error.kind()));
    if matches!(read, Some(Err(io::ErrorKind::PermissionDenied))) {
        return;
    }
    match load(path) {
        Ok(_) => tell(Finding::good(what(), message!("its limits can be used"))),
        Err(error) => {
            for (found, advice) in error.faults() {
                let said = message!("not in force: {found}", found = found);
                let next = message!("correct it: {advice}", advice = advice);
                tell(Finding::bad(what(), said, error.code(), next));
            }
        }
    }
}
