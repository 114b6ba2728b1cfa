//! The forwarder between the store and a Flux on loopback.

mod bench;
mod budget;
mod bytes;
mod flux;
mod order;
mod reload;
mod secrets;
mod shown;
mod stance;
mod storm;

use std::time::{Duration, Instant};

use super::*;
use crate::clock::Stamp;
use crate::shape::wire;
use crate::store::{self, LaneId, NewRecord, Submission};
pub(super) use bench::open_store;
use bench::{BOUND, Bench, api, delivered, numbers, numbers_of, open_in, publish, quick, store_options, webhook};
use flux::{Reply, status};

#[tokio::test]
async fn a_webhook_gets_batches_in_order_on_one_connection_and_the_store_is_emptied() {
    let flux = flux::Flux::scripted([]).await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..1200));
    let stats = bench.until_forwarded(1200).await;
    assert_eq!(stats.verdict.word, "accepted");
    assert_eq!(stats.batches, flux.seen().len() as u64);
    assert!(stats.bytes_sent > 1200 * 100 && stats.bytes_received > 0);
    assert_eq!(bench.stop().await, 0);
    assert_eq!(delivered(&flux), (0..1200).collect::<Vec<_>>());
    assert_eq!(flux.connections(), 1);
    let first = &flux.seen()[0];
    assert_eq!(first.path, "/v1/flux/incoming_webhooks/wh-0123456789/s3cr3t-s3cr3t?x=tail-s3cr3t");
    assert_eq!(first.header("host"), Some(flux.address.to_string().as_str()));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("user-agent"), Some(concat!("tidegate/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(first.header("x-tidegate-gateway"), Some("gw-1"));
    assert_eq!(first.header("x-tidegate-lane"), Some("normal"));
    assert_eq!(first.header("x-tidegate-seq"), Some(format!("0-{}", first.seqs().len() - 1).as_str()));
    assert!(first.body.len() <= 64 * 1024 && !first.replayed());
    assert_eq!(first.events()[7]["payload"]["n"], 7);
}

#[tokio::test]
async fn a_batch_closes_by_age_and_an_immediate_lane_does_not_wait() {
    let flux = flux::Flux::scripted([]).await;
    let mut options = webhook(&flux);
    options.batch.max_age = Duration::from_secs(3);
    let bench = Bench::start(options);
    let start = Instant::now();
    bench.publish(1, numbers(0..3));
    bench.publish(0, numbers(0..2));
    bench.until_forwarded(5).await;
    let seen = flux.seen();
    assert_eq!(seen[0].header("x-tidegate-lane"), Some("critical"));
    assert!(seen[0].at - start < Duration::from_millis(2500), "critical waited");
    assert_eq!(seen.last().expect("two came").header("x-tidegate-lane"), Some("normal"));
    assert_eq!(seen.last().expect("two came").seqs(), [0, 1, 2]);
    assert!(start.elapsed() >= Duration::from_millis(2900), "normal did not wait for its age");
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn single_layout_and_one_record_batches_carry_one_event_a_request() {
    for (layout, max_records) in [(Layout::Single, 500), (Layout::Array, 1)] {
        let flux = flux::Flux::scripted([]).await;
        let mut options = webhook(&flux);
        options.batch.layout = layout;
        options.batch.max_records = max_records;
        let bench = Bench::start(options);
        bench.publish(1, numbers(0..20));
        bench.until_forwarded(20).await;
        assert_eq!(bench.stop().await, 0);
        assert_eq!(flux.seen().len(), 20);
        assert!(flux.seen().iter().all(|seen| seen.body.starts_with(b"[") == (layout == Layout::Array)));
        assert_eq!(delivered(&flux), (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_unified_endpoint_is_posted_to_and_its_replies_are_understood() {
    let ok = r#"{"statusCode":200,"body":{"result":"ok","detail":{}}}"#.to_owned();
    let ng = r#"{"statusCode":200,"body":{"result":"ng","detail":{}}}"#.to_owned();
    let flux = flux::Flux::scripted([
        Reply::Status(207, vec![], r#"{"result":"ng"}"#.into()),
        Reply::Status(200, vec![], ng),
        Reply::Status(200, vec![], ok),
    ])
    .await;
    let bench = Bench::start(quick(Flux::Unified { url: format!("http://{}", flux.address) }));
    bench.publish(1, numbers(0..5));
    bench.until_forwarded(5).await;
    assert_eq!(bench.stop().await, 0);
    let seen = flux.seen();
    assert_eq!(seen.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["/"; 3]);
    assert_eq!(seen.iter().map(flux::Seen::replayed).collect::<Vec<_>>(), [false, true, true]);
}

#[tokio::test]
async fn a_batch_that_is_never_taken_is_put_aside_once_another_is() {
    let flux = flux::Flux::start(|seen, _| status(if seen.seqs().contains(&3) { 207 } else { 200 })).await;
    let mut options = webhook(&flux);
    options.batch.max_records = 10;
    let bench = Bench::start(options);
    bench.publish(1, numbers(0..10));
    let stats = bench.until("the batch waits alone", |stats| stats.requests >= 4).await;
    assert_eq!((stats.put_aside, stats.forwarded, stats.suspects), (0, 0, 1));
    bench.publish(1, numbers(10..20));
    let stats = bench.until_settled(10).await;
    assert_eq!((stats.suspects, stats.verdict.word.as_str()), (0, "accepted"));
    let store = bench.store.clone();
    assert_eq!(bench.stop().await, 0);
    assert_eq!(store.stats().put_aside, 10);
    assert_eq!(delivered(&flux), (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bad_record_is_found_by_halving_and_put_aside_and_the_rest_arrives_once() {
    let bad = [17, 18, 399];
    let flux = flux::Flux::start(move |seen, _| {
        let seqs = seen.seqs();
        status(if seqs.iter().any(|seq| bad.contains(seq)) { 400 } else { 200 })
    })
    .await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..500));
    let stats = bench.until_settled(3).await;
    let standing = &stats.verdict;
    assert_eq!(
        (&*standing.word, &*standing.reason.to_string(), standing.advice.is_empty()),
        ("accepted", "", true),
        "the endpoint is good"
    );
    let store = bench.store.clone();
    assert_eq!(bench.stop().await, 0);
    assert_eq!(store.stats().put_aside, 3);
    assert_eq!(delivered(&flux), (0..500).filter(|seq| !bad.contains(seq)).collect::<Vec<_>>());
    assert!(flux.seen().len() < 70, "{} requests", flux.seen().len());
}

#[tokio::test]
async fn nothing_is_put_aside_while_everything_is_refused_and_all_arrives_afterwards() {
    let flux = flux::Flux::start(|_, number| status(if number < 40 { 422 } else { 200 })).await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..100));
    bench.publish(2, numbers(0..100));
    let stats = bench.until_forwarded(200).await;
    assert_eq!(stats.put_aside, 0);
    assert_eq!(bench.stop().await, 0);
    assert_eq!(delivered(&flux).len(), 200);
}

#[tokio::test]
async fn a_lone_bad_record_waits_and_another_lane_is_proof_enough() {
    let flux = flux::Flux::start(|seen, _| {
        let bad = seen.header("x-tidegate-lane") == Some("bulk");
        status(if bad { 400 } else { 200 })
    })
    .await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(2, numbers(0..1));
    let stats = bench.until("it was tried again", |stats| stats.requests >= 4).await;
    assert_eq!((stats.put_aside, stats.suspects, stats.verdict.word.as_str()), (0, 1, "poison"));
    bench.publish(0, numbers(0..1));
    let stats = bench.until_settled(1).await;
    assert_eq!((stats.suspects, stats.verdict.word.as_str()), (0, "accepted"));
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn a_413_lowers_the_size_and_only_a_single_record_over_it_is_put_aside() {
    let flux = flux::Flux::start(|seen, _| status(if seen.body.len() > 9_000 { 413 } else { 200 })).await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..300));
    bench.publish(1, [format!("\"{}\"", "x".repeat(12_000))]);
    bench.publish(1, numbers(301..400));
    let stats = bench.until_settled(1).await;
    assert!((4_000..9_001).contains(&stats.body_limit), "{}", stats.body_limit);
    assert_eq!(bench.stop().await, 0);
    let mut arrived = delivered(&flux);
    arrived.sort_unstable();
    assert_eq!(arrived, (0..400).filter(|seq| *seq != 300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_throttled_gateway_waits_as_long_as_it_is_told() {
    let refresh = "x-soracom-ratelimit-seconds-before-refresh";
    let flux = flux::Flux::scripted([Reply::Status(429, vec![(refresh, "1".into())], String::new())]).await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..5));
    let stats = bench.until("throttled", |stats| stats.verdict.word == "throttled").await;
    assert!(stats.verdict.until_ms.is_some_and(|until| until > stats.verdict.since_ms));
    bench.until_forwarded(5).await;
    let seen = flux.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(995), "it came back after {:?}", seen[1].at - seen[0].at);
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn cut_slow_and_failing_answers_are_repeated_and_marked_until_accepted() {
    let slow = Reply::Slow(Duration::from_secs(60));
    let flux = flux::Flux::scripted([Reply::Cut, status(500), slow, status(503), status(408), Reply::Cut]).await;
    let mut options = webhook(&flux);
    options.answer_timeout = Duration::from_millis(300);
    let bench = Bench::start(options);
    bench.publish(1, numbers(0..10));
    let stats = bench.until_forwarded(10).await;
    assert_eq!(stats.requests, 7);
    assert_eq!(bench.stop().await, 0);
    let seen = flux.seen();
    assert!(seen.iter().all(|seen| seen.seqs() == (0..10).collect::<Vec<_>>()));
    assert_eq!(seen.iter().map(flux::Seen::replayed).collect::<Vec<_>>(), [false, true, true, true, true, true, true]);
}

#[tokio::test]
async fn while_nobody_listens_nothing_counts_as_sent_and_later_all_arrives_unmarked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let bench = Bench::start(quick(Flux::Unified { url: format!("http://{address}/") }));
    bench.publish(1, numbers(0..700));
    let stats = bench.until("refused connections", |stats| stats.verdict.word == "transient").await;
    assert!(stats.verdict.reason.to_string().contains("cannot connect to 127.0.0.1"), "{}", stats.verdict.reason);
    assert_eq!(stats.requests, 0);
    let flux = flux::Flux::scripted([]).await;
    bench.handle.reload(quick(Flux::Unified { url: format!("http://{}/", flux.address) })).expect("good options");
    bench.until_forwarded(700).await;
    assert_eq!(bench.stop().await, 0);
    assert_eq!(delivered(&flux), (0..700).collect::<Vec<_>>());
    assert!(flux.seen().iter().all(|seen| !seen.replayed()));
}

#[tokio::test]
async fn records_that_waited_long_are_marked_and_a_clock_that_jumps_makes_none_old() {
    const HOUR: u64 = 3_600_000;
    let now = Stamp { wall_ms: 500_000 * HOUR, uptime_ms: 2 * HOUR, boot: 7, trusted: true };
    let old = 600_000;
    let stamps = [
        (Stamp { wall_ms: 0, uptime_ms: now.uptime_ms - 1000, trusted: false, ..now }, false, "1970, a second ago"),
        (Stamp { wall_ms: now.wall_ms, uptime_ms: now.uptime_ms - old, ..now }, true, "old by the uptime"),
        (Stamp { wall_ms: now.wall_ms - old, uptime_ms: 1, boot: 6, trusted: true }, true, "old by a right clock"),
        (Stamp { wall_ms: now.wall_ms - 1000, uptime_ms: 1, boot: 6, trusted: true }, false, "sent before a restart"),
        (
            Stamp { wall_ms: 1000, uptime_ms: 1, boot: 6, trusted: false },
            true,
            "two hours at least: as long as it is up",
        ),
    ];
    let folder = tempfile::tempdir().expect("a folder can be made");
    let options = store_options(&folder);
    let clock = Arc::new(crate::clock::SetClock::at(now));
    let store = Store::open(store::Options { clock, ..options }).expect("a store can be opened").0;
    let mut submission = Submission::new();
    for (stamp, ..) in stamps {
        let record = NewRecord { device: "d", topic: "t", payload: b"1", stamp, origin: None, will: false };
        submission.push(LaneId(1), &record);
    }
    store.submit(submission);
    let flux = flux::Flux::scripted([]).await;
    let bench = Bench::on(store, folder, webhook(&flux));
    bench.until_forwarded(5).await;
    assert_eq!(bench.stop().await, 0);
    let events: Vec<_> = flux.accepted().iter().flat_map(flux::Seen::events).collect();
    for (event, (_, marked, what)) in events.iter().zip(stamps) {
        assert_eq!(event["replayed"] == true, marked, "{what}: {event}");
    }
}

#[tokio::test]
async fn refused_before_any_delivery_is_misconfigured_and_tried_at_once_after_a_reload() {
    let flux = flux::Flux::scripted([status(404)]).await;
    let mut options = webhook(&flux);
    options.probe = DelayRange { min: Duration::from_secs(3000), max: Duration::from_secs(3600) };
    let bench = Bench::start(options.clone());
    bench.publish(1, numbers(0..5));
    let stats = bench.until("misconfigured", |stats| stats.verdict.word == "misconfigured").await;
    assert!(!stats.verdict.advice.is_empty() && stats.verdict.until_ms.is_some());
    bench.handle.reload(options).expect("good options");
    bench.until_forwarded(5).await;
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn refused_after_a_delivery_is_a_suspension_and_probed() {
    let flux = flux::Flux::scripted([status(200), status(403), status(403), status(401)]).await;
    let mut options = webhook(&flux);
    options.batch.max_records = 5;
    let bench = Bench::start(options);
    bench.publish(1, numbers(0..5));
    bench.until_forwarded(5).await;
    bench.publish(1, numbers(5..10));
    bench.until("suspended", |stats| stats.verdict.word == "suspended").await;
    bench.until_forwarded(10).await;
    let seen = flux.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen[2].at - seen[1].at >= Duration::from_millis(50), "a probe came too early");
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn the_api_gets_a_token_first_and_a_new_one_once_upon_401() {
    let mut granted = 0;
    let flux = flux::Flux::start(move |seen, _| {
        if seen.path == "/v1/auth" {
            granted += 1;
            let body = format!("{{\"apiKey\":\"key-{granted}\",\"token\":\"token-{granted}\",\"operatorId\":\"OP\"}}");
            return Reply::Status(201, vec![], body);
        }
        let good = granted != 1 || seen.events()[0]["seq"].as_u64() < Some(5);
        assert_eq!(seen.header("x-soracom-token"), Some(format!("token-{granted}").as_str()));
        assert_eq!(seen.header("x-soracom-api-key"), Some(format!("key-{granted}").as_str()));
        status(if good { 200 } else { 401 })
    })
    .await;
    let bench = Bench::start(api(&flux));
    bench.publish(1, numbers(0..5));
    bench.until_forwarded(5).await;
    bench.publish(1, numbers(5..10));
    bench.until_forwarded(10).await;
    assert_eq!(bench.stop().await, 0);
    let paths: Vec<String> = flux.seen().into_iter().map(|seen| seen.path).collect();
    let message = "/v1/flux/apps/app/channels/channel/messages";
    assert_eq!(paths, ["/v1/auth", message, message, "/v1/auth", message]);
    let asked: serde_json::Value = serde_json::from_slice(&flux.seen()[0].body).expect("JSON");
    assert_eq!(asked["authKeyId"], "keyId-s3cr3t");
    assert_eq!(asked["authKey"], "secret-s3cr3t");
    assert_eq!(asked["tokenTimeoutSeconds"], 86_400);
}

#[tokio::test]
async fn a_refused_key_is_paced_and_no_batch_leaves_without_a_token() {
    let flux = flux::Flux::scripted([status(401), status(401), Reply::Status(200, vec![], "{}".into())]).await;
    let bench = Bench::start(api(&flux));
    bench.publish(1, numbers(0..5));
    bench.until("asked three times", |_| flux.seen().len() >= 3).await;
    let stats = bench.until("misconfigured", |stats| stats.verdict.word == "misconfigured").await;
    assert_eq!(stats.requests, 0);
    let seen = flux.seen();
    assert!(seen.iter().all(|seen| seen.path == "/v1/auth"));
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(50));
    assert_eq!(bench.stop().await, 5);
}

#[tokio::test]
async fn a_connection_found_closed_is_replaced_without_a_repeat() {
    let close = Reply::Status(200, vec![("connection", "close".into())], String::new());
    let flux = flux::Flux::scripted([close.clone(), close]).await;
    let mut options = webhook(&flux);
    options.batch.max_records = 10;
    let bench = Bench::start(options);
    bench.publish(1, numbers(0..40));
    let stats = bench.until_forwarded(40).await;
    assert_eq!((stats.requests, stats.connections), (4, 3));
    assert_eq!(bench.stop().await, 0);
    assert!(flux.seen().iter().all(|seen| !seen.replayed()));
    assert_eq!(flux.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 1, 2, 2]);
}

#[tokio::test]
async fn an_idle_connection_is_not_used_again() {
    let flux = flux::Flux::scripted([]).await;
    let mut options = webhook(&flux);
    options.idle_limit = Duration::from_millis(1);
    let bench = Bench::start(options);
    bench.publish(1, numbers(0..5));
    bench.until_forwarded(5).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    bench.publish(1, numbers(5..10));
    assert_eq!(bench.until_forwarded(10).await.connections, 2);
    assert_eq!(bench.stop().await, 0);
}

#[tokio::test]
async fn stopping_waits_for_the_answer_under_way_and_acknowledges_it() {
    let flux = flux::Flux::scripted([Reply::Slow(Duration::from_millis(300))]).await;
    let bench = Bench::start(webhook(&flux));
    bench.publish(1, numbers(0..5));
    bench.until("the request is there", |_| !flux.seen().is_empty()).await;
    assert_eq!(bench.handle.stats().forwarded, 0);
    let handle = bench.handle.clone();
    assert_eq!(bench.stop().await, 0);
    assert_eq!(handle.stats().forwarded, 5);
}

#[tokio::test]
async fn lanes_share_four_to_one_while_both_have_a_backlog() {
    // The link must be what is scarce: on one that is faster than reading, whoever is ready goes.
    let flux = flux::Flux::start(|_, _| Reply::Slow(Duration::from_millis(10))).await;
    let (store, folder) = open_store();
    publish(&store, 1, numbers(0..2000));
    publish(&store, 2, numbers(0..2000));
    let mut options = webhook(&flux);
    options.batch.max_records = 50;
    options.batch.max_age = Duration::ZERO;
    let bench = Bench::on(store, folder, options);
    bench.until_forwarded(4000).await;
    assert_eq!(bench.stop().await, 0);
    let bulk = flux.seen()[..40].iter().filter(|seen| seen.header("x-tidegate-lane") == Some("bulk")).count();
    assert!((5..=11).contains(&bulk), "{bulk} of the first 40 were bulk");
}

#[tokio::test]
async fn what_was_not_accepted_before_a_restart_is_sent_after_it() {
    let flux = flux::Flux::start(|seen, _| status(if seen.seqs().contains(&25) { 500 } else { 200 })).await;
    let mut options = webhook(&flux);
    options.batch.max_records = 10;
    let bench = Bench::start(options.clone());
    bench.publish(1, numbers(0..40));
    bench.until("the third batch fails", |stats| stats.forwarded == 20 && stats.requests >= 4).await;
    let (store, folder) = bench.stop_and_keep().await;
    let flux = flux::Flux::scripted([]).await;
    let bench = Bench::on(store, folder, Options { flux: webhook(&flux).flux, ..options });
    bench.until_forwarded(20).await;
    assert_eq!(bench.stop().await, 0);
    assert_eq!(delivered(&flux), (20..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_may_have_been_sent_before_a_restart_is_marked_after_it_and_nothing_else() {
    let (store, folder) = open_store();
    let looking = store.clone();
    let flux = flux::Flux::start(move |seen, _| {
        let announced = looking.stats().lanes[1].sent;
        assert!(seen.seqs().iter().all(|seq| *seq < announced), "a batch left before it was announced");
        status(500)
    })
    .await;
    let bench = Bench::on(store, folder, webhook(&flux));
    bench.publish(1, numbers(0..5));
    bench.until("it was sent", |stats| stats.requests >= 1).await;
    let (store, folder) = bench.stop_and_keep().await;
    publish(&store, 1, numbers(5..10));
    store.close();
    drop(store);
    let flux = flux::Flux::scripted([]).await;
    let bench = Bench::on(open_in(&folder), folder, webhook(&flux));
    bench.until_forwarded(10).await;
    assert_eq!(bench.stop().await, 0);
    let marks =
        flux.accepted().iter().flat_map(flux::Seen::events).map(|event| event["replayed"] == true).collect::<Vec<_>>();
    assert_eq!(marks, [[true; 5], [false; 5]].concat());
}

#[tokio::test]
async fn bad_options_are_refused_with_what_to_write() {
    let (store, _folder) = open_store();
    let good = quick(Flux::Unified { url: "http://127.0.0.1:9/".into() });
    let wrong = |change: &dyn Fn(&mut Options)| {
        let mut options = good.clone();
        change(&mut options);
        Forwarder::new(options, store.clone(), Wire::new(wire::Options::default())).map(|_| ()).expect_err("refused")
    };
    assert!(matches!(wrong(&|options| options.batch.max_records = 0), OptionsError::Range { what: "max_records", .. }));
    assert!(matches!(wrong(&|options| options.lanes.truncate(2)), OptionsError::Lanes { given: 2, present: 3 }));
    let api = |app: &str, timeout| Flux::Api {
        base: "https://api.soracom.io".into(),
        app_id: app.into(),
        channel_id: "c".into(),
        auth_key_id: Secret::new(""),
        auth_key: Secret::new(""),
        token_timeout: Duration::from_secs(timeout),
    };
    assert!(matches!(wrong(&|options| options.flux = api("../x", 3600)), OptionsError::Id { what: "app_id" }));
    assert!(matches!(wrong(&|options| options.flux = api("x", 172_801)), OptionsError::Range { .. }));
}
