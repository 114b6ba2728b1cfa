//! Doors that must stay shut, and say why: TLS and passwords, against a real Mosquitto.

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rumqttc::QoS;
use tidegate::collect::broker::{Credentials, Options, OptionsError, Protocol, TlsOptions};
use tidegate::secret::Secret;

use crate::gateway::{Gateway, options};
use crate::mosquitto::Mosquitto;
use crate::publisher::{payloads, publish};

const TOPIC: &str = "devices/pump-3/telemetry";

/// Writes a CA and a certificate for `name` signed by it: `ca.pem`, `cert.pem`, `key.pem`.
fn certificates(folder: &tempfile::TempDir, name: &str) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("no names");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "Tidegate test CA");
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name or address");
    let cert = params.signed_by(&key, &issuer).expect("a certificate");
    for (file, text) in [("ca.pem", ca_pem), ("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(folder.path().join(file), text).expect("it can be written");
    }
}

/// A Mosquitto with TLS on its main port; publishers use a plain port besides.
fn with_tls(name: &str) -> (Mosquitto, u16, TlsOptions) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    certificates(&folder, name);
    let ca_file = Some(folder.path().join("ca.pem"));
    let plain =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let extra = format!("certfile {{folder}}/cert.pem\nkeyfile {{folder}}/key.pem\nlistener {plain} 127.0.0.1\n");
    (Mosquitto::start_in(folder, &extra), plain, TlsOptions { ca_file, client_certificate: None })
}

async fn tls_works(protocol: Protocol) {
    let (broker, plain, tls) = with_tls("127.0.0.1");
    let options = Options { tls: Some(tls), protocol, ..options(broker.port) };
    let gateway = Gateway::start(options);
    publish(plain, TOPIC, QoS::AtLeastOnce, true, &payloads("tls", 1)).await;
    gateway.until_stored(&payloads("tls", 1)).await;
    gateway.stop().await;
}

#[tokio::test]
async fn telemetry_arrives_over_tls_in_3_1_1() {
    tls_works(Protocol::V311).await;
}

#[tokio::test]
async fn telemetry_arrives_over_tls_in_5() {
    tls_works(Protocol::V5).await;
}

#[tokio::test]
async fn a_broker_whose_certificate_names_another_host_is_not_believed() {
    let (broker, _, tls) = with_tls("broker.example");
    let gateway = Gateway::start(Options { tls: Some(tls), ..options(broker.port) });
    let state = gateway.until("an error", |state| state.last_error.is_some()).await;
    assert!(state.last_error.is_some_and(|error| error.to_string().contains("TLS handshake failed")));
    assert_eq!(state.connects, 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_ca_file_that_appears_later_is_read_at_the_next_attempt() {
    let (broker, _, tls) = with_tls("127.0.0.1");
    let ca_file = tls.ca_file.expect("it was given");
    let hidden = ca_file.with_extension("hidden");
    std::fs::rename(&ca_file, &hidden).expect("it can be moved");
    let gateway = Gateway::start(Options {
        tls: Some(TlsOptions { ca_file: Some(ca_file.clone()), ..TlsOptions::default() }),
        ..options(broker.port)
    });
    let state = gateway.until("an error", |state| state.last_error.is_some()).await;
    assert!(state.last_error.is_some_and(|error| error.to_string().contains("cannot read the certificate or key in")));
    std::fs::rename(&hidden, &ca_file).expect("it can be moved back");
    gateway.until("the connection", |state| state.connects == 1).await;
    gateway.stop().await;
}

async fn passwords(protocol: Protocol) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(folder.path().join("passwords"))
        .args(["gw", "right"])
        .status()
        .expect("this test needs the Debian package `mosquitto`: apt-get install mosquitto");
    assert!(made.success());
    let broker = Mosquitto::start_in(folder, "allow_anonymous false\npassword_file {folder}/passwords");
    let with = |password: &str| Options {
        protocol,
        credentials: Some(Credentials { username: "gw".into(), password: Secret::new(password) }),
        ..options(broker.port)
    };
    let gateway = Gateway::start(with("wrong"));
    let state = gateway.until("an error", |state| state.last_error.is_some()).await;
    let error = state.last_error.expect("it was awaited").to_string();
    assert!(error.contains("refused the connection") && error.contains("NotAuthorized"), "{error}");
    let kept = gateway.stop().await;
    let gateway = Gateway::start_on(with("right"), kept);
    gateway.until("the connection", |state| state.connects == 1).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_the_right_one_connects_in_3_1_1() {
    passwords(Protocol::V311).await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_the_right_one_connects_in_5() {
    passwords(Protocol::V5).await;
}

#[test]
fn options_that_cannot_work_are_refused_with_what_to_write_instead() {
    let good = options(1883);
    assert_eq!(good.validate(), Ok(()));
    let cases = [
        (Options { client_id: String::new(), ..good.clone() }, OptionsError::NoClientId),
        (Options { topics: Vec::new(), ..good.clone() }, OptionsError::NoTopics),
        (Options { topics: vec!["a/#/b".into()], ..good.clone() }, OptionsError::Filter("a/#/b".into())),
        (Options { keep_alive: std::time::Duration::from_secs(1), ..good.clone() }, OptionsError::KeepAlive(1)),
        (
            Options { host: "::1".into(), tls: Some(TlsOptions::default()), ..good.clone() },
            OptionsError::TlsToIpv6("::1".into()),
        ),
    ];
    for (options, error) in cases {
        assert_eq!(options.validate(), Err(error));
    }
    let secret = Credentials { username: "gw".into(), password: Secret::new("open sesame") };
    let shown = format!("{:?}", Options { credentials: Some(secret), ..good });
    assert!(!shown.contains("sesame"));
}

#[tokio::test]
async fn a_broker_that_asks_for_a_client_certificate_is_shown_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    certificates(&folder, "127.0.0.1");
    let file = |name: &str| folder.path().join(name);
    let (ca_file, pair) = (Some(file("ca.pem")), (file("cert.pem"), file("key.pem")));
    let broker = Mosquitto::start_in(
        folder,
        "certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\ncafile {folder}/ca.pem\nrequire_certificate true",
    );
    let tls = |client_certificate| Some(TlsOptions { ca_file: ca_file.clone(), client_certificate });
    let gateway = Gateway::start(Options { tls: tls(None), ..options(broker.port) });
    let state = gateway.until("an error", |state| state.last_error.is_some()).await;
    assert_eq!(state.connects, 0);
    assert!(state.last_error.is_some_and(|error| error.to_string().contains("TLS handshake failed")));
    let kept = gateway.stop().await;
    let gateway = Gateway::start_on(Options { tls: tls(Some(pair)), ..options(broker.port) }, kept);
    gateway.until("the connection", |state| state.connects == 1).await;
    gateway.stop().await;
}
