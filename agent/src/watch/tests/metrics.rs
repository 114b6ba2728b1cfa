use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::metrics::{MAX_CONNECTIONS, bind, page, serve_on};
use super::{Status, sample, source};

const BOUND: Duration = Duration::from_secs(10);

/// Samples by name and labels, having judged the format: each metric is introduced once, before its samples, and
/// what only grows, alone, ends in `_total`.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let mut helped = "";
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty());
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!(name, helped, "HELP and TYPE belong together");
            assert!(name.starts_with("tidegate_"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert_eq!(kinds.insert(name, kind), None, "{name} is introduced once");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap_or_default();
            assert_eq!(name, helped, "samples follow their metric: {line}");
            let value = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
            assert_eq!(samples.insert(series.to_owned(), value), None, "{series} stands once");
        }
    }
    samples
}

#[test]
fn the_page_says_what_the_status_says_in_base_units() {
    let page = page(&sample());
    let samples = samples(&page);
    for (series, value) in [
        ("tidegate_info{version=\"0.1.0\",gateway=\"gw-1\",epoch=\"k3v9\"}", 1.0),
        ("tidegate_uptime_seconds", 3725.0),
        ("tidegate_clock_trusted", 1.0),
        ("tidegate_records_collected_total", 1_234_567.0),
        ("tidegate_records_waiting{lane=\"normal\"}", 1200.0),
        ("tidegate_lane_oldest_waiting_seconds{lane=\"normal\"}", 100.0),
        ("tidegate_records_forwarded_total", 2_233_000.0),
        ("tidegate_publishes_refused_total{cause=\"to\\\"p\\\\ic\\n\"}", 5.0),
        ("tidegate_publishes_refused_total{cause=\"other\"}", 2.0),
        ("tidegate_store_limit_bytes", 1_073_741_824.0),
        ("tidegate_store_stalled", 1.0),
        ("tidegate_store_stored_bytes_total", 5_242_880.0),
        ("tidegate_store_written_bytes", 6_291_456.0),
        ("tidegate_store_device_written_bytes_total", 9_437_184.0),
        ("tidegate_flux_verdict{verdict=\"throttled\"}", 1.0),
        ("tidegate_flux_verdict{verdict=\"accepted\"}", 0.0),
        ("tidegate_flux_connect_failures_total", 1003.0),
        ("tidegate_flux_token_refusals_total", 4.0),
        ("tidegate_flux_suspects", 2.0),
        ("tidegate_flux_learnt_body_limit_bytes", 32_768.0),
        ("tidegate_listener_connections_limit", 1000.0),
        ("tidegate_broker_connected", 0.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in\n{page}");
    }
    assert!(!samples.contains_key("tidegate_lane_oldest_waiting_seconds{lane=\"critical\"}"));
}

#[test]
fn a_page_of_a_gateway_that_has_only_begun_is_well_formed() {
    let samples = samples(&page(&Status::default()));
    assert_eq!(samples.get("tidegate_flux_verdict{verdict=\"accepted\"}"), Some(&0.0));
    assert!(!samples.keys().any(|series| series.starts_with("tidegate_listener")));
}

async fn get(address: std::net::SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream
        .write_all(format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .expect("write");
    let mut answer = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn the_page_is_served_and_nothing_else() {
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    assert!(bind(address).await.is_err(), "the address is in use");
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_on(listener, source(), stop.clone()));
    let answer = get(address, "GET /metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert_eq!(samples(body).len(), samples(&page(&sample())).len());
    assert!(get(address, "GET /").await.contains("/metrics"));
    assert!(get(address, "GET /etc").await.starts_with("HTTP/1.1 404"));
    assert!(get(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    let head = get(address, "HEAD /metrics").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    stop.cancel();
    timeout(BOUND, task).await.expect("it ends").expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn connections_that_say_nothing_give_their_places_back() {
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(serve_on(listener, source(), stop.clone()));
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(address).await.expect("connect"));
    }
    // Waits in the kernel's queue until the time limits have ended one of the silent ones.
    assert!(get_slowly(address).await.contains("200 OK"));
    stop.cancel();
}

/// Like [`get`], with a bound that the paused clock does not reach before the server's own limits.
async fn get_slowly(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("write");
    let mut answer = String::new();
    timeout(Duration::from_secs(600), stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    answer
}
