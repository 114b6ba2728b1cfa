//! Agents that run with a configuration file, found among the processes: where the file is emptied or gone, nothing else says
//! where they keep what they need.
//!
//! # Format
//! `/proc/<pid>/cmdline` and `environ` (proc(5)) are words that end with a zero byte; `cwd` and `fd/<n>` are links. Of others'
//! processes only root sees the last three.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tidegate::processes;

use crate::command::CONFIG;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Running {
    /// Its process id.
    pub(in crate::command) pid: u32,
    /// Its state directory, if it was told one, as far as this user may see it.
    pub(in crate::command) state: Option<PathBuf>,
    /// Its store's folder, likewise.
    pub(in crate::command) store: Option<PathBuf>,
}

/// Those that run with this file.
pub(in crate::command) fn with(file: &Path) -> Vec<Running> {
    processes::worth_a_look(Path::new("/proc")).filter_map(|pid| look(pid, file)).collect()
}

fn look(pid: u32, file: &Path) -> Option<Running> {
    let of = PathBuf::from(format!("/proc/{pid}"));
    let cwd = std::fs::read_link(of.join("cwd")).unwrap_or_else(|_| PathBuf::from("/"));
    let command = std::fs::read(of.join("cmdline")).ok()?;
    let (config, state) = told(&words(&command))?;
    if cwd.join(config) != file {
        return None;
    }
    let environment = std::fs::read(of.join("environ")).unwrap_or_default();
    let by_manager = words(&environment).into_iter().find_map(|word| word.strip_prefix(b"STATE_DIRECTORY="));
    let by_manager = by_manager.and_then(|folders| folders.split(|byte| *byte == b':').next()).map(path);
    // An agent holds one lock: its store's.
    let lock = processes::open_files(pid).find(|to| to.file_name().is_some_and(|name| name == "lock"));
    Some(Running {
        pid,
        state: state.map(|state| cwd.join(state)).or(by_manager).filter(|state| state.is_absolute()),
        store: lock.and_then(|lock| lock.parent().map(Path::to_path_buf)),
    })
}

/// The configuration file and the state directory that a command line of an agent names; `None` if it is none.
fn told(words: &[&[u8]]) -> Option<(PathBuf, Option<PathBuf>)> {
    let (program, rest) = words.split_first()?;
    let rest = &rest[rest.iter().position(|word| *word == b"run")?..];
    if path(program).file_name()? != "tidegate" {
        return None;
    }
    let named = |option: &str| {
        rest.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(option.as_bytes())? {
            [] => rest.get(at + 1).map(|value| path(value)),
            [b'=', value @ ..] => Some(path(value)),
            _ => None,
        })
    };
    Some((named("--config").unwrap_or_else(|| CONFIG.into()), named("--state")))
}

fn words(text: &[u8]) -> Vec<&[u8]> {
    text.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect()
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_told_by_its_command_line() {
        let of = |line: &str| told(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(of("/usr/bin/tidegate run"), Some((CONFIG.into(), None)));
        assert_eq!(of("tidegate run --config=a.toml --state /s"), Some(("a.toml".into(), Some("/s".into()))));
        assert_eq!(of("tidegate --lang ja run --state=/s --config /a"), Some(("/a".into(), Some("/s".into()))));
        for other in ["", "tidegate", "tidegate check --config /a", "/usr/bin/cat run", "vi tidegate run"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(with(Path::new("/nonexistent/tidegate.toml")), []);
    }
}
