//! The socket itself: every byte to and from the outside goes through here, below TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::ceiling::{Fits, LOOK_AGAIN, Room, spent};
use super::dial::Dialled;
use super::gate::{Direction, Gate, Held, Place, hand_over};
use super::line::Line;
use super::meter::{Meter, difference};
use super::window::hand_in;
use crate::shape::bucket::Class;

/// Slices that are written at once where several are given; the rest follows with the next write.
const SLICES: usize = 16;

/// A connection that asks the gate before it writes and reads.
#[derive(Debug)]
pub(super) struct Metered {
    tcp: TcpStream,
    line: Arc<Line>,
    gate: Arc<Gate>,
    meter: Arc<Meter>,
    up: Place,
    down: Place,
    held: Arc<Held>,
    class: Class,
    /// Until acknowledgements are looked for again.
    acknowledged: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    pub(super) fn new((tcp, line): Dialled, gate: &Arc<Gate>, meter: Arc<Meter>, class: Class) -> Self {
        let held = Arc::new(Held::default());
        let place = |direction| gate.place(direction, class, Arc::clone(&held));
        let (up, down) = (place(Direction::Up), place(Direction::Down));
        Self { tcp, line, gate: Arc::clone(gate), meter, up, down, held, class, acknowledged: None }
    }

    /// For how long the gate has held it back.
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// The eye on it.
    pub(super) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// How many of `wanted` bytes there is room for under the ceiling: all without one.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        loop {
            let Some(room) = self.meter.room(self.class) else { return Poll::Ready(Ok(wanted)) };
            let made_up = self.line.booked().made_up;
            match room.fits(wanted, made_up) {
                Fits::Now(bytes) => return Poll::Ready(Ok(bytes)),
                Fits::Never => return Poll::Ready(Err(self.spent())),
                Fits::Later => {}
            }
            let wait = self.acknowledged.insert(Box::pin(tokio::time::sleep(LOOK_AGAIN)));
            ready!(wait.as_mut().poll(cx));
        }
    }

    /// The ceiling is reached.
    fn spent(&self) -> io::Error {
        self.line.cut();
        spent()
    }

    /// Writes as much of `wanted` bytes as may pass; `write` is given how many.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        write: impl Fn(Pin<&mut TcpStream>, &mut Context<'_>, usize) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(room) = self.poll_room(cx, wanted) else {
            self.up.leave();
            return Poll::Pending;
        };
        let wanted = room?;
        loop {
            if !self.gate.is_limited(Direction::Up) {
                self.up.leave();
                let written = ready!(write(Pin::new(&mut self.tcp), cx, wanted))?;
                self.line.wrote(written as u64);
                return Poll::Ready(Ok(written));
            }
            // Before the gate is asked: what it permits must not wait for the kernel.
            let Poll::Ready(ready) = self.tcp.poll_write_ready(cx) else {
                self.up.leave();
                return Poll::Pending;
            };
            ready?;
            self.meter.settle_if_due();
            let made_up = self.line.booked().made_up;
            let cost = |rate| made_up.cost(made_up.payload_within(wanted as u64, hand_over(rate, made_up.full())));
            let Some(taken) = ready!(self.up.poll(cost, cx)) else { continue };
            // Booked until it is written, so that nobody settles in between.
            let mut booked = self.line.booked();
            let result = write(Pin::new(&mut self.tcp), cx, made_up.payload_for(taken) as usize);
            let written = if let Poll::Ready(Ok(written)) = &result { *written as u64 } else { 0 };
            let cost = made_up.cost(written);
            booked.traffic.up += cost;
            drop(booked);
            self.gate.settle(difference(cost, taken), 0);
            self.line.wrote(written);
            // What the kernel keeps of it for now takes up room in the bucket from this moment.
            self.meter.settle();
            return result;
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.meter.ceiling.is_set() {
            // Who drops it wants no more of it: nor shall it be sent.
            self.line.cut_unfinished();
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.meter.room(this.class).is_some_and(Room::is_none) {
            return Poll::Ready(Err(this.spent()));
        }
        let before = buf.filled().len();
        if !this.gate.is_limited(Direction::Down) {
            this.down.leave();
            ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
            let read = buf.filled().len() - before;
            this.line.read(read as u64);
            if read > 0 && this.meter.ceiling.is_set() {
                // Its window is small.
                this.line.acknowledge();
            }
            return Poll::Ready(Ok(()));
        }
        let Poll::Ready(ready) = this.tcp.poll_read_ready(cx) else {
            this.down.leave();
            return Poll::Pending;
        };
        ready?;
        // What was received cannot be unsaid. But what is read makes room in the window, and so invites the peer to send
        // as much: that is asked for, and what came besides payload that was invited is charged.
        this.meter.settle_if_due();
        this.line.widen();
        let made_up = this.line.booked().made_up;
        let Poll::Ready(asked) = this.down.poll(|rate| hand_in(rate, made_up.full()), cx) else {
            // Until it may go on nothing is read: what came must not wait so long for its acknowledgement.
            this.line.acknowledge();
            return Poll::Pending;
        };
        let most = asked.map_or(buf.remaining(), |asked| made_up.payload_for(asked) as usize);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most.min(buf.remaining())));
        let result = Pin::new(&mut this.tcp).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        if let Some(asked) = asked {
            this.gate.settle(0, difference(made_up.part(read as u64), asked));
        }
        ready!(result)?;
        this.line.read(read as u64);
        if read > 0 {
            this.line.acknowledge();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.write(cx, buf.len(), |tcp, cx, most| tcp.poll_write(cx, &buf[..most]))
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
        self.write(cx, wanted, |tcp, cx, most| {
            if most == wanted {
                return tcp.poll_write_vectored(cx, bufs);
            }
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
            tcp.poll_write_vectored(cx, &slices[..count])
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.shut();
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
