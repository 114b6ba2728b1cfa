//! The poller against servers on loopback that do as they are told.

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::provider::ask::LONGEST;
use crate::provider::scripted::{http, server, wire};

#[tokio::test]
async fn the_service_is_asked_as_documented_and_its_answer_read() {
    let (url, asked) = server(&[http("200 OK", r#"{"speedClass":"s1.slow","status":"active"}"#)]).await;
    let told = question(&format!("{url}/base"), &wire()).await.expect("an answer");
    assert_eq!(told.speed_class.as_deref(), Some("s1.slow"));
    let asked = asked.lock().expect("no panic")[0].to_lowercase();
    assert!(asked.starts_with("get /base/v1/subscriber http/1.1\r\n"), "{asked}");
    for header in
        [&format!("host: {}", url.trim_start_matches("http://")), "accept: application/json", "connection: close"]
    {
        assert!(asked.contains(header), "{header}: {asked}");
    }
}

#[tokio::test]
async fn whatever_is_answered_instead_is_said_with_what_to_do() {
    let huge = http("200 OK", &format!("{{\"tags\":\"{}\"}}", "x".repeat(ANSWER_BYTES)));
    for (answer, reason, advice) in [
        (http("403 Forbidden", "You are not allowed to access Metadata Server."), "HTTP 403: You are not", "SIM group"),
        (http("404 Not Found", ""), "HTTP 404", "leads to"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/<b>\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "HTTP 302: a redirect to http://elsewhere/\\u{3c}b\\u{3e}, which is not followed",
            "leads to",
        ),
        (http("500 Oops", "\u{1b}[31m\u{202e}x"), "\\u{1b}[31m\\u{202e}x", "leads to"),
        (http("200 OK", "<html>hello</html>"), "not a JSON object", "leads to"),
        (http("200 OK", "[]"), "not a JSON object", "leads to"),
        (huge, "more than 65536 bytes", "leads to"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"speed".to_owned(), "the connection broke", "SORACOM line"),
        ("nonsense\r\n\r\n".to_owned(), "the connection broke", "SORACOM line"),
        (String::new(), "the connection broke", "SORACOM line"),
    ] {
        let (url, _) = server(std::slice::from_ref(&answer)).await;
        let error = question(&url, &wire()).await.expect_err(reason);
        assert!(chain(&error).contains(reason), "{reason}: {}", chain(&error));
        assert!(error.advice().to_string().contains(advice), "{reason}: {}", error.advice());
    }
    let error = question("http://127.0.0.1:1", &wire()).await.expect_err("nobody listens there");
    assert!(matches!(error, Failure::NoAnswer(AskError::Unreachable(_))), "{error:?}");
    assert!(matches!(question("mqtt://x", &wire()).await, Err(Failure::NoAnswer(AskError::Url))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for_longer_than_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let begin = tokio::time::Instant::now();
    // The kernel accepts for a listener that does not.
    let error = question(&url, &wire()).await.expect_err("no answer");
    assert!(matches!(error, Failure::NoAnswer(AskError::Late(_) | AskError::Unreachable(_))), "{error:?}");
    assert!(begin.elapsed() <= PATIENCE + Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_known_outlasts_failures_and_ends_with_whom_is_asked() {
    let ok = |class: &str| http("200 OK", &format!(r#"{{"speedClass":"{class}"}}"#));
    let (url, _) = server(&[ok("s1.slow"), http("403 Forbidden", ""), http("200 OK", "{}"), ok("s1.fast")]).await;
    let settings = |url: &str| Some(Settings { url: url.into(), every: Duration::from_millis(20) });
    let (control, receiver) = watch::channel(settings(&url));
    let (sender, mut line) = watch::channel(Line::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(receiver, watch::channel(Leave::ALL).1, wire(), sender, stop.clone()));
    let mut next = async |what: &str, holds: &dyn Fn(&Line) -> bool| {
        let waited = timeout(Duration::from_secs(20), line.wait_for(holds)).await;
        waited.expect(what).expect("the poller lives").clone()
    };
    next("a class", &|line| line.told.speed_class.as_deref() == Some("s1.slow") && line.problem.is_none()).await;
    let refused = next("a refusal", &|line| line.failures == 1).await;
    assert_eq!(refused.told.speed_class.as_deref(), Some("s1.slow"), "a refusal takes no class back");
    assert_eq!(refused.contact.last, Some(Reach::Host), "who refuses can be reached");
    assert!(refused.problem.is_some_and(|problem| problem.reason.contains("403")));
    let again = next("an answer", &|line| line.failures == 0 && line.problem.is_none()).await;
    assert!(again.told.speed_class.is_some(), "an answer without the field takes no class back");
    next("another class", &|line| line.told.speed_class.as_deref() == Some("s1.fast")).await;
    control.send_replace(None);
    next("nothing", &|line| *line == Line::default()).await;
    let (other, _) = server(&[ok("u1.slow")]).await;
    control.send_replace(settings(&other));
    next("the other's class", &|line| line.told.speed_class.as_deref() == Some("u1.slow")).await;
    stop.cancel();
    task.await.expect("it ends when told to");
}

#[test]
fn waits_differ_by_a_fifth_and_grow_with_failures_up_to_a_bound() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let wait = |failures, never, random| next_wait(minutes(10), failures, never, random);
    assert_eq!((wait(0, false, 0.0), wait(0, false, 0.5)), (minutes(8), minutes(10)));
    assert_eq!(wait(0, false, 1.0), minutes(12));
    assert_eq!((wait(1, false, 0.5), wait(2, false, 0.5)), (minutes(20), minutes(40)));
    assert_eq!(wait(100, false, 0.5), LONGEST);
    assert_eq!((wait(1, true, 0.5), wait(2, true, 0.5), wait(5, true, 0.5)), (minutes(1), minutes(2), minutes(16)));
    assert_eq!(wait(100, true, 0.5), LONGEST);
    let day = Duration::from_secs(86_400);
    assert_eq!(next_wait(day, 9, false, 0.5), day, "a configured wait is never made shorter");
    for _ in 0..100 {
        assert!((0.0..1.0).contains(&random()));
    }
}

#[tokio::test]
async fn while_the_stance_forbids_it_nobody_is_asked_and_what_is_known_stays() {
    let (url, asked) = server(&[http("200 OK", r#"{"speedClass":"s1.slow"}"#)]).await;
    let settings = Some(Settings { url, every: Duration::from_millis(5) });
    let (_control, settings) = watch::channel(settings);
    let forbidden = Leave { poll: false, ..Leave::ALL };
    let (leave, receiver) = watch::channel(forbidden);
    let (sender, mut line) = watch::channel(Line::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(settings, receiver, wire(), sender, stop.clone()));
    // Beyond the first question's spread.
    tokio::time::sleep(SPREAD + Duration::from_millis(100)).await;
    assert_eq!(asked.lock().expect("no panic").len(), 0);
    leave.send_replace(Leave::ALL);
    let limit = Duration::from_secs(20);
    timeout(limit, line.wait_for(|line| line.answered.is_some())).await.expect("asked").expect("it lives");
    leave.send_replace(forbidden);
    // One may be under way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = asked.lock().expect("no panic").len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(asked.lock().expect("no panic").len(), before);
    assert_eq!(line.borrow().told.speed_class.as_deref(), Some("s1.slow"));
    stop.cancel();
    task.await.expect("it ends when told to");
}
