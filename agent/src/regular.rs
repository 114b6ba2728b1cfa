//! Opening a regular file, and nothing else.
//!
//! What the agent reads on its own at a start may stand in a folder into which others write, or on a medium that was repaired: a FIFO
//! in a file's place would be waited for until somebody writes to it, and opening a device has effects. So the kind is asked for first;
//! and as what stands there may change between the question and the opening, that does not wait either (`O_NONBLOCK`, open(2), which
//! means nothing to regular files), and the kind is asked for again.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use crate::message;

/// Opens the regular file at `path` for reading; links are followed.
///
/// # Errors
/// As the system says; [`io::ErrorKind::InvalidInput`] if something else stands there, a folder included.
pub fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(other());
    }
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| rustix::fs::open(path, how, Mode::empty()))?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(other()) }
}

/// That something else than a regular file is there.
fn other() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message!("it is not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "x").expect("a file");
        std::os::unix::fs::symlink(path("file"), path("link")).expect("a link");
        let made = std::process::Command::new("mkfifo").arg(path("fifo")).status().expect("coreutils are there");
        assert!(made.success());
        for good in ["file", "link"] {
            let mut text = String::new();
            open(&path(good)).expect("regular").read_to_string(&mut text).expect("text");
            assert_eq!(text, "x");
        }
        for wrong in [path("fifo"), folder.path().into(), "/dev/null".into()] {
            let error = open(&wrong).expect_err("no regular file");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", wrong.display());
        }
        assert_eq!(open(&path("none")).expect_err("nothing").kind(), io::ErrorKind::NotFound);
    }
}
