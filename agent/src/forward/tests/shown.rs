//! What an operator sees of the forwarder: figures, the next attempt, the log.

use super::*;

#[tokio::test]
async fn each_put_aside_is_in_the_log_with_its_lane_and_number() {
    let (log, _guard) = secrets::Log::begin(tracing::Level::WARN);
    let bad: Vec<u64> = (0..25).map(|number| number * 4).collect();
    let refused = bad.clone();
    let flux = flux::Flux::start(move |seen, _| {
        let normal = seen.header("x-tidegate-lane") == Some("normal");
        let bad = normal && seen.seqs().iter().any(|seq| refused.contains(seq));
        status(if bad { 400 } else { 200 })
    })
    .await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..100));
    bench.until_settled(25).await;
    assert_eq!(bench.stop().await, 0);
    let text = log.text();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("records put aside: others can be delivered")).collect();
    assert_eq!(lines.len(), 20, "{text}");
    let has_line = |seq: &u64| lines.iter().any(|line| line.contains(&format!("first={seq} last={seq} records=1 ")));
    let rest: Vec<u64> = bad.into_iter().filter(|seq| !has_line(seq)).collect();
    let (first, last) = (rest[0], rest[rest.len() - 1]);
    let sum = format!("lane=\"normal\" first={first} last={last} records=5");
    assert!(text.lines().any(|line| line.contains("more records put aside") && line.contains(&sum)), "{text}");
}

#[tokio::test]
async fn what_answers_say_of_the_rate_limit_is_handed_on() {
    let limit = |count: &str| vec![("x-soracom-ratelimit-limit", count.to_owned())];
    let replies = [Reply::Status(429, limit("30"), String::new()), Reply::Status(200, limit("60"), String::new())];
    let flux = flux::Flux::scripted(replies).await;
    let bench = Bench::start(webhook(&flux));
    let mut told = bench.handle.rate_limit();
    assert_eq!(*told.borrow(), None);
    bench.publish(1, numbers(0..1));
    let said = told.wait_for(Option::is_some).await.expect("the forwarder lives").expect("a limit");
    assert_eq!(said.per_minute.get(), 30);
    bench.stop().await;
}

/// The wait that is shown, in seconds rounded.
fn wait_s(stats: &Stats) -> Option<u64> {
    stats.verdict.until_ms.map(|until| (until.saturating_sub(crate::clock::now_ms()) + 500) / 1000)
}

fn seconds(seconds: u64) -> DelayRange {
    DelayRange { min: Duration::from_secs(seconds), max: Duration::from_secs(seconds) }
}

#[tokio::test]
async fn the_next_attempt_is_shown_for_waits_of_a_lane_as_for_those_of_the_endpoint() {
    for (code, tries, wait) in [(400, 1, 1000), (413, 1, 1000), (207, 1, 1000), (404, 1, 2000), (500, 1, 1000)] {
        let flux = flux::Flux::start(move |_, _| status(code)).await;
        let bench = Bench::start(Options { backoff: seconds(1000), probe: seconds(2000), ..webhook(&flux) });
        bench.publish(1, numbers(0..1));
        let stats = bench.until("a wait", |stats| stats.requests == tries && stats.verdict.until_ms.is_some()).await;
        assert_eq!(wait_s(&stats), Some(wait), "{code}: {stats:?}");
        assert_eq!(bench.stop().await, 1);
    }
}

#[tokio::test]
async fn the_next_attempt_is_the_soonest_of_all_lanes_and_none_if_nothing_waits() {
    let flux =
        flux::Flux::start(|seen, _| status(if seen.header("x-tidegate-lane") == Some("bulk") { 400 } else { 200 }))
            .await;
    let mut options = Options { backoff: seconds(1000), ..webhook(&flux) };
    let bench = Bench::start(options.clone());
    bench.publish(2, numbers(0..1));
    bench.until("the lane waits", |stats| stats.suspects == 1 && wait_s(stats) == Some(1000)).await;
    options.batch.max_age = Duration::from_secs(500);
    bench.handle.reload(options).expect("good options");
    bench.until("tried again", |stats| stats.requests == 2 && wait_s(stats) == Some(1000)).await;
    bench.publish(1, numbers(0..1));
    bench.until("a batch waits for its age", |stats| wait_s(stats) == Some(500)).await;
    bench.publish(0, numbers(0..1));
    let stats = bench.until("put aside", |stats| stats.put_aside == 1).await;
    assert_eq!((stats.suspects, wait_s(&stats)), (0, Some(500)));
    let (store, _folder) = bench.stop_and_keep().await;
    assert_eq!(store.stats().lanes[1].waiting, 1);
    let flux = flux::Flux::scripted([]).await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..5));
    let stats = bench.until_forwarded(5).await;
    assert_eq!(stats.verdict.until_ms, None, "nothing waits any more");
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn an_answer_that_does_not_come_says_how_long_it_was_waited_for() {
    let flux = flux::Flux::start(|_, _| Reply::Slow(Duration::from_secs(600))).await;
    let answer_timeout = Duration::from_millis(200);
    let bench = Bench::start(Options { answer_timeout, backoff: seconds(1000), ..webhook(&flux) });
    bench.publish(1, numbers(0..5));
    let stats = bench.until("given up", |stats| !stats.verdict.reason.to_string().is_empty()).await;
    let reason = stats.verdict.reason.to_string();
    assert!(reason.contains(" (0.2 s and ") && reason.ends_with(" s for the body's size)"), "{reason}");
    assert_eq!(bench.stop().await, 5);
}

#[tokio::test]
async fn attempts_that_never_reached_flux_are_counted_by_what_they_lacked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let bench = Bench::start(quick(Flux::Unified { url: format!("http://{address}/") }));
    bench.publish(1, numbers(0..5));
    let stats = bench.until("three attempts", |stats| stats.connect_failures >= 3).await;
    assert_eq!((stats.requests, stats.token_refusals), (0, 0));
    assert_eq!(bench.stop().await, 5);

    let flux = flux::Flux::start(|_, _| status(401)).await;
    let bench = Bench::start(api(&flux));
    bench.publish(1, numbers(0..5));
    let stats = bench.until("two attempts", |stats| stats.token_refusals >= 2).await;
    assert_eq!((stats.requests, stats.connect_failures), (0, 0));
    assert_eq!(bench.stop().await, 5);
}
