//! `tidegate check` against real things: what it says of each, good and bad, that it disturbs nothing, and what it ends with.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::agent::{Setup, binary};
use tidegate_tests::checked::{Checked, check, run};
use tidegate_tests::device::Device;
use tidegate_tests::flux::{AUTH_KEY, AUTH_KEY_ID, Answer, Flux};
use tidegate_tests::metadata::{Metadata, Says};
use tidegate_tests::mqtt::Version;
use tidegate_tests::netns::Pair;
use tidegate_tests::office;
use tidegate_tests::statuspage::{self, StatusPage};
use tidegate_tests::tools::{LoopDisk, Mosquitto};
use tidegate_tests::{certs, wait};

const BOUND: Duration = Duration::from_secs(60);

/// With a status page that can be read and a clock that is right, so that what is tested is all that may be wrong.
fn webhook(flux: &Flux, page: &StatusPage) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.status_page(page);
    setup.synchronise();
    setup
}

fn page() -> StatusPage {
    StatusPage::start(statuspage::Says::Page(statuspage::page(&[], &[])))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("it is there").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn before_the_first_start_all_is_looked_at_no_event_is_made_and_nothing_is_left() {
    let (flux, page, metadata) = (Flux::start(), page(), Metadata::start(Says::class("s1.standard")));
    let mut setup = webhook(&flux, &page);
    setup.metadata(&metadata);
    let before = names(setup.folder());
    let checked = check(&setup, &[]);
    assert_eq!(checked.code, 0, "{}", checked.text);
    checked.assert("service", "attention", "TG-601");
    checked.assert("devices connect to", "good", "");
    checked.assert("clock", "good", "");
    checked.assert("TCP to", "good", "");
    checked.assert("HTTP with", "good", "");
    checked.assert("Flux takes events", "unknown", "");
    checked.assert("metadata service", "good", "");
    checked.assert("status page", "good", "");
    checked.assert("store, room", "good", "");
    checked.assert("store, writing", "good", "");
    assert!(checked.about("metadata service")[0].2.contains("s1.standard"));
    assert_eq!((flux.requests(), flux.connections(), page.asked().len()), (0, 1, 1));
    flux.assert_sound();
    let mut after = names(setup.folder());
    after.retain(|name| name != "tidegate.toml");
    assert_eq!(after, before);
    assert!(!checked.text.contains("s3cr3tpath"), "{}", checked.text);
}

#[test]
fn beside_the_running_service_nothing_of_its_figures_moves() {
    let (flux, page) = (Flux::start(), page());
    let agent = webhook(&flux, &page).start();
    let sent =
        Device::new("pump", Version::V5).start(agent.address(), ["1", "2"].map(str::to_owned).into_iter()).join();
    flux.wait_for(sent.acknowledged.len(), BOUND);
    agent.wait_for_verdict("accepted");
    wait::until("the page is read", BOUND, || !page.asked().is_empty());
    let figures = || {
        let status = agent.status();
        ["counts", "lanes", "listener", "store/bytes", "store/commits", "line/connections", "verdict/word"]
            .map(|key| status.pointer(&format!("/{key}")).cloned())
    };
    let (before, asked, requests) = (figures(), page.asked().len(), flux.requests());
    let checked = Checked::of(&agent.command(&["check", "--json", "--lang", "en"]));
    assert_eq!(checked.code, 0, "{}", checked.text);
    checked.assert("service", "good", "");
    checked.assert("devices connect to", "good", "");
    checked.assert("Flux takes events", "good", "");
    checked.assert("store, writing", "good", "");
    assert!(checked.about("devices connect to")[0].2.contains("the service listens"), "{}", checked.text);
    assert_eq!((figures(), page.asked().len(), flux.requests()), (before, asked, requests));
    flux.assert_sound();
}

#[test]
fn people_read_it_in_their_language_with_the_next_step_and_the_code() {
    let (flux, page) = (Flux::start(), page());
    let setup = webhook(&flux, &page);
    let english = String::from_utf8(run(&setup, &[]).stdout).expect("text");
    assert!(english.contains("→ start it: systemctl enable --now tidegate (TG-601)"), "{english}");
    assert!(english.contains("good        clock: synchronised"), "{english}");
    let japanese = String::from_utf8(run(&setup, &["--lang", "ja"]).stdout).expect("text");
    assert!(japanese.contains("→ 起動してください:systemctl enable --now tidegate (TG-601)"), "{japanese}");
    assert!(japanese.contains("良好") && !japanese.contains("good"), "{japanese}");
    assert_eq!(english.lines().count(), japanese.lines().count());
}

/// With every number out of it, for times, sizes and process ids differ from one check to the next.
fn without_numbers(text: &str) -> String {
    text.split(|character: char| character.is_ascii_digit()).collect()
}

#[test]
fn programs_read_the_same_whatever_the_language_and_each_line_has_a_name() {
    let (flux, page) = (Flux::start(), page());
    let setup = webhook(&flux, &page);
    let [english, japanese] = ["en", "ja"].map(|language| check(&setup, &["--lang", language]));
    assert_eq!(without_numbers(&english.text), without_numbers(&japanese.text));
    assert_eq!(english.all["judged_by"], english.all["config"]);
    let findings = english.all["findings"].as_array().expect("findings");
    let id = |finding: &Value| finding["id"].as_str().expect("an id").to_owned();
    let ids: Vec<String> = findings.iter().map(id).collect();
    for known in ["configuration", "service", "store-opening", "store-room", "listener", "clock", "tcp", "http"] {
        assert!(ids.iter().any(|id| id == known), "{known} in {ids:?}");
    }
    for finding in findings {
        assert!(finding["what_message"]["message"].is_string() && finding["said_message"]["message"].is_string());
        assert_eq!(finding["next"].is_string(), finding["next_message"].is_object(), "{finding:#}");
    }
    let mut setup = setup;
    setup.set("store", "max_size", "5");
    let [english, japanese] = ["en", "ja"].map(|language| check(&setup, &["--lang", language]));
    assert_eq!(without_numbers(&english.text), without_numbers(&japanese.text));
    assert_eq!((english.code, english.by_id("configuration").expect("it is bad")["result"].as_str()), (1, Some("bad")));
}

#[test]
fn an_event_is_sent_only_when_asked_for_and_flux_is_heard() {
    let (flux, page) = (Flux::start(), page());
    let setup = webhook(&flux, &page);
    let sent = check(&setup, &["--send-event"]);
    sent.assert("test event", "good", "");
    assert!(sent.by_id("flux-events").is_none(), "{}", sent.text);
    assert_eq!(flux.requests(), 1);
    flux.answer_all(Answer::status(404));
    let refused = check(&setup, &["--send-event"]);
    refused.assert("test event", "bad", "TG-501");
    assert!(refused.by_id("flux-events").is_none(), "{}", refused.text);
    assert_eq!((refused.code, flux.requests()), (1, 2));
    flux.answer_all(Answer::status(503));
    check(&setup, &["--send-event"]).assert("test event", "attention", "TG-513");
}

#[test]
fn a_certificate_is_shown_and_what_is_wrong_with_it_named() {
    let page = page();
    let seen = |made: &dyn Fn(&Path) -> certs::Certs, trusted: bool| {
        let folder = tempfile::tempdir().expect("a folder");
        let made = made(folder.path());
        let flux = Flux::start_tls(&made);
        let mut setup = webhook(&flux, &page);
        if trusted {
            setup.set("forward.flux", "ca_file", &format!("\"{}\"", made.ca.display()));
        }
        check(&setup, &[])
    };
    let good = seen(&certs::make, true);
    assert_eq!(good.code, 0, "{}", good.text);
    good.assert("TLS with localhost", "good", "");
    assert!(good.about("TLS with")[0].2.contains("by Tidegate test authority"), "{}", good.text);
    for (from, until, name, code, said) in [
        ((2020, 1, 1), (2021, 1, 1), "localhost", "TG-406", "2021-01-01"),
        ((2120, 1, 1), (2121, 1, 1), "localhost", "TG-406", "2120-01-01"),
        ((2020, 1, 1), (2121, 1, 1), "elsewhere.example", "TG-405", "another name"),
    ] {
        let bad = seen(&|folder| certs::make_for(folder, from, until, &[name]), true);
        bad.assert("TLS with localhost", "bad", code);
        assert!(bad.about("TLS with")[0].2.contains(said), "{said} in {}", bad.text);
        assert_eq!((bad.code, bad.about("TCP to")[0].0.as_str()), (1, "good"));
    }
    seen(&certs::make, false).assert("TLS with localhost", "bad", "TG-405");
}

#[test]
fn a_port_that_does_not_speak_tls_is_told_and_its_codes_page_names_that() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    let port = flux.base_url().rsplit(':').next().expect("a port").to_owned();
    setup.set("forward.flux", "url", &format!("\"https://localhost:{port}/x\""));
    let checked = check(&setup, &[]);
    checked.assert("TLS with localhost", "bad", "TG-405");
    assert!(checked.steps().iter().any(|next| next.contains("speaks TLS")), "{}", checked.text);
    for (language, cause) in [("en", "does not speak TLS"), ("ja", "TLS を使っていない")] {
        let page = office::run(&["explain", "--lang", language, "TG-405"]).stdout;
        assert!(String::from_utf8_lossy(&page).contains(cause), "{language}");
    }
}

#[test]
fn a_way_that_ends_is_told_by_where_it_ends() {
    let page = page();
    let flux = Flux::start_stopped();
    let setup = webhook(&flux, &page);
    let refused = check(&setup, &[]);
    refused.assert("TCP to", "bad", "TG-404");
    assert!(refused.about("HTTP with").is_empty() && refused.code == 1);

    let mut setup = webhook(&flux, &page);
    setup.set("forward.flux", "url", "\"http://nowhere.invalid/x\"");
    setup.set("forward.flux", "connect_timeout", "\"2s\"");
    check(&setup, &[]).assert("name nowhere.invalid", "bad", "TG-403");

    let pair = Pair::make();
    let mut setup = webhook(&flux, &page);
    // For documentation (RFC 5737), and no route leads there from within.
    setup.set("forward.flux", "url", "\"http://192.0.2.1/x\"");
    let words = pair.near.within();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(binary()).args(["check", "--json", "--lang", "en", "--config"]).arg(setup.write());
    let cut_off = Checked::of(&command.output().expect("it starts"));
    cut_off.assert("TCP to", "bad", "TG-402");
    cut_off.assert("way out", "attention", "TG-402");
}

#[test]
fn an_authentication_key_is_judged_by_asking_for_a_token() {
    let (flux, page) = (Flux::start(), page());
    let checked = |key: &str| {
        let mut setup = Setup::bare();
        setup.status_page(&page);
        let file = setup.folder().join("auth-key");
        std::fs::write(&file, key).expect("a file in the temporary folder");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
        for (name, value) in [
            ("kind", "api"),
            ("base_url", &flux.base_url()),
            ("app_id", "app-1"),
            ("channel_id", "channel-1"),
            ("auth_key_id", AUTH_KEY_ID),
            ("auth_key_file", &file.display().to_string()),
        ] {
            setup.set("forward.flux", name, &format!("\"{value}\""));
        }
        check(&setup, &[])
    };
    let good = checked(AUTH_KEY);
    good.assert("token", "good", "");
    let wrong = checked("secret-wrongwrongwrong");
    wrong.assert("token", "bad", "TG-502");
    assert!(!wrong.text.contains("wrongwrongwrong"), "{}", wrong.text);
    let logins = flux.logins();
    assert_eq!((logins.granted, logins.refused, flux.requests()), (1, 1, 0));
}

#[test]
fn a_port_that_somebody_else_has_is_told_with_who_it_is() {
    let (flux, page) = (Flux::start(), page());
    let setup = webhook(&flux, &page);
    let held = TcpListener::bind(setup.address()).expect("the port is free");
    let checked = check(&setup, &[]);
    checked.assert("devices connect to", "bad", "TG-201");
    let said = &checked.about("devices connect to")[0].2;
    assert!(said.contains(&std::process::id().to_string()), "{said}");
    assert_eq!(checked.code, 1);
    drop(held);
    check(&setup, &[]).assert("devices connect to", "good", "");
}

#[test]
fn a_store_is_judged_by_its_medium_its_room_and_by_writing() {
    let (flux, page) = (Flux::start(), page());
    let disk = LoopDisk::mount(40);
    let at = |path: &Path| {
        let mut setup = webhook(&flux, &page);
        setup.store_at(path).set("store", "max_size", "\"16MiB\"").set("store", "min_size", "\"4MiB\"");
        check(&setup, &[])
    };
    let good = at(&disk.path());
    good.assert("store, medium", "good", "");
    good.assert("store, room", "good", "");
    good.assert("store, writing", "good", "");
    assert!(good.about("store, medium")[0].2.contains("ext4"), "{}", good.text);
    assert!(!good.about("store, sync").is_empty(), "{}", good.text);
    assert_eq!(names(&disk.path()), ["lost+found"]);

    disk.fill();
    let full = at(&disk.path());
    full.assert("store, room", "bad", "TG-304");
    full.assert("store, writing", "bad", "TG-304");
    disk.free();

    disk.remount("ro");
    let read_only = at(&disk.path());
    read_only.assert("store, medium", "bad", "TG-301");
    read_only.assert("store, writing", "bad", "TG-301");
    assert_eq!(read_only.code, 1);
    disk.remount("rw");

    let memory = at(Path::new("/dev/shm"));
    memory.assert("store, medium", "bad", "TG-308");
    assert!(memory.about("store, sync").is_empty());
}

#[test]
fn who_may_not_read_the_configuration_is_told_so_and_nothing_is_called_bad() {
    let (flux, page) = (Flux::start(), page());
    let setup = webhook(&flux, &page);
    let config = setup.write();
    let as_other = || {
        let mut command = Command::new(binary());
        command.args(["check", "--json", "--lang", "en", "--config"]).arg(&config).uid(4000).gid(4000);
        Checked::of(&command.output().expect("it starts"))
    };
    let open = |mode: u32, path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    open(0o755, setup.folder());
    open(0o600, &config);
    let denied = as_other();
    denied.assert("configuration", "unknown", "");
    assert_eq!((denied.code, denied.all["counts"]["bad"].as_u64()), (4, Some(0)), "{}", denied.text);
    open(0o644, &config);
    let other = as_other();
    other.assert("store, writing", "bad", "TG-301");
}

#[test]
fn a_secret_that_everybody_may_read_or_the_service_may_not_is_told() {
    let flux = Flux::start();
    let page = page();
    let mut setup = webhook(&flux, &page);
    let secret = setup.folder().join("url");
    std::fs::write(&secret, flux.webhook_url()).expect("a file");
    setup.without("forward.flux");
    setup.set("forward.flux", "kind", "\"webhook\"").set(
        "forward.flux",
        "url_file",
        &format!("\"{}\"", secret.display()),
    );
    let with_mode = |mode: u32| {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("mode");
        check(&setup, &[])
    };
    let of = format!("file {}", secret.display());
    with_mode(0o644).assert(&of, "attention", "TG-603");
    with_mode(0o600).assert(&of, "good", "");
}

#[test]
fn a_broker_is_judged_by_connecting_and_its_limits_are_explained() {
    let (flux, page) = (Flux::start(), page());
    let passwords = tempfile::tempdir().expect("a folder");
    // `mosquitto_passwd` is not needed for a user whom nobody is.
    std::fs::write(passwords.path().join("acl"), "topic read devices/#\ntopic read $SYS/#\n").expect("a file");
    let mut broker = Mosquitto::start(&format!("acl_file {}/acl", passwords.path().display()));
    let at = |version: &str, topics: &str| {
        let mut setup = webhook(&flux, &page);
        setup.set("collect.broker", "url", &format!("\"mqtt://{}\"", broker.address()));
        setup.set("collect.broker", "topics", topics).set("collect.broker", "protocol", version);
        setup
    };
    for version in ["\"3.1.1\"", "\"5\""] {
        let good = check(&at(version, "[\"devices/#\", \"$share/g/devices/#\"]"), &[]);
        good.assert("broker mqtt", "good", "");
        let limits = good.about("broker, limits");
        assert!(limits[0].2.contains("mosquitto") && limits[0].2.contains("20 messages"), "{limits:?}");
        assert_eq!(good.about("broker, topics").len(), 2, "{}", good.text);
    }
    let setup = at("\"5\"", "[\"devices/#\"]");
    let agent = setup.start();
    wait::until("the service is connected", BOUND, || agent.status()["broker"]["connected"] == true);
    let since = agent.status()["broker"]["since_ms"].clone();
    let beside = Checked::of(&agent.command(&["check", "--json", "--lang", "en"]));
    beside.assert("broker mqtt", "good", "");
    let after = &agent.status()["broker"];
    assert_eq!((&after["connected"], &after["since_ms"]), (&Value::Bool(true), &since), "its session was left alone");
    drop(agent);

    let closed = at("\"3.1.1\"", "[\"devices/#\"]");
    broker.stop();
    let gone = check(&closed, &[]);
    gone.assert("broker mqtt", "bad", "TG-203");
    assert_eq!(gone.code, 1);
    let locked = Mosquitto::start("allow_anonymous false");
    let mut setup = webhook(&flux, &page);
    setup.set("collect.broker", "url", &format!("\"mqtt://{}\"", locked.address()));
    setup.set("collect.broker", "topics", "[\"devices/#\"]");
    check(&setup, &[]).assert("broker mqtt", "bad", "TG-204");
}

#[test]
fn a_wrong_configuration_is_bad_and_the_offline_check_is_as_it_was() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let offline = run(&setup, &["--offline"]);
    assert!(String::from_utf8_lossy(&offline.stdout).contains("is fine"));
    assert_eq!((offline.status.code(), flux.connections()), (Some(0), 0));
    setup.set("store", "max_size", "5");
    let checked = check(&setup, &[]);
    checked.assert("configuration", "bad", "TG-102");
    assert_eq!(checked.code, 1);
}
