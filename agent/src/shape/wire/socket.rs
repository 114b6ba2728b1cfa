//! The socket itself: every byte to and from the outside goes through here, below TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gate::{Direction, Gate, Held, Place, hand_over};
use super::line::Line;
use super::meter::{Meter, difference};
use crate::shape::bucket::Class;

/// Slices that are written at once where several are given; the rest follows with the next write.
const SLICES: usize = 16;

/// Payload that is read at a time while what comes in is limited: so much may come in beyond what may.
const READ: usize = 4096;

/// A connection that asks the gate before it writes and reads.
#[derive(Debug)]
pub(super) struct Metered {
    line: Arc<Line>,
    gate: Arc<Gate>,
    meter: Arc<Meter>,
    up: Place,
    down: Place,
    held: Arc<Held>,
}

impl Metered {
    pub(super) fn new(line: Arc<Line>, gate: &Arc<Gate>, meter: Arc<Meter>, class: Class) -> Self {
        let held = Arc::new(Held::default());
        let place = |direction| gate.place(direction, class, Arc::clone(&held));
        let (up, down) = (place(Direction::Up), place(Direction::Down));
        Self { line, gate: Arc::clone(gate), meter, up, down, held }
    }

    /// For how long the gate has held it back.
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Writes as much of `wanted` bytes as may pass; `write` is given how many.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        write: impl Fn(&Line, usize) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            // Before the gate is asked: what it permits must not wait for the kernel.
            let Poll::Ready(ready) = self.line.tcp.poll_write_ready(cx) else {
                self.up.leave();
                return Poll::Pending;
            };
            ready?;
            if !self.up.waits() && !self.gate.is_limited(Direction::Up) {
                match write(&self.line, wanted) {
                    Ok(written) => {
                        self.line.wrote(written as u64);
                        return Poll::Ready(Ok(written));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            self.meter.settle_if_due();
            let made_up = self.line.booked().made_up;
            let cost = |rate| made_up.cost(made_up.payload_within(wanted as u64, hand_over(rate, made_up.full())));
            let Some(taken) = ready!(self.up.poll(cost, cx)) else { continue };
            let payload = made_up.payload_for(taken);
            let mut booked = self.line.booked();
            let result = write(&self.line, payload as usize);
            let written = *result.as_ref().unwrap_or(&0) as u64;
            let cost = made_up.cost(written);
            booked.traffic.up += cost;
            drop(booked);
            self.gate.settle(difference(cost, taken), 0);
            match result {
                Ok(written) => {
                    self.line.wrote(written as u64);
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let Poll::Ready(ready) = this.line.tcp.poll_read_ready(cx) else {
                this.down.leave();
                return Poll::Pending;
            };
            ready?;
            // What was received cannot be unsaid: one byte is asked for, which says that no debt is left, and what is
            // read is charged. Meanwhile the peer is held by its window.
            let limited = this.gate.is_limited(Direction::Down);
            let most = if limited { buf.remaining().min(READ) } else { buf.remaining() };
            let asked = if limited { ready!(this.down.poll(|_| 1, cx)).unwrap_or(0) } else { 0 };
            match this.line.tcp.try_read(buf.initialize_unfilled_to(most)) {
                Ok(read) => {
                    buf.advance(read);
                    this.line.read(read as u64);
                    if asked > 0 {
                        this.gate.settle(0, -1);
                        this.meter.settle_if_due();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if asked > 0 {
                        this.gate.settle(0, -1);
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.write(cx, buf.len(), |line, most| line.tcp.try_write(&buf[..most]))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.write(cx, wanted, |line, most| {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (mut left, mut count) = (most, 0);
            for (slice, buf) in slices.iter_mut().zip(bufs.iter().filter(|buf| !buf.is_empty())) {
                let part = buf.len().min(left);
                *slice = IoSlice::new(&buf[..part]);
                left -= part;
                count += 1;
                if left == 0 {
                    break;
                }
            }
            line.tcp.try_write_vectored(&slices[..count])
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is written is with the kernel.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.line.shut() {
            // The peer has cut it already: there is nothing left to end.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
