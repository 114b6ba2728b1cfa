//! Who is served, by name.

use tracing::level_filters::LevelFilter;

use super::secured::{Papers, talk};
use super::*;
use crate::collect::allow::{Allowed, Names};
use crate::collect::turned_away::tests::Captured;

const CLIENT_IDS: fn(&str) -> Allowed =
    |pattern| Allowed { client_ids: Some(Names::new([pattern])), ..Allowed::default() };
const USERS: fn(&str) -> Allowed = |pattern| Allowed { users: Some(Names::new([pattern])), ..Allowed::default() };
const CERTIFICATES: fn(&str) -> Allowed =
    |pattern| Allowed { certificates: Some(Names::new([pattern])), ..Allowed::default() };

impl Gate {
    fn serve_only(&self, allowed: Allowed) {
        self.rules.send_replace(Arc::new(Rules::clone(&rules(&["d/{device}"], None)).serving(allowed)));
    }
}

/// CONNECT with a user name and no password.
fn with_user(version: u8, client_id: &str, user: &str) -> Vec<u8> {
    connect_with(version, client_id, 0x82, 0, &[], &text(user))
}

/// What CONNACK says: the return or reason code.
async fn code(gate: &Gate, bytes: &[u8]) -> u8 {
    let mut client = gate.raw().await;
    client.send(bytes).await;
    client.packet().await[3]
}

#[tokio::test]
async fn a_client_that_is_not_listed_is_refused_with_the_code_of_its_version_counted_and_logged() {
    let captured = Captured::from(LevelFilter::INFO);
    let gate = Gate::open();
    gate.serve_only(CLIENT_IDS("pump-*"));
    assert_eq!(code(&gate, &connect(4, "meter-1", 2, 0, &[])).await, 2, "identifier rejected");
    assert_eq!(code(&gate, &connect(5, "meter-1", 2, 0, &[])).await, 0x85);
    assert_eq!(code(&gate, &connect(5, "", 2, 0, &[])).await, 0x85, "the server would choose one");
    assert_eq!(code(&gate, &connect(4, "pump-1", 2, 0, &[])).await, 0);
    assert_eq!(code(&gate, &connect(5, "pump-2", 2, 0, &[])).await, 0);
    assert_eq!(gate.stats.unlisted_client_id.get(), 3);
    let lines = captured.with(&["WARN", r#"cause="client id""#, r#"client="meter-1""#, "peer=127.0.0.1", "client_ids"]);
    assert_eq!(lines.len(), 1, "once a minute: {:?}", captured.with(&[]));
}

#[tokio::test]
async fn a_user_that_is_not_listed_or_not_named_is_refused() {
    let gate = Gate::open();
    gate.serve_only(USERS("pump-*"));
    for (version, refused) in [(4, 5), (5, 0x87)] {
        assert_eq!(code(&gate, &with_user(version, "c", "meter")).await, refused);
        assert_eq!(code(&gate, &connect(version, "c", 2, 0, &[])).await, refused);
        assert_eq!(code(&gate, &with_user(version, "c", "pump-1")).await, 0);
    }
    assert_eq!(gate.stats.unlisted_user.get(), 4);
}

#[tokio::test]
async fn a_certificate_is_listed_by_any_of_its_names_and_on_the_plain_port_there_is_none() {
    let papers = Papers::new();
    let gate = Gate::with(Options { tls: Some(papers.options(true, false)), ..options() }, Vec::new());
    let addr = gate.tls_addr.expect("bound");
    for (pattern, answer) in [("local*", 0), ("rcgen*", 0), ("other", 5)] {
        gate.serve_only(CERTIFICATES(pattern));
        let mut stream = papers.connect(addr, true).await.expect("a handshake");
        let connack = talk(&mut stream, &connect(4, "c", 2, 0, &[]), 4).await.expect("answered");
        assert_eq!(connack[3], answer, "{pattern}");
    }
    gate.serve_only(CERTIFICATES("local*"));
    let mut without = papers.connect(addr, false).await.expect("a handshake");
    assert_eq!(talk(&mut without, &connect(4, "c", 2, 0, &[]), 4).await.expect("answered")[3], 5);
    assert_eq!(code(&gate, &connect(5, "c", 2, 0, &[])).await, 0x87);
    assert_eq!(gate.stats.unlisted_certificate.get(), 3);
}

#[tokio::test]
async fn who_is_connected_and_no_longer_listed_is_disconnected_at_its_next_packet_and_leaves_no_will() {
    let gate = Gate::open();
    let will = [vec![0], text("d/gone"), text("died")].concat();
    let mut gone = gate.raw().await;
    gone.send(&connect_with(5, "gone", 0x06, 0, &[], &will)).await;
    assert_eq!(gone.packet().await[3], 0);
    let mut stays = gate.v3("stays").await;
    gone.send(&publish(5, 1, 1, "d/gone", b"before")).await;
    gone.packet().await;
    gate.serve_only(CLIENT_IDS("stays"));
    gone.send(&publish(5, 1, 2, "d/gone", b"after")).await;
    assert_eq!(gone.rest().await, [0xe0, 1, 0x87]);
    stays.send(&publish(4, 1, 1, "d/stays", b"goes on")).await;
    stays.expect(&[0x40, 2, 0, 1]).await;
    gate.until("the connection ended", |stats| stats.connections.get() == 1).await;
    assert_eq!(gate.payloads(), [b"before".to_vec(), b"goes on".to_vec()]);
    assert_eq!(gate.stats.unlisted_client_id.get(), 1);
    assert_eq!(gate.stats.malformed.get(), 0, "it broke no rule of the protocol");
}

#[tokio::test]
async fn a_password_is_asked_before_the_lists_are_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    std::fs::write(&file, "").expect("written");
    let gate = Gate::with(Options { passwords: Some(file), ..options() }, Vec::new());
    gate.serve_only(CLIENT_IDS("x"));
    assert_eq!(code(&gate, &connect(5, "y", 2, 0, &[])).await, 0x87, "a user name is needed first");
    assert_eq!(gate.stats.unlisted_client_id.get(), 0);
}
