//! Why a connection to the outside could not be had.

use std::io;
use std::time::Duration;

use crate::language::Message;
use crate::message;

/// Why a connection could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum WireError {
    /// The name could not be resolved.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Name servers may not be asked now ([`Wire::let_names`](super::Wire::let_names)).
    Silent {
        /// The name.
        host: String,
    },
    /// The name has no address.
    NoAddress {
        /// The name.
        host: String,
    },
    /// There is no room for a connection under the ceiling ([`Wire::set_ceiling`](super::Wire::set_ceiling)).
    Spent,
    /// No address could be connected to; the most telling failure is the cause.
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// Why an address failed: of several, the one that tells most.
        #[source]
        source: io::Error,
    },
    /// TLS failed.
    Tls {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host cannot stand in a certificate.
    Name {
        /// The name.
        host: String,
    },
    /// There is nobody to trust.
    NoRoots {
        /// Why the first of them could not be read, if that is known.
        #[source]
        source: Option<io::Error>,
    },
    /// The CA or client certificate or key that was given cannot be used.
    Material {
        /// What it was for.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How far a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Nothing was tried: what the gateway was given cannot be used.
    Setup,
    /// The name was to be resolved.
    Name,
    /// TCP was to connect.
    Tcp,
    /// TLS was to shake hands.
    Tls,
}

/// What became of the last step that was tried, as far as it tells whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// There is no way there from this machine: no route, no interface, no address of its own.
    NoWay,
    /// Somebody on the way says that the host cannot be reached, or nobody on the own network answers for it.
    HostUnreachable,
    /// Nobody answered in time.
    Silence,
    /// The far side refused or ended it.
    Refused,
    /// Somebody answered, and it was of no use: a name server that does not know, a certificate that is not trusted.
    Answered,
    /// Anything else.
    Other,
}

impl WireError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Resolve { host, .. } => {
                message!("cannot resolve {host}; check the gateway's DNS and that the line is up", host = host)
            }
            Self::Silent { host } => message!(
                "{host} is not resolved while the provider's stance allows nothing; see `tidegate status`",
                host = host
            ),
            Self::NoAddress { host } => message!("{host} has no address; check its spelling", host = host),
            Self::Spent => {
                message!("the budget of bytes is used up; see `tidegate status` for when it begins anew")
            }
            Self::Connect { host, port, .. } => {
                message!("cannot connect to {host} port {port}", host = host, port = *port)
            }
            Self::Tls { host, .. } => message!(
                "no TLS with {host}; if its certificate was refused, check the gateway's clock and the trusted roots",
                host = host
            ),
            Self::Name { host } => message!("{host} is not a name that TLS can check", host = host),
            Self::NoRoots { .. } => {
                message!("no trusted root certificate was found; install ca-certificates or name a CA file")
            }
            Self::Material { what, .. } => message!("the {what} cannot be used; it must be PEM", what = *what),
        }
    }

    /// How far it came.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Resolve { .. } | Self::NoAddress { .. } | Self::Silent { .. } => Stage::Name,
            Self::Connect { .. } => Stage::Tcp,
            Self::Tls { .. } => Stage::Tls,
            Self::Spent | Self::Name { .. } | Self::NoRoots { .. } | Self::Material { .. } => Stage::Setup,
        }
    }

    /// What the system said, if it was the system that said no (`errno(3)`).
    pub fn errno(&self) -> Option<i32> {
        self.cause().and_then(errno)
    }

    /// What became of the last step.
    pub fn trouble(&self) -> Trouble {
        match (self, self.cause()) {
            (Self::NoAddress { .. }, _) => Trouble::Answered,
            (Self::NoRoots { .. } | Self::Material { .. } | Self::Name { .. }, _) | (_, None) => Trouble::Other,
            (_, Some(cause)) => trouble(cause),
        }
    }

    fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Resolve { source, .. }
            | Self::Connect { source, .. }
            | Self::Tls { source, .. }
            | Self::Material { source, .. } => Some(source),
            Self::NoRoots { source } => source.as_ref(),
            Self::Spent | Self::NoAddress { .. } | Self::Silent { .. } | Self::Name { .. } => None,
        }
    }
}

/// The system's number in an error or in what caused it: where a text was added, it stands deeper.
fn errno(error: &io::Error) -> Option<i32> {
    if let Some(number) = error.raw_os_error() {
        return Some(number);
    }
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        cause = error.source();
    }
    None
}

/// What an error of the system, of TLS or of a name server comes to.
pub fn trouble(error: &io::Error) -> Trouble {
    use rustix::io::Errno;
    let of_system = errno(error).map(Errno::from_raw_os_error).and_then(|number| match number {
        Errno::NETUNREACH | Errno::NETDOWN | Errno::NODEV | Errno::NXIO | Errno::ADDRNOTAVAIL | Errno::NONET => {
            Some(Trouble::NoWay)
        }
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Some(Trouble::HostUnreachable),
        Errno::TIMEDOUT => Some(Trouble::Silence),
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE => Some(Trouble::Refused),
        _ => None,
    });
    of_system.unwrap_or_else(|| match error.kind() {
        io::ErrorKind::TimedOut => Trouble::Silence,
        // rustls says the latter where a peer ends the connection amid the handshake.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            Trouble::Refused
        }
        io::ErrorKind::InvalidData => Trouble::Answered,
        _ if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync + 'static>::is::<NameServer>) => {
            Trouble::Answered
        }
        _ => Trouble::Other,
    })
}

/// Which of two failures to connect tells more, the later one if they tell as much: an address that refused proves that the
/// line works, though another of the same name, of a family that has no route, does not even leave the gateway.
pub(super) fn more_telling(one: io::Error, other: io::Error) -> io::Error {
    let rank = |error: &io::Error| match trouble(error) {
        Trouble::Refused | Trouble::Answered => 3,
        Trouble::Silence => 2,
        Trouble::HostUnreachable | Trouble::Other => 1,
        Trouble::NoWay => 0,
    };
    if rank(&one) > rank(&other) { one } else { other }
}

/// A name server answered, and would or could not help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NameServer(pub(super) String);

/// A socket could not be bound to the interface that is configured.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) struct CannotBind {
    pub(super) interface: String,
    #[source]
    pub(super) source: io::Error,
}

impl CannotBind {
    /// It in words, without its cause.
    pub(crate) fn message(&self) -> Message {
        message!("cannot bind to the interface {interface}", interface = &self.interface)
    }
}

/// An error for something that took longer than it may.
pub(super) fn too_long(who: Message, limit: Duration) -> io::Error {
    let said = message!("{who} did not answer within {time} s", who = who, time = limit.as_secs_f32().to_string());
    io::Error::new(io::ErrorKind::TimedOut, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(number: rustix::io::Errno) -> io::Error {
        io::Error::from_raw_os_error(number.raw_os_error())
    }

    #[test]
    fn an_error_tells_how_far_it_came_and_what_the_system_said() {
        use rustix::io::Errno;
        let host = || "flux.example".to_owned();
        let bind = CannotBind { interface: "wwan0".into(), source: os(Errno::NODEV) };
        let connect = |source| WireError::Connect { host: host(), port: 443, source };
        let resolve = |source| WireError::Resolve { host: host(), source };
        let tls = |source| WireError::Tls { host: host(), source };
        let number = |errno: Errno| Some(errno.raw_os_error());
        for (error, stage, errno, trouble) in [
            (connect(os(Errno::CONNREFUSED)), Stage::Tcp, number(Errno::CONNREFUSED), Trouble::Refused),
            (connect(os(Errno::NETUNREACH)), Stage::Tcp, number(Errno::NETUNREACH), Trouble::NoWay),
            (connect(os(Errno::HOSTUNREACH)), Stage::Tcp, number(Errno::HOSTUNREACH), Trouble::HostUnreachable),
            (connect(too_long(message!("the peer"), Duration::from_secs(1))), Stage::Tcp, None, Trouble::Silence),
            (connect(io::Error::new(io::ErrorKind::NotFound, bind)), Stage::Tcp, number(Errno::NODEV), Trouble::NoWay),
            (resolve(os(Errno::NETUNREACH)), Stage::Name, number(Errno::NETUNREACH), Trouble::NoWay),
            (
                resolve(too_long(message!("the name server"), Duration::from_secs(1))),
                Stage::Name,
                None,
                Trouble::Silence,
            ),
            (resolve(io::Error::other(NameServer("refused".into()))), Stage::Name, None, Trouble::Answered),
            (WireError::NoAddress { host: host() }, Stage::Name, None, Trouble::Answered),
            (tls(io::ErrorKind::UnexpectedEof.into()), Stage::Tls, None, Trouble::Refused),
            (tls(io::Error::new(io::ErrorKind::InvalidData, "bad certificate")), Stage::Tls, None, Trouble::Answered),
            (WireError::Name { host: host() }, Stage::Setup, None, Trouble::Other),
            (WireError::NoRoots { source: None }, Stage::Setup, None, Trouble::Other),
        ] {
            assert_eq!((error.stage(), error.errno(), error.trouble()), (stage, errno, trouble), "{error:?}");
        }
    }

    #[test]
    fn of_several_addresses_the_one_that_answered_tells_most() {
        use rustix::io::Errno;
        let (refused, no_way) = (|| os(Errno::CONNREFUSED), || os(Errno::NETUNREACH));
        assert_eq!(trouble(&more_telling(refused(), no_way())), Trouble::Refused);
        assert_eq!(trouble(&more_telling(no_way(), refused())), Trouble::Refused);
        let silent = || too_long(message!("the peer"), Duration::from_secs(1));
        assert_eq!(trouble(&more_telling(silent(), no_way())), Trouble::Silence);
        assert_eq!(trouble(&more_telling(silent(), refused())), Trouble::Refused);
    }
}
