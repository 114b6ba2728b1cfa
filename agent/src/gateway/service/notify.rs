//! Tells the service manager how it goes: `sd_notify(3)`, one datagram of `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names.
//!
//! # Constraints
//! - It never waits: what the manager does not take at once is dropped and said in the log. The next figure comes soon, and
//!   a manager that has stopped reading must not stop the agent.
//! - Without `NOTIFY_SOCKET` (in a terminal, in a test) nothing is sent and nothing is said.
//! - The socket is a path, or, with `@` in front, a name of the kernel's own (unix(7), "Abstract sockets"). A manager
//!   outside a virtual machine (`vsock:`) is not spoken to: it has no use for an agent's state.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Longest status line in bytes. systemd shows it in one line; the reason of a disk that fails has some 200.
const STATUS_LIMIT: usize = 400;

/// The way to the service manager.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Notifier {
    way: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// As the environment says.
    pub(in crate::gateway) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        Self::to(&name).unwrap_or_else(|error| {
            let socket = name.to_string_lossy();
            tracing::warn!(%error, %socket, "the service manager cannot be told how it goes; it will take the start for failed");
            Self::default()
        })
    }

    /// To this socket.
    ///
    /// # Errors
    /// The name is no path and no abstract name, or no socket can be had.
    pub(super) fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract socket")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { way: Some((socket, address)) })
    }

    /// Whether there is somebody to tell.
    pub(in crate::gateway) fn is_heard(&self) -> bool {
        self.way.is_some()
    }

    /// Sends these lines as one message.
    pub(super) fn tell(&self, lines: &[&str]) {
        let Some((socket, address)) = &self.way else { return };
        if let Err(error) = socket.send_to_addr(lines.join("\n").as_bytes(), address) {
            tracing::debug!(%error, "the service manager did not take a message");
        }
    }
}

/// `STATUS=` with a text that is cut to [`STATUS_LIMIT`] and has no line of its own.
pub(super) fn status(text: &str) -> String {
    let mut line: String = text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    if line.len() > STATUS_LIMIT {
        let end = (0..=STATUS_LIMIT).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    format!("STATUS={line}")
}

/// `EXTEND_TIMEOUT_USEC=`: the manager's time limit on the start or the stop ends no sooner than this from now.
pub(super) fn extend(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

/// How long the manager waits for `WATCHDOG=1` (`sd_watchdog_enabled(3)`): from `WATCHDOG_USEC`, unless `WATCHDOG_PID` names
/// another process. `None`: it does not.
pub(super) fn watchdog_limit(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_spoken_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Notifier::to(path.as_os_str()).expect("a way").tell(&["READY=1", "STATUS=fine"]);
        assert_eq!(heard(&socket), "READY=1\nSTATUS=fine");

        let name = format!("tidegate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Notifier::to(OsStr::new(&format!("@{name}"))).expect("a way").tell(&["WATCHDOG=1"]);
        assert_eq!(heard(&socket), "WATCHDOG=1");
        assert!(Notifier::to(OsStr::new("vsock:2:1")).is_err());
        assert!(!Notifier::default().is_heard());
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify");
        let _socket = UnixDatagram::bind(&path).expect("a socket");
        let notifier = Notifier::to(path.as_os_str()).expect("a way");
        // More than any queue of datagrams holds (net.unix.max_dgram_qlen, memory).
        for _ in 0..10_000 {
            notifier.tell(&["WATCHDOG=1"]);
        }
    }

    #[test]
    fn a_status_is_one_line_of_a_bounded_length() {
        assert_eq!(status("a\nb\u{1b}[2J"), "STATUS=a b [2J");
        let long = status(&"é".repeat(1000));
        assert!(long.len() <= "STATUS=".len() + STATUS_LIMIT + "…".len() && long.ends_with('…'), "{}", long.len());
    }

    #[test]
    fn the_watchdog_is_this_process_s_own_and_has_a_limit() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog_limit(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog_limit(Some("1000000"), None, 7), second);
        for (usec, pid) in
            [(None, None), (Some("0"), None), (Some("x"), None), (Some("1"), Some("8")), (Some("1"), Some(""))]
        {
            assert_eq!(watchdog_limit(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }
}
