//! The poller against servers on loopback that do as they are told.

use tokio::time::timeout;

use super::*;
use crate::provider::page::Planned;
use crate::provider::scripted::{http, server, wire};
use crate::shape::wire::{Options, Roots};

const EVERY: Duration = Duration::from_millis(20);

fn settings(url: &str) -> Settings {
    let components = vec![Glob::new("flux").expect("a pattern")];
    Settings { url: url.to_owned(), components, every: EVERY, bytes_per_day: u64::MAX }
}

/// A page with maintenances of these ids, and this header.
fn page(ids: &[&str], header: &str) -> String {
    let entry = |id: &&str| {
        format!(
            r#"{{"id":"{id}","name":"x","status":"scheduled","components":[{{"name":"Flux"}}],
                "scheduled_for":"2026-11-22T07:00:00Z","scheduled_until":"2026-11-22T08:00:00Z"}}"#
        )
    };
    let entries: Vec<String> = ids.iter().map(entry).collect();
    let body = format!(r#"{{"incidents":[],"scheduled_maintenances":[{}]}}"#, entries.join(","));
    http("200 OK", &body).replacen("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"), 1)
}

fn ids(page: &Page) -> Vec<&str> {
    page.maintenances.iter().map(|it| it.id.as_str()).collect()
}

/// A poller that runs, and what it says.
struct Bench {
    control: watch::Sender<Option<Settings>>,
    leave: watch::Sender<Leave>,
    standing: watch::Receiver<Standing>,
    told: mpsc::Receiver<Input>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// One that asks at once.
    async fn start(settings: Settings, wire: Wire) -> Self {
        let (control, receiver) = watch::channel(None);
        let (leave, allowed) = watch::channel(Leave::ALL);
        let (sender, standing) = watch::channel(Standing::default());
        let (to, told) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(receiver, allowed, wire, sender, to, stop.clone()));
        // It has seen that there is nobody to ask: what comes then is asked at once.
        tokio::task::yield_now().await;
        control.send_replace(Some(settings));
        Self { control, leave, standing, told, stop, task }
    }

    async fn until(&mut self, what: &str, holds: impl FnMut(&Standing) -> bool) -> Standing {
        let waited = timeout(Duration::from_secs(20), self.standing.wait_for(holds)).await;
        waited.expect(what).expect("the poller lives").clone()
    }

    async fn told(&mut self) -> Input {
        timeout(Duration::from_secs(20), self.told.recv()).await.expect("something is told").expect("the poller lives")
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("it ends when told to");
    }
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_asked_for_conditionally_and_told_again() {
    let unchanged = "HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n".to_owned();
    let first = page(&["m1"], "etag: W/\"abc\"\r\nlast-modified: Sun, 22 Nov 2026 08:30:00 GMT");
    let (url, asked) = server(&[first, unchanged.clone(), page(&["m1", "m2"], "etag: W/\"def\""), unchanged]).await;
    let mut bench = Bench::start(settings(&format!("{url}/base")), wire()).await;
    for expected in [&["m1"][..], &["m1"], &["m1", "m2"], &["m1", "m2"]] {
        let Input::Page { page, .. } = bench.told().await else { panic!("over plain HTTP no time is told") };
        assert_eq!(ids(&page), expected);
    }
    let standing = bench.until("both answers without change", |it| it.unchanged >= 2).await;
    assert_eq!((ids(&standing.page), standing.failures), (vec!["m1", "m2"], 0));
    assert!(standing.bytes > 4 * 300 && standing.problem.is_none(), "{standing:?}");
    let asked = asked.lock().expect("no panic").clone();
    assert!(asked[0].starts_with("GET /base/api/v2/summary.json HTTP/1.1\r\n") && !asked[0].contains("if-none"));
    assert!(asked[1].contains("if-none-match: W/\"abc\"\r\n"), "{}", asked[1]);
    assert!(asked[1].contains("if-modified-since: Sun, 22 Nov 2026 08:30:00 GMT\r\n"), "{}", asked[1]);
    assert!(asked[3].contains("if-none-match: W/\"def\"\r\n") && !asked[3].contains("modified-since"), "{}", asked[3]);
    assert!(asked.iter().all(|it| !it.contains("accept-encoding")), "{asked:?}");
    bench.end().await;
}

#[tokio::test]
async fn whatever_is_answered_instead_withdraws_nothing_and_is_said_with_what_to_do() {
    let huge = http("200 OK", &format!("{{\"incidents\":[\"{}\"]}}", "x".repeat(ANSWER_BYTES)));
    for (answer, reason, advice) in [
        (http("200 OK", "<html>captive portal</html>"), "not a JSON object", "leads to"),
        (http("200 OK", r#"{"error":"x"}"#), "neither incidents nor", "leads to"),
        (http("304 Not Modified", ""), "HTTP 304", "leads to"),
        (http("204 No Content", ""), "HTTP 204", "leads to"),
        (http("404 Not Found", ""), "HTTP 404", "leads to"),
        (huge, "more than 262144 bytes", "leads to"),
        (
            http("301 Moved", "").replace("\r\n\r\n", "\r\nlocation: https://x/\r\n\r\n"),
            "redirect to https://x/",
            "leads",
        ),
        (http("503 Oops", "\u{1b}[31m"), "HTTP 503: \\u{1b}[31m", "more seldom"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"inci".to_owned(),
            "the connection broke",
            "another interface",
        ),
        (String::new(), "the connection broke", "another interface"),
    ] {
        let (url, _) = server(&[page(&["m1"], "x: y"), answer]).await;
        let mut bench = Bench::start(settings(&url), wire()).await;
        bench.until("a page", |it| it.answered.is_some()).await;
        let standing = bench.until(reason, |it| it.failures > 0).await;
        let problem = standing.problem.expect("a problem");
        assert!(problem.reason.contains(reason), "{reason}: {}", problem.reason);
        assert!(problem.advice.to_string().contains(advice), "{reason}: {}", problem.advice);
        assert_eq!(ids(&standing.page), ["m1"], "{reason}");
        let met = match reason {
            "the connection broke" => Reach::Nobody,
            "HTTP 404" | "HTTP 503: \\u{1b}[31m" => Reach::Host,
            _ => Reach::Somebody,
        };
        assert_eq!(standing.contact.last, Some(met), "{reason}");
        bench.end().await;
    }
}

#[tokio::test]
async fn where_there_is_no_summary_its_parts_make_the_page() {
    let gone = http("404 Not Found", "");
    let list = |text: &str| http("200 OK", text);
    let active =
        page(&["m1"], "etag: \"a\"").replace("\"incidents\":[],", "").replace("scheduled\",", "in_progress\",");
    let active = list(active.split_once("\r\n\r\n").expect("a body").1);
    let upcoming = page(&["m1", "m2"], "x: y").replace("\"incidents\":[],", "");
    let upcoming = list(upcoming.split_once("\r\n\r\n").expect("a body").1);
    let incidents = list(r#"{"incidents":[{"id":"i1","name":"Flux is slow","status":"identified","impact":"major"}]}"#);
    let round = [active, upcoming, incidents];
    let script: Vec<String> = [gone.clone()].into_iter().chain(round.clone()).chain([round[0].clone(), gone]).collect();
    let (url, asked) = server(&script).await;
    let mut bench = Bench::start(settings(&url), wire()).await;
    let Input::Page { page, .. } = bench.told().await else { panic!("a page") };
    assert_eq!((ids(&page), page.incidents.len()), (vec!["m1", "m2"], 1));
    assert_eq!(page.maintenances[0].progress, Progress::InProgress);
    // When a part goes missing, the summary is asked for again, and what is known stays.
    let standing = bench.until("a failure", |it| it.failures > 0).await;
    assert_eq!(ids(&standing.page), ["m1", "m2"]);
    let paths = asked.lock().expect("no panic").iter().map(|it| it[..60].to_owned()).collect::<Vec<_>>();
    assert!(paths[1].contains("/active.json") && paths[2].contains("/upcoming.json"), "{paths:?}");
    assert!(paths[3].contains("/unresolved.json") && paths[6].contains("/summary.json"), "{paths:?}");
    bench.end().await;
}

#[tokio::test]
async fn it_rests_as_long_as_it_is_told_to_and_while_the_stance_forbids_it() {
    let busy = http("429 Too Many", "").replace("\r\n\r\n", "\r\nretry-after: 1\r\n\r\n");
    let (url, asked) = server(&[busy, page(&["m1"], "x: y")]).await;
    let count = || asked.lock().expect("no panic").len();
    let mut bench = Bench::start(settings(&url), wire()).await;
    bench.until("a refusal", |it| it.failures == 1).await;
    let start = Instant::now();
    bench.until("an answer", |it| it.failures == 0 && it.answered.is_some()).await;
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
    bench.leave.send_replace(Leave { poll: false, ..Leave::ALL });
    // One may be under way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = count();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(count(), before);
    bench.leave.send_replace(Leave::ALL);
    bench.until("it goes on", |it| it.asked > before as u64 + 1).await;
    // Another page, or none, makes it forget; other patterns make it read anew and ask without conditions.
    bench.control.send_replace(Some(Settings { components: vec![Glob::new("beam").expect("one")], ..settings(&url) }));
    bench.until("nothing concerns it", |it| it.page == Page::default() && it.asked > 0).await;
    bench.control.send_replace(None);
    bench.until("nothing is known", |it| *it == Standing::default()).await;
    bench.end().await;
}

/// What TLS adds on the wire, and that the time is told over TLS alone.
#[tokio::test]
async fn over_tls_the_time_is_told_and_a_page_that_has_not_changed_costs_little() {
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let authority = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec![]).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).expect("it signs itself");
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let own = names.signed_by(&key, &issuer).expect("it signs");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone(), root.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a good certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let url = format!("https://localhost:{}", listener.local_addr().expect("it is bound").port());
    let date = "date: Sun, 22 Nov 2026 08:30:00 GMT\r\netag: \"1\"";
    let answers = [page(&["m1"], date), format!("HTTP/1.1 304 Not Modified\r\n{date}\r\n\r\n")];
    tokio::spawn(async move {
        for count in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            let _ = stream.write_all(answers[count.min(1)].as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let wire = Wire::new(Options { roots: Roots::Pem(root.pem().into_bytes()), ..Options::default() });
    let mut bench = Bench::start(settings(&url), wire).await;
    let Input::ProviderTime { now_ms, .. } = bench.told().await else { panic!("the time first") };
    assert!((1_795_336_200_500..1_795_336_205_000).contains(&now_ms), "{now_ms}");
    assert!(matches!(bench.told().await, Input::Page { .. }));
    let first = bench.until("the page", |it| it.asked == 1).await.bytes;
    let then = bench.until("no change", |it| it.unchanged >= 1).await;
    let later = (then.bytes - first) / then.unchanged;
    println!("first {first} bytes with an answer of {} bytes, later {later} bytes", page(&["m1"], date).len());
    assert!(later < first && later < 3_000, "{first}, then {later}");
    bench.end().await;
}

#[test]
fn the_wait_is_what_the_last_question_cost_and_no_shorter_than_set() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let settings = |bytes_per_day| Settings { every: minutes(5), bytes_per_day, ..settings("x") };
    let wait = |bytes_per_day, bytes| wait_for(&settings(bytes_per_day), bytes, false);
    assert_eq!(wait(1_000_000, 2_400), minutes(5), "it would have earned it after 207 s");
    assert_eq!(wait(1_000_000, 26_000).as_secs(), 2_246);
    assert_eq!(wait(330_000, 3_400).as_secs(), 890);
    assert_eq!(wait(10_000, 26_000), LONGEST_WAIT);
    assert_eq!(wait(0, u64::MAX), LONGEST_WAIT);
    assert_eq!(wait_for(&settings(1), 26_000, true), minutes(5));
}

#[test]
fn a_maintenance_is_near_from_a_quarter_of_an_hour_before_until_it_is_over() {
    use Progress::{Completed, InProgress, Scheduled};
    let (hour, now) = (3_600_000, 1_795_336_200_000);
    let near = |from_ms, until_ms, progress| {
        let planned = Planned { id: "m".into(), name: String::new(), from_ms, until_ms, progress };
        is_near(&Page { maintenances: vec![planned], incidents: vec![] }, now)
    };
    for (from, until, progress, expected) in [
        (now + hour, Some(now + 2 * hour), Scheduled, false),
        (now + hour / 4, Some(now + 2 * hour), Scheduled, true),
        (now - hour, Some(now + hour), InProgress, true),
        (now - hour, Some(now + hour), Completed, false),
        (now - 2 * hour, Some(now - hour), InProgress, true),
        (now - 9 * hour, Some(now - 7 * hour), InProgress, false),
        (0, None, InProgress, false),
        (now - hour, None, InProgress, true),
        (u64::MAX, None, Scheduled, false),
    ] {
        assert_eq!(near(from, until, progress), expected, "{from} {until:?} {progress:?}");
    }
}
