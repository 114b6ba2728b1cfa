//! What is limited: the budgets as the forwarder keeps them, with a clock that is right.

use std::num::NonZeroU64;

use tidegate_protocol::terms::{Bound, Limit, Quota, Source, Terms};

use super::*;
use crate::clock::{Clock, SystemClock};

/// 2026-12-01T00:00:00Z.
pub(super) const DECEMBER: u64 = 1_796_083_200_000;

/// A right clock that was put somewhere, and goes.
#[derive(Debug)]
struct Going {
    clock: SystemClock,
    ahead_ms: u64,
}

impl Clock for Going {
    fn now(&self) -> Stamp {
        let uptime_ms = self.clock.now().uptime_ms;
        Stamp { wall_ms: uptime_ms + self.ahead_ms, uptime_ms, boot: 1, trusted: true }
    }
}

/// A store whose clock says `wall_ms` now.
pub(super) fn open_at(wall_ms: u64) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let clock = SystemClock::new();
    let ahead_ms = wall_ms - clock.now().uptime_ms;
    let options = store::Options { clock: Arc::new(Going { clock, ahead_ms }), ..store_options(&folder) };
    (Store::open(options).expect("a store can be opened").0, folder)
}

pub(super) fn limits(bounds: impl IntoIterator<Item = Bound>) -> Limits {
    let source = || Source::Operator { file: "test".into(), line: 1 };
    Limits::merge([&Terms::new(bounds.into_iter().map(|bound| Limit::new(bound, source())))])
}

fn bytes(bound: fn(NonZeroU64) -> Bound, amount: u64) -> Bound {
    bound(NonZeroU64::new(amount).expect("some"))
}

fn in_utc(options: Options) -> Options {
    Options { calendar: crate::shape::budget::Calendar::Utc, ..options }
}

#[tokio::test]
async fn when_the_month_turns_the_first_request_goes_at_once_whatever_was_told_before() {
    // Also where the plan is said to have no quota.
    for quota in [Quota::Unlimited, Quota::Events(NonZeroU64::new(10_000).expect("some"))] {
        let flux = flux::Flux::scripted([status(402)]).await;
        let (store, folder) = open_at(DECEMBER - 2_000);
        let hour = DelayRange { min: Duration::from_secs(3600), max: Duration::from_secs(3600) };
        let options = in_utc(Options { probe: hour, backoff: hour, ..webhook(&flux) });
        let bench = Bench::limited(store, folder, options, limits([Bound::EventsPerMonth(quota)]));
        bench.publish(1, numbers(0..5));
        bench.until("told", |stats| stats.verdict.word == "quota" && stats.verdict.until_ms.is_some()).await;
        bench.until_forwarded(5).await;
        let seen = flux.seen();
        let wait = seen[1].at - seen[0].at;
        assert!(seen.len() == 2 && wait < Duration::from_secs(4), "{} requests, {wait:?}", seen.len());
        assert_eq!(bench.stop().await, 0);
    }
}

#[tokio::test]
async fn after_a_restart_the_one_request_of_a_minute_is_for_the_lane_that_goes_first() {
    let flux = flux::Flux::start(|_, _| status(503)).await;
    let bench = Bench::start(webhook(&flux));
    // More than a batch: what is announced ahead may be sent at once after a restart.
    bench.publish(1, numbers(0..1_500));
    bench.until("it was tried", |stats| stats.requests > 0).await;
    let (store, folder) = bench.stop_and_keep().await;
    publish(&store, 0, numbers(0..3));
    let start = Instant::now();
    while store.stats().lanes[0].waiting < 3 {
        assert!(start.elapsed() < BOUND, "the alarms are not stored");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let flux = flux::Flux::scripted([]).await;
    let once = Bound::EventsPerMinute(NonZeroU64::new(1).expect("some"));
    let bench = Bench::limited(store, folder, webhook(&flux), limits([once]));
    bench.until_forwarded(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lanes: Vec<_> = flux.seen().iter().map(|seen| seen.header("x-tidegate-lane").map(str::to_owned)).collect();
    assert_eq!(lanes, [Some("critical".to_owned())]);
    bench.stop().await;
}

#[tokio::test]
async fn with_one_request_a_minute_a_lane_that_goes_first_and_has_nothing_holds_up_nobody() {
    let flux = flux::Flux::scripted([]).await;
    let (store, folder) = open_store();
    let once = Bound::EventsPerMinute(NonZeroU64::new(1).expect("some"));
    let bench = Bench::limited(store, folder, webhook(&flux), limits([once]));
    let start = Instant::now();
    bench.publish(1, numbers(0..3));
    bench.until_forwarded(3).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn a_told_quota_rests_and_a_reload_asks_at_once() {
    let flux = flux::Flux::scripted([status(402), status(402)]).await;
    let (store, folder) = open_at(DECEMBER + 86_400_000);
    let options = in_utc(webhook(&flux));
    let bench = Bench::limited(store, folder, options.clone(), Limits::default());
    bench.publish(1, numbers(0..5));
    bench.until("it is told", |stats| stats.verdict.word == "quota").await;
    // More comes in, and probes would come every 50 to 200 ms.
    bench.publish(0, numbers(0..1));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(flux.seen().len(), 1);
    bench.handle.reload(options.clone()).expect("good options");
    bench.until("it asked again", |stats| stats.requests == 2).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(flux.seen().len(), 2);
    bench.handle.reload(options).expect("good options");
    bench.until_forwarded(6).await;
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn a_record_dearer_than_a_whole_limit_is_put_aside_with_its_reason_and_those_behind_it_go() {
    for bound in [Bound::BytesPerDay, Bound::BytesPerHour] {
        let flux = flux::Flux::scripted([]).await;
        let (store, folder) = open_at(DECEMBER + 86_400_000);
        let bench = Bench::limited(store, folder, in_utc(webhook(&flux)), limits([bytes(bound, 300_000)]));
        bench.publish(1, numbers(0..3));
        bench.publish(1, [format!("\"{}\"", "x".repeat(280_000))]);
        bench.publish(1, numbers(4..7));
        // With the record that tells of it.
        let stats = bench.until_settled(1).await;
        assert!(stats.verdict.word == "accepted", "{:?}", stats.verdict);
        assert_eq!(delivered(&flux), [0, 1, 2, 4, 5, 6]);
        let aside = bench.store.put_aside(10).expect("it can be read");
        let kind = bound(NonZeroU64::MIN).kind().key();
        assert!(aside.len() == 1 && aside[0].seq == 3, "{aside:?}");
        assert!(aside[0].reason.contains(kind) && aside[0].reason.contains("raise the limit"), "{}", aside[0].reason);
    }
}

#[tokio::test]
async fn a_limit_too_small_for_any_request_holds_and_says_so_and_puts_nothing_aside() {
    let flux = flux::Flux::scripted([]).await;
    let (store, folder) = open_at(DECEMBER);
    let bench = Bench::limited(store, folder, in_utc(webhook(&flux)), limits([bytes(Bound::BytesPerDay, 5_000)]));
    bench.publish(1, numbers(0..3));
    bench.publish(0, numbers(0..1));
    let reasons = || {
        let held = bench.handle.budgets(&bench.store.stats().lanes).held;
        held.iter().map(|held| held.reason.message().to_string()).collect::<Vec<_>>()
    };
    bench.until("both are held", |_| reasons().len() == 2).await;
    assert!(reasons().iter().all(|reason| reason == "the limit is less than one request takes"), "{:?}", reasons());
    assert_eq!(bench.handle.stats().put_aside, 0);
    assert_eq!(bench.stop().await, 4);
}

/// Answers, refuses and cuts as no estimate foresees: a budget of bytes is kept by the wire's own count.
#[tokio::test]
async fn a_budget_of_bytes_is_never_passed_by_what_nobody_expected() {
    let long = || Reply::Status(200, Vec::new(), "x".repeat(50_000));
    let flux = flux::Flux::start(move |_, number| match number % 4 {
        0 => long(),
        1 => Reply::Cut,
        2 => status(503),
        _ => Reply::Status(200, vec![("x-long", "y".repeat(10_000))], String::new()),
    })
    .await;
    let (store, folder) = open_at(DECEMBER + 86_400_000);
    let amount = 400_000;
    let bench = Bench::limited(store, folder, in_utc(webhook(&flux)), limits([bytes(Bound::BytesPerDay, amount)]));
    for _ in 0..40 {
        bench.publish(1, [format!("\"{}\"", "x".repeat(20_000))]);
        bench.publish(0, [format!("\"{}\"", "x".repeat(20_000))]);
    }
    let used = || bench.handle.wire.counts().sent + bench.handle.wire.counts().received;
    let held = || bench.handle.budgets(&bench.store.stats().lanes).held;
    bench
        .until("nothing more may leave", |_| {
            assert!(used() <= amount, "{}", used());
            held().len() == 2 && held().iter().all(|held| held.until.is_some())
        })
        .await;
    assert!(used() > amount / 2, "{}", used());
    bench.publish(1, numbers(0..1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(used() <= amount, "{}", used());
    bench.stop().await;
}
