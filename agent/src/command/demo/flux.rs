//! A Flux look-alike on loopback: one incoming webhook that can be stopped and started again on the same port.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::ledger::Ledger;

/// The path of the webhook, formed like SORACOM's.
const PATH: &str = "/v1/flux/incoming_webhooks/demo/Rr9cXw0lG5";

/// Largest body taken: far over the 64 KiB at which a batch closes by default.
const MAX_BODY: usize = 1024 * 1024;

/// The look-alike.
#[derive(Debug)]
pub(super) struct Flux {
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    serving: Option<JoinHandle<()>>,
}

impl Flux {
    /// Starts it on a free port.
    pub(super) async fn start(ledger: Arc<Mutex<Ledger>>) -> std::io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut flux = Self { address, ledger, serving: None };
        flux.resume().await?;
        Ok(flux)
    }

    /// The webhook's URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Stops it: its port is closed and every connection is cut, also in the middle of a request.
    pub(super) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // It ends as cancelled; once it has, its port and connections are closed.
            let _ = serving.await;
        }
    }

    /// Starts it again on the port it had.
    pub(super) async fn resume(&mut self) -> std::io::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.ledger))));
        Ok(())
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Serves until aborted; the connections end with it, because the set aborts what it holds.
async fn serve(listener: TcpListener, ledger: Arc<Mutex<Ledger>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let ledger = Arc::clone(&ledger);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&ledger)));
                    // A connection that ends in the middle is the other side's business.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, ledger: Arc<Mutex<Ledger>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = if request.method() != Method::POST || request.uri().path() != PATH {
        StatusCode::NOT_FOUND
    } else {
        match Limited::new(request.into_body(), MAX_BODY).collect().await.map(http_body_util::Collected::to_bytes) {
            Ok(body) if ledger.lock().unwrap_or_else(PoisonError::into_inner).receive(&body) => StatusCode::OK,
            Ok(_) => StatusCode::BAD_REQUEST,
            Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    };
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    const BODY: &str = r#"[{"gateway":"g","epoch":"e","lane":"n","seq":1,"device":"d","payload":1.50}]"#;

    async fn post(address: SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_takes_events_is_gone_when_stopped_and_comes_back_on_the_same_port() {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let received = || ledger.lock().map(|ledger| ledger.received()).expect("the lock is sound");
        let mut flux = Flux::start(Arc::clone(&ledger)).await.expect("a free port");
        let address = flux.address;
        let answer = post(address, PATH, BODY).await.expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(received(), 1);
        assert!(post(address, "/", BODY).await.expect("it answers").starts_with("HTTP/1.1 404 "));
        assert!(post(address, PATH, "{").await.expect("it answers").starts_with("HTTP/1.1 400 "));

        let mut open = TcpStream::connect(address).await.expect("it listens");
        open.write_all(b"POST / HTTP/1.1\r\n").await.expect("it reads");
        flux.stop().await;
        assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
        assert!(matches!(open.read(&mut [0; 16]).await, Ok(0) | Err(_)), "the connection is cut");

        flux.resume().await.expect("the port is free again");
        assert_eq!(flux.address, address);
        assert!(post(address, PATH, BODY).await.expect("it answers").starts_with("HTTP/1.1 200 "));
        assert_eq!(received(), 1);
    }
}
