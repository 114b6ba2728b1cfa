//! A gateway that nobody has set up, for `tidegate setup`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::agent::binary;
use crate::flux::Flux;
use crate::ports::free_port;

/// What of the look-alike's webhook must be seen nowhere.
pub const SECRET: &str = "s3cr3tpath";

/// A gateway that is not set up.
#[derive(Debug)]
pub struct Bench {
    /// The Flux that it is to send to.
    pub flux: Flux,
    /// Where its files are.
    pub folder: tempfile::TempDir,
    /// Where devices are to connect.
    pub port: u16,
}

impl Default for Bench {
    /// One without any file.
    fn default() -> Self {
        Self { flux: Flux::start(), folder: tempfile::tempdir().expect("a folder"), port: free_port() }
    }
}

impl Bench {
    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("etc/tidegate.toml")
    }

    /// A secret's file.
    #[must_use]
    pub fn secret(&self, name: &str) -> PathBuf {
        self.folder.path().join("etc/secrets").join(name)
    }

    /// The configuration.
    #[must_use]
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.config()).expect("it was written")
    }

    /// A file that is there: it keeps what a test needs apart from the machine's.
    pub fn existing(&self, more: &str) -> String {
        let root = self.folder.path().display();
        let text = format!(
            "# by hand, 現場\n[store] # the card\npath = \"{root}/store\"\nkeep_free = \"0B\"\nkeep_free_inodes = 0\n\n\
             [control]\nsocket = \"{root}/c.sock\"\n[clock]\ntimedated = false\n[provider.statuspage]\nenabled = false\n\
             [provider.metadata]\nenabled = false\n{more}# end\n"
        );
        std::fs::create_dir_all(self.folder.path().join("etc")).expect("a folder");
        std::fs::write(self.config(), &text).expect("a file");
        text
    }

    /// The command with these arguments, and a secret on its standard input.
    pub fn run(&self, arguments: &[&str], secret: &str) -> Output {
        let mut child = Command::new(binary())
            .arg("setup")
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // It may end without reading it.
        let _ = child.stdin.take().expect("a pipe").write_all(secret.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    /// Where devices are to connect.
    #[must_use]
    pub fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// All that a command said.
#[must_use]
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A file's permission bits.
#[must_use]
pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}
