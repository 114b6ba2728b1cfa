//! `tidegate support-bundle`: what is inside, what is not, with the agent and without it.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tidegate_tests::agent::{Setup, binary};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::office;

const PLANTED: [&str; 6] =
    ["plantedBrokerWord", "plantedTail88", "plantedComment77", "plantedUser66", "plantedPayload55", "plantedKey44"];

/// A program in the place of one of the system's.
fn program(folder: &Path, name: &str, says: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).expect("a program");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it may be run");
}

fn bundle(config: &Path, folder: &Path, output: &Path) -> Output {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(binary());
    command.args(["--lang", "en", "support-bundle", "--config"]).arg(config).arg("--output").arg(output);
    command.env("PATH", path).output().expect("the binary starts")
}

/// Everything that is in an archive: names and texts.
fn unpacked(archive: &Path, into: &Path) -> Vec<(String, String)> {
    std::fs::create_dir(into).expect("a folder");
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into).status().expect("tar starts");
    assert!(done.success());
    let entries = std::fs::read_dir(into.join("tidegate-support")).expect("what was packed");
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("text"))
    };
    entries.map(|entry| read(entry.expect("an entry").path())).collect()
}

#[test]
fn a_bundle_has_everything_but_secrets_and_payloads_with_the_agent_and_without() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("broker.password");
    std::fs::write(&secret, "plantedBrokerWord\n").expect("a secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("for its owner");
    setup.set("collect.broker", "url", "\"mqtt://127.0.0.1:9\"").set("collect.broker", "topics", "[\"a/#\"]");
    setup.set("collect.broker", "username", "\"me\"");
    setup.set("collect.broker", "password_file", &format!("\"{}\"", secret.display()));
    let config = folder.path().join("of-agent.toml");
    let text = setup.text()
        + "\n# https://api.soracom.io/v1/incoming_webhooks/plantedComment77 password = \"plantedUser66\"\n";
    std::fs::write(&config, text).expect("a configuration");
    let mut agent = setup.start();
    let payloads = std::iter::once(String::from("\"plantedPayload55\""));
    let outcome = Device::new("d1", Version::V5).start(agent.address(), payloads).join();
    assert_eq!(outcome.acknowledged.len(), 1);
    program(
        folder.path(),
        "journalctl",
        "https://u:plantedUser66@h/plantedTail88 plantedBrokerWord secret-plantedKey44 abc",
    );

    let first = folder.path().join("first.tar.gz");
    let output = bundle(&config, folder.path(), &first);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::metadata(&first).expect("the archive").permissions().mode() & 0o777, 0o600);
    let files = unpacked(&first, &folder.path().join("first"));
    for (name, text) in &files {
        for planted in PLANTED {
            assert!(!text.contains(planted), "{planted} in {name}:\n{text}");
        }
        assert!(name == "CONTENTS.txt" || shown.contains(name.as_str()), "{name} is not listed:\n{shown}");
    }
    for name in ["status.txt", "status.json", "configuration.toml", "segments.jsonl", "log.txt", "versions.txt"] {
        assert!(files.iter().any(|(of, text)| of == name && !text.is_empty()), "{name}:\n{shown}");
    }

    let again = bundle(&config, folder.path(), &first);
    assert_eq!(again.status.code(), Some(1), "a file is never replaced");
    assert!(String::from_utf8_lossy(&again.stderr).contains("TG-607"), "{again:?}");
    let page = office::run(&["explain", "--lang", "en", "TG-607"]).stdout;
    assert!(String::from_utf8_lossy(&page).contains("is there already"), "its page names the cause");
    agent.kill();
    let second = folder.path().join("second.tar.gz");
    let output = bundle(&config, folder.path(), &second);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("status.txt: tidegate is not running"), "{shown}");
    let files = unpacked(&second, &folder.path().join("second"));
    assert!(files.iter().any(|(name, text)| name == "segments.jsonl" && text.contains("gw-test")), "{shown}");
}

#[test]
fn a_secret_is_taken_out_of_the_log_in_whatever_form_and_also_where_it_was_cut() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("broker.password");
    std::fs::write(&secret, "BRKPW p@ss/w+rd=%oo44\n").expect("a secret");
    setup.set("collect.broker", "url", "\"mqtt://127.0.0.1:9\"").set("collect.broker", "topics", "[\"a/#\"]");
    setup.set("collect.broker", "username", "\"me\"");
    setup.set("collect.broker", "password_file", &format!("\"{}\"", secret.display()));
    let lines = [
        "form BRKPW+p%40ss%2Fw%2Brd%3D%25oo44 end",
        "lower BRKPW%20p%40ss%2fw%2brd%3d%25oo44 end",
        "some BRKPW%20p%40ss/w%2Brd%3D%25oo44 end",
        "all %42%52%4B%50%57%20%70%40%73%73%2F%77%2B%72%64%3D%25%6F%6F%34%34 end",
        "json {\"x\":\"BRKPW p@ss\\/w+rd=%oo44\"} end",
        // `me:` and `you:` with the password behind it.
        "pair bWU6QlJLUFcgcEBzcy93K3JkPSVvbzQ0 end",
        "pair eW91OkJSS1BXIHBAc3MvdytyZD0lb280NA== end",
        "cut BRKPW+p%40s… end",
        "cut BRKPW p@ss... end",
    ];
    program(folder.path(), "journalctl", &lines.join("\n"));
    let archive = folder.path().join("forms.tar.gz");
    let config = setup.write();
    assert!(bundle(&config, folder.path(), &archive).status.success());
    let files = unpacked(&archive, &folder.path().join("forms"));
    let log = files.iter().find(|(name, _)| name == "log.txt").map(|(_, text)| text).expect("a log");
    let left = [
        "form […] end",
        "lower […] end",
        "some […] end",
        "all […] end",
        "json {\"x\":\"[…]\"} end",
        "pair […] end",
        "pair […] end",
        "cut […]… end",
        "cut […]... end",
    ];
    assert_eq!(log.lines().collect::<Vec<_>>(), left);
}

#[test]
fn the_list_says_what_cannot_be_found_and_that_nothing_was_looked_for_without_the_configuration() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    let config = setup.write();
    let folder = tempfile::tempdir().expect("a folder");
    program(folder.path(), "journalctl", "a line");
    for (name, config, blind) in [("read", config.as_path(), false), ("unread", folder.path(), true)] {
        let archive = folder.path().join(format!("{name}.tar.gz"));
        let output = bundle(config, folder.path(), &archive);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let files = unpacked(&archive, &folder.path().join(name));
        let list = files.iter().find(|(name, _)| name == "CONTENTS.txt").map(|(_, text)| text).expect("a list");
        for text in [&shown, list] {
            assert!(text.contains("What cannot be found: a secret in free words"), "{text}");
            assert_eq!(text.contains("were not looked for, neither in the log"), blind, "{name}: {text}");
        }
        assert!(!blind || list.contains(&format!("\n  {}: ", config.display())), "{list}");
    }
    let mut command = Command::new(binary());
    command.args(["--lang", "ja", "support-bundle", "--config"]).arg(folder.path());
    let output = command.arg("--output").arg(folder.path().join("ja")).output().expect("the binary starts");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("見つけられないもの") && shown.contains("設定を読み取れなかったため"), "{shown}");
}
