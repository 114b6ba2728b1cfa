//! Whatever Flux answers, nothing acknowledged is lost, repeats carry the same id, and the pace is what was asked for.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Packet, Qos, Version};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// Publishes payloads at QoS 1 and has all of them acknowledged.
fn publish(agent: &Agent, device: &str, payloads: impl IntoIterator<Item = String>) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, device));
    let topic = format!("devices/{device}/telemetry");
    let payloads: Vec<String> = payloads.into_iter().collect();
    for window in payloads.chunks(100) {
        // 100 is the Receive Maximum that Tidegate announces.
        for (id, payload) in (1..).zip(window) {
            client.publish(&topic, payload.as_bytes(), Qos::AtLeastOnce, id);
        }
        for (id, _) in (1..).zip(window) {
            assert_eq!(client.expect(), Packet::Puback { id, reason: 0 });
        }
    }
    client.disconnect();
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Answers once in each of these ways, and expects every record all the same: with the id it had, marked `replayed`
/// where it had been sent before.
fn survives(answers: Vec<Answer>) {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux", "timeout", "\"1s\"");
    let agent = setup.start();
    for (number, answer) in answers.into_iter().enumerate() {
        println!("{answer:?}");
        let before = flux.delivered();
        flux.answer_next([answer.clone()]);
        let device = format!("d{number}");
        publish(&agent, &device, numbers(0..20));
        flux.wait_for(before + 20, BOUND);
        assert_eq!(flux.payloads_of(&device), numbers(0..20), "after {answer:?}");
        flux.look(|log| {
            let last = log.requests.last().expect("it was delivered");
            assert!(
                last.events.iter().any(|event| event.replayed),
                "no event says that it was sent before: {answer:?}"
            );
        });
    }
    flux.assert_sound();
    assert_eq!(agent.put_aside(), 0);
}

#[test]
fn server_errors_and_odd_statuses_are_tried_again() {
    survives([500, 502, 503, 504, 408].map(Answer::status).to_vec());
}

#[test]
fn a_connection_cut_in_the_request_or_in_the_answer_and_a_slow_answer_are_tried_again() {
    let too_slow = Answer::Accept.after(Duration::from_secs(4));
    survives(vec![Answer::CutAnswer, Answer::CutRequest, too_slow]);
}

#[test]
fn an_answer_that_is_merely_slow_is_waited_for() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    flux.answer_next([Answer::Accept.after(Duration::from_secs(2))]);
    publish(&agent, "slow", numbers(0..20));
    flux.wait_for(20, BOUND);
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    assert_eq!(flux.requests(), 1, "a request was repeated that was being answered");
}

#[test]
fn a_rate_limit_is_kept_to_for_as_long_as_either_header_says() {
    for header in ["Retry-After", "X-Soracom-Ratelimit-Seconds-Before-Refresh"] {
        let flux = Flux::start();
        let agent = Setup::webhook(&flux).start();
        flux.answer_next([Answer::status(429).with_header(header, "3")]);
        publish(&agent, "limited", numbers(0..5));
        flux.wait_for_requests(1);
        agent.wait_for_verdict("throttled");
        publish(&agent, "limited", numbers(5..10));
        // What of these comes too late for the second request waits out the minute: one event a minute is what is allowed now.
        flux.wait_for_requests(2);
        flux.look(|log| {
            let pause = log.requests[1].at - log.requests[0].at;
            assert!(pause >= Duration::from_millis(2900), "{header}: went on after {pause:?}");
            assert!(pause < Duration::from_secs(10), "{header}: went on only after {pause:?}");
        });
        wait::until("all are delivered or wait", BOUND, || {
            flux.delivered() >= 5 && flux.delivered() as u64 + agent.waiting() == 10
        });
        flux.assert_sound();
    }
}

#[test]
fn records_over_the_endpoints_size_limit_go_in_smaller_requests_and_none_is_put_aside() {
    const LIMIT: usize = 3000;
    let flux = Flux::start();
    flux.answer_by(|request| if request.body.len() > LIMIT { Answer::status(413) } else { Answer::Accept });
    let agent = Setup::webhook(&flux).start();
    publish(&agent, "many", numbers(0..400));
    flux.wait_for(400, BOUND);
    assert_eq!(flux.payloads_of("many"), numbers(0..400));
    let refused_before = flux.look(|log| log.requests.iter().filter(|request| !request.accepted).count());
    publish(&agent, "more", numbers(0..400));
    flux.wait_for(800, BOUND);
    let refused = flux.look(|log| log.requests.iter().filter(|request| !request.accepted).count());
    assert!(refused - refused_before <= 2, "the limit was not learnt: {} more were refused", refused - refused_before);
    assert_eq!(agent.put_aside(), 0);
    flux.assert_sound();
}

#[test]
fn bad_records_are_found_and_put_aside_and_all_others_arrive_in_order() {
    let flux = Flux::start();
    flux.answer_by(|request| if request.holds("poison") { Answer::status(400) } else { Answer::Accept });
    let agent = Setup::webhook(&flux).start();
    let bad = [13, 14, 250];
    let payloads = (0..400).map(|n| if bad.contains(&n) { format!("\"poison {n}\"") } else { n.to_string() });
    publish(&agent, "mixed", payloads);
    let good: Vec<String> = (0..400).filter(|n| !bad.contains(n)).map(|n| n.to_string()).collect();
    flux.wait_for(good.len(), BOUND);
    publish(&agent, "after", numbers(0..5));
    wait::until("the bad ones are put aside", BOUND, || agent.put_aside() == bad.len() as u64);
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    assert_eq!(flux.payloads_of("mixed"), good);
    assert_eq!(flux.payloads_of("after"), numbers(0..5));
    flux.assert_sound();
    let requests = flux.requests();
    assert!(requests < 100, "{requests} requests for three bad records in 400");
}

#[test]
fn a_batch_that_arrives_but_is_not_taken_is_repeated_only_a_few_times_and_then_put_aside() {
    let flux = Flux::start();
    flux.answer_by(|request| if request.holds("half") { Answer::not_good(207) } else { Answer::Accept });
    let mut setup = Setup::webhook(&flux);
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    let agent = setup.start();
    publish(&agent, "unlucky", (0..10).map(|n| format!("\"half {n}\"")));
    flux.wait_for_requests(1);
    agent.wait_for_verdict("transient");
    // Another lane is accepted all the while, which shows that the endpoint is not at fault.
    let (mut alarm, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "alarm"));
    let mut sent = 0;
    wait::until("the batch is put aside", BOUND, || {
        if sent <= flux.payloads_of("alarm").len() {
            alarm.publish_acknowledged("devices/alarm/alarm", b"1", 1);
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(500));
        agent.put_aside() == 10
    });
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    let tries = flux.look(|log| log.requests.iter().filter(|request| request.status == 207).count());
    assert!((2..=4).contains(&tries), "the batch was sent {tries} times");
    publish(&agent, "after", numbers(0..5));
    wait::until("what comes after is delivered", BOUND, || flux.payloads_of("after") == numbers(0..5));
    flux.assert_sound();
}

#[test]
fn while_everything_is_refused_nothing_is_put_aside_and_all_arrives_when_it_is_over() {
    for status in [400, 422] {
        let flux = Flux::start();
        flux.answer_all(Answer::status(status));
        let agent = Setup::webhook(&flux).start();
        publish(&agent, "patient", numbers(0..50));
        flux.wait_for_requests(20);
        assert_eq!(agent.put_aside(), 0, "the endpoint is at fault, not a record");
        flux.answer_all(Answer::Accept);
        flux.wait_for(50, BOUND);
        wait::until("nothing waits", BOUND, || agent.waiting() == 0);
        assert_eq!(agent.put_aside(), 0);
        // Not in order: what proves that the endpoint takes records again overtakes what it had refused.
        flux.look(|log| log.assert_faultless());
        let mut arrived: Vec<usize> = flux.payloads_of("patient").iter().filter_map(|n| n.parse().ok()).collect();
        arrived.sort_unstable();
        assert_eq!(arrived, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn a_refusal_before_anything_was_delivered_is_misconfigured_and_tried_at_once_after_a_reload() {
    for status in [401, 403, 404] {
        let flux = Flux::start();
        flux.answer_all(Answer::status(status));
        let mut agent = Setup::webhook(&flux).start();
        publish(&agent, "waiting", numbers(0..10));
        agent.wait_for_verdict("misconfigured");
        assert_eq!(agent.put_aside(), 0);
        let other = Flux::start(); // what the corrected URL leads to
        agent.setup.set("forward.flux", "url", &format!("\"{}\"", other.webhook_url()));
        let start = Instant::now();
        agent.reload();
        other.wait_for(10, BOUND);
        assert!(start.elapsed() < Duration::from_secs(5), "tried only {:?} after the reload", start.elapsed());
        assert_eq!(other.payloads_of("waiting"), numbers(0..10));
        assert!(flux.requests() < 10, "{} requests to an endpoint that wants none", flux.requests());
    }
}

#[test]
fn ten_reloads_that_change_nothing_press_a_misconfigured_endpoint_once() {
    let flux = Flux::start();
    flux.answer_all(Answer::status(404));
    let agent = Setup::webhook(&flux).start();
    publish(&agent, "waiting", numbers(0..10));
    agent.wait_for_verdict("misconfigured");
    assert_eq!(flux.requests(), 1);
    let start = Instant::now();
    for _ in 0..10 {
        agent.reload();
        std::thread::sleep(Duration::from_millis(200));
    }
    flux.wait_for_requests(2);
    if start.elapsed() < Duration::from_secs(50) {
        wait::never("each reload sends", Duration::from_secs(2), || flux.requests() > 2);
    }
    assert_eq!((agent.put_aside(), agent.waiting()), (0, 10));
}

#[test]
fn a_refusal_after_deliveries_is_a_suspension_and_collecting_goes_on() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    publish(&agent, "before", numbers(0..10));
    flux.wait_for(10, BOUND);
    flux.answer_all(Answer::status(403));
    publish(&agent, "during", numbers(0..10));
    agent.wait_for_verdict("suspended");
    let requests = flux.requests();
    publish(&agent, "during", numbers(10..20));
    wait::never("a suspended endpoint is pressed", Duration::from_secs(2), || flux.requests() > requests + 1);
    assert_eq!((agent.put_aside(), agent.waiting()), (0, 20));
    flux.answer_all(Answer::Accept);
    agent.reload(); // a person acted; without that it looks again by itself, but seldom
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("during"), numbers(0..20));
    flux.assert_sound();
}

#[test]
fn critical_records_do_not_wait_for_company() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux.batch", "max_age", "\"1h\"");
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    let agent = setup.start();
    publish(&agent, "ordinary", numbers(0..5));
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "alarm"));
    client.publish_acknowledged("devices/boiler/alarm", b"\"too hot\"", 1);
    let start = Instant::now();
    flux.wait_for(1, BOUND);
    assert!(start.elapsed() < Duration::from_secs(3), "an alarm took {:?}", start.elapsed());
    assert_eq!(flux.payloads_of("boiler"), ["\"too hot\""]);
    assert!(flux.payloads_of("ordinary").is_empty(), "a batch left before its age");
}

#[test]
fn a_batch_closes_at_its_records_and_at_its_bytes() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux.batch", "max_age", "\"1h\"");
    setup.set("forward.flux.batch", "max_records", "50");
    setup.set("forward.flux.batch", "max_bytes", "\"16KiB\"");
    let agent = setup.start();
    publish(&agent, "small", numbers(0..120));
    flux.wait_for(100, BOUND);
    flux.look(|log| {
        assert!(
            log.requests.iter().all(|request| request.array && request.events.len() <= 50 && request.length <= 16_384)
        );
    });
    assert_eq!(agent.waiting(), 20, "the rest waits for its age");
    let large = "x".repeat(2000);
    publish(&agent, "large", (0..10).map(|_| format!("\"{large}\"")));
    flux.wait_for(124, BOUND);
    flux.look(|log| assert!(log.requests.iter().all(|request| request.length <= 16_384)));
    flux.assert_sound();
}
