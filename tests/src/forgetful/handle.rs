//! The test's side: starts the program, tells it what to do, and leaves no mount and no process behind.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};

use super::{Loss, Lost};
use crate::wait;

/// How long the program may take to answer. Nothing it does takes long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// A mounted file system that forgets, served by a process of its own.
///
/// When this is dropped it is unmounted, whatever has files open there. When the test's process dies without dropping
/// anything, the program sees its standard input end, and unmounts.
#[derive(Debug)]
pub struct ForgetfulDisk {
    folder: tempfile::TempDir,
    child: Child,
    orders: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
}

impl ForgetfulDisk {
    /// Starts `program` (`forgetful-fs`, of this package) and waits until it has mounted. What cuts leave, and how long
    /// each sync takes (`sync_takes` at most), follows from `seed`.
    #[track_caller]
    pub fn mount(program: &Path, seed: u64, sync_takes: Duration) -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "this test needs FUSE, and there is no /dev/fuse: modprobe fuse (in a container: --device /dev/fuse)"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path().join("disk");
        std::fs::create_dir(&at).expect("a mount point");
        let mut child = Command::new(program)
            .arg(&at)
            .args([seed.to_string(), sync_takes.as_micros().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a log in the temporary folder"))
            // An interrupt from the terminal must not end it before it has unmounted.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let orders = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let disk = Self { folder, child, orders, answers };
        disk.expect("mounted");
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Cuts the power: everything unsynced is gone, or a part of it. Until [`ForgetfulDisk::remount`] every call
    /// answers EIO. Whoever uses the disk must be killed, before or after.
    #[track_caller]
    pub fn cut(&mut self, loss: Loss) -> Lost {
        self.order(match loss {
            Loss::All => "cut all",
            Loss::Tail => "cut tail",
            Loss::Part => "cut part",
        });
        let rest = self.expect("lost ");
        rest.parse().unwrap_or_else(|error| panic!("forgetful-fs said lost {rest:?}: {error}"))
    }

    /// Mounts what the cut has left.
    #[track_caller]
    pub fn remount(&mut self) {
        self.order("mount");
        self.expect("mounted");
    }

    fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("its input is a pipe");
        writeln!(orders, "{order}").expect("forgetful-fs reads its orders");
    }

    #[track_caller]
    fn expect(&self, word: &str) -> String {
        let answer = self.answers.recv_timeout(ANSWERS_WITHIN);
        match answer.as_deref().map(|answer| answer.strip_prefix(word)) {
            Ok(Some(rest)) => rest.to_owned(),
            _ => panic!(
                "forgetful-fs answered {answer:?} instead of {word:?}; its log: {}",
                std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            ),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ForgetfulDisk {
    fn drop(&mut self) {
        self.orders = None; // it unmounts and ends
        let start = std::time::Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > wait::BOUND {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It has done so itself, unless it was killed.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
