//! What a technician reads under `--lang ja` when something is wrong, on the real binary: no line of it is English
//! ([`tidegate_tests::japanese`]), and what others said stands letter for letter.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::japanese::{Reader, all, run};
use tidegate_tests::newcomer::Bench;
use tidegate_tests::office::{Office, text};
use tidegate_tests::ports::free_port;
use tidegate_tests::stance::{self, delivered, publish, until_stance};
use tidegate_tests::terminal::Terminal;
use tidegate_tests::wait::{self, BOUND};

/// The agent's own socket: what the configuration file says may be wrong.
fn socket(agent: &Agent) -> PathBuf {
    agent.setup.folder().join("control.sock")
}

/// `status` with these words, asked behind that socket.
fn status(agent: &Agent, words: &[&str]) -> String {
    let mut command = Command::new(binary());
    all(&command.args(["status", "--socket"]).arg(socket(agent)).args(words).output().expect("the binary starts"))
}

/// Why the file is not used, by the status; nothing while it is.
fn refusal(agent: &Agent) -> Option<String> {
    let status: Value = serde_json::from_str(&status(agent, &["--json"])).ok()?;
    status["config_error"].as_str().map(str::to_owned)
}

/// The live screen, once it shows this.
fn screen(agent: &Agent, shows: &str) -> String {
    let mut command = Command::new(binary());
    command.args(["--lang", "ja", "status", "--watch", "--socket"]).arg(socket(agent));
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("PATH", "/usr/bin:/bin");
    let mut screen = Terminal::start(60, 240, &command);
    screen.wait_for(shows);
    let shown = screen.shown().join("\n");
    screen.press("q");
    assert!(screen.wait_for_end().success());
    shown
}

#[test]
fn every_wrong_answer_in_setup_is_refused_in_japanese() {
    let mut reader = Reader::new();
    let bench = Bench::default();
    let listen = bench.listen();
    let hook = bench.folder.path().join("hook");
    std::fs::write(&hook, bench.flux.webhook_url()).expect("written");
    let good =
        ["--id", "gw", "--listen", &listen, "--interface", "", "--flux", "webhook", "--webhook-file", text(&hook)];
    for (flag, wrong) in [
        ("--id", "bad name!"),
        ("--listen", "0.0.0.0:99999"),
        ("--broker", "http://x"),
        ("--broker", "mqtt://"),
        ("--broker-topic", "a/#/b"),
        ("--interface", "no such"),
        ("--flux", "webhok"),
        ("--flux-ca", "/nowhere/ca.pem"),
        ("--events-per-month", "1e99"),
        ("--rate", "fast"),
        ("--bytes-per-month", "-5"),
        ("--webhook-file", "/nowhere/hook"),
    ] {
        let mut words: Vec<&str> = good.to_vec();
        match words.iter().position(|word| *word == flag) {
            Some(at) => words[at + 1] = wrong,
            None => words.extend([flag, wrong]),
        }
        if flag == "--broker-topic" {
            words.extend(["--broker", "mqtt://127.0.0.1:1"]);
        }
        let output = bench.run(&[&["--lang", "ja", "--yes", "--no-tests", "--no-start"], &words[..]].concat(), "");
        assert!(!output.status.success(), "{flag} {wrong}: {}", all(&output));
        reader.read(&format!("{flag} {wrong}"), &all(&output));
        assert!(!bench.config().exists(), "{flag} {wrong}");
    }
    // The dialogue.
    let mut command = Command::new(binary());
    command.args(["--lang", "ja", "setup", "--no-tests", "--no-start", "--config"]).arg(bench.config());
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("PATH", "/usr/bin:/bin");
    let mut dialogue = Terminal::start(50, 200, &command);
    dialogue.wait_for("名前");
    dialogue.press("bad name!\n");
    dialogue.wait_for("使えません");
    reader.read("the dialogue", &dialogue.shown().join("\n").replace("bad name!", ""));
    dialogue.press("\u{3}");
    let _ = dialogue.wait_for_end();
    reader.finish();
}

#[test]
fn a_refused_configuration_is_told_in_japanese_wherever_it_is_told() {
    let mut reader = Reader::new();
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut agent = stance::setup(&flux, &office).start();
    let (file, good) = (agent.setup.folder().join("tidegate.toml"), agent.setup.text());
    let refuse = |agent: &Agent, wrong: &str| {
        std::fs::write(&file, wrong).expect("written");
        let before = refusal(agent);
        agent.signal_reload();
        wait::until("it is refused", BOUND, || refusal(agent).is_some_and(|why| Some(why) != before));
    };
    let missing = good.replace("url = ", "url_file = \"/nowhere/hook\"\n#");
    let rule = format!("{good}[[collect.rule]]\ntopic = \"a/#/b\"\nlane = \"normal\"\n");
    let many =
        good.replace("[gateway]", "[gateway]\nidd = 1").replace("gw-test", "bad name!") + "[log]\nlevel = \"loud\"\n";
    for wrong in ["[gateway\nid = 1", "# nothing\n", &missing, &rule, &many] {
        refuse(&agent, wrong);
        let said = status(&agent, &["--lang", "ja"]);
        assert!(said.contains("TG-106"), "{said}");
        reader.read("refused: status", &said);
        reader.run("refused", &agent, &["check"]);
        // A file that was put right and not read yet.
        std::fs::write(&file, &good).expect("written");
        reader.run("put right", &agent, &["check"]);
        reader.run("put right", &agent, &["status"]);
        reader.read("the live screen", &screen(&agent, "TG-106"));
    }
    // After a start with what was kept of it.
    agent.reload();
    wait::until("it is kept", BOUND, || agent.setup.folder().join("store/configuration/kept").is_file());
    agent.kill();
    std::fs::write(&file, &many).expect("written");
    agent.spawn_as_written();
    wait::until("it runs", BOUND, || refusal(&agent).is_some());
    reader.read("kept: status", &status(&agent, &["--lang", "ja"]));
    reader.run("kept", &agent, &["check"]);
    reader.finish();
}

#[test]
fn an_unusable_terms_file_is_told_in_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let terms = setup.folder().join("terms.toml");
    setup.set("provider", "terms", &format!("{:?}", text(&terms)));
    let mut agent = Agent::new(setup);
    for (state, wrong) in [
        ("missing", None),
        ("one mistake", Some("[limits]\nrate = \"fast\"\n")),
        ("no TOML", Some("[limits\nrate = 1")),
    ] {
        if let Some(wrong) = wrong {
            std::fs::write(&terms, wrong).expect("written");
        }
        assert!(agent.setup.write().is_file());
        for words in [&["terms"][..], &["check"], &["check", "--offline"]] {
            let said = reader.run(&format!("{state}, not running"), &agent, words);
            assert!(said.contains("terms.toml"), "{state}: {said}");
        }
        agent.start();
        for words in [&["terms"][..], &["status"], &["check"]] {
            reader.run(state, &agent, words);
        }
        reader.read("the live screen", &screen(&agent, "TG-108"));
        agent.terminate();
    }
    reader.finish();
}

#[test]
fn where_the_ledger_was_changed_is_told_in_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::status(503));
    publish(&agent, "telemetry", "2");
    wait::until("an interval is open", BOUND, || agent.status()["outage"]["attempts"].as_u64() > Some(0));
    agent.terminate();
    let ledger = agent.setup.folder().join("store/outages/ledger");
    let whole = std::fs::read_to_string(&ledger).expect("the ledger");
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() > 3, "{whole}");
    let edited = whole.replacen("\"n\":1", "\"n\":9", 1);
    for changed in [
        edited,
        lines[1..].join("\n") + "\n",
        format!("{}\nno line\n{}\n", lines[0], lines[1..].join("\n")),
        format!("{}\n{}\n", lines[0], lines[2..].join("\n")),
        format!("{whole}torn"),
    ] {
        std::fs::write(&ledger, changed).expect("written");
        let said = reader.run("changed", &agent, &["outages", "--verify"]);
        assert!(said.contains("行"), "{said}");
        reader.run("changed", &agent, &["outages"]);
    }
    // What was torn is cut off and noted at the next start.
    std::fs::write(&ledger, format!("{whole}torn")).expect("written");
    agent.start();
    agent.terminate();
    let said = reader.run("cut off", &agent, &["outages", "--verify"]);
    assert!(said.contains("切り捨て"), "{said}");
    reader.finish();
}

/// What `run` prints on standard error when it ends by itself, from its own words on: before them stands the log.
fn complaint(config: &Path) -> String {
    let output = Command::new(binary())
        .args(["--lang", "ja", "run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let said = all(&output);
    assert!(!output.status.success(), "{said}");
    let at = said.find("tidegate: TG-").unwrap_or_else(|| panic!("no code in {said}"));
    said[at..].to_owned()
}

#[test]
fn what_keeps_run_from_starting_is_told_in_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    let running = Setup::webhook(&flux).start();
    let store = running.setup.folder().join("store");
    let socket = running.setup.folder().join("control.sock");
    let quoted = |path: &Path| format!("{:?}", text(path));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = format!("\"{}\"", held.local_addr().expect("its address"));
    for (code, section, key, value) in [
        ("TG-604", "control", "socket", quoted(&socket)),
        ("TG-604", "control", "socket", quoted(&file)),
        ("TG-604", "control", "socket", quoted(&file.join("c.sock"))),
        ("TG-604", "metrics", "bind", port.clone()),
        ("TG-302", "store", "path", quoted(&store)),
        ("TG-201", "collect.listener", "bind", port.clone()),
        ("TG-201", "collect.listener", "bind", "\"192.0.2.1:1883\"".to_owned()),
        ("TG-102", "store", "path", quoted(&file)),
    ] {
        let mut setup = Setup::webhook(&flux);
        setup.set(section, key, &value);
        let said = complaint(&setup.write());
        assert!(said.contains(code), "{code}: {said}");
        reader.read(&format!("{section}.{key} = {value}"), &said);
    }
    drop(held);
    reader.finish();
}

#[test]
fn a_broker_that_cannot_be_reached_is_told_in_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    for url in [format!("mqtt://127.0.0.1:{}", free_port()), "mqtt://no-such-host.invalid:1883".to_owned()] {
        let mut setup = Setup::webhook(&flux);
        setup.set("collect.broker", "url", &format!("\"{url}\"")).set("collect.broker", "topics", "[\"devices/#\"]");
        let agent = setup.start();
        wait::until("it says why", BOUND, || agent.status()["broker"]["last_error"].as_str() != Some(""));
        let said = reader.run(&url, &agent, &["status"]);
        assert!(said.contains("接続に失敗しました"), "{said}");
    }
    reader.finish();
}

#[test]
fn what_a_bundle_could_not_have_is_told_in_japanese() {
    let mut reader = Reader::new();
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = |name: &str, config: &Path| {
        let output = Command::new(binary())
            .args(["--lang", "ja", "support-bundle", "--output"])
            .arg(folder.path().join(name))
            .arg("--config")
            .arg(config)
            .env("PATH", folder.path())
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "{}", all(&output));
        all(&output)
    };
    let said = bundle("nothing.tar.gz", Path::new("/nowhere/t.toml"));
    assert!(said.contains("取得できなかったもの"), "{said}");
    reader.read("nothing", &said);
    let flux = Flux::start();
    let agent = Agent::new(Setup::webhook(&flux));
    reader.read("not running", &bundle("stopped.tar.gz", &agent.setup.write()));
    std::fs::write(agent.setup.folder().join("tidegate.toml"), "[gateway\n").expect("written");
    reader.read("no TOML", &bundle("wrong.tar.gz", &agent.setup.folder().join("tidegate.toml")));
    reader.finish();
}

#[test]
fn the_demo_is_japanese() {
    let mut reader = Reader::new();
    let output = run(&["--lang", "ja", "demo"]);
    let said = all(&output);
    assert!(output.status.success() && said.contains("損失 0 件"), "{said}");
    reader.read("demo", &said);
    let output = Command::new(binary()).args(["--lang", "ja", "demo"]).env("TMPDIR", "/nowhere").output();
    reader.read("demo without a folder", &all(&output.expect("the binary starts")));
    reader.finish();
}

#[test]
fn the_words_of_others_stand_letter_for_letter() {
    const ANSWER: &str = "refused: because: /v1/x";
    const WHY: &str = "refused: bad token; done";
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = stance::setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::Status { status: 403, headers: Vec::new(), body: ANSWER.into() });
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "suspended");
    let mut reader = Reader::new();
    let ja = |words: &[&str]| all(&agent.command(&[&["--lang", "ja"], words].concat()));
    for said in [ja(&["status"]), ja(&["notices"]), screen(&agent, "TG-503")] {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("HTTP 403")).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(ANSWER)), "{said}");
    }
    for why in [WHY, "because", "refused"] {
        reader.run("held", &agent, &["hold", "--why", why]);
        wait::until("it holds", BOUND, || status(&agent, &[]).contains(&format!(": {why}")));
        for said in [ja(&["status"]), ja(&["notices"]), screen(&agent, why)] {
            assert!(said.contains(why), "{why}: {said}");
            assert!(!said.contains("拒否: bad") && !said.contains("理由: 原因"), "{why}: {said}");
        }
        reader.run("held", &agent, &["resume"]);
    }
    let notice = "id = \"m-1\"\nkind = \"maintenance\"\nwhy = \"because: refused\"\nfrom = \"+1h\"\nuntil = \"+2h\"\ncause = \"works\"\n";
    let file = office.sign("m-1", notice);
    let said = reader.run("notice", &agent, &["notice", "apply", text(&file)]);
    assert!(said.contains("because: refused"), "{said}");
    for said in [ja(&["status"]), ja(&["notices"])] {
        assert!(said.contains("because: refused") && !said.contains("works on the service"), "{said}");
    }
    reader.finish();
}
