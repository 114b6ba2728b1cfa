//! From a name to addresses, through the door: questions and answers are limited and counted like anything else.
//!
//! # Constraints
//! - Nothing is asked that the machine knows itself: addresses, `/etc/hosts`, answers that still hold.
//! - `/etc/resolv.conf` says whom to ask; both files are read anew each time, since a modem that connects writes them.
//! - Bounded: servers, attempts, other names followed, names kept; all in all as long as a connection may take.
//! - An answer counts only if it comes from the server asked, to the port and with the number that were drawn at random for
//!   this question, and repeats it.
//!
//! # How it works
//! For each full name that the name may stand for, A and (if there is a route for IPv6) AAAA are asked for over UDP, each
//! server in turn; what does not fit into a datagram is asked for again over TCP. The first full name that exists is the
//! one. IPv6 and IPv4 take turns in the result, so that a broken one of the two costs one failed attempt.
//!
//! Not supported: names that only an NSS module knows (mDNS, LDAP), DNSSEC (TLS proves who answers), DNS over TLS.

mod cache;
mod exchange;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod message;
#[cfg(test)]
pub(super) mod tests;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::{NameServer, too_long};
use super::{MAX_ADDRESSES, Wire, WireError};
use crate::message;
use cache::Cache;
use exchange::Server;
use files::{Settings, hosts};
use message::{Family, Said};

/// Bytes of a file that are read; lists of blocked hosts grow to some MiB.
const MOST_READ: u64 = 8 << 20;

/// Where the machine says what it knows of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The hosts file.
    pub hosts: PathBuf,
    /// The resolver's settings.
    pub settings: PathBuf,
    /// The port of name servers.
    pub port: u16,
}

impl Default for Names {
    /// `/etc/hosts`, `/etc/resolv.conf`, port 53.
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), settings: "/etc/resolv.conf".into(), port: 53 }
    }
}

/// What is known of names.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    cache: Mutex<Cache>,
    /// When a name server last answered that [proves](proves_the_line) something of the line.
    answered: Mutex<Option<std::time::Instant>>,
}

impl Resolver {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a name server beyond the site last answered.
    pub(super) fn answered(&self) -> Option<std::time::Instant> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, server: IpAddr) {
        if proves_the_line(server) {
            *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::time::Instant::now());
        }
    }

    /// Forgets a name, because none of its addresses answers.
    pub(super) fn forget(&self, name: &str) {
        self.cache().forget(&name.to_ascii_lowercase());
    }
}

/// Addresses, and for how long they hold.
type Found = (Vec<IpAddr>, Duration);

/// Time that is left for the servers; waiting for the gate takes none of it.
struct Budget(Duration);

impl Budget {
    /// Waits for a server for as long as it may take and there is time.
    async fn wait<T>(&mut self, limit: Duration, answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let limit = limit.min(self.0);
        let start = Instant::now();
        let result = tokio::time::timeout(limit, answer).await;
        self.0 = self.0.saturating_sub(start.elapsed());
        result.unwrap_or_else(|_| Err(too_long(message!("the name server"), limit)))
    }
}

impl Wire {
    /// The addresses of a host, at most [`MAX_ADDRESSES`].
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, WireError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let failed = |source| WireError::Resolve { host: host.into(), source };
        let names = &self.door.options.names;
        let known = hosts(&read(&names.hosts).unwrap_or_default(), host);
        if !known.is_empty() {
            return Ok(take_turns(&known));
        }
        let name = host.to_ascii_lowercase();
        if let Some(addresses) = self.door.resolver.cache().get(&name, Instant::now()) {
            return Ok(addresses);
        }
        if self.door.silent.load(std::sync::atomic::Ordering::Relaxed) && self.asks_time.is_none() {
            return Err(WireError::Silent { host: host.into() });
        }
        // Without a file this machine's own server is asked, as resolv.conf(5) has it.
        let settings = Settings::parse(&read(&names.settings).unwrap_or_default());
        let (addresses, life) = self.look_up(&name, &settings).await.map_err(failed)?;
        let addresses = take_turns(&addresses);
        if addresses.is_empty() {
            return Err(WireError::NoAddress { host: host.into() });
        }
        self.door.resolver.cache().put(&name, &addresses, life, Instant::now());
        Ok(addresses)
    }

    /// Asks for the full names that a name may stand for, until one exists.
    async fn look_up(&self, name: &str, settings: &Settings) -> io::Result<Found> {
        let mut budget = Budget(self.door.options.connect_timeout);
        let families: &[Family] = if has_ipv6() { &[Family::V6, Family::V4] } else { &[Family::V4] };
        for full in settings.candidates(name) {
            let (mut addresses, mut life) = (Vec::new(), Duration::MAX);
            let mut failure = None;
            for family in families {
                match self.ask_all(&full, *family, settings, &mut budget).await {
                    Ok((found, holds)) if !found.is_empty() => {
                        addresses.extend(found);
                        life = life.min(holds);
                    }
                    Ok(_) => {}
                    Err(error) => failure = Some(error),
                }
            }
            if !addresses.is_empty() {
                // Half an answer is used and not kept.
                return Ok((addresses, if failure.is_some() { Duration::ZERO } else { life }));
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok((Vec::new(), Duration::ZERO))
    }

    /// Asks each server in turn until one answers; no addresses if there is no such name.
    async fn ask_all(&self, full: &str, family: Family, settings: &Settings, budget: &mut Budget) -> io::Result<Found> {
        let mut last = None;
        for _ in 0..settings.attempts {
            for address in &settings.servers {
                if budget.0.is_zero() {
                    break;
                }
                let address = SocketAddr::new(*address, self.door.options.names.port);
                let server = Server { address, timeout: settings.timeout, tcp: settings.tcp };
                let said = self.ask(&server, full, family, budget).await;
                if matches!(said, Ok(Said::Addresses(..) | Said::NoSuchName)) {
                    self.door.resolver.heard(address.ip());
                }
                match said {
                    Ok(Said::Addresses(found, life)) => return Ok((found, life)),
                    Ok(Said::NoSuchName) => return Ok((Vec::new(), Duration::ZERO)),
                    Ok(Said::Refused(reason)) => last = Some(io::Error::other(NameServer(reason))),
                    Ok(Said::Truncated) => {
                        last = Some(io::Error::other(NameServer("the answer does not even fit into TCP".into())));
                    }
                    // It is no name: nobody need be asked again.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                    Err(error) => {
                        tracing::debug!(%address, %error, "a name server does not answer");
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| too_long(message!("the name servers"), self.door.options.connect_timeout)))
    }
}

/// Whether IPv6 leads anywhere: a datagram socket that is connected finds its route and sends nothing.
fn has_ipv6() -> bool {
    // A documentation address would do as well as any, but some systems have an unreachable route for those.
    const SOMEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0x500, 0x1, 0, 0, 0, 0, 0x53);
    let probe = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None)?;
        socket.connect(&SocketAddr::from((SOMEWHERE, 53)).into())
    };
    probe().is_ok()
}

/// Whether an answer from this server came over the line: one on the machine itself, or in a network of the site such as a
/// router, answers from what it remembers while the line is down. (SORACOM's server is in 100.64.0.0/10.)
fn proves_the_line(server: IpAddr) -> bool {
    match server {
        IpAddr::V4(server) => !(server.is_loopback() || server.is_private() || server.is_link_local()),
        IpAddr::V6(server) => !(server.is_loopback() || server.is_unique_local() || server.is_unicast_link_local()),
    }
}

/// IPv6 and IPv4 in turns, each in its order, [`MAX_ADDRESSES`] at most.
fn take_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut six = addresses.iter().filter(|address| address.is_ipv6());
    let mut four = addresses.iter().filter(|address| address.is_ipv4());
    let mut ordered = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// Reads a file, up to a size. It is small and on the local disk: no matter for another thread.
fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST_READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
