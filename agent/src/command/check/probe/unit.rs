//! The service as systemd sees it: whether it starts after a power cut, and how it ended last.
//!
//! # Format
//! `systemctl show` prints `Property=value` lines (systemctl(1)); what a version of systemd does not know is missing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tidegate::code::Code;
use tidegate::language::Message;
use tidegate::message;
use tidegate::watch::Status;
use tokio::io::AsyncReadExt as _;

use super::block_on;
use crate::command::check::Tell;
use crate::command::check::finding::Finding;

/// The unit that the package installs.
pub(in crate::command) const NAME: &str = "tidegate.service";

/// How long `systemctl` may take: a busy machine needs a second.
const LIMIT: Duration = Duration::from_secs(10);

/// Bytes of its answer that are read; it has below 1 KB.
const MOST: u64 = 64 * 1024;

const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,MainPID,\
                          User,StateDirectory,LoadCredential";

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
        match block_on(tokio::time::timeout(LIMIT, systemctl())) {
            Some(Ok(Ok(text))) => Self::Known(parse(&text)),
            Some(Ok(Err(error))) => Self::Unasked(error.to_string()),
            Some(Err(_)) => Self::Unasked(format!("systemctl did not answer within {} s", LIMIT.as_secs())),
            None => Self::Unasked("no runtime".into()),
        }
    }

    fn property(&self, name: &str) -> &str {
        match self {
            Self::Known(properties) => properties.get(name).map_or("", String::as_str),
            Self::NoSystemd | Self::Unasked(_) => "",
        }
    }

    /// Whether there is such a unit.
    pub(in crate::command) fn is_there(&self) -> bool {
        self.property("LoadState") == "loaded"
    }

    /// The user that it runs as; `None` without the unit.
    pub(in crate::command) fn user(&self) -> Option<&str> {
        self.is_there().then(|| self.property("User")).map(|user| if user.is_empty() { "root" } else { user })
    }

    /// Whether systemd makes this folder, and hands it to the service's user.
    pub(in crate::command) fn makes(&self, folder: &Path) -> bool {
        self.property("StateDirectory").split_whitespace().any(|name| folder == Path::new("/var/lib").join(name))
    }

    /// Whether systemd itself reads this file and hands it to the service (`LoadCredential=`).
    pub(in crate::command) fn hands_over(&self, file: &Path) -> bool {
        let sources = self.property("LoadCredential").split_whitespace().filter_map(|word| word.split_once(':'));
        sources.map(|(_, source)| PathBuf::from(source)).any(|source| file.starts_with(source))
    }
}

async fn systemctl() -> std::io::Result<String> {
    // Nothing of this process's environment is its business; the path is where systems have it.
    let mut child = tokio::process::Command::new("systemctl")
        .args(["show", "--no-pager", NAME, PROPERTIES])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(MOST).read_to_string(&mut said).await?;
    }
    let status = child.wait().await?;
    if status.success() { Ok(said) } else { Err(std::io::Error::other(format!("systemctl ended with {status}"))) }
}

fn parse(text: &str) -> HashMap<String, String> {
    let mut properties: HashMap<String, String> = HashMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        // LoadCredential has a line for each.
        let all = properties.entry(name.to_owned()).or_default();
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(value);
    }
    properties
}

/// Judges it.
pub(in crate::command) fn look(unit: &Unit, service: Option<&Status>, tell: Tell<'_>) {
    tell(judge(unit, service.map(|status| status.pid)));
}

/// `running`: the process that answers on the control socket.
fn judge(unit: &Unit, running: Option<u32>) -> Finding {
    let what = message!("start at boot");
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
    let journal = || message!("see why: journalctl -u tidegate -n 50");
    match unit.property("LoadState") {
        "loaded" => {}
        "masked" => {
            return Finding::bad(
                what,
                message!("the unit {name} is masked: it does not start", name = NAME),
                Code::Unit,
                message!("unmask it: systemctl unmask tidegate"),
            );
        }
        _ => {
            return Finding::attention(
                what,
                message!("there is no unit {name}: nothing starts the service after a power cut", name = NAME),
                Code::Unit,
                message!("install the package, or write a unit of your own"),
            );
        }
    }
    let (active, sub) = (unit.property("ActiveState"), unit.property("SubState"));
    let ended = || -> Message {
        message!(
            "the service failed: {result}, exit status {status}",
            result = unit.property("Result"),
            status = unit.property("ExecMainStatus"),
        )
    };
    match (active, sub) {
        ("failed", _) => return Finding::bad(what, ended(), Code::Unit, journal()),
        ("activating", "auto-restart") => {
            let restarts = unit.property("NRestarts");
            let said = message!("it ends and is started again and again ({count} times)", count = restarts);
            return Finding::bad(what, said, Code::Unit, journal());
        }
        _ => {}
    }
    let by_hand = running.is_some_and(|pid| unit.property("MainPID") != pid.to_string());
    match (active, unit.property("UnitFileState")) {
        ("active" | "activating" | "reloading", "enabled" | "static" | "enabled-runtime") => {
            Finding::good(what, message!("enabled, {state}", state = active))
        }
        ("active" | "activating" | "reloading", _) => Finding::attention(
            what,
            message!("it runs, and does not start after a power cut: it is not enabled"),
            Code::Unit,
            message!("enable it: systemctl enable tidegate"),
        ),
        _ if by_hand => Finding::attention(
            what,
            message!("the unit is not active: the service was started by hand and ends with the session"),
            Code::Unit,
            message!("end it there, then: systemctl enable --now tidegate"),
        ),
        _ => Finding::attention(
            what,
            message!("the unit is {state}", state = active),
            Code::Unit,
            message!("start it: systemctl enable --now tidegate"),
        ),
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
        let result = |more: &str, running| judge(&unit(more), running).result;
        assert_eq!(result("", Some(7)), Outcome::Good);
        assert_eq!(result("UnitFileState=disabled", Some(7)), Outcome::Attention);
        assert_eq!(result("ActiveState=inactive\nSubState=dead", None), Outcome::Attention);
        assert_eq!(result("ActiveState=inactive\nMainPID=0", Some(9)), Outcome::Attention);
        assert_eq!(result("ActiveState=failed\nResult=exit-code\nExecMainStatus=1", None), Outcome::Bad);
        assert_eq!(result("ActiveState=activating\nSubState=auto-restart\nNRestarts=12", None), Outcome::Bad);
        assert_eq!(result("LoadState=masked", None), Outcome::Bad);
        assert_eq!(result("LoadState=not-found", None), Outcome::Attention);
        assert_eq!(judge(&Unit::NoSystemd, None).result, Outcome::Unknown);
        assert_eq!(judge(&Unit::Unasked("x".into()), None).result, Outcome::Unknown);
    }

    #[test]
    fn the_unit_tells_who_runs_what_it_makes_and_what_it_hands_over() {
        let unit = unit("");
        assert_eq!(unit.user(), Some("tidegate"));
        assert!(unit.makes(Path::new("/var/lib/tidegate")) && !unit.makes(Path::new("/srv/tidegate")));
        assert!(unit.hands_over(Path::new("/etc/tidegate/secrets/auth-key")));
        assert!(!unit.hands_over(Path::new("/etc/tidegate/auth-key")));
        assert_eq!(Unit::NoSystemd.user(), None);
        let twice = parse("LoadCredential=a:/x\nLoadCredential=b:/y\n");
        assert!(
            !Unit::Known(twice.clone()).hands_over(Path::new("/z")) && Unit::Known(twice).hands_over(Path::new("/y/1"))
        );
    }
}
