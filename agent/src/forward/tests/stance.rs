//! What the stance lets leave, and what is told of exchanges.

use super::budget::{DECEMBER, limits, open_at};
use super::*;
use crate::shape::budget::Calendar;
use std::num::NonZeroU64;
use tidegate_protocol::stance::Telemetry::{self, All, First, Nothing};
use tidegate_protocol::terms::{Bound, Quota, Windows};
use tokio::sync::mpsc;

/// A forwarder under a stance, and what it tells.
fn under(telemetry: Telemetry, options: Options) -> (Bench, watch::Sender<Go>, mpsc::Receiver<Told>) {
    within(open_store(), Limits::default(), telemetry, options)
}

/// The same on this store, and within limits.
fn within(
    (store, folder): (Store, tempfile::TempDir),
    limits: Limits,
    telemetry: Telemetry,
    options: Options,
) -> (Bench, watch::Sender<Go>, mpsc::Receiver<Told>) {
    let (go, told_go) = watch::channel(Go { telemetry, probe: 0, ..Go::default() });
    let (teller, told) = mpsc::channel(TOLD_WAITING);
    let (forwarder, handle) =
        Forwarder::new(options, store.clone(), Wire::new(wire::Options::default())).expect("the options are good");
    let forwarder = forwarder.limited_by(watch::channel(Arc::new(limits)).1);
    let stop = CancellationToken::new();
    let task = tokio::spawn(forwarder.let_by(told_go, 0).telling(teller).run(stop.clone()));
    (Bench { store, handle, stop, task, folder }, go, told)
}

/// The lanes of what Flux has seen.
fn lanes_of(flux: &flux::Flux) -> Vec<String> {
    flux.seen().iter().map(|seen| seen.header("x-tidegate-lane").unwrap_or_default().to_owned()).collect()
}

/// What is told next, which is waited for with a limit.
async fn next(told: &mut mpsc::Receiver<Told>) -> Told {
    tokio::time::timeout(BOUND, told.recv()).await.expect("something is told").expect("the forwarder lives")
}

/// Long enough for a forwarder whose batches close after 40 ms to do what it may not.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn while_nothing_may_leave_nothing_does_and_then_all_of_it_in_order() {
    let flux = flux::Flux::scripted([]).await;
    let (bench, go, _told) = under(Nothing, webhook(&flux));
    bench.publish(1, numbers(0..700));
    bench.publish(0, numbers(0..3));
    a_while().await;
    assert_eq!((flux.seen().len(), flux.connections()), (0, 0), "not even a connection");
    assert_eq!(bench.handle.stats().verdict.until_ms, None);
    go.send_replace(Go { telemetry: All, probe: 0, ..Go::default() });
    bench.until_forwarded(703).await;
    let normal: Vec<flux::Seen> =
        flux.accepted().into_iter().filter(|seen| seen.header("x-tidegate-lane") == Some("normal")).collect();
    assert_eq!(numbers_of(&normal), (0..700).collect::<Vec<_>>());
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn under_yield_only_lanes_that_go_first_leave() {
    let flux = flux::Flux::scripted([]).await;
    let (bench, go, _told) = under(First, webhook(&flux));
    bench.publish(1, numbers(0..10));
    bench.publish(0, numbers(0..3));
    bench.until_forwarded(3).await;
    a_while().await;
    assert!(flux.seen().iter().all(|seen| seen.header("x-tidegate-lane") == Some("critical")));
    go.send_replace(Go { telemetry: All, probe: 0, ..Go::default() });
    bench.until_forwarded(13).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_stop_lets_the_request_in_flight_end_and_ends_the_connection_in_order() {
    let flux = flux::Flux::scripted([Reply::Slow(Duration::from_millis(200))]).await;
    let (bench, go, _told) = under(All, webhook(&flux));
    bench.publish(0, numbers(0..3));
    let start = Instant::now();
    while flux.seen().is_empty() {
        assert!(start.elapsed() < BOUND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    go.send_replace(Go { telemetry: Nothing, probe: 0, ..Go::default() });
    bench.publish(0, numbers(3..6));
    bench.until_forwarded(3).await;
    a_while().await;
    assert_eq!(numbers_of(&flux.seen()), [0, 1, 2]);
    go.send_replace(Go { telemetry: All, probe: 0, ..Go::default() });
    bench.until_forwarded(6).await;
    assert_eq!(flux.connections(), 2, "the first was ended");
    bench.stop().await;
}

#[tokio::test]
async fn a_probe_is_the_oldest_record_alone_and_each_is_sent_once() {
    let flux = flux::Flux::scripted([status(403), status(403)]).await;
    let (bench, go, mut told) = under(Nothing, webhook(&flux));
    bench.publish(1, numbers(0..500));
    a_while().await;
    bench.publish(0, numbers(0..5));
    for probe in 1..=3 {
        go.send_replace(Go { telemetry: Nothing, probe, ..Go::default() });
        let said = told.recv().await.expect("the forwarder lives");
        let verdict = if probe < 3 { Verdict::Misconfigured } else { Verdict::Accepted };
        assert_eq!((said.verdict, said.status, said.probe), (verdict, Some(if probe < 3 { 403 } else { 200 }), true));
        a_while().await;
        let seen = flux.seen();
        assert_eq!(seen.len() as u64, probe, "one request for each probe");
        let last = &seen[seen.len() - 1];
        assert_eq!((last.header("x-tidegate-lane"), last.seqs()), (Some("normal"), vec![0]));
    }
    go.send_replace(Go { telemetry: All, probe: 3, ..Go::default() });
    bench.until_forwarded(505).await;
    assert_eq!(bench.stop().await, 0);
    let normal: Vec<flux::Seen> =
        flux.accepted().into_iter().filter(|seen| seen.header("x-tidegate-lane") == Some("normal")).collect();
    assert_eq!(numbers_of(&normal), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn in_an_emergency_the_probe_is_a_record_of_a_lane_that_goes_first() {
    let flux = flux::Flux::scripted([]).await;
    let (bench, go, _told) = under(Nothing, webhook(&flux));
    bench.publish(1, numbers(0..2));
    go.send_replace(Go { telemetry: Nothing, probe: 1, probe_first: true, ..Go::default() });
    a_while().await;
    assert!(flux.seen().is_empty(), "no other lane's may leave");
    bench.publish(0, numbers(0..2));
    bench.until_forwarded(1).await;
    go.send_replace(Go { telemetry: Nothing, probe: 2, ..Go::default() });
    bench.until_forwarded(2).await;
    let lanes = flux.seen();
    let lanes: Vec<_> = lanes.iter().map(|seen| seen.header("x-tidegate-lane").map(str::to_owned)).collect();
    assert_eq!(lanes, [Some("critical".to_owned()), Some("normal".to_owned())], "it is over: the oldest again");
    assert_eq!(bench.stop().await, 2);
}

#[tokio::test]
async fn a_probe_waits_for_a_record_if_there_is_none() {
    let flux = flux::Flux::scripted([]).await;
    let (bench, go, _told) = under(Nothing, webhook(&flux));
    go.send_replace(Go { telemetry: Nothing, probe: 1, ..Go::default() });
    a_while().await;
    assert!(flux.seen().is_empty());
    bench.publish(2, numbers(0..2));
    bench.until_forwarded(1).await;
    a_while().await;
    assert_eq!(flux.seen().len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn what_waits_for_its_window_keeps_no_probe_of_another_lane_shut() {
    // Closed at midnight, and not known to be anything without a clock.
    for clock_is_right in [true, false] {
        let windows = Bound::Windows(Windows::parse(["03:00-03:01"]).expect("a window"));
        let flux = flux::Flux::scripted([]).await;
        let store = if clock_is_right { open_at(DECEMBER) } else { open_store() };
        let (bench, go, mut told) = within(store, limits([windows]), Nothing, webhook(&flux));
        bench.publish(2, numbers(0..1));
        go.send_replace(Go { telemetry: Nothing, probe: 1, ..Go::default() });
        a_while().await;
        assert_eq!(flux.seen().len(), 0, "all that is stored waits for a window");
        let waits = bench.handle.probe_in_ms(&bench.store.stats().lanes);
        assert_eq!(waits.is_some_and(|ms| ms > 10_000_000), clock_is_right, "{waits:?}");
        bench.publish(1, numbers(0..5));
        let said = next(&mut told).await;
        assert_eq!((said.verdict, said.probe), (Verdict::Accepted, true));
        assert_eq!(bench.handle.probe_in_ms(&bench.store.stats().lanes), Some(0));
        a_while().await;
        assert_eq!((lanes_of(&flux), flux.seen()[0].seqs()), (vec!["normal".to_owned()], vec![0]));
        // Older ones that may leave come before it.
        bench.publish(0, numbers(0..5));
        a_while().await;
        go.send_replace(Go { telemetry: Nothing, probe: 2, ..Go::default() });
        next(&mut told).await;
        a_while().await;
        assert_eq!((lanes_of(&flux), flux.seen()[1].seqs()), (vec!["normal".to_owned(); 2], vec![1]));
        assert_eq!(bench.stop().await, 9);
    }
}

#[tokio::test]
async fn with_the_month_of_other_lanes_spent_a_record_of_the_reserve_is_the_probe() {
    let flux = flux::Flux::scripted([]).await;
    let month = Bound::EventsPerMonth(Quota::Events(NonZeroU64::new(20).expect("some")));
    let (bench, go, mut told) =
        within(open_at(DECEMBER), limits([month]), All, Options { calendar: Calendar::Utc, ..webhook(&flux) });
    for number in 0..19 {
        bench.publish(1, numbers(number..number + 1));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sent = flux.seen().len() as u64;
    assert!((5..19).contains(&sent), "{sent} before the pace holds the lane");
    go.send_replace(Go { telemetry: Nothing, probe: 0, ..Go::default() });
    bench.publish(0, numbers(0..2));
    go.send_replace(Go { telemetry: Nothing, probe: 1, ..Go::default() });
    while !next(&mut told).await.probe {}
    let lanes = lanes_of(&flux);
    assert_eq!((lanes.len() as u64, lanes.last().map(String::as_str)), (sent + 1, Some("critical")));
    bench.stop().await;
}

#[tokio::test]
async fn a_probe_goes_at_once_however_long_the_endpoint_is_backed_off() {
    let flux = flux::Flux::scripted([status(403)]).await;
    let day = Duration::from_secs(86_400);
    let (bench, go, mut told) = under(All, Options { probe: DelayRange { min: day, max: day }, ..webhook(&flux) });
    bench.publish(1, numbers(0..50));
    assert_eq!(told.recv().await.expect("it lives").status, Some(403));
    go.send_replace(Go { telemetry: Nothing, probe: 0, ..Go::default() });
    a_while().await;
    assert_eq!(flux.seen().len(), 1);
    go.send_replace(Go { telemetry: Nothing, probe: 1, ..Go::default() });
    let said = told.recv().await.expect("it lives");
    assert_eq!((said.verdict, said.probe), (Verdict::Accepted, true));
    go.send_replace(Go { telemetry: All, probe: 1, ..Go::default() });
    bench.until_forwarded(50).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_opens_again_does_not_wait_for_the_back_off_of_before() {
    let flux = flux::Flux::scripted([status(500)]).await;
    let day = Duration::from_secs(86_400);
    let (bench, go, mut told) = under(All, Options { backoff: DelayRange { min: day, max: day }, ..webhook(&flux) });
    bench.publish(1, numbers(0..50));
    assert_eq!(told.recv().await.expect("it lives").status, Some(500));
    go.send_replace(Go { telemetry: Nothing, probe: 0, ..Go::default() });
    a_while().await;
    go.send_replace(Go { telemetry: All, probe: 0, ..Go::default() });
    bench.until_forwarded(50).await;
    bench.stop().await;
}

#[tokio::test]
async fn before_an_announced_stop_what_was_gathered_leaves_though_it_is_not_due() {
    let flux = flux::Flux::scripted([]).await;
    let mut options = webhook(&flux);
    options.batch.max_age = Duration::from_secs(3600);
    let (bench, go, _told) = under(All, options);
    bench.publish(1, numbers(0..5));
    a_while().await;
    assert!(flux.seen().is_empty(), "it gathers");
    // The first call is a second away.
    let stop_ms = Some(crate::clock::now_ms() + 61_000);
    go.send_replace(Go { stop_ms, ..Go::default() });
    bench.publish(1, numbers(5..6));
    bench.until_forwarded(5).await;
    a_while().await;
    bench.publish(1, numbers(6..7));
    a_while().await;
    assert!(flux.seen().len() <= 2, "what comes after the call waits for the next");
    bench.stop().await;
}
