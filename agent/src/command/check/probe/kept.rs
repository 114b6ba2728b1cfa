//! What the service would start with where the configuration file cannot be used: what was kept of it when it last worked.

use std::io;
use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config::kept::{Found, Kept, KeptError, Places};
use tidegate::config::{self, Config, Errors};
use tidegate::message;
use tidegate::store::disk::OsDisk;

use super::configuration::{denied, sudo};
use crate::command::CONFIG;
use crate::command::check::Tell;
use crate::command::check::change::when;
use crate::command::check::finding::{Finding, Id, Subject};

/// What is kept.
#[derive(Debug)]
pub(in crate::command) struct Instead {
    places: Places,
    found: Found,
    /// What it was understood to mean, if something is kept.
    read: Option<Result<Config, Errors>>,
}

impl Instead {
    /// Looks for it.
    pub(in crate::command) fn find(places: Places) -> Self {
        let found = places.find(&OsDisk);
        let read = found.kept.as_ref().map(|(kept, path)| config::parse(&kept.text, &path.display().to_string()));
        Self { places, found, read }
    }

    /// What is kept, and where, whether it can be used or not.
    pub(in crate::command) fn kept(&self) -> Option<(&Kept, &Path)> {
        self.found.kept.as_ref().map(|(kept, path)| (kept, path.as_path()))
    }

    /// The configuration that the service would start with, if it would.
    pub(in crate::command) fn config(&self) -> Option<&Config> {
        self.read.as_ref()?.as_ref().ok()
    }

    /// Whether something may be kept that this user may not read.
    pub(in crate::command) fn is_hidden(&self) -> bool {
        self.found.kept.is_none() && self.found.problems.iter().any(is_denied)
    }

    /// Whether something was kept once, even if it cannot be used.
    pub(in crate::command) fn was_there(&self) -> bool {
        let of_another = |problem: &KeptError| matches!(problem, KeptError::Other { .. });
        self.found.kept.is_some() || !self.found.problems.iter().all(of_another)
    }

    /// How to put what is kept into the place of the file. The folder is named, because the shell empties the file before
    /// Tidegate could read in it where the store is.
    pub(in crate::command) fn put_back(&self) -> Option<String> {
        let file = quoted(self.places.source());
        Some(format!("sudo sh -c '{} > {file}'", self.shown_by()?))
    }

    fn show(&self) -> Option<String> {
        Some(format!("sudo {}", self.shown_by()?))
    }

    /// The command that prints what is kept.
    fn shown_by(&self) -> Option<String> {
        let (_, path) = self.found.kept.as_ref()?;
        let state = quoted(path.parent()?.parent()?);
        let source = self.places.source();
        let config = if source == Path::new(CONFIG) { String::new() } else { format!(" --config {}", quoted(source)) };
        Some(format!("tidegate config kept --state {state}{config}"))
    }

    /// Tells what the service would start with.
    pub(in crate::command) fn tell(&self, tell: Tell<'_>) {
        let what = || Id::KeptConfiguration.of(message!("kept configuration"));
        for problem in &self.found.problems {
            tell(unusable(what(), problem));
        }
        let (Some((kept, path)), Some(read)) = (&self.found.kept, &self.read) else {
            if self.found.problems.is_empty() {
                tell(self.nothing(what()));
            }
            return;
        };
        let (when, path) = (when(kept), path.display());
        tell(match read {
            Ok(_) => Finding::attention(
                what(),
                message!(
                    "started now, Tidegate would run with what worked last, kept {when} in {path}; by that the rest is judged",
                    when = when,
                    path = path
                ),
                Code::ConfigKept,
                message!(
                    "correct the file and reload; see what is kept: {command}",
                    command = self.show().unwrap_or_default()
                ),
            ),
            Err(errors) if errors.problems.iter().all(|problem| problem.found.to_string().contains(&denied())) => {
                let said = message!(
                    "kept {when} in {path}; whether it can be used is not known: {why}",
                    when = when,
                    path = path,
                    why = errors.summary()
                );
                Finding::unknown(what(), said, Some(sudo()))
            }
            Err(errors) => Finding::bad(
                what(),
                message!(
                    "kept {when} in {path}, and it cannot be used either: {why}",
                    when = when,
                    path = path,
                    why = errors.summary()
                ),
                errors.code(),
                message!("correct the file: Tidegate starts with neither"),
            ),
        });
    }

    fn nothing(&self, what: Subject) -> Finding {
        let folders: Vec<String> = self.found.looked.iter().map(|folder| folder.display().to_string()).collect();
        let said = message!("none is kept in {folders}: started now, Tidegate would end", folders = folders.join(", "));
        let next = message!(
            "correct the file; if this gateway ran before, name its state directory or its store's folder: tidegate check --state FOLDER"
        );
        Finding::attention(what, said, Code::ConfigUnreadable, next)
    }
}

fn is_denied(problem: &KeptError) -> bool {
    matches!(problem, KeptError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

/// What was found in a place and cannot be used.
fn unusable(what: Subject, problem: &KeptError) -> Finding {
    let said = message!("not used: {problem}", problem = problem.whole());
    match problem {
        _ if is_denied(problem) => Finding::unknown(what, said, Some(sudo())),
        KeptError::Other { source_path, .. } => {
            let next = message!("if that is the one that is meant: tidegate check --config {file}", file = source_path);
            Finding::unknown(what, said, Some(next))
        }
        _ => Finding::bad(
            what,
            said,
            problem.code(),
            message!("correct the file, or restore your copy of it: Tidegate cannot start with what is kept"),
        ),
    }
}

/// A path as a shell takes it, by itself and within single quotes.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_alphanumeric() || "/._-+@%:,".contains(character);
    if text.chars().all(plain) {
        return text;
    }
    let escaped = text.chars().fold(String::new(), |mut out, character| {
        if "\"$`\\".contains(character) {
            out.push('\\');
        }
        out.push(character);
        out
    });
    format!("\"{}\"", escaped.replace('\'', "'\\''"))
}

/// The folders that the file does not name and that are worth a look: those of agents that run with it, and the one that
/// systemd makes.
pub(in crate::command) fn elsewhere(running: &[super::running::Running], made: Option<PathBuf>) -> Vec<PathBuf> {
    let of = running.iter().flat_map(|one| one.state.clone().into_iter().chain(one.store.clone()));
    of.chain(made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_to_a_shell_whatever_is_in_it() {
        assert_eq!(quoted(Path::new("/var/lib/tidegate")), "/var/lib/tidegate");
        for name in ["a b", "a$HOME", "a\"b", "it's", "a`id`", "a\\b", "日 本", "a;b"] {
            let path = format!("/x/{name}");
            let command = format!("sh -c 'printf %s {}'", quoted(Path::new(&path)));
            let output = std::process::Command::new("sh").args(["-c", &command]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), path, "{command}");
        }
    }
}
