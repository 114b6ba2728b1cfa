//! A look-alike of somebody who is asked over HTTP, and does as it is told.
//!
//! It listens on loopback and answers each connection once, byte by byte as programmed, so that it can also answer what no
//! server should; what it can be told to say is a type of whoever it looks like ([`Says`]). It runs on threads of its own:
//! one that accepts, one for each connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{ports, wait};

/// Longest time that a connection to which nothing is said is kept: beyond any test.
const KEPT: Duration = Duration::from_secs(300);

/// Longest head of a request that is read, in bytes: beyond what the agent sends. What is longer is answered there.
const HEAD: usize = 16 * 1024;

/// What it can be told to say; by default nothing.
pub trait Says: Clone + Default + Send + 'static {
    /// Whom it looks like, for what a failed wait says.
    const WHO: &'static str;

    /// What somebody hears whose request has this head.
    fn answer(&self, head: &str) -> Answer;
}

/// What goes over a connection before it ends.
#[derive(Debug)]
pub enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, one at a time, with this pause behind each.
    Slow(Vec<u8>, Duration),
    /// Nothing, and the connection is kept.
    Nothing,
}

impl Answer {
    /// A whole answer of one connection: `status` with its reason, the lines of its head, each with its end, and a body.
    #[must_use]
    pub fn whole(status: &str, lines: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
    }
}

#[derive(Debug)]
struct Shared<S> {
    says: Mutex<S>,
    asked: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle; its thread waits for connections until the test's process ends.
#[derive(Debug)]
pub struct LookAlike<S> {
    address: SocketAddr,
    shared: Arc<Shared<S>>,
}

impl<S: Says> LookAlike<S> {
    /// Starts one that says this.
    #[must_use]
    pub fn start(says: S) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be bound");
        let address = listener.local_addr().expect("it is bound");
        let this = Self::at(address, says);
        let for_thread = Arc::clone(&this.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        this
    }

    /// One whose port nobody listens on.
    #[must_use]
    pub fn absent() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, ports::free_port()).into(), S::default())
    }

    fn at(address: SocketAddr, says: S) -> Self {
        Self { address, shared: Arc::new(Shared { says: Mutex::new(says), asked: Mutex::default() }) }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says this from now on.
    pub fn say(&self, says: S) {
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
        let who = S::WHO;
        wait::until(&format!("the {who} is asked {times} times"), wait::BOUND, || self.asked().len() >= times);
    }
}

fn answer(mut stream: TcpStream, shared: &Shared<impl Says>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let says = lock(&shared.says).clone();
    lock(&shared.asked).push(head.clone());
    match says.answer(&head) {
        // Whoever asked may have had enough of it.
        Answer::Bytes(bytes) => drop(stream.write_all(&bytes)),
        Answer::Slow(bytes, pause) => {
            for byte in bytes {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        }
        Answer::Nothing => std::thread::sleep(KEPT),
    }
}
