//! What is limited and counted, over real sockets on loopback. The exact figures are weighed between network namespaces,
//! in the whole-system tests.

use std::num::NonZeroU64;
use std::time::Instant;

use super::*;
use crate::shape::pace::Rate;

fn rate(bytes_per_second: u64, burst: u64) -> Rate {
    Rate::new(NonZeroU64::new(bytes_per_second).expect("more than nothing"), burst)
}

fn up(bytes_per_second: u64, burst: u64) -> Pace {
    Pace { up: Some(rate(bytes_per_second, burst)), down: None }
}

#[tokio::test]
async fn what_leaves_is_held_to_the_rate_and_a_change_counts_for_what_waits() {
    let wire = Wire::new(Options::default());
    wire.set_pace(up(40_000, 4_000));
    let mut stream = open(&wire, peer(0, 0).await).await;
    let held = stream.held();
    let start = Instant::now();
    stream.write_all(&vec![7; 44_000]).await.expect("it is taken");
    let took = start.elapsed().as_secs_f64();
    // 44,000 bytes and the handshake, less the burst.
    assert!((0.98..1.4).contains(&took), "{took} s");
    assert!(held.0.total() > Duration::from_millis(900), "{:?}", held.0.total());
    let counts = wire.counts();
    assert!((44_000..46_000).contains(&counts.sent), "{counts:?}");

    let writing = tokio::spawn(async move {
        stream.write_all(&vec![7; 400_000]).await.expect("it is taken");
        stream
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    wire.set_pace(up(4_000_000, 40_000));
    let mut stream = writing.await.expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    wire.set_pace(up(1, 3_000));
    let held_up = tokio::spawn(async move { stream.write_all(&vec![7; 100_000]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!held_up.is_finished());
    wire.set_pace(Pace::default());
    held_up.await.expect("it ends").expect("it is taken");
}

#[tokio::test]
async fn what_comes_in_is_held_to_its_rate_and_what_leaves_is_not() {
    let wire = Wire::new(Options::default());
    wire.set_pace(Pace { up: None, down: Some(rate(40_000, 10_000)) });
    let start = Instant::now();
    let mut stream = open(&wire, peer(60_000, 1).await).await;
    stream.write_all(&vec![7; 1_000_000]).await.expect("it is taken");
    stream.read_exact(&mut vec![0; 40_000]).await.expect("it comes in");
    let took = start.elapsed().as_secs_f64();
    assert!((0.7..1.6).contains(&took), "{took} s");
    assert!(wire.counts().received >= 40_000, "{:?}", wire.counts());
}

#[tokio::test]
async fn two_connections_share_a_rate_and_the_critical_one_goes_first() {
    let wire = Wire::new(Options::default());
    let port = peer(0, 0).await;
    let (mut alarm, mut bulk) = (open(&wire.for_class(Class::Critical), port).await, open(&wire, port).await);
    wire.set_pace(up(20_000, 3_000));
    let bulk = tokio::spawn(async move { bulk.write_all(&vec![7; 60_000]).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    alarm.write_all(&[7; 5_000]).await.expect("it is taken");
    let took = start.elapsed().as_secs_f64();
    // A quarter of a second for it alone, and a ninth of that for the other.
    assert!(took < 0.5, "{took} s");
    assert!(!bulk.is_finished());
    bulk.abort();
}

#[tokio::test]
async fn a_system_that_does_not_tell_is_estimated_and_limited_all_the_same() {
    let blind: Reader = |_| Err(io::Error::new(io::ErrorKind::Unsupported, "nothing is told here"));
    let wire = Wire::with_reader(Options::default(), Arc::new(SystemClock::new()), blind);
    wire.set_pace(up(40_000, 4_000));
    let port = peer(3_000, 1).await;
    let mut stream = open(&wire, port).await;
    let start = Instant::now();
    stream.write_all(&vec![7; 44_000]).await.expect("it is taken");
    stream.read_exact(&mut [0; 3_000]).await.expect("it comes in");
    let took = start.elapsed().as_secs_f64();
    assert!((0.98..1.5).contains(&took), "{took} s");
    let counts = wire.counts();
    assert!(counts.estimated);
    // 31 segments with their headers, the handshake, and acknowledgements.
    assert!((45_600..46_200).contains(&counts.sent), "{counts:?}");
    assert!((3_100..4_500).contains(&counts.received), "{counts:?}");
    drop(stream);
    let after = wire.counts();
    assert!(after.sent >= counts.sent && after.sent < counts.sent + 200, "{after:?}");
}

#[tokio::test]
async fn a_connection_that_fails_and_one_that_is_dropped_are_counted() {
    let wire = Wire::new(Options::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    wire.connect(&target("127.0.0.1", port, false)).await.expect_err("nobody is there");
    let counts = wire.counts();
    assert_eq!((counts.sent, counts.connections), (60, 0), "a SYN");
    let port = peer(0, 0).await;
    drop(open(&wire, port).await);
    let counts = wire.counts();
    // SYN, the acknowledgement of its answer, FIN, and that of the peer's.
    assert_eq!((counts.sent, counts.connections), (60 + 60 + 52 + 104, 1), "{counts:?}");
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_named_and_one_that_is_serves() {
    let wire = |name: &str| Wire::new(Options { interface: Some(name.into()), ..Options::default() });
    let port = peer(0, 0).await;
    let error = wire("nowhere0").connect(&target("127.0.0.1", port, false)).await.expect_err("there is none");
    assert!(
        matches!(&error, WireError::Connect { source, .. } if source.to_string().contains("nowhere0")),
        "{error:?}"
    );
    open(&wire("lo"), port).await;
}

#[tokio::test]
async fn a_door_beside_another_is_limited_and_counted_with_it() {
    let wire = Wire::new(Options::default());
    let beside = wire.beside(Options { interface: Some("lo".into()), ..Options::default() });
    wire.set_pace(up(40_000, 4_000));
    assert_eq!(beside.pace(), wire.pace());
    let mut stream = open(&beside, peer(0, 0).await).await;
    let start = Instant::now();
    stream.write_all(&vec![7; 24_000]).await.expect("it is taken");
    assert!(start.elapsed().as_secs_f64() > 0.45, "{:?}", start.elapsed());
    assert!((24_000..26_000).contains(&wire.counts().sent), "{:?}", wire.counts());
    assert_eq!((wire.counts().connections, beside.counts()), (1, wire.counts()));
}
