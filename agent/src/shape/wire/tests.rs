//! Tests of the wire: real sockets and real certificates on loopback.

use std::io;

use super::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key can be made");
        let mut params = rcgen::CertificateParams::new(vec![]).expect("no names are good names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it can sign itself");
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }

    /// A certificate for `name` and its key, both PEM.
    fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().expect("a key can be made");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("the name is good");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

/// A server that echoes what it gets, over TLS if configured; its port.
async fn echo(tls: Option<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => echo_on(stream).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            echo_on(stream).await;
                        }
                    }
                }
            });
        }
    });
    port
}

async fn echo_on(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; 1024];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..bytes]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
}

/// A server that takes what comes and gives so many bytes so many times to each connection, which it keeps open: whoever
/// reads decides when it has enough. Its port.
async fn peer(bytes: usize, times: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut from, mut to) = stream.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut tokio::io::sink()).await });
            tokio::spawn(async move {
                let given = vec![7; bytes];
                for _ in 0..times {
                    if to.write_all(&given).await.is_err() {
                        break;
                    }
                }
                tokio::time::sleep(Duration::from_secs(60)).await;
            });
        }
    });
    port
}

async fn open(wire: &Wire, port: u16) -> WireStream {
    wire.connect(&target("127.0.0.1", port, false)).await.expect("it listens")
}

fn server(authority: &Authority, name: &str, ask_client: bool) -> ServerConfig {
    let (chain, key) = authority.issue(name);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3");
    let builder = if ask_client {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).expect("the authority is a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier can be made"))
    } else {
        builder.with_no_client_auth()
    };
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().expect("a chain");
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(&key).expect("a key")).expect("they match")
}

fn target(host: &str, port: u16, tls: bool) -> Target {
    Target { host: host.into(), port, tls }
}

async fn exchange(wire: &Wire, target: &Target) -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = wire.connect(target).await?;
    stream.write_all(b"ping").await?;
    stream.flush().await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

#[tokio::test]
async fn plain_bytes_go_both_ways_and_are_counted() {
    let port = echo(None).await;
    let wire = Wire::new(Options::default());
    exchange(&wire, &target("127.0.0.1", port, false)).await.expect("it answers");
    // The name has an IPv6 address first on most machines, where nobody listens: the next one is tried.
    exchange(&wire, &target("localhost", port, false)).await.expect("it answers by name");
    let counts = wire.counts();
    assert_eq!((counts.payload_sent, counts.payload_received, counts.connections), (8, 8, 2));
}

mod ceiling;
mod limits;
mod relay;

#[tokio::test]
async fn certificates_are_judged_by_the_clock_that_the_agent_knows() {
    use crate::clock::{SetClock, Stamp};
    let authority = Authority::new();
    let port = echo(Some(server(&authority, "localhost", false))).await;
    // Certificates of this maker are valid from 1975 on.
    let clock = Arc::new(SetClock::at(Stamp { wall_ms: 5_000, ..Stamp::default() }));
    let options = Options { roots: Roots::Pem(authority.pem()), ..Options::default() };
    let wire = Wire::by_clock(options.clone(), clock.clone());
    let beside = wire.beside(options);
    for door in [&wire, &beside] {
        let error = exchange(door, &target("localhost", port, true)).await.expect_err("it is 1970");
        assert!(error.to_string().contains("check the gateway's clock"), "{error}");
    }
    let judging = Arc::new(Judging::from(5_000));
    exchange(&wire.asking_time(Arc::clone(&judging)), &target("localhost", port, true)).await.expect("for the time");
    assert_eq!(judging.earliest_ms(), 157_766_400_000, "1975, when it became valid");
    clock.set(Stamp { wall_ms: 1_795_336_200_000, ..Stamp::default() });
    for door in [&wire, &beside] {
        exchange(door, &target("localhost", port, true)).await.expect("the time was told");
    }
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_no_other() {
    let authority = Authority::new();
    let port = echo(Some(server(&authority, "localhost", false))).await;
    let trusting = |pem| Wire::new(Options { roots: Roots::Pem(pem), ..Options::default() });
    let wire = trusting(authority.pem());
    exchange(&wire, &target("localhost", port, true)).await.expect("it is trusted");
    assert!(wire.counts().sent > 100, "the handshake is counted");

    let stranger = trusting(Authority::new().pem());
    let error = stranger.connect(&target("localhost", port, true)).await.expect_err("it is not trusted");
    assert!(matches!(error, WireError::Tls { .. }), "{error:?}");
    let error = wire.connect(&target("127.0.0.1", port, true)).await.expect_err("the name is another");
    assert!(matches!(error, WireError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_a_server_asks() {
    let authority = Authority::new();
    let port = echo(Some(server(&authority, "localhost", true))).await;
    let (certificates, key) = authority.issue("gw-1");
    let options = Options { roots: Roots::Pem(authority.pem()), ..Options::default() };
    let nameless = Wire::new(options.clone());
    exchange(&nameless, &target("localhost", port, true)).await.expect_err("the server wants a certificate");
    let identity = ClientIdentity { certificates, key };
    assert_eq!(format!("{identity:?}"), "ClientIdentity { .. }");
    let known = Wire::new(Options { identity: Some(identity), ..options });
    exchange(&known, &target("localhost", port, true)).await.expect("it is known");
}

#[tokio::test]
async fn nobody_there_a_wrong_name_and_a_silent_peer_are_errors_that_name_the_host() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    let options = Options {
        roots: Roots::Pem(Authority::new().pem()),
        handshake_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let wire = Wire::new(options);
    // It accepts through its backlog and never says a word.
    let error = wire.connect(&target("127.0.0.1", port, true)).await.expect_err("it is silent");
    let WireError::Tls { host, source } = error else { panic!("{error:?}") };
    assert_eq!((host.as_str(), source.kind()), ("127.0.0.1", io::ErrorKind::TimedOut));
    drop(listener);
    let error = wire.connect(&target("127.0.0.1", port, false)).await.expect_err("nobody is there");
    assert!(matches!(&error, WireError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused));
    assert!(error.to_string().contains("127.0.0.1"));
    // A label of over 63 characters fails in the resolver itself, without a question to anyone.
    let name = format!("{}.invalid", "x".repeat(64));
    let error = wire.connect(&target(&name, 80, false)).await.expect_err("no such name");
    assert!(matches!(error, WireError::Resolve { .. } | WireError::NoAddress { .. }), "{error:?}");
}

#[tokio::test]
async fn pem_that_holds_nothing_is_an_error_that_says_so() {
    let (chain, _) = Authority::new().issue("gw");
    let roots = Roots::Pem(Authority::new().pem());
    for (options, what) in [
        (Options { roots: Roots::Pem(b"not PEM".to_vec()), ..Options::default() }, "CA file"),
        (
            Options {
                roots,
                identity: Some(ClientIdentity { certificates: chain, key: b"none".to_vec() }),
                ..Options::default()
            },
            "client certificate",
        ),
    ] {
        let error = Wire::new(options).connect(&target("localhost", 1, true)).await.expect_err("no material");
        assert!(error.to_string().contains(what), "{error}");
    }
}
