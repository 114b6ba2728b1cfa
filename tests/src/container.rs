//! A fresh Debian, booted with its own systemd, in a container: for what can be known only of an installed package.
//!
//! `tests/package` makes the tree in `target/package/`; each container lays a layer of its own over it, so that tests do
//! not meet. It is booted by `systemd-nspawn` without a machine manager, shares this machine's network (so the package's
//! agent and the test's Flux meet on loopback), and is spoken to through its namespaces (`nsenter`). Needs root.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::{agent, tools, wait};

/// A boot of a small Debian takes three seconds of an idle machine.
const BOOT: Duration = Duration::from_secs(90);

/// What systemd-nspawn ends with when the container wants to be started anew and nobody else does it (`--keep-unit`).
const REBOOT: i32 = 133;

/// Lines of the journal that a failed test shows.
const JOURNAL_TAIL: &str = "60";

/// Containers that this process has started: each has a name of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// What `tests/package` has prepared.
#[track_caller]
fn prepared(name: &str) -> PathBuf {
    let binary = agent::binary();
    let target =
        binary.parent().and_then(Path::parent).expect("a binary is in a profile's folder of the target folder");
    let path = target.join("package").join(name);
    assert!(path.exists(), "{} is not there: run tests/package", path.display());
    path
}

/// A container that runs.
#[derive(Debug)]
pub struct Container {
    folder: tempfile::TempDir,
    binds: Vec<String>,
    nspawn: Option<Child>,
}

impl Container {
    /// Boots one; `binds` are folders of this machine and where they are within.
    #[track_caller]
    pub fn boot(binds: &[(&Path, &str)]) -> Self {
        let tree = prepared("tree");
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["upper", "work", "root"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder in the temporary folder");
        }
        // It is the container's `/`, which its users must be able to enter.
        std::fs::set_permissions(folder.path().join("upper"), std::fs::Permissions::from_mode(0o755))
            .expect("a folder of our own");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let layers = format!("lowerdir={},upperdir={},workdir={}", tree.display(), path("upper"), path("work"));
        let mut mount = Command::new(tools::find("mount", "mount"));
        tools::run(mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(path("root")));
        let binds = binds.iter().map(|(here, within)| format!("--bind={}:{within}", here.display())).collect();
        let mut container = Self { folder, binds, nspawn: None };
        container.start();
        container
    }

    #[track_caller]
    fn start(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("console")).expect("a file in the temporary folder");
        // A test that is killed takes it along.
        let mut command = Command::new(tools::find("setpriv", "util-linux"));
        command.args(["--pdeathsig", "KILL"]).arg(tools::find("systemd-nspawn", "systemd-container"));
        command.args(["--quiet", "--register=no", "--keep-unit", "--boot", "--link-journal=no", "--resolv-conf=off"]);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        command.arg(format!("--machine=tidegate-{}-{number}", std::process::id()));
        command.arg("--directory").arg(self.root());
        command.args(&self.binds);
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a second handle")).stdout(log);
        self.nspawn = Some(command.spawn().expect("systemd-nspawn starts"));
        self.wait_for_boot();
    }

    /// Its `/`, from outside.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The process that is its init.
    fn init(&self) -> Option<u32> {
        let nspawn = self.nspawn.as_ref()?.id();
        let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// A command within it, with an environment as small as a service's.
    fn within(&self, words: &[&str]) -> Option<Command> {
        let mut command = Command::new(tools::find("nsenter", "util-linux"));
        command.args(["--target", &self.init()?.to_string(), "--all", "--root", "--wd=/", "--"]);
        command.args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]);
        command.args(words).stdin(Stdio::null()).current_dir("/");
        Some(command)
    }

    /// Runs a command within it, to its end.
    #[track_caller]
    pub fn try_run(&self, words: &[&str]) -> Output {
        self.within(words).expect("the container runs").output().expect("nsenter starts")
    }

    /// The same; it must succeed. What it printed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?} ended with {}: {said}{complained}", output.status);
        said
    }

    /// A property of the service.
    #[track_caller]
    pub fn property(&self, name: &str) -> String {
        self.run(&["systemctl", "show", "tidegate", "--value", "-p", name]).trim().to_owned()
    }

    /// What the service's journal says.
    #[track_caller]
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "-o", "cat", "-u", "tidegate"])
    }

    /// Waits until the service is up, as systemd sees it, with another main process than `before`; its process id.
    #[track_caller]
    pub fn wait_for_service(&self, before: &str, bound: Duration) -> String {
        wait::for_value("the service is up", bound, || {
            let output = self.try_run(&["systemctl", "show", "tidegate", "-p", "ActiveState", "-p", "MainPID"]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let pid = said.lines().find_map(|line| line.strip_prefix("MainPID="))?.to_owned();
            (said.contains("ActiveState=active\n") && pid != "0" && pid != before).then_some(pid)
        })
    }

    /// Puts one of the packages that `tests/package` has made, or that `TIDEGATE_DEB` names, into it; says where.
    #[track_caller]
    pub fn bring(&self, name: &str) -> String {
        let package = std::env::var_os("TIDEGATE_DEB").filter(|_| name == "old.deb").map(PathBuf::from);
        let package = package.unwrap_or_else(|| prepared(name));
        let place = format!("/root/{name}");
        std::fs::copy(&package, self.root().join("root").join(name)).expect("the package can be copied");
        place
    }

    /// Installs it, as a technician does; what that said.
    #[track_caller]
    pub fn install(&self, name: &str) -> String {
        let place = self.bring(name);
        self.run(&["apt-get", "install", "-y", "--no-install-recommends", &place])
    }

    /// Writes a file within it, with this mode.
    #[track_caller]
    pub fn write(&self, path: &str, mode: u32, text: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("a path of a file")).expect("a folder in the container");
        std::fs::write(&path, text).expect("a file in the container");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a file of our own");
    }

    /// Whether a path is there within it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.try_run(&["test", "-e", path]).status.success()
    }

    #[track_caller]
    fn wait_for_boot(&mut self) {
        wait::until("the container has booted", BOOT, || {
            let nspawn = self.nspawn.as_mut().expect("it was started");
            if let Some(status) = nspawn.try_wait().expect("a child of this process") {
                panic!("systemd-nspawn ended with {status}: {}", self.console());
            }
            self.is_up()
        });
    }

    fn is_up(&self) -> bool {
        let asked = self.within(&["systemctl", "is-system-running"]).and_then(|mut command| command.output().ok());
        asked.is_some_and(|output| ["running\n", "degraded\n"].iter().any(|word| output.stdout == word.as_bytes()))
    }

    /// Boots it anew, in order.
    #[track_caller]
    pub fn reboot(&mut self) {
        // The connection may be cut before the answer.
        let _ = self.try_run(&["systemctl", "reboot"]);
        let mut nspawn = self.nspawn.take().expect("the container runs");
        let status = tools::wait_for_end(&mut nspawn, "the container goes down", BOOT);
        assert_eq!(status.code(), Some(REBOOT), "{}", self.console());
        self.start();
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() && self.init().is_some() {
            let words = ["journalctl", "--no-pager", "-n", JOURNAL_TAIL];
            let journal = self.within(&words).and_then(|mut command| command.output().ok());
            let said = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            eprintln!("--- the container's journal ---\n{said}");
        }
        let init = self.init().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(mut nspawn) = self.nspawn.take() {
            // All of its processes go with their init, which does not go with what started it.
            if let Some(init) = init {
                let _ = rustix::process::kill_process(init, Signal::KILL);
            }
            let _ = nspawn.kill();
            let _ = nspawn.wait();
        }
        let _ = Command::new("umount").arg("-l").arg(self.root()).status();
    }
}
