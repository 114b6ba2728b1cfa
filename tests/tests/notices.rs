//! Signed notices: made, shown, applied and dropped into a folder with the real binary; refused ones are counted, whoever
//! brings them; and nothing a device publishes is one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::office::{Office, run, text};
use tidegate_tests::wait::{self, BOUND};

/// An agent that believes this office, and watches `inbox` in its folder.
fn agent(flux: &Flux, office: &Office) -> Agent {
    let mut setup = Setup::webhook(flux);
    let inbox = setup.folder().join("inbox");
    std::fs::create_dir(&inbox).expect("a folder");
    setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
    setup.set("provider.notices", "folder", &format!("\"{}\"", inbox.display()));
    setup.synchronise();
    setup.start()
}

fn inbox(agent: &Agent) -> Value {
    agent.status()["stance"]["inbox"].clone()
}

fn refused(agent: &Agent, code: &str) -> u64 {
    let all = inbox(agent)["refused"].clone();
    let found = all.as_array().and_then(|all| all.iter().find(|one| one["cause"] == code));
    found.and_then(|one| one["count"].as_u64()).unwrap_or(0)
}

fn apply(agent: &Agent, file: &Path) -> (Option<i32>, String) {
    let output = agent.command(&["notice", "apply", text(file)]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

/// Puts a file into the watched folder as the documents say.
fn drop_into(agent: &Agent, file: &Path, name: &str) {
    let folder = agent.setup.folder().join("inbox");
    std::fs::copy(file, folder.join(".fresh")).expect("copied");
    std::fs::rename(folder.join(".fresh"), folder.join(name)).expect("renamed");
}

#[test]
fn a_notice_is_made_shown_applied_and_seen_and_a_repeat_changes_nothing() {
    let (flux, office) = (Flux::start(), Office::new("ops-2026"));
    let agent = agent(&flux, &office);
    let file =
        office.sign("hello", "id = \"n-1\"\nkind = \"information\"\nwhy = \"closed today\"\ngateways = [\"gw-*\"]\n");

    let shown = run(&["notice", "show", text(&file)]);
    let said = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.status.success() && said.contains("NOT VERIFIED") && said.contains("id = \"n-1\""), "{said}");
    let shown = run(&["notice", "show", text(&file), "--trust", &office.key]);
    let said = String::from_utf8(shown.stdout).expect("text");
    assert!(said.starts_with("# signed by ops-2026: the signature holds\n"), "{said}");
    let config = agent.setup.folder().join("tidegate.toml");
    let shown = run(&["notice", "show", text(&file), "--config", text(&config)]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("it is for gw-test"), "{shown:?}");

    let (code, said) = apply(&agent, &file);
    assert!(code == Some(0) && said.starts_with("accepted: information n-1, signed by ops-2026\n"), "{said}");
    let (code, said) = apply(&agent, &file);
    assert!(code == Some(0) && said.starts_with("repeated: ") && said.contains("taken in before"), "{said}");
    let standing = inbox(&agent);
    assert_eq!(
        (&standing["accepted"], &standing["repeated"], &standing["keys"][0]),
        (&1.into(), &1.into(), &"ops-2026".into())
    );
    let status = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(status.contains("keys believed: ops-2026; 1 taken in, 1 brought again, 0 refused"), "{status}");

    // What is shown can be signed again, as an amendment.
    let again = String::from_utf8(shown.stdout).expect("text").replace("closed today", "open");
    let again: Vec<&str> = again.lines().filter(|line| !line.starts_with("issued")).collect();
    let (code, said) = apply(&agent, &office.sign("again", &again.join("\n")));
    assert!(code == Some(0) && said.starts_with("amended: ") && said.contains("why: open"), "{said}");
    let (code, said) = apply(&agent, &file);
    assert!(code == Some(1) && said.contains("(older)"), "{said}");
}

#[test]
fn what_is_refused_is_counted_and_shown_whoever_brings_it() {
    let (flux, office, other) = (Flux::start(), Office::new("ops-2026"), Office::new("ops-2026"));
    let agent = agent(&flux, &office);
    let forged = other.information("n-1");
    let elsewhere = office.sign("n-2", "id = \"n-2\"\nkind = \"end\"\nat = \"now\"\ngateways = [\"barn-1\"]\n");
    let expired = office
        .sign("n-3", "id = \"n-3\"\nkind = \"end\"\nat = \"now\"\nissued = \"2026-01-02\"\nexpires = \"2026-01-03\"\n");
    let rubbish = office.path("rubbish.notice");
    std::fs::write(&rubbish, "PLEASE STOP").expect("written");
    for (file, reason) in [
        (&forged, "bad_signature"),
        (&elsewhere, "not_for_this_gateway"),
        (&expired, "expired"),
        (&rubbish, "malformed"),
    ] {
        let (code, said) = apply(&agent, file);
        assert!(code == Some(1) && said.contains(&format!("({reason})")), "{said}");
        assert_eq!(refused(&agent, reason), 1);
    }
    drop_into(&agent, &forged, "forged.notice");
    drop_into(&agent, &elsewhere, "elsewhere.cbor");
    wait::until("both files are refused", BOUND, || {
        (refused(&agent, "bad_signature"), refused(&agent, "not_for_this_gateway")) == (2, 2)
    });
    let put_aside = agent.setup.folder().join("inbox/refused");
    wait::until("they are put aside", BOUND, || {
        ["forged.notice", "elsewhere.cbor"].iter().all(|name| put_aside.join(name).is_file())
    });
    let status = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(status.contains("6 refused (bad_signature 2, expired 1, malformed 1, not_for_this_gateway 2)"), "{status}");
    assert_eq!(inbox(&agent)["accepted"], 0);
    agent.wait_for_log("a notice is refused: the signature does not hold", BOUND);
}

#[test]
fn a_file_in_the_folder_is_taken_in_and_survives_a_power_cut_right_after() {
    let (flux, office) = (Flux::start(), Office::new("ops-2026"));
    let mut agent = agent(&flux, &office);
    drop_into(&agent, &office.information("n-1"), "n-1.notice");
    wait::until("it is taken in", BOUND, || inbox(&agent)["accepted"] == 1);
    agent.kill();
    assert!(agent.setup.folder().join("inbox/n-1.notice").is_file(), "not put away before it is committed");
    agent.start();
    wait::until("it is taken in again", BOUND, || inbox(&agent)["accepted"] == 1);
}

#[test]
fn nothing_a_device_publishes_is_a_notice() {
    let (flux, office) = (Flux::start(), Office::new("ops-2026"));
    let mut setup = Setup::webhook(&flux);
    setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
    setup.set("collect", "default_lane", "\"normal\"");
    setup.synchronise();
    let agent = setup.start();
    // Rightly signed, for this gateway, and it would end the service.
    let file = office.sign("end", "id = \"n-1\"\nkind = \"end\"\nat = \"now\"\n");
    let envelope = std::fs::read(&file).expect("an envelope");
    let before = agent.status()["stance"].clone();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "d"));
    let topics = [
        "devices/d/telemetry",
        "tidegate/notice",
        "tidegate/notices",
        "tidegate/alarm",
        "provider/notice",
        "n-1.notice",
    ];
    for (packet, topic) in (1..).zip(topics) {
        client.publish_acknowledged(topic, &envelope, packet);
    }
    // The agent's own topics are refused; elsewhere it is a record.
    let own = topics.iter().filter(|topic| topic.starts_with("tidegate/")).count();
    wait::until("the agent's own topics are refused", BOUND, || agent.refused() == own as u64);
    flux.wait_for(topics.len() - own, BOUND);
    assert_eq!(agent.status()["stance"], before, "they are records or refused, and nothing else");
    assert_eq!(inbox(&agent)["accepted"], 0);
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "e"));
    client.publish_acknowledged("devices/e/telemetry", b"1", 1);
    flux.wait_for(topics.len() - own + 1, BOUND);
    let (code, said) = apply(&agent, &file);
    assert!(code == Some(0) && said.contains("nothing is sent any more"), "the same envelope, rightly brought: {said}");
}

#[test]
fn keys_change_with_a_reload_and_without_keys_nobody_is_believed() {
    let (flux, office, next) = (Flux::start(), Office::new("ops-2026"), Office::new("ops-2027"));
    let mut agent = agent(&flux, &office);
    let file = next.information("n-1");
    assert!(apply(&agent, &file).1.contains("(unknown_key)"));
    let keys = format!("[\"{}\", \"{}\"]", office.key, next.key);
    agent.setup.set("provider.notices", "keys", &keys);
    agent.reload();
    wait::until("the key is believed", BOUND, || inbox(&agent)["keys"].as_array().is_some_and(|keys| keys.len() == 2));
    assert_eq!(apply(&agent, &file).0, Some(0));
    agent.setup.without("provider.notices");
    agent.reload();
    wait::until("no key is believed", BOUND, || inbox(&agent)["keys"].as_array().is_some_and(Vec::is_empty));
    assert!(apply(&agent, &next.information("n-2")).1.contains("(no_keys)"));
}

#[test]
fn the_command_says_when_it_cannot_and_ends_with_the_codes_of_the_documents() {
    let office = Office::new("ops-2026");
    let file = office.information("n-1");
    let socket = office.path("none.sock");
    let code = |arguments: &[&str]| run(arguments).status.code();
    assert_eq!(code(&["notice", "apply", text(&file), "--socket", text(&socket)]), Some(3), "nobody answers");
    assert_eq!(code(&["notice", "apply", "/none.notice", "--socket", text(&socket)]), Some(1), "no such file");
    assert_eq!(code(&["notice", "show", text(&file), "--trust", "ops:AAAA"]), Some(2));
    assert_eq!(code(&["notice", "keygen", "--out", text(&office.path("ops.key"))]), Some(1), "it is there already");
    let other = Office::new("ops-2026");
    let shown = run(&["notice", "show", text(&file), "--trust", &other.key]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("not to be believed"), "{shown:?}");

    // Said in flags, and read by who has only the key.
    let key = office.path("ops.key");
    let out = office.path("m.notice");
    let sign = ["notice", "sign", "--key", text(&key), "-o", text(&out)];
    let flags =
        ["--id", "m-7", "--maintenance", "2026-12-01 02:00 +09:00", "2026-12-01 04:00 +09:00", "--why", "works"];
    let signed = run(&[&sign[..], &flags].concat());
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let shown = String::from_utf8(run(&["notice", "show", text(&out), "--trust", &office.key]).stdout).expect("text");
    assert!(shown.contains("from = 2026-11-30T17:00:00Z\nuntil = 2026-11-30T19:00:00Z"), "{shown}");
    let wrong = run(&[&sign[..], &["--id", "m-7", "--maintenance", "+2h", "+1h"]].concat());
    assert!(
        wrong.status.code() == Some(1) && String::from_utf8_lossy(&wrong.stderr).contains("not after `from`"),
        "{wrong:?}"
    );
    assert!(run(&[&sign[..], &["--withdraw", "m-7"]].concat()).status.success());
}

#[test]
fn a_file_that_is_no_notice_gets_the_code_of_one_that_nobody_signed() {
    let (flux, office) = (Flux::start(), Office::new("ops-2026"));
    let agent = agent(&flux, &office);
    let config = agent.setup.folder().join("tidegate.toml");
    let large = "x".repeat(100_000);
    for (name, content) in [("empty", ""), ("junk", "junk\n"), ("text", "id = \"n-1\"\n"), ("large", &large)] {
        let file = office.path(name);
        std::fs::write(&file, content).expect("written");
        let (code, said) = apply(&agent, &file);
        assert!(code == Some(1) && said.contains("TG-701"), "{name}: {said}");
        for more in [&[][..], &["--trust", &office.key], &["--config", text(&config)]] {
            let shown = run(&[&["notice", "show", text(&file)][..], more].concat());
            let said = String::from_utf8_lossy(&shown.stderr).into_owned();
            assert!(shown.status.code() == Some(1) && said.contains("TG-701"), "{name}: {said}");
        }
    }
    // In the folder such a file is counted by the reason, and has the same code.
    drop_into(&agent, &office.path("junk"), "junk.notice");
    wait::until("it is refused", BOUND, || refused(&agent, "malformed") > 0);
    let last = inbox(&agent)["last"].clone();
    assert!(last.as_array().is_some_and(|all| all.iter().any(|one| one["error_code"] == "TG-701")), "{last}");
}

#[test]
fn a_key_that_openssl_makes_signs_too() {
    let office = Office::new("ops-2026");
    let pem = office.path("openssl.pem");
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out", text(&pem)]).output();
    assert!(made.expect("openssl is there").status.success());
    let toml = office.path("n.toml");
    std::fs::write(&toml, "id = \"n-1\"\nkind = \"withdrawn\"\n").expect("written");
    let signed = run(&["notice", "sign", "--key", text(&pem), "--kid", "office", text(&toml)]);
    let said = String::from_utf8_lossy(&signed.stdout).into_owned();
    assert!(signed.status.success() && said.contains("withdrawn n-1, signed by office"), "{said}");
}

/// The stance and which telemetry may leave.
fn stance(agent: &Agent) -> (String, String) {
    let status = agent.status()["stance"].clone();
    let word = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (word("stance"), word("telemetry"))
}

/// An agent that comes back at once from what has stopped it.
fn prompt(flux: &Flux, office: &Office) -> Agent {
    let mut setup = Setup::webhook(flux);
    setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
    setup.set("provider.resume", "spread", "\"0s\"").set("provider.resume", "ramp", "\"0s\"");
    setup.set("terms", "on_change", "\"hold\"");
    setup.synchronise();
    setup.start()
}

#[test]
fn each_kind_has_its_stance_until_it_is_withdrawn() {
    let (flux, office) = (Flux::start(), Office::new("ops-2026"));
    let agent = prompt(&flux, &office);
    for (id, kind, expected) in [
        ("n-1", "kind = \"maintenance\"\nuntil = \"+1h\"", ("maintenance", "nothing")),
        ("n-2", "kind = \"emergency\"", ("yield", "first")),
        ("n-3", "kind = \"restriction\"\n[limits]\nrate = \"64 kbit/s\"", ("restricted", "all")),
        ("n-4", "kind = \"suspension\"\ncause = \"card\"", ("suspended", "nothing")),
        ("n-5", "kind = \"quota\"\nuntil = \"+1h\"", ("quota", "nothing")),
        ("n-6", "kind = \"terms_changed\"\nversion = \"v2\"\neffective = \"now\"", ("held", "nothing")),
        ("n-7", "kind = \"end\"\nat = \"now\"", ("ended", "nothing")),
    ] {
        let (code, said) = apply(&agent, &office.sign(id, &format!("id = \"{id}\"\n{kind}\n")));
        assert!(code == Some(0) && said.starts_with("accepted: ") && said.contains("what follows: "), "{said}");
        let (word, telemetry) = stance(&agent);
        assert_eq!((word.as_str(), telemetry.as_str()), expected, "{kind}");
        let status = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
        assert!(status.contains(&format!("notice {id}, key ops-2026")), "{status}");
        let withdrawn = office.sign("back", &format!("id = \"{id}\"\nkind = \"withdrawn\"\n"));
        let (code, said) = apply(&agent, &withdrawn);
        assert!(code == Some(0) && said.starts_with("amended: withdrawn"), "{said}");
        wait::until("it is open again", BOUND, || stance(&agent) == ("open".into(), "all".into()));
    }
    let log = String::from_utf8(agent.command(&["notices"]).stdout).expect("text");
    for kind in ["maintenance", "emergency", "restriction", "suspension", "quota", "terms_changed", "end", "withdrawn"]
    {
        assert!(log.contains(kind), "{kind} is not in {log}");
    }
}

#[test]
fn a_stop_lasts_over_a_power_cut_and_what_waited_is_sent_when_it_is_withdrawn() {
    let (flux, office) = (Flux::start(), Office::new("ops-2026"));
    let mut agent = prompt(&flux, &office);
    let stop = office.sign("stop", "id = \"m-1\"\nkind = \"maintenance\"\nuntil = \"+1h\"\n");
    let older = office.sign("older", "id = \"m-1\"\nkind = \"withdrawn\"\nissued = \"-1h\"\n");
    assert_eq!(apply(&agent, &stop).0, Some(0));
    let publish = |agent: &Agent, id: u16| {
        let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "d"));
        client.publish_acknowledged("devices/d/telemetry", b"1", id);
    };
    publish(&agent, 1);
    // What the machine remembers is committed before the next record is.
    agent.kill();
    agent.start();
    wait::until("it still holds", BOUND, || stance(&agent) == ("maintenance".into(), "nothing".into()));
    publish(&agent, 1);
    // Nobody knows here any more what was taken in before; the machine does.
    let (code, said) = apply(&agent, &older);
    assert!(code == Some(0) && said.contains("nothing: a later one stands"), "{said}");
    assert_eq!(stance(&agent).0, "maintenance");
    assert_eq!((agent.waiting(), flux.delivered()), (2, 0), "nothing was sent");
    let withdrawn = office.sign("back", "id = \"m-1\"\nkind = \"withdrawn\"\n");
    assert_eq!(apply(&agent, &withdrawn).0, Some(0));
    flux.wait_for(2, BOUND);
}
