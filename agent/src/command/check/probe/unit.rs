//! The service as systemd sees it: whether it starts after a power cut, and how it ended last.
//!
//! # Format
//! `systemctl show` prints `Property=value` lines (systemctl(1)); what a version of systemd does not know is missing. Of
//! `LoadCredential=` it prints `[unprintable]` (seen with 252), so that one is read in the unit's own files, which it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate::code::Code;
use tidegate::language::Message;
use tidegate::message;
use tidegate::program::{Environment, Keep, Program};
use tidegate::watch::Status;

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};
use crate::command::{CONFIG, NOT_CONFIGURED};

/// The unit that the package installs.
pub(in crate::command) const NAME: &str = "tidegate.service";

/// How long `systemctl` may take: a busy machine needs a second.
const LIMIT: Duration = Duration::from_secs(10);

/// Bytes of its answer that are read; it has below 1 KB.
const MOST: usize = 64 * 1024;

const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,MainPID,\
                          User,StateDirectory,FragmentPath,DropInPaths,ExecStart,ProtectHome,ProtectSystem,PrivateTmp,\
                          ReadWritePaths,BindPaths,BindReadOnlyPaths,RuntimeDirectory,CacheDirectory,LogsDirectory";

/// What systemd calls an exit status that says so.
const BY_STATUS: &str = "exit-code";

/// Fewer starts by itself than these are somebody's `kill`, or one bad moment.
const FEW: u64 = 3;

/// After this long without an end the starts before it are past: at [`FEW`] in a minute it would have ended a dozen times.
const SETTLED: Duration = Duration::from_secs(10 * 60);

/// What systemd says of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) enum Unit {
    /// systemd does not run this machine.
    NoSystemd,
    /// It could not be asked, and why.
    Unasked(String),
    /// Its properties.
    Known(HashMap<String, String>),
}

impl Unit {
    /// Asks; takes [`LIMIT`] at most.
    pub(in crate::command) fn ask() -> Self {
        // sd_booted(3): so one tells.
        if !Path::new("/run/systemd/system").is_dir() {
            return Self::NoSystemd;
        }
        let systemctl = Program {
            name: "systemctl",
            arguments: &["show", "--no-pager", NAME, PROPERTIES],
            environment: Environment::Bare,
            time: LIMIT,
            bytes: MOST,
            keep: Keep::First,
        };
        match systemctl.run_alone() {
            Ok(ended) if ended.status.success() => {
                Self::Known(with_credentials(parse(&String::from_utf8_lossy(&ended.output))))
            }
            Ok(ended) => Self::Unasked(format!("systemctl ended with {}", ended.status)),
            Err(error) => Self::Unasked(error.to_string()),
        }
    }

    /// What `systemctl show` prints, with the credentials, as a test has it.
    #[cfg(test)]
    pub(super) fn of_text(text: &str) -> Self {
        Self::Known(with_credentials(parse(text)))
    }

    pub(super) fn property(&self, name: &str) -> &str {
        match self {
            Self::Known(properties) => properties.get(name).map_or("", String::as_str),
            Self::NoSystemd | Self::Unasked(_) => "",
        }
    }

    /// Whether there is such a unit.
    pub(in crate::command) fn is_there(&self) -> bool {
        self.property("LoadState") == "loaded"
    }

    /// Whether somebody has forbidden to start it.
    pub(in crate::command) fn is_masked(&self) -> bool {
        self.property("LoadState") == "masked"
    }

    /// Whether it runs, as systemd sees it.
    pub(in crate::command) fn is_active(&self) -> bool {
        matches!(self.property("ActiveState"), "active" | "reloading")
    }

    /// Whether systemd is about to start it, or does: nobody else need.
    pub(in crate::command) fn is_starting(&self) -> bool {
        self.property("ActiveState") == "activating"
    }

    /// Whether it is started at boot. One that is enabled until the next boot (`enabled-runtime`) is not.
    pub(in crate::command) fn is_enabled(&self) -> bool {
        matches!(self.property("UnitFileState"), "enabled" | "static" | "alias" | "generated")
    }

    /// The process that systemd runs as the service.
    pub(in crate::command) fn main_pid(&self) -> Option<u32> {
        self.property("MainPID").parse().ok().filter(|pid| *pid != 0)
    }

    /// Whether it is this configuration (absolute) that it runs with.
    pub(super) fn runs_with(&self, config: &Path) -> bool {
        let mut words = self.property("ExecStart").split_whitespace().peekable();
        let mut named = None;
        while let Some(word) = words.next() {
            named = match word.strip_prefix("--config") {
                Some("") => words.peek().copied(),
                Some(rest) => rest.strip_prefix('='),
                None => continue,
            };
        }
        config == Path::new(named.unwrap_or(CONFIG))
    }

    /// Whether it ended because nothing was configured yet.
    fn is_unconfigured(&self) -> bool {
        self.property("Result") == BY_STATUS && self.property("ExecMainStatus") == NOT_CONFIGURED.to_string()
    }

    /// The user that it runs as; `None` without the unit.
    pub(in crate::command) fn user(&self) -> Option<&str> {
        self.is_there().then(|| self.property("User")).map(|user| if user.is_empty() { "root" } else { user })
    }

    /// Whether systemd makes this folder, and hands it to the service's user.
    pub(in crate::command) fn makes(&self, folder: &Path) -> bool {
        self.property("StateDirectory").split_whitespace().any(|name| folder == Path::new("/var/lib").join(name))
    }

    /// The state directory that systemd makes for it, the first if there are several.
    pub(in crate::command) fn state(&self) -> Option<PathBuf> {
        let name = self.property("StateDirectory").split_whitespace().next()?;
        self.is_there().then(|| Path::new("/var/lib").join(name))
    }

    /// What systemd itself reads and hands to the service (`LoadCredential=`).
    pub(super) fn handed_over(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let words = self.property("LoadCredential").split_whitespace();
        words.filter_map(|word| word.split_once(':')).map(|(_, source)| PathBuf::from(source))
    }

    /// Whether systemd itself reads this file and hands it to the service (`LoadCredential=`).
    pub(in crate::command) fn hands_over(&self, file: &Path) -> bool {
        self.handed_over().any(|source| file.starts_with(source))
    }
}

fn parse(text: &str) -> HashMap<String, String> {
    let mut properties = HashMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        properties.insert(name.to_owned(), value.to_owned());
    }
    properties
}

/// Adds what `systemctl show` does not tell: the files that systemd hands over.
fn with_credentials(mut properties: HashMap<String, String>) -> HashMap<String, String> {
    let of = |name: &str| properties.get(name).cloned().unwrap_or_default();
    let (unit, more) = (of("FragmentPath"), of("DropInPaths"));
    let paths = std::iter::once(unit.as_str()).chain(more.split_whitespace());
    let texts: Vec<String> = paths.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    properties.insert("LoadCredential".into(), credentials(&texts).join(" "));
    properties
}

/// What `LoadCredential=` says in a unit's files, in their order; an empty one takes back those before it (systemd.exec(5)).
fn credentials(files: &[String]) -> Vec<&str> {
    let mut all = Vec::new();
    for value in
        files.iter().flat_map(|text| text.lines()).filter_map(|line| line.trim().strip_prefix("LoadCredential="))
    {
        match value.trim() {
            "" => all.clear(),
            value => all.push(value),
        }
    }
    all
}

/// Judges it. `usable`: whether the configuration is.
pub(in crate::command) fn look(unit: &Unit, service: Option<&Status>, usable: bool, tell: Tell<'_>) {
    tell(judge(unit, service.map(|status| (status.pid, Duration::from_millis(status.uptime_ms))), usable));
}

/// `running`: the process that answers on the control socket, and for how long it has run.
fn judge(unit: &Unit, running: Option<(u32, Duration)>, usable: bool) -> Finding {
    let what = Id::Unit.of(message!("start at boot"));
    match unit {
        Unit::NoSystemd => {
            return Finding::unknown(
                what,
                message!(
                    "this machine is not run by systemd; whether the service starts after a power cut is not known"
                ),
                None,
            );
        }
        Unit::Unasked(error) => {
            return Finding::unknown(what, message!("systemd could not be asked: {error}", error = error), None);
        }
        Unit::Known(_) => {}
    }
    match unit.property("LoadState") {
        "loaded" => judge_loaded(what, unit, running, usable),
        "masked" => Finding::bad(
            what,
            message!("the unit {name} is masked: it does not start", name = NAME),
            Code::Unit,
            message!("unmask it: systemctl unmask tidegate"),
        ),
        "bad-setting" | "error" => Finding::bad(
            what,
            message!("systemd cannot use the file of the unit {name}", name = NAME),
            Code::Unit,
            message!("see why: systemd-analyze verify {name}", name = NAME),
        ),
        _ => Finding::attention(
            what,
            message!("there is no unit {name}: nothing starts the service after a power cut", name = NAME),
            Code::Unit,
            message!("install the package, or write a unit of your own"),
        ),
    }
}

fn judge_loaded(what: Subject, unit: &Unit, running: Option<(u32, Duration)>, usable: bool) -> Finding {
    let active = unit.property("ActiveState");
    let by_hand = running.is_some_and(|(pid, _)| unit.main_pid() != Some(pid));
    let start = || message!("start it: systemctl enable --now tidegate");
    match (active, unit.property("SubState")) {
        _ if by_hand && !unit.is_active() => Finding::attention(
            what,
            message!("the unit is not active: the service was started by hand and ends with the session"),
            Code::Unit,
            message!("end it there, then: systemctl enable --now tidegate"),
        ),
        ("failed", _) if unit.is_unconfigured() => {
            let next = if usable { start() } else { message!("run setup: sudo tidegate setup") };
            let said = message!("it waits: nothing was configured yet when it was to start");
            Finding::attention(what, said, Code::NotConfigured, next)
        }
        ("failed", _) => {
            let said = message!(
                "the service failed: {result}, exit status {status}",
                result = unit.property("Result"),
                status = unit.property("ExecMainStatus"),
            );
            Finding::bad(what, said, Code::Unit, journal())
        }
        ("activating", sub) if sub.starts_with("auto-restart") => ended(what, unit),
        ("active" | "activating" | "reloading", _) => judge_running(what, unit, running),
        _ => {
            let next =
                if usable { start() } else { message!("once the configuration can be used: {step}", step = start()) };
            Finding::attention(what, message!("the unit is {state}", state = active), Code::Unit, next)
        }
    }
}

fn journal() -> Message {
    message!("see why: journalctl -u tidegate -n 50")
}

/// How often systemd has started it by itself since somebody did.
fn restarts(unit: &Unit) -> u64 {
    unit.property("NRestarts").parse().unwrap_or(0)
}

/// It has ended, and systemd waits a few seconds before it starts it.
fn ended(what: Subject, unit: &Unit) -> Finding {
    let count = restarts(unit);
    if count < FEW {
        let said =
            message!("it has just ended ({result}) and is about to be started again", result = unit.property("Result"));
        return Finding::attention(what, said, Code::Unit, journal());
    }
    let said = message!("it ends and is started again and again ({count} times)", count = count);
    Finding::bad(what, said, Code::Unit, journal())
}

fn judge_running(what: Subject, unit: &Unit, running: Option<(u32, Duration)>) -> Finding {
    if !unit.is_enabled() {
        return Finding::attention(
            what,
            message!("it runs, and does not start after a power cut: it is not enabled"),
            Code::Unit,
            message!("enable it: systemctl enable tidegate"),
        );
    }
    let state = unit.property("ActiveState");
    match restarts(unit) {
        0 => Finding::good(what, message!("enabled, {state}", state = state)),
        count => {
            let said = message!(
                "enabled, {state}; systemd has started it again by itself {count} times",
                state = state,
                count = count
            );
            if count < FEW || running.is_some_and(|(_, uptime)| uptime >= SETTLED) {
                Finding::good(what, said)
            } else {
                Finding::attention(what, said, Code::Unit, journal())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;

    fn unit(more: &str) -> Unit {
        let text = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nResult=success\nMainPID=7\n\
                    User=tidegate\nStateDirectory=tidegate tidegate-inbox\nLoadCredential=secrets:/etc/tidegate/secrets\n";
        let mut properties = parse(text);
        properties.extend(parse(more));
        Unit::Known(properties)
    }

    #[test]
    fn a_unit_is_bad_only_where_the_service_does_not_run_for_certain() {
        let day = Duration::from_secs(86_400);
        let result = |more: &str, running: Option<u32>| judge(&unit(more), running.map(|pid| (pid, day)), true).result;
        assert_eq!(result("", Some(7)), Outcome::Good);
        assert_eq!(result("UnitFileState=disabled", Some(7)), Outcome::Attention);
        assert_eq!(result("UnitFileState=enabled-runtime", Some(7)), Outcome::Attention);
        assert_eq!(result("ActiveState=inactive\nSubState=dead", None), Outcome::Attention);
        assert_eq!(result("ActiveState=inactive\nMainPID=0", Some(9)), Outcome::Attention);
        assert_eq!(result("ActiveState=failed\nResult=exit-code\nExecMainStatus=1", None), Outcome::Bad);
        assert_eq!(result("ActiveState=failed\nResult=watchdog\nMainPID=0", Some(9)), Outcome::Attention, "by hand");
        assert_eq!(result("ActiveState=activating\nSubState=auto-restart\nNRestarts=12", None), Outcome::Bad);
        assert_eq!(result("ActiveState=activating\nSubState=auto-restart\nNRestarts=1", None), Outcome::Attention);
        assert_eq!(result("LoadState=masked", None), Outcome::Bad);
        assert_eq!(result("LoadState=bad-setting", None), Outcome::Bad);
        assert_eq!(result("LoadState=not-found", None), Outcome::Attention);
        assert_eq!(judge(&Unit::NoSystemd, None, true).result, Outcome::Unknown);
        assert_eq!(judge(&Unit::Unasked("x".into()), None, true).result, Outcome::Unknown);
    }

    #[test]
    fn a_service_that_waits_for_its_configuration_has_not_failed() {
        let waits = unit("ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=78\nMainPID=0");
        for usable in [false, true] {
            let finding = judge(&waits, None, usable);
            assert_eq!((finding.result, finding.code), (Outcome::Attention, Some(Code::NotConfigured)));
            let next = finding.next.expect("what to do").text(tidegate::language::Language::English);
            assert_eq!(next.contains("tidegate setup"), !usable, "{next}");
        }
        // The number of a signal is no exit status.
        let killed = unit("ActiveState=failed\nResult=signal\nExecMainStatus=78\nMainPID=0");
        assert_eq!(judge(&killed, None, true).result, Outcome::Bad);
    }

    #[test]
    fn what_cannot_be_used_yet_is_not_to_be_started() {
        let stopped = unit("ActiveState=inactive\nSubState=dead\nMainPID=0");
        let next = |usable| judge(&stopped, None, usable).next.expect("what to do").to_string();
        assert!(next(true).starts_with("start it"), "{}", next(true));
        assert!(next(false).starts_with("once the configuration can be used"), "{}", next(false));
        assert!(unit("ActiveState=activating\nSubState=auto-restart").is_starting() && !stopped.is_starting());
    }

    #[test]
    fn starts_by_itself_are_counted_and_are_of_concern_while_it_has_not_settled() {
        let result = |count: u64, secs| {
            let unit = unit(&format!("NRestarts={count}"));
            let finding = judge(&unit, Some((7, Duration::from_secs(secs))), true);
            let said = finding.said.text(tidegate::language::Language::English);
            (finding.result, said.contains(&format!("{count} times")))
        };
        assert_eq!(result(0, 5), (Outcome::Good, false));
        assert_eq!(result(1, 5), (Outcome::Good, true));
        assert_eq!(result(40, 5), (Outcome::Attention, true));
        assert_eq!(result(40, 3600), (Outcome::Good, true));
    }

    #[test]
    fn the_unit_tells_who_runs_what_it_makes_and_what_it_hands_over() {
        let unit = unit("");
        assert!(unit.is_there() && unit.is_active() && unit.is_enabled() && !unit.is_masked());
        assert_eq!(unit.user(), Some("tidegate"));
        assert!(unit.makes(Path::new("/var/lib/tidegate")) && !unit.makes(Path::new("/srv/tidegate")));
        assert!(unit.hands_over(Path::new("/etc/tidegate/secrets/auth-key")));
        assert!(!unit.hands_over(Path::new("/etc/tidegate/auth-key")));
        assert_eq!(Unit::NoSystemd.user(), None);
    }

    #[test]
    fn what_is_handed_over_stands_in_the_units_own_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let (unit, drop_in) = (folder.path().join("tidegate.service"), folder.path().join("more.conf"));
        std::fs::write(&unit, "[Service]\nLoadCredential=a:/x\n # LoadCredential=b:/no\nLoadCredential=b:/y\n")
            .expect("a file");
        let of = |drop_ins: &str| {
            let known = parse(&format!("FragmentPath={}\nDropInPaths={drop_ins}\n", unit.display()));
            Unit::Known(with_credentials(known))
        };
        let both = of("");
        assert!(both.hands_over(Path::new("/x/1")) && both.hands_over(Path::new("/y/1")));
        assert!(!both.hands_over(Path::new("/no")));
        std::fs::write(&drop_in, "[Service]\nLoadCredential=\nLoadCredential=c:/z\n").expect("a file");
        let changed = of(&format!("/nowhere {}", drop_in.display()));
        assert!(changed.hands_over(Path::new("/z")) && !changed.hands_over(Path::new("/x/1")));
    }
}
