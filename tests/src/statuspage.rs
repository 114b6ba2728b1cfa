//! A provider's status page (Atlassian Statuspage, `/api/v2/summary.json`) that does as it is told.
//!
//! Told nothing else it behaves as the real one does: it answers with the page as JSON and an `ETag`, and with 304 to whoever
//! has that page. It can also answer byte by byte what no server should.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_protocol::event::write_time;

use crate::lookalike::{self, Answer, LookAlike};

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
#[derive(Debug, Clone, Default)]
pub enum Says {
    /// This page, with an `ETag`, or 304.
    Page(String),
    /// The same, and the `Date` that servers send.
    Dated(String),
    /// A status, a line of the head or none, and a body.
    Status(u16, &'static str, String),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// This page, a byte at a time.
    Slow(String, Duration),
    /// Nothing, and keeps the connection.
    #[default]
    Nothing,
}

/// So many seconds from now, as the page writes times.
fn time(from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut text = Vec::new();
    write_time(&mut text, now.saturating_add_signed(from_now).saturating_mul(1000));
    String::from_utf8(text).expect("digits")
}

impl lookalike::Says for Says {
    const WHO: &'static str = "status page";

    fn answer(&self, head: &str) -> Answer {
        Answer::Bytes(match self {
            Self::Page(page) | Self::Dated(page) => {
                let mut hasher = DefaultHasher::new();
                page.hash(&mut hasher);
                let tag = format!("W/\"{:016x}\"", hasher.finish());
                let mut lines = format!("content-type: application/json; charset=utf-8\r\netag: {tag}\r\n");
                if matches!(self, Self::Dated(_)) {
                    lines.extend(["date: ", &httpdate::fmt_http_date(SystemTime::now()), "\r\n"]);
                }
                let known = head.to_ascii_lowercase().contains(&format!("if-none-match: {}", tag.to_ascii_lowercase()));
                if known {
                    Answer::whole("304 Not Modified", &lines, "")
                } else {
                    Answer::whole("200 OK", &lines, page)
                }
            }
            Self::Status(status, line, body) => {
                let line = if line.is_empty() { String::new() } else { format!("{line}\r\n") };
                Answer::whole(&format!("{status} So"), &line, body)
            }
            Self::Bytes(bytes) => bytes.clone(),
            Self::Slow(page, pause) => return Answer::Slow(Answer::whole("200 OK", "", page), *pause),
            Self::Nothing => return Answer::Nothing,
        })
    }
}

/// A handle.
pub type StatusPage = LookAlike<Says>;

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
