use super::*;
use crate::watch::Status;
use crate::watch::control::{AskError, Bound, ask, ask_stream, bind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const BOUND: Duration = Duration::from_secs(20);

struct Served {
    path: PathBuf,
    _folder: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

fn serve(streams: Streams) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let bound: Bound = bind(&path).expect("a socket");
    let stop = CancellationToken::new();
    let source = Arc::new(|| Status { gateway: "gw-1".into(), ..Status::default() });
    tokio::spawn(bound.serve(source, Arc::new([("buffer", streams)]), stop.clone()));
    Served { path, _folder: folder, _stop: stop.drop_guard() }
}

/// Asks from a thread of its own, as another process does.
async fn asked(path: &std::path::Path, question: &'static str) -> Result<(Vec<String>, Option<String>), AskError> {
    let path = path.to_owned();
    let asking = tokio::task::spawn_blocking(move || {
        let mut items = Vec::new();
        let end = ask_stream(&path, "buffer", &question, &mut |item| {
            items.push(item.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok((items, end))
    });
    timeout(BOUND, asking).await.expect("it is answered").expect("no panic")
}

/// Says `{"n":…}` for ever, and notes when it has ended.
fn endless(said: &Arc<AtomicU64>, ended: &Arc<AtomicBool>) -> Streams {
    let (said, ended) = (Arc::clone(said), Arc::clone(ended));
    Arc::new(move |_, outlet| {
        let json = format!("{{\"text\":\"{}\"}}", "x".repeat(1000));
        while outlet.item(json.as_bytes()).is_continue() {
            said.fetch_add(1, Ordering::Relaxed);
        }
        ended.store(true, Ordering::Relaxed);
        Ok("null".into())
    })
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_answer_of_many_lines_arrives_whole_and_in_order() {
    let served = serve(Arc::new(|question, outlet| {
        assert_eq!(question, "\"count\"");
        for n in 0..20_000 {
            assert!(outlet.item(format!("{{\"n\":{n}}}").as_bytes()).is_continue());
        }
        Ok("{\"count\":20000}".into())
    }));
    let (items, end) = asked(&served.path, "count").await.expect("an answer");
    assert_eq!(items.len(), 20_000);
    assert!(items.iter().enumerate().all(|(n, item)| *item == format!("{{\"n\":{n}}}")));
    assert_eq!(end.as_deref(), Some("{\"count\":20000}"));
}

#[tokio::test]
async fn a_refusal_may_stand_at_the_beginning_or_in_the_middle() {
    let served = serve(Arc::new(|question, outlet| {
        if question == "\"late\"" {
            let _ = outlet.item(b"1");
        }
        Err(Refused::new("no_lane", "there is no such lane"))
    }));
    for question in ["early", "late"] {
        let refused = asked(&served.path, question).await;
        assert!(matches!(refused, Err(AskError::Refused { code, .. }) if code == "no_lane"), "{question}");
    }
}

#[tokio::test]
async fn while_one_answer_is_under_way_another_is_refused_and_the_status_is_not() {
    let (said, ended) = (Arc::default(), Arc::default());
    let served = serve(endless(&said, &ended));
    let mut first = UnixStream::connect(&served.path).await.expect("connect");
    first.write_all(b"{\"request\":\"buffer\",\"ask\":1}\n").await.expect("write");
    // Nobody reads: it says as much as fits on the way, and no more.
    until("it says something", || said.load(Ordering::Relaxed) > 0).await;
    assert!(matches!(asked(&served.path, "x").await, Err(AskError::Refused { code, .. }) if code == "busy"));
    let path = served.path.clone();
    let status = tokio::task::spawn_blocking(move || ask(&path)).await.expect("no panic").expect("a status");
    assert_eq!(status.gateway, "gw-1");
    let mut before = 0;
    until("it waits for its reader", || {
        let now = said.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(said.load(Ordering::Relaxed) < 2000, "what waits for a reader is bounded");
    assert!(!ended.load(Ordering::Relaxed));
    drop(first);
    until("it notices that nobody listens", || ended.load(Ordering::Relaxed)).await;
    let mut again = BufReader::new(UnixStream::connect(&served.path).await.expect("connect"));
    again.write_all(b"{\"request\":\"buffer\",\"ask\":1}\n").await.expect("write");
    let mut line = String::new();
    timeout(BOUND, again.read_line(&mut line)).await.expect("an answer").expect("a line");
    assert!(line.starts_with("{\"item\":"), "the place came back: {}", &line[..line.len().min(80)]);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_left() {
    let (mine, _theirs) = UnixStream::pair().expect("a pair");
    let (said, ended) = (Arc::default(), Arc::<AtomicBool>::default());
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
    let ask = RawValue::from_string("1".into()).expect("JSON");
    let mut mine = mine;
    let slow = Duration::from_millis(50);
    let left = timeout(BOUND, answer(&mut mine, endless(&said, &ended), ask, place, slow)).await.expect("it ends");
    assert_eq!(left.expect_err("it is left").kind(), io::ErrorKind::TimedOut);
    until("whoever answers ends too", || ended.load(Ordering::Relaxed)).await;
}

#[tokio::test]
async fn an_answer_without_its_end_is_told_from_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let answering = tokio::spawn(async move {
        for reply in [&b"{\"item\":1}\n{\"item\":2}\n"[..], b"{\"item\":1}\n{\"end\":", b"{\"nonsense\":1}\n"] {
            let (stream, _) = listener.accept().await.expect("accept");
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).await.expect("the question");
            stream.write_all(reply).await.expect("write");
        }
    });
    assert!(matches!(asked(&path, "x").await, Err(AskError::BrokenOff { .. })));
    assert!(matches!(asked(&path, "x").await, Err(AskError::BrokenOff { .. })));
    assert!(matches!(asked(&path, "x").await, Err(AskError::Nonsense { .. })));
    answering.await.expect("no panic");
}
