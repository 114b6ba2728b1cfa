//! What `tidegate check` says of a real Mosquitto: over TLS and without, with and without what it asks for, and of its limits.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_tests::agent::{Setup, binary};
use tidegate_tests::certs::{self, Certs};
use tidegate_tests::checked::{Checked, check};
use tidegate_tests::flux::Flux;
use tidegate_tests::ports::free_port;
use tidegate_tests::statuspage::{self, StatusPage};
use tidegate_tests::tools::{Mosquitto, find, run};

/// A gateway where all is well but what a test makes wrong about its broker.
struct Bench {
    flux: Flux,
    page: StatusPage,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let page = StatusPage::start(statuspage::Says::Page(statuspage::page(&[], &[])));
        Self { flux: Flux::start(), page, folder: tempfile::tempdir().expect("a folder") }
    }

    /// A gateway that subscribes at this URL.
    fn gateway(&self, url: &str) -> Setup {
        let mut setup = Setup::webhook(&self.flux);
        setup.status_page(&self.page);
        setup.synchronise();
        setup.set("collect.broker", "url", &format!("\"{url}\""));
        setup.set("collect.broker", "topics", "[\"devices/#\"]");
        setup
    }

    /// Both versions of MQTT find the same; hands out what was said and what to do.
    #[track_caller]
    fn both(setup: &mut Setup, result: &str, code: &str) -> [String; 2] {
        let mut seen = Vec::new();
        for version in ["\"3.1.1\"", "\"5\""] {
            setup.set("collect.broker", "protocol", version);
            let checked = check(setup, &[]);
            let of_tls = checked.lines("TLS with localhost");
            let what = if of_tls.is_empty() { "broker mqtt" } else { "TLS with localhost" };
            seen.push(checked.told(what, result, code));
            assert_eq!(checked.code, i32::from(result == "bad"), "{}", checked.text);
        }
        seen.pop().expect("two")
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// One that speaks TLS at `localhost`, with these certificates.
fn with_tls(certs: &Certs, more: &str) -> Mosquitto {
    let (certificate, key, ca) = (certs.server.display(), certs.server_key.display(), certs.ca.display());
    Mosquitto::start(&format!("certfile {certificate}\nkeyfile {key}\ncafile {ca}\n{more}"))
}

fn at(scheme: &str, broker: &Mosquitto) -> String {
    format!("{scheme}://localhost:{}", broker.address().port())
}

#[test]
fn the_certificate_of_a_broker_is_shown_and_what_is_wrong_with_it_named() {
    let bench = Bench::new();
    let good = certs::make(bench.folder.path());
    let broker = with_tls(&good, "");
    let mut gateway = bench.gateway(&at("mqtts", &broker));
    // Nobody has written whose certificate to believe: the system knows nothing of a test's.
    let [said, next] = Bench::both(&mut gateway, "bad", "TG-405");
    assert!(said.contains("localhost by Tidegate test authority, from 1975-01-01"), "{said}");
    assert!(next.contains("as ca_file in [collect.broker]"), "{next}");
    let other = tempfile::tempdir().expect("a folder");
    let stranger = certs::make_for(other.path(), (2020, 1, 1), (2120, 1, 1), &["elsewhere.example"]);
    gateway.set("collect.broker", "ca_file", &quoted(&stranger.ca));
    let [said, _] = Bench::both(&mut gateway, "bad", "TG-405");
    assert!(said.contains("by Tidegate test authority"), "{said}");
    gateway.set("collect.broker", "ca_file", &quoted(&good.ca));
    let [said, _] = Bench::both(&mut gateway, "good", "");
    assert!(said.contains("trusted: certificate of localhost by Tidegate test authority"), "{said}");
    check(&gateway, &[]).assert("broker mqtts", "good", "");
}

#[test]
fn a_certificate_of_another_time_or_name_is_told_with_who_must_mend_it() {
    let bench = Bench::new();
    for (from, until, name, code, says, mends) in [
        ((2020, 1, 1), (2021, 1, 1), "localhost", "TG-406", "which is right", "renew it"),
        ((2120, 1, 1), (2121, 1, 1), "localhost", "TG-406", "from 2120-01-01", "too early"),
        ((2020, 1, 1), (2121, 1, 1), "elsewhere.example", "TG-405", "another name", "spelt right"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let made = certs::make_for(folder.path(), from, until, &[name]);
        let broker = with_tls(&made, "");
        let mut gateway = bench.gateway(&at("mqtts", &broker));
        gateway.set("collect.broker", "ca_file", &quoted(&made.ca));
        let [said, next] = Bench::both(&mut gateway, "bad", code);
        assert!(said.contains(says) && next.contains(mends), "{said} → {next}");
        if until.0 == 2021 {
            // By a clock that nobody vouches for it may be the clock.
            gateway.set("clock", "synchronised_marker", "\"/nowhere\"").set("clock", "timedated", "false");
            let [said, next] = Bench::both(&mut gateway, "bad", code);
            assert!(said.contains("not known to be right"), "{said}");
            assert!(next.contains("timedatectl set-ntp true") && next.contains("must renew"), "{next}");
        }
    }
}

#[test]
fn a_broker_that_ends_within_days_is_told_before() {
    let bench = Bench::new();
    let date = run(Command::new("date").args(["-u", "-d", "+5 days", "+%Y %m %d"])).stdout;
    let date = String::from_utf8(date).expect("text");
    let parts: Vec<i32> = date.split_whitespace().map(|part| part.parse().expect("a number")).collect();
    let part = |at: usize| u8::try_from(parts[at]).expect("a month or a day");
    let until = (parts[0], part(1), part(2));
    let made = certs::make_for(bench.folder.path(), (2020, 1, 1), until, &["localhost"]);
    let broker = with_tls(&made, "");
    let mut gateway = bench.gateway(&at("mqtts", &broker));
    gateway.set("collect.broker", "ca_file", &quoted(&made.ca));
    let [said, _] = Bench::both(&mut gateway, "attention", "TG-406");
    assert!(said.contains("ends soon"), "{said}");
}

#[test]
fn a_broker_that_is_asked_in_the_wrong_way_is_told_with_the_right_one() {
    let bench = Bench::new();
    let made = certs::make(bench.folder.path());
    let (secure, plain) = (with_tls(&made, ""), Mosquitto::start(""));
    let mut gateway = bench.gateway(&at("mqtt", &secure));
    let [said, next] = Bench::both(&mut gateway, "bad", "TG-203");
    assert!(said.contains("with TLS only"), "{said}");
    assert!(next.contains(&format!("url = \"{}\"", at("mqtts", &secure))), "{next}");
    let mut gateway = bench.gateway(&at("mqtts", &plain));
    gateway.set("collect.broker", "ca_file", &quoted(&made.ca));
    let [said, next] = Bench::both(&mut gateway, "bad", "TG-203");
    assert!(said.contains("without TLS"), "{said}");
    assert!(next.contains(&format!("url = \"{}\"", at("mqtt", &plain))), "{next}");
    // One that lets nobody in without a password is known by its refusal.
    let locked = Mosquitto::start("allow_anonymous false");
    let mut gateway = bench.gateway(&at("mqtts", &locked));
    gateway.set("collect.broker", "ca_file", &quoted(&made.ca));
    let [said, _] = Bench::both(&mut gateway, "bad", "TG-203");
    assert!(said.contains("without TLS"), "{said}");
}

#[test]
fn a_broker_that_wants_a_certificate_says_so_whether_one_is_given_or_not() {
    let bench = Bench::new();
    let made = certs::make(bench.folder.path());
    let elsewhere = tempfile::tempdir().expect("a folder");
    let stranger = certs::make(elsewhere.path());
    for version in ["tlsv1.3", "tlsv1.2"] {
        let broker = with_tls(&made, &format!("require_certificate true\ntls_version {version}"));
        let mut gateway = bench.gateway(&at("mqtts", &broker));
        gateway.set("collect.broker", "ca_file", &quoted(&made.ca));
        let [said, next] = Bench::both(&mut gateway, "bad", "TG-204");
        assert!(said.contains("asks for a certificate of this gateway"), "{version}: {said}");
        assert!(next.contains("client_certificate") && next.contains("client_key"), "{next}");
        let mut with = |certs: &Certs| {
            std::fs::set_permissions(&certs.client_key, std::fs::Permissions::from_mode(0o600)).expect("mode");
            gateway.set("collect.broker", "client_certificate", &quoted(&certs.client));
            gateway.set("collect.broker", "client_key", &quoted(&certs.client_key));
            let result = if certs.client == made.client { ("good", "") } else { ("bad", "TG-204") };
            Bench::both(&mut gateway, result.0, result.1)
        };
        with(&made);
        let [said, next] = with(&stranger);
        assert!(said.contains("refuses the certificate of this gateway"), "{version}: {said}");
        assert!(next.contains("client_certificate"), "{next}");
    }
}

#[test]
fn a_password_that_is_wrong_or_missing_is_told_apart() {
    let bench = Bench::new();
    let passwords = bench.folder.path().join("passwords");
    run(Command::new(find("mosquitto_passwd", "mosquitto")).args(["-b", "-c"]).arg(&passwords).args(["gw", "right"]));
    let broker = Mosquitto::start(&format!("allow_anonymous false\npassword_file {}", passwords.display()));
    let mut gateway = bench.gateway(&at("mqtt", &broker));
    let [said, next] = Bench::both(&mut gateway, "bad", "TG-204");
    assert!(said.contains("without user name and password"), "{said}");
    assert!(next.contains("write username and password_file"), "{next}");
    let file = bench.folder.path().join("password");
    gateway.set("collect.broker", "username", "\"gw\"").set("collect.broker", "password_file", &quoted(&file));
    for (password, result, code) in [("wrong", "bad", "TG-204"), ("right", "good", "")] {
        std::fs::write(&file, password).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
        let [said, next] = Bench::both(&mut gateway, result, code);
        assert!(result == "good" || said.contains("refuses the user name or password"), "{said}");
        assert!(result == "good" || next.contains("correct username and password_file"), "{next}");
    }
}

#[test]
fn a_password_that_is_refused_is_tried_once() {
    let bench = Bench::new();
    let file = bench.folder.path().join("password");
    std::fs::write(&file, "wrong").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
    // What a broker answers that refuses: in MQTT 3.1.1 return codes 4 and 5, in MQTT 5 reasons 0x86 and 0x87.
    for (version, answer) in [
        ("\"3.1.1\"", &b"\x20\x02\x00\x04"[..]),
        ("\"3.1.1\"", b"\x20\x02\x00\x05"),
        ("\"5\"", b"\x20\x03\x00\x86\x00"),
        ("\"5\"", b"\x20\x03\x00\x87\x00"),
    ] {
        let (port, tried) = refusing(answer);
        let mut gateway = bench.gateway(&format!("mqtt://localhost:{port}"));
        gateway.set("collect.broker", "protocol", version);
        gateway.set("collect.broker", "username", "\"gw\"").set("collect.broker", "password_file", &quoted(&file));
        let _ = check(&gateway, &[]).told("broker mqtt", "bad", "TG-204");
        assert_eq!(tried.load(Ordering::SeqCst), 1, "{version} {answer:02x?}");
    }
}

/// A broker that answers each CONNECT so and ends; its port, and how many had a password in them.
fn refusing(answer: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let tried = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tried);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).unwrap_or(0);
            count.fetch_add(usize::from(bytes[..read].windows(5).any(|part| part == b"wrong")), Ordering::SeqCst);
            let _ = stream.write_all(answer);
        }
    });
    (port, tried)
}

#[test]
fn a_broker_that_admits_certain_client_ids_only_is_not_taken_for_one_that_refuses_the_user() {
    let bench = Bench::new();
    let broker = Mosquitto::start("clientid_prefixes tidegate-");
    Bench::both(&mut bench.gateway(&at("mqtt", &broker)), "good", "");
    let other = Mosquitto::start("clientid_prefixes somebody-");
    Bench::both(&mut bench.gateway(&at("mqtt", &other)), "bad", "TG-204");
}

#[test]
fn a_broker_that_is_not_there_is_told_by_how_far_one_came() {
    let bench = Bench::new();
    let mut gateway = bench.gateway(&format!("mqtt://localhost:{}", free_port()));
    let [said, _] = Bench::both(&mut gateway, "bad", "TG-203");
    assert!(said.contains("no connection to localhost"), "{said}");
    let mut gateway = bench.gateway("mqtt://broker.invalid");
    let [said, next] = Bench::both(&mut gateway, "bad", "TG-403");
    assert!(said.contains("broker.invalid cannot be resolved"), "{said}");
    assert!(next.contains("/etc/hosts"), "{next}");
    // Somebody who is no broker, and hangs up.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = deaf.local_addr().expect("bound").port();
    std::thread::spawn(move || deaf.incoming().for_each(drop));
    let mut gateway = bench.gateway(&format!("mqtt://localhost:{port}"));
    let [said, next] = Bench::both(&mut gateway, "bad", "TG-203");
    assert!(said.contains("takes the connection and ends it"), "{said}");
    assert!(next.contains("log") && !next.contains("firewall"), "{next}");
}

#[test]
fn the_limits_are_those_of_the_file_that_the_broker_has_read() {
    let bench = Bench::new();
    let raised = Mosquitto::start("max_queued_messages 100000\nmax_inflight_messages 1000");
    let gateway = bench.gateway(&at("mqtt", &raised));
    let checked = check(&gateway, &[]);
    let [said, _] = checked.told("broker, limits", "good", "");
    assert!(said.contains("1000 messages under way and keeps 100000"), "{said}");
    // Nothing else is said of them: the configuration cannot know what the broker was told.
    assert!(checked.lines("configuration").iter().all(|note| !note[2].contains("collect.broker")), "{}", checked.text);
    assert!(!checked.text.contains("queue bounds"), "{}", checked.text);

    // What stands there now is not what it has read.
    let late = Mosquitto::start(&format!("include_dir {}", bench.folder.path().display()));
    let written = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::write(bench.folder.path().join("more.conf"), "max_queued_messages 100000\n").expect("a file");
    let more = std::fs::File::options().append(true).open(bench.folder.path().join("more.conf")).expect("there");
    more.set_modified(written).expect("its time can be set");
    let checked = check(&bench.gateway(&at("mqtt", &late)), &[]);
    let [said, next] = checked.told("broker, limits", "unknown", "");
    assert!(said.contains("more.conf was changed") && next.contains("restart the broker"), "{said} → {next}");

    let low = Mosquitto::start("max_queued_messages 10");
    let checked = check(&bench.gateway(&at("mqtt", &low)), &[]);
    let [said, next] = checked.told("broker, limits", "attention", "TG-205");
    assert!(said.contains("20 messages under way and keeps 10 "), "{said}");
    assert!(next.contains("/mosquitto.conf and restart the broker"), "{next}");
    assert_eq!(checked.code, 0);
}

#[test]
fn a_queue_that_is_bounded_in_bytes_or_does_not_outlive_a_restart_is_told_and_never_as_bad() {
    let bench = Bench::new();
    std::fs::write(bench.folder.path().join("more.conf"), "max_queued_bytes 65536\npersistence true\n")
        .expect("a file");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    let more = std::fs::File::options().append(true).open(bench.folder.path().join("more.conf")).expect("there");
    more.set_modified(long_ago).expect("its time can be set");
    let include = format!("max_queued_messages 100000\ninclude_dir {}", bench.folder.path().display());
    let broker = Mosquitto::start(&include);
    let checked = check(&bench.gateway(&at("mqtt", &broker)), &[]);
    let [said, next] = checked.told("broker, limits", "attention", "TG-205");
    assert!(said.contains("keeps 100000 (all of them at most 64KiB)"), "{said}");
    assert!(next.contains("max_queued_bytes 0 (no limit) into") && next.contains("tidegate.conf"), "{next}");
    checked.assert("broker, restart", "good", "");
    assert_eq!(checked.code, 0);
    drop(broker);

    let broker = Mosquitto::start("max_queued_messages 100000");
    let checked = check(&bench.gateway(&at("mqtt", &broker)), &[]);
    checked.assert("broker, limits", "good", "");
    let [said, next] = checked.told("broker, restart", "attention", "TG-205");
    assert!(said.contains("in its memory alone"), "{said}");
    assert!(next.contains("write persistence true") && next.contains("/mosquitto.conf"), "{next}");
    assert_eq!(checked.by_id("broker-persistence").map(|found| &found["result"]), Some(&"attention".into()));
    assert_eq!(checked.code, 0);
}

#[test]
fn what_is_not_known_of_a_brokers_limits_is_not_judged() {
    let bench = Bench::new();
    let broker = Mosquitto::start("max_queued_messages 10");
    let gateway = bench.gateway(&at("mqtt", &broker));
    let config = gateway.write();
    for path in [gateway.folder(), config.as_path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
    // Another user than root sees that somebody has the port, not who.
    let mut command = Command::new(binary());
    command.args(["check", "--json", "--lang", "en", "--config"]).arg(&config).uid(4000).gid(4000);
    let other = Checked::of(&command.output().expect("it starts"));
    other.assert("broker mqtt", "good", "");
    other.assert("broker, limits", "unknown", "");
}
