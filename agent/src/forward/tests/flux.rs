//! A small Flux on loopback: answers as told, and keeps what came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The connection it came on, counted from 0.
    pub(super) connection: usize,
    pub(super) at: Instant,
    pub(super) status: u16,
}

impl Seen {
    /// The events it carried.
    pub(super) fn events(&self) -> Vec<Value> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Array(events)) => events,
            Ok(event @ Value::Object(_)) => vec![event],
            other => panic!("not a body of events: {other:?}"),
        }
    }

    /// The sequence numbers it carried, without those of gap records, which the store adds by itself.
    pub(super) fn seqs(&self) -> Vec<u64> {
        let events = self.events();
        let published = events.iter().filter(|event| event["topic"] != tidegate_protocol::gap::TOPIC);
        published.map(|event| event["seq"].as_u64().expect("each event has a seq")).collect()
    }

    /// Whether all, or none, of its events are marked; panics if only some are.
    pub(super) fn replayed(&self) -> bool {
        let marks: Vec<bool> = self.events().iter().map(|event| event["replayed"] == true).collect();
        assert!(marks.windows(2).all(|pair| pair[0] == pair[1]), "some marked, some not");
        marks[0]
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Status(u16, Vec<(&'static str, String)>, String),
    /// Closes the connection instead.
    Cut,
    /// Answers 200 after this.
    Slow(Duration),
    /// Answers so when it is told to.
    When(Arc<Notify>, u16, Vec<(&'static str, String)>),
}

/// A plain answer.
pub(super) fn status(code: u16) -> Reply {
    Reply::Status(code, Vec::new(), String::new())
}

type Rule = Box<dyn FnMut(&Seen, usize) -> Reply + Send>;

struct Inner {
    seen: Vec<Seen>,
    rule: Rule,
    connections: usize,
}

/// The server; it ends when the test's runtime does.
#[derive(Clone)]
pub(super) struct Flux {
    inner: Arc<Mutex<Inner>>,
    pub(super) address: std::net::SocketAddr,
}

impl Flux {
    /// Answers by a rule that is given the request and its number, counted from 0.
    pub(super) async fn start(rule: impl FnMut(&Seen, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let inner = Inner { seen: Vec::new(), rule: Box::new(rule), connections: 0 };
        let flux = Self { inner: Arc::new(Mutex::new(inner)), address };
        let server = flux.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
                tokio::spawn(server.clone().serve(TokioIo::new(stream)));
            }
        });
        flux
    }

    /// Answers in this order, then 200.
    pub(super) async fn scripted(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        Self::start(move |_, _| replies.pop_front().unwrap_or(status(200))).await
    }

    /// Everything that came.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.inner.lock().expect("no holder panics").seen.clone()
    }

    /// The requests that were answered 200.
    pub(super) fn accepted(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.status == 200).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.inner.lock().expect("no holder panics").connections
    }

    async fn serve(self, io: TokioIo<tokio::net::TcpStream>) {
        let connection = {
            let mut inner = self.inner.lock().expect("no holder panics");
            inner.connections += 1;
            inner.connections - 1
        };
        let service = service_fn(move |request| {
            let flux = self.clone();
            async move { flux.answer(request, connection).await }
        });
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }

    async fn answer(self, request: Request<Incoming>, connection: usize) -> std::io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let reply = {
            let mut inner = self.inner.lock().expect("no holder panics");
            let mut seen = Seen {
                path: parts.uri.to_string(),
                headers: parts.headers,
                body,
                connection,
                at: Instant::now(),
                status: 0,
            };
            let number = inner.seen.len();
            let reply = (inner.rule)(&seen, number);
            seen.status = match &reply {
                Reply::Status(code, ..) | Reply::When(_, code, _) => *code,
                Reply::Cut => 0,
                Reply::Slow(_) => 200,
            };
            inner.seen.push(seen);
            reply
        };
        let reply = match reply {
            Reply::When(told, code, headers) => {
                told.notified().await;
                Reply::Status(code, headers, String::new())
            }
            reply => reply,
        };
        match reply {
            Reply::When(..) => unreachable!("it became a status above"),
            Reply::Status(code, headers, body) => {
                let mut response = Response::builder().status(code);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Full::from(body)).map_err(std::io::Error::other)
            }
            Reply::Cut => Err(std::io::Error::other("cut")),
            Reply::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(Response::new(Full::default()))
            }
        }
    }
}
