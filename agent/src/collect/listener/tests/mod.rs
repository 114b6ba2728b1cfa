//! The listener over real sockets on loopback, with bytes made by hand.

mod allowed;
mod fields;
mod limits;
mod malformed;
mod publishing;
mod secured;
mod sessions;
mod turned_away;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Deps, Listener, Options, Shared};
use crate::clock::SystemClock;
use crate::collect::mapping::{Rule, Rules};
use crate::collect::{Alarm, Alarms, Stats};
use crate::store::{self, KeptSession, LaneId, ReadLimit, Store};

/// Longest time a test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const NORMAL: LaneId = LaneId(1);

fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = Store::open(store::Options {
        max_size: 64 * 1024 * 1024,
        commit_within: Duration::from_millis(1),
        ..store::Options::new(folder.path().to_owned(), "gw-test", &["critical", "normal", "bulk"])
    })
    .expect("a store");
    (store, folder)
}

/// What connections share, for tests that make a connection of their own; the second value keeps it in force.
pub(super) fn shared() -> (Arc<Shared>, (watch::Sender<Arc<Rules>>, tempfile::TempDir)) {
    let (store, folder) = store();
    let (sender, rules) = watch::channel(rules(&["d/{device}"], None));
    let alarms = Alarms::default();
    let deps = Deps {
        store,
        clock: Arc::new(SystemClock::new()),
        rules,
        kept: Vec::new(),
        next_session_id: 1,
        stats: Arc::default(),
        alarms,
    };
    (Arc::new(Listener::bind(options(), deps).expect("a listener").shared), (sender, folder))
}

struct Gate {
    addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    store: Store,
    stats: Arc<Stats>,
    rules: watch::Sender<Arc<Rules>>,
    alarms: Alarms,
    credentials: super::Credentials,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn rules(patterns: &[&str], fallback: Option<LaneId>) -> Arc<Rules> {
    let rules = patterns.iter().map(|topic| Rule { topic: (*topic).to_owned(), lane: NORMAL }).collect();
    Arc::new(Rules::new(rules, fallback).expect("valid rules"))
}

fn options() -> Options {
    Options { plain: Some(([127, 0, 0, 1], 0).into()), ..Options::default() }
}

impl Gate {
    fn open() -> Self {
        Self::with(options(), Vec::new())
    }

    fn with(options: Options, kept: Vec<KeptSession>) -> Self {
        let (store, folder) = store();
        let stats = Arc::new(Stats::default());
        let (rules, receiver) = watch::channel(rules(&["d/{device}"], None));
        let alarms = Alarms::default();
        let deps = Deps {
            store: store.clone(),
            clock: Arc::new(SystemClock::new()),
            rules: receiver,
            kept,
            next_session_id: 1,
            stats: stats.clone(),
            alarms: alarms.clone(),
        };
        let listener = Listener::bind(options, deps).expect("a listener");
        let (addr, tls_addr) = (listener.local_addr(), listener.tls_addr());
        let credentials = listener.credentials();
        let stop = CancellationToken::new();
        let running = tokio::spawn(listener.run(stop.clone()));
        let addr = addr.or(tls_addr).expect("an address");
        Self { addr, tls_addr, store, stats, rules, alarms, credentials, stop, running, _folder: folder }
    }

    async fn raw(&self) -> Client {
        Client { stream: TcpStream::connect(self.addr).await.expect("connected") }
    }

    /// A client of MQTT 3.1.1 that is connected, clean session, no keep-alive.
    async fn v3(&self, client_id: &str) -> Client {
        let mut client = self.raw().await;
        client.send(&connect(4, client_id, 0x02, 0, &[])).await;
        client.expect(&[0x20, 2, 0, 0]).await;
        client
    }

    /// A client of MQTT 5 that is connected, clean start, no keep-alive.
    async fn v5(&self, client_id: &str) -> Client {
        let mut client = self.raw().await;
        client.send(&connect(5, client_id, 0x02, 0, &[])).await;
        assert_eq!(client.packet().await[3], 0, "accepted");
        client
    }

    /// Topics and payloads of one lane, in order.
    fn stored_in(&self, lane: LaneId) -> Vec<(String, String, Vec<u8>)> {
        let limit = ReadLimit { records: 10_000, bytes: 16 * 1024 * 1024 };
        let (mut reader, mut from, mut found) = (self.store.reader(lane), 0, Vec::new());
        loop {
            let chunk = reader.read(from, limit).expect("readable");
            for record in chunk.iter() {
                found.push((record.device.into(), record.topic.into(), record.payload.into()));
                from = record.seq + 1;
            }
            if chunk.is_empty() {
                return found;
            }
        }
    }

    fn payloads(&self) -> Vec<Vec<u8>> {
        self.stored_in(NORMAL).into_iter().map(|(_, _, payload)| payload).collect()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Stats) -> bool) {
        let waiting = async {
            while !condition(&self.stats) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.stats.snapshot()));
    }
}

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("in time").expect("sent");
    }

    /// The next whole packet.
    async fn packet(&mut self) -> Vec<u8> {
        let reading = async {
            let mut packet = vec![self.stream.read_u8().await?];
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = self.stream.read_u8().await?;
                packet.push(byte);
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let start = packet.len();
            packet.resize(start + length, 0);
            self.stream.read_exact(&mut packet[start..]).await?;
            Ok::<_, std::io::Error>(packet)
        };
        timeout(PATIENCE, reading).await.expect("an answer in time").expect("an answer")
    }

    async fn expect(&mut self, bytes: &[u8]) {
        let mut found = vec![0; bytes.len()];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut found)).await.expect("an answer in time");
        read.expect("an answer");
        assert_eq!(found, bytes);
    }

    /// Everything until the other side closes.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it as well as a close.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("closed in time");
        rest
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&body);
    bytes
}

/// CONNECT; `properties` without their length (only for version 5).
fn connect(version: u8, client_id: &str, flags: u8, keep_alive: u16, properties: &[u8]) -> Vec<u8> {
    connect_with(version, client_id, flags, keep_alive, properties, &[])
}

/// CONNECT with what follows the client identifier.
fn connect_with(
    version: u8,
    client_id: &str,
    flags: u8,
    keep_alive: u16,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let length = [properties.len() as u8];
    let length: &[u8] = if version == 5 { &length } else { &[] };
    let head = [0, 4, b'M', b'Q', b'T', b'T', version, flags];
    packet(0x10, &[&head, &keep_alive.to_be_bytes(), length, properties, &text(client_id), payload])
}

fn publish(version: u8, qos: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    packet(0x30 | (qos << 1), &[&text(topic), if qos > 0 { &id } else { &[] }, properties, payload])
}

fn subscribe(version: u8, id: u16, filters: &[&str]) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let filters: Vec<u8> = filters.iter().flat_map(|filter| [text(filter), vec![1]].concat()).collect();
    packet(0x82, &[&id.to_be_bytes(), properties, &filters])
}
