//! Servers on loopback that do as they are told, for the tests of those who ask.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::shape::wire::{Options, Wire};

/// What the next connections get, in order, byte by byte; the last stays.
pub(super) type Script = Arc<Mutex<Vec<String>>>;

/// A server that answers each connection with the next text of its script, and keeps what was asked.
pub(super) async fn server(script: &[String]) -> (String, Script) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (script, asked) = (script.to_vec(), Script::default());
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        for count in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                question.extend_from_slice(&byte);
            }
            let text = String::from_utf8_lossy(&question).into_owned();
            kept.lock().expect("no test panics with it").push(text);
            let answer = script.get(count).or(script.last()).cloned().unwrap_or_default();
            // Whoever asked may have had enough.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

/// A whole answer.
pub(super) fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A door without limits.
pub(super) fn wire() -> Wire {
    Wire::new(Options::default())
}
