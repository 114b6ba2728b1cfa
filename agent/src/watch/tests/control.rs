use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::control::{AskError, ControlError, MAX_CONNECTIONS, MAX_LINE, ask, bind};
use super::{sample, source};

const BOUND: Duration = Duration::from_secs(10);

struct Served {
    path: PathBuf,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn serve() -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run/control.sock");
    let stop = CancellationToken::new();
    let bound = bind(&path).expect("a socket");
    let task = tokio::spawn(bound.serve(source(), std::sync::Arc::new([]), stop.clone()));
    Served { path, stop, task, _folder: folder }
}

async fn answer(stream: &mut BufReader<UnixStream>) -> serde_json::Value {
    let mut line = String::new();
    timeout(BOUND, stream.read_line(&mut line)).await.expect("in time").expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

async fn exchange(path: &PathBuf, request: &[u8]) -> serde_json::Value {
    let mut stream = BufReader::new(UnixStream::connect(path).await.expect("connect"));
    stream.write_all(request).await.expect("write");
    answer(&mut stream).await
}

#[tokio::test]
async fn it_tells_the_status_and_removes_its_socket_at_the_end() {
    let served = serve();
    let path = served.path.clone();
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let asked = tokio::task::spawn_blocking(move || ask(&path)).await.expect("no panic").expect("a status");
    assert_eq!(asked, sample());
    served.stop.cancel();
    timeout(BOUND, served.task).await.expect("it ends").expect("no panic");
    assert!(!served.path.exists());
    assert!(matches!(ask(&served.path), Err(AskError::NotRunning { .. })));
}

#[tokio::test]
async fn one_connection_may_ask_several_times_and_wrong_requests_do_not_end_it() {
    let served = serve();
    let mut stream = BufReader::new(UnixStream::connect(&served.path).await.expect("connect"));
    stream.write_all(b"{\"request\":\"status\"}\n{\"request\":\"st").await.expect("write");
    assert_eq!(answer(&mut stream).await["ok"]["gateway"], "gw-1");
    stream.write_all(b"atus\"}\n{\"request\":\"dance\"}\nnonsense\n\n\xff\n{\"request\":5}\n").await.expect("write");
    assert_eq!(answer(&mut stream).await["ok"]["pid"], 42);
    assert_eq!(answer(&mut stream).await["error"]["code"], "unknown_request");
    for _ in 0..4 {
        assert_eq!(answer(&mut stream).await["error"]["code"], "malformed");
    }
}

#[tokio::test]
async fn a_line_too_long_is_refused_and_ends_the_connection() {
    let served = serve();
    let mut stream = BufReader::new(UnixStream::connect(&served.path).await.expect("connect"));
    stream.write_all(&vec![b'x'; MAX_LINE + 1]).await.expect("write");
    assert_eq!(answer(&mut stream).await["error"]["code"], "too_long");
    let mut rest = Vec::new();
    let _ = timeout(BOUND, stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert_eq!(exchange(&served.path, b"{\"request\":\"status\"}\n").await["ok"]["gateway"], "gw-1");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_places_come_back() {
    let served = serve();
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = BufReader::new(UnixStream::connect(&served.path).await.expect("connect"));
        stream.write_all(b"{\"request\":\"status\"}\n").await.expect("write");
        assert_eq!(answer(&mut stream).await["ok"]["gateway"], "gw-1");
        held.push(stream);
    }
    let mut more = BufReader::new(UnixStream::connect(&served.path).await.expect("connect"));
    assert_eq!(answer(&mut more).await["error"]["code"], "busy");
    drop(held);
    let begun = Instant::now();
    loop {
        let mut stream = BufReader::new(UnixStream::connect(&served.path).await.expect("connect"));
        let _ = stream.write_all(b"{\"request\":\"status\"}\n").await;
        if answer(&mut stream).await.get("ok").is_some() {
            break;
        }
        assert!(begun.elapsed() < BOUND, "no place came back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let served = serve();
    let mut stream = UnixStream::connect(&served.path).await.expect("connect");
    stream.write_all(b"{\"request\":").await.expect("write");
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.expect("closed in order"), 0);
}

#[tokio::test]
async fn a_socket_that_nobody_answers_on_is_replaced_and_one_that_lives_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale socket"));
    assert!(path.exists());
    let first = bind(&path).expect("the stale one is replaced");
    assert!(matches!(bind(&path), Err(ControlError::InUse { .. })));
    drop(first);
    assert!(!path.exists(), "what is dropped without having been served is removed too");
    let second = bind(&path).expect("the first has ended");
    // Another agent may have taken the path over (an operator removed the file): its socket stays.
    std::fs::remove_file(&path).expect("remove");
    let third = bind(&path).expect("the path is free");
    let stop = CancellationToken::new();
    stop.cancel();
    timeout(BOUND, second.serve(source(), std::sync::Arc::new([]), stop)).await.expect("it ends");
    assert!(path.exists());
    let entries: Vec<_> = std::fs::read_dir(folder.path()).expect("list").collect();
    assert_eq!(entries.len(), 1, "nothing else is left behind: {entries:?}");
    drop(third);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").expect("write");
    assert!(matches!(bind(&path), Err(ControlError::NotASocket { .. })));
    assert_eq!(std::fs::read(&path).expect("read"), b"data");
    let below = path.join("control.sock");
    assert!(matches!(bind(&below), Err(ControlError::Io { .. })));
}

#[test]
fn what_answers_something_else_is_said_so() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let other = std::thread::spawn(move || {
        for reply in
            [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", b"{\"error\":{\"code\":\"busy\",\"message\":\"full\"}}\n"]
        {
            let (mut stream, _) = listener.accept().expect("accept");
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(reply);
        }
    });
    assert!(matches!(ask(&path), Err(AskError::Nonsense { .. })));
    assert!(matches!(ask(&path), Err(AskError::Io { .. })));
    assert!(matches!(ask(&path), Err(AskError::Refused { code, .. }) if code == "busy"));
    other.join().expect("no panic");
}

#[tokio::test]
async fn the_longest_path_that_the_configuration_takes_can_be_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut path = folder.path().to_owned();
    let left = 98 - path.as_os_str().len();
    path.push("f".repeat(left - 1));
    path.push("s");
    assert_eq!(path.as_os_str().len(), 100);
    let _bound = bind(&path).expect("a socket");
}
