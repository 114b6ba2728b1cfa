//! What the unit's sandbox hides from the service, and where it lets it write: what root, or the service's user outside it, may
//! read and write says nothing of that.
//!
//! # How it works
//! By the unit's own settings, as systemd.exec(5) describes them, so that a drop-in counts and a service that is stopped is
//! judged like one that runs. Only where the configuration is the one that the unit names, and no agent that was started by
//! hand answers: others have no sandbox.
//!
//! # Format
//! `systemctl show` prints lists with spaces between, folders of `StateDirectory=` and its like as names, and of
//! `BindPaths=` `source:destination:options`. Paths in `ReadWritePaths=` may have `-` and `+` before them.

use std::path::{Path, PathBuf};

use tidegate::language::Message;
use tidegate::message;
use tidegate::watch::Status;

use super::unit::Unit;

/// Where people's folders are (`ProtectHome=`).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// What is made anew for the service (`PrivateTmp=`).
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Where `ProtectSystem=` has no say: the kernel's own.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Folders that systemd makes for a unit, and where.
const MADE: [(&str, &str); 4] = [
    ("StateDirectory", "/var/lib"),
    ("RuntimeDirectory", "/run"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
];

/// The sandbox of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Sandbox {
    home: String,
    system: String,
    private_tmp: bool,
    /// Where it may write in any case.
    writable: Vec<PathBuf>,
    /// What is let in from outside (`BindPaths=`, `BindReadOnlyPaths=`).
    let_in: Vec<PathBuf>,
}

/// A setting that keeps the service from something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Setting {
    /// The folder that it is about.
    pub(in crate::command) folder: &'static str,
    /// As it is.
    pub(in crate::command) is: String,
    /// As it would let the service see what is there.
    pub(in crate::command) instead: &'static str,
}

impl Setting {
    /// What it does.
    pub(in crate::command) fn said(&self) -> Message {
        message!(
            "the service does not see it: its unit hides what is below {folder} ({setting})",
            folder = self.folder,
            setting = &self.is
        )
    }

    /// What to do with a file.
    pub(in crate::command) fn next(&self) -> Message {
        message!(
            "move it to /etc/tidegate and correct the configuration; or let it be seen: systemctl edit tidegate, there [Service] and {line}, then systemctl restart tidegate",
            line = self.instead
        )
    }
}

impl Sandbox {
    /// That of the unit, if it is what this configuration (absolute) is used in.
    pub(in crate::command) fn of(unit: &Unit, config: &Path, service: Option<&Status>) -> Option<Self> {
        let by_hand = service.is_some_and(|status| unit.main_pid() != Some(status.pid));
        if by_hand || !unit.is_there() || !unit.runs_with(config) {
            return None;
        }
        let made = MADE.iter().flat_map(|(property, base)| {
            let names = unit.property(property).split_whitespace();
            names.map(move |name| Path::new(base).join(name.split(':').next().unwrap_or(name)))
        });
        let plain = |path: &str| PathBuf::from(path.trim_start_matches(['-', '+']));
        let bound = |property| unit.property(property).split_whitespace().map(move |one| plain(destination(one)));
        let read_write = unit.property("ReadWritePaths").split_whitespace().map(plain);
        let writable = made.chain(read_write).chain(bound("BindPaths")).map(|path| real(&path)).collect();
        Some(Self {
            home: unit.property("ProtectHome").to_owned(),
            system: unit.property("ProtectSystem").to_owned(),
            private_tmp: unit.property("PrivateTmp") == "yes",
            writable,
            let_in: bound("BindPaths").chain(bound("BindReadOnlyPaths")).collect(),
        })
    }

    /// What hides a path from the service.
    pub(in crate::command) fn hides(&self, path: &Path) -> Option<Setting> {
        let path = &real(path);
        let below = |folders: &[&'static str]| folders.iter().copied().find(|folder| path.starts_with(folder));
        let let_in = self.let_in.iter().any(|one| path.starts_with(one));
        let home = format!("ProtectHome={}", self.home);
        match self.home.as_str() {
            // What is bound below a folder that is shut altogether cannot be seen either.
            "yes" => below(&HOMES).map(|folder| Setting { folder, is: home, instead: "ProtectHome=read-only" }),
            "tmpfs" if !let_in => {
                below(&HOMES).map(|folder| Setting { folder, is: home, instead: "ProtectHome=read-only" })
            }
            _ => None,
        }
        .or_else(|| {
            let folder = below(&TEMPORARY).filter(|_| self.private_tmp && !let_in)?;
            Some(Setting { folder, is: "PrivateTmp=yes".into(), instead: "PrivateTmp=no" })
        })
    }

    /// What keeps the service from writing to a path that it sees.
    pub(in crate::command) fn protects(&self, path: &Path) -> Option<String> {
        let path = &real(path);
        let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        if self.writable.iter().any(|one| path.starts_with(one)) {
            return None;
        }
        // Homes are ProtectHome='s alone.
        if below(&HOMES) {
            return (self.home == "read-only").then(|| "ProtectHome=read-only".into());
        }
        let protected = match self.system.as_str() {
            "strict" => !(below(&KERNELS) || self.private_tmp && below(&TEMPORARY)),
            "full" => below(&["/usr", "/boot", "/efi", "/etc"]),
            "yes" => below(&["/usr", "/boot", "/efi"]),
            _ => false,
        };
        protected.then(|| format!("ProtectSystem={}", self.system))
    }
}

/// Where `source:destination:options` is seen.
fn destination(bound: &str) -> &str {
    let mut words = bound.split(':');
    let source = words.next().unwrap_or_default();
    words.next().filter(|destination| destination.starts_with('/')).unwrap_or(source)
}

/// A path with its links followed, as far as it is there: a mount is made where they lead.
fn real(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return real.join(rest);
        }
    }
    path.to_path_buf()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const CONFIG: &str = "/etc/tidegate/tidegate.toml";

    /// The unit of the package, and a drop-in.
    pub(in crate::command::check::probe) fn unit(drop_in: &str) -> Unit {
        Unit::of_text(&format!(
            "LoadState=loaded\nActiveState=active\nMainPID=7\nUser=tidegate\nStateDirectory=tidegate tidegate-inbox\n\
             RuntimeDirectory=tidegate\nProtectHome=yes\nProtectSystem=strict\nPrivateTmp=yes\nReadWritePaths=\n\
             ExecStart={{ path=/usr/bin/tidegate ; argv[]=/usr/bin/tidegate run --config {CONFIG} ; ignore_errors=no }}\n\
             {drop_in}"
        ))
    }

    /// Its sandbox.
    pub(in crate::command::check::probe) fn sandbox(drop_in: &str) -> Option<Sandbox> {
        Sandbox::of(&unit(drop_in), Path::new(CONFIG), None)
    }

    fn hidden(drop_in: &str, path: &str) -> Option<&'static str> {
        sandbox(drop_in).expect("it is the unit's").hides(Path::new(path)).map(|setting| setting.instead)
    }

    fn protected(drop_in: &str, path: &str) -> Option<String> {
        sandbox(drop_in).expect("it is the unit's").protects(Path::new(path))
    }

    #[test]
    fn homes_and_temporary_folders_are_hidden_unless_a_drop_in_shows_them() {
        for path in ["/home/pi/terms.toml", "/root/x", "/run/user/1000/x"] {
            assert_eq!(hidden("", path), Some("ProtectHome=read-only"), "{path}");
            assert_eq!(hidden("ProtectHome=tmpfs", path), Some("ProtectHome=read-only"), "{path}");
            for seen in ["read-only", "no"] {
                assert_eq!(hidden(&format!("ProtectHome={seen}"), path), None, "{path} {seen}");
            }
            let bound = format!("BindReadOnlyPaths={path}:{path}:rbind");
            assert_eq!(hidden(&format!("{bound}\nProtectHome=tmpfs"), path), None, "{path}");
            assert!(hidden(&bound, path).is_some(), "nothing is bound below what is shut: {path}");
        }
        for path in ["/tmp/terms.toml", "/var/tmp/x"] {
            assert_eq!(hidden("", path), Some("PrivateTmp=no"), "{path}");
            assert_eq!(hidden("PrivateTmp=no", path), None, "{path}");
            assert_eq!(hidden(&format!("BindPaths=-{path}"), path), None, "{path}");
        }
        for path in ["/etc/tidegate/terms.toml", "/var/lib/tidegate", "/homes/x", "/srv/tg"] {
            assert_eq!(hidden("", path), None, "{path}");
        }
    }

    #[test]
    fn the_service_may_write_where_systemd_makes_a_folder_or_a_drop_in_lets_it() {
        for path in ["/var/lib/tidegate", "/var/lib/tidegate-inbox/new", "/run/tidegate/control.sock", "/dev/shm/x"] {
            assert_eq!(protected("", path), None, "{path}");
        }
        for path in ["/srv/tg", "/mnt/ssd/tidegate", "/var/lib/other", "/etc/tidegate"] {
            assert_eq!(protected("", path).as_deref(), Some("ProtectSystem=strict"), "{path}");
            for drop_in in ["ReadWritePaths=/x -", "BindPaths=/elsewhere:"] {
                assert_eq!(protected(&format!("{drop_in}{path}"), path), None, "{path}");
            }
            assert_eq!(protected("ProtectSystem=no", path), None, "{path}");
        }
        assert_eq!(protected("ProtectSystem=full", "/srv/tg"), None);
        assert_eq!(protected("ProtectSystem=full", "/etc/x").as_deref(), Some("ProtectSystem=full"));
        assert_eq!(protected("ProtectSystem=yes", "/etc/x"), None);
        assert_eq!(protected("ProtectHome=no", "/home/pi/store"), None);
        assert_eq!(protected("ProtectHome=read-only", "/home/pi/store").as_deref(), Some("ProtectHome=read-only"));
    }

    #[test]
    fn links_are_followed_to_where_they_lead() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).expect("a link");
        assert_eq!(real(&link.join("tidegate-none/x")), Path::new("/etc/tidegate-none/x"));
    }

    #[test]
    fn only_what_the_unit_itself_runs_is_judged_by_its_sandbox() {
        let unit = unit("");
        let of = |file: &str, pid: Option<u32>| {
            let status = pid.map(|pid| Status { pid, ..Status::default() });
            Sandbox::of(&unit, Path::new(file), status.as_ref()).is_some()
        };
        assert!(of(CONFIG, None) && of(CONFIG, Some(7)));
        assert!(!of("/home/pi/draft.toml", None), "a draft is nobody's yet");
        assert!(!of(CONFIG, Some(8)), "started by hand");
        assert_eq!(Sandbox::of(&Unit::NoSystemd, Path::new(CONFIG), None), None);
        let missing = Unit::of_text("LoadState=not-found\n");
        assert_eq!(Sandbox::of(&missing, Path::new(CONFIG), None), None);
    }
}
