//! A provider's status page (Atlassian Statuspage, `/api/v2/summary.json`) that does as it is told.
//!
//! It listens on loopback. Told nothing else it behaves as the real one does: it answers with the page as JSON and an `ETag`,
//! and with 304 to whoever has that page. It can also answer byte by byte what no server should. It runs on threads of its
//! own: one that accepts, one for each connection.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::wait;

/// Longest time that a connection to which nothing is said is kept: beyond any test.
const KEPT: Duration = Duration::from_secs(300);

/// A maintenance of the component `SORACOM Flux`.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// Its id.
    pub id: &'static str,
    /// `scheduled`, `in_progress`, `verifying` or `completed`.
    pub status: &'static str,
    /// Its beginning, in seconds from now; before now below zero.
    pub from: i64,
    /// Its end, likewise.
    pub until: i64,
    /// The component.
    pub component: &'static str,
}

impl Maintenance {
    /// One of Flux.
    #[must_use]
    pub fn new(id: &'static str, status: &'static str, from: i64, until: i64) -> Self {
        Self { id, status, from, until, component: "SORACOM Flux" }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "name": format!("Maintenance {}", self.id), "status": self.status, "impact": "maintenance",
            "created_at": time(-86_400), "updated_at": time(-3_600), "monitoring_at": null, "resolved_at": null,
            "scheduled_for": time(self.from), "scheduled_until": time(self.until),
            "components": [{"id": format!("c-{}", self.component), "name": self.component, "group_id": null, "group": false}],
            "incident_updates": [{"id": "u1", "status": "scheduled", "body": "We will <b>work</b>.", "affected_components": null}],
        })
    }
}

/// A page with these maintenances and these titles of incidents, as the real one has it.
#[must_use]
pub fn page(maintenances: &[Maintenance], incidents: &[&str]) -> String {
    let incident = |name: &&str| {
        json!({"id": format!("i-{name}"), "name": name, "status": "investigating", "impact": "major", "resolved_at": null,
               "created_at": time(-600), "components": [{"id": "c-SORACOM Flux", "name": "SORACOM Flux"}], "incident_updates": []})
    };
    json!({
        "page": {"id": "p", "name": "Look-alike", "url": "https://status.example", "time_zone": "Tokyo", "updated_at": time(0)},
        "status": {"indicator": "none", "description": "All Systems Operational"},
        "components": [{"id": "c-SORACOM Flux", "name": "SORACOM Flux", "status": "operational", "group": false, "group_id": null}],
        "incidents": incidents.iter().map(incident).collect::<Vec<_>>(),
        "scheduled_maintenances": maintenances.iter().map(Maintenance::json).collect::<Vec<_>>(),
    })
    .to_string()
}

/// What it says.
#[derive(Debug, Clone)]
pub enum Says {
    /// This page, with an `ETag`, or 304.
    Page(String),
    /// A status, a line of the head or none, and a body.
    Status(u16, &'static str, String),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// This page, a byte at a time.
    Slow(String, Duration),
    /// Nothing, and keeps the connection.
    Nothing,
}

/// So many seconds from now, as the page writes times.
fn time(from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let at = now.saturating_add_signed(from_now);
    let (days, seconds) = (at / 86_400, at % 86_400);
    // Days since 1970 to a date: Howard Hinnant's `civil_from_days`, for years from 1970 on.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hours:02}:{minutes:02}:{seconds:02}.000Z")
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
pub struct StatusPage {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl StatusPage {
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
        wait::until(&format!("the status page is asked {times} times"), wait::BOUND, || self.asked().len() >= times);
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let says = lock(&shared.says).clone();
    lock(&shared.asked).push(head.clone());
    let whole = |status: &str, line: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{line}content-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
    };
    let bytes = match &says {
        Says::Page(page) => {
            let mut hasher = DefaultHasher::new();
            page.hash(&mut hasher);
            let tag = format!("W/\"{:016x}\"", hasher.finish());
            let line = format!("content-type: application/json; charset=utf-8\r\netag: {tag}\r\n");
            let known = head.to_ascii_lowercase().contains(&format!("if-none-match: {}", tag.to_ascii_lowercase()));
            if known { whole("304 Not Modified", &line, "") } else { whole("200 OK", &line, page) }
        }
        Says::Status(status, line, body) => {
            let line = if line.is_empty() { String::new() } else { format!("{line}\r\n") };
            whole(&format!("{status} So"), &line, body)
        }
        Says::Slow(page, _) => whole("200 OK", "", page),
        Says::Bytes(bytes) => bytes.clone(),
        Says::Nothing => return std::thread::sleep(KEPT),
    };
    let pause = if let Says::Slow(_, pause) = says { Some(pause) } else { None };
    // Whoever asked may have had enough of it.
    match pause {
        None => drop(stream.write_all(&bytes)),
        Some(pause) => {
            for byte in bytes {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_page_writes_them() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let ago = i64::try_from(now).expect("it fits");
        assert_eq!(&time(-ago)[..15], "1970-01-01T00:0");
        assert_eq!(&time(1_709_164_800 - ago)[..14], "2024-02-29T00:");
    }
}
