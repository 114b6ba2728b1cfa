//! What a Mosquitto on this machine was told to keep for a client that is away: its limits cannot be asked over MQTT, so they are
//! read where it reads them.
//!
//! # Constraints
//! - A file is judged only if it is known to be that broker's: the process that has the port says on its command line which it reads. Where
//!   another user's process cannot be looked into, the service `mosquitto` on the registered port is taken for it; anything else is a
//!   guess, and said as one ([`Limits::Perhaps`]).
//! - A file that was changed after the broker had started tells nothing of what is in force.
//!
//! # Format
//! mosquitto.conf(5): a setting a line, its name, blanks, its value; the last of several counts. `include_dir` brings in the files of a folder
//! that end in `.conf`, in the order of their names, and is heeded in the main file only. `/proc/<pid>/cmdline`: arguments with a NUL byte
//! behind each; `/proc/<pid>/stat`: behind the name in brackets, field 22 is the time of the start in ticks since boot (`proc_pid_stat(5)`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tidegate::processes;

use super::sockets::{self, Holder};

/// The program's name.
const NAME: &str = "mosquitto";

/// The port that IANA has registered for MQTT, on which the package's service listens.
const PORT: u16 = 1883;

/// Files that are read at most.
const FILES: usize = 64;

/// Bytes that are read of each at most.
const BYTES: u64 = 1 << 20;

/// Ticks in a second (`USER_HZ`): 100 on every architecture that Tidegate is built for.
const TICKS: u64 = 100;

/// A file that was written by so much later than the start may be that which was read: clocks of files are coarse.
const COARSE: Duration = Duration::from_secs(2);

/// What is known of a broker's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Limits {
    /// It has read this.
    Known(Settings),
    /// It has, if it is the one that was found.
    Perhaps(Settings),
    /// What it has read was changed since.
    Changed(PathBuf),
    /// Nothing.
    Unknown,
}

/// What stands in a broker's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings {
    /// The file it was started with; none: it has its defaults.
    pub(super) file: Option<PathBuf>,
    /// Where to write more.
    pub(super) place: Option<PathBuf>,
    /// `max_queued_messages`.
    pub(super) queued: Option<u64>,
    /// `max_queued_bytes`.
    pub(super) queued_bytes: Option<u64>,
    /// `max_inflight_messages`.
    pub(super) inflight: Option<u64>,
    /// `persistence`.
    pub(super) persistence: Option<bool>,
    /// Whether a plugin is loaded that may keep what is queued, whatever `persistence` says.
    pub(super) persistent_plugin: bool,
}

/// Looks for the limits of the broker that is reached so.
pub(super) fn limits(host: &str, port: u16) -> Limits {
    let addresses: Vec<IpAddr> = match host.parse::<IpAddr>() {
        _ if host == "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Ok(address) if address.is_loopback() => vec![address],
        _ => return Limits::Unknown,
    };
    let found = addresses.iter().filter_map(|ip| sockets::in_the_way(SocketAddr::new(*ip, port))).flatten();
    let mut holders: Vec<Option<Holder>> = found.map(|socket| sockets::holder(&socket)).collect();
    holders.dedup();
    match &holders[..] {
        [Some(holder)] if holder.name == NAME => of_process(holder.pid, Path::new("/proc")),
        // Another user's, most likely: who has a socket is for its user and root to see, how a process was started for all.
        [None] => guess(port, Path::new("/proc")),
        _ => Limits::Unknown,
    }
}

/// The limits of the only Mosquitto that runs here.
fn guess(port: u16, proc: &Path) -> Limits {
    let mut pids =
        processes::worth_a_look(proc).filter(|pid| processes::name(proc, *pid).is_some_and(|name| name == NAME));
    let (Some(pid), None) = (pids.next(), pids.next()) else { return Limits::Unknown };
    let group = std::fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).unwrap_or_default();
    let is_service = group.lines().any(|line| line.ends_with("/mosquitto.service"));
    match of_process(pid, proc) {
        Limits::Known(settings) if !(is_service && port == PORT) => Limits::Perhaps(settings),
        other => other,
    }
}

/// The limits of the broker that is this process.
fn of_process(pid: u32, proc: &Path) -> Limits {
    let own = proc.join(pid.to_string());
    let Ok(line) = std::fs::read(own.join("cmdline")) else { return Limits::Unknown };
    let Some(file) = file_of(&line) else { return Limits::Known(Settings::default()) };
    let file = if file.is_absolute() {
        file
    } else {
        let Ok(folder) = std::fs::read_link(own.join("cwd")) else { return Limits::Unknown };
        folder.join(file)
    };
    // In a container it has a root of its own, which others than root may not follow.
    let root = own.join("root");
    let root = if std::fs::metadata(&root).is_ok() { root } else { PathBuf::from("/") };
    let Some((settings, (last, changed))) = read(&root, &file) else { return Limits::Unknown };
    match started(&own) {
        Some(started) if changed > started + COARSE => Limits::Changed(last),
        _ => Limits::Known(settings),
    }
}

/// The file that a command line names.
fn file_of(line: &[u8]) -> Option<PathBuf> {
    let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.find(|word| word == "-c" || word == "--config-file")?;
    words.next().filter(|word| !word.is_empty()).map(PathBuf::from)
}

/// When a process has started.
fn started(own: &Path) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(own.join("stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let up = Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()?;
    let ago = up.checked_sub(Duration::from_millis(ticks.saturating_mul(1000 / TICKS)))?;
    SystemTime::now().checked_sub(ago)
}

/// What a file and those that it includes say, and which of them was changed last, and when; `None` if one cannot be read.
fn read(root: &Path, file: &Path) -> Option<(Settings, (PathBuf, SystemTime))> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let (text, at) = text(&below(file))?;
    let mut last = (file.to_owned(), at);
    let mut settings = Settings { file: Some(file.to_owned()), place: Some(file.to_owned()), ..Settings::default() };
    let mut folders = 0;
    for line in text.lines() {
        let Some(folder) = value(line, "include_dir") else {
            settings.heed(line);
            continue;
        };
        folders += 1;
        if folders > FILES {
            return None;
        }
        let folder = Path::new(folder);
        let entries = std::fs::read_dir(below(folder)).ok()?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "conf"));
        paths.sort();
        if paths.len() > FILES {
            return None;
        }
        for path in paths {
            let (text, at) = self::text(&path)?;
            if at > last.1 {
                last = (folder.join(path.file_name().unwrap_or_default()), at);
            }
            text.lines().for_each(|line| settings.heed(line));
        }
        settings.place = Some(folder.join("tidegate.conf"));
    }
    Some((settings, last))
}

fn text(path: &Path) -> Option<(String, SystemTime)> {
    use std::io::Read as _;
    let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(BYTES).read_to_end(&mut bytes).ok()?;
    Some((String::from_utf8_lossy(&bytes).into_owned(), about.modified().ok()?))
}

/// What a line sets this to.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.trim().strip_prefix(key)?.strip_prefix([' ', '\t']).map(str::trim)
}

impl Settings {
    fn heed(&mut self, line: &str) {
        for (key, into) in [
            ("max_queued_messages", &mut self.queued),
            ("max_queued_bytes", &mut self.queued_bytes),
            ("max_inflight_messages", &mut self.inflight),
        ] {
            if let Some(number) = value(line, key).and_then(|value| value.parse().ok()) {
                *into = Some(number);
            }
        }
        match value(line, "persistence") {
            Some("true" | "1") => self.persistence = Some(true),
            Some("false" | "0") => self.persistence = Some(false),
            _ => {}
        }
        let plugin = ["plugin", "global_plugin", "plugin_load"].iter().find_map(|key| value(line, key));
        self.persistent_plugin |= plugin.is_some_and(|path| path.contains("persist"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_counts_where_it_is_included_and_what_cannot_be_read_tells_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (main, more) = (folder.path().join("m.conf"), folder.path().join("conf.d"));
        let set =
            || read(Path::new("/"), &main).map(|(settings, _)| (settings.queued, settings.inflight, settings.place));
        assert_eq!(set(), None);
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("a file");
        write(&main, "max_queued_messages 10\n# max_inflight_messages 5\nmax_queued_messages_x 1\n");
        assert_eq!(set(), Some((Some(10), None, Some(main.clone()))));
        std::fs::create_dir(&more).expect("a folder");
        write(&more.join("b.conf"), " max_queued_messages\t0\nmax_inflight_messages 50");
        write(&more.join("a.conf"), "max_queued_messages 9\ninclude_dir /nowhere\n");
        write(&more.join("b.bak"), "max_queued_messages 7");
        // What is not included is not read, wherever it lies.
        assert_eq!(set(), Some((Some(10), None, Some(main.clone()))));
        let including = format!("include_dir {}\nmax_inflight_messages 30\n", more.display());
        write(&main, &including);
        assert_eq!(set(), Some((Some(0), Some(30), Some(more.join("tidegate.conf")))));
        write(&main, "include_dir /nowhere/at/all\n");
        assert_eq!(set(), None);
    }

    #[test]
    fn what_bounds_the_queue_in_bytes_and_whether_it_outlives_a_restart_is_read_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let (main, more) = (folder.path().join("m.conf"), folder.path().join("more.conf"));
        std::fs::write(&main, format!("persistence true\ninclude_dir {}\n", folder.path().display())).expect("a file");
        std::fs::write(&more, "max_queued_bytes 65536\npersistence false\npersistence_file x\n").expect("a file");
        let (settings, _) = read(Path::new("/"), &main).expect("readable");
        assert_eq!((settings.queued_bytes, settings.persistence), (Some(65_536), Some(false)));
        assert!(!settings.persistent_plugin);
        std::fs::write(&more, "persistence 1\nplugin /usr/lib/mosquitto_persist_sqlite.so\n").expect("a file");
        let (settings, _) = read(Path::new("/"), &main).expect("readable");
        assert_eq!((settings.persistence, settings.persistent_plugin), (Some(true), true));
    }

    #[test]
    fn a_process_says_which_file_it_reads_and_when_it_was_started() {
        assert_eq!(
            file_of(b"/usr/sbin/mosquitto\0-c\0/etc/mosquitto/mosquitto.conf\0"),
            Some("/etc/mosquitto/mosquitto.conf".into())
        );
        assert_eq!(file_of(b"mosquitto\0-v\0--config-file\0m.conf\0-p\x001884\0"), Some("m.conf".into()));
        assert_eq!((file_of(b"mosquitto\0"), file_of(b"mosquitto\0-c\0"), file_of(b"")), (None, None, None));
        let own = started(Path::new("/proc/self")).expect("this process has started");
        assert!(own <= SystemTime::now() + Duration::from_secs(1));
        assert!(own.elapsed().unwrap_or_default() < Duration::from_secs(3600), "{own:?}");
    }

    /// A folder like `/proc` with one Mosquitto in it.
    fn proc(file: &Path, group: &str) -> tempfile::TempDir {
        let proc = tempfile::tempdir().expect("a folder");
        let own = proc.path().join("7");
        std::fs::create_dir(&own).expect("a folder");
        let line = format!("mosquitto\0-c\0{}\0", file.display());
        for (name, text) in [("comm", "mosquitto\n"), ("cmdline", &line), ("cgroup", group)] {
            std::fs::write(own.join(name), text).expect("a file");
        }
        proc
    }

    #[test]
    fn one_that_cannot_be_looked_into_is_known_as_the_service_on_its_port_and_else_a_guess() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "max_queued_messages 5\n").expect("written");
        let service = proc(file.path(), "0::/system.slice/mosquitto.service\n");
        assert!(matches!(guess(PORT, service.path()), Limits::Known(settings) if settings.queued == Some(5)));
        assert!(matches!(guess(1884, service.path()), Limits::Perhaps(_)));
        let other = proc(file.path(), "0::/user.slice/a.scope\n");
        assert!(matches!(guess(PORT, other.path()), Limits::Perhaps(settings) if settings.queued == Some(5)));
        // Of two nobody knows which it is.
        std::fs::create_dir(service.path().join("8")).expect("a folder");
        std::fs::write(service.path().join("8/comm"), "mosquitto\n").expect("a file");
        assert_eq!(guess(PORT, service.path()), Limits::Unknown);
        assert_eq!(limits("192.0.2.1", PORT), Limits::Unknown);
        assert_eq!(limits("broker.example", PORT), Limits::Unknown);
    }

    #[test]
    fn a_file_that_was_changed_after_the_start_tells_nothing() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "max_queued_messages 5\n").expect("written");
        let proc = proc(file.path(), "");
        // Started at boot.
        let stat = format!("7 (a) b) {}0", "0 ".repeat(19));
        std::fs::write(proc.path().join("7/stat"), stat).expect("a file");
        assert_eq!(of_process(7, proc.path()), Limits::Changed(file.path().to_owned()));
    }
}
