//! Tidegate subscribes on a broker that is already there: a real Mosquitto, also one that goes away and comes back.
#![forbid(unsafe_code)]

use std::process::Command;
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::tools::{self, Mosquitto};
use tidegate_tests::{certs, ports, wait};

const BOUND: Duration = Duration::from_secs(60);

/// An agent that only subscribes, over this protocol version.
fn subscriber(flux: &Flux, broker: &Mosquitto, protocol: &str) -> Agent {
    let mut setup = Setup::webhook(flux);
    setup.without("collect.listener");
    setup.set("collect.broker", "url", &format!("\"mqtt://{}\"", broker.address()));
    setup.set("collect.broker", "topics", "[\"devices/#\"]");
    setup.set("collect.broker", "protocol", &format!("\"{protocol}\""));
    setup.start()
}

/// Publishes single messages until one arrives: only then is the subscription known to stand.
fn wait_for_subscription(flux: &Flux, broker: &Mosquitto, device: &str) {
    let running = Device { pause: Duration::from_millis(50), ..Device::new(device, Version::V5) }
        .start_counting(broker.address());
    wait::until("the subscription stands", BOUND, || !flux.payloads_of(device).is_empty());
    let _ = running.finish();
}

#[test]
fn what_a_broker_acknowledged_arrives_over_its_restart_and_ours() {
    for protocol in ["3.1.1", "5"] {
        let flux = Flux::start();
        let mut broker = Mosquitto::start_persistent();
        let mut agent = subscriber(&flux, &broker, protocol);
        wait_for_subscription(&flux, &broker, "probe");

        let device = Device { pause: Duration::from_millis(1), ..Device::new("meter", Version::V311) };
        let running = device.start_counting(broker.address());
        wait::until("some are acknowledged", BOUND, || running.acknowledged() > 200);
        broker.stop();
        broker.resume();
        let before = running.acknowledged();
        wait::until("the broker acknowledges again", BOUND, || running.acknowledged() > before + 200);
        agent.kill();
        let before = running.acknowledged();
        wait::until("the broker acknowledges while we are away", BOUND, || running.acknowledged() > before + 200);
        agent.start();
        let before = running.acknowledged();
        wait::until("more are acknowledged", BOUND, || running.acknowledged() > before + 200);
        let outcome = running.finish();
        outcome.assert_delivered(&flux, "meter", false, BOUND);
        flux.assert_sound();
    }
}

#[test]
fn the_listener_and_a_broker_feed_one_store() {
    let flux = Flux::start();
    let broker = Mosquitto::start("");
    let mut setup = Setup::webhook(&flux);
    setup.set("collect.broker", "url", &format!("\"mqtt://{}\"", broker.address()));
    setup.set("collect.broker", "topics", "[\"devices/#\"]");
    let agent = setup.start();
    wait_for_subscription(&flux, &broker, "probe");
    let payloads = |name: &'static str| (0..100).map(move |n| format!(r#"{{"{name}":{n}}}"#));
    let direct = Device::new("direct", Version::V5).start(agent.address(), payloads("direct"));
    let indirect = Device::new("indirect", Version::V5).start(broker.address(), payloads("indirect"));
    for (running, name) in [(direct, "direct"), (indirect, "indirect")] {
        running.join().assert_delivered(&flux, name, true, BOUND);
    }
    flux.assert_sound();
}

#[test]
fn a_broker_that_comes_later_is_found() {
    let flux = Flux::start();
    let mut broker = Mosquitto::start("");
    broker.stop();
    let mut agent = subscriber(&flux, &broker, "3.1.1");
    agent.assert_running();
    broker.resume();
    wait_for_subscription(&flux, &broker, "late");
}

#[test]
fn a_broker_is_reached_over_tls_with_a_password_and_a_certificate() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    let certs = certs::make(setup.folder());
    let passwords = setup.folder().join("broker-passwords");
    tools::run(
        Command::new(tools::find("mosquitto_passwd", "mosquitto"))
            .args(["-b", "-c"])
            .arg(&passwords)
            .args(["tidegate", "open sesame"]),
    );
    // The devices come in by the plain listener of the same broker, the gateway by TLS.
    let tls_port = ports::free_port();
    let broker = Mosquitto::start(&format!(
        "listener {tls_port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
         require_certificate true\nallow_anonymous false\npassword_file {}",
        certs.ca.display(),
        certs.server.display(),
        certs.server_key.display(),
        passwords.display()
    ));
    let password = setup.folder().join("password");
    std::fs::write(&password, "open sesame\n").expect("a file in the temporary folder");
    setup.without("collect.listener");
    setup.set("collect.broker", "topics", "[\"devices/#\"]");
    for (key, value) in [
        ("url", format!("mqtts://localhost:{tls_port}")),
        ("username", "tidegate".to_owned()),
        ("password_file", password.display().to_string()),
        ("ca_file", certs.ca.display().to_string()),
        ("client_certificate", certs.client.display().to_string()),
        ("client_key", certs.client_key.display().to_string()),
    ] {
        setup.set("collect.broker", key, &format!("\"{value}\""));
    }
    let _agent = setup.start();
    wait_for_subscription(&flux, &broker, "private");
}
