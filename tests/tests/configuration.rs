//! Reconfigured in the field without fear: bad edits, power cuts while editing, reloads, and what is stored.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::office;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// A gateway whose state directory is another folder than its store, as the service's may be.
fn setup(flux: &Flux) -> Setup {
    let mut setup = Setup::webhook(flux);
    let state = format!("STATE_DIRECTORY={}", state(&setup).display());
    setup.within(&["env", &state]);
    setup
}

fn state(setup: &Setup) -> PathBuf {
    setup.folder().join("state")
}

fn file(agent: &Agent) -> PathBuf {
    agent.setup.folder().join("tidegate.toml")
}

fn kept(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("configuration/kept")).unwrap_or_default()
}

/// Waits until what the agent runs with is kept.
#[track_caller]
fn wait_until_kept(agent: &Agent) {
    let text = agent.setup.text();
    wait::until("the configuration is kept", BOUND, || kept(&state(&agent.setup)).ends_with(&text));
}

/// What the agent behind the socket says, whatever the file says.
fn status(agent: &Agent) -> Option<Value> {
    let socket = agent.setup.folder().join("control.sock");
    let output = Command::new(binary()).args(["status", "--json", "--socket"]).arg(socket).output().expect("it starts");
    if output.status.success() { serde_json::from_slice(&output.stdout).ok() } else { None }
}

/// Waits until its store is open and its intakes are up.
#[track_caller]
fn wait_until_up(agent: &mut Agent) -> Value {
    wait::for_value("the agent is up", BOUND, || {
        agent.assert_running();
        status(agent).filter(|status| status["epoch"].as_str().is_some_and(|epoch| !epoch.is_empty()))
    })
}

#[track_caller]
fn publish(agent: &Agent, id: u16) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "meter"));
    client.publish_acknowledged("devices/meter/telemetry", id.to_string().as_bytes(), id);
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_power_cut_in_the_middle_of_an_edit_leaves_a_gateway_that_starts_and_says_so() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    publish(&agent, 1);
    wait_until_kept(&agent);
    let text = agent.setup.text();
    let mut sent = 1;
    for cut in [0, 1, text.len() / 3, text.len() / 2, text.len() - 20] {
        agent.kill();
        std::fs::write(file(&agent), &text[..cut]).expect("the file is cut");
        agent.spawn_as_written();
        let status = wait_until_up(&mut agent);
        assert_eq!(status["config_kept"], true, "{cut}: {status:#}");
        assert!(status["config"].as_str().is_some_and(|path| path.ends_with("state/configuration/kept")), "{status:#}");
        assert_eq!(status["config_file"], file(&agent).display().to_string());
        assert!(status["config_error"].is_string() && status["config_kept_ms"].is_u64(), "{status:#}");
        assert_eq!(status["gateway"], "gw-test");
        sent += 1;
        publish(&agent, sent);
        flux.wait_for(usize::from(sent), BOUND);
    }
    assert!(kept(&state(&agent.setup)).ends_with(&text), "what is kept stays");
    let log = agent.log();
    assert!(log.contains("cannot be used; running with what was kept on"), "{log}");
    // People see it in the first lines.
    let socket = agent.setup.folder().join("control.sock");
    let shown = Command::new(binary()).args(["status", "--socket"]).arg(socket).output().expect("it starts");
    let second = String::from_utf8_lossy(&shown.stdout).lines().nth(1).unwrap_or_default().to_owned();
    assert!(second.contains("CONFIGURATION") && second.contains("TG-104"), "{second}");
}

#[test]
fn however_the_file_is_bad_the_gateway_starts_and_a_good_one_is_taken_with_a_reload() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    wait_until_kept(&agent);
    let (text, path) = (agent.setup.text(), file(&agent));
    let secret = text.replace("url = ", "url_file = \"/nonexistent/webhook.url\"\n#");
    let (missing, folder) = (None, Some(String::new()));
    let bad = [
        ("missing", missing),
        ("a folder", folder),
        ("a key is wrong", Some(text.replace("[gateway]", "[gateway]\nnonsense = 1"))),
        ("a secret is missing", Some(secret)),
        ("not text", Some("\u{0}".repeat(4096))),
        // These read well, and the gateway does not come up with them.
        ("an address of another machine", Some(text.replace("\"127.0.0.1:", "\"192.0.2.7:"))),
        ("a store that cannot be made", Some(text.replace(&store(&agent.setup), "\"/proc/nowhere/store\""))),
        ("a socket that cannot be made", Some(text.replace("control.sock", "nowhere/x"))),
    ];
    let _ = std::fs::write(agent.setup.folder().join("nowhere"), "a file where a folder should be");
    for (what, content) in bad {
        agent.kill();
        let _ = std::fs::remove_file(&path);
        match content {
            None => {}
            Some(content) if content.is_empty() => std::fs::create_dir(&path).expect("a folder"),
            Some(content) => std::fs::write(&path, content).expect("a file"),
        }
        agent.spawn_as_written();
        let status = wait_until_up(&mut agent);
        assert_eq!((&status["config_kept"], status["config_error"].is_string()), (&Value::Bool(true), true), "{what}");
        // Bad once more changes nothing.
        agent.signal_reload();
        let _ = std::fs::remove_dir(&path);
        std::fs::write(&path, text.replace("100ms", "150ms")).expect("a file");
        wait::until(&format!("after {what} the good file is in force"), BOUND, || {
            agent.signal_reload();
            status_is(&agent, |status| status["config_kept"] == false && status["config_error"].is_null())
        });
        assert!(self::status(&agent).is_some_and(|status| status["config_needs_restart"] == Value::Array(vec![])));
        std::fs::write(&path, &text).expect("a file");
        agent.signal_reload();
        wait_until_kept(&agent);
    }
}

fn store(setup: &Setup) -> String {
    format!("\"{}\"", setup.folder().join("store").display())
}

fn status_is(agent: &Agent, is: impl Fn(&Value) -> bool) -> bool {
    status(agent).is_some_and(|status| is(&status))
}

#[test]
fn without_anything_kept_or_with_it_damaged_the_error_says_both() {
    let flux = Flux::start_stopped();
    let mut agent = Agent::new(setup(&flux));
    let good = agent.setup.text();
    std::fs::write(file(&agent), good.replace("[gateway]", "[gateway]\nnonsense = 1")).expect("a file");
    agent.spawn_as_written();
    assert_eq!(agent.wait_for_end().code(), Some(1));
    let log = agent.log();
    assert!(log.contains("nonsense") && log.contains("no configuration of it that worked was found"), "{log}");
    agent.start();
    wait_until_kept(&agent);
    agent.kill();
    let path = state(&agent.setup).join("configuration/kept");
    let whole = std::fs::read(&path).expect("it is kept");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("it is damaged");
    std::fs::write(file(&agent), "").expect("a file");
    agent.spawn_as_written();
    assert_eq!(agent.wait_for_end().code(), Some(1));
    let log = agent.log();
    assert!(log.contains("is damaged: its sum does not fit"), "{log}");
}

#[test]
fn without_a_state_directory_it_is_kept_in_the_store_and_found_by_what_is_left_of_the_file() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    let store = agent.setup.folder().join("store");
    wait::until("it is kept", BOUND, || kept(&store).ends_with(&agent.setup.text()));
    agent.kill();
    // [store] is the last section: its path is there, what follows is not.
    let text = agent.setup.text();
    let cut = text.find("path = ").and_then(|at| text[at..].find('\n').map(|end| at + end)).expect("a path");
    std::fs::write(file(&agent), text[..cut].replace("[gateway]", "[gateway")).expect("a file");
    agent.spawn_as_written();
    assert_eq!(wait_until_up(&mut agent)["config_kept"], true);
    agent.kill();
    // Of another file nothing is used, and nothing is found.
    let other = agent.setup.folder().join("other.toml");
    std::fs::write(&other, text[..cut].replace("[gateway]", "[gateway")).expect("a file");
    let ended = Command::new(binary()).args(["run", "--config"]).arg(&other).output().expect("it starts");
    assert_eq!(ended.status.code(), Some(1));
    // A person can say where it is, and get it back.
    std::fs::write(file(&agent), "").expect("a file");
    let back = Command::new(binary())
        .args(["config", "kept", "--state"])
        .arg(&store)
        .arg("--config")
        .arg(file(&agent))
        .output()
        .expect("it starts");
    assert_eq!(String::from_utf8_lossy(&back.stdout), text);
}

#[test]
fn a_reload_is_kept_only_if_nothing_of_it_waits_for_a_restart() {
    let flux = Flux::start_stopped();
    let mut agent = setup(&flux).start();
    wait_until_kept(&agent);
    let first = agent.setup.text();
    agent.setup.set("store", "commit_within", "\"50ms\"");
    agent.reload();
    wait::until("it waits for a restart", BOUND, || {
        status_is(&agent, |status| status["config_needs_restart"] == serde_json::json!(["store.commit_within"]))
    });
    assert!(kept(&state(&agent.setup)).ends_with(&first), "it has not been shown to work");
    agent.kill();
    agent.start();
    wait_until_kept(&agent);
    let inode = || {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(state(&agent.setup).join("configuration/kept"))
            .map(|about| (about.ino(), about.mode() & 0o777))
            .ok()
    };
    let before = inode();
    assert_eq!(before.map(|(_, mode)| mode), Some(0o600));
    let at = |agent: &Agent| agent.number("/config_loaded_ms");
    let read = at(&agent);
    wait::until("it is read again", BOUND, || {
        agent.signal_reload();
        at(&agent) > read
    });
    assert_eq!(inode(), before, "flash is not worn for what is kept already");
}

#[test]
fn a_reload_that_is_refused_for_any_reason_changes_nothing_at_all() {
    let flux = Flux::start_stopped();
    let mut setup = setup(&flux);
    let passwords = setup.folder().join("passwords");
    std::fs::write(&passwords, "").expect("a file");
    let url = setup.folder().join("webhook.url");
    std::fs::write(&url, flux.webhook_url()).expect("a file");
    setup.without("forward.flux").set("forward.flux", "kind", "\"webhook\"");
    setup.set("forward.flux", "url_file", &format!("{url:?}"));
    setup.set("collect.listener", "passwords_file", &format!("{passwords:?}"));
    setup.set("collect.listener", "allow_anonymous", "true");
    let agent = setup.start();
    wait_until_kept(&agent);
    let (good, path) = (agent.setup.text(), file(&agent));
    let status = agent.status();
    let (fingerprint, limits) = (status["config_fingerprint"].clone(), status["limits"].clone());
    let digest = Command::new("sha256sum").arg(&path).output().expect("coreutils are there");
    assert_eq!(String::from_utf8_lossy(&digest.stdout).split(' ').next(), fingerprint.as_str());
    // Each with a key that could take effect at once.
    let changed = good.replace("100ms", "7s");
    assert_ne!(changed, good);
    let refused = |what: &str, text: &str, word: &str| {
        std::fs::write(&path, text).expect("a file");
        agent.signal_reload();
        wait::until(&format!("{what} is refused"), BOUND, || {
            status_is(&agent, |status| status["config_error"].as_str().is_some_and(|error| error.contains(word)))
        });
        let status = self::status(&agent).expect("it answers");
        assert_eq!((&status["config_fingerprint"], &status["limits"]), (&fingerprint, &limits), "{what}");
        assert_eq!(status["config_kept"], false, "{what}");
        assert!(kept(&state(&agent.setup)).ends_with(&good), "{what}");
        // A good file is taken, and said to be.
        std::fs::write(&path, &good).expect("a file");
        wait::until("the good one is taken", BOUND, || {
            agent.signal_reload();
            status_is(&agent, |status| status["config_error"].is_null())
        });
    };
    refused(
        "a rule that is wrong",
        &format!("{changed}[[collect.rule]]\ntopic = \"a/#/b\"\nlane = \"normal\"\n"),
        "collect.rule",
    );
    refused(
        "a rule for a lane that is not there",
        &changed.replace("lane = \"normal\"", "lane = \"nowhere\""),
        "nowhere",
    );
    refused("half a file", &changed[..changed.len() / 2], "mistake");
    std::fs::write(&passwords, "nobody:plain\n").expect("a file");
    refused_while(&agent, &path, &changed, "passwords", &fingerprint, &limits);
    std::fs::write(&passwords, "").expect("a file");
    std::fs::remove_file(&url).expect("it was there");
    refused_while(&agent, &path, &changed, "webhook.url", &fingerprint, &limits);
    std::fs::write(&url, "not a url").expect("a file");
    refused_while(&agent, &path, &changed, "url_file", &fingerprint, &limits);
    std::fs::write(&url, flux.webhook_url()).expect("a file");
    refused(
        "a certificate that is not there",
        &changed.replace("[forward.flux]\n", "[forward.flux]\nca_file = \"/nonexistent/ca.crt\"\n"),
        "ca.crt",
    );
}

/// Refused because of what the file names, which is bad by itself.
#[track_caller]
fn refused_while(agent: &Agent, path: &Path, text: &str, word: &str, fingerprint: &Value, limits: &Value) {
    std::fs::write(path, text).expect("a file");
    agent.signal_reload();
    wait::until(&format!("{word} is refused"), BOUND, || {
        status_is(agent, |status| status["config_error"].as_str().is_some_and(|error| error.contains(word)))
    });
    let status = status(agent).expect("it answers");
    assert_eq!((&status["config_fingerprint"], &status["limits"]), (fingerprint, limits), "{word}");
}

#[test]
fn a_storm_of_reloads_and_kills_ends_in_the_last_good_file_with_nothing_lost() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    wait_until_kept(&agent);
    let path = file(&agent);
    let mut sent = 0;
    for round in 0..4_usize {
        for step in 0..25 {
            agent.setup.set("forward.flux.batch", "max_age", &format!("\"{}ms\"", 100 + round * 100 + step));
            let text = agent.setup.text();
            let cut = if step % 3 == 0 { text.len() } else { text.len() * step / 27 };
            std::fs::write(&path, &text[..cut]).expect("a file");
            agent.signal_reload();
            std::thread::sleep(Duration::from_millis(3 * (step as u64 % 4)));
        }
        sent += 1;
        publish(&agent, sent);
        // In the middle of whatever it was doing; the file is a bad one.
        std::fs::write(&path, "[gateway").expect("a file");
        agent.kill();
        agent.spawn_as_written();
        let status = wait_until_up(&mut agent);
        assert_eq!(status["config_kept"], true, "{status:#}");
    }
    agent.reload();
    let last = agent.setup.text();
    wait::until("the last good file is in force and kept", BOUND, || {
        status_is(&agent, |status| status["config_kept"] == false && status["config_error"].is_null())
            && kept(&state(&agent.setup)).ends_with(&last)
    });
    flux.wait_for(usize::from(sent), BOUND);
    flux.assert_sound();
}

#[test]
fn a_changed_store_section_touches_no_stored_record() {
    let flux = Flux::start_stopped();
    let mut setup = setup(&flux);
    for name in ["critical", "normal", "bulk"] {
        setup.lane(&format!("name = \"{name}\""));
    }
    let mut agent = setup.start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "meter"));
    let payload = "x".repeat(60_000);
    for id in 1..=100 {
        client.publish_acknowledged("devices/meter/telemetry", payload.as_bytes(), id);
    }
    drop(client);
    let lost = |agent: &Agent| {
        let counts = &agent.status()["counts"];
        ["evicted", "damaged", "expired"].map(|name| counts[name].as_u64())
    };
    let restart = |agent: &mut Agent| {
        agent.kill();
        agent.start();
        // The store looks after its room every ten seconds, and after ages every five.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!((agent.waiting(), lost(agent)), (100, [Some(0); 3]), "{}", agent.setup.text());
    };
    restart(&mut agent);
    for (key, value) in [
        ("max_size", "\"2MiB\""),
        ("min_size", "\"0B\""),
        ("policy", "\"refuse\""),
        ("keep_delivered", "\"1h\""),
        ("commit_within", "\"0s\""),
        ("flash_endurance", "\"10TB\""),
        ("hardware", "\"none\""),
        ("keep_free_inodes", "10"),
        ("policy", "\"drop-oldest\""),
    ] {
        agent.setup.set("store", key, value);
        agent.reload();
        restart(&mut agent);
    }
    // Lanes in another order, with an age limit, renamed, and gone.
    agent.setup.without_lanes_and_rules();
    agent.setup.lane("name = \"bulk\"\nmax_age = \"1s\"").lane("name = \"normal\"\nmax_age = \"1s\"");
    agent.setup.rule("topic = \"devices/{device}/telemetry\"\nlane = \"normal\"");
    restart(&mut agent);
    agent.setup.without_lanes_and_rules();
    agent.setup.lane("name = \"other\"");
    agent.setup.rule("topic = \"devices/{device}/telemetry\"\nlane = \"other\"");
    restart(&mut agent);
    // Elsewhere there is nothing; here there still is.
    let elsewhere = agent.setup.folder().join("elsewhere");
    let home = agent.setup.folder().join("store");
    agent.setup.store_at(&elsewhere);
    let _ = agent.setup.write();
    let said = text_of(&agent.command(&["check", "--offline", "--state", &state(&agent.setup).display().to_string()]));
    assert!(said.contains("! 100 records wait in"), "{said}");
    agent.kill();
    agent.start();
    assert_eq!(agent.waiting(), 0);
    agent.setup.store_at(&home);
    restart(&mut agent);
    flux.resume();
    flux.wait_for(100, BOUND);
}

#[test]
fn check_offline_says_what_would_change_and_what_would_be_used_instead() {
    let flux = Flux::start_stopped();
    let mut agent = setup(&flux).start();
    wait_until_kept(&agent);
    let state = state(&agent.setup).display().to_string();
    let check = |agent: &Agent| {
        let output = agent.command(&["check", "--offline", "--state", &state]);
        (output.status.code(), text_of(&output))
    };
    let (code, said) = check(&agent);
    assert!(code == Some(0) && said.contains("it is what worked last"), "{said}");
    agent.setup.set("store", "max_size", "\"500MiB\"").set("forward.flux.batch", "max_age", "\"9s\"");
    let _ = agent.setup.write();
    let (code, said) = check(&agent);
    let line =
        |name: &str| said.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default().to_owned();
    assert!(code == Some(0) && line("at a reload").contains("forward.flux.batch.max_age"), "{said}");
    assert!(line("at a restart").contains("store.max_size"), "{said}");
    std::fs::write(file(&agent), "[gateway").expect("a file");
    let (code, said) = check(&agent);
    assert_eq!(code, Some(1));
    assert!(said.contains("line 1") && said.contains("would run with what worked last"), "{said}");
    // It asked nobody: the agent need not run.
    agent.kill();
    assert_eq!(check(&agent).0, Some(1));
}

#[test]
fn a_store_of_a_newer_version_is_refused_with_its_code_and_left_as_it_is() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, 1);
    let store = agent.setup.folder().join("store");
    let text = agent.setup.text();
    wait::until("it is kept", BOUND, || kept(&store).ends_with(&text));
    assert!(agent.terminate().success());
    let version = store.join("version");
    assert!(std::fs::read_to_string(&version).is_ok_and(|text| text.starts_with("tidegate-store ")));
    // "tidegate-store 900 " and its CRC32C.
    std::fs::write(&version, NEWER).expect("a file");
    let everything = || {
        let listed = Command::new("sh")
            .args([
                "-c",
                "cd \"$0\" && find . -printf '%p %s %T@ %i\\n' | sort && find . -type f | sort | xargs sha256sum",
            ])
            .arg(&store)
            .output()
            .expect("findutils are there");
        assert!(listed.status.success());
        String::from_utf8_lossy(&listed.stdout).into_owned()
    };
    let before = everything();
    agent.spawn();
    assert_eq!(agent.wait_for_end().code(), Some(1));
    let log = agent.log();
    assert!(log.contains("TG-303") && log.contains("format 900"), "{log}");
    assert_eq!(everything(), before);
    let looked = agent.command(&["buffer", "status"]);
    assert!(!looked.status.success() && text_of(&looked).contains("TG-303"), "{}", text_of(&looked));
    assert_eq!(everything(), before);
}

/// The version of a store of format 900, as a later version of Tidegate would write it.
const NEWER: &str = "tidegate-store 900 dc228584\n";

/// What a command says of this configuration; it fails.
#[track_caller]
fn refused(arguments: &[&str], config: &std::path::Path, code: &str) -> String {
    let output = office::run(&[&["--lang", "en"], arguments, &["--config", office::text(config)]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    said
}

#[test]
fn a_file_that_is_no_toml_is_never_shown_as_the_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, payload) = (folder.path().join("c.toml"), folder.path().join("p.json"));
    std::fs::write(&payload, "{\"t\":1}").expect("a file");
    for text in ["this is no configuration\n", "[limits\nrate = \"1 Mbit/s\"\n"] {
        std::fs::write(&config, text).expect("a file");
        for command in [&["terms"][..], &["fields", "try", office::text(&payload)]] {
            let said = refused(command, &config, "TG-102");
            assert!(said.contains("not TOML") && said.contains("line 1"), "{said}");
        }
    }
}

#[test]
fn where_nothing_is_kept_and_where_no_rule_stands_it_is_said_with_a_code_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, payload) = (folder.path().join("c.toml"), folder.path().join("p.json"));
    std::fs::write(&payload, "{\"t\":1}").expect("a file");
    std::fs::write(&config, "[gateway]\nid = \"gw\"\n").expect("a file");
    let state = folder.path().join("state");
    let said = refused(&["config", "kept", "--state", office::text(&state)], &config, "TG-101");
    assert!(said.contains(office::text(&state)) && said.contains("tidegate setup"), "{said}");
    let said = refused(&["fields", "try", office::text(&payload)], &config, "TG-102");
    assert!(said.contains("write [[collect.fields]] into it"), "{said}");
}

#[test]
fn the_last_that_the_service_manager_hears_of_a_start_that_fails_is_why_with_its_code() {
    let flux = Flux::start_stopped();
    let setup = Setup::webhook(&flux);
    let manager = setup.folder().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&manager).expect("a socket");
    socket.set_read_timeout(Some(wait::BOUND)).expect("a time limit");
    let config = setup.write();
    let last = || {
        let mut command = Command::new(binary());
        let ended = command.args(["run", "--config"]).arg(&config).env("NOTIFY_SOCKET", &manager).status();
        assert_eq!(ended.expect("it starts").code(), Some(1));
        socket.set_nonblocking(true).expect("a mode");
        let mut bytes = [0; 4096];
        let all = std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec()));
        String::from_utf8_lossy(&all.last().expect("it was told something")).into_owned()
    };
    let _held = std::net::TcpListener::bind(setup.address()).expect("the port is free");
    let taken = last();
    assert!(taken.starts_with("STATUS=TG-201: ") && !taken.contains("what to do"), "{taken}");
    std::fs::write(&config, "[gatway]\n").expect("written");
    assert!(last().starts_with("STATUS=TG-102: "), "{}", last());
}
