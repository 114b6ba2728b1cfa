//! From a target to a connected socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ceiling;
use super::error::{CannotBind, more_telling, too_long};
use super::line::{Line, Window};
use super::meter::Traffic;
use super::packet::{SYN_EXTRA, Segments};
use super::{Direction, Target, Wire, WireError};
use crate::message;

/// A connected socket, and the eye on it.
pub(super) type Dialled = (TcpStream, Arc<Line>);

impl Wire {
    /// Connects to the first of a target's addresses that takes it.
    pub(super) async fn dial(&self, target: &Target) -> Result<Dialled, WireError> {
        let (host, port) = (target.host.as_str(), target.port);
        let mut last = None;
        for address in self.resolve(host).await? {
            let address = SocketAddr::new(address, port);
            match self.dial_address(address).await {
                Ok(dialled) => return Ok(dialled),
                Err(failure) => {
                    tracing::debug!(%address, error = %failure, "cannot connect");
                    last = Some(match last {
                        Some(before) => more_telling(before, failure),
                        None => failure,
                    });
                }
            }
        }
        // What the name was known to stand for may have moved.
        self.door.resolver.forget(host);
        Err(match last {
            Some(source) => WireError::Connect { host: host.into(), port, source },
            None => WireError::NoAddress { host: host.into() },
        })
    }

    /// Connects. The socket is watched from its first segment, so that a handshake that fails is counted too.
    pub(super) async fn dial_address(&self, address: SocketAddr) -> io::Result<Dialled> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        self.bind_interface(&socket)?;
        self.door.gate.pass_window(self.class).await;
        let window = Window::new(&self.door.gate, self.class);
        // Before the handshake, which offers it.
        window.adjust(&socket, &self.door.meter, true);
        // SYN and the acknowledgement of its answer.
        let handshake = 2 * Segments::assumed(address.ip()).header + SYN_EXTRA;
        self.door.gate.pass(Direction::Up, self.class, handshake).await;
        if !self.has_room(ceiling::TAIL + handshake) {
            return Err(ceiling::spent());
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let tcp = TcpStream::from_std(socket.into())?;
        let booked = Traffic { up: handshake, down: 0 };
        let line = Arc::new(Line::new(&tcp, address.ip(), Arc::clone(&self.door.meter), booked, window)?);
        self.door.meter.watch(&line);
        let limit = self.door.options.connect_timeout;
        match timeout(limit, tcp.writable()).await {
            Ok(ready) => ready?,
            Err(_) => return Err(too_long(message!("the peer"), limit)),
        }
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        line.connected();
        line.tune(self.pace());
        Ok((tcp, line))
    }

    /// Binds a socket to the interface that is configured, if one is.
    pub(super) fn bind_interface(&self, socket: &Socket) -> io::Result<()> {
        let Some(interface) = &self.door.options.interface else { return Ok(()) };
        socket
            .bind_device(Some(interface.as_bytes()))
            .map_err(|source| io::Error::new(source.kind(), CannotBind { interface: interface.clone(), source }))
    }
}
