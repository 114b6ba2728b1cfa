//! Whether the metrics page can be had: its port is free for the service, or the service has it, or somebody else, and then
//! the agent does not start.

use std::io;
use std::net::SocketAddr;

use tidegate::code::Code;
use tidegate::message;
use tidegate::watch::Status;

use super::sockets::{self, Holder, Port};
use crate::command::check::finding::{Finding, Id};

/// Looks at who has the port; nothing binds it. `started`: the process that systemd runs as the service.
pub(in crate::command) fn look(address: SocketAddr, started: Option<u32>, service: Option<&Status>) -> Finding {
    let what = Id::Metrics.of(message!("metrics page at {address}", address = address));
    match sockets::port(address, &[started, service.map(|status| status.pid)]) {
        Port::Unknown => Finding::unknown(what, message!("the ports in use cannot be listed on this machine"), None),
        Port::Ours(at) if at.iter().any(|one| sockets::serves(*one, address)) => {
            Finding::good(what, message!("the service listens there"))
        }
        Port::Free | Port::Ours(_) if is_missing(address) => Finding::bad(
            what,
            message!("this machine has no such address"),
            Code::Serve,
            message!("write 127.0.0.1, or one of the addresses that `ip address` shows, in [metrics] bind"),
        ),
        Port::Free => Finding::good(what, message!("the port is free")),
        Port::Ours(at) => Finding::attention(
            what,
            message!("the service listens on {addresses} instead", addresses = sockets::shown(&at)),
            Code::RestartNeeded,
            message!("restart it when it suits you: systemctl restart tidegate"),
        ),
        Port::Held(Holder { pid, name }) => Finding::bad(
            what,
            message!("{name} (process {pid}) has that port", name = &name, pid = pid),
            Code::Serve,
            message!("stop {name}, or write another port in [metrics] bind", name = &name),
        ),
        // As for the listener: it may be the service itself, which only root can tell.
        Port::Hidden(uid) => Finding::unknown(
            what,
            message!("a program of the user with the number {uid} has that port", uid = uid),
            Some(message!("run it again with sudo to see which: ss -ltnp")),
        ),
    }
}

/// Whether this machine has no such address.
fn is_missing(address: SocketAddr) -> bool {
    sockets::has(address.ip()).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;

    #[test]
    fn a_port_that_somebody_has_is_told_and_one_that_is_free_or_the_services_own_is_good() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let finding = look(address, None, None);
        assert_eq!((finding.result, finding.code), (Outcome::Bad, Some(Code::Serve)));
        assert_eq!(look(address, Some(std::process::id()), None).result, Outcome::Good);
        // 192.0.2.0/24 is for documentation (RFC 5737).
        let missing = look(SocketAddr::new([192, 0, 2, 1].into(), address.port()), None, None);
        assert_eq!((missing.result, missing.code), (Outcome::Bad, Some(Code::Serve)));
        let any = look(([0, 0, 0, 0], address.port()).into(), Some(std::process::id()), None);
        assert_eq!((any.result, any.code), (Outcome::Attention, Some(Code::RestartNeeded)));
        drop(listener);
        assert_eq!(look(address, None, None).result, Outcome::Good);
    }
}
