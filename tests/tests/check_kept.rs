//! `tidegate check` of a file that cannot be used: what the gateway runs with, what it would start with, and the machine by that.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::checked::Checked;
use tidegate_tests::flux::Flux;
use tidegate_tests::wait;

/// A gateway that runs and whose configuration is kept in its store: no state directory is named anywhere.
fn running(flux: &Flux) -> Agent {
    let agent = Setup::webhook(flux).start();
    let text = agent.setup.text();
    wait::until("the configuration is kept", wait::BOUND, || {
        std::fs::read_to_string(kept(&agent)).is_ok_and(|kept| kept.ends_with(&text))
    });
    agent
}

fn file(agent: &Agent) -> PathBuf {
    agent.setup.folder().join("tidegate.toml")
}

fn store(agent: &Agent) -> String {
    agent.setup.folder().join("store").display().to_string()
}

fn kept(agent: &Agent) -> PathBuf {
    agent.setup.folder().join("store/configuration/kept")
}

fn check(agent: &Agent, more: &[&str]) -> Checked {
    Checked::of(&agent.command(&[&["check", "--json"], more].concat()))
}

fn word<'a>(finding: Option<&'a Value>, key: &str) -> &'a str {
    finding.and_then(|finding| finding[key].as_str()).unwrap_or_default()
}

#[track_caller]
fn assert_judged_by_what_is_kept(agent: &Agent, checked: &Checked) {
    assert_eq!(checked.code, 1, "{}", checked.text);
    assert_eq!(checked.all["judged_by"].as_str(), kept(agent).to_str(), "{}", checked.text);
    assert_eq!(checked.all["gateway"], "gw-test");
    let instead = checked.by_id("kept-configuration");
    assert_eq!((word(instead, "result"), word(instead, "code")), ("attention", "TG-104"), "{}", checked.text);
    for id in ["service", "store-opening", "store-room", "listener", "clock", "http"] {
        assert!(checked.by_id(id).is_some(), "{id} in {}", checked.text);
    }
    assert!(checked.by_id("rest").is_none(), "{}", checked.text);
    assert!(!checked.steps().iter().any(|step| step.contains("tidegate setup")), "{}", checked.text);
}

/// Does what the step for the file says.
fn put_back(checked: &Checked) {
    let step = word(checked.by_id("configuration"), "next");
    let (_, command) = step.split_once("sudo sh -c '").expect("a command");
    let command = command.strip_suffix('\'').expect("its end").replace("tidegate config", "\"$0\" config");
    let done = Command::new("sh").args(["-c", &command]).arg(binary()).status().expect("it starts");
    assert!(done.success(), "{command}");
}

#[test]
fn beside_the_running_gateway_a_bad_file_hides_nothing() {
    let flux = Flux::start();
    let agent = running(&flux);
    let text = agent.setup.text();
    let said = |checked: &Checked| word(checked.by_id("service"), "said").to_owned();
    assert_eq!(said(&check(&agent, &[])), format!("it runs (process {})", agent.pid()));
    std::fs::write(file(&agent), text.clone() + "# changed\n").expect("a file");
    assert!(said(&check(&agent, &[])).contains("the file was changed since"));
    std::fs::write(file(&agent), text.clone() + "[gatway]\n").expect("a file");
    let wrong = check(&agent, &[]);
    assert_judged_by_what_is_kept(&agent, &wrong);
    wrong.assert("configuration", "bad", "TG-102");
    let service = wrong.by_id("service");
    assert_eq!(word(service, "result"), "good", "{}", wrong.text);
    assert!(word(service, "said").contains("before that was changed"), "{}", wrong.text);
    agent.signal_reload();
    agent.wait_for_log("TG-106", wait::BOUND);
    assert_eq!(word(check(&agent, &[]).by_id("service"), "code"), "TG-106");
    // One missing secret is a bad file like any other.
    std::fs::write(file(&agent), text.replace("url = ", "url_file = \"/nonexistent/url\"\n#")).expect("a file");
    assert_judged_by_what_is_kept(&agent, &check(&agent, &[]));
    for bad in ["", "# nothing\n"] {
        std::fs::write(file(&agent), bad).expect("a file");
        let emptied = check(&agent, &[]);
        assert_judged_by_what_is_kept(&agent, &emptied);
        emptied.assert("configuration", "bad", "TG-104");
    }
    put_back(&check(&agent, &[]));
    assert_eq!(std::fs::read_to_string(file(&agent)).expect("readable"), text);
    std::fs::remove_file(file(&agent)).expect("it was there");
    let gone = check(&agent, &[]);
    assert_judged_by_what_is_kept(&agent, &gone);
    gone.assert("configuration", "bad", "TG-101");
    put_back(&gone);
    assert_eq!(std::fs::read_to_string(file(&agent)).expect("readable"), text);
    assert_eq!(check(&agent, &[]).all["judged_by"].as_str(), file(&agent).to_str());
}

#[test]
fn a_gateway_that_is_down_is_judged_by_what_it_would_start_with_and_then_says_so_itself() {
    let flux = Flux::start();
    let mut agent = running(&flux);
    agent.kill();
    for bad in ["a folder", "a pipe", "not text"] {
        let _ = std::fs::remove_file(file(&agent));
        match bad {
            "a folder" => std::fs::create_dir(file(&agent)).expect("a folder"),
            "a pipe" => assert!(Command::new("mkfifo").arg(file(&agent)).status().expect("it starts").success()),
            _ => std::fs::write(file(&agent), "\u{0}".repeat(4096)).expect("a file"),
        }
        let checked = check(&agent, &["--state", &store(&agent)]);
        assert_judged_by_what_is_kept(&agent, &checked);
        assert_eq!(word(checked.by_id("service"), "code"), "TG-601", "{bad}");
        let offline = agent.command(&["check", "--offline", "--state", &store(&agent)]);
        let said = String::from_utf8_lossy(&offline.stderr).into_owned();
        assert!(offline.status.code() == Some(1) && said.contains("would run with what worked last"), "{bad}: {said}");
        let _ = std::fs::remove_dir(file(&agent));
    }
    // It starts with what is kept, and that is told of it.
    let text = agent.setup.text();
    std::fs::write(file(&agent), text + "[gatway]\n").expect("a file");
    agent.spawn_as_written();
    let socket = agent.setup.folder().join("control.sock");
    wait::until("it is up", wait::BOUND, || {
        let status =
            Command::new(binary()).args(["status", "--json", "--socket"]).arg(&socket).output().expect("it starts");
        String::from_utf8_lossy(&status.stdout).contains("\"config_kept\": true")
    });
    let checked = check(&agent, &[]);
    assert_judged_by_what_is_kept(&agent, &checked);
    assert_eq!(word(checked.by_id("service"), "code"), "TG-104", "{}", checked.text);
}

#[test]
fn where_nothing_can_be_used_one_line_says_what_was_not_looked_at_and_where_was_looked() {
    let flux = Flux::start_stopped();
    let mut agent = Agent::new(Setup::webhook(&flux));
    let _ = agent.setup.write();
    std::fs::write(file(&agent), "[gatway]\n").expect("a file");
    let checked = check(&agent, &["--state", "/nonexistent/state"]);
    assert_eq!((checked.code, word(checked.by_id("rest"), "result")), (1, "unknown"), "{}", checked.text);
    assert!(checked.text.contains("gateway.id: missing") && !checked.text.contains("line 0"), "{}", checked.text);
    assert!(word(checked.by_id("kept-configuration"), "said").contains("/nonexistent/state"), "{}", checked.text);
    assert!(checked.all["judged_by"].is_null() && checked.by_id("clock").is_none(), "{}", checked.text);
    // Never configured: only then `setup` is the way.
    std::fs::write(file(&agent), "# nothing\n").expect("a file");
    let new = check(&agent, &["--state", "/nonexistent/state"]);
    new.assert("configuration", "bad", "TG-103");
    assert!(new.steps().iter().any(|step| step.contains("tidegate setup")), "{}", new.text);
    // `run` says where it looked.
    agent.spawn_as_written();
    assert_eq!(agent.wait_for_end().code(), Some(78));
    let log = agent.log();
    assert!(log.contains("TG-103") && log.contains("/var/lib/tidegate") && log.contains("--state"), "{log}");
}

#[test]
fn what_is_kept_and_damaged_hidden_or_of_another_file_is_told_as_that() {
    let flux = Flux::start_stopped();
    let mut agent = running(&flux);
    agent.kill();
    let state = store(&agent);
    let whole = std::fs::read(kept(&agent)).expect("it is kept");
    std::fs::write(file(&agent), "").expect("a file");
    std::fs::write(kept(&agent), &whole[..whole.len() / 2]).expect("a file");
    let damaged = check(&agent, &["--state", &state]);
    assert_eq!(word(damaged.by_id("kept-configuration"), "result"), "bad", "{}", damaged.text);
    assert_eq!(word(damaged.by_id("configuration"), "code"), "TG-101", "{}", damaged.text);
    std::fs::write(kept(&agent), &whole).expect("a file");

    // Of another file: two gateways with one state directory.
    let other = agent.setup.folder().join("other.toml");
    std::fs::write(&other, "[gatway]\n").expect("a file");
    let mut command = Command::new(binary());
    command.args(["check", "--json", "--state", &state, "--config"]).arg(&other);
    let of_other = Checked::of(&command.output().expect("it starts"));
    assert!(word(of_other.by_id("kept-configuration"), "said").contains("was kept of"), "{}", of_other.text);
    assert!(of_other.all["judged_by"].is_null());

    // Somebody without the right to see it is told that, and is sent nowhere else.
    let world = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode");
    };
    world(agent.setup.folder(), 0o755);
    world(&file(&agent), 0o644);
    world(&agent.setup.folder().join("store"), 0o755);
    world(&agent.setup.folder().join("store/configuration"), 0o755);
    let mut command = Command::new(binary());
    command.args(["check", "--json", "--state", &state, "--config"]).arg(file(&agent)).uid(4000).gid(4000);
    let hidden = Checked::of(&command.output().expect("it starts"));
    assert_eq!(word(hidden.by_id("kept-configuration"), "result"), "unknown", "{}", hidden.text);
    assert!(!hidden.steps().iter().any(|step| step.contains("tidegate setup")), "{}", hidden.text);

    // It names a secret that is gone, as the file does.
    let text = agent.setup.text().replace("url = ", "url_file = \"/nonexistent/url\"\n#");
    std::fs::write(file(&agent), &text).expect("a file");
    let rest =
        format!("# {{\"source\":\"{}\",\"kept_ms\":1795500000000,\"trusted\":true}}\n{text}", file(&agent).display());
    let digest = {
        let path = agent.setup.folder().join("rest");
        std::fs::write(&path, &rest).expect("a file");
        let sum = Command::new("sha256sum").arg(&path).output().expect("coreutils are there");
        String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap_or_default().to_owned()
    };
    std::fs::write(kept(&agent), format!("# tidegate-kept 1 {digest}\n{rest}")).expect("a file");
    let both = check(&agent, &["--state", &state]);
    let finding = both.by_id("kept-configuration");
    assert_eq!((word(finding, "result"), both.code), ("bad", 1), "{}", both.text);
    assert!(word(finding, "said").contains("url_file"), "{}", both.text);
    assert_eq!(word(both.by_id("rest"), "result"), "unknown", "{}", both.text);
}

#[test]
fn an_emptied_file_of_a_gateway_that_ran_is_nowhere_answered_with_setup() {
    let flux = Flux::start_stopped();
    let mut agent = running(&flux);
    agent.kill();
    std::fs::write(file(&agent), "").expect("a file");
    let offline = agent.command(&["check", "--offline", "--state", &store(&agent)]);
    let said = String::from_utf8_lossy(&offline.stderr).into_owned();
    assert_eq!(offline.status.code(), Some(1));
    assert!(said.contains("TG-104") && said.contains("would run with what worked last"), "{said}");
    assert!(!said.contains("TG-103") && !said.contains("tidegate setup"), "{said}");
    let state = format!("STATE_DIRECTORY={}", store(&agent));
    agent.setup.within(&["env", &state]);
    agent.spawn_as_written();
    let socket = agent.setup.folder().join("control.sock");
    let error = wait::for_value("it is up", wait::BOUND, || {
        let status =
            Command::new(binary()).args(["status", "--json", "--socket"]).arg(&socket).output().expect("it starts");
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        status["config_error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("nothing but comments") && !error.contains("tidegate setup"), "{error}");
    assert!(!agent.log().contains("tidegate setup"), "{}", agent.log());
    agent.signal_reload();
    agent.wait_for_log("TG-106", wait::BOUND);
    assert!(!agent.log().contains("tidegate setup"), "{}", agent.log());
}

#[test]
fn an_agent_with_another_file_is_not_taken_for_the_one_of_this_file_unsaid() {
    let flux = Flux::start();
    let agent = running(&flux);
    let draft = agent.setup.folder().join("draft.toml");
    let of_draft = |text: &str| {
        std::fs::write(&draft, text).expect("a file");
        let mut command = Command::new(binary());
        Checked::of(&command.args(["check", "--json", "--config"]).arg(&draft).output().expect("it starts"))
    };
    let good = of_draft(&agent.setup.text());
    let service = good.by_id("service");
    assert_eq!((word(service, "result"), word(service, "code")), ("attention", "TG-604"), "{}", good.text);
    assert!(word(service, "said").contains(&file(&agent).display().to_string()), "{}", good.text);
    let bad = of_draft(&(agent.setup.text() + "[gatway]\n"));
    let service = bad.by_id("service");
    assert_eq!(word(service, "result"), "unknown", "{}", bad.text);
    assert!(word(service, "said").contains(&format!("process {}", agent.pid())), "{}", bad.text);
    assert!(bad.all["judged_by"].is_null(), "what another file's agent keeps is not this one's: {}", bad.text);
    assert_eq!(word(bad.by_id("kept-configuration"), "result"), "unknown", "{}", bad.text);
}

#[test]
fn a_good_file_with_which_the_gateway_did_not_come_up_is_told_with_what_it_runs() {
    let flux = Flux::start();
    let mut agent = running(&flux);
    agent.kill();
    let text = agent.setup.text();
    std::fs::write(file(&agent), text.replace("\"127.0.0.1:", "\"192.0.2.7:")).expect("a file");
    agent.spawn_as_written();
    wait::until("it is up", wait::BOUND, || agent.try_status().is_some_and(|status| status["config_kept"] == true));
    let checked = check(&agent, &[]);
    let service = checked.by_id("service");
    assert_eq!((word(service, "result"), word(service, "code")), ("bad", "TG-104"), "{}", checked.text);
    assert!(word(service, "said").contains("192.0.2.7") && checked.code == 1, "{}", checked.text);
    assert_eq!(checked.all["judged_by"].as_str(), file(&agent).to_str());
}

#[test]
fn the_service_is_not_said_to_listen_where_the_changed_file_says_and_it_does_not() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let port = setup.address().port();
    setup.set("collect.listener", "bind", &format!("\"0.0.0.0:{port}\""));
    let mut agent = setup.start();
    let text = agent.setup.text();
    wait::until("the configuration is kept", wait::BOUND, || kept(&agent).is_file());
    let listener = |checked: &Checked| {
        let finding = checked.by_id("listener");
        (word(finding, "result").to_owned(), word(finding, "code").to_owned())
    };
    let is = |result: &str, code: &str| (result.to_owned(), code.to_owned());
    assert_eq!(listener(&check(&agent, &[])), is("good", ""));
    let path = file(&agent);
    let bind = |ip: &str| std::fs::write(&path, text.replace("\"0.0.0.0:", &format!("\"{ip}:"))).expect("a file");
    bind("127.0.0.1");
    assert_eq!(listener(&check(&agent, &[])), is("attention", "TG-107"));
    // 192.0.2.0/24 is for documentation (RFC 5737).
    bind("192.0.2.7");
    let before = check(&agent, &[]);
    assert_eq!((listener(&before), before.code), (is("bad", "TG-201"), 1), "{}", before.text);
    agent.kill();
    agent.spawn_as_written();
    wait::until("it is up", wait::BOUND, || agent.try_status().is_some_and(|status| status["config_kept"] == true));
    let after = check(&agent, &[]);
    assert_eq!((listener(&after), after.code), (is("bad", "TG-201"), 1), "{}", after.text);
    // Corrected to what the machine has, and not reloaded: it still runs with what was kept, and so ends the check.
    bind("127.0.0.1");
    let corrected = check(&agent, &[]);
    assert_eq!((listener(&corrected), corrected.code), (is("attention", "TG-104"), 1), "{}", corrected.text);
    corrected.assert("service", "bad", "TG-104");
}

#[test]
fn a_service_that_hangs_is_bad_and_told_with_what_the_watchdog_does_and_nothing_of_it_is_called_good() {
    let flux = Flux::start();
    let agent = running(&flux);
    let signal = |name: &str| {
        let done = Command::new("kill").args([name, &agent.pid().to_string()]).status().expect("it starts");
        assert!(done.success(), "{name}");
    };
    signal("-STOP");
    let checked = check(&agent, &[]);
    let status = agent.command(&["status"]);
    let japanese = agent.command(&["status", "--lang", "ja"]);
    signal("-CONT");
    checked.assert("service", "bad", "TG-601");
    assert_eq!(checked.code, 1, "{}", checked.text);
    assert!(word(checked.by_id("service"), "said").contains("the watchdog"), "{}", checked.text);
    assert!(checked.about("devices connect to").iter().all(|(result, ..)| result != "good"), "{}", checked.text);
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said(&status).starts_with("tidegate: TG-601: ") && said(&status).contains("watchdog"), "{}", said(&status));
    for text in [said(&status), said(&japanese)] {
        assert!(text.contains("tidegate explain TG-601") && !text.contains("os error"), "{text}");
    }
    assert!(said(&japanese).contains("ウォッチドッグ"), "{}", said(&japanese));
    wait::until("it goes on", wait::BOUND, || agent.try_status().is_some());
}

/// Puts a FIFO, which nobody ever writes to, in a file's place.
fn block(path: &std::path::Path) {
    let _ = std::fs::remove_file(path);
    let made = Command::new("mkfifo").arg(path).status().expect("coreutils are there");
    assert!(made.success(), "{}", path.display());
}

#[test]
fn what_would_block_in_place_of_the_agents_own_files_keeps_it_neither_from_starting_nor_from_saying_so() {
    let flux = Flux::start();
    let mut agent = running(&flux);
    agent.kill();
    let of = |name: &str| agent.setup.folder().join("store").join(name);
    let own = ["configuration/kept", "version", "notices", "outages/ledger"].map(of);
    own.iter().filter(|path| path.parent().is_some_and(std::path::Path::is_dir)).for_each(|path| block(path));
    check(&agent, &[]).assert("store, opening", "attention", "TG-305");
    let told = agent.command(&["config", "kept", "--state", &store(&agent)]);
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.code() == Some(1) && said.contains("not a regular file"), "{said}");
    // A bad file as well: there is nothing to start with, and that is said.
    let text = agent.setup.text();
    std::fs::write(file(&agent), text.clone() + "[gatway]\n").expect("a file");
    agent.spawn_as_written();
    assert!(!agent.wait_for_end().success());
    assert!(agent.log().contains("TG-102"), "{}", agent.log());
    std::fs::write(file(&agent), &text).expect("a file");
    agent.start();
    wait::until("the configuration is kept", wait::BOUND, || kept(&agent).is_file());
    wait::until("the version is written", wait::BOUND, || own[1].is_file());
}
