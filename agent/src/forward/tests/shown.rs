//! What an operator sees of the forwarder: figures, the next attempt, the log.

use super::*;

#[tokio::test]
async fn each_put_aside_is_in_the_log_with_its_lane_and_number() {
    let (log, _guard) = secrets::Log::begin(tracing::Level::WARN);
    let bad: Vec<u64> = (0..25).map(|number| number * 4).collect();
    let refused = bad.clone();
    let flux = flux::Flux::start(move |seen, _| {
        let refuses = seen.seqs().iter().any(|seq| refused.contains(seq));
        status(if refuses { 400 } else { 200 })
    })
    .await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..100));
    bench.until("all settled", |stats| stats.forwarded == 75 && stats.put_aside == 25).await;
    assert_eq!(bench.stop().await, 0);
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("records put aside: Flux takes others")).collect();
    assert_eq!(lines.len(), 20, "{text}");
    let has_line = |seq: &u64| lines.iter().any(|line| line.contains(&format!("first={seq} last={seq} records=1 ")));
    let rest: Vec<u64> = bad.into_iter().filter(|seq| !has_line(seq)).collect();
    let (first, last) = (rest[0], rest[rest.len() - 1]);
    let sum = format!("lane=\"normal\" first={first} last={last} records=5");
    assert!(text.lines().any(|line| line.contains("more records put aside") && line.contains(&sum)), "{text}");
}
