//! Benchmark of the intake: acknowledged QoS 1 publishes per second, Tidegate beside Mosquitto, on this machine and
//! in one run.
//!
//! Tidegate acknowledges after its group commit is on flash (`fdatasync`); Mosquitto runs without persistence and
//! without a subscriber and syncs nothing. Both are measured in turn, round after round, with the same load: so
//! neither has a quieter machine than the other. Tidegate's Flux is absent (connections are refused), so that only
//! the intake works. See [`tidegate_tests::bench::Plan`] for the load.
//!
//! `cargo run --release -p tidegate-tests --bin bench-intake` after `cargo build --release -p tidegate`
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::bench::{Arguments, Measured, Plan, PlanError, Side, Until, Usage, median};
use tidegate_tests::ports;
use tidegate_tests::tools::Mosquitto;

const USAGE: &str = "bench-intake [--modes 100x20,1x100] [--seconds 10] [--warm-up 2] [--rounds 3] [--payload 200]
             [--side tidegate|mosquitto] [--store FOLDER]
modes are connections x window; the store should lie on the flash that is to be measured";

/// One side, once.
struct Round {
    side: Side,
    measured: Measured,
    /// Used while measured (warm-up included), except the peak, which is over its whole life.
    usage: Usage,
    /// CPU time of the load generator itself: what it took from the machine while it measured.
    load_cpu: Duration,
    /// Group commits per second, warm-up included; only of Tidegate.
    commits_per_second: Option<f64>,
}

fn main() {
    let arguments = Arguments::read(USAGE, &["modes", "seconds", "warm-up", "rounds", "payload", "side", "store"]);
    let modes = arguments.text("modes").unwrap_or("100x20,1x100").to_owned();
    let rounds: usize = arguments.get("rounds", 3);
    for mode in modes.split(',') {
        let parsed = mode.split_once('x').and_then(|(c, w)| Some((c.parse().ok()?, w.parse().ok()?)));
        let Some((connections, window)) = parsed else {
            eprintln!("{mode} is no mode\n{USAGE}");
            std::process::exit(2);
        };
        println!("{connections} connections, window {window}:");
        println!(
            "  side        acked/s   p50 ms   p99 ms  peak MiB  CPU s  load CPU s  written MB  commits/s  acked/commit"
        );
        let mut all = Vec::new();
        for _ in 0..rounds {
            for side in Side::BOTH {
                if arguments.text("side").is_some_and(|only| !only.eq_ignore_ascii_case(side.name())) {
                    continue;
                }
                match measure(side, connections, window, &arguments) {
                    Ok(round) => {
                        print(&round);
                        all.push(round);
                    }
                    Err(error) => {
                        eprintln!("{}: {error}: {:?}", side.name(), std::error::Error::source(&error));
                        std::process::exit(1);
                    }
                }
            }
        }
        conclude(&all);
    }
}

fn measure(side: Side, connections: usize, window: usize, arguments: &Arguments) -> Result<Round, PlanError> {
    let (warm_up, seconds): (f64, f64) = (arguments.get("warm-up", 2.0), arguments.get("seconds", 10.0));
    let until = Until::Time { warm_up: Duration::from_secs_f64(warm_up), measured: Duration::from_secs_f64(seconds) };
    let plan = |address| Plan { address, connections, window, payload: arguments.get("payload", 200), until };
    let own = Usage::of(std::process::id()).unwrap_or_default();
    let load_cpu = || Usage::of(std::process::id()).unwrap_or_default().since(&own).cpu;
    match side {
        Side::Tidegate => {
            let agent = tidegate(arguments.text("store"), connections);
            let before = Usage::of(agent.pid()).unwrap_or_default();
            let commits_before = commits(&agent);
            let measured = plan(agent.address()).run()?;
            let usage = Usage::of(agent.pid()).unwrap_or_default().since(&before);
            let commits = commits(&agent).zip(commits_before).map(|(after, before)| (after - before) as f64);
            let commits_per_second = commits.map(|commits| commits / (warm_up + measured.elapsed.as_secs_f64()));
            Ok(Round { side, measured, usage, load_cpu: load_cpu(), commits_per_second })
        }
        Side::Mosquitto => {
            // The best it can do: no log, no limit that could hold publishes back, and Nagle's delay as it comes by
            // default: without it the rate of 100 connections falls by a third, an acknowledgement being a segment each.
            let broker =
                Mosquitto::start("persistence false\nlog_type none\nmax_inflight_messages 0\nmax_queued_messages 0");
            let pid = broker.pid().unwrap_or_default();
            let before = Usage::of(pid).unwrap_or_default();
            let measured = plan(broker.address()).run()?;
            let usage = Usage::of(pid).unwrap_or_default().since(&before);
            Ok(Round { side, measured, usage, load_cpu: load_cpu(), commits_per_second: None })
        }
    }
}

/// An agent whose Flux refuses every connection and whose store takes the whole run without evicting.
fn tidegate(store: Option<&str>, connections: usize) -> Agent {
    let mut setup = Setup::bare();
    setup.set("forward.flux", "kind", "\"webhook\"");
    let nowhere = ports::free_port();
    setup.set("forward.flux", "url", &format!("\"http://127.0.0.1:{nowhere}/v1/flux/incoming_webhooks/bench/absent\""));
    setup.set("forward.flux.batch", "max_age", "\"270s\"");
    setup.set("forward.backoff", "min", "\"1s\"");
    setup.set("forward.backoff", "max", "\"5m\"");
    setup.set("store", "max_size", "\"16GiB\"");
    setup.set("collect.listener", "max_connections", &(connections + 16).to_string());
    if let Some(folder) = store {
        let path = std::path::Path::new(folder).join(format!("bench-{}-{nowhere}", std::process::id()));
        setup.store_at(&path);
    }
    setup.start()
}

fn commits(agent: &Agent) -> Option<u64> {
    agent.status().pointer("/store/commits").and_then(serde_json::Value::as_u64)
}

fn print(round: &Round) {
    let Round { side, measured, usage, load_cpu, commits_per_second } = round;
    let (per_second, per_commit) = match commits_per_second {
        Some(commits) => (format!("{commits:.0}"), format!("{:.0}", measured.rate() / commits)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    println!(
        "  {:9} {:>9.0} {:>8.2} {:>8.2} {:>9.1} {:>6.2} {:>11.2} {:>11.1} {:>10} {:>13}",
        side.name(),
        measured.rate(),
        measured.latency.quantile(0.5).as_secs_f64() * 1e3,
        measured.latency.quantile(0.99).as_secs_f64() * 1e3,
        usage.peak_kib as f64 / 1024.0,
        usage.cpu.as_secs_f64(),
        load_cpu.as_secs_f64(),
        usage.written as f64 / 1e6,
        per_second,
        per_commit,
    );
}

fn conclude(all: &[Round]) {
    let rate = |side| {
        let rates: Vec<f64> =
            all.iter().filter(|round| round.side == side).map(|round| round.measured.rate()).collect();
        median(rates)
    };
    let (ours, theirs) = (rate(Side::Tidegate), rate(Side::Mosquitto));
    println!("  median: Tidegate {ours:.0}, Mosquitto {theirs:.0}, ratio {:.2}\n", ours / theirs);
}
