//! Secrets that belong to root and are handed over by the service manager.
//!
//! `tidegate.service` loads the folder [`FOLDER`] with `LoadCredential=` (systemd.exec(5)): for each file in it, the agent
//! gets one of its own in the folder that `CREDENTIALS_DIRECTORY` names, called by the credential's id, `_` and the file's
//! path below the folder with `_` for `/`. The configuration names the file as a person sees it; where the agent may not
//! read that, it reads what was handed over. So the same line is right for root, who checks, and for the service.
//!
//! What was handed over is what stood in the file at the start. A file that was changed since needs a restart, and that is
//! said; a file that the agent's own user may read is read itself, and needs none.

use std::path::{Component, Path, PathBuf};

use crate::regular;

/// The folder that the unit hands over.
pub const FOLDER: &str = "/etc/tidegate/secrets";

/// The id that the unit gives it.
const ID: &str = "secrets";

/// What stands in for a file that this process may not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handed {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The file was changed since.
    pub(super) stale: bool,
}

/// What the service manager has handed over for `path`, as this process's environment says.
pub(super) fn handed(path: &Path) -> Option<Handed> {
    let folder = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    below(path, Path::new(FOLDER), &folder)
}

/// Whether a file that this process may not read, and that was not handed over, will be by the next start: the service manager hands the
/// folder's files over to it, and this one came later.
pub(super) fn comes_with_a_start(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some() && is_handed_over(path, Path::new(FOLDER))
}

fn is_handed_over(path: &Path, loaded: &Path) -> bool {
    name(path, loaded).is_some() && std::fs::metadata(path).is_ok_and(|about| about.is_file())
}

/// What was handed over, for what is below `loaded` and was handed over in `folder`. `None` if the file itself can be read, or if there
/// is nothing that would stand in for it.
fn below(path: &Path, loaded: &Path, folder: &Path) -> Option<Handed> {
    let name = name(path, loaded)?;
    if regular::open(path).is_ok() {
        return None;
    }
    let copy = folder.join(name);
    let copied = std::fs::metadata(&copy).ok().filter(std::fs::Metadata::is_file)?;
    let changed = std::fs::metadata(path).and_then(|about| about.modified());
    let stale = changed.is_ok_and(|changed| copied.modified().is_ok_and(|copied| changed > copied));
    Some(Handed { path: copy, stale })
}

/// The credential's name.
fn name(path: &Path, loaded: &Path) -> Option<String> {
    let mut name = ID.to_owned();
    for part in path.strip_prefix(loaded).ok()?.components() {
        let Component::Normal(part) = part else { return None };
        name.push('_');
        name.push_str(part.to_str()?);
    }
    (name != ID).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_below_the_folder_has_the_name_that_systemd_gives_it() {
        let name = |path: &str| name(Path::new(path), Path::new(FOLDER));
        assert_eq!(name("/etc/tidegate/secrets/webhook.url").as_deref(), Some("secrets_webhook.url"));
        assert_eq!(name("/etc/tidegate/secrets/tls/flux.key").as_deref(), Some("secrets_tls_flux.key"));
        assert_eq!(name("/etc/tidegate/webhook.url"), None);
        assert_eq!(name("/etc/tidegate/secrets"), None);
        assert_eq!(name("/etc/tidegate/secrets/../shadow"), None, "nothing from elsewhere");
    }

    #[test]
    fn a_copy_stands_in_only_for_what_cannot_be_read_and_is_stale_once_that_was_changed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (loaded, folder) = (root.path().join("loaded"), root.path().join("handed"));
        for one in [&loaded, &folder] {
            std::fs::create_dir(one).expect("a folder");
        }
        let (path, copy) = (loaded.join("key"), folder.join("secrets_key"));
        let look = || below(&path, &loaded, &folder);
        assert_eq!(look(), None, "neither is there");
        std::fs::write(&copy, "old").expect("a copy");
        let stands_in = |stale| Some(Handed { path: copy.clone(), stale });
        assert_eq!(look(), stands_in(false), "the file is not there (any more)");
        std::fs::write(&path, "new").expect("a file");
        assert_eq!(look(), None, "what can be read is read");
        assert!(is_handed_over(&path, &loaded) && !is_handed_over(&path, &folder), "it will be by a start");
        // Root may read everything, so what it cannot open has to be something else: a loop of links, or a folder's key.
        std::fs::remove_file(&path).expect("the file");
        std::os::unix::fs::symlink(&path, &path).expect("a loop");
        assert_eq!(look(), stands_in(false), "its time cannot be told");
    }
}
