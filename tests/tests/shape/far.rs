//! Far away: what the time that a packet takes leaves of a limit.

use super::down::{Down, weigh_down};
use super::*;

/// A slow radio link.
const SLOW: Duration = Duration::from_millis(300);

/// A satellite in a high orbit.
const SATELLITE: Duration = Duration::from_millis(600);

/// What comes in is bound by a window, which a round trip could leave unused.
pub(crate) fn answers_from_afar(bits_per_second: u64) {
    let down = Down { bits_per_second, tls: false, burst: None, round_trip: Some(SLOW) };
    let weighed = weigh_down(down, Duration::from_secs(22));
    // After each answer of 60 kB the next request takes a round trip, in which nothing waits: 2 % at 32 kbit/s, 7 % at
    // 128 kbit/s, of which the burst makes up a part.
    assert!(weighed.average >= 0.95, "{weighed:?}");
    let faults: Vec<_> = weighed.faults().into_iter().filter(|fault| !fault.contains("while a backlog")).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// One request at a time over a long way leaves a fast line idle while it waits for the answer. `status` says so, and
/// larger bodies fill it; what is sent after each pause still keeps to the limit.
pub(crate) fn one_request_at_a_time(max_bytes: u64, expected: std::ops::Range<f64>) {
    const RATE: u64 = 8_000_000;
    let mut line = Line::over(Pair::make_long(SATELLITE), RATE, false, 24 << 20);
    let max_bytes_said = format!("\"{max_bytes} B\"");
    line.agent.setup.set("forward.flux.batch", "max_bytes", &max_bytes_said);
    line.agent.setup.set("forward.flux.batch", "max_records", "10000");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = line.pair.capture(folder.path());
    line.agent.start();
    line.flux.wait_for_requests(3);
    let end = Instant::now() + Duration::from_secs(12);
    wait::until("the time is over", wait::BOUND, || Instant::now() >= end);
    let counts = counts(&line);
    let said = line.agent.status()["line"].clone();
    let weighed = Weighed::of(format!("{max_bytes} B a request"), RATE, burst(RATE), &capture.finish(), counts);
    println!("{weighed:?} {said}");
    assert!(line.agent.waiting() > 1000, "the backlog is gone");
    line.agent.kill();
    assert!(expected.contains(&weighed.average), "{weighed:?}");
    let at_most = said["one_at_a_time"].as_f64().expect("status says what one request at a time gives");
    assert!(weighed.average * RATE as f64 / 8.0 <= at_most * 1.05, "{weighed:?}, said {at_most}");
    let round_trip = said["round_trip_ms"].as_u64().expect("the system tells the round trip");
    assert!((590..1_200).contains(&round_trip), "{round_trip} ms");
    assert!(weighed.windows.iter().all(|(_, share)| *share <= 1.01), "{weighed:?}");
}

#[test]
fn over_a_long_way_answers_fill_their_limit_and_large_bodies_more_of_a_fast_line_than_small_ones() {
    std::thread::scope(|scope| {
        let answers: Vec<_> =
            [32_000, 128_000].into_iter().map(|rate| scope.spawn(move || answers_from_afar(rate))).collect();
        // Measured: 0.07 and 0.60. If every body left at the rate at once, it would be 0.10 and 0.64.
        let small = scope.spawn(|| one_request_at_a_time(64 << 10, 0.05..0.12));
        let large = scope.spawn(|| one_request_at_a_time(1 << 20, 0.45..0.75));
        for run in answers.into_iter().chain([small, large]) {
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
