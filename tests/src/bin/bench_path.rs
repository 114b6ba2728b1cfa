//! Benchmark of the whole path: publishes on one side, delivered records on the other.
//!
//! - Tidegate: devices → listener → flash (every commit synced) → webhook on loopback, which counts the events.
//! - Mosquitto: devices → Mosquitto → its bridge at QoS 1 → a second Mosquitto → a subscriber at QoS 1, which counts
//!   the messages. Neither broker stores or syncs anything.
//!
//! Both in turn, in one run, with the same load. The time runs from the first publish to the last delivery. CPU is
//! user and system time of the gateway process alone: Tidegate, and of the two brokers only the one that bridges
//! (the second one stands for the cloud, as the HTTP endpoint does). Peak memory is that of the same process.
//!
//! `cargo run --release -p tidegate-tests --bin bench-path` after `cargo build --release -p tidegate`
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use tidegate_tests::agent::Setup;
use tidegate_tests::bench::{Arguments, Plan, Side, Sink, Subscriber, Until, Usage, median};
use tidegate_tests::tools::Mosquitto;

const USAGE: &str = "bench-path [--records 200000] [--connections 10] [--window 20] [--rounds 3] [--payload 200]
           [--side tidegate|mosquitto] [--batch-bytes 64KiB] [--batch-records 500] [--batch-age 1s]";

/// CPU is given per so many records.
const PER: f64 = 50_000.0;

/// Delivery stands still this long: the run has failed.
const STUCK_AFTER: Duration = Duration::from_secs(30);

struct Round {
    side: Side,
    records_per_second: f64,
    acknowledged_per_second: f64,
    cpu_per_records: f64,
    usage: Usage,
}

fn main() {
    let names =
        ["records", "connections", "window", "rounds", "payload", "side", "batch-bytes", "batch-records", "batch-age"];
    let arguments = Arguments::read(USAGE, &names);
    println!("side       delivered/s   acked/s  CPU s per 50,000  peak MiB  written MB");
    let mut all = Vec::new();
    for _ in 0..arguments.get("rounds", 3) {
        for side in Side::BOTH {
            if arguments.text("side").is_some_and(|only| !only.eq_ignore_ascii_case(side.name())) {
                continue;
            }
            let round = match side {
                Side::Tidegate => tidegate(&arguments),
                Side::Mosquitto => mosquitto(&arguments),
            };
            println!(
                "{:9} {:>12.0} {:>9.0} {:>17.2} {:>9.1} {:>11.1}",
                side.name(),
                round.records_per_second,
                round.acknowledged_per_second,
                round.cpu_per_records,
                round.usage.peak_kib as f64 / 1024.0,
                round.usage.written as f64 / 1e6
            );
            all.push(round);
        }
    }
    let of =
        |side, figure: fn(&Round) -> f64| median(all.iter().filter(|round| round.side == side).map(figure).collect());
    let (ours, theirs) =
        (of(Side::Tidegate, |round| round.records_per_second), of(Side::Mosquitto, |round| round.records_per_second));
    let (our_cpu, their_cpu) =
        (of(Side::Tidegate, |round| round.cpu_per_records), of(Side::Mosquitto, |round| round.cpu_per_records));
    println!(
        "median: delivered {ours:.0} against {theirs:.0} a second (ratio {:.2}), CPU {our_cpu:.2} against \
         {their_cpu:.2} s (ratio {:.2})",
        ours / theirs,
        our_cpu / their_cpu
    );
}

fn tidegate(arguments: &Arguments) -> Round {
    let sink = Sink::start().expect("a free port for the sink");
    let mut setup = Setup::bare();
    setup.set("forward.flux", "kind", "\"webhook\"");
    setup.set("forward.flux", "url", &format!("\"{}\"", sink.webhook_url()));
    let text = |name, otherwise| arguments.text(name).unwrap_or(otherwise).to_owned();
    setup.set("forward.flux.batch", "max_bytes", &format!("\"{}\"", text("batch-bytes", "64KiB")));
    setup.set("forward.flux.batch", "max_records", &text("batch-records", "500"));
    setup.set("forward.flux.batch", "max_age", &format!("\"{}\"", text("batch-age", "1s")));
    setup.set("store", "max_size", "\"4GiB\"");
    let agent = setup.start();
    run(Side::Tidegate, agent.pid(), agent.address(), arguments, &|| sink.events())
}

fn mosquitto(arguments: &Arguments) -> Round {
    // Without limits: the defaults would drop messages in silence as soon as the queue holds 1000.
    let common =
        "persistence false\nlog_type none\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true";
    let cloud = Mosquitto::start(common);
    let subscriber = Subscriber::start(cloud.address());
    let bridge = format!(
        "{common}\nconnection cloud\naddress 127.0.0.1:{}\ntopic # out 1\nnotifications false\ncleansession true\n\
         bridge_protocol_version mqttv311",
        cloud.address().port()
    );
    let gateway = Mosquitto::start(&bridge);
    let pid = gateway.pid().expect("mosquitto runs");
    run(Side::Mosquitto, pid, gateway.address(), arguments, &|| subscriber.messages())
}

fn run(
    side: Side,
    pid: u32,
    address: std::net::SocketAddr,
    arguments: &Arguments,
    delivered: &dyn Fn() -> u64,
) -> Round {
    let plan = Plan {
        address,
        connections: arguments.get("connections", 10),
        window: arguments.get("window", 20),
        payload: arguments.get("payload", 200),
        until: Until::Acknowledged(arguments.get("records", 200_000)),
    };
    // A bridge has to connect first: a record that arrives shows that the path stands.
    let first = Plan { connections: 1, window: 1, until: Until::Acknowledged(1), ..plan };
    let before_first = Instant::now();
    while delivered() == 0 {
        assert!(before_first.elapsed() < STUCK_AFTER, "{}: no first record was delivered", side.name());
        first.run().expect("a first publish is acknowledged");
        std::thread::sleep(Duration::from_millis(100));
    }
    settle(delivered);

    let (base, before) = (delivered(), Usage::of(pid).expect("the gateway runs"));
    let start = Instant::now();
    let measured = plan.run().unwrap_or_else(|error| panic!("{}: {error}", side.name()));
    let acknowledged_in = start.elapsed();
    let (mut last, mut last_at) = (delivered(), Instant::now());
    while delivered() - base < measured.acknowledged {
        let now = delivered();
        if now > last {
            (last, last_at) = (now, Instant::now());
        }
        assert!(
            last_at.elapsed() < STUCK_AFTER,
            "{}: {} of {} were delivered, then nothing more",
            side.name(),
            now - base,
            measured.acknowledged
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let elapsed = start.elapsed();
    settle(delivered);
    let records = (delivered() - base) as f64;
    let usage = Usage::of(pid).expect("the gateway runs").since(&before);
    Round {
        side,
        records_per_second: measured.acknowledged as f64 / elapsed.as_secs_f64(),
        acknowledged_per_second: measured.acknowledged as f64 / acknowledged_in.as_secs_f64(),
        cpu_per_records: usage.cpu.as_secs_f64() / records * PER,
        usage,
    }
}

/// Waits until nothing more is delivered: what was in flight when the load ended, and its CPU time, belong to the run.
fn settle(delivered: &dyn Fn() -> u64) {
    let (mut last, mut since) = (delivered(), Instant::now());
    while since.elapsed() < Duration::from_millis(1500) {
        std::thread::sleep(Duration::from_millis(10));
        let now = delivered();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
