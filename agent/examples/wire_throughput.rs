//! What the gate costs while nothing is limited: bytes for each second of processor time over loopback through a bare socket and through the door,
//! in turns, and the median of the rounds' ratios; for hand-overs as large as of large bodies, and for small ones.
//!
//! The bare socket has the same options as the door's: `TCP_NOTSENT_LOWAT` alone makes a socket on loopback faster by
//! half, because what is sent is still in the cache when it is received.
//!
//! ```console
//! $ cargo run --release -p tidegate --example wire_throughput
//! ```

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tidegate::shape::wire::{Options, Target, Wire};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes handed over at a time, and of each round, which takes a tenth of a second or more.
const SIZES: [(usize, usize); 2] = [(64 * 1024, 512 << 20), (1400, 64 << 20)];

/// `TCP_NOTSENT_LOWAT` of the door's sockets while nothing is limited.
const UNSENT: u32 = 128 * 1024;

const ROUNDS: usize = 15;

/// Takes what comes and throws it away.
fn sink() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = vec![0; 256 * 1024];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
        }
    });
    Ok(address)
}

/// Time that the sending thread has had a processor for; what else runs on the machine does not count.
fn busy() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// MB for each second of the sender's processor time.
async fn send(mut stream: impl AsyncWrite + Unpin, (at_once, round): (usize, usize)) -> std::io::Result<f64> {
    let bytes = vec![7; at_once];
    let start = busy();
    for _ in 0..round / at_once {
        stream.write_all(&bytes).await?;
    }
    stream.shutdown().await?;
    Ok(round as f64 / (busy() - start) / 1e6)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = sink()?;
    let wire = Wire::new(Options::default());
    let target = Target { host: address.ip().to_string(), port: address.port(), tls: false };
    let bare = async |size| {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT)?;
        send(stream, size).await
    };
    let door = async |size| Ok::<_, Box<dyn std::error::Error>>(send(wire.connect(&target).await?, size).await?);
    for size in SIZES {
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            // Who goes first changes, so that neither always meets a warm cache.
            let (bare, door) = if round % 2 == 0 {
                let bare = bare(size).await?;
                (bare, door(size).await?)
            } else {
                let door = door(size).await?;
                (bare(size).await?, door)
            };
            println!("{:5} bytes at once   bare {bare:6.0} MB/s   door {door:6.0} MB/s   {:.3}", size.0, door / bare);
            ratios.push(door / bare);
        }
        ratios.sort_by(f64::total_cmp);
        println!("{:5} bytes at once   median {:.3}", size.0, ratios[ROUNDS / 2]);
    }
    Ok(())
}
