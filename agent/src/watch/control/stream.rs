//! Answers of many lines: made where blocking is allowed, sent as fast as the reader takes them.
//!
//! ```text
//! blocking thread: whoever answers → Outlet ──queue of [`QUEUE`] chunks──▶ connection's task → socket
//! ```
//! The queue is what keeps the memory bounded: when it is full the blocking thread waits, and nothing else does. When
//! the connection ends (the reader went away, took nothing for [`SLOW`], or the agent stops) the queue closes, and
//! the next line that is said tells whoever answers to end.

use super::{Answer, Refused, encode};
use serde_json::value::RawValue;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// How long a reader may take none of an answer before it is left: someone who reads through a pager may stop to
/// read, and another who wants to look should not wait for ever.
pub const SLOW: Duration = Duration::from_secs(60);

/// Bytes gathered before they are handed on: some hundred records at a time.
const CHUNK: usize = 64 * 1024;

/// Chunks that may wait: one being written, one ready.
const QUEUE: usize = 2;

/// What is gathered is handed on after this time even if it is little, so that progress is seen.
const FLUSH: Duration = Duration::from_millis(200);

/// Answers a question (what stood in `ask`) line by line: gives items to the [`Outlet`], each one JSON value, and
/// returns the JSON value of the last line. Called where blocking is allowed, once at a time.
pub type Streams = Arc<dyn Fn(&str, &mut Outlet) -> Result<String, Refused> + Send + Sync>;

/// Where the lines of an answer go.
#[derive(Debug)]
pub struct Outlet {
    sender: mpsc::Sender<Vec<u8>>,
    gathered: Vec<u8>,
    flushed: Instant,
}

impl Outlet {
    /// Says one item, a JSON value without line breaks. [`ControlFlow::Break`] once nobody listens any more.
    pub fn item(&mut self, json: &[u8]) -> ControlFlow<()> {
        self.line(b"{\"item\":", json);
        if self.gathered.len() >= CHUNK || self.flushed.elapsed() >= FLUSH {
            return self.flush();
        }
        if self.sender.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn line(&mut self, kind: &[u8], json: &[u8]) {
        for part in [kind, json, b"}\n"] {
            self.gathered.extend_from_slice(part);
        }
    }

    fn flush(&mut self) -> ControlFlow<()> {
        self.flushed = Instant::now();
        match self.sender.blocking_send(std::mem::take(&mut self.gathered)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Has a question answered and sends the answer. `place` is held until whoever answers has ended; `slow` is how long
/// the reader may take none of it.
pub(super) async fn answer(
    stream: &mut UnixStream,
    streams: Streams,
    ask: Box<RawValue>,
    place: OwnedSemaphorePermit,
    slow: Duration,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut outlet = Outlet { sender, gathered: Vec::new(), flushed: Instant::now() };
        match streams(ask.get(), &mut outlet) {
            Ok(end) => outlet.line(b"{\"end\":", end.as_bytes()),
            Err(refused) => outlet.gathered.extend(encode(&Answer::Error(refused))),
        }
        let _ = outlet.flush();
    });
    while let Some(lines) = receiver.recv().await {
        timeout(slow, stream.write_all(&lines)).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
