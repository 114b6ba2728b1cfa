//! A Flux that does as it is told.
//!
//! It listens on loopback, serves the three entrances that Tidegate knows by their paths, answers each request as
//! programmed, and keeps what came. It can stop listening (connections are refused, open ones cut) and come back on
//! the same port. It runs on a thread of its own.
//!
//! | entrance | path | its own check |
//! |---|---|---|
//! | webhook | `/v1/flux/incoming_webhooks/…` | none: the path is the secret |
//! | api | `/v1/flux/apps/{app}/channels/{channel}/messages` | key and token from `POST /v1/auth`, else 401 |
//! | unified | `/` | none: the SIM |

mod answer;
mod received;
mod server;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

pub use answer::{Answer, Request};
pub use received::{Event, Id, Log, Received};
use server::Command;

use crate::certs::Certs;
use crate::netns::Pair;
use crate::{ports, wait};

/// The authentication key id that `/v1/auth` takes.
pub const AUTH_KEY_ID: &str = "keyId-tidegate-test";

/// The authentication key that `/v1/auth` takes.
pub const AUTH_KEY: &str = "secret-tidegate-test";

type Rule = Box<dyn Fn(&Request<'_>) -> Answer + Send>;

struct Program {
    /// For the next requests, one each.
    next: VecDeque<Answer>,
    /// For all others.
    rule: Rule,
}

/// What `/v1/auth` was asked for and gave.
#[derive(Debug, Default, Clone)]
pub struct Logins {
    /// Right ones.
    pub granted: usize,
    /// Wrong ones.
    pub refused: usize,
    /// `tokenTimeoutSeconds` of the last right one.
    pub timeout_s: Option<u64>,
    /// The token in force.
    token: Option<String>,
}

struct Shared {
    connections: AtomicUsize,
    /// Only if it speaks HTTPS.
    tls: Option<tokio_rustls::TlsAcceptor>,
    program: Mutex<Program>,
    log: Mutex<Log>,
    logins: Mutex<Logins>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle; dropping it ends the server.
pub struct Flux {
    /// Where it listens.
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: tokio::sync::mpsc::UnboundedSender<Command>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Flux {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Flux").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Flux {
    /// Starts one that accepts everything.
    #[must_use]
    pub fn start() -> Self {
        let flux = Self::start_stopped();
        flux.resume();
        flux
    }

    /// Starts one that has its port but does not listen yet.
    #[must_use]
    pub fn start_stopped() -> Self {
        Self::build(None, None)
    }

    /// Starts one that speaks HTTPS with the server's certificate of these.
    #[must_use]
    pub fn start_tls(certs: &Certs) -> Self {
        let flux = Self::build(Some(certs), None);
        flux.resume();
        flux
    }

    /// Starts one at the far end of a pair of namespaces, with HTTPS if there are certificates.
    #[must_use]
    pub fn start_far(pair: &Pair, certs: Option<&Certs>) -> Self {
        let flux = Self::build(certs, Some(pair));
        flux.resume();
        flux
    }

    fn build(certs: Option<&Certs>, pair: Option<&Pair>) -> Self {
        let ip = pair.map_or(Ipv4Addr::LOCALHOST.into(), Pair::far_address);
        let address = SocketAddr::from((ip, ports::free_port()));
        let shared = Arc::new(Shared {
            program: Mutex::new(Program { next: VecDeque::new(), rule: Box::new(|_| Answer::Accept) }),
            connections: AtomicUsize::new(0),
            tls: certs.map(server::acceptor),
            log: Mutex::default(),
            logins: Mutex::default(),
        });
        let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
        let (for_thread, space) = (Arc::clone(&shared), pair.map(|pair| pair.far.clone()));
        let thread = std::thread::Builder::new()
            .name("flux".to_owned())
            .spawn(move || {
                if let Some(space) = space {
                    space.enter();
                }
                server::run(address, &for_thread, inbox);
            })
            .expect("a thread for the Flux");
        Self { address, shared, commands, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`; of one at a far end with that end's address.
    #[must_use]
    pub fn base_url(&self) -> String {
        match self.shared.tls {
            None => format!("http://{}", self.address),
            Some(_) if self.address.ip().is_loopback() => format!("https://localhost:{}", self.address.port()),
            Some(_) => format!("https://{}", self.address),
        }
    }

    /// A webhook's URL.
    #[must_use]
    pub fn webhook_url(&self) -> String {
        format!("{}/v1/flux/incoming_webhooks/wh-test/s3cr3tpath", self.base_url())
    }

    /// Answers the next requests with events so, one each; then by the rule again.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.shared.program).next.extend(answers);
    }

    /// Answers by this rule from now on.
    pub fn answer_by(&self, rule: impl Fn(&Request<'_>) -> Answer + Send + 'static) {
        lock(&self.shared.program).rule = Box::new(rule);
    }

    /// Answers every request so from now on.
    pub fn answer_all(&self, answer: Answer) {
        self.answer_by(move |_| answer.clone());
    }

    /// Stops listening and cuts every connection; returns when that is done.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Listens again, on the same port.
    pub fn resume(&self) {
        self.tell(Command::Listen);
    }

    /// Makes the token in force worthless.
    pub fn expire_token(&self) {
        lock(&self.shared.logins).token = None;
    }

    /// What `/v1/auth` saw.
    #[must_use]
    pub fn logins(&self) -> Logins {
        lock(&self.shared.logins).clone()
    }

    /// Looks at what came.
    pub fn look<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&lock(&self.shared.log))
    }

    /// How many different records were accepted.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.look(Log::delivered)
    }

    /// How many requests with events came.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.look(|log| log.requests.len())
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until so many different records were accepted.
    #[track_caller]
    pub fn wait_for(&self, records: usize, bound: Duration) {
        let what = format!("{records} records were delivered");
        wait::until_or_tell(
            &what,
            bound,
            || self.delivered() >= records,
            || format!("{} were, in {} requests", self.delivered(), self.requests()),
        );
    }

    /// Waits until so many connections were made to it.
    #[track_caller]
    pub fn wait_for_connections(&self, connections: usize) {
        wait::until(&format!("{connections} connections were made"), wait::BOUND, || self.connections() >= connections);
    }

    /// Waits until so many requests with events came.
    #[track_caller]
    pub fn wait_for_requests(&self, requests: usize) {
        wait::until(&format!("{requests} requests came"), wait::BOUND, || self.requests() >= requests);
    }

    /// Fails if anything came that may not come, or out of order.
    #[track_caller]
    pub fn assert_sound(&self) {
        self.look(|log| {
            log.assert_faultless();
            log.assert_in_order();
        });
    }

    /// The payloads of one device's delivered records as JSON text, in the order in which each record first was
    /// accepted.
    #[must_use]
    pub fn payloads_of(&self, device: &str) -> Vec<String> {
        self.look(|log| {
            let events = log.delivered_events().into_iter().filter(|event| event.device == device);
            events.map(|event| event.payload.get().to_owned()).collect()
        })
    }

    fn tell(&self, command: fn(mpsc::SyncSender<()>) -> Command) {
        let (done, wait) = mpsc::sync_channel(1);
        self.commands.send(command(done)).expect("the Flux's thread runs as long as its handle");
        wait.recv_timeout(wait::BOUND).expect("the Flux's thread could not listen or stop; see its panic above");
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Quit); // gone already if its thread panicked
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
