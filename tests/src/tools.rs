//! Real programs beside Tidegate: Mosquitto and its clients, Eclipse Paho in Python, file systems in a loop device.
//!
//! A tool that is not there fails the test with its name and its Debian package's; nothing is skipped.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};

use crate::{ports, wait};

/// Where the program `name` is; fails the test with what to install if it is not there.
#[track_caller]
pub fn find(name: &str, debian_package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("this test needs {name}: apt-get install {debian_package}"))
}

/// Runs a command to its end; fails with what it printed unless it succeeds.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Sends a signal to a child that is still ours.
pub fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal); // it may have ended meanwhile
    }
}

/// Waits for a child to end.
#[track_caller]
pub fn wait_for_end(child: &mut Child, what: &str, bound: Duration) -> std::process::ExitStatus {
    wait::for_value(&format!("{what} ended"), bound, || child.try_wait().expect("a child of this process"))
}

/// Lets this process and its children open so many files; tests of many connections need it.
pub fn raise_open_files(wanted: u64) {
    let now = rustix::process::getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap_or_else(|error| {
        panic!(
            "this test needs {wanted} open files, the hard limit is {:?}: raise it (ulimit -Hn): {error}",
            now.maximum
        )
    });
}

/// `mosquitto_pub`, ready for more arguments.
#[track_caller]
pub fn mosquitto_pub(address: SocketAddr) -> Command {
    let mut command = Command::new(find("mosquitto_pub", "mosquitto-clients"));
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
    command
}

/// Debian's Python, where the package puts it; `TIDEGATE_TEST_PYTHON` names another.
#[track_caller]
pub fn python() -> PathBuf {
    let python =
        std::env::var_os("TIDEGATE_TEST_PYTHON").map_or_else(|| PathBuf::from("/usr/bin/python3"), PathBuf::from);
    assert!(python.is_file(), "this test needs {}: apt-get install python3", python.display());
    python
}

/// The Paho script `paho_publish.py`, ready for more arguments.
#[track_caller]
pub fn paho_publish(address: SocketAddr) -> Command {
    let python = python();
    let probe = Command::new(&python).args(["-c", "import paho.mqtt.client"]).output();
    assert!(
        probe.is_ok_and(|output| output.status.success()),
        "this test needs Eclipse Paho for {}: apt-get install python3-paho-mqtt",
        python.display()
    );
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("paho_publish.py"));
    command.args(["--port", &address.port().to_string()]);
    command
}

/// A Mosquitto broker on loopback, with a folder of its own.
#[derive(Debug)]
pub struct Mosquitto {
    child: Option<Child>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Mosquitto {
    /// Starts one that lets anyone in and keeps its state over restarts; `extra` are further lines of configuration.
    #[track_caller]
    pub fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = ports::free_port();
        // Root would give its rights up for the user `mosquitto`, who may not write here.
        let text = format!(
            "user root\nper_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence_location {}/\n{extra}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).expect("a configuration for mosquitto");
        let mut broker = Self { child: None, folder, port };
        broker.resume();
        broker
    }

    /// A broker whose sessions and queues outlive a restart.
    #[track_caller]
    pub fn start_persistent() -> Self {
        Self::start("persistence true\nmax_queued_messages 0\n")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops it in order, which writes its state to disk.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::TERM);
            wait_for_end(&mut child, "mosquitto", wait::BOUND);
        }
    }

    /// Starts it again on its port; returns when it listens.
    #[track_caller]
    pub fn resume(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("mosquitto.log")).expect("a log for mosquitto");
        let child = Command::new(find("mosquitto", "mosquitto"))
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto starts");
        self.child = Some(child);
        let address = self.address();
        wait::until("mosquitto listens", wait::BOUND, || TcpStream::connect(address).is_ok());
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("mosquitto.log")).unwrap_or_default();
            eprintln!("--- mosquitto said ---\n{log}");
        }
    }
}

/// A small ext4 file system in a file, mounted through a loop device; root is needed, as in a container for tests.
#[derive(Debug)]
pub struct LoopDisk {
    folder: tempfile::TempDir,
}

impl LoopDisk {
    /// Makes and mounts one of so many MiB.
    #[track_caller]
    pub fn mount(mebibytes: u64) -> Self {
        Self::made(mebibytes, &["-m", "0"], "loop")
    }

    /// Makes and mounts one of which a tenth is kept for the user 4000 as for root, and for whoever has the capability
    /// `CAP_SYS_RESOURCE`: what anybody else frees there goes into that tenth first.
    #[track_caller]
    pub fn mount_with_a_part_kept(mebibytes: u64) -> Self {
        Self::made(mebibytes, &["-m", "10"], "loop,resuid=4000")
    }

    #[track_caller]
    fn made(mebibytes: u64, format: &[&str], options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("image");
        let file = std::fs::File::create(&image).expect("an image file");
        file.set_len(mebibytes << 20).expect("a sparse image");
        run(Command::new(find("mkfs.ext4", "e2fsprogs")).arg("-q").args(format).arg(&image));
        let disk = Self { folder };
        std::fs::create_dir(disk.path()).expect("a mount point");
        run(Command::new(find("mount", "mount")).args(["-o", options]).arg(&image).arg(disk.path()));
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Mounts it again as `ro` or `rw`; nobody may have a file open for writing there.
    #[track_caller]
    pub fn remount(&self, how: &str) {
        let mut command = Command::new(find("mount", "mount"));
        run(command.arg("-o").arg(format!("remount,{how}")).arg(self.path()));
    }

    /// Fills it to the last block with a file of somebody else's.
    #[track_caller]
    pub fn fill(&self) {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .expect("a file on the small disk");
        // Large steps first, then single bytes' worth of blocks, so that nothing is left over.
        for step in [64 * 1024, 4096, 512] {
            let block = vec![0x55_u8; step];
            while file.write_all(&block).and_then(|()| file.sync_data()).is_ok() {}
        }
    }

    /// Fills it to the last block, with the part that is kept, as the user for whom that is.
    #[track_caller]
    pub fn fill_with_the_part_kept(&self) {
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(self.path(), everybody).expect("the mount point's mode");
        std::fs::set_permissions(self.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("the folder's mode");
        for step in ["65536", "4096"] {
            let mut command = Command::new(find("dd", "coreutils"));
            command.arg("if=/dev/zero").arg(format!("of={}", self.filler().display()));
            command.args(["oflag=append", "conv=notrunc,fsync"]).arg(format!("bs={step}"));
            let output = std::os::unix::process::CommandExt::uid(&mut command, 4000).output().expect("dd starts");
            assert!(!output.status.success(), "the disk has no end");
        }
        let about = rustix::fs::statvfs(self.path()).expect("a mounted disk");
        // ext4 has some 2 % besides that nobody gets.
        assert!(about.f_bfree * 20 < about.f_blocks, "{} blocks are left", about.f_bfree);
    }

    /// Whether nothing is left for those who have no right to the part that is kept.
    #[must_use]
    pub fn is_full_for_others(&self) -> bool {
        let about = rustix::fs::statvfs(self.path()).expect("a mounted disk");
        about.f_bavail == 0
    }

    /// Gives the room back.
    #[track_caller]
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // A test that failed may have left files that refuse even their deletion; without them it does nothing.
        let _ = Command::new("chattr").args(["-R", "-i"]).arg(self.path()).stderr(Stdio::null()).status();
        // Lazily: a process of a failed test may still have a file open there.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
