//! The asker against servers on loopback that do as they are told.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::clock::{EARLIEST_MS, SetClock, Stamp};
use crate::provider::scripted;
use crate::shape::wire::{Options, Roots};

const DAY_MS: u64 = 86_400_000;

/// A host that speaks TLS with a certificate that is valid from `from_ms` on for a year, and answers each question with a head
/// that `answer` makes. Says its origin, whom to trust, and what was asked.
async fn host(
    from_ms: u64,
    answer: impl Fn() -> String + Send + Sync + 'static,
) -> (String, Vec<u8>, scripted::Script) {
    let at = |ms: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(ms);
    let valid = |mut params: CertificateParams| {
        (params.not_before, params.not_after) = (at(from_ms), at(from_ms + 365 * DAY_MS));
        params
    };
    let key = || KeyPair::generate().expect("a key pair");
    let mut params = valid(CertificateParams::default());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "An authority");
    let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let own = key();
    let params = valid(CertificateParams::new(["localhost".to_owned()]).expect("a name"));
    let leaf = params.signed_by(&own, &authority).expect("it signs");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).expect("a certificate")];
    let private = PrivateKeyDer::from_pem_slice(own.serialize_pem().as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .expect("they match");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = scripted::Script::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let Ok((tcp, _)) = listener.accept().await else { return };
            let exchange = async {
                let mut stream = acceptor.accept(tcp).await?;
                let mut question = Vec::new();
                while !question.ends_with(b"\r\n\r\n") {
                    question.push(stream.read_u8().await?);
                }
                kept.lock().expect("no test panics with it").push(String::from_utf8_lossy(&question).into_owned());
                stream.write_all(answer().as_bytes()).await?;
                stream.shutdown().await
            };
            // Who does not trust it goes away.
            let _: io::Result<()> = exchange.await;
        }
    });
    (format!("https://localhost:{port}"), authority.pem().into_bytes(), asked)
}

fn head(status: &str, now_ms: u64) -> String {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now_ms));
    format!("HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: 5\r\n\r\n")
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()).expect("it fits")
}

fn trusting(pem: Vec<u8>) -> Wire {
    Wire::new(Options { roots: Roots::Pem(pem), ..Options::default() })
}

/// An asker that runs, and what it says.
struct Bench {
    settings: watch::Sender<Option<Settings>>,
    leave: watch::Sender<Leave>,
    clock: Arc<SetClock>,
    standing: watch::Receiver<Standing>,
    told: mpsc::Receiver<Input>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// One of a gateway in 1970, that asks after 20 to 40 ms.
    fn start(origin: &str, wire: Wire, earliest_ms: u64) -> Self {
        let settings = Settings { origin: origin.to_owned(), after: Duration::from_millis(20), wire };
        let clock = Arc::new(SetClock::at(Stamp { wall_ms: 5_000, uptime_ms: 5_000, boot: 1, trusted: false }));
        let (settings, receiver) = watch::channel(Some(settings));
        let (leave, allowed) = watch::channel(Leave::ALL);
        let (sender, standing) = watch::channel(Standing::default());
        let (to, told) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let time: (Arc<dyn Clock>, _) = (clock.clone(), move || earliest_ms);
        let task = tokio::spawn(run(receiver, allowed, time, sender, to, stop.clone()));
        Self { settings, leave, clock, standing, told, stop, task }
    }

    async fn told(&mut self) -> (u64, u64) {
        let told = timeout(Duration::from_secs(20), self.told.recv()).await.expect("the time is told");
        let Some(Input::ProviderTime { now_ms, error_ms }) = told else { panic!("{told:?}") };
        (now_ms, error_ms)
    }

    async fn until(&mut self, what: &str, holds: impl FnMut(&Standing) -> bool) -> Standing {
        let waited = timeout(Duration::from_secs(20), self.standing.wait_for(holds)).await;
        waited.expect(what).expect("the asker lives").clone()
    }

    async fn problem(&mut self) -> String {
        let standing = self.until("something is wrong", |standing| standing.problem.is_some()).await;
        standing.problem.map(|problem| problem.reason).unwrap_or_default()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("it ends when told to");
    }
}

#[tokio::test]
async fn in_1970_any_answer_over_tls_tells_the_time_whatever_its_status() {
    for status in ["200 OK", "403 Forbidden", "301 Moved", "500 Oh"] {
        let (origin, pem, asked) = host(now_ms() - DAY_MS, move || head(status, now_ms())).await;
        let mut bench = Bench::start(&origin, trusting(pem), EARLIEST_MS);
        let (told_ms, error_ms) = bench.told().await;
        assert!(told_ms.abs_diff(now_ms()) < 5_000 && error_ms < 5_000, "{status}: {told_ms} {error_ms}");
        let question = asked.lock().expect("no test panics with it")[0].to_ascii_lowercase();
        assert!(
            question.starts_with("head / http/1.1\r\n") && question.contains("cache-control: no-cache"),
            "{question}"
        );
        bench.end().await;
    }
}

#[tokio::test]
async fn it_is_asked_again_and_again_until_the_clock_is_right_and_then_never() {
    let (origin, pem, asked) = host(now_ms() - DAY_MS, || head("200 OK", now_ms())).await;
    let mut bench = Bench::start(&origin, trusting(pem), EARLIEST_MS);
    // Nobody sets this clock by what is told.
    for _ in 0..3 {
        bench.told().await;
    }
    bench.clock.set(Stamp { wall_ms: now_ms(), uptime_ms: 6_000, boot: 1, trusted: true });
    let standing = bench.until("none is to come", |standing| standing.next.is_none()).await;
    timeout(Duration::from_secs(20), &mut bench.task).await.expect("it has ended").expect("in order");
    assert_eq!(standing.asked as usize, asked.lock().expect("no test panics with it").len());
    assert!(standing.bytes > 1_000 && standing.problem.is_none(), "{standing:?}");
}

#[tokio::test]
async fn what_is_no_proof_is_not_believed() {
    let now = now_ms();
    // Plain HTTP, to which anybody on the way can write.
    let (plain, _) = scripted::server(&[head("200 OK", now)]).await;
    let mut bench = Bench::start(&plain, scripted::wire(), EARLIEST_MS);
    assert!(bench.problem().await.contains("without a date"));
    bench.end().await;
    for (from_ms, earliest_ms, answer, reason) in [
        (now - DAY_MS, EARLIEST_MS, head("200 OK", now - 2 * DAY_MS), "before its own certificates were valid"),
        (now - 10 * DAY_MS, now - DAY_MS, head("200 OK", now - 2 * DAY_MS), "before its own certificates were valid"),
        // It has expired since the latest time that is known to be past.
        (now - 400 * DAY_MS, now - DAY_MS, head("200 OK", now - 300 * DAY_MS), "no connection"),
        (now - DAY_MS, EARLIEST_MS, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(), "without a date"),
        (now - DAY_MS, EARLIEST_MS, "HTTP/1.1 200 OK\r\ndate: today\r\n\r\n".into(), "without a date"),
        (now - DAY_MS, EARLIEST_MS, format!("HTTP/1.1 200 {}\r\n", "x".repeat(100_000)), "the connection broke"),
    ] {
        let (origin, pem, _) = host(from_ms, move || answer.clone()).await;
        let mut bench = Bench::start(&origin, trusting(pem), earliest_ms);
        let problem = bench.problem().await;
        assert!(problem.contains(reason), "{problem}, not {reason}");
        bench.end().await;
    }
    let (origin, _, _) = host(now - DAY_MS, move || head("200 OK", now)).await;
    let (_, stranger, _) = host(now - DAY_MS, String::new).await;
    let mut bench = Bench::start(&origin, trusting(stranger), EARLIEST_MS);
    assert!(bench.problem().await.contains("no connection"), "a certificate of an authority that is not trusted");
    assert!(bench.told.try_recv().is_err());
    bench.end().await;
}

#[tokio::test]
async fn a_time_that_was_believed_and_cannot_be_past_yet_bounds_nothing() {
    let (origin, pem, _) = host(now_ms() - DAY_MS, || head("200 OK", now_ms())).await;
    // 2046, by a week number that wrapped.
    let mut bench = Bench::start(&origin, trusting(pem), now_ms() + 7_168 * DAY_MS);
    assert!(bench.told().await.0.abs_diff(now_ms()) < 5_000);
    bench.end().await;
    for (earliest_ms, floor) in
        [(0, 0), (BELIEVABLE_MS, BELIEVABLE_MS), (BELIEVABLE_MS + 1, EARLIEST_MS), (u64::MAX, EARLIEST_MS)]
    {
        assert_eq!(floor_ms(earliest_ms), floor);
    }
    assert_eq!(
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(BELIEVABLE_MS)),
        "Tue, 01 Jan 2036 00:00:00 GMT"
    );
}

#[tokio::test]
async fn under_every_stance_it_may_be_asked_and_the_hosts_name_be_resolved() {
    let (origin, pem, _) = host(now_ms() - DAY_MS, || head("200 OK", now_ms())).await;
    for stance in tidegate_protocol::stance::Stance::ALL {
        let wire = trusting(pem.clone());
        wire.let_names(stance.leave().names);
        let mut bench = Bench::start(&origin, wire, EARLIEST_MS);
        bench.leave.send_replace(stance.leave());
        bench.told().await;
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn gaps_double_up_to_six_hours_and_only_another_host_is_asked_at_once() {
    // Nobody listens there: each question fails at once.
    let (_, pem, _) = host(now_ms(), String::new).await;
    let mut bench = Bench::start("https://127.0.0.1:1", trusting(pem), EARLIEST_MS);
    let minutes = |of: u64| Duration::from_secs(60 * of);
    bench.settings.send_modify(|settings| {
        if let Some(settings) = settings {
            settings.after = minutes(5);
        }
    });
    let start = tokio::time::Instant::now();
    let mut asked_at: Vec<u64> = Vec::new();
    for number in 1..=10 {
        timeout(Duration::from_secs(86_400), bench.standing.wait_for(|standing| standing.asked == number))
            .await
            .expect("in time")
            .expect("it lives");
        asked_at.push(start.elapsed().as_secs());
    }
    let gaps: Vec<u64> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, expected) in gaps.iter().zip([10, 20, 40, 80, 160, 320, 360, 360, 360]) {
        let (least, most) = (expected * 60 * 79 / 100, expected * 60 * 121 / 100 + 60);
        assert!((least..=most).contains(gap), "{gaps:?}");
    }
    // The same host again: nothing is hastened.
    let known = bench.settings.borrow().clone();
    bench.settings.send_replace(known.clone());
    tokio::time::sleep(minutes(5)).await;
    assert_eq!(bench.standing.borrow().asked, 10);
    bench.settings.send_replace(known.map(|known| Settings { origin: "https://127.0.0.1:2".into(), ..known }));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.standing.borrow().asked, 11);
    bench.end().await;
}
