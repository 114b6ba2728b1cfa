//! Whether the agent can open its store: what `tidegate run` would say of it, found out without opening it.
//!
//! # Constraints
//! - Nothing is written and no lock is taken. What opening would fail with is judged by the store's own code
//!   ([`Store::outlook`]), as the service's user; that another process holds the lock is read in the system's list.
//! - While an agent has the store open, it is not read: that it is open says all.

use std::io;
use std::path::Path;

use tidegate::code::Code;
use tidegate::config::Config;
use tidegate::gateway::of_file;
use tidegate::language::{Message, system};
use tidegate::message;
use tidegate::processes;
use tidegate::store::{Outlook, Store, StoreError};
use tidegate::watch::Status;

use super::runner::Runner;
use super::unit::Unit;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};
use crate::command::holder;

/// Looks.
pub(in crate::command) fn look(
    config: &Config,
    runner: &Runner,
    unit: &Unit,
    service: Option<&Status>,
    tell: Tell<'_>,
) {
    let what = Id::StoreOpening.of(message!("store, opening"));
    let folder = &config.store.path;
    let here = service.filter(|status| Path::new(&status.store.path) == folder);
    if here.is_some_and(|status| !status.epoch.is_empty()) {
        return tell(Finding::good(what, message!("the service has it open")));
    }
    if let Some(pid) = holder::of_store(folder) {
        let ours = service.is_some_and(|status| status.pid == pid) || unit.main_pid() == Some(pid);
        return tell(if ours { opens(what, pid) } else { held(what, folder, pid) });
    }
    if super::store::kept_out(&config.store, runner, service).is_some() {
        // The line on writing says why.
        return;
    }
    let options = of_file::store(config);
    tell(match runner.act(|| Store::outlook(&options)) {
        None => {
            let user = runner.name.as_str();
            let said = message!(
                "whether the service's user {user} can open it can be seen by root and {user} only",
                user = user
            );
            Finding::unknown(what, said, Some(message!("run it again with sudo")))
        }
        Some(Ok(outlook)) => judge(what, &outlook),
        Some(Err(error)) => refused(what, folder, &runner.name, &error),
    });
}

/// Our service holds the lock and has not said that the store is open.
fn opens(what: Subject, pid: u32) -> Finding {
    let said = message!("the service (process {pid}) is opening it, or does not answer", pid = pid);
    Finding::unknown(what, said, Some(message!("wait a minute and check again")))
}

fn held(what: Subject, folder: &Path, pid: u32) -> Finding {
    let name = processes::name(Path::new("/proc"), pid).filter(|name| !name.is_empty());
    let name = name.as_deref().unwrap_or("?");
    Finding::bad(
        what,
        message!("{name} (process {pid}) has it open: a second agent ends", name = name, pid = pid),
        Code::StoreInUse,
        message!(
            "end the one that should not run (systemctl status {pid}), or give each a folder of its own: [store] path, now {path}",
            pid = pid,
            path = folder.display()
        ),
    )
}

fn judge(what: Subject, outlook: &Outlook) -> Finding {
    if outlook.new {
        return Finding::good(what, message!("nothing is stored yet: it is made at the first start"));
    }
    if !outlook.is_damaged() {
        return Finding::good(
            what,
            match outlook.torn {
                0 => message!("it can be opened"),
                bytes => message!(
                    "it can be opened; {bytes} bytes that were being written when it ended, and that no device was answered, are cut off",
                    bytes = bytes
                ),
            },
        );
    }
    let costs = [
        outlook.version_damaged.then(|| message!("its file version is not as it was written and is made anew")),
        outlook
            .control_lost
            .then(|| message!("its state is lost: what was delivered is sent again, sessions begin anew")),
        (outlook.unusable > 0).then(|| message!("{count} files are set aside", count = outlook.unusable)),
        (outlook.unreadable > 0).then(|| message!("{count} records are lost", count = outlook.unreadable)),
    ];
    let all = costs.into_iter().flatten().reduce(|all, one| message!("{all}; {one}", all = all, one = one));
    Finding::attention(
        what,
        message!("it can be opened, and is damaged: {costs}", costs = all.unwrap_or(message!("it can be opened"))),
        Code::StoreDamaged,
        message!("see what is damaged: tidegate buffer verify; and whether the medium fails: dmesg"),
    )
}

/// What `run` would end with, or try again and again.
fn refused(what: Subject, folder: &Path, user: &str, error: &StoreError) -> Finding {
    let own = || message!("or give this one a folder of its own: [store] path");
    let (said, next): (Message, Message) = match error {
        StoreError::Version { path, found, known } if found > known => (
            message!(
                "{path} was written by a newer version of Tidegate (format {found}, this one knows {known}): it is refused and left as it is",
                path = path,
                found = found,
                known = known
            ),
            message!(
                "install the newer version again (apt install ./tidegate_VERSION_ARCHITECTURE.deb), {other}",
                other = own()
            ),
        ),
        StoreError::Version { path, found, known } => (
            message!(
                "{path} was written by an older version of Tidegate (format {found}, this one knows {known}): it is refused and left as it is",
                path = path,
                found = found,
                known = known
            ),
            message!("let that version deliver what waits, {other}", other = own()),
        ),
        StoreError::Io { path, source, .. } => (
            message!(
                "the service's user {user} cannot open it: {path}: {why}",
                user = user,
                path = path,
                why = system::said(source)
            ),
            advice(source, folder, path, user),
        ),
        _ => (
            message!("it cannot be opened as configured: {why}", why = error.to_string()),
            message!("correct [store] and [[lane]] in the configuration"),
        ),
    };
    Finding::bad(what, said, error.code(), next)
}

fn advice(source: &io::Error, folder: &Path, path: &str, user: &str) -> Message {
    match source.kind() {
        io::ErrorKind::PermissionDenied => message!(
            "give the service what is in it: chown -R {user}: {path}; an agent that was started by hand as root leaves such files",
            user = user,
            path = folder.display()
        ),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => {
            message!("see what stands there, and move it away: ls -ld {path}", path = path)
        }
        io::ErrorKind::ReadOnlyFilesystem => message!("see the line on its medium"),
        _ => message!(
            "see what the medium says: dmesg --level=err,warn; before it is replaced, write out what waits: tidegate buffer export"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;
    use tidegate::language::Language;

    fn what() -> Subject {
        Id::StoreOpening.of(message!("store, opening"))
    }

    #[test]
    fn damage_is_told_with_what_it_costs_and_keeps_no_store_from_opening() {
        let whole = Outlook::default();
        assert_eq!(judge(what(), &Outlook { new: true, ..whole.clone() }).result, Outcome::Good);
        assert_eq!(judge(what(), &whole).result, Outcome::Good);
        assert_eq!(judge(what(), &Outlook { torn: 17, ..whole.clone() }).result, Outcome::Good);
        let worst = Outlook { version_damaged: true, control_lost: true, unusable: 2, unreadable: 30, ..whole };
        let finding = judge(what(), &worst);
        assert_eq!((finding.result, finding.code), (Outcome::Attention, Some(Code::StoreDamaged)));
        let said = finding.said.text(Language::English);
        assert!(said.contains("2 files") && said.contains("30 records") && said.contains("sent again"), "{said}");
    }

    #[test]
    fn what_run_would_end_with_has_its_code_and_a_step_that_fits() {
        let version = |found| StoreError::Version { path: "/s/version".into(), found, known: 2 };
        let io = |kind: io::ErrorKind| StoreError::Io { action: "open", path: "/s/lock".into(), source: kind.into() };
        for (error, word) in [
            (version(3), "apt install"),
            (version(1), "deliver"),
            (io(io::ErrorKind::PermissionDenied), "chown -R tidegate: /s"),
            (io(io::ErrorKind::NotADirectory), "ls -ld /s/lock"),
            (io(io::ErrorKind::Other), "dmesg"),
            (StoreError::Options { what: "no lanes".into() }, "[store]"),
        ] {
            let finding = refused(what(), Path::new("/s"), "tidegate", &error);
            assert_eq!((finding.result, finding.code), (Outcome::Bad, Some(error.code())));
            let next = finding.next.expect("a step").text(Language::English);
            assert!(next.contains(word), "{next}");
        }
    }
}
