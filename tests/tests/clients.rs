//! Clients as they are found in the field publish to the real binary, and everything they had acknowledged arrives.
#![forbid(unsafe_code)]

use std::process::Command;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::certs::{self, Certs};
use tidegate_tests::flux::Flux;
use tidegate_tests::{ports, tools, wait};

/// Publishes per client and way: several windows of every client's own limits (Paho and Mosquitto keep 20 in flight).
const COUNT: usize = 50;

fn expected() -> Vec<String> {
    (0..COUNT).map(|n| format!(r#"{{"n":{n}}}"#)).collect()
}

/// Runs a command that publishes [`COUNT`] messages as `device`, and judges what arrived.
#[track_caller]
fn publishes_arrive(flux: &Flux, device: &str, command: &mut Command) {
    tools::run(command);
    let arrived = || flux.payloads_of(device);
    wait::until(&format!("all of {device} is delivered"), wait::BOUND, || arrived().len() >= COUNT);
    assert_eq!(arrived(), expected(), "{device}");
}

fn topic(device: &str) -> String {
    format!("devices/{device}/telemetry")
}

#[test]
fn mosquitto_pub_is_served_in_both_versions_at_every_qos() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    for (version, name) in [("mqttv311", "v3"), ("mqttv5", "v5")] {
        for qos in ["0", "1", "2"] {
            let device = format!("mosquitto-{name}-{qos}");
            let mut command = tools::mosquitto_pub(agent.address());
            command.args(["-V", version, "-q", qos, "-t", &topic(&device), "-l"]);
            command.stdin(lines(&agent));
            publishes_arrive(&flux, &device, &mut command);
        }
    }
    flux.assert_sound();
}

/// A file with one message a line, for `mosquitto_pub -l`.
fn lines(agent: &Agent) -> std::fs::File {
    let path = agent.setup.folder().join("lines");
    std::fs::write(&path, expected().join("\n") + "\n").expect("a file in the temporary folder");
    std::fs::File::open(&path).expect("the file just written")
}

#[test]
fn paho_is_served_in_both_versions_at_every_qos() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    for version in ["3.1.1", "5"] {
        for qos in ["0", "1", "2"] {
            let device = format!("paho-{version}-{qos}");
            let mut command = tools::paho_publish(agent.address());
            command.args(["--version", version, "--qos", qos, "--topic", &topic(&device), "--client-id", &device]);
            publishes_arrive(&flux, &device, &mut command);
        }
    }
    flux.assert_sound();
}

/// An agent with a TLS port beside the plain one.
fn tls_agent(flux: &Flux, client_certificates: bool) -> (Agent, std::net::SocketAddr, Certs) {
    let mut setup = Setup::webhook(flux);
    let certs = certs::make(setup.folder());
    let port = ports::free_port();
    setup.set("collect.listener", "tls_bind", &format!("\"127.0.0.1:{port}\""));
    for (key, path) in [("tls_certificate", &certs.server), ("tls_key", &certs.server_key)] {
        setup.set("collect.listener", key, &format!("\"{}\"", path.display()));
    }
    if client_certificates {
        setup.set("collect.listener", "tls_client_ca", &format!("\"{}\"", certs.ca.display()));
        setup.set("collect.listener", "tls_require_client_certificate", "true");
    }
    (setup.start(), (std::net::Ipv4Addr::LOCALHOST, port).into(), certs)
}

#[test]
fn real_clients_are_served_over_tls() {
    let flux = Flux::start();
    let (agent, address, certs) = tls_agent(&flux, false);
    for (version, name) in [("mqttv311", "v3"), ("mqttv5", "v5")] {
        let device = format!("tls-mosquitto-{name}");
        let mut command = tools::mosquitto_pub(address);
        command.args(["-V", version, "-q", "1", "-t", &topic(&device), "-l", "--cafile"]).arg(&certs.ca);
        command.stdin(lines(&agent));
        publishes_arrive(&flux, &device, &mut command);
    }
    for version in ["3.1.1", "5"] {
        let device = format!("tls-paho-{version}");
        let mut command = tools::paho_publish(address);
        command.args(["--version", version, "--qos", "2", "--topic", &topic(&device), "--ca"]).arg(&certs.ca);
        publishes_arrive(&flux, &device, &mut command);
    }
}

#[test]
fn a_client_without_the_certificate_asked_for_is_turned_away_and_one_with_it_is_served() {
    let flux = Flux::start();
    let (agent, address, certs) = tls_agent(&flux, true);
    let mut without = tools::mosquitto_pub(address);
    without.args(["-q", "1", "-t", &topic("stranger"), "-m", "1", "--cafile"]).arg(&certs.ca);
    let refused = without.output().expect("mosquitto_pub starts");
    assert!(!refused.status.success(), "a client without a certificate was let in");

    let mut with = tools::mosquitto_pub(address);
    with.args(["-q", "1", "-t", &topic("known"), "-l", "--cafile"]).arg(&certs.ca);
    with.arg("--cert").arg(&certs.client).arg("--key").arg(&certs.client_key).stdin(lines(&agent));
    publishes_arrive(&flux, "known", &mut with);
    assert!(flux.payloads_of("stranger").is_empty());
}

#[test]
fn a_password_lets_in_and_a_wrong_one_does_not() {
    use argon2::Argon2;
    use argon2::password_hash::{PasswordHasher, SaltString};

    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let salt = SaltString::from_b64("dGlkZWdhdGUtc2FsdA").expect("a salt in base64");
    let hash = Argon2::default().hash_password(b"open sesame", &salt).expect("argon2 hashes");
    let file = setup.folder().join("passwords");
    std::fs::write(&file, format!("pump:{hash}\n")).expect("a file in the temporary folder");
    setup.set("collect.listener", "passwords_file", &format!("\"{}\"", file.display()));
    let agent = setup.start();

    for (version, arguments) in [
        ("mqttv311", ["-u", "pump", "-P", "wrong"].as_slice()),
        ("mqttv5", &["-u", "pomp", "-P", "open sesame"]),
        ("mqttv5", &[]),
    ] {
        let mut command = tools::mosquitto_pub(agent.address());
        command.args(["-V", version, "-q", "1", "-t", &topic("pump"), "-m", "1"]).args(arguments);
        let output = command.output().expect("mosquitto_pub starts");
        assert!(!output.status.success(), "{arguments:?} was let in");
    }
    let mut command = tools::mosquitto_pub(agent.address());
    command.args(["-q", "1", "-t", &topic("pump"), "-u", "pump", "-P", "open sesame", "-l"]).stdin(lines(&agent));
    publishes_arrive(&flux, "pump", &mut command);
}
