use std::path::{Path, PathBuf};

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::collect::listener::{ListenError, TlsOptions};
use crate::collect::turned_away::tests::Captured;

/// An authority, a server and a client, as files.
pub(super) struct Papers {
    folder: tempfile::TempDir,
}

impl Papers {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
        for (name, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &authority).expect("signed");
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).expect("written");
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).expect("written");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn options(&self, client_ca: bool, require_client_certificate: bool) -> TlsOptions {
        TlsOptions {
            bind: ([127, 0, 0, 1], 0).into(),
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: client_ca.then(|| self.path("ca.pem")),
            require_client_certificate,
        }
    }

    pub(super) async fn connect(
        &self,
        addr: SocketAddr,
        with_certificate: bool,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = if with_certificate {
            let certificate = CertificateDer::from_pem_file(self.path("client.pem")).expect("a certificate");
            let key = PrivateKeyDer::from_pem_file(self.path("client.key")).expect("a key");
            builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
        } else {
            builder.with_no_client_auth()
        };
        let stream = TcpStream::connect(addr).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

pub(super) async fn talk(stream: &mut TlsStream<TcpStream>, send: &[u8], answer: usize) -> std::io::Result<Vec<u8>> {
    let talking = async {
        stream.write_all(send).await?;
        stream.flush().await?;
        let mut found = vec![0; answer];
        stream.read_exact(&mut found).await?;
        Ok(found)
    };
    timeout(PATIENCE, talking).await.expect("in time")
}

#[tokio::test]
async fn devices_publish_over_tls_beside_plain() {
    let papers = Papers::new();
    let gate = Gate::with(Options { tls: Some(papers.options(false, false)), ..options() }, Vec::new());
    let mut stream = papers.connect(gate.tls_addr.expect("bound"), false).await.expect("a handshake");
    assert_eq!(talk(&mut stream, &connect(4, "secure", 2, 0, &[]), 4).await.expect("answered"), [0x20, 2, 0, 0]);
    let large = publish(4, 1, 1, "d/a", &vec![7; 200_000]);
    assert_eq!(talk(&mut stream, &large, 4).await.expect("answered"), [0x40, 2, 0, 1]);
    let mut plain = gate.v3("plain").await;
    plain.send(&publish(4, 1, 1, "d/b", b"x")).await;
    plain.expect(&[0x40, 2, 0, 1]).await;
    assert_eq!(gate.payloads(), [vec![7; 200_000], b"x".to_vec()]);
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_checked_and_may_be_required() {
    let papers = Papers::new();
    let strangers = Papers::new();
    for required in [false, true] {
        let tls = Some(papers.options(true, required));
        let gate = Gate::with(Options { tls, ..Options::default() }, Vec::new());
        let hello = connect(4, "c", 2, 0, &[]);
        let mut known = papers.connect(gate.addr, true).await.expect("a handshake");
        assert!(talk(&mut known, &hello, 4).await.is_ok());
        // In TLS 1.3 the client learns of the refusal only when it reads.
        let anonymous = match papers.connect(gate.addr, false).await {
            Ok(mut stream) => talk(&mut stream, &hello, 4).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(anonymous, !required);
        std::fs::copy(papers.path("ca.pem"), strangers.path("ca.pem")).expect("copied");
        let stranger = match strangers.connect(gate.addr, true).await {
            Ok(mut stream) => talk(&mut stream, &hello, 4).await.is_ok(),
            Err(_) => false,
        };
        assert!(!stranger, "signed by another authority");
        gate.until("counted", |stats| stats.tls_failed.get() == 1 + u64::from(required)).await;
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_logged_with_its_address_and_why() {
    let captured = Captured::from(LevelFilter::INFO);
    let papers = Papers::new();
    let gate = Gate::with(Options { tls: Some(papers.options(true, true)), ..options() }, Vec::new());
    let addr = gate.tls_addr.expect("bound");
    let mut plain = Client { stream: TcpStream::connect(addr).await.expect("connected") };
    let peer = plain.stream.local_addr().expect("an address").to_string();
    plain.send(&connect(4, "c", 2, 0, &[])).await;
    plain.rest().await;
    gate.until("plain MQTT", |stats| stats.tls_failed.get() == 1).await;
    let lines = captured.with(&["WARN", r#"cause="no TLS""#, &peer, "switch TLS on"]);
    assert_eq!(lines.len(), 1, "{:?}", captured.with(&[]));
    // With TLS 1.3 the client has finished before the server sees that a certificate is missing.
    if let Ok(mut stream) = papers.connect(addr, false).await {
        talk(&mut stream, &connect(4, "c", 2, 0, &[]), 4).await.expect_err("no certificate");
    }
    gate.until("no certificate", |stats| stats.tls_failed.get() == 2).await;
    let lines = captured.with(&["WARN", r#"cause="TLS""#, "peer=127.0.0.1:", "sent no certificates", "tls_client_ca"]);
    assert_eq!(lines.len(), 1, "{:?}", captured.with(&[]));
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_disconnected_and_delays_nobody() {
    let papers = Papers::new();
    let tls = Some(papers.options(false, false));
    let limited = Options { tls, connect_timeout: Duration::from_millis(1_500), ..Options::default() };
    let gate = Gate::with(limited, Vec::new());
    let mut silent = Vec::new();
    for index in 0..50 {
        let mut client = gate.raw().await;
        if index % 2 == 0 {
            client.send(&[0x16, 3, 1, 2, 0, 1]).await;
        }
        silent.push(client);
    }
    let mut stream = papers.connect(gate.addr, false).await.expect("a handshake");
    assert!(talk(&mut stream, &connect(4, "c", 2, 0, &[]), 4).await.is_ok());
    assert_eq!(gate.stats.timeouts.get(), 0, "before any of them was given up");
    for client in &mut silent {
        assert_eq!(client.rest().await, [0; 0]);
    }
    let mut plain = gate.raw().await;
    plain.send(&connect(4, "c", 2, 0, &[])).await;
    assert!(!plain.rest().await.starts_with(&[0x20]), "plain MQTT is not spoken here");
    gate.until("counted", |stats| (stats.timeouts.get(), stats.tls_failed.get()) == (50, 1)).await;
}

#[tokio::test]
async fn many_handshakes_at_once_all_succeed() {
    let papers = Arc::new(Papers::new());
    let gate = Gate::with(Options { tls: Some(papers.options(false, false)), ..Options::default() }, Vec::new());
    let mut clients = Vec::new();
    for index in 0..60 {
        let (papers, addr) = (papers.clone(), gate.addr);
        clients.push(tokio::spawn(async move {
            let mut stream = papers.connect(addr, false).await.expect("a handshake");
            talk(&mut stream, &connect(4, &format!("c{index}"), 2, 0, &[]), 4).await.expect("answered")
        }));
    }
    for client in clients {
        assert_eq!(timeout(PATIENCE, client).await.expect("in time").expect("served"), [0x20, 2, 0, 0]);
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let papers = Papers::new();
    let gate = Gate::open();
    let bind = |change: &dyn Fn(&mut TlsOptions)| {
        let mut tls = papers.options(true, true);
        change(&mut tls);
        let deps = Deps {
            store: gate.store.clone(),
            clock: Arc::new(crate::clock::SystemClock::new()),
            rules: gate.rules.subscribe(),
            kept: Vec::new(),
            next_session_id: 1,
            stats: Arc::default(),
            alarms: gate.alarms.clone(),
        };
        match Listener::bind(Options { tls: Some(tls), ..Options::default() }, deps) {
            Err(ListenError::Tls(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let missing = bind(&|tls| tls.certificate = Path::new("/nowhere/server.pem").to_owned());
    assert_eq!(missing, "cannot read a certificate from /nowhere/server.pem; it must be a PEM file");
    assert!(bind(&|tls| tls.key = papers.path("client.key")).ends_with("they must belong together"));
    assert!(bind(&|tls| tls.key = papers.path("ca.pem")).starts_with("cannot read a private key from"));
    assert!(bind(&|tls| tls.certificate = papers.path("server.key")).contains("holds no certificate"));
}

fn passwords(folder: &Path) -> PathBuf {
    let params = Params::new(8, 1, 1, None).expect("valid");
    let salt = SaltString::from_b64("c2FsdHNhbHRzYWx0").expect("valid");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password(b"s3cret", &salt).expect("hashed");
    let path = folder.join("passwords");
    std::fs::write(&path, format!("pump:{hash}\n")).expect("written");
    path
}

#[tokio::test]
async fn passwords_are_asked_for_and_refused_in_the_clients_version() {
    let captured = Captured::from(LevelFilter::INFO);
    let papers = Papers::new();
    let gate = Gate::with(Options { passwords: Some(passwords(papers.folder.path())), ..options() }, Vec::new());
    let named = |version, user: &str, password: &str| {
        connect_with(version, "c", 0xc2, 0, &[], &[text(user), text(password)].concat())
    };
    let cases: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (named(4, "pump", "wrong"), vec![0x20, 2, 0, 4]),
        (named(5, "pump", "wrong"), vec![0x20, 3, 0, 0x86, 0]),
        (named(4, "nobody", "s3cret"), vec![0x20, 2, 0, 4]),
        (connect(4, "c", 2, 0, &[]), vec![0x20, 2, 0, 5]),
        (connect(5, "c", 2, 0, &[]), vec![0x20, 3, 0, 0x87, 0]),
    ];
    for (hello, answer) in cases {
        let mut client = gate.raw().await;
        client.send(&hello).await;
        assert_eq!(client.rest().await, answer);
    }
    assert_eq!(gate.stats.not_authorized.get(), 5);
    let wrong = captured.with(&["WARN", r#"cause="password""#]);
    assert!(
        matches!(&wrong[..], [line] if line.contains(r#"user="pump""#) && line.contains("peer=127.0.0.1:")),
        "{wrong:?}"
    );
    assert!(!wrong[0].contains("wrong\""), "the password is nobody's business: {wrong:?}");
    assert_eq!(captured.with(&["WARN", r#"cause="no user name""#, r#"client="c""#, "allow_anonymous"]).len(), 1);
    let mut client = gate.raw().await;
    client.send(&named(4, "pump", "s3cret")).await;
    client.expect(&[0x20, 2, 0, 0]).await;
}

#[tokio::test]
async fn anonymous_clients_may_be_allowed_beside_passwords_and_certificates_stand_for_a_name() {
    let papers = Papers::new();
    let path = passwords(papers.folder.path());
    let allowed = Options { passwords: Some(path.clone()), allow_anonymous: true, ..options() };
    Gate::with(allowed, Vec::new()).v3("anonymous").await;
    let tls = Some(papers.options(true, false));
    let gate = Gate::with(Options { passwords: Some(path), tls, ..Options::default() }, Vec::new());
    let hello = connect(4, "c", 2, 0, &[]);
    for (with_certificate, code) in [(true, 0), (false, 5)] {
        let mut stream = papers.connect(gate.addr, with_certificate).await.expect("a handshake");
        assert_eq!(talk(&mut stream, &hello, 4).await.expect("answered"), [0x20, 2, 0, code]);
    }
}

#[tokio::test]
async fn renewed_certificates_and_passwords_hold_from_the_next_connection_on() {
    let (papers, renewed) = (Papers::new(), Papers::new());
    let path = passwords(papers.folder.path());
    let limited = Options { passwords: Some(path.clone()), tls: Some(papers.options(false, false)), ..options() };
    let gate = Gate::with(limited, Vec::new());
    let tls_addr = gate.tls_addr.expect("bound");
    let hello = connect_with(4, "c", 0xc2, 0, &[], &[text("pump"), text("s3cret")].concat());
    let mut before = papers.connect(tls_addr, false).await.expect("a handshake");
    assert_eq!(talk(&mut before, &hello, 4).await.expect("answered"), [0x20, 2, 0, 0]);

    std::fs::write(&path, "pump:nonsense").expect("written");
    std::fs::copy(renewed.path("server.pem"), papers.path("server.pem")).expect("copied");
    assert!(gate.credentials.reload().is_err(), "neither the file nor the pair can be used");
    assert!(papers.connect(tls_addr, false).await.is_ok(), "all is as it was");

    std::fs::write(&path, "").expect("written");
    std::fs::copy(renewed.path("server.key"), papers.path("server.key")).expect("copied");
    gate.credentials.reload().expect("usable");
    assert!(papers.connect(tls_addr, false).await.is_err(), "the old authority did not sign the new certificate");
    let mut after = renewed.connect(tls_addr, false).await.expect("a handshake");
    assert_eq!(talk(&mut after, &hello, 4).await.expect("answered"), [0x20, 2, 0, 4], "the user is gone");
    assert_eq!(talk(&mut before, &publish(4, 1, 1, "d/a", b"x"), 4).await.expect("answered"), [0x40, 2, 0, 1]);
}
