//! The Flux itself, asked over plain sockets: a test tool that lies makes every test lie.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;

fn event(seq: u64, payload: &str) -> String {
    format!(
        r#"{{"gateway":"g","epoch":"e","lane":"normal","seq":{seq},"device":"d","topic":"t","time":"now","payload":{payload}}}"#
    )
}

/// Posts a body on a connection of its own; what came back until it closed.
fn post(flux: &Flux, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(flux.address).expect("the Flux listens");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: flux\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("the Flux reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // a cut connection may end in a reset
    String::from_utf8_lossy(&answer).into_owned()
}

fn complains(flux: &Flux, judge: fn(&Log)) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| flux.look(judge))).is_err()
}

const HOOK: &str = "/v1/flux/incoming_webhooks/a/b";

#[test]
fn it_keeps_what_came_with_numbers_to_the_letter_and_counts_each_id_once() {
    let flux = Flux::start();
    let body = format!("[{},{}]", event(0, "1.50"), event(1, r#"{"a": 1e400}"#));
    assert!(post(&flux, HOOK, "", &body).starts_with("HTTP/1.1 200"));
    assert!(post(&flux, HOOK, "", &event(1, r#"{"a": 1e400}"#)).starts_with("HTTP/1.1 200"));
    assert_eq!((flux.delivered(), flux.requests()), (2, 2));
    assert_eq!(flux.payloads_of("d"), ["1.50", r#"{"a": 1e400}"#]);
    flux.assert_sound();
}

#[test]
fn it_notices_two_contents_under_one_id_and_a_wrong_order() {
    let flux = Flux::start();
    post(&flux, HOOK, "", &event(1, "1"));
    post(&flux, HOOK, "", &event(1, "1.0"));
    assert!(complains(&flux, Log::assert_faultless));
    let flux = Flux::start();
    post(&flux, HOOK, "", &event(2, "2"));
    post(&flux, HOOK, "", &event(1, "1"));
    assert!(complains(&flux, Log::assert_in_order));
    flux.look(Log::assert_faultless);
    post(&flux, HOOK, "", "nonsense");
    assert!(complains(&flux, Log::assert_faultless));
}

#[test]
fn what_was_not_accepted_is_kept_but_not_counted_as_delivered() {
    let flux = Flux::start();
    let slow = Answer::status(503).after(Duration::from_millis(200));
    flux.answer_next([
        Answer::status(400).with_header("x-note", "7"),
        Answer::not_good(200),
        Answer::not_good(207),
        slow,
    ]);
    let answer = post(&flux, HOOK, "", &event(1, "1"));
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("x-note: 7"), "{answer}");
    assert!(post(&flux, HOOK, "", &event(1, "1")).contains(r#""result":"ng""#));
    assert!(post(&flux, HOOK, "", &event(1, "1")).starts_with("HTTP/1.1 207"));
    let start = Instant::now();
    assert!(post(&flux, HOOK, "", &event(1, "1")).starts_with("HTTP/1.1 503"));
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!((flux.delivered(), flux.requests()), (0, 4));
}

#[test]
fn it_cuts_in_the_middle_of_the_request_and_of_the_answer() {
    let flux = Flux::start();
    flux.answer_next([Answer::CutRequest, Answer::CutAnswer]);
    assert_eq!(post(&flux, HOOK, "", &event(1, "1")), "");
    let cut = post(&flux, HOOK, "", &event(1, "1"));
    assert!(cut.starts_with("HTTP/1.1 200") && cut.ends_with(r#"{"result":"o"#), "{cut}");
    assert_eq!(flux.delivered(), 0);
}

#[test]
fn it_refuses_connections_while_stopped_and_comes_back_on_its_port() {
    let flux = Flux::start();
    let mut open = TcpStream::connect(flux.address).expect("the Flux listens");
    flux.wait_for_connections(1);
    flux.stop();
    assert_eq!(open.read(&mut [0]).unwrap_or(0), 0, "an open connection was left standing");
    assert!(TcpStream::connect(flux.address).is_err());
    flux.resume();
    assert!(post(&flux, HOOK, "", &event(1, "1")).starts_with("HTTP/1.1 200"));
}

#[test]
fn the_api_wants_the_key_and_the_token_in_force() {
    let flux = Flux::start();
    let path = "/v1/flux/apps/app/channels/channel/messages";
    let credential = format!(r#"{{"authKeyId":"{AUTH_KEY_ID}","authKey":"{AUTH_KEY}","tokenTimeoutSeconds":600}}"#);
    assert!(post(&flux, path, "", &event(1, "1")).starts_with("HTTP/1.1 401"));
    let wrong = credential.replace(AUTH_KEY, "guess");
    assert!(post(&flux, "/v1/auth", "", &wrong).starts_with("HTTP/1.1 401"));
    assert!(post(&flux, "/v1/auth", "", &credential).contains(r#""token":"token-1""#));
    let headers = "X-Soracom-API-Key: api-key-test\r\nX-Soracom-Token: token-1\r\n";
    assert!(post(&flux, path, headers, &event(1, "1")).starts_with("HTTP/1.1 200"));
    flux.expire_token();
    assert!(post(&flux, path, headers, &event(2, "1")).starts_with("HTTP/1.1 401"));
    let logins = flux.logins();
    assert_eq!((logins.granted, logins.refused, logins.timeout_s), (1, 1, Some(600)));
    assert!(post(&flux, "/", "", &event(3, "1")).contains(r#""result":"ok""#));
    assert!(post(&flux, "/elsewhere", "", &event(4, "1")).starts_with("HTTP/1.1 404"));
    assert_eq!(flux.delivered(), 2);
}
