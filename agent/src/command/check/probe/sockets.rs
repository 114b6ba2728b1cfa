//! Who listens on a port of this machine: the kernel's tables, and the processes that hold their sockets.
//!
//! # Format
//! `/proc/net/tcp` and `tcp6` (`proc_net(5)`): a head line, then `sl local_address rem_address st … uid … inode`, numbers in
//! hexadecimal but uid and inode; `local_address` is the address, each 32-bit word in the machine's byte order, a colon and the
//! port; `st` is `0A` for one that listens. `/proc/<pid>/fd/<n>` of who holds it is a link to `socket:[<inode>]`; others' are seen by
//! root only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use tidegate::processes;

/// The state of a socket that listens (`TCP_LISTEN`, `include/net/tcp_states.h`).
const LISTENS: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Listening {
    /// Where.
    pub(in crate::command) address: SocketAddr,
    /// Whose it is.
    pub(in crate::command) uid: u32,
    inode: u64,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Holder {
    /// Its id.
    pub(in crate::command) pid: u32,
    /// Its name (`comm`), at most 15 characters.
    pub(in crate::command) name: String,
}

/// How it stands with a port that the service is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) enum Port {
    /// The tables cannot be read.
    Unknown,
    /// Nobody has it.
    Free,
    /// The service has it, at these addresses: each is in the way of the one that was asked for, or is that one.
    Ours(Vec<SocketAddr>),
    /// This process has it.
    Held(Holder),
    /// A process of the user with this number, which this user may not see.
    Hidden(u32),
}

/// Who has this port. `ours`: the processes that are the service.
pub(in crate::command) fn port(address: SocketAddr, ours: &[Option<u32>]) -> Port {
    let Some(others) = in_the_way(address) else { return Port::Unknown };
    if others.is_empty() {
        return Port::Free;
    }
    let mut at = Vec::new();
    for other in others {
        match holder(&other) {
            Some(Holder { pid, .. }) if ours.contains(&Some(pid)) => at.push(other.address),
            Some(holder) => return Port::Held(holder),
            None => return Port::Hidden(other.uid),
        }
    }
    Port::Ours(at)
}

/// Whether this machine has an address: any port of it will do to see that, and the one that is meant stays free.
///
/// # Errors
/// As `bind` says: [`io::ErrorKind::AddrNotAvailable`] if the machine has it not.
pub(in crate::command) fn has(ip: IpAddr) -> io::Result<()> {
    TcpListener::bind((ip, 0)).map(|_| ())
}

/// Whether what listens at `bound` serves all who connect to `address`. On any IPv6 address it takes IPv4, too (ipv6(7)).
pub(in crate::command) fn serves(bound: SocketAddr, address: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    bound.port() == address.port()
        && (bound.ip() == address.ip() || bound.is_ipv6() && any(bound.ip()) && any(address.ip()))
}

/// Addresses as one text.
pub(in crate::command) fn shown(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What listens on a port so that this address cannot be bound besides; `None` if the tables cannot be read.
pub(in crate::command) fn in_the_way(address: SocketAddr) -> Option<Vec<Listening>> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    // Without IPv6 there is no second table.
    let four = tables[0].as_ref().ok()?;
    let six = tables[1].as_deref().unwrap_or_default();
    let all = four.lines().chain(six.lines()).skip(1).filter_map(parse);
    Some(all.filter(|found| collide(found.address, address)).collect())
}

/// Who holds a socket, if this user may see that.
pub(in crate::command) fn holder(socket: &Listening) -> Option<Holder> {
    let (proc, link) = (Path::new("/proc"), format!("socket:[{}]", socket.inode));
    let has_it = |pid: &u32| processes::open_files(*pid).any(|open| open == Path::new(&link));
    let pid = processes::worth_a_look(proc).find(has_it)?;
    Some(Holder { pid, name: processes::name(proc, pid).unwrap_or_default() })
}

/// Whether two sockets cannot both listen: the same port, and the same address or one of them any address. A socket on any IPv6
/// address takes IPv4 too unless told otherwise, which the tables do not show.
pub(in crate::command) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn parse(line: &str) -> Option<Listening> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, uid, inode) = (words.get(1)?, words.get(3)?, words.get(7)?, words.get(9)?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for part in 0..4 {
                bytes[part * 4..part * 4 + 4].copy_from_slice(&word(part * 8)?);
            }
            let six = Ipv6Addr::from(bytes);
            six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4)
        }
        _ => return None,
    };
    (*state == LISTENS).then_some(Listening {
        address: SocketAddr::new(ip, port),
        uid: uid.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found_in_the_tables_and_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let found = in_the_way(address).expect("the tables can be read");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].address, address);
        let holder = holder(&found[0]).expect("one's own sockets can be seen");
        assert_eq!(holder.pid, std::process::id());
        let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
        assert_eq!(in_the_way(anywhere).expect("readable").len(), 1);
        drop(listener);
        assert_eq!(in_the_way(address), Some(Vec::new()));
    }

    #[test]
    fn an_address_is_served_where_something_listens_on_it_and_not_where_that_is_merely_in_the_way() {
        let of = |address: &str| address.parse::<SocketAddr>().expect("an address");
        for (bound, address, expected) in [
            ("0.0.0.0:1883", "0.0.0.0:1883", true),
            ("10.0.0.1:1883", "10.0.0.1:1883", true),
            ("[::]:1883", "0.0.0.0:1883", true),
            ("0.0.0.0:1883", "[::]:1883", false),
            ("0.0.0.0:1883", "10.9.8.7:1883", false),
            ("10.0.0.1:1883", "0.0.0.0:1883", false),
            ("0.0.0.0:1883", "0.0.0.0:1884", false),
        ] {
            assert_eq!(serves(of(bound), of(address)), expected, "{bound} {address}");
        }
    }

    #[test]
    fn other_lines_are_no_sockets_that_listen() {
        for line in [
            "",
            "sl local_address rem st",
            "0: 0100007F:0050 00000000:0000 01 0:0 0:0 0 0 0 5 1",
            "0: x:y z 0A 1 2 3 4 5 6",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
