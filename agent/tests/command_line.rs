//! The `tidegate` command as a shell sees it: output, exit codes, closed pipes.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("a path of text").to_owned()
}

#[test]
fn check_says_every_mistake_with_its_line_and_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(folder.path(), "t.toml");
    fs::write(&file, "[gateway]\nidd = \"a\"\n[store]\nmax_size = 5\n[forward.flux]\nkind = \"unified\"\n")
        .expect("write");
    let output = tidegate(&["check", "--offline", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for words in ["3 mistakes", "line 1, column 1: gateway.id", "`id`", "line 4, column 12: store.max_size", "\"5KiB\""]
    {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn check_says_what_it_understood_and_exits_with_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(folder.path(), "t.toml");
    let secret = path(folder.path(), "url");
    fs::write(&secret, "https://hooks.example/v1/very-secret\n").expect("write");
    let flux = format!("[forward.flux]\nkind = \"webhook\"\nurl_file = \"{secret}\"\n");
    fs::write(&file, format!("[gateway]\nid = \"gw-7\"\n{flux}")).expect("write");
    let output = tidegate(&["check", "--offline", "--config", &file]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    for words in ["is fine", "gw-7", "127.0.0.1:1883", "webhook https://hooks.example\n", "500 records, 64KiB or 270s"]
    {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!said.contains("very-secret"));
}

#[test]
fn check_reads_standard_input_and_run_refuses_to() {
    let check = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", "--offline", "--config", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    };
    let output = check("[gateway]\nid = \"gw-7\"\n[forward.flux]\nkind = \"unified\"\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("standard input is fine"), "{}", text(&output.stdout));
    let output = check("[gateway]\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard input: 2 mistakes"), "{}", text(&output.stderr));
    let output = tidegate(&["run", "--config", "-"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("name a file"), "{}", text(&output.stderr));
}

#[test]
fn check_does_not_repeat_a_secret_that_stands_where_its_file_should() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(folder.path(), "t.toml");
    let hook = "https://api.soracom.io/v1/flux/incoming_webhooks/a/VERYSECRET";
    let flux = format!("[forward.flux]\nkind = \"webhook\"\nurl_file = \"{hook}\"\n");
    let broker =
        "[collect.broker]\nurl = \"mqtt://b\"\ntopics = [\"#\"]\nusername = \"u\"\npassword_file = \"VERYSECRET\"\n";
    fs::write(&file, format!("[gateway]\nid = \"g\"\n{flux}{broker}")).expect("write");
    for command in [&["check", "--offline"][..], &["check"], &["run"]] {
        let output = tidegate(&[command, &["--config", &file]].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(said.matches("not a path").count(), 2, "{said}");
        assert!(!said.contains("VERYSECRET"), "{said}");
    }
}

#[test]
fn run_refuses_a_wrong_configuration_with_all_its_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(folder.path(), "t.toml");
    fs::write(&file, "[gateway]\nid = 5\n[log]\nlevel = \"loud\"\n").expect("write");
    let output = tidegate(&["run", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("gateway.id") && said.contains("log.level") && said.contains("forward.flux.kind"), "{said}");
    let output = tidegate(&["run", "--config", &path(folder.path(), "missing")]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("config default") && said.contains("because: No such file"), "{said}");
}

#[test]
fn the_default_configuration_goes_to_a_file_and_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = tidegate(&["config", "default"]);
    assert_eq!(output.status.code(), Some(0));
    let secret = path(folder.path(), "url");
    fs::write(&secret, "https://hooks.example/x").expect("write");
    let file = path(folder.path(), "t.toml");
    fs::write(&file, text(&output.stdout).replace("/etc/tidegate/secrets/webhook.url", &secret)).expect("write");
    let output = tidegate(&["check", "--offline", "--config", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn status_without_an_agent_says_so_and_exits_with_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = path(folder.path(), "none.sock");
    let output = tidegate(&["status", "--socket", &socket]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("not running"), "{}", text(&output.stderr));
    // A socket that was left behind is no agent either.
    drop(UnixListener::bind(&socket).expect("a socket"));
    assert_eq!(tidegate(&["status", "--json", "--socket", &socket]).status.code(), Some(3));
}

#[test]
fn status_shows_what_the_agent_answers_for_people_and_for_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = path(folder.path(), "s.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let agent = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            assert_eq!(line, "{\"request\":\"status\"}\n");
            stream.write_all(b"{\"ok\":{\"gateway\":\"gw-9\",\"counts\":{\"waiting\":1234}}}\n").expect("answer");
        }
    });
    let config = path(folder.path(), "t.toml");
    fs::write(&config, format!("[control]\nsocket = \"{socket}\"\n")).expect("write");
    let people = tidegate(&["status", "--config", &config]);
    assert_eq!(people.status.code(), Some(0), "{}", text(&people.stderr));
    assert!(text(&people.stdout).contains("gw-9") && text(&people.stdout).contains("1,234"));
    let programs = tidegate(&["status", "--json", "--socket", &socket]);
    let status: serde_json::Value = serde_json::from_slice(&programs.stdout).expect("JSON");
    assert_eq!(status["counts"]["waiting"], 1234);
    agent.join().expect("the agent saw what it should");
}

#[test]
fn the_demo_leaves_no_folder_when_its_terminal_goes_away_or_it_is_terminated() {
    for signal in ["HUP", "TERM", "INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("demo")
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // Once figures are shown, the store stands.
        let shown = lines.map_while(Result::ok).any(|line| line.contains("delivered"));
        assert!(shown && fs::read_dir(folder.path()).expect("a folder").count() == 1, "{signal}");
        let killed = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", child.id())).status();
        assert!(killed.expect("sh runs").success());
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{signal}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "{signal}");
    }
}

#[test]
fn a_demo_without_a_place_for_its_folder_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("demo").env("TMPDIR", "/missing/folder").output();
    let output = output.expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("/missing/folder") && said.contains("TMPDIR=") && said.contains("because:"), "{said}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = UnixStream::pair().expect("a pair of sockets");
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["config", "default"])
        .stdout(Stdio::from(std::os::fd::OwnedFd::from(writer)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let output = child.wait().expect("it ends");
    assert_eq!(output.code(), Some(0));
}

#[test]
fn wrong_arguments_exit_with_2_and_the_version_is_told() {
    assert_eq!(tidegate(&["dance"]).status.code(), Some(2));
    let output = tidegate(&["--version"]);
    assert_eq!(text(&output.stdout), format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
    assert!(text(&tidegate(&["--help"]).stdout).contains("Exit codes"));
}

/// A configuration with these rules for fields in a folder, and its path. Nothing else of it is right.
fn with_fields(folder: &Path, rules: &str) -> String {
    let (file, key) = (path(folder, "t.toml"), path(folder, "key"));
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key, mode).expect("only its owner may read it");
    fs::write(&file, format!("[collect.pseudonyms]\nkey_file = \"{key}\"\n{rules}")).expect("write");
    file
}

#[test]
fn rules_for_fields_can_be_tried_and_a_refusal_is_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = "[[collect.fields]]\ntopic = \"devices/+/telemetry\"\ndrop = [\"person.name\"]\npseudonymise = [\"who\"]\n\
                 round = { t = 0.5 }\n";
    let config = with_fields(folder.path(), rules);
    let good = path(folder.path(), "good");
    fs::write(&good, "{\"person\":{\"name\":\"Ann\"},\"who\":7,\"t\":21.74}\n{\"t\":1}\n").expect("write");
    let output = tidegate(&["fields", "try", &good, "--config", &config]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    for words in [
        "devices/+/telemetry",
        "line 2",
        "person.name  dropped        \"Ann\"",
        "21.74 → 21.5",
        "stored  {\"person\":{},\"who\":\"p_",
        "2 payloads, 0 refused",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }

    let bad = path(folder.path(), "bad");
    fs::write(&bad, "{\"person\":\"Ann\"}\n{\"t\":1}\n").expect("write");
    let output = tidegate(&["fields", "try", &bad, "--json", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&said["refused"], &said["payloads"][0]["stored"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(said["payloads"][0]["reason"], "person is a text and should be an object");
    assert_eq!(said["payloads"][1]["stored"], "{\"t\":1.0}");
    assert!(text(&output.stderr).contains("1 of 2 payloads would be refused"));

    let other = tidegate(&["fields", "try", &bad, "--topic", "plant/x", "--config", &config]);
    assert_eq!(other.status.code(), Some(0), "no rule treats it");
    assert!(text(&other.stdout).contains("No rule treats this topic"));
}

#[test]
fn with_several_rules_for_fields_the_topic_must_be_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules =
        "[[collect.fields]]\ntopic = \"a/#\"\ndrop = [\"x\"]\n[[collect.fields]]\ntopic = \"b/#\"\ndrop = [\"y\"]\n";
    let config = with_fields(folder.path(), rules);
    let file = path(folder.path(), "payload");
    fs::write(&file, "{\"x\":1,\n\"y\":2}").expect("write");
    let output = tidegate(&["fields", "try", &file, "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a/#, b/#"), "{}", text(&output.stderr));
    let output = tidegate(&["fields", "try", &file, "--topic", "b/1", "--config", &config]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("stored  {\"x\":1}"), "{}", text(&output.stdout));
}

#[test]
fn a_file_of_comments_alone_is_not_configured_yet_which_run_says_with_a_code_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(folder.path(), "t.toml");
    for comments in ["", "# nothing\n\n   # yet\n", include_str!("../../systemd/tidegate.toml")] {
        fs::write(&file, comments).expect("write");
        for (command, code) in [("run", 78), ("check", 1)] {
            let output = tidegate(&[command, "--config", &file]);
            let said = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command}: {said}");
            assert!(said.contains("TG-103"), "{command}: {said}");
            assert!(said.contains(&file) && said.contains("not configured yet") && said.contains("setup"), "{said}");
        }
    }
    fs::write(&file, "[gateway]\n").expect("write");
    assert_eq!(tidegate(&["run", "--config", &file]).status.code(), Some(1), "what is begun is judged");
}

#[test]
fn what_asks_for_action_has_a_code_and_leads_to_its_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let (nowhere, there) = (path(folder.path(), "nowhere"), path(folder.path(), "there"));
    fs::write(&there, "no key\n").expect("written");
    let fields = path(folder.path(), "t.toml");
    fs::write(&fields, "[[collect.fields]]\ntopic = \"#\"\ndrop = [\"a\"]\n").expect("written");
    let below = path(folder.path(), "nowhere/x");
    for (arguments, code) in [
        (&["notice", "show", &nowhere][..], "TG-608"),
        (&["notice", "apply", &nowhere], "TG-608"),
        (&["notice", "sign", "--key", &nowhere, "--withdraw", "m-7"], "TG-608"),
        (&["notice", "sign", "--key", &there, "--withdraw", "m-7"], "TG-704"),
        (&["notice", "keygen", "--out", &there], "TG-607"),
        (&["notice", "keygen", "--out", &below], "TG-607"),
        (&["outages", "--store", &nowhere], "TG-608"),
        (&["outages", "--store", &there], "TG-608"),
        (&["support-bundle", "--output", &below], "TG-607"),
        (&["fields", "try", &nowhere, "--config", &fields], "TG-608"),
    ] {
        let output = tidegate(&[&["--lang", "en"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(&format!("tidegate: {code}: ")), "{arguments:?}: {said}");
        assert!(said.ends_with(&format!("what to do: tidegate explain {code}\n")), "{arguments:?}: {said}");
    }
    let demo =
        Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["--lang", "en", "demo"]).env("TMPDIR", &nowhere).output();
    let said = text(&demo.expect("it runs").stderr);
    assert!(said.starts_with("tidegate: TG-607: cannot make the demo's folder"), "{said}");
}
