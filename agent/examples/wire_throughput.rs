//! What the gate costs while nothing is limited: bytes a second over loopback through a bare socket and through the door,
//! in turns, and the median of the rounds' ratios.
//!
//! ```console
//! $ cargo run --release -p tidegate --example wire_throughput
//! ```

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Instant;

use tidegate::shape::wire::{Options, Target, Wire};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of each round, enough for a tenth of a second or more.
const ROUND: usize = 512 << 20;

/// Bytes handed over at a time: what hyper and rustls write of a large body at once.
const AT_ONCE: usize = 64 * 1024;

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

/// MB/s.
async fn send(mut stream: impl AsyncWrite + Unpin) -> std::io::Result<f64> {
    let bytes = vec![7; AT_ONCE];
    let start = Instant::now();
    for _ in 0..ROUND / AT_ONCE {
        stream.write_all(&bytes).await?;
    }
    stream.shutdown().await?;
    Ok(ROUND as f64 / start.elapsed().as_secs_f64() / 1e6)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = sink()?;
    let wire = Wire::new(Options::default());
    let target = Target { host: address.ip().to_string(), port: address.port(), tls: false };
    let bare = async || send(TcpStream::connect(address).await?).await;
    let door = async || Ok::<_, Box<dyn std::error::Error>>(send(wire.connect(&target).await?).await?);
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        // Who goes first changes, so that neither always meets a warm cache.
        let (bare, door) = if round % 2 == 0 {
            let bare = bare().await?;
            (bare, door().await?)
        } else {
            let door = door().await?;
            (bare().await?, door)
        };
        println!("bare {bare:6.0} MB/s   door {door:6.0} MB/s   {:.3}", door / bare);
        ratios.push(door / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median {:.3}", ratios[ROUNDS / 2]);
    Ok(())
}
