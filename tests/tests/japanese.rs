//! What a technician reads under `--lang ja`, on the real binary in several states: no line of it is English
//! ([`tidegate_tests::japanese`]).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::process::Command;

use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::japanese::{Reader, all, english, run};
use tidegate_tests::office::{Office, text};
use tidegate_tests::stance::{self, apply, delivered, publish, until_stance};
use tidegate_tests::wait::{self, BOUND};

fn setup(flux: &Flux, office: &Office) -> Setup {
    stance::setup(flux, office)
}

#[test]
fn english_is_seen_and_what_is_none_is_not() {
    let commands: BTreeSet<String> = ["status", "buffer"].map(str::to_owned).into();
    for line in [
        "tidegate is not running",
        "a, b: not good, at all",
        "  because: No such file",
        "設定: no mistakes",
        "`a` and then `b`",
        "対処: tidegate status、then go on",
        "good        clock: not synchronised",
    ] {
        assert!(english(line, &commands).is_some(), "{line}");
    }
    for line in [
        "対処: tidegate buffer verify --json を実行してください",
        "起動してください: systemctl enable --now tidegate",
        "SORACOM Flux へ送信します",
        "/etc/tidegate/tidegate.toml: collect.listener.bind が誤っています",
        "理由: the mast is being painted",
        "normal   critical",
        "tidegate: TG-101: /x を読み取れません",
    ] {
        assert_eq!(english(line, &commands), None, "{line}");
    }
}

#[test]
fn help_and_usage_errors_are_japanese() {
    let mut reader = Reader::new();
    reader.read_help();
    for words in [
        &["statsu"][..],
        &["status", "--jso"],
        &["status", "--socket"],
        &["status", "--watch", "--json"],
        &["buffer"],
        &["buffer", "export", "--format", "xml"],
        &["buffer", "inspect", "--from", "yesterday"],
        &["buffer", "replay", "--from", "-2h", "--to", "now", "--device", "a"],
        &["hold", "--for", "soon", "--why", "x"],
        &["hold", "--why", ""],
        &["hold"],
        &["explain", "TG-999"],
        &["outages", "--month", "2026-13"],
        &["setup", "--no-limits", "--rate", "1"],
        &["notice", "show", "x", "--trust", "ops"],
        &["explain"],
        &["run", "--config", "-"],
    ] {
        let output = run(&[&["--lang", "ja"], words].concat());
        reader.read(&words.join(" "), &all(&output));
    }
    reader.finish();
}

#[test]
fn the_locale_decides_where_nothing_else_does() {
    let mut reader = Reader::new();
    let command = |words: &[&str], name: &str, locale: &str| {
        let mut command = Command::new(binary());
        command.args(words).env_remove("LC_ALL").env_remove("LC_MESSAGES").env_remove("LANG").env(name, locale);
        all(&command.output().expect("the binary starts"))
    };
    for words in
        [&["--help"][..], &["status", "--config", "/nowhere/t.toml"], &["check", "--config", "/nowhere/t.toml"]]
    {
        for name in ["LANG", "LC_ALL"] {
            reader.read(&format!("{name} {words:?}"), &command(words, name, "ja_JP.UTF-8"));
        }
        let said = command(words, "LANG", "en_US.UTF-8");
        let kana = |c: char| matches!(c, '\u{3040}'..='\u{30ff}');
        assert!(!said.contains(kana), "{said}");
    }
    reader.finish();
}

#[test]
fn what_is_said_without_an_agent_is_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    assert!(setup.write().is_file());
    let agent = Agent::new(setup);
    reader.look("not running", &agent);
    for words in [
        &["hold", "--why", "what was sent"][..],
        &["resume"],
        &["config", "kept"],
        &["terms", "accept", "2"],
        &["buffer", "replay", "--from", "-2h", "--to", "now"],
        &["buffer", "quarantine", "retry", "normal/17"],
        &["fields", "try", "/nowhere"],
        &["status", "--watch"],
    ] {
        reader.run("not running", &agent, words);
    }
    let missing =
        ["check", "check --offline", "status", "run", "terms", "fields try -", "buffer status", "setup --yes"];
    for words in missing {
        let words: Vec<&str> = words.split(' ').chain(["--config", "/nowhere/t.toml", "--lang", "ja"]).collect();
        reader.read(&format!("no file: {}", words.join(" ")), &all(&run(&words)));
    }
    reader.finish();
}

/// A configuration with many mistakes.
const BAD: &str = "[gateway]\nid = \"\"\nidd = 1\n[store]\nmax_size = 64\n[log]\nlevel = \"loud\"\n[forward.flux]\nkind = \"webhok\"\n\
                   [forward.flux.batch]\nmax_age = \"5 years\"\n[collect.broker]\nurl = \"http://x\"\ntopics = [\"a/#/b\"]\n[[lane]]\nname = \"a b\"\n\
                   [[collect.rule]]\ntopic = \"devices/{device}/{x}\"\nlane = \"none\"\n[limits]\nrate = \"fast\"\n[alarm]\ncommand = [\"horn\"]\n";

/// One without mistakes, of which there is much to say.
const DOUBTFUL: &str = "[gateway]\nid = \"gw\"\n[collect.listener]\nbind = \"0.0.0.0:1883\"\n[forward.flux]\nkind = \"unified\"\n\
                        [forward.flux.batch]\nmax_age = \"1s\"\n[limits]\nevents_per_month = 10000\n[[collect.fields]]\ntopic = \"#\"\ndrop = [\"a\"]\n\
                        otherwise = \"store\"\n";

#[test]
fn what_is_said_of_a_file_is_japanese() {
    let mut reader = Reader::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.toml");
    for (state, text) in
        [("bad", BAD), ("doubtful", DOUBTFUL), ("no TOML", "[gateway\nid = 1"), ("empty", "# nothing\n")]
    {
        std::fs::write(&file, text).expect("written");
        for words in ["check", "check --offline", "run", "status", "terms", "setup --yes --no-tests"] {
            if words == "run" && state == "doubtful" {
                continue;
            }
            let words: Vec<&str> = words.split(' ').chain(["--lang", "ja", "--config", self::text(&file)]).collect();
            reader.read(&format!("{state}: {}", words.join(" ")), &all(&run(&words)));
        }
    }
    reader.finish();
}

#[test]
fn what_setup_writes_is_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, hook) = (folder.path().join("etc/t.toml"), folder.path().join("hook"));
    std::fs::write(&hook, flux.webhook_url()).expect("written");
    let port = format!("127.0.0.1:{}", tidegate_tests::ports::free_port());
    let answers = [
        "--id",
        "gw",
        "--interface",
        "",
        "--listen",
        &port,
        "--flux",
        "webhook",
        "--webhook-file",
        text(&hook),
        "--rate",
        "512 kbit/s",
    ];
    for more in [&["--no-tests"][..], &[]] {
        let words =
            [&["--lang", "ja", "setup", "--yes", "--no-start", "--config", text(&file)], &answers[..], more].concat();
        reader.read("setup", &all(&run(&words)));
    }
    let written = std::fs::read_to_string(&file).expect("it was written");
    let comments: Vec<&str> = written.lines().filter(|line| line.starts_with('#')).collect();
    reader.read("its comments", &comments.join("\n"));
    reader.finish();
}

#[test]
fn what_is_said_of_fields_is_japanese() {
    let mut reader = Reader::new();
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.fields("topic = \"devices/+/telemetry\"\nround = { t = 0.5 }\ndrop = [\"who.name\"]");
    assert!(setup.write().is_file());
    let agent = Agent::new(setup);
    let file = agent.setup.folder().join("payloads");
    for payloads in ["{\"t\":1.7,\"who\":{\"name\":\"A\"}}\n{\"t\":\"x\"}\n", "no JSON", "{\"t\":{},\"who\":[]}"] {
        std::fs::write(&file, payloads).expect("written");
        reader.run("fields", &agent, &["fields", "try", text(&file)]);
    }
    reader.finish();
}

#[test]
fn what_is_said_of_a_gateway_that_runs_well_is_japanese() {
    let mut reader = Reader::new();
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    reader.look("running", &agent);
    for words in [
        &["buffer", "replay", "--from", "-2h", "--to", "now"][..],
        &["buffer", "inspect", "--all"],
        &["config", "kept", "--state", "/nowhere"],
        &["terms", "accept", "2"],
        &["resume"],
        &["hold", "--for", "2h", "--why", "the mast is being painted"],
    ] {
        reader.run("running", &agent, words);
    }
    let bundle = agent.setup.folder().join("bundle.tar.gz");
    reader.run("running", &agent, &["support-bundle", "--output", text(&bundle)]);
    until_stance(&agent, "held");
    publish(&agent, "telemetry", "2");
    reader.look("held", &agent);
    reader.run("held", &agent, &["resume"]);
    reader.finish();
}

#[test]
fn what_is_said_of_what_the_provider_announces_is_japanese() {
    let mut reader = Reader::new();
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let agent = setup(&flux, &office).start();
    for (id, toml) in [
        (
            "m-1",
            "id = \"m-1\"\nkind = \"maintenance\"\nwhy = \"the database moves\"\nfrom = \"+1h\"\nuntil = \"+2h\"\ncause = \"works\"\n",
        ),
        ("r-1", "id = \"r-1\"\nkind = \"restriction\"\nuntil = \"+2h\"\n[limits]\nrate = \"128 kbit/s\"\n"),
        ("e-1", "id = \"e-1\"\nkind = \"emergency\"\nfrom = \"+3h\"\n"),
        ("i-1", "id = \"i-1\"\nkind = \"information\"\nwhy = \"the database moves\"\n"),
        ("q-1", "id = \"q-1\"\nkind = \"quota\"\nuntil = \"+2h\"\n"),
        (
            "t-1",
            "id = \"t-1\"\nkind = \"terms_changed\"\nversion = \"3\"\neffective = \"+9d\"\nurl = \"https://soracom.jp/terms\"\n",
        ),
        ("n-1", "id = \"n-1\"\nkind = \"end\"\nat = \"+90d\"\n"),
        ("s-1", "id = \"s-1\"\nkind = \"suspension\"\nwhy = \"nobody paid\"\ncause = \"unpaid\"\n"),
        ("w-1", "id = \"s-1\"\nkind = \"withdrawn\"\n"),
    ] {
        let file = office.sign(id, toml);
        reader.run(id, &agent, &["notice", "show", text(&file)]);
        reader.run(id, &agent, &["notice", "apply", text(&file)]);
        reader.look(id, &agent);
        if id == "s-1" {
            until_stance(&agent, "suspended");
            reader.look("suspended", &agent);
        }
    }
    // What was announced before would rank above it.
    let agent = self::setup(&flux, &office).start();
    apply(&agent, &office, "m-2", "id = \"m-2\"\nkind = \"maintenance\"\nuntil = \"+2h\"\n");
    until_stance(&agent, "maintenance");
    reader.look("maintenance", &agent);
    let stranger = Office::new("stranger");
    let stranger = (stranger.sign("x", "id = \"x\"\nkind = \"information\"\n"), stranger);
    reader.run("refused", &agent, &["notice", "apply", text(&stranger.0)]);
    reader.run("refused", &agent, &["notices"]);
    reader.finish();
}

#[test]
fn what_is_said_of_answers_that_stop_is_japanese() {
    let mut reader = Reader::new();
    for status in [401, 402, 403, 404, 410, 429, 500] {
        let (flux, office) = (Flux::start(), Office::new("ops"));
        let mut setup = setup(&flux, &office);
        setup.set("alarm", "after", "\"1s\"");
        let agent = setup.start();
        publish(&agent, "telemetry", "1");
        delivered(&agent, &flux, 1);
        flux.answer_all(Answer::status(status));
        publish(&agent, "telemetry", "what was sent");
        flux.wait_for_requests(2);
        wait::until("the answer is told", BOUND, || agent.verdict() != "accepted");
        wait::until("the alarm sounds", BOUND, || agent.status()["outage"]["alarm"] == true);
        reader.look(&status.to_string(), &agent);
    }
    reader.finish();
}

#[test]
fn what_is_said_of_records_that_were_put_aside_and_of_a_full_store_is_japanese() {
    let mut reader = Reader::new();
    let (flux, office) = (Flux::start(), Office::new("ops"));
    let mut setup = setup(&flux, &office);
    setup.set("store", "max_size", "\"4MiB\"");
    let agent = setup.start();
    flux.answer_by(|request| if request.holds("poison") { Answer::status(400) } else { Answer::Accept });
    for payload in ["1", "2", "poison", "3", "4"] {
        publish(&agent, "telemetry", payload);
    }
    wait::until("it is put aside", BOUND, || agent.put_aside() == 1);
    reader.look("put aside", &agent);
    let id = agent.command(&["buffer", "quarantine", "list"]);
    let id = all(&id).split_whitespace().find(|word| word.contains("/normal/")).expect("an id").to_owned();
    for what in ["show", "retry", "drop"] {
        reader.run("put aside", &agent, &["buffer", "quarantine", what, &id]);
    }
    reader.run("put aside", &agent, &["buffer", "quarantine", "drop", "normal/4711"]);
    flux.stop();
    let large = "x".repeat(60_000);
    wait::until("the store has evicted", BOUND, || {
        publish(&agent, "telemetry", &large);
        agent.evicted() > 0
    });
    reader.look("full", &agent);
    reader.finish();
}
