//! What leaves a gateway, weighed on the wire between two network namespaces: as much as the limit allows, never more,
//! and what Tidegate says of it is what the kernel counted.
//!
//! All runs of a test go side by side, each between namespaces of its own. They last [`SECONDS`] s of steady sending;
//! `TIDEGATE_SHAPE_SECONDS` makes that longer.
#![forbid(unsafe_code)]

mod bytes;
mod down;
mod far;
mod six;

use std::time::{Duration, Instant};

use down::{Down, weigh_down};
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::backlog;
use tidegate_tests::certs;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::netns::{Packet, Pair, most_within};
use tidegate_tests::wait;

/// Long enough for a window of a minute.
const SECONDS: u64 = 62;

/// After so long the handshake is over and the burst of the start is spent.
const SETTLED: Duration = Duration::from_secs(3);

/// Bytes of a record's payload in a backlog; with the rest of an event 1.2 times as much goes out.
const PAYLOAD: usize = 1_000;

fn seconds() -> u64 {
    std::env::var("TIDEGATE_SHAPE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// The burst of a rate that has none of its own: half a second's, of two packets to 64 KiB.
fn burst(bits_per_second: u64) -> u64 {
    (bits_per_second / 8 / 2).clamp(3_000, 65_536)
}

/// A gateway at one end of a wire, with a backlog, and a Flux at the other.
struct Line {
    pair: Pair,
    flux: Flux,
    agent: Agent,
    _folder: tempfile::TempDir,
}

impl Line {
    /// A gateway that may send so many bit/s, not started yet, with so many bytes in its store.
    fn make(bits_per_second: u64, tls: bool, bytes: u64) -> Self {
        Self::over(Pair::make(), bits_per_second, tls, bytes)
    }

    /// The same over a wire that was made.
    fn over(pair: Pair, bits_per_second: u64, tls: bool, bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certs = tls.then(|| certs::make(folder.path()));
        let flux = Flux::start_far(&pair, certs.as_ref());
        let mut setup = Setup::webhook(&flux);
        if let Some(certs) = &certs {
            setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
        }
        setup.set("limits", "rate", &format!("\"{bits_per_second} bit/s\""));
        if tls {
            // As a SIM's speed class does.
            setup.set("limits", "rate_down", &format!("\"{bits_per_second} bit/s\""));
        }
        setup.within(&pair.near.within().iter().map(String::as_str).collect::<Vec<_>>());
        let segments = bytes.div_ceil(8 << 20).max(2);
        let lane =
            backlog::Lane { name: "normal", segments, whole: segments, segment_bytes: 8 << 20, payload: PAYLOAD };
        let _ = backlog::make(&setup.folder().join("store"), "gw-test", lane);
        Self { pair, flux, agent: Agent::new(setup), _folder: folder }
    }
}

/// What a run came to.
#[derive(Debug)]
struct Weighed {
    what: String,
    /// Sent, per second, in the steady part, against the limit.
    average: f64,
    /// The most in windows of 1, 10 and 60 s, against what is allowed in them.
    windows: Vec<(u64, f64)>,
    /// Our own count against the interface's, sent and received.
    counts: [f64; 2],
}

impl Weighed {
    fn of(what: String, bits_per_second: u64, burst: u64, packets: &[Packet], counts: [f64; 2]) -> Self {
        let limit = bits_per_second / 8;
        let sent: Vec<Packet> = packets.iter().copied().filter(|packet| packet.sent).collect();
        let start = sent.first().expect("something was sent").at + SETTLED;
        let steady: Vec<Packet> = sent.iter().copied().filter(|packet| packet.at >= start).collect();
        let length = steady.last().expect("it was sent for long").at.saturating_sub(start);
        let bytes: u64 = steady.iter().map(|packet| packet.bytes).sum();
        let windows = [1, 10, 60].into_iter().filter(|window| Duration::from_secs(*window) <= length + SETTLED);
        let windows = windows.map(|window| {
            let allowed = limit * window + burst;
            (window, most_within(&sent, Duration::from_secs(window)) as f64 / allowed as f64)
        });
        let average = bytes as f64 / length.as_secs_f64() / limit as f64;
        Self { what, average, windows: windows.collect(), counts }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.average < 0.98 {
            faults.push(format!("{}: {:.2} % of the limit while a backlog waited", self.what, self.average * 100.0));
        }
        for (window, share) in &self.windows {
            if *share > 1.01 {
                faults.push(format!("{}: {:.2} % of what {window} s allow", self.what, share * 100.0));
            }
        }
        for (way, ratio) in ["sent", "received"].into_iter().zip(self.counts) {
            if !(0.99..=1.01).contains(&ratio) {
                faults.push(format!("{}: its count of bytes {way} is {ratio:.4} of the interface's", self.what));
            }
        }
        faults
    }
}

/// What Tidegate says it sent and received, against what the interface counted just before and just after it said so:
/// 1 if it lies between.
fn counts(line: &Line) -> [f64; 2] {
    let before = line.pair.counted();
    let status = line.agent.status();
    let after = line.pair.counted();
    assert_eq!(status["line"]["estimated"], false, "this system tells what connections carried");
    let against = |way: &str, before: u64, after: u64| {
        let said = status["line"][way].as_u64().expect("status tells what went over the wire");
        // What the link has sent and what its queue holds are read one after the other: a frame that leaves the queue in
        // between is in neither.
        said as f64 / said.clamp(before.min(after), before.max(after)) as f64
    };
    [against("sent", before.sent, after.sent), against("received", before.received, after.received)]
}

fn weigh(bits_per_second: u64, tls: bool) -> Weighed {
    let what = format!("{} kbit/s {}", bits_per_second / 1000, if tls { "TLS" } else { "plain" });
    let length = Duration::from_secs(seconds()) + SETTLED;
    let line = Line::make(bits_per_second, tls, bits_per_second / 8 * (length.as_secs() + 20));
    weigh_up(line, what, bits_per_second, length)
}

/// A run in which what leaves is limited, over a line that was made.
fn weigh_up(mut line: Line, what: String, bits_per_second: u64, length: Duration) -> Weighed {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = line.pair.capture(folder.path());
    line.agent.start();
    line.flux.wait_for_connections(1);
    let end = Instant::now() + length;
    wait::until("the time is over", length + Duration::from_secs(10), || Instant::now() >= end);
    let counts = counts(&line);
    let waiting = line.agent.waiting();
    let packets = capture.finish();
    assert!(waiting > 0, "{what}: nothing waits any more");
    line.agent.kill();
    let weighed = Weighed::of(what, bits_per_second, burst(bits_per_second), &packets, counts);
    println!("{weighed:?}");
    weighed
}

#[test]
fn what_leaves_and_comes_in_is_what_the_limit_allows_and_what_is_counted() {
    let rates = [32_000, 128_000, 512_000, 2_000_000, 8_000_000];
    let down = |bits_per_second, tls, burst| Down { bits_per_second, tls, burst, round_trip: None };
    let downs = [
        down(32_000, false, None),
        down(128_000, false, Some(8_000)),
        down(128_000, true, None),
        down(2_000_000, false, None),
    ];
    let faults: Vec<String> = std::thread::scope(|scope| {
        let ups = rates.into_iter().flat_map(|rate| [(rate, false), (rate, true)]);
        let ups = ups.map(|(rate, tls)| scope.spawn(move || weigh(rate, tls)));
        let length = Duration::from_secs(seconds()) + SETTLED;
        let downs = downs.into_iter().map(|down| scope.spawn(move || weigh_down(down, length)));
        let runs: Vec<_> = ups.chain(downs).collect();
        runs.into_iter()
            .flat_map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).faults())
            .collect()
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_narrow_path_is_filled_and_counted_a_lower_limit_is_obeyed_within_a_second_and_ipv6_is_weighed_as_well() {
    std::thread::scope(|scope| {
        let narrow: Vec<_> = [false, true].map(|tls| scope.spawn(move || over_a_narrow_path(tls))).into();
        let lowered: Vec<_> = [false, true].map(|tls| scope.spawn(move || lowered_in_mid_transfer(tls))).into();
        let six: Vec<_> = [false, true].map(|tls| scope.spawn(move || six::over_ipv6(tls))).into();
        for run in narrow.into_iter().chain(lowered).chain(six) {
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// The limit is twice what the path carries.
fn over_a_narrow_path(tls: bool) {
    const PATH: u64 = 256_000;
    let mut line = Line::make(2 * PATH, tls, 16 << 20);
    line.pair.narrow(PATH);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = line.pair.capture(folder.path());
    line.agent.start();
    line.flux.wait_for_connections(1);
    let end = Instant::now() + Duration::from_secs(20);
    wait::until("the time is over", wait::BOUND, || Instant::now() >= end);
    let counts = counts(&line);
    let weighed = Weighed::of(format!("narrow path, TLS {tls}"), PATH, burst(PATH), &capture.finish(), counts);
    println!("{weighed:?}");
    line.agent.kill();
    // Of the path's rate Ethernet headers take 0.9 %.
    assert!(weighed.average >= 0.97, "{weighed:?}");
    assert!(weighed.counts.iter().all(|ratio| (0.99..=1.01).contains(ratio)), "{weighed:?}");
}

fn lowered_in_mid_transfer(tls: bool) {
    const BEFORE: u64 = 2_000_000;
    const AFTER: u64 = 128_000;
    let mut line = Line::make(BEFORE, tls, 16 << 20);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = line.pair.capture(folder.path());
    line.agent.start();
    line.flux.wait_for_requests(20);
    line.agent.setup.set("limits", "rate", &format!("\"{AFTER} bit/s\""));
    line.agent.reload();
    let lowered = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    wait::until("the lower limit is in force", Duration::from_secs(1), || {
        line.agent.status()["line"]["rate"] == AFTER / 8
    });
    let end = Instant::now() + Duration::from_secs(12);
    wait::until("the time is over", wait::BOUND, || Instant::now() >= end);
    let counts = counts(&line);
    let packets = capture.finish();
    line.agent.kill();
    let after: Vec<Packet> =
        packets.into_iter().filter(|packet| packet.sent && packet.at >= lowered + Duration::from_secs(1)).collect();
    let allowed = |window: u64| (AFTER / 8 * window + burst(AFTER)) as f64 * 1.01;
    for window in [1, 10] {
        let most = most_within(&after, Duration::from_secs(window));
        assert!(most as f64 <= allowed(window), "{most} bytes in {window} s, {} are allowed", allowed(window));
    }
    let bytes: u64 = after.iter().map(|packet| packet.bytes).sum();
    let length = after[after.len() - 1].at.saturating_sub(after[0].at).as_secs_f64();
    let average = bytes as f64 / length / (AFTER / 8) as f64;
    println!("lowered, TLS {tls}: {average:.4} of the lower limit; counts {counts:?}");
    assert!(average >= 0.98, "{average}");
    assert!(counts.iter().all(|ratio| (0.99..=1.01).contains(ratio)), "{counts:?}");
}

/// With a backlog that takes an hour at 32 kbit/s, an alarm is with Flux within a second of its acknowledgement.
#[test]
fn an_alarm_passes_a_full_backlog_within_a_second() {
    std::thread::scope(|scope| {
        let runs: Vec<_> = [false, true].map(|tls| scope.spawn(move || alarms(tls))).into();
        for run in runs {
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

fn alarms(tls: bool) {
    alarms_over(Line::make(32_000, tls, 16 << 20), tls);
}

fn alarms_over(mut line: Line, tls: bool) {
    const ALARMS: usize = 8;
    line.agent.setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    line.agent.start();
    // The other connection is made first, then the one for alarms, beforehand.
    line.flux.wait_for_connections(2);
    let settled = Instant::now() + Duration::from_secs(4);
    wait::until("the burst is spent", wait::BOUND, || Instant::now() >= settled);
    let mut took = Vec::new();
    for number in 0..ALARMS {
        let published = line.pair.near.run(|| {
            let (mut client, _) = Client::connect(line.agent.address(), &Connect::new(Version::V5, "pump"));
            client.publish_acknowledged("devices/pump/alarm", format!("{{\"hot\":{number}}}").as_bytes(), 1);
            let published = Instant::now();
            client.disconnect();
            published
        });
        let arrived = wait::for_value("the alarm arrives", wait::BOUND, || {
            line.flux.look(|log| {
                let mut alarms = log
                    .requests
                    .iter()
                    .filter(|request| request.events.first().is_some_and(|event| event.lane == "critical"));
                alarms.nth(number).map(|request| request.at)
            })
        });
        took.push(arrived.saturating_duration_since(published));
        // At moments that have nothing to do with each other.
        let next = Instant::now() + Duration::from_millis(700 + 137 * number as u64);
        wait::until("the next alarm", wait::BOUND, || Instant::now() >= next);
    }
    println!("alarms at 32 kbit/s, TLS {tls}: {took:?}");
    assert!(line.agent.waiting() > 1000, "the backlog is gone");
    line.agent.kill();
    assert!(took.iter().all(|took| *took <= Duration::from_secs(1)), "TLS {tls}: {took:?}");
}
