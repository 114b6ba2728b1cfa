//! What systemd is to hand to the service (`LoadCredential=`): where it cannot, it does not start the service at all, and says
//! little of why.
//!
//! # Limits
//! All credentials of a unit together may be 1 MiB at most, and what such a setting names must be there: systemd.exec(5),
//! "Credentials". A folder is read with all that is below it; links that lead nowhere, and what is no file, are passed over.

use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config::units::format_size;
use tidegate::message;

use super::unit::Unit;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};

/// Bytes that systemd hands over at most.
const MOST: u64 = 1024 * 1024;

/// Files and folders that are looked at, at most: a handful is there.
const FILES: usize = 10_000;

/// The folder that the package makes (`tidegate.tmpfiles`).
const MADE: &str = "/etc/tidegate/secrets";

/// Looks at all that the unit names; says nothing where it names nothing.
pub(in crate::command) fn look(unit: &Unit, tell: Tell<'_>) {
    if !unit.is_there() {
        return;
    }
    let sources: Vec<PathBuf> = unit.handed_over().filter(|path| path.is_absolute()).collect();
    for finding in judge(&sources) {
        tell(finding);
    }
}

fn what() -> Subject {
    Id::Credentials.of(message!("secrets that systemd hands over"))
}

fn judge(sources: &[PathBuf]) -> Vec<Finding> {
    if sources.is_empty() {
        return Vec::new();
    }
    let missing: Vec<Finding> = sources.iter().filter(|path| is_missing(path)).map(|path| gone(path)).collect();
    if !missing.is_empty() {
        return missing;
    }
    let mut walk = Walk { left: FILES, ..Walk::default() };
    for source in sources {
        walk.add(source);
    }
    vec![match &walk.largest {
        Some((path, size)) if walk.sum > MOST => Finding::bad(
            what(),
            message!(
                "{sum} in all, the largest {path} with {size}: systemd hands over {most} at most, and does not start the service with more",
                sum = format_size(walk.sum),
                path = path.display(),
                size = format_size(*size),
                most = format_size(MOST)
            ),
            Code::Unit,
            message!("move what is no secret of the service elsewhere: {path}", path = path.display()),
        ),
        _ if walk.denied => Finding::unknown(
            what(),
            message!("this user may not look at all of them"),
            Some(message!("run it again with sudo")),
        ),
        _ => Finding::good(what(), message!("{count} files, {sum}", count = walk.files, sum = format_size(walk.sum))),
    }]
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn gone(path: &Path) -> Finding {
    let said = message!("{path} is not there: systemd does not start the service without it", path = path.display());
    let next = if path == Path::new(MADE) {
        message!(
            "make the folder: systemd-tmpfiles --create tidegate.conf; put the secrets there, then: systemctl restart tidegate"
        )
    } else {
        message!("make it, or take it out of the unit (LoadCredential): {path}", path = path.display())
    };
    Finding::bad(what(), said, Code::Unit, next)
}

/// What is below some paths.
#[derive(Debug, Default)]
struct Walk {
    left: usize,
    files: usize,
    sum: u64,
    largest: Option<(PathBuf, u64)>,
    denied: bool,
}

impl Walk {
    fn add(&mut self, path: &Path) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let about = match std::fs::metadata(path) {
            Ok(about) => about,
            Err(error) => {
                self.denied |= error.kind() == std::io::ErrorKind::PermissionDenied;
                return;
            }
        };
        if about.is_file() {
            let size = about.len();
            self.files += 1;
            self.sum = self.sum.saturating_add(size);
            if self.largest.as_ref().is_none_or(|(_, largest)| *largest < size) {
                self.largest = Some((path.to_path_buf(), size));
            }
        } else if about.is_dir() {
            match std::fs::read_dir(path) {
                Ok(entries) => entries.flatten().for_each(|entry| self.add(&entry.path())),
                Err(error) => self.denied |= error.kind() == std::io::ErrorKind::PermissionDenied,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;

    fn of(load: &str) -> Vec<(Outcome, Option<Code>, String, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.service");
        std::fs::write(&file, load).expect("a file");
        let unit = Unit::of_text(&format!("LoadState=loaded\nFragmentPath={}\n", file.display()));
        let mut all = Vec::new();
        look(&unit, &mut |finding| {
            let next = finding.next.map(|next| next.to_string()).unwrap_or_default();
            all.push((finding.result, finding.code, finding.said.to_string(), next));
        });
        all
    }

    #[test]
    fn a_folder_that_is_gone_is_named_with_what_makes_it_again() {
        let found = of("LoadCredential=secrets:/nonexistent/secrets\n");
        assert_eq!((found.len(), found[0].0, found[0].1), (1, Outcome::Bad, Some(Code::Unit)), "{found:?}");
        assert!(found[0].2.contains("/nonexistent/secrets"), "{found:?}");
        let next = gone(Path::new(MADE)).next.expect("what to do").to_string();
        assert!(next.contains("systemd-tmpfiles --create tidegate.conf"), "{next}");
        assert_eq!(of("LoadCredential=secrets:/nonexistent/a\nLoadCredential=\n"), [], "taken back");
        assert_eq!(of("LoadCredential=key:from-the-credential-store\n"), []);
        assert_eq!(judge(&[]), []);
    }

    #[test]
    fn more_than_systemd_hands_over_is_told_with_the_largest_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let load = format!("LoadCredential=secrets:{}\n", folder.path().display());
        std::fs::create_dir(folder.path().join("below")).expect("a folder");
        std::fs::write(folder.path().join("key"), "k").expect("a file");
        let dangling = folder.path().join("dangling");
        std::os::unix::fs::symlink("/nonexistent/x", dangling).expect("a link");
        let good = of(&load);
        assert_eq!((good.len(), good[0].0), (1, Outcome::Good), "{good:?}");
        let large = folder.path().join("below/large");
        std::fs::write(&large, vec![0; 1024 * 1024]).expect("a file");
        let bad = of(&load);
        assert_eq!((bad[0].0, bad[0].1), (Outcome::Bad, Some(Code::Unit)), "{bad:?}");
        assert!(bad[0].3.contains("below/large"), "{bad:?}");
    }
}
