//! The Prometheus page: `GET /metrics` in the text format 0.0.4, on a loopback address, without password or TLS.
//!
//! Names follow Prometheus' rules: `_total` for what only grows, base units (seconds, bytes). At most
//! [`MAX_CONNECTIONS`] connections are served at one time, each for at most [`LIFE`].

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{FlashStatus, Source, Status};
use crate::language::Message;
use crate::message;

/// Connections at one time: one collector, and people with a browser.
pub const MAX_CONNECTIONS: usize = 8;

/// How long a connection lives. Collectors ask every 15 s or so and connect anew without harm.
pub const LIFE: Duration = Duration::from_secs(60);

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct MetricsError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl MetricsError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        message!(
            "cannot listen on {address} for the metrics page; write another address for bind in [metrics]",
            address = self.address
        )
    }
}

/// Binds the page's address. Call it within a runtime.
///
/// # Errors
/// The address is in use or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    TcpListener::bind(address).await.map_err(|source| MetricsError { address, source })
}

/// Binds and serves in one; see [`bind`] and [`serve_on`].
///
/// # Errors
/// As [`bind`].
pub async fn serve(address: SocketAddr, source: Source, stop: CancellationToken) -> Result<(), MetricsError> {
    serve_on(bind(address).await?, source, stop).await;
    Ok(())
}

/// Serves the page until `stop`.
pub async fn serve_on(listener: TcpListener, source: Source, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Beyond the bound connections wait in the kernel's queue, itself bounded.
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "metrics page: cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (source, stop) = (source.clone(), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let response = respond(&request, &source);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LIFE) => {}
                result = connection => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "metrics page: connection ended");
                    }
                }
            }
        });
    }
}

fn respond(request: &Request<Incoming>, source: &Source) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (code, kind, body) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET only\n".to_owned()),
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page(&source())),
        "/" => (StatusCode::OK, "text/plain; charset=utf-8", "The metrics are at /metrics\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "The metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if !is_read {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// Writes the page.
pub fn page(status: &Status) -> String {
    let mut page = Page::default();
    agent(&mut page, status);
    records(&mut page, status);
    flux(&mut page, status);
    wire(&mut page, status);
    intake(&mut page, status);
    budgets(&mut page, status);
    page.out
}

#[derive(Default)]
struct Page {
    out: String,
}

impl Page {
    /// Begins a metric of one name; its samples must follow at once.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.out += name;
        for (index, (label, text)) in labels.iter().enumerate() {
            self.out += if index == 0 { "{" } else { "," };
            let _ = write!(self.out, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.metric(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

/// A label's value: backslash, quote and newline are escaped (exposition format 0.0.4).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn agent(page: &mut Page, status: &Status) {
    page.metric("tidegate_info", "gauge", "Version, gateway id and epoch; always 1.");
    let labels = [("version", &*status.version), ("gateway", &*status.gateway), ("epoch", &*status.epoch)];
    page.sample("tidegate_info", &labels, 1);
    page.gauge("tidegate_uptime_seconds", "How long the agent has been running.", seconds(status.uptime_ms));
    page.gauge("tidegate_clock_trusted", "1 while the clock is known to be right.", u8::from(status.clock.trusted));
    page.gauge(
        "tidegate_config_loaded_timestamp_seconds",
        "When the configuration in force was read.",
        seconds(status.config_loaded_ms),
    );
    page.gauge(
        "tidegate_config_kept",
        "1 if the configuration that last worked is in force because the file could not be used at the start.",
        u8::from(status.config_kept),
    );
    page.gauge(
        "tidegate_config_reload_failed",
        "1 if the file was refused, at the start or at the last reload.",
        u8::from(status.config_error.is_some()),
    );
    page.gauge(
        "tidegate_config_restart_needed",
        "Keys changed in the file that take effect at the next start.",
        status.config_needs_restart.len(),
    );
}

fn records(page: &mut Page, status: &Status) {
    let counts = &status.counts;
    page.counter("tidegate_records_collected_total", "Publishes taken, since the agent was started.", counts.collected);
    for (name, kind, help, value) in [
        (
            "tidegate_records_stored_total",
            "counter",
            "Records committed to flash.",
            (|lane| lane.stored) as fn(&super::LaneStatus) -> u64,
        ),
        ("tidegate_records_waiting", "gauge", "Records that wait to be delivered.", |lane| lane.waiting),
        ("tidegate_records_evicted_total", "counter", "Records evicted undelivered.", |lane| lane.evicted),
        ("tidegate_records_damaged_total", "counter", "Records lost to damage of the medium.", |lane| lane.damaged),
        ("tidegate_records_expired_total", "counter", "Records dropped undelivered for their age.", |lane| {
            lane.expired
        }),
        ("tidegate_lane_bytes", "gauge", "Bytes on disk in the lane's segments.", |lane| lane.bytes),
    ] {
        page.metric(name, kind, help);
        for lane in &status.lanes {
            page.sample(name, &[("lane", &lane.name)], value(lane));
        }
    }
    page.metric(
        "tidegate_lane_oldest_waiting_seconds",
        "gauge",
        "How long the lane's oldest waiting record has waited; absent if none waits.",
    );
    for lane in &status.lanes {
        if let Some(oldest) = lane.oldest_ms {
            let age = seconds(status.now_ms.saturating_sub(oldest));
            page.sample("tidegate_lane_oldest_waiting_seconds", &[("lane", &lane.name)], age);
        }
    }
    page.counter(
        "tidegate_records_forwarded_total",
        "Records accepted by Flux, since the agent was started.",
        counts.forwarded,
    );
    page.counter("tidegate_records_put_aside_total", "Records that Flux refuses for good.", counts.put_aside);
    page.counter("tidegate_gap_records_total", "Records that tell the flow of what is gone.", counts.gaps_told);
    page.metric("tidegate_publishes_refused_total", "counter", "Publishes refused, by cause.");
    for refused in &counts.refused_by {
        page.sample("tidegate_publishes_refused_total", &[("cause", &refused.cause)], refused.count);
    }
    let told = counts.refused_by.iter().fold(0, |sum: u64, refused| sum.saturating_add(refused.count));
    page.sample("tidegate_publishes_refused_total", &[("cause", "other")], counts.refused.saturating_sub(told));
    page.counter(
        "tidegate_records_untreated_total",
        "Records stored as they came although a rule is for their fields, since the agent was started.",
        counts.untreated,
    );
    let store = &status.store;
    page.gauge("tidegate_store_bytes", "Bytes that the store uses on disk.", store.bytes);
    page.gauge("tidegate_store_limit_bytes", "Bytes that the store may use on disk.", store.max_bytes);
    page.gauge("tidegate_store_stalled", "1 while the store cannot write.", u8::from(store.stalled.is_some()));
    page.counter("tidegate_store_commits_total", "Group commits since the agent was started.", store.commits);
    flash(page, &store.flash);
}

fn flash(page: &mut Page, flash: &FlashStatus) {
    page.counter(
        "tidegate_store_stored_bytes_total",
        "Bytes of records stored, since the agent was started.",
        flash.stored,
    );
    // Not a counter: the estimate may be put right downwards.
    page.metric("tidegate_store_written_bytes", "gauge", "Bytes written to the medium for them, estimated.");
    if let Some(written) = flash.written {
        page.sample("tidegate_store_written_bytes", &[], written);
    }
    page.metric(
        "tidegate_store_device_written_bytes_total",
        "counter",
        "Bytes that everyone wrote to the device under the store, since the agent was started.",
    );
    if let Some(written) = flash.device_written {
        page.sample("tidegate_store_device_written_bytes_total", &[], written);
    }
}

/// The words a verdict may be, so that each has a sample and an alert can name it before it happens.
const VERDICTS: [&str; 9] =
    ["accepted", "throttled", "maintenance", "suspended", "quota", "ended", "misconfigured", "poison", "transient"];

fn flux(page: &mut Page, status: &Status) {
    let counts = &status.counts;
    page.counter("tidegate_flux_requests_total", "Requests sent, since the agent was started.", counts.requests);
    page.counter(
        "tidegate_flux_requests_failed_total",
        "Requests that were not accepted, since the agent was started.",
        counts.requests_failed,
    );
    attempts(page, status);
    page.metric("tidegate_flux_verdict", "gauge", "1 for what Flux said last.");
    for word in VERDICTS {
        page.sample("tidegate_flux_verdict", &[("verdict", word)], u8::from(status.verdict.word == word));
    }
    page.metric("tidegate_flux_last_accepted_timestamp_seconds", "gauge", "When Flux last accepted a batch.");
    if let Some(last) = status.verdict.last_accepted_ms {
        page.sample("tidegate_flux_last_accepted_timestamp_seconds", &[], seconds(last));
    }
}

/// A figure of a budget, where it has one.
type BudgetValue = fn(&super::BudgetStatus) -> Option<u64>;

fn budgets(page: &mut Page, status: &Status) {
    let budgets = &status.budgets;
    let gauges: [(&str, &str, BudgetValue); 4] = [
        ("tidegate_budget_used", "Events or bytes used in the period.", |budget| Some(budget.used)),
        ("tidegate_budget_limit", "Events or bytes that may be used; absent if any number.", |budget| budget.amount),
        ("tidegate_budget_left", "Events or bytes left; absent if any number.", |budget| budget.left),
        ("tidegate_budget_quota_told", "1 if the provider says that it is used up.", |budget| Some(budget.told.into())),
    ];
    for (name, help, value) in gauges {
        page.metric(name, "gauge", help);
        for budget in &budgets.budgets {
            if let Some(value) = value(budget) {
                page.sample(name, &[("budget", &budget.kind)], value);
            }
        }
    }
    page.metric("tidegate_lane_held", "gauge", "1 for a lane that a limit holds now, with the limit.");
    for held in &budgets.held {
        page.sample("tidegate_lane_held", &[("lane", &held.lane), ("limit", &held.limit)], 1);
    }
    if let Some(drain) = &budgets.drain {
        page.gauge("tidegate_backlog_wire_bytes", "Bytes on the wire to send what waits, estimated.", drain.bytes);
        page.gauge("tidegate_backlog_events", "Events to send what waits, estimated.", drain.events);
    }
}

/// What went over the wire, and how fast it may.
fn wire(page: &mut Page, status: &Status) {
    let wire = &status.line;
    page.metric(
        "tidegate_wire_bytes_total",
        "counter",
        "Bytes on the wire to and from the outside, headers and repeats included, since the agent was started.",
    );
    page.sample("tidegate_wire_bytes_total", &[("direction", "sent")], wire.sent);
    page.sample("tidegate_wire_bytes_total", &[("direction", "received")], wire.received);
    page.gauge("tidegate_wire_estimated", "1 if wire bytes are in part estimates.", u8::from(wire.estimated));
    page.counter(
        "tidegate_wire_connections_total",
        "Connections made to the outside, since the agent was started.",
        wire.connections,
    );
    page.metric("tidegate_wire_limit_bytes_per_second", "gauge", "What may pass; absent where nothing is limited.");
    for (direction, rate) in [("sent", wire.rate), ("received", wire.rate_down)] {
        if let Some(rate) = rate {
            page.sample("tidegate_wire_limit_bytes_per_second", &[("direction", direction)], rate);
        }
    }
    if let Some(millis) = wire.round_trip_ms {
        page.gauge("tidegate_wire_round_trip_seconds", "The longest of the open connections.", millis as f64 / 1000.0);
    }
}

/// What keeps Flux from being asked, or from being asked for more.
fn attempts(page: &mut Page, status: &Status) {
    let counts = &status.counts;
    for (name, help, value) in [
        (
            "tidegate_flux_connect_failures_total",
            "Attempts that sent nothing for want of a connection, since the agent was started.",
            counts.connect_failures,
        ),
        (
            "tidegate_flux_token_refusals_total",
            "Attempts that sent nothing because the API granted no token, since the agent was started.",
            counts.token_refusals,
        ),
    ] {
        page.counter(name, help, value);
    }
    page.gauge(
        "tidegate_flux_suspects",
        "Refused alone and not yet told from a bad endpoint.",
        status.verdict.suspects,
    );
    page.metric(
        "tidegate_flux_learnt_body_limit_bytes",
        "gauge",
        "Largest body in use; absent unless a 413 taught that it must be below the configured one.",
    );
    if let Some(limit) = status.verdict.learnt_body_limit {
        page.sample("tidegate_flux_learnt_body_limit_bytes", &[], limit);
    }
}

fn intake(page: &mut Page, status: &Status) {
    if let Some(listener) = &status.listener {
        page.gauge("tidegate_listener_connections", "Connections of devices.", listener.connections.now);
        page.gauge("tidegate_listener_connections_limit", "Connections allowed.", listener.connections.limit);
        page.gauge("tidegate_listener_sessions", "Lasting sessions.", listener.sessions.now);
        page.gauge("tidegate_listener_sessions_limit", "Lasting sessions allowed.", listener.sessions.limit);
        page.counter(
            "tidegate_listener_turned_away_total",
            "Connections refused or dropped, since the agent was started.",
            listener.turned_away,
        );
        let name = "tidegate_listener_turned_away_by_cause_total";
        page.metric(name, "counter", "The same by cause.");
        for refused in &listener.turned_away_by {
            page.sample(name, &[("cause", &refused.cause)], refused.count);
        }
    }
    if let Some(broker) = &status.broker {
        page.gauge("tidegate_broker_connected", "1 while connected and subscribed.", u8::from(broker.connected));
        page.counter(
            "tidegate_broker_collected_total",
            "Publishes taken from the broker, since the agent was started.",
            broker.collected,
        );
    }
}
