//! `tidegate setup` and files: what secrets and paths it takes, what it keeps, and disks and folders where nothing can be written.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tidegate_tests::agent::binary;
use tidegate_tests::newcomer::{Bench, SECRET, mode, said};
use tidegate_tests::tools::LoopDisk;

/// Nobody, on every Linux.
const NOBODY: u32 = 65534;

/// Every file and folder below one, with its bytes.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path.clone());
                all.insert(path, None);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                all.insert(path, Some(bytes));
            }
        }
    }
    all
}

/// Setup of what answers all, without tests, of a configuration in `folder`.
fn setup(folder: &Path) -> Command {
    let webhook = folder.parent().expect("it is below another").join("webhook");
    std::fs::write(&webhook, format!("https://example.org/v1/flux/incoming_webhooks/a/{SECRET}\n")).expect("a file");
    std::fs::set_permissions(&webhook, std::fs::Permissions::from_mode(0o644)).expect("for everybody");
    let mut command = Command::new(binary());
    command.args(["--lang", "en", "setup", "--yes", "--no-tests", "--no-start", "--no-limits", "--id", "gw-1"]);
    command.args(["--listen", "127.0.0.1:1883", "--interface", ""]);
    command.arg("--webhook-file").arg(webhook).arg("--config").arg(folder.join("tidegate.toml"));
    command.stdin(Stdio::null());
    command
}

/// It failed with this code and these words, and named no secret.
#[track_caller]
fn assert_refused(output: &Output, code: &str, words: &[&str]) {
    let all = said(output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(all.contains(&format!("tidegate: {code}: ")) && !all.contains(SECRET), "{all}");
    for word in words {
        assert!(all.contains(word), "{word:?}: {all}");
    }
}

#[test]
fn a_secret_of_more_than_one_line_and_an_empty_one_are_refused_in_plain_words() {
    let bench = Bench::default();
    let arguments =
        ["--yes", "--no-tests", "--id", "gw-1", "--listen", "127.0.0.1:1883", "--interface", "", "--no-limits"];
    let two = format!("https://h/{SECRET}\nhttps://h/b\n");
    for (file, secret, words) in [
        ("--webhook-file", two.as_str(), "more than one line"),
        ("--webhook-file", "https://h/\n b\n", "more than one line"),
        ("--auth-key-file", "secret-a\nsecret-b", "more than one line"),
        ("--webhook-file", "", "is empty"),
        ("--auth-key-file", " \n\n", "is empty"),
    ] {
        let output = bench.run(&[&arguments[..], &[file, "-"]].concat(), secret);
        assert_refused(&output, "TG-105", &[words]);
        assert!(!bench.config().exists());
    }
}

#[test]
fn relative_paths_are_taken_from_the_folder_that_one_is_in() {
    let bench = Bench::default();
    let here = bench.folder.path().join("here");
    std::fs::create_dir(&here).expect("a folder");
    let certs = tidegate_tests::certs::make(bench.folder.path());
    std::fs::copy(&certs.ca, here.join("ca.crt")).expect("a file");
    std::fs::write(here.join("hook"), format!("https://example.org/v1/flux/incoming_webhooks/a/{SECRET}"))
        .expect("a file");
    std::fs::write(here.join("terms.toml"), "").expect("a file");
    let output = Command::new(binary())
        .args(["--lang", "en", "setup", "--yes", "--no-tests", "--no-start", "--id", "gw-1", "--interface", ""])
        .args(["--devices", "both", "--listen", "127.0.0.1:1883", "--broker", "mqtts://127.0.0.1:8883"])
        .args([
            "--config",
            "etc/tidegate.toml",
            "--webhook-file",
            "hook",
            "--flux-ca",
            "ca.crt",
            "--broker-ca",
            "./ca.crt",
        ])
        .args(["--terms", "terms.toml"])
        .current_dir(&here)
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let all = said(&output);
    assert!(output.status.success(), "{all}");
    let text = std::fs::read_to_string(here.join("etc/tidegate.toml")).expect("written");
    let folder = here.display();
    for line in [
        format!("url_file = \"{folder}/etc/secrets/webhook-url\""),
        format!("ca_file = \"{folder}/ca.crt\""),
        format!("terms = \"{folder}/terms.toml\""),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert_eq!(text.matches("ca_file = ").count(), 2, "{text}");
}

#[test]
fn a_secret_that_stood_in_the_configuration_is_kept_in_a_file_when_another_way_is_taken() {
    let bench = Bench::default();
    let inline = format!(
        "[gateway]\nid = \"gw-1\"\n[collect.listener]\nbind = \"127.0.0.1:1883\"\n[forward.flux]\nkind = \"webhook\"\n\
         url = \"https://example.org/v1/flux/incoming_webhooks/a/{SECRET}\" # of the old app\n"
    );
    bench.existing(&inline);
    let unified = ["--yes", "--no-tests", "--no-start", "--flux", "unified"];
    let output = bench.run(&unified, "");
    let all = said(&output);
    assert!(output.status.success() && !all.contains(SECRET), "{all}");
    let kept = bench.secret("webhook-url.old");
    assert!(all.contains(&format!("{} will keep", kept.display())), "{all}");
    let secret = std::fs::read_to_string(&kept).expect("it is kept");
    assert_eq!(secret.trim(), format!("https://example.org/v1/flux/incoming_webhooks/a/{SECRET}"));
    assert_eq!((mode(&kept), mode(kept.parent().expect("a folder"))), (0o600, 0o700));
    let text = bench.text();
    assert!(text.contains(&format!("#url_file = \"{}\" # of the old app", kept.display())), "{text}");
    assert!(!text.contains(SECRET), "{text}");
    // Another one, later: the first stays.
    bench.existing(&inline.replace(SECRET, "another"));
    let again = bench.run(&["--yes", "--no-tests", "--no-start", "--webhook-file", "-"], "https://example.org/new");
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(std::fs::read_to_string(&kept).expect("it is kept"), secret);
    let second = std::fs::read_to_string(bench.secret("webhook-url.old2")).expect("it is kept, too");
    assert!(second.contains("/another"), "{second}");
    assert!(std::fs::read_to_string(bench.secret("webhook-url")).expect("it is used").contains("/new"));
}

#[test]
fn on_a_full_disk_nothing_is_half_written() {
    let disk = LoopDisk::mount(8);
    let old = "# mine\n[gateway]\nid = \"old\"\n";
    for (name, existing) in [("new", false), ("old", true)] {
        let folder = disk.path().join(name).join("etc");
        std::fs::create_dir_all(if existing { &folder } else { folder.parent().expect("one") }).expect("a folder");
        if existing {
            std::fs::write(folder.join("tidegate.toml"), old).expect("a file");
        }
        let mut command = setup(&folder);
        disk.fill();
        let before = tree(&disk.path().join(name));
        let output = command.output().expect("it starts");
        assert_refused(&output, "TG-607", &["there is no room", "df -h"]);
        assert_eq!(tree(&disk.path().join(name)), before);
        disk.free();
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "with room it goes through: {}", said(&output));
    }
    // Room for the secret, none for the configuration.
    let folder = disk.path().join("some/etc");
    std::fs::create_dir_all(folder.join("secrets")).expect("a folder");
    std::fs::write(folder.join("secrets/webhook-url"), "https://example.org/old\n").expect("a file");
    std::fs::write(folder.join("tidegate.toml"), format!("{old}# {}\n", "x".repeat(200_000))).expect("a file");
    let mut command = setup(&folder);
    std::fs::write(disk.path().join("room"), vec![7; 32 * 1024]).expect("a file");
    disk.fill();
    std::fs::remove_file(disk.path().join("room")).expect("removed");
    let before = tree(&folder);
    let output = command.output().expect("it starts");
    assert_refused(&output, "TG-607", &["there is no room", "tidegate.toml"]);
    assert_eq!(tree(&folder), before, "the secret, which fitted, is as it was");
}

#[test]
fn on_a_disk_that_is_read_only_nothing_is_written_and_sudo_is_not_advised() {
    let disk = LoopDisk::mount(8);
    let folder = disk.path().join("a/etc");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = setup(&folder);
    disk.remount("ro");
    let before = tree(&disk.path().join("a"));
    let output = command.output().expect("it starts");
    assert_refused(&output, "TG-607", &["read-only"]);
    assert!(!said(&output).contains("sudo"), "{}", said(&output));
    assert_eq!(tree(&disk.path().join("a")), before);
}

#[test]
fn a_user_who_may_not_write_there_is_sent_to_sudo_before_anything_is_asked() {
    let bench = Bench::default();
    let folder = bench.folder.path().join("etc");
    let old = bench.existing("");
    let mut command = setup(&folder);
    std::fs::set_permissions(bench.folder.path(), std::fs::Permissions::from_mode(0o755)).expect("for everybody");
    let before = tree(bench.folder.path());
    let output = command.uid(NOBODY).gid(NOBODY).output().expect("it starts");
    assert_refused(&output, "TG-607", &["sudo"]);
    assert_eq!((tree(bench.folder.path()), bench.text()), (before, old));
}

#[test]
fn what_is_missing_or_bad_or_not_agreed_has_a_code_and_a_next_step() {
    let bench = Bench::default();
    assert_refused(&bench.run(&["--yes"], ""), "TG-109", &["--id", "tidegate explain TG-109"]);
    let nobody = format!("http://127.0.0.1:9/v1/flux/incoming_webhooks/a/{SECRET}");
    let listen = bench.listen();
    let all = ["--id", "gw-1", "--listen", &listen, "--webhook-file", "-", "--interface", "", "--no-limits"];
    assert_refused(&bench.run(&all, &nobody), "TG-110", &["--keep-bad", "tidegate explain TG-110"]);
    let untested = bench.run(&[&all[..], &["--no-tests"]].concat(), &nobody);
    assert_refused(&untested, "TG-109", &["--yes", "tidegate explain TG-109"]);
    assert!(!bench.config().exists());
}

#[test]
fn what_a_killed_setup_left_is_removed_by_the_next_one_and_nothing_else() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("etc");
    let secrets = folder.join("secrets");
    std::fs::create_dir_all(&secrets).expect("a folder");
    let mut ended = Command::new("true").spawn().expect("it starts");
    let (ended, own) = (ended.wait().map(|_| ended.id()).expect("it ends"), std::process::id());
    let left = [
        secrets.join(format!(".webhook-url.{ended}.new")),
        secrets.join(format!(".auth-key-id.old2.{ended}.new")),
        folder.join(format!(".tidegate.toml.{ended}.new")),
    ];
    let others = [
        secrets.join(format!(".webhook-url.{own}.new")),
        secrets.join(format!(".mine.{ended}.new")),
        secrets.join("webhook-url.old"),
        folder.join(format!(".webhook-url.{ended}.new")),
        folder.join(".tidegate.toml.swp.new"),
    ];
    for file in left.iter().chain(&others) {
        std::fs::write(file, SECRET).expect("a file");
    }
    let link = secrets.join(format!(".broker-password.{ended}.new"));
    std::os::unix::fs::symlink(&others[2], &link).expect("a link");
    let output = setup(&folder).output().expect("the binary starts");
    let all = said(&output);
    assert!(output.status.success() && !all.contains(SECRET), "{all}");
    for file in &left {
        assert!(!file.exists() && all.contains(&format!("removed {}", file.display())), "{file:?}: {all}");
    }
    for file in others.iter().chain([&link]) {
        assert!(file.exists() && !all.contains(&format!("removed {}", file.display())), "{file:?}: {all}");
    }
}
