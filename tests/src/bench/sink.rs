//! An HTTP endpoint that accepts everything and counts the events in it, at little cost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// With what every event begins.
const EVENT_BEGINS: &[u8] = b"{\"gateway\":";

/// The endpoint; it lives as long as the program.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    events: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Sink {
    /// Starts it on a free port.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sink = Self { address: listener.local_addr()?, events: Arc::default(), requests: Arc::default() };
        let (events, requests) = (Arc::clone(&sink.events), Arc::clone(&sink.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (events, requests) = (Arc::clone(&events), Arc::clone(&requests));
                std::thread::spawn(move || serve(&stream, &events, &requests));
            }
        });
        Ok(sink)
    }

    /// A webhook's URL there.
    #[must_use]
    pub fn webhook_url(&self) -> String {
        format!("http://{}/v1/flux/incoming_webhooks/bench/sink", self.address)
    }

    /// Events that came.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Requests that came.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Serves requests one after the other until the other side closes or errs.
fn serve(stream: &TcpStream, events: &AtomicU64, requests: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    let finder = memchr::memmem::Finder::new(EVENT_BEGINS);
    loop {
        let mut length = None;
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let header = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if let Some((_, value)) = header {
                length = value.trim().parse().ok();
            }
        }
        body.resize(length?, 0);
        reader.read_exact(&mut body).ok()?;
        requests.fetch_add(1, Ordering::Relaxed);
        events.fetch_add(finder.find_iter(&body).count() as u64, Ordering::Relaxed);
        let mut out = stream;
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_over_several_requests_on_one_connection() {
        let sink = Sink::start().expect("a free port");
        let mut stream = TcpStream::connect(sink.address).expect("the sink listens");
        for body in [r#"[{"gateway":"a"},{"gateway":"b"}]"#, r#"{"gateway":"c"}"#] {
            write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
            let mut answer = [0_u8; 38];
            stream.read_exact(&mut answer).expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        }
        assert_eq!((sink.events(), sink.requests()), (3, 2));
    }
}
