//! `tidegate check` of a store that the agent could not open: it says so, as `run` would, and changes nothing.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::checked::Checked;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait;

/// Of format 900, with its CRC32C.
const NEWER: &str = "tidegate-store 900 dc228584\n";

/// A gateway that has stored something and was stopped.
fn stopped(flux: &Flux) -> Agent {
    let mut agent = Setup::webhook(flux).start();
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "meter"));
    client.publish_acknowledged("devices/meter/telemetry", b"1", 1);
    drop(client);
    let kept = store(&agent).join("configuration/kept");
    wait::until("the configuration is kept", wait::BOUND, || kept.exists());
    assert!(agent.terminate().success());
    agent
}

fn store(agent: &Agent) -> PathBuf {
    agent.setup.folder().join("store")
}

fn check(agent: &Agent) -> Checked {
    Checked::of(&agent.command(&["check", "--json"]))
}

/// Every file with size, time, inode and sum.
fn everything(folder: &Path) -> String {
    let listed = Command::new("sh")
        .args(["-c", "cd \"$0\" && find . -type f -printf '%p %s %T@ %i %m\\n' | sort && find . -type f | sort | xargs sha256sum"])
        .arg(folder)
        .output()
        .expect("findutils are there");
    assert!(listed.status.success());
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

/// What `run` ends with, if it ends.
fn run_says(agent: &mut Agent, code: &str) {
    agent.spawn_as_written();
    assert!(!agent.wait_for_end().success());
    assert!(agent.log().contains(code), "{}", agent.log());
}

#[test]
fn a_store_that_run_refuses_is_bad_with_the_same_code_and_left_as_it_is() {
    let flux = Flux::start_stopped();
    let mut agent = stopped(&flux);
    let store = store(&agent);
    let before = everything(&store);
    let good = check(&agent);
    good.assert("store, opening", "good", "");
    assert_eq!(everything(&store), before);

    let version = std::fs::read(store.join("version")).expect("it is there");
    std::fs::write(store.join("version"), NEWER).expect("a file");
    let before = everything(&store);
    let newer = check(&agent);
    newer.assert("store, opening", "bad", "TG-303");
    assert!(newer.about("store, opening")[0].2.contains("format 900"), "{}", newer.text);
    assert_eq!((newer.code, everything(&store)), (1, before));
    run_says(&mut agent, "TG-303");
    let older = b"tidegate-store 1 ";
    let older = [&older[..], format!("{:08x}\n", crc32c::crc32c(older)).as_bytes()].concat();
    std::fs::write(store.join("version"), older).expect("a file");
    check(&agent).assert("store, opening", "bad", "TG-301");
    run_says(&mut agent, "an older version");
    std::fs::write(store.join("version"), version).expect("a file");

    // A segment of another format, in a store whose file says nothing of it.
    let segment =
        std::fs::read_dir(store.join("lane-normal")).expect("a lane").flatten().next().expect("a segment").path();
    let whole = std::fs::read(&segment).expect("readable");
    let mut other = whole.clone();
    for copy in other[..1024].chunks_exact_mut(512) {
        copy[12..14].copy_from_slice(&3_u16.to_le_bytes());
        let sum = crc32c::crc32c(&copy[12..]);
        copy[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    std::fs::write(&segment, other).expect("a file");
    check(&agent).assert("store, opening", "bad", "TG-303");
    run_says(&mut agent, "TG-303");
    std::fs::write(&segment, whole).expect("a file");
    check(&agent).assert("store, opening", "good", "");
}

#[test]
fn a_file_where_a_folder_belongs_and_files_that_the_service_may_not_open_are_told() {
    let flux = Flux::start_stopped();
    let mut agent = stopped(&flux);
    let store = store(&agent);
    for folder in ["lane-normal", "control", "damaged"] {
        let (at, away) = (store.join(folder), store.join("away"));
        std::fs::rename(&at, &away).expect("moved");
        std::fs::write(&at, "a file").expect("a file");
        let blocked = check(&agent);
        blocked.assert("store, opening", "bad", "TG-301");
        assert!(blocked.steps().iter().any(|next| next.contains("ls -ld")), "{}", blocked.text);
        std::fs::remove_file(&at).and_then(|()| std::fs::rename(&away, &at)).expect("moved back");
    }
    let away = agent.setup.folder().join("away");
    std::fs::rename(&store, &away).and_then(|()| std::fs::write(&store, "a file")).expect("a file in its place");
    check(&agent).assert("configuration", "bad", "TG-102");
    run_says(&mut agent, "TG-102");
    std::fs::remove_file(&store).and_then(|()| std::fs::rename(&away, &store)).expect("moved back");
    // An agent that root started by hand leaves files that the service may not open.
    for entry in ["", "control", "lane-normal", "lane-critical", "lane-bulk", "aside"] {
        let path = store.join(entry);
        if path.exists() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("mode");
        }
    }
    std::fs::set_permissions(agent.setup.folder(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let config = agent.setup.folder().join("tidegate.toml");
    let mut as_other = Command::new(binary());
    std::os::unix::process::CommandExt::uid(as_other.args(["check", "--json", "--config"]).arg(&config), 4000);
    let other = Checked::of(&as_other.output().expect("it starts"));
    let found = &other.about("store, opening")[0];
    // What the service's user may open, only that user and root can see.
    let has_user =
        std::fs::read_to_string("/etc/passwd").is_ok_and(|text| text.lines().any(|line| line.starts_with("tidegate:")));
    let expected = if has_user { ("unknown", "") } else { ("bad", "TG-301") };
    assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{}", other.text);
}

#[test]
fn a_store_that_another_agent_holds_is_told_with_who_it_is_and_ones_own_is_not() {
    let flux = Flux::start_stopped();
    let first = Setup::webhook(&flux).start();
    check(&first).assert("store, opening", "good", "");
    let mut second = Setup::webhook(&flux);
    second.store_at(&store(&first));
    let mut second = Agent::new(second);
    let _ = second.setup.write();
    let taken = check(&second);
    taken.assert("store, opening", "bad", "TG-302");
    assert!(taken.about("store, opening")[0].2.contains(&first.pid().to_string()), "{}", taken.text);
    run_says(&mut second, "TG-302");
    assert_eq!(first.status()["epoch"].as_str().map(str::len), Some(8), "the first was left alone");
    drop(first);
    check(&second).assert("store, opening", "good", "");
}

#[test]
fn what_damage_costs_is_told_before_the_start_and_a_damaged_version_is_logged_with_its_code() {
    let flux = Flux::start_stopped();
    let mut agent = stopped(&flux);
    let store = store(&agent);
    std::fs::write(store.join("version"), "tidegate-store 9 00000000\n").expect("a file");
    check(&agent).assert("store, opening", "attention", "TG-305");
    agent.spawn_as_written();
    agent.wait_for_log("(TG-305)", wait::BOUND);
    wait::until("it is up", wait::BOUND, || agent.try_status().is_some_and(|status| status["counts"]["waiting"] == 1));
    check(&agent).assert("store, opening", "good", "");
    assert!(agent.terminate().success());
    check(&agent).assert("store, opening", "good", "");
    std::fs::remove_dir_all(store.join("control")).expect("it was there");
    let lost = check(&agent);
    lost.assert("store, opening", "attention", "TG-305");
    assert!(lost.about("store, opening")[0].2.contains("sent again"), "{}", lost.text);
    std::fs::remove_dir_all(&store).expect("it was there");
    let new = check(&agent);
    new.assert("store, opening", "good", "");
    assert!(!store.exists(), "it makes nothing");
}
