//! Secrets that stand in no file yet: a configuration is judged before anything of it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::credentials::Handed;
use super::exposed::Exposed;
use super::surroundings::{Content, Disk, Fault, Place, SecretFile, Surroundings, Volume};
use crate::secret::Secret;

/// The real disk, but for some secrets.
pub(super) struct Held<'a>(pub(super) &'a BTreeMap<PathBuf, Secret>);

impl Surroundings for Held<'_> {
    fn secret(&self, path: &Path) -> Result<SecretFile, Fault> {
        match self.0.get(path) {
            Some(secret) => Ok(SecretFile { secret: secret.clone(), exposed: None }),
            None => Disk.secret(path),
        }
    }

    fn usable(&self, path: &Path, content: Content) -> Result<Option<Exposed>, Fault> {
        Disk.usable(path, content)
    }

    fn belongs(&self, certificate: &Path, key: &Path) -> Result<(), Fault> {
        Disk.belongs(certificate, key)
    }

    fn volume(&self, path: &Path) -> Option<Volume> {
        Disk.volume(path)
    }

    fn place(&self, path: &Path) -> Place {
        Disk.place(path)
    }

    fn handed(&self, path: &Path) -> Option<Handed> {
        if self.0.contains_key(path) { None } else { Disk.handed(path) }
    }
}
