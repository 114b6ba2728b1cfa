//! A gateway does not know the time when it starts. What it says of the time of a record is true, or says that it may
//! not be.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_protocol::event::write_time;
use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::certs;
use tidegate_tests::flux::{Answer, Event, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

const TOPIC: &str = "devices/pump/telemetry";

/// Publishes `count` records and waits until each is on flash.
fn publish(agent: &Agent, count: u16) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V5, "pump"));
    for id in 1..=count {
        client.publish_acknowledged(TOPIC, format!("{{\"n\":{id}}}").as_bytes(), id);
    }
    client.disconnect();
}

/// What the events delivered after the first `skip` say of their time, in order of arrival.
fn sources(flux: &Flux, skip: usize) -> Vec<Option<String>> {
    flux.look(|log| log.delivered_from(skip).map(|event| event.time_source.clone()).collect())
}

fn all(count: usize, source: Option<&str>) -> Vec<Option<String>> {
    vec![source.map(str::to_owned); count]
}

/// What the status says of the clock: whether it is right, and who says so.
fn clock(agent: &Agent) -> (bool, String) {
    let clock = agent.status()["clock"].clone();
    (clock["trusted"].as_bool().unwrap_or_default(), clock["source"].as_str().unwrap_or_default().to_owned())
}

fn wait_for_clock(agent: &Agent, source: &str) {
    wait::until(&format!("the clock is right by {source}"), BOUND, || clock(agent) == (true, source.to_owned()));
}

#[test]
fn records_say_that_their_time_is_not_sure_until_the_clock_is_and_waiting_ones_are_put_right() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    assert_eq!(clock(&agent), (false, String::new()));
    publish(&agent, 5);
    flux.wait_for(5, BOUND);
    assert_eq!(sources(&flux, 0), all(5, Some("unsynchronised")));

    flux.stop();
    publish(&agent, 5);
    agent.setup.synchronise();
    wait_for_clock(&agent, "marker");
    publish(&agent, 5);
    flux.resume();
    flux.wait_for(15, BOUND);
    let told = sources(&flux, 5);
    assert_eq!((&told[..5], &told[5..]), (&all(5, Some("corrected"))[..], &all(5, None)[..]));
    flux.assert_sound();
}

#[test]
fn a_batch_that_waits_for_its_age_goes_out_with_the_right_times() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    // Longer than an idle store needs to note that the clock is right.
    setup.set("forward.flux.batch", "max_age", "\"20s\"");
    let agent = setup.start();
    publish(&agent, 3);
    agent.setup.synchronise();
    wait_for_clock(&agent, "marker");
    flux.wait_for(3, BOUND);
    assert_eq!(sources(&flux, 0), all(3, Some("corrected")));
    flux.assert_sound();
}

#[test]
fn records_of_an_earlier_run_in_the_same_boot_are_put_right_too() {
    let flux = Flux::start_stopped();
    let mut agent = Setup::webhook(&flux).start();
    publish(&agent, 4);
    agent.kill();
    agent.setup.synchronise();
    agent.start();
    assert_eq!(clock(&agent), (true, "marker".into()), "the marker is looked for before anything else");
    publish(&agent, 2);
    flux.resume();
    flux.wait_for(6, BOUND);
    let told = sources(&flux, 0);
    assert_eq!((&told[..4], &told[4..]), (&all(4, Some("corrected"))[..], &all(2, None)[..]));
    flux.assert_sound();
}

/// A gateway and a Flux that is reached over TLS.
fn over_tls() -> (Flux, Agent) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    let flux = Flux::start_tls(&certs);
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
    (flux, setup.start())
}

#[test]
fn the_date_of_an_answer_over_tls_says_that_the_clock_is_right() {
    let (flux, agent) = over_tls();
    publish(&agent, 1);
    flux.wait_for(1, BOUND);
    wait_for_clock(&agent, "answer");
    assert_eq!(agent.status()["clock"]["correction_ms"], 0);
    publish(&agent, 1);
    flux.wait_for(2, BOUND);
    assert_eq!(sources(&flux, 1), all(1, None));
    flux.assert_sound();
}

#[test]
fn a_clock_that_is_wrong_by_an_answer_over_tls_is_put_right_and_one_without_tls_is_not_heard() {
    // Ninety-nine days ahead of this machine; the day is all that is compared.
    let ahead = SystemTime::now() + Duration::from_secs(99 * 86_400);
    let answer = Answer::status(200).with_header("date", &httpdate::fmt_http_date(ahead));
    let (flux, agent) = over_tls();
    flux.answer_all(answer.clone());
    publish(&agent, 1);
    flux.wait_for(1, BOUND);
    wait_for_clock(&agent, "answer");
    let days = agent.status()["clock"]["correction_ms"].as_f64().expect("a number") / 86_400_000.0;
    assert!((98.9..99.1).contains(&days), "{days}");
    publish(&agent, 1);
    flux.wait_for(2, BOUND);
    let told = |event: &Event| (event.time[..10].to_owned(), event.time_source.clone());
    let told = flux.look(|log| log.delivered_from(1).map(told).next());
    let mut day = Vec::new();
    write_time(&mut day, ahead.duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64);
    assert_eq!(told, Some((String::from_utf8_lossy(&day[..10]).into_owned(), None)));

    let plain = Flux::start();
    plain.answer_all(answer);
    let agent = Setup::webhook(&plain).start();
    publish(&agent, 1);
    plain.wait_for(1, BOUND);
    assert_eq!(clock(&agent), (false, String::new()));
}
