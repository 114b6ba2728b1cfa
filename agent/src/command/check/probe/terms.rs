//! Whether the terms file that the configuration names can be used: without it the contract's limits are not in force.

use std::io;
use std::path::Path;

use tidegate::code::Code;
use tidegate::config::terms::load;
use tidegate::config::{Config, first_of_lines};
use tidegate::language::{IntoValue as _, Message, Value};
use tidegate::message;
use tidegate::regular;
use tidegate::watch::Status;

use super::runner::Runner;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// Looks at it, if there is one. What the service's user may not read, or does not see, is `permissions`' to say; what the
/// service that runs says of it counts for more than what can be seen from here.
pub(in crate::command) fn look(config: &Config, runner: &Runner, service: Option<&Status>, tell: Tell<'_>) {
    let Some(path) = &config.provider.terms else { return };
    let what = || Id::Terms.of(message!("terms file {path}", path = path.display()));
    if let Some(error) = service.and_then(|status| refused(status, path)) {
        return tell(Finding::bad(
            what(),
            message!("the service cannot use it: {error}", error = error),
            Code::TermsFile,
            message!("correct it, or what the line on the file says; then: systemctl reload tidegate"),
        ));
    }
    let read = runner.act(|| regular::open(path).map(|_| ()).map_err(|error| error.kind()));
    let denied = matches!(read, Some(Err(io::ErrorKind::PermissionDenied)));
    if denied || path.exists() && runner.hides(path).is_some() {
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

/// Why the service cannot use this file as it is now, if it says so. Of a file that it was to read before a change of the
/// configuration it says nothing about this one.
fn refused(status: &Status, path: &Path) -> Option<Value> {
    let file = status.terms.file.as_ref().filter(|file| Path::new(&file.path) == path)?;
    let english = file.error.as_deref()?;
    let lines: Vec<Value> = file.error_lines.iter().cloned().map(Message::into_value).collect();
    Some(first_of_lines(&lines).unwrap_or_else(|| english.into_value()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;
    use crate::command::check::probe::sandbox::tests::sandbox;
    use crate::command::check::probe::unit::Unit;
    use tidegate::watch::{TermsFileStatus, TermsStatus};

    #[test]
    fn what_the_service_says_of_the_file_counts_and_what_it_does_not_see_is_not_said_to_be_good() {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let path = folder.path().join("terms.toml").display().to_string();
        std::fs::write(&path, "[limits]\nrate = \"64 kbit/s\"\n").expect("a file");
        let text =
            format!("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"unified\"\n[provider]\nterms = \"{path}\"\n");
        let config = tidegate::config::parse(&text, "test").expect("a configuration");
        let says = |path: &str, error: Option<&str>| {
            let file =
                TermsFileStatus { path: path.into(), error: error.map(Into::into), ..TermsFileStatus::default() };
            let terms = TermsStatus { file: Some(file), ..TermsStatus::default() };
            Status { terms, ..Status::default() }
        };
        let found = |sandboxed: bool, service: Option<&Status>| {
            let runner = Runner::find(&Unit::NoSystemd, None).within(sandbox("").filter(|_| sandboxed));
            let mut all = Vec::new();
            look(&config, &runner, service, &mut |finding| all.push((finding.result, finding.code)));
            all
        };
        assert_eq!(found(false, None), [(Outcome::Good, None)]);
        assert_eq!(found(true, None), [], "the line on the file says it");
        assert_eq!(found(false, Some(&says(&path, None))), [(Outcome::Good, None)]);
        assert_eq!(found(false, Some(&says("/before", Some("gone")))), [(Outcome::Good, None)]);
        let refused = says(&path, Some("cannot read"));
        for sandboxed in [false, true] {
            assert_eq!(found(sandboxed, Some(&refused)), [(Outcome::Bad, Some(Code::TermsFile))]);
        }
    }
}
