//! Whether devices can connect: the listener's ports are free for the service, or the service has them, or somebody else.

use std::io;
use std::net::SocketAddr;

use tidegate::code::Code;
use tidegate::config::Listener;
use tidegate::language::{Message, system};
use tidegate::message;
use tidegate::watch::Status;

use super::runner::Runner;
use super::sockets::{self, Holder, Port};
use super::unit::Unit;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};

/// Looks at each address of the listener. Nothing binds the port itself.
pub(in crate::command) fn look(
    listener: &Listener,
    unit: &Unit,
    runner: &Runner,
    service: Option<&Status>,
    tell: Tell<'_>,
) {
    let tls = listener.tls.as_ref().map(|tls| tls.bind);
    for address in listener.bind.into_iter().chain(tls) {
        tell(judge(address, unit.main_pid(), runner, service));
    }
}

/// `started`: the process that systemd runs as the service.
fn judge(address: SocketAddr, started: Option<u32>, runner: &Runner, service: Option<&Status>) -> Finding {
    let what = Id::Listener.of(message!("devices connect to {address}", address = address));
    let told = service.and_then(|status| status.listener.as_ref()).map(|listener| bound(&listener.addresses));
    let there = |all: &[SocketAddr]| all.iter().any(|one| sockets::serves(*one, address));
    if told.as_deref().is_some_and(there) {
        return Finding::good(what, message!("the service listens there"));
    }
    let in_the_way: Vec<SocketAddr> =
        told.iter().flatten().copied().filter(|one| sockets::collide(*one, address)).collect();
    if !in_the_way.is_empty() {
        return elsewhere(what, address, &in_the_way, service);
    }
    match sockets::port(address, &[started, service.map(|status| status.pid)]) {
        Port::Unknown => Finding::unknown(what, message!("the ports in use cannot be listed on this machine"), None),
        // The kernel keeps the port of one that hangs.
        Port::Ours(at) if service.is_none() && there(&at) => Finding::unknown(
            what,
            message!("the service has the port; whether it serves devices is not known, for it could not be asked"),
            Some(message!("see the line on the service")),
        ),
        // What it has besides its listener, the metrics page, is in the way of one.
        Port::Ours(at) if told.is_none() && there(&at) => Finding::good(what, message!("the service listens there")),
        Port::Ours(at) => elsewhere(what, address, &at, service),
        Port::Held(holder) => held(what, &holder),
        Port::Hidden(uid) => hidden(what, uid, runner.ids().0, rustix::process::geteuid().is_root()),
        Port::Free => free(what, address, service),
    }
}

/// The service has the port at other addresses, because the file was changed since or it did not come up with it.
fn elsewhere(what: Subject, address: SocketAddr, at: &[SocketAddr], service: Option<&Status>) -> Finding {
    let at = || sockets::shown(at);
    match sockets::has(address.ip()) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Finding::bad(
            what,
            message!("this machine has no such address; the service listens on {addresses} as yet", addresses = at()),
            Code::Listen,
            own_address(),
        ),
        _ if service.is_some_and(|status| status.config_kept) => not_come_up(what),
        _ => Finding::attention(
            what,
            message!("the service listens on {addresses} instead", addresses = at()),
            Code::RestartNeeded,
            message!("restart it when it suits you: systemctl restart tidegate"),
        ),
    }
}

fn own_address() -> Message {
    message!("write 0.0.0.0 for all addresses, or one of those that `ip address` shows, in [collect.listener]")
}

/// It runs with what was kept: another restart changes nothing.
fn not_come_up(what: Subject) -> Finding {
    Finding::attention(
        what,
        message!("the service runs and does not listen there"),
        Code::ConfigKept,
        message!("see the line on the service for why it did not come up with this file"),
    )
}

/// Nobody has the port.
fn free(what: Subject, address: SocketAddr, service: Option<&Status>) -> Finding {
    match sockets::has(address.ip()) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Finding::bad(what, message!("this machine has no such address"), Code::Listen, own_address())
        }
        Err(error) => {
            Finding::unknown(what, message!("it could not be tried: {error}", error = system::said(&error)), None)
        }
        Ok(()) if service.is_some_and(|status| status.config_kept) => not_come_up(what),
        Ok(()) if service.is_some() => Finding::attention(
            what,
            message!("the service runs and does not listen there"),
            Code::Listen,
            message!("see `tidegate status` for what it waits for; a changed address needs a restart"),
        ),
        Ok(()) if address.port() < first_for_all() => Finding::unknown(
            what,
            message!("the port is free; whether the service may have it is not known, for low ports need a right"),
            Some(message!(
                "write a port above 1023, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the service's unit"
            )),
        ),
        Ok(()) => Finding::good(what, message!("the port is free")),
    }
}

/// Somebody else has the port.
fn held(what: Subject, Holder { pid, name }: &Holder) -> Finding {
    if name == env!("CARGO_PKG_NAME") {
        return Finding::bad(
            what,
            message!("another Tidegate (process {pid}) has that port", pid = pid),
            Code::Listen,
            message!(
                "see who has started it: ps -fp {pid}; end it there, or write another port in [collect.listener]",
                pid = pid
            ),
        );
    }
    Finding::bad(
        what,
        message!("{name} (process {pid}) has that port", name = name, pid = pid),
        Code::Listen,
        message!(
            "stop {name}, write another port in [collect.listener], or use the broker that is there with [collect.broker]",
            name = name
        ),
    )
}

/// Somebody has the port who cannot be seen: another user's process, or for root one of another namespace. `own`: the user that
/// the service runs as.
fn hidden(what: Subject, uid: u32, own: u32, root: bool) -> Finding {
    let sudo = || message!("run it again with sudo to see which: ss -ltnp");
    if root {
        return Finding::bad(
            what,
            message!("a program that cannot be seen from here has that port, such as one in a container"),
            Code::Listen,
            message!(
                "see which container has it (docker ps, podman ps, machinectl), and stop it or write another port in [collect.listener]"
            ),
        );
    }
    let said = message!("a program of the user with the number {uid} has that port", uid = uid);
    if uid == own {
        // It may be the service.
        return Finding::unknown(what, said, Some(sudo()));
    }
    Finding::bad(what, said, Code::Listen, sudo())
}

/// The first port that anybody may have (`net.ipv4.ip_unprivileged_port_start`, ip(7)); 1024 unless the system says otherwise.
fn first_for_all() -> u16 {
    let said = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    said.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// Addresses as the status shows them (`host:port`, with a remark behind).
fn bound(shown: &[String]) -> Vec<SocketAddr> {
    shown.iter().filter_map(|one| one.split_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;
    use std::net::TcpListener;
    use tidegate::watch::Connections;

    #[test]
    fn a_port_is_free_or_somebody_has_it_and_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let runner = Runner::find(&Unit::NoSystemd, None);
        let judge = |address, started| super::judge(address, started, &runner, None);
        let taken = judge(address, None);
        assert_eq!(taken.result, Outcome::Bad);
        assert!(taken.said.to_string().contains(&std::process::id().to_string()), "{}", taken.said);
        let silent = judge(address, Some(std::process::id()));
        assert_eq!(silent.result, Outcome::Unknown, "it is the service, and it does not answer");
        drop(listener);
        assert_eq!(judge(address, None).result, Outcome::Good);
        // 192.0.2.0/24 is for documentation (RFC 5737).
        let elsewhere = judge("192.0.2.1:1883".parse().expect("an address"), None);
        assert_eq!((elsewhere.result, elsewhere.code), (Outcome::Bad, Some(Code::Listen)));
    }

    #[test]
    fn a_port_that_is_taken_is_bad_whoever_has_it_unless_it_may_be_the_service() {
        let what = || Id::Listener.of(message!("x"));
        let result = |uid, own, root| {
            let finding = hidden(what(), uid, own, root);
            (finding.result, finding.next.expect("what to do").to_string().contains("sudo"))
        };
        assert_eq!(result(0, 990, true), (Outcome::Bad, false));
        assert_eq!(result(990, 990, true), (Outcome::Bad, false));
        assert_eq!(result(104, 990, false), (Outcome::Bad, true));
        assert_eq!(result(990, 990, false), (Outcome::Unknown, true));
        let next =
            |name: &str| held(what(), &Holder { pid: 7, name: name.into() }).next.expect("what to do").to_string();
        assert!(next("tidegate").contains("ps -fp 7") && !next("tidegate").contains("broker"));
        assert!(next("mosquitto").contains("[collect.broker]"));
    }

    #[test]
    fn an_address_is_told_from_its_remark() {
        let all = ["0.0.0.0:1883", "127.0.0.1:8883 (TLS)", "none"].map(str::to_owned);
        assert_eq!(sockets::shown(&bound(&all)), "0.0.0.0:1883, 127.0.0.1:8883");
    }

    #[test]
    fn the_service_is_said_to_listen_only_where_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let runner = Runner::find(&Unit::NoSystemd, None);
        let status = |kept: bool, answers: bool| {
            let addresses = vec![format!("0.0.0.0:{port}")];
            let listener = Connections { addresses, ..Connections::default() };
            let pid = std::process::id();
            Status { pid, config_kept: kept, listener: answers.then_some(listener), ..Status::default() }
        };
        let judge = |ip: &str, service: &Status| {
            let address = SocketAddr::new(ip.parse().expect("an address"), port);
            let finding = super::judge(address, None, &runner, Some(service));
            (finding.result, finding.code)
        };
        assert_eq!(judge("0.0.0.0", &status(false, true)), (Outcome::Good, None));
        // 192.0.2.0/24 is for documentation (RFC 5737).
        assert_eq!(judge("192.0.2.1", &status(false, true)), (Outcome::Bad, Some(Code::Listen)));
        assert_eq!(judge("127.0.0.1", &status(false, true)), (Outcome::Attention, Some(Code::RestartNeeded)));
        assert_eq!(judge("127.0.0.1", &status(true, true)), (Outcome::Attention, Some(Code::ConfigKept)));
        // One that does not say where: the kernel's word counts.
        assert_eq!(judge("127.0.0.1", &status(false, false)), (Outcome::Good, None));
        assert_eq!(judge("0.0.0.0", &status(false, false)), (Outcome::Attention, Some(Code::RestartNeeded)));
    }
}
