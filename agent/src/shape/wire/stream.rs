//! What the door hands out: a byte stream that does not show whether it is TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::gate::Held;
use super::line::Line;
use super::socket::Metered;

/// A connection to the outside.
#[derive(Debug)]
pub struct WireStream {
    pub(super) inner: Inner,
    pub(super) held: HeldBack,
}

#[derive(Debug)]
pub(super) enum Inner {
    Plain(Metered),
    Tls(Box<TlsStream<Metered>>),
}

impl WireStream {
    /// For how long its bytes have been held back, also once the stream is elsewhere.
    pub fn held(&self) -> HeldBack {
        self.held.clone()
    }

    /// What it carries, also once the stream is elsewhere.
    pub fn carried(&self) -> Carried {
        Carried(match &self.inner {
            Inner::Plain(stream) => stream.line(),
            Inner::Tls(stream) => stream.get_ref().0.line(),
        })
    }
}

/// For how long the gate has held a connection's bytes back: time that its peer is not to blame for.
#[derive(Debug, Clone)]
pub struct HeldBack(pub(super) Arc<Held>);

impl HeldBack {
    /// Waits for `future` for as long as `limit`, not counting time in which bytes are held back. `None` if it took
    /// longer.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let (start, before) = (Instant::now(), self.0.total());
        let mut future = std::pin::pin!(future);
        loop {
            let deadline = start + limit + self.0.total().saturating_sub(before);
            if let Ok(output) = tokio::time::timeout_at(deadline, &mut future).await {
                return Some(output);
            }
            if start + limit + self.0.total().saturating_sub(before) <= Instant::now() {
                return None;
            }
        }
    }
}

/// What a connection has carried, also once the stream is elsewhere. The socket stays as long as this does.
#[derive(Debug)]
pub struct Carried(Arc<Line>);

impl Carried {
    /// Bytes on the wire in both directions so far, with all headers; what ends the connection is still to come.
    pub fn bytes(&self) -> u64 {
        let traffic = self.0.traffic();
        traffic.up + traffic.down
    }
}

impl AsyncRead for WireStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Inner::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Inner::Plain(stream) => stream.is_write_vectored(),
            Inner::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
