//! The real binary, run as a user runs it.
//!
//! It is the `tidegate` beside this test in the target folder (`tests/run` builds it), or what `TIDEGATE_BIN` names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::flux::Flux;
use crate::metadata::Metadata;
use crate::statuspage::StatusPage;
use crate::{ports, tools, wait};

/// Lines of its log that a failed test shows.
const LOG_TAIL: usize = 60;

/// Where the binary is.
#[track_caller]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "TIDEGATE_BIN names {}, which is not there", path.display());
        return path;
    }
    built_here()
}

/// The binary for this machine that was built with these tests, whatever `TIDEGATE_BIN` says.
#[track_caller]
pub fn built_here() -> PathBuf {
    let me = std::env::current_exe().expect("this program's own path");
    let folder = me.parent().expect("a program is in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    let path = folder.join("tidegate");
    let profile = if folder.ends_with("release") { " --release" } else { "" };
    assert!(path.is_file(), "{} is not there: cargo build -p tidegate{profile}", path.display());
    path
}

/// A configuration, section by section.
#[derive(Debug)]
pub struct Setup {
    folder: tempfile::TempDir,
    port: u16,
    sections: BTreeMap<String, BTreeMap<String, String>>,
    rules: Vec<String>,
    fields: Vec<String>,
    lanes: Vec<String>,
    answers: Vec<String>,
    within: Vec<String>,
    binary: Option<PathBuf>,
}

impl Setup {
    /// A listener on a free port, one rule (`devices/{device}/telemetry` into `normal`), a store in a temporary
    /// folder, a control socket; batches close after 100 ms and failed attempts are repeated within half a second,
    /// because a test has no time for the 270 s and 5 min that suit the field. Whether the clock is right is not asked of
    /// the machine ([`Setup::synchronise`]), and the store leaves nothing free, so that a test does not depend on how full
    /// the machine's disk is. Without a Flux.
    #[must_use]
    pub fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = ports::free_port();
        let mut setup = Self {
            folder,
            port,
            sections: BTreeMap::new(),
            rules: Vec::new(),
            fields: Vec::new(),
            lanes: Vec::new(),
            answers: Vec::new(),
            within: Vec::new(),
            binary: None,
        };
        setup.set("gateway", "id", "\"gw-test\"");
        setup.set("collect.listener", "bind", &format!("\"127.0.0.1:{port}\""));
        setup.rule("topic = \"devices/{device}/telemetry\"\nlane = \"normal\"");
        let (store, socket) = (setup.folder().join("store"), setup.folder().join("control.sock"));
        setup.set("store", "path", &quoted(&store));
        setup.set("control", "socket", &quoted(&socket));
        setup.set("store", "keep_free", "\"0B\"").set("store", "keep_free_inodes", "0");
        let marker = setup.marker();
        setup.set("clock", "synchronised_marker", &quoted(&marker)).set("clock", "timedated", "false");
        // A test has no time for a pace that makes 10,000 requests last a month.
        setup.set("limits", "events_per_month", "\"unlimited\"");
        // No test asks SORACOM's own service.
        setup.set("provider.metadata", "enabled", "false");
        // Nor to come back as slowly as a fleet should.
        setup.set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
        setup.set("forward.flux.batch", "max_age", "\"100ms\"");
        setup.set("forward.backoff", "min", "\"50ms\"");
        setup.set("forward.backoff", "max", "\"500ms\"");
        setup
    }

    /// The same, forwarding to a webhook of this Flux.
    #[must_use]
    pub fn webhook(flux: &Flux) -> Self {
        let mut setup = Self::bare();
        setup.set("forward.flux", "kind", "\"webhook\"");
        setup.set("forward.flux", "url", &format!("\"{}\"", flux.webhook_url()));
        setup
    }

    /// Sets a key; `value` is TOML.
    pub fn set(&mut self, section: &str, key: &str, value: &str) -> &mut Self {
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// Has it ask this metadata service, every minute: the soonest that is allowed. A reload makes it ask at once.
    pub fn metadata(&mut self, service: &Metadata) -> &mut Self {
        self.without("provider.metadata");
        self.set("provider.metadata", "url", &format!("\"{}\"", service.url())).set(
            "provider.metadata",
            "every",
            "\"60s\"",
        )
    }

    /// Has it ask this status page. A reload makes it ask at once.
    pub fn status_page(&mut self, page: &StatusPage) -> &mut Self {
        self.set("provider.statuspage", "url", &format!("\"{}\"", page.url()))
    }

    /// Puts the store elsewhere than in the temporary folder.
    pub fn store_at(&mut self, path: &Path) -> &mut Self {
        self.set("store", "path", &quoted(path))
    }

    /// Starts the agent as an argument of this command, which must become it (`exec`), so that it keeps its process id.
    pub fn within(&mut self, command: &[&str]) -> &mut Self {
        self.within = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Runs this binary from the next start on, instead of [`binary`].
    pub fn run_by(&mut self, binary: PathBuf) -> &mut Self {
        self.binary = Some(binary);
        self
    }

    fn binary(&self) -> PathBuf {
        self.binary.clone().unwrap_or_else(binary)
    }

    /// Takes a section away.
    pub fn without(&mut self, section: &str) -> &mut Self {
        self.sections.remove(section);
        self
    }

    /// Adds a `[[collect.rule]]`.
    pub fn rule(&mut self, lines: &str) -> &mut Self {
        self.rules.push(lines.to_owned());
        self
    }

    /// Adds a `[[collect.fields]]`.
    pub fn fields(&mut self, lines: &str) -> &mut Self {
        self.fields.push(lines.to_owned());
        self
    }

    /// Takes every `[[collect.fields]]` away.
    pub fn without_fields(&mut self) -> &mut Self {
        self.fields.clear();
        self
    }

    /// Adds a `[[lane]]`; with the first of them the default lanes are gone.
    pub fn lane(&mut self, lines: &str) -> &mut Self {
        self.lanes.push(lines.to_owned());
        self
    }

    /// Adds a `[[provider.rule]]`.
    pub fn answer_rule(&mut self, lines: &str) -> &mut Self {
        self.answers.push(lines.to_owned());
        self
    }

    /// Takes all lanes and rules away.
    pub fn without_lanes_and_rules(&mut self) -> &mut Self {
        self.lanes.clear();
        self.rules.clear();
        self
    }

    /// The time service of this test's gateway says that the clock is right.
    pub fn synchronise(&self) {
        std::fs::write(self.marker(), "").expect("a marker in the temporary folder");
    }

    fn marker(&self) -> PathBuf {
        self.folder().join("synchronised")
    }

    /// The temporary folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the listener is told to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The configuration's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (section, keys) in &self.sections {
            let _ = writeln!(text, "[{section}]");
            for (key, value) in keys {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        for lane in &self.lanes {
            let _ = writeln!(text, "[[lane]]\n{lane}");
        }
        for rule in &self.answers {
            let _ = writeln!(text, "[[provider.rule]]\n{rule}");
        }
        for rule in &self.rules {
            let _ = writeln!(text, "[[collect.rule]]\n{rule}");
        }
        for rule in &self.fields {
            let _ = writeln!(text, "[[collect.fields]]\n{rule}");
        }
        text
    }

    /// Writes the configuration and says where it is.
    #[must_use]
    pub fn write(&self) -> PathBuf {
        let path = self.folder().join("tidegate.toml");
        std::fs::write(&path, self.text()).expect("a configuration in the temporary folder");
        path
    }

    /// Writes the configuration, starts the agent and waits for nothing.
    #[track_caller]
    pub fn spawn(self) -> Agent {
        let mut agent = Agent::new(self);
        agent.spawn();
        agent
    }

    /// Writes the configuration, starts the agent and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Agent {
        let mut agent = Agent::new(self);
        agent.start();
        agent
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// An agent, running or not, with its configuration and its store.
#[derive(Debug)]
pub struct Agent {
    /// Its configuration; changes take effect with the next start or reload.
    pub setup: Setup,
    child: Option<Child>,
}

impl Agent {
    /// One that is not started yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup, child: None }
    }

    /// Starts it and waits until its status says that its store is open and its intakes are up.
    #[track_caller]
    pub fn start(&mut self) {
        self.spawn();
        wait::until("the agent's status says that its store is open", wait::BOUND, || {
            self.assert_running();
            self.try_status().is_some_and(|status| status["epoch"].as_str().is_some_and(|epoch| !epoch.is_empty()))
        });
    }

    /// Writes the configuration, starts it and waits for nothing.
    #[track_caller]
    pub fn spawn(&mut self) {
        let _ = self.setup.write();
        self.spawn_as_written();
    }

    /// Starts it with the configuration file as it stands, and waits for nothing.
    #[track_caller]
    pub fn spawn_as_written(&mut self) {
        assert!(self.child.is_none(), "the agent runs already");
        let config = self.setup.folder().join("tidegate.toml");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log in the temporary folder");
        let mut words = self.setup.within.iter().map(Into::into).chain([self.setup.binary().into_os_string()]);
        let child = Command::new(words.next().expect("the binary at least"))
            .args(words)
            .args(["run", "--config"])
            .arg(&config)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.child = Some(child);
    }

    /// Where devices connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.setup.address()
    }

    /// Its process id.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent runs").id()
    }

    /// Fails if it has ended by itself.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let child = self.child.as_mut().expect("the agent was started");
        if let Some(status) = child.try_wait().expect("a child of this process") {
            panic!("the agent ended by itself with {status}");
        }
    }

    /// Kills it as a power cut would: it has no chance to do anything more.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // SIGKILL
            let _ = child.wait();
        }
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the agent runs");
        tools::signal(&child, Signal::TERM);
        let status = tools::wait_for_end(&mut child, "the agent", wait::BOUND);
        let _ = self.child.take();
        status
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the agent runs");
        tools::wait_for_end(&mut child, "the agent", wait::BOUND)
    }

    /// Writes the configuration as it is now and asks it to read it again (SIGHUP).
    pub fn reload(&self) {
        let _ = self.setup.write();
        self.signal_reload();
    }

    /// Asks it to read again what is written.
    pub fn signal_reload(&self) {
        if let Some(child) = &self.child {
            tools::signal(child, Signal::HUP);
        }
    }

    /// Runs a subcommand against the same configuration, to its end.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Output {
        let config = self.setup.folder().join("tidegate.toml");
        Command::new(self.setup.binary())
            .args(arguments)
            .arg("--config")
            .arg(config)
            .output()
            .expect("the binary starts")
    }

    /// What `status --json` says.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.try_status().expect("the agent answers `status --json`")
    }

    /// The same from an agent that may be down.
    pub fn try_status(&self) -> Option<Value> {
        let output = self.command(&["status", "--json"]);
        if output.status.success() { serde_json::from_slice(&output.stdout).ok() } else { None }
    }

    /// A number in the status, by JSON pointer.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        let status = self.status();
        let value = status.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("status has no number at {pointer}: {status:#}"))
    }

    /// Records that wait to be delivered.
    #[track_caller]
    pub fn waiting(&self) -> u64 {
        self.number("/counts/waiting")
    }

    /// Records evicted before they were delivered, since the store was created.
    #[track_caller]
    pub fn evicted(&self) -> u64 {
        self.number("/counts/evicted")
    }

    /// Publishes refused since the store was created.
    #[track_caller]
    pub fn refused(&self) -> u64 {
        self.number("/counts/refused")
    }

    /// Records put aside since the store was created.
    #[track_caller]
    pub fn put_aside(&self) -> u64 {
        self.number("/counts/put_aside")
    }

    /// Why the store cannot write now, if it cannot.
    #[track_caller]
    pub fn stalled(&self) -> Option<String> {
        self.status().pointer("/store/stalled").and_then(Value::as_str).map(str::to_owned)
    }

    /// The design's word for what Flux said last.
    #[track_caller]
    pub fn verdict(&self) -> String {
        self.status().pointer("/verdict/word").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Waits until the verdict is this.
    #[track_caller]
    pub fn wait_for_verdict(&self, word: &str) {
        let stands = || self.status()["verdict"].clone();
        wait::until_or_tell(&format!("the verdict is {word}"), wait::BOUND, || self.verdict() == word, stands);
    }

    /// Everything it has logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until its log holds `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str, bound: Duration) {
        wait::until(&format!("the agent logs {text:?}"), bound, || self.log().contains(text));
    }

    /// A figure in KiB from `/proc/PID/status`, such as `VmRSS` or `VmHWM`.
    #[track_caller]
    pub fn memory_kib(&self, field: &str) -> u64 {
        crate::bench::proc_status_kib(self.pid(), field).unwrap_or_else(|| panic!("no {field} of the agent"))
    }

    fn log_path(&self) -> PathBuf {
        self.setup.folder().join("agent.log")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- the agent's configuration ---\n{}", self.setup.text());
            eprintln!("--- the agent's last {} lines ---\n{}", tail.len(), tail.join("\n"));
        }
    }
}
