//! One question to one name server, over UDP or TCP, through the gate.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::Budget;
use super::message::{Family, Said, answer, question};
use crate::shape::wire::ceiling;
use crate::shape::wire::meter::Traffic;
use crate::shape::wire::packet::datagram;
use crate::shape::wire::socket::Metered;
use crate::shape::wire::{Direction, Wire};
use std::sync::Arc;

/// Bytes of a datagram that are taken: an answer without extensions has 512 at most; larger ones are taken, too.
const DATAGRAM: usize = 4096;

/// A name server and how it is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// Over TCP at once.
    pub(super) tcp: bool,
}

/// What is asked.
struct Asked<'a> {
    id: u16,
    name: &'a str,
    family: Family,
    message: Vec<u8>,
}

impl Asked<'_> {
    fn read(&self, bytes: &[u8]) -> Option<Said> {
        answer(bytes, self.id, self.name, self.family)
    }
}

impl Wire {
    /// Asks a server for a full name's addresses.
    pub(super) async fn ask(
        &self,
        server: &Server,
        name: &str,
        family: Family,
        budget: &mut Budget,
    ) -> io::Result<Said> {
        let mut drawn = [0; 2];
        getrandom::fill(&mut drawn).map_err(|error| io::Error::other(error.to_string()))?;
        let id = u16::from_ne_bytes(drawn);
        let message = question(id, name, family)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a name that can be asked for"))?;
        let asked = Asked { id, name, family, message };
        if !server.tcp {
            let said = self.ask_by_datagram(server, &asked, budget).await?;
            if said != Said::Truncated {
                return Ok(said);
            }
        }
        self.ask_over_tcp(server, &asked, budget).await
    }

    async fn ask_by_datagram(&self, server: &Server, asked: &Asked<'_>, budget: &mut Budget) -> io::Result<Said> {
        let to = server.address;
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        self.bind_interface(&socket)?;
        // From then on only this server is heard, and the port was drawn by the kernel.
        socket.connect(&to.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let cost = datagram(to.ip(), asked.message.len());
        self.door.gate.pass(Direction::Up, self.class, cost).await;
        if !self.has_room(cost + ceiling::ANSWER) {
            return Err(ceiling::spent());
        }
        socket.send(&asked.message).await?;
        self.door.meter.datagram(Traffic { up: cost, down: 0 });
        let heard = async {
            let mut bytes = [0; DATAGRAM];
            loop {
                let length = socket.recv(&mut bytes).await?;
                self.door.meter.datagram(Traffic { up: 0, down: datagram(to.ip(), length) });
                if let Some(said) = asked.read(&bytes[..length]) {
                    return Ok(said);
                }
            }
        };
        budget.wait(server.timeout, heard).await
    }

    async fn ask_over_tcp(&self, server: &Server, asked: &Asked<'_>, budget: &mut Budget) -> io::Result<Said> {
        let exchange = async {
            let dialled = self.dial_address(server.address).await?;
            let meter = Arc::clone(&self.door.meter);
            let mut stream = Metered::new(dialled, &self.door.gate, meter, self.class);
            let length = u16::try_from(asked.message.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &asked.message].concat()).await?;
            let mut bytes = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut bytes).await?;
            asked.read(&bytes).ok_or_else(|| io::Error::other("the name server answered something else"))
        };
        budget.wait(server.timeout, exchange).await
    }
}
