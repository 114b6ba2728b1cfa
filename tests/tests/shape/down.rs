//! What comes in: held to its limit and counted.

use super::*;
use tidegate_tests::flux::Answer;

/// Bytes of an answer's body: much longer than its request, and within what the agent reads of one.
const ANSWER: usize = 60_000;

/// A second's and four packets: the burst of a `rate_down` that has none of its own.
fn burst_down(bits_per_second: u64) -> u64 {
    (bits_per_second / 8 + 6_000).min(1 << 20)
}

/// What is to be weighed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Down {
    pub(crate) bits_per_second: u64,
    pub(crate) tls: bool,
    /// The operator's own.
    pub(crate) burst: Option<u64>,
    pub(crate) round_trip: Option<Duration>,
}

/// A run with answers that are long, where only what comes in is limited.
pub(crate) fn weigh_down(down: Down, length: Duration) -> Weighed {
    weigh_down_over(down.round_trip.map_or_else(Pair::make, Pair::make_long), down, length)
}

/// The same over a pair that was made.
pub(crate) fn weigh_down_over(pair: Pair, down: Down, length: Duration) -> Weighed {
    weigh_down_of(begin_down(pair, down), down, length)
}

/// A gateway for such a run, not started yet.
pub(crate) fn begin_down(pair: Pair, down: Down) -> Line {
    let Down { bits_per_second, tls, .. } = down;
    let mut line = Line::over(pair, bits_per_second, tls, 16 << 20);
    let setup = &mut line.agent.setup;
    setup.without("limits").set("limits", "rate_down", &format!("\"{bits_per_second} bit/s\""));
    setup.set("limits", "events_per_month", "\"unlimited\"").set("forward.flux.batch", "max_records", "10");
    if let Some(burst) = down.burst {
        setup.set("limits", "burst", &format!("\"{burst} B\""));
    }
    line.flux.answer_all(Answer::Status { status: 200, headers: Vec::new(), body: "x".repeat(ANSWER) });
    line
}

/// The run itself.
pub(crate) fn weigh_down_of(mut line: Line, down: Down, length: Duration) -> Weighed {
    let Down { bits_per_second, .. } = down;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = line.pair.capture(folder.path());
    line.agent.start();
    line.flux.wait_for_requests(1);
    let end = Instant::now() + length;
    wait::until("the time is over", length + Duration::from_secs(10), || Instant::now() >= end);
    let counts = counts(&line);
    // Seen from the far end, what comes in is what is sent.
    let turned = |packet: Packet| Packet { sent: !packet.sent, ..packet };
    let packets: Vec<Packet> = capture.finish().into_iter().map(turned).collect();
    line.agent.kill();
    let burst = down.burst.unwrap_or_else(|| burst_down(bits_per_second));
    let weighed = Weighed::of(format!("{down:?}"), bits_per_second, burst, &packets, counts);
    println!("{weighed:?}");
    weighed
}
