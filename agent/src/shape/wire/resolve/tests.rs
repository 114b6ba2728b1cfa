//! A name server on loopback, and names that are resolved through the door.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use simple_dns::{Packet, PacketFlag, QTYPE, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::message::tests::{reply, v4};
use super::*;
use crate::shape::wire::{Options, Wire};

/// Answers by name: `silent` not at all, `broken` with a failure, `forged` first with another number, `big` only over TCP,
/// names in `search.example` and `flux.example` with an address, all others with none.
fn respond(question: &[u8], tcp: bool) -> Vec<Vec<u8>> {
    let asked = Packet::parse(question).expect("a question");
    let name = asked.questions[0].qname.to_string();
    let is_v4 = asked.questions[0].qtype == QTYPE::TYPE(TYPE::A);
    let address = || if is_v4 { vec![(&*name, 60, v4([192, 0, 2, 7]))] } else { vec![] };
    let encode = |packet: Packet<'_>| packet.build_bytes_vec_compressed().expect("a message");
    match &*name {
        "silent.example" => vec![],
        "broken.example" => {
            let mut packet = reply(question, vec![]);
            *packet.rcode_mut() = RCODE::ServerFailure;
            vec![encode(packet)]
        }
        "forged.example" => {
            let mut forged = reply(question, vec![(&*name, 60, v4([6, 6, 6, 6]))]);
            forged.set_id(asked.id().wrapping_add(1));
            vec![encode(forged), encode(reply(question, address()))]
        }
        "big.example" if !tcp => {
            let mut packet = reply(question, vec![]);
            packet.set_flags(PacketFlag::TRUNCATION);
            vec![encode(packet)]
        }
        "big.example" | "flux.example" | "gw.search.example" => vec![encode(reply(question, address()))],
        _ => {
            let mut packet = reply(question, vec![]);
            *packet.rcode_mut() = RCODE::NameError;
            vec![encode(packet)]
        }
    }
}

/// A name server; its port, and how many questions it was asked.
async fn name_server() -> (u16, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback can be bound");
        let port = tcp.local_addr().expect("it is bound").port();
        if let Ok(udp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await {
            break (udp, tcp);
        }
    };
    let port = udp.local_addr().expect("it is bound").port();
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
            count.fetch_add(1, Ordering::Relaxed);
            for answer in respond(&bytes[..length], false) {
                let _ = udp.send_to(&answer, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let Ok(length) = stream.read_u16().await else { continue };
            let mut bytes = vec![0; length.into()];
            let _ = stream.read_exact(&mut bytes).await;
            for answer in respond(&bytes, true) {
                let _ = stream.write_u16(answer.len() as u16).await;
                let _ = stream.write_all(&answer).await;
            }
        }
    });
    (port, asked)
}

/// A door that asks the server on this port, with settings and hosts in a folder.
pub(in super::super) fn door(folder: &Path, port: u16, settings: &str, hosts: &str) -> Wire {
    let names = Names { hosts: folder.join("hosts"), settings: folder.join("resolv.conf"), port };
    std::fs::write(&names.hosts, hosts).expect("a hosts file");
    std::fs::write(&names.settings, settings).expect("settings");
    Wire::new(Options { names, connect_timeout: Duration::from_secs(2), ..Options::default() })
}

#[tokio::test]
async fn names_are_found_in_files_at_servers_over_tcp_and_in_search_domains() {
    let (port, asked) = name_server().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wire = door(folder.path(), port, "nameserver 127.0.0.1\nsearch search.example\n", "192.0.2.1 flux.local\n");
    let found = async |name: &str| {
        let addresses = wire.resolve(name).await.map_err(|error| format!("{error:?}"))?;
        Ok::<_, String>(addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>())
    };
    assert_eq!(found("192.0.2.9").await.expect("an address"), ["192.0.2.9"]);
    assert_eq!(found("Flux.LOCAL").await.expect("in the file"), ["192.0.2.1"]);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody was asked");
    assert_eq!(wire.counts().sent, 0);

    assert_eq!(found("flux.example").await.expect("at the server"), ["192.0.2.7"]);
    let (questions, counts) = (asked.load(Ordering::Relaxed), wire.counts());
    // A question of 30 bytes (head 12, name 14, type and class 4) in a datagram of 28 more.
    assert_eq!(counts.sent, 58 * questions as u64);
    assert!(counts.received >= counts.sent, "{counts:?}");
    assert_eq!(found("FLUX.example").await.expect("it is known"), ["192.0.2.7"]);
    assert_eq!(asked.load(Ordering::Relaxed), questions, "it was not asked again");

    assert_eq!(found("gw").await.expect("in the domain"), ["192.0.2.7"]);
    assert_eq!(found("forged.example").await.expect("the true answer"), ["192.0.2.7"]);
    let before = wire.counts();
    assert_eq!(found("big.example").await.expect("over TCP"), ["192.0.2.7"]);
    assert!(wire.counts().sent > before.sent + 200, "the connection is counted");
    assert!(matches!(wire.resolve("nothing.example").await, Err(WireError::NoAddress { .. })));
}

#[tokio::test]
async fn a_server_that_fails_or_is_silent_is_passed_over_and_time_is_bounded() {
    let (port, _) = name_server().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Nobody is at the first: loopback says so at once.
    let wire = door(folder.path(), port, "nameserver 127.0.0.99\nnameserver 127.0.0.1\noptions timeout:1\n", "");
    assert_eq!(wire.resolve("flux.example").await.expect("the second answers").len(), 1);
    let error = wire.resolve("broken.example").await.expect_err("a failure");
    assert!(matches!(&error, WireError::Resolve { host, .. } if host == "broken.example"), "{error:?}");
    let start = Instant::now();
    let error = wire.resolve("silent.example").await.expect_err("silence");
    assert!(matches!(error, WireError::Resolve { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn while_names_may_not_be_resolved_no_server_is_asked_but_for_the_time() {
    let (port, asked) = name_server().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wire = door(folder.path(), port, "nameserver 127.0.0.1\n", "192.0.2.1 flux.local\n");
    wire.let_names(false);
    let beside = wire.beside(wire.door.options.clone());
    for door in [&wire, &beside] {
        let error = door.resolve("flux.example").await.expect_err("it is not asked for");
        assert!(matches!(error, WireError::Silent { .. }), "{error:?}");
        assert_eq!(door.resolve("flux.local").await.expect("in the file").len(), 1);
    }
    assert_eq!((asked.load(Ordering::Relaxed), wire.counts().sent), (0, 0));
    let for_time = wire.asking_time(Arc::new(crate::shape::wire::Judging::from(0)));
    assert_eq!(for_time.resolve("flux.example").await.expect("for the time").len(), 1);
    wire.let_names(true);
    assert_eq!(beside.resolve("flux.example").await.expect("again").len(), 1);
}

#[test]
fn the_families_take_turns() {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let all = ["::1", "::2", "::3", "::4", "192.0.2.1"].map(address);
    assert_eq!(take_turns(&all), ["::1", "192.0.2.1", "::2", "::3"].map(address));
}

#[test]
fn a_server_on_the_site_proves_nothing_of_the_line() {
    for (server, proves) in [
        ("127.0.0.53", false),
        ("192.168.1.1", false),
        ("10.0.0.1", false),
        ("169.254.1.1", false),
        ("::1", false),
        ("fe80::1", false),
        ("fd00::53", false),
        ("100.127.0.53", true),
        ("192.0.2.53", true),
        ("2001:db8::53", true),
    ] {
        assert_eq!(proves_the_line(server.parse().expect("an address")), proves, "{server}");
    }
}
