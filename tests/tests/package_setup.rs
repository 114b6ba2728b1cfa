//! `tidegate setup` and `tidegate check` of the installed package under real systemd, as a technician runs them: as root, with
//! flags, in a fresh Debian.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::container::Container;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::tools::{self, Mosquitto};
use tidegate_tests::{ports, wait};

/// A service that has ended is started again after five seconds.
const BOUND: Duration = Duration::from_secs(90);

const CONFIG: &str = "/etc/tidegate/tidegate.toml";
const WEBHOOK: &str = "/etc/tidegate/secrets/webhook-url";

/// Where the technician has pasted the webhook's URL.
const PASTED: &str = "/root/webhook";

/// What of the look-alike's webhook must be seen nowhere.
const SECRET: &str = "s3cr3tpath";

/// The exit code when all was written and the check finds something bad.
const WRITTEN_BUT_BAD: i32 = 5;

/// A gateway with the package, not set up.
fn gateway() -> Container {
    let container = Container::boot(&[]);
    container.install("old.deb");
    container
}

/// What a technician has written before: what keeps the test apart from the machine's clock and from the internet. Batches do
/// not wait.
fn by_hand(container: &Container) {
    let text = "# by hand, 現場\n[clock]\nsynchronised_marker = \"/run/synchronised\"\ntimedated = false\n\n\
                [provider.statuspage] # no way out of here\nenabled = false\n[provider.metadata]\nenabled = false\n\
                [provider.resume]\nspread = \"1s\"\nramp = \"0s\"\n[store]\nmax_size = \"32MiB\"\nkeep_free = \"0B\"\n\
                keep_free_inodes = 0\n[forward.flux.batch]\nmax_age = \"0s\"\n[forward.backoff]\nmin = \"50ms\"\n\
                max = \"500ms\"\n# end\n";
    container.write(CONFIG, 0o644, text);
    container.run(&["touch", "/run/synchronised"]);
}

fn listener() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports::free_port()).into()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The command with these arguments, as a script gives them; what it said, and its exit code.
fn setup(container: &Container, arguments: &[&str]) -> (String, Option<i32>) {
    let output = container.try_run(&[&["tidegate", "--lang", "en", "setup", "--yes"], arguments].concat());
    (said(&output), output.status.code())
}

/// Sets it up for devices that connect here, and starts it.
fn set_up(container: &Container, flux: &Flux, address: SocketAddr) {
    by_hand(container);
    container.write(PASTED, 0o600, &flux.webhook_url());
    let listen = address.to_string();
    let place = ["--id", "gw-1", "--devices", "listen", "--listen", &listen, "--interface", "", "--start"];
    let flux = ["--webhook-file", PASTED, "--events-per-month", "unlimited", "--test-event"];
    let (all, code) = setup(container, &[&place[..], &flux].concat());
    assert_eq!(code, Some(0), "{all}");
    assert!(all.contains("test event: Flux took it") && !all.contains(SECRET), "{all}");
}

/// What `check` finds: code, and result, code and text of what is called so.
fn check(container: &Container) -> (Option<i32>, impl Fn(&str) -> (String, String, String)) {
    let output = container.try_run(&["tidegate", "--lang", "en", "check", "--json"]);
    let all: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let find = move |what: &str| {
        let findings = all["findings"].as_array().expect("findings");
        let found: Vec<_> = findings.iter().filter(|finding| finding["what"] == what).collect();
        assert_eq!(found.len(), 1, "{what}: {all:#}");
        let text = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
        (text("result"), text("code"), text("said") + " → " + &text("next"))
    };
    (output.status.code(), find)
}

/// What `check` says of the unit has this result and this code, and says this.
#[track_caller]
fn assert_unit(container: &Container, result: &str, code: &str, words: &str) {
    let (_, found) = check(container);
    let (is, of, all) = found("start at boot");
    assert!((is.as_str(), of.as_str()) == (result, code) && all.contains(words), "{is} {of}: {all}");
}

/// Owner, group and mode of a file within.
fn belongs(container: &Container, path: &str) -> (u32, u32, u32) {
    let about = std::fs::metadata(container.root().join(path.trim_start_matches('/'))).expect("it is there");
    (about.uid(), about.gid(), about.permissions().mode() & 0o7777)
}

fn text(container: &Container) -> String {
    std::fs::read_to_string(container.root().join(CONFIG.trim_start_matches('/'))).expect("it is there")
}

/// One publish, acknowledged, that arrives.
fn deliver(flux: &Flux, address: SocketAddr, payload: &str) {
    let mut client = wait::for_value("devices can connect", BOUND, || {
        Client::try_connect(address, &Connect::new(Version::V311, "device")).map(|(client, _)| client)
    });
    client.publish_acknowledged("devices/d1/telemetry", payload.as_bytes(), 1);
    client.disconnect();
    wait_for(flux, payload);
}

fn wait_for(flux: &Flux, payload: &str) {
    wait::until("it is delivered", BOUND, || flux.payloads_of("d1").iter().any(|one| one == payload));
}

#[test]
fn setup_of_a_fresh_package_starts_a_service_that_reads_its_secrets_and_a_second_one_changes_only_what_is_said() {
    let flux = Flux::start();
    let container = gateway();
    let address = listener();
    set_up(&container, &flux, address);
    let first = container.wait_for_service("0", BOUND);
    assert_eq!(container.run(&["systemctl", "is-enabled", "tidegate"]).trim(), "enabled");
    let user: u32 = container.run(&["id", "-u", "tidegate"]).trim().parse().expect("a number");
    assert_eq!(container.run(&["stat", "-c", "%u", &format!("/proc/{first}")]).trim(), user.to_string());
    assert_eq!(belongs(&container, CONFIG), (0, 0, 0o644));
    assert_eq!(belongs(&container, WEBHOOK), (0, 0, 0o600), "systemd hands it over");
    assert_eq!(belongs(&container, "/etc/tidegate/secrets").2 & 0o007, 0, "the package's folder");
    let written = text(&container);
    assert!(written.starts_with("# by hand, 現場\n") && written.contains("\n# end\n\n[gateway]\n"), "{written}");
    assert!(!written.contains(SECRET) && !container.journal().contains(SECRET));
    deliver(&flux, address, "1");
    let (code, found) = check(&container);
    assert_eq!(code, Some(0));
    for what in ["service", "start at boot", "clock", "store, writing", &format!("file {WEBHOOK}")] {
        let (result, code, all) = found(what);
        assert_eq!((result.as_str(), code.as_str()), ("good", ""), "{what}: {all}");
    }
    assert!(container.run(&["tidegate", "--lang", "en", "status"]).contains("gw-1"));

    // What a reload can take is reloaded: the same process.
    let (all, code) = setup(&container, &["--rate", "1 Mbit/s"]);
    assert_eq!(code, Some(0), "{all}");
    assert!(all.contains("done: systemctl reload"), "{all}");
    assert_eq!(container.wait_for_service("0", BOUND), first);
    assert_eq!(text(&container).replace("rate = \"1 Mbit/s\"\n", ""), written.clone(), "nothing else is changed");
    // Once more, the service has it already.
    let (all, code) = setup(&container, &["--rate", "1 Mbit/s"]);
    assert!(code == Some(0) && all.contains("Nothing changes.") && !all.contains("systemctl"), "{all}");

    // An address takes effect at a start.
    let other = listener();
    let (all, code) = setup(&container, &["--listen", &other.to_string()]);
    assert_eq!(code, Some(0), "{all}");
    assert!(all.contains("a restart is needed for: collect.listener.bind"), "{all}");
    let second = container.wait_for_service(&first, BOUND);
    deliver(&flux, other, "2");

    // So does a secret, which systemd hands over.
    container.write(PASTED, 0o600, &flux.webhook_url());
    let (all, code) = setup(&container, &["--webhook-file", PASTED]);
    assert!(code == Some(0) && all.contains("done: systemctl restart"), "{all}");
    let third = container.wait_for_service(&second, BOUND);
    deliver(&flux, other, "3");

    // A refused answer changes nothing.
    let before = text(&container);
    for refused in [&["--id", "現場 1"][..], &["--rate", "fast"], &["--listen", "nowhere"]] {
        let (all, code) = setup(&container, refused);
        assert!(code == Some(1) && all.contains("not usable") && all.contains("TG-102"), "{refused:?}: {all}");
    }
    let nobody = format!("http://127.0.0.1:{}/v1/flux/incoming_webhooks/a/{SECRET}", ports::free_port());
    container.write(PASTED, 0o600, &nobody);
    let (all, code) = setup(&container, &["--webhook-file", PASTED]);
    assert!(code == Some(1) && all.contains("TG-404") && !all.contains(SECRET), "{all}");
    assert_eq!((text(&container), container.wait_for_service("0", BOUND)), (before, third));
    assert_eq!(container.property("NRestarts"), "0", "nothing failed");
    deliver(&flux, other, "4");
    secrets_by_hand(&container, &flux);
    deliver(&flux, other, "5");
}

/// systemd hands secrets over at a start: after a reload the one that was changed since is said, and of one that came since what helps.
fn secrets_by_hand(container: &Container, flux: &Flux) {
    let status = || container.run(&["tidegate", "--lang", "en", "status"]);
    container.write(WEBHOOK, 0o600, &flux.webhook_url());
    container.run(&["systemctl", "reload", "tidegate"]);
    wait::until("the changed secret is said", BOUND, || {
        let said = status();
        said.contains("TG-107") && said.contains("forward.flux.url_file")
    });
    assert!(container.journal().contains("webhook-url was changed after the service had started"));
    let newer = "/etc/tidegate/secrets/newer";
    container.write(newer, 0o600, &flux.webhook_url());
    let written = text(container);
    assert!(written.contains(WEBHOOK), "{written}");
    container.write(CONFIG, 0o644, &written.replace(WEBHOOK, newer));
    container.run(&["systemctl", "reload", "tidegate"]);
    wait::until("what helps is said", BOUND, || {
        let said = status();
        said.contains("TG-106") && said.contains("restart the service (systemctl restart tidegate)")
    });
    container.run(&["systemctl", "restart", "tidegate"]);
    let said = status();
    assert!(!said.contains("TG-10"), "{said}");
}

#[test]
fn setup_for_a_broker_with_a_password_hands_it_over_and_collects() {
    let flux = Flux::start();
    let folder = tempfile::tempdir().expect("a folder");
    let passwords = folder.path().join("passwords");
    std::fs::write(&passwords, "").expect("a file");
    let mut hash = std::process::Command::new(tools::find("mosquitto_passwd", "mosquitto"));
    tools::run(hash.arg("-b").arg(&passwords).args(["tidegate", "h4rd-to-guess"]));
    let broker = Mosquitto::start(&format!("allow_anonymous false\npassword_file {}", passwords.display()));
    let url = format!("mqtt://{}", broker.address());

    let container = gateway();
    by_hand(&container);
    container.write(PASTED, 0o600, &flux.webhook_url());
    let place =
        ["--id", "gw-1", "--devices", "broker", "--broker", &url, "--broker-topic", "devices/#", "--interface", ""];
    let more = ["--broker-user", "tidegate", "--broker-password-file", "/root/password", "--webhook-file", PASTED];
    let all = [&place[..], &more, &["--no-limits", "--start", "--test-event"]].concat();
    container.write("/root/password", 0o600, "wr0ng-one\n");
    let (refused, code) = setup(&container, &all);
    assert!(code == Some(1) && refused.contains("TG-204") && refused.contains("nothing was changed"), "{refused}");
    assert!(!container.has("/etc/tidegate/secrets/broker-password") && !text(&container).contains("broker"));
    assert_eq!((container.property("ActiveState").as_str(), flux.requests()), ("inactive", 0));

    container.write("/root/password", 0o600, "h4rd-to-guess\n");
    let (told, code) = setup(&container, &all);
    assert!(code == Some(0) && told.contains("test event: Flux took it"), "{told}");
    assert!(!told.contains("h4rd-to-guess") && !text(&container).contains("h4rd-to-guess"), "{told}");
    assert_eq!(belongs(&container, "/etc/tidegate/secrets/broker-password"), (0, 0, 0o600));
    container.wait_for_service("0", BOUND);
    wait::until("the service is connected", BOUND, || {
        let status: Value = serde_json::from_str(&container.run(&["tidegate", "status", "--json"])).expect("JSON");
        status["broker"]["connected"] == true
    });
    let publish = ["-u", "tidegate", "-P", "h4rd-to-guess", "-q", "1", "-t", "devices/d1/telemetry", "-m", "1"];
    tools::run(tools::mosquitto_pub(broker.address()).args(publish));
    wait_for(&flux, "1");
    let (code, found) = check(&container);
    assert_eq!(code, Some(0));
    assert_eq!(found("file /etc/tidegate/secrets/broker-password").0, "good");
}

#[test]
fn check_tells_every_state_of_the_unit_and_calls_none_bad_that_is_not() {
    let flux = Flux::start();
    let container = gateway();
    assert_unit(&container, "attention", "TG-602", "the unit is inactive");
    let (code, found) = check(&container);
    assert_eq!((code, found("configuration").1.as_str()), (Some(1), "TG-103"));
    assert!(!container.try_run(&["systemctl", "start", "tidegate"]).status.success());
    assert_unit(&container, "attention", "TG-103", "sudo tidegate setup");

    // Configured meanwhile, and not started yet.
    let listen = listener().to_string();
    by_hand(&container);
    container.write(PASTED, 0o600, &flux.webhook_url());
    let place = ["--id", "gw-1", "--devices", "listen", "--listen", &listen, "--interface", "", "--no-start"];
    let (all, code) = setup(&container, &[&place[..], &["--webhook-file", PASTED, "--no-limits"]].concat());
    assert_eq!(code, Some(0), "it was not to be started: {all}");
    assert_unit(&container, "attention", "TG-103", "systemctl enable --now tidegate");
    let (code, _) = check(&container);
    assert_eq!(code, Some(0), "nothing is bad");

    container.run(&["systemctl", "start", "tidegate"]);
    let first = container.wait_for_service("0", BOUND);
    assert_unit(&container, "good", "", "enabled, active");
    container.run(&["systemctl", "disable", "tidegate"]);
    assert_unit(&container, "attention", "TG-602", "systemctl enable tidegate");
    container.run(&["systemctl", "enable", "--runtime", "tidegate"]);
    assert_unit(&container, "attention", "TG-602", "systemctl enable tidegate");
    container.run(&["systemctl", "disable", "--runtime", "tidegate"]);
    // A setup that changes nothing and is told to start it has it started at boot.
    let (all, code) = setup(&container, &["--id", "gw-1", "--start"]);
    assert!(code == Some(0) && all.contains("done: systemctl enable"), "{all}");
    assert_eq!(container.wait_for_service("0", BOUND), first);

    // Ended by itself: about to be started again, then running, with the count.
    container.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "tidegate"]);
    wait::until("it has ended", BOUND, || container.property("SubState") == "auto-restart");
    assert_unit(&container, "attention", "TG-602", "about to be started again");
    container.wait_for_service(&first, BOUND);
    assert_unit(&container, "good", "", "started it again by itself 1 times");

    container.run(&["systemctl", "stop", "tidegate"]);
    assert_unit(&container, "attention", "TG-602", "the unit is inactive");
    container.run(&["systemctl", "mask", "tidegate"]);
    assert_unit(&container, "bad", "TG-602", "systemctl unmask tidegate");
    let (all, code) = setup(&container, &["--rate", "1 Mbit/s", "--start"]);
    assert!(code == Some(WRITTEN_BUT_BAD) && all.contains("its unit is masked"), "{all}");
    container.run(&["systemctl", "unmask", "tidegate"]);

    fails(&container);
    container.write("/etc/systemd/system/tidegate.service.d/test.conf", 0o644, "[Service]\nExecStart=nothing here\n");
    container.run(&["systemctl", "daemon-reload"]);
    assert_unit(&container, "bad", "TG-602", "systemd-analyze verify");
}

/// A program that cannot be started: again and again, and at the end for good.
fn fails(container: &Container) {
    let broken = |more: &str| {
        let drop_in = format!("[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=100ms\n{more}");
        container.write("/etc/systemd/system/tidegate.service.d/test.conf", 0o644, &drop_in);
        container.run(&["systemctl", "daemon-reload"]);
    };
    broken("");
    let (all, code) = setup(container, &["--id", "gw-1", "--start", "--no-tests"]);
    assert!(code == Some(WRITTEN_BUT_BAD) && all.contains("failed: systemctl enable --now"), "{all}");
    wait::until("it has ended some times", BOUND, || container.property("NRestarts").parse().unwrap_or(0) > 3);
    broken("RestartSec=60\n");
    wait::until("the long pause", BOUND, || container.property("SubState") == "auto-restart");
    assert_unit(container, "bad", "TG-602", "again and again");
    container.run(&["systemctl", "stop", "tidegate"]);
    broken("Restart=no\n");
    assert!(!container.try_run(&["systemctl", "start", "tidegate"]).status.success());
    assert_unit(container, "bad", "TG-602", "exit status 1");
}
