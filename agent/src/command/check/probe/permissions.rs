//! Who may read the files that the configuration names: the service must, and of secrets nobody else should.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config::Exposed;
use tidegate::language::system;
use tidegate::message;
use tidegate::regular;

use super::runner::Runner;
use super::unit::Unit;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// Keys that name files, and whether what is in them is secret.
const KEYS: [(&str, bool); 13] = [
    ("url_file", true),
    ("auth_key_id_file", true),
    ("auth_key_file", true),
    ("password_file", true),
    ("passwords_file", true),
    ("key_file", true),
    ("client_key", true),
    ("tls_key", true),
    ("tls_certificate", false),
    ("tls_client_ca", false),
    ("client_certificate", false),
    ("ca_file", false),
    ("terms", false),
];

/// Looks at the file that the configuration stands in and at all files that it names; secrets in its text make it one.
pub(in crate::command) fn look(config: &Path, text: &str, runner: &Runner, unit: &Unit, tell: Tell<'_>) {
    let mut found = Vec::new();
    let mut holds_secret = false;
    if let Ok(table) = text.parse::<toml::Table>() {
        files(&table, &mut found, &mut holds_secret);
    }
    found.sort();
    found.dedup();
    tell(judge(config, holds_secret, runner, unit));
    for (path, secret) in &found {
        tell(judge(path, *secret, runner, unit));
    }
}

/// The files that a table names, with whether they are secret, and whether a secret stands in it itself.
fn files(table: &toml::Table, found: &mut Vec<(PathBuf, bool)>, holds_secret: &mut bool) {
    for (key, value) in table {
        match value {
            toml::Value::Table(table) => files(table, found, holds_secret),
            toml::Value::Array(all) => {
                all.iter().filter_map(toml::Value::as_table).for_each(|table| files(table, found, holds_secret));
            }
            toml::Value::String(text) => {
                *holds_secret |= key == "url" && text.contains("incoming_webhooks");
                // A terms file that is not there has a line of its own.
                let missing = key == "terms" && !Path::new(text).exists();
                if let Some((_, secret)) = KEYS.iter().find(|(name, _)| name == key).filter(|_| !missing) {
                    found.push((text.into(), *secret));
                }
            }
            _ => {}
        }
    }
}

fn judge(path: &Path, secret: bool, runner: &Runner, unit: &Unit) -> Finding {
    let what = Id::File.of(message!("file {path}", path = path.display()));
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::bad(
                what,
                message!("it is not there"),
                Code::Permissions,
                message!("make it, or correct the configuration: {path}", path = path.display()),
            );
        }
        Err(error) => {
            let said = message!("it cannot be looked at: {error}", error = system::said(&error));
            return Finding::unknown(what, said, Some(message!("run it again with sudo")));
        }
    };
    if !about.is_file() {
        return Finding::bad(
            what,
            message!("it is not a regular file"),
            Code::Permissions,
            message!("see what stands there, and move it away: ls -ld {path}", path = path.display()),
        );
    }
    let mode = about.mode() & 0o7777;
    let shown = format!("{mode:04o}");
    if let Some(exposed) = Exposed::of(mode).filter(|_| secret) {
        return Finding::attention(
            what,
            match exposed {
                Exposed::Read => message!("everybody on this machine may read it (mode {mode})", mode = shown),
                Exposed::Change => message!("everybody on this machine may change it (mode {mode})", mode = shown),
                Exposed::Both => {
                    message!("everybody on this machine may read and change it (mode {mode})", mode = shown)
                }
            },
            Code::Permissions,
            message!("take that away: chmod o= {path}", path = path.display()),
        );
    }
    if unit.hands_over(path) {
        return Finding::good(what, message!("mode {mode}; systemd hands it to the service", mode = shown));
    }
    let read = runner.act(|| regular::open(path).map(|_| ()).map_err(|error| error.kind()));
    let user = runner.name.as_str();
    match read {
        Some(Ok(())) => Finding::good(what, message!("mode {mode}; {user} may read it", mode = shown, user = user)),
        Some(Err(io::ErrorKind::PermissionDenied)) => Finding::bad(
            what,
            message!("the service's user {user} may not read it (mode {mode})", user = user, mode = shown),
            Code::Permissions,
            message!(
                "let it: chgrp {user} {path} && chmod 640 {path}, and its folder: chmod o+x or chgrp {user}",
                user = user,
                path = path.display(),
            ),
        ),
        Some(Err(kind)) => {
            Finding::unknown(what, message!("it cannot be looked at: {error}", error = kind.to_string()), None)
        }
        None => Finding::unknown(
            what,
            message!("whether the service's user {user} may read it can be seen by root and {user} only", user = user),
            Some(message!("run it again with sudo")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn every_key_that_names_a_file_is_known_here() {
        let of = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        for key in tidegate::config::KEYS.iter().map(|key| of(key.path)).filter(|key| key.ends_with("_file")) {
            assert!(KEYS.iter().any(|(known, _)| *known == key), "{key}");
        }
    }

    #[test]
    fn files_are_found_wherever_they_are_named() {
        let text = "[forward.flux]\nurl_file = \"/a\"\nurl = \"https://x/incoming_webhooks/y\"\n[collect.listener]\n\
                    tls_certificate = \"/b\"\n[[some]]\nkey_file = \"/c\"\n";
        let (mut found, mut holds_secret) = (Vec::new(), false);
        files(&text.parse().expect("TOML"), &mut found, &mut holds_secret);
        found.sort();
        assert_eq!(found, [("/a".into(), true), ("/b".into(), false), ("/c".into(), true)]);
        assert!(holds_secret);
    }

    #[test]
    fn a_secret_is_for_the_service_and_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "x").expect("a file");
        let runner = Runner::find(&Unit::NoSystemd, None);
        for (mode, said) in
            [(0o644, "may read it (mode 0644)"), (0o602, "may change it"), (0o666, "may read and change it")]
        {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode");
            let finding = judge(&file, true, &runner, &Unit::NoSystemd);
            assert_eq!(finding.result, Outcome::Attention);
            assert!(finding.said.to_string().contains(said), "{}", finding.said);
        }
        let missing = judge(&folder.path().join("none"), true, &runner, &Unit::NoSystemd);
        assert_eq!((missing.result, missing.code), (Outcome::Bad, Some(Code::Permissions)));
        let odd = judge(folder.path(), false, &runner, &Unit::NoSystemd);
        assert_eq!((odd.result, odd.code), (Outcome::Bad, Some(Code::Permissions)), "a folder");
    }
}
