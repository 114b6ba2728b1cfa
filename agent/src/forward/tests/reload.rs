//! What a reload changes while a request is under way.

use tokio::sync::Notify;

use super::*;

/// Delays so long that a test which waits for one fails.
fn patient(flux: &flux::Flux) -> Options {
    let hour = DelayRange { min: Duration::from_secs(3600), max: Duration::from_secs(3600) };
    Options { backoff: hour, probe: hour, ..webhook(flux) }
}

/// A forwarder whose first request, of five records, is answered so when `Notify` says so; all others with 200.
async fn under_way(code: u16, headers: Vec<(&'static str, String)>) -> (flux::Flux, Bench, Arc<Notify>) {
    let told = Arc::new(Notify::new());
    let flux = flux::Flux::scripted([Reply::When(told.clone(), code, headers)]).await;
    let bench = Bench::start(patient(&flux));
    bench.publish(1, numbers(0..5));
    bench.until("the request is there", |_| !flux.seen().is_empty()).await;
    (flux, bench, told)
}

#[tokio::test]
async fn an_answer_to_a_request_from_before_it_holds_nothing_up() {
    for code in [207, 301, 400, 401, 402, 403, 404, 410, 422, 500, 503] {
        let (flux, bench, told) = under_way(code, vec![]).await;
        bench.handle.reload(patient(&flux)).expect("good options");
        told.notify_one();
        bench.until_forwarded(5).await;
        assert_eq!(bench.stop().await, 0, "{code}");
        assert_eq!(flux.seen()[0].status, code);
    }
}

#[tokio::test]
async fn an_answer_to_the_next_request_counts_again() {
    let told = Arc::new(Notify::new());
    let flux = flux::Flux::scripted([Reply::When(told.clone(), 404, vec![]), status(403)]).await;
    let bench = Bench::start(patient(&flux));
    bench.publish(1, numbers(0..5));
    bench.until("the request is there", |_| !flux.seen().is_empty()).await;
    bench.handle.reload(patient(&flux)).expect("good options");
    told.notify_one();
    let stats = bench.until("the second was refused", |stats| stats.requests == 2).await;
    assert!(stats.verdict.until_ms.is_some(), "{:?}", stats.verdict);
    assert_eq!(bench.stop().await, 5);
}

#[tokio::test]
async fn a_time_that_the_same_endpoint_names_is_kept_to_whatever_else_changed() {
    for answer_timeout in [5, 6] {
        let (flux, bench, told) = under_way(429, vec![("retry-after", "3000".into())]).await;
        let answer_timeout = Duration::from_secs(answer_timeout);
        bench.handle.reload(Options { answer_timeout, ..patient(&flux) }).expect("good options");
        told.notify_one();
        let stats = bench.until("throttled", |stats| stats.verdict.word == "throttled").await;
        assert!(stats.verdict.until_ms.is_some(), "{:?}", stats.verdict);
        assert_eq!(bench.stop().await, 5);
    }
}

#[tokio::test]
async fn what_another_endpoint_said_is_not_held_against_the_new_one() {
    for code in [200, 400, 403, 413, 429] {
        let (_old, bench, told) = under_way(code, vec![("retry-after", "3000".into())]).await;
        let flux = flux::Flux::scripted([status(403)]).await;
        bench.handle.reload(patient(&flux)).expect("good options");
        told.notify_one();
        bench.publish(1, numbers(5..6));
        let stats = bench.until("the new one was asked", |_| !flux.seen().is_empty()).await;
        assert_ne!(stats.verdict.word, "accepted", "that was the old one");
        // It never delivered anything here, so this is no suspension.
        let stats = bench.until("refused", |stats| stats.verdict.reason.to_string().contains("403")).await;
        assert_eq!(stats.verdict.word, "misconfigured", "after {code}");
        // What was published last may not be committed yet.
        let waiting = || bench.store.stats().lanes.iter().map(|lane| lane.waiting).sum::<u64>();
        let kept = if code == 200 { 1 } else { 6 };
        bench.until("nothing is lost", |_| waiting() == kept).await;
        assert_eq!(bench.stop().await, kept);
    }
}

#[tokio::test]
async fn nothing_is_begun_in_the_last_moments_of_an_identity_and_all_goes_under_the_next() {
    const UNTIL_MS: u64 = 1_796_050_800_000;
    let stamp = |before_ms, trusted| Stamp { wall_ms: UNTIL_MS - before_ms, uptime_ms: 60_000, boot: 7, trusted };
    let (folder, clock) =
        (tempfile::tempdir().expect("a folder"), Arc::new(crate::clock::SetClock::at(stamp(0, false))));
    let options = store::Options { clock: clock.clone(), ..store_options(&folder) };
    let store = Store::open(options).expect("a store can be opened").0;
    let (old, new) = (flux::Flux::scripted([]).await, flux::Flux::scripted([]).await);
    let bench = Bench::on(store, folder, Options { until_ms: Some(UNTIL_MS), ..webhook(&old) });
    bench.publish(1, numbers(0..1));
    bench.until_forwarded(1).await;
    clock.set(stamp(5_000, true));
    bench.publish(1, numbers(1..2));
    bench.until_forwarded(2).await;
    clock.set(stamp(1_500, true));
    bench.publish(1, numbers(2..5));
    // Only time can tell that nothing is sent.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((old.seen().len(), bench.handle.stats().forwarded), (2, 2), "an untrusted clock ends nothing");
    bench.handle.reload(webhook(&new)).expect("good options");
    bench.until_forwarded(5).await;
    assert_eq!((old.seen().len(), bench.stop().await), (2, 0));
}

#[tokio::test]
async fn reloads_over_and_over_press_no_endpoint_that_refuses_and_one_that_changes_something_tries_at_once() {
    for code in [404, 400, 500] {
        let flux = flux::Flux::start(move |_, _| status(code)).await;
        let bench = Bench::start(patient(&flux));
        bench.publish(1, numbers(0..1));
        bench
            .until("it was refused", |stats| stats.requests >= 1 && stats.verdict.reason.to_string().contains("HTTP"))
            .await;
        let requests = || flux.seen().len();
        // An hour is what each pace waits by itself. (A body that is refused is cut, and its part tried at once.)
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = requests();
        for _ in 0..10 {
            bench.handle.reload(patient(&flux)).expect("good options");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(requests(), before + 1, "{code}: the first of them");
        let changed = Options { answer_timeout: Duration::from_secs(7), ..patient(&flux) };
        bench.handle.reload(changed).expect("good options");
        bench.until("tried at once", |_| requests() == before + 2).await;
        bench.stop().await;
    }
}
