//! The Flux's HTTP side.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{AUTH_KEY, AUTH_KEY_ID, Answer, Received, Request, Shared, lock, received};
use crate::certs::Certs;

/// What the handle asks of the server.
pub(super) enum Command {
    Listen(mpsc::SyncSender<()>),
    Stop(mpsc::SyncSender<()>),
    Quit,
}

/// Makes what turns connections into TLS ones from PEM files.
pub(super) fn acceptor(certs: &Certs) -> TlsAcceptor {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certs.server)
        .and_then(Iterator::collect)
        .expect("the server's certificate was just made");
    let key = PrivateKeyDer::from_pem_file(&certs.server_key).expect("the server's key was just made");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .expect("ring serves every protocol version and the key fits the certificate");
    TlsAcceptor::from(Arc::new(config))
}

pub(super) fn run(address: SocketAddr, shared: &Arc<Shared>, inbox: UnboundedReceiver<Command>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for the Flux");
    runtime.block_on(serve(address, shared, inbox));
}

async fn serve(address: SocketAddr, shared: &Arc<Shared>, mut inbox: UnboundedReceiver<Command>) {
    let mut listener: Option<TcpListener> = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Listen(done)) => {
                    if listener.is_none() {
                        listener = Some(TcpListener::bind(address).await.expect("the Flux's port"));
                    }
                    let _ = done.send(()); // who asked may have given up waiting
                }
                Some(Command::Stop(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Command::Quit) | None => return,
            },
            stream = accept(listener.as_ref()) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(stream, Arc::clone(shared)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    match shared.tls.clone() {
        None => serve_requests(stream, shared).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_requests(stream, shared).await;
            }
        }
    }
}

async fn serve_requests(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { handle(request, &shared).await }
    });
    // A connection that ends in an error was cut, by us as programmed or by the agent: both are what is tested.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection is to be cut without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut, as programmed")]
struct Cut;

async fn handle(request: hyper::Request<Incoming>, shared: &Shared) -> Result<Response<AnswerBody>, Cut> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/v1/auth" {
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        return Ok(log_in(&body, shared));
    }
    if head.method == Method::OPTIONS && head.uri.path() == "*" {
        // About the server as a whole (RFC 9110, 9.3.7): no resource, so no event; servers answer it as they like.
        return Ok(respond(405, &[], "", None));
    }
    let programmed = lock(&shared.program).next.pop_front();
    if programmed == Some(Answer::CutRequest) {
        let mut body = body;
        let _ = body.frame().await;
        return Err(Cut);
    }
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = head.uri.to_string();
    let mut received = Received {
        at: Instant::now(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        length: body.len(),
        array: false,
        events: Vec::new(),
        status: 0,
        accepted: false,
        path,
    };
    if let Some(refused) = refuse(&head.method, &received, shared) {
        return Ok(refused);
    }
    let answer = programmed.unwrap_or_else(|| {
        let number = lock(&shared.log).requests.len();
        (lock(&shared.program).rule)(&Request { path: &received.path, body: &body, number })
    });
    match received::parse(&body) {
        Ok((array, events)) => (received.array, received.events) = (array, events),
        Err(error) => {
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            lock(&shared.log).faults.push(format!("a body that is no event and no array of them: {error}: {text}"));
        }
    }
    give(answer, received, shared).await
}

/// Sends the answer and keeps the request with it.
async fn give(answer: Answer, mut received: Received, shared: &Shared) -> Result<Response<AnswerBody>, Cut> {
    received.accepted = answer.accepts();
    let mut answer = answer;
    while let Answer::After(delay, inner) = answer {
        tokio::time::sleep(delay).await;
        answer = *inner;
    }
    let unified = received.path == "/";
    let response = match answer {
        Answer::Accept if unified => {
            respond(200, &[], r#"{"statusCode":200,"body":{"result":"ok","detail":{}}}"#, None)
        }
        Answer::Accept => respond(200, &[], "", None),
        Answer::Status { status, headers, body } => respond(status, &headers, &body, None),
        Answer::CutAnswer => respond(200, &[], r#"{"result":"o"#, Some(100)),
        Answer::CutRequest | Answer::After(..) => {
            lock(&shared.log).take(received);
            return Err(Cut);
        }
    };
    received.status = response.status().as_u16();
    lock(&shared.log).take(received);
    Ok(response)
}

/// What the entrance itself refuses, whatever the program says.
fn refuse(method: &Method, received: &Received, shared: &Shared) -> Option<Response<AnswerBody>> {
    let path = received.path.as_str();
    if method != Method::POST {
        lock(&shared.log).faults.push(format!("{method} {path}: only POST is documented"));
        return Some(respond(405, &[], "", None));
    }
    if path == "/" || path.starts_with("/v1/flux/incoming_webhooks/") {
        return None;
    }
    if path.starts_with("/v1/flux/apps/") && path.ends_with("/messages") && path.contains("/channels/") {
        let token = lock(&shared.logins).token.clone();
        let key_is_right = received.header("x-soracom-api-key") == Some("api-key-test");
        if key_is_right && token.is_some() && received.header("x-soracom-token") == token.as_deref() {
            return None;
        }
        return Some(respond(401, &[], r#"{"code":"COM0001","message":"Invalid token"}"#, None));
    }
    Some(respond(404, &[], r#"{"code":"COM0004","message":"not found"}"#, None))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogIn {
    auth_key_id: String,
    auth_key: String,
    token_timeout_seconds: Option<u64>,
}

fn log_in(body: &[u8], shared: &Shared) -> Response<AnswerBody> {
    let mut logins = lock(&shared.logins);
    match serde_json::from_slice::<LogIn>(body) {
        Ok(login) if login.auth_key_id == AUTH_KEY_ID && login.auth_key == AUTH_KEY => {
            logins.granted += 1;
            logins.timeout_s = login.token_timeout_seconds;
            let token = format!("token-{}", logins.granted);
            let body = format!(r#"{{"apiKey":"api-key-test","token":"{token}","operatorId":"OP0000000000"}}"#);
            logins.token = Some(token);
            respond(200, &[], &body, None)
        }
        _ => {
            logins.refused += 1;
            respond(401, &[], r#"{"code":"AUM0001","message":"Invalid key"}"#, None)
        }
    }
}

fn respond(
    status: u16,
    headers: &[(String, String)],
    body: &str,
    claimed_length: Option<usize>,
) -> Response<AnswerBody> {
    let mut builder = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("content-length", claimed_length.unwrap_or(body.len()));
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    let rest = Some(Bytes::copy_from_slice(body.as_bytes()));
    let body = AnswerBody { rest, cut: claimed_length.is_some(), waited: false };
    builder.body(body).expect("a test programs only answers that HTTP allows")
}

/// A body that may break off.
struct AnswerBody {
    rest: Option<Bytes>,
    cut: bool,
    /// Asked again after the bytes: hyper writes what it has whenever a body makes it wait, and throws it away when
    /// the body fails at once.
    waited: bool,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(match self.rest.take() {
            Some(bytes) if !bytes.is_empty() => Some(Ok(Frame::data(bytes))),
            _ if self.cut && !self.waited => {
                self.waited = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ if self.cut => Some(Err(Cut)),
            _ => None,
        })
    }
}
