//! A Mosquitto of its own for each test, on a free loopback port, with persistence.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Mosquitto {
    child: Option<Child>,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts one; `extra` are further lines of its configuration, in which `{folder}` is its folder.
    pub(crate) fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::start_in(folder, extra)
    }

    pub(crate) fn start_in(folder: tempfile::TempDir, extra: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let path = folder.path().display();
        let extra = extra.replace("{folder}", &path.to_string());
        // As root it would become the user `mosquitto`, who may not write here.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let config = format!(
            "{user}listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {path}/\nlog_dest file {path}/log\n{extra}\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).expect("its configuration can be written");
        let mut broker = Self { child: None, port, folder };
        broker.run();
        broker
    }

    /// Starts it (again) on the same port and folder, and waits until it listens.
    pub(crate) fn run(&mut self) {
        let child = Command::new(program())
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto can be started");
        self.child = Some(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let exited = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(exited.is_none(), "mosquitto ended at once ({exited:?}):\n{}", log());
            assert!(begun.elapsed() < Duration::from_secs(20), "mosquitto does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as its service manager would; it writes down what it holds.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be told to end");
            child.wait().expect("it ends");
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&places).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    places
        .map(|place| place.join("mosquitto"))
        .find(|path| Path::new(path).exists())
        .expect("this test needs the Debian package `mosquitto`: apt-get install mosquitto")
}
