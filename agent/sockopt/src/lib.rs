//! The three options of a TCP socket that exact shaping needs and that neither the standard library nor `rustix`,
//! `socket2` or `nix` offers in safe form: reading `TCP_INFO`, setting `SO_MAX_PACING_RATE` and `TCP_WINDOW_CLAMP`.
//!
//! # Constraints
//! - This crate holds the only unsafe code of the project: one call of `getsockopt(2)` and one of `setsockopt(2)`, each
//!   with a buffer of this function's own and its true length. The agent itself forbids unsafe code.
//! - The kernel's `struct tcp_info` has grown over the years and is returned cut to what the kernel knows. It is read
//!   as bytes at the offsets of `include/uapi/linux/tcp.h`, which never change, and a field that was not returned is
//!   `None`, not 0: an old kernel and qemu's user mode, which returns the first four bytes, must not be taken for a
//!   connection that sent nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Bytes that are asked for: through `tcpi_bytes_retrans` (Linux 4.19) there are 216.
const ASKED: usize = 256;

/// `TCPI_OPT_TIMESTAMPS` of `tcpi_options`.
const OPTION_TIMESTAMPS: u8 = 1;

/// What the kernel knows of a connection. All counts are since it was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Whether segments carry timestamps, which cost 12 bytes each.
    pub timestamps: bool,
    /// Payload bytes of a full segment that is sent (`tcpi_snd_mss`).
    pub send_mss: u32,
    /// Segments sent that are not acknowledged (`tcpi_unacked`).
    pub unacknowledged: u32,
    /// Payload bytes of a full segment that is received, as the kernel takes it from those that came (`tcpi_rcv_mss`).
    pub receive_mss: u32,
    /// The round trip as smoothed by the kernel, in microseconds (`tcpi_rtt`); 0 before one was measured.
    pub round_trip: u32,
    /// Payload bytes received in order (`tcpi_bytes_received`).
    pub bytes_received: u64,
    /// Segments sent, those without payload and those sent again included (`tcpi_segs_out`).
    pub segments_out: u32,
    /// Segments received, those without payload included (`tcpi_segs_in`).
    pub segments_in: u32,
    /// Segments received that had payload, also such as had come before (`tcpi_data_segs_in`).
    pub data_segments_in: u32,
    /// Segments received that came out of order (`tcpi_rcv_ooopack`); 0 before Linux 5.4, which does not tell.
    pub out_of_order: u32,
    /// Payload bytes handed over that have not left yet (`tcpi_notsent_bytes`).
    pub unsent: u32,
    /// Payload bytes sent, those sent again included (`tcpi_bytes_sent`).
    pub bytes_sent: u64,
    /// Payload bytes sent again (`tcpi_bytes_retrans`).
    pub bytes_sent_again: u64,
}

impl TcpInfo {
    /// Reads the fields out of the bytes that the kernel returned; `None` if they are too few.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let u64_at = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
        Some(Self {
            timestamps: bytes.get(5)? & OPTION_TIMESTAMPS != 0,
            send_mss: u32_at(16)?,
            unacknowledged: u32_at(24)?,
            receive_mss: u32_at(20)?,
            round_trip: u32_at(68)?,
            bytes_received: u64_at(128)?,
            segments_out: u32_at(136)?,
            segments_in: u32_at(140)?,
            data_segments_in: u32_at(152)?,
            out_of_order: u32_at(224).unwrap_or(0),
            unsent: u32_at(144)?,
            bytes_sent: u64_at(200)?,
            bytes_sent_again: u64_at(208)?,
        })
    }
}

/// Reads `TCP_INFO`.
///
/// # Errors
/// The descriptor is no TCP socket; or, with [`io::ErrorKind::Unsupported`], the system returns less than the fields
/// named in [`TcpInfo`] (Linux before 4.19, qemu's user mode).
pub fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    let mut bytes = [0_u8; ASKED];
    let mut len = ASKED as libc::socklen_t;
    // SAFETY: `bytes` is valid for writes of `len` bytes and lives until the call returns, `len` is a valid pointer to
    // its length, and the borrowed descriptor is open meanwhile. The kernel writes at most `len` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let returned = bytes.get(..len as usize).unwrap_or(&bytes);
    TcpInfo::parse(returned).ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, format!("TCP_INFO has only {} bytes here", returned.len()))
    })
}

/// Sets `SO_MAX_PACING_RATE` in bytes a second; `None` takes the limit away. Rates above 4 GB/s count as none: the
/// option has 32 bits on every kernel.
///
/// # Errors
/// The system does not know the option (qemu's user mode).
pub fn set_max_pacing_rate(socket: impl AsFd, bytes_per_second: Option<u64>) -> io::Result<()> {
    let rate: u32 = bytes_per_second.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(u32::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, rate)
}

/// Sets `TCP_WINDOW_CLAMP`: the most bytes that the socket offers as its window, whatever room its buffer has. A connection
/// whose buffer was small and became larger needs it: Linux then clamps the window to what the buffer had room for, and
/// does not always take that back by itself (6.18).
///
/// # Errors
/// The system does not know the option, or the socket is none of TCP.
pub fn set_window_clamp(socket: impl AsFd, bytes: u32) -> io::Result<()> {
    // More than a positive number of 32 bits no kernel takes, and 0 is an error for a connection.
    set(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes.clamp(1, i32::MAX as u32))
}

/// Sets an option that is a number.
fn set(socket: impl AsFd, level: libc::c_int, option: libc::c_int, number: u32) -> io::Result<()> {
    // SAFETY: `number` is valid for reads of its own size and lives until the call returns, and the borrowed descriptor
    // is open meanwhile.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const number).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn what_a_connection_carried_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let mut near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (mut far, _) = listener.accept().expect("one waits");
        set_max_pacing_rate(&near, Some(1_000_000)).expect("Linux paces");
        near.write_all(&[7; 1000]).expect("it is taken");
        far.read_exact(&mut [0; 1000]).expect("it arrives");
        far.write_all(&[7; 10]).expect("it is taken");
        near.read_exact(&mut [0; 10]).expect("it arrives");
        let info = tcp_info(&near).expect("Linux tells");
        assert_eq!((info.bytes_sent, info.bytes_received, info.unsent, info.bytes_sent_again), (1000, 10, 0, 0));
        // SYN, the handshake's acknowledgement, the data, perhaps an acknowledgement of the ten bytes.
        assert!((3..=4).contains(&info.segments_out), "{info:?}");
        assert!((2..=3).contains(&info.segments_in), "{info:?}");
        assert!(info.send_mss > 500 && info.round_trip > 0 && info.round_trip < 1_000_000, "{info:?}");
        assert_eq!((info.data_segments_in, info.out_of_order), (1, 0), "{info:?}");
        set_max_pacing_rate(&near, None).expect("and stops pacing");
        set_window_clamp(&near, 20_000).and_then(|()| set_window_clamp(&near, u32::MAX)).expect("Linux clamps windows");
    }

    #[test]
    fn what_is_no_connection_is_an_error_and_too_few_bytes_are_none() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
        assert!(tcp_info(&socket).is_err() && set_window_clamp(&socket, 20_000).is_err());
        assert_eq!(TcpInfo::parse(&[0; 215]), None);
        assert_eq!(TcpInfo::parse(&[0; 4]), None, "qemu's user mode");
        assert_eq!(TcpInfo::parse(&[0; 216]), Some(TcpInfo::default()));
    }
}
