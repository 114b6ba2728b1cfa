//! Free TCP ports for servers that are told their port and come back on it after a restart.
//!
//! Taken from below Linux's ephemeral range (32768 and up), so that no outgoing connection of another test can sit on
//! the port while its server is down, and at random, so that tests in other processes rarely look at the same one.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::rng::Rng;

/// A port nobody listens on now.
#[must_use]
pub fn free_port() -> u16 {
    use std::sync::Mutex;
    static RNG: Mutex<Option<Rng>> = Mutex::new(None);
    let mut guard = RNG.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let rng = guard.get_or_insert_with(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Rng::from_seed(u64::from(now.subsec_nanos()) << 32 | u64::from(std::process::id()))
    });
    for _ in 0..1000 {
        let port = rng.between(10_000, 32_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("found no free TCP port between 10000 and 32000 in 1000 tries");
}
