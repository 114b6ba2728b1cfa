//! A metadata service of a SIM that does as it is told.
//!
//! It listens on loopback and answers each connection as programmed, byte by byte, so that it can also answer what no
//! server should. It runs on threads of its own: one that accepts, one for each connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{ports, wait};

/// What it says.
#[derive(Debug, Clone)]
pub enum Says {
    /// A status and a body.
    Status(u16, String),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, and keeps the connection.
    Nothing,
}

impl Says {
    /// An active line of this speed class, with the documented fields around it.
    #[must_use]
    pub fn class(class: &str) -> Self {
        Self::line(class, "active")
    }

    /// The same of a line with this status.
    #[must_use]
    pub fn line(class: &str, status: &str) -> Self {
        Self::subscriber(class, status, None)
    }

    /// An active line of class `s1.fast` that is to be stopped so at this time, in ms since the Unix epoch.
    #[must_use]
    pub fn expiring(at_ms: u64, action: &str) -> Self {
        Self::subscriber("s1.fast", "active", Some((at_ms, action)))
    }

    fn subscriber(class: &str, status: &str, expiry: Option<(u64, &str)>) -> Self {
        let (at_ms, action) = expiry.unzip();
        let body = serde_json::json!({
            "imsi": "001010000000001", "simId": "8981000000000000001", "operatorId": "OP0000000000", "groupId": "g",
            "status": status, "speedClass": class, "subscription": "plan01s", "type": class, "moduleType": "trio",
            "tags": {"name": "gw-test"}, "expiryTime": at_ms, "expiryAction": action, "terminationEnabled": false,
            "lastModifiedTime": 1_745_309_392_313_u64,
            "sessionStatus": {"sessionId": "s", "online": true, "ueIpAddress": "10.0.0.2", "cell": {"radioType": "LTE"}},
        });
        Self::Status(200, body.to_string())
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Status(status, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {length}");
                Some(format!("{head}\r\nconnection: close\r\n\r\n{body}").into_bytes())
            }
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Nothing => None,
        }
    }
}

#[derive(Debug)]
struct Shared {
    says: Mutex<Says>,
    asked: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle; its thread waits for connections until the test's process ends.
#[derive(Debug)]
pub struct Metadata {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Metadata {
    /// Starts one that says this.
    #[must_use]
    pub fn start(says: Says) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be bound");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { says: Mutex::new(says), asked: Mutex::default() });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// One whose port nobody listens on.
    #[must_use]
    pub fn absent() -> Self {
        let shared = Arc::new(Shared { says: Mutex::new(Says::Nothing), asked: Mutex::default() });
        Self { address: (Ipv4Addr::LOCALHOST, ports::free_port()).into(), shared }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says this from now on.
    pub fn say(&self, says: Says) {
        *lock(&self.shared.says) = says;
    }

    /// The heads of the requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// Waits until it was asked so often.
    #[track_caller]
    pub fn wait_for_asked(&self, times: usize) {
        wait::until(&format!("the metadata service is asked {times} times"), wait::BOUND, || {
            self.asked().len() >= times
        });
    }
}

/// Longest time that a connection to which nothing is said is kept: beyond any test.
const KEPT: Duration = Duration::from_secs(300);

fn answer(mut stream: TcpStream, shared: &Shared) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let says = lock(&shared.says).clone();
    lock(&shared.asked).push(String::from_utf8_lossy(&head).into_owned());
    match says.bytes() {
        // Whoever asked may have had enough of it.
        Some(bytes) => drop(stream.write_all(&bytes)),
        None => std::thread::sleep(KEPT),
    }
}
