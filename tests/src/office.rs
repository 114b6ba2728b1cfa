//! Whoever runs the cloud side: makes a key and signs notices with the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::agent::binary;

/// Where notices are signed: a folder with a key.
#[derive(Debug)]
pub struct Office {
    folder: tempfile::TempDir,
    /// What gateways pin.
    pub key: String,
}

impl Office {
    /// With a new key of this id.
    #[track_caller]
    pub fn new(kid: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("ops.key");
        let output = run(&["notice", "keygen", "--kid", kid, "--out", text(&out)]);
        let said = String::from_utf8(output.stdout).expect("text");
        let key = said.split('"').nth(1).expect("a key in quotes").to_owned();
        assert!(output.status.success() && key.starts_with(&format!("{kid}:")), "{said}");
        Self { folder, key }
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs what stands in `toml`, and says where the envelope is.
    #[track_caller]
    pub fn sign(&self, name: &str, toml: &str) -> PathBuf {
        std::fs::write(self.path(&format!("{name}.toml")), toml).expect("written");
        let output =
            run(&["notice", "sign", "--key", text(&self.path("ops.key")), text(&self.path(&format!("{name}.toml")))]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.path(&format!("{name}.notice"))
    }

    /// A notice from which nothing follows.
    #[track_caller]
    pub fn information(&self, id: &str) -> PathBuf {
        self.sign(id, &format!("id = \"{id}\"\nkind = \"information\"\nwhy = \"hello\"\n"))
    }
}

/// A path as text.
///
/// # Panics
/// If it is none.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Runs the binary to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary starts")
}
